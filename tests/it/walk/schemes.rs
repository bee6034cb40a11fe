//! The vendors' schemes end to end, and several schemes on one route.

use serde_json::{Value, json};

use tollgate::keygen::Kind;
use tollgate::token::SignRequest;

use crate::support::gateway::{NOW, for_path, key, over, target};
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

#[tokio::test]
async fn a_token_is_replaced_by_one_that_the_origin_verifies() {
    let origin = Origin::plain();
    let akamai = json!({ "type": "akamai-edgeauth", "keys": "akamai" });
    let config = |schemes: serde_json::Value, routes: serde_json::Value| {
        json!({
            "keys": { "ed": { "inline": key(Kind::Ed25519) }, "akamai": { "secret": "a1b2c3d4", "encoding": "hex" } },
            "schemes": schemes, "origins": { "media": { "endpoints": [origin.url] } }, "routes": routes,
        })
    };
    let gateway = Gateway::start(config(
        json!({ "own": { "type": "jwt", "keys": "ed" }, "akamai": akamai }),
        json!([
            { "name": "out", "path": "/out", "accept": ["own"], "origin": "media", "rewrite_prefix": "/in",
              "upstream_sign": { "scheme": "akamai", "scope": "directory" } },
            { "name": "in", "path": "/in", "accept": ["akamai"], "origin": "media" },
        ]),
    ));
    let own = gateway.sign_with("own", &hour("/out/v/a.m3u8"));
    let answer = gateway.get(&target(&own), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = origin.last().target;
    assert!(sent.starts_with("/in/v/a.m3u8?hdnts=") && !sent.contains(&own.token), "{sent}");
    // What was sent opens the other route, whose verifier knows nothing of the first.
    assert_eq!(gateway.get(&sent, "").await.status, 200);
    assert_eq!(gateway.get(&sent.replace("a.m3u8", "1.ts"), "").await.status, 200);
    assert_eq!(gateway.get(&sent.replacen("/v/", "/w/", 1), "").await.status, 403);
    // Its life, and the leeway of the scheme.
    gateway.pass(311);
    assert_ne!(gateway.get(&sent, "").await.status, 200);
    assert_eq!(gateway.get(&target(&own), "").await.status, 200);
    assert_ne!(origin.last().target, sent);
}

#[tokio::test]
async fn a_token_that_asks_for_it_is_renewed_in_a_cookie() {
    let origin = Origin::plain();
    let gateway = Gateway::start(json!({
        "keys": { "h": { "inline": json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }).to_string() } },
        "schemes": { "uri": { "type": "rfc9246", "keys": "h", "issuers": ["us"] } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "media", "path": "/", "accept": ["uri"], "origin": "media" }],
    }));
    let mut asked = hour("/v/a.m3u8");
    for (name, value) in
        [("cdnistt", json!(1)), ("cdniets", json!(60)), ("cdnistd", json!(1)), ("cdniuc", json!("regex:https?://[^/]*/v/.*"))]
    {
        asked.claims.insert(name.into(), value);
    }
    let signed = gateway.sign_with("uri", &asked);
    let answer = gateway.get(&target(&signed), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.field("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("; Path=/v; Max-Age=60; Secure; HttpOnly; SameSite=None"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(gateway.get("/v/1.ts", &format!("Cookie: {pair}\r\n")).await.status, 200);
    gateway.pass(60);
    assert_eq!(gateway.get("/v/1.ts", &format!("Cookie: {pair}\r\n")).await.code(), "token_expired");
}

/// CTA-5007 `catr`: in a cookie, in a header, or by a redirect, as the token says.
#[tokio::test]
async fn a_common_access_token_is_renewed_as_it_asks() {
    let origin = Origin::plain();
    let gateway = Gateway::start(json!({
        "keys": { "h": { "inline": json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }).to_string() } },
        "schemes": { "cat": { "type": "cta-5007", "keys": "h" } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "media", "path": "/", "accept": ["cat"], "origin": "media" }],
    }));
    let first = |catr: Value| {
        let mut asked = SignRequest { scope: Some("/v/".into()), expires: Some(gateway.clock.now().plus(60)), ..hour("/v/a.m3u8") };
        asked.claims.insert("catr".into(), catr);
        format!("CTA-Common-Access-Token: {}\r\n", gateway.sign_with("cat", &asked).token)
    };
    let cookie = gateway.get("/v/a.m3u8", &first(json!({ "0": 1, "1": 90 }))).await;
    let pair = cookie.field("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    let header = gateway.get("/v/a.m3u8", &first(json!({ "0": 2, "1": 90, "4": "x-cat" }))).await;
    let renewed = header.field("x-cat").expect("a token").to_owned();
    let ways = [format!("Cookie: {pair}\r\n"), format!("CTA-Common-Access-Token: {renewed}\r\n")];
    let old = first(json!({ "0": 3, "1": 90, "7": 307 }));
    assert_eq!(gateway.get("/v/a.m3u8", &old).await.status, 200, "it is not due in the first half of its life");
    gateway.pass(59);
    let moved = gateway.get("/v/a.m3u8?q=1", &old).await;
    let location = moved.field("location").expect("a location").to_owned();
    assert_eq!((moved.status, location.starts_with("/v/a.m3u8?q=1&cat=")), (307, true), "{location}");
    gateway.pass(1);
    assert_eq!(gateway.get("/v/a.m3u8", &old).await.code(), "token_expired");
    assert_eq!((gateway.get(&location, "").await.status, origin.last().target.as_str()), (200, "/v/a.m3u8?q=1"));
    for way in &ways {
        assert_eq!(gateway.get("/v/1.ts", way).await.status, 200, "{way}");
    }
    gateway.pass(30);
    for way in &ways {
        assert_eq!(gateway.get("/v/1.ts", way).await.code(), "token_expired", "{way}");
    }
}

#[tokio::test]
async fn a_short_token_is_exchanged_for_a_long_one() {
    exchanges(json!({ "type": "akamai-edgeauth", "keys": "akamai", "leeway": "0s" })).await;
    exchanges(json!({ "type": "google-media-cdn", "keys": "media", "sign_as": "token" })).await;
}

async fn exchanges(scheme: Value) {
    let origin = Origin::plain();
    let config = |into: &str| {
        let exchange = json!({ "exchange": { "into": into, "lifetime": "1h" } });
        json!({
            "keys": { "akamai": { "secret": "a1b2c3d4", "encoding": "hex" }, "media": { "inline": key(Kind::Ed25519), "id": "g" } },
            "schemes": { "cdn": over(scheme.clone(), exchange) },
            "origins": { "media": { "endpoints": [origin.url] } },
            "routes": [{ "name": "media", "path": "/", "accept": ["cdn"], "origin": "media" }],
        })
    };
    let minute = || SignRequest { expires: Some(NOW.plus(60)), subject: None, ..for_path("/v/film/master.m3u8") };
    let gateway = Gateway::start(config("cookie"));
    let short = target(&gateway.sign_with("cdn", &minute()));
    let answer = gateway.get(&short, "").await;
    assert_eq!((answer.status, origin.last().target.as_str()), (200, "/v/film/master.m3u8"), "{}", answer.text());
    assert_eq!(answer.field("cache-control"), Some("private, no-store"));
    let cookie = answer.field("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    assert_eq!(gateway.get("/v/film/1.ts", "").await.code(), "token_missing");
    gateway.pass(3599);
    let child = gateway.get("/v/film/1.ts", &format!("Cookie: {cookie}\r\n")).await;
    assert_eq!((child.status, child.field("set-cookie"), origin.last().field("cookie")), (200, None, None));
    assert_eq!(gateway.get(&short, &format!("Cookie: {cookie}\r\n")).await.status, 200);
    gateway.pass(1);
    assert_eq!(gateway.get("/v/film/1.ts", &format!("Cookie: {cookie}\r\n")).await.code(), "token_expired");

    let gateway = Gateway::start(config("path"));
    let answer = gateway.get(&target(&gateway.sign_with("cdn", &minute())), "").await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    let location = answer.field("location").expect("a location").to_owned();
    gateway.pass(3599);
    for (file, status) in [("film/master.m3u8", 200), ("other/1.ts", 403), ("film/720/1.ts", 200)] {
        assert_eq!(gateway.get(&location.replace("film/master.m3u8", file), "").await.status, status, "{file}");
    }
    assert_eq!(origin.last().target, "/v/film/720/1.ts");
}
