//! Runs the vector files: the published ones and our own.

mod make;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::builder;
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::access::FixedGeo;
use crate::token::{Country, Denial, RequestFacts};

/// What our verifier says; `None` when there is no scheme for the vector.
fn decide(file: &Value, vector: &Value) -> Option<Result<String, String>> {
    let scheme = builder(file["scheme"].as_str()?)?(file, vector)?;
    let scheme = match scheme {
        Ok(scheme) => scheme,
        Err(fault) => return Some(Err(fault)),
    };
    let input = &vector["input"];
    let (proto, rest) = input["url"].as_str()?.split_once("://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, port.parse().ok()));
    let (raw, query) = target.split_once('?').map_or((target, None), |(raw, query)| (raw, Some(query)));
    let tokens = scheme.path_tokens();
    let path = match CleanPath::parse_with_tokens(raw, &tokens.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(path) => path,
        Err(fault) => return Some(Err(fault.to_string())),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in input["headers"].as_object()? {
        headers.append(name.parse::<HeaderName>().expect("name"), HeaderValue::from_str(value.as_str()?).expect("value"));
    }
    let method = Method::from_bytes(input["method"].as_str()?.as_bytes()).ok()?;
    let geo = FixedGeo(input["country"].as_str().and_then(Country::new));
    let facts = RequestFacts {
        method: &method,
        https: proto == "https",
        host,
        port,
        path: &path,
        mount: 0,
        query,
        headers: &headers,
        client_ip: input["client_ip"].as_str()?.parse().ok()?,
        geo: &geo,
    };
    let now = UnixTime(vector["now"].as_i64().or_else(|| file["now"].as_i64())?);
    let verdict = (|| {
        let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
        let grant = scheme.open(&presented, &facts)?;
        grant.check(&facts, now)?;
        scheme.fits(&grant, &facts)?;
        Ok(crate::token::carrier::target(&facts, &presented.strip, &grant).0)
    })();
    Some(verdict.map_err(|denial: Denial| denial.to_string()))
}

fn run(name: &str) {
    let path = format!("{}/../shared/schemes/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let own = format!("{}/tests/fixtures/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    check(name, &std::fs::read(&own).expect("own vectors"));
    match std::fs::read(&path) {
        Ok(text) => check(name, &text),
        Err(_) => eprintln!("skipped: no vectors at {path}"),
    }
}

fn check(name: &str, text: &[u8]) {
    let file: Value = serde_json::from_slice(text).expect("json");
    let (mut ran, mut wrong) = (0, Vec::new());
    for vector in file["vectors"].as_array().expect("vectors") {
        let Some(verdict) = decide(&file, vector) else {
            wrong.push(format!("{}: not decided", vector["id"]));
            continue;
        };
        ran += 1;
        let allowed = vector["expected"] == "allow";
        if verdict.is_ok() != allowed {
            wrong.push(format!("{}: expected {}, got {verdict:?} ({})", vector["id"], vector["expected"], vector["reason"]));
        } else if let (Ok(target), Some(want)) = (&verdict, vector["upstream_path"].as_str())
            && target != want
        {
            wrong.push(format!("{}: upstream {target}, not {want}", vector["id"]));
        }
        eprintln!("{name} {} {verdict:?}", vector["id"]);
    }
    assert!(wrong.is_empty(), "{name}: {ran} ran, wrong: {wrong:#?}");
    eprintln!("{name}: {ran} vectors as expected");
}

#[test]
fn cloudfront_vectors() {
    run("cloudfront");
}

#[test]
fn akamai_vectors() {
    run("akamai_edgeauth2");
}

#[test]
fn google_media_vectors() {
    run("google_media_cdn");
}

#[test]
fn google_cloud_vectors() {
    run("google_cloud_cdn");
}

#[test]
fn bunny_vectors() {
    run("bunny_v2");
}

#[test]
fn wowza_vectors() {
    run("wowza_securetoken2");
}
