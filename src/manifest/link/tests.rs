//! Links, mapped.

use super::*;

fn path_at(document: &str, mount: &str) -> Resolver {
    let document = Absolute::parse(document).expect("address");
    Resolver::new(document, mount, Mode::Path { component: "t~T~".into(), marker: "t~".into() })
}

fn path() -> Resolver {
    path_at("https://gw.example/vod/t~T~/a/m.m3u8", "/vod")
}

fn query() -> Resolver {
    let document = Absolute::parse("https://gw.example/vod/a/m.m3u8?t=caller").expect("address");
    Resolver::new(document, "/vod/", Mode::Query { name: "t".into(), ticket: "T.1~".into() })
}

fn map(links: &Resolver, uri: &str) -> Option<String> {
    links.map(&Link { uri, place: Place::Segment, bases: &[] })
}

const FOREIGN: &[&str] = &[
    "https://evil.example/vod/x",
    "//evil.example/vod/x",
    "http://gw.example/vod/x",
    "https://gw.example:8443/vod/x",
    "https://gw.example.evil.example/vod/x",
    "https://evilgw.example/vod/x",
    "https://gw.example@evil.example/vod/x",
    "https://u:p@gw.example/vod/x",
    "https://gw.example./vod/x",
    "https:gw.example/vod/x",
    "https:/vod/x",
    "https:///evil.example/vod/x",
    "///evil.example/vod/x",
    "/\\evil.example/vod/x",
    "\\\\evil.example\\x",
    "a\\..\\x",
    "x\r\ny",
    "ht\ttps://evil.example/x",
    " https://evil.example/x",
    "https://gw%2Eexample/vod/x",
    "https://ｇｗ.example/vod/x",
    "data:text/plain;base64,AAAA",
    "skd://gw.example/vod/x",
    "urn:mpeg:dash:resolve-to-zero:2013",
    "blob:https://gw.example/vod/x",
    "file:///vod/x",
    "ftp://gw.example/vod/x",
    "javascript:x",
    "",
    "#fragment",
];

#[test]
fn what_is_not_ours_never_gets_a_ticket() {
    for uri in FOREIGN {
        assert_eq!(map(&path(), uri), None, "{uri}");
        assert_eq!(map(&query(), uri), None, "{uri}");
    }
}

#[test]
fn query_mode_appends_before_the_fragment() {
    for (uri, wanted) in [
        ("seg.ts", "seg.ts?t=T.1~"),
        ("seg.ts?x=1&y=2", "seg.ts?x=1&y=2&t=T.1~"),
        ("seg.ts#f?g", "seg.ts?t=T.1~#f?g"),
        ("seg.ts?x#f", "seg.ts?x&t=T.1~#f"),
        ("seg.ts?", "seg.ts?t=T.1~"),
        ("seg.ts?t=old", "seg.ts?t=T.1~"),
        ("seg.ts?a=1&t=old&b=2&%74=older", "seg.ts?a=1&b=2&t=T.1~"),
        ("./seg.ts", "./seg.ts?t=T.1~"),
        ("../b/seg.ts", "../b/seg.ts?t=T.1~"),
        ("/vod/x", "/vod/x?t=T.1~"),
        ("//GW.example:443/vod/x", "//GW.example:443/vod/x?t=T.1~"),
        ("HTTPS://gw.example/vod/x", "HTTPS://gw.example/vod/x?t=T.1~"),
        ("?x=1", "?x=1&t=T.1~"),
        ("my video/é 1.ts", "my video/é 1.ts?t=T.1~"),
        ("a:b", "a:b"),
        ("./a:b", "./a:b?t=T.1~"),
        ("$Number$-%05d.m4s", "$Number$-%05d.m4s?t=T.1~"),
    ] {
        let out = map(&query(), uri);
        assert_eq!(out.as_deref().unwrap_or(uri), wanted, "{uri}");
        assert_eq!(map(&query(), wanted), None, "{wanted}");
    }
}

#[test]
fn query_mode_leaves_other_routes_alone() {
    for uri in ["/vodka/x", "/live/x", "/", "../../x", "https://gw.example/x", "/vod/../x"] {
        assert_eq!(map(&query(), uri), None, "{uri}");
    }
}

#[test]
fn path_mode_leaves_what_stays_below() {
    for uri in
        ["seg.ts", "./seg.ts", "../b/seg.ts?x=1#f", "b/../c.ts", "é.ts", "?x=1", "/vod/t~T~/x", "https://gw.example/vod/t~T~/x", "a%20b.ts"]
    {
        assert_eq!(map(&path(), uri), None, "{uri}");
    }
}

#[test]
fn path_mode_moves_links_below_the_ticket() {
    for (uri, wanted) in [
        ("/vod/x.ts?a=1#f", "/vod/t~T~/x.ts?a=1#f"),
        ("/vod", "/vod/t~T~/"),
        ("/vod/", "/vod/t~T~/"),
        ("/vod/./b/../x", "/vod/t~T~/x"),
        ("//gw.example/vod/x", "//gw.example/vod/t~T~/x"),
        ("https://GW.example/vod/x?y", "https://GW.example/vod/t~T~/x?y"),
        ("/vod/t~OLD~/x", "/vod/t~T~/x"),
        ("/vod/t~OLD~/t~y", "/vod/t~T~/t~y"),
        ("https://gw.example/vod/t~OLD~/x", "https://gw.example/vod/t~T~/x"),
    ] {
        assert_eq!(map(&path(), uri).as_deref(), Some(wanted), "{uri}");
        assert_eq!(map(&path(), wanted), None, "{wanted}");
    }
}

#[test]
fn links_that_climb_mean_what_they_meant_without_the_ticket() {
    let root = path_at("https://gw.example/t~T~/a/m.m3u8", "");
    assert_eq!(map(&root, "../x"), None);
    assert_eq!(map(&root, "../../x").as_deref(), Some("/t~T~/x"));
    assert_eq!(map(&root, "%2e%2e/../x").as_deref(), Some("/t~T~/x"));
    assert_eq!(map(&root, "/x").as_deref(), Some("/t~T~/x"));
    // Out of the route: no ticket, and the ticket segment must not swallow one step.
    assert_eq!(map(&path(), "../../x").as_deref(), Some("/x"));
    assert_eq!(map(&path(), "../../vod/x").as_deref(), Some("/vod/t~T~/x"));
    assert_eq!(map(&path(), "/live/x"), None);
}

#[test]
fn a_document_without_or_with_an_older_ticket_is_renewed() {
    let bare = path_at("https://gw.example/vod/a/m.m3u8", "/vod");
    assert_eq!(map(&bare, "seg.ts").as_deref(), Some("/vod/t~T~/a/seg.ts"));
    let old = path_at("https://gw.example/vod/t~OLD~/a/m.m3u8", "/vod");
    assert_eq!(map(&old, "seg.ts").as_deref(), Some("/vod/t~T~/a/seg.ts"));
}

#[test]
fn links_of_the_origin_are_moved_below_the_route() {
    let links = path().origin_prefix("/");
    assert_eq!(map(&links, "/a/x").as_deref(), Some("/vod/t~T~/a/x"));
    assert_eq!(map(&links, "/vod/x").as_deref(), Some("/vod/t~T~/x"));
    assert_eq!(map(&query().origin_prefix("/media"), "/media/x").as_deref(), Some("/vod/x?t=T.1~"));
    assert_eq!(map(&query().origin_prefix("/media"), "/mediate/x"), None);
    assert_eq!(map(&links, "https://evil.example/a/x"), None);
}

#[test]
fn allowed_hosts_take_tickets() {
    let rules = || ["cdn.example", "*.edge.example", "port.example:8443"].iter().filter_map(|rule| HostRule::parse(rule)).collect();
    let links = query().allow(rules());
    for uri in ["https://cdn.example/x", "//CDN.example/x", "https://a.b.edge.example/x", "https://port.example:8443/x"] {
        assert_eq!(map(&links, uri).as_deref(), Some(format!("{uri}?t=T.1~").as_str()));
    }
    for uri in [
        "http://cdn.example/x",
        "https://cdn.example:8443/x",
        "https://x.cdn.example/x",
        "https://edge.example/x",
        "https://.edge.example/x",
        "https://port.example/x",
        "https://badedge.example/x",
    ] {
        assert_eq!(map(&links, uri), None, "{uri}");
    }
    let links = path().allow(rules());
    assert_eq!(map(&links, "https://cdn.example/vod/x").as_deref(), Some("https://cdn.example/vod/t~T~/x"));
    assert_eq!(map(&links, "https://cdn.example/x"), None);
    for rule in ["", "*", "*.", "a/b", "u@h", "h:x", "[::1"] {
        assert_eq!(HostRule::parse(rule), None, "{rule}");
    }
}

#[test]
fn plain_http_may_go_up_but_not_down() {
    let document = Absolute::parse("http://gw.example/a").expect("address");
    let links = Resolver::new(document, "", Mode::Query { name: "t".into(), ticket: "T".into() });
    assert_eq!(map(&links, "https://gw.example/x").as_deref(), Some("https://gw.example/x?t=T"));
    assert_eq!(map(&links, "http://gw.example:80/x").as_deref(), Some("http://gw.example:80/x?t=T"));
}

#[test]
fn places_can_be_left_out() {
    let links = query().leave(vec![Place::Key]);
    assert_eq!(links.map(&Link { uri: "k", place: Place::Key, bases: &[] }), None);
    assert!(map(&links, "k").is_some());
    assert_eq!(serde_json::to_string(&Place::IFrame).expect("a word"), "\"iframe\"");
}

#[test]
fn a_ticket_is_encoded() {
    let document = Absolute::parse("https://gw.example/a").expect("address");
    let links = Resolver::new(document, "", Mode::Query { name: "t".into(), ticket: "a&b#c\"\r\n$".into() });
    assert_eq!(map(&links, "x").as_deref(), Some("x?t=a%26b%23c%22%0D%0A%24"));
}
