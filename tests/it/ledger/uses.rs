//! Ziggeo's client tokens over two whole gateways: each opens as many viewings as it says, whatever of a store they share.

use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::token::ziggeo::{Cipher, plaintext};

use super::{shared, within_promise};
use crate::dialects::flows::text;
use crate::dialects::{APP, ENCRYPTION, Rig, body};
use crate::fleet::server::{Program, Server, programs};
use crate::rig::{Answer, Folder};

/// What two gateways share, in the words of their config.
#[derive(Debug, Clone, Copy)]
enum Shares {
    Sessions,
    Ledger,
}

/// Two gateways that share one of them, on a server of their own.
fn fleet(program: &Program, shares: Shares, change: &dyn Fn(&mut Value)) -> (Server, [Rig; 2]) {
    let (server, folder) = (Server::start(program, &[]), Folder::new());
    let start = || {
        Rig::with(Clock::System, |config| {
            match shares {
                Shares::Sessions => config["sessions"] = crate::fleet::walk::shared(&server.url()),
                Shares::Ledger => config["ledger"] = shared(&server, &folder),
            }
            change(config);
        })
    };
    let both = [start(), start()];
    (server, both)
}

/// A token as the SDKs make it offline.
fn client_token(nonce: u32, mut options: Value) -> String {
    options["grants"] = json!({ "read": { "all": true } });
    let plain = plaintext(options.as_object().expect("options"), APP, &nonce.to_string());
    Cipher::new(ENCRYPTION).expect("a cipher").encrypt(&plain, u64::from(nonce).to_be_bytes()).expect("a token")
}

/// A page of a browser, as its SDK asks for it.
fn page(rig: &Rig) -> String {
    text(&body(&rig.play("POST", &format!("/v1/applications/{APP}/session"))), "token").to_owned()
}

fn play(rig: &Rig, token: &str, page: &str) -> Answer {
    let carried = format!("client_auth={token}&i07af2jp98rvoctt26y5egy3{APP}={page}");
    rig.play("GET", &format!("/v1/applications/{APP}/videos/v1/video.mp4?{carried}"))
}

#[test]
fn a_client_token_that_was_used_on_one_gateway_is_used_on_the_other() {
    for program in programs("client tokens of a fleet") {
        for shares in [Shares::Sessions, Shares::Ledger] {
            let (_server, [one, two]) = fleet(&program, shares, &|_| ());
            let token = client_token(1, json!({}));
            let (mine, theirs) = (page(&one), page(&two));
            assert_eq!(play(&one, &token, &mine).status, 200, "{} {shares:?}", program.name);
            for rig in [&two, &one] {
                assert_eq!(play(rig, &token, &theirs).code(), "session_total_token", "{} {shares:?}", program.name);
                assert_eq!(play(rig, &token, &mine).status, 200, "{} {shares:?}: its own page goes on", program.name);
            }
            let token = client_token(2, json!({ "session_limit": 3 }));
            let pages: Vec<_> = (0..5).map(|_| page(&one)).collect();
            let statuses: Vec<_> =
                pages.iter().zip([&one, &two].into_iter().cycle()).map(|(page, rig)| play(rig, &token, page).status).collect();
            assert_eq!(statuses, [200, 200, 200, 403, 403], "{} {shares:?}", program.name);
        }
    }
}

#[test]
fn of_two_pages_at_once_one_uses_a_client_token() {
    for program in programs("client tokens of a fleet at once") {
        for shares in [Shares::Sessions, Shares::Ledger] {
            let (_server, [one, two]) = fleet(&program, shares, &|_| ());
            for round in 0..20 {
                let token = client_token(round, json!({}));
                let (mine, theirs) = (page(&one), page(&two));
                let (here, there) = std::thread::scope(|scope| {
                    let there = scope.spawn(|| play(&two, &token, &theirs));
                    (play(&one, &token, &mine), there.join().expect("no panic"))
                });
                let mut statuses = [here.status, there.status];
                statuses.sort_unstable();
                assert_eq!(statuses, [200, 403], "{} {shares:?} round {round}", program.name);
            }
        }
    }
}

#[test]
fn without_the_ledgers_store_client_tokens_are_counted_as_the_route_says() {
    for program in programs("client tokens while a ledger's store is away") {
        for (policy, expected) in [("local", 200), ("deny", 503)] {
            let (mut server, [one, two]) =
                fleet(&program, Shares::Ledger, &|config| config["routes"][2]["session"]["on_store_error"] = json!(policy));
            let token = client_token(1, json!({}));
            let (mine, theirs) = (page(&one), page(&one));
            assert_eq!(play(&one, &token, &mine).status, 200);
            server.kill();
            within_promise("as the route says", || play(&two, &token, &theirs).status == expected);
            assert_eq!(play(&one, &token, &mine).status, 200, "who watches goes on");
            let other = page(&one);
            assert_ne!(play(&one, &token, &other).status, 200, "here it is used");
        }
    }
}
