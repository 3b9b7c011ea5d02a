//! The least that a reverse proxy must do: hyper on both sides, nothing looked at, nothing kept.

use crate::Failure;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Upstream = Client<HttpConnector, BoxBody<Bytes, hyper::Error>>;

pub(crate) async fn serve(listener: TcpListener, upstream: String) -> Result<(), Failure> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1024).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), upstream.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| forward(request, &client, &upstream));
            // A client that goes away is no failure of the benchmark.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn forward(
    request: Request<Incoming>,
    client: &Upstream,
    upstream: &str,
) -> Result<Response<Incoming>, Failure> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |p| p.as_str());
    head.uri = format!("{upstream}{target}").parse()?;
    head.headers.remove(header::HOST);
    head.headers.remove(header::CONNECTION);
    let mut response = client.request(Request::from_parts(head, body.boxed())).await?;
    response.headers_mut().remove(header::CONNECTION);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(response)
}
