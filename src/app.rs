//! Everything put together: from a config to a running gateway, to the next config, to the end.
//!
//! Threads: one worker per core serves callers; one control thread fetches key sets, answers
//! operators and ends the rest. A reload builds the whole of the next config before it swaps
//! anything: either all of it takes effect or none.

pub mod compile;
pub mod fetch;
mod places;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::admin::serve::Oversight;
use crate::clock::Clock;
use crate::config::{Config, KeyPath};
use crate::credential::keeper::Spawn;
use crate::credential::{Credential, Scope};
use crate::metrics::Metrics;
use crate::proxy::record::Journal;
use crate::server::listen;
use crate::server::worker::{self, Census, Running, Shared, Stage};
use crate::store::{Embedded, StoreFault};
use crate::telemetry::access::AccessLog;
use compile::{Compiled, Parts, Purpose, World};

/// Faults of a config that only putting it to use shows, each with the key it stands under.
pub type Unfit = Vec<(KeyPath, String)>;

/// What a gateway is started with, beside its config.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
}

/// A running gateway. Dropping it ends it at once.
pub struct Gateway {
    /// Where callers come in, in the order of the config's listeners; ports that the config left open are settled.
    pub addresses: Vec<SocketAddr>,
    /// Where operators come in.
    pub admin: Option<SocketAddr>,
    /// Where applications issue tokens.
    pub control: Option<SocketAddr>,
    /// Its counters.
    pub metrics: Metrics,
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

struct Inner {
    running: Arc<ArcSwap<Running>>,
    parts: ArcSwap<Parts>,
    metrics: Metrics,
    clock: Clock,
    stage: watch::Sender<Stage>,
    /// Key sets that the control thread keeps fresh.
    remotes: watch::Sender<Vec<compile::RemoteKeys>>,
    /// Credentials that the control thread keeps fresh.
    credentials: watch::Sender<Vec<Credential>>,
    /// What runs the calls of credentials: the control thread.
    begin: Spawn,
    /// What is kept over restarts.
    store: Option<Embedded>,
    /// Whether it ends by a drain, not by being dropped.
    in_peace: AtomicBool,
    dropped_lines: ArcSwap<Option<Box<dyn Fn() -> usize + Send + Sync>>>,
    dropped_seen: AtomicUsize,
    reload: std::sync::Mutex<()>,
}

/// Whether a config can be put to use: keys read, certificates loaded, schemes built. For `check`.
#[must_use]
pub fn try_out(config: &Config) -> Unfit {
    match Metrics::new() {
        Ok(metrics) => {
            let nothing: Spawn = Arc::new(drop);
            let world = World { metrics: &metrics, clock: &Clock::System, spawn: &nothing, store: None };
            compile::compile(config, Purpose::Try, &world).err().unwrap_or_default()
        }
        Err(error) => vec![(KeyPath::default(), error.to_string())],
    }
}

impl Gateway {
    /// Starts serving by `config`, whose relative paths have been made absolute.
    ///
    /// # Errors
    /// What keeps it from starting: unfit parts of the config, addresses that cannot be bound.
    pub fn start(config: &Config, around: &Surroundings) -> Result<Self, Unfit> {
        let whole = |message: String| vec![(KeyPath::default(), message)];
        let metrics = Metrics::new().map_err(|e| whole(e.to_string()))?;
        let (sender, calls) = mpsc::unbounded_channel();
        // One task a value at most, and values are bounded; after the control thread has ended nothing is called any more.
        let begin: Spawn = Arc::new(move |task| drop(sender.send(task)));
        let store = open_store(config)?;
        let world = World { metrics: &metrics, clock: &around.clock, spawn: &begin, store: store.as_ref() };
        let compiled = compile::compile(config, Purpose::Start, &world)?;
        let workers = worker_count(config);
        let (sockets, addresses) = bind(config, workers)?;
        let admin = bind_admin(config)?;
        let issuing = bind_control(config)?;
        let (stage, _) = watch::channel(Stage::Up);
        let (remotes, _) = watch::channel(compiled.parts.remotes.clone());
        let (credentials, _) = watch::channel(compiled.parts.credentials());
        let Compiled { running, parts, tasks } = compiled;
        let inner = Arc::new(Inner {
            running: Arc::new(ArcSwap::from_pointee(running)),
            parts: ArcSwap::from_pointee(parts),
            metrics: metrics.clone(),
            clock: around.clock.clone(),
            stage,
            remotes,
            credentials,
            begin,
            store,
            in_peace: AtomicBool::new(false),
            dropped_lines: ArcSwap::from_pointee(None),
            dropped_seen: AtomicUsize::new(0),
            reload: std::sync::Mutex::new(()),
        });
        inner.took_config();
        let control_address = issuing.as_ref().and_then(|listener| listener.local_addr().ok());
        let admin_address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Shared {
            running: inner.running.clone(),
            metrics: metrics.clone(),
            census: Arc::new(Census::default()),
            stage: inner.stage.subscribe(),
        };
        let mut threads = Vec::with_capacity(workers + 1);
        threads.push(spawn("control", control(inner.clone(), (admin, issuing), (tasks, calls))).map_err(whole)?);
        for (number, listeners) in sockets.into_iter().enumerate() {
            let journal = AccessLog::new(config.log.access.clone());
            threads.push(spawn(&format!("worker-{number}"), serve(shared.clone(), listeners, journal)).map_err(whole)?);
        }
        Ok(Self { addresses, admin: admin_address, control: control_address, metrics, inner, threads })
    }

    /// Takes another config, whole or not at all. Listeners and workers stay as they are.
    ///
    /// # Errors
    /// Why it was not taken; the old one is in force.
    pub fn reload(&self, config: &Config) -> Result<(), Unfit> {
        let _one_at_a_time = self.inner.reload.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.inner.parts.load_full();
        let world =
            World { metrics: &self.inner.metrics, clock: &self.inner.clock, spawn: &self.inner.begin, store: self.inner.store.as_ref() };
        match compile::compile(config, Purpose::Reload(&before), &world) {
            Ok(Compiled { running, parts, .. }) => {
                self.inner.credentials.send_replace(parts.credentials());
                self.inner.remotes.send_replace(parts.remotes.clone());
                self.inner.parts.store(Arc::new(parts));
                self.inner.running.store(Arc::new(running));
                self.inner.took_config();
                Ok(())
            }
            Err(unfit) => {
                self.refused_config();
                Err(unfit)
            }
        }
    }

    /// Notes that a config was not taken, for the metrics.
    pub fn refused_config(&self) {
        self.metrics.reload_successful.set(0);
        self.metrics.reloads.with_label_values(&["refused"]).inc();
    }

    /// Tells where to ask how many log lines were dropped.
    pub fn count_dropped_lines(&self, dropped: impl Fn() -> usize + Send + Sync + 'static) {
        self.inner.dropped_lines.store(Arc::new(Some(Box::new(dropped))));
    }

    /// Whether callers may be sent here; the words say why not.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        self.inner.unready()
    }

    /// Begins to shut down: `/ready` says 503 from now on, callers are still served.
    pub fn leave(&self) {
        self.metrics.draining.set(1);
    }

    /// Shuts down: takes nothing new, waits up to `patience` for what is under way, then ends it.
    /// Gives whether all of it could finish.
    #[must_use]
    pub fn drain(mut self, patience: Duration) -> bool {
        self.leave();
        self.inner.stage.send_replace(Stage::Draining);
        let deadline = std::time::Instant::now() + patience;
        // Workers end by themselves when their last connection has; the control thread does not.
        let finished = |threads: &[JoinHandle<()>]| threads.iter().skip(1).all(JoinHandle::is_finished);
        while !finished(&self.threads) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let all = finished(&self.threads);
        self.inner.in_peace.store(true, Ordering::Release);
        self.end();
        all
    }

    fn end(&mut self) {
        self.inner.stage.send_replace(Stage::Down);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inner {
    /// What the control listener serves by now: a reload changes it for the next request.
    fn front(&self) -> Option<crate::control::serve::Front> {
        self.parts.load().front.clone()
    }

    fn took_config(&self) {
        self.metrics.reload_successful.set(1);
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        self.metrics.reload_success_timestamp.set(self.clock.now().0 as f64);
        self.metrics.reloads.with_label_values(&["ok"]).inc();
    }
}

impl Oversight for Inner {
    fn unready(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.metrics.draining.get() != 0 {
            words.push("draining".to_owned());
        }
        let missing = self
            .parts
            .load()
            .remotes
            .iter()
            .filter(|keys| !keys.remote.is_loaded())
            .map(|keys| format!("keys {}", keys.name))
            .collect::<Vec<_>>();
        words.extend(missing);
        let credentials = self.parts.load().credentials();
        words.extend(credentials.iter().filter(|it| !it.is_ready()).map(|it| format!("credential {}", it.name())));
        words
    }

    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.parts.load().admin_tls.clone()
    }

    fn desk(&self, head: &http::request::Parts, body: &[u8], certified: bool) -> http::Response<http_body_util::Full<bytes::Bytes>> {
        let running = self.running.load();
        let state = &running.state;
        let (token, credentials) = (self.parts.load().admin_token.clone(), self.parts.load().credentials());
        let desk = crate::admin::sessions::Desk {
            sessions: &state.sessions,
            revocations: &state.revocations,
            fleet: state.fleet.as_ref(),
            credentials: &credentials,
            token: token.as_deref(),
            certified,
            now: self.clock.now(),
        };
        crate::admin::sessions::answer(&head.method, &head.uri, &head.headers, body, &desk)
    }

    fn refresh(&self) {
        if let Some(ledger) = self.parts.load().ledger() {
            self.metrics.ledger_up.set(i64::from(ledger.is_up()));
            self.metrics.ledger_commits.inc_by(ledger.commits().saturating_sub(self.metrics.ledger_commits.get()));
            for (kind, count) in ledger.counts().unwrap_or_default() {
                self.metrics.ledger_records.with_label_values(&[kind.word()]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        if let Some(dropped) = self.dropped_lines.load().as_ref() {
            let now = dropped();
            let before = self.dropped_seen.swap(now, Ordering::AcqRel);
            self.metrics.log_lines_dropped.inc_by(now.saturating_sub(before) as u64);
        }
        let now = self.clock.now();
        // What a reload has let go of must not stay behind.
        self.metrics.credential_state.reset();
        self.metrics.credential_expiry.reset();
        self.metrics.credential_values.reset();
        self.parts.load().credentials().iter().for_each(|credential| credential.observe(now));
        for (name, source) in &self.parts.load().sources {
            self.metrics.keys.with_label_values(&[name.as_str()]).set(i64::try_from(source.load().len()).unwrap_or(i64::MAX));
        }
    }
}

fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

/// Sockets by worker, each with the address that the config knows it by.
type Sockets = Vec<Vec<(SocketAddr, std::net::TcpListener)>>;

fn bind(config: &Config, workers: usize) -> Result<(Sockets, Vec<SocketAddr>), Unfit> {
    let mut sockets: Sockets = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for (index, listener) in config.server.listeners.iter().enumerate() {
        let key = || KeyPath::top("server").key("listeners").at(index).key("address");
        let bound = listen::bind(listener.address, workers).map_err(|message| vec![(key(), message)])?;
        addresses.extend(bound[0].local_addr());
        for (worker, socket) in sockets.iter_mut().zip(bound) {
            worker.push((listener.address, socket));
        }
    }
    Ok((sockets, addresses))
}

fn bind_admin(config: &Config) -> Result<Option<std::net::TcpListener>, Unfit> {
    if !config.admin.enabled {
        return Ok(None);
    }
    let key = KeyPath::top("admin").key("address");
    let bound = listen::bind(config.admin.address, 1).map_err(|message| vec![(key, message)])?;
    Ok(bound.into_iter().next())
}

fn bind_control(config: &Config) -> Result<Option<std::net::TcpListener>, Unfit> {
    let Some(control) = &config.control else { return Ok(None) };
    let key = KeyPath::top("control").key("address");
    let bound = listen::bind(control.address, 1).map_err(|message| vec![(key, message)])?;
    Ok(bound.into_iter().next())
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Starts a thread with its own runtime for what `task` makes there.
fn spawn(name: &str, task: impl FnOnce() -> Task + Send + 'static) -> Result<JoinHandle<()>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime: {e}"))?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || LocalSet::new().block_on(&runtime, async move { task().await })).map_err(|e| format!("no thread: {e}"))
}

fn serve(
    shared: Shared,
    listeners: Vec<(SocketAddr, std::net::TcpListener)>,
    journal: AccessLog,
) -> impl FnOnce() -> Task + Send + 'static {
    move || {
        Box::pin(async move {
            let listeners =
                listeners.into_iter().filter_map(|(known_as, socket)| Some((known_as, tokio::net::TcpListener::from_std(socket).ok()?)));
            let journal: Rc<dyn Journal> = Rc::new(journal);
            worker::run(shared, listeners.collect(), journal).await;
        })
    }
}

/// Longest time that withdrawing credentials may hold up the end.
const LEAVING: Duration = Duration::from_secs(10);

/// How often the store lets go of what has ended.
const STORE_SWEEP: Duration = Duration::from_secs(3600);

/// Opens what is kept over restarts.
fn open_store(config: &Config) -> Result<Option<Embedded>, Unfit> {
    let (Some(folder), Some(key_file)) = (&config.store.folder, &config.store.key_file) else { return Ok(None) };
    let at = |key: &str, fault: String| vec![(KeyPath::top("store").key(key), fault)];
    let key = crate::files::read_secret(key_file).map_err(|fault| at("key_file", fault))?;
    std::fs::create_dir_all(folder).map_err(|fault| at("folder", format!("{}: {fault}", folder.display())))?;
    let opened = Embedded::open(&folder.join("store.redb"), &key);
    opened.map(Some).map_err(|fault| match fault {
        StoreFault::WrongKey | StoreFault::ShortKey => at("key_file", fault.to_string()),
        fault => at("folder", fault.to_string()),
    })
}

async fn sweep_store(inner: Arc<Inner>) {
    let Some(room) = inner.store.as_ref().map(|store| store.room(crate::credential::shelf::ROOM)) else { return };
    loop {
        tokio::time::sleep(STORE_SWEEP).await;
        if let Err(fault) = room.sweep(inner.clock.now()) {
            tracing::warn!(%fault, "the store cannot be swept");
        }
    }
}

/// Calls of credentials, as they are begun.
type Calls = mpsc::UnboundedReceiver<crate::credential::keeper::Task>;

/// The control thread: operators, key sets, credentials, the end.
fn control(
    inner: Arc<Inner>,
    (admin, issuing): (Option<std::net::TcpListener>, Option<std::net::TcpListener>),
    (tasks, calls): (Vec<crate::session::fleet::Task>, Calls),
) -> impl FnOnce() -> Task + Send + 'static {
    move || {
        Box::pin(async move {
            let mut stage = inner.stage.subscribe();
            if let Some(listener) = admin.and_then(|socket| tokio::net::TcpListener::from_std(socket).ok()) {
                tokio::spawn(crate::admin::serve::serve(listener, inner.metrics.clone(), inner.clone()));
            }
            if let Some(listener) = issuing.and_then(|socket| tokio::net::TcpListener::from_std(socket).ok()) {
                let inner = inner.clone();
                tokio::task::spawn_local(crate::control::serve::serve(listener, move || inner.front()));
            }
            tasks.into_iter().for_each(|task| drop(tokio::spawn(task)));
            tokio::spawn(run_calls(calls));
            let keeping = tokio::task::spawn_local(keep_keys(inner.clone()));
            tokio::spawn(keep_credentials(inner.credentials.subscribe()));
            tokio::spawn(sweep_store(inner.clone()));
            let sweeping = tokio::task::spawn_local(sweep_sessions(inner.clone()));
            let _ = stage.wait_for(|stage| *stage == Stage::Down).await;
            keeping.abort();
            sweeping.abort();
            if inner.in_peace.load(Ordering::Acquire) {
                let credentials = inner.parts.load().credentials();
                let leaving = async {
                    for credential in &credentials {
                        credential.leave().await;
                    }
                };
                if tokio::time::timeout(LEAVING, leaving).await.is_err() {
                    tracing::warn!("not all credentials could be withdrawn in time");
                }
            }
        })
    }
}

/// Ends silent sessions and forgets old revocations. Limits are exact without it; it keeps memory and gauges true.
async fn sweep_sessions(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = inner.clock.now();
        let running = inner.running.load();
        running.state.sessions.sweep(now);
        let gone = running.state.sessions.take_gone();
        if !gone.is_empty() {
            let credentials = inner.parts.load().credentials();
            for credential in credentials.iter().filter(|credential| credential.scope() == Scope::Session) {
                gone.iter().for_each(|id| credential.forget(&id.to_string()));
            }
        }
        running.state.revocations.sweep(now);
        let ledger = inner.parts.load().ledger();
        if let Some(ledger) = ledger
            && let Err(fault) = ledger.sweep(now).await
            // That has been told, and comes back by itself.
            && !matches!(fault, crate::ledger::Fault::Away(_))
        {
            tracing::error!(%fault, "the ledger cannot be swept");
        }
    }
}

/// Runs the calls of credentials, each as its own task, so that none waits for another.
async fn run_calls(mut calls: Calls) {
    while let Some(call) = calls.recv().await {
        tokio::spawn(call);
    }
}

/// Keeps the credentials of the running config fresh. A reload leaves those alone that it takes over.
async fn keep_credentials(mut credentials: watch::Receiver<Vec<Credential>>) {
    let mut kept: Vec<(Credential, tokio::task::AbortHandle)> = Vec::new();
    let mut keepers = tokio::task::JoinSet::new();
    loop {
        let now = credentials.borrow_and_update().clone();
        kept.retain(|(credential, keeper)| {
            let stays = now.iter().any(|it| it.is(credential));
            if !stays {
                keeper.abort();
            }
            stays
        });
        for credential in now {
            if !kept.iter().any(|(it, _)| it.is(&credential)) {
                let keeper = keepers.spawn(credential.keep());
                kept.push((credential, keeper));
            }
        }
        if credentials.changed().await.is_err() {
            return;
        }
        while keepers.try_join_next().is_some() {}
    }
}

/// Keeps the key sets of the running config fresh, and lets go of them when a reload names others.
async fn keep_keys(inner: Arc<Inner>) {
    let mut remotes = inner.remotes.subscribe();
    loop {
        let now: Vec<compile::RemoteKeys> = remotes.borrow_and_update().clone();
        let mut keepers = tokio::task::JoinSet::new();
        for keys in now {
            let gauge = inner.metrics.keys_refresh_successful.with_label_values(&[keys.name.as_str()]);
            keepers.spawn_local(async move {
                let report = |outcome: &Result<(), String>| {
                    gauge.set(i64::from(outcome.is_ok()));
                    if let Err(error) = outcome {
                        tracing::warn!(keys = %keys.name, %error, "key set not fetched; the last good one stays");
                    }
                };
                keys.remote.keep(&keys.client, report).await;
            });
        }
        if remotes.changed().await.is_err() {
            return;
        }
    }
}
