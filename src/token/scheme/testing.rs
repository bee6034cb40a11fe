//! A request to ask a scheme about, and throwaway keys: for the schemes' tests.

pub(crate) mod every;

use std::net::IpAddr;
use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Scheme, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::path::CleanPath;
use crate::token::access::FixedGeo;
use crate::token::key::Material;
use crate::token::{Algorithm, Country, Denial, Grant, Key, KeySet, KeySource, RequestFacts, carrier};

/// The time of these tests.
pub(crate) const NOW: i64 = 1_760_000_000;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) ip: IpAddr,
    pub(crate) country: Option<Country>,
    pub(crate) now: i64,
    pub(crate) mount: usize,
}

impl Asked {
    /// `GET` of a URL from 198.51.100.7.
    pub(crate) fn url(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("url");
        let (host, target) = rest.split_at(rest.find('/').expect("path"));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        Self {
            https: scheme == "https",
            host: host.into(),
            path: path.into(),
            query,
            headers: Vec::new(),
            ip: "198.51.100.7".parse().expect("ip"),
            country: Country::new("SE"),
            now: NOW,
            mount: 0,
        }
    }

    /// The request that `signed` was made for.
    pub(crate) fn signed(request: &SignRequest, signed: &Signed) -> Self {
        let mut asked = Self::url(&format!("{}://{}/", if request.https { "https" } else { "http" }, request.host));
        asked.path.clone_from(&signed.path);
        asked.query.clone_from(&signed.query);
        asked.headers = signed.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        asked.headers.extend(signed.cookies.iter().map(|(name, value)| ("cookie".to_owned(), format!("{name}={value}"))));
        asked.mount = request.mount;
        asked
    }

    pub(crate) fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn from(mut self, ip: &str) -> Self {
        self.ip = ip.parse().expect("ip");
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What `ask` says of its facts, at this scheme.
    ///
    /// # Errors
    /// Why there are none.
    fn facts<T>(&self, scheme: &dyn Scheme, ask: impl FnOnce(&RequestFacts<'_>) -> Result<T, Denial>) -> Result<T, Denial> {
        let tokens = scheme.path_tokens();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let path = CleanPath::parse_with_tokens(&self.path, &tokens).map_err(|_| Denial::Path)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else { return Err(Denial::Header) };
            headers.append(name, value);
        }
        let (host, port) = self.host.split_once(':').map_or((&*self.host, None), |(host, port)| (host, port.parse().ok()));
        ask(&RequestFacts {
            https: self.https,
            port,
            mount: self.mount,
            query: self.query.as_deref(),
            client_ip: self.ip,
            geo: &FixedGeo(self.country),
            ..RequestFacts::bare(host, &path, &headers)
        })
    }

    /// What `ask` says of its facts, which there must be.
    pub(crate) fn with_facts<T>(&self, scheme: &dyn Scheme, ask: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
        self.facts(scheme, |facts| Ok(ask(facts))).expect("facts")
    }

    /// The verdict: the grant, and the path and query that would go upstream.
    pub(crate) fn of(&self, scheme: &dyn Scheme) -> Result<(Grant, String), Denial> {
        self.facts(scheme, |facts| {
            let presented = scheme.present(facts)?.ok_or(Denial::Missing)?;
            let grant = scheme.open(&presented, facts)?;
            grant.check(facts, UnixTime(self.now))?;
            scheme.fits(&grant, facts)?;
            let (path, query) = carrier::target(facts, &presented.strip, &grant);
            let mut headers = facts.headers.clone();
            carrier::strip_headers(&mut headers, &presented.strip);
            let left: String = headers.iter().map(|(name, value)| format!(" {name}: {}", value.to_str().unwrap_or("?"))).collect();
            Ok((grant, format!("{path}{}{left}", query.map_or_else(String::new, |query| format!("?{query}")))))
        })
    }

    pub(crate) fn verdict(&self, scheme: &dyn Scheme) -> Result<(), Denial> {
        self.of(scheme).map(|_| ())
    }
}

/// A request to sign `url`, good for an hour.
pub(crate) fn to_sign(url: &str) -> SignRequest {
    let asked = Asked::url(url);
    SignRequest {
        https: asked.https,
        host: asked.host,
        path: asked.path,
        query: asked.query,
        expires: Some(UnixTime(NOW + 3600)),
        now: Some(UnixTime(NOW)),
        ..SignRequest::default()
    }
}

/// A config with the key set `k` and these keys.
pub(crate) fn config<C: serde::de::DeserializeOwned>(mut more: serde_json::Value) -> C {
    more["keys"] = "k".into();
    serde_json::from_value(more).expect("config")
}

fn private(pkcs8: &[u8], id: &str, algorithm: Option<Algorithm>) -> Key {
    Key::new(Material::private(pkcs8).expect("key"), Some(id), algorithm).expect("key")
}

/// An RSA key named `KRSA`.
pub(crate) fn rsa() -> Key {
    static PKCS8: OnceLock<Vec<u8>> = OnceLock::new();
    let der = PKCS8.get_or_init(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("rsa");
        AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).expect("der").as_ref().to_vec()
    });
    private(der, "KRSA", None)
}

/// A P-256 key named `KEC`.
pub(crate) fn p256() -> Key {
    static PKCS8: OnceLock<Vec<u8>> = OnceLock::new();
    let der = PKCS8.get_or_init(|| {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("ec").as_ref().to_vec()
    });
    private(der, "KEC", None)
}

/// A P-384 key without a name.
pub(crate) fn p384() -> Key {
    static PKCS8: OnceLock<Vec<u8>> = OnceLock::new();
    let der = PKCS8.get_or_init(|| {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).expect("ec").as_ref().to_vec()
    });
    Key::new(Material::private(der).expect("key"), None, Some(Algorithm::ES384)).expect("key")
}

/// An Ed25519 key.
pub(crate) fn ed25519(id: &str) -> Key {
    static PKCS8: OnceLock<Vec<u8>> = OnceLock::new();
    let der = PKCS8.get_or_init(|| Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("ed").as_ref().to_vec());
    private(der, id, None)
}

/// A set of shared secrets.
pub(crate) fn secrets(all: &[(&str, &[u8])]) -> KeySource {
    KeySource::new(KeySet::new(all.iter().map(|(id, octets)| Key::secret(Some(id), octets.to_vec())).collect()))
}
