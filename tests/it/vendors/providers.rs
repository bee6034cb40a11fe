//! Each provider against its vendor's stand-in, without a network: what one asks the other takes, and the
//! other way round.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use tollgate::clock::UnixTime;
use tollgate::credential::config::{Around, Source};
use tollgate::credential::provider::aws_sigv4::{AwsConfig, AwsSigner};
use tollgate::credential::{Ask, CredentialConfig, Issued, Mint, Provider, Refused};
use tollgate::demo::apivideo::{Apivideo, Settings};
use tollgate::demo::vendor::{Call, Vendor};

use crate::support::gateway::NOW;
use crate::support::vendors::{cloudflare, mux, oauth2, ziggeo};

fn variable(name: &str) -> Option<String> {
    let known = [
        ("KEY", "9VxMaPgsaFg7EBqmuspSzF7"),
        ("CF", cloudflare::API_TOKEN),
        ("CF_KEY", cloudflare::API_KEY.1),
        ("MUX", mux::TOKEN.1),
        ("PRIVATE", ziggeo::APPLICATION.1),
        ("ENCRYPTION", ziggeo::APPLICATION.2),
        ("CLIENT", oauth2::CLIENT.1),
    ];
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn source(table: &Value) -> Source {
    let config: CredentialConfig = serde_json::from_value(table.clone()).unwrap_or_else(|fault| panic!("{table}: {fault}"));
    assert_eq!(config.table().faults(), [], "{table}");
    config.table().build(&Around::new(&variable, &|_| None)).unwrap_or_else(|fault| panic!("{table}: {fault}"))
}

fn provider(table: Value) -> Box<dyn Provider> {
    if let Source::Vendor(provider) = source(&table) { provider } else { panic!("{table} asks nobody") }
}

fn mint(table: Value) -> Box<dyn Mint> {
    if let Source::Mint(mint) = source(&table) { mint } else { panic!("{table} asks a vendor") }
}

/// Sends without a network.
fn send(vendor: &impl Vendor, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).parse().expect("a target");
    let length = body.len() as u64;
    vendor.answer(&Call { method: head.method, target, headers: head.headers, body, length, whole: true }, now)
}

fn get(vendor: &impl Vendor, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Response<Bytes> {
    let request = fields.iter().fold(Request::builder().method(method).uri(target), |request, (name, value)| request.header(*name, *value));
    send(vendor, request.body(Bytes::copy_from_slice(body)).expect("a request"), NOW)
}

/// What the keeper does: ask, read, and ask once more where that takes two calls.
fn issue(provider: &dyn Provider, vendor: &impl Vendor, ask: &Ask<'_>) -> Result<Issued, Refused> {
    let request = provider.request(ask)?;
    assert!(provider.bases().iter().any(|base| base.holds(request.uri())), "{}", request.uri());
    let issued = provider.parse(ask, &send(vendor, request, ask.now))?;
    match provider.next(ask, &issued)? {
        Some(request) => provider.complete(ask, issued, &send(vendor, request, ask.now)),
        None => Ok(issued),
    }
}

fn ask<'a>(resource: Option<&'a str>, previous: Option<&'a Issued>) -> Ask<'a> {
    Ask { resource, previous, ..Ask::first(NOW) }
}

fn form(file: &str) -> Vec<u8> {
    format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n{file}\r\n--b--\r\n").into_bytes()
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

fn apivideo() -> Apivideo {
    Apivideo::new(Settings::new("9VxMaPgsaFg7EBqmuspSzF7"))
}

#[test]
fn apivideo_upload_tokens_upload_until_they_are_withdrawn() {
    let (vendor, provider) = (apivideo(), provider(json!({ "type": "apivideo", "api_key_env": "KEY", "ttl": "1m" })));
    let issued = issue(&*provider, &vendor, &ask(None, None)).expect("a token");
    let upload = || get(&vendor, "POST", &format!("/upload?token={}", issued.value.expose()), &[FORM], &form("film")).status();
    assert_eq!(upload(), 201);
    let revoked = send(&vendor, provider.revoke(&ask(None, None), &issued).expect("a call"), NOW);
    assert_eq!((revoked.status().as_u16(), upload().as_u16(), vendor.uploads().len()), (204, 401, 1));
}

#[test]
fn apivideo_access_tokens_are_renewed_and_survive_a_lost_refresh_token() {
    let (vendor, provider) = (apivideo(), provider(json!({ "type": "apivideo", "api_key_env": "KEY", "issue": "bearer" })));
    let first = issue(&*provider, &vendor, &ask(None, None)).expect("a token");
    let second = issue(&*provider, &vendor, &ask(None, Some(&first))).expect("renewed");
    let lost = issue(&*provider, &vendor, &ask(None, Some(&first))).expect_err("used twice");
    assert!(matches!(lost, Refused::Account { renewal: true, .. }), "{lost:?}");
    let bearer = format!("Bearer {}", second.value.expose());
    assert_eq!(get(&vendor, "GET", "/upload-tokens", &[("authorization", &bearer)], b"").status(), 200);
    vendor.forget_refresh_tokens();
    assert!(issue(&*provider, &vendor, &ask(None, Some(&second))).is_err());
    assert!(issue(&*provider, &vendor, &ask(None, None)).is_ok());
}

#[test]
fn apivideo_sessions_open_a_private_video_again_and_again() {
    let vendor = apivideo();
    let id = vendor.make_private_video(b"film", NOW);
    let table = json!({ "type": "apivideo", "api_key_env": "KEY", "issue": "session", "scope": "resource" });
    let session = issue(&*provider(table), &vendor, &ask(Some(&id), None)).expect("a session");
    let target = format!("/vod/{id}/token/{}/mp4/source.mp4?avh={}", session.details["token"].expose(), session.value.expose());
    for _ in 0..2 {
        assert_eq!(get(&vendor, "GET", &target, &[], b"").body(), "film");
    }
}

fn cloudflare_table(issue: &str, more: Value) -> Value {
    let base = "http://127.0.0.1:1/client/v4";
    let mut table = json!({ "type": "cloudflare-stream", "base_url": base, "account_id": cloudflare::ACCOUNT, "issue": issue });
    table.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
    table
}

#[test]
fn cloudflare_makes_tokens_that_its_own_scheme_reads() {
    let vendor = cloudflare::Cloudflare::new();
    let video = "ea95132c15732412d22c1476fa83f27a";
    for auth in [json!({ "api_token_env": "CF" }), json!({ "email": cloudflare::API_KEY.0, "api_key_env": "CF_KEY" })] {
        let mut table = cloudflare_table("token", json!({ "scope": "resource", "lifetime": "2h", "downloadable": true }));
        table.as_object_mut().expect("a table").extend(auth.as_object().expect("a table").clone());
        let issued = issue(&*provider(table), &vendor, &ask(Some(video), None)).expect("a token");
        assert_eq!(issued.expires, Some(NOW.plus(7200)));
    }
    let wrong = provider(cloudflare_table("token", json!({ "scope": "resource", "api_token_env": "KEY" })));
    let refused = issue(&*wrong, &vendor, &ask(Some(video), None)).expect_err("refused");
    assert_eq!(refused, Refused::Account { reason: "the vendor answers 403 (10000)".into(), renewal: false });
}

#[test]
fn cloudflare_signing_keys_come_and_go() {
    let vendor = cloudflare::Cloudflare::new();
    let provider = provider(cloudflare_table("signing-key", json!({ "api_token_env": "CF" })));
    let issued = issue(&*provider, &vendor, &ask(None, None)).expect("a key");
    assert_eq!(vendor.keys(), [issued.details["id"].expose().clone()]);
    assert_eq!(send(&vendor, provider.revoke(&ask(None, None), &issued).expect("a call"), NOW).status(), 200);
    assert!(vendor.keys().is_empty());
}

#[test]
fn cloudflare_upload_addresses_take_one_upload_in_time() {
    let vendor = cloudflare::Cloudflare::with_chunks(4);
    let provider =
        provider(cloudflare_table("direct-upload", json!({ "api_token_env": "CF", "max_duration_seconds": 60, "lifetime": "1m" })));
    let address = issue(&*provider, &vendor, &ask(None, None)).expect("an address");
    let put = |now| {
        let request = Request::post(address.value.expose()).header(FORM.0, FORM.1).body(form("film").into()).expect("a request");
        send(&vendor, request, now).status().as_u16()
    };
    assert_eq!([put(NOW.plus(60)), put(NOW.plus(59)), put(NOW)], [403, 200, 409]);
    assert_eq!(vendor.uploads()[0].1.bytes, b"film");
}

#[test]
fn cloudflare_resumable_uploads_go_on_where_they_broke_off() {
    let vendor = cloudflare::Cloudflare::with_chunks(4);
    let provider = provider(cloudflare_table("tus", json!({ "api_token_env": "CF", "scope": "session", "max_duration_seconds": 60 })));
    let address = issue(&*provider, &vendor, &Ask { length: Some(9), ..ask(None, None) }).expect("an address").value.expose().clone();
    let tus = ("tus-resumable", "1.0.0");
    let chunk = |offset: &str, body: &str| {
        let kind = ("content-type", "application/offset+octet-stream");
        get(&vendor, "PATCH", &address, &[tus, kind, ("upload-offset", offset)], body.as_bytes()).status().as_u16()
    };
    assert_eq!([chunk("0", "aaaa"), chunk("0", "aaaa"), chunk("4", "bb")], [204, 409, 400]);
    let target = address.parse().expect("a target");
    let headers = [("upload-offset", "4")].into_iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")));
    let call = Call { method: http::Method::PATCH, target, headers: headers.collect(), body: "bb".into(), length: 2, whole: false };
    vendor.broken_off(&call, NOW);
    let asked = get(&vendor, "HEAD", &address, &[tus], b"");
    assert_eq!((asked.status().as_u16(), asked.headers()["upload-offset"].as_bytes()), (200, &b"6"[..]));
    assert_eq!(chunk("6", "ccc"), 204);
    assert_eq!((vendor.uploads()[0].1.bytes.as_slice(), vendor.uploads()[0].1.whole), (&b"aaaabbccc"[..], true));
}

#[test]
fn mux_keys_and_uploads_come_and_go() {
    let vendor = mux::Mux::default();
    vendor.at("http://127.0.0.1:1");
    let table = |issue: &str| json!({ "type": "mux", "issue": issue, "token_id": mux::TOKEN.0, "token_secret_env": "MUX" });
    let keys = provider(table("signing-key"));
    let issued = issue(&*keys, &vendor, &ask(None, None)).expect("a key");
    assert_eq!(vendor.keys(), [issued.details["id"].expose().clone()]);
    assert_eq!(send(&vendor, keys.revoke(&ask(None, None), &issued).expect("a call"), NOW).status(), 204);
    assert!(vendor.keys().is_empty());
    let uploads = provider(table("direct-upload"));
    let address = issue(&*uploads, &vendor, &ask(None, None)).expect("an address");
    let put = || get(&vendor, "PUT", address.value.expose(), &[], b"film").status().as_u16();
    assert_eq!([put(), put()], [200, 403]);
    assert_eq!(vendor.uploads(), [b"film"]);
    assert_eq!(send(&vendor, uploads.revoke(&ask(None, None), &address).expect("a call"), NOW).status(), 403);
}

#[test]
fn ziggeo_tokens_open_uploads_until_they_end() {
    let vendor = ziggeo::Ziggeo::default();
    let base = json!({ "type": "ziggeo", "application_token": ziggeo::APPLICATION.0, "private_key_env": "PRIVATE",
        "lifetime": "1m", "grants": { "create": { "session_owned": true } } });
    let provider = provider(base.clone());
    let issued = issue(&*provider, &vendor, &ask(None, None)).expect("a token");
    let begin = |name: &str, token: &str, now: UnixTime| {
        let target = format!("/v1/applications/{}/videos/videos-upload-url?{name}={token}", ziggeo::APPLICATION.0);
        send(&vendor, Request::post(target).body("video_type=mp4".into()).expect("a request"), now).status().as_u16()
    };
    let server = issued.value.expose();
    assert_eq!([begin("server_auth", server, NOW.plus(59)), begin("server_auth", server, NOW.plus(60))], [200, 401]);
    assert_eq!(send(&vendor, provider.revoke(&ask(None, None), &issued).expect("a call"), NOW).status(), 200);
    assert_eq!(begin("server_auth", server, NOW), 401);
    let mut table = base;
    table["issue"] = "client-auth".into();
    table["encryption_key_env"] = "ENCRYPTION".into();
    let client = mint(table).mint(&ask(None, None)).expect("a token");
    let client = client.value.expose();
    assert_eq!([begin("client_auth", client, NOW.plus(59)), begin("client_auth", client, NOW.plus(60))], [200, 401]);
    assert_eq!(begin("client_auth", &client.replace(&client[20..21], if &client[20..21] == "0" { "1" } else { "0" }), NOW), 401);
}

#[test]
fn oauth2_tokens_are_renewed_and_survive_a_lost_refresh_token() {
    let vendor = oauth2::Oauth2::new(60, true);
    for method in ["client-secret-basic", "client-secret-post"] {
        let table = json!({ "type": "oauth2", "token_url": "http://127.0.0.1:1/token", "revocation_url": "http://127.0.0.1:1/revoke",
            "client_id": oauth2::CLIENT.0, "secret_env": "CLIENT", "auth_method": method });
        let provider = provider(table);
        let first = issue(&*provider, &vendor, &ask(None, None)).expect("a token");
        assert!(vendor.takes(first.value.expose(), NOW.plus(59)) && !vendor.takes(first.value.expose(), NOW.plus(60)));
        let second = issue(&*provider, &vendor, &ask(None, Some(&first))).expect("renewed");
        let lost = issue(&*provider, &vendor, &ask(None, Some(&first))).expect_err("used twice");
        assert!(matches!(lost, Refused::Account { renewal: true, .. }), "{lost:?}");
        vendor.forget_refresh_tokens();
        assert!(issue(&*provider, &vendor, &ask(None, Some(&second))).is_err());
        assert!(issue(&*provider, &vendor, &ask(None, None)).is_ok());
        send(&vendor, provider.revoke(&ask(None, None), &second).expect("a call"), NOW);
        assert!(!vendor.takes(second.value.expose(), NOW));
    }
}

/// A signer's config names no vendor: there is nobody to ask.
#[test]
fn aws_keys_never_show() {
    let table = json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key_env": "KEY", "region": "eu-central-1" });
    let config: AwsConfig = serde_json::from_value(table).expect("a config");
    let signer = AwsSigner::new(&config, &Around::new(&variable, &|_| None)).expect("a signer");
    assert!(!format!("{signer:?}{config:?}").contains("9VxMa"));
}
