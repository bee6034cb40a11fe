//! Who the viewer is: the peer, unless the peer is a proxy that we trust.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The viewer's address, and whether the peer is trusted. Behind trusted proxies it is the
/// right-most address of `X-Forwarded-For` that is not itself trusted; whatever stands left of it
/// was written by the viewer. A value that is not an address ends the search at the hop before.
#[must_use]
pub fn viewer(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> (IpAddr, bool) {
    let peer = peer.to_canonical();
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    if trusted.is_empty() || !is_trusted(peer) {
        return (peer, false);
    }
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let mut viewer = peer;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(ip) = address(hop.trim()) else { break };
        viewer = ip;
        if !is_trusted(ip) {
            break;
        }
    }
    (viewer, true)
}

/// An address, perhaps with a port, perhaps in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()));
    let ip = ip.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

/// The chain so far with the peer at its end: each hop adds the address that it was reached from.
pub(super) fn forwarded_for<'h>(peer: IpAddr, lines: impl Iterator<Item = &'h HeaderValue>) -> String {
    let mut chain = String::new();
    for line in lines.filter_map(|value| value.to_str().ok()).filter(|line| !line.is_empty()) {
        chain.push_str(line);
        chain.push_str(", ");
    }
    chain.push_str(&peer.to_canonical().to_string());
    chain
}

/// What a trusted peer says of the viewer's protocol; only if it says one thing.
pub(super) fn forwarded_https(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all("x-forwarded-proto").iter();
    let only = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    match only.trim() {
        text if text.eq_ignore_ascii_case("https") => Some(true),
        text if text.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(line));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("range")).collect();
        viewer(peer.parse().expect("address"), &headers, &trusted).0.to_string()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(of("10.0.0.1", &["1.2.3.4"], &[]), "10.0.0.1");
        assert_eq!(of("203.0.113.9", &["1.2.3.4"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn the_right_most_untrusted_hop_is_the_viewer() {
        let trusted = &["10.0.0.0/8"][..];
        assert_eq!(of("10.0.0.1", &[], trusted), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["203.0.113.9"], trusted), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], trusted), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "203.0.113.9"], trusted), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["203.0.113.9:4711"], trusted), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["[2001:db8::1]:4711"], trusted), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, unknown"], trusted), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1", &["203.0.113.9"], trusted), "203.0.113.9");
    }
}
