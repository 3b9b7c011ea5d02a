//! Calls are held to a budget before they are sent, whoever makes them and however often looptape starts anew.

use crate::env::{Ran, TestEnv};
use crate::gateway::process::{Gateway, eventually};
use crate::lab::{Lab, Recording, answer};
use looptape_core::budget::{Day, Limits};
use looptape_core::cost::Usd;
use looptape_store::{Moment, Reader, Spender};
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::{RawClient, RawResponse};
use looptape_testkit::upstream::ScriptedUpstream;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A call of [`ask`] costs at most a little more than this: 1,000 tokens of output at $10 a million.
const WORST_USD: f64 = 0.01;
/// What it costs: 20 tokens at 2.50 and 400 at 10.
const COST_USD: f64 = 0.004_05;

fn usd(dollars: f64) -> Option<Usd> {
    Usd::from_f64(dollars)
}

/// The answer, once the gate lets it go.
fn completion_after(gate: &Gate) -> Answer {
    Answer::status(200).header("content-type", "application/json").wait(gate).piece(completion())
}

fn completion() -> String {
    json!({"model": "gpt-4o", "usage": {"prompt_tokens": 20, "completion_tokens": 400, "total_tokens": 420},
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]})
    .to_string()
}

async fn provider() -> ScriptedUpstream {
    ScriptedUpstream::answering(|_| Answer::json(completion())).await.unwrap()
}

fn chat(text: &str) -> String {
    json!({"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

async fn ask(origin: &str, base: &str, text: &str) -> RawResponse {
    RawClient::post_json(&format!("{origin}{base}/v1/chat/completions"), &chat(text)).await.unwrap()
}

async fn statuses(recording: &Recording, base: &str, calls: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..calls {
        statuses.push(ask(&recording.origin, base, &format!("{base} {n}")).await.head.status);
    }
    statuses
}

fn error(response: &RawResponse) -> Value {
    serde_json::from_slice(&response.body()).unwrap()
}

#[tokio::test]
async fn a_refusal_is_an_error_of_the_providers_own_form_and_is_recorded() {
    let (upstream, lab) = (provider().await, Lab::new());
    let limits = Limits { trace_usd: usd(0.001), ..Limits::default() };
    let recording = lab.serve_within(&upstream.url(), limits).await;
    let send = async |path: &str, body: &str| {
        RawClient::post_json(&format!("{}/t/job{path}", recording.origin), body).await.unwrap()
    };
    let openai = send("/openai/v1/chat/completions", &chat("hello")).await;
    assert_eq!(openai.head.status, 402);
    assert_eq!(openai.head.header("x-should-retry"), Some("false"));
    let said = error(&openai);
    assert_eq!(said["error"]["type"], "over_budget");
    insta::assert_snapshot!(said["error"]["message"].as_str().unwrap(), @"looptape: this call could cost up to $0.01021 (83 tokens of input and 1000 of output at most), and $0.001 of the budget of $0.001 for trace job is left: $0 spent. Raise --max-usd-per-trace, or ask for less output");
    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 500, "messages": []}).to_string();
    let anthropic = send("/anthropic/v1/messages", &body).await;
    assert_eq!((anthropic.head.status, &error(&anthropic)["error"]["type"]), (402, &json!("over_budget")));
    let body = json!({"contents": [], "generationConfig": {"maxOutputTokens": 9000}}).to_string();
    let gemini = send("/gemini/v1beta/models/gemini-2.5-pro:generateContent", &body).await;
    assert_eq!((gemini.head.status, &error(&gemini)["error"]["code"]), (402, &json!(402)));
    let unknown = send("/openai/v1/chat/completions", r#"{"model":"acme-1","messages":[]}"#).await;
    let message = error(&unknown)["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("the price list does not have acme-1") && message.contains("[[prices]]"),
        "{message}"
    );
    let models = RawClient::connect(&recording.origin).await;
    let mut client = models.unwrap();
    client.request("GET", "/t/job/openai/v1/models", &[], b"").await.unwrap();
    assert_eq!(client.response().await.unwrap().head.status, 200, "looking costs nothing");
    assert_eq!(upstream.requests().len(), 1, "no refused call was sent");
    assert!(recording.finish().await.gaps.is_empty());
    let recorded = lab.recorded_as("job");
    assert_eq!(recorded.exchanges.len(), 5);
    assert_eq!(
        (answer(&recorded.exchanges[0]).status, &answer(&recorded.exchanges[0]).body[..]),
        (402, &openai.body()[..])
    );
}

#[tokio::test]
async fn what_is_spent_counts_and_what_was_reserved_comes_back() {
    let (upstream, lab) = (provider().await, Lab::new());
    // Two calls are spent, and a third fits beside them at its worst.
    let limits = Limits { run_usd: usd(2.0 * COST_USD + WORST_USD + 0.001), ..Limits::default() };
    let recording = lab.serve_within(&upstream.url(), limits).await;
    assert_eq!(statuses(&recording, "/t/job/openai", 4).await, [200, 200, 200, 402]);
    recording.finish().await;
}

#[tokio::test]
async fn each_trace_has_its_own_even_if_nobody_names_it() {
    let (upstream, lab) = (provider().await, Lab::new());
    let limits = Limits { trace_usd: usd(WORST_USD + 0.001), ..Limits::default() };
    let recording = lab.serve_within(&upstream.url(), limits).await;
    assert_eq!(statuses(&recording, "/t/a/openai", 2).await, [200, 402]);
    assert_eq!(statuses(&recording, "/t/b/openai", 2).await, [200, 402]);
    // Without a name: a conversation that goes on is one trace, another one is another.
    let go_on = |first: &str| {
        json!({"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": first},
            {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and then?"}]})
        .to_string()
    };
    let url = format!("{}/openai/v1/chat/completions", recording.origin);
    for conversation in ["what is it", "where is it"] {
        assert_eq!(ask(&recording.origin, "/openai", conversation).await.head.status, 200);
        // The answer has to be on disk before its echo can be told.
        recording.recorder().flush();
        let next = RawClient::post_json(&url, &go_on(conversation)).await.unwrap();
        assert_eq!(next.head.status, 402, "{conversation}");
    }
    // A trace that ended does not weigh on another run of the same name.
    let ended = RawClient::post_json(&format!("{}/_looptape/v1/traces/a/end", recording.origin), "").await;
    assert_eq!(ended.unwrap().head.status, 200);
    recording.finish().await;
    let recording = lab.serve_within(&upstream.url(), limits).await;
    assert_eq!(statuses(&recording, "/t/a/openai", 1).await, [200]);
    assert_eq!(statuses(&recording, "/t/b/openai", 1).await, [402], "it only went on elsewhere");
    recording.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_cannot_exceed_a_limit_together() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = ScriptedUpstream::answering(move |_| completion_after(&held)).await.unwrap();
    let lab = Lab::new();
    let limits = Limits { day_usd: usd(3.5 * WORST_USD), ..Limits::default() };
    let recording = lab.serve_within(&upstream.url(), limits).await;
    let asked: Vec<_> = (0..12)
        .map(|n| {
            let origin = recording.origin.clone();
            tokio::spawn(async move { ask(&origin, &format!("/t/t{n}/openai"), "at once").await.head.status })
        })
        .collect();
    upstream.wait_for_requests(3).await;
    let mut ended = Vec::new();
    let mut waiting = asked.into_iter().collect::<std::collections::VecDeque<_>>();
    // Nine are refused while three are under way; then those get their answers.
    while ended.len() < 9 {
        let one = waiting.pop_front().unwrap();
        if one.is_finished() {
            ended.push(one.await.unwrap())
        } else {
            waiting.push_back(one)
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(ended, [402; 9]);
    assert_eq!(upstream.requests().len(), 3);
    (0..3).for_each(|_| gate.release());
    for one in waiting {
        assert_eq!(one.await.unwrap(), 200);
    }
    recording.finish().await;
    let spent = Reader::open(&lab.database())
        .unwrap()
        .spent_on(Day::of_unix_us(Moment::now().unix_us), Spender::new());
    assert_eq!(spent.unwrap(), usd(3.0 * COST_USD).unwrap());
}

#[tokio::test]
async fn a_day_is_the_same_after_a_restart() {
    let (upstream, lab) = (provider().await, Lab::new());
    let limits = Limits { day_usd: usd(2.0 * COST_USD + WORST_USD + 0.001), ..Limits::default() };
    for expected in [[200, 200], [200, 402], [402, 402]] {
        let recording = lab.serve_within(&upstream.url(), limits).await;
        assert_eq!(statuses(&recording, "/t/job/openai", 2).await, expected);
        recording.finish().await;
    }
}

/// What was under way when looptape was killed may have been billed: it counts as what it could have cost.
#[tokio::test]
async fn what_was_under_way_at_a_kill_stays_reserved() {
    let env = TestEnv::new();
    let upstream = ScriptedUpstream::answering(|_| completion_after(&Gate::closed())).await.unwrap();
    let limit = (1.5 * WORST_USD).to_string();
    let gateway = Gateway::start(&env, &upstream.url(), &["--max-usd-per-day", &limit]).await;
    let mut client = RawClient::connect(&gateway.url).await.unwrap();
    client.request("POST", "/t/job/openai/v1/chat/completions", &[], chat("slow").as_bytes()).await.unwrap();
    upstream.wait_for_requests(1).await;
    let recordings = gateway.recordings.clone();
    let today = Day::of_unix_us(Moment::now().unix_us);
    eventually("the reservation is on disk", || {
        let spent = recordings.reader().spent_on(today, Spender::new()).ok()?;
        (spent > Usd::ZERO).then_some(())
    })
    .await;
    gateway.signal(Signal::KILL);
    gateway.ended().await;
    let gateway = Gateway::start(&env, &upstream.url(), &["--max-usd-per-day", &limit]).await;
    let refused = ask(&gateway.url, "/t/job/openai", "again").await;
    assert_eq!(refused.head.status, 402, "{}", refused.text());
    assert_eq!(upstream.requests().len(), 1);
    let said = gateway.stop().await;
    assert!(said.contains("budget:    $0.015 for each day (UTC)"), "{said}");
    assert!(said.contains("1 call was refused because of the budget"), "{said}");
}

const AGENT: &str = r#"
import json, os, sys, urllib.request, urllib.error
for text in sys.argv[1:]:
    body = json.dumps({"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            json.load(response)
            print(response.status)
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"]["code"])
"#;

async fn run(env: &TestEnv, arguments: &[&str]) -> Ran {
    let mut command = env.command(arguments);
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_run_and_a_live_replay_share_the_day() {
    let upstream = provider().await;
    let mut env = TestEnv::new();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
    env.work_in("project");
    let project = env.home().join("project");
    std::fs::write(project.join("agent.py"), AGENT).unwrap();
    let agent = ["python3", "agent.py", "one", "two", "three"];
    let budgets = |text: &str| std::fs::write(project.join("looptape.toml"), text).unwrap();
    budgets(&format!("[budgets]\nday = {}\n", 2.0 * COST_USD + 0.5 * WORST_USD));
    let recorded = run(&env, &[&["record", "--"], &agent[..]].concat()).await;
    assert_eq!(
        (recorded.code, recorded.stdout.as_str()),
        (Some(0), "200\n402 over_budget\n402 over_budget\n")
    );
    assert!(recorded.stderr.contains("looptape: spent $0.00405 on 1 live call\n"), "{recorded:?}");
    assert!(recorded.stderr.contains("2 calls were refused because of the budget"), "{recorded:?}");

    let live = ["replay", "last", "--source", "live", "--from", "1"];
    let replayed = run(&env, &[&live[..], &["--"], &agent[..2], &["one"]].concat()).await;
    assert_eq!((replayed.code, replayed.stdout.as_str()), (Some(99), "402 over_budget\n"), "{replayed:?}");
    let raised =
        run(&env, &[&live[..], &["--max-usd-per-day", "1", "--"], &agent[..2], &["one"]].concat()).await;
    assert_eq!((raised.code, raised.stdout.as_str()), (Some(0), "200\n"), "{raised:?}");
    let by_trace = ["--max-usd-per-day", "1", "--max-usd-per-trace", "0.011", "--"];
    let replayed = run(&env, &[&live[..], &by_trace, &agent[..2], &["one", "two"]].concat()).await;
    assert_eq!(
        (replayed.code, replayed.stdout.as_str()),
        (Some(99), "200\n402 over_budget\n"),
        "{replayed:?}"
    );
    let unkept = run(&env, &[&live[..], &["--no-record", "--"], &agent[..2], &["one"]].concat()).await;
    assert!(unkept.code == Some(2) && unkept.stderr.contains("leave --no-record out"), "{unkept:?}");
    assert_eq!(upstream.requests().len(), 3);

    for (text, said) in [
        ("[budgets]\nday = -1\n", "day = -1"),
        ("[budgets]\ndaily = 1\n", "line 2"),
        ("[budgets]\nday = \"1\"\n", "line 2"),
    ] {
        budgets(text);
        let ran = run(&env, &["record", "--", "true"]).await;
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{text}: {ran:?}");
    }
    for amount in ["-1", "lots"] {
        assert_eq!(run(&env, &["record", "--max-usd", amount, "--", "true"]).await.code, Some(2));
    }
}
