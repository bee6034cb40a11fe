//! What a request says of the page and the program it comes from: `Referer` and `User-Agent`.
//!
//! Both are the caller's own words. They keep honest players on the right pages; they stop nobody
//! who writes his own headers, and nothing else is ever decided by them.

use serde::{Deserialize, Serialize};

use super::grant::host_matches;
use super::{Denial, RequestFacts};

/// Which pages may refer to a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referrers {
    /// Hosts in lower case; `*.` stands for one or more labels, a lone `*` for every host.
    pub allowed: Vec<String>,
    /// Whether a request without a referring page passes.
    pub allow_none: bool,
}

impl Referrers {
    /// Whether the request's page is one of these.
    ///
    /// # Errors
    /// [`Denial::Referrer`]; [`Denial::Duplicate`] and [`Denial::Malformed`] for a header that comes twice or is not text.
    pub fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let referrer = facts.single_header("referer")?.map(str::trim).filter(|referrer| !referrer.is_empty());
        let holds = match referrer {
            None => self.allow_none,
            Some(page) => {
                host_of(page).is_some_and(|host| self.allowed.iter().any(|allowed| allowed == "*" || host_matches(allowed, &host)))
            }
        };
        if holds { Ok(()) } else { Err(Denial::Referrer) }
    }
}

/// The host of an http or https address; no other address is a page.
fn host_of(page: &str) -> Option<String> {
    let uri: http::Uri = page.split('#').next().unwrap_or(page).parse().ok()?;
    let of_the_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().filter(|_| of_the_web)?;
    // `user@` before a host makes addresses that look like another site's.
    let plain = !uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    plain.then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

/// Which programs may play a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAgents {
    /// Whether a request without a `User-Agent` passes.
    pub allow_none: bool,
    /// Texts, in lower case, that a `User-Agent` must not contain.
    pub refused: Vec<String>,
}

impl UserAgents {
    /// Whether the request's program passes.
    ///
    /// # Errors
    /// [`Denial::UserAgent`]; [`Denial::Duplicate`] and [`Denial::Malformed`] for a header that comes twice or is not text.
    pub fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let agent = facts.single_header("user-agent")?.map(str::trim).filter(|agent| !agent.is_empty());
        let holds = match agent {
            None => self.allow_none,
            Some(agent) => {
                let agent = agent.to_ascii_lowercase();
                !self.refused.iter().any(|refused| agent.contains(refused.as_str()))
            }
        };
        if holds { Ok(()) } else { Err(Denial::UserAgent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_hosts() {
        for (page, host) in [
            ("https://shop.example.com/x?y", Some("shop.example.com")),
            ("https://Shop.Example.com.", Some("shop.example.com")),
            ("http://a:8080/", Some("a")),
            ("https://good.example.com@evil.test/", None),
            ("ftp://a/", None),
            ("shop.example.com", None),
            ("about:blank", None),
            ("/x", None),
        ] {
            assert_eq!(host_of(page).as_deref(), host, "{page}");
        }
    }
}
