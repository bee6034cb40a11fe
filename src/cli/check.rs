//! `tollgate check`: whether a config would be taken.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, Output, put, put_json};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let loaded = crate::config::load_checked(&args.config.sources(), &|config, _| crate::app::try_out(config));
    let (ok, faults, warnings) = match loaded {
        Ok(loaded) => (Some(loaded.config), Vec::new(), loaded.warnings.0),
        Err(faults) => (None, faults.0, Vec::new()),
    };
    if args.output == Output::Json {
        put_json(&serde_json::json!({ "ok": ok.is_some(), "faults": faults, "warnings": warnings }));
        return ExitCode::from(u8::from(ok.is_none()));
    }
    for fault in faults.iter().chain(&warnings) {
        super::say(&format!("{fault}\n"));
    }
    match ok {
        Some(config) => {
            let (routes, origins) = (config.routes.len(), config.origins.len());
            put(&format!("ok: {routes} routes, {} schemes, {origins} origins", config.schemes.len()));
            ExitCode::SUCCESS
        }
        None => {
            super::say(&format!("{} {}", faults.len(), if faults.len() == 1 { "fault" } else { "faults" }));
            ExitCode::from(1)
        }
    }
}
