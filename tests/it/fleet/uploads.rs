//! Uploads of a fleet: a recorder is counted once, whichever gateway it sends to, and its chunks cost the store nothing.

use serde_json::{Value, json};

use super::server::{Server, programs};
use super::walk::shared;
use crate::support::gateway::over;
use crate::support::{Gateway, Origin, client, within};
use crate::uploads::{api_video, begin, config, link, part};

const BINARY: &str = "Content-Type: video/mp4\r\n";

/// Two gateways that take uploads by these settings and share a store.
fn gateways(origin: &str, server: &Server, upload: Value) -> [Gateway; 2] {
    let mut config = over(config(origin, upload), json!({ "sessions": shared(&server.url()) }));
    // A busy machine is no store that is away.
    config["sessions"]["store"]["valkey"]["timeout"] = json!("5s");
    [Gateway::start(config.clone()), Gateway::start(config)]
}

/// Uploads a small file; `200`, or status and code of the refusal.
async fn put(gateway: &Gateway, link: &str) -> String {
    let answer = client::request(gateway.addr(), "PUT", link, BINARY, b"x").await;
    if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
}

#[tokio::test]
async fn uploads_are_counted_over_gateways_and_make_room_when_they_are_whole() {
    for program in programs("uploads over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let [one, two] = gateways(&origin.url, &server, json!({ "concurrent_per_token": 1, "total_per_token": 40 }));
        let link = link(&one, "/a", 60, json!({}));
        let mut open = begin(&one, "PUT", &link, BINARY, (10, b"half")).await;
        origin.wait("the first upload", |origin| origin.count() == 1).await;
        for gateway in [&one, &two] {
            assert_eq!(put(gateway, &link).await, "429 session_concurrent_token", "{}", program.name);
        }
        open.send(b" whole").await.expect("sent");
        assert_eq!(open.answer(false).await.expect("an answer").status, 200);
        for number in 2..=20 {
            assert_eq!(put(&one, &link).await, "200", "{}: {number}: the one before is over for all", program.name);
        }
        // Another gateway hears of it a moment later.
        within("room on the other gateway", async { while put(&two, &link).await != "200" {} }).await;
        for _ in 22..=40 {
            assert_eq!(put(&two, &link).await, "200");
        }
        assert_eq!(put(&two, &link).await, "429 session_total_token", "{}: 40 in all", program.name);
        let elsewhere = within("the last one's end", async {
            loop {
                let said = put(&one, &link).await;
                if said != "429 session_concurrent_token" {
                    break said;
                }
            }
        });
        assert_eq!(elsewhere.await, "429 session_total_token", "{}: 40 in all, on the other gateway too", program.name);
    }
}

#[tokio::test]
async fn of_many_uploads_at_once_so_many_come_in_as_there_is_room_for() {
    const MANY: usize = 40;
    const LIMIT: usize = 7;
    for program in programs("uploads at once over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let both = gateways(&origin.url, &server, json!({ "concurrent_per_token": LIMIT }));
        let link = link(&both[0], "/a", 60, json!({}));
        let mut open = Vec::new();
        for number in 0..MANY {
            open.push(begin(&both[number % 2], "PUT", &link, BINARY, (10, b"half")).await);
        }
        let (whole, said) = tokio::sync::watch::channel(false);
        let mut answers = tokio::task::JoinSet::new();
        for mut raw in open {
            let mut said = said.clone();
            answers.spawn(async move {
                tokio::select! {
                    answer = raw.answer(false) => answer.expect("an answer").code(),
                    () = async { drop(said.wait_for(|said| *said).await) } => {
                        raw.send(b" whole").await.expect("sent");
                        raw.answer(false).await.expect("an answer").status.to_string()
                    }
                }
            });
        }
        for _ in LIMIT..MANY {
            let refused = within("a refusal", answers.join_next()).await.expect("an answer").expect("no panic");
            assert_eq!(refused, "session_concurrent_token", "{}", program.name);
        }
        origin.wait("those that were let in", |origin| origin.count() == LIMIT).await;
        whole.send_replace(true);
        assert_eq!(answers.join_all().await, vec!["200"; LIMIT], "{}", program.name);
    }
}

#[tokio::test]
async fn chunks_ask_the_store_nothing() {
    for program in programs("chunks of an upload beside a store") {
        let server = Server::start(&program, &[]);
        let (origin, _) = api_video();
        let [one, _] = gateways(&origin.url, &server, json!({ "concurrent_per_token": 1 }));
        let link = link(&one, "/upload", 60, json!({}));
        let asked = |operation: &str| one.metric(&format!("session_store_seconds_count{{operation=\"{operation}\""));
        for number in 1..=8 {
            assert_eq!(part(&one, &link, &format!("part {number}/9"), b"content").await.status, 201);
        }
        assert_eq!((asked("admit"), asked("find"), asked("end")), (1.0, 0.0, 0.0), "{}", program.name);
        assert_eq!(part(&one, &link, "part 9/9", b"content").await.status, 201);
        assert_eq!(part(&one, &link, "part 1/1", b"content").await.status, 201, "{}: there is room again", program.name);
        assert_eq!(asked("admit"), 2.0);
    }
}

#[tokio::test]
async fn an_upload_outlives_its_store_and_the_next_hears_what_its_route_says() {
    for program in programs("uploads whose store dies") {
        for (policy, next) in [("deny", "503 session_store_away"), ("local", "429 session_concurrent_token"), ("allow", "200")] {
            let mut server = Server::start(&program, &[]);
            let origin = Origin::plain();
            let upload = json!({ "concurrent_per_token": 1, "on_store_error": policy });
            let [one, two] = gateways(&origin.url, &server, upload);
            let link = link(&one, "/a", 60, json!({}));
            let mut open = begin(&one, "PUT", &link, BINARY, (10, b"half")).await;
            origin.wait("the first upload", |origin| origin.count() == 1).await;
            server.kill();
            assert_eq!(put(&one, &link).await, next, "{} {policy}", program.name);
            let elsewhere = put(&two, &link).await;
            assert_eq!(elsewhere, if policy == "deny" { next } else { "200" }, "{} {policy}: counts by itself", program.name);
            open.send(b" whole").await.expect("sent");
            assert_eq!(open.answer(false).await.expect("an answer").status, 200, "{} {policy}", program.name);
        }
    }
}
