//! What the demo origin answers, by table, and that a server really says so on the wire.

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

type Answer = Response<Full<Bytes>>;

fn ask(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().expect("a header value"));
    }
    respond(&method.parse().expect("a method"), target, &headers)
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

fn body(answer: &Answer) -> Bytes {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(answer.body().clone().collect()).expect("a body").to_bytes()
}

#[test]
fn types_and_caching_are_those_of_a_media_origin() {
    for (path, kind, cache) in [
        (HLS, "application/vnd.apple.mpegurl", "public, max-age=10"),
        (DASH, "application/dash+xml", "public, max-age=10"),
        ("/vod/init-2.mp4", "video/mp4", "public, max-age=3600"),
        ("/vod/seg-0-12.m4s", "video/iso.segment", "public, max-age=3600"),
        (POSTER, "image/jpeg", "public, max-age=3600"),
    ] {
        let answer = ask("GET", path, &[]);
        assert_eq!(
            (answer.status().as_u16(), field(&answer, "content-type"), field(&answer, "cache-control")),
            (200, kind, cache),
            "{path}"
        );
        assert_eq!(field(&answer, "content-length"), body(&answer).len().to_string(), "{path}");
    }
}

#[test]
fn every_uri_in_the_playlists_is_served() {
    for list in ["master.m3u8", "media_0.m3u8", "media_1.m3u8", "media_2.m3u8"] {
        let text = String::from_utf8(body(&ask("GET", &format!("/vod/{list}"), &[])).to_vec()).expect("text");
        let quoted = text.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for uri in text.lines().filter(|line| !line.starts_with('#')).chain(quoted) {
            assert_eq!(ask("HEAD", &format!("/vod/{uri}"), &[]).status(), 200, "{uri} in {list}");
        }
    }
}

#[test]
fn methods_and_paths() {
    for (method, target, status) in [
        ("GET", "/vod/master.m3u8?token=abc", 200),
        ("HEAD", "/vod/master.m3u8", 200),
        ("POST", "/vod/master.m3u8", 405),
        ("GET", "/vod/", 404),
        ("GET", "/vod/../Cargo.toml", 404),
        ("GET", "/master.m3u8", 404),
        ("GET", "/", 404),
    ] {
        assert_eq!(ask(method, target, &[]).status().as_u16(), status, "{method} {target}");
    }
    let head = ask("HEAD", HLS, &[]);
    assert_eq!(field(&head, "content-length"), body(&ask("GET", HLS, &[])).len().to_string());
    assert!(body(&head).is_empty());
}

#[test]
fn ranges() {
    let length = FILES["poster.jpg"].bytes.len();
    let end = length - 1;
    for (range, status, content_range) in [
        ("bytes=0-0".to_owned(), 206, format!("bytes 0-0/{length}")),
        ("bytes=10-19".to_owned(), 206, format!("bytes 10-19/{length}")),
        (format!("bytes={end}-"), 206, format!("bytes {end}-{end}/{length}")),
        ("bytes=5-99999999999999999999999".to_owned(), 206, format!("bytes 5-{end}/{length}")),
        ("bytes=-4".to_owned(), 206, format!("bytes {}-{end}/{length}", length - 4)),
        ("bytes=-99999999".to_owned(), 206, format!("bytes 0-{end}/{length}")),
        (format!("bytes={length}-"), 416, format!("bytes */{length}")),
        ("bytes=-0".to_owned(), 416, format!("bytes */{length}")),
        ("bytes=0-1,3-4".to_owned(), 200, String::new()),
        ("bytes=9-2".to_owned(), 200, String::new()),
        ("bytes=-".to_owned(), 200, String::new()),
        ("bytes=+1-2".to_owned(), 200, String::new()),
        ("items=0-1".to_owned(), 200, String::new()),
    ] {
        let answer = ask("GET", POSTER, &[("range", &range)]);
        assert_eq!((answer.status().as_u16(), field(&answer, "content-range")), (status, content_range.as_str()), "{range}");
        assert_eq!(field(&answer, "content-length"), body(&answer).len().to_string(), "{range}");
    }
    assert_eq!(ask("HEAD", POSTER, &[("range", "bytes=0-0")]).status(), 200);
    assert_eq!(body(&ask("GET", POSTER, &[("range", "bytes=2-5")])), FILES["poster.jpg"].bytes.slice(2..6));
}

#[test]
fn validators() {
    let etag = field(&ask("GET", HLS, &[]), "etag").to_owned();
    assert_ne!(etag, field(&ask("GET", DASH, &[]), "etag"));
    for (value, status) in
        [(etag.clone(), 304), (format!("W/{etag}"), 304), (format!("\"x\", {etag}"), 304), ("*".into(), 304), ("\"x\"".into(), 200)]
    {
        let answer = ask("GET", HLS, &[("if-none-match", &value)]);
        assert_eq!((answer.status().as_u16(), field(&answer, "etag")), (status, etag.as_str()), "{value}");
    }
    for (validator, status) in
        [(etag.clone(), 206), ("\"x\"".into(), 200), (format!("W/{etag}"), 200), ("Sat, 01 Jan 2000 00:00:00 GMT".into(), 200)]
    {
        let answer = ask("GET", HLS, &[("range", "bytes=0-3"), ("if-range", &validator)]);
        assert_eq!(answer.status().as_u16(), status, "{validator}");
    }
}

#[test]
fn echo_tells_names_and_never_values() {
    let answer = ask("GET", "/vod/echo?token=S3CRET&S3CRETalone&a=", &[("authorization", "Bearer S3CRET"), ("x-a", "S3CRET")]);
    let text = String::from_utf8(body(&answer).to_vec()).expect("text");
    assert_eq!(text, r#"{"headers":["authorization","x-a"],"query":["token","(no name)","a"]}"#);
}

#[tokio::test]
async fn the_wire_says_the_same_and_requests_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let origin = Origin::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn({
        let origin = origin.clone();
        async move { origin.serve(listener, async { _ = stopped.await }).await }
    });
    let length = FILES["master.m3u8"].bytes.len();
    for (head, expected) in [
        (format!("HEAD {HLS} HTTP/1.1"), format!("content-length: {length}")),
        (format!("GET {HLS} HTTP/1.1\r\nrange: bytes=0-6"), "\r\n\r\n#EXTM3U".to_owned()),
        (format!("GET {HLS} HTTP/1.1\r\nif-none-match: *"), "HTTP/1.1 304 Not Modified".to_owned()),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request = format!("{head}\r\nhost: origin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains(&expected), "{head}: {answer}");
    }
    assert_eq!(origin.requests(), 3);
    drop(stop);
    served.await.expect("an end");
}
