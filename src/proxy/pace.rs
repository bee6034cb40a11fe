//! Answers no faster than the token allows.
//!
//! The first second's worth goes out at once, so that a playlist is never late; after that, what has been sent is never
//! more than the rate times the time since the first byte. Nothing is read from the origin ahead of what may be sent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

/// Fewest bytes that are sent at once: smaller pieces would be all framing.
const SMALLEST: u64 = 1024;

/// The limit of one answer.
pub struct Pace {
    rate: u64,
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What has come, and may not be sent yet.
    pub(super) held: Bytes,
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl Pace {
    /// A limit of `rate` bytes a second, at least one.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), since: None, alarm: None, held: Bytes::new() }
    }

    /// Ready when more than `sent` bytes may have gone out.
    pub fn poll_due(&mut self, cx: &mut Context<'_>, sent: u64) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // Bytes over the first second's worth, as time.
        let over = sent.saturating_add(1).saturating_sub(self.rate);
        let due = since + Duration::from_secs(over / self.rate) + Duration::from_millis(over % self.rate * 1000 / self.rate);
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }

    /// The next piece of what is held.
    pub fn piece(&mut self) -> Option<Bytes> {
        let most = usize::try_from((self.rate / 4).max(SMALLEST)).unwrap_or(usize::MAX);
        (!self.held.is_empty()).then(|| self.held.split_to(most.min(self.held.len())))
    }

    /// A frame cut down to a piece, with the rest held; and whether this is still the end.
    pub fn cut<E>(&mut self, frame: Polled<E>, ended: bool) -> (Polled<E>, bool) {
        match frame {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.held = data;
                    let piece = self.piece().unwrap_or_default();
                    (Poll::Ready(Some(Ok(Frame::data(piece)))), ended && self.held.is_empty())
                }
                Err(trailers) => (Poll::Ready(Some(Ok(trailers))), ended),
            },
            other => (other, ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_goes_at_once_and_the_rest_in_its_time() {
        let (mut pace, mut sent) = (Pace::new(4000), 0_u64);
        let start = Instant::now();
        let mut frames = vec![10_000, 2000];
        let mut times = Vec::new();
        loop {
            poll_fn(|cx| pace.poll_due(cx, sent)).await;
            let piece = pace.piece().or_else(|| {
                let frame: Polled<()> = Poll::Ready(Some(Ok(Frame::data(vec![0; frames.pop()?].into()))));
                let (Poll::Ready(Some(Ok(frame))), _) = pace.cut(frame, false) else { return None };
                frame.into_data().ok()
            });
            let Some(piece) = piece else { break };
            sent += piece.len() as u64;
            times.push((sent, start.elapsed().as_millis()));
        }
        assert_eq!(sent, 12_000);
        assert!(times.iter().filter(|(sent, _)| *sent <= 4000).all(|(_, at)| *at == 0), "{times:?}");
        // Never ahead of the rate by more than the first second and one piece.
        assert!(times.iter().all(|(sent, at)| u128::from(*sent) <= 4000 + 1024 + at * 4), "{times:?}");
        let end = times.last().expect("pieces").1;
        assert!((1700..=2100).contains(&end), "{times:?}");
    }

    #[test]
    fn the_end_is_the_last_piece() {
        let mut pace = Pace::new(1);
        let frame: Polled<()> = Poll::Ready(Some(Ok(Frame::data(vec![0; 1500].into()))));
        let (_, ended) = pace.cut(frame, true);
        assert!(!ended && pace.held.len() == 476);
        assert_eq!(pace.piece().map(|piece| piece.len()), Some(476));
        let (_, ended) = pace.cut::<()>(Poll::Ready(None), true);
        assert!(ended && pace.piece().is_none());
    }
}
