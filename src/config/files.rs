//! The files that a config names: that they are there, and that private keys are private.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value;

use super::fault::Finding;
use super::key_path::{KeyPath, Step};

/// Most bytes of a key file that are looked at to tell whether it is a private one.
const LOOK: u64 = 256 * 1024;

/// A file that the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The key that names it.
    pub path: KeyPath,
    /// The file; absolute once the config is loaded.
    pub file: PathBuf,
}

/// Every value of a key named `file`, `folder` or `…_file`.
pub(super) fn named(tree: &Value) -> Vec<NamedFile> {
    let mut found = Vec::new();
    collect(tree, &KeyPath::default(), &mut found);
    found
}

fn collect(value: &Value, path: &KeyPath, found: &mut Vec<NamedFile>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                match value {
                    Value::String(file) if key == "file" || key == "folder" || key.ends_with("_file") => {
                        found.push(NamedFile { path: path.key(key), file: PathBuf::from(file) });
                    }
                    _ => collect(value, &path.key(key), found),
                }
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| collect(item, &path.at(index), found)),
        _ => {}
    }
}

/// Writes a named file's path back where it was found.
pub(super) fn put(tree: &mut Value, named: &NamedFile) {
    let place = named.path.0.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::At(index) => value.get_mut(index),
    });
    if let (Some(place), Some(text)) = (place, named.file.to_str()) {
        *place = Value::from(text);
    }
}

/// Looks at every named file.
pub(super) fn check(named: &[NamedFile]) -> Vec<Finding> {
    named.iter().filter_map(|named| look(&named.path, &named.file)).collect()
}

fn look(path: &KeyPath, file: &Path) -> Option<Finding> {
    let shown = file.display();
    if path.last_key() == Some("folder") {
        return folder(path, file);
    }
    let about = match std::fs::metadata(file) {
        Ok(about) => about,
        Err(error) => return Some(Finding::value(path.clone(), format!("the file {shown} cannot be read: {error}"))),
    };
    if !about.is_file() {
        return Some(Finding::value(path.clone(), format!("{shown} is not a file")));
    }
    let mut content = Vec::new();
    if let Err(error) = std::fs::File::open(file).and_then(|open| open.take(LOOK).read_to_end(&mut content)) {
        return Some(Finding::value(path.clone(), format!("the file {shown} cannot be read: {error}")));
    }
    let private = names_a_secret(path.last_key().unwrap_or_default()) || holds_private_key(&content);
    zeroize::Zeroize::zeroize(&mut content);
    let mode = mode(&about)?;
    if private && mode & 0o077 != 0 {
        let finding = Finding::value(path.clone(), format!("others can read the private key {shown} (mode {mode:04o})"));
        return Some(finding.hint(format!("chmod 600 {shown}")));
    }
    None
}

/// A folder may still have to be made.
fn folder(path: &KeyPath, folder: &Path) -> Option<Finding> {
    let other = folder.exists() && !folder.is_dir();
    other.then(|| Finding::value(path.clone(), format!("{} is not a folder", folder.display())))
}

#[cfg(unix)]
fn mode(about: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Some(about.mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> Option<u32> {
    None
}

/// Whether a key names a file that is private whatever it holds.
fn names_a_secret(key: &str) -> bool {
    key.ends_with("key_file") || key.contains("secret") || key.contains("password")
}

/// Whether it is a private PEM, or a private or symmetric JWK (RFC 7517 §4, RFC 7518 §6), plain or in base64.
fn holds_private_key(content: &[u8]) -> bool {
    let plain = String::from_utf8_lossy(content);
    if is_private(&plain) {
        return true;
    }
    let packed: String = plain.split_whitespace().collect();
    let unpacked = base64::engine::general_purpose::STANDARD.decode(packed);
    unpacked.is_ok_and(|bytes| is_private(&String::from_utf8_lossy(&bytes)))
}

fn is_private(text: &str) -> bool {
    if text.contains("PRIVATE KEY-----") {
        return true;
    }
    let is_private_jwk = |key: &Value| key.get("kty").is_some() && (key.get("d").is_some() || key.get("k").is_some());
    serde_json::from_str::<Value>(text).is_ok_and(|json| {
        is_private_jwk(&json) || json.get("keys").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(is_private_jwk))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(name: &str, content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("write");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
        (folder, file)
    }

    #[test]
    fn private_keys_that_others_can_read_are_refused() {
        let packed = base64::engine::general_purpose::STANDARD.encode("-----BEGIN PRIVATE KEY-----\n");
        for (key, content, mode, refused) in [
            ("key_file", "x", 0o600, false),
            ("key_file", "x", 0o640, true),
            ("client_key_file", "x", 0o604, true),
            ("secret_file", "x", 0o644, true),
            ("cert_file", "-----BEGIN CERTIFICATE-----", 0o644, false),
            ("file", "-----BEGIN PUBLIC KEY-----", 0o644, false),
            ("file", "-----BEGIN RSA PRIVATE KEY-----", 0o644, true),
            ("file", packed.as_str(), 0o644, true),
            ("file", packed.as_str(), 0o400, false),
            ("file", r#"{"keys":[{"kty":"EC","x":"a"}]}"#, 0o644, false),
            ("file", r#"{"keys":[{"kty":"EC","x":"a","d":"b"}]}"#, 0o644, true),
            ("file", r#"{"kty":"oct","k":"b"}"#, 0o644, true),
        ] {
            let (_folder, file) = file("some", content, mode);
            let found = look(&KeyPath::top("a").key(key), &file);
            assert_eq!(found.is_some(), refused, "{key} {mode:o} {content}");
            if let Some(found) = found {
                assert!(found.message.contains(&format!("{mode:04o}")) && found.hint.is_some_and(|hint| hint.starts_with("chmod 600 ")));
            }
        }
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let found = look(&KeyPath::top("a").key("file"), Path::new("/nowhere/at/all")).expect("finding");
        assert!(found.message.contains("/nowhere/at/all"));
        assert!(look(&KeyPath::top("a").key("file"), Path::new("/")).is_some());
    }
}
