//! A gateway's part in its fleet, with a store that answers when the test lets it.

use tokio::sync::Semaphore;

use super::errands::ERRANDS;
use super::*;
use crate::session::store::{Pending, Renewal, Renewed};

const NOW: UnixTime = UnixTime(1_700_000_000);

/// A store that keeps what it is told of ends, and takes a restored revocation only when it is let.
struct Slow {
    asked: Notify,
    lets: Semaphore,
    ended: Mutex<HashSet<SessionId>>,
}

impl SharedStore for Slow {
    fn end(&self, ended: Vec<(SessionId, End)>) -> Pending<'_, ()> {
        Box::pin(async move {
            self.ended.lock().expect("no panic").extend(ended.iter().map(|(id, _)| *id));
            Ok(())
        })
    }

    fn restore(&self, _: Revocation) -> Pending<'_, ()> {
        Box::pin(async move {
            self.asked.notify_one();
            self.lets.acquire().await.expect("open").forget();
            Ok(())
        })
    }

    fn renew(&self, _: Vec<Renewal>) -> Pending<'_, Renewed> {
        Box::pin(async { Ok(Renewed::default()) })
    }

    fn changes(&self) -> Pending<'_, Vec<Change>> {
        Box::pin(std::future::pending())
    }

    fn admit(&self, _: AskRecord) -> Pending<'_, Answer> {
        unreachable!("nobody enters")
    }

    fn find(&self, _: SessionId) -> Pending<'_, Option<AskRecord>> {
        unreachable!("nobody comes from elsewhere")
    }

    fn reclaim(&self, _: Vec<AskRecord>) -> Pending<'_, Vec<(SessionId, End)>> {
        unreachable!("nothing was lost")
    }

    fn revoke(&self, _: Revocation) -> Pending<'_, ()> {
        unreachable!("nothing is withdrawn")
    }

    fn revoke_all(&self, _: Vec<Revocation>) -> Pending<'_, ()> {
        unreachable!("nothing was lost")
    }

    fn revocations(&self) -> Pending<'_, Vec<Revocation>> {
        unreachable!("nothing was missed")
    }
}

#[tokio::test]
async fn what_is_dropped_for_room_while_it_is_told_takes_nothing_with_it() {
    let store = Arc::new(Slow { asked: Notify::new(), lets: Semaphore::new(0), ended: Mutex::default() });
    let metrics = Metrics::new().expect("metrics");
    let parts = FleetParts {
        sessions: Sessions::new(10, &metrics),
        revocations: Arc::default(),
        metrics,
        clock: Clock::System,
        renew_every: Duration::from_millis(1),
    };
    let mut task = None;
    let fleet = Fleet::start(store.clone(), parts, |work| task = Some(work));
    fleet.restore(&Target::TokenId("one".into()), NOW);
    let task = tokio::spawn(task.expect("a task"));
    store.asked.notified().await;
    // The last one finds no room: the oldest goes, which is under way.
    let ids: HashSet<_> = (0..ERRANDS).map(|_| SessionId::new(NOW)).collect();
    for id in &ids {
        fleet.end(*id, End::Closed, NOW);
    }
    store.lets.add_permits(1);
    fleet.progress().wait_for(|progress| progress.renewals > 0).await.expect("the task lives");
    let untold = ids.difference(&store.ended.lock().expect("no panic")).count();
    assert_eq!(untold, 0);
    task.abort();
}
