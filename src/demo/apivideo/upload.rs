//! Uploads: one request, or parts by number or by bytes, in any order ("Progressive upload").

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http::Response;
use serde_json::json;

use super::videos::Video;
use super::{Apivideo, Problem, State};
use crate::clock::UnixTime;
use crate::demo::vendor::multipart::{Part, parts};
use crate::demo::vendor::{self, Call};

/// Most parts of a file.
const MOST_PARTS: u64 = 10_000;
/// Most bytes of a file in parts.
const MOST_BYTES: u64 = 52_428_800_000;

/// What has come of a file.
#[derive(Debug, Default)]
pub(super) enum Source {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    Whole(Bytes),
    /// Parts by number, and how many there are once that is known.
    Parts(BTreeMap<u64, Bytes>, Option<u64>),
    /// Parts by their first byte, and the length of all.
    Ranges(BTreeMap<u64, Bytes>, u64),
}

impl Source {
    pub(super) fn begun(&self) -> bool {
        match self {
            Self::None => false,
            Self::Whole(_) => true,
            // A first part that was refused began nothing.
            Self::Parts(parts, _) | Self::Ranges(parts, _) => !parts.is_empty(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::None => false,
            Self::Whole(_) => true,
            Self::Parts(parts, total) => *total == Some(parts.len() as u64),
            Self::Ranges(ranges, total) => ranges.values().map(|range| range.len() as u64).sum::<u64>() == *total,
        }
    }

    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::Whole(bytes) => bytes.clone(),
            Self::Parts(parts, _) | Self::Ranges(parts, _) => {
                let mut all = BytesMut::new();
                parts.values().for_each(|part| all.extend_from_slice(part));
                all.freeze()
            }
        }
    }

    /// The numbers of the parts that have come.
    pub(super) fn parts(&self) -> Option<(Vec<u64>, Option<u64>)> {
        if let Self::Parts(parts, total) = self { Some((parts.keys().copied().collect(), *total)) } else { None }
    }
}

/// A `Content-Range` of the vendor's own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Part { number: u64, total: Option<u64> },
    Bytes { from: u64, to: u64, total: u64 },
}

impl Range {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.split_once(' ')?;
        let (what, total) = rest.split_once('/')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        match unit {
            "part" => Some(Self::Part { number: number(what)?, total: if total == "*" { None } else { Some(number(total)?) } }),
            "bytes" => {
                let (from, to) = what.split_once('-')?;
                Some(Self::Bytes { from: number(from)?, to: number(to)?, total: number(total)? })
            }
            _ => None,
        }
    }
}

fn fault(slug: &str, title: &str) -> Problem {
    Problem::new(400, format!("video-content-range-{slug}"), title)
}

impl Apivideo {
    /// `POST /upload?token=…`: the token is all that it takes.
    pub(super) fn delegated_upload(&self, state: &mut State, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let token = call.parameter("token");
        state.check_token(token.as_deref(), now)?;
        let (file, video) = self.file(call)?;
        let range = range(call)?;
        if let Some(id) = &video {
            let known = state.videos.get_mut(id).ok_or_else(|| Problem::not_found("videoId"))?;
            // A video that was made beforehand belongs to the token that begins to fill it.
            if known.token.is_none() && !known.source.begun() {
                known.token.clone_from(&token);
            }
            if known.token != token {
                // The pages say that all parts go with one token, not what is answered otherwise.
                return Err(Problem::not_found("videoId"));
            }
        }
        // A part without a video's id begins another video, whatever its number.
        let name = file.file_name.clone().unwrap_or_default();
        let fresh = video.is_none();
        let id = video.unwrap_or_else(|| state.add_video(Video { token, ..Video::new(&name, true, now) }));
        let done = self.take(state, &id, range, file.content);
        if fresh && done.is_err() {
            state.videos.remove(&id);
        }
        self.answer_upload(state, &id, done?)
    }

    /// `POST /videos/{id}/source`, with the rights of the API.
    pub(super) fn upload_source(&self, state: &mut State, id: &str, call: &Call) -> Result<Response<Bytes>, Problem> {
        if !state.videos.contains_key(id) {
            return Err(Problem::not_found("videoId"));
        }
        let (file, _) = self.file(call)?;
        let range = range(call)?;
        let done = self.take(state, id, range, file.content)?;
        self.answer_upload(state, id, done)
    }

    /// Until all parts are there nothing but the video's id is told.
    fn answer_upload(&self, state: &State, id: &str, done: bool) -> Result<Response<Bytes>, Problem> {
        let video = state.videos.get(id).ok_or_else(|| Problem::not_found("videoId"))?;
        let body = if done { video.told(id, &self.settings.delivery, None) } else { json!({ "videoId": id }) };
        Ok(vendor::json(201, &body))
    }

    /// The one file of a form, under whatever name it goes, and the `videoId` before or after it.
    fn file(&self, call: &Call) -> Result<(Part, Option<String>), Problem> {
        let problem = |slug: &str, title: &str| Problem::new(400, format!("uploaded-file-{slug}"), title).named("file");
        let parts = parts(call.field("content-type"), &call.body).ok_or_else(|| problem("no-file", "There is no uploaded file."))?;
        let video = parts.iter().find(|part| part.name == "videoId" && part.file_name.is_none());
        let video = video.map(|part| String::from_utf8_lossy(&part.content).into_owned());
        let mut files = parts.into_iter().filter(|part| part.file_name.is_some());
        let file = files.next().ok_or_else(|| problem("no-file", "There is no uploaded file."))?;
        if files.next().is_some() {
            return Err(problem("multiple-files", "There is more than one uploaded file."));
        }
        match file.content.len() as u64 {
            0 => Err(problem("empty", "The uploaded file is empty.")),
            length if length > self.settings.most => Err(problem("too-large", "The uploaded file is too large.")),
            _ => Ok((file, video)),
        }
    }

    /// Puts a file or a part of it in its place; whether that made it whole.
    fn take(&self, state: &mut State, id: &str, range: Option<Range>, file: Bytes) -> Result<bool, Problem> {
        let kept: u64 = state.videos.values().map(|video| video.source.bytes_held()).sum();
        if kept + file.len() as u64 > self.settings.keep {
            return Err(Problem::new(507, "insufficient-storage", "This stand-in keeps no more files."));
        }
        let source = &mut state.videos.get_mut(id).ok_or_else(|| Problem::not_found("videoId"))?.source;
        if source.is_done() {
            return Err(Problem::new(400, "video-source-already-uploaded", "The source of the video has already been uploaded."));
        }
        match range {
            None if source.begun() => Err(fault("already-initiated", "A progressive upload has already been initiated.")),
            None => {
                *source = Source::Whole(file);
                Ok(true)
            }
            Some(Range::Part { number, total }) => source.take_part(number, total, file, self.settings.least_part),
            Some(Range::Bytes { from, to, total }) => {
                source.take_range((from, to, total), file, [self.settings.least_part, self.settings.most])
            }
        }
    }
}

fn range(call: &Call) -> Result<Option<Range>, Problem> {
    let malformed = || fault("malformed", "The \"Content-Range\" header is malformed.");
    call.field("content-range").map(|text| Range::parse(text).ok_or_else(malformed)).transpose()
}

impl Source {
    fn bytes_held(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Parts(parts, _) | Self::Ranges(parts, _) => parts.values().map(|part| part.len() as u64).sum(),
        }
    }

    fn take_part(&mut self, number: u64, total: Option<u64>, file: Bytes, least: u64) -> Result<bool, Problem> {
        let fault = |slug: &str, title: &str| Err(fault(&format!("by-part-{slug}"), title));
        if matches!(self, Self::Ranges(..)) && self.begun() {
            return Err(self::fault("started-with-bytes", "The upload was started by bytes."));
        }
        if !self.begun() {
            *self = Self::Parts(BTreeMap::new(), None);
        }
        let Self::Parts(parts, known) = self else { return Ok(true) };
        let highest = parts.keys().next_back().copied().unwrap_or(0);
        match total {
            _ if number == 0 => fault("part-zero", "The part must be greater than zero."),
            Some(0) => fault("total-parts-zero", "The total of parts must be greater than zero."),
            _ if number > MOST_PARTS => fault("part-too-high-allowed", "The part is higher than allowed."),
            Some(total) if total > MOST_PARTS => fault("total-parts-too-high", "The total of parts is higher than allowed."),
            Some(total) if number > total => fault("part-too-high-total", "The part is higher than the total of parts."),
            Some(total) if known.is_some_and(|known| known != total) => {
                fault("different-total-parts", "The total of parts is not the one that was sent before.")
            }
            Some(total) if total < highest => fault("total-parts-too-low", "The total of parts is lower than a part that was sent before."),
            _ if known.is_some_and(|known| number > known) => fault("part-too-high-total", "The part is higher than the total of parts."),
            _ if parts.contains_key(&number) => fault("part-already-sent", "The part has already been sent."),
            total if total != Some(number) && (file.len() as u64) < least => {
                fault("uploaded-file-too-small", "The part is smaller than allowed.")
            }
            total => {
                *known = known.or(total);
                parts.insert(number, file);
                Ok(self.is_done())
            }
        }
    }

    fn take_range(&mut self, (from, to, total): (u64, u64, u64), file: Bytes, [least, most]: [u64; 2]) -> Result<bool, Problem> {
        let fault = |slug: &str, title: &str| Err(fault(&format!("by-bytes-{slug}"), title));
        if matches!(self, Self::Parts(..)) && self.begun() {
            return Err(self::fault("started-with-part", "The upload was started by parts."));
        }
        if !self.begun() {
            *self = Self::Ranges(BTreeMap::new(), total);
        }
        let Self::Ranges(ranges, known) = self else { return Ok(true) };
        let length = to.saturating_add(1).saturating_sub(from);
        let overlaps = ranges.iter().any(|(start, range)| *start <= to && from < start + range.len() as u64);
        match () {
            () if total == 0 => fault("total-bytes-zero", "The total of bytes must be greater than zero."),
            () if total > MOST_BYTES => fault("total-bytes-too-high", "The total of bytes is higher than allowed."),
            () if total != *known => fault("different-total-bytes", "The total of bytes is not the one that was sent before."),
            () if from > to => fault("from-byte-too-high", "The first byte is higher than the last one."),
            () if to >= total => fault("to-byte-too-high-total", "The last byte is higher than the total of bytes."),
            () if length > most => fault("range-too-large", "The range is larger than allowed."),
            () if length != file.len() as u64 => fault("range-mismatch", "The range does not match the length of the file."),
            () if overlaps => fault("range-overlap", "The range overlaps with one that was sent before."),
            () if length < least && to.saturating_add(1) != total => fault("range-too-small", "The range is smaller than allowed."),
            () => {
                ranges.insert(from, file);
                Ok(self.is_done())
            }
        }
    }
}
