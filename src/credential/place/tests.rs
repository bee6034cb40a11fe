//! Each place against what callers send in it: whatever its spelling, only ours is left.

use http::Request;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};

use super::*;

fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    request.body(()).expect("a request").into_parts().0
}

fn said(head: &Parts) -> (String, Vec<String>) {
    let mut fields: Vec<String> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect();
    fields.sort();
    (head.uri.to_string(), fields)
}

fn placed(target: &str, fields: &[(&str, &str)], at: &Place) -> (String, Vec<String>) {
    let mut head = head(target, fields);
    let mount = "/v1".len();
    place(&mut head, mount, at, "ours").expect("placed");
    said(&head)
}

#[test]
fn no_query_twin_is_left() {
    let at = Place::Query("to_ken".into());
    for (came, left) in [
        ("", "?to_ken=ours"),
        ("?a=1", "?a=1&to_ken=ours"),
        ("?to_ken=evil", "?to_ken=ours"),
        ("?to_ken=evil&a=%2f&to_ken=evil2", "?a=%2f&to_ken=ours"),
        ("?to_ken", "?to_ken=ours"),
        ("?to_ken=", "?to_ken=ours"),
        ("?&&to_ken=evil&&a", "?&&&a&to_ken=ours"),
        ("?t%6F_ken=evil", "?to_ken=ours"),
        ("?t%6f%5fken=evil&a", "?a&to_ken=ours"),
        ("?t%256f_ken=evil", "?to_ken=ours"),
        ("?To_Ken=evil", "?to_ken=ours"),
        ("?TO_KEN=evil", "?to_ken=ours"),
        ("?to.ken=evil", "?to_ken=ours"),
        ("?to+ken=evil", "?to_ken=ours"),
        ("?to%20ken=evil", "?to_ken=ours"),
        ("?+to_ken=evil", "?to_ken=ours"),
        ("?to_ken[]=evil", "?to_ken=ours"),
        ("?to_ken%5Bx%5D=evil", "?to_ken=ours"),
        ("?to_ken%00x=evil", "?to_ken=ours"),
        ("?a=1;to_ken=evil", "?a=1&to_ken=ours"),
        ("?a=1;to_ken=evil;b=2", "?a=1;b=2&to_ken=ours"),
        ("?to_kens=1&xto_ken=2&%zz=3", "?to_kens=1&xto_ken=2&%zz=3&to_ken=ours"),
    ] {
        assert_eq!(placed(&format!("/v1/a{came}"), &[], &at).0, format!("/v1/a{left}"), "{came}");
    }
}

#[test]
fn no_header_twin_is_left() {
    let at = Place::Header("x-api-key".parse().expect("a name"));
    for came in [
        vec![],
        vec![("x-api-key", "evil")],
        vec![("X-API-Key", "evil"), ("x-api-key", "evil2")],
        vec![("x_api_key", "evil")],
        vec![("x-api_key", "evil"), ("X.Api.Key", "evil2")],
    ] {
        assert_eq!(placed("/v1/a", &came, &at).1, ["x-api-key: ours"], "{came:?}");
    }
    let bearer = [("authorization", "Basic evil"), ("authorization", "Bearer evil"), ("x-mine", "1")];
    assert_eq!(placed("/v1/a", &bearer, &Place::Header(AUTHORIZATION)).1, ["authorization: ours", "x-mine: 1"]);
    assert_eq!(placed("/v1/a", &[("x-api-keys", "1")], &at).1, ["x-api-key: ours", "x-api-keys: 1"]);
}

#[test]
fn no_cookie_twin_is_left() {
    let at = Place::Cookie("sid".into());
    for (came, left) in [
        (vec![], "cookie: sid=ours"),
        (vec!["sid=evil"], "cookie: sid=ours"),
        (vec!["a=1; sid=evil; b=2"], "cookie: a=1; b=2; sid=ours"),
        (vec!["a=1;sid=evil", "sid=evil2", "b=2"], "cookie: a=1; b=2; sid=ours"),
        (vec!["SID=evil"], "cookie: sid=ours"),
        (vec!["  sid  = evil"], "cookie: sid=ours"),
        (vec!["s%69d=evil"], "cookie: sid=ours"),
        (vec!["\"sid\"=evil"], "cookie: sid=ours"),
        (vec!["sid"], "cookie: sid=ours"),
        (vec!["a=1, sid=evil"], "cookie: sid=ours"),
        (vec!["sid[0]=evil; a=1"], "cookie: a=1; sid=ours"),
        (vec!["a=\u{e9}; sid=evil"], "cookie: a=\u{e9}; sid=ours"),
        (vec!["sids=1"], "cookie: sids=1; sid=ours"),
    ] {
        let fields: Vec<(&str, &str)> = came.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(placed("/v1/a", &fields, &at).1, [left], "{came:?}");
    }
}

#[test]
fn no_path_twin_is_left() {
    for (came, left) in [
        ("/v1", "/v1/t=ours"),
        ("/v1/", "/v1/t=ours"),
        ("/v1/a/b", "/v1/t=ours/a/b"),
        ("/v1/t=evil/a", "/v1/t=ours/a"),
        ("/v1/a/t=evil/b", "/v1/t=ours/a/b"),
        ("/v1/t=evil", "/v1/t=ours"),
        ("/v1/T=evil/t=evil2/a", "/v1/t=ours/a"),
        ("/v1/t%3Devil/a", "/v1/t=ours/a"),
    ] {
        assert_eq!(placed(came, &[], &Place::Prefix("t=".into())).0, left, "{came}");
    }
    for (index, came, left) in [
        (0, "/v1/evil/manifest", "/v1/ours/manifest"),
        (1, "/v1/a/evil?q", "/v1/a/ours?q"),
        (1, "/v1/a/", "/v1/a/ours"),
        (0, "/v1", "/v1/ours"),
    ] {
        assert_eq!(placed(came, &[], &Place::Segment(index)).0, left, "{came}");
    }
}

#[test]
fn several_entries_share_a_place_by_their_modes() {
    let (cookie, key) = (Place::Cookie("a".into()), Place::Header("x-key".parse().expect("a name")));
    let mut head = head("/v1/a?k=evil", &[("cookie", "a=evil; c=1"), ("x-key", "evil")]);
    let mut draft = Draft::new(&head.uri, &mut head.headers, 3);
    for place in [&cookie, &key] {
        draft.clear(place);
    }
    draft.put(&key, Mode::Replace, "one").expect("placed");
    draft.put(&key, Mode::Append, "two").expect("placed");
    draft.put(&key, Mode::OnlyIfAbsent, "three").expect("placed");
    draft.put(&cookie, Mode::OnlyIfAbsent, "x").expect("placed");
    draft.put(&Place::Segment(0), Mode::Append, "s/1").expect("placed");
    head.uri = draft.target().expect("a target").expect("a change");
    assert_eq!(said(&head), ("/v1/s%2F1/a?k=evil".into(), vec!["cookie: c=1; a=x".into(), "x-key: one".into(), "x-key: two".into()]));
    assert!(head.headers[COOKIE].is_sensitive() && head.headers["x-key"].is_sensitive());
}

#[test]
fn what_the_caller_sent_is_counted_under_every_spelling() {
    let mut head = head("/v1/t=1/a?tok=1&T%6fk=2", &[("cookie", "s=1; S=2"), ("x-k", "1"), ("x_k", "2")]);
    let draft = Draft::new(&head.uri, &mut head.headers, 3);
    for place in [Place::Query("tok".into()), Place::Cookie("s".into()), Place::Header("x-k".parse().expect("a name"))] {
        assert_eq!(draft.count(&place), 2, "{place:?}");
    }
    assert_eq!(draft.count(&Place::Prefix("t=".into())), 1);
}

#[test]
fn values_that_would_break_out_are_refused() {
    for (at, value) in [
        (Place::Header("x-key".parse().expect("a name")), "a\r\nb: c"),
        (Place::Cookie("a".into()), "x; b=y"),
        (Place::Cookie("a".into()), "x,y"),
        (Place::Segment(0), ".."),
        (Place::Segment(0), ""),
    ] {
        assert_eq!(place(&mut head("/v1/a", &[]), 3, &at, value), Err(PlaceFault::Value), "{at:?}");
    }
    assert_eq!(place(&mut head("/v1/a", &[]), 3, &Place::Segment(3), "x"), Err(PlaceFault::Short));
    let mut head = head("/v1/a", &[]);
    place(&mut head, 3, &Place::Query("q".into()), "a&b=c#d e").expect("placed");
    assert_eq!(head.uri.to_string(), "/v1/a?q=a%26b%3Dc%23d%20e");
}

proptest::proptest! {
    #[test]
    fn whatever_the_query_ours_is_the_only_one(query in "[a-cT%+;&=.\\[\\]tokenTOKEN0-9]{0,60}") {
        let mut head = head("/v1/a", &[]);
        let Ok(target) = http::uri::PathAndQuery::try_from(format!("/v1/a?{query}")) else { return Ok(()) };
        head.uri = target.into();
        place(&mut head, 3, &Place::Query("token".into()), "ours").expect("placed");
        let left: Vec<&str> = crate::query::values(head.uri.query().unwrap_or(""), "token").collect();
        proptest::prop_assert_eq!(left, vec!["ours"]);
    }
}
