//! `stats` as its users call it: groups, segments, wrong words, and labels that come from the environment.

use crate::env::{Ran, TestEnv};
use crate::views::{Recorded, good, json, recorded};
use serde_json::Value;

fn keys(groups: &Value) -> Vec<&str> {
    groups.as_array().unwrap().iter().map(|group| group["key"].as_str().unwrap()).collect()
}

fn with(env: &TestEnv, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    Ran::from(env.command(arguments).envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn groups_and_segments_add_up() {
    let Recorded { env, .. } = &recorded();
    let whole = json(&good(env, &["stats", "--json"]));
    assert_eq!(whole["segments"]["by_model"][0]["key"], "gpt-4o-mini");
    assert_eq!(whole["segments"]["by_model"][0]["cost_usd"], whole["cost_usd"]);
    assert_eq!((&whole["spent_usd"], &whole["recorded_usd"]), (&whole["cost_usd"], &whole["cost_usd"]));
    assert!(whole["icl_ms"]["n"].as_u64() > Some(0) && whole["ttft_ms"]["n"] == 3, "{whole}");
    assert!(whole["context_used_peak"].as_f64() > Some(0.0));
    assert_eq!(whole["concurrency"]["loops_peak"], 1);
    assert_eq!(
        (&whole["warm_cold"]["cold"]["calls"], &whole["warm_cold"]["warm"]["calls"]),
        (&1.into(), &3.into())
    );
    for (by, key) in [
        ("agent", "traveller"),
        ("version", "1.4"),
        ("tag", "env=test"),
        ("tag:env", "test"),
        ("phase", "(none)"),
        ("model", "gpt-4o-mini"),
        ("stream", "streamed"),
        ("input", "below 1K"),
        ("output", "below 1K"),
    ] {
        let grouped = json(&good(env, &["stats", "--json", "--group-by", by]));
        assert_eq!((grouped["group_by"].as_str(), keys(&grouped["groups"])), (Some(by), vec![key]));
        assert_eq!(grouped["groups"][0]["steps"], whole["steps"], "{by}");
        assert_eq!(grouped["groups"][0]["tokens"], whole["tokens"], "{by}");
        let text = good(env, &["stats", "--group-by", by]).stdout;
        assert!(text.contains(key) && text.contains("!! critical"), "{by}: {text}");
    }
    let tools = json(&good(env, &["stats", "--json", "--group-by", "tool"]));
    assert_eq!(keys(&tools["groups"]), ["convert_currency", "get_weather"]);
    assert_eq!(tools["groups"][1]["answered"], 2);
    let day = json(&good(env, &["stats", "--json", "--group-by", "day"]));
    assert_eq!(keys(&day["groups"])[0].len(), "2026-11-01".len());
}

#[test]
fn one_trace_shows_what_many_are_made_of() {
    let Recorded { env, id, .. } = &recorded();
    let shown = json(&good(env, &["show", id, "--json"]));
    let metrics = &shown["trace"]["metrics"];
    let step = &metrics["by_step"][0];
    assert_eq!((&step["model"], &step["input_limit"]), (&"gpt-4o-mini".into(), &128_000.into()));
    assert!(step["context_used"].as_f64() > Some(0.0) && step["icl_ms"]["n"].as_u64() > Some(0), "{step}");
    assert_eq!((&metrics["trims"], &step["trimmed"]), (&0.into(), &false.into()));
    assert_eq!((&metrics["spent_usd"], &metrics["list_usd"]), (&metrics["cost_usd"], &metrics["cost_usd"]));
    // A replay from the recording spends nothing, and says what the recording had cost.
    good(env, &["replay", id]);
    let replayed = json(&good(env, &["show", "last-replay", "--json"]));
    let replayed = &replayed["trace"]["metrics"];
    assert_eq!((&replayed["spent_usd"], &replayed["recorded_usd"]), (&0.0.into(), &metrics["cost_usd"]));
}

#[test]
fn labels_come_from_the_environment_too() {
    let Recorded { env, id, .. } = &recorded();
    let said = [
        ("LOOPTAPE_AGENT", "from-env"),
        ("LOOPTAPE_AGENT_VERSION", "7"),
        ("LOOPTAPE_TAGS", "env=prod,team=a"),
    ];
    let replayed = with(env, &said, &["replay", id, "--tag", "env=ci"]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let rows = json(&good(env, &["ls", "--replays", "--agent", "from-env", "--tag", "env=ci", "--json"]));
    assert_eq!(
        (&rows[0]["agent_version"], &rows[0]["tags"]),
        (&"7".into(), &serde_json::json!(["env=ci", "team=a"]))
    );
    let wrong = with(env, &[("LOOPTAPE_TAGS", "=x")], &["replay", id]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("LOOPTAPE_TAGS") && wrong.stderr.contains("KEY=VALUE"), "{wrong:?}");
}

#[test]
fn wrong_words_are_named() {
    let env = TestEnv::new();
    for (arguments, words) in [
        (&["stats", "--group-by", "colour"][..], ["colour", "model, agent"]),
        (&["stats", "--tag", "=x"], ["--tag", "KEY=VALUE"]),
        (&["stats", "--idle", "soon"], ["soon", "30d"]),
        (&["record", "--tag", "a\nb", "--", "true"], ["--tag", "control character"]),
        (&["record", "--agent", "", "--", "true"], ["--agent", "empty"]),
    ] {
        let ran = env.looptape(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {ran:?}");
    }
    let nothing = env.looptape(&["stats"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("looptape record"), "{nothing:?}");
    let Recorded { env, .. } = &recorded();
    let none = json(&good(env, &["stats", "--agent", "nobody", "--json"]));
    assert_eq!(
        (&none["traces"], &none["loops_per_min"], &none["cost_usd"]),
        (&0.into(), &Value::Null, &Value::Null)
    );
    assert!(
        good(env, &["stats", "--agent", "nobody", "--group-by", "tool"])
            .stdout
            .contains("nothing to group by")
    );
}
