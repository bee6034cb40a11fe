//! `/v1/api-keys`: keys that open this API. A key is shown once, when it is made.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Problem, enter, found, id_of, is_get, make, ok, one, page, read, wrong_method};
use crate::control::Call;
use crate::control::gate::{new_key, sha256_hex};
use crate::ledger::record::{ApiKey, Role};
use crate::ledger::{Account, Batch, Body, Kind, Record};

/// What a `POST` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Role,
    per_minute: Option<u32>,
}

pub(super) async fn route(call: &Call, item: Option<&str>) -> Outcome {
    match (call.head.method.as_str(), item) {
        (_, None) if is_get(call) => {
            call.note.action("api_key.list");
            page(call, Role::Admin, Kind::ApiKey, &["name", "role"], shown).await
        }
        ("POST", None) => create(call).await,
        ("DELETE", Some(id)) => delete(call, &id_of(id)?).await,
        (_, Some(id)) if is_get(call) => {
            call.note.action("api_key.get");
            one(call, Role::Admin, Kind::ApiKey, &id_of(id)?, shown).await
        }
        (_, None) => Err(wrong_method("GET, POST")),
        (_, Some(_)) => Err(wrong_method("GET, DELETE")),
    }
}

async fn create(call: &Call) -> Outcome {
    call.note.action("api_key.create");
    let caller = enter(call, Role::Admin).await?;
    let wanted: Wanted = read(call)?;
    if wanted.name.is_empty() || wanted.name.chars().count() > 128 {
        return Err(Problem::Invalid("`name` has 1 to 128 characters".into()));
    }
    let (id, key) = new_key().map_err(|error| Problem::Ledger(crate::ledger::Fault::Broken(error)))?;
    let per_minute = wanted.per_minute.unwrap_or(call.desk.gate.per_minute());
    let body = ApiKey { name: wanted.name, role: wanted.role, sha256: sha256_hex(key.expose()), per_minute };
    let account = Account::new(caller.account.as_str());
    let record = Record::new(&account, &id, call.now, Body::ApiKey(body));
    call.note.object(&id);
    let mut answer = shown(&record).unwrap_or_default();
    answer["key"] = key.expose().as_str().into();
    make(call, &caller, Batch::at(call.now).create(record), &answer).await
}

async fn delete(call: &Call, id: &str) -> Outcome {
    call.note.action("api_key.delete");
    let caller = enter(call, Role::Admin).await?;
    found(call, &caller, Kind::ApiKey, id).await?;
    call.commit(&caller, Batch::at(call.now).delete(&caller.account, Kind::ApiKey, id)).await?;
    Ok(ok(StatusCode::OK, &json!({ "deleted": id })))
}

fn shown(record: &Record) -> Option<Value> {
    let Body::ApiKey(key) = &record.body else { return None };
    Some(json!({ "id": *record.id, "name": key.name, "role": key.role, "per_minute": key.per_minute, "created": record.created.0 }))
}
