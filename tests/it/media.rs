//! Real players through a real gateway, in front of the demo origin, with tokens in the path.

use serde_json::{Value, json};

use tollgate::app::Gateway;
use tollgate::clock::Clock;
use tollgate::demo::origin;
use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{KeySet, KeySource, SignRequest};

use crate::browser::{PLAYERS, browser_is_here, path_for, plays, refused, run_browser};
use crate::ffmpeg::{assert_whole_film, ffmpeg_is_here, ffmpeg_plays};
use crate::loopback::Loopback;
use crate::rig::{self, Folder, Process, program};

/// A gateway with a scheme of each kind, over http and https, and an origin behind it.
struct Site {
    gateway: Gateway,
    folder: Folder,
    jwt: Generated,
    stream: Generated,
    _origin: Loopback,
}

impl Site {
    fn new() -> Self {
        let (jwt, stream) = (generate(Kind::Ed25519).expect("a key"), generate(Kind::Rsa2048).expect("a key"));
        let (origin, folder) = (Loopback::origin(), Folder::new());
        certificate(&folder);
        // Listeners are told apart by their addresses, so two open ports need two.
        let tls = json!({ "certificates": [{ "cert_file": folder.path().join("cert.pem"), "key_file": folder.path().join("key.pem") }] });
        let gateway = rig::gateway(json!({
            "server": { "listeners": [{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tls": tls }], "workers": 2 },
            "admin": { "enabled": false },
            "keys": { "jwt": { "inline": jwt.jwk.expose() }, "stream": { "inline": stream.jwk.expose() } },
            "schemes": { "viewer": viewer(), "stream": { "type": "cloudflare-stream", "keys": "stream" } },
            "origins": { "media": { "endpoints": [origin.base] } },
            "routes": [
                { "name": "vod", "accept": ["viewer"], "origin": "media" },
                {
                    "name": "watch", "path": "/watch", "accept": ["viewer"], "origin": "media", "rewrite_prefix": "",
                    "session": { "concurrent_per_token": 10 },
                },
                { "name": "stream", "path": "/stream", "accept": ["stream"], "origin": "media", "rewrite_prefix": "" },
            ],
        }));
        Self { gateway, folder, jwt, stream, _origin: origin }
    }

    fn http(&self) -> String {
        format!("http://{}", self.gateway.addresses[0])
    }

    fn https(&self) -> String {
        format!("https://{}", self.gateway.addresses[1])
    }

    /// The path with a token in it that ends in so many seconds.
    fn signed(&self, path: &str, seconds: i64) -> String {
        sign(&viewer(), &self.jwt, path, (0, seconds))
    }

    fn refusals(&self) -> u64 {
        self.gateway.metrics.refusals_by_code().values().sum()
    }
}

fn viewer() -> Value {
    json!({ "type": "jwt", "keys": "jwt", "carriers": [
        { "path_prefix": "t=" }, { "query": "token" }, { "header": "authorization" }, { "cookie": "viewer" },
    ] })
}

fn sign(scheme: &Value, key: &Generated, path: &str, (mount, seconds): (usize, i64)) -> String {
    let table: SchemeConfig = serde_json::from_value(scheme.clone()).expect("a scheme");
    let keys = KeySet::parse(key.jwk.expose().as_bytes(), None, None).expect("a key");
    let scheme = table.build(KeySource::new(keys)).expect("a scheme");
    let expires = Some(Clock::System.now().plus(seconds));
    let request = SignRequest { host: "127.0.0.1".into(), path: path.into(), mount, expires, ..SignRequest::default() };
    scheme.sign(&request).expect("a token").path
}

/// `ca.pem`, and `cert.pem` with `key.pem` for this machine's loopback.
pub(crate) fn certificate(folder: &Folder) {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, "Loopback CA");
    let ca_key = KeyPair::generate().expect("a key");
    folder.file("ca.pem", &ca.self_signed(&ca_key).expect("a certificate").pem());
    let names = ["localhost", "127.0.0.1", "127.0.0.2"].map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names).expect("names");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    folder.file("cert.pem", &certificate.pem());
    folder.file("key.pem", &key.serialize_pem());
}

#[test]
fn ffmpeg_plays_through_the_gateway() {
    if !ffmpeg_is_here() {
        return;
    }
    let site = Site::new();
    let ca = site.folder.path().join("ca.pem");
    let verified = ["-tls_verify", "1", "-ca_file", ca.to_str().expect("UTF-8")];
    for path in [origin::HLS, origin::DASH, origin::DOWNLOAD] {
        let token = site.signed(path, 600);
        assert_whole_film(&ffmpeg_plays(&format!("{}{token}", site.http()), &[]), path);
        assert_whole_film(&ffmpeg_plays(&format!("{}{token}", site.https()), &verified), path);
    }
    assert_eq!(site.refusals(), 0, "{:?}", site.gateway.metrics.refusals_by_code());
    let stranger = Folder::new();
    certificate(&stranger);
    let other = stranger.path().join("ca.pem");
    let url = format!("{}{}", site.https(), site.signed(origin::HLS, 600));
    let complaint = ffmpeg_plays(&url, &["-tls_verify", "1", "-ca_file", other.to_str().expect("UTF-8")]);
    assert!(complaint.is_err(), "the certificate was looked at: {complaint:?}");
}

#[test]
fn cookies_and_headers_ride_along_to_the_last_segment() {
    if !ffmpeg_is_here() {
        return;
    }
    let site = Site::new();
    let signed = site.signed(origin::HLS, 600);
    let token = signed.trim_start_matches("/t=").split('/').next().expect("a token");
    for field in [format!("Cookie: theme=dark; viewer={token}\r\n"), format!("Authorization: Bearer {token}\r\n")] {
        for path in [origin::HLS, origin::DASH] {
            assert_whole_film(&ffmpeg_plays(&format!("{}{path}", site.http()), &["-headers", &field]), path);
        }
    }
    // A single file needs nobody to hand its token on.
    let url = format!("{}{}?token={token}", site.http(), origin::DOWNLOAD);
    assert_whole_film(&ffmpeg_plays(&url, &[]), "query");
    assert_eq!(site.refusals(), 0, "{:?}", site.gateway.metrics.refusals_by_code());
}

#[test]
fn a_session_carries_a_query_token_to_the_last_segment() {
    if !ffmpeg_is_here() {
        return;
    }
    let site = Site::new();
    let signed = site.signed(origin::HLS, 600);
    let token = signed.trim_start_matches("/t=").split('/').next().expect("a token");
    let url = |path: &str| format!("{}/watch{path}?token={token}", site.http());
    // HLS only: ffmpeg's DASH reader resolves segments against the address before the redirect.
    assert_whole_film(&ffmpeg_plays(&url(origin::HLS), &[]), "HLS");
    assert_eq!(site.refusals(), 0, "{:?}", site.gateway.metrics.refusals_by_code());
    if !browser_is_here() {
        return;
    }
    let cases: Vec<Value> = PLAYERS.iter().map(|player| plays(player, &url(path_for(player)))).collect();
    let answer = run_browser(&json!({ "cases": cases }));
    assert_eq!(answer["ok"], true, "{answer:#}");
    assert_eq!(site.refusals(), 0, "{:?}", site.gateway.metrics.refusals_by_code());
}

#[test]
fn ffmpeg_plays_a_stream_whose_token_stands_for_its_uid() {
    if !ffmpeg_is_here() {
        return;
    }
    let site = Site::new();
    let scheme = json!({ "type": "cloudflare-stream", "keys": "stream" });
    for path in ["/stream/vod/master.m3u8", "/stream/vod/manifest.mpd"] {
        let token = sign(&scheme, &site.stream, path, ("/stream".len(), 600));
        assert!(token.starts_with("/stream/eyJ") && !token.contains("/vod/"), "{token}");
        assert_whole_film(&ffmpeg_plays(&format!("{}{token}", site.http()), &[]), path);
    }
    assert_eq!(site.refusals(), 0);
    let late = sign(&scheme, &site.stream, "/stream/vod/master.m3u8", ("/stream".len(), -5));
    let complaint = ffmpeg_plays(&format!("{}{late}", site.http()), &[]).expect_err("refused");
    assert!(complaint.contains("403"), "{complaint}");
    assert_eq!(site.gateway.metrics.refusals_by_code().get("token_expired"), Some(&1));
}

#[test]
fn browsers_play_through_the_gateway() {
    if !browser_is_here() {
        return;
    }
    let site = Site::new();
    let mut cases: Vec<Value> =
        PLAYERS.iter().map(|player| plays(player, &format!("{}{}", site.http(), site.signed(path_for(player), 600)))).collect();
    // TLS, and HTTP/2 with it.
    cases.push(plays("hlsjs", &format!("{}{}", site.https(), site.signed(origin::HLS, 600))));
    cases.push(plays("shaka-dash", &format!("{}{}", site.https(), site.signed(origin::DASH, 600))));
    let answer = run_browser(&json!({ "cases": cases }));
    assert_eq!(answer["ok"], true, "{answer:#}");
    assert_eq!(site.refusals(), 0, "{:?}", site.gateway.metrics.refusals_by_code());
    let h2 = String::from_utf8(site.gateway.metrics.render()).expect("text");
    let h2 = h2.lines().find_map(|line| line.strip_prefix("tollgate_connections_total{protocol=\"h2\"} ")).expect("a series");
    assert_ne!(h2, "0", "https came as HTTP/2");
}

#[test]
fn pages_of_other_origins_read_why_they_are_refused() {
    if !browser_is_here() {
        return;
    }
    let site = Site::new();
    let late = |player: &&str| refused(player, &format!("{}{}", site.http(), site.signed(path_for(player), -5)), 403, "token_expired");
    let mut cases: Vec<Value> = PLAYERS.iter().map(late).collect();
    cases.push(refused("hlsjs", &format!("{}{}", site.http(), origin::HLS), 401, "token_missing"));
    let answer = run_browser(&json!({ "cases": cases }));
    assert_eq!(answer["ok"], true, "{answer:#}");
}

#[test]
fn the_demo_plays_and_refuses_before_your_eyes() {
    let folder = Folder::new();
    let arguments = ["demo", "--address", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--page", "127.0.0.1:0"];
    let demo = Process::start(&mut program(&arguments, folder.path()));
    let said = demo.wait_for("The gateway is at");
    let line = |name: &str| {
        let found = said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no line \"{name}\" in\n{said}")).trim().to_owned()
    };
    assert_eq!(rig::get_url(&line("A signed URL (plays)")).status, 200);
    assert_eq!(rig::get_url(&line("The same as DASH")).status, 200);
    assert_eq!(rig::get_url(&line("An expired one")).code(), "token_expired");
    assert_eq!(rig::get_url(&line("A tampered one")).code(), "token_invalid");
    assert_eq!(rig::get_url(&line("Without a token")).code(), "token_missing");
    assert!(rig::get_url(&line("Metrics")).body.contains("tollgate_refusals_total{code=\"token_expired\",route=\"vod\"} 1"));
    if !browser_is_here() {
        return;
    }
    let page = line("Open this page");
    let answer = run_browser(&json!({ "cases": [plays("demo-page", &page), plays("demo-page-mse", &page)] }));
    assert_eq!(answer["ok"], true, "{answer:#}");
    let refused = |visit: usize| answer["results"][visit]["panel"]["refused"].clone();
    assert_eq!((refused(0), refused(1)), (json!("6"), json!("9")), "three from here, three a visit: {answer:#}");
}
