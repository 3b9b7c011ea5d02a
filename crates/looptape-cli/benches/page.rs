//! What the page takes: `cargo bench -p looptape-cli --bench page`.
//!
//! - A page of the list, in a database of 100,000 traces: newest first, by cost, found by text, by model, far back.
//! - The figures of all of them, over time and in groups, and which to look at.
//! - The first page of a trace of 10,000 steps through the API, when it is opened and when it is open.
//! - The same in Chromium until the first rows are drawn, where LOOPTAPE_CLIENTS and Chromium are there
//!   (tests/clients/README.md).
//! - That trace as one file: how long `export` takes, and Chromium to open it.
//!
//! Limits: 100 ms a page of the list, 1 s for everything else but the export and its file. It ends with 1 if a median is
//! above. Two arguments say how many traces and steps there are instead.

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, RecorderOptions, Source, TraceHint, TraceSpec};
use looptape_testkit::raw_client::RawClient;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
const LIST_LIMIT: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(1);
const BROWSER_LIMIT_MS: f64 = 1000.0;

fn main() -> ExitCode {
    let mut sizes = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (traces, steps) = (sizes.next().unwrap_or(100_000), sizes.next().unwrap_or(10_000));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = folder.path().join("bench.db");
    let made = Instant::now();
    record(&database, traces, steps);
    println!("{traces} traces and one of {steps} steps recorded in {:.0} s", made.elapsed().as_secs_f64());
    let page = Page::serve(&database);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut is_slow = false;
    let list = [
        ("newest first", String::new()),
        ("newest first, far back", format!("?offset={}", traces / 2)),
        ("by cost", "?sort=cost".to_owned()),
        ("by duration, far back", format!("?sort=duration&offset={}", traces / 2)),
        ("an agent's, by steps", "?agent=agent-3&sort=steps".to_owned()),
        ("by text, found", "?text=agent-5".to_owned()),
        ("by text, not found", "?text=nowhere".to_owned()),
        ("by model, rare", "?model=gpt-4.1-nano".to_owned()),
        ("failures", "?outcome=failure".to_owned()),
        ("a tag, rare", "?tag=shard=77777".to_owned()),
    ];
    println!("{:<34} {:>10} {:>10} {:>10}", "list, 100 traces a page", "min", "median", "max");
    for (name, query) in list {
        let times = runtime.block_on(page.times(&format!("/traces{query}"), ROUNDS));
        is_slow |= print(name, &times) > LIST_LIMIT;
    }
    println!("all traces");
    for (name, path) in [
        ("figures, over time", "/stats?over_time=auto"),
        ("figures, by model", "/stats?group_by=model&over_time=auto"),
        ("figures of an agent", "/stats?agent=agent-3&over_time=auto"),
        ("dearest", "/audit?by=cost"),
        ("unusual for their agent", "/audit?by=anomaly"),
        ("most in vain", "/audit?by=waste"),
    ] {
        is_slow |= print(name, &runtime.block_on(page.times(path, 5))) > LIMIT;
    }
    println!("trace, through the API");
    print("opened", &runtime.block_on(page.times("/traces/long", 1)));
    for (name, path) in [
        ("its head, open", "/traces/long"),
        ("first 200 rows", "/traces/long/rows"),
        ("200 rows in the middle", "/traces/long/rows?from=10000"),
        ("figures of all steps", "/traces/long/series"),
        ("a step in full", "/traces/long/steps/3"),
    ] {
        print(name, &runtime.block_on(page.times(path, ROUNDS)));
    }
    match in_chromium("long.mjs", &[&page.address, "long"]) {
        Some(taken) => {
            println!("in Chromium: {taken}");
            is_slow |= is_slow_in_browser(&taken["open_ms"]) || is_slow_in_browser(&taken["first_open_ms"]);
        }
        None => println!("in Chromium: SKIPPED, tests/clients/README.md says what it takes"),
    }
    let file = folder.path().join("long.html");
    print("exported as one file", &[export(&database, &file)]);
    let size = std::fs::metadata(&file).expect("it was written").len();
    let opened = in_chromium("long_file.mjs", &[&format!("file://{}", file.display())]);
    println!("its {:.1} MB in Chromium: {}", size as f64 / 1e6, opened.unwrap_or_default());
    if is_slow { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints a row; its median.
fn print(name: &str, times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let median = times[times.len() / 2];
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    println!("{name:<34} {:>10} {:>10} {:>10}", ms(times[0]), ms(median), ms(times[times.len() - 1]));
    median
}

/// `looptape ui` on the database.
struct Page {
    process: Child,
    address: String,
}

impl Page {
    fn serve(database: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_looptape"))
            .args(["ui", "--no-open", "--listen", "127.0.0.1:0", "--db"])
            .arg(database)
            .stderr(Stdio::piped())
            .spawn()
            .expect("looptape starts");
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("page: ").map(str::to_owned));
        // It says no more than a pipe holds.
        Self { process, address: address.expect("it says where it is") }
    }

    async fn times(&self, path: &str, rounds: usize) -> Vec<Duration> {
        let origin = self.address.trim_end_matches("/ui");
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            let mut client = RawClient::connect(origin).await.expect("it accepts");
            client.request("GET", &format!("/ui/api{path}"), &[], b"").await.expect("it reads");
            let answer = client.response().await.expect("it answers");
            times.push(started.elapsed());
            assert_eq!(answer.head.status, 200, "{path}: {}", answer.text());
        }
        times
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a program of tests/page says in a browser; `None` where there is none.
fn in_chromium(program: &str, arguments: &[&str]) -> Option<serde_json::Value> {
    let clients = std::env::var_os("LOOPTAPE_CLIENTS")?;
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let chromium = chromium.into_iter().find(|place| Path::new(place).exists())?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/page").join(program);
    let run = Command::new("node")
        .arg(program)
        .args(arguments)
        .env("LOOPTAPE_CLIENTS", clients)
        .env("CHROMIUM", chromium)
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    assert!(run.status.success(), "the browser program failed");
    serde_json::from_slice(&run.stdout).ok()
}

fn is_slow_in_browser(ms: &serde_json::Value) -> bool {
    ms.as_f64().is_none_or(|ms| ms > BROWSER_LIMIT_MS)
}

/// How long it takes to write the long trace into a file.
fn export(database: &Path, file: &Path) -> Duration {
    let _ = std::fs::remove_file(file);
    let started = Instant::now();
    let run = Command::new(env!("CARGO_BIN_EXE_looptape"))
        .args(["export", "long", "--db"])
        .arg(database)
        .arg("-o")
        .arg(file)
        .output()
        .expect("looptape starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    started.elapsed()
}

fn record(database: &Path, traces: usize, steps: usize) {
    let options = RecorderOptions::new(database.to_owned(), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).expect("the recorder starts");
    long(&recorder, steps);
    for n in 0..traces {
        let id = TraceId::parse(&format!("{:032x}", splitmix(n as u64))).expect("a valid id");
        let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
        spec.labels.agent = Some(format!("agent-{}", n % 20));
        spec.labels.tags.insert("shard".to_owned(), n.to_string());
        spec.command = vec!["python".to_owned(), "agent.py".to_owned(), format!("--task={n}")];
        recorder.open_trace(spec);
        let model = if n % 5000 == 7 { "gpt-4.1-nano" } else { "gpt-4o-mini" };
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"task {n}"}}]}}"#);
        let (input, output) = (500 + splitmix(n as u64) % 4000, 20 + n % 300);
        call(&recorder, &id, body, &answer(model, r#"{"role":"assistant","content":"done"}"#, input, output));
        recorder.close_trace(id, Moment::now(), Some(i32::from(n % 50 == 0)), None);
        if n % 200 == 199 {
            recorder.flush();
        }
    }
    drop(recorder);
    let report = thread.finish();
    assert!(report.gaps.is_empty(), "{report:?}");
}

/// A loop of so many steps, whose agent keeps its context short.
fn long(recorder: &Recorder, steps: usize) {
    const KEPT: usize = 20;
    let id = TraceId::parse("long").expect("a valid id");
    let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
    spec.labels.agent = Some("long-runner".to_owned());
    recorder.open_trace(spec);
    let mut turns: Vec<String> = Vec::new();
    for step in 0..steps {
        let mut body =
            r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Read on until the end."}"#
                .to_owned();
        for turn in turns.iter().rev().take(KEPT).rev() {
            write!(body, ",{turn}").expect("a string takes all");
        }
        body.push_str("]}");
        let message = format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{step}","type":"function","function":{{"name":"read","arguments":"{{\"page\":{step}}}"}}}}]}}"#
        );
        call(recorder, &id, body, &answer("gpt-4o-mini", &message, 900 + step as u64 % 700, 30));
        turns.push(format!(
            r#"{message},{{"role":"tool","tool_call_id":"call_{step}","content":"page {step}: {}"}}"#,
            "words of a page ".repeat(12)
        ));
        if step % 200 == 199 {
            recorder.flush();
        }
    }
    recorder.close_trace(id, Moment::now(), Some(0), None);
}

fn answer(model: &str, message: &str, input: u64, output: usize) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion","model":"{model}","choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{input},"completion_tokens":{output}}}}}"#
    )
}

fn call(recorder: &Recorder, id: &TraceId, body: String, answer: &str) {
    let json = || RedactedHeaders::redact([("content-type", &b"application/json"[..])]);
    let ticket = recorder.begin(BeginCall {
        hint: TraceHint::Named(id.clone()),
        at: Moment::now(),
        provider: Provider::OPENAI,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: json(),
        body: Bytes::from(body).into(),
        loop_hint: None,
        import_index: None,
        labels: Labels::default(),
        credentials: Credentials::of_request([], "/"),
    });
    let answer = Bytes::copy_from_slice(answer.as_bytes());
    let (now, len) = (Moment::now().mono_us, u32::try_from(answer.len()).expect("short"));
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

/// A number that looks like chance (S. Vigna's finaliser of SplitMix64).
fn splitmix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
