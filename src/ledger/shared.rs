//! The ledger in a store that a fleet shares (Valkey or Redis).
//!
//! One task speaks to the store for changes and look-ups, turn by turn: each turn is one script that does everything that
//! waits, and tells what other gateways did since the last one. So memory and followers hear of all changes in the one
//! order in which the store made them, and nothing that was read before a change can be remembered after it. Other
//! gateways ring a bell (pub/sub); where it is not heard, the task asks every `poll_every`.
//!
//! What followers hold ready is walked over at the beginning, and whenever changes may have been missed: some steps after each
//! turn. Until a walk is through the ledger counts as not heard, and nobody waits for it longer than [`Shared::catch_up`] says.
//!
//! # While the store does not answer
//! Changes are refused ([`Fault::Away`]). What is remembered holds for `trust_for` since the store was heard last; then
//! it is forgotten, signing keys with it, and look-ups are refused until the store is back.

mod walk;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::walk::Walk;
use self::wire::{News, Part, Reader, Turn, Wire};
use super::book::Place;
use super::seal::Seal;
use super::{Batch, Change, Changed, Claim, Fault, Inner, Kind, Listing, Page, Record, Work};
use crate::clock::Clock;
use crate::store::valkey::{Bell, Place as Around, ValkeyStoreConfig, longest};

/// Asks that may wait for a turn; more are refused.
const WAITING: usize = 4096;
/// Changes in one turn at most, about: bounds how long a script holds the store up.
const TOGETHER: usize = 500;
/// Records that one turn sweeps away at most.
pub(super) const SWEPT: usize = 2_000;
/// Pause before a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a walk goes on before the next turn.
const STRIDE: Duration = Duration::from_millis(20);

/// What the task is asked.
pub(super) enum Ask {
    /// To make changes.
    Write(Batch, oneshot::Sender<Result<Changed, Fault>>),
    /// For a record, to be remembered.
    Get(Kind, Arc<str>, oneshot::Sender<Result<Option<Arc<Record>>, Fault>>),
    /// To take away what is over.
    Sweep(oneshot::Sender<Result<u64, Fault>>),
    /// For a page.
    List(Listing, oneshot::Sender<Result<Page, Fault>>),
    /// For a step of a walk, by somebody who blocks.
    Walk(Kind, u64, std::sync::mpsc::SyncSender<Result<(Vec<Record>, u64), Fault>>),
    /// To note a use.
    Claim(Claim, oneshot::Sender<Result<bool, Fault>>),
    /// To tell followers of everything anew, and then to say so, or why not.
    StartOver(std::sync::mpsc::SyncSender<Result<(), Fault>>),
}

/// How it stands with the store.
struct Standing {
    /// Whether what is remembered holds.
    trusted: AtomicBool,
    /// Whether the last turn was answered.
    up: AtomicBool,
    counts: Mutex<Vec<(Kind, u64)>>,
}

/// The side of those who ask.
pub(super) struct Shared {
    asks: mpsc::Sender<Ask>,
    standing: Arc<Standing>,
    timeout: Duration,
    longest: Duration,
}

/// The task.
struct Speaker {
    inner: Weak<Inner>,
    wire: Arc<Wire>,
    asks: mpsc::Receiver<Ask>,
    standing: Arc<Standing>,
    poll_every: Duration,
    trust_for: Duration,
    bell: Option<Bell>,
    /// When listening is tried again: the server's user may not be allowed to.
    listen_at: Instant,
    reader: Reader,
    is_settled: bool,
    /// Under way while followers have to be told everything anew.
    walk: Option<Walk>,
    /// Who waits for its end.
    waiting: Vec<std::sync::mpsc::SyncSender<Result<(), Fault>>>,
    heard: Instant,
    away: Option<Away>,
}

/// The store cannot be used.
struct Away {
    /// When it is asked again.
    until: Instant,
    why: Fault,
}

/// What is needed to begin: made before the ledger is, run after it.
pub(super) struct Beginning {
    asks: mpsc::Receiver<Ask>,
    standing: Arc<Standing>,
    wire: Arc<Wire>,
    poll_every: Duration,
    trust_for: Duration,
}

impl Shared {
    pub(super) fn new(
        (config, trust_for): (&ValkeyStoreConfig, Duration),
        around: Around<'_>,
        clock: &Clock,
        seal: Arc<Seal>,
    ) -> Result<(Self, Beginning), String> {
        let wire = Arc::new(Wire::new(config, around, clock, seal)?);
        let standing = Arc::new(Standing { trusted: AtomicBool::new(false), up: AtomicBool::new(false), counts: Mutex::default() });
        let (asks, received) = mpsc::channel(WAITING);
        let beginning = Beginning { asks: received, standing: standing.clone(), wire, poll_every: config.poll_every.0, trust_for };
        Ok((Self { asks, standing, timeout: config.timeout.0, longest: longest(config) }, beginning))
    }

    pub(super) fn ask(&self, ask: Ask) -> Result<(), Fault> {
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Fault::Busy,
            mpsc::error::TrySendError::Closed(_) => super::gone(),
        })
    }

    /// Whether what is remembered holds.
    pub(super) fn is_trusted(&self) -> bool {
        self.standing.trusted.load(Ordering::Acquire)
    }

    pub(super) fn is_up(&self) -> bool {
        self.standing.up.load(Ordering::Acquire)
    }

    /// The record, asked of the store: a viewer waits for it.
    pub(super) async fn get(&self, kind: Kind, id: &Arc<str>) -> Result<Option<Arc<Record>>, Fault> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Get(kind, id.clone(), answer))?;
        let told = tokio::time::timeout(self.timeout, answered).await.map_err(|_| Fault::Away("no answer in time".into()))?;
        told.map_err(|_| super::gone())?
    }

    pub(super) fn walk(&self, kind: Kind, from: u64) -> Result<(Vec<Record>, u64), Fault> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.ask(Ask::Walk(kind, from, answer))?;
        answered.recv().map_err(|_| super::gone())?
    }

    /// Has followers told of everything anew, and waits for it, but not for long: it goes on behind.
    ///
    /// # Errors
    /// Why they are not told yet.
    pub(super) fn catch_up(&self) -> Result<(), Fault> {
        // A connection, and an answer.
        let most = self.longest * 2;
        let (told, outcome) = std::sync::mpsc::sync_channel(1);
        self.ask(Ask::StartOver(told))?;
        outcome.recv_timeout(most).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(Fault::Away(format!("not all of it was told within {most:?}"))),
            RecvTimeoutError::Disconnected => Err(super::gone()),
        })
    }

    pub(super) fn counts(&self) -> Vec<(Kind, u64)> {
        self.standing.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Beginning {
    /// The task's work, for a thread of its own.
    pub(super) fn work(self, inner: Weak<Inner>) -> Result<Work, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime: {e}"))?;
        let Self { asks, standing, wire, poll_every, trust_for } = self;
        Ok(Box::new(move || {
            runtime.block_on(async move {
                let speaker = Speaker {
                    inner,
                    wire,
                    asks,
                    standing,
                    poll_every,
                    trust_for,
                    bell: None,
                    listen_at: Instant::now(),
                    reader: Reader::default(),
                    is_settled: false,
                    walk: Some(Walk::default()),
                    waiting: Vec::new(),
                    heard: Instant::now(),
                    away: None,
                };
                speaker.run().await;
            });
        }))
    }
}

impl Speaker {
    async fn run(mut self) {
        while let Some(asked) = self.next().await {
            let Some(inner) = self.inner.upgrade() else { return };
            let asked = asked.into_iter().filter_map(|ask| self.aside(ask)).collect::<Vec<_>>();
            let outcome = self.hear(&inner, asked).await;
            if outcome.is_err() || self.walk.is_none() {
                // Whoever waited may have stopped waiting.
                self.waiting.drain(..).for_each(|told| drop(told.try_send(outcome.clone())));
            }
            if let Err(fault) = outcome {
                tracing::debug!(%fault, "the ledger's store");
            }
        }
    }

    /// What waits by now; nothing when it is time to ask what others did; `None` at the end.
    async fn next(&mut self) -> Option<Vec<Ask>> {
        let pause = match &self.away {
            Some(away) => away.until.saturating_duration_since(Instant::now()),
            None if self.walk.is_some() => Duration::ZERO,
            None => self.poll_every,
        };
        let read = self.reader.cursor();
        let rung = async {
            let Some(bell) = self.bell.as_mut() else { return std::future::pending().await };
            while let Some(message) = bell.next().await {
                // It rings for what this gateway did as well, and once for each change.
                if message.get_payload::<i64>().is_ok_and(|seq| seq > read) {
                    return true;
                }
            }
            false
        };
        let first = tokio::select! {
            ask = self.asks.recv() => ask?,
            heard = rung => {
                if !heard {
                    self.bell = None;
                }
                return Some(Vec::new());
            }
            () = tokio::time::sleep(pause) => return Some(Vec::new()),
        };
        let mut asked = vec![first];
        let mut changes = 0;
        while changes < TOGETHER && asked.len() < TOGETHER {
            let Ok(ask) = self.asks.try_recv() else { break };
            changes += if let Ask::Write(batch, _) = &ask { batch.ops.len() } else { 0 };
            asked.push(ask);
        }
        Some(asked)
    }

    /// Does beside the turns what remembers nothing.
    fn aside(&mut self, ask: Ask) -> Option<Ask> {
        let wire = self.wire.clone();
        match ask {
            Ask::List(listing, answer) => drop(tokio::spawn(async move { answer.send(wire.list(&listing).await) })),
            Ask::Walk(kind, from, answer) => drop(tokio::spawn(async move { answer.send(wire.walk(kind, from).await) })),
            Ask::Claim(claim, answer) => drop(tokio::spawn(async move { answer.send(wire.claim(&claim).await) })),
            Ask::StartOver(told) => {
                self.waiting.push(told);
                // A follower that is new knows nothing yet.
                self.standing.trusted.store(false, Ordering::Release);
                self.walk.get_or_insert_default();
            }
            turned @ (Ask::Write(..) | Ask::Get(..) | Ask::Sweep(_)) => return Some(turned),
        }
        None
    }

    /// One turn, or the reason why there is none now.
    async fn hear(&mut self, inner: &Inner, asked: Vec<Ask>) -> Result<(), Fault> {
        if self.away.as_ref().is_some_and(|away| away.until > Instant::now()) {
            let fault = Fault::Away("it did not answer before".into());
            refuse(asked, &fault);
            return Err(fault);
        }
        let outcome = match self.turn(&asked).await {
            // A connection that was lost while nobody spoke is not worth refusing anybody.
            Err(Fault::Away(_)) if self.away.is_none() && !asked.iter().any(|ask| matches!(ask, Ask::Write(..))) => {
                self.walk_anew();
                self.turn(&asked).await
            }
            outcome => outcome,
        };
        let outcome = match outcome {
            Ok(turn) => {
                self.take(inner, turn, asked);
                self.catch_up(inner).await
            }
            Err(fault) => {
                refuse(asked, &fault);
                Err(fault)
            }
        };
        match &outcome {
            Ok(()) => self.heard(inner),
            Err(fault) => self.lost(inner, fault),
        }
        outcome
    }

    async fn turn(&mut self, asked: &[Ask]) -> Result<Turn, Fault> {
        if !self.is_settled {
            self.wire.settle().await?;
            self.is_settled = true;
        }
        if self.bell.is_none() && self.listen_at <= Instant::now() {
            // Before the log is read, so that nothing falls between.
            self.bell = self.wire.listen().await;
            self.listen_at = Instant::now() + self.poll_every;
        }
        let mut parts: Vec<Part<'_>> = asked.iter().filter_map(|ask| self.part(ask)).collect();
        parts.push(Part::Counts);
        self.wire.turn(&parts, &mut self.reader).await
    }

    /// Whether it is the same server after a fault is not known, and another one counts steps otherwise.
    fn walk_anew(&mut self) {
        self.walk = self.walk.take().map(|_| Walk::default());
    }

    fn part<'a>(&self, ask: &'a Ask) -> Option<Part<'a>> {
        match ask {
            Ask::Write(batch, _) => Some(Part::Batch(batch)),
            Ask::Get(kind, id, _) => Some(Part::Get(self.wire.seal.place(*kind, id))),
            Ask::Sweep(_) => Some(Part::Sweep(SWEPT)),
            Ask::List(..) | Ask::Walk(..) | Ask::Claim(..) | Ask::StartOver(_) => None,
        }
    }

    /// First what happened, then the answers: whoever is answered finds memory and followers as they are to be.
    fn take(&mut self, inner: &Inner, mut turn: Turn, asked: Vec<Ask>) {
        // Another store: it has to be told which key it is sealed with.
        self.is_settled &= !turn.is_new;
        match std::mem::replace(&mut turn.news, News::Unknown) {
            News::Changes(changes) => self.follow(inner, changes),
            News::Unknown => {
                inner.memory.clear();
                self.walk = Some(Walk::default());
            }
        }
        if asked.iter().any(|ask| matches!(ask, Ask::Write(..))) {
            inner.commits.fetch_add(1, Ordering::Relaxed);
        }
        for ask in asked {
            self.answer(inner, &mut turn, ask);
        }
        if let Ok(counts) = turn.counts() {
            *self.standing.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        }
    }

    fn follow(&mut self, inner: &Inner, changes: Vec<Result<wire::Told, Fault>>) {
        let mut told = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Ok(wire::Told { place, record, is_gone, ours }) => {
                    let (kind, account, id) = (record.kind(), record.account.clone(), record.id.clone());
                    told.push((place, Change { kind, account, id, now: (!is_gone).then(|| Arc::new(record)), ours }));
                }
                Err(fault) => {
                    tracing::error!(%fault, "a change of the ledger cannot be read");
                    inner.memory.clear();
                }
            }
        }
        if let Some(walk) = &mut self.walk {
            walk.note(told.iter().map(|(_, change)| change));
        }
        inner.tell(told);
    }

    /// Walks on, and at the end tells followers of all that they hold.
    async fn catch_up(&mut self, inner: &Inner) -> Result<(), Fault> {
        let began = Instant::now();
        while let Some(walk) = &mut self.walk {
            match walk.next().filter(|_| inner.is_followed()) {
                Some((kind, from)) => walk.step(self.wire.walk(kind, from).await?),
                None => {
                    inner.start_over(&self.walk.take().unwrap_or_default().whole());
                    self.standing.trusted.store(true, Ordering::Release);
                }
            }
            if began.elapsed() > STRIDE {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, inner: &Inner, turn: &mut Turn, ask: Ask) {
        match ask {
            Ask::Write(batch, answer) => {
                let before = turn.batch(&self.wire, &batch);
                let changed = before.map(|before| Changed { before: before.into_iter().map(|record| record.map(Arc::new)).collect() });
                let _ = answer.send(changed);
            }
            Ask::Get(kind, id, answer) => {
                let place: Place = self.wire.seal.place(kind, &id);
                let found = turn.get(&self.wire, &place).map(|record| record.map(Arc::new));
                if let Ok(record) = &found {
                    inner.memory.keep(kind, id, &place, record.clone());
                }
                let _ = answer.send(found);
            }
            Ask::Sweep(answer) => _ = answer.send(turn.number()),
            Ask::List(..) | Ask::Walk(..) | Ask::Claim(..) | Ask::StartOver(_) => {}
        }
    }

    /// The store answered.
    fn heard(&mut self, inner: &Inner) {
        if self.away.take().is_some() {
            tracing::info!("the ledger's store answers again");
        }
        self.standing.up.store(true, Ordering::Release);
        if self.walk.is_none() {
            self.heard = Instant::now();
        } else {
            self.lapse(inner);
        }
    }

    /// The store did not answer, or said something that is of no use. What is remembered holds for a while.
    fn lost(&mut self, inner: &Inner, fault: &Fault) {
        let is_the_same = |away: &Away| std::mem::discriminant(&away.why) == std::mem::discriminant(fault);
        if !self.away.as_ref().is_some_and(is_the_same) {
            tracing::warn!(%fault, "the ledger's store cannot be used; what is remembered holds for {:?}", self.trust_for);
        }
        self.away = Some(Away { until: Instant::now() + PAUSE, why: fault.clone() });
        self.standing.up.store(false, Ordering::Release);
        (self.bell, self.listen_at) = (None, Instant::now());
        self.walk_anew();
        self.lapse(inner);
    }

    /// Forgets what is remembered, once nothing has vouched for it for too long.
    fn lapse(&mut self, inner: &Inner) {
        if self.heard.elapsed() >= self.trust_for && self.standing.trusted.swap(false, Ordering::AcqRel) {
            tracing::error!("the ledger's store was not heard for {:?}: what it holds lets nobody in until it is back", self.trust_for);
            inner.memory.clear();
            inner.start_over(&[]);
            self.walk.get_or_insert_default();
        }
    }
}

fn refuse(asked: Vec<Ask>, fault: &Fault) {
    for ask in asked {
        match ask {
            Ask::Write(_, answer) => _ = answer.send(Err(fault.clone())),
            Ask::Get(.., answer) => _ = answer.send(Err(fault.clone())),
            Ask::Sweep(answer) => _ = answer.send(Err(fault.clone())),
            Ask::List(_, answer) => _ = answer.send(Err(fault.clone())),
            Ask::Walk(.., answer) => _ = answer.send(Err(fault.clone())),
            Ask::Claim(.., answer) => _ = answer.send(Err(fault.clone())),
            Ask::StartOver(told) => drop(told.try_send(Err(fault.clone()))),
        }
    }
}
