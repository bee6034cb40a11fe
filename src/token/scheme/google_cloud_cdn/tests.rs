//! Google Cloud CDN: URLs, prefixes and cookies.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::scheme::testing::{Asked, NOW, secrets, to_sign};

const URL: &str = "https://media.example.com/vid1/master.m3u8?a=b";

fn scheme(sign_into: &str) -> GoogleCloudCdn {
    let config: Config = serde_json::from_value(json!({ "keys": "k", "sign_into": sign_into })).expect("config");
    GoogleCloudCdn::new(&config, secrets(&[("key-a", b"0123456789abcdef"), ("key-b", b"fedcba9876543210")])).expect("scheme")
}

fn signed(scheme: &dyn Scheme, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

#[test]
fn a_signed_url_is_for_that_url() {
    let scheme = scheme("query");
    let good = signed(&scheme, |r| r.key_id = Some("key-b".into()));
    let (grant, upstream) = good.of(&scheme).expect("allowed");
    assert_eq!((upstream.as_str(), grant.key_id.as_deref()), ("/vid1/master.m3u8?a=b", Some("key-b")));
    let changed = |change: fn(&mut Asked)| {
        let mut asked = good.clone();
        change(&mut asked);
        asked.verdict(&scheme)
    };
    assert_eq!(changed(|a| a.path = "/vid1/x.ts".into()), Err(Denial::BadSignature));
    assert_eq!(changed(|a| a.host = "x.example.com".into()), Err(Denial::BadSignature));
    assert_eq!(changed(|a| a.https = false), Err(Denial::BadSignature));
    assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&x=1")), Err(Denial::Malformed));
    assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&Expires=1")), Err(Denial::Duplicate));
    assert_eq!(changed(|a| a.query.as_mut().expect("query").insert_str(0, "%45xpires=1&")), Err(Denial::Duplicate));
    assert_eq!(changed(|a| a.query = a.query.take().map(|q| q.replace("a=b", "a=c"))), Err(Denial::BadSignature));
    assert_eq!(changed(|a| a.query = a.query.take().map(|q| q.replace("key-b", "key-c"))), Err(Denial::UnknownKey));
    assert_eq!(changed(|a| a.query = a.query.take().map(|q| q.replace("=&", "%3D&"))), Ok(()));
    assert_eq!(changed(|a| a.query = Some("KeyName=key-a".into())), Err(Denial::Malformed));
    assert_eq!(changed(|a| a.now = NOW + 3599), Ok(()));
    assert_eq!(changed(|a| a.now = NOW + 3600), Err(Denial::Expired));
}

#[test]
fn prefixes_and_cookies_stop_at_segments() {
    for place in ["query", "cookie"] {
        let scheme = scheme(place);
        let good = signed(&scheme, |r| r.scope = Some("/vid1/".into()));
        assert_eq!(good.of(&scheme).expect("allowed").1, "/vid1/master.m3u8?a=b", "{place}");
        for (path, verdict) in [("/vid1/720p/s.ts", Ok(())), ("/vid10/s.ts", Err(Denial::Path)), ("/vid2/s.ts", Err(Denial::Path))] {
            let mut asked = good.clone();
            asked.path = path.into();
            assert_eq!(asked.verdict(&scheme), verdict, "{place} {path}");
        }
    }
    let cookie = signed(&scheme("cookie"), |r| r.scope = Some("/vid1/".into()));
    let value = cookie.headers[0].1.clone();
    let with = |value: &str| Asked::url(URL).header("cookie", value).verdict(&scheme("cookie"));
    assert_eq!(with(&value), Ok(()));
    assert_eq!(with(&format!("{value}; {value}")), Err(Denial::Duplicate));
    assert_eq!(with(&value.replace(":Expires", ":x=1:Expires")), Err(Denial::Malformed));
    assert_eq!(with(&format!("{value}:x=1")), Err(Denial::Malformed));
    let mut both = signed(&scheme("query"), |_| ());
    both.headers = cookie.headers;
    assert_eq!(both.verdict(&scheme("query")), Err(Denial::Ambiguous));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn readers_never_panic(text in "[updc]\n\\PC{0,20}\n((URLPrefix|Expires|KeyName)=|[:&?/]|\\PC){0,12}", other in "\\PC*") {
        for text in [text, other] {
            if let Ok(read) = SignedRequest::parse(&text) {
                let _ = read.grant(0);
            }
        }
    }
}
