//! Bodies in both directions: frames pass as they come, and what must live to the last byte rides along.
//!
//! A body is never buffered, re-framed or boxed per frame; one that a route changes ([`Edit`]) is changed as it
//! passes. A body that falls silent for too long
//! ends with an error; one that ends cleanly gives its connection back ([`Ending::finish`]), one that is dropped
//! before does not.

mod received;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

pub use received::{Rate, Received};

use super::pace::Pace;
use super::pool::Lease;
use super::record::Shared;
use crate::session::Gone;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for longer than allowed.
    #[error("the body fell silent")]
    Silent,
    /// The sender broke off or broke the framing.
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    /// It comes more slowly than it must.
    #[error("the body comes too slowly")]
    Slow,
    /// It is not of the media type that it says it has.
    #[error("the body is malformed")]
    Malformed,
    /// The session that it is an answer to may not have more of it.
    #[error("the session cannot go on: {0}")]
    SessionGone(Gone),
}

/// Sees the bytes of an answer pass.
pub trait Watch {
    /// These are next.
    fn saw(&mut self, data: &[u8]);
}

/// What is told of a body's end.
pub trait Ending {
    /// The last frame has come, and nothing was wrong.
    fn finish(&mut self);
}

pin_project! {
    /// A body on its way to the caller.
    pub struct Body {
        #[pin]
        kind: Kind,
        record: Option<Shared>,
        sent: u64,
        watch: Option<Box<dyn Watch>>,
        pace: Option<Box<Pace>>,
    }

    impl PinnedDrop for Body {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(record) = this.record.take() {
                record.bytes_out.set(*this.sent);
            }
        }
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind {
        Full { bytes: Option<Bytes> },
        Upstream { #[pin] body: Timed<Lease> },
    }
}

impl Kind {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full { bytes } => bytes.is_none(),
            Self::Upstream { body } => body.is_end_stream(),
        }
    }
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { kind: Kind::Full { bytes: (!bytes.is_empty()).then_some(bytes) }, record: None, sent: 0, pace: None, watch: None }
    }

    /// An origin's body; its connection goes back when it has come whole.
    #[must_use]
    pub fn upstream(incoming: Incoming, silence: Duration, mut lease: Lease) -> Self {
        if incoming.is_end_stream() {
            lease.finish();
            return Self::empty();
        }
        Self {
            kind: Kind::Upstream { body: Timed::new(Received::new(incoming), silence, lease) },
            record: None,
            sent: 0,
            pace: None,
            watch: None,
        }
    }

    /// The same body, with `watch` told of what passes. It is dropped with the body.
    #[must_use]
    pub fn watched(mut self, watch: Box<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The same body at no more than `rate` bytes a second, after a first second's worth at once.
    #[must_use]
    pub fn paced(mut self, rate: Option<u64>) -> Self {
        self.pace = rate.filter(|_| matches!(self.kind, Kind::Upstream { .. })).map(|rate| Box::new(Pace::new(rate)));
        self
    }

    /// The same body, counted on `record`, which it keeps until its end.
    #[must_use]
    pub fn on_record(mut self, record: Shared) -> Self {
        record.complete.set(self.is_end_stream());
        self.record = Some(record);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.as_mut().poll_piece(cx));
        let this = self.project();
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            let before = std::mem::replace(this.sent, *this.sent + data.len() as u64);
            // Before the caller has it, so that what he does next finds it known.
            if let Some(watch) = this.watch {
                watch.saw(data);
            }
            if let Some(Err(gone)) = this.record.as_ref().map(|record| record.pass(before, data.len() as u64)) {
                return Poll::Ready(Some(Err(BodyError::SessionGone(gone))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream() && self.pace.as_ref().is_none_or(|pace| pace.held.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Upstream { body } => {
                let held = self.pace.as_ref().map_or(0, |pace| pace.held.len() as u64);
                let mut hint = body.size_hint();
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper + held);
                }
                hint.set_lower(hint.lower() + held);
                hint
            }
        }
    }
}

impl Body {
    /// The next frame, no sooner than it may go out.
    fn poll_piece(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        if let Some(pace) = this.pace.as_mut() {
            std::task::ready!(pace.poll_due(cx, *this.sent));
            if let Some(piece) = pace.piece() {
                if let (true, Some(record)) = (pace.held.is_empty() && this.kind.is_end_stream(), this.record) {
                    record.complete.set(true);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        let (frame, ended) = match this.kind.project() {
            KindProj::Full { bytes } => (Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))), true),
            KindProj::Upstream { mut body } => {
                let frame = body.as_mut().poll_frame(cx);
                let last = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_trailers());
                let ended = last || matches!(frame, Poll::Ready(None)) || (frame.is_ready() && body.is_end_stream());
                (frame, ended)
            }
        };
        let (frame, ended) = match this.pace {
            Some(pace) => pace.cut(frame, ended),
            None => (frame, ended),
        };
        // hyper does not poll past the last byte of a body whose length it knows, nor past trailers.
        if let (true, Some(record)) = (ended, this.record) {
            record.complete.set(true);
        }
        frame
    }
}

pin_project! {
    /// A received body under a limit on its silence.
    pub struct Timed<E> {
        #[pin]
        incoming: Received,
        // Armed at the first wait only, and not moved with every frame: when it fires, it looks at
        // `waiting` and sleeps on for what is left. A wait costs a clock read, not a timer.
        #[pin]
        alarm: Option<Sleep>,
        // Since when a frame has been asked for in vain. Time in which nobody asks is not the sender's.
        waiting: Option<Instant>,
        silence: Duration,
        done: bool,
        ending: E,
    }
}

impl<E> Timed<E> {
    fn new(incoming: Received, silence: Duration, ending: E) -> Self {
        Self { incoming, alarm: None, waiting: None, silence, done: false, ending }
    }
}

impl<E: Ending> HttpBody for Timed<E> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        let frame = this.incoming.as_mut().poll_frame(cx);
        if frame.is_ready() {
            *this.waiting = None;
        }
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                // A body of known length may never be polled past its last byte, nor any body past its trailers.
                if (this.incoming.is_end_stream() || frame.is_trailers()) && !*this.done {
                    *this.done = true;
                    this.ending.finish();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => {
                if !std::mem::replace(this.done, true) {
                    this.ending.finish();
                }
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        let waiting = *this.waiting.get_or_insert_with(Instant::now);
        loop {
            if this.alarm.is_none() {
                this.alarm.set(Some(tokio::time::sleep(*this.silence)));
            }
            let Some(mut alarm) = this.alarm.as_mut().as_pin_mut() else { return Poll::Pending };
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let quiet = waiting.elapsed();
            if quiet >= *this.silence {
                return Poll::Ready(Some(Err(BodyError::Silent)));
            }
            alarm.reset(tokio::time::Instant::now() + (*this.silence - quiet));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// How far a caller's body has come; shared with whoever must know whether it was sent whole.
#[derive(Debug)]
pub struct Progress {
    /// Whether a byte of it has been asked for.
    pub begun: std::cell::Cell<bool>,
    /// When it was last asked for.
    pub moved: std::cell::Cell<Instant>,
    /// Whether it had nothing then.
    pub empty: std::cell::Cell<bool>,
    /// The longest time that nothing may come of it.
    pub silence: Duration,
    /// Whether nothing may follow it on its connection.
    pub last: std::cell::Cell<bool>,
    /// Whether its last byte has been taken.
    pub whole: std::cell::Cell<bool>,
    /// Whether it fell silent.
    pub silent: std::cell::Cell<bool>,
    /// Whether it broke off.
    pub broken: std::cell::Cell<bool>,
    /// Whether it came too slowly.
    pub slow: std::cell::Cell<bool>,
}

impl Progress {
    /// Whether the caller is the one who is waited for. One that has been waited for longer than its own
    /// limit allows has sent something since, which the origin has not taken.
    #[must_use]
    pub fn waits(&self, patience: Duration) -> bool {
        self.empty.get() && self.moved.get().elapsed() <= self.silence + patience
    }

    fn new(whole: bool, silence: Duration) -> Rc<Self> {
        use std::cell::Cell;
        Rc::new(Self {
            begun: Cell::new(false),
            moved: Cell::new(Instant::now()),
            empty: Cell::new(false),
            silence,
            last: Cell::new(false),
            whole: Cell::new(whole),
            silent: Cell::new(false),
            broken: Cell::new(false),
            slow: Cell::new(false),
        })
    }
}

struct RequestEnding(Rc<Progress>);

impl Ending for RequestEnding {
    fn finish(&mut self) {
        self.0.whole.set(true);
    }
}

/// Changes a body while it passes, without holding more of it than a few KiB.
pub trait Edit {
    /// Takes the next piece, and puts what goes on into `out`.
    ///
    /// # Errors
    /// When the body is not what it says it is: nothing more of it goes on.
    fn push(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Malformed>;

    /// The last piece has come; puts what was held back into `out`.
    ///
    /// # Errors
    /// When the body ends in the middle of something.
    fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Malformed>;

    /// The new length of a body that was `length` bytes long; `None` when that shows at its end only.
    fn length(&self, length: u64) -> Option<u64>;
}

/// A body that cannot be edited, because it is not of its own media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What is kept of a body on its way, so that a short one can be sent once more.
#[derive(Debug)]
pub struct Kept {
    bytes: RefCell<Option<BytesMut>>,
    most: usize,
}

impl Kept {
    /// Keeps bodies of up to `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { bytes: RefCell::new(Some(BytesMut::new())), most })
    }

    fn add(&self, data: &[u8]) {
        let mut kept = self.bytes.borrow_mut();
        match kept.as_mut() {
            Some(bytes) if bytes.len() + data.len() <= self.most => bytes.extend_from_slice(data),
            _ => *kept = None,
        }
    }

    /// The bytes so far; `None` when they were too many.
    #[must_use]
    pub fn take(&self) -> Option<Bytes> {
        self.bytes.borrow_mut().take().map(BytesMut::freeze)
    }
}

pin_project! {
    /// A body on its way to the origin. Trailers of callers are dropped: what they could add to a
    /// request was never verified.
    pub struct RequestBody {
        #[pin]
        kind: RequestKind,
        caller: Caller,
    }
}

pin_project! {
    #[project = RequestKindProj]
    enum RequestKind {
        None,
        Full { bytes: Option<Bytes> },
        Caller { #[pin] body: Timed<RequestEnding> },
        Edited { #[pin] body: Timed<RequestEnding>, editing: Editing },
    }
}

/// What is noted of a body while it passes.
struct Caller {
    progress: Rc<Progress>,
    record: Shared,
    kept: Option<Rc<Kept>>,
}

/// An edit under way.
struct Editing {
    edit: Box<dyn Edit>,
    out: VecDeque<Bytes>,
    length: Option<u64>,
    ended: bool,
}

impl RequestBody {
    /// The caller's body; `silence` is the longest time nothing may come of it.
    #[must_use]
    pub fn new(incoming: Received, silence: Duration, record: Shared) -> Self {
        let progress = Progress::new(incoming.is_end_stream(), silence);
        let kind = if incoming.is_end_stream() {
            RequestKind::None
        } else {
            RequestKind::Caller { body: Timed::new(incoming, silence, RequestEnding(progress.clone())) }
        };
        Self { kind, caller: Caller { progress, record, kept: None } }
    }

    /// No body, for another try of a request that had none.
    #[must_use]
    pub fn none(record: Shared) -> Self {
        Self { kind: RequestKind::None, caller: Caller { progress: Progress::new(true, Duration::ZERO), record, kept: None } }
    }

    /// These bytes.
    #[must_use]
    pub fn full(bytes: Bytes, record: Shared) -> Self {
        if bytes.is_empty() {
            return Self::none(record);
        }
        let caller = Caller { progress: Progress::new(false, Duration::ZERO), record, kept: None };
        Self { kind: RequestKind::Full { bytes: Some(bytes) }, caller }
    }

    /// The same body, with what comes of it kept beside, as it was before any edit.
    #[must_use]
    pub fn keeping(mut self, by: Rc<Kept>) -> Self {
        self.caller.kept = Some(by);
        self
    }

    /// The same body, edited on its way; only a caller's own one.
    #[must_use]
    pub fn edited(mut self, edit: Box<dyn Edit>) -> Self {
        self.kind = match self.kind {
            RequestKind::Caller { body } => {
                let length = body.size_hint().exact().and_then(|length| edit.length(length));
                RequestKind::Edited { body, editing: Editing { edit, out: VecDeque::new(), length, ended: false } }
            }
            other => other,
        };
        self
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Rc<Progress> {
        self.caller.progress.clone()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        match this.kind.project() {
            RequestKindProj::None => Poll::Ready(None),
            RequestKindProj::Full { bytes } => {
                this.caller.progress.begun.set(true);
                this.caller.progress.whole.set(true);
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            RequestKindProj::Caller { body } => this.caller.next(body, cx),
            RequestKindProj::Edited { body, editing } => editing.next(body, this.caller, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            RequestKind::None => true,
            RequestKind::Full { bytes } => bytes.is_none(),
            RequestKind::Caller { body } => body.is_end_stream(),
            RequestKind::Edited { editing, .. } => editing.ended && editing.out.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            RequestKind::None => SizeHint::with_exact(0),
            RequestKind::Full { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            RequestKind::Caller { body } => body.size_hint(),
            // Only asked for before the first piece, when the head is written.
            RequestKind::Edited { editing, .. } => editing.length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

type NextFrame = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Caller {
    /// The caller's next piece, noted.
    fn next(&self, body: Pin<&mut Timed<RequestEnding>>, cx: &mut Context<'_>) -> NextFrame {
        let (progress, record) = (&self.progress, &self.record);
        progress.begun.set(true);
        progress.moved.set(Instant::now());
        let frame = body.poll_frame(cx);
        progress.empty.set(frame.is_pending());
        match &frame {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => {
                    record.bytes_in.set(record.bytes_in.get() + data.len() as u64);
                    self.kept.iter().for_each(|kept| kept.add(data));
                }
                None => {
                    // Trailers are the end of it.
                    progress.whole.set(true);
                    return Poll::Ready(None);
                }
            },
            Poll::Ready(Some(Err(BodyError::Silent))) => progress.silent.set(true),
            Poll::Ready(Some(Err(BodyError::Slow))) => progress.slow.set(true),
            Poll::Ready(Some(Err(BodyError::Broken(_) | BodyError::Malformed))) => progress.broken.set(true),
            Poll::Ready(None | Some(Err(BodyError::SessionGone(_)))) | Poll::Pending => {}
        }
        frame
    }
}

impl Editing {
    /// The next piece of an edited body.
    fn next(&mut self, mut body: Pin<&mut Timed<RequestEnding>>, caller: &Caller, cx: &mut Context<'_>) -> NextFrame {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let frame = match caller.next(body.as_mut(), cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return Poll::Pending,
            };
            let edited = match frame {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |piece| self.edit.push(piece, &mut self.out)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    self.edit.finish(&mut self.out)
                }
            };
            if edited.is_err() {
                self.ended = true;
                self.out.clear();
                caller.progress.broken.set(true);
                return Poll::Ready(Some(Err(BodyError::Malformed)));
            }
        }
    }
}
