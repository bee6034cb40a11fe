//! Google Media CDN: signed requests and dual-token tokens.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::KeySet;
use crate::token::scheme::testing::{Asked, NOW, config, ed25519, to_sign};

const URL: &str = "https://media.example.com/vid1/master.m3u8";

fn scheme(more: serde_json::Value) -> GoogleMediaCdn {
    with_keys(more, vec![ed25519("key-a"), Key::secret(Some("secret"), b"0123456789abcdef".to_vec())])
}

fn with_keys(more: serde_json::Value, keys: Vec<Key>) -> GoogleMediaCdn {
    let config: Config = config(more);
    GoogleMediaCdn::new(&config, KeySource::new(KeySet::new(keys))).expect("scheme")
}

fn signed(scheme: &GoogleMediaCdn, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

/// A token over `signed`, sent as `token`, under the shared secret.
fn forged(signed: &str, token: &str) -> Asked {
    let mac = digest::hex(&Hash::Sha256.mac(b"0123456789abcdef", &[signed.as_bytes()]));
    Asked::url(&format!("{URL}?hdnts={token}~hmac={mac}"))
}

#[test]
fn every_form_comes_back_and_is_taken_out() {
    for form in ["query", "cookie", "path", "token"] {
        for scope in [None, Some("/vid1/".to_owned())] {
            for key in ["key-a", "secret"] {
                if key == "secret" && form != "token" {
                    continue;
                }
                let scheme = scheme(json!({ "sign_as": form }));
                let asked = signed(&scheme, |r| (r.scope, r.key_id) = (scope.clone(), Some(key.into())));
                let (grant, upstream) = asked.of(&scheme).unwrap_or_else(|denial| panic!("{form} {scope:?} {key} {denial}"));
                assert_eq!((upstream.as_str(), grant.key_id.as_deref()), ("/vid1/master.m3u8", Some(key)));
                assert_eq!(asked.clone().at(NOW + 3599).verdict(&scheme), Ok(()));
                assert_eq!(asked.at(NOW + 3600).verdict(&scheme), Err(Denial::Expired));
            }
        }
    }
}

#[test]
fn a_path_component_holds_for_what_is_below_it() {
    let scheme = scheme(json!({ "sign_as": "path" }));
    let good = signed(&scheme, |_| ());
    let moved = |from: &str, to: &str| {
        let mut asked = good.clone();
        asked.path = good.path.replace(from, to);
        asked.verdict(&scheme)
    };
    assert_eq!(moved("master.m3u8", "720p/seg1.ts"), Ok(()));
    assert_eq!(moved("/vid1/", "/vid2/"), Err(Denial::BadSignature));
    assert_eq!(moved("/vid1/", "/vid1/a/"), Err(Denial::BadSignature));
    assert_eq!(moved("&KeyName", "&x=1&KeyName"), Err(Denial::Malformed));
    let mut twice = good.clone();
    let component = good.path.trim_start_matches("/vid1").trim_end_matches("/master.m3u8");
    twice.path = format!("/vid1{component}{component}/master.m3u8");
    assert_eq!(twice.verdict(&scheme), Err(Denial::Duplicate));
}

#[test]
fn full_path_and_headers_are_bound_by_value() {
    let scheme = scheme(json!({}));
    let good = forged("FullPath=/vid1/master.m3u8~Expires=1760003600", "FullPath~Expires=1760003600");
    assert_eq!(good.verdict(&scheme), Ok(()));
    let mut other = good;
    other.path = "/vid2/master.m3u8".into();
    assert_eq!(other.verdict(&scheme), Err(Denial::BadSignature));
    // The values sent in the token itself are not what was asked for.
    let sent = "FullPath=/vid1/master.m3u8~Expires=1760003600";
    assert_eq!(forged(sent, sent).verdict(&scheme), Err(Denial::Malformed));
    let sent = "PathGlobs=/vid1/*~Expires=1760003600~Headers=Foo=bar";
    assert_eq!(forged(sent, sent).verdict(&scheme), Err(Denial::Malformed));
    let bound =
        forged("PathGlobs=/vid1/*~Expires=1760003600~Headers=Foo=bar,BAZ=quux", "PathGlobs=/vid1/*~Expires=1760003600~Headers=Foo,BAZ");
    assert_eq!(bound.clone().header("foo", "bar").header("baz", "quux").verdict(&scheme), Ok(()));
    assert_eq!(bound.clone().header("foo", "bar").header("baz", "x").verdict(&scheme), Err(Denial::BadSignature));
    assert_eq!(bound.clone().header("foo", "bar").verdict(&scheme), Err(Denial::BadSignature));
    let twice = bound.header("foo", "bar").header("foo", "bar").header("baz", "quux");
    assert_eq!(twice.verdict(&scheme), Err(Denial::Duplicate));
}

#[test]
fn fields_come_once_and_are_known() {
    let scheme = scheme(json!({}));
    for (fields, denial) in [
        ("PathGlobs=/vid1/*", Denial::NoExpiry),
        ("Expires=1760003600", Denial::Claim),
        ("PathGlobs=/vid1/*~Expires=1760003600~Expires=1770003600", Denial::Duplicate),
        ("PathGlobs=/vid9/*~Expires=1760003600~Data=x~PathGlobs=/*", Denial::Duplicate),
        ("URLPrefix=aHR0cHM6Ly9t~PathGlobs=/*~Expires=1760003600", Denial::Duplicate),
        ("PathGlobs=/vid1/*~Expires=1760003600~Data=x~y", Denial::Malformed),
        ("PathGlobs=/vid1/*~Expires=1760003600~New=1", Denial::Unsupported),
        ("PathGlobs=/vid1/*~Expires=-5", Denial::Malformed),
        ("URLPrefix=!!~Expires=1760003600", Denial::Unsupported),
        ("PathGlobs=/vid1~Expires=1760003600", Denial::Path),
        ("PathGlobs=/vid10/*~Expires=1760003600", Denial::Path),
        ("PathGlobs=/vid1/*~Expires=1760003600~IPRanges=bm9uZQ", Denial::Address),
        ("PathGlobs=/vid1/*~Starts=1760000001~Expires=1760003600", Denial::NotYetValid),
        ("PathGlobs=/vid1/*~Expires=1759999999", Denial::Expired),
    ] {
        assert_eq!(forged(fields, fields).verdict(&scheme), Err(denial), "{fields}");
    }
    for good in [
        "PathGlobs=/vid1/*~Expires=1760000000",
        "Expires=1760000000~PathGlobs=/x,/vid?/*.m3u8",
        "PathGlobs=/vid1/*~Starts=1760000000~Expires=1760000000",
    ] {
        assert_eq!(forged(good, good).verdict(&scheme), Ok(()), "{good}");
    }
}

#[test]
fn a_keyset_takes_its_own_kinds_only() {
    let token = signed(&scheme(json!({ "sign_as": "token" })), |r| r.key_id = Some("key-a".into()));
    let only_secret = with_keys(json!({}), vec![Key::secret(Some("key-a"), b"x".to_vec())]);
    assert_eq!(token.verdict(&only_secret), Err(Denial::BadSignature));
    let request = signed(&scheme(json!({})), |_| ());
    assert_eq!(request.verdict(&only_secret), Err(Denial::WrongAlgorithm));
    let sha1 = scheme(json!({ "hmac": "sha1", "sign_as": "token" }));
    let by_sha1 = signed(&sha1, |r| r.key_id = Some("secret".into()));
    assert_eq!(by_sha1.verdict(&sha1), Ok(()));
    assert_eq!(by_sha1.verdict(&scheme(json!({}))), Err(Denial::BadSignature));
}

#[test]
fn tokens_ride_in_cookies_and_segments_too() {
    let scheme = scheme(json!({ "sign_as": "token" }));
    let token = scheme.sign(&SignRequest { scope: Some("/vid1/".into()), ..to_sign(URL) }).expect("signed").token;
    let cookie = Asked::url(URL).header("cookie", &format!("Edge-Cache-Cookie={token}"));
    assert_eq!(cookie.of(&scheme).expect("allowed").1, "/vid1/master.m3u8");
    let mac = |fields: &str| digest::hex(&Hash::Sha256.mac(b"0123456789abcdef", &[fields.as_bytes()]));
    let fields = "PathGlobs=%2fvid1%2f*~Expires=1760003600";
    for (path, verdict) in [("/vid1/s.ts", Ok(())), ("/vid2/s.ts", Err(Denial::Path))] {
        let segment = Asked::url(&format!("https://media.example.com/hdntl={fields}~hmac={}{path}", mac(fields)));
        assert_eq!(segment.of(&scheme).map(|(_, upstream)| assert_eq!(upstream, path)), verdict);
    }
    let fields = "URLPrefix=aHR0cHM6Ly9tZWRpYS5leGFtcGxlLmNvbS92aWQxLw~Expires=1760003600";
    let segment = Asked::url(&format!("https://media.example.com/hdntl={fields}~hmac={}/vid1/s.ts", mac(fields)));
    assert_eq!(segment.verdict(&scheme), Ok(()));
    let both = Asked::url(&format!("{URL}?hdnts={token}")).header("cookie", "Edge-Cache-Cookie=FullPath~hmac=00");
    assert_eq!(both.verdict(&scheme), Err(Denial::Ambiguous));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn readers_never_panic(text in "t\n\\PC{0,3}\n\\PC{0,3}\n[0-9]{1,2}\n((PathGlobs|Expires|Headers|FullPath|hmac|Signature)=?|[~,=\n]|\\PC){0,14}") {
        if let Ok(token) = Token::parse(&text) {
            let _ = token.signed();
            let _ = token.grant(0);
        }
    }
}
