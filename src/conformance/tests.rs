//! The kept vectors and the whole collection decide as expected, and bad files are named.

mod families;
mod make;

use super::*;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors");
const ALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/schemes/vectors");

/// The upstream path and query of one vector, or why it is refused; `None` when there is no scheme for it.
fn upstream(file: &Value, vector: &Value) -> Option<Result<(String, Option<String>), String>> {
    let scheme = match builder(file["scheme"].as_str()?)?(file, vector)? {
        Ok(scheme) => scheme,
        Err(fault) => return Some(Err(fault)),
    };
    let scheme = RouteScheme { name: Name::new("vector").ok()?, scheme };
    let now = UnixTime(vector["now"].as_i64().or_else(|| file["now"].as_i64())?);
    Some(judge(&scheme, vector, now).and_then(|(verdict, target)| verdict.map(|()| target).map_err(str::to_owned)))
}

/// The verdict on one vector; `None` when there is no scheme for it.
fn decide(file: &Value, vector: &Value) -> Option<Result<(), String>> {
    Some(upstream(file, vector)?.map(|_| ()))
}

fn line<'r>(report: &'r Report, scheme: &str) -> &'r Tally {
    report.tallies.iter().find(|tally| tally.scheme == scheme).unwrap_or_else(|| panic!("no line for {scheme}:\n{report}"))
}

#[test]
fn kept_vectors_decide_as_expected() {
    let report = run(Path::new(KEPT));
    assert!(report.passed(), "{report}");
    for tally in &report.tallies {
        let denies = tally.deny.all >= 2 || rewriting::is_for(&tally.scheme);
        assert!(tally.allow.all >= 1 && denies && tally.unsupported == 0, "{report}");
    }
}

/// Vectors that are decided otherwise on purpose: the guard refuses their paths before any token is looked at.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("cta5007_cat", "x-catu-percent", "%76 for v: a path with a second spelling is refused, never normalised"),
    ("nginx_secure_link", "dot-segments", "/../: a path with two readings is refused, never resolved"),
    ("nginx_secure_link", "double-slash", "//: a path with two readings is refused, never merged"),
    ("rfc9246_uri_signing", "percent-encoding", "%76 for v: a path with a second spelling is refused, never normalised"),
];

#[test]
fn the_whole_collection_decides_as_expected_but_for_the_exceptions() {
    if !Path::new(ALL).exists() {
        eprintln!("skipped: {ALL} is not here");
        return;
    }
    let report = run(Path::new(ALL));
    assert!(report.faults.is_empty(), "{report}");
    for Tally { scheme, allow, deny, unsupported, mismatches } in &report.tallies {
        let named: Vec<String> = EXCEPTIONS
            .iter()
            .filter(|(file, ..)| file == scheme)
            .map(|(_, id, _)| format!("{id}: expected allow, got deny (bad_path)"))
            .collect();
        assert_eq!(*mismatches, named, "{report}");
        assert_eq!(*unsupported, 0, "{report}");
        // A playlist is rewritten rightly or not; none is denied.
        assert!(scheme == "manifest_rewrite_kaltura" || (allow.all > 0 && deny.all > 0), "{report}");
    }
    assert_eq!(report.tallies.len(), 21, "{report}");
}

/// The path that the recorded verifier sent to its origin, where the vector tells.
fn recorded_upstream(vector: &Value) -> Option<&str> {
    let result = &vector["oracle_result"];
    let text = result["origin"].as_str().or(result.as_str())?;
    let (_, rest) = text.split_once("origin ").or(text.split_once("ok "))?;
    rest.split(' ').next().filter(|path| path.starts_with('/'))
}

#[test]
fn what_goes_upstream_is_what_the_recorded_verifiers_sent() {
    let mut compared = 0;
    for path in files(Path::new(ALL)).unwrap_or_default() {
        let file = read(&path).expect("readable");
        for vector in file["vectors"].as_array().into_iter().flatten().filter(|vector| vector["expected"] == "allow") {
            let (Some(want), Some(Ok((path, query)))) = (recorded_upstream(vector), upstream(&file, vector)) else { continue };
            assert_eq!(query.map_or(path.clone(), |query| format!("{path}?{query}")), want, "{}", vector["id"]);
            compared += 1;
        }
    }
    eprintln!("{compared} upstream targets compared");
    assert!(compared > 20 || !Path::new(ALL).exists());
}

fn run_one(file: &Value) -> Report {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("a.json"), file.to_string()).expect("written");
    run(folder.path())
}

fn first_of(scheme: &str, expected: &str) -> Value {
    let mut file = read(&Path::new(KEPT).join(format!("{scheme}.json"))).expect("kept");
    let list = file["vectors"].as_array_mut().expect("vectors");
    list.retain(|vector| vector["expected"] == expected);
    list.truncate(1);
    file
}

#[test]
fn a_wrong_verdict_is_a_mismatch_with_its_id() {
    let mut file = first_of("mux", "allow");
    file["vectors"][0]["expected"] = "deny".into();
    let report = run_one(&file);
    assert!(!report.passed());
    assert_eq!(line(&report, "mux").deny, Score { right: 0, all: 1 });
    let id = file["vectors"][0]["id"].as_str().expect("id").to_owned();
    assert_eq!(report.to_string(), format!("mux allow 0/0 deny 0/1 unsupported 0\nmux {id}: expected deny, got allow\n"));
}

#[test]
fn the_upstream_path_counts() {
    let mut file = first_of("cloudflare_stream", "allow");
    let url = file["vectors"][0]["input"]["url"].as_str().expect("url").to_owned();
    let path = url.splitn(4, '/').nth(3).expect("path").split('?').next().expect("path").to_owned();
    let rest = path.split_once('/').expect("two segments").1.to_owned();
    let uid = file["vectors"][0]["claims"]["sub"].as_str().expect("sub").to_owned();
    file["vectors"][0]["upstream_path"] = format!("/{uid}/{rest}").into();
    assert!(run_one(&file).passed());
    file["vectors"][0]["upstream_path"] = format!("/{path}").into();
    assert!(!run_one(&file).passed());
}

#[test]
fn what_is_not_a_vector_is_named_and_never_passes() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in [
        ("a.json", "{"),
        ("b.json", "[]"),
        ("c.json", "{}"),
        ("d.json", r#"{"scheme":"mux","vectors":[{"id":"x","input":{}}]}"#),
        ("e.json", r#"{"scheme":"mux","vectors":[{"id":"y","input":{"url":"ftp://a/"},"now":1,"expected":"deny","key":{}}]}"#),
        ("f.json", r#"{"scheme":"mux","vectors":[{"id":"z","input":{"url":"https://a/"},"now":1,"expected":"deny","key":{"a":"b"}}]}"#),
        ("g.txt", "{"),
    ] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let report = run(folder.path());
    assert!(!report.passed());
    let named: Vec<_> = report.faults.iter().map(|fault| fault.split(':').next().unwrap_or("")).collect();
    assert_eq!(named, ["a.json", "b.json", "c.json", "d.json", "e.json", "f.json"]);
    assert!(!run(&folder.path().join("nothing")).passed());
}

#[test]
fn schemes_that_are_not_built_are_unsupported() {
    let report = run_one(&serde_json::json!({"scheme": "no-such", "vectors": [{"input": {}}, {"input": {}}]}));
    assert_eq!(report.to_string(), "no-such allow 0/0 deny 0/0 unsupported 2\n");
    let report = run_one(&serde_json::json!({"scheme": "mux", "cases": []}));
    assert_eq!(line(&report, "mux").unsupported, 1);
}

#[test]
fn paths_that_no_server_takes_are_denied() {
    let mut file = first_of("mux", "allow");
    let url = file["vectors"][0]["input"]["url"].as_str().expect("url").replace(".m3u8", "/%2e%2e/x.m3u8");
    file["vectors"][0]["input"]["url"] = url.into();
    file["vectors"][0]["expected"] = "deny".into();
    let report = run_one(&file);
    assert!(report.passed(), "{report}");
}
