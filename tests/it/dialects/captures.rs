//! Requests recorded from the official SDKs, sent again as they were: those of SDKs that cannot run here, too.
//!
//! Every exchange of every file has its turn. A room goes through its files and fails on a request that it knows no answer
//! to; what is no call of a gateway's at all stands in [`NOT_OURS`] with the reason, and nothing else is left out. What a
//! recorder wrote of a body but its bytes (names, sizes, field for field) is made whole again, to the recorded length.

mod apivideo;
mod asked;
mod cloudflare;
mod mux;
mod tolerance;
mod ziggeo;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{ADMIN, APP, CLOUDFLARE, Rig, ask};
use crate::rig::Answer;
use crate::sdk::{self, Film};

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/captures");

/// Every file, and how many exchanges its room goes through.
const FILES: [(&str, usize); 10] = [
    ("apivideo_nodejs_client.json", 20),
    ("apivideo_python_client.json", 18),
    ("apivideo_video_uploader.json", 24),
    ("cloudflare_python.json", 8),
    ("cloudflare_uploads.json", 14),
    ("mux_node.json", 5),
    // Answers that SDKs were tried with, and what they made of them.
    ("sdk_response_tolerance.json", 0),
    // Templates of requests, read out of a player.
    ("ziggeo_browser_player_wire.json", 0),
    ("ziggeo_node_sdk.json", 19),
    ("ziggeo_python_sdk.json", 19),
];

/// Exchanges that are no call of a gateway's: the file, the call, and why.
const NOT_OURS: [(&str, &str, &str); 1] = [(
    "mux_node.json",
    "video.playbackRestrictions.create",
    "a restriction is made once, by whoever runs the account; tokens name it (`playback_restriction_id`), and the gateway makes none",
)];

/// A file, or a word that it is not here.
fn capture(file: &str) -> Option<Value> {
    let Ok(text) = std::fs::read(Path::new(CAPTURES).join(file)) else {
        eprintln!("skipped: {CAPTURES}/{file} is not here");
        return None;
    };
    Some(serde_json::from_slice(&text).expect("JSON"))
}

/// The exchanges of a file but those of [`NOT_OURS`]; none where the file is not here.
fn exchanges(file: &'static str) -> Vec<Exchange> {
    let ours = |exchange: &Exchange| !NOT_OURS.iter().any(|(of, call, _)| *of == file && *call == exchange.call);
    let all = all_exchanges(file);
    let wanted = FILES.iter().find(|(name, _)| *name == file).expect("a file of the list").1;
    assert!(all.is_empty() || all.len() == wanted, "{file} has {} exchanges", all.len());
    all.into_iter().filter(ours).collect()
}

fn all_exchanges(file: &'static str) -> Vec<Exchange> {
    let Some(capture) = capture(file) else { return Vec::new() };
    let recorded = capture["exchanges"].as_array().cloned().unwrap_or_default();
    recorded.into_iter().map(|one| Exchange::of(file, &one)).collect()
}

/// What is put in place of what was recorded: tokens, ids, credentials.
#[derive(Default, Clone)]
struct Put(Vec<(String, String)>);

impl Put {
    fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect())
    }

    fn and(mut self, old: &str, new: &str) -> Self {
        self.0.push((old.to_owned(), new.to_owned()));
        self
    }

    fn into(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }
}

/// A recorded request, and the answer that its recorder gave.
struct Exchange {
    file: &'static str,
    call: String,
    request: Value,
    /// Status, fields and body.
    given: Value,
}

/// So that a failed check says where.
impl std::fmt::Display for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} {}", self.file, self.call, self.method(), self.text("target"))
    }
}

impl Exchange {
    fn of(file: &'static str, recorded: &Value) -> Self {
        let call = recorded["call"].as_str().expect("a call").to_owned();
        Self { file, call, request: recorded["request"].clone(), given: recorded["response_given"].clone() }
    }

    fn text(&self, name: &str) -> &str {
        self.request[name].as_str().unwrap_or_default()
    }

    fn method(&self) -> &str {
        self.text("method")
    }

    fn path(&self) -> &str {
        self.text("path")
    }

    fn status(&self) -> u16 {
        self.given["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status")
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.request["headers"].as_array().expect("headers").iter();
        pairs.map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value")))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What the recorder answered in this field.
    fn given_field(&self, name: &str) -> Option<&str> {
        self.given["headers"].get(name)?.as_str()
    }

    /// The parts of a form.
    fn parts(&self) -> &[Value] {
        self.request["multipart"]["parts"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The file that it uploads, in a form or bare; the same bytes wherever the recorder saw the same.
    fn file(&self) -> Vec<u8> {
        let is_file = |part: &&Value| part["value"].is_null();
        self.parts().iter().find(is_file).map_or_else(|| film(&self.request["body_sha256"], &self.request["body_size"]), content)
    }

    fn body(&self, put: &Put) -> Vec<u8> {
        match (&self.request["multipart"]["boundary"], &self.request["body"]) {
            (Value::String(boundary), _) => self.form(boundary, put),
            (_, Value::String(text)) => put.into(text).into_bytes(),
            _ if self.request["body_size"] == 0 => Vec::new(),
            _ => self.file(),
        }
    }

    fn form(&self, boundary: &str, put: &Put) -> Vec<u8> {
        let mut body = Vec::new();
        for part in self.parts() {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            for pair in part["headers"].as_array().expect("headers") {
                let (name, value) = (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"));
                body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
            match part["value"].as_str() {
                Some(value) => body.extend_from_slice(put.into(value).as_bytes()),
                None => body.extend_from_slice(&content(part)),
            }
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        body
    }

    /// Sends it again, on a connection of its own.
    fn send(&self, to: SocketAddr, put: &Put) -> Answer {
        assert_eq!(Some(self.body(&Put::default()).len() as u64), self.request["body_size"].as_u64(), "{self}: as long as it was");
        self.send_to(to, &put.into(self.text("target")), put)
    }

    /// The same to another place, for addresses that were handed out.
    fn send_to(&self, to: SocketAddr, target: &str, put: &Put) -> Answer {
        let hops = ["host", "connection", "content-length", "expect", "transfer-encoding"];
        let ends = self.headers().filter(|(name, _)| !hops.contains(&name.to_ascii_lowercase().as_str()));
        let headers: Vec<(&str, String)> = ends.map(|(name, value)| (name, put.into(value))).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ask(to, self.method(), target, &headers, &self.body(put))
    }

    /// Checks status and media type against what the SDK was recorded with.
    fn matches(&self, answer: &Answer) {
        assert_eq!(answer.status, self.status(), "{self}: {answer:?}");
        if let Some(kind) = self.given_field("Content-Type").filter(|_| self.status() < 300) {
            assert_eq!(answer.field("content-type"), kind, "{self}");
        }
    }

    /// Checks that everything that the SDK was given by name at a place (RFC 6901) is there.
    fn names(&self, place: &str, said: &Value) {
        let named = self.given["body"].pointer(place).and_then(Value::as_object);
        let here = said.pointer(place).unwrap_or(&Value::Null);
        let missing: Vec<&String> = named.into_iter().flatten().map(|(name, _)| name).filter(|name| here.get(name).is_none()).collect();
        assert!(missing.is_empty(), "{self}: no {missing:?} in {said}");
    }

    /// Checks that a browser's preflight allows what it asks for.
    fn is_allowed(&self, answer: &Answer) {
        assert_eq!(answer.status, 204, "{self}: {answer:?}");
        assert!(["*", self.header("Origin").expect("a page")].contains(&answer.field("access-control-allow-origin")), "{self}: {answer:?}");
        let lists = |name: &str, wanted: &str| answer.field(name).split(',').any(|have| have.trim().eq_ignore_ascii_case(wanted));
        assert!(lists("access-control-allow-methods", self.header("Access-Control-Request-Method").expect("a method")), "{self}");
        for name in self.header("Access-Control-Request-Headers").expect("fields").split(',').map(str::trim) {
            assert!(lists("access-control-allow-headers", name), "{self}: {name} in {answer:?}");
        }
    }
}

fn content(part: &Value) -> Vec<u8> {
    film(&part["sha256"], &part["size"])
}

/// Runs a vendor's own SDK for Node against a data route, with a key of the gateway's; `None` where it is not here. What it says, and
/// the file that it was to upload.
fn called(vendor: &str, rig: &Rig, length: usize) -> Option<(Value, Vec<u8>)> {
    let film = Film::new(length);
    let order = json!({
        "vendor": vendor, "base": format!("http://{}", rig.data), "key": ADMIN, "account": CLOUDFLARE, "app": APP, "file": film.path(),
        "chunk": 5 * 1024 * 1024,
    });
    Some((sdk::run("call.mjs", &order, &[])?, film.bytes))
}

/// Bytes that stand for a recorded file: as many, and told apart by its digest.
fn film(sha256: &Value, size: &Value) -> Vec<u8> {
    let seed = u64::from_str_radix(&sha256.as_str().expect("a digest")[..16], 16).expect("hexadecimal");
    let mut bytes = vec![0; usize::try_from(size.as_u64().expect("a size")).expect("a length")];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

#[test]
fn every_file_has_its_room_and_nothing_else_is_left_out() {
    let Ok(folder) = std::fs::read_dir(CAPTURES) else {
        eprintln!("skipped: {CAPTURES} is not here");
        return;
    };
    let here: BTreeSet<String> = folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    assert_eq!(here, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (file, exchanges) in FILES {
        assert_eq!(all_exchanges(file).len(), exchanges, "{file}");
    }
    for (file, call, why) in NOT_OURS {
        let known = FILES.iter().find(|(name, _)| *name == file).expect("a file").0;
        assert!(all_exchanges(known).iter().any(|exchange| exchange.call == call), "{file} has no {call}: {why}");
    }
}
