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
use crate::app::compile::{self, Purpose, World};
use crate::clock::{Clock, UnixTime};
use crate::config::Config;
use crate::credential::keeper::Spawn;
use crate::proxy::{Error, explain};
use crate::token::access::FixedGeo;
use crate::token::scheme::config::LookUp;
use crate::token::{Country, Denial, Geo};

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
    match decided(args, &loaded.config) {
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

fn decided(args: &ExplainArgs, config: &Config) -> Result<Value, String> {
    let now = args.now.map_or_else(|| Clock::System.now(), UnixTime);
    let metrics = crate::metrics::Metrics::new().map_err(|e| e.to_string())?;
    let clock = Clock::manual(now);
    let nothing: Spawn = Arc::new(drop);
    let compiled = compile::compile(config, Purpose::Try, &World { metrics: &metrics, clock: &clock, spawn: &nothing, store: None })
        .map_err(|unfit| unfit.into_iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join("\n"))?;
    let state = compiled.running.state;
    let fixed: Option<Arc<dyn Geo>> = args.country.map(|country| Arc::new(FixedGeo(Some(country))) as Arc<dyn Geo>);
    let geo = fixed.unwrap_or_else(|| state.geo.clone());
    let (mut head, tls) = head(args)?;
    let mut notes: Vec<String> = Vec::new();
    notes.extend(compiled.parts.remotes.iter().map(|keys| {
        format!("the keys \"{}\" are fetched from {}; there is no network here, so the set is empty", keys.name, keys.remote.url())
    }));
    let asked = explain::Asked { head: &mut head, client_ip: args.client_ip, tls, geo: &*geo, now };
    let mut answer = explain::explain(asked, &state);
    notes.extend(in_ledger(config, answer["route"].as_str()));
    if answer["denial"]["code"] == Error::Denied(Denial::Country).code() && answer["country"].is_null() {
        notes.push("the country is not known: name one with --country".to_owned());
    }
    for entry in answer["injected"].as_array_mut().into_iter().flatten().filter(|entry| entry["state"] != "fresh") {
        notes.push(format!("the credential {} is not got here: ask a running gateway how it is doing", entry["credential"]));
        (entry["state"], entry["fault"]) = (Value::Null, Value::Null);
    }
    notes.extend(answer["notes"].as_array().into_iter().flatten().filter_map(|note| note.as_str().map(str::to_owned)));
    answer["notes"] = json!(notes);
    Ok(answer)
}

/// What of a route's schemes cannot be known here: one process holds the ledger, and that is the gateway.
fn in_ledger(config: &Config, route: Option<&str>) -> Vec<String> {
    let ask = "is in the ledger, which the running gateway holds: ask it by POST /v1/explain";
    let route = config.routes.iter().find(|it| Some(it.name.as_str()) == route);
    let schemes = route.into_iter().flat_map(|route| route.accept.iter().chain(&route.compare));
    let said = schemes.filter_map(|name| {
        let scheme = config.schemes.get(name)?;
        let keys = scheme.keys().filter(|keys| config.keys.get(*keys).is_some_and(|keys| keys.ledger.is_some()));
        let what = match (scheme.looks_up(), keys) {
            (_, Some(keys)) => format!("the key set \"{keys}\" of"),
            (Some(LookUp::Tokens), None) => "what was issued by".into(),
            (Some(LookUp::SomeTokens), None) => "what was issued by the gateway itself for".into(),
            (Some(LookUp::Resources), None) => "what was said of videos to".into(),
            (None, None) => return None,
        };
        Some(format!("{what} the scheme \"{name}\" {ask}"))
    });
    said.collect()
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
