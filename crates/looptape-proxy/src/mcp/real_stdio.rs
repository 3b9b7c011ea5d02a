//! A stdio server that is asked itself, through the shim in its place: where a tool runs live in a replay.
//!
//! What is said to it and what follows from its answers is decided by [`RealServer`]; the shim starts it, writes and reads.

use super::desk::{LiveCall, McpDesk};
use bytes::Bytes;
use looptape_core::mcp::{Heard, Lines, Opening, Part, RealServer, ServerName, What};

/// The server of one conversation, as far as it was needed.
#[derive(Debug)]
pub(super) struct RealStdio {
    desk: McpDesk,
    server: ServerName,
    opening: Opening,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    machine: RealServer,
    lines: Lines,
    calls: Vec<LiveCall>,
    is_listed: bool,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Do {
    /// Said to the server.
    pub(super) ask: Vec<Bytes>,
    /// Said to the client.
    pub(super) parts: Vec<Part>,
}

impl RealStdio {
    pub(super) fn new(desk: McpDesk, server: ServerName) -> Self {
        Self { desk, server, opening: Opening::default(), running: None }
    }

    /// The client says something: if that opens a conversation, the server will be told too.
    pub(super) fn overhear(&mut self, line: &[u8]) {
        self.opening.hear(line);
    }

    /// Whether something is still awaited from it.
    pub(super) fn is_awaited(&self) -> bool {
        let awaits = |running: &Running| !running.calls.is_empty() || running.machine.tools().is_none();
        self.running.as_ref().is_some_and(awaits)
    }

    /// Starts it if it does not run; what is to be said to it.
    pub(super) fn start(&mut self) -> Vec<Bytes> {
        if self.running.is_some() {
            return Vec::new();
        }
        let mut machine = RealServer::new(&self.opening);
        let ask = machine.begin();
        self.running =
            Some(Running { machine, lines: Lines::default(), calls: Vec::new(), is_listed: false });
        self.desk.note_started(&self.server, None);
        ask
    }

    /// A call of the client goes to it.
    pub(super) fn call(&mut self, live: LiveCall) -> Vec<Bytes> {
        let mut ask = self.start();
        if let Some(running) = &mut self.running {
            ask.extend(running.machine.call(live.line.clone()));
            // What wants no answer is not awaited.
            if live.call.id.is_some() {
                running.calls.push(live);
            }
        }
        ask
    }

    /// It wrote something.
    pub(super) fn wrote(&mut self, bytes: &[u8]) -> Do {
        let mut all = Do::default();
        let Some(running) = &mut self.running else { return all };
        for line in running.lines.add(bytes) {
            let heard = running.machine.hear(&line);
            if let Some(why) = heard.failed {
                all.parts.extend(self.gone(&why));
                return all;
            }
            if let Some(tools) = running.machine.tools().filter(|_| !running.is_listed) {
                running.is_listed = true;
                self.desk.note_started(&self.server, Some(tools));
            }
            all.parts.extend(running.about(&self.desk, &heard, line));
            all.ask.extend(heard.write);
        }
        all
    }

    /// It does not run, or no longer: whoever waits is told.
    pub(super) fn gone(&mut self, why: &str) -> Vec<Part> {
        let calls = self.running.take().map(|running| running.calls).unwrap_or_default();
        calls.into_iter().flat_map(|live| self.desk.settle(live, Err(why))).collect()
    }
}

impl Running {
    /// What a client is told of a line that is about one of its calls.
    fn about(&mut self, desk: &McpDesk, heard: &Heard, line: Bytes) -> Vec<Part> {
        let Some(id) = &heard.about else { return Vec::new() };
        let Some(at) = self.calls.iter().position(|live| live.call.id.as_ref() == Some(id)) else {
            return Vec::new();
        };
        match heard.is_answer {
            true => desk.settle(self.calls.remove(at), Ok(line)),
            false if self.calls[at].is_kept() => vec![Part { after_us: 0, what: What::Stream(line) }],
            false => Vec::new(),
        }
    }
}
