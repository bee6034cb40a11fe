//! One rule a case.

use super::*;
use crate::manifest::Facts;
use crate::session::store::{AskRecord, RENEWAL_GRACE};
use crate::session::{IDLE_FLOOR, IDLE_UNKNOWN};
use crate::units::{Period, Size};

fn counter(family: &prometheus::IntCounterVec, reason: &str) -> u64 {
    family.with_label_values(&["vod", reason]).get()
}

#[test]
fn the_same_viewer_has_the_same_session() {
    let ((table, _), config) = (table(9), per_token(1));
    let first = table.admit(&ask(&config, who("t", "a"), 0)).expect("first");
    let again = table.admit(&ask(&config, who("t", "a"), 5)).expect("again");
    assert_eq!((first.fresh, again.fresh), (true, false));
    assert_eq!(first.session.id, again.session.id);
    assert_eq!((table.len(), again.session.last_seen()), (1, NOW.plus(5)));
    // Another token of the same viewer is another session.
    assert!(table.admit(&ask(&config, who("u", "a"), 5)).expect("other token").fresh);
}

#[test]
fn the_next_viewer_is_refused_until_the_first_falls_silent() {
    let ((table, metrics), config) = (table(9), per_token(1));
    table.announce(&name("vod"));
    table.admit(&ask(&config, who("t", "a"), 0)).expect("first");
    let idle = i64::from(IDLE_UNKNOWN);
    assert_eq!(limit(table.admit(&ask(&config, who("t", "b"), idle))), Limit::ConcurrentToken);
    let second = table.admit(&ask(&config, who("t", "b"), idle + 1)).expect("the place is free, though nobody swept");
    assert_eq!((second.evicted.len(), table.len()), (0, 1));
    assert_eq!(counter(&metrics.sessions_refused, "concurrent_token"), 1);
    assert_eq!(counter(&metrics.sessions_ended, "idle"), 1);
    assert_eq!(metrics.sessions_active.with_label_values(&["vod"]).get(), 1);
    assert_eq!(metrics.sessions_admitted.with_label_values(&["vod"]).get(), 2);
}

#[test]
fn the_tighter_of_route_and_token_holds() {
    for (route, token, admitted) in
        [(Some(3), Some(2), 2), (Some(1), Some(2), 1), (None, Some(2), 2), (Some(3), None, 3), (None, Some(0), 0)]
    {
        let (table, _) = table(9);
        let config = RouteSessionConfig { concurrent_per_token: route, ..RouteSessionConfig::default() };
        let terms = SessionTerms { concurrent: token, ..SessionTerms::default() };
        let let_in = (0..5).filter(|n| table.admit(&ask_with(&config, who("t", &n.to_string()), 0, terms, 60)).is_ok()).count();
        assert_eq!(let_in, admitted, "{route:?} {token:?}");
    }
}

#[test]
fn each_kind_is_counted_by_itself() {
    let one = Some(1);
    let base = RouteSessionConfig::default;
    let whole = |token, viewer| Who { subject: Some("s"), device: Some("d"), asset: Some("v"), ..who(token, viewer) };
    for (config, met) in [
        (RouteSessionConfig { concurrent_per_subject: one, ..base() }, Limit::ConcurrentSubject),
        (RouteSessionConfig { concurrent_per_device: one, ..base() }, Limit::ConcurrentDevice),
        (RouteSessionConfig { concurrent_per_asset: one, ..base() }, Limit::ConcurrentAsset),
    ] {
        let (table, _) = table(9);
        table.admit(&ask(&config, whole("t", "a"), 0)).expect("first");
        assert_eq!(limit(table.admit(&ask(&config, whole("u", "b"), 0))), met);
        // Of tokens that do not say, nothing is counted.
        assert!(table.admit(&ask(&config, who("w", "c"), 0)).is_ok(), "{met:?}");
        let other = Who { subject: Some("s2"), device: Some("d2"), asset: Some("v2"), ..who("x", "d") };
        assert!(table.admit(&ask(&config, other, 0)).is_ok(), "{met:?}");
    }
}

#[test]
fn the_oldest_is_evicted_and_told_so() {
    let ((table, _), config) = (table(9), RouteSessionConfig { on_full: OnFull::EvictOldest, ..per_token(2) });
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|viewer| table.admit(&ask(&config, who("t", viewer), 0)).expect("admitted"));
    assert_eq!((a.evicted.len(), b.evicted.len()), (0, 0));
    assert_eq!((&c.evicted[..], &d.evicted[..]), (&[a.session.id][..], &[b.session.id][..]));
    assert_eq!(table.touch(a.session.id, NOW, 0).err(), Some(Gone::Ended(End::Evicted)));
    assert_eq!(table.resume(a.session.id, NOW, Key([0; 16])).err(), Some(Gone::Ended(End::Evicted).into()));
    assert!(table.touch(d.session.id, NOW, 0).is_ok());
    assert_eq!(table.len(), 2);
}

#[test]
fn nobody_is_evicted_for_one_who_is_refused_after_all() {
    let config = RouteSessionConfig { on_full: OnFull::EvictOldest, total_per_token: Some(2), ..per_token(1) };
    let (table, _) = table(9);
    table.admit(&ask(&config, who("t", "a"), 0)).expect("first");
    let second = table.admit(&ask(&config, who("t", "b"), 0)).expect("second");
    assert_eq!(limit(table.admit(&ask(&config, who("t", "c"), 0))), Limit::TotalToken);
    assert!(table.touch(second.session.id, NOW, 0).is_ok());
    let zero = SessionTerms { concurrent: Some(0), ..SessionTerms::default() };
    assert_eq!(limit(table.admit(&ask_with(&config, who("t", "d"), 0, zero, 60))), Limit::ConcurrentToken);
    assert!(table.touch(second.session.id, NOW, 0).is_ok());
}

#[test]
fn one_eviction_may_serve_two_limits() {
    let config = RouteSessionConfig { on_full: OnFull::EvictOldest, concurrent_per_subject: Some(1), ..per_token(1) };
    let (table, _) = table(9);
    let of = |token, viewer| Who { subject: Some("s"), ..who(token, viewer) };
    let a = table.admit(&ask(&config, of("t", "a"), 0)).expect("a").session.id;
    assert_eq!(table.admit(&ask(&config, of("t", "b"), 0)).expect("b").evicted, [a]);
    // Another token of the subject and the first token of another subject: two limits, two sessions in the way.
    let config = RouteSessionConfig { concurrent_per_asset: Some(2), ..config };
    let on = |token, viewer, subject| Who { subject: Some(subject), asset: Some("v"), ..who(token, viewer) };
    let c = table.admit(&ask(&config, on("u", "c", "s2"), 0)).expect("c").session.id;
    let d = table.admit(&ask(&config, on("w", "d", "s3"), 0)).expect("d").session.id;
    assert_eq!(table.admit(&ask(&config, on("u", "e", "s3"), 0)).expect("e").evicted, [c, d]);
}

#[test]
fn observing_lets_everybody_in_and_counts() {
    let config = RouteSessionConfig { on_full: OnFull::Observe, total_per_token: Some(2), max_bytes: Some(Size(10)), ..per_token(1) };
    let (table, metrics) = table(9);
    let over: Vec<_> = ["a", "b", "c"].map(|viewer| table.admit(&ask(&config, who("t", viewer), 0)).expect("in").over).into();
    assert_eq!(over, [None, Some(Limit::ConcurrentToken), Some(Limit::ConcurrentToken)]);
    assert_eq!(counter(&metrics.sessions_over_limit, "concurrent_token"), 2);
    let id = table.list(&Filter::default(), None, 9).sessions[0].id;
    assert!(table.touch(id, NOW, 10).is_ok() && table.touch(id, NOW, 10).is_ok());
    assert_eq!(counter(&metrics.sessions_over_limit, "bytes"), 1);
}

#[test]
fn a_device_that_comes_back_replaces_itself_only() {
    let ((table, _), config) = (table(9), per_token(2));
    let of = |viewer, device| Who { device: Some(device), ..who("t", viewer) };
    let phone = table.admit(&ask(&config, of("a", "phone"), 0)).expect("phone").session.id;
    let tv = table.admit(&ask(&config, of("b", "tv"), 0)).expect("tv").session.id;
    let again = table.admit(&ask(&config, of("c", "phone"), 1)).expect("phone in another network");
    assert_eq!(again.evicted, [phone]);
    assert_eq!(table.touch(phone, NOW, 0).err(), Some(Gone::Ended(End::Replaced)));
    assert!(table.touch(tv, NOW, 0).is_ok());
    assert_eq!(limit(table.admit(&ask(&config, of("d", "laptop"), 1))), Limit::ConcurrentToken);
    // Another program on the device is not the device come back.
    let mut other = ask(&config, of("e", "phone"), 1);
    other.viewer = Viewer::of(&other.keys, Some("e"), other.network, Some("another player"));
    assert_eq!(limit(table.admit(&other)), Limit::ConcurrentToken);
}

#[test]
fn what_players_say_of_themselves_gains_no_place() {
    let ((table, _), config) = (table(9), per_token(1));
    let from = |viewer, network| Who { network, ..who("t", viewer) };
    let first = table.admit(&ask(&config, from("sid", "192.0.2.1"), 0)).expect("in").session.id;
    assert_eq!(limit(table.admit(&ask(&config, from("made-up", "192.0.2.1"), 0))), Limit::ConcurrentToken);
    // The same word from another network: the place moves, and is still one.
    let moved = table.admit(&ask(&config, from("sid", "198.51.100.1"), 1)).expect("moved");
    assert_eq!((moved.evicted.as_slice(), table.len()), (&[first][..], 1));
    assert_eq!(table.touch(first, NOW, 0).err(), Some(Gone::Ended(End::Replaced)));
    // Nothing said: network and program tell.
    let mut silent = ask(&config, from("x", "198.51.100.1"), 1);
    silent.viewer = Viewer::of(&silent.keys, None, silent.network, Some("player"));
    assert_eq!((silent.viewer.device, limit(table.admit(&silent))), (None, Limit::ConcurrentToken));
    let mut empty = silent.clone();
    empty.viewer = Viewer::of(&silent.keys, Some(""), silent.network, Some("player"));
    assert_ne!(empty.viewer.key, silent.viewer.key);
}

#[test]
fn totals_survive_sessions_and_end_with_the_token() {
    let config = RouteSessionConfig { total_per_token: Some(2), ..RouteSessionConfig::default() };
    let (table, _) = table(9);
    for viewer in ["a", "b"] {
        let id = table.admit(&ask(&config, who("t", viewer), 0)).expect("in").session.id;
        table.end(id, End::Closed, NOW);
    }
    assert!(table.is_empty());
    assert_eq!(limit(table.admit(&ask(&config, who("t", "c"), 10))), Limit::TotalToken);
    table.sweep(NOW.plus(86_399));
    assert_eq!(limit(table.admit(&ask(&config, who("t", "c"), 86_399))), Limit::TotalToken);
    table.sweep(NOW.plus(86_400));
    // The token is over now; only one that lives longer could ask.
    let longer = ask_with(&config, who("t", "c"), 86_400, SessionTerms::default(), 90_000);
    assert!(table.admit(&longer).is_ok());
}

#[test]
fn a_pause_is_not_another_session() {
    let config = RouteSessionConfig { total_per_token: Some(1), max_duration: Some(Period::seconds(600)), ..per_token(1) };
    let (table, _) = table(9);
    let first = table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session;
    assert!(table.touch(first.id, NOW.plus(5), 70).is_ok());
    assert_eq!(table.sweep(NOW.plus(66)), Swept { idle: 1, duration: 0 });
    assert_eq!(table.touch(first.id, NOW.plus(100), 0).err(), Some(Gone::Ended(End::Idle)));
    let back = table.resume(first.id, NOW.plus(100), Key([0; 16])).expect("there is room");
    assert_eq!((back.fresh, back.session.id, back.session.bytes()), (true, first.id, 70));
    // What it may last goes on from its first start.
    assert_eq!((back.session.started, back.session.ends), (NOW, NOW.plus(600)));
    assert!(table.touch(first.id, NOW.plus(130), 0).is_ok() && !table.resume(first.id, NOW.plus(130), Key([0; 16])).expect("lives").fresh);
    assert_eq!(table.resume(first.id, NOW.plus(600), Key([0; 16])).err(), Some(Gone::Ended(End::Duration).into()));
}

#[test]
fn a_paused_session_waits_for_room() {
    let ((table, _), config) = (table(9), per_token(1));
    let first = table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session;
    table.sweep(NOW.plus(61));
    let second = table.admit(&ask(&config, who("t", "b"), 61)).expect("in").session;
    let refused = SessionRefusal { limit: Limit::ConcurrentToken };
    assert_eq!(table.resume(first.id, NOW.plus(62), Key([0; 16])).err(), Some(refused.into()));
    table.end(second.id, End::Closed, NOW.plus(63));
    assert!(table.resume(first.id, NOW.plus(63), Key([0; 16])).is_ok());
    // The other one was closed by an operator, which no ticket undoes.
    assert_eq!(table.resume(second.id, NOW.plus(63), Key([0; 16])).err(), Some(Gone::Ended(End::Closed).into()));
    assert_eq!(table.resume(SessionId::new(NOW), NOW, Key([0; 16])).err(), Some(Gone::Unknown.into()));
}

#[test]
fn an_old_ticket_finds_the_new_session_of_its_viewer() {
    let ((table, _), config) = (table(9), per_token(1));
    let first = table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session;
    table.sweep(NOW.plus(61));
    let second = table.admit(&ask(&config, who("t", "a"), 61)).expect("in").session;
    let found = table.resume(first.id, NOW.plus(62), Key([0; 16])).expect("the same viewer");
    assert_eq!((found.fresh, found.session.id, table.len()), (false, second.id, 1));
}

#[test]
fn what_is_closed_while_paused_stays_closed() {
    let ((table, _), config) = (table(9), per_token(1));
    for by_one in [true, false] {
        let id = table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session.id;
        table.sweep(NOW.plus(61));
        if by_one {
            assert!(table.end(id, End::Closed, NOW.plus(61)).is_none());
        } else {
            assert!(table.end_where(End::Closed, NOW.plus(61), |session| session.id == id).is_empty());
        }
        assert_eq!(table.resume(id, NOW.plus(62), Key([0; 16])).err(), Some(Gone::Ended(End::Closed).into()));
    }
}

#[test]
fn sessions_end_with_their_time() {
    let two_minutes = SessionTerms { seconds: Some(120), ..SessionTerms::default() };
    for (outlive, max, terms, lives, ends) in [
        (0, None, SessionTerms::default(), 100, 100),
        (50, None, SessionTerms::default(), 100, 150),
        (500, Some(300), SessionTerms::default(), 100, 300),
        (500, Some(300), two_minutes, 100, 120),
        (0, Some(300), two_minutes, 100, 100),
    ] {
        let config = RouteSessionConfig {
            outlive: Period::seconds(outlive),
            max_duration: max.map(Period::seconds),
            idle_timeout: Some(Period::seconds(1000)),
            ..RouteSessionConfig::default()
        };
        let (table, _) = table(9);
        let id = table.admit(&ask_with(&config, who("t", "a"), 0, terms, lives)).expect("in").session.id;
        assert!(table.touch(id, NOW.plus(ends - 1), 0).is_ok());
        assert_eq!(table.touch(id, NOW.plus(ends), 0).err(), Some(Gone::Ended(End::Duration)));
        assert_eq!(table.sweep(NOW.plus(ends)), Swept { idle: 0, duration: 1 });
        assert_eq!(table.touch(id, NOW.plus(ends), 0).err(), Some(Gone::Unknown), "forgotten: its ticket is over too");
    }
    let (table, _) = table(9);
    assert_eq!(limit(table.admit(&ask_with(&per_token(1), who("t", "a"), 0, SessionTerms::default(), 0))), Limit::Duration);
}

#[test]
fn a_time_that_is_given_once_is_not_given_again_to_the_same_viewer() {
    let config = RouteSessionConfig { idle_timeout: Some(Period::seconds(1000)), ..RouteSessionConfig::default() };
    for once in [false, true] {
        let (table, _) = table(9);
        let terms = SessionTerms { seconds: Some(60), once, ..SessionTerms::default() };
        let enter = |viewer: &str, after| table.admit(&ask_with(&config, who("t", viewer), after, terms, 500));
        enter("a", 0).expect("in");
        assert!(!enter("a", 59).expect("still in").fresh);
        if once {
            assert_eq!(limit(enter("a", 60)), Limit::Duration);
            assert_eq!(limit(enter("a", 499)), Limit::Duration);
        } else {
            assert!(enter("a", 60).expect("in again").fresh);
        }
        assert!(enter("b", 60).expect("another viewer").fresh);
    }
}

#[test]
fn idle_follows_the_playlist_unless_it_is_configured() {
    let (table, _) = table(9);
    let fixed = RouteSessionConfig { idle_timeout: Some(Period::seconds(5)), ..RouteSessionConfig::default() };
    for (config, target, idle) in
        [(RouteSessionConfig::default(), 2, IDLE_FLOOR), (RouteSessionConfig::default(), 10, 30), (fixed.clone(), 10, 5)]
    {
        let session = table.admit(&ask(&config, who("t", &format!("{target}{idle}")), 0)).expect("in").session;
        session.follow(&Facts { target_duration: Some(target), ..Facts::default() }, NOW);
        assert_eq!(session.idle(), idle);
    }
    let upload = Terms::of(&RouteSessionConfig::default(), &Grant::default(), true);
    assert_eq!((upload.idle, upload.idle_is_fixed), (600, true));
}

#[test]
fn tickets_are_good_by_themselves_for_their_lifetime_and_the_length_of_the_film() {
    let (table, _) = table(9);
    let session = table.admit(&ask(&RouteSessionConfig::default(), who("t", "a"), 0)).expect("in").session;
    let until = |now: i64, lifetime: i64| session.ticket_until(NOW.plus(now), lifetime).since(NOW);
    for lifetime in [1, 7, 80, 3600] {
        for now in 0..lifetime * 2 {
            assert!((lifetime..=lifetime + (lifetime / 8).max(1)).contains(&(until(now, lifetime) - now)), "{now} {lifetime}");
        }
    }
    let of_a_minute: std::collections::BTreeSet<_> = (0..60).map(|now| until(now, 480)).collect();
    assert!(of_a_minute.len() <= 2, "the same playlist for a while: {of_a_minute:?}");
    assert_eq!(until(0, 100_000), 86_400, "not beyond the session");
    let film = Facts { duration: Some(std::time::Duration::from_secs(5000)), ..Facts::default() };
    session.follow(&Facts { live: true, ..film }, NOW);
    assert!(until(0, 80) <= 90, "what a live playlist holds is no film");
    session.follow(&film, NOW);
    assert_eq!(until(0, 80), 5001);
    let back = |table: &Sessions| table.resume(session.id, NOW.plus(70), session_network()).expect("back").session;
    assert_eq!(table.sweep(NOW.plus(61)).idle, 1);
    assert!(table.vouches(session.id, NOW.plus(5000)) && !table.vouches(session.id, NOW.plus(5001)), "silent, but the film goes on");
    assert_eq!(back(&table).ticket_until(NOW, 80), NOW.plus(5001), "remembered over a pause");
}

fn session_network() -> Key {
    Key([0; 16])
}

#[test]
fn a_session_vouches_for_its_late_tickets_while_it_goes_on() {
    let (table, _) = table(9);
    let id = table.admit(&ask(&RouteSessionConfig::default(), who("t", "a"), 0)).expect("in").session.id;
    assert!(table.vouches(id, NOW.plus(60)) && !table.vouches(id, NOW.plus(61)), "silent, swept or not");
    table.touch(id, NOW.plus(50), 0).expect("alive");
    assert!(table.vouches(id, NOW.plus(110)));
    table.end(id, End::Evicted, NOW.plus(50));
    assert!(!table.vouches(id, NOW.plus(51)) && !table.vouches(SessionId::new(NOW), NOW));
}

#[test]
fn bytes_run_out_and_coming_in_again_brings_none() {
    let config = RouteSessionConfig { max_bytes: Some(Size(100)), ..RouteSessionConfig::default() };
    let (table, _) = table(9);
    let session = table.admit(&ask(&config, who("t", "a"), 0)).expect("in").session;
    assert!(table.touch(session.id, NOW, 99).is_ok());
    session.add_bytes(1);
    assert_eq!(table.touch(session.id, NOW, 0).err(), Some(Gone::Bytes));
    assert_eq!(limit(table.admit(&ask(&config, who("t", "a"), 1))), Limit::Bytes);
}

#[test]
fn networks_count_within_their_window() {
    let config = RouteSessionConfig { networks_per_token: Some(2), ..RouteSessionConfig::default() };
    let (table, _) = table(99);
    let from = |viewer, network| Who { network, ..who("t", viewer) };
    let a = table.admit(&ask(&config, from("a", "192.0.2.1"), 0)).expect("first").session;
    assert!(table.admit(&ask(&config, from("b", "192.0.2.200"), 0)).is_ok(), "the same /24");
    assert!(table.admit(&ask(&config, from("c", "198.51.100.1"), 10)).is_ok());
    assert_eq!(limit(table.admit(&ask(&config, from("d", "203.0.113.1"), 10))), Limit::Networks);
    let key = |ip: &str| Key::network(ip.parse().expect("ip"), 24, 56);
    assert_eq!(table.roam(&a, key("203.0.113.9"), NOW.plus(10)).err(), Some(SessionRefusal { limit: Limit::Networks }));
    assert!(table.roam(&a, key("192.0.2.7"), NOW.plus(10)).is_ok() && table.roam(&a, key("198.51.100.7"), NOW.plus(10)).is_ok());
    // The first network was last newly used at 0.
    assert_eq!(limit(table.admit(&ask(&config, from("d", "203.0.113.1"), 599))), Limit::Networks);
    assert!(table.admit(&ask(&config, from("d", "203.0.113.1"), 600)).is_ok());
    assert_eq!(limit(table.admit(&ask(&config, from("e", "192.0.2.1"), 601))), Limit::Networks);
}

#[test]
fn networks_are_prefixes() {
    let key = |ip: &str| Key::network(ip.parse().expect("ip"), 24, 56);
    assert_eq!(key("192.0.2.1"), key("192.0.2.255"));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.9"));
    assert_ne!(key("192.0.2.1"), key("192.0.3.1"));
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:ff:9::"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:100::"));
}

#[test]
fn the_ceiling_refuses_and_forgets_nobody() {
    let ((table, _), config) = (table(3), RouteSessionConfig { on_full: OnFull::Observe, ..per_token(1) });
    let ids: Vec<_> = ["a", "b", "c"].map(|token| table.admit(&ask(&config, who(token, "v"), 0)).expect("in").session.id).into();
    assert_eq!(limit(table.admit(&ask(&config, who("d", "v"), 60))), Limit::Ceiling);
    assert!(ids.iter().all(|id| table.touch(*id, NOW.plus(if *id == ids[0] { 60 } else { 1 }), 0).is_ok()));
    // Idle ones make room without a sweep from outside.
    assert!(table.admit(&ask(&config, who("d", "v"), 62)).is_ok());
    assert_eq!(table.len(), 2);
    table.set_most(2);
    assert_eq!(limit(table.admit(&ask(&config, who("e", "v"), 62))), Limit::Ceiling);
    table.set_most(3);
    assert!(table.admit(&ask(&config, who("e", "v"), 62)).is_ok());
}

#[test]
fn ended_sessions_are_kept_up_to_a_bound() {
    let ((table, _), config) = (table(10), RouteSessionConfig::default());
    let mut ids = Vec::new();
    for round in 0..40 {
        let id = table.admit(&ask(&config, who("t", &round.to_string()), 0)).expect("in").session.id;
        table.end(id, End::Idle, NOW);
        ids.push(id);
    }
    let kept = ids.iter().filter(|id| table.get(**id).is_some()).count();
    assert!((9..=10).contains(&kept), "{kept}");
    assert_eq!(table.resume(ids[0], NOW, Key([0; 16])).err(), Some(Gone::Unknown.into()), "what is forgotten does not come back");
    assert!(table.resume(ids[39], NOW, Key([0; 16])).is_ok());
}

#[test]
fn operators_page_through_the_list() {
    let ((table, _), config) = (table(99), RouteSessionConfig::default());
    for n in 0..25 {
        let subject = if n % 2 == 0 { "even" } else { "odd" };
        table.admit(&ask(&config, Who { subject: Some(subject), ..who("t", &n.to_string()) }, n)).expect("in");
    }
    let filter = Filter { subject: Some("even".into()), ..Filter::default() };
    let first = table.list(&filter, None, 10);
    let second = table.list(&filter, first.next, 10);
    assert_eq!((first.sessions.len(), first.total, second.sessions.len(), second.next), (10, 13, 3, None));
    assert!(first.sessions.last().expect("some").started < second.sessions[0].started);
    let nothing = Filter { fingerprint: Some("00000000".into()), ..Filter::default() };
    assert_eq!(table.list(&nothing, None, 10).total, 0);
    let by_token = Filter { fingerprint: Some(Fingerprint::of(b"t").to_string()), ..Filter::default() };
    assert_eq!(table.list(&by_token, None, 10).total, 25);
}

#[test]
fn what_a_store_decided_is_taken_in() {
    let ((table, _), config) = (table(2), per_token(1));
    let (a, b, c) = (ask(&config, who("t", "a"), 0), ask(&config, who("t", "b"), 0), ask(&config, who("u", "c"), 0));
    assert!(table.own(&a).is_none());
    let admitted = |record: &AskRecord, evicted: &[SessionId]| Answer::Admitted {
        id: record.id,
        fresh: true,
        evicted: evicted.iter().map(|id| (*id, End::Evicted)).collect(),
        over: None,
    };
    let record = AskRecord::new(&a);
    let first = table.adopt(&a, &admitted(&record, &[])).expect("taken in").session;
    assert_eq!(table.own(&a).map(|session| session.id), Some(record.id));
    // The store has evicted it: local limits are not asked.
    let second = table.adopt(&b, &admitted(&AskRecord::new(&b), &[first.id])).expect("taken in");
    assert_eq!((second.evicted.as_slice(), first.ended()), (&[first.id][..], Some(End::Evicted)));
    assert!(table.adopt(&c, &admitted(&AskRecord::new(&c), &[])).is_ok());
    let over = ask(&config, who("w", "d"), 0);
    assert_eq!(limit(table.adopt(&over, &admitted(&AskRecord::new(&over), &[]))), Limit::Ceiling);
    assert_eq!(limit(table.adopt(&over, &Answer::Refused { limit: Limit::TotalToken })), Limit::TotalToken);
    assert_eq!(table.renewals(NOW).len(), 2);
    assert!(table.renewals(NOW.plus(1)).is_empty() && RENEWAL_GRACE > 2);
    // Records travel as JSON and come back the same.
    let text = serde_json::to_string(&record).expect("written");
    let back: AskRecord = serde_json::from_str(&text).expect("read");
    assert_eq!(serde_json::to_string(&back).expect("written"), text);
}

#[test]
fn a_token_has_one_key_however_it_is_signed() {
    let grant = Grant::default();
    let with_id = |id: &str| Grant { token_id: Some(id.into()), ..Grant::default() };
    let key = |token: &str, grant: &Grant| Key::token(&name("jwt"), token, grant);
    assert_eq!(key("eyJh.eyJi.sig1", &grant), key("eyJh.eyJi.sig2", &grant));
    assert_ne!(key("eyJh.eyJi.sig", &grant), key("eyJh.eyJj.sig", &grant));
    assert_ne!(key("abc.def.1", &grant), key("abc.def.2", &grant), "only a JWS has a part that is signed");
    assert_eq!(key("eyJh.eyJi.s", &with_id("7")), key("eyJh.eyJx.t", &with_id("7")));
    assert_ne!(key("eyJh.eyJi.s", &with_id("7")), key("eyJh.eyJi.s", &with_id("8")));
    assert_ne!(Key::token(&name("a"), "t", &grant), Key::token(&name("b"), "t", &grant));
}

#[test]
fn limits_and_ends_are_the_words_of_the_metrics() {
    let (table, metrics) = table(1);
    table.announce(&name("vod"));
    let text = String::from_utf8(metrics.render()).expect("text");
    for word in Limit::ALL.map(Limit::word) {
        assert!(text.contains(&format!("sessions_refused_total{{reason=\"{word}\",route=\"vod\"}} 0")), "{word}");
        assert_eq!(serde_json::to_string(&Limit::ALL.into_iter().find(|l| l.word() == word)).expect("json"), format!("\"{word}\""));
    }
    for word in End::ALL.map(End::word) {
        assert!(text.contains(&format!("sessions_ended_total{{reason=\"{word}\",route=\"vod\"}} 0")), "{word}");
    }
}
