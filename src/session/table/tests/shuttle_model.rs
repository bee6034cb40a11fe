//! The table under a scheduler that chooses who goes on at every lock and atomic: no order of threads lets one too many in,
//! or loses a place. Run by `tests/run`: `cargo test --lib --features shuttle shuttle_`.

use std::sync::OnceLock;

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::*;

/// Orders tried of each test, half of them by chance, half by priorities (which finds rare ones of few switches).
const ORDERS: usize = 1500;
const THREADS: usize = 4;

fn in_every_order(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), ORDERS);
    shuttle::check_pct(test, ORDERS, 3);
}

/// One set of metrics: its counters are no part of the model.
fn small_table(most: usize) -> Sessions {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    Sessions::new(most, METRICS.get_or_init(|| Metrics::new().expect("metrics")))
}

fn viewer(config: &RouteSessionConfig, name: usize, now: i64) -> Ask {
    ask(config, who("t", &name.to_string()), now)
}

/// Nobody is alive, nothing counts anybody, and there is room for exactly `most` again.
fn assert_all_given_back(table: &Sessions, config: &RouteSessionConfig, most: usize) {
    assert_eq!(table.len(), 0);
    assert!(table.book().holds_no_place());
    let again = (0..most + 1).filter(|name| table.admit(&viewer(config, 100 + name, 9000)).is_ok()).count();
    assert_eq!(again, most);
}

/// `enter` lets a viewer in, or not. Counts those inside; none may be one too many.
fn come_and_go(most: usize, enter: impl Fn(&Sessions, usize) -> Option<SessionId> + Send + Sync + Copy + 'static) {
    let (table, inside) = (small_table(100), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..THREADS)
        .map(|name| {
            let (table, inside) = (table.clone(), inside.clone());
            thread::spawn(move || {
                for round in 0..2 {
                    let Some(id) = enter(&table, name * 10 + round) else { continue };
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < most, "one too many");
                    assert!(table.touch(id, NOW, 1).is_ok());
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert!(table.end(id, End::Closed, NOW).is_some());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_all_given_back(&table, &per_token(u32::try_from(most).expect("few")), most);
}

#[test]
fn shuttle_never_lets_one_too_many_in() {
    in_every_order(|| come_and_go(2, |table, name| Some(table.admit(&viewer(&per_token(2), name, 0)).ok()?.session.id)));
}

/// The model sees what it is there for: to look first and take then lets one too many in.
#[test]
#[should_panic(expected = "one too many")]
fn shuttle_finds_who_looks_before_he_takes() {
    let unlimited = |table: &Sessions, name| {
        let room = table.len() < 2;
        room.then(|| table.admit(&viewer(&RouteSessionConfig::default(), name, 0)).expect("no limit").session.id)
    };
    in_every_order(move || come_and_go(2, unlimited));
}

#[test]
fn shuttle_holds_the_ceiling() {
    in_every_order(|| {
        let table = small_table(2);
        let enter = |name: usize| {
            let table = table.clone();
            thread::spawn(move || {
                let token = name.to_string();
                usize::from(table.admit(&ask(&RouteSessionConfig::default(), who(&token, "a"), 0)).is_ok())
            })
        };
        let threads: Vec<_> = (0..THREADS).map(enter).collect();
        let let_in: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!((let_in, table.len()), (2, 2));
    });
}

#[test]
fn shuttle_gives_one_viewer_one_session() {
    in_every_order(|| {
        let table = small_table(100);
        let enter = || {
            let table = table.clone();
            thread::spawn(move || table.admit(&viewer(&per_token(1), 1, 0)).expect("his").session.id)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| enter()).collect();
        let ids: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(table.len(), 1);
    });
}

/// Evictions, sweeps, operators and those who come back, all at once: every place is given back once.
#[test]
fn shuttle_loses_no_place() {
    in_every_order(|| {
        let table = small_table(100);
        let config = RouteSessionConfig { on_full: OnFull::EvictOldest, ..per_token(2) };
        let mut threads: Vec<_> = (0..2)
            .map(|name| {
                let (table, config) = (table.clone(), config.clone());
                thread::spawn(move || {
                    for round in 0..2 {
                        let now = i64::try_from(name * 40 + round * 70).expect("small");
                        let Ok(admission) = table.admit(&viewer(&config, name * 10 + round, now)) else { continue };
                        let id = admission.session.id;
                        let _ = table.touch(id, NOW.plus(now), 1);
                        let _ = table.resume(id, NOW.plus(now), Key([0; 16]));
                        assert!(table.len() <= 2, "evicted before the new one is let in");
                    }
                })
            })
            .collect();
        let sweeper = table.clone();
        threads.push(thread::spawn(move || {
            sweeper.sweep(NOW.plus(65));
            sweeper.sweep(NOW.plus(135));
        }));
        let operator = table.clone();
        threads.push(thread::spawn(move || drop(operator.end_where(End::Revoked, NOW, |session| session.id.as_bytes()[15] % 2 == 0))));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        table.sweep(NOW.plus(8000));
        assert_all_given_back(&table, &per_token(2), 2);
    });
}
