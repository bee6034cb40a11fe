//! The page as text: links arrive whole and harmless, and the policy fits what is in it.

use super::*;

fn links() -> Links {
    Links { signed_hls: "http://127.0.0.1:8080/a/master.m3u8?x=1&y=\"><script>alert(1)</script>{{METRICS}}".into(), ..Links::default() }
}

fn page() -> Page {
    let status = Status { requests: 3, refusals: BTreeMap::from([("token_expired".to_owned(), 2)]), ..Status::default() };
    Page::new(&links(), "http://127.0.0.1:8080", move || serde_json::json!(status)).expect("a page")
}

#[test]
fn every_place_is_filled_and_escaped() {
    let html = render(&links());
    assert!(!html.contains("{{"), "a place was left");
    assert!(html.contains("?x=1&amp;y=&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#123;&#123;METRICS&#125;&#125;\""));
    assert_eq!(html.matches("<script>").count(), 1);
}

#[test]
fn links_do_not_change_what_the_policy_allows() {
    let html = render(&links());
    for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
        let inline = html.split_once(open).and_then(|(_, rest)| rest.split_once(close)).expect("an element").0;
        let sum = STANDARD.encode(digest(&SHA256, inline.as_bytes()));
        assert!(content_security_policy("http://127.0.0.1:8080").contains(&format!("'sha256-{sum}'")), "{open}");
    }
    assert!(!TEMPLATE.contains(" style=\"") && !TEMPLATE.contains(" onclick="), "inline attributes are not in the policy");
    assert!(!TEMPLATE.contains("https://") && !TEMPLATE.contains("http://"), "no outside resources");
}

#[test]
fn answers() {
    for (method, path, status, kind) in [
        (Method::GET, "/", 200, "text/html; charset=utf-8"),
        (Method::HEAD, "/", 200, "text/html; charset=utf-8"),
        (Method::GET, "/demo/status", 200, "application/json"),
        (Method::GET, "/favicon.ico", 404, "text/plain; charset=utf-8"),
        (Method::POST, "/", 405, "text/plain; charset=utf-8"),
    ] {
        let response = page().respond(&method, path);
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().expect("text")),
            (status, kind),
            "{method} {path}"
        );
    }
    let policy = page().respond(&Method::GET, "/").headers()["content-security-policy"].clone();
    assert!(policy.to_str().expect("text").contains("media-src blob: http://127.0.0.1:8080;"));
}

#[test]
fn a_gateway_name_cannot_break_out_of_the_header() {
    assert!(Page::new(&links(), "http://a\r\nx: y", || serde_json::json!({})).is_err());
}

#[test]
fn debug_keeps_the_links_to_itself() {
    assert!(!format!("{:?}", page()).contains("master.m3u8"));
}
