//! Which trace a call belongs to.

use super::agent::{Agent, CallIds, chat, model, send};
use super::process::Gateway;
use crate::env::TestEnv;
use looptape_core::assembly::LoopOutcome;
use looptape_store::{Selector, TraceStatus};
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// Three agents take turns; `url` gives each its base URL.
async fn take_turns(url: impl Fn(usize) -> String, task: impl Fn(usize) -> String, stream: bool) {
    let mut agents: Vec<Agent> = (0..3)
        .map(|n| Agent::new(&url(n), &task(n)))
        .map(|agent| if stream { agent.streaming() } else { agent })
        .collect();
    // Never the same agent twice in a row.
    for turn in 0..9 {
        agents[(turn + turn / 3) % 3].step().await;
    }
}

/// Every trace is one whole loop of three steps.
fn assert_whole_loops(gateway: &super::process::Recordings, count: usize) {
    let rows = gateway.all();
    assert_eq!(rows.len(), count, "{:?}", gateway.calls_by_trace());
    for row in rows {
        assert_eq!((&row.status, row.source.as_str()), (&TraceStatus::Complete, "serve"));
        let metrics = gateway.metrics(row);
        assert_eq!((metrics.loops, metrics.steps, metrics.tool_calls, metrics.retries), (1, 3, 2, 0));
        assert_eq!(metrics.outcome, LoopOutcome::Success);
    }
}

#[tokio::test]
async fn three_agents_without_ids_are_three_traces() {
    for stream in [false, true] {
        let (env, model) = (TestEnv::new(), model(CallIds::Unique).await);
        let gateway = Gateway::start(&env, &model.url(), &[]).await;
        take_turns(|_| gateway.url.clone(), |n| format!("task {n}"), stream).await;
        let recordings = gateway.recordings.clone();
        gateway.stop().await;
        assert_whole_loops(&recordings, 3);
    }
}

#[tokio::test]
async fn three_agents_that_do_the_same_are_three_traces() {
    for ids in [CallIds::Unique, CallIds::Repeated] {
        let (env, model) = (TestEnv::new(), model(ids).await);
        let gateway = Gateway::start(&env, &model.url(), &[]).await;
        take_turns(|_| gateway.url.clone(), |_| "the same".into(), false).await;
        let recordings = gateway.recordings.clone();
        gateway.stop().await;
        assert_whole_loops(&recordings, 3);
    }
}

#[tokio::test]
async fn three_agents_at_once_are_three_traces() {
    let (env, model) = (TestEnv::new(), model(CallIds::Unique).await);
    let gateway = Gateway::start(&env, &model.url(), &["--durability", "strict"]).await;
    let agent = |n: usize| Agent::new(&gateway.url, &format!("task {n}")).streaming().run();
    tokio::join!(agent(0), agent(1), agent(2));
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    assert_whole_loops(&recordings, 3);
}

#[tokio::test]
async fn three_agents_with_path_prefixes_are_three_traces() {
    let (env, model) = (TestEnv::new(), model(CallIds::Repeated).await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    let base = |n: usize| format!("{}/t/agent-{n}/openai", gateway.url);
    // RawClient::post_json sends the URL's path.
    take_turns(base, |_| "the same".into(), false).await;
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    assert_whole_loops(&recordings, 3);
    let expected: Vec<_> = (0..3).map(|n| (format!("agent-{n}#1"), 3)).collect();
    assert_eq!(recordings.calls_by_trace(), expected);
}

#[tokio::test]
async fn the_order_in_which_ids_count() {
    let (env, model) = (TestEnv::new(), model(CallIds::Unique).await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    let mut agent = Agent::new(&format!("{}/t/known/openai", gateway.url), "a task");
    agent.step().await;
    // This request carries on from an answer of `known`, whatever else it says.
    let body = agent.request();
    let traceparent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let session = ("x-claude-code-session-id", "session-9");
    let header = ("x-looptape-trace", "by-header");
    let by_path = "/t/by-path/openai/v1/chat/completions";
    for (path, headers, expected) in [
        (by_path, vec![session, traceparent, header], "by-header"),
        (by_path, vec![session, traceparent], "by-path"),
        (CHAT, vec![session, traceparent], "4bf92f3577b34da6a3ce929d0e0e4736"),
        (CHAT, vec![session, ("traceparent", "not one")], "session-9"),
        (CHAT, vec![("x-looptape-trace", "../../not an id")], "known"),
        (CHAT, vec![], "known"),
    ] {
        let before = calls(&gateway, expected).await;
        let response = send(&gateway.url, path, &headers, &body).await;
        assert_eq!(response.head.status, 200, "{}", response.text());
        assert_eq!(calls(&gateway, expected).await, before + 1, "{expected}");
    }
    let seen = model.requests();
    assert!(seen[1].header("traceparent").is_some() && seen[1].header("x-looptape-trace").is_none());
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    assert_eq!(recordings.all().len(), 5, "{:?}", recordings.calls_by_trace());
}

/// How many calls of a trace are on disk, after all that came before.
async fn calls(gateway: &Gateway, id: &str) -> usize {
    // Its answer comes when everything before it is committed.
    end(gateway, "nobody-has-this-id", "").await;
    let reader = gateway.recordings.reader();
    reader.find(&Selector::parse(id)).map_or(0, |row| reader.seqs(row.key).expect("its calls").len())
}

async fn end(gateway: &Gateway, id: &str, body: &str) -> (u16, Value) {
    let response = send(&gateway.url, &format!("/_looptape/v1/traces/{id}/end"), &[], body).await;
    (response.head.status, serde_json::from_slice(&response.body()).expect("its answers are JSON"))
}

#[tokio::test]
async fn an_ended_trace_is_never_reopened() {
    let (env, model) = (TestEnv::new(), model(CallIds::Repeated).await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    let named = format!("{}/t/job/openai", gateway.url);
    let mut first = Agent::new(&named, "a task");
    first.step().await;
    let (status, said) = end(&gateway, "job", r#"{"outcome": "failure"}"#).await;
    assert!(status == 200 || status == 202, "{status} {said}");
    assert_eq!(said["trace"], "job");
    gateway.recordings.complete("job").await;
    assert_eq!(end(&gateway, "job", "").await.0, 404, "it is over");

    // The same id again is a new run, even if it carries on from where the first ended.
    first.step().await;
    // Nor does a request without an id carry on from an ended run, while another run of its id is open.
    let mut nameless = Agent::new(&gateway.url, "another task");
    nameless.step().await;
    let (_, _) = end(&gateway, "job", "").await;
    gateway.recordings.complete("job").await;
    Agent::new(&named, "a third task").step().await;
    let response = send(&gateway.url, CHAT, &[], &first.request()).await;
    assert_eq!(response.head.status, 200);

    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let mut found = recordings.calls_by_trace();
    found.retain(|(id, _)| id.starts_with("job"));
    assert_eq!(found, [("job#1".into(), 1), ("job#2".into(), 1), ("job#3".into(), 1)]);
    assert_eq!(recordings.all().len(), 5, "{:?}", recordings.calls_by_trace());

    let (newest, earlier) = (recordings.find("job"), recordings.find("job#1"));
    assert_eq!((newest.run, newest.label()), (3, "job".into()));
    assert_eq!((earlier.run, earlier.label()), (1, "job#1".into()));
    assert!(!earlier.end.as_ref().expect("it ended").idle);
    assert_eq!(recordings.metrics(earlier).outcome, LoopOutcome::Failure, "as stated");
    assert_eq!(recordings.metrics(newest).outcome, LoopOutcome::Unknown, "a tool call is open");
}

#[tokio::test]
async fn a_trace_ends_when_its_calls_have_ended() {
    let env = TestEnv::new();
    let upstream = ScriptedUpstream::start().await.expect("the upstream starts");
    let gate = Gate::closed();
    upstream.push(Answer::event_stream(["data: {\"a\":1}\n\n"]).wait(&gate).piece("data: [DONE]\n\n"));
    upstream.push(Answer::json("{}"));
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    let path = "/t/job/openai/v1/chat/completions";
    let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
    client.request("POST", path, &[], chat("slow").as_bytes()).await.expect("it can be sent");
    assert_eq!(client.head().await.expect("a head").status, 200);
    client.chunk().await.expect("a first chunk");

    let (status, said) = end(&gateway, "job", r#"{"outcome": "success"}"#).await;
    assert_eq!(status, 202, "{said}");
    assert_eq!(send(&gateway.url, path, &[], &chat("next")).await.head.status, 200);
    gate.release();
    while client.chunk().await.expect("the rest").is_some() {}
    let first = gateway.recordings.complete("job#1").await;
    assert_eq!(gateway.recordings.reader().seqs(first.key).expect("its calls"), [0]);
    assert_eq!(gateway.recordings.metrics(first).outcome, LoopOutcome::Success);
    assert_eq!(gateway.recordings.find("job").run, 2);
    gateway.stop().await;
}

#[tokio::test]
async fn outcomes_are_stated_by_header_too() {
    let (env, model) = (TestEnv::new(), model(CallIds::Unique).await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    for (id, outcome) in [("a", "failure"), ("b", "abandoned"), ("c", "splendid")] {
        let path = format!("/t/{id}/openai{CHAT}");
        let headers = [("x-looptape-outcome", outcome)];
        assert_eq!(send(&gateway.url, &path, &headers, &chat("x")).await.head.status, 200);
    }
    for body in ["{", r#"{"outcome": "splendid"}"#] {
        assert_eq!(end(&gateway, "c", body).await.0, 400, "{body}");
    }
    let (status, said) = end(&gateway, "c", r#"{"note": 1}"#).await;
    assert!(matches!(status, 200 | 202), "{status} {said}");
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let outcome = |id| recordings.metrics(recordings.find(id)).outcome;
    assert_eq!(
        [outcome("a"), outcome("b"), outcome("c")],
        [LoopOutcome::Failure, LoopOutcome::Abandoned, LoopOutcome::Unknown]
    );
}

#[tokio::test]
async fn a_failed_first_call_and_its_retry_are_one_step() {
    let env = TestEnv::new();
    let upstream = ScriptedUpstream::start().await.expect("the upstream starts");
    upstream.push(Answer::status(429).header("retry-after", "0").piece("{}"));
    let said =
        json!({"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]});
    upstream.push(Answer::json(said.to_string()));
    upstream.push(Answer::json(said.to_string()));
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for (retries, status) in [("0", 429), ("1", 200), ("0", 200)] {
        let headers = [("x-stainless-retry-count", retries)];
        assert_eq!(send(&gateway.url, CHAT, &headers, &chat("hi")).await.head.status, status);
    }
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let found: Vec<_> = recordings.all().into_iter().map(|row| recordings.metrics(row)).collect();
    let figures: Vec<_> = found.iter().map(|m| (m.steps, m.attempts, m.retries)).collect();
    assert_eq!(figures, [(1, 2, 1), (1, 1, 0)], "the third is another agent's");
}

#[tokio::test]
async fn responses_that_name_the_one_before_are_one_trace() {
    let env = TestEnv::new();
    let upstream = ScriptedUpstream::start().await.expect("the upstream starts");
    for id in ["resp_1", "resp_2"] {
        let text = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hm"}]});
        let said =
            json!({"id": id, "object": "response", "status": "completed", "model": "m", "output": [text]});
        upstream.push(Answer::json(said.to_string()));
    }
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for body in [
        json!({"model": "m", "input": "first"}),
        json!({"model": "m", "input": "second", "previous_response_id": "resp_1"}),
    ] {
        let response = send(&gateway.url, "/openai/v1/responses", &[], &body.to_string()).await;
        assert_eq!(response.head.status, 200);
    }
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    assert_eq!(recordings.calls_by_trace().into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_silent_trace_ends() {
    let (env, model) = (TestEnv::new(), model(CallIds::Unique).await);
    let gateway = Gateway::start(&env, &model.url(), &["--idle-end", "1s"]).await;
    let mut agent = Agent::new(&format!("{}/t/job/openai", gateway.url), "a task");
    agent.step().await;
    let row = gateway.recordings.complete("job").await;
    assert!(row.end.as_ref().expect("it ended").idle);
    assert_eq!(gateway.recordings.metrics(row).outcome, LoopOutcome::Abandoned, "its tool call stayed open");
    agent.step().await;
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    assert_eq!(recordings.calls_by_trace(), [("job#1".into(), 1), ("job#2".into(), 1)]);
    let second = recordings.find("job");
    assert!(!second.end.as_ref().expect("it ended").idle, "the gateway ended it, not silence");
}
