//! Many at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

const THREADS: usize = 8;

/// `asks` from many threads at once; how many were let in.
fn rush(table: &Sessions, config: &RouteSessionConfig, asks: usize) -> usize {
    let (barrier, let_in) = (Barrier::new(THREADS), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, let_in) = (&barrier, &let_in);
            let mine: Vec<Ask> = (thread..asks).step_by(THREADS).map(|n| ask(config, who("t", &n.to_string()), 0)).collect();
            scope.spawn(move || {
                barrier.wait();
                let got = mine.iter().filter(|ask| table.admit(ask).is_ok()).count();
                let_in.fetch_add(got, Ordering::Relaxed);
            });
        }
    });
    let_in.into_inner()
}

#[test]
fn a_thousand_first_requests_at_once_admit_exactly_the_limit() {
    for run in 0..100 {
        let most = [1, 2, 7, 100, 999][run % 5];
        let (table, _) = table(10_000);
        assert_eq!(rush(&table, &per_token(most), 1000), most as usize, "run {run}");
        assert_eq!(table.len(), most as usize);
    }
}

#[test]
fn the_ceiling_and_the_total_are_exact_too() {
    for _ in 0..20 {
        let (small, _) = table(37);
        assert_eq!(rush(&small, &RouteSessionConfig::default(), 1000), 37);
        let (table, _) = table(10_000);
        assert_eq!(rush(&table, &RouteSessionConfig { total_per_token: Some(41), ..RouteSessionConfig::default() }, 1000), 41);
    }
}

#[test]
fn one_viewer_at_once_is_one_session() {
    let ((table, _), config) = (table(99), per_token(1));
    let ids: Vec<SessionId> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session.id)).collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(table.len(), 1);
}

#[test]
fn evictions_at_once_never_leave_more_than_the_limit() {
    let ((table, _), config) = (table(10_000), RouteSessionConfig { on_full: OnFull::EvictOldest, ..per_token(3) });
    assert_eq!(rush(&table, &config, 1000), 1000);
    assert_eq!(table.len(), 3);
    assert_eq!(table.list(&Filter::default(), None, 9).total, 3);
}

#[test]
fn ends_sweeps_and_touches_at_once_give_every_place_back() {
    let ((table, metrics), config) = (table(500), per_token(400));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            let mut now = 0;
            while !stop.load(Ordering::Relaxed) {
                now += 7;
                table.sweep(NOW.plus(now));
                table.end_where(End::Revoked, NOW, |session| session.id.as_bytes()[15] % 5 == 0);
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (table, config) = (&table, &config);
                scope.spawn(move || {
                    for n in 0..500 {
                        let Ok(admission) = table.admit(&ask(config, who("t", &format!("{worker}.{n}")), n)) else { continue };
                        let id = admission.session.id;
                        let _ = table.touch(id, NOW.plus(n), 10);
                        let _ = table.resume(id, NOW.plus(n), Key([0; 16]));
                        if n % 3 == 0 {
                            table.end(id, End::Closed, NOW.plus(n));
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().expect("worker"));
        stop.store(true, Ordering::Relaxed);
        sweeper.join().expect("sweeper");
    });
    table.sweep(NOW.plus(86_400));
    assert_eq!((table.len(), metrics.sessions_active.with_label_values(&["vod"]).get()), (0, 0));
    assert_eq!(rush(&table, &per_token(400), 1000), 400, "all places are free again");
}

/// Run by hand: `cargo test --release --lib what_ -- --ignored --nocapture --test-threads=1`.
#[test]
#[ignore = "measures"]
fn what_the_table_costs() {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
    };
    let ((table, _), config) = (table(200_000), per_token(2));
    let tokens: Vec<String> = (0..100_000).map(|n| format!("token-{n}")).collect();
    let asks: Vec<Ask> =
        tokens.iter().map(|token| ask(&config, Who { subject: Some(token), asset: Some("v"), ..who(token, "a") }, 0)).collect();
    let (before, began) = (resident(), std::time::Instant::now());
    let ids: Vec<SessionId> = asks.iter().map(|ask| table.admit(ask).expect("in").session.id).collect();
    println!("admit: {} ns, {:.0} a second", began.elapsed().as_nanos() / 100_000, 100_000.0 / began.elapsed().as_secs_f64());
    println!("memory: {} bytes a session", (resident() - before) / 100_000);
    let began = std::time::Instant::now();
    for id in ids.iter().cycle().take(1_000_000) {
        std::hint::black_box(table.touch(*id, NOW, 0)).expect("lives");
    }
    println!("touch, 100,000 sessions in turn: {} ns", began.elapsed().as_nanos() / 1_000_000);
    let began = std::time::Instant::now();
    for id in ids[..1000].iter().cycle().take(1_000_000) {
        std::hint::black_box(table.touch(*id, NOW, 0)).expect("lives");
    }
    println!("touch, 1,000 sessions in turn: {} ns", began.elapsed().as_nanos() / 1_000_000);
    let session = table.get(ids[0]).expect("lives");
    let began = std::time::Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(table.go_on(&session, NOW, 1)).expect("lives");
    }
    println!("a piece of an answer: {} ns", began.elapsed().as_nanos() / 1_000_000);
    let began = std::time::Instant::now();
    let swept = table.sweep(NOW.plus(30));
    println!("sweep that ends none of 100,000: {} us {swept:?}", began.elapsed().as_micros());
    let began = std::time::Instant::now();
    let swept = table.sweep(NOW.plus(61));
    println!("sweep that ends 100,000: {} us {swept:?}", began.elapsed().as_micros());
}
