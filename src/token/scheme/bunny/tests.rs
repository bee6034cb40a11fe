//! Bunny: three generations, both places, bindings and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::scheme::testing::{Asked, NOW, secrets, to_sign};

const URL: &str = "https://zone.example/v/vid1/a.mp4";

fn scheme(sign_as: &str, sign_into: &str) -> Bunny {
    let config: Config = serde_json::from_value(json!({ "keys": "k", "sign_as": sign_as, "sign_into": sign_into })).expect("config");
    Bunny::new(&config, secrets(&[("new", b"SecurityKey-1234"), ("old", b"SecurityKey-0000")])).expect("scheme")
}

fn signed(scheme: &Bunny, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

#[test]
fn every_generation_and_place_comes_back() {
    for generation in ["hs256", "sha256", "md5"] {
        for place in ["query", "path"] {
            let scheme = scheme(generation, place);
            for ip in [None, Some("198.51.100.7"), Some("2001:db8:1:2::9")] {
                let mut asked = signed(&scheme, |r| (r.client_ip, r.key_id) = (ip.map(|ip| ip.parse().expect("ip")), Some("old".into())));
                if let Some(ip) = ip {
                    asked = asked.from(ip);
                }
                let (grant, upstream) = asked.of(&scheme).unwrap_or_else(|denial| panic!("{generation} {place} {ip:?} {denial}"));
                assert_eq!((upstream.as_str(), grant.key_id.as_deref()), ("/v/vid1/a.mp4", Some("old")));
                assert_eq!(asked.clone().at(NOW + 3599).verdict(&scheme), Ok(()));
                assert_eq!(asked.clone().at(NOW + 3600).verdict(&scheme), Err(Denial::Expired));
                if ip.is_some() {
                    assert_eq!(asked.clone().from("203.0.113.9").verdict(&scheme), Err(Denial::BadSignature));
                }
                asked.path = asked.path.replace("a.mp4", "b.mp4");
                assert_eq!(asked.verdict(&scheme), Err(Denial::BadSignature));
            }
        }
    }
}

#[test]
fn an_ipv6_viewer_is_bound_by_64_bits() {
    let scheme = scheme("hs256", "query");
    let asked = signed(&scheme, |r| r.client_ip = "2001:db8:1:2::9".parse().ok());
    assert_eq!(asked.clone().from("2001:db8:1:2:ffff::1").verdict(&scheme), Ok(()));
    assert_eq!(asked.from("2001:db8:1:3::9").verdict(&scheme), Err(Denial::BadSignature));
}

#[test]
fn token_paths_stop_at_segments() {
    for place in ["query", "path"] {
        for (scope, path, verdict) in [
            ("/v/vid1/", "/v/vid1/720p/s.ts", Ok(())),
            ("/v/vid1", "/v/vid1/s.ts", Ok(())),
            ("/v/vid1", "/v/vid10/s.ts", Err(Denial::Path)),
            ("/v/vid1/", "/v/vid2/s.ts", Err(Denial::Path)),
        ] {
            let scheme = scheme("hs256", place);
            let mut asked = signed(&scheme, |r| r.scope = Some(scope.into()));
            asked.path = asked.path.replace("/v/vid1/a.mp4", path);
            assert_eq!(asked.of(&scheme).map(|(_, upstream)| assert_eq!(upstream, path)), verdict, "{place} {scope} {path}");
        }
    }
}

#[test]
fn parameters_are_signed_or_ignored_as_a_whole() {
    let scheme = scheme("hs256", "query");
    let good = signed(&scheme, |r| r.query = Some("width=500&class=b%20c&empty".into()));
    assert_eq!(good.of(&scheme).expect("allowed").1, "/v/vid1/a.mp4?width=500&class=b%20c&empty");
    let with = |asked: &Asked, more: &str| {
        let mut asked = asked.clone();
        asked.query.as_mut().expect("query").push_str(more);
        asked.of(&scheme).map(|(_, upstream)| upstream)
    };
    assert_eq!(with(&good, "&x=1"), Err(Denial::BadSignature));
    assert_eq!(with(&good, "&width=1"), Err(Denial::Duplicate));
    assert_eq!(with(&good, "&%77idth=500"), Err(Denial::Duplicate));
    assert_eq!(with(&good, "&token=x"), Err(Denial::Duplicate));
    assert_eq!(with(&good, "&1=x"), Err(Denial::Malformed));
    let free = signed(&scheme, |r| drop(r.claims.insert("token_ignore_params".into(), true.into())));
    assert_eq!(with(&free, "&x=1&limit=1").as_deref(), Ok("/v/vid1/a.mp4?x=1"));
    let mut both = free;
    both.path = format!("/bcdn_token=x{}", both.path);
    assert_eq!(both.verdict(&scheme), Err(Denial::Ambiguous));
    let mut outside = signed(&self::scheme("hs256", "path"), |_| ());
    outside.query = Some("x=1".into());
    assert_eq!(outside.verdict(&scheme), Err(Denial::BadSignature));
}

#[test]
fn countries_and_pace_are_carried() {
    let scheme = scheme("hs256", "query");
    let claim = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        signed(&scheme, move |r| drop(r.claims.insert(name, value.into())))
    };
    assert_eq!(claim("token_countries", "SE,NO").verdict(&scheme), Ok(()));
    assert_eq!(claim("token_countries", "US").verdict(&scheme), Err(Denial::Country));
    assert_eq!(claim("token_countries_blocked", "RU,US").verdict(&scheme), Ok(()));
    assert_eq!(claim("token_countries_blocked", "SE").verdict(&scheme), Err(Denial::Country));
    let mut unknown = claim("token_countries_blocked", "RU");
    unknown.country = None;
    assert_eq!(unknown.verdict(&scheme), Err(Denial::Country));
    assert_eq!(claim("limit", "500").of(&scheme).expect("allowed").0.pace, Some(500_000));
}

#[test]
fn an_expiry_cannot_borrow_digits() {
    let scheme = scheme("hs256", "query");
    let mut asked = signed(&scheme, |r| (r.path, r.scope) = ("/seg1".into(), None));
    asked.path = "/seg".into();
    let query = asked.query.clone().expect("query");
    asked.query = Some(query.replace("expires=", "expires=1"));
    assert_eq!(asked.verdict(&scheme), Err(Denial::Malformed));
}

#[test]
fn a_parameter_cannot_swallow_the_next_one() {
    let scheme = scheme("hs256", "query");
    let mut asked = signed(&scheme, |r| {
        r.query = Some("a=1".into());
        r.claims.insert("token_countries".into(), "US".into());
    });
    assert_eq!(asked.verdict(&scheme), Err(Denial::Country));
    let query = asked.query.clone().expect("query");
    asked.query = Some(query.replace("&token_countries=US", "").replace("a=1", "a=1%26token_countries%3DUS"));
    assert_eq!(asked.verdict(&scheme), Err(Denial::Malformed));
}

#[test]
fn what_vouches_for_nothing_is_refused() {
    let scheme = scheme("md5", "query");
    let mut asked = signed(&scheme, |_| ());
    let query = asked.query.clone().expect("query");
    asked.query = Some(format!("{query}&width=1"));
    assert_eq!(asked.verdict(&scheme), Ok(()));
    asked.query = Some(format!("{query}&token_path=/"));
    assert_eq!(asked.verdict(&scheme), Err(Denial::Malformed));
    let mac = Hash::Sha256.mac(b"SecurityKey-1234", &[b"/v/vid1/a.mp41760003600token_new=x"]);
    let unknown = Asked::url(&format!("{URL}?token=HS256-{}&token_new=x&expires=1760003600", URL_SAFE_NO_PAD.encode(mac)));
    assert_eq!(unknown.verdict(&scheme), Err(Denial::Unsupported));
    let mut strict = self::scheme("hs256", "query");
    strict.config.generations = vec![Generation::Hs256];
    asked.query = Some(query);
    assert_eq!(asked.verdict(&strict), Err(Denial::WrongAlgorithm));
}

#[test]
fn second_generation_signers_may_put_the_address_last() {
    let scheme = scheme("sha256", "query");
    for signed in ["/v/vid1/a.mp41760003600198.51.100.7a=b", "/v/vid1/a.mp41760003600a=b198.51.100.7"] {
        let digest = Hash::Sha256.of(&[b"SecurityKey-1234", signed.as_bytes()]);
        let asked = Asked::url(&format!("{URL}?token={}&a=b&expires=1760003600", URL_SAFE_NO_PAD.encode(digest)));
        assert_eq!(asked.verdict(&scheme), Ok(()), "{signed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn signed_bytes_have_one_split(path in "/[a-z0-9]{0,6}", expires in "[1-9][0-9]{9}", data in "([a-z][a-z0-9]{0,2}=[0-9]{0,12}(&[d-z]=[0-9]{1,3})?)?") {
        let signed = format!("{path}{expires}{data}");
        let mut readings = Vec::new();
        for at in 1..=signed.len() - 10 {
            let (expires, data) = (&signed[at..at + 10], &signed[at + 10..]);
            let text = format!("token=HS256-{}&expires={expires}&{data}", "A".repeat(43));
            // A path that spells another path, an expiry and a parameter's name cannot be told apart.
            let spelt_out = signed[..at].len() > path.len() + 10;
            if let Ok(token) = Token::parse(&text)
                && token.data() == data
                && !spelt_out
            {
                readings.push(at);
            }
        }
        let plain = data.split('&').map(|pair| pair.split('=').next()).collect::<Vec<_>>();
        let sorted = plain.windows(2).all(|two| two[0] < two[1]);
        prop_assert_eq!(readings, if sorted { vec![path.len()] } else { Vec::new() });
    }

    #[test]
    fn readers_never_panic_and_texts_come_back(text in "(token=HS256-|token|expires|=1760003600|=[A-Za-z0-9_-]{43}|[a-z]{1,3}=|&|%2F|\\PC){0,10}") {
        if let Ok(token) = Token::parse(&text) {
            let again = Token::parse(&token.text());
            prop_assert_eq!(again.as_ref(), Ok(&token));
            let _ = token.grant(0);
        }
    }
}
