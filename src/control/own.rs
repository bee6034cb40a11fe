//! The gateway's own API: `/v1/…`, described by `/openapi.json`.
//!
//! Answers are JSON; refusals are problem details (RFC 9457) with the words of `Problem`. A change that
//! carries `Idempotency-Key` is made once: the same key with the same request gets the first answer again.

mod api_keys;
mod audit;
mod explain;
mod idempotency;
mod keys;
mod openapi;
pub(super) mod problem;
mod tokens;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::gate::{Caller, Locked};
use super::serve::json;
use super::{Answer, Call, Dialect, Refusal, Serving};
use crate::ledger::record::Role;
use problem::Problem;

/// The dialect.
#[derive(Debug, Clone, Copy)]
pub struct Own;

impl Dialect for Own {
    fn name(&self) -> &'static str {
        "tollgate"
    }

    fn owns(&self, path: &str) -> bool {
        // Ziggeo's `/v1/authtokens` and `/v1/videos` may share the base.
        let mine = [
            "/v1/api-keys",
            "/v1/audit",
            "/v1/explain",
            "/v1/keys",
            "/v1/policies",
            "/v1/tokens",
            "/openapi.json",
            "/.well-known/jwks.json",
        ];
        mine.iter().any(|mine| path.strip_prefix(mine).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    fn serve(&self, call: Call) -> Serving<'_> {
        Box::pin(async move { idempotency::once(&call).await.unwrap_or_else(Problem::answer) })
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        Problem::from(refusal).answer()
    }
}

type Outcome = Result<Answer, Problem>;

async fn route(call: &Call) -> Outcome {
    let path = call.path.trim_end_matches('/');
    match path {
        "/openapi.json" | "/.well-known/jwks.json" if !is_get(call) => return Err(wrong_method("GET")),
        "/openapi.json" => return Ok(openapi::answer()),
        "/.well-known/jwks.json" => return Ok(keys::jwks(call)),
        _ => {}
    }
    let (collection, item) = match path.strip_prefix("/v1/").unwrap_or("").split_once('/') {
        Some((collection, item)) => (collection, Some(item)),
        None => (path.strip_prefix("/v1/").unwrap_or(""), None),
    };
    match (collection, item) {
        ("api-keys", item) => api_keys::route(call, item).await,
        ("audit", None) => audit::route(call).await,
        ("explain", None) => explain::route(call).await,
        ("keys", item) => keys::route(call, item).await,
        ("policies", None) => tokens::policies(call).await,
        ("tokens", item) => tokens::route(call, item).await,
        _ => Err(Problem::NotFound),
    }
}

/// The caller, if it may act in this role.
async fn enter(call: &Call, role: Role) -> Result<Caller, Problem> {
    let key = call.bearer().map(str::to_owned).or_else(|| call.basic().map(|(user, _)| user));
    let caller = call.desk.gate.enter(key.as_deref(), call.peer, call.now).await.map_err(Problem::Locked)?;
    call.note.caller(&caller);
    caller.may(role).map_err(Problem::Locked)?;
    Ok(caller)
}

/// The body as `T`; an empty one is `{}`.
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    // Pages of other origins can post forms and plain text without asking first (Fetch §4.1); JSON they cannot.
    let kind = call.header("content-type").unwrap_or("application/json");
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        return Err(Problem::NotJson);
    }
    serde_json::from_slice(body).map_err(|error| Problem::Invalid(error.to_string()))
}

fn ok(status: StatusCode, value: &Value) -> Answer {
    json(status, "application/json", value)
}

fn wrong_method(allow: &'static str) -> Problem {
    Problem::Method(allow)
}

fn is_get(call: &Call) -> bool {
    matches!(call.head.method, Method::GET | Method::HEAD)
}

/// A page of a listing, as asked for in the query: `limit` (1 to 100, default 25), `after`, `order` (`created`, `expiry`), `descending`.
fn listing(call: &Call, caller: &Caller, kind: crate::ledger::Kind) -> Result<crate::ledger::Listing, Problem> {
    use crate::ledger::{Cursor, Order, Start};
    let text = |name: &str| crate::query::values(call.query(), name).next().and_then(crate::query::decode);
    let invalid = |name: &str| Problem::Invalid(format!("the query parameter `{name}` is not one that can be used"));
    let limit = match text("limit").map(|limit| limit.parse::<usize>()) {
        None => 25,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(invalid("limit")),
    };
    let start = match text("after") {
        None => Start::Offset(0),
        Some(after) => Start::After(Cursor::parse(&after).ok_or_else(|| invalid("after"))?),
    };
    let order = match text("order").as_deref() {
        None | Some("created") => Order::Created,
        Some("expiry") => Order::Expiry,
        Some(_) => return Err(invalid("order")),
    };
    let descending = match text("descending").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid("descending")),
    };
    Ok(crate::ledger::Listing { account: caller.account.clone(), kind, order, descending, start, limit })
}

/// A page as the API shows it.
async fn page(call: &Call, role: Role, kind: crate::ledger::Kind, shown: impl Fn(&crate::ledger::Record) -> Option<Value>) -> Outcome {
    let caller = enter(call, role).await?;
    let listing = listing(call, &caller, kind)?;
    let page = call.desk.ledger.list(listing, call.now).await?;
    let items: Vec<Value> = page.records.iter().filter_map(shown).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(ok(StatusCode::OK, &serde_json::json!({ "items": items, "total": page.total, "next": next })))
}

/// A path segment as an id: no further slash, percent-decoded.
fn id_of(segment: &str) -> Result<String, Problem> {
    let id = crate::path::percent_decode(segment).filter(|id| !id.is_empty() && !id.contains('/'));
    id.ok_or(Problem::NotFound)
}

impl From<Locked> for Problem {
    fn from(locked: Locked) -> Self {
        Self::Locked(locked)
    }
}
