//! A caller's socket with eyes: what is read goes past the head scan, what waits is noted.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
}

impl<S> Io<S> {
    /// Watches `stream`.
    pub fn new(stream: S, ahead: Bytes, watched: Rc<Watched>, scan: Option<Rc<RefCell<Scan>>>) -> Self {
        Self { stream, ahead, watched, scan }
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
