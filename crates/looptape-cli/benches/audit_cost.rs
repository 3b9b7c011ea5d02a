//! What `looptape audit` takes, as a command from start to end: `cargo bench -p looptape-cli --bench audit_cost`.
//!
//! Growing loops of 200 and of 2000 steps are recorded, each step with a tool call and its result of 2 KiB,
//! for a model with a published tokenizer and for one without. Then the command runs in turn with `show --json`,
//! which reads the same prompts. One argument chooses rows by the beginning of their names.

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, RecorderOptions, Source, TraceHint, TraceSpec};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RESULT_BYTES: usize = 2048;
const ROUNDS: usize = 9;

/// A loop to record: its name, how many steps it has, which provider's model it asks.
type Row = (&'static str, usize, Provider, &'static str);

const ROWS: [Row; 3] = [
    ("200 steps, o200k_base", 200, Provider::OPENAI, "gpt-4o"),
    ("200 steps, approximate", 200, Provider::ANTHROPIC, "claude-sonnet-4-5"),
    ("2000 steps, o200k_base", 2000, Provider::OPENAI, "gpt-4o"),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with("--")).unwrap_or_default();
    println!("{:<26} {:>12} {:>12} {:>12} {:>12}", "", "audit, min", "median", "show, min", "median");
    for (name, steps, provider, model) in ROWS.into_iter().filter(|(name, ..)| name.starts_with(&wanted)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = folder.path().join("bench.db");
        record(&database, steps, &provider, model);
        let (mut audit, mut show) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            audit.push(timed(&database, &["audit", "last"]));
            show.push(timed(&database, &["show", "last", "--json"]));
        }
        audit.sort();
        show.sort();
        let ms = |times: &[Duration], at: usize| format!("{:.0} ms", times[at].as_secs_f64() * 1e3);
        let figures = [ms(&audit, 0), ms(&audit, ROUNDS / 2), ms(&show, 0), ms(&show, ROUNDS / 2)];
        println!("{name:<26} {:>12} {:>12} {:>12} {:>12}", figures[0], figures[1], figures[2], figures[3]);
    }
}

fn timed(database: &Path, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_looptape"))
        .args(arguments)
        .env("LOOPTAPE_DB", database)
        .stdout(Stdio::null())
        .status();
    let took = started.elapsed();
    assert!(status.expect("looptape starts").success(), "{arguments:?}");
    took
}

/// The same words for the same number.
fn text(seed: usize, bytes: usize) -> String {
    const WORDS: [&str; 24] = [
        "error", "value", "returned", "from", "module", "config", "line", "path", "tests", "async", "index",
        "column", "missing", "expected", "found", "trace", "agent", "update", "commit", "branch", "failed",
        "passed", "result", "buffer",
    ];
    let mut n = seed as u64 + 1;
    let mut text = String::with_capacity(bytes + 24);
    while text.len() < bytes {
        n ^= n << 13;
        n ^= n >> 7;
        n ^= n << 17;
        match n % 12 {
            0 => write!(text, "{}.", n % 100_000).expect("a string takes all"),
            _ => text.push_str(WORDS[(n >> 8) as usize % WORDS.len()]),
        }
        text.push(' ');
    }
    text
}

fn record(database: &Path, steps: usize, provider: &Provider, model: &str) {
    let options = RecorderOptions::new(database.to_owned(), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).expect("the recorder starts");
    let id = TraceId::parse("bench").expect("a valid id");
    let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
    spec.labels.agent = Some("bench".to_owned());
    recorder.open_trace(spec);
    let tools: Vec<String> = (0..20)
        .map(|n| {
            format!(
                r#"{{"type":"function","function":{{"name":"tool_{n}","description":"{}"}}}}"#,
                text(n, 300)
            )
        })
        .collect();
    let tools = tools.join(",");
    let mut history = format!(r#"{{"role":"system","content":"{}"}}"#, text(7, 4000));
    history.push_str(r#",{"role":"user","content":"Find the failing test and mend it."}"#);
    let mut input = 3_000;
    for step in 0..steps {
        let body = format!(r#"{{"model":"{model}","messages":[{history}],"tools":[{tools}]}}"#);
        let call = format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{step}","type":"function","function":{{"name":"tool_{}","arguments":"{{\"at\":{step}}}"}}}}]}}"#,
            step % 5
        );
        let answer = format!(
            r#"{{"id":"c{step}","object":"chat.completion","model":"{model}","choices":[{{"index":0,"message":{call},"finish_reason":"tool_calls"}}],"usage":{{"prompt_tokens":{input},"completion_tokens":25,"prompt_tokens_details":{{"cached_tokens":{}}}}}}}"#,
            input * 9 / 10
        );
        call_once(&recorder, &id, provider, Bytes::from(body), Bytes::from(answer));
        let result = text(1000 + step, RESULT_BYTES);
        write!(history, r#",{call},{{"role":"tool","tool_call_id":"call_{step}","content":"{result}"}}"#)
            .expect("a string takes all");
        input += 480;
        if step % 16 == 15 {
            recorder.flush();
        }
    }
    recorder.close_trace(id, Moment::now(), Some(0), None);
    drop(recorder);
    let report = thread.finish();
    assert_eq!((report.calls as usize, report.gaps.len()), (steps, 0), "{report:?}");
}

fn call_once(recorder: &Recorder, id: &TraceId, provider: &Provider, body: Bytes, answer: Bytes) {
    let json = || RedactedHeaders::redact([("content-type", &b"application/json"[..])]);
    let ticket = recorder.begin(BeginCall {
        hint: TraceHint::Named(id.clone()),
        at: Moment::now(),
        provider: provider.clone(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: json(),
        body: body.into(),
        loop_hint: None,
        import_index: None,
        labels: Labels::default(),
        credentials: Credentials::of_request([], "/"),
    });
    let now = Moment::now().mono_us;
    let len = u32::try_from(answer.len()).expect("short");
    ticket.finish(CallEnd::Answered {
        status: 200,
        headers: json(),
        head_mono_us: now,
        end_mono_us: now,
        body: vec![answer],
        chunks: vec![Chunk { at_us: now, len }],
        ending: Ending::Complete,
        cut: None,
    });
}
