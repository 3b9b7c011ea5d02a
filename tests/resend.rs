//! `replay` without a command: recorded requests sent again, and every answer compared.

use crate::env::{Ran, TestEnv};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

/// The recordings under `traces/`, imported.
fn imported() -> TestEnv {
    let env = TestEnv::new();
    let ran = env.looptape(&["import", concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces")]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 6), "{ran:?}");
    env
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn many_traces_are_sent_several_at_once_and_several_times() {
    let env = imported();
    let ran = env.looptape(&["replay", "--all", "--concurrency", "3", "--repeat", "2", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = json(&ran);
    let counts = ["traces", "calls", "identical", "unanswered", "not_sent", "loops", "steps"];
    assert_eq!(counts.map(|name| report[name].as_u64().unwrap()), [6, 44, 44, 0, 0, 12, 36]);
    assert_eq!(report["classes"], serde_json::json!({ "same_bytes": 44 }));
    // Each recording with a 429 has it, and its retry, in every run.
    assert_eq!((report["stats"]["retries"].as_u64(), report["spent_usd"].as_f64()), (Some(8), Some(0.0)));
    assert!(report["saved_usd"].as_f64().unwrap() > 0.0 && report["loops_per_min"].as_f64().unwrap() > 0.0);

    // Results are in order of traces and runs, whatever ended first.
    let runs = |report: &Value| -> Vec<(String, u64)> {
        let runs = report["runs"].as_array().unwrap();
        runs.iter().map(|r| (r["trace"].as_str().unwrap().to_owned(), r["run"].as_u64().unwrap())).collect()
    };
    let listed = json(&env.looptape(&["ls", "-n", "0", "--json"]));
    let oldest_first = listed.as_array().unwrap().iter().rev().map(|t| t["id"].as_str().unwrap().to_owned());
    let expected: Vec<(String, u64)> = oldest_first.flat_map(|id| [(id.clone(), 1), (id, 2)]).collect();
    assert_eq!(runs(&report), expected);

    let named = [&expected[2].0[..8], &expected[0].0[..8]];
    let ran = env.looptape(&["replay", named[0], named[1], "--json"]);
    assert_eq!(runs(&json(&ran)), [(expected[2].0.clone(), 1), (expected[0].0.clone(), 1)]);
}

#[test]
fn traces_are_chosen_by_filters() {
    let env = imported();
    let report = json(&env.looptape(&["replay", "--filter", "model=gpt-4o-mini", "--json"]));
    let of_model = json(&env.looptape(&["ls", "--model", "gpt-4o-mini", "--json"]));
    assert_eq!(report["traces"].as_u64(), of_model.as_array().map(|rows| rows.len() as u64));
    assert!(report["traces"].as_u64().unwrap() > 1);
    let none = env.looptape(&["replay", "--filter", "model=nobody"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no trace passes these filters; `looptape ls` lists all"), "{none:?}");
    for (arguments, said) in [
        (&["replay"][..], "name a trace"),
        (&["replay", "--filter", "colour=red"], "write one of agent=NAME"),
        (&["replay", "last", "--all"], "cannot be used with"),
        (&["replay", "last", "last~1", "--", "true"], "an agent is run against one trace"),
        (&["replay", "last", "--repeat", "2", "--", "true"], "cannot be used with"),
    ] {
        let ran = env.looptape(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
}

#[test]
fn other_answers_are_classified_and_the_worst_is_shown_first() {
    let env = imported();
    // Passing over the recorded 429 gives its request the answer that its retry got, and the retry none.
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/rust-agent");
    let ran = env.looptape(&["replay", recording, "--attempts", "collapse"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let (error, instead) =
        (ran.stdout.find(": an error: "), ran.stdout.find(": an answer instead of an error"));
    assert!(error.is_some() && error < instead, "{ran:?}");
    assert!(ran.stdout.contains("answers: 2 the same bytes, 1 an answer instead of an error, 1 an error\n"));
    assert!(ran.stdout.ends_with("diff: 3\n"), "{ran:?}");
    let report = json(&env.looptape(&["replay", recording, "--attempts", "collapse", "--json"]));
    let classes: Vec<&str> =
        report["differences"].as_array().unwrap().iter().map(|d| d["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["error", "answer_instead_of_error"]);
}

/// A signal may come before anybody handles it, so later ones are tried as well.
#[test]
fn ctrl_c_tells_what_was_done_until_then() {
    let env = TestEnv::new();
    assert_eq!(env.looptape(&["demo"]).code, Some(0));
    // At this speed the first answer takes two minutes.
    let arguments = ["replay", "last", "last", "--speed", "0.001", "--json"];
    for wait_ms in [200, 1_000, 5_000, 20_000] {
        let mut command = env.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        if ran.code.is_some() {
            assert_eq!(ran.code, Some(130), "{ran:?}");
            let report = json(&ran);
            assert_eq!((&report["coverage"], &report["calls"]), (&"interrupted".into(), &0.into()));
            assert_eq!(report["runs"].as_array().unwrap().len(), 1);
            return;
        }
    }
    panic!("the signal was never handled");
}

#[test]
fn loops_that_run_freely_on_their_own_recording_are_that_recording() {
    let env = imported();
    let ran = env.looptape(&["replay", "--all", "--free-run", "--concurrency", "2", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = json(&ran);
    let loops = report["free_loops"].as_array().unwrap();
    assert_eq!(loops.len(), 6);
    for inner in loops {
        let ending = inner["ending"].as_str();
        assert_eq!((ending, inner["left"].is_null()), (Some("as_recorded"), true), "{inner}");
        assert_eq!((inner["steps"].as_u64(), inner["tool_calls"].as_u64()), (Some(3), Some(3)));
    }
    // The recorded 429s came again and were tried again, and no recorded call was left over.
    assert_eq!((report["stats"]["retries"].as_u64(), report["loops"].as_u64()), (Some(4), Some(6)));
    // Each run is a trace of its own.
    let children = json(&env.looptape(&["ls", "--replays", "-n", "0", "--json"]));
    let is_listed = |run: &Value| children.as_array().unwrap().iter().any(|row| row["id"] == run["child"]);
    assert!(report["runs"].as_array().unwrap().iter().all(is_listed), "{report}");
    let unused = |run: &Value| run["replay"]["unused"].as_array().unwrap().len();
    assert!(report["runs"].as_array().unwrap().iter().all(|run| unused(run) == 0), "{report}");

    let limited = env.looptape(&["replay", "last", "--free-run", "--max-steps", "2"]);
    assert_eq!(limited.code, Some(3), "{limited:?}");
    assert!(limited.stdout.contains("stopped after 2 steps: raise --max-steps to go on"), "{limited:?}");
}
