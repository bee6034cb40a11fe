//! Exactly one host (RFC 9112 §3.2, RFC 9113 §8.3.1).

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{Uri, Version};

use crate::proxy::Error;

/// The host asked for.
pub(super) struct Host {
    /// Lower case, no port, no trailing dot, no brackets.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

/// Settles the host and leaves a target without one.
pub(super) fn settle(head: &mut Parts) -> Result<(Host, String), Error> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = fields.next().map(|value| value.to_str().map(str::to_owned).map_err(|_| Error::BadHost)).transpose()?;
    if fields.next().is_some() {
        return Err(Error::BadHost);
    }
    let target = head.uri.authority().map(|a| a.as_str().to_owned());
    let text = match (field, target) {
        // An absolute target or `:authority` beside a `Host` must say the same, or a cache and an
        // origin could each believe another one.
        (Some(field), Some(target)) if !field.eq_ignore_ascii_case(&target) => return Err(Error::BadHost),
        (Some(field), _) => field,
        (None, Some(target)) if head.version == Version::HTTP_2 => target,
        (None, _) => return Err(Error::BadHost),
    };
    let host = parse(&text).ok_or(Error::BadHost)?;
    to_origin_form(head)?;
    Ok((host, text.to_ascii_lowercase()))
}

fn parse(text: &str) -> Option<Host> {
    let authority: Authority = text.parse().ok()?;
    if text.contains('@') {
        return None;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if name.is_empty() || name.ends_with('.') || !name.bytes().all(plain) {
        return None;
    }
    // What follows the name is a port or nothing: "host:" and "host:http" read as a port to some and as
    // part of the name to others.
    let rest = &text[authority.host().len()..];
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten();
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(digits(port)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(Host { name, port })
}

/// Keeps only path and query. Targets without a path (`*`, `host:port`) end here.
fn to_origin_form(head: &mut Parts) -> Result<(), Error> {
    if head.uri.authority().is_none() && head.uri.scheme().is_none() {
        return if head.uri.path().starts_with('/') { Ok(()) } else { Err(Error::NotProxied) };
    }
    if !matches!(head.uri.scheme_str(), Some("http" | "https")) {
        return Err(Error::NotProxied);
    }
    let path = head.uri.path_and_query().filter(|pq| pq.path().starts_with('/')).ok_or(Error::NotProxied)?;
    head.uri = Uri::from(path.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(version: Version, target: &str, hosts: &[&str]) -> Result<(String, Option<u16>, String), Error> {
        let mut request = http::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (mut head, ()) = request.body(()).expect("request").into_parts();
        settle(&mut head).map(|(host, _)| (host.name, host.port, head.uri.to_string()))
    }

    #[test]
    fn one_host_or_none() {
        let h1 = Version::HTTP_11;
        let fine = |name: &str, port, target: &str| Ok((name.to_owned(), port, target.to_owned()));
        for (target, hosts, expected) in [
            ("/a", &["Example.COM"][..], fine("example.com", None, "/a")),
            ("/a", &["example.com:8080"], fine("example.com", Some(8080), "/a")),
            ("/a", &["example.com."], fine("example.com", None, "/a")),
            ("/a", &["[::1]:80"], fine("::1", Some(80), "/a")),
            ("http://example.com/a?b", &["example.com"], fine("example.com", None, "/a?b")),
            ("/a", &[], Err(Error::BadHost)),
            ("/a", &["a", "a"], Err(Error::BadHost)),
            ("/a", &[""], Err(Error::BadHost)),
            ("/a", &["a b"], Err(Error::BadHost)),
            ("/a", &["u@a"], Err(Error::BadHost)),
            ("/a", &["a:"], Err(Error::BadHost)),
            ("/a", &["a:99999"], Err(Error::BadHost)),
            ("/a", &["a:http"], Err(Error::BadHost)),
            ("/a", &["a:+80"], Err(Error::BadHost)),
            ("/a", &["a:80:80"], Err(Error::BadHost)),
            ("/a", &["[::1]80"], Err(Error::BadHost)),
            ("/a", &["a/b"], Err(Error::BadHost)),
            ("http://evil.com/a", &["example.com"], Err(Error::BadHost)),
            ("http://example.com/a", &[], Err(Error::BadHost)),
            ("*", &["example.com"], Err(Error::NotProxied)),
            ("example.com:80", &["example.com:80"], Err(Error::NotProxied)),
        ] {
            assert_eq!(settled(h1, target, hosts), expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn an_authority_is_enough_for_http_2_and_must_agree() {
        assert!(settled(Version::HTTP_2, "https://example.com/a", &[]).is_ok());
        assert_eq!(settled(Version::HTTP_2, "https://example.com/a", &["evil.com"]), Err(Error::BadHost));
    }
}
