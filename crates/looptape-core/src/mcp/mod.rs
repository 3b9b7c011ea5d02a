//! The Model Context Protocol: how an agent speaks to its tool servers, recorded and replayed.
//!
//! - `server`: which recorded calls are of a server, and of which.
//! - `message`: one JSON-RPC message, read as far as is needed here.
//! - `lines`: messages as a stdio server sends them.
//! - `session`: a conversation with a stdio server, taken apart into calls as it goes on.
//! - `recorded`: recorded calls as conversations again.
//! - `tape`, `reply`: which recorded answer a live message gets, and how it is written for its asker.
//! - `tool_call`: what a message asks of a tool, and what came of it.
//! - `report`: what a replay came to.
//! - `own_answer`: answers in looptape's own name.
//! - `real_server`: the server itself, asked in a replay where a tool runs live.
//! - `drift`: how a server's tools differ from those that were recorded.
//!
//! A conversation is recorded as calls, in the form that the protocol has over HTTP, whatever it was held over: each
//! message of the client is a `POST`, answered by what the server says about it (progress, then the result); what the
//! server says by itself is one `GET` that lasts as long as the conversation. So everything that holds for calls
//! holds here: bytes and times are kept, secrets replaced, traces exported.
//!
//! Everything is pure. What it does not do: start servers, or know what a tool does.

pub mod drift;
mod lines;
mod message;
mod own_answer;
mod real_server;
mod recorded;
mod reply;
mod report;
mod server;
pub mod session;
mod tape;
mod tool_call;

pub use lines::Lines;
pub use message::{Message, Unanswered};
pub use own_answer::{tool_answer, tool_refusal};
pub use real_server::{Heard, Opening, RealServer};
pub use recorded::{
    Conversation, LINES, RecordedCall, SERVER_END_HEADER, SESSION_HEADER, Said, conversations, said,
};
pub use reply::{Part, What};
pub use report::{McpReport, ServerReport, Wanted};
pub(crate) use server::is_via;
pub use server::{ServerName, is_mcp};
pub use tape::{LiveSession, McpTape, Reaction, Recalled};
pub use tool_call::{McpToolCall, tool_end};
