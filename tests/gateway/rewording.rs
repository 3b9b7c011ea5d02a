//! Agents without ids that put every answer into words of their own before they send it back.

use super::process::{Gateway, Recordings};
use crate::env::TestEnv;
use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use tokio::task::JoinSet;

/// A model that never answers twice the same: with a number, a remark, and blanks that clients trim.
async fn model() -> ScriptedUpstream {
    let mut served = 0;
    ScriptedUpstream::answering(move |request| {
        served += 1;
        let said = json!({"role": "assistant", "content": format!(" Answer {served}.\n"), "refusal": null});
        let choice = json!({"index": 0, "finish_reason": "stop", "message": said});
        match request.contains("busy") && served % 3 == 0 {
            true => Answer::status(429).header("retry-after", "0").piece("{}"),
            false => Answer::json(
                json!({"id": format!("r{served}"), "model": "m", "choices": [choice]}).to_string(),
            ),
        }
    })
    .await
    .expect("the upstream starts")
}

/// A client that makes of every answer something of its own.
struct Agent {
    url: String,
    name: String,
    messages: Vec<Value>,
    /// The answers as they came.
    heard: Vec<String>,
}

impl Agent {
    fn new(gateway: &Gateway, name: &str, task: &str) -> Self {
        Self {
            url: format!("{}/v1/chat/completions", gateway.url),
            name: name.to_owned(),
            messages: vec![json!({"role": "user", "content": task})],
            heard: Vec::new(),
        }
    }

    async fn step(&mut self) {
        let body = json!({"model": "m", "messages": self.messages}).to_string();
        let response = loop {
            let response = RawClient::post_json(&self.url, &body).await.expect("an answer");
            if response.head.status != 429 {
                break response;
            }
        };
        let answer: Value = serde_json::from_slice(&response.body()).expect("JSON");
        let said = answer["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
        let own_words = format!("{} heard {:?}", self.name, said.trim());
        self.messages.push(json!({"role": "assistant", "content": own_words}));
        self.messages.push(json!({"role": "user", "content": "go on"}));
        self.heard.push(said);
    }

    async fn run(mut self, steps: usize) -> Self {
        for _ in 0..steps {
            self.step().await;
        }
        self
    }
}

/// The answers of each trace, in order.
fn answers(env: &TestEnv, recordings: &Recordings) -> Vec<Vec<String>> {
    let database = recordings.path.to_str().expect("a UTF-8 path");
    let texts = |id: &str| {
        let shown = env.looptape(&["show", id, "--json", "--db", database]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
        let steps = shown["steps"].as_array().expect("steps").iter();
        steps.map(|step| step["text"].as_str().expect("a text").to_owned()).collect()
    };
    recordings.all().iter().map(|row| texts(&row.id.to_string())).collect()
}

/// No trace holds answers that two agents heard; all that they heard is there, once.
fn assert_never_mixed(traces: &[Vec<String>], agents: &[Agent]) {
    let heard_by: HashMap<&str, &str> =
        agents.iter().flat_map(|a| a.heard.iter().map(|said| (said.as_str(), a.name.as_str()))).collect();
    for trace in traces {
        let names: BTreeSet<_> = trace.iter().map(|said| heard_by[said.as_str()]).collect();
        assert_eq!(names.len(), 1, "{traces:?}");
    }
    assert_eq!(traces.iter().map(Vec::len).sum::<usize>(), heard_by.len());
}

#[tokio::test]
async fn a_loop_is_one_trace_that_verifies_and_replays() {
    for task in ["a task", "a task while it is busy"] {
        let (env, model) = (TestEnv::new(), model().await);
        let gateway = Gateway::start(&env, &model.url(), &[]).await;
        let agent = Agent::new(&gateway, "agent", task).run(6).await;
        let recordings = gateway.recordings.clone();
        gateway.stop().await;
        drop(model);
        assert_eq!(answers(&env, &recordings), [agent.heard], "{task}");
        let metrics = recordings.metrics(recordings.find("last"));
        assert_eq!((metrics.loops, metrics.steps), (1, 6));
        assert_eq!(metrics.retries > 0, task.contains("busy"));

        let database = recordings.path.to_str().expect("a UTF-8 path");
        let verified = env.looptape(&["verify", "--db", database]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let replayed = env.looptape(&["replay", "last", "--json", "--db", database]);
        assert_eq!(replayed.code, Some(0), "{replayed:?}");
        let report: Value = serde_json::from_str(&replayed.stdout).expect("JSON");
        assert_eq!(
            (&report["calls"], &report["identical"]),
            (&json!(metrics.attempts), &json!(metrics.attempts))
        );
        assert_eq!((&report["loops"], &report["steps"]), (&json!(1), &json!(6)));
    }
}

#[tokio::test]
async fn agents_that_begin_alike_are_never_mixed() {
    let (env, model) = (TestEnv::new(), model().await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Agent::new(&gateway, name, "the same"));
    // The first has gone on before the second begins; the third begins while the second waits.
    a.step().await;
    a.step().await;
    b.step().await;
    c.step().await;
    for _ in 0..2 {
        for agent in [&mut b, &mut a, &mut c] {
            agent.step().await;
        }
    }
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let traces = answers(&env, &recordings);
    let firsts = |agent: &Agent| vec![agent.heard[0].clone()];
    assert_eq!(traces.len(), 5, "{traces:?}");
    assert_eq!(traces[0], a.heard, "nobody else had begun when it went on");
    assert!(traces.contains(&firsts(&b)) && traces.contains(&firsts(&c)));
    assert!(traces.contains(&b.heard[1..].to_vec()) && traces.contains(&c.heard[1..].to_vec()));
    assert_never_mixed(&traces, &[a, b, c]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_they_run_at_once() {
    let (env, model) = (TestEnv::new(), model().await);
    let gateway = Gateway::start(&env, &model.url(), &["--durability", "strict"]).await;
    let mut running = JoinSet::new();
    for n in 0..8 {
        // Two of them have a task of their own.
        let task = if n < 6 { "the same, busy".to_owned() } else { format!("task {n}") };
        running.spawn(Agent::new(&gateway, &format!("agent {n}"), &task).run(5));
    }
    let agents = running.join_all().await;
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let traces = answers(&env, &recordings);
    assert_never_mixed(&traces, &agents);
    for alone in agents.iter().filter(|a| ["agent 6", "agent 7"].contains(&a.name.as_str())) {
        assert!(traces.contains(&alone.heard), "{} in {traces:?}", alone.name);
    }
}

#[tokio::test]
async fn a_named_trace_gets_no_calls_without_its_name() {
    let (env, model) = (TestEnv::new(), model().await);
    let gateway = Gateway::start(&env, &model.url(), &[]).await;
    let mut agent = Agent::new(&gateway, "agent", "a task");
    let unnamed = agent.url.clone();
    agent.url = format!("{}/t/job/openai/v1/chat/completions", gateway.url);
    agent.step().await;
    agent.url = unnamed;
    agent.step().await;
    agent.step().await;
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let (first, rest) = agent.heard.split_at(1);
    assert_eq!(answers(&env, &recordings), [first, rest]);
}
