//! A gateway for one test: in this process, or as the program itself in a process of its own.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use tollgate::app::{Gateway, Surroundings};
use tollgate::config::Config;

use crate::tool::{self, Ended};

/// The longest that anything here may take; nothing waits for this when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway in this process.
pub(crate) fn gateway(config: Value) -> Gateway {
    let config: Config = serde_json::from_value(config).unwrap_or_else(|fault| panic!("{fault}"));
    Gateway::start(&config, &Surroundings::default()).unwrap_or_else(|unfit| panic!("{unfit:?}"))
}

/// The program with nothing of our environment but the search path.
pub(crate) fn program<A: AsRef<std::ffi::OsStr>>(arguments: &[A], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).current_dir(folder).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(arguments: &[A], folder: &Path) -> Ended {
    tool::run(&mut program(arguments, folder), "", PATIENCE)
}

/// A folder for one test, with files that only their owner reads.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a file into it, in place of one that is there, in one step.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let (file, next) = (self.path().join(name), self.path().join(format!("{name}.next")));
        std::fs::create_dir_all(file.parent().expect("parent")).expect("folder");
        std::fs::write(&next, content).expect("write");
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).expect("mode");
        std::fs::rename(&next, &file).expect("rename");
        file
    }
}

/// The program in a process of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    said: Arc<Said>,
}

/// What it wrote so far, standard output and error together.
#[derive(Default)]
struct Said {
    text: Mutex<String>,
    more: Condvar,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let said = Arc::new(Said::default());
        listen(child.stdout.take().expect("piped"), said.clone());
        listen(child.stderr.take().expect("piped"), said.clone());
        Self { child, said }
    }

    /// `tollgate serve` under this config, serving. Its listeners are on ports of the system's choice.
    pub(crate) fn serve(config: &Path, arguments: &[&str]) -> Self {
        let config = config.to_str().expect("UTF-8");
        let folder = Path::new(config).parent().expect("parent");
        let all = [&["serve", "--config", config], arguments].concat();
        let process = Self::start(&mut program(&all, folder));
        // The last of the two lines that say an address.
        process.wait_for("\"message\":\"operators\"");
        process
    }

    /// Waits until it has written `text`; gives all that it wrote.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait(text, |said| said.contains(text))
    }

    /// Waits until it has written `text` so many times.
    pub(crate) fn wait_for_times(&self, text: &str, times: usize) -> String {
        self.wait(text, |said| said.matches(text).count() >= times)
    }

    fn wait(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        let said = self.said.text.lock().expect("unpoisoned");
        let (said, _) = self.said.more.wait_timeout_while(said, PATIENCE, |said| !enough(said)).expect("unpoisoned");
        assert!(enough(&said), "it never said {what}:\n{said}");
        said.clone()
    }

    pub(crate) fn said(&self) -> String {
        self.said.text.lock().expect("unpoisoned").clone()
    }

    /// The addresses that callers come in by.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.logged("serving").iter().map(address).collect()
    }

    /// The address that operators come in by.
    pub(crate) fn admin(&self) -> SocketAddr {
        address(&self.logged("operators")[0])
    }

    /// The address that applications issue tokens by.
    pub(crate) fn control(&self) -> SocketAddr {
        address(&self.logged("applications")[0])
    }

    /// The log lines with this message.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.said();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().expect("kill");
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for its end; gives its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &Value) -> SocketAddr {
    line["address"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address in {line}"))
}

fn listen(pipe: impl Read + Send + 'static, said: Arc<Said>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut text = said.text.lock().expect("unpoisoned");
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
            said.more.notify_all();
        }
    });
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The code of a refusal; empty where it is none.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A field's value; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }
}

/// Sends these bytes on a connection of their own and gives the one answer; `None` when the other side just closed.
pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
    // A refusal may come, and the connection close, before all of it is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Answer::parse(&answer)
}

/// A request with these fields (each line with its line end).
pub(crate) fn ask(address: SocketAddr, method: &str, target: &str, fields: &str) -> Answer {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: video.example.com\r\nConnection: close\r\n{fields}\r\n");
    send(address, request.as_bytes()).unwrap_or_else(|| panic!("no answer to {method} {target}"))
}

/// A plain GET.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, "GET", target, "")
}

/// A GET of a whole URL over http, as a player would send it.
pub(crate) fn get_url(url: &str) -> Answer {
    let uri: http::Uri = url.parse().expect("a URL");
    let host = uri.authority().expect("a host").as_str();
    let target = uri.path_and_query().expect("a path").as_str();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    send(host.parse().expect("IP:port"), request.as_bytes()).expect("an answer")
}
