//! A scripted upstream: answers as a test says, well or badly, and remembers what it was sent.
//!
//! It speaks HTTP/1.1 on raw sockets, so that it can reset a connection inside a body, promise a length
//! that it does not keep, and hold a chunk back until the test has seen the one before. It serves
//! connections concurrently and keeps them alive. It checks nothing: assertions belong to the test.
//!
//! ```no_run
//! # async fn test() -> std::io::Result<()> {
//! use looptape_testkit::{answer::{Answer, Gate}, upstream::ScriptedUpstream};
//! let upstream = ScriptedUpstream::start().await?;
//! let gate = Gate::closed();
//! upstream.push(Answer::event_stream(["data: 1\n\n"]).wait(&gate).piece("data: 2\n\n"));
//! // The client has the first chunk now, and the second only after:
//! gate.release();
//! # Ok(()) }
//! ```

use crate::answer::{Answer, Ending, Framing, Piece};
use crate::http1::{BodyFraming, Head, PATIENCE, Reader};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The head's bytes, the empty line included.
    pub raw_head: Vec<u8>,
    /// The body without its transfer encoding.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl ReceivedRequest {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether these bytes occur anywhere in the request.
    pub fn contains(&self, bytes: &str) -> bool {
        let holds = |part: &[u8]| part.windows(bytes.len()).any(|w| w == bytes.as_bytes());
        holds(&self.raw_head) || holds(&self.body)
    }
}

/// The running upstream; dropping it closes its port and its connections.
#[must_use = "dropping the upstream ends it"]
#[derive(Debug)]
pub struct ScriptedUpstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What the test may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    connections: usize,
    requests: usize,
    hang_ups: usize,
}

struct Shared {
    source: Mutex<Source>,
    requests: Mutex<Vec<ReceivedRequest>>,
    counts: watch::Sender<Counts>,
}

type AnswerFn = Box<dyn FnMut(&ReceivedRequest) -> Answer + Send>;

enum Source {
    Queue(VecDeque<Answer>),
    Closure(AnswerFn),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counts", &*self.counts.borrow()).finish_non_exhaustive()
    }
}

impl ScriptedUpstream {
    /// Answers from a queue, in order of arrival. A request that finds it empty gets a 599.
    pub async fn start() -> io::Result<Self> {
        Self::with(Source::Queue(VecDeque::new())).await
    }

    /// Answers by a function of the request.
    pub async fn answering(
        answer: impl FnMut(&ReceivedRequest) -> Answer + Send + 'static,
    ) -> io::Result<Self> {
        Self::with(Source::Closure(Box::new(answer))).await
    }

    async fn with(source: Source) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let counts = watch::Sender::new(Counts::default());
        let shared = Arc::new(Shared { source: Mutex::new(source), requests: Mutex::default(), counts });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, accepting })
    }

    /// Appends an answer to the queue.
    ///
    /// # Panics
    /// If the upstream answers by a function.
    pub fn push(&self, answer: Answer) {
        match &mut *lock(&self.shared.source) {
            Source::Queue(queue) => queue.push_back(answer),
            Source::Closure(_) => panic!("this upstream answers by a function and has no queue"),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.counts.borrow().connections
    }

    /// Waits until this many requests have arrived.
    ///
    /// # Panics
    /// If they do not arrive in 20 s.
    pub async fn wait_for_requests(&self, count: usize) -> Vec<ReceivedRequest> {
        self.wait_until("requests", |c| c.requests >= count).await;
        self.requests()
    }

    /// Waits until this many clients have hung up inside an answer.
    ///
    /// # Panics
    /// If they do not in 20 s.
    pub async fn wait_for_hang_ups(&self, count: usize) {
        self.wait_until("hang-ups", |c| c.hang_ups >= count).await;
    }

    async fn wait_until(&self, what: &str, mut reached: impl FnMut(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let outcome = tokio::time::timeout(PATIENCE, counts.wait_for(|c| reached(c))).await;
        assert!(outcome.is_ok(), "too few {what}: {:?}", self.shared.counts.borrow());
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn next_answer(&self, request: &ReceivedRequest) -> Answer {
        match &mut *lock(&self.source) {
            Source::Queue(queue) => queue
                .pop_front()
                .unwrap_or_else(|| Answer::status(599).piece("the scripted upstream has no answer left")),
            Source::Closure(answer) => answer(request),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections die with this task.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let mut number = 0;
        shared.counts.send_modify(|c| {
            number = c.connections;
            c.connections += 1;
        });
        connections.spawn(serve(socket, number, Arc::clone(&shared)));
    }
}

async fn serve(socket: TcpStream, connection: usize, shared: Arc<Shared>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (reading, mut writer) = socket.into_split();
    let mut reader = Reader::new(reading);
    while let Some(head) = next_head(&mut reader).await? {
        if head.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let request = receive(&mut reader, head, connection).await?;
        let answer = shared.next_answer(&request);
        lock(&shared.requests).push(request);
        shared.counts.send_modify(|c| c.requests += 1);
        let sent = tokio::select! {
            sent = send(&mut writer, &answer) => sent,
            gone = peer_gone(&mut reader) => Err(gone),
        };
        match (sent, answer.ending) {
            (Err(e), _) => {
                shared.counts.send_modify(|c| c.hang_ups += 1);
                return Err(e);
            }
            (Ok(()), Ending::KeepAlive) => {}
            (Ok(()), Ending::Close | Ending::Cut) => {
                writer.shutdown().await?;
                return Ok(());
            }
            (Ok(()), Ending::Reset) => {
                writer.as_ref().set_zero_linger()?;
                // Dropping the half would send a FIN first, and the client would see a polite end.
                writer.forget();
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An idle connection may wait for its next request for as long as its client likes.
async fn next_head(reader: &mut Reader<OwnedReadHalf>) -> io::Result<Option<Head>> {
    loop {
        match reader.head().await {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {}
            result => return result,
        }
    }
}

async fn receive(
    reader: &mut Reader<OwnedReadHalf>,
    head: Head,
    connection: usize,
) -> io::Result<ReceivedRequest> {
    let body = match head.framing(BodyFraming::Length(0)) {
        BodyFraming::Length(len) => reader.exactly(len).await?,
        BodyFraming::Chunked | BodyFraming::UntilClose => {
            let mut body = Vec::new();
            while let Some(chunk) = reader.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            body
        }
    };
    let mut words = head.first_line.split(' ').map(str::to_owned);
    Ok(ReceivedRequest {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: head.headers,
        raw_head: head.raw,
        body,
        connection,
    })
}

async fn send(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    for gate in &answer.before_head {
        gate.pass().await;
    }
    let Some(status) = answer.status else { return Ok(()) };
    writer.write_all(&answer.head(status)).await?;
    for piece in &answer.pieces {
        match (piece, answer.framing) {
            (Piece::Wait(gate), _) => gate.pass().await,
            (Piece::Bytes(bytes), Framing::Chunked) => {
                let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
                writer.write_all(&framed).await?;
            }
            (Piece::Bytes(bytes), _) => writer.write_all(bytes).await?,
        }
    }
    let proper = matches!(answer.ending, Ending::KeepAlive | Ending::Close);
    if proper && answer.framing == Framing::Chunked {
        writer.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

/// Ends when the client closes or resets its side; keeps what a client sends early.
async fn peer_gone(reader: &mut Reader<OwnedReadHalf>) -> io::Error {
    loop {
        match reader.fill().await {
            Ok(0) => return io::Error::new(io::ErrorKind::ConnectionAborted, "the client hung up"),
            Ok(_) => {}
            Err(e) => return e,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
