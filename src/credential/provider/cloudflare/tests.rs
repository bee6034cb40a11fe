//! Cloudflare Stream's provider against what its own clients sent and were told.

use super::super::testing::{NOW, Recorded, answer, around, ask, rsa_pem, source};
use super::*;
use crate::token::KeySet;

const ACCOUNT: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const VIDEO: &str = "ea95132c15732412d22c1476fa83f27a";

fn recorded() -> Recorded {
    Recorded::of(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/cloudflare_stream.json")))
}

fn config(issue: &str, more: &Value) -> CloudflareConfig {
    let mut table = json!({ "account_id": ACCOUNT, "issue": issue, "api_token_env": "CF_TOKEN" });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    serde_json::from_value(table).expect("a config")
}

fn provider(issue: &str, more: &Value) -> Cloudflare {
    around(|around| Cloudflare::new(&config(issue, more), around)).expect("a provider")
}

#[test]
fn a_token_is_asked_for_with_all_that_it_says() {
    let more = json!({
        "signing_key_id": "KEYID", "signing_key_env": "CF_PEM", "lifetime": "1h", "starts_before": "0s", "downloadable": true, "original": true,
        "access_rules": [{ "type": "ip.src", "action": "allow", "ip": ["93.184.216.0/24"] }, { "type": "any", "action": "block" }],
    });
    let provider = provider("token", &more);
    // An hour before the end that was recorded.
    let ask = Ask { now: UnixTime(1_893_452_400), ..ask(Some(VIDEO), None) };
    recorded().check("stream.token.create(all)", &provider.request(&ask).expect("a call"));
}

#[test]
fn the_end_of_a_token_is_what_it_says() {
    let provider = provider("token", &json!({}));
    let ask = ask(Some(VIDEO), None);
    let issued = provider.parse(&ask, &recorded().answer("stream.token.create() (seed example)")).expect("a token");
    assert_eq!(issued.expires, Some(NOW.plus(3600)), "a token that says nothing ends when it was asked to");
    let token = |exp: &Value| {
        let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(&json!({ "sub": VIDEO, "exp": exp })))
    };
    for exp in [json!("1537460365"), json!(1_537_460_365)] {
        let body = json!({ "success": true, "errors": [], "messages": [], "result": { "token": token(&exp) } });
        assert_eq!(provider.parse(&ask, &answer(200, &body)).expect("a token").expires, Some(UnixTime(1_537_460_365)), "{exp}");
    }
}

#[test]
fn both_ways_to_sign_in_are_sent() {
    let provider = provider("token", &json!({ "email": "user@example.com", "api_key_env": "CF_KEY" }));
    let request = provider.request(&ask(Some(VIDEO), None)).expect("a call");
    assert_eq!(request.headers()["x-auth-email"], "user@example.com");
    assert_eq!(request.headers()["x-auth-key"], "cf-api-key");
    assert!(request.headers()["x-auth-key"].is_sensitive() && !request.headers().contains_key("authorization"));
    assert!(provider.request(&ask(Some("../keys"), None)).is_err() && provider.request(&ask(None, None)).is_err());
}

#[test]
fn signing_keys_are_made_listed_and_withdrawn() {
    let (recorded, provider) = (recorded(), provider("signing-key", &json!({})));
    let ask = ask(None, None);
    recorded.check("stream.keys.create", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("stream.keys.create")).expect("a key");
    assert_eq!((issued.value.expose().as_str(), issued.expires), ("UEVN", None));
    recorded.check("stream.keys.get (list)", &provider.list_keys().expect("a call"));
    assert_eq!(provider.parse_keys(&ask, &recorded.answer("stream.keys.get (list)")), Ok(vec!["8f926b2b01f383510025a78a4dcbf6a".into()]));
    recorded.check("stream.keys.delete", &provider.revoke(&ask, &issued).expect("a call"));
}

#[test]
fn a_direct_upload_gives_its_address() {
    let more = json!({ "max_duration_seconds": 3600, "lifetime": "1h", "allowed_origins": ["example.com"] });
    let (recorded, provider) = (recorded(), provider("direct-upload", &more));
    // 2030-01-01T00:00:00Z was recorded.
    let ask = Ask { now: UnixTime(1_893_456_000 - 3600), ..ask(None, None) };
    recorded.check("stream.direct_upload.create", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("stream.direct_upload.create")).expect("an address");
    assert!(issued.value.expose().ends_with("/cfupload/f65014bc6ff5419ea86e7972a047ba22"));
    assert_eq!(
        (issued.details["uid"].expose().as_str(), issued.expires),
        ("f65014bc6ff5419ea86e7972a047ba22", Some(UnixTime(1_893_456_000)))
    );
    assert!(provider.revoke(&ask, &issued).is_none());
}

#[test]
fn a_resumable_upload_gives_its_address() {
    let (recorded, provider) = (recorded(), provider("tus", &json!({ "max_duration_seconds": 600, "scope": "resource" })));
    // 2024-02-27T07:20:50Z was recorded.
    let ask = Ask { now: UnixTime(1_709_018_450 - 3600), length: Some(12_582_912), ..ask(None, None) };
    recorded.check("backend: POST /stream?direct_user=true", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("backend: POST /stream?direct_user=true")).expect("an address");
    assert!(issued.value.expose().ends_with("/tusup/1?tusv2=true"));
    assert_eq!(issued.details["uid"].expose(), "cab807e0c477d01baf20f66c3d1dfc26");
    assert!(provider.request(&Ask { length: None, ..ask }).is_err());
    assert!(matches!(provider.parse(&ask, &answer(429, &json!({}))), Err(Refused::Limited(None))));
}

#[test]
fn a_refusal_in_the_envelope_is_one_whatever_the_status() {
    let (recorded, provider) = (recorded(), provider("token", &json!({})));
    let parse = |response| provider.parse(&ask(Some(VIDEO), None), &response).expect_err("refused");
    let refused = Refused::Account { reason: "the vendor answers 403 (10000)".into(), renewal: false };
    assert_eq!(parse(recorded.answer("403 envelope")), refused);
    let body = json!({ "success": false, "errors": [{ "code": 10005, "message": "x" }], "messages": [], "result": null });
    assert_eq!(parse(answer(200, &body)), Refused::Malformed("the vendor answers 200 (10005)".into()));
}

#[test]
fn a_token_signed_here_is_one_that_the_scheme_takes() {
    use crate::token::scheme::cloudflare_stream::{CloudflareStream, Config};
    use crate::token::scheme::testing::Asked;
    let pem = rsa_pem();
    let variable = |name: &str| (name == "PEM").then(|| pem.clone());
    let config = config("signed", &json!({ "signing_key_id": "k1", "signing_key_env": "PEM", "downloadable": true, "scope": "resource" }));
    let key = (config.signing_key_id.as_deref(), &config.signing_key());
    let signer = CloudflareSigner::new(&config, key, &Around::new(&variable, &|_| None)).expect("a signer");
    let issued = signer.mint(&ask(Some(VIDEO), None)).expect("a token");
    assert_eq!(issued.expires, Some(NOW.plus(3600)));
    let keys = KeySet::parse(pem.as_bytes(), Some("k1"), None).expect("keys");
    let table: Config = serde_json::from_value(json!({ "keys": "k" })).expect("a table");
    let scheme = CloudflareStream::new(&table, crate::token::KeySource::new(keys)).expect("a scheme");
    let asked =
        |at: i64| Asked::url(&format!("https://media.example.com/{}/downloads/default.mp4", issued.value.expose())).at(at).verdict(&scheme);
    assert_eq!((asked(NOW.0 + 3599), asked(NOW.0 + 3600)), (Ok(()), Err(crate::token::Denial::Expired)));
}

#[test]
fn odd_tables_are_refused() {
    for (issue, more, key) in [
        ("token", json!({ "scope": "resource", "lifetime": "25h" }), "lifetime"),
        ("token", json!({}), "scope"),
        ("token", json!({ "scope": "resource", "signing_key_id": "k" }), "signing_key"),
        ("token", json!({ "scope": "resource", "signing_key_env": "CF_PEM" }), "signing_key_id"),
        ("signed", json!({ "scope": "resource" }), "signing_key_id"),
        ("direct-upload", json!({}), "max_duration_seconds"),
        ("direct-upload", json!({ "max_duration_seconds": 0 }), "max_duration_seconds"),
        ("direct-upload", json!({ "max_duration_seconds": 9, "delete_after": "1day" }), "delete_after"),
        (
            "token",
            json!({ "scope": "resource", "access_rules": [{ "type": "any", "action": "block", "ip": ["10.0.0.0/8"] }] }),
            "access_rules",
        ),
        ("token", json!({ "scope": "resource", "email": "a@b" }), "api_key"),
    ] {
        let faults = config(issue, &more).faults();
        assert_eq!(faults.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key], "{more}");
    }
    assert_eq!(source(&config("token", &json!({ "scope": "resource" }))).expect("built").kind(), "cloudflare-stream");
}
