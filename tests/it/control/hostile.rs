//! What attackers and slips send to the own API: each is refused with words, changes nothing, and stands in nobody's way.

use serde_json::{Value, json};

use super::own::{issuing, make_key};
use super::{ADMIN, ISSUER, READER};
use crate::support::Origin;

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
