//! What a path of Mux asks for: which kind of resource, of which playback id.

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Thumbnail,
    Gif,
    Storyboard,
    Drm,
    Counts,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Video, Self::Thumbnail, Self::Gif, Self::Storyboard, Self::Drm, Self::Counts];

    /// The `aud` values of its tokens.
    pub(super) const fn audiences(self) -> &'static [&'static str] {
        match self {
            Self::Video => &["v"],
            Self::Thumbnail => &["t"],
            Self::Gif => &["g"],
            Self::Storyboard => &["s"],
            Self::Drm => &["d"],
            Self::Counts => &["playback_id", "video_id", "asset_id", "live_stream_id"],
        }
    }

    /// The kind of an `aud` value.
    pub(super) fn of_audience(audience: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.audiences().contains(&audience))
    }
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource<'p> {
    pub(super) kind: Kind,
    /// The playback id; `None` for viewer counts, which have it in the token only.
    pub(super) id: Option<&'p str>,
}

impl<'p> Resource<'p> {
    /// What `path`, the part below the route's prefix, asks for.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let first = segments.next().filter(|first| !first.is_empty())?;
        let second = segments.next().filter(|second| !second.is_empty());
        let (kind, id) = match (first, second) {
            ("counts", None) => return Some(Self { kind: Kind::Counts, id: None }),
            // license.mux.com: /license/widevine/{id}, /license/fairplay/{id}, /appcert/fairplay/{id}.
            ("license" | "appcert", Some(_)) => (Kind::Drm, segments.next().filter(|id| !id.is_empty())?),
            (id, None) => (Kind::Video, stem(id)),
            (id, Some(file)) => (kind_of_file(file), id),
        };
        (!id.is_empty()).then_some(Self { kind, id: Some(id) })
    }
}

/// The file decides by its name; what is none of the images belongs to the video (renditions, playlists, tracks).
fn kind_of_file(file: &str) -> Kind {
    match stem(file).to_ascii_lowercase().as_str() {
        "thumbnail" => Kind::Thumbnail,
        "animated" => Kind::Gif,
        "storyboard" => Kind::Storyboard,
        _ => Kind::Video,
    }
}

fn stem(file: &str) -> &str {
    file.split(['.', ';']).next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_ask_for_kinds() {
        use Kind::{Counts, Drm, Gif, Storyboard, Thumbnail, Video};
        for (path, expected) in [
            ("/abc.m3u8", Some((Video, Some("abc")))),
            ("/abc", Some((Video, Some("abc")))),
            ("/abc/high.mp4", Some((Video, Some("abc")))),
            ("/abc/text/t1.vtt", Some((Video, Some("abc")))),
            ("/abc/thumbnail.png", Some((Thumbnail, Some("abc")))),
            ("/abc/Thumbnail.webp", Some((Thumbnail, Some("abc")))),
            ("/abc/animated.webp", Some((Gif, Some("abc")))),
            ("/abc/storyboard.vtt", Some((Storyboard, Some("abc")))),
            ("/abc/storyboard.jpg", Some((Storyboard, Some("abc")))),
            ("/license/widevine/abc", Some((Drm, Some("abc")))),
            ("/appcert/fairplay/abc", Some((Drm, Some("abc")))),
            ("/license/widevine", None),
            ("/counts", Some((Counts, None))),
            ("/.m3u8", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Resource::of(path).map(|resource| (resource.kind, resource.id)), expected, "{path}");
        }
    }

    #[test]
    fn a_token_of_one_kind_opens_no_other() {
        for kind in Kind::ALL {
            for audience in kind.audiences() {
                assert_eq!(Kind::of_audience(audience), Some(kind));
            }
        }
        assert_eq!(Kind::of_audience("x"), None);
    }
}
