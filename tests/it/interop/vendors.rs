//! Tokens cross between Tollgate and the libraries of vendors: what they sign opens, what we sign they take, and neither
//! takes what the other made once a byte of it has changed.
//!
//! The libraries run as they are installed by `tests/run`: `tests/interop/peer.py` and `peer.mjs` (see their heads).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::{SignRequest, Signed};

use crate::support::Gateway;
use crate::support::gateway::for_path;
use crate::tool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EDGE: &str = "52a152a152a152a1";
const CAT: &str = "6162636465666768616263646566676861626364656667686162636465666768";

/// The answers of one peer; `None` where it is not installed.
fn ask(program: &str, orders: &Value) -> Option<Vec<Value>> {
    let (script, libraries) = match program {
        "python3" => ("peer.py", format!("{ROOT}/target/interop/python")),
        _ => ("peer.mjs", format!("{ROOT}/tests/interop/node_modules")),
    };
    let missing = if tool::find(program).is_none() { Some(program) } else { None };
    let missing = missing.or_else(|| (!Path::new(&libraries).exists()).then_some(libraries.as_str()));
    if !tool::here(&format!("tokens of other libraries ({script})"), missing) {
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script).current_dir(format!("{ROOT}/tests/interop")).env("PYTHONPATH", &libraries).env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = tool::run(&mut command, &orders.to_string(), Duration::from_secs(60));
    Some(serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr)))
}

fn ok(answer: &Value) -> &Value {
    answer.get("ok").unwrap_or_else(|| panic!("{answer}"))
}

fn text(answer: &Value) -> String {
    ok(answer).as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

struct Scene {
    gateway: Gateway,
    rsa: Generated,
    ec: Generated,
    now: i64,
    _origin: crate::support::Origin,
}

impl Scene {
    /// A host for each scheme, at the real time, which some of the libraries cannot be told otherwise.
    fn new() -> Self {
        let (rsa, origin) = (generate(Kind::Rsa2048).expect("key"), crate::support::Origin::plain());
        let ec = generate(Kind::P256).expect("key");
        let (pem, ec_pem) = (rsa.pem.as_ref().expect("a pair").expose(), ec.pem.as_ref().expect("a pair").expose());
        let edge = |more: Value| crate::support::gateway::over(json!({ "type": "akamai-edgeauth", "keys": "edge" }), more);
        let schemes = json!({
            "cf": { "type": "cloudfront", "keys": "rsa" },
            "ec": { "type": "cloudfront", "keys": "ec" },
            "edge": edge(json!({})),
            "salted": edge(json!({ "salt": "pepper", "algorithm": "sha1" })),
            "cat": { "type": "cta-5007", "keys": "cat", "issuers": ["us"], "leeway": "60s" },
            "mux": { "type": "mux", "keys": "mux" },
            "jwt": { "type": "jwt", "keys": "mux" },
            "hmac": { "type": "jwt", "keys": "hmac" },
        });
        let names: Vec<&String> = schemes.as_object().expect("a table").keys().collect();
        let routes: Vec<Value> = names
            .iter()
            .map(|name| json!({ "name": name, "hosts": [format!("{name}.test")], "accept": [name], "origin": "media" }))
            .collect();
        let gateway = Gateway::start(json!({
            "keys": {
                "rsa": { "inline": pem, "id": "K1" },
                "ec": { "inline": ec_pem, "id": "K1" },
                "mux": { "inline": pem, "id": "k" },
                "edge": { "secret": EDGE, "encoding": "hex" },
                "cat": { "by_id": { "e": { "inline": ec_pem }, "h": { "secret": CAT, "encoding": "hex", "algorithm": "HS256" } } },
                "hmac": { "by_id": { "k": { "secret": CAT, "algorithm": "HS256" } } },
            },
            "schemes": schemes, "origins": { "media": { "endpoints": [origin.url] } }, "routes": routes,
            "server": { "limits": { "refusal_burst": 1000 } },
        }));
        let now = Clock::System.now();
        gateway.clock.set(now);
        Self { gateway, rsa, ec, now: now.0, _origin: origin }
    }

    fn key(&self) -> &str {
        self.rsa.pem.as_ref().expect("a pair").expose()
    }

    /// What the gateway says to `target` at the host of this scheme.
    async fn says(&self, scheme: &str, target: &str, fields: &str) -> String {
        let answer = self.gateway.get(target, &format!("Host: {scheme}.test\r\n{fields}")).await;
        if answer.status == 200 { "200".to_owned() } else { answer.code() }
    }

    /// A token of ours for `path`, good for an hour.
    fn sign(&self, scheme: &str, path: &str, scope: Option<&str>) -> Signed {
        self.sign_by(scheme, path, (scope, None))
    }

    /// The same by this key.
    fn sign_by(&self, scheme: &str, path: &str, (scope, key): (Option<&str>, Option<&str>)) -> Signed {
        let asked = SignRequest {
            host: format!("{scheme}.test"),
            subject: None,
            scope: scope.map(str::to_owned),
            key_id: key.map(str::to_owned),
            now: None,
            expires: Some(tollgate::clock::UnixTime(self.now + 3600)),
            ..for_path(path)
        };
        self.gateway.sign_with(scheme, &asked)
    }

    /// It is good as it is, and no more with one byte of its end changed.
    async fn holds(&self, scheme: &str, (target, fields): (&str, &str), what: &str) {
        assert_eq!(self.says(scheme, target, fields).await, "200", "{what}: {target} {fields}");
        let change = |text: &str| {
            let at = text.trim_end().len() - 6;
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        };
        let (target, fields) = if fields.is_empty() { (change(target), String::new()) } else { (target.to_owned(), change(fields)) };
        assert_ne!(self.says(scheme, &target, &fields).await, "200", "{what}, tampered: {target} {fields}");
    }
}

/// The target of a URL.
fn target_of(url: &str) -> String {
    let rest = url.split_once("://").expect("a URL").1;
    rest[rest.find('/').expect("a path")..].to_owned()
}

#[tokio::test]
async fn cloudfront_signers() {
    let scene = Scene::new();
    let (end, key, url) = (scene.now + 3600, scene.key(), "http://cf.test/v/a.m3u8?q=1");
    let ours = scene.sign("cf", "/v/a.m3u8?q=1", None);
    let query = ours.query.clone().expect("a query");
    let signature = query.split('&').find_map(|pair| pair.strip_prefix("Signature=")).expect("a signature");
    let verify = |url: &str| json!({ "library": "botocore", "do": "verify", "key": key, "url": url, "end": end, "signature": signature });
    let orders = json!([
        { "library": "botocore", "do": "sign", "key": key, "url": url, "end": end },
        { "library": "botocore", "do": "sign", "key": key, "url": url, "end": end, "resource": "http://cf.test/v/*", "ip": "127.0.0.0/8" },
        { "library": "botocore", "do": "sign", "key": key, "url": url, "end": end, "resource": "http://cf.test/v/*", "ip": "10.0.0.1" },
        verify(url), verify("http://cf.test/v/b.m3u8"),
    ]);
    if let Some(answers) = ask("python3", &orders) {
        // What the last bytes of a query are differs: the signature stands before the key's name.
        for (answer, what) in answers[..2].iter().zip(["canned", "custom"]) {
            let target = target_of(&text(answer));
            assert_eq!(scene.says("cf", &target, "").await, "200", "botocore {what}: {target}");
            let forged = target.replacen("Signature=", "Signature=A", 1);
            assert_ne!(scene.says("cf", &forged, "").await, "200", "{what}");
        }
        assert_eq!(scene.says("cf", &target_of(&text(&answers[2])), "").await, "token_address");
        assert!(ok(&answers[3]).as_str().is_some_and(|policy| policy.contains(url)), "{}", answers[3]);
        assert!(answers[4].get("refused").is_some(), "{}", answers[4]);
    }
    let policy = json!({ "Statement": [{ "Resource": "http://cf.test/v/*", "Condition": { "DateLessThan": { "AWS:EpochTime": end } } }] });
    let library = "@aws-sdk/cloudfront-signer";
    let orders = json!([
        { "library": library, "do": "sign", "key": key, "url": url, "end": end },
        { "library": library, "do": "sign", "key": key, "url": url, "end": end, "hash": "SHA256" },
        { "library": library, "do": "sign", "key": key, "url": url, "policy": policy.to_string() },
        { "library": library, "do": "cookies", "key": key, "url": "http://cf.test/v/*", "policy": policy.to_string() },
        { "library": library, "do": "sign", "key": scene.ec.pem.as_ref().expect("a pair").expose(), "url": "http://ec.test/v/a.m3u8", "end": end },
    ]);
    let Some(answers) = ask("node", &orders) else { return };
    for answer in &answers[..3] {
        let target = target_of(&text(answer));
        assert_eq!(scene.says("cf", &target, "").await, "200", "{library}: {target}");
        assert_ne!(scene.says("cf", &target.replacen("Signature=", "Signature=A", 1), "").await, "200");
        // A canned policy covers its own URL; the custom one the folder.
        let other = scene.says("cf", &target.replacen("a.m3u8", "b.ts", 1), "").await;
        assert_eq!(other == "200", target.contains("Policy="), "{target} {other}");
    }
    let cookies = ok(&answers[3]).as_object().expect("cookies");
    let cookies: Vec<String> = cookies.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    assert_eq!(scene.says("cf", "/v/b.ts", &format!("Cookie: {}\r\n", cookies.join("; "))).await, "200", "{cookies:?}");
    assert_ne!(scene.says("cf", "/w/b.ts", &format!("Cookie: {}\r\n", cookies.join("; "))).await, "200");
    let target = target_of(&text(&answers[4]));
    assert_eq!(scene.says("ec", &target, "").await, "200", "{library} with ECDSA: {target}");
    assert_ne!(scene.says("ec", &target.replacen("a.m3u8", "b.m3u8", 1), "").await, "200");
}

#[tokio::test]
async fn akamai_generators() {
    let scene = Scene::new();
    // The last good second.
    let end = scene.now + 3599;
    for program in ["python3", "node"] {
        let order = |more: Value| {
            crate::support::gateway::over(json!({ "library": "akamai-edgeauth", "do": "sign", "key": EDGE, "end": end }), more)
        };
        let orders = json!([
            order(json!({ "acl": "/v/*" })),
            order(json!({ "url": "/v/a.m3u8" })),
            order(json!({ "acl": "/v/*", "session_id": "s1", "payload": "p" })),
            order(json!({ "acl": "/v/*", "ip": "203.0.113.9" })),
            order(json!({ "acl": "/v/*", "salt": "pepper", "algorithm": "sha1" })),
        ]);
        let Some(answers) = ask(program, &orders) else { continue };
        let link = |index: usize| format!("/v/a.m3u8?hdnts={}", text(&answers[index]));
        for index in [0, 1, 2] {
            scene.holds("edge", (&link(index), ""), program).await;
        }
        assert_eq!(scene.says("edge", &link(3), "").await, "token_address");
        scene.holds("salted", (&link(4), ""), program).await;
        assert_ne!(scene.says("edge", &link(4), "").await, "200");
        assert_ne!(scene.says("edge", &link(1).replace("a.m3u8", "b.m3u8"), "").await, "200");
        // What we sign is what they generate, byte for byte.
        assert_eq!(scene.sign("edge", "/v/a.m3u8", Some("/v/")).token, text(&answers[0]), "{program}");
        assert_eq!(scene.sign("edge", "/v/a.m3u8", None).token, text(&answers[1]), "{program}");
        assert_eq!(scene.sign("salted", "/v/a.m3u8", Some("/v/")).token, text(&answers[4]), "{program}");
    }
}

#[tokio::test]
async fn common_access_tokens() {
    let scene = Scene::new();
    let (end, header) = (scene.now + 3600, |token: &str| format!("CTA-Common-Access-Token: {token}\r\n"));
    let by_key = |key| scene.sign_by("cat", "/v/a.m3u8", (Some("/v/"), Some(key))).token;
    let (ours, by_ec, ec) = (by_key("h"), by_key("e"), &scene.ec);
    let other = generate(Kind::P256).expect("key").public_pem;
    let forged = format!("{}{}", &ours[..ours.len() - 6], if ours.ends_with("AAAAAA") { "BBBBBB" } else { "AAAAAA" });
    let claims = json!({ "1": "us", "4": end, "312": { "3": { "1": "/v/" } } });
    let orders = json!([
        { "library": "cwt", "do": "sign", "key": CAT, "claims": claims },
        { "library": "cwt", "do": "verify", "key": CAT, "token": ours },
        { "library": "cwt", "do": "verify", "key": CAT, "token": forged },
        { "library": "cwt", "do": "sign", "pem": ec.pem.as_ref().expect("a pair").expose(), "claims": claims },
        { "library": "cwt", "do": "verify", "pem": ec.public_pem, "token": by_ec },
        { "library": "cwt", "do": "verify", "pem": other, "token": by_ec },
    ]);
    if let Some(answers) = ask("python3", &orders) {
        scene.holds("cat", ("/v/a.m3u8", &header(&text(&answers[0]))), "cwt").await;
        assert_eq!(scene.says("cat", "/w/a.m3u8", &header(&text(&answers[0]))).await, "token_path");
        assert_eq!((&ok(&answers[1])["1"], &ok(&answers[1])["4"]), (&json!("us"), &json!(end)), "{}", answers[1]);
        scene.holds("cat", ("/v/a.m3u8", &header(&text(&answers[3]))), "cwt with ES256").await;
        assert_eq!(ok(&answers[4])["4"], json!(end), "{}", answers[4]);
        for answer in [&answers[2], &answers[5]] {
            assert!(answer.get("refused").is_some(), "{answer}");
        }
    }
    let verify = |token: &str, url: &str| json!({ "library": "@eyevinn/cat", "do": "verify", "key": CAT, "token": token, "issuer": "us", "url": url });
    let claims = json!({ "iss": "us", "exp": end, "catu": { "path": { "prefix-match": "/v/" } } });
    let orders = json!([
        { "library": "@eyevinn/cat", "do": "sign", "key": CAT, "claims": claims },
        verify(&ours, "http://cat.test/v/a.m3u8"), verify(&ours, "http://cat.test/w/a.m3u8"), verify(&forged, "http://cat.test/v/a.m3u8"),
    ]);
    let Some(answers) = ask("node", &orders) else { return };
    scene.holds("cat", ("/v/a.m3u8", &header(&text(&answers[0]))), "@eyevinn/cat").await;
    assert_eq!(scene.says("cat", "/w/a.m3u8", &header(&text(&answers[0]))).await, "token_path");
    let _ = ok(&answers[1]);
    for answer in &answers[2..] {
        assert!(answer.get("refused").is_some(), "{answer}");
    }
}

#[tokio::test]
async fn mux_and_jose() {
    let scene = Scene::new();
    let library = "@mux/mux-node";
    let orders = json!([
        { "library": library, "key": scene.key(), "id": "abcDEF01" },
        { "library": library, "key": scene.key(), "id": "abcDEF01", "type": "thumbnail" },
    ]);
    if let Some(answers) = ask("node", &orders) {
        scene.holds("mux", (&format!("/abcDEF01.m3u8?token={}", text(&answers[0])), ""), library).await;
        assert_eq!(scene.says("mux", &format!("/abcDEF02.m3u8?token={}", text(&answers[0])), "").await, "token_path");
        assert_ne!(scene.says("mux", &format!("/abcDEF01.m3u8?token={}", text(&answers[1])), "").await, "200");
    }
    let claims = json!({ "sub": "ann", "exp": scene.now + 3600 });
    let (public, library) = (scene.rsa.public_pem.clone().expect("a pair"), "python-jose");
    let (rs, hs) = (scene.sign("jwt", "/v/a", None).token, scene.sign("hmac", "/v/a", None).token);
    let forged = format!("{}AAAAAA", &rs[..rs.len() - 6]);
    let orders = json!([
        { "library": library, "do": "sign", "algorithm": "RS256", "key": scene.key(), "claims": claims },
        { "library": library, "do": "sign", "algorithm": "HS256", "key": CAT, "claims": claims },
        { "library": library, "do": "verify", "algorithm": "RS256", "key": public, "token": rs },
        { "library": library, "do": "verify", "algorithm": "HS256", "key": CAT, "token": hs },
        { "library": library, "do": "verify", "algorithm": "RS256", "key": public, "token": forged },
        // The public key as an HMAC secret: the old confusion.
        { "library": library, "do": "sign", "algorithm": "HS256", "key": "k".repeat(40), "claims": claims },
    ]);
    let Some(answers) = ask("python3", &orders) else { return };
    scene.holds("jwt", (&format!("/v/a?token={}", text(&answers[0])), ""), library).await;
    scene.holds("hmac", (&format!("/v/a?token={}", text(&answers[1])), ""), library).await;
    assert_eq!((&ok(&answers[2])["exp"], &ok(&answers[3])["exp"]), (&claims["exp"], &claims["exp"]));
    assert!(answers[4].get("refused").is_some(), "{}", answers[4]);
    assert_eq!(scene.says("jwt", &format!("/v/a?token={}", text(&answers[5])), "").await, "token_invalid");
}
