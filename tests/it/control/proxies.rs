//! Other servers in front of an origin, by the configs of `deploy/authz`: they let in whom the gateway lets in, and say what it says.

use std::path::PathBuf;
use std::process::Command;

use super::authz::{deciding, issued};
use super::{ADMIN, Issuing};
use crate::peer::{self, Peer, free_port};
use crate::rig::Folder;
use crate::support::client::Answer;
use crate::support::{Origin, client};
use crate::tool;

/// One server: what it is called, where its program is, its files, and how it is started.
struct Server {
    name: &'static str,
    program: fn() -> Option<PathBuf>,
    files: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    /// Whether it makes 403 of every refusal but 401.
    two_refusals: bool,
}

const NGINX: Server = Server {
    name: "nginx",
    program: peer::nginx,
    files: &[("nginx.conf", include_str!("../../../deploy/authz/nginx.conf"))],
    arguments: &["-p", ".", "-c", "nginx.conf", "-g", "daemon off; master_process off;"],
    two_refusals: true,
};
const CADDY: Server = Server {
    name: "caddy",
    program: || installed("caddy/bin/caddy"),
    files: &[("Caddyfile", include_str!("../../../deploy/authz/Caddyfile"))],
    arguments: &["run", "--config", "Caddyfile"],
    two_refusals: false,
};
const TRAEFIK: Server = Server {
    name: "traefik",
    program: || installed("traefik/bin/traefik"),
    files: &[
        ("traefik.yml", include_str!("../../../deploy/authz/traefik.yml")),
        ("traefik-routes.yml", include_str!("../../../deploy/authz/traefik-routes.yml")),
    ],
    arguments: &["--configfile=traefik.yml"],
    two_refusals: false,
};
const ENVOY: Server = Server {
    name: "envoy",
    program: || installed("envoy/envoy/_bin/envoy"),
    files: &[("envoy.yaml", include_str!("../../../deploy/authz/envoy.yaml"))],
    arguments: &["-c", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"],
    two_refusals: false,
};

/// A program below `target`, where `tests/run` puts it.
fn installed(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).join(path)).filter(|file| file.is_file())
}

impl Server {
    /// Started by its config, with the addresses of this test in place of those that are written there.
    async fn start(&self, folder: &Folder, issuing: &Issuing, origin: &Origin) -> Option<Peer> {
        let program = (self.program)();
        if !tool::here("decisions for another server", program.is_none().then_some(self.name)) {
            return None;
        }
        let address = free_port();
        let ports = [("8080", address), ("9910", issuing.control), ("3000", origin.addr)];
        for (name, text) in self.files {
            folder.file(name, &ports.iter().fold((*text).to_owned(), |text, (old, new)| text.replace(old, &new.port().to_string())));
        }
        let mut command = Command::new(program?);
        command
            .args(self.arguments)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME");
        let peer = Peer::start(&mut command, address);
        // Some listen before they know their routes.
        let refuses = async { while client::get(address, "/live/a", AGENT).await.status != 401 {} };
        let refuses = tokio::time::timeout(std::time::Duration::from_secs(30), refuses).await;
        assert!(refuses.is_ok(), "{} never refused:\n{}", self.name, peer.process.said());
        Some(peer)
    }

    /// Holds a refusal against what the gateway says of it.
    fn assert_refused(&self, what: &str, answer: &Answer, status: u16, code: &str) {
        let status = if self.two_refusals && status != 401 { 403 } else { status };
        let said = (answer.status, answer.code(), answer.field("content-type").map(str::to_owned));
        assert_eq!(said, (status, code.to_owned(), Some("application/problem+json".to_owned())), "{}: {what}", self.name);
        assert_eq!(answer.field("www-authenticate").is_some(), status == 401, "{}: {what}: {answer:?}", self.name);
    }
}

const AGENT: &str = "User-Agent: one\r\nConnection: close\r\n";
/// What a viewer may send to be taken for another one, or for one who asks for something else.
const SPOOFED: &str = "User-Agent: one\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n\
    X-Envoy-External-Address: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Method: GET\r\nX-Original-Method: GET\r\n\
    X-Forwarded-Uri: /live/a\r\nX-Original-URI: /live/a\r\nX-Original-URL: /live/a\r\nX-Envoy-Original-Path: /live/a\r\n\
    X-Tollgate-Subject: eve\r\nX-Tollgate-Asset: everything\r\nX-Tollgate-Session: stolen\r\n";

async fn decides(server: &Server) {
    let (folder, origin) = (Folder::new(), Origin::plain());
    let issuing = deciding(&origin, 1).await;
    let Some(peer) = server.start(&folder, &issuing, &origin).await else { return };
    let ask = async |method: &str, target: &str, fields: &str| client::request(peer.address, method, target, fields, b"").await;
    let (_, elsewhere) = issued(&issuing, "/live", "203.0.113.9").await;
    let (id, token) = issued(&issuing, "/live", "127.0.0.1").await;
    let (_, everywhere) = issued(&issuing, "/", "127.0.0.1").await;
    let query = |path: &str, token: &str| format!("{path}?token={token}");

    for (what, target, fields) in [
        ("in the query", query("/live/a", &token), AGENT),
        ("in the path", format!("/{everywhere}/live/a"), AGENT),
        ("with much else", query("/live/a", &token), SPOOFED),
    ] {
        let answer = ask("GET", &target, fields).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "media"), "{}: {what}: {answer:?}", server.name);
        let seen = origin.last();
        let said = ["subject", "route", "asset"].map(|name| seen.field(&format!("x-tollgate-{name}")));
        assert_eq!((seen.target.as_str(), said), (target.as_str(), [Some("ann"), Some("vod"), None]), "{}: {what}", server.name);
        assert!(seen.field("x-tollgate-session").is_some_and(|session| session != "stolen"), "{}: {}", server.name, seen.head);
    }
    let let_in = origin.count();
    for (what, method, target, status, code) in [
        ("no token", "GET", "/live/a".to_owned(), 401, "token_missing"),
        ("a bad token", "GET", query("/live/a", "x"), 401, "token_invalid"),
        ("a token of another address", "GET", query("/live/a", &elsewhere), 403, "token_address"),
        ("a token for other paths", "GET", query("/film/a", &token), 403, "token_path"),
        ("a method that is not served", "DELETE", query("/live/a", &token), 405, "method_not_allowed"),
    ] {
        server.assert_refused(what, &ask(method, &target, SPOOFED).await, status, code);
    }
    let second = AGENT.replace("one", "two");
    server.assert_refused("one viewer too many", &ask("GET", &query("/live/a", &token), &second).await, 403, "session_concurrent_token");
    assert_eq!(ask("GET", &query("/live/b", &token), AGENT).await.status, 200, "{}: the first one goes on", server.name);
    assert_eq!(issuing.ask(ADMIN, "DELETE", &format!("/v1/tokens/{id}"), serde_json::Value::Null).await.status(), 200);
    server.assert_refused("a withdrawn token", &ask("GET", &query("/live/a", &token), AGENT).await, 403, "token_revoked");
    assert_eq!(origin.count(), let_in + 1, "{}: what is refused does not come to the origin", server.name);
}

#[tokio::test]
async fn nginx_lets_in_whom_the_gateway_lets_in() {
    decides(&NGINX).await;
}

#[tokio::test]
async fn caddy_lets_in_whom_the_gateway_lets_in() {
    decides(&CADDY).await;
}

#[tokio::test]
async fn traefik_lets_in_whom_the_gateway_lets_in() {
    decides(&TRAEFIK).await;
}

#[tokio::test]
async fn envoy_lets_in_whom_the_gateway_lets_in() {
    decides(&ENVOY).await;
}
