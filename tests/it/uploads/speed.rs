//! How fast uploads pass through the gateway, against the same uploads sent straight to the same sink. Not a test:
//! `cargo test --release --test it uploads::speed -- --ignored --nocapture`.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{BOUNDARY, link};
use crate::loopback::Loopback;
use crate::support::client::{self, Raw};
use crate::support::{Gateway, origin::head_end};

/// Bytes of one file, of one part of it, and of what is written at once.
const FILE: usize = 256 << 20;
const PART: usize = 16 << 20;
const BLOCK: usize = 256 << 10;
/// How often each kind has its turn.
const TURNS: usize = 3;

/// An origin that throws bodies away as they come, and answers as api.video and tus servers do.
fn sink() -> Loopback {
    Loopback::start(|listener, stopped| async move {
        let accepting = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(discard(stream));
            }
        };
        tokio::select! { () = accepting => {} () = stopped => {} }
    })
}

async fn discard(mut stream: TcpStream) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (mut ahead, mut buffer) = (Vec::with_capacity(64 << 10), vec![0; BLOCK]);
    loop {
        let Some(end) = head_end(&mut stream, &mut ahead).await? else { return Ok(()) };
        let head = String::from_utf8_lossy(&ahead[..end]).to_ascii_lowercase();
        let number = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok()).unwrap_or(0);
        let length = number("content-length:");
        let mut left = length.saturating_sub(ahead.len() - end);
        ahead.drain(..(end + length).min(ahead.len()));
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most]).await? {
                0 => return Ok(()),
                read => left -= read,
            }
        }
        let answer = match head.split(' ').next() {
            Some("patch") => format!("204 No Content\r\nUpload-Offset: {}\r\n\r\n", number("upload-offset:") + length),
            Some("post") if head.contains("tus-resumable") => "201 Created\r\nLocation: /files/1\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => "201 Created\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"videoId\":\"vi1\"}".to_owned(),
        };
        stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await?;
    }
}

/// Sends one request with `length` bytes of noise between `around`.
async fn send(raw: &mut Raw, method: &str, target: &str, fields: &str, (length, around): (usize, [&str; 2])) {
    let block = vec![b'm'; BLOCK];
    let whole = length + around[0].len() + around[1].len();
    raw.send(client::head(method, target, fields, whole)).await.expect("sent");
    raw.send(around[0]).await.expect("sent");
    for at in (0..length).step_by(BLOCK) {
        raw.send(&block[..BLOCK.min(length - at)]).await.expect("sent");
    }
    raw.send(around[1]).await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    assert!((200..300).contains(&answer.status), "{}", answer.text());
}

/// One file, in the way that `kind` says.
async fn upload(raw: &mut Raw, kind: &str, target: &str) {
    let before =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n");
    let after = format!("\r\n--{BOUNDARY}--\r\n");
    let form = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
    match kind {
        "multipart" => send(raw, "POST", target, &form, (FILE, [&before, &after])).await,
        "in parts" => {
            for number in 1..=FILE / PART {
                let fields = format!("{form}Content-Range: part {number}/{}\r\n", FILE / PART);
                send(raw, "POST", target, &fields, (PART, [&before, &after])).await;
            }
        }
        "tus" => {
            let made = format!("Tus-Resumable: 1.0.0\r\nUpload-Length: {FILE}\r\nUpload-Metadata: filetype dmlkZW8vbXA0\r\n");
            send(raw, "POST", target, &made, (0, ["", ""])).await;
            let place = target.replacen("/upload", "/files/1", 1);
            for offset in (0..FILE).step_by(PART) {
                let fields =
                    format!("Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n");
                send(raw, "PATCH", &place, &fields, (PART, ["", ""])).await;
            }
        }
        _ => send(raw, "PUT", target, "Content-Type: video/mp4\r\n", (FILE, ["", ""])).await,
    }
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn of_each_kind_of_upload() {
    let sink = sink();
    let straight: std::net::SocketAddr = sink.base.trim_start_matches("http://").parse().expect("an address");
    let limits = json!({ "content_types": ["video/*", "application/offset+octet-stream"], "max_bytes": "1GiB", "min_rate": "1KiB" });
    for kind in ["multipart", "in parts", "tus", "plain PUT"] {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            let gateway = Gateway::start(super::config(&sink.base, limits.clone()));
            let link = link(&gateway, "/upload", 3600, json!({}));
            for (way, (addr, target)) in [(straight, "/upload"), (gateway.addr(), link.as_str())].into_iter().enumerate() {
                let mut raw = Raw::connect(addr).await;
                let begun = Instant::now();
                upload(&mut raw, kind, target).await;
                rates[way].push(FILE as f64 / 1e6 / begun.elapsed().as_secs_f64());
            }
        }
        let [direct, through] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        eprintln!("{kind:>10}: {direct:6.0} MB/s direct, {through:6.0} MB/s through the gateway, {:.2} of it", through / direct);
    }
}
