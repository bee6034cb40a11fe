//! One thread of the gateway: its runtime, its listeners, its connections, its upstream pool.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::Service;

use super::LimitsConfig;
use super::connection::{self, Protocols};
use super::watch::{TICK, Watch};
use crate::metrics::Metrics;
use crate::proxy::door::Door;
use crate::proxy::pool::Pool;
use crate::proxy::record::Journal;
use crate::proxy::request::Arrived;
use crate::proxy::{Body, Error, State};

/// The running config, as the server needs it; swapped whole by a reload.
pub struct Running {
    /// For the walk.
    pub state: Arc<State>,
    /// Limits on connections.
    pub limits: LimitsConfig,
    /// Per listener: what is done with its connections, by the address in the config.
    pub protocols: HashMap<SocketAddr, Protocols>,
    /// Ids of the origins in use, so that pools let go of others.
    pub origins: Vec<u64>,
}

/// How far the gateway is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Up,
    /// No new connections; those there are finish.
    Draining,
    /// Over.
    Down,
}

/// Connections counted over all threads.
#[derive(Default)]
pub struct Census {
    all: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

/// What every worker is given.
#[derive(Clone)]
pub struct Shared {
    /// The running config.
    pub running: Arc<ArcSwap<Running>>,
    /// Counters.
    pub metrics: Metrics,
    /// Connections.
    pub census: Arc<Census>,
    /// How far it is on its way down.
    pub stage: watch::Receiver<Stage>,
}

/// What the connections of one thread share.
pub struct Worker<W> {
    /// Their door.
    pub door: Rc<Door<W>>,
    /// Their deadlines.
    pub watch: Watch,
    /// Counters.
    pub metrics: Metrics,
    running: Arc<ArcSwap<Running>>,
    draining: Cell<bool>,
}

impl<W> Worker<W> {
    /// The config as of now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.running.load().state.clone()
    }

    /// Whether it takes nothing new.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Counts a connection that the gateway ended.
    pub fn closed(&self, reason: &str) {
        self.metrics.connections_closed.with_label_values(&[reason]).inc();
    }
}

/// Runs one worker until the gateway is down. `listeners` are its own sockets, each with the address
/// that the config knows it by.
pub async fn run(shared: Shared, listeners: Vec<(SocketAddr, TcpListener)>, journal: Rc<dyn Journal>) {
    let pool = Rc::new(Pool::default());
    let worker = Rc::new(Worker {
        door: Rc::new(Door::new(crate::proxy::walk(pool.clone()), journal)),
        watch: Watch::default(),
        metrics: shared.metrics.clone(),
        running: shared.running.clone(),
        draining: Cell::new(false),
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|(known_as, listener)| tokio::task::spawn_local(accept(worker.clone(), shared.clone(), known_as, listener)))
        .collect();
    let mut stage = shared.stage.clone();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => sweep(&worker, &pool, &shared),
            changed = stage.changed() => {
                let now = if changed.is_ok() { *stage.borrow_and_update() } else { Stage::Down };
                if now >= Stage::Draining && !worker.draining.replace(true) {
                    accepting.iter().for_each(tokio::task::JoinHandle::abort);
                    worker.watch.drain();
                }
                if now == Stage::Down {
                    worker.watch.end_all();
                    tokio::task::yield_now().await;
                    return;
                }
            }
        }
        if worker.draining() && worker.watch.is_empty() {
            return;
        }
    }
}

fn sweep<W>(worker: &Worker<W>, pool: &Pool, shared: &Shared) {
    let running = shared.running.load();
    worker.watch.sweep(Instant::now(), &running.limits);
    pool.sweep(|origin| running.origins.contains(&origin));
}

async fn accept<W>(worker: Rc<Worker<W>>, shared: Shared, known_as: SocketAddr, listener: TcpListener)
where
    W: Service<Arrived, Response = http::Response<Body>, Error = Error> + Clone + 'static,
    W::Future: 'static,
{
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => admit(&worker, &shared, known_as, tcp, peer.ip()),
            Err(error) => {
                // Out of descriptors: accepting again at once would spin; others may close meanwhile.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn admit<W>(worker: &Rc<Worker<W>>, shared: &Shared, known_as: SocketAddr, tcp: TcpStream, peer: IpAddr)
where
    W: Service<Arrived, Response = http::Response<Body>, Error = Error> + Clone + 'static,
    W::Future: 'static,
{
    let running = shared.running.load_full();
    // A listener that the config no longer names still accepts until a restart; it serves nobody.
    let Some(protocols) = running.protocols.get(&known_as).cloned() else { return };
    let counted = match Counted::new(&shared.census, peer, &running.limits) {
        Ok(counted) => counted,
        Err(reason) => return worker.closed(reason),
    };
    let _ = tcp.set_nodelay(true);
    worker.metrics.connections.inc();
    let metrics = worker.metrics.clone();
    let serving = connection::serve(worker.clone(), running, tcp, peer, protocols);
    tokio::task::spawn_local(async move {
        serving.await;
        metrics.connections.dec();
        drop(counted);
    });
}

/// A connection in the census; leaves it by being dropped.
struct Counted {
    census: Arc<Census>,
    subscriber: Option<IpAddr>,
}

impl Counted {
    fn new(census: &Arc<Census>, peer: IpAddr, limits: &LimitsConfig) -> Result<Self, &'static str> {
        let limit = limits.max_connections;
        census.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1)).map_err(|_| "limit")?;
        let mut counted = Self { census: census.clone(), subscriber: None };
        if limits.max_connections_per_ip > 0 {
            let subscriber = subscriber(peer);
            let mut by_ip = lock(&census.by_ip);
            let count = by_ip.entry(subscriber).or_default();
            if *count >= limits.max_connections_per_ip {
                return Err("limit_per_ip");
            }
            *count += 1;
            drop(by_ip);
            counted.subscriber = Some(subscriber);
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Ordering::AcqRel);
        let Some(subscriber) = self.subscriber else { return };
        let mut by_ip = lock(&self.census.by_ip);
        if let Some(count) = by_ip.get_mut(&subscriber) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&subscriber);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The holder does arithmetic only; a poisoned lock still holds true counts.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// IPv6 by its /64: that is one subscriber.
fn subscriber(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let census = Arc::new(Census::default());
        let limits = LimitsConfig { max_connections: 3, max_connections_per_ip: 2, ..LimitsConfig::default() };
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = Counted::new(&census, a, &limits).map_err(|_| ()).expect("place");
        let _second = Counted::new(&census, a, &limits).map_err(|_| ()).expect("place");
        assert_eq!(Counted::new(&census, a, &limits).err(), Some("limit_per_ip"));
        let _third = Counted::new(&census, b, &limits).map_err(|_| ()).expect("place");
        assert_eq!(Counted::new(&census, b, &limits).err(), Some("limit"));
        drop(first);
        assert!(Counted::new(&census, a, &limits).is_ok());
    }
}
