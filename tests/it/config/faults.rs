//! What operators read when something is wrong.

use super::{Folder, GOOD, faults_of, load_toml, load_with};
use tollgate::config::{Faults, Sources, load, load_checked};

const CANARY: &str = "canary-hunter2";

fn one(faults: &Faults) -> String {
    assert_eq!(faults.0.len(), 1, "{faults}");
    faults.to_string()
}

#[test]
fn a_typo_reads_like_a_compilers_fault() {
    let text = one(&faults_of("# top\n[server]\nlistner = \"0.0.0.0:80\"\n"));
    assert!(text.starts_with("error: unknown key `listner` in `server`\n  --> "), "{text}");
    let rest = "gw.toml:3:1\n   |\n 3 | listner = \"0.0.0.0:80\"\n   | ^^^^^^^ did you mean `listeners`?";
    assert!(text.ends_with(rest), "{text}");
}

#[test]
fn a_typo_in_every_table_has_a_hint() {
    for (typo, meant) in [
        ("[servr]\nworkers = 1\n", "server"),
        ("[server]\nworkrs = 1\n", "workers"),
        ("[[server.listeners]]\naddress = \"127.0.0.1:1\"\nh2 = true\n", "h2c"),
        ("[[server.listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificats = [] , certificates = []}\n", "certificates"),
        ("[server.limits]\nmax_heads = 1\n", "max_head"),
        ("[admin]\nadress = \"127.0.0.1:1\"\n", "address"),
        ("[log]\nlevl = \"info\"\n", "level"),
        ("[log.access]\nsampel = 1.0\n", "sample"),
        ("[verifier]\nremembred = 1\n", "remembered"),
        ("[keys.main]\nsercet = \"x\"\n", "secret"),
        ("[schemes.player]\ntype = \"jwt\"\nkeys = \"main\"\nkey = \"x\"\n", "keys"),
        ("[schemes.player]\ntype = \"jwtt\"\nkeys = \"main\"\n", "jwt"),
        ("[credentials.a]\ntype = \"mux\"\nissue = \"direct-upload\"\nscop = \"session\"\n", "scope"),
        ("[credentials.a]\ntype = \"apivideo\"\nkeep = { max_value = 3 }\n", "max_values"),
        ("[origins.media]\nendpoints = [\"http://a\"]\nretrys = 1\n", "retries"),
        ("[origins.media]\nendpoints = [\"http://a\"]\n[origins.media.tls]\nca_fil = \"x\"\n", "ca_file"),
        ("[[routes]]\nname = \"a\"\norigin = \"b\"\npublic = true\nmethod = [\"GET\"]\n", "methods"),
        ("[[routes]]\nname = \"a\"\norigin = \"b\"\npublic = true\ncors = { max_ages = \"1s\" }\n", "max_age"),
        ("[log]\nformat = \"jsno\"\n", "json"),
    ] {
        let faults = faults_of(typo);
        let hints: Vec<&str> = faults.0.iter().filter_map(|fault| fault.hint.as_deref()).collect();
        let wanted = [format!("did you mean `{meant}`?"), format!("did you mean \"{meant}\"?")];
        assert!(hints.iter().any(|hint| wanted.iter().any(|wanted| wanted == hint)), "{typo}: {faults}");
        assert!(faults.0.iter().all(|fault| fault.place.is_some()), "{typo}: {faults}");
    }
}

#[test]
fn a_key_in_the_wrong_table_is_told_its_own() {
    assert!(one(&faults_of("[server]\nmax_head = 5\n")).ends_with("^^^^^^^^ `max_head` is a key of `server.limits`"));
}

#[test]
fn all_faults_come_in_one_run_with_their_lines() {
    let faults = faults_of(
        r#"[server]
workers = "many"
drain_timeout = "soon"
listner = 1
[server.limits]
max_head = "big"
max_headers = -1
[admin]
address = "localhost"
[log]
format = "xml"
[log.access]
min_status = 70000
[schemes.a]
type = "jwtt"
[schemes.b]
keys = "k"
[schemes.c]
type = "mux"
keys = "not a name"
[origins.o]
connect_timeout = 5
[[routes]]
name = "r"
accept = "x"
[[routes]]
name = "bad name"
origin = "o"
public = true
"#,
    );
    let lines: Vec<(usize, &str)> =
        faults.0.iter().map(|f| (f.place.as_ref().and_then(|p| p.line).unwrap_or(0), f.message.as_str())).collect();
    let wanted = [2, 3, 4, 6, 7, 9, 11, 13, 15, 16, 20, 21, 22, 23, 25, 27];
    assert_eq!(lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), wanted, "{faults}");
}

#[test]
fn faults_of_rules_come_with_faults_of_shape() {
    let faults = faults_of(
        "[log.access]\nsample = 2.0\n[admin]\nenabled = \"yes\"\n[[routes]]\nname = \"a\"\norigin = \"nowhere\"\npublic = true\n",
    );
    let lines: Vec<_> = faults.0.iter().filter_map(|fault| fault.place.as_ref()?.line).collect();
    assert_eq!(lines, [2, 4, 7], "{faults}");
}

#[test]
fn a_fault_inside_a_union_points_at_the_key() {
    let faults = faults_of("[schemes.c]\ntype = \"mux\"\nkeys = \"not a name\"\n");
    assert_eq!(faults.0[0].key.to_string(), "schemes.c.keys");
    assert_eq!(faults.0[0].place.as_ref().and_then(|place| place.column), Some(8));
}

/// Keys that several tables share are read last, when the rest of the table has been looked through.
#[test]
fn a_fault_in_a_key_that_many_tables_have_points_at_it() {
    for (table, key, line) in [
        ("[schemes.j]\ntype = \"jwt\"\nkeys = \"k\"\nleeway = \"soon\"\n", "schemes.j.leeway", 4),
        ("[schemes.s]\nkeys = \"k\"\nmax_lifetime = 5\ntype = \"aws-smd\"\n", "schemes.s.max_lifetime", 3),
        ("[credentials.m]\ntype = \"mux\"\nissue = \"direct-upload\"\nkeep.wait = \"soon\"\n", "credentials.m.keep.wait", 4),
        (
            "[credentials.z]\ntype = \"ziggeo\"\napplication_token = \"a\"\nendpoint = { timeout = \"\" }\n",
            "credentials.z.endpoint.timeout",
            4,
        ),
    ] {
        let faults = faults_of(table);
        let told: Vec<_> = faults.0.iter().filter(|fault| fault.message.contains("duration")).collect();
        assert_eq!(told.len(), 1, "{faults}");
        assert_eq!((told[0].key.to_string().as_str(), told[0].place.as_ref().and_then(|place| place.line)), (key, Some(line)), "{faults}");
        assert!(!faults.to_string().contains("missing field"), "{faults}");
    }
}

#[test]
fn syntax_faults_of_all_files_are_told() {
    let folder = Folder::new();
    let files = vec![
        folder.file("a.toml", "[server\nworkers = 1\n[admin]\nenabled = maybe\n"),
        folder.file("b.yaml", "server:\n  workers: [1\n"),
        folder.file("c.json", "{\n  \"server\": }\n"),
        folder.file("d.ini", ""),
        folder.0.path().join("none.toml"),
    ];
    let faults = load(&Sources { files, ..Sources::default() }).expect_err("faults");
    let at = |name: &str| faults.0.iter().filter(|f| f.source.as_deref().is_some_and(|s| s.ends_with(name))).collect::<Vec<_>>();
    assert_eq!(at("a.toml").iter().filter_map(|f| f.place.as_ref()?.line).collect::<Vec<_>>(), [1, 4], "{faults}");
    assert!(at("b.yaml")[0].place.is_some(), "{faults}");
    assert_eq!(at("c.json")[0].place.as_ref().and_then(|p| p.line), Some(2), "{faults}");
    assert_eq!(at("d.ini")[0].hint.as_deref(), Some("name it .toml, .yaml, .yml or .json"));
    assert_eq!(at("none.toml").len(), 1);
}

#[test]
fn yaml_faults_name_file_and_line() {
    let yaml = "server:\n  workers: many\n  listner: 1\nroutes:\n  - name: a\n    public: true\n    origin: b\n    methods: [get]\norigins:\n  b:\n    endpoints: [\"http://a/\"]\n    idle_timeout: long\n";
    let faults = load_with("gw.yaml", yaml, &[], &[]).expect_err("faults");
    let places: Vec<_> = faults.0.iter().filter_map(|f| f.place.as_ref()).map(|p| (p.line, p.column)).collect();
    let at = |line, column| (Some(line), Some(column));
    assert_eq!(places, [at(2, 12), at(3, 3), at(8, 15), at(11, 17), at(12, 19)], "{faults}");
    assert!(faults.0.iter().all(|f| f.source.as_deref().is_some_and(|s| s.ends_with("gw.yaml"))));
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    for (name, value, says) in [
        ("TOLLGATE_SERVER__WORKERS", "many", "environment variable TOLLGATE_SERVER__WORKERS"),
        ("TOLLGATE_SERVER__LIMITS__HEAD_TIMEOUT", "soon", "environment variable TOLLGATE_SERVER__LIMITS__HEAD_TIMEOUT"),
        ("TOLLGATE_SERVER__WORKRS", "1", "TOLLGATE_SERVER__WORKRS=1\n  | ^^^^^^^^^^^^^^^^^^^^^^^ did you mean `TOLLGATE_SERVER__WORKERS`?"),
        ("TOLLGATE_SERVR__WORKERS", "1", "did you mean `TOLLGATE_SERVER__WORKERS`?"),
        ("TOLLGATE_ROUTES__5__PATH", "/", "the next one is 1"),
        ("TOLLGATE_ROUTES__x__PATH", "/", "0 is the first"),
        ("TOLLGATE_ROUTES__0__ORIGIN", "medai", "did you mean `media`?"),
        ("TOLLGATE_WORKERS", "1", "`workers` is a key of `server`"),
    ] {
        let faults = load_with("gw.toml", GOOD, &[(name, value)], &[]).expect_err(name);
        let text = one(&faults);
        assert!(text.contains(says) && text.contains(&format!("environment variable {name}")), "{text}");
    }
    let faults = load_with("gw.toml", GOOD, &[], &[("server.workers", "many")]).expect_err("flag");
    assert!(one(&faults).contains("flag --set server.workers"), "{faults}");
}

#[test]
fn secrets_are_never_shown() {
    let c = CANARY;
    for toml in [
        format!("[keys.a]\nsecret = \"{c}\"\n[server]\nworkers = \"x\"\n"),
        format!("[keys.a]\nsekret = \"{c}\"\n"),
        format!("[keys.a]\nmystery = \"{c}\"\n"),
        format!("[keys.a]\nsecret = [\"{c}\"]\n"),
        format!("[keys.a]\nsecret = {{ value = \"{c}\" }}\n"),
        format!("[keys.a.by_id.x]\nsecret = \"{c}\"\nid = 1\n"),
        format!("[keys]\na = \"{c}\"\n"),
        format!("[keys]\na = {{ secret = \"{c}\", encodng = \"hex\" }}\n"),
        format!("[keys.a]\ninline = '''\n{c}\n''' x\n"),
        format!("[keys.a]\nsecret = \"{c}\n"),
        format!("[keys.a]\nsecret = {c}\n"),
        format!("[keys.a]\nsecret = \"x\"\nsecret = \"{c}\"\n"),
        format!("[keys.a]\nsecret = \"{c}\"\nfile = \"x\"\n"),
        format!("[key.a]\nsecret = \"{c}\"\n"),
        format!("secret = \"{c}\"\n"),
        format!("[server]\nsecret = \"{c}\"\n"),
        format!("[schemes.a]\ntype = \"jwt\"\nkeys = \"k\"\nsecret = \"{c}\"\n"),
        format!("[schemes.a]\nsecret = \"{c}\"\n"),
        format!("[origins.a]\nendpoints = [\"http://u:{c}@a\"]\n"),
    ] {
        let faults = faults_of(&toml);
        let json = serde_json::to_string(&faults).expect("json");
        let told = format!("{faults} {faults:?} {json}");
        assert!(!told.contains(c), "{toml}\n{faults}");
    }
    for yaml in [
        format!("keys:\n  a:\n    secret: {c}\n    id: [1]\n"),
        format!("keys:\n  a:\n    secret: \"{c}\n"),
        format!("keys: {{a: {{sekret: {c}}}}}\n"),
    ] {
        let faults = load_with("gw.yaml", &yaml, &[], &[]).expect_err("faults");
        assert!(!format!("{faults} {faults:?}").contains(c), "{yaml}\n{faults}");
    }
    for (name, value) in
        [("TOLLGATE_KEYS__A__SEKRET", c), ("TOLLGATE_KEYS__A__SECRET__X", c), ("TOLLGATE_KEYS__A", c), ("TOLLGATE_KEY__A__SECRET", c)]
    {
        let faults = load_with("gw.toml", GOOD, &[(name, value)], &[("keys.b.sercet", c)]).expect_err(name);
        assert!(!format!("{faults} {faults:?}").contains(c), "{name}\n{faults}");
    }
    let loaded = load_toml(GOOD).expect("loads");
    assert!(!format!("{loaded:?}").contains("canary"));
}

#[test]
fn files_are_looked_at_and_further_checks_have_places() {
    let folder = Folder::new();
    let file = folder.file("gw.toml", &GOOD.replace("secret = \"canary-in-the-keys\"", "file = \"a.pem\""));
    let sources = Sources { files: vec![file], ..Sources::default() };
    let missing = load_checked(&sources, &|_, _| Vec::new()).expect_err("no such file");
    assert_eq!(missing.0[0].place.as_ref().and_then(|place| place.line), Some(3), "{missing}");

    folder.file("a.pem", "nonsense");
    load_checked(&sources, &|_, _| Vec::new()).expect("loads");
    let extra = load_checked(&sources, &|config, base| {
        assert!(base.is_absolute() && config.keys.contains_key("main"));
        vec![(tollgate::config::KeyPath::top("keys").key("main").key("file"), "not a key".to_owned())]
    });
    let text = one(&extra.expect_err("extra"));
    assert!(text.starts_with("error: not a key\n") && text.contains(":3:8"), "{text}");
}

const GOOD_YAML: &str = "keys:
  main:
    secret: canary-in-the-keys
schemes:
  player: {type: jwt, keys: main}
origins:
  media:
    endpoints: ['http://127.0.0.1:3000']
routes:
  - {name: media, accept: [player], origin: media}
";

/// A reader of faults must not learn a secret from any slip of the pen.
#[test]
fn no_slip_of_the_pen_shows_a_secret() {
    for (name, good) in [("gw.toml", GOOD), ("gw.yaml", GOOD_YAML)] {
        load_with(name, good, &[], &[]).expect("good");
        for at in 0..good.len() {
            for slip in ["", "\"", "=", "\n", "#"] {
                let mut text = good.to_owned();
                text.replace_range(at..=at, slip);
                let Err(faults) = load_with(name, &text, &[], &[]) else { continue };
                let told = format!("{faults} {faults:?}");
                assert!(!told.contains("canary") && !told.contains("the-keys"), "{text}\n{faults}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_panic(name in "(a\\.toml|a\\.yaml|a\\.json)", text in "([\\[\\]{}=:,\"'\n -]|server|keys|routes|schemes|type|1|é|x|\\PC){0,40}") {
        let _ = load_with(&name, &text, &[], &[]);
    }

    #[test]
    fn no_variable_makes_loading_panic(name in "(SERVER|ROUTES|KEYS|0|1|x|__|_|é){0,8}", value in "\\PC{0,12}") {
        let name = format!("TOLLGATE_{name}");
        let _ = load_with("gw.toml", GOOD, &[(&name, &value)], &[]);
    }
}
