//! The ledger as token rules look things up in it.
//!
//! Rules ask without waiting and without a time: what is over but not swept yet is given with its dates, which are
//! the rule's to judge. A file that cannot be read gives nothing, so that nobody is let in for it.
//!
//! A shared ledger may have to be asked over the network. So whoever has rules decide does it through [`Asked`]: what they
//! missed is noted there, is fetched, and they decide anew.

use std::cell::RefCell;
use std::sync::Arc;

use super::record::{self, Body, Role};
use super::{Batch, Fault, Ledger, Op, Recalled, Record};
use crate::clock::{Clock, UnixTime};
use crate::token::issued::{AccessToken, ApiKey, AuthToken, PrivateToken, StreamVideo, UploadToken};
use crate::token::scheme::digest::same;
use crate::token::ziggeo::fields;
use crate::token::{Issue, Issued, Kind};

/// Seconds that it is remembered which session made an object.
const OWNER_FOR: i64 = 24 * 3600;
/// Hexadecimal digits of a SHA-256; ids of keys are shorter.
const SHA256: usize = 64;

thread_local! {
    /// What the rules that decide on this thread right now have at hand. Rules are asked through types that know nothing of
    /// requests, and do not wait meanwhile.
    static ASKED: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

/// What rules asked for in one decision, and what of it was not at hand.
#[derive(Debug, Default)]
pub struct Asked {
    fetched: Vec<(record::Kind, Arc<str>, Option<Arc<Record>>)>,
    missing: Vec<(record::Kind, Arc<str>)>,
}

impl Asked {
    /// Has `rule` decide by memory and by what was fetched for it.
    pub fn ask<T>(&mut self, rule: impl FnOnce() -> T) -> T {
        let before = ASKED.replace(Some(std::mem::take(self)));
        let decided = rule();
        *self = ASKED.replace(before).unwrap_or_default();
        decided
    }

    /// Fetches what was missing. Whether anything was: the rule has to be asked again.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub async fn fetch(&mut self, ledger: &Ledger) -> Result<bool, Fault> {
        let missing = std::mem::take(&mut self.missing);
        for (kind, id) in &missing {
            let found = ledger.find(*kind, id, UnixTime::MIN).await?;
            self.fetched.push((*kind, id.clone(), found));
        }
        Ok(!missing.is_empty())
    }

    fn find(&mut self, kind: record::Kind, id: &str) -> Option<Arc<Record>> {
        let known = self.fetched.iter().find(|(of, name, _)| *of == kind && **name == *id);
        if known.is_none() {
            self.missing.push((kind, id.into()));
        }
        known.and_then(|(.., record)| record.clone())
    }
}

/// What `rule` decides when all that it asks for is at hand. It must change nothing, for it may be asked several times.
///
/// # Errors
/// As [`Ledger::find`].
pub async fn informed<T>(ledger: Option<&Ledger>, mut rule: impl FnMut() -> T) -> Result<T, Fault> {
    let mut asked = Asked::default();
    loop {
        let decided = asked.ask(&mut rule);
        match ledger {
            Some(ledger) if asked.fetch(ledger).await? => {}
            _ => return Ok(decided),
        }
    }
}

/// Looks things up in a ledger.
#[derive(Clone)]
pub struct Lookups {
    ledger: Ledger,
    clock: Clock,
    keys: Arc<[Arc<Issue>]>,
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookups")
    }
}

impl Lookups {
    /// Looks things up in `ledger`, and API keys among those of the config first.
    #[must_use]
    pub fn new(ledger: Ledger, clock: Clock, keys: impl IntoIterator<Item = ApiKey>) -> Self {
        Self { ledger, clock, keys: keys.into_iter().map(|key| Arc::new(Issue::ApiKey(key))).collect() }
    }

    /// A key of the config, by its name or by its hash: all of them are compared, so that how long it takes tells nothing.
    fn fixed(&self, id: &str) -> Option<Arc<Issue>> {
        let is = |issue: &Issue| matches!(issue, Issue::ApiKey(key) if key.id == id || same(key.sha256.as_bytes(), id.as_bytes()));
        self.keys.iter().fold(None, |found, issue| if is(issue) { Some(issue) } else { found }).cloned()
    }

    fn record(&self, kind: record::Kind, id: &str) -> Option<Arc<Record>> {
        match self.ledger.recall(kind, id) {
            Ok(Recalled::Known(found)) => found,
            Ok(Recalled::Unknown) => ASKED.with_borrow_mut(|asked| asked.as_mut()?.find(kind, id)),
            Err(fault) => {
                tracing::error!(%fault, kind = kind.word(), "the ledger cannot be read; what it holds lets nobody in");
                None
            }
        }
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
        let fixed = if kind == Kind::ApiKey { self.fixed(id) } else { None };
        // By their hash only keys of the config are found: a wrong key is not asked for over the network.
        if fixed.is_some() || (kind == Kind::ApiKey && id.len() == SHA256) {
            return fixed;
        }
        let of = match kind {
            Kind::UploadToken => record::Kind::UploadToken,
            Kind::PrivateToken => record::Kind::PrivateToken,
            Kind::AuthToken => record::Kind::AuthToken,
            Kind::StreamVideo => record::Kind::VideoSettings,
            Kind::ApiKey => record::Kind::ApiKey,
            Kind::AccessToken => record::Kind::Access,
        };
        self.record(of, id).and_then(|record| issue(&record)).map(Arc::new)
    }

    fn spend(&self, kind: Kind, id: &str) {
        let Some(record) = self.record(record::Kind::PrivateToken, id).filter(|_| kind == Kind::PrivateToken) else { return };
        let Body::PrivateToken(token) = &record.body else { return };
        let now = self.clock.now();
        let used = record::PrivateToken { used: Some(now), ..token.clone() };
        // Its sessions are made with the record's secret, and outlast the wait for the first use.
        let expires = record.expires.max(now.plus(PrivateToken::SESSION));
        self.send(Record { body: Body::PrivateToken(used), expires, ..Record::clone(&record) });
    }

    fn owns(&self, session: &str, object: &str) -> bool {
        self.record(record::Kind::ViewerSession, &owned(session, object)).is_some_and(|record| !record.is_over(self.clock.now()))
    }

    fn made(&self, session: &str, object: &str) {
        let now = self.clock.now();
        let body = Body::ViewerSession(record::ViewerSession { owned: vec![object.to_owned()] });
        self.send(Record::new(&super::Account::new("viewers"), &owned(session, object), now, body).until(now.plus(OWNER_FOR)));
    }
}

/// What says that a session made an object. One record for each, so that gateways that note some at the same time lose none.
fn owned(session: &str, object: &str) -> String {
    format!("{session}/{object}")
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
        Body::ApiKey(key) => Issue::ApiKey(ApiKey {
            account,
            id: record.id.to_string(),
            sha256: key.sha256.clone(),
            writes: key.role >= Role::Issuer,
            until: record.expires,
        }),
        // A refresh token opens nothing.
        Body::Access(access) if !access.refresh => {
            Issue::AccessToken(AccessToken { account, api_key: access.api_key.clone(), until: record.expires })
        }
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
