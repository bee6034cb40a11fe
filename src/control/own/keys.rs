//! `/v1/keys`: keys that sign tokens. A private key is shown once, when it is made.
//!
//! A key verifies on playback routes before the answer is out, and no more once its deletion is
//! acknowledged. Rotation makes a new key that signs from now on; the old one verifies for as long as
//! the overlap says.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Problem, enter, found, id_of, is_get, make, ok, one, page, read, wrong_method};
use crate::clock::UnixTime;
use crate::control::{Answer, Call, Caller};
use crate::keygen::{self, Generated};
use crate::ledger::record::{Role, SigningKey};
use crate::ledger::{Batch, Body, Fault, Kind, Record};
use crate::revocation::Target;
use crate::secret::Secret;
use crate::units::Period;

/// What a `POST` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default = "ed25519")]
    kind: keygen::Kind,
    name: Option<String>,
}

const fn ed25519() -> keygen::Kind {
    keygen::Kind::Ed25519
}

/// What a `POST …/rotate` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    overlap: Option<Period>,
}

/// How long an old key verifies where the request does not say.
const OVERLAP: i64 = 24 * 3600;
/// And at most: a key that is to stay longer is not being replaced.
const MAX_OVERLAP: i64 = 366 * 24 * 3600;
/// How long sessions that a deleted key opened are looked for on other gateways: longer than tokens should live.
const WITHDRAWN: i64 = 30 * 24 * 3600;

pub(super) async fn route(call: &Call, item: Option<&str>) -> Outcome {
    let Some(item) = item else {
        return match call.head.method.as_str() {
            _ if is_get(call) => {
                call.note.action("signing_key.list");
                page(call, Role::Reader, Kind::SigningKey, &["name", "algorithm"], shown).await
            }
            "POST" => create(call).await,
            _ => Err(wrong_method("GET, POST")),
        };
    };
    match (call.head.method.as_str(), item.strip_suffix("/rotate")) {
        ("POST", Some(id)) => rotate(call, &id_of(id)?).await,
        (_, Some(_)) => Err(wrong_method("POST")),
        ("DELETE", None) => delete(call, &id_of(item)?).await,
        (_, None) if is_get(call) => {
            call.note.action("signing_key.get");
            one(call, Role::Reader, Kind::SigningKey, &id_of(item)?, shown).await
        }
        _ => Err(wrong_method("GET, DELETE")),
    }
}

async fn create(call: &Call) -> Outcome {
    call.note.action("signing_key.create");
    let caller = enter(call, Role::Admin).await?;
    let wanted: Wanted = read(call)?;
    let (record, made) = new_key(call, &caller, wanted.kind, wanted.name).await?;
    call.note.object(&record.id);
    let answer = shown_once(&record, &made);
    make(call, &caller, Batch::at(call.now).create(record), &answer).await
}

async fn rotate(call: &Call, id: &str) -> Outcome {
    call.note.action("signing_key.rotate");
    let caller = enter(call, Role::Admin).await?;
    let wanted: Rotation = read(call)?;
    let overlap = wanted.overlap.map_or(OVERLAP, Period::as_unix);
    if overlap > MAX_OVERLAP {
        return Err(Problem::Invalid("`overlap` is 366 days at most".into()));
    }
    let old = found(call, &caller, Kind::SigningKey, id).await?;
    let Body::SigningKey(key) = &old.body else { return Err(Problem::NotFound) };
    if key.retires.is_some() {
        return Err(Problem::Conflict("the key is being retired already".into()));
    }
    let family = keygen::Kind::ALL.into_iter().find(|kind| kind.algorithm() == key.algorithm);
    let kind = family.ok_or_else(|| Problem::Conflict("no key of this algorithm can be made".into()))?;
    let (record, made) = new_key(call, &caller, kind, key.name.clone()).await?;
    let until = call.now.plus(overlap).min(old.expires);
    // It signs nothing any more: its private half goes, where there is another that verifies.
    let secret = old.secret.clone().filter(|_| key.public_jwk.is_none());
    let retired = SigningKey { retires: Some(call.now), ..key.clone() };
    let retired = Record { body: Body::SigningKey(retired), expires: until, secret, ..Record::clone(&old) };
    let batch = Batch::at(call.now).create(record.clone());
    // What is over is swept some time later, and a key would verify until then.
    let batch = if overlap == 0 { batch.delete(&caller.account, Kind::SigningKey, id) } else { batch.replace(retired) };
    let mut answer = shown_once(&record, &made);
    answer["replaces"] = json!({ "id": id, "verifies_until": until.0 });
    make(call, &caller, batch, &answer).await
}

/// Making an RSA key takes a while: not on the thread that answers everybody.
async fn new_key(call: &Call, caller: &Caller, kind: keygen::Kind, name: Option<String>) -> Result<(Record, Generated), Problem> {
    if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 128) {
        return Err(Problem::Invalid("`name` has 1 to 128 characters".into()));
    }
    let made = tokio::task::spawn_blocking(move || keygen::generate(kind)).await;
    let made = made.unwrap_or_else(|_| Err("no key could be made".into())).map_err(|error| Problem::Ledger(Fault::Broken(error)))?;
    let body = SigningKey { algorithm: kind.algorithm(), public_jwk: made.public_jwk.clone(), name, retires: None, vendor_id: None };
    let secret = made.pem.as_ref().unwrap_or(&made.jwk).clone();
    Ok((Record::new(&caller.account, &made.kid, call.now, Body::SigningKey(body)).with_secret(secret), made))
}

fn shown_once(record: &Record, made: &Generated) -> Value {
    let mut answer = shown(record).unwrap_or_default();
    answer["private_pem"] = json!(made.pem.as_ref().map(Secret::expose));
    answer["private_jwk"] = serde_json::from_str(made.jwk.expose()).unwrap_or_default();
    answer
}

async fn delete(call: &Call, id: &str) -> Outcome {
    call.note.action("signing_key.delete");
    let caller = enter(call, Role::Admin).await?;
    found(call, &caller, Kind::SigningKey, id).await?;
    // Its tokens are refused from here on; sessions that they opened end as well.
    let gone = Batch::at(call.now).delete(&caller.account, Kind::SigningKey, id);
    let ended = call.desk.withdraw(call, &caller, gone, (Target::KeyId(id.to_owned()), call.now.plus(WITHDRAWN))).await?;
    Ok(ok(StatusCode::OK, &json!({ "deleted": id, "sessions_ended": ended })))
}

fn shown(record: &Record) -> Option<Value> {
    let Body::SigningKey(key) = &record.body else { return None };
    let public: Option<Value> = key.public_jwk.as_ref().and_then(|jwk| serde_json::from_str(jwk).ok());
    Some(json!({
        "id": *record.id,
        "name": key.name,
        "algorithm": key.algorithm,
        "created": record.created.0,
        "signs": key.retires.is_none(),
        "verifies_until": (record.expires != UnixTime::MAX).then_some(record.expires.0),
        "public_jwk": public,
    }))
}

/// The public halves of every account (RFC 7517 §5): out of memory, because anyone may ask.
pub(super) fn jwks(call: &Call) -> Answer {
    let keys: Vec<Value> = call.desk.keys.public_jwks(None).iter().filter_map(|jwk| serde_json::from_str(jwk).ok()).collect();
    let mut answer = crate::control::serve::json(StatusCode::OK, "application/jwk-set+json", &json!({ "keys": keys }));
    answer.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=60"));
    answer
}
