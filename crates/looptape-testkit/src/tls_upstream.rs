//! An upstream behind TLS, with a certificate of a private authority: only those trust it who were given that.
//!
//! It answers every request with the same event stream, or as the test says, and remembers what it was asked, in
//! HTTP/1.1 or HTTP/2, as its TLS handshake agrees. It checks nothing: assertions belong to the test.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::fmt;
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
    pub method: String,
    pub body: Bytes,
}

/// What a test answers.
pub type TlsAnswer = Response<Full<Bytes>>;

type Answering = dyn Fn(&TlsRequest) -> TlsAnswer + Send + Sync;

/// What all connections share.
struct Shared {
    requests: Mutex<Vec<TlsRequest>>,
    answer: Box<Answering>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("requests", &self.requests).finish_non_exhaustive()
    }
}

/// The running upstream; dropping it closes its port.
#[must_use = "dropping the upstream ends it"]
#[derive(Debug)]
pub struct TlsUpstream {
    port: u16,
    authority_pem: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl TlsUpstream {
    /// Offers `protocols` in its handshake (ALPN), best first, and answers with [`STREAM`].
    pub async fn offering(protocols: &[&str]) -> io::Result<Self> {
        Self::answering(protocols, |_| stream()).await
    }

    /// The same with other answers.
    pub async fn answering(
        protocols: &[&str],
        answer: impl Fn(&TlsRequest) -> TlsAnswer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let authority = authority().map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(["localhost".to_owned()]).map_err(io::Error::other)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &authority.issuer).map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared { requests: Mutex::default(), answer: Box::new(answer) });
        Ok(Self {
            port: listener.local_addr()?.port(),
            authority_pem: authority.pem,
            accepting: tokio::spawn(accept(listener, Arc::new(config).into(), Arc::clone(&shared))),
            shared,
        })
    }

    /// By the name for which its certificate is made out.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// By a name for which it is not.
    pub fn url_by_address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// What has to be trusted.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    pub fn requests(&self) -> Vec<TlsRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A private authority; nobody knows it.
pub fn authority_of_nobody() -> io::Result<String> {
    authority().map(|authority| authority.pem).map_err(io::Error::other)
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a company's own authority");
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok(Authority { pem, issuer: Issuer::new(params, key) })
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    // A client that does not trust the certificate breaks off here.
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let seen = received(request).await?;
            let answer = (shared.answer)(&seen);
            shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            Ok::<_, hyper::Error>(answer)
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
        method: head.method.to_string(),
        body: body.collect().await?.to_bytes(),
    })
}

fn stream() -> TlsAnswer {
    let mut response = Response::new(Full::from(STREAM));
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
