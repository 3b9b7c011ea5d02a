//! What the mock provider costs: beside a bare hyper server that sends the same bytes from memory, and the twin's
//! decision alone.
//!
//! ```text
//! cargo bench -p looptape-proxy --bench twin_cost
//! cargo bench -p looptape-proxy --bench twin_cost -- rounds=9 seconds=3
//! ```
//!
//! Both servers wait for nothing and answer the same streamed call of 60 tokens, in the same pieces, each in a
//! process of its own (this program once more) with one thread. The load comes from this process. Rounds are
//! interleaved, figures are medians over them, and ratios are formed inside one round first. It needs nothing but
//! loopback and Linux's `/proc`, and decides nothing about what is fast enough.

#[path = "proxy_cost/cpu.rs"]
#[allow(dead_code, reason = "shared with proxy_cost, which uses more of it")]
mod cpu;

use bytes::Bytes;
use cpu::Cpu;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use looptape_core::simulated::{
    Generated, MockClock, MockDesk, MockProvider, MockSent, Says, SimRequest, SimResponse, SimTime,
};
use looptape_core::spread::Spread;
use looptape_core::twin::{Ask, Caching, CallPlace, Delivery, PromptPart, Twin, TwinSpec, Verdict};
use looptape_proxy::server::bind;
use looptape_proxy::simulated_server::{MockPlayer, SimulatedServer};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PATH: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"You are a careful assistant."},{"role":"user","content":"What is the weather in Oslo today?"}]}"#;
const CONNECTIONS: usize = 32;
const END: &[u8] = b"0\r\n\r\n";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("as-bare") => return serve(false),
        Some("as-mock") => return serve(true),
        _ => {}
    }
    let setting = |name: &str, usual: u64| -> Result<u64, Failure> {
        let found = arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        Ok(found.map(str::parse).transpose()?.unwrap_or(usual))
    };
    let (rounds, round) = (setting("rounds", 5)?, Duration::from_secs(setting("seconds", 2)?));
    decisions();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(streams(rounds, round))
}

/// The twin's decision, by what it has to look at.
fn decisions() {
    let limits = r#"{"rpm":10000000,"tpm":1000000000,"itpm":1000000000,"otpm":1000000000}"#;
    let all = format!(r#"{{"slots":64,"cold":{{"idle_s":60,"extra_ms":500}},"limits":{limits}}}"#);
    for (name, spec, steps) in [
        ("plain", "{}".to_owned(), 1),
        ("a loop of ten steps", "{}".to_owned(), 10),
        ("the same with limits and a queue", all, 10),
    ] {
        let spec: TwinSpec = serde_json::from_str(&spec).expect("a twin");
        let mut twin = Twin::new(spec, 1);
        let calls = 500_000_u64;
        let started = Instant::now();
        let mut served = 0_u64;
        let mut prompt = Vec::with_capacity(32);
        for call in 0..calls {
            let (loop_key, step) = (call / steps, call % steps);
            if step == 0 {
                prompt.clear();
                prompt.push(PromptPart { prefix: 7, tokens: 1500 });
            }
            for _ in 0..2 {
                let tokens = prompt.last().map_or(0, |part: &PromptPart| part.tokens) + 200;
                prompt.push(PromptPart { prefix: (loop_key << 8) + prompt.len() as u64 + 1000, tokens });
            }
            let verdict = twin.ask(&Ask {
                at_us: call * 10_000,
                place: CallPlace { loop_key, loop_no: loop_key, step: step as u32 + 1, attempt: 1 },
                prompt: &prompt,
                caching: Caching::Automatic,
                max_output_tokens: Some(500),
                output_tokens: 120,
                delivery: Delivery::Streamed,
            });
            served += u64::from(matches!(verdict, Verdict::Served(_)));
        }
        let ns = started.elapsed().as_secs_f64() * 1e9 / calls as f64;
        println!("ask, {name}: {ns:.0} ns a call ({served} of {calls} served)");
    }
}

fn provider() -> MockProvider {
    let generated = Generated { output_tokens: Spread::always(60.0), ..Generated::default() };
    MockProvider::new(Says::Generated(generated), 1, SimTime::AtOnce, MockClock::Fixed)
}

fn desk() -> MockDesk {
    MockDesk::new(TwinSpec::default().at_once(), 1)
}

/// What the mock answers.
fn answered() -> SimResponse {
    let request = SimRequest { method: "POST", path: PATH, body: BODY.as_bytes(), occurrence: 0, unix_s: 0 };
    let (provider, mut desk) = (provider(), desk());
    let heard = provider.hear(&request, looptape_core::simulated::Client::default()).expect("a request");
    let at = desk.place(&heard);
    let thought = provider.think(&heard, &request, at);
    let decided = desk.decide(&heard, &thought, 0);
    match provider.write(&heard, &request, thought, &decided).sent {
        MockSent::Answer(response) => response,
        MockSent::Closed => panic!("no fault was asked for"),
    }
}

/// Serves until standard input ends.
fn serve(is_mock: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = bind("127.0.0.1:0".parse()?).await?;
        println!("{}", listener.local_addr()?);
        let player = MockPlayer::new(provider(), desk(), SimTime::AtOnce);
        let _server = if is_mock {
            Some(SimulatedServer::start_mock(listener, Arc::new(player))?)
        } else {
            tokio::spawn(bare(listener));
            None
        };
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        Ok(())
    })
}

async fn bare(listener: tokio::net::TcpListener) {
    let response = answered();
    let pieces: Arc<[Bytes]> = response.chunks.into_iter().map(|chunk| chunk.bytes.into()).collect();
    let headers: Arc<[(&str, String)]> = response.headers.into();
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        let (pieces, headers) = (Arc::clone(&pieces), Arc::clone(&headers));
        let service = service_fn(move |request: Request<Incoming>| {
            let (pieces, headers) = (Arc::clone(&pieces), Arc::clone(&headers));
            async move {
                request.into_body().collect().await?;
                let frames =
                    (0..pieces.len()).map(move |at| Ok::<_, Infallible>(Frame::data(pieces[at].clone())));
                let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
                for (name, value) in headers.iter() {
                    response.headers_mut().append(*name, value.parse().expect("a header"));
                }
                Ok::<_, hyper::Error>(response)
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
        );
    }
}

/// A server in a process of its own; it ends when its standard input does.
struct Target {
    name: &'static str,
    child: Child,
    address: String,
}

impl Target {
    fn start(name: &'static str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(format!("as-{name}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
        Ok(Self { name, child, address: address.trim().to_owned() })
    }
}

/// What one round came to.
struct Measured {
    streams_per_s: f64,
    cpu_us: f64,
}

async fn streams(rounds: u64, round: Duration) -> Result<(), Failure> {
    let targets = [Target::start("bare")?, Target::start("mock")?];
    let mut all: Vec<[Measured; 2]> = Vec::new();
    for target in &targets {
        measure(target, Duration::from_millis(300)).await?;
    }
    for _ in 0..rounds {
        all.push([measure(&targets[0], round).await?, measure(&targets[1], round).await?]);
    }
    for (at, target) in targets.iter().enumerate() {
        println!(
            "{}: {:.0} streams/s, {:.1} µs CPU a stream; to bare: {:.2} of the streams, {:.2} × the CPU",
            target.name,
            median(all.iter().map(|round| round[at].streams_per_s)),
            median(all.iter().map(|round| round[at].cpu_us)),
            median(all.iter().map(|round| round[at].streams_per_s / round[0].streams_per_s)),
            median(all.iter().map(|round| round[at].cpu_us / round[0].cpu_us)),
        );
    }
    for mut target in targets {
        drop(target.child.stdin.take());
        target.child.wait()?;
    }
    Ok(())
}

async fn measure(target: &Target, round: Duration) -> Result<Measured, Failure> {
    let before = Cpu::of(target.child.id())?;
    let started = Instant::now();
    let slots: Vec<_> =
        (0..CONNECTIONS).map(|_| tokio::spawn(slot(target.address.clone(), started, round))).collect();
    let mut streams = 0;
    for slot in slots {
        streams += slot.await??;
    }
    let cpu = Cpu::of(target.child.id())?.since(before);
    Ok(Measured {
        streams_per_s: streams as f64 / started.elapsed().as_secs_f64(),
        cpu_us: (cpu.proxy_ns + cpu.writer_ns) as f64 / 1e3 / streams as f64,
    })
}

/// One connection after the other call, each read to the end of its body.
async fn slot(address: String, started: Instant, round: Duration) -> Result<u64, Failure> {
    let mut socket = TcpStream::connect(&address).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    let request = [head.as_bytes(), BODY.as_bytes()].concat();
    let (mut buffer, mut streams) = (vec![0; 64 << 10], 0);
    while started.elapsed() < round {
        socket.write_all(&request).await?;
        let mut tail = Vec::new();
        while !tail.ends_with(END) {
            let read = socket.read(&mut buffer).await?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            tail.extend_from_slice(&buffer[..read]);
            tail.drain(..tail.len().saturating_sub(END.len()));
        }
        streams += 1;
    }
    Ok(streams)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
