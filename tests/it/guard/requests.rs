//! A table of requests with more than one reading. Each is refused, and the origin hears nothing.

use crate::support::{Origin, Raw, client};

use super::{open, statuses};

/// Whether the connection must end with the refusal, because nobody can tell where the next request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Closed,
    Open,
}
use After::{Closed, Open};

/// Name, request, statuses that are right for it, and what becomes of the connection.
fn table() -> Vec<(&'static str, String, &'static [u16], After)> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let with = |fields: &str| format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let post = |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let mut rows = vec![
        // Lengths.
        ("cl and te", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400][..], Closed),
        ("te and cl", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), &[400], Closed),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), &[400], Closed),
        ("two same lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), &[400], Closed),
        ("length list", post("Content-Length: 5, 5\r\n", "hello"), &[400], Closed),
        ("plus length", post("Content-Length: +5\r\n", "hello"), &[400], Closed),
        ("minus length", post("Content-Length: -5\r\n", "hello"), &[400], Closed),
        ("hex length", post("Content-Length: 0x5\r\n", "hello"), &[400], Closed),
        ("empty length", post("Content-Length: \r\n", ""), &[400], Closed),
        ("huge length", post("Content-Length: 99999999999999999999\r\n", "x"), &[400, 413], Closed),
        ("length with space", post("Content-Length: 5 5\r\n", "hello"), &[400], Closed),
        // Transfer codings.
        ("te twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te list", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te gzip", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), &[400, 501], Closed),
        ("te identity", post("Transfer-Encoding: identity\r\n", ""), &[400], Closed),
        ("te then identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te x", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te quoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te parameter", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te vertical tab", post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te space before colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te tab before colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te folded", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), &[400], Closed),
        ("te empty", post("Transfer-Encoding:\r\n", ""), &[400], Closed),
        ("te in 1.0", "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), &[400], Closed),
        // Lines.
        ("lf after request line", "GET /x HTTP/1.1\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("lf after field", "GET /x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n".into(), &[400], Closed),
        ("lf alone at the end", "GET /x HTTP/1.1\r\nHost: a\r\n\n".into(), &[400], Closed),
        ("lf before the request", "\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("cr in a value", with("X: a\rb\r\n"), &[400], Closed),
        ("cr cr lf", with("X: a\r\r\n"), &[400], Closed),
        ("folded", with("X: a\r\n b\r\n"), &[400], Closed),
        ("folded by tab", with("X: a\r\n\tb\r\n"), &[400], Closed),
        ("folded first", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n".into(), &[400], Closed),
        ("nul in a value", with("X: a\0b\r\n"), &[400], Closed),
        ("del in a value", with("X: a\u{7f}b\r\n"), &[400], Closed),
        ("no colon", with("Xab\r\n"), &[400], Closed),
        ("no name", with(": b\r\n"), &[400], Closed),
        ("space in a name", with("X a: b\r\n"), &[400], Closed),
        ("space before colon", with("X : b\r\n"), &[400], Closed),
        ("bracket in a name", with("X[: b\r\n"), &[400], Closed),
        ("high byte in a name", with("X\u{e9}: b\r\n"), &[400], Closed),
        // Request lines.
        ("two spaces", "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("space at the end", "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("tab for space", "GET\t/x\tHTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("space in the target", "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("no version", "GET /x\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("version 1.2", "GET /x HTTP/1.2\r\nHost: a\r\n\r\n".into(), &[400, 505], Closed),
        ("version 2.0", "GET /x HTTP/2.0\r\nHost: a\r\n\r\n".into(), &[400, 505], Closed),
        ("version 0.9", "GET /x HTTP/0.9\r\nHost: a\r\n\r\n".into(), &[400, 505], Closed),
        ("lower case version", "GET /x http/1.1\r\nHost: a\r\n\r\n".into(), &[400, 505], Closed),
        ("colon in the method", "GE:T /x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("fragment", get("/x#y"), &[400], Closed),
        ("fragment in the query", get("/x?a#y"), &[400], Closed),
        ("raw utf-8", get("/\u{e9}"), &[400], Closed),
        ("control in the target", get("/x\u{1}y"), &[400], Closed),
        // Hosts.
        ("no host", "GET /x HTTP/1.1\r\n\r\n".into(), &[400], Open),
        ("two hosts", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), &[400], Open),
        ("two same hosts", "GET /x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n".into(), &[400], Open),
        ("empty host", "GET /x HTTP/1.1\r\nHost:\r\n\r\n".into(), &[400], Open),
        ("host with user", "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n".into(), &[400], Open),
        ("host with path", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), &[400], Open),
        ("host with comma", "GET /x HTTP/1.1\r\nHost: a,b\r\n\r\n".into(), &[400], Open),
        ("host with space", "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n".into(), &[400], Open),
        ("host with bad port", "GET /x HTTP/1.1\r\nHost: a:http\r\n\r\n".into(), &[400], Open),
        ("host in 1.0 missing", "GET /x HTTP/1.0\r\n\r\n".into(), &[400], Closed),
        ("absolute form of another host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Open),
        ("absolute form with another port", "GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Open),
        ("absolute form with user", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Open),
        ("another scheme", "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400, 501], Closed),
        // Kinds of request that are not proxied.
        ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), &[400, 405, 501], Closed),
        ("trace", "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[405, 501], Closed),
        ("options star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400, 501], Closed),
        ("authority form", get("a:80"), &[400], Open),
        ("http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[], Closed),
        ("tls hello", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".into(), &[400], Closed),
        // Too much.
        ("long field", with(&format!("X: {}\r\n", "a".repeat(40_000))), &[431], Closed),
        ("many fields", with(&"X: a\r\n".repeat(150)), &[431], Closed),
        ("long target", get(&format!("/{}", "a".repeat(9_000))), &[414], Open),
    ];
    // Paths: one reading or none.
    for path in [
        "/a/../b",
        "/..",
        "/a/..",
        "/./a",
        "/a/.",
        "/a/%2e%2e/b",
        "/a/%2E%2e/b",
        "/a/.%2e/b",
        "/%2e/",
        "//a",
        "/a//b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%252fb",
        "/a%00b",
        "/a%0d%0ab",
        "/a%zz",
        "/a%",
        "/a%c0%af",
        "/%ff",
        "/%61",
        "/a;/../b",
        "/a%3b",
        "/a%23",
        "/a%3f",
    ] {
        rows.push((path, get(path), &[400], Open));
    }
    for query in ["/a?x=\\", "/a?<script>", "/a?x=\u{e9}"] {
        rows.push((query, get(query), &[400], if query.contains("\\") { Open } else { Closed }));
    }
    rows
}

#[tokio::test]
async fn requests_with_two_readings_are_refused() {
    let origin = Origin::plain();
    let gateway = open(&origin);
    let rows = table();
    assert!(rows.len() >= 60);
    let mut wrong = Vec::new();
    for (name, bytes, right, after) in rows {
        // A second request on the connection: it is answered only where the first one's end is beyond doubt.
        let next = "OPTIONS /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let latin: Vec<u8> = format!("{bytes}{next}").chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect();
        let got = statuses(&gateway, &latin).await;
        // Where no status is right, the connection ends without a word.
        let first = got.first().map_or(right.is_empty(), |status| right.contains(status));
        let second = if after == Open { got.get(1) == Some(&204) && got.len() == 2 } else { got.len() < 2 };
        if !first || !second {
            wrong.push(format!("{name}: {got:?}, not {right:?} and then {after:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((origin.connections(), origin.count()), (0, 0));
}

#[tokio::test]
async fn bodies_with_broken_framing_are_never_whole_at_the_origin() {
    let origin = Origin::plain();
    let gateway = open(&origin);
    let mut wrong = Vec::new();
    for (name, body) in [
        ("size is no number", "xyz\r\nabc\r\n0\r\n\r\n"),
        ("size with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("size too large", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("size ends in lf", "3\nabc\r\n0\r\n\r\n"),
        ("chunk without end", "3\r\nabcd\r\n0\r\n\r\n"),
        ("chunk ends in lf", "3\r\nabc\n0\r\n\r\n"),
        ("empty size", "\r\nabc\r\n0\r\n\r\n"),
        ("extension with lf", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("space before size", " 3\r\nabc\r\n0\r\n\r\n"),
        ("trailer with lf", "3\r\nabc\r\n0\r\na: b\nc: d\r\n\r\n"),
        ("trailer without colon", "3\r\nabc\r\n0\r\nab\r\n\r\n"),
        ("cut", "3\r\nab"),
    ] {
        let request = format!("POST /{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}", name.replace(' ', "-"));
        let got = statuses(&gateway, request.as_bytes()).await;
        if !matches!(got[..], [400 | 408] | []) {
            wrong.push(format!("{name}: {got:?}"));
        }
    }
    wrong.extend(origin.requests().iter().filter(|seen| seen.whole).map(|seen| format!("whole at the origin: {}", seen.target)));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn good_requests_in_one_write_are_answered_in_order() {
    let origin = Origin::start(|seen| crate::support::Reply::new(200, seen.target.clone()));
    let gateway = open(&origin);
    let mut raw = Raw::connect(gateway.addr()).await;
    let chunked = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: 1\r\n\r\n";
    let sized = "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let all = format!("\r\n{}{chunked}{sized}{}", client::head("GET", "/a", "", 0), client::head("GET", "http://gate.test/d", "", 0));
    raw.send(all).await.expect("sent");
    for target in ["/a", "/b", "/c", "/d"] {
        let answer = raw.answer(false).await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, target));
    }
    let seen = origin.requests();
    assert!(seen.iter().all(|seen| seen.all("t").is_empty() && seen.all("content-length").len() + seen.all("transfer-encoding").len() < 2));
    assert_eq!(seen[1].body, b"abc");
}
