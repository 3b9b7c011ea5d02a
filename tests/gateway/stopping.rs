//! How a gateway stops: draining, a second signal, a kill.

use super::agent::{chat, send};
use super::process::{Gateway, command, eventually, refused};
use crate::env::TestEnv;
use looptape_core::exchange::{Ending, Outcome};
use looptape_store::TraceStatus;
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use rustix::process::Signal;

const PATH: &str = "/t/job/openai/v1/chat/completions";
const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const LAST: &str = "data: [DONE]\n\n";

/// A gateway with a stream under way, whose first piece has arrived.
async fn streaming(env: &TestEnv, arguments: &[&str]) -> (Gateway, RawClient, Gate, ScriptedUpstream) {
    let upstream = ScriptedUpstream::start().await.expect("the upstream starts");
    let gate = Gate::closed();
    upstream.push(Answer::json("{}"));
    upstream.push(Answer::event_stream([FIRST]).wait(&gate).piece(LAST));
    let gateway = Gateway::start(env, &upstream.url(), arguments).await;
    assert_eq!(send(&gateway.url, PATH, &[], &chat("before")).await.head.status, 200);
    let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
    client.request("POST", PATH, &[], chat("slow").as_bytes()).await.expect("it can be sent");
    assert_eq!(client.head().await.expect("a head").status, 200);
    assert_eq!(client.chunk().await.expect("a chunk").as_deref(), Some(FIRST.as_bytes()));
    (gateway, client, gate, upstream)
}

#[tokio::test]
async fn draining_lets_streams_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let (mut gateway, mut client, gate, _upstream) = streaming(&env, &[]).await;
        let healthy = get(&gateway.url, "/healthz").await;
        assert_eq!((healthy.0, healthy.1["status"].as_str()), (200, Some("ok")));
        assert_eq!((healthy.1["calls"].as_u64(), healthy.1["in_flight"].as_u64()), (Some(2), Some(1)));
        // A health check that is under way when the signal comes.
        let mut check = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
        check.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n").await.expect("it can be sent");
        get(&gateway.url, "/healthz").await;

        gateway.signal(signal);
        gateway.line("looptape: draining, 1 calls").await;
        eventually("new connections are refused", || {
            std::net::TcpStream::connect(gateway.url.trim_start_matches("http://")).err()
        })
        .await;
        check.send(b"\r\n").await.expect("it can be sent");
        let answer = check.response().await.expect("the open connection is served");
        assert_eq!(answer.head.status, 503);
        assert!(answer.text().contains("draining"), "{}", answer.text());

        gate.release();
        assert_eq!(client.chunk().await.expect("the rest").as_deref(), Some(LAST.as_bytes()));
        assert_eq!(client.chunk().await.expect("a proper end"), None);
        let recordings = gateway.recordings.clone();
        let (code, said) = gateway.ended().await;
        assert_eq!(code, Some(0), "{said}");
        let row = recordings.find("job");
        assert_eq!((&row.status, row.run), (&TraceStatus::Complete, 1));
        assert_eq!(recordings.reader().seqs(row.key).expect("its calls").len(), 2);
    }
}

async fn get(url: &str, path: &str) -> (u16, serde_json::Value) {
    let mut client = RawClient::connect(url).await.expect("the gateway accepts");
    client.request("GET", path, &[], b"").await.expect("it can be sent");
    let response = client.response().await.expect("an answer");
    (response.head.status, serde_json::from_slice(&response.body()).expect("JSON"))
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let env = TestEnv::new();
    let (mut gateway, mut client, _gate, _upstream) = streaming(&env, &["--drain", "1h"]).await;
    gateway.signal(Signal::TERM);
    gateway.line("looptape: draining").await;
    gateway.signal(Signal::TERM);
    assert_broken_off(gateway, &mut client).await;
}

#[tokio::test]
async fn draining_takes_no_longer_than_it_may() {
    let env = TestEnv::new();
    let (gateway, mut client, _gate, _upstream) = streaming(&env, &["--drain", "1s"]).await;
    gateway.signal(Signal::TERM);
    assert_broken_off(gateway, &mut client).await;
}

/// The client sees a broken connection, and the trace says that an end is missing.
async fn assert_broken_off(gateway: Gateway, client: &mut RawClient) {
    let recordings = gateway.recordings.clone();
    let (code, said) = gateway.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("broken off"), "{said}");
    assert!(client.chunk().await.is_err(), "no proper end");
    let row = recordings.find("job");
    let TraceStatus::Incomplete(reasons) = &row.status else { panic!("{:?}", row.status) };
    assert!(reasons[0].contains("had not ended"), "{reasons:?}");
    let call = recordings.reader().exchange(row.key, 1).expect("the call that was broken off");
    assert!(matches!(call.outcome, Outcome::InFlight), "it did not end because its client went away");
}

#[tokio::test]
async fn a_killed_gateway_leaves_evidence() {
    let env = TestEnv::new();
    let (gateway, _client, _gate, _upstream) = streaming(&env, &["--durability", "strict"]).await;
    let recordings = gateway.recordings.clone();
    eventually("the call under way is on disk", || {
        let row = recordings.find("job");
        (recordings.reader().seqs(row.key).ok()?.len() == 2).then_some(())
    })
    .await;
    assert_eq!(recordings.find("job").status, TraceStatus::Recording);
    gateway.signal(Signal::KILL);
    let (code, _) = gateway.ended().await;
    assert_eq!(code, None);

    let row = recordings.find("job");
    let TraceStatus::Aborted(reasons) = &row.status else { panic!("{:?}", row.status) };
    assert!(reasons[0].contains("without closing"), "{reasons:?}");
    let reader = recordings.reader();
    let Outcome::Answered(answer) = reader.exchange(row.key, 0).expect("the first call").outcome else {
        panic!("its answer was complete");
    };
    assert_eq!((answer.body.as_ref(), answer.ending), (b"{}".as_slice(), Ending::Complete));
    let under_way = reader.exchange(row.key, 1).expect("the second call");
    assert_eq!(under_way.request_body, chat("slow"));
    assert!(matches!(under_way.outcome, Outcome::InFlight));

    // The next gateway does not mistake the trace for one of its own.
    let upstream = ScriptedUpstream::start().await.expect("the upstream starts");
    upstream.push(Answer::json("{}"));
    let next = Gateway::start(&env, &upstream.url(), &[]).await;
    assert_eq!(send(&next.url, PATH, &[], &chat("again")).await.head.status, 200);
    next.stop().await;
    assert_eq!(recordings.calls_by_trace(), [("job#1".into(), 2), ("job#2".into(), 1)]);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let env = TestEnv::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = taken.local_addr().expect("it has an address").to_string();
    let (code, said) = refused(command(&env, &["--listen", &listen])).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&listen) && said.contains("already in use") && said.contains("--listen"), "{said}");
}
