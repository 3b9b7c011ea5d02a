//! What was recorded, read back: `ls`, `show`, `stats`, `verify`, `doctor`, `prune`, as text and as JSON.
//!
//! The recorded agent is this test binary itself, started as `record`'s child with the name of one of the
//! two tests at the end of this file: so no client has to be installed.

#![allow(clippy::unwrap_used)]

use crate::env::{Ran, TestEnv};
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::{SimulatedServer, SimulatedServerHandle};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use tokio::runtime::Runtime;

/// A recording of the example agent: a question, two tools at once, a 429, a third tool, an answer.
pub(crate) struct Recorded {
    pub(crate) env: TestEnv,
    pub(crate) id: String,
    _provider: SimulatedServerHandle,
    _runtime: Runtime,
}

pub(crate) fn recorded() -> Recorded {
    let runtime = Runtime::new().unwrap();
    let (url, provider) = runtime.block_on(SimulatedServer::start(Script::demo())).unwrap();
    let env = TestEnv::new();
    let id = record(&env, &url, "views::agent");
    Recorded { env, id, _provider: provider, _runtime: runtime }
}

/// Records the test named `child`.
fn record(env: &TestEnv, upstream: &str, child: &str) -> String {
    let me = std::env::current_exe().unwrap();
    let upstream = format!("openai={upstream}");
    let labels = ["--agent=traveller", "--agent-version=1.4", "--tag=env=test"];
    let me = me.to_str().unwrap();
    let run = ["--upstream", &upstream, "--", me, "--exact", child];
    let ran = env.looptape(&[&["record"], &labels[..], &run].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("trace: "));
    line.unwrap_or_else(|| panic!("no trace line in {ran:?}")).to_owned()
}

pub(crate) fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

pub(crate) fn good(env: &TestEnv, arguments: &[&str]) -> Ran {
    let ran = env.looptape(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

#[test]
fn ls_lists_and_filters() {
    let Recorded { env, id, .. } = &recorded();
    let rows = json(&good(env, &["ls", "--json"]));
    let row = &rows[0];
    for key in [
        "id",
        "name",
        "agent",
        "started_at",
        "status",
        "outcome",
        "models",
        "steps",
        "llm_calls",
        "tool_calls",
        "attempts",
        "retry_rate",
        "duration_ms",
        "cost_usd",
        "tags",
    ] {
        assert!(keys(row).contains(&key), "{key}: {row}");
    }
    assert_eq!((row["id"].as_str(), row["status"].as_str()), (Some(id.as_str()), Some("complete")));
    assert_eq!((&row["steps"], &row["attempts"], &row["tool_calls"]), (&3.into(), &4.into(), &3.into()));
    let text = good(env, &["ls"]).stdout;
    assert!(text.contains(&id[..8]) && !text.contains(id.as_str()), "{text}");
    assert!(text.contains("traveller") && text.contains('✓') && !text.contains('\x1b'), "{text}");

    let count = |arguments: &[&str]| {
        let all = [&["ls", "--json"], arguments].concat();
        json(&good(env, &all)).as_array().unwrap().len()
    };
    for (passing, failing) in [
        (["--agent", "traveller"], ["--agent", "other"]),
        (["--model", "gpt-4o-mini"], ["--model", "gpt-5"]),
        (["--agent-version", "1.4"], ["--agent-version", "1"]),
        (["--tag", "env=test"], ["--tag", "env=prod"]),
        (["--tag", "env"], ["--tag", "en"]),
        (["--status", "complete"], ["--status", "aborted"]),
        (["--since", "1h"], ["--since", "2999-01-01"]),
    ] {
        assert_eq!((count(&passing), count(&failing)), (1, 0), "{passing:?} {failing:?}");
    }
    assert_eq!(env.looptape(&["ls", "--since", "yesterday"]).code, Some(2));
}

#[test]
fn show_follows_its_contract() {
    let Recorded { env, id, .. } = &recorded();
    let text = good(env, &["show", &id[..6]]).stdout;
    assert!(text.starts_with(&format!("trace {id}\n")), "{text}");
    for piece in ["429", "get_weather", "2.1", "model ", "$0.000", "3 steps", "█"] {
        assert!(text.contains(piece), "{piece}: {text}");
    }
    let shown = json(&good(env, &["show", "last", "--json"]));
    assert_eq!((&shown["format"], &shown["trace"]["id"]), (&1.into(), &id.as_str().into()));
    assert_eq!(
        keys(&shown["trace"]),
        [
            "id",
            "name",
            "agent",
            "agent_version",
            "tags",
            "started_at",
            "status",
            "status_reasons",
            "parent",
            "metrics"
        ]
    );
    let steps = shown["steps"].as_array().unwrap();
    let labels: Vec<String> = steps.iter().map(|s| format!("{}.{}", s["step"], s["sub"])).collect();
    assert_eq!(labels, ["1.null", "1.1", "1.2", "2.null", "2.1", "3.null"]);
    for key in [
        "step",
        "sub",
        "kind",
        "loop",
        "lane",
        "parent_step",
        "provider",
        "wire",
        "endpoint",
        "model",
        "response_model",
        "stream",
        "import_index",
        "started_ms",
        "duration_ms",
        "ttft_ms",
        "tpot_ms",
        "finish_reason",
        "text",
        "tool_calls",
        "usage",
        "cost",
        "tool",
        "attempts",
    ] {
        assert!(steps.iter().all(|step| keys(step).contains(&key)), "{key}");
    }
    assert_eq!(steps[2]["tool"]["result"], "sunny, 24 °C, wind 3 m/s");
    assert_eq!(steps[1]["tool"]["arguments"]["city"], "Oslo");
    assert_eq!(steps[3]["attempts"][0]["status"], 429);
    assert!(steps[0]["usage"]["input_total"].as_u64() > Some(0));
    assert!(steps.iter().all(|step| step.get("messages").is_none()));
    assert_eq!(shown["notes"], serde_json::json!([]));
    let with_messages = json(&good(env, &["show", "last", "--json", "--messages"]));
    let counts: Vec<usize> = with_messages["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["messages"].as_array())
        .map(Vec::len)
        .collect();
    assert_eq!(counts, [2, 5, 7]);
}

#[test]
fn show_step_sets_apart_what_is_new_and_raw_is_exact() {
    let Recorded { env, .. } = &recorded();
    let text = good(env, &["show", "last", "--step", "2"]).stdout;
    let (_, new) = text.split_once("── new since step 1 ──").unwrap_or_else(|| panic!("{text}"));
    assert!(new.contains("sunny, 24 °C") && new.contains("→ convert_currency"), "{new}");
    assert!(!text.contains("Oslo or Lisbon for the weekend?"), "{text}");
    let all = good(env, &["show", "last", "--step", "2", "--messages"]).stdout;
    assert!(all.contains("Oslo or Lisbon for the weekend?"), "{all}");

    let detail = json(&good(env, &["show", "last", "--step", "2", "--json"]));
    assert_eq!(
        keys(&detail),
        ["format", "trace", "steps", "step", "tools", "attempt", "cost_by_leaf", "request", "response"]
    );
    assert_eq!((&detail["attempt"], &detail["request"]["known_messages"]), (&2.into(), &2.into()));
    assert_eq!(detail["request"]["parameters"]["stream"], true);

    let raw = |more: &[&str]| good(env, &[&["show", "last", "--step", "2", "--raw"], more].concat()).stdout;
    let answer = raw(&[]);
    assert!(answer.starts_with("data: {") && answer.ends_with("data: [DONE]\n\n"), "{answer}");
    let request: Value = serde_json::from_str(&raw(&["request"])).unwrap();
    assert_eq!(request["messages"].as_array().unwrap().len(), 5);
    let refused = raw(&["response", "--headers", "--attempt", "1"]);
    assert!(refused.starts_with("HTTP 429\r\n") && refused.contains("\r\nretry-after: "), "{refused}");
    assert!(refused.contains("\r\n\r\n{"), "{refused}");
    assert!(!raw(&["request", "--headers"]).contains("Bearer"));

    for (arguments, code, says) in [
        (&["show", "last", "--step", "9"][..], 1, "no step 9: it has 3 steps"),
        (&["show", "last", "--step", "1", "--attempt", "2"], 1, "it has 1 attempt"),
        (&["show", "last", "--messages"], 2, "--step"),
        (&["show", "last", "--raw"], 2, "--step"),
    ] {
        let ran = env.looptape(arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
}

#[test]
fn an_unknown_trace_names_the_nearest() {
    let Recorded { env, id, .. } = &recorded();
    let wrong = format!("{}zz", &id[..7]);
    let ran = env.looptape(&["show", &wrong]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(id.as_str()) && ran.stderr.contains(&wrong), "{ran:?}");
    assert!(ran.stdout.is_empty());
}

#[test]
fn stats_of_one_and_all() {
    let Recorded { env, id, .. } = &recorded();
    let stats = json(&good(env, &["stats", "--json"]));
    assert_eq!((&stats["traces"], &stats["steps"], &stats["retries"]), (&1.into(), &3.into(), &1.into()));
    assert_eq!(stats["window"]["basis"], "observed");
    assert!(stats["loops_per_min"].as_f64() > Some(0.0));
    assert_eq!(stats["health"]["retry_rate"], "critical");
    assert_eq!(stats["steps_per_loop"]["p50"], serde_json::json!({"value": 3.0, "n": 1, "certified": false}));
    let text = good(env, &["stats", &id[..8]]).stdout;
    assert!(
        text.contains("loops/min") && text.contains("critical") && text.contains("uncertified"),
        "{text}"
    );
    assert_eq!(json(&good(env, &["stats", "--since", "1h", "--json"]))["window"]["basis"], "given");
    assert_eq!(env.looptape(&["stats", "last", "--since", "1h"]).code, Some(2));
}

#[test]
fn verify_finds_damage() {
    let runtime = Runtime::new().unwrap();
    let answer = r#"{"a":"an answer"}"#;
    let upstream = runtime.block_on(async {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(Answer::json(answer));
        upstream
    });
    let env = TestEnv::new();
    record(&env, &upstream.url(), "views::silent_client");
    assert!(good(&env, &["verify"]).stdout.starts_with("intact: 1 trace, 1 call"));
    let report = json(&good(&env, &["verify", "--json"]));
    assert_eq!((&report["ok"], &report["damage"]), (&true.into(), &serde_json::json!([])));

    let mut bytes = std::fs::read(database(&env)).unwrap();
    // Contents are compressed; their digests stand as they are.
    let digest = looptape_core::Digest::of(answer.as_bytes()).0;
    let at = bytes.windows(digest.len()).position(|w| w == digest).unwrap();
    bytes[at] ^= 1;
    std::fs::write(database(&env), bytes).unwrap();
    let ran = env.looptape(&["verify", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let kinds: Vec<Value> =
        json(&ran)["damage"].as_array().unwrap().iter().map(|damage| damage["kind"].clone()).collect();
    assert!(kinds.contains(&"blob".into()) && kinds.contains(&"exchange".into()), "{ran:?}");
    let ran = env.looptape(&["verify", "last"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("DAMAGED") && ran.stdout.contains("response body"), "{ran:?}");
    // A damaged call does not keep the rest of the trace from being shown.
    assert!(good(&env, &["show", "last"]).stdout.contains("trace "));
}

fn database(env: &TestEnv) -> std::path::PathBuf {
    let found = json(&env.looptape(&["doctor", "--json"]));
    let says = found["findings"].as_array().unwrap().iter().find(|f| f["check"] == "database").unwrap();
    says["says"].as_str().unwrap().split(" (").next().unwrap().into()
}

#[test]
fn prune_needs_a_limit_foresees_and_deletes() {
    // Of a few short calls no page of the file is left over when they go.
    let noise: String =
        (1..20_000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let runtime = Runtime::new().unwrap();
    let upstream = runtime.block_on(async {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(Answer::json(format!("{{\"a\":\"{noise}\"}}")));
        upstream
    });
    let env = &TestEnv::new();
    let id = record(env, &upstream.url(), "views::silent_client");
    let ran = env.looptape(&["prune"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--older-than") && ran.stderr.contains("max_age"), "{ran:?}");
    assert!(good(env, &["prune", "--older-than", "1d"]).stdout.starts_with("nothing to delete"));
    let foreseen = json(&good(env, &["prune", "--max-size", "1kB", "--dry-run", "--json"]));
    assert_eq!((&foreseen["dry_run"], &foreseen["traces"]), (&true.into(), &serde_json::json!([id])));
    assert_eq!(json(&good(env, &["ls", "--json"])).as_array().unwrap().len(), 1);
    let pruned = json(&good(env, &["prune", "--max-size", "1kB", "--json"]));
    assert_eq!(pruned["traces"], serde_json::json!([id]));
    assert!(pruned["bytes_freed"].as_u64() > Some(0), "{pruned}");
    let empty = good(env, &["ls"]);
    assert!(empty.stdout.is_empty() && empty.stderr.contains("looptape record"), "{empty:?}");
    assert_eq!(good(env, &["ls", "--json"]).stdout.trim(), "[]");
}

#[test]
fn doctor_names_problems_and_what_to_do() {
    let Recorded { env, .. } = &recorded();
    let report = json(&good(env, &["doctor", "--json"]));
    assert_eq!(report["ok"], true);
    let checks: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|f| f["check"].as_str()).collect();
    for check in [
        "database",
        "permissions",
        "schema",
        "integrity",
        "disk",
        "recordings",
        "base URL",
        "upstreams",
        "keys",
    ] {
        assert!(checks.contains(&check), "{check}: {checks:?}");
    }
    let file = database(env);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ran = env.looptape(&["doctor"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("problem permissions") && ran.stdout.contains("chmod 600"), "{ran:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "this is no database, it only looks like a file of some length").unwrap();
    let ran = env.looptape(&["doctor"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("problem database"), "{ran:?}");
}

#[test]
fn usage_that_nobody_asked_for_is_said_to_be_missing() {
    let runtime = Runtime::new().unwrap();
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let pieces = [
        chunk("{\"role\":\"assistant\",\"content\":\"Hello\"}", "null"),
        chunk("{}", "\"stop\""),
        "data: [DONE]\n\n".to_owned(),
    ];
    let upstream = runtime.block_on(async {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(Answer::event_stream(pieces));
        upstream
    });
    let env = TestEnv::new();
    record(&env, &upstream.url(), "views::silent_client");
    let text = good(&env, &["show", "last"]).stdout;
    assert!(
        text.contains("! step 1: tokens and cost are unknown") && text.contains("include_usage"),
        "{text}"
    );
    let note = &json(&good(&env, &["show", "last", "--json"]))["notes"][0];
    assert_eq!(
        (note["kind"].as_str(), &note["steps"]),
        (Some("usage_not_asked_for"), &serde_json::json!([1]))
    );
    assert!(good(&env, &["doctor"]).stdout.contains("warning usage"));
}

#[test]
fn nothing_recorded_yet() {
    let env = TestEnv::new();
    for verb in ["ls", "show", "stats", "verify"] {
        let arguments: &[&str] = if verb == "show" { &["show", "last"] } else { &[verb] };
        let ran = env.looptape(arguments);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("looptape record"), "{ran:?}");
    }
    assert_eq!(env.looptape(&["doctor"]).code, Some(0));
}

/// The child of `record`; otherwise it has nothing to do.
#[test]
fn agent() {
    let (Ok(base_url), Ok(_)) = (std::env::var("OPENAI_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    let mut out = std::io::sink();
    Runtime::new().unwrap().block_on(looptape_example_agent::run(&base_url, "sk-test", &mut out)).unwrap();
}

/// The child of `record`: one streamed call that does not ask for usage.
#[test]
fn silent_client() {
    let (Ok(base_url), Ok(_)) = (std::env::var("OPENAI_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    let body =
        "{\"model\":\"gpt-4o-mini\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    Runtime::new().unwrap().block_on(async {
        let request = reqwest::Client::new().post(format!("{base_url}/chat/completions"));
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.unwrap().bytes().await.unwrap();
    });
}
