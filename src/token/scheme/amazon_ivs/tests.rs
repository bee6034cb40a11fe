//! The rules of IVS playback tokens.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::key::Material;
use crate::token::{Key, KeySet};

const NOW: UnixTime = UnixTime(1_760_000_000);
const ARN: &str = "arn:aws:ivs:us-east-1:111122223333:channel/AbCdEfGh";
const PATH: &str = "/api/video/v1/us-east-1.111122223333.channel.AbCdEfGh.m3u8";

fn keys() -> KeySource {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
    static PKCS8: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let pkcs8 = PKCS8.get_or_init(|| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("pair");
        pair.to_pkcs8v1().expect("pkcs8").as_ref().to_vec()
    });
    let key = Key::new(Material::private(pkcs8).expect("material"), None, Some(Algorithm::ES384)).expect("key");
    KeySource::new(KeySet::new(vec![key]))
}

fn scheme(config: Value) -> AmazonIvs {
    let mut config = config;
    config["keys"] = json!("k");
    AmazonIvs::new(&serde_json::from_value(config).expect("config"), keys()).expect("scheme")
}

fn decide(scheme: &AmazonIvs, path: &str, query: &str, origin: Option<&str>) -> Result<Grant, Denial> {
    let path = CleanPath::parse(path).map_err(|_| Denial::Malformed)?;
    let mut headers = HeaderMap::new();
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().expect("header"));
    }
    let facts = RequestFacts {
        query: Some(query),
        client_ip: "198.51.100.7".parse().expect("address"),
        ..RequestFacts::bare("abc.us-east-1.playback.live-video.net", &path, &headers)
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check(&facts, NOW)?;
    scheme.fits(&grant, &facts)?;
    Ok(grant)
}

fn verdict(more: &Value, path: &str, origin: Option<&str>) -> Result<Grant, Denial> {
    let scheme = scheme(json!({}));
    let mut claims = json!({ "exp": NOW.0 + 60, CHANNEL: ARN });
    for (name, value) in more.as_object().expect("object") {
        claims[name] = value.clone();
    }
    let token = compact::sign(claims.as_object().expect("object"), keys().load().only().expect("key")).expect("token");
    decide(&scheme, path, &format!("token={token}"), origin)
}

#[test]
fn claims_are_held_to() {
    let (ours, theirs) = ("https://shop.example.com", "https://evil.example.org");
    for (more, path, origin, want) in [
        (json!({}), PATH, None, None),
        (json!({}), "/us-east-1.111122223333.channel.AbCdEfGhX.m3u8", None, Some(Denial::Path)),
        (json!({}), "/other.m3u8", None, Some(Denial::Path)),
        (json!({}), "/us-east-1.111122223333.channel.AbCdEfGh/us-east-1.1.channel.Other.m3u8", None, Some(Denial::Path)),
        (json!({ "exp": NOW.0 }), PATH, None, Some(Denial::Expired)),
        (json!({ CHANNEL: "arn:aws:ivs:us-east-1:111122223333:channel/Other" }), PATH, None, Some(Denial::Path)),
        (json!({ CHANNEL: "arn:aws:s3:us-east-1:111122223333:channel/AbCdEfGh" }), PATH, None, Some(Denial::Claim)),
        (json!({ CHANNEL: 1 }), PATH, None, Some(Denial::Claim)),
        (json!({ "aws:new-rule": 1 }), PATH, None, Some(Denial::Unsupported)),
        (json!({ ORIGIN: ours, STRICT: true }), PATH, Some(ours), None),
        (json!({ ORIGIN: ours, STRICT: true }), PATH, Some(theirs), Some(Denial::Referrer)),
        (json!({ ORIGIN: ours, STRICT: true }), PATH, None, Some(Denial::Referrer)),
        (json!({ ORIGIN: ours }), PATH, Some(theirs), None),
        (json!({ STRICT: true }), PATH, Some(ours), Some(Denial::Claim)),
        (json!({ STRICT: "true", ORIGIN: ours }), PATH, Some(ours), Some(Denial::Claim)),
        (json!({ SINGLE_USE: "x" }), PATH, None, Some(Denial::Claim)),
        (json!({ VERSION: 1 }), PATH, None, Some(Denial::Claim)),
        (json!({ VIEWER: "u", VERSION: "1" }), PATH, None, Some(Denial::Claim)),
    ] {
        assert_eq!(verdict(&more, path, origin).err(), want, "{more} {path}");
    }
}

#[test]
fn what_needs_memory_is_on_the_grant() {
    let id = "2b6f0c1e-0000-4000-8000-000000000001";
    let grant = verdict(&json!({ SINGLE_USE: id, VIEWER: "u7", VERSION: 3 }), PATH, None).expect("good");
    assert_eq!((grant.single_use, grant.token_id.as_deref()), (true, Some(id)));
    assert_eq!((grant.subject.as_deref(), grant.session_version), (Some("u7"), Some(3)));
}

proptest! {
    #[test]
    fn signing_is_undone_by_opening(life in 1_i64..1000) {
        let scheme = scheme(json!({ "channels": [ARN] }));
        let request = SignRequest { path: PATH.into(), expires: Some(NOW.plus(life)), subject: Some("u".into()), ..SignRequest::default() };
        let signed = scheme.sign(&request).expect("signed");
        let grant = decide(&scheme, PATH, &signed.query.expect("query"), None).expect("good");
        prop_assert_eq!((grant.window.until, grant.subject.as_deref()), (NOW.plus(life), Some("u")));
    }
}
