//! Vectors of our own, made by our own signers, in the published format.
//!
//! `cargo test --lib own_vectors_are_written -- --ignored` writes them anew.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use std::collections::BTreeMap;

use super::*;
use crate::token::SignRequest;
use crate::token::key::Material;
use crate::token::scheme::amazon_ivs::AmazonIvs;
use crate::token::{Algorithm, Signed};

const NOW: i64 = 1_760_000_000;
const HOST: &str = "media.example.com";

/// One file to write: the scheme's name, the key of its vectors, further fields, and what to sign.
struct Plan {
    scheme: &'static str,
    key: Value,
    extra: Value,
    path: &'static str,
    request: SignRequest,
    signer: Option<Arc<dyn Scheme>>,
}

fn request(path: &str) -> SignRequest {
    SignRequest {
        https: true,
        host: HOST.into(),
        path: path.into(),
        now: Some(UnixTime(NOW)),
        expires: Some(UnixTime(NOW + 3601)),
        not_before: Some(UnixTime(NOW - 600)),
        subject: Some("u1".into()),
        ..SignRequest::default()
    }
}

fn plans() -> Vec<Plan> {
    let path = "/vid1/master.m3u8";
    let octets = URL_SAFE_NO_PAD.encode([7; 32]);
    let plan = |scheme, key, extra| Plan { scheme, key, extra, path, request: request(path), signer: None };
    let digest = |id: &str, config: Value| {
        let extra = json!({ "config": config, "prefix": id });
        Plan {
            request: SignRequest { client_ip: "198.51.100.7".parse().ok(), ..request(path) },
            ..plan("digest_url", json!("own-secret"), extra)
        }
    };
    let issuer = json!({ "issuer": { "keys": [{ "kty": "oct", "alg": "HS256", "kid": "a", "k": octets }], "id": "us" } });
    let cat = json!({ "kid": "a", "alg": "HS256", "hex": "07".repeat(32), "issuer": "iss", "audience": null });
    vec![
        digest("md5", json!({ "preset": "nginx-secure-link" })),
        digest("keycdn", json!({ "preset": "keycdn" })),
        digest("type-a", json!({ "preset": "alibaba-a" })),
        digest("type-c", json!({ "preset": "tencent-c" })),
        digest("nimble", json!({ "preset": "nimble", "message": "{ip}{secret}{time}{period}{path}" })),
        digest("flussonic", json!({ "preset": "flussonic", "message": "{stream}{ip}{start}{time}{secret}{salt}{path}" })),
        digest(
            "own",
            json!({ "message": "{method} {host}{path}|{time}", "sources": [{ "from": { "query": "t" }, "shape": "{time}.{signature}" }] }),
        ),
        plan("rfc9246_uri_signing", issuer, json!({})),
        plan("cta5007_cat", cat, json!({})),
        plan("ats_url_sig", json!({ "key3": "own-secret" }), json!({})),
        plan("ats_access_control", json!({ "key1": "own-secret" }), json!({})),
        plan("aws_secure_media_delivery", json!({ "a": "own-secret" }), json!({})),
        ivs(),
    ]
}

fn ivs() -> Plan {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
    let path = "/api/video/v1/us-east-1.111122223333.channel.AbCd.m3u8";
    let arn = "arn:aws:ivs:us-east-1:111122223333:channel/AbCd";
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("pair");
    let material = Material::private(pair.to_pkcs8v1().expect("pkcs8").as_ref()).expect("material");
    let key = Key::new(material, None, Some(Algorithm::ES384)).expect("key");
    let der = base64::engine::general_purpose::STANDARD.encode(key.public_der());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    let config = serde_json::from_value(json!({ "keys": "k", "channels": [arn] })).expect("config");
    let signer = AmazonIvs::new(&config, KeySource::new(KeySet::new(vec![key]))).expect("scheme");
    let key = json!({ "es384_pub": pem, "channel_arn": arn });
    Plan { scheme: "amazon_ivs", key, extra: json!({}), path, request: request(path), signer: Some(Arc::new(signer)) }
}

fn vector(plan: &Plan, id: &str, signed: &Signed, now: i64) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in &signed.headers {
        headers.insert(name.to_string(), json!(value));
    }
    if let Some((name, value)) = signed.cookies.first() {
        headers.insert("cookie".into(), json!(format!("{name}={value}")));
    }
    let query = signed.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    let prefix = plan.extra["prefix"].as_str().map(|prefix| format!("{prefix}-")).unwrap_or_default();
    let mut vector = json!({
        "id": format!("{prefix}{id}"), "scheme": plan.scheme, "key": plan.key, "now": now,
        "input": { "method": "GET", "url": format!("https://{HOST}{}{query}", signed.path), "headers": headers, "client_ip": "198.51.100.7" },
    });
    if let Some(config) = plan.extra.get("config") {
        vector["config"] = config.clone();
    }
    vector
}

/// `expected` and `reason` set on a vector.
fn judged(mut vector: Value, allow: bool, reason: &str) -> Value {
    vector["expected"] = json!(if allow { "allow" } else { "deny" });
    vector["reason"] = json!(reason);
    vector["signed_by"] = json!("tollgate");
    vector["verified_by"] = Value::Null;
    vector
}

fn vectors(plan: &Plan) -> Vec<Value> {
    let draft = vector(plan, "draft", &Signed { path: plan.path.into(), ..Signed::default() }, NOW);
    let scheme = match &plan.signer {
        Some(signer) => signer.clone(),
        None => {
            builder(plan.scheme).and_then(|build| build(&json!({ "scheme": plan.scheme }), &draft)).expect("a builder").expect("a scheme")
        }
    };
    let signed = scheme.sign(&plan.request).unwrap_or_else(|e| panic!("{}: {e}", plan.scheme));
    let expired = scheme.sign(&SignRequest { expires: Some(UnixTime(NOW)), ..plan.request.clone() });
    let other = plan.path.replace("vid1", "vid2").replace("AbCd", "AbCe");
    let moved = Signed { path: signed.path.replace(plan.path, &other), ..signed.clone() };
    let none = Signed { path: plan.path.into(), ..Signed::default() };
    let mut all = vec![
        judged(vector(plan, "ok", &signed, NOW), true, "as signed"),
        judged(vector(plan, "none", &none, NOW), false, "no token"),
        judged(vector(plan, "late", &signed, NOW + 7200), false, "after its end"),
        judged(vector(plan, "tampered", &tampered(&signed), NOW), false, "one byte of the signature changed"),
    ];
    if !matches!(plan.scheme, "ats_access_control") {
        all.push(judged(vector(plan, "other-path", &moved, NOW), false, "signed for another path"));
    }
    if let Ok(expired) = expired {
        all.push(judged(vector(plan, "at-its-end", &expired, NOW), false, "the first second that is refused"));
        all.push(judged(vector(plan, "last-second", &expired, NOW - 1), true, "the last second that is let in"));
    }
    all
}

/// The token with a byte in the middle of its signature changed, wherever it rides.
fn tampered(signed: &Signed) -> Signed {
    let at = signed.token.len() - 8;
    let new = if signed.token.as_bytes()[at] == b'a' { "b" } else { "a" };
    let changed = format!("{}{new}{}", &signed.token[..at], &signed.token[at + 1..]);
    let swap = |text: &str| text.replace(&signed.token, &changed);
    Signed {
        token: changed.clone(),
        path: swap(&signed.path),
        query: signed.query.as_deref().map(|query| {
            let plain = swap(query);
            if plain == query { query.replace(&crate::query::encode(&signed.token), &crate::query::encode(&changed)) } else { plain }
        }),
        headers: signed.headers.iter().map(|(name, value)| (name.clone(), swap(value))).collect(),
        cookies: signed.cookies.iter().map(|(name, value)| (name.clone(), swap(value))).collect(),
    }
}

#[test]
#[ignore = "writes tests/fixtures/vectors"]
fn own_vectors_are_written() {
    let mut files: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for plan in plans() {
        files.entry(plan.scheme).or_default().extend(vectors(&plan));
    }
    for (scheme, vectors) in files {
        let allow = vectors.iter().filter(|vector| vector["expected"] == "allow").count();
        let file = json!({
            "scheme": scheme, "spec": "as the scheme's own documentation", "now": NOW,
            "oracles": [{ "name": "tollgate", "role": "signer" }], "notes": ["made by the signer under test: they guard against change, not against error"],
            "counts": { "allow": allow, "deny": vectors.len() - allow }, "vectors": vectors,
        });
        let path = format!("{}/tests/fixtures/vectors/{scheme}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, serde_json::to_string_pretty(&file).expect("JSON") + "\n").expect("written");
    }
}
