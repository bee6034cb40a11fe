//! The deny families: ways in which verifiers have been seen to fail. Each has a vector for each scheme that could fail in it,
//! and for each other scheme a reason why it could not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{KEPT, builder, files, read};
use crate::token::scheme::config::SchemeConfig;

/// The files of schemes whose tokens are looked up and not verified.
const OPAQUE: &[&str] = &["apivideo_private"];
/// The files of schemes without names for their keys.
const NO_KEY_NAMES: &[&str] = &["akamai_edgeauth2", "bunny_v2", "digest_url", "wowza_securetoken2", "ziggeo"];

/// A way to fail.
struct Family {
    name: &'static str,
    /// What a verifier that fails does.
    fails: &'static str,
    /// The reasons that its vectors are refused for: any other would mean that something else was seen first.
    denials: &'static [&'static str],
    /// The schemes that cannot fail so, by their files, and why.
    not: &'static [(&'static [&'static str], &'static str)],
}

const FAMILIES: [Family; 15] = [
    Family {
        name: "dup-field",
        fails: "takes the last of a field that comes twice",
        denials: &["duplicate", "malformed", "unsupported"],
        not: &[],
    },
    Family {
        name: "foreign-host-leak",
        fails: "puts the token on links to other hosts",
        denials: &[],
        not: &[(&[], "no verdict on a token: a file of rewritten playlists has it, manifest_rewrite.json")],
    },
    Family {
        name: "prefix-without-boundary",
        fails: "lets /vid1 open /vid10",
        denials: &["path", "bad_signature", "entitlement"],
        not: &[(&["cloudflare_stream"], "the token stands in the place of the id, so there is no other id to hold it against")],
    },
    Family {
        name: "unanchored-regex",
        fails: "finds the pattern anywhere in the path",
        denials: &["path", "missing"],
        not: &[
            (
                &[
                    "akamai_edgeauth2",
                    "amazon_ivs",
                    "apivideo_private",
                    "ats_access_control",
                    "aws_secure_media_delivery",
                    "bunny_v2",
                    "cloudflare_stream",
                    "cloudfront",
                    "digest_url",
                    "google_cloud_cdn",
                    "google_media_cdn",
                    "jwt",
                    "mux",
                    "wowza_securetoken2",
                    "ziggeo",
                ],
                "has no patterns, or wildcards only",
            ),
            (&["cta5007_cat"], "its regex matcher finds a pattern anywhere by definition; whoever signs anchors it"),
        ],
    },
    Family {
        name: "alg-confusion",
        fails: "lets the token choose the algorithm, none among them",
        denials: &["wrong_algorithm", "malformed", "bad_signature"],
        not: &[
            (OPAQUE, "nothing is signed"),
            (&["digest_url", "google_cloud_cdn", "wowza_securetoken2", "ziggeo"], "has one algorithm, which no token names"),
        ],
    },
    Family {
        name: "string-numbers",
        fails: "reads a number out of any text, or takes a text for no number",
        denials: &["claim", "malformed", "unsupported"],
        not: &[
            (OPAQUE, "says no numbers"),
            (
                &[
                    "akamai_edgeauth2",
                    "ats_access_control",
                    "ats_url_sig",
                    "bunny_v2",
                    "digest_url",
                    "google_cloud_cdn",
                    "google_media_cdn",
                    "wowza_securetoken2",
                ],
                "all of it is text",
            ),
        ],
    },
    Family {
        name: "future-dated",
        fails: "takes a token before its time",
        denials: &["not_yet_valid"],
        not: &[(OPAQUE, "says no times"), (&["ats_url_sig", "bunny_v2", "google_cloud_cdn", "ziggeo"], "has no start")],
    },
    Family {
        name: "forever",
        fails: "takes a token without an end, or with an end of zero",
        denials: &["no_expiry", "malformed", "unsupported"],
        not: &[(OPAQUE, "the end is in the record"), (&["ziggeo"], "the vendor's client tokens need no end; their sessions are counted")],
    },
    Family {
        name: "fallback-flags",
        fails: "skips checks because of a flag",
        denials: &["expired", "country", "bad_signature"],
        not: &[(
            &[
                "akamai_edgeauth2",
                "amazon_ivs",
                "apivideo_private",
                "ats_access_control",
                "ats_url_sig",
                "cloudflare_stream",
                "cloudfront",
                "cta5007_cat",
                "digest_url",
                "google_cloud_cdn",
                "google_media_cdn",
                "jwt",
                "mux",
                "rfc9246_uri_signing",
                "wowza_securetoken2",
                "ziggeo",
            ],
            "has no such flag",
        )],
    },
    Family {
        name: "claims-ignored",
        fails: "passes over a restriction that it does not know or does not check",
        denials: &["unsupported", "claim", "address", "country", "parameters", "malformed", "path", "bad_signature"],
        not: &[(OPAQUE, "says nothing"), (&["digest_url"], "has the fields of its template, all of which are hashed")],
    },
    Family {
        name: "mac-not-verified",
        fails: "reads the signature and does not verify it",
        denials: &["bad_signature", "malformed", "not_issued"],
        not: &[],
    },
    Family {
        name: "non-constant-time-compare",
        fails: "tells by its time how much of a signature was right",
        denials: &[],
        not: &[(&[], "no verdict shows it: every comparison goes through one of the functions that compare in constant time")],
    },
    Family {
        name: "cookie-attributes",
        fails: "sets its cookies without Secure, HttpOnly and SameSite",
        denials: &[],
        not: &[(&[], "about answers and not about verdicts: the tests of renewal and of exchange hold it")],
    },
    Family {
        name: "carrier-shadowing",
        fails: "lets one place hide the token of another, or helps a bad one with a good one",
        denials: &["ambiguous", "bad_signature", "path", "duplicate"],
        not: &[(
            &[
                "amazon_ivs",
                "apivideo_private",
                "ats_access_control",
                "aws_secure_media_delivery",
                "cloudflare_stream",
                "digest_url",
                "mux",
                "wowza_securetoken2",
            ],
            "has one place",
        )],
    },
    Family {
        name: "unknown-kid",
        fails: "breaks on the name of a key that nobody has",
        denials: &["unknown_key"],
        not: &[(OPAQUE, "nothing is signed"), (NO_KEY_NAMES, "tokens do not name their keys")],
    },
];

fn vectors() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for path in files(std::path::Path::new(KEPT)).expect("the folder") {
        let file = read(&path).expect("a file");
        let scheme = file["scheme"].as_str().expect("a scheme").to_owned();
        let vectors = file["vectors"].as_array().expect("vectors").iter();
        all.extend(vectors.map(|vector| (scheme.clone(), vector.clone())));
    }
    all
}

/// Whether this is a file of tokens, and not one of playlists.
fn is_scheme(name: &str) -> bool {
    !super::rewriting::is_for(name)
}

#[test]
fn every_family_has_its_vectors() {
    let vectors = vectors();
    let schemes: BTreeSet<&str> = vectors.iter().map(|(scheme, _)| scheme.as_str()).filter(|scheme| is_scheme(scheme)).collect();
    for Family { name, fails, denials, not } in &FAMILIES {
        for scheme in &schemes {
            let exempt = not.iter().find(|(which, _)| which.is_empty() || which.contains(scheme));
            let of = vectors.iter().filter(|(have, vector)| have == scheme && vector["family"] == *name);
            let held: Vec<&str> = of.map(|(_, vector)| vector["denial"].as_str().unwrap_or("")).collect();
            match exempt {
                Some((_, why)) => assert!(held.is_empty(), "{scheme} has vectors of {name}, but: {why}"),
                None => assert!(!held.is_empty(), "{scheme} needs a vector of {name}: a verifier that {fails}"),
            }
            assert!(held.iter().all(|denial| denials.contains(denial)), "{scheme} {name}: {held:?}");
        }
    }
}

#[test]
fn no_vector_is_of_an_unknown_family() {
    for (scheme, vector) in vectors() {
        let Some(family) = vector["family"].as_str() else { continue };
        assert!(FAMILIES.iter().any(|known| known.name == family), "{scheme} {}: {family}", vector["id"]);
        assert!(vector["expected"] == "deny" || !is_scheme(&scheme), "{scheme} {}", vector["id"]);
    }
}

/// A new type of scheme needs its file.
#[test]
fn every_type_of_scheme_has_vectors() {
    let mut kinds: BTreeSet<String> = ["api-key", "apivideo-private", "apivideo-upload"].map(str::to_owned).into();
    for (scheme, vector) in vectors() {
        let build = builder(&scheme).map(|build| build(&serde_json::json!({ "scheme": scheme }), &vector));
        kinds.extend(build.flatten().and_then(Result::ok).map(|scheme| scheme.kind().to_owned()));
    }
    let schema = schemars::schema_for!(SchemeConfig).to_value();
    let types = schema["oneOf"].as_array().expect("one of several").iter();
    let types: BTreeSet<String> = types.filter_map(|one| one["properties"]["type"]["const"].as_str().map(str::to_owned)).collect();
    assert_eq!(kinds, types);
}

#[test]
fn the_readme_says_what_the_families_are() {
    let readme = std::fs::read_to_string(format!("{KEPT}/README.md")).expect("a README");
    for Family { name, fails, .. } in &FAMILIES {
        assert!(readme.contains(&format!("| `{name}` | {fails} |")), "{name}");
    }
    for (scheme, _) in vectors().iter().filter(|(scheme, _)| is_scheme(scheme)) {
        assert!(readme.contains(&format!("| `{scheme}`")), "{scheme}");
    }
}
