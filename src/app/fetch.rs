//! A small HTTP client for key sets: one GET, no redirects, bounded in time and size.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::proxy::origin::{OriginTlsConfig, tls_client};
use crate::verifier::jwks::{Fetch, Fetched, MAX_BODY, shown};

/// Longest time for a whole fetch.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client.
pub struct HttpFetch {
    tls: Arc<rustls::ClientConfig>,
}

impl HttpFetch {
    /// A client that trusts the CAs of `ca_file`, or the public ones.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let config = OriginTlsConfig { ca_file: ca_file.map(Path::to_owned), ..OriginTlsConfig::default() };
        Ok(Self { tls: Arc::new(tls_client(&config, Path::new("/"))?) })
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let host = uri.host().ok_or("no host in the URL")?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|e| format!("cannot connect: {e}"))?;
        if !https {
            return exchange(tcp, &uri).await;
        }
        let name = ServerName::try_from(host).map_err(|_| "no name to verify".to_owned())?;
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
        exchange(stream, &uri).await
    }
}

impl Fetch for HttpFetch {
    fn fetch<'f>(&'f self, url: &'f str) -> Fetched<'f> {
        Box::pin(async move {
            let got = tokio::time::timeout(PATIENCE, self.get(url)).await;
            got.unwrap_or_else(|_| Err("no answer in time".into())).map_err(|fault| format!("{}: {fault}", shown(url)))
        })
    }
}

impl Fetch for Arc<HttpFetch> {
    fn fetch<'f>(&'f self, url: &'f str) -> Fetched<'f> {
        self.as_ref().fetch(url)
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, uri: &Uri) -> Result<Vec<u8>, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with the sender, at the end of this function.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |pq| pq.as_str());
    let request = Request::get(path)
        .header("host", uri.authority().map_or("", |a| a.as_str()))
        .header("accept", "application/jwk-set+json, application/json")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|_| "the body is too long or broke off".to_owned())?;
    Ok(body.to_bytes().to_vec())
}
