//! What is fuzzed: every parser that reads what strangers send. Each target takes any bytes and must come back; the
//! schemes, whose keys nobody has, must besides never find a token good.
//!
//! Used twice: by `tests/it/fuzz.rs` on every run, bounded, and by the targets of `tests/fuzz` under libFuzzer.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use tollgate::clock::UnixTime;
use tollgate::form::multipart::Multipart;
use tollgate::form::urlencoded::Urlencoded;
use tollgate::form::{Boundary, Edit, Field};
use tollgate::keygen::{Kind, generate};
use tollgate::manifest::{self, Absolute, Limits, Mode, Resolver};
use tollgate::name::Name;
use tollgate::path::CleanPath;
use tollgate::secret::Secret;
use tollgate::session::ticket::{Bound, Tickets};
use tollgate::token::jws::Jws;
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{Due, KeySet, KeySource, RequestFacts, Scheme};
use tollgate::verifier::{KeysConfig, keys};

/// The time at which everything is judged.
pub(super) const NOW: UnixTime = UnixTime(1_760_000_000);

/// Where tokens ride that have neither a name of the scheme's own in the query nor in a cookie.
const HEADERS: [&str; 4] = ["authorization", "cta-common-access-token", "hdnts", "user-agent"];

/// One of each type, and the forms of each that read something else.
pub(super) fn every() -> &'static [Box<dyn Scheme>] {
    static ALL: OnceLock<Vec<Box<dyn Scheme>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let presets =
            ["nginx-secure-link", "nginx-secure-link-secret", "nginx-hmac-secure-link", "fastly", "alibaba-a", "alibaba-b", "alibaba-c"];
        let more = ["tencent-a", "tencent-b", "tencent-c", "tencent-d", "keycdn", "nimble", "flussonic"];
        let digests = presets.into_iter().chain(more).map(|preset| json!({ "type": "digest-url", "preset": preset }));
        let kinds = [
            "akamai-edgeauth",
            "amazon-ivs",
            "ats-access-control",
            "ats-url-sig",
            "aws-smd",
            "bunny",
            "cloudflare-stream",
            "cloudfront",
            "cta-5007",
            "google-cloud-cdn",
            "google-media-cdn",
            "mux",
            "rfc9246",
            "wowza",
        ];
        let plain = kinds.into_iter().map(|kind| json!({ "type": kind }));
        let carriers = json!(["path-segment", { "path_prefix": "t=" }, { "path_parameter": "t" }, { "query": "token" }, { "cookie": "c" },
            { "header": "authorization" }]);
        let jwt = json!({ "type": "jwt", "carriers": carriers, "claims": { "paths": "paths", "networks": "ip", "countries": "co" } });
        let ziggeo = json!({ "type": "ziggeo", "application_token": "0123456789abcdef" });
        let issued = ["apivideo-private", "apivideo-upload"].map(|kind| json!({ "type": kind }));
        let keys = ["apivideo", "cloudflare", "ziggeo"].map(|dialect| {
            let application = (dialect == "ziggeo").then_some("app");
            json!({ "type": "api-key", "dialect": dialect, "application_token": application })
        });
        plain.chain(digests).chain([jwt, ziggeo]).chain(issued).chain(keys).map(build).collect()
    })
}

/// Keys that this process made and nobody has; each scheme gets those that it could use.
fn build(mut table: Value) -> Box<dyn Scheme> {
    static KEYS: OnceLock<KeySource> = OnceLock::new();
    let source = KEYS.get_or_init(|| {
        let pairs = [("a", Kind::Rsa2048), ("b", Kind::P256), ("c", Kind::P384), ("d", Kind::Ed25519)];
        let pem = |kind| json!({ "inline": generate(kind).expect("a key").pem.expect("a pair").expose() });
        let mut by_id: serde_json::Map<String, Value> = pairs.into_iter().map(|(id, kind)| (id.to_owned(), pem(kind))).collect();
        by_id.insert("key1".into(), json!({ "secret": generate(Kind::Hmac256).expect("a key").jwk.expose() }));
        let set: KeysConfig = serde_json::from_value(json!({ "by_id": by_id })).expect("keys");
        let around = keys::Surroundings { folder: std::path::Path::new("/"), variable: &|_| None };
        KeySource::new(keys::read(&Name::new("k").expect("a name"), &set, around).expect("a key set"))
    });
    if !table["type"].as_str().is_some_and(|kind| kind.starts_with("api")) {
        table["keys"] = "k".into();
    }
    let table: SchemeConfig = serde_json::from_value(table).expect("a scheme");
    table.build(source.clone()).expect("a scheme")
}

/// A request out of bytes: which scheme of a kind (of all where `kind` is none), then lines with target, cookie, and
/// what stands in every header. Gives whether a token was found good.
pub(super) fn scheme(kind: Option<&str>, data: &[u8]) -> bool {
    let Some((which, rest)) = data.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let mut lines = text.splitn(3, '\n');
    let (target, cookie, header) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let of_kind = || every().iter().filter(|scheme| kind.is_none_or(|kind| scheme.kind() == kind));
    let Some(scheme) = of_kind().nth(usize::from(*which) % of_kind().count().max(1)) else { panic!("no scheme {kind:?}") };
    request(&**scheme, target, (cookie, header))
}

/// The verdict on a request that is made of these texts.
pub(super) fn request(scheme: &dyn Scheme, target: &str, (cookie, header): (&str, &str)) -> bool {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Ok(path) = CleanPath::parse_or_with_tokens(path, &scheme.path_tokens()) else { return false };
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS.into_iter().map(|name| (HeaderName::from_static(name), header)).chain([(COOKIE, cookie)]) {
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let facts = RequestFacts {
        query,
        client_ip: IpAddr::from([198, 51, 100, 7]),
        alpn: Some("h2"),
        ..RequestFacts::bare("media.example.com", &path, &headers)
    };
    let Ok(Some(presented)) = scheme.present(&facts) else { return false };
    let Ok(grant) = scheme.open(&presented, &facts) else { return false };
    // Even a token that is refused in the end may ask for its renewal, or say what is answered.
    let _ = scheme.renew(&Due { grant: &grant, presented: &presented, facts: &facts, now: NOW });
    grant.check(&facts, NOW).and_then(|()| scheme.fits(&grant, &facts)).is_ok()
}

/// A JWS, read to its claims.
pub(super) fn jws(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(parsed) = Jws::parse(text) {
        let _ = (parsed.key_id(), parsed.claims());
    }
}

/// A playlist; what comes out can be read again.
pub(super) fn manifest(kind: manifest::Kind, data: &[u8]) {
    let document = Absolute::parse("https://media.example.com/v/master.m3u8").expect("a URL");
    let modes =
        [Mode::Query { name: "tg".into(), ticket: "TICKET".into() }, Mode::Path { component: "tg~TICKET".into(), marker: "tg~".into() }];
    for mode in modes {
        let resolver = Resolver::new(document.clone(), "", mode);
        let limits = Limits::default();
        if let Ok(rewritten) = manifest::rewrite(kind, data, &resolver, limits) {
            let _ = manifest::rewrite(kind, &rewritten.body, &resolver, limits).expect("what was written can be read");
        }
    }
}

/// A path and a query.
pub(super) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    if let Ok(clean) = CleanPath::parse(path) {
        assert!(!clean.decoded().contains("/../") && !clean.decoded().contains("//"), "{path}");
    }
    for (name, value) in tollgate::query::pairs(query) {
        let _ = (tollgate::query::decode(name), tollgate::query::decode(value));
    }
}

/// A `Content-Range` of an upload.
pub(super) fn content_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = tollgate::upload::Piece::parse(text);
}

/// A session ticket, whose key nobody has. Gives whether it was taken.
pub(super) fn ticket(data: &[u8]) -> bool {
    static TICKETS: OnceLock<Tickets> = OnceLock::new();
    let tickets = TICKETS.get_or_init(|| Tickets::new(&[]).expect("a random key"));
    let bound = Bound { route: "vod", host: "media.example.com" };
    std::str::from_utf8(data).is_ok_and(|text| tickets.read(text, bound).is_ok())
}

/// A key set: PEM or JWK, plain or in base64.
pub(super) fn keys(data: &[u8]) {
    let _ = KeySet::parse(data, Some("k"), None);
}

/// The name that the forms below have edited.
const FIELD: &str = "token";

fn edits() -> Vec<Edit> {
    vec![Edit::Replace(Field { name: FIELD.into(), value: Secret::new("s".into()) })]
}

/// Chunks of `body`, the first byte of which says how long they are.
fn chunks(data: &[u8]) -> impl Iterator<Item = Bytes> {
    let (size, body) = data.split_first().map_or((1, data), |(size, body)| (usize::from(*size).max(1), body));
    body.chunks(size).map(Bytes::copy_from_slice)
}

/// A form in a body, cut anywhere: what comes out holds the field once, and is as long as was said.
pub(super) fn urlencoded(data: &[u8]) {
    let (mut editor, mut out) = (Urlencoded::editing(edits()), VecDeque::new());
    let said = data.len().saturating_sub(1) as u64 + editor.growth();
    if chunks(data).try_for_each(|chunk| editor.push(chunk, &mut out)).and_then(|()| editor.finish(&mut out)).is_ok() {
        let body: Vec<u8> = out.into_iter().flatten().collect();
        let text = String::from_utf8_lossy(&body);
        assert_eq!(tollgate::query::values(&text, FIELD).collect::<Vec<_>>(), ["s"], "{text}");
        assert_eq!(body.len() as u64, said, "{text}");
    }
}

/// A form of parts, cut anywhere: what comes out is as long as was said, and can be edited once more.
pub(super) fn multipart(data: &[u8]) {
    let boundary = Boundary::of("multipart/form-data; boundary=XyZ").expect("multipart").expect("a boundary");
    let mut editor = Multipart::editing(&boundary, edits()).expect("an editor");
    let (said, mut out) = (data.len().saturating_sub(1) as u64 + editor.growth(), VecDeque::new());
    if chunks(data).try_for_each(|chunk| editor.push(chunk, &mut out)).and_then(|()| editor.finish(&mut out)).is_ok() {
        let body: Vec<u8> = out.into_iter().flatten().collect();
        assert_eq!(body.len() as u64, said, "{}", body.escape_ascii());
        let mut again = Multipart::editing(&boundary, edits()).expect("an editor");
        let taken = again.push(body.into(), &mut VecDeque::new()).and_then(|()| again.finish(&mut VecDeque::new()));
        taken.expect("what was written can be read");
    }
}
