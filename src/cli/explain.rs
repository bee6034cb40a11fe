//! `tollgate explain`: what would be decided on a request, and why, by the code that serves. No network.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::header::{HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};
use serde_json::{Value, json};

use super::{ConfigArgs, Output, failed, put, put_json};
use crate::app::compile::{self, World};
use crate::clock::{Clock, UnixTime};
use crate::config::Config;
use crate::credential::keeper::Spawn;
use crate::name::Name;
use crate::proxy::guard::{self, Settled};
use crate::proxy::{Error, Route, State, outbound, request};
use crate::query;
use crate::route::RouteMode;
use crate::route::plan::Found;
use crate::token::access::FixedGeo;
use crate::token::{Country, Denial, Geo, Grant, Scope};
use crate::verifier::Verdict;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL, token and all
    url: String,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// A header, such as `-H 'Referer: https://example.com/'`
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The viewer's address: the other end of the connection
    #[arg(long, default_value = "192.0.2.1")]
    client_ip: IpAddr,
    /// The viewer's country, instead of the database's word
    #[arg(long, value_parser = country)]
    country: Option<Country>,
    /// Now, in seconds since 1970, instead of the clock
    #[arg(long, allow_negative_numbers = true)]
    now: Option<i64>,
    /// How to print
    #[arg(long, value_enum, default_value = "json")]
    output: Output,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "not a header name")?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| "not a header value")?))
}

fn country(text: &str) -> Result<Country, String> {
    Country::new(text).ok_or_else(|| "a country is two letters".to_owned())
}

pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match explain(args, &loaded.config) {
        Ok(answer) => {
            if args.output == Output::Json {
                put_json(&answer);
            } else {
                put(&sentence(&answer));
            }
            ExitCode::SUCCESS
        }
        Err(message) => failed(&message),
    }
}

fn explain(args: &ExplainArgs, config: &Config) -> Result<Value, String> {
    let now = args.now.map_or_else(|| Clock::System.now(), UnixTime);
    let metrics = crate::metrics::Metrics::new().map_err(|e| e.to_string())?;
    let clock = Clock::manual(now);
    let nothing: Spawn = Arc::new(drop);
    let compiled = compile::compile(config, compile::Purpose::Try, &World { metrics: &metrics, clock: &clock, spawn: &nothing })
        .map_err(|unfit| unfit.into_iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join("\n"))?;
    let state = compiled.running.state;
    let fixed: Option<Arc<dyn Geo>> = args.country.map(|country| Arc::new(FixedGeo(Some(country))) as Arc<dyn Geo>);
    let geo = fixed.unwrap_or_else(|| state.geo.clone());
    let (mut head, tls) = head(args)?;
    let mut notes: Vec<String> = Vec::new();
    notes.extend(compiled.parts.remotes.iter().map(|keys| {
        format!("the keys \"{}\" are fetched from {}; there is no network here, so the set is empty", keys.name, keys.remote.url())
    }));
    let mut answer = json!({
        "method": args.method,
        "now": now.0,
        "route": null,
        "public": null,
        "scheme": null,
        "decision": "deny",
        "grant": null,
        "denial": null,
        "origin": null,
        "upstream_path": null,
        "notes": notes,
    });
    let settled = match guard::settle(&mut head, (args.client_ip, tls), &state) {
        Ok(settled) => settled,
        Err(error) => return Ok(with_error(answer, &error)),
    };
    answer["host"] = json!(settled.host);
    answer["client_ip"] = json!(settled.client_ip.to_string());
    answer["country"] = json!(geo.country(settled.client_ip).map(|c| c.to_string()));
    match state.plan.find(&settled.host, &settled.path, &head.method) {
        Found::Nothing => Ok(with_error(answer, &Error::NoRoute)),
        Found::OtherMethod(route, allow) => Ok(with_error(on_route(answer, &route), &Error::MethodNotAllowed(allow))),
        Found::Route(route) => Ok(decide(on_route(answer, &route), (&head, &settled), &route, (&state, &*geo, now))),
    }
}

/// The head of the request, and whether it comes over TLS.
fn head(args: &ExplainArgs) -> Result<(Parts, bool), String> {
    let uri: Uri = args.url.parse().map_err(|_| format!("\"{}\" is not a URL", args.url))?;
    let authority = uri.authority().ok_or("the URL needs a host")?.to_string();
    let tls = uri.scheme_str() == Some("https");
    let method: Method = args.method.parse().map_err(|_| format!("\"{}\" is not a method", args.method))?;
    let target = uri.path_and_query().map_or("/", |pq| pq.as_str());
    let mut builder = http::Request::builder().method(method).uri(target);
    if !args.headers.iter().any(|(name, _)| name == HOST) {
        builder = builder.header(HOST, authority);
    }
    for (name, value) in &args.headers {
        builder = builder.header(name, value);
    }
    let request = builder.body(()).map_err(|e| e.to_string())?;
    Ok((request.into_parts().0, tls))
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
    let facts = request::facts(head, settled, route.mount(&settled.path), geo);
    if !route.compare.is_empty() {
        answer["compared"] = match state.verifier.look(&route.compare, &facts, now) {
            Ok(verdict) => json!({ "decision": "allow", "scheme": verdict.scheme.as_str() }),
            Err(refusal) => {
                json!({ "decision": "deny", "scheme": refusal.scheme.as_ref().map(Name::as_str), "reason": refusal.denial.reason() })
            }
        };
    }
    let verdict = match (route.is_public(), state.verifier.decide(&route.schemes, &facts, now)) {
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
    answer
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
    if matches!(error, Error::Denied(Denial::Country)) && answer["country"].is_null() {
        answer["notes"].as_array_mut().into_iter().for_each(|notes| notes.push(json!("the country is not known: name one with --country")));
    }
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

/// The answer in one line.
fn sentence(answer: &Value) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or("none").to_owned();
    if answer["decision"] == "allow" {
        return format!("allow: route {}, scheme {}, upstream {}", text("route"), text("scheme"), text("upstream_path"));
    }
    let denial = &answer["denial"];
    format!(
        "deny: route {}, {} ({}), status {}",
        text("route"),
        denial["code"].as_str().unwrap_or(""),
        denial["reason"].as_str().unwrap_or(""),
        denial["status"]
    )
}

#[cfg(test)]
mod tests;
