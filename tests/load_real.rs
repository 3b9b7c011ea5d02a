//! `load` in real time: against a twin of its own, against a URL, and where that goes wrong.

use crate::env::{Ran, TestEnv};
use crate::views::{Recorded, good, json, recorded};
use looptape_store::{Reader, Selector};
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::upstream::ScriptedUpstream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::Stdio;

/// Two loops of two steps, at once; the twin answers at once too.
const QUICK: &str = "\
name = 'quick'
[traffic]
steps = 2
system_tokens = 200
input_tokens = 100
added_tokens = 100
output_tokens = 10
tool_ms = 1
[[phase]]
name = 'all'
executor = 'per-vu-iterations'
vus = 2
iterations = 3
[twin]
ttft_ms = 1
tpot_ms = 0
";

fn load(env: &TestEnv, arguments: &[&str]) -> Ran {
    let all: Vec<&str> = ["load"].iter().chain(arguments).copied().collect();
    env.looptape(&all)
}

/// What was kept of a run is what was reported.
pub(crate) fn agree(stats: &Value, total: &Value) {
    for key in [
        "steps",
        "attempts",
        "retries",
        "retry_rate",
        "tool_calls",
        "other_calls",
        "trims",
        "failed_attempts",
        "error_rate",
        "cost_usd",
        "cost_at_least",
        "cost_by_leaf",
        "cost_unknown",
        "retry_wasted_usd",
        "amplification",
        "steps_per_loop",
        "loops_per_usd",
    ] {
        assert_eq!(stats[key], total[key], "{key}");
    }
    for key in ["step_latency_ms", "latency_ms", "ttft_ms", "ttfo_ms", "tpot_ms"] {
        let [kept, reported] = [stats, total].map(|figures| figures[key]["p50"]["value"].as_f64());
        // Each µs is rounded where it is written down.
        let apart = kept.zip(reported).map_or(0.0, |(kept, reported)| (kept - reported).abs());
        assert!(kept.is_some() == reported.is_some() && apart < 0.1, "{key}: {kept:?} {reported:?}");
    }
}

/// The run's name, from its line on stderr.
fn run_of(ran: &Ran) -> &str {
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("run: "));
    line.and_then(|line| line.split_whitespace().next()).unwrap_or_else(|| panic!("no run line in {ran:#?}"))
}

#[test]
fn loops_run_against_a_twin_and_are_kept() {
    for wire in ["openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"] {
        for stream in ["true", "false"] {
            let env = &TestEnv::new();
            let path = env.scenario(QUICK);
            let set = [format!("traffic.wire={wire}"), format!("traffic.stream={stream}")];
            let ran = good(env, &["load", &path, "--json", "--set", &set[0], "--set", &set[1]]);
            let report = json(&ran);
            assert_eq!((&report["time"], &report["ended"]["why"]), (&"real".into(), &"completed".into()));
            let loops = &report["total"]["loops"];
            assert_eq!(
                ["offered", "started", "success", "failure", "dropped"].map(|key| loops[key].as_u64()),
                [6, 6, 6, 0, 0].map(Some),
                "{wire}, stream {stream}: {loops}"
            );
            assert!(report["client"]["schedule_lag_ms"]["n"].as_u64() > Some(0), "{}", report["client"]);
            assert!(report["total"]["cost_usd"] != 0, "{}", report["total"]);

            let tag = format!("load={}", run_of(&ran));
            let stats = json(&good(env, &["stats", "--json", "--tag", &tag]));
            let kept = |key: &str| (stats["traces"].as_u64(), stats[key].as_u64());
            assert_eq!(kept("steps"), (Some(6), Some(12)), "{wire}, stream {stream}: {stats:#}");
            agree(&stats, &report["total"]);
            // From when each was due to when it ended.
            let took = &report["total"]["loop_duration_ms"];
            let reported_ms = took["mean"].as_f64().unwrap() * took["n"].as_f64().unwrap();
            let kept_ms = stats["time"]["duration_ms"].as_f64().unwrap();
            assert!((kept_ms - reported_ms).abs() < 1.0, "{kept_ms} {reported_ms}");
            let planned =
                json(&good(env, &["load", &path, "--virtual", "--json", "--set", &set[0], "--set", &set[1]]));
            assert_eq!((&stats["tool_calls"], &planned["total"]["tool_calls"]), (&6.into(), &6.into()));
            let of_run = json(&good(env, &["ls", "--json", "--tag", &tag]));
            assert_eq!(of_run.as_array().map(Vec::len), Some(6));
            assert!(of_run.as_array().unwrap().iter().all(|row| row["status"] == "complete"), "{of_run:#}");
            let without = json(&good(env, &["ls", "--json"]));
            assert_eq!(
                without.as_array().map(Vec::len),
                Some(0),
                "a run's loops are listed by their tag only"
            );
        }
    }
}

/// What broke off may have been billed: nobody knows how much, in the run as in its traces.
#[test]
fn what_broke_off_is_not_known_to_have_cost_anything() {
    let env = &TestEnv::new();
    let path = env.scenario(&format!("{QUICK}faults = ['cut after 3 tokens at 40 %', '529 at 20 %']\n"));
    let ran = good(env, &["load", &path, "--json"]);
    let total = &json(&ran)["total"];
    assert!(total["errors"]["cut"].as_u64() > Some(0), "{}", total["errors"]);
    assert_eq!((&total["cost_at_least"], &total["wasted"]["at_least"]), (&true.into(), &true.into()));
    let tag = format!("load={}", run_of(&ran));
    agree(&json(&good(env, &["stats", "--json", "--tag", &tag])), total);
}

/// The twin's limits are met, and the scenario's client backs off; gates judge the same figures as in virtual time.
#[test]
fn refused_calls_are_tried_again_and_gates_judge() {
    let env = &TestEnv::new();
    let path =
        env.scenario(&format!("{QUICK}faults = ['fail first 1 with 500']\n[retry]\nfirst_wait = '1ms'\n"));
    let ran = load(env, &[&path, "--no-record", "--json", "--gate", "retry_rate: value==0"]);
    assert_eq!(ran.code, Some(99), "{}", ran.stderr);
    let report = json(&ran);
    assert_eq!(report["total"]["loops"]["success"], 6, "{}", report["total"]["loops"]);
    assert_eq!((&report["total"]["steps"], &report["total"]["retries"]), (&12.into(), &12.into()));
    assert!(!ran.stderr.contains("run: "), "nothing was to be kept");
    assert!(!env.database().exists());
}

#[test]
fn a_target_that_is_down_ends_the_run() {
    let env = &TestEnv::new();
    let path = env.scenario(&format!("{QUICK}[retry]\nfirst_wait = '1ms'\nlongest_wait = '1ms'\n"));
    // A port that is taken by somebody who does not listen.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", taken.local_addr().unwrap().port());
    let ran = load(env, &[&path, "--url", &url, "--set", "phase.all.iterations=100"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("50 calls in a row had no answer"), "{}", ran.stdout);
}

#[test]
fn what_may_cost_money_needs_a_budget() {
    let env = &TestEnv::new();
    let path = env.scenario(QUICK);
    let ran = load(env, &[&path, "--url", "https://api.openai.com/v1"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("budget.max_usd"), "{}", ran.stderr);
    let ran = load(env, &[&path, "--url", "somewhere"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("write a base URL"), "{}", ran.stderr);
}

/// A call that could exceed the budget is not sent.
#[test]
fn a_budget_ends_the_run_before_it_is_exceeded() {
    let env = &TestEnv::new();
    let path = env.scenario(QUICK);
    let run = |max_usd: f64| {
        let budget = format!("budget.max_usd={max_usd}");
        let report = json(&load(env, &[&path, "--no-record", "--json", "--set", &budget]));
        assert_eq!(report["ended"]["why"], "over_budget", "{}", report["ended"]);
        report["total"]["cost_usd"].as_f64().unwrap_or(0.0)
    };
    // A call costs $0.00005. It states no bound for its answer, so it could cost $0.01.
    let spent = run(0.0205);
    assert!(spent > 0.0003 && spent <= 0.0005, "{spent}");
    assert_eq!(run(0.009), 0.0);
}

#[tokio::test]
async fn ctrl_c_reports_what_ran() {
    let env = &TestEnv::new();
    let gate = Gate::closed();
    let held = gate.clone();
    let silent = ScriptedUpstream::answering(move |_| Answer::json("{}").stalled(&held)).await.unwrap();
    let path = env.scenario(QUICK);
    let mut command = env.command(&["load", &path, "--url", &silent.url(), "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    silent.wait_for_requests(2).await;
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let report = json(&ran);
    assert_eq!(report["ended"]["why"], "interrupted", "{}", report["ended"]);
    assert_eq!(
        (&report["total"]["loops"]["started"], &report["total"]["loops"]["success"]),
        (&2.into(), &0.into())
    );
    gate.release();
}

/// A run that ends for its budget lets go on what is paid for; told to stop, it waits for that no longer.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_what_a_budget_let_go_on() {
    let env = &TestEnv::new();
    let gate = Gate::closed();
    let held = gate.clone();
    let silent = ScriptedUpstream::answering(move |_| Answer::json("{}").stalled(&held)).await.unwrap();
    let path = env.scenario(&format!("{QUICK}[budget]\nmax_usd = 0.015\n"));
    let mut command = env.command(&["load", &path, "--url", &silent.url(), "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    silent.wait_for_requests(1).await;
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    let report = json(&ran);
    assert_eq!(report["ended"]["why"], "over_budget", "{}", report["ended"]);
    assert_eq!(report["total"]["loops"]["success"], 0);
    gate.release();
}

/// The requests of a trace, as they were sent: each model step's first.
fn sent(env: &TestEnv, id: &str) -> Vec<Value> {
    let reader = Reader::open(&env.database()).unwrap();
    let row = reader.find(&Selector::Id { prefix: id.to_owned(), run: None }).unwrap();
    let (key, trace) = (row.key, reader.load(row).unwrap());
    let firsts = trace.assemble().steps.into_iter().map(|step| trace.facts[step.first_call().0].seq);
    firsts
        .map(|seq| serde_json::from_slice(&reader.exchange(key, seq).unwrap().request_body).unwrap())
        .collect()
}

#[test]
fn recorded_loops_send_the_recorded_texts_and_get_answers_of_the_recorded_size() {
    let Recorded { env, id, .. } = &recorded();
    let text = format!("traffic.traces = ['{id}']\ntwin = {{ ttft_ms = 1, tpot_ms = 0 }}\n{TWO_LOOPS}");
    let path = env.scenario(&text);
    let ran = good(env, &["load", &path, "--json"]);
    let total = &json(&ran)["total"];
    assert_eq!((&total["loops"]["success"], &total["steps"]), (&2.into(), &6.into()), "{}", ran.stderr);
    let recorded = sent(env, id);
    for no in ["1", "2"] {
        assert_eq!(sent(env, &format!("load-{}-{no}", run_of(&ran))), recorded);
    }
    let was = json(&good(env, &["stats", id, "--json"]));
    let [now, was] = [total, &was].map(|figures| figures["tokens"]["output_total"].as_f64().unwrap());
    assert!((now / 2.0 - was).abs() <= was * 0.1, "{now} of two loops, {was} of one");

    let other = good(env, &["load", &path, "--json", "--set", "traffic.model=gpt-4o"]);
    let first = &sent(env, &format!("load-{}-1", run_of(&other)))[0];
    assert_eq!(first["model"], "gpt-4o");
    assert_eq!(first["messages"], recorded[0]["messages"]);
}

const TWO_LOOPS: &str = "[[phase]]\nexecutor = 'shared-iterations'\nvus = 2\niterations = 2\n";

/// Something in the middle of a stream is no JSON: an SDK fails on it, and so does the loop.
#[test]
fn a_malformed_event_is_a_failed_attempt() {
    for wire in ["openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"] {
        let env = &TestEnv::new();
        let path = env.scenario(&format!("{QUICK}faults = ['malformed']\n"));
        let set = format!("traffic.wire={wire}");
        let report = json(&good(env, &["load", &path, "--json", "--no-record", "--set", &set]));
        let total = &report["total"];
        assert_eq!(total["loops"]["failure"], 6, "{wire}: {}", total["loops"]);
        assert_eq!(total["errors"]["malformed"], 6, "{wire}: {}", total["errors"]);
    }
}

/// A provider that works on one call at a time, 200 ms each, takes five loops a second: 300 a minute.
#[test]
fn the_capacity_is_searched_in_real_time_too() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsteps = 1\nsystem_tokens = 0\noutput_tokens = 1\n\
                [twin]\nslots = 1\nttft_ms = 200\ntpot_ms = 0\nprefill_ms_per_1k = 0\n";
    let path = env.scenario(text);
    let search = ["load", &path, "--find-capacity", "--step", "5s", "--start-rate", "150", "--within", "12s"];
    let found = json(&good(env, &[&search[..], &["--json"]].concat()));
    assert_eq!((&found["time"], &found["cut_short"]["why"]), (&"real".into(), &"ended".into()), "{found}");
    let rates: Vec<f64> = found["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| probe["offered_per_min"].as_f64().unwrap())
        .collect();
    assert!(rates.contains(&150.0) && rates.len() <= 2, "{rates:?}");
    assert_eq!(found["probes"][0]["holds"], true, "{}", found["probes"][0]);
    let ls = json(&good(env, &["ls", "--json", "--tag", "phase=150.0 loops/min"]));
    assert!(ls.as_array().unwrap().len() >= 5, "each step's loops are kept");
    let short = load(env, &[&path, "--find-capacity", "--step", "1s"]);
    assert_eq!(short.code, Some(1), "{}", short.stderr);
    assert!(short.stderr.contains("5 s is the least"), "{}", short.stderr);
}

/// A call costs $0.0015 to $0.003, and holds back $0.022. Each rate alone could spend what the whole search may.
#[test]
fn a_search_has_one_budget_for_all_rates() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsteps = 1\nsystem_tokens = 20000\noutput_tokens = 1\n[budget]\nmax_usd = 0.0318\n\
                [twin]\nttft_ms = 1\ntpot_ms = 0\nprefill_ms_per_1k = 0\n";
    let search =
        ["load", &env.scenario(text), "--find-capacity", "--step", "5s", "--start-rate", "36", "--json"];
    let found = json(&good(env, &search));
    assert_eq!(found["cut_short"]["ended"]["why"], "over_budget", "{}", found["cut_short"]);
    let loops = json(&good(env, &["ls", "--json"]));
    assert!(loops.as_array().unwrap().len() <= 7, "{found}");
}

/// The twin names its limits, and refuses what is above them: what is found is what is there.
#[test]
fn limits_are_found_by_probing() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsteps = 1\nsystem_tokens = 0\noutput_tokens = 1\n[retry]\nmax = 0\n\
                [[phase]]\nexecutor = 'constant-arrival-rate'\nrate = 40\nduration = '3s'\n\
                [twin]\nttft_ms = 1\n[twin.limits]\nrpm = 60\n";
    let path = env.scenario(text);
    let report = json(&good(env, &["load", &path, "--no-record", "--json"]));
    let account = &report["limits"][0];
    assert_eq!(account["account"], "openai gpt-4o-mini");
    let rpm = &account["limits"]["rpm"];
    assert_eq!((&rpm["limit"], &rpm["basis"]), (&60.into(), &"stated".into()), "{rpm}");
    let (low, high) = (rpm["range"]["low"].as_u64().unwrap(), rpm["range"]["high"].as_u64().unwrap());
    assert!((54..=60).contains(&low) && (60..=66).contains(&high), "{rpm}");
    let text = good(env, &["load", &path, "--no-record"]).stdout;
    assert!(text.contains("limit       rpm 60: named by"), "{text}");
}

/// The provider is down for a second; where the target is another one, the scenario says when.
#[test]
fn an_outage_is_reported_in_real_time() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsteps = 1\nsystem_tokens = 0\noutput_tokens = 1\n[retry]\nmax = 0\n\
                [[phase]]\nexecutor = 'constant-arrival-rate'\nrate = 20\nduration = '5s'\n\
                [twin]\nttft_ms = 1\nfaults = ['outage 2s..3s']\n";
    let path = env.scenario(text);
    let outage = &json(&good(env, &["load", &path, "--no-record", "--json"]))["outage"];
    assert_eq!((&outage["from_s"], &outage["until_s"]), (&2.0.into(), &3.0.into()));
    let lost = outage["loops_lost"].as_u64().unwrap();
    assert!((15..=25).contains(&lost) && outage["recovered_after_s"].as_f64() < Some(1.0), "{outage}");
    let failover = load(env, &[&path, "--set", "failover.failures=1"]);
    assert_eq!(failover.code, Some(2), "{}", failover.stderr);
    assert!(failover.stderr.contains("a gateway with two upstreams"), "{}", failover.stderr);
}

/// A header of the recorded request is sent as it was, but for what it said of its body and its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_headers_are_sent_again() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json(ANSWER)).await.unwrap();
    let env = &TestEnv::new();
    let har = json!({"log": {"entries": [{
        "startedDateTime": "2024-02-14T06:53:38.000+00:00", "time": 1500.5,
        "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": [
            {"name": "x-title", "value": "café"}, {"name": "connection", "value": "close"},
            {"name": "content-md5", "value": "x"}, {"name": "accept-encoding", "value": "gzip"},
            {"name": "origin", "value": "https://example.com"}],
            "postData": {"text": "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"}},
        "response": {"status": 200, "headers": [], "content": {"text": ANSWER}}}]}});
    std::fs::write(env.home().join("one.har"), har.to_string()).unwrap();
    let imported = json(&good(env, &["import", "--json", "one.har"]));
    let id = imported[0]["traces"][0].as_str().unwrap();
    let path =
        env.scenario(&format!("traffic.traces = ['{id}']\n[[phase]]\nexecutor = 'per-vu-iterations'\n"));
    let report = json(&good(env, &["load", &path, "--json", "--url", &upstream.url()]));
    assert_eq!(report["total"]["loops"]["success"], 1, "{}", report["total"]["errors"]);
    let requests = upstream.requests();
    let sent = |name: &str| requests[0].header(name);
    assert_eq!(sent("x-title"), Some("café"));
    assert_eq!(["connection", "content-md5", "accept-encoding", "origin"].map(sent), [None; 4]);
}

const ANSWER: &str = r#"{"model":"gpt-4o-mini","usage":{"prompt_tokens":20,"completion_tokens":4,"total_tokens":24},"choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}"#;
