//! Other load generators: the programs of `examples/companions` drive loops against the simulated provider, and through
//! the gateway, which records each as a trace of its own.

use super::installed::{Clients, say};
use super::upstreams::Provider;
use crate::env::TestEnv;
use crate::gateway::process::Gateway;
use looptape_core::assembly::LoopOutcome;
use looptape_store::TraceStatus;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/companions").canonicalize().unwrap()
}

/// Where a generator is installed; says so if it is not.
fn installed(group: &str) -> Option<PathBuf> {
    let clients = Clients::installed(group)?;
    match clients.missing(group) {
        Some(why) => {
            say(&format!("SKIPPED {group}: {why}"));
            None
        }
        None => Some(clients.folder().join(group)),
    }
}

/// What a generator counted: its loops, and their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    loops: u64,
    calls: u64,
    failed: u64,
}

/// Runs a program to its end in a folder of its own; its standard output.
async fn run(env: &TestEnv, program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program).args(arguments);
    // It must not report to anybody.
    command.env("ARTILLERY_DISABLE_TELEMETRY", "true").env("HOME", env.home());
    command.current_dir(env.home()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = command.output().await.unwrap();
    let (said, told) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{program:?}: {}\n{said}{told}", ended.status);
    said.into_owned()
}

/// Two users for a second; loops that are under way then are finished.
async fn locust(env: &TestEnv, installed: &Path, target: &str) -> Counted {
    let file = examples().join("locust_loops.py").display().to_string();
    let arguments =
        ["-f", &file, "--headless", "-u", "2", "-r", "2", "-t", "1s", "-s", "20", "--host", target];
    let said = run(
        env,
        &installed.join("bin/locust"),
        &[&arguments[..], &["--json", "--loglevel", "ERROR"]].concat(),
    )
    .await;
    let rows: Vec<Value> = serde_json::from_str(said.trim()).unwrap();
    let of = |name: &str, field: &str| -> u64 {
        rows.iter().filter(|row| row["name"] == name).filter_map(|row| row[field].as_u64()).sum()
    };
    Counted {
        loops: of("loop", "num_requests"),
        calls: of("/v1/chat/completions", "num_requests"),
        failed: of("loop", "num_failures") + of("/v1/chat/completions", "num_failures"),
    }
}

/// Five loops in a second.
async fn artillery(env: &TestEnv, installed: &Path, target: &str) -> Counted {
    let (file, report) = (examples().join("artillery_loops.yml"), env.home().join("artillery.json"));
    let (file, report) = (file.display().to_string(), report.display().to_string());
    let short = r#"{"config":{"phases":[{"duration":1,"arrivalRate":5}]}}"#;
    let arguments = ["run", "--quiet", "--target", target, "--overrides", short, "--output", &report, &file];
    run(env, &installed.join("node_modules/.bin/artillery"), &arguments).await;
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let counters = &report["aggregate"]["counters"];
    let of = |name: &str| counters[name].as_u64().unwrap_or(0);
    Counted {
        loops: of("loops.success") + of("loops.failure"),
        calls: of("http.codes.200"),
        failed: of("loops.failure") + of("vusers.failed"),
    }
}

/// Against the twin itself, then through a gateway in front of it: the recorded traces are the loops that were counted.
async fn drives_loops(group: &str, drive: impl AsyncFn(&TestEnv, &Path, &str) -> Counted) {
    let Some(installed) = installed(group) else { return };
    let env = &TestEnv::new();
    let (twin, provider) = Provider::generated().await;
    let direct = drive(env, &installed, &twin).await;
    assert!(direct.loops > 0 && direct.failed == 0, "{direct:?}");

    let gateway = Gateway::start(env, &twin, &[]).await;
    let counted = drive(env, &installed, &gateway.url).await;
    assert!(counted.loops > 0 && counted.failed == 0, "{counted:?}");
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let traces = recordings.all();
    let calls: usize = recordings.calls_by_trace().iter().map(|(_, calls)| calls).sum();
    assert_eq!((traces.len() as u64, calls as u64), (counted.loops, counted.calls), "{counted:?}");
    for row in traces {
        assert_eq!(row.status, TraceStatus::Complete, "{row:?}");
        assert!(row.id.as_str().starts_with(group), "{row:?}");
        let metrics = recordings.metrics(row);
        assert_eq!(
            (metrics.steps, metrics.tool_calls, metrics.outcome),
            (3, 2, LoopOutcome::Success),
            "{metrics:?}"
        );
    }
    provider.stop().await;
}

#[tokio::test]
async fn locust_drives_loops_that_the_gateway_records() {
    drives_loops("locust", locust).await;
}

#[tokio::test]
async fn artillery_drives_loops_that_the_gateway_records() {
    drives_loops("artillery", artillery).await;
}

/// What `load` writes in Locust's form has the titles that Locust itself writes.
#[tokio::test]
async fn results_in_locusts_form_have_its_titles() {
    let Some(installed) = installed("locust") else { return };
    let env = &TestEnv::new();
    let (twin, provider) = Provider::generated().await;
    let file = examples().join("locust_loops.py").display().to_string();
    let arguments = ["-f", &file, "--headless", "-u", "1", "-t", "1s", "--host", &twin, "--csv", "theirs"];
    run(env, &installed.join("bin/locust"), &[&arguments[..], &["--only-summary"]].concat()).await;
    provider.stop().await;
    let ours = env.home().join("ours");
    let ran = env.looptape(&[
        "load",
        "preset:outage",
        "--virtual",
        "--no-record",
        "--locust-csv",
        ours.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for file in ["stats", "stats_history", "failures", "exceptions"] {
        let titles = |whose: &str| {
            let text = std::fs::read_to_string(env.home().join(format!("{whose}_{file}.csv"))).unwrap();
            text.split_inclusive('\n').next().unwrap_or_default().to_owned()
        };
        assert_eq!(titles("ours"), titles("theirs"), "{file}");
    }
}

/// k6 is on no registry that these tests install from: that its script is one is all that can be checked.
#[tokio::test]
async fn the_script_for_k6_is_one() {
    if installed("artillery").is_none() {
        return;
    }
    let env = &TestEnv::new();
    // Node takes a module for one by the ending of its name.
    let copy = env.home().join("k6_loops.mjs");
    std::fs::copy(examples().join("k6_loops.js"), &copy).unwrap();
    run(env, Path::new("node"), &["--check", &copy.display().to_string()]).await;
}
