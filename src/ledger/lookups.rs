//! The ledger as token rules look things up in it.
//!
//! Rules ask without waiting and without a time: what is over but not swept yet is given with its dates, which are
//! the rule's to judge. A file that cannot be read gives nothing, so that nobody is let in for it.

use std::sync::Arc;

use super::record::{self, Body};
use super::{Batch, Ledger, Op, Record};
use crate::clock::{Clock, UnixTime};
use crate::token::issued::{AuthToken, PrivateToken, StreamVideo, UploadToken};
use crate::token::ziggeo::fields;
use crate::token::{Issue, Issued, Kind};

/// Seconds that a viewer's session is remembered for what it made.
const OWNER_FOR: i64 = 24 * 3600;
/// Most objects that are remembered of one session.
const MOST_OWNED: usize = 1000;

/// Looks things up in a ledger.
#[derive(Clone)]
pub struct Lookups {
    ledger: Ledger,
    clock: Clock,
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookups")
    }
}

impl Lookups {
    /// Looks things up in `ledger`.
    #[must_use]
    pub const fn new(ledger: Ledger, clock: Clock) -> Self {
        Self { ledger, clock }
    }

    fn record(&self, kind: record::Kind, id: &str) -> Option<Arc<Record>> {
        self.ledger.find(kind, id, UnixTime::MIN).unwrap_or_else(|fault| {
            tracing::error!(%fault, kind = kind.word(), "the ledger cannot be read; what it holds lets nobody in");
            None
        })
    }

    /// Sends a change off. It is on the disk some milliseconds later; a full queue loses it, which is told.
    fn send(&self, record: Record) {
        let batch = Batch::at(self.clock.now()).and(Op::Put(record));
        if let Err(fault) = self.ledger.ask(batch) {
            tracing::warn!(%fault, "a use was not written down");
        }
    }
}

impl Issued for Lookups {
    fn find(&self, kind: Kind, id: &str) -> Option<Arc<Issue>> {
        let of = match kind {
            Kind::UploadToken => record::Kind::UploadToken,
            Kind::PrivateToken => record::Kind::PrivateToken,
            Kind::AuthToken => record::Kind::AuthToken,
            Kind::StreamVideo => record::Kind::VideoSettings,
        };
        self.record(of, id).and_then(|record| issue(&record)).map(Arc::new)
    }

    fn spend(&self, kind: Kind, id: &str) {
        let Some(record) = self.record(record::Kind::PrivateToken, id).filter(|_| kind == Kind::PrivateToken) else { return };
        let Body::PrivateToken(token) = &record.body else { return };
        let used = record::PrivateToken { used: Some(self.clock.now()), ..token.clone() };
        self.send(Record { body: Body::PrivateToken(used), ..Record::clone(&record) });
    }

    fn owns(&self, session: &str, object: &str) -> bool {
        let record = self.record(record::Kind::ViewerSession, session);
        record.is_some_and(|record| matches!(&record.body, Body::ViewerSession(session) if session.owned.iter().any(|own| own == object)))
    }

    fn made(&self, session: &str, object: &str) {
        let now = self.clock.now();
        let before = self.record(record::Kind::ViewerSession, session).filter(|record| !record.is_over(now));
        let mut owned = match before.as_deref().map(|record| &record.body) {
            Some(Body::ViewerSession(session)) => session.owned.clone(),
            _ => Vec::new(),
        };
        if owned.len() >= MOST_OWNED || owned.iter().any(|own| own == object) {
            return;
        }
        owned.push(object.to_owned());
        let account = before.map_or_else(|| super::Account::new("viewers"), |record| record.account.clone());
        let body = Body::ViewerSession(record::ViewerSession { owned });
        self.send(Record::new(&account, session, now, body).until(now.plus(OWNER_FOR)));
    }
}

/// A record in the words of the rules; `None` for kinds that no rule asks for.
#[must_use]
pub fn issue(record: &Record) -> Option<Issue> {
    let account = record.account.as_str().to_owned();
    Some(match &record.body {
        Body::UploadToken(token) => Issue::UploadToken(UploadToken { account, ttl: token.ttl, created: record.created }),
        Body::PrivateToken(token) => Issue::PrivateToken(PrivateToken {
            account,
            video: token.video.clone(),
            secret: record.secret.as_ref()?.expose().clone(),
            created: record.created,
            until: record.expires,
            spent: token.used.is_some(),
        }),
        Body::AuthToken(token) => Issue::AuthToken(auth_token(record, token)),
        Body::VideoSettings(settings) => Issue::StreamVideo(StreamVideo {
            account,
            require_signed_urls: Some(settings.require_signed),
            allowed_origins: settings.allowed_origins.clone(),
            created: record.created.0,
            modified: settings.other.get("modified").and_then(serde_json::Value::as_i64).unwrap_or(record.created.0),
        }),
        _ => return None,
    })
}

/// A Ziggeo token of the ledger in the words of the rules.
#[must_use]
pub fn auth_token(record: &Record, token: &record::AuthToken) -> AuthToken {
    AuthToken {
        account: record.account.as_str().to_owned(),
        key: (!token.key.is_empty()).then(|| token.key.clone()),
        volatile: token.volatile,
        hidden: token.hidden,
        expiration_date: token.expiration_date,
        usage_expiration_time: token.usage_expiration_time,
        session_limit: token.session_limit,
        // What was written down is in its canonical form; anything else would be a broken record, which allows nothing.
        grants: fields::grants(&token.grants).unwrap_or_default(),
        changed: record.created.0,
    }
}
