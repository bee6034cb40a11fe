//! `tollgate ledger`: copies of the record of what was issued. A gateway with a file of its own must not be running: one process
//! holds the file. One that shares its ledger may.

use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{ConfigArgs, failed, say};
use crate::clock::Clock;
use crate::ledger::{Form, Ledger};
use crate::store::valkey::Place;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Write a copy: sealed with the ledger's key unless asked otherwise
    Export {
        #[command(flatten)]
        config: ConfigArgs,
        /// Where to; must not be there yet
        file: PathBuf,
        /// JSON without secrets, to look at; cannot be imported
        #[arg(long)]
        plain: bool,
        /// JSON with every secret in the clear
        #[arg(long, conflicts_with = "plain")]
        with_secrets: bool,
    },
    /// Take in a copy; records that are there already are replaced
    Import {
        #[command(flatten)]
        config: ConfigArgs,
        /// The copy
        file: PathBuf,
    },
}

pub(super) fn run(command: &LedgerCommand) -> ExitCode {
    let (done, config) = match command {
        LedgerCommand::Export { config, .. } => ("exported", config),
        LedgerCommand::Import { config, .. } => ("imported", config),
    };
    let loaded = match config.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let Some(config) = &loaded.config.ledger else { return failed("the config has no [ledger]") };
    let spawn = |work| std::thread::Builder::new().spawn(work).map(drop).map_err(|e| format!("no thread: {e}"));
    let around = Place { folder: Path::new("/"), variable: &|name| std::env::var(name).ok() };
    let opened = Ledger::open(config, (around, &Clock::System), spawn);
    let outcome = opened.and_then(|ledger| match command {
        LedgerCommand::Export { file, plain, with_secrets, .. } => export(&ledger, file, (*plain, *with_secrets)),
        LedgerCommand::Import { file, .. } => import(&ledger, file),
    });
    match outcome {
        Ok(count) => {
            say(&format!("{done} {count} records"));
            ExitCode::SUCCESS
        }
        Err(message) => failed(&message),
    }
}

fn export(ledger: &Ledger, file: &Path, asked: (bool, bool)) -> Result<u64, String> {
    let form = match asked {
        (true, _) => Form::Plain,
        (_, true) => Form::WithSecrets,
        _ => Form::Sealed,
    };
    let cannot = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = std::io::BufWriter::new(options.open(file).map_err(cannot)?);
    let count = ledger.export(form, Clock::System.now(), &mut out).map_err(|fault| fault.to_string());
    let count = count.and_then(|count| out.flush().and_then(|()| out.get_ref().sync_all()).map(|()| count).map_err(cannot));
    if count.is_err() {
        // Half a copy would be taken for one.
        let _ = std::fs::remove_file(file);
    }
    count
}

fn import(ledger: &Ledger, file: &Path) -> Result<u64, String> {
    let open = || std::fs::File::open(file).map(BufReader::new).map_err(|e| format!("{}: {e}", file.display()));
    // The whole of it first: one that breaks off would leave a ledger of two times.
    let taken = ledger.check_copy(&mut open()?).map_err(|fault| fault.to_string());
    taken.and_then(|_| ledger.import(Clock::System.now(), &mut open()?).map_err(|fault| fault.to_string()))
}
