//! Wowza SecureToken: order of parameters, hashes and ends.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::scheme::testing::{Asked, NOW, config, secrets, to_sign};

const URL: &str = "https://wz.example/vod/_definst_/smil:movie.smil/playlist.m3u8?x=1";

fn scheme(more: serde_json::Value) -> Wowza {
    let config: Config = config(more);
    Wowza::new(&config, secrets(&[("new", b"abcDEF123"), ("old", b"zyxDEF123")])).expect("scheme")
}

fn signed(scheme: &Wowza, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

/// A token with these parameters, in `abcDEF123`.
fn forged(params: &str) -> Asked {
    let scheme = scheme(json!({}));
    let list: Vec<String> = params.split('&').map(str::to_owned).collect();
    let digest = scheme.digest("abcDEF123", "vod/_definst_/smil:movie.smil", &list, None);
    Asked::url(&format!("{URL}&{params}&wowzatokenhash={}", URL_SAFE.encode(digest)))
}

#[test]
fn every_hash_and_secret_comes_back() {
    for algorithm in ["sha256", "sha384", "sha512"] {
        for (secret, ip) in [("new", false), ("old", false), ("new", true), ("old", true)] {
            let scheme = scheme(json!({ "algorithm": algorithm, "client_ip_in_hash": ip }));
            let asked = signed(&scheme, |r| {
                (r.key_id, r.not_before) = (Some(secret.into()), Some(UnixTime(NOW)));
                r.client_ip = ip.then(|| "198.51.100.7".parse().expect("ip"));
                r.claims.insert("CustomA".into(), "b".into());
            });
            let (grant, upstream) = asked.of(&scheme).expect("allowed");
            assert_eq!(upstream, "/vod/_definst_/smil:movie.smil/playlist.m3u8?x=1");
            assert_eq!(grant.key_id.as_deref(), Some(secret));
            assert_eq!(asked.clone().from("198.51.100.8").verdict(&scheme).is_ok(), !ip);
            for (now, verdict) in [(NOW - 1, Err(Denial::NotYetValid)), (NOW + 3599, Ok(())), (NOW + 3600, Err(Denial::Expired))] {
                assert_eq!(asked.clone().at(now).verdict(&scheme), verdict);
            }
        }
    }
}

#[test]
fn a_token_is_for_one_folder() {
    let scheme = scheme(json!({}));
    let good = signed(&scheme, |r| r.scope = Some("/vod/_definst_/smil:movie.smil/".into()));
    for (path, verdict) in [
        ("/vod/_definst_/smil:movie.smil/media_1.ts", Ok(())),
        ("/vod/_definst_/smil:movie.smil/a/media_1.ts", Err(Denial::BadSignature)),
        ("/vod/_definst_/smil:movie.smil2/media_1.ts", Err(Denial::BadSignature)),
        ("/vod/_definst_/smil:movie.smil", Err(Denial::BadSignature)),
        ("/media_1.ts", Err(Denial::BadSignature)),
    ] {
        let mut asked = good.clone();
        asked.path = path.into();
        assert_eq!(asked.verdict(&scheme), verdict, "{path}");
    }
    let mut request = to_sign(URL);
    request.scope = Some("/vod/".into());
    assert!(matches!(scheme.sign(&request), Err(SignError::CannotExpress(_))));
}

#[test]
fn parameters_come_once_under_one_spelling() {
    let scheme = scheme(json!({}));
    let good = forged("wowzatokenendtime=1760003600");
    let with = |more: &str| {
        let mut asked = good.clone();
        asked.query.as_mut().expect("query").push_str(more);
        asked.verdict(&scheme)
    };
    assert_eq!(with(""), Ok(()));
    assert_eq!(with("&y=2"), Ok(()));
    assert_eq!(with("&wowzatokenendtime=1770003600"), Err(Denial::Duplicate));
    assert_eq!(with("&wowzatokenhash=AA=="), Err(Denial::Duplicate));
    assert_eq!(with("&wowzatokenCustom=1"), Err(Denial::BadSignature));
    assert_eq!(with("&%77owzatokenCustom=1"), Err(Denial::Malformed));
    let mut swallowed = forged("wowzatokenCustom=1&wowzatokenendtime=1759999999");
    assert_eq!(swallowed.verdict(&scheme), Err(Denial::Expired));
    swallowed.query = swallowed.query.map(|query| query.replace("1&wowzatokenendtime=1759999999", "1%26wowzatokenendtime%3D1759999999"));
    assert_eq!(swallowed.verdict(&scheme), Err(Denial::Malformed));
}

#[test]
fn an_end_is_demanded() {
    for params in ["wowzatokenendtime=0", "wowzatokenstarttime=1"] {
        assert_eq!(forged(params).verdict(&scheme(json!({}))), Err(Denial::NoExpiry));
        assert_eq!(forged(params).verdict(&scheme(json!({ "require_expiry": false }))), Ok(()));
    }
    assert_eq!(forged("wowzatokenendtime=-1").verdict(&scheme(json!({}))), Err(Denial::Malformed));
    assert_eq!(forged("wowzatokenendtime=1760000000").verdict(&scheme(json!({}))), Ok(()));
    assert_eq!(forged("wowzatokenendtime=1759999999").verdict(&scheme(json!({}))), Err(Denial::Expired));
    assert_eq!(forged("wowzatokenendtime=1759999999").verdict(&scheme(json!({ "leeway": "1s" }))), Ok(()));
}

#[test]
fn parameters_may_go_on_to_a_wowza() {
    let scheme = scheme(json!({ "forward": true }));
    let (_, upstream) = signed(&scheme, |_| ()).of(&scheme).expect("allowed");
    assert!(upstream.contains("wowzatokenhash="));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn readers_never_panic(text in "(p(hash|endtime|x)|=|&|%|[A-Za-z0-9_-]{4}|\\PC){0,14}") {
        if let Ok(token) = Token::parse(&text, "p") {
            let (_, _) = (token.params(false), token.params(true));
        }
    }
}
