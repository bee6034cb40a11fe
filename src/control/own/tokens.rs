//! `/v1/tokens`: signed tokens of any scheme of the config.
//!
//! A token is signed, then opened again by its own scheme before it is handed out: what the scheme could
//! not say is refused here and not found out by a viewer. Its text is not kept, only its digest.

mod within;

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderName, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Outcome, Problem, enter, found, id_of, is_get, make, ok, one, page, read, wrong_method};
use crate::clock::UnixTime;
use crate::control::gate::sha256_hex;
use crate::control::{Call, Caller, PolicyConfig};
use crate::ledger::record::{Issued, Role, Terms};
use crate::ledger::{Batch, Body, Kind, Record};
use crate::path::{self, CleanPath};
use crate::revocation::Target;
use crate::session::Key;
use crate::token::exact::{self, Exact};
use crate::token::{Country, SessionTerms, SignRequest, Signed};
use crate::verifier::RouteScheme;

/// What a `POST` holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    policy: Option<String>,
    scheme: Option<String>,
    url: String,
    scope: Option<String>,
    subject: Option<String>,
    ttl: Option<i64>,
    not_before: Option<i64>,
    client_ip: Option<IpAddr>,
    country: Option<Country>,
    system: Option<u32>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    key_id: Option<String>,
    #[serde(default)]
    session: Session,
    #[serde(default)]
    claims: Map<String, Value>,
}

/// How many viewings, and how long.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    concurrent: Option<u32>,
    total: Option<u32>,
    seconds: Option<u32>,
}

/// How long a token is good where neither the request nor a policy says, and at most without a policy.
const TTL: i64 = 3600;
const MAX_TTL: i64 = 366 * 24 * 3600;

pub(super) async fn route(call: &Call, item: Option<&str>) -> Outcome {
    match (call.head.method.as_str(), item) {
        (_, None) if is_get(call) => {
            call.note.action("issued.list");
            page(call, Role::Reader, Kind::Issued, &["scheme", "subject", "policy", "key_id", "token_sha256"], shown).await
        }
        ("POST", None) => issue(call).await,
        (_, Some(id)) if is_get(call) => {
            call.note.action("issued.get");
            one(call, Role::Reader, Kind::Issued, &id_of(id)?, shown).await
        }
        ("DELETE", Some(id)) => revoke(call, &id_of(id)?).await,
        (_, None) => Err(wrong_method("GET, POST")),
        (_, Some(_)) => Err(wrong_method("GET, DELETE")),
    }
}

async fn issue(call: &Call) -> Outcome {
    call.note.action("issued.create");
    let caller = enter(call, Role::Issuer).await?;
    let wanted: Wanted = read(call)?;
    let (wanted, ttl) = under_policy(call, wanted)?;
    let invalid = |what: &str| Problem::Invalid(format!("`{what}` cannot be used"));
    let name = wanted.scheme.as_deref().ok_or_else(|| Problem::Invalid("name a `scheme` or a `policy`".into()))?;
    let scheme = call.desk.scheme(name).ok_or_else(|| invalid("scheme"))?;
    let uri: Uri = wanted.url.parse().map_err(|_| invalid("url"))?;
    // Who logs in is no part of a URL for viewers, and would be kept and shown with it (RFC 3986 §3.2.1).
    let host = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(|| invalid("url"))?.as_str().to_ascii_lowercase();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let mut claims = wanted.claims.clone();
    if scheme.scheme.kind() == "jwt" {
        claims.entry("jti").or_insert_with(|| id.as_str().into());
    }
    let request = SignRequest {
        https: uri.scheme_str() != Some("http"),
        mount: mount(call, scheme, &host, uri.path()),
        host,
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        scope: wanted.scope.clone(),
        expires: Some(call.now.plus(ttl)),
        not_before: wanted.not_before.map(UnixTime),
        now: Some(call.now),
        subject: wanted.subject.clone(),
        key_id: wanted.key_id.clone(),
        client_ip: wanted.client_ip,
        country: wanted.country,
        system: wanted.system,
        headers: headers(&wanted)?,
        session: SessionTerms {
            concurrent: wanted.session.concurrent,
            total: wanted.session.total,
            seconds: wanted.session.seconds,
            once: false,
        },
        claims,
    };
    let exact = exact::sign(&*scheme.scheme, &request).map_err(|error| Problem::Invalid(error.to_string()))?;
    let paths = wanted.policy.as_deref().and_then(|name| call.desk.config.policies.get(name)).map_or(&[][..], |policy| &policy.paths);
    within::check(paths, &*scheme.scheme, (&request, &exact))?;
    let record = record(call, &caller, (&id, &wanted), (scheme, &exact));
    let signed = exact.signed;
    call.note.object(&id);
    let mut answer = shown(&record).unwrap_or_default();
    answer["token"] = signed.token.as_str().into();
    answer["url"] = url(&uri, &signed).into();
    answer["headers"] = signed.headers.iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str()))).collect();
    answer["cookies"] = signed.cookies.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    make(call, &caller, Batch::at(call.now).create(record), &answer).await
}

/// The request with what its policy adds, and seconds until the token's end.
fn under_policy(call: &Call, mut wanted: Wanted) -> Result<(Wanted, i64), Problem> {
    let policies = &call.desk.config.policies;
    let policy = match &wanted.policy {
        Some(name) => Some(policies.get(name.as_str()).ok_or_else(|| Problem::Invalid("`policy` names none".into()))?),
        None => None,
    };
    let (ttl, most) = policy.map_or((TTL, MAX_TTL), |policy| (policy.ttl.as_unix(), policy.max_ttl.as_unix()));
    let ttl = wanted.ttl.unwrap_or(ttl);
    if wanted.not_before.is_some_and(|from| from >= call.now.plus(ttl).0) {
        return Err(Problem::Invalid("`not_before` lies behind the token's end".into()));
    }
    if !(1..=most).contains(&ttl) {
        return Err(Problem::Invalid(format!("`ttl` is 1 to {most} seconds")));
    }
    if let Some(policy) = policy {
        within(policy, &wanted)?;
        wanted.scheme = Some(policy.scheme.as_str().to_owned());
        let lower = |asked: Option<u32>, most: Option<u32>| match (asked, most) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        };
        wanted.session.concurrent = lower(wanted.session.concurrent, policy.concurrent);
        wanted.session.total = lower(wanted.session.total, policy.total);
        wanted.session.seconds = lower(wanted.session.seconds, policy.session_seconds);
    }
    Ok((wanted, ttl))
}

fn within(policy: &PolicyConfig, wanted: &Wanted) -> Result<(), Problem> {
    let beyond = |what: &str| Err(Problem::Invalid(format!("`{what}` goes beyond the policy")));
    if wanted.scheme.as_deref().is_some_and(|scheme| scheme != policy.scheme.as_str()) {
        return beyond("scheme");
    }
    if policy.bind_address && wanted.client_ip.is_none() {
        return Err(Problem::Invalid("the policy wants `client_ip`".into()));
    }
    // What a policy bounds must not come in by another name.
    if !wanted.claims.is_empty() {
        return beyond("claims");
    }
    let asked = wanted.url.parse::<Uri>().ok().and_then(|uri| path::percent_decode(uri.path())).unwrap_or_default();
    let asked = [Some(asked.as_str()), wanted.scope.as_deref()];
    if !policy.paths.is_empty() && !asked.into_iter().flatten().all(|path| within::is_inside(path, &policy.paths)) {
        return beyond("url");
    }
    if !policy.paths.is_empty() && wanted.scope.as_deref().is_some_and(|scope| !within::is_one(scope)) {
        return beyond("scope");
    }
    Ok(())
}

/// Headers that the viewer will send.
fn headers(wanted: &Wanted) -> Result<Vec<(HeaderName, String)>, Problem> {
    let named = wanted.headers.iter().map(|(name, value)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone())));
    let named: Option<BTreeMap<_, _>> = named.map(|header| header.map(|(name, value)| (name.to_string(), (name, value)))).collect();
    // A name in two spellings is one header with two values.
    let named = named.filter(|named| named.len() == wanted.headers.len());
    named.map(|named| named.into_values().collect()).ok_or_else(|| Problem::Invalid("`headers` cannot be used".into()))
}

/// How much of the path is the prefix of the route that takes this URL by this scheme.
fn mount(call: &Call, scheme: &RouteScheme, host: &str, raw: &str) -> usize {
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let Ok(path) = CleanPath::parse(raw) else { return 0 };
    match call.desk.state.plan.find(host, &path, &http::Method::GET) {
        crate::route::plan::Found::Route(route) if route.schemes.iter().any(|it| it.name == scheme.name) => route.mount(&path),
        _ => 0,
    }
}

fn record(call: &Call, caller: &Caller, (id, wanted): (&str, &Wanted), (scheme, exact): (&RouteScheme, &Exact)) -> Record {
    let Exact { grant, text, .. } = exact;
    let expires = grant.window.until;
    let key = Key::token(&scheme.name, text, grant);
    let issued = Issued {
        scheme: scheme.name.as_str().to_owned(),
        key_id: grant.key_id.as_deref().map(str::to_owned),
        subject: wanted.subject.clone(),
        path: wanted.scope.clone().unwrap_or_else(|| wanted.url.clone()),
        not_before: wanted.not_before.map(UnixTime),
        expires: (expires != UnixTime::MAX).then_some(expires),
        terms: Terms::Known { session: grant.session, bindings: grant.bindings.iter().map(|binding| format!("{binding:?}")).collect() },
        policy: wanted.policy.clone(),
        claims: wanted.claims.clone(),
        token_sha256: sha256_hex(text),
        token_key: Some(key),
        revoked: None,
    };
    Record::new(&caller.account, id, call.now, Body::Issued(issued)).until(expires)
}

async fn revoke(call: &Call, id: &str) -> Outcome {
    call.note.action("issued.revoke");
    let caller = enter(call, Role::Issuer).await?;
    let record = found(call, &caller, Kind::Issued, id).await?;
    let Body::Issued(issued) = &record.body else { return Err(Problem::NotFound) };
    let key = issued.token_key.ok_or(Problem::NotFound)?;
    let revoked = Issued { revoked: Some(issued.revoked.unwrap_or(call.now)), ..issued.clone() };
    let record = Record { body: Body::Issued(revoked), ..Record::clone(&record) };
    let (mut answer, until) = (shown(&record).unwrap_or_default(), record.expires);
    let ended = call.desk.withdraw(call, &caller, Batch::at(call.now).replace(record), (Target::Token(key), until)).await?;
    answer["sessions_ended"] = ended.into();
    Ok(ok(StatusCode::OK, &answer))
}

fn shown(record: &Record) -> Option<Value> {
    let Body::Issued(issued) = &record.body else { return None };
    let (session, bindings) = match &issued.terms {
        Terms::Unknown => (None, None),
        Terms::Known { session, bindings } => (Some(session), Some(bindings)),
    };
    Some(json!({
        "id": *record.id,
        "scheme": issued.scheme,
        "key_id": issued.key_id,
        "subject": issued.subject,
        "path": issued.path,
        "session": session,
        "bindings": bindings,
        "policy": issued.policy,
        "created": record.created.0,
        "not_before": issued.not_before,
        "expires": issued.expires,
        "revoked": issued.revoked,
        "token_sha256": issued.token_sha256,
    }))
}

fn url(uri: &Uri, signed: &Signed) -> String {
    let query = signed.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    format!(
        "{}://{}{}{query}",
        uri.scheme_str().unwrap_or("https"),
        uri.authority().map_or("", |authority| authority.as_str()),
        signed.path
    )
}
