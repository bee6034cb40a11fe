//! What of a viewer a MAC can cover, so that it binds without standing in the token.
//!
//! The same words name the same attributes for every scheme that covers some. One that is not known of a viewer is never taken
//! for an empty one: the token is refused.

use std::net::IpAddr;

use http::HeaderName;

use super::near::Prefixes;
use super::{Binding, Country, Denial, RequestFacts, SignRequest};

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// The network that the viewer's address lies in.
    Network,
    /// The autonomous system of that address.
    System,
    /// Its country.
    Country,
    /// The value of a request header.
    Header(HeaderName),
}

/// Who has attributes: a viewer who asks, or one whom a token is made for.
pub trait Viewer {
    /// The address.
    fn address(&self) -> Option<IpAddr>;

    /// The autonomous system of the address.
    fn system(&self) -> Option<u32>;

    /// The country of the address.
    fn country(&self) -> Option<Country>;

    /// The value of a header; `Ok(None)` when it is known not to be there.
    ///
    /// # Errors
    /// [`Denial::Duplicate`] and [`Denial::Malformed`] as [`RequestFacts::single_header`]; [`Denial::Header`] when it is not known.
    fn header(&self, name: &str) -> Result<Option<&str>, Denial>;
}

impl Viewer for RequestFacts<'_> {
    fn address(&self) -> Option<IpAddr> {
        Some(self.client_ip)
    }

    fn system(&self) -> Option<u32> {
        self.geo.asn(self.client_ip)
    }

    fn country(&self) -> Option<Country> {
        self.geo.country(self.client_ip)
    }

    fn header(&self, name: &str) -> Result<Option<&str>, Denial> {
        self.single_header(name)
    }
}

impl Viewer for SignRequest {
    fn address(&self) -> Option<IpAddr> {
        self.client_ip
    }

    fn system(&self) -> Option<u32> {
        self.system
    }

    fn country(&self) -> Option<Country> {
        self.country
    }

    fn header(&self, name: &str) -> Result<Option<&str>, Denial> {
        let given = self.headers.iter().find(|(have, _)| have == name);
        given.map(|(_, value)| Some(value.as_str())).ok_or(Denial::Header)
    }
}

impl Attribute {
    /// Reads `network`, `system`, `country` or `header.NAME`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "network" => Some(Self::Network),
            "system" => Some(Self::System),
            "country" => Some(Self::Country),
            _ => word.strip_prefix("header.").and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()).map(Self::Header),
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Network => "network".to_owned(),
            Self::System => "system".to_owned(),
            Self::Country => "country".to_owned(),
            Self::Header(name) => format!("header.{name}"),
        }
    }

    /// What a viewer is told who differs in it.
    #[must_use]
    pub const fn denial(&self) -> Denial {
        match self {
            Self::Network | Self::System => Denial::Address,
            Self::Country => Denial::Country,
            Self::Header(_) => Denial::Header,
        }
    }

    /// Its value, as a MAC covers it: a network as `198.51.100.0/24`, a system as a number, a country as two capital letters.
    ///
    /// # Errors
    /// [`Attribute::denial`] when it is not known.
    pub fn value(&self, viewer: &dyn Viewer, prefixes: Prefixes) -> Result<String, Denial> {
        let value = match self {
            Self::Network => viewer.address().map(|ip| prefixes.network(ip).to_string()),
            Self::System => viewer.system().map(|system| system.to_string()),
            Self::Country => viewer.country().map(|country| country.to_string()),
            Self::Header(name) => viewer.header(name.as_str())?.map(str::to_owned),
        };
        value.ok_or_else(|| self.denial())
    }

    /// The same said as a rule, for a request whose token was found good under a MAC over it.
    #[must_use]
    pub fn binding(&self, viewer: &dyn Viewer, prefixes: Prefixes) -> Option<Binding> {
        match self {
            Self::Network => viewer.address().map(|ip| Binding::Networks(vec![prefixes.network(ip)])),
            Self::System => viewer.system().map(|system| Binding::Systems(vec![system])),
            Self::Country => viewer.country().map(|country| Binding::Countries(vec![country])),
            Self::Header(name) => viewer.header(name.as_str()).ok().flatten().map(|value| Binding::Header(name.clone(), value.to_owned())),
        }
    }
}
