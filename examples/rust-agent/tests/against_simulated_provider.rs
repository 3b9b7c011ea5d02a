//! The whole agent against the simulated provider: two parallel calls, a refusal, a third call, an answer.

use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::SimulatedServer;

#[tokio::test]
async fn the_agent_reaches_its_answer_through_a_refusal() {
    let (url, server) = SimulatedServer::start(Script::demo()).await.unwrap();
    let mut out = Vec::new();
    let answer = looptape_example_agent::run(&format!("{url}/v1"), "none", &mut out).await.unwrap();
    assert!(answer.starts_with("Go to Lisbon"), "{answer}");
    assert_eq!(server.stop().await, 4, "three turns and one refused try");
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().map(|l| l.split([':', '(']).next().unwrap_or_default()).collect();
    assert_eq!(lines, ["user", "assistant", "tool", "tool", "", "assistant", "tool", "assistant"], "{out}");
    assert!(out.contains("(refused with 429, trying again)"), "{out}");
}

#[tokio::test]
async fn a_provider_that_is_down_is_named() {
    let (url, server) = SimulatedServer::start(Script::demo()).await.unwrap();
    server.stop().await;
    let error = looptape_example_agent::run(&url, "none", &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("no answer from {url}/chat/completions")), "{error}");
}
