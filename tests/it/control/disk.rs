//! A ledger whose disk is full, or cannot be written: changes are refused and nothing is half made, what is known still lets
//! viewers in, and all goes on by itself when there is room again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::crash::{KEY, config};
use crate::rig::{self, Folder, Process};
use crate::support::client;
use crate::tool;

/// The gateway with files of at most so many blocks of 512 bytes: to it, a disk that is full from there on.
fn serve(folder: &Folder, blocks: u32) -> Process {
    let mut command = std::process::Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" serve -c \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_tollgate")]).arg(config(folder)).current_dir(folder.path());
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let process = Process::start(&mut command);
    process.wait_for("\"message\":\"operators\"");
    process
}

async fn create(process: &Process) -> client::Answer {
    let fields = format!("Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n");
    let body = json!({ "name": "n".repeat(128), "role": "reader" }).to_string();
    client::request(process.control(), "POST", "/v1/api-keys", &fields, body.as_bytes()).await
}

async fn total(process: &Process) -> Option<Value> {
    let answer = client::get(process.control(), "/v1/api-keys?limit=1", &format!("Authorization: Bearer {KEY}\r\n")).await;
    serde_json::from_slice::<Value>(&answer.body).ok().map(|page| page["total"].clone()).filter(|_| answer.status == 200)
}

#[tokio::test]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    if !tool::here("a full disk", tool::find("prlimit").is_none().then_some("prlimit")) {
        return;
    }
    let folder = Folder::new();
    let process = serve(&folder, 4096);
    let (mut made, mut last) = (0, create(&process).await);
    while last.status == 201 {
        made += 1;
        assert!(made < 10_000, "the disk is never full");
        last = create(&process).await;
    }
    assert_eq!((last.status, last.code().as_str(), last.field("retry-after")), (503, "ledger_unavailable", Some("1")));
    process.wait_for("the ledger's file takes no changes");
    let pid = process.id().to_string();
    let lifted = std::process::Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().expect("prlimit");
    assert!(lifted.success());
    let began = Instant::now();
    loop {
        match create(&process).await.status {
            201 => break,
            status => assert_eq!(status, 503),
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come back: {}", process.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(total(&process).await, Some(json!(made + 1)), "what was acknowledged, and no more");
    assert!(rig::get(process.admin(), "/metrics").body.contains("tollgate_ledger_up 1"));
}
