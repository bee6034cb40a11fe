//! Not a test of the machine: prints the rates of a ledger in its file, in Redis and in Valkey.
//! `RECORDS=1000000 cargo test --release --test it ledger::rates -- --ignored --nocapture`

use std::time::Instant;

use tollgate::clock::Clock;
use tollgate::ledger::{Batch, Kind, Ledger, LedgerConfig, Order, Start};

use super::same::{T, ledger_config, listing, open, token};
use crate::fleet::server::{Server, programs};
use crate::rig::Folder;

/// Single creates of one run, whoever makes them.
const SINGLE: u32 = 4000;
/// Records of a batch that fills the ledger.
const FILL: u32 = 500;

fn rate(count: u32, began: Instant) -> f64 {
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn measure(name: &str, open: impl Fn() -> Result<Ledger, String>) {
    let ledger = open().expect("a ledger");
    let many: u32 = std::env::var("RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let id = |n: u32| format!("to{n:022}");
    let began = Instant::now();
    for from in (0..many).step_by(FILL as usize) {
        let batch = (from..many.min(from + FILL)).fold(Batch::at(T), |batch, n| batch.create(token(&id(n), i64::from(n), 0)));
        ledger.write_blocking(batch).expect("created");
    }
    eprintln!("{name}: {many} made in batches of {FILL}: {:.0}/s", rate(many, began));
    for writers in [1, 64] {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let ledger = &ledger;
                scope.spawn(move || {
                    for n in 0..SINGLE / writers {
                        ledger.write_blocking(Batch::at(T).create(token(&format!("w{writers}-{writer}-{n}"), 100, 0))).expect("created");
                    }
                });
            }
        });
        eprintln!("{name}: single creates by {writers} writers: {:.0}/s", rate(SINGLE, began));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for offset in [0, 1000, u64::from(many / 2), u64::from(many - 100)] {
        let began = Instant::now();
        let page = runtime.block_on(ledger.list(listing(Order::Created, true, Start::Offset(offset), 100), T)).expect("a page");
        eprintln!("{name}: page of {} at {offset} of {}: {:?}", page.records.len(), page.total, began.elapsed());
    }
    drop(ledger);
    // A file is free when its writer has ended.
    let began = Instant::now();
    let mut refusals = Vec::new();
    let ledger = std::iter::repeat_with(&open).find_map(|opened| opened.map_err(|error| refusals.push(error)).ok()).expect("a ledger");
    eprintln!("{name}: opened again after {:?}, with nothing remembered", began.elapsed());
    eprintln!("{name}: refused {} times before, last with {:?}", refusals.len(), refusals.last());
    let finds = many.min(20_000);
    for (what, distinct) in [("missed", finds), ("remembered", 1)] {
        let began = Instant::now();
        for n in 0..finds {
            assert!(runtime.block_on(ledger.find(Kind::UploadToken, &id(n % distinct), T)).expect("read").is_some());
        }
        eprintln!("{name}: found, {what}, one after another: {:.0}/s", rate(finds, began));
    }
}

#[test]
#[ignore = "prints rates; takes a while"]
fn rates() {
    let (folder, clock) = (Folder::new(), Clock::manual(T));
    let file = LedgerConfig { folder: Some(folder.path().to_owned()), ..LedgerConfig::default() };
    measure("file", || open(&file, &clock));
    for program in programs("rates of a shared ledger") {
        // As durable as it gets: what is acknowledged was synced.
        let durable = ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned);
        for (how, arguments) in [("in memory", &[][..]), ("synced", &durable[..])] {
            let (server, folder) = (Server::start(&program, arguments), Folder::new());
            let config = ledger_config(&server, &folder, "5a");
            let config = LedgerConfig { remembered: 100_000, ..config };
            measure(&format!("{} {how}", program.name), || open(&config, &clock));
        }
    }
}
