//! A key's minute, as each vendor says it.

use serde_json::json;
use tollgate::clock::Clock;

use super::{ADMIN, APP, CLOUDFLARE, Rig, basic, body};
use crate::support::gateway::NOW;

fn rig() -> Rig {
    Rig::with(Clock::manual(NOW), |config| config["control"]["api_keys"]["admin"]["per_minute"] = json!(3))
}

#[test]
fn api_video_says_on_every_answer_where_its_caller_stands() {
    let rig = rig();
    let authorization = basic(ADMIN, "");
    for (method, path, text, status, remaining) in [
        ("GET", "/upload-tokens", "", 200, "2"),
        ("GET", "/upload-tokens/toMissing", "", 404, "1"),
        ("POST", "/upload-tokens", "{\"ttl\":-1}", 400, "0"),
        ("GET", "/upload-tokens", "", 429, "0"),
    ] {
        let answer = rig.call(method, path, &[("Authorization", &authorization)], text);
        assert_eq!((answer.status, answer.field("x-ratelimit-limit"), answer.field("x-ratelimit-remaining")), (status, "3", remaining));
    }
    rig.pass(20);
    let refused = rig.call("GET", "/upload-tokens", &[("Authorization", &authorization)], "");
    assert_eq!((refused.field("x-ratelimit-retry-after"), refused.field("retry-after")), ("40", ""), "{refused:?}");
    assert_eq!(body(&refused)["type"], "https://docs.api.video/reference/too-many-requests");
    rig.pass(40);
    assert_eq!(rig.call("GET", "/upload-tokens", &[("Authorization", &authorization)], "").status, 200);
}

#[test]
fn others_say_when_to_come_again_or_only_that_it_is_too_much() {
    let rig = rig();
    let stream = format!("/client/v4/accounts/{CLOUDFLARE}/stream/keys");
    let keys = || rig.call("GET", &stream, &[("Authorization", &format!("Bearer {ADMIN}"))], "");
    (0..3).for_each(|_| assert_eq!(keys().status, 200));
    rig.pass(20);
    let refused = keys();
    assert_eq!((refused.status, refused.field("retry-after"), &body(&refused)["success"]), (429, "40", &json!(false)), "{refused:?}");
    let refused = rig.call("GET", "/v1/authtokens/t1", &[("Authorization", &basic(APP, ADMIN))], "");
    assert_eq!((refused.status, refused.field("content-type")), (429, "application/json"), "{refused:?}");
}
