//! Private buckets: each request is signed on its way out, and covers nothing that a caller slipped in.

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::rig::Folder;
use crate::support::gateway::{over, public};
use crate::support::{Gateway, Origin, Reply, Seen};

pub(super) const ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// What S3 signs of a request (AWS: "Create a signed AWS API request"), whose signature is in `signed`.
fn signature(seen: &Seen, names: &str, (stamp, scope, payload): (&str, &str, &str)) -> String {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="));
    let mut pairs: Vec<String> = pairs.map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }).collect();
    pairs.sort();
    let fields: String = names.split(';').map(|name| format!("{name}:{}\n", seen.field(name).expect("a signed field").trim())).collect();
    let canonical = format!("{}\n{path}\n{}\n{fields}\n{names}\n{payload}", seen.method, pairs.join("&"));
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    hex(&mac(&key, &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}")))
}

/// Whether S3 would take this request.
fn is_signed(seen: &Seen) -> bool {
    let parameter = |name: &str| {
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.replace("%2F", "/").replace("%3B", ";"))
    };
    let scope = |credential: &str| credential.strip_prefix(ID).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
    if let Some(expected) = parameter("X-Amz-Signature") {
        let [names, stamp, credential] =
            ["X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Credential"].map(|name| parameter(name).expect("a parameter"));
        let scope = scope(&credential).expect("our key");
        return seen.field("authorization").is_none() && signature(seen, &names, (&stamp, &scope, "UNSIGNED-PAYLOAD")) == expected;
    }
    let Some(rest) = seen.field("authorization").and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256 ")) else { return false };
    let part = |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name)).expect("a part").to_owned();
    let (names, scope) = (part("SignedHeaders="), scope(&part("Credential=")).expect("our key"));
    let (stamp, payload) = (seen.field("x-amz-date").expect("a date"), seen.field("x-amz-content-sha256").expect("a digest"));
    // S3: the host and every x-amz-… field are signed, or the request is refused.
    let own = seen.fields.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    let whole = own.chain(["host"]).all(|name| names.split(';').any(|signed| signed == name));
    whole && signature(seen, &names, (stamp, &scope, payload)) == part("Signature=")
}

/// A bucket that gives its objects to those who have the key.
pub(super) fn bucket() -> Origin {
    Origin::start(|seen| if is_signed(seen) { Reply::new(200, "media") } else { Reply::new(403, "<Code>SignatureDoesNotMatch</Code>") })
}

/// A gateway in front of it, with further keys of the route's table.
fn gateway(origin: &Origin, more: Value) -> (Gateway, Folder) {
    let folder = Folder::new();
    let aws = json!({
        "access_key_id": ID, "secret_access_key_file": folder.file("secret", SECRET), "region": "eu-central-1",
        "parameters": ["versionId", "b"],
    });
    let mut config = public(&origin.url);
    config["routes"][0]["upstream_aws"] = over(aws, more);
    (Gateway::start(config), folder)
}

#[tokio::test]
async fn requests_are_signed_for_the_bucket() {
    for place in ["header", "query"] {
        let origin = bucket();
        let (gateway, _folder) = gateway(&origin, json!({ "sign_into": place }));
        for (method, target) in
            [("GET", "/vod/a.ts"), ("HEAD", "/vod/a.ts"), ("GET", "/a%20b/(one)+.ts?versionId=x%2Fy&b="), ("PUT", "/in/%C3%A9.mp4?b=1")]
        {
            let body: &[u8] = if method == "PUT" { b"film" } else { b"" };
            let answer = crate::support::client::request(gateway.addr(), method, target, "Range: bytes=0-3\r\n", body).await;
            assert_eq!((answer.status, origin.last().body.as_slice()), (200, body), "{place}: {method} {target}: {}", origin.last().head);
        }
        let seen = origin.last();
        assert!(seen.head.contains("20270115T080000Z") && seen.target.contains("b=1"), "{}", seen.head);
        // Each request has its own time.
        gateway.pass(3600);
        assert_eq!(gateway.get("/vod/a.ts", "").await.status, 200);
        assert!(origin.last().head.contains("20270115T090000Z"));
    }
}

#[tokio::test]
async fn nothing_of_a_callers_is_signed_that_asks_for_more() {
    const FIELDS: &str = "Authorization: AWS4-HMAC-SHA256 evil\r\nx-amz-copy-source: /evil/key\r\nX-Amz-Acl: evil\r\nx_amz_acl: evil\r\n\
        x-amz-meta-a: evil\r\nx-amz-security-token: evil\r\nx-amz-date: evil\r\n";
    for place in ["header", "query"] {
        let origin = bucket();
        let (gateway, _folder) = gateway(&origin, json!({ "sign_into": place }));
        for target in
            ["/a?b=1", "/a?b=1&acl=evil", "/a?X-Amz-Signature=evil&b=1&x-amz-acl=evil", "/a?%58-Amz-Date=evil&b=1", "/a?b=1&delete&B=evil"]
        {
            for method in ["GET", "PUT"] {
                let answer = crate::support::client::request(gateway.addr(), method, target, FIELDS, b"").await;
                let seen = origin.last();
                assert_eq!(answer.status, 200, "{place}: {target}: {}", seen.head);
                assert!(!seen.head.contains("evil") && !seen.target.contains("delete") && seen.target.contains("b=1"), "{}", seen.head);
            }
        }
        assert_eq!(origin.count(), 10);
    }
}

#[tokio::test]
async fn a_redirect_does_not_give_the_signature_away() {
    let origin = Origin::start(|seen| Reply::new(307, "").with("Location", &format!("http://other.example{}", seen.target)));
    let (gateway, _folder) = gateway(&origin, json!({ "sign_into": "query" }));
    let answer = gateway.get("/a", "").await;
    assert!(origin.last().target.contains("X-Amz-Signature="));
    assert_eq!((answer.status, answer.code().as_str(), answer.field("location")), (502, "answer_withheld", None));
    let origin = Origin::start(|seen| Reply::new(307, "").with("Location", &seen.target));
    let (gateway, _folder) = self::gateway(&origin, json!({ "sign_into": "query" }));
    let location = gateway.get("/a", "").await.field("location").expect("an address").to_owned();
    assert!(location.contains("/up~") && !location.contains("X-Amz"), "{location}");
}

#[test]
fn what_cannot_be_signed_is_a_fault_of_the_config() {
    let origin = Origin::plain();
    for (key, value) in
        [("lifetime", json!("8d")), ("region", json!("")), ("parameters", json!(["X-Amz-Acl"])), ("secret_access_key_file", json!("/none"))]
    {
        let mut config = public(&origin.url);
        config["routes"][0]["upstream_aws"] =
            over(json!({ "access_key_id": ID, "secret_access_key_file": "/none", "region": "eu-central-1" }), json!({ key: value }));
        let Err(unfit) = Gateway::try_start(config) else { panic!("{key} is taken") };
        assert!(unfit[0].1.contains("upstream_aws"), "{key}: {unfit:?}");
        assert!(!format!("{unfit:?}").contains(SECRET));
    }
}
