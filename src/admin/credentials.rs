//! Operators look at credentials and have them renewed. Their values are never among what is shown.
//!
//! `GET /credentials`, `GET /credentials/{name}`, `POST /credentials/{name}/renew`. All of them want the admin token.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::sessions::{data, said};
use crate::clock::UnixTime;
use crate::credential::Credential;

/// The answer to a request for `/credentials…`, whose sender has shown the admin token.
#[must_use]
pub fn answer(method: &Method, path: &str, credentials: &[Credential], now: UnixTime) -> Response<Full<Bytes>> {
    let found = |name: &str| credentials.iter().find(|it| it.name().as_str() == name);
    let steps: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    match (method.as_str(), steps.as_slice()) {
        ("GET" | "HEAD", []) => {
            let all: Vec<_> = credentials.iter().map(|it| it.status(now)).collect();
            data(StatusCode::OK, &json!({ "credentials": all }))
        }
        ("GET" | "HEAD", [name]) => match found(name) {
            Some(credential) => data(StatusCode::OK, &json!(credential.status(now))),
            None => said(StatusCode::NOT_FOUND, "no such credential"),
        },
        ("POST", [name, "renew"]) => match found(name) {
            Some(credential) => {
                tracing::info!(credential = %credential.name(), "renewal asked for by an operator");
                credential.renew();
                data(StatusCode::ACCEPTED, &json!({ "renewing": name }))
            }
            None => said(StatusCode::NOT_FOUND, "no such credential"),
        },
        (_, [] | [_] | [_, "renew"]) => said(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        _ => said(StatusCode::NOT_FOUND, "not found"),
    }
}
