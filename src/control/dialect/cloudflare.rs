//! Cloudflare Stream: tokens, signing keys, and what holds for a video.
//!
//! A key is shown once, in the vendor's forms: the base64 of a PKCS#1 PEM and of a JWK. Tokens that are asked for without
//! a key are signed by one that the account has for that and that is never listed.

pub mod envelope;
pub mod read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use self::envelope::{Refused, ok};
use self::read::Asked;
use super::date::zulu;
use crate::clock::UnixTime;
use crate::control::gate::sha256_hex;
use crate::control::{Answer, Call, Caller, Dialect, Refusal, Serving};
use crate::keygen;
use crate::ledger::record::{Role, SigningKey, VideoSettings};
use crate::ledger::{Account, Batch, Body, Fault, Kind, Listing, Order, Record, Start};
use crate::revocation::Target;
use crate::secret::random;
use crate::token::issued::StreamVideo;
use crate::token::{Algorithm, Key, KeySet, jws};

/// The dialect.
#[derive(Debug, Clone, Copy)]
pub struct Cloudflare;

type Outcome = Result<Answer, Refused>;

/// What the key is called that signs for callers who bring none.
const OWN: &str = "cloudflare stream tokens";
/// Seconds for which what a withdrawn key signed stays withdrawn: longer than tokens should live.
const WITHDRAWN: i64 = 30 * 24 * 3600;

impl Dialect for Cloudflare {
    fn name(&self) -> &'static str {
        "cloudflare"
    }

    fn owns(&self, path: &str) -> bool {
        crate::path::is_under(path, "/accounts")
    }

    fn serve(&self, call: Call) -> Serving<'_> {
        Box::pin(async move { serve(&call).await.unwrap_or_else(|refused| refused.answer()) })
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        Refused::from(refusal).answer()
    }
}

async fn serve(call: &Call) -> Outcome {
    let (account, asked) = read::asked(&call.head.method, &call.path)?;
    let role = match asked {
        Asked::Keys | Asked::Video(_) => Role::Reader,
        Asked::Token(_) => Role::Issuer,
        Asked::NewKey | Asked::DeleteKey(_) | Asked::Edit(_) => Role::Admin,
    };
    let caller = enter(call, account, role).await?;
    match asked {
        Asked::NewKey => new_key(call, &caller).await,
        Asked::Keys => keys(call, &caller).await,
        Asked::DeleteKey(id) => delete_key(call, &caller, id).await,
        Asked::Token(uid) => token(call, &caller, uid).await,
        Asked::Video(uid) => video(call, &caller, uid).await,
        Asked::Edit(uid) => edit(call, &caller, uid).await,
    }
}

/// The caller, by either of the vendor's two ways, if it may act in this role on the account of the path.
async fn enter(call: &Call, id: &str, role: Role) -> Result<Caller, Refused> {
    let key = call.bearer().or_else(|| call.header("x-auth-key")).or_else(|| call.header("x-auth-user-service-key"));
    let caller = call.desk.gate.enter(key, call.peer, call.now).await?;
    call.note.caller(&caller);
    let known = call.desk.account_where(|account| account.cloudflare_account_id.as_deref() == Some(id));
    // An account that is not there looks like one that is somebody else's.
    let (account, _) = known.ok_or_else(Refused::forbidden)?;
    caller.works_on(&account)?;
    caller.may(role)?;
    Ok(caller)
}

/// A new RS256 key with this id: its record, and how the vendor shows it.
async fn make_key(account: &Account, id: &str, name: Option<&str>, now: UnixTime) -> Result<(Record, Value), Refused> {
    let made = tokio::task::spawn_blocking(|| keygen::generate(keygen::Kind::Rsa2048)).await;
    let made = made.ok().and_then(Result::ok).ok_or_else(Refused::broken)?;
    let pem = made.pem.ok_or_else(Refused::broken)?;
    let renamed = |jwk: &str| {
        let mut jwk: Map<String, Value> = serde_json::from_str(jwk).ok()?;
        jwk.insert("kid".into(), id.into());
        serde_json::to_string(&jwk).ok()
    };
    let jwk = renamed(made.jwk.expose()).ok_or_else(Refused::broken)?;
    let public_jwk = made.public_jwk.as_deref().and_then(renamed);
    let shown_pem = keygen::pkcs1_pem(pem.expose()).ok_or_else(Refused::broken)?;
    let shown = json!({
        "id": id,
        "pem": STANDARD.encode(shown_pem.expose()),
        "jwk": STANDARD.encode(jwk),
        "created": zulu(now),
    });
    let body = SigningKey { algorithm: Algorithm::RS256, public_jwk, name: name.map(str::to_owned), retires: None, vendor_id: None };
    Ok((Record::new(account, id, now, Body::SigningKey(body)).with_secret(pem), shown))
}

async fn new_key(call: &Call, caller: &Caller) -> Outcome {
    call.note.action("signing_key.create");
    let id = random::hex(16).map_err(|_| Refused::broken())?;
    call.note.object(&id);
    let (record, shown) = make_key(&caller.account, &id, None, call.now).await?;
    call.commit(caller, Batch::at(call.now).create(record)).await?;
    Ok(ok(&shown))
}

/// Whether a record is a key that this API shows.
fn is_shown(record: &Record) -> bool {
    matches!(&record.body, Body::SigningKey(key) if key.algorithm == Algorithm::RS256 && key.name.as_deref() != Some(OWN))
}

async fn keys(call: &Call, caller: &Caller) -> Outcome {
    call.note.action("signing_key.list");
    let account = caller.account.clone();
    // The ledger keeps no more of an account: a thousand, as the vendor says.
    let (order, start, limit) = (Order::Created, Start::Offset(0), KeySet::MAX);
    let page = call.desk.ledger.list(Listing { account, kind: Kind::SigningKey, order, descending: false, start, limit }, call.now).await?;
    let shown = page.records.iter().filter(|record| is_shown(record));
    Ok(ok(&shown.map(|record| json!({ "id": record.id, "created": zulu(record.created) })).collect()))
}

async fn delete_key(call: &Call, caller: &Caller, id: &str) -> Outcome {
    call.note.action("signing_key.delete");
    call.note.object(id);
    let record = call.desk.ledger.find_of(&caller.account, Kind::SigningKey, id, call.now).await?;
    record.filter(|record| is_shown(record)).ok_or_else(Refused::not_found)?;
    // Tokens are refused from here on, and what is being watched by them ends.
    let gone = Batch::at(call.now).delete(&caller.account, Kind::SigningKey, id);
    call.desk.withdraw(call, caller, gone, (Target::KeyId(id.to_owned()), call.now.plus(WITHDRAWN))).await?;
    Ok(ok(&"Revoked".into()))
}

async fn token(call: &Call, caller: &Caller, uid: &str) -> Outcome {
    call.note.action("stream_token.create");
    call.note.object(uid);
    let wanted = read::wanted(&call.body, call.now)?;
    let (id, key) = match &wanted.key {
        Some((id, pem)) => (id.clone(), given_key(id, pem)?),
        None => own_key(call, caller).await?,
    };
    let mut claims = wanted.claims;
    claims.insert("sub".into(), uid.into());
    claims.insert("kid".into(), id.clone().into());
    let header = Map::from_iter([("kid".to_owned(), Value::from(id))]);
    let token = jws::sign(&key, header, &claims).map_err(|fault| Refused::bad(fault.to_string()))?;
    Ok(ok(&json!({ "token": token })))
}

/// The key that a caller brings: the base64 of a PEM. Whether it opens anything is for the playback route to say.
fn given_key(id: &str, pem: &str) -> Result<Key, Refused> {
    let fault = || Refused::bad("pem is not the base64 of an RSA key");
    let set = KeySet::parse(pem.as_bytes(), Some(id), Some(Algorithm::RS256)).map_err(|_| fault())?;
    let key = set.only().filter(|key| key.can_sign()).ok_or_else(fault)?;
    key.pinned(Algorithm::RS256).map_err(|_| fault())
}

/// The account's own key for callers who bring none, made when it is first needed.
async fn own_key(call: &Call, caller: &Caller) -> Result<(String, Key), Refused> {
    let id = sha256_hex(&format!("{OWN} {}", caller.account.as_str()))[..32].to_owned();
    let find = || {
        let source = call.desk.keys.source(&caller.account, Some(Algorithm::RS256));
        let set = source.load();
        set.get(&id).and_then(|key| key.pinned(Algorithm::RS256).ok())
    };
    if let Some(key) = find() {
        return Ok((id, key));
    }
    let (record, _) = make_key(&caller.account, &id, Some(OWN), call.now).await?;
    match call.commit(caller, Batch::at(call.now).create(record)).await {
        // Another call was first; its key is as good.
        Ok(_) | Err(Fault::Exists) => {}
        Err(fault) => return Err(fault.into()),
    }
    find().map(|key| (id, key)).ok_or_else(Refused::broken)
}

/// What the caller's account said of a video and when first, and by which id: another account may have said something before.
async fn settings(call: &Call, caller: &Caller, uid: &str) -> Result<(String, Option<(UnixTime, VideoSettings)>), Refused> {
    let find = |id: String| async move { call.desk.ledger.find(Kind::VideoSettings, &id, call.now).await.map(|found| (id, found)) };
    let (id, found) = match find(uid.to_owned()).await? {
        (_, Some(record)) if record.account != caller.account => find(StreamVideo::id_beside(caller.account.as_str(), uid)).await?,
        first => first,
    };
    let said = found.as_deref().and_then(|record| match &record.body {
        Body::VideoSettings(settings) => Some((record.created, settings.clone())),
        _ => None,
    });
    Ok((id, said))
}

async fn video(call: &Call, caller: &Caller, uid: &str) -> Outcome {
    call.note.action("video.get");
    call.note.object(uid);
    let (created, settings) = settings(call, caller, uid).await?.1.ok_or_else(Refused::not_found)?;
    Ok(ok(&printed(call, caller, uid, (created, &settings))))
}

async fn edit(call: &Call, caller: &Caller, uid: &str) -> Outcome {
    call.note.action("video.edit");
    call.note.object(uid);
    let said = read::said(&call.body, uid)?;
    let (id, before) = settings(call, caller, uid).await?;
    let is_new = before.is_none();
    // A video of which nothing was said plays with a token only, here as before.
    let (created, mut settings) = before.unwrap_or_else(|| (call.now, VideoSettings { require_signed: true, ..VideoSettings::default() }));
    settings.require_signed = said.require_signed.unwrap_or(settings.require_signed);
    settings.allowed_origins = said.allowed_origins.unwrap_or(settings.allowed_origins);
    settings.other.extend(said.other);
    settings.other.insert("modified".into(), call.now.0.into());
    let record = Record::new(&caller.account, &id, created, Body::VideoSettings(settings.clone()));
    let batch = Batch::at(call.now);
    // Whoever says something at the same moment is not written over.
    call.commit(caller, if is_new { batch.create(record) } else { batch.replace(record) }).await?;
    Ok(ok(&printed(call, caller, uid, (created, &settings))))
}

fn printed(call: &Call, caller: &Caller, uid: &str, (created, settings): (UnixTime, &VideoSettings)) -> Value {
    let base = call.desk.playback(call, caller);
    let modified = settings.other.get("modified").and_then(Value::as_i64).map_or(created, UnixTime);
    let mut video = json!({
        "uid": uid,
        "requireSignedURLs": settings.require_signed,
        "allowedOrigins": settings.allowed_origins,
        "created": zulu(created),
        "modified": zulu(modified),
        "playback": { "hls": format!("{base}/{uid}/manifest/video.m3u8"), "dash": format!("{base}/{uid}/manifest/video.mpd") },
        "preview": format!("{base}/{uid}/watch"),
        "thumbnail": format!("{base}/{uid}/thumbnails/thumbnail.jpg"),
    });
    for (name, value) in settings.other.iter().filter(|(name, _)| *name != "modified") {
        video[name] = value.clone();
    }
    video
}
