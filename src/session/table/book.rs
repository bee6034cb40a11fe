//! Who holds which place. Everything here runs under the table's one lock, and waits for nothing.
//!
//! A decision is made whole before anything is changed: room is looked for under every limit, the sessions that would
//! have to end are chosen, and only when all of it can be met do they end and the new one begins.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::super::store::Answer;
use super::super::sync::atomic::{AtomicUsize, Ordering};
use super::super::{Admission, Ask, End, Key, Keys, Limit, OnFull, Session, SessionId, SessionRefusal, Terms};
use super::shards::Shards;
use crate::clock::UnixTime;
use crate::metrics::Metrics;
use crate::name::Name;

/// What the book works with and does not own.
pub(super) struct Surroundings<'t> {
    pub(super) shards: &'t Shards,
    pub(super) live: &'t AtomicUsize,
    pub(super) most: usize,
    pub(super) metrics: &'t Metrics,
}

/// What places are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Token,
    Subject,
    Device,
    Asset,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Token, Self::Subject, Self::Device, Self::Asset];

    const fn key(self, keys: &Keys) -> Option<Key> {
        match self {
            Self::Token => Some(keys.token),
            Self::Subject => keys.subject,
            Self::Device => keys.device,
            Self::Asset => keys.asset,
        }
    }

    const fn most(self, terms: &Terms) -> Option<u32> {
        match self {
            Self::Token => terms.per_token,
            Self::Subject => terms.per_subject,
            Self::Device => terms.per_device,
            Self::Asset => terms.per_asset,
        }
    }

    const fn limit(self) -> Limit {
        match self {
            Self::Token => Limit::ConcurrentToken,
            Self::Subject => Limit::ConcurrentSubject,
            Self::Device => Limit::ConcurrentDevice,
            Self::Asset => Limit::ConcurrentAsset,
        }
    }
}

/// The live sessions of one token, subject, device or asset.
struct Holders {
    /// By when they began. Most leave near the front, where leaving costs little.
    list: VecDeque<Arc<Session>>,
    /// The second in which they were last looked through for silent ones: in the same one nothing has changed.
    swept: UnixTime,
}

/// What is known of a token beyond its live sessions, until the token's own end.
struct TokenLife {
    total: u32,
    networks: Vec<(Key, UnixTime)>,
    until: UnixTime,
}

/// Most networks remembered of one token where they are only observed.
const NETWORKS_OBSERVED: usize = 256;
/// Tokens with counts that outlive sessions, as a multiple of the sessions.
const TOKENS_PER_SESSION: usize = 4;
/// Seconds for which a viewer's end is kept in mind on a token that has none.
const OVER_FOR: i64 = 24 * 3600;

#[derive(Default)]
pub(super) struct Book {
    places: HashMap<(Kind, Key), Holders, ahash::RandomState>,
    viewers: HashMap<(Key, Name), SessionId, ahash::RandomState>,
    tokens: HashMap<Key, TokenLife, ahash::RandomState>,
    /// Ended sessions that are still in the shards, with their hard ends, by when they ended.
    ended: VecDeque<(SessionId, UnixTime)>,
    /// Sessions that ended since somebody asked, for what is kept elsewhere on their behalf.
    pub(super) gone: Vec<(SessionId, End)>,
    /// Viewers whose time on a token is over for good, until the token's own end.
    over: HashMap<(Key, Name), UnixTime, ahash::RandomState>,
    order: u64,
    tokens_swept: Option<UnixTime>,
}

/// Sessions that have to end.
#[derive(Default)]
struct Plan {
    list: Vec<(Arc<Session>, End)>,
    chosen: HashSet<u64>,
}

impl Plan {
    fn take(&mut self, session: &Arc<Session>, end: End) -> bool {
        let new = self.chosen.insert(session.order);
        if new {
            self.list.push((session.clone(), end));
        }
        new
    }

    fn frees(&self, kind: Kind, key: Key) -> usize {
        self.list.iter().filter(|(session, _)| kind.key(&session.keys) == Some(key)).count()
    }
}

impl Book {
    /// `before` is the paused session that comes back, if one does.
    pub(super) fn admit(&mut self, ask: &Ask, before: Option<&Session>, around: &Surroundings<'_>) -> Result<Admission, SessionRefusal> {
        let refuse = |limit| SessionRefusal { limit };
        if let Some(session) = self.own(ask, around) {
            let over = self.recheck(&session, ask).map_err(refuse)?;
            return Ok(Admission { session, evicted: Vec::new(), over, fresh: false });
        }
        if self.is_over(ask) {
            return Err(refuse(Limit::Duration));
        }
        let id = before.map_or_else(|| SessionId::new(ask.now), |before| before.id);
        if ask.terms.ends(id.started(), ask.grant.window.until) <= ask.now {
            return Err(refuse(Limit::Duration));
        }
        let mut over = None;
        let plan = self.make_room(ask, &mut over, around).map_err(refuse)?;
        self.check_token(ask, before.is_some(), &mut over, around).map_err(refuse)?;
        if around.live.load(Ordering::Relaxed).saturating_sub(plan.list.len()) >= around.most {
            return Err(refuse(Limit::Ceiling));
        }
        let evicted = plan.list.iter().map(|(session, _)| session.id).collect();
        for (session, end) in &plan.list {
            self.finish(session, *end, ask.now, around);
        }
        self.count_token(ask, before.is_some());
        let session = self.begin(id, ask, around);
        if let Some(before) = before {
            session.go_on_from(before);
        }
        Ok(Admission { session, evicted, over, fresh: true })
    }

    /// Whether the viewer has had its time on a token that gives it once.
    fn is_over(&self, ask: &Ask) -> bool {
        ask.grant.session.once && self.over.get(&(ask.viewer.key, ask.route.clone())).is_some_and(|until| *until > ask.now)
    }

    /// Keeps in mind that a viewer has had its time.
    fn note_over(&mut self, session: &Session, end: End, now: UnixTime, most: usize) {
        let timed = session.grant.session.once && session.grant.session.seconds.is_some();
        if end != End::Duration || !timed || session.grant.window.until <= now {
            return;
        }
        if self.over.len() >= most {
            self.over.retain(|_, until| *until > now);
        }
        // Full of viewers whose time is over: one more is forgotten rather than somebody else's memory taken.
        if self.over.len() < most {
            self.over.insert((session.viewer.key, session.route.clone()), session.grant.window.until.min(now.plus(OVER_FOR)));
        }
    }

    /// The viewer's live session. One over its time ends here.
    pub(super) fn own(&mut self, ask: &Ask, around: &Surroundings<'_>) -> Option<Arc<Session>> {
        let id = *self.viewers.get(&(ask.viewer.key, ask.route.clone()))?;
        let session = around.shards.get(id).filter(|session| session.ended().is_none())?;
        if session.ends <= ask.now {
            self.finish(&session, End::Duration, ask.now, around);
            return None;
        }
        session.seen_at(ask.now);
        Some(session)
    }

    /// What can come to stand against a session that is there already.
    fn recheck(&mut self, session: &Session, ask: &Ask) -> Result<Option<Limit>, Limit> {
        let observed = |limit| if session.terms.on_full == OnFull::Observe { Ok(Some(limit)) } else { Err(limit) };
        if session.is_over_bytes() {
            return observed(Limit::Bytes);
        }
        let noted = if session.is_in(ask.network) { Ok(()) } else { self.roam(session, ask.network, ask.now) };
        let over = noted.map_or_else(observed, |()| Ok(None))?;
        // Only where it was let in: a network that was refused is refused again.
        session.move_to(ask.network);
        Ok(over)
    }

    /// Chooses who has to end, so that there is a place under every limit.
    fn make_room(&mut self, ask: &Ask, over: &mut Option<Limit>, around: &Surroundings<'_>) -> Result<Plan, Limit> {
        let mut plan = Plan::default();
        for kind in Kind::ALL {
            let (Some(most), Some(key)) = (kind.most(&ask.terms), kind.key(&ask.keys)) else { continue };
            let most = most as usize;
            if self.taken(kind, key, &plan) < most {
                continue;
            }
            self.end_silent(kind, key, ask.now, around);
            let taken = self.taken(kind, key, &plan);
            if taken < most {
                continue;
            }
            let missing = self.choose((kind, key), taken + 1 - most, ask, &mut plan);
            if missing > 0 {
                if ask.terms.on_full != OnFull::Observe {
                    return Err(kind.limit());
                }
                over.get_or_insert(kind.limit());
            }
        }
        Ok(plan)
    }

    fn taken(&self, kind: Kind, key: Key, plan: &Plan) -> usize {
        let held = self.places.get(&(kind, key)).map_or(0, |holders| holders.list.len());
        held - plan.frees(kind, key)
    }

    /// Adds up to `need` holders of a place to the plan: first sessions of the same device, then, where that is
    /// the policy, those that began first. Answers how many are missing.
    fn choose(&self, place: (Kind, Key), mut need: usize, ask: &Ask, plan: &mut Plan) -> usize {
        let holders = || self.places.get(&place).into_iter().flat_map(|holders| &holders.list);
        let own = |session: &&Arc<Session>| ask.viewer.device.is_some() && session.viewer.device == ask.viewer.device;
        for session in holders().filter(own) {
            if need > 0 && plan.take(session, End::Replaced) {
                need -= 1;
            }
        }
        if ask.terms.on_full == OnFull::EvictOldest {
            for session in holders() {
                if need > 0 && plan.take(session, End::Evicted) {
                    need -= 1;
                }
            }
        }
        need
    }

    fn end_silent(&mut self, kind: Kind, key: Key, now: UnixTime, around: &Surroundings<'_>) {
        let Some(holders) = self.places.get_mut(&(kind, key)).filter(|holders| holders.swept != now) else { return };
        holders.swept = now;
        let due: Vec<_> = holders.list.iter().filter_map(|session| Some((session.clone(), session.is_due(now)?))).collect();
        for (session, end) in due {
            self.finish(&session, end, now, around);
        }
    }

    /// The limits that go by the token's whole life. No eviction can meet them.
    fn check_token(&mut self, ask: &Ask, resumes: bool, over: &mut Option<Limit>, around: &Surroundings<'_>) -> Result<(), Limit> {
        if ask.terms.total.is_none() && ask.terms.networks.is_none() {
            return Ok(());
        }
        let Some(life) = self.tokens.get_mut(&ask.keys.token) else {
            let nothing = ask.terms.total == Some(0) || ask.terms.networks == Some(0);
            return match (nothing, ask.terms.total) {
                (true, Some(0)) => stop(ask, over, Limit::TotalToken),
                (true, _) => stop(ask, over, Limit::Networks),
                (false, _) => self.room_for_token(ask.now, around),
            };
        };
        if !resumes && ask.terms.total.is_some_and(|most| life.total >= most) {
            stop(ask, over, Limit::TotalToken)?;
        }
        if life.would_exceed(ask.network, &ask.terms, ask.now) {
            stop(ask, over, Limit::Networks)?;
        }
        Ok(())
    }

    fn room_for_token(&mut self, now: UnixTime, around: &Surroundings<'_>) -> Result<(), Limit> {
        let most = around.most.saturating_mul(TOKENS_PER_SESSION);
        if self.tokens.len() >= most && self.tokens_swept != Some(now) {
            self.tokens_swept = Some(now);
            self.tokens.retain(|_, life| life.until > now);
        }
        if self.tokens.len() >= most { Err(Limit::Ceiling) } else { Ok(()) }
    }

    fn count_token(&mut self, ask: &Ask, resumes: bool) {
        if ask.terms.total.is_none() && ask.terms.networks.is_none() {
            return;
        }
        let until = ask.grant.window.until.plus(i64::from(ask.terms.outlive));
        let life = self.tokens.entry(ask.keys.token).or_insert(TokenLife { total: 0, networks: Vec::new(), until });
        life.until = life.until.max(until);
        if !resumes {
            life.total = life.total.saturating_add(1);
        }
        life.note(ask.network, &ask.terms, ask.now);
    }

    /// A live session is seen in another network. Where that is one too many, it is noted only if it is let in.
    pub(super) fn roam(&mut self, session: &Session, network: Key, now: UnixTime) -> Result<(), Limit> {
        if session.terms.networks.is_none() {
            return Ok(());
        }
        let Some(life) = self.tokens.get_mut(&session.keys.token) else { return Ok(()) };
        let over = life.would_exceed(network, &session.terms, now);
        if !over || session.terms.on_full == OnFull::Observe {
            life.note(network, &session.terms, now);
        }
        if over { Err(Limit::Networks) } else { Ok(()) }
    }

    fn begin(&mut self, id: SessionId, ask: &Ask, around: &Surroundings<'_>) -> Arc<Session> {
        self.order += 1;
        let session = Arc::new(Session::new(id, ask, self.order));
        for kind in Kind::ALL {
            let Some(key) = kind.key(&session.keys) else { continue };
            let holders = self.places.entry((kind, key)).or_insert(Holders { list: VecDeque::with_capacity(1), swept: UnixTime::MIN });
            holders.list.push_back(session.clone());
        }
        self.viewers.insert((ask.viewer.key, ask.route.clone()), id);
        around.shards.put(session.clone());
        around.live.fetch_add(1, Ordering::Relaxed);
        let route = ask.route.as_str();
        around.metrics.sessions_active.with_label_values(&[route]).inc();
        around.metrics.sessions_admitted.with_label_values(&[route]).inc();
        session
    }

    /// Ends a live session and gives its places back. `false` when it had ended already.
    pub(super) fn finish(&mut self, session: &Arc<Session>, end: End, now: UnixTime, around: &Surroundings<'_>) -> bool {
        if !session.mark(end) {
            return false;
        }
        for kind in Kind::ALL {
            let Some(place) = kind.key(&session.keys).map(|key| (kind, key)) else { continue };
            let Some(holders) = self.places.get_mut(&place) else { continue };
            if let Ok(at) = holders.list.binary_search_by_key(&session.order, |held| held.order) {
                holders.list.remove(at);
            }
            if holders.list.is_empty() {
                self.places.remove(&place);
            }
        }
        self.note_over(session, end, now, around.most.saturating_mul(TOKENS_PER_SESSION));
        let viewer = (session.viewer.key, session.route.clone());
        if self.viewers.get(&viewer) == Some(&session.id) {
            self.viewers.remove(&viewer);
        }
        around.live.fetch_sub(1, Ordering::Relaxed);
        let route = session.route.as_str();
        around.metrics.sessions_active.with_label_values(&[route]).dec();
        around.metrics.sessions_ended.with_label_values(&[route, end.word()]).inc();
        self.ended.push_back((session.id, session.ends));
        // Nobody may be asking, so that there is an end to the list.
        if self.gone.len() < around.most.max(1) {
            self.gone.push((session.id, end));
        }
        if self.ended.len() > around.most.max(1) {
            self.forget(now, around);
        }
        true
    }

    /// Drops ended sessions that are past their hard end, and the longest ended ones of too many; and tokens past theirs.
    pub(super) fn forget(&mut self, now: UnixTime, around: &Surroundings<'_>) {
        let most = around.most.max(1);
        self.ended.retain(|(id, ends)| {
            let keep = *ends > now;
            if !keep {
                around.shards.forget(*id);
            }
            keep
        });
        // A tenth at once, so that not every end at a full list goes through all of it.
        if self.ended.len() > most {
            let keep = most - most / 10;
            for (id, _) in self.ended.drain(..self.ended.len() - keep) {
                around.shards.forget(id);
            }
        }
        if self.tokens_swept != Some(now) {
            self.tokens_swept = Some(now);
            self.tokens.retain(|_, life| life.until > now);
        }
    }

    /// Takes in what a shared store decided.
    pub(super) fn adopt(&mut self, ask: &Ask, answer: &Answer, around: &Surroundings<'_>) -> Result<Admission, SessionRefusal> {
        let (id, over, ended) = match answer {
            Answer::Refused { limit } => return Err(SessionRefusal { limit: *limit }),
            Answer::Admitted { id, over, evicted, .. } => (*id, *over, evicted),
        };
        for (id, end) in ended {
            if let Some(session) = around.shards.get(*id) {
                self.finish(&session, *end, ask.now, around);
            }
        }
        let evicted = ended.iter().map(|(id, _)| *id).collect();
        let before = around.shards.get(id);
        if let Some(session) = before.clone().filter(|session| session.ended().is_none()) {
            session.seen_at(ask.now);
            return Ok(Admission { session, evicted, over, fresh: false });
        }
        if around.live.load(Ordering::Relaxed) >= around.most {
            return Err(SessionRefusal { limit: Limit::Ceiling });
        }
        self.count_token(ask, before.is_some());
        let session = self.begin(id, ask, around);
        if let Some(before) = before {
            session.go_on_from(&before);
        }
        Ok(Admission { session, evicted, over, fresh: true })
    }
}

#[cfg(test)]
impl Book {
    /// Whether nothing counts any session as alive.
    pub(super) fn holds_no_place(&self) -> bool {
        self.places.is_empty() && self.viewers.is_empty()
    }
}

/// A limit is met: refused, or noted where limits are only observed.
fn stop(ask: &Ask, over: &mut Option<Limit>, limit: Limit) -> Result<(), Limit> {
    if ask.terms.on_full != OnFull::Observe {
        return Err(limit);
    }
    over.get_or_insert(limit);
    Ok(())
}

impl TokenLife {
    fn would_exceed(&mut self, network: Key, terms: &Terms, now: UnixTime) -> bool {
        let Some(most) = terms.networks else { return false };
        self.networks.retain(|(_, seen)| now.since(*seen) < i64::from(terms.network_window));
        !self.networks.iter().any(|(have, _)| *have == network) && self.networks.len() >= most as usize
    }

    fn note(&mut self, network: Key, terms: &Terms, now: UnixTime) {
        if terms.networks.is_none() {
            return;
        }
        let most = NETWORKS_OBSERVED.max(terms.networks.unwrap_or(0) as usize);
        let room = self.networks.len() < most;
        match self.networks.iter_mut().find(|(have, _)| *have == network) {
            Some((_, seen)) => *seen = now,
            None if room => self.networks.push((network, now)),
            None => {}
        }
    }
}
