//! HTTP: the recording proxy, and the server that answers from a tape.
//!
//! The two share how a request is addressed ([`address`]), who may send one ([`guard`]), and how ([`server`])
//! and on which threads ([`lanes`]) connections are served. The tape server asks nobody unless it was given a [`model`] to ask, so
//! a replay from the recording alone cannot reach the network. What a child asks of other hosts comes through a
//! [`forward_proxy`] in front of either.

pub mod address;
pub mod asking;
pub mod budgets;
pub mod certificates;
pub mod child_trace;
pub mod egress;
pub mod forward_proxy;
pub mod guard;
pub mod lanes;
pub mod live_model;
pub mod mcp;
pub mod mock_model;
pub mod model;
pub mod pages;
pub mod reply;
pub mod server;
pub mod simulated_server;
pub mod tape_server;
pub mod telemetry;
pub mod upstream;
pub mod upstream_keys;

mod admission;
mod bounded_body;
mod connections;
mod control;
mod files_at_calls;
mod flush;
mod hand_out;
mod hold;
mod kept_body;
mod labels;
mod observed;
mod passing_headers;
mod recording;
mod route;
mod stated;
mod tee;
mod terminal;
mod tool_calls;
mod upload;
mod upstream_client;

pub use passing_headers::{is_hop_by_hop, is_not_recorded};
pub use recording::{RecordingOptions, RecordingProxy, Tally};
pub use upstream_client::SetupError;
