//! api.video's provider against what its own clients sent and were told.

use serde_json::{Value, json};

use super::super::testing::{NOW, Recorded, answer, ask, variable};
use super::*;
use crate::clock::UnixTime;

fn recorded() -> Recorded {
    Recorded::of(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/apivideo.json")))
}

fn config(more: &Value) -> ApivideoConfig {
    let mut table = json!({ "api_key_env": "API_KEY" });
    table.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    serde_json::from_value(table).expect("a config")
}

fn provider(more: &Value) -> Apivideo {
    Apivideo::new(&config(more), &variable).expect("a provider")
}

#[test]
fn an_upload_token_is_made_listed_and_withdrawn() {
    let (recorded, provider) = (recorded(), provider(&json!({})));
    let ask = ask(None, None);
    recorded.check("uploadTokens.createToken({ttl:3600})", &provider.request(&ask).expect("a call"));
    let issued = provider.parse(&ask, &recorded.answer("uploadTokens.createToken({ttl:3600})")).expect("a token");
    assert_eq!((issued.value.expose().as_str(), issued.expires), ("to1tcmSFHeYY5KzyhOqVKMKb", Some(UnixTime(NOW.0 + 3600))));
    recorded.check("uploadTokens.getToken", &provider.get("to1tcmSFHeYY5KzyhOqVKMKb").expect("a call"));
    recorded.check("uploadTokens.deleteToken", &provider.revoke(&ask, &issued).expect("a call"));
    let list = provider.parse_list(&ask, &recorded.answer("uploadTokens.list()")).expect("a list");
    let ends: Vec<_> = list.tokens.iter().map(|token| (token.value.expose().as_str(), token.expires.is_some())).collect();
    assert_eq!((ends, list.pages), (vec![("to37YfoPDRR2pcDKa6LsUE0M", true), ("to1W3ZS9PdUBZWzzTEZr1B79", false)], 1));
    assert_eq!(provider.list(2).expect("a call").uri(), "https://ws.api.video/upload-tokens?currentPage=2&pageSize=100");
}

#[test]
fn a_ttl_of_zero_has_no_end() {
    let provider = provider(&json!({ "ttl": 0, "base_url": "http://127.0.0.1:1" }));
    assert_eq!(provider.request(&ask(None, None)).expect("a call").body(), "{\"ttl\":0}");
    let issued = provider.parse(&ask(None, None), &answer(200, &json!({ "token": "to1", "ttl": 0, "expiresAt": null })));
    assert_eq!(issued.expect("a token").expires, None);
}

#[test]
fn an_access_token_is_renewed_by_its_last_refresh_token() {
    let (recorded, provider) = (recorded(), provider(&json!({ "issue": "bearer" })));
    let first = ask(None, None);
    let request = provider.request(&first).expect("a call");
    assert_eq!(request.headers().get("authorization"), None);
    recorded.check("connect()", &request);
    let issued = provider.parse(&first, &recorded.answer("connect()")).expect("a token");
    assert_eq!(issued.expires, Some(NOW.plus(3600)));
    let again = ask(None, Some(&issued));
    recorded.check("refresh_token()", &provider.request(&again).expect("a call"));
    let rotated = json!({ "token_type": "Bearer", "expires_in": 3600.5, "access_token": "b", "refresh_token": "r2" });
    let next = provider.parse(&again, &answer(200, &rotated)).expect("a token");
    assert_eq!(next.renewal.expect("rotated").expose(), "r2");
    assert_eq!(next.expires, Some(NOW.plus(3600)));
}

#[test]
fn bad_credentials_are_told_apart_from_a_bad_refresh_token() {
    let provider = provider(&json!({ "issue": "bearer" }));
    let mut previous = Issued::new("a".into(), NOW, None);
    previous.renewal = Some(Secret::new("r1".into()));
    let body = json!({ "type": "https://docs.api.video/reference/authentication-invalid-user-credentials", "status": 400 });
    for status in [400, 401, 403] {
        for (previous, renewal) in [(None, false), (Some(&previous), true)] {
            let refused = provider.parse(&ask(None, previous), &answer(status, &body)).expect_err("refused");
            let Refused::Account { reason, renewal: told } = refused else { panic!("{refused:?}") };
            assert_eq!(told, renewal);
            assert_eq!(reason, format!("the vendor answers {status} (authentication-invalid-user-credentials)"));
        }
    }
    let refused = provider.parse(&ask(None, None), &answer(200, &json!({ "access_token": "a" }))).expect_err("no end");
    assert_eq!(refused, Refused::Malformed("the answer has no expires_in".into()));
}

fn private_video() -> Value {
    let at = |host: &str, file: &str| format!("https://{host}.api.video/vod/vi4k/token/8fd70443/{file}");
    json!({ "videoId": "vi4k", "public": false, "assets": {
        "player": "https://embed.api.video/vod/vi4k?token=8fd70443", "hls": at("vod", "hls/manifest.m3u8"),
        "mp4": at("vod", "mp4/source.mp4"), "thumbnail": at("vod", "thumbnail.jpg") } })
}

#[test]
fn a_private_video_gives_its_token_and_then_a_session() {
    let provider = provider(&json!({ "issue": "session" }));
    let ask = ask(Some("vi4k"), None);
    assert_eq!(provider.request(&ask).expect("a call").uri(), "https://ws.api.video/videos/vi4k");
    let first = provider.parse(&ask, &answer(200, &private_video())).expect("a token");
    assert_eq!((first.value.expose().as_str(), first.expires), ("8fd70443", Some(NOW.plus(86_400))));
    assert!(first.details["hls"].expose().ends_with("/token/8fd70443/hls/manifest.m3u8"));
    let next = provider.next(&ask, &first).expect("a call").expect("a second call");
    assert_eq!(next.uri(), "https://vod.api.video/vod/vi4k/token/8fd70443/session");
    assert_eq!(next.headers().get("authorization"), None);
    let whole = provider.complete(&ask, first, &answer(200, &json!({ "session_token": "s1" }))).expect("a session");
    assert_eq!((whole.value.expose().as_str(), whole.details["token"].expose().as_str()), ("s1", "8fd70443"));
}

#[test]
fn a_video_without_a_token_gives_none() {
    let provider = provider(&json!({ "issue": "private-video" }));
    let parse = |video: &Value| provider.parse(&ask(Some("vi4k"), None), &answer(200, video)).map(|issued| issued.value.expose().clone());
    assert!(parse(&json!({ "public": true, "assets": {} })).is_err());
    assert!(parse(&json!({ "public": false, "assets": { "hls": "https://vod.api.video/vod/vi4k/hls/manifest.m3u8" } })).is_err());
    assert_eq!(parse(&json!({ "assets": { "player": "https://embed.api.video/vod/vi4k?token=x1" } })), Ok("x1".into()));
    assert!(provider.next(&ask(Some("vi4k"), None), &Issued::new("x".into(), NOW, None)).expect("no call").is_none());
    for strange in ["", "../upload-tokens", "a?b", "é"] {
        assert!(provider.request(&ask(Some(strange), None)).is_err(), "{strange}");
    }
}

#[test]
fn the_key_alone_is_a_user_without_password() {
    let key = ApivideoKey::new(&config(&json!({ "issue": "basic" })), &variable).expect("a key");
    assert_eq!(key.mint(&ask(None, None)).expect("minted").value.expose(), "9VxMaPgsaFg7EBqmuspSzF7:");
    assert!(!format!("{key:?}").contains("9VxMa"));
}

#[test]
fn odd_configs_are_refused() {
    for bad in [json!({ "ttl": "1500ms" }), json!({ "ttl": "100years" }), json!({ "base_url": "ws.api.video" })] {
        assert!(Apivideo::new(&config(&bad), &variable).is_err(), "{bad}");
    }
}

#[test]
fn vendors_errors_are_read() {
    let (recorded, provider) = (recorded(), provider(&json!({})));
    let refused = |call: &str| provider.parse(&ask(None, None), &recorded.answer(call)).expect_err(call);
    assert_eq!(refused("get_token(404)"), Refused::Malformed("the vendor answers 404 (resource-not-found)".into()));
    assert!(matches!(refused("list() when 401"), Refused::Account { renewal: false, .. }));
}
