//! A stand-in for Cloudflare Stream: playback tokens, signing keys, direct uploads and tus 1.0.0.
//!
//! The host that uploads go to is the same server under `/upload/`. What is uploaded is kept byte for byte, and of
//! a `PATCH` that breaks off what came.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use tollgate::clock::UnixTime;
use tollgate::demo::vendor::{self, Call, HEX, Vendor, bearer_of, multipart, random_id, set};
use tollgate::keygen::{Kind, generate};
use tollgate::token::{KeySet, jws};

/// The one account.
pub(crate) const ACCOUNT: &str = "023e105f4ecef8ad9ca31a8372d0c353";
/// The API token that is good.
pub(crate) const API_TOKEN: &str = "cf-api-token";
/// User and key of the older way.
pub(crate) const API_KEY: (&str, &str) = ("user@example.com", "cf-api-key");

/// Most bytes of an upload in one request.
const MOST: usize = 200 * 1000 * 1000;
/// Chunks of tus but the last are multiples of this.
const UNIT: u64 = 256 * 1024;
const BAD: Refusal = Refusal(400, 10005, "Bad Request");
const NOT_FOUND: Refusal = Refusal(404, 10003, "Not Found");

/// The vendor.
pub(crate) struct Cloudflare {
    /// Fewest bytes of a chunk that is not the last one.
    least_chunk: u64,
    state: Mutex<State>,
    /// Where it is, for the addresses that it hands out.
    url: OnceLock<String>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, String>,
    uploads: BTreeMap<String, Upload>,
    order: Vec<String>,
}

/// One upload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload {
    /// What has come.
    pub(crate) bytes: Vec<u8>,
    /// Whether all of it has.
    pub(crate) whole: bool,
    length: Option<u64>,
    expires: Option<UnixTime>,
    metadata: String,
}

/// A refusal: status, code, message.
struct Refusal(u16, u32, &'static str);

impl Cloudflare {
    /// As the vendor's pages have it.
    pub(crate) fn new() -> Self {
        Self::with_chunks(5_242_880)
    }

    /// With another least size of chunks.
    pub(crate) fn with_chunks(least_chunk: u64) -> Self {
        Self { least_chunk, state: Mutex::default(), url: OnceLock::new() }
    }

    /// Tells it where it is; before that it hands out addresses without a host.
    pub(crate) fn at(&self, url: &str) {
        let _ = self.url.set(url.to_owned());
    }

    /// Every upload that was begun, oldest first, by its uid.
    pub(crate) fn uploads(&self) -> Vec<(String, Upload)> {
        let state = self.state.lock().expect("no panics inside");
        state.order.iter().map(|uid| (uid.clone(), state.uploads[uid].clone())).collect()
    }

    /// Ids of the signing keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state.lock().expect("no panics inside").keys.keys().cloned().collect()
    }

    fn address(&self, uid: &str) -> String {
        format!("{}/upload/{uid}", self.url.get().map_or("", String::as_str))
    }

    fn begin(&self, upload: Upload) -> String {
        let uid = random_id("", HEX, 32);
        let mut state = self.state.lock().expect("no panics inside");
        state.uploads.insert(uid.clone(), upload);
        state.order.push(uid.clone());
        uid
    }

    fn api(&self, call: &Call, rest: &[&str], now: UnixTime) -> Result<Response<Bytes>, Refusal> {
        let key = (call.field("x-auth-email"), call.field("x-auth-key"));
        if bearer_of(call) != Some(API_TOKEN) && key != (Some(API_KEY.0), Some(API_KEY.1)) {
            return Err(Refusal(403, 10000, "Authentication error"));
        }
        match (&call.method, rest) {
            (&Method::POST, []) if call.field("tus-resumable").is_some() => self.create_tus(call, now),
            (&Method::POST, []) => {
                let uid = self.begin(Upload { bytes: file_of(call)?, whole: true, ..Upload::default() });
                Ok(good(&json!({ "uid": uid, "readyToStream": false, "status": { "state": "queued" } })))
            }
            (&Method::POST, ["direct_upload"]) => self.direct_upload(call, now),
            (&Method::POST, ["keys"]) => Ok(good(&self.create_key(now))),
            (&Method::GET, ["keys"]) => {
                Ok(good(&self.keys().iter().map(|id| json!({ "id": id, "created": "2021-06-15T21:06:54.763937286Z" })).collect::<Value>()))
            }
            (&Method::DELETE, ["keys", id]) => {
                let removed = self.state.lock().expect("no panics inside").keys.remove(*id);
                removed.map(|_| good(&json!("Revoked"))).ok_or(NOT_FOUND)
            }
            (&Method::POST, [uid, "token"]) => self.token(call, uid, now),
            (&Method::GET, [uid]) => {
                let state = self.state.lock().expect("no panics inside");
                let told = |upload: &Upload| good(&json!({ "uid": uid, "readyToStream": upload.whole, "requireSignedURLs": true }));
                state.uploads.get(*uid).map(told).ok_or(NOT_FOUND)
            }
            _ => Err(Refusal(404, 7003, "Could not route to path")),
        }
    }

    fn create_key(&self, now: UnixTime) -> Value {
        let made = generate(Kind::Rsa2048).expect("a key");
        let pem = made.pem.as_ref().expect("a pair").expose().clone();
        let created = format!("{}.763937286Z", vendor::date_time(now));
        let id = random_id("", HEX, 32);
        let told = json!({ "id": id, "pem": STANDARD.encode(&pem), "jwk": STANDARD.encode(made.jwk.expose()), "created": created });
        self.state.lock().expect("no panics inside").keys.insert(id, pem);
        told
    }

    /// The vendor's own tokens have their dates as text.
    fn token(&self, call: &Call, uid: &str, now: UnixTime) -> Result<Response<Bytes>, Refusal> {
        let body = call.json().ok_or(BAD)?;
        let date = |name: &str, unset: i64| body.get(name).map_or(Some(unset), Value::as_i64).ok_or(BAD);
        let (exp, nbf) = (date("exp", now.0 + 3600)?, date("nbf", now.0 - 3600)?);
        let rules = body.get("accessRules").and_then(Value::as_array).map_or(0, Vec::len);
        if body.contains_key("id") != body.contains_key("pem") || exp > now.0 + 86_400 || exp <= now.0 || rules > 5 {
            return Err(BAD);
        }
        let given = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let (id, pem) = match (given("id"), given("pem")) {
            (Some(id), Some(pem)) => (id, pem),
            _ => {
                let own = self.create_key(now);
                (own["id"].as_str().expect("an id").to_owned(), own["pem"].as_str().expect("a key").to_owned())
            }
        };
        let keys = KeySet::parse(pem.as_bytes(), Some(&id), None).map_err(|_| BAD)?;
        let mut claims = json!({ "sub": uid, "kid": id, "exp": exp.to_string(), "nbf": nbf.to_string() });
        for name in ["downloadable", "flags", "accessRules"] {
            if let Some(value) = body.get(name) {
                claims[name] = value.clone();
            }
        }
        let header = Map::from_iter([("kid".to_owned(), Value::from(id))]);
        let token = keys.signing(None).and_then(|key| jws::sign(key, header, claims.as_object()?).ok());
        Ok(good(&json!({ "token": token.ok_or(BAD)? })))
    }

    fn direct_upload(&self, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Refusal> {
        let body = call.json().ok_or(BAD)?;
        body.get("maxDurationSeconds").and_then(Value::as_i64).filter(|most| *most > 0 || *most == -1).ok_or(BAD)?;
        let expires = match body.get("expiry").and_then(Value::as_str) {
            None => now.plus(1800),
            Some(date) => time_of(date).filter(|end| *end > now).ok_or(BAD)?,
        };
        let uid = self.begin(Upload { expires: Some(expires), ..Upload::default() });
        Ok(good(&json!({ "uploadURL": self.address(&uid), "uid": uid, "watermark": null })))
    }

    fn create_tus(&self, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Refusal> {
        if call.field("tus-resumable") != Some("1.0.0") {
            return Err(Refusal(412, 10005, "another version of tus"));
        }
        let length: u64 = call.field("upload-length").and_then(|text| text.parse().ok()).ok_or(BAD)?;
        let metadata = call.field("upload-metadata").unwrap_or("").to_owned();
        let expiry = metadata.split(',').find_map(|pair| pair.trim().strip_prefix("expiry "));
        let expires = expiry.and_then(|text| STANDARD.decode(text).ok()).and_then(|text| time_of(std::str::from_utf8(&text).ok()?));
        if expires.is_some_and(|end| end <= now) {
            return Err(BAD);
        }
        let uid = self.begin(Upload { length: Some(length), expires, metadata, ..Upload::default() });
        let mut response = vendor::empty(201);
        set(&mut response, "location", &format!("{}?tusv2=true", self.address(&uid)));
        set(&mut response, "stream-media-id", &uid);
        set(&mut response, "tus-resumable", "1.0.0");
        Ok(response)
    }

    /// What needs no rights but the address. Whether a second use is 409 is not documented, only that it is refused.
    fn upload(&self, call: &Call, uid: &str, now: UnixTime) -> Response<Bytes> {
        let mut state = self.state.lock().expect("no panics inside");
        let Some(upload) = state.uploads.get_mut(uid) else { return vendor::empty(404) };
        let begun = upload.whole || !upload.bytes.is_empty();
        let mut response = match (&call.method, upload.length) {
            (&Method::POST, None) if upload.whole => vendor::typed(409, "text/plain", "already used"),
            _ if !begun && upload.expires.is_some_and(|end| now >= end) => vendor::typed(403, "text/plain", "expired"),
            (&Method::POST, None) => match file_of(call) {
                Ok(file) => {
                    (upload.bytes, upload.whole) = (file, true);
                    vendor::empty(200)
                }
                Err(Refusal(status, _, message)) => vendor::typed(status, "text/plain", message),
            },
            (&Method::HEAD, Some(length)) => {
                let mut response = vendor::empty(200);
                set(&mut response, "upload-length", &length.to_string());
                set(&mut response, "upload-metadata", &upload.metadata);
                set(&mut response, "cache-control", "no-store");
                response
            }
            (&Method::PATCH, Some(length)) => patch(upload, call, [length, self.least_chunk]),
            _ => vendor::empty(405),
        };
        if upload.length.is_some() {
            set(&mut response, "tus-resumable", "1.0.0");
            set(&mut response, "upload-offset", &upload.bytes.len().to_string());
        }
        response
    }
}

/// tus 1.0.0 `PATCH`.
fn patch(upload: &mut Upload, call: &Call, [length, least]: [u64; 2]) -> Response<Bytes> {
    let (had, more) = (upload.bytes.len() as u64, call.body.len() as u64);
    let last = had + more == length;
    match () {
        () if call.field("tus-resumable") != Some("1.0.0") => vendor::empty(412),
        () if call.field("content-type") != Some("application/offset+octet-stream") => vendor::empty(415),
        () if call.field("upload-offset") != Some(had.to_string().as_str()) => vendor::empty(409),
        () if had + more > length => vendor::empty(413),
        // What follows a chunk that broke off may have any size.
        () if !last && had.is_multiple_of(UNIT.min(least)) && (more < least || !more.is_multiple_of(UNIT.min(least))) => vendor::empty(400),
        () => {
            upload.bytes.extend_from_slice(&call.body);
            upload.whole = last;
            vendor::empty(204)
        }
    }
}

fn good(result: &Value) -> Response<Bytes> {
    vendor::json(200, &json!({ "result": result, "success": true, "errors": [], "messages": [] }))
}

fn time_of(text: &str) -> Option<UnixTime> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixTime(i64::try_from(since.as_secs()).ok()?))
}

fn file_of(call: &Call) -> Result<Vec<u8>, Refusal> {
    let parts = multipart::parts(call.field("content-type"), &call.body).ok_or(BAD)?;
    let file = parts.into_iter().find(|part| part.name == "file" && part.file_name.is_some()).ok_or(BAD)?;
    if file.content.len() > MOST { Err(Refusal(413, 10011, "Request Entity Too Large")) } else { Ok(file.content.to_vec()) }
}

impl Vendor for Cloudflare {
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes> {
        let path = call.path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if call.method == Method::OPTIONS {
            let mut response = vendor::empty(204);
            set(&mut response, "tus-version", "1.0.0");
            set(&mut response, "tus-extension", "creation,expiration");
            return response;
        }
        match &segments[..] {
            ["client", "v4", "accounts", ACCOUNT, "stream", rest @ ..] => self.api(call, rest, now).unwrap_or_else(Refusal::into_response),
            ["client", "v4", ..] => Refusal(404, 7003, "Could not route to path").into_response(),
            ["upload", uid] => self.upload(call, uid, now),
            _ => vendor::empty(404),
        }
    }

    fn refuse(&self, status: u16, _: UnixTime) -> Response<Bytes> {
        let mut response = Refusal(status, 10000, "refused on demand").into_response();
        if status == 429 {
            set(&mut response, "retry-after", "1");
        }
        response
    }

    fn broken_off(&self, call: &Call, _: UnixTime) {
        let Some(uid) = call.path().strip_prefix("/upload/").filter(|_| call.method == Method::PATCH) else { return };
        let mut state = self.state.lock().expect("no panics inside");
        if let Some(upload) = state.uploads.get_mut(uid)
            && call.field("upload-offset") == Some(upload.bytes.len().to_string().as_str())
        {
            upload.bytes.extend_from_slice(&call.body);
        }
    }
}

impl Refusal {
    fn into_response(self) -> Response<Bytes> {
        let error = json!({ "code": self.1, "message": self.2 });
        vendor::json(self.0, &json!({ "success": false, "errors": [error], "messages": [], "result": null }))
    }
}
