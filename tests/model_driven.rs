//! Recorded requests and loops sent to a model: its answers compared, loops that it drives, several models in a
//! table.

use crate::env::{Ran, TestEnv};
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::{SimulatedServer, SimulatedServerHandle};
use serde_json::{Value, json};

/// A recording of `python-openai` (two turns with tools, one 429), and a provider for it.
async fn recorded(script: Script) -> (TestEnv, SimulatedServerHandle) {
    let (url, provider) = SimulatedServer::start(script).await.unwrap();
    let mut env = TestEnv::new();
    env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
    env.set("OPENAI_BASE_URL", &format!("{url}/v1"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/python-openai");
    assert_eq!(env.looptape(&["import", file]).code, Some(0));
    (env, provider)
}

/// Runs without blocking the runtime that serves the provider.
async fn replay(env: &TestEnv, options: &[&str]) -> Ran {
    let live = ["replay", "last", "--source", "live", "--max-usd", "1"];
    let arguments: Vec<&str> = live.iter().chain(options).copied().collect();
    let mut command = env.command(&arguments);
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The recorded conversation, but for the city that is asked for first.
fn other_city(city: &str) -> Script {
    let mut script = Script::tool_loop();
    script.turns[0].calls[0].arguments = json!({ "city": city });
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_says_the_same_is_as_recorded() {
    let (env, _provider) = recorded(Script::tool_loop()).await;
    let ran = replay(&env, &["--strict", "--json"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = json_of(&ran);
    // Each step once: the recorded 429 is no reason to pay for its retry.
    let counts = ["calls", "same", "identical", "not_sent"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [3, 3, 0, 1], "{report}");
    assert_eq!(report["classes"], json!({"same_text": 1, "same_tool_calls": 2}));
    assert!(report["spent_usd"].as_f64().unwrap() > 0.0 && report["exactness"] == "meaning", "{report}");
    let child = report["runs"][0]["child"].as_str().unwrap();
    let shown = json_of(&env.looptape(&["show", child, "--json"]));
    assert_eq!(shown["trace"]["parent"]["why"], "live replay, the recorded requests");
    assert!(
        shown["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["kind"] == "llm")
            .all(|s| s["source"] == "live")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_answers_are_findings_unless_they_are_forbidden() {
    let (env, _provider) = recorded(other_city("Bergen")).await;
    let ran = replay(&env, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = "step 1: other arguments; get_weather at /city: [-Oslo-]{+Bergen+}";
    assert!(ran.stdout.contains(line), "{ran:?}");
    assert_eq!(replay(&env, &["--strict"]).await.code, Some(3));

    // Let the model drive, and it asks for what nobody recorded.
    let ran = replay(&env, &["--free-run", "--json"]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let inner = &json_of(&ran)["free_loops"][0];
    let call = &inner["calls"][0];
    assert_eq!((&inner["ending"], &call["tool"]), (&"diverged".into(), &"get_weather".into()));
    assert_eq!((&call["nearest"]["step"], &inner["left"]["step"]), (&1.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_drives_with_the_recorded_tools() {
    let mut script = Script::tool_loop();
    script.turns[0].text = "First the weather.".to_owned();
    let (env, _provider) = recorded(script).await;
    let ran = replay(&env, &["--free-run", "--json"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let inner = &json_of(&ran)["free_loops"][0];
    assert_eq!((&inner["ending"], &inner["left"]["step"]), (&"finished".into(), &1.into()));
    assert_eq!((&inner["steps"], &inner["tool_calls"]), (&3.into(), &3.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_used_is_a_failure() {
    let (env, provider) = recorded(Script::tool_loop()).await;
    drop(provider);
    let ran = replay(&env, &["--json"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(json_of(&ran)["classes"], json!({"error": 3}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_models_make_one_table() {
    let (env, _provider) = recorded(Script::tool_loop()).await;
    let verify = r#"test "$LOOPTAPE_MODEL" = gpt-4o-mini || exit 1; "$LOOPTAPE" show "$LOOPTAPE_TRACE" >/dev/null && echo 0.5"#;
    let verify = verify.replace("$LOOPTAPE\"", &format!("{}\"", env!("CARGO_BIN_EXE_looptape")));
    let models = ["--models", "gpt-4o-mini,gpt-4o", "--free-run", "--verify", &verify];
    let ran = replay(&env, &[&models[..], &["--json"]].concat()).await;
    // Somebody says that one of them is wrong.
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let table = json_of(&ran);
    let rows = table["models"].as_array().unwrap();
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<Value>>();
    assert_eq!(column("model"), ["gpt-4o-mini", "gpt-4o"]);
    assert_eq!(column("verdict"), ["pass", "fail"]);
    assert_eq!((column("score"), column("steps")), (vec![json!(0.5), Value::Null], vec![json!(3), json!(3)]));
    let cost = column("cost_usd");
    assert!(cost[0].as_f64().unwrap() > 0.0 && cost[1].as_f64() > cost[0].as_f64(), "{table}");
    for (row, model) in rows.iter().zip(["gpt-4o-mini", "gpt-4o"]) {
        let shown = json_of(&env.looptape(&["show", row["trace"].as_str().unwrap(), "--json"]));
        let asked = shown["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "llm");
        assert!(
            asked.clone().count() == 3 && asked.clone().all(|step| step["response_model"] == model),
            "{shown}"
        );
    }
    let ran = replay(&env, &models[..3]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("model        verdict  ended        steps"), "{ran:?}");

    for (options, said) in [
        (&["--models", "gpt-4o"][..], "needs somebody to drive"),
        (&["--models", "gpt-4o", "--model", "gpt-4o", "--free-run"], "cannot be used with"),
        // Before the first one costs anything.
        (&["--models", "gpt-4o-mini,gpt-4o-minni", "--free-run"], "no price is known for `gpt-4o-minni`"),
    ] {
        let ran = replay(&env, options).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
    let cached = env.looptape(&["replay", "last", "--models", "a,b", "--free-run"]);
    assert!(cached.code == Some(2) && cached.stderr.contains("--source live"), "{cached:?}");
}
