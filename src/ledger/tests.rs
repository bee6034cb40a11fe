//! The ledger in its file: what holds there alone. What holds wherever it is kept is tested over all of them, in `tests/it`.

use super::record::UploadToken;
use super::*;
use crate::units::Size;

fn config(folder: &Path) -> LedgerConfig {
    LedgerConfig { folder: Some(folder.to_owned()), remembered: 100, page_cache: Size::kib(1024), ..LedgerConfig::default() }
}

fn open(folder: &Path) -> Result<Ledger, String> {
    open_by(&config(folder))
}

fn open_by(config: &LedgerConfig) -> Result<Ledger, String> {
    let around = Around { folder: Path::new("/"), variable: &|_| None };
    Ledger::open(config, (around, &Clock::System), |work| std::thread::Builder::new().spawn(work).map(drop).map_err(|e| e.to_string()))
}

fn acme() -> Account {
    Account::new("acme")
}

fn token(id: &str) -> Record {
    Record::new(&acme(), id, T, Body::UploadToken(UploadToken { ttl: 0 }))
}

const T: UnixTime = UnixTime(100);

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    ledger.write(Batch::at(T).create(token("to1"))).await.expect("created");
    assert_eq!(ledger.write(Batch::at(T).create(token("to1"))).await.expect_err("twice"), Fault::Exists);
    // The file is let go of by the writer's thread.
    drop(ledger);
    let again = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        open(folder.path()).ok()
    });
    let ledger = again.expect("the file is free");
    assert_eq!(ledger.find(Kind::UploadToken, "to1", T).await.expect("read").expect("there").created, UnixTime(100));
    assert!(ledger.find(Kind::AuthToken, "to1", T).await.expect("read").is_none());
    let file = std::fs::read(folder.path().join("ledger.redb")).expect("file");
    assert!(!file.windows(3).any(|bytes| bytes == b"to1"), "the id stands in the file");
}

#[test]
fn another_key_is_refused_with_words() {
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

#[tokio::test]
async fn what_is_nested_as_deep_as_may_be_is_read_again() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    let record = |levels: usize| {
        let deep = (1..levels).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
        let other = [("meta".to_owned(), deep)].into_iter().collect();
        Record::new(&acme(), "v", T, Body::VideoSettings(record::VideoSettings { other, ..record::VideoSettings::default() }))
    };
    assert_eq!(ledger.write(Batch::at(T).put(record(record::DEEPEST + 1))).await.expect_err("too deep"), Fault::TooDeep);
    ledger.write(Batch::at(T).put(record(record::DEEPEST))).await.expect("kept");
    let mut copy = Vec::new();
    assert_eq!(ledger.export(Form::WithSecrets, T, &mut copy), Ok(1));
    assert_eq!(ledger.check_copy(&mut &copy[..]), Ok(1));
}

#[test]
fn a_copy_with_a_broken_line_is_told_in_advance() {
    let folder = tempfile::tempdir().expect("folder");
    let ledger = open(folder.path()).expect("ledger");
    ledger.write_blocking((0..3).fold(Batch::at(T), |batch, n| batch.put(token(&format!("to{n}"))))).expect("made");
    for form in [Form::Sealed, Form::WithSecrets] {
        let mut copy = Vec::new();
        ledger.export(form, T, &mut copy).expect("exported");
        assert_eq!(ledger.check_copy(&mut &copy[..]), Ok(3));
        let cut = &copy[..copy.len() - 5];
        let fault = ledger.check_copy(&mut &*cut).expect_err("cut");
        assert!(fault.to_string().contains("line 4"), "{fault}");
    }
}
