//! The server itself, asked in a replay: where a policy lets a tool run.
//!
//! What the client said to open its conversation is said to the server too, then it is asked what tools it offers, and then
//! calls go to it as the client wrote them, under the client's own ids. What it says by itself is dropped; what it asks of the
//! client is refused, since the client does not know that it is there.
//!
//! It holds no process and no connection: whoever does writes what it says to write, and tells it what came.

use super::drift::Tools;
use super::message::{Message, Unanswered};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Pages of a list of tools that are asked for at most.
const MOST_PAGES: u32 = 1000;

/// What a client said to open its conversation.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// By method; said again, the later one counts.
    said: Vec<(String, Bytes)>,
    /// How it asks for the list of tools.
    list: Option<Bytes>,
}

impl Opening {
    /// A client says something.
    pub fn hear(&mut self, line: &[u8]) {
        let (Message::Request { method, .. } | Message::Notification { method, .. }) = Message::read(line)
        else {
            return;
        };
        let line = || Bytes::from([line.trim_ascii(), b"\n"].concat());
        match &*method {
            "initialize" | "notifications/initialized" | "server/discover" => {
                self.said.retain(|(said, _)| *said != *method);
                self.said.push((method.into_owned(), line()));
            }
            "tools/list" if self.list.is_none() => self.list = Some(line()),
            _ => {}
        }
    }

    /// What is said to the server before anything else.
    fn lines(&self) -> VecDeque<Bytes> {
        let plain = || {
            let list =
                json!({ "jsonrpc": "2.0", "id": "looptape-tools", "method": "tools/list", "params": {} });
            Bytes::from(list.to_string() + "\n")
        };
        let list = self.list.clone().unwrap_or_else(plain);
        self.said.iter().map(|(_, line)| line.clone()).chain([list]).collect()
    }
}

/// A conversation with the server.
#[derive(Debug)]
pub struct RealServer {
    /// What opens it and is still to be said.
    to_open: VecDeque<Bytes>,
    /// The message of these whose answer is awaited.
    awaited: Option<Bytes>,
    pages: u32,
    tools: Tools,
    /// Calls that wait until it is open.
    waiting: Vec<Bytes>,
    /// Calls whose answers are awaited.
    open: Vec<Unanswered>,
}

/// What follows from something that the server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What is to be said to the server.
    pub write: Vec<Bytes>,
    /// The id of the call that the line is about.
    pub about: Option<String>,
    /// Whether that call is over with it.
    pub is_answer: bool,
    /// Why the server cannot be asked, if it says so.
    pub failed: Option<String>,
}

impl RealServer {
    /// A server that was just started; nothing was said to it yet.
    pub fn new(opening: &Opening) -> Self {
        Self {
            to_open: opening.lines(),
            awaited: None,
            pages: 0,
            tools: Tools::default(),
            waiting: Vec::new(),
            open: Vec::new(),
        }
    }

    /// What is to be said to it first.
    pub fn begin(&mut self) -> Vec<Bytes> {
        self.go_on()
    }

    /// The tools that it offers, once it has said so.
    pub fn tools(&self) -> Option<&Tools> {
        self.is_open().then_some(&self.tools)
    }

    /// A call of the client goes to it; what is to be said now.
    pub fn call(&mut self, line: Bytes) -> Vec<Bytes> {
        self.waiting.push(line);
        if self.is_open() { self.flush() } else { Vec::new() }
    }

    /// It said something.
    pub fn hear(&mut self, line: &[u8]) -> Heard {
        let message = Message::read(line);
        match &message {
            Message::Response { id, result } if self.is_awaited(id) => self.opened(*result),
            Message::Response { id, .. } => {
                let Some(at) = self.open.iter().position(|open| open.id == *id) else {
                    return Heard::default();
                };
                Heard { about: Some(self.open.remove(at).id), is_answer: true, ..Heard::default() }
            }
            Message::Request { id, method, .. } => {
                Heard { write: vec![reply(id, method)], ..Heard::default() }
            }
            Message::Notification { .. } | Message::Unreadable => {
                let token = message.tells_progress_of();
                let told = |open: &&Unanswered| token.is_some() && open.progress_token.as_deref() == token;
                Heard { about: self.open.iter().find(told).map(|open| open.id.clone()), ..Heard::default() }
            }
        }
    }

    fn is_open(&self) -> bool {
        self.to_open.is_empty() && self.awaited.is_none()
    }

    fn is_awaited(&self, id: &str) -> bool {
        let awaited = self.awaited.as_ref().and_then(|line| Message::read(line).unanswered());
        awaited.is_some_and(|request| request.id == id)
    }

    fn opened(&mut self, result: Result<&str, &str>) -> Heard {
        let Some(line) = self.awaited.take() else { return Heard::default() };
        let is_list =
            matches!(Message::read(&line), Message::Request { method, .. } if method == "tools/list");
        match result {
            Ok(result) if is_list => {
                let page: Value = serde_json::from_str(result).unwrap_or_default();
                self.tools.add_page(&page);
                self.pages += 1;
                let next = page["nextCursor"].as_str().filter(|_| self.pages < MOST_PAGES);
                self.to_open.extend(next.and_then(|cursor| next_page(&line, cursor)));
            }
            // A server without a list of tools may have tools all the same.
            Ok(_) => {}
            Err(_) if is_list => {}
            Err(error) => {
                let failed = Some(format!("it answers the handshake with an error: {error}"));
                return Heard { failed, ..Heard::default() };
            }
        }
        Heard { write: self.go_on(), ..Heard::default() }
    }

    /// Says what opens the conversation up to the next message that wants an answer, and then what waits.
    fn go_on(&mut self) -> Vec<Bytes> {
        let mut write = Vec::new();
        while let Some(line) = self.to_open.pop_front() {
            write.push(line.clone());
            if Message::read(&line).unanswered().is_some() {
                self.awaited = Some(line);
                return write;
            }
        }
        write.extend(self.flush());
        write
    }

    fn flush(&mut self) -> Vec<Bytes> {
        let lines = std::mem::take(&mut self.waiting);
        self.open.extend(lines.iter().filter_map(|line| Message::read(line).unanswered()));
        lines
    }
}

/// What is answered to something that the server asks of its client.
fn reply(id: &str, method: &str) -> Bytes {
    let line = match method {
        "ping" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
        _ => {
            let why = "looptape: the client is not asked for anything while a tool runs live in a replay";
            let error = json!({ "code": -32601, "message": why });
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
        }
    };
    Bytes::from(line + "\n")
}

fn next_page(list: &[u8], cursor: &str) -> Option<Bytes> {
    let mut message: Value = serde_json::from_slice(list).ok()?;
    message.as_object_mut()?.entry("params").or_insert_with(|| json!({}))["cursor"] = cursor.into();
    Some(Bytes::from(message.to_string() + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Bytes]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect()
    }

    #[test]
    fn it_is_opened_as_the_client_opened_it_and_then_asked() {
        let mut opening = Opening::default();
        for line in [
            r#"{"id":0,"method":"initialize","params":{"clientInfo":{}}}"#,
            r#"{"method":"notifications/initialized"}"#,
            r#"{"id":1,"method":"tools/list"}"#,
            r#"{"id":2,"method":"tools/call","params":{"name":"t"}}"#,
            "no message",
        ] {
            opening.hear(line.as_bytes());
        }
        let mut server = RealServer::new(&opening);
        assert_eq!(texts(&server.begin()), [r#"{"id":0,"method":"initialize","params":{"clientInfo":{}}}"#]);
        let call = br#"{"id":3,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":9}}}"#;
        assert!(server.call(Bytes::from_static(call)).is_empty(), "it waits");
        assert_eq!(server.hear(b"Welcome!"), Heard::default());
        assert_eq!(
            texts(&server.hear(br#"{"id":0,"result":{}}"#).write),
            [r#"{"method":"notifications/initialized"}"#, r#"{"id":1,"method":"tools/list"}"#]
        );
        let page = server.hear(br#"{"id":1,"result":{"tools":[{"name":"t"}],"nextCursor":"c"}}"#);
        assert_eq!(texts(&page.write), [r#"{"id":1,"method":"tools/list","params":{"cursor":"c"}}"#]);
        assert!(server.tools().is_none());
        let last = server.hear(br#"{"id":1,"result":{"tools":[{"name":"u"}]}}"#);
        assert_eq!(texts(&last.write), [String::from_utf8_lossy(call)]);
        assert_eq!(server.tools().unwrap().list(), "t, u");

        let progress =
            server.hear(br#"{"method":"notifications/progress","params":{"progressToken":9,"progress":1}}"#);
        assert_eq!((progress.about.as_deref(), progress.is_answer), (Some("3"), false));
        let asks = server.hear(br#"{"id":"s1","method":"sampling/createMessage"}"#);
        assert!(texts(&asks.write)[0].contains(r#""id":"s1","error":{"code":-32601"#));
        assert_eq!(texts(&server.hear(br#"{"id":4,"method":"ping"}"#).write).len(), 1);
        let answer = server.hear(br#"{"id":3,"result":{}}"#);
        assert_eq!((answer.about.as_deref(), answer.is_answer), (Some("3"), true));
        assert_eq!(server.hear(br#"{"id":3,"result":{}}"#), Heard::default(), "twice");
    }

    #[test]
    fn one_that_refuses_the_handshake_cannot_be_asked() {
        let mut opening = Opening::default();
        opening.hear(br#"{"id":0,"method":"initialize"}"#);
        let mut server = RealServer::new(&opening);
        server.begin();
        let heard = server.hear(br#"{"id":0,"error":{"code":-1,"message":"no"}}"#);
        assert!(heard.failed.unwrap().contains("handshake"));
        // Without a handshake it is asked for its tools at once, and may have no list.
        let mut bare = RealServer::new(&Opening::default());
        assert!(texts(&bare.begin())[0].contains("looptape-tools"));
        bare.hear(br#"{"id":"looptape-tools","error":{"code":-32601}}"#);
        assert!(bare.tools().is_some_and(Tools::is_empty));
    }
}
