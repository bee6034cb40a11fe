//! Both editors together with the resolver: the table of what others miss, and properties over random playlists.

mod oracles;

use std::path::Path;

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/schemes/vectors/manifest_rewrite_kaltura.json");

fn query_at(document: &str) -> Resolver {
    let document = Absolute::parse(document).expect("address");
    Resolver::new(document, "", Mode::Query { name: "t".into(), ticket: "T1CKET".into() })
}

fn query() -> Resolver {
    query_at("https://gw.example/v/m.m3u8")
}

fn path() -> Resolver {
    let document = Absolute::parse("https://gw.example/v/t~T1CKET~/a/b/m.m3u8").expect("address");
    Resolver::new(document, "/v", Mode::Path { component: "t~T1CKET~".into(), marker: "t~".into() })
}

fn text(kind: Kind, body: &str, links: &dyn Links) -> String {
    let out = rewrite(kind, body.as_bytes(), links, Limits::default()).expect("playlist");
    String::from_utf8(out.body.into_owned()).expect("text")
}

#[test]
fn kinds_are_told_by_type_then_by_name() {
    for (content_type, path, kind) in [
        (Some("application/vnd.apple.mpegurl"), "/x", Some(Kind::Hls)),
        (Some("Application/X-MpegURL; charset=utf-8"), "/x", Some(Kind::Hls)),
        (Some("audio/mpegurl"), "/x", Some(Kind::Hls)),
        (Some("application/dash+xml"), "/x", Some(Kind::Dash)),
        (Some("application/dash-patch+xml"), "/x", Some(Kind::Dash)),
        (Some("text/plain"), "/a.b/x.M3U8", Some(Kind::Hls)),
        (Some("text/xml"), "/x.mpd", Some(Kind::Dash)),
        (None, "/x.mpd", Some(Kind::Dash)),
        (None, "/x.m3u8/seg", None),
        (None, "/m3u8", None),
        (Some("video/mp2t"), "/x.m3u8", None),
        (Some("text/html"), "/x.mpd", None),
    ] {
        assert_eq!(kind_of(content_type, path), kind, "{content_type:?} {path}");
    }
}

/// What must come of the inputs that another rewriter was recorded on, judged by our rules: every link
/// of the playlist's own host has the ticket, no other has it, and nothing else changed.
#[test]
fn nothing_is_missed_of_the_recorded_playlists() {
    if !Path::new(VECTORS).exists() {
        eprintln!("skipped: {VECTORS} is absent");
        return;
    }
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(VECTORS).expect("readable")).expect("JSON");
    let own = [
        "\"/steering?video=1",
        "meta.json",
        "en.m3u8?lang=en",
        "720p/index.m3u8",
        "/abs/path/2160p.m3u8",
        "iframe.m3u8",
        "init.mp4",
        "ads/ad1.m3u8",
        "seg1.m4s",
        "seg2.m4s?x=1&y=2",
        "seg3.1.m4s",
        "seg3.2.m4s",
        "../1080p/media.m3u8",
        "key.bin",
        "audio/en.m3u8\"",
        "https://media.example.com/ak/rw/m.mpd",
        "m.mpp",
    ];
    let mut judged = 0;
    for vector in all["vectors"].as_array().expect("vectors") {
        let (at, input) = (vector["path"].as_str().expect("path"), vector["input"].as_str().expect("input"));
        let kind = kind_of(None, at).expect("a playlist");
        let out = text(kind, input, &query_at(&format!("https://media.example.com{at}")));
        let mut wanted = input.to_owned();
        if kind == Kind::Hls {
            for link in own {
                let bare = link.trim_end_matches('"');
                let ticket = if bare.contains('?') { "&t=T1CKET" } else { "?t=T1CKET" };
                let from = if bare.ends_with("seg2.m4s") { continue } else { link };
                let quote = &link[bare.len()..];
                wanted = mark_unmarked(&wanted, from, &format!("{bare}{ticket}{quote}"));
            }
        } else {
            wanted = mpd_wanted(at, input);
        }
        assert_eq!(out, wanted, "{at}");
        assert_eq!(text(kind, &out, &query_at(&format!("https://media.example.com{at}"))), out, "{at} twice");
        judged += 1;
    }
    assert_eq!(judged, 7);
}

/// Replaces `link` where it stands whole: not followed by a query of its own, and on no other host.
fn mark_unmarked(body: &str, link: &str, marked: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some(found) = rest.find(link) {
        let (before, after) = (&rest[..found], &rest[found + link.len()..]);
        out.push_str(before);
        let whole = after.is_empty() || after.starts_with(['"', '\n', '#']) || link.ends_with('"');
        let line = before.rsplit('\n').next().unwrap_or("");
        let foreign = line.contains("//") && !link.contains("//");
        out.push_str(if whole && !foreign { marked } else { link });
        rest = after;
    }
    out + rest
}

fn mpd_wanted(at: &str, input: &str) -> String {
    if at.ends_with("manifest.mpd") {
        return input.replace("$.m4s\"", "$.m4s?t=T1CKET\"").replace("init.mp4", "init.mp4?t=T1CKET");
    }
    // Everything below the Periods hangs on a BaseURL of another host.
    input.replace("rw/m.mpd<", "rw/m.mpd?t=T1CKET<").replace("m.mpp<", "m.mpp?t=T1CKET<")
}

#[test]
fn a_manifest_on_its_own_host_gets_every_ticket() {
    if !Path::new(VECTORS).exists() {
        eprintln!("skipped: {VECTORS} is absent");
        return;
    }
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(VECTORS).expect("readable")).expect("JSON");
    let found = all["vectors"].as_array().expect("vectors").iter().find(|v| v["path"] == "/ak/rw/m.mpd").expect("the manifest");
    let input = found["input"].as_str().expect("input").replace("https://cdn-a.example.com/x/", "/x/");
    let out = text(Kind::Dash, &input, &query_at("https://media.example.com/ak/rw/m.mpd"));
    for link in [
        "s-$Number$.m4s?t=T1CKET\"",
        "i.mp4?t=T1CKET\"",
        "x.idx?t=T1CKET\"",
        "audio.mp4?z=1&amp;w=2&amp;t=T1CKET<",
        "ainit.mp4?t=T1CKET\"",
        "a.sidx?t=T1CKET\"",
        "i3.mp4?t=T1CKET\"",
        "s1.m4s?t=T1CKET\"",
        "s1.idx?t=T1CKET\"",
        "<![CDATA[sub.vtt?t=T1CKET]]>",
        "rw/m.mpd?t=T1CKET<",
        "m.mpp?t=T1CKET<",
    ] {
        assert!(out.contains(link), "{link} in {out}");
    }
    assert_eq!(out.matches("T1CKET").count(), 12);
    assert_eq!(out.replace("?t=T1CKET", "").replace("&amp;t=T1CKET", ""), input);
}

/// The variables of a multivariant playlist carry the path ticket to whoever imports them, unless that may be a stranger.
#[test]
fn variables_carry_the_path_ticket() {
    let body = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"b\",VALUE=\"https://gw.example/v/x/\"\n#EXT-X-DEFINE:NAME=\"r\",VALUE=\"/v/y/\"\n\
        #EXT-X-DEFINE:NAME=\"m\",VALUE=\"https://gw.example/v/z/\"\n#EXTINF:1,\n{$b}1.ts\n{$r}2.ts\nx?u={$m}\n{$m}4.ts\n";
    let expanded = body.replace("{$r}2.ts", "/v/t~T1CKET~/y/2.ts").replace("{$m}4.ts", "https://gw.example/v/t~T1CKET~/z/4.ts");
    let wanted = expanded.replace("gw.example/v/x/", "gw.example/v/t~T1CKET~/x/");
    assert_eq!(text(Kind::Hls, body, &path()), wanted);
    assert_eq!(text(Kind::Hls, &wanted, &path()), wanted);
    let tickets = body
        .replace("1.ts", "1.ts?t=T1CKET")
        .replace("2.ts", "2.ts?t=T1CKET")
        .replace("{$m}\n", "{$m}&t=T1CKET\n")
        .replace("4.ts", "4.ts?t=T1CKET");
    assert_eq!(text(Kind::Hls, body, &query()), tickets);

    let stranger = |body: &str| format!("{body}//evil.example/5.ts\n");
    let wanted = stranger(&expanded).replace("{$b}1.ts", "https://gw.example/v/t~T1CKET~/x/1.ts");
    assert_eq!(text(Kind::Hls, &stranger(body), &path()), wanted);
    assert_eq!(text(Kind::Hls, &wanted, &path()), wanted);
}

#[test]
fn crowded_playlists_stay_quick() {
    let defines: String = (0..20_000).map(|n| format!("#EXT-X-DEFINE:NAME=\"{n}\",VALUE=\"https://gw.example/v/\"\n")).collect();
    let body = format!("#EXTM3U\n{defines}");
    assert_eq!(rewrite(Kind::Hls, body.as_bytes(), &path(), Limits::default()).expect("playlist").changed, 16);
    let long = "x".repeat(4000);
    let body = format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{long}\"\n{}", "{$a}\n".repeat(20_000));
    assert_eq!(rewrite(Kind::Hls, body.as_bytes(), &path(), Limits::default()).err(), Some(ManifestFault::TooComplex));
    let bases: String = (0..64).map(|n| format!("<BaseURL>/v/{n}/</BaseURL>")).collect();
    let body = format!("<MPD>{bases}<Period>{}</Period></MPD>", "<AdaptationSet/>".repeat(20_000));
    assert!(rewrite(Kind::Dash, body.as_bytes(), &path(), Limits::default()).is_ok());
    let body = format!("<MPD>{bases}<Period>{}</Period></MPD>", "<AdaptationSet><BaseURL>a/</BaseURL></AdaptationSet>".repeat(20_000));
    assert_eq!(rewrite(Kind::Dash, body.as_bytes(), &path(), Limits::default()).err(), Some(ManifestFault::TooComplex));
    let many: String = (0..2000).map(|n| format!("<Representation><BaseURL>{n}/</BaseURL></Representation>")).collect();
    let body = format!("<MPD><Period><AdaptationSet><SegmentTemplate media=\"m\"/>{many}</AdaptationSet></Period></MPD>");
    assert_eq!(rewrite(Kind::Dash, body.as_bytes(), &query(), Limits::default()).map(|out| out.changed), Ok(0));
}

/// Run by hand: `cargo test --release --lib what_ -- --ignored --nocapture --test-threads=1`.
#[test]
#[ignore = "measures"]
fn what_rewriting_costs() {
    let segments: String = (0..5000).map(|n| format!("#EXTINF:4.000,\nvideo/720p/segment-{n:06}.m4s\n")).collect();
    let hls = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n{segments}#EXT-X-ENDLIST\n");
    let listed: String = (0..5000).map(|n| format!("<SegmentURL media=\"video/720p/segment-{n:06}.m4s\"/>")).collect();
    let dash = format!(
        "<MPD><Period><AdaptationSet><Representation><SegmentList>{listed}</SegmentList></Representation></AdaptationSet></Period></MPD>"
    );
    for (name, kind, body) in [("HLS", Kind::Hls, &hls), ("DASH", Kind::Dash, &dash)] {
        for (way, links) in [("query", query()), ("path", path())] {
            let rounds = 100;
            let began = std::time::Instant::now();
            for _ in 0..rounds {
                std::hint::black_box(rewrite(kind, std::hint::black_box(body.as_bytes()), &links, Limits::default())).expect("a playlist");
            }
            let bytes = (rounds * body.len()) as f64;
            println!("rewriting {name} by {way}: {:.0} MB/s", bytes / 1e6 / began.elapsed().as_secs_f64());
        }
    }
}

// ---- properties

fn reference() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        "https://gw.example/",
        "//gw.example/",
        "https://GW.EXAMPLE:443/v/",
        "/",
        "/v/",
        "https://evil.example/",
        "//evil.example/",
        "http://gw.example/",
        "https://gw.example@evil.example/",
        "https://gw.example.evil.example/",
        "skd://",
        "data:,",
        "../",
        "../../../",
        "./",
    ]);
    let tail = "[a-z0-9._~-]{1,6}(/[a-z0-9.%$-]{1,6}){0,2}(\\?[a-z]=[a-z0-9]{0,3}(&[a-z]{1,2}=[0-9])?)?(#[a-z]{1,3})?";
    (host, tail).prop_map(|(host, tail)| format!("{host}{tail}"))
}

fn hls() -> impl Strategy<Value = String> {
    let line = (reference(), 0..9usize, prop::sample::select(vec!["\n", "\r\n"])).prop_map(|(uri, which, end)| match which {
        0 => format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{uri}\",IV=0x1{end}"),
        1 => format!("#EXT-X-MAP:URI=\"{uri}\"{end}"),
        2 => format!("#EXT-X-VENDOR:A=\"x,y\",URI=\"{uri}\"{end}"),
        3 => format!("#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:00Z\",X-ASSET-URI=\"{uri}\"{end}"),
        4 => format!("# {uri}{end}"),
        _ => format!("#EXTINF:4,{end}{uri}{end}"),
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}", lines.concat()))
}

fn dash() -> impl Strategy<Value = String> {
    let escaped = || reference().prop_map(|uri| uri.replace('&', "&amp;"));
    let inner = (escaped(), 0..5usize).prop_map(|(uri, which)| match which {
        0 => format!("<Representation id='1'><BaseURL>{uri}</BaseURL></Representation>"),
        1 => format!("<SegmentTemplate media=\"{uri}\" initialization='i'/>"),
        2 => format!("<Representation><SegmentList><SegmentURL media='{uri}'/></SegmentList></Representation>"),
        3 => format!("<Representation><BaseURL> <![CDATA[{}]]></BaseURL></Representation>", uri.replace("&amp;", "&")),
        _ => format!("<Label>{uri}</Label>"),
    });
    (escaped(), prop::collection::vec(inner, 0..6)).prop_map(|(base, inner)| {
        format!("<MPD><BaseURL>{base}</BaseURL><Period><AdaptationSet>{}</AdaptationSet></Period></MPD>\n", inner.concat())
    })
}

/// Takes the ticket out again, as it was put in.
fn without_ticket(body: &str) -> String {
    ["&amp;t=T1CKET", "&t=T1CKET", "?t=T1CKET"].iter().fold(body.to_owned(), |body, ticket| body.replace(ticket, ""))
}

/// The events of a document with the values of its links taken out.
fn shape(xml: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    let mut out = Vec::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => return out,
            Event::Start(tag) | Event::Empty(tag) => {
                out.push(tag.name().as_ref().to_owned());
                out.extend(tag.attributes().map(|a| a.expect("attribute").key.as_ref().to_owned()));
            }
            Event::End(tag) => out.push(format!("/{}", tag.name().as_ref())),
            _ => {}
        }
    }
}

fn uris(playlist: &m3u8_rs::MediaPlaylist) -> Vec<String> {
    playlist.segments.iter().map(|segment| segment.uri.clone()).collect()
}

/// Whether a browser would ask somebody else for it: its rules are those of an independent library (WHATWG URL).
fn leads_elsewhere(uri: &str) -> bool {
    let base = url::Url::parse("https://gw.example/v/a/b/m.m3u8").expect("an address");
    base.join(uri).is_ok_and(|url| (url.scheme(), url.host_str(), url.port()) != ("https", Some("gw.example"), None))
}

proptest! {
    #[test]
    fn query_mode_is_idempotent_and_loses_nothing_hls(body in hls()) {
        let once = text(Kind::Hls, &body, &query());
        prop_assert_eq!(&text(Kind::Hls, &once, &query()), &once);
        if !body.contains("t=") {
            prop_assert_eq!(without_ticket(&once), body);
        }
    }

    #[test]
    fn query_mode_is_idempotent_and_loses_nothing_dash(body in dash()) {
        let once = text(Kind::Dash, &body, &query());
        prop_assert_eq!(&text(Kind::Dash, &once, &query()), &once);
        prop_assert_eq!(shape(&once), shape(&body));
        if !body.contains("t=") {
            prop_assert_eq!(without_ticket(&once), body);
        }
    }

    #[test]
    fn path_mode_is_idempotent(hls in hls(), dash in dash()) {
        let once = text(Kind::Hls, &hls, &path());
        prop_assert_eq!(&text(Kind::Hls, &once, &path()), &once);
        let once = text(Kind::Dash, &dash, &path());
        prop_assert_eq!(&text(Kind::Dash, &once, &path()), &once);
        prop_assert_eq!(shape(&once), shape(&dash));
    }

    #[test]
    fn another_reader_sees_the_same_playlist(body in hls()) {
        let before = m3u8_rs::parse_media_playlist_res(body.as_bytes());
        for links in [query(), path()] {
            let out = text(Kind::Hls, &body, &links);
            let after = m3u8_rs::parse_media_playlist_res(out.as_bytes());
            prop_assert_eq!(before.is_ok(), after.is_ok());
            let (Ok(before), Ok(mut after)) = (&before, after) else { continue };
            prop_assert_eq!(before.segments.len(), after.segments.len());
            for (uri, segment) in uris(before).into_iter().zip(&mut after.segments) {
                let original = before.segments.iter().find(|s| s.uri == uri).expect("same");
                prop_assert_eq!(original.duration, segment.duration);
                prop_assert!(!segment.uri.contains("T1CKET") || !leads_elsewhere(&segment.uri), "{}", segment.uri);
            }
            prop_assert_eq!(before.target_duration, after.target_duration);
        }
    }

    #[test]
    fn foreign_hosts_never_get_a_ticket(uri in reference(), junk in "[ -~\\t\\\\é]{0,12}", at in 0..8usize) {
        let at = at.min(uri.len());
        for uri in [format!("{}{junk}{}", &uri[..at], &uri[at..]), format!("{junk}{uri}"), junk.clone(), format!("https://{junk}/v/"), format!("//{junk}")] {
            for links in [query(), path()] {
                for place in [Place::Segment, Place::BaseUrlMedia] {
                    let Some(out) = links.map(&Link { uri: &uri, place, bases: &[] }) else { continue };
                    prop_assert!(!out.contains("T1CKET") || !leads_elsewhere(&out), "{} -> {}", uri, out);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_stumble(bytes: Vec<u8>, text in "(#EXTM3U|<MPD>|<Period|/>|\"|URI=|,|:|\n|\\{\\$|\\}|#EXT-X-DEFINE:NAME=\"a\",VALUE=\"|<BaseURL>|</BaseURL>|<!\\[CDATA\\[|\\]\\]>|&|;|é|/|\\.\\.|x){0,30}") {
        for links in [query(), path()] {
            let _ = hls::rewrite_asset_list(&bytes, &links, Limits::default());
            let _ = hls::rewrite_asset_list(format!("{{\"URI\":{text}}}").as_bytes(), &links, Limits::default());
            for kind in [Kind::Hls, Kind::Dash] {
                let _ = rewrite(kind, &bytes, &links, Limits::default());
                for body in [text.clone(), format!("#EXTM3U\n{text}"), format!("<MPD>{text}</MPD>")] {
                    let _ = rewrite(kind, body.as_bytes(), &links, Limits::default());
                }
            }
        }
    }
}
