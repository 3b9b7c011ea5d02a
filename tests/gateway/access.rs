//! Who may use a gateway: tokens beyond loopback, Host and Origin on it.

use super::agent::{chat, send};
use super::process::{Gateway, command, refused};
use crate::env::TestEnv;
use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;

const TOKEN: &str = "t0ken-of-the-gateway-0123456789";
const CHAT: &str = "/openai/v1/chat/completions";

async fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::answering(|_| Answer::json("{}")).await.expect("the upstream starts")
}

#[tokio::test]
async fn beyond_loopback_a_token_is_needed() {
    let env = TestEnv::new();
    for token in [&[][..], &["--token", "short"]] {
        let arguments = [&["--listen", "0.0.0.0:0"], token].concat();
        let (code, said) = refused(command(&env, &arguments)).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("token") && said.contains("/k/TOKEN"), "{said}");
    }
    let upstream = upstream().await;
    let stated = format!("openai={}", upstream.url());
    let mut command = command(&env, &["--listen", "0.0.0.0:0", "--upstream", &stated]);
    command.env("LOOPTAPE_TOKEN", TOKEN);
    let gateway = Gateway::spawn(&env, command).await;
    let url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    let host = [("host", "gateway.internal")];
    let status = async |path: &str| send(&url, path, &host, &chat("hi")).await.head.status;
    let with_token = |path: &str| format!("/k/{TOKEN}{path}");

    assert_eq!(status(CHAT).await, 401);
    assert_eq!(status(&format!("/k/{TOKEN}x{CHAT}")).await, 401);
    assert_eq!(status("/_looptape/v1/traces/job/end").await, 401);
    assert_eq!(upstream.requests().len(), 0, "nothing was forwarded");
    assert_eq!(status(&with_token(CHAT)).await, 200);
    assert_eq!(status(&with_token(&format!("/t/job{CHAT}"))).await, 200);
    assert!(matches!(status(&with_token("/_looptape/v1/traces/job/end")).await, 200 | 202));
    assert_eq!(status("/healthz").await, 200, "for load balancers");

    let recordings = gateway.recordings.clone();
    recordings.complete("job").await;
    let said = gateway.stop().await;
    assert!(!said.contains(TOKEN) && said.contains("/k/TOKEN/openai/v1"), "{said}");
    assert!(!recordings.holds(TOKEN), "the token is on the disk");
    assert!(upstream.requests().iter().all(|request| !request.contains(TOKEN)));
}

#[tokio::test]
async fn web_pages_are_refused() {
    let env = TestEnv::new();
    let upstream = upstream().await;
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for header in
        [("host", "evil.example"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        for path in [CHAT, "/healthz", "/_looptape/v1/traces/job/end"] {
            let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
            client.request("POST", path, &[header], b"").await.expect("it can be sent");
            assert_eq!(client.response().await.expect("an answer").head.status, 403, "{header:?} {path}");
        }
    }
    assert_eq!(upstream.requests().len(), 0);
    gateway.stop().await;
}
