//! Videos, and how private ones are played.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::upload::Source;
use super::{Apivideo, Problem, Settings, State, atom, members, new_id};
use crate::clock::UnixTime;
use crate::demo::vendor::{self, Call, HEX, random_id};

/// Seconds that a session of a private video lasts.
const SESSION: i64 = 86_400;

/// A video.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) title: String,
    pub(super) public: bool,
    pub(super) token: Option<String>,
    pub(super) source: Source,
    /// Counts from the first one.
    pub(super) number: u64,
    pub(super) created: UnixTime,
}

impl Video {
    /// One without a file, that came without an upload token.
    pub(super) fn new(title: &str, public: bool, now: UnixTime) -> Self {
        Self { title: title.into(), public, token: None, source: Source::None, number: 0, created: now }
    }

    /// The video as calls tell about it; `token`: the one-time token of a private one.
    pub(super) fn told(&self, id: &str, delivery: &str, token: Option<&str>) -> Value {
        let at = |file: &str| match token {
            Some(token) => format!("{delivery}/vod/{id}/token/{token}/{file}"),
            None => format!("{delivery}/vod/{id}/{file}"),
        };
        let player = format!("https://embed.api.video/vod/{id}{}", token.map(|token| format!("?token={token}")).unwrap_or_default());
        let date = atom(self.created);
        json!({
            "videoId": id, "title": self.title, "description": "", "public": self.public, "panoramic": false, "mp4Support": true,
            "publishedAt": date, "createdAt": date, "updatedAt": date, "tags": [], "metadata": [], "discarded": false,
            "source": { "type": "upload", "uri": format!("/videos/{id}/source") },
            "assets": {
                "iframe": format!("<iframe src=\"{player}\" width=\"100%\" height=\"100%\" frameborder=\"0\" scrolling=\"no\" allowfullscreen=\"true\"></iframe>"),
                "player": player, "hls": at("hls/manifest.m3u8"), "thumbnail": at("thumbnail.jpg"), "mp4": at("mp4/source.mp4"),
            },
        })
    }
}

impl State {
    /// Takes a video in, and gives its id.
    pub(super) fn add_video(&mut self, video: Video) -> String {
        self.made += 1;
        let id = new_id("vi");
        self.videos.insert(id.clone(), Video { number: self.made, ..video });
        id
    }

    pub(super) fn create_video(&mut self, call: &Call, settings: &Settings, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let body = members(call)?;
        let title = body.get("title").and_then(Value::as_str).ok_or_else(|| Problem::required("title"))?;
        let public = body.get("public").and_then(Value::as_bool).unwrap_or(true);
        let id = self.add_video(Video::new(title, public, now));
        self.get_video(&id, settings).map(|mut response| {
            *response.status_mut() = http::StatusCode::CREATED;
            response
        })
    }

    /// Every look at a private video makes another one-time token.
    pub(super) fn get_video(&mut self, id: &str, settings: &Settings) -> Result<Response<Bytes>, Problem> {
        let video = self.videos.get(id).ok_or_else(|| Problem::not_found("videoId"))?;
        let token = (!video.public).then(|| {
            let hex = random_id("", HEX, 32);
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        });
        let told = video.told(id, &settings.delivery, token.as_deref());
        self.one_time.extend(token.map(|token| (token, (id.to_owned(), false))));
        Ok(vendor::json(200, &told))
    }

    pub(super) fn delete_video(&mut self, id: &str) -> Result<Response<Bytes>, Problem> {
        self.videos.remove(id).map(|_| vendor::empty(204)).ok_or_else(|| Problem::not_found("videoId"))
    }

    pub(super) fn video_status(&self, id: &str) -> Result<Response<Bytes>, Problem> {
        let video = self.videos.get(id).ok_or_else(|| Problem::not_found("videoId"))?;
        let status = match (video.source.begun(), video.source.is_done()) {
            (false, _) => "missing",
            (true, false) => "uploading",
            (true, true) => "uploaded",
        };
        let mut ingest = json!({ "status": status, "filesize": video.source.bytes().len(), "receivedBytes": [] });
        if let Some((received, total)) = video.source.parts() {
            ingest["receivedParts"] = json!({ "parts": received, "total": total });
        }
        Ok(vendor::json(
            200,
            &json!({ "ingest": ingest, "encoding": { "playable": video.source.is_done(), "qualities": [], "metadata": {} } }),
        ))
    }
}

impl Apivideo {
    /// `/vod/{video}/token/{token}/…`. The first use of a token is the only one without a session (`avh`, or the field of the
    /// mobile players); which browser it was is not looked at.
    pub(super) fn play(
        &self,
        state: &mut State,
        call: &Call,
        (video, token, rest): (&str, &str, &[&str]),
        now: UnixTime,
    ) -> Result<Response<Bytes>, Problem> {
        if call.method != Method::GET && call.method != Method::HEAD {
            return Err(Problem::method());
        }
        let session = call.parameter("avh").or_else(|| call.field("x-token-session").map(str::to_owned));
        let in_session = session.is_some_and(|session| state.sessions.get(&session).is_some_and(|(of, end)| of == video && now < *end));
        let (of, used) = state.one_time.get_mut(token).ok_or_else(|| Problem::not_found("token"))?;
        if of != video || (*used && !in_session) {
            return Err(Problem::not_found("token"));
        }
        *used = true;
        let bytes = state.videos.get(video).map(|video| video.source.bytes()).ok_or_else(|| Problem::not_found("videoId"))?;
        match rest {
            ["session"] => {
                let session = random_id("", HEX, 32);
                state.sessions.insert(session.clone(), (video.to_owned(), now.plus(SESSION)));
                Ok(vendor::json(200, &json!({ "session_token": session })))
            }
            ["mp4", "source.mp4"] => Ok(vendor::typed(200, "video/mp4", bytes)),
            ["thumbnail.jpg"] => Ok(vendor::typed(200, "image/jpeg", Bytes::new())),
            ["hls", "manifest.m3u8"] => Ok(vendor::typed(200, "application/vnd.apple.mpegurl", "#EXTM3U\n#EXT-X-ENDLIST\n")),
            _ => Err(Problem::unknown_url()),
        }
    }
}
