//! The scheme `amazon-ivs`: Amazon IVS private channels ("Generate and Sign IVS Playback Tokens").
//!
//! An ES384 JWT in `?token=`, tied to one channel, whose ARN must be that of the path. Claims of AWS's
//! own (`aws:…`) that are not known refuse the token.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compact::{self, Compact};
use super::times::Times;
use super::{Scheme, SignError, SignRequest, Signed};
use crate::name::Name;
use crate::token::{Algorithm, Carrier, Denial, Details, Grant, KeySource, Presented, RequestFacts, Where};

const CHANNEL: &str = "aws:channel-arn";
const ORIGIN: &str = "aws:access-control-allow-origin";
const STRICT: &str = "aws:strict-origin-enforcement";
const SINGLE_USE: &str = "aws:single-use-uuid";
const VIEWER: &str = "aws:viewer-id";
const VERSION: &str = "aws:viewer-session-version";
const RESOLUTION: &str = "aws:maximum-resolution";
const KNOWN: [&str; 7] = [CHANNEL, ORIGIN, STRICT, SINGLE_USE, VIEWER, VERSION, RESOLUTION];

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify with: ES384 keys.
    pub keys: Name,
    /// The channels let in, by ARN; with none given, any that the path names.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Whether the path must name the token's channel, as the service's own paths do
    /// (`/api/video/v1/REGION.ACCOUNT.channel.ID.m3u8`).
    #[serde(default = "yes")]
    pub match_path: bool,
    /// The name of the query parameter.
    #[serde(default = "parameter")]
    pub parameter: String,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
}

const fn yes() -> bool {
    true
}

fn parameter() -> String {
    "token".into()
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct AmazonIvs {
    config: Config,
    keys: KeySource,
}

/// What is asked of each request again.
struct Terms {
    /// How the path names the channel: `REGION.ACCOUNT.channel.ID`.
    name: String,
    /// The origins that alone may ask, when that is enforced.
    origins: Option<Vec<String>>,
}

/// `arn:aws:ivs:REGION:ACCOUNT:channel/ID` as the path writes it.
fn path_name(arn: &str) -> Option<String> {
    let mut parts = arn.split(':');
    let (head, region, account, channel) = ((parts.next()?, parts.next()?, parts.next()?), parts.next()?, parts.next()?, parts.next()?);
    let id = channel.strip_prefix("channel/")?;
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let formed = head.0 == "arn" && head.1.starts_with("aws") && head.2 == "ivs" && [region, account, id].into_iter().all(word);
    (formed && parts.next().is_none()).then(|| format!("{region}.{account}.channel.{id}"))
}

/// Whether a segment of `path` is the channel's (its name alone, or followed by a dot), and no other
/// segment is another channel's.
fn names_channel(path: &str, name: &str) -> bool {
    let ours = |segment: &str| segment.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let mut channels = path.split('/').filter(|segment| segment.contains(".channel.")).peekable();
    channels.peek().is_some() && channels.all(ours)
}

fn origins(claims: &Map<String, Value>) -> Result<Option<Vec<String>>, Denial> {
    let strict = claims.get(STRICT).map_or(Ok(false), |strict| strict.as_bool().ok_or(Denial::Claim))?;
    let allowed = compact::text(claims, ORIGIN)?;
    match (strict, allowed) {
        (false, _) => Ok(None),
        (true, None) => Err(Denial::Claim),
        (true, Some(list)) => Ok(Some(list.split(',').map(|origin| origin.trim().to_owned()).collect())),
    }
}

impl AmazonIvs {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        if let Some(bad) = config.channels.iter().find(|arn| path_name(arn).is_none()) {
            return Err(format!("\"{bad}\" is not the ARN of a channel"));
        }
        Ok(Self { config: config.clone(), keys })
    }

    fn terms(&self, claims: &Map<String, Value>) -> Result<Terms, Denial> {
        if claims.keys().any(|name| name.starts_with("aws:") && !KNOWN.contains(&name.as_str())) {
            return Err(Denial::Unsupported);
        }
        let arn = compact::text(claims, CHANNEL)?.ok_or(Denial::Claim)?;
        if !self.config.channels.is_empty() && !self.config.channels.iter().any(|have| have == arn) {
            return Err(Denial::Path);
        }
        Ok(Terms { name: path_name(arn).ok_or(Denial::Claim)?, origins: origins(claims)? })
    }
}

fn session_version(claims: &Map<String, Value>) -> Result<Option<u64>, Denial> {
    match (claims.get(VERSION), claims.get(VIEWER)) {
        (None, None) => Ok(None),
        // A viewer without a version is one whose every version counts as the first.
        (None, Some(_)) => Ok(Some(0)),
        (Some(version), Some(_)) => version.as_u64().map(Some).ok_or(Denial::Claim),
        (Some(_), None) => Err(Denial::Claim),
    }
}

/// RFC 9562 §4, in its hyphenated form.
fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    let lengths = [8, 4, 4, 4, 12];
    let hex = |group: &str, length: usize| group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    lengths.into_iter().all(|length| groups.next().is_some_and(|group| hex(group, length))) && groups.next().is_none()
}

impl Scheme for AmazonIvs {
    fn kind(&self) -> &'static str {
        "amazon-ivs"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        Carrier::Query(self.config.parameter.clone()).find(facts)
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = Compact::parse(&presented.token)?;
        if token.algorithm()? != Algorithm::ES384 {
            return Err(Denial::WrongAlgorithm);
        }
        let key = token.verify(&self.keys.load())?;
        let claims = &token.claims;
        let terms = self.terms(claims)?;
        let single_use = compact::text(claims, SINGLE_USE)?;
        if single_use.is_some_and(|id| !is_uuid(id)) {
            return Err(Denial::Claim);
        }
        Ok(Grant {
            subject: compact::text(claims, VIEWER)?.map(Into::into),
            resource: compact::text(claims, CHANNEL)?.map(Into::into),
            token_id: single_use.map(Into::into),
            single_use: single_use.is_some(),
            session_version: session_version(claims)?,
            key_id: key.id().cloned(),
            window: self.config.times.rules().window(claims)?,
            kind: compact::text(claims, RESOLUTION)?.map(Into::into),
            details: Details::new(terms),
            ..Grant::default()
        })
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let terms = grant.details.get::<Terms>().ok_or(Denial::Claim)?;
        if self.config.match_path && !names_channel(facts.path.decoded(), &terms.name) {
            return Err(Denial::Path);
        }
        let Some(origins) = &terms.origins else { return Ok(()) };
        let origin = facts.single_header("origin")?.ok_or(Denial::Referrer)?;
        if origins.iter().any(|have| have == "*" || have == origin) { Ok(()) } else { Err(Denial::Referrer) }
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let mut claims = request.claims.clone();
        let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
        if !claims.contains_key(CHANNEL) {
            let arn = self.config.channels.first().filter(|_| self.config.channels.len() == 1);
            claims.insert(CHANNEL.into(), arn.ok_or_else(|| cannot("a token needs aws:channel-arn"))?.as_str().into());
        }
        claims.insert("exp".into(), request.expires.ok_or_else(|| cannot("a token needs an expiry"))?.0.into());
        claims.extend(request.now.map(|at| ("iat".to_owned(), at.0.into())));
        claims.extend(request.not_before.map(|at| ("nbf".to_owned(), at.0.into())));
        claims.extend(request.subject.as_deref().map(|subject| (VIEWER.to_owned(), subject.into())));
        self.terms(&claims).map_err(|denial| cannot(&format!("the token would be refused: {denial}")))?;
        let keys = self.keys.load();
        let usable = keys.signing(request.key_id.as_deref()).filter(|key| key.algorithm() == Algorithm::ES384);
        let token = compact::sign(&claims, usable.ok_or_else(|| SignError::NoKey(request.key_id.clone()))?)?;
        let mut query = request.query.clone().unwrap_or_default();
        crate::query::push(&mut query, &self.config.parameter, &token);
        Ok(Signed { token, path: request.path.clone(), query: Some(query), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        place == Where::Query(&self.config.parameter)
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

#[cfg(test)]
mod tests;
