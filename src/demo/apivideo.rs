//! A stand-in for api.video: sign-in, upload tokens, uploads whole and in parts, private videos.
//!
//! After its OpenAPI description and reference pages; what they leave open is written where it is decided.
//! It keeps the files it is sent in memory, and plays none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use super::vendor::{self, Call, HEX, StandIn, Vendor, lock, random_id, set};
use crate::clock::{Clock, UnixTime};
use crate::secret::random::BASE62;

mod account;
mod problem;
mod tokens;
mod upload;
mod videos;

pub use problem::Problem;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one API key that is good.
    pub api_key: String,
    /// Calls a minute: uploads, other writes, reads.
    pub rates: [u32; 3],
    /// Status of bad credentials at `/auth/…`: the description says 400, the error pages 401.
    pub bad_credentials: u16,
    /// Fewest bytes of a part that is not the last one.
    pub least_part: u64,
    /// Most bytes of one request's file.
    pub most: u64,
    /// Most bytes kept of all files together; what comes later is refused.
    pub keep: u64,
    /// What the addresses of private videos begin with.
    pub delivery: String,
}

impl Settings {
    /// As the vendor's pages have it, for this key.
    #[must_use]
    pub fn new(api_key: &str) -> Self {
        Self {
            api_key: api_key.into(),
            rates: [100, 200, 500],
            bad_credentials: 400,
            least_part: 5 * 1024 * 1024,
            most: 200 * 1024 * 1024,
            keep: 2 * 1024 * 1024 * 1024,
            delivery: "https://vod.api.video".into(),
        }
    }
}

/// The vendor.
#[derive(Debug)]
pub struct Apivideo {
    settings: Settings,
    state: Mutex<State>,
}

/// The vendor as a server.
pub type ApivideoStandIn = StandIn<Apivideo>;

#[derive(Debug, Default)]
struct State {
    access: BTreeMap<String, UnixTime>,
    refresh: BTreeSet<String>,
    tokens: BTreeMap<String, tokens::Token>,
    videos: BTreeMap<String, videos::Video>,
    /// One-time tokens of private videos: the video, and whether it has been used.
    one_time: BTreeMap<String, (String, bool)>,
    sessions: BTreeMap<String, (String, UnixTime)>,
    spent: [(i64, u32); 3],
    made: u64,
}

/// A file that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The video.
    pub video: String,
    /// The upload token that it came with, if it was one.
    pub token: Option<String>,
    /// The file's name.
    pub name: String,
    /// The file, byte for byte; of one that is not whole what has come, in order.
    pub bytes: Bytes,
    /// Whether all of it has come.
    pub whole: bool,
}

impl Apivideo {
    /// A vendor with these settings, that nobody has called yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    /// The same as a server; see [`StandIn::serve`].
    #[must_use]
    pub fn stand_in(settings: Settings, clock: Clock) -> ApivideoStandIn {
        StandIn::new(Self::new(settings), clock)
    }

    /// Every file that has come, oldest first.
    #[must_use]
    pub fn uploads(&self) -> Vec<Uploaded> {
        let state = lock(&self.state);
        let mut with_files: Vec<_> = state.videos.iter().filter(|(_, video)| video.source.begun()).collect();
        with_files.sort_by_key(|(_, video)| video.number);
        let uploaded = |(id, video): (&String, &videos::Video)| Uploaded {
            video: id.clone(),
            token: video.token.clone(),
            name: video.title.clone(),
            bytes: video.source.bytes(),
            whole: video.source.is_done(),
        };
        with_files.into_iter().map(uploaded).collect()
    }

    /// Upload tokens that were not deleted.
    #[must_use]
    pub fn upload_tokens(&self) -> Vec<String> {
        lock(&self.state).tokens.keys().cloned().collect()
    }

    /// Makes an upload token, as a call would; `ttl` in seconds, 0 for no end.
    pub fn make_upload_token(&self, ttl: i64, now: UnixTime) -> String {
        lock(&self.state).make_token(ttl, now)
    }

    /// Makes a video that waits for its file, as a call would, and gives its id.
    pub fn make_video(&self, title: &str, now: UnixTime) -> String {
        lock(&self.state).add_video(videos::Video::new(title, true, now))
    }

    /// Makes a private video with a file, and gives its id.
    pub fn make_private_video(&self, file: &[u8], now: UnixTime) -> String {
        let source = upload::Source::Whole(Bytes::copy_from_slice(file));
        lock(&self.state).add_video(videos::Video { source, ..videos::Video::new("private", false, now) })
    }

    /// Withdraws every access token.
    pub fn forget_access_tokens(&self) {
        lock(&self.state).access.clear();
    }

    /// Withdraws every refresh token, as if another client had used it.
    pub fn forget_refresh_tokens(&self) {
        lock(&self.state).refresh.clear();
    }

    /// Withdraws every upload token.
    pub fn forget_upload_tokens(&self) {
        lock(&self.state).tokens.clear();
    }

    fn route(&self, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let path = call.path();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut state = lock(&self.state);
        match (&call.method, &segments[..]) {
            (&Method::POST, ["auth", "api-key"]) => self.sign_in(&mut state, call, now),
            (&Method::POST, ["auth", "refresh"]) => self.refresh(&mut state, call, now),
            (&Method::POST, ["upload"]) => self.delegated_upload(&mut state, call, now),
            (_, ["vod", video, "token", token, rest @ ..]) => self.play(&mut state, call, (*video, *token, rest), now),
            (_, ["upload-tokens" | "videos", ..]) => {
                self.authenticate(&state, call, now)?;
                self.with_key(&mut state, call, &segments, now)
            }
            (_, ["auth", "api-key" | "refresh"] | ["upload"]) => Err(Problem::method()),
            _ => Err(Problem::unknown_url()),
        }
    }

    fn with_key(&self, state: &mut State, call: &Call, segments: &[&str], now: UnixTime) -> Result<Response<Bytes>, Problem> {
        match (&call.method, segments) {
            (&Method::POST, ["upload-tokens"]) => state.create_token(call, now),
            (&Method::GET, ["upload-tokens"]) => state.list_tokens(call, now),
            (&Method::GET, ["upload-tokens", token]) => state.get_token(token, now),
            (&Method::DELETE, ["upload-tokens", token]) => state.delete_token(token, now),
            (&Method::POST, ["videos"]) => state.create_video(call, &self.settings, now),
            (&Method::GET, ["videos", id]) => state.get_video(id, &self.settings),
            (&Method::DELETE, ["videos", id]) => state.delete_video(id),
            (&Method::GET, ["videos", id, "status"]) => state.video_status(id),
            (&Method::POST, ["videos", id, "source"]) => self.upload_source(state, id, call),
            (_, ["upload-tokens" | "videos"] | ["upload-tokens" | "videos", _] | ["videos", _, "status" | "source"]) => {
                Err(Problem::method())
            }
            _ => Err(Problem::unknown_url()),
        }
    }

    /// Counts a call against its minute. What is left, and the seconds until the minute is over; an error over the limit.
    fn spend(&self, call: &Call, now: UnixTime) -> Result<[i64; 3], [i64; 3]> {
        let upload = call.path() == "/upload" || call.path().ends_with("/source");
        let kind = if upload { 0 } else { usize::from(call.method == Method::GET || call.method == Method::HEAD) + 1 };
        let mut state = lock(&self.state);
        let minute = now.0.div_euclid(60);
        let (of, spent) = &mut state.spent[kind];
        if *of != minute {
            (*of, *spent) = (minute, 0);
        }
        let limit = self.settings.rates[kind];
        let left = i64::from(limit) - i64::from(*spent) - 1;
        let told = [i64::from(limit), left.max(0), 60 - now.0.rem_euclid(60)];
        if left < 0 {
            return Err(told);
        }
        *spent += 1;
        Ok(told)
    }
}

impl Vendor for Apivideo {
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes> {
        if call.method == Method::OPTIONS {
            return preflight(call);
        }
        let (told, mut response) = match self.spend(call, now) {
            Ok(told) => (told, self.route(call, now).unwrap_or_else(Problem::into_response)),
            Err(told) => (told, Problem::limited().into_response()),
        };
        for (name, value) in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-retry-after"].into_iter().zip(told) {
            set(&mut response, name, &value.to_string());
        }
        set(&mut response, "access-control-allow-origin", "*");
        response
    }

    fn refuse(&self, status: u16, now: UnixTime) -> Response<Bytes> {
        let mut response = Problem::of_status(status).into_response();
        if status == 429 {
            for (name, value) in
                [("x-ratelimit-limit", 200), ("x-ratelimit-remaining", 0), ("x-ratelimit-retry-after", 60 - now.0.rem_euclid(60))]
            {
                set(&mut response, name, &value.to_string());
            }
        }
        set(&mut response, "access-control-allow-origin", "*");
        response
    }
}

/// The browser uploader asks before every call with these fields.
fn preflight(call: &Call) -> Response<Bytes> {
    let mut response = vendor::empty(204);
    set(&mut response, "access-control-allow-origin", "*");
    set(&mut response, "access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS");
    set(&mut response, "access-control-allow-headers", call.field("access-control-request-headers").unwrap_or("*"));
    set(&mut response, "access-control-max-age", "600");
    response
}

/// Dates as the vendor writes them.
fn atom(at: UnixTime) -> String {
    format!("{}+00:00", vendor::date_time(at))
}

/// The page that a list asks for, and the `pagination` that goes with it.
fn page(call: &Call, total: usize) -> Result<(std::ops::Range<usize>, Value), Problem> {
    let number = |name: &str, default: usize, most: usize| match call.parameter(name) {
        None => Ok(default),
        Some(text) => text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| Problem::query(name, most)),
    };
    let (current, size) = (number("currentPage", 1, usize::MAX)?, number("pageSize", 25, 100)?);
    let pages = total.div_ceil(size).max(1);
    let from = (current - 1).saturating_mul(size).min(total);
    let range = from..(from + size).min(total);
    let link = |rel: &str, page: usize| json!({ "rel": rel, "uri": format!("{}?currentPage={page}&pageSize={size}", call.path()) });
    let mut links = vec![link("self", current), link("first", 1)];
    links.extend((current > 1).then(|| link("previous", current - 1)));
    links.extend((current < pages).then(|| link("next", current + 1)));
    links.push(link("last", pages));
    let told = json!({
        "currentPage": current, "currentPageItems": range.len(), "pageSize": size, "pagesTotal": pages, "itemsTotal": total, "links": links,
    });
    Ok((range, told))
}

/// The members of a body that must be an object, whatever its `Content-Type`: the browser uploader says `text/plain`.
fn members(call: &Call) -> Result<Map<String, Value>, Problem> {
    call.json().ok_or_else(|| Problem::new(400, "invalid-payload", "The payload is invalid."))
}

fn new_secret() -> String {
    random_id("def50200", HEX, 32)
}

fn new_id(kind: &str) -> String {
    random_id(kind, BASE62, 22)
}

#[cfg(test)]
mod tests;
