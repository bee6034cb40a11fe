//! Renewal of tokens that ask for it themselves (RFC 9246 `cdnistt`, CTA-5007 `catr`).
//!
//! A grant carries the wish as data ([`Renewal`]); the scheme makes the answer
//! ([`Scheme::renew`](super::Scheme::renew)); a higher floor decides and sends it.

use http::HeaderName;

use crate::clock::UnixTime;

/// A token's own word on its renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Renewed when so many seconds or fewer are left. When `None`: on every request, or after half its life where renewing sends
    /// the viewer elsewhere.
    pub within: Option<i64>,
    /// How many seconds the new token is good for, counted from its making.
    pub seconds: i64,
    /// How it travels to the viewer.
    pub by: RenewalCarrier,
}

/// How a renewed token travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalCarrier {
    /// As the old one came (CTA-5007 `automatic`).
    Same,
    /// In a cookie.
    Cookie {
        /// Its name.
        name: String,
        /// How many path segments its `Path` has; none for `/`.
        depth: usize,
        /// Further attributes that the token asks for, such as `Domain=example.com`.
        attributes: Vec<String>,
    },
    /// In a response header.
    Header {
        /// Its name.
        name: HeaderName,
        /// Parameters after the token.
        parameters: Vec<String>,
    },
    /// By a redirect to the same URL with the new token in it.
    Redirect {
        /// The status: 301, 302, 303, 307 or 308.
        status: u16,
    },
}

impl Renewal {
    /// Whether it is time, for a token that is refused from `until` on.
    #[must_use]
    pub fn is_due(&self, until: UnixTime, now: UnixTime) -> bool {
        let within = self.within.or(match self.by {
            // Sent on by every request, a player would get no further.
            RenewalCarrier::Redirect { .. } | RenewalCarrier::Same => Some(self.seconds / 2),
            RenewalCarrier::Cookie { .. } | RenewalCarrier::Header { .. } => None,
        });
        within.is_none_or(|within| until.since(now) <= within)
    }
}

/// What to answer with, beside the resource itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The new token.
    pub token: String,
    /// Whole `Set-Cookie` values.
    pub cookies: Vec<String>,
    /// Response headers.
    pub headers: Vec<(HeaderName, String)>,
    /// A redirect to answer with instead of the resource: status and `Location`.
    pub redirect: Option<(u16, String)>,
    /// The first second at which the new token is refused.
    pub until: UnixTime,
}

/// A `Set-Cookie` value. `Secure`, `HttpOnly` and a `SameSite` are always there: a token in a cookie
/// is not for scripts, for plain http, nor for forged cross-site requests. `SameSite=None` is what lets
/// players on other sites send it, which is what these cookies are for.
#[must_use]
pub fn set_cookie(name: &str, token: &str, path: &str, seconds: i64, more: &[String]) -> String {
    let mut out = format!("{name}={token}; Path={path}; Max-Age={seconds}; Secure; HttpOnly");
    let mut same_site = false;
    for attribute in more {
        let key = attribute.split('=').next().unwrap_or("").trim().to_ascii_lowercase();
        same_site |= key == "samesite";
        // What is set above cannot be set otherwise, and an attribute cannot bring another one along.
        let known = matches!(key.as_str(), "domain" | "samesite" | "partitioned" | "priority");
        if known && attribute.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b';' && b != b',') {
            out.push_str("; ");
            out.push_str(attribute.trim());
        }
    }
    if !same_site {
        out.push_str("; SameSite=None");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_closed_by_default() {
        let plain = set_cookie("c", "t", "/v", 30, &[]);
        assert_eq!(plain, "c=t; Path=/v; Max-Age=30; Secure; HttpOnly; SameSite=None");
        let asked = set_cookie("c", "t", "/", 30, &["SameSite=Lax".into(), "Path=/x".into(), "Domain=a; Path=/".into()]);
        assert_eq!(asked, "c=t; Path=/; Max-Age=30; Secure; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn renewal_is_due_near_the_end() {
        let renewal = Renewal { within: Some(60), seconds: 120, by: RenewalCarrier::Same };
        assert!(renewal.is_due(UnixTime(100), UnixTime(40)));
        assert!(!renewal.is_due(UnixTime(100), UnixTime(39)));
        let header = RenewalCarrier::Header { name: HeaderName::from_static("x"), parameters: Vec::new() };
        for (by, at_once) in [(RenewalCarrier::Redirect { status: 302 }, false), (header, true)] {
            let renewal = Renewal { within: None, seconds: 100, by };
            assert_eq!(renewal.is_due(UnixTime(100), UnixTime(49)), at_once);
            assert!(renewal.is_due(UnixTime(100), UnixTime(50)));
        }
    }
}
