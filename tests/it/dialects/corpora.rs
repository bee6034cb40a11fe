//! Strange bodies on every address: no answer is ever the gateway's own fault.

use std::path::Path;

use super::{ADMIN, APP, CLOUDFLARE, Rig, ask, basic};

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/security/corpora");

fn bodies() -> Vec<Vec<u8>> {
    let folder = Path::new(CORPORA).join("json-test-suite/test_parsing");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut bodies: Vec<Vec<u8>> = files.filter_map(|file| std::fs::read(file).ok()).filter(|body| body.len() < 200_000).collect();
    let naughty = std::fs::read(Path::new(CORPORA).join("payloads/blns.json")).unwrap_or_default();
    let naughty: Vec<String> = serde_json::from_slice(&naughty).unwrap_or_default();
    let fields = ["ttl", "apiKey", "grants", "exp", "pem"];
    for (index, text) in naughty.into_iter().enumerate() {
        let quoted = serde_json::Value::from(text.as_str()).to_string();
        // As it is, or in one of the fields.
        bodies.push(match fields.get(index % (fields.len() + 1)) {
            Some(field) => format!("{{\"{field}\":{quoted},\"id\":{quoted}}}").into_bytes(),
            None => text.into_bytes(),
        });
    }
    bodies
}

#[test]
fn strange_bodies_are_the_callers_fault() {
    let bodies = bodies();
    if bodies.is_empty() {
        eprintln!("skipped: {CORPORA} is not here");
        return;
    }
    let rig = Rig::start();
    let stream = format!("/client/v4/accounts/{CLOUDFLARE}/stream/ea95132c15732412d22c1476fa83f27a");
    let (own, app, bearer) = (basic(ADMIN, ""), basic(APP, ADMIN), format!("Bearer {ADMIN}"));
    let addresses = [
        ("/upload-tokens".to_owned(), &own),
        ("/auth/api-key".to_owned(), &own),
        ("/auth/refresh".to_owned(), &own),
        ("/v1/authtokens/".to_owned(), &app),
        (format!("{stream}/token"), &bearer),
        (stream.clone(), &bearer),
    ];
    let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=X"];
    for (index, body) in bodies.iter().enumerate() {
        for (target, authorization) in &addresses {
            let kind = if target.starts_with("/v1") { kinds[index % kinds.len()] } else { kinds[0] };
            let answer = ask(rig.control, "POST", target, &[("Authorization", authorization), ("Content-Type", kind)], body);
            assert!(answer.status < 500, "{target} {:?}: {answer:?}", String::from_utf8_lossy(body));
        }
    }
}
