//! The walk of a request, from a caller through the gateway to an origin and back.

use super::support::{Gateway, Origin};

#[tokio::test]
async fn a_token_opens_the_route_and_stays_behind() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let answer = gateway.get(&gateway.link("/a/b.m3u8?q=1"), "").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "media"));
    assert_eq!(origin.last().target, "/a/b.m3u8?q=1");
}
