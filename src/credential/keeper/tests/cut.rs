//! Futures that are dropped at each point at which they can be: whoever comes next is served.

use std::task::Poll;

use super::*;

/// The outcome of a future, and how often it was polled; none where it was dropped because that would have been more than `most`.
pub(super) async fn polled<F: Future + Unpin>(mut future: F, most: usize) -> (Option<F::Output>, usize) {
    let mut polls = 0;
    let outcome = std::future::poll_fn(|context| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        match Pin::new(&mut future).poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if polls == most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    drop(future);
    (outcome, polls)
}

type Asking<'r> = Pin<Box<dyn Future<Output = Result<Held, Unavailable>> + 'r>>;

/// Ways to wait for a value: a first one, a lasting one, one after a rejection; each with what the next caller gets.
async fn asking(rig: &Rig, way: usize) -> (Asking<'_>, &'static str) {
    if way == 0 {
        return (Box::pin(rig.credential.get(Some("k"), rig.now())), "canary-1");
    }
    let held = rig.credential.get(Some("k"), rig.now()).await.expect("a value");
    if way == 1 {
        rig.pass(50, |_| ()).await;
        return (Box::pin(rig.credential.get_lasting(Some("k"), rig.now(), 1000)), "canary-2");
    }
    (Box::pin(async move { held.rejected(rig.now()).await }), "canary-2")
}

#[tokio::test(start_paused = true)]
async fn waiters_that_go_away_leave_the_others_be() {
    for scope in [Scope::Route, Scope::Session] {
        for way in 0..3 {
            let whole = rig(scope, 100, &plenty());
            let (future, expected) = asking(&whole, way).await;
            let (outcome, points) = polled(future, usize::MAX).await;
            assert_eq!(outcome.expect("not cut").expect("a value").value.expose(), expected, "{scope:?} {way}");
            assert!(points > 1, "it waits");
            for point in 0..points {
                let rig = rig(scope, 100, &plenty());
                let (future, _) = asking(&rig, way).await;
                assert!(polled(future, point).await.0.is_none(), "{scope:?} {way}: dropped at {point}");
                let next = match way {
                    1 => rig.credential.get_lasting(Some("k"), rig.now(), 1000).await,
                    _ => rig.credential.get(Some("k"), rig.now()).await,
                };
                // A rejection that nobody has begun to tell is none.
                let (expected, calls) = match (way, point) {
                    (0, _) | (2, 0) => ("canary-1", 1),
                    _ => (expected, 2),
                };
                assert_eq!(next.expect("a value").value.expose(), expected, "{scope:?} {way} after {point}");
                assert_eq!(rig.calls().len(), calls, "{scope:?} {way} after {point}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_cut_off_anywhere_are_made_again() {
    for scope in [Scope::Route, Scope::Session] {
        // The call waits for its answer once.
        for point in 0..2 {
            let rig = rig(scope, 100, &plenty());
            rig.polls.store(point, Ordering::SeqCst);
            assert!(rig.value(Some("k")).await.is_err(), "{scope:?} at {point}: told at once");
            rig.polls.store(usize::MAX, Ordering::SeqCst);
            rig.pass(2, |_| ()).await;
            assert!(rig.value(Some("k")).await.is_ok(), "{scope:?} after {point}");
            assert_eq!(rig.vendor.most_busy.load(Ordering::SeqCst), 1);
        }
    }
}
