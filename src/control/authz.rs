//! Decisions for other servers: `/authz/nginx` (`auth_request`), `/authz/forward` (Traefik, Caddy),
//! `/authz/envoy` (`ext_authz` over HTTP), `/authz/mediamtx` (external authentication, JSON).
//!
//! What they ask about goes through the walk's own rooms up to the session: the same tokens, the same
//! limits, the same refusals. Only peers of `control.authz_peers` may ask, because whoever asks says who
//! the viewer is.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tower::{Service, ServiceBuilder};

use super::own::problem::Problem;
use super::{Answer, Desk, serve};
use crate::proxy::record::{Journal, Record};
use crate::proxy::request::{Admitted, Arrived};
use crate::proxy::{AnswerLayer, Body, DecideLayer, Error, FilterLayer, admit_session, find_route, guard, preflight, verify_token};

/// Which server asks, by its word in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Nginx,
    Forward,
    Envoy,
    MediaMtx,
}

/// Who asks on a raw path below the own API's base, and the rest of that path.
pub(super) fn asker(path: &str) -> Option<(Asker, &str)> {
    let rest = path.strip_prefix("/authz/")?;
    let (word, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let asker = match word {
        "nginx" => Asker::Nginx,
        "forward" => Asker::Forward,
        "envoy" => Asker::Envoy,
        "mediamtx" => Asker::MediaMtx,
        _ => return None,
    };
    Some((asker, rest))
}

/// What is asked about.
struct Asked {
    method: Method,
    /// Path and query.
    target: String,
    host: Option<String>,
    https: bool,
    viewer: IpAddr,
    /// A token beside the URL.
    token: Option<String>,
}

/// What MediaMTX sends (its documentation, "Authentication / HTTP-based").
#[derive(Debug, Deserialize)]
struct MediaMtx {
    ip: IpAddr,
    action: String,
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
}

/// Fields that say what is asked about, and are no part of it.
const ABOUT: [&str; 12] = [
    "x-original-uri",
    "x-original-url",
    "x-original-method",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-uri",
    "x-forwarded-for",
    "x-forwarded-server",
    "x-forwarded-port",
    "x-real-ip",
    "x-envoy-external-address",
];

/// Longest question of MediaMTX in bytes.
const QUESTION: usize = 64 * 1024;

/// Answers one question.
pub(super) async fn answer(request: Request<Incoming>, (asker, rest): (Asker, &str), peer: IpAddr, desk: &Arc<Desk>) -> Answer {
    if !desk.config.authz_peers.iter().any(|net| net.contains(&peer.to_canonical())) {
        return Problem::Peer.answer();
    }
    let (mut head, mut body) = request.into_parts();
    let asked = match asker {
        Asker::Nginx => nginx(&head.headers, peer),
        Asker::Forward => forwarded(&head.headers, peer),
        Asker::Envoy => envoy(&head, rest, peer),
        // Whole, so that nothing of it is left for the walk.
        Asker::MediaMtx => {
            let question = serve::read(&mut body, QUESTION).await.ok();
            question.and_then(|question| serde_json::from_slice(&question).ok()).and_then(media_mtx)
        }
    };
    let Some(asked) = asked.filter(|asked| put(asked, &mut head)) else {
        return Problem::Invalid("what is asked about cannot be read".into()).answer();
    };
    let answer = walked(head, body, (&asked, peer), desk).await;
    let (mut head, body) = answer.into_parts();
    let refused = !head.status.is_success();
    // nginx's auth_request knows 2xx, 401 and 403; everything else it makes a 500.
    if refused && asker == Asker::Nginx && head.status != StatusCode::UNAUTHORIZED {
        head.status = StatusCode::FORBIDDEN;
    }
    if !refused {
        // Envoy lets pass on 200 alone; the others on any 2xx.
        head.status = StatusCode::OK;
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    // nginx's auth_request drops the body of a refusal; a header it can keep. What is no header value is left out.
    if refused
        && asker == Asker::Nginx
        && let Ok(problem) = HeaderValue::from_bytes(&body)
    {
        head.headers.insert("x-tollgate-problem", problem);
    }
    Response::from_parts(head, http_body_util::Full::new(body))
}

/// The rooms of the walk up to the session, with a door of its own kind.
async fn walked(head: Parts, body: Incoming, (asked, peer): (&Asked, IpAddr), desk: &Arc<Desk>) -> Response<Body> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let state = desk.state.clone();
    let record = Record::new((&head.method, head.version), (id, String::new()), state.metrics.clone(), Rc::new(Silent));
    let arrived = Arrived { head, body, record: record.clone(), peer: asked.viewer, tls: asked.https, fault: None, state };
    let mut rooms = ServiceBuilder::new()
        .layer(FilterLayer(guard::Guard))
        .layer(FilterLayer(find_route::FindRoute))
        .layer(AnswerLayer(preflight::Preflight))
        .layer(DecideLayer(verify_token::VerifyToken))
        .layer(DecideLayer(admit_session::AdmitSession))
        .service(Allowed);
    let answer = rooms.call(arrived).await;
    let mut answer = answer.unwrap_or_else(|error| {
        record.code.set(Some(error.code()));
        let code = HeaderValue::from_static(error.code());
        let mut answer = error.into_response(&record.id);
        answer.headers_mut().insert("x-tollgate-code", code);
        answer
    });
    tracing::debug!(%peer, route = record.route_name(), status = answer.status().as_u16(), "decided for another server");
    record.answered(answer.status());
    if let Ok(id) = HeaderValue::from_str(&record.id) {
        answer.headers_mut().insert("x-request-id", id);
    }
    answer
}

/// The end of these rooms: who came this far is let in.
#[derive(Clone)]
struct Allowed;

impl Service<Admitted> for Allowed {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Ready<Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        let mut response = Response::new(Body::empty());
        let (_, grant) = admitted.proof.strip_and_grant();
        let session = admitted.session.as_ref().map(|session| session.id.to_string());
        let facts = [
            ("x-tollgate-route", Some(admitted.routed.route.name.as_str().to_owned())),
            ("x-tollgate-subject", grant.and_then(|grant| grant.subject.as_deref().map(str::to_owned))),
            ("x-tollgate-asset", grant.and_then(|grant| grant.resource.as_deref().map(str::to_owned))),
            ("x-tollgate-session", session),
        ];
        for (name, value) in facts {
            // A subject that is no header value is left out.
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        ready(Ok(response))
    }
}

/// Whoever asks keeps the access log.
struct Silent;

impl Journal for Silent {
    fn wants(&self) -> bool {
        false
    }

    fn write(&self, _record: &Record) {}
}

/// What a field says, if it is there. `None`: it says two things, or none that can be read.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<&'h str>> {
    let mut all = headers.get_all(name).iter();
    let Some(first) = all.next() else { return Some(None) };
    // Twice means that somebody else than the server that asks has said one of them.
    all.next().is_none().then(|| first.to_str().ok()).flatten().map(Some)
}

/// The right-most address of a field that is there: the one that the server that asks has seen itself. `None`: it is no address.
fn last_hop(headers: &HeaderMap, name: &str) -> Option<Option<IpAddr>> {
    let Some(all) = headers.get_all(name).iter().next_back() else { return Some(None) };
    let last = all.to_str().ok()?.rsplit(',').next()?.trim();
    let ip = last.parse().ok().or_else(|| last.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    ip.map(Some)
}

/// Who the viewer is by the first of two fields that is there; whoever asks, where neither is.
fn viewer(headers: &HeaderMap, [first, other]: [&str; 2], peer: IpAddr) -> Option<IpAddr> {
    Some(last_hop(headers, first)?.or(last_hop(headers, other)?).unwrap_or(peer))
}

/// nginx: the operator's `proxy_set_header` lines say it; `Host` is the viewer's by `$host`.
fn nginx(headers: &HeaderMap, peer: IpAddr) -> Option<Asked> {
    Some(Asked {
        method: text(headers, "x-original-method")?.unwrap_or("GET").parse().ok()?,
        target: text(headers, "x-original-uri")??.to_owned(),
        host: None,
        https: text(headers, "x-forwarded-proto")? == Some("https"),
        viewer: viewer(headers, ["x-real-ip", "x-forwarded-for"], peer)?,
        token: None,
    })
}

/// Traefik's `forwardAuth` and Caddy's `forward_auth` say it in the same fields.
fn forwarded(headers: &HeaderMap, peer: IpAddr) -> Option<Asked> {
    Some(Asked {
        method: text(headers, "x-forwarded-method")??.parse().ok()?,
        target: text(headers, "x-forwarded-uri")??.to_owned(),
        host: text(headers, "x-forwarded-host")?.map(str::to_owned),
        https: text(headers, "x-forwarded-proto")? == Some("https"),
        viewer: last_hop(headers, "x-forwarded-for")?.unwrap_or(peer),
        token: None,
    })
}

/// Envoy sends the viewer's own head, its path behind `path_prefix`.
fn envoy(head: &Parts, rest: &str, peer: IpAddr) -> Option<Asked> {
    let query = head.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let headers = &head.headers;
    Some(Asked {
        method: head.method.clone(),
        target: format!("{}{query}", if rest.is_empty() { "/" } else { rest }),
        host: None,
        https: text(headers, "x-forwarded-proto")? == Some("https"),
        viewer: viewer(headers, ["x-envoy-external-address", "x-forwarded-for"], peer)?,
        token: None,
    })
}

fn media_mtx(asked: MediaMtx) -> Option<Asked> {
    let method = match asked.action.as_str() {
        "publish" => Method::POST,
        "read" | "playback" => Method::GET,
        // Its own API, metrics and profiles are not for viewers.
        _ => return None,
    };
    let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
    let token = [asked.token, asked.password].into_iter().find(|token| !token.is_empty());
    Some(Asked {
        method,
        target: format!("/{}{query}", asked.path.trim_start_matches('/')),
        host: None,
        https: false,
        viewer: asked.ip,
        token,
    })
}

/// Makes the head that of the request that is asked about. Whether it could.
fn put(asked: &Asked, head: &mut Parts) -> bool {
    // What follows a `#` would be left out here, and may be part of the path to whoever is asked next.
    if !asked.target.starts_with('/') || asked.target.contains('#') {
        return false;
    }
    let Ok(uri) = asked.target.parse::<Uri>() else { return false };
    let headers = &mut head.headers;
    for name in ABOUT {
        headers.remove(name);
    }
    // The body stays with whoever asks.
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if let Some(host) = &asked.host {
        let Ok(host) = HeaderValue::from_str(host) else { return false };
        headers.insert(HOST, host);
    }
    if let Some(token) = &asked.token {
        let Ok(bearer) = HeaderValue::from_str(&format!("Bearer {token}")) else { return false };
        headers.insert(http::header::AUTHORIZATION, bearer);
    }
    head.method = asked.method.clone();
    head.uri = uri;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn head(lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/authz/x");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a head").into_parts().0
    }

    #[test]
    fn who_asks_is_in_the_path() {
        for (path, expected) in [
            ("/authz/nginx", Some((Asker::Nginx, ""))),
            ("/authz/envoy/a/b", Some((Asker::Envoy, "/a/b"))),
            ("/authz/envoyed", None),
            ("/authz/", None),
            ("/v1/tokens", None),
        ] {
            assert_eq!(asker(path), expected, "{path}");
        }
    }

    #[test]
    fn a_viewer_cannot_say_who_it_is() {
        // What nginx, Traefik and Caddy append stands last.
        let spoofed = head(&[("x-forwarded-for", "1.1.1.1, 203.0.113.9"), ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a")]);
        assert_eq!(forwarded(&spoofed.headers, PEER).expect("asked").viewer.to_string(), "203.0.113.9");
    }

    #[test]
    fn what_is_said_twice_or_cannot_be_read_is_not_guessed() {
        let good = [("x-original-uri", "/a"), ("x-forwarded-uri", "/a"), ("x-forwarded-method", "GET")];
        assert!(nginx(&head(&good).headers, PEER).is_some() && forwarded(&head(&good).headers, PEER).is_some());
        for (more, by_nginx, by_forward, by_envoy) in [
            (&[("x-original-uri", "/open")][..], false, true, true),
            (&[("x-original-method", "GET"), ("x-original-method", "POST")], false, true, true),
            (&[("x-forwarded-uri", "/open")], true, false, true),
            (&[("x-forwarded-method", "POST")], true, false, true),
            (&[("x-forwarded-host", "a.test"), ("x-forwarded-host", "b.test")], true, false, true),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], false, false, false),
            (&[("x-real-ip", "unknown")], false, true, true),
            (&[("x-forwarded-for", "203.0.113.9, unknown")], false, false, false),
            (&[("x-envoy-external-address", "")], true, true, false),
        ] {
            let asking = head(&[&good, more].concat());
            let asked = [nginx(&asking.headers, PEER), forwarded(&asking.headers, PEER), envoy(&asking, "/a", PEER)];
            assert_eq!(asked.map(|asked| asked.is_some()), [by_nginx, by_forward, by_envoy], "{more:?}");
        }
    }

    #[test]
    fn what_asks_is_not_part_of_what_is_asked() {
        let mut asking = head(&[("x-original-uri", "/a?b=c"), ("x-real-ip", "203.0.113.9"), ("content-length", "5"), ("cookie", "d=e")]);
        let asked = nginx(&asking.headers, PEER).expect("asked");
        assert!(put(&asked, &mut asking));
        assert_eq!((asking.uri.to_string().as_str(), asking.headers.len()), ("/a?b=c", 1));
        for target in ["a", "http://h/a", "/a b", "", "/a#/../b", "/a?b#c", "#"] {
            assert!(
                !put(
                    &Asked { target: target.into(), ..nginx(&head(&[("x-original-uri", "/")]).headers, PEER).expect("asked") },
                    &mut asking
                ),
                "{target}"
            );
        }
    }

    #[test]
    fn media_mtx_names_the_stream_and_what_is_done_with_it() {
        let asked = |action: &str| {
            let text = format!(
                r#"{{"user":"","password":"secret","ip":"203.0.113.9","action":"{action}","path":"live/a","protocol":"rtmp","id":null,"query":"x=y"}}"#
            );
            media_mtx(serde_json::from_str(&text).expect("JSON"))
        };
        let read = asked("read").expect("asked");
        assert_eq!((read.method, read.target.as_str(), read.token.as_deref()), (Method::GET, "/live/a?x=y", Some("secret")));
        assert_eq!(asked("publish").expect("asked").method, Method::POST);
        assert!(asked("api").is_none());
    }
}
