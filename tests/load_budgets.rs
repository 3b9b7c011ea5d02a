//! `load` within budgets: the scenario's own, and those of looptape.toml, which count what was spent before.

use crate::env::{Ran, TestEnv};
use crate::views::json;
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};

/// Calls one after the other. A call costs $0.00405, and could cost $0.0115: 1,000 tokens of output and its own bytes.
const SCENARIO: &str = "\
[traffic]
model = 'gpt-4o'
stream = false
steps = 1
system_tokens = 0
input_tokens = 100
output_tokens = 400
max_output_tokens = 1000
[retry]
max = 0
[[phase]]
executor = 'per-vu-iterations'
vus = 1
iterations = 4
[twin]
ttft_ms = 1
tpot_ms = 0
";

async fn provider() -> ScriptedUpstream {
    let completion = json!({"model": "gpt-4o",
        "usage": {"prompt_tokens": 20, "completion_tokens": 400, "total_tokens": 420},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]});
    ScriptedUpstream::answering(move |_| Answer::json(completion.to_string())).await.unwrap()
}

/// A project with these budgets.
fn project(budgets: &str) -> TestEnv {
    let mut env = TestEnv::new();
    env.work_in("project");
    std::fs::write(env.home().join("project/looptape.toml"), format!("[budgets]\n{budgets}\n")).unwrap();
    env
}

fn load(env: &TestEnv, scenario: &str, arguments: &[&str]) -> (Ran, Value) {
    let path = env.scenario(scenario);
    let ran = env.looptape(&[&["load", &path, "--json"], arguments].concat());
    let report = json(&ran);
    (ran, report)
}

/// A day's limit goes on where the run before left it, whoever sends the calls and whether anything else is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_days_budget_counts_what_was_spent_before() {
    let agent = "import os, urllib.request as r; r.urlopen(r.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions', \
                 b'{\"model\":\"gpt-4o\",\"max_tokens\":1500,\"messages\":[]}', {'content-type': 'application/json'}))";
    for kept in [&["--no-record"][..], &[]] {
        let (upstream, env) = (provider().await, project("day = 0.0192"));
        let url = upstream.url();
        let to = [&["--url", &url], kept].concat();
        let (ran, report) = load(&env, SCENARIO, &to);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let ended = &report["ended"];
        assert_eq!(
            (&ended["why"], &ended["of"], &ended["max_usd"]),
            (&"over_budget".into(), &"day".into(), &0.0192.into()),
            "{ended}"
        );
        assert_eq!((&report["total"]["attempts"], upstream.requests().len()), (&2.into(), 2));

        let (_, report) = load(&env, SCENARIO, &[&to[..], &["--", "python3", "-c", agent]].concat());
        assert_eq!(report["ended"]["of"], "day", "{}", report["ended"]);
        let (_, report) = load(&env, SCENARIO, &to);
        assert_eq!((&report["ended"]["of"], &report["total"]["attempts"]), (&"day".into(), &0.into()));
        assert_eq!(upstream.requests().len(), 2, "what was spent counts");
        let text = env.looptape(&[&["load", &env.scenario(SCENARIO)], &to[..]].concat()).stdout;
        assert!(
            text.contains("the next call could have cost more than is left of the $0.0192 for today (UTC)"),
            "{text}"
        );
    }
}

/// Each loop is a trace: one that needs more than a trace may cost fails, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_for_each_trace_is_one_for_each_loop() {
    let (upstream, env) = (provider().await, project("trace = 0.016\nrun = 1.0"));
    let text = SCENARIO.replace("steps = 1", "steps = 2").replace("iterations = 4", "iterations = 2");
    let (_, report) = load(&env, &text, &["--url", &upstream.url()]);
    assert_eq!(report["ended"]["why"], "completed", "{}", report["ended"]);
    let total = &report["total"];
    // The first call leaves $0.01195.
    assert_eq!((&total["loops"]["failure"], &total["attempts"]), (&2.into(), &2.into()), "{total}");
}

/// The simulated provider that is started for a run bills nothing, so its calls count to no day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_nothing_needs_no_budget() {
    let (upstream, env) = (provider().await, project("day = 0.014"));
    for _ in 0..2 {
        let (_, report) = load(&env, SCENARIO, &[]);
        assert_eq!((&report["ended"]["why"], &report["total"]["attempts"]), (&"completed".into(), &4.into()));
    }
    let (_, report) = load(&env, SCENARIO, &["--url", &upstream.url()]);
    assert_eq!((&report["total"]["attempts"], upstream.requests().len()), (&1.into(), 1));
}

/// What broke off may have been billed to its end: it counts as what it could have cost.
#[test]
fn a_call_that_broke_off_counts_as_what_it_could_have_cost() {
    for fault in ["cut after 1 tokens", "drop", "stream_error after 1 tokens"] {
        let env = TestEnv::new();
        let scenario = SCENARIO.replace("stream = false", "stream = true");
        let text = format!("{scenario}faults = ['{fault}']\n[budget]\nmax_usd = 0.026\n");
        let (_, report) = load(&env, &text, &["--no-record"]);
        assert_eq!(report["ended"]["why"], "over_budget", "{fault}: {}", report["ended"]);
        assert_eq!(report["total"]["attempts"], 2, "{fault}: {}", report["total"]["errors"]);
    }
    // What was refused was not billed.
    let env = TestEnv::new();
    let (_, report) =
        load(&env, &format!("{SCENARIO}faults = ['503']\n[budget]\nmax_usd = 0.014\n"), &["--no-record"]);
    assert_eq!((&report["ended"]["why"], &report["total"]["attempts"]), (&"completed".into(), &4.into()));
}
