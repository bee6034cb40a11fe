//! What the gateway's own providers ask their vendors, held against what the SDKs were recorded to ask, and both against the stand-ins.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::Value;

use tollgate::clock::UnixTime;
use tollgate::credential::config::{Around, Source};
use tollgate::credential::{Ask, CredentialConfig, Provider};
use tollgate::demo::vendor::{Call, Vendor};

use super::{Exchange, Put};

/// Before the ends that were recorded.
const NOW: UnixTime = UnixTime(1_700_000_000);

/// What asks a vendor by this table, with `secret` as its credential.
pub(super) fn provider(table: &Value, secret: &str) -> Box<dyn Provider> {
    let config: CredentialConfig = serde_json::from_value(table.clone()).expect("a table");
    let variable = |name: &str| (name == "SECRET").then(|| secret.to_owned());
    match config.table().build(&Around::new(&variable, &|_| None)).expect("a source") {
        Source::Vendor(provider) => provider,
        Source::Mint(_) => panic!("{table} asks nobody"),
    }
}

/// The provider's first request is the recorded one, and the stand-in takes both.
pub(super) fn asks(exchange: &Exchange, provider: &dyn Provider, vendor: &impl Vendor) {
    let length = exchange.header("upload-length").map(|length| length.parse().expect("a number"));
    let request = provider.request(&Ask { length, ..Ask::first(NOW) }).expect("a request");
    same(exchange, request, vendor, &Put::default());
}

/// The same of a request, and of a recorded one in which something of the stand-in's own is `put`.
pub(super) fn same(exchange: &Exchange, request: Request<Bytes>, vendor: &impl Vendor, put: &Put) {
    let recorded = recorded(exchange, put);
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().expect("a path").as_str().parse().expect("a target");
    let length = body.len() as u64;
    let sent = Call { method: head.method, target, headers: head.headers, body, length, whole: true };
    assert_eq!((&sent.method, &sent.target), (&recorded.method, &recorded.target), "{exchange}");
    assert_eq!(said(&sent), said(&recorded), "{exchange}");
    for call in [&recorded, &sent] {
        let given = vendor.answer(call, NOW);
        assert_eq!(given.status(), exchange.status(), "{exchange}: {:?}", given.body());
        for name in exchange.given["headers"].as_object().expect("fields").keys() {
            assert!(given.headers().contains_key(name), "{exchange}: the stand-in says no {name}");
        }
        let body = serde_json::from_slice(given.body()).unwrap_or_default();
        for below in ["", "/data", "/data/0", "/result"] {
            exchange.names(below, &body);
        }
        if call.method == http::Method::DELETE {
            return;
        }
    }
}

fn recorded(exchange: &Exchange, put: &Put) -> Call {
    let headers: HeaderMap = exchange
        .headers()
        .map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value")))
        .collect();
    let body = Bytes::from(exchange.body(put));
    let target = put.into(exchange.text("target")).parse().expect("a target");
    Call { method: exchange.method().parse().expect("a method"), target, headers, length: body.len() as u64, body, whole: true }
}

/// What matters of a request beside its target: who asks, in which form, and what is named.
fn said(call: &Call) -> Vec<String> {
    let field = |name: &str| call.field(name).map(str::to_owned).unwrap_or_default();
    let who = field("authorization").split_once(' ').map(|(word, key)| format!("{} {key}", word.to_ascii_lowercase()));
    // A client may say the type of a body that it does not send.
    let kind = if call.body.is_empty() { String::new() } else { field("content-type") };
    let metadata = field("upload-metadata");
    let named = metadata.split(',').filter_map(|pair| pair.split(' ').next()).map(str::to_owned);
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let names: BTreeSet<String> = named.chain(names(&body, "")).collect();
    [who.unwrap_or_default(), kind, field("tus-resumable"), field("upload-length")].into_iter().chain(names).collect()
}

/// The members of an object and of those in it.
fn names(value: &Value, above: &str) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    members.flat_map(|(name, below)| [vec![format!("{above}/{name}")], names(below, &format!("{above}/{name}"))].concat()).collect()
}
