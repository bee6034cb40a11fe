//! The scheme `ats-url-sig`: the `url_sig` plugin of Apache Traffic Server.
//!
//! A signature over chosen parts of host and path and over the query up to `S=`, or the same fields
//! in a path parameter. Each field comes once, all of them stand before the signature, and comparison is
//! in constant time. The format leaves two things open, and so does this: what follows `S=` in the query is
//! not signed (and is not sent upstream, as the plugin does not), and a path parameter covers the path up to its own segment only, so that it opens whatever
//! lies below.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::{Scheme, SignError, SignRequest, Signed, fields, pattern};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::query;
use crate::token::{Binding, Carrier, Denial, Grant, Key, KeySet, KeySource, Presented, RequestFacts, Strip, Where, Window};

const FIELDS: [&str; 6] = ["C", "E", "A", "K", "P", "S"];
const MAX: usize = 8 * 1024;

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set with the shared secrets, their ids being `key0` to `key15`.
    pub keys: Name,
    /// Paths that need no signature: POSIX extended regular expressions for the whole decoded path.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The name of the path parameter.
    #[serde(default = "parameter")]
    pub parameter: String,
}

fn parameter() -> String {
    "urlsig".into()
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct AtsUrlSig {
    exclude: Vec<Regex>,
    parameter: String,
    keys: KeySource,
}

/// The fields of one signature and the text that closes the signed bytes.
struct Fields<'t> {
    client: Option<&'t str>,
    expires: &'t str,
    algorithm: &'t str,
    key: &'t str,
    parts: &'t str,
    signature: &'t str,
    /// What is signed after the path, up to and with `S=`.
    signed: &'t str,
}

impl<'t> Fields<'t> {
    /// Reads `text`, its fields being separated by `separator`. Every field comes once and, but for the
    /// signature, before the signature.
    fn read(text: &'t str, separator: char) -> Result<Self, Denial> {
        let mut found: [Option<(usize, &str)>; 6] = [None; 6];
        let mut at = 0;
        for pair in text.split(separator) {
            let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
            let plain = query::decode(name).ok_or(Denial::Malformed)?;
            if let Some(index) = FIELDS.iter().position(|field| *field == plain) {
                let value = value.filter(|_| name == plain).ok_or(Denial::Malformed)?;
                if found[index].replace((at, value)).is_some() {
                    return Err(Denial::Duplicate);
                }
            }
            at += pair.len() + 1;
        }
        let (end, signature) = found[5].ok_or(Denial::Malformed)?;
        if found[..5].iter().flatten().any(|(at, _)| *at > end) {
            return Err(Denial::Malformed);
        }
        let value = |index: usize, missing| found[index].map(|(_, value)| value).ok_or(missing);
        Ok(Self {
            client: found[0].map(|(_, value)| value),
            expires: value(1, Denial::NoExpiry)?,
            algorithm: value(2, Denial::Malformed)?,
            key: value(3, Denial::Malformed)?,
            parts: value(4, Denial::Malformed)?,
            signature,
            signed: &text[..end + 2],
        })
    }

    fn hash(&self) -> Result<Hash, Denial> {
        match self.algorithm {
            "1" => Ok(Hash::Sha1),
            "2" => Ok(Hash::Md5),
            _ => Err(Denial::WrongAlgorithm),
        }
    }

    fn window(&self) -> Result<Window, Denial> {
        let digits = (1..=12).contains(&self.expires.len()) && self.expires.bytes().all(|b| b.is_ascii_digit());
        let expires: i64 = self.expires.parse().ok().filter(|expires| digits && *expires > 0).ok_or(Denial::Malformed)?;
        // The plugin refuses from the second after E on.
        Ok(Window::until(UnixTime(expires).plus(1)))
    }

    fn binding(&self) -> Result<Option<Binding>, Denial> {
        let Some(client) = self.client else { return Ok(None) };
        let ip: IpAddr = client.parse().map_err(|_| Denial::Malformed)?;
        Ok(Some(Binding::Networks(vec![IpNet::from(ip.to_canonical())])))
    }
}

/// The parts of `host/path` that `mask` chooses, its last digit standing for all further ones.
fn chosen(host: &str, path: &str, mask: &str) -> Result<String, Denial> {
    let digits = mask.as_bytes();
    let formed = digits.len() <= 256 && digits.iter().all(|digit| matches!(digit, b'0' | b'1')) && digits.contains(&b'1');
    let last = *digits.last().filter(|_| formed).ok_or(Denial::Malformed)?;
    let parts = std::iter::once(host).chain(path.split('/').skip(1));
    let kept = parts.enumerate().filter(|(at, _)| *digits.get(*at).unwrap_or(&last) == b'1').map(|(_, part)| part);
    Ok(kept.collect::<Vec<_>>().join("/"))
}

fn key_at<'k>(keys: &'k KeySet, index: &str) -> Option<&'k std::sync::Arc<Key>> {
    let known = index.parse::<u8>().is_ok_and(|number| number < 16 && number.to_string() == index);
    known.then(|| keys.get(&format!("key{index}")).or_else(|| keys.get(index)))?
}

impl AtsUrlSig {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        let compile =
            |text: &String| pattern::compile(text, true).map_err(|_| format!("\"{text}\" is not a POSIX extended regular expression"));
        Ok(Self { exclude: config.exclude.iter().map(compile).collect::<Result<_, _>>()?, parameter: config.parameter.clone(), keys })
    }

    /// What to take out of a query: the fields, and whatever follows the signature.
    fn strip(&self, query: &str) -> Result<Vec<Strip>, Denial> {
        let mut strip: Vec<Strip> = FIELDS.iter().map(|name| Strip::Query((*name).to_owned())).collect();
        strip.push(Strip::PathParameter(self.parameter.clone()));
        for (name, _) in query::pairs(query).skip_while(|(name, _)| *name != "S").skip(1) {
            let name = query::decode(name).ok_or(Denial::Malformed)?;
            // A later name that takes an earlier, signed one with it would change what was signed.
            if query::values(query, &name).count() > 1 {
                return Err(Denial::Duplicate);
            }
            strip.push(Strip::Query(name));
        }
        Ok(strip)
    }

    fn is_excluded(&self, facts: &RequestFacts<'_>) -> bool {
        self.exclude.iter().any(|regex| regex.is_match(facts.path.decoded()))
    }

    /// The path up to the segment with the parameter, which must be the last of its segment.
    fn covered<'r>(&self, facts: &RequestFacts<'r>) -> Result<&'r str, Denial> {
        let marker = format!(";{}=", self.parameter);
        let (covered, rest) = facts.path.raw().split_once(&marker).ok_or(Denial::Malformed)?;
        let segment = rest.split('/').next().unwrap_or("");
        if segment.contains(';') { Err(Denial::Malformed) } else { Ok(covered) }
    }

    fn verify(&self, fields: &Fields<'_>, path: &str, sign: &str, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let host = facts.port.map_or_else(|| facts.host.to_owned(), |port| format!("{}:{port}", facts.host));
        let message = format!("{}{sign}{}", chosen(&host, path, fields.parts)?, fields.signed);
        let keys = self.keys.load();
        let key = key_at(&keys, fields.key).ok_or(Denial::UnknownKey)?;
        let mac = fields.hash()?.mac(key.octets().ok_or(Denial::WrongAlgorithm)?, &[message.as_bytes()]);
        let given = digest::unhex(fields.signature).ok_or(Denial::Malformed)?;
        if !digest::same(&mac, &given) {
            return Err(Denial::BadSignature);
        }
        let bindings = fields.binding()?.into_iter().collect();
        Ok(Grant { key_id: key.id().cloned(), window: fields.window()?, bindings, ..Grant::default() })
    }
}

impl Scheme for AtsUrlSig {
    fn kind(&self) -> &'static str {
        "ats-url-sig"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let in_path = Carrier::PathParameter(self.parameter.clone()).find(facts)?;
        // A lone `S` is some application's own; the three together are a signature, whole or not.
        let is_signature = |query: &&str| ["S", "A", "K"].iter().all(|name| query::values(query, name).next().is_some());
        let in_query = facts.query.filter(is_signature);
        match (in_path, in_query) {
            (Some(_), Some(_)) => Err(Denial::Ambiguous),
            (Some(found), None) if found.token.len() <= MAX => {
                Ok(Some(Presented { token: format!(";{}", found.token).into(), strip: found.strip }))
            }
            (None, Some(query)) if query.len() <= MAX => Ok(Some(Presented { token: query.into(), strip: self.strip(query)? })),
            (Some(_), None) | (None, Some(_)) => Err(Denial::TooLarge),
            (None, None) if self.is_excluded(facts) => Ok(Some(Presented { token: "".into(), strip: Vec::new() })),
            (None, None) => Ok(None),
        }
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        if presented.token.is_empty() {
            return if self.is_excluded(facts) { Ok(Grant::default()) } else { Err(Denial::Missing) };
        }
        let Some(packed) = presented.token.strip_prefix(';') else {
            return self.verify(&Fields::read(&presented.token, '&')?, facts.path.raw(), "?", facts);
        };
        let text = digest::base64url(packed).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Denial::Malformed)?;
        let fields = Fields::read(&text, ';')?;
        self.verify(&fields, self.covered(facts)?, "", facts)
    }

    /// The signature covers the URL, so one token's verdict differs from URL to URL.
    fn remembers(&self) -> bool {
        false
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let no_key = || SignError::NoKey(key.id().map(ToString::to_string));
        let index = key.id().map(|id| id.trim_start_matches("key").to_owned()).ok_or_else(no_key)?;
        let expires = request.expires.ok_or_else(|| SignError::CannotExpress("a signature needs an expiry".into()))?;
        let mask = mask_for(request);
        let mut query = request.query.clone().unwrap_or_default();
        if FIELDS.iter().any(|name| query::values(&query, name).next().is_some()) {
            return Err(SignError::CannotExpress("the query has a field of the signature's own".into()));
        }
        if !request.claims.is_empty() {
            return Err(SignError::NoWords("claims"));
        }
        if let Some(ip) = request.client_ip {
            query::push(&mut query, "C", "");
            query.push_str(&ip.to_string());
        }
        for (name, value) in
            [("E", (expires.0 - 1).to_string()), ("A", "1".into()), ("K", index), ("P", mask.clone()), ("S", String::new())]
        {
            query::push(&mut query, name, &value);
        }
        let parts = chosen(&request.host, &request.path, &mask).map_err(|_| SignError::Crypto)?;
        let mac = Hash::Sha1.mac(key.octets().ok_or_else(no_key)?, &[format!("{parts}?{query}").as_bytes()]);
        let signature = digest::hex(&mac);
        query.push_str(&signature);
        Ok(Signed { token: signature, path: request.path.clone(), query: Some(query), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) => FIELDS.contains(&name),
            Where::PathParameter(name) => name == self.parameter,
            _ => false,
        }
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// The mask for a request: everything, or host and the segments of a scope.
fn mask_for(request: &SignRequest) -> String {
    match &request.scope {
        None => "1".into(),
        Some(scope) => {
            let segments = scope.split('/').filter(|segment| !segment.is_empty()).count();
            format!("{}0", "1".repeat(segments + 1))
        }
    }
}

#[cfg(test)]
mod tests;
