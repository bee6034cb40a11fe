//! What has been withdrawn before its time.
//!
//! Asked on every request, from memory: with nothing withdrawn it costs one load. Each entry has an end, after which the
//! token it is about is expired anyway. The list is bounded; over the bound a revocation is refused with
//! a fault that its operator sees, and none that holds is ever forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::session::{Change, End, Key, Session, SessionId, Sessions};
use crate::token::Grant;

/// What is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "by", content = "value", rename_all = "snake_case")]
pub enum Target {
    /// One token, by its key (see [`Key::token`]).
    Token(Key),
    /// Every token with this id (`jti`).
    TokenId(String),
    /// Every token of this subject.
    Subject(String),
    /// One session; its token may open others.
    Session(SessionId),
    /// Every token signed with this key.
    KeyId(String),
    /// Every token for this asset.
    Asset(String),
}

impl Target {
    /// Its kind's one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::TokenId(_) => "token_id",
            Self::Subject(_) => "subject",
            Self::Session(_) => "session",
            Self::KeyId(_) => "key_id",
            Self::Asset(_) => "asset",
        }
    }

    /// Whether this is what `facts` tell of.
    #[must_use]
    pub fn holds(&self, facts: &RevocationFacts<'_>) -> bool {
        match self {
            Self::Token(key) => *key == facts.token,
            Self::TokenId(id) => facts.grant.token_id.as_deref() == Some(id),
            Self::Subject(subject) => facts.grant.subject.as_deref() == Some(subject),
            Self::Session(id) => facts.session == Some(*id),
            Self::KeyId(id) => facts.grant.key_id.as_deref() == Some(id),
            Self::Asset(asset) => facts.grant.resource.as_deref() == Some(asset),
        }
    }
}

/// One withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What.
    #[serde(flatten)]
    pub target: Target,
    /// Since when.
    pub since: UnixTime,
    /// The first second in which it no longer holds.
    pub until: UnixTime,
}

/// What is known of a request's token.
#[derive(Debug, Clone, Copy)]
pub struct RevocationFacts<'r> {
    /// The token's key.
    pub token: Key,
    /// What it allows: its id, subject, key and asset.
    pub grant: &'r Grant,
    /// The session, if there is one.
    pub session: Option<SessionId>,
}

impl<'r> From<&'r Session> for RevocationFacts<'r> {
    fn from(session: &'r Session) -> Self {
        Self { token: session.keys.token, grant: &session.grant, session: Some(session.id) }
    }
}

/// There are too many revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {0} revocations already; withdraw a signing key instead, or wait for some to end")]
pub struct Full(pub usize);

/// All revocations that hold.
#[derive(Debug)]
pub struct Revocations {
    most: usize,
    /// How many there are, so that the common case takes no lock.
    count: AtomicUsize,
    lists: RwLock<Lists>,
}

/// One map a kind, so that a request asks only the kinds that are in use, and by borrowed text.
#[derive(Debug, Default)]
struct Lists {
    tokens: HashMap<Key, Span, ahash::RandomState>,
    token_ids: HashMap<String, Span, ahash::RandomState>,
    subjects: HashMap<String, Span, ahash::RandomState>,
    sessions: HashMap<SessionId, Span, ahash::RandomState>,
    key_ids: HashMap<String, Span, ahash::RandomState>,
    assets: HashMap<String, Span, ahash::RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    since: UnixTime,
    until: UnixTime,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new(Self::MOST)
    }
}

impl Revocations {
    /// Most revocations at the same time (about 150 bytes each).
    pub const MOST: usize = 100_000;

    /// A list that holds `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, count: AtomicUsize::new(0), lists: RwLock::default() }
    }

    /// Withdraws, at once: whoever asks after this returned is refused. Of two of the same target, the longer one holds.
    ///
    /// # Errors
    /// [`Full`], with nothing changed.
    pub fn add(&self, revocation: &Revocation, now: UnixTime) -> Result<(), Full> {
        if revocation.until <= now {
            return Ok(());
        }
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= self.most && !lists.has(&revocation.target) {
            lists.sweep(now);
            if lists.len() >= self.most {
                self.count.store(lists.len(), Ordering::Release);
                return Err(Full(self.most));
            }
        }
        lists.put(revocation);
        self.count.store(lists.len(), Ordering::Release);
        Ok(())
    }

    /// [`add`](Self::add), and ends the sessions it is about. Answers with how many.
    ///
    /// # Errors
    /// [`Full`], with nothing changed.
    pub fn revoke(&self, revocation: &Revocation, sessions: &Sessions, now: UnixTime) -> Result<usize, Full> {
        self.add(revocation, now)?;
        if revocation.until <= now {
            return Ok(0);
        }
        Ok(sessions.end_where(End::Revoked, now, |session| revocation.target.holds(&session.into())).len())
    }

    /// Does here what happened on other gateways. Of several words on one target the last one counts, and sessions are
    /// looked through once for all of them. After [`Change::Gap`] and [`Change::Lost`] its caller has more to do.
    ///
    /// # Errors
    /// [`Full`], when one of them found no room; the others hold.
    pub fn follow(&self, changes: &[Change], sessions: &Sessions, now: UnixTime) -> Result<(), Full> {
        let mut last: HashMap<&Target, Option<&Revocation>> = HashMap::new();
        for change in changes {
            match change {
                Change::Ended { id, end } => drop(sessions.end(*id, *end, now)),
                Change::Revoked { revocation } => drop(last.insert(&revocation.target, Some(revocation))),
                Change::Restored { revocation } => drop(last.insert(&revocation.target, None)),
                Change::Gap | Change::Lost => {}
            }
        }
        for target in last.iter().filter_map(|(target, word)| word.is_none().then_some(*target)) {
            self.restore(target);
        }
        self.withdraw(last.into_values().flatten(), sessions, now)
    }

    /// Adds all of `revocations`, and ends the sessions that they are about, which are looked through once.
    ///
    /// # Errors
    /// [`Full`], when one of them found no room; the others hold.
    pub fn withdraw<'r>(
        &self,
        revocations: impl IntoIterator<Item = &'r Revocation>,
        sessions: &Sessions,
        now: UnixTime,
    ) -> Result<(), Full> {
        let mut outcome = Ok(());
        let mut any = false;
        for revocation in revocations {
            any = true;
            outcome = outcome.and(self.add(revocation, now));
        }
        if any {
            sessions.end_where(End::Revoked, now, |session| self.is_revoked(&session.into(), now));
        }
        outcome
    }

    /// Takes a revocation back. Sessions that it ended stay ended. Answers whether there was one.
    pub fn restore(&self, target: &Target) -> bool {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let had = lists.remove(target);
        self.count.store(lists.len(), Ordering::Release);
        had
    }

    /// Whether any of it has been withdrawn.
    #[must_use]
    pub fn is_revoked(&self, facts: &RevocationFacts<'_>, now: UnixTime) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.lists.read().unwrap_or_else(PoisonError::into_inner).find(facts, now)
    }

    /// Those that hold at `now`, in an order of their own that stays the same.
    #[must_use]
    pub fn list(&self, now: UnixTime) -> Vec<Revocation> {
        let mut all = self.lists.read().unwrap_or_else(PoisonError::into_inner).all();
        all.retain(|revocation| revocation.until > now);
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    }

    /// Drops those that ended.
    pub fn sweep(&self, now: UnixTime) {
        if self.is_empty() {
            return;
        }
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        lists.sweep(now);
        self.count.store(lists.len(), Ordering::Release);
    }

    /// How many there are, those included that ended since the last sweep.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Lists {
    fn len(&self) -> usize {
        let texts = [&self.token_ids, &self.subjects, &self.key_ids, &self.assets];
        self.tokens.len() + self.sessions.len() + texts.iter().map(|list| list.len()).sum::<usize>()
    }

    fn has(&self, target: &Target) -> bool {
        match target {
            Target::Token(key) => self.tokens.contains_key(key),
            Target::TokenId(text) => self.token_ids.contains_key(text),
            Target::Subject(text) => self.subjects.contains_key(text),
            Target::Session(id) => self.sessions.contains_key(id),
            Target::KeyId(text) => self.key_ids.contains_key(text),
            Target::Asset(text) => self.assets.contains_key(text),
        }
    }

    fn put(&mut self, revocation: &Revocation) {
        let span = Span { since: revocation.since, until: revocation.until };
        match &revocation.target {
            Target::Token(key) => put(&mut self.tokens, key, span),
            Target::TokenId(text) => put(&mut self.token_ids, text, span),
            Target::Subject(text) => put(&mut self.subjects, text, span),
            Target::Session(id) => put(&mut self.sessions, id, span),
            Target::KeyId(text) => put(&mut self.key_ids, text, span),
            Target::Asset(text) => put(&mut self.assets, text, span),
        }
    }

    fn remove(&mut self, target: &Target) -> bool {
        let had = match target {
            Target::Token(key) => self.tokens.remove(key),
            Target::TokenId(text) => self.token_ids.remove(text),
            Target::Subject(text) => self.subjects.remove(text),
            Target::Session(id) => self.sessions.remove(id),
            Target::KeyId(text) => self.key_ids.remove(text),
            Target::Asset(text) => self.assets.remove(text),
        };
        had.is_some()
    }

    fn find(&self, facts: &RevocationFacts<'_>, now: UnixTime) -> bool {
        let holds = |span: Option<&Span>| span.is_some_and(|span| span.until > now);
        let grant = facts.grant;
        let texts = [
            (&self.token_ids, &grant.token_id),
            (&self.subjects, &grant.subject),
            (&self.key_ids, &grant.key_id),
            (&self.assets, &grant.resource),
        ];
        (!self.tokens.is_empty() && holds(self.tokens.get(&facts.token)))
            || facts.session.is_some_and(|id| !self.sessions.is_empty() && holds(self.sessions.get(&id)))
            || texts.iter().any(|(list, text)| !list.is_empty() && text.as_deref().is_some_and(|text| holds(list.get(text))))
    }

    fn all(&self) -> Vec<Revocation> {
        let mut all = Vec::with_capacity(self.len());
        let mut add = |target: Target, span: &Span| all.push(Revocation { target, since: span.since, until: span.until });
        self.tokens.iter().for_each(|(key, span)| add(Target::Token(*key), span));
        self.sessions.iter().for_each(|(id, span)| add(Target::Session(*id), span));
        self.token_ids.iter().for_each(|(text, span)| add(Target::TokenId(text.clone()), span));
        self.subjects.iter().for_each(|(text, span)| add(Target::Subject(text.clone()), span));
        self.key_ids.iter().for_each(|(text, span)| add(Target::KeyId(text.clone()), span));
        self.assets.iter().for_each(|(text, span)| add(Target::Asset(text.clone()), span));
        all
    }

    fn sweep(&mut self, now: UnixTime) {
        self.tokens.retain(|_, span| span.until > now);
        self.sessions.retain(|_, span| span.until > now);
        for list in [&mut self.token_ids, &mut self.subjects, &mut self.key_ids, &mut self.assets] {
            list.retain(|_, span| span.until > now);
        }
    }
}

fn put<K: Eq + Hash + Clone>(list: &mut HashMap<K, Span, ahash::RandomState>, key: &K, span: Span) {
    let have = list.entry(key.clone()).or_insert(span);
    have.until = have.until.max(span.until);
    have.since = have.since.min(span.since);
}

#[cfg(test)]
mod tests;
