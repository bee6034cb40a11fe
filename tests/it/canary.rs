//! Secrets with a marker in them go in by every door; the marker must come out by none.
//!
//! The program runs with its log as loud as it gets. What it writes, answers, counts and sends to the
//! origin is searched for the marker as it is, in base64, in hexadecimal and percent-encoded.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use crate::rig::{self, Folder, Process};

/// In every secret of this suite.
const MARKER: &str = "CanaryQx7";

/// The marker as it could come out, and what has no room for a marker: parts of keys and of tokens.
struct Markers {
    texts: Vec<String>,
}

impl Markers {
    fn new() -> Self {
        let mut texts = vec![MARKER.to_ascii_lowercase()];
        texts.push(MARKER.bytes().map(|byte| format!("{byte:02x}")).collect());
        // Base64 of a text depends on where in a group of three it begins; the outer letters on what stands around it.
        for shift in 0..3 {
            let padded = [&vec![b'.'; shift], MARKER.as_bytes()].concat();
            let whole = STANDARD.encode(padded);
            texts.push(whole.trim_end_matches('=')[if shift == 0 { 0 } else { shift + 1 }..].to_owned());
            let last = texts.last_mut().expect("pushed");
            last.truncate(last.len() - 1);
        }
        Self { texts }
    }

    /// Also looks for this very text.
    fn add(&mut self, text: &str) {
        assert!(text.len() >= 12, "too short to be told from chance: {text}");
        self.texts.push(text.to_owned());
    }

    /// A token: each of its parts, but for a head that says nothing.
    fn add_token(&mut self, token: &str) {
        token.split('.').skip(1).for_each(|part| self.add(part));
    }

    /// Lines in which one of them stands.
    fn found_in(&self, what: &str, text: &str) -> Vec<String> {
        let decoded = percent_decoded(text);
        let leaks = |line: &str| {
            let lower = line.to_ascii_lowercase();
            self.texts.iter().any(|marker| line.contains(marker.as_str()) || lower.contains(marker.as_str()))
        };
        let lines = text.lines().chain(decoded.lines().filter(|_| decoded != text));
        lines.filter(|line| leaks(line)).map(|line| format!("{what}: {line}")).collect()
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok())).flatten();
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let markers = Markers::new();
    for text in [
        format!("a {MARKER} b"),
        MARKER.to_uppercase(),
        STANDARD.encode(format!("x{MARKER}y")),
        STANDARD.encode(format!("xy{MARKER}")),
        URL_SAFE_NO_PAD.encode(format!("xyz{MARKER}")),
        MARKER.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        MARKER.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ] {
        assert_eq!(markers.found_in("text", &text).len(), 1, "{text}");
    }
    assert!(markers.found_in("text", "a canary sings").is_empty());
}

/// An origin that keeps every byte it gets.
struct Origin {
    address: SocketAddr,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Origin {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, got) = (listener.local_addr().expect("bound"), Arc::new(Mutex::new(Vec::new())));
        let kept = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self { address, got }
    }

    fn got(&self) -> String {
        String::from_utf8_lossy(&self.got.lock().expect("unpoisoned")).into_owned()
    }
}

fn answer(mut stream: TcpStream, kept: &Mutex<Vec<u8>>) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        kept.lock().expect("unpoisoned").extend_from_slice(&buffer[..length]);
        head.extend_from_slice(&buffer[..length]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            head.drain(..end + 4);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: video/mp4\r\n\r\nmedia");
        }
    }
}

/// The gateway, its origin, what is looked for, and all that came out so far.
struct Scene {
    gateway: Process,
    folder: Folder,
    origin: Origin,
    markers: Markers,
    config: String,
    seen: Vec<(String, String)>,
    /// Tickets of sessions: they belong into answers, and nowhere else.
    tickets: Vec<String>,
}

const COOKIE: &str = "session";

impl Scene {
    fn new() -> Self {
        let (folder, origin, mut markers) = (Folder::new(), Origin::new(), Markers::new());
        crate::media::certificate(&folder);
        private_parts(&mut markers, &folder, "key.pem");
        let made = rig::run(&["keys", "generate", "ed25519", "--out", "keys", "--output", "json"], folder.path());
        let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
        let pem = made["files"][1].as_str().expect("a file").to_owned();
        private_parts(&mut markers, &folder, &pem);
        folder.file("secret", &format!("a-secret-in-a-file-{MARKER}-of-thirty-two-bytes"));
        let config = config(origin.address, &pem);
        let file = folder.file("tollgate.toml", &config);
        let gateway = Process::serve(&file, &[]);
        Self { gateway, folder, origin, markers, config, seen: Vec::new(), tickets: Vec::new() }
    }

    /// A token of this scheme in its place: the path with its query.
    fn sign(&mut self, scheme: &str, path: &str, more: &[&str]) -> String {
        let url = format!("http://video.example.com{path}");
        let subject = format!("viewer-{MARKER}");
        let arguments = [&["sign", "--scheme", scheme, "--subject", &subject, "--output", "json", &url], more].concat();
        let ended = rig::run(&arguments, self.folder.path());
        let made: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        self.markers.add_token(made["token"].as_str().expect("a token"));
        made["url"].as_str().expect("a URL").replace("http://video.example.com", "")
    }

    fn token(&mut self, more: &[&str]) -> String {
        let target = self.sign("shared", "/media/a", more);
        target.split("t=").nth(1).and_then(|rest| rest.split('/').next()).expect("a token").to_owned()
    }

    /// Sends bytes to a listener; gives the status, 0 when it just closed.
    fn raw(&mut self, listener: usize, bytes: &str) -> u16 {
        let answer = rig::send(self.gateway.addresses()[listener], bytes.as_bytes());
        let line = bytes.lines().next().unwrap_or("").chars().take(60).collect::<String>();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        self.seen.push((format!("answer to {line}"), answer.map_or(String::new(), |answer| format!("{}\n{}", answer.head, answer.body))));
        status
    }

    fn ask(&mut self, method: &str, target: &str, fields: &str) -> u16 {
        self.raw(0, &format!("{method} {target} HTTP/1.1\r\nHost: video.example.com\r\nConnection: close\r\n{fields}\r\n"))
    }

    fn allowed(&mut self, method: &str, target: &str, fields: &str) {
        let status = self.ask(method, target, fields);
        assert_eq!(status, 200, "{method} {target} {fields}: {:?}", self.seen.last());
    }

    fn refused(&mut self, target: &str, fields: &str) {
        let status = self.ask("GET", target, fields);
        assert!((400..500).contains(&status), "{target} {fields}: {:?}", self.seen.last());
    }

    /// Requests over HTTP/2 on one connection.
    fn h2(&mut self, requests: &[(&str, &str, &str)]) {
        let address = self.gateway.addresses()[1];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answers = runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.expect("connect");
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.expect("HTTP/2");
            tokio::spawn(connection);
            let mut answers = Vec::new();
            for (target, name, value) in requests {
                let request = http::Request::get(format!("http://video.example.com{target}")).header(*name, *value);
                let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
                let Ok(answer) = sender.send_request(request).await else { continue };
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                answers.push(format!("{head:?}\n{}", String::from_utf8_lossy(&body)));
            }
            answers
        });
        assert!(!answers.is_empty());
        self.seen.extend(answers.into_iter().map(|answer| ("answer over HTTP/2".to_owned(), answer)));
    }

    fn reload(&mut self, config: &str, taken: bool) {
        let word = if taken { "config taken" } else { "config not taken" };
        let before = self.gateway.said().matches(word).count();
        self.folder.file("tollgate.toml", config);
        self.gateway.wait_for_times(word, before + 1);
    }

    fn operators(&mut self) {
        for path in ["/metrics", "/ready", "/version"] {
            let answer = rig::get(self.gateway.admin(), path);
            self.seen.push((path.to_owned(), format!("{}\n{}", answer.head, answer.body)));
        }
    }

    fn leaks(&self) -> Vec<String> {
        let mut found = self.markers.found_in("log", &self.gateway.said());
        found.extend(self.markers.found_in("origin", &self.origin.got()));
        let out = format!("{}\n{}", self.gateway.said(), self.origin.got());
        found.extend(self.tickets.iter().filter(|ticket| out.contains(ticket.as_str())).map(|ticket| format!("ticket: {ticket}")));
        found.extend(self.seen.iter().flat_map(|(what, text)| self.markers.found_in(what, text)));
        found
    }
}

/// A private key's own lines.
fn private_parts(markers: &mut Markers, folder: &Folder, pem: &str) {
    let text = std::fs::read_to_string(folder.path().join(pem)).expect("a key");
    // The first line of the base64 begins with what all keys of a kind share.
    text.lines().filter(|line| !line.starts_with('-')).for_each(|line| markers.add(&line[line.len() - 20..]));
}

fn config(origin: SocketAddr, pem: &str) -> String {
    format!(
        r#"
[server]
workers = 1
listeners = [
    {{ address = "127.0.0.1:0" }},
    {{ address = "127.0.0.2:0", h2c = true }},
    {{ address = "127.0.0.3:0", tls = {{ certificates = [{{ cert_file = "cert.pem", key_file = "key.pem" }}] }} }},
]
[server.limits]
refusal_burst = 10000
[admin]
address = "127.0.0.1:0"
[log]
level = "trace"
[keys.shared]
secret = "a-shared-secret-{MARKER}-of-thirty-two-bytes"
[keys.pair]
file = "{pem}"
[keys.filed]
secret_file = "secret"
[schemes.shared]
type = "jwt"
keys = "shared"
carriers = [{{ path_prefix = "t=" }}, {{ query = "token" }}, {{ header = "authorization" }}, {{ header = "x-token" }}, {{ cookie = "{COOKIE}" }}]
[schemes.pair]
type = "jwt"
keys = "pair"
carriers = ["path-segment"]
[schemes.filed]
type = "jwt"
keys = "filed"
carriers = [{{ path_parameter = "p" }}]
[origins.media]
endpoints = ["http://{origin}"]
[origins.down]
endpoints = ["http://127.0.0.1:9"]
[[routes]]
name = "media"
path = "/media"
accept = ["shared"]
origin = "media"
[[routes]]
name = "pair"
path = "/pair"
accept = ["pair"]
origin = "media"
[[routes]]
name = "filed"
path = "/filed"
accept = ["filed"]
origin = "media"
allow_path_parameters = true
[[routes]]
name = "watch"
path = "/watch"
accept = ["shared"]
origin = "media"
[routes.session]
concurrent_per_token = 1
[[routes]]
name = "down"
path = "/down"
accept = ["shared"]
origin = "down"
"#
    )
}

/// Tokens that are let in, at every place.
fn let_in(scene: &mut Scene) {
    let token = scene.token(&[]);
    for (target, fields) in [
        (format!("/media/t={token}/a.m4s"), String::new()),
        (format!("/media/a.m4s?b=1&token={token}&c=2"), String::new()),
        ("/media/a.m4s".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        ("/media/a.m4s".to_owned(), format!("X-Token: {token}\r\n")),
        ("/media/a.m4s".to_owned(), format!("Cookie: theme=dark; {COOKIE}={token}; a=b\r\n")),
        (format!("/media/t={token}/a.m4s"), format!("Referer: http://video.example.com/media/t={token}/page\r\n")),
        (format!("/media/a?token={token}"), format!("Referer: http://video.example.com/page?token={token}&x=y\r\n")),
        (format!("/media/t={token}/a.m4s?token={token}"), format!("X-Token: {token}\r\nCookie: {COOKIE}={token}\r\n")),
    ] {
        scene.allowed("GET", &target, &fields);
        scene.allowed("HEAD", &target, &fields);
    }
    for (scheme, path) in [("pair", "/pair/a.m4s"), ("filed", "/filed/a.m4s")] {
        let target = scene.sign(scheme, path, &[]);
        scene.allowed("GET", &target, "");
    }
    let requests = [
        (format!("/media/t={token}/a"), "x-a", "b".to_owned()),
        ("/media/a".to_owned(), "x-token", token.clone()),
        (format!("/media/a?token={token}"), "x-a", "b".to_owned()),
    ];
    let requests: Vec<_> = requests.iter().map(|(target, name, value)| (target.as_str(), *name, value.as_str())).collect();
    scene.h2(&requests);
}

/// A session, its ticket, and what is refused of it.
fn in_session(scene: &mut Scene) {
    let token = scene.token(&[]);
    let status = scene.ask("GET", &format!("/watch/a.m3u8?token={token}&b=1"), "");
    let (_, answer) = scene.seen.last().expect("an answer").clone();
    assert!((300..400).contains(&status), "{answer}");
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("a location").trim().to_owned();
    let ticket = location.split('/').find(|segment| segment.starts_with("tg~")).expect("a ticket").to_owned();
    // Longer than any segment that is logged as it is: that is how the log knows a ticket.
    assert!(ticket.len() > 48, "{ticket}");
    scene.tickets.push(ticket.trim_start_matches("tg~").to_owned());
    let target = location.trim_start_matches("http://video.example.com").to_owned();
    scene.allowed("GET", &target, "");
    scene.allowed("GET", &target.replace("a.m3u8", "a.m4s"), &format!("Referer: http://video.example.com{target}\r\n"));
    let other = format!("{}AAAA", &ticket[..ticket.len() - 4]);
    scene.tickets.push(other.trim_start_matches("tg~").to_owned());
    scene.refused(&target.replace(&ticket, &other), "");
    scene.refused(&format!("/media/{ticket}/a.m4s"), "");
    scene.refused("/watch/tg~no-ticket/a.m4s", "");
    // Another viewer with the same token: one too many.
    scene.ask("GET", &format!("/watch/b.m3u8?token={token}"), "User-Agent: another\r\n");
}

/// Tokens that are not, at every place.
fn kept_out(scene: &mut Scene) {
    let late = scene.token(&["--expires", "1000", "--now", "1"]);
    let good = scene.token(&[]);
    let other = good.replace(&good[good.len() - 12..good.len() - 8], "AAAA");
    scene.markers.add_token(&other);
    let plain = format!("{MARKER}-plain");
    let jws_like = format!("eyJ{}.{MARKER}.x", "a".repeat(60));
    for token in [&late, &other, &plain, &jws_like] {
        scene.refused(&format!("/media/t={token}/a.m4s"), "");
        scene.refused(&format!("/media/a.m4s?token={token}"), "");
        scene.refused(&format!("/media/a.m4s?token={token}&token=x"), "");
        scene.refused("/media/a.m4s", &format!("Authorization: Bearer {token}\r\n"));
        scene.refused("/media/a.m4s", &format!("X-Token: {token}\r\n"));
        scene.refused("/media/a.m4s", &format!("Cookie: {COOKIE}={token}\r\n"));
        scene.refused(&format!("/filed/a.m4s;p={token}"), "");
        scene.refused(&format!("/media/t={good}/a?token={token}"), "");
        scene.h2(&[(&format!("/media/t={token}/a"), "x-a", "b"), ("/media/a", "authorization", &format!("Bearer {token}"))]);
    }
    scene.refused(&format!("/pair/{late}/a"), "");
}

/// Heads with more than one reading, each with a token in it.
fn bad_heads(scene: &mut Scene) {
    let token = scene.token(&[]);
    for path in ["%2e%2e/a", "../a", "/a", "a%2fb", "a\\b", "%zz", "a%00", "%61"] {
        scene.refused(&format!("/media/t={token}/{path}"), "");
        scene.refused(&format!("/media/t={MARKER}/{path}"), "");
        scene.refused(&format!("/media/{path}?token={token}"), "");
    }
    scene.refused(&format!("/media/t%3D{MARKER}/a"), "");
    scene.refused(&format!("/media/a?token={token}<"), "");
    scene.refused(&format!("/elsewhere/t={token}/a?token={token}"), "");
    scene.refused(&format!("/media/a;token={MARKER}"), "");
    let field = format!("X-Token: {token}\r\n");
    for extra in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        format!("X-Fold: a\r\n  X-Token: {token}\r\n"),
        format!("X-Token : {token}\r\n"),
        format!("X-Nul: \0{token}\r\n"),
        "Host: other.example\r\n".to_owned(),
        format!("Transfer-Encoding: {token}\r\n"),
        format!("Content-Length: {token}\r\n"),
    ] {
        scene.raw(0, &format!("GET /media/a HTTP/1.1\r\nHost: video.example.com\r\nConnection: close\r\n{field}{extra}\r\n"));
    }
    for whole in [
        format!("{token}\r\n\r\n"),
        format!("GET /media/t={token}/a\r\n\r\n"),
        format!("GET /media/t={token}/a HTTP/3.0\r\nHost: a\r\n\r\n"),
        format!("GET /media/t={token}/a HTTP/1.1\r\n{field}Connection: close\r\n\r\n"),
        format!("GET /media/a#t={token} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("CONNECT {MARKER}.example:443 HTTP/1.1\r\nHost: {MARKER}.example\r\n{field}\r\n").replace(MARKER, "a"),
        format!("TRACE /media/t={token}/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n"),
        format!("DELETE /media/t={token}/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n"),
        format!(
            "OPTIONS /media/t={token}/a HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n"
        ),
    ] {
        // To the plain listener, to the one that looks for HTTP/2, and to the one that waits for TLS.
        (0..3).for_each(|listener| _ = scene.raw(listener, &whole));
    }
}

/// Heads that are too large, each with a token in it.
fn oversize(scene: &mut Scene) {
    let token = scene.token(&[]);
    for length in [9_000, 40_000, 300_000] {
        let filling = "a".repeat(length);
        assert_ne!(scene.ask("GET", &format!("/media/t={token}/{filling}"), ""), 200);
        assert_ne!(scene.ask("GET", &format!("/media/a?token={token}{filling}"), ""), 200);
    }
    assert_eq!(scene.ask("GET", "/media/a", &format!("X-Token: {token}\r\nX-Fill: {}\r\n", "a".repeat(40_000))), 431);
    assert_eq!(scene.ask("GET", "/media/a", &format!("X-Token: {token}\r\n").repeat(200)), 431);
    scene.h2(&[
        ("/media/a", "x-token", &token),
        ("/media/a", "x-token", &token.repeat(300)),
        (&format!("/media/{}", token.repeat(60)), "a", "b"),
    ]);
}

#[test]
fn no_secret_comes_out_while_serving() {
    let mut scene = Scene::new();
    let_in(&mut scene);
    in_session(&mut scene);
    kept_out(&mut scene);
    bad_heads(&mut scene);
    oversize(&mut scene);
    let token = scene.token(&[]);
    assert_eq!(scene.ask("GET", &format!("/down/t={token}/a?token={token}"), ""), 502);
    assert_eq!(scene.ask("POST", &format!("/down/t={token}/a"), "Content-Length: 0\r\n"), 405);
    scene.operators();
    scene.gateway.signal("TERM");
    scene.gateway.ended();
    assert!(scene.gateway.logged("request").len() > 100, "the access log was on");
    assert!(scene.origin.got().matches("GET /").count() > 10, "the origin was asked");
    assert!(scene.gateway.said().contains("\"TRACE\"") || scene.gateway.said().contains("\"DEBUG\""), "the log was loud");
    let leaks = scene.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn no_secret_comes_out_of_a_config() {
    let mut scene = Scene::new();
    let good = scene.config.clone();
    let secret = format!("secret = \"a-shared-secret-{MARKER}-of-thirty-two-bytes\"");
    let shared = |line: &str| good.replace(&secret, line);
    for broken in [
        shared(&format!("secrt = \"{MARKER}-mistyped\"")),
        shared(&format!("secret = \"{MARKER}-not-ended")),
        shared(&format!("secret = [\"{MARKER}-in-a-list\"]")),
        shared(&format!("secret = {MARKER}-bare")),
        shared(&format!("secret = \"{MARKER}-too-short\"")),
        shared(&format!("secret = \"{MARKER}-%%%\"\nencoding = \"base64\"")),
        shared(&format!("secret = \"{MARKER}-zz\"\nencoding = \"hex\"")),
        shared(&format!("inline = \"-----BEGIN PRIVATE KEY-----\\n{MARKER}\\n-----END PRIVATE KEY-----\"")),
        shared(&format!("inline = '{{\"kty\":\"oct\",\"k\":\"{MARKER}\"}}'")),
        shared(&format!("inline = \"{MARKER}-nothing-known\"")),
        shared(&format!("{secret}\n{secret}")),
        shared(&format!("{secret}\npassword = \"{MARKER}-unknown-key\"")),
        shared(&format!("{secret}\ninline = \"{MARKER}-two-sources\"")),
        shared(&format!("secret_env = \"{MARKER}_NO_SUCH_VARIABLE\"")).replace(MARKER, "A"),
        shared(&format!("url = \"https://user:{MARKER}@127.0.0.1:9/jwks.json\"")),
        shared(&format!("url = \"ftp://a.example/jwks.json?key={MARKER}\"")),
        good.replace("http://127.0.0.1:9\"", &format!("http://user:{MARKER}@127.0.0.1:9\"")),
        format!("{good}\nsecret = \"{MARKER}-in-the-wrong-place\"\n"),
        format!("{good}\n[keys.more]\ntoken = \"{MARKER}\"\n"),
        good.replace("keys = \"pair\"", &format!("keys = \"pair\"\nsecret = \"{MARKER}-in-a-scheme\"")),
    ] {
        scene.reload(&broken, false);
        let checked = rig::run(&["check"], scene.folder.path());
        scene.seen.push(("check".into(), format!("{}{}", checked.stdout, checked.stderr)));
        let checked = rig::run(&["check", "--output", "json"], scene.folder.path());
        scene.seen.push(("check as JSON".into(), format!("{}{}", checked.stdout, checked.stderr)));
    }
    // A key set behind a key of its own: the address is taken, and cannot be reached.
    let remote = format!("url = \"http://127.0.0.1:9/jwks.json?key={MARKER}\"");
    scene.reload(&shared(&remote), true);
    scene.gateway.wait_for("key set not fetched");
    scene.operators();
    explain_and_run(&mut scene, &shared(&remote), &good);
    let leaks = scene.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// What `explain` says of tokens and keys; the URL and grant that it was asked about are its answer.
fn explain_and_run(scene: &mut Scene, remote: &str, good: &str) {
    let folder = scene.folder.path().to_owned();
    let say = |what: &str, arguments: &[&str], folder: &Path| {
        let ended = rig::run(arguments, folder);
        (what.to_owned(), format!("{}{}", ended.stdout, ended.stderr))
    };
    scene.seen.push(say("explain with fetched keys", &["explain", "http://a/media/a"], &folder));
    scene.folder.file("tollgate.toml", remote);
    scene.seen.push(say("explain a refused token", &["explain", &format!("http://a/media/t={MARKER}/a")], &folder));
    scene.folder.file("tollgate.toml", good);
    scene.seen.push(say("set a secret", &["check", "--set", &format!("keys.shared.secrt={MARKER}")], &folder));
}
