//! Where an event stream ends for its clients: the event after which they expect nothing more.
//!
//! It is searched at the beginning of lines, where no JSON string can bring it by quoting it, and behind a
//! content encoding too. It does not parse events, but those of MCP servers: their streams end for their clients with
//! the response that was asked for.

use looptape_core::mcp::Message;
use looptape_core::wire::content_encoding::StreamDecoder;
use looptape_core::wire::sse;
use memchr::memmem;
use std::borrow::Cow;

/// Beginnings of the lines that begin such an event.
const TERMINAL: &[&[u8]] = &[
    b"data: [DONE]",
    b"data:[DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
    b"event: error",
];

/// What an event ends with.
const BLANK_LINES: [&[u8]; 3] = [b"\n\n", b"\r\n\r\n", b"\r\r"];

/// The longest marker with the line end before it, less one byte: it may be split over two pieces.
const OVERLAP: usize = 27;

/// A search that follows a stream piece by piece.
pub(crate) struct TerminalSearch {
    /// `None`: the bytes are what clients read.
    decoder: Option<StreamDecoder>,
    /// The last bytes that were seen, as clients read them.
    tail: Vec<u8>,
}

impl TerminalSearch {
    /// For a body with this `content-encoding`.
    pub(crate) fn new(content_encoding: Option<&str>) -> Self {
        let decoder = content_encoding.and_then(StreamDecoder::for_encoding);
        // The stream's first line begins a line too.
        Self { decoder, tail: vec![b'\n'] }
    }

    /// Where in `piece` the end begins, if it does. An encoded piece can only be taken whole.
    pub(crate) fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let (plain, is_encoded) = match &mut self.decoder {
            Some(decoder) => (Cow::Owned(decoder.decode(piece)), true),
            None => (Cow::Borrowed(piece), false),
        };
        let before = self.tail.len();
        self.tail.extend_from_slice(&plain);
        let found = first_marker(&self.tail);
        let excess = self.tail.len().saturating_sub(OVERLAP);
        self.tail.drain(..excess);
        // A marker that began in an earlier piece: that part is gone, the rest of it counts.
        found.map(|at| if is_encoded { 0 } else { at.saturating_sub(before) })
    }
}

/// Whether a stream, as clients read it, holds its terminal event whole.
pub(crate) fn is_finished(stream: &[u8]) -> bool {
    let found = match TERMINAL.iter().any(|marker| stream.starts_with(marker)) {
        true => Some(0),
        false => first_marker(stream),
    };
    let is_whole = |at: usize| BLANK_LINES.iter().any(|blank| memmem::find(&stream[at..], blank).is_some());
    found.is_some_and(is_whole)
        || (memmem::find(stream, b"\"jsonrpc\"").is_some() && ends_with_a_response(stream))
}

fn ends_with_a_response(stream: &[u8]) -> bool {
    // An event is over with the blank line behind it.
    let is_over = BLANK_LINES.iter().any(|blank| stream.ends_with(blank));
    let last = sse::events(stream).filter(|event| is_over && !event.data.is_empty()).last();
    last.is_some_and(|event| matches!(Message::read(event.data.as_bytes()), Message::Response { .. }))
}

/// The first marker at the beginning of a line that is not the first.
fn first_marker(text: &[u8]) -> Option<usize> {
    let begins_line = |at: &usize| *at > 0 && matches!(text[at - 1], b'\n' | b'\r');
    TERMINAL.iter().filter_map(|marker| memmem::find_iter(text, marker).find(begins_line)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_over_any_cut() {
        let stream = b"data: {\"a\":\"data: [DONE]\"}\n\ndata: [DONE]\n\n";
        let real = stream.len() - 14;
        for cut in 1..stream.len() {
            let mut search = TerminalSearch::new(None);
            let first = search.find(&stream[..cut]);
            let found = first.or_else(|| search.find(&stream[cut..]).map(|at| at + cut));
            assert_eq!(found, Some(real.max(if first.is_some() { 0 } else { cut })), "cut at {cut}");
        }
    }

    #[test]
    fn a_quoted_marker_is_none() {
        let mut search = TerminalSearch::new(None);
        assert_eq!(search.find(b"data: {\"text\":\"event: error\\n data: [DONE]\"}\n\n"), None);
        assert_eq!(search.find(b" event: error\n"), None);
        assert_eq!(search.find(b"event: error\n"), Some(0));
    }

    #[test]
    fn finished_means_the_whole_event() {
        assert!(is_finished(b"data: {}\n\ndata: [DONE]\n\n"));
        assert!(is_finished(b"event: error\r\ndata: {}\r\n\r\n"));
        assert!(!is_finished(b"data: {}\n\nevent: response.completed\ndata: {\"half\":"));
        assert!(!is_finished(b"data: {\"text\":\"data: [DONE]\"}\n\n"));
        let progress = br#"data: {"jsonrpc":"2.0","method":"notifications/progress"}"#;
        let response = br#"data: {"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(is_finished(&[&progress[..], b"\n\n", response, b"\n\n"].concat()));
        assert!(!is_finished(&[&response[..], b"\n\n", progress, b"\n\n"].concat()));
        assert!(!is_finished(response), "the event is not over");
    }
}
