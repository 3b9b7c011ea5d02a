//! Placeholder.

pub mod simulated_server;
