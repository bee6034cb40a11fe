//! Requests of Cloudflare's Stream API, read: pure.

use http::Method;
use serde_json::{Map, Value};

use super::envelope::Refused;
use crate::clock::UnixTime;
use crate::token::json;
use crate::token::scheme::cloudflare_stream::check_rules;

/// What is asked of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'p> {
    /// `POST …/stream/keys`.
    NewKey,
    /// `GET …/stream/keys`.
    Keys,
    /// `DELETE …/stream/keys/{id}`.
    DeleteKey(&'p str),
    /// `POST …/stream/{uid}/token`.
    Token(&'p str),
    /// `GET …/stream/{uid}`.
    Video(&'p str),
    /// `POST …/stream/{uid}`.
    Edit(&'p str),
}

/// Reads method and path: the account's id, and what is asked of it.
///
/// # Errors
/// [`Refused::no_address`], [`Refused::method`].
pub fn asked<'p>(method: &Method, path: &'p str) -> Result<(&'p str, Asked<'p>), Refused> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let word = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let ["accounts", account, "stream", rest @ ..] = &segments[..] else { return Err(Refused::no_address()) };
    let asked = match (word, rest) {
        ("POST", ["keys"]) => Asked::NewKey,
        ("GET", ["keys"]) => Asked::Keys,
        ("DELETE", ["keys", id]) => Asked::DeleteKey(id),
        ("POST", [uid, "token"]) if is_uid(uid) => Asked::Token(uid),
        ("GET", [uid]) if is_uid(uid) => Asked::Video(uid),
        ("POST", [uid]) if is_uid(uid) => Asked::Edit(uid),
        (_, ["keys"] | ["keys", _]) => return Err(Refused::method()),
        (_, [uid] | [uid, "token"]) if is_uid(uid) => return Err(Refused::method()),
        _ => return Err(Refused::no_address()),
    };
    Ok((account, asked))
}

/// What stands where a uid does in addresses of the vendor's that are not served here.
const NO_UIDS: [&str; 8] = ["clip", "copy", "direct_upload", "keys", "live_inputs", "storage-usage", "watermarks", "webhook"];

/// The vendor's are 32 hex digits; an origin of one's own may have others.
fn is_uid(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !NO_UIDS.contains(&text)
}

/// The body as an object; an empty one is one without fields.
///
/// # Errors
/// [`Refused::bad`].
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    json::object(body, body.len()).map_err(|_| Refused::bad("The body is not a JSON object"))
}

/// What a token shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The caller's own key: its id, and the base64 of its PEM.
    pub key: Option<(String, String)>,
    /// Its claims, but for `sub` and `kid`.
    pub claims: Map<String, Value>,
}

/// Seconds that a token may be good for at most, counted from now.
const LONGEST: i64 = 24 * 3600;
/// Seconds from now to the end that is not said, and from the beginning that is not said to now.
const HOUR: i64 = 3600;

/// Reads the body of a request for a token at `now`. Fields that are not known are passed over, as the vendor does.
///
/// # Errors
/// [`Refused::bad`].
pub fn wanted(body: &[u8], now: UnixTime) -> Result<Wanted, Refused> {
    let mut fields = object(body)?;
    fields.retain(|_, value| !value.is_null());
    let text = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(Refused::bad(format!("{name} must be a text"))),
    };
    let key = match (text("id")?, text("pem")?) {
        (Some(id), Some(pem)) => Some((id, pem)),
        (None, None) => None,
        _ => return Err(Refused::bad("id and pem must be given together")),
    };
    let seconds = |name: &str, default: UnixTime| match fields.get(name) {
        None => Ok(default.0),
        Some(value) => value.as_i64().filter(|it| *it >= 0).ok_or_else(|| Refused::bad(format!("{name} must be a time in Unix seconds"))),
    };
    let (end, start) = (seconds("exp", now.plus(HOUR))?, seconds("nbf", now.plus(-HOUR))?);
    if end > now.plus(LONGEST).0 {
        return Err(Refused::bad("exp must be within 24 hours"));
    }
    if end <= now.0 || end <= start {
        return Err(Refused::bad("exp must be in the future, and after nbf"));
    }
    let mut claims = Map::new();
    // The vendor's own tokens carry these two as texts.
    claims.insert("exp".into(), end.to_string().into());
    claims.insert("nbf".into(), start.to_string().into());
    for name in ["downloadable", "flags", "accessRules"] {
        claims.extend(fields.remove_entry(name));
    }
    check_rules(&claims).map_err(|_| Refused::bad("downloadable, flags or accessRules (five at most) cannot be read"))?;
    Ok(Wanted { key, claims })
}

/// What a caller says of a video; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `requireSignedURLs`.
    pub require_signed: Option<bool>,
    /// `allowedOrigins`.
    pub allowed_origins: Option<Vec<String>>,
    /// Other fields of a video that the vendor gives back as they came.
    pub other: Map<String, Value>,
}

/// Most hosts of one video.
const MOST_ORIGINS: usize = 100;

/// Reads what is said of the video `uid`.
///
/// # Errors
/// [`Refused::bad`].
pub fn said(body: &[u8], uid: &str) -> Result<Said, Refused> {
    let mut fields = object(body)?;
    fields.retain(|_, value| !value.is_null());
    if fields.get("uid").is_some_and(|said| said.as_str() != Some(uid)) {
        return Err(Refused::bad("uid is another than in the path"));
    }
    let require_signed = match fields.get("requireSignedURLs") {
        None => None,
        Some(Value::Bool(truth)) => Some(*truth),
        Some(_) => return Err(Refused::bad("requireSignedURLs must be true or false")),
    };
    let host = |value: &Value| value.as_str().map(str::to_ascii_lowercase).filter(|host| is_origin(host));
    let allowed_origins = match fields.get("allowedOrigins") {
        None => None,
        Some(Value::Array(list)) if list.len() <= MOST_ORIGINS => {
            let hosts = list.iter().map(host).collect::<Option<Vec<_>>>();
            Some(hosts.ok_or_else(|| Refused::bad("allowedOrigins must be hosts, without scheme and path"))?)
        }
        Some(_) => return Err(Refused::bad("allowedOrigins must be a list of hosts")),
    };
    let other = ["creator", "meta", "scheduledDeletion", "thumbnailTimestampPct", "maxDurationSeconds"];
    let other = other.iter().filter_map(|name| fields.remove_entry(*name)).collect();
    Ok(Said { require_signed, allowed_origins, other })
}

/// `example.com`, `*.example.com`, `localhost:8080`.
fn is_origin(text: &str) -> bool {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    (1..=253).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn addresses_and_methods() {
        for (method, path, wanted) in [
            (Method::POST, "keys", Ok(Asked::NewKey)),
            (Method::GET, "keys", Ok(Asked::Keys)),
            (Method::DELETE, "keys/k1", Ok(Asked::DeleteKey("k1"))),
            (Method::POST, "u1/token", Ok(Asked::Token("u1"))),
            (Method::GET, "u1", Ok(Asked::Video("u1"))),
            (Method::POST, "u1", Ok(Asked::Edit("u1"))),
            (Method::PUT, "u1", Err(Refused::method())),
            (Method::GET, "u1/token", Err(Refused::method())),
            (Method::GET, "u1/webhook/x", Err(Refused::no_address())),
            (Method::POST, "%2e%2e/token", Err(Refused::no_address())),
            (Method::POST, "direct_upload", Err(Refused::no_address())),
            (Method::POST, "copy", Err(Refused::no_address())),
            (Method::GET, "live_inputs", Err(Refused::no_address())),
            (Method::PUT, "webhook", Err(Refused::no_address())),
        ] {
            let path = format!("/accounts/a1/stream/{path}");
            assert_eq!(
                asked(&method, &path).map(|(account, asked)| (account == "a1").then_some(asked)),
                wanted.map(Some),
                "{method} {path}"
            );
        }
        assert_eq!(asked(&Method::GET, "/zones/x"), Err(Refused::no_address()));
    }

    #[test]
    fn a_token_lasts_an_hour_unless_it_is_said_and_a_day_at_most() {
        let claims = |body: Value| wanted(body.to_string().as_bytes(), NOW).map(|wanted| wanted.claims);
        let plain = wanted(b"", NOW).expect("nothing is fine");
        assert_eq!((&plain.claims["exp"], &plain.claims["nbf"]), (&json!("1800003600"), &json!("1799996400")));
        assert_eq!(plain.key, None);
        assert_eq!(claims(json!({ "exp": NOW.0 + 86_400 })).expect("a day")["exp"], "1800086400");
        for body in [
            json!({ "exp": NOW.0 + 86_401 }),
            json!({ "exp": NOW.0 }),
            json!({ "exp": NOW.0 + 5, "nbf": NOW.0 + 5 }),
            json!({ "exp": "soon" }),
            json!({ "exp": 1.5 }),
            json!({ "id": "k" }),
            json!({ "pem": "p" }),
            json!({ "id": 1, "pem": "p" }),
            json!({ "downloadable": "yes" }),
            json!({ "flags": [] }),
            json!({ "accessRules": [{ "type": "any" }] }),
            json!({ "accessRules": vec![json!({ "type": "any", "action": "allow" }); 6] }),
        ] {
            assert_eq!(claims(body.clone()).map_err(|refused| refused.status), Err(400), "{body}");
        }
        let all = json!({
            "id": "k", "pem": "p", "exp": NOW.0 + 60, "nbf": NOW.0, "downloadable": true, "flags": { "original": true },
            "accessRules": [{ "type": "ip.src", "action": "allow", "ip": ["93.184.216.0/24"] }, { "type": "any", "action": "block" }],
        });
        let read = wanted(all.to_string().as_bytes(), NOW).expect("all");
        assert_eq!((read.key, read.claims.len()), (Some(("k".into(), "p".into())), 5));
    }

    #[test]
    fn what_is_not_said_of_a_video_stays() {
        let read = |body: Value| said(body.to_string().as_bytes(), "u1");
        assert_eq!(read(json!({})), Ok(Said::default()));
        let both =
            read(json!({ "uid": "u1", "requireSignedURLs": true, "allowedOrigins": ["Example.com", "*.example.com", "localhost:80"] }));
        let both = both.expect("read");
        assert_eq!(both.allowed_origins, Some(vec!["example.com".into(), "*.example.com".into(), "localhost:80".into()]));
        for body in [
            json!({ "uid": "u2" }),
            json!({ "requireSignedURLs": 1 }),
            json!({ "allowedOrigins": "example.com" }),
            json!({ "allowedOrigins": ["https://example.com"] }),
            json!({ "allowedOrigins": ["example.com/x"] }),
        ] {
            assert_eq!(read(body.clone()).map_err(|refused| refused.status), Err(400), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..80), path in "[a-z0-9/%.]{0,60}") {
            let _ = (wanted(&bytes, NOW), said(&bytes, "u1"), asked(&Method::POST, &path));
        }
    }
}
