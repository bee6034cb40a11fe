//! Files that hold secrets: read only when nobody else can.

use crate::secret::Secret;

/// Refuses a file of secrets that others than its owner can read.
///
/// # Errors
/// A sentence that names the file, its mode and the way out.
#[cfg(unix)]
pub fn check_mode(file: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!("{}: mode {mode:04o} lets others read this secret; run chmod 600 on it", file.display()))
}

/// Elsewhere there is no mode to look at.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn check_mode(_file: &std::path::Path) -> Result<(), String> {
    Ok(())
}

/// Largest file of a secret in bytes.
const SECRET_MAX: u64 = 64 * 1024;

/// The secret that is the content of a file, less a last line end, if only its owner can read it.
///
/// # Errors
/// A sentence that names the file and never shows what is in it.
pub fn read_secret(file: &std::path::Path) -> Result<Secret<String>, String> {
    use std::io::Read as _;
    let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", file.display());
    check_mode(file)?;
    let open = std::fs::File::open(file).map_err(|e| fault(&e))?;
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    open.take(SECRET_MAX + 1).read_to_end(&mut bytes).map_err(|e| fault(&e))?;
    if bytes.len() as u64 > SECRET_MAX {
        return Err(fault(&"too large for a key"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| fault(&"not text"))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Secret::new(text.to_owned()))
}
