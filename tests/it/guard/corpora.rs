//! Third-party lists of hostile requests, where they are at hand.

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::gateway::{over, public};
use crate::support::{Gateway, Origin, Raw};

use super::status_lines;

/// Exchanges under way at the same time.
const AT_ONCE: usize = 64;

fn corpus(name: &str) -> Option<Vec<u8>> {
    let file = format!("{}/../shared/security/corpora/{name}", env!("CARGO_MANIFEST_DIR"));
    let read = std::fs::read(&file).ok();
    if read.is_none() {
        eprintln!("skipped: {file} is not there");
    }
    read
}

fn cases(name: &str) -> Option<Vec<Value>> {
    Some(serde_json::from_slice(&corpus(name)?).expect("a list"))
}

/// `hasty`: who leaves a head or a body unfinished does not hold the test up.
fn gateway(origin: &Origin, path: &str, hasty: bool) -> Gateway {
    let mut config = public(&origin.url);
    config["routes"][0]["path"] = path.into();
    config["routes"][0]["methods"] = serde_json::json!(["GET", "HEAD", "POST", "PUT", "OPTIONS", "ANNOUNCE", "MKCOLA"]);
    config["routes"][0]["allow_path_parameters"] = true.into();
    if hasty {
        let limits = serde_json::json!({ "head_timeout": "300ms", "body_idle_timeout": "300ms", "keep_alive_timeout": "300ms" });
        config = over(config, serde_json::json!({ "server": { "limits": limits } }));
    }
    Gateway::start(config)
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Sends each request on a connection of its own and waits until the gateway has closed it.
async fn send_all(gateway: &Gateway, requests: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut under_way = JoinSet::new();
    let mut answered = 0;
    for bytes in requests {
        while under_way.len() >= AT_ONCE {
            answered += usize::from(under_way.join_next().await.is_some_and(|done| done.expect("no panic")));
        }
        let addr = gateway.addr();
        under_way.spawn(async move {
            let mut raw = Raw::connect(addr).await;
            let _ = raw.send(bytes).await;
            !status_lines(&raw.rest().await.0).is_empty()
        });
    }
    while let Some(done) = under_way.join_next().await {
        answered += usize::from(done.expect("no panic"));
    }
    answered
}

/// What the corpus's parser stops at although the request may go on; each with the reason.
const LET_THROUGH: &[(&str, &str)] = &[
    ("No restart when keep-alive is off (1.0)", "the first request is good; the second, after the close, is not read"),
    ("CRLF between requests, implicit `keep-alive`", "the first request is good; the second is refused"),
    ("HTTP protocol and ANNOUNCE method", "any token is a method (RFC 9110 §9.1); a route lists the ones it takes"),
    ("Invalid method", "any token is a method; a route lists the ones it takes"),
    ("Space after chunk header", "chunks are framed anew on the way to the origin"),
    ("No extension after semicolon", "extensions are dropped, chunks framed anew"),
    ("Chunk header not terminated by CRLF", "a GET's chunked body is not forwarded, its connection is not kept"),
    ("Chunk data not terminated by CRLF", "a GET's chunked body is not forwarded, its connection is not kept"),
];

#[tokio::test]
async fn what_a_strict_parser_refuses_does_not_arrive() {
    let Some(all) = cases("http1-llhttp-requests.json") else { return };
    let origin = Origin::plain();
    let gateway = gateway(&origin, "/", true);
    // A pause is the parser's way to say that the caller asks for another protocol; no error of the request.
    let must_fail = |case: &&Value| case["expect_error"]["reason"].as_str().is_some_and(|reason| !reason.starts_with("Pause"));
    let bad: Vec<(usize, &Value)> = all.iter().filter(must_fail).enumerate().filter(|(_, case)| case["kind"] == "http").collect();
    assert!(bad.len() > 50);
    let mark = |number: usize, case: &Value| {
        let payload = case["payload_latin1"].as_str().expect("text");
        let hosted = payload.to_ascii_lowercase().contains("\nhost:");
        let host = if hosted { String::new() } else { "Host: a\r\n".to_owned() };
        // The mark tells at the origin which case a request came from.
        match payload.find("\r\n") {
            Some(end) => latin(&format!("{}\r\n{host}X-Case: {number}\r\n{}", &payload[..end], &payload[end + 2..])),
            None => latin(payload),
        }
    };
    send_all(&gateway, bad.iter().map(|(number, case)| mark(*number, case))).await;
    let mut arrived: Vec<String> = Vec::new();
    for seen in origin.requests().iter().filter(|seen| seen.whole) {
        let number = seen.field("x-case").and_then(|text| text.parse::<usize>().ok());
        let title =
            number.and_then(|number| bad.iter().find(|(n, _)| *n == number)).map_or("?", |(_, case)| case["title"].as_str().unwrap_or("?"));
        if !LET_THROUGH.iter().any(|(name, _)| *name == title) {
            arrived.push(format!("{title}: {} {}", seen.method, seen.target));
        }
    }
    assert!(arrived.is_empty(), "{arrived:#?}");
}

#[tokio::test]
async fn no_disguised_transfer_encoding_arrives_beside_a_length() {
    let Some(all) = cases("smuggler-te-gadgets.json") else { return };
    let origin = Origin::plain();
    let gateway = gateway(&origin, "/", true);
    let gadgets: std::collections::BTreeSet<&str> = all.iter().filter_map(|case| case["gadget_latin1"].as_str()).collect();
    assert!(gadgets.len() > 1000);
    let request = |gadget: &&str| {
        latin(&format!("POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n{gadget}\r\n\r\n0\r\n\r\n"))
    };
    let answered = send_all(&gateway, gadgets.iter().map(request)).await;
    let folded = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let mut arrived = Vec::new();
    for seen in origin.requests() {
        let disguised = |(name, _): &&(String, String)| folded(name).contains("transferencoding");
        arrived.extend(seen.fields.iter().find(disguised).map(|(name, value)| format!("{name}: {value}")));
        assert!(seen.target == "/x" && seen.body_length == 5 && seen.body == b"0\r\n\r\n", "{}", seen.head);
    }
    assert!(arrived.is_empty(), "{arrived:#?}");
    eprintln!("{} gadgets, {answered} answered, {} forwarded without the gadget", gadgets.len(), origin.count());
}

/// Every reading that some server could make of a path.
fn climbs(target: &str) -> bool {
    let mut text = target.split(['?', '#']).next().unwrap_or("").to_owned();
    for _ in 0..3 {
        let readings = [text.clone(), text.replace('\\', "/")];
        if readings.iter().any(|text| text.split('/').any(|segment| matches!(segment.split(';').next(), Some(".." | ".")))) {
            return true;
        }
        text = lenient_decode(&text);
    }
    false
}

fn lenient_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn no_traversal_climbs_out_of_its_route() {
    let lists =
        ["directory_traversal.txt", "deep_traversal.txt", "traversals-8-deep-exotic-encoding.txt", "crlfinjection.txt", "dotdotpwn.txt"];
    let origin = Origin::plain();
    let gateway = gateway(&origin, "/pub", false);
    let mut sent = 0;
    for name in lists {
        let Some(list) = corpus(&format!("payloads/{name}")) else { return };
        // The longest list is ten spellings of each idea.
        let step = if name == "dotdotpwn.txt" { 20 } else { 1 };
        let lines: Vec<&[u8]> = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).step_by(step).collect();
        sent += lines.len();
        let request = |line: &&[u8]| {
            let text = String::from_utf8_lossy(line).replace("{FILE}", "etc/passwd");
            let slash = if text.starts_with('/') { "" } else { "/" };
            format!("GET /pub{slash}{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", text.trim_end_matches('\r')).into_bytes()
        };
        let answered = send_all(&gateway, lines.iter().map(request)).await;
        assert_eq!(answered, lines.len(), "{name}: every one gets an answer");
    }
    let out: Vec<String> = origin
        .requests()
        .iter()
        .filter(|seen| !seen.target.starts_with("/pub/") || climbs(&seen.target))
        .map(|seen| seen.target.clone())
        .collect();
    assert!(out.is_empty(), "{out:#?}");
    eprintln!("{sent} payloads, {} of them harmless and forwarded", origin.count());
}
