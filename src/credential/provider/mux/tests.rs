//! Mux's provider against what its own client sent and signed.

use super::super::testing::{NOW, Recorded, around, ask, rsa_pem, source};
use super::*;
use crate::token::KeySet;
use crate::token::jws::Jws;

fn recorded() -> Recorded {
    Recorded::of(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/mux.json")))
}

fn config(issue: &str, more: &Value) -> MuxConfig {
    let mut table = json!({ "issue": issue, "token_id": "tid", "token_secret_env": "MUX_SECRET" });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    serde_json::from_value(table).expect("a config")
}

fn provider(issue: &str, more: &Value) -> Mux {
    around(|around| Mux::new(&config(issue, more), around)).expect("a provider")
}

#[test]
fn signing_keys_are_made_listed_and_withdrawn() {
    let (recorded, provider) = (recorded(), provider("signing-key", &json!({})));
    let ask = ask(None, None);
    recorded.check("system.signingKeys.create", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("system.signingKeys.create")).expect("a key");
    assert_eq!((issued.value.expose().as_str(), issued.details["id"].expose().as_str()), ("LS0tLS1CRUdJTg==", "KEYID0123"));
    recorded.check("system.signingKeys.list", &provider.list_keys(10, 1).expect("a call"));
    assert_eq!(provider.parse_keys(&ask, &recorded.answer("system.signingKeys.list")), Ok(vec!["KEYID0123".into()]));
    recorded.check("system.signingKeys.delete", &provider.revoke(&ask, &issued).expect("a call"));
    assert_eq!(provider.get_key("KEYID0123").expect("a call").method(), "GET");
    assert!(provider.get_key("../uploads").is_err());
}

#[test]
fn an_upload_gives_its_address() {
    let (recorded, provider) = (recorded(), provider("direct-upload", &json!({})));
    let ask = ask(None, None);
    recorded.check("video.uploads.create", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("video.uploads.create")).expect("an address");
    assert!(issued.value.expose().ends_with("/muxup/x"));
    assert_eq!((issued.details["id"].expose().as_str(), issued.expires), ("up1", Some(NOW.plus(3600))));
    let cancel = provider.revoke(&ask, &issued).expect("a call");
    assert_eq!((cancel.method().as_str(), cancel.uri().path()), ("PUT", "/video/v1/uploads/up1/cancel"));
}

#[test]
fn tokens_say_what_those_of_the_sdk_say() {
    let pem = rsa_pem();
    let variable = |name: &str| (name == "PEM").then(|| pem.clone());
    let id = "qIJBqaJPkhNXiHbed8j2jyL02tnQjWuv2";
    for (more, claims) in [
        (json!({ "lifetime": "7d" }), json!({ "kid": "muxkid01", "sub": id, "aud": "v", "exp": 1_700_604_800 })),
        (
            json!({ "playback_restriction_id": "uP6cf00" }),
            json!({ "playback_restriction_id": "uP6cf00", "kid": "muxkid01", "sub": id, "aud": "v", "exp": 1_700_003_600 }),
        ),
        (
            json!({ "lifetime": "7d", "opens": "thumbnail", "parameters": { "time": "2", "width": "640" } }),
            json!({ "time": "2", "width": "640", "kid": "muxkid01", "sub": id, "aud": "t", "exp": 1_700_604_800 }),
        ),
    ] {
        let mut table = json!({ "signing_key_id": "muxkid01", "signing_key_env": "PEM", "scope": "resource" });
        for (key, value) in more.as_object().expect("a table") {
            table[key] = value.clone();
        }
        let config = config("signed", &table);
        let key = (config.signing_key_id.as_deref(), &config.signing_key());
        let signer = MuxSigner::new(&config, key, &Around::new(&variable, &|_| None)).expect("a signer");
        let ask = Ask { now: UnixTime(1_700_000_000), ..ask(Some(id), None) };
        let issued = signer.mint(&ask).expect("a token");
        let jws = Jws::parse(issued.value.expose()).expect("a JWS");
        assert_eq!(Value::Object(jws.header().clone()), json!({ "alg": "RS256", "typ": "JWT" }));
        assert_eq!(Value::Object(jws.claims().expect("claims")), claims);
        let keys = KeySet::parse(pem.as_bytes(), None, None).expect("keys");
        assert_eq!(jws.verify(keys.only().expect("a key")), Ok(()));
        assert!(signer.mint(&Ask { resource: None, ..ask }).is_err());
    }
}

#[test]
fn odd_tables_are_refused() {
    for (issue, more, key) in [
        ("direct-upload", json!({ "lifetime": "30s" }), "lifetime"),
        ("signing-key", json!({ "scope": "session" }), "scope"),
        ("signing-key", json!({ "token_id": null }), "token_id"),
        ("signing-key", json!({ "token_secret_env": null }), "token_secret"),
        ("signed", json!({ "scope": "resource", "signing_key_env": "PEM" }), "signing_key_id"),
        (
            "signed",
            json!({ "scope": "resource", "signing_key_env": "PEM", "signing_key_id": "k", "parameters": { "aud": "x" } }),
            "parameters",
        ),
    ] {
        let faults = config(issue, &more).faults();
        assert_eq!(faults.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key], "{more}");
    }
    assert_eq!(source(&config("signing-key", &json!({}))).expect("built").kind(), "mux");
}
