//! How a record is written before it is sealed, and how one that an earlier version wrote is read.
//!
//! Each record says which layout it is written in, so that nothing has to be rewritten when a version brings another: a record
//! is lifted when it is read and written in this version's layout when it changes. Opening a ledger of a million older records
//! takes no longer for it, and a crash can leave nothing half lifted. The ledger itself says the newest layout that may be in
//! it, so that a version that cannot read it refuses to open it.
//!
//! # To bring a new layout
//! Raise [`SCHEMA`], add the step to [`STEPS`], and have `write_this_layout` in `tests/it` write a ledger of it down. A step
//! works on the JSON of a record and says what an older version could not know; it never guesses.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Fault;
use super::record::Record;
use crate::secret::Secret;

/// The layout that this version writes; it reads all up to this one.
pub const SCHEMA: u64 = 2;

/// What lifts a record's JSON from the layout before to the next: from 1 to 2, from 2 to 3, …
const STEPS: [fn(&mut Value); 1] = [with_terms];
const _: () = assert!(STEPS.len() as u64 == SCHEMA - 1, "each layout but the first is reached by a step");

/// 2: a token of the gateway's own API says what its scheme made of it.
fn with_terms(record: &mut Value) {
    if let Some(Value::Object(issued)) = record.pointer_mut("/body/issued") {
        issued.insert("terms".into(), json!("unknown"));
    }
}

/// A record as text.
#[derive(Serialize)]
struct Written<'r> {
    layout: u64,
    record: &'r Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'r str>,
}

/// The part that tells how to read the rest.
#[derive(Deserialize)]
struct Which {
    #[serde(default = "first")]
    layout: u64,
}

/// Layout 1 did not say so.
const fn first() -> u64 {
    1
}

/// The rest.
#[derive(Deserialize)]
struct Read<R> {
    record: R,
    #[serde(default)]
    secret: Option<Secret<String>>,
}

/// `record` as text, its secret in the clear when there is one.
pub(super) fn write(record: &Record) -> Result<Vec<u8>, Fault> {
    let secret = record.secret.as_ref().map(|secret| secret.expose().as_str());
    // Room for most records at once: growing would leave copies behind.
    let mut text = Vec::with_capacity(1024 + secret.map_or(0, str::len) * 2);
    serde_json::to_writer(&mut text, &Written { layout: SCHEMA, record, secret })
        .map_err(|e| Fault::Broken(format!("a record cannot be written: {e}")))?;
    Ok(text)
}

/// The record of a text of this layout or an earlier one.
pub(super) fn read(text: &[u8]) -> Result<Record, Fault> {
    let unreadable = |e: serde_json::Error| Fault::Broken(format!("a record cannot be read: {e}"));
    let Which { layout } = serde_json::from_slice(text).map_err(unreadable)?;
    let Read { record, secret } = match layout {
        SCHEMA => serde_json::from_slice::<Read<Record>>(text).map_err(unreadable)?,
        1..SCHEMA => {
            let Read { mut record, secret } = serde_json::from_slice::<Read<Value>>(text).map_err(unreadable)?;
            let steps = usize::try_from(layout).map_or(&[][..], |layout| &STEPS[layout - 1..]);
            steps.iter().for_each(|step| step(&mut record));
            Read { record: serde_json::from_value(record).map_err(unreadable)?, secret }
        }
        found => return Err(Fault::Schema { found }),
    };
    Ok(Record { secret, ..record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::ledger::record::{Account, Body, Terms, UploadToken};

    #[test]
    fn a_record_comes_back_with_its_secret() {
        let record = Record::new(&Account::new("acme"), "to1", UnixTime(7), Body::UploadToken(UploadToken { ttl: 5 }));
        let back = read(&write(&record.clone().with_secret(Secret::new("hush".into()))).expect("written")).expect("read");
        assert_eq!(back.secret.map(|secret| secret.expose().clone()).as_deref(), Some("hush"));
        assert!(read(&write(&record).expect("written")).expect("read").secret.is_none());
    }

    #[test]
    fn an_issued_token_of_the_first_layout_does_not_say_its_terms() {
        let text = br#"{"record":{"account":"acme","id":"i1","created":1,"expires":9,"body":{"issued":{"scheme":"play","key_id":null,
            "subject":null,"path":"/a","not_before":null,"expires":9,"policy":null,"claims":{},"token_sha256":"","token_key":null,"revoked":null}}},"secret":null}"#;
        let Body::Issued(issued) = read(text).expect("read").body else { panic!("another kind") };
        assert_eq!(issued.terms, Terms::Unknown);
        let said = String::from_utf8(text.to_vec()).expect("text").replacen('{', r#"{"layout":2,"#, 1);
        assert!(matches!(read(said.as_bytes()), Err(Fault::Broken(_))), "a record of this layout says them");
    }

    #[test]
    fn later_layouts_are_refused() {
        let record = Record::new(&Account::new("acme"), "to1", UnixTime(7), Body::UploadToken(UploadToken { ttl: 5 }));
        let text = String::from_utf8(write(&record).expect("written")).expect("text");
        let with = |layout: &str| text.replacen(r#""layout":2"#, layout, 1);
        assert_eq!(read(with(r#""layout":3"#).as_bytes()).expect_err("later"), Fault::Schema { found: 3 });
        assert_eq!(read(with(r#""layout":0"#).as_bytes()).expect_err("none"), Fault::Schema { found: 0 });
    }
}
