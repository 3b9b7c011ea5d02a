//! `diff`: two traces, step by step, as text and as JSON.

use crate::env::{Ran, TestEnv};
use serde_json::Value;

/// The recordings of the repository: one agent in two languages, and another agent.
fn imported() -> TestEnv {
    let env = TestEnv::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces");
    for name in ["rust-agent", "python-stdlib", "python-openai", "anthropic-messages"] {
        good(&env, &["import", &format!("{folder}/{name}")]);
    }
    env
}

fn good(env: &TestEnv, arguments: &[&str]) -> Ran {
    let ran = env.looptape(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

fn json(env: &TestEnv, a: &str, b: &str, more: &[&str]) -> Value {
    let arguments = [&["diff", a, b, "--json"], more].concat();
    serde_json::from_str(&good(env, &arguments).stdout).unwrap()
}

const ANTHROPIC: &str = "last";
const PYTHON_OPENAI: &str = "last~1";
const PYTHON: &str = "last~2";
const RUST: &str = "last~3";

#[test]
fn the_same_agent_in_two_programs_is_the_same_run() {
    let env = imported();
    let ran = good(&env, &["diff", PYTHON, PYTHON_OPENAI, "--exit-code"]);
    assert!(ran.stdout.starts_with("same run; ") && ran.stdout.contains("steps 1 to 3  same"), "{ran:?}");
    let found = json(&env, PYTHON, PYTHON, &[]);
    assert_eq!((&found["format"], &found["same"], &found["first"]), (&1.into(), &true.into(), &Value::Null));
}

#[test]
fn what_differs_is_told_step_by_step() {
    let env = imported();
    let ran = env.looptape(&["diff", RUST, PYTHON, "--exit-code"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let first = ran.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("first difference at step 1: system prompt, tools offered, tool result"),
        "{first}"
    );
    assert!(ran.stdout.contains("rain, 7 °C, wind 9 m/s → rain, 7 °C"), "{}", ran.stdout);
    assert!(ran.stdout.contains("system prompt, tools offered: as at step 1"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\x1b'));

    let found = json(&env, RUST, PYTHON, &[]);
    assert_eq!((&found["same"], &found["counts"]["changed"]), (&false.into(), &3.into()));
    assert_eq!(found["first"]["a"], 1);
    let differences = found["steps"][1]["differences"].as_array().unwrap();
    let result = differences.iter().find(|d| d["field"] == "tool_results").unwrap();
    assert_eq!(
        (&result["at"], &result["a"], &result["b"], &result["weight"]),
        (&"convert_currency".into(), &"215.00 EUR".into(), &"2500 NOK = 215 EUR".into(), &"counts".into())
    );
    assert_eq!(result["diff"][0]["change"], "removed");

    let narrowed = json(&env, RUST, PYTHON, &["--only", "tool-results", "--steps", "2.."]);
    assert_eq!(narrowed["steps"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&narrowed["counts"]["changed"], &narrowed["only"]["fields"][0]),
        (&1.into(), &"tool_results".into())
    );
    let answers = good(&env, &["diff", RUST, PYTHON, "--only", "answer,tool_calls", "--exit-code"]);
    assert!(answers.stdout.starts_with("no difference in what was compared"), "{}", answers.stdout);
}

#[test]
fn formats_are_compared_by_meaning() {
    let env = imported();
    let ran = good(&env, &["diff", PYTHON_OPENAI, ANTHROPIC]);
    assert!(ran.stdout.contains("openai.chat and anthropic.messages"), "{}", ran.stdout);
    let fields =
        json(&env, PYTHON_OPENAI, ANTHROPIC, &["--only", "answer,tool_calls,tool_results,finish_reason"]);
    assert_eq!(fields["same"], true, "{fields}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let env = imported();
    for (arguments, code, piece) in [
        (vec!["diff", "last"], 1, "was not made from another one"),
        (vec!["diff", "last", "nothing"], 1, "there is no trace `nothing`"),
        (vec!["diff", "last", "last", "--steps", "4"], 2, "there is no step 4"),
        (vec!["diff", "last", "last", "--steps", "5..2"], 2, "3..5"),
        (vec!["diff", "last", "last", "--only", "colour"], 2, "tool_calls"),
    ] {
        let ran = env.looptape(&arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(piece), "{piece}: {ran:?}");
    }
}
