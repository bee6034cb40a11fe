//! `tollgate demo`: an origin with real media, a gateway in front of it, a page that plays through it; with `--uploads` a provider that
//! takes recordings, and a page that records.

mod uploads;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use tokio::net::TcpListener;

use super::{failed, put};
use crate::app::{Gateway, Surroundings};
use crate::clock::{Clock, UnixTime};
use crate::config::Config;
use crate::demo::origin::{self, Origin};
use crate::demo::page::{Links, Page, Status};
use crate::keygen::{Generated, Kind, generate};
use crate::metrics::Metrics;
use crate::token::scheme::config::SchemeConfig;
use crate::token::{KeySet, KeySource, SignRequest};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where callers of the gateway come in
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// Where operators come in
    #[arg(long, default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
    /// Where the page is
    #[arg(long, default_value = "127.0.0.1:8088")]
    page: SocketAddr,
    /// Record instead of play: a page that uploads through the gateway to a stand-in for api.video
    #[arg(long)]
    uploads: bool,
    /// Log requests to standard error
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let shown = runtime.block_on(async { if args.uploads { uploads::demo(args).await } else { demo(args).await } });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

async fn demo(args: &DemoArgs) -> Result<(), String> {
    let key = generate(Kind::Ed25519)?;
    let media = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let page = bind(args.page).await?;
    let config = config(args, local(&media)?, &key)?;
    let _logging = args.verbose.then(|| crate::telemetry::log::start(&config.log)).transpose()?;
    let gateway = Gateway::start(&config, &Surroundings::default())
        .map_err(|unfit| unfit.into_iter().map(|(key, message)| format!("{key}: {message}")).collect::<Vec<_>>().join("\n"))?;
    let base = format!("http://{}", gateway.addresses.first().ok_or("no listener")?);
    let admin = gateway.admin.map_or(String::new(), |admin| format!("http://{admin}"));
    let links = links(&config, &key, &base, &admin)?;
    let page_url = format!("http://{}/", local(&page)?);
    let origin = Origin::new();
    let server = {
        let (metrics, origin) = (gateway.metrics.clone(), origin.clone());
        Page::new(&links, &base, move || status(&metrics, &origin)).map_err(|e| e.to_string())?
    };
    announce(&page_url, &links, &base);
    tokio::select! {
        () = origin.serve(media, std::future::pending()) => {}
        () = server.serve(page, std::future::pending()) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
}

fn local(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|e| e.to_string())
}

/// The gateway's config, as it would stand in a file.
fn config(args: &DemoArgs, media: SocketAddr, key: &Generated) -> Result<Config, String> {
    let value = serde_json::json!({
        "server": { "listeners": [{ "address": args.address }] },
        "admin": { "address": args.admin },
        "log": { "format": "text" },
        "keys": { "demo": { "inline": key.jwk.expose() } },
        "schemes": { "demo": {
            "type": "jwt",
            "keys": "demo",
            "carriers": [{ "path_prefix": "t=" }, { "query": "token" }],
        } },
        "origins": { "media": { "endpoints": [format!("http://{media}")] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["demo"], "origin": "media" }],
    });
    serde_json::from_value(value).map_err(|e| e.to_string())
}

/// Signed links. The token rides in the path, so that the relative URLs of playlists inherit it.
fn links(config: &Config, key: &Generated, base: &str, admin: &str) -> Result<Links, String> {
    let table = config.schemes.values().next().ok_or("no scheme")?;
    let now = Clock::System.now();
    let signed = |path: &str, expires: UnixTime| sign(table, key, path, expires, base);
    let good = now.plus(6 * 3600);
    let hls = signed(origin::HLS, good)?;
    Ok(Links {
        tampered_hls: tamper(&hls),
        signed_hls: hls,
        expired_hls: signed(origin::HLS, now.plus(-60))?,
        bare_hls: format!("{base}{}", origin::HLS),
        signed_dash: signed(origin::DASH, good)?,
        metrics: format!("{admin}/metrics"),
    })
}

fn sign(table: &SchemeConfig, key: &Generated, path: &str, expires: UnixTime, base: &str) -> Result<String, String> {
    let keys = KeySet::parse(key.jwk.expose().as_bytes(), None, None).map_err(|e| e.to_string())?;
    let scheme = table.build(KeySource::new(keys))?;
    let host = base.trim_start_matches("http://").to_owned();
    let request =
        SignRequest { host, path: path.to_owned(), expires: Some(expires), subject: Some("demo-viewer".into()), ..SignRequest::default() };
    let signed = scheme.sign(&request).map_err(|e| e.to_string())?;
    let query = signed.query.map_or(String::new(), |query| format!("?{query}"));
    Ok(format!("{base}{}{query}", signed.path))
}

/// The same link with one letter of the signature changed.
fn tamper(url: &str) -> String {
    let Some(at) = url.rfind('.').and_then(|_| url.find("/vod/")) else { return url.to_owned() };
    // Well inside the signature: its last letter holds bits that are not used.
    let at = at - 10;
    let other = if url.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &url[..at], &url[at + 1..])
}

fn status(metrics: &Metrics, origin: &Origin) -> serde_json::Value {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let status = Status {
        requests: metrics.sum("http_requests_total") as u64,
        cache_hits: metrics.cache_hits.get(),
        origin_requests: origin.requests(),
        refusals: metrics.refusals_by_code(),
    };
    serde_json::to_value(status).unwrap_or_default()
}

fn announce(page: &str, links: &Links, base: &str) {
    put(&format!(
        "Tollgate is running. Everything is on this machine; stop with Ctrl-C.

  Open this page:         {page}

  A signed URL (plays):   {signed}
  The same as DASH:       {dash}
  An expired one:         {expired}
  A tampered one:         {tampered}
  Without a token:        {bare}
  Metrics:                {metrics}

Try:
  curl -i '{signed}'
  curl -i '{expired}'
  curl -i '{tampered}'
  curl -i '{bare}'
  curl -s '{metrics}' | grep ^tollgate_refusals_total | grep -v ' 0$'
  ffplay '{signed}'

The gateway is at {base}.",
        signed = links.signed_hls,
        dash = links.signed_dash,
        expired = links.expired_hls,
        tampered = links.tampered_hls,
        bare = links.bare_hls,
        metrics = links.metrics,
    ));
}
