//! The script and the table answer alike: random asks, ends and bytes go to both.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use tollgate::clock::{Clock, UnixTime};
use tollgate::metrics::Metrics;
use tollgate::session::store::{Answer, AskRecord, Renewal, SharedStore as _};
use tollgate::session::{End, Limit, OnFull, RouteSessionConfig, SessionId, Sessions, Terms};
use tollgate::token::Grant;
use tollgate::units::{Period, Size};

use super::rig::{Caller, config, store};
use super::server::{Server, programs};

const START: UnixTime = UnixTime(1_800_000_000);
const TOKEN_LIFE: i64 = 700;

#[derive(Debug, Clone)]
enum Step {
    Ask(Caller),
    End(prop::sample::Index),
    Bytes(prop::sample::Index, u64),
    Pass(i64),
}

fn caller() -> impl Strategy<Value = Caller> {
    let some = || prop::option::weighted(0.7, 0_u32..2);
    (0_u32..2, 0_u32..5, some(), some(), some(), 0_u32..3).prop_map(|(token, viewer, subject, device, asset, network)| Caller {
        token,
        viewer,
        subject,
        device,
        asset,
        network,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => caller().prop_map(Step::Ask),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        2 => (any::<prop::sample::Index>(), 1_u64..600).prop_map(|(index, bytes)| Step::Bytes(index, bytes)),
        // Either well within the idle time of a minute, however often, or beyond it and the grace.
        2 => prop_oneof![2 => Just(1_i64), 1 => Just(200)].prop_map(Step::Pass),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let most = || prop::option::of(1_u32..4);
    let on_full = prop_oneof![Just(OnFull::Refuse), Just(OnFull::EvictOldest), Just(OnFull::Observe)];
    (most(), most(), most(), most(), prop::option::of(1_u32..6), prop::option::of(1_u32..3), any::<bool>(), on_full).prop_map(
        |(token, subject, device, asset, total, networks, short, on_full)| {
            let config = RouteSessionConfig {
                concurrent_per_token: token,
                concurrent_per_subject: subject,
                concurrent_per_device: device,
                concurrent_per_asset: asset,
                total_per_token: total,
                networks_per_token: networks,
                network_window: Period::seconds(100),
                max_duration: short.then(|| Period::seconds(150)),
                max_bytes: short.then_some(Size(1000)),
                on_full,
                ..RouteSessionConfig::default()
            };
            Terms::of(&config, &Grant::default(), false)
        },
    )
}

/// An answer with sessions by the order in which they were made: their ids differ.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    In { session: usize, fresh: bool, evicted: Vec<usize>, over: Option<Limit> },
    Out(Limit),
}

fn said(ids: &mut Vec<SessionId>, id: SessionId, fresh: bool, evicted: &[SessionId], over: Option<Limit>) -> Said {
    if fresh {
        ids.push(id);
    }
    let place = |id: &SessionId| ids.iter().position(|known| known == id).expect("a session that was made before");
    Said::In { session: place(&id), fresh, evicted: evicted.iter().map(place).collect(), over }
}

async fn alike(url: &str, prefix: &str, terms: Terms, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let clock = Clock::manual(START);
    let store = store(&config(url, &format!("prefix = '{prefix}'")), &clock);
    let table = Sessions::new(10_000, &Metrics::new().expect("metrics"));
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (number, step) in steps.into_iter().enumerate() {
        let now = clock.now();
        match step {
            Step::Ask(caller) => {
                table.sweep(now);
                let ask = caller.ask(terms, now, START.plus(TOKEN_LIFE));
                let local = match table.admit(&ask) {
                    Ok(admission) => said(&mut here, admission.session.id, admission.fresh, &admission.evicted, admission.over),
                    Err(refusal) => Said::Out(refusal.limit),
                };
                let shared = match store.admit(AskRecord::new(&ask)).await.expect("the store answers") {
                    Answer::Admitted { id, fresh, evicted, over } => {
                        let evicted: Vec<_> = evicted.into_iter().map(|(id, _)| id).collect();
                        said(&mut there, id, fresh, &evicted, over)
                    }
                    Answer::Refused { limit } => Said::Out(limit),
                };
                prop_assert_eq!(local, shared, "step {}", number);
            }
            Step::End(_) | Step::Bytes(..) if here.is_empty() => {}
            Step::End(index) => {
                let at = index.index(here.len());
                table.sweep(now);
                if table.end(here[at], End::Closed, now).is_some() {
                    store.end(vec![(there[at], End::Closed)]).await.expect("the store answers");
                }
            }
            Step::Bytes(index, bytes) => {
                let at = index.index(here.len());
                table.sweep(now);
                let _ = table.touch(here[at], now, bytes);
                let session = table.get(here[at]).filter(|session| session.ended().is_none());
                if let Some(session) = session {
                    let renewal = Renewal { id: there[at], last_seen: now, idle: session.idle(), bytes: session.bytes() };
                    store.renew(vec![renewal]).await.expect("the store answers");
                }
            }
            Step::Pass(seconds) => clock.set(now.plus(seconds)),
        }
    }
    Ok(())
}

#[test]
fn the_script_and_the_table_answer_alike() {
    for program in programs("the script against the table") {
        let server = Server::start(&program, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let case = std::cell::Cell::new(0_u32);
        let settings = Config { cases: 96, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(settings).run(&(terms(), prop::collection::vec(step(), 1..40)), |(terms, steps)| {
            case.set(case.get() + 1);
            runtime.block_on(alike(&server.url(), &format!("case{}:", case.get()), terms, steps))
        });
        outcome.unwrap_or_else(|fault| panic!("{}: {fault}", program.name));
    }
}
