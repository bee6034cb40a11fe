//! What limits do: who is turned away, who has to go, and when there is room again.

use serde_json::{Value, json};

use tollgate::demo::origin;
use tollgate::token::SignRequest;

use super::{asks, beside, config, film, gateway, location, named, opens};
use crate::support::gateway::{for_path, over, target};
use crate::support::{Gateway, Origin, Raw, client};

const HLS: &str = origin::HLS;

/// A link with these claims, good for an hour.
fn link_with(gateway: &Gateway, claims: Value) -> String {
    let Value::Object(claims) = claims else { panic!("claims are a table") };
    let expires = Some(gateway.clock.now().plus(3600));
    target(&gateway.sign_with("viewer", &SignRequest { expires, claims, ..for_path(HLS) }))
}

#[tokio::test]
async fn a_second_viewer_is_turned_away_and_can_read_why() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = gateway.link(HLS);
    let first = opens(&gateway, &link, "one").await.expect("room");
    let refused = gateway.get(&link, &named("two")).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "session_concurrent_token"));
    assert_eq!(refused.field("access-control-allow-origin"), Some("*"));
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    assert_eq!(asks(&gateway, &first, "one").await, "200", "who watches goes on");
    assert_eq!(gateway.metric("sessions_refused_total{reason=\"concurrent_token\",route=\"vod\""), 1.0);
    // Another token of the same subject has a place of its own.
    gateway.pass(1);
    assert!(opens(&gateway, &gateway.link(HLS), "two").await.is_ok());
}

#[tokio::test]
async fn a_chosen_status_is_given() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "refusal_status": 429 }));
    let link = gateway.link(HLS);
    opens(&gateway, &link, "one").await.expect("room");
    assert_eq!(opens(&gateway, &link, "two").await, Err("429 session_concurrent_token".to_owned()));
}

#[tokio::test]
async fn the_oldest_has_to_go_where_that_is_the_policy() {
    let origin = film();
    for propagation in ["path", "query"] {
        let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "on_full": "evict-oldest", "propagation": propagation }));
        let link = gateway.link(HLS);
        let child = |answer: &crate::support::Answer| match propagation {
            "path" => beside(&location(answer), "seg-0-1.m4s"),
            _ => format!("/vod/{}", answer.text().lines().find(|line| line.starts_with("media_0")).expect("a link")),
        };
        let first = child(&gateway.get(&link, &named("one")).await);
        let second = child(&gateway.get(&link, &named("two")).await);
        let refused = gateway.get(&first, &named("one")).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "session_evicted"), "{propagation}");
        assert_eq!(refused.field("access-control-allow-origin"), Some("*"));
        assert_eq!(asks(&gateway, &second, "two").await, "200");
        assert_eq!(gateway.metric("sessions_ended_total{reason=\"evicted\",route=\"vod\""), 1.0);
    }
}

#[tokio::test]
async fn observed_limits_let_everybody_in_and_are_counted() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "on_full": "observe" }));
    let link = gateway.link(HLS);
    for agent in ["one", "two", "three"] {
        let target = opens(&gateway, &link, agent).await.expect("room");
        assert_eq!(asks(&gateway, &target, agent).await, "200");
    }
    assert_eq!(gateway.metric("sessions_over_limit_total{reason=\"concurrent_token\",route=\"vod\""), 2.0);
}

#[tokio::test]
async fn the_same_viewer_finds_his_session_again() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = gateway.link(HLS);
    let first = opens(&gateway, &link, "one").await.expect("room");
    let again = opens(&gateway, &link, "one").await.expect("his place");
    assert_eq!((asks(&gateway, &first, "one").await, asks(&gateway, &again, "one").await), ("200".to_owned(), "200".to_owned()));
    assert_eq!(gateway.metric("sessions_admitted_total{route=\"vod\"}"), 1.0);
    // What a player calls its playback splits viewers behind one address.
    let other = gateway.get(&link, &format!("{}CMCD-Session: sid=\"b\"\r\n", named("one"))).await;
    assert_eq!(other.code(), "session_concurrent_token");
}

#[tokio::test]
async fn the_same_device_takes_its_own_place() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "concurrent_per_device": 1 }));
    let link = link_with(&gateway, json!({ "device": "tv-1" }));
    let sid = |sid: &str| format!("{}X-Playback-Session-Id: {sid}\r\n", named("tv"));
    let first = location(&gateway.get(&link, &sid("a")).await);
    let second = location(&gateway.get(&link, &sid("b")).await);
    assert_eq!(asks(&gateway, &first, "tv").await, "403 session_replaced");
    assert_eq!(asks(&gateway, &second, "tv").await, "200");
    // A second token of the device on another program is another viewer of the same device.
    gateway.pass(1);
    assert_eq!(
        opens(&gateway, &link_with(&gateway, json!({ "device": "tv-1" })), "phone").await,
        Err("403 session_concurrent_device".to_owned())
    );
}

#[tokio::test]
async fn a_silent_viewer_gives_his_place_back() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "idle_timeout": "30s" }));
    let link = gateway.link(HLS);
    let first = opens(&gateway, &link, "one").await.expect("room");
    gateway.pass(30);
    assert!(opens(&gateway, &link, "two").await.is_err(), "the last second is his");
    gateway.pass(1);
    let second = opens(&gateway, &link, "two").await.expect("room again");
    // Back from a pause, and there is no room.
    assert_eq!(asks(&gateway, &first, "one").await, "403 session_concurrent_token");
    gateway.pass(31);
    assert_eq!(asks(&gateway, &first, "one").await, "200", "back from a pause, and there is");
    assert_eq!(asks(&gateway, &second, "two").await, "403 session_concurrent_token");
}

#[tokio::test]
async fn silence_is_measured_by_the_playlist() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = gateway.link(HLS);
    let first = opens(&gateway, &link, "one").await.expect("room");
    gateway.pass(40);
    assert!(opens(&gateway, &link, "two").await.is_err(), "60 s where nothing is known");
    assert_eq!(asks(&gateway, &beside(&first, "media_0.m3u8"), "one").await, "200");
    gateway.pass(21);
    assert!(opens(&gateway, &link, "two").await.is_ok(), "segments of 2 s: 20 s, the least");
}

#[tokio::test]
async fn who_is_in_sees_the_film_to_its_end() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "outlive": "1h", "idle_timeout": "3h" }));
    let link = gateway.link(HLS);
    let target = opens(&gateway, &link, "one").await.expect("room");
    gateway.pass(3601);
    assert_eq!(asks(&gateway, &link, "two").await, "403 token_expired");
    assert_eq!(asks(&gateway, &beside(&target, "seg-0-1.m4s"), "one").await, "200");
    gateway.pass(3598);
    assert_eq!(asks(&gateway, &target, "one").await, "200");
    gateway.pass(1);
    assert_eq!(asks(&gateway, &beside(&target, "seg-0-1.m4s"), "one").await, "403 ticket_expired");
}

#[tokio::test]
async fn without_outlive_a_session_ends_with_its_token() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "idle_timeout": "3h" }));
    let target = opens(&gateway, &gateway.link(HLS), "one").await.expect("room");
    gateway.pass(3599);
    assert_eq!(asks(&gateway, &target, "one").await, "200");
    gateway.pass(1);
    assert_eq!(asks(&gateway, &target, "one").await, "403 ticket_expired");
}

/// The first link to a media playlist of an entry by query, and all of its text.
async fn by_query(gateway: &Gateway, target: &str) -> (String, String) {
    let text = gateway.get(target, &named("one")).await.text();
    let media = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find(|line| line.contains(".m3u8?tg=") || line.contains(".m4s?tg="))
        .expect("a link")
        .to_owned();
    (format!("/vod/{media}"), text)
}

#[tokio::test]
async fn a_live_stream_goes_on_beyond_its_first_ticket() {
    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\nseg-0-1.m4s\n";
    let origin = Origin::start(|_| crate::support::Reply::new(200, LIVE).with("Content-Type", "application/vnd.apple.mpegurl"));
    for propagation in ["path", "query", "cookie"] {
        let session = json!({ "propagation": propagation, "ticket_lifetime": "80s", "idle_timeout": "30s" });
        let gateway = gateway(&origin.url, session);
        let entry = gateway.get(&gateway.link("/vod/media.m3u8"), &named("one")).await;
        let (mut cookie, mut reload) = (String::new(), "/vod/media.m3u8".to_owned());
        match propagation {
            "path" => reload = location(&entry),
            "query" => reload = format!("/vod/media.m3u8?{}", entry.text().split_once('?').expect("a ticket").1.trim_end()),
            _ => cookie = format!("Cookie: {}\r\n", entry.field("set-cookie").and_then(|field| field.split(';').next()).expect("one")),
        }
        // Players keep asking for the address that they began with.
        for _ in 0..20 {
            gateway.pass(25);
            let answer = gateway.get(&reload, &format!("{}{cookie}", named("one"))).await;
            assert_eq!(answer.status, 200, "{propagation} {}", answer.text());
            if propagation == "query" {
                let (fresh, _) = by_query(&gateway, &reload).await;
                assert_ne!(fresh.split_once('?'), reload.split_once('?'), "a new ticket comes with the playlist");
            }
        }
        // A playlist that was saved dies with its ticket, though the token is good for longer.
        gateway.pass(31);
        let late = gateway.get(&reload, &format!("{}{cookie}", named("one"))).await;
        assert_eq!((late.status, late.code().as_str()), (403, "ticket_expired"), "{propagation}");
    }
}

#[tokio::test]
async fn a_playlist_is_the_same_to_the_byte_while_its_ticket_is_young() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "query", "ticket_lifetime": "10m" }));
    let (media, _) = by_query(&gateway, &gateway.link(HLS)).await;
    gateway.clock.set(tollgate::clock::UnixTime(gateway.clock.now().0 / 75 * 75 + 1));
    let first = gateway.get(&media, &named("one")).await;
    gateway.pass(50);
    let tag = first.field("etag").expect("a tag");
    assert_eq!(gateway.get(&media, &format!("{}If-None-Match: {tag}\r\n", named("one"))).await.status, 304);
    gateway.pass(100);
    assert_eq!(gateway.get(&media, &format!("{}If-None-Match: {tag}\r\n", named("one"))).await.status, 200, "new tickets by now");
}

#[tokio::test]
async fn a_films_ticket_covers_its_length() {
    let origin = film();
    for propagation in ["path", "query"] {
        let session = json!({ "propagation": propagation, "ticket_lifetime": "8s", "idle_timeout": "10s" });
        let gateway = gateway(&origin.url, session);
        let link = gateway.link(HLS);
        let media = match propagation {
            "path" => beside(&location(&gateway.get(&link, &named("one")).await), "media_0.m3u8"),
            _ => by_query(&gateway, &link).await.0,
        };
        let playlist = gateway.get(&media, &named("one")).await;
        let segment = match propagation {
            "path" => beside(&media, "seg-0-9.m4s"),
            _ => format!("/vod/{}", playlist.text().lines().find(|line| line.starts_with("seg-0-9.m4s?")).expect("a segment")),
        };
        gateway.pass(20);
        assert_eq!(asks(&gateway, &segment, "one").await, "200", "{propagation}: back from a pause within the film's 24 s");
        gateway.pass(20);
        assert_eq!(asks(&gateway, &segment, "one").await, "403 ticket_expired", "{propagation}");
    }
}

#[tokio::test]
async fn a_session_has_its_time() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "max_duration": "60s", "idle_timeout": "3h" }));
    let link = gateway.link(HLS);
    let target = opens(&gateway, &link, "one").await.expect("room");
    gateway.pass(60);
    assert_eq!(asks(&gateway, &target, "one").await, "403 ticket_expired");
    assert!(opens(&gateway, &link, "one").await.is_ok(), "another session, another time");
}

#[tokio::test]
async fn looks_open_no_session() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = gateway.link(HLS);
    assert_eq!(client::request(gateway.addr(), "HEAD", &link, &named("checker"), b"").await.status, 200);
    assert_eq!(asks(&gateway, &gateway.link(origin::POSTER), "page").await, "200");
    assert_eq!(gateway.metric("sessions_admitted_total{route=\"vod\"}"), 0.0);
    assert!(opens(&gateway, &link, "one").await.is_ok());
    assert_eq!(client::request(gateway.addr(), "HEAD", &link, &named("checker"), b"").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_so_many_sessions() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "total_per_token": 5, "idle_timeout": "10s" }));
    // The token's own limit is tighter.
    let link = link_with(&gateway, json!({ "plays": 2 }));
    let first = opens(&gateway, &link, "one").await.expect("room");
    opens(&gateway, &link, "two").await.expect("room");
    assert_eq!(opens(&gateway, &link, "three").await, Err("403 session_total_token".to_owned()));
    gateway.pass(11);
    assert_eq!(asks(&gateway, &first, "one").await, "200", "back from a pause is not another one");
    assert_eq!(opens(&gateway, &link, "three").await, Err("403 session_total_token".to_owned()), "ended ones count");
}

#[tokio::test]
async fn a_token_limits_its_own_viewers() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 9 }));
    let link = link_with(&gateway, json!({ "streams": 1 }));
    opens(&gateway, &link, "one").await.expect("room");
    assert_eq!(opens(&gateway, &link, "two").await, Err("403 session_concurrent_token".to_owned()));
}

#[tokio::test]
async fn subjects_are_counted_over_their_tokens() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_subject": 1 }));
    opens(&gateway, &gateway.link(HLS), "one").await.expect("room");
    gateway.pass(1);
    assert_eq!(opens(&gateway, &gateway.link(HLS), "two").await, Err("403 session_concurrent_subject".to_owned()));
}

/// Asks from a network of its own.
async fn from(gateway: &Gateway, network: u8, target: &str) -> (u16, String) {
    let mut raw = Raw::from([127, 0, network, 1], gateway.addr()).await;
    raw.send(client::head("GET", target, &named("one"), 0)).await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    let what = if answer.status == 302 { location(&answer) } else { answer.code() };
    (answer.status, what)
}

#[tokio::test]
async fn a_token_travels_through_so_many_networks() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "networks_per_token": 2, "network_window": "60s", "idle_timeout": "1h" }));
    let link = gateway.link(HLS);
    let (status, target) = from(&gateway, 1, &link).await;
    assert_eq!(status, 302, "{target}");
    assert_eq!(from(&gateway, 2, &beside(&target, "seg-0-1.m4s")).await.0, 200, "a phone leaves the house");
    assert_eq!(from(&gateway, 3, &beside(&target, "seg-0-2.m4s")).await, (403, "session_networks".to_owned()));
    assert_eq!(from(&gateway, 3, &link).await, (403, "session_networks".to_owned()));
    assert_eq!(from(&gateway, 1, &beside(&target, "seg-0-3.m4s")).await.0, 200);
    gateway.pass(61);
    assert_eq!(from(&gateway, 3, &beside(&target, "seg-0-4.m4s")).await.0, 200);
}

#[tokio::test]
async fn a_session_has_its_bytes() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "max_bytes": "100KB" }));
    let link = gateway.link(HLS);
    let target = opens(&gateway, &link, "one").await.expect("room");
    let (mut whole, mut taken) = (0, 0);
    for number in 1..=12 {
        let mut raw = Raw::connect(gateway.addr()).await;
        raw.send(client::head("GET", &beside(&target, &format!("seg-0-{number}.m4s")), &named("one"), 0)).await.expect("sent");
        let Ok(answer) = raw.answer(false).await else { break };
        if answer.status != 200 {
            break;
        }
        (whole, taken) = (number, taken + answer.body.len());
    }
    assert!(whole > 1 && taken < 130_000, "{taken} bytes of {whole} segments; the one that goes beyond may be cut");
    assert_eq!(asks(&gateway, &beside(&target, "seg-0-1.m4s"), "one").await, "403 session_bytes");
    assert_eq!(opens(&gateway, &link, "one").await, Err("403 session_bytes".to_owned()), "nor by the token");
}

#[tokio::test]
async fn a_full_gateway_says_so() {
    let origin = film();
    let gateway = Gateway::start(over(config(&origin.url, json!({ "idle_timeout": "30s" })), json!({ "sessions": { "max_sessions": 2 } })));
    let link = gateway.link(HLS);
    let first = opens(&gateway, &link, "one").await.expect("room");
    opens(&gateway, &link, "two").await.expect("room");
    let full = gateway.get(&link, &named("three")).await;
    assert_eq!((full.status, full.code().as_str(), full.field("retry-after")), (503, "session_ceiling", Some("1")));
    assert_eq!(asks(&gateway, &first, "one").await, "200");
    gateway.pass(31);
    assert!(opens(&gateway, &link, "three").await.is_ok(), "silent ones are looked for when it is full");
}

#[tokio::test]
async fn of_many_at_once_so_many_come_in_as_there_is_room_for() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 5 }));
    let link = gateway.link(HLS);
    let all = (0..60).map(|viewer| {
        let link = link.clone();
        let addr = gateway.addr();
        tokio::spawn(async move { client::get(addr, &link, &named(&format!("viewer {viewer}"))).await.status })
    });
    let mut admitted = 0;
    for one in all.collect::<Vec<_>>() {
        admitted += usize::from(one.await.expect("an answer") == 302);
    }
    assert_eq!(admitted, 5);
}
