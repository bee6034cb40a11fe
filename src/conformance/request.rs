//! From a vector's `input` to the facts of a request, by the rules that the server has for heads and paths.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use crate::path::CleanPath;
use crate::token::access::FixedGeo;
use crate::token::{Country, RequestFacts};

/// A request as a vector tells it.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    https: bool,
    host: String,
    port: Option<u16>,
    path: CleanPath,
    query: Option<String>,
    headers: HeaderMap,
    client_ip: IpAddr,
    geo: FixedGeo,
    alpn: Option<String>,
}

impl Request {
    /// The request of `vector`, where `tokens` are the beginnings of path segments that hold tokens;
    /// the inner error is why the server would not take such a request.
    ///
    /// # Errors
    /// Why it is not a vector.
    pub(super) fn of(vector: &Value, tokens: &[String]) -> Result<Result<Self, &'static str>, String> {
        let input = vector.get("input").ok_or("has no input")?;
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        let method = text("method").unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| "method is not a method")?;
        let client_ip =
            text("client_ip").map_or(Ok(IpAddr::from([192, 0, 2, 1])), str::parse).map_err(|_| "client_ip is not an address")?;
        let geo = FixedGeo(text("country").and_then(Country::new));
        let (scheme, rest) = text("url").and_then(|url| url.split_once("://")).ok_or("url has no scheme")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("url is neither http nor https".into()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority).ok_or("url has no host")?;
        Ok(Self::head(target, input.get("headers"), tokens).map(|(path, query, headers)| Self {
            method,
            https,
            host,
            port,
            path,
            query,
            headers,
            client_ip,
            geo,
            alpn: text("alpn").map(str::to_owned),
        }))
    }

    fn head(target: &str, fields: Option<&Value>, tokens: &[String]) -> Result<(CleanPath, Option<String>, HeaderMap), &'static str> {
        // A fragment never leaves a client (RFC 9110 §7.1).
        let target = target.split('#').next().unwrap_or("");
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let path = CleanPath::parse_or_with_tokens(if path.is_empty() { "/" } else { path }, tokens).map_err(|_| "bad_path")?;
        let visible = |query: &str| query.bytes().all(|byte| byte.is_ascii_graphic());
        if !query.is_none_or(visible) {
            return Err("bad_query");
        }
        Ok((path, query.map(str::to_owned), headers(fields).ok_or("bad_header")?))
    }

    /// Its facts; the route's prefix is empty.
    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &self.method,
            https: self.https,
            port: self.port,
            query: self.query.as_deref(),
            client_ip: self.client_ip,
            geo: &self.geo,
            alpn: self.alpn.as_deref(),
            ..RequestFacts::bare(&self.host, &self.path, &self.headers)
        }
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_bracket..].rfind(':') {
        Some(colon) => (&authority[..after_bracket + colon], Some(authority[after_bracket + colon + 1..].parse().ok()?)),
        None => (authority, None),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty() && !host.contains('@')).then_some((host, port))
}

/// A header with a list of values comes once for each.
fn headers(fields: Option<&Value>) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    let Some(Value::Object(fields)) = fields else { return Some(map) };
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            map.append(name.clone(), HeaderValue::from_str(value.as_str()?).ok()?);
        }
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_split() {
        for (authority, expected) in [
            ("A.Example", Some(("a.example", None))),
            ("a.example.:8443", Some(("a.example", Some(8443)))),
            ("[2001:db8::1]:80", Some(("[2001:db8::1]", Some(80)))),
            ("[2001:db8::1]", Some(("[2001:db8::1]", None))),
            ("", None),
            (":80", None),
            ("a:b", None),
            ("u@a", None),
        ] {
            let have = host_and_port(authority);
            assert_eq!(have.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{authority}");
        }
    }
}
