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
mod policies;
pub(super) mod problem;
mod tokens;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::gate::{Caller, Locked};
use super::serve::json as answer_json;
use super::{Answer, Call, Dialect, Refusal, Serving};
use crate::ledger::Batch;
use crate::ledger::record::Role;
use crate::ledger::{Cursor, ID_MAX, Kind, Listing, Order, Record, Start};
use crate::query;
use problem::Problem;

/// The dialect.
#[derive(Debug, Clone, Copy)]
pub struct Own;

/// What is served without a key.
const PUBLIC: [&str; 2] = ["/openapi.json", "/.well-known/jwks.json"];

impl Dialect for Own {
    fn name(&self) -> &'static str {
        "tollgate"
    }

    fn owns(&self, path: &str) -> bool {
        // Ziggeo's `/v1/authtokens` and `/v1/videos` may share the base.
        let mine = ["/v1/api-keys", "/v1/audit", "/v1/explain", "/v1/keys", "/v1/policies", "/v1/tokens"];
        mine.iter().chain(&PUBLIC).any(|mine| crate::path::is_under(path, mine))
    }

    fn serve(&self, call: Call) -> Serving<'_> {
        Box::pin(async move { idempotency::once(&call).await.unwrap_or_else(Problem::answer) })
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        Problem::from(refusal).answer()
    }

    fn is_public(&self, path: &str) -> bool {
        PUBLIC.contains(&path)
    }
}

type Outcome = Result<Answer, Problem>;

async fn route(call: &Call) -> Outcome {
    let path = call.path.trim_end_matches('/');
    match path {
        public if PUBLIC.contains(&public) && !is_get(call) => return Err(wrong_method("GET")),
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
        ("policies", item) => policies::route(call, item).await,
        ("tokens", item) => tokens::route(call, item).await,
        _ => Err(Problem::NotFound),
    }
}

/// The caller, if it may act in this role.
async fn enter(call: &Call, role: Role) -> Result<Caller, Problem> {
    let caller = match call.caller.get() {
        Some(caller) => caller.clone(),
        None => {
            let key = call.bearer().map(str::to_owned).or_else(|| call.basic().map(|(user, _)| user));
            let caller = call.desk.gate.enter(key.as_deref(), call.peer, call.now).await?;
            call.note.caller(&caller);
            call.caller.get_or_init(|| caller).clone()
        }
    };
    caller.may(role)?;
    Ok(caller)
}

/// The caller's record of this id. The id stands in the audit log when there is one: what else a caller put in its place may be
/// a secret, such as the token or the API key itself.
async fn found(call: &Call, caller: &Caller, kind: Kind, id: &str) -> Result<Arc<Record>, Problem> {
    asks_only(call, &[])?;
    call.note.token(id);
    let record = call.desk.ledger.find_of(&caller.account, kind, id, call.now).await?.ok_or(Problem::NotFound)?;
    call.note.object(id);
    Ok(record)
}

/// Makes what a call asks for, and keeps its answer for its idempotency key in the same commit.
async fn make(call: &Call, caller: &Caller, batch: Batch, answer: &Value) -> Outcome {
    let batch = idempotency::record(call, caller, (StatusCode::CREATED, answer)).into_iter().fold(batch, Batch::create);
    call.commit(caller, batch).await?;
    Ok(ok(StatusCode::CREATED, answer))
}

/// The body as `T`; an empty one is `{}`.
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    asks_only(call, &[])?;
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    // Pages of other origins can post forms and plain text without asking first (Fetch §4.1); JSON they cannot.
    if !call.header("content-type").is_none_or(is_json) {
        return Err(Problem::NotJson);
    }
    let read = serde_json::from_slice(body).map_err(|error| Problem::Invalid(error.to_string()))?;
    // What it was read into is blind to an array in place of an object, and to members of a map that come twice.
    match crate::token::json::object(body, body.len()) {
        Ok(_) => Ok(read),
        Err(_) => Err(Problem::Invalid("the body must be an object, with each member once".into())),
    }
}

/// `application/json`, in UTF-8 (RFC 8259 §8.1).
fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let mut charsets = parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    essence && charsets.all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

fn ok(status: StatusCode, value: &Value) -> Answer {
    answer_json(status, "application/json", value)
}

fn wrong_method(allow: &'static str) -> Problem {
    Problem::Method(allow)
}

fn is_get(call: &Call) -> bool {
    matches!(call.head.method, Method::GET | Method::HEAD)
}

fn unusable(name: &str) -> Problem {
    Problem::Invalid(format!("the query parameter `{name}` is not one that can be used"))
}

/// Refuses query parameters that nobody would read, or that would be read one way or another: a page that was asked for with a
/// slip is another page.
fn asks_only(call: &Call, names: &[&str]) -> Result<(), Problem> {
    let mut asked = Vec::new();
    for (raw, _) in query::pairs(call.query()) {
        let name = query::decode(raw).ok_or_else(|| Problem::Invalid("a query parameter's name cannot be read".into()))?;
        if !names.contains(&&*name) {
            return Err(Problem::Invalid(format!("there is no query parameter `{name}` here")));
        }
        if asked.contains(&name) {
            return Err(Problem::Invalid(format!("the query parameter `{name}` comes twice")));
        }
        asked.push(name);
    }
    Ok(())
}

/// What every listing is asked with.
const LISTING: [&str; 4] = ["after", "descending", "limit", "order"];

/// A page of a listing, as asked for in the query: `limit` (1 to 100, default 25), `after`, `order` (`created`, `expiry`), `descending`.
fn listing(call: &Call, caller: &Caller, kind: Kind) -> Result<Listing, Problem> {
    let text = |name: &str| query::values(call.query(), name).next().and_then(query::decode);
    let limit = match text("limit").map(|limit| limit.parse::<usize>()) {
        None => 25,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(unusable("limit")),
    };
    let start = match text("after") {
        None => Start::Offset(0),
        Some(after) => Start::After(Cursor::parse(&after).ok_or_else(|| unusable("after"))?),
    };
    let order = match text("order").as_deref() {
        None | Some("created") => Order::Created,
        Some("expiry") => Order::Expiry,
        Some(_) => return Err(unusable("order")),
    };
    let descending = match text("descending").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(unusable("descending")),
    };
    Ok(Listing { account: caller.account.clone(), kind, order, descending, start, limit })
}

/// Listings of the ledger for one page at most: a filter that little fits looks no further, and says where to go on.
const LOOKS: usize = 40;

/// A page as the API shows it: what is of a kind and shown, and is in its fields what the query says of the names in `filters`.
async fn page(call: &Call, role: Role, kind: Kind, filters: &[&str], shown: impl Fn(&Record) -> Option<Value>) -> Outcome {
    let caller = enter(call, role).await?;
    asks_only(call, &[&LISTING, filters].concat())?;
    let mut listing = listing(call, &caller, kind)?;
    let asked = filters.iter().filter_map(|name| Some((*name, query::values(call.query(), name).next()?)));
    let wanted = asked.map(|(name, raw)| Ok((name, query::decode(raw).ok_or_else(|| unusable(name))?)));
    let wanted = wanted.collect::<Result<Vec<(&str, String)>, Problem>>()?;
    let fits = |item: &Value| wanted.iter().all(|(name, wanted)| item[*name].as_str() == Some(wanted));
    let (limit, mut items, mut looks) = (listing.limit, Vec::new(), LOOKS);
    loop {
        let page = call.desk.ledger.list(listing.clone(), call.now).await?;
        items.extend(page.records.iter().filter_map(&shown).filter(fits));
        looks -= 1;
        let Some(next) = page.next.filter(|_| !wanted.is_empty() && items.len() < limit && looks > 0) else {
            // How many fit is known to nobody who has not looked at all of them.
            let total = wanted.is_empty().then_some(page.total);
            let next = page.next.map(|next| next.to_string());
            return Ok(ok(StatusCode::OK, &json!({ "items": items, "total": total, "next": next })));
        };
        // No more than there is room for: the page's last is where the next one begins.
        (listing.start, listing.limit) = (Start::After(next), limit - items.len());
    }
}

/// One record as the API shows it.
async fn one(call: &Call, role: Role, kind: Kind, id: &str, shown: impl Fn(&Record) -> Option<Value>) -> Outcome {
    let caller = enter(call, role).await?;
    let record = found(call, &caller, kind, id).await?;
    shown(&record).map(|answer| ok(StatusCode::OK, &answer)).ok_or(Problem::NotFound)
}

/// A path segment as an id: no further slash, percent-decoded, no longer than ids are.
fn id_of(segment: &str) -> Result<String, Problem> {
    let id = crate::path::percent_decode(segment).filter(|id| !id.contains('/') && (1..=ID_MAX).contains(&id.len()));
    id.ok_or(Problem::NotFound)
}

impl From<Locked> for Problem {
    fn from(locked: Locked) -> Self {
        Self::Locked(locked)
    }
}
