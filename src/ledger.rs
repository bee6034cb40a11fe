//! The durable record of everything that was issued: tokens, keys, API keys, and what was done.
//!
//! One file (redb), sealed record by record (AES-256-GCM). A change that was acknowledged is on the disk:
//! [`Ledger::write`] comes back after the commit, and by then [`Ledger::find`] and every [`Follower`]
//! know of it. [`Ledger::find`] is made for the data path: it answers out of a bounded memory that also
//! knows what is *not* there, and reads the file on a miss only.

mod book;
mod copy;
pub mod lookups;
mod memory;
pub mod record;
mod ring;
mod seal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, Weak};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, oneshot};

pub use self::book::{Cursor, Listing, Order, Page, SCHEMA, Start};
pub use self::copy::Form;
pub use self::record::{Account, Body, Kind, Record};
pub use self::ring::KeyRing;

use self::book::{Book, Place};
use self::memory::Memory;
use self::seal::Seal;
use self::writer::Job;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::units::Size;

/// The `[ledger]` table: where the durable record of what was issued is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// The folder of `ledger.redb`; made when it is not there. One gateway at a time. Needs a restart to change.
    pub folder: PathBuf,
    /// File with the key that seals records: 32 bytes in hexadecimal or base64, readable by its owner only. Unset: `ledger.key` in
    /// the folder, made at the first start. Without it nothing of the ledger can be read again.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Records remembered for the data path (about 1 KiB each), those that are not there included.
    #[serde(default = "remembered")]
    pub remembered: u64,
    /// Memory for pages of the file.
    #[serde(default = "page_cache")]
    pub page_cache: Size,
}

const fn remembered() -> u64 {
    100_000
}

const fn page_cache() -> Size {
    Size::kib(64 * 1024)
}

/// Changes that may wait for the writer; more are refused.
const WAITING: usize = 4096;
/// Changes that a slow listener may be behind; after that it is told that it missed some.
const BEHIND: usize = 4096;

/// Why the ledger did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record of this kind and id is there already.
    #[error("there is a record of this name already")]
    Exists,
    /// There is none, or it is another account's.
    #[error("there is no such record")]
    Missing,
    /// The account has as many of this kind as it may.
    #[error("the account has as many of these as it may")]
    Full,
    /// Too many changes wait for the disk.
    #[error("too many changes wait for the disk")]
    Busy,
    /// The file is sealed with another key.
    #[error("the ledger is sealed with another key than the one given")]
    WrongKey,
    /// The file has a layout that this version does not know.
    #[error("the ledger has the layout {found}; this version knows {SCHEMA}")]
    Schema {
        /// The file's.
        found: u64,
    },
    /// The file cannot be read or written.
    #[error("the ledger: {0}")]
    Broken(String),
}

impl Fault {
    #[allow(clippy::needless_pass_by_value, reason = "used as map_err's function")]
    fn broken(error: impl Into<redb::Error>) -> Self {
        Self::Broken(error.into().to_string())
    }
}

/// One change.
#[derive(Debug, Clone)]
pub enum Op {
    /// Adds a record; [`Fault::Exists`] when it is there.
    Create(Record),
    /// Adds a record, or takes the place of the one there.
    Put(Record),
    /// Takes the place of the account's own record; [`Fault::Missing`] when there is none.
    Replace(Record),
    /// Takes a record away; [`Fault::Missing`] when there is none of this account (or of any, for `None`).
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Arc<str>,
        /// Whose it must be.
        account: Option<Account>,
    },
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Now: what is over is not there.
    pub now: UnixTime,
    /// The changes.
    pub ops: Vec<Op>,
}

impl Batch {
    /// No change yet.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self { now, ops: Vec::new() }
    }

    /// And [`Op::Create`].
    #[must_use]
    pub fn create(self, record: Record) -> Self {
        self.and(Op::Create(record))
    }

    /// And [`Op::Put`].
    #[must_use]
    pub fn put(self, record: Record) -> Self {
        self.and(Op::Put(record))
    }

    /// And [`Op::Replace`].
    #[must_use]
    pub fn replace(self, record: Record) -> Self {
        self.and(Op::Replace(record))
    }

    /// And [`Op::Delete`] of an account's own record.
    #[must_use]
    pub fn delete(self, account: &Account, kind: Kind, id: &str) -> Self {
        self.and(Op::Delete { kind, id: id.into(), account: Some(account.clone()) })
    }

    /// And one more change.
    #[must_use]
    pub fn and(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }
}

/// What a batch found in place: for each change, in order, the record that it replaced or took away.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What was there before.
    pub before: Vec<Option<Arc<Record>>>,
}

/// A change that was committed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The record's kind.
    pub kind: Kind,
    /// Its account.
    pub account: Account,
    /// Its id.
    pub id: Arc<str>,
    /// What is there now; `None` when it was deleted or is over.
    pub now: Option<Arc<Record>>,
}

/// Who has to know of changes before they are acknowledged. Called on the writer's thread: must be quick.
pub trait Follower: Send + Sync {
    /// Takes in what was committed.
    fn follow(&self, changes: &[Change]);
}

/// The ledger. Cheap to clone; the file is closed with the last one.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
    jobs: SyncSender<Job>,
}

struct Inner {
    book: Book,
    memory: Memory,
    changes: broadcast::Sender<Change>,
    followers: Mutex<Vec<Weak<dyn Follower>>>,
    commits: AtomicU64,
}

/// The writer's work, for a thread of its own: it blocks on the disk.
pub type Work = Box<dyn FnOnce() + Send>;

impl Ledger {
    /// Opens the ledger that `config` names, making folder, key and file where they are not there yet.
    /// `spawn` is given the writer's work.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn open(config: &LedgerConfig, spawn: impl FnOnce(Work) -> Result<(), String>) -> Result<Self, String> {
        let shown = config.folder.display();
        std::fs::create_dir_all(&config.folder).map_err(|e| format!("cannot make the folder {shown}: {e}"))?;
        let file = config.folder.join("ledger.redb");
        let seal = Seal::new(&key(config, &file)?)?;
        let book = Book::open(&file, seal, config.page_cache.as_usize()).map_err(|fault| format!("{}: {fault}", file.display()))?;
        private(&file)?;
        let inner = Arc::new(Inner {
            book,
            memory: Memory::new(config.remembered),
            changes: broadcast::Sender::new(BEHIND),
            followers: Mutex::default(),
            commits: AtomicU64::new(0),
        });
        let (jobs, received) = std::sync::mpsc::sync_channel(WAITING);
        let weak = Arc::downgrade(&inner);
        spawn(Box::new(move || writer::run(&weak, &received)))?;
        Ok(Self { inner, jobs })
    }

    /// The record that is presented or named by `id`, if it is there at `now`. Answers out of memory; reads the file on a
    /// miss (a few microseconds, no network).
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read: nothing may then be let in for it.
    pub fn find(&self, kind: Kind, id: &str, now: UnixTime) -> Result<Option<Arc<Record>>, Fault> {
        // No id is that long; what is, is not worth remembering.
        if id.is_empty() || id.len() > ID_MAX {
            return Ok(None);
        }
        let id: Arc<str> = id.into();
        let found = match self.inner.memory.get(kind, &id) {
            Some(found) => found,
            None => {
                let place = self.inner.book.seal.place(kind, &id);
                self.inner.memory.fill(kind, id, &place, || self.inner.book.get(&place))?
            }
        };
        Ok(found.filter(|record| !record.is_over(now)))
    }

    /// As [`Ledger::find`], for an account that must be its owner: another's record is not there.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub fn find_of(&self, account: &Account, kind: Kind, id: &str, now: UnixTime) -> Result<Option<Arc<Record>>, Fault> {
        Ok(self.find(kind, id, now)?.filter(|record| record.account == *account))
    }

    /// Makes changes, all or none, and comes back when they are on the disk and known everywhere here.
    ///
    /// # Errors
    /// Which change may not be made, or why none can. After [`Fault::Broken`] it is not known whether they were.
    pub async fn write(&self, batch: Batch) -> Result<Changed, Fault> {
        self.ask(batch)?.await.map_err(|_| gone())?
    }

    /// The same, for those who may block.
    ///
    /// # Errors
    /// As [`Ledger::write`].
    pub fn write_blocking(&self, batch: Batch) -> Result<Changed, Fault> {
        self.ask(batch)?.blocking_recv().map_err(|_| gone())?
    }

    fn ask(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Changed, Fault>>, Fault> {
        if batch.ops.iter().any(Op::is_too_long) {
            return Err(Fault::Broken("a record's id is empty or too long".into()));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Write(batch, answer))?;
        Ok(answered)
    }

    fn send(&self, job: Job) -> Result<(), Fault> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Fault::Busy,
            TrySendError::Disconnected(_) => gone(),
        })
    }

    /// A page of records that are there at `now`, with how many there are in all. Reads the file: call it where blocking for
    /// some milliseconds is fine.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read.
    pub async fn list(&self, listing: Listing, now: UnixTime) -> Result<Page, Fault> {
        // Counts and indexes hold what is over until it is swept.
        self.sweep(now).await?;
        let inner = self.inner.clone();
        let page = tokio::task::spawn_blocking(move || inner.book.list(&listing)).await;
        page.map_err(|_| Fault::Broken("listing was ended".into()))?
    }

    /// Calls `each` with every record of a kind (or of all), in no useful order, and without keeping them.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read.
    pub fn each(&self, kind: Option<Kind>, mut each: impl FnMut(Record)) -> Result<(), Fault> {
        const AT_ONCE: usize = 1000;
        let mut after: Option<Place> = None;
        loop {
            let found = self.inner.book.walk(kind, after, AT_ONCE)?;
            let whole = found.len() == AT_ONCE;
            after = found.last().map(|(place, _)| *place).or(after);
            found.into_iter().for_each(|(_, record)| each(record));
            if !whole {
                return Ok(());
            }
        }
    }

    /// Takes away what is over at `now`. Costs next to nothing when nothing is. Gives how many were.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be written.
    pub async fn sweep(&self, now: UnixTime) -> Result<u64, Fault> {
        if self.inner.book.next_due()?.is_none_or(|due| due > now) {
            return Ok(0);
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Sweep(now, answer))?;
        answered.await.map_err(|_| gone())?
    }

    /// How many records of each kind there are.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read.
    pub fn counts(&self) -> Result<Vec<(Kind, u64)>, Fault> {
        self.inner.book.counts()
    }

    /// Commits made by this process: what shared one is counted once.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Every change from now on. Who falls behind is told so and has to look anew.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Has `follower` told of every change before that is acknowledged, for as long as it lives.
    pub fn follow(&self, follower: &Arc<dyn Follower>) {
        let mut followers = self.inner.followers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(follower));
    }
}

/// Longest id of a record in bytes.
pub const ID_MAX: usize = 512;

impl Op {
    fn is_too_long(&self) -> bool {
        let id = match self {
            Self::Create(record) | Self::Put(record) | Self::Replace(record) => &record.id,
            Self::Delete { id, .. } => id,
        };
        id.is_empty() || id.len() > ID_MAX
    }
}

fn gone() -> Fault {
    Fault::Broken("its writer has ended".into())
}

/// The key of a ledger: the file that the config names, or the one in its folder, made with the ledger.
fn key(config: &LedgerConfig, ledger: &Path) -> Result<Secret<String>, String> {
    if let Some(file) = &config.key_file {
        return crate::files::read_secret(file);
    }
    let file = config.folder.join("ledger.key");
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
fn private(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(not(unix))]
fn private(_file: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests;
