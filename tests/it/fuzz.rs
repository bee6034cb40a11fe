//! The fuzz targets, bounded: random bytes, and mutations of real tokens and playlists. No parser panics, no key of ours
//! opens anything made up.

#[path = "../fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;
use serde_json::Value;

use tollgate::clock::UnixTime;
use tollgate::demo::origin;
use tollgate::manifest::Kind;
use tollgate::token::SignRequest;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors");

/// Target, cookie and header of every vector that a scheme lets in: what real tokens look like.
fn seeds() -> Vec<(String, String, String)> {
    let mut seeds = Vec::new();
    let entries = std::fs::read_dir(VECTORS).expect("vectors").map(|entry| entry.expect("an entry").path());
    for entry in entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let file: Value = serde_json::from_slice(&std::fs::read(entry).expect("a file")).expect("JSON");
        for vector in file["vectors"].as_array().into_iter().flatten().filter(|vector| vector["expected"] == "allow") {
            let url = vector["input"]["url"].as_str().expect("a URL");
            let rest = url.split_once("://").expect("a scheme").1;
            let header = |wanted: bool| {
                let all = vector["input"]["headers"].as_object().into_iter().flatten();
                all.filter(|(name, _)| name.eq_ignore_ascii_case("cookie") == wanted).find_map(|(_, value)| value.as_str()).unwrap_or("")
            };
            seeds.push((rest[rest.find('/').expect("a path")..].to_owned(), header(true).to_owned(), header(false).to_owned()));
        }
    }
    assert!(seeds.len() > 50, "{}", seeds.len());
    seeds
}

/// `text` with a piece cut out, doubled or replaced; always text.
fn mutated(text: &str, (at, length, how): (usize, usize, u8), with: &str) -> String {
    let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = at % bounds.len();
    let to = (from + length % 9).min(bounds.len() - 1);
    let (before, piece, after) = (&text[..bounds[from]], &text[bounds[from]..bounds[to]], &text[bounds[to]..]);
    match how % 4 {
        0 => format!("{before}{after}"),
        1 => format!("{before}{piece}{piece}{after}"),
        2 => format!("{before}{with}{after}"),
        _ => format!("{before}{with}"),
    }
}

/// What a token's characters are turned into: separators of every scheme, ends of base64, digits, control characters.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9_=~&;:%.!*/+-]{0,4}", Just("%00".to_owned()), Just("eyJ".to_owned()), Just("~acl=/*".to_owned()), "\\PC{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_scheme_takes_what_is_made_up(which in any::<u8>(), text in "\\PC{0,200}") {
        let data = [&[which], text.as_bytes()].concat();
        prop_assert!(!targets::scheme(None, &data));
    }

    #[test]
    fn no_scheme_takes_a_mutated_token_of_others(pick in any::<usize>(), change in any::<(usize, usize, u8)>(), with in piece(), place in 0_u8..3) {
        let seeds = SEEDS.with(|seeds| seeds.clone());
        let (mut target, mut cookie, mut header) = seeds[pick % seeds.len()].clone();
        let text = match place { 1 if !cookie.is_empty() => &mut cookie, 2 if !header.is_empty() => &mut header, _ => &mut target };
        *text = mutated(text, change, &with);
        for scheme in targets::every() {
            prop_assert!(!targets::request(&**scheme, &target, (&cookie, &header)), "{} {target} {cookie} {header}", scheme.kind());
        }
    }

    #[test]
    fn readers_of_text_come_back(data in prop::collection::vec(any::<u8>(), 0..300), change in any::<(usize, usize, u8)>(), with in piece()) {
        targets::target(&data);
        targets::jws(&data);
        targets::content_range(&data);
        targets::keys(&data);
        prop_assert!(!targets::ticket(&data));
        targets::content_range(mutated("bytes 0-9/100", change, &with).as_bytes());
        targets::manifest(Kind::Hls, &data);
        targets::manifest(Kind::Dash, &data);
        targets::target(mutated("/v/a%20b/c.m3u8?a=1&t=%2f", change, &with).as_bytes());
    }
}

thread_local! {
    static SEEDS: std::rc::Rc<Vec<(String, String, String)>> = std::rc::Rc::new(seeds());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_playlists_come_back(change in any::<(usize, usize, u8)>(), with in "[A-Za-z0-9\"<>=#:,/?&;$ \n-]{0,6}", dash: bool) {
        let (path, kind) = if dash { ("/vod/manifest.mpd", Kind::Dash) } else { ("/vod/master.m3u8", Kind::Hls) };
        let text = PLAYLISTS.with(|all| all[usize::from(dash)].clone());
        prop_assert!(text.len() > 100, "{path}");
        targets::manifest(kind, mutated(&text, change, &with).as_bytes());
    }
}

/// Pieces that forms are made of, and that their readers disagree on.
fn form_piece() -> impl Strategy<Value = &'static str> {
    let all = [
        "--XyZ",
        "\r\n",
        "\n",
        "--",
        "Content-Disposition: form-data; name=\"token\"",
        "; filename=\"f\"",
        "\r\n\r\n",
        "\r\n--XyZ--",
        "token=x",
        "&",
        "t%6Fken",
        "=",
        "+",
    ];
    prop::sample::select(all.to_vec())
}

proptest! {
    #[test]
    fn forms_come_back(pieces in prop::collection::vec(form_piece(), 0..30), cut in 1_u8..9) {
        let data = [vec![cut], pieces.concat().into_bytes()].concat();
        targets::multipart(&data);
        targets::urlencoded(&data);
    }
}

thread_local! {
    static PLAYLISTS: [String; 2] = ["master.m3u8", "manifest.mpd"]
        .map(|name| std::fs::read_to_string(format!("{}/src/demo/media/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a playlist"));
}

/// The other way round: what is refused above is refused for a reason, because a token of this key is taken.
#[test]
fn the_targets_know_a_good_token() {
    let mut taken = 0;
    for scheme in targets::every() {
        let request = SignRequest {
            https: true,
            host: "media.example.com".into(),
            path: scheme.sample_path(),
            expires: Some(UnixTime(targets::NOW.0 + 600)),
            now: Some(targets::NOW),
            client_ip: (scheme.kind() == "digest-url").then(|| [198, 51, 100, 7].into()),
            subject: (scheme.kind() == "ats-access-control").then(|| "u1".into()),
            ..SignRequest::default()
        };
        let Ok(signed) = scheme.sign(&request) else { continue };
        let cookies: Vec<String> = signed.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = signed.query.as_ref().map_or_else(|| signed.path.clone(), |query| format!("{}?{query}", signed.path));
        let header = signed.headers.first().map_or("", |(_, value)| value.as_str());
        taken += usize::from(targets::request(&**scheme, &target, (&cookies.join("; "), header)));
    }
    assert!(taken >= 14, "only {taken}");
    assert_eq!(origin::HLS, "/vod/master.m3u8");
}

/// What libFuzzer begins with.
#[test]
#[ignore = "writes tests/fuzz/corpus; run by hand before fuzzing"]
fn write_seeds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");
    let write = |folder: &str, index: usize, seed: &str| {
        let folder = format!("{corpus}/{folder}");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(format!("{folder}/{index}"), seed).expect("written");
    };
    for (index, (target, cookie, header)) in seeds().iter().enumerate() {
        write("seeds-schemes", index, &format!("\0{target}\n{cookie}\n{header}"));
    }
    for (index, text) in PLAYLISTS.with(Clone::clone).iter().enumerate() {
        write(["seeds-hls", "seeds-dash"][index], 0, text);
    }
}
