//! A provider that answers at once, or at the pace of a real one.
//!
//! It reads requests to their end and looks only for `"stream":true`. Replies differ from call to call, as
//! real ones do; their size does not.

use crate::Failure;
use crate::conversation::{self, REPLY_BYTES, Words};
use http::{Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Tokens of a paced stream, the wait before the first, and the wait between two.
const TOKENS: u64 = 50;
const FIRST_TOKEN: Duration = Duration::from_millis(100);
const BETWEEN_TOKENS: Duration = Duration::from_millis(20);

static REPLIES: AtomicU64 = AtomicU64::new(1);

type Body = BoxBody<Bytes, Infallible>;

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away is no failure of the benchmark.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let is_messages = request.uri().path().ends_with("/messages");
    let body = request.into_body().collect().await?.to_bytes();
    let number = REPLIES.fetch_add(1, Ordering::Relaxed);
    // The client puts it first.
    if body.starts_with(conversation::STREAMED) {
        return respond("text/event-stream", paced(number));
    }
    let text = Words::new(number).text(REPLY_BYTES);
    let json = match is_messages {
        true => format!(
            r#"{{"id":"msg_{number:024}","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":256}}}}"#,
            body.len() / 4
        ),
        false => format!(
            r#"{{"id":"chatcmpl-{number:024}","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{},"completion_tokens":256,"total_tokens":{}}}}}"#,
            body.len() / 4,
            body.len() / 4 + 256
        ),
    };
    respond("application/json", Full::new(Bytes::from(json)).boxed())
}

fn respond(content_type: &'static str, body: Body) -> Result<Response<Body>, Failure> {
    let response = Response::builder().header(header::CONTENT_TYPE, content_type);
    Ok(response.header("x-request-id", "req_011CTfixed").header("server", "upstream").body(body)?)
}

/// Tokens at their times, one event and one write each.
fn paced(number: u64) -> Body {
    let start = Instant::now() + FIRST_TOKEN;
    let tokens = futures_util::stream::unfold(0u64, move |n| async move {
        let at = start + BETWEEN_TOKENS * u32::try_from(n.min(TOKENS - 1)).ok()?;
        tokio::time::sleep_until(at).await;
        let event = match n {
            0..TOKENS => format!(
                "data: {{\"id\":\"chatcmpl-{number:024}\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}]}}\n\n",
                Words::new(number + n).text(5)
            ),
            TOKENS => "data: [DONE]\n\n".to_owned(),
            _ => return None,
        };
        Some((Ok(Frame::data(Bytes::from(event))), n + 1))
    });
    BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(tokens))))
}

/// A stream that is polled by one owner only: so it may be shared, which a boxed body asks for.
struct SyncStream(
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>,
);

impl futures_util::Stream for SyncStream {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}
