//! Cloudflare Stream: each rule as a table, and what the vendor's own tokens say.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::token::carrier::target;
use crate::token::scheme::testkit::{self, NOW, Request, decide, other_rsa, rsa, secret, source, token};

const UID: &str = "ea95132c15732412d22c1476fa83f27a";

fn scheme(config: Value) -> Result<CloudflareStream, String> {
    let config: Config = serde_json::from_value(config).expect("config");
    CloudflareStream::new(&config, source(vec![rsa(Some("a")), other_rsa(Some("b"))]))
}

fn route() -> std::sync::Arc<dyn Scheme> {
    testkit::route(scheme(json!({"keys": "k"})).expect("scheme"))
}

fn judge(header: Value, claims: Value, rest: &str) -> Result<(), Denial> {
    let token = token(&rsa(Some("a")), header, claims);
    decide(&route(), &Request::get(&format!("/{token}{rest}")), NOW).map(|_| ())
}

/// Good claims with these put over them; `null` takes one out.
fn claims(over: Value) -> Value {
    let mut claims = json!({"sub": UID, "kid": "a", "exp": NOW + 3600});
    for (name, value) in testkit::object(over) {
        if value.is_null() {
            claims.as_object_mut().expect("object").remove(&name)
        } else {
            claims.as_object_mut().expect("object").insert(name, value)
        };
    }
    claims
}

#[test]
fn claims_decide() {
    let many = |count: usize| Value::Array(vec![json!({"type": "any", "action": "allow"}); count]);
    for (over, verdict) in [
        (json!({}), Ok(())),
        (json!({"exp": (NOW + 60).to_string(), "nbf": (NOW - 60).to_string()}), Ok(())),
        (json!({"exp": NOW + 1}), Ok(())),
        (json!({"exp": NOW}), Err(Denial::Expired)),
        (json!({"exp": NOW.to_string()}), Err(Denial::Expired)),
        (json!({"exp": "1000000000", "nbf": "999990000"}), Err(Denial::Expired)),
        (json!({"exp": null}), Err(Denial::NoExpiry)),
        (json!({"exp": "soon"}), Err(Denial::Claim)),
        (json!({"exp": true}), Err(Denial::Claim)),
        (json!({"exp": u64::MAX}), Err(Denial::Claim)),
        (json!({"nbf": NOW}), Ok(())),
        (json!({"nbf": NOW + 1}), Err(Denial::NotYetValid)),
        (json!({"nbf": (NOW + 1).to_string()}), Err(Denial::NotYetValid)),
        (json!({"nbf": [NOW]}), Err(Denial::Claim)),
        (json!({"sub": null}), Err(Denial::Claim)),
        (json!({"sub": 7}), Err(Denial::Claim)),
        (json!({"sub": ""}), Err(Denial::Claim)),
        (json!({"sub": "../other"}), Err(Denial::Claim)),
        (json!({"sub": "a/b"}), Err(Denial::Claim)),
        (json!({"jti": 1}), Err(Denial::Claim)),
        (json!({"flags": {"original": true}}), Ok(())),
        (json!({"flags": true}), Err(Denial::Claim)),
        (json!({"downloadable": "true"}), Err(Denial::Claim)),
        (json!({"accessRules": []}), Ok(())),
        (json!({"accessRules": many(5)}), Ok(())),
        (json!({"accessRules": many(6)}), Err(Denial::Claim)),
        (json!({"accessRules": {}}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "any"}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "all", "action": "allow"}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "ip.src", "action": "allow"}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "ip.src", "action": "allow", "ip": "198.51.100.7"}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "ip.src", "action": "allow", "ip": ["here"]}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "ip.geoip.country", "action": "allow", "country": ["Sweden"]}]}), Err(Denial::Claim)),
        (json!({"accessRules": [{"type": "ip.geoip.country", "action": "block", "country": ["SE"]}]}), Err(Denial::Country)),
        (json!({"accessRules": [{"type": "ip.src", "action": "block", "ip": ["198.51.100.0/24"]}]}), Err(Denial::Address)),
    ] {
        assert_eq!(judge(json!({"kid": "a"}), claims(over.clone()), "/manifest/video.m3u8"), verdict, "{over}");
    }
}

#[test]
fn key_ids_decide() {
    for (header, over, verdict) in [
        (json!({"kid": "a"}), json!({}), Ok(())),
        (json!({}), json!({}), Ok(())),
        (json!({"kid": "a"}), json!({"kid": null}), Ok(())),
        (json!({}), json!({"kid": null}), Err(Denial::UnknownKey)),
        (json!({"kid": "z"}), json!({"kid": "z"}), Err(Denial::UnknownKey)),
        (json!({"kid": "b"}), json!({}), Err(Denial::UnknownKey)),
        (json!({"kid": "b"}), json!({"kid": "b"}), Err(Denial::BadSignature)),
        (json!({"kid": "a"}), json!({"kid": 1}), Err(Denial::Malformed)),
        (json!({"kid": "a", "crit": ["x"]}), json!({}), Err(Denial::Unsupported)),
    ] {
        assert_eq!(judge(header.clone(), claims(over.clone()), "/iframe"), verdict, "{header} {over}");
    }
}

#[test]
fn downloads_want_to_be_allowed() {
    let entitled = Err(Denial::Entitlement);
    for (rest, plain) in [
        ("/downloads/default.mp4", entitled),
        ("/downloads", entitled),
        ("/Downloads/audio.m4a", entitled),
        ("/downloads;x=1/default.mp4", entitled),
        ("/manifest/downloads", Ok(())),
        ("/thumbnails/thumbnail.jpg", Ok(())),
        ("", Ok(())),
    ] {
        let header = json!({"kid": "a"});
        assert_eq!(judge(header.clone(), claims(json!({})), rest), plain, "{rest}");
        assert_eq!(judge(header.clone(), claims(json!({"downloadable": false})), rest), plain, "{rest}");
        assert_eq!(judge(header, claims(json!({"downloadable": true})), rest), Ok(()), "{rest}");
    }
}

#[test]
fn what_is_no_token_is_missing() {
    let unsigned = "eyJhbGciOiJub25lIiwia2lkIjoiYSJ9.e30.";
    for (path, denial) in [
        (format!("/{UID}/manifest/video.m3u8"), Denial::Missing),
        ("/".into(), Denial::Missing),
        ("/video.en.m3u8".into(), Denial::Missing),
        (format!("/x/{unsigned}/y"), Denial::Missing),
        ("/eyJhbGciOiJSUzI1NiJ9.e30/manifest/video.m3u8".into(), Denial::Malformed),
        (format!("/{unsigned}/manifest/video.m3u8"), Denial::WrongAlgorithm),
        ("/eyJhbGciOiJub25lIn0.e30./manifest/video.m3u8".into(), Denial::UnknownKey),
    ] {
        assert_eq!(decide(&route(), &Request::get(&path), NOW).err(), Some(denial), "{path}");
    }
}

#[test]
fn only_rs256_keys_verify() {
    let config: Config = serde_json::from_value(json!({"keys": "k"})).expect("config");
    assert!(CloudflareStream::new(&config, source(vec![secret(Some("a"))])).is_err());
    let scheme = CloudflareStream::new(&config, source(vec![secret(Some("a")), rsa(Some("b"))])).expect("scheme");
    let token = token(&secret(Some("a")), json!({"kid": "a"}), claims(json!({})));
    assert_eq!(decide(&testkit::route(scheme), &Request::get(&format!("/{token}/x")), NOW).err(), Some(Denial::WrongAlgorithm));
}

#[test]
fn config_moves_the_window() {
    for (config, over, now, verdict) in [
        (json!({"keys": "k", "leeway": "10s"}), json!({"exp": NOW}), NOW + 9, Ok(())),
        (json!({"keys": "k", "leeway": "10s"}), json!({"exp": NOW}), NOW + 10, Err(Denial::Expired)),
        (json!({"keys": "k", "leeway": "10s"}), json!({"nbf": NOW}), NOW - 10, Ok(())),
        (json!({"keys": "k", "leeway": "10s"}), json!({"nbf": NOW}), NOW - 11, Err(Denial::NotYetValid)),
        (json!({"keys": "k", "require_expiry": false}), json!({"exp": null}), NOW, Ok(())),
        (json!({"keys": "k", "max_lifetime": "1h"}), json!({"nbf": NOW - 1}), NOW, Err(Denial::Lifetime)),
        (json!({"keys": "k", "max_lifetime": "1h"}), json!({"nbf": NOW}), NOW, Ok(())),
        (json!({"keys": "k", "max_lifetime": "1h"}), json!({}), NOW, Ok(())),
    ] {
        let token = token(&rsa(Some("a")), json!({"kid": "a"}), claims(over.clone()));
        let route = testkit::route(scheme(config.clone()).expect("scheme"));
        assert_eq!(decide(&route, &Request::get(&format!("/{token}/x")), now).map(|_| ()), verdict, "{config} {over} {now}");
    }
}

#[test]
fn the_uid_takes_the_tokens_place() {
    let token = token(&rsa(Some("a")), json!({"kid": "a"}), claims(json!({})));
    let mut request = Request::get(&format!("/vod/{token}/manifest/video.m3u8?a=%2f"));
    request.mount = 4;
    let verdict = decide(&route(), &request, NOW).expect("allowed");
    let upstream = target(&request.facts(), &verdict.strip, &verdict.grant);
    assert_eq!(upstream, (format!("/vod/{UID}/manifest/video.m3u8"), Some("a=%2f".into())));
    assert_eq!(verdict.grant.key_id.as_deref(), Some("a"));
}

fn request_to_sign(expires: i64) -> SignRequest {
    SignRequest {
        path: format!("/vod/{UID}/manifest/video.m3u8"),
        mount: 4,
        expires: Some(UnixTime(expires)),
        claims: testkit::object(json!({"downloadable": true})),
        ..SignRequest::default()
    }
}

#[test]
fn signed_urls_are_taken_back() {
    let scheme = scheme(json!({"keys": "k"})).expect("scheme");
    let signed =
        scheme.sign(&SignRequest { client_ip: Some("198.51.100.7".parse().expect("ip")), ..request_to_sign(NOW + 9) }).expect("signs");
    assert_eq!(signed.path, format!("/vod/{}/manifest/video.m3u8", signed.token));
    let jws = Jws::parse(&signed.token).expect("jws");
    assert_eq!(Value::Object(jws.header().clone()), json!({"alg": "RS256", "kid": "a"}));
    let route = testkit::route(scheme);
    let mut request = Request::get(&signed.path);
    request.mount = 4;
    assert_eq!(decide(&route, &request, NOW).map(|verdict| verdict.grant.downloads), Ok(Some(true)));
    assert_eq!(decide(&route, &request, NOW + 9).err(), Some(Denial::Expired));
    assert_eq!(decide(&route, &request.from("198.51.100.8"), NOW).err(), Some(Denial::Address));
}

#[test]
fn what_cannot_be_said_is_not_signed() {
    let scheme = scheme(json!({"keys": "k"})).expect("scheme");
    let good = || request_to_sign(NOW);
    for (what, request) in [
        ("no expiry", SignRequest { expires: None, ..good() }),
        ("no uid", SignRequest { path: "/vod/".into(), ..good() }),
        ("prefix too long", SignRequest { mount: 99, ..good() }),
        ("subject", SignRequest { subject: Some("me".into()), ..good() }),
        ("scope", SignRequest { scope: Some("/vod".into()), ..good() }),
        ("claim sub", SignRequest { claims: testkit::object(json!({"sub": "x"})), ..good() }),
        ("bad rules", SignRequest { claims: testkit::object(json!({"accessRules": [1]})), ..good() }),
    ] {
        assert!(matches!(scheme.sign(&request), Err(SignError::CannotExpress(_))), "{what}");
    }
    assert_eq!(scheme.sign(&SignRequest { key_id: Some("z".into()), ..good() }), Err(SignError::NoKey(Some("z".into()))));
}

#[test]
fn the_vendors_own_tokens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/vectors/cloudflare_stream.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let file: Value = serde_json::from_slice(&text).expect("json");
    let response = &file["signing_key_api_response"]["result"];
    let id = response["id"].as_str();
    for form in ["pem", "jwk"] {
        let keys = crate::token::KeySet::parse(response[form].as_str().expect("key").as_bytes(), id, None).expect(form);
        let config: Config = serde_json::from_value(json!({"keys": "k"})).expect("config");
        let route = testkit::route(CloudflareStream::new(&config, KeySource::new(keys)).expect("scheme"));
        for case in file["tokens"].as_array().expect("tokens") {
            let request = Request::get(&format!("/{}/manifest/video.m3u8", case["token"].as_str().expect("token")));
            let verdict = decide(&route, &request, 1_700_000_000);
            match case["expect_at_now_1700000000"].as_str().expect("expectation") {
                "reject" => assert!(verdict.is_err(), "{}", case["name"]),
                "expired" => assert_eq!(verdict.err(), Some(Denial::Expired), "{}", case["name"]),
                "not_yet_valid" => assert_eq!(verdict.err(), Some(Denial::NotYetValid), "{}", case["name"]),
                // Who is let in under rules is the truth table's matter; the token itself is good.
                "valid_subject_to_rules" => assert!(!matches!(verdict, Err(Denial::Claim | Denial::BadSignature)), "{}", case["name"]),
                _ => assert!(verdict.is_ok(), "{}: {verdict:?}", case["name"]),
            }
        }
    }
}

#[test]
fn the_truth_table_of_access_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/vectors/cloudflare_stream.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let file: Value = serde_json::from_slice(&text).expect("json");
    for row in file["access_rule_truth_table"].as_array().expect("rows") {
        let set = row["ruleset"].as_str().expect("set");
        let of_token = |case: &&Value| case["name"].as_str().is_some_and(|name| name.ends_with(set));
        let of_set = || file["tokens"].as_array().expect("tokens").iter().find(of_token).map(|case| &case["payload"]["accessRules"]);
        let rules = row.get("rules").or_else(of_set).expect("rules");
        let token = token(&rsa(Some("a")), json!({"kid": "a"}), claims(json!({"accessRules": rules})));
        let mut request = Request::get(&format!("/{token}/manifest/video.m3u8")).from(row["ip"].as_str().expect("ip"));
        request.geo = crate::token::access::FixedGeo(row["country"].as_str().and_then(Country::new));
        let allowed = decide(&route(), &request, NOW).is_ok();
        assert_eq!(allowed, row["decision"] == "allow", "{row}");
    }
}

#[test]
fn the_sample_of_the_vendors_pages_is_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/vectors/cloudflare_stream.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let file: Value = serde_json::from_slice(&text).expect("json");
    let sample = &file["vendor_sample_token_from_seed"];
    let token = sample.as_str().or_else(|| sample["token"].as_str()).expect("a token");
    let jws = Jws::parse(token).expect("parses");
    let claims = jws.claims().expect("claims");
    let scheme = scheme(json!({"keys": "k"})).expect("scheme");
    // Its key is not known; what it says would be understood, and is long over.
    assert!(scheme.times.window(&claims).is_ok_and(|window| window.check(UnixTime(NOW)) == Err(Denial::Expired)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_good_from_its_end_on(end in 1_i64..4_000_000_000, after in 0_i64..1_000_000) {
        let scheme = scheme(json!({"keys": "k"})).expect("scheme");
        let signed = scheme.sign(&request_to_sign(end)).expect("signs");
        let mut request = Request::get(&signed.path);
        request.mount = 4;
        let route = testkit::route(scheme);
        prop_assert!(decide(&route, &request, end - 1).is_ok());
        prop_assert_eq!(decide(&route, &request, end + after).err(), Some(Denial::Expired));
    }
}
