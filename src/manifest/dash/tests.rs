//! DASH manifests, rewritten.

use super::*;
use crate::manifest::{HostRule, Mode, Resolver};

fn resolver(mode: Mode) -> Resolver {
    let address = match mode {
        Mode::Path { .. } => "https://gw.example/vod/t~T~/a/m.mpd",
        Mode::Query { .. } => "https://gw.example/vod/a/m.mpd?t=old",
    };
    Resolver::new(Absolute::parse(address).expect("address"), "/vod", mode)
}

fn query() -> Resolver {
    resolver(Mode::Query { name: "t".into(), ticket: "T".into() })
}

fn path() -> Resolver {
    resolver(Mode::Path { component: "t~T~".into(), marker: "t~".into() })
}

fn run(body: &str, links: &dyn Links) -> String {
    let out = rewrite(body.as_bytes(), links, Limits::default()).expect("manifest");
    String::from_utf8(out.body.into_owned()).expect("text")
}

fn fault(body: &str) -> Option<ManifestFault> {
    rewrite(body.as_bytes(), &query(), Limits::default()).err()
}

/// `inner` within MPD, Period, AdaptationSet, Representation.
fn nested(inner: &str) -> String {
    format!("<MPD><Period><AdaptationSet><Representation id=\"1\">{inner}</Representation></AdaptationSet></Period></MPD>")
}

#[test]
fn leaves_get_the_ticket_in_query_mode() {
    for (inner, wanted) in [
        (
            "<SegmentTemplate media='$Number%05d$$$.m4s' initialization=\"i.mp4?x=1&amp;y=2#f\"/>",
            "<SegmentTemplate media='$Number%05d$$$.m4s?t=T' initialization=\"i.mp4?x=1&amp;y=2&amp;t=T#f\"/>",
        ),
        (
            "<SegmentTemplate media = 'm' index=\"x\" bitstreamSwitching=\"b\"/>",
            "<SegmentTemplate media = 'm?t=T' index=\"x?t=T\" bitstreamSwitching=\"b?t=T\"/>",
        ),
        ("<SegmentTemplate media=\"m?t=old&amp;z=1\"/>", "<SegmentTemplate media=\"m?z=1&amp;t=T\"/>"),
        (
            "<SegmentList><Initialization sourceURL=\"i\"/><SegmentURL media=\"s\" index=\"x\"/></SegmentList>",
            "<SegmentList><Initialization sourceURL=\"i?t=T\"/><SegmentURL media=\"s?t=T\" index=\"x?t=T\"/></SegmentList>",
        ),
        (
            "<BaseURL>v.mp4</BaseURL><SegmentBase indexRange=\"0-9\"><RepresentationIndex sourceURL=\"s\"/></SegmentBase>",
            "<BaseURL>v.mp4?t=T</BaseURL><SegmentBase indexRange=\"0-9\"><RepresentationIndex sourceURL=\"s?t=T\"/></SegmentBase>",
        ),
        (
            "<BaseURL>v.mp4</BaseURL><SegmentList><SegmentURL mediaRange=\"0-9\"/></SegmentList>",
            "<BaseURL>v.mp4?t=T</BaseURL><SegmentList><SegmentURL mediaRange=\"0-9\"/></SegmentList>",
        ),
        ("<BaseURL>v/</BaseURL><SegmentTemplate media=\"m\"/>", "<BaseURL>v/</BaseURL><SegmentTemplate media=\"m?t=T\"/>"),
        ("<BaseURL>v</BaseURL><SegmentTemplate media=\"m\"/>", "<BaseURL>v</BaseURL><SegmentTemplate media=\"m?t=T\"/>"),
        ("<BaseURL>\n  v.mp4?a=1&#38;b=2\n</BaseURL>", "<BaseURL>\n  v.mp4?a=1&#38;b=2&amp;t=T\n</BaseURL>"),
        ("<BaseURL> <![CDATA[ v.mp4?a=1&b=2 ]]> </BaseURL>", "<BaseURL> <![CDATA[ v.mp4?a=1&b=2&t=T ]]> </BaseURL>"),
        ("<d:BaseURL>v.mp4</d:BaseURL>", "<d:BaseURL>v.mp4?t=T</d:BaseURL>"),
        ("<BaseURL>v<!-- -->.mp4</BaseURL>", "<BaseURL>v<!-- -->.mp4</BaseURL>"),
        ("<BaseURL/><UTCTiming value=\"https://gw.example/vod/time\"/>", "<BaseURL/><UTCTiming value=\"https://gw.example/vod/time\"/>"),
    ] {
        assert_eq!(run(&nested(inner), &query()), nested(wanted));
    }
}

#[test]
fn links_outside_the_periods_are_mapped() {
    let body = "<?xml version=\"1.0\"?>\r\n<MPD xmlns:xlink=\"http://www.w3.org/1999/xlink\"><BaseURL>https://cdn.example/</BaseURL>\
        <Location>https://gw.example/vod/a/m.mpd</Location><PatchLocation ttl=\"60\">m.mpp</PatchLocation>\
        <ContentSteering proxyServerURL=\"p\">/vod/steer</ContentSteering></MPD><!-- end -->\r\n";
    let wanted = body
        .replace("a/m.mpd<", "a/m.mpd?t=T<")
        .replace("m.mpp", "m.mpp?t=T")
        .replace("\"p\"", "\"p?t=T\"")
        .replace("steer<", "steer?t=T<");
    assert_eq!(run(body, &query()), wanted);
    let body = "<MPD><Period xlink:href=\"urn:mpeg:dash:resolve-to-zero:2013\"/><Period x:href=\"/vod/p.xml\"/><Period href=\"q\"/></MPD>";
    assert_eq!(run(body, &query()), body.replace("p.xml", "p.xml?t=T"));
}

#[test]
fn a_foreign_base_makes_what_is_below_foreign() {
    for (body, wanted) in [
        ("<MPD><BaseURL>https://cdn.example/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>", None),
        (
            "<MPD><BaseURL>//cdn.example/</BaseURL><Period><BaseURL>p/</BaseURL><AdaptationSet><SegmentTemplate media=\"/vod/m\"/></AdaptationSet></Period></MPD>",
            None,
        ),
        // A template above serves a Representation elsewhere.
        (
            "<MPD><Period><AdaptationSet><SegmentTemplate media=\"m\"/><Representation><BaseURL>https://cdn.example/</BaseURL></Representation></AdaptationSet></Period></MPD>",
            None,
        ),
        (
            "<MPD><Period><AdaptationSet><SegmentTemplate media=\"m\"/><Representation/><Representation><BaseURL>https://cdn.example/</BaseURL></Representation></AdaptationSet></Period></MPD>",
            None,
        ),
        // One of two alternatives.
        ("<MPD><BaseURL>/vod/</BaseURL><BaseURL>https://cdn.example/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>", None),
        ("<MPD><BaseURL>https://cdn.example/<!-- --></BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>", None),
        (
            "<MPD><Period><AdaptationSet><Representation id=\"//evil.example\"><SegmentTemplate media=\"$RepresentationID$/m\"/></Representation></AdaptationSet></Period></MPD>",
            None,
        ),
        ("<MPD><Period xlink:href=\"p.xml\"><BaseURL>https://cdn.example/</BaseURL></Period></MPD>", None),
        // The other way round: ours below a foreign one.
        (
            "<MPD><BaseURL>https://cdn.example/</BaseURL><Period><BaseURL>https://GW.example:443/vod/</BaseURL><SegmentTemplate media=\"m\"/></Period></MPD>",
            Some("\"m?t=T\""),
        ),
        (
            "<MPD><BaseURL>/vod/a/</BaseURL><BaseURL>/vod/b/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>",
            Some("\"m?t=T\""),
        ),
    ] {
        let wanted = wanted.map_or(body.to_owned(), |with| body.replace("\"m\"", with));
        assert_eq!(run(body, &query()), wanted);
    }
}

#[test]
fn path_mode_touches_only_what_leaves_the_ticket() {
    let body = "<MPD><BaseURL>v/</BaseURL><Period><AdaptationSet><SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" initialization=\"../i.mp4\"/></AdaptationSet></Period></MPD>";
    let out = rewrite(body.as_bytes(), &path(), Limits::default()).expect("manifest");
    assert!(matches!(out.body, std::borrow::Cow::Borrowed(_)));
    for (body, wanted) in [
        (
            "<MPD><BaseURL>https://gw.example/vod/x/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>",
            "<MPD><BaseURL>https://gw.example/vod/t~T~/x/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>",
        ),
        ("<MPD><Location>/vod/a/m.mpd?x=1&amp;y=2</Location></MPD>", "<MPD><Location>/vod/t~T~/a/m.mpd?x=1&amp;y=2</Location></MPD>"),
        (
            "<MPD><BaseURL>https://cdn.example/vod/</BaseURL><Period><SegmentTemplate media=\"/vod/m\"/></Period></MPD>",
            "<MPD><BaseURL>https://cdn.example/vod/</BaseURL><Period><SegmentTemplate media=\"/vod/m\"/></Period></MPD>",
        ),
        (
            "<MPD><Period><SegmentTemplate media=\"/vod/m/$Time$\"/></Period></MPD>",
            "<MPD><Period><SegmentTemplate media=\"/vod/t~T~/m/$Time$\"/></Period></MPD>",
        ),
    ] {
        assert_eq!(run(body, &path()), wanted);
        assert_eq!(run(wanted, &path()), wanted);
    }
}

#[test]
fn an_allowed_host_is_ours() {
    let links = query().allow(vec![HostRule::parse("*.cdn.example").expect("rule")]);
    let body = "<MPD><BaseURL>https://a.cdn.example/x/</BaseURL><Period><SegmentTemplate media=\"m\"/></Period></MPD>";
    assert_eq!(run(body, &links), body.replace("\"m\"", "\"m?t=T\""));
}

#[test]
fn parts_of_manifests_get_tickets_on_named_hosts_only() {
    let body = "<Patch mpdId=\"1\"><add sel=\"/MPD/Period\"><SegmentURL media=\"m\"/><SegmentURL media=\"https://gw.example/vod/m\"/></add></Patch>";
    assert_eq!(run(body, &query()), body.replace("vod/m", "vod/m?t=T"));
    let body = "<Period><BaseURL>//gw.example/vod/</BaseURL><SegmentTemplate media=\"m\"/></Period>";
    assert_eq!(run(body, &query()), body);
    let body = "<Period><BaseURL>https://gw.example/vod/</BaseURL><SegmentTemplate media=\"m\"/></Period>";
    assert_eq!(run(body, &query()), body.replace("\"m\"", "\"m?t=T\""));
}

#[test]
fn broken_and_dangerous_xml_is_refused() {
    assert_eq!(fault("<!DOCTYPE MPD [<!ENTITY x \"y\">]><MPD/>"), Some(ManifestFault::Doctype));
    assert_eq!(fault("<html></html>"), Some(ManifestFault::NotAManifest));
    assert_eq!(fault(""), Some(ManifestFault::NotAManifest));
    for broken in [
        "<MPD>",
        "<MPD></Period>",
        "<MPD a=1/>",
        "<MPD a=\"1\" a=\"2\"/>",
        "<MPD/><MPD/>",
        "text<MPD/>",
        "<MPD/>text",
        "<MPD><BaseURL>&x;</BaseURL></MPD>",
        "<MPD a=\"&x;\"/>",
        "<MPD",
    ] {
        assert_eq!(fault(broken), Some(ManifestFault::Malformed), "{broken}");
    }
    assert_eq!(fault(&"<MPD>".repeat(100)), Some(ManifestFault::TooComplex));
    let doubling = format!("<MPD>{}</MPD>", "<BaseURL>/a/</BaseURL><BaseURL>/b/</BaseURL><Period>".repeat(2) + "</Period></Period>");
    assert_eq!(fault(&doubling), None);
    let many: String = (0..65).map(|n| format!("<BaseURL>/vod/{n}/</BaseURL>")).collect();
    assert_eq!(fault(&format!("<MPD>{many}</MPD>")), Some(ManifestFault::TooComplex));
    assert_eq!(rewrite(b"<MPD>\xff</MPD>", &query(), Limits::default()).err(), Some(ManifestFault::NotUtf8));
    assert_eq!(rewrite(b"<MPD/>", &query(), Limits { input: 5, output: 9 }).err(), Some(ManifestFault::TooLarge));
}

#[test]
fn a_byte_order_mark_stays() {
    let body = "\u{feff}<MPD><Location>/vod/m</Location></MPD>";
    assert_eq!(run(body, &query()), "\u{feff}<MPD><Location>/vod/m?t=T</Location></MPD>");
}

#[test]
fn facts_are_read() {
    let body = b"<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT2S\" maxSegmentDuration='PT4.2S' mediaPresentationDuration=\"PT1M\"/>";
    let facts = rewrite(body, &query(), Limits::default()).expect("manifest").facts;
    assert_eq!((facts.live, facts.target_duration, facts.duration), (true, Some(5), Some(std::time::Duration::from_secs(60))));
    assert!(!rewrite(b"<MPD type=\"static\"/>", &query(), Limits::default()).expect("manifest").facts.live);
}
