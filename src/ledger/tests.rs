//! The ledger over real files.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::record::{SigningKey, UploadToken};
use super::*;
use crate::token::Algorithm;

fn config(folder: &Path) -> LedgerConfig {
    LedgerConfig { folder: folder.to_owned(), key_file: None, remembered: 100, page_cache: Size::kib(1024) }
}

fn open(folder: &Path) -> Result<Ledger, String> {
    Ledger::open(&config(folder), |work| std::thread::Builder::new().spawn(work).map(drop).map_err(|e| e.to_string()))
}

fn acme() -> Account {
    Account::new("acme")
}

fn token(id: &str, created: i64, ttl: u32) -> Record {
    let record = Record::new(&acme(), id, UnixTime(created), Body::UploadToken(UploadToken { ttl }));
    if ttl == 0 { record } else { record.until(UnixTime(created + i64::from(ttl))) }
}

fn listing(order: Order, descending: bool, start: Start, limit: usize) -> Listing {
    Listing { account: acme(), kind: Kind::UploadToken, order, descending, start, limit }
}

fn ids(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| &*record.id).collect()
}

const T: UnixTime = UnixTime(100);

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    ledger.write(Batch::at(T).create(token("to1", 100, 0))).await.expect("created");
    assert_eq!(ledger.write(Batch::at(T).create(token("to1", 100, 0))).await.expect_err("twice"), Fault::Exists);
    // The file is let go of by the writer's thread.
    drop(ledger);
    let again = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        open(folder.path()).ok()
    });
    let ledger = again.expect("the file is free");
    assert_eq!(ledger.find(Kind::UploadToken, "to1", T).expect("read").expect("there").created, UnixTime(100));
    assert!(ledger.find(Kind::AuthToken, "to1", T).expect("read").is_none());
    let file = std::fs::read(folder.path().join("ledger.redb")).expect("file");
    assert!(!file.windows(3).any(|bytes| bytes == b"to1"), "the id stands in the file");
}

#[tokio::test]
async fn a_batch_is_made_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let half = Batch::at(T).create(token("a", 100, 0)).delete(&acme(), Kind::UploadToken, "not there");
    assert_eq!(ledger.write(half).await.expect_err("half"), Fault::Missing);
    assert!(ledger.find(Kind::UploadToken, "a", T).expect("read").is_none());
    let page = ledger.list(listing(Order::Created, false, Start::Offset(0), 10), T).await.expect("page");
    assert_eq!((page.total, page.records.len()), (0, 0));
}

#[tokio::test]
async fn pages_are_sorted_from_both_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let names: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
    let mut batch = Batch::at(T);
    for (n, name) in names.iter().enumerate() {
        // Made in the order of their numbers, three at a time; the later, the sooner over; the last stays.
        let n = u32::try_from(n).expect("small");
        batch = batch.create(token(name, 100 + i64::from(n / 3), if n == 8 { 0 } else { 1000 - n }));
    }
    let other = Record::new(&Account::new("other"), "theirs", T, Body::UploadToken(UploadToken { ttl: 0 }));
    ledger.write(batch.create(other)).await.expect("created");
    let up: Vec<&str> = names.iter().map(String::as_str).collect();
    let down: Vec<&str> = up.iter().rev().copied().collect();
    for (descending, expected) in [(false, &up), (true, &down)] {
        for size in [1, 2, 4, 9, 20] {
            let mut seen: Vec<String> = Vec::new();
            let mut by_cursor: Vec<String> = Vec::new();
            let mut cursor = None;
            for offset in (0..9).step_by(size) {
                let page = ledger.list(listing(Order::Created, descending, Start::Offset(offset), size), T).await.expect("page");
                assert_eq!(page.total, 9);
                seen.extend(ids(&page).into_iter().map(str::to_owned));
                let start = cursor.map_or(Start::Offset(0), Start::After);
                let page = ledger.list(listing(Order::Created, descending, start, size), T).await.expect("page");
                by_cursor.extend(ids(&page).into_iter().map(str::to_owned));
                cursor = page.next.and_then(|next| Cursor::parse(&next.to_string()));
            }
            assert_eq!((&seen, &by_cursor), (&expected.iter().map(|id| (*id).to_owned()).collect(), &seen), "{descending} {size}");
        }
    }
    let page = ledger.list(listing(Order::Expiry, false, Start::Offset(6), 10), T).await.expect("page");
    assert_eq!(ids(&page), ["t1", "t0", "t8"], "soonest first, for ever last");
}

#[tokio::test]
async fn what_is_over_is_neither_found_nor_listed_nor_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let batch = Batch::at(T).create(token("short", 100, 10)).create(token("long", 100, 1000));
    ledger.write(batch).await.expect("created");
    assert!(ledger.find(Kind::UploadToken, "short", UnixTime(109)).expect("read").is_some());
    assert!(ledger.find(Kind::UploadToken, "short", UnixTime(110)).expect("read").is_none());
    let page = ledger.list(listing(Order::Created, false, Start::Offset(0), 10), UnixTime(110)).await.expect("page");
    assert_eq!((page.total, ids(&page)), (1, vec!["long"]));
    // A name that is free again may be given again.
    ledger.write(Batch::at(UnixTime(110)).create(token("short", 110, 10))).await.expect("created anew");
}

#[tokio::test]
async fn accounts_do_not_reach_one_another() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    ledger.write(Batch::at(T).create(token("mine", 100, 0))).await.expect("created");
    let other = Account::new("other");
    assert!(ledger.find_of(&other, Kind::UploadToken, "mine", T).expect("read").is_none());
    let taken = ledger.write(Batch::at(T).delete(&other, Kind::UploadToken, "mine")).await;
    assert_eq!(taken.expect_err("another's"), Fault::Missing);
    let theirs = Record { account: other, ..token("mine", 100, 5) };
    assert_eq!(ledger.write(Batch::at(T).replace(theirs)).await.expect_err("another's"), Fault::Missing);
    assert!(ledger.find_of(&acme(), Kind::UploadToken, "mine", T).expect("read").is_some());
}

struct Counting(AtomicUsize, Mutex<Vec<bool>>, Ledger);

impl Follower for Counting {
    fn follow(&self, changes: &[Change]) {
        self.0.fetch_add(changes.len(), Ordering::SeqCst);
        for change in changes {
            let found = self.2.find(change.kind, &change.id, T).expect("read").is_some();
            self.1.lock().expect("lock").push(found == change.now.is_some());
        }
    }
}

#[tokio::test]
async fn memory_and_followers_know_before_the_answer() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let counting = Arc::new(Counting(AtomicUsize::new(0), Mutex::default(), ledger.clone()));
    let follower: Arc<dyn Follower> = counting.clone();
    ledger.follow(&follower);
    assert!(ledger.find(Kind::UploadToken, "a", T).expect("read").is_none(), "remembered as missing");
    ledger.write(Batch::at(T).create(token("a", 100, 0))).await.expect("created");
    assert_eq!(counting.0.load(Ordering::SeqCst), 1);
    assert!(ledger.find(Kind::UploadToken, "a", T).expect("read").is_some());
    ledger.write(Batch::at(T).delete(&acme(), Kind::UploadToken, "a")).await.expect("deleted");
    assert!(ledger.find(Kind::UploadToken, "a", T).expect("read").is_none());
    assert_eq!(*counting.1.lock().expect("lock"), [true, true], "memory knew first");
}

#[test]
fn writers_at_the_same_time_share_commits() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for n in 0..8 {
                    ledger.write_blocking(Batch::at(T).create(token(&format!("{writer}-{n}"), 100, 0))).expect("created");
                }
            });
        }
    });
    let counts = ledger.counts().expect("counts");
    assert!(counts.contains(&(Kind::UploadToken, 128)), "{counts:?}");
    assert!(ledger.commits() < 128, "{} commits", ledger.commits());
}

#[tokio::test]
async fn an_account_has_at_most_as_many_keys_as_a_key_set() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let key = |n: usize| {
        let body = SigningKey { algorithm: Algorithm::RS256, public_jwk: None, name: None, retires: None, vendor_id: None };
        Record::new(&acme(), &format!("k{n}"), T, Body::SigningKey(body))
    };
    let all = (0..crate::token::KeySet::MAX).fold(Batch::at(T), |batch, n| batch.create(key(n)));
    ledger.write(all).await.expect("created");
    assert_eq!(ledger.write(Batch::at(T).create(key(1000))).await.expect_err("one too many"), Fault::Full);
}

#[test]
fn another_key_or_layout_is_refused_with_words() {
    let folder = tempfile::tempdir().expect("folder");
    drop(open(folder.path()).expect("ledger"));
    let key = folder.path().join("ledger.key");
    let said = |what: &str| {
        (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            open(folder.path()).err().filter(|error| error.contains(what))
        })
    };
    std::fs::write(&key, "00".repeat(32)).expect("written");
    assert!(said("another key").is_some());
    std::fs::remove_file(&key).expect("removed");
    assert!(said("cannot be read without it").is_some());
}
