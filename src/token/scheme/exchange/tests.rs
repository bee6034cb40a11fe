//! Short tokens for long ones: what the long one opens, to whom, and for how long.

use serde_json::{Value, json};

use crate::clock::UnixTime;
use crate::token::scheme::akamai_edgeauth::AkamaiEdgeauth;
use crate::token::scheme::google_media_cdn::GoogleMediaCdn;
use crate::token::scheme::testing::{Asked, NOW, config, ed25519, secrets, to_sign};
use crate::token::{Denial, Due, KeySet, KeySource, Renewed, Scheme, SignError, SignRequest};

const MASTER: &str = "https://media.example.com/v/film/master.m3u8";

fn akamai(exchange: &Value) -> Box<dyn Scheme> {
    let config = config(json!({ "leeway": "0s", "exchange": exchange }));
    Box::new(AkamaiEdgeauth::new(&config, secrets(&[("a", b"akamai")])).expect("scheme"))
}

fn media(exchange: &Value) -> Box<dyn Scheme> {
    let config = config(json!({ "sign_as": "token", "exchange": exchange }));
    Box::new(GoogleMediaCdn::new(&config, KeySource::new(KeySet::new(vec![ed25519("g")]))).expect("scheme"))
}

/// A short token for `url`, good for a minute, from the address of [`Asked`].
fn short(scheme: &dyn Scheme, url: &str) -> Asked {
    let request = SignRequest { expires: Some(UnixTime(NOW + 60)), client_ip: "198.51.100.7".parse().ok(), ..to_sign(url) };
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

fn renewed(scheme: &dyn Scheme, asked: &Asked) -> Result<Option<Renewed>, SignError> {
    asked.with_facts(scheme, |facts| {
        let presented = scheme.present(facts).expect("presented").expect("a token");
        let grant = scheme.open(&presented, facts).expect("good");
        scheme.renew(&Due { grant: &grant, presented: &presented, facts, now: UnixTime(NOW) })
    })
}

#[test]
fn a_short_token_gets_a_long_cookie_for_its_folder() {
    for (scheme, name) in [(akamai(&json!({})), "hdntl"), (media(&json!({})), "Edge-Cache-Cookie")] {
        let entry = short(&*scheme, MASTER);
        assert_eq!(entry.verdict(&*scheme), Ok(()));
        let made = renewed(&*scheme, &entry).expect("made").expect("due");
        assert_eq!((made.cookies.len(), made.redirect.is_none(), made.until), (1, true, UnixTime(NOW + 4 * 3600)), "{name}");
        let (pair, attributes) = made.cookies[0].split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/v/film/; Max-Age=14400; Secure; HttpOnly; SameSite=None");
        assert!(pair.starts_with(&format!("{name}=")), "{pair}");
        let with = |path: &str| Asked::url(&format!("https://media.example.com{path}")).header("cookie", pair);
        for (asked, verdict) in [
            (with("/v/film/1.ts"), Ok(())),
            (with("/v/film/720/1.ts"), Ok(())),
            (with("/v/film2/1.ts"), Err(Denial::Path)),
            (with("/v/film/1.ts").from("203.0.113.9"), Err(Denial::Address)),
            (with("/v/film/1.ts").at(NOW + 14_399), Ok(())),
            (with("/v/film/1.ts").at(NOW + 14_400), Err(Denial::Expired)),
        ] {
            assert_eq!(asked.verdict(&*scheme), verdict, "{name} {}", asked.path);
        }
        // A long token is not exchanged for a longer one.
        assert_eq!(renewed(&*scheme, &with("/v/film/720.m3u8")), Ok(None));
        // The short URL beside the long cookie: whichever ends later speaks, and neither is in the way of the other.
        let both = entry.clone().header("cookie", pair);
        assert_eq!(both.clone().at(NOW + 61).verdict(&*scheme), Ok(()));
        assert_eq!(renewed(&*scheme, &both), Ok(None));
    }
}

#[test]
fn a_long_token_in_the_path_is_inherited() {
    for (scheme, start) in [(akamai(&json!({"into": "path"})), "/hdntl="), (media(&json!({"into": "path"})), "/edge-cache-token=")] {
        let made = renewed(&*scheme, &short(&*scheme, &format!("{MASTER}?q=1"))).expect("made").expect("due");
        let (status, location) = made.redirect.expect("a redirect");
        assert!(status == 302 && location.starts_with(start) && location.ends_with("/v/film/master.m3u8?q=1"), "{location}");
        let asked = |target: &str| Asked::url(&format!("https://media.example.com{target}"));
        assert_eq!(asked(&location).verdict(&*scheme), Ok(()), "{location}");
        assert_eq!(asked(&location.replace("master.m3u8?q=1", "720/1.ts")).of(&*scheme).expect("good").1, "/v/film/720/1.ts");
        assert_eq!(asked(&location.replace("/v/film/", "/v/other/")).verdict(&*scheme), Err(Denial::Path));
        assert_eq!(renewed(&*scheme, &asked(&location)), Ok(None));
    }
}

#[test]
fn not_every_request_is_an_exchange() {
    let root = "https://media.example.com/master.m3u8";
    for scheme in [akamai(&json!({})), media(&json!({}))] {
        assert_eq!(renewed(&*scheme, &short(&*scheme, "https://media.example.com/v/film/poster.jpg")), Ok(None));
        assert!(matches!(renewed(&*scheme, &short(&*scheme, root)), Err(SignError::CannotExpress(_))));
    }
    // Without the table nothing is exchanged, and two tokens are two.
    let plain = AkamaiEdgeauth::new(&config(json!({})), secrets(&[("a", b"akamai")])).expect("scheme");
    assert_eq!(renewed(&plain, &short(&plain, MASTER)), Ok(None));
    let other = short(&*akamai(&json!({})), "https://media.example.com/v/film/a.m3u8");
    let token = other.query.expect("a query").replace("hdnts=", "");
    assert_eq!(short(&plain, MASTER).header("cookie", &format!("hdntl={token}")).verdict(&plain), Err(Denial::Ambiguous));
}

#[test]
fn a_long_token_that_would_not_be_found_is_a_fault() {
    let named = |more: Value| AkamaiEdgeauth::new(&config(more), secrets(&[("a", b"akamai")])).map(|_| ());
    assert!(named(json!({ "exchange": {}, "names": ["hdnts"] })).is_err());
    assert!(named(json!({ "exchange": { "into": "path" }, "places": ["query", "cookie"] })).is_err());
    assert!(named(json!({ "exchange": { "name": "hdnea" } })).is_ok());
}

#[test]
fn a_media_cdn_cookie_has_one_name() {
    let keys = || KeySource::new(KeySet::new(vec![ed25519("g")]));
    let named = |exchange: Value| GoogleMediaCdn::new(&config(json!({ "exchange": exchange })), keys()).map(|_| ());
    assert!(named(json!({ "name": "other" })).is_err());
    assert!(named(json!({ "name": "other", "into": "path" })).is_err());
    assert!(named(json!({ "name": "hdntl", "into": "path" })).is_ok());
}
