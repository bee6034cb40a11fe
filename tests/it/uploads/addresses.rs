//! Uploads that are sent to one-time addresses, which the gateway gets at the vendor and nobody else sees.

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::vendor::Fault;

use super::vendors::{elsewhere, multipart, uploaded};
use super::{at, form, link, noise};
use crate::rig::Folder;
use crate::sdk;
use crate::support::gateway::{NOW, over};
use crate::support::vendors::{Simulator, cloudflare, mux};
use crate::support::{Answer, Gateway, client, within};

/// A gateway before a host of uploads, whose addresses come from a credential by this table.
fn config(uploads: &str, credential: Value, upload: Value) -> Value {
    let mut config = over(super::config(uploads, upload), json!({ "credentials": { "address": credential } }));
    let route = &mut config["routes"][0];
    route["inject"] = json!([{ "credential": "address", "into": "address" }]);
    route["answers"] = json!({});
    config
}

/// A gateway before Cloudflare's host of uploads. The folder holds the API token.
fn cloudflare(issue: &str, upload: Value) -> (Simulator<cloudflare::Cloudflare>, Gateway, Folder) {
    let vendor = Simulator::plain(cloudflare::Cloudflare::with_chunks(1024), &Clock::manual(NOW));
    vendor.vendor().at(&elsewhere(&vendor.url));
    let folder = Folder::new();
    let credential = json!({
        "type": "cloudflare-stream", "base_url": format!("{}/client/v4", vendor.url), "account_id": cloudflare::ACCOUNT,
        "api_token_file": folder.file("token", cloudflare::API_TOKEN), "issue": issue, "scope": "session", "max_duration_seconds": 60,
    });
    let gateway = Gateway::start(config(&elsewhere(&vendor.url), credential, upload));
    (vendor, gateway, folder)
}

/// The whole answer as the caller sees it.
fn shown(answer: &Answer) -> String {
    format!("{:?} {}", answer.fields, answer.text())
}

#[tokio::test]
async fn each_upload_gets_an_address_of_its_own() {
    let (vendor, gateway, _folder) = cloudflare("direct-upload", json!({ "concurrent_per_token": 1, "content_types": ["video/*"] }));
    let link = link(&gateway, "/record", 3600, json!({}));
    for seed in [41, 42] {
        let body = form(&[], ("film.mp4", "video/mp4", &noise(50_000, seed)));
        let fields = format!("{}Cookie: a=1\r\n", multipart());
        let sent = client::request(gateway.addr(), "POST", &format!("{link}&a=1"), &fields, &body).await;
        assert_eq!(sent.status, 200, "{}", sent.text());
        let (uid, upload) = vendor.vendor().uploads().pop().expect("an upload");
        assert!(upload.whole && upload.bytes == noise(50_000, seed));
        assert!(!shown(&sent).contains(&uid) && !shown(&sent).contains("localhost"), "{}", shown(&sent));
        let call = uploaded(&vendor, "/upload/").pop().expect("a call");
        assert!(call.body == body, "not a byte is changed");
        assert_eq!((call.field("authorization"), call.field("cookie"), call.target.query()), (None, None, None));
    }
    assert_eq!(vendor.count("POST /client"), 2);
    let asked: Value = serde_json::from_slice(&vendor.calls()[0].body).expect("JSON");
    assert_eq!((&asked["maxDurationSeconds"], &asked["requireSignedURLs"]), (&json!(60), &json!(true)), "the config's word");
    assert_eq!(gateway.metric("uploads_ended_total{result=\"whole\""), 2.0);
}

#[tokio::test]
async fn an_address_that_is_refused_is_replaced_and_one_that_broke_off_is_not_used_again() {
    let (vendor, gateway, _folder) = cloudflare("direct-upload", json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/record", 3600, json!({}));
    let short = form(&[], ("film.mp4", "video/mp4", &noise(10_000, 43)));
    let long = form(&[], ("film.mp4", "video/mp4", &noise(100_000, 44)));
    let send = async |body: &[u8]| client::request(gateway.addr(), "POST", &link, &multipart(), body).await;
    vendor.fail("POST /upload", 1, Fault::Status(403));
    assert_eq!(send(&short).await.status, 200, "short enough to be sent twice");
    vendor.fail("POST /upload", 1, Fault::CutBody(50_000));
    assert_eq!(send(&long).await.status, 502);
    assert_eq!(send(&long).await.status, 200);
    let paths: Vec<_> = uploaded(&vendor, "/upload/").iter().map(|call| call.path().to_owned()).collect();
    assert!(paths.len() == 4 && (1..4).all(|at| !paths[..at].contains(&paths[at])), "{paths:?}");
    // No address is to be had, and nothing goes anywhere.
    vendor.fail("POST /client", 100, Fault::Status(503));
    let none = send(&long).await;
    assert_eq!((none.status, none.code().as_str()), (503, "credential_unavailable"));
    assert_eq!((uploaded(&vendor, "/upload/").len(), gateway.metric("sessions_active")), (4, 0.0));
}

#[tokio::test]
async fn addresses_of_other_hosts_and_uploads_of_other_kinds_go_nowhere() {
    let (vendor, gateway, _folder) = cloudflare("direct-upload", json!({}));
    let link = link(&gateway, "/record", 3600, json!({}));
    let tus = "Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n";
    let json = "Content-Type: application/json\r\n";
    for (method, fields, body) in [("POST", tus, &b""[..]), ("HEAD", tus, b""), ("POST", json, b"{}"), ("GET", "", b"")] {
        let answer = client::request(gateway.addr(), method, &link, fields, body).await;
        assert_eq!(answer.status, 400, "{method}");
        assert!(method == "HEAD" || answer.code() == "upload_kind", "{method}: {}", answer.text());
    }
    assert_eq!(vendor.calls().len(), 0);
    let (vendor, gateway, _folder) = cloudflare("tus", json!({}));
    let link = super::link(&gateway, "/record", 3600, json!({}));
    let body = form(&[], ("film.mp4", "video/mp4", b"film"));
    for (fields, body) in [(multipart().as_str(), &body[..]), ("Tus-Resumable: 1.0.0\r\nUpload-Defer-Length: 1\r\n", b"")] {
        assert_eq!(client::request(gateway.addr(), "POST", &link, fields, body).await.code(), "upload_kind");
    }
    assert_eq!(vendor.calls().len(), 0);
    // The vendor's address leads to a host that the route does not name.
    let (vendor, _, folder) = cloudflare("direct-upload", json!({}));
    let credential = json!({
        "type": "cloudflare-stream", "base_url": format!("{}/client/v4", vendor.url), "account_id": cloudflare::ACCOUNT,
        "api_token_file": folder.file("token", cloudflare::API_TOKEN), "issue": "direct-upload", "scope": "session",
        "max_duration_seconds": 60,
    });
    let gateway = Gateway::start(config(&vendor.url, credential, json!({})));
    let link = super::link(&gateway, "/record", 3600, json!({}));
    let answer = client::request(gateway.addr(), "POST", &link, &multipart(), &body).await;
    assert_eq!((answer.status, uploaded(&vendor, "/upload/").len()), (500, 0), "{}", answer.text());
}

#[test]
fn tus_by_its_client_goes_to_a_place_that_the_gateway_has_made() {
    let (vendor, gateway, _folder) = cloudflare("tus", json!({ "concurrent_per_token": 1 }));
    let token = link(&gateway, "/record", 3600, json!({}));
    let token = token.split_once("token=").expect("a token").1;
    let film = sdk::Film::new(700_000);
    vendor.fail("PATCH /upload", 1, Fault::CutBody(100_000));
    let order = json!({
        "endpoint": format!("http://{}/record", gateway.addr()), "fields": { "Authorization": format!("Bearer {token}") },
        "file": film.path(), "chunk": 262_144, "stopAfter": 262_144,
    });
    let Some(result) = sdk::run("tus.mjs", &order, &[]) else { return };
    assert_eq!(result["error"], Value::Null, "{result:#}");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film.bytes, "{result:#}");
    assert_eq!(result["media"].as_str(), Some(uploads[0].0.as_str()), "the video can be found again");
    assert!(result["url"].as_str().is_some_and(|url| !url.contains(&uploads[0].0) && url.contains("/record/up~")), "{result:#}");
    let made = &vendor.calls()[0];
    assert_eq!((made.field("upload-length"), made.target.query()), (Some("700000"), Some("direct_user=true")));
    assert!(made.field("upload-metadata").is_some_and(|text| text.contains("requiresignedurls") && !text.contains("name ")), "{made:?}");
    assert!(uploaded(&vendor, "/upload/").iter().all(|call| call.field("authorization").is_none()), "{result:#}");
    assert!(!vendor.calls().iter().any(|call| format!("{call:?}").contains(token)), "the recorder's token stays at the gateway");
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
}

#[tokio::test]
async fn mux_takes_a_file_whole_or_in_ranges_by_one_address_each() {
    let vendor = Simulator::plain(mux::Mux::default(), &Clock::manual(NOW));
    vendor.vendor().at(&elsewhere(&vendor.url));
    let folder = Folder::new();
    let credential = json!({
        "type": "mux", "base_url": vendor.url, "issue": "direct-upload", "scope": "session",
        "token_id": mux::TOKEN.0, "token_secret_file": folder.file("secret", mux::TOKEN.1),
    });
    let gateway = Gateway::start(config(&elsewhere(&vendor.url), credential, json!({ "concurrent_per_token": 2 })));
    let link = link(&gateway, "/put", 3600, json!({}));
    let put = async |path: &str, fields: &str, body: &[u8]| client::request(gateway.addr(), "PUT", &at(&link, path), fields, body).await;
    let (one, two) = (noise(30_000, 45), noise(20_000, 46));
    assert_eq!(put("/put/1", "Content-Type: video/mp4\r\n", &one).await.status, 200);
    let range = |from: usize, to: usize| format!("Content-Range: bytes {from}-{}/20000\r\n", to - 1);
    let first = put("/put/2", &range(0, 8000), &two[..8000]).await;
    assert_eq!((first.status, first.field("range")), (308, Some("bytes=0-7999")));
    // A range breaks off, and the client asks where to go on (its status check).
    vendor.fail("PUT /put", 1, Fault::CutBody(1000));
    assert_eq!(put("/put/2", &range(8000, 16_000), &two[8000..16_000]).await.status, 502);
    let asked = put("/put/2", "Content-Range: bytes */20000\r\nContent-Length: 0\r\n", b"").await;
    assert_eq!((asked.status, asked.field("range")), (308, Some("bytes=0-7999")));
    assert_eq!(put("/put/2", &range(8000, 20_000), &two[8000..]).await.status, 200);
    assert_eq!(vendor.vendor().uploads(), [one, two]);
    assert_eq!(vendor.count("POST /video/v1/uploads"), 2, "one address a file");
    assert!(uploaded(&vendor, "/put/").iter().all(|call| call.field("authorization").is_none() && call.target.query().is_none()));
    // One that the vendor takes no more is cancelled there, and its place is free.
    assert_eq!(put("/put/3", &range(0, 8000), &noise(8000, 47)).await.status, 308);
    assert_eq!((vendor.vendor().addresses(), gateway.metric("sessions_active")), (3, 1.0));
    vendor.fail("PUT /put", 1, Fault::Status(403));
    assert_eq!(put("/put/3", &range(8000, 16_000), &noise(8000, 48)).await.code(), "upload_credential_ended");
    assert_eq!(gateway.metric("sessions_active"), 0.0);
    within("the cancellation", async {
        while vendor.vendor().addresses() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn what_makes_no_sense_is_told() {
    let folder = Folder::new();
    let table = |scope: &str| json!({ "type": "mux", "issue": "direct-upload", "scope": scope, "token_id": "a", "token_secret_file": folder.file("secret", "b") });
    let fits = |change: &dyn Fn(&mut Value)| {
        let mut config = config("http://127.0.0.1:9", table("session"), json!({}));
        change(&mut config);
        Gateway::try_start(config).is_ok()
    };
    assert!(fits(&|_| {}));
    assert!(!fits(&|config| config["credentials"]["address"] = table("route")), "an address for all");
    assert!(
        !fits(&|config| config["routes"][0]["inject"][0] = json!({ "credential": "address", "into": "bearer" })),
        "an address elsewhere"
    );
    assert!(!fits(&|config| config["credentials"]["address"] = json!({ "type": "static", "secret": "no-address" })), "no address");
}
