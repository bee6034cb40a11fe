//! A stand-in for Ziggeo: server tokens with their life, client tokens, and uploads in three steps.
//!
//! It reads bodies as all of the vendor's SDKs write them: forms with nested brackets, forms with JSON,
//! `multipart/form-data`. Deleting answers 200 with JSON, because one SDK takes nothing else.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use tollgate::clock::UnixTime;
use tollgate::demo::vendor::{self, Call, HEX, Vendor, basic_of, multipart, random_id};
use tollgate::query;
use tollgate::token::ziggeo::Cipher;

/// The application, its private key and its encryption key.
pub(crate) const APPLICATION: (&str, &str, &str) = ("r1app1token", "priv1key", "enc1key");

/// The vendor.
#[derive(Default)]
pub(crate) struct Ziggeo {
    state: Mutex<State>,
    url: OnceLock<String>,
}

#[derive(Default)]
struct State {
    tokens: BTreeMap<String, Map<String, Value>>,
    videos: BTreeMap<String, Video>,
    /// Policies that were handed out and not used, by their key: the video.
    policies: BTreeMap<String, String>,
}

/// A video.
#[derive(Debug, Clone, Default)]
pub(crate) struct Video {
    /// Its one stream.
    pub(crate) stream: String,
    /// What has come.
    pub(crate) file: Option<Vec<u8>>,
    /// Whether the upload was confirmed.
    pub(crate) confirmed: bool,
}

/// What of a call's body: names with brackets become tables, JSON in a field becomes what it says.
fn arguments(call: &Call) -> Option<Map<String, Value>> {
    let kind = call.field("content-type").unwrap_or("");
    let pairs: Vec<(String, String)> = if kind.starts_with("multipart/") {
        let parts = multipart::parts(Some(kind), &call.body)?;
        parts.into_iter().map(|part| (part.name, String::from_utf8_lossy(&part.content).into_owned())).collect()
    } else {
        let text = std::str::from_utf8(&call.body).ok()?;
        query::pairs(text).map(|(name, value)| Some((query::decode(name)?, query::decode(value)?))).collect::<Option<_>>()?
    };
    let mut all = Value::Object(Map::new());
    for (name, text) in pairs {
        let mut place = &mut all;
        for step in name.split(['[', ']']).filter(|step| !step.is_empty()) {
            place = place.as_object_mut()?.entry(step).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value(&text);
    }
    if let Value::Object(all) = all { Some(all) } else { None }
}

/// The SDKs write booleans as `true`, `True` or `1`; empty is false.
fn value(text: &str) -> Value {
    match text {
        "True" => true.into(),
        "False" | "" => false.into(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_i64) == Some(1)
}

/// Whether a token with these options opens this, for any video or those of the session.
fn grants(options: &Map<String, Value>, verb: &str, now: UnixTime) -> bool {
    let end = options.get("expiration_date").and_then(Value::as_i64);
    let grants = match options.get("grants") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.cloned().unwrap_or(Value::Null),
    };
    let opens = grants[verb]["all"] == true || grants[verb]["session_owned"] == true || grants[verb] == "all";
    opens && end.is_none_or(|end| now.0 < end) && !is_true(options.get("hidden"))
}

impl Ziggeo {
    /// Tells it where it is; one SDK uploads to https addresses only.
    pub(crate) fn at(&self, url: &str) {
        let _ = self.url.set(url.to_owned());
    }

    /// Server tokens that were not deleted, with what they say.
    pub(crate) fn tokens(&self) -> Vec<(String, Map<String, Value>)> {
        self.state.lock().expect("no panics inside").tokens.clone().into_iter().collect()
    }

    /// Every video.
    pub(crate) fn videos(&self) -> Vec<Video> {
        self.state.lock().expect("no panics inside").videos.values().cloned().collect()
    }

    /// Makes a video without a file, and gives its token.
    pub(crate) fn make_video(&self) -> String {
        self.state.lock().expect("no panics inside").add().0
    }

    fn begin(&self, state: &mut State, call: &Call) -> Response<Bytes> {
        let Some(arguments) = arguments(call) else { return failure(400) };
        let kind = arguments.get("video_type").and_then(Value::as_str).unwrap_or("mp4").to_owned();
        let ((token, stream), key) = (state.add(), format!("uploads/{}", random_id("", HEX, 32)));
        state.policies.insert(key.clone(), token.clone());
        let fields = json!({ "key": key, "policy": "POLICY", "x-amz-signature": "SIG", "Content-Type": format!("video/{kind}") });
        let url = format!("{}/s3/bucket", self.url.get().map_or("", String::as_str));
        let video = shown(&token, &stream);
        vendor::json(200, &json!({ "video": video, "url_data": { "url": url, "fields": fields } }))
    }

    /// The store of step two: the fields that were handed out, then the file, once.
    fn store(&self, state: &mut State, call: &Call) -> Response<Bytes> {
        let refused = || vendor::typed(403, "application/xml", "<Error><Code>AccessDenied</Code></Error>");
        let Some(parts) = multipart::parts(call.field("content-type"), &call.body) else { return failure(400) };
        let field =
            |name: &str| parts.iter().find(|part| part.name == name).map(|part| String::from_utf8_lossy(&part.content).into_owned());
        // S3 ignores what comes after the file.
        let Some(file) = parts.last().filter(|part| part.name == "file") else { return failure(400) };
        let signed = field("policy").as_deref() == Some("POLICY") && field("x-amz-signature").as_deref() == Some("SIG");
        let video = field("key").filter(|_| signed).and_then(|key| state.policies.remove(&key));
        let Some(video) = video.and_then(|video| state.videos.get_mut(&video)) else { return refused() };
        video.file = Some(file.content.to_vec());
        vendor::empty(204)
    }

    fn confirm(&self, state: &mut State, video: &str, stream: &str) -> Response<Bytes> {
        match state.videos.get_mut(video).filter(|video| video.stream == stream) {
            None => failure(404),
            Some(Video { file: None, .. }) => failure(412),
            Some(video) => {
                video.confirmed = true;
                vendor::json(200, &json!({ "token": stream, "state": 1 }))
            }
        }
    }

    fn tokens_of(&self, state: &mut State, call: &Call, token: Option<&str>) -> Response<Bytes> {
        let deletes = call.method == Method::DELETE || call.parameter("_method").as_deref() == Some("DELETE");
        match (token, &call.method) {
            (None, &Method::POST) => {
                let Some(options) = arguments(call) else { return failure(400) };
                let token = random_id("", HEX, 32);
                state.tokens.insert(token.clone(), options);
                told(&token, &state.tokens[&token])
            }
            (Some(token), _) if deletes => match state.tokens.remove(token) {
                Some(_) => vendor::json(200, &json!({})),
                None => failure(404),
            },
            (Some(token), method) => {
                let Some(options) = state.tokens.get_mut(token) else { return failure(404) };
                if method == Method::POST {
                    let Some(more) = arguments(call) else { return failure(400) };
                    options.extend(more);
                }
                told(token, options)
            }
            _ => failure(405),
        }
    }

    /// What a browser may with the token in its query.
    fn embedded(&self, state: &mut State, call: &Call, rest: &[&str], now: UnixTime) -> Response<Bytes> {
        let may = |verb: &str| {
            let server = call.parameter("server_auth").and_then(|token| state.tokens.get(&token).cloned());
            let client = call.parameter("client_auth").and_then(|token| Cipher::new(APPLICATION.2).ok()?.open(&token).ok());
            let client = client.filter(|options| options.get("application_token").and_then(Value::as_str) == Some(APPLICATION.0));
            server.or(client).is_some_and(|options| grants(&options, verb, now))
        };
        match (&call.method, rest) {
            (&Method::POST, ["videos", "videos-upload-url"]) if may("create") => self.begin(state, call),
            (&Method::POST, ["videos", video, "streams", stream, "confirm-video"]) if may("create") => self.confirm(state, video, stream),
            (&Method::GET, ["videos", video, "video.mp4"]) if may("read") => {
                let file = state.videos.get(*video).and_then(|video| video.file.clone());
                file.map_or_else(|| failure(404), |file| vendor::typed(200, "video/mp4", file))
            }
            _ => failure(401),
        }
    }
}

impl State {
    /// A new video without a file: its token and its stream's.
    fn add(&mut self) -> (String, String) {
        let (token, stream) = (random_id("", HEX, 32), random_id("", HEX, 32));
        self.videos.insert(token.clone(), Video { stream: stream.clone(), ..Video::default() });
        (token, stream)
    }
}

/// A video as calls tell about it.
fn shown(token: &str, stream: &str) -> Value {
    json!({ "token": token, "default_stream": { "token": stream } })
}

fn told(token: &str, options: &Map<String, Value>) -> Response<Bytes> {
    let mut told = json!({ "token": token, "key": null, "volatile": false, "hidden": false, "type": "ApiAuthToken" });
    for (name, value) in options {
        told[name] = value.clone();
    }
    vendor::json(200, &told)
}

fn failure(status: u16) -> Response<Bytes> {
    vendor::typed(status, "text/plain", "refused")
}

impl Vendor for Ziggeo {
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes> {
        let path = call.path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut state = self.state.lock().expect("no panics inside");
        match &segments[..] {
            ["s3", "bucket"] if call.method == Method::POST => return self.store(&mut state, call),
            ["v1", "applications", application, rest @ ..] if *application == APPLICATION.0 => {
                return self.embedded(&mut state, call, rest, now);
            }
            _ => {}
        }
        let known = basic_of(call).is_some_and(|(user, password)| (user.as_str(), password.as_str()) == (APPLICATION.0, APPLICATION.1));
        if !known {
            return failure(401);
        }
        match (&call.method, &segments[..]) {
            (_, ["v1", "authtokens"]) => self.tokens_of(&mut state, call, None),
            (_, ["v1", "authtokens", token]) => self.tokens_of(&mut state, call, Some(token)),
            (&Method::GET, ["v1", "videos"]) => {
                vendor::json(200, &state.videos.iter().map(|(token, video)| shown(token, &video.stream)).collect())
            }
            (&Method::POST, ["v1", "videos"]) => {
                let (token, stream) = state.add();
                vendor::json(200, &shown(&token, &stream))
            }
            (&Method::GET, ["v1", "videos", token]) => match state.videos.get(*token) {
                Some(video) => vendor::json(200, &shown(token, &video.stream)),
                None => failure(404),
            },
            (&Method::POST, ["v1", "videos-upload-url"]) => self.begin(&mut state, call),
            (&Method::POST, ["v1", "videos", video, "streams", stream, "confirm-video"]) => self.confirm(&mut state, video, stream),
            (&Method::GET, ["v1", "videos", video, "video"]) => {
                let file = state.videos.get(*video).and_then(|video| video.file.clone());
                file.map_or_else(|| failure(404), |file| vendor::typed(200, "video/mp4", file))
            }
            _ => failure(404),
        }
    }

    fn refuse(&self, status: u16, _: UnixTime) -> Response<Bytes> {
        failure(status)
    }
}
