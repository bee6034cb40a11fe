//! HLS playlists (RFC 8216 and draft-pantos-hls-rfc8216bis), edited line by line.
//!
//! Only the bytes of a link that changes are replaced: unknown tags, comments, line ends, a byte order
//! mark and a missing last line end stay. A lone CR is no line end here; a link that holds one is
//! left alone, since some players would end it there.
//!
//! Variables: a link that names variables of this playlist is judged with their values put in. Where the
//! change falls outside the variables they stay; else the link is written out. A `VALUE` that is an
//! absolute address, and stands at the very beginning of every link of this playlist that names it, is
//! itself mapped ([`Place::Define`]), so that media playlists which `IMPORT` it follow; but not where the
//! playlist names any other host, since a playlist there could import it too. A root-relative `VALUE`
//! never is: glued behind another host it would carry the ticket there.

mod asset_list;
mod attributes;
mod variables;

use std::time::Duration;

pub use asset_list::rewrite_asset_list;
use attributes::attributes;
use variables::Variables;

use super::splice::{Editor, Expanded};
use super::{Facts, Limits, Link, Links, ManifestFault, Place, Rewritten};

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Most `VALUE`s looked at for mapping: each look reads the whole playlist.
const MAX_VALUES: usize = 16;

/// Maps every link of a playlist.
///
/// # Errors
/// [`ManifestFault::NotAManifest`] without `#EXTM3U` at the start (RFC 8216 §4.3.1.1); [`ManifestFault::TooLarge`].
pub fn rewrite<'b>(body: &'b [u8], links: &dyn Links, limits: Limits) -> Result<Rewritten<'b>, ManifestFault> {
    if body.len() > limits.input {
        return Err(ManifestFault::TooLarge);
    }
    let start = if body.starts_with(BOM) { BOM.len() } else { 0 };
    if !body[start..].starts_with(b"#EXTM3U") {
        return Err(ManifestFault::NotAManifest);
    }
    let mut walk = Walk {
        body,
        links,
        editor: Editor::new(body, limits.output),
        variables: Variables::default(),
        values_left: MAX_VALUES,
        expanded: 0,
        limits,
        facts: Facts { live: true, ..Facts::default() },
        seconds: 0.0,
        variant_follows: false,
    };
    let mut at = start;
    for line in body[start..].split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        walk.line(at, content)?;
        at += line.len();
    }
    walk.finish()
}

struct Walk<'b, 'l> {
    body: &'b [u8],
    links: &'l dyn Links,
    editor: Editor<'b>,
    variables: Variables,
    values_left: usize,
    /// Bytes of links with variables put in.
    expanded: usize,
    limits: Limits,
    facts: Facts,
    seconds: f64,
    variant_follows: bool,
}

impl<'b> Walk<'b, '_> {
    fn line(&mut self, at: usize, line: &'b [u8]) -> Result<(), ManifestFault> {
        if line.starts_with(b"#EXT") {
            // A line that is not text holds no link a player could follow.
            return std::str::from_utf8(line).map_or(Ok(()), |line| self.tag(at, line));
        }
        let Ok(text) = std::str::from_utf8(line) else { return Ok(()) };
        let link = text.trim_matches([' ', '\t']);
        if link.is_empty() || link.starts_with('#') {
            return Ok(());
        }
        let place = if std::mem::take(&mut self.variant_follows) { Place::Variant } else { Place::Segment };
        let lead = text.len() - text.trim_start_matches([' ', '\t']).len();
        self.map(at + lead, link, place, false)
    }

    fn tag(&mut self, at: usize, line: &'b str) -> Result<(), ManifestFault> {
        let (name, list) = line.split_once(':').unwrap_or((line, ""));
        let list_at = at + line.len() - list.len();
        let places: &[(&str, Place)] = match name {
            "#EXTINF" => {
                self.seconds += number(list);
                return Ok(());
            }
            "#EXT-X-TARGETDURATION" => {
                // RFC 8216 §4.3.3.1 says integer; fractions are written all the same.
                self.facts.target_duration = Some(number(list).ceil() as u32).filter(|seconds| *seconds > 0);
                return Ok(());
            }
            "#EXT-X-PLAYLIST-TYPE" => {
                self.facts.live &= list.trim() != "VOD";
                return Ok(());
            }
            "#EXT-X-ENDLIST" => {
                self.facts.live = false;
                return Ok(());
            }
            "#EXT-X-STREAM-INF" => {
                self.facts.is_multivariant = true;
                self.variant_follows = true;
                &[("URI", Place::Other)]
            }
            "#EXT-X-PREFETCH" => return self.map(list_at, list, Place::Prefetch, false),
            "#EXT-X-DEFINE" => return self.define(list_at, list),
            _ => places(name),
        };
        self.facts.is_multivariant |= matches!(places, [(_, Place::Media | Place::IFrame | Place::SessionKey | Place::Image)]);
        for attribute in attributes(list) {
            if let Some((_, place)) = places.iter().find(|(wanted, _)| *wanted == attribute.name) {
                self.map(list_at + attribute.value.start, &list[attribute.value.clone()], *place, !attribute.quoted)?;
            }
        }
        Ok(())
    }

    /// Maps the link that stands at `at`; `bare` is an attribute value without quotes.
    fn map(&mut self, at: usize, raw: &'b str, place: Place, bare: bool) -> Result<(), ManifestFault> {
        let link = raw.trim_matches(' ');
        let at = at + raw.len() - raw.trim_start_matches(' ').len();
        let Some(expanded) = self.variables.expand(link) else { return Ok(()) };
        if link.contains("{$") {
            self.expanded += expanded.text().len();
            if self.expanded > self.limits.output {
                return Err(ManifestFault::TooComplex);
            }
        }
        let Some(mapped) = self.mapped(&expanded, place) else { return Ok(()) };
        let (range, with) = expanded.edit(&mapped);
        if bare && with.contains(',') {
            return Ok(());
        }
        self.editor.replace(at + range.start..at + range.end, with)
    }

    fn mapped(&self, expanded: &Expanded<'_>, place: Place) -> Option<String> {
        let mapped = self.links.map(&Link { uri: expanded.text(), place, bases: &[] })?;
        let fits = !mapped.is_empty() && !mapped.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'"');
        (fits && mapped != expanded.text()).then_some(mapped)
    }

    /// draft-pantos-hls-rfc8216bis §4.4.2.3: `NAME` with `VALUE`, `IMPORT` or `QUERYPARAM`.
    fn define(&mut self, at: usize, list: &'b str) -> Result<(), ManifestFault> {
        let find = |wanted: &str| attributes(list).find(|a| a.name == wanted).map(|a| a.value);
        if let Some(outside) = find("IMPORT").or_else(|| find("QUERYPARAM")) {
            self.variables.define(&list[outside], None);
        }
        let (Some(name), Some(value)) = (find("NAME"), find("VALUE")) else { return Ok(()) };
        let (name, written) = (&list[name], &list[value.clone()]);
        let Some(meant) = self.variables.expand(written) else {
            self.variables.define(name, None);
            return Ok(());
        };
        let known = meant.text().to_owned();
        let names_host = written.starts_with("//") || written.contains("://");
        if names_host
            && !written.contains("{$")
            && self.may_map_value(name)
            && let Some(mapped) = self.mapped(&meant, Place::Define)
        {
            self.variables.define(name, Some(&mapped));
            return self.editor.replace(at + value.start..at + value.end, &mapped);
        }
        // What still names an unknown variable is unknown itself.
        self.variables.define(name, (!known.contains("{$")).then_some(known.as_str()));
        Ok(())
    }

    /// Whether a `VALUE` may carry what [`Links`] puts in: no other host is named, and the variable stands first wherever it is used.
    fn may_map_value(&mut self, name: &str) -> bool {
        if self.values_left == 0 {
            return false;
        }
        self.values_left -= 1;
        self.names_one_host() && self.stands_first(name)
    }

    /// Whether every `//` of the playlist is followed by its own host.
    fn names_one_host(&self) -> bool {
        let host = self.links.document().host().as_bytes();
        let mut rest = self.body;
        while let Some(found) = rest.windows(2).position(|pair| pair == b"//") {
            rest = &rest[found + 2..];
            let end = rest.iter().position(|b| matches!(b, b'/' | b':' | b'?' | b'#' | b'"' | b'\r' | b'\n')).unwrap_or(rest.len());
            if !rest[..end].eq_ignore_ascii_case(host) {
                return false;
            }
        }
        true
    }

    /// Whether every use of variable `name` is at the beginning of a line or of a quoted value.
    fn stands_first(&self, name: &str) -> bool {
        let reference = format!("{{${name}}}");
        let reference = reference.as_bytes();
        let mut from = 0;
        while let Some(found) = self.body[from..].iter().position(|&b| b == b'{').map(|p| from + p) {
            if self.body[found..].starts_with(reference) && !matches!(self.body[..found].last(), Some(b'\n' | b'"')) {
                return false;
            }
            from = found + 1;
        }
        true
    }

    fn finish(self) -> Result<Rewritten<'b>, ManifestFault> {
        let mut facts = self.facts;
        facts.live &= !facts.is_multivariant;
        facts.duration = (!facts.is_multivariant).then(|| Duration::try_from_secs_f64(self.seconds).ok()).flatten();
        let (body, changed) = self.editor.finish()?;
        Ok(Rewritten { body, facts, changed })
    }
}

/// Attributes of a tag that hold links. Any other tag's `URI` is one too: vendors add tags.
fn places(tag: &str) -> &'static [(&'static str, Place)] {
    match tag {
        "#EXT-X-KEY" => &[("URI", Place::Key)],
        "#EXT-X-SESSION-KEY" => &[("URI", Place::SessionKey)],
        "#EXT-X-MAP" => &[("URI", Place::Map)],
        "#EXT-X-MEDIA" => &[("URI", Place::Media)],
        "#EXT-X-I-FRAME-STREAM-INF" => &[("URI", Place::IFrame)],
        "#EXT-X-IMAGE-STREAM-INF" => &[("URI", Place::Image)],
        "#EXT-X-PART" => &[("URI", Place::Part)],
        "#EXT-X-PRELOAD-HINT" => &[("URI", Place::PreloadHint)],
        "#EXT-X-RENDITION-REPORT" => &[("URI", Place::RenditionReport)],
        "#EXT-X-SESSION-DATA" => &[("URI", Place::SessionData)],
        "#EXT-X-CONTENT-STEERING" => &[("SERVER-URI", Place::Steering)],
        "#EXT-X-DATERANGE" => &[("X-ASSET-URI", Place::AssetUri), ("X-ASSET-LIST", Place::AssetList), ("URI", Place::Other)],
        _ => &[("URI", Place::Other)],
    }
}

/// The seconds of `EXTINF`; what is no sensible number counts nothing.
fn number(list: &str) -> f64 {
    let text = list.split(',').next().unwrap_or("").trim();
    text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0).unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
