//! Rules: each fault of meaning, said where it stands.

use super::{GOOD, load_toml};

const ADDRESS: &str = "origin = \"media\"\ninject = [{ credential = \"c\", into = \"address\" }]";

/// `GOOD` with one text put in place of another, and what must be said about it.
#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, says) in [
        ("accept = [\"player\"]", "accept = [\"playr\"]", "there is no scheme `playr`"),
        ("origin = \"media\"", "origin = \"medai\"", "there is no origin `medai`"),
        ("keys = \"main\"", "keys = \"mian\"", "there is no key set `mian`"),
        ("accept = [\"player\"]", "", "says neither which schemes"),
        ("accept = [\"player\"]", "accept = [\"player\"]\npublic = true", "is public and asks for tokens"),
        ("origin = \"media\"", "origin = \"media\"\npath = \"v\"", "`path` is not a path"),
        ("origin = \"media\"", "origin = \"media\"\npath = \"/a/../b\"", "dot segment"),
        ("origin = \"media\"", "origin = \"media\"\nrewrite_prefix = \"x\"", "`rewrite_prefix` is not a path"),
        ("origin = \"media\"", "origin = \"media\"\nhosts = [\"Example.com\"]", "lower case"),
        ("origin = \"media\"", "origin = \"media\"\nhosts = [\"a.*.com\"]", "may only stand in front"),
        ("origin = \"media\"", "origin = \"media\"\nmethods = [\"get\"]", "methods tell case apart"),
        ("origin = \"media\"", "origin = \"media\"\nmethods = [\"G T\"]", "not a method"),
        ("origin = \"media\"", "origin = \"media\"\nmethods = []", "serves nothing"),
        ("origin = \"media\"", "origin = \"media\"\ncors = { allow_credentials = true }", "needs a list of origins"),
        ("origin = \"media\"", "origin = \"media\"\ncors = { allow_origins = [\"example.com\"] }", "not a web origin"),
        (
            "origin = \"media\"",
            "origin = \"media\"\n[[routes]]\nname = \"media\"\npath = \"/b\"\norigin = \"media\"\npublic = true",
            "has the name `media` already",
        ),
        (
            "origin = \"media\"",
            "origin = \"media\"\n[[routes]]\nname = \"b\"\norigin = \"media\"\npublic = true",
            "both match GET / on every host",
        ),
        ("[\"http://127.0.0.1:3000\"]", "[\"http://a/b\"]", "holds a path"),
        ("[\"http://127.0.0.1:3000\"]", "[\"http://u:p@a\"]", "user name or password"),
        ("[\"http://127.0.0.1:3000\"]", "[]", "at least one endpoint"),
        ("[\"http://127.0.0.1:3000\"]", "[\"http://a\"]\nconnect_timeout = 0", "must not be 0"),
        ("[\"http://127.0.0.1:3000\"]", "[\"http://a\"]\nhost = \"perserve\"", "neither a word"),
        ("[\"http://127.0.0.1:3000\"]", "[\"https://a\"]\ntls = { client_cert_file = \"a\" }", "needs its `client_key_file`"),
        ("[keys.main]", "[log.access]\nsample = nan\n[keys.main]", "must be a number"),
        ("[keys.main]", "[log.access]\nsample = 1.5\n[keys.main]", "from 0 to 1"),
        ("[keys.main]", "[log]\nlevel = \"a=b=c\"\n[keys.main]", "not a log level"),
        ("[keys.main]", "[server]\nlisteners = []\n[keys.main]", "there is no listener"),
        ("[keys.main]", "[server.limits]\nmax_uri = 0\n[keys.main]", "must not be 0"),
        ("[keys.main]", "[admin]\naddress = \"127.0.0.1:8080\"\n[keys.main]", "listener for callers already"),
        ("origin = \"media\"", "origin = \"media\"\nsession = { max_duration = 0 }", "`max_duration` must be a second or more"),
        ("origin = \"media\"", ADDRESS, "needs the route's `upload` table"),
        ("origin = \"media\"", ADDRESS, "needs the route's `answers` table"),
        ("origin = \"media\"", &ADDRESS.replace("}]", "}, { credential = \"c\", into = \"bearer\" }]"), "stands alone"),
        ("origin = \"media\"", "origin = \"media\"\nbind = { same = [\"country\"] }", "the country of an address is asked for"),
        ("origin = \"media\"", "origin = \"media\"\nbind = { same = [\"system\"] }", "set `verifier.asn_file`"),
        ("origin = \"media\"", "origin = \"media\"\nbind = { same = [] }", "nobody is near"),
        ("origin = \"media\"", "origin = \"media\"\nbind = { ipv4_prefix = 40 }", "must be 32 or less"),
        ("origin = \"media\"", "origin = \"media\"\nbind = { ipv4_prefx = 24 }", "did you mean `ipv4_prefix`?"),
        ("keys = \"main\"", "keys = \"main\"\nseal = { attributes = [\"country\"], secret = \"s\" }", "set `verifier.geoip_file`"),
        ("[keys.main]", "[keys.none]\n[keys.main]", "nowhere where its keys come from"),
        ("[keys.main]", "[keys.main]\nurl = \"https://a/b\"", "keys come from one place"),
    ] {
        let toml = GOOD.replace(from, to);
        let faults = load_toml(&toml).expect_err(&toml);
        assert!(faults.to_string().contains(says), "{toml}\n{faults}");
        assert!(faults.0.iter().all(|fault| fault.place.is_some()), "{toml}\n{faults}");
    }
}

/// Tables put before those of `GOOD`, or instead of its session, and what must be said about it: the key, and the line.
#[test]
fn what_looks_into_the_ledger_or_counts_sessions_needs_them() {
    const LEDGER: &str = "[ledger]\nfolder = \"ledger\"\n";
    const ZIGGEO: &str = "type = \"ziggeo\"\nkeys = \"main\"\napplication_token = \"a\"\n";
    let scheme = |table: &str| GOOD.replace("[schemes.player]\ntype = \"jwt\"\nkeys = \"main\"\n", &format!("[schemes.player]\n{table}"));
    let control = |more: &str| format!("{LEDGER}[control]\n{more}\n{GOOD}");
    let with_session = |toml: &str| format!("{toml}\n[routes.session]\npropagation = \"none\"\n");
    let cases = [
        (scheme("type = \"apivideo-upload\"\n"), Some("schemes.player.type"), "looked up in the ledger"),
        (scheme("type = \"api-key\"\ndialect = \"apivideo\"\n"), Some("schemes.player.type"), "looked up in the ledger"),
        (scheme("type = \"apivideo-private\"\n"), Some("schemes.player.type"), "looked up in the ledger"),
        (with_session(&scheme(&format!("{ZIGGEO}account = \"acme\"\n"))), Some("schemes.player.type"), "looked up in the ledger"),
        (with_session(&scheme(ZIGGEO)), None, "`server_auth`"),
        (scheme("type = \"cloudflare-stream\"\nkeys = \"main\"\naccount = \"acme\"\n"), Some("schemes.player.account"), "in the ledger"),
        (GOOD.replace("secret = \"canary-in-the-keys\"", "ledger = \"acme\""), Some("keys.main.ledger"), "no ledger to take keys from"),
        (format!("{LEDGER}{}", scheme(ZIGGEO)), Some("routes[0].accept[0]"), "the route has none"),
        (control("[control.policies.p]\nscheme = \"playr\""), Some("control.policies.p.scheme"), "there is no scheme `playr`"),
        (control("[control.policies.p]\nscheme = \"player\"\nttl = \"2days\""), Some("control.policies.p.ttl"), "longer than `max_ttl`"),
        (control("allowed_origins = [\"https://a\", \"https://a/b\"]"), Some("control.allowed_origins[1]"), "not a web origin"),
        (control("allowed_origins = [\"*\"]"), Some("control.allowed_origins[0]"), "not a web origin"),
        (control("allowed_origins = [\"https://*.a\"]"), Some("control.allowed_origins[0]"), "not a web origin"),
        (control("allowed_origins = [\"https://A\"]"), Some("control.allowed_origins[0]"), "not a web origin"),
    ];
    for (toml, key, says) in cases {
        let loaded = load_toml(&toml);
        let found = match (key, &loaded) {
            (Some(_), Err(faults)) => faults,
            (None, Ok(loaded)) => &loaded.warnings,
            _ => panic!("{toml}\n{loaded:?}"),
        };
        assert!(found.to_string().contains(says), "{toml}\n{found}");
        assert!(found.0.iter().all(|fault| fault.place.is_some()), "{toml}\n{found}");
        if let Some(key) = key {
            assert_eq!(found.0.iter().map(|fault| fault.key.to_string()).collect::<Vec<_>>(), [key], "{toml}\n{found}");
        }
    }
    let uploads = with_session(&scheme(ZIGGEO)).replace("origin = \"media\"", "origin = \"media\"\nmethods = [\"POST\"]");
    for good in [uploads.split("[routes.session]").next().expect("the rest").to_owned(), with_session(&scheme(ZIGGEO))] {
        let loaded = load_toml(&format!("{LEDGER}{good}")).unwrap_or_else(|faults| panic!("{good}\n{faults}"));
        assert_eq!(loaded.warnings.to_string(), "", "{good}");
    }
}

#[test]
fn what_is_wrong_with_a_routes_sessions_is_said_at_the_line() {
    let toml = GOOD.replace(
        "origin = \"media\"",
        "origin = \"media\"\n[routes.session]\nparameter = \"a b\"\nentries = [\".ts\"]\nidle_timeout = 0\n",
    );
    let faults = load_toml(&toml).expect_err("three faults");
    assert_eq!(faults.0.len(), 3, "all of them: {faults}");
    let text = faults.to_string();
    for (line, key) in toml.lines().enumerate().filter(|(_, line)| line.starts_with("parameter") || line.starts_with("entries")) {
        assert!(text.contains(&format!(":{}:", line + 1)), "line {} ({key}) in {text}", line + 1);
    }
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    assert_eq!(load_toml(GOOD).expect("loads").warnings.to_string(), "");
    for (add, says) in [
        ("[keys.more]\nsecret = \"x\"\n", "no scheme uses `keys.more`"),
        ("[schemes.more]\ntype = \"mux\"\nkeys = \"main\"\n", "no route uses `schemes.more`"),
        ("[origins.more]\nendpoints = [\"http://a\"]\n", "no route uses `origins.more`"),
        ("[schemes.player.claims]\ncountries = \"c\"\n", "set `verifier.geoip_file`"),
        ("[schemes.player.claims]\nsystems = \"s\"\n", "set `verifier.asn_file`"),
        ("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", "believes every peer"),
    ] {
        let loaded = load_toml(&format!("{GOOD}\n{add}")).expect(add);
        assert!(loaded.warnings.to_string().contains(says), "{}", loaded.warnings);
        assert!(loaded.warnings.0.iter().all(|fault| fault.place.is_some()));
    }
}

#[test]
fn routes_that_differ_in_anything_do_not_collide() {
    for more in ["hosts = [\"a\"]", "path = \"/a\"", "methods = [\"POST\"]"] {
        let toml = format!("{GOOD}\n[[routes]]\nname = \"b\"\norigin = \"media\"\npublic = true\n{more}\n");
        load_toml(&toml).expect(more);
    }
}
