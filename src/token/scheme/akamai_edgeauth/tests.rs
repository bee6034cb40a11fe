//! Akamai Edge Auth: fields, acl, salts, escapes and places.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::scheme::testing::{Asked, NOW, config, secrets, to_sign};

const URL: &str = "https://media.example.com/vid1/master.m3u8";

fn scheme(more: serde_json::Value) -> AkamaiEdgeauth {
    let config: Config = config(more);
    AkamaiEdgeauth::new(&config, secrets(&[("new", b"new key"), ("old", b"old key")])).expect("scheme")
}

fn signed(scheme: &AkamaiEdgeauth, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

/// A token over these fields, by the first key, in a query.
fn forged(fields: &str, tail: &str) -> Asked {
    let mac = digest::hex(&Hash::Sha256.mac(b"new key", &[fields.as_bytes(), tail.as_bytes()]));
    Asked::url(&format!("{URL}?hdnts={fields}~hmac={mac}"))
}

#[test]
fn every_place_and_hash_comes_back() {
    for place in ["query", "cookie", "header", "path"] {
        for hash in ["sha256", "sha1", "md5"] {
            let scheme = scheme(json!({ "sign_into": place, "algorithm": hash }));
            for scope in [None, Some("/vid1/".to_owned()), Some("/vid1/*.m3u8!/ads/*".to_owned())] {
                let asked = signed(&scheme, |r| (r.scope, r.key_id) = (scope.clone(), Some("old".into())));
                let (grant, upstream) = asked.of(&scheme).unwrap_or_else(|denial| panic!("{place} {hash} {scope:?} {denial}"));
                assert_eq!(upstream, "/vid1/master.m3u8");
                assert_eq!(grant.key_id.as_deref(), Some("old"));
            }
        }
    }
}

#[test]
fn acls_are_matched_on_the_path_without_the_token() {
    let scheme = scheme(json!({ "sign_into": "path" }));
    let good = signed(&scheme, |r| r.scope = Some("/vid1/".into()));
    for (path, verdict) in [("/vid1/720p/seg1.ts", Ok(())), ("/vid10/a.ts", Err(Denial::Path)), ("/vid2/a.ts", Err(Denial::Path))] {
        let mut asked = good.clone();
        asked.path = good.path.replace("/vid1/master.m3u8", path);
        assert_eq!(asked.verdict(&scheme), verdict, "{path}");
    }
    let mut twice = good.clone();
    twice.path = format!("{}{}", good.path.trim_end_matches("/vid1/master.m3u8"), good.path);
    assert_eq!(twice.verdict(&scheme), Err(Denial::Duplicate));
}

#[test]
fn the_last_second_is_good_and_the_margin_is_the_configs() {
    let strict = scheme(json!({ "leeway": 0 }));
    let asked = forged(&format!("st={NOW}~exp={NOW}~acl=/vid1/*"), "");
    for (now, verdict) in [(NOW - 1, Err(Denial::NotYetValid)), (NOW, Ok(())), (NOW + 1, Err(Denial::Expired))] {
        assert_eq!(asked.clone().at(now).verdict(&strict), verdict, "{now}");
    }
    let ten = scheme(json!({}));
    for (now, verdict) in [(NOW - 10, Ok(())), (NOW + 10, Ok(())), (NOW + 11, Err(Denial::Expired)), (NOW - 11, Err(Denial::NotYetValid))] {
        assert_eq!(asked.clone().at(now).verdict(&ten), verdict, "{now}");
    }
    assert_eq!(signed(&strict, |_| ()).at(NOW + 3599).verdict(&strict), Ok(()));
    assert_eq!(signed(&strict, |_| ()).at(NOW + 3600).verdict(&strict), Err(Denial::Expired));
}

#[test]
fn smuggled_fields_are_refused_though_signed() {
    let scheme = scheme(json!({}));
    for (fields, tail, denial) in [
        ("exp=1760003600~acl=/vid9/*~data=x~acl=/*", "", Denial::Duplicate),
        ("exp=1760003600~data=x~acl=/*", "", Denial::Malformed),
        ("exp=1760003600~acl=/*~exp=1770003600", "", Denial::Duplicate),
        ("exp=1760003600~acl=/*~salt=x", "", Denial::Unsupported),
        ("exp=1760003600~url=/vid1/master.m3u8", "", Denial::Unsupported),
        ("acl=/vid1/*", "", Denial::NoExpiry),
        ("exp=1760003600~acl=", "", Denial::Malformed),
        ("exp=1760003600~acl=/a~b", "", Denial::Malformed),
        ("exp=-1~acl=/*", "", Denial::Malformed),
        ("ip=nonsense~exp=1760003600~acl=/*", "", Denial::Unsupported),
        ("exp=1760003600~acl=/vid1/*", "~salt=none", Denial::BadSignature),
    ] {
        assert_eq!(forged(fields, tail).verdict(&scheme), Err(denial), "{fields}");
    }
    assert_eq!(forged("exp=1760003600~acl=/vid1/*~id=x~y~data=a~b~c", "").verdict(&scheme), Ok(()));
    let (grant, _) = forged("exp=1760003600~acl=/vid1/*~id=x~y~data=a", "").of(&scheme).expect("allowed");
    assert_eq!(grant.token_id.as_deref(), Some("x~y"));
}

#[test]
fn both_escape_dialects_or_one() {
    let url = "https://media.example.com/vid(1)/a~b.ts";
    for (signer, verifier, good) in
        [("python", "any", true), ("node", "any", true), ("never", "any", true), ("node", "python", false), ("node", "node", true)]
    {
        let mut request = to_sign(url);
        request.claims.insert("data".into(), "a b/c".into());
        let (from, to) = (scheme(json!({ "escape": signer })), scheme(json!({ "escape": verifier })));
        if signer == "never" {
            request.claims.clear();
        }
        let asked = Asked::signed(&request, &from.sign(&request).expect("signed"));
        assert_eq!(asked.verdict(&to).is_ok(), good, "{signer} {verifier}");
    }
    assert_eq!(Escape::Python.apply("x~y z/é!"), "x~y+z%2f%c3%a9%21");
    assert_eq!(Escape::Node.apply("x~y z/é!'*"), "x%7ey%20z%2f%c3%a9!%27%2a");
}

#[test]
fn salts_and_addresses_bind() {
    let salted = scheme(json!({ "salt_header": "user-agent" }));
    let asked = signed(&salted, |r| drop(r.claims.insert("salt".into(), "vlc".into())));
    assert_eq!(asked.clone().header("user-agent", "vlc").verdict(&salted), Ok(()));
    assert_eq!(asked.clone().header("user-agent", "mpv").verdict(&salted), Err(Denial::BadSignature));
    assert_eq!(asked.verdict(&salted), Err(Denial::BadSignature));
    let plain = scheme(json!({}));
    let asked = signed(&plain, |r| r.client_ip = "198.51.100.7".parse().ok());
    assert_eq!(asked.verdict(&plain), Ok(()));
    assert_eq!(asked.from("198.51.100.8").verdict(&plain), Err(Denial::Address));
    let escaped = forged("ip=2001%3adb8%3a%3a1~exp=1760003600~acl=/vid1/*", "");
    assert_eq!(escaped.from("2001:db8::1").verdict(&plain), Ok(()));
}

#[test]
fn two_tokens_must_agree() {
    let scheme = scheme(json!({}));
    let good = signed(&scheme, |r| r.scope = Some("/vid1/".into()));
    let token = good.query.clone().expect("query").replace("hdnts=", "");
    assert_eq!(good.clone().header("cookie", &format!("hdnts={token}")).verdict(&scheme), Ok(()));
    assert_eq!(good.clone().header("cookie", "hdntl=x").verdict(&scheme), Err(Denial::Ambiguous));
    let mut twice = good;
    twice.query = Some(format!("hdnts={token}&hdnts={token}"));
    assert_eq!(twice.verdict(&scheme), Err(Denial::Duplicate));
    let encoded = Asked::url(&format!("{URL}?hdnts={}", crate::query::encode(&token)));
    assert_eq!(encoded.verdict(&scheme), Ok(()));
}

#[test]
fn values_that_could_be_read_as_fields_are_not_signed() {
    for escape in ["any", "never", "python"] {
        let scheme = scheme(json!({ "escape": escape }));
        let mut request = to_sign(URL);
        request.claims.insert("data".into(), "x~acl=/*".into());
        assert!(matches!(scheme.sign(&request), Err(SignError::CannotExpress(_))), "{escape}");
    }
    let mut request = to_sign(URL);
    request.scope = Some("/a~acl=/*".into());
    assert!(matches!(scheme(json!({})).sign(&request), Err(SignError::CannotExpress(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn readers_never_panic_and_lose_nothing(text in "(exp|ip|st|acl|id|data|hmac|[~=]|\\PC){0,12}") {
        let token = format!("{text}~hmac=0a");
        if let Ok(read) = Token::parse(&token) {
            let fields = [("ip", read.ip), ("st", read.st), ("exp", read.exp), ("acl", read.acl), ("id", read.id), ("data", read.data)];
            let again: Vec<String> = fields.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))).collect();
            // The fields say all of the signed bytes: no two readings share them.
            prop_assert_eq!(again.join("~"), read.signed);
        }
        let _ = Token::parse(&text);
    }
}
