//! What the config says of uploads: a route's `[routes.upload]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::{OnFull, OnStoreError, Terms};
use crate::token::Grant;
use crate::units::{Period, Size};

/// A route's `[routes.upload]` table: what recorders may send, and how uploads are told apart and counted. An upload is a session of its
/// own, bound to the file and not to a connection. Limits that the token sets hold where they are tighter.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UploadConfig {
    /// Uploads at the same time on one token.
    #[schemars(range(min = 1))]
    pub concurrent_per_token: Option<u32>,
    /// Uploads at the same time of one subject, over all its tokens on this route.
    #[schemars(range(min = 1))]
    pub concurrent_per_subject: Option<u32>,
    /// Uploads over a token's whole life.
    #[schemars(range(min = 1))]
    pub total_per_token: Option<u32>,
    /// Bytes of one upload, all its parts together; of forms, with what stands around the file.
    pub max_bytes: Option<Size>,
    /// Media types of files, such as `video/*`. Empty: every type. A file that names none is `application/octet-stream`.
    pub content_types: Vec<String>,
    /// Bytes a second below which an upload is broken off, measured while the recorder is waited for.
    pub min_rate: Option<Size>,
    /// Over how much time of waiting `min_rate` is measured.
    pub min_rate_over: Period,
    /// How long an upload keeps its place between requests: recorders pause, and their network comes and goes.
    pub idle_timeout: Period,
    /// Longest time of one upload, pauses included.
    pub max_duration: Option<Period>,
    /// How long an upload that was let in may go on after its token's end. 0: it ends with the token.
    pub outlive: Period,
    /// Least life that an upload token of the provider's has left when an upload begins with it, at most half of its whole life: all
    /// requests of an upload go with the same one, and one that is nearer to its end is renewed first.
    pub min_credential_life: Period,
    /// What happens to an upload for which there is no place.
    pub on_full: OnFull,
    /// What happens when the shared session store does not answer.
    pub on_store_error: OnStoreError,
    /// Puts the `videoId` of an upload in parts, which api.video's answer to its first part named, on later parts whose client leaves it
    /// out, as several SDKs do.
    pub supply_video_id: bool,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self {
            concurrent_per_token: None,
            concurrent_per_subject: None,
            total_per_token: None,
            max_bytes: None,
            content_types: Vec::new(),
            min_rate: None,
            min_rate_over: Period::seconds(10),
            idle_timeout: Period::seconds(600),
            max_duration: None,
            outlive: Period::seconds(6 * 3600),
            min_credential_life: Period::seconds(15 * 60),
            on_full: OnFull::default(),
            on_store_error: OnStoreError::default(),
            supply_video_id: true,
        }
    }
}

impl UploadConfig {
    /// What does not make sense: the key, and a sentence on it.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for kind in &self.content_types {
            let part = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b));
            if !kind.split_once('/').is_some_and(|(kind, sub)| part(kind) && part(sub)) {
                faults.push(("content_types", format!("\"{kind}\" is not a media type: write `video/mp4` or `video/*`")));
            }
        }
        let seconds = [("idle_timeout", Some(self.idle_timeout)), ("max_duration", self.max_duration)];
        for (key, period) in seconds {
            if period.is_some_and(|period| period.as_unix() == 0) {
                faults.push((key, format!("`{key}` must be a second or more")));
            }
        }
        if self.min_rate_over.0.is_zero() {
            faults.push(("min_rate_over", "`min_rate_over` must be longer than nothing".to_owned()));
        }
        for (key, size) in [("max_bytes", self.max_bytes), ("min_rate", self.min_rate)] {
            if size.is_some_and(|size| size.0 == 0) {
                faults.push((key, format!("`{key}` must be more than nothing; leave it out for no limit")));
            }
        }
        faults
    }

    /// What holds for the session of an upload by `grant`.
    #[must_use]
    pub fn terms(&self, grant: &Grant) -> Terms {
        let seconds = |period: Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
        let tighter = |one: Option<u32>, other: Option<u32>| one.into_iter().chain(other).min();
        Terms {
            per_token: tighter(self.concurrent_per_token, grant.session.concurrent),
            per_subject: self.concurrent_per_subject,
            per_device: None,
            per_asset: None,
            total: tighter(self.total_per_token, grant.session.total),
            seconds: tighter(self.max_duration.map(seconds), grant.session.seconds),
            networks: None,
            network_window: 0,
            // Those are of answers; an upload's own are counted with it.
            bytes: None,
            on_full: self.on_full,
            idle: seconds(self.idle_timeout),
            idle_is_fixed: true,
            outlive: seconds(self.outlive),
        }
    }

    /// What the bytes of an upload by `grant` must keep to.
    #[must_use]
    pub fn bounds(&self, grant: &Grant) -> Bounds {
        let said = grant.upload.content_types.iter().map(|kind| kind.to_ascii_lowercase()).collect();
        let listed = self.content_types.iter().map(|kind| kind.to_ascii_lowercase()).collect();
        Bounds {
            bytes: self.max_bytes.map(|size| size.0).into_iter().chain(grant.upload.bytes).min(),
            content_types: [listed, said],
            credential_life: self.min_credential_life.as_unix(),
        }
    }
}

/// What the bytes of one upload must keep to.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Bytes of all its parts together.
    pub bytes: Option<u64>,
    /// Seconds that what it goes with has left at its begin.
    pub credential_life: i64,
    /// Media types, of the route and of the token; an empty list allows all.
    content_types: [Vec<String>; 2],
}

impl Bounds {
    /// Whether any list of types has to be asked.
    #[must_use]
    pub fn asks_type(&self) -> bool {
        self.content_types.iter().any(|list| !list.is_empty())
    }

    /// Whether a file of this type may be uploaded. One that names none could be anything.
    #[must_use]
    pub fn takes(&self, content_type: Option<&str>) -> bool {
        let said = content_type.and_then(|text| text.split(';').next()).map(str::trim).filter(|text| !text.is_empty());
        let said = said.unwrap_or("application/octet-stream").to_ascii_lowercase();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some("*/") => true,
            Some(prefix) => said.starts_with(prefix),
            None => *pattern == said,
        };
        self.content_types.iter().all(|list| list.is_empty() || list.iter().any(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::UploadTerms;

    #[test]
    fn the_tighter_limit_holds() {
        let config = UploadConfig {
            concurrent_per_token: Some(3),
            max_bytes: Some(Size(100)),
            content_types: vec!["video/*".into()],
            ..UploadConfig::default()
        };
        let mut grant = Grant::default();
        assert_eq!((config.terms(&grant).per_token, config.bounds(&grant).bytes), (Some(3), Some(100)));
        grant.session.concurrent = Some(1);
        grant.upload = UploadTerms { bytes: Some(10), content_types: vec!["video/mp4".into()] };
        let bounds = config.bounds(&grant);
        assert_eq!((config.terms(&grant).per_token, bounds.bytes), (Some(1), Some(10)));
        assert!(bounds.takes(Some("Video/MP4; codecs=avc1")) && !bounds.takes(Some("video/webm")) && !bounds.takes(None));
        grant.upload.bytes = Some(1000);
        assert_eq!(config.bounds(&grant).bytes, Some(100));
    }

    #[test]
    fn a_file_without_a_type_is_of_the_general_one() {
        let bounds = |list: &[&str]| Bounds {
            content_types: [list.iter().map(|kind| (*kind).to_owned()).collect(), Vec::new()],
            ..Bounds::default()
        };
        assert!(bounds(&[]).takes(None) && bounds(&["application/octet-stream"]).takes(None) && bounds(&["*/*"]).takes(None));
        assert!(!bounds(&["video/*"]).takes(None) && !bounds(&["video/*"]).takes(Some("videos/mp4")));
    }

    #[test]
    fn nonsense_is_named() {
        let config = UploadConfig {
            content_types: vec!["video".into(), "video/mp4".into()],
            idle_timeout: Period::seconds(0),
            max_bytes: Some(Size(0)),
            ..UploadConfig::default()
        };
        let keys: Vec<_> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["content_types", "idle_timeout", "max_bytes"]);
        assert!(UploadConfig::default().faults().is_empty());
    }
}
