//! Long uploads: tokens that end, tokens that are withdrawn, recorders that are killed, and origins that fail.

use serde_json::json;

use tollgate::token::SignRequest;

use super::{api_video, begin, form, form_fields, gateway, link, noise, part};
use crate::rig::Folder;
use crate::support::gateway::{NOW, for_path, over, target};
use crate::support::{Gateway, Origin, Reply, client};

const BINARY: &str = "Content-Type: video/mp4\r\n";

#[tokio::test]
async fn an_upload_in_parts_outlives_its_token_as_far_as_it_may() {
    let (origin, videos) = api_video();
    let gateway = gateway(&origin.url, json!({ "outlive": "10m" }));
    let link = link(&gateway, "/upload", 60, json!({}));
    let film = noise(3000, 5);
    assert_eq!(part(&gateway, &link, "part 1/3", &film[..1000]).await.status, 201);
    gateway.pass(61);
    let fresh = part(&gateway, &link, "part 1/3", b"another").await;
    assert_eq!((fresh.status, fresh.code().as_str()), (403, "token_expired"), "no new upload by an old token");
    assert_eq!(part(&gateway, &link, "part 2/3", &film[1000..2000]).await.status, 201);
    assert_eq!(gateway.metric("uploads_outlived_total"), 1.0);
    let elsewhere = client::request(gateway.addr(), "POST", &super::at(&link, "/other"), &form_fields(Some("part 3/3")), b"").await;
    assert_eq!(elsewhere.code(), "token_expired", "bound to its own place");
    gateway.pass(600);
    assert_eq!(part(&gateway, &link, "part 3/3", &film[2000..]).await.code(), "token_expired", "ten minutes are over");
    assert_eq!(videos.0.lock().expect("no panics inside").values().collect::<Vec<_>>(), [&film[..2000].to_vec()]);
}

#[tokio::test]
async fn another_token_that_has_ended_opens_nothing() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({}));
    let (one, other) = (link(&gateway, "/upload", 60, json!({})), link(&gateway, "/upload", 59, json!({})));
    assert_eq!(part(&gateway, &one, "part 1/2", b"a").await.status, 201);
    gateway.pass(61);
    assert_eq!(part(&gateway, &other, "part 2/2", b"b").await.code(), "token_expired");
    let forged = format!("{one}x");
    assert_eq!(part(&gateway, &forged, "part 2/2", b"b").await.code(), "token_invalid");
    assert_eq!(part(&gateway, &one, "part 2/2", b"b").await.status, 201);
}

/// What a seal covers is asked of every part, also after the token's end.
#[tokio::test]
async fn a_sealed_upload_stays_its_recorders() {
    let (origin, _) = api_video();
    let seal = json!({ "schemes": { "viewer": { "seal": { "attributes": ["header.user-agent"], "secret": "s" } } } });
    let gateway = Gateway::start(over(super::config(&origin.url, json!({ "outlive": "10m" })), seal));
    let mut asked = SignRequest { expires: Some(NOW.plus(60)), subject: None, ..for_path("/upload") };
    asked.claims.insert("paths".into(), "/**".into());
    asked.headers.push((http::header::USER_AGENT, "recorder".into()));
    let link = target(&gateway.sign_with("viewer", &asked));
    let send = async |range: &str, agent: &str| {
        let fields = format!("{}User-Agent: {agent}\r\n", form_fields(Some(range)));
        client::request(gateway.addr(), "POST", &link, &fields, &form(&[], ("film.mp4", "video/mp4", b"x"))).await
    };
    assert_eq!(send("part 1/3", "recorder").await.status, 201);
    gateway.pass(61);
    assert_eq!(send("part 2/3", "other").await.code(), "token_expired");
    assert_eq!(send("part 2/3", "recorder").await.status, 201);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_body_breaks_nothing() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "outlive": "10m", "idle_timeout": "5m" }));
    let link = link(&gateway, "/a", 60, json!({}));
    let mut raw = begin(&gateway, "PUT", &link, BINARY, (10, b"half")).await;
    origin.wait("the first half", |origin| origin.count() == 1 && origin.last().body_length == 4).await;
    gateway.pass(120);
    raw.send(b" whole").await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    assert_eq!(origin.last().body, b"half whole");
}

#[tokio::test]
async fn the_end_of_an_upload_is_asked_for_again() {
    let (origin, folder) = (Origin::plain(), Folder::new());
    let file = folder.file("admin", "operators-own-secret\n");
    let gateway = Gateway::start(over(super::config(&origin.url, json!({})), json!({ "admin": { "token_file": file } })));
    let link = link(&gateway, "/a", 3600, json!({ "sub": "ann" }));
    let mut raw = begin(&gateway, "PUT", &link, BINARY, (10, b"half")).await;
    origin.wait("the first half", |origin| origin.count() == 1 && origin.last().body_length == 4).await;
    let admin = gateway.inner.admin.expect("an admin listener");
    let withdrawn = json!({ "by": "subject", "value": "ann", "ttl": "1h" }).to_string();
    let desk = "Authorization: Bearer operators-own-secret\r\n";
    let said = client::request(admin, "POST", "/revocations", desk, withdrawn.as_bytes()).await;
    assert_eq!(said.status, 201, "{}", said.text());
    raw.send(b" whole").await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "token_revoked"));
    assert!(!origin.last().whole);
}

#[tokio::test]
async fn a_killed_recorder_gives_its_place_back() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "idle_timeout": "60s" }));
    let link = link(&gateway, "/upload", 3600, json!({}));
    // A whole upload cannot be resumed: at once.
    let body = form(&[], ("film.mp4", "video/mp4", b"content"));
    let raw = begin(&gateway, "POST", &link, &form_fields(None), (body.len(), &body[..20])).await;
    gateway.until_metric("sessions_active", 1.0).await;
    drop(raw);
    gateway.until_metric("sessions_active", 0.0).await;
    // One in parts can: after its silence.
    assert_eq!(part(&gateway, &link, "part 1/3", b"one").await.status, 201);
    let raw = begin(&gateway, "POST", &link, &form_fields(Some("part 2/3")), (body.len(), &body[..body.len() - 20])).await;
    origin.wait("its second part", |origin| origin.last().body_length > 0 && !origin.last().whole).await;
    drop(raw);
    gateway.pass(60);
    assert_eq!(part(&gateway, &link, "part 1/9", b"new").await.code(), "session_concurrent_token");
    gateway.pass(1);
    assert_eq!(part(&gateway, &link, "part 1/9", b"new").await.status, 201, "the silent one has lost its place");
    let late = part(&gateway, &link, "part 2/3", b"two").await;
    assert_eq!(late.code(), "session_concurrent_token", "it comes back only where there is room");
    gateway.pass(61);
    assert_eq!(part(&gateway, &link, "part 2/3", b"two").await.status, 201, "and goes on where it was");
}

#[tokio::test]
async fn an_origin_that_fails_on_the_way_leaves_the_upload_where_it_was() {
    for percent in [10_u64, 50, 99] {
        let fails = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = fails.clone();
        let origin = Origin::scripted(move |mut exchange| {
            let turn = counted.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            async move {
                if turn == 1 {
                    let length: u64 = exchange.seen.field("content-length").expect("a length").parse().expect("a number");
                    exchange.take(length * percent / 100).await?;
                    return Ok(None);
                }
                exchange.read_body().await?;
                exchange.reply(&Reply::new(201, "{\"videoId\":\"vi1\"}")).await?;
                Ok(Some(exchange))
            }
        });
        let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
        let link = link(&gateway, "/upload", 60, json!({}));
        let content = noise(200_000, percent);
        assert_eq!(part(&gateway, &link, "part 1/2", &content).await.status, 201);
        let broken = sent(&gateway, &link, &content).await;
        assert!(broken.is_none_or(|status| status == 502), "{percent} %: {broken:?}");
        assert_eq!(gateway.metric("sessions_active"), 1.0, "{percent} %: its place is kept");
        assert_eq!(part(&gateway, &link, "part 2/2", &content).await.status, 201, "{percent} %: the same part again");
        let last = origin.last();
        assert!(super::read_form(&last).iter().any(|(name, _, value)| name == "videoId" && value == b"vi1"));
        assert_eq!(gateway.metric("sessions_active"), 0.0);
    }
}

/// Sends the second part; the status, if the answer could be read.
async fn sent(gateway: &crate::support::Gateway, link: &str, content: &[u8]) -> Option<u16> {
    let body = form(&[], ("film.mp4", "video/mp4", content));
    let mut raw = begin(gateway, "POST", link, &form_fields(Some("part 2/2")), (body.len(), b"")).await;
    let _ = raw.send(&body).await;
    raw.answer(false).await.ok().map(|answer| answer.status)
}
