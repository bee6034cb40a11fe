//! A body as it comes in, and what watches it before anything else does.
//!
//! The watch may count, look, change and stop; how fast the bytes come is measured here, where waiting for the caller can be told from
//! waiting for the origin.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::{BodyError, Edit, Malformed};

pin_project! {
    /// A body as it is received, with what watches it from its first byte on.
    pub struct Received {
        #[pin]
        incoming: Incoming,
        // What has been looked at, and is still to come.
        ahead: VecDeque<Bytes>,
        watch: Option<Watching>,
    }
}

/// What watches a body, and what it has let through.
struct Watching {
    edit: Box<dyn Edit>,
    out: VecDeque<Bytes>,
    length: Option<u64>,
    ended: bool,
    rate: Option<Rate>,
}

impl Received {
    /// A body that nothing watches.
    #[must_use]
    pub const fn new(incoming: Incoming) -> Self {
        Self { incoming, ahead: VecDeque::new(), watch: None }
    }

    /// Waits for the beginning of the body until `enough` of it has come. It comes again as if nobody had looked.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn peek(&mut self, mut enough: impl FnMut(&Bytes) -> bool) -> Result<(), BodyError> {
        while let Some(frame) = self.incoming.frame().await {
            // Trailers are dropped later all the same.
            let Ok(piece) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            let is_enough = enough(&piece);
            self.ahead.push_back(piece);
            if is_enough {
                break;
            }
        }
        Ok(())
    }

    fn came_as(&self) -> SizeHint {
        let (mut hint, ahead) = (self.incoming.size_hint(), self.ahead.iter().map(Bytes::len).sum::<usize>() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }

    /// Puts `edit` in front of all that comes later. A body without bytes is not watched.
    pub fn watch(&mut self, edit: Box<dyn Edit>, rate: Option<Rate>) {
        if !self.is_end_stream() {
            let length = self.came_as().exact().and_then(|length| edit.length(length));
            self.watch = Some(Watching { edit, out: VecDeque::new(), length, ended: false, rate });
        }
    }
}

/// The least that a body has to bring in while it is waited for.
#[derive(Debug, Clone)]
pub struct Rate {
    least: u64,
    over: Duration,
    waited: Duration,
    bytes: u64,
    since: Option<Instant>,
}

impl Rate {
    /// At least `least` bytes a second, over each `over` of waiting.
    #[must_use]
    pub const fn new(least: u64, over: Duration) -> Self {
        Self { least, over, waited: Duration::ZERO, bytes: 0, since: None }
    }

    /// Nothing has come: the waiting begins, or goes on.
    fn waits(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// So many bytes have come. `false` when that was too slow.
    fn came(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        if self.waited < self.over {
            return true;
        }
        let fast = self.bytes as f64 >= self.least as f64 * self.waited.as_secs_f64();
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        fast
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        let Some(watching) = this.watch else {
            return match this.ahead.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => this.incoming.poll_frame(cx).map_err(BodyError::Broken),
            };
        };
        loop {
            if let Some(piece) = watching.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if watching.ended {
                return Poll::Ready(None);
            }
            let next = match this.ahead.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => this.incoming.as_mut().poll_frame(cx),
            };
            let Poll::Ready(frame) = next else {
                watching.rate.iter_mut().for_each(Rate::waits);
                return Poll::Pending;
            };
            if let Err(error) = watching.take(frame) {
                watching.ended = true;
                watching.out.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.watch {
            None => self.ahead.is_empty() && self.incoming.is_end_stream(),
            Some(watching) => watching.ended && watching.out.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.watch {
            None => self.came_as(),
            // Only asked for before the first piece, when the head is written.
            Some(watching) => watching.length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl Watching {
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>) -> Result<(), BodyError> {
        let Some(frame) = frame.transpose().map_err(BodyError::Broken)? else {
            self.ended = true;
            return self.edit.finish(&mut self.out).map_err(|Malformed| BodyError::Malformed);
        };
        // Trailers are dropped later all the same.
        let Ok(piece) = frame.into_data() else { return Ok(()) };
        if self.rate.as_mut().is_some_and(|rate| !rate.came(piece.len())) {
            return Err(BodyError::Slow);
        }
        self.edit.push(piece, &mut self.out).map_err(|Malformed| BodyError::Malformed)
    }
}
