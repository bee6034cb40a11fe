//! Tokens in path segments that are not clean by themselves, from the guard to the origin.

use super::*;
use crate::config::{Sources, load};
use crate::token::scheme::bunny::Bunny;
use crate::token::{Key, KeySet, KeySource, Scheme as _, SignRequest};

const NOW: i64 = 1_760_000_000;

const CONFIG: &str = r#"
[keys.bunny]
secret = "229248f0-f007-4bf9-ba1f-bbf1b4ad9d40"

[keys.jwt]
secret = "0123456789abcdef0123456789abcdef"

[schemes.bunny]
type = "bunny"
keys = "bunny"

[schemes.jwt]
type = "jwt"
keys = "jwt"

[origins.media]
endpoints = ["http://127.0.0.1:3000"]

[[routes]]
name = "bunny"
hosts = ["bunny.example.com"]
accept = ["bunny"]
origin = "media"

[[routes]]
name = "jwt"
hosts = ["jwt.example.com"]
accept = ["jwt"]
origin = "media"

[[routes]]
name = "public"
hosts = ["public.example.com"]
public = true
origin = "media"
"#;

/// What is said of a URL.
fn explained(url: &str) -> Value {
    explained_by(CONFIG, url)
}

fn explained_by(config: &str, url: &str) -> Value {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("gw.toml");
    std::fs::write(&file, config).expect("written");
    let config = load(&Sources { files: vec![file], ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}")).config;
    let args = ExplainArgs {
        config: ConfigArgs { config: Vec::new(), set: Vec::new() },
        url: url.into(),
        method: "GET".into(),
        headers: Vec::new(),
        client_ip: IpAddr::from([192, 0, 2, 1]),
        country: None,
        now: Some(NOW),
        output: Output::Json,
    };
    decided(&args, &config).expect("an answer")
}

/// A path with a token for `/v/` in its first segment.
fn signed_path() -> String {
    let key = Key::secret(None, b"229248f0-f007-4bf9-ba1f-bbf1b4ad9d40".to_vec());
    let config = serde_json::from_value(json!({ "keys": "k", "sign_into": "path" })).expect("config");
    let scheme = Bunny::new(&config, KeySource::new(KeySet::new(vec![key]))).expect("scheme");
    let request = SignRequest {
        host: "bunny.example.com".into(),
        path: "/v/a.m3u8".into(),
        scope: Some("/v/".into()),
        expires: Some(UnixTime(NOW + 60)),
        ..SignRequest::default()
    };
    scheme.sign(&request).expect("signed").path
}

#[test]
fn a_token_segment_is_read_where_its_scheme_is_accepted_only() {
    let path = signed_path();
    assert!(path.contains("%2F"), "{path}");
    let good = explained(&format!("https://bunny.example.com{path}"));
    assert_eq!((&good["decision"], &good["upstream_path"]), (&json!("allow"), &json!("/v/a.m3u8")), "{good}");
    for host in ["jwt.example.com", "public.example.com"] {
        let refused = explained(&format!("https://{host}{path}"));
        assert_eq!((&refused["decision"], &refused["denial"]["code"]), (&json!("deny"), &json!("bad_path")), "{refused}");
    }
}

#[test]
fn what_is_not_the_token_must_be_clean() {
    let path = signed_path();
    for bad in [format!("{path}%2Fb"), format!("{path}/../b"), format!("/x%2Fy{path}")] {
        let refused = explained(&format!("https://bunny.example.com{bad}"));
        assert_eq!((&refused["decision"], &refused["denial"]["code"]), (&json!("deny"), &json!("bad_path")), "{refused}");
    }
}

#[test]
fn what_would_be_signed_is_told_without_what_opens_the_origin() {
    let sign = r#"upstream_sign = { scheme = "jwt", lifetime = "1m" }"#;
    let config = CONFIG.replace("accept = [\"bunny\"]", &format!("accept = [\"bunny\"]\n{sign}"));
    let said = explained_by(&config, &format!("https://bunny.example.com{}", signed_path()));
    let signed = &said["upstream_signed"];
    assert_eq!((&said["decision"], &said["upstream_path"]), (&json!("allow"), &json!("/v/a.m3u8")), "{said}");
    assert_eq!((&signed["scheme"], &signed["path"], &signed["query"]), (&json!("jwt"), &json!("/v/a.m3u8"), &json!("token=[redacted]")));
    assert!(!said.to_string().contains("eyJ"), "{said}");
}

#[test]
fn what_would_be_injected_is_told_without_its_value() {
    let credentials = r#"
[credentials.fixed]
type = "static"
secret = "canary-of-the-origin"

[credentials.partner]
type = "oauth2"
token_url = "https://issuer.example/token"
client_id = "gate"
secret = "canary-of-the-client"
"#;
    let entries = r#"inject = [{ credential = "fixed", into = "query", name = "key" }, { credential = "partner", into = "bearer" }]"#;
    let config = CONFIG.replace("accept = [\"bunny\"]", &format!("accept = [\"bunny\"]\n{entries}"));
    let said = explained_by(&format!("{config}{credentials}"), &format!("https://bunny.example.com{}", signed_path()));
    let told = |at: usize| ["into", "name", "credential", "provider", "scope", "state"].map(|key| said["injected"][at][key].clone());
    assert_eq!(told(0), ["query", "key", "fixed", "static", "route", "fresh"].map(|text| json!(text)), "{said}");
    assert_eq!(told(1)[..4], ["header", "authorization", "partner", "oauth2"].map(|text| json!(text)), "{said}");
    assert!(said["injected"][1]["state"].is_null() && said["notes"].to_string().contains("partner"), "{said}");
    assert!(!said.to_string().contains("canary"), "{said}");
}

#[test]
fn a_signature_over_the_whole_request_is_told_with_what_is_injected() {
    let folder = tempfile::tempdir().expect("folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "canary-of-the-bucket").expect("written");
    #[cfg(unix)]
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
    for (place, into, name) in [("header", "header", "authorization"), ("query", "query", "X-Amz-Signature")] {
        let (secret, region) = (secret.display(), "eu-central-1");
        let table = format!(
            "upstream_aws = {{ access_key_id = \"AK\", secret_access_key_file = \"{secret}\", region = \"{region}\", sign_into = \"{place}\" }}"
        );
        let config = CONFIG.replace("accept = [\"bunny\"]", &format!("accept = [\"bunny\"]\n{table}"));
        let said = explained_by(&config, &format!("https://bunny.example.com{}", signed_path()));
        let told = ["into", "name", "mode", "credential", "provider", "scope", "state"].map(|key| said["injected"][0][key].clone());
        let wanted = [into, name, "replace", "upstream_aws", "aws-sigv4", "request", "fresh"];
        assert_eq!(told, wanted.map(|text| json!(text)), "{said}");
        assert!(said["notes"].as_array().is_some_and(Vec::is_empty) && !said.to_string().contains("canary"), "{said}");
    }
}

#[test]
fn shadow_mode_and_the_second_list_are_told() {
    let config = CONFIG.replace("accept = [\"jwt\"]", "accept = [\"jwt\"]\nmode = \"dual\"\ncompare = [\"bunny\"]");
    let said = explained_by(&config, "https://jwt.example.com/v/a");
    assert_eq!(
        (&said["mode"], &said["compared"]["decision"], &said["compared"]["reason"]),
        (&json!("dual"), &json!("deny"), &json!("missing"))
    );
    let config = CONFIG.replace("accept = [\"jwt\"]", "accept = [\"jwt\"]\nmode = \"shadow\"");
    let said = explained_by(&config, "https://jwt.example.com/v/a");
    assert_eq!((&said["decision"], &said["mode"]), (&json!("deny"), &json!("shadow")), "{said}");
    assert!(said["notes"].to_string().contains("shadow"), "{said}");
}
