//! From an origin's config to an origin: endpoints read, TLS material loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Uri};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::balance::{Endpoint, Origin};
use super::{HostPolicy, OriginConfig, OriginTlsConfig};
use crate::metrics::Metrics;
use crate::name::Name;

/// An origin from its config; relative file names are looked up below `base`.
///
/// # Errors
/// A sentence for the operator.
pub fn origin(name: &Name, config: &OriginConfig, base: &Path, metrics: &Metrics) -> Result<Origin, String> {
    static IDS: AtomicU64 = AtomicU64::new(1);
    if config.endpoints.is_empty() {
        return Err("an origin needs at least one endpoint".into());
    }
    let needs_tls = config.endpoints.iter().any(|e| e.starts_with("https://"));
    let tls = if needs_tls { Some(Arc::new(tls_client(&config.tls, base)?)) } else { None };
    let read = |text: &String| endpoint(text, name, config, tls.as_ref(), metrics);
    let endpoints = config.endpoints.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let fixed_host = match &config.host {
        HostPolicy::Fixed(host) => Some(HeaderValue::from_str(host).map_err(|_| format!("host \"{host}\" does not fit in a header"))?),
        HostPolicy::Endpoint | HostPolicy::Preserve => None,
    };
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    Ok(Origin::new((name.clone(), id, config.clone()), endpoints, fixed_host, metrics))
}

fn endpoint(
    text: &str,
    name: &Name,
    config: &OriginConfig,
    tls: Option<&Arc<ClientConfig>>,
    metrics: &Metrics,
) -> Result<Endpoint, String> {
    let fault = || format!("endpoint \"{text}\" is not http://host:port or https://host:port");
    let uri: Uri = text.parse().map_err(|_| fault())?;
    let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(fault)?;
    if uri.path().len() > 1 || uri.query().is_some() {
        return Err(format!("endpoint \"{text}\" must not have a path; use rewrite_prefix on the route"));
    }
    let https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(fault()),
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    let server_name = config.tls.server_name.clone().unwrap_or_else(|| host.clone());
    let tls = match tls.filter(|_| https) {
        Some(client) => {
            let verified = ServerName::try_from(server_name).map_err(|_| format!("endpoint \"{text}\": no name to verify"))?;
            Some((client.clone(), verified))
        }
        None => None,
    };
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| fault())?;
    let ejected = metrics.endpoint_ejected.with_label_values(&[name.as_str(), text]);
    Ok(Endpoint::new(text.into(), (host, port), value, tls, ejected))
}

/// The client side of TLS: own CAs or the public ones, perhaps a client certificate, HTTP/1.1.
///
/// # Errors
/// A sentence for the operator, naming the file.
pub fn tls_client(config: &OriginTlsConfig, base: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(file) => {
            for certificate in certificates(&base.join(file))? {
                roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let mut client = match (&config.client_cert_file, &config.client_key_file) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(&base.join(cert))?, private_key(&base.join(key))?)
            .map_err(|e| format!("{}: {e}", cert.display()))?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err("client_cert_file and client_key_file go together".into()),
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client)
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// A sentence that names the file.
pub fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|e| format!("{}: {e}", file.display()))?;
    if all.is_empty() { Err(format!("{}: no certificate in it", file.display())) } else { Ok(all) }
}

/// The private key of a PEM file that only its owner can read.
///
/// # Errors
/// A sentence that names the file.
pub fn private_key(file: &PathBuf) -> Result<PrivateKeyDer<'static>, String> {
    crate::files::check_mode(file)?;
    PrivateKeyDer::from_pem_file(file).map_err(|e| format!("{}: {e}", file.display()))
}
