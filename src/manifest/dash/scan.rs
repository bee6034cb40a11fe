//! One pass over the XML: where links stand, and the tree of elements their bases hang on.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::super::splice::Expanded;
use super::super::{Facts, ManifestFault, Place};
use super::text;

/// Deepest nesting; an MPD needs about ten.
const MAX_DEPTH: usize = 64;

/// An element that may hold `BaseURL`s: `MPD`, `Period`, `AdaptationSet`, `Representation`.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// `None` for the root. A parent comes before its children.
    pub(super) parent: Option<usize>,
    /// Its `BaseURL`s, as indices into [`Scan::sites`].
    pub(super) bases: Vec<usize>,
    /// Segments are named by a template or a list here.
    pub(super) names_segments: bool,
    /// Something here is fetched from the `BaseURL` itself (a byte range of one file).
    pub(super) uses_base: bool,
}

/// How a link is escaped where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Escaped,
    Cdata,
    /// Broken up by comments or the like: read by no rule of ours, so its meaning is not known.
    Unreadable,
}

/// One link.
#[derive(Debug)]
pub(super) struct Site<'x> {
    pub(super) range: Range<usize>,
    pub(super) value: Expanded<'x>,
    pub(super) form: Form,
    pub(super) place: Place,
    pub(super) node: usize,
}

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Scan<'x> {
    pub(super) nodes: Vec<Node>,
    /// In the order of the bytes.
    pub(super) sites: Vec<Site<'x>>,
    pub(super) facts: Facts,
    /// Whether the root is an `MPD`: only then is it known what links are resolved against.
    pub(super) whole: bool,
    /// A `Representation@id` that could name a host when put at the beginning of a template.
    pub(super) hostile_id: bool,
}

struct Open {
    node: usize,
    text: Option<TextLink>,
}

/// A link that is an element's text, while it is read.
struct TextLink {
    place: Place,
    start: usize,
    cdata: Option<Range<usize>>,
    broken: bool,
}

/// Reads `xml`.
///
/// # Errors
/// [`ManifestFault`]: malformed, too deep, a `DOCTYPE`, or a root that is no part of DASH.
pub(super) fn scan(xml: &str) -> Result<Scan<'_>, ManifestFault> {
    let mut pass = Pass { xml, found: Scan::default(), open: Vec::new() };
    let mut reader = Reader::from_str(xml);
    reader.config_mut().enable_all_checks(true);
    loop {
        let before = position(&reader);
        let event = reader.read_event().map_err(|_| ManifestFault::Malformed)?;
        let span = before..position(&reader);
        match event {
            Event::Start(start) => pass.start(&start, span, false)?,
            Event::Empty(start) => pass.start(&start, span, true)?,
            Event::End(_) => pass.end(span.start)?,
            Event::CData(data) => pass.cdata(&data),
            Event::Text(text) => pass.text(&text)?,
            Event::GeneralRef(_) => pass.outside_root_is_malformed()?,
            Event::Comment(_) | Event::PI(_) => pass.break_text(),
            Event::DocType(_) => return Err(ManifestFault::Doctype),
            Event::Decl(_) => {}
            Event::Eof => return pass.finish(),
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

struct Pass<'x> {
    xml: &'x str,
    found: Scan<'x>,
    open: Vec<Open>,
}

impl<'x> Pass<'x> {
    fn start(&mut self, start: &BytesStart<'x>, span: Range<usize>, empty: bool) -> Result<(), ManifestFault> {
        self.break_text();
        if self.open.len() >= MAX_DEPTH {
            return Err(ManifestFault::TooComplex);
        }
        let local = start.local_name();
        let name = local.as_ref();
        if self.open.is_empty() {
            self.root(name)?;
        }
        let outer = self.open.last().map(|open| open.node);
        let node = match (outer, name) {
            (None, _) | (Some(_), "Period" | "AdaptationSet" | "EmptyAdaptationSet" | "Representation") => {
                self.found.nodes.push(Node { parent: outer, ..Node::default() });
                self.found.nodes.len() - 1
            }
            (Some(node), _) => node,
        };
        self.attributes(name, start, node)?;
        if !empty {
            let text = text_place(name).map(|place| TextLink { place, start: span.end, cdata: None, broken: false });
            self.open.push(Open { node, text });
        }
        Ok(())
    }

    fn root(&mut self, name: &str) -> Result<(), ManifestFault> {
        if !self.found.nodes.is_empty() {
            return Err(ManifestFault::Malformed);
        }
        match name {
            "MPD" => self.found.whole = true,
            // What a patch or an xlink gives.
            "Patch" | "Period" | "AdaptationSet" | "EventStream" | "SegmentList" => {}
            _ => return Err(ManifestFault::NotAManifest),
        }
        Ok(())
    }

    fn attributes(&mut self, element: &str, start: &BytesStart<'x>, node: usize) -> Result<(), ManifestFault> {
        let mut names_link = false;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| ManifestFault::Malformed)?;
            let (name, prefix) = attribute.key.decompose();
            let range = self.range_of(&attribute.value)?;
            let value = text::unescape(&self.xml[range.clone()])?;
            match (element, name.as_ref()) {
                ("MPD", key) if prefix.is_none() => self.fact(key, value.text()),
                ("Representation", "id") => {
                    let id = value.text();
                    self.found.hostile_id |= id.starts_with('/') || id.contains([':', '\\']);
                }
                _ => {}
            }
            let place = match attribute_place(element, name.as_ref()) {
                Some(place) if prefix.is_none() => place,
                // Any prefix, since the name space may be bound to any.
                None if prefix.is_some() && name.as_ref() == "href" => Place::Xlink,
                _ => continue,
            };
            names_link = true;
            self.found.nodes[node].names_segments |= matches!(place, Place::TemplateMedia | Place::SegmentMedia);
            self.found.sites.push(Site { range, value, form: Form::Escaped, place, node });
        }
        let byte_range_of_base = matches!(element, "SegmentURL" | "Initialization" | "RepresentationIndex") && !names_link;
        self.found.nodes[node].uses_base |= byte_range_of_base;
        Ok(())
    }

    /// Where a borrowed piece of the input stands in it.
    fn range_of(&self, piece: &str) -> Result<Range<usize>, ManifestFault> {
        let start = (piece.as_ptr() as usize).wrapping_sub(self.xml.as_ptr() as usize);
        let range = start..start.wrapping_add(piece.len());
        // The reader lends what it read; were it ever to copy, refusing beats cutting elsewhere.
        if self.xml.get(range.clone()) == Some(piece) { Ok(range) } else { Err(ManifestFault::Malformed) }
    }

    fn fact(&mut self, name: &str, value: &str) {
        let facts = &mut self.found.facts;
        match name {
            "type" => facts.live = value == "dynamic",
            "mediaPresentationDuration" => facts.duration = text::duration(value),
            "maxSegmentDuration" | "minimumUpdatePeriod" => {
                let seconds = text::duration(value).map(|d| d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0)));
                let seconds = seconds.map(|s| u32::try_from(s).unwrap_or(u32::MAX));
                facts.target_duration = facts.target_duration.max(seconds);
            }
            _ => {}
        }
    }

    fn cdata(&mut self, data: &str) {
        let range = self.range_of(data);
        let Some(link) = self.open.last_mut().and_then(|open| open.text.as_mut()) else { return };
        match range {
            Ok(range) if link.cdata.is_none() => link.cdata = Some(range),
            _ => link.broken = true,
        }
    }

    fn text(&self, text: &str) -> Result<(), ManifestFault> {
        if text.trim().is_empty() { Ok(()) } else { self.outside_root_is_malformed() }
    }

    fn outside_root_is_malformed(&self) -> Result<(), ManifestFault> {
        if self.open.is_empty() { Err(ManifestFault::Malformed) } else { Ok(()) }
    }

    fn break_text(&mut self) {
        if let Some(link) = self.open.last_mut().and_then(|open| open.text.as_mut()) {
            link.broken = true;
        }
    }

    fn end(&mut self, content_end: usize) -> Result<(), ManifestFault> {
        let open = self.open.pop().ok_or(ManifestFault::Malformed)?;
        let Some(link) = open.text else { return Ok(()) };
        let site = self.text_site(&link, content_end, open.node)?;
        if link.place == Place::BaseUrl {
            self.found.nodes[open.node].bases.push(self.found.sites.len());
        }
        self.found.sites.push(site);
        Ok(())
    }

    fn text_site(&self, link: &TextLink, end: usize, node: usize) -> Result<Site<'x>, ManifestFault> {
        let xml: &'x str = self.xml;
        let unreadable = Site { range: end..end, value: Expanded::plain(""), form: Form::Unreadable, place: link.place, node };
        if link.broken {
            return Ok(unreadable);
        }
        let (range, form) = match &link.cdata {
            None => (link.start..end, Form::Escaped),
            Some(cdata) => {
                // `<![CDATA[` and `]]>` around it, white space around those, nothing else.
                let around = (xml.get(link.start..cdata.start), xml.get(cdata.end..end));
                let (Some(before), Some(after)) = around else { return Ok(unreadable) };
                if before.trim_start() != "<![CDATA[" || after.trim_end() != "]]>" {
                    return Ok(unreadable);
                }
                (cdata.clone(), Form::Cdata)
            }
        };
        let range = trimmed(xml, range);
        let raw = &xml[range.clone()];
        let value = if form == Form::Cdata { Expanded::plain(raw) } else { text::unescape(raw)? };
        Ok(Site { range, value, form, place: link.place, node })
    }

    fn finish(self) -> Result<Scan<'x>, ManifestFault> {
        if self.found.nodes.is_empty() {
            return Err(ManifestFault::NotAManifest);
        }
        if self.open.is_empty() { Ok(self.found) } else { Err(ManifestFault::Malformed) }
    }
}

/// XML white space at both ends is no part of an `xs:anyURI`.
fn trimmed(xml: &str, range: Range<usize>) -> Range<usize> {
    let white = [' ', '\t', '\r', '\n'];
    let raw = &xml[range.clone()];
    let start = range.start + raw.len() - raw.trim_start_matches(white).len();
    start..start + raw.trim_matches(white).len()
}

fn text_place(element: &str) -> Option<Place> {
    match element {
        "BaseURL" => Some(Place::BaseUrl),
        "Location" => Some(Place::Location),
        "PatchLocation" => Some(Place::PatchLocation),
        "ContentSteering" => Some(Place::ContentSteering),
        _ => None,
    }
}

fn attribute_place(element: &str, attribute: &str) -> Option<Place> {
    Some(match (element, attribute) {
        ("SegmentTemplate", "media") => Place::TemplateMedia,
        ("SegmentTemplate" | "InitializationSet", "initialization") => Place::TemplateInitialization,
        ("SegmentTemplate", "index") => Place::TemplateIndex,
        ("SegmentTemplate", "bitstreamSwitching") | ("BitstreamSwitching", "sourceURL") => Place::BitstreamSwitching,
        ("SegmentURL", "media") => Place::SegmentMedia,
        ("SegmentURL", "index") => Place::SegmentIndex,
        ("Initialization", "sourceURL") => Place::Initialization,
        ("RepresentationIndex", "sourceURL") => Place::RepresentationIndex,
        ("ContentSteering", "proxyServerURL") => Place::ContentSteering,
        _ => return None,
    })
}
