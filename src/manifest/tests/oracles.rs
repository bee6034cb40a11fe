//! What independent readers make of rewritten playlists: the same document but for its links, every link of ours with its
//! ticket, and no other with one.

use std::collections::BTreeMap;

use m3u8_rs::{ExtTag, Key, Playlist, QuotedOrUnquoted, SessionDataField};
use proptest::prelude::*;

use super::*;

/// A link, and what is to become of it.
#[derive(Debug, Clone)]
struct Known {
    uri: String,
    by_query: String,
    by_path: String,
}

impl Known {
    fn new(prefix: &str, ours: bool, tail: &str) -> Self {
        let uri = format!("{prefix}{tail}");
        let (bare, fragment) = uri.split_at(uri.find('#').unwrap_or(uri.len()));
        let with = if bare.contains('?') { '&' } else { '?' };
        let by_query = if ours { format!("{bare}{with}t=T1CKET{fragment}") } else { uri.clone() };
        let by_path = if ours && prefix.ends_with("/v/") { format!("{prefix}t~T1CKET~/{tail}") } else { uri.clone() };
        Self { uri, by_query, by_path }
    }
}

fn known() -> impl Strategy<Value = Known> {
    let ours = vec!["", "./", "../", "/", "/v/", "https://gw.example/", "//gw.example/v/", "https://GW.EXAMPLE:443/v/"];
    let theirs = vec![
        "https://evil.example/v/",
        "//evil.example/",
        "http://gw.example/v/",
        "https://gw.example@evil.example/",
        "https://gw.example.evil.example/",
        "https://gw.example:8443/v/",
        "skd://",
        "data:,",
    ];
    let ours = prop::sample::select(ours).prop_map(|prefix| (prefix, true));
    let theirs = prop::sample::select(theirs).prop_map(|prefix| (prefix, false));
    // None begins with `v/`: behind `/` that would be the folder of the ticket.
    let tail = "[a-u0-9_-]{1,6}(/[a-z0-9-]{1,4}){0,2}\\.(ts|m4s|mpd)(\\?[a-s]=[0-9]{0,3}(&[a-s]{2}=[0-9])?)?(#[a-z]{1,3})?";
    (prop_oneof![3 => ours, 2 => theirs], tail).prop_map(|((prefix, ours), tail)| Known::new(prefix, ours, &tail))
}

/// Tags of a media playlist, each with the place of its link.
const MEDIA: [&str; 9] = [
    "#EXT-X-KEY:METHOD=AES-128,URI=\"@\",IV=0x1",
    "#EXT-X-MAP:URI=\"@\",BYTERANGE=\"720@0\"",
    "#EXT-X-PART:DURATION=0.3,URI=\"@\",INDEPENDENT=YES",
    "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"@\"",
    "#EXT-X-RENDITION-REPORT:URI=\"@\",LAST-MSN=3",
    "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:00Z\",X-ASSET-URI=\"@\"",
    "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:00Z\",X-ASSET-LIST=\"@\"",
    "#EXT-X-VENDOR:A=\"x,y\",URI=\"@\"",
    "#EXTINF:2.5,title\n@",
];
/// The same of a multivariant playlist.
const MULTIVARIANT: [&str; 6] = [
    "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1\"\n@",
    "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"@\"",
    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",NAME=\"n\",URI=\"@\"",
    "#EXT-X-SESSION-DATA:DATA-ID=\"d\",URI=\"@\"",
    "#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"@\"",
    "#EXT-X-CONTENT-STEERING:SERVER-URI=\"@\",PATHWAY-ID=\"A\"",
];

/// A playlist of such tags with `after` behind each, and its links.
fn hls_of(tags: &'static [&'static str], head: &'static str, after: &'static str) -> impl Strategy<Value = (String, Vec<Known>)> {
    let line = (prop::sample::select(tags), known());
    prop::collection::vec(line, 1..10).prop_map(move |lines| {
        let text: String = lines.iter().map(|(tag, link)| format!("{}\n{after}", tag.replacen('@', &link.uri, 1))).collect();
        (format!("#EXTM3U\n{head}{text}"), lines.into_iter().map(|(_, link)| link).collect())
    })
}

fn hls_with_links() -> impl Strategy<Value = (String, Vec<Known>)> {
    // Tags belong to the segment behind them, or the reader drops them.
    let media = hls_of(&MEDIA, "#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n", "#EXTINF:4,\ndata:,\n");
    prop_oneof![media, hls_of(&MULTIVARIANT, "#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=9\ndata:,\n", "")]
}

/// What m3u8-rs reads, and the links taken out of it.
fn read_hls(body: &str) -> (Playlist, Vec<String>) {
    let mut playlist = m3u8_rs::parse_playlist_res(body.as_bytes()).expect("a playlist");
    let mut links = Vec::new();
    let mut take = |uri: &mut String| links.push(std::mem::take(uri));
    let of_key = |key: &mut Key, take: &mut dyn FnMut(&mut String)| key.uri.iter_mut().for_each(take);
    match &mut playlist {
        Playlist::MasterPlaylist(list) => {
            list.variants.iter_mut().for_each(|variant| take(&mut variant.uri));
            list.alternatives.iter_mut().filter_map(|media| media.uri.as_mut()).for_each(&mut take);
            list.session_key.iter_mut().for_each(|key| of_key(&mut key.0, &mut take));
            for data in &mut list.session_data {
                if let SessionDataField::Uri(uri) = &mut data.field {
                    take(uri);
                }
            }
            list.unknown_tags.iter_mut().for_each(|tag| of_tag(tag, &mut take));
        }
        Playlist::MediaPlaylist(list) => {
            for segment in &mut list.segments {
                take(&mut segment.uri);
                segment.key.iter_mut().for_each(|key| of_key(key, &mut take));
                segment.map.iter_mut().for_each(|map| take(&mut map.uri));
                let asset = segment.daterange.iter_mut().filter_map(|range| range.x_prefixed.as_mut()).flat_map(|all| all.values_mut());
                for value in asset {
                    if let QuotedOrUnquoted::Quoted(uri) = value {
                        take(uri);
                    }
                }
                segment.unknown_tags.iter_mut().for_each(|tag| of_tag(tag, &mut take));
            }
            list.unknown_tags.iter_mut().for_each(|tag| of_tag(tag, &mut take));
        }
    }
    links.retain(|link| link != "data:,");
    (playlist, links)
}

/// Of a tag that the reader does not know.
fn of_tag(tag: &mut ExtTag, take: &mut dyn FnMut(&mut String)) {
    let Some((before, rest)) = tag.rest.as_deref().and_then(|rest| rest.split_once("URI=\"")) else { return };
    let (uri, after) = rest.split_once('"').expect("a quoted string");
    take(&mut uri.to_owned());
    tag.rest = Some(format!("{before}{after}"));
}

fn dash_with_links() -> impl Strategy<Value = (String, Vec<Known>)> {
    let inner = prop::sample::select(vec![
        "<Representation id='1'><BaseURL>@</BaseURL><SegmentBase indexRange='0-9'/></Representation>",
        "<Representation id='2'><BaseURL> <![CDATA[@]]> </BaseURL></Representation>",
        "<Representation id='3'><SegmentTemplate media=\"@\" duration='2'/></Representation>",
        "<Representation id='4'><SegmentTemplate initialization='@'/></Representation>",
        "<Representation id='5'><SegmentTemplate index='@'/></Representation>",
        "<Representation id='0'><SegmentTemplate bitstreamSwitching='@'/></Representation>",
        "<Representation id='6'><SegmentList><Initialization sourceURL='@' range='0-9'/></SegmentList></Representation>",
        "<Representation id='7'><SegmentList><SegmentURL media='@' mediaRange='0-9'/></SegmentList></Representation>",
        "<Representation id='8'><SegmentList><SegmentURL index='@'/></SegmentList></Representation>",
        "<Representation id='9'><SegmentBase><RepresentationIndex sourceURL=\"@\"/></SegmentBase></Representation>",
    ]);
    let outer = prop::sample::select(vec![
        "<Location>@</Location>",
        "<PatchLocation ttl='60'>@</PatchLocation>",
        "<ContentSteering proxyServerURL='@'>data:,</ContentSteering>",
        "<ContentSteering>@</ContentSteering>",
        "<Period xlink:href='@' xlink:actuate='onLoad'/>",
    ]);
    let many = |place: prop::sample::Select<&'static str>| prop::collection::vec((place, known()), 1..6);
    (many(outer), many(inner)).prop_map(|(outer, inner)| {
        let put = |(place, link): &(&str, Known)| {
            let uri = if place.contains("CDATA") { link.uri.clone() } else { link.uri.replace('&', "&amp;") };
            place.replace('@', &uri)
        };
        let (before, within): (String, String) = (outer.iter().map(put).collect(), inner.iter().map(put).collect());
        let text = format!(
            "<?xml version=\"1.0\"?>\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' xmlns:xlink='http://www.w3.org/1999/xlink' type='static'>\
             {before}<!-- /v/x -->\n<UTCTiming schemeIdUri='urn:mpeg:dash:utc:http-head:2014' value='https://gw.example/v/time'/>\
             <Period id='/v/p'><AdaptationSet>{within}</AdaptationSet></Period></MPD>\n"
        );
        (text, outer.into_iter().chain(inner).map(|(_, link)| link).collect())
    })
}

/// What roxmltree reads: elements by their names, and every value, without white space around it.
fn read_dash(body: &str) -> Vec<(String, String)> {
    let document = roxmltree::Document::parse(body).expect("well-formed");
    let mut values = Vec::new();
    for node in document.descendants() {
        let name = node.tag_name().name();
        values.push((name.to_owned(), node.text().unwrap_or_default().trim().to_owned()));
        values.extend(node.attributes().map(|attribute| (format!("{name}/{}", attribute.name()), attribute.value().to_owned())));
    }
    values
}

/// Both ways, each with what it makes of a link.
fn ways() -> [(Resolver, fn(&Known) -> &str); 2] {
    [(query(), |link| &link.by_query), (path(), |link| &link.by_path)]
}

proptest! {
    #[test]
    fn m3u8_rs_reads_the_same_playlist_with_tickets_on_our_links((body, links) in hls_with_links()) {
        let (document, before) = read_hls(&body);
        let known: BTreeMap<&str, &Known> = links.iter().map(|link| (link.uri.as_str(), link)).collect();
        prop_assert_eq!(before.len(), links.len(), "it sees every link: {}", body);
        for (resolver, becomes) in ways() {
            let out = text(Kind::Hls, &body, &resolver);
            let (same, after) = read_hls(&out);
            prop_assert_eq!(&same, &document, "{}", out);
            let wanted: Vec<&str> = before.iter().map(|uri| becomes(known[uri.as_str()])).collect();
            prop_assert_eq!(after, wanted);
            prop_assert_eq!(text(Kind::Hls, &out, &resolver), out);
        }
    }

    #[test]
    fn roxmltree_reads_the_same_manifest_with_tickets_on_our_links((body, links) in dash_with_links()) {
        let before = read_dash(&body);
        let known: BTreeMap<&str, &Known> = links.iter().map(|link| (link.uri.as_str(), link)).collect();
        for (resolver, becomes) in ways() {
            let out = text(Kind::Dash, &body, &resolver);
            let wanted: Vec<_> = before.iter().map(|(at, value)| {
                (at.clone(), known.get(value.as_str()).map_or(value.clone(), |link| becomes(link).to_owned()))
            }).collect();
            prop_assert_eq!(read_dash(&out), wanted, "{}", out);
            prop_assert_eq!(text(Kind::Dash, &out, &resolver), out);
        }
    }
}
