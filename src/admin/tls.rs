//! TLS towards operators. A client certificate is asked for and not demanded: `/metrics` and `/live` are for everybody who
//! reaches the listener, and what changes state wants the certificate, or the admin token.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::AdminTlsConfig;
use crate::proxy::origin::{certificates, private_key};

/// The TLS side of the operators' listener. Paths are absolute in a loaded config.
///
/// # Errors
/// A sentence for the operator, naming the file.
pub fn server_config(config: &AdminTlsConfig) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| fault(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build().map_err(|e| fault(&e))?)
        }
    };
    let mut server = builder
        .with_single_cert(certificates(&config.cert_file)?, private_key(&config.key_file)?)
        .map_err(|e| format!("{} and {}: {e}", config.cert_file.display(), config.key_file.display()))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}
