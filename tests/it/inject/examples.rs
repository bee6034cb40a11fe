//! The examples of the README, run as they stand but for their addresses and keys.

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};
use tollgate::token::SignRequest;

use super::aws;
use crate::rig::Folder;
use crate::support::client;
use crate::support::gateway::{NOW, for_path, key};
use crate::support::vendors::Simulator;
use crate::support::{Gateway, Origin, Reply, Seen, within};

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
    const TOKEN: &str = "cf-api-token-0a1b2c3d";
    let uploads = Origin::start(|seen: &Seen| match seen.method.as_str() {
        "PATCH" => Reply::new(204, "").with("Upload-Offset", "5"),
        _ => Reply::new(200, "stored"),
    });
    let (tus, one_time) = (format!("{}/tus/9?tusv2=true", uploads.url), format!("{}/u1", uploads.url));
    let api = Origin::start(move |seen: &Seen| {
        if seen.target.starts_with("/client/v4/accounts/ACCOUNT/stream/direct_upload") {
            let body = json!({ "success": true, "result": { "uploadURL": one_time, "uid": "u1" } });
            return Reply::new(200, body.to_string()).with("Content-Type", "application/json");
        }
        Reply::new(201, "").with("Location", &tus).with("stream-media-id", "u9").with("Tus-Resumable", "1.0.0")
    });
    let mut config = example("cloudflare-upload");
    config["credentials"]["stream"] = json!({ "type": "static", "secret": TOKEN });
    leads(&mut config, "api", &api);
    leads(&mut config, "uploads", &uploads);
    config["origins"]["uploads-tus"]["endpoints"] = json!(["http://127.0.0.1:1"]);
    let gateway = Gateway::start(config);
    let fields = format!("Authorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n", gateway.sign("recorder", "/stream").token);
    let made = client::request(gateway.addr(), "POST", "/stream?direct_user=true", &format!("{fields}Upload-Length: 5\r\n"), b"").await;
    assert_eq!((made.status, made.field("stream-media-id")), (201, Some("u9")));
    let asked = api.last();
    assert_eq!(asked.target, "/client/v4/accounts/ACCOUNT/stream?direct_user=true");
    assert_eq!(asked.field("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let location = made.field("location").expect("an address").replace("http://gate.test", "");
    let sent = client::request(gateway.addr(), "PATCH", &location, &format!("{fields}Upload-Offset: 0\r\n"), b"media").await;
    assert_eq!((sent.status, sent.field("upload-offset")), (204, Some("5")));
    let seen = uploads.last();
    assert_eq!((seen.target.as_str(), seen.body.as_slice(), seen.field("authorization")), ("/tus/9?tusv2=true", &b"media"[..], None));
    let made = client::request(gateway.addr(), "POST", "/stream/direct_upload", &fields, b"{\"maxDurationSeconds\":60}").await;
    let read: Value = serde_json::from_slice(&made.body).expect("JSON");
    let address = read["result"]["uploadURL"].as_str().expect("an address").replace("http://gate.test", "");
    assert!(address.starts_with("/stream/direct_upload/up~"), "{address}");
    assert_eq!(client::request(gateway.addr(), "POST", &address, &fields, b"media").await.text(), "stored");
    assert_eq!(uploads.last().target, "/u1");
}

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
        const FORM: &str = "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\nfilm\r\n--xx--\r\n";
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
