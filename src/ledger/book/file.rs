//! The open file, and how it is opened anew.
//!
//! After a fault of its disk, such as a full one, redb takes no more changes and reads nothing that it does not have in memory,
//! until it is opened again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, TryLockError};

use redb::{Builder, Database, DatabaseError};

use crate::ledger::Fault;

/// Bytes that a disk must take for the file to be worth opening on it.
const ROOM: usize = 256 * 1024;

/// The file.
pub(super) struct File {
    path: PathBuf,
    cache: usize,
    /// `None` while it cannot be opened.
    database: RwLock<Option<Database>>,
}

impl File {
    /// Opens or makes it, with so many bytes of memory for its pages.
    pub(super) fn open(path: &Path, cache: usize) -> Result<Self, Fault> {
        let file = Self { path: path.to_owned(), cache, database: RwLock::default() };
        file.load(|builder, path| builder.create(path))?;
        Ok(file)
    }

    /// Opens it anew, as it was after the last change that was committed, once its disk takes something again: until then what
    /// is in memory can still be read. A file that went away is not made anew: an empty ledger would be taken for the whole one.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        self.try_disk().map_err(|error| Fault::Broken(error.to_string()))?;
        self.load(|builder, path| builder.open(path))
    }

    /// What `begin` begins in it. Whoever asks is not made to wait for a file that is being repaired.
    pub(super) fn begin<T, E: Into<redb::Error>>(&self, begin: impl FnOnce(&Database) -> Result<T, E>) -> Result<T, Fault> {
        let database = match self.database.try_read() {
            Ok(database) => database,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Fault::Broken("its file is being opened anew".into())),
        };
        let database = database.as_ref().ok_or_else(|| Fault::Broken("its file cannot be opened".into()))?;
        begin(database).map_err(Fault::broken)
    }

    fn load(&self, open: fn(&Builder, &Path) -> Result<Database, DatabaseError>) -> Result<(), Fault> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // First the lock on the file is given up.
        *database = None;
        *database = Some(open(Database::builder().set_cache_size(self.cache), &self.path).map_err(Fault::broken)?);
        Ok(())
    }

    fn try_disk(&self) -> std::io::Result<()> {
        let trial = self.path.with_extension("trial");
        let tried = std::fs::File::create(&trial).and_then(|mut file| {
            file.write_all(&[0; ROOM])?;
            file.sync_all()
        });
        let gone = std::fs::remove_file(&trial);
        tried.and(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_went_away_is_not_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.redb");
        let file = File::open(&path, 1024 * 1024).expect("made");
        file.reopen().expect("opened anew");
        std::fs::remove_file(&path).expect("removed");
        assert!(file.reopen().is_err());
        assert!(!path.exists() && file.begin(Database::begin_write).is_err());
    }
}
