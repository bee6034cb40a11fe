//! A ledger whose store goes away and comes back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fleet::{own, signing};
use super::{gateway, gateway_with, kept, within_promise};
use crate::dialects::flows::{UID, apivideo, cloudflare, text};
use crate::dialects::{ADMIN, Rig, body};
use crate::fleet::server::{Server, programs};
use crate::rig::{Answer, Folder};
use crate::uploads::part_at;

fn create(rig: &Rig) -> Answer {
    apivideo(rig, "POST", "/upload-tokens", "{\"ttl\":600}")
}

fn upload(rig: &Rig, token: &str) -> Answer {
    rig.play("POST", &format!("/upload?token={token}"))
}

fn until(what: &str, longest: Duration, holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < longest, "not in time: {what}");
        std::thread::yield_now();
    }
    began.elapsed()
}

#[test]
fn without_its_store_a_gateway_goes_on_for_a_while_and_then_refuses_and_comes_back() {
    for program in programs("a ledger whose store dies") {
        let (mut server, folder) = (Server::start(&program, &kept()), Folder::new());
        let [one, two] = [gateway(&server, &folder), gateway(&server, &folder)];
        let token = text(&body(&create(&one)), "token").to_owned();
        let unseen = text(&body(&create(&one)), "token").to_owned();
        let stream = body(&cloudflare(&one, "POST", &format!("{UID}/token"), json!({})));
        let stream = format!("/cf/{}/manifest/video.m3u8", text(&stream["result"], "token"));
        assert_eq!(upload(&two, &token).status, 201);
        within_promise("the account's own key", || two.play("GET", &stream).status == 200);
        server.kill();
        // What is known goes on; what is not, and every change, is refused with words.
        assert_eq!((upload(&two, &token).status, two.play("GET", &stream).status), (201, 200));
        let refused = upload(&two, &"to".repeat(12));
        assert_eq!((refused.status, refused.code().as_str(), refused.field("retry-after")), (503, "ledger_away", "1"), "{refused:?}");
        assert_eq!(create(&one).status, 503);
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let own = one.call("POST", "/v1/keys", &headers, "{}");
        assert_eq!((own.status, own.code().as_str(), own.field("retry-after")), (503, "ledger_unavailable", "1"), "{own:?}");
        assert_eq!(one.call("GET", "/v1/keys", &headers, "").status, 503);
        // `trust_for` is 2 s.
        let lapsed = until("it refuses what it knew", Duration::from_secs(12), || upload(&two, &token).status == 503);
        assert_eq!(upload(&two, &token).code(), "ledger_away");
        until("its keys too", Duration::from_secs(1), || two.play("GET", &stream).code() == "ledger_away");
        server.restart();
        let back = within_promise("it takes them again", || upload(&two, &token).status == 201);
        within_promise("its keys too", || two.play("GET", &stream).status == 200);
        assert_eq!(upload(&two, &unseen).status, 201);
        within_promise("and makes new ones", || create(&one).status == 200);
        let fresh = text(&body(&create(&two)), "token").to_owned();
        within_promise("on both", || upload(&one, &fresh).status == 201);
        eprintln!("{}: what was known went on for {lapsed:?} without the store, and was taken {back:?} after its return", program.name);
    }
}

/// With viewings on the routes whose keys the ledger keeps.
fn with_viewings(config: &mut Value) {
    signing(config);
    for route in config["routes"].as_array_mut().expect("routes") {
        if ["own", "stream"].contains(&route["name"].as_str().expect("a name")) {
            route["session"] = json!({ "propagation": "path" });
        }
    }
    let record = json!({ "name": "record", "path": "/record", "methods": ["POST"], "accept": ["own"], "origin": "media", "upload": {} });
    config["routes"].as_array_mut().expect("routes").push(record);
}

#[test]
fn viewings_under_the_ledgers_keys_wait_for_its_store_as_new_ones_do_and_go_on_with_it() {
    for program in programs("viewings under keys of a ledger whose store dies") {
        let (mut server, folder) = (Server::start(&program, &kept()), Folder::new());
        let rig = gateway_with(&server, &folder, with_viewings);
        let made = own(&rig, ADMIN, ("POST", "/v1/keys"), json!({ "kind": "ed25519" }), None);
        assert_eq!(made.status, 201, "{made:?}");
        let issue = |path: &str| {
            let wanted = json!({ "scheme": "own", "url": format!("https://gate.test{path}"), "ttl": 600 });
            let issued = body(&own(&rig, ADMIN, ("POST", "/v1/tokens"), wanted, None));
            text(&issued, "url").replacen("https://gate.test", "", 1)
        };
        let (own_entry, recorder) = (issue("/own/a.m3u8"), issue("/record/upload"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let record = |part: &str| runtime.block_on(part_at(rig.data, &recorder, part, b"content")).status;
        let minted = body(&cloudflare(&rig, "POST", &format!("{UID}/token"), json!({})));
        let stream_entry = format!("/cf/{}/manifest/video.m3u8", text(&minted["result"], "token"));
        let segments = [own_entry, stream_entry].map(|entry| {
            let began = rig.play("GET", &entry);
            let segment = began.field("location").replace(".m3u8", "1.ts");
            assert_eq!(rig.play("GET", &segment).status, 200, "{}: {began:?} {segment}", program.name);
            segment
        });
        assert_eq!(record("part 1/3"), 201, "{}", program.name);
        server.kill();
        for segment in &segments {
            assert_eq!(rig.play("GET", segment).status, 200, "{}: a segment while what is known holds", program.name);
        }
        // `trust_for` is 2 s.
        for segment in &segments {
            let waits = || rig.play("GET", segment);
            until("it waits", Duration::from_secs(12), || waits().code() == "ledger_away");
            assert_eq!((waits().status, waits().field("retry-after")), (503, "1"), "{}", program.name);
        }
        assert_eq!(record("part 2/3"), 201, "{}: what was begun can be ended", program.name);
        assert_eq!(record("part 1/1"), 503, "{}: nothing begins", program.name);
        server.restart();
        for segment in &segments {
            within_promise("it goes on", || rig.play("GET", segment).status == 200);
        }
    }
}

#[test]
fn a_gateway_starts_without_its_store_and_takes_what_is_there_when_it_comes() {
    for program in programs("a ledger whose store is not there yet") {
        let (mut server, folder) = (Server::start(&program, &kept()), Folder::new());
        let (token, stream) = {
            let one = gateway(&server, &folder);
            let minted = body(&cloudflare(&one, "POST", &format!("{UID}/token"), json!({})));
            (text(&body(&create(&one)), "token").to_owned(), text(&minted["result"], "token").to_owned())
        };
        server.kill();
        let late = gateway(&server, &folder);
        let play = || late.play("GET", &format!("/cf/{stream}/manifest/video.m3u8"));
        assert_eq!((upload(&late, &token).code(), play().code()), ("ledger_away".into(), "ledger_away".into()));
        server.restart();
        within_promise("tokens", || upload(&late, &token).status == 201);
        within_promise("keys", || play().status == 200);
    }
}

#[test]
fn a_store_that_forgot_everything_is_believed() {
    for program in programs("a ledger whose store forgets") {
        let (mut server, folder) = (Server::start(&program, &[]), Folder::new());
        let one = gateway(&server, &folder);
        let token = text(&body(&create(&one)), "token").to_owned();
        assert_eq!(upload(&one, &token).status, 201);
        server.restart();
        within_promise("what it forgot is refused", || upload(&one, &token).status == 401);
        let fresh = text(&body(&create(&one)), "token").to_owned();
        assert_eq!(upload(&one, &fresh).status, 201);
    }
}
