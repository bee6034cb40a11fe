//! The one writer: batches that wait at the same time share one commit.
//!
//! A commit costs two syncs of the disk, whatever is in it. Whoever asks for a change is answered when
//! its commit is done, and by then memory and followers know of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::book::{Book, Done, Turn};
use super::{Back, Batch, Change, Changed, Fault, Inner};
use crate::clock::UnixTime;

/// Batches in one commit at most: bounds how long the first of them waits.
const TOGETHER: usize = 512;
/// Records that one commit of a sweep takes away.
const SWEPT: usize = 5_000;

/// The least time between two openings of a file whose disk fails: each reads much of it.
const REOPENED: Duration = Duration::from_secs(5);

/// What the writer is asked.
pub(super) enum Job {
    /// To make changes.
    Write(Batch, oneshot::Sender<Result<Changed, Fault>>),
    /// To take away what is over.
    Sweep(UnixTime, oneshot::Sender<Result<u64, Fault>>),
}

/// Serves until nobody holds the ledger any more.
pub(super) fn run(inner: &std::sync::Weak<Inner>, jobs: &Receiver<Job>) {
    let mut reopened = None;
    loop {
        match jobs.recv_timeout(Duration::from_secs(1)) {
            Ok(first) => {
                let Some(inner) = inner.upgrade() else { return };
                let rest = std::iter::from_fn(|| jobs.try_recv().ok()).take(TOGETHER - 1);
                if !turn(&inner, std::iter::once(first).chain(rest)) {
                    mend(&inner, &mut reopened);
                }
            }
            Err(RecvTimeoutError::Timeout) if inner.strong_count() > 0 => {}
            Err(_) => return,
        }
    }
}

/// Opens the file anew where it takes nothing more. What others know of it is told again: of a change that failed, it is not
/// known whether it is there.
fn mend(inner: &Inner, reopened: &mut Option<Instant>) {
    let Back::File { book, is_up, .. } = &inner.back else { return };
    if book.begin().is_ok() {
        return;
    }
    if is_up.swap(false, Ordering::AcqRel) {
        tracing::error!("the ledger's file takes no changes; it is opened anew every {REOPENED:?} until it does");
    }
    if reopened.is_some_and(|at| at.elapsed() < REOPENED) {
        return;
    }
    let mut followed = Vec::new();
    let opened = book.reopen().and_then(|()| {
        let kinds = super::Kind::FOLLOWED.into_iter();
        kinds.map(Some).try_for_each(|kind| book.each(kind, |record| followed.push(Arc::new(record))))
    });
    *reopened = Some(Instant::now());
    match opened {
        Ok(()) => {
            inner.memory.clear();
            inner.start_over(&followed);
            is_up.store(true, Ordering::Release);
            tracing::info!("the ledger's file is open again");
        }
        Err(fault) => tracing::error!(%fault, "the ledger's file cannot be opened"),
    }
}

type Waiting = (oneshot::Sender<Result<Changed, Fault>>, Vec<Done>);

/// Whether the file took it.
fn turn(inner: &Inner, jobs: impl Iterator<Item = Job>) -> bool {
    let Back::File { book, .. } = &inner.back else { return true };
    let (mut batches, mut took) = (Vec::new(), true);
    for job in jobs {
        match job {
            Job::Write(batch, answer) => batches.push((batch, answer)),
            // Sweeps have commits of their own, each small enough to wait for.
            Job::Sweep(now, answer) => {
                let swept = sweep((inner, book), now);
                took &= swept.is_ok();
                let _ = answer.send(swept);
            }
        }
    }
    if batches.is_empty() {
        return took;
    }
    inner.commits.fetch_add(1, Ordering::Relaxed);
    match together(book, batches) {
        Ok(waiting) => {
            let changes: Vec<&Done> = waiting.iter().flat_map(|(_, done)| done).collect();
            tell(inner, &changes);
            for (answer, done) in waiting {
                let before = done.into_iter().map(|done| done.before.map(Arc::new)).collect();
                let _ = answer.send(Ok(Changed { before }));
            }
            took
        }
        Err((fault, answers)) => {
            for answer in answers {
                let _ = answer.send(Err(fault.clone()));
            }
            false
        }
    }
}

type Answers = Vec<oneshot::Sender<Result<Changed, Fault>>>;

/// One transaction for all of them. Those whose changes may not be made are answered at once.
fn together(book: &Book, batches: Vec<(Batch, oneshot::Sender<Result<Changed, Fault>>)>) -> Result<Vec<Waiting>, (Fault, Answers)> {
    let mut turn: Turn<'_> = match book.begin() {
        Ok(turn) => turn,
        Err(fault) => return Err((fault, batches.into_iter().map(|(_, answer)| answer).collect())),
    };
    let mut waiting: Vec<Waiting> = Vec::with_capacity(batches.len());
    let mut batches = batches.into_iter();
    while let Some((batch, answer)) = batches.next() {
        match turn.apply(&batch) {
            Ok(Ok(done)) => waiting.push((answer, done)),
            Ok(Err(refused)) => _ = answer.send(Err(refused)),
            Err(fault) => {
                let others = batches.map(|(_, answer)| answer);
                return Err((fault, waiting.into_iter().map(|(answer, _)| answer).chain([answer]).chain(others).collect()));
            }
        }
    }
    match turn.commit() {
        Ok(()) => Ok(waiting),
        Err(fault) => Err((fault, waiting.into_iter().map(|(answer, _)| answer).collect())),
    }
}

fn sweep((inner, book): (&Inner, &Book), now: UnixTime) -> Result<u64, Fault> {
    let mut all = 0;
    loop {
        let mut turn = book.begin()?;
        let done = turn.sweep(now, SWEPT)?;
        if done.is_empty() {
            return Ok(all);
        }
        turn.commit()?;
        tell(inner, &done.iter().collect::<Vec<_>>());
        all += done.len() as u64;
        if done.len() < SWEPT {
            return Ok(all);
        }
    }
}

fn tell(inner: &Inner, done: &[&Done]) {
    let change = |done: &&Done| Change {
        kind: done.kind,
        account: done.account.clone(),
        id: done.id.clone(),
        now: done.now.clone().map(Arc::new),
        ours: true,
    };
    inner.tell(done.iter().map(|done| (done.place, change(done))).collect());
}
