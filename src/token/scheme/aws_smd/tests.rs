//! The rules of Secure Media Delivery.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::KeySet;
use crate::token::access::{Country, FixedGeo};

const NOW: UnixTime = UnixTime(1_760_000_000);
const SECRET: &[u8] = b"short-secret";

fn scheme(config: Value) -> AwsSmd {
    let mut config = config;
    config["keys"] = json!("k");
    let config: Config = serde_json::from_value(config).expect("config");
    AwsSmd::new(&config, KeySource::new(KeySet::new(vec![Key::secret(Some("a"), SECRET.to_vec())]))).expect("scheme")
}

fn decide(url: &str) -> Result<Grant, Denial> {
    let scheme = scheme(json!({ "region_header": "x-region" }));
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let path = CleanPath::parse(path).map_err(|_| Denial::Malformed)?;
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", "vlc".parse().expect("header"));
    let facts = RequestFacts {
        query,
        client_ip: "198.51.100.7".parse().expect("address"),
        geo: &FixedGeo(Country::new("SE")),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check(&facts, NOW)?;
    scheme.fits(&grant, &facts)?;
    Ok(grant)
}

fn token(more: &Value, inner: Option<&str>) -> String {
    let mut claims = json!({ "exp": NOW.0 + 60, "paths": ["/vid1"] });
    for (name, value) in more.as_object().expect("object") {
        claims[name] = value.clone();
    }
    let mac = |text: &str| URL_SAFE_NO_PAD.encode(Hash::Sha256.mac(SECRET, &[text.as_bytes()]));
    if let Some(inner) = inner {
        claims["intsig"] = mac(inner).into();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "kid": "a" })), part(&claims));
    format!("{signed}.{}", mac(&signed))
}

#[test]
fn no_check_is_skipped() {
    for (claims, inner, want) in [
        (json!({}), None, None),
        (json!({ "exp": null }), None, Some(Denial::Claim)),
        (json!({ "exp": NOW.0 }), None, Some(Denial::Expired)),
        (json!({ "paths": ["/vid"] }), None, Some(Denial::Path)),
        (json!({ "paths": [], "exc": ["/vid1/"] }), None, None),
        (json!({ "paths": [], "exc": ["/vid1/"], "ip": true, "ip_ver": 4 }), Some("192.0.2.1"), Some(Denial::Address)),
        (json!({ "ip": true, "ip_ver": 4 }), Some("198.51.100.7"), None),
        (json!({ "ip": true, "ip_ver": 4 }), None, Some(Denial::Claim)),
        (json!({ "ip": true, "ip_ver": 6 }), Some("198.51.100.7"), Some(Denial::Address)),
        (json!({ "ip": true, "ip_ver": 5 }), Some("198.51.100.7"), Some(Denial::Claim)),
        (json!({ "ip": true }), Some("198.51.100.7"), Some(Denial::Claim)),
        (json!({ "co": true }), Some("SE"), None),
        (json!({ "co": true }), Some("US"), Some(Denial::Country)),
        (json!({ "ip": true, "ip_ver": 4, "co": true }), Some("198.51.100.7:SE"), None),
        (json!({ "reg": true, "reg_fallback": true }), Some("x"), Some(Denial::Country)),
        (json!({ "cty": true }), Some("x"), Some(Denial::Unsupported)),
        (json!({ "headers": ["user-agent"] }), Some("vlc"), None),
        (json!({ "headers": ["user-agent"] }), Some("curl"), Some(Denial::Header)),
        (json!({ "headers": ["x-absent"] }), Some(""), Some(Denial::Header)),
        (json!({ "qs": ["q"] }), Some("1"), None),
        (json!({ "qs": ["absent"] }), Some(""), Some(Denial::Parameters)),
        (json!({ "ssn": true }), Some("s"), Some(Denial::Claim)),
    ] {
        assert_eq!(decide(&format!("/{}/vid1/a.ts?q=1", token(&claims, inner))).err(), want, "{claims}");
    }
}

#[test]
fn a_session_is_covered_or_refused() {
    let bound = token(&json!({ "ssn": true }), Some("s1"));
    assert_eq!(decide(&format!("/s1.{bound}/vid1/a")).expect("good").token_id.as_deref(), Some("s1"));
    assert_eq!(decide(&format!("/s2.{bound}/vid1/a")).err(), Some(Denial::Claim));
    assert_eq!(decide(&format!("/s1.{}/vid1/a", token(&json!({}), None))).err(), Some(Denial::Malformed));
    assert_eq!(decide(&format!("/{}", token(&json!({}), None))).err(), Some(Denial::Path));
    assert_eq!(decide("/a.b.c/vid1/a").err(), Some(Denial::Missing));
}

#[test]
fn addresses_are_written_in_full() {
    let v6: IpAddr = "2001:db8::1".parse().expect("address");
    assert_eq!(address(v6, 6).as_deref(), Ok("2001:0db8:0000:0000:0000:0000:0000:0001"));
    assert_eq!(address("::ffff:192.0.2.1".parse().expect("address"), 4).as_deref(), Ok("192.0.2.1"));
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(path in "(/[a-z0-9]{1,6}){1,4}", session in proptest::option::of("[a-z0-9]{1,8}"), bound: bool) {
        let mut request = SignRequest {
            path,
            expires: Some(NOW.plus(60)),
            client_ip: bound.then(|| "198.51.100.7".parse().expect("address")),
            ..SignRequest::default()
        };
        request.claims.extend(session.clone().map(|session| ("session".to_owned(), session.into())));
        let signed = scheme(json!({})).sign(&request).expect("signed");
        let grant = decide(&signed.path).expect("good");
        prop_assert_eq!((grant.token_id.as_deref(), grant.window.until), (session.as_deref(), NOW.plus(60)));
        let other = signed.path + "0";
        prop_assert!(decide(&other).is_err());
    }

    #[test]
    fn any_changed_byte_is_refused(at in 0_usize..400, new in "[A-Za-z0-9_.-]") {
        let good = format!("s1.{}", token(&json!({ "ssn": true }), Some("s1")));
        let at = at % good.len();
        let changed = format!("{}{new}{}", &good[..at], &good[at + 1..]);
        let verdict = decide(&["/", &changed, "/vid1/a"].concat());
        prop_assert_eq!(verdict.is_ok(), changed == good);
    }
}
