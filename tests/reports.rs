//! What is told of a divergence: the same every time, and safe in every place it is told.
//!
//! The agent is this test binary itself, started with the name of the test at the end of this file.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::path::Path;
use tokio::runtime::Runtime;

const LANES: usize = 6;
/// A line that a runner of GitHub actions would take for a command.
const HOSTILE: &str = "rain\n::error title=x::y%0A ##[add-mask]z <b>]]>&";

/// A recording of six conversations at once.
fn recorded() -> (TestEnv, String) {
    let runtime = Runtime::new().unwrap();
    let upstream = runtime
        .block_on(ScriptedUpstream::answering(|_| {
            Answer::json(
                r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"look it up"},"finish_reason":"stop"}]}"#,
            )
        }))
        .unwrap();
    let env = TestEnv::new();
    let upstream = format!("openai={}", upstream.url());
    let ran = env.looptape(&[&["record", "--upstream", &upstream, "--"], &agent_command()[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = ran.trace().to_owned();
    (env, id)
}

fn agent_command() -> [&'static str; 3] {
    static ME: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::current_exe().unwrap().to_str().unwrap().to_owned());
    [&ME, "--exact", "reports::agent"]
}

fn replay(env: &TestEnv, id: &str, options: &[&str]) -> Ran {
    env.looptape(&[&["replay", id, "--no-record"], options, &["--"], &agent_command()].concat())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_same_divergence_gives_the_same_report() {
    let (mut env, id) = recorded();
    let (report, junit) = (env.home().join("report.json"), env.home().join("replay.xml"));
    env.set("LOOPTAPE_TEST_WEATHER", HOSTILE);
    let options = ["--report", report.to_str().unwrap(), "--junit", junit.to_str().unwrap(), "--annotations"];
    let mut seen: Option<(String, String, String)> = None;
    for _ in 0..20 {
        let ran = replay(&env, &id, &options);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let told: String = ran.stderr.lines().filter(|line| !line.contains("thread")).collect();
        let now = (told, read(&report), read(&junit));
        assert_eq!(&now, seen.get_or_insert_with(|| now.clone()));
    }
    let (told, report, junit) = seen.unwrap();
    let home = env.home().to_str().unwrap();
    for text in [&told, &report, &junit] {
        assert!(
            text.contains("VOLATILE_TOOL_RESULT") && !text.contains(home) && !text.contains("127.0.0.1"),
            "{text}"
        );
    }
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let roots = report["replay"]["divergences"].as_array().unwrap().iter().filter(|r| r["root"] == true);
    assert_eq!(roots.count(), LANES);
    assert!(
        junit.contains(&format!(r#"<testcase name="{id}""#)) && junit.contains("(and 5 more)"),
        "{junit}"
    );
}

#[test]
fn hostile_text_is_no_command() {
    let (mut env, id) = recorded();
    env.set("LOOPTAPE_TEST_WEATHER", HOSTILE);
    env.set("GITHUB_ACTIONS", "true");
    let ran = replay(&env, &id, &[]);
    let commands: Vec<&str> = ran.stderr.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    assert_eq!(commands.len(), LANES, "{ran:?}");
    for command in commands {
        assert!(command.starts_with("::error title=VOLATILE_TOOL_RESULT at step "), "{command}");
        assert!(command.contains("The result of get_weather sent at step"), "{command}");
    }
}

#[test]
fn a_replay_without_divergence_passes() {
    let (env, id) = recorded();
    let junit = env.home().join("replay.xml");
    let ran = replay(&env, &id, &["--junit", junit.to_str().unwrap(), "--annotations"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("::error"), "{ran:?}");
    assert!(read(&junit).contains(r#"tests="1" skipped="0" failures="0" errors="0""#), "{}", read(&junit));
    // So do the recorded requests themselves.
    let ran = env.looptape(&["replay", &id, "--no-record", "--junit", junit.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        read(&junit).contains(&format!(r#"<testcase name="{id}" classname="replay"/>"#)),
        "{}",
        read(&junit)
    );
}

#[test]
fn an_agent_that_cannot_be_started_is_in_the_reports() {
    let (env, id) = recorded();
    let files = ["r.json", "r.xml"].map(|name| env.home().join(name));
    let [json, junit] = files.each_ref().map(|file| file.to_str().unwrap());
    let ran = env.looptape(&["replay", &id, "--report", json, "--junit", junit, "--", "/no/such/agent"]);
    assert_eq!(ran.code, Some(127), "{ran:?}");
    let report: Value = serde_json::from_str(&read(&files[0])).unwrap();
    assert_eq!((&report["exit_code"], &report["child_exit_code"]), (&127.into(), &Value::Null));
    assert!(report["not_started"].as_str().unwrap().contains("/no/such/agent"), "{report}");
    let junit = read(&files[1]);
    assert!(junit.contains(r#"failures="0" errors="1""#) && junit.contains("/no/such/agent"), "{junit}");
}

/// The child of `record` and `replay`; otherwise it has nothing to do.
#[test]
fn agent() {
    let (Ok(base_url), Ok(_)) = (std::env::var("OPENAI_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    let weather = std::env::var("LOOPTAPE_TEST_WEATHER").unwrap_or_else(|_| "sun".to_owned());
    let body = |lane: usize| {
        serde_json::json!({"model": "m", "messages": [
            {"role": "user", "content": format!("lane {lane}?")},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": format!("call_{lane}"), "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": format!("call_{lane}"), "content": weather},
        ]})
        .to_string()
    };
    Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::new();
        let send = |lane: usize| {
            let request = client.post(format!("{base_url}/chat/completions"));
            let request = request.header("content-type", "application/json").body(body(lane));
            tokio::spawn(async move { request.send().await.unwrap().bytes().await.unwrap() })
        };
        for sent in (0..LANES).map(send).collect::<Vec<_>>() {
            sent.await.unwrap();
        }
    });
}
