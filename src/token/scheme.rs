//! What every token scheme can do.
//!
//! A scheme is pure. Its work is in three steps, so that the costly one can be remembered:
//! [`Scheme::present`] finds the token in the request; [`Scheme::open`] verifies its bytes and says
//! what they allow; [`Scheme::fits`] and [`Grant::check`] ask, on every request, whether that covers
//! this request at this time.

pub mod akamai_edgeauth;
pub mod amazon_ivs;
pub mod api_key;
pub mod apivideo_private;
pub mod apivideo_upload;
pub mod ats_access_control;
pub mod ats_url_sig;
pub mod aws_smd;
pub mod bunny;
pub mod cloudflare_stream;
pub mod cloudfront;
pub(crate) mod compact;
pub mod config;
pub mod cta_5007;
pub mod digest;
pub mod digest_url;
pub mod exchange;
mod fields;
pub mod google_cloud_cdn;
pub mod google_media_cdn;
mod google_signed;
pub mod jwt;
pub mod mux;
pub(crate) mod pattern;
pub mod rfc9246;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
pub mod times;
pub mod wowza;
pub mod ziggeo;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::carrier::field_value;
use super::{Denial, Grant, Presented, RequestFacts, Where};
use crate::clock::UnixTime;

/// One token format with its rules, keys and carriers, as configured.
pub trait Scheme: Send + Sync {
    /// The scheme's name as in the config's `type`: `cloudflare-stream`, `mux`, `jwt`, …
    fn kind(&self) -> &'static str;

    /// Finds this scheme's token. `Ok(None)` when the request carries none.
    ///
    /// # Errors
    /// [`Denial::Duplicate`] when one of its places holds several, [`Denial::Malformed`] when the encoding is broken.
    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial>;

    /// Verifies the token and says what it allows. Must not depend on the time; may depend on
    /// `facts` only where [`Scheme::remembers`] is false.
    ///
    /// # Errors
    /// Why the token is not a good one, whatever the request.
    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial>;

    /// Whether the verdict of [`Scheme::open`] depends on the token's bytes alone, so that it may
    /// be remembered under them.
    fn remembers(&self) -> bool {
        true
    }

    /// Whether [`Scheme::open`] or [`Scheme::fits`] asks for what was issued here ([`super::Issued`]).
    fn looks_up(&self) -> bool {
        false
    }

    /// Rules of the scheme's own that look at the request, asked on every request after
    /// [`Grant::check`].
    ///
    /// # Errors
    /// Why this grant does not cover this request.
    fn fits(&self, _grant: &Grant, _facts: &RequestFacts<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// The answer to a token that asks for its renewal, made when it is due. `Ok(None)` when there is
    /// nothing to renew.
    ///
    /// # Errors
    /// [`SignError`] when the scheme has no key to sign with.
    fn renew(&self, _due: &Due<'_>) -> Result<Option<super::Renewed>, SignError> {
        Ok(None)
    }

    /// The token's own answer to a refusal by its grant (CTA-5007 `catif`), if it has one.
    ///
    /// # Errors
    /// [`SignError`] when the answer holds a token to be made and there is no key to sign it with.
    fn answer(&self, grant: &Grant, denial: Denial, _now: UnixTime) -> Result<Option<super::Answer>, SignError> {
        Ok(grant.answers.iter().find(|answer| answer.on.contains(&denial)).cloned())
    }

    /// Is told when a token for one use was used, once. Must not wait.
    fn spend(&self, _grant: &Grant) {}

    /// What the request calls its playback, in the scheme's own words: it tells viewers apart.
    fn playback<'r>(&self, _facts: &RequestFacts<'r>) -> Option<std::borrow::Cow<'r, str>> {
        None
    }

    /// The viewer's session for which a request makes an object, where grants can be for what a session made.
    fn maker(&self, _facts: &RequestFacts<'_>) -> Option<String> {
        None
    }

    /// Is told what the origin answered to such a request. Must not wait.
    fn made(&self, _session: &str, _answer: &[u8]) {}

    /// The answer to a request that is for the gateway and not for the origin, such as one for a session token:
    /// without a grant before any token is asked for, with one after it was found good.
    fn reply(&self, _grant: Option<&Grant>, _facts: &RequestFacts<'_>, _now: UnixTime) -> Option<Reply> {
        None
    }

    /// The vendor's own words for a refusal, so that its players and SDKs understand it.
    fn refusal(&self, _denial: Denial) -> Option<Reply> {
        None
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`SignError`] when the scheme cannot sign, has no private key, or cannot express the request.
    fn sign(&self, _request: &SignRequest) -> Result<Signed, SignError> {
        Err(SignError::CannotSign)
    }

    /// Whether this scheme takes what stands in `place` for its token, or for a part of it: what must not come from
    /// somebody else where a token of this scheme is put.
    fn reads(&self, place: Where<'_>) -> bool;

    /// A path that it could sign, for trying out whether it can sign at all.
    fn sample_path(&self) -> String {
        "/tollgate/folder/file.m3u8".to_owned()
    }

    /// Beginnings of path segments that hold this scheme's token, for
    /// [`CleanPath::parse_with_tokens`](crate::path::CleanPath::parse_with_tokens).
    fn path_tokens(&self) -> Vec<String> {
        Vec::new()
    }

    /// Key sets of this scheme, so that an unknown key id can have a remote set fetched anew.
    fn key_sources(&self) -> Vec<super::KeySource> {
        Vec::new()
    }
}

/// A good token that may be due for its renewal.
#[derive(Clone, Copy)]
pub struct Due<'d> {
    /// What it allows.
    pub grant: &'d Grant,
    /// How it came.
    pub presented: &'d Presented<'d>,
    /// The request that it came with.
    pub facts: &'d RequestFacts<'d>,
    /// When that came.
    pub now: UnixTime,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: http::StatusCode,
    /// The media type.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

/// What a new token shall allow. [`Scheme::sign`] may leave out what the scheme has no words for; [`exact::sign`](super::exact::sign) refuses.
#[derive(Debug, Clone, Default)]
pub struct SignRequest {
    /// `https` or `http`, for schemes that sign whole URLs.
    pub https: bool,
    /// The host of the URL, lower case, with `:port` when it has one.
    pub host: String,
    /// The raw path of the URL without any token: for Cloudflare Stream `/{uid}/manifest/video.m3u8`.
    pub path: String,
    /// The raw query of the URL without any token.
    pub query: Option<String>,
    /// How many bytes of the path are the route's prefix (see [`RequestFacts::mount`]).
    pub mount: usize,
    /// The path or prefix that the token shall open, where the scheme can say it; the URL's own path when `None`.
    pub scope: Option<String>,
    /// The first second at which it is refused.
    pub expires: Option<UnixTime>,
    /// The first second at which it is good.
    pub not_before: Option<UnixTime>,
    /// When it is made.
    pub now: Option<UnixTime>,
    /// Who it is for.
    pub subject: Option<String>,
    /// The key to sign with; the scheme's first signing key when `None`.
    pub key_id: Option<String>,
    /// The address it is bound to, where the scheme has that.
    pub client_ip: Option<std::net::IpAddr>,
    /// The country of that address, for schemes that cover it.
    pub country: Option<super::Country>,
    /// The autonomous system of that address, for the same.
    pub system: Option<u32>,
    /// Headers that the viewer will send, for the same.
    pub headers: Vec<(HeaderName, String)>,
    /// How many viewings it allows, and how long; what the scheme has no words for is not said.
    pub session: super::SessionTerms,
    /// Further claims or fields, by the scheme's own names.
    pub claims: Map<String, Value>,
}

/// A token made, and where it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// The token's text.
    pub token: String,
    /// The raw path with the token in place, where it rides in the path; else the path as asked for.
    pub path: String,
    /// The raw query with the token in place, where it rides there; else the query as asked for.
    pub query: Option<String>,
    /// Headers that carry it.
    pub headers: Vec<(HeaderName, String)>,
    /// Cookies that carry it, as `(name, value)`.
    pub cookies: Vec<(String, String)>,
}

impl Signed {
    /// The headers that carry it, cookies in one `Cookie`; `None` when they cannot be sent.
    #[must_use]
    pub fn fields(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), field_value(value).ok()?);
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            headers.insert(COOKIE, field_value(&pairs.join("; ")).ok()?);
        }
        Some(headers)
    }

    /// The same for the path `to` instead of `from`; `None` where the token stands below what both have in common.
    #[must_use]
    pub fn moved(&self, from: &str, to: &str) -> Option<Self> {
        if self.path == from {
            return Some(Self { path: to.to_owned(), ..self.clone() });
        }
        let alike = from.bytes().zip(self.path.bytes()).take_while(|(one, other)| one == other).count();
        let (before, after) = from.split_at(from.as_bytes()[..alike].iter().rposition(|byte| *byte == b'/')? + 1);
        let token = self.path.strip_prefix(before)?.strip_suffix(after)?;
        Some(Self { path: format!("{before}{token}{}", to.strip_prefix(before)?), ..self.clone() })
    }
}

/// Why no token could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The scheme only verifies.
    #[error("this scheme cannot sign")]
    CannotSign,
    /// No private key, or not the one asked for.
    #[error("no private key {0:?} to sign with")]
    NoKey(Option<String>),
    /// The scheme has no words for what was asked.
    #[error("{0}")]
    CannotExpress(String),
    /// The scheme signs on without this field of the request.
    #[error("the scheme has no words for `{0}`")]
    NoWords(&'static str),
    /// The scheme does not take what it signed.
    #[error("the scheme refuses such a token: {0}")]
    Refused(Denial),
    /// The crypto library refused.
    #[error("signing failed")]
    Crypto,
}
