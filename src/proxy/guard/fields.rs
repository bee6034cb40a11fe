//! Header fields that a caller may not send on.

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};

/// Fields that belong to one connection (RFC 9110 §7.6.1), and old ones that some still honour.
pub const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-authenticate"),
    TE,
    TRANSFER_ENCODING,
    HeaderName::from_static("upgrade"),
    HeaderName::from_static("http2-settings"),
];

/// Fields that the gateway sets, or that an origin could take as the gateway's word, or as another
/// target than the one that was verified.
const OURS: [&str; 23] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-http-method-override",
    "x-request-id",
    "expect",
    "content-length",
    // Trailers of requests are dropped, so none are announced.
    "trailer",
];

/// Fields that a look-alike may not be folded into, beyond [`OURS`].
const PROTECTED: [&str; 7] = ["authorization", "cookie", "host", "transfer-encoding", "connection", "range", "content-type"];

/// Takes out the hop-by-hop fields and the ones that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Leaves only what a caller may say.
pub(super) fn clean(headers: &mut HeaderMap, version: Version) {
    strip_hop_by_hop(headers);
    headers.remove(HOST);
    // The length is told anew from the body itself.
    headers.remove(CONTENT_LENGTH);
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name) || is_look_alike(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
}

fn is_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    // One comparison of the first byte keeps most names away from the list.
    matches!(text.as_bytes().first(), Some(b'f' | b'x' | b't' | b'e' | b'c')) && OURS.contains(&text)
}

/// Names that CGI, WSGI and some frameworks fold into one of ours: `_` and `.` for `-`.
fn is_look_alike(name: &HeaderName) -> bool {
    let text = name.as_str();
    if !text.contains(['_', '.']) {
        return false;
    }
    let folded = text.replace(['_', '.'], "-");
    OURS.contains(&folded.as_str()) || PROTECTED.contains(&folded.as_str()) || HOP_BY_HOP.iter().any(|h| h.as_str() == folded)
}

/// RFC 9113 §8.2.3: crumbs must be one field before they go to HTTP/1.1.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(fields: &[(&'static str, &'static str)], version: Version) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        clean(&mut headers, version);
        let mut left: Vec<String> = headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap_or("?"))).collect();
        left.sort();
        left
    }

    #[test]
    fn hop_by_hop_and_named_fields_go() {
        let fields = [
            ("connection", "x-token, close"),
            ("connection", "authorization"),
            ("x-token", "1"),
            ("authorization", "2"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("accept", "a"),
        ];
        assert_eq!(cleaned(&fields, Version::HTTP_11), ["accept=a"]);
    }

    #[test]
    fn fields_of_ours_and_their_look_alikes_go() {
        for name in [
            "x-forwarded-for",
            "x_forwarded_for",
            "x.forwarded-for",
            "x-request_id",
            "content_length",
            "transfer_encoding",
            "x-original-url",
            "forwarded",
            "expect",
        ] {
            assert_eq!(cleaned(&[(name, "1"), ("x_mine", "2")], Version::HTTP_11), ["x_mine=2"], "{name}");
        }
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        assert_eq!(cleaned(&[("cookie", "a=1"), ("cookie", "b=2")], Version::HTTP_2), ["cookie=a=1; b=2"]);
    }
}
