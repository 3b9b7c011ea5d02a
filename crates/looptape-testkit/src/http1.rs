//! HTTP/1.1 as bytes on a socket: just enough to read a head and to take a body apart by its framing.
//!
//! Tests use this instead of an HTTP library because they must see, and send, what a library hides: raw
//! heads, chunk boundaries, endings that break the protocol. It is lenient and not safe for strangers.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a test waits for bytes before it fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A head, split at its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Everything up to and including the empty line.
    pub(crate) raw: Vec<u8>,
    pub(crate) first_line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The framing that the headers state; `otherwise` if they state none.
    pub(crate) fn framing(&self, otherwise: BodyFraming) -> BodyFraming {
        if self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return BodyFraming::Chunked;
        }
        self.header("content-length").and_then(|v| v.parse().ok()).map_or(otherwise, BodyFraming::Length)
    }
}

/// A socket's reading half with what was read too far.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new() }
    }

    /// Reads what there is, at least one byte; 0 at the end of the stream. Safe to cancel.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let len = self.source.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..len]);
        Ok(len)
    }

    async fn fill_patiently(&mut self) -> io::Result<()> {
        match tokio::time::timeout(PATIENCE, self.fill()).await {
            Ok(Ok(0)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection")),
            Ok(result) => result.map(|_| ()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no bytes came in time")),
        }
    }

    /// The next head; `None` if the peer closes instead of starting one.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let raw: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(Some(parse_head(raw)));
            }
            match self.fill_patiently().await {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && self.buffer.is_empty() => {
                    return Ok(None);
                }
                result => result?,
            }
        }
    }

    pub(crate) async fn exactly(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.fill_patiently().await?;
        }
        Ok(self.buffer.drain(..len).collect())
    }

    /// What has arrived, at least one byte and at most `max`; empty at the end of the stream.
    pub(crate) async fn some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            match self.fill_patiently().await {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
                result => result?,
            }
        }
        let len = self.buffer.len().min(max);
        Ok(self.buffer.drain(..len).collect())
    }

    /// The payload of the next chunk of a chunked body; `None` for the last one, trailers discarded.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line().await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let len = usize::from_str_radix(digits, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
        if len == 0 {
            while !self.line().await?.is_empty() {}
            return Ok(None);
        }
        let payload = self.exactly(len).await?;
        self.exactly(2).await?;
        Ok(Some(payload))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill_patiently().await?;
        }
    }
}

fn parse_head(raw: Vec<u8>) -> Head {
    let text = String::from_utf8_lossy(&raw).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Head { raw, first_line, headers }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
