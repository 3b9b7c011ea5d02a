//! Where calls go: providers told apart by prefix or by path, and how paths join upstreams.

use super::agent::{chat, send};
use super::process::{Gateway, command, refused};
use crate::env::TestEnv;
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;

async fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::answering(|_| Answer::json("{}")).await.expect("the upstream starts")
}

#[tokio::test]
async fn prefixed_and_bare_paths_reach_their_provider() {
    let env = TestEnv::new();
    let (openai, anthropic) = (upstream().await, upstream().await);
    let stated = [
        format!("openai={}/base/v1", openai.url()),
        format!("anthropic={}", anthropic.url()),
        format!("mine={}", openai.url()),
    ];
    let arguments: Vec<&str> = stated.iter().flat_map(|s| ["--upstream", s.as_str()]).collect();
    let gateway = Gateway::spawn(&env, command(&env, &arguments)).await;
    for path in [
        "/openai/v1/chat/completions",
        "/v1/chat/completions",
        "/t/job-1/openai/v1/chat/completions?a=b",
        "/openai/chat/completions",
        "/mine/anything/else",
        "/anthropic/v1/messages?beta=true",
        "/v1/messages",
        "/t/job-1/v1/messages",
    ] {
        let response = send(&gateway.url, path, &[("x-looptape-agent", "me")], &chat("hi")).await;
        assert_eq!((response.head.status, response.text().as_str()), (200, "{}"), "{path}");
    }
    let targets = |u: &ScriptedUpstream| u.requests().into_iter().map(|r| r.target).collect::<Vec<_>>();
    assert_eq!(
        targets(&openai),
        [
            "/base/v1/chat/completions",
            "/base/v1/chat/completions",
            "/base/v1/chat/completions?a=b",
            "/base/v1/chat/completions",
            "/anything/else"
        ]
    );
    assert_eq!(targets(&anthropic), ["/v1/messages?beta=true", "/v1/messages", "/v1/messages"]);
    for request in openai.requests().iter().chain(&anthropic.requests()) {
        assert!(!request.contains("x-looptape") && !request.contains("job-1"), "{request:?}");
        assert_eq!(request.body, chat("hi").into_bytes());
    }

    let response = send(&gateway.url, "/who/knows", &[], "").await;
    assert_eq!(response.head.status, 404, "{}", response.text());
    assert!(response.text().contains("/openai/v1"), "{}", response.text());
    gateway.stop().await;
}

#[tokio::test]
async fn it_says_where_it_is() {
    let env = TestEnv::new();
    let upstream = upstream().await;
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    let (url, recordings) = (gateway.url.clone(), gateway.recordings.clone());
    let said = gateway.stop().await;
    for expected in [
        format!("OPENAI_BASE_URL={url}/openai/v1\n"),
        format!("ANTHROPIC_BASE_URL={url}/anthropic\n"),
        format!("GOOGLE_GEMINI_BASE_URL={url}/gemini\n"),
        format!("openai {}\n", upstream.url()),
        format!("{}\n", recordings.path.display()),
    ] {
        assert!(said.contains(&expected), "{expected} in {said}");
    }
    let gateway = Gateway::start(&env, &upstream.url(), &["--quiet"]).await;
    let url = gateway.url.clone();
    assert_eq!(gateway.stop().await, format!("listening: {url}\n"));
}

#[tokio::test]
async fn it_does_not_forward_to_itself() {
    let env = TestEnv::new();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = command(&env, &["--listen", &listen]);
    command.env("OPENAI_BASE_URL", format!("http://localhost:{port}/openai/v1"));
    let (code, said) = refused(command).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("this gateway itself"), "{said}");
}

/// Free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}
