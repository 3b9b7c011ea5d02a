//! Integration tests: one binary, a module per feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod budgets;
mod cassettes;
mod clients;
mod corpus;
mod crashes;
mod demo;
mod diff;
mod egress;
mod endings;
mod env;
mod expectations;
mod gates;
mod gateway;
mod import;
mod lab;
mod load;
mod load_agents;
mod load_real;
mod load_reports;
mod mcp;
mod mock;
mod model_driven;
mod offline;
mod page;
mod passthrough;
mod prices;
mod private;
mod replays;
mod reports;
mod resend;
mod secrets;
mod served_recordings;
mod sources;
mod stats;
mod surroundings;
mod telemetry;
mod test_verb;
mod tools;
mod traces;
mod unknown_frameworks;
mod views;
mod volatile;
mod workspace;
