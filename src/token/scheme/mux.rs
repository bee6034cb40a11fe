//! The scheme `mux`: Mux signed playback.
//!
//! A JWS (RS256) rides in the query (`?token=`). `sub` is the playback id that the path must name,
//! `aud` the kind of resource. Whatever modifies the picture (`time`, `width`, …) stands in the token
//! and is handed on from there; beside the token only what players add themselves may stand. Rules
//! after Mux's "Secure video playback" guide and the tokens its SDK makes.

mod resource;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::resource::{Kind, Resource};
use super::cloudflare_stream::{open_rs256, require_rs256};
use super::{Scheme, SignError, SignRequest, Signed};
use crate::name::Name;
use crate::query;
use crate::token::browser::{Referrers, UserAgents};
use crate::token::jws::{self, Dates, TimeRules};
use crate::token::{Algorithm, Binding, Denial, Grant, KeySource, Presented, RequestFacts, Where, carrier};
use crate::units::Period;

/// Mux signed playback: `?token=`, one token for each kind of resource.
///
/// ```toml
/// [keys.mux]
/// file = "mux-signing-key.pem"       # the base64 that Mux hands out, or the PEM in it
/// id = "muxkid01"
///
/// [schemes.mux]
/// type = "mux"
/// keys = "mux"
///
/// [schemes.mux.restrictions.uP6cf00]
/// referrer = { allowed_domains = ["*.example.com"], allow_no_referrer = false }
/// user_agent = { allow_no_user_agent = false, allow_high_risk_user_agent = false }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify and sign with; RS256 keys only.
    pub keys: Name,
    /// Longest time from `iat` (or `nbf`) to `exp`. Tokens with neither are not measured: Mux's SDK writes neither.
    #[serde(default)]
    pub max_lifetime: Option<Period>,
    /// How far clocks may differ: added to `exp`, taken from `nbf`.
    #[serde(default = "none")]
    pub leeway: Period,
    /// Playback restrictions by id, as the API has them; a token that names another one is refused.
    #[serde(default)]
    pub restrictions: BTreeMap<String, Restriction>,
    /// What a `User-Agent` of high risk contains (case does not count); Mux does not publish its own list.
    #[serde(default = "high_risk")]
    pub high_risk_user_agents: Vec<String>,
}

/// One playback restriction, in the words of Mux's API.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restriction {
    /// Which pages may embed the video.
    pub referrer: ReferrerRestriction,
    /// Which programs may play it.
    pub user_agent: UserAgentRestriction,
}

/// Which pages may embed a video.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReferrerRestriction {
    /// Hosts; `*.` stands for one or more labels, a lone `*` for every host.
    pub allowed_domains: Vec<String>,
    /// Whether requests without a referring page pass.
    pub allow_no_referrer: bool,
}

/// Which programs may play a video.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserAgentRestriction {
    /// Whether requests without a `User-Agent` pass.
    pub allow_no_user_agent: bool,
    /// Whether programs of `high_risk_user_agents` pass.
    pub allow_high_risk_user_agent: bool,
}

impl Default for UserAgentRestriction {
    fn default() -> Self {
        Self { allow_no_user_agent: true, allow_high_risk_user_agent: true }
    }
}

fn none() -> Period {
    Period::seconds(0)
}

fn high_risk() -> Vec<String> {
    ["curl/", "wget/", "aria2/", "yt-dlp", "youtube-dl", "python-requests", "streamlink", "n_m3u8dl"].map(Into::into).to_vec()
}

/// The parameter that carries the token.
const TOKEN: &str = "token";

/// The claim that names a playback restriction.
const RESTRICTION: &str = "playback_restriction_id";

/// Claims that are about the token; every other one modifies the resource.
const ABOUT_THE_TOKEN: [&str; 9] = ["sub", "aud", "exp", "nbf", "iat", "iss", "jti", "kid", RESTRICTION];

/// Parameters that players add of themselves: CTA-5004 (`CMCD`), RFC 8216bis §6.2.5 (`_HLS_…`).
const OF_PLAYERS: [&str; 4] = ["CMCD", "_HLS_msn", "_HLS_part", "_HLS_skip"];

/// The scheme with its keys.
#[derive(Debug)]
pub struct Mux {
    keys: KeySource,
    times: TimeRules,
    restrictions: BTreeMap<String, [Binding; 2]>,
}

impl Mux {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        require_rs256(&keys, &config.keys)?;
        let times = TimeRules {
            dates: Dates::Numbers,
            require_expiry: true,
            leeway: config.leeway.as_unix(),
            max_lifetime: config.max_lifetime.map(Period::as_unix),
            pass_without_start: true,
        };
        let risky: Vec<String> = config.high_risk_user_agents.iter().map(|agent| agent.to_ascii_lowercase()).collect();
        let restrictions = config.restrictions.iter().map(|(id, restriction)| (id.clone(), bindings(restriction, &risky))).collect();
        Ok(Self { keys, times, restrictions })
    }

    fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, Denial> {
        let id = jws::text(claims, "sub")?.filter(|id| !id.is_empty()).ok_or(Denial::Claim)?;
        let window = self.times.window(claims)?;
        let kind = audience(claims)?;
        let restriction = match jws::text(claims, RESTRICTION)? {
            None => &[][..],
            // A restriction that is not known here cannot be kept, and a token says that it must be.
            Some(id) => &self.restrictions.get(id).ok_or(Denial::Claim)?[..],
        };
        Ok(Grant {
            resource: Some(id.into()),
            token_id: jws::text(claims, "jti")?.map(Into::into),
            window,
            bindings: restriction.to_vec(),
            kind: Some(kind.into()),
            upstream_query: modifiers(claims)?,
            ..Grant::default()
        })
    }

    fn claims_of(&self, request: &SignRequest) -> Result<Map<String, Value>, SignError> {
        let resource = resource_of(request)?;
        let mut claims = request.claims.clone();
        let set = |claims: &mut Map<String, Value>, name: &str, value: Value| match claims.insert(name.to_owned(), value.clone()) {
            Some(other) if other != value => Err(SignError::CannotExpress(format!("claim {name} is set by the path or the request"))),
            _ => Ok(()),
        };
        if let Resource { kind, id: Some(id) } = resource {
            set(&mut claims, "sub", id.into())?;
            set(&mut claims, "aud", kind.audiences()[0].into())?;
        }
        if let Some(end) = request.expires {
            set(&mut claims, "exp", end.0.into())?;
        }
        if let Some(start) = request.not_before {
            set(&mut claims, "nbf", start.0.into())?;
        }
        for (name, value) in query::pairs(request.query.as_deref().unwrap_or("")) {
            let read = |raw| query::decode(raw).ok_or_else(|| SignError::CannotExpress("the query does not decode".into()));
            let (name, value) = (read(name)?, read(value)?);
            if !OF_PLAYERS.contains(&name.as_str()) {
                set(&mut claims, &name, value.into())?;
            }
        }
        let grant = self.grant(&claims).map_err(|denial| SignError::CannotExpress(format!("such a token would be refused: {denial}")))?;
        check_resource(&grant, &resource).map_err(|_| SignError::CannotExpress("sub and aud do not go with the path".into()))?;
        Ok(claims)
    }
}

fn bindings(restriction: &Restriction, risky: &[String]) -> [Binding; 2] {
    let referrer = &restriction.referrer;
    let allowed = referrer.allowed_domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
    let agent = &restriction.user_agent;
    let refused = if agent.allow_high_risk_user_agent { Vec::new() } else { risky.to_vec() };
    [
        Binding::Referrers(Arc::new(Referrers { allowed, allow_none: referrer.allow_no_referrer })),
        Binding::UserAgents(Arc::new(UserAgents { allow_none: agent.allow_no_user_agent, refused })),
    ]
}

/// The one kind a token is for. Mux writes a text; a list is read when it says the same thing (RFC 7519 §4.1.3).
fn audience(claims: &Map<String, Value>) -> Result<&str, Denial> {
    let list = jws::texts(claims.get("aud").ok_or(Denial::Claim)?)?;
    match list[..] {
        [kind] if Kind::of_audience(kind).is_some() => Ok(kind),
        _ => Err(Denial::Audience),
    }
}

fn modifiers(claims: &Map<String, Value>) -> Result<Vec<(String, String)>, Denial> {
    let modifier = |(name, value): (&String, &Value)| match value {
        // A parameter of the token's own name would stand in the place of the one that was taken out.
        _ if name == TOKEN => Err(Denial::Claim),
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Number(number) => Ok((name.clone(), number.to_string())),
        Value::Bool(truth) => Ok((name.clone(), truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Denial::Claim),
    };
    claims.iter().filter(|(name, _)| !ABOUT_THE_TOKEN.contains(&name.as_str())).map(modifier).collect()
}

impl Scheme for Mux {
    fn kind(&self) -> &'static str {
        "mux"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        carrier::query_parameter(facts, TOKEN)
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let (claims, key_id) = open_rs256(&presented.token, &self.keys)?;
        Ok(Grant { key_id, ..self.grant(&claims)? })
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let resource = Resource::of(facts.below_mount()).ok_or(Denial::Path)?;
        check_resource(grant, &resource)?;
        let foreign = |name: &str| name != TOKEN && !OF_PLAYERS.contains(&name);
        let mut names = query::pairs(facts.query.unwrap_or("")).map(|(name, _)| query::decode(name));
        if names.any(|name| name.is_none_or(|name| foreign(&name))) { Err(Denial::Parameters) } else { Ok(()) }
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let claims = self.claims_of(request)?;
        let keys = self.keys.load();
        let key = keys.signing(request.key_id.as_deref()).filter(|key| key.algorithm() == Algorithm::RS256);
        let key = key.ok_or_else(|| SignError::NoKey(request.key_id.clone()))?;
        let mut claims = claims;
        if let Some(id) = key.id() {
            // Mux's SDK has the key's id in the payload, not in the header.
            claims.insert("kid".into(), (**id).into());
        }
        let header = Map::from_iter([("typ".to_owned(), "JWT".into())]);
        let token = jws::sign(key, header, &claims)?;
        let kept = request.query.as_deref().and_then(|raw| query::without(raw, |name| !OF_PLAYERS.contains(&name)));
        let mut query = kept.unwrap_or_default();
        query::push(&mut query, TOKEN, &token);
        Ok(Signed { token, path: request.path.clone(), query: Some(query), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        place == Where::Query(TOKEN)
    }

    /// Its paths begin with an id.
    fn sample_path(&self) -> String {
        "/abcDEF01.m3u8".to_owned()
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

fn check_resource(grant: &Grant, resource: &Resource<'_>) -> Result<(), Denial> {
    let kind = grant.kind.as_deref().unwrap_or("");
    if !resource.kind.audiences().contains(&kind) {
        return Err(Denial::Audience);
    }
    // Viewer counts name their id in the token only.
    if resource.id.is_some_and(|id| grant.resource.as_deref() != Some(id)) { Err(Denial::Path) } else { Ok(()) }
}

fn resource_of(request: &SignRequest) -> Result<Resource<'_>, SignError> {
    let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
    let resource = request.path.get(request.mount..).and_then(Resource::of).ok_or_else(|| cannot("the path names no playback id"))?;
    if request.subject.is_some() || request.client_ip.is_some() {
        return Err(cannot("such a token can name neither who it is for nor an address"));
    }
    if request.scope.as_deref().is_some_and(|scope| scope != request.path) {
        return Err(cannot("such a token opens one kind of resource of one playback id, no other scope"));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests;
