//! `audit`: why a run cost what it cost, end to end; and what prompts consist of, in `show`.
//!
//! The recorded agents are the research example, whose context grows, and one that speaks Anthropic's format,
//! moves its cache marker and tells the time in its system prompt.

#![allow(clippy::unwrap_used)]

use crate::env::{Ran, TestEnv};
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::{SimulatedServer, SimulatedServerHandle};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// Three runs that cut what their tools tell them, and a fourth that keeps all of it.
struct Recorded {
    env: TestEnv,
    ids: Vec<String>,
    _provider: SimulatedServerHandle,
    _runtime: Runtime,
}

fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let (url, provider) = runtime.block_on(SimulatedServer::start(Script::research())).unwrap();
        let env = TestEnv::new();
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/python-stdlib/research.py");
        let upstream = format!("openai={url}");
        let record = |arguments: &[&str]| {
            let agent = agent.to_str().unwrap();
            let all = [
                &["record", "--agent", "research", "--upstream", &upstream, "--", "python3", agent],
                arguments,
            ];
            let ran = env.looptape(&all.concat());
            assert_eq!(ran.code, Some(0), "{ran:?}");
            ran.trace().to_owned()
        };
        let ids = [&["--brief"][..], &["--brief"], &["--brief"], &[]].map(record).to_vec();
        Recorded { env, ids, _provider: provider, _runtime: runtime }
    })
}

fn good(env: &TestEnv, arguments: &[&str]) -> Ran {
    let ran = env.looptape(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

fn json_of(env: &TestEnv, arguments: &[&str]) -> Value {
    let ran = good(env, arguments);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// Money in whole units of 10⁻¹² $.
fn units(usd: &Value) -> i64 {
    (usd.as_f64().unwrap_or_else(|| panic!("no money: {usd}")) * 1e12).round() as i64
}

fn sum(all: &Value, field: &str) -> i64 {
    all.as_array().unwrap().iter().map(|one| units(&one[field])).sum()
}

#[test]
fn a_run_compared_with_the_median_of_its_agent() {
    let Recorded { env, ids, .. } = recorded();
    let audit = json_of(env, &["audit", "last", "--json"]);
    assert_eq!(audit["trace"], json!(ids[3]));
    assert_eq!(
        (&audit["baseline"]["kind"], &audit["baseline"]["runs"]),
        (&json!("cohort_median"), &json!(3))
    );
    let waterfall = &audit["waterfall"];
    assert_eq!(sum(&waterfall["bars"], "usd"), units(&waterfall["delta_usd"]));
    assert_eq!(units(&waterfall["usd"]) - units(&waterfall["baseline_usd"]), units(&waterfall["delta_usd"]));
    let listed = json_of(env, &["ls", "--json"]);
    assert_eq!(units(&waterfall["usd"]), units(&listed[0]["cost_usd"]));
    let context =
        waterfall["bars"].as_array().unwrap().iter().find(|bar| bar["factor"] == "context").unwrap();
    assert!(units(&context["usd"]) * 10 > units(&waterfall["delta_usd"]) * 9, "{waterfall}");

    let parts = ["input_usd", "output_usd", "fees_usd", "other_calls_usd"].map(|part| units(&audit[part]));
    assert_eq!(parts.iter().sum::<i64>(), units(&audit["cost_usd"]));
    let carried = &audit["carried"];
    let input = units(&carried["input_usd"]);
    assert_eq!(input, units(&audit["input_usd"]));
    assert_eq!(sum(&carried["by_section"], "usd") + units(&carried["unread_usd"]), input);
    assert_eq!(sum(&carried["by_tool"], "usd") + units(&carried["no_tool_usd"]), input);
    assert_eq!(sum(&carried["messages"], "usd") + units(&carried["more_messages_usd"]), input);
    assert_eq!(units(&carried["unread_usd"]), 0);
    let most = &carried["messages"][0];
    assert_eq!((&most["tool"], &most["step"], &most["times_sent"]), (&json!("search"), &json!(1), &json!(7)));

    assert_eq!((&audit["repeats"][0]["step"], &audit["repeats"][0]["of"]), (&json!(6), &json!(1)));
    assert_eq!(audit["repeats"][0]["what"]["same_result"], json!(true));
    assert_eq!(audit["retries"]["steps"][0]["attempts"], json!(["429", "200"]));
    let findings = audit["findings"].as_array().unwrap();
    assert!((1..=5).contains(&findings.len()), "{findings:#?}");
    for finding in findings {
        assert!(finding["usd"].is_number() && finding["step"].is_number(), "{finding}");
        assert!(finding["text"].as_str().unwrap().contains('$'), "{finding}");
    }

    let text = good(env, &["audit", &ids[3][..8]]).stdout;
    for piece in [
        "why it cost $",
        "the median of 3 other runs of research",
        "context",
        "this run",
        "by section",
        "40 KB result of search at step 1.1",
        "retries: 1",
        "asked again",
        "with a perfect cache",
        "findings\n1. ",
    ] {
        assert!(text.contains(piece), "{piece}: {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_baseline_by_name_and_by_file() {
    let Recorded { env, ids, .. } = recorded();
    let delta = |baseline: &str| {
        let audit = json_of(env, &["audit", &ids[3], "--baseline", baseline, "--json"]);
        let waterfall = &audit["waterfall"];
        assert_eq!(sum(&waterfall["bars"], "usd"), units(&waterfall["delta_usd"]), "{baseline}");
        (audit["baseline"]["kind"].clone(), units(&waterfall["delta_usd"]), waterfall["bars"].clone())
    };
    let by_name = delta(&ids[0][..8]);
    assert_eq!(by_name.0, "trace");
    let write = |name: &str, text: &str| {
        let path = env.home().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let shown = write("main.json", &good(env, &["show", &ids[0], "--json"]).stdout);
    let by_file = delta(&shown);
    assert_eq!((by_file.0, by_file.1, by_file.2), (json!("file"), by_name.1, by_name.2));
    let stats = write("stats.json", &good(env, &["stats", "--json", &ids[0], &ids[1], &ids[2]]).stdout);
    let of_mean = delta(&stats);
    assert_eq!((of_mean.0, of_mean.1), (json!("file_mean"), by_name.1));

    let alone = json_of(env, &["audit", &ids[3], "--no-baseline", "--json"]);
    assert_eq!(
        (&alone["baseline"], &alone["waterfall"], &alone["notes"]),
        (&Value::Null, &Value::Null, &json!([]))
    );

    let other = write("other.json", "{\"a\": 1}");
    let broken = write("broken.json", "{\"a\": ");
    for (baseline, code, says) in [
        ("absent.json", 2, "there is no file absent.json"),
        (other.as_str(), 1, "neither the JSON of `looptape show"),
        (broken.as_str(), 1, "is not JSON"),
        ("ffffffff", 1, "there is no trace `ffffffff`"),
    ] {
        let ran = env.looptape(&["audit", "last", "--baseline", baseline]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn wrong_command_lines_say_what_to_do() {
    let Recorded { env, .. } = recorded();
    for (arguments, code, says) in [
        (&["audit"][..], 2, "--top"),
        (&["audit", "last", "--top", "3"], 2, "cannot be used with"),
        (&["audit", "last", "--agent", "research"], 2, "filters go with --top"),
        (&["audit", "last", "--at", "gpt-5-nono"], 2, "there is no price for `gpt-5-nono`"),
        (&["audit", "--top", "0"], 2, "0"),
        (&["audit", "nothing-like-it"], 1, "there is no trace"),
    ] {
        let ran = env.looptape(arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(says), "{says}: {ran:?}");
    }
    let priced = json_of(env, &["audit", "last", "--at", "gpt-4.1", "--at", "claude-sonnet-4-5", "--json"]);
    let models: Vec<&Value> =
        priced["what_if"].as_array().unwrap().iter().filter_map(|one| one.get("model")).collect();
    assert_eq!(models, ["gpt-4.1", "claude-sonnet-4-5"]);
}

#[test]
fn runs_are_ranked() {
    let Recorded { env, ids, .. } = recorded();
    let order = |by: &str| {
        let ranked = json_of(env, &["audit", "--top", "20", "--by", by, "--json"]);
        let ids = ranked.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), ranked)
    };
    let (by_cost, ranked) = order("cost");
    assert_eq!((by_cost.len(), &by_cost[0]), (4, &ids[3]));
    assert_eq!((&ranked[0]["cohort"], &ranked[0]["z"]), (&json!(4), &Value::Null));
    assert!(units(&ranked[0]["waste"]["usd"]) >= 0);
    let waste = ["retried_usd", "repeated_usd", "uncached_usd"].map(|part| units(&ranked[0]["waste"][part]));
    assert_eq!(waste.iter().sum::<i64>(), units(&ranked[0]["waste"]["usd"]));
    assert_eq!(order("anomaly").0[0], ids[3]);
    assert_eq!(order("waste").0.len(), 4);
    assert_eq!(json_of(env, &["audit", "--top", "2", "--json"]).as_array().unwrap().len(), 2);
    let text = good(env, &["audit", "--top", "20"]).stdout;
    assert!(text.contains(&ids[3][..8]) && text.contains("ranked by cost"), "{text}");
    let none = good(env, &["audit", "--top", "20", "--agent", "nobody"]);
    assert!(none.stdout.is_empty() && none.stderr.contains("no run passes"), "{none:?}");
}

#[test]
fn show_says_what_prompts_consist_of() {
    let Recorded { env, ids, .. } = recorded();
    let shown = json_of(env, &["show", &ids[3], "--json"]);
    let mut steps = 0;
    for step in shown["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "llm") {
        let composition = &step["composition"];
        let parts = [
            "system",
            "tool_definitions",
            "user",
            "assistant",
            "tool_results",
            "reasoning",
            "held_by_provider",
        ];
        let sum: u64 = parts.iter().map(|part| composition[part].as_u64().unwrap()).sum();
        assert_eq!(Some(sum), step["usage"]["input_total"].as_u64(), "{composition}");
        assert_eq!((&composition["estimated"], &composition["scaled"]), (&json!(true), &json!(true)));
        assert_eq!(composition["tokenizer"], "o200k_base");
        steps += 1;
    }
    assert_eq!(steps, 8);
    let text = good(env, &["show", &ids[3], "--step", "8"]).stdout;
    assert!(
        text.contains("prompt: tool results 39.") && text.contains("estimated by tokenizer o200k_base"),
        "{text}"
    );
    let step = json_of(env, &["show", &ids[3], "--step", "8", "--json"]);
    let whole = shown["steps"].as_array().unwrap().iter().rfind(|step| step["kind"] == "llm").unwrap();
    assert_eq!(step["step"]["composition"], whole["composition"], "read alone or after all others");
}

#[test]
fn what_broke_a_cached_prefix_is_named() {
    let runtime = Runtime::new().unwrap();
    let upstream = runtime.block_on(async {
        let upstream = ScriptedUpstream::start().await.unwrap();
        // Each request writes to the cache what it sends; only the third finds the second's beginning.
        for (read, written) in [(0, 4_000), (4_100, 2_000), (0, 8_300), (8_300, 2_100)] {
            let usage = json!({"input_tokens": 10, "cache_read_input_tokens": read,
                "cache_creation_input_tokens": written, "output_tokens": 30});
            let call = json!({"type": "tool_use", "id": format!("toolu_{read}{written}"), "name": "look", "input": {"at": written}});
            upstream.push(Answer::json(
                json!({"type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
                    "content": [call], "stop_reason": "tool_use", "usage": usage})
                .to_string(),
            ));
        }
        upstream
    });
    let env = TestEnv::new();
    let me = std::env::current_exe().unwrap();
    let to = format!("anthropic={}", upstream.url());
    let child = ["record", "--upstream", &to, "--", me.to_str().unwrap(), "--exact", "audit::clock_agent"];
    good(&env, &child);
    let audit = json_of(&env, &["audit", "last", "--json"]);
    let misses = audit["cache"]["misses"].as_array().unwrap();
    assert_eq!(misses.len(), 1, "{misses:#?}");
    let cause = &misses[0]["cause"];
    assert_eq!((&misses[0]["step"], &cause["why"]), (&json!(3), &json!("prefix_changed")));
    assert_eq!(cause["was"]["section"], "system");
    assert!(units(&misses[0]["usd"]) > 0, "{}", misses[0]);
    let carried = &audit["carried"];
    assert_eq!(
        sum(&carried["messages"], "usd") + units(&carried["more_messages_usd"]),
        units(&audit["input_usd"])
    );
    assert_eq!(audit["tokenizers"], json!(["approximate"]));
    assert!(audit["notes"][0].as_str().unwrap().contains("no other priced run"), "{}", audit["notes"]);
    let text = good(&env, &["audit", "last"]).stdout;
    assert!(text.contains("It is [-nine.-]{+ten.+}"), "{text}");
    assert!(text.contains("The cached prefix broke at step 3, where the system prompt changed"), "{text}");
}

/// The child of `record`: four requests that grow, with a marker that moves and a clock that goes on once.
#[test]
fn clock_agent() {
    let (Ok(base_url), Ok(_)) = (std::env::var("ANTHROPIC_BASE_URL"), std::env::var("LOOPTAPE_TRACE")) else {
        return;
    };
    let rules = "Look at everything twice, and say what you see in plain words. ".repeat(200);
    let mut messages = vec![json!({"role": "user", "content": "What is there?"})];
    Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::new();
        for step in 0..4 {
            let time = if step < 2 { "nine" } else { "ten" };
            let mut marked = messages.clone();
            let last = marked.last_mut().unwrap();
            if let Some(part) = last["content"].as_array_mut().and_then(|parts| parts.last_mut()) {
                part["cache_control"] = json!({"type": "ephemeral"});
            }
            let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 100,
                "system": format!("It is {time}. {rules}"), "messages": marked,
                "tools": [{"name": "look", "description": "Looks at a place.", "input_schema": {"type": "object"}}]});
            let request = client.post(format!("{base_url}/v1/messages")).body(body.to_string());
            let request = request.header("content-type", "application/json");
            let answer: Value = serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
            let seen = format!("At {step} there is a long row of trees. ").repeat(200);
            let id = answer["content"][0]["id"].clone();
            messages.push(json!({"role": "assistant", "content": answer["content"]}));
            messages.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": seen}]}));
        }
    });
}

#[test]
fn a_trace_without_model_calls_has_nothing_to_audit() {
    let env = TestEnv::new();
    good(&env, &["record", "--", "true"]);
    let ran = env.looptape(&["audit", "last"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no model call"), "{ran:?}");
}
