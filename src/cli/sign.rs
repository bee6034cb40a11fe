//! `tollgate sign`: a token or a signed URL, made by a scheme of the config. What the scheme cannot say is refused.

use std::process::ExitCode;

use clap::Args;
use http::{HeaderName, Uri};
use serde_json::{Map, Value};

use super::{ConfigArgs, Output, failed, put, put_json};
use crate::clock::{Clock, UnixTime};
use crate::config::Config;
use crate::token::{Country, SignRequest, Signed, exact};

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The scheme, by its name in the config; may be left out when there is one only
    #[arg(short, long)]
    scheme: Option<String>,
    /// The URL as it is without a token, such as `https://video.example.com/vod/master.m3u8`
    url: String,
    /// How long it is good for
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, conflicts_with = "expires")]
    expires_in: std::time::Duration,
    /// Until when it is good, in seconds since 1970
    #[arg(long, allow_negative_numbers = true)]
    expires: Option<i64>,
    /// Without an end, where the scheme can do without one
    #[arg(long, conflicts_with_all = ["expires", "expires_in"])]
    forever: bool,
    /// From when on it is good, in seconds since 1970
    #[arg(long)]
    not_before: Option<i64>,
    /// Who it is for
    #[arg(long)]
    subject: Option<String>,
    /// The path or prefix that it opens
    #[arg(long)]
    scope: Option<String>,
    /// The address that it is bound to
    #[arg(long)]
    client_ip: Option<std::net::IpAddr>,
    /// The country that it is bound to
    #[arg(long, value_parser = country)]
    country: Option<Country>,
    /// The autonomous system that it is bound to, by number
    #[arg(long)]
    system: Option<u32>,
    /// A header of the viewer's that it is bound to
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(HeaderName, String)>,
    /// A further claim or field, by the scheme's own name; the value is JSON, or text
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::key_value)]
    claim: Vec<(String, String)>,
    /// The key to sign with, by its id
    #[arg(long)]
    key: Option<String>,
    /// Now, in seconds since 1970, instead of the clock
    #[arg(long)]
    now: Option<i64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn country(code: &str) -> Result<Country, String> {
    Country::new(code).ok_or_else(|| "not a country code of two letters".to_owned())
}

fn header(pair: &str) -> Result<(HeaderName, String), String> {
    let (name, value) = super::key_value(pair)?;
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a header's name"))?, value))
}

pub(super) fn run(args: &SignArgs) -> ExitCode {
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match signed(args, &loaded.config) {
        Ok((uri, signed)) => {
            print(args.output, &uri, &signed);
            ExitCode::SUCCESS
        }
        Err(message) => failed(&message),
    }
}

fn signed(args: &SignArgs, config: &Config) -> Result<(Uri, Signed), String> {
    let uri: Uri = args.url.parse().map_err(|_| format!("\"{}\" is not a URL", args.url))?;
    let (host, path) = (uri.authority().ok_or("the URL needs a host")?.as_str(), uri.path());
    let name = scheme_name(args, config)?;
    let table = config.schemes.get(name.as_str()).ok_or_else(|| format!("the config has no scheme \"{name}\""))?;
    let around = crate::verifier::keys::Surroundings { folder: std::path::Path::new("/"), variable: &|name| std::env::var(name).ok() };
    let source = match table.keys() {
        Some(name) => {
            let keys = config.keys.get(name).ok_or_else(|| format!("the config has no keys \"{name}\""))?;
            if keys.ledger.is_some() {
                return Err(format!("the keys \"{name}\" are in the ledger, which the running gateway holds: it signs by POST /v1/tokens"));
            }
            crate::verifier::keys::load(name, keys, around)?.source
        }
        None => {
            let message = "are not signed but looked up in the ledger: the control listener issues them, by the vendor's own API";
            return Err(format!("tokens of the scheme \"{name}\" {message}"));
        }
    };
    let scheme = table.build(source)?;
    let now = args.now.map_or_else(|| Clock::System.now(), UnixTime);
    let lasts = i64::try_from(args.expires_in.as_secs()).map_err(|_| "too long a time")?;
    let request = SignRequest {
        https: uri.scheme_str() == Some("https"),
        host: host.to_ascii_lowercase(),
        path: path.to_owned(),
        query: uri.query().map(str::to_owned),
        mount: mount(config, &name, host, path),
        scope: args.scope.clone(),
        expires: if args.forever { None } else { Some(args.expires.map_or_else(|| now.plus(lasts), UnixTime)) },
        not_before: args.not_before.map(UnixTime),
        now: Some(now),
        subject: args.subject.clone(),
        key_id: args.key.clone(),
        client_ip: args.client_ip,
        country: args.country,
        system: args.system,
        headers: args.header.clone(),
        claims: claims(&args.claim),
        ..SignRequest::default()
    };
    let exact = exact::sign(&*scheme, &request).map_err(|e| e.to_string())?;
    Ok((uri, exact.signed))
}

fn scheme_name(args: &SignArgs, config: &Config) -> Result<String, String> {
    if let Some(name) = &args.scheme {
        return Ok(name.clone());
    }
    let mut names = config.schemes.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.to_string()),
        (None, _) => Err("the config has no schemes".into()),
        _ => Err("the config has several schemes: name one with --scheme".into()),
    }
}

/// How much of the path is the prefix of the route that would take this URL by this scheme.
fn mount(config: &Config, scheme: &str, host: &str, path: &str) -> usize {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let serves = |route: &&crate::route::RouteConfig| {
        let here = route.hosts.is_empty() || route.hosts.iter().any(|h| crate::token::grant::host_matches(&h.to_ascii_lowercase(), &name));
        here && route.accept.iter().any(|s| s.as_str() == scheme) && crate::path::is_under(path, route.path.trim_end_matches('/'))
    };
    let prefix = config.routes.iter().filter(serves).map(|route| route.path.trim_end_matches('/').len()).max();
    prefix.unwrap_or(0)
}

fn claims(given: &[(String, String)]) -> Map<String, Value> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    given.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

fn url(uri: &Uri, signed: &Signed) -> String {
    let mut url = format!("{}://{}{}", uri.scheme_str().unwrap_or("https"), uri.authority().map_or("", |a| a.as_str()), signed.path);
    if let Some(query) = &signed.query {
        url.push('?');
        url.push_str(query);
    }
    url
}

fn print(output: Output, uri: &Uri, signed: &Signed) {
    let headers: Map<String, Value> = signed.headers.iter().map(|(name, value)| (name.to_string(), value.clone().into())).collect();
    let cookies: Map<String, Value> = signed.cookies.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    if output == Output::Json {
        put_json(&serde_json::json!({ "url": url(uri, signed), "token": signed.token, "headers": headers, "cookies": cookies }));
        return;
    }
    put(&url(uri, signed));
    signed.headers.iter().for_each(|(name, value)| put(&format!("{name}: {value}")));
    signed.cookies.iter().for_each(|(name, value)| put(&format!("cookie: {name}={value}")));
}
