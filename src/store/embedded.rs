//! Records in one file (redb), for one process at a time.
//!
//! A record is sealed with AES-256-GCM under a random nonce, bound to its room, its key and its end, so that
//! none can be put in the place of another. A change is synced to the disk before the call is back: after `kill -9`
//! the file holds either all of it or nothing. Calls block for a sync; they belong on threads that may wait some
//! milliseconds.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use zeroize::Zeroizing;

use super::StoreFault;
use crate::clock::UnixTime;
use crate::secret::Secret;

/// Version of the form of records, their first byte.
const FORM: u8 = 1;

/// Form, end, nonce.
const HEAD: usize = 1 + 8 + NONCE_LEN;

/// Memory for pages of the file.
const PAGES: usize = 4 * 1024 * 1024;

/// Where it is noted which key the file was made with.
const OWN: &str = "store";
const OWN_RECORD: &[u8] = b"key";

/// A file of records. Clones share it.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    database: Database,
    seal: RandomizedNonceKey,
}

/// The records of one kind in a file. Clones share it.
#[derive(Clone)]
pub struct Room {
    store: Embedded,
    name: &'static str,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Fewest characters of a key.
    pub const KEY_MIN: usize = 32;

    /// Opens a file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn open(file: &Path, key: &Secret<String>) -> Result<Self, StoreFault> {
        if key.expose().len() < Self::KEY_MIN {
            return Err(StoreFault::ShortKey);
        }
        // A label of its own, so that one text can be the key of several things (NIST SP 800-108 §4.1).
        let sealing = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()), b"tollgate store records v1");
        let seal = RandomizedNonceKey::new(&AES_256_GCM, sealing.as_ref()).map_err(|_| StoreFault::ShortKey)?;
        let open = private(file).map_err(|fault| StoreFault::Io(format!("{}: {fault}", file.display())))?;
        let opened = FileBackend::new(open).and_then(|file| Database::builder().set_cache_size(PAGES).create_with_backend(file));
        let database = opened.map_err(|fault| match fault {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreFault::InUse,
            fault => StoreFault::Io(format!("{}: {fault}", file.display())),
        })?;
        let store = Self(Arc::new(Inner { database, seal }));
        store.know_key()?;
        Ok(store)
    }

    /// The records of one kind. The name is part of what seals them: it is never changed.
    #[must_use]
    pub fn room(&self, name: &'static str) -> Room {
        Room { store: self.clone(), name }
    }

    fn know_key(&self) -> Result<(), StoreFault> {
        let own = self.room(OWN);
        match own.get(OWN_RECORD, UnixTime::MIN) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => own.put(OWN_RECORD, b"tollgate", UnixTime::MAX),
            Err(StoreFault::Changed) => Err(StoreFault::WrongKey),
            Err(fault) => Err(fault),
        }
    }
}

impl Room {
    /// The record of `key`, if it has not ended.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn get(&self, key: &[u8], now: UnixTime) -> Result<Option<Zeroizing<Vec<u8>>>, StoreFault> {
        let read = self.store.0.database.begin_read().map_err(io)?;
        let table = match read.open_table(self.table()) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(fault) => return Err(io(fault)),
        };
        let found = table.get(key).map_err(io)?;
        found.filter(|it| alive(it.value(), now)).map(|it| self.unseal(key, it.value())).transpose()
    }

    /// Writes a record, over what was there.
    ///
    /// # Errors
    /// [`StoreFault`]; what was there then still is.
    pub fn put(&self, key: &[u8], value: &[u8], end: UnixTime) -> Result<(), StoreFault> {
        let sealed = self.seal(key, value, end)?;
        self.write(|table| table.insert(key, sealed.as_slice()).map(|_| ()))
    }

    /// Takes a record out.
    ///
    /// # Errors
    /// [`StoreFault`]; the record then still is there.
    pub fn remove(&self, key: &[u8]) -> Result<(), StoreFault> {
        self.write(|table| table.remove(key).map(|_| ()))
    }

    /// All records that have not ended, by key.
    ///
    /// # Errors
    /// [`StoreFault`] of the file; a record that cannot be opened is left out.
    pub fn all(&self, now: UnixTime) -> Result<Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>, StoreFault> {
        let read = self.store.0.database.begin_read().map_err(io)?;
        let table = match read.open_table(self.table()) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(fault) => return Err(io(fault)),
        };
        let mut found = Vec::new();
        for entry in table.iter().map_err(io)? {
            let (key, sealed) = entry.map_err(io)?;
            if alive(sealed.value(), now)
                && let Ok(value) = self.unseal(key.value(), sealed.value())
            {
                found.push((key.value().to_vec(), value));
            }
        }
        Ok(found)
    }

    /// Takes out what has ended.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn sweep(&self, now: UnixTime) -> Result<(), StoreFault> {
        self.write(|table| table.retain(|_, sealed| alive(sealed, now)))
    }

    fn table(&self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name)
    }

    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), StoreFault> {
        let write = self.store.0.database.begin_write().map_err(io)?;
        {
            let mut table = write.open_table(self.table()).map_err(io)?;
            change(&mut table).map_err(io)?;
        }
        // The default durability: data and root are synced before this is back.
        write.commit().map_err(io)
    }

    fn seal(&self, key: &[u8], value: &[u8], end: UnixTime) -> Result<Vec<u8>, StoreFault> {
        let mut body = Zeroizing::new(value.to_vec());
        let sealing = &self.store.0.seal;
        let (nonce, tag) = sealing
            .seal_in_place_separate_tag(Aad::from(self.place(key, end)), &mut body)
            .map_err(|_| StoreFault::Io("a record cannot be sealed".into()))?;
        let mut sealed = vec![FORM];
        sealed.extend(end.0.to_be_bytes());
        sealed.extend(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed.extend(tag.as_ref());
        Ok(sealed)
    }

    fn unseal(&self, key: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreFault> {
        let (head, body) = sealed.split_at_checked(HEAD).filter(|(head, _)| head[0] == FORM).ok_or(StoreFault::Changed)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[9..]).map_err(|_| StoreFault::Changed)?;
        let mut body = Zeroizing::new(body.to_vec());
        let aad = Aad::from(self.place(key, end_of(sealed)));
        let length = self.store.0.seal.open_in_place(nonce, aad, &mut body).map_err(|_| StoreFault::Changed)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// What a record is bound to. Every part has its length in front, so that no two places read the same.
    fn place(&self, key: &[u8], end: UnixTime) -> Vec<u8> {
        let mut place = vec![FORM];
        for part in [self.name.as_bytes(), key, &end.0.to_be_bytes()] {
            place.extend((part.len() as u64).to_be_bytes());
            place.extend(part);
        }
        place
    }
}

fn end_of(sealed: &[u8]) -> UnixTime {
    let end = sealed.get(1..9).and_then(|end| end.try_into().ok());
    end.map_or(UnixTime::MIN, |end| UnixTime(i64::from_be_bytes(end)))
}

fn alive(sealed: &[u8], now: UnixTime) -> bool {
    now < end_of(sealed)
}

fn io(fault: impl Into<redb::Error>) -> StoreFault {
    StoreFault::Io(fault.into().to_string())
}

fn private(file: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn key(text: &str) -> Secret<String> {
        Secret::new(text.repeat(Embedded::KEY_MIN))
    }

    #[test]
    fn records_outlive_the_process_until_their_end() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("store.redb");
        {
            let store = Embedded::open(&file, &key("k")).expect("store");
            let room = store.room("credentials");
            room.put(b"a", b"canary", NOW.plus(60)).expect("put");
            room.put(b"b", b"other", NOW.plus(10)).expect("put");
            room.put(b"c", b"gone", NOW.plus(60)).expect("put");
            room.remove(b"c").expect("remove");
            assert_eq!(Embedded::open(&file, &key("k")).map(|_| ()), Err(StoreFault::InUse));
        }
        let room = Embedded::open(&file, &key("k")).expect("store").room("credentials");
        let get = |key: &[u8], now| room.get(key, now).expect("get").map(|value| value.to_vec());
        assert_eq!(get(b"a", NOW), Some(b"canary".to_vec()));
        assert_eq!((get(b"a", NOW.plus(60)), get(b"b", NOW.plus(11)), get(b"c", NOW)), (None, None, None));
        room.sweep(NOW.plus(11)).expect("sweep");
        let left: Vec<_> = room.all(UnixTime::MIN).expect("all").into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [b"a".to_vec()]);
    }

    #[test]
    fn the_file_is_sealed_and_its_own() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("store.redb");
        let store = Embedded::open(&file, &key("k")).expect("store");
        store.room("credentials").put(b"a", b"canary-in-a-record", UnixTime::MAX).expect("put");
        drop(store);
        let bytes = std::fs::read(&file).expect("file");
        assert!(!bytes.windows(6).any(|part| part == b"canary"));
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("file").permissions()) & 0o777, 0o600);
        assert_eq!(Embedded::open(&file, &key("x")).map(|_| ()), Err(StoreFault::WrongKey));
        assert_eq!(Embedded::open(&file, &Secret::new("short".into())).map(|_| ()), Err(StoreFault::ShortKey));
    }

    #[test]
    fn a_record_in_another_place_is_no_record() {
        let folder = tempfile::tempdir().expect("folder");
        let store = Embedded::open(&folder.path().join("s"), &key("k")).expect("store");
        let (one, two) = (store.room("one"), store.room("two"));
        let sealed = one.seal(b"a", b"value", NOW).expect("sealed");
        assert_eq!(one.unseal(b"a", &sealed).expect("value").as_slice(), b"value");
        let mut later = sealed.clone();
        later[8] ^= 1;
        let mut other = sealed.clone();
        *other.last_mut().expect("a byte") ^= 1;
        for (room, key, sealed) in [(&two, &b"a"[..], &sealed), (&one, b"b", &sealed), (&one, b"a", &later), (&one, b"a", &other)] {
            assert_eq!(room.unseal(key, sealed).map(|_| ()), Err(StoreFault::Changed));
        }
        for cut in 0..sealed.len() {
            assert!(one.unseal(b"a", &sealed[..cut]).is_err());
        }
    }
}
