//! httprr traces: the text format of Go's `httprr` package, in which many projects keep their copies of it.
//!
//! The first line is `httprr trace v1`. Each record is a line with two lengths in bytes, then a request and
//! a response of these lengths, as HTTP/1.1 writes them; the request names its whole URL, as to a proxy.
//! Chunked bodies are joined. Scrubbing leaves single line feeds among the header lines, and lengths in
//! headers that are true no more; the record's own lengths are what counts.

use super::{CallTimes, Container, Interaction, Refused};
use bytes::Bytes;

/// Every trace begins with this, and with its version.
const MAGIC: &[u8] = b"httprr trace v";

/// Whether the file is an httprr trace. These hold raw HTTP, so they are told before any parsing.
pub(super) fn is_httprr(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads all records.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Interaction>, Refused> {
    let mut file = Cursor { bytes, at: MAGIC.len() };
    // A trace without records may lack the line's end.
    let version = file.line().unwrap_or_else(|| file.take(file.rest().len()).unwrap_or_default());
    if version != b"1" {
        let found = String::from_utf8_lossy(&version[..version.len().min(20)]).into_owned();
        return Err(Refused::UnsupportedVersion { container: Container::Httprr, found });
    }
    let mut interactions = Vec::new();
    while !file.rest().is_empty() {
        interactions.push(file.record(interactions.len() as u32)?);
    }
    if interactions.is_empty() { Err(Refused::NoInteractions) } else { Ok(interactions) }
}

/// What is left of a file, or of a part of it.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next line, without its end; `None` if no line ends here.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        let line = &rest[..end];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..len)?;
        self.at += len;
        Some(taken)
    }

    fn record(&mut self, index: u32) -> Result<Interaction, Refused> {
        let start = self.at;
        let broken = |at: usize, problem| Refused::NotHttprr { offset_bytes: at as u64, problem };
        let lengths = self.line().and_then(lengths).ok_or(broken(start, "no line with two lengths"))?;
        let request_at = self.at;
        let request = self.take(lengths.0).ok_or(broken(start, "the request is longer than the file"))?;
        let response_at = self.at;
        let response = self.take(lengths.1).ok_or(broken(start, "the response is longer than the file"))?;
        let request = Message::read(request).ok_or(broken(request_at, "the request is no HTTP message"))?;
        let response =
            Message::read(response).ok_or(broken(response_at, "the response is no HTTP message"))?;
        let mut words = request.first_line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method.is_empty() || target.is_empty() {
            return Err(broken(request_at, "the request line lacks a method or a URL"));
        }
        let status = response.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status
            .filter(|code| (100..1000).contains(code))
            .ok_or(broken(response_at, "the status line has no status code"))?;
        Ok(Interaction {
            index,
            method: method.to_owned(),
            url: request.url(target),
            status: Some(status),
            request_body: request.body.ok_or(broken(request_at, "the request's chunks are broken"))?,
            response_body: response.body.ok_or(broken(response_at, "the response's chunks are broken"))?,
            request_headers: request.headers,
            response_headers: response.headers,
            request_exact: true,
            response_exact: true,
            times: CallTimes::default(),
        })
    }
}

fn lengths(line: &[u8]) -> Option<(usize, usize)> {
    let (request, response) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((request.parse().ok()?, response.parse().ok()?))
}

struct Message {
    first_line: String,
    headers: Vec<(String, String)>,
    /// `None` if it is in chunks, and they are not whole.
    body: Option<Bytes>,
}

impl Message {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes, at: 0 };
        let first_line = text(cursor.line()?);
        let mut headers = Vec::new();
        loop {
            let line = cursor.line()?;
            if line.is_empty() {
                break;
            }
            let line = text(line);
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let is_chunked = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().contains("chunked")
        };
        let body = if headers.iter().any(is_chunked) {
            dechunked(cursor).map(Bytes::from)
        } else {
            Some(Bytes::copy_from_slice(cursor.rest()))
        };
        Some(Self { first_line, headers, body })
    }

    /// The whole URL; a target that is only a path gets the host from its header.
    fn url(&self, target: &str) -> String {
        let host = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        match host {
            Some((_, host)) if target.starts_with('/') => format!("//{host}{target}"),
            _ => target.to_owned(),
        }
    }
}

fn text(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => crate::headers::latin1_to_string(line),
    }
}

/// The body that was sent in chunks; trailers are left out.
fn dechunked(mut chunks: Cursor<'_>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = std::str::from_utf8(chunks.line()?).ok()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let len = usize::from_str_radix(digits, 16).ok()?;
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.take(len)?);
        chunks.line().filter(|end| end.is_empty())?;
    }
}
