//! The rules of URI signing.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::key::Material;
use crate::token::{Algorithm, KeySet};

const NOW: UnixTime = UnixTime(1_760_000_000);

fn scheme(config: Value) -> Rfc9246 {
    let mut config = config;
    config["keys"] = json!("k");
    let config: Config = serde_json::from_value(config).expect("config");
    let hmac = |id, octet| Key::new(Material::octets(vec![octet; 32]), Some(id), Some(Algorithm::HS256)).expect("key");
    Rfc9246::new(&config, KeySource::new(KeySet::new(vec![hmac("a", 1), hmac("b", 2)]))).expect("scheme")
}

fn with_facts<T>(path: &str, query: Option<&str>, cookie: Option<&str>, run: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
    let path = CleanPath::parse(path).expect("clean");
    let mut headers = HeaderMap::new();
    if let Some(cookie) = cookie {
        headers.insert("cookie", cookie.parse().expect("header"));
    }
    run(&RequestFacts {
        query,
        client_ip: "198.51.100.7".parse().expect("address"),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    })
}

fn decide(scheme: &Rfc9246, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
    let presented = scheme.present(facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, facts)?;
    grant.check(facts, NOW)?;
    scheme.fits(&grant, facts)?;
    Ok(grant)
}

fn claims(more: &Value) -> Map<String, Value> {
    let mut claims = json!({ "exp": NOW.0 + 60, "cdniuc": "regex:https://media\\.example\\.com/vid1(/.*)?" });
    for (name, value) in more.as_object().expect("object") {
        claims[name] = value.clone();
    }
    claims.as_object().expect("object").clone()
}

fn token(scheme: &Rfc9246, more: &Value) -> String {
    compact::sign(&claims(more), &scheme.signing_key(None).expect("key")).expect("token")
}

fn verdict(more: &Value, path: &str) -> Result<Grant, Denial> {
    let scheme = scheme(json!({ "audiences": ["us"] }));
    let query = format!("URISigningPackage={}", token(&scheme, more));
    with_facts(path, Some(&query), None, |facts| decide(&scheme, facts))
}

#[test]
fn claims_are_held_to() {
    let near = NOW.0;
    for (more, path, want) in [
        (json!({}), "/vid1/x.ts", None),
        (json!({}), "/vid1", None),
        (json!({}), "/vid10", Some(Denial::Path)),
        (json!({}), "/vid10/x", Some(Denial::Path)),
        (json!({ "cdniuc": "regex:https://media\\.example\\.com/vid1" }), "/vid1/x", Some(Denial::Path)),
        (json!({ "cdniuc": "regex:.*/vid1" }), "/vid1", None),
        (json!({ "cdniuc": "regex:/vid1" }), "/vid1", Some(Denial::Path)),
        (json!({ "cdniuc": "glob:*" }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdniuc": 1 }), "/vid1", Some(Denial::Claim)),
        (json!({ "exp": near }), "/vid1", Some(Denial::Expired)),
        (json!({ "exp": near as f64 + 0.5 }), "/vid1", None),
        (json!({ "exp": (near + 60).to_string() }), "/vid1", Some(Denial::Claim)),
        (json!({ "nbf": near }), "/vid1", None),
        (json!({ "nbf": near + 1 }), "/vid1", Some(Denial::NotYetValid)),
        (json!({ "aud": "us" }), "/vid1", None),
        (json!({ "aud": ["them", "us"] }), "/vid1", None),
        (json!({ "aud": "them" }), "/vid1", Some(Denial::Audience)),
        (json!({ "cdniv": 2 }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdniv": "1" }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdnicrit": "exp,cdniuc" }), "/vid1", None),
        (json!({ "cdnicrit": "exp,cdniip" }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdnicrit": "" }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdniip": "198.51.100.0/24" }), "/vid1", Some(Denial::Unsupported)),
        (json!({ "cdnistt": 2, "cdniets": 30 }), "/vid1", Some(Denial::Unsupported)),
    ] {
        assert_eq!(verdict(&more, path).err(), want, "{more} {path}");
    }
}

#[test]
fn a_nonce_is_good_once() {
    assert!(verdict(&json!({ "jti": "n1" }), "/vid1").expect("good").single_use);
    assert!(!verdict(&json!({}), "/vid1").expect("good").single_use);
}

#[test]
fn an_address_in_clear_needs_the_configs_leave() {
    let scheme = scheme(json!({ "plain_client_ip": true }));
    for (net, want) in [("198.51.100.0/24", None), ("192.0.2.0/24", Some(Denial::Address)), ("x", Some(Denial::Claim))] {
        let query = format!("URISigningPackage={}", token(&scheme, &json!({ "cdniip": net })));
        assert_eq!(with_facts("/vid1", Some(&query), None, |facts| decide(&scheme, facts)).err(), want, "{net}");
    }
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let scheme = scheme(json!({ "leeway": "5s" }));
    for (claim, value, want) in [
        ("exp", NOW.0 - 4, None),
        ("exp", NOW.0 - 5, Some(Denial::Expired)),
        ("nbf", NOW.0 + 5, None),
        ("nbf", NOW.0 + 6, Some(Denial::NotYetValid)),
    ] {
        let query = format!("URISigningPackage={}", token(&scheme, &json!({ claim: value })));
        assert_eq!(with_facts("/vid1", Some(&query), None, |facts| decide(&scheme, facts)).err(), want, "{claim} {value}");
    }
}

#[test]
fn the_token_rides_in_a_path_parameter_too() {
    let scheme = scheme(json!({}));
    let token = token(&scheme, &json!({}));
    let path = format!("/vid1;URISigningPackage={token}/x.ts");
    assert!(with_facts(&path, None, None, |facts| decide(&scheme, facts)).is_ok());
    let query = format!("URISigningPackage={token}");
    assert_eq!(with_facts(&path, Some(&query), None, |facts| decide(&scheme, facts)).err(), Some(Denial::Ambiguous));
    let twice = format!("{query}&{query}");
    assert_eq!(with_facts("/vid1", Some(&twice), None, |facts| decide(&scheme, facts)).err(), Some(Denial::Duplicate));
}

#[test]
fn renewed_cookies_are_closed_and_good() {
    let scheme = scheme(json!({ "renewal_key": "b" }));
    let query = format!("URISigningPackage={}", token(&scheme, &json!({ "cdnistt": 1, "cdniets": 30, "cdnistd": 1, "jti": "n" })));
    let renewed = with_facts("/vid1/x.ts", Some(&query), None, |facts| {
        let grant = decide(&scheme, facts).expect("good");
        let presented = scheme.present(facts).expect("token").expect("token");
        scheme.renew(&Due { grant: &grant, presented: &presented, facts, now: NOW }).expect("renewed").expect("renewed")
    });
    assert_eq!(renewed.until, NOW.plus(30));
    let cookie = &renewed.cookies[0];
    assert!(cookie.ends_with("; Path=/vid1; Max-Age=30; Secure; HttpOnly; SameSite=None"), "{cookie}");
    let pair = cookie.split(';').next().expect("pair");
    let grant = with_facts("/vid1/y.ts", None, Some(pair), |facts| decide(&scheme, facts)).expect("good");
    assert_eq!((grant.key_id.as_deref(), grant.window.until, grant.single_use), (Some("b"), NOW.plus(30), false));
}

#[test]
fn too_deep_a_cookie_path_is_no_renewal() {
    assert_eq!(cookie_path("/a/b/c", 2).as_deref(), Some("/a/b"));
    assert_eq!(cookie_path("/a/b/c", 0).as_deref(), Some("/"));
    assert_eq!(cookie_path("/a", 2), None);
}

#[test]
fn unsigned_rules_are_ordered() {
    let scheme = scheme(json!({ "unsigned": [{ "deny": ".*/public/secret" }, { "allow": ".*/public/.*" }] }));
    for (path, query, want) in [
        ("/public/a", None, None),
        ("/public/secret", None, Some(Denial::Missing)),
        ("/other", None, Some(Denial::Missing)),
        ("/other", Some("x=/public/a"), Some(Denial::Missing)),
    ] {
        assert_eq!(with_facts(path, query, None, |facts| decide(&scheme, facts)).err(), want, "{path}");
    }
}

fn asked(path: &str, scope: Option<String>) -> SignRequest {
    SignRequest {
        https: true,
        host: "media.example.com".into(),
        path: path.into(),
        scope,
        expires: Some(NOW.plus(60)),
        ..SignRequest::default()
    }
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(path in "(/[a-z0-9][a-z0-9.+]{1,7}){1,4}", scoped: bool) {
        let scheme = scheme(json!({}));
        let signed = scheme.sign(&asked(&path, scoped.then(|| path.clone()))).expect("signed");
        prop_assert!(with_facts(&path, signed.query.as_deref(), None, |facts| decide(&scheme, facts)).is_ok());
        let other = format!("{path}0");
        prop_assert!(with_facts(&other, signed.query.as_deref(), None, |facts| decide(&scheme, facts)).is_err());
    }
}
