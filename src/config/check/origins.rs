//! Rules of origins: endpoints that are addresses, limits that let something through.

use super::{Amount, not_zero};
use crate::config::Config;
use crate::config::fault::{Finding, did_you_mean};
use crate::config::key_path::KeyPath;
use crate::proxy::origin::{HostPolicy, OriginConfig};

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    for (name, origin) in &config.origins {
        let path = KeyPath::top("origins").key(name.as_str());
        endpoints(origin, &path, found);
        host(origin, &path, found);
        tls(origin, &path, found);
        let amounts: [(&str, &dyn Amount); 4] = [
            ("connect_timeout", &origin.connect_timeout),
            ("first_byte_timeout", &origin.first_byte_timeout),
            ("idle_timeout", &origin.idle_timeout),
            ("max_connections", &origin.max_connections),
        ];
        not_zero(&path, &amounts, found);
    }
}

fn endpoints(origin: &OriginConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let path = path.key("endpoints");
    if origin.endpoints.is_empty() {
        found.push(Finding::value(path.clone(), "an origin needs at least one endpoint"));
    }
    for (index, endpoint) in origin.endpoints.iter().enumerate() {
        let at = path.at(index);
        if let Some(fault) = endpoint_fault(endpoint) {
            found.push(Finding::value(at, format!("not an endpoint: {fault}")).hint("write `http://host:port` or `https://host:port`"));
        } else if origin.endpoints[..index].contains(endpoint) {
            found.push(Finding::warning(at, format!("`{endpoint}` stands here twice")));
        }
    }
}

/// Why it is not `http://host[:port]` or `https://host[:port]`. The text is not quoted: it could hold a password.
pub(super) fn endpoint_fault(endpoint: &str) -> Option<&'static str> {
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let Some(rest) = rest else { return Some("it begins with neither `http://` nor `https://`") };
    if rest.contains('@') {
        return Some("it holds a user name or password");
    }
    if rest.contains(['/', '?', '#']) {
        return Some("it holds a path or a query");
    }
    let Ok(authority) = rest.parse::<http::uri::Authority>() else { return Some("its host or port cannot be read") };
    let port = rest[authority.host().len().min(rest.len())..].strip_prefix(':');
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Some("its port is not a number from 1 to 65535");
    }
    if authority.host().is_empty() { Some("it has no host") } else { None }
}

fn host(origin: &OriginConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let HostPolicy::Fixed(host) = &origin.host else { return };
    let at = path.key("host");
    let plain = !host.contains(['.', ':']);
    if let Some(meant) = did_you_mean(host, ["endpoint", "preserve"]).filter(|_| plain) {
        found.push(
            Finding::value(at, format!("`{host}` is neither a word for `host` nor a host name")).hint(format!("did you mean `{meant}`?")),
        );
    } else if host.parse::<http::uri::Authority>().map_or(true, |authority| host.contains('@') || authority.host().is_empty()) {
        found.push(Finding::value(at, "not a host name").hint("`endpoint`, `preserve`, or a name such as `media.example.com`"));
    }
}

fn tls(origin: &OriginConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let (tls, at) = (&origin.tls, path.key("tls"));
    match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(_), None) => found.push(Finding::key(at.key("client_cert_file"), "a client certificate needs its `client_key_file`")),
        (None, Some(_)) => found.push(Finding::key(at.key("client_key_file"), "a client key needs its `client_cert_file`")),
        _ => {}
    }
    if let Some(name) = &tls.server_name
        && super::routes::host_fault(name).is_some_and(|_| name.parse::<std::net::IpAddr>().is_err())
    {
        found.push(Finding::value(at.key("server_name"), "not a host name"));
    }
    let any = tls.ca_file.is_some() || tls.client_cert_file.is_some() || tls.server_name.is_some();
    if any && !origin.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
        found.push(Finding::warning(at, "`tls` does nothing: no endpoint is https"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_scheme_host_and_port() {
        for good in ["http://a", "https://a.example.com", "http://127.0.0.1:8080", "https://[::1]:8443", "http://a:1", "https://[::1]"] {
            assert_eq!(endpoint_fault(good), None, "{good}");
        }
        for bad in [
            "a",
            "ftp://a",
            "http://",
            "http://a/",
            "http://a/b",
            "http://u:p@a",
            "http://a?b",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://:80",
            "http://a b",
        ] {
            assert!(endpoint_fault(bad).is_some(), "{bad}");
        }
    }
}
