//! Requests of api.video's API, read: pure.

use http::Method;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::ledger::Order;
use crate::query;
use crate::token::json;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<'p> {
    /// `POST /auth/api-key`.
    Token,
    /// `POST /auth/refresh`.
    Refresh,
    /// `POST /upload-tokens`.
    Create,
    /// `GET /upload-tokens`.
    List,
    /// `GET /upload-tokens/{token}`.
    Get(&'p str),
    /// `DELETE /upload-tokens/{token}`.
    Delete(&'p str),
    /// `GET /videos/{videoId}`.
    Video(&'p str),
    /// `GET /live-streams/{liveStreamId}`.
    LiveStream(&'p str),
}

/// Whether a path is of this API.
#[must_use]
pub fn owns(path: &str) -> bool {
    ["/auth", "/upload-tokens", "/videos", "/live-streams"].iter().any(|own| crate::path::is_under(path, own))
}

/// Reads method and path.
///
/// # Errors
/// [`Problem::NoAddress`], [`Problem::Method`].
pub fn asked<'p>(method: &Method, path: &'p str) -> Result<Asked<'p>, Problem> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let is = |wanted: Method| *method == wanted || (wanted == Method::GET && *method == Method::HEAD);
    let one = |wanted: Method, allow: &'static str, asked: Asked<'p>| if is(wanted) { Ok(asked) } else { Err(Problem::Method(allow)) };
    match segments[..] {
        ["auth", "api-key"] => one(Method::POST, "POST", Asked::Token),
        ["auth", "refresh"] => one(Method::POST, "POST", Asked::Refresh),
        ["upload-tokens"] if is(Method::POST) => Ok(Asked::Create),
        ["upload-tokens"] => one(Method::GET, "GET, POST", Asked::List),
        ["upload-tokens", token] if is(Method::DELETE) => Ok(Asked::Delete(token)),
        ["upload-tokens", token] => one(Method::GET, "GET, DELETE", Asked::Get(token)),
        ["videos", id] if !id.is_empty() => one(Method::GET, "GET", Asked::Video(id)),
        ["live-streams", id] if !id.is_empty() => one(Method::GET, "GET", Asked::LiveStream(id)),
        _ => Err(Problem::NoAddress),
    }
}

/// The body as an object, whatever its `Content-Type` says: the vendor's uploader sends JSON as `text/plain`.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    json::object(body, body.len()).map_err(|_| Problem::BadPayload)
}

/// The one text that `/auth/…` wants.
///
/// # Errors
/// [`Problem::BadPayload`], [`Problem::Required`], [`Problem::Attribute`].
pub fn text(body: &[u8], name: &'static str) -> Result<String, Problem> {
    match object(body)?.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::Null | Value::String(_)) => Err(Problem::Required(name)),
        Some(_) => Err(Problem::Attribute(name, "This value should be of type string.".into())),
    }
}

/// Seconds that a token may be made for at most.
const MOST: u64 = 2_147_483_647;

/// `ttl` of a token to be made; 0 when it is not said.
///
/// # Errors
/// [`Problem::BadPayload`], [`Problem::Attribute`].
pub fn ttl(body: &[u8]) -> Result<u32, Problem> {
    let fault = |why: &str| Problem::Attribute("ttl", why.to_owned());
    match object(body)?.get("ttl") {
        None | Some(Value::Null) => Ok(0),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_u64()) {
            (Some(..0), _) => Err(fault("This value should be greater than or equal to 0.")),
            (_, Some(ttl)) if ttl <= MOST => u32::try_from(ttl).map_err(|_| fault("This value is not valid.")),
            (_, Some(_)) => Err(fault("This value should be less than or equal to 2147483647.")),
            _ => Err(fault("This value should be of type integer.")),
        },
        Some(_) => Err(fault("This value should be of type integer.")),
    }
}

/// Which page of tokens is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// By what they are sorted.
    pub order: Order,
    /// The last first.
    pub descending: bool,
    /// The page; the first is 1.
    pub page: u64,
    /// Tokens on it.
    pub size: u64,
}

/// Reads the query of a listing.
///
/// # Errors
/// [`Problem::Parameter`].
pub fn paging(raw: &str) -> Result<Paging, Problem> {
    let value =
        |name: &str| query::values(raw, name).last().map(|raw| query::decode(raw).unwrap_or_default()).filter(|text| !text.is_empty());
    let order = match value("sortBy").as_deref() {
        None | Some("createdAt") => Order::Created,
        // "How much longer the token will be active."
        Some("ttl") => Order::Expiry,
        Some(_) => return Err(Problem::Parameter("sortBy", None)),
    };
    let descending = match value("sortOrder").as_deref() {
        // Nothing is said of the default; the vendor's example shows the newest first.
        None => order == Order::Created,
        Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Problem::Parameter("sortOrder", None)),
    };
    let number = |name: &'static str, default: u64, most: Option<u64>| match value(name).map(|text| text.parse::<i64>()) {
        None => Ok(default),
        Some(Ok(number)) => match u64::try_from(number) {
            Ok(number) if number >= 1 && most.is_none_or(|most| number <= most) => Ok(number),
            _ => Err(Problem::Parameter(name, Some((1, most)))),
        },
        Some(Err(_)) => Err(Problem::Parameter(name, None)),
    };
    Ok(Paging { order, descending, page: number("currentPage", 1, None)?, size: number("pageSize", 25, Some(100))? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_and_methods() {
        for (method, path, wanted) in [
            (Method::POST, "/auth/api-key", Ok(Asked::Token)),
            (Method::POST, "/auth/refresh", Ok(Asked::Refresh)),
            (Method::POST, "/upload-tokens", Ok(Asked::Create)),
            (Method::GET, "/upload-tokens", Ok(Asked::List)),
            (Method::HEAD, "/upload-tokens", Ok(Asked::List)),
            (Method::GET, "/upload-tokens/to1", Ok(Asked::Get("to1"))),
            (Method::DELETE, "/upload-tokens/to1", Ok(Asked::Delete("to1"))),
            (Method::GET, "/videos/vi1", Ok(Asked::Video("vi1"))),
            (Method::PATCH, "/upload-tokens/to1", Err(Problem::Method("GET, DELETE"))),
            (Method::DELETE, "/upload-tokens", Err(Problem::Method("GET, POST"))),
            (Method::GET, "/auth/api-key", Err(Problem::Method("POST"))),
            (Method::GET, "/videos", Err(Problem::NoAddress)),
            (Method::GET, "/upload-tokens/to1/x", Err(Problem::NoAddress)),
        ] {
            assert_eq!(asked(&method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn ttl_is_a_whole_number_of_31_bits() {
        for (body, wanted) in [
            ("", 0),
            ("{}", 0),
            ("{\"ttl\":0}\n", 0),
            ("{\"ttl\":3600}", 3600),
            ("{\"ttl\":2147483647}", 2_147_483_647),
            ("{\"ttl\":null}", 0),
        ] {
            assert_eq!(ttl(body.as_bytes()), Ok(wanted), "{body}");
        }
        for body in ["{\"ttl\":-1}", "{\"ttl\":2147483648}", "{\"ttl\":1.5}", "{\"ttl\":\"60\"}", "{\"ttl\":[]}", "{\"ttl\":1e999}"] {
            assert!(matches!(ttl(body.as_bytes()), Err(Problem::Attribute("ttl", _) | Problem::BadPayload)), "{body}");
        }
        for body in ["[]", "1", "{", "{\"ttl\":1,\"ttl\":2}", "\u{feff}{}"] {
            assert_eq!(ttl(body.as_bytes()), Err(Problem::BadPayload), "{body}");
        }
    }

    #[test]
    fn pages_have_their_range() {
        let page = |order, descending, page, size| Ok(Paging { order, descending, page, size });
        for (query, wanted) in [
            ("", page(Order::Created, true, 1, 25)),
            ("sortBy=ttl&sortOrder=asc&currentPage=2&pageSize=30", page(Order::Expiry, false, 2, 30)),
            ("sortBy=createdAt&sortOrder=desc&pageSize=100", page(Order::Created, true, 1, 100)),
            ("pageSize=101", Err(Problem::Parameter("pageSize", Some((1, Some(100)))))),
            ("pageSize=0", Err(Problem::Parameter("pageSize", Some((1, Some(100)))))),
            ("currentPage=-1", Err(Problem::Parameter("currentPage", Some((1, None))))),
            ("currentPage=x", Err(Problem::Parameter("currentPage", None))),
            ("sortBy=token", Err(Problem::Parameter("sortBy", None))),
            ("sortOrder=down", Err(Problem::Parameter("sortOrder", None))),
        ] {
            assert_eq!(paging(query), wanted, "{query}");
        }
    }

    #[test]
    fn credentials_are_texts() {
        assert_eq!(text(br#"{"apiKey":"k"}"#, "apiKey"), Ok("k".into()));
        assert_eq!(text(b"{}", "apiKey"), Err(Problem::Required("apiKey")));
        assert!(matches!(text(br#"{"apiKey":1}"#, "apiKey"), Err(Problem::Attribute("apiKey", _))));
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..80), raw in "[a-zA-Z=&%0-9-]{0,60}") {
            let _ = (ttl(&bytes), text(&bytes, "apiKey"), paging(&raw));
        }
    }
}
