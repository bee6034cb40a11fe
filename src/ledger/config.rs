//! The `[ledger]` table, and the key file that it names or that stands in its folder.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seal::Seal;
use crate::secret::Secret;
use crate::store::valkey::ValkeyStoreConfig;
use crate::units::{Period, Size};

/// The `[ledger]` table: where the durable record of what was issued is kept. Exactly one of `folder` and `valkey` is set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// The folder of `ledger.redb`; made when it is not there. One gateway at a time. Needs a restart to change.
    pub folder: Option<PathBuf>,
    /// The Valkey or Redis server that a fleet shares its ledger in, in place of a folder. Needs a restart to change.
    pub valkey: Option<Box<ValkeyStoreConfig>>,
    /// File with the key that seals records: 32 bytes in hexadecimal or base64, readable by its owner only. Unset: `ledger.key` in
    /// the folder, made at the first start. Without it nothing of the ledger can be read again. A shared ledger needs it, the same
    /// on every gateway.
    pub key_file: Option<PathBuf>,
    /// Records remembered for the data path (about 1 KiB each), those that are not there included.
    pub remembered: u64,
    /// Memory for pages of the file.
    pub page_cache: Size,
    /// How long what is remembered holds while a shared ledger's store does not answer. Then its tokens and keys let nobody in
    /// until it is back.
    pub trust_for: Period,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            folder: None,
            valkey: None,
            key_file: None,
            remembered: 100_000,
            page_cache: Size::kib(64 * 1024),
            trust_for: Period::seconds(60),
        }
    }
}

/// The key of a ledger: the file that the config names, or the one in its folder, made with the ledger.
pub(super) fn key(config: &LedgerConfig, folder: &Path, ledger: &Path) -> Result<Secret<String>, String> {
    if let Some(file) = &config.key_file {
        return crate::files::read_secret(file);
    }
    let file = folder.join("ledger.key");
    if file.exists() {
        return crate::files::read_secret(&file);
    }
    if ledger.exists() {
        return Err(format!("{}: not there, and {} cannot be read without it", file.display(), ledger.display()));
    }
    let key = Seal::new_key()?;
    write_new(&file, key.expose().as_bytes()).map_err(|e| format!("{}: {e}", file.display()))?;
    tracing::info!(file = %file.display(), "made the key that seals the ledger; keep a copy of it elsewhere");
    Ok(key)
}

fn write_new(file: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(file)?;
    open.write_all(content)?;
    open.sync_all()
}

#[cfg(unix)]
pub(super) fn private(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(not(unix))]
pub(super) fn private(_file: &Path) -> Result<(), String> {
    Ok(())
}
