//! An upstream behind TLS, with a certificate that only those trust who were given it.
//!
//! It answers every request with the same event stream and remembers what it was asked, in HTTP/1.1 or HTTP/2, as
//! its TLS handshake agrees. It checks nothing: assertions belong to the test.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What it answers, as `text/event-stream`.
pub const STREAM: &str = "data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRequest {
    pub version: Version,
    /// From the `host` header, or HTTP/2's `:authority`.
    pub authority: String,
    /// Path and query.
    pub target: String,
    pub body: Bytes,
}

/// The running upstream; dropping it closes its port.
#[must_use = "dropping the upstream ends it"]
#[derive(Debug)]
pub struct TlsUpstream {
    port: u16,
    certificate_pem: String,
    requests: Arc<Mutex<Vec<TlsRequest>>>,
    accepting: JoinHandle<()>,
}

impl TlsUpstream {
    /// Offers `protocols` in its handshake (ALPN), best first.
    pub async fn offering(protocols: &[&str]) -> io::Result<Self> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let requests = Arc::default();
        Ok(Self {
            port: listener.local_addr()?.port(),
            certificate_pem: own.cert.pem(),
            accepting: tokio::spawn(accept(listener, Arc::new(config).into(), Arc::clone(&requests))),
            requests,
        })
    }

    /// By the name for which its certificate is made out.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// What has to be trusted.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn requests(&self) -> Vec<TlsRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, requests: Arc<Mutex<Vec<TlsRequest>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, tls.clone(), Arc::clone(&requests)));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, requests: Arc<Mutex<Vec<TlsRequest>>>) {
    // A client that does not trust the certificate breaks off here.
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let requests = Arc::clone(&requests);
        async move {
            let seen = received(request).await?;
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            Ok::<_, hyper::Error>(answer())
        }
    });
    // Its client may hang up.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn received(request: Request<Incoming>) -> hyper::Result<TlsRequest> {
    let (head, body) = request.into_parts();
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    Ok(TlsRequest {
        version: head.version,
        authority: head.uri.authority().map(|a| a.as_str()).or(host).unwrap_or_default().to_owned(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        body: body.collect().await?.to_bytes(),
    })
}

fn answer() -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>> {
    let mut response = Response::new(Full::from(STREAM));
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
