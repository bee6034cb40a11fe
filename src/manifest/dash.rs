//! DASH manifests (ISO/IEC 23009-1), edited in place: only the bytes of a link that changes are replaced.
//!
//! A link is resolved against a chain of `BaseURL`s, and a template given at an `AdaptationSet` serves
//! every `Representation` below, so a link is judged against **every** base it may meet. `Location`,
//! `PatchLocation` and `ContentSteering` are resolved against the manifest's own address, as players do.
//! What is not known is not guessed: in a patch or a remote element (`xlink`), whose bases stand in
//! another document, only links that name their host can get a ticket.
//!
//! Left alone: `UTCTiming`, license servers, descriptors, and a `BaseURL` broken up by comments.

mod scan;
mod text;

use std::rc::Rc;

use scan::{Form, Node, Scan, Site, scan};

use super::splice::Editor;
use super::{Absolute, Limits, Link, Links, ManifestFault, Place, Rewritten};

/// Most alternatives of one element's base (every `BaseURL` multiplies those above).
const MAX_BASES: usize = 64;
/// Most bases below one element; with more it counts as served from places not known.
const MAX_REACH: usize = 512;
/// Most bases of all elements together, and most judgements.
const MAX_ALL: usize = 1 << 17;
const MAX_WORK: usize = 1 << 21;

/// The bases a link may meet.
type Bases = Vec<Option<Absolute>>;
/// The same, shared by the elements that add none of their own.
type Shared = Rc<Bases>;

/// Maps every link of a manifest, a patch or a remote element.
///
/// # Errors
/// [`ManifestFault::NotUtf8`], [`ManifestFault::Malformed`], [`ManifestFault::Doctype`],
/// [`ManifestFault::NotAManifest`] for another root element, [`ManifestFault::TooLarge`], [`ManifestFault::TooComplex`].
pub fn rewrite<'b>(body: &'b [u8], links: &dyn Links, limits: Limits) -> Result<Rewritten<'b>, ManifestFault> {
    if body.len() > limits.input {
        return Err(ManifestFault::TooLarge);
    }
    let xml = std::str::from_utf8(body).map_err(|_| ManifestFault::NotUtf8)?;
    let unmarked = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    let offset = xml.len() - unmarked.len();
    let mut found = scan(unmarked)?;
    mark_media(&mut found);
    let mut mapped: Vec<Option<String>> = vec![None; found.sites.len()];
    let reach = Reach::new(&found, links, &mut mapped)?;
    for (site, mapped) in found.sites.iter().zip(&mut mapped) {
        if !matches!(site.place, Place::BaseUrl | Place::BaseUrlMedia) {
            *mapped = reach.map(site, links);
        }
    }
    let mut editor = Editor::new(body, limits.output);
    for (site, mapped) in found.sites.iter().zip(&mapped) {
        if let Some(mapped) = mapped {
            write(&mut editor, site, mapped, offset)?;
        }
    }
    let (body, changed) = editor.finish()?;
    Ok(Rewritten { body, facts: found.facts, changed })
}

fn write(editor: &mut Editor<'_>, site: &Site<'_>, mapped: &str, offset: usize) -> Result<(), ManifestFault> {
    let (range, with) = site.value.edit(mapped);
    let start = offset + site.range.start;
    let range = start + range.start..start + range.end;
    if site.form == Form::Cdata { editor.replace(range, with) } else { editor.replace(range, &text::escape(with)) }
}

/// Maps one link against `bases`; empty when they are the manifest's own address.
fn map(site: &Site<'_>, place: Place, bases: &[Option<Absolute>], links: &dyn Links) -> Option<String> {
    let uri = site.value.text();
    if site.form == Form::Unreadable || uri.is_empty() {
        return None;
    }
    let bases = if matches!(bases, [Some(only)] if only == links.document()) { &[] } else { bases };
    let mapped = links.map(&Link { uri, place, bases })?;
    let fits = !mapped.is_empty() && !mapped.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'"') && !mapped.contains("]]>");
    (fits && mapped != uri).then_some(mapped)
}

/// Tells the `BaseURL`s that are fetched themselves from those that others are resolved against: the
/// nearest one of an element below which segments are not named, or that reads byte ranges of it.
fn mark_media(found: &mut Scan<'_>) {
    let has_children = children(&found.nodes);
    for (index, has_children) in has_children.into_iter().enumerate() {
        let chain = || std::iter::successors(Some(&found.nodes[index]), |node| node.parent.map(|parent| &found.nodes[parent]));
        let names = chain().any(|node| node.names_segments);
        let uses = chain().any(|node| node.uses_base);
        if has_children || names && !uses {
            continue;
        }
        let nearest = chain().find(|node| !node.bases.is_empty()).map_or(&[][..], |node| &node.bases);
        for &base in nearest {
            found.sites[base].place = Place::BaseUrlMedia;
        }
    }
}

fn children(nodes: &[Node]) -> Vec<bool> {
    let mut has = vec![false; nodes.len()];
    for parent in nodes.iter().filter_map(|node| node.parent) {
        has[parent] = true;
    }
    has
}

/// For every element, the bases of the elements it serves.
struct Reach {
    at: Vec<Shared>,
    document: Shared,
    hostile_id: bool,
}

impl Reach {
    /// Maps the `BaseURL`s on the way, since what stands below is resolved against what the player will read.
    fn new(found: &Scan<'_>, links: &dyn Links, mapped: &mut [Option<String>]) -> Result<Self, ManifestFault> {
        let document = Rc::new(vec![found.whole.then(|| links.document().clone())]);
        let mut at: Vec<Shared> = Vec::with_capacity(found.nodes.len());
        let mut all = 0;
        for node in &found.nodes {
            let above = node.parent.map_or(&document, |parent| &at[parent]);
            all += node.bases.len() * above.len();
            if all > MAX_ALL || node.bases.len() > MAX_BASES {
                return Err(ManifestFault::TooComplex);
            }
            let own = if node.bases.is_empty() { Rc::clone(above) } else { Rc::new(own_bases(found, node, above, links, mapped)?) };
            at.push(own);
        }
        gather(&found.nodes, &mut at);
        let work = found.sites.iter().map(|site| at[site.node].len()).fold(0, usize::saturating_add);
        if work > MAX_WORK { Err(ManifestFault::TooComplex) } else { Ok(Self { at, document, hostile_id: found.hostile_id }) }
    }

    fn map(&self, site: &Site<'_>, links: &dyn Links) -> Option<String> {
        let uri = site.value.text();
        let by_id = uri.strip_prefix('/').unwrap_or(uri).starts_with("$RepresentationID$");
        if self.hostile_id && by_id {
            return None;
        }
        match site.place {
            Place::Location | Place::PatchLocation | Place::ContentSteering => map(site, site.place, &self.document, links),
            Place::Xlink => {
                let mut bases = Bases::clone(&self.document);
                add(&mut bases, &self.at[site.node]);
                map(site, site.place, &bases, links)
            }
            place => map(site, place, &self.at[site.node], links),
        }
    }
}

/// Turns what each element is resolved against into what the elements it serves are resolved against.
fn gather(nodes: &[Node], at: &mut [Shared]) {
    let mut inner: Vec<Bases> = vec![Bases::new(); nodes.len()];
    // Most elements share their parent's bases: those are added once.
    let mut has_own = vec![false; nodes.len()];
    for index in (0..nodes.len()).rev() {
        let below = std::mem::take(&mut inner[index]);
        if !below.is_empty() && below != *at[index] {
            at[index] = Rc::new(if below.len() > MAX_REACH { vec![None] } else { below });
        }
        // Past the limit the parent is past it too: no need to compare on.
        let Some(parent) = nodes[index].parent.filter(|parent| inner[*parent].len() <= MAX_REACH) else { continue };
        let shared = Rc::ptr_eq(&at[index], &at[parent]);
        if !shared || !std::mem::replace(&mut has_own[parent], true) {
            add(&mut inner[parent], &at[index]);
        }
    }
}

fn own_bases(
    found: &Scan<'_>,
    node: &Node,
    above: &Bases,
    links: &dyn Links,
    mapped: &mut [Option<String>],
) -> Result<Bases, ManifestFault> {
    let mut own = Bases::new();
    for &index in &node.bases {
        let site = &found.sites[index];
        mapped[index] = map(site, site.place, above, links);
        let written = mapped[index].as_deref().unwrap_or(site.value.text());
        for base in above {
            let joined = match base {
                _ if site.form == Form::Unreadable => None,
                Some(base) => base.join(written),
                None => Absolute::parse(written),
            };
            add(&mut own, &[joined]);
        }
        if own.len() > MAX_BASES {
            return Err(ManifestFault::TooComplex);
        }
    }
    Ok(own)
}

fn add(to: &mut Bases, more: &[Option<Absolute>]) {
    for base in more {
        if !to.contains(base) {
            to.push(base.clone());
        }
    }
}

#[cfg(test)]
mod tests;
