//! What is true about a recorded agent loop.
//!
//! This crate holds the trace model, the wire formats, the two chains, the replay decisions, usage, cost
//! and metrics. Everything here is a pure function or a pure state machine: no IO, no clock, no
//! randomness, no environment, no async; `clippy.toml` beside the manifest enforces it. So determinism is
//! a unit test.

pub mod alerts;
pub mod assembly;
pub mod audit;
pub mod budget;
pub mod canonical;
pub mod captured;
pub mod cassette;
pub mod chain;
pub mod composition;
pub mod cost;
pub mod derive;
pub mod diff;
pub mod digest;
pub mod draws;
pub mod exchange;
pub mod facts;
pub mod failover;
pub mod figures;
pub mod fingerprint;
pub mod gates;
pub mod headers;
pub mod import;
pub mod labels;
pub mod limits;
pub mod lineage;
pub mod load;
pub mod mcp;
pub mod metrics;
pub mod provider;
pub mod provider_host;
mod recent;
pub mod redact;
pub mod replay;
pub mod retry;
pub mod scenario;
pub mod simulated;
pub mod spread;
pub mod text_diff;
pub mod tools;
pub mod trace_id;
pub mod twin;
pub mod usage;
pub mod varint;
pub mod view;
pub mod visible_text;
pub mod wire;
pub mod workspace;

pub use digest::Digest;
pub use trace_id::TraceId;
