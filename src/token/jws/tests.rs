//! Compact JWS: what is taken apart, what is refused, and what Wycheproof says.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key() -> Key {
    let jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(SECRET));
    KeySet::parse(jwk.as_bytes(), Some("k"), None)
        .expect("key")
        .only()
        .expect("one")
        .pinned(super::super::Algorithm::HS256)
        .expect("pinned")
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

/// A token whose header and payload are these bytes, well signed.
fn raw(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = key().sign(signed.as_bytes()).expect("signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn judge(token: &str) -> Result<(), Denial> {
    let jws = Jws::parse(token)?;
    jws.key_id()?;
    jws.verify(&key())?;
    jws.claims().map(|_| ())
}

#[test]
fn headers_are_refused_unless_understood() {
    for (header, verdict) in [
        (r#"{"alg":"HS256"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"JWT","kid":"k","cty":"json","x":1}"#, Ok(())),
        (r#"{"alg":"HS256","jwk":{},"jku":"https://evil.test","x5u":"https://evil.test","x5c":["x"]}"#, Ok(())),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","crit":[]}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","b64":false}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","zip":"DEF"}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","enc":"A128GCM"}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","cty":"JWT"}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","cty":"application/jwt"}"#, Err(Denial::Unsupported)),
        (r#"{"alg":"HS256","cty":1}"#, Err(Denial::Malformed)),
        (r#"{"alg":"HS256","typ":null}"#, Err(Denial::Malformed)),
        (r#"{"alg":"HS256","kid":7}"#, Err(Denial::Malformed)),
        (r#"{"alg":"HS256","kid":""}"#, Err(Denial::Malformed)),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Err(Denial::Malformed)),
        (r#"{"alg":["HS256"]}"#, Err(Denial::Malformed)),
        (r#"{}"#, Err(Denial::Malformed)),
        (r#"[]"#, Err(Denial::Malformed)),
        (r#"{"alg":"none"}"#, Err(Denial::WrongAlgorithm)),
        (r#"{"alg":"hs256"}"#, Err(Denial::WrongAlgorithm)),
        (r#"{"alg":"HS512"}"#, Err(Denial::WrongAlgorithm)),
        (r#"{"alg":"RS256"}"#, Err(Denial::WrongAlgorithm)),
    ] {
        assert_eq!(judge(&raw(header, "{}")), verdict, "{header}");
    }
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(MAX_KEY_ID + 1));
    assert_eq!(judge(&raw(&long, "{}")), Err(Denial::Malformed));
}

#[test]
fn forms_other_than_the_compact_one_are_refused() {
    let good = raw(r#"{"alg":"HS256"}"#, r#"{"a":1}"#);
    assert_eq!(judge(&good), Ok(()));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        signed.into(),
        format!("{signed}."),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen('.', "=.", 1),
        good.replace('.', "+."),
    ] {
        assert!(matches!(judge(&bad), Err(Denial::Malformed | Denial::BadSignature)), "{bad}");
    }
    assert_eq!(judge(&raw(r#"{"alg":"HS256"}"#, r#"{"a":1,"a":2}"#)), Err(Denial::Malformed));
    assert_eq!(judge(&raw(r#"{"alg":"HS256"}"#, "text")), Err(Denial::Malformed));
}

#[test]
fn long_tokens_are_refused_unread() {
    let fill = |length: usize| raw(r#"{"alg":"HS256"}"#, &format!(r#"{{"a":"{}"}}"#, "x".repeat(length)));
    assert_eq!(judge(&fill(6000)), Ok(()));
    assert_eq!(judge(&fill(6200)), Err(Denial::TooLarge));
    assert_eq!(judge(&"x".repeat(MAX + 1)), Err(Denial::TooLarge));
    assert_eq!(judge(&"x".repeat(MAX)), Err(Denial::Malformed));
}

#[test]
fn dates_are_dates_or_refused() {
    let at = |value: Value, dates| date(&map(json!({"exp": value})), "exp", dates);
    for (value, numbers, text) in [
        (json!(1_760_000_000), Some(1_760_000_000), Some(1_760_000_000)),
        (json!(0), Some(0), Some(0)),
        (json!(1_760_000_000.0), Some(1_760_000_000), Some(1_760_000_000)),
        (json!(1_760_000_000.1), Some(1_760_000_001), Some(1_760_000_001)),
        (json!("1760000000"), None, Some(1_760_000_000)),
        (json!(LAST_DATE), Some(LAST_DATE), Some(LAST_DATE)),
        (json!(LAST_DATE + 1), None, None),
        (json!(u64::MAX), None, None),
        (json!(i64::MAX), None, None),
        (json!(1e30), None, None),
        (json!(-1), None, None),
        (json!(-0.5), None, None),
        (json!(null), None, None),
        (json!(true), None, None),
        (json!([1]), None, None),
        (json!({"a": 1}), None, None),
        (json!(""), None, None),
        (json!(" 1"), None, None),
        (json!("+1"), None, None),
        (json!("-1"), None, None),
        (json!("1e3"), None, None),
        (json!("0x10"), None, None),
        (json!("99999999999999999999"), None, None),
    ] {
        let expected = |seconds: Option<i64>| seconds.map(UnixTime).map(Some).ok_or(Denial::Claim);
        assert_eq!(at(value.clone(), Dates::Numbers), expected(numbers), "{value}");
        assert_eq!(at(value.clone(), Dates::NumbersOrText), expected(text), "{value}");
    }
    assert_eq!(date(&Map::new(), "exp", Dates::Numbers), Ok(None));
}

#[test]
fn windows_follow_the_rules() {
    let rules = TimeRules { dates: Dates::Numbers, require_expiry: true, leeway: 0, max_lifetime: None, pass_without_start: false };
    let most = TimeRules { max_lifetime: Some(100), ..rules };
    let loose = TimeRules { require_expiry: false, leeway: 5, ..rules };
    let window = |from, until| Ok(Window { from: UnixTime(from), until: UnixTime(until) });
    for (rules, claims, expected) in [
        (rules, json!({"exp": 100}), window(i64::MIN, 100)),
        (rules, json!({"exp": 100, "nbf": 50}), window(50, 100)),
        (rules, json!({"nbf": 50}), Err(Denial::NoExpiry)),
        (rules, json!({"exp": 100, "nbf": "50"}), Err(Denial::Claim)),
        (rules, json!({"exp": 100, "iat": null}), Err(Denial::Claim)),
        (loose, json!({"exp": 100, "nbf": 50}), window(45, 105)),
        (loose, json!({}), window(i64::MIN, i64::MAX)),
        (most, json!({"exp": 200, "iat": 100}), window(i64::MIN, 200)),
        (most, json!({"exp": 201, "iat": 100}), Err(Denial::Lifetime)),
        (most, json!({"exp": 201, "nbf": 100}), Err(Denial::Lifetime)),
        (most, json!({"exp": 200}), Err(Denial::Lifetime)),
        (TimeRules { pass_without_start: true, ..most }, json!({"exp": 200}), window(i64::MIN, 200)),
        (TimeRules { require_expiry: false, ..most }, json!({"iat": 200}), Err(Denial::NoExpiry)),
    ] {
        assert_eq!(rules.window(&map(claims.clone())), expected, "{claims} {rules:?}");
    }
}

#[test]
fn segments_that_are_meant_as_tokens_are_told_apart() {
    for (segment, meant) in [
        ("eyJhbGciOiJub25lIn0.e30.", true),
        ("eyJhbGciOiJub25lIn0.e30", true),
        ("ewogIm.e30.AA", true),
        ("ea95132c15732412d22c1476fa83f27a", false),
        ("video.en.m3u8", false),
        ("manifest", false),
        ("", false),
    ] {
        assert_eq!(looks_like_one(segment), meant, "{segment}");
    }
}

proptest! {
    #[test]
    fn taking_apart_never_panics(text in "\\PC{0,80}|[A-Za-z0-9_=-]{0,20}\\.[A-Za-z0-9_=-]{0,20}(\\.[A-Za-z0-9_=-]{0,20}){0,2}") {
        let _ = judge(&text);
    }

    #[test]
    fn what_is_signed_is_taken_back(sub in "\\PC{0,20}", number in any::<u32>()) {
        let claims = map(json!({"sub": sub, "n": number}));
        let token = sign(&key(), Map::new(), &claims).expect("signs");
        let jws = Jws::parse(&token).expect("parses");
        prop_assert_eq!(jws.verify(&key()), Ok(()));
        prop_assert_eq!(jws.claims(), Ok(claims));
    }

    #[test]
    fn any_changed_byte_is_refused(at in 0_usize..1000, byte in 0x20_u8..0x7f) {
        let token = raw(r#"{"alg":"HS256","kid":"k"}"#, r#"{"sub":"a","exp":1}"#);
        let mut bytes = token.into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).expect("ascii");
        prop_assert!(judge(&changed).is_err(), "{}", changed);
    }
}

mod wycheproof {
    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/security/corpora/wycheproof");

    /// Signatures judged otherwise than Wycheproof does: its id, our verdict, and why.
    const SIGNATURES: [(u64, bool, &str); 8] = [
        (346, false, "Figure20: the key says alg PS256 and the token PS384; one algorithm a key"),
        (347, false, "Figure27: the key names its algorithm ES521, which is not a name of RFC 7518"),
        (350, false, "Figure20, with key_ops: as 346"),
        (351, false, "Figure27, with key_ops: as 347"),
        (367, true, "invalidBase64Padding: the file has the very bytes of the valid 357, without padding"),
        (370, true, "invalidBase64PaddingInPayload: as 367"),
        (372, false, "InvalidCharacterInsertedInHeader: a character outside the alphabet stands in the header"),
        (373, false, "InvalidCharacterInsertedInPayload: a character outside the alphabet stands in the payload"),
    ];

    /// Keys judged otherwise than Wycheproof does.
    const KEYS: [(u64, bool, &str); 3] = [
        (1, true, "jws_mixedSymmetryKeyset: each key is used with its own algorithm only, so a mixed set confuses nobody"),
        (4, true, "jws_duplicate_kid: the second key of that id is not base64url (unused bits) and is left out, so one remains"),
        (7, true, "jws_rsa_roca_key: keys are the operator's or the issuer's; weak primes of one maker are not looked for"),
    ];

    fn verdicts(exceptions: &[(u64, bool, &str)]) -> Vec<(u64, bool)> {
        exceptions.iter().map(|(id, accepted, _)| (*id, *accepted)).collect()
    }

    fn groups(name: &str) -> Option<Vec<Value>> {
        let path = format!("{FOLDER}/{name}");
        let Ok(text) = std::fs::read(&path) else {
            eprintln!("skipped: {path} is not here");
            return None;
        };
        let file: Value = serde_json::from_slice(&text).expect("json");
        Some(file["testGroups"].as_array().expect("groups").clone())
    }

    /// Payloads there are any bytes, not claims; everything else is as for a token.
    fn accepts(keys: &Value, jws: &str) -> bool {
        let Ok(keys) = KeySet::parse(keys.to_string().as_bytes(), None, None) else { return false };
        // Some of the signatures alone are longer than a token may be; length has its own test.
        let Ok(jws) = Jws::parse_within(jws, 1 << 20) else { return false };
        let Ok(id) = jws.key_id() else { return false };
        choose(&keys, id).is_ok_and(|key| jws.verify(key).is_ok())
    }

    /// Decides every test; gives the ids of those that went otherwise than the file says.
    fn surprises(name: &str) -> Option<(usize, Vec<(u64, bool)>)> {
        let (mut count, mut surprises) = (0, Vec::new());
        for group in groups(name)? {
            let keys = group.get("public").or_else(|| group.get("private")).expect("a key");
            for test in group["tests"].as_array().expect("tests") {
                count += 1;
                let accepted = accepts(keys, test["jws"].as_str().expect("jws"));
                if accepted != (test["result"] == "valid") {
                    surprises.push((test["tcId"].as_u64().expect("id"), accepted));
                }
            }
        }
        Some((count, surprises))
    }

    #[test]
    fn signatures() {
        let Some((count, surprises)) = surprises("json_web_signature_test.json") else { return };
        assert_eq!(count, 401);
        assert_eq!(surprises, verdicts(&SIGNATURES));
    }

    #[test]
    fn keys() {
        let Some((count, surprises)) = surprises("json_web_key_test.json") else { return };
        assert_eq!(count, 26);
        assert_eq!(surprises, verdicts(&KEYS));
    }
}
