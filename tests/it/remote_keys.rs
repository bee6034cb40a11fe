//! Key sets that are fetched: before the gateway is ready, anew for a key that is not known, and never given up for a bad one.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{KeySet, KeySource};

use crate::support::gateway::{NOW, for_path, target};
use crate::support::origin::Reply;
use crate::support::{Gateway, Origin, within};

/// What the key server says: a status and a body.
type Said = Arc<Mutex<(u16, String)>>;

fn key_server(said: &Said) -> Origin {
    let said = said.clone();
    Origin::start(move |_| {
        let (status, body) = said.lock().expect("said").clone();
        Reply::new(status, body).with("Content-Type", "application/jwk-set+json")
    })
}

fn set(keys: &[&Generated]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| serde_json::from_str(key.public_jwk.as_deref().expect("public")).expect("JSON")).collect();
    json!({ "keys": keys }).to_string()
}

fn link(key: &Generated) -> String {
    let table: SchemeConfig = serde_json::from_value(json!({ "type": "jwt", "keys": "remote" })).expect("a scheme");
    let keys = KeySet::parse(key.jwk.expose().as_bytes(), None, None).expect("a key");
    let scheme = table.build(KeySource::new(keys)).expect("a scheme");
    target(&scheme.sign(&tollgate::token::SignRequest { expires: Some(NOW.plus(3600)), ..for_path("/film.mp4") }).expect("signed"))
}

fn gateway(media: &Origin, keys: &Origin) -> Gateway {
    Gateway::start(json!({
        "keys": { "remote": { "url": format!("{}/jwks.json", keys.url), "refresh": "1s" } },
        "schemes": { "viewer": { "type": "jwt", "keys": "remote" } },
        "origins": { "media": { "endpoints": [media.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media" }],
    }))
}

/// Waits until `link` is answered with `status`.
async fn until(gateway: &Gateway, link: &str, status: u16) {
    within("another answer", async {
        while gateway.get(link, "").await.status != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_ready_when_it_has_its_keys() {
    let (media, first) = (Origin::plain(), generate(Kind::Ed25519).expect("key"));
    let said: Said = Arc::new(Mutex::new((503, String::new())));
    let server = key_server(&said);
    let gateway = gateway(&media, &server);
    server.wait("a first fetch", |server| server.count() > 0).await;
    assert_eq!(gateway.inner.unready(), ["keys remote"]);
    assert_eq!(gateway.get(&link(&first), "").await.code(), "token_invalid");
    *said.lock().expect("said") = (200, set(&[&first]));
    within("readiness", async {
        while !gateway.inner.unready().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until(&gateway, &link(&first), 200).await;
    assert!(gateway.metric("keys_last_refresh_successful{keys=\"remote\"}") > 0.0);
}

#[tokio::test]
async fn a_new_key_is_taken_and_a_bad_set_is_not() {
    let (media, first, second) = (Origin::plain(), generate(Kind::Ed25519).expect("key"), generate(Kind::Ed25519).expect("key"));
    let said: Said = Arc::new(Mutex::new((200, set(&[&first]))));
    let server = key_server(&said);
    let gateway = gateway(&media, &server);
    until(&gateway, &link(&first), 200).await;
    assert_eq!(gateway.get(&link(&second), "").await.code(), "token_invalid");
    *said.lock().expect("said") = (200, set(&[&first, &second]));
    until(&gateway, &link(&second), 200).await;
    *said.lock().expect("said") = (200, "<html>".into());
    let before = server.count();
    server.wait("a bad fetch", |server| server.count() > before + 1).await;
    assert_eq!(gateway.get(&link(&first), "").await.status, 200, "the last good set stays");
    assert_eq!(gateway.get(&link(&second), "").await.status, 200);
}
