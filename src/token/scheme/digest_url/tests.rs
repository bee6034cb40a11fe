//! The recipes' rules.

use std::net::IpAddr;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::KeySet;
use crate::token::scheme::testing::every::PRESETS;

const NOW: i64 = 1_760_000_000;

fn scheme(config: serde_json::Value) -> Result<DigestUrl, String> {
    let mut config = config;
    config["keys"] = json!("k");
    let config: Config = serde_json::from_value(config).map_err(|e| e.to_string())?;
    DigestUrl::new(&config, KeySource::new(KeySet::new(vec![Key::secret(Some("a"), b"c2VjcmV0".to_vec())])))
}

fn preset(name: &str) -> DigestUrl {
    scheme(json!({ "preset": name })).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn open(scheme: &DigestUrl, path: &str, query: Option<&str>) -> Result<Grant, Denial> {
    let path = CleanPath::parse(path).map_err(|_| Denial::Malformed)?;
    let headers = HeaderMap::new();
    let facts = RequestFacts {
        query,
        client_ip: "198.51.100.7".parse::<IpAddr>().expect("address"),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    scheme.open(&presented, &facts)
}

fn request(path: &str) -> SignRequest {
    SignRequest {
        path: path.into(),
        https: true,
        host: "media.example.com".into(),
        now: Some(UnixTime(NOW)),
        expires: Some(UnixTime(NOW + 3601)),
        client_ip: "198.51.100.7".parse().ok(),
        ..SignRequest::default()
    }
}

#[test]
fn every_preset_verifies_what_it_signs() {
    for name in PRESETS {
        let scheme = preset(name);
        let signed = scheme.sign(&request("/live/vid%201/master.m3u8")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let grant = open(&scheme, &signed.path, signed.query.as_deref()).unwrap_or_else(|e| panic!("{name}: {e} {signed:?}"));
        if name != "nginx-secure-link-secret" {
            assert!(grant.window.until.0 >= NOW + 3601 - 60 && grant.window.until.0 <= NOW + 3601, "{name}: {:?}", grant.window);
        }
    }
}

#[test]
fn only_what_looks_signed_is_a_token() {
    for name in ["alibaba-b", "alibaba-c", "nginx-secure-link-secret"] {
        for path in ["/", "/a", "/a/b/c/d.ts", "/p/abcd/x", "/p/d6e105f5564e04c72d4239ebd2c597c"] {
            assert_eq!(open(&preset(name), path, None).err(), Some(Denial::Missing), "{name} {path}");
        }
    }
}

#[test]
fn a_second_field_is_refused() {
    let scheme = preset("nginx-secure-link");
    let signed = scheme.sign(&request("/a/b")).expect("signed");
    let query = signed.query.expect("query");
    for more in ["&expires=9999999999", "&md5=x", "&%65xpires=9999999999"] {
        assert_eq!(open(&scheme, "/a/b", Some(&format!("{query}{more}"))).err(), Some(Denial::Duplicate), "{more}");
        assert_eq!(open(&scheme, "/a/b", Some(&format!("{}&{query}", &more[1..]))).err(), Some(Denial::Duplicate), "{more}");
    }
}

#[test]
fn no_digit_passes_from_the_path_to_the_moment() {
    // {path}{time}: "/seg1" + "1760003600" is the text of "/seg" + "11760003600" too.
    let scheme = preset("fastly");
    let signed = scheme.sign(&request("/seg1")).expect("signed");
    let query = signed.query.expect("query");
    let stretched = query.replace("token=1", "token=11");
    assert_eq!(open(&scheme, "/seg", Some(&stretched)).err(), Some(Denial::Malformed));
    let scheme = preset("alibaba-c");
    let signed = scheme.sign(&request("/a/segA")).expect("signed");
    let (head, _) = split_segments(&signed.path, 2).expect("two");
    let (hash, time) = head.split_once('/').expect("two");
    assert_eq!(open(&scheme, &format!("/{hash}/A{time}/a/seg"), None).err(), Some(Denial::Malformed));
}

#[test]
fn recipes_that_leave_something_open_are_refused() {
    let source = |shape: &str| json!([{ "from": { "query": "t" }, "shape": shape }]);
    for (config, why) in [
        (json!({}), "message"),
        (json!({ "message": "{path}", "sources": source("{signature}") }), "{time}"),
        (json!({ "message": "{path}", "sources": source("{time}-{signature}") }), "anyone could change"),
        (json!({ "message": "{time}", "sources": source("{time}-{signature}") }), "no part of the path"),
        (json!({ "message": "{path}{time}", "sources": source("{time}") }), "{signature}"),
        (json!({ "message": "{path}{time}", "sources": source("{time}-{signature}"), "hmac": false }), "{secret}"),
        (json!({ "message": "{path}{time}{secret}", "sources": source("{time}-{signature}") }), "must not stand"),
        (json!({ "message": "{path}{ip}{time}", "sources": source("{time}-{signature}") }), "put a separator"),
        (json!({ "message": "{path}{time}{x}", "sources": source("{time}-{signature}") }), "no source brings"),
        (json!({ "message": "{path}{time}", "sources": source("{time}{signature}") }), "side by side"),
        (json!({ "message": "{path}{time}", "sources": source("{time}-{signature}"), "colour": 1 }), "unknown field"),
    ] {
        let fault = scheme(config.clone()).err().unwrap_or_default();
        assert!(fault.contains(why), "{config}: {fault}");
    }
}

#[test]
fn the_last_second_is_the_configs_word() {
    for (boundary, until) in [("through", NOW + 1), ("until", NOW)] {
        let scheme = scheme(json!({ "preset": "keycdn", "boundary": boundary })).expect("scheme");
        let signed = scheme.sign(&SignRequest { expires: Some(UnixTime(until)), ..request("/a") }).expect("signed");
        let query = signed.query.expect("query");
        assert!(query.ends_with("expire=1760000000"), "{query}");
        assert_eq!(open(&scheme, "/a", Some(&query)).expect("good").window.until, UnixTime(until));
    }
}

#[test]
fn a_period_without_end_needs_the_configs_leave() {
    let hmac = |require: bool| scheme(json!({ "preset": "nginx-hmac-secure-link", "require_expiry": require })).expect("scheme");
    let message = Hash256::of(b"/a|1760000000|0");
    let query = format!("st={message}&ts=1760000000&e=0");
    assert_eq!(open(&hmac(true), "/a", Some(&query)).err(), Some(Denial::NoExpiry));
    assert_eq!(open(&hmac(false), "/a", Some(&query)).expect("good").window.until, UnixTime::MAX);
}

struct Hash256;

impl Hash256 {
    fn of(message: &[u8]) -> String {
        encode_signature(Encoding::Base64url, &crate::token::scheme::digest::Hash::Sha256.mac(b"c2VjcmV0", &[message]))
    }
}

proptest! {
    #[test]
    fn requests_never_panic(path in "/[a-zA-Z0-9/_.-]{0,40}", query in "\\PC{0,60}") {
        for name in PRESETS {
            let _ = open(&preset(name), &path, Some(&query));
        }
    }

    #[test]
    fn signing_is_undone_by_opening(path in "(/[a-z0-9]{1,6}){2,4}", life in 120_i64..100_000) {
        for name in PRESETS {
            let scheme = preset(name);
            let asked = SignRequest { expires: Some(UnixTime(NOW + life)), ..request(&path) };
            let signed = scheme.sign(&asked).expect("signed");
            let grant = open(&scheme, &signed.path, signed.query.as_deref());
            prop_assert!(grant.is_ok_and(|g| g.window.until > UnixTime(NOW - 60)), "{} {:?}", name, signed);
        }
    }

    #[test]
    fn no_other_split_has_the_same_message(path in "/[a-z]{0,3}[0-9]{0,12}", cut in 1_usize..12) {
        // Of every preset with a moment in a query, moving digits between path and moment is refused.
        for name in ["fastly", "keycdn", "tencent-d"] {
            let scheme = preset(name);
            let signed = scheme.sign(&request(&path)).expect("signed");
            let query = signed.query.expect("query");
            let shorter = &path[..path.len().saturating_sub(cut).max(1)];
            let moved = &path[shorter.len()..];
            let stretched = query.replace(&(NOW + 3600).to_string(), &format!("{moved}{}", NOW + 3600));
            if !moved.is_empty() {
                prop_assert!(open(&scheme, shorter, Some(&stretched)).is_err());
            }
        }
    }
}
