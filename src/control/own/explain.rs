//! `/v1/explain`: what the gateway would decide on a request, by its own rules; nothing is used up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::{Outcome, Problem, enter, ok, read, wrong_method};
use crate::control::Call;
use crate::ledger::lookups;
use crate::ledger::record::Role;
use crate::proxy::explain::{Asked, explain};

/// What a `POST` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    client_ip: Option<IpAddr>,
}

pub(super) async fn route(call: &Call) -> Outcome {
    if call.head.method != Method::POST {
        return Err(wrong_method("POST"));
    }
    call.note.action("explain");
    enter(call, Role::Reader).await?;
    let wanted: Wanted = read(call)?;
    let invalid = |what: &str| Problem::Invalid(format!("`{what}` cannot be used"));
    let uri: Uri = wanted.url.parse().map_err(|_| invalid("url"))?;
    let authority = uri.authority().ok_or_else(|| invalid("url"))?.as_str();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let method = wanted.method.as_deref().unwrap_or("GET");
    let mut request = http::Request::builder().method(method).uri(target);
    if !wanted.headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", authority);
    }
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    let head = request.body(()).map_err(|_| invalid("headers"))?.into_parts().0;
    let state = &call.desk.state;
    let (client_ip, tls) = (wanted.client_ip.unwrap_or(IpAddr::from([192, 0, 2, 1])), uri.scheme_str() == Some("https"));
    let explained = || explain(Asked { head: &mut head.clone(), client_ip, tls, geo: &*state.geo, now: call.now }, state);
    let answer = lookups::informed(Some(&call.desk.ledger), explained).await?;
    Ok(ok(StatusCode::OK, &answer))
}
