//! What the tests of schemes and keepers share: keys made once, requests built in a line, tokens with any claims.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rsa::{KeyPair, KeySize};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};

use crate::path::CleanPath;
use crate::token::access::FixedGeo;
use crate::token::key::Material;
use crate::token::{Algorithm, Country, Denial, Grant, Key, KeySet, KeySource, RequestFacts, Scheme, Strip, jws};

/// The second at which the tests take place.
pub(crate) const NOW: i64 = 1_760_000_000;

fn pair(cell: &'static OnceLock<Vec<u8>>) -> &'static [u8] {
    cell.get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("rsa");
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).expect("der");
        der.as_ref().to_vec()
    })
}

/// An RSA key pair, the same in every call, under this id and RS256.
pub(crate) fn rsa(id: Option<&str>) -> Key {
    static PAIR: OnceLock<Vec<u8>> = OnceLock::new();
    Key::new(Material::private(pair(&PAIR)).expect("material"), id, None).expect("key")
}

/// Another one.
pub(crate) fn other_rsa(id: Option<&str>) -> Key {
    static PAIR: OnceLock<Vec<u8>> = OnceLock::new();
    Key::new(Material::private(pair(&PAIR)).expect("material"), id, None).expect("key")
}

/// A secret under HS256.
pub(crate) fn secret(id: Option<&str>) -> Key {
    Key::new(Material::octets(b"0123456789abcdef0123456789abcdef".to_vec()), id, Some(Algorithm::HS256)).expect("key")
}

/// A source of these keys.
pub(crate) fn source(keys: Vec<Key>) -> KeySource {
    KeySource::new(KeySet::new(keys))
}

/// An object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

/// A token with this header and these claims.
pub(crate) fn token(key: &Key, header: Value, claims: Value) -> String {
    jws::sign(key, object(header), &object(claims)).expect("signs")
}

/// A request to be judged.
pub(crate) struct Request {
    pub(crate) path: CleanPath,
    pub(crate) query: Option<String>,
    pub(crate) mount: usize,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
    pub(crate) host: &'static str,
    pub(crate) client_ip: IpAddr,
    pub(crate) geo: FixedGeo,
}

impl Request {
    /// `GET https://media.example.com{target}` from 198.51.100.7 in Sweden.
    pub(crate) fn get(target: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        Self {
            path: CleanPath::parse(path).expect("clean"),
            query,
            mount: 0,
            headers: HeaderMap::new(),
            method: Method::GET,
            host: "media.example.com",
            client_ip: IpAddr::from([198, 51, 100, 7]),
            geo: FixedGeo(Country::new("SE")),
        }
    }

    /// With one header more.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"));
        self
    }

    /// From another address.
    pub(crate) fn from(mut self, ip: &str) -> Self {
        self.client_ip = ip.parse().expect("address");
        self
    }

    /// Its facts.
    pub(crate) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &self.method,
            mount: self.mount,
            query: self.query.as_deref(),
            client_ip: self.client_ip,
            geo: &self.geo,
            ..RequestFacts::bare(self.host, &self.path, &self.headers)
        }
    }
}

/// What came of a good token.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) grant: Grant,
    pub(crate) strip: Vec<Strip>,
}

/// A scheme as routes hold it.
pub(crate) fn route(scheme: impl Scheme + 'static) -> Arc<dyn Scheme> {
    Arc::new(scheme)
}

/// The scheme's own decision on `request` at `now`, nothing remembered.
pub(crate) fn decide(scheme: &Arc<dyn Scheme>, request: &Request, now: i64) -> Result<Judged, Denial> {
    let facts = request.facts();
    let presented = scheme.present(&facts)?.ok_or(Denial::Missing)?;
    let grant = scheme.open(&presented, &facts)?;
    grant.check_presented(&presented, &facts, crate::clock::UnixTime(now))?;
    scheme.fits(&grant, &facts)?;
    Ok(Judged { grant, strip: presented.strip })
}
