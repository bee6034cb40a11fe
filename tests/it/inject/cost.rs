//! What a credential costs a request. Not a test: `cargo test --release --test it inject::cost -- --ignored --nocapture`.

use std::time::Instant;

use serde_json::json;

use crate::support::client::{self, Raw};
use crate::support::{Gateway, Origin};

/// Requests in a row of one kind, and how often each kind has its turn.
const BATCH: u32 = 200;
const TURNS: usize = 60;

/// Microseconds a request, for each path: the median over its turns, which are taken in rotation so that a busy machine
/// weighs on all alike.
async fn measured(gateway: &Gateway, paths: &[&str]) -> Vec<f64> {
    let mut raw = Raw::connect(gateway.addr()).await;
    let mut turns = vec![Vec::new(); paths.len()];
    for turn in 0..=TURNS {
        for (path, times) in paths.iter().zip(&mut turns) {
            let request = client::head("GET", path, "Accept: */*\r\nUser-Agent: measure/1\r\n", 0);
            let begun = Instant::now();
            for _ in 0..BATCH {
                raw.send(&request).await.expect("sent");
                assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
            }
            // The first one warms up.
            if turn > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    turns.iter_mut().map(median).collect()
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn of_each_place() {
    let origin = Origin::plain();
    let entry = |into: serde_json::Value| crate::support::gateway::over(json!({ "credential": "key" }), into);
    let kinds = [
        ("nothing", json!([])),
        ("bearer", json!([entry(json!({ "into": "bearer" }))])),
        ("query", json!([entry(json!({ "into": "query", "name": "token" }))])),
        ("cookie", json!([entry(json!({ "into": "cookie", "name": "sid" }))])),
        ("path-prefix", json!([entry(json!({ "into": "path-prefix", "name": "k=" }))])),
        (
            "bearer, query and cookie",
            json!([
                entry(json!({ "into": "bearer" })),
                entry(json!({ "into": "query", "name": "token" })),
                entry(json!({ "into": "cookie", "name": "sid" })),
            ]),
        ),
    ];
    let mut config = super::config(&origin.url, json!({ "into": "bearer" }), json!({}));
    let base = config["routes"][0].take();
    let routes = kinds.iter().enumerate().map(|(at, (_, inject))| {
        crate::support::gateway::over(base.clone(), json!({ "name": format!("r{at}"), "path": format!("/r{at}"), "inject": inject }))
    });
    config["routes"] = routes.collect();
    let gateway = Gateway::start(config);
    let paths: Vec<String> = (0..kinds.len()).map(|at| format!("/r{at}/vod/seg1.ts")).collect();
    let times = measured(&gateway, &paths.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for ((kind, _), time) in kinds.iter().zip(&times) {
        eprintln!("{kind:>26}: {time:7.2} us a request, {:+6.2} us", time - times[0]);
    }
}
