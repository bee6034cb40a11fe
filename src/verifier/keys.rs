//! From a `[keys.NAME]` table to keys.
//!
//! Files with private keys or secrets must be readable by their owner alone; files of public keys
//! may be readable by everyone. Every fault is a sentence that names the table and the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::jwks::Remote;
use super::{KeysConfig, SecretEncoding};
use crate::files::{self, FileRead};
use crate::name::Name;
use crate::token::key::Material;
use crate::token::{Algorithm, Key, KeySet, KeySource};

/// Largest key file in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// HS256 wants a secret of this many bytes (RFC 7518 §3.2).
const HS256_SECRET: usize = 32;

/// Where relative paths begin, and what the environment holds.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// The folder of the config file.
    pub folder: &'s Path,
    /// Reads an environment variable.
    pub variable: &'s dyn Fn(&str) -> Option<String>,
}

/// The keys of one table.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The keys, to be handed to schemes; empty when they are still to be fetched.
    pub source: KeySource,
    /// What keeps them fresh, when they have an address.
    pub remote: Option<Arc<Remote>>,
    /// The files they come from; [`read`] them again when one changes.
    pub files: Vec<PathBuf>,
}

/// The keys that `[keys.name]` says.
///
/// # Errors
/// A sentence for the operator.
pub fn load(name: &Name, config: &KeysConfig, around: Surroundings<'_>) -> Result<Loaded, String> {
    let Some(url) = &config.url else {
        let source = KeySource::new(read(name, config, around)?);
        return Ok(Loaded { source, remote: None, files: files(config, around.folder) });
    };
    let table = format!("keys.{name}");
    one_way(&table, config)?;
    check_url(&table, url)?;
    let remote = Remote::new(url, config.refresh.map(|refresh| refresh.0), config.id.as_deref(), config.algorithm);
    Ok(Loaded { source: remote.keys().clone(), remote: Some(Arc::new(remote)), files: Vec::new() })
}

/// The keys of a table that has no `url`, read from where they are.
///
/// # Errors
/// A sentence for the operator.
pub fn read(name: &Name, config: &KeysConfig, around: Surroundings<'_>) -> Result<KeySet, String> {
    let keys = read_table(&format!("keys.{name}"), config, config.id.as_deref(), around)?;
    if keys.len() > KeySet::MAX {
        return Err(format!("keys.{name}: more than {} keys", KeySet::MAX));
    }
    Ok(KeySet::new(keys))
}

fn read_table(table: &str, config: &KeysConfig, id: Option<&str>, around: Surroundings<'_>) -> Result<Vec<Key>, String> {
    one_way(table, config)?;
    let mut keys = Vec::new();
    for (id, inner) in &config.by_id {
        let table = format!("{table}.by_id.{id}");
        if !inner.by_id.is_empty() || inner.url.is_some() || inner.ledger.is_some() || inner.id.as_ref().is_some_and(|own| own != id) {
            return Err(format!("{table}: a key by id has neither by_id nor url nor ledger nor another id"));
        }
        let found = read_table(&table, inner, Some(id), around)?;
        if found.len() != 1 || found.iter().any(|key| key.id().is_some_and(|own| **own != **id)) {
            return Err(format!("{table}: exactly one key is wanted here, with no other id of its own"));
        }
        keys.extend(found);
    }
    let one = |key: Key| Ok(vec![key]);
    match config {
        KeysConfig { file: Some(file), .. } => parse_file(table, config, id, &around.folder.join(file)),
        KeysConfig { inline: Some(text), .. } => parse(table, text.expose().as_bytes(), config, id),
        KeysConfig { secret: Some(text), .. } => secret(table, text.expose(), config, id).and_then(one),
        KeysConfig { secret_file: Some(file), .. } => {
            let text = files::read_secret(&around.folder.join(file)).map_err(|fault| format!("{table}: {fault}"))?;
            secret(table, text.expose(), config, id).and_then(one)
        }
        KeysConfig { secret_env: Some(variable), .. } => {
            let text = (around.variable)(variable).ok_or_else(|| format!("{table}: environment variable {variable} is not set"))?;
            secret(table, &zeroize::Zeroizing::new(text), config, id).and_then(one)
        }
        _ => Ok(keys),
    }
}

fn one_way(table: &str, config: &KeysConfig) -> Result<(), String> {
    let ways = [
        config.file.is_some(),
        config.url.is_some(),
        config.inline.is_some(),
        config.secret.is_some(),
        config.secret_file.is_some(),
        config.secret_env.is_some(),
        config.ledger.is_some(),
        !config.by_id.is_empty(),
    ];
    match ways.into_iter().filter(|way| *way).count() {
        1 => Ok(()),
        0 => Err(format!("{table}: one of file, url, inline, secret, secret_file, secret_env, ledger and by_id must be set")),
        _ => Err(format!("{table}: only one of file, url, inline, secret, secret_file, secret_env, ledger and by_id may be set")),
    }
}

/// Keys that came over a plain connection would be anybody's keys.
fn check_url(table: &str, url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|_| format!("{table}: url is not an address"))?;
    let here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        _ => Err(format!("{table}: url must begin with https:// (plain http is taken from this machine only)")),
    }
}

fn parse_file(table: &str, config: &KeysConfig, id: Option<&str>, path: &Path) -> Result<Vec<Key>, String> {
    let in_table = |fault: String| format!("{table}: {fault}");
    let read = FileRead::of(path, MAX_FILE).map_err(in_table)?;
    let keys = parse(table, &read.bytes, config, id).map_err(|fault| format!("{fault} ({})", path.display()))?;
    if keys.iter().any(|key| key.octets().is_some() || key.private_der().is_some()) {
        read.is_secret(path).map_err(in_table)?;
    }
    Ok(keys)
}

fn parse(table: &str, bytes: &[u8], config: &KeysConfig, id: Option<&str>) -> Result<Vec<Key>, String> {
    let set = KeySet::parse(bytes, id, config.algorithm).map_err(|fault| format!("{table}: {fault}"))?;
    set.iter().map(|key| key.pinned(key.algorithm()).map_err(|fault| format!("{table}: {fault}"))).collect()
}

fn secret(table: &str, text: &str, config: &KeysConfig, id: Option<&str>) -> Result<Key, String> {
    let octets = match config.encoding {
        SecretEncoding::Text => Some(text.as_bytes().to_vec()),
        SecretEncoding::Hex => hex(text.trim()),
        SecretEncoding::Base64 => base64(text.trim()),
    };
    let octets = octets.ok_or_else(|| format!("{table}: the secret is not written as its encoding says"))?;
    if octets.is_empty() {
        return Err(format!("{table}: the secret is empty"));
    }
    let algorithm = match config.algorithm {
        None if octets.len() >= HS256_SECRET => Algorithm::HS256,
        None => Algorithm::Secret,
        Some(algorithm) => algorithm,
    };
    Key::new(Material::octets(octets), id, Some(algorithm)).map_err(|fault| format!("{table}: {fault}"))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = *pair { Some(digit(high)? << 4 | digit(low)?) } else { None }).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok()
}

fn files(config: &KeysConfig, folder: &Path) -> Vec<PathBuf> {
    let own = [&config.file, &config.secret_file];
    let inner = config.by_id.values().flat_map(|inner| [&inner.file, &inner.secret_file]);
    own.into_iter().chain(inner).flatten().map(|file| folder.join(file)).collect()
}

#[cfg(test)]
mod tests;
