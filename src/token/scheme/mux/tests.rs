//! Mux: each rule as a table, and what its SDK makes.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::token::carrier::target;
use crate::token::scheme::testkit::{self, NOW, Request, decide, rsa, source, token};

const ID: &str = "qIJBpE00qhcN2iV02Wz";

fn scheme(config: Value) -> Mux {
    let config: Config = serde_json::from_value(config).expect("config");
    Mux::new(&config, source(vec![rsa(Some("k1")), testkit::other_rsa(Some("k2"))])).expect("scheme")
}

fn restricted() -> Value {
    json!({"keys": "k", "restrictions": {
        "pages": {"referrer": {"allowed_domains": ["*.example.com", "Shop.test"], "allow_no_referrer": false}},
        "bare": {"referrer": {"allowed_domains": ["*"], "allow_no_referrer": true}},
        "agents": {
            "referrer": {"allow_no_referrer": true},
            "user_agent": {"allow_no_user_agent": false, "allow_high_risk_user_agent": false},
        },
    }})
}

fn route() -> std::sync::Arc<dyn Scheme> {
    testkit::route(scheme(restricted()))
}

fn claims(over: Value) -> Value {
    let mut claims = testkit::object(json!({"sub": ID, "aud": "v", "kid": "k1", "exp": NOW + 3600}));
    for (name, value) in testkit::object(over) {
        if value.is_null() {
            claims.remove(&name)
        } else {
            claims.insert(name, value)
        };
    }
    Value::Object(claims)
}

fn url(path: &str, over: Value) -> String {
    format!("{path}?token={}", token(&rsa(Some("k1")), json!({"typ": "JWT"}), claims(over)))
}

fn judge(path: &str, over: Value) -> Result<(), Denial> {
    decide(&route(), &Request::get(&url(path, over)), NOW).map(|_| ())
}

#[test]
fn kinds_go_with_paths() {
    let paths = [
        ("v", vec![format!("/{ID}.m3u8"), format!("/{ID}/high.mp4"), format!("/{ID}/rendition.m3u8")]),
        ("t", vec![format!("/{ID}/thumbnail.png"), format!("/{ID}/thumbnail.webp")]),
        ("g", vec![format!("/{ID}/animated.gif"), format!("/{ID}/animated.webp")]),
        ("s", vec![format!("/{ID}/storyboard.vtt"), format!("/{ID}/storyboard.jpg")]),
        ("d", vec![format!("/license/widevine/{ID}")]),
        ("playback_id", vec!["/counts".to_owned()]),
    ];
    for (aud, _) in &paths {
        for (kind, of_kind) in &paths {
            for path in of_kind {
                let expected = if aud == kind { Ok(()) } else { Err(Denial::Audience) };
                assert_eq!(judge(path, json!({"aud": aud})), expected, "{aud} {path}");
            }
        }
    }
    assert_eq!(judge("/counts", json!({"aud": "asset_id", "sub": "asset123"})), Ok(()));
}

#[test]
fn claims_decide() {
    let master = format!("/{ID}.m3u8");
    for (over, verdict) in [
        (json!({}), Ok(())),
        (json!({"aud": ["v"]}), Ok(())),
        (json!({"aud": ["v", "t"]}), Err(Denial::Audience)),
        (json!({"aud": "x"}), Err(Denial::Audience)),
        (json!({"aud": null}), Err(Denial::Claim)),
        (json!({"aud": 1}), Err(Denial::Claim)),
        (json!({"sub": "other"}), Err(Denial::Path)),
        (json!({"sub": null}), Err(Denial::Claim)),
        (json!({"exp": null}), Err(Denial::NoExpiry)),
        (json!({"exp": NOW}), Err(Denial::Expired)),
        (json!({"exp": (NOW + 9).to_string()}), Err(Denial::Claim)),
        (json!({"nbf": NOW + 1}), Err(Denial::NotYetValid)),
        (json!({"kid": null}), Err(Denial::UnknownKey)),
        (json!({"kid": "k2"}), Err(Denial::BadSignature)),
        (json!({"width": 640, "time": "10", "flip": true}), Ok(())),
        (json!({"width": [640]}), Err(Denial::Claim)),
        (json!({"token": "x"}), Err(Denial::Claim)),
        (json!({"playback_restriction_id": "unheard-of"}), Err(Denial::Claim)),
        (json!({"playback_restriction_id": 1}), Err(Denial::Claim)),
    ] {
        assert_eq!(judge(&master, over.clone()), verdict, "{over}");
    }
    assert_eq!(judge("/other.m3u8", json!({})), Err(Denial::Path));
    assert_eq!(judge(&format!("/{ID}x.m3u8"), json!({})), Err(Denial::Path));
}

#[test]
fn the_key_id_may_stand_in_the_header() {
    for (header, over, verdict) in [
        (json!({"kid": "k1"}), json!({"kid": null}), Ok(())),
        (json!({"kid": "k1"}), json!({}), Ok(())),
        (json!({"kid": "k2"}), json!({}), Err(Denial::UnknownKey)),
    ] {
        let token = token(&rsa(Some("k1")), header.clone(), claims(over));
        let request = Request::get(&format!("/{ID}.m3u8?token={token}"));
        assert_eq!(decide(&route(), &request, NOW).map(|_| ()), verdict, "{header}");
    }
}

#[test]
fn parameters_stand_in_the_token() {
    for (more, verdict) in [
        ("&CMCD=sid%3D%22x%22", Ok(())),
        ("&_HLS_msn=1&_HLS_part=2&_HLS_skip=YES", Ok(())),
        ("&width=2000", Err(Denial::Parameters)),
        ("&wid%74h=2000", Err(Denial::Parameters)),
        ("&%ff=1", Err(Denial::Parameters)),
        ("&x", Err(Denial::Parameters)),
        ("&token=other", Err(Denial::Duplicate)),
    ] {
        let request = Request::get(&(url(&format!("/{ID}/thumbnail.png"), json!({"aud": "t"})) + more));
        assert_eq!(decide(&route(), &request, NOW).map(|_| ()), verdict, "{more}");
    }
    assert_eq!(decide(&route(), &Request::get(&format!("/{ID}.m3u8")), NOW).err(), Some(Denial::Missing));
}

#[test]
fn parameters_of_the_token_go_on() {
    let request = Request::get(&(url(&format!("/{ID}/thumbnail.png"), json!({"aud": "t", "width": 640, "time": "10 s"})) + "&CMCD=x"));
    let verdict = decide(&route(), &request, NOW).expect("allowed");
    let upstream = target(&request.facts(), &verdict.strip, &verdict.grant);
    assert_eq!(upstream, (format!("/{ID}/thumbnail.png"), Some("CMCD=x&time=10%20s&width=640".into())));
}

#[test]
fn restrictions_are_kept() {
    let referrer = Err(Denial::Referrer);
    for (id, header, verdict) in [
        ("pages", Some(("referer", "https://shop.example.com/x")), Ok(())),
        ("pages", Some(("referer", "https://SHOP.test/")), Ok(())),
        ("pages", Some(("referer", "https://example.com/")), referrer),
        ("pages", Some(("referer", "https://shop.example.com.evil.test/")), referrer),
        ("pages", Some(("referer", "https://evil.test/shop.example.com")), referrer),
        ("pages", Some(("referer", "https://shop.example.com@evil.test/")), referrer),
        ("pages", Some(("referer", "shop.example.com")), referrer),
        ("pages", Some(("referer", "")), referrer),
        ("pages", None, referrer),
        ("bare", None, Ok(())),
        ("bare", Some(("referer", "https://anywhere.test/")), Ok(())),
        ("agents", None, Err(Denial::UserAgent)),
        ("agents", Some(("user-agent", "Mozilla/5.0")), Ok(())),
        ("agents", Some(("user-agent", "Curl/8.0")), Err(Denial::UserAgent)),
    ] {
        let mut request = Request::get(&url(&format!("/{ID}.m3u8"), json!({"playback_restriction_id": id})));
        if let Some((name, value)) = header {
            request = request.with(name, value);
        }
        assert_eq!(decide(&route(), &request, NOW).map(|_| ()), verdict, "{id} {header:?}");
    }
}

fn request_to_sign(path: &str, query: Option<&str>) -> SignRequest {
    SignRequest { path: path.into(), query: query.map(Into::into), expires: Some(UnixTime(NOW + 60)), ..SignRequest::default() }
}

#[test]
fn signed_urls_are_taken_back() {
    for (path, query, aud) in [
        (format!("/{ID}.m3u8"), None, "v"),
        (format!("/{ID}/thumbnail.png"), Some("width=640&CMCD=x"), "t"),
        (format!("/{ID}/animated.gif"), None, "g"),
        (format!("/{ID}/storyboard.vtt"), None, "s"),
        (format!("/license/widevine/{ID}"), None, "d"),
    ] {
        let signed = scheme(restricted()).sign(&request_to_sign(&path, query)).expect("signs");
        let request = Request::get(&format!("{}?{}", signed.path, signed.query.expect("query")));
        let verdict = decide(&route(), &request, NOW).unwrap_or_else(|denial| panic!("{path}: {denial}"));
        assert_eq!((verdict.grant.kind.as_deref(), verdict.grant.resource.as_deref()), (Some(aud), Some(ID)));
        let width = query.map(|_| ("width".to_owned(), "640".to_owned()));
        assert_eq!(verdict.grant.upstream_query, width.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_cannot_be_said_is_not_signed() {
    let good = || request_to_sign(&format!("/{ID}.m3u8"), None);
    for (what, request) in [
        ("no expiry", SignRequest { expires: None, ..good() }),
        ("no id", SignRequest { path: "/".into(), ..good() }),
        ("other aud", SignRequest { claims: testkit::object(json!({"aud": "t"})), ..good() }),
        ("other sub", SignRequest { claims: testkit::object(json!({"sub": "x"})), ..good() }),
        ("counts without sub", SignRequest { path: "/counts".into(), ..good() }),
        ("subject", SignRequest { subject: Some("me".into()), ..good() }),
        ("scope", SignRequest { scope: Some("/".into()), ..good() }),
        ("restriction", SignRequest { claims: testkit::object(json!({"playback_restriction_id": "x"})), ..good() }),
    ] {
        assert!(matches!(scheme(restricted()).sign(&request), Err(SignError::CannotExpress(_))), "{what}");
    }
}

#[test]
fn the_sdks_own_tokens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/vectors/mux_playback.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let file: Value = serde_json::from_slice(&text).expect("json");
    let pem = file["private_key_pem_test_only"].as_str().expect("pem");
    use base64::Engine as _;
    let handed_out = base64::engine::general_purpose::STANDARD.encode(pem);
    let config: Config =
        serde_json::from_value(json!({"keys": "k", "restrictions": {"uP6cf00": {"referrer": {"allow_no_referrer": true}}}}))
            .expect("config");
    for text in [pem, &handed_out] {
        let keys = crate::token::KeySet::parse(text.as_bytes(), Some("muxkid01"), None).expect("key");
        let route = testkit::route(Mux::new(&config, KeySource::new(keys)).expect("scheme"));
        let single = file["vectors"].as_array().expect("vectors").iter().filter(|case| case["token"].is_string());
        let several =
            file["vectors"].as_array().expect("vectors").iter().filter_map(|case| case["tokens"].as_object()).flat_map(Map::values);
        for case in single.chain(several) {
            let id = case["payload"]["sub"].as_str().expect("sub");
            let path = match case["payload"]["aud"].as_str().expect("aud") {
                "v" => format!("/{id}.m3u8"),
                "t" => format!("/{id}/thumbnail.jpg"),
                "g" => format!("/{id}/animated.gif"),
                "s" => format!("/{id}/storyboard.jpg"),
                "d" => format!("/license/fairplay/{id}"),
                _ => "/counts".into(),
            };
            let request = Request::get(&format!("{path}?token={}", case["token"].as_str().expect("token")));
            let end = case["payload"]["exp"].as_i64().expect("exp");
            assert!(decide(&route, &request, end - 1).is_ok(), "{case}");
            assert_eq!(decide(&route, &request, end).err(), Some(Denial::Expired), "{case}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn judging_never_panics(path in "/[a-zA-Z0-9./_;-]{0,30}", query in "(token=[a-zA-Z0-9._%+-]{0,40}&?|[a-z%]{0,5}=?){0,3}") {
        if crate::path::CleanPath::parse(&path).is_ok() {
            let _ = decide(&route(), &Request::get(&format!("{path}?{query}")), NOW);
        }
    }
}
