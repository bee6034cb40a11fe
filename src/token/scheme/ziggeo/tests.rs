//! Tests of the scheme `ziggeo`.

use http::Method;
use serde_json::json;

use super::*;
use crate::token::Key;
use crate::token::issued::{FixedIssued, Grants, Reach};
use crate::token::scheme::testkit::{NOW, Request, decide, object, route, source};

const APP: &str = "app1token";

fn config() -> Config {
    serde_json::from_value(json!({ "keys": "k", "application_token": APP })).expect("config")
}

fn reach(all: bool, session_owned: bool, resources: &[&str]) -> Option<Reach> {
    Some(Reach { all, session_owned, resources: resources.iter().map(|r| (*r).to_owned()).collect() })
}

fn ziggeo() -> Ziggeo {
    let token = |grants| Issue::AuthToken(AuthToken { account: APP.into(), grants, session_limit: Some(2), ..AuthToken::default() });
    let read = Grants { read: reach(true, false, &[]), ..Grants::default() };
    let hidden = AuthToken { hidden: true, grants: read.clone(), ..AuthToken::default() };
    let ended = AuthToken { expiration_date: Some(NOW), grants: read.clone(), ..AuthToken::default() };
    let some = Grants {
        read: reach(false, false, &["v1"]),
        create: reach(false, true, &[]),
        update: reach(false, true, &[]),
        destroy: reach(false, false, &["v2"]),
    };
    let issued = FixedIssued::default()
        .with("readall", token(read))
        .with("some", token(some))
        .with("none", token(Grants::default()))
        .with("hidden", Issue::AuthToken(hidden))
        .with("ended", Issue::AuthToken(ended));
    Ziggeo::new(&config(), source(vec![Key::secret(None, b"enc1key".to_vec())]), Arc::new(issued)).expect("scheme")
}

fn ask(method: Method, target: &str) -> Result<Grant, Denial> {
    let request = Request { method, ..Request::get(target) };
    decide(&route(ziggeo()), &request, NOW).map(|judged| judged.grant)
}

fn url(rest: &str) -> String {
    format!("/v1/applications/{APP}/{rest}")
}

/// A client token with these options.
fn client(options: Value) -> String {
    ziggeo().make(None, &object(options)).expect("made")
}

#[test]
fn grants_decide_by_what_is_asked() {
    for (token, method, path, wanted) in [
        ("readall", Method::GET, "videos/v9/video.mp4", Ok(())),
        ("readall", Method::GET, "videos", Ok(())),
        ("readall", Method::DELETE, "videos/v9", Err(Denial::Entitlement)),
        ("readall", Method::POST, "videos/videos-upload-url", Err(Denial::Entitlement)),
        ("some", Method::GET, "videos/v1/image", Ok(())),
        ("some", Method::GET, "videos/v2/image", Err(Denial::Entitlement)),
        ("some", Method::GET, "videos", Err(Denial::Entitlement)),
        ("some", Method::POST, "videos/videos-upload-url", Ok(())),
        ("some", Method::POST, "videos/v7/streams/s/confirm-video", Err(Denial::Entitlement)),
        ("some", Method::POST, "videos/v1", Err(Denial::Entitlement)),
        ("some", Method::DELETE, "videos/v2", Ok(())),
        ("some", Method::DELETE, "videos/v1", Err(Denial::Entitlement)),
        ("none", Method::GET, "videos/v1", Err(Denial::Entitlement)),
        ("hidden", Method::GET, "videos/v1", Err(Denial::NotIssued)),
        ("ended", Method::GET, "videos/v1", Err(Denial::Expired)),
        ("unknown", Method::GET, "videos/v1", Err(Denial::NotIssued)),
    ] {
        let target = url(&format!("{path}?server_auth={token}"));
        assert_eq!(ask(method, &target).map(|_| ()), wanted, "{token} {path}");
    }
    assert_eq!(ask(Method::POST, &url("videos/v1?server_auth=readall&_method=DELETE")).map(|_| ()), Err(Denial::Entitlement));
    assert_eq!(ask(Method::GET, &url("videos/v1")).map(|_| ()), Err(Denial::Missing));
    assert_eq!(ask(Method::GET, &url("videos/v1?server_auth=readall&client_auth=x")).map(|_| ()), Err(Denial::Ambiguous));
    assert_eq!(ask(Method::GET, &url("videos/v1?client_auth=readall")).map(|_| ()), Err(Denial::Malformed));
}

#[test]
fn terms_go_to_the_session_table() {
    let grant = ask(Method::GET, &url("videos/v9?server_auth=readall")).expect("good");
    assert_eq!(grant.session, SessionTerms { concurrent: None, total: Some(2), seconds: None, once: true });
    let token = client(json!({ "grants": { "read": "all" }, "usage_experitation_time": 60 }));
    let grant = ask(Method::GET, &url(&format!("videos/v9?client_auth={token}"))).expect("good");
    assert_eq!((grant.session.total, grant.session.seconds), (Some(1), Some(60)));
}

#[test]
fn tokens_of_the_sdks_are_taken() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/ziggeo_generate.json"));
    let vectors: Value = serde_json::from_str(text).expect("JSON");
    let mut taken = 0;
    for vector in vectors["positive"].as_array().expect("a list") {
        if vector["application_token"] != APP || vector["encryption_key"] != "enc1key" {
            continue;
        }
        let (name, token) = (vector["name"].as_str().expect("name"), vector["token"].as_str().expect("token"));
        let opened = ziggeo().client(token);
        // Options that are no field, text that is not UTF-8 and other applications' tokens are refused.
        let refused = name.starts_with("non-ascii") || name.starts_with("option overrides");
        assert_eq!(opened.is_ok(), !refused, "{name}: {opened:?}");
        taken += usize::from(opened.is_ok());
    }
    assert!(taken >= 7, "{taken}");
    for vector in vectors["negative"].as_array().expect("a list").iter().filter(|vector| vector["encryption_key"] == "enc1key") {
        assert!(ziggeo().client(vector["token"].as_str().expect("token")).is_err(), "{}", vector["name"]);
    }
}

#[test]
fn a_changed_first_block_gains_nothing() {
    let token = client(json!({ "session_limit": 1, "grants": { "read": "all" } }));
    let (iv, rest) = token.split_at(16);
    let before = ziggeo().client(&token).expect("good");
    for at in 0..16 {
        for flip in 1..=255_u8 {
            let mut changed = iv.as_bytes().to_vec();
            changed[at] ^= flip;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            if let Ok(grant) = ziggeo().client(&format!("{changed}{rest}")) {
                assert_eq!((grant.token_id, grant.session), (before.token_id.clone(), before.session), "{at} {flip}");
            }
        }
    }
}

#[test]
fn client_tokens_must_be_whole() {
    let good = json!({ "grants": { "read": "all" } });
    assert!(ziggeo().client(&client(good)).is_ok());
    for bad in [json!({ "hidden": true }), json!({ "session_limit": "many" }), json!({ "sesion_limit": 1 }), json!({ "grants": "x" })] {
        assert_eq!(ziggeo().client(&client(bad.clone())).map(|_| ()), Err(Denial::Malformed), "{bad}");
    }
    let cipher = Cipher::new("enc1key").expect("cipher");
    for text in [r#"{"application_token":"app1token"}"#, r#"{"application_token":"app1token","nonce":"ab"}"#, r#"{"nonce":"1"}"#, "[]"] {
        let token = cipher.encrypt(text.as_bytes(), [1; 8]).expect("made");
        assert_eq!(ziggeo().client(&token).map(|_| ()), Err(Denial::Malformed), "{text}");
    }
}

#[test]
fn a_session_has_its_beginning_inside() {
    let scheme = ziggeo();
    let request = Request { method: Method::POST, ..Request::get(&url("session?noauth=true&_wrapstatus=true")) };
    let reply = scheme.reply(None, &request.facts(), UnixTime(NOW)).expect("a reply");
    let said: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(said["status"], "200");
    let session = said["responseText"]["token"].as_str().expect("a token");
    assert_eq!((session.len(), scheme.began(session)), (32, Some(UnixTime(NOW))));
    assert_eq!(scheme.began(&session.replace(&session[..1], "0")), None);
    let token = client(json!({ "grants": { "read": "all" }, "usage_expiration_time": 60 }));
    let request = Request::get(&url(&format!("videos/v1?client_auth={token}&{COOKIE}{APP}={session}")));
    let scheme = route(scheme);
    let judged = decide(&scheme, &request, NOW).expect("good");
    assert_eq!(scheme.playback(&request.facts()).as_deref(), Some(session));
    assert_eq!(judged.grant.session.seconds, Some(60));
    let plain = Request { method: Method::POST, ..Request::get(&url("session")) };
    let reply = scheme.reply(None, &plain.facts(), UnixTime(NOW)).expect("a reply");
    assert!(reply.body.starts_with(r#"{"testing_application":false,"token":""#), "{}", reply.body);
    assert_eq!(scheme.reply(None, &Request::get(&url("session")).facts(), UnixTime(NOW)), None);
}

#[test]
fn a_signed_token_is_one_of_ours() {
    let scheme = route(ziggeo());
    let request = SignRequest {
        path: url("videos/v1/video.mp4"),
        expires: Some(UnixTime(NOW + 60)),
        claims: object(json!({ "grants": { "read": { "resources": ["v1"] } }, "session_limit": 3 })),
        ..SignRequest::default()
    };
    let signed = scheme.sign(&request).expect("signs");
    let target = format!("{}?{}", signed.path, signed.query.expect("a query"));
    let judged = decide(&scheme, &Request::get(&target), NOW).expect("good");
    assert_eq!((judged.grant.window.until, judged.grant.session.total), (UnixTime(NOW + 60), Some(3)));
    let unknown = SignRequest { claims: object(json!({ "colour": 1 })), ..request };
    assert!(matches!(scheme.sign(&unknown), Err(SignError::CannotExpress(_))));
}
