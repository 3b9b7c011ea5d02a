//! In an MCP stdio server's place: what `looptape mcp -- SERVER` does.
//!
//! - `gateway`: the looptape over this process that records or replays, if there is one.
//! - `pass`: runs the server and passes every byte on, as it comes; what passes is told aside.
//! - `tap`: what passes, on its way to whoever writes it down. It never makes anybody wait.
//! - `stand_in`: answers in the server's place, which is not started.
//! - `real`: the server itself, started in a replay where a tool of it runs live.
//! - `check`: asks a server what it offers now.
//!
//! Recording changes no byte and reads none: messages are told apart by whoever writes them down. An SDK for the
//! protocol in between would parse and write anew what passes, and could not pass on what is no message.

pub(crate) mod check;
mod gateway;
pub(crate) mod pass;
mod real;
pub(crate) mod stand_in;
pub(crate) mod tap;

pub(crate) use gateway::Gateway;
