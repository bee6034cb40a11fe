//! What holds wherever a ledger is kept: in its file, in Redis, in Valkey.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tollgate::clock::{Clock, UnixTime};
use tollgate::ledger::record::{SigningKey, UploadToken};
use tollgate::ledger::{
    Account, Batch, Body, Change, Cursor, Fault, Follower, Form, Kind, Ledger, LedgerConfig, Listing, Order, Page, Recalled, Record, Start,
};
use tollgate::secret::Secret;
use tollgate::store::valkey::Place;
use tollgate::token::{Algorithm, KeySet};

use crate::fleet::server::{Server, programs};
use crate::rig::Folder;

/// A ledger, and what it lies in.
struct Kept {
    name: &'static str,
    ledger: Ledger,
    clock: Clock,
    _server: Option<Server>,
    _folder: Folder,
}

pub(super) fn open(config: &LedgerConfig, clock: &Clock) -> Result<Ledger, String> {
    let around = Place { folder: Path::new("/"), variable: &|_| None };
    Ledger::open(config, (around, clock), |work| std::thread::Builder::new().spawn(work).map(drop).map_err(|e| e.to_string()))
}

/// The config of a ledger on the server, sealed with a key of this byte.
pub(super) fn ledger_config(server: &Server, folder: &Folder, key: &str) -> LedgerConfig {
    let mut config: LedgerConfig = serde_json::from_value(super::shared(server, folder)).expect("a table");
    config.key_file = Some(folder.file(key, &key.repeat(32)));
    config
}

/// An empty ledger of each kind, at [`T`].
fn everywhere(what: &str) -> Vec<Kept> {
    let (folder, clock) = (Folder::new(), Clock::manual(T));
    let config = LedgerConfig { folder: Some(folder.path().to_owned()), ..LedgerConfig::default() };
    let ledger = open(&config, &clock).expect("a ledger in a file");
    let mut all = vec![Kept { name: "file", ledger, clock, _server: None, _folder: folder }];
    for (at, program) in programs(what).iter().enumerate() {
        let (server, folder, clock) = (Server::start(program, &[]), Folder::new(), Clock::manual(T));
        let ledger = open(&ledger_config(&server, &folder, &format!("a{at}")), &clock).expect("a shared ledger");
        all.push(Kept { name: program.name, ledger, clock, _server: Some(server), _folder: folder });
    }
    all
}

pub(super) const T: UnixTime = UnixTime(100);

fn acme() -> Account {
    Account::new("acme")
}

pub(super) fn token(id: &str, created: i64, ttl: u32) -> Record {
    let record = Record::new(&acme(), id, UnixTime(created), Body::UploadToken(UploadToken { ttl }));
    if ttl == 0 { record } else { record.until(UnixTime(created + i64::from(ttl))) }
}

fn key(id: &str) -> Record {
    let body = SigningKey { algorithm: Algorithm::RS256, public_jwk: None, name: None, retires: None, vendor_id: None };
    Record::new(&acme(), id, T, Body::SigningKey(body)).with_secret(Secret::new("PRIVATE".into()))
}

pub(super) fn listing(order: Order, descending: bool, start: Start, limit: usize) -> Listing {
    Listing { account: acme(), kind: Kind::UploadToken, order, descending, start, limit }
}

fn ids(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| &*record.id).collect()
}

#[tokio::test]
async fn a_batch_is_made_whole_or_not_at_all() {
    for Kept { name, ledger, .. } in everywhere("a batch is made whole or not at all") {
        let half = Batch::at(T).create(token("a", 100, 0)).delete(&acme(), Kind::UploadToken, "not there");
        assert_eq!(ledger.write(half).await.expect_err("half"), Fault::Missing);
        assert!(ledger.find(Kind::UploadToken, "a", T).await.expect("read").is_none());
        let page = ledger.list(listing(Order::Created, false, Start::Offset(0), 10), T).await.expect("page");
        assert_eq!((page.total, page.records.len()), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn pages_are_sorted_from_both_ends() {
    for Kept { ledger, .. } in everywhere("pages are sorted from both ends") {
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
}

#[tokio::test]
async fn what_is_over_is_neither_found_nor_listed_nor_counted() {
    for Kept { ledger, clock, .. } in everywhere("what is over is neither found nor listed nor counted") {
        let batch = Batch::at(T).create(token("short", 100, 10)).create(token("long", 100, 1000));
        ledger.write(batch).await.expect("created");
        assert!(ledger.find(Kind::UploadToken, "short", UnixTime(109)).await.expect("read").is_some());
        assert!(ledger.find(Kind::UploadToken, "short", UnixTime(110)).await.expect("read").is_none());
        clock.set(UnixTime(110));
        let page = ledger.list(listing(Order::Created, false, Start::Offset(0), 10), UnixTime(110)).await.expect("page");
        assert_eq!((page.total, ids(&page)), (1, vec!["long"]));
        // A name that is free again may be given again.
        ledger.write(Batch::at(UnixTime(110)).create(token("short", 110, 10))).await.expect("created anew");
    }
}

#[tokio::test]
async fn accounts_do_not_reach_one_another() {
    for Kept { ledger, .. } in everywhere("accounts do not reach one another") {
        ledger.write(Batch::at(T).create(token("mine", 100, 0))).await.expect("created");
        let other = Account::new("other");
        assert!(ledger.find_of(&other, Kind::UploadToken, "mine", T).await.expect("read").is_none());
        let taken = ledger.write(Batch::at(T).delete(&other, Kind::UploadToken, "mine")).await;
        assert_eq!(taken.expect_err("another's"), Fault::Missing);
        let theirs = Record { account: other, ..token("mine", 100, 5) };
        assert_eq!(ledger.write(Batch::at(T).replace(theirs)).await.expect_err("another's"), Fault::Missing);
        assert!(ledger.find_of(&acme(), Kind::UploadToken, "mine", T).await.expect("read").is_some());
    }
}

struct Counting(AtomicUsize, Mutex<Vec<bool>>, Ledger);

impl Follower for Counting {
    fn follow(&self, changes: &[Change]) {
        self.0.fetch_add(changes.len(), Ordering::SeqCst);
        for change in changes {
            let found = matches!(self.2.recall(change.kind, &change.id), Ok(Recalled::Known(Some(_))));
            self.1.lock().expect("lock").push(found == change.now.is_some());
        }
    }

    fn start_over(&self, _: &[Arc<Record>]) {}
}

#[tokio::test]
async fn memory_and_followers_know_before_the_answer() {
    for Kept { ledger, .. } in everywhere("memory and followers know before the answer") {
        let counting = Arc::new(Counting(AtomicUsize::new(0), Mutex::default(), ledger.clone()));
        let follower: Arc<dyn Follower> = counting.clone();
        ledger.follow(&follower, Kind::Revoked).expect("followed");
        assert!(ledger.find(Kind::UploadToken, "a", T).await.expect("read").is_none(), "remembered as missing");
        ledger.write(Batch::at(T).create(token("a", 100, 0))).await.expect("created");
        assert_eq!(counting.0.load(Ordering::SeqCst), 1);
        assert!(ledger.find(Kind::UploadToken, "a", T).await.expect("read").is_some());
        ledger.write(Batch::at(T).delete(&acme(), Kind::UploadToken, "a")).await.expect("deleted");
        assert!(ledger.find(Kind::UploadToken, "a", T).await.expect("read").is_none());
        assert_eq!(*counting.1.lock().expect("lock"), [true, true], "memory knew first");
    }
}

#[tokio::test]
async fn an_account_has_at_most_as_many_keys_as_a_key_set() {
    for Kept { ledger, .. } in everywhere("an account has at most as many keys as a key set") {
        let all = (0..KeySet::MAX).fold(Batch::at(T), |batch, n| batch.create(key(&format!("k{n}"))));
        ledger.write(all).await.expect("created");
        assert_eq!(ledger.write(Batch::at(T).create(key("one more"))).await.expect_err("one too many"), Fault::Full);
    }
}

fn copied(ledger: &Ledger, form: Form) -> String {
    let mut out = Vec::new();
    ledger.export(form, T, &mut out).expect("exported");
    String::from_utf8(out).expect("text")
}

#[test]
fn copies_are_whole_or_free_of_secrets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // From each to the next one: what one kind keeps can be moved to another.
    let all = everywhere("copies of a ledger");
    for (Kept { name, ledger, .. }, Kept { ledger: other, .. }) in all.iter().zip(all.iter().cycle().skip(1)) {
        ledger.write_blocking(Batch::at(T).put(token("toSecret", 100, 50)).put(key("k1"))).expect("made");
        let (sealed, plain, open_text) = (copied(ledger, Form::Sealed), copied(ledger, Form::Plain), copied(ledger, Form::WithSecrets));
        for safe in [&sealed, &plain] {
            assert!(!safe.contains("toSecret") && !safe.contains("PRIVATE"), "{safe}");
        }
        assert!(plain.contains("k1") && open_text.contains("toSecret") && open_text.contains("PRIVATE"));
        assert_eq!(other.import(T, &mut open_text.as_bytes()), Ok(2), "{name}");
        assert_eq!(other.import(T, &mut open_text.as_bytes()), Ok(2), "again changes nothing");
        let there = |kind, id| runtime.block_on(other.find(kind, id, T)).expect("read").expect("there");
        let secret = there(Kind::SigningKey, "k1").secret.clone();
        assert_eq!(secret.as_ref().map(|secret| secret.expose().as_str()), Some("PRIVATE"));
        assert_eq!(there(Kind::UploadToken, "toSecret").expires, UnixTime(150));
        let empty = sealed.lines().next().expect("a first line").len();
        for wrong in [&plain, "", "{}", "x", &format!("{}\nAAAA", &sealed[..empty])] {
            assert!(other.import(T, &mut wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(ledger.import(T, &mut sealed.as_bytes()), Ok(2));
        if all.len() > 1 {
            assert!(other.import(T, &mut sealed.as_bytes()).is_err(), "another ledger's key");
        }
    }
}

#[tokio::test]
async fn writers_at_the_same_time_share_commits() {
    for Kept { name, ledger, .. } in everywhere("writers of a ledger at the same time") {
        let writes = (0..128).map(|n| {
            let ledger = ledger.clone();
            async move { ledger.write(Batch::at(T).create(token(&format!("t{n}"), 100, 0))).await.expect("created") }
        });
        futures_util::future::join_all(writes).await;
        let page = ledger.list(listing(Order::Created, false, Start::Offset(0), 200), T).await.expect("page");
        assert_eq!((page.total, page.records.len()), (128, 128));
        assert!(ledger.commits() < 128, "{name}: {} commits", ledger.commits());
    }
}

#[test]
fn nothing_in_the_store_shows_a_token_or_a_key() {
    for program in programs("what a shared ledger shows of itself") {
        let (mut server, folder) = (Server::start(&program, &super::kept()), Folder::new());
        let config = ledger_config(&server, &folder, "5a");
        let ledger = open(&config, &Clock::manual(T)).expect("a ledger");
        ledger.write_blocking(Batch::at(T).create(token("toSecret", 100, 50)).create(key("k1"))).expect("created");
        server.kill();
        let written = server.written();
        assert!(written.len() > 500, "{} bytes were written", written.len());
        for secret in ["toSecret", "PRIVATE", "acme"] {
            assert!(!written.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} can be read");
        }
    }
}

#[test]
fn another_key_is_refused_with_words() {
    for program in programs("keys of a shared ledger") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let open = |key: &str| open(&ledger_config(&server, &folder, key), &Clock::System);
        open("5a").expect("the first key");
        assert!(open("5a").is_ok(), "the same key again");
        let fault = open("5b").err().expect("another key");
        assert!(fault.contains("another key"), "{fault}");
    }
}
