//! `looptape sandboxed`: what `replay --sandbox` starts. Nobody else has a use for it.

use crate::child::sandbox::inside;
use crate::exit::Exit;
use std::path::PathBuf;

/// Become a program in a network of its own
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The socket at which a replay listens
    link: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    inside::run(&args.link)
}
