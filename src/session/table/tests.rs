//! The table by cases, by threads and against a model.

mod cases;
mod model;
#[cfg(feature = "shuttle")]
mod shuttle_model;
mod threads;

use std::sync::Arc;

use super::*;
use crate::secret::Fingerprint;
use crate::session::{Keys, RouteSessionConfig, Seen, Terms, Viewer};
use crate::token::{Grant, SessionTerms, Window};

const NOW: UnixTime = UnixTime(1_700_000_000);

fn table(most: usize) -> (Sessions, Metrics) {
    let metrics = Metrics::new().expect("metrics");
    (Sessions::new(most, &metrics), metrics)
}

fn name(text: &str) -> Name {
    Name::new(text).expect("name")
}

/// Who asks, in words.
#[derive(Debug, Clone, Copy)]
struct Who<'w> {
    token: &'w str,
    viewer: &'w str,
    network: &'w str,
    device: Option<&'w str>,
    subject: Option<&'w str>,
    asset: Option<&'w str>,
}

fn who<'w>(token: &'w str, viewer: &'w str) -> Who<'w> {
    Who { token, viewer, network: "192.0.2.1", device: None, subject: None, asset: None }
}

/// What `who` asks for at `now`, with a token that is good for a day.
fn ask(config: &RouteSessionConfig, who: Who<'_>, now: i64) -> Ask {
    ask_with(config, who, now, SessionTerms::default(), 86_400)
}

fn ask_with(config: &RouteSessionConfig, who: Who<'_>, now: i64, session: SessionTerms, lives: i64) -> Ask {
    let grant = Grant {
        subject: who.subject.map(Into::into),
        device: who.device.map(Into::into),
        resource: who.asset.map(Into::into),
        window: Window::until(NOW.plus(lives)),
        session,
        ..Grant::default()
    };
    let (route, scheme) = (name("vod"), name("jwt"));
    let keys = Keys::of(&route, &scheme, who.token, &grant);
    let network = Key::network(who.network.parse().expect("ip"), config.ipv4_prefix, config.ipv6_prefix);
    Ask {
        now: NOW.plus(now),
        route,
        scheme,
        keys,
        terms: Terms::of(config, &grant, false),
        viewer: Viewer::of(&keys, Some(who.viewer), network, Some("player")),
        network,
        grant: Arc::new(grant),
        seen: Seen::new(Fingerprint::of(who.token.as_bytes()), who.network.parse().expect("ip"), Some("player")),
    }
}

fn per_token(most: u32) -> RouteSessionConfig {
    RouteSessionConfig { concurrent_per_token: Some(most), ..RouteSessionConfig::default() }
}

fn limit(answer: Result<Admission, SessionRefusal>) -> Limit {
    answer.expect_err("refused").limit
}
