//! Makes our own vectors with our own signers. Run by hand, the result is kept in `tests/fixtures/vectors`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::decide;
use crate::clock::UnixTime;
use crate::token::scheme::testing::{Asked, NOW, config, ed25519, p256, rsa, secrets, to_sign};
use crate::token::scheme::{akamai_edgeauth, bunny, cloudfront, google_cloud_cdn, google_media_cdn, wowza};
use crate::token::{Key, KeySet, KeySource, Scheme, SignRequest};

const URL: &str = "https://media.example.com/vid1/master.m3u8";

/// The vectors of one scheme.
struct File {
    scheme: &'static str,
    /// Seconds past the asked-for end that the scheme's default leeway lets in.
    grace: i64,
    vectors: Vec<Value>,
}

impl File {
    fn new(scheme: &'static str, grace: i64) -> Self {
        Self { scheme, grace, vectors: Vec::new() }
    }

    fn push(&mut self, id: &str, key: &Value, asked: &Asked, expected: (bool, &str)) {
        let headers: serde_json::Map<String, Value> = if asked.headers.iter().all(|(name, _)| name == "cookie") && !asked.headers.is_empty()
        {
            let all: Vec<&str> = asked.headers.iter().map(|(_, value)| value.as_str()).collect();
            [("Cookie".to_owned(), all.join("; ").into())].into_iter().collect()
        } else {
            asked.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect()
        };
        let query = asked.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let proto = if asked.https { "https" } else { "http" };
        let vector = json!({
            "id": id, "scheme": self.scheme, "key": key, "now": asked.now,
            "input": {
                "method": "GET", "url": format!("{proto}://{}{}{query}", asked.host, asked.path), "headers": headers,
                "client_ip": asked.ip.to_string(), "country": asked.country.map(|country| country.to_string()),
            },
            "expected": if expected.0 { "allow" } else { "deny" }, "reason": expected.1,
            "signed_by": "tollgate", "verified_by": null,
        });
        let file = json!({ "scheme": self.scheme, "now": NOW });
        let verdict = decide(&file, &vector).expect("decided");
        assert_eq!(verdict.is_ok(), expected.0, "{id}: {verdict:?} {vector:#}");
        self.vectors.push(vector);
    }

    /// One token, and the ways in which it must fail.
    fn token(&mut self, label: &str, key: &Value, scheme: &dyn Scheme, change: impl FnOnce(&mut SignRequest)) {
        let mut request = to_sign(URL);
        request.not_before = None;
        change(&mut request);
        let signed = scheme.sign(&request).expect("signed");
        let good = Asked::signed(&request, &signed);
        let end = request.expires.unwrap_or(UnixTime(NOW)).0 + self.grace;
        self.push(&format!("{label}-ok"), key, &good, (true, "as signed"));
        self.push(&format!("{label}-last-second"), key, &good.clone().at(end - 1), (true, "in its last second"));
        self.push(&format!("{label}-ended"), key, &good.clone().at(end), (false, "at its end"));
        let mut other = good.clone();
        let at = other.path.rfind("vid1").expect("path");
        other.path.replace_range(at..at + 4, "vid2");
        self.push(&format!("{label}-other-path"), key, &other, (false, "another path"));
        let mut longer = good.clone();
        longer.path.replace_range(at..at + 4, "vid10");
        self.push(&format!("{label}-sibling"), key, &longer, (false, "a path that only begins like it"));
        let mut none = good.clone();
        (none.path, none.query, none.headers) = (request.path.clone(), request.query.clone(), Vec::new());
        self.push(&format!("{label}-none"), key, &none, (false, "no token"));
        if request.client_ip.is_some() {
            self.push(&format!("{label}-other-ip"), key, &good.clone().from("203.0.113.77"), (false, "another address"));
        }
        self.push(&format!("{label}-tampered"), key, &tampered(&good), (false, "one character of the token changed"));
    }

    fn write(&self) {
        let allow = self.vectors.iter().filter(|vector| vector["expected"] == "allow").count();
        let file = json!({
            "scheme": self.scheme, "now": NOW, "notes": ["made by our own signer: says what must not change, not what a vendor does"],
            "counts": { "allow": allow, "deny": self.vectors.len() - allow }, "vectors": self.vectors,
        });
        let path = format!("{}/tests/fixtures/vectors/{}.json", env!("CARGO_MANIFEST_DIR"), self.scheme);
        std::fs::write(path, format!("{file:#}\n")).expect("written");
    }
}

/// Changes a digit of the expiry, which every token has in clear or under its signature.
fn tampered(good: &Asked) -> Asked {
    let change = |text: &str| text.replace("1760003", "1760004").replace("Signature=", "Signature=A");
    let mut asked = good.clone();
    asked.path = change(&asked.path);
    asked.query = asked.query.as_deref().map(change);
    for (_, value) in &mut asked.headers {
        *value = change(value);
    }
    asked
}

fn pem(key: &Key) -> Value {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(key.public_der())).into()
}

fn cloudfront() -> File {
    let mut file = File::new("cloudfront", 0);
    let key = json!({ "KRSA": pem(&rsa()), "KEC": pem(&p256()) });
    for place in ["query", "cookies"] {
        let config: cloudfront::Config = config(json!({ "sign_into": place }));
        let scheme = cloudfront::CloudFront::new(&config, KeySource::new(KeySet::new(vec![rsa(), p256()]))).expect("scheme");
        for id in ["KRSA", "KEC"] {
            file.token(&format!("{place}-{id}-canned"), &key, &scheme, |r| r.key_id = Some(id.into()));
            file.token(&format!("{place}-{id}-custom"), &key, &scheme, |r| {
                (r.key_id, r.scope, r.client_ip) = (Some(id.into()), Some("/vid1/".into()), "198.51.100.7".parse().ok());
            });
        }
    }
    file
}

fn akamai() -> File {
    let mut file = File::new("akamai_edgeauth2", 10);
    for algorithm in ["sha256", "sha1", "md5"] {
        for place in ["query", "cookie", "header", "path"] {
            let config: akamai_edgeauth::Config = config(json!({ "sign_into": place, "algorithm": algorithm }));
            let scheme = akamai_edgeauth::AkamaiEdgeauth::new(&config, secrets(&[("a", &[0x52, 0xa1])])).expect("scheme");
            let key = json!({ "hex": "52a1", "algorithm": algorithm, "salt": null });
            file.token(&format!("{algorithm}-{place}-url"), &key, &scheme, |_| ());
            file.token(&format!("{algorithm}-{place}-acl"), &key, &scheme, |r| {
                (r.scope, r.client_ip) = (Some("/vid1/".into()), "198.51.100.7".parse().ok());
            });
        }
    }
    file
}

fn google_cloud() -> File {
    let mut file = File::new("google_cloud_cdn", 0);
    let secret = b"0123456789abcdef";
    let key = json!({ "key-a": { "hmac_b64url": URL_SAFE.encode(secret) } });
    for place in ["query", "cookie"] {
        let config: google_cloud_cdn::Config = config(json!({ "sign_into": place }));
        let scheme = google_cloud_cdn::GoogleCloudCdn::new(&config, secrets(&[("key-a", secret)])).expect("scheme");
        file.token(place, &key, &scheme, |_| ());
        file.token(&format!("{place}-prefix"), &key, &scheme, |r| r.scope = Some("/vid1/".into()));
    }
    file
}

fn google_media() -> File {
    let mut file = File::new("google_media_cdn", 0);
    let public = URL_SAFE.encode(&ed25519("key-a").public_der()[12..]);
    let secret = b"0123456789abcdef0123456789abcdef";
    let named = json!({ "key-a": { "ed25519_pub_b64url": public } });
    let bare = json!({ "ed25519_pub_b64url": public, "hmac_secret_b64url": URL_SAFE.encode(secret) });
    for form in ["query", "cookie", "path", "token"] {
        for hmac in ["sha256", "sha1"] {
            let config: google_media_cdn::Config = config(json!({ "sign_as": form, "hmac": hmac }));
            let keys = KeySet::new(vec![ed25519("key-a"), Key::secret(Some("secret"), secret.to_vec())]);
            let scheme = google_media_cdn::GoogleMediaCdn::new(&config, KeySource::new(keys)).expect("scheme");
            let key = if form == "token" { &bare } else { &named };
            let id = if hmac == "sha1" { "secret" } else { "key-a" };
            if id == "secret" && form != "token" {
                continue;
            }
            file.token(&format!("{form}-{id}"), key, &scheme, |r| r.key_id = Some(id.into()));
            file.token(&format!("{form}-{id}-scope"), key, &scheme, |r| (r.key_id, r.scope) = (Some(id.into()), Some("/vid1/".into())));
        }
    }
    file
}

fn bunny() -> File {
    let mut file = File::new("bunny_v2", 0);
    let key = json!("SecurityKey-1234");
    for generation in ["hs256", "sha256", "md5"] {
        for place in ["query", "path"] {
            let config: bunny::Config = config(json!({ "sign_as": generation, "sign_into": place }));
            let scheme = bunny::Bunny::new(&config, secrets(&[("a", b"SecurityKey-1234")])).expect("scheme");
            file.token(&format!("{generation}-{place}"), &key, &scheme, |_| ());
            file.token(&format!("{generation}-{place}-ip"), &key, &scheme, |r| r.client_ip = "198.51.100.7".parse().ok());
            if generation != "md5" {
                file.token(&format!("{generation}-{place}-path"), &key, &scheme, |r| {
                    r.scope = Some("/vid1".into());
                    r.claims.insert("token_countries".into(), "SE".into());
                });
            }
        }
    }
    file
}

fn wowza() -> File {
    let mut file = File::new("wowza_securetoken2", 0);
    for algorithm in ["sha256", "sha384", "sha512"] {
        for ip in [false, true] {
            let config: wowza::Config = config(json!({ "algorithm": algorithm, "client_ip_in_hash": ip }));
            let scheme = wowza::Wowza::new(&config, secrets(&[("a", b"abcDEF123")])).expect("scheme");
            let key = json!({ "secret": "abcDEF123", "prefix": "wowzatoken", "algorithm": algorithm, "client_ip_in_hash": ip });
            file.token(&format!("{algorithm}-{ip}"), &key, &scheme, |r| r.client_ip = if ip { "198.51.100.7".parse().ok() } else { None });
        }
    }
    file
}

#[test]
fn every_signer_makes_vectors_that_hold() {
    for file in [cloudfront(), akamai(), google_cloud(), google_media(), bunny(), wowza()] {
        assert!(file.vectors.len() > 8, "{}", file.scheme);
    }
}

#[test]
#[ignore = "writes tests/fixtures/vectors; run by hand when a signer changes on purpose"]
fn write_vectors() {
    for file in [cloudfront(), akamai(), google_cloud(), google_media(), bunny(), wowza()] {
        file.write();
    }
}
