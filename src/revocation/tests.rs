//! Revocations: each kind meets what it names and nothing else, from its first second to its last.

use std::sync::Arc;

use super::*;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::secret::Fingerprint;
use crate::session::{Ask, Keys, RouteSessionConfig, Seen, Terms, Viewer};
use crate::token::Window;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn grant(mark: &str) -> Grant {
    let text = |kind: &str| Some(Arc::from(format!("{kind}-{mark}")));
    Grant {
        subject: text("subject"),
        resource: text("asset"),
        token_id: text("jti"),
        key_id: text("kid"),
        window: Window::until(NOW.plus(3600)),
        ..Grant::default()
    }
}

fn token(mark: &str) -> Key {
    Key::of("token", &[mark.as_bytes()])
}

fn revocation(target: Target, ttl: i64) -> Revocation {
    Revocation { target, since: NOW, until: NOW.plus(ttl) }
}

fn targets(mark: &str, session: SessionId) -> [Target; 6] {
    [
        Target::Token(token(mark)),
        Target::TokenId(format!("jti-{mark}")),
        Target::Subject(format!("subject-{mark}")),
        Target::Session(session),
        Target::KeyId(format!("kid-{mark}")),
        Target::Asset(format!("asset-{mark}")),
    ]
}

#[test]
fn each_kind_meets_its_own_and_nothing_else() {
    let (one, other) = (SessionId::new(NOW), SessionId::new(NOW));
    let (mine, yours) = (grant("a"), grant("b"));
    for (at, target) in targets("a", one).into_iter().enumerate() {
        let revocations = Revocations::default();
        revocations.add(&revocation(target.clone(), 60), NOW).expect("room");
        let asked = |mark: &str, grant, session| RevocationFacts { token: token(mark), grant, session };
        assert!(revocations.is_revoked(&asked("a", &mine, Some(one)), NOW), "{target:?}");
        assert!(!revocations.is_revoked(&asked("b", &yours, Some(other)), NOW), "{target:?}");
        // The same words as another kind mean nothing.
        let crossed = Grant {
            subject: Some("jti-a".into()),
            resource: Some("subject-a".into()),
            token_id: Some("kid-a".into()),
            key_id: Some("asset-a".into()),
            ..Grant::default()
        };
        assert!(!revocations.is_revoked(&asked("b", &crossed, Some(other)), NOW), "{target:?}");
        assert!(!revocations.is_revoked(&asked("c", &Grant::default(), None), NOW), "{target:?}");
        for (held, kind) in targets("a", one).iter().enumerate().map(|(other, kind)| (other == at, kind)) {
            assert_eq!(revocations.restore(kind), held);
        }
        assert!(revocations.is_empty());
    }
}

#[test]
fn a_revocation_holds_until_its_second() {
    let (revocations, grant) = (Revocations::default(), grant("a"));
    let facts = RevocationFacts { token: token("a"), grant: &grant, session: None };
    revocations.add(&revocation(Target::Subject("subject-a".into()), 60), NOW).expect("room");
    // A shorter one of the same does not cut it, a longer one stretches it.
    revocations.add(&revocation(Target::Subject("subject-a".into()), 5), NOW).expect("room");
    for (now, revoked) in [(0, true), (59, true), (60, false)] {
        assert_eq!(revocations.is_revoked(&facts, NOW.plus(now)), revoked, "{now}");
    }
    revocations.add(&revocation(Target::Subject("subject-a".into()), 90), NOW).expect("room");
    assert!(revocations.is_revoked(&facts, NOW.plus(89)));
    revocations.sweep(NOW.plus(89));
    assert_eq!((revocations.len(), revocations.list(NOW.plus(89)).len(), revocations.list(NOW.plus(90)).len()), (1, 1, 0));
    revocations.sweep(NOW.plus(90));
    assert!(revocations.is_empty());
    revocations.add(&revocation(Target::Subject("late".into()), -1), NOW).expect("nothing to do");
    assert!(revocations.is_empty());
}

#[test]
fn a_full_list_refuses_and_forgets_nothing_that_holds() {
    let revocations = Revocations::new(2);
    let subject = |text: &str| Target::Subject(text.into());
    revocations.add(&revocation(subject("a"), 10), NOW).expect("room");
    revocations.add(&revocation(subject("b"), 60), NOW).expect("room");
    assert_eq!(revocations.add(&revocation(subject("c"), 60), NOW), Err(Full(2)));
    assert!(revocations.add(&revocation(subject("b"), 90), NOW).is_ok(), "one that is there can be stretched");
    assert_eq!(revocations.list(NOW).len(), 2);
    assert!(revocations.add(&revocation(subject("c"), 60), NOW.plus(10)).is_ok(), "the first one is over");
}

fn sessions(marks: &[&str]) -> (Sessions, Vec<SessionId>) {
    let sessions = Sessions::new(99, &Metrics::new().expect("metrics"));
    let config = RouteSessionConfig::default();
    let admit = |mark: &&str| {
        let (name, grant) = (Name::new("vod").expect("name"), grant(mark));
        let keys = Keys { token: token(mark), ..Keys::of(&name, &name, mark, &grant) };
        let ask = Ask {
            now: NOW,
            route: name.clone(),
            scheme: name,
            keys,
            terms: Terms::of(&config, &grant, false),
            viewer: Viewer::of(&keys, None, keys.token, None),
            network: keys.token,
            grant: Arc::new(grant),
            seen: Seen::new(Fingerprint::of(mark.as_bytes()), [127, 0, 0, 1].into(), None),
        };
        sessions.admit(&ask).expect("room").session.id
    };
    let ids = marks.iter().map(admit).collect();
    (sessions, ids)
}

#[test]
fn revoking_ends_the_sessions_it_is_about() {
    for at in 0..6 {
        let (sessions, ids) = sessions(&["a", "b"]);
        let target = targets("a", ids[0])[at].clone();
        let revocations = Revocations::default();
        assert_eq!(revocations.revoke(&revocation(target, 60), &sessions, NOW), Ok(1));
        assert_eq!(sessions.touch(ids[0], NOW, 0).err(), Some(crate::session::Gone::Ended(End::Revoked)));
        let other = sessions.touch(ids[1], NOW, 0).expect("lives");
        assert!(!revocations.is_revoked(&(&*other).into(), NOW));
    }
}

#[test]
fn what_happened_elsewhere_happens_here() {
    let (sessions, ids) = sessions(&["a", "b", "c"]);
    let revocations = Revocations::default();
    let of = |mark: &str| revocation(Target::Subject(format!("subject-{mark}")), 60);
    let changes = [Change::Gap, Change::Revoked { revocation: of("a") }, Change::Ended { id: ids[1], end: End::Evicted }];
    assert_eq!(revocations.follow(&changes, &sessions, NOW), Ok(()));
    let ends: Vec<_> = ids.iter().map(|id| sessions.get(*id).and_then(|session| session.ended())).collect();
    assert_eq!(ends, [Some(End::Revoked), Some(End::Evicted), None]);
    // Taken back in the same breath: nobody has to go for it.
    let changes =
        [Change::Restored { revocation: of("a") }, Change::Revoked { revocation: of("c") }, Change::Restored { revocation: of("c") }];
    assert_eq!(revocations.follow(&changes, &sessions, NOW), Ok(()));
    assert!(revocations.is_empty());
    assert_eq!(sessions.get(ids[2]).and_then(|session| session.ended()), None);
    let full = Revocations::new(1);
    let more = ["x", "c"].map(|mark| Change::Revoked { revocation: of(mark) });
    assert_eq!(full.follow(&more, &sessions, NOW), Err(Full(1)));
    assert_eq!(full.len(), 1, "what found room holds");
}

#[test]
fn revocations_are_written_as_they_are_said() {
    let text = r#"{"by":"subject","value":"me","since":1,"until":2}"#;
    let read: Revocation = serde_json::from_str(text).expect("read");
    assert_eq!(read, Revocation { target: Target::Subject("me".into()), since: UnixTime(1), until: UnixTime(2) });
    assert_eq!(serde_json::to_string(&read).expect("written"), text);
    for target in targets("a", SessionId::new(NOW)) {
        let written = serde_json::to_string(&target).expect("written");
        assert!(written.contains(target.kind()), "{written}");
        assert_eq!(serde_json::from_str::<Target>(&written).expect("read"), target);
    }
}

/// Run by hand: `cargo test --release --lib what_ -- --ignored --nocapture --test-threads=1`.
#[test]
#[ignore = "measures"]
fn what_asking_costs() {
    let grant = grant("a");
    let facts = RevocationFacts { token: token("a"), grant: &grant, session: Some(SessionId::new(NOW)) };
    let revocations = Revocations::default();
    for kinds in [0, 1, 6] {
        for n in 0..1000 {
            for target in targets(&format!("x{n}"), SessionId::new(NOW)).into_iter().take(kinds) {
                revocations.add(&revocation(target, 60), NOW).expect("room");
            }
        }
        let began = std::time::Instant::now();
        for _ in 0..1_000_000 {
            assert!(!revocations.is_revoked(std::hint::black_box(&facts), NOW));
        }
        println!("{kinds} kinds with 1,000 each: {} ns", began.elapsed().as_nanos() / 1_000_000);
    }
}
