//! An HTTP client for tests that shows what libraries hide: raw heads, chunk boundaries, and how a
//! response ended. It can send what no library would, and hang up where it likes.
//!
//! Nothing waits longer than 20 s. Nothing is decoded but the transfer encoding.

use crate::http1::{BodyFraming, Head, Reader};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connection that sends requests and reads responses piece by piece.
#[derive(Debug)]
pub struct RawClient {
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    authority: String,
    /// What is left of the response that is being read.
    remaining: Remaining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remaining {
    Bytes(usize),
    Chunks,
    UntilClose,
    Nothing,
}

/// A response's status line and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes as they came, the empty line included.
    pub raw: Vec<u8>,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResponse {
    pub head: ResponseHead,
    /// The chunks of a chunked body; otherwise the body in the pieces in which it was read.
    pub chunks: Vec<Vec<u8>>,
}

impl ResponseHead {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl RawResponse {
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The body as text, replacement characters where it is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

impl RawClient {
    /// Connects to the authority of an `http://` URL; a path in it is ignored.
    pub async fn connect(url: &str) -> io::Result<Self> {
        let authority = split_url(url)?.0.to_owned();
        let socket = TcpStream::connect(&authority).await?;
        socket.set_nodelay(true)?;
        let (reading, writer) = socket.into_split();
        Ok(Self { reader: Reader::new(reading), writer, authority, remaining: Remaining::Nothing })
    }

    /// Connects, posts a JSON body to the URL and reads the whole response.
    pub async fn post_json(url: &str, body: &str) -> io::Result<RawResponse> {
        let (_, target) = split_url(url)?;
        let mut client = Self::connect(url).await?;
        client.request("POST", target, &[("content-type", "application/json")], body.as_bytes()).await?;
        client.response().await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await
    }

    /// Sends a request with `host` and `content-length` added, unless `headers` names them itself.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !given("host") {
            head += &format!("host: {}\r\n", self.authority);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !given("content-length") && !given("transfer-encoding") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        self.send(&[head.as_bytes(), b"\r\n", body].concat()).await
    }

    /// The next response's head; an error of kind `UnexpectedEof` if the server closes instead.
    pub async fn head(&mut self) -> io::Result<ResponseHead> {
        let head = self
            .reader
            .head()
            .await?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a response"))?;
        let status = head.first_line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        self.remaining = remaining_after(&head, status);
        Ok(ResponseHead { status, headers: head.headers, raw: head.raw })
    }

    /// The next piece of the body: a chunk if it is chunked, else what one read gave. `None` at its proper
    /// end; an error if the connection breaks before.
    pub async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let piece = match self.remaining {
            Remaining::Nothing => return Ok(None),
            Remaining::Chunks => self.reader.chunk().await?,
            Remaining::UntilClose => Some(self.reader.some(usize::MAX).await?).filter(|p| !p.is_empty()),
            Remaining::Bytes(left) => {
                let piece = self.reader.some(left).await?;
                if piece.is_empty() {
                    let message = format!("closed with {left} bytes of the body to come");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                self.remaining = match left - piece.len() {
                    0 => Remaining::Nothing,
                    left => Remaining::Bytes(left),
                };
                Some(piece)
            }
        };
        if piece.is_none() {
            self.remaining = Remaining::Nothing;
        }
        Ok(piece)
    }

    /// A whole response.
    pub async fn response(&mut self) -> io::Result<RawResponse> {
        let head = self.head().await?;
        let mut chunks = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            chunks.push(chunk);
        }
        Ok(RawResponse { head, chunks })
    }

    /// Resets the connection: what a client does that is killed. Dropping the client closes it politely.
    pub fn hang_up(self) -> io::Result<()> {
        self.writer.as_ref().set_zero_linger()?;
        // Dropping the half would send a FIN first: a polite end.
        self.writer.forget();
        Ok(())
    }
}

fn remaining_after(head: &Head, status: u16) -> Remaining {
    if status == 204 || status == 304 || (100..200).contains(&status) {
        return Remaining::Nothing;
    }
    match head.framing(BodyFraming::UntilClose) {
        BodyFraming::Length(0) => Remaining::Nothing,
        BodyFraming::Length(len) => Remaining::Bytes(len),
        BodyFraming::Chunked => Remaining::Chunks,
        BodyFraming::UntilClose => Remaining::UntilClose,
    }
}

/// The authority and the target of an `http://` URL.
fn split_url(url: &str) -> io::Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("not an http URL: {url}")))?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Ok((authority, if target.is_empty() { "/" } else { target }))
}
