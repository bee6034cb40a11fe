//! What must not get past the door: requests with two readings, and fields that a caller may not say.

mod corpora;
mod fields;
mod http2;
mod requests;

use super::support::gateway::{over, public};
use super::support::{Gateway, Origin, Raw};

/// A gateway that lets everybody in, so that nothing but the guard keeps a request from the origin.
fn open(origin: &Origin) -> Gateway {
    let methods = serde_json::json!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
    let mut config = public(&origin.url);
    config["routes"][0]["methods"] = methods;
    config["routes"][0]["allow_path_parameters"] = true.into();
    // Who waits for a body that never comes is not held long.
    let limits = serde_json::json!({ "server": { "limits": { "body_idle_timeout": "200ms" } } });
    Gateway::start(over(config, limits))
}

/// The statuses that come back for `bytes`, and whether the connection was closed within them.
async fn statuses(gateway: &Gateway, bytes: &[u8]) -> Vec<u16> {
    let mut raw = Raw::connect(gateway.addr()).await;
    // Every exchange ends with the close of the connection: the last request asks for it, or is refused with it.
    let _ = raw.send(bytes).await;
    let (answer, _) = raw.rest().await;
    status_lines(&answer)
}

fn status_lines(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}
