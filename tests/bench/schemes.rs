//! What a token costs, scheme by scheme: microseconds to verify one that is not remembered, and to sign one.
//!
//! `cargo bench --bench schemes`: one thread, a fixed request, the best of several rounds, so that a busy machine disturbs
//! least. Prints a table for the README's readers; nothing is judged.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use tollgate::clock::UnixTime;
use tollgate::keygen::{Kind, generate};
use tollgate::name::Name;
use tollgate::path::CleanPath;
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{RequestFacts, SignRequest, Signed};
use tollgate::verifier::{KeysConfig, RouteScheme, Verifier, VerifierConfig, keys};

const NOW: UnixTime = UnixTime(1_800_000_000);
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
    ]
}

fn scheme(table: Value, keys_table: Value) -> RouteScheme {
    let table: SchemeConfig = serde_json::from_value(table).expect("a scheme");
    let keys_table: KeysConfig = serde_json::from_value(keys_table).expect("keys");
    let around = keys::Surroundings { folder: Path::new("/"), variable: &|_| None };
    let set = keys::read(table.keys().expect("a scheme with keys"), &keys_table, around).expect("a key set");
    let scheme = table.build(tollgate::token::KeySource::new(set)).expect("a scheme");
    RouteScheme { name: Name::new("s").expect("a name"), scheme: scheme.into() }
}

fn asked(kind: &str) -> SignRequest {
    let path = if kind == "mux" { "/abcDEF01.m3u8" } else { PATH };
    SignRequest {
        https: true,
        host: HOST.into(),
        path: path.into(),
        expires: Some(UnixTime(NOW.0 + 3600)),
        now: Some(NOW),
        subject: (kind == "ats-access-control").then(|| "u1".into()),
        ..SignRequest::default()
    }
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
    let facts = RequestFacts {
        query: signed.query.as_deref(),
        client_ip: IpAddr::from([198, 51, 100, 7]),
        ..RequestFacts::bare(HOST, &path, &headers)
    };
    let verifier = Verifier::new(&VerifierConfig { remembered: 0, ..VerifierConfig::default() });
    let schemes = std::slice::from_ref(scheme);
    micros(|| {
        verifier.decide(schemes, &facts, NOW).expect("a good token");
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
}
