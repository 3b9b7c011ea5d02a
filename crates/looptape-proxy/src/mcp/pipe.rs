//! A replayed stdio server: a shim sends what the client says, and gets what the server would say.
//!
//! Each message is reacted to at once and in its turn, unless its answer has to wait, for the recorded time or for the
//! client: then others go before it. When the shim goes away its conversation is dropped. Where a tool runs live the shim
//! is told to start the server, and hands on what that says.

use super::desk::{McpDesk, Reply};
use super::frame::{Frame, Frames};
use super::notes::Notes;
use super::real_stdio::RealStdio;
use crate::child_trace::ChildTrace;
use crate::reply::{self, Body, BodyError};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use looptape_core::mcp::session::ServerEnd;
use looptape_core::mcp::{Lines, LiveSession, Message, Part, Reaction, ServerName, What};
use looptape_store::Moment;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Frames that may wait for a shim to take them.
const WAITING: usize = 64;

/// Answers a shim's request until one of the two has enough.
pub(crate) fn serve(
    desk: &McpDesk,
    child: Option<&ChildTrace>,
    server: &ServerName,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some((session, opening)) = desk.open(server) else {
        return reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended");
    };
    let (sender, body) = Channel::<Bytes, BodyError>::new(WAITING);
    let (say, said) = mpsc::channel(WAITING);
    tokio::spawn(send(said, sender));
    let (replied, _) = watch::channel(Replies::default());
    let pipe = Pipe {
        desk: desk.clone(),
        server: server.clone(),
        session,
        say,
        replied,
        notes: Arc::new(Notes::begin(child, server)),
        real: Arc::new(Mutex::new(RealStdio::new(desk.clone(), server.clone()))),
    };
    tokio::spawn(async move {
        pipe.perform(opening, Instant::now()).await;
        pipe.converse(request.into_body()).await;
    });
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::OK;
    response
}

/// How long after the client's last word a server that runs live may take for its own.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What is to be sent.
enum Said {
    Text(Bytes),
    /// To the server itself.
    Ask(Bytes),
    End(ServerEnd),
}

async fn send(mut said: mpsc::Receiver<Said>, mut sender: Sender<Bytes, BodyError>) {
    while let Some(said) = said.recv().await {
        let (frame, is_end) = match said {
            Said::Text(text) => (Frame::Server(text), false),
            Said::Ask(line) => (Frame::Ask(line), false),
            Said::End(end) => (Frame::ServerEnded(end), true),
        };
        // Nobody is there any more if it cannot be sent.
        if sender.send_data(frame.encode(Moment::mono_us_now())).await.is_err() || is_end {
            return;
        }
    }
}

#[derive(Clone)]
struct Pipe {
    desk: McpDesk,
    server: ServerName,
    session: LiveSession,
    say: mpsc::Sender<Said>,
    replied: watch::Sender<Replies>,
    notes: Arc<Notes>,
    real: Arc<Mutex<RealStdio>>,
}

/// Requests of the server that the client has answered.
#[derive(Debug, Default)]
struct Replies {
    ids: HashSet<String>,
    /// No more will come.
    over: bool,
}

impl Pipe {
    async fn converse(self, body: Incoming) {
        self.listen(body).await;
        // Nobody takes what is still to come; what ran is compared all the same.
        self.real().gone("the agent did not wait for it");
        self.replied.send_modify(|replies| replies.over = true);
    }

    async fn listen(&self, mut body: Incoming) {
        let mut frames = Frames::default();
        let mut lines = Lines::default();
        let mut until = None;
        loop {
            let piece = match until {
                None => body.frame().await,
                Some(_) if !self.real().is_awaited() => return,
                Some(until) => timeout_at(until, body.frame()).await.unwrap_or_default(),
            };
            let Some(Ok(piece)) = piece else { return };
            let Ok(piece) = piece.into_data() else { continue };
            let Ok(whole) = frames.add(&piece) else { return };
            for (_, frame) in whole {
                match frame {
                    Frame::Client(bytes) => {
                        for line in lines.add(&bytes) {
                            self.hear(&line).await;
                        }
                    }
                    Frame::ClientClosed => {
                        if let Some(rest) = lines.rest() {
                            self.hear(&rest).await;
                        }
                        until = Some(Instant::now() + LAST_WORDS);
                    }
                    Frame::Told(bytes) => {
                        let told = self.real().wrote(&bytes);
                        self.ask(told.ask).await;
                        self.perform(told.parts, Instant::now()).await;
                    }
                    Frame::Gone(why) => {
                        let parts = self.real().gone(&why);
                        self.perform(parts, Instant::now()).await;
                    }
                    Frame::Server(_) | Frame::ServerEnded(_) | Frame::Lost(_) | Frame::Ask(_) => {}
                }
            }
        }
    }

    async fn hear(&self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let message = Message::read(line);
        if let Message::Response { id, .. } = message {
            self.replied.send_modify(|replies| {
                replies.ids.insert(id.to_owned());
            });
        }
        self.real().overhear(line);
        let reply = self.desk.react(&self.server, &self.session, line);
        self.notes.client_said(line, reply.origin());
        match reply {
            Reply::React(reaction, _) => self.react(*reaction).await,
            Reply::Run(live) => {
                let ask = self.real().call(*live);
                self.ask(ask).await;
            }
        }
        let lists = matches!(&message, Message::Request { method, .. } if method == "tools/list");
        if lists && self.desk.compares_tools_of(&self.server) {
            let ask = self.real().start();
            self.ask(ask).await;
        }
    }

    async fn react(&self, reaction: Reaction) {
        let arrived = Instant::now();
        let waits = |part: &Part| {
            matches!(part.what, What::AwaitClient { .. } | What::AwaitModel { .. })
                || self.desk.speed.scaled(part.after_us) > Duration::ZERO
        };
        let (has_to_wait, end) = (reaction.parts.iter().any(waits), reaction.end);
        let pipe = self.clone();
        let react = async move {
            pipe.perform(reaction.parts, arrived).await;
            if let Some(end) = end {
                pipe.notes.server_ends(end);
                // The shim is gone if nobody takes it.
                let _ = pipe.say.send(Said::End(end)).await;
            }
        };
        if has_to_wait {
            tokio::spawn(react);
        } else {
            react.await;
        }
    }

    /// Says something to the server itself.
    async fn ask(&self, lines: Vec<Bytes>) {
        for line in lines {
            // The shim is gone if nobody takes it.
            let _ = self.say.send(Said::Ask(line)).await;
        }
    }

    /// Held for one decision, never across an await.
    fn real(&self) -> MutexGuard<'_, RealStdio> {
        self.real.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, parts: Vec<Part>, arrived: Instant) {
        for part in parts {
            let wait = self.desk.speed.scaled(part.after_us);
            if wait > Duration::ZERO {
                sleep_until(arrived + wait).await;
            }
            match part.what {
                What::Answer(text) | What::Stream(text) => {
                    self.notes.server_says(&text);
                    if self.say.send(Said::Text(text)).await.is_err() {
                        return;
                    }
                }
                What::AwaitModel { calls } => {
                    let mut replied = self.replied.subscribe();
                    tokio::select! {
                        () = self.desk.until_model_is_asked(calls) => {}
                        // Nobody is there any more.
                        _ = replied.wait_for(|replies| replies.over) => return,
                    }
                }
                What::AwaitClient { id } => {
                    let mut replied = self.replied.subscribe();
                    let replies = replied.wait_for(|replies| replies.over || replies.ids.contains(&id)).await;
                    if replies.is_ok_and(|replies| !replies.ids.contains(&id)) {
                        return;
                    }
                }
            }
        }
    }
}
