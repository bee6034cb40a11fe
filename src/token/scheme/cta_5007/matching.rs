//! Matchers on texts (`catu`, `cath`): every one of a part's matchers must hold.

use aws_lc_rs::digest;
use ciborium::Value;
use regex::Regex;

use super::cose::{claims, label};
use crate::path::is_under;
use crate::token::scheme::digest::{same, unhex};
use crate::token::scheme::{pattern, rfc9246::uri};
use crate::token::{Condition, Denial, RequestFacts};

/// One matcher with its operand.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// A POSIX extended regular expression found anywhere in the text, and what its groups must hold.
    Regex(Regex, Vec<Option<String>>),
    Sha256(Vec<u8>),
    Sha512_256(Vec<u8>),
}

impl Matcher {
    /// The matchers of a map; never none, because a part without a matcher would say nothing.
    pub(super) fn parse_all(value: &Value) -> Result<Vec<Self>, Denial> {
        let map = claims(value.clone()).map_err(|_| Denial::Claim)?;
        let all: Vec<Self> = map.iter().map(|(kind, operand)| Self::parse(kind, operand)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err(Denial::Claim) } else { Ok(all) }
    }

    fn parse(kind: &Value, operand: &Value) -> Result<Self, Denial> {
        let text = || match operand {
            Value::Text(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(i128::from(*number).to_string()),
            _ => Err(Denial::Claim),
        };
        Ok(match label(kind).ok_or(Denial::Unsupported)? {
            0 => Self::Exact(text()?),
            1 => Self::Prefix(text()?),
            2 => Self::Suffix(text()?),
            3 => Self::Contains(text()?),
            4 => regex(operand)?,
            -1 => Self::Sha256(digest_bytes(operand)?),
            -2 => Self::Sha512_256(digest_bytes(operand)?),
            _ => return Err(Denial::Unsupported),
        })
    }

    /// Whether `text` fits. With `segments`, a prefix ends where a path segment ends.
    fn holds(&self, text: &str, segments: bool) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) if segments => is_under(text, prefix),
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Regex(regex, groups) => regex.captures(text).is_some_and(|found| {
                let same = |(at, want): (usize, &Option<String>)| {
                    want.as_deref().is_none_or(|want| found.get(at + 1).is_some_and(|have| have.as_str() == want))
                };
                groups.iter().enumerate().all(same)
            }),
            Self::Sha256(want) => same(digest::digest(&digest::SHA256, text.as_bytes()).as_ref(), want),
            Self::Sha512_256(want) => same(digest::digest(&digest::SHA512_256, text.as_bytes()).as_ref(), want),
        }
    }
}

fn regex(operand: &Value) -> Result<Matcher, Denial> {
    let parts = match operand {
        Value::Text(_) => std::slice::from_ref(operand),
        Value::Array(parts) => parts,
        _ => return Err(Denial::Claim),
    };
    let (Some(Value::Text(text)), groups) = (parts.first(), parts.get(1..).unwrap_or_default()) else { return Err(Denial::Claim) };
    let groups = groups.iter().map(|group| match group {
        Value::Text(text) => Ok(Some(text.clone())),
        Value::Null => Ok(None),
        _ => Err(Denial::Claim),
    });
    Ok(Matcher::Regex(pattern::compile(text, false)?, groups.collect::<Result<_, _>>()?))
}

/// A digest: bytes, or, as one implementation writes it, lower-case hex.
fn digest_bytes(operand: &Value) -> Result<Vec<u8>, Denial> {
    let bytes = match operand {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Text(text) => unhex(text),
        _ => None,
    };
    bytes.filter(|bytes| bytes.len() == 32).ok_or(Denial::Claim)
}

/// `catu`: matchers on the parts of the URI.
#[derive(Debug)]
pub(super) struct UriRule {
    parts: Vec<(Part, Vec<Matcher>)>,
    /// Query parameters that carry the token, which cannot be part of what it signs.
    token_parameters: Vec<String>,
    segments: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Scheme,
    Host,
    Port,
    Path,
    Query,
    ParentPath,
    Filename,
    Stem,
    Extension,
}

impl UriRule {
    pub(super) fn parse(value: &Value, token_parameters: &[String], segments: bool) -> Result<Self, Denial> {
        let map = claims(value.clone()).map_err(|_| Denial::Claim)?;
        let part = |(key, matchers): &(Value, Value)| {
            let part = match label(key).ok_or(Denial::Unsupported)? {
                0 => Part::Scheme,
                1 => Part::Host,
                2 => Part::Port,
                3 => Part::Path,
                4 => Part::Query,
                5 => Part::ParentPath,
                6 => Part::Filename,
                7 => Part::Stem,
                8 => Part::Extension,
                _ => return Err(Denial::Unsupported),
            };
            Ok((part, Matcher::parse_all(matchers)?))
        };
        let parts = map.iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { parts, token_parameters: token_parameters.to_vec(), segments })
    }

    fn text(&self, part: Part, facts: &RequestFacts<'_>) -> String {
        let mut path = String::new();
        uri::push_normal(&mut path, facts.path.raw());
        let (parent, file) = path.rsplit_once('/').unwrap_or(("", &path));
        let (stem, extension) = file.rfind('.').map_or((file, ""), |dot| file.split_at(dot));
        match part {
            Part::Scheme => if facts.https { "https" } else { "http" }.to_owned(),
            Part::Host => facts.host.to_owned(),
            Part::Port => facts.port.unwrap_or(if facts.https { 443 } else { 80 }).to_string(),
            Part::Query => {
                let taken = |name: &str| self.token_parameters.iter().any(|have| have == name);
                facts.query.and_then(|query| crate::query::without(query, taken)).unwrap_or_default()
            }
            Part::ParentPath => if parent.is_empty() { "/" } else { parent }.to_owned(),
            Part::Filename => file.to_owned(),
            Part::Stem => stem.to_owned(),
            Part::Extension => extension.to_owned(),
            Part::Path => path,
        }
    }
}

impl Condition for UriRule {
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        for (part, matchers) in &self.parts {
            let text = self.text(*part, facts);
            let segments = self.segments && matches!(part, Part::Path | Part::ParentPath);
            if !matchers.iter().all(|matcher| matcher.holds(&text, segments)) {
                return Err(if matches!(part, Part::Scheme | Part::Host | Part::Port) { Denial::Host } else { Denial::Path });
            }
        }
        Ok(())
    }
}

/// `cath`: matchers on a request header. A header that is absent, or comes twice, does not fit.
#[derive(Debug)]
pub(super) struct HeaderRule {
    pub(super) name: http::HeaderName,
    pub(super) matchers: Vec<Matcher>,
}

impl Condition for HeaderRule {
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let value = facts.single_header(self.name.as_str())?.ok_or(Denial::Header)?;
        if self.matchers.iter().all(|matcher| matcher.holds(value, false)) { Ok(()) } else { Err(Denial::Header) }
    }
}

/// `catnip`: networks, by range or by autonomous system; one of them must hold.
#[derive(Debug, Default)]
pub(super) struct NetworkRule {
    pub(super) ranges: Vec<ipnet::IpNet>,
    pub(super) systems: Vec<u32>,
}

impl Condition for NetworkRule {
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let in_range = facts.comes_from(&self.ranges);
        let in_system = || !self.systems.is_empty() && facts.geo.asn(facts.client_ip).is_some_and(|asn| self.systems.contains(&asn));
        if in_range || in_system() { Ok(()) } else { Err(Denial::Address) }
    }
}
