//! From making a token to being refused by it, for each vendor.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::token::ziggeo;

use super::{ADMIN, APP, CLOUDFLARE, ENCRYPTION, OTHER, PAGE, Rig, ask, basic, body};
use crate::rig::Answer;
use crate::support::gateway::NOW;

pub(crate) const UID: &str = "ea95132c15732412d22c1476fa83f27a";

pub(crate) fn apivideo(rig: &Rig, method: &str, target: &str, text: &str) -> Answer {
    rig.call(method, target, &[("Authorization", &basic(ADMIN, "")), ("Content-Type", "application/json")], text)
}

pub(crate) fn ziggeo(rig: &Rig, method: &str, target: &str, form: &str) -> Answer {
    rig.call(method, target, &[("Authorization", &basic(APP, ADMIN)), ("Content-type", "application/x-www-form-urlencoded")], form)
}

pub(crate) fn cloudflare(rig: &Rig, method: &str, rest: &str, fields: Value) -> Answer {
    let text = if fields.is_null() { String::new() } else { fields.to_string() };
    let target = format!("/client/v4/accounts/{CLOUDFLARE}/stream/{rest}");
    rig.call(method, &target, &[("Authorization", &format!("bearer {ADMIN}")), ("Content-Type", "application/json")], &text)
}

pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn decoded(bytes: Vec<u8>) -> Value {
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Header and claims of a JWT.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| decoded(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()));
    (parts.next().expect("a header"), parts.next().expect("claims"))
}

#[test]
fn an_upload_token_uploads_until_it_is_deleted_or_over() {
    let rig = Rig::start();
    let made = apivideo(&rig, "POST", "/upload-tokens", r#"{"ttl":3600}"#);
    assert_eq!((made.status, made.field("content-type")), (200, "application/json"), "{made:?}");
    assert!(!made.field("x-ratelimit-limit").is_empty() && !made.field("x-ratelimit-retry-after").is_empty());
    let made = body(&made);
    let token = text(&made, "token").to_owned();
    assert!(token.len() == 24 && token.starts_with("to") && token.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
    assert_eq!(
        (&made["ttl"], text(&made, "createdAt"), text(&made, "expiresAt")),
        (&json!(3600), "2027-01-15T08:00:00+00:00", "2027-01-15T09:00:00+00:00")
    );
    let upload = format!("/upload?token={token}");
    assert_eq!(rig.play("POST", &upload).status, 201);
    assert_eq!(rig.origin.last().target, "/upload", "the token stays here");
    let refused = |answer: &Answer| {
        assert_eq!((answer.status, answer.field("content-type")), (401, "application/problem+json"), "{answer:?}");
        assert_eq!(body(answer)["type"], "https://docs.api.video/reference/authentication-invalid-upload-token");
        assert_eq!(body(answer)["title"], "The upload token is invalid or expired.");
    };
    refused(&rig.play("POST", "/upload?token=to0000000000000000000000"));
    assert!(rig.play("POST", "/upload").body.contains("authentication-missing-upload-token"));
    let gone = apivideo(&rig, "DELETE", &format!("/upload-tokens/{token}"), "");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    refused(&rig.play("POST", &upload));
    let again = apivideo(&rig, "DELETE", &format!("/upload-tokens/{token}"), "");
    assert_eq!((again.status, &body(&again)["name"]), (404, &json!("uploadToken")));
    let short = text(&body(&apivideo(&rig, "POST", "/upload-tokens", r#"{"ttl":60}"#)), "token").to_owned();
    assert_eq!(rig.play("POST", &format!("/upload?token={short}")).status, 201);
    rig.pass(60);
    refused(&rig.play("POST", &format!("/upload?token={short}")));
    assert_eq!(apivideo(&rig, "GET", &format!("/upload-tokens/{short}"), "").status, 404);
}

#[test]
fn tokens_are_listed_sorted_and_paged() {
    let rig = Rig::start();
    let mut made = Vec::new();
    for ttl in [300, 0, 100, 200, 50] {
        made.push(text(&body(&apivideo(&rig, "POST", "/upload-tokens", &format!("{{\"ttl\":{ttl}}}"))), "token").to_owned());
        rig.pass(1);
    }
    let list = |query: &str| {
        let page = body(&apivideo(&rig, "GET", &format!("/upload-tokens{query}"), ""));
        let ttls: Vec<i64> = page["data"].as_array().expect("a list").iter().map(|token| token["ttl"].as_i64().expect("ttl")).collect();
        (ttls, page["pagination"].clone())
    };
    assert_eq!(list("").0, [50, 200, 100, 0, 300]);
    assert_eq!(list("?sortBy=createdAt&sortOrder=asc").0, [300, 0, 100, 200, 50]);
    assert_eq!(list("?sortBy=ttl&sortOrder=asc").0, [50, 100, 200, 300, 0]);
    let (ttls, pagination) = list("?sortBy=ttl&sortOrder=desc&currentPage=2&pageSize=2");
    assert_eq!(ttls, [200, 100]);
    for (name, value) in [("currentPage", 2), ("currentPageItems", 2), ("pageSize", 2), ("pagesTotal", 3), ("itemsTotal", 5)] {
        assert_eq!(pagination[name], value, "{name}");
    }
    let rels: Vec<&str> = pagination["links"].as_array().expect("links").iter().map(|link| text(link, "rel")).collect();
    assert_eq!(rels, ["self", "first", "previous", "next", "last"]);
    assert_eq!(list("?currentPage=9").0, Vec::<i64>::new());
    let bad = apivideo(&rig, "GET", "/upload-tokens?pageSize=101", "");
    assert_eq!((bad.status, &body(&bad)["range"]), (400, &json!({ "min": 1, "max": 100 })));
}

#[test]
fn access_tokens_stand_for_a_key_and_rotate() {
    let rig = Rig::start();
    // The uploader of browsers sends its JSON as text.
    let auth = |path: &str, text: &str| rig.call("POST", path, &[("Content-Type", "text/plain;charset=UTF-8")], text);
    let first = body(&auth("/auth/api-key", &format!("{{\"apiKey\":\"{ADMIN}\"}}")));
    assert_eq!((&first["token_type"], &first["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let list = |token: &str| rig.call("GET", "/upload-tokens", &[("Authorization", &format!("Bearer {token}"))], "").status;
    assert_eq!(list(text(&first, "access_token")), 200);
    assert_eq!(list(text(&first, "refresh_token")), 401, "a refresh token opens nothing");
    let refresh = format!("{{\"refreshToken\":\"{}\"}}", text(&first, "refresh_token"));
    let second = auth("/auth/refresh", &refresh);
    assert_eq!(second.status, 200);
    assert_eq!(list(text(&body(&second), "access_token")), 200);
    let replayed = auth("/auth/refresh", &refresh);
    assert_eq!((replayed.status, replayed.body.contains("authentication-invalid-user-credentials")), (400, true));
    assert_eq!(auth("/auth/api-key", "{\"apiKey\":\"wrong\"}").status, 400);
    rig.pass(3600);
    assert_eq!(list(text(&first, "access_token")), 401);
}

#[test]
fn a_key_uploads_on_a_route_that_takes_it_until_it_is_withdrawn() {
    let rig = Rig::with(Clock::manual(NOW), |config| {
        config["schemes"]["backend"] = json!({ "type": "api-key", "dialect": "apivideo", "account": "acme" });
        config["routes"]
            .as_array_mut()
            .expect("routes")
            .push(json!({ "name": "videos", "path": "/videos", "methods": ["GET", "POST"], "accept": ["backend"], "origin": "media" }));
    });
    let bearer = format!("Bearer {ADMIN}");
    let admin = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let make = |role: &str| body(&rig.call("POST", "/v1/api-keys", &admin, &json!({ "name": role, "role": role }).to_string()));
    let send = |method: &str, authorization: &str| rig.send(method, "/videos/vi1/source", &[("Authorization", authorization)]);
    let (issuer, reader) = (make("issuer"), make("reader"));
    let (key, read) = (text(&issuer, "key"), text(&reader, "key"));
    let access = body(&rig.call("POST", "/auth/api-key", &[], &json!({ "apiKey": key }).to_string()));
    let access = format!("Bearer {}", text(&access, "access_token"));
    assert_eq!((send("POST", &basic(key, "")).status, send("POST", &access).status), (201, 201));
    assert_eq!((send("GET", &basic(read, "")).status, send("POST", &basic(read, "")).code()), (200, String::new()));
    assert!(send("POST", &basic(read, "")).body.contains("authorization-forbidden"));
    // Nobody else's, though they are as good elsewhere.
    assert!(send("POST", &basic(OTHER, "")).body.contains("authentication-invalid-api-key"));
    assert_eq!(rig.origin.last().field("authorization"), None, "the key stays here");
    let gone = rig.call("DELETE", &format!("/v1/api-keys/{}", text(&issuer, "id")), &admin, "");
    assert_eq!(gone.status, 200, "{gone:?}");
    assert!(send("POST", &basic(key, "")).body.contains("authentication-invalid-api-key"));
    assert!(send("POST", &access).body.contains("authentication-invalid-access-token"), "it ends with its key");
}

#[test]
fn a_private_video_is_opened_once_and_then_by_its_session() {
    let rig = Rig::start();
    let hls = look(&rig, "hls");
    assert_ne!(hls, look(&rig, "hls"), "each look makes a token");
    let first = rig.play("GET", &hls);
    let session = first.field("x-token-session").to_owned();
    assert_eq!((first.status, session.len()), (200, 40), "{first:?}");
    assert_eq!(rig.origin.last().target, "/vod/vi4k0jvEUuaTdRAEjQ4Jfrgz/hls/manifest.m3u8", "the token stays here");
    let again = rig.play("GET", &hls);
    assert_eq!((again.status, again.body.contains("resource-not-found")), (404, true));
    let preflight = [("Origin", PAGE), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x-token-session")];
    assert!(ask(rig.data, "OPTIONS", &hls, &preflight, b"").field("access-control-allow-headers").contains("X-Token-Session"));
    let read = ask(rig.data, "GET", &look(&rig, "hls"), &[("Origin", PAGE)], b"");
    assert!(read.field("access-control-expose-headers").contains("X-Token-Session"), "players in pages read it: {read:?}");
    assert_eq!(rig.play("GET", &format!("{hls}?avh={session}")).status, 200);
    let child = hls.replace("manifest.m3u8", "480p/seg1.ts");
    assert_eq!(ask(rig.data, "GET", &child, &[("X-Token-Session", &session)], b"").status, 200);
    assert_eq!(rig.play("GET", &format!("{hls}?avh={}", session.replace(&session[20..24], "0000"))).status, 404);
    let asked = look(&rig, "mp4").replace("/mp4/source.mp4", "/session");
    let said = rig.play("GET", &asked);
    assert_eq!((said.status, said.field("content-type")), (200, "application/json"), "{said:?}");
    let session = text(&body(&said), "session_token").to_owned();
    assert_eq!(rig.play("GET", &asked).status, 404, "it was used for that");
    let mp4 = asked.replace("/session", "/mp4/source.mp4");
    assert_eq!(rig.play("GET", &format!("{mp4}?avh={session}")).status, 200);
    rig.pass(86_400);
    assert_eq!(rig.play("GET", &format!("{mp4}?avh={session}")).status, 404);
}

/// Looks at a private video: the path of one of its assets, with a new token.
fn look(rig: &Rig, name: &str) -> String {
    let video = body(&apivideo(rig, "GET", "/videos/vi4k0jvEUuaTdRAEjQ4Jfrgz", ""));
    let url = text(&video["assets"], name);
    url[url.find("/vod/").expect("a path")..].to_owned()
}

/// A gateway whose private videos have sessions.
fn private_with_sessions(propagation: &str, entries: &[&str]) -> Rig {
    let session =
        json!({ "propagation": propagation, "entries": entries, "idle_timeout": "2h", "outlive": "1day", "max_duration": "1day" });
    Rig::with(Clock::manual(NOW), |config| config["routes"][1]["session"] = session)
}

#[test]
fn the_browser_that_opened_a_private_video_comes_back_and_no_other_does() {
    let rig = private_with_sessions("cookie", &["m3u8"]);
    let hls = look(&rig, "hls");
    let first = rig.play("GET", &hls);
    let cookie = first.field("set-cookie").split(';').next().unwrap_or_default().to_owned();
    assert_eq!((first.status, cookie.is_empty()), (200, false), "{first:?}");
    let with_cookie = |target: &str| ask(rig.data, "GET", target, &[("Cookie", &cookie)], b"").status;
    // What a playlist names relative to itself has the spent token in its path.
    for target in [&hls, &hls.replace("manifest.m3u8", "480p/seg1.ts")] {
        assert_eq!((with_cookie(target), rig.play("GET", target).status), (200, 404), "{target}");
    }
    let other = hls.replace("vi4k0jvEUuaTdRAEjQ4Jfrgz", "viOTHER");
    assert_eq!(with_cookie(&other), 404, "another video");
    let (_, another) = hls.split_once("/token/").expect("a token");
    let forged = hls.replace(&another[..4], "0000");
    assert_eq!(with_cookie(&forged), 404, "another token");
}

#[test]
fn the_page_of_a_player_is_loaded_again_and_gets_its_session_token() {
    let rig = private_with_sessions("cookie", &["*"]);
    let hls = look(&rig, "hls");
    let (video, token) = hls.trim_end_matches("/hls/manifest.m3u8").split_once("/token/").expect("a token");
    let (page, session) = (format!("{video}?token={token}"), format!("{video}/token/{token}/session"));
    let first = rig.play("GET", &page);
    let cookie = first.field("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let ask = |target: &str| (ask(rig.data, "GET", target, &[("Cookie", &cookie)], b""), rig.play("GET", target).status);
    assert_eq!((first.status, ask(&page).0.status, ask(&page).1), (200, 200, 404), "{first:?}");
    let (said, elsewhere) = ask(&session);
    assert_eq!((said.status, elsewhere), (200, 404));
    let by_session = format!("{hls}?avh={}", text(&body(&said), "session_token"));
    assert_eq!(rig.play("GET", &by_session).status, 200);
}

#[test]
fn a_private_video_plays_for_a_day_from_its_first_use() {
    const HOUR: i64 = 3600;
    let rig = private_with_sessions("path", &["m3u8"]);
    let (hls, mp4) = (look(&rig, "hls"), look(&rig, "mp4"));
    rig.pass(23 * HOUR);
    let entry = rig.play("GET", &hls);
    assert_eq!((entry.status, rig.play("GET", &hls).status), (302, 404), "{entry:?}");
    let segment = entry.field("location").replace("manifest.m3u8", "480p/seg1.ts");
    let said = body(&rig.play("GET", &mp4.replace("mp4/source.mp4", "session")));
    let thumbnail = format!("{}?avh={}", mp4.replace("mp4/source.mp4", "thumbnail.jpg"), text(&said, "session_token"));
    let both = || (rig.play("GET", &segment).status, rig.play("GET", &thumbnail).status);
    // Uses are written down a moment after their answers; when this one is, they are too.
    look(&rig, "hls");
    for hour in 1..24 {
        rig.pass(HOUR);
        // A listing takes away what is over.
        apivideo(&rig, "GET", "/upload-tokens", "");
        assert_eq!(both(), (200, 200), "after {hour} hours");
    }
    rig.pass(HOUR);
    assert_eq!(both(), (403, 404));
}

#[test]
fn an_auth_token_allows_what_its_grants_say_until_it_is_deleted() {
    let rig = Rig::start();
    let made = ziggeo(&rig, "POST", "/v1/authtokens/", "session_limit=2&grants[read][resources][]=v1&grants[create][all]=true");
    assert_eq!((made.status, made.field("content-type")), (200, "application/json"));
    let made = body(&made);
    let token = text(&made, "token").to_owned();
    assert_eq!((token.len(), &made["session_limit"], &made["volatile"]), (32, &json!(2), &json!(false)));
    assert_eq!(made["grants"], json!({ "read": { "resources": ["v1"] }, "create": { "all": true } }));
    let at = |rest: &str| format!("/v1/applications/{APP}/videos/{rest}?server_auth={token}");
    assert_eq!(rig.play("GET", &at("v1/video.mp4")).status, 200);
    assert_eq!(rig.origin.last().target, format!("/v1/applications/{APP}/videos/v1/video.mp4"));
    assert_eq!(rig.play("GET", &at("v2/video.mp4")).code(), "token_entitlement");
    assert_eq!(rig.play("DELETE", &at("v1")).code(), "token_entitlement");
    assert_eq!(rig.play("POST", &at("videos-upload-url")).status, 201);
    let changed = ziggeo(&rig, "POST", &format!("/v1/authtokens/{token}"), "hidden=True");
    assert_eq!((changed.status, &body(&changed)["hidden"], &body(&changed)["session_limit"]), (200, &json!(true), &json!(2)));
    assert_eq!(rig.play("GET", &at("v1/video.mp4")).code(), "token_invalid");
    ziggeo(&rig, "POST", &format!("/v1/authtokens/{token}"), "hidden=0");
    assert_eq!(rig.play("GET", &at("v1/video.mp4")).status, 200);
    assert_eq!(body(&ziggeo(&rig, "GET", &format!("/v1/authtokens/{token}"), ""))["token"], token);
    let gone = ziggeo(&rig, "POST", &format!("/v1/authtokens/{token}?_method=DELETE"), "");
    assert_eq!((gone.status, gone.body.as_str()), (200, "{}"));
    assert_eq!(rig.play("GET", &at("v1/video.mp4")).code(), "token_invalid");
    assert_eq!(ziggeo(&rig, "GET", &format!("/v1/authtokens/{token}"), "").status, 404);
}

#[test]
fn a_tokens_limits_are_those_of_its_sessions() {
    let rig = Rig::start();
    let session = || {
        let said = rig.play("POST", &format!("/v1/applications/{APP}/session?noauth=false"));
        assert_eq!(said.status, 200, "{said:?}");
        text(&body(&said), "token").to_owned()
    };
    let token = text(
        &body(&ziggeo(&rig, "POST", "/v1/authtokens/", "session_limit=2&usage_experitation_time=60&grants=%7B%27read%27%3A+%27all%27%7D")),
        "token",
    )
    .to_owned();
    let play = |session: &str| {
        rig.play("GET", &format!("/v1/applications/{APP}/videos/v1/video.mp4?server_auth={token}&i07af2jp98rvoctt26y5egy3{APP}={session}"))
    };
    let (first, second, third) = (session(), session(), session());
    // The first use starts the clock: a browser keeps its session for longer than this token gives.
    rig.pass(3600);
    assert_eq!((play(&first).status, play(&first).status, play(&second).status), (200, 200, 200));
    assert_eq!(play(&third).code(), "session_total_token");
    rig.pass(59);
    assert_eq!(play(&first).status, 200);
    rig.pass(1);
    assert_eq!((play(&first).code(), play(&first).code()), ("session_duration".into(), "session_duration".into()));
    // The same without a session parameter.
    let token = text(&body(&ziggeo(&rig, "POST", "/v1/authtokens/", "usage_expiration_time=60&grants[read]=all")), "token").to_owned();
    let plain = || rig.play("GET", &format!("/v1/applications/{APP}/videos/v1/video.mp4?server_auth={token}"));
    assert_eq!(plain().status, 200);
    rig.pass(60);
    assert_eq!((plain().code(), plain().code()), ("session_duration".into(), "session_duration".into()));
}

#[test]
fn a_client_token_is_for_one_session_until_its_end() {
    let rig = Rig::start();
    let options = json!({ "expiration_date": NOW.0 + 600, "grants": "{\"read\":\"all\"}" });
    let plain = ziggeo::plaintext(options.as_object().expect("an object"), APP, "1700000000123");
    let token = ziggeo::Cipher::new(ENCRYPTION).and_then(|cipher| cipher.encrypt(&plain, [7; 8])).expect("a token");
    let play = |session: &str| {
        rig.play("GET", &format!("/v1/applications/{APP}/videos/v1/video.mp4?client_auth={token}&i07af2jp98rvoctt26y5egy3{APP}={session}"))
    };
    assert_eq!((play("one").status, play("one").status, play("two").code()), (200, 200, "session_total_token".into()));
    rig.pass(600);
    assert_eq!(play("one").code(), "token_expired");
}

#[test]
fn what_a_session_made_is_its_own() {
    let rig = Rig::start();
    let session = || {
        let said = rig.play("POST", &format!("/v1/applications/{APP}/session"));
        text(&body(&said), "token").to_owned()
    };
    let grants = "grants[create][session_owned]=true&grants[read][session_owned]=true&grants[destroy]=session_owned";
    let token = text(&body(&ziggeo(&rig, "POST", "/v1/authtokens/", grants)), "token").to_owned();
    let (ours, theirs) = (session(), session());
    let ask = |method: &str, rest: &str, session: &str| {
        rig.play(method, &format!("/v1/applications/{APP}/videos/{rest}?server_auth={token}&i07af2jp98rvoctt26y5egy3{APP}={session}"))
    };
    assert_eq!(ask("GET", "made1/video.mp4", &ours).code(), "token_entitlement");
    let made = ask("POST", "videos-upload-url", &ours);
    assert_eq!((made.status, &body(&made)["token"]), (201, &json!("made1")));
    // The name is written down a moment after the answer.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while ask("GET", "made1/video.mp4", &ours).status != 200 {
        assert!(std::time::Instant::now() < end, "never its own");
        std::thread::yield_now();
    }
    assert_eq!(ask("GET", "made1/video.mp4", &theirs).code(), "token_entitlement");
    let (confirm, attach) = ("made1/streams/s1/confirm-video", "made1/streams/s1/videoattach");
    assert_eq!((ask("POST", confirm, &ours).status, ask("POST", attach, &ours).status), (201, 201));
    assert_eq!(ask("POST", attach, &theirs).code(), "token_entitlement", "who may create may not record over another's");
    assert_eq!(ask("DELETE", "made1", &theirs).code(), "token_entitlement");
    assert_eq!(ask("DELETE", "made1", &ours).status, 200);
    assert_eq!(ask("GET", "made2/video.mp4", &"0".repeat(32)).code(), "token_entitlement");
}

#[test]
fn a_token_is_found_by_its_key_and_an_empty_one_goes() {
    let rig = Rig::start();
    let made = body(&ziggeo(&rig, "POST", "/v1/authtokens/", "key=mine&volatile=1&hidden="));
    let by_key = body(&ziggeo(&rig, "POST", "/v1/authtokens/mine", "session_limit=5"));
    assert_eq!((&by_key["token"], &by_key["session_limit"], &by_key["key"]), (&made["token"], &json!(5), &json!("mine")));
    assert_eq!(ziggeo(&rig, "POST", "/v1/authtokens/", "key=mine").status, 400, "taken");
    rig.pass(3600);
    assert_eq!(ziggeo(&rig, "GET", "/v1/authtokens/mine", "").status, 404);
}

#[test]
fn stream_tokens_open_until_their_key_is_deleted() {
    let rig = Rig::start();
    let play = |token: &str| rig.play("GET", &format!("/cf/{token}/manifest/video.m3u8"));
    let minted = body(&cloudflare(&rig, "POST", &format!("{UID}/token"), json!({})));
    assert_eq!((&minted["success"], &minted["errors"], &minted["messages"]), (&json!(true), &json!([]), &json!([])));
    let own = text(&minted["result"], "token").to_owned();
    assert_eq!(play(&own).status, 200);
    assert_eq!(rig.origin.last().target, format!("/{UID}/manifest/video.m3u8"));
    let (header, claims) = parts(&own);
    assert_eq!(header, json!({ "alg": "RS256", "kid": claims["kid"] }));
    let (end, start) = (NOW.plus(3600).0.to_string(), NOW.plus(-3600).0.to_string());
    assert_eq!(claims, json!({ "sub": UID, "kid": header["kid"], "exp": end, "nbf": start }), "times as texts");
    let key = body(&cloudflare(&rig, "POST", "keys", Value::Null))["result"].clone();
    let id = text(&key, "id").to_owned();
    let jwk = decoded(STANDARD.decode(text(&key, "jwk")).expect("base64"));
    let names: Vec<&str> = jwk.as_object().expect("a key").keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "d", "dp", "dq", "e", "kid", "kty", "n", "p", "q", "qi", "use"]);
    assert_eq!((&jwk["alg"], &jwk["kty"], &jwk["use"], &jwk["kid"]), (&json!("RS256"), &json!("RSA"), &json!("sig"), &json!(id)));
    let listed = body(&cloudflare(&rig, "GET", "keys", Value::Null))["result"].clone();
    assert_eq!(listed, json!([{ "id": id, "created": key["created"] }]), "no secret, and none of our own");
    let fields = json!({ "id": id, "pem": key["pem"], "exp": NOW.0 + 600, "downloadable": true });
    let given = text(&body(&cloudflare(&rig, "POST", &format!("{UID}/token"), fields))["result"], "token").to_owned();
    assert_eq!(play(&given).status, 200);
    assert_eq!(rig.play("GET", &format!("/cf/{given}/downloads/default.mp4")).status, 200);
    assert_eq!(rig.play("GET", &format!("/cf/{own}/downloads/default.mp4")).code(), "token_entitlement");
    let gone = cloudflare(&rig, "DELETE", &format!("keys/{id}"), Value::Null);
    assert_eq!((gone.status, &body(&gone)["result"]), (200, &json!("Revoked")));
    assert_eq!(play(&given).code(), "token_invalid");
    assert_eq!(play(&own).status, 200);
    rig.pass(3600);
    assert_eq!(play(&own).code(), "token_expired");
    let long = cloudflare(&rig, "POST", &format!("{UID}/token"), json!({ "exp": rig.clock.now().0 + 86_401 }));
    assert_eq!((long.status, &body(&long)["success"], &body(&long)["result"]), (400, &json!(false), &Value::Null));
}

#[test]
fn access_rules_are_asked_with_every_request() {
    let rig = Rig::with(Clock::manual(NOW), |config| {
        config["server"]["trusted_proxies"] = json!(["127.0.0.0/8"]);
        config["routes"][3]["session"] = json!({ "propagation": "path" });
    });
    let rules = |count: usize| {
        let rule = json!({ "type": "ip.src", "action": "allow", "ip": ["198.51.100.0/24", "2001:db8::/32"] });
        let rules = vec![rule; count - 1].into_iter().chain([json!({ "type": "any", "action": "block" })]);
        cloudflare(&rig, "POST", &format!("{UID}/token"), json!({ "accessRules": rules.collect::<Vec<_>>() }))
    };
    assert_eq!(rules(6).status, 400);
    let token = text(&body(&rules(5))["result"], "token").to_owned();
    assert_eq!(parts(&token).1["accessRules"].as_array().map(Vec::len), Some(5));
    let from = |target: &str, ip: &str| ask(rig.data, "GET", target, &[("X-Forwarded-For", ip)], b"");
    let entry = format!("/cf/{token}/manifest/video.m3u8");
    assert_eq!(from(&entry, "203.0.113.9").code(), "token_address");
    let playlist = from(&entry, "198.51.100.7").field("location").to_owned();
    for (ip, status) in [("198.51.100.7", 200), ("2001:db8::7", 200), ("203.0.113.9", 403), ("2001:db9::7", 403)] {
        assert_eq!(from(&playlist, ip).status, status, "{ip}");
    }
}

#[test]
fn a_video_says_who_may_show_it() {
    let rig = Rig::start();
    let from = |origin: Option<&str>| {
        let headers: Vec<(&str, &str)> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
        ask(rig.data, "GET", &format!("/cf/{UID}/manifest/video.m3u8"), &headers, b"")
    };
    assert_eq!(from(None).code(), "token_missing", "nothing was said: protected");
    assert_eq!(cloudflare(&rig, "GET", UID, Value::Null).status, 404);
    let said = cloudflare(
        &rig,
        "POST",
        UID,
        json!({ "uid": UID, "requireSignedURLs": false, "allowedOrigins": ["*.example.com", "localhost:8080", "localhost"] }),
    );
    assert_eq!((said.status, &body(&said)["result"]["requireSignedURLs"]), (200, &json!(false)));
    for (origin, wanted) in [
        (Some("https://www.example.com"), 200),
        (Some("http://localhost:8080"), 200),
        (Some("https://example.com"), 403),
        (Some("http://localhost:9090"), 403),
        (Some("https://evil.test"), 403),
        (None, 403),
    ] {
        assert_eq!(from(origin).status, wanted, "{origin:?}");
    }
    let said = cloudflare(&rig, "POST", UID, json!({ "requireSignedURLs": true, "allowedOrigins": [] }));
    assert_eq!(body(&said)["result"]["allowedOrigins"], json!([]));
    assert_eq!(from(Some("https://www.example.com")).code(), "token_missing");
    assert_eq!(body(&cloudflare(&rig, "GET", UID, Value::Null))["result"]["uid"], UID);
}

#[test]
fn accounts_say_of_a_video_what_holds_for_them() {
    let rig = Rig::start();
    let path = format!("/client/v4/accounts/{}/stream/{UID}", "f".repeat(32));
    let other = |method: &str, text: &str| {
        let fields = [("Authorization", format!("Bearer {OTHER}")), ("Content-Type", "application/json".to_owned())];
        rig.call(method, &path, &fields.each_ref().map(|(name, value)| (*name, value.as_str())), text)
    };
    let bare = || rig.play("GET", &format!("/cf/{UID}/manifest/video.m3u8"));
    // The other account is first, and opens it on its own routes at most.
    assert_eq!(other("POST", r#"{"requireSignedURLs":false}"#).status, 200);
    assert_eq!(bare().code(), "token_missing");
    assert_eq!(cloudflare(&rig, "GET", UID, Value::Null).status, 404, "nothing was said of it here");
    assert_eq!(cloudflare(&rig, "POST", UID, json!({ "requireSignedURLs": false })).status, 200);
    assert_eq!(bare().status, 200);
    assert_eq!(other("POST", r#"{"requireSignedURLs":true}"#).status, 200);
    let signed = |answer: &Answer| body(answer)["result"]["requireSignedURLs"].clone();
    assert_eq!((signed(&cloudflare(&rig, "GET", UID, Value::Null)), signed(&other("GET", ""))), (json!(false), json!(true)));
    assert_eq!(bare().status, 200);
    assert_eq!(cloudflare(&rig, "POST", UID, json!({ "requireSignedURLs": true })).status, 200);
    assert_eq!(bare().code(), "token_missing");
}
