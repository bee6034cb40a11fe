//! Tokens that name one URL: its folder is let in by the session, and nothing else.

use serde_json::json;

use tollgate::token::SignRequest;

use super::{asks, beside, film, location};
use crate::support::Gateway;
use crate::support::gateway::{NOW, for_path, key, target};

fn gateway(origin: &str, propagation: &str) -> Gateway {
    let session = json!({ "propagation": propagation });
    Gateway::start(json!({
        "keys": { "viewer": { "inline": key(tollgate::keygen::Kind::Ed25519) }, "link": { "inline": r#"{"kty":"oct","k":"c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M"}"# } },
        "schemes": {
            "viewer": { "type": "jwt", "keys": "viewer", "claims": { "paths": "paths" } },
            "link": { "type": "digest-url", "keys": "link", "preset": "nginx-secure-link" },
        },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [
            { "name": "vod", "accept": ["viewer"], "origin": "media", "session": session },
            { "name": "link", "path": "/l", "accept": ["link"], "origin": "media", "rewrite_prefix": "", "session": session },
        ],
    }))
}

fn only(gateway: &Gateway, path: &str) -> String {
    let request = SignRequest { expires: Some(NOW.plus(3600)), scope: Some(path.into()), ..for_path(path) };
    target(&gateway.sign_with("viewer", &request))
}

/// For an hour, below a prefix of one letter.
fn mounted(path: &str) -> SignRequest {
    SignRequest { mount: 2, expires: Some(NOW.plus(3600)), subject: None, ..for_path(path) }
}

#[tokio::test]
async fn children_of_the_folder_come_in_and_nothing_else() {
    let origin = film();
    let gateway = gateway(&origin.url, "path");
    let link = only(&gateway, "/vod/master.m3u8");
    let token = link.rsplit_once('=').expect("a token").1.to_owned();
    assert_eq!(
        asks(&gateway, &format!("/vod/media_0.m3u8?token={token}"), "one").await,
        "403 token_path",
        "the token itself opens one URL"
    );
    let entry = location(&gateway.get(&link, "").await);
    for name in ["master.m3u8", "media_0.m3u8", "seg-0-1.m4s"] {
        assert_eq!(asks(&gateway, &beside(&entry, name), "one").await, "200", "{name}");
    }
    let ticket = entry.split('/').nth(1).expect("a segment");
    for outside in ["vod2/seg-0-1.m4s", "other/master.m3u8", "vod", "seg-0-1.m4s", ""] {
        assert_eq!(asks(&gateway, &format!("/{ticket}/{outside}"), "one").await, "403 token_path", "{outside}");
    }
    let climbing = asks(&gateway, &format!("/{ticket}/vod/../other/a"), "one").await;
    assert!(climbing.starts_with("400"), "{climbing}");
}

#[tokio::test]
async fn an_entry_at_the_root_gets_nothing_more() {
    let origin = crate::support::Origin::plain();
    let gateway = gateway(&origin.url, "path");
    let entry = location(&gateway.get(&only(&gateway, "/master.m3u8"), "").await);
    assert_eq!(asks(&gateway, &entry, "one").await, "200");
    assert_eq!(asks(&gateway, &beside(&entry, "seg.ts"), "one").await, "403 token_path");
    assert_eq!(asks(&gateway, &beside(&entry, "vod/seg.ts"), "one").await, "403 token_path");
}

#[tokio::test]
async fn a_hash_over_one_url_opens_its_folder() {
    let origin = film();
    let gateway = gateway(&origin.url, "query");
    let request = SignRequest { client_ip: Some([127, 0, 0, 1].into()), ..mounted("/l/vod/master.m3u8") };
    let link = target(&gateway.sign_with("link", &request));
    assert!(link.starts_with("/l/vod/master.m3u8?") && link.contains("md5="), "{link}");
    let (_, query) = link.split_once('?').expect("a query");
    let alone = asks(&gateway, &format!("/l/vod/media_0.m3u8?{query}"), "one").await;
    assert_eq!(alone, "401 token_invalid", "the hash is over one URL");
    let text = gateway.get(&link, "").await.text();
    let child = text.lines().find(|line| line.starts_with("media_0")).expect("a link");
    let media = gateway.get(&format!("/l/vod/{child}"), "").await;
    assert_eq!(media.status, 200, "{}", media.text());
    let segment = media.text().lines().find(|line| line.starts_with("seg")).expect("a link").to_owned();
    assert_eq!(asks(&gateway, &format!("/l/vod/{segment}"), "one").await, "200");
    assert_eq!(asks(&gateway, &format!("/l/other/{segment}"), "one").await, "403 token_path");
    assert!(origin.requests().iter().all(|seen| !seen.head.contains("md5=") && !seen.head.contains("tg=")));
}

/// A gateway with one scheme, of this type, on `/r`.
fn with_scheme(origin: &str, scheme: serde_json::Value, key: &str, propagation: &str) -> Gateway {
    let mut config = json!({
        "keys": { "key": { "inline": key } },
        "schemes": {},
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [{
            "name": "r", "path": "/r", "accept": ["viewer"], "origin": "media", "rewrite_prefix": "",
            "session": { "propagation": propagation },
        }],
    });
    config["schemes"]["viewer"] = scheme;
    Gateway::start(config)
}

const SECRET: &str = r#"{"kty":"oct","kid":"k1","k":"c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M"}"#;

#[tokio::test]
async fn signatures_over_one_url_do_not_open_the_route() {
    let origin = film();
    for scheme in [
        json!({ "type": "google-cloud-cdn", "keys": "key" }),
        json!({ "type": "bunny", "keys": "key" }),
        json!({ "type": "digest-url", "keys": "key", "preset": "nginx-hmac-secure-link" }),
        json!({ "type": "digest-url", "keys": "key", "preset": "alibaba-b" }),
    ] {
        let gateway = with_scheme(&origin.url, scheme.clone(), SECRET, "path");
        let link = target(&gateway.sign_with("viewer", &mounted("/r/vod/master.m3u8")));
        let answer = gateway.get(&link, "").await;
        assert_eq!(answer.status, 302, "{scheme}: {link}: {}", answer.text());
        let entry = location(&answer);
        for name in ["master.m3u8", "media_0.m3u8", "seg-0-1.m4s"] {
            assert_eq!(asks(&gateway, &beside(&entry, name), "one").await, "200", "{scheme}: {entry}: {name}");
        }
        let ticket = entry.split('/').nth(2).expect("a segment");
        for outside in ["other/master.m3u8", "vod2/a", "seg-0-1.m4s"] {
            assert_eq!(asks(&gateway, &format!("/r/{ticket}/{outside}"), "one").await, "403 token_path", "{scheme}: {outside}");
        }
        let link = target(&gateway.sign_with("viewer", &mounted("/r/master.m3u8")));
        let entry = location(&gateway.get(&link, "User-Agent: root\r\n").await);
        assert_eq!(asks(&gateway, &beside(&entry, "vod/seg-0-1.m4s"), "root").await, "403 token_path", "{scheme}: root");
    }
}

#[tokio::test]
async fn a_hash_over_the_address_binds_children_to_it() {
    let origin = film();
    let gateway = gateway(&origin.url, "path");
    let request = SignRequest { client_ip: Some([127, 0, 0, 1].into()), ..mounted("/l/vod/master.m3u8") };
    let entry = location(&gateway.get(&target(&gateway.sign_with("link", &request)), "").await);
    assert_eq!(asks(&gateway, &beside(&entry, "seg-0-1.m4s"), "one").await, "200");
    let mut raw = crate::support::Raw::from([127, 0, 0, 9], gateway.addr()).await;
    raw.send(crate::support::client::head("GET", &beside(&entry, "seg-0-1.m4s"), "", 0)).await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "token_address"));
}

#[tokio::test]
async fn rules_of_a_scheme_look_at_the_url_without_its_ticket() {
    const TEXT: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/r/abcDEF01.m3u8\n";
    let origin =
        crate::support::Origin::start(|_| crate::support::Reply::new(200, TEXT).with("Content-Type", "application/vnd.apple.mpegurl"));
    let key = key(tollgate::keygen::Kind::Rsa2048);
    for way in ["path", "query"] {
        let gateway = with_scheme(&origin.url, json!({ "type": "mux", "keys": "key" }), &key, way);
        let request = mounted("/r/abcDEF01.m3u8");
        let link = target(&gateway.sign_with("viewer", &request));
        let entry = gateway.get(&link, "").await;
        let child = match way {
            "path" => location(&entry),
            _ => entry.text().lines().find(|line| line.contains("tg=")).expect("a link").to_owned(),
        };
        assert_eq!(asks(&gateway, &child, "one").await, "200", "{way}: {child}");
        let other = child.replace("abcDEF01", "abcDEF02");
        assert_eq!(asks(&gateway, &other, "one").await, "403 token_path", "{way}");
    }
}

#[tokio::test]
async fn a_token_that_was_a_segment_is_not_missed_by_children() {
    let origin = film();
    let scheme = json!({ "type": "aws-smd", "keys": "key" });
    let key = r#"{"kty":"oct","kid":"primary","alg":"HS256","k":"c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M"}"#;
    let gateway = with_scheme(&origin.url, scheme, key, "path");
    let claims = [("paths".to_owned(), json!(["/r/vod/"]))].into_iter().collect();
    let request = SignRequest { claims, ..mounted("/r/vod/master.m3u8") };
    let entry = gateway.get(&target(&gateway.sign_with("viewer", &request)), "").await;
    assert_eq!(entry.status, 302, "{}", entry.text());
    let entry = location(&entry);
    assert_eq!(asks(&gateway, &beside(&entry, "seg-0-1.m4s"), "one").await, "200", "{entry}");
    let ticket = entry.split('/').nth(2).expect("a segment");
    assert_eq!(asks(&gateway, &format!("/r/{ticket}/other/vod/a"), "one").await, "403 token_path");
}

#[tokio::test]
async fn a_token_in_the_place_of_an_id_opens_that_id() {
    const UID: &str = "5d5bc37ffcf54c9b82e996823bffbb81";
    let origin = crate::support::Origin::plain();
    let key = key(tollgate::keygen::Kind::Rsa2048);
    let gateway = with_scheme(&origin.url, json!({ "type": "cloudflare-stream", "keys": "key" }), &key, "path");
    let path = format!("/r/{UID}/manifest/video.m3u8");
    let request = mounted(&path);
    let entry = gateway.get(&target(&gateway.sign_with("viewer", &request)), "").await;
    let entry = location(&entry);
    assert!(entry.ends_with(&path[2..]), "{entry}");
    assert_eq!(asks(&gateway, &entry, "one").await, "200");
    let ticket = entry.split('/').nth(2).expect("a segment");
    assert_eq!(asks(&gateway, &format!("/r/{ticket}/{UID}/video/720/seg_1.ts"), "one").await, "200");
    let other = UID.replace("5d", "6e");
    assert_eq!(asks(&gateway, &format!("/r/{ticket}/{other}/manifest/video.m3u8"), "one").await, "403 token_path");
    assert_eq!(asks(&gateway, &format!("/r/{ticket}/{UID}x/a"), "one").await, "403 token_path");
}
