//! Tokens cross between Tollgate and others: jsonwebtoken here, the libraries of vendors and live servers in the rooms below.

mod servers;
mod vendors;

use jsonwebtoken::{Algorithm as Theirs, DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;

use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::{Algorithm, KeySet, jws};

const CASES: [(Kind, Algorithm, Theirs); 5] = [
    (Kind::Rsa2048, Algorithm::RS256, Theirs::RS256),
    (Kind::Rsa2048, Algorithm::PS256, Theirs::PS256),
    (Kind::P256, Algorithm::ES256, Theirs::ES256),
    (Kind::P384, Algorithm::ES384, Theirs::ES384),
    (Kind::Ed25519, Algorithm::EdDSA, Theirs::EdDSA),
];

fn their_keys(made: &Generated, algorithm: Theirs) -> (EncodingKey, DecodingKey) {
    let private = made.pem.as_ref().expect("a pair").expose().as_bytes();
    let public = made.public_pem.as_ref().expect("a pair").as_bytes();
    match algorithm {
        Theirs::RS256 | Theirs::PS256 => {
            (EncodingKey::from_rsa_pem(private).expect("key"), DecodingKey::from_rsa_pem(public).expect("key"))
        }
        Theirs::EdDSA => (EncodingKey::from_ed_pem(private).expect("key"), DecodingKey::from_ed_pem(public).expect("key")),
        _ => (EncodingKey::from_ec_pem(private).expect("key"), DecodingKey::from_ec_pem(public).expect("key")),
    }
}

#[test]
fn tokens_are_good_on_both_sides() {
    for (kind, ours, theirs) in CASES {
        let made = generate(kind).expect("key");
        let (encoding, decoding) = their_keys(&made, theirs);
        let pem = made.pem.as_ref().expect("a pair").expose();
        let keys = KeySet::parse(pem.as_bytes(), Some("k"), Some(ours)).expect("our key");
        let key = keys.get("k").expect("our key");
        let claims = json!({ "sub": "viewer", "exp": 4_000_000_000_u64 });
        let header = json!({ "typ": "JWT", "kid": "k" });
        let token = jws::sign(key, header.as_object().cloned().expect("object"), claims.as_object().expect("object")).expect("signed");
        let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &Validation::new(theirs));
        assert_eq!(decoded.expect("theirs takes ours").claims, claims, "{ours:?}");

        let token = jsonwebtoken::encode(&Header { kid: Some("k".into()), ..Header::new(theirs) }, &claims, &encoding).expect("signed");
        let parsed = jws::Jws::parse(&token).expect("a JWS");
        parsed.verify(key).unwrap_or_else(|denial| panic!("ours refuses theirs: {ours:?} {denial}"));
        assert_eq!(serde_json::Value::Object(parsed.claims().expect("claims").clone()), claims);
    }
}
