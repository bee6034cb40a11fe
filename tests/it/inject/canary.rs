//! The program with its log as loud as it gets: the credential is at the origin, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rig::{self, Folder, Process};
use crate::support::{Origin, Reply};

const SECRET: &str = "CanaryVz3-of-the-origin";

fn config(origin: &str) -> String {
    format!(
        r#"
[server]
workers = 1
listeners = [{{ address = "127.0.0.1:0" }}]

[admin]
address = "127.0.0.1:0"

[log]
level = "trace"

[log.access]
sample = 1.0

[credentials.key]
type = "static"
secret_file = "origin.key"

[origins.media]
endpoints = ["{origin}"]

[[routes]]
name = "up"
path = "/v1"
public = true
origin = "media"
methods = ["GET", "POST", "HEAD"]
inject = [
    {{ credential = "key", into = "query", name = "token" }},
    {{ credential = "key", into = "bearer" }},
    {{ credential = "key", into = "cookie", name = "sid" }},
    {{ credential = "key", into = "path-prefix", name = "k=" }},
]

[routes.answers]
json = [{{ field = "url", action = "rewrite" }}]
"#
    )
}

#[test]
fn a_credential_goes_to_the_origin_and_nowhere_else() {
    let folder = Folder::new();
    folder.file("origin.key", SECRET);
    let origin = Origin::start(|seen| {
        // Everything that came, said back in all ways.
        let line = |name: &str| seen.field(name).unwrap_or("").to_owned();
        match seen.target.rsplit('/').next().and_then(|last| last.split('?').next()) {
            Some("location") => Reply::new(201, "").with("Location", &seen.target),
            Some("headers") => Reply::new(200, "fine")
                .with("X-Auth", &line("authorization"))
                .with("X-Cookie", &line("cookie"))
                .with("X-Target", &seen.target),
            Some("refused") => Reply::new(401, "no").with("WWW-Authenticate", &line("authorization")),
            Some("elsewhere") => Reply::new(302, "").with("Location", &format!("https://elsewhere.example{}", seen.target)),
            Some("broken") => Reply::new(200, format!("{{\"url\": {}", seen.target)).with("Content-Type", "application/json"),
            _ => {
                let body = serde_json::json!({ "url": seen.target, "echo": seen.head });
                Reply::new(200, body.to_string()).with("Content-Type", "application/json").with("Set-Cookie", &line("cookie"))
            }
        }
    });
    let file = folder.file("tollgate.toml", &config(&origin.url));
    let gateway = Process::serve(&file, &[]);
    let mut said = String::new();
    for (path, status) in
        [("location", 201), ("headers", 200), ("refused", 503), ("elsewhere", 502), ("broken", 502), ("json", 200), ("up~AAAA", 404)]
    {
        let answer = rig::get(gateway.addresses()[0], &format!("/v1/{path}"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        said.push_str(&format!("{}\n{}\n", answer.head, answer.body));
    }
    for path in ["/metrics", "/ready", "/credentials"] {
        let answer = rig::get(gateway.admin(), path);
        said.push_str(&format!("{}\n{}\n", answer.head, answer.body));
    }
    folder.file("tollgate.toml", &format!("{}\n[origins.media.tls]\nca_fil = 1\n", config(&origin.url)));
    gateway.wait_for("config not taken");
    said.push_str(&gateway.said());
    assert_eq!(origin.count(), 6);
    assert!(origin.requests().iter().all(|seen| seen.head.matches(SECRET).count() == 4), "{:?}", origin.last());
    let basic = STANDARD.encode(SECRET);
    for secret in [SECRET, "CanaryVz3", &basic[..basic.len() - 4]] {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}
