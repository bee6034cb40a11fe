//! What the SDKs tolerate of an answer: ours stay within it.

use serde_json::{Value, json};

use super::super::flows::{apivideo, cloudflare, text, ziggeo};
use super::super::{Rig, body};
use super::capture;

/// Probes that an SDK failed with: what an answer of ours is never like, and why not.
const FAILED: [(&str, &str, &str); 5] = [
    (
        "api.video node + cloudflare ts",
        "av-node create: 201 + application/json; charset=utf-8",
        "success is `application/json` and nothing else",
    ),
    ("api.video node + cloudflare ts", "av-node create: content-type application/vnd.api.video+json", "success is `application/json`"),
    ("api.video node + cloudflare ts", "av-node create: content-type text/plain", "success is `application/json`"),
    (
        "api.video node + cloudflare ts",
        "cf success:false with HTTP 200",
        "`success` is false with refusals only, and those have their status",
    ),
    ("api.video py + ziggeo py + cloudflare py", "av-py auth response missing refresh_token", "`/auth/…` gives both tokens"),
];

/// What is no failure of an SDK but its word for a refusal, or for an answer that is none of ours to give.
const WORDS: [&str; 7] = [
    "av-node 429 with Retry-After",
    "av-py 429",
    "av-py auth 400",
    "cf-py success:false HTTP 200",
    "zg-node get 404",
    "zg-py delete 204 empty",
    "zg-py get 200 non-json",
];

#[test]
fn every_probe_that_an_sdk_failed_with_is_known() {
    let Some(probes) = capture("sdk_response_tolerance.json") else { return };
    let fails =
        |result: &Value| result.is_null() || result["error"].is_string() || result.as_str().is_some_and(|text| text.starts_with("EXC"));
    for (group, all) in probes.as_object().expect("groups") {
        for (probe, result) in all.as_object().into_iter().flatten() {
            let known = FAILED.iter().any(|(of, name, _)| of == group && name == probe) || WORDS.contains(&probe.as_str());
            assert!(!fails(result) || known, "{group}: {probe}: {result}");
        }
    }
    for (group, probe, why) in FAILED {
        assert!(!probes[group][probe].is_null() || probe.starts_with("cf"), "no {probe}: {why}");
    }
    let php = text(&probes, "ziggeo php");
    assert!(php.contains("delete 204 => EXC"), "{php}");
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
