use super::*;
use looptape_core::simulated::Pace;
use looptape_testkit::raw_client::RawClient;

const CHAT: &str =
    r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello there"}]}"#;

fn slow() -> Script {
    Script { pace: Pace { first_us: 0, between_us: 30_000 }, ..Script::tool_loop() }
}

/// A client that has sent one streamed request and read the head and the first chunk of its answer.
async fn streaming(url: &str) -> RawClient {
    let mut client = RawClient::connect(url).await.unwrap();
    client.request("POST", "/v1/chat/completions", &[], CHAT.as_bytes()).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(client.chunk().await.unwrap().unwrap().starts_with(b"data: {"));
    client
}

async fn rest(client: &mut RawClient) -> String {
    let mut body = Vec::new();
    while let Some(chunk) = client.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn pieces_leave_one_by_one_and_stopping_lets_them_finish() {
    let (url, server) = SimulatedServer::start(slow()).await.unwrap();
    let mut client = streaming(&url).await;
    let (calls, body) = tokio::join!(server.stop(), rest(&mut client));
    assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
    assert_eq!(calls, 1);
    assert!(RawClient::connect(&url).await.is_err(), "the port is still open");
}

#[tokio::test]
async fn the_same_request_is_counted_wherever_it_comes_from() {
    let mut script = Script::tool_loop();
    script.turns[2].rejections = Script::demo().turns[1].rejections.clone();
    let (url, server) = SimulatedServer::start(script).await.unwrap();
    let result = r#"{"role":"tool","tool_call_id":"a","content":"x"}"#;
    let body = |n: u32| {
        format!(r#"{{"model":"gpt-4o-mini","seed":{n},"messages":[{result},{result},{result}],"tools":[]}}"#)
    };
    let path = format!("{url}/openai/v1/chat/completions");
    let mut seen = Vec::new();
    for n in [1, 2, 1, 2] {
        let response = RawClient::post_json(&path, &body(n)).await.unwrap();
        seen.push((response.head.status, response.head.header("retry-after").map(str::to_owned)));
    }
    let refused = (429, Some("1".to_owned()));
    assert_eq!(seen, [refused.clone(), refused, (200, None), (200, None)]);
    assert_eq!(server.calls(), 4);
}

#[tokio::test]
async fn a_client_that_hangs_up_harms_nobody() {
    let (url, server) = SimulatedServer::start(slow()).await.unwrap();
    let mut other = streaming(&url).await;
    streaming(&url).await.hang_up().unwrap();
    assert!(rest(&mut other).await.ends_with("data: [DONE]\n\n"));
    assert_eq!(server.stop().await, 2);
}

#[tokio::test]
async fn a_whole_answer_states_its_length() {
    let (url, _server) = SimulatedServer::start(Script::tool_loop()).await.unwrap();
    let body = r#"{"model":"gpt-4o-mini","input":"hello there"}"#;
    let response = RawClient::post_json(&format!("{url}/v1/responses"), body).await.unwrap();
    let length = response.body().len().to_string();
    assert_eq!(response.head.header("content-length"), Some(length.as_str()));
    assert_eq!(response.head.header("transfer-encoding"), None);
    assert!(response.text().contains("You said: hello there"));
}
