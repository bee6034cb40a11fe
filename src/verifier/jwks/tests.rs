//! Fetched key sets, under a clock that the test moves.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

fn set(id: &str) -> Vec<u8> {
    format!(r#"{{"keys":[{{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","kid":"{id}"}}]}}"#).into_bytes()
}

/// An issuer that says what the test puts in, and remembers when it was asked.
struct Issuer {
    says: Mutex<Result<Vec<u8>, String>>,
    asked: Mutex<Vec<Duration>>,
    busy: AtomicBool,
    start: Instant,
}

impl Issuer {
    fn new(says: Result<Vec<u8>, String>) -> Arc<Self> {
        Arc::new(Self { says: Mutex::new(says), asked: Mutex::default(), busy: false.into(), start: Instant::now() })
    }

    fn say(&self, says: Result<Vec<u8>, String>) {
        *self.says.lock().expect("lock") = says;
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().expect("lock").iter().map(Duration::as_secs).collect()
    }
}

impl Fetch for Issuer {
    fn fetch<'f>(&'f self, _url: &'f str) -> Fetched<'f> {
        Box::pin(async {
            assert!(!self.busy.swap(true, Ordering::SeqCst), "two fetches of one set at once");
            self.asked.lock().expect("lock").push(self.start.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.busy.store(false, Ordering::SeqCst);
            self.says.lock().expect("lock").clone()
        })
    }
}

fn remote() -> Arc<Remote> {
    Arc::new(Remote::new("https://issuer.test/jwks", None, None, None))
}

fn keep(remote: &Arc<Remote>, issuer: &Arc<Issuer>) -> tokio::task::JoinHandle<()> {
    let (remote, issuer) = (remote.clone(), issuer.clone());
    tokio::spawn(async move { remote.keep(&*issuer, |_| ()).await })
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_is_fetched_at_once_and_then_in_its_time() {
    let (remote, issuer) = (remote(), Issuer::new(Ok(set("a"))));
    let task = keep(&remote, &issuer);
    pass(1300).await;
    assert_eq!(issuer.asked(), [0, 600, 1200]);
    assert!(remote.is_loaded() && remote.keys().load().get("a").is_some());
    assert_eq!(remote.keys().generation(), 1, "the same body replaces nothing");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_bad_fetch_leaves_the_last_good_keys() {
    let (remote, issuer) = (remote(), Issuer::new(Ok(set("a"))));
    remote.fetch(&*issuer).await.expect("good");
    let many: Vec<String> = (0..=KeySet::MAX).map(|n| format!(r#"{{"kty":"oct","k":"x","kid":"{n}"}}"#)).collect();
    for (failures, bad) in [
        Err("connection refused".to_owned()),
        Ok(b"<html>".to_vec()),
        Ok(br#"{"keys":[]}"#.to_vec()),
        Ok(vec![b' '; MAX_BODY + 1]),
        Ok(format!(r#"{{"keys":[{}]}}"#, many.join(",")).into_bytes()),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.say(bad);
        assert!(remote.fetch(&*issuer).await.is_err());
        assert!(remote.keys().load().get("a").is_some() && remote.fault().is_some());
        assert_eq!(remote.failures() as usize, failures + 1);
    }
    issuer.say(Ok(set("b")));
    remote.fetch(&*issuer).await.expect("good");
    assert!(remote.keys().load().get("a").is_none() && remote.keys().load().get("b").is_some());
    assert!(remote.failures() == 0 && remote.fault().is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_later() {
    let (remote, issuer) = (remote(), Issuer::new(Err("down".into())));
    let task = keep(&remote, &issuer);
    pass(600).await;
    let asked = issuer.asked.lock().expect("lock").clone();
    let gaps: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (gap, most) in gaps.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]) {
        assert!((most / 2.0..=most + 0.02).contains(gap), "{gaps:?}");
    }
    assert!((14..=26).contains(&asked.len()), "{asked:?}");
    issuer.say(Ok(set("a")));
    pass(61).await;
    assert!(remote.is_loaded());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_unknown_keys_is_one_fetch() {
    let (remote, issuer) = (remote(), Issuer::new(Ok(set("a"))));
    let task = keep(&remote, &issuer);
    pass(40).await;
    issuer.say(Ok(set("b")));
    for _ in 0..10_000 {
        remote.nudge();
    }
    pass(1).await;
    assert_eq!(issuer.asked(), [0, 40], "asked again at once, after the cool-down");
    assert!(remote.keys().load().get("b").is_some());
    for _ in 0..28 {
        remote.nudge();
        pass(1).await;
    }
    assert_eq!(issuer.asked(), [0, 40], "not within the cool-down");
    pass(5).await;
    assert_eq!(issuer.asked(), [0, 40, 70], "what was asked for is done when it is over");
    task.abort();
}

#[test]
fn waits_double_up_to_their_end() {
    let minute = Duration::from_secs(60);
    for (failures, jitter, seconds) in [(0, 0.5, 600.0), (1, 0.0, 1.0), (1, 1.0, 0.5), (4, 0.0, 8.0), (7, 0.0, 60.0), (u32::MAX, 0.0, 60.0)]
    {
        assert!((wait(failures, 10 * minute, jitter).as_secs_f64() - seconds).abs() < 1e-6, "{failures}");
    }
    assert_eq!(wait(9, Duration::from_secs(5), 0.0), Duration::from_secs(5), "never later than the regular fetch");
    assert!((0..100).map(|_| fraction()).all(|jitter| (0.0..=1.0).contains(&jitter)));
}
