//! Keepers against a vendor of the test's own, under a clock that the test moves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;

use super::super::base_url::BaseUrl;
use super::super::provider::{Ask, Provider, Refused};
use super::*;
use crate::secret::Secret;

mod cut;
mod fleet;

const T0: i64 = 1_700_000_000;

/// What the vendor does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Value,
    Status(u16),
    Wait(u64),
    Never,
}

/// A vendor that gives values with a lifetime, or what the test says.
#[derive(Debug)]
struct Vendor {
    base: BaseUrl,
    life: i64,
    says: Mutex<Says>,
    calls: Mutex<Vec<f64>>,
    revoked: Mutex<Vec<String>>,
    used: Mutex<Vec<Option<String>>>,
    takes_refresh: AtomicBool,
    start: Instant,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

impl Vendor {
    fn new(life: i64) -> Arc<Self> {
        Arc::new(Self {
            base: BaseUrl::parse("https://vendor.test").expect("base"),
            life,
            says: Mutex::new(Says::Value),
            calls: Mutex::default(),
            revoked: Mutex::default(),
            used: Mutex::default(),
            takes_refresh: AtomicBool::new(true),
            start: Instant::now(),
            busy: AtomicUsize::new(0),
            most_busy: AtomicUsize::new(0),
        })
    }
}

#[derive(Debug)]
struct Words(Arc<Vendor>);

impl Provider for Words {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.0.base.clone()]
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        let renewal = ask.previous.and_then(|it| it.renewal.as_ref()).map(|it| it.expose().clone());
        lock(&self.0.used).push(renewal);
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.0.base.join("/new")?;
        Ok(request)
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        match super::super::provider::vendor::refusal(ask.now, response) {
            _ if response.status() == StatusCode::OK => {}
            Refused::Account { reason, .. } => {
                let renewal = ask.previous.is_some_and(|it| it.renewal.is_some());
                return Err(Refused::Account { reason, renewal });
            }
            refused => return Err(refused),
        }
        let text = String::from_utf8_lossy(response.body()).into_owned();
        let refresh = Secret::new(format!("refresh-{text}"));
        Ok(Issued { renewal: Some(refresh), ..Issued::new(text, ask.now, Some(ask.now.plus(self.0.life))) })
    }

    fn revoke(&self, _: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        lock(&self.0.revoked).push(issued.value.expose().clone());
        Some(Request::new(Bytes::new()))
    }
}

struct Wire(Arc<Vendor>);

/// Counts a call as under way until it is dropped.
struct Busy<'v>(&'v Vendor);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Client for Wire {
    fn send(&self, _: Request<Bytes>) -> Sent<'_> {
        let vendor = &self.0;
        let number = {
            let mut calls = lock(&vendor.calls);
            calls.push(vendor.start.elapsed().as_secs_f64());
            calls.len()
        };
        let refreshed = lock(&vendor.used).last().is_some_and(Option::is_some);
        Box::pin(async move {
            vendor.most_busy.fetch_max(vendor.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _busy = Busy(vendor);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let said = *lock(&vendor.says);
            let status = match said {
                Says::Never => return std::future::pending().await,
                Says::Value if refreshed && !vendor.takes_refresh.load(Ordering::SeqCst) => 401,
                Says::Value => 200,
                Says::Status(status) => status,
                Says::Wait(_) => 429,
            };
            let mut response = Response::new(Bytes::from(format!("canary-{number}")));
            *response.status_mut() = StatusCode::from_u16(status).expect("status");
            if let Says::Wait(seconds) = said {
                response.headers_mut().insert("x-ratelimit-retry-after", seconds.into());
            }
            Ok(response)
        })
    }
}

struct Rig {
    vendor: Arc<Vendor>,
    credential: Credential,
    clock: Clock,
    calls: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    /// How often its calls are polled before they are cut off.
    polls: Arc<AtomicUsize>,
    metrics: Metrics,
    _keeping: Option<tokio::task::JoinHandle<()>>,
}

fn rig(scope: Scope, life: i64, keep: &KeepConfig) -> Rig {
    rig_from(scope, (life, T0), keep, None)
}

fn rig_from(scope: Scope, (life, start): (i64, i64), keep: &KeepConfig, shelf: Option<Shelf>) -> Rig {
    let vendor = Vendor::new(life);
    rig_of(&vendor, scope, start, (keep, shelf, None))
}

/// A gateway that starts at `start`, with what it keeps and the fleet that it belongs to.
fn rig_of(vendor: &Arc<Vendor>, scope: Scope, start: i64, with: (&KeepConfig, Option<Shelf>, Option<Fleet>)) -> Rig {
    let (keep, shelf, fleet) = with;
    let (vendor, clock) = (vendor.clone(), Clock::manual(UnixTime(start)));
    let calls: Arc<Mutex<Vec<tokio::task::AbortHandle>>> = Arc::default();
    let polls = Arc::new(AtomicUsize::new(usize::MAX));
    let (begun, most) = (calls.clone(), polls.clone());
    let metrics = Metrics::new().expect("metrics");
    let parts = KeeperParts {
        client: Some(Arc::new(Wire(vendor.clone()))),
        spawn: Arc::new(move |task| lock(&begun).push(tokio::spawn(cut::polled(task, most.load(Ordering::SeqCst))).abort_handle())),
        clock: clock.clone(),
        metrics: metrics.clone(),
        shelf,
        fleet,
    };
    let source = Source::Vendor(Box::new(Words(vendor.clone())));
    let credential = Credential::new(Name::new("uploads").expect("name"), (source, scope), keep, parts);
    let keeping = (scope == Scope::Route).then(|| tokio::spawn(credential.keep()));
    Rig { vendor, credential, clock, calls, polls, metrics, _keeping: keeping }
}

/// Values that are used up to their end without a limit of calls in the way.
fn plenty() -> KeepConfig {
    KeepConfig { calls_burst: 100_000, calls_per_minute: 100_000, ..KeepConfig::default() }
}

impl Rig {
    fn say(&self, says: Says) {
        *lock(&self.vendor.says) = says;
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Lets time pass by both clocks, a second at a time; `each` is asked every second.
    async fn pass(&self, seconds: u64, mut each: impl FnMut(&Self)) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.clock.set(self.now().plus(1));
            each(self);
        }
    }

    async fn value(&self, key: Option<&str>) -> Result<String, Unavailable> {
        self.credential.get(key, self.now()).await.map(|held| held.value.expose().clone())
    }

    fn calls(&self) -> Vec<f64> {
        lock(&self.vendor.calls).clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_value_is_there_before_the_gateway_is_ready() {
    let rig = rig(Scope::Route, 3600, &plenty());
    assert!(!rig.credential.is_ready() && rig.credential.ready(rig.now()).is_none());
    rig.pass(1, |_| ()).await;
    assert!(rig.credential.is_ready());
    assert_eq!(rig.credential.ready(rig.now()).expect("a value").value.expose(), "canary-1");
}

#[tokio::test(start_paused = true)]
async fn a_value_is_renewed_before_its_end_and_nobody_notices() {
    let rig = rig(Scope::Route, 100, &plenty());
    rig.pass(1, |_| ()).await;
    rig.pass(1000, |rig| assert!(rig.credential.ready(rig.now()).is_some())).await;
    let calls = rig.calls();
    assert!((13..=18).contains(&calls.len()), "{calls:?}");
    assert!(calls.windows(2).all(|pair| (58.0..=82.0).contains(&(pair[1] - pair[0]))), "{calls:?}");
    assert_eq!(rig.vendor.most_busy.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_are_one_call() {
    for scope in [Scope::Route, Scope::Session, Scope::Resource] {
        let rig = rig(scope, 3600, &plenty());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let (credential, now) = (rig.credential.clone(), rig.now());
            waiting.spawn(async move { credential.get(Some("one"), now).await.map(|held| held.value.expose().clone()) });
        }
        while let Some(done) = waiting.join_next().await {
            assert_eq!(done.expect("no panic").expect("a value"), "canary-1");
        }
        assert_eq!(rig.calls().len(), 1, "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_nine_tenths_of_a_life_costs_no_request() {
    let rig = rig(Scope::Route, 100, &plenty());
    rig.pass(1, |_| ()).await;
    rig.say(Says::Status(503));
    rig.pass(90, |rig| assert!(rig.credential.ready(rig.now()).is_some(), "at {}", rig.now().0 - T0)).await;
    rig.say(Says::Value);
    rig.pass(60, |rig| assert!(rig.credential.ready(rig.now()).is_some(), "at {}", rig.now().0 - T0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_longer_outage_is_refused_at_once_and_ends_within_one_wait() {
    let rig = rig(Scope::Route, 100, &plenty());
    rig.pass(1, |_| ()).await;
    rig.say(Says::Status(503));
    rig.pass(119, |rig| assert_eq!(rig.credential.ready(rig.now()).is_some(), rig.now().0 - T0 < 95, "at {}", rig.now().0 - T0)).await;
    let begun = Instant::now();
    let unavailable = rig.value(None).await.expect_err("no value");
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody queues");
    assert!((1..=30).contains(&unavailable.retry_after.as_secs()), "{unavailable}");
    rig.say(Says::Value);
    rig.pass(unavailable.retry_after.as_secs() + 2, |_| ()).await;
    assert!(rig.credential.ready(rig.now()).is_some());
    assert_eq!(rig.credential.status(rig.now()).state, "fresh");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_is_waited_out() {
    let rig = rig(Scope::Route, 300, &plenty());
    rig.pass(1, |_| ()).await;
    rig.say(Says::Wait(20));
    rig.pass(240, |rig| assert!(rig.credential.ready(rig.now()).is_some())).await;
    let calls = rig.calls();
    assert!(calls.len() <= 5, "{calls:?}");
    assert!(calls[1..].windows(2).all(|pair| pair[1] - pair[0] >= 20.0), "{calls:?}");
    rig.say(Says::Value);
    rig.pass(60, |rig| assert!(rig.credential.ready(rig.now()).is_some())).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_share_budget_and_breaker() {
    let keep = KeepConfig { calls_burst: 20, calls_per_minute: 60, ..KeepConfig::default() };
    let rig = rig(Scope::Session, 3600, &keep);
    let mut got = 0;
    for session in 0..100 {
        got += usize::from(rig.value(Some(&format!("s{session}"))).await.is_ok());
    }
    // Each call takes a tenth of a second, so that ten seconds of refill are far.
    assert!((20..=24).contains(&got), "{got}");
    assert_eq!(rig.calls().len(), got);
    assert!(rig.value(Some("s0")).await.is_ok(), "what is there goes on");
    rig.say(Says::Status(500));
    rig.pass(60, |_| ()).await;
    let before = rig.calls().len();
    for session in 0..1000 {
        assert!(rig.value(Some(&format!("t{session}"))).await.is_err());
    }
    let calls = rig.calls().len() - before;
    assert!(calls <= 7, "{calls} calls of a vendor that is down");
}

#[tokio::test(start_paused = true)]
async fn each_session_has_its_own_and_can_lose_it_alone() {
    let rig = rig(Scope::Session, 3600, &plenty());
    let (a, b) = (rig.value(Some("a")).await.expect("a"), rig.value(Some("b")).await.expect("b"));
    assert_ne!(a, b);
    rig.credential.forget("a");
    rig.pass(1, |_| ()).await;
    assert_eq!(lock(&rig.vendor.revoked).as_slice(), std::slice::from_ref(&a));
    assert_eq!(rig.value(Some("b")).await.expect("b"), b);
    assert_ne!(rig.value(Some("a")).await.expect("another"), a);
}

#[tokio::test(start_paused = true)]
async fn a_session_renews_in_use_behind_its_requests() {
    let rig = rig(Scope::Session, 100, &plenty());
    let first = rig.value(Some("a")).await.expect("a");
    rig.pass(81, |_| ()).await;
    let begun = Instant::now();
    assert_eq!(rig.value(Some("a")).await.expect("the old one"), first);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    rig.pass(1, |_| ()).await;
    assert_eq!(rig.value(Some("a")).await.expect("the new one"), "canary-2");
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_begins_with_a_value_that_lasts() {
    for scope in [Scope::Route, Scope::Session] {
        // Used for 95 seconds, so that half of its life is 47.
        let rig = rig(scope, 100, &plenty());
        let get = async |least: i64| {
            let held = rig.credential.get_lasting(Some("k"), rig.now(), least).await;
            held.map(|held| (held.value.expose().clone(), held.is_usable(rig.now().plus(90))))
        };
        let (first, second) = (("canary-1".to_owned(), true), ("canary-2".to_owned(), true));
        assert_eq!(get(1000).await, Ok(first.clone()), "{scope:?}");
        rig.pass(50, |_| ()).await;
        assert_eq!(get(40).await, Ok((first.0.clone(), false)), "{scope:?}: it has 45 seconds left");
        let all = tokio::join!(get(1000), get(1000), get(45));
        assert_eq!(all, (Ok(second.clone()), Ok(second.clone()), Ok((first.0, false))), "{scope:?}: one call for all");
        assert_eq!(rig.calls().len(), 2);
        rig.pass(49, |_| ()).await;
        rig.say(Says::Status(503));
        let begun = Instant::now();
        assert_eq!(get(1000).await, Ok((second.0.clone(), false)), "{scope:?}: what is there has to do");
        assert_eq!(get(1000).await, Ok((second.0.clone(), false)));
        assert!(begun.elapsed() < Duration::from_millis(200), "{scope:?}: nobody waits for a vendor that is down");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_does_not_stretch_a_life() {
    for scope in [Scope::Route, Scope::Session] {
        let rig = rig(scope, 100, &plenty());
        rig.value(Some("k")).await.expect("a value");
        rig.say(Says::Status(503));
        rig.clock.set(UnixTime(T0 - 7200));
        tokio::time::sleep(Duration::from_secs(94)).await;
        assert!(rig.value(Some("k")).await.is_ok(), "{scope:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(rig.value(Some("k")).await.is_err(), "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_value_is_replaced_once_for_all() {
    let rig = rig(Scope::Route, 3600, &plenty());
    rig.pass(1, |_| ()).await;
    let held: Vec<Held> = (0..100).map(|_| rig.credential.ready(rig.now()).expect("a value")).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for held in held {
        let now = rig.now();
        waiting.spawn(async move { held.rejected(now).await.map(|held| held.value.expose().clone()) });
    }
    while let Some(done) = waiting.join_next().await {
        assert_eq!(done.expect("no panic").expect("another"), "canary-2");
    }
    assert_eq!(rig.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_always_says_401_costs_two_calls_a_request_and_few_renewals() {
    let rig = rig(Scope::Route, 36_000, &plenty());
    rig.pass(1, |_| ()).await;
    let mut most = 0;
    for _ in 0..300 {
        let Ok(held) = rig.credential.get(None, rig.now()).await else { continue };
        let mut upstream = 1;
        // One replay a request, as the walk has it.
        if let Ok(again) = held.rejected(rig.now()).await {
            upstream += 1;
            assert!(again.rejected(rig.now()).await.is_err(), "no second replay is offered");
        }
        most = most.max(upstream);
        rig.pass(1, |_| ()).await;
    }
    assert_eq!(most, 2);
    assert!(rig.calls().len() <= 9, "{} renewals in five minutes", rig.calls().len());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_is_a_failed_call() {
    let rig = rig(Scope::Session, 3600, &plenty());
    rig.say(Says::Never);
    let waiting = tokio::spawn({
        let (credential, now) = (rig.credential.clone(), rig.now());
        async move { credential.get(Some("k"), now).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    lock(&rig.calls).drain(..).for_each(|call| call.abort());
    assert!(waiting.await.expect("no panic").is_err(), "told at once");
    rig.say(Says::Value);
    rig.pass(2, |_| ()).await;
    assert!(rig.value(Some("k")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_hangs_holds_a_request_no_longer_than_the_config_says() {
    let rig = rig(Scope::Session, 3600, &plenty());
    rig.say(Says::Never);
    let begun = Instant::now();
    assert!(rig.value(Some("k")).await.is_err());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_falls_back_to_the_account() {
    let rig = rig(Scope::Route, 100, &plenty());
    rig.pass(1, |_| ()).await;
    rig.vendor.takes_refresh.store(false, Ordering::SeqCst);
    rig.pass(85, |rig| assert!(rig.credential.ready(rig.now()).is_some())).await;
    assert_eq!(*lock(&rig.vendor.used), [None, Some("refresh-canary-1".to_owned()), None]);
    assert_eq!(rig.credential.ready(rig.now()).expect("a value").value.expose(), "canary-3");
}

#[tokio::test(start_paused = true)]
async fn values_are_withdrawn_on_the_way_out_if_the_config_says_so() {
    for revoke_on_shutdown in [false, true] {
        let rig = rig(Scope::Session, 3600, &KeepConfig { revoke_on_shutdown, ..plenty() });
        for key in ["a", "b"] {
            rig.value(Some(key)).await.expect("a value");
        }
        rig.credential.leave().await;
        assert_eq!(lock(&rig.vendor.revoked).len(), if revoke_on_shutdown { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_holds_a_value() {
    let rig = rig(Scope::Route, 100, &plenty());
    rig.pass(2, |_| ()).await;
    let held = rig.credential.ready(rig.now()).expect("a value");
    let status = serde_json::to_string(&rig.credential.status(rig.now())).expect("JSON");
    let shown = format!("{:?} {held:?} {status} {}", rig.credential, String::from_utf8_lossy(&rig.metrics.render()));
    assert!(held.value.expose().contains("canary") && !shown.contains("canary"), "{shown}");
}

fn shelf(folder: &std::path::Path, identity: &[u8]) -> Shelf {
    let key = Secret::new("k".repeat(32));
    let store = crate::store::Embedded::open(&folder.join("store"), &key).expect("store");
    Shelf { room: store.room(super::super::shelf::ROOM), identity: identity.to_vec() }
}

#[tokio::test(start_paused = true)]
async fn a_restart_takes_up_what_was_kept() {
    for scope in [Scope::Route, Scope::Session] {
        let folder = tempfile::tempdir().expect("folder");
        let kept = shelf(folder.path(), b"a");
        let first = rig_from(scope, (3600, T0), &plenty(), Some(kept.clone()));
        first.pass(1, |_| ()).await;
        let value = first.value(Some("k")).await.expect("a value");
        drop(first);
        let again = rig_from(scope, (3600, T0 + 600), &plenty(), Some(kept.clone()));
        assert_eq!(again.value(Some("k")).await.expect("the same"), value, "{scope:?}");
        assert!(again.credential.is_ready() && again.calls().is_empty());
        let other = Shelf { identity: b"b".to_vec(), ..kept.clone() };
        let other = rig_from(scope, (3600, T0 + 600), &plenty(), Some(other));
        other.value(Some("k")).await.expect("a value");
        assert_eq!(other.calls().len(), 1, "another account's value is not used");
        let late = rig_from(scope, (3600, T0 + 7200), &plenty(), Some(Shelf { identity: b"b".to_vec(), ..kept }));
        late.pass(1, |_| ()).await;
        late.value(Some("k")).await.expect("a value");
        assert_eq!(*lock(&late.vendor.used), [Some("refresh-canary-1".to_owned())], "what is over still renews");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_is_not_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = shelf(folder.path(), b"a");
    let rig = rig_from(Scope::Session, (3600, T0), &plenty(), Some(kept.clone()));
    rig.value(Some("k")).await.expect("a value");
    rig.credential.forget("k");
    rig.pass(1, |_| ()).await;
    assert!(kept.all(rig.credential.name(), rig.now()).expect("records").is_empty());
}
