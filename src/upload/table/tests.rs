//! Which requests belong to which upload, and what is forgotten when.

use super::*;
use crate::metrics::Metrics;
use crate::secret::Fingerprint;
use crate::session::{Ask, Keys, Seen, Sessions, Viewer};
use crate::token::Grant;
use crate::upload::UploadConfig;

const NOW: UnixTime = UnixTime(1_700_000_000);

struct Rig {
    sessions: Sessions,
    uploads: Uploads,
    route: Name,
}

fn rig(most: usize) -> Rig {
    let metrics = Metrics::new().expect("metrics");
    Rig { sessions: Sessions::new(1000, &metrics), uploads: Uploads::new(most), route: Name::new("up").expect("name") }
}

fn owner(token: &str, subject: Option<&str>) -> Owner {
    let key = |text: &str| Key::of("test", &[text.as_bytes()]);
    Owner { token: key(token), subject: subject.map(key), presented: Owner::presented(token) }
}

impl Rig {
    fn parts(&self) -> Parts<'_> {
        Parts { route: &self.route, path: "/upload", network: Key::of("network", &[b"home"]), client: "nodejs:2.6.8" }
    }

    fn begin(&self, owner: Owner, at: UnixTime) -> Result<Arc<Upload>, Full> {
        let grant = Arc::new(Grant::default());
        let keys = Keys { token: owner.token, subject: owner.subject, device: None, asset: None };
        let network = Key::of("network", &[b"home"]);
        let ask = Ask {
            now: at,
            route: self.route.clone(),
            scheme: self.route.clone(),
            keys,
            terms: UploadConfig::default().terms(&grant),
            viewer: Viewer { key: Key::of("upload", &[&fastrand::u64(..).to_be_bytes()]), device: None },
            network,
            grant,
            seen: Seen::new(Fingerprint::of(b"t"), std::net::IpAddr::from([192, 0, 2, 1]), None),
        };
        let session = self.sessions.admit(&ask).expect("a place").session;
        self.uploads.begin(&session, owner, Bounds::default(), at)
    }
}

fn piece(text: &str) -> Piece {
    Piece::parse(text).expect("piece")
}

#[test]
fn parts_find_their_upload_by_recorder_and_owner() {
    let rig = rig(10);
    let (ours, theirs) = (owner("a", Some("ann")), owner("b", None));
    let upload = rig.begin(ours, NOW).expect("room");
    rig.uploads.in_parts(&upload, rig.parts(), piece("part 1/3"));
    let found = |owner: &Owner, parts, text| rig.uploads.of_parts(owner, parts, piece(text)).len();
    assert_eq!(found(&ours, rig.parts(), "part 2/3"), 1);
    assert_eq!(found(&owner("c", Some("ann")), rig.parts(), "part 2/3"), 1, "a further token of the same subject");
    assert_eq!(found(&theirs, rig.parts(), "part 2/3"), 0);
    assert_eq!(found(&ours, rig.parts(), "part 2/4"), 0);
    assert_eq!(found(&ours, Parts { network: Key::of("network", &[b"cafe"]), ..rig.parts() }, "part 2/3"), 0);
    assert_eq!(found(&ours, Parts { client: "go:1.4.5", ..rig.parts() }, "part 2/3"), 0);
    upload.finish(NOW);
    assert_eq!(found(&ours, rig.parts(), "part 2/3"), 0);
}

#[test]
fn an_upload_is_whole_when_all_its_parts_were_taken() {
    let rig = rig(10);
    let upload = rig.begin(owner("a", None), NOW).expect("room");
    assert!(!upload.took(5, Some(piece("part 1/2"))));
    assert!(upload.expects(piece("part 2/2")) && upload.expects(piece("part 1/2")) && !upload.expects(piece("part 3/3")));
    assert!(upload.took(5, Some(piece("part 2/2"))));
    assert_eq!(upload.bytes(), 10);
    let by_offset = rig.begin(owner("a", None), NOW).expect("room");
    by_offset.set_length(100);
    assert!(!by_offset.is_at(50) && by_offset.is_at(100));
}

#[test]
fn places_and_videos_are_names_of_their_route() {
    let rig = rig(10);
    let upload = rig.begin(owner("a", None), NOW).expect("room");
    rig.uploads.set_place(&upload, &rig.route, "/files/1");
    rig.uploads.set_video(&upload, &rig.route, "vi1");
    let other = Name::new("other").expect("name");
    let is = |found: Option<Arc<Upload>>| found.is_some_and(|found| Arc::ptr_eq(&found, &upload));
    assert!(is(rig.uploads.at_place(&rig.route, "/files/1")) && is(rig.uploads.of_video(&rig.route, "vi1")));
    assert!(rig.uploads.at_place(&other, "/files/1").is_none() && rig.uploads.of_video(&rig.route, "vi2").is_none());
    rig.uploads.forget(&upload);
    assert!(rig.uploads.at_place(&rig.route, "/files/1").is_none() && rig.uploads.is_empty());
    rig.uploads.set_place(&upload, &rig.route, "/files/1");
    assert!(rig.uploads.at_place(&rig.route, "/files/1").is_none(), "what is forgotten stays so");
}

#[test]
fn what_is_over_makes_room_and_what_is_under_way_does_not() {
    let rig = rig(2);
    let first = rig.begin(owner("a", None), NOW).expect("room");
    rig.uploads.set_place(&first, &rig.route, "/1");
    rig.begin(owner("a", None), NOW).expect("room");
    assert!(rig.begin(owner("a", None), NOW).is_err(), "both are under way");
    rig.sessions.end(first.session().id, End::Idle, NOW);
    rig.begin(owner("a", None), NOW.plus(1)).expect("the silent one has to go");
    assert!(rig.uploads.at_place(&rig.route, "/1").is_none() && rig.uploads.len() == 2);
}

#[test]
fn a_whole_upload_is_still_asked_for_a_while() {
    let rig = rig(10);
    let upload = rig.begin(owner("a", None), NOW).expect("room");
    rig.uploads.set_place(&upload, &rig.route, "/1");
    upload.finish(NOW);
    rig.sessions.end(upload.session().id, End::Closed, NOW);
    rig.begin(owner("a", None), NOW.plus(600)).expect("room");
    assert!(rig.uploads.at_place(&rig.route, "/1").is_some());
    rig.begin(owner("a", None), NOW.plus(700)).expect("room");
    assert!(rig.uploads.at_place(&rig.route, "/1").is_none());
}
