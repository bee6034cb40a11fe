//! Uploads through a whole gateway: every byte arrives, limits hold, and nothing that can go on has to begin again.

mod addresses;
mod clients;
mod limits;
mod lives;
mod parts;
mod speed;
mod tus;
mod vendors;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use tollgate::keygen::Kind;
use tollgate::token::SignRequest;

use crate::support::gateway::{for_path, key, target};
use crate::support::{Answer, Gateway, Origin, Raw, Reply, Seen, client};

/// A gateway with one route that takes uploads by these `[routes.upload]` settings.
fn gateway(origin: &str, upload: Value) -> Gateway {
    Gateway::start(config(origin, upload))
}

pub(crate) fn config(origin: &str, upload: Value) -> Value {
    json!({
        "keys": { "viewer": { "inline": key(Kind::Ed25519) } },
        "schemes": { "viewer": {
            "type": "jwt",
            "keys": "viewer",
            "claims": { "concurrent": "n", "total": "t", "upload_bytes": "max", "upload_types": "types", "paths": "paths" },
        } },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [{
            "name": "up",
            "path": "/",
            "methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            "accept": ["viewer"],
            "origin": "media",
            "upload": upload,
        }],
    })
}

/// A target with a token for all paths, good for `seconds`, with these claims beside.
pub(crate) fn link(gateway: &Gateway, path: &str, seconds: i64, claims: Value) -> String {
    let Value::Object(mut claims) = claims else { panic!("claims are a table") };
    claims.entry("paths").or_insert_with(|| "/**".into());
    let subject = claims.remove("sub").and_then(|subject| subject.as_str().map(str::to_owned));
    let expires = Some(gateway.clock.now().plus(seconds));
    target(&gateway.sign_with("viewer", &SignRequest { expires, claims, subject, ..for_path(path) }))
}

/// The same target on another path.
fn at(link: &str, path: &str) -> String {
    format!("{path}?{}", link.split_once('?').expect("a query").1)
}

const BOUNDARY: &str = "----tollgate";

/// A form as recorders send it, and its content type.
fn form(fields: &[(&str, &str)], file: (&str, &str, &[u8])) -> Vec<u8> {
    let (name, kind, content) = file;
    let mut body = Vec::new();
    for (field, value) in fields {
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n").into_bytes());
    }
    body.extend(
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n")
            .into_bytes(),
    );
    body.extend(content);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    body
}

fn form_fields(range: Option<&str>) -> String {
    let range = range.map_or(String::new(), |range| format!("Content-Range: {range}\r\n"));
    format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nAV-Origin-Client: nodejs:2.6.8\r\n{range}")
}

/// Sends a part of `film.mp4`.
pub(crate) async fn part(gateway: &Gateway, link: &str, range: &str, content: &[u8]) -> Answer {
    part_at(gateway.addr(), link, range, content).await
}

/// The same, to an address.
pub(crate) async fn part_at(gateway: std::net::SocketAddr, link: &str, range: &str, content: &[u8]) -> Answer {
    let body = form(&[], ("film.mp4", "video/mp4", content));
    client::request(gateway, "POST", link, &form_fields(Some(range)), &body).await
}

/// What api.video has taken: files by video id.
#[derive(Default)]
pub(crate) struct Videos(Mutex<HashMap<String, Vec<u8>>>);

/// api.video's `POST /upload`, as far as forms and ids go: a part without `videoId` begins a new video.
pub(crate) fn api_video() -> (Origin, Arc<Videos>) {
    let videos = Arc::new(Videos::default());
    let taken = videos.clone();
    let origin = Origin::start(move |seen| {
        let fields = read_form(seen);
        let mut videos = taken.0.lock().expect("no panics inside");
        let id = fields.iter().find(|(name, ..)| name == "videoId").map(|(_, _, id)| String::from_utf8_lossy(id).into_owned());
        let id = id.unwrap_or_else(|| format!("vi{:022}", videos.len()));
        let Some((.., content)) = fields.iter().find(|(_, file, _)| file.is_some()) else { return Reply::new(400, "no file") };
        videos.entry(id.clone()).or_default().extend_from_slice(content);
        Reply::new(201, json!({ "videoId": id }).to_string()).with("Content-Type", "application/json")
    });
    (origin, videos)
}

/// The fields of a form as a plain reader finds them: name, file name, content.
fn read_form(seen: &Seen) -> Vec<(String, Option<String>, Vec<u8>)> {
    let kind = seen.field("content-type").expect("a content type");
    let boundary = format!("--{}", kind.split_once("boundary=").expect("a boundary").1);
    let body = &seen.body;
    let mut marks = Vec::new();
    let mut from = 0;
    while let Some(at) = crate::support::origin::find(&body[from..], boundary.as_bytes()) {
        marks.push(from + at);
        from += at + boundary.len();
    }
    let between = marks.windows(2).map(|pair| &body[pair[0] + boundary.len() + 2..pair[1] - 2]);
    let parts = between.map(|part| {
        let head = crate::support::origin::find(part, b"\r\n\r\n").expect("a header");
        let text = String::from_utf8_lossy(&part[..head]).into_owned();
        let value = |name: &str| Some(text.split_once(&format!(" {name}=\""))?.1.split('"').next()?.to_owned());
        (value("name").expect("a name"), value("filename"), part[head + 4..].to_vec())
    });
    parts.collect()
}

/// Bytes that look like nothing else.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Opens an upload and sends only the beginning of its body.
pub(crate) async fn begin(gateway: &Gateway, method: &str, target: &str, fields: &str, (length, first): (usize, &[u8])) -> Raw {
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send(client::head(method, target, fields, length)).await.expect("sent");
    raw.send(first).await.expect("sent");
    raw
}
