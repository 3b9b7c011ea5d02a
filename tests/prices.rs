//! `looptape prices`, and `[[prices]]` of looptape.toml wherever costs are shown.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// Two models, of which the price list knows one; a million tokens in.
async fn recorded() -> TestEnv {
    let answer = |body: &[u8]| {
        let asked: Value = serde_json::from_slice(body).unwrap();
        json!({"model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}})
        .to_string()
    };
    let upstream =
        ScriptedUpstream::answering(move |request| Answer::json(answer(&request.body))).await.unwrap();
    let env = TestEnv::new();
    let agent = r#"
import json, os, urllib.request
for model in ["gpt-4o-mini", "acme-large"]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": model}]}).encode()
    urllib.request.urlopen(urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body,
        {"content-type": "application/json"})).read()
"#;
    let to = format!("openai={}/v1", upstream.url());
    let mut command = env.command(&["record", "--upstream", &to, "--", "python3", "-c", agent]);
    let ran = tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    env
}

fn configure(env: &TestEnv, prices: &str) {
    std::fs::write(env.home().join("project").join("looptape.toml"), prices).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_without_a_price_are_listed_until_one_is_stated() {
    let mut env = recorded().await;
    env.work_in("project");
    let ran = env.looptape(&["prices"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(ran.stdout, @r"
    model        provider  calls  tokens in  out   $/M in  $/M out
    acme-large   openai        1       1.0M    0  unknown  unknown
    gpt-4o-mini  openai        1       1.0M    0     0.15      0.6

    without a price, so what they cost is unknown:
      acme-large at openai: the price list does not have this model

    prices: genai-prices 0.2.1; `looptape prices MODEL` shows all of one
    ");
    let listed = json(&env.looptape(&["ls", "--json"]));
    assert_eq!((&listed[0]["cost_usd"], &listed[0]["cost_at_least"]), (&json!(0.15), &json!(true)));

    configure(&env, "[[prices]]\nmodel = \"acme-*\"\nfrom = 2020-01-01\ninput = 2.0\noutput = 4.0\n");
    let models = json(&env.looptape(&["prices", "--json"]));
    let acme = &models["models"].as_array().unwrap().iter().find(|m| m["model"] == "acme-large").unwrap();
    assert_eq!(acme["tiers"][0]["by_input"][0]["usd_per_million"]["cache_read"], 2.0);
    assert_eq!((&acme["calls"], &acme["unpriced"]), (&json!(1), &Value::Null));
    assert!(models["price_book"].as_str().unwrap().contains("looptape.toml "), "{models}");
    // The recording is a minute old, and its cost is that of today's file.
    let listed = json(&env.looptape(&["ls", "--json"]));
    assert_eq!((&listed[0]["cost_usd"], &listed[0]["cost_at_least"]), (&json!(2.15), &json!(false)));
    let shown = json(&env.looptape(&["show", "last", "--json"]));
    let cost = &shown["steps"][1]["cost"];
    assert_eq!(
        (&cost["usd"], &cost["price_source"]),
        (&json!(2.0), &json!("looptape.toml [[prices]] 1 (*/acme-*)"))
    );
    assert!(cost["price_version"].as_str().unwrap().contains(" + looptape.toml "), "{cost}");
    assert_eq!(json(&env.looptape(&["stats", "--json"]))["cost_usd"], 2.15);
}

#[test]
fn one_model_with_its_tiers_and_sources() {
    let mut env = TestEnv::new();
    env.work_in("project");
    configure(
        &env,
        "[[prices]]\nmodel = \"gpt-5*\"\nprovider = \"openai\"\nfactor = 0.5\nuntil = \"2026-11-15\"\n",
    );
    let at = ["--provider", "openai", "--at"];
    let ran = env.looptape(&[&["prices", "gpt-5.4"], &at[..], &["2026-11-20"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(ran.stdout, @r"
    gpt-5.4 at openai
    US dollars per million tokens

    tier      input tokens  input  cache read  write 5 min  write 1 h  output  reasoning
    standard  up to 272000    2.5        0.25          2.5        2.5      15         15
    standard  above 272000      5         0.5            5          5    22.5       22.5
    batch     up to 272000   1.25        0.13         1.25       1.25     7.5        7.5
    batch     above 272000    2.5        0.25          2.5        2.5   11.25      11.25
    fast      any               5         0.5            5          5      30         30
    flex      up to 272000   1.25        0.13         1.25       1.25     7.5        7.5
    flex      above 272000    2.5        0.25          2.5        2.5   11.25      11.25
    priority  any               5         0.5            5          5      30         30

    $0.01 a web search of the provider's
    a call with more input than a threshold is priced by that line as a whole
    source: genai-prices (openai/gpt-5.4); genai-prices 0.2.1
    ");
    let ran = env.looptape(&[&["prices", "gpt-5.4", "--json"], &at[..], &["2026-11-14T23:00:00Z"]].concat());
    let quote = json(&ran);
    assert_eq!(quote["tiers"][0]["by_input"][1]["usd_per_million"]["uncached_input"], 2.5, "half of 5");
    assert_eq!(
        quote["tiers"][0]["source"],
        "looptape.toml [[prices]] 1 (openai/gpt-5*): 0.5 x genai-prices (openai/gpt-5.4)"
    );
}

#[test]
fn what_has_no_price_says_so_and_what_to_do() {
    let mut env = TestEnv::new();
    env.work_in("project");
    let ran = env.looptape(&["prices", "gpt-4o-minni", "--provider", "openai"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    insta::assert_snapshot!(ran.stdout, @r#"
    gpt-4o-minni at openai
    no price is known: the price list does not have this model
    nearest: gpt-4o-mini, gpt-4o-mini-tts, gpt-4o-mini-transcribe
    state one in looptape.toml:
      [[prices]]
      model = "gpt-4o-minni"
      input = 1.00    # US dollars per million tokens
      output = 4.00
    "#);
    let several = env.looptape(&["prices", "gpt-oss-120b"]);
    assert!(several.code == Some(1) && several.stdout.contains("--provider"), "{several:?}");
    let cases = [
        ("[[prices]]\nmodel = \"x\"\ninputt = 1\n", "line 3"),
        ("[[prices]]\nmodel = \"x\"\n", "[[prices]] 1 (*/x): it states no price"),
        ("[[prices]]\nmodel = \"x\"\ninput = -1\n", "a price is a number from 0"),
        ("[[prices]]\nmodel = \"x\"\ninput = 1\nfrom = \"soon\"\n", "write a date"),
    ];
    for (prices, said) in cases {
        configure(&env, prices);
        let ran = env.looptape(&["prices", "gpt-4o"]);
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{prices}: {ran:?}");
    }
    configure(&env, "");
    for (arguments, code) in [
        (&["prices", "gpt-4o", "--at", "tomorrow"][..], 2),
        (&["prices", "--provider", "openai"], 2),
        (&["prices", ""], 2),
        (&["prices"], 1),
    ] {
        assert_eq!(env.looptape(arguments).code, Some(code), "{arguments:?}");
    }
}
