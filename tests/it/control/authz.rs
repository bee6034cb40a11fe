//! Decisions for other servers, as they ask for them; nginx itself where it is installed.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{ADMIN, ISSUER, Issuing};
use crate::support::{Origin, Reply, client};
use crate::{rig, tool};

async fn issuing(origin: &Origin) -> (Issuing, String) {
    let issuing = Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["schemes"]["viewer"]["claims"] = json!({ "paths": "paths", "networks": "nets" });
        config["routes"][0]["methods"] = json!(["GET", "HEAD", "POST"]);
        config["routes"][0]["session"] = json!({ "concurrent_per_token": 5 });
    });
    assert_eq!(issuing.ask(ADMIN, "POST", "/v1/keys", json!({})).await.status(), 201);
    let wanted =
        json!({ "scheme": "viewer", "url": "https://gate.test/live/a", "scope": "/live", "subject": "ann", "client_ip": "203.0.113.9" });
    let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
    assert_eq!(issued.status(), 201, "{}", issued.0.text());
    let token = issued.json()["token"].as_str().expect("a token").to_owned();
    (issuing, token)
}

/// An origin, and how many requests came to it.
fn media() -> (Origin, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counting = seen.clone();
    let reply = move |_: &crate::support::Seen| {
        counting.fetch_add(1, Ordering::SeqCst);
        Reply::new(200, "media")
    };
    (Origin::start(reply), seen)
}

#[tokio::test]
async fn each_server_asks_in_its_own_words() {
    let (origin, seen) = media();
    let (issuing, token) = issuing(&origin).await;
    let ask = async |target: &str, fields: &str| client::get(issuing.control, target, fields).await;
    let nginx = |uri: &str, ip: &str| format!("X-Original-URI: {uri}\r\nX-Original-Method: GET\r\nX-Real-IP: {ip}\r\n");
    let good = format!("/live/a?token={token}");
    let answer = ask("/authz/nginx", &nginx(&good, "203.0.113.9")).await;
    assert_eq!((answer.status, answer.field("x-tollgate-subject"), answer.field("x-tollgate-route")), (200, Some("ann"), Some("vod")));
    assert!(answer.field("x-tollgate-session").is_some());
    for (uri, ip, status, code) in [
        ("/live/a", "203.0.113.9", 401, "token_missing"),
        ("/live/a?token=x", "203.0.113.9", 401, "token_invalid"),
        (&*good, "203.0.113.8", 403, "token_address"),
        (&*good.replace("/live", "/film"), "203.0.113.9", 403, "token_path"),
    ] {
        let answer = ask("/authz/nginx", &nginx(uri, ip)).await;
        assert_eq!(answer.status, status, "{uri} {ip}: {}", answer.text());
        assert!(answer.field("x-tollgate-code") == Some(code), "{uri}: {answer:?}");
    }
    let forward = |uri: &str, from: &str| {
        format!(
            "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gate.test\r\nX-Forwarded-Uri: {uri}\r\nX-Forwarded-For: {from}\r\n"
        )
    };
    assert_eq!(ask("/authz/forward", &forward(&good, "203.0.113.9")).await.status, 200);
    assert_eq!(ask("/authz/forward", &forward(&good, "203.0.113.9, 198.51.100.1")).await.status, 403, "the last hop is the viewer");
    assert_eq!(ask("/authz/forward", "").await.status, 400);
    let envoy = "X-Envoy-External-Address: 203.0.113.9\r\n";
    assert_eq!(ask(&format!("/authz/envoy{good}"), envoy).await.status, 200);
    assert_eq!(ask("/authz/envoy/live/a", envoy).await.status, 401);
    let mediamtx = |action: &str, password: &str| json!({ "user": "", "password": password, "ip": "203.0.113.9", "action": action, "path": "live/a", "protocol": "rtsp", "id": null, "query": "" });
    for (action, password, status) in [("read", &*token, 200), ("publish", &token, 200), ("read", "", 401), ("api", &token, 400)] {
        let answer = issuing.ask_with("POST", "/authz/mediamtx", "", mediamtx(action, password)).await;
        assert_eq!(answer.status(), status, "{action}: {}", answer.0.text());
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "nothing goes to the origin");
}

#[tokio::test]
async fn only_known_peers_may_ask() {
    let (origin, _) = media();
    let issuing = Issuing::start(&origin.url, |config| config["control"]["authz_peers"] = json!(["192.0.2.0/24"]));
    assert_eq!(client::get(issuing.control, "/authz/nginx", "X-Original-URI: /\r\n").await.status, 403);
}

/// A free port, as far as anyone can tell.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn nginx_lets_in_whom_the_gateway_lets_in() {
    let Some(nginx) = tool::find("nginx") else {
        tool::here("authz with nginx", Some("nginx"));
        return;
    };
    let (origin, seen) = media();
    let (issuing, token) = issuing(&origin).await;
    let (folder, port) = (rig::Folder::new(), port());
    let control = issuing.control;
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n \
         server {{\n  listen 127.0.0.1:{port};\n  location / {{\n   auth_request /authz;\n   auth_request_set $subject $upstream_http_x_tollgate_subject;\n   \
         add_header X-Subject $subject;\n   proxy_pass {origin};\n  }}\n  location = /authz {{\n   internal;\n   \
         proxy_pass http://{control}/authz/nginx;\n   proxy_pass_request_body off;\n   proxy_set_header Content-Length \"\";\n   \
         proxy_set_header Host $host;\n   proxy_set_header X-Original-URI $request_uri;\n   \
         proxy_set_header X-Original-Method $request_method;\n   proxy_set_header X-Real-IP $http_x_viewer;\n  }}\n }}\n}}\n",
        origin = origin.url,
    );
    let file = folder.file("nginx.conf", &config);
    let started = Command::new(nginx).arg("-p").arg(folder.path()).arg("-c").arg(&file).stderr(Stdio::null()).spawn().expect("nginx");
    let _nginx = Killed(started);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let up = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), up).await.expect("nginx listens");
    let viewer = "X-Viewer: 203.0.113.9\r\nConnection: close\r\n";
    let good = client::get(address, &format!("/live/a?token={token}"), viewer).await;
    assert_eq!((good.status, good.field("x-subject"), good.text().as_str()), (200, Some("ann"), "media"));
    assert_eq!(client::get(address, "/live/a", viewer).await.status, 401);
    assert_eq!(client::get(address, &format!("/film/a?token={token}"), viewer).await.status, 403);
    let elsewhere = "X-Viewer: 203.0.113.8\r\nConnection: close\r\n";
    assert_eq!(client::get(address, &format!("/live/a?token={token}"), elsewhere).await.status, 403);
    assert_eq!(seen.load(Ordering::SeqCst), 1, "only one came to the origin");
}
