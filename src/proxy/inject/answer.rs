//! What callers must not see of an answer: addresses that show a credential, fields of JSON, echoes.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as _;

use super::trail::Trail;
use crate::credential::{Held, SEARCHED_FROM, json};
use crate::manifest::encoding;
use crate::proxy::{Body, Error, Route, State};
use crate::route::inject::{Answers, JsonAction};

/// What is known of the request that is answered.
pub(super) struct Shown<'r> {
    pub(super) route: &'r Route,
    pub(super) state: &'r State,
    pub(super) trail: &'r Trail,
    pub(super) held: &'r [Option<Held>],
    /// Its target as the origin got it.
    pub(super) target: &'r Uri,
}

/// Has the origin send plain text where fields are to be found in it.
pub(super) fn prepare(head: &mut Parts, route: &Route) {
    if route.answers.as_ref().is_some_and(|answers| !answers.json.is_empty()) {
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// The answer as the caller may see it.
///
/// # Errors
/// [`Error::AnswerWithheld`] when it shows what must not be seen and cannot be changed.
pub(super) async fn finish(mut response: Response<Body>, shown: &Shown<'_>) -> Result<Response<Body>, Error> {
    let secrets = secrets(shown);
    let headers = response.headers_mut();
    if shown.trail.is_foreign() || shown.held.iter().any(Option::is_some) {
        let cookies = shown.route.answers.as_ref().is_some_and(|answers| answers.keep_cookies);
        // What the origin set for our credential is as good as the credential; what it asks for is not the caller's to give.
        for name in [SET_COOKIE, WWW_AUTHENTICATE, HeaderName::from_static("authentication-info")] {
            if name != SET_COOKIE || !cookies {
                headers.remove(name);
            }
        }
    }
    if let Some(answers) = &shown.route.answers {
        addresses(headers, answers, shown)?;
    }
    echoes(headers, &secrets, shown.route);
    match &shown.route.answers {
        Some(answers) if !answers.json.is_empty() => fields(response, answers, (&secrets, shown)).await,
        _ => Ok(response),
    }
}

/// The values on this request that are long enough to be told from chance, as they are and as they stand in URLs.
fn secrets(shown: &Shown<'_>) -> Vec<String> {
    let used = shown.route.inject.iter().zip(shown.held).filter_map(|(injection, held)| Some((injection, held.as_ref()?)));
    let mut all = Vec::new();
    for (injection, held) in used {
        let written = injection.format.write(held).ok();
        let written = written.iter().map(|text| text.rsplit(' ').next().unwrap_or(text));
        for secret in injection.format.secrets(held).chain(written).filter(|secret| secret.len() >= SEARCHED_FROM) {
            let encoded = crate::query::encode(secret);
            if encoded != secret {
                all.push(encoded);
            }
            all.push(secret.to_owned());
        }
    }
    all
}

/// Addresses become tickets.
fn addresses(
    headers: &mut HeaderMap,
    answers: &Answers<std::sync::Arc<crate::proxy::origin::Origin>>,
    shown: &Shown<'_>,
) -> Result<(), Error> {
    for name in answers.headers.iter().filter(|name| headers.contains_key(*name)).collect::<Vec<_>>() {
        let mut came = headers.get_all(name).iter();
        let only = came.next().filter(|_| came.next().is_none());
        let ticket = only.and_then(|value| value.to_str().ok()).and_then(|address| ticket(address, shown));
        let Some(value) = ticket.and_then(|ticket| HeaderValue::from_str(&ticket).ok()) else {
            tracing::warn!(route = %shown.route.name, header = %name, "an answer has an address that leads to no origin of the list");
            return Err(Error::AnswerWithheld);
        };
        headers.insert(name, value);
    }
    Ok(())
}

fn ticket(address: &str, shown: &Shown<'_>) -> Option<String> {
    shown.trail.ticket_for(address, shown.target, shown.route, shown.state)
}

/// Headers that say a credential back are dropped.
fn echoes(headers: &mut HeaderMap, secrets: &[String], route: &Route) {
    let says = |value: &HeaderValue| secrets.iter().any(|secret| contains(value.as_bytes(), secret.as_bytes()));
    let echoing: Vec<HeaderName> = headers.iter().filter(|(_, value)| says(value)).map(|(name, _)| name.clone()).collect();
    for name in echoing {
        tracing::warn!(route = %route.name, header = %name, "a header of an answer that shows a credential was dropped");
        headers.remove(name);
    }
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.len() >= needle.len() && hay.windows(needle.len()).any(|window| window == needle)
}

/// Fields of a JSON answer.
async fn fields(
    mut response: Response<Body>,
    answers: &Answers<std::sync::Arc<crate::proxy::origin::Origin>>,
    (secrets, shown): (&[String], &Shown<'_>),
) -> Result<Response<Body>, Error> {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("").to_ascii_lowercase());
    let is_json = kind.as_deref().is_none_or(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().ends_with("json")));
    let in_parts =
        response.status() == StatusCode::PARTIAL_CONTENT && (is_json || kind.as_deref().is_some_and(|kind| kind.starts_with("multipart/")));
    if in_parts {
        // A piece of JSON could be the very field.
        return withheld(shown, "a part of a JSON answer");
    }
    if !is_json {
        return Ok(response);
    }
    own_headers(response.headers_mut());
    if response.body().is_end_stream() {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = Limited::new(body, answers.max_json).collect().await else { return withheld(shown, "a JSON answer that is too long") };
    let encoded = head.headers.remove(CONTENT_ENCODING);
    let encoded = encoded.as_ref().map_or(Some(""), |encoding| encoding.to_str().ok());
    let plain = encoded.and_then(|encoding| encoding::decode(&body.to_bytes(), encoding, answers.max_json).ok());
    let Some(text) = plain.and_then(|plain| String::from_utf8(plain).ok()) else {
        return withheld(shown, "a JSON answer that cannot be read");
    };
    if text.trim().is_empty() {
        return Ok(Response::from_parts(head, Body::full(text)));
    }
    let named: Vec<&json::Field> = answers.json.iter().map(|(field, _)| field).collect();
    let edited = json::edit(&text, &named, |field, value| {
        let rewritten = match answers.json[field].1 {
            JsonAction::Rewrite => value.and_then(|address| ticket(address, shown)),
            JsonAction::Redact => None,
        };
        serde_json::Value::from(rewritten.unwrap_or_else(|| "[redacted]".into())).to_string()
    });
    let mut text = match edited {
        Ok(edited) => edited.unwrap_or(text),
        Err(json::NotJson) if kind.is_none() => text,
        Err(json::NotJson) => return withheld(shown, "a JSON answer that is none"),
    };
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), "[redacted]");
        }
    }
    Ok(Response::from_parts(head, Body::full(text)))
}

fn withheld(shown: &Shown<'_>, what: &str) -> Result<Response<Body>, Error> {
    tracing::warn!(route = %shown.route.name, what, "an answer was withheld");
    Err(Error::AnswerWithheld)
}

/// The fields that told of the body as the origin had it.
fn own_headers(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest", "last-modified"] {
        headers.remove(name);
    }
}
