//! `tollgate keys generate`: a key pair or a secret, with its id, in the forms that the config reads.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Subcommand, ValueEnum};

use super::{Output, failed, put, put_json, say};
use crate::control::gate::{new_key, sha256_hex};
use crate::keygen::{Generated, Kind, generate};
use crate::name::Name;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key
    Generate {
        /// What kind of key
        #[arg(value_enum, default_value_t = Kind::Ed25519)]
        kind: Kind,
        /// Folder to write the files into (private ones with mode 0600); printed when left out
        #[arg(short, long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// What the files are called, instead of the key's id
        #[arg(short, long, requires = "out", value_parser = Name::new)]
        name: Option<Name>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Make a key for the control API, and the SHA-256 that the config wants of it
    Api {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl ValueEnum for Kind {
    fn value_variants<'v>() -> &'v [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (word, other) = self.words();
        Some(PossibleValue::new(word).aliases(other).help(self.help()))
    }
}

pub(super) fn run(command: &KeysCommand) -> ExitCode {
    let (kind, out, name, output) = match command {
        KeysCommand::Generate { kind, out, name, output } => (kind, out, name, output),
        KeysCommand::Api { output } => return api(*output),
    };
    let made = match generate(*kind) {
        Ok(made) => made,
        Err(message) => return failed(&message),
    };
    match out {
        None => print(*output, &made),
        Some(folder) => match write(folder, name.as_ref().map_or(&made.kid, Name::as_str), &made) {
            Ok(written) => report(*output, &made, &written),
            Err(message) => return failed(&message),
        },
    }
    ExitCode::SUCCESS
}

fn api(output: Output) -> ExitCode {
    let (_, key) = match new_key() {
        Ok(made) => made,
        Err(message) => return failed(&message),
    };
    let sha256 = sha256_hex(key.expose());
    match output {
        Output::Text => {
            put(key.expose());
            say(&format!("shown once; for the config:\n\n[control.api_keys.NAME]\nsha256 = \"{sha256}\"\nrole = \"issuer\""));
        }
        Output::Json => put_json(&serde_json::json!({ "key": key.expose(), "sha256": sha256 })),
    }
    ExitCode::SUCCESS
}

/// The files of a key: name, content, whether it is secret.
fn files(name: &str, made: &Generated) -> Vec<(String, String, bool)> {
    let mut files = vec![(format!("{name}.jwk.json"), made.jwk.expose().clone(), true)];
    files.extend(made.pem.as_ref().map(|pem| (format!("{name}.pem"), pem.expose().clone(), true)));
    files.extend(made.public_pem.clone().map(|pem| (format!("{name}.public.pem"), pem, false)));
    files.extend(made.public_jwk.clone().map(|jwk| (format!("{name}.public.jwk.json"), jwk, false)));
    files
}

fn write(folder: &Path, name: &str, made: &Generated) -> Result<Vec<PathBuf>, String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut written = Vec::new();
    for (file, content, secret) in files(name, made) {
        let path = folder.join(file);
        write_new(&path, &content, secret).map_err(|e| format!("{}: {e}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// Never over a file that is there, and never readable by others, not even for a moment.
fn write_new(path: &Path, content: &str, secret: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    options.open(path)?.write_all(content.as_bytes())
}

fn print(output: Output, made: &Generated) {
    if output == Output::Json {
        let jwk = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        put_json(&serde_json::json!({
            "kid": made.kid,
            "pem": made.pem.as_ref().map(|pem| pem.expose().clone()),
            "public_pem": made.public_pem,
            "jwk": jwk(made.jwk.expose()),
            "public_jwk": made.public_jwk.as_deref().map(jwk),
        }));
        return;
    }
    put(&format!("kid: {}", made.kid));
    made.pem.iter().for_each(|pem| put(pem.expose()));
    made.public_pem.iter().for_each(|pem| put(pem));
    put(made.jwk.expose());
    made.public_jwk.iter().for_each(|jwk| put(jwk));
}

fn report(output: Output, made: &Generated, written: &[PathBuf]) {
    let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if output == Output::Json {
        put_json(&serde_json::json!({ "kid": made.kid, "files": paths }));
        return;
    }
    say(&format!("kid: {}", made.kid));
    paths.iter().for_each(|path| put(path));
}
