//! Tokens that are maps inside something else: CBOR in COSE, JSON under a cipher.

use ciborium::{Value as Cbor, cbor};
use serde_json::{Value, json};

use super::super::APP;
use super::{Asked, END, File, Hash, NOW, PATH, base64url, get};
use crate::token::ziggeo::Cipher;

fn bytes(value: &Cbor) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("CBOR");
    out
}

/// A Common Access Token: COSE_Mac0 with tags (RFC 9052 §6.2), its MAC as `change` leaves it.
fn cat(claims: Vec<(Cbor, Cbor)>, (algorithm, kid): (i64, &str), change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let protected = bytes(&cbor!({ 1 => algorithm }).expect("CBOR"));
    let payload = bytes(&Cbor::Map(claims));
    let structure =
        Cbor::Array(vec![Cbor::Text("MAC0".into()), Cbor::Bytes(protected.clone()), Cbor::Bytes(Vec::new()), Cbor::Bytes(payload.clone())]);
    let mac = change(Hash::Sha256.mac(&[7; 32], &[&bytes(&structure)]));
    let unprotected = Cbor::Map(vec![(4.into(), Cbor::Bytes(kid.as_bytes().to_vec()))]);
    let parts = Cbor::Array(vec![Cbor::Bytes(protected), unprotected, Cbor::Bytes(payload), Cbor::Bytes(mac)]);
    base64url(bytes(&Cbor::Tag(61, Box::new(Cbor::Tag(17, Box::new(parts))))))
}

pub(super) fn cta_5007(file: &mut File) {
    const HS256: (i64, &str) = (5, "a");
    let claims = |more: Cbor| -> Vec<(Cbor, Cbor)> {
        let good = cbor!({ 1 => "iss", 4 => END, 312 => { 3 => { 1 => "/vid1" } } }).expect("CBOR");
        let (good, more) = (good.into_map().expect("a map"), more.into_map().expect("a map"));
        // What is added comes instead of what was there.
        good.into_iter().filter(|(label, _)| !more.iter().any(|(other, _)| other == label)).chain(more.clone()).collect()
    };
    let none = || Cbor::Map(Vec::new());
    let at = |path: &str, token: &str| get(path).header("cta-common-access-token", token);
    let with = |more: Result<Cbor, ciborium::value::Error>| at(PATH, &cat(claims(more.expect("CBOR")), HS256, |mac| mac));
    let good = cat(claims(none()), HS256, |mac| mac);
    file.allow("forged-as-the-others", &at(PATH, &good), "well made, as those that are refused");
    let mut twice = claims(none());
    twice.push((4.into(), (END + 999_999).into()));
    file.deny("dup-field", "exp", &at(PATH, &cat(twice, HS256, |mac| mac)), "the end comes twice");
    file.deny("prefix-without-boundary", "catu", &at("/vid10/master.m3u8", &good), "a path that only begins like it");
    file.deny("alg-confusion", "es256", &at(PATH, &cat(claims(none()), (-7, "a"), |mac| mac)), "an algorithm that the key is not for");
    file.deny("string-numbers", "exp", &with(cbor!({ 4 => END.to_string() })), "an end in a text");
    file.deny("future-dated", "nbf", &with(cbor!({ 5 => NOW + 600 })), "begins in the future");
    let endless = claims(none()).into_iter().filter(|(label, _)| *label != 4.into()).collect();
    file.deny("forever", "no-exp", &at(PATH, &cat(endless, HS256, |mac| mac)), "has no end");
    file.deny("claims-ignored", "label", &with(cbor!({ 9999 => 1 })), "a claim that is not known");
    file.deny("claims-ignored", "catv", &with(cbor!({ 310 => 2 })), "another version");
    file.deny("claims-ignored", "catgeoiso3166", &with(cbor!({ 316 => ["US"] })), "for another country");
    let two = cbor!({ 312 => { 3 => { 1 => "/vid1", 2 => ".mpd" } } });
    file.deny("claims-ignored", "second-matcher", &with(two), "of two matchers on one part the second does not hold");
    let flipped = |mut mac: Vec<u8>| {
        mac[0] ^= 1;
        mac
    };
    file.deny("mac-not-verified", "changed", &at(PATH, &cat(claims(none()), HS256, flipped)), "one bit of the MAC changed");
    file.deny("mac-not-verified", "empty", &at(PATH, &cat(claims(none()), HS256, |_| Vec::new())), "no MAC");
    let wide = cat(claims(cbor!({ 312 => { 3 => { 1 => "/" } } }).expect("CBOR")), HS256, |mac| mac);
    let mut shadowed = at(PATH, &good);
    shadowed.query = Some(format!("cat={wide}"));
    file.deny("carrier-shadowing", "two", &shadowed, "another token in the query");
    let query = Asked { query: Some(format!("cat={good}")), ..get(PATH) };
    file.allow("cookie-without-token", &query.header("cookie", "theme=dark"), "another cookie hides no token of the query");
    file.deny("unknown-kid", "kid", &at(PATH, &cat(claims(none()), (5, "nobody"), |mac| mac)), "names a key that nobody has");
}

pub(super) fn ziggeo(file: &mut File) {
    let cipher = Cipher::new("own-secret").expect("a cipher");
    let seal = |text: &str| cipher.encrypt(text.as_bytes(), *b"own-seed").expect("encrypted");
    let at = |path: &str, text: &str| get(&format!("{path}?client_auth={}", seal(text)));
    let fields = |more: Value| {
        let mut all = json!({ "application_token": APP, "nonce": "17", "grants": { "read": { "resources": ["vid1"] } } });
        all.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        all.to_string()
    };
    let (good, path) = (fields(json!({})), "/vid1/video.mp4");
    file.allow("forged-as-the-others", &at(path, &good), "well made, as those that are refused");
    let twice = format!("{},\"nonce\":\"18\"}}", &good[..good.len() - 1]);
    file.deny("dup-field", "nonce", &at(path, &twice), "a field comes twice");
    file.deny("prefix-without-boundary", "resource", &at("/vid10/video.mp4", &good), "a video whose token only begins like it");
    file.deny("string-numbers", "date", &at(path, &fields(json!({ "expiration_date": "soon" }))), "an end in a text that is no number");
    file.deny("claims-ignored", "field", &at(path, &fields(json!({ "moon": 1 }))), "a field that is not known");
    file.deny(
        "claims-ignored",
        "verb",
        &at(path, &fields(json!({ "grants": { "read": { "all": true }, "moon": {} } }))),
        "a verb that is not known",
    );
    file.deny("claims-ignored", "application", &at(path, &fields(json!({ "application_token": "another" }))), "for another application");
    let sealed = seal(&good);
    let other = if &sealed[20..21] == "a" { "b" } else { "a" };
    let changed = format!("{}{other}{}", &sealed[..20], &sealed[21..]);
    file.deny("mac-not-verified", "changed", &get(&format!("{path}?client_auth={changed}")), "one digit changed");
    let mut both = at(path, &good);
    both.query.as_mut().expect("a query").push_str("&server_auth=0123");
    file.deny("carrier-shadowing", "two", &both, "a server token beside the client's");
    file.allow("cookie-without-token", &at(path, &good).header("cookie", "theme=dark"), "another cookie hides no token of the query");
}
