//! What an upstream may expect of a recorded agent: each call once, as the agent made it; and of a replayed
//! one: nothing at all.

use crate::lab::Lab;
use serde_json::json;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const KEY: &str = "Bearer sk-proj-0123456789abcdefABCDEF0123456789";

fn no_header_of_ours(request: &Request) -> bool {
    request.headers.keys().all(|name| !name.as_str().starts_with("x-looptape"))
}

async fn ask(origin: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("{origin}/openai/v1/chat/completions?team=a%20b"))
        .header("authorization", KEY)
        .header("content-type", "application/json")
        .header("x-looptape-loop", "refund")
        .body(r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn each_call_arrives_once_and_a_replay_sends_none() {
    let upstream = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(query_param("team", "a b"))
        .and(header("authorization", KEY))
        .and(body_json(json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "hi" }] })))
        .and(no_header_of_ours)
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "choices": [] })))
        .expect(1)
        .mount(&upstream)
        .await;
    let lab = Lab::new();
    let recording = lab.record(&upstream.uri()).await;
    let live = ask(&recording.origin).await;
    recording.finish().await;
    assert_eq!(live, (200, r#"{"choices":[]}"#.to_owned()));
    upstream.verify().await;

    let replaying = lab.recorded().replay().await;
    assert_eq!(ask(&replaying.origin).await, live);
    replaying.finish().await;
    // Still one: the replay asked nobody.
    upstream.verify().await;
}
