//! How tickets travel: in the path, in queries, in cookies, or not at all.

use serde_json::json;

use tollgate::demo::origin;

use super::{beside, film, gateway, location};
use crate::support::{Gateway, Origin, Reply, client};

const PLAYLIST: &str = "/vod/media_0.m3u8";

/// The links of an HLS playlist.
fn links(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    let attributes = text.split("URI=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    lines.chain(attributes).collect()
}

async fn from_origin(origin: &Origin, path: &str) -> crate::support::Answer {
    client::get(origin.addr, path, "").await
}

#[tokio::test]
async fn a_ticket_in_the_path_leaves_playlists_as_they_are() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({}));
    let link = gateway.link(&format!("{}?q=1", origin::HLS));
    let entry = gateway.get(&link, "Origin: https://page.test\r\n").await;
    let target = location(&entry);
    assert!(target.starts_with("/tg~") && target.ends_with("/vod/master.m3u8?q=1"), "{target}");
    assert_eq!(entry.field("cache-control"), Some("no-store"));
    assert_eq!(entry.field("access-control-allow-origin"), Some("*"), "{entry:?}");
    assert_eq!(origin.count(), 0, "the redirect costs the origin nothing");
    let plain = from_origin(&origin, origin::HLS).await;
    let played = gateway.get(&target, "").await;
    assert_eq!((played.status, &played.body), (200, &plain.body));
    assert_eq!((played.field("etag"), played.field("content-length")), (plain.field("etag"), plain.field("content-length")));
    let media = beside(&target, "media_0.m3u8");
    assert_eq!(gateway.get(&media, "").await.body, from_origin(&origin, PLAYLIST).await.body);
    for name in ["init-0.mp4", "seg-0-1.m4s", "seg-0-12.m4s", "poster.jpg"] {
        assert_eq!(gateway.get(&beside(&target, name), "").await.status, 200, "{name}");
    }
    let part = gateway.get(&beside(&target, "seg-0-1.m4s"), "Range: bytes=2-4\r\n").await;
    assert_eq!((part.status, part.body.len()), (206, 3));
    let (token, ticket) = (link.rsplit_once('=').expect("a token").1, target.split('/').nth(1).expect("a segment"));
    for seen in origin.requests() {
        assert!(!seen.head.contains(token) && !seen.head.contains(ticket) && !seen.head.contains("tg~"), "{}", seen.head);
    }
    assert_eq!(gateway.metric("sessions_active{route=\"vod\"}"), 1.0);
}

#[tokio::test]
async fn a_playlist_under_a_ticket_is_asked_for_as_any_file() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({}));
    let target = location(&gateway.get(&gateway.link(origin::HLS), "").await);
    let tag = gateway.get(&target, "").await.field("etag").expect("a tag").to_owned();
    let same = gateway.get(&target, &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some(tag.as_str())));
    let head = client::request(gateway.addr(), "HEAD", &target, "", b"").await;
    assert_eq!((head.status, head.field("etag")), (200, Some(tag.as_str())));
    let page = "Referer: https://gate.test/tg~AAAA/vod/player.html\r\n";
    gateway.get(&target, page).await;
    assert!(!origin.last().head.contains("tg~"), "{}", origin.last().head);
}

#[tokio::test]
async fn links_that_would_leave_the_ticket_are_brought_back() {
    const TEXT: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/vod/a.ts\n#EXTINF:4,\nhttp://gate.test/vod/b.ts?x=1\n#EXTINF:4,\nc.ts\n\
                        #EXTINF:4,\nhttps://elsewhere.test/vod/d.ts\n#EXTINF:4,\n//elsewhere.test/e.ts\n#EXTINF:4,\nhttp://gate.test:81/f.ts\n";
    let origin = Origin::start(|seen| match seen.target.ends_with(".m3u8") {
        true => Reply::new(200, TEXT).with("Content-Type", "application/vnd.apple.mpegurl").with("ETag", "\"o\""),
        false => Reply::new(200, "media"),
    });
    let gateway = gateway(&origin.url, json!({}));
    let target = location(&gateway.get(&gateway.link("/vod/a.m3u8"), "").await);
    let (ticket, _) = target.strip_prefix('/').and_then(|rest| rest.split_once('/')).expect("a segment");
    let played = gateway.get(&target, "").await;
    let found = links(&played.text());
    let ours = [format!("/{ticket}/vod/a.ts"), format!("http://gate.test/{ticket}/vod/b.ts?x=1"), "c.ts".to_owned()];
    assert_eq!(found[..3], ours, "{}", played.text());
    assert_eq!(found[3..], ["https://elsewhere.test/vod/d.ts", "//elsewhere.test/e.ts", "http://gate.test:81/f.ts"]);
    assert_ne!(played.field("etag"), Some("\"o\""), "another body has another tag");
    assert_eq!(played.field("content-length"), Some(played.body.len().to_string().as_str()));
    assert_eq!(gateway.get(&found[0], "").await.status, 200);
}

#[tokio::test]
async fn a_ticket_in_the_query_stands_on_every_link() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "query" }));
    let link = gateway.link(origin::HLS);
    let entry = gateway.get(&link, "").await;
    let plain = from_origin(&origin, origin::HLS).await;
    assert_eq!(entry.status, 200, "{}", entry.text());
    let found = links(&entry.text());
    assert!(found.len() == 3 && found.iter().all(|link| link.contains(".m3u8?tg=")), "{found:?}");
    let ticket = found[0].split_once('?').expect("a query").1;
    assert_eq!(entry.text().replace(&format!("?{ticket}"), ""), plain.text(), "nothing else changed");
    assert_eq!(entry.field("content-length"), Some(entry.body.len().to_string().as_str()));
    assert!(entry.field("etag").is_some_and(|tag| Some(tag) != plain.field("etag")));
    assert_eq!(entry.field("accept-ranges"), None);
    let media = gateway.get(&format!("/vod/{}", found[0]), "").await;
    let segments = links(&media.text());
    assert!(segments.len() == 13 && segments.iter().all(|link| link.contains("?tg=")), "{segments:?}");
    for segment in &segments[..2] {
        assert_eq!(gateway.get(&format!("/vod/{segment}"), "").await.status, 200, "{segment}");
    }
    let part = gateway.get(&format!("/vod/{}", segments[1]), "Range: bytes=0-9\r\n").await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    let token = link.rsplit_once('=').expect("a token").1;
    for seen in origin.requests() {
        assert!(!seen.head.contains(token) && !seen.target.contains("tg="), "{}", seen.head);
    }
    let bare = gateway.get("/vod/seg-0-1.m4s", "").await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "token_missing"));
}

#[tokio::test]
async fn conditions_and_ranges_speak_of_the_rewritten_playlist() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "query" }));
    let link = gateway.link(origin::HLS);
    let entry = gateway.get(&link, "").await;
    let child = format!("/vod/{}", links(&entry.text())[0]);
    let media = gateway.get(&child, "").await;
    let tag = media.field("etag").expect("a tag").to_owned();
    let same = gateway.get(&child, &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some(tag.as_str())), "{}", same.text());
    let plain = from_origin(&origin, PLAYLIST).await.field("etag").expect("a tag").to_owned();
    assert_eq!(gateway.get(&child, &format!("If-None-Match: {plain}\r\n")).await.status, 200, "the origin's tag is another body's");
    let ranged = gateway.get(&child, "Range: bytes=0-9\r\n").await;
    assert_eq!((ranged.status, ranged.body.len()), (200, media.body.len()), "ranges of another body are not served");
    let head = client::request(gateway.addr(), "HEAD", &child, "", b"").await;
    assert_eq!((head.status, head.field("content-length"), head.field("etag")), (200, None, None), "what is not known is not told");
}

#[tokio::test]
async fn dash_links_carry_the_ticket() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "query" }));
    let entry = gateway.get(&gateway.link(origin::DASH), "").await;
    let text = entry.text();
    let (_, rest) = text.split_once("?tg=").expect("a ticket");
    let ticket = rest.split('"').next().expect("an attribute");
    assert_eq!(text.matches(&format!("?tg={ticket}")).count(), 6, "{text}");
    assert_eq!(text.replace(&format!("?tg={ticket}"), ""), from_origin(&origin, origin::DASH).await.text());
    assert_eq!(gateway.get(&format!("/vod/seg-0-1.m4s?tg={ticket}"), "").await.status, 200);
    let gateway = super::gateway(&origin.url, json!({}));
    let target = location(&gateway.get(&gateway.link(origin::DASH), "").await);
    // Written out under the ticket, for clients that resolve segments against the address before the redirect.
    let folder = target.rsplit_once('/').expect("a folder").0;
    let text = gateway.get(&target, "").await.text();
    assert!(text.contains(&format!("media=\"{folder}/")), "{text}");
    assert_eq!(text.replace(&format!("{folder}/"), ""), from_origin(&origin, origin::DASH).await.text());
}

#[tokio::test]
async fn other_hosts_never_get_a_ticket() {
    const TEXT: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys.test/k\"\n#EXTINF:4,\nhttps://elsewhere.test/a.ts\n\
                        #EXTINF:4,\n//elsewhere.test/b.ts\n#EXTINF:4,\nhttp://gate.test@elsewhere.test/c.ts\n#EXTINF:4,\nhttp://gate.test.elsewhere.test/d.ts\n\
                        #EXTINF:4,\n\\\\elsewhere.test\\e.ts\n#EXTINF:4,\nhttps://ally.test/f.ts\n#EXTINF:4,\nhttp://ally.test/g.ts\n#EXTINF:4,\ng.ts\n";
    let origin = Origin::start(|_| Reply::new(200, TEXT).with("Content-Type", "application/vnd.apple.mpegurl"));
    let gateway = gateway(&origin.url, json!({ "propagation": "query", "ticket_hosts": ["ally.test"] }));
    let text = gateway.get(&gateway.link("/vod/a.m3u8"), "").await.text();
    let with_ticket: Vec<_> = links(&text).into_iter().filter(|link| link.contains("tg=")).collect();
    let bare: Vec<_> = with_ticket.iter().map(|link| link.split('?').next().expect("a link")).collect();
    assert_eq!(bare, ["https://ally.test/f.ts", "http://ally.test/g.ts", "g.ts"], "{text}");
}

#[tokio::test]
async fn a_cookie_lets_children_in() {
    let origin = film();
    let session = json!({ "propagation": "cookie", "cookie": { "same_site": "none", "secure": true } });
    let gateway = gateway(&origin.url, session);
    let entry = gateway.get(&gateway.link(origin::HLS), "").await;
    assert_eq!((entry.status, entry.text()), (200, from_origin(&origin, origin::HLS).await.text()));
    let cookie = entry.field("set-cookie").expect("a cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair.starts_with("tg="), "{cookie}");
    assert_eq!(attributes, "Path=/vod/; Max-Age=3600; HttpOnly; SameSite=None; Secure");
    let child = gateway.get("/vod/seg-0-1.m4s", &format!("Cookie: k=v; {pair}\r\n")).await;
    assert_eq!((child.status, child.field("set-cookie")), (200, None));
    assert_eq!(origin.last().field("cookie"), Some("k=v"), "the ticket is taken out");
    let bare = gateway.get("/vod/seg-0-1.m4s", "").await;
    assert_eq!(bare.code(), "token_missing");
    // A token beside a cookie asks for another viewing.
    let other = gateway.get(&gateway.link(origin::HLS), &format!("Cookie: {pair}; k=v\r\nUser-Agent: b\r\n")).await;
    assert_eq!(other.status, 200);
    assert_eq!(origin.last().field("cookie"), Some("k=v"), "nor does a ticket beside a token get through");
    assert_eq!(gateway.metric("sessions_active{route=\"vod\"}"), 2.0);
}

#[tokio::test]
async fn a_route_that_hands_tokens_on_keeps_tickets_to_itself() {
    for propagation in ["path", "query", "cookie"] {
        let origin = film();
        let mut config = super::config(&origin.url, json!({ "propagation": propagation }));
        config["routes"][0]["forward_token"] = json!(true);
        let gateway = Gateway::start(config);
        let link = gateway.link(origin::HLS);
        let entry = gateway.get(&link, "").await;
        let cookie = entry.field("set-cookie").and_then(|field| field.split(';').next()).map(str::to_owned);
        let (target, fields) = match propagation {
            "path" => (location(&entry), "Referer: https://gate.test/tg~AAAA/vod/player.html\r\n".to_owned()),
            "query" => (format!("/vod/{}", links(&entry.text())[0]), "Referer: https://gate.test/vod/p.html?tg=AAAA\r\n".to_owned()),
            _ => ("/vod/media_0.m3u8".to_owned(), format!("Cookie: {}\r\n", cookie.expect("a cookie"))),
        };
        assert_eq!(gateway.get(&target, &fields).await.status, 200, "{propagation}");
        assert!(origin.requests().iter().all(|seen| !seen.head.contains("tg~") && !seen.head.contains("tg=")), "{}", origin.last().head);
    }
}

#[tokio::test]
async fn a_token_in_the_path_is_inherited() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "inherit", "concurrent_per_token": 1 }));
    let token = gateway.sign("viewer", origin::HLS).token;
    let at = |name: &str| format!("/t={token}/vod/{name}");
    for name in ["master.m3u8", "media_0.m3u8", "seg-0-1.m4s"] {
        assert_eq!(super::asks(&gateway, &at(name), "one").await, "200", "{name}");
    }
    assert_eq!(super::asks(&gateway, &at("seg-0-1.m4s"), "two").await, "403 session_concurrent_token");
    assert_eq!(gateway.metric("sessions_admitted_total{route=\"vod\"}"), 1.0);
    assert!(origin.requests().iter().all(|seen| !seen.head.contains(&token)));
}

#[tokio::test]
async fn without_propagation_viewers_are_told_apart_by_what_is_seen() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "none", "concurrent_per_token": 1 }));
    let link = gateway.link(origin::HLS);
    let entry = gateway.get(&link, &super::named("one")).await;
    assert_eq!((entry.status, entry.field("set-cookie")), (200, None));
    assert_eq!(entry.text(), from_origin(&origin, origin::HLS).await.text());
    assert_eq!(super::asks(&gateway, &link, "one").await, "200");
    assert_eq!(super::asks(&gateway, &link, "two").await, "403 session_concurrent_token");
}

async fn film_with_ranges(gateway: &Gateway, target: &str) {
    let part = gateway.get(target, "Range: bytes=4-7\r\n").await;
    assert_eq!((part.status, part.text().as_str()), (206, "ftyp"));
    let whole = gateway.get(target, "").await;
    let length = whole.body.len();
    let tail = gateway.get(target, &format!("Range: bytes={}-\r\n", length - 5)).await;
    assert_eq!((tail.status, &tail.body[..]), (206, &whole.body[length - 5..]));
    let range = format!("bytes {}-{}/{length}", length - 5, length - 1);
    assert_eq!(tail.field("content-range"), Some(range.as_str()));
}

#[tokio::test]
async fn one_file_plays_with_ranges() {
    let origin = film();
    let by_path = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = by_path.link(origin::DOWNLOAD);
    let target = location(&by_path.get(&link, "Range: bytes=0-\r\n").await);
    film_with_ranges(&by_path, &target).await;
    assert_eq!(by_path.metric("sessions_admitted_total{route=\"vod\"}"), 1.0);
    let by_query = gateway(&origin.url, json!({ "propagation": "query", "concurrent_per_token": 1 }));
    let link = by_query.link(origin::DOWNLOAD);
    film_with_ranges(&by_query, &link).await;
    assert_eq!(by_query.metric("sessions_admitted_total{route=\"vod\"}"), 1.0);
}

#[tokio::test]
async fn a_path_adds_nothing_to_a_cookie() {
    let origin = Origin::plain();
    let mut config = super::config(&origin.url, json!({ "propagation": "cookie" }));
    config["routes"][0]["allow_path_parameters"] = json!(true);
    let gateway = Gateway::start(config);
    let entry = gateway.get(&gateway.link("/vod/a;Domain=test/b/master.m3u8"), "").await;
    let cookie = entry.field("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Path=/vod/; ") && !cookie.contains("Domain"), "{cookie}");
}

const MEDIA: &str =
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"k.bin\"\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:4,\na.m4s\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut to, bytes).expect("memory");
    to.finish().expect("memory")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Write::write_all(&mut brotli::CompressorWriter::new(&mut out, 4096, 5, 20), bytes).expect("memory");
    out
}

#[tokio::test]
async fn playlists_that_come_compressed_are_rewritten_and_bombs_are_not() {
    let bomb = format!("{MEDIA}{}", "#EXTINF:4,\na.m4s\n".repeat(500_000));
    for (coding, small, large) in [
        ("gzip", gzip(MEDIA.as_bytes()), gzip(bomb.as_bytes())),
        ("br", brotli(MEDIA.as_bytes()), brotli(bomb.as_bytes())),
        ("zstd", Vec::new(), b"what it does not know".to_vec()),
    ] {
        let sent = small.clone();
        let origin = Origin::start(move |seen| {
            let body = if seen.target.contains("bomb") { large.clone() } else { sent.clone() };
            let kind = if seen.target.ends_with(".m4s") { "video/mp4" } else { "application/vnd.apple.mpegurl" };
            Reply::new(200, body).with("Content-Type", kind).with("Content-Encoding", coding).with("ETag", "\"o\"")
        });
        let gateway = gateway(&origin.url, json!({ "propagation": "query" }));
        let broken = gateway.get(&gateway.link("/vod/bomb.m3u8"), "").await;
        assert_eq!((broken.status, broken.code().as_str()), (502, "playlist_broken"), "{coding}");
        if coding == "zstd" {
            continue;
        }
        let played = gateway.get(&gateway.link("/vod/a.m3u8"), "Accept-Encoding: gzip, br\r\n").await;
        assert_eq!(origin.last().field("accept-encoding"), Some("identity"), "asked for as it can be read");
        assert_eq!((played.status, played.field("content-encoding")), (200, None), "{coding}");
        assert_eq!(played.field("content-length"), Some(played.body.len().to_string().as_str()));
        assert_ne!(played.field("etag"), Some("\"o\""));
        let found = links(&played.text());
        assert!(found.len() == 3 && found.iter().all(|link| link.contains("?tg=")), "{coding}: {found:?}");
        let ticket = found[0].split_once('?').expect("a query").1;
        let segment = gateway.get(&format!("/vod/a.m4s?{ticket}"), "").await;
        assert_eq!((segment.body, segment.fields.iter().any(|(name, _)| name == "content-encoding")), (small, true), "other bodies pass");
    }
}

#[tokio::test]
async fn what_shall_be_left_is_left() {
    let origin = Origin::start(|_| Reply::new(200, MEDIA).with("Content-Type", "application/vnd.apple.mpegurl"));
    for (leave, bare) in [(json!([]), vec![]), (json!(["key"]), vec!["k.bin"]), (json!(["map", "segment"]), vec!["a.m4s", "i.mp4"])] {
        let gateway = gateway(&origin.url, json!({ "propagation": "query", "leave": leave }));
        let found = links(&gateway.get(&gateway.link("/vod/a.m3u8"), "").await.text());
        let without: Vec<_> = found.iter().filter(|link| !link.contains("tg=")).map(String::as_str).collect();
        assert_eq!((found.len(), without), (3, bare), "{leave}");
    }
}
