//! Cloudflare Stream: its SDK for Python, and what uploads to it: clients of tus, and curl.
//!
//! Tokens and signing keys are the control listener's. Uploads go through a data route, opened by an API key of the gateway's,
//! to a stand-in that is shown the vendor's API token; the addresses that it hands out are the gateway's.

use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::demo::vendor::Call;

use super::super::flows::{cloudflare, text};
use super::super::{ADMIN, CLOUDFLARE, Rig, body};
use super::asked::{asks, provider};
use super::{Exchange, Put, called, exchanges};
use crate::rig::Answer;
use crate::support::gateway::NOW;
use crate::support::vendors::Simulator;
use crate::support::vendors::cloudflare::{API_TOKEN, Cloudflare};

/// What the recorder was shown, as an API token and as a key.
const SHOWN: [&str; 2] = ["cf-api-token", "globalkey"];
/// Places of uploads that the recorder gave out.
const PLACES: [&str; 2] = ["/tusup/1?tusv2=true", "/tusup/2?tusv2=true"];

/// A gateway before a stand-in for the vendor.
fn stage() -> (Rig, Simulator<Cloudflare>) {
    let vendor = Simulator::plain(Cloudflare::new(), &Clock::manual(NOW));
    let uploads = vendor.url.replace("127.0.0.1", "localhost");
    vendor.vendor().at(&uploads);
    let rig = Rig::with(Clock::manual(NOW), |config| {
        config["origins"]["vendor"] = json!({ "endpoints": [vendor.url] });
        config["origins"]["uploads"] = json!({ "endpoints": [uploads] });
        config["credentials"] = json!({ "api": { "type": "static", "secret": API_TOKEN } });
        config["schemes"]["backend"] = json!({ "type": "api-key", "dialect": "cloudflare", "account": "acme" });
        config["routes"].as_array_mut().expect("routes").push(json!({
            "name": "uploads", "path": format!("/client/v4/accounts/{CLOUDFLARE}/stream"), "methods": ["POST", "HEAD", "PATCH"],
            "accept": ["backend"], "origin": "vendor", "inject": [{ "credential": "api", "into": "bearer" }], "upload": {},
            "answers": { "tokenless": true, "origins": ["uploads"], "json": [{ "field": "result.uploadURL", "action": "rewrite" }] },
        }));
    });
    (rig, vendor)
}

/// The gateway's key instead of the recorded one, and an end to come instead of one that is past: 2030, in base64.
fn ours() -> Put {
    Put::of(&[(SHOWN[0], ADMIN), (SHOWN[1], ADMIN), ("MjAyNC0wMi0yN1QwNzoyMDo1MFo=", "MjAzMC0wMS0wMVQwMDowMDowMFo=")])
}

/// Path and query of an address at the gateway.
fn here(rig: &Rig, address: &str) -> String {
    address.strip_prefix(&format!("http://{}", rig.data)).unwrap_or_else(|| panic!("not at the gateway: {address}")).to_owned()
}

fn in_envelope(exchange: &Exchange, answer: &Answer) -> Value {
    exchange.matches(answer);
    let said = body(answer);
    assert_eq!((&said["success"], &said["errors"], &said["messages"]), (&true.into(), &json!([]), &json!([])), "{exchange}");
    said["result"].clone()
}

/// A call of the control API.
fn asked(rig: &Rig, exchange: &Exchange) {
    let key = body(&cloudflare(rig, "POST", "keys", Value::Null))["result"].clone();
    let (id, pem) = (text(&key, "id"), text(&key, "pem"));
    // The recorded times are years ahead of the gateway's; a key that is none has one of ours in its place.
    let times = [("1893456000", "1800003600"), ("1893452400", "1800000000")];
    let keys = [("KEYID", id), ("LS0tLS1CRUdJTg==", pem), ("8f926b2b01f383510025a78a4dcbf6a", id)];
    let put = [ours(), Put::of(&times), Put::of(&keys)].into_iter().fold(Put::default(), |all, put| Put([all.0, put.0].concat()));
    let result = in_envelope(exchange, &exchange.send(rig.control, &put));
    exchange.names("/result", &json!({ "result": result }));
    match &exchange.given["body"]["result"] {
        Value::Object(_) => {}
        Value::String(text) => assert_eq!(result, *text, "{exchange}"),
        _ => assert!(result.is_array(), "{exchange}"),
    }
}

/// What an SDK reads of a refusal: here to somebody else's account.
fn refused(rig: &Rig, exchange: &Exchange) {
    let answer = exchange.send(rig.control, &ours().and(CLOUDFLARE, &"f".repeat(32)));
    let said = body(&answer);
    assert_eq!((answer.status, said), (403, exchange.given["body"].clone()), "{exchange}");
}

#[test]
fn its_sdk_for_python_gets_what_it_was_recorded_with() {
    let (rig, vendor) = stage();
    for exchange in exchanges("cloudflare_python.json") {
        match (exchange.path(), exchange.status()) {
            (path, 200) if path.ends_with("/direct_upload") => {
                let result = in_envelope(&exchange, &exchange.send(rig.data, &ours()));
                let (uid, address) = (text(&result, "uid"), here(&rig, text(&result, "uploadURL")));
                assert!(vendor.vendor().uploads().iter().any(|(have, _)| have == uid) && !address.contains(uid), "{exchange}: {result}");
            }
            (_, 200) => asked(&rig, &exchange),
            (_, 403) => refused(&rig, &exchange),
            (_, other) => panic!("{exchange}: {other}"),
        }
    }
}

/// Uploads of one capture, and where they go.
struct Uploads {
    rig: Rig,
    vendor: Simulator<Cloudflare>,
    /// The place of the upload that is under way, and what went there.
    place: String,
    film: Vec<u8>,
    whole: usize,
}

impl Uploads {
    fn replay(&mut self, exchange: &Exchange, all: &[Exchange]) {
        match (exchange.method(), exchange.path()) {
            ("POST", path) if path.starts_with("/cfupload/") => self.send_form(exchange),
            ("POST", _) if exchange.header("tus-resumable").is_some() => self.begin(exchange, &ours()),
            ("POST", _) => {
                let result = in_envelope(exchange, &exchange.send(self.rig.data, &ours()));
                self.arrived(exchange, text(&result, "uid"), &exchange.file());
            }
            ("HEAD", _) => self.resume(exchange, all),
            ("PATCH", _) => self.patch(exchange),
            _ => panic!("nobody replays {exchange}"),
        }
    }

    fn begin(&mut self, exchange: &Exchange, put: &Put) {
        let answer = exchange.send(self.rig.data, put);
        exchange.matches(&answer);
        assert_eq!((answer.field("tus-resumable"), answer.field("stream-media-id").len()), ("1.0.0", 32), "{exchange}: {answer:?}");
        self.place = here(&self.rig, answer.field("location"));
        self.film.clear();
    }

    /// A back end made the place, by the request of another exchange, and its client was given nothing else.
    fn resume(&mut self, exchange: &Exchange, all: &[Exchange]) {
        let made = all.iter().find(|exchange| exchange.text("target").ends_with("direct_user=true")).expect("what makes the place");
        // The client had a file of another length than the recorded place was made for.
        self.begin(made, &ours().and("12582912", "6291456"));
        let answer = exchange.send_to(self.rig.data, &self.place.clone(), &Put::default());
        exchange.matches(&answer);
        assert_eq!((answer.field("upload-offset"), answer.field("upload-length")), ("0", "6291456"), "{exchange}: {answer:?}");
    }

    fn patch(&mut self, exchange: &Exchange) {
        assert!(PLACES.contains(&exchange.text("target")), "{exchange}");
        let answer = exchange.send_to(self.rig.data, &self.place.clone(), &ours());
        exchange.matches(&answer);
        assert_eq!(Some(answer.field("upload-offset")), exchange.given_field("Upload-Offset"), "{exchange}: {answer:?}");
        self.film.extend(exchange.file());
        let last = self.vendor.vendor().uploads().into_iter().last().expect("an upload");
        if last.1.whole {
            self.arrived(exchange, &last.0, &self.film.clone());
        }
    }

    /// The address is asked for as the SDK was recorded to ask.
    fn send_form(&mut self, exchange: &Exchange) {
        let asks = exchanges("cloudflare_python.json").into_iter().find(|exchange| exchange.path().ends_with("/direct_upload"));
        let result = body(&asks.expect("what asks for an address").send(self.rig.data, &ours()))["result"].clone();
        let address = here(&self.rig, text(&result, "uploadURL"));
        exchange.matches(&exchange.send_to(self.rig.data, &address, &Put::default()));
        self.arrived(exchange, text(&result, "uid"), &exchange.file());
        let again = exchange.send_to(self.rig.data, &address, &Put::default());
        assert!((400..500).contains(&again.status), "{exchange}: an address is good once: {again:?}");
    }

    fn arrived(&mut self, exchange: &Exchange, uid: &str, film: &[u8]) {
        let uploads = self.vendor.vendor().uploads();
        let (_, came) = uploads.iter().find(|(have, _)| have == uid).unwrap_or_else(|| panic!("{exchange}: {uid}"));
        assert!(came.whole && came.bytes == film, "{exchange}: {} of {} bytes", came.bytes.len(), film.len());
        self.whole += 1;
    }
}

#[test]
fn clients_of_tus_and_forms_upload_as_they_were_recorded() {
    let (rig, vendor) = stage();
    let mut uploads = Uploads { rig, vendor, place: String::new(), film: Vec::new(), whole: 0 };
    let all = exchanges("cloudflare_uploads.json");
    for exchange in &all {
        uploads.replay(exchange, &all);
    }
    // Two clients of tus, the place that was made beforehand, and two forms.
    assert_eq!(uploads.whole, if all.is_empty() { 0 } else { 5 });
    let calls = uploads.vendor.calls();
    let shown = |call: &Call| call.field("authorization").unwrap_or_default().to_owned();
    let vendors = format!("Bearer {API_TOKEN}");
    assert!(calls.iter().filter(|call| call.path().starts_with("/client/")).all(|call| shown(call) == vendors), "its API sees its own");
    assert!(calls.iter().filter(|call| call.path().starts_with("/upload/")).all(|call| shown(call).is_empty()), "its places see none");
}

/// The recorded call for an address, by the SDK for Node, and a form that is sent there by somebody without a key.
#[test]
fn its_sdk_for_node_gets_an_address_for_others_with_a_key_of_ours() {
    let (rig, vendor) = stage();
    let Some((said, film)) = called("cloudflare", &rig, 40_000) else { return };
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film, "{said}");
    assert_eq!(said, json!({ "video": uploads[0].0, "sent": 200 }));
}

/// What the gateway itself asks the vendor for: an address for a form, and a place for tus.
#[test]
fn its_provider_asks_as_sdks_do() {
    let table = |issue: &str, more: Value| {
        let mut table = json!({
            "type": "cloudflare-stream", "account_id": CLOUDFLARE, "api_token_env": "SECRET", "issue": issue, "scope": "session",
            "max_duration_seconds": 3600,
        });
        table.as_object_mut().expect("a table").extend(more.as_object().cloned().unwrap_or_default());
        provider(&table, API_TOKEN)
    };
    for exchange in exchanges("cloudflare_python.json") {
        if exchange.path().ends_with("/direct_upload") {
            asks(&exchange, &*table("direct-upload", json!({ "allowed_origins": ["example.com"] })), &Cloudflare::new());
        }
    }
    for exchange in exchanges("cloudflare_uploads.json") {
        if exchange.text("target").ends_with("direct_user=true") {
            asks(&exchange, &*table("tus", json!({})), &Cloudflare::new());
        }
    }
}
