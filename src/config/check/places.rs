//! Rules of what asks where addresses are: without a database whoever is asked would be refused.

use crate::config::Config;
use crate::config::fault::{Finding, Severity};
use crate::config::key_path::KeyPath;
use crate::token::attributes::Attribute;
use crate::token::near::Same;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Some(bind) = &route.bind else { continue };
        let at = KeyPath::top("routes").at(index).key("bind");
        if route.public {
            found.push(Finding::value(at.clone(), "a public route asks for no token, so there is no address to be near to"));
        }
        if bind.same.is_empty() {
            let message = "nothing has to be the same, so nobody is near";
            found.push(Finding::value(at.key("same"), message).hint("leave it out for `network`"));
        }
        for same in &bind.same {
            let asked = match same {
                Same::Network => continue,
                Same::System => Attribute::System,
                Same::Country => Attribute::Country,
            };
            found.extend(unknown(config, &asked, at.key("same")));
        }
    }
    for (name, scheme) in &config.schemes {
        for (keys, asked, of_every) in scheme.asks_where() {
            let at = keys.into_iter().fold(KeyPath::top("schemes").key(name.as_str()), |at, key| at.key(key));
            let finding = unknown(config, &asked, at);
            // Tokens without the claim still open their route.
            found.extend(finding.map(|finding| if of_every { finding } else { Finding { severity: Severity::Warning, ..finding } }));
        }
    }
}

fn unknown(config: &Config, asked: &Attribute, at: KeyPath) -> Option<Finding> {
    let (countries, systems) = (config.verifier.geoip_file.is_some(), config.verifier.asn_file.is_some());
    let (what, key) = match asked {
        Attribute::Country if !countries => ("the country", "geoip_file"),
        Attribute::System if !countries && !systems => ("the autonomous system", "asn_file"),
        _ => return None,
    };
    let finding = Finding::value(at, format!("{what} of an address is asked for, and there is no database that tells it"));
    Some(finding.hint(format!("set `verifier.{key}`")))
}
