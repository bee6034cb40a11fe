//! A caller's socket with eyes: what is read goes past the head scan, what waits is noted.
//!
//! Closing a socket with unread bytes resets the connection, and a reset can overtake the answer that
//! a caller has not read yet. So a connection that ends while its caller is still sending (an upload
//! refused or answered early) goes on reading for a moment after its own last byte (RFC 9112 §9.6).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::scan::Scan;
use super::watch::Watched;

/// A socket, or a TLS stream over one.
pub struct Io<S> {
    stream: S,
    /// Bytes read ahead to tell HTTP/1 from HTTP/2; given first.
    ahead: Bytes,
    watched: Rc<Watched>,
    /// Absent for HTTP/2, which has its own framing.
    scan: Option<Rc<RefCell<Scan>>>,
    /// Set when our side has been shut: until when the caller's bytes are read and dropped.
    lingers: Option<Pin<Box<Sleep>>>,
}

/// Longest time to go on reading for.
const LINGER: Duration = Duration::from_secs(2);

impl<S> Io<S> {
    /// Watches `stream`.
    pub fn new(stream: S, ahead: Bytes, watched: Rc<Watched>, scan: Option<Rc<RefCell<Scan>>>) -> Self {
        Self { stream, ahead, watched, scan, lingers: None }
    }

    fn seen(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.watched.read();
        if let Some(scan) = &self.scan {
            scan.borrow_mut().feed(bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let result = if this.ahead.has_remaining() {
            let take = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(take));
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut this.stream).poll_read(cx, buf)
        };
        this.seen(&buf.filled()[before..]);
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched.wrote(result.is_ready());
        result
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[std::io::IoSlice<'_>]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watched.wrote(result.is_ready());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched.wrote(result.is_ready());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let lingers = match &mut this.lingers {
            Some(lingers) => lingers,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if !this.scan.as_ref().is_some_and(|scan| scan.borrow().is_unfinished()) {
                    return Poll::Ready(Ok(()));
                }
                this.lingers.insert(Box::pin(tokio::time::sleep(LINGER)))
            }
        };
        let mut scratch = [0; 8192];
        while lingers.as_mut().poll(cx).is_pending() {
            let mut sink = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut sink));
            if read.is_err() || sink.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
