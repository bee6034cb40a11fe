//! Clients that are killed: after the idle time every place is there again, and none too many.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{asks, beside, location, named, opens};
use crate::fleet::server::{Server, programs};
use crate::fleet::walk;
use crate::support::gateway::key;
use crate::support::{Gateway, Origin, Raw, client, within};

/// Viewers of the process that is killed.
const CLIENTS: usize = 500;
/// Of these, so many are in the middle of a segment.
const IN_FLIGHT: usize = 100;
/// Newcomers that find no room afterwards.
const TOO_MANY: usize = 50;
const IDLE: i64 = 30;

/// Where the process finds its gateways and its link.
const ORDER: &str = "TOLLGATE_TEST_WATCH";
const READY: &str = "all are watching";

#[test]
#[ignore = "a process of its own, started and killed by the test beside it"]
fn many_viewers() {
    let order = std::env::var(ORDER).expect("an order");
    let (link, addresses) = order.split_once(' ').expect("a link, and addresses");
    let addresses: Vec<SocketAddr> = addresses.split(' ').map(|text| text.parse().expect("an address")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let open = runtime.block_on(async {
        let mut open = Vec::new();
        for number in 0..CLIENTS {
            let mut raw = Raw::connect(addresses[number % addresses.len()]).await;
            let agent = named(&format!("viewer {number}"));
            raw.send(client::head("GET", link, &agent, 0)).await.expect("sent");
            let child = beside(&location(&raw.answer(false).await.expect("room")), "segment.m4s");
            if number < IN_FLIGHT {
                raw.send(client::head("GET", &child, &agent, 0)).await.expect("sent");
                raw.head().await.expect("an answer");
            }
            open.push(raw);
        }
        open
    });
    let _ = writeln!(std::io::stdout(), "{READY}");
    // Should the test be gone, so is its pipe.
    let _ = std::io::stdin().lock().lines().count();
    drop(open);
}

/// Starts the process, and returns when all its viewers have their places.
fn watching(link: &str, gateways: &[Gateway]) -> Child {
    let addresses: Vec<String> = gateways.iter().map(|gateway| gateway.addr().to_string()).collect();
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(["--exact", "sessions::killed::many_viewers", "--ignored", "--nocapture"]);
    command.env(ORDER, format!("{link} {}", addresses.join(" "))).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("this program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains(READY))), "not all of {CLIENTS} viewers found room");
    child
}

/// Kills all viewers, and counts who comes in after them.
async fn all_places_come_back(gateways: &[Gateway]) {
    let link = gateways[0].link("/film/master.m3u8");
    let active = || gateways.iter().map(|gateway| gateway.metric("sessions_active{")).sum::<f64>();
    // Gateways and origin have threads of their own.
    let mut process = watching(&link, gateways);
    assert!((active() - CLIENTS as f64).abs() < f64::EPSILON, "{}", active());
    process.kill().expect("a child of ours");
    process.wait().expect("a child of ours");
    for gateway in gateways {
        // SIGKILL closes connections, and that is all that is heard of it.
        gateway.until_metric("connections ", 0.0).await;
        assert_eq!(asks(gateway, &link, "one more").await, "403 session_concurrent_token", "they may only have lost their network");
        gateway.pass(IDLE + 1);
    }
    if gateways.len() > 1 {
        within("the store to be told", async {
            while active() > 0.0 || opens(&gateways[1], &link, "viewer").await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let newcomers = (0..CLIENTS + TOO_MANY).map(|number| {
        let (addr, link) = (gateways[number % gateways.len()].addr(), link.clone());
        async move { client::get(addr, &link, &named(&format!("newcomer {number}"))).await.status }
    });
    let mut admitted = usize::from(gateways.len() > 1);
    for status in newcomers.map(tokio::spawn).collect::<Vec<_>>() {
        admitted += usize::from(status.await.expect("an answer") == 302);
    }
    assert_eq!(admitted, CLIENTS, "not one place lost, none too many");
}

/// An origin whose segments never end.
fn endless() -> Origin {
    Origin::scripted(|mut exchange| async move {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx").await?;
        exchange.closed().await;
        Ok(None)
    })
}

#[tokio::test]
async fn killed_clients_give_every_place_back_within_the_idle_time() {
    let origin = endless();
    let terms = json!({ "concurrent_per_token": CLIENTS, "idle_timeout": format!("{IDLE}s") });
    all_places_come_back(&[super::gateway(&origin.url, terms.clone())]).await;
    for program in programs("killed clients of two gateways") {
        let server = Server::start(&program, &[]);
        let config = walk::config(&origin.url, &server.url(), &terms, &key(tollgate::keygen::Kind::Ed25519));
        all_places_come_back(&[Gateway::start(config.clone()), Gateway::start(config)]).await;
    }
}
