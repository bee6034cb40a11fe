//! api.video: API keys for access tokens, upload tokens, and one-time tokens of private videos.
//!
//! Success has exactly `application/json` (the Node SDK takes no other), a deletion no body, every answer
//! its rate limit. Refresh tokens rotate: each is good once.

pub mod print;
pub mod problem;
pub mod read;

use http::StatusCode;
use serde_json::Value;

use self::problem::{Problem, put_rate};
use self::read::Asked;
use super::{answer, nothing};
use crate::control::gate::{Locked, Rate, sha256_hex};
use crate::control::{Answer, Call, Caller, Dialect, Refusal, Serving};
use crate::ledger::record::{Access, PrivateToken, Role, UploadToken};
use crate::ledger::{Batch, Body, Kind, Listing, Record, Start};
use crate::secret::{Secret, random};

/// The dialect.
#[derive(Debug, Clone, Copy)]
pub struct Apivideo;

/// Seconds that an access token is good for, as the vendor says.
const ACCESS: i64 = 3600;
/// Seconds that a refresh token waits to be used. The vendor gives no figure.
const REFRESH: i64 = 30 * 24 * 3600;
/// Seconds that a private token waits for its first use. The vendor gives no figure.
const PRIVATE: i64 = 24 * 3600;

type Outcome = Result<Answer, Problem>;

impl Dialect for Apivideo {
    fn name(&self) -> &'static str {
        "apivideo"
    }

    fn owns(&self, path: &str) -> bool {
        read::owns(path)
    }

    fn serve(&self, call: Call) -> Serving<'_> {
        Box::pin(async move {
            let outcome = serve(&call).await;
            let refused = outcome.as_ref().err().and_then(Problem::rate);
            let everybody = || Rate { limit: call.desk.gate.per_minute(), remaining: call.desk.gate.per_minute(), resets: 60 };
            let mut answer = outcome.unwrap_or_else(|problem| problem.answer());
            put_rate(answer.headers_mut(), refused.or_else(|| call.note.rate()).unwrap_or_else(everybody));
            answer
        })
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let mut answer = Problem::from(refusal).answer();
        put_rate(answer.headers_mut(), Rate { resets: 60, ..Rate::default() });
        answer
    }
}

async fn serve(call: &Call) -> Outcome {
    match read::asked(&call.head.method, &call.path)? {
        Asked::Token => token(call).await,
        Asked::Refresh => refresh(call).await,
        Asked::Create => create(call).await,
        Asked::List => list(call).await,
        Asked::Get(id) => get(call, id).await,
        Asked::Delete(id) => delete(call, id).await,
        Asked::Video(id) => private(call, id, "videoId", print::video).await,
        Asked::LiveStream(id) => private(call, id, "liveStreamId", print::live_stream).await,
    }
}

fn ok(body: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", body)
}

/// The caller, by API key or access token, if it may act in this role.
async fn enter(call: &Call, role: Role) -> Result<Caller, Problem> {
    let caller = if let Some((key, _)) = call.basic() {
        call.desk.gate.enter(Some(&key), call.peer, call.now).await?
    } else if let Some(token) = call.bearer() {
        by_access(call, token).await?
    } else if call.header("authorization").is_some() {
        return Err(Problem::BadAuthorization);
    } else {
        return Err(Problem::NoAuthorization);
    };
    call.note.caller(&caller);
    caller.may(role)?;
    Ok(caller)
}

async fn by_access(call: &Call, token: &str) -> Result<Caller, Problem> {
    let access = find_access(call, token).await?.filter(|(_, access)| !access.refresh).ok_or(Problem::BadAccessToken)?.1;
    call.desk.gate.enter_as(&access.api_key, call.now).await.map_err(|locked| match locked {
        Locked::Unknown => Problem::BadAccessToken,
        other => other.into(),
    })
}

async fn find_access(call: &Call, token: &str) -> Result<Option<(String, Access)>, Problem> {
    let id = sha256_hex(token);
    let record = call.desk.ledger.find(Kind::Access, &id, call.now).await?;
    Ok(record.and_then(|record| if let Body::Access(access) = &record.body { Some((id, access.clone())) } else { None }))
}

/// Whoever asks for a token with a wrong key gets the answer that the vendor has for that.
fn credentials(problem: Problem) -> Problem {
    if problem == Problem::BadApiKey { Problem::BadCredentials } else { problem }
}

async fn token(call: &Call) -> Outcome {
    call.note.action("access.create");
    let key = Secret::new(read::text(&call.body, "apiKey")?);
    let entered = call.desk.gate.enter(Some(key.expose()), call.peer, call.now).await;
    let caller = entered.map_err(|locked| credentials(locked.into()))?;
    call.note.caller(&caller);
    give(call, &caller, Batch::at(call.now)).await
}

async fn refresh(call: &Call) -> Outcome {
    call.note.action("access.refresh");
    let token = read::text(&call.body, "refreshToken")?;
    let (id, access) = find_access(call, &token).await?.filter(|(_, access)| access.refresh).ok_or(Problem::BadCredentials)?;
    let caller = call.desk.gate.enter_as(&access.api_key, call.now).await.map_err(|locked| credentials(locked.into()))?;
    call.note.caller(&caller);
    // Of two at once, one finds it gone.
    give(call, &caller, Batch::at(call.now).delete(&caller.account, Kind::Access, &id)).await.map_err(|problem| match problem {
        Problem::NotFound(_) => Problem::BadCredentials,
        other => other,
    })
}

/// New tokens for a caller, made together with `batch`.
async fn give(call: &Call, caller: &Caller, batch: Batch) -> Outcome {
    let (access, refresh) = (random()?, random()?);
    let record = |token: &str, refresh: bool, seconds: i64| {
        let body = Body::Access(Access { api_key: caller.id.to_string(), refresh });
        Record::new(&caller.account, &sha256_hex(token), call.now, body).until(call.now.plus(seconds))
    };
    let batch = batch.create(record(&access, false, ACCESS)).create(record(&refresh, true, REFRESH));
    call.commit(caller, batch).await?;
    Ok(ok(&print::access(&access, &refresh, ACCESS)))
}

fn random() -> Result<String, Problem> {
    random::hex(32).map_err(|_| Problem::Broken)
}

async fn create(call: &Call) -> Outcome {
    call.note.action("upload_token.create");
    let caller = enter(call, Role::Issuer).await?;
    let ttl = read::ttl(&call.body)?;
    let id = format!("to{}", random::base62(22).map_err(|_| Problem::Broken)?);
    call.note.token(&id);
    let record = Record::new(&caller.account, &id, call.now, Body::UploadToken(UploadToken { ttl }));
    let record = if ttl == 0 { record } else { record.until(call.now.plus(i64::from(ttl))) };
    let printed = print::token(&record).ok_or(Problem::Broken)?;
    call.commit(&caller, Batch::at(call.now).create(record)).await?;
    // 200, not 201: as the vendor's specification has it.
    Ok(ok(&printed))
}

async fn list(call: &Call) -> Outcome {
    call.note.action("upload_token.list");
    let caller = enter(call, Role::Reader).await?;
    let paging = read::paging(call.query())?;
    let start = Start::Offset((paging.page - 1).saturating_mul(paging.size));
    let limit = usize::try_from(paging.size).unwrap_or(100);
    let listing = Listing {
        account: caller.account.clone(),
        kind: Kind::UploadToken,
        order: paging.order,
        descending: paging.descending,
        start,
        limit,
    };
    let page = call.desk.ledger.list(listing, call.now).await?;
    let items: Vec<Value> = page.records.iter().filter_map(print::token).collect();
    Ok(ok(&print::page(&items, paging, page.total)))
}

async fn get(call: &Call, id: &str) -> Outcome {
    call.note.action("upload_token.get");
    let caller = enter(call, Role::Reader).await?;
    call.note.token(id);
    let record = call.desk.ledger.find_of(&caller.account, Kind::UploadToken, id, call.now).await?;
    let printed = record.and_then(|record| print::token(&record)).ok_or(Problem::NotFound("uploadToken"))?;
    Ok(ok(&printed))
}

async fn delete(call: &Call, id: &str) -> Outcome {
    call.note.action("upload_token.delete");
    let caller = enter(call, Role::Issuer).await?;
    call.note.token(id);
    // What is over is not there, whether or not it was swept.
    call.desk.ledger.find_of(&caller.account, Kind::UploadToken, id, call.now).await?.ok_or(Problem::NotFound("uploadToken"))?;
    call.commit(&caller, Batch::at(call.now).delete(&caller.account, Kind::UploadToken, id)).await?;
    Ok(nothing(StatusCode::NO_CONTENT))
}

/// A one-time token for a private video or live stream: each look at it makes one.
async fn private(call: &Call, id: &str, name: &'static str, printed: fn(&str, &str, &str) -> Value) -> Outcome {
    call.note.action("private_token.create");
    let caller = enter(call, Role::Issuer).await?;
    if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem::NotFound(name));
    }
    call.note.object(id);
    let token = uuid::Uuid::new_v4().to_string();
    let body = Body::PrivateToken(PrivateToken { video: id.to_owned(), ..PrivateToken::default() });
    let secret = Secret::new(random()?);
    let record = Record::new(&caller.account, &token, call.now, body).until(call.now.plus(PRIVATE)).with_secret(secret);
    call.commit(&caller, Batch::at(call.now).create(record)).await?;
    Ok(ok(&printed(id, &token, &call.desk.playback(call, &caller))))
}
