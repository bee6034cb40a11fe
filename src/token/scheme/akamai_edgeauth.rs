//! The scheme `akamai-edgeauth`: Akamai Edge Auth 2.0 tokens (Akamai TechDocs, "Token
//! authentication"; the published `akamai-edgeauth` generators).
//!
//! A token is `ip= st= exp= acl= id= data= hmac=`, joined by `~`, in this order. The HMAC is over
//! the fields as received, then `url=` and the path when there is no `acl`, then `salt=`. The order
//! is demanded and no field may come twice: a `data` that smuggles in an `acl` is refused, whoever
//! signed it. A piece without `=` goes on with an `id` or `data` that holds a `~`; a `~data=` inside
//! an `id` cannot be told from a field, so an `id` must not be taken from strangers unescaped.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::exchange::{self, Exchange};
use super::fields;
use super::{Due, Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::path;
use crate::secret::Secret;
use crate::token::grant::Window;
use crate::token::{
    Binding, Carrier, Denial, Grant, KeySource, PathRule, Presented, Renewed, RequestFacts, Scope, Strip, Where, access, carrier,
};
use crate::units::Period;

const LONGEST: usize = 8192;
/// The name of long tokens, and what they say in `data`.
const LONG: &str = "hdntl";
/// What is before `hmac`, in order.
const ORDER: [&str; 6] = ["ip", "st", "exp", "acl", "id", "data"];

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key and, during a change, the transition key; hexadecimal at Akamai.
    pub keys: Name,
    /// Names of the parameter, cookie, header or path segment (`name=TOKEN`) that holds the token.
    #[serde(default = "names")]
    pub names: Vec<String>,
    /// Where a token may come in.
    #[serde(default = "places")]
    pub places: Vec<Place>,
    /// The HMAC's hash.
    #[serde(default)]
    pub algorithm: EdgeHash,
    /// A salt that is hashed and never sent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub salt: Option<Secret<String>>,
    /// A request header whose value is the salt (long tokens bound to `User-Agent` or a playback session).
    #[serde(default)]
    pub salt_header: Option<String>,
    /// How the generator escapes its input; matters where a path is hashed but not sent.
    #[serde(default)]
    pub escape: Escape,
    /// How far clocks may differ; Akamai's known validators allow 10 seconds.
    #[serde(default = "ten_seconds")]
    pub leeway: Period,
    /// Whether a token without `exp` is refused.
    #[serde(default = "yes")]
    pub require_expiry: bool,
    /// Where new tokens are put, under the first of `names`.
    #[serde(default)]
    pub sign_into: Place,
    /// Gives a long token (`hdntl`) for the entry's folder with an entry that a short one opened.
    #[serde(default)]
    pub exchange: Option<Exchange>,
}

/// The HMAC's hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeHash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

/// A place for the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A query parameter.
    #[default]
    Query,
    /// A cookie.
    Cookie,
    /// A header.
    Header,
    /// A path segment of its own.
    Path,
}

/// How a generator escapes its input before it hashes it ("Escape token input").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// Each of the others is taken; signing does not escape.
    #[default]
    Any,
    /// Not at all.
    Never,
    /// As the Python generator does: space becomes `+`, `~` stays.
    Python,
    /// As the Node.js generator does: space becomes `%20`, `~` becomes `%7e`.
    Node,
}

fn names() -> Vec<String> {
    ["hdnts", "hdnea", "hdntl"].into_iter().map(Into::into).collect()
}

fn places() -> Vec<Place> {
    vec![Place::Query, Place::Cookie, Place::Header, Place::Path]
}

fn ten_seconds() -> Period {
    Period::seconds(10)
}

const fn yes() -> bool {
    true
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct AkamaiEdgeauth {
    keys: KeySource,
    carriers: Vec<Carrier>,
    config: Config,
}

impl AkamaiEdgeauth {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        if config.names.is_empty() || config.places.is_empty() {
            return Err("akamai-edgeauth: `names` and `places` need at least one entry each".into());
        }
        if let Some(exchange) = &config.exchange {
            let place = if exchange.into == exchange::Into::Path { Place::Path } else { Place::Cookie };
            let name = exchange.name.as_deref().unwrap_or(LONG);
            if !config.names.iter().any(|have| have == name) || !config.places.contains(&place) {
                return Err(format!(
                    "akamai-edgeauth: long tokens would not be found: `names` needs {name:?}, and `places` where it rides"
                ));
            }
        }
        if config.salt.is_some() && config.salt_header.is_some() {
            return Err("akamai-edgeauth: set `salt` or `salt_header`, not both".into());
        }
        let mut carriers = Vec::new();
        for name in &config.names {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                return Err(format!("akamai-edgeauth: {name:?} is not a name of letters, digits, '-' and '_'"));
            }
            for place in &config.places {
                carriers.push(place.carrier(name)?);
            }
        }
        Ok(Self { keys, carriers, config: config.clone() })
    }

    fn hash(&self) -> Hash {
        match self.config.algorithm {
            EdgeHash::Sha256 => Hash::Sha256,
            EdgeHash::Sha1 => Hash::Sha1,
            EdgeHash::Md5 => Hash::Md5,
        }
    }

    /// What follows the fields in the hash: `~salt=` and the salt, if there is one.
    fn salt(&self, facts: &RequestFacts<'_>) -> Result<String, Denial> {
        let salt = match (&self.config.salt, &self.config.salt_header) {
            (Some(salt), _) => salt.expose().as_str(),
            (None, Some(name)) => facts.single_header(name)?.ok_or(Denial::BadSignature)?,
            (None, None) => return Ok(String::new()),
        };
        Ok(format!("~salt={salt}"))
    }

    /// The beginning of the path segment that holds a token here, if one does.
    fn segment_of(&self, facts: &RequestFacts<'_>) -> Option<String> {
        let starts = self.path_tokens();
        starts.into_iter().find(|start| facts.below_mount().split('/').any(|segment| segment.starts_with(start)))
    }

    /// Everything that a good token may have hashed after its fields, most likely first.
    fn tails(&self, token: &Token<'_>, facts: &RequestFacts<'_>) -> Result<Vec<String>, Denial> {
        let salt = self.salt(facts)?;
        if token.acl.is_some() {
            return Ok(vec![salt]);
        }
        let raw = facts.path.raw();
        let url = self.segment_of(facts).map_or(raw.into(), |start| path::without_segment(raw, &start));
        let escapes = match self.config.escape {
            Escape::Any => vec![Escape::Never, Escape::Python, Escape::Node],
            one => vec![one],
        };
        Ok(escapes.into_iter().map(|escape| format!("~url={}{salt}", escape.apply(&url))).collect())
    }

    fn grant(&self, token: &Token<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let leeway = self.config.leeway.as_unix();
        let from = token.st.map_or(Ok(UnixTime::MIN), |st| fields::seconds(st).map(|st| st.plus(-leeway)))?;
        // `exp` is the last good second.
        let until = match token.exp {
            Some(exp) => fields::seconds(exp)?.plus(leeway).plus(1),
            None if self.config.require_expiry => return Err(Denial::NoExpiry),
            None => UnixTime::MAX,
        };
        let mut bindings = Vec::new();
        if let Some(ip) = token.ip {
            let ip: std::net::IpAddr = path::percent_decode(ip).and_then(|ip| ip.parse().ok()).ok_or(Denial::Unsupported)?;
            bindings.push(Binding::Networks(access::parse_net(&ip.to_canonical().to_string()).into_iter().collect()));
        }
        let scope = match token.acl {
            None => Scope::Route,
            Some(acl) => {
                let acl = path::percent_decode(acl).ok_or(Denial::Malformed)?;
                let rules = acl.split('!').map(|pattern| PathRule::Wild(pattern.to_owned())).collect();
                match self.segment_of(facts) {
                    Some(start) => Scope::Beside(start, rules),
                    None => Scope::Paths(rules),
                }
            }
        };
        let token_id = token.id.map(Into::into);
        Ok(Grant { window: Window { from, until }, scope, bindings, token_id, ..Grant::default() })
    }
}

impl Place {
    fn carrier(self, name: &str) -> Result<Carrier, String> {
        Ok(match self {
            Self::Query => Carrier::Query(name.to_owned()),
            Self::Cookie => Carrier::Cookie(name.to_owned()),
            Self::Header => Carrier::Header(header(name)?, String::new()),
            Self::Path => Carrier::PathPrefixed(format!("{name}=")),
        })
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    name.to_ascii_lowercase().parse().map_err(|_| format!("akamai-edgeauth: {name:?} is not a header name"))
}

impl Scheme for AkamaiEdgeauth {
    fn kind(&self) -> &'static str {
        "akamai-edgeauth"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let found = self.carriers.iter().map(|place| find(place, facts));
        carrier::one_of(found, |first, second| self.config.exchange.as_ref().and_then(|_| exchange::later(first, second, ends)))
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = Token::parse(&presented.token)?;
        let tails = self.tails(&token, facts)?;
        let hash = self.hash();
        let fits = |secret: &[u8]| {
            tails.iter().fold(false, |good, tail| {
                let mac = digest::hex(&hash.mac(secret, &[token.signed.as_bytes(), tail.as_bytes()]));
                digest::same(mac.as_bytes(), token.hmac.as_bytes()) | good
            })
        };
        let key = fields::matching_secret(&self.keys, fits).ok_or(Denial::BadSignature)?;
        let mut grant = self.grant(&token, facts)?;
        grant.key_id = key.id().cloned();
        grant.renewal = self.config.exchange.as_ref().filter(|_| token.data != Some(LONG)).map(Exchange::renewal);
        Ok(grant)
    }

    fn renew(&self, due: &Due<'_>) -> Result<Option<Renewed>, SignError> {
        let Some(exchange) = &self.config.exchange else { return Ok(None) };
        exchange.renew(due, exchange.name.as_deref().unwrap_or(LONG), |folder, until| {
            let short = Token::parse(&due.presented.token).map_err(|_| SignError::Crypto)?;
            self.long(exchange, &short, due.facts, (folder, until))
        })
    }

    /// URL tokens and salts cover what is not in the token.
    fn remembers(&self) -> bool {
        false
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let (Some(name), Some(octets)) = (self.config.names.first(), key.octets()) else { return Err(SignError::NoKey(None)) };
        let fields = self.fields_to_sign(request)?;
        let salt = match (&self.config.salt, &self.config.salt_header) {
            (Some(salt), _) => format!("~salt={}", salt.expose()),
            (None, Some(_)) => {
                format!("~salt={}", claim(request, "salt").ok_or_else(|| cannot("the salt header's value must be given as claim `salt`"))?)
            }
            (None, None) => String::new(),
        };
        let url = if request.scope.is_none() { format!("~url={}", self.config.escape.apply(&request.path)) } else { String::new() };
        let mac = digest::hex(&self.hash().mac(octets, &[fields.as_bytes(), url.as_bytes(), salt.as_bytes()]));
        let token = format!("{fields}~hmac={mac}");
        self.place(request, name, token)
    }

    fn reads(&self, place: Where<'_>) -> bool {
        self.carriers.iter().any(|carrier| carrier.reads(place))
    }

    fn path_tokens(&self) -> Vec<String> {
        let starts =
            self.carriers.iter().filter_map(|place| if let Carrier::PathPrefixed(start) = place { Some(start.clone()) } else { None });
        starts.collect()
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// The token as the generator wrote it. Its own escapes are part of what was hashed, so a query value
/// is decoded only when the whole token was encoded once more on its way.
fn find<'r>(place: &Carrier, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
    let mut found = match place {
        Carrier::Query(name) => carrier::single_query(facts.query.unwrap_or(""), name)?
            .map(|raw| Presented { token: raw.into(), strip: vec![Strip::Query(name.clone())] }),
        other => other.find(facts)?,
    };
    if let Some(found) = &mut found
        && !found.token.contains("hmac=")
        && found.token.contains('%')
    {
        found.token = path::percent_decode(&found.token).ok_or(Denial::Malformed)?.into();
    }
    Ok(found)
}

/// A token's fields, as received.
#[derive(Debug, Default, PartialEq, Eq)]
struct Token<'t> {
    signed: &'t str,
    ip: Option<&'t str>,
    st: Option<&'t str>,
    exp: Option<&'t str>,
    acl: Option<&'t str>,
    id: Option<&'t str>,
    data: Option<&'t str>,
    hmac: &'t str,
}

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Result<Self, Denial> {
        if text.len() > LONGEST {
            return Err(Denial::TooLarge);
        }
        let (signed, hmac) = text.rsplit_once("~hmac=").ok_or(Denial::Malformed)?;
        let mut token = Self { signed, hmac, ..Self::default() };
        // The field before, and where its value begins.
        let mut last: Option<(usize, usize)> = None;
        let mut end = 0;
        for piece in signed.split('~') {
            let start = end;
            end = start + piece.len() + 1;
            let Some((name, value)) = piece.split_once('=') else {
                // Only an `id` or `data` may hold a `~`.
                let Some((place @ (4 | 5), value)) = last else { return Err(Denial::Malformed) };
                *token.slot(place) = Some(&signed[value..end - 1]);
                continue;
            };
            let place = ORDER.iter().position(|known| *known == name).ok_or(Denial::Unsupported)?;
            if token.slot(place).is_some() {
                return Err(Denial::Duplicate);
            }
            if last.is_some_and(|(last, _)| place < last) || value.is_empty() {
                return Err(Denial::Malformed);
            }
            *token.slot(place) = Some(value);
            last = Some((place, start + name.len() + 1));
        }
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if hmac.is_empty() || !hmac.bytes().all(is_hex) { Err(Denial::Malformed) } else { Ok(token) }
    }

    fn slot(&mut self, place: usize) -> &mut Option<&'t str> {
        match place {
            0 => &mut self.ip,
            1 => &mut self.st,
            2 => &mut self.exp,
            3 => &mut self.acl,
            4 => &mut self.id,
            _ => &mut self.data,
        }
    }
}

impl Escape {
    fn apply(self, text: &str) -> String {
        let stays: &[u8] = match self {
            Self::Any | Self::Never => return text.to_owned(),
            Self::Python => b"-_.~",
            Self::Node => b"-_.!()",
        };
        let mut out = String::with_capacity(text.len() * 2);
        for byte in text.bytes() {
            match byte {
                b' ' if self == Self::Python => out.push('+'),
                byte if byte.is_ascii_alphanumeric() || stays.contains(&byte) => out.push(char::from(byte)),
                byte => {
                    out.push('%');
                    out.push_str(&digest::hex(&[byte]));
                }
            }
        }
        out
    }
}

/// When a token's text says that it ends.
fn ends(text: &str) -> Option<UnixTime> {
    Token::parse(text).ok()?.exp.and_then(|exp| fields::seconds(exp).ok())
}

fn cannot(why: &str) -> SignError {
    SignError::CannotExpress(why.to_owned())
}

fn claim<'c>(request: &'c SignRequest, name: &str) -> Option<&'c str> {
    request.claims.get(name).and_then(serde_json::Value::as_str)
}

impl AkamaiEdgeauth {
    /// The long token for `folder`, to the same viewer as the short one.
    fn long(
        &self,
        exchange: &Exchange,
        short: &Token<'_>,
        facts: &RequestFacts<'_>,
        (folder, until): (&str, UnixTime),
    ) -> Result<String, SignError> {
        let key = fields::signing_secret(&self.keys, exchange.key.as_deref())?;
        let octets = key.octets().ok_or_else(|| SignError::NoKey(exchange.key.clone()))?;
        let folder = exchange::plain(folder).ok_or_else(|| cannot("the folder holds characters that cannot stand in an acl"))?;
        let acl = self.acl(folder, exchange.into == exchange::Into::Path)?;
        let field = |name: &str, value: Option<&str>| value.map_or_else(String::new, |value| format!("{name}={value}~"));
        let (ip, id) = (field("ip", short.ip), field("id", short.id));
        let fields = format!("{ip}exp={}~acl={acl}~{id}data={LONG}", until.plus(-1));
        let salt = self.salt(facts).map_err(|_| cannot("the salt's header is not there"))?;
        let mac = digest::hex(&self.hash().mac(octets, &[fields.as_bytes(), salt.as_bytes()]));
        Ok(format!("{fields}~hmac={mac}"))
    }

    fn fields_to_sign(&self, request: &SignRequest) -> Result<String, SignError> {
        if let Some(name) = request.claims.iter().find(|(name, value)| !matches!(&***name, "id" | "data" | "salt") || !value.is_string()) {
            return Err(cannot(&format!("the claims of this scheme are the texts `id`, `data` and `salt`, not `{}`", name.0)));
        }
        let mut fields = Vec::new();
        if let Some(ip) = request.client_ip {
            fields.push(format!("ip={}", self.value(&ip.to_string())?));
        }
        if let Some(from) = request.not_before {
            fields.push(format!("st={}", from.0.max(0)));
        }
        match (request.expires, self.config.require_expiry) {
            (None, false) => {}
            _ => fields.push(format!("exp={}", fields::expiry(request)?.plus(-1))),
        }
        if let Some(scope) = &request.scope {
            fields.push(format!("acl={}", self.acl(scope, self.config.sign_into == Place::Path)?));
        }
        for (name, value) in [("id", request.subject.as_deref().or_else(|| claim(request, "id"))), ("data", claim(request, "data"))] {
            if let Some(value) = value {
                fields.push(format!("{name}={}", self.value(value)?));
            }
        }
        Ok(fields.join("~"))
    }

    /// A folder (`/vid1/`) opens what is below it; in a path segment the slashes must be encoded.
    fn acl(&self, scope: &str, in_path: bool) -> Result<String, SignError> {
        let open = if scope.ends_with('/') { "*" } else { "" };
        let bad = |byte: u8| !(byte.is_ascii_alphanumeric() || b"/-_.*?!$',:@=()%".contains(&byte));
        if scope.is_empty() || scope.bytes().any(bad) {
            return Err(cannot("the scope holds characters that cannot stand in an acl"));
        }
        // `?` must not stand raw in a path, and `%` only as part of an encoding.
        let encoded = |acl: String| if in_path { acl.replace('/', "%2f").replace('?', "%3f") } else { acl };
        Ok(encoded(format!("{scope}{open}")))
    }

    fn value(&self, text: &str) -> Result<String, SignError> {
        let escaped = self.config.escape.apply(text);
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=,@|%+!()".contains(&byte);
        if escaped.is_empty() || !escaped.bytes().all(fine) {
            return Err(cannot("a field holds characters that this escape dialect cannot carry"));
        }
        Ok(escaped)
    }

    fn place(&self, request: &SignRequest, name: &str, token: String) -> Result<Signed, SignError> {
        let mut signed = Signed { path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
        match self.config.sign_into {
            Place::Query => {
                signed.query =
                    Some(request.query.as_ref().map_or_else(String::new, |query| format!("{query}&")) + &format!("{name}={token}"));
            }
            Place::Cookie => signed.cookies.push((name.to_owned(), token.clone())),
            Place::Header => signed.headers.push((header(name).map_err(SignError::CannotExpress)?, token.clone())),
            Place::Path => signed.path = fields::insert_segment(&request.path, request.mount, &format!("{name}={token}"))?,
        }
        signed.token = token;
        Ok(signed)
    }
}

#[cfg(test)]
mod tests;
