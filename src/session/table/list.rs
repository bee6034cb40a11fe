//! What operators see of the table.

use std::sync::Arc;

use super::super::{Session, SessionId};
use super::shards::Shards;

/// Which sessions to show. What is unset shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this route.
    pub route: Option<String>,
    /// Of this subject.
    pub subject: Option<String>,
    /// On this asset.
    pub asset: Option<String>,
    /// Of the token with this fingerprint.
    pub fingerprint: Option<String>,
    /// From this address.
    pub client_ip: Option<std::net::IpAddr>,
}

impl Filter {
    fn holds(&self, session: &Session) -> bool {
        let is = |wanted: &Option<String>, have: Option<&str>| wanted.as_deref().is_none_or(|wanted| have == Some(wanted));
        is(&self.route, Some(session.route.as_str()))
            && is(&self.subject, session.grant.subject.as_deref())
            && is(&self.asset, session.grant.resource.as_deref())
            && self.client_ip.is_none_or(|ip| ip == session.seen.client_ip)
            && self.fingerprint.as_ref().is_none_or(|wanted| *wanted == session.seen.fingerprint.to_string())
    }
}

/// Some of the sessions asked for.
#[derive(Debug, Clone)]
pub struct Page {
    /// These, oldest first.
    pub sessions: Vec<Arc<Session>>,
    /// How many the filter holds for in all.
    pub total: usize,
    /// What to ask for next; `None` when these were the last.
    pub next: Option<SessionId>,
}

pub(super) fn page(shards: &Shards, filter: &Filter, after: Option<SessionId>, most: usize) -> Page {
    let mut sessions = shards.select(|session| session.ended().is_none() && filter.holds(session));
    let total = sessions.len();
    // Ids sort by time: a page stays where it is while new sessions come.
    sessions.sort_by_key(|session| session.id);
    if let Some(after) = after {
        sessions.retain(|session| session.id > after);
    }
    let more = sessions.len() > most;
    sessions.truncate(most);
    let next = sessions.last().filter(|_| more).map(|session| session.id);
    Page { sessions, total, next }
}
