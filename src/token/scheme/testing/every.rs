//! One signer of each kind, and of kinds with several forms one of each form.

use serde_json::{Value, json};

use super::{NOW, ed25519, p256, p384, secrets, to_sign};
use crate::token::scheme::config::SchemeConfig;
use crate::token::scheme::testkit;
use crate::token::{Key, KeySet, KeySource, Scheme, SignRequest, Signed, exact};

/// Where every scheme has something to sign: an id in the first segment, an IVS channel in the last.
pub(crate) const URL: &str = "https://media.example.com/ea95132c15732412d22c1476fa83f27a/us-east-1.111122223333.channel.AbCd.m3u8";
const ARN: &str = "arn:aws:ivs:us-east-1:111122223333:channel/AbCd";

fn one(key: Key) -> KeySource {
    KeySource::new(KeySet::new(vec![key]))
}

fn octets(octets: &[u8]) -> KeySource {
    one(Key::secret(None, octets.to_vec()))
}

/// The signers, by a name that says kind and form. Without `ziggeo`: its client tokens are encrypted and have no MAC, so that
/// changed ones are refused by what they say and not by a signature.
pub(crate) fn every_signer() -> Vec<(&'static str, Box<dyn Scheme>)> {
    let hs256 = || one(testkit::secret(Some("h")));
    let rsa = || one(testkit::rsa(Some("a")));
    let table = |kind: &str, more: Value| {
        let mut table = json!({ "type": kind, "keys": "k" });
        table.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
        table
    };
    let plain = |kind: &str| table(kind, json!({}));
    let media = |form: &str| table("google-media-cdn", json!({ "sign_as": form }));
    let mut all: Vec<(&'static str, Value, KeySource)> = vec![
        ("stream", plain("cloudflare-stream"), rsa()),
        ("mux", plain("mux"), rsa()),
        ("jwt", plain("jwt"), hs256()),
        ("cloudfront", plain("cloudfront"), one(super::rsa())),
        ("cloudfront-ec", plain("cloudfront"), one(p256())),
        ("cookies", table("cloudfront", json!({ "sign_into": "cookies" })), one(super::rsa())),
        ("akamai", plain("akamai-edgeauth"), octets(b"akamai")),
        ("akamai-path", table("akamai-edgeauth", json!({ "sign_into": "path" })), octets(b"akamai")),
        ("media-cdn", plain("google-media-cdn"), one(ed25519("g"))),
        ("media-cdn-cookie", media("cookie"), one(ed25519("g"))),
        ("media-cdn-path", media("path"), one(ed25519("g"))),
        ("media-cdn-token", media("token"), one(ed25519("g"))),
        ("cloud-cdn", plain("google-cloud-cdn"), secrets(&[("c", b"0123456789abcdef")])),
        ("bunny", plain("bunny"), octets(b"bunny")),
        ("bunny-path", table("bunny", json!({ "sign_into": "path" })), octets(b"bunny")),
        ("bunny-sha256", table("bunny", json!({ "sign_as": "sha256" })), octets(b"bunny")),
        ("bunny-md5", table("bunny", json!({ "sign_as": "md5" })), octets(b"bunny")),
        ("wowza", plain("wowza"), octets(b"wowza")),
        ("rfc9246", table("rfc9246", json!({ "issuers": ["us"] })), hs256()),
        ("cat", plain("cta-5007"), hs256()),
        ("url-sig", plain("ats-url-sig"), secrets(&[("key3", b"ats")])),
        ("access-control", plain("ats-access-control"), secrets(&[("key1", b"ats")])),
        ("smd", plain("aws-smd"), secrets(&[("a", b"smd")])),
        ("ivs", table("amazon-ivs", json!({ "channels": [ARN] })), one(p384())),
    ];
    all.extend(PRESETS.map(|preset| {
        // Fastly's key is written in base64.
        let secret: &[u8] = if preset == "fastly" { b"c2VjcmV0c2VjcmV0" } else { b"digest" };
        (preset, table("digest-url", json!({ "preset": preset })), octets(secret))
    }));
    let build = |(label, table, keys): (&'static str, Value, KeySource)| {
        let table: SchemeConfig = serde_json::from_value(table).unwrap_or_else(|fault| panic!("{label}: {fault}"));
        (label, table.build(keys).unwrap_or_else(|fault| panic!("{label}: {fault}")))
    };
    all.into_iter().map(build).collect()
}

/// The recipes of vendors.
pub(crate) const PRESETS: [&str; 14] = [
    "nginx-secure-link",
    "nginx-secure-link-secret",
    "nginx-hmac-secure-link",
    "keycdn",
    "alibaba-a",
    "alibaba-b",
    "alibaba-c",
    "tencent-a",
    "tencent-b",
    "tencent-c",
    "tencent-d",
    "fastly",
    "nimble",
    "flussonic",
];

/// A request to sign [`URL`] for one viewer; the viewer's address is in some of the hashes.
pub(crate) fn for_viewer() -> SignRequest {
    SignRequest { client_ip: "198.51.100.7".parse().ok(), subject: Some("u1".into()), ..to_sign(URL) }
}

/// What `scheme` makes of `request`, with the request as it was signed: what it has no words for of address, subject and expiry is
/// left out. `None` where it has none for the rest, either.
pub(crate) fn if_it_can(scheme: &dyn Scheme, request: &SignRequest) -> Option<(SignRequest, Signed)> {
    let less = |address: bool, subject: bool, expiry: bool| SignRequest {
        client_ip: request.client_ip.filter(|_| address),
        subject: request.subject.clone().filter(|_| subject),
        expires: request.expires.filter(|_| expiry),
        ..request.clone()
    };
    let tries = [(true, true, true), (true, false, true), (false, true, true), (false, false, true), (false, false, false)];
    tries.into_iter().find_map(|(address, subject, expiry)| {
        let request = less(address, subject, expiry);
        let exact = exact::sign(scheme, &request).ok()?;
        Some((request, exact.signed))
    })
}

/// The same, of a scheme that can.
pub(crate) fn sign_as_it_can(label: &str, scheme: &dyn Scheme, request: &SignRequest) -> (SignRequest, Signed) {
    if_it_can(scheme, request).unwrap_or_else(|| panic!("{label} cannot sign at {NOW}"))
}
