//! The least that a server of recordings must do: hyper, a digest of the request, the body from memory.

use crate::Failure;
use crate::loops::{Call, Loops};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use looptape_core::Digest;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

type Replies = HashMap<Digest, Bytes>;

pub(crate) fn load(file: &Path) -> Result<Arc<Replies>, Failure> {
    let keyed = |call: Call| (Digest::of(&call.request), call.reply);
    Ok(Arc::new(Loops::read(file)?.into_iter().map(keyed).collect()))
}

pub(crate) async fn serve(listener: TcpListener, replies: Arc<Replies>) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let replies = replies.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &replies));
            // A client that goes away is no failure of the benchmark.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, replies: &Replies) -> Result<Response<Full<Bytes>>, Failure> {
    let body = request.into_body().collect().await?.to_bytes();
    let (status, reply) = match replies.get(&Digest::of(&body)) {
        Some(reply) => (StatusCode::OK, reply.clone()),
        None => (StatusCode::NOT_FOUND, Bytes::from_static(b"no such recording")),
    };
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    Ok(response.body(Full::new(reply))?)
}
