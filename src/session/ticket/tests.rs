//! Tickets: whatever is changed in one, or in where it is found, refuses it.

use crate::token::{PathRule, Scope};
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const NOW: UnixTime = UnixTime(1_700_000_000);
const HERE: Bound<'_> = Bound { route: "vod", host: "www.example.com" };

fn secret(letter: &str) -> Secret<String> {
    Secret::new(letter.repeat(Tickets::KEY_MIN))
}

fn tickets(keys: &[&str]) -> Tickets {
    Tickets::new(&keys.iter().map(|key| secret(key)).collect::<Vec<_>>()).expect("keys")
}

fn claims(expires: i64) -> TicketClaims<'static> {
    TicketClaims { session: SessionId::new(NOW), expires: UnixTime(expires), scope: ScopeDigest([1, 2, 3, 4]), bound: HERE }
}

#[test]
fn a_ticket_says_what_it_was_given() {
    let claims = claims(NOW.0 + 60);
    let text = tickets(&["a"]).issue(&claims);
    assert_eq!(text.len(), LENGTH);
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let opened = tickets(&["a"]).open(&text, HERE, NOW).expect("opens");
    let same = (opened.session, opened.expires, opened.scope, opened.is_newest);
    assert_eq!(same, (claims.session, claims.expires, claims.scope, true));
    assert_eq!(opened.session.started(), NOW);
}

#[test]
fn a_ticket_ends_at_its_second() {
    let (keys, text) = (tickets(&["a"]), tickets(&["a"]).issue(&claims(NOW.0 + 60)));
    for (now, verdict) in [(-1, true), (59, true), (60, false), (61, false)] {
        assert_eq!(keys.open(&text, HERE, NOW.plus(now)).is_ok(), verdict, "{now}");
    }
    assert_eq!(keys.open(&text, HERE, NOW.plus(60)), Err(TicketFault::Expired));
    let endless = keys.issue(&TicketClaims { expires: UnixTime::MAX, ..claims(0) });
    assert!(keys.open(&endless, HERE, NOW).is_ok());
    for before in [UnixTime(-1), UnixTime::MIN, UnixTime(0)] {
        let dead = keys.issue(&TicketClaims { expires: before, ..claims(0) });
        assert_eq!(keys.open(&dead, HERE, UnixTime(0)), Err(TicketFault::Expired));
    }
}

#[test]
fn a_ticket_is_good_where_it_was_given_only() {
    let (keys, text) = (tickets(&["a"]), tickets(&["a"]).issue(&claims(NOW.0 + 60)));
    let elsewhere = [
        ("live", HERE.host),
        (HERE.route, "cdn.example.com"),
        ("", ""),
        (HERE.route, ""),
        ("vodwww.example.com", ""),
        (HERE.host, HERE.route),
    ];
    for (route, host) in elsewhere {
        assert_eq!(keys.open(&text, Bound { route, host }, NOW), Err(TicketFault::Forged), "{route} {host}");
    }
}

#[test]
fn every_bit_counts() {
    let (keys, text) = (tickets(&["a"]), tickets(&["a"]).issue(&claims(NOW.0 + 60)));
    let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let verdict = keys.open(&URL_SAFE_NO_PAD.encode(&changed), HERE, NOW);
        assert!(matches!(verdict, Err(TicketFault::Forged | TicketFault::Malformed)), "bit {at}: {verdict:?}");
    }
}

#[test]
fn every_character_counts() {
    let (keys, text) = (tickets(&["a"]), tickets(&["a"]).issue(&claims(NOW.0 + 60)));
    for at in 0..text.len() {
        for other in (0_u8..128).filter(|other| *other != text.as_bytes()[at]) {
            let mut changed = text.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).expect("ascii");
            assert!(keys.open(&changed, HERE, NOW).is_err(), "{at}: {changed}");
        }
        assert_eq!(keys.open(&text[..at], HERE, NOW), Err(TicketFault::Malformed));
        assert_eq!(keys.open(&text[at + 1..], HERE, NOW), Err(TicketFault::Malformed));
    }
    for end in ["A", "=", "==", "AAAA", " ", "\n", "~", "\0", "é"] {
        assert_eq!(keys.open(&format!("{text}{end}"), HERE, NOW), Err(TicketFault::Malformed), "{end:?}");
        assert_eq!(keys.open(&format!("{end}{text}"), HERE, NOW), Err(TicketFault::Malformed), "{end:?}");
    }
    assert_eq!(keys.open("", HERE, NOW), Err(TicketFault::Malformed));
}

#[test]
fn keys_rotate() {
    let old = tickets(&["a"]).issue(&claims(NOW.0 + 60));
    let opened = tickets(&["b", "a"]).open(&old, HERE, NOW).expect("the old key still opens");
    assert!(!opened.is_newest);
    assert_eq!(tickets(&["b"]).open(&old, HERE, NOW), Err(TicketFault::Forged));
    let new = tickets(&["b", "a"]).issue(&claims(NOW.0 + 60));
    assert!(tickets(&["b"]).open(&new, HERE, NOW).is_ok());
    let (one, other) = (Tickets::new(&[]).expect("random"), Tickets::new(&[]).expect("random"));
    assert_eq!(other.open(&one.issue(&claims(NOW.0 + 60)), HERE, NOW), Err(TicketFault::Forged));
}

#[test]
fn weak_keys_are_refused() {
    assert_eq!(Tickets::new(&[Secret::new("x".repeat(31))]).err(), Some(KeyFault::Short));
    assert_eq!(Tickets::new(&[secret("a"), Secret::new(String::new())]).err(), Some(KeyFault::Short));
    assert_eq!(Tickets::new(&vec![secret("a"); 17]).err(), Some(KeyFault::TooMany));
    assert_eq!(format!("{:?}", tickets(&["a"])), "Tickets { keys: 1 }");
}

#[test]
fn scopes_are_told_apart() {
    let paths = |rules: &[PathRule]| Grant { scope: Scope::Paths(rules.to_vec()), ..Grant::default() };
    let grants = [
        Grant::default(),
        Grant { resource: Some("".into()), ..Grant::default() },
        Grant { resource: Some("route".into()), ..Grant::default() },
        paths(&[]),
        paths(&[PathRule::Under("/a".into())]),
        paths(&[PathRule::Exact("/a".into())]),
        paths(&[PathRule::Glob("/a".into())]),
        paths(&[PathRule::Under("/a".into()), PathRule::Under("/b".into())]),
        paths(&[PathRule::Under("/aunder/b".into())]),
    ];
    let mut seen = HashMap::new();
    for (at, grant) in grants.iter().enumerate() {
        assert_eq!(seen.insert(ScopeDigest::of(grant).0, at), None);
        assert_eq!(ScopeDigest::of(grant), ScopeDigest::of(&grant.clone()));
    }
}

fn input(said: &[u8], route: &str, host: &str) -> Vec<u8> {
    let mut all = Vec::new();
    feed([CONTEXT, said, route.as_bytes(), host.as_bytes()], |bytes| all.extend_from_slice(bytes));
    all
}

proptest! {
    #[test]
    fn no_two_splits_of_one_text_are_signed_alike(text in "[a-z.\\x00-\\x08]{0,40}", one in 0_usize..41, other in 0_usize..41, at in 0_usize..41) {
        let (one, other, at) = (one.min(text.len()), other.min(text.len()), at.min(text.len()));
        let (a, b) = (text.split_at(one), text.split_at(other));
        prop_assert_eq!(input(b"x", a.0, a.1) == input(b"x", b.0, b.1), one == other);
        // And where what is said takes part of the route.
        let (said, route) = text.split_at(at);
        prop_assert_eq!(input(said.as_bytes(), route, "") == input(text.as_bytes(), "", ""), at == text.len());
    }

    #[test]
    fn inputs_differ_where_fields_do(a in any::<(Vec<u8>, String, String)>(), b in any::<(Vec<u8>, String, String)>()) {
        prop_assert_eq!(input(&a.0, &a.1, &a.2) == input(&b.0, &b.1, &b.2), a == b);
    }

    #[test]
    fn nothing_made_up_opens(text in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), BYTES)) {
        let keys = tickets(&["a", "b"]);
        prop_assert!(keys.open(&text, HERE, NOW).is_err());
        prop_assert!(keys.open(&URL_SAFE_NO_PAD.encode(bytes), HERE, NOW).is_err());
    }

    #[test]
    fn keys_of_different_fields_differ(a in any::<Vec<Vec<u8>>>(), b in any::<Vec<Vec<u8>>>()) {
        let of = |fields: &[Vec<u8>]| Key::of("w", &fields.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(of(&a) == of(&b), a == b);
    }
}

/// Run by hand: `cargo test --release --lib what_ -- --ignored --nocapture --test-threads=1`.
#[test]
#[ignore = "measures"]
fn what_a_check_costs() {
    let keys = tickets(&["a", "b"]);
    let text = keys.issue(&claims(NOW.0 + 60));
    let rounds = 200_000_u32;
    let began = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(keys.open(std::hint::black_box(&text), HERE, NOW)).expect("opens");
    }
    println!("open: {} ns", began.elapsed().as_nanos() / u128::from(rounds));
    let began = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(keys.issue(std::hint::black_box(&claims(NOW.0))));
    }
    println!("issue: {} ns", began.elapsed().as_nanos() / u128::from(rounds));
}
