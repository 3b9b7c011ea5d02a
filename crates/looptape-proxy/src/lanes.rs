//! Threads that serve connections.
//!
//! Each lane is a thread with a runtime of its own. A connection stays on the lane that it was given to, and so
//! does all that its calls need, the connections to upstreams included: no step of a call wakes another thread.
//! What a handler shares between lanes is its own business.
//!
//! Connections do not move to another lane, however busy theirs is; new ones go where the fewest are
//! (see [`crate::server`]).

use std::io;
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// More of them than this share nothing but the machine's memory.
const MOST: usize = 8;

/// Running lanes. Dropping them breaks off whatever they still serve.
#[derive(Debug)]
#[must_use = "what lanes serve is broken off when they are dropped"]
pub struct Lanes(Vec<Lane>);

#[derive(Debug)]
struct Lane {
    runtime: Handle,
    /// Dropped to stop it.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lanes {
    /// One for each core, at most eight.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores.min(MOST)).map(Lane::start).collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|lane| &lane.runtime)
    }
}

impl Lane {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(format!("looptape-lane{number}")).spawn(move || {
            // Either way the sender is gone.
            let _ = runtime.block_on(stopped);
            // A look-up of a host's name may still block a thread of it: nobody waits for that.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|lane| drop(lane.running.take()));
        for thread in self.0.iter_mut().filter_map(|lane| lane.thread.take()) {
            // A panic of a lane was reported when it happened.
            let _ = thread.join();
        }
    }
}
