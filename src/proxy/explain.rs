//! What would be decided on a request, and why: the rooms' own rules asked in walking order, nothing
//! used up, nothing sent.

use std::net::IpAddr;

use http::Uri;
use http::request::Parts;
use serde_json::{Value, json};

use super::guard::{self, Settled};
use super::{Error, Route, State, outbound, request};
use crate::clock::UnixTime;
use crate::credential::place::Mode;
use crate::credential::sign_head::SignHead;
use crate::name::Name;
use crate::query;
use crate::route::RouteMode;
use crate::route::inject::Injection;
use crate::route::plan::Found;
use crate::token::{Geo, Grant, RequestFacts, Scope};
use crate::verifier::Verdict;

/// A request that is asked about.
pub struct Asked<'a> {
    /// Its head, in origin form with a `Host`.
    pub head: &'a mut Parts,
    /// The other end of its connection.
    pub client_ip: IpAddr,
    /// Whether that has TLS.
    pub tls: bool,
    /// Where addresses are.
    pub geo: &'a dyn Geo,
    /// When it comes.
    pub now: UnixTime,
}

/// The decision, as `tollgate explain` prints it.
#[must_use]
pub fn explain(asked: Asked<'_>, state: &State) -> Value {
    let Asked { head, client_ip, tls, geo, now } = asked;
    let mut answer = json!({
        "method": head.method.as_str(),
        "now": now.0,
        "route": null,
        "public": null,
        "scheme": null,
        "decision": "deny",
        "grant": null,
        "denial": null,
        "origin": null,
        "upstream_path": null,
        "notes": [],
    });
    let settled = match guard::settle(head, (client_ip, tls), state) {
        Ok(settled) => settled,
        Err(error) => return with_error(answer, &error),
    };
    answer["host"] = json!(settled.host);
    answer["client_ip"] = json!(settled.client_ip.to_string());
    answer["country"] = json!(geo.country(settled.client_ip).map(|c| c.to_string()));
    match state.plan.find(&settled.host, &settled.path, &head.method) {
        Found::Nothing => with_error(answer, &Error::NoRoute),
        Found::OtherMethod(route, allow) => with_error(on_route(answer, &route), &Error::MethodNotAllowed(allow)),
        Found::Route(route) => decide(on_route(answer, &route), (head, &settled), &route, (state, geo, now)),
    }
}

fn on_route(mut answer: Value, route: &Route) -> Value {
    answer["route"] = json!(route.name.as_str());
    answer["public"] = json!(route.is_public());
    answer["mode"] = json!(route.mode);
    if route.mode == RouteMode::Shadow {
        answer["notes"]
            .as_array_mut()
            .into_iter()
            .for_each(|notes| notes.push(json!("the route is in shadow mode: a refused token lets pass")));
    }
    answer["origin"] = json!(route.origin.name.as_str());
    answer
}

fn decide(mut answer: Value, (head, settled): (&Parts, &Settled), route: &Route, (state, geo, now): (&State, &dyn Geo, UnixTime)) -> Value {
    if let Err(fault) = route.reads(&settled.path) {
        return with_error(answer, &Error::BadPath(fault));
    }
    if settled.path.has_parameters() && !route.allow_path_parameters {
        return with_error(answer, &Error::PathParameters);
    }
    let facts = RequestFacts { near: route.bind.as_ref(), ..request::facts(head, settled, route.mount(&settled.path), geo) };
    if !route.compare.is_empty() {
        answer["compared"] = match state.verifier.look(&route.compare, &facts, now) {
            Ok(verdict) => json!({ "decision": "allow", "scheme": verdict.scheme.as_str() }),
            Err(refusal) => {
                json!({ "decision": "deny", "scheme": refusal.scheme.as_ref().map(Name::as_str), "reason": refusal.denial.reason() })
            }
        };
    }
    let verdict = match (route.is_public(), state.verifier.look(&route.schemes, &facts, now)) {
        (true, _) => None,
        (false, Ok(verdict)) => Some(verdict),
        (false, Err(refusal)) => {
            answer["scheme"] = json!(refusal.scheme.as_ref().map(Name::as_str));
            return with_error(answer, &refusal.into());
        }
    };
    let (strip, granted) = verdict.as_ref().map_or((&[][..], None), |v| (&v.strip[..], Some(&*v.grant)));
    let target = match outbound::target(&facts, route, strip, granted) {
        Ok(target) => target,
        Err(error) => return with_error(answer, &error),
    };
    answer["decision"] = json!("allow");
    if let Some(verdict) = &verdict {
        answer["scheme"] = json!(verdict.scheme.as_str());
        answer["scheme_type"] = json!(verdict.kind);
        answer["grant"] = grant(verdict);
    }
    let kept = || head.uri.path_and_query().map_or("/", |pq| pq.as_str()).to_owned();
    let target = target.unwrap_or_else(kept);
    let signed = target.parse().map_err(|_| Error::Internal).and_then(|asked: Uri| {
        let anew = outbound::signed(route, (&settled.authority, &head.headers), &|| now, &asked)?;
        Ok(anew.map(|anew| signed_anew(route, &asked, &anew)))
    });
    match signed {
        Ok(signed) => answer["upstream_signed"] = json!(signed),
        Err(error) => return with_error(answer, &error),
    }
    answer["upstream_path"] = json!(target);
    let signature = route.sign_head.iter().map(|by| signature(&**by));
    answer["injected"] = route.inject.iter().map(|injection| injected(injection, now)).chain(signature).collect();
    answer
}

/// What would be put where, and how its credential is doing; never its value.
fn injected(injection: &Injection, now: UnixTime) -> Value {
    let ((into, name), status) = (injection.place.told(), injection.credential.status(now));
    json!({
        "into": into, "name": name, "mode": injection.mode, "credential": status.name.as_str(), "provider": status.provider,
        "scope": status.scope, "state": status.state, "expires": status.expires.map(|time| time.0), "fault": status.fault,
    })
}

/// The same of a signature over the whole request, made anew for each by the route's own table.
fn signature(by: &dyn SignHead) -> Value {
    let (provider, place) = by.told();
    let (into, name) = place.told();
    json!({
        "into": into, "name": name, "mode": Mode::Replace, "credential": "upstream_aws", "provider": provider,
        "scope": "request", "state": "fresh", "expires": null, "fault": null,
    })
}

/// What is sent in place of `asked`, without what opens the origin: of each value that was added only its name is told.
fn signed_anew(route: &Route, asked: &Uri, anew: &outbound::SignedAnew) -> Value {
    const HIDDEN: &str = "[redacted]";
    let had: Vec<&str> = asked.path().split('/').collect();
    let shown = |segment: &str| match segment.split_once('=') {
        _ if had.contains(&segment) => segment.to_owned(),
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let path: Vec<String> = anew.signed.path.split('/').map(shown).collect();
    let own: Vec<(&str, &str)> = query::pairs(asked.query().unwrap_or("")).collect();
    let pair = |(name, value)| if own.contains(&(name, value)) { format!("{name}={value}") } else { format!("{name}={HIDDEN}") };
    let query: Vec<String> = query::pairs(anew.signed.query.as_deref().unwrap_or("")).map(pair).collect();
    let scheme = route.upstream_sign.as_ref().map(|signer| (signer.scheme(), signer.scope()));
    json!({
        "scheme": scheme.map(|((name, _), _)| name.as_str()),
        "scheme_type": scheme.map(|((_, kind), _)| kind),
        "scope": scheme.map(|(_, scope)| scope),
        "path": path.join("/"),
        "query": query.join("&"),
        "headers": anew.signed.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "cookies": anew.signed.cookies.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "taken_out": anew.strip.iter().map(|strip| format!("{strip:?}")).collect::<Vec<_>>(),
    })
}

fn with_error(mut answer: Value, error: &Error) -> Value {
    let reason = match error {
        Error::Denied(denial) | Error::Answered(denial, _) => denial.reason().to_owned(),
        other => other.cause().unwrap_or_else(|| other.code().to_owned()),
    };
    answer["denial"] = json!({ "code": error.code(), "reason": reason, "status": error.status().as_u16(), "title": error.title() });
    answer
}

fn grant(verdict: &Verdict) -> Value {
    let Grant { subject, resource, token_id, key_id, window, scope, bindings, session, kind, downloads, .. } = &*verdict.grant;
    let time = |time: UnixTime| (time != UnixTime::MIN && time != UnixTime::MAX).then_some(time.0);
    let scope = match scope {
        Scope::Route => json!("route"),
        Scope::Paths(rules) => rules.iter().map(rule).collect(),
        Scope::Beside(_, rules) => rules.iter().map(rule).collect(),
        Scope::Urls(rules) => rules.iter().map(rule).collect(),
    };
    json!({
        "subject": subject, "resource": resource, "token_id": token_id, "key_id": key_id, "kind": kind,
        "not_before": time(window.from), "expires": time(window.until),
        "scope": scope, "downloads": downloads,
        "bindings": bindings.iter().map(|binding| format!("{binding:?}")).collect::<Vec<_>>(),
        "session": { "concurrent": session.concurrent, "total": session.total, "seconds": session.seconds },
    })
}

fn rule(rule: &impl std::fmt::Debug) -> Value {
    json!(format!("{rule:?}"))
}
