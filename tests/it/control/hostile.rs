//! What attackers and slips send to the own API: each is refused with words, changes nothing, and stands in nobody's way.

use serde_json::{Value, json};

use super::own::{issuing, make_key};
use super::{ADMIN, ISSUER, Issuing, READER};
use crate::support::Origin;

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// An array in an array, so many levels deep.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_is_nested_deeply_is_kept_only_if_it_can_be_read_again() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let mut kept = 0;
    for levels in [1, 99, 100, 101, 110, 118, 120, 122, 124, 126] {
        let wanted = json!({ "scheme": "viewer", "url": "https://gate.test/a", "ttl": 60, "claims": { "deep": nested(levels) } });
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), if levels <= 100 { 201 } else { 400 }, "{levels}: {}", issued.0.text());
        kept += u32::from(issued.status() == 201);
        assert_eq!(issuing.ask(READER, "GET", "/v1/tokens", Value::Null).await.json()["total"], json!(kept), "{levels}");
    }
    // As a sweep reads it, and then its listing: one that cannot be read would hold up both for good.
    issuing.gateway.pass(61);
    assert_eq!(issuing.ask(ADMIN, "GET", "/v1/tokens", Value::Null).await.json()["total"], json!(0));
}

/// One with a policy for `/trailers` under each of these schemes, by the scheme's name.
fn with_policies(origin: &Origin, schemes: &Value) -> Issuing {
    Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["keys"]["shared"] = json!({ "by_id": { "k1": { "secret": SECRET } } });
        config["keys"]["hex"] = json!({ "secret": SECRET, "encoding": "hex" });
        config["schemes"] = schemes.clone();
        let names: Vec<&str> = schemes.as_object().expect("schemes").keys().map(String::as_str).collect();
        config["routes"][0]["accept"] = json!([names[0]]);
        for name in names {
            config["control"]["policies"][name] = json!({ "scheme": name, "paths": ["/trailers"] });
        }
    })
}

#[tokio::test]
async fn no_scheme_opens_more_than_its_policy() {
    let origin = Origin::plain();
    let schemes = json!({
        "wordless": { "type": "jwt", "keys": "viewer" },
        "jwt": { "type": "jwt", "keys": "viewer", "claims": { "paths": "paths" } },
        "in-path": { "type": "jwt", "keys": "viewer", "carriers": ["path-segment"] },
        "akamai": { "type": "akamai-edgeauth", "keys": "hex" },
        "ats": { "type": "ats-access-control", "keys": "shared" },
        "aws": { "type": "aws-smd", "keys": "shared" },
        "bunny": { "type": "bunny", "keys": "shared" },
        "cat": { "type": "cta-5007", "keys": "viewer" },
        "google": { "type": "google-media-cdn", "keys": "viewer" },
        "rfc9246": { "type": "rfc9246", "keys": "viewer" },
    });
    let issuing = with_policies(&origin, &schemes);
    make_key(&issuing).await;
    let (whole, folder, pattern) = (Value::Null, json!("/trailers/"), json!("/trailers/*"));
    for (policy, scope, status) in [
        ("wordless", &whole, 400),
        ("jwt", &whole, 201),
        ("jwt", &folder, 201),
        ("jwt", &pattern, 201),
        ("jwt", &json!("/trailers*"), 400),
        ("jwt", &json!("/trailers"), 201),
        ("in-path", &whole, 400),
        ("akamai", &whole, 201),
        ("akamai", &folder, 201),
        ("akamai", &json!("/trailers/*!/*"), 400),
        ("akamai", &json!("/trailers/*!/films/*"), 400),
        ("ats", &whole, 400),
        ("ats", &folder, 201),
        ("aws", &whole, 201),
        ("aws", &folder, 201),
        ("bunny", &whole, 201),
        ("bunny", &folder, 201),
        ("cat", &whole, 201),
        ("cat", &folder, 201),
        ("google", &whole, 201),
        ("google", &folder, 201),
        ("google", &json!("/trailers/*,/films/*"), 400),
        ("rfc9246", &whole, 201),
        ("rfc9246", &folder, 201),
    ] {
        let mut wanted = json!({ "policy": policy, "url": "https://gate.test/trailers/a.mp4", "scope": scope });
        // The one scheme that wants a subject; others have no words for one.
        if policy == "ats" {
            wanted["subject"] = json!("ann");
        }
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), status, "{policy} {scope}: {}", issued.0.text());
    }
}

#[tokio::test]
async fn urls_and_times_that_no_viewer_can_use_are_not_issued() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let now = issuing.gateway.clock.now().0;
    for (more, status) in [
        (json!({}), 201),
        (json!({ "url": "https://ann:pass@gate.test/a" }), 400),
        (json!({ "url": "https://pass@gate.test/a" }), 400),
        (json!({ "ttl": 60, "not_before": now + 59 }), 201),
        (json!({ "ttl": 60, "not_before": now + 60 }), 400),
        (json!({ "ttl": 60, "not_before": i64::MAX }), 400),
    ] {
        let wanted = crate::support::gateway::over(json!({ "scheme": "viewer", "url": "https://gate.test/a" }), more.clone());
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), status, "{more}: {}", issued.0.text());
    }
}
