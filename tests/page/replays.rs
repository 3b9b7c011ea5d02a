//! Replays that the page starts: to their end, and to the end of the page.

use super::{Looking, ServedPage, numbers::two_recordings};
use crate::env::TestEnv;
use crate::gateway::process::eventually;
use crate::mock::Mock;
use crate::views::{good, json};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[test]
fn one_is_started_watched_and_compared_in_a_browser() {
    let env = TestEnv::new();
    let [trace, _] = two_recordings(&env);
    let page = ServedPage::of(&env, &env.database());
    let Some(looking) = Looking::at(&page.address, "replay.mjs", &[page.token(), &trace]) else { return };
    looking.ends_well();
    let replays = listed(&env);
    let ended: Vec<&Value> = replays.iter().map(|replay| &replay["status"]).collect();
    assert_eq!(ended, ["aborted", "complete"], "each replay is a trace of its own: {replays:?}");
    let stopped = json(&good(&env, &["show", replays[0]["id"].as_str().unwrap(), "--json"]));
    let reasons = stopped["trace"]["status_reasons"].to_string();
    assert!(reasons.contains("stopped from the page"), "{reasons}");
}

/// The provider is the simulated one: it is asked as a real one would be, and what it would have cost is counted.
#[test]
fn a_live_one_with_a_budget_goes_to_its_end_in_a_browser() {
    let mut env = TestEnv::new();
    let [trace, _] = two_recordings(&env);
    let upstream = Mock::start(&env, &[]);
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url));
    env.set("OPENAI_API_KEY", "sk-none-0123456789abcdefghij");
    let page = ServedPage::of(&env, &env.database());
    let Some(looking) = Looking::at(&page.address, "live_replay.mjs", &[page.token(), &trace]) else {
        return;
    };
    looking.ends_well();
    let asked = upstream.stop();
    let replays = listed(&env);
    let [refused, whole] = &replays[..] else { panic!("the newest first: {replays:?}") };
    assert_eq!(refused["cost_usd"], 0.0, "{refused}");
    assert_eq!(
        (&whole["status"], &whole["llm_calls"]),
        (&"complete".into(), &asked["calls"]),
        "each step once: {asked}"
    );
    assert!(whole["cost_usd"].as_f64() > Some(0.0), "what it would have cost is counted: {whole}");
}

#[tokio::test]
async fn those_that_run_when_the_page_ends_say_so() {
    for (signal, because) in
        [(Signal::TERM, "stopped because the page that started it was ended"), (Signal::INT, "stopped")]
    {
        let env = TestEnv::new();
        let [trace, _] = two_recordings(&env);
        let mut page = ServedPage::of(&env, &env.database());
        // At a thousandth of the recorded pace it does not end by itself while this looks.
        let wanted = format!(r#"{{"trace":"{trace}","source":"cached","speed":0.001}}"#);
        let started = super::api::post(&page, "/replays", &wanted).await;
        let id = started["id"].as_u64().expect("it has a number");
        let records = async || super::api::json(&page, &format!("/replays/{id}")).await["records"].clone();
        let replay = loop {
            if let Value::String(replay) = records().await {
                break replay;
            }
        };
        let pid = Pid::from_raw(i32::try_from(page.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = eventually("the page ends", || page.process.try_wait().unwrap()).await;
        assert!(ended.success(), "{signal:?}: {ended}");
        let shown = json(&good(&env, &["show", &replay, "--json"]));
        let reasons = shown["trace"]["status_reasons"].to_string();
        assert!(reasons.contains(because), "{signal:?}: {} {reasons}", shown["trace"]["status"]);
        assert!(!reasons.contains("recorder"), "it has an end of its own: {reasons}");
    }
}

/// What replays left.
fn listed(env: &TestEnv) -> Vec<Value> {
    let all = |arguments: &[&str]| json(&good(env, arguments)).as_array().expect("a list").clone();
    let recordings = all(&["ls", "--json"]);
    all(&["ls", "--replays", "--json"]).into_iter().filter(|trace| !recordings.contains(trace)).collect()
}
