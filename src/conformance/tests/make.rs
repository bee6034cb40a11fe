//! Makes our own vectors: what our signers sign, and the ways in which it must fail. `forge` adds what no signer of ours
//! would make, by the deny families.
//!
//! The keys are kept in `tests/fixtures/keys`, so that the same vectors come out each time, but for those whose
//! signatures are random.

mod forge;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{KEPT, builder, decide, read};
use crate::clock::UnixTime;
use crate::token::key::Material;
use crate::token::scheme::testing::{Asked, NOW, secrets, to_sign};
use crate::token::scheme::{
    akamai_edgeauth, amazon_ivs, bunny, cloudflare_stream, cloudfront, google_cloud_cdn, google_media_cdn, jwt, mux, wowza, ziggeo,
};
use crate::token::{Algorithm, Key, KeySet, KeySource, NothingIssued, Scheme, SignRequest, Signed};

/// What signs the vectors here; those that others signed stay as they are.
const US: &str = "tollgate";
const URL: &str = "https://media.example.com/vid1/master.m3u8";
const UID: &str = "ea95132c15732412d22c1476fa83f27a";
const CHANNEL: &str = "https://media.example.com/api/video/v1/us-east-1.111122223333.channel.AbCd.m3u8";
const ARN: &str = "arn:aws:ivs:us-east-1:111122223333:channel/AbCd";
const SECRET: &[u8] = b"own-secret";

/// A kept throwaway key.
fn kept_key(name: &str, id: Option<&str>, algorithm: Option<Algorithm>) -> Key {
    let path = format!("{}/tests/fixtures/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    let set = KeySet::parse(&text, id, None).expect("a key");
    let pkcs8 = set.only().and_then(|key| key.private_der()).expect("a private key");
    Key::new(Material::private(pkcs8.expose()).expect("a private key"), id, algorithm).expect("a key")
}

fn one(key: Key) -> KeySource {
    KeySource::new(KeySet::new(vec![key]))
}

fn pem(key: &Key) -> Value {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(key.public_der())).into()
}

/// A set of one shared key.
fn jwks(secret: &[u8]) -> Value {
    json!({ "keys": [{ "kty": "oct", "alg": "HS256", "kid": "a", "k": URL_SAFE_NO_PAD.encode(secret) }] })
}

/// A table with the key set `k`.
fn config<C: serde::de::DeserializeOwned>(more: &Value) -> C {
    crate::token::scheme::testing::config(more.clone())
}

/// The vectors of one scheme.
struct File {
    scheme: &'static str,
    /// Seconds past the asked-for end that the scheme's default leeway lets in.
    grace: i64,
    /// The key and the config of the vectors that come next.
    key: Value,
    config: Value,
    /// What tokens are asked for, and what stands in its path for another resource and for a sibling.
    url: &'static str,
    near: Option<[&'static str; 3]>,
    vectors: Vec<Value>,
    /// Vectors that were decided otherwise than they should be.
    faults: Vec<String>,
}

impl File {
    fn new(scheme: &'static str, key: Value) -> Self {
        let near = Some(["vid1", "vid2", "vid10"]);
        Self { scheme, grace: 0, key, config: Value::Null, url: URL, near, vectors: Vec::new(), faults: Vec::new() }
    }

    fn push(&mut self, id: &str, asked: &Asked, expected: (bool, &str)) -> &mut Value {
        let mut headers = serde_json::Map::new();
        for (name, value) in &asked.headers {
            let joined = match headers.get(name).and_then(Value::as_str) {
                Some(before) => format!("{before}; {value}"),
                None => value.clone(),
            };
            headers.insert(name.clone(), joined.into());
        }
        let query = asked.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let proto = if asked.https { "https" } else { "http" };
        let mut vector = json!({
            "id": id, "scheme": self.scheme, "key": self.key, "now": asked.now,
            "input": {
                "method": "GET", "url": format!("{proto}://{}{}{query}", asked.host, asked.path), "headers": headers,
                "client_ip": asked.ip.to_string(), "country": asked.country.map(|country| country.to_string()),
            },
            "expected": if expected.0 { "allow" } else { "deny" }, "reason": expected.1,
            "signed_by": US, "verified_by": null,
        });
        if !self.config.is_null() {
            vector["config"] = self.config.clone();
        }
        let verdict = self.verdict(&vector);
        if verdict.is_ok() != expected.0 {
            self.faults.push(format!("{} {id}: {verdict:?} {}", self.scheme, vector["input"]));
        }
        self.vectors.push(vector);
        self.vectors.last_mut().expect("pushed")
    }

    fn verdict(&self, vector: &Value) -> Result<(), String> {
        decide(&json!({ "scheme": self.scheme, "now": NOW }), vector).expect("decided")
    }

    /// What must be refused by a deny family's name, with the reason that it is refused for.
    fn deny(&mut self, family: &str, id: &str, asked: &Asked, reason: &str) {
        let vector = self.push(&format!("{family}-{id}"), asked, (false, reason));
        vector["family"] = family.into();
        let vector = vector.clone();
        if let Err(denial) = self.verdict(&vector) {
            self.vectors.last_mut().expect("pushed")["denial"] = denial.into();
        }
    }

    fn allow(&mut self, id: &str, asked: &Asked, reason: &str) {
        self.push(id, asked, (true, reason));
    }

    /// The scheme of the vectors, made from the published key.
    fn built(&self) -> std::sync::Arc<dyn Scheme> {
        let vector = json!({ "scheme": self.scheme, "key": self.key, "config": self.config });
        let built = builder(self.scheme).and_then(|build| build(&json!({ "scheme": self.scheme }), &vector));
        built.expect("a builder").expect("a scheme")
    }

    /// One token, and the ways in which it must fail.
    fn token(&mut self, label: &str, scheme: &dyn Scheme, change: impl FnOnce(&mut SignRequest)) {
        let mut request = to_sign(self.url);
        change(&mut request);
        let signed = scheme.sign(&request).unwrap_or_else(|fault| panic!("{} {label}: {fault}", self.scheme));
        let good = Asked::signed(&request, &signed);
        self.push(&format!("{label}-ok"), &good, (true, "as signed"));
        self.ends(label, scheme, &request, &good);
        for (what, place, reason) in [("other-path", 1, "another path"), ("sibling", 2, "a path that only begins like it")] {
            let Some(names) = self.near else { continue };
            let mut other = good.clone();
            let at = other.path.rfind(names[0]).expect("path");
            other.path.replace_range(at..at + names[0].len(), names[place]);
            self.push(&format!("{label}-{what}"), &other, (false, reason));
        }
        let mut none = good.clone();
        (none.path, none.query, none.headers) = (request.path.clone(), request.query.clone(), Vec::new());
        self.push(&format!("{label}-none"), &none, (false, "no token"));
        if request.client_ip.is_some() {
            self.push(&format!("{label}-other-ip"), &good.clone().from("203.0.113.77"), (false, "another address"));
        }
        self.push(&format!("{label}-tampered"), &tampered(&good, &signed), (false, "one character of the token changed"));
    }

    /// Its last good second, and the first bad one, where it has an end.
    fn ends(&mut self, label: &str, scheme: &dyn Scheme, request: &SignRequest, good: &Asked) {
        let until = good.of(scheme).unwrap_or_else(|denial| panic!("{} {label}: {denial} {good:?}", self.scheme)).0.window.until;
        if until == UnixTime::MAX {
            return;
        }
        // Some recipes tell their end in whole minutes.
        let late = until.since(request.expires.expect("an end"));
        if !(-59..=self.grace).contains(&late) {
            self.faults.push(format!("{} {label}: {late} s after what was asked for", self.scheme));
        }
        self.push(&format!("{label}-last-second"), &good.clone().at(until.0 - 1), (true, "in its last second"));
        self.push(&format!("{label}-ended"), &good.clone().at(until.0), (false, "at its end"));
    }

    /// The file as it is kept, what others signed and say in it included.
    fn json(&self) -> Value {
        let mut file = read(&self.path()).unwrap_or_else(|_| json!({}));
        let theirs = file["vectors"].as_array().into_iter().flatten().filter(|vector| vector["signed_by"] != US);
        let vectors: Vec<Value> = theirs.chain(&self.vectors).cloned().collect();
        let allow = vectors.iter().filter(|vector| vector["expected"] == "allow").count();
        let note = json!("signed_by tollgate: made by our own signer, or against it; says what must not change, not what a vendor does");
        let mut notes = file["notes"].as_array().cloned().unwrap_or_default();
        if !notes.contains(&note) {
            notes.push(note);
        }
        for (name, value) in [
            ("scheme", self.scheme.into()),
            ("now", NOW.into()),
            ("notes", notes.into()),
            ("counts", json!({ "allow": allow, "deny": vectors.len() - allow })),
            ("vectors", vectors.into()),
        ] {
            file[name] = value;
        }
        file
    }

    fn path(&self) -> std::path::PathBuf {
        format!("{KEPT}/{}.json", self.scheme).into()
    }
}

/// The token with one character changed: of the expiry where it stands in clear, else of its signature.
fn tampered(good: &Asked, signed: &Signed) -> Asked {
    let clear = changed(good, |text| text.replace("1760003", "1760004").replace("Signature=", "Signature=A"));
    if clear.path != good.path || clear.query != good.query || clear.headers != good.headers {
        return clear;
    }
    let at = signed.token.len().saturating_sub(8);
    let new = if signed.token.as_bytes()[at] == b'a' { "b" } else { "a" };
    let other = format!("{}{new}{}", &signed.token[..at], &signed.token[at + 1..]);
    let encode = crate::query::encode;
    changed(good, |text| text.replace(&signed.token, &other).replace(&encode(&signed.token), &encode(&other)))
}

/// `asked` with every text of it changed.
fn changed(asked: &Asked, change: impl Fn(&str) -> String) -> Asked {
    let mut asked = asked.clone();
    asked.path = change(&asked.path);
    asked.query = asked.query.as_deref().map(&change);
    for (_, value) in &mut asked.headers {
        *value = change(value);
    }
    asked
}

const VIEWER: &str = "198.51.100.7";

fn to_viewer(request: &mut SignRequest) {
    request.client_ip = VIEWER.parse().ok();
}

fn cloudfront() -> File {
    let keys = [kept_key("rsa", Some("KRSA"), None), kept_key("p256", Some("KEC"), None)];
    let mut file = File::new("cloudfront", json!({ "KRSA": pem(&keys[0]), "KEC": pem(&keys[1]) }));
    let keys = KeySource::new(KeySet::new(keys.into()));
    for place in ["query", "cookies"] {
        let scheme = cloudfront::CloudFront::new(&config(&json!({ "sign_into": place })), keys.clone()).expect("scheme");
        for id in ["KRSA", "KEC"] {
            file.token(&format!("{place}-{id}-canned"), &scheme, |r| r.key_id = Some(id.into()));
            file.token(&format!("{place}-{id}-custom"), &scheme, |r| {
                (r.key_id, r.scope) = (Some(id.into()), Some("/vid1/".into()));
                to_viewer(r);
            });
        }
    }
    file
}

fn akamai() -> File {
    let mut file = File { grace: 10, ..File::new("akamai_edgeauth2", Value::Null) };
    for algorithm in ["sha256", "sha1", "md5"] {
        file.key = json!({ "hex": "52a1", "algorithm": algorithm, "salt": null });
        for place in ["query", "cookie", "header", "path"] {
            let config = config(&json!({ "sign_into": place, "algorithm": algorithm }));
            let scheme = akamai_edgeauth::AkamaiEdgeauth::new(&config, secrets(&[("a", &[0x52, 0xa1])])).expect("scheme");
            file.token(&format!("{algorithm}-{place}-url"), &scheme, |_| ());
            file.token(&format!("{algorithm}-{place}-acl"), &scheme, |r| {
                r.scope = Some("/vid1/".into());
                to_viewer(r);
            });
        }
    }
    file
}

fn google_cloud() -> File {
    let secret = b"0123456789abcdef";
    let mut file = File::new("google_cloud_cdn", json!({ "key-a": { "hmac_b64url": URL_SAFE.encode(secret) } }));
    for place in ["query", "cookie"] {
        let config = config(&json!({ "sign_into": place }));
        let scheme = google_cloud_cdn::GoogleCloudCdn::new(&config, secrets(&[("key-a", secret)])).expect("scheme");
        file.token(place, &scheme, |_| ());
        file.token(&format!("{place}-prefix"), &scheme, |r| r.scope = Some("/vid1/".into()));
    }
    file
}

const MEDIA_SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn google_media() -> File {
    let ed = kept_key("ed25519", Some("key-a"), None);
    let public = URL_SAFE.encode(&ed.public_der()[12..]);
    let named = json!({ "key-a": { "ed25519_pub_b64url": public } });
    let bare = json!({ "ed25519_pub_b64url": public, "hmac_secret_b64url": URL_SAFE.encode(MEDIA_SECRET) });
    let keys = KeySource::new(KeySet::new(vec![ed, Key::secret(Some("secret"), MEDIA_SECRET.to_vec())]));
    let mut file = File::new("google_media_cdn", named);
    let forms = [("query", "sha256"), ("cookie", "sha256"), ("path", "sha256"), ("token", "sha256"), ("token", "sha1")];
    for (form, hmac) in forms {
        let config = config(&json!({ "sign_as": form, "hmac": hmac }));
        let scheme = google_media_cdn::GoogleMediaCdn::new(&config, keys.clone()).expect("scheme");
        if form == "token" {
            file.key = bare.clone();
        }
        let id = if hmac == "sha1" { "secret" } else { "key-a" };
        file.token(&format!("{form}-{id}"), &scheme, |r| r.key_id = Some(id.into()));
        file.token(&format!("{form}-{id}-scope"), &scheme, |r| (r.key_id, r.scope) = (Some(id.into()), Some("/vid1/".into())));
    }
    file
}

const BUNNY: &[u8] = b"SecurityKey-1234";

fn bunny() -> File {
    let mut file = File::new("bunny_v2", json!("SecurityKey-1234"));
    for generation in ["hs256", "sha256", "md5"] {
        for place in ["query", "path"] {
            let config = config(&json!({ "sign_as": generation, "sign_into": place }));
            let scheme = bunny::Bunny::new(&config, secrets(&[("a", BUNNY)])).expect("scheme");
            file.token(&format!("{generation}-{place}"), &scheme, |_| ());
            file.token(&format!("{generation}-{place}-ip"), &scheme, to_viewer);
            if generation != "md5" {
                file.token(&format!("{generation}-{place}-path"), &scheme, |r| {
                    r.scope = Some("/vid1".into());
                    r.claims.insert("token_countries".into(), "SE".into());
                });
            }
        }
    }
    file
}

const WOWZA: &str = "abcDEF123";

fn wowza() -> File {
    let mut file = File::new("wowza_securetoken2", Value::Null);
    for algorithm in ["sha256", "sha384", "sha512"] {
        for ip in [false, true] {
            let config = config(&json!({ "algorithm": algorithm, "client_ip_in_hash": ip }));
            let scheme = wowza::Wowza::new(&config, secrets(&[("a", WOWZA.as_bytes())])).expect("scheme");
            file.key = json!({ "secret": WOWZA, "prefix": "wowzatoken", "algorithm": algorithm, "client_ip_in_hash": ip });
            file.token(&format!("{algorithm}-{ip}"), &scheme, |r| r.client_ip = if ip { VIEWER.parse().ok() } else { None });
        }
    }
    file
}

/// Each of the vendors' recipes, and one of nobody's.
fn digest_url() -> File {
    let mut file = File::new("digest_url", Value::Null);
    let presets = ["nginx-secure-link", "nginx-secure-link-secret", "nginx-hmac-secure-link", "fastly", "keycdn"];
    let presets = presets.iter().chain(&["alibaba-a", "alibaba-b", "alibaba-c", "tencent-a", "tencent-b", "tencent-c", "tencent-d"]);
    let mut recipes: Vec<(&str, Value)> = presets.map(|preset| (*preset, json!({ "preset": preset }))).collect();
    recipes.push(("nimble", json!({ "preset": "nimble", "message": "{ip}{secret}{time}{period}{path}" })));
    recipes.push(("flussonic", json!({ "preset": "flussonic", "message": "{stream}{ip}{start}{time}{secret}{salt}{path}" })));
    let source = json!([{ "from": { "query": "t" }, "shape": "{time}.{signature}" }]);
    recipes.push(("own", json!({ "message": "{method} {host}{path}|{time}", "sources": source })));
    for (label, recipe) in recipes {
        file.config = recipe;
        // Fastly's key is written in base64.
        file.key = if label == "fastly" { STANDARD.encode(SECRET).into() } else { "own-secret".into() };
        // The address is in these hashes.
        let bound = ["nginx-secure-link", "nimble", "flussonic"].contains(&label);
        file.token(label, &*file.built(), |r| r.client_ip = if bound { VIEWER.parse().ok() } else { None });
    }
    file
}

fn rfc9246() -> File {
    let mut file = File::new("rfc9246_uri_signing", json!({ "issuer": { "keys": jwks(&[7; 32])["keys"], "id": "us" } }));
    let scheme = file.built();
    file.token("hash", &*scheme, |_| ());
    file.token("regex", &*scheme, |r| r.scope = Some("/vid1/".into()));
    file
}

fn cta_5007() -> File {
    let key = json!({ "kid": "a", "alg": "HS256", "hex": "07".repeat(32), "issuer": "iss", "audience": null });
    let mut file = File::new("cta5007_cat", key);
    let scheme = file.built();
    file.token("exact", &*scheme, |_| ());
    file.token("prefix", &*scheme, |r| (r.scope, r.subject) = (Some("/vid1".into()), Some("u1".into())));
    file
}

fn ats_url_sig() -> File {
    let mut file = File::new("ats_url_sig", json!({ "key3": "own-secret" }));
    let scheme = file.built();
    file.token("path", &*scheme, |_| ());
    file.token("folder", &*scheme, |r| {
        r.scope = Some("/vid1/".into());
        to_viewer(r);
    });
    file
}

fn ats_access_control() -> File {
    let mut file = File { near: None, ..File::new("ats_access_control", json!({ "key1": "own-secret" })) };
    let scheme = file.built();
    file.token("route", &*scheme, |r| r.subject = Some("u1".into()));
    file.near = Some(["vid1", "vid2", "vid10"]);
    file.token("scope", &*scheme, |r| (r.subject, r.scope) = (Some("u1".into()), Some("/vid1".into())));
    file
}

fn aws_smd() -> File {
    let mut file = File::new("aws_secure_media_delivery", json!({ "a": "own-secret" }));
    let scheme = file.built();
    file.token("path", &*scheme, |_| ());
    file.token("session", &*scheme, |r| {
        r.scope = Some("/vid1/".into());
        r.claims.insert("session".into(), "s1".into());
        to_viewer(r);
    });
    file
}

fn ivs_key() -> Key {
    kept_key("p384", None, Some(Algorithm::ES384))
}

fn amazon_ivs() -> File {
    let file = File::new("amazon_ivs", json!({ "es384_pub": pem(&ivs_key()), "channel_arn": ARN }));
    let mut file = File { url: CHANNEL, near: Some(["AbCd", "AbCe", "AbCdE"]), ..file };
    let scheme = amazon_ivs::AmazonIvs::new(&config(&json!({ "channels": [ARN] })), one(ivs_key())).expect("scheme");
    file.token("viewer", &scheme, |r| r.subject = Some("u1".into()));
    file
}

fn rsa_key() -> Key {
    kept_key("rsa", Some("a"), None)
}

fn stream() -> File {
    let mut file = File::new("cloudflare_stream", json!({ "a": pem(&rsa_key()) }));
    (file.url, file.near) = ("https://customer-a.cloudflarestream.com/ea95132c15732412d22c1476fa83f27a/manifest/video.m3u8", None);
    let scheme = cloudflare_stream::CloudflareStream::new(&config(&json!({})), one(rsa_key())).expect("scheme");
    file.token("uid", &scheme, |_| ());
    file.token("address", &scheme, to_viewer);
    file
}

fn mux() -> File {
    let mut file = File::new("mux", json!({ "a": pem(&rsa_key()) }));
    (file.url, file.near) = ("https://stream.mux.com/abcDEF01.m3u8", Some(["abcDEF01", "abcDEF02", "abcDEF010"]));
    let scheme = mux::Mux::new(&config(&json!({})), one(rsa_key())).expect("scheme");
    file.token("video", &scheme, |_| ());
    file
}

fn jwt() -> File {
    let table = json!({
        "carriers": [{ "query": "token" }, { "header": "authorization", "prefix": "Bearer " }, { "cookie": "session" }],
        "claims": { "paths": "paths", "networks": "ip", "countries": "co" },
    });
    let mut file = File { config: table.clone(), ..File::new("jwt", jwks(MEDIA_SECRET)) };
    let scheme = file.built();
    file.token("HS256", &*scheme, |_| ());
    file.token("HS256-scope", &*scheme, |r| {
        r.scope = Some("/vid1".into());
        to_viewer(r);
    });
    for (name, algorithm) in [("rsa", Algorithm::RS256), ("ed25519", Algorithm::EdDSA)] {
        let key = kept_key(name, Some("a"), Some(algorithm));
        file.key = json!({ "a": pem(&key) });
        let scheme = jwt::Jwt::new(&config(&table), one(key)).expect("scheme");
        file.token(&format!("{algorithm:?}"), &scheme, |_| ());
    }
    file.key = jwks(MEDIA_SECRET);
    file
}

const APP: &str = "0123456789abcdef0123456789abcdef";

fn ziggeo() -> File {
    let mut file = File::new("ziggeo", json!({ "encryption_key": "own-secret", "application_token": APP }));
    (file.url, file.near) = ("https://media.example.com/vid1/video.mp4", Some(["vid1", "vid2", "vid10"]));
    let table = config(&json!({ "application_token": APP }));
    let scheme = ziggeo::Ziggeo::new(&table, secrets(&[("a", SECRET)]), std::sync::Arc::new(NothingIssued)).expect("scheme");
    file.token("client", &scheme, |r| {
        r.claims.insert("grants".into(), json!({ "read": { "resources": ["vid1"] } }));
    });
    file
}

/// All that this crate makes, files of every scheme.
fn all() -> Vec<File> {
    let mut files = vec![
        cloudfront(),
        akamai(),
        google_cloud(),
        google_media(),
        bunny(),
        wowza(),
        digest_url(),
        rfc9246(),
        cta_5007(),
        ats_url_sig(),
        ats_access_control(),
        aws_smd(),
        amazon_ivs(),
        stream(),
        mux(),
        jwt(),
        ziggeo(),
    ];
    files.iter_mut().for_each(forge::families);
    let faults: Vec<&String> = files.iter().flat_map(|file| &file.faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    files
}

/// Whether its bytes differ each time: signatures of elliptic curves and encryption have a random part.
fn is_random(vector: &Value) -> bool {
    matches!(vector["scheme"].as_str(), Some("amazon_ivs" | "ziggeo")) || vector["id"].as_str().is_some_and(|id| id.contains("KEC"))
}

#[test]
fn what_is_kept_is_what_is_made() {
    for file in all() {
        let (made, kept) = (file.json(), read(&file.path()).expect("kept"));
        let without_input = |file: &Value| -> Vec<Value> {
            let mut vectors = file["vectors"].as_array().expect("vectors").clone();
            vectors.iter_mut().filter(|vector| is_random(vector)).for_each(|vector| vector["input"] = Value::Null);
            vectors
        };
        let (made, kept) = (without_input(&made), without_input(&kept));
        assert_eq!(made.len(), kept.len(), "{}", file.scheme);
        for (made, kept) in made.iter().zip(&kept) {
            assert_eq!(made, kept, "{}: write the vectors anew if this is meant", file.scheme);
        }
    }
}

#[test]
#[ignore = "writes tests/fixtures/vectors; run by hand when a signer changes on purpose"]
fn write_vectors() {
    for file in all() {
        std::fs::write(file.path(), format!("{:#}\n", file.json())).expect("written");
    }
}
