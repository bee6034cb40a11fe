//! The durable record of everything that was issued: tokens, keys, API keys, and what was done.
//!
//! One file (redb), or a store that a fleet shares (Valkey or Redis); sealed record by record (AES-256-GCM). A change that
//! was acknowledged is on the disk, or in the store: [`Ledger::write`] comes back after the commit, and by then look-ups and
//! every [`Follower`] know of it. [`Ledger::recall`] is made for the data path: it answers out of a bounded memory that also
//! knows what is *not* there, and reads the file on a miss. What is missing there of a shared ledger is asked for with
//! [`Ledger::find`], without holding up anybody else.

mod book;
mod change;
mod config;
mod copy;
mod layout;
pub mod lookups;
mod memory;
pub mod record;
mod ring;
mod seal;
mod shared;
mod writer;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{broadcast, oneshot};

pub use self::book::{Cursor, Listing, Order, Page, Start};
pub use self::change::{Batch, Change, Changed, Follower, ID_MAX, Op};
pub use self::config::LedgerConfig;
pub use self::copy::Form;
pub use self::layout::SCHEMA;
pub use self::record::{Account, Body, Kind, Record};
pub use self::ring::KeyRing;

use self::book::{Book, Place};
use self::memory::Memory;
use self::seal::Seal;
use self::shared::{Ask, Shared};
use self::writer::Job;
use crate::clock::{Clock, UnixTime};
use crate::store::valkey::{Place as Around, ValkeyStoreConfig};

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
    /// What callers chose of it is nested too deeply to be read again.
    #[error("what is to be kept is nested more than {} levels deep", record::DEEPEST)]
    TooDeep,
    /// Too many changes wait for the disk, or for the store.
    #[error("too many changes wait already")]
    Busy,
    /// The store of a shared ledger does not answer. Whether a change was made is then not known.
    #[error("the ledger's store does not answer: {0}")]
    Away(String),
    /// The file is sealed with another key.
    #[error("the ledger is sealed with another key than the one given")]
    WrongKey,
    /// A later version wrote it.
    #[error("the ledger has the layout {found}; this version knows those up to {SCHEMA}")]
    Schema {
        /// The ledger's, or the record's.
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

/// The ledger. Cheap to clone; the file is closed with the last one.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    seal: Arc<Seal>,
    memory: Memory,
    changes: broadcast::Sender<Change>,
    followers: Mutex<Vec<Weak<dyn Follower>>>,
    commits: AtomicU64,
    back: Back,
}

/// Where records are kept.
enum Back {
    File { book: Book, jobs: SyncSender<Job> },
    Shared(Shared),
}

/// The work of the ledger's own thread: it blocks on the disk, or speaks to the store.
pub type Work = Box<dyn FnOnce() + Send>;

/// A use of something that is used up.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is used.
    pub name: String,
    /// How long that is kept in mind; for good when unset.
    pub life: Option<std::time::Duration>,
    /// Who uses it, and how many may, each as often as it likes; unset, it is used once by anybody.
    pub among: Option<(String, u32)>,
}

/// What the data path can tell of a record at once.
#[derive(Debug, Clone)]
pub enum Recalled {
    /// It is there, or it is known not to be.
    Known(Option<Arc<Record>>),
    /// The store has to be asked: [`Ledger::find`].
    Unknown,
}

impl Ledger {
    /// Opens the ledger that `config` names, making folder, key and file where they are not there yet. A shared one opens also
    /// while its store does not answer, or is slow: after twice the longest wait for it at the latest.
    /// `spawn` is given the work of its thread.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn open(
        config: &LedgerConfig,
        around: (Around<'_>, &Clock),
        spawn: impl FnOnce(Work) -> Result<(), String>,
    ) -> Result<Self, String> {
        match (&config.folder, &config.valkey) {
            (Some(folder), None) => Self::open_file(config, folder, spawn),
            (None, Some(valkey)) => Self::open_shared(config, valkey, around, spawn),
            _ => Err("exactly one of `folder` and `valkey` must be set".into()),
        }
    }

    fn open_file(config: &LedgerConfig, folder: &Path, spawn: impl FnOnce(Work) -> Result<(), String>) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make the folder {}: {e}", folder.display()))?;
        let file = folder.join("ledger.redb");
        let seal = Arc::new(Seal::new(&config::key(config, folder, &file)?)?);
        let book = Book::open(&file, seal.clone(), config.page_cache.as_usize());
        let book = book.map_err(|fault| format!("{}: {fault}", file.display()))?;
        config::private(&file)?;
        let (jobs, received) = std::sync::mpsc::sync_channel(WAITING);
        let ledger = Self::new(config, seal, Back::File { book, jobs });
        let weak = Arc::downgrade(&ledger.inner);
        spawn(Box::new(move || writer::run(&weak, &received)))?;
        Ok(ledger)
    }

    fn open_shared(
        config: &LedgerConfig,
        valkey: &ValkeyStoreConfig,
        (around, clock): (Around<'_>, &Clock),
        spawn: impl FnOnce(Work) -> Result<(), String>,
    ) -> Result<Self, String> {
        let key_file = config.key_file.as_ref().ok_or("a shared ledger needs `key_file`, the same on every gateway")?;
        let seal = Arc::new(Seal::new(&crate::files::read_secret(key_file)?)?);
        let (shared, beginning) = Shared::new((valkey, config.trust_for.0), around, clock, seal.clone())?;
        let ledger = Self::new(config, seal, Back::Shared(shared));
        spawn(beginning.work(Arc::downgrade(&ledger.inner))?)?;
        ledger.catch_up().map_err(|fault| fault.to_string())?;
        Ok(ledger)
    }

    /// Has followers of a shared ledger told of everything anew, now or as soon as its store tells it.
    fn catch_up(&self) -> Result<(), Fault> {
        let Back::Shared(shared) = &self.inner.back else { return Ok(()) };
        match shared.catch_up() {
            // These do not pass by themselves.
            Err(fault @ (Fault::WrongKey | Fault::Schema { .. })) => Err(fault),
            Err(fault) => {
                tracing::warn!(%fault, "the ledger's store has not told everything; what it holds lets nobody in until it has");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn new(config: &LedgerConfig, seal: Arc<Seal>, back: Back) -> Self {
        let inner = Inner {
            seal,
            memory: Memory::new(config.remembered),
            changes: broadcast::Sender::new(BEHIND),
            followers: Mutex::default(),
            commits: AtomicU64::new(0),
            back,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What is presented or named by `id`, without waiting: out of memory, or on a miss out of the file (a few microseconds).
    /// A record may be over.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read: nothing may then be let in for it.
    pub fn recall(&self, kind: Kind, id: &str) -> Result<Recalled, Fault> {
        // No id is that long; what is, is not worth remembering.
        if id.is_empty() || id.len() > ID_MAX {
            return Ok(Recalled::Known(None));
        }
        let id: Arc<str> = id.into();
        if let Some(found) = self.inner.memory.get(kind, &id).filter(|_| !self.is_lapsed()) {
            return Ok(Recalled::Known(found));
        }
        match &self.inner.back {
            Back::File { book, .. } => {
                let place = self.inner.seal.place(kind, &id);
                self.inner.memory.fill(kind, id, &place, || book.get(&place)).map(Recalled::Known)
            }
            Back::Shared(_) => Ok(Recalled::Unknown),
        }
    }

    /// The record that is presented or named by `id`, if it is there at `now`: out of memory, else out of file or store.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read, [`Fault::Away`] when the store cannot: nothing may then be let in for it.
    pub async fn find(&self, kind: Kind, id: &str, now: UnixTime) -> Result<Option<Arc<Record>>, Fault> {
        let found = match (self.recall(kind, id)?, &self.inner.back) {
            (Recalled::Known(found), _) => found,
            (Recalled::Unknown, Back::Shared(shared)) => shared.get(kind, &id.into()).await?,
            (Recalled::Unknown, Back::File { .. }) => None,
        };
        Ok(found.filter(|record| !record.is_over(now)))
    }

    /// Whether what this gateway remembers no longer holds: the store of a shared ledger was not heard for too long.
    #[must_use]
    pub fn is_lapsed(&self) -> bool {
        if let Back::Shared(shared) = &self.inner.back { !shared.is_trusted() } else { false }
    }

    /// Whether it can be asked: its file always, a shared one while its store answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        if let Back::Shared(shared) = &self.inner.back { shared.is_up() } else { true }
    }

    /// Whether a fleet shares it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.inner.back, Back::Shared(_))
    }

    /// As [`Ledger::find`], for an account that must be its owner: another's record is not there.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub async fn find_of(&self, account: &Account, kind: Kind, id: &str, now: UnixTime) -> Result<Option<Arc<Record>>, Fault> {
        Ok(self.find(kind, id, now).await?.filter(|record| record.account == *account))
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
        if batch.ops.iter().any(Op::is_too_deep) {
            return Err(Fault::TooDeep);
        }
        let (answer, answered) = oneshot::channel();
        match &self.inner.back {
            Back::File { jobs, .. } => send(jobs, Job::Write(batch, answer))?,
            Back::Shared(shared) => shared.ask(Ask::Write(batch, answer))?,
        }
        Ok(answered)
    }

    /// A page of records that are there at `now`, with how many there are in all.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read, [`Fault::Away`] when the store cannot.
    pub async fn list(&self, listing: Listing, now: UnixTime) -> Result<Page, Fault> {
        // Counts and indexes hold what is over until it is swept.
        self.sweep(now).await?;
        let shared = match &self.inner.back {
            Back::Shared(shared) => shared,
            Back::File { .. } => {
                let inner = self.inner.clone();
                // It blocks for some milliseconds.
                let page =
                    tokio::task::spawn_blocking(
                        move || if let Back::File { book, .. } = &inner.back { book.list(&listing) } else { Err(gone()) },
                    );
                return page.await.map_err(|_| Fault::Broken("listing was ended".into()))?;
            }
        };
        let (answer, answered) = oneshot::channel();
        shared.ask(Ask::List(listing, answer))?;
        answered.await.map_err(|_| gone())?
    }

    /// Calls `each` with every record of a kind (or of all), in no useful order, and without keeping them. While a shared
    /// ledger changes, a record may come twice.
    ///
    /// # Errors
    /// As [`Ledger::list`]. For those who may block.
    pub fn each(&self, kind: Option<Kind>, mut each: impl FnMut(Record)) -> Result<(), Fault> {
        match &self.inner.back {
            Back::File { book, .. } => book.each(kind, each),
            Back::Shared(shared) => {
                for kind in Kind::ALL.into_iter().filter(|one| kind.is_none_or(|kind| kind == *one)) {
                    let mut from = 0;
                    loop {
                        let (records, next) = shared.walk(kind, from)?;
                        records.into_iter().for_each(&mut each);
                        if next == 0 {
                            break;
                        }
                        from = next;
                    }
                }
                Ok(())
            }
        }
    }

    /// Takes away what is over at `now` (of a shared ledger: by its store's clock). Costs next to nothing when nothing is.
    /// Gives how many were.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be written, [`Fault::Away`] when the store cannot.
    pub async fn sweep(&self, now: UnixTime) -> Result<u64, Fault> {
        match &self.inner.back {
            Back::File { book, jobs } => {
                if book.next_due()?.is_none_or(|due| due > now) {
                    return Ok(0);
                }
                let (answer, answered) = oneshot::channel();
                send(jobs, Job::Sweep(now, answer))?;
                answered.await.map_err(|_| gone())?
            }
            Back::Shared(shared) => {
                let mut all = 0;
                loop {
                    let (answer, answered) = oneshot::channel();
                    shared.ask(Ask::Sweep(answer))?;
                    let swept = answered.await.map_err(|_| gone())??;
                    all += swept;
                    if swept < shared::SWEPT as u64 {
                        return Ok(all);
                    }
                }
            }
        }
    }

    /// Notes a use over the fleet. Whether there was one left.
    ///
    /// # Errors
    /// [`Fault::Away`] when the store does not answer. Only a shared ledger notes uses.
    pub async fn claim(&self, claim: Claim) -> Result<bool, Fault> {
        let Back::Shared(shared) = &self.inner.back else { return Err(Fault::Broken("nobody shares the ledger".into())) };
        let (answer, answered) = oneshot::channel();
        shared.ask(Ask::Claim(claim, answer))?;
        answered.await.map_err(|_| gone())?
    }

    /// How many records of each kind there are; of a shared ledger, when its store was heard last.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the file cannot be read.
    pub fn counts(&self) -> Result<Vec<(Kind, u64)>, Fault> {
        match &self.inner.back {
            Back::File { book, .. } => book.counts(),
            Back::Shared(shared) => Ok(shared.counts()),
        }
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

    /// Has `follower` told of all that there is (of a file, of one kind), and of every change before that is acknowledged, for as
    /// long as it lives. Of a shared ledger whose store is slow or away it is told as soon as that can be.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn follow(&self, follower: &Arc<dyn Follower>, kind: Kind) -> Result<(), Fault> {
        // First the changes, then what is there: what is made meanwhile comes twice rather than never.
        let mut followers = self.inner.followers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(follower));
        drop(followers);
        if let Back::File { book, .. } = &self.inner.back {
            let mut records = Vec::new();
            book.each(Some(kind), |record| records.push(Arc::new(record)))?;
            follower.start_over(&records);
        }
        self.catch_up()
    }
}

impl Inner {
    /// Memory first, then followers: whoever hears of a change sees it.
    fn tell(&self, told: Vec<(Place, Change)>) {
        for (place, change) in &told {
            self.memory.changed(change.kind, &change.id, place, change.now.clone());
        }
        let changes: Vec<Change> = told.into_iter().map(|(_, change)| change).collect();
        self.each_follower(|follower| follower.follow(&changes));
        for change in changes {
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
    }

    fn start_over(&self, records: &[Arc<Record>]) {
        self.each_follower(|follower| follower.start_over(records));
    }

    fn is_followed(&self) -> bool {
        self.followers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().any(|follower| follower.strong_count() > 0)
    }

    fn each_follower(&self, tell: impl Fn(&dyn Follower)) {
        let followers = self.followers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        followers.iter().filter_map(Weak::upgrade).for_each(|follower| tell(&*follower));
    }
}

fn send(jobs: &SyncSender<Job>, job: Job) -> Result<(), Fault> {
    jobs.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => Fault::Busy,
        TrySendError::Disconnected(_) => gone(),
    })
}

fn gone() -> Fault {
    Fault::Broken("its writer has ended".into())
}

#[cfg(test)]
mod tests;
