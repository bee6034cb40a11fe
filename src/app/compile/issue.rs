//! The parts of a config that issue tokens: the ledger, and the control listener's side.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::{Purpose, Work};
use crate::clock::{Clock, UnixTime};
use crate::config::KeyPath;
use crate::control::dialects::Dialects;
use crate::control::serve::Front;
use crate::control::{Desk, Gate};
use crate::ledger::{Body, Change, Follower, KeyRing, Kind, Ledger, LedgerConfig, Record};
use crate::name::Name;
use crate::proxy::State;
use crate::revocation::Revocations;
use crate::server::tls;
use crate::session::Sessions;
use crate::store::valkey::Place;
use crate::verifier::RouteScheme;
use crate::verifier::used::Claims;

impl Work<'_> {
    /// The ledger: opened once, at the start. Another folder takes a restart.
    pub(super) fn ledger(&mut self, purpose: Purpose<'_>, clock: &Clock) {
        let Some(config) = &self.config.ledger else { return };
        match purpose {
            Purpose::Try => {}
            Purpose::Start => {
                let opened = open(config, clock);
                self.parts.ledger = self.note(KeyPath::top("ledger"), opened);
            }
            Purpose::Reload(before) if before.ledger.is_some() => {
                self.parts.ledger.clone_from(&before.ledger);
                self.parts.withdrawing.clone_from(&before.withdrawing);
            }
            Purpose::Reload(_) => self.unfit.push((KeyPath::top("ledger"), "a ledger is opened at the start only: restart".into())),
        }
    }

    /// The control listener's TLS: read anew each time, as files change under the same names.
    pub(super) fn front(&mut self) -> Option<Option<tokio_rustls::TlsAcceptor>> {
        let control = self.config.control.as_ref()?;
        let Some(tls) = &control.tls else { return Some(None) };
        // The listener speaks HTTP/1.1 alone.
        let tls = crate::server::TlsConfig { http2: false, ..tls.clone() };
        let made = tls::server_config(&tls, Path::new("/"), self.metrics);
        let made = self.note(KeyPath::top("control").key("tls"), made)?;
        Some(Some(tokio_rustls::TlsAcceptor::from(Arc::new(made))))
    }

    /// What the control listener serves by.
    pub(super) fn desk(
        &mut self,
        front: Option<Option<tokio_rustls::TlsAcceptor>>,
        state: &Arc<State>,
        schemes: HashMap<Name, RouteScheme>,
        purpose: Purpose<'_>,
    ) {
        let (Some(control), Some(tls), Some((ledger, keys))) = (&self.config.control, front, self.parts.ledger.clone()) else { return };
        let key = KeyPath::top("control").key("api_keys");
        let Some(gate) = self.note(key, Gate::new(control, ledger.clone())) else { return };
        let gate = match purpose {
            Purpose::Reload(before) => before.front.iter().fold(gate, |gate, before| gate.going_on(&before.desk.gate)),
            Purpose::Try | Purpose::Start => gate,
        };
        let desk = Desk {
            ledger: ledger.clone(),
            keys,
            gate,
            config: control.clone(),
            clock: state.clock.clone(),
            state: state.clone(),
            schemes: schemes.into_values().collect(),
        };
        if matches!(purpose, Purpose::Start) {
            let withdrawn = withdraw(&ledger, state);
            self.parts.withdrawing = self.note(KeyPath::top("ledger"), withdrawn);
        }
        self.parts.front = Some(Front { tls, dialects: Dialects::new(&control.base), desk: Arc::new(desk) });
    }
}

impl Work<'_> {
    /// Where uses of tokens are told to the fleet: with its ledger, else with its sessions.
    pub(super) fn claims(&self) -> Option<Arc<dyn Claims>> {
        let ledger = self.parts.ledger().filter(Ledger::is_shared).map(|ledger| Arc::new(ledger) as Arc<dyn Claims>);
        ledger.or_else(|| self.parts.shared.clone().map(|store| store as Arc<dyn Claims>))
    }
}

fn open(config: &LedgerConfig, clock: &Clock) -> Result<(Ledger, Arc<KeyRing>), String> {
    let thread = std::thread::Builder::new().name("ledger".into());
    // The thread ends when the last holder of the ledger lets go of it.
    let around = Place { folder: Path::new("/"), variable: &|name| std::env::var(name).ok() };
    let ledger = Ledger::open(config, (around, clock), |work| thread.spawn(work).map(drop).map_err(|e| format!("no thread: {e}")))?;
    let ring = KeyRing::of(&ledger).map_err(|fault| fault.to_string())?;
    Ok((ledger, ring))
}

/// Withdraws here what was withdrawn through the control API: before a restart, and by other gateways that share the ledger.
struct Withdrawing {
    sessions: Sessions,
    revocations: Arc<Revocations>,
    clock: Clock,
}

impl Withdrawing {
    fn take(&self, record: &Record, now: UnixTime) {
        if let Body::Revoked(revocation) = &record.body
            && !record.is_over(now)
            && let Err(error) = self.revocations.revoke(revocation, &self.sessions, now)
        {
            tracing::error!(%error, "what was withdrawn is not withdrawn here");
        }
    }
}

impl Follower for Withdrawing {
    fn follow(&self, changes: &[Change]) {
        let now = self.clock.now();
        // What was withdrawn here is so already.
        changes.iter().filter(|change| !change.ours).filter_map(|change| change.now.as_ref()).for_each(|record| self.take(record, now));
    }

    fn start_over(&self, records: &[Arc<Record>]) {
        let now = self.clock.now();
        records.iter().for_each(|record| self.take(record, now));
    }
}

/// What was withdrawn stays withdrawn over a restart, and over the fleet.
fn withdraw(ledger: &Ledger, state: &State) -> Result<Arc<dyn Follower>, String> {
    let (sessions, revocations, clock) = (state.sessions.clone(), state.revocations.clone(), state.clock.clone());
    let follower: Arc<dyn Follower> = Arc::new(Withdrawing { sessions, revocations, clock });
    ledger.follow(&follower, Kind::Revoked).map_err(|fault| fault.to_string())?;
    Ok(follower)
}
