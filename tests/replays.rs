//! Every replay is a trace of its own that names its recording; recordings never change.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Asks what it is told to ask, one question after the other.
const AGENT: &str = r#"
import json, os, sys, time, urllib.request, urllib.error
for text in sys.argv[1:]:
    if text == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            print(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
print("replay", os.environ.get("LOOPTAPE_REPLAY"))
"#;

fn said(text: &str) -> String {
    format!(
        r#"{{"id":"x","model":"gpt-4o","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010}}}}"#
    )
}

/// A place with an agent that was recorded asking one and two.
async fn recorded() -> (TestEnv, String) {
    let upstream = ScriptedUpstream::answering(|_| Answer::json(said("hello"))).await.unwrap();
    let mut env = TestEnv::new();
    env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    std::fs::write(env.home().join("agent.py"), AGENT).unwrap();
    let ran = run(env.command(&["record", "--", "python3", "agent.py", "one", "two"])).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let trace = ran.trace().to_owned();
    (env, trace)
}

/// Runs without blocking the runtime that serves the upstream.
async fn run(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

fn json(env: &TestEnv, arguments: &[&str]) -> Value {
    let ran = env.looptape(arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_stored_beside_its_recording() {
    let (env, trace) = recorded().await;
    let before = (json(&env, &["show", &trace, "--json", "--messages"]), json(&env, &["ls", "--json"]));
    let replay = ["replay", "last", "--report", "report.json", "--", "python3", "agent.py", "one", "other"];
    let diverged = env.looptape(&replay);
    assert_eq!(diverged.code, Some(3), "{diverged:?}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(env.home().join("report.json")).unwrap()).unwrap();
    let id = report["replay_trace"].as_str().unwrap();
    assert!(diverged.stderr.contains(&format!("stored as {id}")), "{diverged:?}");
    assert!(diverged.stdout.contains(&format!("replay {id}")), "the agent knows it: {diverged:?}");

    let shown = json(&env, &["show", "last-replay", "--json", "--messages"]);
    assert_eq!(shown["trace"]["id"], id);
    assert_eq!(shown["trace"]["parent"], serde_json::json!({ "trace": trace, "why": "replay" }));
    assert_eq!(shown["trace"]["status"], "complete");
    assert_eq!(shown["trace"]["metrics"]["cost_usd"], 0.0, "nothing was spent");
    let source = |step: usize| (&shown["steps"][step]["source"], &shown["steps"][step]["replayed"]["reason"]);
    assert_eq!(source(0), (&"cached".into(), &Value::Null));
    assert_eq!(shown["steps"][0]["replayed"]["recorded_seq"], 0);
    assert_eq!(shown["steps"][0]["text"], "hello");
    assert_eq!(source(1), (&"refused".into(), &"NEVER_RECORDED".into()));
    assert_eq!(shown["steps"][1]["attempts"][0]["status"], 422);
    assert_eq!(shown["steps"][1]["messages"][0]["parts"][0]["text"], "other");
    let text = env.looptape(&["show", id]).stdout;
    assert!(text.contains(&format!("replay of {trace}")), "{text}");
    assert!(text.contains("[cached]") && text.contains("[refused NEVER_"), "{text}");

    // A second replay of `last` is one of the same recording, which is as it was.
    let replayed = env.looptape(&["replay", "last", "--", "python3", "agent.py", "one", "two"]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_eq!(json(&env, &["show", "last-replay", "--json"])["trace"]["parent"]["trace"], trace.as_str());
    let checked = env.looptape(&["replay", "last"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(json(&env, &["show", "last-replay", "--json"])["trace"]["parent"]["why"], "self-check");
    let after = (json(&env, &["show", &trace, "--json", "--messages"]), json(&env, &["ls", "--json"]));
    assert_eq!(after, before);
    assert_eq!(json(&env, &["ls", "--replays", "--json"]).as_array().unwrap().len(), 4);
    assert_eq!(env.looptape(&["verify"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_cannot_be_stored_replays_all_the_same() {
    let (env, trace) = recorded().await;
    let replay = ["replay", &trace, "--no-record", "--", "python3", "agent.py", "one", "two"];
    let unrecorded = env.looptape(&replay);
    assert_eq!((unrecorded.code, unrecorded.stderr.contains("stored")), (Some(0), false), "{unrecorded:?}");

    // Nobody but the owner may read a database, and its owner may keep it from being written.
    let folder = env.database().parent().unwrap().to_owned();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::read_dir(&folder).unwrap().for_each(|file| mode(&file.unwrap().path(), 0o444));
    mode(&folder, 0o555);
    mode(env.home(), 0o755);
    let mut command = env.command(&["replay", &trace, "--", "python3", "agent.py", "one", "two"]);
    if rustix::process::geteuid().is_root() {
        // To root everything can be written.
        command.uid(65534);
    }
    let replayed = run(command).await;
    mode(&folder, 0o755);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert!(replayed.stderr.contains("2 of 2 recorded calls served"), "{replayed:?}");
    assert!(replayed.stderr.contains("this replay is not stored"), "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_a_replay_that_was_broken_off() {
    let (env, trace) = recorded().await;
    let interrupt = |times: usize, script: &'static str| {
        let mut command = env.command(&["replay", &trace, "--", "sh", "-c", script]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "waiting");
        let pid = rustix::process::Pid::from_child(&child);
        for _ in 0..times {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            if times > 1 {
                assert_eq!(lines.next().map(|line| line.unwrap()).as_deref(), Some("not now"));
                break;
            }
        }
        if times > 1 {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
        Ran::from(child.wait_with_output().unwrap())
    };
    let once = interrupt(1, "echo waiting; exec sleep 60");
    assert_eq!(once.code, Some(130), "{once:?}");
    let shown = json(&env, &["show", "last-replay", "--json"]);
    assert_eq!(shown["trace"]["status"], "aborted");
    assert!(shown["trace"]["status_reasons"][0].as_str().unwrap().contains("Ctrl-C"), "{shown}");

    let twice = interrupt(2, "trap 'echo not now' INT; echo waiting; while :; do sleep 0.01; done");
    assert_eq!(twice.code, Some(130), "{twice:?}");
    assert_eq!(json(&env, &["show", "last-replay", "--json"])["trace"]["status"], "aborted");
}

#[test]
fn a_recording_that_holds_nothing_is_no_proof() {
    let env = TestEnv::new();
    assert_eq!(env.looptape(&["record", "--", "true"]).code, Some(0));
    for replay in
        [&["replay", "last", "--", "true"][..], &["replay", "last"], &["replay", "last", "--free-run"]]
    {
        let ran = env.looptape(replay);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains("the recording holds no answered call"), "{ran:?}");
    }
    let all = env.looptape(&["replay", "--all"]);
    assert!(all.code == Some(1) && all.stderr.contains("none of the 1 traces"), "{all:?}");
}
