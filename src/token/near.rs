//! How near a viewer must be to an address that a token names.
//!
//! Where nothing is said, it must be that address. Homes change addresses, phones change networks, and a viewer with IPv4 and IPv6
//! comes by either: a route can say what else is enough. A range that is wider than that is the signer's own choice, and stays.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use super::RequestFacts;

/// A route's `bind` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Near {
    /// What must be the same of the viewer and of the address that its token names; one of these is enough: `network`, `system`
    /// (the network's operator, by its AS number), `country`. The last two hold for a viewer who comes by IPv4 and IPv6.
    #[serde(default = "network")]
    pub same: Vec<Same>,
    /// What of an address is its network.
    #[serde(flatten)]
    pub prefixes: Prefixes,
}

/// What can be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Same {
    /// The network that the address lies in.
    Network,
    /// The autonomous system; unknown ones are not the same.
    System,
    /// The country; unknown ones are not the same.
    Country,
}

/// How many bits of an address are its network: a part of other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prefixes {
    /// How many bits of an IPv4 address are its network: a /24 is one provider's neighbourhood.
    #[serde(default = "v4")]
    #[schemars(range(min = 8, max = 32))]
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address are its network: a /56 is what one home usually gets (RFC 6177).
    #[serde(default = "v6")]
    #[schemars(range(min = 16, max = 128))]
    pub ipv6_prefix: u8,
}

fn network() -> Vec<Same> {
    vec![Same::Network]
}

const fn v4() -> u8 {
    24
}

const fn v6() -> u8 {
    56
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { ipv4_prefix: v4(), ipv6_prefix: v6() }
    }
}

impl Prefixes {
    /// The network of `ip`. An IPv4-mapped IPv6 address counts as the IPv4 address it is.
    #[must_use]
    pub fn network(&self, ip: IpAddr) -> IpNet {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv4() { self.ipv4_prefix } else { self.ipv6_prefix };
        IpNet::new(ip, bits).map_or_else(|_| IpNet::from(ip), |net| net.trunc())
    }
}

impl Near {
    /// Whether the viewer is as near as asked to the address, or to the small network, that a token names.
    #[must_use]
    pub fn holds(&self, named: IpNet, facts: &RequestFacts<'_>) -> bool {
        let around = self.prefixes.network(named.addr());
        if named.prefix_len() < around.prefix_len() {
            return false;
        }
        let viewer = facts.client_ip.to_canonical();
        self.same.iter().any(|same| match same {
            Same::Network => around.contains(&viewer),
            Same::System => same_known(facts.geo.asn(named.addr()), facts.geo.asn(viewer)),
            Same::Country => same_known(facts.geo.country(named.addr()), facts.geo.country(viewer)),
        })
    }
}

fn same_known<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::UnixTime;
    use crate::path::CleanPath;
    use crate::token::{Binding, Country, Denial, Geo, Grant, access};

    /// 198.51.100.0/22 and 2001:db8::/32 are one provider's in Sweden, 203.0.113.0/24 another's there, all else is not known.
    struct World;

    impl Geo for World {
        fn country(&self, ip: IpAddr) -> Option<Country> {
            self.asn(ip).and(Country::new("SE"))
        }

        fn asn(&self, ip: IpAddr) -> Option<u32> {
            let within = |net: &str| net.parse::<IpNet>().expect("net").contains(&ip);
            match () {
                () if within("198.51.100.0/22") || within("2001:db8::/32") => Some(64_500),
                () if within("203.0.113.0/24") => Some(64_501),
                () => None,
            }
        }
    }

    fn verdict(near: Option<&Near>, named: &str, viewer: &str) -> Result<(), Denial> {
        let (path, headers) = (CleanPath::parse("/").expect("clean"), http::HeaderMap::new());
        let bare = RequestFacts::bare("media.example.com", &path, &headers);
        let facts = RequestFacts { client_ip: viewer.parse().expect("address"), geo: &World, near, ..bare };
        let named = access::parse_net(named).expect("range");
        Grant { bindings: vec![Binding::Networks(vec![named])], ..Grant::default() }.check(&facts, UnixTime(0))
    }

    #[test]
    fn a_viewer_is_as_near_as_the_route_asks() {
        let near = |table: serde_json::Value| serde_json::from_value::<Near>(table).expect("table");
        let (network, wide) = (near(json!({})), near(json!({ "ipv4_prefix": 16, "ipv6_prefix": 32 })));
        let (system, country) = (near(json!({ "same": ["system"] })), near(json!({ "same": ["country"] })));
        let either = near(json!({ "same": ["network", "country"] }));
        for (near, named, viewer, holds) in [
            (None, "198.51.100.7", "198.51.100.7", true),
            (None, "198.51.100.7", "198.51.100.8", false),
            (None, "198.51.100.7", "::ffff:198.51.100.7", true),
            (None, "::ffff:198.51.100.7", "198.51.100.7", true),
            (Some(&network), "198.51.100.7", "198.51.100.8", true),
            (Some(&network), "198.51.100.7", "198.51.101.7", false),
            (Some(&network), "198.51.100.7", "::ffff:198.51.100.8", true),
            (Some(&network), "::ffff:198.51.100.7", "198.51.100.8", true),
            (Some(&network), "2001:db8:1:2::1", "2001:db8:1:ff:9::", true),
            (Some(&network), "2001:db8:1:2::1", "2001:db8:1:100::", false),
            (Some(&network), "198.51.100.7", "2001:db8::1", false),
            (Some(&wide), "198.51.100.7", "198.51.1.1", true),
            (Some(&wide), "2001:db8:1::1", "2001:db8:2::1", true),
            // A range of the signer's own, and one as small as a network's part.
            (Some(&wide), "198.0.0.0/8", "199.0.0.1", false),
            (Some(&network), "198.51.100.128/25", "198.51.100.1", true),
            (Some(&system), "198.51.100.7", "2001:db8::1", true),
            (Some(&system), "198.51.100.7", "203.0.113.1", false),
            // Two unknown ones are not the same one.
            (Some(&system), "192.0.2.1", "192.0.2.2", false),
            (Some(&country), "198.51.100.7", "203.0.113.1", true),
            (Some(&country), "198.51.100.7", "192.0.2.2", false),
            (Some(&country), "192.0.2.1", "192.0.2.2", false),
            (Some(&network), "192.0.2.1", "192.0.2.2", true),
            (Some(&either), "192.0.2.1", "192.0.2.2", true),
            (Some(&either), "198.51.100.7", "203.0.113.1", true),
        ] {
            assert_eq!(verdict(near, named, viewer).is_ok(), holds, "{near:?}: {named} {viewer}");
        }
        assert_eq!(verdict(None, "198.51.100.7", "192.0.2.2"), Err(Denial::Address));
    }

    #[test]
    fn the_table_is_closed() {
        for bad in [json!({ "sane": [] }), json!({ "same": ["planet"] }), json!({ "ipv4_prefix": "x" })] {
            assert!(serde_json::from_value::<Near>(bad.clone()).is_err(), "{bad}");
        }
    }
}
