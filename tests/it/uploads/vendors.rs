//! Uploads to the stand-ins of vendors through a whole gateway: the vendor's credential put in, the addresses that it hands
//! out replaced, and what the recorder sent there byte for byte.

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};
use tollgate::demo::vendor::{Call, Fault, Vendor};

use super::{BOUNDARY, at, form, link, noise, part};
use crate::rig::Folder;
use crate::sdk;
use crate::support::gateway::{NOW, over};
use crate::support::vendors::{Simulator, cloudflare, ziggeo};
use crate::support::{Answer, Gateway, client};

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// The stand-in at another name of its host: it takes uploads there, and is no origin of the route by that name.
fn elsewhere(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// A multipart form's content type.
fn multipart() -> String {
    format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n")
}

/// Path and query of an address at `gateway`, as callers who asked `host` got it.
fn here(address: &str, host: &str) -> String {
    address.strip_prefix(&format!("http://{host}")).unwrap_or_else(|| panic!("not at the gateway: {address}")).to_owned()
}

fn read(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.text()))
}

/// A gateway before Cloudflare's API, which may lead to its host of uploads.
fn cloudflare(upload: Value) -> (Simulator<cloudflare::Cloudflare>, Gateway) {
    let vendor = Simulator::plain(cloudflare::Cloudflare::with_chunks(1024), &Clock::manual(NOW));
    vendor.vendor().at(&elsewhere(&vendor.url));
    let more = json!({
        "credentials": { "stream": { "type": "static", "secret": cloudflare::API_TOKEN } },
        "origins": { "uploads": { "endpoints": [elsewhere(&vendor.url)] } },
    });
    let mut config = over(super::config(&vendor.url, upload), more);
    let route = &mut config["routes"][0];
    route["path"] = "/stream".into();
    route["rewrite_prefix"] = format!("/client/v4/accounts/{}/stream", cloudflare::ACCOUNT).into();
    route["inject"] = json!([{ "credential": "stream", "into": "bearer" }]);
    route["answers"] = json!({ "origins": ["uploads"], "json": [{ "field": "result.uploadURL", "action": "rewrite" }] });
    (vendor, Gateway::start(config))
}

/// What the host of uploads was sent.
fn uploaded<V: Vendor>(vendor: &Simulator<V>, path: &str) -> Vec<Call> {
    vendor.calls().into_iter().filter(|call| call.path().starts_with(path)).collect()
}

#[tokio::test]
async fn cloudflare_takes_one_upload_at_an_address_that_nobody_sees() {
    let (vendor, gateway) = cloudflare(json!({ "concurrent_per_token": 1, "max_bytes": "1MiB", "content_types": ["video/*"] }));
    let link = link(&gateway, "/stream/direct_upload", 3600, json!({}));
    let ask = br#"{"maxDurationSeconds":60}"#;
    let made = client::request(gateway.addr(), "POST", &link, "Content-Type: application/json\r\n", ask).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(!made.text().contains("localhost") && !made.text().contains("/upload/"), "{}", made.text());
    let address = here(read(&made)["result"]["uploadURL"].as_str().expect("an address"), client::HOST);
    let film = noise(50_000, 31);
    let body = form(&[], ("film.mp4", "video/mp4", &film));
    let fields = format!("{}Cookie: a=1\r\n", multipart());
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client::request(gateway.addr(), "POST", &address, &fields, &body).await.status);
    }
    assert_eq!(statuses, [200, 409], "an address is good for one upload");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film);
    for call in uploaded(&vendor, "/upload/") {
        assert!(call.body == body, "not a byte is changed");
        assert_eq!((call.field("authorization"), call.field("cookie"), call.target.query()), (None, None, None));
    }
    assert_eq!(vendor.calls()[0].field("authorization"), Some(format!("Bearer {}", cloudflare::API_TOKEN).as_str()));
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
    // Too much is refused here, and the address stays good.
    let large = form(&[], ("film.mp4", "video/mp4", &noise(1 << 20, 32)));
    assert_eq!(client::request(gateway.addr(), "POST", &address, &fields, &large).await.code(), "upload_too_large");
}

#[tokio::test]
async fn cloudflare_addresses_are_of_whoever_asked() {
    let (vendor, gateway) = cloudflare(json!({}));
    let ask = br#"{"maxDurationSeconds":60}"#;
    let ann = link(&gateway, "/stream/direct_upload", 3600, json!({ "sub": "ann" }));
    let made = client::request(gateway.addr(), "POST", &ann, "Content-Type: application/json\r\n", ask).await;
    let address = here(read(&made)["result"]["uploadURL"].as_str().expect("an address"), client::HOST);
    let path = address.split('?').next().expect("a path");
    let body = form(&[], ("film.mp4", "video/mp4", b"bob's"));
    let bob = link(&gateway, "/stream/direct_upload", 3600, json!({ "sub": "bob" }));
    for (target, status) in [(at(&bob, path), 404), (path.to_owned(), 401)] {
        assert_eq!(client::request(gateway.addr(), "POST", &target, &multipart(), &body).await.status, status, "{target}");
    }
    assert_eq!(uploaded(&vendor, "/upload/").len(), 0);
}

#[tokio::test]
async fn cloudflare_tus_is_cut_resumed_and_finished() {
    let (vendor, gateway) = cloudflare(json!({ "concurrent_per_token": 1, "max_bytes": "1MiB" }));
    let link = link(&gateway, "/stream", 3600, json!({}));
    let target = format!("{link}&direct_user=true");
    let film = noise(300_000, 33);
    let fields = format!("{TUS}Upload-Length: {}\r\n", film.len());
    let made = client::request(gateway.addr(), "POST", &target, &fields, b"").await;
    assert_eq!((made.status, made.field("tus-resumable")), (201, Some("1.0.0")), "{}", made.text());
    let (uid, _) = vendor.vendor().uploads().remove(0);
    assert_eq!(made.field("stream-media-id"), Some(uid.as_str()));
    let location = made.field("location").expect("a location");
    assert!(!location.contains(&uid) && !location.contains("direct_user"), "{location}");
    let place = here(location, client::HOST);
    let patch = async |offset: usize, content: &[u8]| {
        let fields = format!("{TUS}Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n");
        client::request(gateway.addr(), "PATCH", &place, &fields, content).await
    };
    let first = patch(0, &film[..102_400]).await;
    assert_eq!((first.status, first.field("upload-offset")), (204, Some("102400")));
    vendor.fail("PATCH /upload", 1, Fault::CutBody(1000));
    assert_eq!(patch(102_400, &film[102_400..204_800]).await.status, 502);
    let asked = client::request(gateway.addr(), "HEAD", &place, TUS, b"").await;
    assert_eq!((asked.status, asked.field("upload-offset"), asked.field("upload-length")), (200, Some("103400"), Some("300000")));
    let done = patch(103_400, &film[103_400..]).await;
    assert_eq!((done.status, done.field("upload-offset")), (204, Some("300000")));
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film, "byte for byte");
    assert!(
        uploaded(&vendor, "/upload/").iter().all(|call| call.field("authorization").is_none() && call.target.query() == Some("tusv2=true"))
    );
    assert_eq!(vendor.calls()[0].target.query(), Some("direct_user=true"));
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
}

#[test]
fn cloudflare_tus_by_its_client_survives_a_break_and_a_stop() {
    let (vendor, gateway) = cloudflare(json!({ "concurrent_per_token": 1 }));
    let token = link(&gateway, "/stream", 3600, json!({}));
    let token = token.split_once("token=").expect("a token").1;
    let film = sdk::Film::new(700_000);
    vendor.fail("PATCH /upload", 1, Fault::CutBody(100_000));
    let order = json!({
        "endpoint": format!("http://{}/stream?direct_user=true", gateway.addr()), "fields": { "Authorization": format!("Bearer {token}") },
        "file": film.path(), "chunk": 262_144, "stopAfter": 262_144,
    });
    let Some(result) = sdk::run("tus.mjs", &order, &[]) else { return };
    assert_eq!(result["error"], Value::Null, "{result:#}");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film.bytes, "{result:#}");
    assert_eq!(result["media"].as_str(), Some(uploads[0].0.as_str()), "{result:#}");
    assert!(uploaded(&vendor, "/upload/").iter().all(|call| call.field("authorization").is_none()), "{result:#}");
    assert!(!vendor.calls().iter().any(|call| format!("{call:?}").contains(token)), "the recorder's token stays at the gateway");
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
}

/// api.video on a clock of its own, with parts of any size.
struct Video {
    vendor: Simulator<Apivideo>,
    clock: Clock,
}

impl std::ops::Deref for Video {
    type Target = Simulator<Apivideo>;

    fn deref(&self) -> &Simulator<Apivideo> {
        &self.vendor
    }
}

/// A gateway before api.video, which puts in an upload token by these settings. The folder holds the API key.
fn apivideo(credential: Value, upload: Value) -> (Video, Gateway, Folder) {
    const KEY: &str = "an-api-key";
    let clock = Clock::manual(NOW);
    let vendor = Simulator::plain(Apivideo::new(Settings { least_part: 1, ..Settings::new(KEY) }), &clock);
    let folder = Folder::new();
    let table = over(json!({ "type": "apivideo", "base_url": vendor.url, "api_key_file": folder.file("key", KEY) }), credential);
    let mut config = over(super::config(&vendor.url, upload), json!({ "credentials": { "recorder": table } }));
    config["routes"][0]["inject"] = json!([{ "credential": "recorder", "into": "query", "name": "token" }]);
    (Video { vendor, clock }, Gateway::start(config), folder)
}

/// A gateway before Ziggeo, which may lead to its store. The folder holds the private key.
fn ziggeo(upload: Value) -> (Simulator<ziggeo::Ziggeo>, Gateway, Folder) {
    let vendor = Simulator::plain(ziggeo::Ziggeo::default(), &Clock::manual(NOW));
    vendor.vendor().at(&elsewhere(&vendor.url));
    let folder = Folder::new();
    let (application, private, _) = ziggeo::APPLICATION;
    let more = json!({
        "credentials": { "recorder": {
            "type": "ziggeo", "base_url": vendor.url, "application_token": application, "private_key_file": folder.file("key", private),
            "grants": { "create": { "session_owned": true } },
        } },
        "origins": { "store": { "endpoints": [elsewhere(&vendor.url)] } },
    });
    let mut config = over(super::config(&vendor.url, upload), more);
    let route = &mut config["routes"][0];
    route["path"] = "/record".into();
    route["rewrite_prefix"] = format!("/v1/applications/{application}/videos").into();
    route["inject"] = json!([{ "credential": "recorder", "into": "query", "name": "server_auth" }]);
    route["answers"] = json!({ "origins": ["store"], "json": [{ "field": "url_data.url", "action": "rewrite" }] });
    (vendor, Gateway::start(config), folder)
}

#[tokio::test]
async fn ziggeo_records_in_three_steps() {
    let (vendor, gateway, _folder) = ziggeo(json!({ "concurrent_per_token": 1, "max_bytes": "1MiB", "content_types": ["video/*"] }));
    let link = link(&gateway, "/record/videos-upload-url", 3600, json!({}));
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let begun = client::request(gateway.addr(), "POST", &link, kind, b"video_type=mp4&server_auth=evil").await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let told = read(&begun);
    let address = here(told["url_data"]["url"].as_str().expect("an address"), client::HOST);
    assert!(!begun.text().contains("s3/bucket"), "{}", begun.text());
    let fields: Vec<(&str, &str)> = told["url_data"]["fields"]
        .as_object()
        .expect("fields")
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
        .collect();
    assert!(fields.len() == 4 && fields.contains(&("policy", "POLICY")), "the policy passes: {fields:?}");
    let (video, stream) =
        (told["video"]["token"].as_str().expect("a token"), told["video"]["default_stream"]["token"].as_str().expect("a token"));
    let confirm = at(&link, &format!("/record/{video}/streams/{stream}/confirm-video"));
    let early = client::request(gateway.addr(), "POST", &confirm, "", b"").await;
    assert_eq!(early.status, 412, "nothing has come: {}", early.text());
    let film = noise(40_000, 34);
    let body = form(&fields, ("film.mp4", "video/mp4", &film));
    let stored = client::request(gateway.addr(), "POST", &address, &format!("{}Cookie: a=1\r\n", multipart()), &body).await;
    assert_eq!(stored.status, 204, "{}", stored.text());
    let calls = uploaded(&vendor, "/s3/");
    assert!(calls.len() == 1 && calls[0].body == body, "not a byte is changed");
    assert_eq!((calls[0].target.query(), calls[0].field("authorization"), calls[0].field("cookie")), (None, None, None));
    assert_eq!(client::request(gateway.addr(), "POST", &confirm, "Content-Length: 0\r\n", b"").await.status, 200);
    let videos = vendor.vendor().videos();
    assert!(videos.len() == 1 && videos[0].confirmed && videos[0].file.as_ref() == Some(&film));
    // The store takes a policy once; what else was asked counts as no upload.
    let again = client::request(gateway.addr(), "POST", &address, &multipart(), &body).await;
    assert_eq!((again.status, gateway.metric("uploads_ended_total{result=\"whole\"")), (403, 1.0));
    let (token, _) = vendor.vendor().tokens().remove(0);
    let told = format!("{}{}{}", begun.text(), early.text(), again.text());
    assert!(uploaded(&vendor, "/v1/applications").iter().all(|call| call.parameter("server_auth") == Some(token.clone())));
    assert!(!told.contains(&token), "nobody is shown the vendor's token");
}

#[tokio::test]
async fn apivideo_says_to_wait_and_the_part_is_sent_again() {
    let (vendor, gateway, _folder) = apivideo(json!({}), json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/upload", 3600, json!({}));
    let film = noise(30_000, 35);
    let pieces: Vec<&[u8]> = film.chunks(10_000).collect();
    assert_eq!(part(&gateway, &link, "part 1/3", pieces[0]).await.status, 201);
    vendor.fail("POST /upload", 1, Fault::Status(429));
    let busy = part(&gateway, &link, "part 2/3", pieces[1]).await;
    assert_eq!((busy.status, busy.field("x-ratelimit-retry-after")), (429, Some("60")), "{}", busy.text());
    assert_eq!(part(&gateway, &link, "part 2/3", pieces[1]).await.status, 201);
    assert_eq!(part(&gateway, &link, "part 3/3", pieces[2]).await.status, 201);
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].whole && uploads[0].bytes == film);
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
}

#[tokio::test]
async fn apivideo_refuses_a_token_once_and_the_recorder_does_not_notice() {
    let (vendor, gateway, _folder) = apivideo(json!({}), json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/upload", 3600, json!({}));
    let film = noise(10_000, 36);
    let body = form(&[], ("film.mp4", "video/mp4", &film));
    for refused in [false, true] {
        if refused {
            vendor.fail("POST /upload", 1, Fault::Status(401));
        }
        let sent = client::request(gateway.addr(), "POST", &link, &multipart(), &body).await;
        assert_eq!(sent.status, 201, "{}", sent.text());
    }
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 2 && uploads[1].whole && uploads[1].bytes == film);
    let calls: Vec<_> = uploaded(&vendor, "/upload").into_iter().filter(|call| call.path() == "/upload").collect();
    let tokens: Vec<_> = calls.iter().map(|call| call.parameter("token")).collect();
    assert!(tokens.len() == 3 && tokens[0] == tokens[1] && tokens[1] != tokens[2], "the refused one is not shown again");
    assert!(calls.iter().all(|call| call.body == body), "not a byte is changed");
}

impl Video {
    /// Moves the clocks of both.
    fn pass(&self, gateway: &Gateway, seconds: i64) {
        gateway.pass(seconds);
        self.clock.set(gateway.clock.now());
    }

    /// The upload tokens that parts came with, in order.
    fn shown(&self) -> Vec<String> {
        let parts = self.calls().into_iter().filter(|call| call.path() == "/upload");
        parts.map(|call| call.parameter("token").expect("an upload token")).collect()
    }
}

#[tokio::test]
async fn apivideo_gets_all_parts_by_one_token_that_is_renewed_meanwhile() {
    for scope in ["route", "session"] {
        let (vendor, gateway, _folder) = apivideo(json!({ "ttl": "1h", "scope": scope }), json!({ "concurrent_per_token": 1 }));
        let link = link(&gateway, "/upload", 36_000, json!({}));
        let film = noise(30_000, 37);
        assert_eq!(part(&gateway, &link, "part 1/3", &film[..10_000]).await.status, 201);
        vendor.pass(&gateway, 3000);
        if scope == "route" {
            gateway.until_metric("credential_renewals_total{credential=\"recorder\"", 2.0).await;
        }
        for (range, piece) in [("part 2/3", &film[10_000..20_000]), ("part 3/3", &film[20_000..])] {
            let answer = part(&gateway, &link, range, piece).await;
            assert_eq!(answer.status, 201, "{scope}: {}", answer.text());
        }
        let first = &vendor.vendor().uploads()[0];
        assert!(first.whole && first.bytes == film, "{scope}");
        assert_eq!(vendor.count("POST /upload-tokens"), if scope == "route" { 2 } else { 1 }, "{scope}");
    }
}

#[tokio::test]
async fn apivideo_upload_whose_token_ends_is_refused_here_and_can_be_begun_anew() {
    for scope in ["route", "session"] {
        let (vendor, gateway, _folder) =
            apivideo(json!({ "ttl": "1h", "scope": scope }), json!({ "concurrent_per_token": 1, "idle_timeout": "2h" }));
        let link = link(&gateway, "/upload", 36_000, json!({}));
        let film = noise(30_000, 37);
        assert_eq!(part(&gateway, &link, "part 1/3", &film[..10_000]).await.status, 201);
        vendor.pass(&gateway, 3589);
        assert_eq!(part(&gateway, &link, "part 2/3", &film[10_000..20_000]).await.status, 201, "{scope}");
        vendor.pass(&gateway, 1);
        let before = vendor.shown().len();
        let late = part(&gateway, &link, "part 3/3", &film[20_000..]).await;
        assert_eq!((late.status, late.code().as_str()), (410, "upload_credential_ended"), "{scope}");
        assert_eq!(vendor.shown().len(), before, "{scope}: a token at its end is not shown");
        let body = form(&[], ("again.mp4", "video/mp4", &film));
        let again = client::request(gateway.addr(), "POST", &link, &multipart(), &body).await;
        assert_eq!(again.status, 201, "{scope}: its place is free: {}", again.text());
        let uploads = vendor.vendor().uploads();
        assert!(uploads.len() == 2 && !uploads[0].whole && uploads[1].whole && uploads[1].bytes == film, "{scope}");
        assert!(uploads[0].token != uploads[1].token, "{scope}");
    }
}

#[tokio::test]
async fn apivideo_refuses_a_part_and_the_recorder_hears_to_begin_anew() {
    let (vendor, gateway, _folder) = apivideo(json!({}), json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/upload", 3600, json!({}));
    let film = noise(30_000, 38);
    assert_eq!(part(&gateway, &link, "part 1/3", &film[..10_000]).await.status, 201);
    vendor.vendor().forget_upload_tokens();
    // Short enough to be sent twice; but no other token would do.
    let refused = part(&gateway, &link, "part 2/3", &film[10_000..20_000]).await;
    assert_eq!((refused.status, refused.code().as_str()), (410, "upload_credential_ended"));
    assert_eq!(vendor.shown().len(), 2);
    for (range, piece) in ["part 1/3", "part 2/3", "part 3/3"].into_iter().zip(film.chunks(10_000)) {
        assert_eq!(part(&gateway, &link, range, piece).await.status, 201, "{range}");
    }
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 2 && uploads[1].whole && uploads[1].bytes == film);
    assert_eq!((vendor.count("POST /upload-tokens"), gateway.metric("uploads_ended_total{result=\"failed\"")), (2, 1.0));
}

#[tokio::test]
async fn an_upload_begins_with_a_token_that_lasts() {
    let (vendor, gateway, _folder) = apivideo(json!({ "ttl": "1h" }), json!({ "min_credential_life": "30m" }));
    let link = link(&gateway, "/upload", 36_000, json!({}));
    let body = form(&[], ("film.mp4", "video/mp4", b"film"));
    let send = async || client::request(gateway.addr(), "POST", &link, &multipart(), &body).await.status;
    assert_eq!(send().await, 201);
    // Before the renewal that is due in any case.
    vendor.pass(&gateway, 2100);
    assert_eq!((send().await, send().await), (201, 201));
    let shown = vendor.shown();
    assert!(shown[0] != shown[1] && shown[1] == shown[2] && vendor.count("POST /upload-tokens") == 2, "{shown:?}");
    // While the vendor gives none, the one that is there has to do.
    vendor.fail("POST /upload-tokens", 100, Fault::Status(503));
    vendor.pass(&gateway, 2100);
    assert_eq!((send().await, send().await), (201, 201));
    assert_eq!(vendor.shown()[3..], [shown[2].clone(), shown[2].clone()]);
}

#[test]
fn apivideo_clients_upload_in_parts_and_make_one_video() {
    const PART: usize = 5 * 1024 * 1024;
    let film = sdk::Film::new(2 * PART + 1000);
    for script in ["apivideo.mjs", "video.py"] {
        let (vendor, gateway, _folder) = apivideo(json!({}), json!({ "concurrent_per_token": 1 }));
        let token = link(&gateway, "/upload", 3600, json!({}));
        let token = token.split_once("token=").expect("a token").1;
        let order = json!({ "base": format!("http://{}", gateway.addr()), "token": token, "file": film.path(), "chunk": PART });
        let Some(result) = sdk::run(script, &order, &[]) else { return };
        let uploads = vendor.vendor().uploads();
        assert!(uploads.len() == 1 && uploads[0].whole && uploads[0].bytes == film.bytes, "{script}: {result:#}");
        assert_eq!(result["video"].as_str(), Some(uploads[0].video.as_str()), "{script}: {result:#}");
        assert_eq!(gateway.metric("uploads_video_ids_supplied_total"), 2.0, "{script}");
        // A part that is too long to be kept cannot go again by itself: the recorder hears to wait, and the next token is there.
        for (fault, heard) in [(401, 503), (429, 429)] {
            vendor.fail("POST /upload", 1, Fault::Status(fault));
            let result = sdk::run(script, &order, &[]).expect("it is here");
            let error = &result["error"];
            assert!(error["code"] == heard || error["status"] == heard, "{script}: {result:#}");
            let before = vendor.vendor().uploads().len();
            let result = sdk::run(script, &order, &[]).expect("it is here");
            let uploads = vendor.vendor().uploads();
            assert!(uploads.len() == before + 1 && uploads[before].whole && uploads[before].bytes == film.bytes, "{script}: {result:#}");
        }
        assert!(!result.to_string().contains(uploads[0].token.as_deref().expect("a token")), "{script}: {result:#}");
    }
}

#[tokio::test]
async fn apivideo_clients_keep_one_token_that_is_renewed_meanwhile() {
    const PART: usize = 5 * 1024 * 1024;
    let film = sdk::Film::new(2 * PART + 1000);
    for script in ["apivideo.mjs", "video.py"] {
        let (vendor, gateway, _folder) = apivideo(json!({ "ttl": "1h" }), json!({ "concurrent_per_token": 1 }));
        let token = link(&gateway, "/upload", 36_000, json!({}));
        let token = token.split_once("token=").expect("a token").1;
        let order = json!({ "base": format!("http://{}", gateway.addr()), "token": token, "file": film.path(), "chunk": PART });
        gateway.until_metric("credential_renewals_total", 1.0).await;
        // The first part is under way for long enough to renew the token behind it.
        vendor.fail("POST /upload", 1, Fault::Delay(std::time::Duration::from_secs(1)));
        let running = tokio::task::spawn_blocking(move || sdk::run(script, &order, &[]));
        while vendor.shown().is_empty() && !running.is_finished() {
            tokio::task::yield_now().await;
        }
        if !vendor.shown().is_empty() {
            vendor.pass(&gateway, 3000);
            gateway.until_metric("credential_renewals_total", 2.0).await;
        }
        let Some(result) = running.await.expect("no panic") else { return };
        let (uploads, shown) = (vendor.vendor().uploads(), vendor.shown());
        assert!(uploads.len() == 1 && uploads[0].whole && uploads[0].bytes == film.bytes, "{script}: {result:#}");
        assert!(shown.len() == 3 && shown.iter().all(|token| *token == shown[0]), "{script}: {shown:?}");
    }
}
