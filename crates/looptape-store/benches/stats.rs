//! What measuring many traces takes: `cargo bench -p looptape-store --bench stats`.
//!
//! A database of 10,000 loops of 10 streamed steps with tool calls is recorded first; then all of them are read and
//! measured, several times, from a warm database. Arguments: `traces=N`, `steps=N`, `rounds=N`.

use bytes::Bytes;
use jiff::tz::TimeZone;
use looptape_core::TraceId;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::metrics::{Detail, GroupBy, GroupTally, Sample, TallyOptions};
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_store::{
    BeginCall, CallEnd, Moment, Reader, Recorder, RecorderOptions, Source, TraceFilter, TraceHint, TraceSpec,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let argument = |name: &str, default: usize| {
        let value = std::env::args().find_map(|argument| argument.strip_prefix(name)?.parse().ok());
        value.unwrap_or(default)
    };
    let (traces, steps, rounds) =
        (argument("traces=", 10_000), argument("steps=", 10), argument("rounds=", 5));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = folder.path().join("bench.db");
    let clock = Instant::now();
    record(&database, traces, steps);
    println!("recorded {traces} traces of {steps} steps in {:.1} s", clock.elapsed().as_secs_f64());
    println!("| what | wall ms, best | CPU ms, best |");
    println!("|---|---|---|");
    for (name, detail, by) in [
        ("figures of all", Detail::Whole, None),
        ("and every segment", Detail::Segments, None),
        ("by agent", Detail::Whole, Some(GroupBy::Agent)),
    ] {
        let options = TallyOptions { detail, ..TallyOptions::default() };
        let timed = (0..rounds).map(|_| measure(&database, by.clone(), options, traces * steps));
        let (wall, cpu): (Vec<Duration>, Vec<Duration>) = timed.unzip();
        let best = |times: Vec<Duration>| times.into_iter().min().unwrap_or_default().as_secs_f64() * 1e3;
        println!("| {name} | {:.0} | {:.0} |", best(wall), best(cpu));
    }
    let reader = Reader::open(&database).expect("it opens");
    let (clock, cpu) = (Instant::now(), cpu_time());
    let rows = reader.traces(&TraceFilter::default()).expect("rows");
    println!(
        "| of it finding {} traces | {} | {} |",
        rows.len(),
        clock.elapsed().as_millis(),
        (cpu_time() - cpu).as_millis()
    );
    let (clock, cpu) = (Instant::now(), cpu_time());
    reader.scan(rows, |trace| assert_eq!(trace.trace.facts.len(), steps)).expect("it can be read");
    println!(
        "| of it reading, one thread | {} | {} |",
        clock.elapsed().as_millis(),
        (cpu_time() - cpu).as_millis()
    );
}

fn measure(
    database: &Path,
    by: Option<GroupBy>,
    options: TallyOptions,
    steps: usize,
) -> (Duration, Duration) {
    let (clock, cpu) = (Instant::now(), cpu_time());
    let reader = Reader::open(database).expect("it opens");
    let rows = reader.traces(&TraceFilter::default()).expect("rows");
    let empty = || GroupTally::new(by.clone(), options);
    let parts = reader.fold(rows, empty, |tally, scanned| {
        let (row, measured) = (&scanned.trace.row, scanned.measure());
        let started_unix_us = row.happened_unix_us();
        let sample = Sample { started_unix_us, phase: None, metrics: &measured.metrics };
        tally.add(&sample, &row.labels(), &TimeZone::UTC);
    });
    let mut whole = empty();
    parts.expect("it can be read").into_iter().for_each(|part| whole.merge(part));
    let (stats, _) = whole.finish(None);
    assert_eq!(stats.of_steps.steps as usize, steps);
    (clock.elapsed(), cpu_time() - cpu)
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn record(database: &Path, traces: usize, steps: usize) {
    let options = RecorderOptions::new(database.to_owned(), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).expect("the recorder starts");
    for n in 0..traces {
        let id = TraceId::parse(&format!("bench-{n}")).expect("a valid id");
        let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
        spec.labels.agent = Some(format!("agent-{}", n % 7));
        recorder.open_trace(spec);
        for step in 0..steps {
            let ticket = recorder.begin(begin(&id, step));
            ticket.finish(answer(n * steps + step, step + 1 == steps));
        }
        recorder.close_trace(id, Moment::now(), Some(0), None);
        if n % 64 == 63 {
            recorder.flush();
        }
    }
    drop(recorder);
    let report = thread.finish();
    assert!(report.gaps.is_empty(), "{:?}", report.gaps);
}

fn begin(id: &TraceId, step: usize) -> BeginCall {
    let history: String = (0..step)
        .map(|n| {
            format!(
                r#",{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{n}","type":"function","function":{{"name":"search","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{n}","content":"result {n}"}}"#
            )
        })
        .collect();
    let body = format!(
        r#"{{"model":"gpt-4o-mini","stream":true,"messages":[{{"role":"user","content":"{id}"}}{history}]}}"#
    );
    BeginCall {
        hint: TraceHint::Named(id.clone()),
        at: Moment::now(),
        provider: Provider::OPENAI,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: RedactedHeaders::redact([("content-type", &b"application/json"[..])]),
        body: Bytes::from(body).into(),
        loop_hint: None,
        import_index: None,
        labels: Labels::default(),
        credentials: Credentials::none(),
    }
}

/// A streamed answer in 24 pieces: a tool call, or, at the end, text.
fn answer(n: usize, is_last: bool) -> CallEnd {
    let step = n % 10;
    let mut pieces: Vec<String> = match is_last {
        true => vec![chunk(n, r#"{"role":"assistant","content":"It is done"}"#)],
        false => vec![chunk(
            n,
            &format!(
                r#"{{"tool_calls":[{{"index":0,"id":"call_{step}","type":"function","function":{{"name":"search","arguments":""}}}}]}}"#
            ),
        )],
    };
    for _ in 0..20 {
        let delta = match is_last {
            true => r#"{"content":" so"}"#.to_owned(),
            false => r#"{"tool_calls":[{"index":0,"function":{"arguments":" "}}]}"#.to_owned(),
        };
        pieces.push(chunk(n, &delta));
    }
    pieces.push(format!(r#"data: {{"id":"c{n}","model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"delta":{{}},"finish_reason":"{}"}}]}}{END}"#, if is_last { "stop" } else { "tool_calls" }));
    pieces.push(format!(r#"data: {{"id":"c{n}","model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{{"prompt_tokens":{},"completion_tokens":22,"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}{END}"#, 500 + n % 3000, 522 + n % 3000, n % 400));
    pieces.push(format!("data: [DONE]{END}"));
    let now = Moment::now().mono_us;
    CallEnd::Answered {
        status: 200,
        headers: RedactedHeaders::redact([("content-type", &b"text/event-stream"[..])]),
        head_mono_us: now,
        end_mono_us: now + 30_000,
        chunks: (1..)
            .zip(&pieces)
            .map(|(place, piece)| Chunk { at_us: now + place * 1_000, len: piece.len() as u32 })
            .collect(),
        body: pieces.into_iter().map(Bytes::from).collect(),
        ending: Ending::Complete,
        cut: None,
    }
}

/// The end of an event.
const END: &str = "\n\n";

fn chunk(n: usize, delta: &str) -> String {
    format!(
        r#"data: {{"id":"c{n}","object":"chat.completion.chunk","model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}{END}"#
    )
}
