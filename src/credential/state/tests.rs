//! The machine, under a clock and a chance of the test's own.

use super::*;

const T0: i64 = 1_700_000_000;

fn at(seconds: f64) -> Now {
    #[allow(clippy::cast_possible_truncation, reason = "test seconds")]
    Now { wall: UnixTime(T0 + seconds.floor() as i64), run: Duration::from_secs_f64(seconds) }
}

fn life(since: i64, seconds: i64) -> Life {
    Life { since: UnixTime(T0 + since), expires: Some(UnixTime(T0 + since + seconds)) }
}

fn down() -> Refused {
    Refused::Transient("down".into())
}

/// A machine that has a value of so many seconds since 0.
fn fresh(seconds: i64, chance: f64) -> Machine {
    let mut machine = Machine::new(10);
    assert_eq!(machine.tick(at(0.0)), Step::Call);
    machine.got(life(0, seconds), at(0.0), chance).expect("a life");
    machine
}

/// The first tenth of a second from `from` on at which it calls.
fn calls_at(machine: &mut Machine, from: f64, to: f64) -> Option<f64> {
    let mut now = from;
    while now < to {
        if machine.tick(at(now)) == Step::Call {
            return Some(now);
        }
        now += 0.1;
    }
    None
}

#[test]
fn renewals_fall_between_six_and_eight_tenths() {
    let mut buckets = [0_u32; 10];
    let mut chance = fastrand::Rng::with_seed(4);
    for _ in 0..2000 {
        let begun = calls_at(&mut fresh(3600, chance.f64()), 2000.0, 3600.0).expect("a call");
        assert!((2159.0..=2881.0).contains(&begun), "{begun}");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of one")]
        let bucket = (((begun / 3600.0 - 0.6) / 0.02) as usize).min(9);
        buckets[bucket] += 1;
    }
    eprintln!("renewals by 2 % of the life from 60 % on: {buckets:?}");
    assert!(buckets.iter().all(|count| (120..=280).contains(count)), "not spread: {buckets:?}");
}

#[test]
fn one_call_at_a_time() {
    let mut machine = Machine::new(10);
    assert_eq!(machine.tick(at(0.0)), Step::Call);
    assert!(machine.hopeful());
    assert!((0..100).all(|second| machine.tick(at(f64::from(second))) == Step::Rest(None)));
}

#[test]
fn a_value_serves_up_to_its_end_less_the_margin_and_never_after() {
    for (seconds, margin_holds) in [(3600, 10), (30, 1), (10, 0)] {
        let machine = fresh(seconds, 0.5);
        #[allow(clippy::cast_precision_loss, reason = "test seconds")]
        let end = (seconds - margin_holds) as f64;
        assert!(machine.usable(at(end - 0.1)) && !machine.usable(at(end)), "{seconds}");
    }
    let mut machine = Machine::new(10);
    machine.got(Life { since: UnixTime(T0), expires: None }, at(0.0), 0.5).expect("a life");
    assert!(machine.usable(at(1e9)));
    assert_eq!(machine.tick(at(1e9)), Step::Rest(None), "what has no end is not renewed");
}

#[test]
fn a_clock_that_is_set_back_or_forward_does_not_stretch_a_life() {
    let mut machine = fresh(3600, 0.5);
    let back = |run: u64| Now { wall: UnixTime(T0 - 7200), run: Duration::from_secs(run) };
    assert!(machine.usable(back(3589)) && !machine.usable(back(3590)));
    assert_eq!(machine.tick(back(2520)), Step::Call, "renewed by the time that has run");
    let mut machine = fresh(3600, 0.5);
    let forward = Now { wall: UnixTime(T0 + 7200), run: Duration::from_secs(1) };
    assert!(!machine.usable(forward));
    assert_eq!(machine.tick(forward), Step::Call);
}

#[test]
fn what_comes_at_its_end_is_no_value() {
    for (since, seconds) in [(-100, 50), (0, 0), (0, -5), (-3600, 3605)] {
        let mut machine = Machine::new(10);
        assert_eq!(machine.tick(at(0.0)), Step::Call);
        assert!(machine.got(life(since, seconds), at(0.0), 0.5).is_err(), "{since} {seconds}");
        assert!(!machine.usable(at(0.0)) && matches!(machine.tick(at(0.0)), Step::Rest(Some(_))), "it waits, as after a failure");
    }
}

#[test]
fn a_value_from_before_a_restart_is_renewed_in_its_own_time() {
    let mut machine = Machine::new(10);
    machine.got(life(-1800, 3600), at(0.0), 0.5).expect("a life");
    let begun = calls_at(&mut machine, 0.0, 1800.0).expect("a call");
    assert!((719.0..=721.0).contains(&begun), "{begun}");
}

/// Calls a vendor that is down over `from..to`, and gives when it called and when there was no value.
fn outage(seconds: i64, (from, to): (f64, f64), until: f64, mut chance: impl FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut machine = fresh(seconds, chance());
    let (mut calls, mut without, mut now) = (Vec::new(), Vec::new(), 0.0);
    while now < until {
        if machine.tick(at(now)) == Step::Call {
            calls.push(now);
            if (from..to).contains(&now) {
                machine.failed(&down(), at(now), chance());
            } else {
                #[allow(clippy::cast_possible_truncation, reason = "test seconds")]
                machine.got(life(now as i64, seconds), at(now), chance()).expect("a life");
            }
        }
        if !machine.usable(at(now)) {
            without.push(now);
        }
        now += 0.05;
    }
    (calls, without)
}

#[test]
fn an_outage_of_nine_tenths_of_a_life_is_not_seen() {
    for seconds in [40, 300, 3600] {
        for seed in 0..20 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let length = f64::from(i32::try_from(seconds).expect("small"));
            let (calls, without) = outage(seconds, (0.0, 0.9 * length), 1.5 * length, || chance.f64());
            assert!(without.is_empty(), "life {seconds}, seed {seed}: without from {:?}", without.first());
            assert!(calls.len() < 120, "{} calls", calls.len());
        }
    }
}

#[test]
fn after_a_longer_outage_the_vendor_is_found_again_within_one_wait() {
    for seed in 0..20 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let (calls, without) = outage(300, (0.0, 360.0), 500.0, || chance.f64());
        let (first, last) = (without.first().expect("an outage"), without.last().expect("an outage"));
        assert!((289.9..290.2).contains(first), "used up to its end: {first}");
        assert!(*last < 360.0 + LAST_WAIT.as_secs_f64() + 0.1, "back at {last}");
        assert!(calls.len() < 60, "{} calls", calls.len());
    }
}

#[test]
fn waits_really_pass_and_double() {
    for (chance, spacing) in [(1.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]), (0.0, [0.2; 7])] {
        let mut machine = Machine::new(10);
        let mut now = 0.0;
        for expected in spacing {
            assert_eq!(machine.tick(at(now)), Step::Call);
            machine.failed(&down(), at(now), chance);
            let next = calls_at(&mut machine, now, now + 100.0).expect("a call");
            machine.postponed(Duration::ZERO, at(next));
            assert!((next - now - expected).abs() < 0.15, "{next} after {now}, not {expected}");
            now = next;
        }
    }
}

#[test]
fn a_vendor_that_names_a_wait_gets_it() {
    let mut machine = fresh(3600, 0.5);
    machine.renew_now(at(10.0));
    assert_eq!(machine.tick(at(10.0)), Step::Call);
    machine.failed(&Refused::Limited(Some(120)), at(10.0), 0.0);
    assert_eq!(machine.state(at(20.0)), State::Stale);
    machine.renew_now(at(20.0));
    let next = calls_at(&mut machine, 20.0, 400.0).expect("a call");
    assert!((129.99..130.2).contains(&next), "not before, whoever asks: {next}");
    assert!(machine.usable(at(next)));
}

#[test]
fn a_refused_account_is_asked_ever_less() {
    let mut machine = Machine::new(10);
    let refused = Refused::Account { reason: "invalid_client".into(), renewal: false };
    let (mut now, mut calls) = (0.0, 0);
    while now < 3600.0 {
        if machine.tick(at(now)) == Step::Call {
            calls += 1;
            machine.failed(&refused, at(now), 1.0);
            assert_eq!(machine.state(at(now)), State::Failed);
        }
        now += 0.1;
    }
    assert!((15..=25).contains(&calls), "{calls}");
}

#[test]
fn a_rejection_hits_its_own_generation_and_no_other() {
    let mut machine = fresh(3600, 0.5);
    let first = machine.generation();
    assert_eq!(machine.rejected(first, at(1.0)), Rejection::Invalidated);
    assert!(!machine.usable(at(1.0)));
    assert_eq!(machine.tick(at(1.0)), Step::Call, "at once");
    assert_eq!(machine.rejected(first, at(1.0)), Rejection::Invalidated, "told of the same by others");
    assert_eq!(machine.tick(at(1.0)), Step::Rest(None), "one call");
    machine.got(life(1, 3600), at(1.1), 0.5).expect("a life");
    assert_eq!(machine.rejected(first, at(1.2)), Rejection::Replaced);
    assert!(machine.usable(at(1.2)));
}

#[test]
fn an_upstream_that_rejects_everything_costs_few_calls() {
    let mut machine = fresh(36_000, 0.5);
    let (mut calls, mut now) = (0, 0.0);
    while now < 600.0 {
        machine.rejected(machine.generation(), at(now));
        if machine.tick(at(now)) == Step::Call {
            calls += 1;
            machine.got(life(0, 36_000), at(now), 0.5).expect("a life");
        }
        now += 0.1;
    }
    assert!(calls <= 11, "{calls} calls in ten minutes of rejections");
    assert!(machine.usable(at(now)), "the last one stays in use");
}
