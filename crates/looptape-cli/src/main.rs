//! The binary `looptape`: one file a verb, rendering, exit codes.

mod child;
mod commands;
mod config;
mod drive;
mod exit;
mod money;
mod named_traces;
mod place;
mod render;
mod replay_trace;
mod run_environment;
mod session;
mod tape;
mod test_entry;
mod test_report;
mod trace_view;
mod usage_gap;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::report(commands::run())
}
