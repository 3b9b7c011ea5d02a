//! The binary `looptape`: one file a verb, rendering, exit codes.

mod child;
mod commands;
#[allow(dead_code, reason = "retention is read by verbs that come next")]
mod config;
mod exit;
mod place;
#[allow(dead_code, reason = "the verbs that print the rest come next")]
mod render;
mod session;
mod tape;
mod trace_view;

use std::process::ExitCode;

fn main() -> ExitCode {
    exit::report(commands::run())
}
