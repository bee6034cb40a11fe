//! Ziggeo: auth tokens of its server API, and session tokens of its players.
//!
//! Everything is answered with 200 and JSON, deletions too: the PHP SDK takes nothing else. Refusals have a status
//! that is all the SDKs look at. A token can be named by its text, or by a key that its maker chose.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{answer, form};
use crate::clock::UnixTime;
use crate::control::gate::Locked;
use crate::control::{Answer, Call, Caller, Dialect, Refusal, Serving};
use crate::ledger::record::{self, Role};
use crate::ledger::{Account, Batch, Body, Fault, Kind, Record, lookups};
use crate::path::CleanPath;
use crate::query;
use crate::secret::random;
use crate::token::RequestFacts;
use crate::token::issued::AuthToken;
use crate::token::ziggeo::fields;

/// The dialect.
#[derive(Debug, Clone, Copy)]
pub struct Ziggeo;

/// Why a call was refused: a status, and a word on it.
type Refused = (u16, &'static str);

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'p> {
    Create,
    Get(&'p str),
    Update(&'p str),
    Delete(&'p str),
    Session,
}

impl Dialect for Ziggeo {
    fn name(&self) -> &'static str {
        "ziggeo"
    }

    fn owns(&self, path: &str) -> bool {
        ["/v1/authtokens", "/v1/applications"].iter().any(|own| crate::path::is_under(path, own))
    }

    fn serve(&self, call: Call) -> Serving<'_> {
        Box::pin(async move { serve(&call).await.unwrap_or_else(refused) })
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        refused(match refusal {
            Refusal::CrossOrigin => (403, "not for pages of this origin"),
            Refusal::TooLarge => (413, "the body is too long"),
            Refusal::Unreadable => (400, "the body broke off"),
            Refusal::Ambiguous => (400, "a header came twice"),
        })
    }
}

fn refused((status, why): Refused) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, "application/json", &json!({ "error": why }))
}

fn ok(body: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", body)
}

/// Reads method and path; `POST …?_method=DELETE` is what Python's SDK sends for a deletion.
fn asked<'p>(method: &Method, path: &'p str, raw: &str) -> Result<Asked<'p>, Refused> {
    let said = query::values(raw, "_method").next().map(str::to_ascii_uppercase);
    let word = match (&said, method) {
        (Some(said), &Method::POST) => said.as_str(),
        _ => method.as_str(),
    };
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (word, &segments[..]) {
        ("POST", ["v1", "authtokens"]) => Ok(Asked::Create),
        ("GET" | "HEAD", ["v1", "authtokens", id]) => Ok(Asked::Get(id)),
        ("POST", ["v1", "authtokens", id]) => Ok(Asked::Update(id)),
        ("DELETE", ["v1", "authtokens", id]) => Ok(Asked::Delete(id)),
        ("POST", ["v1", "applications", _, "session"]) => Ok(Asked::Session),
        (_, ["v1", "authtokens"] | ["v1", "authtokens", _] | ["v1", "applications", _, "session"]) => Err((405, "method not allowed")),
        _ => Err((404, "not found")),
    }
}

async fn serve(call: &Call) -> Result<Answer, Refused> {
    match asked(&call.head.method, &call.path, call.query())? {
        Asked::Create => create(call).await,
        Asked::Get(id) => get(call, id).await,
        Asked::Update(id) => update(call, id).await,
        Asked::Delete(id) => delete(call, id).await,
        Asked::Session => session(call),
    }
}

/// The caller: the application's token is the user, an API key of its account the password.
async fn enter(call: &Call, role: Role) -> Result<Caller, Refused> {
    let (application, key) = call.basic().ok_or((401, "unauthorized"))?;
    let account = call.desk.account_where(|account| account.ziggeo_application_token.as_deref() == Some(application.as_str()));
    let caller = call.desk.gate.enter(Some(&key), call.peer, call.now).await.map_err(locked)?;
    call.note.caller(&caller);
    let (account, _) = account.ok_or((401, "unauthorized"))?;
    caller.works_on(&account).and_then(|()| caller.may(role)).map_err(locked)?;
    Ok(caller)
}

fn locked(locked: Locked) -> Refused {
    match locked {
        Locked::Unknown => (401, "unauthorized"),
        Locked::Role | Locked::Account => (403, "not allowed"),
        Locked::TooMany(_) => (429, "too many requests"),
        Locked::Broken => (503, "not now"),
    }
}

fn broken(fault: &Fault) -> Refused {
    match fault {
        Fault::Missing => (404, "not found"),
        Fault::Exists => (400, "this key is taken"),
        Fault::TooDeep => (400, "nested too deeply"),
        Fault::Full => (403, "no more tokens"),
        Fault::Busy | Fault::Away(_) => (503, "not now"),
        Fault::WrongKey | Fault::Schema { .. } | Fault::Broken(_) => {
            tracing::error!(%fault, "the ledger failed a call");
            (500, "something went wrong")
        }
    }
}

/// Fields of the body. Java's SDK has them in the query where a method has no body, and there none is asked for.
fn arguments(call: &Call) -> Result<Map<String, Value>, Refused> {
    form::decode(call.header("content-type"), &call.body).ok_or((400, "the body cannot be read"))
}

/// The id of the record that stands for a key of the maker's own. No token looks like it.
fn alias(account: &Account, key: &str) -> String {
    format!("{}~{key}", account.as_str())
}

fn record_of(account: &Account, id: &str, created: UnixTime, token: &AuthToken) -> Record {
    let body = record::AuthToken {
        key: token.key.clone().unwrap_or_default(),
        volatile: token.volatile,
        hidden: token.hidden,
        expiration_date: token.expiration_date,
        usage_expiration_time: token.usage_expiration_time,
        session_limit: token.session_limit,
        grants: serde_json::to_value(&token.grants).unwrap_or_default(),
    };
    Record::new(account, id, created, Body::AuthToken(body)).until(token.until())
}

/// The record under a maker's key: it holds the token's text where a token holds its key.
fn alias_record(account: &Account, key: &str, id: &str, now: UnixTime, token: &AuthToken) -> Record {
    let body = record::AuthToken { key: id.to_owned(), hidden: true, ..record::AuthToken::default() };
    Record::new(account, &alias(account, key), now, Body::AuthToken(body)).until(token.until())
}

fn printed(id: &str, token: &AuthToken) -> Value {
    json!({
        "token": id,
        "key": token.key,
        "volatile": token.volatile,
        "hidden": token.hidden,
        "expiration_date": token.expiration_date,
        "usage_expiration_time": token.usage_expiration_time,
        "session_limit": token.session_limit,
        "grants": token.grants,
        "created": token.changed,
        "type": "ApiAuthToken",
    })
}

async fn create(call: &Call) -> Result<Answer, Refused> {
    call.note.action("auth_token.create");
    let caller = enter(call, Role::Issuer).await?;
    let mut token = AuthToken { account: caller.account.as_str().to_owned(), changed: call.now.0, ..AuthToken::default() };
    fields::apply(&mut token, &arguments(call)?).map_err(|name| (400, name))?;
    let id = random::hex(16).map_err(|_| (500, "something went wrong"))?;
    call.note.token(&id);
    let mut batch = Batch::at(call.now).create(record_of(&caller.account, &id, call.now, &token));
    if let Some(key) = &token.key {
        batch = batch.create(alias_record(&caller.account, key, &id, call.now, &token));
    }
    call.commit(&caller, batch).await.map_err(|fault| broken(&fault))?;
    Ok(ok(&printed(&id, &token)))
}

/// The token of this text or key, if it is the caller's.
async fn find(call: &Call, caller: &Caller, name: &str) -> Result<(String, UnixTime, AuthToken), Refused> {
    let look = async |id: &str| {
        let found = call.desk.ledger.find_of(&caller.account, Kind::AuthToken, id, call.now).await;
        found.map_err(|fault| broken(&fault))
    };
    let not_found = (404, "not found");
    let record = match look(name).await?.filter(|_| !name.contains('~')) {
        Some(record) => record,
        None => match look(&alias(&caller.account, name)).await?.as_deref().map(|record| &record.body) {
            Some(Body::AuthToken(alias)) => look(&alias.key).await?.ok_or(not_found)?,
            _ => return Err(not_found),
        },
    };
    let Body::AuthToken(token) = &record.body else { return Err(not_found) };
    call.note.token(&record.id);
    Ok((record.id.to_string(), record.created, lookups::auth_token(&record, token)))
}

async fn get(call: &Call, name: &str) -> Result<Answer, Refused> {
    call.note.action("auth_token.get");
    let caller = enter(call, Role::Reader).await?;
    let (id, _, token) = find(call, &caller, name).await?;
    Ok(ok(&printed(&id, &token)))
}

async fn update(call: &Call, name: &str) -> Result<Answer, Refused> {
    call.note.action("auth_token.update");
    let caller = enter(call, Role::Issuer).await?;
    let (id, created, before) = find(call, &caller, name).await?;
    let mut token = before.clone();
    fields::apply(&mut token, &arguments(call)?).map_err(|name| (400, name))?;
    let mut batch = Batch::at(call.now).replace(record_of(&caller.account, &id, created, &token));
    if let Some(old) = before.key.as_ref().filter(|_| before.key != token.key) {
        batch = batch.delete(&caller.account, Kind::AuthToken, &alias(&caller.account, old));
    }
    if let Some(key) = &token.key {
        let record = alias_record(&caller.account, key, &id, created, &token);
        batch = if before.key == token.key { batch.put(record) } else { batch.create(record) };
    }
    call.commit(&caller, batch).await.map_err(|fault| broken(&fault))?;
    Ok(ok(&printed(&id, &token)))
}

async fn delete(call: &Call, name: &str) -> Result<Answer, Refused> {
    call.note.action("auth_token.delete");
    let caller = enter(call, Role::Issuer).await?;
    let (id, _, token) = find(call, &caller, name).await?;
    let mut batch = Batch::at(call.now).delete(&caller.account, Kind::AuthToken, &id);
    if let Some(key) = &token.key {
        batch = batch.delete(&caller.account, Kind::AuthToken, &alias(&caller.account, key));
    }
    call.commit(&caller, batch).await.map_err(|fault| broken(&fault))?;
    Ok(ok(&json!({})))
}

/// A session token for a player, by the scheme of the application. Players have no key, so that nobody is asked for one.
fn session(call: &Call) -> Result<Answer, Refused> {
    call.note.action("viewer_session.create");
    let path = CleanPath::parse(&call.path).map_err(|_| (400, "bad path"))?;
    let facts = RequestFacts {
        method: &call.head.method,
        https: call.https,
        query: call.head.uri.query(),
        client_ip: call.peer,
        ..RequestFacts::bare("", &path, &call.head.headers)
    };
    let schemes = call.desk.schemes.iter().filter(|named| named.scheme.kind() == "ziggeo");
    let reply = schemes.map(|named| &named.scheme).find_map(|scheme| scheme.reply(None, &facts, call.now));
    // "404 = bad API key", to the browser SDK.
    let reply = reply.ok_or((404, "no such application"))?;
    let mut answer = answer(reply.status, "application/json", &Value::Null);
    *answer.body_mut() = http_body_util::Full::from(reply.body);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_methods() {
        for (method, path, query, wanted) in [
            (Method::POST, "/v1/authtokens/", "", Ok(Asked::Create)),
            (Method::POST, "/v1/authtokens", "", Ok(Asked::Create)),
            (Method::GET, "/v1/authtokens/t", "", Ok(Asked::Get("t"))),
            (Method::POST, "/v1/authtokens/t", "", Ok(Asked::Update("t"))),
            (Method::DELETE, "/v1/authtokens/t", "", Ok(Asked::Delete("t"))),
            (Method::POST, "/v1/authtokens/t", "_method=DELETE", Ok(Asked::Delete("t"))),
            (Method::GET, "/v1/authtokens/t", "_method=DELETE", Ok(Asked::Get("t"))),
            (Method::POST, "/v1/applications/a/session", "noauth=true", Ok(Asked::Session)),
            (Method::GET, "/v1/authtokens/", "", Err((405, "method not allowed"))),
            (Method::PUT, "/v1/authtokens/t", "", Err((405, "method not allowed"))),
            (Method::GET, "/v1/authtokens/t/x", "", Err((404, "not found"))),
        ] {
            assert_eq!(asked(&method, path, query), wanted, "{method} {path}?{query}");
        }
    }
}
