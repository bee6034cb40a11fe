//! Playlist rewriting: HLS and DASH bytes plus a link mapper in, bytes out.
//!
//! The editors know where links stand; a [`Links`] decides what becomes of each. Two promises hold
//! for both formats: every byte that is not part of a changed link comes out as it came in, and the
//! editors follow no link themselves. [`link::Resolver`] is the mapper that carries a session's
//! ticket, and the only place that decides which host may see it.

pub mod dash;
pub mod encoding;
pub mod hls;
pub mod link;
mod splice;
pub mod uri;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use link::{HostRule, Mode, Resolver};
pub use uri::Absolute;

/// The two playlist formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RFC 8216 and its successor draft.
    Hls,
    /// ISO/IEC 23009-1, patches (`application/dash-patch+xml`) included.
    Dash,
}

/// Where a link stands: what an opt-out names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// HLS: the URI line of a media segment.
    Segment,
    /// HLS: the URI line after `EXT-X-STREAM-INF`.
    Variant,
    /// HLS: `EXT-X-KEY`.
    Key,
    /// HLS: `EXT-X-SESSION-KEY`.
    SessionKey,
    /// HLS: `EXT-X-MAP`.
    Map,
    /// HLS: `EXT-X-MEDIA`.
    Media,
    /// HLS: `EXT-X-I-FRAME-STREAM-INF`.
    #[serde(rename = "iframe")]
    IFrame,
    /// HLS: `EXT-X-IMAGE-STREAM-INF`.
    Image,
    /// HLS: `EXT-X-PART`.
    Part,
    /// HLS: `EXT-X-PRELOAD-HINT`.
    PreloadHint,
    /// HLS: `EXT-X-PREFETCH`, the older low-latency hint whose whole value is the link.
    Prefetch,
    /// HLS: `EXT-X-RENDITION-REPORT`.
    RenditionReport,
    /// HLS: `EXT-X-SESSION-DATA`.
    SessionData,
    /// HLS: `EXT-X-CONTENT-STEERING` (`SERVER-URI`).
    Steering,
    /// HLS: `EXT-X-DATERANGE` (`X-ASSET-URI`).
    AssetUri,
    /// HLS: `EXT-X-DATERANGE` (`X-ASSET-LIST`).
    AssetList,
    /// HLS: `EXT-X-DEFINE`, a `VALUE` that is the beginning of links.
    Define,
    /// HLS: the attribute `URI` of any other tag.
    Other,
    /// DASH: a `BaseURL` that other links are resolved against. Its query is lost on the way (RFC 3986 §5.2.2).
    BaseUrl,
    /// DASH: a `BaseURL` that is itself fetched (one file a Representation).
    BaseUrlMedia,
    /// DASH: `SegmentTemplate@media`.
    TemplateMedia,
    /// DASH: `initialization` of a `SegmentTemplate` or an `InitializationSet`.
    TemplateInitialization,
    /// DASH: `SegmentTemplate@index`.
    TemplateIndex,
    /// DASH: `bitstreamSwitching` of a `SegmentTemplate`, or a `BitstreamSwitching` element.
    BitstreamSwitching,
    /// DASH: `SegmentURL@media`.
    SegmentMedia,
    /// DASH: `SegmentURL@index`.
    SegmentIndex,
    /// DASH: `Initialization@sourceURL`.
    Initialization,
    /// DASH: `RepresentationIndex@sourceURL`.
    RepresentationIndex,
    /// DASH: `Location`.
    Location,
    /// DASH: `PatchLocation`.
    PatchLocation,
    /// DASH: `ContentSteering`, its text and its `proxyServerURL`.
    ContentSteering,
    /// DASH: `xlink:href`.
    Xlink,
}

/// One link of a playlist.
#[derive(Debug, Clone, Copy)]
pub struct Link<'l> {
    /// The reference, unescaped, variables put in where they are known.
    pub uri: &'l str,
    /// Where it stands.
    pub place: Place,
    /// What it is resolved against, as the player sees it: every alternative (DASH names several
    /// `BaseURL`s); `None` is one that cannot be known or is no web address. Empty: the playlist's own address.
    pub bases: &'l [Option<Absolute>],
}

/// Decides what becomes of links.
pub trait Links {
    /// The address of the playlist as the player sees it.
    fn document(&self) -> &Absolute;

    /// What to write instead of `link.uri`; `None` leaves it byte for byte. A text with controls or
    /// quotes in it is not written.
    fn map(&self, link: &Link<'_>) -> Option<String>;
}

/// What a session needs to know of a playlist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// HLS: `EXT-X-TARGETDURATION`. DASH: the longer of `maxSegmentDuration` and
    /// `minimumUpdatePeriod`. In whole seconds, rounded up.
    pub target_duration: Option<u32>,
    /// HLS: a media playlist without `EXT-X-ENDLIST`. DASH: `type="dynamic"`. A multivariant playlist
    /// does not say, and is `false`.
    pub live: bool,
    /// HLS: the sum of `EXTINF` (of a live playlist, its window). DASH: `mediaPresentationDuration`.
    pub duration: Option<Duration>,
    /// HLS: whether it lists playlists rather than segments. DASH: `false`.
    pub is_multivariant: bool,
}

/// A playlist after the editor went through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten<'b> {
    /// The bytes; borrowed when no link changed, so that a validator (`ETag`) and a digest still hold.
    pub body: Cow<'b, [u8]>,
    /// What was read on the way.
    pub facts: Facts,
    /// How many links were changed.
    pub changed: usize,
}

/// Sizes an editor stops at, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest playlist read.
    pub input: usize,
    /// Longest playlist written: a ticket on each of very many short links multiplies.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { input: 8 << 20, output: 32 << 20 }
    }
}

/// Why a body was not rewritten. [`ManifestFault::NotAManifest`] is served as it came; with any other
/// the body may hold links that no ticket reached, so the answer is 502, or the body as it came where
/// the operator prefers a player that fails later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// Not what its type or name promised; nothing in it is ours to touch.
    #[error("not a playlist")]
    NotAManifest,
    /// Longer than [`Limits`] allow, before or after decoding or rewriting.
    #[error("playlist too large")]
    TooLarge,
    /// Decodes to more than a hundred times its size.
    #[error("playlist compressed beyond reason")]
    TooDense,
    /// A content coding other than gzip, deflate or br.
    #[error("content coding not known")]
    UnknownEncoding,
    /// Compressed data that does not decode or does not end.
    #[error("compressed data broken")]
    BrokenEncoding,
    /// Not UTF-8.
    #[error("playlist is not UTF-8")]
    NotUtf8,
    /// XML that is not well-formed, or names an entity beyond the five.
    #[error("XML not well-formed")]
    Malformed,
    /// A `DOCTYPE`: no playlist needs one, and entities are what attacks are made of.
    #[error("DOCTYPE not allowed")]
    Doctype,
    /// Nested too deep, or too many alternatives to judge each.
    #[error("playlist too complex")]
    TooComplex,
}

/// Which format a body is, by `Content-Type`; where that is missing or says nothing, by the file name of `path`.
#[must_use]
pub fn kind_of(content_type: Option<&str>, path: &str) -> Option<Kind> {
    let essence = content_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        // RFC 8216 §4 and §10; the older names are what servers still send.
        "application/vnd.apple.mpegurl"
        | "application/x-mpegurl"
        | "application/mpegurl"
        | "audio/mpegurl"
        | "audio/x-mpegurl"
        | "video/mpegurl"
        | "video/x-mpegurl" => Some(Kind::Hls),
        "application/dash+xml" | "application/dash-patch+xml" | "video/vnd.mpeg.dash.mpd" => Some(Kind::Dash),
        "" | "text/plain" | "application/octet-stream" | "binary/octet-stream" | "application/xml" | "text/xml" => kind_by_name(path),
        _ => None,
    }
}

fn kind_by_name(path: &str) -> Option<Kind> {
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    if extension.eq_ignore_ascii_case("m3u8") || extension.eq_ignore_ascii_case("m3u") {
        Some(Kind::Hls)
    } else if extension.eq_ignore_ascii_case("mpd") {
        Some(Kind::Dash)
    } else {
        None
    }
}

/// [`hls::rewrite`] or [`dash::rewrite`].
///
/// # Errors
/// The first [`ManifestFault`] met.
pub fn rewrite<'b>(kind: Kind, body: &'b [u8], links: &dyn Links, limits: Limits) -> Result<Rewritten<'b>, ManifestFault> {
    match kind {
        Kind::Hls => hls::rewrite(body, links, limits),
        Kind::Dash => dash::rewrite(body, links, limits),
    }
}
