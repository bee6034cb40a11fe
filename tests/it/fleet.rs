//! A fleet over real stores: exact limits, what ends elsewhere, stores that die and networks that are cut.
//!
//! Every test runs against each server that is here, Redis and Valkey. Nothing sleeps: tests wait for what the gateways'
//! tasks tell, with an end in sight.

mod model;
mod relay;
mod rig;
pub(crate) mod server;
mod uploads;
pub(crate) mod walk;

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use tollgate::clock::Clock;
use tollgate::revocation::{Revocation, Target};
use tollgate::session::fleet::EntryFault;
use tollgate::session::store::{Change, RENEWAL_GRACE, SharedStore as _};
use tollgate::session::{End, Gone, Limit, OnFull, OnStoreError, SessionId, SessionRefusal};

use self::relay::Relay;
use self::rig::{Caller, Gateway, at_once, config, seen};
use self::server::{Server, programs};
use crate::support::tls::Authority;

/// What the fleet promises.
const PROPAGATION: Duration = Duration::from_secs(5);

fn refused(outcome: &Result<tollgate::session::Admission, EntryFault>, limit: Limit) -> bool {
    matches!(outcome, Err(EntryFault::Refused(SessionRefusal { limit: met })) if *met == limit)
}

/// Runs of a thousand at once, over all stores that are here.
const RUNS: usize = 100;

/// One gateway, by which `viewers` of each run's token ask at once; answers with how many were let in, run by run, and the time of asking.
fn crowd(url: &str, viewers: &std::ops::Range<u32>, limits: &[u32], start: &Barrier) -> (Vec<usize>, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // What counts is who is let in, however long a busy machine takes.
        let gateway = Arc::new(Gateway::join(&rig::config_within(url, "", "20s"), &Clock::System).await);
        let (mut counts, mut took) = (Vec::new(), Duration::ZERO);
        for (token, limit) in (1..).zip(limits.iter().copied()) {
            let mut asks = tokio::task::JoinSet::new();
            start.wait();
            let (began, before) = (Instant::now(), gateway.sessions.len());
            for viewer in viewers.clone() {
                let gateway = gateway.clone();
                asks.spawn(
                    async move { gateway.admit(&Caller::of(token, viewer).now(at_once(limit, OnFull::Refuse), &Clock::System)).await },
                );
            }
            let outcomes = asks.join_all().await;
            took += began.elapsed();
            let admitted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let full = outcomes.iter().filter(|outcome| refused(outcome, Limit::ConcurrentToken)).count();
            assert_eq!(admitted + full, outcomes.len(), "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
            assert_eq!(gateway.sessions.len() - before, admitted);
            counts.push(admitted);
        }
        (counts, took)
    })
}

#[test]
fn of_a_thousand_at_once_exactly_as_many_are_let_in_as_the_limit_says() {
    let programs = programs("a thousand first requests at a shared store");
    let runs = RUNS / programs.len().max(1);
    for program in programs {
        let server = Server::start(&program, &[]);
        let url = server.url();
        let limits: Vec<u32> = [1, 3, 10, 100, 999, 1000, 2, 7, 50, 500].into_iter().cycle().take(runs).collect();
        let start = Barrier::new(2);
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| crowd(&url, &(0..500), &limits, &start));
            let other = scope.spawn(|| crowd(&url, &(500..1000), &limits, &start));
            (one.join().expect("no panic"), other.join().expect("no panic"))
        });
        for (run, limit) in limits.iter().enumerate() {
            assert_eq!(one.0[run] + other.0[run], *limit as usize, "{} run {run}", program.name);
        }
        let rate = (1000 * runs) as f64 / one.1.max(other.1).as_secs_f64();
        eprintln!("{}: {runs} runs of 1000 first requests over two gateways, all exact: {rate:.0} a second", program.name);
    }
}

#[tokio::test]
async fn gateways_refuse_evict_and_take_in_each_others_sessions() {
    for program in programs("gateways that share a store") {
        let server = Server::start(&program, &[]);
        let (config, clock) = (config(&server.url(), ""), Clock::System);
        let (a, b, c) = tokio::join!(Gateway::join(&config, &clock), Gateway::join(&config, &clock), Gateway::join(&config, &clock));

        let ask = |viewer| Caller::of(1, viewer).now(at_once(1, OnFull::Refuse), &clock);
        let mine = a.admit(&ask(1)).await.expect("the first").session;
        for other in [&b, &c] {
            assert!(refused(&other.admit(&ask(2)).await, Limit::ConcurrentToken));
        }
        let again = b.admit(&ask(1)).await.expect("the same viewer elsewhere");
        assert_eq!((again.session.id, again.evicted.len()), (mine.id, 0));
        let child = c.fleet.take_in(mine.id, clock.now(), seen()).await.expect("a child of it");
        assert_eq!((child.id, child.ends, child.keys), (mine.id, mine.ends, mine.keys));
        assert!(c.sessions.touch(mine.id, clock.now(), 0).is_ok(), "from now on without the store");

        let evicting = Caller::of(1, 2).now(at_once(1, OnFull::EvictOldest), &clock);
        let start = Instant::now();
        let next = b.admit(&evicting).await.expect("evicts");
        assert_eq!(next.evicted, [mine.id]);
        let ended = |gateway: &Gateway| gateway.sessions.get(mine.id).is_some_and(|session| session.ended() == Some(End::Evicted));
        tokio::join!(a.until("evicted", ended), c.until("evicted", ended));
        eprintln!("{}: an eviction reached two others in {:?}", program.name, start.elapsed());
        assert!(start.elapsed() < PROPAGATION);
        assert_eq!(a.sessions.touch(mine.id, clock.now(), 0).err(), Some(Gone::Ended(End::Evicted)));
        let late = c.fleet.take_in(mine.id, clock.now(), seen()).await;
        assert!(matches!(late, Err(EntryFault::Gone(_))), "{late:?}");

        let start = Instant::now();
        assert!(a.fleet.end(next.session.id, End::Closed, clock.now()).is_none(), "it does not live here");
        b.until("closed", |b| b.sessions.is_empty()).await;
        eprintln!("{}: an operator's end reached another in {:?}", program.name, start.elapsed());
        assert!(a.admit(&ask(3)).await.is_ok(), "the place is free");
    }
}

async fn revoke_and_restore(name: &str, config: &tollgate::session::ValkeyStoreConfig) -> Duration {
    let clock = Clock::System;
    let (a, b) = tokio::join!(Gateway::join(config, &clock), Gateway::join(config, &clock));
    let caller = Caller { subject: Some(7), ..Caller::of(1, 1) };
    let session = b.admit(&caller.now(at_once(5, OnFull::Refuse), &clock)).await.expect("let in").session;
    let target = Target::Subject("subject7".into());
    let revocation = Revocation { target: target.clone(), since: clock.now(), until: clock.now().plus(600) };
    let start = Instant::now();
    assert_eq!(a.fleet.revoke(&revocation, clock.now()), Ok(0));
    b.until("revoked", |_| session.ended() == Some(End::Revoked)).await;
    let took = start.elapsed();
    assert!(took < PROPAGATION, "{took:?}");
    assert!(b.revocations.is_revoked(&(&*session).into(), clock.now()));

    let late = Gateway::join(config, &clock).await;
    assert_eq!(late.revocations.list(clock.now()), [revocation], "{name}: a gateway that starts later");
    assert!(a.fleet.restore(&target, clock.now()));
    for gateway in [&b, &late] {
        gateway.until("restored", |gateway| gateway.revocations.is_empty()).await;
    }
    took
}

#[tokio::test]
async fn a_revocation_reaches_every_gateway() {
    for program in programs("revocations of a fleet") {
        let server = Server::start(&program, &[]);
        let took = revoke_and_restore(program.name, &config(&server.url(), "")).await;
        eprintln!("{}: a revocation reached another in {took:?}", program.name);
    }
}

#[tokio::test]
async fn users_passwords_and_polling_alone() {
    for program in programs("users of a shared store") {
        // It may not subscribe, so nothing is pushed to it.
        let user = "--user tollgate on >open-sesame resetchannels ~{tollgate:}* +@read +@write +@scripting +@connection +time";
        let arguments: Vec<_> = user.split(' ').chain(["--user", "default", "off"]).map(str::to_owned).collect();
        let server = Server::start(&program, &arguments);
        // More than once, because a poll may happen to come at once.
        for _ in 0..3 {
            let took = revoke_and_restore(program.name, &config(&server.url(), "username = 'tollgate'\npassword_env = 'PASSWORD'")).await;
            eprintln!("{}: a revocation reached another by polling alone in {took:?}", program.name);
        }

        let stranger = Gateway::alone(&config(&server.url(), ""), &Clock::System);
        let outcome = stranger.admit(&Caller::of(1, 1).now(at_once(1, OnFull::Refuse), &Clock::System)).await;
        assert!(matches!(outcome, Err(EntryFault::Away(_))), "{outcome:?}");
        assert!(!stranger.fleet.is_up());
    }
}

#[tokio::test]
async fn a_cluster_holds_a_fleet_on_one_node() {
    for program in programs("a store that is a cluster") {
        let server = server::cluster(&program, 1).remove(0);
        let config = config(&server.url(), "cluster = true");
        revoke_and_restore(program.name, &config).await;
        let clock = Clock::System;
        let (a, b) = tokio::join!(Gateway::join(&config, &clock), Gateway::join(&config, &clock));
        let ask = |viewer| {
            let caller = Caller { subject: Some(1), device: Some(viewer), asset: Some(1), ..Caller::of(viewer, viewer) };
            let mut terms = at_once(1, OnFull::Refuse);
            (terms.per_subject, terms.per_device, terms.per_asset) = (Some(5), Some(5), Some(2));
            caller.now(terms, &clock)
        };
        assert!(a.admit(&ask(11)).await.is_ok() && b.admit(&ask(12)).await.is_ok());
        let third = a.admit(&ask(13)).await;
        assert!(refused(&third, Limit::ConcurrentAsset), "{third:?}");
    }
}

#[tokio::test]
async fn three_gateways_count_together_on_a_cluster_of_three_masters() {
    for program in programs("a cluster of three masters") {
        let mut nodes = server::cluster(&program, 3);
        let urls: Vec<_> = nodes.iter().map(Server::url).collect();
        // Each gateway knows them in another order.
        let place = |first: usize| {
            let others = [&urls[(first + 1) % 3], &urls[(first + 2) % 3]];
            config(&urls[first], &format!("cluster = true\nmore_urls = {others:?}"))
        };
        let clock = Clock::System;
        let (ours, theirs, last) = (place(0), place(1), place(2));
        let (a, b, c) = tokio::join!(Gateway::join(&ours, &clock), Gateway::join(&theirs, &clock), Gateway::join(&last, &clock));
        let ask = |token, viewer| Caller::of(token, viewer).now(at_once(7, OnFull::Refuse), &clock);
        let mut admitted = 0;
        for viewer in 0..30 {
            let gateway = [&a, &b, &c][viewer as usize % 3];
            let outcome = gateway.admit(&ask(1, viewer)).await;
            assert!(outcome.is_ok() || refused(&outcome, Limit::ConcurrentToken), "{outcome:?}");
            admitted += u32::from(outcome.is_ok());
        }
        assert_eq!(admitted, 7, "{}", program.name);
        let took = revoke_and_restore(program.name, &theirs).await;
        eprintln!("{}: a revocation reached another over a cluster in {took:?}", program.name);

        let holder = nodes[0].slot("{tollgate:}") * 3 / server::SLOTS;
        nodes[(holder + 1) % 3].kill();
        for (gateway, viewer) in [(&a, 100), (&b, 101), (&c, 102)] {
            let outcome = gateway.admit(&ask(2, viewer)).await;
            assert!(outcome.is_ok(), "{}: a node without our keys is no loss: {outcome:?}", program.name);
        }
        nodes[holder].kill();
        for (gateway, viewer) in [(&a, 200), (&b, 201), (&c, 202)] {
            let denied = gateway.fleet.admit(&ask(3, viewer), OnStoreError::Deny).await;
            assert!(matches!(denied, Err(EntryFault::Away(_))), "{denied:?}");
            assert!(gateway.fleet.admit(&ask(3, viewer), OnStoreError::Local).await.is_ok());
        }
    }
}

#[tokio::test]
async fn without_the_store_each_route_does_as_it_says() {
    for program in programs("a store that dies") {
        let mut server = Server::start(&program, &[]);
        let (config, clock) = (config(&server.url(), ""), Clock::System);
        let (a, b) = tokio::join!(Gateway::join(&config, &clock), Gateway::join(&config, &clock));
        let ask = |viewer| Caller::of(1, viewer).now(at_once(2, OnFull::Refuse), &clock);
        let mine = a.admit(&ask(1)).await.expect("let in").session;
        let target = Target::TokenId("withdrawn".into());
        let revocation = Revocation { target, since: clock.now(), until: clock.now().plus(600) };
        a.fleet.revoke(&revocation, clock.now()).expect("room");
        b.until("revoked", |b| b.revocations.len() == 1).await;

        server.kill();
        let deny = a.fleet.admit(&ask(2), OnStoreError::Deny).await;
        assert!(matches!(deny, Err(EntryFault::Away(_))), "{deny:?}");
        assert_eq!(a.fleet.admit(&ask(1), OnStoreError::Deny).await.expect("who watches goes on").session.id, mine.id);
        assert!(a.fleet.admit(&ask(2), OnStoreError::Local).await.is_ok());
        assert!(refused(&a.fleet.admit(&ask(3), OnStoreError::Local).await, Limit::ConcurrentToken));
        assert!(b.fleet.admit(&ask(3), OnStoreError::Local).await.is_ok(), "this gateway counts by itself");
        assert!(a.fleet.admit(&ask(4), OnStoreError::Allow).await.is_ok());
        assert!(a.metrics.sum("session_store_errors_total") > 0.0);
        a.until("down", |a| !a.fleet.is_up()).await;
        let start = Instant::now();
        let quick = a.fleet.admit(&ask(5), OnStoreError::Deny).await;
        assert!(matches!(quick, Err(EntryFault::Away(_))) && start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());

        // It comes back with nothing; gateways tell it what they hold.
        server.restart();
        tokio::join!(a.until("up again", |a| a.fleet.is_up()), b.until("up again", |b| b.fleet.is_up()));
        let renewals = b.fleet.progress().borrow().renewals;
        b.until("renewed", |b| b.fleet.progress().borrow().renewals > renewals + 1).await;
        let renewals = a.fleet.progress().borrow().renewals;
        a.until("renewed", |a| a.fleet.progress().borrow().renewals > renewals + 1).await;
        assert!(refused(&a.admit(&ask(6)).await, Limit::ConcurrentToken), "four live, and two may");
        assert_eq!(b.admit(&ask(1)).await.expect("known again").session.id, mine.id);
        let late = Gateway::join(&config, &clock).await;
        late.until("revocations are back", |late| late.revocations.list(clock.now()) == [revocation.clone()]).await;
    }
}

#[tokio::test]
async fn a_cut_fleet_admits_at_most_the_limit_on_each_gateway() {
    const LIMIT: u32 = 3;
    for program in programs("a fleet that is cut") {
        let server = Server::start(&program, &[]);
        let clock = Clock::manual(tollgate::clock::UnixTime(1_800_000_000));
        let (cable, other_cable) = tokio::join!(Relay::to(server.port), Relay::to(server.port));
        let through = |relay: &Relay| rig::config_within(&format!("redis://{}", relay.address), "", "300ms");
        let (near, far, farther) = (config(&server.url(), ""), through(&cable), through(&other_cable));
        let (a, b, c) = tokio::join!(Gateway::join(&near, &clock), Gateway::join(&far, &clock), Gateway::join(&farther, &clock));
        let ask = |viewer| Caller::of(1, viewer).now(at_once(LIMIT, OnFull::Refuse), &clock);
        b.admit(&ask(0)).await.expect("before the cut");

        cable.cut();
        other_cable.cut();
        let count = async |gateway: &Gateway, from: u32| {
            let mut admitted = 0;
            for viewer in from..from + 10 {
                admitted += u32::from(gateway.fleet.admit(&ask(viewer), OnStoreError::Local).await.is_ok());
            }
            admitted
        };
        assert_eq!(count(&a, 100).await, LIMIT - 1, "the store still counts what the others hold");
        assert_eq!(count(&b, 200).await, LIMIT - 1, "its own one counts here too");
        assert_eq!(count(&c, 300).await, LIMIT, "knows of nobody");
        for cut in [&b, &c] {
            let denied = cut.fleet.admit(&ask(400), OnStoreError::Deny).await;
            assert!(matches!(denied, Err(EntryFault::Away(_))), "{denied:?}");
        }
        // After a while the store gives the places of the silent gateways away.
        clock.set(clock.now().plus(i64::from(60 + RENEWAL_GRACE + 1)));
        let go_on = |gateway: &Gateway| {
            let live = gateway.sessions.renewals(tollgate::clock::UnixTime::MIN);
            live.iter().for_each(|one| drop(gateway.sessions.touch(one.id, clock.now(), 0)));
        };
        go_on(&a);
        let renewals = a.fleet.progress().borrow().renewals;
        a.until("renewed", |a| a.fleet.progress().borrow().renewals > renewals + 1).await;
        count(&a, 500).await;
        go_on(&b);
        go_on(&c);
        let all = a.sessions.len() + b.sessions.len() + c.sessions.len();
        // What README promises: the limit on each gateway.
        assert!(all > LIMIT as usize && all <= 3 * LIMIT as usize, "{all} at limit {LIMIT} on three gateways");
        eprintln!("{}: {all} sessions at limit {LIMIT} on three gateways that were cut apart", program.name);
        assert!(c.fleet.admit(&ask(600), OnStoreError::Allow).await.is_ok(), "beyond any limit, as it says");

        for (cable, gateway) in [(&cable, &b), (&other_cable, &c)] {
            cable.heal();
            gateway.until("back", |gateway| gateway.fleet.is_up()).await;
            let renewals = gateway.fleet.progress().borrow().renewals;
            gateway.until("renewed", |gateway| gateway.fleet.progress().borrow().renewals > renewals).await;
        }
        assert!(refused(&a.admit(&ask(700)).await, Limit::ConcurrentToken), "over the limit until enough have ended");
    }
}

#[tokio::test]
async fn the_places_of_a_dead_gateway_come_back() {
    for program in programs("a gateway that dies") {
        let server = Server::start(&program, &[]);
        let (config, clock) = (config(&server.url(), ""), Clock::manual(tollgate::clock::UnixTime(1_800_000_000)));
        let (a, b) = tokio::join!(Gateway::join(&config, &clock), Gateway::join(&config, &clock));
        let ask = |viewer| Caller::of(1, viewer).now(at_once(1, OnFull::Refuse), &clock);
        let idle = a.admit(&ask(1)).await.expect("let in").session.idle();
        drop(a);
        clock.set(clock.now().plus(i64::from(idle + RENEWAL_GRACE)));
        assert!(refused(&b.admit(&ask(2)).await, Limit::ConcurrentToken), "it may have been renewed late");
        clock.set(clock.now().plus(1));
        assert!(b.admit(&ask(2)).await.is_ok());
    }
}

#[tokio::test]
async fn a_silent_session_comes_back_with_the_stores_word() {
    for program in programs("a session that comes back") {
        let server = Server::start(&program, &[]);
        let (config, clock) = (config(&server.url(), ""), Clock::manual(tollgate::clock::UnixTime(1_800_000_000)));
        let (a, b) = tokio::join!(Gateway::join(&config, &clock), Gateway::join(&config, &clock));
        let ask = |viewer| Caller::of(1, viewer).now(at_once(1, OnFull::Refuse), &clock);
        let mine = a.admit(&ask(1)).await.expect("let in").session;
        mine.add_bytes(1000);
        clock.set(clock.now().plus(i64::from(mine.idle()) + 1));
        assert_eq!(a.sessions.sweep(clock.now()).idle, 1);
        let renewals = a.fleet.progress().borrow().renewals;
        a.until("given back", |a| a.fleet.progress().borrow().renewals > renewals + 1).await;
        let other = b.admit(&ask(2)).await.expect("the place is free before the grace is over").session;
        let back = a.fleet.resume(mine.id, clock.now(), ask(1).network, OnStoreError::Deny).await;
        assert!(refused(&back, Limit::ConcurrentToken));
        b.fleet.end(other.id, End::Closed, clock.now());
        let renewals = b.fleet.progress().borrow().renewals;
        b.until("told", |b| b.fleet.progress().borrow().renewals > renewals + 1).await;
        let back = a.fleet.resume(mine.id, clock.now(), ask(1).network, OnStoreError::Deny).await.expect("room");
        assert_eq!((back.session.id, back.session.bytes()), (mine.id, 1000));
    }
}

#[tokio::test]
async fn who_fell_too_far_behind_is_told() {
    for program in programs("a log that was cut") {
        let server = Server::start(&program, &[]);
        let (config, clock) = (config(&server.url(), ""), Clock::System);
        let (behind, busy) = (rig::store(&config, &clock), rig::store(&config, &clock));
        assert_eq!(behind.changes().await, Ok(vec![Change::Gap]), "who starts knows nothing");
        let closed = || (SessionId::new(clock.now()), End::Closed);
        busy.end((0..11_000).map(|_| closed()).collect()).await.expect("the store answers");
        assert_eq!(behind.changes().await, Ok(vec![Change::Gap]));
        let (id, end) = closed();
        busy.end(vec![(id, end)]).await.expect("the store answers");
        assert_eq!(behind.changes().await, Ok(vec![Change::Ended { id, end }]));
    }
}

#[tokio::test]
async fn tls_with_a_ca_and_a_certificate_of_our_own() {
    let authority = Authority::new();
    let (theirs, ours) = (authority.issue("store", &["localhost"]), authority.issue("gateway", &["gateway"]));
    for program in programs("a store behind TLS") {
        let port = crate::peer::free_port().port();
        let arguments = server::tls_arguments(port, &authority.ca_file(), &theirs.cert, &theirs.key);
        if !Server::takes(&program, &arguments) {
            eprintln!("skipped: a store behind TLS: this build of {} has no TLS", program.name);
            continue;
        }
        let _server = Server::start(&program, &arguments);
        let url = format!("rediss://localhost:{port}");
        let ca = format!("ca_file = '{}'", authority.ca_file().display());
        let certificate = format!("client_cert_file = '{}'\nclient_key_file = '{}'", ours.cert.display(), ours.key.display());
        let clock = Clock::System;
        let ask = Caller::of(1, 1).now(at_once(1, OnFull::Refuse), &clock);
        let good = Gateway::join(&config(&url, &format!("{ca}\n{certificate}")), &clock).await;
        assert!(good.admit(&ask).await.is_ok());
        for (bad, why) in [(&ca, "no certificate"), (&certificate, "a CA that is not public")] {
            let outcome = Gateway::alone(&config(&url, bad), &clock).admit(&ask).await;
            assert!(matches!(outcome, Err(EntryFault::Away(_))), "{why}: {outcome:?}");
        }
    }
}
