//! What the SDKs tolerate of an answer: ours stay within it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::flows::{apivideo, cloudflare, text, ziggeo};
use super::super::{Rig, body};
use super::capture;

/// Probes that an SDK failed with, and why no answer of ours is like them.
const FAILED: [(&str, &str); 8] = [
    ("av-node create: 201 + application/json; charset=utf-8", "success is 200 and `application/json`, without a word more"),
    ("av-node create: content-type application/vnd.api.video+json", "the same"),
    ("av-node create: content-type text/plain", "the same"),
    ("cf success:false with HTTP 200", "`success` is false in refusals, and those have their status"),
    ("av-py auth response missing refresh_token", "`/auth/…` gives both tokens"),
    ("av-node 429 with Retry-After", "a refusal, which it tells as one"),
    ("av-py 429", "the same"),
    ("av-py auth 400", "the same"),
];

#[test]
fn every_probe_that_an_sdk_failed_with_is_known() {
    let Some(probes) = capture("sdk_response_tolerance.json") else { return };
    let fails =
        |result: &Value| result.is_null() || result["error"].is_string() || result.as_str().is_some_and(|text| text.starts_with("EXC"));
    let all = probes.as_object().expect("groups").values().filter_map(Value::as_object).flatten();
    let failed: BTreeSet<&str> = all.filter(|(_, result)| fails(result)).map(|(probe, _)| probe.as_str()).collect();
    assert_eq!(failed, FAILED.iter().map(|(probe, _)| *probe).collect());
    // PHP's are told in one text.
    assert!(text(&probes, "ziggeo php").contains("delete 204 => EXC"), "{probes}");
}

#[test]
fn answers_are_such_as_every_sdk_takes() {
    let rig = Rig::start();
    let made = apivideo(&rig, "POST", "/upload-tokens", "{\"ttl\":60}");
    let token = text(&body(&made), "token").to_owned();
    let one = format!("/upload-tokens/{token}");
    let auth = rig.call("POST", "/auth/api-key", &[], &format!("{{\"apiKey\":\"{}\"}}", super::super::ADMIN));
    for answer in [&made, &apivideo(&rig, "GET", "/upload-tokens", ""), &apivideo(&rig, "GET", &one, ""), &auth] {
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"), "{answer:?}");
    }
    assert!(["access_token", "refresh_token", "token_type", "expires_in"].iter().all(|name| !body(&auth)[*name].is_null()), "{auth:?}");
    let gone = apivideo(&rig, "DELETE", &one, "");
    assert_eq!((gone.status, gone.body.as_str(), gone.field("content-type")), (204, "", ""), "no body, and no type of one");
    // PHP's takes nothing but 200, of deletions too.
    let made = ziggeo(&rig, "POST", "/v1/authtokens/", "grants[read][all]=true");
    let gone = ziggeo(&rig, "DELETE", &format!("/v1/authtokens/{}", text(&body(&made), "token")), "");
    for answer in [made, gone] {
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"), "{answer:?}");
        assert!(body(&answer).is_object());
    }
    for answer in [cloudflare(&rig, "GET", "keys", Value::Null), cloudflare(&rig, "GET", "nobody", Value::Null)] {
        assert_eq!(body(&answer)["success"], json!(answer.status == 200), "{answer:?}");
    }
}
