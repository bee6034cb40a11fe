//! A small HTTP client for what the gateway itself asks: key sets, and vendors that issue credentials.
//!
//! One request a connection, no redirects, bounded in time and size. A vendor's client sends to that vendor's scheme,
//! host and port only, whatever a request says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::credential::base_url::BaseUrl;
use crate::credential::config::EndpointConfig;
use crate::credential::keeper::Sent;
use crate::proxy::origin::{OriginTlsConfig, tls_client};
use crate::verifier::jwks::{Fetch, Fetched, MAX_BODY, shown};

/// Longest time for a whole fetch of a key set.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client of key sets.
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
        let request = Request::get(url)
            .header("accept", "application/jwk-set+json, application/json")
            .body(Bytes::new())
            .map_err(|_| "not a URL".to_owned())?;
        let response = send(&self.tls, request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        Ok(response.into_body().to_vec())
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

/// The client of one vendor.
pub struct HttpClient {
    tls: Arc<rustls::ClientConfig>,
    bases: Vec<BaseUrl>,
    timeout: Duration,
}

impl HttpClient {
    /// A client that sends to the places of `bases` only.
    ///
    /// # Errors
    /// A sentence that names the file that cannot be used.
    pub fn new(config: &EndpointConfig, bases: Vec<BaseUrl>) -> Result<Self, String> {
        let tls = OriginTlsConfig {
            ca_file: config.ca_file.clone(),
            client_cert_file: config.client_cert_file.clone(),
            client_key_file: config.client_key_file.clone(),
            ..OriginTlsConfig::default()
        };
        Ok(Self { tls: Arc::new(tls_client(&tls, Path::new("/"))?), bases, timeout: config.timeout.0 })
    }
}

impl crate::credential::Client for HttpClient {
    fn send(&self, request: Request<Bytes>) -> Sent<'_> {
        Box::pin(async move {
            let Some(base) = self.bases.iter().find(|base| base.holds(request.uri())) else {
                return Err("the request leads to another place than the vendor's".into());
            };
            let answer = tokio::time::timeout(self.timeout, send(&self.tls, request)).await;
            answer.unwrap_or_else(|_| Err("no answer in time".into())).map_err(|fault| format!("{}: {fault}", base.authority()))
        })
    }
}

/// The whole answer to a request with an absolute URI.
async fn send(tls: &Arc<rustls::ClientConfig>, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let uri = request.uri();
    let host = uri.host().ok_or("no host in the URL")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|e| format!("cannot connect: {e}"))?;
    if !https {
        return exchange(tcp, request).await;
    }
    let name = ServerName::try_from(host).map_err(|_| "no name to verify".to_owned())?;
    let connector = tokio_rustls::TlsConnector::from(tls.clone());
    let stream = connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
    exchange(stream, request).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with the sender, at the end of this function.
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    let host = HeaderValue::from_str(head.uri.authority().map_or("", |a| a.as_str())).map_err(|_| "no host in the URL".to_owned())?;
    head.headers.insert(HOST, host);
    head.uri = Uri::from(head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")));
    let response = sender.send_request(Request::from_parts(head, Full::new(body))).await.map_err(|e| e.to_string())?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| "the body is too long or broke off".to_owned())?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
