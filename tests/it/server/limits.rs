//! How many connections there may be.

use serde_json::json;

use super::gateway;
use crate::support::client::{self, Raw};
use crate::support::{Gateway, Origin, within};

/// Whether a connection that asks for something is answered; one over a limit is closed without a word.
async fn asks(raw: &mut Raw) -> bool {
    raw.send(client::head("GET", "/a", "", 0)).await.is_ok() && raw.answer(false).await.is_ok_and(|answer| answer.status == 200)
}

async fn until_there_is_room(gateway: &Gateway) {
    within("room for a connection", async { while !asks(&mut Raw::connect(gateway.addr()).await).await {} }).await;
}

#[tokio::test]
async fn connections_are_counted_over_all() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "workers": 2, "limits": { "max_connections": 2 } }));
    let (mut one, mut two) = (Raw::connect(gateway.addr()).await, Raw::connect(gateway.addr()).await);
    assert!(asks(&mut one).await && asks(&mut two).await);
    assert!(!asks(&mut Raw::connect(gateway.addr()).await).await);
    assert!(asks(&mut one).await && asks(&mut two).await);
    gateway.until_metric("connections_closed_total{reason=\"limit\"", 1.0).await;
    gateway.until_metric("connections ", 2.0).await;
    drop(one);
    until_there_is_room(&gateway).await;
}

#[tokio::test]
async fn connections_are_counted_by_address() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "limits": { "max_connections_per_ip": 1 } }));
    let mut one = Raw::connect(gateway.addr()).await;
    assert!(asks(&mut one).await);
    assert!(!asks(&mut Raw::connect(gateway.addr()).await).await);
    let mut other = Raw::from([127, 0, 0, 2], gateway.addr()).await;
    assert!(asks(&mut other).await && asks(&mut one).await);
    gateway.until_metric("connections_closed_total{reason=\"limit_per_ip\"", 1.0).await;
    drop(one);
    until_there_is_room(&gateway).await;
}
