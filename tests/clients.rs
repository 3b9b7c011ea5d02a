//! Unmodified clients on real SDKs: each is recorded against the simulated provider, then runs again from
//! its recording with the provider gone.
//!
//! The libraries come from `tests/clients/install.sh DIR`; `LOOPTAPE_CLIENTS=DIR` says where they are.

use crate::env::{Ran, TestEnv};
use looptape_core::assembly::RetryLayer;
use looptape_core::facts::{AttemptState, CallKind};
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::SimulatedServer;
use looptape_store::{Reader, RecordedTrace, Selector, TraceStatus};
use serde::Deserialize;
use serde_json::Value;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

const ENV: &str = "LOOPTAPE_CLIENTS";

/// One of `clients.json`.
#[derive(Clone, Debug, Deserialize)]
struct Client {
    name: String,
    wire: String,
    command: Vec<String>,
    needs: Vec<String>,
    calls: u64,
}

/// Where the client libraries are, with the clients that can run with them.
struct Clients {
    libraries: PathBuf,
    all: Vec<Client>,
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").canonicalize().unwrap()
}

/// Says on the process's own standard error what did not run, or how much did: the test harness captures
/// what the print macros write, but not this.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Clients {
    fn installed(what: &str) -> Option<Self> {
        let Some(libraries) = std::env::var_os(ENV).filter(|value| !value.is_empty()).map(PathBuf::from)
        else {
            say(&format!("SKIPPED {what}: {ENV} is not set (tests/clients/README.md says how)"));
            return None;
        };
        if !libraries.join("ready").exists() {
            say(&format!(
                "SKIPPED {what}: {} has no file `ready`: install.sh did not finish",
                libraries.display()
            ));
            return None;
        }
        let list = std::fs::read(programs().join("clients.json")).unwrap();
        let all = serde_json::from_slice(&list).unwrap();
        Some(Self { libraries: libraries.canonicalize().unwrap(), all })
    }

    fn named(&self, name: &str) -> Client {
        self.all
            .iter()
            .find(|client| client.name == name)
            .unwrap_or_else(|| panic!("no client {name}"))
            .clone()
    }

    /// Whether what the client needs was installed.
    fn can_run(&self, client: &Client) -> bool {
        client.needs.iter().all(|needed| match needed.as_str() {
            "venv" => self.libraries.join("venv/bin/python").exists(),
            "node" => self.libraries.join("node/node_modules").exists() && is_on_path("node"),
            other => panic!("{}: an unknown need, {other}", client.name),
        })
    }

    /// The client's command line, with the programs in `tests`.
    fn command(&self, client: &Client, tests: &Path) -> Vec<String> {
        let place = |word: &String| {
            word.replace("{clients}", &self.libraries.to_string_lossy())
                .replace("{tests}", &tests.to_string_lossy())
        };
        client.command.iter().map(place).collect()
    }

    /// An environment whose providers are all at `url`.
    fn env(&self, url: &str) -> TestEnv {
        let mut env = TestEnv::new();
        env.set(ENV, &self.libraries.to_string_lossy());
        env.set("OPENAI_BASE_URL", &format!("{url}/v1"));
        env.set("ANTHROPIC_BASE_URL", url);
        env.set("GOOGLE_GEMINI_BASE_URL", url);
        for key in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"] {
            env.set(key, "test-key-that-nobody-checks");
        }
        env.set("OPENAI_AGENTS_DISABLE_TRACING", "1");
        env
    }
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

/// A client that was recorded; its provider is gone.
struct Recorded {
    env: TestEnv,
    command: Vec<String>,
    id: String,
    ran: Ran,
    /// Requests that the provider answered.
    calls: u64,
}

fn words<'a>(first: &[&'a str], command: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(["--"]).chain(command.iter().map(String::as_str)).collect()
}

fn record(clients: &Clients, client: &Client, script: Script) -> Recorded {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, provider) = runtime.block_on(SimulatedServer::start(script)).unwrap();
    let env = clients.env(&url);
    let command = clients.command(client, &programs());
    let ran = env.looptape(&words(&["record"], &command));
    let calls = runtime.block_on(provider.stop());
    assert_eq!(ran.code, Some(0), "record: {ran:?}");
    let line = ran.stdout.strip_suffix('\n').unwrap_or_default();
    assert!(
        line.starts_with("FINAL ") && !line.contains('\n'),
        "one line on standard output: {:?}",
        ran.stdout
    );
    Recorded { id: ran.trace().to_owned(), env, command, ran, calls }
}

fn load(recorded: &Recorded) -> RecordedTrace {
    let reader = Reader::open(&recorded.env.database()).unwrap();
    let row = reader.find(&Selector::parse(&recorded.id)).unwrap();
    assert_eq!(row.status, TraceStatus::Complete);
    reader.load(row).unwrap()
}

/// Replays the client with the provider gone, and checks the recording against itself.
fn replay(recorded: &Recorded) {
    let Recorded { env, id, command, calls, .. } = recorded;
    let report = env.home().join("report.json");
    let replayed = env.looptape(&words(&["replay", id, "--report", report.to_str().unwrap()], command));
    assert_eq!(replayed.code, Some(0), "replay: {replayed:?}");
    assert_eq!(replayed.stdout, recorded.ran.stdout, "the client says the same");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let served = &report["replay"]["served"];
    let total: u64 =
        ["bytes", "canonical", "renamed"].iter().map(|rung| served[rung].as_u64().unwrap()).sum();
    assert_eq!(report["replay"]["verdict"], "replayed");
    assert_eq!((total, &report["replay"]["unused"]), (*calls, &serde_json::json!([])));

    let checked = env.looptape(&["replay", id, "--json"]);
    assert_eq!(checked.code, Some(0), "self-check: {checked:?}");
    let check: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((check["calls"].as_u64(), check["identical"].as_u64()), (Some(*calls), Some(*calls)));
}

fn check_recording(client: &Client, recorded: &Recorded) {
    let trace = load(recorded);
    assert_eq!(recorded.calls, client.calls, "requests that reached the provider");
    assert_eq!(trace.facts.len() as u64, client.calls, "recorded calls");
    for facts in &trace.facts {
        let CallKind::Llm(wire) = facts.kind else { panic!("{} was not understood", facts.endpoint) };
        assert_eq!((wire.as_str(), facts.status), (client.wire.as_str(), Some(200)));
        assert_eq!(facts.state, AttemptState::Complete);
        assert!(facts.response_model.is_some() && facts.finish_reason.is_some(), "{facts:?}");
    }
    let metrics = trace.measure().metrics;
    let fan_out = client.name.contains("concurrent");
    let (steps, tools) = if fan_out { (8, 0) } else { (3, 3) };
    assert_eq!((metrics.steps, metrics.tool_calls, metrics.retries), (steps, tools, 0), "{metrics:?}");
    let expected = if fan_out { "FINAL You said: question 0 of a | " } else { "FINAL Go to Lisbon" };
    assert!(recorded.ran.stdout.starts_with(expected), "{:?}", recorded.ran.stdout);
    // These two leave `stream_options.include_usage` out when the base URL is not OpenAI's own.
    let usage_is_asked_for =
        !["langgraph-chat-stream", "python-openai-concurrent-chat"].contains(&client.name.as_str());
    assert_eq!(metrics.tokens.input_total.is_some(), usage_is_asked_for, "{:?}", metrics.tokens);
}

/// Runs `check` on each, two at a time, and fails with all that failed.
fn for_each(clients: &[Client], check: impl Fn(&Client) + Sync) {
    let queue = Mutex::new(clients.iter());
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(client) = queue.lock().unwrap().next() else { return };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(client))) {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                failures.lock().unwrap().push(format!("{}: {}", client.name, text.unwrap_or_default()));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} clients failed:\n{}",
        failures.len(),
        clients.len(),
        failures.join("\n")
    );
}

#[test]
fn every_client_is_recorded_and_replayed() {
    let Some(clients) = Clients::installed("all clients") else { return };
    let started = Instant::now();
    let (able, unable): (Vec<Client>, Vec<Client>) =
        clients.all.iter().cloned().partition(|client| clients.can_run(client));
    for_each(&able, |client| {
        let recorded = record(&clients, client, Script::tool_loop());
        check_recording(client, &recorded);
        replay(&recorded);
    });
    for client in &unable {
        say(&format!("SKIPPED client {}: {:?} is not installed", client.name, client.needs));
    }
    say(&format!(
        "clients: {} ran, {} skipped, in {:.0} s",
        able.len(),
        unable.len(),
        started.elapsed().as_secs_f64()
    ));
    assert!(!able.is_empty(), "{ENV} is set, but no client could run");
}

#[test]
fn a_429_is_retried_by_the_sdk_and_linked_to_its_step() {
    let Some(clients) = Clients::installed("clients that retry") else { return };
    let names =
        ["python-openai-chat-stream", "python-anthropic-stream", "node-openai-chat", "node-anthropic"];
    let able: Vec<Client> =
        names.map(|name| clients.named(name)).into_iter().filter(|c| clients.can_run(c)).collect();
    for_each(&able, |client| {
        let recorded = record(&clients, client, Script::demo());
        assert_eq!(recorded.calls, 4, "three turns and a refusal");
        let trace = load(&recorded);
        let measured = trace.measure();
        assert_eq!((measured.metrics.steps, measured.metrics.retries), (3, 1));
        let attempts: Vec<Vec<_>> = measured
            .assembly
            .steps
            .iter()
            .map(|step| step.attempts.iter().map(|a| a.retry.map(|r| r.layer)).collect())
            .collect();
        assert_eq!(attempts, [vec![None], vec![None, Some(RetryLayer::Sdk)], vec![None]]);
        let refused = &trace.facts[1];
        assert_eq!((refused.status, refused.retry_after_ms), (Some(429), Some(1000)));
        replay(&recorded);
    });
}

#[test]
fn a_changed_agent_is_refused_once_and_the_report_shows_the_change() {
    let Some(clients) = Clients::installed("clients that diverge") else { return };
    let cases =
        [("python-openai-chat-stream", "python/tools.py"), ("node-anthropic-stream", "node/clients.mjs")];
    let able: Vec<Client> =
        cases.map(|(name, _)| clients.named(name)).into_iter().filter(|c| clients.can_run(c)).collect();
    for_each(&able, |client| {
        let recorded = record(&clients, client, Script::tool_loop());
        let (_, file) = cases.iter().find(|(name, _)| *name == client.name).unwrap();
        let report = diverge(&clients, client, &recorded, file, "2500 kroner", "3500 kroner");
        assert_eq!((&report["code"], &report["step"]), (&"NEVER_RECORDED".into(), &1.into()), "{report:#}");
        let report = diverge(&clients, client, &recorded, file, "rain, 7 °C", "snow, -2 °C");
        assert_eq!(
            (&report["code"], &report["step"]),
            (&"VOLATILE_TOOL_RESULT".into(), &2.into()),
            "{report:#}"
        );
    });
}

/// Replays the client with one text of its program changed; yields the divergence that led.
fn diverge(
    clients: &Clients,
    client: &Client,
    recorded: &Recorded,
    file: &str,
    old: &str,
    new: &str,
) -> Value {
    let changed = tempfile::tempdir().unwrap();
    for folder in ["python", "node"] {
        std::fs::create_dir(changed.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(programs().join(folder)).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), changed.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let program = changed.path().join(file);
    let text = std::fs::read_to_string(&program).unwrap();
    assert!(text.contains(old));
    std::fs::write(&program, text.replace(old, new)).unwrap();

    let report = recorded.env.home().join("report.json");
    let command = clients.command(client, changed.path());
    let arguments = words(&["replay", &recorded.id, "--report", report.to_str().unwrap()], &command);
    let ran = recorded.env.looptape(&arguments);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stderr.contains(old) && ran.stderr.contains(new),
        "the report shows both texts: {}",
        ran.stderr
    );
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_ne!(report["child_exit_code"], 0, "the SDK raised");
    let roots: Vec<&Value> = report["replay"]["divergences"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|report| report["root"] == true)
        .collect();
    assert_eq!(roots[0]["requests"], 1, "the SDK did not try again");
    let step = format!("step {}", roots[0]["step"]);
    assert!(ran.stderr.contains(&step), "the report names {step}: {}", ran.stderr);
    roots[0].clone()
}
