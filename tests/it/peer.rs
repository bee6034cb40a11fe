//! Servers of others on loopback, which the suites talk to as they are.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::rig::Process;
use crate::tool;

/// nginx, where it is installed: Debian has it where ordinary users do not look.
pub(crate) fn nginx() -> Option<PathBuf> {
    tool::find("nginx").or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|file| file.is_file()))
}

/// A port that nobody has, and that nobody is given by chance while a server on it is down: it lies below those that the system
/// gives out itself (32768 and up on Linux), and is named once.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id().wrapping_mul(97) % 20_000;
    let ports = std::iter::repeat_with(|| first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into()) % 20_000 + 12_000);
    let mut addresses = ports.take(20_000).map(|port| SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("below 32000"))));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a loopback port")
}

/// A server of somebody else's; ended with its folder.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Peer {
    /// Started, and saying something at `address`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Self {
        let process = Process::start(command);
        let end = Instant::now() + Duration::from_secs(30);
        while !answers(address) {
            assert!(Instant::now() < end, "it does not listen:\n{}", process.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { address, process }
    }
}

/// Whether it says anything at all: some listen before they are ready.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let asked = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: peer.test\r\nConnection: close\r\n\r\n");
    asked.is_ok() && matches!(stream.read(&mut [0; 16]), Ok(1..))
}
