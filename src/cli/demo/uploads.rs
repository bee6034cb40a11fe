//! `tollgate demo --uploads`: a recorder's page, the gateway, and a stand-in for api.video that checks its upload token.

use std::net::SocketAddr;

use super::{DemoArgs, bind, local, sign};
use crate::app::{Gateway, Surroundings};
use crate::cli::put;
use crate::clock::Clock;
use crate::config::Config;
use crate::demo::apivideo::{Apivideo, Settings};
use crate::demo::recorder::Recorder;
use crate::demo::vendor::StandIn;
use crate::keygen::{Generated, Kind, generate};

/// Where api.video takes uploads.
const UPLOAD: &str = "/upload";

pub(super) async fn demo(args: &DemoArgs) -> Result<(), String> {
    let key = generate(Kind::Ed25519)?;
    let vendor = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let page = bind(args.page).await?;
    let provider = StandIn::new(Apivideo::new(Settings::new("demo-account")), Clock::System);
    let token = provider.vendor().make_upload_token(24 * 3600, Clock::System.now());
    let config = config(args, local(&vendor)?, (&key, &token))?;
    let _logging = args.verbose.then(|| crate::telemetry::log::start(&config.log)).transpose()?;
    let gateway = Gateway::start(&config, &Surroundings::default())
        .map_err(|unfit| unfit.into_iter().map(|(key, message)| format!("{key}: {message}")).collect::<Vec<_>>().join("\n"))?;
    let base = format!("http://{}", gateway.addresses.first().ok_or("no listener")?);
    let table = config.schemes.values().next().ok_or("no scheme")?;
    let link = sign(table, &key, UPLOAD, Clock::System.now().plus(3600), &base)?;
    let page_url = format!("http://{}/", local(&page)?);
    let recorder = {
        let provider = provider.clone();
        Recorder::new(&link, &base, move || files(&provider)).map_err(|e| e.to_string())?
    };
    let metrics = gateway.admin.map_or(String::new(), |admin| format!("http://{admin}/metrics"));
    announce(&page_url, &link, &metrics);
    tokio::select! {
        () = provider.serve(vendor, None, std::future::pending()) => {}
        () = recorder.serve(page, std::future::pending()) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// The gateway's config, as it would stand in a file. The provider's token is put where the recorder's came in.
fn config(args: &DemoArgs, vendor: SocketAddr, (key, token): (&Generated, &str)) -> Result<Config, String> {
    let value = serde_json::json!({
        "server": { "listeners": [{ "address": args.address }] },
        "admin": { "address": args.admin },
        "log": { "format": "text" },
        "keys": { "demo": { "inline": key.jwk.expose() } },
        "schemes": { "demo": { "type": "jwt", "keys": "demo", "carriers": [{ "query": "token" }] } },
        "credentials": { "provider": { "type": "static", "secret": token } },
        "origins": { "provider": { "endpoints": [format!("http://{vendor}")] } },
        "routes": [{
            "name": "record",
            "path": UPLOAD,
            "methods": ["POST"],
            "accept": ["demo"],
            "origin": "provider",
            "inject": [{ "credential": "provider", "into": "query", "name": "token" }],
            "upload": { "max_bytes": 1_000_000_000, "content_types": ["video/*", "application/octet-stream"], "concurrent_per_token": 3 },
        }],
    });
    serde_json::from_value(value).map_err(|e| e.to_string())
}

fn files(provider: &StandIn<Apivideo>) -> serde_json::Value {
    let uploads = provider.vendor().uploads();
    let file =
        |file: &crate::demo::apivideo::Uploaded| serde_json::json!({ "video": file.video, "bytes": file.bytes.len(), "whole": file.whole });
    serde_json::json!({ "files": uploads.iter().map(file).collect::<Vec<_>>() })
}

fn announce(page: &str, link: &str, metrics: &str) {
    put(&format!(
        "Tollgate is running in front of a stand-in for api.video. Everything is on this machine; stop with Ctrl-C.

  Open this page:         {page}

  Uploads go to:          {link}
  Metrics:                {metrics}

Try:
  curl -F file=@film.mp4 '{link}'
  curl -s '{metrics}' | grep ^tollgate_uploads

The token in that URL is the gateway's. The provider's own is put in on the way, and shown to nobody."
    ));
}
