//! The audit log: who did what, when; never the secret.
//!
//! Every request of the control listener becomes one line of JSON (target `audit`). What changed
//! something is in the ledger as well, in the same commit as the change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gate::Rate;
use super::{Call, Caller, audit_record};
use crate::ledger::Record;
use crate::ledger::record::Audit;
use crate::secret::Fingerprint;

/// What is noted of one request while it is answered.
#[derive(Default)]
pub struct Note(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    who: Option<String>,
    account: Option<String>,
    action: Option<&'static str>,
    object: Option<String>,
    rate: Option<Rate>,
}

impl Note {
    /// Notes who called.
    pub fn caller(&self, caller: &Caller) {
        let mut noted = self.lock();
        noted.who = Some(caller.id.to_string());
        noted.account = Some(caller.account.as_str().to_owned());
        noted.rate = Some(caller.rate);
    }

    /// Where who called stands in its minute; `None` before that is known.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.lock().rate
    }

    /// Notes what is done, such as `upload_token.create`.
    pub fn action(&self, action: &'static str) {
        self.lock().action = Some(action);
    }

    /// Notes what it is done to by its public id: a key id, a video.
    pub fn object(&self, id: &str) {
        self.lock().object = Some(id.chars().take(128).collect());
    }

    /// Notes what it is done to where the id itself is a secret: it goes by its fingerprint.
    pub fn token(&self, token: &str) {
        self.lock().object = Some(Fingerprint::of(token.as_bytes()).to_string());
    }

    /// The record of it for the ledger.
    pub(super) fn record(&self, call: &Call, caller: &Caller) -> Record {
        self.caller(caller);
        let noted = self.lock();
        let audit = Audit {
            who: caller.id.to_string(),
            action: noted.action.unwrap_or("other").to_owned(),
            object: noted.object.clone(),
            request: call.id.to_string(),
            peer: call.peer.to_string(),
            more: std::collections::BTreeMap::new(),
        };
        audit_record(audit, &caller.account, call.now, call.desk.config.keep_audit)
    }

    /// Writes the line.
    pub(super) fn tell(&self, request: &Told<'_>) {
        let noted = self.lock();
        tracing::info!(
            target: "audit",
            at = request.now.0,
            request = request.id,
            peer = %request.peer,
            who = noted.who.as_deref(),
            account = noted.account.as_deref(),
            dialect = request.dialect,
            method = request.method,
            action = noted.action,
            object = noted.object.as_deref(),
            status = request.status,
            "control"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the listener knows of a request that was answered. The path is not in it: it may hold a token.
pub(super) struct Told<'t> {
    pub(super) id: &'t str,
    pub(super) now: crate::clock::UnixTime,
    pub(super) peer: std::net::IpAddr,
    pub(super) dialect: &'static str,
    pub(super) method: &'t str,
    pub(super) status: u16,
}
