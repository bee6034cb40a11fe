//! Who may do what: no key, wrong keys, keys of too small a role, keys of another account, pages of other origins.

use super::{ADMIN, APP, CLOUDFLARE, ISSUER, OTHER, PAGE, READER, Rig, basic, body};

/// Method, path, body, and the least role.
const APIVIDEO: [(&str, &str, &str, usize); 5] = [
    ("GET", "/upload-tokens", "", 0),
    ("GET", "/upload-tokens/to1", "", 0),
    ("POST", "/upload-tokens", "{}", 1),
    ("DELETE", "/upload-tokens/to1", "", 1),
    ("GET", "/videos/vi1", "", 1),
];
const ZIGGEO: [(&str, &str, &str, usize); 4] = [
    ("GET", "/v1/authtokens/t1", "", 0),
    ("POST", "/v1/authtokens/", "", 1),
    ("POST", "/v1/authtokens/t1", "", 1),
    ("DELETE", "/v1/authtokens/t1", "", 1),
];
const STREAM: [(&str, &str, &str, usize); 6] = [
    ("GET", "keys", "", 0),
    ("GET", "u1", "", 0),
    ("POST", "u1/token", "{}", 1),
    ("POST", "keys", "", 2),
    ("DELETE", "keys/k1", "", 2),
    ("POST", "u1", "{}", 2),
];
const ROLES: [&str; 3] = [READER, ISSUER, ADMIN];

/// Whether a status says that the caller was let in, whatever became of the call.
fn is_in(status: u16) -> bool {
    !matches!(status, 401 | 403)
}

#[test]
fn roles_are_kept() {
    let rig = Rig::start();
    for (index, key) in ROLES.into_iter().enumerate() {
        for (method, path, text, least) in APIVIDEO {
            let answer = rig.call(method, path, &[("Authorization", &basic(key, ""))], text);
            assert_eq!(is_in(answer.status), index >= least, "{key} {method} {path}: {answer:?}");
        }
        for (method, path, text, least) in ZIGGEO {
            let answer = rig.call(method, path, &[("Authorization", &basic(APP, key))], text);
            assert_eq!(is_in(answer.status), index >= least, "{key} {method} {path}: {answer:?}");
        }
        for (method, path, text, least) in STREAM {
            let target = format!("/client/v4/accounts/{CLOUDFLARE}/stream/{path}");
            for style in ["X-Auth-Key", "X-Auth-User-Service-Key"] {
                let answer = rig.call(method, &target, &[("X-Auth-Email", "user@example.com"), (style, key)], text);
                assert_eq!(is_in(answer.status), index >= least, "{key} {style} {method} {path}: {answer:?}");
            }
        }
    }
}

#[test]
fn nobody_comes_in_without_a_key() {
    let rig = Rig::start();
    for authorization in ["", "Basic", "Basic !!!", "Bearer", "Bearer wrong", "Digest x"] {
        let headers = [("Authorization", authorization)];
        for (method, path, text, _) in APIVIDEO {
            let answer = rig.call(method, path, &headers, text);
            assert_eq!((answer.status, answer.field("content-type")), (401, "application/problem+json"), "{authorization} {method} {path}");
            assert!(!answer.field("x-ratelimit-limit").is_empty(), "{answer:?}");
        }
        for (method, path, text, _) in ZIGGEO {
            assert_eq!(rig.call(method, path, &headers, text).status, 401, "{authorization} {method} {path}");
        }
        for (method, path, text, _) in STREAM {
            let answer = rig.call(method, &format!("/client/v4/accounts/{CLOUDFLARE}/stream/{path}"), &headers, text);
            assert!(matches!(answer.status, 401 | 429), "{authorization} {method} {path}: {answer:?}");
        }
    }
    // An empty header is none, as some SDKs send it.
    let empty = rig.call("GET", "/upload-tokens", &[("Authorization", "")], "");
    assert!(empty.body.contains("authentication-missing-authorization-header"), "{}", empty.body);
}

#[test]
fn accounts_do_not_see_one_another() {
    let rig = Rig::start();
    let made = rig.call("POST", "/upload-tokens", &[("Authorization", &basic(ADMIN, ""))], "{}");
    let token = body(&made)["token"].as_str().expect("a token").to_owned();
    let other = basic(OTHER, "");
    let theirs = [("Authorization", other.as_str())];
    assert_eq!(rig.call("GET", &format!("/upload-tokens/{token}"), &theirs, "").status, 404);
    assert_eq!(rig.call("DELETE", &format!("/upload-tokens/{token}"), &theirs, "").status, 404);
    assert_eq!(body(&rig.call("GET", "/upload-tokens", &theirs, ""))["data"], serde_json::json!([]));
    // Their tokens do not open a route of this account.
    let made = body(&rig.call("POST", "/upload-tokens", &theirs, "{}"));
    assert_eq!(rig.play("POST", &format!("/upload?token={}", made["token"].as_str().expect("a token"))).status, 401);
    for (method, path, text, _) in ZIGGEO {
        let answer = rig.call(method, path, &[("Authorization", &basic(APP, OTHER))], text);
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    for (method, path, text, _) in STREAM {
        let target = format!("/client/v4/accounts/{CLOUDFLARE}/stream/{path}");
        let answer = rig.call(method, &target, &[("Authorization", &format!("Bearer {OTHER}"))], text);
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    let nobodys = format!("/client/v4/accounts/{}/stream/keys", "0".repeat(32));
    assert_eq!(rig.call("GET", &nobodys, &[("Authorization", &format!("Bearer {OTHER}"))], "").status, 403, "as one that is not there");
}

/// Every route with what an admin of `acme` presents there: method, target, body, header.
fn routes() -> Vec<(&'static str, String, &'static str, String)> {
    let apivideo = APIVIDEO.iter().map(|(method, path, text, _)| (*method, (*path).to_owned(), *text, basic(ADMIN, "")));
    let ziggeo = ZIGGEO.iter().map(|(method, path, text, _)| (*method, (*path).to_owned(), *text, basic(APP, ADMIN)));
    let target = |path: &str| format!("/client/v4/accounts/{CLOUDFLARE}/stream/{path}");
    let stream = STREAM.iter().map(|(method, path, text, _)| (*method, target(path), *text, format!("Bearer {ADMIN}")));
    apivideo.chain(ziggeo).chain(stream).collect()
}

#[test]
fn pages_of_other_origins_get_nothing() {
    let rig = Rig::start();
    for (method, target, text, authorization) in routes() {
        for origin in ["https://evil.test", "null", "https://app.example.com.evil.test", "http://app.example.com"] {
            let call = [("Authorization", authorization.as_str()), ("Origin", origin)];
            let preflight =
                [("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "authorization"), ("Origin", origin)];
            for answer in [rig.call(method, &target, &call, text), rig.call("OPTIONS", &target, &preflight, "")] {
                assert_eq!(
                    (answer.status, answer.field("access-control-allow-origin")),
                    (403, ""),
                    "{method} {target} {origin}: {answer:?}"
                );
                assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_ok(), "{method} {target}: {answer:?}");
            }
        }
    }
    let list = rig.call("GET", "/upload-tokens", &[("Authorization", &basic(ADMIN, ""))], "");
    assert_eq!(body(&list)["pagination"]["itemsTotal"], 0, "nothing was made");
}

#[test]
fn pages_that_are_allowed_call_with_a_key_and_after_a_preflight_without() {
    let rig = Rig::start();
    for (method, target, text, authorization) in routes() {
        let wanted = "authorization, av-origin-client, content-type";
        let asked = [("Origin", PAGE), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", wanted)];
        let answer = rig.call("OPTIONS", &target, &asked, "");
        assert_eq!((answer.status, answer.field("access-control-allow-origin")), (204, PAGE), "{method} {target}: {answer:?}");
        assert!(answer.field("access-control-allow-methods").contains(method), "{method} {target}: {answer:?}");
        assert_eq!((answer.field("access-control-allow-headers"), answer.field("vary")), (wanted, "Origin"), "{method} {target}");
        let answer = rig.call(method, &target, &[("Origin", PAGE), ("Authorization", &authorization)], text);
        assert!(is_in(answer.status), "{method} {target}: {answer:?}");
        assert_eq!(answer.field("access-control-allow-origin"), PAGE, "{method} {target}");
        let answer = rig.call(method, &target, &[("Origin", PAGE)], text);
        assert_eq!(
            (answer.status, answer.field("access-control-allow-origin")),
            (401, PAGE),
            "{method} {target}: a page still needs a key"
        );
    }
}
