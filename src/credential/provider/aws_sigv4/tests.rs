//! Signatures against botocore's, and against the example that S3's own documentation works out.

use http::Request;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn signer(more: &Value, session: Option<&str>) -> AwsSigner {
    let mut table = json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key_env": "SECRET", "region": "eu-central-1",
        "parameters": ["versionId", "a", "b", "partNumber", "uploadId", "list-type", "prefix", "v"] });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    if session.is_some() {
        table["session_secret_env"] = "SESSION".into();
    }
    let variable = |name: &str| if name == "SECRET" { Some(SECRET.to_owned()) } else { session.map(str::to_owned) };
    let config: AwsConfig = serde_json::from_value(table).expect("a config");
    AwsSigner::new(&config, &Around::new(&variable, &|_| None)).expect("a signer")
}

fn parts(method: &str, url: &str, fields: &[(&str, &str)]) -> Parts {
    let request = fields.iter().fold(Request::builder().method(method).uri(url), |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request").into_parts().0
}

fn cases() -> Vec<Value> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/aws_sigv4.json"));
    let file: Value = serde_json::from_str(text).expect("JSON");
    file["cases"].as_array().expect("a list").clone()
}

#[test]
fn fields_are_those_of_botocore() {
    for case in cases() {
        let signer = signer(&json!({}), case["token"].as_str());
        let mut head = parts(case["method"].as_str().expect("method"), case["url"].as_str().expect("url"), &[("range", "bytes=0-9")]);
        signer.sign(&mut head, UnixTime(1_700_000_000)).expect("signed");
        for (name, value) in case["fields"].as_object().expect("fields") {
            assert_eq!(head.headers.get(name).map(|value| value.to_str().expect("text")), value.as_str(), "{name} of {}", case["url"]);
        }
        assert!(head.headers["authorization"].is_sensitive());
        assert_eq!(head.headers["range"], "bytes=0-9");
        assert_eq!(head.headers["host"], head.uri.authority().expect("a host").as_str());
    }
}

#[test]
fn presigned_addresses_are_those_of_botocore() {
    for case in cases() {
        let signer = signer(&json!({ "sign_into": "query", "lifetime": "5m" }), case["token"].as_str());
        let mut head = parts(case["method"].as_str().expect("method"), case["url"].as_str().expect("url"), &[]);
        signer.sign(&mut head, UnixTime(1_700_000_000)).expect("signed");
        let sorted = |url: &str| {
            let (path, query) = url.split_once('?').expect("a query");
            let mut pairs: Vec<String> = query.split('&').map(str::to_owned).collect();
            pairs.sort();
            (path.to_owned(), pairs)
        };
        assert_eq!(sorted(&head.uri.to_string()), sorted(case["presigned"].as_str().expect("url")), "{}", case["url"]);
        assert_eq!(head.headers.get("authorization"), None);
    }
}

#[test]
fn the_published_example_of_a_presigned_address_comes_out() {
    // "Authenticating Requests: Using Query Parameters", Amazon S3 API Reference, at 2013-05-24T00:00:00Z.
    let signer = signer(&json!({ "region": "us-east-1", "sign_into": "query", "lifetime": "24h" }), None);
    let mut head = parts("GET", "https://examplebucket.s3.amazonaws.com/test.txt", &[]);
    signer.sign(&mut head, UnixTime(1_369_353_600)).expect("signed");
    let signature = query::values(head.uri.query().expect("a query"), "X-Amz-Signature").next();
    assert_eq!(signature, Some("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"));
}

#[test]
fn what_a_caller_sent_in_the_places_of_a_signature_goes() {
    let sent = [
        ("authorization", "Bearer canary"),
        ("x-amz-security-token", "canary"),
        ("x-amz-content-sha256", "canary"),
        ("x-amz-date", "canary"),
        ("x-amz-copy-source", "/other/canary"),
        ("x-amz-acl", "canary"),
        ("x_amz_acl", "canary"),
        ("x-amz-meta-a", "canary"),
    ];
    for place in ["header", "query"] {
        let mut head = parts(
            "GET",
            "https://b.s3.amazonaws.com/a?X-Amz-Signature=canary&v=1&x-amz-credential=canary&%58-amz-acl=canary&acl=canary&V=canary&x%zz=canary",
            &sent,
        );
        signer(&json!({ "sign_into": place }), None).sign(&mut head, UnixTime(1_700_000_000)).expect("signed");
        let left =
            format!("{} {:?}", head.uri, head.headers.iter().map(|(name, value)| (name, value.to_str().unwrap_or(""))).collect::<Vec<_>>());
        assert!(!left.contains("canary") && left.contains("v=1"), "{place}: {left}");
    }
}

#[test]
fn paths_have_one_spelling() {
    for (path, written) in
        [("/a%20b", "/a%20b"), ("/a(1)+b!", "/a%281%29%2Bb%21"), ("/%61%7e%2f", "/a~/"), ("/%c3%A9", "/%C3%A9"), ("/%zz", "/%25zz")]
    {
        assert_eq!(canonical(path), written);
    }
}

#[test]
fn nothing_prints_the_key() {
    assert!(!format!("{:?}", signer(&json!({}), Some("session-canary"))).contains("canary"));
    assert!(!format!("{:?}", signer(&json!({}), None)).contains("wJalr"));
}
