//! Which connections are used again.

use serde_json::json;

use super::to;
use crate::support::client::{self, Raw};
use crate::support::{Origin, Reply};

#[tokio::test]
async fn a_connection_is_used_again() {
    let origin = Origin::plain();
    let gateway = to(&origin, json!({}));
    for method in ["GET", "HEAD", "POST", "GET", "PUT", "GET"] {
        let body: &[u8] = if matches!(method, "POST" | "PUT") { b"body" } else { b"" };
        assert_eq!(client::request(gateway.addr(), method, "/a", "", body).await.status, 200);
    }
    assert_eq!((origin.count(), origin.connections()), (6, 1));
}

#[tokio::test]
async fn one_whose_answer_was_not_read_is_not() {
    let origin = Origin::scripted(|mut exchange| async move {
        if exchange.seen.target == "/endless" {
            exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await?;
            exchange.closed().await;
            return Ok(None);
        }
        exchange.reply(&Reply::new(200, "x")).await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(client::head("GET", "/endless", "", 0)).await.expect("sent");
    assert_eq!(caller.head().await.expect("a head").status, 200);
    assert_eq!(caller.read(4).await.expect("bytes"), b"half");
    drop(caller);
    origin.wait("the connection to end with its caller", |origin| origin.connections() == 1 && origin.open() == 0).await;
    assert_eq!(gateway.get("/a", "").await.status, 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn one_whose_request_was_not_sent_whole_is_not() {
    let origin = Origin::scripted(|mut exchange| async move {
        if exchange.seen.method == "POST" {
            exchange.reply(&Reply::new(413, "too much")).await?;
            exchange.closed().await;
            return Ok(None);
        }
        exchange.reply(&Reply::new(200, "x")).await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nfirst").await.expect("sent");
    let answer = caller.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    origin.wait("the connection to end", |origin| origin.open() == 0).await;
    assert_eq!(gateway.get("/a", "").await.status, 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn one_that_grew_too_old_costs_the_caller_nothing() {
    // Closes every connection at its second request, without a word.
    let origin = Origin::scripted(|mut exchange| async move {
        if exchange.seen.field("x-turn").is_some_and(|turn| turn != "0") && exchange.first_on_connection() {
            // Fresh connections answer.
        } else if !exchange.first_on_connection() {
            return Ok(None);
        }
        exchange.read_body().await?;
        exchange.reply(&Reply::new(200, "x")).await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    for turn in 0..6 {
        let answer = gateway.get("/a", &format!("X-Turn: {turn}\r\n")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(origin.connections() >= 3);
}

#[tokio::test]
async fn one_that_was_closed_is_not_even_tried() {
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.read_body().await?;
        exchange.reply(&Reply::new(200, "x")).await?;
        Ok(None)
    });
    let gateway = to(&origin, json!({ "retries": 0 }));
    for number in 1..=20 {
        let answer = client::request(gateway.addr(), "POST", "/a", "", b"body").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // The close is on its way before the next request is.
        origin.wait("the close", |origin| origin.open() == 0 && origin.count() == number).await;
    }
}

#[tokio::test]
async fn bytes_beyond_an_answer_never_become_the_next_one() {
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    for _ in 0..50 {
        let answer = gateway.get("/a", "").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
    }
}

#[tokio::test]
async fn a_get_with_a_body_does_not_leave_it_to_the_next_caller() {
    // An origin that takes no notice of bodies of GET would read the body as the next request.
    let origin = Origin::scripted(|mut exchange| async move {
        if exchange.seen.target == "/smuggled" {
            std::future::pending::<()>().await;
        }
        let reply = Reply::new(200, exchange.seen.target.clone());
        exchange.reply(&reply).await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = client::request(gateway.addr(), "GET", "/a", "", smuggled.as_bytes()).await;
    assert_eq!(answer.text(), "/a");
    assert_eq!(gateway.get("/b", "").await.text(), "/b");
    assert_eq!(gateway.get("/c", "").await.text(), "/c");
    assert_eq!(origin.requests().iter().filter(|seen| seen.target == "/b").map(|seen| seen.connection).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_request_along() {
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.closed().await;
        Ok(None)
    });
    let gateway = to(&origin, json!({ "max_connections": 1 }));
    for number in 1..=3 {
        let mut caller = Raw::connect(gateway.addr()).await;
        caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
        origin.wait("the request", |origin| origin.count() == number).await;
        drop(caller);
        origin.wait("the connection to end", |origin| origin.open() == 0).await;
        gateway.until_metric("upstream_requests_in_flight", 0.0).await;
    }
}
