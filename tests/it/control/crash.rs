//! The ledger of a gateway that is killed: every token that was acknowledged is there, none is half there, and what was
//! under way is made once, however often it is asked for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tollgate::control::gate::sha256_hex;

use crate::rig::{Folder, Process};
use crate::support::client;

pub(super) const KEY: &str = "an-admin-key";
/// Creates that are acknowledged before the gateway is killed, in each round.
const ROUNDS: [usize; 4] = [1, 499, 2500, 7000];
/// Callers at the same time.
const CALLERS: usize = 24;

pub(super) fn config(folder: &Folder) -> std::path::PathBuf {
    let config = json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 1 },
        "admin": { "address": "127.0.0.1:0" },
        "log": { "format": "json", "level": "info,audit=warn" },
        "ledger": { "folder": "ledger" },
        "control": {
            "address": "127.0.0.1:0",
            "api_keys": { "admin": { "sha256": sha256_hex(KEY), "role": "admin", "per_minute": 0 } },
        },
        "origins": { "media": { "endpoints": ["http://127.0.0.1:9"] } },
        "routes": [{ "name": "open", "public": true, "origin": "media" }],
    });
    folder.file("tollgate.json", &config.to_string())
}

/// Asks once for a new API key; `None` when the gateway is gone.
async fn create(raw: &mut client::Raw, once: &str) -> Option<String> {
    let body = json!({ "name": "n", "role": "reader" }).to_string();
    let fields = format!("Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nIdempotency-Key: {once}\r\n");
    raw.send(&format!("{}{body}", client::head("POST", "/v1/api-keys", &fields, body.len()))).await.ok()?;
    let answer = raw.answer(false).await.ok()?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made: Value = serde_json::from_slice(&answer.body).expect("JSON");
    Some(made["id"].as_str().expect("an id").to_owned())
}

/// Creates until the gateway is gone; gives the ids that were acknowledged, and the idempotency key that got no answer.
async fn creates(control: SocketAddr, caller: String, acknowledged: Arc<AtomicUsize>) -> (Vec<String>, String) {
    let (mut raw, mut ids) = (client::Raw::connect(control).await, Vec::new());
    loop {
        let once = format!("{caller}-{}", ids.len());
        let Some(id) = create(&mut raw, &once).await else { return (ids, once) };
        ids.push(id);
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

async fn listed(control: SocketAddr) -> (u64, BTreeSet<String>) {
    let fields = format!("Authorization: Bearer {KEY}\r\n");
    let (mut ids, mut after, mut total) = (BTreeSet::new(), String::new(), 0);
    loop {
        let answer = client::get(control, &format!("/v1/api-keys?limit=100{after}"), &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page: Value = serde_json::from_slice(&answer.body).expect("JSON");
        total = page["total"].as_u64().unwrap_or(total);
        let items = page["items"].as_array().expect("items");
        ids.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (total, ids),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = Folder::new();
    let file = config(&folder);
    let mut known: BTreeSet<String> = BTreeSet::new();
    for round in ROUNDS {
        let mut process = Process::serve(&file, &[]);
        let control = process.control();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let caller = |n: usize| tokio::spawn(creates(control, format!("{round}-{n}"), acknowledged.clone()));
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        while acknowledged.load(Ordering::SeqCst) < round {
            assert!(!callers.iter().any(tokio::task::JoinHandle::is_finished), "a caller stopped: {}", process.said());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        process.signal("KILL");
        process.ended();
        let mut unanswered = Vec::new();
        for caller in callers {
            let (ids, once) = caller.await.expect("a caller");
            known.extend(ids);
            unanswered.push(once);
        }
        let process = Process::serve(&file, &[]);
        let mut raw = client::Raw::connect(process.control()).await;
        for once in unanswered {
            known.insert(create(&mut raw, &once).await.expect("an answer"));
        }
        let (total, there) = listed(process.control()).await;
        let lost: Vec<_> = known.difference(&there).collect();
        assert!(lost.is_empty(), "{} acknowledged ones are lost, such as {:?}", lost.len(), lost.first());
        // What was under way when it was killed is there once, whether it was made before or after: whole, and counted.
        assert_eq!((total, there.len()), (known.len() as u64, known.len()));
    }
    assert!(known.len() >= 10_000, "{}", known.len());
}
