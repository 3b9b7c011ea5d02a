//! Answers in a server's place: what the client says goes to the replay, and what the server said comes from there.
//! The server is not started, unless the replay wants to tell it something, because a tool of it runs live.

use super::Gateway;
use super::pass::code_of;
use super::real::Real;
use anyhow::Context;
use bytes::Bytes;
use looptape_core::mcp::ServerName;
use looptape_proxy::mcp::frame::Frame;
use looptape_proxy::mcp::link::{FrameSender, Link};
use looptape_store::Moment;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use tokio::sync::mpsc;

/// How much is read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Stands in until the client has enough or the recorded server ended; the exit code. `command` starts the server itself.
pub(crate) fn answer(gateway: &Gateway, server: &ServerName, command: &[OsString]) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(async {
        let link = Link::open(&gateway.url, &gateway.trace, server).await?;
        let (to_replay, mut from_replay) = link.split().await?;
        let (heard, hear) = mpsc::channel(64);
        let real = Real::new(command, heard.clone())?;
        std::thread::Builder::new().name("looptape-mcp-in".into()).spawn(move || read(&heard))?;
        tokio::spawn(pass_on(hear, to_replay));
        while let Some(frames) = from_replay.next().await? {
            let mut out = std::io::stdout().lock();
            for frame in frames {
                match frame {
                    Frame::Server(text) => out.write_all(&text).context("writing to stdout")?,
                    Frame::ServerEnded(end) => {
                        out.flush().context("writing to stdout")?;
                        return Ok(code_of(end));
                    }
                    Frame::Ask(line) => real.ask(line),
                    Frame::Client(_)
                    | Frame::ClientClosed
                    | Frame::Lost(_)
                    | Frame::Told(_)
                    | Frame::Gone(_) => {}
                }
            }
            out.flush().context("writing to stdout")?;
        }
        Ok(0)
    })
}

fn read(heard: &mpsc::Sender<Frame>) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut input = std::io::stdin().lock();
    loop {
        let frame = match input.read(&mut piece) {
            Ok(0) => Frame::ClientClosed,
            Ok(read) => Frame::Client(Bytes::copy_from_slice(&piece[..read])),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Frame::ClientClosed,
        };
        let is_over = frame == Frame::ClientClosed;
        if heard.blocking_send(frame).is_err() || is_over {
            return;
        }
    }
}

async fn pass_on(mut hear: mpsc::Receiver<Frame>, mut to_replay: FrameSender) {
    while let Some(frame) = hear.recv().await {
        // Whoever reads the replay's answer sees that it broke.
        if to_replay.send(Moment::mono_us_now(), &frame).await.is_err() {
            return;
        }
    }
}
