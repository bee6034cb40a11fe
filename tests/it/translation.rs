//! From one scheme to another, a whole film: what a viewer's token opens is signed anew for an origin that verifies.
//!
//! Viewer, translating gateway, verifying gateway (our verifier, which passes the token on), film behind a verifier
//! that shares nothing with ours: jsonwebtoken's RSA for CloudFront, an HMAC over the documented fields for Akamai.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use tollgate::demo::origin;
use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::{SignRequest, Signed};

use crate::sessions::answer_with_the_film;
use crate::support::gateway::{NOW, for_path, key, target};
use crate::support::{Gateway, Origin, Reply, Seen, client};

const SECRET: &str = "52a152a152a152a1";
const LIFETIME: i64 = 300;

/// What stands in a query under `name`.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(have, _)| *have == name);
    let first = found.next()?;
    found.next().is_none().then_some(first.1)
}

/// Amazon's developer guide, read once more: the policy is what is signed, and it must speak of this URL and time.
fn cloudfront_takes(seen: &Seen, public_pem: &str) -> Result<(), String> {
    let (path, query) = seen.target.split_once('?').ok_or("no query")?;
    let field = |name: &str| parameter(query, name).ok_or_else(|| format!("not one {name}"));
    let plain = |text: &str| STANDARD.decode(text.replace('-', "+").replace('_', "=").replace('~', "/")).map_err(|e| e.to_string());
    let host = seen.field("x-forwarded-host").ok_or("no host")?;
    let policy = match parameter(query, "Policy") {
        Some(policy) => plain(policy)?,
        None => {
            let own = ["Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"];
            let kept: Vec<&str> = query.split('&').filter(|pair| !own.contains(&pair.split('=').next().unwrap_or(""))).collect();
            let rest = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
            let expires = field("Expires")?;
            let text = format!(
                r#"{{"Statement":[{{"Resource":"http://{host}{path}{rest}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
            );
            text.into_bytes()
        }
    };
    let signature = URL_SAFE_NO_PAD.encode(plain(field("Signature")?)?);
    let key = jsonwebtoken::DecodingKey::from_rsa_pem(public_pem.as_bytes()).map_err(|e| e.to_string())?;
    let good = jsonwebtoken::crypto::verify(&signature, &policy, &key, jsonwebtoken::Algorithm::RS256);
    if !good.map_err(|e| e.to_string())? || field("Hash-Algorithm")? != "SHA256" {
        return Err("the signature is not good".into());
    }
    let policy: Value = serde_json::from_slice(&policy).map_err(|e| e.to_string())?;
    let statement = &policy["Statement"][0];
    let until = statement["Condition"]["DateLessThan"]["AWS:EpochTime"].as_i64().ok_or("no end")?;
    let resource = statement["Resource"].as_str().ok_or("no resource")?;
    let url = format!("http://{host}{path}");
    let covers = resource.strip_suffix('*').map_or(resource.starts_with(&url), |prefix| url.starts_with(prefix));
    // Signed at most once a half-life, and never for longer than asked.
    let fresh = (NOW.0..=NOW.0 + 2 * LIFETIME).contains(&until);
    if covers && fresh { Ok(()) } else { Err(format!("{resource} until {until} is not for {url}")) }
}

/// Akamai's token as its generators write it: everything before `~hmac=`, and the path where there is no `acl`.
fn akamai_takes(seen: &Seen) -> Result<(), String> {
    let (path, query) = seen.target.split_once('?').ok_or("no query")?;
    let token = parameter(query, "hdnts").ok_or("not one token")?;
    let (fields, mac) = token.split_once("~hmac=").ok_or("no hmac")?;
    let field = |name: &str| fields.split('~').find_map(|field| field.strip_prefix(name));
    let acl = field("acl=");
    let signed = if acl.is_some() { fields.to_owned() } else { format!("{fields}~url={path}") };
    let secret: Vec<u8> = (0..SECRET.len()).step_by(2).map(|at| u8::from_str_radix(&SECRET[at..at + 2], 16).expect("hex")).collect();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let good: String = aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let until: i64 = field("exp=").and_then(|exp| exp.parse().ok()).ok_or("no end")?;
    let covers = acl.is_none_or(|acl| acl.strip_suffix('*').map_or(acl == path, |prefix| path.starts_with(prefix)));
    let fresh = (NOW.0..=NOW.0 + 2 * LIFETIME).contains(&until);
    if good == mac && covers && fresh { Ok(()) } else { Err(format!("{token} is not for {path}")) }
}

/// The film, for who has a token of this vendor.
fn guarded_film(vendor: &'static str, public_pem: String) -> Origin {
    Origin::start(move |seen| {
        let verdict = if vendor == "cloudfront" { cloudfront_takes(seen, &public_pem) } else { akamai_takes(seen) };
        match verdict {
            Ok(()) => answer_with_the_film(seen),
            Err(why) => Reply::new(418, why),
        }
    })
}

struct Chain {
    film: Origin,
    /// Verifies what the first one signs, and passes it on.
    cdn: Gateway,
    gateway: Gateway,
}

/// How the viewer's token rides, and the scheme that makes it so.
fn viewer_scheme(way: &str) -> Value {
    match way {
        "path" => json!({ "type": "bunny", "keys": "bunny", "sign_into": "path" }),
        "query" => json!({ "type": "google-cloud-cdn", "keys": "google" }),
        "cookie" => json!({ "type": "google-media-cdn", "keys": "ed", "sign_as": "cookie" }),
        other => panic!("{other}"),
    }
}

impl Chain {
    fn new(way: &str, vendor: &'static str, more: Value) -> Self {
        let rsa: Generated = generate(Kind::Rsa2048).expect("key");
        let film = guarded_film(vendor, rsa.public_pem.clone().expect("a pair"));
        let keys = json!({
            "rsa": { "inline": rsa.pem.as_ref().expect("a pair").expose(), "id": "K1" },
            "akamai": { "secret": SECRET, "encoding": "hex" },
            "bunny": { "secret": "bunny-secret" },
            "google": { "by_id": { "g": { "secret": "0123456789abcdef" } } },
            "ed": { "inline": key(Kind::Ed25519), "id": "g" },
        });
        let vendors = json!({
            "cloudfront": { "type": "cloudfront", "keys": "rsa" },
            "akamai": { "type": "akamai-edgeauth", "keys": "akamai", "leeway": "0s" },
        });
        let cdn = Gateway::start(json!({
            "keys": keys, "schemes": vendors, "origins": { "film": { "endpoints": [film.url] } },
            "routes": [{ "name": "cdn", "path": "/", "accept": [vendor], "forward_token": true, "origin": "film" }],
        }));
        let mut route = json!({
            "name": "vod", "path": "/", "accept": ["viewer"], "origin": "cdn",
            "upstream_sign": { "scheme": vendor, "lifetime": format!("{LIFETIME}s") },
        });
        route = crate::support::gateway::over(route, more);
        let mut schemes = vendors;
        schemes["viewer"] = viewer_scheme(way);
        let cdn_url = format!("http://{}", cdn.addr());
        let gateway = Gateway::start(
            json!({ "keys": keys, "schemes": schemes, "origins": { "cdn": { "endpoints": [cdn_url] } }, "routes": [route] }),
        );
        Self { film, cdn, gateway }
    }

    /// The entry's URL and the fields that its token rides in.
    fn entry(&self) -> (String, String, Signed) {
        let asked = SignRequest { subject: None, expires: Some(NOW.plus(3600)), scope: Some("/vod/".into()), ..for_path(origin::HLS) };
        let signed = self.gateway.sign_with("viewer", &asked);
        let cookies: Vec<String> = signed.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fields = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        (target(&signed), fields, signed)
    }
}

/// A link of a playlist, as a player asks for it.
fn resolved(base: &str, link: &str) -> String {
    if link.starts_with('/') {
        return link.to_owned();
    }
    let path = base.split('?').next().unwrap_or(base);
    format!("{}/{link}", path.rsplit_once('/').expect("a path").0)
}

fn links(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    let attributes = text.split("URI=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    lines.chain(attributes).collect()
}

/// Plays the film from its master to the last segment of every rendition. Gives how many files that were.
async fn play(gateway: &Gateway, entry: &str, fields: &str, append: Option<&str>) -> usize {
    let get = async |target: &str| {
        let answer = gateway.get(target, fields).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer
    };
    let with = |target: String| append.map_or_else(|| target.clone(), |query| format!("{target}?{query}"));
    let mut files = 1;
    for rendition in links(&get(entry).await.text()) {
        let media = with(resolved(entry, &rendition));
        for file in links(&get(&media).await.text()) {
            let one = get(&with(resolved(&media, &file))).await;
            assert!(!one.body.is_empty(), "{file}");
            files += 1;
        }
        files += 1;
    }
    files
}

async fn plays_through(way: &str, vendor: &'static str) {
    for scope in ["path", "directory"] {
        let sign = json!({ "upstream_sign": { "scope": scope } });
        let chain = Chain::new(way, vendor, sign.clone());
        let (entry, fields, signed) = chain.entry();
        // Without sessions: a path is inherited, a cookie comes along, a query has to be put on by the player.
        let append = (way == "query").then(|| signed.query.clone().expect("a query"));
        assert!(play(&chain.gateway, &entry, &fields, append.as_deref()).await > 40, "{way} to {vendor} for a {scope}");
        let chain = Chain::new(way, vendor, crate::support::gateway::over(sign, json!({ "session": {} })));
        let (entry, fields, signed) = chain.entry();
        let answer = chain.gateway.get(&entry, &fields).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        let ticketed = answer.field("location").expect("a location").to_owned();
        assert!(play(&chain.gateway, &ticketed, &fields, None).await > 40, "{way} to {vendor} for a {scope} in a session");
        for seen in chain.film.requests() {
            assert!(!seen.head.contains(&signed.token) && !seen.head.contains("/tg~"), "{}", seen.head);
        }
        assert_eq!(chain.cdn.metric("refusals_total{code=\"token"), 0.0);
    }
}

#[tokio::test]
async fn a_token_in_the_path_becomes_cloudfront() {
    plays_through("path", "cloudfront").await;
}

#[tokio::test]
async fn a_token_in_the_path_becomes_akamai() {
    plays_through("path", "akamai").await;
}

#[tokio::test]
async fn a_token_in_the_query_becomes_cloudfront() {
    plays_through("query", "cloudfront").await;
}

#[tokio::test]
async fn a_token_in_the_query_becomes_akamai() {
    plays_through("query", "akamai").await;
}

#[tokio::test]
async fn a_token_in_a_cookie_becomes_cloudfront() {
    plays_through("cookie", "cloudfront").await;
}

#[tokio::test]
async fn a_token_in_a_cookie_becomes_akamai() {
    plays_through("cookie", "akamai").await;
}

/// In sessions whose playlists are rewritten.
#[tokio::test]
async fn rewritten_links_are_signed_anew() {
    for vendor in ["cloudfront", "akamai"] {
        let chain = Chain::new("query", vendor, json!({ "session": { "propagation": "query" } }));
        let (entry, _, _) = chain.entry();
        let master = chain.gateway.get(&entry, "").await;
        assert_eq!(master.status, 200, "{}", master.text());
        let media = links(&master.text())[0].clone();
        assert!(media.contains("?tg="), "{media}");
        assert!(play(&chain.gateway, &entry, "", None).await > 40);
    }
}

/// What a viewer puts where the origin looks for the signature must not reach it, nor keep the film from playing.
#[tokio::test]
async fn nothing_of_the_viewers_stands_beside_the_signature() {
    let cookies =
        "Cookie: CloudFront-Policy=evil; CloudFront-Signature=evil; CloudFront-Key-Pair-Id=evil; hdnts=evil; a=b\r\nhdntl: evil\r\n";
    for vendor in ["cloudfront", "akamai"] {
        let chain = Chain::new("path", vendor, json!({}));
        let (entry, _, _) = chain.entry();
        let answer = chain.gateway.get(&entry, cookies).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let head = chain.film.last().head;
        let own = if vendor == "akamai" { vec!["hdnts=evil", "hdntl"] } else { vec!["CloudFront-"] };
        assert!(own.iter().all(|name| !head.contains(name)) && head.contains("a=b"), "{head}");
    }
    let chain = Chain::new("cookie", "akamai", json!({}));
    let (_, fields, _) = chain.entry();
    let answer = chain.gateway.get(&format!("{}?hdnea=evil&q=1", origin::HLS), &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = chain.film.last().target;
    assert!(!sent.contains("evil") && sent.contains("?q=1&hdnts="), "{sent}");
    // In the path it cannot be taken out without asking for something else.
    let answer = chain.gateway.get("/vod/hdnea=evil/master.m3u8", &fields).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_ambiguous"));
}

#[tokio::test]
async fn a_signature_is_renewed_before_its_end() {
    let chain = Chain::new("path", "akamai", json!({}));
    let (entry, _, _) = chain.entry();
    let mut sent = Vec::new();
    for _ in 0..3 {
        assert_eq!(chain.gateway.get(&entry, "").await.status, 200);
        sent.push(chain.film.last().target);
        chain.gateway.pass(LIFETIME / 2);
        chain.cdn.pass(LIFETIME / 2);
    }
    sent.dedup();
    assert_eq!(sent.len(), 3, "{sent:?}");
}

#[tokio::test]
async fn what_a_scheme_cannot_say_is_a_fault_of_the_config() {
    let config = |scheme: Value, sign: Value| {
        json!({
            "keys": { "k": { "secret": "0123456789abcdef0123456789abcdef" }, "rsa": { "inline": generate(Kind::Rsa2048).expect("key").public_pem } },
            "schemes": { "own": { "type": "jwt", "keys": "k" }, "out": scheme },
            "origins": { "media": { "endpoints": ["http://127.0.0.1:9"] } },
            "routes": [{ "name": "vod", "path": "/", "accept": ["own"], "origin": "media", "upstream_sign": sign }],
        })
    };
    for (scheme, sign, at) in [
        (json!({ "type": "digest-url", "keys": "k", "preset": "keycdn" }), json!({ "scheme": "out", "scope": "directory" }), "scope"),
        (json!({ "type": "digest-url", "keys": "k", "preset": "nginx-secure-link" }), json!({ "scheme": "out" }), "scheme"),
        (json!({ "type": "cloudfront", "keys": "rsa" }), json!({ "scheme": "out" }), "scheme"),
        (json!({ "type": "akamai-edgeauth", "keys": "k" }), json!({ "scheme": "out", "lifetime": "1s" }), "lifetime"),
    ] {
        let Err(unfit) = Gateway::try_start(config(scheme, sign)) else { panic!("{at}: it starts") };
        assert_eq!(unfit[0].0.to_string(), format!("routes[0].upstream_sign.{at}"), "{unfit:?}");
    }
}

/// A folder's name with `&` in it cannot stand in an `acl`. That is the caller's wish and no fault of the gateway.
#[tokio::test]
async fn a_path_that_the_scheme_cannot_carry_is_refused() {
    let chain = Chain::new("cookie", "akamai", json!({ "upstream_sign": { "scope": "directory" } }));
    let (_, fields, _) = chain.entry();
    let answer = chain.gateway.get("/vod/a&b/master.m3u8", &fields).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "path_unsignable"));
    assert!(chain.film.requests().is_empty());
    assert_eq!(chain.gateway.get(origin::HLS, &fields).await.status, 200);
}

/// The client module is for callers that need no gateway; the film itself refuses whoever comes without a token.
#[tokio::test]
async fn the_origin_of_these_tests_refuses() {
    for vendor in ["cloudfront", "akamai"] {
        let chain = Chain::new("path", vendor, json!({}));
        assert_eq!(client::get(chain.film.addr, origin::HLS, "").await.status, 418);
        assert_eq!(chain.cdn.get(origin::HLS, "").await.status, 401);
        let (entry, _, _) = chain.entry();
        assert_eq!(chain.gateway.get(&entry, "").await.status, 200);
        let sent = chain.film.last();
        let host = format!("X-Forwarded-Host: {}\r\n", chain.cdn.addr());
        assert_eq!(client::get(chain.film.addr, &sent.target, &host).await.status, 200);
        let forged = sent.target.replace("master", "media_0");
        assert_eq!(client::get(chain.film.addr, &forged, &host).await.status, 418);
    }
}
