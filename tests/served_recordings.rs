//! Many recordings at one address: `replay --all --listen ADDR:PORT`.

use crate::env::TestEnv;
use crate::gateway::process::{Gateway, Recordings};
use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use rustix::process::Signal;

const CHAT: &str = "/openai/v1/chat/completions";

/// A key of the provider's form, which the recording must not hold.
const SECRET: &str = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEF";

fn question(text: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

async fn ask(origin: &str, path: &str, body: &str) -> (u16, String) {
    let response = RawClient::post_json(&format!("{origin}{path}"), body).await.unwrap();
    (response.head.status, response.text())
}

/// Records what each trace asks for, as a gateway; answers are numbered.
async fn recorded(env: &TestEnv) {
    let upstream = ScriptedUpstream::answering({
        let count = std::sync::atomic::AtomicU32::new(0);
        move |_| {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let said = format!(r#"{{"id":"x","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"answer {n}"}},"finish_reason":"stop"}}]}}"#);
            Answer::json(said)
        }
    })
    .await
    .unwrap();
    let gateway = Gateway::start(env, &upstream.url(), &[]).await;
    let secret = question(&format!("the key is {SECRET}"));
    for (trace, body) in
        [("one", question("same")), ("two", question("same")), ("two", question("other")), ("three", secret)]
    {
        let (status, _) = ask(&gateway.url, &format!("/t/{trace}{CHAT}"), &body).await;
        assert_eq!(status, 200);
    }
    gateway.stop().await;
}

async fn serve(env: &TestEnv) -> Gateway {
    let database = Recordings::of(env).path;
    let arguments = [
        "replay",
        "--all",
        "--listen",
        "127.0.0.1:0",
        "--db",
        database.to_str().unwrap(),
        "--report",
        "r.json",
    ];
    Gateway::spawn(env, env.command(&arguments)).await
}

#[tokio::test]
async fn by_bytes_in_recorded_order_over_and_over_and_by_name_once() {
    let env = TestEnv::new();
    recorded(&env).await;
    let server = serve(&env).await;
    let origin = server.url.clone();
    let number = |(status, text): (u16, String)| {
        assert_eq!(status, 200, "{text}");
        text.split("answer ").nth(1).unwrap().chars().next().unwrap()
    };
    let mut seen = String::new();
    for text in ["same", "other", "same", "same", "other"] {
        seen.push(number(ask(&origin, CHAT, &question(text)).await));
    }
    assert_eq!(seen, "02102");
    // Another secret in the same place is the same request.
    let rotated = SECRET.replace("abcdef", "zyxwvu");
    assert_eq!(number(ask(&origin, CHAT, &question(&format!("the key is {rotated}"))).await), '3');

    // By name: each answer once, until the replay is ended.
    let named = format!("/t/two{CHAT}");
    assert_eq!(number(ask(&origin, &named, &question("same")).await), '1');
    let (status, text) = ask(&origin, &named, &question("same")).await;
    assert_eq!(status, 422);
    assert!(text.contains("EXHAUSTED"), "{text}");
    let (status, ended) = ask(&origin, "/_looptape/v1/traces/two/end", "").await;
    assert_eq!(status, 200);
    assert!(ended.contains("\"unused\":[{"), "{ended}");
    assert_eq!(number(ask(&origin, &named, &question("same")).await), '1');
    let (status, text) = ask(&origin, &format!("/t/nobody{CHAT}"), &question("same")).await;
    assert_eq!(status, 404, "{text}");

    let (status, text) = ask(&origin, CHAT, &question("never")).await;
    assert_eq!(status, 422);
    assert!(text.contains("NEVER_RECORDED") && text.contains("None of the 4 recorded calls"), "{text}");

    server.signal(Signal::INT);
    let (code, said) = server.ended().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("6 requests answered by their bytes"), "{said}");
    assert!(said.contains("1 to POST /v1/chat/completions were not recorded"), "{said}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(env.home().join("r.json")).unwrap()).unwrap();
    assert_eq!((&report["traces"], &report["recorded_calls"]), (&3.into(), &4.into()));
    assert_eq!(report["replays"][0]["trace"], "two");
}
