//! A stand-in for Mux: signing keys and direct uploads.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use tollgate::clock::UnixTime;
use tollgate::demo::vendor::{self, Call, Vendor, basic_of, random_id, set};
use tollgate::keygen::{Kind, generate};
use tollgate::secret::random::BASE62;

/// The access token that is good.
pub(crate) const TOKEN: (&str, &str) = ("tid", "tsec");

/// The vendor.
#[derive(Default)]
pub(crate) struct Mux {
    state: Mutex<State>,
    url: OnceLock<String>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, UnixTime>,
    uploads: BTreeMap<String, Upload>,
    order: Vec<String>,
}

/// One upload: an address of Google's store, which takes it whole or in ranges (its "Resumable uploads").
struct Upload {
    end: UnixTime,
    came: Vec<u8>,
    whole: bool,
}

impl Upload {
    fn put(&mut self, call: &Call) -> Response<Bytes> {
        let Some(range) = call.field("content-range") else {
            (self.came, self.whole) = (call.body.to_vec(), true);
            return vendor::empty(200);
        };
        let (span, total) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).unwrap_or(("", ""));
        let Ok(total) = total.parse::<usize>() else { return vendor::empty(400) };
        let from = span.split_once('-').and_then(|(from, _)| from.parse::<usize>().ok());
        if from == Some(self.came.len()) && self.came.len() + call.body.len() <= total {
            self.came.extend_from_slice(&call.body);
        }
        self.whole = self.came.len() == total;
        if self.whole {
            return vendor::empty(200);
        }
        let mut response = vendor::empty(308);
        if let Some(last) = self.came.len().checked_sub(1) {
            set(&mut response, "range", &format!("bytes=0-{last}"));
        }
        response
    }
}

impl Mux {
    /// Tells it where it is.
    pub(crate) fn at(&self, url: &str) {
        let _ = self.url.set(url.to_owned());
    }

    /// Ids of the signing keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state.lock().expect("no panics inside").keys.keys().cloned().collect()
    }

    /// Files that have come whole, oldest address first.
    pub(crate) fn uploads(&self) -> Vec<Vec<u8>> {
        let state = self.state.lock().expect("no panics inside");
        state.order.iter().filter_map(|id| state.uploads.get(id)).filter(|upload| upload.whole).map(|upload| upload.came.clone()).collect()
    }

    /// Addresses that were given out and not cancelled.
    pub(crate) fn addresses(&self) -> usize {
        self.state.lock().expect("no panics inside").uploads.len()
    }

    fn api(&self, call: &Call, segments: &[&str], now: UnixTime) -> Response<Bytes> {
        let mut state = self.state.lock().expect("no panics inside");
        match (&call.method, segments) {
            (&Method::POST, ["system" | "video", "v1", "signing-keys"]) => {
                let (id, made) = (random_id("", BASE62, 43), generate(Kind::Rsa2048).expect("a key"));
                let pem = base64::engine::general_purpose::STANDARD.encode(made.pem.as_ref().expect("a pair").expose());
                state.keys.insert(id.clone(), now);
                vendor::json(201, &json!({ "data": { "id": id, "created_at": now.to_string(), "private_key": pem } }))
            }
            (&Method::GET, ["system" | "video", "v1", "signing-keys"]) => {
                let number = |name: &str, unset: usize| call.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(unset);
                let (limit, page) = (number("limit", 25), number("page", 1).max(1));
                let told = state.keys.iter().skip((page - 1) * limit).take(limit);
                vendor::json(
                    200,
                    &json!({ "data": told.map(|(id, at)| json!({ "id": id, "created_at": at.to_string() })).collect::<Value>() }),
                )
            }
            (&Method::GET, ["system" | "video", "v1", "signing-keys", id]) if state.keys.contains_key(*id) => {
                vendor::json(200, &json!({ "data": { "id": id, "created_at": state.keys[*id].to_string() } }))
            }
            (&Method::DELETE, ["system" | "video", "v1", "signing-keys", id]) if state.keys.remove(*id).is_some() => vendor::empty(204),
            (&Method::POST, ["video", "v1", "uploads"]) => self.begin(&mut state, call, now),
            (&Method::PUT, ["video", "v1", "uploads", id, "cancel"]) => match state.uploads.get(*id) {
                Some(upload) if !upload.whole => {
                    state.uploads.remove(*id);
                    vendor::json(200, &json!({ "data": { "id": id, "status": "cancelled" } }))
                }
                _ => refusal(403, "forbidden"),
            },
            _ => refusal(404, "not_found"),
        }
    }

    fn begin(&self, state: &mut State, call: &Call, now: UnixTime) -> Response<Bytes> {
        let timeout = call.json().and_then(|body| body.get("timeout").map_or(Some(3600), Value::as_i64));
        let Some(timeout) = timeout.filter(|timeout| (60..=604_800).contains(timeout)) else { return refusal(400, "invalid_parameters") };
        let id = random_id("", BASE62, 43);
        state.uploads.insert(id.clone(), Upload { end: now.plus(timeout), came: Vec::new(), whole: false });
        state.order.push(id.clone());
        let url = format!("{}/put/{id}", self.url.get().map_or("", String::as_str));
        let mut data = json!({ "url": url, "timeout": timeout, "status": "waiting", "id": id });
        for (name, value) in call.json().into_iter().flatten().filter(|(name, _)| name != "timeout") {
            data[name] = value;
        }
        vendor::json(201, &json!({ "data": data }))
    }
}

fn refusal(status: u16, kind: &str) -> Response<Bytes> {
    vendor::json(status, &json!({ "error": { "type": kind, "messages": ["refused"] } }))
}

impl Vendor for Mux {
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes> {
        let path = call.path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let ["put", id] = segments[..] {
            let mut state = self.state.lock().expect("no panics inside");
            return match state.uploads.get_mut(id) {
                Some(upload) if call.method == Method::PUT && !upload.whole && now < upload.end => upload.put(call),
                _ => vendor::empty(403),
            };
        }
        let known = basic_of(call).is_some_and(|(user, password)| (user.as_str(), password.as_str()) == TOKEN);
        if known { self.api(call, &segments, now) } else { refusal(401, "unauthorized") }
    }

    fn refuse(&self, status: u16, _: UnixTime) -> Response<Bytes> {
        let mut response = refusal(status, "refused");
        if status == 429 {
            set(&mut response, "retry-after", "1");
        }
        response
    }
}
