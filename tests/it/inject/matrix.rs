//! Every place, with every spelling that a caller sends there, in every mode: our value is there as often as the config says, the
//! caller's is not, and nobody is shown ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::VALUE;
use crate::support::client;
use crate::support::gateway::over;
use crate::support::{Gateway, Origin, Reply};

/// What a caller sends: behind the path, header lines, body.
type Twin = (&'static str, &'static str, &'static str);

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const PARTS: &str = "Content-Type: multipart/form-data; boundary=xx\r\n";

/// Each place, and what callers send there.
fn places() -> Vec<(Value, Vec<Twin>)> {
    vec![
        (
            json!({ "into": "query", "name": "token" }),
            vec![
                ("/a", "", ""),
                ("/a?token=evil", "", ""),
                ("/a?t%6Fken=evil&b=1&TOKEN=evil", "", ""),
                ("/a?token[]=evil&token=evil", "", ""),
            ],
        ),
        (
            json!({ "into": "header", "name": "X-Key" }),
            vec![("/a", "", ""), ("/a", "x-key: evil\r\n", ""), ("/a", "X_KEY: evil\r\nX.Key: evil\r\nX-KEY: evil\r\n", "")],
        ),
        (json!({ "into": "bearer" }), vec![("/a", "", ""), ("/a", "authorization: Bearer evil\r\n", "")]),
        (
            json!({ "into": "basic", "name": "ann" }),
            vec![("/a", "", ""), ("/a", "AUTHORIZATION: Basic evil\r\nAuthorization: evil\r\n", "")],
        ),
        (
            json!({ "into": "cookie", "name": "sid" }),
            vec![
                ("/a", "", ""),
                ("/a", "Cookie: sid=evil\r\n", ""),
                ("/a", "Cookie: a=1; SID=evil; s%69d=evil\r\nCookie: sid=evil\r\n", ""),
            ],
        ),
        (json!({ "into": "path-prefix", "name": "k=" }), vec![("/a", "", ""), ("/k=evil/a", "", ""), ("/a/K=evil/b", "", "")]),
        (
            json!({ "into": "form", "name": "token" }),
            vec![("/a", FORM, "b=1"), ("/a", FORM, "token=evil&b=1"), ("/a", FORM, "b=1&TOKEN=evil&t%6fken=evil")],
        ),
        (
            json!({ "into": "multipart", "name": "token" }),
            vec![
                ("/a", PARTS, "--xx\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n--xx--\r\n"),
                (
                    "/a",
                    PARTS,
                    "--xx\r\nContent-Disposition: form-data; name=\"TOKEN\"\r\n\r\nevil\r\n--xx\r\nContent-Disposition: form-data; \
                     name=token\r\n\r\nevil\r\n--xx--\r\n",
                ),
            ],
        ),
    ]
}

/// How an entry that follows another in the same place is told to behave, and how many values are there then.
const MODES: [(&str, usize); 3] = [("replace", 1), ("append", 2), ("only-if-absent", 1)];

#[tokio::test]
async fn of_places_twins_and_modes() {
    // Says back all that came.
    let origin = Origin::start(|seen| {
        let body = json!({ "head": seen.head, "body": String::from_utf8_lossy(&seen.body) });
        Reply::new(200, body.to_string()).with("Content-Type", "application/json").with("X-Target", &seen.target)
    });
    let mut routes = Vec::new();
    let places = places();
    for (at, (place, _)) in places.iter().enumerate() {
        for (mode, _) in MODES {
            let first = over(json!({ "credential": "key" }), place.clone());
            let second = over(first.clone(), json!({ "mode": mode }));
            for (count, inject) in [json!([second]), json!([first, second])].into_iter().enumerate() {
                let path = format!("/p{at}-{mode}-{count}");
                routes.push(json!({
                    "name": format!("p{at}-{mode}-{count}"), "path": path, "public": true, "origin": "media", "methods": ["POST"],
                    "inject": inject, "answers": { "json": [{ "field": "none" }] },
                }));
            }
        }
    }
    let mut config = super::config(&origin.url, json!({ "into": "bearer" }), json!({}));
    config["routes"] = routes.into();
    let gateway = Gateway::start(config);
    let basic = STANDARD.encode(format!("ann:{VALUE}"));
    for (at, (place, twins)) in places.iter().enumerate() {
        for (mode, both) in MODES {
            for (target, fields, body) in twins {
                for (count, expected) in [1, both].into_iter().enumerate() {
                    let target = format!("/p{at}-{mode}-{count}{target}");
                    let answer = client::request(gateway.addr(), "POST", &target, fields, body.as_bytes()).await;
                    let case = format!("{place} {mode} {count}: {target} {fields}{body}");
                    assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                    let seen = origin.last();
                    let came = format!("{}{}", seen.head, String::from_utf8_lossy(&seen.body));
                    assert_eq!(came.matches(VALUE).count() + came.matches(&basic).count(), expected, "{case}\n{came}");
                    assert!(!came.contains("evil"), "{case}\n{came}");
                    let shown = format!("{:?} {}", answer.fields, answer.text());
                    assert!(!shown.contains(VALUE) && !shown.contains(&basic), "{case}\n{shown}");
                }
            }
        }
    }
}
