//! CloudFront: canned and custom policies, hashes and places.

use proptest::prelude::*;

use super::*;
use crate::token::KeySet;
use crate::token::scheme::testing::{Asked, NOW, p256, rsa, to_sign};

const URL: &str = "https://media.example.com/vid1/master.m3u8";

fn scheme(sign_into: Place) -> CloudFront {
    let config = Config { keys: Name::new("k").expect("name"), hashes: both_hashes(), places: both_places(), sign_into };
    CloudFront::new(&config, KeySource::new(KeySet::new(vec![rsa(), p256()]))).expect("scheme")
}

fn signed(scheme: &CloudFront, change: impl FnOnce(&mut SignRequest)) -> Asked {
    let mut request = to_sign(URL);
    change(&mut request);
    Asked::signed(&request, &scheme.sign(&request).expect("signed"))
}

#[test]
fn canned_urls_are_for_one_url() {
    let scheme = scheme(Place::Query);
    for key in ["KRSA", "KEC"] {
        let good = signed(&scheme, |r| (r.key_id, r.query) = (Some(key.into()), Some("a=b".into())));
        let (grant, upstream) = good.of(&scheme).expect("allowed");
        assert_eq!(upstream, "/vid1/master.m3u8?a=b");
        assert_eq!(grant.key_id.as_deref(), Some(key));
        let changed = |change: fn(&mut Asked)| {
            let mut asked = good.clone();
            change(&mut asked);
            asked.verdict(&scheme)
        };
        assert_eq!(changed(|a| a.path = "/vid1/seg1.ts".into()), Err(Denial::BadSignature));
        assert_eq!(changed(|a| a.host = "other.example.com".into()), Err(Denial::BadSignature));
        assert_eq!(changed(|a| a.https = false), Err(Denial::BadSignature));
        assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&x=1")), Err(Denial::BadSignature));
        assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&Expires=1")), Err(Denial::Duplicate));
        assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&Policy=e30_")), Err(Denial::Duplicate));
        assert_eq!(changed(|a| a.query.as_mut().expect("query").push_str("&Hash-Algorithm=SHA1")), Err(Denial::Duplicate));
    }
}

#[test]
fn a_field_cannot_bring_the_url_it_was_signed_for() {
    let scheme = scheme(Place::Query);
    let good = signed(&scheme, |_| ());
    let text = scheme.sign(&to_sign(URL)).expect("signed").token.replace("&Hash", "&hash");
    let inside = query::encode(&format!("{}&Resource={URL}", text.trim_start_matches("Expires=").split("&hash").next().expect("start")));
    let mut asked = good;
    asked.path = "/other.m3u8".into();
    asked.query = Some(format!("Expires={inside}&Key-Pair-Id=KRSA&Signature=AA__&Hash-Algorithm=SHA256"));
    assert_eq!(asked.verdict(&scheme), Err(Denial::Malformed));
}

#[test]
fn both_dates_are_strict() {
    let scheme = scheme(Place::Query);
    let canned = signed(&scheme, |_| ());
    assert_eq!(canned.clone().at(NOW + 3599).verdict(&scheme), Ok(()));
    assert_eq!(canned.at(NOW + 3600).verdict(&scheme), Err(Denial::Expired));
    let custom = signed(&scheme, |r| r.not_before = Some(UnixTime(NOW + 10)));
    assert_eq!(custom.clone().at(NOW + 9).verdict(&scheme), Err(Denial::NotYetValid));
    assert_eq!(custom.at(NOW + 10).verdict(&scheme), Ok(()));
}

#[test]
fn custom_policies_cover_their_resource_and_addresses() {
    let scheme = scheme(Place::Cookies);
    let good = signed(&scheme, |r| (r.scope, r.client_ip) = (Some("/vid1/".into()), Some("198.51.100.7".parse().expect("ip"))));
    let (_, upstream) = good.clone().header("cookie", "other=1").of(&scheme).expect("allowed");
    assert_eq!(upstream, "/vid1/master.m3u8 cookie: other=1");
    for (path, verdict) in [("/vid1/a/b.ts", Ok(())), ("/vid10/a.ts", Err(Denial::Path)), ("/vid1", Err(Denial::Path))] {
        let mut asked = good.clone();
        asked.path = path.into();
        assert_eq!(asked.verdict(&scheme), verdict, "{path}");
    }
    assert_eq!(good.clone().from("198.51.100.8").verdict(&scheme), Err(Denial::Address));
    assert_eq!(good.clone().from("2001:db8::1").verdict(&scheme), Err(Denial::Address));
    // A signed URL goes before cookies, and is judged alone.
    let mut both = good;
    both.query = Some("Signature=AA__&Key-Pair-Id=KRSA&Expires=1".into());
    assert_ne!(both.verdict(&scheme), Ok(()));
}

#[test]
fn policies_with_anything_unknown_are_refused() {
    let good = r#"{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":9}}}]}"#;
    assert!(custom_grant(good.as_bytes()).is_ok());
    assert!(custom_grant(format!(" {}", good.replace(':', " : ")).replace("AWS : E", "AWS:E").as_bytes()).is_ok());
    let one = r#"{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":9}}}"#;
    for bad in [
        "",
        "{}",
        r#"{"Statement":[]}"#,
        &format!(r#"{{"Statement":[{one},{one}]}}"#),
        &good.replace(r#"{"Statement""#, r#"{"Id":"x","Statement""#),
        &good.replace(r#""Condition":{"#, r#""Condition":{"DateLessThan":{"AWS:EpochTime":8},"#),
        &good.replace(r#""Resource":"*","#, r#""Resource":"*","Resource":"/","#),
        &good.replace(r#""Resource":"*","#, ""),
        &good.replace(":9", r#":"9""#),
        &good.replace(":9", ":9.5"),
        &good.replace(":9", ":18446744073709551615"),
        &good.replace("DateLessThan", "DateGreaterThan"),
        &good.replace(r#"9}"#, r#"9},"IpAddress":{"AWS:SourceIp":"2001:db8::/32"}"#),
        &good.replace(r#"9}"#, r#"9},"IpAddress":{"AWS:SourceIp":"x"}"#),
        &format!("{good} x"),
    ] {
        assert_eq!(custom_grant(bad.as_bytes()).err(), Some(Denial::Unsupported), "{bad}");
    }
}

#[test]
fn the_key_and_the_config_rule_the_hash() {
    let mut scheme = scheme(Place::Query);
    let good = signed(&scheme, |_| ());
    let mut sha1 = good.clone();
    sha1.query = good.query.clone().map(|query| query.replace("&Hash-Algorithm=SHA256", ""));
    assert_eq!(sha1.verdict(&scheme), Err(Denial::BadSignature));
    sha1.query = good.query.clone().map(|query| query.replace("=SHA256", "=MD5"));
    assert_eq!(sha1.verdict(&scheme), Err(Denial::WrongAlgorithm));
    scheme.config.hashes = vec![PolicyHash::Sha1];
    assert_eq!(good.verdict(&scheme), Err(Denial::WrongAlgorithm));
}

#[test]
fn what_cannot_be_said_is_not_signed() {
    let scheme = scheme(Place::Query);
    let refused = |change: fn(&mut SignRequest)| {
        let mut request = to_sign(URL);
        change(&mut request);
        scheme.sign(&request).expect_err("refused")
    };
    assert!(matches!(refused(|r| r.expires = None), SignError::CannotExpress(_)));
    assert!(matches!(refused(|r| r.client_ip = "2001:db8::1".parse().ok()), SignError::CannotExpress(_)));
    assert!(matches!(refused(|r| r.query = Some("a=\"".into())), SignError::CannotExpress(_)));
    assert!(matches!(refused(|r| r.query = Some("Expires=1".into())), SignError::CannotExpress(_)));
    assert_eq!(refused(|r| r.key_id = Some("none".into())), SignError::NoKey(Some("none".into())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn readers_never_panic(text in "\\PC{0,80}", policy in "[A-Za-z0-9_~-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Token::parse(&text).map(|token| token.policy());
        let _ = Token::parse(&format!("Policy={policy}&Key-Pair-Id=K&Signature={text}")).map(|token| token.policy());
        let _ = custom_grant(&bytes);
        prop_assert_eq!(decode(&encode(&bytes)).unwrap_or_default(), bytes);
    }

    #[test]
    fn a_token_text_has_one_reading(expires in "[0-9&=]{0,12}", tail in "[a-z&=%]{0,20}") {
        let text = format!("Expires={expires}&Key-Pair-Id=K&Signature=AA__&Resource=https://m/{tail}");
        if let Ok(token) = Token::parse(&text) {
            let What::Canned { expires: read, resource } = token.what else { return Err(TestCaseError::fail("canned")) };
            prop_assert_eq!(read, expires);
            prop_assert_eq!(resource, format!("https://m/{tail}"));
        }
    }
}
