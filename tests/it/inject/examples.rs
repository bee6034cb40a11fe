//! The examples of the README, run as they stand but for their addresses and keys.

use serde_json::{Value, json};

use crate::support::client;
use crate::support::gateway::key;
use crate::support::{Gateway, Origin, Reply, Seen};

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
