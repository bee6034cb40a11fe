//! The config as operators meet it: layers, faults, the reference file and the examples.

mod faults;
mod layers;
mod reference;
mod rules;

use std::path::{Path, PathBuf};

use tollgate::config::{Faults, Loaded, Sources, load};

/// A folder with config files in it, gone when dropped.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::create_dir_all(file.parent().expect("parent")).expect("folder");
        std::fs::write(&file, content).expect("write");
        private(&file);
        file
    }
}

#[cfg(unix)]
fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("mode");
}

#[cfg(not(unix))]
fn private(_: &Path) {}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads `content` as a file called `name`, with an environment and flags.
fn load_with(name: &str, content: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let folder = Folder::new();
    let files = vec![folder.file(name, content)];
    load(&Sources { files, env: pairs(env), flags: pairs(flags) })
}

fn load_toml(content: &str) -> Result<Loaded, Faults> {
    load_with("gw.toml", content, &[], &[])
}

fn faults_of(content: &str) -> Faults {
    load_toml(content).expect_err("faults")
}

/// A config that works, to put faults into.
const GOOD: &str = r#"
[keys.main]
secret = "canary-in-the-keys"

[schemes.player]
type = "jwt"
keys = "main"

[origins.media]
endpoints = ["http://127.0.0.1:3000"]

[[routes]]
name = "media"
accept = ["player"]
origin = "media"
"#;
