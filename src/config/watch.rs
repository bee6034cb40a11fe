//! When to load the config again: because a file of it changed.
//!
//! Folders are watched, not files: editors and ConfigMaps put a new file or symlink in place of the
//! old one, and a watch on the old one would never hear of it. An event is only a reason to look;
//! whether something changed is told by the files themselves, so that a busy folder reloads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long a folder must be quiet before the files are looked at: a swap is several steps.
pub const QUIET: Duration = Duration::from_millis(200);
/// After so many [`QUIET`]s a folder that is never quiet is looked at all the same.
const PATIENCE: u32 = 10;

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("{folder} cannot be watched: {source}", folder = folder.display())]
pub struct WatchError {
    folder: PathBuf,
    source: notify::Error,
}

/// A watch on files; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Print>,
    folders: BTreeSet<PathBuf>,
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    /// There is a reason to look at the files, and they were not looked at since.
    waiting: bool,
}

/// What a file was when looked at: where its symlinks lead, and what the system says of it.
#[derive(Debug, PartialEq, Eq)]
struct Print {
    target: Option<PathBuf>,
    about: Option<(std::time::SystemTime, u64, u64, i64)>,
}

impl Watch {
    /// Watches `files`: what they are now is what a change is told from.
    ///
    /// # Errors
    /// [`WatchError`] when a folder of one of them is not there or the system has no more watches.
    pub fn new(files: &[PathBuf]) -> Result<Self, WatchError> {
        // One waiting event says all there is to say, so a full channel loses nothing.
        let (tell, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.map_err(|source| WatchError { folder: PathBuf::new(), source })?;
        let mut watch = Self { files: Vec::new(), seen: Vec::new(), folders: BTreeSet::new(), watcher, events, waiting: false };
        watch.set_files(files)?;
        Ok(watch)
    }

    /// Watches `files` from now on, as after a reload that names others. What changed since the last
    /// look at a file that was watched before is still told.
    ///
    /// # Errors
    /// As [`Watch::new`]; the folders that could be watched then are.
    pub fn set_files(&mut self, files: &[PathBuf]) -> Result<(), WatchError> {
        let files: Vec<PathBuf> = files.iter().map(|file| super::load::absolute(file)).collect();
        let old = std::mem::replace(&mut self.files, files);
        let watched = self.watch_folders();
        // After the watch is set, so that no change falls between the two.
        let mut known: BTreeMap<PathBuf, Print> = old.into_iter().zip(std::mem::take(&mut self.seen)).collect();
        self.seen = self.files.iter().map(|file| known.remove(file).unwrap_or_else(|| print_of(file))).collect();
        self.waiting = true;
        watched
    }

    /// Waits until one of the files has changed, and its folder is quiet. Safe to drop and call again:
    /// a change is not lost.
    pub async fn changed(&mut self) {
        loop {
            if !self.waiting && self.events.recv().await.is_none() {
                // The watcher lives as long as self, so its sender does.
                std::future::pending::<()>().await;
            }
            self.waiting = true;
            for _ in 0..PATIENCE {
                if tokio::time::timeout(QUIET, self.events.recv()).await.is_err() {
                    break;
                }
            }
            self.waiting = false;
            let now = prints(&self.files);
            if now != self.seen {
                self.seen = now;
                // A symlink may lead elsewhere now. What cannot be watched was said at the start.
                let _ = self.watch_folders();
                return;
            }
        }
    }

    fn watch_folders(&mut self) -> Result<(), WatchError> {
        let wanted: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| folders(file)).collect();
        for gone in self.folders.difference(&wanted) {
            let _ = self.watcher.unwatch(gone);
        }
        self.folders.retain(|folder| wanted.contains(folder));
        let mut first_fault = Ok(());
        for folder in wanted {
            // Watched anew even when known: a folder of the same name may be another one by now.
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder);
                }
                Err(source) if first_fault.is_ok() => first_fault = Err(WatchError { folder, source }),
                Err(_) => {}
            }
        }
        first_fault
    }
}

/// The folder of a file, and those of every symlink on the way to what it is.
fn folders(file: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut at = file.to_owned();
    // As many symlinks as Linux follows.
    for _ in 0..40 {
        let Some(folder) = at.parent().map(Path::to_path_buf) else { break };
        found.push(folder.clone());
        match std::fs::read_link(&at) {
            Ok(next) => at = folder.join(next),
            Err(_) => break,
        }
    }
    if let Some(folder) = std::fs::canonicalize(file).ok().and_then(|real| real.parent().map(Path::to_path_buf)) {
        found.push(folder);
    }
    found
}

fn prints(files: &[PathBuf]) -> Vec<Print> {
    files.iter().map(|file| print_of(file)).collect()
}

fn print_of(file: &Path) -> Print {
    let about = std::fs::metadata(file).ok().and_then(|about| {
        let (inode, changed) = identity(&about);
        Some((about.modified().ok()?, about.len(), inode, changed))
    });
    Print { target: std::fs::canonicalize(file).ok(), about }
}

#[cfg(unix)]
fn identity(about: &std::fs::Metadata) -> (u64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (about.ino(), about.ctime().wrapping_mul(1_000_000_000).wrapping_add(about.ctime_nsec()))
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> (u64, i64) {
    (0, 0)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    async fn changes(watch: &mut Watch) {
        tokio::time::timeout(BOUND, watch.changed()).await.expect("a change is told");
    }

    #[tokio::test]
    async fn a_rewritten_and_a_replaced_file_are_changes() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("gw.toml");
        std::fs::write(&file, "a").expect("write");
        let mut watch = Watch::new(std::slice::from_ref(&file)).expect("watch");

        std::fs::write(&file, "ab").expect("write");
        changes(&mut watch).await;

        std::fs::write(folder.path().join("new"), "abc").expect("write");
        std::fs::rename(folder.path().join("new"), &file).expect("rename");
        changes(&mut watch).await;

        std::fs::remove_file(&file).expect("remove");
        changes(&mut watch).await;
        std::fs::write(&file, "again").expect("write");
        changes(&mut watch).await;
    }

    #[tokio::test]
    async fn a_swapped_symlink_is_a_change() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        for version in ["..v1", "..v2"] {
            std::fs::create_dir(at(version)).expect("folder");
            std::fs::write(at(version).join("gw.toml"), "same").expect("write");
        }
        symlink("..v1", at("..data")).expect("symlink");
        symlink("..data/gw.toml", at("gw.toml")).expect("symlink");
        let mut watch = Watch::new(&[at("gw.toml")]).expect("watch");

        // As a ConfigMap is put in place: the folder's symlink changes, the file's does not.
        symlink("..v2", at("..data_tmp")).expect("symlink");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("rename");
        changes(&mut watch).await;

        // The new target is watched as well.
        std::fs::write(at("..v2").join("gw.toml"), "other").expect("write");
        changes(&mut watch).await;
    }

    #[tokio::test]
    async fn a_change_before_other_files_are_named_is_told() {
        let folder = tempfile::tempdir().expect("folder");
        let (file, key) = (folder.path().join("gw.toml"), folder.path().join("key.pem"));
        std::fs::write(&file, "a").expect("write");
        let mut watch = Watch::new(std::slice::from_ref(&file)).expect("watch");

        std::fs::write(&file, "ab").expect("write");
        std::fs::write(&key, "k").expect("write");
        watch.set_files(&[file, key.clone()]).expect("watch");
        changes(&mut watch).await;

        std::fs::write(&key, "other").expect("write");
        changes(&mut watch).await;
    }

    #[tokio::test]
    async fn a_neighbour_is_no_change() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("gw.toml");
        std::fs::write(&file, "a").expect("write");
        let mut watch = Watch::new(std::slice::from_ref(&file)).expect("watch");

        std::fs::write(folder.path().join("neighbour"), "b").expect("write");
        watch.events.recv().await.expect("the event of the neighbour");
        assert_eq!(prints(&watch.files), watch.seen);
        std::fs::write(&file, "ab").expect("write");
        changes(&mut watch).await;
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let fault = Watch::new(&[PathBuf::from("/nowhere/at/all/gw.toml")]).expect_err("no folder");
        assert!(fault.to_string().contains("/nowhere/at/all"), "{fault}");
    }
}
