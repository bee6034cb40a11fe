//! HLS playlists, rewritten.

use std::cell::RefCell;

use super::*;
use crate::manifest::Absolute;

/// Marks every link with its place, and remembers what it was asked.
struct Marker {
    document: Absolute,
    seen: RefCell<Vec<(String, Place)>>,
}

impl Marker {
    fn new() -> Self {
        Self { document: Absolute::parse("https://gw.example/a/m.m3u8").expect("address"), seen: RefCell::default() }
    }
}

impl Links for Marker {
    fn document(&self) -> &Absolute {
        &self.document
    }

    fn map(&self, link: &Link<'_>) -> Option<String> {
        self.seen.borrow_mut().push((link.uri.to_owned(), link.place));
        Some(format!("<{}>", link.uri))
    }
}

/// Leaves everything.
struct Still(Absolute);

impl Links for Still {
    fn document(&self) -> &Absolute {
        &self.0
    }

    fn map(&self, _: &Link<'_>) -> Option<String> {
        None
    }
}

fn marked(body: &str) -> (String, Vec<(String, Place)>) {
    let marker = Marker::new();
    let out = rewrite(body.as_bytes(), &marker, Limits::default()).expect("playlist");
    (String::from_utf8(out.body.into_owned()).expect("text"), marker.seen.into_inner())
}

fn facts(body: &str) -> Facts {
    rewrite(body.as_bytes(), &Still(Absolute::parse("https://h/").expect("address")), Limits::default()).expect("playlist").facts
}

#[test]
fn every_tag_with_a_link_is_known() {
    let cases = [
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"u\",IV=0x1", Place::Key),
        ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"u\",KEYFORMAT=\"com.apple.streamingkeydelivery\"", Place::Key),
        ("#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"u\"", Place::SessionKey),
        ("#EXT-X-MAP:URI=\"u\",BYTERANGE=\"720@0\"", Place::Map),
        ("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a,URI=b\",NAME=\"x\",URI=\"u\"", Place::Media),
        ("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"u\"", Place::IFrame),
        ("#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI=\"u\"", Place::Image),
        ("#EXT-X-PART:DURATION=0.3,URI=\"u\",BYTERANGE=\"1@2\",INDEPENDENT=YES", Place::Part),
        ("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"u\"", Place::PreloadHint),
        ("#EXT-X-PREFETCH:u", Place::Prefetch),
        ("#EXT-X-RENDITION-REPORT:URI=\"u\",LAST-MSN=3", Place::RenditionReport),
        ("#EXT-X-SESSION-DATA:DATA-ID=\"d\",URI=\"u\"", Place::SessionData),
        ("#EXT-X-CONTENT-STEERING:SERVER-URI=\"u\",PATHWAY-ID=\"A\"", Place::Steering),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"u\"", Place::AssetUri),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-LIST=\"u\"", Place::AssetList),
        ("#EXT-X-VENDOR-THING:A=1,URI=\"u\"", Place::Other),
        ("#EXTM3U-VENDOR:URI=\"u\"", Place::Other),
        ("#EXT-X-KEY:METHOD=AES-128,URI=u,IV=0x1", Place::Key),
        ("#EXTINF:4,\nu", Place::Segment),
        ("#EXTINF:4,\n#EXT-X-BYTERANGE:1@0\n#EXT-X-GAP\nu", Place::Segment),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1\n\n# note\nu", Place::Variant),
    ];
    for (tag, place) in cases {
        let (out, seen) = marked(&format!("#EXTM3U\n{tag}\n"));
        assert_eq!(seen, [("u".to_owned(), place)], "{tag}");
        let link_at = tag
            .rfind('u')
            .filter(|_| tag.ends_with('u'))
            .or_else(|| tag.find("=\"u\"").map(|p| p + 2))
            .unwrap_or_else(|| tag.find("=u").expect("link") + 1);
        let (before, after) = tag.split_at(link_at);
        assert_eq!(out, format!("#EXTM3U\n{before}<u>{}\n", &after[1..]), "{tag}");
    }
}

#[test]
fn what_is_no_link_stays() {
    let body = "#EXTM3U\n# a comment with uri http://x/y.ts\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",uri=\"x\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n#EXT-X-SCTE35:CUE=\"/DA=,URI=x\"\n\n   \n#EXT-X-KEY:URI=\"open\n";
    let (out, seen) = marked(body);
    assert_eq!((out.as_str(), seen), (body, vec![]));
}

#[test]
fn line_ends_and_marks_stay() {
    for (body, wanted) in [
        ("#EXTM3U\r\n#EXTINF:1,\r\na\r\n", "#EXTM3U\r\n#EXTINF:1,\r\n<a>\r\n"),
        ("#EXTM3U\n#EXTINF:1,\na", "#EXTM3U\n#EXTINF:1,\n<a>"),
        ("\u{feff}#EXTM3U\n a \t\n", "\u{feff}#EXTM3U\n <a> \t\n"),
        ("#EXTM3U\n#EXT-X-MAP:URI=\" a \"\n", "#EXTM3U\n#EXT-X-MAP:URI=\" <a> \"\n"),
        ("#EXTM3U\n#EXT-X-KEY:URI=\"a\",URI=\"b\"", "#EXTM3U\n#EXT-X-KEY:URI=\"<a>\",URI=\"<b>\""),
        ("#EXTM3U\n#EXT-X-MEDIA:URI=\"é\"\né.ts", "#EXTM3U\n#EXT-X-MEDIA:URI=\"<é>\"\n<é.ts>"),
    ] {
        assert_eq!(marked(body).0, wanted);
    }
}

#[test]
fn bytes_that_are_no_text_stay() {
    let body = b"#EXTM3U\n#EXT-X-TITLE:\xff\n\xff.ts\n".as_slice();
    let out = rewrite(body, &Marker::new(), Limits::default()).expect("playlist");
    assert!(matches!(out.body, std::borrow::Cow::Borrowed(same) if same == body));
}

#[test]
fn other_bodies_and_large_ones_are_refused() {
    let still = Still(Absolute::parse("https://h/").expect("address"));
    for body in ["", "<html>", "\n#EXTM3U", "{}"] {
        assert_eq!(rewrite(body.as_bytes(), &still, Limits::default()).err(), Some(ManifestFault::NotAManifest), "{body}");
    }
    assert_eq!(rewrite(b"#EXTM3U\na", &still, Limits { input: 8, output: 99 }).err(), Some(ManifestFault::TooLarge));
    let many = format!("#EXTM3U\n{}", "a\n".repeat(100));
    assert_eq!(rewrite(many.as_bytes(), &Marker::new(), Limits { input: 999, output: 300 }).err(), Some(ManifestFault::TooLarge));
}

#[test]
fn facts_are_read_on_the_way() {
    let vod = facts("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5.5,t\na\n#EXTINF:4\nb\n#EXT-X-ENDLIST\n");
    assert_eq!(vod, Facts { target_duration: Some(6), live: false, duration: Some(Duration::from_millis(9500)), is_multivariant: false });
    assert!(facts("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5.5,\na\n").live);
    assert!(!facts("#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:5.5,\na\n").live);
    assert_eq!(facts("#EXTM3U\n#EXT-X-TARGETDURATION:5.2\n").target_duration, Some(6));
    let master = facts("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n");
    assert_eq!(master, Facts { is_multivariant: true, ..Facts::default() });
    assert_eq!(facts("#EXTM3U\n#EXTINF:-1,\na\n#EXTINF:nan,\nb\n#EXTINF:1e999,\nc\n").duration, Some(Duration::ZERO));
}

#[test]
fn variables_are_put_in_to_judge_and_stay_where_they_can() {
    struct Suffix(Absolute, RefCell<Vec<String>>);
    impl Links for Suffix {
        fn document(&self) -> &Absolute {
            &self.0
        }
        fn map(&self, link: &Link<'_>) -> Option<String> {
            self.1.borrow_mut().push(link.uri.to_owned());
            match link.place {
                Place::Define => None,
                _ if link.uri.contains("evil") => None,
                _ => Some(format!("{}?t=T", link.uri)),
            }
        }
    }
    let body = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"h\",VALUE=\"https://evil.example/\"\n#EXT-X-DEFINE:NAME=\"p\",VALUE=\"x/\"\n\
        #EXT-X-DEFINE:NAME=\"two\",VALUE=\"{$p}{$p}\"\n#EXT-X-DEFINE:IMPORT=\"i\"\n{$h}a.ts\n{$p}b.ts\n{$two}c.ts\n{$i}d.ts\nq/{$i}\n";
    let links = Suffix(Absolute::parse("https://gw.example/a").expect("address"), RefCell::default());
    let out = rewrite(body.as_bytes(), &links, Limits::default()).expect("playlist");
    let wanted = body.replace("{$p}b.ts", "{$p}b.ts?t=T").replace("c.ts", "c.ts?t=T").replace("q/{$i}", "q/{$i}?t=T");
    assert_eq!(std::str::from_utf8(&out.body).expect("text"), wanted);
    assert_eq!(links.1.into_inner(), ["https://evil.example/a.ts", "x/b.ts", "x/x/c.ts", "q/{$i}"]);
}

#[test]
fn a_mapper_cannot_break_the_line() {
    struct Breaks(Absolute);
    impl Links for Breaks {
        fn document(&self) -> &Absolute {
            &self.0
        }
        fn map(&self, link: &Link<'_>) -> Option<String> {
            Some(format!("{}\"\r\nhttps://evil.example/", link.uri))
        }
    }
    let body = b"#EXTM3U\n#EXT-X-MAP:URI=\"a\"\nb\n";
    let out = rewrite(body, &Breaks(Absolute::parse("https://h/").expect("address")), Limits::default()).expect("playlist");
    assert_eq!(out.body.as_ref(), body);
}
