//! Live servers that verify by themselves, on loopback: what we sign they let in, and on every mutation of it their verdict is ours.
//!
//! nginx with `secure_link`, Apache Traffic Server with its plugins `url_sig`, `uri_signing` and `access_control`; `tests/run`
//! installs them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::version::TLS13;
use serde_json::{Value, json};

use tollgate::clock::{Clock, UnixTime};
use tollgate::token::SignRequest;

use crate::peer::{self, Peer, free_port};
use crate::rig::Folder;
use crate::support::gateway::{for_path, target};
use crate::support::tls::Authority;
use crate::support::{Gateway, Origin, client};
use crate::tool;

const OCTETS: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

fn nginx(folder: &Folder, origin: &Origin) -> Option<Peer> {
    let program = peer::nginx();
    if !tool::here("nginx with secure_link", program.is_none().then_some("nginx")) {
        return None;
    }
    let (address, home) = (free_port(), folder.path().display().to_string());
    let config = format!(
        "daemon off; master_process off; pid {home}/nginx.pid; error_log stderr;
         events {{}}
         http {{
           access_log off; client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c; uwsgi_temp_path {home}/d;
           scgi_temp_path {home}/e;
           server {{
             listen {address};
             location /p/ {{ secure_link_secret word; if ($secure_link = \"\") {{ return 403; }} proxy_pass http://{origin}/; }}
             location / {{
               secure_link $arg_md5,$arg_expires; secure_link_md5 \"$secure_link_expires$uri$remote_addr word\";
               if ($secure_link = \"\") {{ return 403; }} if ($secure_link = \"0\") {{ return 410; }}
               proxy_pass http://{origin};
             }}
           }}
         }}",
        origin = origin.addr
    );
    let file = folder.file("nginx.conf", &config);
    Some(Peer::start(Command::new(program?).arg("-p").arg(folder.path()).arg("-c").arg(file), address))
}

const PLUGINS: &str = "/usr/lib/trafficserver/modules";

/// Apache Traffic Server in a runroot, so that nothing outside of the folder is read or written. Its files are in `etc` already,
/// but for what is the same each time; `ports` and `records` are for more than plain HTTP.
fn traffic_server(folder: &Folder, ports: &str, records: &str, remap: &str) -> Option<Peer> {
    let program = tool::find("traffic_server");
    let missing = if program.is_none() { Some("trafficserver") } else { None };
    let missing = missing.or_else(|| (!Path::new(PLUGINS).join("url_sig.so").exists()).then_some("trafficserver-experimental-plugins"));
    if !tool::here("Apache Traffic Server with its plugins", missing) {
        return None;
    }
    let (address, home) = (free_port(), folder.path().display().to_string());
    for below in ["var", "run", "log", "cache"] {
        std::fs::create_dir_all(folder.path().join(below)).expect("a folder");
    }
    let layout = format!(
        "prefix: {home}\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: {home}/etc\ndatadir: {home}/cache\nincludedir: /usr/include\n\
         libdir: /usr/lib/trafficserver\nlibexecdir: {PLUGINS}\nlocalstatedir: {home}/var\nruntimedir: {home}/run\nlogdir: {home}/log\ncachedir: {home}/cache\n"
    );
    folder.file(
        "etc/records.config",
        &format!(
            "CONFIG proxy.config.http.server_ports STRING {}:ip-in=127.0.0.1{ports}\nCONFIG proxy.config.http.cache.http INT 0\n\
             CONFIG proxy.config.admin.user_id STRING #-1\nCONFIG proxy.config.exec_thread.autoconfig INT 0\n\
             CONFIG proxy.config.exec_thread.limit INT 1\nCONFIG proxy.config.proxy_name STRING peer\n{records}",
            address.port()
        ),
    );
    folder.file("etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n");
    folder.file("etc/storage.config", "var/none 1M\n");
    folder.file("etc/remap.config", remap);
    let root = folder.file("runroot.yaml", &layout);
    Some(Peer::start(Command::new(program?).arg(format!("--run-root={}", root.display())), address))
}

/// With `url_sig` and `uri_signing`.
fn signed_urls(folder: &Folder, origin: &Origin) -> Option<Peer> {
    let keys: String = (0..16).map(|index| format!("key{index} = secretsecret{index}\n")).collect();
    let sig = folder.file("etc/url_sig.config", &format!("{keys}error_url = 403\n"));
    let jwk = json!({ "alg": "HS256", "kid": "k", "kty": "oct", "k": OCTETS });
    let uri = folder.file("etc/uri.json", &json!({ "us": { "renewal_kid": "k", "strip_token": true, "keys": [jwk] } }).to_string());
    let line = |host: &str, plugin: &str, file: &Path| {
        format!("map http://{host}/ http://{}/ @plugin={plugin} @pparam={}\n", origin.addr, file.display())
    };
    let remap = line("uri.test", "uri_signing.so", &uri) + line("sig.test", "url_sig.so", &sig).trim_end() + " @pparam=pristineurl\n";
    traffic_server(folder, "", "", &remap)
}

/// With `access_control`, which takes its cookie over TLS only, from viewers and towards the origin. Gives where that is spoken.
fn access_control(folder: &Folder, origin: &Origin, ca: &Authority) -> Option<(Peer, SocketAddr)> {
    let (secure, files) = (free_port(), ca.issue("peer", &["access.test"]));
    let name = |file: &Path| file.file_name().expect("a name").to_string_lossy().into_owned();
    let home = files.cert.parent().expect("a folder").display();
    folder.file("etc/ssl_multicert.config", &format!("dest_ip=* ssl_cert_name={} ssl_key_name={}\n", name(&files.cert), name(&files.key)));
    let records = format!(
        "CONFIG proxy.config.ssl.server.cert.path STRING {home}\nCONFIG proxy.config.ssl.server.private_key.path STRING {home}\n\
         CONFIG proxy.config.ssl.client.verify.server.policy STRING DISABLED\n"
    );
    let keys = folder.file("etc/access.keys", "key1=secretsecret1\nkey2=secretsecret2\n");
    let remap = format!(
        "map https://access.test/ https://{}/ @plugin=access_control.so @pparam=--symmetric-keys-map={} \
         @pparam=--check-cookie=TokenCookie @pparam=--reject-invalid-token-requests=true\n",
        origin.addr,
        keys.display()
    );
    let peer = traffic_server(folder, &format!(" {}:ssl:ip-in=127.0.0.1", secure.port()), &records, &remap)?;
    Some((peer, secure))
}

/// A gateway that accepts what the peers do, at the real time.
fn gateway(origin: &Origin) -> Gateway {
    let schemes = json!({
        "nginx": { "type": "digest-url", "keys": "word", "preset": "nginx-secure-link" },
        "word": { "type": "digest-url", "keys": "word", "preset": "nginx-secure-link-secret", "require_expiry": false },
        "sig": { "type": "ats-url-sig", "keys": "sixteen" },
        "uri": { "type": "rfc9246", "keys": "uri", "issuers": ["us"] },
        // This gateway listens in clear.
        "access": { "type": "ats-access-control", "keys": "sixteen", "require_https": false },
    });
    let names: Vec<&String> = schemes.as_object().expect("a table").keys().collect();
    let route = |name: &&String| json!({ "name": name, "hosts": [format!("{name}.test")], "accept": [name], "origin": "media" });
    let keys: Value =
        (0..16).map(|i| (format!("key{i}"), json!({ "secret": format!("secretsecret{i}") }))).collect::<serde_json::Map<_, _>>().into();
    let gateway = Gateway::start(json!({
        "keys": {
            "word": { "secret": "word" }, "sixteen": { "by_id": keys },
            "uri": { "inline": json!({ "alg": "HS256", "kid": "k", "kty": "oct", "k": OCTETS }).to_string() },
        },
        "schemes": schemes, "origins": { "media": { "endpoints": [origin.url] } }, "routes": names.iter().map(route).collect::<Vec<_>>(),
        "server": { "limits": { "refusal_burst": 1000 } },
    }));
    gateway.clock.set(Clock::System.now());
    gateway
}

/// What `scheme` makes for `path`, good until `seconds` from now.
fn sign(gateway: &Gateway, scheme: &str, path: &str, seconds: i64) -> String {
    let now = gateway.clock.now();
    let mut asked = SignRequest {
        host: format!("{scheme}.test"),
        subject: None,
        client_ip: (scheme == "nginx").then(|| [127, 0, 0, 1].into()),
        expires: Some(UnixTime(now.0 + seconds)),
        now: None,
        ..for_path(path)
    };
    if scheme == "uri" {
        asked.claims.insert("cdniuc".into(), format!("regex:http://uri\\.test{}", path.replace('.', "\\.")).into());
    }
    target(&gateway.sign_with(scheme, &asked))
}

/// Asks both for each target, and holds them against each other. The first must be let in, and all others refused.
async fn agree(gateway: &Gateway, peer: &Peer, scheme: &str, targets: &[String]) {
    for (index, target) in targets.iter().enumerate() {
        let host = format!("Host: {scheme}.test\r\n");
        let ours = gateway.get(target, &host).await.status == 200;
        let theirs = client::get(peer.address, target, &host).await;
        assert_eq!((ours, theirs.status == 200), (index == 0, index == 0), "{scheme} {target}: {theirs:?}\n{}", peer.process.said());
    }
}

/// The same target with a digit or letter of `what` changed, counted from where it begins.
fn changed(target: &str, what: &str, at: usize) -> String {
    let at = target.find(what).unwrap_or_else(|| panic!("{what} in {target}")) + what.len() + at;
    let other = if target.as_bytes()[at] == b'1' { "2" } else { "1" };
    format!("{}{other}{}", &target[..at], &target[at + 1..])
}

#[tokio::test]
async fn nginx_secure_link() {
    let (folder, origin) = (Folder::new(), Origin::plain());
    let Some(peer) = nginx(&folder, &origin) else { return };
    let gateway = gateway(&origin);
    let good = sign(&gateway, "nginx", "/v/a.m3u8", 600);
    let late = sign(&gateway, "nginx", "/v/a.m3u8", -5);
    let targets = [
        good.clone(),
        late,
        changed(&good, "md5=", 3),
        changed(&good, "expires=", 8),
        good.replace("a.m3u8", "b.m3u8"),
        good.replace("/v/a", "/v/A"),
        "/v/a.m3u8".to_owned(),
        good.split("&expires").next().expect("a part").to_owned(),
    ];
    agree(&gateway, &peer, "nginx", &targets).await;
    let good = sign(&gateway, "word", "/v/a.m3u8", 600);
    agree(&gateway, &peer, "word", &[good.clone(), changed(&good, "/p/", 5), good.replace("a.m3u8", "b.m3u8"), "/p/v/a.m3u8".to_owned()])
        .await;
}

#[tokio::test]
async fn traffic_server_plugins() {
    let (folder, origin) = (Folder::new(), Origin::plain());
    let Some(peer) = signed_urls(&folder, &origin) else { return };
    let gateway = gateway(&origin);
    let good = sign(&gateway, "sig", "/v/a.m3u8", 600);
    let targets = [
        good.clone(),
        sign(&gateway, "sig", "/v/a.m3u8", -5),
        changed(&good, "S=", 3),
        changed(&good, "E=", 8),
        changed(&good, "K=", 0),
        good.replace("a.m3u8", "b.m3u8"),
        "/v/a.m3u8".to_owned(),
    ];
    agree(&gateway, &peer, "sig", &targets).await;
    let good = sign(&gateway, "uri", "/v/a.m3u8", 600);
    let targets = [
        good.clone(),
        sign(&gateway, "uri", "/v/a.m3u8", -5),
        changed(&good, "URISigningPackage=", 40),
        good.replace("a.m3u8", "b.m3u8"),
        "/v/a.m3u8".to_owned(),
    ];
    agree(&gateway, &peer, "uri", &targets).await;
}

/// A token after the plugin's documentation.
fn sealed(pairs: &str, secret: &str) -> String {
    let covered = format!("{pairs}&md=");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let mac: String = aws_lc_rs::hmac::sign(&key, covered.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    STANDARD.encode(covered + &mac)
}

#[tokio::test]
async fn traffic_server_access_control() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (secure, plain) = (Origin::tls(ca.acceptor(&ca.issue("origin", &["localhost"]), false)), Origin::plain());
    let Some((peer, address)) = access_control(&folder, &secure, &ca) else { return };
    let gateway = gateway(&plain);
    let now = gateway.clock.now();
    let ours = |expires: i64, starts: Option<i64>| {
        let asked = SignRequest {
            host: "access.test".into(),
            subject: Some("u1".into()),
            key_id: Some("key1".into()),
            expires: Some(now.plus(expires)),
            not_before: starts.map(|starts| now.plus(starts)),
            ..for_path("/v/a.m3u8")
        };
        gateway.sign_with("access", &asked).token
    };
    let (soon, by_key1) = (now.0 + 600, "kid=key1&st=HMAC-SHA-256");
    let good = format!("sub=u1&exp={soon}&{by_key1}");
    let by_recipe = |pairs: &str| sealed(pairs, "secretsecret1");
    for (token, want) in [
        (ours(600, None), true),
        (ours(600, Some(-60)), true),
        (by_recipe(&good), true),
        (sealed(&good.replace("key1", "key2"), "secretsecret2"), true),
        (ours(-5, None), false),
        (ours(600, Some(300)), false),
        (changed(&ours(600, None), "c3Vi", 9), false),
        (sealed(&good, "secretsecret2"), false),
        (by_recipe(&good.replace("key1", "key9")), false),
        (by_recipe(&good.replace("SHA-256", "MD5")), false),
        (by_recipe(&format!("moon=1&{good}")), false),
        (by_recipe(&format!("sub=u1&exp=0&{by_key1}")), false),
        (String::new(), false),
    ] {
        let fields = format!("Host: access.test\r\nCookie: TokenCookie={token}\r\n");
        let ours = gateway.get("/v/a.m3u8", &fields).await.status == 200;
        let (mut raw, _) = client::Raw::tls(address, ca.client(&[&TLS13], &["http/1.1"]), "access.test").await.expect("TLS");
        raw.send(client::head("GET", "/v/a.m3u8", &fields, 0)).await.expect("sent");
        let theirs = raw.answer(false).await.expect("an answer");
        assert_eq!((ours, theirs.status == 200), (want, want), "{token}: {theirs:?}\n{}", peer.process.said());
    }
}
