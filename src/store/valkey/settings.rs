//! From the table of a store to clients. Every fault is a sentence for the operator.

use std::path::Path;
use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use zeroize::Zeroizing;

use super::ValkeyStoreConfig;
use super::link::Way;
use crate::files;

/// Where relative paths begin, and what the environment holds.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    /// The folder of the config file.
    pub folder: &'p Path,
    /// Reads an environment variable.
    pub variable: &'p dyn Fn(&str) -> Option<String>,
}

pub(super) fn way(config: &ValkeyStoreConfig, place: Place<'_>) -> Result<Way, String> {
    // Only the first call takes effect; a provider that is set already stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let urls: Vec<&String> = std::iter::once(&config.url).chain(&config.more_urls).collect();
    if !config.cluster && urls.len() > 1 {
        return Err("more_urls are the nodes of a cluster; set cluster = true".to_owned());
    }
    let password = password(config, place)?;
    let certificates = certificates(config, place)?;
    let infos =
        urls.into_iter().map(|url| info(url, config, password.as_ref().map(|text| text.as_str()))).collect::<Result<Vec<_>, _>>()?;
    let clients = infos.iter().map(|info| client(info, certificates.as_ref())).collect::<Result<Vec<_>, _>>()?;
    if !config.cluster {
        return clients.into_iter().next().map(|client| Way::Single(Box::new(client))).ok_or_else(|| "no url".to_owned());
    }
    let mut builder = redis::cluster::ClusterClient::builder(infos)
        .connection_timeout(config.connect_timeout.0)
        .response_timeout(longest(config))
        .retries(1);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    let cluster = builder.build().map_err(|e| format!("{e}"))?;
    Ok(Way::Cluster(Box::new(cluster), clients))
}

/// The longest wait for what no viewer waits for.
#[must_use]
pub fn longest(config: &ValkeyStoreConfig) -> Duration {
    config.connect_timeout.0 + config.timeout.0
}

/// What all keys begin with. The braces are a hash tag: a cluster keeps all keys with the same one in one place, which is
/// what lets one script decide over all of them.
#[must_use]
pub fn base(config: &ValkeyStoreConfig) -> String {
    let prefix = &config.prefix;
    if prefix.contains('{') { prefix.clone() } else { format!("{{{prefix}}}") }
}

fn info(url: &str, config: &ValkeyStoreConfig, password: Option<&str>) -> Result<ConnectionInfo, String> {
    // What stands behind `#` turns the check of certificates off.
    if url.contains('#') {
        return Err("url must not contain `#`".to_owned());
    }
    let info = url.into_connection_info().map_err(|_| "url is not redis://host:port or rediss://host:port".to_owned())?;
    if info.redis_settings().password().is_some() || info.redis_settings().username().is_some() {
        return Err("url must not carry a user or password; use username and password_file".to_owned());
    }
    let mut settings = info.redis_settings().clone();
    if let Some(user) = &config.username {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    Ok(info.set_redis_settings(settings))
}

fn client(info: &ConnectionInfo, certificates: Option<&TlsCertificates>) -> Result<Client, String> {
    let made = match certificates {
        Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone()),
        None => Client::open(info.clone()),
    };
    made.map_err(|e| format!("{e}"))
}

fn password(config: &ValkeyStoreConfig, place: Place<'_>) -> Result<Option<Zeroizing<String>>, String> {
    let text = match (&config.password_file, &config.password_env) {
        (None, None) if config.username.is_some() => return Err("a username needs password_file or password_env".to_owned()),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err("only one of password_file and password_env may be set".to_owned()),
        (Some(file), None) => {
            let text = files::read_secret(&place.folder.join(file))?;
            Zeroizing::new(text.expose().clone())
        }
        (None, Some(name)) => {
            let text = (place.variable)(name).ok_or_else(|| format!("environment variable {name} is not set"))?;
            Zeroizing::new(text)
        }
    };
    if text.is_empty() {
        return Err("the password is empty".to_owned());
    }
    Ok(Some(text))
}

fn certificates(config: &ValkeyStoreConfig, place: Place<'_>) -> Result<Option<TlsCertificates>, String> {
    let client_tls = match (&config.client_cert_file, &config.client_key_file) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(&place.folder.join(chain))?.to_vec(),
            client_key: files::read_secret_bytes(&place.folder.join(key))?.to_vec(),
        }),
        _ => return Err("client_cert_file and client_key_file go together".to_owned()),
    };
    let root_cert = config.ca_file.as_ref().map(|file| read(&place.folder.join(file)).map(|bytes| bytes.to_vec())).transpose()?;
    if client_tls.is_none() && root_cert.is_none() {
        return Ok(None);
    }
    if !config.url.starts_with("rediss://") {
        return Err("certificates are for TLS; begin url with rediss://".to_owned());
    }
    Ok(Some(TlsCertificates { client_tls, root_cert }))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(Zeroizing::new).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

#[cfg(test)]
mod tests;
