//! What the ledger keeps: one record for each thing that was issued.
//!
//! A record's id is what callers present, or what operators name it by; within one kind it is never
//! given twice. Ids of tokens are secrets: they are not shown by `Debug`. A private key or another
//! secret beside the id goes into [`Record::secret`], which only the ledger writes down, sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::revocation::Revocation;
use crate::secret::{Fingerprint, Secret};
use crate::token::{Algorithm, SessionTerms};

/// Levels that JSON of a caller's choice may be nested in a record. A record is read with 128 at most, its own included, and
/// one that cannot be read again would stand in the way of every listing and sweep.
pub const DEEPEST: usize = 100;

/// The kinds of records. Their numbers are in the file and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// An api.video upload token.
    UploadToken = 1,
    /// A Ziggeo auth token.
    AuthToken = 2,
    /// A key that signs tokens.
    SigningKey = 3,
    /// An api.video one-time token of a private video.
    PrivateToken = 4,
    /// An api.video session of a private video (`avh`).
    VideoSession = 5,
    /// What holds for one video (Cloudflare Stream `requireSignedURLs`, `allowedOrigins`; api.video `public`).
    VideoSettings = 6,
    /// A signed token that the gateway's own API issued.
    Issued = 7,
    /// A key that opens the control API.
    ApiKey = 8,
    /// A bearer or refresh token that stands for an API key for a while.
    Access = 9,
    /// What was done through the control API.
    Audit = 10,
    /// The answer to a request that carried an idempotency key.
    Answered = 11,
    /// What a viewer's session made (Ziggeo).
    ViewerSession = 12,
    /// Something withdrawn before its time.
    Revoked = 13,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::UploadToken,
        Self::AuthToken,
        Self::SigningKey,
        Self::PrivateToken,
        Self::VideoSession,
        Self::VideoSettings,
        Self::Issued,
        Self::ApiKey,
        Self::Access,
        Self::Audit,
        Self::Answered,
        Self::ViewerSession,
        Self::Revoked,
    ];

    /// The kinds that followers hold ready instead of looking for them.
    pub const FOLLOWED: [Self; 2] = [Self::SigningKey, Self::Revoked];

    /// How many an account may have. Signing keys are looked up by walking their set, and a set has a most.
    #[must_use]
    pub const fn most(self) -> Option<u64> {
        if matches!(self, Self::SigningKey) { Some(crate::token::KeySet::MAX as u64) } else { None }
    }

    /// Its word in metrics, exports and the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UploadToken => "upload_token",
            Self::AuthToken => "auth_token",
            Self::SigningKey => "signing_key",
            Self::PrivateToken => "private_token",
            Self::VideoSession => "video_session",
            Self::VideoSettings => "video_settings",
            Self::Issued => "issued",
            Self::ApiKey => "api_key",
            Self::Access => "access",
            Self::Audit => "audit",
            Self::Answered => "answered",
            Self::ViewerSession => "viewer_session",
            Self::Revoked => "revoked",
        }
    }

    /// The kind of a number in the file.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Who a record belongs to: an account of the control API. Accounts do not see one another's records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Account(pub Arc<str>);

impl Account {
    /// The account of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing that was issued.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Who it belongs to.
    pub account: Account,
    /// What it is presented or named by.
    pub id: Arc<str>,
    /// When it was made.
    pub created: UnixTime,
    /// The first second in which it is gone; [`UnixTime::MAX`] for never.
    pub expires: UnixTime,
    /// What it is.
    pub body: Body,
    /// What must never be shown again: a private key. At most 64 KiB.
    #[serde(skip)]
    pub secret: Option<Secret<String>>,
}

impl Record {
    /// A record made `now` that does not end by itself.
    #[must_use]
    pub fn new(account: &Account, id: &str, now: UnixTime, body: Body) -> Self {
        Self { account: account.clone(), id: id.into(), created: now, expires: UnixTime::MAX, body, secret: None }
    }

    /// The same, gone at `expires`.
    #[must_use]
    pub fn until(self, expires: UnixTime) -> Self {
        Self { expires, ..self }
    }

    /// The same, with what must never be shown.
    #[must_use]
    pub fn with_secret(self, secret: Secret<String>) -> Self {
        Self { secret: Some(secret), ..self }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Whether it is gone at `now`.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        now >= self.expires
    }
}

impl std::fmt::Debug for Record {
    /// The id may be a token: it goes by its fingerprint.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("kind", &self.kind())
            .field("account", &self.account)
            .field("id", &Fingerprint::of(self.id.as_bytes()))
            .field("created", &self.created)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What a record says, by its kind.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the kinds say it")]
pub enum Body {
    UploadToken(UploadToken),
    AuthToken(AuthToken),
    SigningKey(SigningKey),
    PrivateToken(PrivateToken),
    VideoSession(VideoSession),
    VideoSettings(VideoSettings),
    Issued(Issued),
    ApiKey(ApiKey),
    Access(Access),
    Audit(Audit),
    Answered(Answered),
    ViewerSession(ViewerSession),
    Revoked(Revocation),
}

impl Body {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::UploadToken(_) => Kind::UploadToken,
            Self::AuthToken(_) => Kind::AuthToken,
            Self::SigningKey(_) => Kind::SigningKey,
            Self::PrivateToken(_) => Kind::PrivateToken,
            Self::VideoSession(_) => Kind::VideoSession,
            Self::VideoSettings(_) => Kind::VideoSettings,
            Self::Issued(_) => Kind::Issued,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::Access(_) => Kind::Access,
            Self::Audit(_) => Kind::Audit,
            Self::Answered(_) => Kind::Answered,
            Self::ViewerSession(_) => Kind::ViewerSession,
            Self::Revoked(_) => Kind::Revoked,
        }
    }

    /// Whether what a caller chose of it is nested deeper than [`DEEPEST`].
    pub(super) fn is_too_deep(&self) -> bool {
        match self {
            Self::Issued(token) => token.claims.values().any(|value| is_deeper(value, DEEPEST)),
            Self::VideoSettings(settings) => settings.other.values().any(|value| is_deeper(value, DEEPEST)),
            Self::AuthToken(token) => is_deeper(&token.grants, DEEPEST),
            _ => false,
        }
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(members) => levels == 0 || members.values().any(|member| is_deeper(member, levels - 1)),
        _ => false,
    }
}

/// An api.video upload token; its id is the token (`to…`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadToken {
    /// Seconds that it was made for; 0 for ever. [`Record::expires`] follows from it.
    pub ttl: u32,
}

/// A Ziggeo auth token; its id is the token (32 hex digits).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthToken {
    /// A second name that updates and deletions may use.
    pub key: String,
    /// Gone by itself when it stays empty.
    pub volatile: bool,
    /// Cannot be presented itself.
    pub hidden: bool,
    /// The last second before its end, as it was asked for. [`Record::expires`] follows from it.
    pub expiration_date: Option<i64>,
    /// Seconds that each session lasts.
    pub usage_expiration_time: Option<u32>,
    /// Sessions over its whole life.
    pub session_limit: Option<u32>,
    /// What it allows, as the vendor writes it, in its canonical form.
    pub grants: Value,
}

/// A key that signs tokens; its id is the key id. The private key is [`Record::secret`], as PKCS#8 PEM (or JWK for a shared secret).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// The one algorithm it is used with.
    pub algorithm: Algorithm,
    /// The public half as JWK; `None` for a shared secret.
    pub public_jwk: Option<String>,
    /// What it is called by operators.
    #[serde(default)]
    pub name: Option<String>,
    /// From when on nothing is signed with it any more; it verifies until the record's end.
    #[serde(default)]
    pub retires: Option<UnixTime>,
    /// The id as the vendor's API names it, where that differs.
    #[serde(default)]
    pub vendor_id: Option<String>,
}

/// An api.video one-time token of a private video; its id is the token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivateToken {
    /// The video that it opens.
    pub video: String,
    /// The viewer that used it first, as a digest; `None` until then.
    pub used_by: Option<String>,
    /// When it was used first.
    pub used: Option<UnixTime>,
}

/// An api.video session of a private video; its id is the session token (`avh`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoSession {
    /// The video that it opens.
    pub video: String,
    /// The one-time token that opened it.
    pub token: String,
}

/// What holds for one video; the id is whatever the data path finds it by (its uid).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoSettings {
    /// Whether it plays with a signed token only (Cloudflare Stream `requireSignedURLs`; api.video `public: false`).
    pub require_signed: bool,
    /// Hosts whose pages may show it; empty for all.
    pub allowed_origins: Vec<String>,
    /// Whatever else the vendor's API was told and gives back.
    pub other: Map<String, Value>,
}

/// What a token holds its viewers to beside path and time, as its own scheme read it when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Terms {
    /// It was made by a version that did not keep them.
    #[default]
    Unknown,
    /// These.
    Known {
        /// How many viewings, and how long.
        session: SessionTerms,
        /// To whom, or to what kind of request, it is bound: each [`Binding`](crate::token::Binding) in words.
        bindings: Vec<String>,
    },
}

/// A signed token that the gateway's own API issued; its id is the token's own id (`jti`), not its text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// The scheme that signed it.
    pub scheme: String,
    /// The key that signed it.
    pub key_id: Option<String>,
    /// Who it is for.
    pub subject: Option<String>,
    /// The path or prefix that it opens.
    pub path: String,
    /// When it is good.
    pub not_before: Option<UnixTime>,
    /// When it stops being good.
    pub expires: Option<UnixTime>,
    /// What else it holds its viewers to.
    pub terms: Terms,
    /// The policy that it was issued under.
    pub policy: Option<String>,
    /// Further claims, as asked for.
    pub claims: Map<String, Value>,
    /// SHA-256 of the token's text, so that a token can be found by what it is; hexadecimal.
    pub token_sha256: String,
    /// What it is withdrawn by.
    pub token_key: Option<crate::session::Key>,
    /// When it was revoked, if it was.
    pub revoked: Option<UnixTime>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Reader,
    /// Look, and issue and revoke tokens.
    Issuer,
    /// Everything, keys included.
    Admin,
}

/// A key that opens the control API; its id is the public part of the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// What it is called by operators.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the whole key, hexadecimal. Keys have 190 random bits, so that the hash needs no salt and no stretching.
    pub sha256: String,
    /// Requests in a minute; 0 for no limit.
    pub per_minute: u32,
}

/// A bearer or refresh token that stands for an API key for a while; its id is its SHA-256, hexadecimal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The API key by its id; when that is gone, so is this.
    pub api_key: String,
    /// Whether it gets new tokens and opens nothing itself.
    pub refresh: bool,
}

/// What was done through the control API; never holds a secret. Its id sorts by time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The API key's public id.
    pub who: String,
    /// What was done: `upload_token.create`.
    pub action: String,
    /// What it was done to: a fingerprint for tokens, an id for everything else.
    pub object: Option<String>,
    /// The request's id.
    pub request: String,
    /// The other end of the connection.
    pub peer: String,
    /// Whatever else tells.
    pub more: BTreeMap<String, String>,
}

/// The answer to a request that carried an idempotency key; its id is a digest of caller and key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answered {
    /// SHA-256 of what was asked: the same key for another request is a fault.
    pub request_sha256: String,
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: String,
}

/// What a viewer's session made; its id is the session token and the object, with `/` between.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewerSession {
    /// The object, which grants for `session_owned` reach.
    pub owned: Vec<String>,
}
