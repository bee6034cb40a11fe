//! Rules on whole URLs: scheme, host, port, path and query.
//!
//! A wildcard never reaches out of the part of the URL it was written in, so that nothing a caller
//! puts into a query can pass for a host or a path.

use serde::{Deserialize, Serialize};

use super::RequestFacts;
use crate::{path, query};

/// One rule on the URL that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UrlRule {
    /// CloudFront's `Resource`: `*` stands for any characters, `?` for any one. A query is covered
    /// only by a pattern that says so, or that ends in `*`.
    Pattern {
        /// The pattern.
        pattern: String,
        /// Query parameters that are not part of the URL: the token's own.
        ignore: Vec<String>,
    },
    /// This URL, without query, and what is below it on a segment boundary.
    Under {
        /// The URL.
        prefix: UrlPrefix,
        /// The beginning of the segment that holds the token: it is not part of the URL.
        beside: Option<String>,
    },
}

/// The beginning of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlPrefix {
    https: bool,
    authority: String,
    path: String,
}

impl UrlPrefix {
    /// Takes `http(s)://host[:port][/path]`; a path with more than one reading, a query or a
    /// fragment gives `None`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let path = if at == rest.len() { "/" } else { &rest[at..] };
        let path = path::CleanPath::parse(path).ok()?.decoded().to_owned();
        let host = &rest[..at];
        if host.is_empty() || host.contains(['@', '?', '#', '\\']) {
            return None;
        }
        Some(Self { https, authority: without_default_port(&host.to_ascii_lowercase(), https).to_owned(), path })
    }
}

impl UrlRule {
    /// Whether the URL asked for fits.
    #[must_use]
    pub fn holds(&self, facts: &RequestFacts<'_>) -> bool {
        match self {
            Self::Pattern { pattern, ignore } => {
                let query = facts.query.and_then(|raw| query::without(raw, |name| ignore.iter().any(|own| own == name)));
                pattern_holds(pattern, facts, query.as_deref())
            }
            Self::Under { prefix, beside } => {
                let asked = facts.path.decoded();
                let asked = beside.as_deref().map_or(asked.into(), |start| path::without_segment(asked, start));
                prefix.https == facts.https && prefix.authority == authority(facts) && path::is_under(&asked, &prefix.path)
            }
        }
    }
}

fn pattern_holds(pattern: &str, facts: &RequestFacts<'_>, query: Option<&str>) -> bool {
    if pattern.bytes().all(|byte| byte == b'*') {
        return !pattern.is_empty();
    }
    let Some((scheme, rest)) = pattern.split_once("://") else { return false };
    if !wildcard(scheme, if facts.https { "https" } else { "http" }) {
        return false;
    }
    let Some(at) = rest.find('/') else {
        // No path in the pattern: only a last star can stand for the path.
        return rest.strip_suffix('*').is_some_and(|host| wildcard(&format!("{}*", host.to_ascii_lowercase()), &authority(facts)));
    };
    let host = rest[..at].to_ascii_lowercase();
    wildcard(without_default_port(&host, facts.https), &authority(facts)) && path_holds(&rest[at..], facts.path.raw(), query)
}

/// A star may run over the `?` of the URL only when it is the pattern's last character.
fn path_holds(pattern: &str, path: &str, query: Option<&str>) -> bool {
    let Some(query) = query else { return wildcard(pattern, path) };
    (pattern.ends_with('*') && wildcard(pattern, path))
        || pattern.match_indices('?').any(|(at, _)| wildcard(&pattern[at + 1..], query) && wildcard(&pattern[..at], path))
}

/// `scheme://host[:port]` as the caller wrote it, the scheme's own port left out.
#[must_use]
pub fn origin(facts: &RequestFacts<'_>) -> String {
    format!("{}://{}", if facts.https { "https" } else { "http" }, authority(facts))
}

fn authority(facts: &RequestFacts<'_>) -> String {
    match facts.port {
        Some(port) if port != if facts.https { 443 } else { 80 } => format!("{}:{port}", facts.host),
        _ => facts.host.to_owned(),
    }
}

fn without_default_port(host: &str, https: bool) -> &str {
    host.strip_suffix(if https { ":443" } else { ":80" }).unwrap_or(host)
}

/// Linear-time match of a pattern in which `*` stands for any bytes and `?` for any one.
#[must_use]
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::CleanPath;

    fn holds(rule: &UrlRule, url: &str) -> bool {
        let (scheme, rest) = url.split_once("://").expect("url");
        let at = rest.find('/').expect("path");
        let (target, host) = (&rest[at..], &rest[..at]);
        let (raw, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, port.parse().ok()));
        let path = CleanPath::parse(raw).expect("clean");
        rule.holds(&RequestFacts {
            https: scheme == "https",
            port,
            query,
            client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            ..RequestFacts::bare(host, &path, &http::HeaderMap::new())
        })
    }

    #[test]
    fn patterns_stay_in_their_part_of_the_url() {
        for (pattern, url, fits) in [
            ("*", "https://m.example/a?x=1", true),
            ("https://m.example/v/*", "https://m.example/v/a/b?x=1", true),
            ("https://m.example/v/*", "http://m.example/v/a", false),
            ("http*://m.example/v/*", "http://m.example/v/a", true),
            ("http*://m.example/v/*", "http://m.example/w?://m.example/v/", false),
            ("https://*.example/v/*", "https://m.example/v/a", true),
            ("https://*/v/*", "https://m.example/w/v/a", false),
            ("https://m.example/v?/a", "https://m.example/v1/a", true),
            ("https://m.example/v?/a", "https://m.example/v12/a", false),
            ("https://m.example/v/*.m3u8", "https://m.example/v/a.m3u8", true),
            ("https://m.example/v/*.m3u8", "https://m.example/v/a.m3u8?x=1", false),
            ("https://m.example/v/*.m3u8", "https://m.example/v/a.ts?.m3u8", false),
            ("https://m.example/v/*.m3u8*", "https://m.example/v/a.m3u8?x=1", true),
            ("https://m.example/v/*.m3u8?x=*", "https://m.example/v/a.m3u8?x=1", true),
            ("https://m.example/v/a?x=1", "https://m.example/v/a", false),
            ("https://m.example/v/a", "https://m.example/v/a?T=token", true),
            ("https://m.example:443/v/a", "https://m.example/v/a", true),
            ("https://m.example:8443/v/a", "https://m.example:8443/v/a", true),
            ("https://m.example/v/a", "https://m.example:8443/v/a", false),
            ("https://M.example/v/a", "https://m.example/v/a", true),
            ("https://*", "https://m.example/v/a?x=1", true),
            ("https://m.example", "https://m.example/", false),
            ("", "https://m.example/", false),
        ] {
            assert_eq!(holds(&UrlRule::Pattern { pattern: pattern.into(), ignore: vec!["T".into()] }, url), fits, "{pattern} {url}");
        }
    }

    #[test]
    fn prefixes_stop_at_segments() {
        for (prefix, url, fits) in [
            ("https://m.example/v/", "https://m.example/v/a?x=1", true),
            ("https://m.example/v", "https://m.example/v/a", true),
            ("https://m.example/v", "https://m.example/va", false),
            ("https://m.example/v/", "http://m.example/v/a", false),
            ("https://m.example", "https://m.example/v/a", true),
            ("https://m.example", "https://m.example.evil/v/a", false),
            ("http://m.example:80/", "http://m.example/a", true),
        ] {
            assert_eq!(
                holds(&UrlRule::Under { prefix: UrlPrefix::parse(prefix).expect("prefix"), beside: None }, url),
                fits,
                "{prefix} {url}"
            );
        }
        for bad in ["m.example/v", "ftp://m.example/", "https:///v", "https://m.example/v/../w", "https://m.example/v?x", "https://a@m/"] {
            assert_eq!(UrlPrefix::parse(bad), None, "{bad}");
        }
    }
}
