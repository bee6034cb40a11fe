//! Files that hold secrets: read only when nobody else can.

use std::fs::Metadata;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::secret::Secret;

/// Refuses a file of secrets that others than its owner can read.
///
/// # Errors
/// A sentence that names the file, its mode and the way out.
pub fn check_mode(file: &Path) -> Result<(), String> {
    closed_to_others(file, &std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?)
}

/// The same of a file that is open: its name may be another file's by now.
#[cfg(unix)]
fn closed_to_others(file: &Path, metadata: &Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = file.display();
    Err(format!("{shown} holds a secret and is open to group or others (mode {mode:04o}); run: chmod 600 {shown}"))
}

/// Elsewhere there is no mode to look at.
#[cfg(not(unix))]
fn closed_to_others(_file: &Path, _metadata: &Metadata) -> Result<(), String> {
    Ok(())
}

/// Largest file of a secret in bytes.
const SECRET_MAX: u64 = 64 * 1024;

/// What a file holds, and its mode at the moment it was read.
pub struct FileRead {
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    metadata: Metadata,
}

impl FileRead {
    /// Reads `file`, of `most` bytes at most, whoever else may read it.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn of(file: &Path, most: u64) -> Result<Self, String> {
        let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", file.display());
        let open = std::fs::File::open(file).map_err(|e| fault(&e))?;
        let metadata = open.metadata().map_err(|e| fault(&e))?;
        let mut bytes = Zeroizing::new(Vec::new());
        open.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| fault(&e))?;
        if bytes.len() as u64 > most {
            return Err(fault(&format!("longer than {most} bytes")));
        }
        Ok(Self { bytes, metadata })
    }

    /// Refuses it when others than its owner could read it, because it holds a secret.
    ///
    /// # Errors
    /// A sentence that names the file, its mode and the way out.
    pub fn is_secret(&self, file: &Path) -> Result<(), String> {
        closed_to_others(file, &self.metadata)
    }
}

/// The bytes of a file of secrets, if only its owner can read it.
///
/// # Errors
/// A sentence that names the file and never shows what is in it.
pub fn read_secret_bytes(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = FileRead::of(file, SECRET_MAX)?;
    read.is_secret(file)?;
    Ok(read.bytes)
}

/// The secret that is the content of a file, less a last line end, if only its owner can read it.
///
/// # Errors
/// A sentence that names the file and never shows what is in it.
pub fn read_secret(file: &Path) -> Result<Secret<String>, String> {
    let bytes = read_secret_bytes(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{}: not text", file.display()))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Secret::new(text.to_owned()))
}
