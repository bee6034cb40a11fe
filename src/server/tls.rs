//! TLS towards callers: certificates by name, protocol by ALPN.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsConfig;
use crate::metrics::Metrics;
use crate::proxy::origin::{certificates, private_key};

/// Certificates by the names in them.
#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return Some(self.first.clone()) };
        // RFC 6066 §3: names compare without case; rustls gives them in lower case, this does not rely on it.
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.exact.get(&format!("*.{parent}")));
        Some(self.exact.get(&name).or_else(wildcard).unwrap_or(&self.first).clone())
    }
}

/// The TLS side of a listener; relative file names are looked up below `base`.
///
/// # Errors
/// A sentence for the operator, naming the file.
pub fn server_config(config: &TlsConfig, base: &Path, metrics: &Metrics) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut exact = HashMap::new();
    let mut first = None;
    for certificate in &config.certificates {
        let chain = certificates(&base.join(&certificate.cert_file))?;
        let facts = leaf_facts(&chain[0]).map_err(|e| format!("{}: {e}", certificate.cert_file.display()))?;
        let key = private_key(&base.join(&certificate.key_file))?;
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|e| format!("{} and {}: {e}", certificate.cert_file.display(), certificate.key_file.display()))?;
        let certified = Arc::new(certified);
        let label = certificate.cert_file.display().to_string();
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
        metrics.certificate_not_after.with_label_values(&[label.as_str()]).set(facts.not_after as f64);
        for name in facts.names {
            exact.entry(name).or_insert_with(|| certified.clone());
        }
        first.get_or_insert(certified);
    }
    let first = first.ok_or("tls needs at least one certificate")?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { exact, first }));
    server.ignore_client_order = true;
    server.alpn_protocols = if config.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(server)
}

struct LeafFacts {
    names: Vec<String>,
    not_after: i64,
}

/// Names and end of a certificate.
fn leaf_facts(der: &[u8]) -> Result<LeafFacts, String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|e| format!("not a certificate: {e}"))?;
    let names = certificate.subject_alternative_name().ok().flatten().map_or_else(Vec::new, |extension| {
        extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect()
    });
    Ok(LeafFacts { names, not_after: certificate.validity().not_after.timestamp() })
}
