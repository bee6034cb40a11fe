//! What the config asks of the dates in a token: the same three keys for every scheme that has them in claims.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::jws::{Dates, TimeRules};
use crate::units::Period;

/// A part of a scheme's own table, which is the one that refuses unknown keys.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct Times {
    /// Refuses tokens without `exp`, because they would be good for ever.
    #[serde(default = "yes")]
    pub require_expiry: bool,
    /// Longest time from `iat` (or `nbf`) to `exp`. Tokens with neither are then refused; those of `cloudflare-stream` are not
    /// measured, because the vendor's own recipe leaves both out.
    #[serde(default)]
    pub max_lifetime: Option<Period>,
    /// How far clocks may differ: added to `exp`, taken from `nbf`.
    #[serde(default = "none")]
    pub leeway: Period,
}

const fn yes() -> bool {
    true
}

const fn none() -> Period {
    Period::seconds(0)
}

impl Times {
    /// The rules that these keys say.
    #[must_use]
    pub fn rules(&self) -> TimeRules {
        TimeRules {
            dates: Dates::Numbers,
            require_expiry: self.require_expiry,
            leeway: self.leeway.as_unix(),
            max_lifetime: self.max_lifetime.map(Period::as_unix),
            pass_without_start: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::token::scheme::config::SchemeConfig;

    /// The scheme's own table takes these keys in, and no others besides its own.
    #[test]
    fn every_scheme_with_dates_in_claims_has_the_keys_and_stays_closed() {
        for kind in ["amazon-ivs", "aws-smd", "cloudflare-stream", "cta-5007", "jwt", "rfc9246"] {
            let table = |key: &str, value: serde_json::Value| {
                serde_json::from_value::<SchemeConfig>(json!({ "type": kind, "keys": "k", key: value })).map_err(|fault| fault.to_string())
            };
            for (key, value) in [("require_expiry", json!(false)), ("max_lifetime", json!("12h")), ("leeway", json!("5s"))] {
                assert!(table(key, value).is_ok(), "{kind} {key}");
            }
            let fault = table("leewey", json!("5s")).expect_err("not a key");
            assert!(fault.contains("unknown field `leewey`"), "{kind}: {fault}");
            assert!(table("leeway", json!("a while")).is_err(), "{kind}");
        }
    }
}
