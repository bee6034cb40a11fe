//! Deadlines of connections, looked at a few times a second instead of one timer each.
//!
//! A connection notes when it began to wait, and for what, in a few cells; the sweep of its thread
//! compares that with the limits. A request costs no timer. Limits hold to within one tick.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::LimitsConfig;

/// Time between two sweeps.
pub const TICK: Duration = Duration::from_millis(250);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its first request.
    Fresh,
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// Nothing: requests are under way.
    Busy,
}

/// A connection's state, shared between its I/O, its service and the sweep.
pub struct Watched {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    write_since: Cell<Option<Instant>>,
    under_way: Cell<usize>,
    end: Cell<Option<&'static str>>,
    drain: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    now: Rc<Cell<Instant>>,
    /// HTTP/2: bytes between requests are frames, not heads.
    multiplexed: bool,
    /// HTTP/2: answers under way.
    streams: RefCell<Vec<Weak<Stream>>>,
}

/// An answer on one of several streams. Its caller may take nothing of it while the connection as a
/// whole is lively.
pub struct Stream {
    /// Since when its caller has had to take what it was given; `None` while the origin is waited for.
    given: Cell<Option<Instant>>,
    task: AbortHandle,
    now: Rc<Cell<Instant>>,
}

/// What the slowest caller takes of a stream, in bytes per millisecond: a frame may take that long.
const SLOWEST: u64 = 8;

impl Stream {
    /// So many bytes were given, or none are there to be given.
    pub fn gave(&self, bytes: Option<usize>) {
        self.given.set(bytes.map(|bytes| self.now.get() + Duration::from_millis(bytes as u64 / SLOWEST)));
    }
}

impl Watched {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// Bytes came in.
    pub fn read(&self) {
        if !self.multiplexed && matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// A request begins.
    pub fn begin(&self) {
        self.under_way.set(self.under_way.get() + 1);
        self.enter(Phase::Busy);
    }

    /// An answer has gone out, or been given up.
    pub fn finish(&self) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        if self.under_way.get() == 0 {
            self.enter(Phase::Idle);
        }
    }

    /// Watches one answer of several; `task` is what sends it, and is ended if its caller takes nothing.
    #[must_use]
    pub fn stream(&self, task: AbortHandle) -> Rc<Stream> {
        let stream = Rc::new(Stream { given: Cell::new(Some(self.now.get())), task, now: self.now.clone() });
        let mut streams = self.streams.borrow_mut();
        streams.retain(|weak| weak.strong_count() > 0);
        streams.push(Rc::downgrade(&stream));
        stream
    }

    /// Ends the streams whose callers take nothing; the connection and its other streams go on.
    fn end_stuck_streams(&self, now: Instant, limit: Duration) {
        let alive: Vec<Rc<Stream>> = self.streams.borrow().iter().filter_map(Weak::upgrade).collect();
        let stuck = |stream: &&Rc<Stream>| stream.given.get().is_some_and(|since| now.saturating_duration_since(since) >= limit);
        alive.iter().filter(stuck).for_each(|stream| stream.task.abort());
    }

    /// A write made progress, or is waiting.
    pub fn wrote(&self, progress: bool) {
        if progress {
            self.write_since.set(None);
        } else if self.write_since.get().is_none() {
            self.write_since.set(Some(self.now.get()));
        }
    }

    /// Why it has to end, if it has to.
    #[must_use]
    pub fn end(&self) -> Option<&'static str> {
        self.end.get()
    }

    /// Whether it shall finish what it has and take nothing more.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.drain.get()
    }

    /// Has the connection's task look at its state when that changes.
    pub fn wake_by(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if kept.as_ref().is_none_or(|have| !have.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn overdue(&self, now: Instant, limits: &LimitsConfig) -> Option<&'static str> {
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if self.write_since.get().is_some_and(|since| over(since, limits.write_idle_timeout.0)) {
            return Some("write_idle");
        }
        match self.phase.get() {
            Phase::Fresh if !self.multiplexed => over(self.since.get(), limits.head_timeout.0).then_some("head"),
            Phase::Head => over(self.since.get(), limits.head_timeout.0).then_some("head"),
            Phase::Fresh | Phase::Idle => over(self.since.get(), limits.keep_alive_timeout.0).then_some("keep_alive"),
            Phase::Busy => None,
        }
    }
}

/// The connections of one thread.
pub struct Watch {
    now: Rc<Cell<Instant>>,
    connections: RefCell<Vec<Weak<Watched>>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { now: Rc::new(Cell::new(Instant::now())), connections: RefCell::default() }
    }
}

impl Watch {
    /// Watches one connection more, until it is dropped.
    #[must_use]
    pub fn add(&self, multiplexed: bool) -> Rc<Watched> {
        let watched = Rc::new(Watched {
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(self.now.get()),
            write_since: Cell::new(None),
            under_way: Cell::new(0),
            end: Cell::new(None),
            drain: Cell::new(false),
            waker: RefCell::new(None),
            now: self.now.clone(),
            multiplexed,
            streams: RefCell::default(),
        });
        self.connections.borrow_mut().push(Rc::downgrade(&watched));
        watched
    }

    /// Ends what is overdue, and forgets what is gone.
    pub fn sweep(&self, now: Instant, limits: &LimitsConfig) {
        self.now.set(now);
        self.each(|watched| {
            watched.end_stuck_streams(now, limits.write_idle_timeout.0);
            if let Some(reason) = watched.overdue(now, limits) {
                watched.end.set(Some(reason));
                watched.wake();
            }
        });
    }

    /// Asks every connection to finish what it has.
    pub fn drain(&self) {
        self.each(|watched| {
            watched.drain.set(true);
            watched.wake();
        });
    }

    /// Ends every connection.
    pub fn end_all(&self) {
        self.each(|watched| {
            watched.end.set(Some("drain"));
            watched.wake();
        });
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.borrow().iter().filter(|weak| weak.strong_count() > 0).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn each(&self, act: impl Fn(&Watched)) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|weak| weak.strong_count() > 0);
        let alive: Vec<Rc<Watched>> = connections.iter().filter_map(Weak::upgrade).collect();
        drop(connections);
        alive.iter().for_each(|watched| act(watched));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_after(seconds: u64, multiplexed: bool, act: impl Fn(&Watched)) -> Option<&'static str> {
        let watch = Watch::default();
        let watched = watch.add(multiplexed);
        act(&watched);
        let later = watch.now.get() + Duration::from_secs(seconds);
        watch.sweep(later, &LimitsConfig::default());
        watched.end()
    }

    #[test]
    fn every_wait_has_its_limit() {
        assert_eq!(ends_after(9, false, |_| ()), None);
        assert_eq!(ends_after(10, false, |_| ()), Some("head"));
        assert_eq!(ends_after(10, false, Watched::read), Some("head"));
        assert_eq!(ends_after(3600, false, Watched::begin), None);
        let answered = |w: &Watched| {
            w.begin();
            w.finish();
        };
        assert_eq!(ends_after(59, false, answered), None);
        assert_eq!(ends_after(60, false, answered), Some("keep_alive"));
        assert_eq!(ends_after(59, true, Watched::read), None);
        assert_eq!(ends_after(60, true, Watched::read), Some("keep_alive"));
        let stuck = |w: &Watched| {
            w.begin();
            w.wrote(false);
        };
        assert_eq!(ends_after(30, false, stuck), Some("write_idle"));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let watch = Watch::default();
        drop(watch.add(false));
        assert!(watch.is_empty());
    }
}
