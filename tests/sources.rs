//! Answers from elsewhere than the recording: the provider within a budget, the simulated provider, forks.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::process::Command;

/// Asks what it is told to ask, one question after the other, and says what it was told.
const AGENT: &str = r#"
import json, os, sys, urllib.request, urllib.error
print("key", os.environ["OPENAI_API_KEY"])
for text in sys.argv[1:]:
    body = json.dumps({"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            print(response.status, json.load(response)["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as error:
        print(error.code, error.headers.get("x-should-retry"), json.load(error)["error"]["message"])
"#;

const KEY: &str = "sk-real-0123456789abcdefghij";

/// A provider that says what it was asked; 1000 tokens in, 10 out.
async fn provider() -> ScriptedUpstream {
    let answer = |body: &[u8]| {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let text = format!("you said {}", asked["messages"][0]["content"].as_str().unwrap());
        serde_json::json!({
            "id": "x", "model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
        })
        .to_string()
    };
    ScriptedUpstream::answering(move |request| Answer::json(answer(&request.body))).await.unwrap()
}

/// A place with an agent that was recorded asking one and two.
async fn recorded(upstream: &ScriptedUpstream) -> TestEnv {
    let mut env = TestEnv::new();
    env.set("OPENAI_API_KEY", KEY);
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    std::fs::write(env.home().join("agent.py"), AGENT).unwrap();
    let ran = run(env.command(&["record", "--", "python3", "agent.py", "one", "two"])).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    env
}

/// Runs without blocking the runtime that serves the upstream.
async fn run(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

async fn replay(env: &TestEnv, options: &[&str], questions: &[&str]) -> Ran {
    let agent = ["--", "python3", "agent.py"];
    let arguments: Vec<&str> =
        ["replay", "last"].iter().chain(options).chain(&agent).chain(questions).copied().collect();
    run(env.command(&arguments)).await
}

fn shown(env: &TestEnv) -> Value {
    let ran = env.looptape(&["show", "last-replay", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn sources(shown: &Value) -> Vec<(&str, Option<&str>)> {
    let steps = shown["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["source"].as_str().unwrap(), step["replayed"]["reason"].as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_recording_lacks_is_asked_live_and_paid() {
    let upstream = provider().await;
    let env = recorded(&upstream).await;
    let options = ["--on-miss", "live", "--max-usd", "0.10", "--report", "report.json"];
    let ran = replay(&env, &options, &["one", "other"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("200 you said one\n200 you said other"), "{ran:?}");
    assert!(ran.stdout.contains("key looptape-replay-has-no-key"), "{ran:?}");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3, "only what the recording lacks was asked");
    assert_eq!(requests[2].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert!(ran.stderr.contains("spent $0.0026 of $0.1") && ran.stderr.contains("on 1 live call"), "{ran:?}");
    assert!(ran.stderr.contains("saved $0.0026"), "{ran:?}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(env.home().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["money"]["live"]["spent_usd"], 0.0026);
    assert_eq!((&report["replay"]["verdict"], &report["replay"]["asked"]), (&"forked".into(), &1.into()));

    let shown = shown(&env);
    assert_eq!(sources(&shown), [("cached", None), ("live", Some("NEVER_RECORDED"))]);
    assert_eq!(shown["trace"]["metrics"]["cost_usd"], 0.0026, "what was spent in this run");
    let stored = std::fs::read(env.database()).unwrap();
    assert!(memchr::memmem::find(&stored, KEY.as_bytes()).is_none(), "the key reached the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_could_cost_too_much_is_not_sent() {
    let upstream = provider().await;
    let env = recorded(&upstream).await;
    let ran = replay(&env, &["--on-miss", "live", "--max-usd", "0.0001"], &["one", "other"]).await;
    assert_eq!(ran.code, Some(99), "{ran:?}");
    let refusal = ran.stdout.lines().find(|line| line.starts_with("402")).unwrap();
    assert!(refusal.starts_with("402 false looptape: this call could cost up to"), "{refusal}");
    assert!(refusal.contains("$0.0001") && refusal.contains("--max-usd"), "{refusal}");
    assert_eq!(upstream.requests().len(), 2, "it was sent");
    assert!(ran.stderr.contains("1 call was refused because of the budget"), "{ran:?}");
    assert_eq!(sources(&shown(&env)), [("cached", None), ("refused", Some("OVER_BUDGET"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named_before_anything_runs() {
    let upstream = provider().await;
    let env = recorded(&upstream).await;
    let elsewhere =
        ["--upstream", "groq=https://groq.example", "--upstream", "openai=https://openai.example"];
    let live = ["--source", "live", "--max-usd", "1"];
    let with = |more: &[&'static str]| [&live[..], more].concat();
    let cases = [
        (vec!["--source", "live"], "--max-usd 0.50"),
        (vec!["--from", "2"], "add --source live or --source mock"),
        (vec!["--model", "gpt-4o"], "--source live or --on-miss live"),
        (vec!["--source", "mock", "--max-usd", "1"], "are about live calls"),
        (vec!["--source", "mock", "--on-miss", "live"], "a replay asks one of them"),
        (with(&["--from", "9"]), "there is no step 9: the recording has steps 1 to 2"),
        (vec!["--source", "live", "--max-usd", "-1"], "an amount is a number of US dollars"),
        (with(&["--model", "gpt-4o-minni"]), "Nearest: gpt-4o-mini"),
    ];
    for (options, said) in cases {
        let ran = replay(&env, &options, &["one"]).await;
        assert_eq!(ran.code, Some(2), "{options:?}: {ran:?}");
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{options:?}: {ran:?}");
    }
    // The recorded calls carried a key, so one is needed on this machine too.
    for upstream in [&elsewhere[..], &[]] {
        let mut keyless = env.command(
            &[&["replay", "last"], &live[..], upstream, &["--", "python3", "agent.py", "one"]].concat(),
        );
        keyless.env_remove("OPENAI_API_KEY");
        let ran = run(keyless).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains("a live call to openai needs a key: set OPENAI_API_KEY"), "{ran:?}");
    }
    assert_eq!(upstream.requests().len(), 2);
    assert_eq!(env.looptape(&["show", "last-replay"]).code, Some(1), "nothing was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_asks_another_model_from_a_step_on() {
    let upstream = provider().await;
    let env = recorded(&upstream).await;
    let options = ["--from", "2", "--source", "live", "--model", "gpt-4o-mini", "--max-usd", "1"];
    let ran = replay(&env, &options, &["one", "two", "three"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let requests = upstream.requests();
    let asked = |n: usize| serde_json::from_slice::<Value>(&requests[n].body).unwrap()["model"].clone();
    assert_eq!((requests.len(), asked(2), asked(3)), (4, "gpt-4o-mini".into(), "gpt-4o-mini".into()));
    let shown = shown(&env);
    assert_eq!(sources(&shown), [("cached", None), ("live", Some("FORK")), ("live", Some("FORK"))]);
    assert_eq!(shown["steps"][1]["response_model"], "gpt-4o-mini");
    assert_eq!(shown["trace"]["parent"]["why"], "live replay from step 2 with gpt-4o-mini");
    let diverged = replay(&env, &options, &["changed"]).await;
    assert_eq!(diverged.code, Some(3), "what differs before the fork is a divergence: {diverged:?}");
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mock_answers_take_after_the_recording() {
    let upstream = provider().await;
    let env = recorded(&upstream).await;
    let ask = async |seed: &str| {
        let ran =
            replay(&env, &["--from", "2", "--source", "mock", "--seed", seed], &["one", "two", "three"])
                .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("prove nothing about a model"), "{ran:?}");
        ran.stdout
    };
    let said = ask("7").await;
    assert!(said.contains("200 you said one\n200 you said two\n200 you said "), "{said}");
    assert_eq!(ask("7").await, said);
    assert_eq!(upstream.requests().len(), 2, "the provider was asked");
    let shown = shown(&env);
    assert_eq!(sources(&shown), [("cached", None), ("mock", Some("FORK")), ("mock", Some("FORK"))]);
    assert_eq!(shown["trace"]["metrics"]["cost_usd"], 0.0);
}
