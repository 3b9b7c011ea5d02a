//! The binary `looptape`: one file a verb, rendering, exit codes.

mod child;
mod commands;
mod config;
mod drive;
mod exit;
mod interrupt;
mod looks;
mod mcp_shim;
mod money;
mod named_traces;
mod page;
mod place;
mod render;
mod replay_trace;
mod run_environment;
mod session;
mod tape;
mod test_entry;
mod test_report;
mod upstream_entry;

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// What a recorded call leaves behind is allocated by the thread that serves it and freed by the one that writes it
/// down. This allocator is made for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    exit::report(commands::run())
}
