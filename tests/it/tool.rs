//! Programs that the suites drive: whether they are here, and running them with an end in sight.
//!
//! A missing program skips its tests aloud, so that `cargo test` works with nothing but Rust. With
//! `TOLLGATE_TESTS=all` nothing may be missing.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where a program is, by the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether nothing is `missing`; tells what is skipped, or fails where nothing may be.
pub(crate) fn here(what: &str, missing: Option<&str>) -> bool {
    let Some(missing) = missing else { return true };
    let all = std::env::var_os("TOLLGATE_TESTS").is_some_and(|value| value == "all");
    assert!(!all, "{what}: {missing} is missing, and TOLLGATE_TESTS=all");
    // Not eprintln!, which the test harness keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {missing} is missing; tests/run installs it");
    false
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: it took too long and was ended.
    pub(crate) status: Option<ExitStatus>,
    /// All of its standard output.
    pub(crate) stdout: String,
    /// All of its standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// Whether it ended by itself, well.
    pub(crate) fn well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs to the end, or ends it after `limit`.
pub(crate) fn run(command: &mut Command, input: &str, limit: Duration) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program that is here starts");
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    // It may end without reading; then its exit says why.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    Ended { status, stdout: stdout.join().expect("read"), stderr: stderr.join().expect("read") }
}

/// Reads beside the program, so that a full pipe never stops it.
fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
