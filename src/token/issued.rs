//! What this gateway gave out itself, as rules see it: looked up by id, never parsed out of a token.
//!
//! Rules ask through [`Issued`], which must answer from memory: a look-up is part of every request. Who
//! keeps the records, and how long one change takes to reach every gateway, is not known here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scheme::digest::{Hash, hex, same};
use crate::clock::UnixTime;

/// A kind of record; ids are told apart within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// api.video upload tokens, by the token.
    UploadToken,
    /// api.video private tokens, by the token.
    PrivateToken,
    /// Ziggeo auth tokens, by the token.
    AuthToken,
    /// Rules of a Cloudflare Stream video, by its uid.
    StreamVideo,
    /// API keys, by their public id; those of the config by the SHA-256 of the whole key as well.
    ApiKey,
    /// api.video access tokens, by their SHA-256.
    AccessToken,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::UploadToken, Self::PrivateToken, Self::AuthToken, Self::StreamVideo, Self::ApiKey, Self::AccessToken];

    /// Its one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UploadToken => "upload-token",
            Self::PrivateToken => "private-token",
            Self::AuthToken => "auth-token",
            Self::StreamVideo => "stream-video",
            Self::ApiKey => "api-key",
            Self::AccessToken => "access-token",
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issue {
    /// An api.video upload token.
    UploadToken(UploadToken),
    /// An api.video private token.
    PrivateToken(PrivateToken),
    /// A Ziggeo auth token.
    AuthToken(AuthToken),
    /// Rules of a Cloudflare Stream video.
    StreamVideo(StreamVideo),
    /// An API key.
    ApiKey(ApiKey),
    /// An api.video access token.
    AccessToken(AccessToken),
}

/// Looks records up.
pub trait Issued: Send + Sync + std::fmt::Debug {
    /// The record, unless there is none or it was taken back. Its dates are for the rule to judge.
    fn find(&self, kind: Kind, id: &str) -> Option<Arc<Issue>>;

    /// Is told of the first use of a record that is good for one. Must not wait.
    fn spend(&self, _kind: Kind, _id: &str) {}

    /// Whether the viewer's session made the object (Ziggeo `session_owned`).
    fn owns(&self, _session: &str, _object: &str) -> bool {
        false
    }

    /// Is told that the viewer's session made an object. Must not wait.
    fn made(&self, _session: &str, _object: &str) {}
}

/// Nothing was given out.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingIssued;

impl Issued for NothingIssued {
    fn find(&self, _: Kind, _: &str) -> Option<Arc<Issue>> {
        None
    }
}

/// Records that do not change: for `explain` by hand, conformance vectors and tests.
#[derive(Debug, Clone, Default)]
pub struct FixedIssued(pub std::collections::HashMap<(Kind, String), Arc<Issue>>);

impl FixedIssued {
    /// With one record more.
    #[must_use]
    pub fn with(mut self, id: &str, issue: Issue) -> Self {
        self.0.insert((issue.kind(), id.to_owned()), Arc::new(issue));
        self
    }
}

impl Issued for FixedIssued {
    fn find(&self, kind: Kind, id: &str) -> Option<Arc<Issue>> {
        self.0.get(&(kind, id.to_owned())).cloned()
    }
}

impl Issue {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::UploadToken(_) => Kind::UploadToken,
            Self::PrivateToken(_) => Kind::PrivateToken,
            Self::AuthToken(_) => Kind::AuthToken,
            Self::StreamVideo(_) => Kind::StreamVideo,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::AccessToken(_) => Kind::AccessToken,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> &str {
        match self {
            Self::UploadToken(token) => &token.account,
            Self::PrivateToken(token) => &token.account,
            Self::AuthToken(token) => &token.account,
            Self::StreamVideo(video) => &video.account,
            Self::ApiKey(key) => &key.account,
            Self::AccessToken(access) => &access.account,
        }
    }

    /// The first second at which it is no longer good.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        match self {
            Self::UploadToken(token) => token.until(),
            Self::PrivateToken(token) => token.until,
            Self::AuthToken(token) => token.until(),
            Self::StreamVideo(_) => UnixTime::MAX,
            Self::ApiKey(key) => key.until,
            Self::AccessToken(access) => access.until,
        }
    }
}

/// An api.video upload token ("Delegated uploads"): whoever has it may upload, as often as they like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadToken {
    /// Whose it is.
    pub account: String,
    /// Seconds that it is good for; 0: until it is deleted.
    pub ttl: u32,
    /// When it was made.
    pub created: UnixTime,
}

impl UploadToken {
    /// The first second at which it is no longer good.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        if self.ttl == 0 { UnixTime::MAX } else { self.created.plus(i64::from(self.ttl)) }
    }
}

/// An api.video private token ("Private videos"): good for one use, which opens a viewing of 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateToken {
    /// Whose it is.
    pub account: String,
    /// The one video that it opens.
    pub video: String,
    /// What its session tokens are made with. Never leaves the gateway.
    pub secret: String,
    /// When it was made.
    pub created: UnixTime,
    /// The first second at which nobody can begin with it.
    pub until: UnixTime,
    /// Whether it was used.
    #[serde(default)]
    pub spent: bool,
}

impl PrivateToken {
    /// Seconds that a session token is good for ("the session is valid for 24 hours").
    pub const SESSION: i64 = 24 * 3600;

    /// A session token that is refused from `until` on: eight hex digits of that, then 32 of a MAC.
    #[must_use]
    pub fn session(&self, until: UnixTime) -> String {
        let end = format!("{:08x}", until.0.clamp(0, i64::from(u32::MAX)));
        let mac = self.mac(&end);
        end + &mac
    }

    /// When the session token `text` of this private token ends; `None` when it is not of it.
    #[must_use]
    pub fn session_until(&self, text: &str) -> Option<UnixTime> {
        let (end, mac) = text.split_at_checked(8)?;
        let same = same(mac.as_bytes(), self.mac(end).as_bytes());
        // The MAC stands over the digits as they are written, so another spelling of them has another MAC.
        let seconds = i64::from_str_radix(end, 16).ok()?;
        same.then_some(UnixTime(seconds))
    }

    fn mac(&self, end: &str) -> String {
        let mut mac = hex(&Hash::Sha256.mac(self.secret.as_bytes(), &[format!("avh\0{}\0{end}", self.video).as_bytes()]));
        mac.truncate(32);
        mac
    }
}

/// A Ziggeo auth token, made by its server API or offline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthToken {
    /// Whose it is: the application token.
    pub account: String,
    /// A name of the caller's own, under which it can be found as well.
    pub key: Option<String>,
    /// Whether it goes by itself when it stays empty.
    pub volatile: bool,
    /// Whether it cannot be used directly.
    pub hidden: bool,
    /// The first second at which it is refused.
    pub expiration_date: Option<i64>,
    /// Seconds that each of its sessions may last.
    pub usage_expiration_time: Option<u32>,
    /// How many sessions it allows over its life.
    pub session_limit: Option<u32>,
    /// What it allows.
    pub grants: Grants,
    /// When it was made or last changed.
    pub changed: i64,
}

impl AuthToken {
    /// Seconds after which a volatile token without grants goes. The vendor gives no figure.
    pub const EMPTY_FOR: i64 = 3600;

    /// The first second at which it is no longer good.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        let by_date = self.expiration_date.map_or(UnixTime::MAX, UnixTime);
        let empty = self.volatile && self.grants.is_empty();
        if empty { by_date.min(UnixTime(self.changed).plus(Self::EMPTY_FOR)) } else { by_date }
    }
}

/// What a Ziggeo token allows, by verb. What is not there is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Playing and looking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Reach>,
    /// Recording and uploading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Reach>,
    /// Recording again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Reach>,
    /// Deleting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy: Option<Reach>,
}

impl Grants {
    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.read.is_none() && self.create.is_none() && self.update.is_none() && self.destroy.is_none()
    }
}

/// Which objects a verb reaches: any of what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// Every object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Objects made in the same session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub session_owned: bool,
    /// These objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

/// What is said of one Cloudflare Stream video.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamVideo {
    /// Whose it is.
    pub account: String,
    /// Whether its bare uid opens nothing. `None`: nothing was said, and it opens nothing.
    pub require_signed_urls: Option<bool>,
    /// Pages that may show it: `example.com`, `*.example.com`, `localhost:8080`. None: every page.
    pub allowed_origins: Vec<String>,
    /// When something was first said of it.
    pub created: i64,
    /// When something was last said of it.
    pub modified: i64,
}

impl ApiKey {
    /// The whole text of a key of the ledger, which is shown once.
    #[must_use]
    pub fn text(id: &str, secret: &str) -> String {
        format!("tg_{id}_{secret}")
    }

    /// The id in a text that is written like a key of the ledger.
    #[must_use]
    pub fn id_in(text: &str) -> Option<&str> {
        text.strip_prefix("tg_")?.split_once('_').map(|(id, _)| id)
    }
}

impl StreamVideo {
    /// The id of what an account says of a video after another one has said something under the bare uid.
    #[must_use]
    pub fn id_beside(account: &str, uid: &str) -> String {
        format!("{account}/{uid}")
    }
}

/// A key of the control API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Whose it is.
    pub account: String,
    /// Its public id; the name of one of the config.
    pub id: String,
    /// SHA-256 of the whole key, lower-case hexadecimal.
    pub sha256: String,
    /// Whether it may change anything.
    pub writes: bool,
    /// The first second at which it is no longer good.
    pub until: UnixTime,
}

/// A bearer token that stands for an API key for a while (api.video, `POST /auth/api-key`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Whose it is.
    pub account: String,
    /// The API key by its id; when that is gone, so is this.
    pub api_key: String,
    /// The first second at which it is no longer good.
    pub until: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> PrivateToken {
        PrivateToken {
            account: "a".into(),
            video: "viABC".into(),
            secret: "s".into(),
            created: UnixTime(0),
            until: UnixTime(9),
            spent: false,
        }
    }

    #[test]
    fn a_session_token_is_of_its_private_token_and_video() {
        let token = private();
        let session = token.session(UnixTime(1_760_086_400));
        assert_eq!((session.len(), token.session_until(&session)), (40, Some(UnixTime(1_760_086_400))));
        let other = PrivateToken { video: "viOTHER".into(), ..private() };
        assert_eq!(other.session_until(&session), None);
        let later = session.replacen("68", "69", 1);
        assert_ne!(later, session);
        for bad in ["", "é", "forged", later.as_str(), &session.to_uppercase(), &session[..39]] {
            assert_eq!(token.session_until(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_upload_token_without_ttl_stays() {
        let token = |ttl| UploadToken { account: "a".into(), ttl, created: UnixTime(100) };
        assert_eq!((token(0).until(), token(60).until()), (UnixTime::MAX, UnixTime(160)));
    }

    #[test]
    fn a_volatile_token_goes_while_it_is_empty() {
        let empty = AuthToken { volatile: true, changed: 100, ..AuthToken::default() };
        assert_eq!(empty.until(), UnixTime(100 + AuthToken::EMPTY_FOR));
        let filled = AuthToken { grants: Grants { read: Some(Reach::default()), ..Grants::default() }, ..empty.clone() };
        assert_eq!(filled.until(), UnixTime::MAX);
        assert_eq!(AuthToken { expiration_date: Some(200), ..empty }.until(), UnixTime(200));
    }
}
