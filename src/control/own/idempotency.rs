//! `Idempotency-Key`: a change that is asked for twice is made once.
//!
//! The answer is kept for a day, sealed like everything in the ledger, for the caller that got it. The
//! same key with another request is a fault. Two requests with one key at the same time: one of them is
//! told to come back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use super::{Outcome, Problem, enter, route};
use crate::control::gate::sha256_hex;
use crate::control::{Answer, Call, serve};
use crate::ledger::record::{Answered, Role};
use crate::ledger::{Batch, Body, Kind, Record};
use crate::secret::Secret;

/// How long an answer is kept, in seconds.
const KEPT: i64 = 24 * 3600;

/// Keys whose first request is under way.
static UNDER_WAY: Mutex<Option<HashSet<Arc<str>>>> = Mutex::new(None);

/// Answers a call, or gives the answer that its key got before.
pub(super) async fn once(call: &Call) -> Outcome {
    let Some(key) = call.header("idempotency-key").filter(|_| call.head.method == Method::POST) else { return route(call).await };
    if key.len() > 255 {
        return Err(Problem::Invalid("an idempotency key has at most 255 characters".into()));
    }
    let caller = enter(call, Role::Reader).await?;
    // Behind their lengths: no two callers and keys have the same id.
    let id: Arc<str> = sha256_hex(&format!("{}:{}:{}:{key}", caller.account.as_str().len(), caller.account.as_str(), caller.id)).into();
    let asked = sha256_hex(&format!("{} {} {}", call.path, call.query(), String::from_utf8_lossy(&call.body)));
    let _turn = Turn::take(&id).ok_or_else(|| Problem::Conflict("the first request with this key is still under way".into()))?;
    if let Some(record) = call.desk.ledger.find_of(&caller.account, Kind::Answered, &id, call.now).await? {
        return again(&record, &asked);
    }
    let answer = route(call).await?;
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answered = Answered { request_sha256: asked, status: head.status.as_u16(), content_type: "application/json".into() };
    let record = Record::new(&caller.account, &id, call.now, Body::Answered(answered)).until(call.now.plus(KEPT));
    let record = record.with_secret(Secret::new(String::from_utf8_lossy(&bytes).into_owned()));
    call.desk.ledger.write(Batch::at(call.now).put(record)).await?;
    Ok(Answer::from_parts(head, http_body_util::Full::new(bytes)))
}

fn again(record: &Record, asked: &str) -> Outcome {
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
