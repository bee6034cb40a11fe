//! The command line: arguments in, an exit code out.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 all well, 1 the
//! answer is no (a fault found, a mismatch), 2 the command could not be understood.

mod check;
mod demo;
mod explain;
mod keys;
mod ledger;
mod serve;
mod sign;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config::{Faults, Loaded, Sources};

/// A reverse proxy that injects and enforces tokens in front of video origins and video providers.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve by a config until stopped
    Serve(serve::ServeArgs),
    /// Say whether a config would be taken, and every fault if not
    Check(check::CheckArgs),
    /// Start a gateway with an origin, media and a page, to see it work
    Demo(demo::DemoArgs),
    /// Say what would be decided on a request, and why; no network
    Explain(explain::ExplainArgs),
    /// Make a token or a signed URL with a scheme of the config
    Sign(sign::SignArgs),
    /// Make keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The record of what was issued: copies of it
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Judge test vectors: one line a scheme, exit code 1 on any mismatch
    ///
    /// A file is `{"scheme", "now", "vectors": [...]}`; a vector is `{"id", "key", "now", "input", "expected"}`, where
    /// `input` is a request (`method`, `url`, `headers`, `client_ip`, `country`, ...) and `expected` is `allow` or `deny`.
    /// With `denial` a refusal must have this reason; with `config` the scheme's table differs from its defaults; with
    /// `upstream_path` what goes to the origin is judged, too. What `key` looks like for each `scheme`, and the deny
    /// families, stand in tests/fixtures/vectors/README.md, beside vectors of every scheme.
    Conformance {
        /// Folder with `*.json` files of vectors
        folder: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// The config itself
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config, for editors
    Schema,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Where the config comes from: defaults, then files, then `TOLLGATE_*`, then `--set`.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Config file (TOML, YAML or JSON by its extension); may be given several times, later ones win
    #[arg(short, long, value_name = "FILE", env = "TOLLGATE_CONFIG", value_delimiter = ',')]
    config: Vec<PathBuf>,
    /// Set one key, such as `--set server.limits.max_head=64KiB`; wins over everything
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl ConfigArgs {
    fn sources(&self) -> Sources {
        let files = if self.config.is_empty() { default_file() } else { self.config.clone() };
        Sources { files, env: Sources::process_env(), flags: self.set.clone() }
    }

    /// Loads and tries out the config; its faults go to standard error.
    fn load(&self) -> Result<Loaded, ExitCode> {
        let loaded = crate::config::load_checked(&self.sources(), &|config, _| crate::app::try_out(config));
        loaded.map_err(|faults| print_faults(&faults)).inspect(|loaded| {
            if !loaded.warnings.0.is_empty() {
                let _ = print_faults(&loaded.warnings);
            }
        })
    }
}

/// Without `--config`: `tollgate.toml` here, if it is there.
fn default_file() -> Vec<PathBuf> {
    ["tollgate.toml", "/etc/tollgate/tollgate.toml"].into_iter().map(PathBuf::from).find(|file| file.exists()).into_iter().collect()
}

fn print_faults(faults: &Faults) -> ExitCode {
    say(&format!("{faults}"));
    ExitCode::from(1)
}

/// One text to standard error. A closed pipe is nobody's fault.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// One text to standard output.
fn put(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

fn put_json(value: &serde_json::Value) {
    put(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints why a command could not do its work.
fn failed(message: &str) -> ExitCode {
    say(&format!("error: {message}"));
    ExitCode::from(1)
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Keys(command) => keys::run(&command),
        Command::Ledger(command) => ledger::run(&command),
        Command::Conformance { folder, output } => conformance(&folder, output),
        Command::Config(ConfigCommand::Schema) => {
            put_json(&crate::config::schema::json_schema());
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tollgate", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn conformance(folder: &std::path::Path, output: Output) -> ExitCode {
    let report = crate::conformance::run(folder);
    match output {
        Output::Text => put(&report.to_string()),
        Output::Json => put_json(&conformance_json(&report)),
    }
    ExitCode::from(u8::from(!report.passed()))
}

fn conformance_json(report: &crate::conformance::Report) -> serde_json::Value {
    let score = |score: crate::conformance::Score| serde_json::json!({ "right": score.right, "all": score.all });
    let schemes: Vec<_> = report
        .tallies
        .iter()
        .map(|tally| {
            serde_json::json!({
                "scheme": tally.scheme,
                "allow": score(tally.allow),
                "deny": score(tally.deny),
                "unsupported": tally.unsupported,
                "mismatches": tally.mismatches,
            })
        })
        .collect();
    serde_json::json!({ "passed": report.passed(), "schemes": schemes, "faults": report.faults })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn keys_are_set_by_name_and_value() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(key_value("a.b").is_err());
    }
}
