//! Ledgers that earlier versions wrote: file, store and copies, as they were left.
//!
//! `tests/fixtures/ledger/N` was written by a version of layout N and is never written again: `write_this_layout` makes the
//! folder of a new layout, once.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redb::ReadableDatabase as _;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tollgate::clock::{Clock, UnixTime};
use tollgate::ledger::record::{AuthToken, Issued, SigningKey, Terms, UploadToken};
use tollgate::ledger::{Account, Batch, Body, Form, Kind, Ledger, LedgerConfig, Listing, Order, Record, SCHEMA, Start};
use tollgate::secret::Secret;
use tollgate::token::{Algorithm, SessionTerms};

use super::same::{T, ledger_config, open};
use crate::fleet::server::{Server, programs};
use crate::rig::Folder;

/// The key that all of them are sealed with.
const KEY: &str = "5a";

fn folder(layout: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ledger/{layout}"))
}

/// What is written down of each layout.
fn records() -> Vec<Record> {
    let record = |id: &str, body| Record::new(&Account::new("acme"), id, T, body);
    let key = SigningKey { algorithm: Algorithm::RS256, public_jwk: None, name: Some("first".into()), retires: None, vendor_id: None };
    let auth = AuthToken { hidden: true, session_limit: Some(3), grants: json!({ "read": { "all": true } }), ..AuthToken::default() };
    let issued = Issued {
        scheme: "play".into(),
        key_id: Some("k1".into()),
        subject: Some("ann".into()),
        path: "/film/".into(),
        expires: Some(UnixTime(5000)),
        terms: Terms::Known {
            session: SessionTerms { concurrent: Some(2), ..SessionTerms::default() },
            bindings: vec!["Systems([64512])".into()],
        },
        token_sha256: "ab".repeat(32),
        ..Issued::default()
    };
    vec![
        record("to1", Body::UploadToken(UploadToken { ttl: 4000 })).until(UnixTime(4100)),
        record("0123456789abcdef0123456789abcdef", Body::AuthToken(auth)),
        record("k1", Body::SigningKey(key)).with_secret(Secret::new("PRIVATE".into())),
        record("issued1", Body::Issued(issued)).until(UnixTime(5000)),
    ]
}

async fn connection(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("connected")
}

fn file_config(folder: &Folder) -> LedgerConfig {
    let key_file = Some(folder.file("key", &KEY.repeat(32)));
    LedgerConfig { folder: Some(folder.path().to_owned()), key_file, ..LedgerConfig::default() }
}

async fn filled(config: &LedgerConfig) -> Ledger {
    let ledger = open(config, &Clock::manual(T)).expect("a ledger");
    ledger.write(records().into_iter().fold(Batch::at(T), Batch::create)).await.expect("written");
    ledger
}

/// Waits until the file is let go of, which its writer's thread does.
fn free(file: &Path) -> Vec<u8> {
    loop {
        if redb::Database::open(file).is_ok() {
            return std::fs::read(file).expect("read");
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
#[ignore = "writes the fixture of a new layout"]
async fn write_this_layout() {
    let to = folder(SCHEMA);
    assert!(!to.exists(), "what a version wrote stays as it is");
    std::fs::create_dir_all(&to).expect("a folder");
    let beside = Folder::new();
    let ledger = filled(&file_config(&beside)).await;
    for (name, form) in [("sealed.txt", Form::Sealed), ("secrets.jsonl", Form::WithSecrets)] {
        ledger.export(form, T, &mut std::fs::File::create(to.join(name)).expect("made")).expect("exported");
    }
    drop(ledger);
    let packed = std::fs::File::create(to.join("ledger.redb.gz")).expect("made");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::best());
    packed.write_all(&free(&beside.path().join("ledger.redb"))).expect("packed");
    packed.finish().expect("packed");
    // The older of the two: what it dumps both take.
    let program = programs("the fixture of a layout").into_iter().find(|program| program.name == "redis-server").expect("Redis");
    let server = Server::start(&program, &[]);
    drop(filled(&ledger_config(&server, &Folder::new(), KEY)).await);
    let mut store = connection(&server).await;
    let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut store).await.expect("keys");
    keys.sort();
    let mut lines = String::new();
    for key in keys {
        let value: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut store).await.expect("dumped");
        lines += &format!("{} {}\n", STANDARD.encode(key), STANDARD.encode(value));
    }
    std::fs::write(to.join("store.txt"), lines).expect("written");
}

/// What the ledger says of records that a version of `layout` wrote, and what becomes of one that is changed.
async fn as_it_was_written(ledger: &Ledger, layout: u64) {
    let find = |kind, id| async move { ledger.find(kind, id, T).await.expect("read").expect("there") };
    let upload = find(Kind::UploadToken, "to1").await;
    assert_eq!((upload.created, upload.expires), (T, UnixTime(4100)));
    let Body::AuthToken(auth) = &find(Kind::AuthToken, "0123456789abcdef0123456789abcdef").await.body else { panic!("another kind") };
    assert_eq!((auth.hidden, auth.session_limit, &auth.grants), (true, Some(3), &json!({ "read": { "all": true } })));
    assert_eq!(find(Kind::SigningKey, "k1").await.secret.as_ref().map(|secret| secret.expose().as_str()), Some("PRIVATE"));
    let record = find(Kind::Issued, "issued1").await;
    let Body::Issued(issued) = &record.body else { panic!("another kind") };
    assert_eq!((&*issued.path, issued.expires, issued.subject.as_deref()), ("/film/", Some(UnixTime(5000)), Some("ann")));
    assert_eq!(issued.terms == Terms::Unknown, layout == 1, "the first did not keep them");
    let changed = Issued { revoked: Some(T), ..issued.clone() };
    ledger.write(Batch::at(T).replace(Record { body: Body::Issued(changed), ..Record::clone(&record) })).await.expect("changed");
    let page = Listing {
        account: Account::new("acme"),
        kind: Kind::Issued,
        order: Order::Created,
        descending: false,
        start: Start::Offset(0),
        limit: 10,
    };
    let page = ledger.list(page, T).await.expect("a page");
    let Body::Issued(there) = &page.records[0].body else { panic!("another kind") };
    assert_eq!((page.total, there.revoked, &there.terms), (1, Some(T), &issued.terms));
}

const META: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");

/// The layout that a file says it has.
fn layout_of(file: &Path) -> u64 {
    let database = redb::Database::open(file).expect("a ledger");
    let meta = database.begin_read().expect("begun").open_table(META).expect("the table");
    let schema = meta.get("schema").expect("read").expect("there");
    u64::from_be_bytes(schema.value().try_into().expect("a number"))
}

#[tokio::test]
async fn files_of_every_layout_are_read() {
    for layout in 1..=SCHEMA {
        let there = Folder::new();
        let (file, mut bytes) = (there.path().join("ledger.redb"), Vec::new());
        let packed = std::fs::File::open(folder(layout).join("ledger.redb.gz")).expect("the fixture of each layout is there");
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("unpacked");
        std::fs::write(&file, bytes).expect("written");
        assert_eq!(layout_of(&file), layout);
        let config = file_config(&there);
        for _ in 0..2 {
            let ledger = open(&config, &Clock::manual(T)).expect("an earlier layout is no fault");
            as_it_was_written(&ledger, layout).await;
            drop(ledger);
            free(&file);
        }
        assert_eq!(layout_of(&file), SCHEMA, "no earlier version opens it again");
    }
}

#[tokio::test]
async fn stores_of_every_layout_are_read_by_all_gateways() {
    for program in programs("stores of every layout") {
        for layout in 1..=SCHEMA {
            let (server, there) = (Server::start(&program, &[]), Folder::new());
            let mut store = connection(&server).await;
            for line in std::fs::read_to_string(folder(layout).join("store.txt")).expect("the fixture of each layout").lines() {
                let (key, value) = line.split_once(' ').expect("two");
                let decode = |text| STANDARD.decode(text).expect("base64");
                let restored = redis::cmd("RESTORE").arg(decode(key)).arg(0).arg(decode(value)).query_async::<()>(&mut store).await;
                restored.expect("taken");
            }
            let config = ledger_config(&server, &there, KEY);
            // Who comes second finds the layout raised.
            let [one, other] = [0, 1].map(|_| open(&config, &Clock::manual(T)).expect("an earlier layout is no fault"));
            as_it_was_written(&one, layout).await;
            as_it_was_written(&other, layout).await;
            let meta = redis::cmd("HGET").arg("{tollgate:}ledger:meta").arg("schema").query_async::<Option<u64>>(&mut store).await;
            assert_eq!(meta.expect("asked"), Some(SCHEMA), "{}", program.name);
        }
    }
}

#[tokio::test]
async fn copies_of_every_layout_are_taken_in() {
    for layout in 1..=SCHEMA {
        for name in ["sealed.txt", "secrets.jsonl"] {
            let copy = std::fs::read(folder(layout).join(name)).expect("the fixture of each layout is there");
            let there = Folder::new();
            let ledger = open(&file_config(&there), &Clock::manual(T)).expect("a ledger");
            let (taken, ledger) = tokio::task::spawn_blocking(move || (ledger.import(T, &mut &*copy), ledger)).await.expect("done");
            assert_eq!(taken, Ok(4), "{layout} {name}");
            as_it_was_written(&ledger, layout).await;
        }
    }
}

#[test]
fn a_ledger_or_a_copy_of_a_later_version_is_refused_with_words() {
    let there = Folder::new();
    let ledger = open(&file_config(&there), &Clock::manual(T)).expect("a ledger");
    let later = format!("{{\"tollgate_ledger\":{},\"form\":\"sealed\"}}\n", SCHEMA + 1);
    let words = format!("has the layout {}; this version knows those up to {SCHEMA}", SCHEMA + 1);
    let fault = ledger.import(T, &mut later.as_bytes()).expect_err("a later copy");
    assert!(fault.to_string().contains(&words), "{fault}");
    drop(ledger);
    let file = there.path().join("ledger.redb");
    free(&file);
    let database = redb::Database::open(&file).expect("the file");
    let begun = database.begin_write().expect("begun");
    begun.open_table(META).expect("the table").insert("schema", &(SCHEMA + 1).to_be_bytes()[..]).expect("put");
    begun.commit().expect("done");
    drop(database);
    let fault = open(&file_config(&there), &Clock::manual(T)).err().expect("a later file");
    assert!(fault.contains(&words), "{fault}");
}
