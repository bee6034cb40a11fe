//! Key tables: what is read, and what is refused with which words.

use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const JWK: &str = r#"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","kid":"own"}"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    fn put(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        }
        self
    }

    fn load(&self, config: Value) -> Result<Loaded, String> {
        let config: KeysConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
        let variable = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        load(&Name::new("k").expect("name"), &config, Surroundings { folder: self.0.path(), variable: &variable })
    }

    fn fault(&self, config: Value) -> String {
        self.load(config).expect_err("a fault")
    }
}

fn public_pem() -> String {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::generate().expect("key");
    pem::encode(&pem::Pem::new("PUBLIC KEY", pair.public_key().as_der().expect("der").as_ref()))
}

#[test]
fn secrets_come_from_every_place() {
    let folder = Folder::new().put("s", &format!("{SECRET}\r\n"), 0o600).put("jwk", JWK, 0o600);
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
    for (config, id) in [
        (json!({"secret": SECRET}), None),
        (json!({"secret": SECRET, "id": "a"}), Some("a")),
        (json!({"secret": hex, "encoding": "hex"}), None),
        (json!({"secret": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "encoding": "base64"}), None),
        (json!({"secret": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "encoding": "base64"}), None),
        (json!({"secret_file": "s"}), None),
        (json!({"secret_env": "SECRET"}), None),
        (json!({"inline": JWK}), Some("own")),
        (json!({"file": "jwk", "id": "ignored"}), Some("own")),
        (json!({"by_id": {"a": {"secret": SECRET}}}), Some("a")),
    ] {
        let loaded = folder.load(config.clone()).unwrap_or_else(|fault| panic!("{config}: {fault}"));
        let keys = loaded.source.load();
        let key = keys.only().expect("one key");
        assert_eq!((key.octets(), key.id().map(|id| &**id)), (Some(SECRET.as_bytes()), id), "{config}");
        assert_eq!(key.algorithm(), Algorithm::HS256, "{config}");
    }
}

#[test]
fn short_secrets_are_for_schemes_that_lay_down_their_use() {
    let folder = Folder::new();
    let algorithm = |config| folder.load(config).map(|loaded| loaded.source.load().only().expect("one").algorithm());
    assert_eq!(algorithm(json!({"secret": "short"})), Ok(Algorithm::Secret));
    assert_eq!(algorithm(json!({"secret": SECRET, "algorithm": "secret"})), Ok(Algorithm::Secret));
    assert!(algorithm(json!({"secret": "short", "algorithm": "HS256"})).is_err());
    assert!(algorithm(json!({"secret": SECRET, "algorithm": "RS256"})).is_err());
}

#[test]
fn several_keys_by_id() {
    let folder = Folder::new().put("pub.pem", &public_pem(), 0o644);
    let loaded = folder.load(json!({"by_id": {"a": {"secret": SECRET}, "b": {"file": "pub.pem"}}})).expect("loads");
    let keys = loaded.source.load();
    assert!(keys.get("a").is_some() && keys.get("b").is_some() && keys.len() == 2);
    assert_eq!(loaded.files, [folder.0.path().join("pub.pem")]);
    for bad in [
        json!({"by_id": {"a": {"url": "https://a.test/"}}}),
        json!({"by_id": {"a": {"secret": SECRET, "id": "b"}}}),
        json!({"by_id": {"a": {"inline": JWK}}}),
        json!({"by_id": {"a": {"by_id": {"b": {"secret": SECRET}}}}}),
        json!({"by_id": {"a": {}}}),
    ] {
        assert!(folder.fault(bad.clone()).starts_with("keys.k.by_id.a: "), "{bad}");
    }
}

#[test]
fn faults_name_the_table_and_the_file() {
    let folder = Folder::new().put("bad.pem", "-----BEGIN NOTHING-----", 0o600);
    for (config, words) in [
        (json!({}), "one of file, url"),
        (json!({"secret": SECRET, "file": "x"}), "only one of"),
        (json!({"secret": SECRET, "by_id": {"a": {"secret": SECRET}}}), "only one of"),
        (json!({"file": "missing.pem"}), "missing.pem"),
        (json!({"file": "bad.pem"}), "bad.pem"),
        (json!({"secret_file": "missing"}), "missing"),
        (json!({"secret_env": "NOT_SET"}), "NOT_SET is not set"),
        (json!({"secret": "xyz", "encoding": "hex"}), "encoding"),
        (json!({"secret": "abc", "encoding": "hex"}), "encoding"),
        (json!({"secret": "?", "encoding": "base64"}), "encoding"),
        (json!({"secret": ""}), "empty"),
        (json!({"inline": "?"}), "not a key"),
        (json!({"url": "http://example.com/jwks"}), "https://"),
        (json!({"url": "ftp://example.com/jwks"}), "https://"),
        (json!({"url": "/jwks"}), "https://"),
    ] {
        let fault = folder.fault(config.clone());
        assert!(fault.starts_with("keys.k: ") && fault.contains(words), "{config}: {fault}");
        assert!(!fault.contains(SECRET), "{fault}");
    }
}

#[cfg(unix)]
#[test]
fn files_with_secrets_are_closed_to_others() {
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
        let folder = Folder::new().put("jwk", JWK, mode).put("s", SECRET, mode).put("pub.pem", &public_pem(), mode);
        for (config, file) in [(json!({"file": "jwk"}), "jwk"), (json!({"secret_file": "s"}), "s")] {
            let fault = folder.fault(config);
            assert!(fault.contains(&format!("/{file} holds a secret")) && fault.contains(&format!("{mode:04o}")), "{fault}");
        }
        assert!(folder.load(json!({"file": "pub.pem"})).is_ok(), "{mode:o}");
    }
    let folder = Folder::new().put("jwk", JWK, 0o400);
    assert!(folder.load(json!({"file": "jwk"})).is_ok());
}

#[test]
fn addresses_are_fetched_later() {
    let folder = Folder::new();
    for url in ["https://login.example.com/jwks", "http://127.0.0.1:9/jwks", "http://localhost/jwks", "http://[::1]:1/"] {
        let loaded = folder.load(json!({"url": url, "refresh": "5m"})).expect("loads");
        let remote = loaded.remote.expect("remote");
        assert!(remote.url() == url && loaded.source.load().is_empty() && !remote.is_loaded());
        assert!(remote.keys().is(&loaded.source));
    }
}
