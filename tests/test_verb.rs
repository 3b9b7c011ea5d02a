//! `looptape test`: what passes, what fails and how, and what is told of it.
//!
//! The agent is this test binary itself, started with the name of the test at the end of this file.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;
use tokio::runtime::Runtime;

static AGENT: LazyLock<String> = LazyLock::new(|| {
    let me = std::env::current_exe().unwrap();
    format!("[\"{}\", \"--exact\", \"test_verb::agent\"]", me.display())
});

/// The project's folder.
const PROJECT: &str = "project";

fn upstream(runtime: &Runtime, text: &'static str) -> ScriptedUpstream {
    let answer = format!(
        r#"{{"id":"x","model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],
        "usage":{{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}}}"#
    );
    runtime.block_on(ScriptedUpstream::answering(move |_| Answer::json(answer.clone()))).unwrap()
}

/// A project with a recorded trace in its database, and no tests yet.
fn project() -> (TestEnv, String) {
    let runtime = Runtime::new().unwrap();
    let upstream = upstream(&runtime, "ok");
    let mut env = TestEnv::new();
    env.work_in(PROJECT);
    let upstream = format!("openai={}", upstream.url());
    let me = std::env::current_exe().unwrap();
    let agent = [me.to_str().unwrap(), "--exact", "test_verb::agent"];
    let ran = env.looptape(&[&["record", "--upstream", &upstream, "--"], &agent[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = ran.trace().to_owned();
    (env, id)
}

/// Writes the project's tests; `AGENT` and `TRACE` in them stand for what they say.
fn write(env: &TestEnv, id: &str, text: &str) {
    let text = text.replace("AGENT", &AGENT).replace("TRACE", &format!("\"{id}\""));
    std::fs::write(env.home().join(PROJECT).join("looptape.toml"), text).unwrap();
}

fn test(env: &TestEnv, options: &[&str]) -> Ran {
    env.looptape(&[&["test"], options].concat())
}

fn report(env: &TestEnv, options: &[&str]) -> (Option<i32>, Value) {
    let ran = test(env, &[options, &["--json"]].concat());
    let report = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, report)
}

fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let tests = report["tests"].as_array().unwrap().iter();
    tests.map(|test| (test["name"].as_str().unwrap(), test["verdict"].as_str().unwrap())).collect()
}

#[test]
fn what_comes_out_is_in_the_order_of_the_file() {
    let (env, id) = project();
    let mut text = String::new();
    for n in 0..6 {
        // The first takes longest.
        let wait = (6 - n) * 60;
        text.push_str(&format!(
            "[[test]]\nname = \"t{n}\"\ntrace = TRACE\ncommand = AGENT\nenv = {{ LOOPTAPE_TEST_WAIT_MS = \"{wait}\" }}\n"
        ));
    }
    write(&env, &id, &text);
    let (code, report) = report(&env, &["--jobs", "6"]);
    assert_eq!(code, Some(0), "{report}");
    let names: Vec<&str> = verdicts(&report).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["t0", "t1", "t2", "t3", "t4", "t5"]);
    let ran = test(&env, &["--jobs", "6"]);
    let told: Vec<&str> = ran.stdout.lines().filter_map(|line| line.strip_prefix("✓ ")?.get(..2)).collect();
    assert_eq!(told, ["t0", "t1", "t2", "t3", "t4", "t5"], "{ran:?}");
    // The user's own database holds what was recorded, and no replay of it.
    let listed: Value = serde_json::from_str(&env.looptape(&["ls", "--replays", "--json"]).stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn every_kind_of_failure_has_its_own_verdict() {
    let (env, id) = project();
    write(
        &env,
        &id,
        r#"
[[test]]
name = "the recording itself"
trace = TRACE
[[test]]
name = "asks something else"
trace = TRACE
command = AGENT
env = { LOOPTAPE_TEST_QUESTION = "what else?" }
[[test]]
name = "makes no call"
trace = TRACE
command = ["true"]
allow_unused = true
[[test]]
name = "fails"
trace = TRACE
command = "exit 7"
[[test]]
name = "does not end"
trace = TRACE
command = "sleep 600 & wait"
timeout = "1s"
[[test]]
name = "is not verified"
trace = TRACE
command = AGENT
verify = "exit 3"
[[test]]
name = "costs too much"
trace = TRACE
command = AGENT
gates = ["cost_usd: max<0.0002", "steps_per_loop: max<=1"]
[[test]]
name = "is not there"
trace = "0000"
"#,
    );
    let (code, report) = report(&env, &[]);
    assert_eq!(code, Some(3), "{report}");
    assert_eq!(
        verdicts(&report),
        [
            ("the recording itself", "passed"),
            ("asks something else", "diverged"),
            ("makes no call", "proves_nothing"),
            ("fails", "agent_failed"),
            ("does not end", "agent_failed"),
            ("is not verified", "verify_failed"),
            ("costs too much", "gate_failed"),
            ("is not there", "broken"),
        ]
    );
    let by_name = |name: &str| {
        let mut tests = report["tests"].as_array().unwrap().iter();
        tests.find(|test| test["name"] == name).unwrap()["why"].as_str().unwrap_or_default().to_owned()
    };
    assert!(by_name("does not end").contains("within 1 s"));
    assert_eq!(by_name("costs too much"), "cost_usd: max<0.0002");
    for (name, code) in
        [("makes no call", 1), ("costs too much", 99), ("fails", 1), ("the recording itself", 0)]
    {
        assert_eq!(test(&env, &[name]).code, Some(code), "{name}");
    }
}

#[test]
fn a_failure_is_told_in_every_form() {
    let (mut env, id) = project();
    let summary = env.home().join("step-summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    env.set("GITHUB_STEP_SUMMARY", summary.to_str().unwrap());
    env.set("GITHUB_ACTIONS", "true");
    write(
        &env,
        &id,
        "[gates]\nsteps = \"count<9\"\nerrors = \"count<0\"\n[[test]]\nname = \"a|b ```\\n::warning::x\"\ntrace = TRACE\n\
         command = AGENT\nenv = { LOOPTAPE_TEST_QUESTION = \"<script>`````\" }\n",
    );
    let junit = env.home().join("j.xml");
    let ran = test(&env, &["--junit", junit.to_str().unwrap()]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("1 failed") && ran.stdout.contains("✗ errors: count<0"), "{ran:?}");
    let commands: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(commands.len(), 2, "{ran:?}");
    assert!(
        commands[0].contains("NEVER_RECORDED") && commands[1].starts_with("::error title=gate on errors::")
    );
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains(r#"type="NEVER_RECORDED""#) && xml.contains(r#"classname="gates""#), "{xml}");
    assert!(xml.contains(r#"tests="3" skipped="0" failures="2" errors="0""#), "{xml}");
    let markdown = std::fs::read_to_string(&summary).unwrap();
    assert!(markdown.starts_with("before\n### ❌ looptape test: 0 passed, 1 failed"), "{markdown}");
    assert!(markdown.contains("a\\|b \\`\\`\\` ::warning::x"), "a name stays in its cell: {markdown}");
    let fence = markdown.lines().find(|line| line.ends_with("`text")).unwrap();
    assert!(fence.len() > "`````text".len(), "the fence is longer than any in the text: {markdown}");
}

#[test]
fn a_baseline_of_the_same_tests_catches_a_loss_of_quality() {
    let (env, id) = project();
    let at = |score: f64| {
        write(
            &env,
            &id,
            &format!("[[test]]\nname = \"a\"\ntrace = TRACE\ncommand = AGENT\nverify = \"echo {score}\"\n"),
        );
    };
    at(0.9);
    let baseline = env.home().join("main.json");
    std::fs::write(&baseline, test(&env, &["--json"]).stdout).unwrap();
    let held = ["--baseline", baseline.to_str().unwrap(), "--max-regression", "score=2%"];
    for (score, code) in [(0.9, 0), (0.89, 0), (1.0, 0), (0.88, 99)] {
        at(score);
        assert_eq!(test(&env, &held).code, Some(code), "{score}");
    }
    write(&env, &id, "[[test]]\nname = \"b\"\ntrace = TRACE\ncommand = AGENT\nverify = \"echo 0.9\"\n");
    let (_, report) = report(&env, &held);
    assert_eq!(report["notes"], serde_json::json!(["not in the baseline: b", "only in the baseline: a"]));
}

#[test]
fn a_test_that_passes_only_at_the_second_try_is_flaky() {
    let (env, id) = project();
    let marker = env.home().join("tried");
    let command =
        format!("test -e {0} || {{ touch {0}; exit 1; }}; exec {1}", marker.display(), shell_agent());
    write(
        &env,
        &id,
        &format!("[[test]]\nname = \"a\"\ntrace = TRACE\ncommand = '''{command}'''\nretries = 1\n"),
    );
    let (code, report) = report(&env, &[]);
    assert_eq!(
        (code, &report["tests"][0]["runs"], &report["counts"]["flaky"]),
        (Some(0), &2.into(), &1.into()),
        "{report}"
    );
}

fn shell_agent() -> String {
    format!("'{}' --exact test_verb::agent", std::env::current_exe().unwrap().display())
}

/// What vcrpy keeps of a loop with one tool call.
const WEEKEND: &str = r#"
version: 1
interactions:
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    headers: {}
    body: '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Oslo or Lisbon?"}]}'
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [application/json]}
    body: {string: '{"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]}}],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}'}
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    headers: {}
    body: '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Oslo or Lisbon?"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"rain in Oslo"}]}'
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [application/json]}
    body: {string: '{"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Lisbon"}}],"usage":{"prompt_tokens":20,"completion_tokens":1,"total_tokens":21}}'}
"#;

#[test]
fn imported_recordings_are_cassettes_too() {
    let (env, _) = project();
    std::fs::write(env.home().join(PROJECT).join("weekend.yaml"), WEEKEND).unwrap();
    let text = "[[test]]\ncassette = \"weekend.yaml\"\ntags = [\"smoke\"]\n[[test]]\nname = \"free\"\ncassette = \"weekend.yaml\"\nmode = \"free\"\n";
    write(&env, "", text);
    let (code, all) = report(&env, &[]);
    assert_eq!((code, verdicts(&all)), (Some(0), vec![("weekend", "passed"), ("free", "passed")]), "{all}");
    let (_, tagged) = report(&env, &["--tag", "smoke"]);
    assert_eq!(verdicts(&tagged), [("weekend", "passed")]);
    let listed = test(&env, &["--list"]);
    assert!(listed.stdout.contains("weekend") && listed.stdout.contains("#smoke"), "{listed:?}");
}

#[test]
fn cassettes_are_recorded_on_purpose_only() {
    let (env, _) = project();
    write(
        &env,
        "",
        "[[test]]\ncassette = \"cassettes/a\"\ncommand = AGENT\n[[test]]\nname = \"itself\"\ncassette = \"cassettes/a\"\n",
    );
    let cassette = env.home().join(PROJECT).join("cassettes/a");
    let missing = test(&env, &[]);
    assert!(missing.code == Some(1) && missing.stdout.contains("--record-missing"), "{missing:?}");
    assert!(!cassette.exists());
    let runtime = Runtime::new().unwrap();
    let first = upstream(&runtime, "first");
    let to_first = format!("openai={}", first.url());
    let (code, recorded) = report(&env, &["--record-missing", "--upstream", &to_first]);
    assert_eq!((code, &recorded["tests"][0]["recorded"]), (Some(0), &"new".into()), "{recorded}");
    assert_eq!(verdicts(&recorded), [("a", "passed"), ("itself", "passed")]);
    let manifest = || std::fs::read_to_string(cassette.join("checksums.txt")).unwrap();
    let before = manifest();
    // What is there is not missing, and a plain run asks nobody.
    assert_eq!(
        report(&env, &["--record-missing", "--upstream", &to_first]).1["tests"][0]["recorded"],
        "before"
    );
    assert_eq!((first.requests().len(), manifest()), (1, before.clone()));
    drop(first);
    assert_eq!(report(&env, &[]).0, Some(0));
    // A run that fails replaces nothing.
    let failed = test(&env, &["--update", "--upstream", "openai=http://127.0.0.1:9"]);
    assert!(failed.code == Some(1) && failed.stdout.contains("it was not recorded"), "{failed:?}");
    assert_eq!(manifest(), before);
    let second = upstream(&runtime, "second");
    let (code, updated) = report(&env, &["--update", "--upstream", &format!("openai={}", second.url())]);
    assert_eq!((code, &updated["tests"][0]["recorded"]), (Some(0), &"again".into()), "{updated}");
    assert_eq!(second.requests().len(), 1, "two tests of one cassette record it once");
    assert_ne!(manifest(), before);
}

#[test]
fn old_recordings_are_named() {
    let (env, id) = project();
    write(&env, &id, "[[test]]\nname = \"a\"\ntrace = TRACE\ncommand = AGENT\n");
    let (code, report) = report(&env, &["--max-age", "0s"]);
    assert_eq!((code, &report["counts"]["stale"]), (Some(0), &1.into()), "{report}");
    let told = test(&env, &["--max-age", "0s", "--annotations"]);
    assert!(
        told.stdout.contains("older than --max-age") && told.stderr.contains("::warning title=test a::"),
        "{told:?}"
    );
    assert!(!test(&env, &["--max-age", "1d"]).stdout.contains("older"));
}

#[test]
fn the_action_compares_where_there_is_a_baseline() {
    let (env, id) = project();
    write(&env, &id, "[[test]]\nname = \"a\"\ntrace = TRACE\ncommand = AGENT\ntags = [\"smoke it\"]\n");
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.github/actions/looptape-test/run.sh");
    let run = |baseline: &str, allowed: &str| {
        let looptape = env.command(&[]);
        let mut bash = std::process::Command::new("bash");
        bash.arg(&action).env_clear().current_dir(looptape.get_current_dir().unwrap());
        bash.envs(looptape.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.env("LOOPTAPE_PROGRAM", env!("CARGO_BIN_EXE_looptape"))
            .env("LOOPTAPE_ARGUMENTS", "--tag 'smoke it'");
        bash.env("LOOPTAPE_REPORT", "r.json")
            .env("LOOPTAPE_JUNIT", "j.xml")
            .env("LOOPTAPE_BASELINE", baseline);
        bash.env("LOOPTAPE_MAX_REGRESSION", allowed).env("GITHUB_OUTPUT", env.home().join("out"));
        Ran::from(bash.output().unwrap())
    };
    let first = run("main.json", "cost_usd=2%\n");
    assert!(first.stdout.contains("::notice") && first.stdout.contains("1 passed"), "{first:?}");
    let project = env.home().join(PROJECT);
    std::fs::rename(project.join("r.json"), project.join("main.json")).unwrap();
    let second = run("main.json", "cost_usd=2%\n\nsteps_per_loop: avg=0\n");
    assert!(second.stdout.contains("all 2 gates hold"), "{second:?}");
    assert_eq!(std::fs::read_to_string(env.home().join("out")).unwrap(), "exit-code=0\nexit-code=0\n");
    assert!(project.join("j.xml").exists());
}

#[test]
fn mistakes_are_named() {
    let (env, id) = project();
    let none = test(&env, &[]);
    assert!(none.code == Some(2) && none.stderr.contains("[[test]]"), "{none:?}");
    write(&env, &id, "[[test]]\nname = \"refund\"\ntrace = TRACE\n");
    for (options, expected) in [
        (&["weekend"][..], "no test has `weekend` in its name; there are refund"),
        (&["--tag", "smoke"], "no test has the tag `smoke`"),
        (&["--gate", "cost: max<1"], "nearest: cost_usd"),
        (&["--max-age", "soon"], "not a duration"),
        (&["--jobs", "0"], "--jobs"),
    ] {
        let ran = test(&env, options);
        assert!(ran.code == Some(2) && ran.stderr.contains(expected), "{options:?}: {ran:?}");
    }
    write(&env, &id, "[[test]]\nname = \"refund\"\ntrace = TRACE\ngates = [\"costs: max<1\"]\n");
    let wrong = test(&env, &[]);
    assert!(
        wrong.code == Some(1) && wrong.stderr.contains("line 4") && wrong.stderr.contains("cost_usd"),
        "{wrong:?}"
    );
}

/// The child of `record` and `test`; otherwise it has nothing to do.
#[test]
fn agent() {
    let (Ok(base_url), Ok(_)) = (std::env::var("OPENAI_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    if let Some(ms) = std::env::var("LOOPTAPE_TEST_WAIT_MS").ok().and_then(|ms| ms.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }
    let question = std::env::var("LOOPTAPE_TEST_QUESTION").unwrap_or_else(|_| "ok?".to_owned());
    let body =
        serde_json::json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]});
    Runtime::new().unwrap().block_on(async {
        let request = reqwest::Client::new().post(format!("{base_url}/chat/completions"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap().bytes().await.unwrap();
    });
}
