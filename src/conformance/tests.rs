//! Every vector at hand, decided.

mod own;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::*;
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::access::FixedGeo;
use crate::token::{Country, Denial, Grant, RequestFacts};

/// Vectors that are decided otherwise on purpose: `(file, id, why)`.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("nginx_secure_link", "dot-segments", "a path with two readings is refused, never repaired"),
    ("nginx_secure_link", "double-slash", "a path with two readings is refused, never repaired"),
    ("rfc9246_uri_signing", "percent-encoding", "a path with two readings is refused, never repaired"),
    ("cta5007_cat", "x-catu-percent", "a path with two readings is refused, never repaired"),
];

/// What a decision may know of earlier ones.
#[derive(Default)]
struct Seen {
    used: Vec<String>,
    revoked: HashMap<String, u64>,
}

fn decide(scheme: &dyn Scheme, vector: &Value, seen: &mut Seen) -> Verdict {
    let input = &vector["input"];
    let url: http::Uri = input["url"].as_str().expect("url").parse().map_err(|_| Denial::Malformed)?;
    let path = CleanPath::parse(url.path()).map_err(|_| Denial::Malformed)?;
    let method: Method = input["method"].as_str().unwrap_or("GET").parse().expect("method");
    let mut headers = HeaderMap::new();
    for (name, value) in input["headers"].as_object().into_iter().flatten() {
        let name: HeaderName = name.parse().expect("header name");
        headers.append(name, HeaderValue::from_str(value.as_str().unwrap_or("")).expect("header"));
    }
    let host = url.host().unwrap_or("").to_ascii_lowercase();
    let geo = FixedGeo(input["country"].as_str().and_then(Country::new));
    let client_ip: IpAddr = input["client_ip"].as_str().unwrap_or("192.0.2.1").parse().expect("address");
    let facts = RequestFacts {
        method: &method,
        https: url.scheme_str() == Some("https"),
        host: &host,
        port: url.port_u16(),
        path: &path,
        mount: 0,
        query: url.query(),
        headers: &headers,
        client_ip,
        geo: &geo,
        alpn: input["alpn"].as_str(),
    };
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check(&facts, UnixTime(vector["now"].as_i64().expect("now")))?;
    scheme.fits(&grant, &facts)?;
    check_seen(&grant, seen)?;
    let (target, query) = crate::token::carrier::target(&facts, &presented.strip, &grant);
    Ok((grant, query.map_or(target.clone(), |query| format!("{target}?{query}"))))
}

fn check_seen(grant: &Grant, seen: &mut Seen) -> Result<(), Denial> {
    if grant.single_use {
        let id = grant.token_id.as_deref().unwrap_or("").to_owned();
        if seen.used.contains(&id) {
            return Err(Denial::Replayed);
        }
        seen.used.push(id);
    }
    match (&grant.subject, grant.session_version) {
        (Some(subject), Some(version)) if seen.revoked.get(&**subject).is_some_and(|upto| version <= *upto) => Err(Denial::Revoked),
        _ => Ok(()),
    }
}

fn seen_before(vector: &Value) -> Seen {
    let state = &vector["input"]["state"];
    let used = state["single_use_seen"].as_array().into_iter().flatten();
    let revoked = state["revoked_versions"].as_object().into_iter().flatten();
    Seen {
        used: used.filter_map(|id| id.as_str().map(str::to_owned)).collect(),
        revoked: revoked.filter_map(|(who, upto)| Some((who.clone(), upto.as_u64()?))).collect(),
    }
}

/// What reached the origin of the recorded verifier, or what must.
fn upstream(vector: &Value) -> Option<&str> {
    let result = &vector["oracle_result"];
    let recorded = result["origin"].as_str().or(result.as_str())?;
    let recorded = || recorded.split_once("origin ").or(recorded.split_once("ok ")).and_then(|(_, rest)| rest.split(' ').next());
    vector["upstream_path"].as_str().or_else(|| recorded().filter(|path| path.starts_with('/')))
}

type Verdict = Result<(Grant, String), Denial>;

fn run(file: &Value, vector: &Value) -> Option<(Verdict, String)> {
    let scheme = builder(file["scheme"].as_str()?)?(file, vector)?.unwrap_or_else(|e| panic!("{}: {e}", vector["id"]));
    let mut seen = seen_before(vector);
    let times = vector["input"]["repeat"].as_u64().unwrap_or(1);
    let mut last = decide(scheme.as_ref(), vector, &mut seen);
    for _ in 1..times {
        last = decide(scheme.as_ref(), vector, &mut seen);
    }
    let id = vector["id"].as_str().unwrap_or("?").to_owned();
    Some((last, id))
}

fn check_file(file: &Value, results: &mut BTreeMap<String, (usize, usize)>) -> Vec<String> {
    let name = file["scheme"].as_str().unwrap_or("?").to_owned();
    let mut wrong = Vec::new();
    for vector in file["vectors"].as_array().into_iter().flatten() {
        let Some((got, id)) = run(file, vector) else { continue };
        let exempt = EXCEPTIONS.iter().any(|(file, vector, _)| *file == name && *vector == id);
        let want = vector["expected"] == "allow";
        let same_path = |want: &str| got.as_ref().is_ok_and(|(_, have)| have == want);
        let good = got.is_ok() == want && (!want || upstream(vector).is_none_or(same_path));
        let tally = results.entry(name.clone()).or_default();
        if good != exempt {
            tally.0 += 1;
        } else {
            tally.1 += 1;
            wrong.push(format!("{name}/{id}: want {} ({}), got {got:?}", vector["expected"], vector["reason"]));
        }
    }
    wrong
}

fn check_folder(folder: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: no vectors in {folder}");
        return;
    };
    let mut results = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let file: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        wrong.extend(check_file(&file, &mut results));
    }
    for (name, (good, bad)) in &results {
        eprintln!("{name}: {good} as expected, {bad} not");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn vectors_are_decided_as_expected() {
    check_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/schemes/vectors"));
}

#[test]
fn configs_are_told_apart_by_their_published_names() {
    use crate::token::scheme::config::SchemeConfig;
    for name in ["rfc9246", "cta-5007", "amazon-ivs", "aws-smd", "ats-url-sig", "ats-access-control", "digest-url"] {
        let table = serde_json::json!({ "type": name, "keys": "k" });
        let config: SchemeConfig = serde_json::from_value(table.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.keys().to_string(), "k");
        let mut unknown = table;
        unknown["colour"] = serde_json::json!("red");
        assert!(serde_json::from_value::<SchemeConfig>(unknown).is_err(), "{name}");
    }
}

#[test]
fn own_vectors_are_decided_as_expected() {
    check_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors"));
}
