//! What a token costs, scheme by scheme: microseconds to verify one that is not remembered, and to sign one.
//!
//! `cargo bench --bench schemes`: one thread, a fixed request, the best of several rounds, so that a busy machine disturbs
//! least. Prints a table for the README's readers; nothing is judged.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use tollgate::clock::UnixTime;
use tollgate::keygen::{Kind, generate};
use tollgate::name::Name;
use tollgate::path::CleanPath;
use tollgate::token::issued::{ApiKey, FixedIssued, Issue, Issued, PrivateToken, UploadToken};
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::scheme::digest;
use tollgate::token::{KeySource, RequestFacts, SignRequest, Signed};
use tollgate::verifier::{KeysConfig, RouteScheme, Verifier, VerifierConfig, keys};

/// What the schemes that only look tokens up find.
fn given_out() -> Arc<dyn Issued> {
    let upload = UploadToken { account: "a".into(), ttl: 0, created: NOW };
    let until = UnixTime(NOW.0 + 3600);
    let private =
        PrivateToken { account: "a".into(), video: "viABC".into(), secret: "0123456789abcdef".into(), created: NOW, until, spent: false };
    let sha256 = digest::hex(&digest::Hash::Sha256.of(&[API_KEY.as_bytes()]));
    let key = ApiKey { account: "a".into(), id: "k1".into(), sha256, writes: true, until: UnixTime::MAX };
    let issued = FixedIssued::default().with("to1", Issue::UploadToken(upload)).with("p1", Issue::PrivateToken(private));
    Arc::new(issued.with("k1", Issue::ApiKey(key)))
}

const NOW: UnixTime = UnixTime(1_800_000_000);
/// As one is made: a public id, and 32 characters.
const API_KEY: &str = "tg_k1_0123456789abcdefghijklmnopqrstuv";
const HOST: &str = "media.example.com";
/// Every scheme has something to sign here: an id in the first segment, a channel in the last.
const PATH: &str = "/ea95132c15732412d22c1476fa83f27a/us-east-1.111122223333.channel.AbCd.m3u8";
const ROUNDS: u32 = 7;
const ROUND: Duration = Duration::from_millis(40);

fn key(kind: Kind) -> Value {
    json!({ "inline": generate(kind).expect("a key").jwk.expose(), "id": "k" })
}

/// Each scheme with the key it is used with most.
fn cases() -> Vec<(&'static str, Value, Value)> {
    let secret = || json!({ "secret": "0123456789abcdef" });
    let named = |id: &str| json!({ "by_id": { id: { "secret": "0123456789abcdef" } } });
    let hs256 = || json!({ "by_id": { "k": { "secret": "0123456789abcdef0123456789abcdef", "algorithm": "HS256" } } });
    let case = |label, kind: &str, more: Value, keys| {
        let mut table = json!({ "type": kind, "keys": "k" });
        table.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
        (label, table, keys)
    };
    let none = || json!({});
    vec![
        case("akamai-edgeauth", "akamai-edgeauth", none(), secret()),
        case(
            "amazon-ivs (ES384)",
            "amazon-ivs",
            json!({ "channels": ["arn:aws:ivs:us-east-1:111122223333:channel/AbCd"] }),
            key(Kind::P384),
        ),
        case("ats-access-control", "ats-access-control", none(), named("key1")),
        case("ats-url-sig", "ats-url-sig", none(), named("key3")),
        case("aws-smd", "aws-smd", none(), named("k")),
        case("bunny", "bunny", none(), secret()),
        case("cloudflare-stream (RS256)", "cloudflare-stream", none(), key(Kind::Rsa2048)),
        case("cloudfront (RSA)", "cloudfront", none(), key(Kind::Rsa2048)),
        case("cloudfront (P-256)", "cloudfront", none(), key(Kind::P256)),
        case("cta-5007 (HS256)", "cta-5007", none(), hs256()),
        case("cta-5007 (ES256)", "cta-5007", none(), key(Kind::P256)),
        case("digest-url (keycdn)", "digest-url", json!({ "preset": "keycdn" }), secret()),
        case("google-cloud-cdn", "google-cloud-cdn", none(), named("k")),
        case("google-media-cdn (Ed25519)", "google-media-cdn", none(), key(Kind::Ed25519)),
        case("jwt (HS256)", "jwt", none(), hs256()),
        case("jwt (ES256)", "jwt", none(), key(Kind::P256)),
        case("jwt (EdDSA)", "jwt", none(), key(Kind::Ed25519)),
        case("jwt (RS256)", "jwt", none(), key(Kind::Rsa2048)),
        case("mux (RS256)", "mux", none(), key(Kind::Rsa2048)),
        case("rfc9246 (HS256)", "rfc9246", json!({ "issuers": ["us"] }), hs256()),
        case("wowza", "wowza", none(), secret()),
        case("ziggeo", "ziggeo", json!({ "application_token": "app1" }), secret()),
    ]
}

fn scheme(table: Value, keys_table: Value) -> RouteScheme {
    let table: SchemeConfig = serde_json::from_value(table).expect("a scheme");
    let around = keys::Surroundings { folder: Path::new("/"), variable: &|_| None };
    let source = table.keys().map_or_else(KeySource::default, |name| {
        let keys_table: KeysConfig = serde_json::from_value(keys_table).expect("keys");
        KeySource::new(keys::read(name, &keys_table, around).expect("a key set"))
    });
    let scheme = table.build_with(source, &given_out()).expect("a scheme");
    RouteScheme { name: Name::new("s").expect("a name"), scheme: scheme.into() }
}

fn asked(kind: &str) -> SignRequest {
    let path = match kind {
        "mux" => "/abcDEF01.m3u8",
        "ziggeo" => "/v1/applications/app1/videos/v1/video.mp4",
        _ => PATH,
    };
    let claims = if kind == "ziggeo" { json!({ "grants": { "read": { "all": true } } }) } else { json!({}) };
    SignRequest {
        https: true,
        host: HOST.into(),
        path: path.into(),
        expires: Some(UnixTime(NOW.0 + 3600)),
        now: Some(NOW),
        subject: (kind == "ats-access-control").then(|| "u1".into()),
        claims: claims.as_object().expect("claims").clone(),
        ..SignRequest::default()
    }
}

/// Tokens that are looked up and that no scheme signs: how they ride.
fn looked_up() -> [(&'static str, Value, Signed); 3] {
    let at = |path: &str, query: &str| Signed { path: path.into(), query: Some(query.into()), ..Signed::default() };
    let key = vec![(http::header::AUTHORIZATION, format!("Bearer {API_KEY}"))];
    [
        ("api-key", json!({ "type": "api-key", "dialect": "cloudflare" }), Signed { headers: key, ..at("/stream", "") }),
        ("apivideo-private", json!({ "type": "apivideo-private" }), at("/vod/viABC/token/p1/hls/manifest.m3u8", "")),
        ("apivideo-upload", json!({ "type": "apivideo-upload" }), at("/upload", "token=to1")),
    ]
}

/// The quickest round's time for one call, in microseconds.
fn micros(mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            (0..16).for_each(|_| call());
            calls += 16;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

fn verify_cost(scheme: &RouteScheme, signed: &Signed) -> f64 {
    let path = CleanPath::parse_or_with_tokens(&signed.path, &scheme.scheme.path_tokens()).expect("a path");
    let mut headers = HeaderMap::new();
    for (name, value) in &signed.headers {
        headers.append(name.clone() as HeaderName, HeaderValue::from_str(value).expect("a value"));
    }
    let cookies: Vec<String> = signed.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !cookies.is_empty() {
        headers.insert(COOKIE, HeaderValue::from_str(&cookies.join("; ")).expect("a value"));
    }
    let method = if scheme.scheme.kind() == "apivideo-upload" { http::Method::POST } else { http::Method::GET };
    let facts = RequestFacts {
        method: &method,
        query: signed.query.as_deref(),
        client_ip: IpAddr::from([198, 51, 100, 7]),
        ..RequestFacts::bare(HOST, &path, &headers)
    };
    let verifier = Verifier::new(&VerifierConfig { remembered: 0, ..VerifierConfig::default() });
    let schemes = std::slice::from_ref(scheme);
    micros(|| {
        // A token for one use is looked at, and can be looked at again.
        verifier.look(schemes, &facts, NOW).expect("a good token");
    })
}

#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn main() {
    println!("| scheme | verify, µs | sign, µs |\n|---|---|---|");
    for (label, table, keys) in cases() {
        let kind = table["type"].as_str().unwrap_or_default().to_owned();
        let (scheme, asked) = (scheme(table, keys), asked(&kind));
        let signed = scheme.scheme.sign(&asked).unwrap_or_else(|fault| panic!("{label}: {fault}"));
        let sign = micros(|| {
            let _ = scheme.scheme.sign(&asked);
        });
        println!("| `{label}` | {:.1} | {sign:.1} |", verify_cost(&scheme, &signed));
    }
    for (kind, table, signed) in looked_up() {
        println!("| `{kind}` | {:.1} | issued |", verify_cost(&scheme(table, json!({})), &signed));
    }
}
