//! Mux: what its SDK for Node asks. Nobody calls the gateway in Mux's words: it is the gateway that makes keys and addresses there.

use serde_json::json;

use tollgate::credential::config::Around;
use tollgate::credential::provider::mux::{Mux as Asker, MuxConfig};

use super::asked::{asks, provider, same};
use super::{Put, exchanges};
use crate::support::vendors::mux::{Mux, TOKEN};

#[test]
fn its_provider_asks_as_the_sdk_does() {
    let table = |issue: &str, scope: &str| json!({ "type": "mux", "token_id": TOKEN.0, "token_secret_env": "SECRET", "issue": issue, "scope": scope });
    let keys = table("signing-key", "route");
    let mut config = keys.clone();
    config.as_object_mut().expect("a table").remove("type");
    let config: MuxConfig = serde_json::from_value(config).expect("a config");
    let variable = |_: &str| Some(TOKEN.1.to_owned());
    let asker = Asker::new(&config, &Around::new(&variable, &|_| None)).expect("an asker");
    let vendor = Mux::default();
    for exchange in exchanges("mux_node.json") {
        match exchange.call.as_str() {
            "system.signingKeys.create" => asks(&exchange, &*provider(&keys, TOKEN.1), &vendor),
            "system.signingKeys.list" => same(&exchange, asker.list_keys(10, 1).expect("a request"), &vendor, &Put::default()),
            "system.signingKeys.delete" => {
                let id = vendor.keys().remove(0);
                same(&exchange, asker.delete_key(&id).expect("a request"), &vendor, &Put::of(&[("KEYID0123", &id)]));
                assert!(!vendor.keys().contains(&id), "{exchange}");
            }
            "video.uploads.create" => asks(&exchange, &*provider(&table("direct-upload", "session"), TOKEN.1), &vendor),
            other => panic!("nobody asks {other}"),
        }
    }
}
