//! Asks a server what it offers now: a handshake, and its list of tools. No tool is called.

use super::pass;
use anyhow::Context;
use looptape_core::mcp::drift::Tools;
use looptape_core::mcp::{Lines, Message};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long a server may take for an answer: it may be downloaded first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pages of one list at most.
const MOST_PAGES: usize = 1000;

/// The protocol's version that is asked for if the recording holds none.
const PROTOCOL: &str = "2025-06-18";

/// A server that was started to be asked; it is ended when this is dropped.
#[derive(Debug)]
struct Asked {
    child: Child,
    input: ChildStdin,
    lines: Receiver<bytes::Bytes>,
    next_id: u32,
}

/// The tools that the server offers. `handshake` are the recorded parameters of `initialize`.
pub(crate) fn tools_now(command: &[OsString], handshake: Option<Value>) -> anyhow::Result<Tools> {
    let mut server = Asked::start(command)?;
    let default = || {
        json!({ "protocolVersion": PROTOCOL, "capabilities": {},
                "clientInfo": { "name": "looptape", "version": env!("CARGO_PKG_VERSION") } })
    };
    server.ask("initialize", &handshake.unwrap_or_else(default))?;
    server.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
    let mut tools = Tools::default();
    let mut params = json!({});
    for _ in 0..MOST_PAGES {
        let page = server.ask("tools/list", &params)?;
        tools.add_page(&page);
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return Ok(tools),
        }
    }
    anyhow::bail!("its list of tools does not end")
}

impl Asked {
    fn start(command: &[OsString]) -> anyhow::Result<Self> {
        let mut child = pass::start(command).map_err(|pass::NotStarted(error)| {
            anyhow::anyhow!("the MCP server cannot be started: {error}: check its command")
        })?;
        let input = child.stdin.take().context("the server has no input")?;
        let mut output = child.stdout.take().context("the server has no output")?;
        let (say, lines) = mpsc::channel();
        std::thread::Builder::new().name("looptape-mcp-out".into()).spawn(move || {
            let (mut piece, mut whole) = (vec![0; 64 << 10], Lines::default());
            while let Ok(read) = output.read(&mut piece)
                && read > 0
            {
                if whole.add(&piece[..read]).into_iter().any(|line| say.send(line).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Self { child, input, lines, next_id: 1 })
    }

    fn say(&mut self, message: &Value) -> anyhow::Result<()> {
        self.input
            .write_all(format!("{message}\n").as_bytes())
            .and_then(|()| self.input.flush())
            .context("the MCP server took no message: did it end at once?")
    }

    fn ask(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).with_context(|| {
                format!(
                    "the MCP server did not answer {method}: it ended, or took more than {} s",
                    PATIENCE.as_secs()
                )
            })?;
            match Message::read(&line) {
                Message::Response { id: of, result } if of == id.to_string() => match result {
                    Ok(result) => return serde_json::from_str(result).context("its answer cannot be read"),
                    Err(error) => anyhow::bail!("the MCP server answers {method} with an error: {error}"),
                },
                // What it asks or says by itself does not matter here.
                _ => {}
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
