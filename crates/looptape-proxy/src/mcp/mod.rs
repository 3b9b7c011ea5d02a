//! MCP servers: what a shim in a stdio server's place tells the recorder, and how recorded servers answer.
//!
//! - `frame`: how a shim and looptape speak to each other over one request.
//! - `recording`: a stdio conversation, written down while it goes on.
//! - `called_tool`: what a server's tools did, as measured tool calls of the trace.
//! - `passing`: a message to an HTTP server, on its way.
//! - `desk`: the recorded servers of a replay, behind a lock.
//! - `pipe`, `streamable`: how a client of a stdio server, and one of an HTTP server, get their answers from there.
//! - `notes`: what is said to a replayed stdio server, for the trace that the replay leaves.
//! - `real_stdio`, `real_http`: a server that is asked itself, where a tool runs live in a replay.
//! - `link`: a shim's end of the connection.
//!
//! A shim speaks to looptape by one `POST /_looptape/v1/mcp/SERVER` that lasts as long as the conversation. While
//! recording it sends what passes between client and server; in a replay it sends what the client says, and gets what
//! the server would say. HTTP servers need no shim: their messages pass through the proxy as all calls do.

pub(crate) mod called_tool;
mod desk;
pub mod frame;
pub mod link;
mod notes;
pub(crate) mod passing;
pub(crate) mod pipe;
pub mod real_http;
mod real_stdio;
pub mod recording;
pub(crate) mod streamable;

pub use desk::{Beyond, McpDesk};

use looptape_core::mcp::ServerName;

/// The server that a path of looptape's own is about.
pub(crate) fn server_in(own_path: &str) -> Option<ServerName> {
    let name = own_path.split('?').next()?.strip_prefix("v1/mcp/")?;
    ServerName::parse(name)
}
