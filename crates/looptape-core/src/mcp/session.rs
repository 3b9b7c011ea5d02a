//! A conversation with a stdio server, taken apart into calls as it goes on.
//!
//! A request is open until its answer came; what the server says about it in between (progress under its token) belongs
//! to it. Everything else that the server says, by itself or unreadably, belongs to the conversation's own stream.
//! However a conversation ends, every call in it ends: a request that was never answered says why.
//!
//! Where two requests have the same id, answers are theirs in the order in which they were asked.

use super::lines::Lines;
use super::message::{Message, Unanswered};
use crate::exchange::{Chunk, Ending};
use bytes::Bytes;

/// Bytes of a conversation's own stream that are kept.
const STREAM_LIMIT_BYTES: usize = 64 << 20;

/// Who writes the calls down.
pub trait Calls {
    /// A call that has begun.
    type Call;

    /// A message of the client, or the stream of what the server says by itself.
    fn begin(&mut self, opening: Opening, at_us: i64) -> Self::Call;

    fn end(&mut self, call: Self::Call, end: End);
}

/// What a call begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Message(Bytes),
    Stream,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The message wants no answer.
    Accepted { at_us: i64 },
    Answered {
        lines: Vec<Bytes>,
        /// When each line came.
        chunks: Vec<Chunk>,
        end_us: i64,
        ending: Ending,
        /// How the server ended by itself, if the call lasted until then.
        server: Option<ServerEnd>,
        /// Why lines are missing, if any are.
        cut: Option<String>,
    },
    /// Nothing came.
    Nothing { at_us: i64, ending: Ending },
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEnd {
    Code(i32),
    Signal(i32),
}

impl ServerEnd {
    /// `exit code 1`, `signal 9`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |rest: &str| rest.trim().parse().ok();
        let code = text.strip_prefix("exit code ").and_then(number).map(Self::Code);
        code.or_else(|| text.strip_prefix("signal ").and_then(number).map(Self::Signal))
    }
}

impl std::fmt::Display for ServerEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The client closed it.
    Client,
    /// The server ended by itself.
    Server(ServerEnd),
    /// Nobody knows: whoever passed the messages on is gone.
    Unknown,
}

/// A conversation that goes on.
#[derive(Debug)]
#[must_use = "finish() ends the calls that are open"]
pub struct Session<W: Calls> {
    calls: W,
    of_client: Lines,
    of_server: Lines,
    requests: Vec<Open<W::Call>>,
    stream: Heard<W::Call>,
    /// When the server said something the last time.
    said_us: i64,
}

#[derive(Debug)]
struct Open<C> {
    request: Unanswered,
    heard: Heard<C>,
}

/// A call, and what the server said in it so far.
#[derive(Debug)]
struct Heard<C> {
    call: C,
    lines: Vec<Bytes>,
    chunks: Vec<Chunk>,
    bytes: usize,
    dropped_bytes: u64,
}

impl<C> Heard<C> {
    fn new(call: C) -> Self {
        Self { call, lines: Vec::new(), chunks: Vec::new(), bytes: 0, dropped_bytes: 0 }
    }

    fn add(&mut self, line: Bytes, at_us: i64) {
        if self.bytes + line.len() > STREAM_LIMIT_BYTES && self.bytes > 0 {
            self.dropped_bytes += line.len() as u64;
            return;
        }
        self.bytes += line.len();
        self.chunks.push(Chunk { at_us, len: u32::try_from(line.len()).unwrap_or(u32::MAX) });
        self.lines.push(line);
    }

    fn end(self, end_us: i64, ending: Ending, server: Option<ServerEnd>) -> (C, End) {
        let cut = (self.dropped_bytes > 0).then(|| {
            format!(
                "an MCP server wrote more than looptape keeps of one conversation (64 MiB): {} bytes are missing",
                self.dropped_bytes
            )
        });
        (self.call, End::Answered { lines: self.lines, chunks: self.chunks, end_us, ending, server, cut })
    }
}

impl<W: Calls> Session<W> {
    /// A conversation that begins.
    pub fn begin(mut calls: W, at_us: i64) -> Self {
        let stream = Heard::new(calls.begin(Opening::Stream, at_us));
        let (of_client, of_server) = (Lines::default(), Lines::default());
        Self { calls, of_client, of_server, requests: Vec::new(), stream, said_us: at_us }
    }

    /// Whoever writes the calls down.
    pub fn calls_mut(&mut self) -> &mut W {
        &mut self.calls
    }

    /// The client wrote these bytes.
    pub fn client_wrote(&mut self, bytes: &[u8], at_us: i64) {
        for line in self.of_client.add(bytes) {
            self.client_said(line, at_us);
        }
    }

    /// The server wrote these bytes.
    pub fn server_wrote(&mut self, bytes: &[u8], at_us: i64) {
        for line in self.of_server.add(bytes) {
            let at_us = self.not_before(at_us);
            self.server_said(line, at_us);
        }
    }

    /// No two lines have one time: they may come to different calls, and only their times keep their order.
    fn not_before(&mut self, at_us: i64) -> i64 {
        self.said_us = at_us.max(self.said_us + 1);
        self.said_us
    }

    /// Something of the conversation was not seen.
    pub fn lacks(&mut self, bytes: u64) {
        self.stream.dropped_bytes += bytes;
    }

    /// The conversation is over: whatever is open ends. Whoever wrote the calls down is given back.
    pub fn finish(mut self, over: Over, at_us: i64) -> W {
        if let Some(rest) = self.of_client.rest() {
            self.client_said(rest, at_us);
        }
        if let Some(rest) = self.of_server.rest() {
            let at_us = self.not_before(at_us);
            self.server_said(rest, at_us);
        }
        let at_us = at_us.max(self.said_us);
        for open in std::mem::take(&mut self.requests) {
            let (call, end) = match open.heard.lines.is_empty() {
                true => (open.heard.call, End::Nothing { at_us, ending: unanswered(over) }),
                false => open.heard.end(at_us, unanswered(over), None),
            };
            self.calls.end(call, end);
        }
        let (ending, server) = match over {
            Over::Client => (Ending::Complete, None),
            Over::Server(end) => (Ending::Complete, Some(end)),
            Over::Unknown => (unanswered(over), None),
        };
        let (call, end) = self.stream.end(at_us, ending, server);
        self.calls.end(call, end);
        self.calls
    }

    fn client_said(&mut self, line: Bytes, at_us: i64) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let request = Message::read(&line).unanswered();
        let call = self.calls.begin(Opening::Message(line), at_us);
        match request {
            Some(request) => self.requests.push(Open { request, heard: Heard::new(call) }),
            None => self.calls.end(call, End::Accepted { at_us }),
        }
    }

    fn server_said(&mut self, line: Bytes, at_us: i64) {
        let message = Message::read(&line);
        if let Message::Response { id, .. } = message
            && let Some(at) = self.requests.iter().position(|open| open.request.id == id)
        {
            let mut heard = self.requests.remove(at).heard;
            heard.add(line, at_us);
            let (call, end) = heard.end(at_us, Ending::Complete, None);
            return self.calls.end(call, end);
        }
        let token = message.tells_progress_of();
        let told =
            |open: &&mut Open<W::Call>| token.is_some() && open.request.progress_token.as_deref() == token;
        match self.requests.iter_mut().find(told) {
            Some(open) => open.heard.add(line, at_us),
            None => self.stream.add(line, at_us),
        }
    }
}

/// What is said of a request that was never answered.
fn unanswered(over: Over) -> Ending {
    match over {
        Over::Client => Ending::ClientGone,
        Over::Server(end) => {
            Ending::UpstreamReset { error: format!("the MCP server ended before it answered ({end})") }
        }
        Over::Unknown => {
            Ending::UpstreamReset { error: "whoever passed the MCP server's messages on is gone".to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Writes the calls down in words.
    #[derive(Default)]
    struct Told {
        calls: usize,
        text: String,
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).trim_end().to_owned()
    }

    impl Calls for Told {
        type Call = usize;

        fn begin(&mut self, opening: Opening, at_us: i64) -> usize {
            self.calls += 1;
            let what = match opening {
                Opening::Message(line) => text(&line),
                Opening::Stream => "stream".to_owned(),
            };
            let _ = writeln!(self.text, "{at_us} #{} {what}", self.calls);
            self.calls
        }

        fn end(&mut self, call: usize, end: End) {
            let how = match end {
                End::Accepted { .. } => "accepted".to_owned(),
                End::Nothing { ending, .. } => format!("nothing, {ending:?}"),
                End::Answered { lines, ending, server, cut, .. } => {
                    let lines: Vec<String> = lines.iter().map(|line| text(line)).collect();
                    let server = server.map(|end| end.to_string()).unwrap_or_default();
                    format!("{} {ending:?} {server} {}", lines.join(" | "), cut.unwrap_or_default())
                }
            };
            let _ = writeln!(self.text, "   #{call} ended: {}", how.trim_end());
        }
    }

    #[test]
    fn requests_get_their_answers_and_the_rest_is_the_streams() {
        let mut session = Session::begin(Told::default(), 0);
        session.client_wrote(
            b"{\"id\":1,\"method\":\"tools/call\",\"params\":{\"_meta\":{\"progressToken\":1}}}\n{\"id\":2,",
            1,
        );
        session.client_wrote(b"\"method\":\"ping\"}\n{\"method\":\"notifications/x\"}\n", 2);
        session
            .server_wrote(b"{\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1}}\n", 3);
        session.server_wrote(
            b"{\"method\":\"notifications/progress\",\"params\":{\"progressToken\":9}}\nhello\n",
            4,
        );
        session.server_wrote(
            b"{\"id\":2,\"result\":{}}\n{\"id\":1,\"result\":{}}\n{\"id\":1,\"result\":{}}\n",
            5,
        );
        let told = session.finish(Over::Client, 6);
        insta::assert_snapshot!(told.text, @r#"
        0 #1 stream
        1 #2 {"id":1,"method":"tools/call","params":{"_meta":{"progressToken":1}}}
        2 #3 {"id":2,"method":"ping"}
        2 #4 {"method":"notifications/x"}
           #4 ended: accepted
           #3 ended: {"id":2,"result":{}} Complete
           #2 ended: {"method":"notifications/progress","params":{"progressToken":1}} | {"id":1,"result":{}} Complete
           #1 ended: {"method":"notifications/progress","params":{"progressToken":9}} | hello | {"id":1,"result":{}} Complete
        "#);
    }

    /// Lines that were read at once come to different calls: their times say which came first.
    #[test]
    fn lines_of_one_read_keep_their_order() {
        #[derive(Default)]
        struct Times(Vec<(String, i64)>);
        impl Calls for Times {
            type Call = ();

            fn begin(&mut self, _: Opening, _: i64) {}

            fn end(&mut self, (): (), end: End) {
                if let End::Answered { lines, chunks, end_us, .. } = end {
                    assert!(chunks.iter().all(|chunk| chunk.at_us <= end_us));
                    self.0.extend(lines.iter().zip(&chunks).map(|(line, chunk)| (text(line), chunk.at_us)));
                }
            }
        }
        let mut session = Session::begin(Times::default(), 0);
        session.client_wrote(b"{\"id\":1,\"method\":\"ping\"}\n", 1);
        session.server_wrote(b"hello\n{\"id\":1,\"result\":{}}\nbye\n", 5);
        let Times(mut said) = session.finish(Over::Client, 5);
        said.sort_by_key(|(_, at_us)| *at_us);
        let lines: Vec<&str> = said.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines, ["hello", "{\"id\":1,\"result\":{}}", "bye"]);
        assert!(said.windows(2).all(|pair| pair[0].1 < pair[1].1), "{said:?}");
    }

    #[test]
    fn a_crash_ends_what_is_open_as_what_it_is() {
        let mut session = Session::begin(Told::default(), 0);
        session.client_wrote(
            b"{\"id\":1,\"method\":\"a\"}\n{\"id\":1,\"method\":\"b\"}\n{\"id\":1,\"method\":\"c\"}\n",
            1,
        );
        session.server_wrote(b"{\"id\":1,\"result\":\"of a\"}\n", 2);
        session.server_wrote(b"Traceback", 3);
        let told = session.finish(Over::Server(ServerEnd::Signal(9)), 4);
        insta::assert_snapshot!(told.text, @r#"
        0 #1 stream
        1 #2 {"id":1,"method":"a"}
        1 #3 {"id":1,"method":"b"}
        1 #4 {"id":1,"method":"c"}
           #2 ended: {"id":1,"result":"of a"} Complete
           #3 ended: nothing, UpstreamReset { error: "the MCP server ended before it answered (signal 9)" }
           #4 ended: nothing, UpstreamReset { error: "the MCP server ended before it answered (signal 9)" }
           #1 ended: Traceback Complete signal 9
        "#);
    }

    #[test]
    fn ends_of_servers_are_read_back() {
        for end in [ServerEnd::Code(0), ServerEnd::Code(-1), ServerEnd::Signal(11)] {
            assert_eq!(ServerEnd::parse(&end.to_string()), Some(end));
        }
        assert_eq!(ServerEnd::parse("fell over"), None);
    }
}
