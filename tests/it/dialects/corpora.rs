//! Strange bodies on every address that takes one: no answer is ever the gateway's own fault, and each is in the words of its API.

use std::path::Path;

use serde_json::{Value, json};

use super::{ADMIN, APP, CLOUDFLARE, Rig, ask, basic};
use crate::rig::Answer;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/security/corpora");
const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";

/// One address that takes JSON.
struct Place {
    target: String,
    authorization: String,
    /// The media type of its refusals.
    refusal: &'static str,
    /// A body that it takes, with `@` where any JSON may stand.
    free: &'static str,
    /// What it answers to that; 0 where it is enough that it is not 400.
    taken: u16,
    /// Fields that take a text.
    fields: &'static [&'static str],
}

fn places() -> Vec<Place> {
    let stream = format!("/client/v4/accounts/{CLOUDFLARE}/stream/ea95132c15732412d22c1476fa83f27a");
    let (own, app, bearer) = (basic(ADMIN, ""), basic(APP, ADMIN), format!("Bearer {ADMIN}"));
    let place = |target: &str, authorization: &String, refusal, (free, taken), fields| Place {
        target: target.to_owned(),
        authorization: authorization.clone(),
        refusal,
        free,
        taken,
        fields,
    };
    const TOKEN: &str = r#"{"scheme":"viewer","url":"https://video.example.com/a","claims":{"x":@}}"#;
    const TOKEN_FIELDS: &[&str] = &["scheme", "policy", "url", "scope", "subject", "client_ip", "key_id", "claims", "session"];
    const ASKED: &str = r#"{"ip":"192.0.2.1","action":"read","path":"vod/a","x":@}"#;
    vec![
        place("/v1/tokens", &bearer, PROBLEM, (TOKEN, 201), TOKEN_FIELDS),
        // These take nothing that they do not know, so that there is no place for just any JSON.
        place("/v1/keys", &bearer, PROBLEM, ("", 0), &["kind", "name"]),
        place("/v1/keys/none/rotate", &bearer, PROBLEM, ("", 0), &["overlap"]),
        place("/v1/api-keys", &bearer, PROBLEM, ("", 0), &["name", "role", "per_minute"]),
        place("/v1/explain", &bearer, PROBLEM, ("", 0), &["url", "method", "headers", "client_ip"]),
        place("/upload-tokens", &own, PROBLEM, (r#"{"ttl":60,"x":@}"#, 200), &["ttl"]),
        place("/auth/api-key", &own, PROBLEM, (r#"{"apiKey":"9VxMaPgsaFg7EBqmuspSzF7","x":@}"#, 200), &["apiKey"]),
        place("/auth/refresh", &own, PROBLEM, ("", 0), &["refreshToken"]),
        place("/v1/authtokens/", &app, JSON, (r#"{"volatile":true,"x":@}"#, 200), &["key", "grants", "session_limit", "volatile"]),
        place(&format!("{stream}/token"), &bearer, JSON, (r#"{"downloadable":true,"x":@}"#, 200), &["id", "pem", "exp", "accessRules"]),
        place(&stream, &bearer, JSON, (r#"{"requireSignedURLs":true,"meta":@}"#, 200), &["uid", "creator", "meta", "allowedOrigins"]),
        place("/authz/mediamtx", &bearer, PROBLEM, (ASKED, 0), &["ip", "action", "path", "query", "token", "password"]),
    ]
}

impl Place {
    fn post(&self, rig: &Rig, kind: &str, body: &[u8]) -> Answer {
        let answer = ask(rig.control, "POST", &self.target, &[("Authorization", &self.authorization), ("Content-Type", kind)], body);
        self.assert_sound(&answer, &String::from_utf8_lossy(&body[..body.len().min(200)]));
        answer
    }

    /// Not the gateway's fault, and in the words of the API.
    fn assert_sound(&self, answer: &Answer, asked: &str) {
        assert!(answer.status < 500, "{} {asked:?}: {answer:?}", self.target);
        if answer.status >= 400 {
            assert_eq!(answer.field("content-type"), self.refusal, "{} {asked:?}: {answer:?}", self.target);
            assert!(
                serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body.is_object()),
                "{} {asked:?}: {answer:?}",
                self.target
            );
        }
    }
}

/// The files of JSONTestSuite by name, or a word that they are not here.
fn suite() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(CORPORA).join("json-test-suite/test_parsing");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<(String, Vec<u8>)> =
        files.filter_map(|file| Some((file.file_name().into_string().ok()?, std::fs::read(file.path()).ok()?))).collect();
    files.sort();
    if files.is_empty() {
        eprintln!("skipped: {} is not here", folder.display());
    }
    files
}

/// A gateway with a key that signs.
fn signing() -> Rig {
    let rig = Rig::start();
    let made = ask(rig.control, "POST", "/v1/keys", &[("Authorization", &format!("Bearer {ADMIN}"))], b"");
    assert_eq!(made.status, 201, "{made:?}");
    rig
}

#[test]
fn what_is_no_json_is_refused_and_what_is_any_json_is_not() {
    let (files, rig, places) = (suite(), signing(), places());
    let mut refused = 0;
    for (name, body) in &files {
        let blank = body.iter().all(u8::is_ascii_whitespace);
        // Nobody can say which of two values is meant; where a body decides on access, such a one is refused.
        let twice = name.contains("duplicated");
        for place in &places {
            let answer = place.post(&rig, JSON, body);
            if name.starts_with("n_") && !blank {
                assert_eq!(answer.status, 400, "{} {name}: {answer:?}", place.target);
                refused += 1;
            }
            if name.starts_with("y_") && !twice && !place.free.is_empty() {
                let (before, after) = place.free.split_once('@').expect("a place");
                let answer = place.post(&rig, JSON, &[before.as_bytes(), body, after.as_bytes()].concat());
                let taken = if place.taken == 0 { answer.status != 400 } else { answer.status == place.taken };
                assert!(taken, "{} {name}: {answer:?}", place.target);
            }
        }
    }
    assert!(refused > 2000 || files.is_empty(), "{refused}");
}

#[test]
fn naughty_texts_are_texts() {
    let file = Path::new(CORPORA).join("payloads/blns.json");
    let Ok(naughty) = std::fs::read(&file) else {
        eprintln!("skipped: {} is not here", file.display());
        return;
    };
    let naughty: Vec<String> = serde_json::from_slice(&naughty).expect("a list of texts");
    let (rig, places) = (signing(), places());
    let ids = [
        "/v1/tokens/",
        "/v1/keys/",
        "/v1/policies/",
        "/v1/api-keys/",
        "/v1/audit?who=",
        "/v1/tokens?after=",
        "/upload-tokens/",
        "/videos/",
    ];
    let of_ziggeo = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=X"];
    for (index, text) in naughty.iter().enumerate() {
        for turn in 0..4 {
            let place = &places[(index + 3 * turn) % places.len()];
            let field = place.fields[(index / places.len() + turn) % place.fields.len()];
            place.post(&rig, JSON, json!({ field: text }).to_string().as_bytes());
        }
        let (own, ziggeo) = (&places[0], &places[8]);
        ziggeo.post(&rig, of_ziggeo[index % of_ziggeo.len()], text.as_bytes());
        let hidden: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = format!("{}{hidden}", ids[index % ids.len()]);
        own.assert_sound(&ask(rig.control, "GET", &target, &[("Authorization", &basic(ADMIN, ""))], b""), &target);
    }
}
