//! Recorded exchanges of the vendors' own clients, to hold providers against.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::{Ask, Issued};
use crate::clock::UnixTime;
use crate::credential::config::{Around, Source, Table};

pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(super) fn ask<'a>(resource: Option<&'a str>, previous: Option<&'a Issued>) -> Ask<'a> {
    Ask { now: NOW, resource, length: None, previous, nonce: 7 }
}

/// The environment of a test.
pub(super) fn variable(name: &str) -> Option<String> {
    let known = [
        ("API_KEY", "9VxMaPgsaFg7EBqmuspSzF7"),
        ("CF_TOKEN", "cf-api-token"),
        ("CF_KEY", "cf-api-key"),
        ("CF_PEM", "LS0tLS1CRUdJTg=="),
        ("MUX_SECRET", "tsec"),
        ("PRIVATE_KEY", "priv1key"),
        ("ENCRYPTION_KEY", "enc1key"),
    ];
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

/// The exchanges of one vendor.
pub(super) struct Recorded(Vec<Value>);

impl Recorded {
    pub(super) fn of(text: &str) -> Self {
        let file: Value = serde_json::from_str(text).expect("JSON");
        Self(file["exchanges"].as_array().expect("a list").clone())
    }

    /// The exchange whose call begins so.
    pub(super) fn call(&self, begins: &str) -> &Value {
        let found = self.0.iter().find(|exchange| exchange["call"].as_str().is_some_and(|call| call.starts_with(begins)));
        found.unwrap_or_else(|| panic!("no call {begins}"))
    }

    /// The answer that was given.
    pub(super) fn answer(&self, begins: &str) -> Response<Bytes> {
        let answer = &self.call(begins)["answer"];
        let body = if answer["body"].is_null() { String::new() } else { answer["body"].to_string() };
        let mut response = Response::builder().status(u16::try_from(answer["status"].as_u64().expect("a status")).expect("a status"));
        for (name, value) in answer["fields"].as_object().expect("fields") {
            response = response.header(name, value.as_str().expect("text"));
        }
        response.body(Bytes::from(body)).expect("an answer")
    }

    /// Holds `ours` against what the vendor's client sent: method, target, authorization, and the body by what it means.
    pub(super) fn check(&self, begins: &str, ours: &Request<Bytes>) {
        let theirs = &self.call(begins)["request"];
        let target = ours.uri().path_and_query().map_or("", |target| target.as_str());
        assert_eq!((ours.method().as_str(), target), (text(&theirs["method"]), text(&theirs["target"])), "{begins}");
        let field = |name: &str| ours.headers().get(name).map_or("", |value| value.to_str().expect("text"));
        for name in ["authorization", "x-auth-email", "tus-resumable", "upload-length", "upload-metadata"] {
            if let Some(expected) = theirs["fields"][name].as_str() {
                let expected = expected.replacen("bearer ", "Bearer ", 1);
                assert_eq!(field(name), expected, "{begins}: {name}");
            }
        }
        if let Some(body) = theirs["body"].as_str().filter(|body| body.starts_with('{')) {
            let read = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON");
            assert_eq!(read(ours.body()), read(body.as_bytes()), "{begins}: body");
            assert_eq!(field("content-type"), "application/json", "{begins}");
        } else if let Some(body) = theirs["body"].as_str() {
            assert_eq!(std::str::from_utf8(ours.body()).expect("text"), body, "{begins}: body");
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// An answer of ours.
pub(super) fn answer(status: u16, body: &Value) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::from(body.to_string())).expect("an answer")
}

/// Builds with the environment of a test.
pub(super) fn around<T>(build: impl FnOnce(&Around<'_>) -> T) -> T {
    build(&Around::new(&variable, &|_| None))
}

/// What a table makes.
pub(super) fn source(table: &dyn Table) -> Result<Source, String> {
    around(|around| table.build(around))
}

/// A private RSA key as PEM.
pub(super) fn rsa_pem() -> String {
    use base64::Engine as _;
    let key = crate::token::scheme::testing::rsa();
    let der = base64::engine::general_purpose::STANDARD.encode(key.private_der().expect("a private key").expose());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}
