//! The vendors' schemes end to end, and several schemes on one route.

use serde_json::json;

use tollgate::keygen::Kind;
use tollgate::token::SignRequest;

use crate::support::gateway::{NOW, for_path, key, target};
use crate::support::{Gateway, Origin};

const UID: &str = "5d5bc37ffcf54c9b82e996823bffbb81";

fn gateway(origin: &Origin) -> Gateway {
    Gateway::start(json!({
        "keys": { "rsa": { "inline": key(Kind::Rsa2048) }, "ed": { "inline": key(Kind::Ed25519) } },
        "schemes": {
            "stream": { "type": "cloudflare-stream", "keys": "rsa" },
            "mux": { "type": "mux", "keys": "rsa" },
            "own": { "type": "jwt", "keys": "ed", "carriers": [{ "header": "authorization" }] },
            "spare": { "type": "jwt", "keys": "ed", "carriers": [{ "cookie": "play" }], "issuers": ["nobody"] },
        },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [
            { "name": "stream", "path": "/cf", "accept": ["stream"], "origin": "media", "rewrite_prefix": "/" },
            { "name": "mux", "path": "/", "hosts": ["stream.mux.test"], "accept": ["mux"], "origin": "media" },
            { "name": "both", "path": "/both", "accept": ["stream", "own", "spare"], "origin": "media" },
        ],
    }))
}

fn hour(path: &str) -> SignRequest {
    SignRequest { expires: Some(NOW.plus(3600)), subject: None, ..for_path(path) }
}

#[tokio::test]
async fn a_stream_token_gives_way_to_the_uid() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let signed =
        gateway.sign_with("stream", &SignRequest { mount: 3, ..hour(&format!("/cf/{UID}/manifest/video.m3u8?clientBandwidthHint=2")) });
    assert!(signed.path.starts_with("/cf/eyJ"), "{}", signed.path);
    let answer = gateway.get(&target(&signed), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(origin.last().target, format!("/{UID}/manifest/video.m3u8?clientBandwidthHint=2"));
    let bare = gateway.get(&format!("/cf/{UID}/manifest/video.m3u8"), "").await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "token_missing"));
    let download = gateway.get(&target(&signed).replace("manifest/video.m3u8", "downloads/default.mp4"), "").await;
    assert_eq!((download.status, download.code().as_str()), (403, "token_entitlement"));
    gateway.pass(3600);
    assert_eq!(gateway.get(&target(&signed), "").await.code(), "token_expired");
}

#[tokio::test]
async fn a_mux_token_opens_its_playback_id_only() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let host = "Host: stream.mux.test\r\n";
    let signed = gateway.sign_with("mux", &hour("/abcDEF01.m3u8"));
    let answer = gateway.get(&target(&signed), host).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(origin.last().target, "/abcDEF01.m3u8");
    let other = gateway.get(&target(&signed).replace("abcDEF01", "abcDEF02"), host).await;
    assert_eq!((other.status, other.code().as_str()), (403, "token_path"));
    let beside = gateway.get(&format!("{}&max_resolution=720p", target(&signed)), host).await;
    assert_eq!((beside.status, beside.code().as_str()), (403, "token_parameters"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn any_of_several_schemes_opens_a_route() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let stream = gateway.sign_with("stream", &SignRequest { mount: 5, ..hour(&format!("/both/{UID}/a.m4s")) });
    assert_eq!(gateway.get(&stream.path, "").await.status, 200);
    assert_eq!(origin.last().target, format!("/both/{UID}/a.m4s"));
    let own = gateway.sign_with("own", &hour("/both/x")).token;
    let bearer = format!("Authorization: Bearer {own}\r\n");
    assert_eq!(gateway.get("/both/x", &bearer).await.status, 200);
    // The same text under a scheme that would not take it: known to two, taken by one, out of both places.
    let answer = gateway.get("/both/x", &format!("{bearer}Cookie: play={own}; k=v\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = origin.last();
    assert!(!seen.head.contains(&own), "{}", seen.head);
    assert_eq!(seen.field("cookie"), Some("k=v"));
    let neither = gateway.get("/both/x", &format!("Cookie: play={own}\r\n")).await;
    assert_eq!((neither.status, neither.code().as_str()), (403, "token_issuer"));
    let clash = gateway.get(&stream.path, &bearer).await;
    assert_eq!((clash.status, clash.code().as_str()), (401, "token_ambiguous"));
    assert_eq!(gateway.metric("token_validations_total{result=\"ok\",route=\"both\",scheme=\"own\""), 2.0);
}
