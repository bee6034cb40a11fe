//! The examples of the README, run as they stand but for their addresses and keys.

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};
use tollgate::demo::vendor::Call;
use tollgate::token::SignRequest;

use super::aws;
use crate::rig::Folder;
use crate::support::client;
use crate::support::gateway::{NOW, for_path, key, over};
use crate::support::vendors::{Simulator, cloudflare};
use crate::support::{Gateway, Origin, within};

/// An example as it stands, its viewers' key made for this test.
fn example(name: &str) -> Value {
    let file = format!("{}/config/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).expect("an example");
    let mut config = serde_json::to_value(text.parse::<toml::Table>().expect("TOML")).expect("JSON");
    config["server"] = json!({ "listeners": [{ "address": "127.0.0.1:0" }], "workers": 1 });
    for keys in config["keys"].as_object_mut().expect("keys").values_mut() {
        *keys = json!({ "inline": key(tollgate::keygen::Kind::Ed25519) });
    }
    config
}

fn leads(config: &mut Value, name: &str, to: &Origin) {
    config["origins"][name]["endpoints"] = json!([to.url]);
}

#[tokio::test]
async fn a_cloudflare_upload() {
    let vendor = Simulator::plain(cloudflare::Cloudflare::with_chunks(1), &Clock::manual(NOW));
    vendor.vendor().at(&vendor.url);
    let (mut config, folder) = (example("cloudflare-upload"), Folder::new());
    let file = folder.file("api-token", cloudflare::API_TOKEN);
    for (credential, host) in [("address", "uploads"), ("place", "uploads-tus")] {
        let table = &mut config["credentials"][credential];
        table["base_url"] = json!(format!("{}/client/v4", vendor.url));
        (table["api_token_file"], table["account_id"]) = (json!(file), json!(cloudflare::ACCOUNT));
        config["origins"][host]["endpoints"] = json!([vendor.url]);
    }
    let gateway = Gateway::start(config);
    let recorder = format!("Authorization: Bearer {}\r\n", gateway.sign("recorder", "/").token);
    let form = format!("{recorder}Content-Type: multipart/form-data; boundary=xx\r\n");
    let sent = client::request(gateway.addr(), "POST", "/record", &form, FORM.as_bytes()).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let tus = format!("{recorder}Tus-Resumable: 1.0.0\r\n");
    let made = client::request(gateway.addr(), "POST", "/tus", &format!("{tus}Upload-Length: 5\r\n"), b"").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let place = made.field("location").expect("a place").replace("http://gate.test", "");
    let patch = format!("{tus}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n");
    let sent = client::request(gateway.addr(), "PATCH", &place, &patch, b"media").await;
    assert_eq!((sent.status, sent.field("upload-offset")), (204, Some("5")));
    let uploads = vendor.vendor().uploads();
    assert_eq!(uploads.iter().map(|(_, upload)| &upload.bytes[..]).collect::<Vec<_>>(), [&b"film"[..], b"media"]);
    assert_eq!(made.field("stream-media-id"), Some(uploads[1].0.as_str()));
    assert!(uploads.iter().all(|(uid, _)| !place.contains(uid)));
    let with_token = |call: &Call| call.field("authorization") == Some(&format!("Bearer {}", cloudflare::API_TOKEN));
    assert!(vendor.calls().iter().all(|call| with_token(call) == call.path().starts_with("/client/v4")), "the API token is for the API");
    assert_eq!(client::request(gateway.addr(), "POST", "/record", "", FORM.as_bytes()).await.status, 401);
}

/// A form with a file of four bytes.
const FORM: &str =
    "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\nfilm\r\n--xx--\r\n";

/// Waits until so many upload tokens are left at the vendor, and gives them.
async fn until_left(vendor: &Simulator<Apivideo>, tokens: usize) -> Vec<String> {
    within("the withdrawal", async {
        while vendor.vendor().upload_tokens().len() > tokens {
            tokio::task::yield_now().await;
        }
    })
    .await;
    vendor.vendor().upload_tokens()
}

#[tokio::test]
async fn an_apivideo_upload_with_an_upload_token_for_each_file() {
    const KEY: &str = "apivideo-api-key-5d2e";
    let vendor = Simulator::plain(Apivideo::new(Settings { least_part: 1, ..Settings::new(KEY) }), &Clock::manual(NOW));
    let folder = Folder::new();
    let mut config = example("apivideo-upload");
    config["credentials"]["upload"]["api_key_file"] = json!(folder.file("api-key", KEY));
    config["credentials"]["upload"]["base_url"] = json!(vendor.url);
    config["origins"]["api"]["endpoints"] = json!([vendor.url]);
    let gateway = Gateway::start(config);
    let token = |name: &str| {
        let request = SignRequest { subject: Some(name.into()), expires: Some(NOW.plus(3600)), ..for_path("/upload") };
        gateway.sign_with("recorder", &request).token
    };
    let (ann, bob) = (token("ann"), token("bob"));
    let upload = async |token: &str, range: &str| {
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=xx\r\n{range}");
        let answer = client::request(gateway.addr(), "POST", "/upload?TOKEN=evil", &fields, FORM.as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(vendor.vendor().upload_tokens().iter().all(|ours| !answer.text().contains(ours.as_str())), "{}", answer.text());
    };
    upload(&ann, "Content-Range: part 1/2\r\n").await;
    upload(&bob, "").await;
    upload(&ann, "Content-Range: part 2/2\r\n").await;
    let uploads = vendor.vendor().uploads();
    let files: Vec<_> = uploads.iter().map(|upload| (upload.whole, &upload.bytes[..])).collect();
    assert_eq!(files, [(true, &b"filmfilm"[..]), (true, &b"film"[..])]);
    assert!(uploads[0].token != uploads[1].token);
    assert!(vendor.calls().iter().all(|call| !call.target.to_string().contains(&ann) && !call.target.to_string().contains("evil")));
    assert_eq!(until_left(&vendor, 0).await.len(), 0);
    let refused = client::request(gateway.addr(), "POST", "/upload", "", b"film").await;
    assert_eq!((refused.status, vendor.vendor().uploads().len()), (401, 2));
}

#[tokio::test]
async fn the_upload_token_of_a_session_is_withdrawn_when_it_ends() {
    const KEY: &str = "apivideo-api-key-5d2e";
    let clock = Clock::manual(NOW);
    let vendor = Simulator::plain(Apivideo::new(Settings::new(KEY)), &clock);
    let (origin, folder) = (Origin::plain(), Folder::new());
    let mut config = example("apivideo-upload");
    config["credentials"]["upload"]["api_key_file"] = json!(folder.file("api-key", KEY));
    config["credentials"]["upload"]["base_url"] = json!(vendor.url);
    let route = config["routes"][0].as_object_mut().expect("a route");
    route.remove("upload");
    route.insert("session".into(), json!({ "propagation": "none", "max_duration": "10m", "idle_timeout": "1h" }));
    leads(&mut config, "api", &origin);
    let gateway = Gateway::start(config);
    let uploads = async |name: &str| {
        let expires = Some(gateway.clock.now().plus(3600));
        let token = gateway.sign_with("recorder", &SignRequest { subject: Some(name.into()), expires, ..for_path("/upload") }).token;
        let answer = client::request(gateway.addr(), "POST", "/upload", &format!("Authorization: Bearer {token}\r\n"), b"film").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    uploads("ann").await;
    gateway.pass(590);
    uploads("bob").await;
    let shown: Vec<String> = origin.requests().iter().map(|seen| seen.target.split_once("token=").expect("a token").1.to_owned()).collect();
    assert!(shown.len() == 2 && shown[0] != shown[1]);
    gateway.pass(11);
    // Bob's session goes on, and with it his token.
    assert_eq!(until_left(&vendor, 1).await, [shown[1].as_str()]);
}

#[tokio::test]
async fn the_upload_token_of_a_silent_session_is_withdrawn_and_that_of_a_silent_upload_is_not() {
    const KEY: &str = "apivideo-api-key-5d2e";
    let quiet = json!({ "idle_timeout": "60s" });
    for (table, more) in [("session", over(quiet.clone(), json!({ "propagation": "none" }))), ("upload", quiet)] {
        let clock = Clock::manual(NOW);
        let vendor = Simulator::plain(Apivideo::new(Settings { least_part: 1, ..Settings::new(KEY) }), &clock);
        let folder = Folder::new();
        let mut config = example("apivideo-upload");
        config["credentials"]["upload"]["api_key_file"] = json!(folder.file("api-key", KEY));
        config["credentials"]["upload"]["base_url"] = json!(vendor.url);
        config["origins"]["api"]["endpoints"] = json!([vendor.url]);
        let route = config["routes"][0].as_object_mut().expect("a route");
        route.remove("upload");
        route.insert(table.into(), more);
        let gateway = Gateway::start(config);
        let token = gateway.sign("recorder", "/upload").token;
        let part = async |range: &str| {
            let fields = format!(
                "Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=xx\r\nContent-Range: part {range}\r\n"
            );
            client::request(gateway.addr(), "POST", "/upload", &fields, FORM.as_bytes()).await.status
        };
        assert_eq!(part("1/2").await, 201);
        gateway.pass(61);
        gateway.until_metric("sessions_active", 0.0).await;
        if table == "upload" {
            assert_eq!(part("2/2").await, 201, "it comes back with the token that it began with");
            assert_eq!(vendor.count("POST /upload-tokens"), 1);
        }
        assert_eq!(until_left(&vendor, 0).await.len(), 0, "{table}");
    }
}

#[tokio::test]
async fn a_private_s3_origin() {
    let (bucket, folder) = (aws::bucket(), Folder::new());
    let mut config = example("private-s3");
    assert_eq!(config["routes"][0]["upstream_aws"]["access_key_id"], aws::ID);
    config["routes"][0]["upstream_aws"]["secret_access_key_file"] = json!(folder.file("secret", aws::SECRET));
    leads(&mut config, "bucket", &bucket);
    let gateway = Gateway::start(config);
    assert_eq!(gateway.get("/vod/a.ts", "").await.status, 401);
    let fields = format!("Authorization: Bearer {}\r\n", gateway.sign("viewer", "/vod/a.ts").token);
    assert_eq!(gateway.get("/vod/a.ts?acl", &fields).await.text(), "media");
    assert_eq!((bucket.count(), bucket.last().target.as_str()), (1, "/vod/a.ts"));
}
