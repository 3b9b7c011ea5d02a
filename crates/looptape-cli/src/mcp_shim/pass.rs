//! Runs a server, and passes every byte between it and its client on as it comes.
//!
//! Two threads copy, one in each direction, and wait for nobody but their two ends. The server's errors go where they
//! would go; signals that ask this process to end are the server's; its end is this process's.

use super::tap::{Scribe, Tap};
use anyhow::Context;
use bytes::Bytes;
use looptape_core::mcp::session::ServerEnd;
use looptape_proxy::mcp::frame::Frame;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How much is read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// How long a server may take to end after a signal, and a scribe to write down what is left.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a server wrote last may take to come, once it has ended. (A process that it left behind may hold its
/// output open for ever.)
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What the main thread waits for.
enum Event {
    ServerEnded(ExitStatus),
    /// Everything that it wrote was passed on.
    OutputClosed,
    Asked(Signal),
}

/// A server that could not be started.
#[derive(Debug)]
pub(crate) struct NotStarted(pub(crate) std::io::Error);

/// Starts the server.
pub(crate) fn start(command: &[OsString]) -> Result<Child, NotStarted> {
    let (program, arguments) = command.split_first().ok_or_else(|| NotStarted(ErrorKind::NotFound.into()))?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(NotStarted)
}

/// Passes on until the server has ended; how it did.
pub(crate) fn through(mut child: Child, tap: Tap, scribe: Scribe) -> anyhow::Result<ServerEnd> {
    let (events, happened) = mpsc::channel();
    let to_server = child.stdin.take().context("the server has no input")?;
    let from_server = child.stdout.take().context("the server has no output")?;
    let of_client = tap.clone();
    spawn("looptape-mcp-in", move || {
        copy(std::io::stdin().lock(), to_server, &of_client, Frame::Client);
        of_client.tell(Frame::ClientClosed);
    })?;
    let (of_server, closed) = (tap.clone(), events.clone());
    spawn("looptape-mcp-out", move || {
        copy(from_server, std::io::stdout().lock(), &of_server, Frame::Server);
        // Nobody waits any more if the server's end was noticed first.
        let _ = closed.send(Event::OutputClosed);
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    watch_signals(events.clone())?;
    spawn("looptape-mcp-wait", move || {
        if let Ok(status) = child.wait() {
            let _ = events.send(Event::ServerEnded(status));
        }
    })?;
    let end = wait(&happened, pid, &tap);
    tap.tell(Frame::ServerEnded(end));
    finish(tap, scribe);
    Ok(end)
}

/// The exit code that says the same.
pub(crate) fn code_of(end: ServerEnd) -> u8 {
    let code = match end {
        ServerEnd::Code(code) => code,
        ServerEnd::Signal(signal) => 128 + signal,
    };
    u8::try_from(code).unwrap_or(1)
}

/// What is left to be written down is given a time.
fn finish(tap: Tap, scribe: Scribe) {
    drop(tap);
    let (done, is_done) = mpsc::channel();
    let waiting = spawn("looptape-mcp-end", move || {
        scribe.finish();
        let _ = done.send(());
    });
    if waiting.is_ok() {
        // What is not written down by then is missing, and the trace says so.
        let _ = is_done.recv_timeout(GRACE);
    }
}

fn wait(happened: &Receiver<Event>, pid: Option<Pid>, tap: &Tap) -> ServerEnd {
    let mut ended: Option<ExitStatus> = None;
    let mut output_closed = false;
    let mut asked = false;
    loop {
        let limit = match (ended, asked) {
            (Some(_), _) => LAST_WORDS,
            (None, true) => GRACE,
            (None, false) => Duration::MAX,
        };
        match happened.recv_timeout(limit) {
            Ok(Event::ServerEnded(status)) => ended = Some(status),
            Ok(Event::OutputClosed) => output_closed = true,
            Ok(Event::Asked(signal)) => {
                asked = true;
                tap.tell(Frame::ClientClosed);
                send(pid, signal);
            }
            Err(RecvTimeoutError::Timeout) if ended.is_none() => send(pid, Signal::KILL),
            Err(_) => output_closed = true,
        }
        if let Some(status) = ended.filter(|_| output_closed) {
            return end_of(status);
        }
    }
}

fn end_of(status: ExitStatus) -> ServerEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ServerEnd::Code(code),
        (None, signal) => ServerEnd::Signal(signal.unwrap_or(0)),
    }
}

fn send(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid {
        // It may have ended this very moment.
        let _ = kill_process(pid, signal);
    }
}

/// Copies until one of the two ends has enough.
fn copy(mut from: impl Read, mut to: impl Write, tap: &Tap, frame: impl Fn(Bytes) -> Frame) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        // Passed on first: what is told costs the client nothing.
        let passed = to.write_all(&piece[..read]).and_then(|()| to.flush());
        tap.tell(frame(Bytes::copy_from_slice(&piece[..read])));
        if passed.is_err() {
            return;
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).context("a thread cannot be started")?;
    Ok(())
}

/// Signals that ask for an end are heard from here on.
fn watch_signals(events: Sender<Event>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("signals cannot be handled")?;
    let hear = |kind| signal(kind).context("signals cannot be handled");
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _inside = runtime.enter();
        (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?, hear(SignalKind::hangup())?)
    };
    spawn("looptape-mcp-sig", move || {
        runtime.block_on(async {
            loop {
                let asked = tokio::select! {
                    _ = terminate.recv() => Signal::TERM,
                    _ = interrupt.recv() => Signal::INT,
                    _ = hang_up.recv() => Signal::HUP,
                };
                if events.send(Event::Asked(asked)).is_err() {
                    return;
                }
            }
        });
    })
}
