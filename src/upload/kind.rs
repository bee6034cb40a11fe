//! What a request is to an upload, as its head tells.

use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, Method};

use super::piece::Piece;

/// What a request is to an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The whole file.
    Whole,
    /// A part of a file whose upload the body names, or nothing does (api.video).
    Part(Piece),
    /// Makes a place to upload to, which the answer's `Location` names (tus 1.0.0 "Creation"; WHIP, RFC 9725 §4.2).
    Create,
    /// Is about such a place: a part of its file, a question, its end.
    Place,
}

impl Kind {
    /// Reads it off the head; `None` when the request uploads nothing. `length`: bytes of the body, where it is declared.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, length: Option<u64>) -> Option<Self> {
        let tus = headers.contains_key(TUS_RESUMABLE) || headers.contains_key(UPLOAD_OFFSET);
        let piece = || headers.get(CONTENT_RANGE).and_then(|value| Piece::parse(value.to_str().ok()?));
        match *method {
            Method::POST if tus || is_type(headers, &["application/sdp"]) => Some(Self::Create),
            Method::POST if is_call(headers, length) => None,
            Method::POST => Some(piece().map_or(Self::Whole, Self::Part)),
            Method::PUT => Some(if headers.contains_key(CONTENT_RANGE) { Self::Place } else { Self::Whole }),
            Method::PATCH | Method::DELETE => Some(Self::Place),
            Method::HEAD => tus.then_some(Self::Place),
            _ => None,
        }
    }
}

/// A call of the provider's API around an upload, such as the one that asks where to upload to, or says that all is there. It has
/// no body, or a short one of a type that no file has.
fn is_call(headers: &HeaderMap, length: Option<u64>) -> bool {
    const LONGEST: u64 = 64 * 1024;
    let short = length.is_some_and(|length| length <= LONGEST);
    length == Some(0) || (short && is_type(headers, &["application/json", "application/x-www-form-urlencoded"]))
}

fn is_type(headers: &HeaderMap, types: &[&str]) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let said = value.split(';').next().unwrap_or("").trim();
    types.iter().any(|kind| kind.eq_ignore_ascii_case(said))
}

/// The version of tus that a request speaks.
pub const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// Bytes of a tus upload that are there.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Bytes of the whole file of a tus upload.
pub const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// What a tus client says of its file.
pub const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
/// Uploads that make one file together.
pub const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");

/// A header that holds one number.
#[must_use]
pub fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The media type of a tus upload's file: the metadata `filetype` (tus-js-client, Uppy) or `type`.
#[must_use]
pub fn file_type(headers: &HeaderMap) -> Option<String> {
    use base64::Engine;
    let list = headers.get(UPLOAD_METADATA)?.to_str().ok()?;
    let value = |name: &str| list.split(',').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix(' '));
    let text = value("filetype").or_else(|| value("type"))?;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::CONTENT_LENGTH;

    fn kind(method: &Method, headers: &[(HeaderName, &'static str)]) -> Option<Kind> {
        let mut headers: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        // By the time that somebody asks, the field is gone.
        let length = number(&headers, &CONTENT_LENGTH);
        headers.remove(CONTENT_LENGTH);
        Kind::of(method, &headers, length)
    }

    #[test]
    fn heads_tell_what_is_uploaded() {
        let part = Piece::parse("part 1/3").map(Kind::Part);
        for (method, headers, meant) in [
            (Method::POST, vec![], Some(Kind::Whole)),
            (Method::POST, vec![(CONTENT_RANGE, "part 1/3")], part),
            (Method::POST, vec![(CONTENT_RANGE, "what else")], Some(Kind::Whole)),
            (Method::POST, vec![(TUS_RESUMABLE, "1.0.0")], Some(Kind::Create)),
            (Method::POST, vec![(CONTENT_TYPE, "application/sdp")], Some(Kind::Create)),
            (Method::POST, vec![(CONTENT_TYPE, "application/json; charset=utf-8"), (CONTENT_LENGTH, "20")], None),
            (Method::POST, vec![(CONTENT_TYPE, "application/json"), (CONTENT_LENGTH, "2000000")], Some(Kind::Whole)),
            (Method::POST, vec![(CONTENT_TYPE, "application/json")], Some(Kind::Whole)),
            (Method::POST, vec![(CONTENT_LENGTH, "0")], None),
            (Method::POST, vec![(TUS_RESUMABLE, "1.0.0"), (CONTENT_LENGTH, "0")], Some(Kind::Create)),
            (Method::PUT, vec![], Some(Kind::Whole)),
            (Method::PUT, vec![(CONTENT_RANGE, "bytes 0-9/20")], Some(Kind::Place)),
            (Method::PATCH, vec![(UPLOAD_OFFSET, "0")], Some(Kind::Place)),
            (Method::HEAD, vec![(TUS_RESUMABLE, "1.0.0")], Some(Kind::Place)),
            (Method::HEAD, vec![], None),
            (Method::DELETE, vec![], Some(Kind::Place)),
            (Method::GET, vec![], None),
        ] {
            assert_eq!(kind(&method, &headers), meant);
        }
    }

    #[test]
    fn metadata_tells_the_type_of_the_file() {
        let headers = HeaderMap::from_iter([(UPLOAD_METADATA, HeaderValue::from_static("filename Zi5tcDQ=,filetype dmlkZW8vbXA0"))]);
        assert_eq!(file_type(&headers).as_deref(), Some("video/mp4"));
        assert_eq!(file_type(&HeaderMap::new()), None);
    }
}
