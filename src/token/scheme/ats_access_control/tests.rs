//! The rules of ATS access tokens.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::path::CleanPath;
use crate::token::KeySet;

const NOW: UnixTime = UnixTime(1_760_000_000);

fn scheme(config: serde_json::Value) -> AtsAccessControl {
    let mut config = config;
    config["keys"] = json!("k");
    let config: Config = serde_json::from_value(config).expect("config");
    AtsAccessControl::new(&config, KeySource::new(KeySet::new(vec![Key::secret(Some("key1"), b"PEIFtmunx9".to_vec())]))).expect("scheme")
}

fn decide(scheme: &AtsAccessControl, token: &str, path: &str, https: bool) -> Result<Grant, Denial> {
    let path = CleanPath::parse(path).expect("clean");
    let mut headers = HeaderMap::new();
    headers.insert("cookie", format!("TokenCookie={token}").parse().expect("header"));
    let facts = RequestFacts {
        https,
        client_ip: "198.51.100.7".parse().expect("address"),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check(&facts, NOW)?;
    scheme.fits(&grant, &facts)?;
    Ok(grant)
}

fn token(pairs: &str) -> String {
    let text = format!("{pairs}&md=");
    let hash = if pairs.contains("SHA-512") { Hash::Sha512 } else { Hash::Sha256 };
    base64::engine::general_purpose::STANDARD.encode(format!("{text}{}", digest::hex(&hash.mac(b"PEIFtmunx9", &[text.as_bytes()]))))
}

#[test]
fn every_field_is_held_to() {
    for (pairs, want) in [
        ("sub=a&exp=1760000000&kid=key1", None),
        ("sub=a&exp=1759999999&kid=key1", Some(Denial::Expired)),
        ("sub=a&exp=1760000060&nbf=1759999999&kid=key1", None),
        ("sub=a&exp=1760000060&nbf=1760000000&kid=key1", Some(Denial::NotYetValid)),
        ("sub=a&exp=1760000060&kid=key1&st=HMAC-SHA-512", None),
        ("sub=a&exp=1760000060&kid=key1&st=HMAC-MD5", Some(Denial::WrongAlgorithm)),
        ("sub=a&exp=1760000060&kid=key9", Some(Denial::UnknownKey)),
        ("sub=a&exp=1760000060", Some(Denial::Malformed)),
        ("exp=1760000060&kid=key1", Some(Denial::Claim)),
        ("sub=&exp=1760000060&kid=key1", Some(Denial::Claim)),
        ("sub=a&kid=key1", Some(Denial::NoExpiry)),
        ("sub=a&exp=0&kid=key1", Some(Denial::NoExpiry)),
        ("sub=a&exp=&kid=key1", Some(Denial::Claim)),
        ("sub=a&exp=+1760000060&kid=key1", Some(Denial::Claim)),
        ("sub=a&exp=1760000060&kid=key1&foo=1", Some(Denial::Unsupported)),
        ("sub=a&exp=1760000060&kid=key1&sub=b", Some(Denial::Duplicate)),
        ("sub=a&exp=1760000060&kid=key1&scope=/vid1", None),
        ("sub=a&exp=1760000060&kid=key1&scope=/vid", Some(Denial::Path)),
        ("sub=a&exp=1760000060&kid=key1&scope=vid1", Some(Denial::Claim)),
    ] {
        assert_eq!(decide(&scheme(json!({})), &token(pairs), "/vid1/a.ts", true).err(), want, "{pairs}");
    }
}

#[test]
fn nothing_follows_the_mac() {
    let text = BASE64.decode(token("sub=a&exp=1760000060&kid=key1")).expect("base64");
    let longer = base64::engine::general_purpose::STANDARD.encode(format!("{}&sub=b", String::from_utf8_lossy(&text)));
    assert_eq!(decide(&scheme(json!({})), &longer, "/", true).err(), Some(Denial::Duplicate));
    let longer = base64::engine::general_purpose::STANDARD.encode(format!("{}&tid=b", String::from_utf8_lossy(&text)));
    assert_eq!(decide(&scheme(json!({})), &longer, "/", true).err(), Some(Denial::Malformed));
}

#[test]
fn tls_and_an_end_are_the_configs_word() {
    let forever = token("sub=a&exp=0&kid=key1");
    assert_eq!(decide(&scheme(json!({})), &token("sub=a&exp=1760000060&kid=key1"), "/", false).err(), Some(Denial::Protocol));
    assert!(decide(&scheme(json!({ "require_expiry": false, "require_https": false })), &forever, "/", false).is_ok());
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(subject in "[a-z=% -]{1,12}", life in 1_i64..1000) {
        let request = SignRequest {
            subject: Some(subject.clone()), expires: Some(NOW.plus(life)), not_before: Some(NOW), scope: Some("/v".into()), ..SignRequest::default()
        };
        let signed = scheme(json!({})).sign(&request).expect("signed");
        let grant = decide(&scheme(json!({})), &signed.token, "/v/x", true).expect("good");
        prop_assert_eq!((grant.subject.as_deref(), grant.window.until, grant.window.from), (Some(&*subject), NOW.plus(life), NOW));
    }

    #[test]
    fn reading_never_panics(text in "[ -~]{0,80}") {
        let _ = Pairs::read(&text);
    }
}
