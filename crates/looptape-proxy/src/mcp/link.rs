//! A shim's end of the connection to looptape: one request whose body it writes, one answer whose body it reads.

use super::frame::{Frame, Frames};
use crate::reply::BodyError;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use looptape_core::TraceId;
use looptape_core::mcp::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use url::Url;

/// Frames that may wait for the connection to take them.
const WAITING: usize = 1024;

/// Why looptape cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(
        "LOOPTAPE_URL is `{url}`, which is no address of a looptape: it looks like http://127.0.0.1:PORT"
    )]
    Url { url: String },
    #[error(
        "no looptape answers at {url} ({why}): is the `looptape record` or `looptape replay` over that started this?"
    )]
    Unreachable { url: String, why: String },
    #[error("looptape at {url} refuses: {message}")]
    Refused { url: String, message: String },
    #[error("the connection to looptape broke: {0}")]
    Broken(String),
}

/// A connection that is open.
#[derive(Debug)]
pub struct Link {
    url: String,
    sender: Sender<Bytes, BodyError>,
    answer: JoinHandle<Result<Response<Incoming>, hyper::Error>>,
}

impl Link {
    /// Connects to the looptape at `url`, on behalf of a server's client.
    pub async fn open(url: &str, trace: &TraceId, server: &ServerName) -> Result<Self, LinkError> {
        let wrong = || LinkError::Url { url: url.to_owned() };
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "http").ok_or_else(wrong)?;
        let host = parsed.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']);
        let port = parsed.port_or_known_default().ok_or_else(wrong)?;
        let unreachable = |error: &dyn std::fmt::Display| LinkError::Unreachable {
            url: url.to_owned(),
            why: error.to_string(),
        };
        let stream = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        // Each frame is a message that somebody waits for.
        let _ = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = handshake.map_err(|error| unreachable(&error))?;
        // How it ends is seen by whoever waits for the answer.
        tokio::spawn(connection);
        let (sender, body) = Channel::<Bytes, BodyError>::new(WAITING);
        let path = format!("{}/t/{trace}/_looptape/v1/mcp/{server}", parsed.path().trim_end_matches('/'));
        let request = Request::post(path)
            .header(header::HOST, parsed.authority())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .map_err(|_| wrong())?;
        let answer = tokio::spawn(async move { requests.send_request(request).await });
        Ok(Self { url: url.to_owned(), sender, answer })
    }

    /// Sends a frame. An error: nobody takes it any more.
    pub async fn send(&mut self, at_us: i64, frame: &Frame) -> Result<(), LinkError> {
        let sent = self.sender.send_data(frame.encode(at_us)).await;
        sent.map_err(|_| LinkError::Broken("looptape is gone".to_owned()))
    }

    /// Both directions apart: where frames are written, and where they come from once looptape answers.
    pub async fn split(self) -> Result<(FrameSender, FrameReceiver), LinkError> {
        let Self { url, sender, answer } = self;
        let body = answered(&url, answer).await?;
        Ok((FrameSender(sender), FrameReceiver { body, frames: Frames::default() }))
    }

    /// Says that nothing more comes, and waits until looptape has taken it all.
    pub async fn finish(self) -> Result<(), LinkError> {
        let Self { url, sender, answer } = self;
        drop(sender);
        answered(&url, answer).await.map(|_| ())
    }
}

async fn answered(
    url: &str,
    answer: JoinHandle<Result<Response<Incoming>, hyper::Error>>,
) -> Result<Incoming, LinkError> {
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let response = answer.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        return Ok(body);
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = json["error"]["message"].as_str().map_or_else(|| head.status.to_string(), str::to_owned);
    Err(LinkError::Refused { url: url.to_owned(), message })
}

/// Where frames are written.
#[derive(Debug)]
pub struct FrameSender(Sender<Bytes, BodyError>);

impl FrameSender {
    /// Sends a frame. An error: nobody takes it any more.
    pub async fn send(&mut self, at_us: i64, frame: &Frame) -> Result<(), LinkError> {
        let sent = self.0.send_data(frame.encode(at_us)).await;
        sent.map_err(|_| LinkError::Broken("looptape is gone".to_owned()))
    }
}

/// Where frames come from.
#[derive(Debug)]
pub struct FrameReceiver {
    body: Incoming,
    frames: Frames,
}

impl FrameReceiver {
    /// The next frames; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Frame>>, LinkError> {
        let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
        while let Some(piece) = self.body.frame().await {
            let Ok(data) = piece.map_err(|error| broken(&error))?.into_data() else { continue };
            let frames = self.frames.add(&data).map_err(|error| broken(&error))?;
            return Ok(Some(frames.into_iter().map(|(_, frame)| frame).collect()));
        }
        Ok(None)
    }
}
