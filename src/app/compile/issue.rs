//! The parts of a config that issue tokens: the ledger, and the control listener's side.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::{Purpose, Work};
use crate::config::KeyPath;
use crate::control::dialects::Dialects;
use crate::control::serve::Front;
use crate::control::{Desk, Gate};
use crate::ledger::{Body, KeyRing, Kind, Ledger, LedgerConfig};
use crate::name::Name;
use crate::proxy::State;
use crate::server::tls;
use crate::verifier::RouteScheme;

impl Work<'_> {
    /// The ledger: opened once, at the start. Another folder takes a restart.
    pub(super) fn ledger(&mut self, purpose: Purpose<'_>) {
        let Some(config) = &self.config.ledger else { return };
        match purpose {
            Purpose::Try => {}
            Purpose::Start => {
                let opened = open(config);
                self.parts.ledger = self.note(KeyPath::top("ledger"), opened);
            }
            Purpose::Reload(before) if before.ledger.is_some() => self.parts.ledger = before.ledger.clone(),
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
            self.note(KeyPath::top("ledger"), withdrawn);
        }
        self.parts.front = Some(Front { tls, dialects: Dialects::new(&control.base), desk: Arc::new(desk) });
    }
}

fn open(config: &LedgerConfig) -> Result<(Ledger, Arc<KeyRing>), String> {
    let thread = std::thread::Builder::new().name("ledger".into());
    // The thread ends when the last holder of the ledger lets go of it.
    let ledger = Ledger::open(config, |work| thread.spawn(work).map(drop).map_err(|e| format!("no thread: {e}")))?;
    let ring = KeyRing::of(&ledger).map_err(|fault| fault.to_string())?;
    Ok((ledger, ring))
}

/// What was withdrawn through the control API stays withdrawn over a restart.
fn withdraw(ledger: &Ledger, state: &State) -> Result<(), String> {
    let now = state.clock.now();
    let mut refused = None;
    let each = ledger.each(Some(Kind::Revoked), |record| {
        if let Body::Revoked(revocation) = &record.body
            && !record.is_over(now)
            && let Err(full) = state.revocations.revoke(revocation, &state.sessions, now)
        {
            refused = Some(full.to_string());
        }
    });
    each.map_err(|fault| fault.to_string())?;
    refused.map_or(Ok(()), Err)
}
