//! The rules of Common Access Tokens.

use ciborium::cbor;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::path::CleanPath;
use crate::token::access::{Country, FixedGeo};
use crate::token::key::Material;
use crate::token::{Algorithm, KeySet};

const NOW: UnixTime = UnixTime(1_760_000_000);

fn scheme_with(config: serde_json::Value) -> Cta5007 {
    let mut config = config;
    config["keys"] = json!("k");
    let config: Config = serde_json::from_value(config).expect("config");
    let key = Key::new(Material::octets(vec![1; 32]), Some("a"), Some(Algorithm::HS256)).expect("key");
    Cta5007::new(&config, KeySource::new(KeySet::new(vec![key]))).expect("scheme")
}

fn scheme() -> Cta5007 {
    scheme_with(json!({ "issuers": ["iss"] }))
}

fn with_facts<T>(url: &str, headers: &[(&'static str, &str)], run: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let path = CleanPath::parse(path).expect("clean");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("header"));
    }
    run(&RequestFacts {
        query,
        client_ip: "198.51.100.7".parse().expect("address"),
        geo: &FixedGeo(Country::new("SE")),
        alpn: Some("h2"),
        ..RequestFacts::bare("media.example.com", &path, &map)
    })
}

fn decide(scheme: &Cta5007, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
    let presented = scheme.present(facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, facts)?;
    grant.check(facts, NOW)?;
    Ok(grant)
}

fn token(more: Value) -> String {
    let Value::Map(mut claims) = cbor!({ 1 => "iss", 4 => 1_760_000_060 }).expect("claims") else { panic!("a map") };
    for (label, value) in cose::claims(more).expect("a map") {
        claims.retain(|(have, _)| *have != label);
        claims.push((label, value));
    }
    cose::sign(claims, &scheme().signing_key(None).expect("key")).expect("token")
}

fn verdict(more: Value, url: &str) -> Option<Denial> {
    let token = token(more);
    with_facts(url, &[("cta-common-access-token", &token), ("user-agent", "VLC/3")], |facts| decide(&scheme(), facts)).err()
}

fn check(cases: Vec<(Result<Value, ciborium::value::Error>, &str, Option<Denial>)>) {
    for (claims, url, want) in cases {
        let claims = claims.expect("claims");
        assert_eq!(verdict(claims.clone(), url), want, "{claims:?} {url}");
    }
}

#[test]
fn the_registered_claims_are_held_to() {
    check(vec![
        (cbor!({}), "/a", None),
        (cbor!({ 1 => "other" }), "/a", Some(Denial::Issuer)),
        (cbor!({ 3 => "us" }), "/a", Some(Denial::Audience)),
        (cbor!({ 4 => 1_760_000_000 }), "/a", Some(Denial::Expired)),
        (cbor!({ 4 => 1_760_000_000.5 }), "/a", None),
        (cbor!({ 4 => "1760000060" }), "/a", Some(Denial::Claim)),
        (cbor!({ 5 => 1_760_000_000 }), "/a", None),
        (cbor!({ 5 => 1_760_000_001 }), "/a", Some(Denial::NotYetValid)),
        (cbor!({ 310 => 1 }), "/a", None),
        (cbor!({ 310 => 2 }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 308 => 1 }), "/a", Some(Denial::Claim)),
        (cbor!({ 45 => [4, 312] }), "/a", None),
        (cbor!({ 45 => [4, 317] }), "/a", Some(Denial::Unsupported)),
    ]);
}

#[test]
fn what_is_not_understood_is_refused() {
    for label in [8, 38, 44, 282, 317, 318, 319, 320, 321, 9999, -1] {
        let claims = cose::claims(Value::Map(vec![(label.into(), 1.into())])).expect("map");
        assert_eq!(verdict(Value::Map(claims), "/a"), Some(Denial::Unsupported), "{label}");
    }
    check(vec![
        (cbor!({ "x" => 1 }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 312 => { 9 => { 0 => "x" } } }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 312 => { 3 => { 5 => "x" } } }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 312 => { 3 => {} } }), "/a", Some(Denial::Claim)),
        (cbor!({ 323 => { 0 => 1, 1 => 60, 8 => 302 } }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 323 => { 0 => 2, 1 => 60, 6 => ["a\r\nb"] } }), "/a", Some(Denial::Claim)),
    ]);
}

#[test]
fn every_matcher_of_a_part_must_hold() {
    let hash = Hash::Sha256.of(&[b"/vid1/a.ts"]);
    check(vec![
        (cbor!({ 312 => { 3 => { 1 => "/vid1", 2 => ".ts" } } }), "/vid1/a.ts", None),
        (cbor!({ 312 => { 3 => { 1 => "/vid1", 2 => ".mpd" } } }), "/vid1/a.ts", Some(Denial::Path)),
        (cbor!({ 312 => { 3 => { 1 => "/vid1" } } }), "/vid10/a.ts", Some(Denial::Path)),
        (cbor!({ 312 => { 3 => { 3 => "id1" } } }), "/vid1/a.ts", None),
        (cbor!({ 312 => { 3 => { 4 => ["^/vid([0-9]+)/", "1"] } } }), "/vid1/a.ts", None),
        (cbor!({ 312 => { 3 => { 4 => ["^/vid([0-9]+)/", "2"] } } }), "/vid1/a.ts", Some(Denial::Path)),
        (cbor!({ 312 => { 3 => { 4 => ["^/vid([0-9]+)/", null] } } }), "/vid1/a.ts", None),
        (
            Ok(Value::Map(vec![(312.into(), Value::Map(vec![(3.into(), Value::Map(vec![((-1).into(), Value::Bytes(hash))]))]))])),
            "/vid1/a.ts",
            None,
        ),
        (cbor!({ 312 => { 0 => { 0 => "http" } } }), "/a", Some(Denial::Host)),
        (cbor!({ 312 => { 1 => { 0 => "media.example.com" }, 2 => { 0 => 443 } } }), "/a", None),
        (cbor!({ 312 => { 4 => { 0 => "a=1" } } }), "/a?a=1", None),
        (cbor!({ 312 => { 5 => { 0 => "/vid1" }, 6 => { 0 => "a.ts" }, 7 => { 0 => "a" }, 8 => { 0 => ".ts" } } }), "/vid1/a.ts", None),
        (cbor!({ 315 => { "User-Agent" => { 1 => "VLC/" } } }), "/a", None),
        (cbor!({ 315 => { "User-Agent" => { 1 => "curl/" } } }), "/a", Some(Denial::Header)),
        (cbor!({ 315 => { "X-None" => { 1 => "" } } }), "/a", Some(Denial::Header)),
    ]);
}

#[test]
fn bindings_are_held_to() {
    let nets = |entry: Value| Value::Map(vec![(311.into(), Value::Array(vec![entry]))]);
    let prefix = |length: i64, bytes: &[u8]| Value::Tag(52, Box::new(Value::Array(vec![length.into(), Value::Bytes(bytes.to_vec())])));
    check(vec![
        (cbor!({ 313 => ["HEAD", "GET"] }), "/a", None),
        (cbor!({ 313 => ["HEAD"] }), "/a", Some(Denial::Method)),
        (cbor!({ 314 => ["h2"] }), "/a", None),
        (cbor!({ 314 => ["h3"] }), "/a", Some(Denial::Protocol)),
        (cbor!({ 316 => ["US", "SE"] }), "/a", None),
        (cbor!({ 316 => ["SE-AB"] }), "/a", Some(Denial::Country)),
        (cbor!({ 311 => ["198.51.100.0/24"] }), "/a", None),
        (cbor!({ 311 => ["192.0.2.0/24"] }), "/a", Some(Denial::Address)),
        (cbor!({ 311 => [64496] }), "/a", Some(Denial::Address)),
        (Ok(nets(prefix(24, &[198, 51, 100]))), "/a", None),
        (Ok(nets(prefix(24, &[192, 0, 2]))), "/a", Some(Denial::Address)),
        (Ok(nets(prefix(40, &[192, 0, 2]))), "/a", Some(Denial::Claim)),
    ]);
}

#[test]
fn claim_sets_combine() {
    check(vec![
        (cbor!({ 41 => [{ 313 => ["PUT"] }, { 316 => ["SE"] }] }), "/a", None),
        (cbor!({ 41 => [{ 313 => ["PUT"] }, { 316 => ["US"] }] }), "/a", Some(Denial::Country)),
        (cbor!({ 41 => [{ 4 => 1 }, { 4 => 1_760_000_001 }] }), "/a", None),
        (cbor!({ 42 => [{ 313 => ["PUT"] }, { 316 => ["US"] }] }), "/a", None),
        (cbor!({ 42 => [{ 313 => ["GET"] }] }), "/a", Some(Denial::Claim)),
        (cbor!({ 43 => [{ 313 => ["GET"] }, { 316 => ["SE"] }] }), "/a", None),
        (cbor!({ 43 => [{ 313 => ["GET"] }, { 316 => ["US"] }] }), "/a", Some(Denial::Country)),
        (cbor!({ 42 => [{ 9999 => 1 }] }), "/a", Some(Denial::Unsupported)),
        (cbor!({ 41 => [] }), "/a", Some(Denial::Claim)),
        (cbor!({ 41 => [{ 41 => [{ 41 => [{ 41 => [{ 41 => [{}] }] }] }] }] }), "/a", Some(Denial::Unsupported)),
    ]);
}

#[test]
fn one_use_is_said_on_the_grant() {
    let id = Value::Map(vec![(7.into(), Value::Bytes(vec![10, 12])), (308.into(), 1.into())]);
    let token = token(id);
    let grant = with_facts("/a", &[("cta-common-access-token", &token)], |facts| decide(&scheme(), facts)).expect("good");
    assert_eq!((grant.single_use, grant.token_id.as_deref()), (true, Some("0a0c")));
}

#[test]
fn an_answer_is_kept_for_its_refusals() {
    let token = token(cbor!({ 322 => { 4 => [307, { "Location" => "https://auth.example.com/" }] } }).expect("claims"));
    let grant = with_facts("/a", &[("cta-common-access-token", &token)], |facts| decide(&scheme(), facts)).expect("good");
    assert_eq!(grant.answers[0].on, [Denial::Expired]);
    assert_eq!(grant.answers[0].status, 307);
    check(vec![
        (cbor!({ 322 => { 4 => [200, {}] } }), "/a", Some(Denial::Claim)),
        (cbor!({ 322 => { 4 => [307, { "Location" => "a\nb" }] } }), "/a", Some(Denial::Claim)),
        (cbor!({ 322 => { 9999 => [307, {}] } }), "/a", Some(Denial::Unsupported)),
    ]);
}

#[test]
fn an_answer_may_bring_a_token_along() {
    let location = cbor!(["https://auth.example.com/?CAT=", { 1 => null, 6 => null, 2 => null, 320 => ["x"] }]).expect("claims");
    let headers = Value::Map(vec![("Location".into(), location)]);
    let action = Value::Array(vec![307.into(), headers, "a".into()]);
    let token = token(Value::Map(vec![(2.into(), "u".into()), (322.into(), Value::Map(vec![(4.into(), action)]))]));
    let grant = with_facts("/a", &[("cta-common-access-token", &token)], |facts| decide(&scheme(), facts)).expect("good");
    assert_eq!(scheme().answer(&grant, Denial::Path, NOW).expect("answer"), None);
    let answer = scheme().answer(&grant, Denial::Expired, NOW).expect("answer").expect("answer");
    let minted = answer.headers[0].1.strip_prefix("https://auth.example.com/?CAT=").expect("prefix");
    let (claims, _) = cose::open(minted, &scheme().keys.load(), true).expect("good");
    let expected = cbor!({ 1 => "iss", 6 => 1_760_000_000, 2 => "u", 320 => ["x"] }).expect("claims");
    assert_eq!(Value::Map(claims), expected);
}

#[test]
fn two_tokens_must_agree() {
    let (one, two) = (token(cbor!({}).expect("claims")), token(cbor!({ 2 => "u" }).expect("claims")));
    let cookie = format!("theme=dark; CTA-Common-Access-Token={one}");
    let ask = |url: &str| with_facts(url, &[("cookie", &cookie)], |facts| decide(&scheme(), facts)).err();
    assert_eq!(ask("/a"), None);
    assert_eq!(ask(&format!("/a?cat={one}")), None);
    assert_eq!(ask(&format!("/a?cat={two}")), Some(Denial::Ambiguous));
    assert_eq!(ask(&format!("/a?cat={one}&cat={one}")), Some(Denial::Duplicate));
}

fn renew(catr: Result<Value, ciborium::value::Error>, url: &str, now: UnixTime) -> Option<Renewed> {
    let token = token(Value::Map(vec![(323.into(), catr.expect("catr"))]));
    let (url, headers) = match url.contains("TOKEN") {
        true => (url.replace("TOKEN", &token), vec![]),
        false => (url.to_owned(), vec![("cta-common-access-token", token.as_str())]),
    };
    with_facts(&url, &headers, |facts| {
        let presented = scheme().present(facts).expect("token").expect("token");
        let grant = scheme().open(&presented, facts).expect("good");
        scheme().renew(&Due { grant: &grant, presented: &presented, facts, now }).expect("renewed")
    })
}

#[test]
fn tokens_are_renewed_as_they_ask() {
    let cookie = renew(cbor!({ 0 => 1, 1 => 120, 2 => 60, 3 => "c", 5 => ["Path=/x", "HttpOnly"] }), "/a", NOW).expect("due");
    assert!(cookie.cookies[0].starts_with("c=") && cookie.cookies[0].ends_with("; Path=/x; Max-Age=120; Secure; HttpOnly; SameSite=None"));
    let header = renew(cbor!({ 0 => 2, 1 => 120, 4 => "X-T" }), "/a", NOW).expect("due");
    assert_eq!(header.headers, [(HeaderName::from_static("x-t"), header.token.clone())]);
    let moved = renew(cbor!({ 0 => 0, 1 => 120 }), "/a?x=1&cat=TOKEN&y", NOW).expect("due");
    assert_eq!(moved.redirect, Some((302, format!("/a?x=1&y&cat={}", moved.token))));
    let asked = renew(cbor!({ 0 => 3, 1 => 120, 7 => 307 }), "/a", NOW).expect("due");
    assert_eq!(asked.redirect.map(|(status, _)| status), Some(307));
    assert_eq!(renew(cbor!({ 0 => 1, 1 => 120, 2 => 30 }), "/a", NOW), None);
    let again = with_facts("/a", &[("cta-common-access-token", &cookie.token)], |facts| decide(&scheme(), facts)).expect("good");
    assert_eq!(again.window.until, NOW.plus(120));
}

#[test]
fn some_ids_are_rejected_and_stay_so() {
    let asked = |claim: Value| {
        let token = token(cbor!({ 309 => claim }).expect("claims"));
        with_facts("/a", &[("cta-common-access-token", &token)], |facts| decide(&scheme(), facts).map(|_| ()))
    };
    let por = |probability: f64, id: u16| asked(Value::Array(vec![probability.into(), Value::Bytes(id.to_be_bytes().to_vec())]));
    let rejected = |probability: f64| (0..400).filter(|id| por(probability, *id) == Err(Denial::Revoked)).count();
    assert_eq!((rejected(0.0), rejected(1.0)), (0, 400));
    let half = rejected(0.5);
    assert!((150..250).contains(&half), "{half}");
    // Who is rejected by a small probability is so by a greater one.
    assert!((0..400).all(|id| por(0.1, id).is_ok() || por(0.5, id).is_err()));
    assert_eq!(asked(cbor!([0, Value::Bytes(vec![1]), 1_760_000_060]).expect("claim")), Ok(()));
    for bad in [
        cbor!([50]),
        cbor!([0.5]),
        cbor!([50, Value::Bytes(vec![1])]),
        cbor!([-0.5, Value::Bytes(vec![1])]),
        cbor!(0.5),
        cbor!([0.5, "id"]),
    ] {
        assert_eq!(asked(bad.expect("claim")), Err(Denial::Claim));
    }
}

#[test]
fn a_fingerprint_is_what_a_trusted_proxy_says() {
    let ja4 = "t13d1516h2_8daaf6152771_b186095e22b6";
    let behind = scheme_with(json!({ "issuers": ["iss"], "ja4_header": "x-ja4" }));
    let asked = |scheme: &Cta5007, claim: Value, told: Option<&str>| {
        let token = token(cbor!({ 324 => claim }).expect("claims"));
        let headers: Vec<_> = std::iter::once(("cta-common-access-token", &*token)).chain(told.map(|told| ("x-ja4", told))).collect();
        with_facts("/a", &headers, |facts| decide(scheme, facts).map(|_| ()))
    };
    let claim = |kind: i64| cbor!({ 0 => kind, 1 => ja4 }).expect("a map");
    for (kind, told, verdict) in [
        (2, Some(ja4), Ok(())),
        (2, Some("T13D1516H2_8daaf6152771_b186095e22b6"), Ok(())),
        (2, Some("t13d1516h2_8daaf6152771_000000000000"), Err(Denial::Protocol)),
        (2, None, Err(Denial::Protocol)),
        (0, Some(ja4), Err(Denial::Unsupported)),
        (3, Some(ja4), Err(Denial::Unsupported)),
    ] {
        assert_eq!(asked(&behind, claim(kind), told), verdict, "{kind} {told:?}");
    }
    assert_eq!(asked(&scheme(), claim(2), Some(ja4)), Err(Denial::Unsupported));
    assert_eq!(asked(&behind, cbor!({ 0 => 2 }).expect("a map"), Some(ja4)), Err(Denial::Claim));
}

#[test]
fn frames_are_strict() {
    let good = token(cbor!({}).expect("claims"));
    for bad in ["", "Zm9vYmFy", &format!("{good}AA"), &format!("{good}="), &"A".repeat(9000)] {
        assert!(cose::open(bad, &scheme().keys.load(), false).is_err(), "{bad}");
    }
    assert!(cose::open(&good, &scheme().keys.load(), true).is_ok());
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(path in "(/[a-z0-9]{1,8}){1,4}", life in 1_i64..1000, scoped: bool) {
        let request = SignRequest {
            path: path.clone(),
            scope: scoped.then(|| path.clone()),
            expires: Some(NOW.plus(life)),
            subject: Some("u".into()),
            ..SignRequest::default()
        };
        let signed = scheme().sign(&request).expect("signed");
        let ask = |path: &str| with_facts(path, &[("cta-common-access-token", &signed.token)], |facts| decide(&scheme(), facts));
        prop_assert_eq!(ask(&path).expect("good").window.until, NOW.plus(life));
        let other = path + "0";
        prop_assert!(ask(&other).is_err());
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        use base64::Engine as _;
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
        let _ = cose::open(&token, &scheme().keys.load(), false);
        if let Ok(value) = ciborium::from_reader::<Value, _>(&bytes[..]) && let Ok(claims) = cose::claims(value) {
            let _ = rules::grant(&claims, &scheme().config);
        }
    }
}
