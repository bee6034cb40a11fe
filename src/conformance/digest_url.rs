//! `digest-url` from the vectors of nginx, Fastly and the other vendors.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::Scheme;
use crate::token::scheme::digest_url::{Config, DigestUrl};

pub(super) fn build(file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let scheme = vector["scheme"].as_str().or(file["scheme"].as_str())?;
    let key = &vector["key"];
    let secret = key.as_str().or(key["secret"].as_str()).or(key["base64"].as_str()).unwrap_or("");
    let config = match scheme {
        "nginx_secure_link" => nginx(key, secret),
        "nginx_secure_link_hmac" => nginx_hmac(key),
        "fastly" => json!({ "preset": "fastly" }),
        "misc_cdn_recipes" => json!({ "preset": preset(vector["id"].as_str()?)? }),
        _ => json!({}),
    };
    Some(make(config, vector, secret))
}

fn make(mut config: Value, vector: &Value, secret: &str) -> Result<Arc<dyn Scheme>, String> {
    config["keys"] = json!("keys");
    let config: Config = super::table(config, vector)?;
    let scheme = DigestUrl::new(&config, super::secret(None, secret.as_bytes()))?;
    Ok(Arc::new(scheme))
}

fn nginx(key: &Value, secret: &str) -> Value {
    if key["mode"] == "secure_link_secret" {
        return json!({ "preset": "nginx-secure-link-secret" });
    }
    let expression = key["expression"].as_str().unwrap_or("").replace(secret, "{secret}");
    let Some(location) = key["location"].as_str() else {
        return json!({ "preset": "nginx-secure-link", "message": variables(&expression) });
    };
    // `^/slp/(?<md5v>…)/(?<expv>…)(?<rest>/(?<dir>[^/]+)/.*)$`: fixed segments, then the two captures.
    let fixed = location.trim_start_matches('^').split("/(").next().unwrap_or("");
    let message = variables(&expression.replace("$expv", "{time}").replace("$dir", "{dir.0}"));
    json!({
        "preset": "nginx-secure-link", "message": message,
        "sources": [{ "from": "path", "shape": format!("{fixed}/{{signature}}/{{time}}") }],
    })
}

fn nginx_hmac(key: &Value) -> Value {
    let message = key["message"].as_str().unwrap_or("").replace("$arg_ts", "{time}").replace("$arg_e", "{period}");
    json!({
        "preset": "nginx-hmac-secure-link", "hash": key["algorithm"], "message": variables(&message),
        // The module lets a period of zero be without an end, and the vectors record what it does.
        "require_expiry": false,
    })
}

/// nginx variables as the template's fields.
fn variables(expression: &str) -> String {
    [("$secure_link_expires", "{time}"), ("$uri", "{decoded_path}"), ("$remote_addr", "{ip}"), ("$host", "{host}"), ("$arg_", "{query.")]
        .iter()
        .fold(expression.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn preset(id: &str) -> Option<&'static str> {
    let presets = [
        ("alibaba-a", "alibaba-a"),
        ("alibaba-b", "alibaba-b"),
        ("alibaba-c", "alibaba-c"),
        ("tencent-a", "tencent-a"),
        ("tencent-b", "tencent-b"),
        ("tencent-c", "tencent-c"),
        ("tencent-d", "tencent-d"),
        ("keycdn", "keycdn"),
        ("nimble", "nimble"),
        ("flussonic", "flussonic"),
    ];
    let id = id.to_ascii_lowercase();
    presets.into_iter().find(|(prefix, _)| id.starts_with(prefix)).map(|(_, preset)| preset)
}
