//! The server itself, started in a replay when the replay wants to tell it something: where a tool runs live.
//!
//! Whoever asks never waits: a thread starts it and writes to it, another reads what it says.

use super::pass;
use bytes::Bytes;
use looptape_proxy::mcp::frame::Frame;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc as tokio_mpsc;

/// How much is read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// How long a server may take to end once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

/// A server that is started when it is needed. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Real {
    /// `None` while this is dropped.
    ask: Option<Sender<Bytes>>,
    thread: Option<JoinHandle<()>>,
}

/// One that runs, with whoever reads it: that gives its output's end to wait for.
struct Running {
    child: Child,
    input: ChildStdin,
    reader: Receiver<()>,
}

impl Real {
    /// What it says goes to `told`.
    pub(super) fn new(command: &[OsString], told: tokio_mpsc::Sender<Frame>) -> std::io::Result<Self> {
        let (ask, asked) = mpsc::channel();
        let command = command.to_vec();
        let work = move || serve(&command, &asked, &told);
        let thread = thread::Builder::new().name("looptape-mcp-real".into()).spawn(work)?;
        Ok(Self { ask: Some(ask), thread: Some(thread) })
    }

    /// Tells it something; it is started if it does not run.
    pub(super) fn ask(&self, line: Bytes) {
        if let Some(ask) = &self.ask {
            // The thread ends with this value only.
            let _ = ask.send(line);
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve(command: &[OsString], asked: &Receiver<Bytes>, told: &tokio_mpsc::Sender<Frame>) {
    let mut running: Option<Running> = None;
    while let Ok(line) = asked.recv() {
        let has_ended = |running: &mut Running| !matches!(running.child.try_wait(), Ok(None));
        if running.as_mut().is_none_or(has_ended) {
            running = match start(command, told) {
                Ok(started) => Some(started),
                Err(why) => {
                    let _ = told.blocking_send(Frame::Gone(why));
                    None
                }
            };
        }
        if let Some(running) = &mut running {
            // Whoever reads it sees that it is gone.
            let _ = running.input.write_all(&line).and_then(|()| running.input.flush());
        }
    }
    if let Some(running) = running {
        end(running);
    }
}

fn start(command: &[OsString], told: &tokio_mpsc::Sender<Frame>) -> Result<Running, String> {
    let mut child = pass::start(command).map_err(|pass::NotStarted(error)| {
        let name = command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        format!("`{name}` cannot be started: {error}")
    })?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let (input, output) = streams.ok_or("it has no input or output")?;
    let (done, reader) = mpsc::channel();
    let told = told.clone();
    let read = move || {
        read(output, &told);
        // Nobody waits for it unless the conversation is over.
        let _ = done.send(());
    };
    let started = thread::Builder::new().name("looptape-mcp-told".into()).spawn(read);
    started.map_err(|error| error.to_string())?;
    Ok(Running { child, input, reader })
}

fn read(mut output: ChildStdout, told: &tokio_mpsc::Sender<Frame>) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read) = output.read(&mut piece)
        && read > 0
    {
        if told.blocking_send(Frame::Told(Bytes::copy_from_slice(&piece[..read]))).is_err() {
            return;
        }
    }
    // The replay is over if nobody takes it.
    let _ = told.blocking_send(Frame::Gone("it ended".to_owned()));
}

/// Closes its input, and gives it a while to end by itself.
fn end(Running { mut child, input, reader }: Running) {
    drop(input);
    let _ = reader.recv_timeout(GRACE);
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
