//! The rules of ATS URL signatures.

use base64::Engine as _;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::path::CleanPath;

const NOW: UnixTime = UnixTime(1_760_000_000);
const SECRET: &[u8] = b"DTV4Tcn046eM9BzJMeYrYpm3kbqOtBs7";

fn scheme() -> AtsUrlSig {
    let config = serde_json::from_value(json!({ "keys": "k", "exclude": ["/crossdomain\\.xml"] })).expect("config");
    AtsUrlSig::new(&config, KeySource::new(KeySet::new(vec![Key::secret(Some("key3"), SECRET.to_vec())]))).expect("scheme")
}

fn decide(path: &str, query: Option<&str>) -> Result<Grant, Denial> {
    let scheme = scheme();
    let path = CleanPath::parse(path).map_err(|_| Denial::Malformed)?;
    let headers = HeaderMap::new();
    let facts = RequestFacts {
        query,
        client_ip: "198.51.100.7".parse().expect("address"),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check(&facts, NOW)?;
    Ok(grant)
}

fn sealed(covered: &str, before: &str) -> String {
    format!("{before}{}", digest::hex(&Hash::Sha1.mac(SECRET, &[format!("media.example.com{covered}?{before}").as_bytes()])))
}

#[test]
fn fields_are_held_to() {
    for (before, want) in [
        ("E=1760000000&A=1&K=3&P=1&S=", None),
        ("E=1759999999&A=1&K=3&P=1&S=", Some(Denial::Expired)),
        ("x=1&E=1760000000&A=1&K=3&P=1&S=", None),
        ("C=198.51.100.7&E=1760000000&A=1&K=3&P=1&S=", None),
        ("C=198.51.100.8&E=1760000000&A=1&K=3&P=1&S=", Some(Denial::Address)),
        ("C=x&E=1760000000&A=1&K=3&P=1&S=", Some(Denial::Malformed)),
        ("A=1&K=3&P=1&S=", Some(Denial::NoExpiry)),
        ("E=0&A=1&K=3&P=1&S=", Some(Denial::Malformed)),
        ("E=-1&A=1&K=3&P=1&S=", Some(Denial::Malformed)),
        ("E=1760000000&A=3&K=3&P=1&S=", Some(Denial::WrongAlgorithm)),
        ("E=1760000000&A=1&K=03&P=1&S=", Some(Denial::UnknownKey)),
        ("E=1760000000&A=1&K=16&P=1&S=", Some(Denial::UnknownKey)),
        ("E=1760000000&A=1&K=3&P=0&S=", Some(Denial::Malformed)),
        ("E=1760000000&A=1&K=3&P=2&S=", Some(Denial::Malformed)),
        ("E=1760000000&A=1&K=3&P=&S=", Some(Denial::Malformed)),
        ("E=1760000000&E=1760009999&A=1&K=3&P=1&S=", Some(Denial::Duplicate)),
        ("%45=1760000000&A=1&K=3&P=1&S=", Some(Denial::Malformed)),
    ] {
        assert_eq!(decide("/v/a.ts", Some(&sealed("/v/a.ts", before))).err(), want, "{before}");
    }
}

#[test]
fn what_follows_the_signature_is_no_field() {
    let good = sealed("/v/a.ts", "E=1760000000&A=1&K=3&P=1&S=");
    assert!(decide("/v/a.ts", Some(&format!("{good}&x=1"))).is_ok());
    let signed_x = sealed("/v/a.ts", "x=1&E=1760000000&A=1&K=3&P=1&S=");
    assert_eq!(decide("/v/a.ts", Some(&format!("{signed_x}&%78=2"))).err(), Some(Denial::Duplicate));
    assert_eq!(decide("/v/a.ts", Some(&format!("{good}&E=1760009999"))).err(), Some(Denial::Duplicate));
    assert_eq!(decide("/v/a.ts", Some(&format!("{good}&C=198.51.100.7"))).err(), Some(Denial::Malformed));
    assert_eq!(decide("/v/a.ts", Some(&good[..good.len() - 20])).err(), Some(Denial::BadSignature));
    // A name alone is no field, and nothing is cut where its sign would be.
    assert_eq!(decide("/v/a.ts", Some("E=1760000000&A=1&K=3&P=1&S")).err(), Some(Denial::Malformed));
    assert_eq!(decide("/v/a.ts", Some("E=1760000000&A=1&K=3&P=1&S&x=1")).err(), Some(Denial::Malformed));
}

#[test]
fn masks_choose_parts() {
    for (mask, want) in [("1", "h/a/b"), ("01", "a/b"), ("110", "h/a"), ("101", "h/b"), ("10", "h")] {
        assert_eq!(chosen("h", "/a/b", mask).as_deref(), Ok(want), "{mask}");
    }
}

#[test]
fn excluded_paths_are_matched_whole() {
    assert!(decide("/crossdomain.xml", None).is_ok());
    for path in ["/crossdomain.xml/x", "/x/crossdomain.xml", "/crossdomainxxml"] {
        assert_eq!(decide(path, Some("x=/crossdomain.xml")).err(), Some(Denial::Missing), "{path}");
    }
}

#[test]
fn a_path_parameter_covers_its_folder() {
    let before = ";E=1760000000;A=1;K=3;P=1;S=";
    let mac = Hash::Sha1.mac(SECRET, &[format!("media.example.com/v{before}").as_bytes()]);
    let packed = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{before}{}", digest::hex(&mac)));
    assert!(decide(&format!("/v;urlsig={packed}/a.ts"), None).is_ok());
    assert!(decide(&format!("/v;urlsig={packed}/x/b.ts"), Some("y=1")).is_ok());
    assert_eq!(decide(&format!("/w;urlsig={packed}/a.ts"), None).err(), Some(Denial::BadSignature));
    assert_eq!(decide(&format!("/v;urlsig={packed};x/a.ts"), None).err(), Some(Denial::Malformed));
    assert_eq!(decide(&format!("/v;urlsig={packed}/a.ts"), Some("A=1&K=3&S=1")).err(), Some(Denial::Ambiguous));
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(path in "(/[a-z0-9]{1,6}){1,4}", query in proptest::option::of("[a-z]=[0-9]{1,3}"), bound: bool) {
        let request = SignRequest {
            host: "media.example.com".into(),
            path: path.clone(),
            query,
            expires: Some(NOW.plus(60)),
            client_ip: bound.then(|| "198.51.100.7".parse().expect("address")),
            ..SignRequest::default()
        };
        let signed = scheme().sign(&request).expect("signed");
        prop_assert_eq!(decide(&path, signed.query.as_deref()).expect("good").window.until, NOW.plus(60));
        let other = path + "0";
        prop_assert!(decide(&other, signed.query.as_deref()).is_err());
    }

    #[test]
    fn reading_never_panics(query in "\\PC{0,60}", path in "/[a-z;=/0-9]{0,30}") {
        let _ = Fields::read(&query, '&').map(|_| ());
        let _ = decide(&path, Some(&query));
    }
}
