//! `/v1/policies`: what the config calls by name, for issuers to look up.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Outcome, Problem, asks_only, enter, id_of, is_get, ok, wrong_method};
use crate::control::{Call, PolicyConfig};
use crate::ledger::record::Role;

pub(super) async fn route(call: &Call, item: Option<&str>) -> Outcome {
    if !is_get(call) {
        return Err(wrong_method("GET"));
    }
    call.note.action(if item.is_some() { "policy.get" } else { "policy.list" });
    enter(call, Role::Reader).await?;
    asks_only(call, &[])?;
    let policies = &call.desk.config.policies;
    let Some(item) = item else {
        let items: Vec<Value> = policies.iter().map(|(name, policy)| shown(name.as_str(), policy)).collect();
        return Ok(ok(StatusCode::OK, &json!({ "items": items })));
    };
    let name = id_of(item)?;
    let policy = policies.get(name.as_str()).ok_or(Problem::NotFound)?;
    Ok(ok(StatusCode::OK, &shown(&name, policy)))
}

fn shown(name: &str, policy: &PolicyConfig) -> Value {
    json!({
        "name": name,
        "scheme": policy.scheme.as_str(),
        "ttl": policy.ttl.as_unix(),
        "max_ttl": policy.max_ttl.as_unix(),
        "paths": policy.paths,
        "session": { "concurrent": policy.concurrent, "total": policy.total, "seconds": policy.session_seconds },
        "bind_address": policy.bind_address,
    })
}
