//! A cached replay never reaches the network, and gives every request its own answer.

use crate::env::TestEnv;
use crate::lab::Lab;
use looptape_core::replay::DivergenceCode;
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CHAT: &str = "/openai/v1/chat/completions";

fn said(text: &str) -> String {
    format!(
        r#"{{"id":"x","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]}}"#
    )
}

/// Three lanes with the same first question, each with retries, answers finishing in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_lanes_get_their_own_answers() {
    let question = |lane: usize, turn: usize, before: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"lane {lane}"}},{{"role":"assistant","content":"{before}"}},{{"role":"user","content":"turn {turn}"}}]}}"#
        )
    };
    let tries = std::sync::Mutex::new(std::collections::HashMap::<Vec<u8>, usize>::new());
    let upstream = ScriptedUpstream::answering(move |request| {
        let mut tries = tries.lock().unwrap();
        let tries = tries.entry(request.body.clone()).or_default();
        *tries += 1;
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if *tries == 1 && body.contains("turn 1") {
            return Answer::status(429).header("retry-after", "1").piece("{}");
        }
        Answer::json(said(&blake(&body)))
    })
    .await
    .unwrap();
    async fn ask(url: &str, body: &str) -> (u16, String) {
        let response = RawClient::post_json(url, body).await.unwrap();
        (response.head.status, response.text())
    }
    async fn lane(
        url: String,
        lane: usize,
        question: impl Fn(usize, usize, &str) -> String,
    ) -> Vec<(u16, String)> {
        let mut seen = Vec::new();
        let mut before = String::new();
        for turn in 0..4 {
            let body = question(lane, turn, &before);
            let mut answer = ask(&url, &body).await;
            while answer.0 == 429 {
                seen.push(answer);
                answer = ask(&url, &body).await;
            }
            before = blake(&body);
            seen.push(answer);
            tokio::task::yield_now().await;
        }
        seen
    }
    async fn run(
        url: &str,
        order: [usize; 3],
        question: impl Fn(usize, usize, &str) -> String + Copy + Send + 'static,
    ) -> Vec<Vec<(u16, String)>> {
        let tasks = order.map(|n| (n, tokio::spawn(lane(url.to_owned(), n, question))));
        let mut seen = vec![Vec::new(); 3];
        for (n, task) in tasks {
            seen[n] = task.await.unwrap();
        }
        seen
    }
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let live = run(&format!("{}{CHAT}", recording.origin), [0, 1, 2], question).await;
    recording.finish().await;
    assert!(live.iter().all(|lane| lane.len() == 5 && lane[1].0 == 429), "{live:?}");
    let recorded = lab.recorded();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let replaying = recorded.replay().await;
        let replayed = run(&format!("{}{CHAT}", replaying.origin), order, question).await;
        assert_eq!(replayed, live, "{order:?}");
        let summary = replaying.finish().await;
        assert!(summary.divergences.is_empty() && summary.unused.is_empty(), "{summary:?}");
        assert_eq!(summary.served.by_arrival, 0);
    }
}

fn blake(text: &str) -> String {
    looptape_core::Digest::of(text.as_bytes()).to_string().chars().take(16).collect()
}

/// Answers that overlap in the recording and end in another order than they began.
#[tokio::test]
async fn answers_that_end_in_any_order() {
    let gates: Vec<Gate> = (0..3).map(|_| Gate::closed()).collect();
    let held = gates.clone();
    let upstream = ScriptedUpstream::answering(move |request| {
        let n: usize =
            String::from_utf8_lossy(&request.body).trim_matches(['{', '}', '"', 'n', ':']).parse().unwrap();
        Answer::event_stream([format!("data: {{\"start\":{n}}}\n\n")])
            .wait(&held[n])
            .piece(format!("data: {{\"end\":{n}}}\n\n"))
    })
    .await
    .unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut clients = Vec::new();
    for n in 0..3 {
        let mut client = RawClient::connect(&recording.origin).await.unwrap();
        client.request("POST", CHAT, &[], format!("{{\"n\":{n}}}").as_bytes()).await.unwrap();
        client.head().await.unwrap();
        assert_eq!(client.chunk().await.unwrap().unwrap(), format!("data: {{\"start\":{n}}}\n\n").as_bytes());
        clients.push(client);
    }
    for n in [2, 0, 1] {
        gates[n].release();
        assert_eq!(
            clients[n].chunk().await.unwrap().unwrap(),
            format!("data: {{\"end\":{n}}}\n\n").as_bytes()
        );
        assert_eq!(clients[n].chunk().await.unwrap(), None);
    }
    drop(clients);
    recording.finish().await;
    let replaying = lab.recorded().replay().await;
    for n in [1, 2, 0] {
        let url = format!("{}{CHAT}", replaying.origin);
        let replayed = RawClient::post_json(&url, &format!("{{\"n\":{n}}}")).await.unwrap();
        assert_eq!(replayed.text(), format!("data: {{\"start\":{n}}}\n\ndata: {{\"end\":{n}}}\n\n"));
    }
    assert!(replaying.finish().await.unused.is_empty());
}

#[tokio::test]
async fn repeats_come_in_recorded_order_and_then_no_more() {
    let count = AtomicUsize::new(0);
    let upstream = ScriptedUpstream::answering(move |_| {
        Answer::json(said(&format!("answer {}", count.fetch_add(1, Ordering::SeqCst))))
    })
    .await
    .unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"again"}]}"#;
    for _ in 0..3 {
        RawClient::post_json(&format!("{}{CHAT}", recording.origin), body).await.unwrap();
    }
    recording.finish().await;
    let replaying = lab.recorded().replay().await;
    let url = format!("{}{CHAT}", replaying.origin);
    for n in 0..3 {
        let replayed = RawClient::post_json(&url, body).await.unwrap();
        assert_eq!(replayed.text(), said(&format!("answer {n}")));
    }
    let refused = RawClient::post_json(&url, body).await.unwrap();
    assert_eq!(refused.head.status, 422);
    assert_eq!(refused.head.header("x-should-retry"), Some("false"));
    assert_eq!(refused.head.header("x-looptape-divergence"), Some("EXHAUSTED"));
    let summary = replaying.finish().await;
    assert_eq!(summary.divergences.len(), 1);
    assert_eq!(summary.divergences[0].code, DivergenceCode::Exhausted);
}

/// Counts connections and answers none.
struct Trap {
    address: String,
    hits: Arc<AtomicUsize>,
}

impl Trap {
    fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hits = Arc::new(AtomicUsize::new(0));
        let counted = hits.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, hits }
    }
}

const AGENT: &str = r#"
import json, os, sys, urllib.request, urllib.error
base = os.environ["OPENAI_BASE_URL"]
def ask(text):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(base + "/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()
for text in sys.argv[1:]:
    status, headers, body = ask(text)
    print(status, headers.get("x-should-retry"), headers.get("x-looptape-divergence"), body)
print("key", os.environ["OPENAI_API_KEY"], os.environ.get("GROQ_API_KEY"))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_contacts_nobody() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json(said("hello"))).await.unwrap();
    let mut env = TestEnv::new();
    env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
    env.set("GROQ_API_KEY", "gsk-real-0123456789");
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    std::fs::write(env.home().join("agent.py"), AGENT).unwrap();
    let ran = run(&env, &["record", "--", "python3", "agent.py", "one", "two"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("key sk-real-0123456789abcdefghij gsk-real"), "{ran:?}");
    assert_eq!(upstream.requests().len(), 2);
    let trace = ran.trace().to_owned();

    // Every way out is a trap now.
    let (proxy, provider) = (Trap::set(), Trap::set());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        env.set(name, &format!("http://{}", proxy.address));
    }
    for name in ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"] {
        env.set(name, &format!("http://{}/v1", provider.address));
    }
    let replayed = run(&env, &["replay", &trace, "--", "python3", "agent.py", "one", "two"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let answers =
        |text: &str| text.lines().filter(|l| l.starts_with("200")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(answers(&replayed.stdout), answers(&ran.stdout));
    assert!(
        replayed.stdout.contains("key looptape-replay-has-no-key looptape-replay-has-no-key"),
        "{replayed:?}"
    );
    assert!(!replayed.stdout.contains("real"), "{replayed:?}");

    // So does the self-check, and a replay that diverges.
    let checked = run(&env, &["replay", &trace]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let report = env.home().join("report.json");
    let diverged = run(
        &env,
        &["replay", &trace, "--report", report.to_str().unwrap(), "--", "python3", "agent.py", "one", "2"],
    )
    .await;
    assert_eq!(diverged.code, Some(3), "{diverged:?}");
    let refusal = diverged.stdout.lines().find(|l| l.starts_with("422")).unwrap();
    assert!(
        refusal.starts_with("422 false HISTORY_REWRITE") || refusal.starts_with("422 false NEVER_RECORDED"),
        "{refusal}"
    );
    assert!(diverged.stderr.contains("step 2") && diverged.stderr.contains("two"), "{}", diverged.stderr);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!((&report["exit_code"], &report["child_exit_code"]), (&3.into(), &0.into()));
    assert_eq!(report["replay"]["divergences"][0]["root"], true);

    assert_eq!(upstream.requests().len(), 2, "a replay reached the provider");
    assert_eq!(proxy.hits.load(Ordering::SeqCst), 0, "a replay used the proxy");
    assert_eq!(provider.hits.load(Ordering::SeqCst), 0, "a replay used the base URL of its parent");
}

/// The binary, without blocking the runtime that serves its upstream.
async fn run(env: &TestEnv, arguments: &[&str]) -> crate::env::Ran {
    let mut command = env.command(arguments);
    tokio::task::spawn_blocking(move || crate::env::Ran::from(command.output().unwrap())).await.unwrap()
}
