//! Unmodified clients on real SDKs, and agents' own command lines: each is recorded against a provider that
//! plays a script, then runs again from its recording with the provider gone.
//!
//! The clients come from `tests/clients/install.sh DIR`; `LOOPTAPE_CLIENTS=DIR` says where they are.

mod agent_tools;
mod companions;
mod installed;
mod mcp;
mod tool_hooks;
mod upstreams;

use crate::env::{Ran, TestEnv};
pub(crate) use installed::say;
use installed::{Client, Clients, Clock, Output, Play, Usage, programs};
use looptape_core::assembly::RetryLayer;
use looptape_core::facts::{AttemptState, CallKind};
use looptape_core::simulated::Script;
use looptape_store::{Reader, RecordedTrace, Selector, TraceStatus};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;
use upstreams::Provider;

/// A client that was recorded; its provider is gone.
struct Recorded {
    env: TestEnv,
    command: Vec<String>,
    id: String,
    ran: Ran,
    /// Requests that the provider answered.
    calls: u64,
}

/// Where a replayed client would find its provider, if the replay led it nowhere else.
const NOBODY: &str = "http://127.0.0.1:9";

fn words<'a>(first: &[&'a str], command: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(["--"]).chain(command.iter().map(String::as_str)).collect()
}

fn record(clients: &Clients, client: &Client, script: Option<Script>) -> Recorded {
    let provider = async {
        match script {
            Some(script) => Provider::playing(script).await,
            None => Provider::start(client).await,
        }
    };
    record_against(clients, client, provider)
}

fn record_against(
    clients: &Clients,
    client: &Client,
    provider: impl Future<Output = (String, Provider)>,
) -> Recorded {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, provider) = runtime.block_on(provider);
    let env = clients.env(client, &url);
    let command = clients.command(client, &programs());
    // No variable leads to these: the programs ask for the address themselves, or are captured.
    let upstreams = ["mistral", "gemini", "bedrock"].map(|provider| format!("--upstream={provider}={url}"));
    let capture = client.capture.then_some("--capture-egress");
    let record: Vec<&str> =
        ["record"].into_iter().chain(capture).chain(upstreams.iter().map(String::as_str)).collect();
    let ran = env.looptape(&words(&record, &command));
    let calls = runtime.block_on(provider.stop());
    assert_eq!(ran.code, Some(0), "record: {ran:?}");
    if client.script != Play::Shell {
        let line = ran.stdout.strip_suffix('\n').unwrap_or_default();
        assert!(
            line.starts_with("FINAL ") && !line.contains('\n'),
            "one line on standard output: {:?}",
            ran.stdout
        );
    }
    Recorded { id: ran.trace().to_owned(), env, command, ran, calls }
}

fn load(recorded: &Recorded) -> RecordedTrace {
    let reader = Reader::open(&recorded.env.database()).unwrap();
    let row = reader.find(&Selector::parse(&recorded.id)).unwrap();
    assert_eq!(row.status, TraceStatus::Complete);
    reader.load(row).unwrap()
}

/// Replays the client in another home and another folder with the provider gone, and checks the recording
/// against itself.
fn replay(clients: &Clients, client: &Client, recorded: &Recorded) {
    replay_in(clients.env_in("elsewhere", client, NOBODY), client, recorded);
}

/// The same there; yields the report.
fn replay_in(mut elsewhere: TestEnv, client: &Client, recorded: &Recorded) -> Value {
    let Recorded { env, id, command, calls, .. } = recorded;
    elsewhere.set("LOOPTAPE_DB", env.database().to_str().unwrap());
    let report = env.home().join("report.json");
    let replayed = elsewhere.looptape(&words(&["replay", id, "--report", report.to_str().unwrap()], command));
    assert_eq!(replayed.code, Some(0), "replay: {replayed:?}");
    match client.output {
        Output::Same => assert_eq!(replayed.stdout, recorded.ran.stdout, "the client says the same"),
        Output::Varies => assert!(replayed.stdout.contains(&client.says), "{:?}", replayed.stdout),
    }
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let served = &report["replay"]["served"];
    let total: u64 =
        ["bytes", "canonical", "renamed", "masked"].iter().map(|rung| served[rung].as_u64().unwrap()).sum();
    assert_eq!(report["replay"]["verdict"], "replayed");
    assert_eq!((total, &report["replay"]["unused"]), (*calls, &serde_json::json!([])));

    let checked = env.looptape(&["replay", id, "--json"]);
    assert_eq!(checked.code, Some(0), "self-check: {checked:?}");
    let check: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((check["calls"].as_u64(), check["identical"].as_u64()), (Some(*calls), Some(*calls)));
    report
}

/// One call of 2024, as a browser's archive: whoever replays it by the recorded clock runs in that year.
const OF_2024: &str = r#"{"log": {"version": "1.2", "creator": {"name": "Firefox", "version": "1"}, "entries": [
  {"startedDateTime": "2024-02-14T06:53:38.000+00:00", "time": 1500.5,
   "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": [],
     "postData": {"mimeType": "application/json", "text": "{\"model\":\"m\",\"messages\":[]}"}},
   "response": {"status": 200, "headers": [], "content": {"size": 2, "text": "{}"}}}
]}}"#;

/// Time zones in which it is never the same day; programs without a loader, whose clock cannot be shifted, heed them.
const WEST: &str = "Etc/GMT+12";
const EAST: &str = "Etc/GMT-14";

/// Records the client as it ran on another day: one of 2024, where its clock can be shifted.
fn record_on_another_day(clients: &Clients, client: &Client) -> Recorded {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, provider) = runtime.block_on(Provider::start(client));
    let mut env = clients.env(client, &url);
    env.set("TZ", WEST);
    let command = clients.command(client, &programs());
    let ran = match client.clock {
        Clock::Shiftable => in_2024(&env, &words(&["record"], &command)),
        Clock::Own => env.looptape(&words(&["record"], &command)),
    };
    let calls = runtime.block_on(provider.stop());
    assert_eq!(ran.code, Some(0), "record: {ran:?}");
    Recorded { id: ran.trace().to_owned(), env, command, ran, calls }
}

/// Runs the binary on a day of 2024: as the program of a replay by the recorded clock.
fn in_2024(env: &TestEnv, arguments: &[&str]) -> Ran {
    let (har, clock) = (env.home().join("old.har"), env.home().join("clock"));
    std::fs::write(&har, OF_2024).unwrap();
    let (har, clock) = (har.to_str().unwrap(), clock.to_str().unwrap());
    assert_eq!(env.looptape(&["--db", clock, "import", har]).code, Some(0));
    // What the replay says of providers and agents is not meant for the run inside.
    let stated = env.stated();
    let inner = ["--", "env", "-u", "CODEX_HOME", "-u", "GEMINI_CLI_SYSTEM_SETTINGS_PATH"].into_iter();
    let inner = inner.chain(stated.iter().map(String::as_str)).chain([env!("CARGO_BIN_EXE_looptape")]);
    let inner: Vec<&str> = inner.chain(arguments.iter().copied()).collect();
    let replay = ["--db", clock, "replay", "last", "--clock", "recorded"];
    // The hooks of this replay are not meant for it either.
    let alone = ["--no-tool-hooks", "--no-record", "--allow-unused", "--quiet"];
    env.looptape(&[&replay[..], &alone, &inner].concat())
}

fn check_recording(client: &Client, recorded: &Recorded) {
    let trace = load(recorded);
    assert!(recorded.ran.stdout.contains(&client.says), "{:?}", recorded.ran.stdout);
    assert_eq!(recorded.calls, client.calls, "requests that reached the provider");
    assert_eq!(trace.facts.len() as u64, client.calls, "recorded calls");
    // Cohere's and Bedrock's answers name no model.
    let names_its_model = !["cohere.", "bedrock."].iter().any(|wire| client.wire.starts_with(wire));
    for facts in &trace.facts {
        let CallKind::Llm(wire) = facts.kind else {
            // Agents also ask whether their provider is there.
            assert_eq!(client.script, Play::Shell, "{} was not understood", facts.endpoint);
            continue;
        };
        assert_eq!((wire.as_str(), facts.status), (client.wire.as_str(), Some(200)));
        assert_eq!(facts.state, AttemptState::Complete);
        assert!(facts.response_model.is_some() == names_its_model, "{facts:?}");
        assert!(facts.finish_reason.is_some(), "{facts:?}");
    }
    let metrics = trace.measure().metrics;
    let counted = (metrics.steps, metrics.tool_calls, metrics.retries);
    assert_eq!(counted, (client.steps, client.tools, 0), "{metrics:?}");
    let usage = if metrics.tokens.input_total.is_some() { Usage::Known } else { Usage::NotAskedFor };
    assert_eq!(usage, client.usage, "{:?}", metrics.tokens);
    let shown = recorded.env.looptape(&["show", &recorded.id]);
    let says_why = shown.stdout.contains("stream_options.include_usage");
    assert_eq!(says_why, client.usage == Usage::NotAskedFor, "{}", shown.stdout);
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
    let mut able = Vec::new();
    let mut skipped = Vec::new();
    for client in &clients.all {
        match clients.obstacle(client) {
            None => able.push(client.clone()),
            Some(why) => skipped.push((client, why)),
        }
    }
    for (client, why) in &skipped {
        say(&format!("SKIPPED client {}: {why}", client.name));
    }
    for_each(&able, |client| {
        let recorded = record(&clients, client, None);
        check_recording(client, &recorded);
        replay(&clients, client, &recorded);
    });
    let names: Vec<&str> = skipped.iter().map(|(client, _)| client.name.as_str()).collect();
    say(&format!(
        "clients: {} ran in {:.0} s, {} skipped{}{}",
        able.len(),
        started.elapsed().as_secs_f64(),
        skipped.len(),
        if names.is_empty() { "" } else { ": " },
        names.join(", ")
    ));
    assert!(!able.is_empty(), "clients are asked for, but none could run");
}

/// Agents write the folder and the day into their prompts.
#[test]
fn agents_are_replayed_in_another_folder_on_another_day() {
    let Some(clients) = Clients::installed("agents elsewhere, on another day") else { return };
    let agents: Vec<Client> = clients.all.iter().filter(|c| c.script == Play::Shell).cloned().collect();
    let (able, unable): (Vec<Client>, Vec<Client>) =
        agents.into_iter().partition(|client| clients.obstacle(client).is_none());
    for client in unable {
        let why = clients.obstacle(&client).unwrap_or_default();
        say(&format!("SKIPPED agent {} elsewhere, on another day: {why}", client.name));
    }
    for_each(&able, |client| {
        let recorded = record_on_another_day(&clients, client);
        check_recording(client, &recorded);
        let mut elsewhere = clients.env_in("elsewhere", client, NOBODY);
        elsewhere.set("TZ", EAST);
        let report = replay_in(elsewhere, client, &recorded);
        let masks = report["replay"]["masks"].as_array().unwrap();
        let days =
            masks.iter().filter(|mask| mask["kind"] == "date" && mask["recorded"] != mask["live"]).count();
        // mini-swe-agent says neither.
        assert_eq!(days > 0, client.name != "mini-swe-agent", "{masks:#?}");
        let is_of_2024 = load(&recorded).row.happened_unix_us() < Some(1_710_000_000_000_000);
        assert_eq!(is_of_2024, client.clock == Clock::Shiftable);
    });
}

#[test]
fn claude_code_is_replayed_as_it_was_told_when_it_was_recorded() {
    let Some(clients) = Clients::installed("claude-code as Anthropic's own") else { return };
    for_each(&clients.able(&["claude-code"]), |client| {
        // What `record` says by itself where the calls do go to Anthropic.
        const TOLD: &str = "_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL=1";
        let mut told = client.clone();
        told.tell(TOLD);
        let recorded = record(&clients, &told, None);
        let plain = Recorded { command: clients.command(client, &programs()), ..recorded };
        replay(&clients, client, &plain);
    });
}

#[test]
fn a_429_is_retried_by_the_sdk_and_linked_to_its_step() {
    let Some(clients) = Clients::installed("clients that retry") else { return };
    let names =
        ["python-openai-chat-stream", "python-anthropic-stream", "node-openai-chat", "node-anthropic"];
    for_each(&clients.able(&names), |client| {
        let recorded = record(&clients, client, Some(Script::demo()));
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
        replay(&clients, client, &recorded);
    });
}

#[test]
fn sdks_get_over_an_overloaded_provider_and_a_lost_connection() {
    let Some(clients) = Clients::installed("clients that retry") else { return };
    let names =
        ["python-openai-chat-stream", "python-anthropic-stream", "node-openai-chat", "node-anthropic"];
    for_each(&clients.able(&names), |client| {
        let provider = Provider::failing(&["529 first 1 in step 2", "drop first 1 in step 3"]);
        let recorded = record_against(&clients, client, provider);
        assert_eq!(recorded.calls, 5, "three turns, a refusal and a lost connection");
        let measured = load(&recorded).measure();
        assert_eq!((measured.metrics.steps, measured.metrics.retries), (3, 2));
    });
}

#[test]
fn a_changed_agent_is_refused_once_and_the_report_shows_the_change() {
    let Some(clients) = Clients::installed("clients that diverge") else { return };
    let cases =
        [("python-openai-chat-stream", "python/tools.py"), ("node-anthropic-stream", "node/clients.mjs")];
    for_each(&clients.able(&cases.map(|(name, _)| name)), |client| {
        let recorded = record(&clients, client, None);
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
    let told = ran.stderr.split_once("looptape: diverged").expect("the report has a first line").1;
    let mut words = old.split(' ').chain(new.split(' '));
    assert!(words.all(|word| told.contains(word)), "the report shows both texts: {}", ran.stderr);
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
