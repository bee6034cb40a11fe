//! JWTs of the operator's own: carriers, claims and their mapping, as tables.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::token::scheme::testkit::{self, NOW, Request, decide, rsa, secret, source, token};
use crate::token::{Scope, SessionTerms, Strip};

fn scheme(config: Value) -> Jwt {
    let mut all = testkit::object(json!({"keys": "k"}));
    all.extend(testkit::object(config));
    let config: Config = serde_json::from_value(Value::Object(all)).expect("config");
    Jwt::new(&config, source(vec![secret(Some("h")), rsa(Some("r"))])).expect("scheme")
}

fn fault(config: Value) -> String {
    let config = serde_json::from_value::<Config>(config).map_err(|e| e.to_string());
    config.and_then(|config| Jwt::new(&config, source(vec![secret(None)])).map(|_| ())).expect_err("a fault")
}

fn good(over: Value) -> String {
    let mut claims = testkit::object(json!({"sub": "me", "exp": NOW + 60}));
    for (name, value) in testkit::object(over) {
        if value == json!("-") {
            claims.remove(&name)
        } else {
            claims.insert(name, value)
        };
    }
    token(&secret(Some("h")), json!({"kid": "h", "typ": "JWT"}), Value::Object(claims))
}

fn judge(config: Value, target: &str, over: Value) -> Result<(), Denial> {
    let scheme = testkit::route(scheme(config));
    decide(&scheme, &Request::get(target).with("authorization", &format!("bearer {}", good(over))), NOW).map(|_| ())
}

#[test]
fn carriers_are_searched() {
    let (one, two) = (good(json!({})), good(json!({"sub": "you"})));
    let everywhere = json!({"carriers": [
        {"query": "token"}, {"header": "authorization"}, {"cookie": "c"}, {"path_parameter": "p"}, "path-segment", {"path_prefix": "t="},
    ]});
    for (config, request, verdict) in [
        (json!({}), Request::get(&format!("/a?token={one}")), Ok(1)),
        (json!({}), Request::get("/a").with("authorization", &format!("Bearer {one}")), Ok(1)),
        (json!({}), Request::get(&format!("/a?token={one}")).with("authorization", &format!("Bearer {one}")), Ok(2)),
        (json!({}), Request::get(&format!("/a?token={one}")).with("authorization", &format!("Bearer {two}")), Err(Denial::Ambiguous)),
        (json!({}), Request::get(&format!("/a?token={one}&token={one}")), Err(Denial::Duplicate)),
        (json!({}), Request::get("/a").with("authorization", "Basic eDp5"), Err(Denial::Missing)),
        (json!({}), Request::get("/a?token="), Err(Denial::Missing)),
        (json!({}), Request::get(&format!("/{one}/a")), Err(Denial::Missing)),
        (everywhere.clone(), Request::get(&format!("/{one}/a")), Ok(1)),
        (everywhere.clone(), Request::get(&format!("/t={one}/a")), Ok(1)),
        (everywhere.clone(), Request::get(&format!("/a;p={one}/b")), Ok(1)),
        (everywhere.clone(), Request::get("/a").with("cookie", &format!("x=y; c={one}")), Ok(1)),
        (everywhere.clone(), Request::get(&format!("/a?token={two}")).with("cookie", &format!("c={one}")), Err(Denial::Ambiguous)),
        (everywhere, Request::get(&format!("/a.b.c/d?token={one}")), Ok(1)),
    ] {
        let verdict_now = decide(&testkit::route(scheme(config)), &request, NOW).map(|judged| judged.strip.len());
        assert_eq!(verdict_now, verdict, "{:?} {:?}", request.facts().path, request.headers);
    }
}

#[test]
fn claims_decide() {
    let strict = || json!({"issuers": ["a", "b"], "audiences": ["x", "y"], "max_lifetime": "1h"});
    let full = |over: Value| {
        let mut claims = testkit::object(json!({"iss": "b", "aud": ["z", "y"], "iat": NOW}));
        claims.extend(testkit::object(over));
        Value::Object(claims)
    };
    for (config, over, verdict) in [
        (json!({}), json!({}), Ok(())),
        (json!({}), json!({"aud": "anyone"}), Ok(())),
        (json!({}), json!({"exp": "-"}), Err(Denial::NoExpiry)),
        (json!({"require_expiry": false}), json!({"exp": "-"}), Ok(())),
        (json!({}), json!({"exp": NOW}), Err(Denial::Expired)),
        (json!({"leeway": "1s"}), json!({"exp": NOW}), Ok(())),
        (json!({}), json!({"exp": (NOW + 1).to_string()}), Err(Denial::Claim)),
        (json!({}), json!({"nbf": NOW + 1}), Err(Denial::NotYetValid)),
        (json!({}), json!({"nbf": null}), Err(Denial::Claim)),
        (json!({}), json!({"sub": 7}), Err(Denial::Claim)),
        (json!({}), json!({"sub": "-"}), Ok(())),
        (json!({}), json!({"jti": 7}), Err(Denial::Claim)),
        (strict(), full(json!({})), Ok(())),
        (strict(), full(json!({"aud": "x"})), Ok(())),
        (strict(), full(json!({"aud": "z"})), Err(Denial::Audience)),
        (strict(), full(json!({"aud": []})), Err(Denial::Audience)),
        (strict(), full(json!({"aud": "-"})), Err(Denial::Audience)),
        (strict(), full(json!({"aud": 1})), Err(Denial::Claim)),
        (strict(), full(json!({"iss": "c"})), Err(Denial::Issuer)),
        (strict(), full(json!({"iss": "-"})), Err(Denial::Issuer)),
        (strict(), full(json!({"iss": ["a"]})), Err(Denial::Claim)),
        (strict(), full(json!({"iat": NOW - 3541})), Err(Denial::Lifetime)),
        (strict(), full(json!({"iat": "-"})), Err(Denial::Lifetime)),
        (json!({"typ": "jwt"}), json!({}), Ok(())),
        (json!({"typ": "application/JWT"}), json!({}), Ok(())),
        (json!({"typ": "at+jwt"}), json!({}), Err(Denial::Unsupported)),
    ] {
        assert_eq!(judge(config.clone(), "/a", over.clone()), verdict, "{config} {over}");
    }
}

#[test]
fn mapped_claims_restrict() {
    let paths = json!({"claims": {"paths": "video.paths"}});
    let rest = json!({"claims": {"networks": "https://example.com/ip", "countries": "geo", "methods": "m", "hosts": "h"}});
    for (config, target, over, verdict) in [
        (&paths, "/v/a", json!({"video": {"paths": ["/v"]}}), Ok(())),
        (&paths, "/v/a", json!({"video": {"paths": "/v/a"}}), Ok(())),
        (&paths, "/v/ab", json!({"video": {"paths": "/v/a"}}), Err(Denial::Path)),
        (&paths, "/v/a/x.ts", json!({"video": {"paths": ["/x", "/v/*/*.ts"]}}), Ok(())),
        (&paths, "/v/a/b/x.ts", json!({"video": {"paths": ["/v/*/*.ts"]}}), Err(Denial::Path)),
        (&paths, "/v/a", json!({"video": {"paths": []}}), Err(Denial::Path)),
        (&paths, "/v/a", json!({"video": {"paths": ["v"]}}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({"video": {"paths": [7]}}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({"video": {"paths": null}}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({"video": 7}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({"video": {}}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({}), Err(Denial::Claim)),
        (&paths, "/v/a", json!({"video.paths": "/v"}), Ok(())),
        (&rest, "/a", json!({}), Ok(())),
        (&rest, "/a", json!({"https://example.com/ip": "198.51.100.0/24"}), Ok(())),
        (&rest, "/a", json!({"https://example.com/ip": ["203.0.113.1"]}), Err(Denial::Address)),
        (&rest, "/a", json!({"https://example.com/ip": "here"}), Err(Denial::Claim)),
        (&rest, "/a", json!({"geo": "se"}), Ok(())),
        (&rest, "/a", json!({"geo": ["US"]}), Err(Denial::Country)),
        (&rest, "/a", json!({"geo": null}), Err(Denial::Claim)),
        (&rest, "/a", json!({"m": ["get"]}), Ok(())),
        (&rest, "/a", json!({"m": "POST"}), Err(Denial::Method)),
        (&rest, "/a", json!({"h": "*.EXAMPLE.com"}), Ok(())),
        (&rest, "/a", json!({"h": []}), Err(Denial::Host)),
    ] {
        assert_eq!(judge(config.clone(), target, over.clone()), verdict, "{config} {over}");
    }
}

#[test]
fn terms_are_read() {
    let config = json!({"claims": {"subject": "user.id", "concurrent": "n", "total": "t", "session_seconds": "s", "resource": "asset", "device": "dev.id"}});
    let scheme = testkit::route(scheme(config.clone()));
    let token = good(json!({"user": {"id": "u7"}, "n": 2, "t": 9, "s": 3600, "asset": "film", "jti": "j", "dev": {"id": "tv"}}));
    let grant = decide(&scheme, &Request::get(&format!("/a?token={token}")), NOW).expect("allowed").grant;
    assert_eq!((grant.subject.as_deref(), grant.resource.as_deref(), grant.token_id.as_deref()), (Some("u7"), Some("film"), Some("j")));
    assert_eq!(grant.device.as_deref(), Some("tv"));
    assert_eq!(grant.session, SessionTerms { concurrent: Some(2), total: Some(9), seconds: Some(3600), once: false });
    assert!(matches!(grant.scope, Scope::Route));
    for bad in [json!(-1), json!(1.5), json!("2"), json!(null), json!(4_294_967_296_u64)] {
        assert_eq!(judge(config.clone(), "/a", json!({"n": bad.clone()})), Err(Denial::Claim), "{bad}");
    }
}

#[test]
fn upload_terms_are_read() {
    let config = json!({"claims": {"upload_bytes": "up.max", "upload_types": "up.types"}});
    let scheme = testkit::route(scheme(config.clone()));
    let token = good(json!({"up": {"max": 5_000_000_000_u64, "types": "video/*"}}));
    let grant = decide(&scheme, &Request::get(&format!("/a?token={token}")), NOW).expect("allowed").grant;
    assert_eq!((grant.upload.bytes, grant.upload.content_types), (Some(5_000_000_000), vec!["video/*".to_owned()]));
    assert_eq!(judge(config, "/a", json!({"up": {"max": "many"}})), Err(Denial::Claim));
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    for config in [
        json!({"keys": "k", "carriers": []}),
        json!({"keys": "k", "carriers": [{}]}),
        json!({"keys": "k", "claims": {"paths": ""}}),
        json!({"keys": "k", "claims": {"paths": "a..b"}}),
        json!({"keys": "k", "claims": {"path": "a"}}),
        json!({"keys": "k", "issuer": "a"}),
        json!({}),
    ] {
        assert!(!fault(config).is_empty());
    }
    let short = crate::token::Key::secret(None, b"short".to_vec());
    let config: Config = serde_json::from_value(json!({"keys": "k"})).expect("config");
    assert!(Jwt::new(&config, source(vec![short])).expect_err("too short").contains("32 bytes"));
}

fn request_to_sign(path: &str) -> SignRequest {
    SignRequest {
        path: path.into(),
        mount: 2,
        expires: Some(UnixTime(NOW + 60)),
        now: Some(UnixTime(NOW)),
        subject: Some("me".into()),
        ..SignRequest::default()
    }
}

#[test]
fn signed_urls_are_taken_back_from_every_carrier() {
    for (carrier, strip) in [
        (json!({"query": "t"}), Strip::Query("t".into())),
        (json!({"header": "x-t"}), Strip::Header(http::HeaderName::from_static("x-t"))),
        (json!({"cookie": "c"}), Strip::Cookie("c".into())),
        (json!({"path_parameter": "p"}), Strip::PathParameter("p".into())),
        (json!("path-segment"), Strip::Segment(0)),
        (json!({"path_prefix": "t~"}), Strip::Segment(0)),
    ] {
        let scheme = scheme(json!({"carriers": [carrier], "issuers": ["i"], "audiences": ["a"], "max_lifetime": "1m"}));
        let signed = scheme.sign(&request_to_sign("/v/a/b.m3u8")).expect("signs");
        let query = signed.query.map_or(String::new(), |query| format!("?{query}"));
        let mut request = Request::get(&format!("{}{query}", signed.path));
        request.mount = 2;
        for (name, value) in signed.headers {
            request.headers.append(name, value.parse().expect("value"));
        }
        for (name, value) in signed.cookies {
            request = request.with("cookie", &format!("{name}={value}"));
        }
        let judged = decide(&testkit::route(scheme), &request, NOW).expect("allowed");
        assert_eq!(judged.strip, [strip]);
        let upstream = crate::token::carrier::target(&request.facts(), &judged.strip, &judged.grant);
        assert_eq!(upstream, ("/v/a/b.m3u8".into(), None));
        assert_eq!(judged.grant.subject.as_deref(), Some("me"));
    }
}

#[test]
fn what_is_signed_is_bound_as_asked() {
    let scheme = scheme(json!({"claims": {"paths": "video.paths", "networks": "net"}}));
    let asked =
        SignRequest { scope: Some("/v/a".into()), client_ip: Some("198.51.100.7".parse().expect("ip")), ..request_to_sign("/v/a/b") };
    let signed = scheme.sign(&asked).expect("signs");
    let scheme = testkit::route(scheme);
    for (path, ip, verdict) in [
        ("/v/a/b", "198.51.100.7", Ok(())),
        ("/v/a/c", "198.51.100.7", Ok(())),
        ("/v/b", "198.51.100.7", Err(Denial::Path)),
        ("/v/a/b", "198.51.100.8", Err(Denial::Address)),
    ] {
        let request = Request::get(&format!("{path}?token={}", signed.token)).from(ip);
        assert_eq!(decide(&scheme, &request, NOW).map(|_| ()), verdict, "{path} {ip}");
    }
}

#[test]
fn what_cannot_be_said_is_not_signed() {
    let plain = || scheme(json!({}));
    let good = || request_to_sign("/v/a");
    for (what, request) in [
        ("scope", SignRequest { scope: Some("/v".into()), ..good() }),
        ("address", SignRequest { client_ip: Some("198.51.100.7".parse().expect("ip")), ..good() }),
        ("no expiry", SignRequest { expires: None, ..good() }),
        ("other sub", SignRequest { claims: testkit::object(json!({"sub": "you"})), ..good() }),
    ] {
        assert!(matches!(plain().sign(&request), Err(SignError::CannotExpress(_))), "{what}");
    }
}

proptest! {
    #[test]
    fn nothing_is_good_from_its_end_on(end in 1_i64..4_000_000_000, after in 0_i64..1_000_000, leeway in 0_i64..100) {
        let scheme = testkit::route(scheme(json!({"leeway": format!("{leeway}s")})));
        let request = Request::get(&format!("/a?token={}", good(json!({"exp": end}))));
        prop_assert!(decide(&scheme, &request, end + leeway - 1).is_ok());
        prop_assert_eq!(decide(&scheme, &request, end + leeway + after).err(), Some(Denial::Expired));
    }
}
