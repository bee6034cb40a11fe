//! Live servers that verify by themselves, on loopback: what we sign they let in, and on every mutation of it their verdict is ours.
//!
//! nginx with `secure_link`, Apache Traffic Server with its plugins `url_sig` and `uri_signing`; `tests/run` installs them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use tollgate::clock::{Clock, UnixTime};
use tollgate::token::SignRequest;

use crate::peer::{self, Peer, free_port};
use crate::rig::Folder;
use crate::support::gateway::{for_path, target};
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

/// Its runroot, so that nothing outside of the folder is read or written.
fn traffic_server(folder: &Folder, origin: &Origin) -> Option<Peer> {
    const PLUGINS: &str = "/usr/lib/trafficserver/modules";
    let program = tool::find("traffic_server");
    let missing = if program.is_none() { Some("trafficserver") } else { None };
    let missing = missing.or_else(|| (!Path::new(PLUGINS).join("url_sig.so").exists()).then_some("trafficserver-experimental-plugins"));
    if !tool::here("Apache Traffic Server with url_sig and uri_signing", missing) {
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
            "CONFIG proxy.config.http.server_ports STRING {}:ip-in=127.0.0.1\nCONFIG proxy.config.http.cache.http INT 0\n\
             CONFIG proxy.config.admin.user_id STRING #-1\nCONFIG proxy.config.exec_thread.autoconfig INT 0\n\
             CONFIG proxy.config.exec_thread.limit INT 1\nCONFIG proxy.config.proxy_name STRING peer\n",
            address.port()
        ),
    );
    folder.file("etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n");
    folder.file("etc/storage.config", "var/none 1M\n");
    let keys: String = (0..16).map(|index| format!("key{index} = secretsecret{index}\n")).collect();
    let sig = folder.file("etc/url_sig.config", &format!("{keys}error_url = 403\n"));
    let jwk = json!({ "alg": "HS256", "kid": "k", "kty": "oct", "k": OCTETS });
    let uri = folder.file("etc/uri.json", &json!({ "us": { "renewal_kid": "k", "strip_token": true, "keys": [jwk] } }).to_string());
    let line = |host: &str, plugin: &str, file: &Path| {
        format!("map http://{host}/ http://{}/ @plugin={plugin} @pparam={}\n", origin.addr, file.display())
    };
    folder.file(
        "etc/remap.config",
        &(line("uri.test", "uri_signing.so", &uri) + line("sig.test", "url_sig.so", &sig).trim_end() + " @pparam=pristineurl\n"),
    );
    let root = folder.file("runroot.yaml", &layout);
    Some(Peer::start(Command::new(program?).arg(format!("--run-root={}", root.display())), address))
}

/// A gateway that accepts what the peers do, at the real time.
fn gateway(origin: &Origin) -> Gateway {
    let schemes = json!({
        "nginx": { "type": "digest-url", "keys": "word", "preset": "nginx-secure-link" },
        "word": { "type": "digest-url", "keys": "word", "preset": "nginx-secure-link-secret", "require_expiry": false },
        "sig": { "type": "ats-url-sig", "keys": "sixteen" },
        "uri": { "type": "rfc9246", "keys": "uri", "issuers": ["us"] },
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
    let Some(peer) = traffic_server(&folder, &origin) else { return };
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
