//! Claims to grants. Every claim is either held to or refuses the token: none is passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ciborium::Value;
use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::Config;
use super::cose::{Claims, claims, label};
use super::matching::{HeaderRule, Matcher, NetworkRule, UriRule};
use crate::clock::UnixTime;
use crate::token::grant::{Answer, Combination};
use crate::token::jws::TimeRules;
use crate::token::renewal::{Renewal, RenewalCarrier};
use crate::token::scheme::digest::hex;
use crate::token::{Binding, Country, Denial, Grant, Window, access};

/// Claim sets inside claim sets, and those inside them, go no deeper.
const MAX_DEPTH: usize = 4;

/// The registered labels that are held to (RFC 8392 §4, CTA-5007).
pub(super) mod names {
    pub(in super::super) const ISS: i64 = 1;
    pub(in super::super) const SUB: i64 = 2;
    pub(in super::super) const AUD: i64 = 3;
    pub(in super::super) const EXP: i64 = 4;
    pub(in super::super) const NBF: i64 = 5;
    pub(in super::super) const IAT: i64 = 6;
    pub(in super::super) const CTI: i64 = 7;
    pub(super) const OR: i64 = 41;
    pub(super) const NOR: i64 = 42;
    pub(super) const AND: i64 = 43;
    pub(super) const CRIT: i64 = 45;
    pub(in super::super) const CATREPLAY: i64 = 308;
    pub(in super::super) const CATV: i64 = 310;
    pub(super) const CATNIP: i64 = 311;
    pub(in super::super) const CATU: i64 = 312;
    pub(in super::super) const CATM: i64 = 313;
    pub(super) const CATALPN: i64 = 314;
    pub(super) const CATH: i64 = 315;
    pub(in super::super) const CATGEOISO3166: i64 = 316;
    pub(in super::super) const CATIF: i64 = 322;
    pub(in super::super) const CATR: i64 = 323;
    pub(super) const ALL: [i64; 21] = [
        ISS,
        SUB,
        AUD,
        EXP,
        NBF,
        IAT,
        CTI,
        OR,
        NOR,
        AND,
        CRIT,
        CATREPLAY,
        CATV,
        CATNIP,
        CATU,
        CATM,
        CATALPN,
        CATH,
        CATGEOISO3166,
        CATIF,
        CATR,
    ];
}

/// The grant of a token's claims.
///
/// # Errors
/// Why the token is refused whatever the request.
pub(super) fn grant(set: &Claims, config: &Config) -> Result<Grant, Denial> {
    let has = |wanted: i64| set.iter().any(|(key, _)| label(key) == Some(wanted));
    if !config.issuers.is_empty() && !has(names::ISS) {
        return Err(Denial::Issuer);
    }
    inner(set, config, 0)
}

fn inner(set: &Claims, config: &Config, depth: usize) -> Result<Grant, Denial> {
    if depth > MAX_DEPTH {
        return Err(Denial::Unsupported);
    }
    let mut grant = Grant { window: window(set, config, depth)?, ..Grant::default() };
    for (key, value) in set {
        let key = label(key).ok_or(Denial::Unsupported)?;
        match key {
            names::OR | names::NOR | names::AND => combine(&mut grant, key, value, config, depth)?,
            // What is asked of the one token as a whole has no meaning inside a set of alternatives.
            names::CATREPLAY | names::CATIF | names::CATR | names::CRIT if depth > 0 => return Err(Denial::Unsupported),
            names::CATREPLAY => grant.single_use = replay(value)?,
            names::CATIF => grant.answers = answers(value)?.into_iter().map(|plan| plan.answer).collect(),
            names::CATR => grant.renewal = Some(renewal(value, config)?),
            names::CRIT => critical(value)?,
            names::ISS..=names::CTI => registered(&mut grant, key, value, config)?,
            _ => grant.bindings.push(binding(key, value, config)?),
        }
    }
    if grant.single_use && grant.token_id.is_none() {
        return Err(Denial::Claim);
    }
    Ok(grant)
}

/// What is asked of a token's dates is not asked of those of sets inside it.
fn window(set: &Claims, config: &Config, depth: usize) -> Result<Window, Denial> {
    let of = |wanted: i64| {
        let value = set.iter().find(|(key, _)| label(key) == Some(wanted)).map(|(_, value)| value);
        value.map(|value| date(value).map(UnixTime)).transpose()
    };
    let rules = config.times.rules();
    let rules = if depth == 0 { rules } else { TimeRules { require_expiry: false, max_lifetime: None, ..rules } };
    rules.between(of(names::EXP)?, of(names::NBF)?, of(names::IAT)?)
}

/// The claims of RFC 8392 §3.1; its dates are in the window.
fn registered(grant: &mut Grant, key: i64, value: &Value, config: &Config) -> Result<(), Denial> {
    match key {
        names::ISS => {
            let issuer = text(value)?;
            if !config.issuers.is_empty() && !config.issuers.iter().any(|have| have == issuer) {
                return Err(Denial::Issuer);
            }
        }
        names::SUB => grant.subject = Some(text(value)?.into()),
        names::AUD => {
            let ours = |aud: &Value| aud.as_text().is_some_and(|aud| config.audiences.iter().any(|have| have == aud));
            let named = value.as_array().map_or_else(|| ours(value), |many| many.iter().any(ours));
            if !named {
                return Err(Denial::Audience);
            }
        }
        names::EXP | names::NBF | names::IAT => {}
        _ => grant.token_id = Some(hex(value.as_bytes().ok_or(Denial::Claim)?).into()),
    }
    Ok(())
}

/// `or`, `nor` and `and`: arrays of claim sets.
fn combine(grant: &mut Grant, key: i64, value: &Value, config: &Config, depth: usize) -> Result<(), Denial> {
    let sets = value.as_array().filter(|sets| !sets.is_empty()).ok_or(Denial::Claim)?;
    let opened = sets.iter().map(|set| (claims(set.clone()).map_err(|_| Denial::Claim)).and_then(|set| inner(&set, config, depth + 1)));
    match key {
        names::AND => {
            for part in opened {
                grant.combined.push(Combination::AnyOf(vec![part?]));
            }
        }
        names::OR => {
            // A set for another issuer or audience is one that does not hold; what is not understood refuses the token.
            let parts = opened.filter(|part| !matches!(part, Err(Denial::Issuer | Denial::Audience)));
            grant.combined.push(Combination::AnyOf(parts.collect::<Result<_, _>>()?));
        }
        _ => {
            let parts = opened.filter(|part| !matches!(part, Err(Denial::Issuer | Denial::Audience)));
            grant.combined.push(Combination::NoneOf(parts.collect::<Result<_, _>>()?));
        }
    }
    Ok(())
}

/// The claims that bind the token to a kind of request.
fn binding(key: i64, value: &Value, config: &Config) -> Result<Binding, Denial> {
    match key {
        names::CATV if value.as_integer().is_some_and(|version| i128::from(version) == 1) => Ok(Binding::Own(Arc::new(Always))),
        names::CATU => Ok(Binding::Own(Arc::new(UriRule::parse(value, &config.query, config.prefix_on_segments)?))),
        names::CATM => {
            let method = |value: &Value| text(value)?.parse::<Method>().map_err(|_| Denial::Claim);
            Ok(Binding::Methods(array(value)?.iter().map(method).collect::<Result<_, _>>()?))
        }
        names::CATALPN => {
            let id = |value: &Value| match value {
                Value::Text(id) => Ok(id.clone()),
                Value::Bytes(id) => String::from_utf8(id.clone()).map_err(|_| Denial::Claim),
                _ => Err(Denial::Claim),
            };
            Ok(Binding::Protocols(array(value)?.iter().map(id).collect::<Result<_, _>>()?))
        }
        names::CATGEOISO3166 => {
            // Of subdivisions (`SE-AB`) nothing is known: they hold for nobody, their country's code would.
            let codes: Vec<&str> = match value {
                Value::Text(one) => vec![one],
                many => array(many)?.iter().map(text).collect::<Result<_, _>>()?,
            };
            Ok(Binding::Countries(codes.into_iter().filter_map(Country::new).collect()))
        }
        names::CATH => headers(value),
        names::CATNIP => networks(value).map(|rule| Binding::Own(Arc::new(rule))),
        _ => Err(Denial::Unsupported),
    }
}

/// A claim that holds for every request once it has been read.
#[derive(Debug)]
struct Always;

impl crate::token::Condition for Always {
    fn check(&self, _facts: &crate::token::RequestFacts<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

fn headers(value: &Value) -> Result<Binding, Denial> {
    let map = claims(value.clone()).map_err(|_| Denial::Claim)?;
    let rules = map.iter().map(|(name, matchers)| {
        let name = HeaderName::from_bytes(text(name)?.as_bytes()).map_err(|_| Denial::Claim)?;
        Ok(HeaderRule { name, matchers: Matcher::parse_all(matchers)? })
    });
    Ok(Binding::Own(Arc::new(AllHeaders(rules.collect::<Result<_, _>>()?))))
}

#[derive(Debug)]
struct AllHeaders(Vec<HeaderRule>);

impl crate::token::Condition for AllHeaders {
    fn check(&self, facts: &crate::token::RequestFacts<'_>) -> Result<(), Denial> {
        self.0.iter().try_for_each(|rule| rule.check(facts))
    }
}

/// `catnip`: AS numbers, and addresses or prefixes as RFC 9164 writes them (tags 52 and 54), in bytes or as text.
fn networks(value: &Value) -> Result<NetworkRule, Denial> {
    let mut rule = NetworkRule::default();
    for entry in array(value)? {
        match entry {
            Value::Integer(asn) => rule.systems.push(u32::try_from(*asn).map_err(|_| Denial::Claim)?),
            Value::Text(net) => rule.ranges.push(access::parse_net(net).ok_or(Denial::Claim)?),
            Value::Bytes(address) => rule.ranges.push(range(address, None)?),
            Value::Tag(52 | 54, inner) => rule.ranges.push(tagged_range(inner)?),
            _ => return Err(Denial::Claim),
        }
    }
    Ok(rule)
}

fn tagged_range(value: &Value) -> Result<IpNet, Denial> {
    match value {
        Value::Bytes(address) => range(address, None),
        Value::Array(pair) => match &pair[..] {
            [Value::Integer(length), Value::Bytes(address)] => range(address, Some(u8::try_from(*length).map_err(|_| Denial::Claim)?)),
            _ => Err(Denial::Claim),
        },
        _ => Err(Denial::Claim),
    }
}

/// An address; of a prefix, trailing zero bytes may be left out (RFC 9164 §3.1.2).
fn range(address: &[u8], length: Option<u8>) -> Result<IpNet, Denial> {
    let v4 = if length.is_some() { address.len() <= 4 } else { address.len() == 4 };
    let ip = if v4 {
        let mut octets = [0; 4];
        octets[..address.len()].copy_from_slice(address);
        IpAddr::from(Ipv4Addr::from(octets))
    } else {
        let mut octets = [0; 16];
        octets.get_mut(..address.len()).ok_or(Denial::Claim)?.copy_from_slice(address);
        IpAddr::from(Ipv6Addr::from(octets))
    };
    match length {
        None if !matches!(address.len(), 4 | 16) => Err(Denial::Claim),
        None => Ok(access::canonical(IpNet::from(ip))),
        Some(length) => IpNet::new(ip, length).map(access::canonical).map_err(|_| Denial::Claim),
    }
}

/// `catreplay`: 0 permitted, 1 prohibited, 2 left to detection of reuse, for which the token's id is there.
fn replay(value: &Value) -> Result<bool, Denial> {
    match value.as_integer().map(i128::from) {
        Some(0 | 2) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(Denial::Claim),
    }
}

fn critical(value: &Value) -> Result<(), Denial> {
    let known = |value: &Value| label(value).is_some_and(|label| names::ALL.contains(&label));
    if array(value)?.iter().all(known) { Ok(()) } else { Err(Denial::Unsupported) }
}

/// `catr`: how the token is renewed.
fn renewal(value: &Value, config: &Config) -> Result<Renewal, Denial> {
    let map = claims(value.clone()).map_err(|_| Denial::Claim)?;
    if map.iter().any(|(key, _)| !label(key).is_some_and(|key| (0..=7).contains(&key))) {
        return Err(Denial::Unsupported);
    }
    let field = |wanted: i64| map.iter().find(|(key, _)| label(key) == Some(wanted)).map(|(_, value)| value);
    let texts = |wanted: i64| match field(wanted) {
        None => Ok(Vec::new()),
        Some(one @ Value::Text(_)) => Ok(vec![parameter(one)?]),
        Some(many) => array(many)?.iter().map(parameter).collect(),
    };
    let name = |wanted: i64| field(wanted).map_or(Ok(config.header.as_str()), text);
    let whole = |value: &Value| value.as_integer().and_then(|n| i64::try_from(n).ok()).filter(|n| (0..=i64::from(u32::MAX)).contains(n));
    let by = match field(0).and_then(label) {
        Some(0) => RenewalCarrier::Same,
        Some(1) => RenewalCarrier::Cookie { name: cookie_name(name(3)?)?, depth: 0, attributes: texts(5)? },
        Some(2) => {
            let name = HeaderName::from_bytes(name(4)?.as_bytes()).map_err(|_| Denial::Claim)?;
            RenewalCarrier::Header { name, parameters: texts(6)? }
        }
        Some(3) => RenewalCarrier::Redirect { status: status(field(7))? },
        _ => return Err(Denial::Claim),
    };
    let seconds = field(1).and_then(whole).filter(|seconds| *seconds > 0).ok_or(Denial::Claim)?;
    let within = field(2).map(|deadline| whole(deadline).ok_or(Denial::Claim)).transpose()?;
    Ok(Renewal { within, seconds, by })
}

/// A parameter of a cookie or header: what may stand in a header's value.
fn parameter(value: &Value) -> Result<String, Denial> {
    let parameter = text(value)?;
    if parameter.bytes().all(|b| (b' '..=b'~').contains(&b)) { Ok(parameter.to_owned()) } else { Err(Denial::Claim) }
}

fn cookie_name(name: &str) -> Result<String, Denial> {
    // RFC 6265 §4.1.1: a cookie's name is a token, as a header's is.
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Denial::Claim)?;
    Ok(name.to_owned())
}

fn status(value: Option<&Value>) -> Result<u16, Denial> {
    match value.map(label) {
        None => Ok(302),
        Some(Some(code @ (301 | 302 | 303 | 307 | 308))) => u16::try_from(code).map_err(|_| Denial::Claim),
        Some(_) => Err(Denial::Claim),
    }
}

/// One entry of `catif`: an answer, and the tokens to be made for it.
pub(super) struct Plan {
    pub(super) answer: Answer,
    /// For the header with this index: the claims of the token that follows its text.
    pub(super) mint: Vec<(usize, Claims)>,
    /// The key to sign those with.
    pub(super) key_id: Option<String>,
}

/// `catif`: for a claim's label, what to answer when it does not hold: status, headers, key id.
pub(super) fn answers(value: &Value) -> Result<Vec<Plan>, Denial> {
    let map = claims(value.clone()).map_err(|_| Denial::Claim)?;
    map.iter().map(|(key, action)| plan(label(key).ok_or(Denial::Claim)?, action)).collect()
}

fn refusals(key: i64) -> Result<Vec<Denial>, Denial> {
    Ok(match key {
        names::ISS => vec![Denial::Issuer],
        names::AUD => vec![Denial::Audience],
        names::EXP => vec![Denial::Expired],
        names::NBF => vec![Denial::NotYetValid],
        names::CATU => vec![Denial::Host, Denial::Path],
        names::CATM => vec![Denial::Method],
        names::CATALPN => vec![Denial::Protocol],
        names::CATH => vec![Denial::Header],
        names::CATNIP => vec![Denial::Address],
        names::CATGEOISO3166 => vec![Denial::Country],
        names::CATREPLAY => vec![Denial::Replayed],
        _ => return Err(Denial::Unsupported),
    })
}

fn plan(key: i64, action: &Value) -> Result<Plan, Denial> {
    let parts = array(action)?;
    let (Some(code), Some(headers)) = (parts.first().and_then(label), parts.get(1)) else { return Err(Denial::Claim) };
    let key_id = match parts.get(2) {
        None | Some(Value::Null) => None,
        Some(Value::Text(id)) => Some(id.clone()),
        Some(Value::Bytes(id)) => Some(String::from_utf8(id.clone()).map_err(|_| Denial::Claim)?),
        Some(_) => return Err(Denial::Claim),
    };
    let status = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Denial::Claim)?;
    let is_refusal = status.is_redirection() || status.is_client_error() || status.is_server_error();
    if !is_refusal {
        return Err(Denial::Claim);
    }
    let mut plan = Plan { answer: Answer { on: refusals(key)?, status, headers: Vec::new() }, mint: Vec::new(), key_id };
    for (index, (name, value)) in claims(headers.clone()).map_err(|_| Denial::Claim)?.iter().enumerate() {
        let name = HeaderName::from_bytes(text(name)?.as_bytes()).map_err(|_| Denial::Claim)?;
        let (value, minted) = match value {
            Value::Array(pair) => match &pair[..] {
                [value, set @ Value::Map(_)] => (text(value)?, Some(claims(set.clone()).map_err(|_| Denial::Claim)?)),
                _ => return Err(Denial::Claim),
            },
            other => (text(other)?, None),
        };
        http::HeaderValue::from_str(value).map_err(|_| Denial::Claim)?;
        plan.answer.headers.push((name, value.to_owned()));
        plan.mint.extend(minted.map(|set| (index, set)));
    }
    Ok(plan)
}

fn text(value: &Value) -> Result<&str, Denial> {
    value.as_text().ok_or(Denial::Claim)
}

fn array(value: &Value) -> Result<&[Value], Denial> {
    value.as_array().map(Vec::as_slice).ok_or(Denial::Claim)
}

/// A `NumericDate`: a whole number, or a fraction rounded up.
fn date(value: &Value) -> Result<i64, Denial> {
    match value {
        Value::Integer(whole) => i64::try_from(*whole).map_err(|_| Denial::Claim),
        #[allow(clippy::cast_possible_truncation, reason = "bounded just before")]
        Value::Float(number) if number.is_finite() && number.abs() < 1e15 => Ok(number.ceil() as i64),
        _ => Err(Denial::Claim),
    }
}
