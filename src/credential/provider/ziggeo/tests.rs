//! Ziggeo's provider against what its own clients sent and were told.

use serde_json::json;

use super::super::testing::{NOW, Recorded, around, ask, source};
use super::*;

fn recorded() -> Recorded {
    Recorded::of(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/ziggeo.json")))
}

fn config(more: &Value) -> ZiggeoConfig {
    let mut table = json!({ "application_token": "r1app1token", "private_key_env": "PRIVATE_KEY", "grants": { "read": { "all": true } } });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    serde_json::from_value(table).expect("a config")
}

fn provider(more: &Value) -> Ziggeo {
    around(|around| Ziggeo::new(&config(more), around)).expect("a provider")
}

#[test]
fn a_server_token_is_made_told_changed_and_withdrawn() {
    let (recorded, provider) = (recorded(), provider(&json!({})));
    let ask = ask(None, None);
    let request = provider.request(&ask).expect("a call");
    let theirs = &recorded.call("Authtokens.create(grants as JSON string)")["request"];
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "https://srv-api-eu-west-1.ziggeo.com/v1/authtokens/")
    );
    assert_eq!(request.headers()["authorization"], theirs["fields"]["authorization"].as_str().expect("text"));
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    let body = std::str::from_utf8(request.body()).expect("text");
    assert_eq!(body, format!("volatile=false&hidden=false&expiration_date={}&{}", NOW.0 + 3600, theirs["body"].as_str().expect("text")));
    let issued = provider.parse(&ask, &recorded.answer("Authtokens.create({grants only})")).expect("a token");
    assert_eq!((issued.value.expose().as_str(), issued.expires), ("b2e1f0c3a4d5968778695a4b3c2d1e0f", Some(NOW.plus(3600))));
    recorded.check("Authtokens.get", &provider.get("tok123").expect("a call"));
    recorded.check(
        "Authtokens.update",
        &provider.update("tok123", json!({ "session_limit": 5 }).as_object().expect("object")).expect("a call"),
    );
    let issued = Issued::new("tok123".into(), NOW, None);
    recorded.check("Authtokens.destroy", &provider.revoke(&ask, &issued).expect("a call"));
    assert!(provider.get("../videos").is_err());
}

#[test]
fn all_that_a_token_says_is_sent() {
    let more = json!({ "volatile": true, "session_lifetime": "1h", "session_limit": 2, "application_token": "app1token", "scope": "resource",
        "grants": { "read": {}, "create": { "session_owned": true } } });
    let provider = provider(&more);
    let request = provider.request(&ask(Some("vid1"), None)).expect("a call");
    let body = std::str::from_utf8(request.body()).expect("text");
    let of = |name: &str| query::values(body, name).next().and_then(query::decode);
    assert_eq!(
        (of("volatile"), of("usage_expiration_time"), of("session_limit")),
        (Some("true".into()), Some("3600".into()), Some("2".into()))
    );
    let grants: Value = serde_json::from_str(&of("grants").expect("grants")).expect("JSON");
    assert_eq!(grants, json!({ "read": { "resources": ["vid1"] }, "create": { "session_owned": true } }));
    assert_eq!(request.uri().host(), Some("srv-api.ziggeo.com"));
}

#[test]
fn a_client_token_opens_with_the_same_key_and_never_repeats() {
    let config = config(&json!({ "issue": "client-auth", "encryption_key_env": "ENCRYPTION_KEY", "session_limit": 3 }));
    let generator = around(|around| ZiggeoGenerator::new(&config, around)).expect("a generator");
    let first = generator.mint(&ask(None, None)).expect("a token");
    let claims = Cipher::new("enc1key").expect("a cipher").open(first.value.expose()).expect("ours");
    let expected = json!({ "application_token": "r1app1token", "nonce": format!("{}7", NOW.0), "volatile": false, "hidden": false,
        "expiration_date": NOW.0 + 3600, "session_limit": 3, "grants": { "read": { "all": true } } });
    assert_eq!(Value::Object(claims), expected);
    assert_ne!(generator.mint(&ask(None, None)).expect("a token").value.expose(), first.value.expose());
}

#[test]
fn the_key_alone_costs_no_call() {
    let Ok(Source::Mint(mint)) = source(&config(&json!({ "issue": "basic" }))) else { panic!("not minted") };
    assert_eq!(mint.mint(&ask(None, None)).expect("minted").value.expose(), "priv1key");
    assert!(!mint.renews() && !format!("{mint:?}").contains("priv1key"));
}

#[test]
fn odd_tables_are_refused() {
    for (more, key) in [
        (json!({ "lifetime": "0s" }), "lifetime"),
        (json!({ "session_limit": 0 }), "session_limit"),
        (json!({ "application_token": "a/b" }), "application_token"),
        (json!({ "grants": {} }), "grants"),
        (json!({ "private_key_env": null }), "private_key"),
        (json!({ "issue": "client-auth" }), "encryption_key"),
    ] {
        let faults = config(&more).faults();
        assert_eq!(faults.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key], "{more}");
    }
}
