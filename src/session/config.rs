//! What the config says of sessions: the `[sessions]` table and a route's `[routes.session]`.
//!
//! A limit that is unset is no limit; what the token itself says is merged in by
//! [`Terms::of`](super::Terms::of), and the tighter of the two holds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{HostRule, Place};
use crate::secret::Secret;
use crate::store::valkey::ValkeyStoreConfig;
use crate::token::grant::glob_matches;
use crate::units::{Period, Size};

/// The `[sessions]` table: what all routes share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Sessions at the same time over all routes (about 1 KiB each). Over it new ones are refused; none is ever forgotten.
    pub max_sessions: usize,
    /// Keys that sign tickets, newest first: the first one signs, all verify. Empty: a random key made at
    /// start, so that tickets end with the process; a fleet and restarts need keys of their own.
    pub ticket_keys: Vec<TicketKeyConfig>,
    /// How often this gateway tells the store which of its sessions are alive: no segment waits for the store.
    pub renew_every: Period,
    /// Where sessions and revocations are kept.
    pub store: StoreConfig,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { max_sessions: 100_000, ticket_keys: Vec::new(), renew_every: Period::seconds(2), store: StoreConfig::default() }
    }
}

/// One key that signs tickets. Exactly one of the three is set; at least 32 bytes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TicketKeyConfig {
    /// A file whose content, less a last line end, is the key.
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the key.
    pub secret_env: Option<String>,
    /// The key itself, as text.
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret<String>>,
}

impl SessionsConfig {
    /// The keys that sign tickets, newest first. `variable` reads the environment; paths are absolute in a loaded config.
    ///
    /// # Errors
    /// A sentence for the operator, which names the entry and never shows a key.
    pub fn ticket_secrets(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Secret<String>>, String> {
        let read =
            |(at, key): (usize, &TicketKeyConfig)| key.read(variable).map_err(|fault| format!("sessions.ticket_keys[{at}]: {fault}"));
        self.ticket_keys.iter().enumerate().map(read).collect()
    }
}

impl TicketKeyConfig {
    /// The key. `variable` reads the environment.
    ///
    /// # Errors
    /// A sentence for the operator, which never shows the key.
    pub fn read(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Secret<String>, String> {
        let text = match (&self.secret_file, &self.secret_env, &self.secret) {
            (Some(file), None, None) => crate::files::read_secret(file)?,
            (None, Some(name), None) => Secret::new(variable(name).ok_or_else(|| format!("environment variable {name} is not set"))?),
            (None, None, Some(secret)) => secret.clone(),
            _ => return Err("exactly one of secret_file, secret_env and secret must be set".into()),
        };
        if text.expose().len() < super::ticket::Tickets::KEY_MIN {
            return Err(super::ticket::KeyFault::Short.to_string());
        }
        Ok(text)
    }
}

/// Where sessions and revocations are kept: `store = "memory"`, or a `[sessions.store.valkey]` table.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreConfig {
    /// In this process: exact here, unknown to other gateways, gone at its end.
    #[default]
    Memory,
    /// In Valkey or Redis, shared by a fleet.
    Valkey(Box<ValkeyStoreConfig>),
}

/// A route's `[routes.session]` table. Without it, the route has no sessions: every request brings its token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSessionConfig {
    /// How child requests carry the ticket.
    pub propagation: Propagation,
    /// The name of the query parameter or cookie; in paths, what the ticket's segment begins with (`tg~`).
    pub parameter: String,
    /// How the cookie is set, with `propagation = "cookie"`.
    pub cookie: CookieConfig,
    /// Sessions at the same time on one token. The token's own limit holds where it is tighter; so below.
    #[schemars(range(min = 1))]
    pub concurrent_per_token: Option<u32>,
    /// Sessions at the same time of one subject, over all its tokens on this route.
    #[schemars(range(min = 1))]
    pub concurrent_per_subject: Option<u32>,
    /// Sessions at the same time of one device (the scheme's `device` claim) on this route.
    #[schemars(range(min = 1))]
    pub concurrent_per_device: Option<u32>,
    /// Sessions at the same time on one asset of this route.
    #[schemars(range(min = 1))]
    pub concurrent_per_asset: Option<u32>,
    /// Sessions over a token's whole life. Counts survive sessions, not a restart of a gateway that keeps them in memory.
    #[schemars(range(min = 1))]
    pub total_per_token: Option<u32>,
    /// Longest time of one session, pauses included.
    pub max_duration: Option<Period>,
    /// Different networks that one token may be used from within `network_window`.
    #[schemars(range(min = 1))]
    pub networks_per_token: Option<u32>,
    /// How long a network counts after its last new use: a phone that changes between two is not ten.
    pub network_window: Period,
    /// How many bits of an IPv4 address are its network: a /24 is one provider's neighbourhood.
    #[schemars(range(min = 8, max = 32))]
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address are its network: a /56 is what one home usually gets (RFC 6177).
    #[schemars(range(min = 16, max = 128))]
    pub ipv6_prefix: u8,
    /// Bytes of answers that one session may take, counted as they pass: a limit for players that load a whole file at once.
    pub max_bytes: Option<Size>,
    /// What happens to a viewer for whom there is no room.
    pub on_full: OnFull,
    /// How long a session lives without a request and without a byte of an answer. Unset: three target durations of its playlist, 20 s at
    /// least, 60 s where that is not known; an upload 10 min, because recorders pause between parts.
    pub idle_timeout: Option<Period>,
    /// How long an admitted session may go on after its token's end. 0: it ends with the token.
    pub outlive: Period,
    /// How long a ticket is good by itself: in a saved playlist, and after a silence longer than `idle_timeout`. While its
    /// session goes on it is good to the session's end, and live playlists bring new ones. A film's are good for its length.
    pub ticket_lifetime: Period,
    /// What happens when the shared store does not answer.
    pub on_store_error: OnStoreError,
    /// File extensions that open a session: playlists and files that are played by themselves. Segments
    /// (`ts`, `m4s`, `aac`) are not among them: a session begins with its playlist. `*`: every path.
    pub entries: Vec<String>,
    /// Requests that open no session and hold none open for long.
    pub probes: ProbesConfig,
    /// Other hosts that playlists may send tickets to, such as `cdn.example.com` or `*.example.com`. None,
    /// because whoever gets a ticket can watch with it.
    pub ticket_hosts: Vec<String>,
    /// Links in playlists that stay as they are, by where they stand, such as `key` or `asset_uri`.
    pub leave: Vec<Place>,
    /// The status of a refused session: 403, which makes players fall over to another source, or 429.
    pub refusal_status: RefusalStatus,
}

impl Default for RouteSessionConfig {
    fn default() -> Self {
        Self {
            propagation: Propagation::default(),
            parameter: "tg".into(),
            cookie: CookieConfig::default(),
            concurrent_per_token: None,
            concurrent_per_subject: None,
            concurrent_per_device: None,
            concurrent_per_asset: None,
            total_per_token: None,
            max_duration: None,
            networks_per_token: None,
            network_window: Period::seconds(600),
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            max_bytes: None,
            on_full: OnFull::default(),
            idle_timeout: None,
            outlive: Period::seconds(0),
            ticket_lifetime: Period::seconds(24 * 3600),
            on_store_error: OnStoreError::default(),
            entries: words(&["m3u8", "mpd", "mp4", "m4v", "m4a", "mp3", "webm", "mov", "mkv"]),
            probes: ProbesConfig::default(),
            ticket_hosts: Vec::new(),
            leave: Vec::new(),
            refusal_status: RefusalStatus::default(),
        }
    }
}

impl RouteSessionConfig {
    /// What does not make sense: the key, and a sentence on it.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if self.parameter.is_empty() || self.parameter.len() > 32 || !self.parameter.bytes().all(plain) {
            faults.push(("parameter", "`parameter` must be 1 to 32 letters, digits, '-' or '_'".to_owned()));
        }
        if self.cookie.same_site == SameSite::None && !self.cookie.secure {
            faults.push(("cookie", "browsers refuse a cookie with same_site = \"none\" that is not secure".to_owned()));
        }
        for host in self.ticket_hosts.iter().filter(|host| HostRule::parse(host).is_none()) {
            faults.push(("ticket_hosts", format!("\"{host}\" is not a host: write `cdn.example.com` or `*.example.com`")));
        }
        let entries = self.entries.iter().map(|word| ("entries", word));
        for (key, word) in entries.chain(self.probes.extensions.iter().map(|word| ("probes", word))) {
            if word.is_empty() || word.contains(['.', '/']) || (word.contains('*') && word != "*") {
                faults.push((key, format!("\"{word}\" is not an extension: write it without a dot")));
            }
        }
        for method in self.probes.methods.iter().filter(|method| method.parse::<http::Method>().is_err()) {
            faults.push(("probes", format!("\"{method}\" is not a method")));
        }
        for path in self.probes.paths.iter().filter(|path| !path.starts_with(['/', '*'])) {
            faults.push(("probes", format!("\"{path}\" matches nothing: a path begins with `/`")));
        }
        let off = |period: Option<Period>| period.is_some_and(|period| period.as_unix() == 0);
        let periods =
            [("idle_timeout", self.idle_timeout), ("max_duration", self.max_duration), ("ticket_lifetime", Some(self.ticket_lifetime))];
        for (key, _) in periods.into_iter().filter(|(_, period)| off(*period)) {
            faults.push((key, format!("`{key}` must be a second or more; leave it out for none of your own")));
        }
        faults
    }

    /// Whether a request opens a session: an entry, and no probe. `path` is decoded.
    #[must_use]
    pub fn opens(&self, method: &http::Method, path: &str) -> bool {
        self.is_entry(path) && !self.is_probe(method, path)
    }

    /// Whether a viewing begins with this decoded path: a playlist, or a file that is played by itself.
    #[must_use]
    pub fn is_entry(&self, path: &str) -> bool {
        has_extension(path, &self.entries) || self.entries.iter().any(|word| word == "*")
    }

    /// Whether a request is only a look, which opens no session.
    #[must_use]
    pub fn is_probe(&self, method: &http::Method, path: &str) -> bool {
        let probes = &self.probes;
        probes.methods.iter().any(|name| name.eq_ignore_ascii_case(method.as_str()))
            || has_extension(path, &probes.extensions)
            || probes.paths.iter().any(|glob| glob_matches(glob.as_bytes(), path.as_bytes()))
    }
}

/// Whether what stands behind the last dot of the last segment is one of `list`, in any case.
fn has_extension(path: &str, list: &[String]) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    list.iter().any(|word| extension.is_some_and(|extension| extension.eq_ignore_ascii_case(word)))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// How child requests carry the ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// In a path segment that the entry is redirected to: works in every player, and playlists stay as they are.
    #[default]
    Path,
    /// In the query of every link of rewritten playlists.
    Query,
    /// In a cookie; for pages of the same site only.
    Cookie,
    /// Nothing is added: the token itself is in the path, and children bring it along.
    Inherit,
    /// Nothing is added: children bring a token, or are told apart by token, network and program.
    None,
}

/// How a ticket's cookie is set. It is always `HttpOnly` and bound to a path.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CookieConfig {
    /// From which pages it comes along.
    pub same_site: SameSite,
    /// Only over https. Browsers take `same_site = "none"` only with it.
    pub secure: bool,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self { same_site: SameSite::default(), secure: true }
    }
}

/// `SameSite` of a cookie (RFC 6265bis §5.6.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// From pages of the same site only.
    #[default]
    Strict,
    /// And when a link leads here.
    Lax,
    /// From every page.
    None,
}

impl SameSite {
    /// As it is written in `Set-Cookie`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// What happens to a viewer for whom there is no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// The new one is turned away; who watches goes on.
    #[default]
    Refuse,
    /// The session that began first ends, and the new one is let in. Limits that no eviction can meet still refuse.
    EvictOldest,
    /// Everybody is let in; what is over a limit is counted and logged.
    Observe,
}

/// What happens when the shared store does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreError {
    /// No new session; those that are known go on.
    Deny,
    /// Every new session, uncounted against the fleet's limits.
    Allow,
    /// Each gateway counts by itself: at most so many times the limit as there are gateways.
    #[default]
    Local,
}

/// Requests that open no session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesConfig {
    /// Methods: players and link checkers ask with `HEAD` before they play.
    pub methods: Vec<String>,
    /// Extensions: posters, thumbnails, captions and keys are asked for without playing.
    pub extensions: Vec<String>,
    /// Paths, as globs (`*` within a segment, `**` across), such as `/**/storyboard*`.
    pub paths: Vec<String>,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        let extensions = ["jpg", "jpeg", "png", "gif", "webp", "avif", "svg", "vtt", "srt", "ttml", "dfxp", "key"];
        Self { methods: words(&["HEAD"]), extensions: words(&extensions), paths: Vec::new() }
    }
}

/// The status of a refused session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(with = "u16", extend("enum" = [403, 429]))]
pub enum RefusalStatus {
    /// 403: no player waits on 429, some fall over to another source on 403.
    #[default]
    Forbidden,
    /// 429: what those expect who write their own players.
    TooMany,
}

impl TryFrom<u16> for RefusalStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            403 => Ok(Self::Forbidden),
            429 => Ok(Self::TooMany),
            _ => Err("a refused session is 403 or 429"),
        }
    }
}

impl From<RefusalStatus> for u16 {
    fn from(status: RefusalStatus) -> Self {
        match status {
            RefusalStatus::Forbidden => 403,
            RefusalStatus::TooMany => 429,
        }
    }
}

#[cfg(test)]
mod tests;
