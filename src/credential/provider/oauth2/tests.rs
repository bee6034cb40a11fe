//! An OAuth 2.0 client's words, each against the clause that has them.

use serde_json::json;

use super::*;
use crate::clock::UnixTime;
use crate::credential::config::{Around, Source, Table};
use crate::token::KeySet;
use crate::token::jws::Jws;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn provider(more: &Value) -> Result<Box<dyn Provider>, String> {
    let mut table = json!({ "token_url": "https://login.example/token", "client_id": "a b", "secret": "s&c:ret" });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    let config: Config = serde_json::from_value(table).map_err(|fault| fault.to_string())?;
    match config.build(&Around::new(&|_| None, &|_| None))? {
        Source::Vendor(provider) => Ok(provider),
        Source::Mint(_) => Err("not a vendor".into()),
    }
}

fn form(request: &Request<Bytes>) -> Vec<(String, String)> {
    let body = std::str::from_utf8(request.body()).expect("text");
    let mut pairs: Vec<_> = query::pairs(body).map(|(k, v)| (query::decode(k).expect("name"), query::decode(v).expect("value"))).collect();
    pairs.sort();
    pairs
}

fn value<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn answer(status: u16, body: &str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).expect("response")
}

fn with_refresh(token: &str) -> Issued {
    Issued { renewal: Some(Secret::new(token.to_owned())), ..Issued::new("old".into(), NOW, None) }
}

#[test]
fn client_credentials_are_asked_for_with_all_that_the_config_says() {
    let provider = provider(&json!({
        "scopes": ["a", "b"], "audience": "aud", "resources": ["https://r/1", "https://r/2"], "parameters": { "x": "y z" }
    }));
    let request = provider.expect("provider").request(&Ask::first(NOW)).expect("request");
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", "https://login.example/token".to_owned()));
    assert_eq!(request.headers()["authorization"], "Basic YSUyMGI6cyUyNmMlM0FyZXQ=");
    let form = form(&request);
    let pairs: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let all = [("audience", "aud"), ("grant_type", "client_credentials"), ("resource", "https://r/1"), ("resource", "https://r/2")];
    assert_eq!(pairs, [&all[..], &[("scope", "a b"), ("x", "y z")]].concat());
}

#[test]
fn the_secret_can_stand_in_the_form() {
    let request = provider(&json!({ "auth_method": "client-secret-post" })).expect("provider").request(&Ask::first(NOW)).expect("request");
    let form = form(&request);
    assert_eq!((value(&form, "client_id"), value(&form, "client_secret")), (Some("a b"), Some("s&c:ret")));
    assert!(!request.headers().contains_key("authorization"));
}

#[test]
fn assertions_are_signed_and_each_is_another() {
    let secret = "0123456789abcdef0123456789abcdef";
    let provider = provider(&json!({ "auth_method": "client-secret-jwt", "secret": secret, "key_id": "k1" })).expect("provider");
    let assertion = |nonce| {
        let request = provider.request(&Ask { nonce, ..Ask::first(NOW) }).expect("request");
        let form = form(&request);
        assert_eq!(value(&form, "client_assertion_type"), Some(ASSERTION_TYPE));
        assert!(value(&form, "client_secret").is_none());
        value(&form, "client_assertion").expect("assertion").to_owned()
    };
    let (first, second) = (assertion(1), assertion(2));
    assert_ne!(first, second);
    let key = Key::new(crate::token::key::Material::octets(secret.as_bytes().to_vec()), None, None).expect("key");
    let jws = Jws::parse(&first).expect("JWS");
    assert_eq!((jws.verify(&key), jws.key_id()), (Ok(()), Ok(Some("k1"))));
    let claims = jws.claims().expect("claims");
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!("a b"), &json!("a b"), &json!("https://login.example/token")));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW.0), &json!(NOW.0 + 60)));
}

#[test]
fn a_private_key_signs_by_its_own_algorithm() {
    let folder = tempfile::tempdir().expect("folder");
    let pair = rcgen::KeyPair::generate().expect("key");
    let file = folder.path().join("client.pem");
    std::fs::write(&file, pair.serialize_pem()).expect("write");
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
    let more = json!({ "auth_method": "private-key-jwt", "secret": null, "key_file": file, "assertion_audience": "https://login.example" });
    let request = provider(&more).expect("provider").request(&Ask::first(NOW)).expect("request");
    let form = form(&request);
    let jws = Jws::parse(value(&form, "client_assertion").expect("assertion")).expect("JWS");
    let set = KeySet::parse(pair.public_key_pem().as_bytes(), None, None).expect("key");
    assert_eq!(jws.verify(set.only().expect("one")), Ok(()));
    assert_eq!((&jws.header()["alg"], &jws.claims().expect("claims")["aud"]), (&json!("ES256"), &json!("https://login.example")));
}

#[test]
fn refresh_tokens_rotate_and_the_last_one_is_used() {
    let provider = provider(&json!({ "grant": "refresh-token", "refresh_secret": "first" })).expect("provider");
    let refresh = |previous: Option<&Issued>| {
        let request = provider.request(&Ask { previous, ..Ask::first(NOW) }).expect("request");
        value(&form(&request), "refresh_token").map(str::to_owned)
    };
    assert_eq!(refresh(None).as_deref(), Some("first"));
    let ask = Ask { previous: Some(&with_refresh("second")), ..Ask::first(NOW) };
    assert_eq!(refresh(ask.previous).as_deref(), Some("second"));
    let rotated = r#"{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"third"}"#;
    let plain = r#"{"access_token":"a","token_type":"Bearer","expires_in":"60"}"#;
    for (body, kept) in [(rotated, "third"), (plain, "second")] {
        let issued = provider.parse(&ask, &answer(200, body)).expect("issued");
        assert_eq!(issued.renewal.as_ref().map(Secret::expose).map(String::as_str), Some(kept));
        assert_eq!((issued.value.expose().as_str(), issued.expires), ("a", Some(NOW.plus(60))));
    }
}

#[test]
fn answers_that_are_no_tokens_are_told_apart() {
    let provider = provider(&json!({})).expect("provider");
    let refreshing = with_refresh("r");
    let account = |reason: &str, renewal| Refused::Account { reason: reason.into(), renewal };
    for (status, body, previous, refused) in [
        (400, r#"{"error":"invalid_client"}"#, None, account("invalid_client", false)),
        (400, r#"{"error":"invalid_grant"}"#, Some(&refreshing), account("invalid_grant", true)),
        (400, r#"{"error":"the secret was s&c:ret"}"#, None, account("status 400", false)),
        (401, "", None, account("status 401", false)),
        (400, r#"{"error":"temporarily_unavailable"}"#, None, Refused::Transient("temporarily_unavailable".into())),
        (503, "", None, Refused::Transient("the vendor answers 503".into())),
        (429, "", None, Refused::Limited(None)),
        (302, "", None, Refused::Malformed("the vendor answers 302".into())),
        (200, "<html>", None, Refused::Malformed("the answer is no JSON object".into())),
    ] {
        let found = provider.parse(&Ask { previous, ..Ask::first(NOW) }, &answer(status, body)).expect_err("refused");
        assert_eq!(found, refused, "{status} {body}");
    }
    for body in [
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":"a","token_type":"mac"}"#,
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
    ] {
        assert!(matches!(provider.parse(&Ask::first(NOW), &answer(200, body)), Err(Refused::Malformed(_))), "{body}");
    }
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    for more in [
        json!({ "token_url": "http://login.example/token" }),
        json!({ "revocation_url": "https://elsewhere.example/revoke" }),
        json!({ "secret": null }),
        json!({ "secret_env": "X" }),
        json!({ "auth_method": "private-key-jwt", "secret": null }),
        json!({ "auth_method": "none" }),
        json!({ "auth_method": "tls-client-auth", "secret": null }),
        json!({ "grant": "refresh-token" }),
        json!({ "parameters": { "client_secret": "x" } }),
        json!({ "colour": 1 }),
    ] {
        assert!(provider(&more).is_err(), "{more}");
    }
}

#[test]
fn tokens_are_withdrawn_where_the_server_can() {
    assert!(provider(&json!({})).expect("provider").revoke(&Ask::first(NOW), &with_refresh("r")).is_none());
    let provider = provider(&json!({ "revocation_url": "https://login.example/revoke" })).expect("provider");
    let request = provider.revoke(&Ask::first(NOW), &Issued::new("tok".into(), NOW, None)).expect("request");
    assert_eq!((request.uri().path(), value(&form(&request), "token")), ("/revoke", Some("tok")));
    let shown = format!("{provider:?} {:?}", request.headers());
    assert!(!shown.contains("s&c:ret") && !shown.contains("YSUy"), "{shown}");
}
