//! Files that hold secrets: read only when nobody else can.

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
