//! api.video: whole and in parts, and the id that later parts need.

use serde_json::json;

use super::{api_video, form, form_fields, gateway, link, noise, part, read_form};
use crate::support::{Origin, Reply, client};

#[tokio::test]
async fn a_whole_upload_arrives_byte_for_byte() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({ "content_types": ["video/*"], "max_bytes": "2MiB" }));
    let film = noise(700_000, 1);
    let body = form(&[("title", "A film")], ("film.mp4", "video/mp4", &film));
    let answer = client::request(gateway.addr(), "POST", &link(&gateway, "/upload", 60, json!({})), &form_fields(None), &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let seen = origin.last();
    assert!(seen.body == body, "not a byte is changed");
    assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str()));
    assert!(!seen.target.contains("token"), "{}", seen.target);
    assert_eq!(gateway.metric("uploads_ended_total{result=\"whole\""), 1.0);
    assert_eq!(gateway.metric("uploads_bytes_total"), body.len() as f64);
}

#[tokio::test]
async fn later_parts_get_the_id_that_their_client_leaves_out() {
    for ranges in [
        ["part 1/3", "part 2/3", "part 3/3"],
        ["part 1/*", "part 2/*", "part 3/3"],
        ["bytes 0-299999/900000", "bytes 300000-599999/900000", "bytes 600000-899999/900000"],
    ] {
        let (origin, videos) = api_video();
        let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
        let link = link(&gateway, "/upload", 60, json!({}));
        let film = noise(900_000, 2);
        for (range, content) in ranges.iter().zip(film.chunks(300_000)) {
            let answer = part(&gateway, &link, range, content).await;
            assert_eq!(answer.status, 201, "{range}: {}", answer.text());
            let seen = origin.last();
            assert_eq!(seen.field("content-range"), Some(*range), "passed on as it came");
            assert!(seen.whole);
        }
        let videos = videos.0.lock().expect("no panics inside");
        assert_eq!(videos.len(), 1, "{ranges:?}: one film is one video");
        assert!(videos.values().next() == Some(&film), "byte for byte");
        assert_eq!(gateway.metric("uploads_video_ids_supplied_total"), 2.0);
        assert_eq!((gateway.metric("sessions_admitted_total"), gateway.metric("sessions_active")), (1.0, 0.0), "{ranges:?}");
        assert_eq!(gateway.metric("uploads_ended_total{result=\"whole\""), 1.0);
    }
}

#[tokio::test]
async fn an_id_that_the_client_sends_stays_the_only_one() {
    let (origin, videos) = api_video();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/upload", 60, json!({}));
    let first = part(&gateway, &link, "part 1/2", b"one").await;
    let id = serde_json::from_slice::<serde_json::Value>(&first.body).expect("JSON")["videoId"].as_str().expect("an id").to_owned();
    let body = form(&[("videoId", &id)], ("other.mp4", "video/mp4", b"two"));
    let answer = client::request(gateway.addr(), "POST", &link, &form_fields(Some("part 2/2")), &body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(read_form(&origin.last()).iter().filter(|(name, ..)| name == "videoId").count(), 1);
    assert_eq!(videos.0.lock().expect("no panics inside").values().collect::<Vec<_>>(), [&b"onetwo".to_vec()]);
    assert_eq!(gateway.metric("uploads_video_ids_supplied_total"), 0.0);
}

#[tokio::test]
async fn nothing_is_supplied_where_that_is_switched_off() {
    let (origin, videos) = api_video();
    let gateway = gateway(&origin.url, json!({ "supply_video_id": false }));
    let link = link(&gateway, "/upload", 60, json!({}));
    for range in ["part 1/2", "part 2/2"] {
        assert_eq!(part(&gateway, &link, range, b"x").await.status, 201);
    }
    assert_eq!(videos.0.lock().expect("no panics inside").len(), 2, "as the vendor would have it");
}

#[tokio::test]
async fn two_files_of_one_recorder_are_told_apart_by_name() {
    let (origin, videos) = api_video();
    let gateway = gateway(&origin.url, json!({}));
    let link = link(&gateway, "/upload", 60, json!({}));
    let send = async |name: &str, range: &str, content: &[u8]| {
        let body = form(&[], (name, "video/mp4", content));
        client::request(gateway.addr(), "POST", &link, &form_fields(Some(range)), &body).await
    };
    for (name, range, content) in
        [("a.mp4", "part 1/2", b"a1"), ("b.mp4", "part 1/2", b"b1"), ("b.mp4", "part 2/2", b"b2"), ("a.mp4", "part 2/2", b"a2")]
    {
        assert_eq!(send(name, range, content).await.status, 201, "{name} {range}");
    }
    let mut files: Vec<_> = videos.0.lock().expect("no panics inside").values().cloned().collect();
    files.sort();
    assert_eq!(files, [b"a1a2".to_vec(), b"b1b2".to_vec()]);
    // Two of the same name, at the same part: better none than the wrong one.
    for _ in 0..2 {
        assert_eq!(send("c.mp4", "part 1/2", b"c1").await.status, 201);
    }
    let unclear = send("c.mp4", "part 2/2", b"c2").await;
    assert_eq!((unclear.status, unclear.code().as_str()), (409, "upload_unclear"));
}

#[tokio::test]
async fn a_part_that_comes_too_early_has_to_wait() {
    let (release, released) = tokio::sync::watch::channel(false);
    let origin = Origin::scripted(move |mut exchange| {
        let mut released = released.clone();
        async move {
            exchange.read_body().await?;
            let _ = released.wait_for(|released| *released).await;
            exchange.reply(&Reply::new(201, "{\"videoId\":\"vi1\"}")).await?;
            Ok(Some(exchange))
        }
    });
    let gateway = gateway(&origin.url, json!({}));
    let link = link(&gateway, "/upload", 60, json!({}));
    let first = async {
        let answer = part(&gateway, &link, "part 1/2", b"one").await;
        assert_eq!(answer.status, 201);
    };
    let second = async {
        origin.wait("the first part", |origin| origin.count() == 1).await;
        let early = part(&gateway, &link, "part 2/2", b"two").await;
        assert_eq!((early.status, early.code().as_str(), early.field("retry-after")), (503, "upload_pending", Some("1")));
        release.send(true).expect("somebody waits");
    };
    tokio::join!(first, second);
    assert_eq!(part(&gateway, &link, "part 2/2", b"two").await.status, 201);
    assert!(read_form(&origin.last()).iter().any(|(name, _, value)| name == "videoId" && value == b"vi1"));
}

#[tokio::test]
async fn nobody_adds_to_the_video_of_another() {
    let (origin, videos) = api_video();
    let gateway = gateway(&origin.url, json!({}));
    let ann = link(&gateway, "/upload", 60, json!({ "sub": "ann" }));
    let first = part(&gateway, &ann, "part 1/2", b"ann's").await;
    let id = serde_json::from_slice::<serde_json::Value>(&first.body).expect("JSON")["videoId"].as_str().expect("an id").to_owned();
    let bob = link(&gateway, "/upload", 61, json!({ "sub": "bob" }));
    for fields in [&[("videoId", id.as_str())][..], &[]] {
        let body = form(fields, ("film.mp4", "video/mp4", b"bob's"));
        let answer = client::request(gateway.addr(), "POST", &bob, &form_fields(Some("part 2/2")), &body).await;
        let expected = if fields.is_empty() { (201, true) } else { (403, false) };
        assert_eq!((answer.status, answer.code() != "upload_foreign"), expected, "{}", answer.text());
    }
    assert_eq!(videos.0.lock().expect("no panics inside")[&id], b"ann's");
    // Ann herself, with a further token.
    let again = link(&gateway, "/upload", 62, json!({ "sub": "ann" }));
    assert_eq!(part(&gateway, &again, "part 2/2", b" own").await.status, 201);
    assert_eq!(videos.0.lock().expect("no panics inside")[&id], b"ann's own");
}

#[tokio::test]
async fn forms_with_two_readings_do_not_pass_as_parts() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({}));
    let link = link(&gateway, "/upload", 60, json!({}));
    let body = form(&[], ("film.mp4", "video/mp4", b"x\n------tollgate\r\nContent-Disposition: form-data; name=\"videoId\"\r\n\r\nvi1"));
    let answer = client::request(gateway.addr(), "POST", &link, &form_fields(Some("part 1/2")), &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "body_broken"));
}
