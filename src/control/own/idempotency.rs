//! `Idempotency-Key`: a change that is asked for twice is made once.
//!
//! The answer is kept for a day, sealed like everything in the ledger, for the caller that got it, and in the same
//! commit as what was made: neither is there without the other, whatever happens in between. The same key with another
//! request is a fault. Of two requests with one key at the same time, one gets the other's answer, or is told to come back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Outcome, Problem, enter, route};
use crate::control::gate::sha256_hex;
use crate::control::{Answer, Call, Caller, serve};
use crate::ledger::record::{Answered, Role};
use crate::ledger::{Body, Kind, Record};
use crate::secret::Secret;

/// How long an answer is kept, in seconds.
const KEPT: i64 = 24 * 3600;

/// Keys whose first request is under way.
static UNDER_WAY: Mutex<Option<HashSet<Arc<str>>>> = Mutex::new(None);

/// A call's key, for its caller.
struct Key {
    /// The id of its answer.
    id: Arc<str>,
    /// SHA-256 of what is asked.
    asked: String,
}

impl Key {
    fn of(call: &Call, caller: &Caller) -> Option<Self> {
        let key = call.header("idempotency-key").filter(|_| call.head.method == Method::POST)?;
        let account = caller.account.as_str();
        // Behind their lengths: no two callers and keys have the same id. With the role: what an admin was answered is not
        // for a key that is none any more.
        let id = sha256_hex(&format!("{}:{account}:{:?}:{}:{key}", account.len(), caller.role, caller.id)).into();
        let asked = sha256_hex(&format!("{} {} {}", call.path, call.query(), String::from_utf8_lossy(&call.body)));
        Some(Self { id, asked })
    }

    async fn answered(&self, call: &Call, caller: &Caller) -> Result<Option<Answer>, Problem> {
        let record = call.desk.ledger.find_of(&caller.account, Kind::Answered, &self.id, call.now).await?;
        record.map(|record| again(&record, &self.asked)).transpose()
    }
}

/// Answers a call, or gives the answer that its key got before.
pub(super) async fn once(call: &Call) -> Outcome {
    let Some(key) = call.head.headers.get("idempotency-key").filter(|_| call.head.method == Method::POST) else {
        return route(call).await;
    };
    // One that were passed over would have the request made twice.
    if !key.to_str().is_ok_and(|key| !key.trim().is_empty() && key.len() <= 255) {
        return Err(Problem::Invalid("an idempotency key has 1 to 255 characters of ASCII".into()));
    }
    let caller = enter(call, Role::Reader).await?;
    let Some(key) = Key::of(call, &caller) else { return route(call).await };
    let _turn = Turn::take(&key.id).ok_or_else(|| Problem::Conflict("the first request with this key is still under way".into()))?;
    if let Some(answer) = key.answered(call, &caller).await? {
        return Ok(answer);
    }
    match route(call).await {
        // Another gateway of the fleet may have been first; then nothing was made here.
        Err(problem @ Problem::Conflict(_)) => key.answered(call, &caller).await?.ok_or(problem),
        outcome => outcome,
    }
}

/// What the ledger has to keep, in the same commit, of a call that is answered with `answer`.
pub(super) fn record(call: &Call, caller: &Caller, (status, answer): (StatusCode, &Value)) -> Option<Record> {
    let Key { id, asked } = Key::of(call, caller)?;
    let answered = Answered { request_sha256: asked, status: status.as_u16(), content_type: "application/json".into() };
    let record = Record::new(&caller.account, &id, call.now, Body::Answered(answered)).until(call.now.plus(KEPT));
    Some(record.with_secret(Secret::new(answer.to_string())))
}

fn again(record: &Record, asked: &str) -> Result<Answer, Problem> {
    let Body::Answered(answered) = &record.body else { return Err(Problem::NotFound) };
    if answered.request_sha256 != asked {
        return Err(Problem::Conflict("this idempotency key was used for another request".into()));
    }
    let text = record.secret.as_ref().map_or("null", |text| text.expose().as_str());
    let value = serde_json::from_str(text).unwrap_or_default();
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    let mut answer = serve::json(status, "application/json", &value);
    answer.headers_mut().insert("idempotent-replayed", http::HeaderValue::from_static("true"));
    Ok(answer)
}

/// Holds a key while its first request is under way.
struct Turn(Arc<str>);

impl Turn {
    fn take(id: &Arc<str>) -> Option<Self> {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.get_or_insert_default().insert(id.clone()).then(|| Self(id.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.get_or_insert_default().remove(&self.0);
    }
}
