//! One round of calls against one target.
//!
//! A closed loop: each slot has one connection that it keeps, and sends its next call when the last one has
//! been answered. Slots start at different steps of a loop, so that the mix of sizes is steady.

use crate::Failure;
use crate::conversation::{Conversation, Shape};
use crate::cpu::{self, Cpu};
use crate::roles::Target;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    pub(crate) concurrency: usize,
    pub(crate) round: Duration,
    pub(crate) seed: u64,
}

/// What one round came to.
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    /// How long the target was busy after the last answer.
    pub(crate) drain: Duration,
    pub(crate) cpu: Cpu,
    pub(crate) resident_kib: u64,
    /// Per call, sorted.
    pub(crate) first_bytes: Vec<Duration>,
    pub(crate) latencies: Vec<Duration>,
}

struct Timing {
    first_byte: Duration,
    whole: Duration,
}

impl Load {
    pub(crate) async fn run(self, target: &Target) -> Result<Measured, Failure> {
        let before = Cpu::of(target.pid())?;
        let started = Instant::now();
        let slots: Vec<_> = (0..self.concurrency)
            .map(|slot| {
                let address = target.url().trim_start_matches("http://").to_owned();
                tokio::task::spawn_local(async move { self.slot(slot, &address, started).await })
            })
            .collect();
        let mut timings = Vec::new();
        for slot in slots {
            timings.extend(slot.await??);
        }
        let elapsed = started.elapsed();
        let drain = cpu::settle(target.pid()).await?;
        let cpu = Cpu::of(target.pid())?.since(before);
        let sorted = |of: fn(&Timing) -> Duration| {
            let mut all: Vec<Duration> = timings.iter().map(of).collect();
            all.sort_unstable();
            all
        };
        Ok(Measured {
            calls: timings.len() as u64,
            elapsed,
            drain,
            cpu,
            resident_kib: cpu::resident_kib(target.pid())?,
            first_bytes: sorted(|t| t.first_byte),
            latencies: sorted(|t| t.whole),
        })
    }

    async fn slot(self, slot: usize, address: &str, started: Instant) -> Result<Vec<Timing>, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut connection, driver) = handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(driver);
        let steps = self.shape.steps();
        let mut skip = slot * steps / self.concurrency;
        let mut timings = Vec::new();
        for conversation in 0u64.. {
            let seed = (self.seed << 40) + ((slot as u64) << 24) + conversation;
            let mut agent = Conversation::new(self.shape, seed);
            for step in 0..steps {
                let body = agent.request();
                if step < skip {
                    continue;
                }
                if started.elapsed() >= self.round {
                    return Ok(timings);
                }
                let (timing, reply) = self.call(&mut connection, address, body).await?;
                timings.push(timing);
                if steps > 1 {
                    agent.reply(&reply).ok_or("a reply without its text")?;
                }
            }
            skip = 0;
        }
        Ok(timings)
    }

    async fn call(
        self,
        connection: &mut SendRequest<Full<Bytes>>,
        address: &str,
        body: Vec<u8>,
    ) -> Result<(Timing, String), Failure> {
        let request = Request::post(self.shape.path())
            .header("host", address)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("user-agent", "proxy-cost/1")
            .header("authorization", "Bearer sk-benchmark-0123456789abcdef")
            .body(Full::new(Bytes::from(body)))?;
        let sent = Instant::now();
        connection.ready().await?;
        let mut response = connection.send_request(request).await?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status()).into());
        }
        let (mut reply, mut first_byte) = (Vec::new(), None);
        while let Some(frame) = response.frame().await {
            first_byte.get_or_insert_with(|| sent.elapsed());
            if let Ok(data) = frame?.into_data() {
                reply.extend_from_slice(&data);
            }
        }
        let whole = sent.elapsed();
        let reply = String::from_utf8(reply)?;
        if self.shape == Shape::PacedStream && !reply.ends_with("data: [DONE]\n\n") {
            return Err("a stream without its end".into());
        }
        Ok((Timing { first_byte: first_byte.ok_or("an empty reply")?, whole }, reply))
    }
}
