//! looptape's own two parts: the recorder that makes the database, and the server that answers from it.

use crate::Failure;
use crate::roles::until_input_ends;
use looptape_core::redact::{Credentials, Patterns};
use looptape_proxy::guard::Guard;
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::Speed;
use looptape_proxy::tape_server::library::{LibraryOptions, TapeLibrary};
use looptape_proxy::upstream::Upstreams;
use looptape_proxy::{RecordingOptions, RecordingProxy};
use looptape_store::{CallBytes, Durability, Reader, Recorder, RecorderOptions, TraceFilter};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// As `looptape serve` does it.
pub(crate) fn record(
    runtime: &tokio::runtime::Runtime,
    listener: TcpListener,
    database: &Path,
    upstream: &str,
    url: &str,
) -> Result<(), Failure> {
    let mut options = RecorderOptions::new(database.to_owned(), Arc::new(Patterns::builtin()));
    // Nothing may be left out.
    options.durability = Durability::Strict;
    let (recorder, thread) = Recorder::start(options)?;
    let mut upstreams = Upstreams::default();
    upstreams.add_stated(&format!("openai={upstream}"))?;
    let guard = Guard::new(listener.local_addr()?, None)?;
    let options = RecordingOptions {
        upstreams,
        guard,
        run: None,
        known: Credentials::none(),
        budget: None,
        telemetry: None,
    };
    let proxy = RecordingProxy::new(options, recorder)?;
    let server = runtime.block_on(async { Server::start(listener, Arc::new(proxy)) })?;
    until_input_ends(url);
    runtime.block_on(server.drain(Duration::from_secs(5)));
    match thread.finish().gaps.values().sum::<u64>() {
        0 => Ok(()),
        missing => Err(format!("{missing} calls were not recorded").into()),
    }
}

/// As `looptape replay --listen ADDR:PORT --all` does it.
pub(crate) async fn serve(listener: TcpListener, database: &Path) -> Result<Server, Failure> {
    let reader = Reader::open(database)?;
    let mut traces = Vec::new();
    for row in reader.traces(&TraceFilter::default())?.into_iter().rev() {
        traces.push((row.key, reader.outlines(row.key)?));
    }
    let options = LibraryOptions {
        patterns: Arc::new(Patterns::builtin()),
        guard: Guard::new(listener.local_addr()?, None)?,
        speed: Speed::AtOnce,
        vault_key: [7; 32],
        open: Box::new(|_| Err("no request of this benchmark names a trace".into())),
    };
    let library = TapeLibrary::new(traces, Arc::new(CallBytes::new(&reader)?), options);
    Ok(Server::start(listener, Arc::new(library))?)
}
