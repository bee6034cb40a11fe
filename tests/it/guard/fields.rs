//! Fields that a caller may not say do not arrive.

use crate::support::Origin;

use super::open;

#[tokio::test]
async fn hop_by_hop_fields_and_the_ones_they_name_stay_behind() {
    let origin = Origin::plain();
    let gateway = open(&origin);
    let fields = "Connection: keep-alive, X-Named, authorization\r\nConnection: x-other\r\nX-Named: 1\r\nX-Other: 2\r\n\
                  Authorization: Basic YTpi\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic YTpi\r\n\
                  TE: trailers\r\nTrailer: X-T\r\nUpgrade: websocket\r\nHTTP2-Settings: AAMAAABk\r\nX-Kept: 3\r\n";
    assert_eq!(gateway.get("/a", fields).await.status, 200);
    let seen = origin.last();
    let mut names: Vec<&str> = seen.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["host", "traceparent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept", "x-request-id"]);
}

#[tokio::test]
async fn a_caller_cannot_name_away_what_the_gateway_says() {
    let origin = Origin::plain();
    let gateway = open(&origin);
    let fields = "Connection: x-forwarded-for, x-request-id, host, x-forwarded-proto, traceparent\r\n";
    assert_eq!(gateway.get("/a", fields).await.status, 200);
    let seen = origin.last();
    for name in ["x-forwarded-for", "x-request-id", "host", "x-forwarded-proto", "x-forwarded-host", "traceparent"] {
        assert!(seen.field(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn look_alikes_are_dropped_and_ours_come_once() {
    let origin = Origin::plain();
    let gateway = open(&origin);
    for name in [
        "X_Forwarded_For",
        "X_Forwarded-For",
        "x.forwarded.for",
        "X_Real_IP",
        "True_Client_IP",
        "X_Request_Id",
        "X_Forwarded_Host",
        "Content_Length",
        "Transfer_Encoding",
        "transfer.encoding",
        "Host_",
        "Cookie_",
        "X_Original_URL",
        "X_HTTP_Method_Override",
        "Proxy_Authorization",
        "Keep_Alive",
        "Content_Type",
        "Forwarded",
        "X-Forwarded-For",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Forwarded-Prefix",
        "X-Forwarded-Port",
        "Authorization_",
    ] {
        assert_eq!(gateway.get("/a", &format!("{name}: evil\r\n")).await.status, 200, "{name}");
        let seen = origin.last();
        let folded_away = !name.ends_with('_');
        assert!(!folded_away || !seen.head.contains("evil"), "{name}: {}", seen.head);
        for ours in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "host", "traceparent"] {
            assert!(seen.field(ours).is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_an_origin_says_of_its_connection_stays_behind() {
    let origin = Origin::start(|_| {
        let reply = crate::support::Reply::new(200, "x")
            .with("Connection", "keep-alive, X-Inner")
            .with("X-Inner", "1")
            .with("Keep-Alive", "timeout=5");
        reply.with("Proxy-Authenticate", "Basic").with("Upgrade", "h2c").with("X-Outer", "2")
    });
    let gateway = open(&origin);
    let answer = gateway.get("/a", "").await;
    assert_eq!((answer.field("x-inner"), answer.field("keep-alive"), answer.field("proxy-authenticate")), (None, None, None));
    assert_eq!((answer.field("upgrade"), answer.field("x-outer")), (None, Some("2")));
}
