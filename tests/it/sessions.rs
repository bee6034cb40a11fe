//! Sessions through a whole gateway: how tickets travel, what limits do, what operators do, and real players.

mod carry;
mod killed;
mod limits;
mod live;
mod long;
mod operators;
mod players;
mod scope;
mod tickets;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use tollgate::demo::origin;
use tollgate::keygen::Kind;

use crate::support::gateway::key;
use crate::support::{Answer, Gateway, Origin, Reply, Seen};

/// The demo origin, with every request remembered.
fn film() -> Origin {
    Origin::start(answer_with_the_film)
}

pub(crate) fn answer_with_the_film(seen: &Seen) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in &seen.fields {
        let name = HeaderName::try_from(name.as_str()).expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let method = Method::from_bytes(seen.method.as_bytes()).expect("a method");
    let path = seen.target.split('?').next().unwrap_or("");
    let (head, body) = origin::respond(&method, path, &headers).into_parts();
    let body = whole(body);
    let mut reply = Reply::new(head.status.as_u16(), body);
    for (name, value) in &head.headers {
        reply = reply.with(name.as_str(), value.to_str().expect("text"));
    }
    reply
}

/// A body that is there already.
fn whole(body: http_body_util::Full<bytes::Bytes>) -> Vec<u8> {
    use std::future::Future as _;
    let collected = std::pin::pin!(body.collect()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    match collected {
        std::task::Poll::Ready(Ok(collected)) => collected.to_bytes().to_vec(),
        _ => panic!("the body is in memory"),
    }
}

/// A gateway with one route with these `[routes.session]` settings.
fn gateway(origin: &str, session: Value) -> Gateway {
    Gateway::start(config(origin, session))
}

fn config(origin: &str, session: Value) -> Value {
    let mut config = json!({
        "keys": { "viewer": { "inline": key(Kind::Ed25519) } },
        "schemes": { "viewer": {
            "type": "jwt", "keys": "viewer",
            "carriers": [{ "query": "token" }, { "header": "authorization" }, { "cookie": "viewer" }, { "path_prefix": "t=" }],
            "claims": { "device": "device", "total": "plays", "concurrent": "streams" },
        } },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media" }],
    });
    config["routes"][0]["session"] = session;
    config
}

/// The target that an entry is redirected to.
fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.field("location").expect("a location").to_owned()
}

/// The same entry's sibling: `/tg~…/vod/master.m3u8` and `seg` make `/tg~…/vod/seg`.
fn beside(target: &str, name: &str) -> String {
    let path = target.split('?').next().unwrap_or(target);
    format!("{}/{name}", path.rsplit_once('/').expect("a path").0)
}

/// What a viewer by this name sends.
fn named(agent: &str) -> String {
    format!("User-Agent: {agent}\r\nOrigin: https://page.test\r\n")
}

/// Opens `target` and gives where the film goes on, or the code of the refusal.
async fn opens(gateway: &Gateway, target: &str, agent: &str) -> Result<String, String> {
    let answer = gateway.get(target, &named(agent)).await;
    if answer.status == 302 { Ok(location(&answer)) } else { Err(format!("{} {}", answer.status, answer.code())) }
}

/// Status and code of a request, `200` when it was let in.
async fn asks(gateway: &Gateway, target: &str, agent: &str) -> String {
    let answer = gateway.get(target, &named(agent)).await;
    if answer.status < 400 { answer.status.to_string() } else { format!("{} {}", answer.status, answer.code()) }
}
