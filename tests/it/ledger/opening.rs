//! Opening a ledger whose store is silent, slow, or not ready: it holds nobody up, and is taken as soon as it is there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tollgate::clock::{Clock, UnixTime};
use tollgate::ledger::{Account, Batch, Body, Change, Changed, Fault, Follower, Kind, Ledger, LedgerConfig, Record};
use tollgate::revocation::{Revocation, Target};

use super::same::{ledger_config, open};
use super::within_promise;
use crate::fleet::server::{Server, programs};
use crate::rig::Folder;

/// Times of the config: for a connection, and for an answer.
const WAIT: Duration = Duration::from_millis(200);
/// How long opening may take: twice the longest wait, and what a busy machine takes.
const OPENED: Duration = Duration::from_millis(4 * 200 + 2000);

/// How the store behind a [`Door`] behaves.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Itself,
    /// It takes what is said, and says nothing.
    Silent,
    /// It says this to everything.
    Says(&'static str),
    /// It says this to the steps of walks.
    SaysToWalks(&'static str),
    /// It takes so long for each step of a walk.
    Walks(Duration),
}

/// A port before a store, whose manner can be changed.
struct Door {
    port: u16,
    manner: Arc<Mutex<Manner>>,
}

impl Door {
    fn of(server: &Server, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, far) = (listener.local_addr().expect("an address").port(), server.port);
        let manner = Arc::new(Mutex::new(manner));
        let shared = manner.clone();
        // It ends with the process: a few threads that wait.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (Ok(far), manner) = (TcpStream::connect(("127.0.0.1", far)), shared.clone()) else { return };
                let (from, to) = (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"));
                std::thread::spawn(move || copy(from, to));
                std::thread::spawn(move || listen(near, far, &manner));
            }
        });
        Self { port, manner }
    }

    fn turns(&self, manner: Manner) {
        *self.manner.lock().expect("no panic") = manner;
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn listen(near: TcpStream, mut far: TcpStream, manner: &Mutex<Manner>) {
    let mut near = BufReader::new(near);
    while let Some(command) = command(&mut near) {
        let is_walk = command.windows(5).any(|word| word == b"HSCAN");
        let manner = *manner.lock().expect("no panic");
        let passed = match manner {
            Manner::Silent => Ok(()),
            Manner::Says(error) => near.get_mut().write_all(format!("{error}\r\n").as_bytes()),
            Manner::SaysToWalks(error) if is_walk => near.get_mut().write_all(format!("{error}\r\n").as_bytes()),
            Manner::Walks(pause) if is_walk => {
                std::thread::sleep(pause);
                far.write_all(&command)
            }
            Manner::Itself | Manner::SaysToWalks(_) | Manner::Walks(_) => far.write_all(&command),
        };
        if passed.is_err() {
            break;
        }
    }
    let _ = far.shutdown(std::net::Shutdown::Both);
}

/// One command, as its bytes: a number of strings, each with its length.
fn command(near: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for _ in 0..line(near, &mut all)? {
        let start = line(near, &mut all)? + 2;
        near.take(start).read_to_end(&mut all).ok()?;
    }
    Some(all)
}

fn line(near: &mut BufReader<TcpStream>, all: &mut Vec<u8>) -> Option<u64> {
    let before = all.len();
    near.read_until(b'\n', all).ok()?;
    std::str::from_utf8(all.get(before + 1..)?).ok()?.trim().parse().ok()
}

/// The config of the ledger in the store on this port.
fn at(server: &Server, port: u16, folder: &Folder) -> LedgerConfig {
    let mut config = ledger_config(server, folder, "5a");
    let valkey = config.valkey.as_mut().expect("shared");
    valkey.url = format!("redis://127.0.0.1:{port}");
    for period in [&mut valkey.connect_timeout, &mut valkey.timeout, &mut valkey.poll_every, &mut config.trust_for] {
        period.0 = WAIT;
    }
    config
}

/// Opens it, which must not take long.
fn open_soon(config: &LedgerConfig, what: &str) -> Ledger {
    let began = Instant::now();
    let ledger = open(config, &Clock::System).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(began.elapsed() < OPENED, "{what}: opened after {:?}", began.elapsed());
    ledger
}

/// What is told of all that is withdrawn.
#[derive(Default)]
struct Told(Mutex<usize>);

impl Follower for Told {
    fn follow(&self, _: &[Change]) {}

    fn start_over(&self, records: &[Arc<Record>]) {
        *self.0.lock().expect("no panic") = records.len();
    }
}

fn withdrawn(number: usize) -> Record {
    let revocation = Revocation { target: Target::TokenId(number.to_string()), since: UnixTime(0), until: UnixTime::MAX };
    Record::new(&Account::new("acme"), &number.to_string(), UnixTime(0), Body::Revoked(revocation))
}

fn withdraw(ledger: &Ledger, numbers: std::ops::Range<usize>) -> Result<Changed, Fault> {
    let batch = numbers.fold(Batch::at(Clock::System.now()), |batch, number| batch.create(withdrawn(number)));
    ledger.write_blocking(batch)
}

#[test]
fn a_store_that_is_not_ready_holds_nobody_up_and_is_taken_when_it_is() {
    let manners = [
        Manner::Silent,
        Manner::Says("-LOADING Redis is loading the dataset in memory"),
        Manner::Says("-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
        Manner::Says("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        Manner::Says("-READONLY You can't write against a read only replica."),
        Manner::Says("-OOM command not allowed when used memory > 'maxmemory'."),
        Manner::Says("-MISCONF Errors writing to the AOF file: No space left on device"),
        Manner::Says("-ERR max number of clients reached"),
    ];
    for program in programs("a ledger whose store is not ready") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        for manner in manners {
            let door = Door::of(&server, manner);
            let ledger = open_soon(&at(&server, door.port, &folder), &format!("{manner:?}"));
            assert!(ledger.is_lapsed() && !ledger.is_up(), "{manner:?}");
            door.turns(Manner::Itself);
            within_promise(&format!("taken after {manner:?}"), || !ledger.is_lapsed() && ledger.is_up());
        }
    }
}

#[test]
fn a_store_that_stands_still_is_taken_when_it_goes_on() {
    for program in programs("a ledger whose store stands still") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        assert_eq!(server.say("CLIENT PAUSE 1500 ALL").trim(), "+OK");
        let ledger = open_soon(&at(&server, server.port, &folder), program.name);
        within_promise("taken", || !ledger.is_lapsed());
    }
}

#[test]
fn a_store_that_tells_slowly_is_followed_behind() {
    const MANY: usize = 20_000;
    for program in programs("a ledger whose store tells slowly") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let filled = open(&ledger_config(&server, &folder, "5a"), &Clock::System).expect("a ledger");
        for from in (0..MANY).step_by(500) {
            withdraw(&filled, from..from + 500).expect("withdrawn");
        }
        // A step finds about a thousand.
        let door = Door::of(&server, Manner::Walks(WAIT));
        let ledger = open_soon(&at(&server, door.port, &folder), program.name);
        let (told, began) = (Arc::new(Told::default()), Instant::now());
        let follower: Arc<dyn Follower> = told.clone();
        ledger.follow(&follower, Kind::Revoked).expect("followed");
        assert!(began.elapsed() < OPENED, "{}: followed after {:?}", program.name, began.elapsed());
        assert!(ledger.is_lapsed(), "what is not known yet lets nobody in");
        // Who writes does not wait for all of it, and what is written meanwhile is among it.
        within_promise("written", || matches!(withdraw(&ledger, MANY..MANY + 1), Ok(_) | Err(Fault::Exists)));
        assert!(ledger.is_lapsed());
        door.turns(Manner::Itself);
        within_promise("all of it is told", || *told.0.lock().expect("no panic") == MANY + 1);
        within_promise("and it counts", || !ledger.is_lapsed());
        // Changes were missed: what is told of them slowly does not hold meanwhile.
        door.turns(Manner::Walks(WAIT));
        assert_eq!(server.say("DEL {tollgate:}ledger:epoch").trim(), ":1");
        within_promise("it does not hold", || ledger.is_lapsed());
        door.turns(Manner::Itself);
        within_promise("it is told", || !ledger.is_lapsed());
    }
}

#[test]
fn what_cannot_be_told_anew_does_not_hold_for_long() {
    for program in programs("a ledger whose store does not tell everything") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let door = Door::of(&server, Manner::Itself);
        let ledger = open_soon(&at(&server, door.port, &folder), program.name);
        let told = Arc::new(Told::default());
        let follower: Arc<dyn Follower> = told.clone();
        ledger.follow(&follower, Kind::Revoked).expect("followed");
        within_promise("all is told", || !ledger.is_lapsed());
        door.turns(Manner::SaysToWalks("-LOADING Redis is loading the dataset in memory"));
        // It is another store then: what was told of the one before has to be told anew.
        assert_eq!(server.say("FLUSHALL").trim(), "+OK");
        within_promise("it does not hold", || ledger.is_lapsed());
        door.turns(Manner::Itself);
        within_promise("it is told", || !ledger.is_lapsed());
    }
}
