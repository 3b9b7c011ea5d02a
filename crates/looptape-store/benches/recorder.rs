//! What a recorded call costs the writer, in CPU time: `cargo bench -p looptape-store --bench recorder`.
//!
//! No network: calls are handed to the recorder as the proxy would, and everything until they are on disk
//! is counted. Bodies are made beforehand. One argument chooses a row by the beginning of its name; `loops=80` runs
//! so many loops of 50 calls (two runs that differ in this tell what is done once from what each call costs).

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, RecorderOptions, TraceHint};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As in looptape's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls of a growing loop, and how much each adds.
const CALLS: usize = 50;
const NEW_BYTES: usize = 2048;
const LOOPS: usize = 40;
/// Loops that are under way at the same time.
const LANES: usize = 8;

/// A small generator (xorshift): the same bodies on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Words, numbers and escapes, about as compressible as tool output.
    fn text(&mut self, length: usize) -> String {
        const WORDS: [&str; 32] = [
            "error", "the", "value", "returned", "from", "module", "config", "line", "path", "tests",
            "async", "index", "column", "missing", "expected", "found", "trace", "agent", "update", "commit",
            "branch", "failed", "passed", "unused", "result", "buffer", "offset", "plan", "query", "stream",
            "token", "tool",
        ];
        let mut text = String::with_capacity(length + 24);
        while text.len() < length {
            let n = self.next();
            match n % 24 {
                0 => text.push_str("\\n"),
                1 => text.push_str("\\\""),
                2 => text.push_str(&format!("{:x}", self.next())),
                _ => text.push_str(WORDS[(n >> 8) as usize % WORDS.len()]),
            }
            text.push(' ');
        }
        text
    }
}

/// The bodies of one row, in the order in which they are sent, with the trace that they name.
type Calls = Vec<(TraceHint, Bytes)>;

fn small(loops: usize) -> Calls {
    let mut random = Random(7);
    let body = |r: &mut Random| {
        format!(
            r#"{{"model":"gpt-4o-mini","stream":false,"messages":[{{"role":"user","content":"{}"}}]}}"#,
            r.text(NEW_BYTES)
        )
    };
    (0..loops * CALLS).map(|_| (TraceHint::Lineage, Bytes::from(body(&mut random)))).collect()
}

/// Growing loops, several at a time. `marker` stands at the end of the last message and moves on.
fn loops(count: usize, hint: impl Fn(usize) -> TraceHint, marker: &str) -> Calls {
    let mut lanes: Vec<Vec<(TraceHint, Bytes)>> = (0..count).map(|n| one_loop(n, hint(n), marker)).collect();
    let mut calls = Vec::with_capacity(count * CALLS);
    for group in lanes.chunks_mut(LANES) {
        for step in 0..CALLS {
            calls.extend(
                group
                    .iter_mut()
                    .map(|lane| std::mem::replace(&mut lane[step], (TraceHint::Lineage, Bytes::new()))),
            );
        }
    }
    calls
}

fn one_loop(n: usize, hint: TraceHint, marker: &str) -> Calls {
    let mut random = Random(1000 + n as u64);
    let mut messages: Vec<(&str, String)> = Vec::new();
    let mut calls = Vec::with_capacity(CALLS);
    for step in 0..CALLS {
        if step > 0 {
            messages.push(("assistant", random.text(NEW_BYTES / 4)));
        }
        messages.push(("user", random.text(NEW_BYTES * 3 / 4)));
        let last = messages.len() - 1;
        let all: Vec<String> = messages
            .iter()
            .enumerate()
            .map(|(at, (role, text))| {
                let mark = if at == last { marker } else { "" };
                format!(r#"{{"role":"{role}","content":[{{"type":"text","text":"{text}"{mark}}}]}}"#)
            })
            .collect();
        let body = format!(
            r#"{{"model":"gpt-4o-mini","stream":false,"max_tokens":4096,"messages":[{}]}}"#,
            all.join(",")
        );
        calls.push((hint.clone(), Bytes::from(body)));
    }
    calls
}

fn run(name: &str, calls: Calls) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = RecorderOptions::new(folder.path().join("bench.db"), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).expect("the recorder starts");
    let headers = RedactedHeaders::redact([
        ("content-type", &b"application/json"[..]),
        ("user-agent", b"bench/1.0"),
        ("authorization", b"Bearer sk-bench-000000000000000000000000"),
    ]);
    let credentials =
        Credentials::of_request([("authorization", &b"Bearer sk-bench-000000000000000000000000"[..])], "/");
    let mut random = Random(99);
    let answers: Vec<Bytes> = (0..calls.len())
        .map(|n| {
            Bytes::from(format!(
                r#"{{"id":"chatcmpl-{n}","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}}}"#,
                random.text(1024)
            ))
        })
        .collect();
    let count = calls.len();
    let sent_bytes: usize = calls.iter().map(|(_, body)| body.len()).sum();
    let (clock, cpu) = (Instant::now(), cpu_time());
    for (n, ((hint, body), answer)) in calls.into_iter().zip(answers).enumerate() {
        let ticket = recorder.begin(BeginCall {
            hint,
            at: Moment::now(),
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            headers: headers.clone(),
            body: body.into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: credentials.clone(),
        });
        let now = Moment::now().mono_us;
        let length = u32::try_from(answer.len()).expect("short");
        ticket.finish(CallEnd::Answered {
            status: 200,
            headers: RedactedHeaders::redact([
                ("content-type", &b"application/json"[..]),
                ("x-request-id", format!("req-{n}").as_bytes()),
            ]),
            head_mono_us: now,
            end_mono_us: now,
            body: vec![answer],
            chunks: vec![Chunk { at_us: now, len: length }],
            ending: Ending::Complete,
            cut: None,
        });
        if n % 128 == 127 {
            recorder.flush();
        }
    }
    recorder.flush();
    let (took, recorded) = (clock.elapsed(), cpu_time());
    drop(recorder);
    let report = thread.finish();
    let closed = cpu_time();
    assert_eq!((report.calls as usize, report.gaps.len()), (count, 0), "{report:?}");
    let disk: u64 = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .sum();
    println!(
        "{name:<22} {:>8.1} µs CPU per call, {:>6.1} µs more to close its trace {:>8.0} calls/s {:>6.2} % on disk",
        (recorded - cpu).as_secs_f64() * 1e6 / count as f64,
        (closed - recorded).as_secs_f64() * 1e6 / count as f64,
        count as f64 / took.as_secs_f64(),
        disk as f64 * 100.0 / sent_bytes as f64,
    );
}

fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn named(n: usize) -> TraceHint {
    TraceHint::Named(TraceId::parse(&format!("bench-{n}")).expect("a valid id"))
}

/// A row: its name, and how the calls of so many loops are made.
type Row = (&'static str, fn(usize) -> Calls);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let count = arguments.iter().find_map(|a| a.strip_prefix("loops=")?.parse().ok()).unwrap_or(LOOPS);
    let wanted = arguments.into_iter().find(|a| !a.starts_with("loops=")).unwrap_or_default();
    let rows: [Row; 4] = [
        ("small", small),
        ("loop, named", |n| loops(n, named, "")),
        ("loop, no id", |n| loops(n, |_| TraceHint::Lineage, "")),
        ("loop, moving marker", |n| loops(n, named, r#","cache_control":{"type":"ephemeral"}"#)),
    ];
    for (name, calls) in rows.into_iter().filter(|(name, _)| name.starts_with(&wanted)) {
        run(name, calls(count));
    }
}
