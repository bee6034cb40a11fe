//! Who may come from where: addresses, countries, and Cloudflare Stream's ordered access rules.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An ISO 3166-1 alpha-2 country code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Country([u8; 2]);

impl Country {
    /// Takes two ASCII letters of either case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        match *code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()])),
            _ => None,
        }
    }

    /// The code's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

impl TryFrom<String> for Country {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::new(&code).ok_or("not a country code")
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where addresses are. Asked only when a grant has a rule about it.
pub trait Geo: Send + Sync {
    /// The country of `ip`, if known.
    fn country(&self, ip: IpAddr) -> Option<Country>;

    /// The autonomous system number of `ip`, if the database has it.
    fn asn(&self, _ip: IpAddr) -> Option<u32> {
        None
    }
}

/// No database: no country is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGeo;

impl Geo for NoGeo {
    fn country(&self, _ip: IpAddr) -> Option<Country> {
        None
    }
}

/// One country for every address: for `explain`, conformance vectors and tests.
#[derive(Debug, Clone, Copy)]
pub struct FixedGeo(pub Option<Country>);

impl Geo for FixedGeo {
    fn country(&self, _ip: IpAddr) -> Option<Country> {
        self.0
    }
}

/// One of Cloudflare Stream's `accessRules` ("Securing your Stream", access rules): the first that
/// matches decides; when none matches, the viewer is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    /// What is matched.
    pub on: AccessMatch,
    /// Whether a match lets in.
    pub allow: bool,
}

/// What an access rule looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessMatch {
    /// Everyone.
    Any,
    /// `ip.src`: the viewer's address. A rule of IPv4 ranges never matches an IPv6 viewer, nor the
    /// other way round.
    Address(Vec<IpNet>),
    /// `ip.geoip.country`: the viewer's country. An unknown country matches no rule.
    Country(Vec<Country>),
}

/// Whether the viewer is let in, and by which kind of rule if not.
pub fn decide(rules: &[AccessRule], ip: IpAddr, country: impl Fn() -> Option<Country>) -> Result<(), super::Denial> {
    let mut known: Option<Option<Country>> = None;
    for rule in rules {
        let (hit, denial) = match &rule.on {
            AccessMatch::Any => (true, super::Denial::Address),
            AccessMatch::Address(nets) => (contains(nets, ip), super::Denial::Address),
            AccessMatch::Country(countries) => {
                let country = *known.get_or_insert_with(&country);
                (country.is_some_and(|c| countries.contains(&c)), super::Denial::Country)
            }
        };
        if hit {
            // A final "any: block" after country rules is a country decision to the viewer.
            let only_countries = rules.iter().all(|r| !matches!(r.on, AccessMatch::Address(_)));
            let denial =
                if matches!(rule.on, AccessMatch::Any) && only_countries && rules.len() > 1 { super::Denial::Country } else { denial };
            return if rule.allow { Ok(()) } else { Err(denial) };
        }
    }
    Ok(())
}

/// Whether one of `nets` holds `ip`. An IPv4-mapped IPv6 address counts as the IPv4 address it is.
#[must_use]
pub fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    nets.iter().any(|net| net.contains(&ip))
}

/// An address or a CIDR range; a bare address is a range of one.
#[must_use]
pub fn parse_net(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(canonical)
}

/// The range without host bits; one of IPv4-mapped IPv6 addresses as the IPv4 range it is, because viewers are told so.
#[must_use]
pub fn canonical(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(ip, bits)| IpNet::new(ip.into(), bits).ok()).unwrap_or(net).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Denial;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn net(text: &str) -> Vec<IpNet> {
        vec![parse_net(text).expect("range")]
    }

    #[test]
    fn first_match_wins_and_no_match_allows() {
        let se = Country::new("se");
        let rules = [
            AccessRule { on: AccessMatch::Country(vec![Country::new("SE").expect("code")]), allow: true },
            AccessRule { on: AccessMatch::Address(net("198.51.100.0/24")), allow: false },
        ];
        assert_eq!(decide(&rules, ip("198.51.100.7"), || se), Ok(()));
        assert_eq!(decide(&rules, ip("198.51.100.7"), || None), Err(Denial::Address));
        assert_eq!(decide(&rules, ip("203.0.113.1"), || None), Ok(()));
        assert_eq!(decide(&[], ip("203.0.113.1"), || None), Ok(()));
    }

    #[test]
    fn families_do_not_match_each_other() {
        let block_all_v4 = [AccessRule { on: AccessMatch::Address(net("0.0.0.0/0")), allow: false }];
        assert_eq!(decide(&block_all_v4, ip("2001:db8::1"), || None), Ok(()));
        assert_eq!(decide(&block_all_v4, ip("::ffff:192.0.2.1"), || None), Err(Denial::Address));
    }

    #[test]
    fn ranges_are_read_with_and_without_prefix() {
        assert_eq!(parse_net("198.51.100.7"), Some("198.51.100.7/32".parse().expect("range")));
        assert_eq!(parse_net("198.51.100.7/24"), Some("198.51.100.0/24".parse().expect("range")));
        assert_eq!(parse_net("::ffff:198.51.100.7/120"), parse_net("198.51.100.0/24"));
        assert_eq!(parse_net("::ffff:0:0/90"), Some("::ffc0:0:0/90".parse().expect("range")));
        assert_eq!(parse_net("nonsense"), None);
    }
}
