//! Gates: every one is told with its figure, and one that fails ends the command with 99.

use crate::env::TestEnv;
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::path::Path;
use tokio::runtime::Runtime;

/// A trace of one step that cost $0.00021: 1000 tokens in, 100 out.
fn recorded() -> (TestEnv, String) {
    let answer = r#"{"id":"x","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#;
    let runtime = Runtime::new().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::answering(move |_| Answer::json(answer))).unwrap();
    let env = TestEnv::new();
    let upstream = format!("openai={}", upstream.url());
    let ran = env.looptape(&[&["record", "--upstream", &upstream, "--"], &agent()[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = ran.trace().to_owned();
    (env, id)
}

fn agent() -> [&'static str; 3] {
    static ME: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::current_exe().unwrap().to_str().unwrap().to_owned());
    [&ME, "--exact", "gates::asks_once"]
}

fn gates(report: &Value) -> Vec<(&str, &str)> {
    let gates = report["gates"]["gates"].as_array().unwrap().iter();
    gates.map(|gate| (gate["gate"].as_str().unwrap(), gate["verdict"].as_str().unwrap())).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn stats_tell_every_gate_and_fail_with_99() {
    let (env, id) = recorded();
    let limits =
        ["--gate", "cost_usd: max<0.0003", "--gate", "cost_usd: max<0.0002", "--gate", "ttft_ms: p(95)<1"];
    let ran = env.looptape(&[&["stats", &id], &limits[..]].concat());
    assert_eq!(ran.code, Some(99), "{ran:?}");
    let tail: Vec<&str> = ran.stdout.lines().rev().take(4).collect();
    insta::assert_snapshot!(tail.into_iter().rev().collect::<Vec<_>>().join("\n"), @r"
    ✓ cost_usd: max<0.0003    $0.00021  $0.00009 (30 %) of room
    ✗ cost_usd: max<0.0002    $0.00021  missed by $0.00001 (5 %)
    ? ttft_ms: p(95)<1         unknown  there are no values
    2 of 3 gates failed
    ");
    let ran = env.looptape(&[&["stats", &id, "--json"], &limits[..]].concat());
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let told = gates(&report);
    let verdicts: Vec<&str> = told.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!((ran.code, verdicts), (Some(99), vec!["passed", "failed", "unknown"]));
    let accepted = env.looptape(&["stats", &id, "--gate", "ttft_ms: p(95)<1", "--allow-unknown"]);
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
}

#[test]
fn a_later_run_is_held_against_an_earlier_one() {
    let (env, id) = recorded();
    let baseline = env.home().join("main.json");
    std::fs::write(&baseline, env.looptape(&["stats", &id, "--json"]).stdout).unwrap();
    let file = baseline.to_str().unwrap();
    let same = env.looptape(&["stats", &id, "--baseline", file, "--max-regression", "cost_usd=2%"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    // What would have been cheaper by 3 %.
    let mut cheaper = read(&baseline);
    let cost = &mut cheaper["figures"]["cost_usd"]["avg"];
    *cost = (cost.as_f64().unwrap() / 1.03).into();
    std::fs::write(&baseline, cheaper.to_string()).unwrap();
    let worse = env.looptape(&["stats", &id, "--baseline", file, "--max-regression", "cost_usd=2%"]);
    assert_eq!(worse.code, Some(99), "{worse:?}");
    assert!(worse.stdout.contains("avg ≤ 2 % worse than the baseline"), "{worse:?}");
    for (arguments, expected) in [
        (["--baseline", "nowhere.json", "--max-regression", "cost_usd=2%"], "cannot be read"),
        (["--baseline", file, "--max-regression", "costs=2%"], "nearest: cost_usd"),
    ] {
        let ran = env.looptape(&[&["stats", &id], &arguments[..]].concat());
        assert!(ran.code != Some(0) && ran.stderr.contains(expected), "{ran:?}");
    }
    let alone = env.looptape(&["stats", &id, "--baseline", file]);
    assert!(alone.code == Some(2) && alone.stderr.contains("--max-regression cost_usd=2%"), "{alone:?}");
}

#[test]
fn a_replay_is_judged_by_what_its_calls_would_have_cost() {
    let (env, id) = recorded();
    let report = env.home().join("report.json");
    let options = [
        "--report",
        report.to_str().unwrap(),
        "--gate",
        "cost_usd: max<0.0002",
        "--gate",
        "spent_usd: value==0",
    ];
    let ran = env.looptape(&[&["replay", &id], &options[..], &["--"], &agent()[..]].concat());
    // It spent nothing, and would fail a gate of 0 dollars if it were judged by that.
    assert_eq!(ran.code, Some(99), "{ran:?}");
    assert!(ran.stderr.contains("✗ cost_usd: max<0.0002"), "{ran:?}");
    let report = read(&report);
    assert_eq!(gates(&report), [("cost_usd: max<0.0002", "failed"), ("spent_usd: value==0", "passed")]);
    assert_eq!(report["exit_code"], 99);
    let without_agent = env.looptape(&["replay", &id, "--gate", "cost_usd: max<0.0003", "--json"]);
    let report: Value = serde_json::from_str(&without_agent.stdout).unwrap();
    assert_eq!((without_agent.code, &report["gates"]["passed"]), (Some(0), &Value::Bool(true)), "{report}");
}

#[test]
fn a_verify_command_scores_a_replay() {
    let (env, id) = recorded();
    let replay = |verify: &str| {
        let options = ["--verify", verify, "--gate", "score: value>=0.9"];
        env.looptape(&[&["replay", &id], &options[..], &["--"], &agent()[..]].concat())
    };
    assert_eq!(replay("echo 0.95").code, Some(0));
    let low = replay("echo 0.85");
    assert!(low.code == Some(99) && low.stderr.contains("missed by"), "{low:?}");
    let none = replay("true");
    assert!(none.code == Some(99) && none.stderr.contains("1 of 1 values are not known"), "{none:?}");
    let failed = replay("echo 1; exit 3");
    assert!(failed.code == Some(1) && failed.stderr.contains("verify: FAIL 1 (exit 3)"), "{failed:?}");
}

#[test]
fn gates_of_the_file_count_where_they_are_asked_for() {
    let (mut env, id) = recorded();
    let project = env.work_in("project");
    std::fs::write(project.join("looptape.toml"), "[gates]\ncost_usd = \"max<0.0002\"\n").unwrap();
    assert_eq!(env.looptape(&["stats", &id]).code, Some(0));
    assert_eq!(env.looptape(&["stats", &id, "--config-gates"]).code, Some(99));
}

#[test]
fn mistakes_are_named_before_anything_runs() {
    let env = TestEnv::new();
    let marker = env.home().join("started");
    let started = format!("touch {}", marker.display());
    let ran = env.looptape(&["replay", "last", "--gate", "cost_usd: p95<1", "--", "sh", "-c", &started]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("column 11: a percentile is written p(95)"),
        "{ran:?}"
    );
    assert!(!marker.exists());
}

/// The child of `record` and `replay`; otherwise it has nothing to do.
#[test]
fn asks_once() {
    let (Ok(base_url), Ok(_)) = (std::env::var("OPENAI_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"ok?"}]}"#;
    Runtime::new().unwrap().block_on(async {
        let request = reqwest::Client::new().post(format!("{base_url}/chat/completions"));
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.unwrap().bytes().await.unwrap();
    });
}
