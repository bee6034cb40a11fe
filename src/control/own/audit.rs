//! `/v1/audit`: what was done through this listener.

use serde_json::{Value, json};

use super::{Outcome, is_get, page, wrong_method};
use crate::control::Call;
use crate::ledger::record::Role;
use crate::ledger::{Body, Kind, Record};

pub(super) async fn route(call: &Call) -> Outcome {
    if !is_get(call) {
        return Err(wrong_method("GET"));
    }
    call.note.action("audit.list");
    page(call, Role::Admin, Kind::Audit, &["who", "action", "object"], shown).await
}

fn shown(record: &Record) -> Option<Value> {
    let Body::Audit(audit) = &record.body else { return None };
    Some(json!({
        "at": record.created.0,
        "who": audit.who,
        "action": audit.action,
        "object": audit.object,
        "request": audit.request,
        "peer": audit.peer,
    }))
}
