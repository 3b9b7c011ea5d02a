//! Several upstreams of one provider: who is asked when, what the client sees, what is recorded, and that a replay
//! shows the agent what it saw.

use super::agent::{Agent, CallIds, chat, model, send};
use super::process::{Gateway, command};
use crate::env::TestEnv;
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};
use std::path::Path;

const CHAT: &str = "/t/job/openai/v1/chat/completions";
const WELL: &str = r#"{"id":"r","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}]}"#;

async fn failing(answer: impl Fn() -> Answer + Send + 'static) -> ScriptedUpstream {
    ScriptedUpstream::answering(move |_| answer()).await.expect("the upstream starts")
}

async fn well() -> ScriptedUpstream {
    failing(|| Answer::json(WELL)).await
}

/// A gateway whose openai is at these, in this order.
async fn gateway(env: &TestEnv, upstreams: &[String]) -> Gateway {
    let stated: Vec<String> = upstreams.iter().map(|url| format!("openai={url}")).collect();
    let arguments: Vec<&str> = stated.iter().flat_map(|s| ["--upstream", s.as_str()]).collect();
    Gateway::spawn(env, command(env, &arguments)).await
}

/// What `show --json` says of the only step's attempts.
fn attempts(env: &TestEnv, database: &Path) -> Vec<Value> {
    let shown = env.looptape(&["show", "last", "--json", "--db", database.to_str().expect("a UTF-8 path")]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let steps = shown["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 1, "one call of the client is one step: {steps:#?}");
    steps[0]["attempts"].as_array().expect("attempts").clone()
}

#[tokio::test]
async fn the_next_upstream_stands_in_and_both_are_recorded() {
    let refusals: [fn() -> Answer; 4] = [
        || Answer::status(503).piece(r#"{"error":{"message":"overloaded"}}"#),
        || Answer::status(429).header("retry-after", "7").piece("{}"),
        Answer::no_response,
        Answer::no_response_reset,
    ];
    for (round, refusal) in refusals.into_iter().enumerate() {
        let env = TestEnv::new();
        let (first, second) = (failing(refusal).await, well().await);
        let gateway = gateway(&env, &[first.url(), second.url()]).await;
        let answer = send(&gateway.url, CHAT, &[], &chat("hi")).await;
        assert_eq!((answer.head.status, answer.text().as_str()), (200, WELL), "round {round}");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
        assert_eq!(second.requests()[0].body, chat("hi").into_bytes());
        let recordings = gateway.recordings.clone();
        let said = gateway.stop().await;
        assert!(said.contains(&format!("{} was asked instead (1 ×)", second.url())), "{said}");

        let attempts = attempts(&env, &recordings.path);
        let told = |n: usize, key: &str| attempts[n][key].clone();
        assert_eq!(attempts.len(), 2, "{attempts:#?}");
        assert_eq!((told(0, "upstream"), told(1, "upstream")), (json!(first.url()), json!(second.url())));
        assert_eq!((told(0, "retry_layer"), told(1, "retry_layer")), (Value::Null, json!("gateway")));
        assert_eq!(told(1, "status"), 200);
        let status = [json!(503), json!(429), Value::Null, Value::Null][round].clone();
        assert_eq!(told(0, "status"), status, "round {round}");
        assert_eq!(recordings.metrics(recordings.find("job")).attempts, 2);
    }
}

#[tokio::test]
async fn the_last_upstreams_failure_is_the_clients() {
    let env = TestEnv::new();
    let first = failing(|| Answer::status(500).piece("first")).await;
    let second = failing(|| Answer::status(529).piece("second")).await;
    let gateway = gateway(&env, &[first.url(), second.url()]).await;
    let answer = send(&gateway.url, CHAT, &[], &chat("hi")).await;
    assert_eq!((answer.head.status, answer.text().as_str()), (529, "second"));
    gateway.stop().await;
}

/// A client's own mistake is no reason to ask elsewhere, nor is an answer that breaks off after it began.
#[tokio::test]
async fn what_is_no_failure_of_the_upstream_is_passed_on() {
    let env = TestEnv::new();
    let second = well().await;
    let first = ScriptedUpstream::start().await.expect("the upstream starts");
    first.push(Answer::status(400).piece("wrong"));
    first.push(Answer::event_stream(["data: {}\n\n"]).then_cut());
    let gateway = gateway(&env, &[first.url(), second.url()]).await;
    let answer = send(&gateway.url, CHAT, &[], &chat("hi")).await;
    assert_eq!((answer.head.status, answer.text().as_str()), (400, "wrong"));
    let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
    client.request("POST", CHAT, &[], chat("cut").as_bytes()).await.expect("it can be sent");
    assert_eq!(client.head().await.expect("a head").status, 200);
    assert_eq!(client.chunk().await.expect("a chunk").as_deref(), Some(&b"data: {}\n\n"[..]));
    assert!(client.chunk().await.is_err(), "it breaks off as it did");
    assert_eq!(second.requests().len(), 0);
    gateway.stop().await;
}

/// After three failures in a row the first one is not asked; it is when its rest is over, and by one call only.
#[tokio::test]
async fn one_that_fails_again_and_again_rests_and_is_probed() {
    let mut env = TestEnv::new();
    let folder = env.work_in("project").to_owned();
    std::fs::write(folder.join("looptape.toml"), "[failover]\nfailures = 3\ncooldown = '1s'\n")
        .expect("it is written");
    let (first, second) = (ScriptedUpstream::start().await.expect("it starts"), well().await);
    (0..3).for_each(|_| first.push(Answer::status(500).piece("{}")));
    let gateway = gateway(&env, &[first.url(), second.url()]).await;
    for _ in 0..6 {
        assert_eq!(send(&gateway.url, CHAT, &[], &chat("hi")).await.head.status, 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (3, 6), "it rests");

    let gate = Gate::closed();
    first.push(Answer::json(WELL).stalled(&gate));
    let mut probe = None;
    // Calls go on while it rests; the first one after that is the probe, which the first upstream holds.
    while probe.is_none() {
        let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
        client.request("POST", CHAT, &[], chat("hi").as_bytes()).await.expect("it can be sent");
        let asked_first = first.requests().len() > 3;
        match tokio::time::timeout(std::time::Duration::from_millis(300), client.head()).await {
            Ok(head) => assert_eq!(head.expect("a head").status, 200),
            Err(_) => probe = Some(client),
        }
        assert!(!asked_first || probe.is_some());
    }
    let before = second.requests().len();
    assert_eq!(send(&gateway.url, CHAT, &[], &chat("hi")).await.head.status, 200);
    assert_eq!((first.requests().len(), second.requests().len()), (4, before + 1), "one call probes it");
    gate.release();
    let answer = probe.expect("a probe").head().await.expect("a head");
    assert_eq!(answer.status, 200);
    first.push(Answer::json(WELL));
    assert_eq!(send(&gateway.url, CHAT, &[], &chat("hi")).await.head.status, 200);
    assert_eq!(first.requests().len(), 5, "it is back");
    gateway.stop().await;
}

#[tokio::test]
async fn silence_is_a_failure_if_so_configured() {
    let mut env = TestEnv::new();
    let folder = env.work_in("project").to_owned();
    std::fs::write(folder.join("looptape.toml"), "[failover]\nanswer_within = '1s'\n")
        .expect("it is written");
    let gate = Gate::closed();
    let held = gate.clone();
    let (first, second) = (failing(move || Answer::json(WELL).stalled(&held)).await, well().await);
    let gateway = gateway(&env, &[first.url(), second.url()]).await;
    assert_eq!(send(&gateway.url, CHAT, &[], &chat("hi")).await.head.status, 200);
    let recordings = gateway.recordings.clone();
    gateway.stop().await;
    let attempts = attempts(&env, &recordings.path);
    assert_eq!((attempts[0]["state"].as_str(), attempts.len()), (Some("upstream_reset"), 2));
}

/// Each upstream gets the key that is meant for it, and neither is written down.
#[tokio::test]
async fn an_upstream_with_a_key_of_its_own_gets_that_one() {
    let mut env = TestEnv::new();
    let (first, second) = (failing(|| Answer::status(500).piece("{}")).await, well().await);
    let folder = env.work_in("project").to_owned();
    let config = format!(
        "[upstreams]\nopenai = ['{}', {{ url = '{}', key_env = 'BACKUP_KEY' }}]\n",
        first.url(),
        second.url()
    );
    std::fs::write(folder.join("looptape.toml"), config).expect("it is written");
    env.set("BACKUP_KEY", "backup-key-0123456789abcdef");
    let gateway = Gateway::spawn(&env, command(&env, &[])).await;
    let own = [("authorization", "Bearer client-key-0123456789abcdef")];
    let leaking = chat("my other key is backup-key-0123456789abcdef");
    assert_eq!(send(&gateway.url, CHAT, &own, &leaking).await.head.status, 200);
    assert_eq!(first.requests()[0].header("authorization"), Some("Bearer client-key-0123456789abcdef"));
    assert_eq!(second.requests()[0].header("authorization"), Some("Bearer backup-key-0123456789abcdef"));
    let recordings = gateway.recordings.clone();
    let said = gateway.stop().await;
    for key in ["client-key-0123456789abcdef", "backup-key-0123456789abcdef"] {
        assert!(!recordings.holds(key) && !said.contains(key), "{key} got out");
    }
}

/// The agent saw one answer: a replay has nothing to say of the other, and a cassette keeps both.
#[tokio::test]
async fn a_replay_expects_what_the_client_saw() {
    let env = TestEnv::new();
    let (first, second) = (failing(|| Answer::status(503).piece("{}")).await, model(CallIds::Unique).await);
    let gateway = gateway(&env, &[first.url(), second.url()]).await;
    Agent::new(&format!("{}/t/job/openai", gateway.url), "the task").run().await;
    let recordings = gateway.recordings.clone();
    let url = gateway.url.clone();
    let ended = send(&url, "/_looptape/v1/traces/job/end", &[], "").await;
    assert!(matches!(ended.head.status, 200 | 202));
    recordings.complete("job").await;
    gateway.stop().await;

    let database = recordings.path.to_str().expect("a UTF-8 path");
    let cassette = env.home().join("job.looptape");
    let cassette = cassette.to_str().expect("a UTF-8 path");
    let exported = env.looptape(&["export", "job", "--db", database, "--output", cassette]);
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    for place in [vec!["job", "--db", database], vec![cassette]] {
        let all = [vec!["replay"], place, vec!["--json"]].concat();
        let replayed = env.looptape(&all);
        assert_eq!(replayed.code, Some(0), "{}{}", replayed.stdout, replayed.stderr);
        let report: Value = serde_json::from_str(&replayed.stdout).expect("JSON");
        let counts = ["calls", "identical", "not_sent", "unanswered"].map(|key| report[key].as_u64());
        assert_eq!(counts, [3, 3, 0, 0].map(Some), "{report:#}");
    }
}
