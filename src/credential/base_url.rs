//! Where a vendor is asked: the one place that its secrets are sent to.
//!
//! A [`BaseUrl`] is https, or plain http on this machine, without user name, query and fragment. What is
//! asked of a vendor is a path below it.

use http::Uri;
use http::uri::{Authority, Scheme};

use super::provider::Refused;

/// The address of a vendor's API, such as `https://ws.api.video`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without the slash at its end.
    path: String,
}

impl BaseUrl {
    /// Takes an address.
    ///
    /// # Errors
    /// A sentence that does not quote the text: it could hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "not an address: write `https://host/path`".to_owned())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("not an address: write `https://host/path`".into());
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err("an address here has no user name, and has a host".into());
        }
        let target = parts.path_and_query.as_ref();
        if target.is_some_and(|target| target.query().is_some()) || text.contains('#') {
            return Err("an address here has neither query nor fragment".into());
        }
        let here = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
        if scheme != Scheme::HTTPS && !(scheme == Scheme::HTTP && here) {
            return Err("secrets are sent by https only (plain http is taken on this machine)".into());
        }
        let path = target.map_or("", |target| target.path()).trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, path })
    }

    /// The address of `target` below it: a path that begins with `/`, with a query where there is one; or nothing, for itself.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it is not a path.
    pub fn join(&self, target: &str) -> Result<Uri, Refused> {
        let not_a_path = || Refused::Malformed("the request has a path that cannot be written".into());
        if !target.is_empty() && !target.starts_with('/') {
            return Err(not_a_path());
        }
        let whole = format!("{}{target}", self.path);
        let whole = if whole.is_empty() || whole.starts_with('?') { format!("/{whole}") } else { whole };
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(whole).build().map_err(|_| not_a_path())
    }

    /// Whether `uri` is on the same scheme, host and port.
    #[must_use]
    pub fn holds(&self, uri: &Uri) -> bool {
        let port = |authority: &Authority, scheme: &Scheme| authority.port_u16().unwrap_or(if *scheme == Scheme::HTTPS { 443 } else { 80 });
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return false };
        *scheme == self.scheme
            && authority.host().eq_ignore_ascii_case(self.authority.host())
            && port(authority, scheme) == port(&self.authority, &self.scheme)
            && !authority.as_str().contains('@')
    }

    /// `host[:port]`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_https_or_stay_here() {
        for good in ["https://a", "https://a/", "https://a:8443/v1", "http://127.0.0.1:3000", "http://localhost", "http://[::1]:1/x"] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["a", "/a", "http://a", "ftp://a", "https://u:p@a", "https://a?b", "https://a/#b", "https://", "http://localhost.evil"] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_lie_below() {
        for (base, target, whole) in [
            ("https://a", "/x?y=1", "https://a/x?y=1"),
            ("https://a/v1/", "/x", "https://a/v1/x"),
            ("https://a/v1", "", "https://a/v1"),
            ("https://a", "", "https://a/"),
        ] {
            assert_eq!(BaseUrl::parse(base).expect("base").join(target).expect("uri").to_string(), whole);
        }
        let base = BaseUrl::parse("https://a").expect("base");
        for bad in ["x", ".evil/", "@evil/", "/a b", ":80/"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_place_is_not_held() {
        let base = BaseUrl::parse("https://a.example/v1").expect("base");
        for (uri, held) in [
            ("https://a.example/other", true),
            ("https://A.example:443/", true),
            ("http://a.example/", false),
            ("https://a.example:444/", false),
            ("https://a.example.evil/", false),
            ("https://u@a.example/", false),
            ("/v1", false),
        ] {
            assert_eq!(base.holds(&uri.parse().expect("uri")), held, "{uri}");
        }
    }
}
