//! Rules of credentials: what each vendor's table says of itself, and what all have in common.

use super::{Amount, not_zero};
use crate::config::Config;
use crate::config::fault::Finding;
use crate::config::key_path::KeyPath;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    for (name, credential) in &config.credentials {
        let path = KeyPath::top("credentials").key(name.as_str());
        let table = credential.table();
        found.extend(table.faults().into_iter().map(|(key, message)| Finding::value(path.key(key), message)));
        let keep = table.keep();
        let amounts: [(&str, &dyn Amount); 3] =
            [("calls_burst", &keep.calls_burst), ("calls_per_minute", &keep.calls_per_minute), ("max_values", &keep.max_values)];
        not_zero(&path.key("keep"), &amounts, found);
        let Some(endpoint) = table.endpoint() else { continue };
        let path = path.key("endpoint");
        not_zero(&path, &[("timeout", &endpoint.timeout)], found);
        match (&endpoint.client_cert_file, &endpoint.client_key_file) {
            (Some(_), None) => found.push(Finding::key(path.key("client_cert_file"), "a client certificate needs its `client_key_file`")),
            (None, Some(_)) => found.push(Finding::key(path.key("client_key_file"), "a client key needs its `client_cert_file`")),
            _ => {}
        }
    }
}
