//! From a config to what serves it. Nothing takes effect here; all faults are found in one run.

mod credentials;

mod issue;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Unfit;
use super::fetch::HttpFetch;
use crate::clock::Clock;
use crate::config::{Config, KeyPath};
use crate::control::ControlConfig;
use crate::control::serve::Front;
use crate::credential::config::Around;
use crate::credential::keeper::Spawn;
use crate::credential::mapping::Mappings;
use crate::credential::provider::aws_sigv4::{AwsPlace, AwsSigner};
use crate::credential::sign_head::SignHead;
use crate::credential::{Credential, SignConfig, Signer};
use crate::geo::{Databases, MaxMind};
use crate::ledger::lookups::Lookups;
use crate::ledger::{Account, Follower, KeyRing, Ledger};
use crate::metrics::{Metrics, RouteMetrics};
use crate::name::Name;
use crate::proxy::origin::{self, HostPolicy, Origin};
use crate::proxy::slow::Slow;
use crate::proxy::{Limits, Plan, Route, State};
use crate::revocation::Revocations;
use crate::route::RouteConfig;
use crate::route::RouteMode;
use crate::route::inject::AnswersConfig;
use crate::secret::Secret;
use crate::server::connection::Protocols;
use crate::server::tls;
use crate::server::worker::Running;
use crate::session::fleet::{Fleet, FleetParts, Task};
use crate::session::ticket::Tickets;
use crate::session::valkey::ValkeyStore;
use crate::session::{Sessions, StoreConfig};
use crate::store::Embedded;
use crate::store::valkey::Place;
use crate::token::{Geo, Issued, KeySource, NothingIssued};
use crate::upload::Uploads;
use crate::verifier::jwks::Remote;
use crate::verifier::keys::{self, Surroundings};
use crate::verifier::used::Used;
use crate::verifier::{KeysConfig, RouteScheme, Verifier, VerifierConfig};

/// A key set that is fetched, and what fetches it.
#[derive(Clone)]
pub struct RemoteKeys {
    /// Its name in the config.
    pub name: Name,
    /// The set.
    pub remote: Arc<Remote>,
    /// The client.
    pub client: Arc<HttpFetch>,
    said: String,
}

/// What is taken over into the next config where that says the same, and what the control thread keeps.
#[derive(Default)]
pub struct Parts {
    /// Key sets that are fetched.
    pub remotes: Vec<RemoteKeys>,
    /// Credentials by name.
    pub credentials: BTreeMap<Name, KeptCredential>,
    /// All key sets by name.
    pub sources: Vec<(Name, KeySource)>,
    origins: BTreeMap<Name, (String, Arc<Origin>)>,
    slow: Option<((u32, u32), Arc<Slow>)>,
    tickets: Option<(Vec<Secret<String>>, Arc<Tickets>)>,
    mappings: Option<(Vec<Secret<String>>, Arc<Mappings>)>,
    /// What opens the operators' desk.
    pub admin_token: Option<Arc<Secret<String>>>,
    /// TLS towards operators.
    pub admin_tls: Option<Arc<rustls::ServerConfig>>,
    table: Option<(Sessions, Arc<Revocations>)>,
    uploads: Option<Uploads>,
    /// The store that the fleet shares.
    shared: Option<Arc<ValkeyStore>>,
    /// The fleet: joined once, at the start.
    pub fleet: Option<Fleet>,
    used: Arc<Used>,
    ledger: Option<(Ledger, Arc<KeyRing>)>,
    withdrawing: Option<Arc<dyn Follower>>,
    /// The control listener's side, where there is one.
    pub front: Option<Front>,
}

/// What a config is compiled for.
#[derive(Clone, Copy)]
pub enum Purpose<'p> {
    /// To see whether it can be: nothing on the disk is made or held.
    Try,
    /// For a gateway that starts.
    Start,
    /// For a running gateway, which is made of these.
    Reload(&'p Parts),
}

impl Parts {
    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        self.credentials.values().map(|kept| kept.credential.clone()).collect()
    }
}

/// A credential, and what it was made of.
#[derive(Clone)]
pub struct KeptCredential {
    /// The credential.
    pub credential: Credential,
    said: (String, Vec<u8>),
}

/// A config, ready to serve.
pub struct Compiled {
    /// For the workers.
    pub running: Running,
    /// For the control thread and the next reload.
    pub parts: Parts,
    /// What the control thread has to run for a fleet that was joined.
    pub tasks: Vec<Task>,
}

/// What a config is put to use with.
pub struct World<'w> {
    /// The counters.
    pub metrics: &'w Metrics,
    /// The time.
    pub clock: &'w Clock,
    /// What runs the calls of credentials.
    pub spawn: &'w Spawn,
    /// What is kept over restarts.
    pub store: Option<&'w Embedded>,
}

/// Builds everything that `config` says.
///
/// # Errors
/// Every part that cannot be built, each with its key.
pub fn compile(config: &Config, purpose: Purpose<'_>, world: &World<'_>) -> Result<Compiled, Unfit> {
    let World { metrics, clock, .. } = *world;
    let before = if let Purpose::Reload(before) = purpose { Some(before) } else { None };
    let mut work = Work { config, before, metrics, unfit: Vec::new(), parts: Parts::default(), tasks: Vec::new() };
    work.ledger(purpose, clock);
    let sources = work.keys();
    let schemes = work.schemes(&sources, clock);
    let shared = work.shared(clock);
    work.credentials(&schemes, world);
    let origins = work.origins();
    let plan = work.plan(&schemes, &origins);
    let protocols = work.protocols();
    let geo = work.geo();
    let slow = work.slow();
    work.admin_token();
    work.admin_tls();
    let tickets = work.tickets();
    let (sessions, revocations) = work.table();
    let uploads = work.uploads();
    let fleet = work.fleet((&sessions, &revocations), shared, clock);
    let front = work.front();
    let mappings = work.mappings();
    let (tickets, mappings) = match (tickets, mappings) {
        (Some(tickets), Some(mappings)) if work.unfit.is_empty() => (tickets, mappings),
        _ => return Err(work.unfit),
    };
    let used = before.map_or_else(Arc::default, |before| before.used.clone());
    let verifier = Verifier::with_used(&config.verifier, used.clone()).claiming(work.claims());
    verifier.watch(work.parts.remotes.iter().map(|keys| keys.remote.clone()).collect());
    let limits = &config.server.limits;
    let state = State {
        plan,
        verifier,
        sessions,
        uploads,
        fleet,
        ledger: work.parts.ledger(),
        tickets,
        mappings,
        revocations,
        geo,
        trusted_proxies: config.server.trusted_proxies.clone(),
        limits: Limits { max_uri: limits.max_uri, max_headers: limits.max_headers, body_silence: limits.body_idle_timeout },
        slow,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let ids = origins.values().map(|origin| origin.id).collect();
    let state = Arc::new(state);
    work.desk(front, &state, schemes, purpose);
    if !work.unfit.is_empty() {
        return Err(work.unfit);
    }
    let running = Running { state, limits: limits.clone(), protocols, origins: ids };
    work.parts.used = used;
    work.parts.sources = sources.into_iter().collect();
    Ok(Compiled { running, parts: work.parts, tasks: work.tasks })
}

struct Work<'c> {
    config: &'c Config,
    before: Option<&'c Parts>,
    metrics: &'c Metrics,
    unfit: Unfit,
    parts: Parts,
    tasks: Vec<Task>,
}

impl Parts {
    /// The ledger, where there is one.
    #[must_use]
    pub fn ledger(&self) -> Option<Ledger> {
        self.ledger.as_ref().map(|(ledger, _)| ledger.clone())
    }
}

impl Work<'_> {
    fn note<T>(&mut self, key: KeyPath, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.unfit.push((key, message))).ok()
    }

    fn keys(&mut self) -> BTreeMap<Name, KeySource> {
        let mut sources = BTreeMap::new();
        for (name, table) in &self.config.keys {
            let key = KeyPath::top("keys").key(name.as_str());
            let source = match &table.url {
                Some(_) => self.remote(name, table),
                None if table.ledger.is_some() => self.issued(table),
                // A broken file of a running gateway keeps the reload, and with it the old keys.
                None => keys::load(name, table, around()).map(|loaded| loaded.source),
            };
            if let Some(source) = self.note(key, source) {
                sources.insert(name.clone(), source);
            }
        }
        sources
    }

    /// Keys that the control API made. A config that is only tried has none.
    fn issued(&self, table: &KeysConfig) -> Result<KeySource, String> {
        let account = table.ledger.as_ref().ok_or("no account")?;
        let (_, ring) = match &self.parts.ledger {
            Some(ledger) => ledger,
            None => return Ok(KeySource::default()),
        };
        Ok(ring.source(&Account::new(account.as_str()), table.algorithm))
    }

    /// A key set that is fetched: the one that is there already, if the config says the same of it.
    fn remote(&mut self, name: &Name, table: &KeysConfig) -> Result<KeySource, String> {
        let said = format!("{:?} {:?} {:?} {:?} {:?}", table.url, table.ca_file, table.id, table.algorithm, table.refresh);
        let kept = self.before.and_then(|before| before.remotes.iter().find(|keys| keys.name == *name && keys.said == said));
        if let Some(kept) = kept {
            self.parts.remotes.push(kept.clone());
            return Ok(kept.remote.keys().clone());
        }
        let loaded = keys::load(name, table, around())?;
        if let Some(remote) = loaded.remote {
            let client = Arc::new(HttpFetch::new(table.ca_file.as_deref())?);
            self.parts.remotes.push(RemoteKeys { name: name.clone(), remote, client, said });
        }
        Ok(loaded.source)
    }

    fn schemes(&mut self, sources: &BTreeMap<Name, KeySource>, clock: &Clock) -> HashMap<Name, RouteScheme> {
        let mut schemes = HashMap::new();
        let issued: Arc<dyn Issued> = match self.parts.ledger() {
            Some(ledger) => Arc::new(Lookups::new(ledger, clock.clone(), self.config.control.iter().flat_map(ControlConfig::fixed_keys))),
            None => Arc::new(NothingIssued),
        };
        for (name, table) in &self.config.schemes {
            // A key set that is not there has been named already.
            let source = match table.keys().map(|keys| sources.get(keys)) {
                Some(None) => continue,
                Some(Some(source)) => source.clone(),
                None => KeySource::default(),
            };
            let built = table.build_with(source, &issued);
            if let Some(scheme) = self.note(KeyPath::top("schemes").key(name.as_str()), built) {
                schemes.insert(name.clone(), RouteScheme { name: name.clone(), scheme: scheme.into() });
            }
        }
        schemes
    }

    fn origins(&mut self) -> BTreeMap<Name, Arc<Origin>> {
        let mut origins = BTreeMap::new();
        for (name, table) in &self.config.origins {
            // An origin over TLS is built anew, because its files may have changed under the same names.
            let said = serde_json::to_string(table).unwrap_or_default();
            let plain = table.endpoints.iter().all(|endpoint| endpoint.starts_with("http://"));
            let kept = self.before.and_then(|before| before.origins.get(name)).filter(|(before, _)| plain && *before == said);
            let made = match kept {
                Some((_, origin)) => Ok(origin.clone()),
                None => origin::origin(name, table, Path::new("/"), self.metrics).map(Arc::new),
            };
            if let Some(origin) = self.note(KeyPath::top("origins").key(name.as_str()), made) {
                self.parts.origins.insert(name.clone(), (said, origin.clone()));
                origins.insert(name.clone(), origin);
            }
        }
        origins
    }

    fn plan(&mut self, schemes: &HashMap<Name, RouteScheme>, origins: &BTreeMap<Name, Arc<Origin>>) -> Plan {
        let mut routes = Vec::new();
        for (index, table) in self.config.routes.iter().enumerate() {
            let Some(origin) = origins.get(&table.origin) else { continue };
            let accepted: Vec<RouteScheme> = table.accept.iter().filter_map(|name| schemes.get(name).cloned()).collect();
            let compared: Vec<RouteScheme> = table.compare.iter().filter_map(|name| schemes.get(name).cloned()).collect();
            if (accepted.len(), compared.len()) != (table.accept.len(), table.compare.len()) {
                // One of its schemes is unfit and has been named: the route must not open without it.
                continue;
            }
            let names: Vec<&str> = accepted.iter().map(|scheme| scheme.name.as_str()).collect();
            let metrics = RouteMetrics::new(self.metrics, table.name.as_str(), &names);
            match table.mode {
                RouteMode::Enforce => {}
                RouteMode::Shadow => metrics.announce_shadow(),
                RouteMode::Dual => metrics.announce_compared(),
            }
            let signer = match table.upstream_sign.as_ref().map(|sign| signer(sign, schemes, origin)).transpose() {
                Ok(signer) => signer,
                Err((key, message)) => {
                    self.unfit.push((KeyPath::top("routes").at(index).key("upstream_sign").key(key), message));
                    continue;
                }
            };
            let route = if accepted.is_empty() && !table.public {
                Err("accepts no scheme and is not public".to_owned())
            } else {
                let made = Route::new(table, accepted, origin.clone(), metrics).map(|route| route.comparing(compared).signing(signer));
                made.and_then(|route| self.injecting(route, table, origins))
            };
            if let Some(route) = self.note(KeyPath::top("routes").at(index), route) {
                routes.push((table.hosts.clone(), Arc::new(route)));
            }
        }
        Plan::new(routes)
    }

    /// The route with its credentials, and with its rules for answers.
    fn injecting(&self, route: Route, table: &RouteConfig, origins: &BTreeMap<Name, Arc<Origin>>) -> Result<Route, String> {
        let inject = table.inject.iter().map(|entry| {
            let kept = self.parts.credentials.get(&entry.credential);
            let kept = kept.ok_or_else(|| format!("inject.credential \"{}\" cannot be built", entry.credential))?;
            entry.build(kept.credential.clone(), table.public)
        });
        let inject = inject.collect::<Result<Vec<_>, _>>()?;
        let aws = table.upstream_aws.as_ref();
        // An origin that sends elsewhere says the signature in the address back.
        let shown = aws.is_some_and(|aws| aws.sign_into == AwsPlace::Query).then(AnswersConfig::default);
        let answers = table.answers.as_ref().or(shown.as_ref()).map(|answers| {
            let found = answers.origins.iter().map(|name| origins.get(name).cloned());
            let found = found.collect::<Option<Vec<_>>>().ok_or("answers.origins: one of them cannot be built")?;
            answers.build(found)
        });
        let variable = |name: &str| std::env::var(name).ok();
        let aws = aws.map(|aws| AwsSigner::new(aws, &Around::new(&variable, &|_| None))).transpose();
        let aws = aws.map_err(|fault| format!("upstream_aws: {fault}"))?;
        Ok(route.injecting(inject, answers.transpose()?).signing_heads(aws.map(|aws| Arc::new(aws) as Arc<dyn SignHead>)))
    }

    fn protocols(&mut self) -> HashMap<std::net::SocketAddr, Protocols> {
        let mut protocols = HashMap::new();
        for (index, listener) in self.config.server.listeners.iter().enumerate() {
            let tls = listener.tls.as_ref().map(|tls| tls::server_config(tls, Path::new("/"), self.metrics));
            let key = KeyPath::top("server").key("listeners").at(index).key("tls");
            let Some(tls) = self.note(key, tls.transpose()) else { continue };
            let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
            protocols.insert(listener.address, Protocols { tls, h2c: listener.h2c });
        }
        protocols
    }

    fn geo(&mut self) -> Arc<dyn Geo> {
        let VerifierConfig { geoip_file, asn_file, .. } = &self.config.verifier;
        let mut open = |key: &str, file: &Option<PathBuf>| {
            file.as_deref().and_then(|file| self.note(KeyPath::top("verifier").key(key), MaxMind::open(file)))
        };
        Arc::new(Databases { countries: open("geoip_file", geoip_file), systems: open("asn_file", asn_file) })
    }

    /// Budgets outlive a reload, or every reload would forgive everybody.
    fn slow(&mut self) -> Arc<Slow> {
        let said = (self.config.server.limits.refusal_burst, self.config.server.limits.refusals_per_second);
        let kept = self.before.and_then(|before| before.slow.as_ref()).filter(|(before, _)| *before == said);
        let slow = kept.map_or_else(|| Arc::new(Slow::new(said.0, said.1)), |(_, slow)| slow.clone());
        self.parts.slow = Some((said, slow.clone()));
        slow
    }
}

impl Work<'_> {
    /// The keys of tickets: the ones in use, if the config says the same, so that a random one outlives a reload.
    fn tickets(&mut self) -> Option<Arc<Tickets>> {
        let key = KeyPath::top("sessions").key("ticket_keys");
        let mut secrets = Vec::new();
        for (index, table) in self.config.sessions.ticket_keys.iter().enumerate() {
            let read = table.read(&|name| std::env::var(name).ok());
            secrets.extend(self.note(key.at(index), read));
        }
        let kept = self.before.and_then(|before| before.tickets.as_ref()).filter(|(before, _)| *before == secrets);
        let tickets = match kept {
            Some((_, tickets)) => Some(tickets.clone()),
            None => self.note(key, Tickets::new(&secrets).map(Arc::new).map_err(|e| e.to_string())),
        };
        let tickets = tickets?;
        self.parts.tickets = Some((secrets, tickets.clone()));
        Some(tickets)
    }

    /// The keys of mapping tickets, made of those of the sessions' tickets.
    fn mappings(&mut self) -> Option<Arc<Mappings>> {
        let (secrets, _) = self.parts.tickets.as_ref()?;
        let kept = self.before.and_then(|before| before.mappings.as_ref()).filter(|(before, _)| before == secrets);
        let secrets = secrets.clone();
        let mappings = match kept {
            Some((_, mappings)) => mappings.clone(),
            None => self.note(KeyPath::top("sessions").key("ticket_keys"), Mappings::new(&secrets).map(Arc::new))?,
        };
        self.parts.mappings = Some((secrets, mappings.clone()));
        Some(mappings)
    }

    fn admin_tls(&mut self) {
        let Some(table) = &self.config.admin.tls else { return };
        let made = crate::admin::tls::server_config(table);
        self.parts.admin_tls = self.note(KeyPath::top("admin").key("tls"), made).map(Arc::new);
    }

    fn admin_token(&mut self) {
        let Some(file) = &self.config.admin.token_file else { return };
        let read = crate::files::read_secret(file).and_then(|token| {
            if token.expose().len() < 16 { Err("the admin token needs 16 characters or more".into()) } else { Ok(token) }
        });
        self.parts.admin_token = self.note(KeyPath::top("admin").key("token_file"), read).map(Arc::new);
    }

    /// Sessions and revocations outlive reloads.
    fn table(&mut self) -> (Sessions, Arc<Revocations>) {
        let most = self.config.sessions.max_sessions;
        let kept = self.before.and_then(|before| before.table.clone());
        let (sessions, revocations) = kept.unwrap_or_else(|| (Sessions::new(most, self.metrics), Arc::new(Revocations::new(REVOCATIONS))));
        sessions.set_most(most);
        for route in self.config.routes.iter().filter(|route| route.session.is_some() || route.upload.is_some()) {
            sessions.announce(&route.name);
        }
        self.parts.table = Some((sessions.clone(), revocations.clone()));
        (sessions, revocations)
    }

    /// Uploads outlive reloads as their sessions do. Those that are whole are remembered for a while, beside those under way.
    fn uploads(&mut self) -> Uploads {
        let kept = self.before.and_then(|before| before.uploads.clone());
        let uploads = kept.unwrap_or_else(|| Uploads::new(self.config.sessions.max_sessions.saturating_mul(2)));
        for route in self.config.routes.iter().filter(|route| route.upload.is_some()) {
            self.metrics.announce_uploads(route.name.as_str());
        }
        self.parts.uploads = Some(uploads.clone());
        uploads
    }
}

impl Work<'_> {
    /// The store that a fleet shares: the one in use, or the one that this config names.
    fn shared(&mut self, clock: &Clock) -> Option<Arc<ValkeyStore>> {
        let shared = match (self.before, &self.config.sessions.store) {
            (Some(before), _) => before.shared.clone(),
            (None, StoreConfig::Valkey(config)) => {
                let place = Place { folder: Path::new("/"), variable: &|name| std::env::var(name).ok() };
                self.note(KeyPath::top("sessions").key("store"), ValkeyStore::new(config, place, clock)).map(Arc::new)
            }
            (None, _) => None,
        };
        self.parts.shared.clone_from(&shared);
        shared
    }

    /// The fleet that the running config has joined, or the one that this config names. Another store takes a restart.
    fn fleet(
        &mut self,
        (sessions, revocations): (&Sessions, &Arc<Revocations>),
        shared: Option<Arc<ValkeyStore>>,
        clock: &Clock,
    ) -> Option<Fleet> {
        if let Some(before) = self.before {
            self.parts.fleet = before.fleet.clone();
            return before.fleet.clone();
        }
        let store = shared?;
        let parts = FleetParts {
            sessions: sessions.clone(),
            revocations: revocations.clone(),
            metrics: self.metrics.clone(),
            clock: clock.clone(),
            renew_every: self.config.sessions.renew_every.0,
        };
        let fleet = Fleet::start(store, parts, |task| self.tasks.push(task));
        self.parts.fleet = Some(fleet.clone());
        Some(fleet)
    }
}

/// Revocations kept at most: each is asked for by its kind, not one by one, so the bound is memory.
const REVOCATIONS: usize = 1_000_000;

/// What signs a route's requests for `origin`.
fn signer(config: &SignConfig, schemes: &HashMap<Name, RouteScheme>, origin: &Origin) -> Result<Signer, (&'static str, String)> {
    let scheme = schemes.get(&config.scheme).ok_or_else(|| ("scheme", format!("the scheme \"{}\" cannot be built", config.scheme)))?;
    // A signature may name the host, which then has to be known before the endpoint is chosen.
    if origin.config.host == HostPolicy::Endpoint && origin.endpoints.len() > 1 {
        return Err(("scheme", "what is signed names a host: the origin needs one endpoint, or `host` set to a name".to_owned()));
    }
    Signer::new(config, scheme.scheme.clone())
}

fn around() -> Surroundings<'static> {
    // Paths of a loaded config are absolute, so the folder they would be looked up in does not matter.
    Surroundings { folder: Path::new("/"), variable: &|name| std::env::var(name).ok() }
}
