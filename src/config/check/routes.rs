//! Rules of routes: each can be reached, leads somewhere, and says who may come in.

use std::collections::BTreeMap;

use super::leads_to;
use crate::config::Config;
use crate::config::fault::Finding;
use crate::config::key_path::KeyPath;
use crate::credential::Mode;
use crate::name::Name;
use crate::path::CleanPath;
use crate::route::inject::Into;
use crate::route::{RouteConfig, RouteMode};
use crate::token::scheme::config::SchemeConfig;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    if config.routes.is_empty() {
        found.push(Finding::warning(KeyPath::top("routes"), "there is no route, so every request is answered with 404"));
    }
    let mut names = BTreeMap::new();
    for (index, route) in config.routes.iter().enumerate() {
        let path = KeyPath::top("routes").at(index);
        if let Some(first) = names.insert(&route.name, index) {
            let message = format!("`routes[{first}]` has the name `{}` already", route.name);
            found.push(Finding::value(path.key("name"), message));
        }
        who(config, route, &path, found);
        limits_of_tokens(config, route, &path, found);
        leads_to(&route.origin, config.origins.keys(), ("origin", path.key("origin")), found);
        if let Some(sign) = &route.upstream_sign {
            leads_to(&sign.scheme, config.schemes.keys(), ("scheme", path.key("upstream_sign").key("scheme")), found);
            if route.forward_token {
                let message = "`forward_token` leaves the viewer's token where `upstream_sign` puts its own";
                found.push(Finding::value(path.key("forward_token"), message).hint("take out one of the two"));
            }
        }
        aws(route, &path, found);
        mode(config, route, &path, found);
        inject(config, route, &path, found);
        matches(route, &path, found);
        upload(route, &path, found);
        for (key, fault) in route.session.iter().flat_map(|session| session.faults()) {
            found.push(Finding::value(path.key("session").key(key), fault));
        }
        cors(route, &path, found);
    }
    collisions(config, found);
}

/// Rules of requests that are signed with an access key.
fn aws(route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let Some(aws) = &route.upstream_aws else { return };
    let at = path.key("upstream_aws");
    found.extend(aws.faults().into_iter().map(|(key, fault)| Finding::value(at.key(key), fault)));
    let others =
        [("inject", !route.inject.is_empty()), ("upstream_sign", route.upstream_sign.is_some()), ("forward_token", route.forward_token)];
    for (key, _) in others.into_iter().filter(|(_, is)| *is) {
        let message = format!("`{key}` puts something on requests that `upstream_aws` takes out before it signs");
        found.push(Finding::value(path.key(key), message).hint("take out one of the two"));
    }
}

/// Rules of credentials and answers.
fn inject(config: &Config, route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    for (index, entry) in route.inject.iter().enumerate() {
        let at = path.key("inject").at(index);
        leads_to(&entry.credential, config.credentials.keys(), ("credential", at.key("credential")), found);
        found.extend(entry.place().err().map(|fault| Finding::value(at.key("into"), fault)));
        found.extend(entry.format().err().map(|fault| Finding::value(at.key("format"), fault)));
        if entry.keep_own && entry.mode != Mode::OnlyIfAbsent {
            let finding = Finding::value(at.key("keep_own"), "`keep_own` does nothing unless the caller's own may stand");
            found.push(finding.hint("add `mode = \"only-if-absent\"`"));
        }
    }
    let missing = [("upload", route.upload.is_none()), ("answers", route.answers.is_none())];
    if route.inject.iter().any(|entry| entry.into == Into::Address) {
        for (key, _) in missing.into_iter().filter(|(_, is)| *is) {
            found.push(Finding::value(path.key("inject"), format!("an upload address needs the route's `{key}` table")));
        }
        if route.inject.len() > 1 {
            found.push(Finding::value(path.key("inject"), "an upload address stands alone: nothing else may go there"));
        }
    }
    let Some(answers) = &route.answers else { return };
    let at = path.key("answers");
    found.extend(answers.faults().into_iter().map(|(key, fault)| Finding::value(at.key(key), fault)));
    for (index, origin) in answers.origins.iter().enumerate() {
        leads_to(origin, config.origins.keys(), ("origin", at.key("origins").at(index)), found);
    }
    let sessions = route.session.as_ref().filter(|session| session.parameter == answers.marker);
    if sessions.is_some() {
        let message = format!("`{}` is the beginning of the session's tickets already", answers.marker);
        found.push(Finding::value(at.key("marker"), message));
    }
}

fn who(config: &Config, route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    match (route.accept.is_empty(), route.public) {
        (true, false) => {
            let message = format!("the route `{}` says neither which schemes open it nor that it is public", route.name);
            found.push(Finding::key(path.clone(), message).hint("add `accept = [\"…\"]` or `public = true`"));
        }
        (false, true) => {
            let message = format!("the route `{}` is public and asks for tokens", route.name);
            found.push(Finding::key(path.key("public"), message).hint("take out `public` or `accept`"));
        }
        _ => {}
    }
    for (index, scheme) in route.accept.iter().enumerate() {
        let at = path.key("accept").at(index);
        if route.accept[..index].contains(scheme) {
            found.push(Finding::warning(at.clone(), format!("`{scheme}` stands here twice")));
        }
        leads_to(scheme, config.schemes.keys(), ("scheme", at), found);
    }
}

/// Tokens of Ziggeo say how often and how long they are good, which is nothing without sessions.
fn limits_of_tokens(config: &Config, route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let plays = route.methods.iter().any(|method| ["GET", "HEAD"].contains(&method.as_str()));
    let limited = |name: &Name| matches!(config.schemes.get(name), Some(SchemeConfig::Ziggeo(_)));
    if route.session.is_some() || !plays {
        return;
    }
    if let Some(index) = route.accept.iter().position(limited) {
        let message = "`session_limit` and `usage_expiration_time` of its tokens are limits of sessions, and the route has none";
        found.push(Finding::value(path.key("accept").at(index), message).hint("add `[routes.session]` with `propagation = \"none\"`"));
    }
}

fn mode(config: &Config, route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    for (index, scheme) in route.compare.iter().enumerate() {
        leads_to(scheme, config.schemes.keys(), ("scheme", path.key("compare").at(index)), found);
    }
    match (route.mode, route.compare.is_empty()) {
        (RouteMode::Dual, true) => {
            let message = "`mode = \"dual\"` needs a second list of schemes";
            found.push(Finding::value(path.key("mode"), message).hint("add `compare = [\"…\"]`"));
        }
        (RouteMode::Enforce | RouteMode::Shadow, false) => {
            let message = "`compare` does nothing without `mode = \"dual\"`";
            found.push(Finding::warning(path.key("compare"), message));
        }
        _ => {}
    }
    if route.mode != RouteMode::Enforce && route.public {
        found.push(Finding::value(path.key("mode"), "a public route asks for no token, so there is nothing to decide"));
    }
    if route.mode == RouteMode::Shadow && route.session.is_some() {
        let message = "`mode = \"shadow\"` refuses nobody, and `session` limits for real";
        found.push(Finding::value(path.key("mode"), message).hint("take out `session`, or enforce with `session.on_full = \"observe\"`"));
    }
    if route.mode == RouteMode::Dual && route.accept == route.compare {
        found.push(Finding::warning(path.key("compare"), "both lists are the same, so they cannot differ"));
    }
}

fn matches(route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let prefixes = [("path", Some(&route.path)), ("rewrite_prefix", route.rewrite_prefix.as_ref())];
    for (key, prefix) in prefixes {
        if let Some(fault) = prefix.and_then(|prefix| CleanPath::parse(prefix).err()) {
            let finding = Finding::value(path.key(key), format!("`{key}` is not a path: {fault}"));
            found.push(finding.hint("such as `/videos`, percent-encoded only where it must be"));
        }
    }
    for (index, host) in route.hosts.iter().enumerate() {
        let at = path.key("hosts").at(index);
        if let Some(fault) = host_fault(host.strip_prefix("*.").unwrap_or(host)) {
            found.push(Finding::value(at, format!("`{host}` is not a host: {fault}")));
        }
    }
    if route.methods.is_empty() {
        found.push(Finding::value(path.key("methods"), "a route without methods serves nothing"));
    }
    for (index, method) in route.methods.iter().enumerate() {
        let at = path.key("methods").at(index);
        let upper = method.to_ascii_uppercase();
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&upper.as_str());
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            found.push(Finding::value(at, "not a method"));
        } else if *method != upper && known {
            found.push(
                Finding::value(at, format!("`{method}` is not a method: methods tell case apart")).hint(format!("did you mean `{upper}`?")),
            );
        } else if method == "CONNECT" {
            found.push(Finding::value(at, "`CONNECT` cannot be routed: it has no path"));
        }
    }
}

fn upload(route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let Some(upload) = &route.upload else { return };
    for (key, fault) in upload.faults() {
        found.push(Finding::value(path.key("upload").key(key), fault));
    }
    if !route.methods.iter().any(|method| ["POST", "PUT", "PATCH"].contains(&method.as_str())) {
        let finding = Finding::warning(path.key("methods"), "a route with `upload` takes none by these methods");
        found.push(finding.hint("such as `methods = [\"POST\"]`, or `[\"POST\", \"PATCH\", \"HEAD\", \"DELETE\"]` for tus"));
    }
}

/// Why it is not an exact host: a lower-case name of letters, digits and `-` (RFC 1123 §2.1), or an
/// IP address, without a port.
pub(super) fn host_fault(host: &str) -> Option<&'static str> {
    if host.is_empty() || host.len() > 253 {
        return Some("its length is not from 1 to 253");
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some("hosts are written in lower case");
    }
    if host.contains('*') {
        return Some("`*` may only stand in front, as in `*.example.com`");
    }
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(literal) = literal {
        return literal.parse::<std::net::Ipv6Addr>().err().map(|_| "no IPv6 address stands between its brackets");
    }
    if host.contains(':') {
        return Some("a port does not belong here");
    }
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.split('.').all(label) { None } else { Some("its parts are letters, digits and '-', with single dots between") }
}

fn cors(route: &RouteConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let (cors, path) = (&route.cors, path.key("cors"));
    let everybody = cors.allow_origins.iter().any(|origin| origin == "*");
    if cors.allow_credentials && everybody {
        // Fetch standard, section 3.3.5: `*` is no wildcard when credentials come along.
        let finding = Finding::value(path.key("allow_credentials"), "`allow_credentials` needs a list of origins, not `*`");
        found.push(finding.hint("write the pages' origins into `allow_origins`"));
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let at = path.key("allow_origins").at(index);
        if origin == "*" {
            if cors.allow_origins.len() > 1 {
                found.push(Finding::warning(at, "`*` allows every origin, whatever else the list says"));
            }
            continue;
        }
        let plain = origin.replacen("://*.", "://", 1);
        if super::origins::endpoint_fault(&plain).is_some() || plain.contains('*') {
            let finding = Finding::value(at, format!("`{origin}` is not a web origin"));
            found.push(finding.hint("write `https://www.example.com` or `https://*.example.com`, without a path"));
        }
    }
}

/// Two routes that the same request would find, with nothing to choose between them.
fn collisions(config: &Config, found: &mut Vec<Finding>) {
    let mut taken: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (index, route) in config.routes.iter().enumerate() {
        let hosts: Vec<&str> = if route.hosts.is_empty() { vec![""] } else { route.hosts.iter().map(String::as_str).collect() };
        let keys = hosts.iter().flat_map(|host| route.methods.iter().map(|method| (*host, route.path.as_str(), method.as_str())));
        let mut met = None;
        for key in keys {
            match taken.get(&key) {
                Some(first) if *first != index => met = met.or(Some((*first, key))),
                Some(_) => {}
                None => {
                    taken.insert(key, index);
                }
            }
        }
        if let Some((first, (host, path, method))) = met {
            let host = if host.is_empty() { "every host" } else { host };
            let message = format!("the routes `{}` and `{}` both match {method} {path} on {host}", config.routes[first].name, route.name);
            found.push(Finding::key(KeyPath::top("routes").at(index), message).hint("tell them apart by `hosts`, `path` or `methods`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_names() {
        for good in ["a", "a.example.com", "xn--bcher-kva.example", "127.0.0.1", "[::1]", "a_b.example"] {
            assert_eq!(host_fault(good), None, "{good}");
        }
        for bad in ["", "A.example", "a.*.com", "*", "a:80", "a..b", "a.", "-a", "a-", "ü.example", "[::1", "[x]", "a/b"] {
            assert!(host_fault(bad).is_some(), "{bad}");
        }
    }
}
