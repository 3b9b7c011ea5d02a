//! Calls that end badly: the client sees what it would see without looptape, the recording says what
//! happened, and a replay ends in the same way after the same bytes, never as a complete answer.

use crate::lab::{Lab, Recorded, Recording, answer, ending};
use looptape_core::exchange::{Ending, Outcome};
use looptape_store::TraceStatus;
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use std::io::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

const CHAT: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;
const DELTA: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

/// What a client saw of an answer.
#[derive(Debug, PartialEq)]
enum Seen {
    NoResponse,
    Broken { status: u16, body: String },
    Whole { status: u16, body: String },
}

async fn ask(origin: &str) -> Seen {
    let mut client = RawClient::connect(origin).await.unwrap();
    client.request("POST", CHAT, &[("content-type", "application/json")], BODY.as_bytes()).await.unwrap();
    read(&mut client).await
}

async fn read(client: &mut RawClient) -> Seen {
    let head = match client.head().await {
        Ok(head) => head,
        Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return Seen::NoResponse;
        }
        Err(e) => panic!("{e}"),
    };
    let mut body = Vec::new();
    let status = head.status;
    loop {
        match client.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Seen::Whole { status, body: String::from_utf8(body).unwrap() },
            Err(e) if e.kind() == ErrorKind::TimedOut => panic!("{e}"),
            Err(_) => return Seen::Broken { status, body: String::from_utf8(body).unwrap() },
        }
    }
}

/// Records one call, and replays it.
async fn record_and_replay(answer: Answer) -> (Seen, Recorded, Seen) {
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(answer);
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let live = ask(&recording.origin).await;
    recording.finish().await;
    let (recorded, replayed) = replay(&lab).await;
    (live, recorded, replayed)
}

async fn replay(lab: &Lab) -> (Recorded, Seen) {
    let recorded = lab.recorded();
    let replaying = recorded.replay().await;
    let replayed = ask(&replaying.origin).await;
    let summary = replaying.finish().await;
    assert_eq!(summary.divergences.len(), 0, "{summary:?}");
    (recorded, replayed)
}

fn is_reset(ending: &Ending) -> bool {
    matches!(ending, Ending::UpstreamReset { error } if !error.is_empty())
}

#[tokio::test]
async fn broken_streams() {
    let long = format!("data: {}\n\n", "x".repeat(200_000));
    for (name, answer, sent) in [
        ("reset", Answer::event_stream([DELTA, DELTA]).then_reset(), DELTA.repeat(2)),
        ("cut", Answer::event_stream([DELTA, DELTA]).then_cut(), DELTA.repeat(2)),
        ("cut after much", Answer::event_stream([long.as_str(), DELTA]).then_cut(), format!("{long}{DELTA}")),
        ("less than promised", Answer::json("{\"half\":").promising(500).then_cut(), "{\"half\":".into()),
        ("reset inside", Answer::json("{\"half\":").promising(500).then_reset(), "{\"half\":".into()),
    ] {
        let (live, recorded, replayed) = record_and_replay(answer).await;
        let Seen::Broken { status: 200, body } = &live else { panic!("{name}: {live:?}") };
        // A reset may overtake the last bytes, on any hop and without looptape too.
        if !name.starts_with("reset") {
            assert!(*body == sent, "{name}: the client got {} of {} bytes", body.len(), sent.len());
        }
        assert!(sent.starts_with(body.as_str()), "{name}");
        let exchange = recorded.only();
        assert!(is_reset(ending(exchange)), "{name}: {:?}", ending(exchange));
        assert_eq!(recorded.state(0), "upstream_reset", "{name}");
        assert_eq!(recorded.row.status, TraceStatus::Complete, "{name}: the recording lacks nothing");
        // What the client saw is what is recorded, and what is replayed.
        assert!(crate::lab::answer(exchange).body == body.as_bytes(), "{name}");
        assert!(replayed == live, "{name}: replayed as {replayed:?}");
    }
}

#[tokio::test]
async fn the_bytes_before_a_reset_reach_the_client() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let gate = Gate::closed();
    upstream.push(Answer::event_stream([DELTA, DELTA]).wait(&gate).then_reset());
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    client.request("POST", CHAT, &[], BODY.as_bytes()).await.unwrap();
    client.head().await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 * DELTA.len() {
        got.extend(client.chunk().await.unwrap().unwrap());
    }
    gate.release();
    client.chunk().await.unwrap_err();
    recording.finish().await;
    let (recorded, replayed) = replay(&lab).await;
    assert_eq!(recorded.state(0), "upstream_reset");
    assert_eq!(replayed, Seen::Broken { status: 200, body: DELTA.repeat(2) });
}

#[tokio::test]
async fn no_response_at_all() {
    for answer in [Answer::no_response(), Answer::no_response_reset()] {
        let (live, recorded, replayed) = record_and_replay(answer).await;
        assert_eq!(live, Seen::NoResponse);
        assert!(is_reset(ending(recorded.only())), "{:?}", recorded.only());
        assert_eq!(recorded.state(0), "upstream_reset");
        assert_eq!(replayed, Seen::NoResponse);
    }
}

#[tokio::test]
async fn nobody_listens_and_tls_that_fails() {
    // A port that is taken, so that nobody else gets it, and at which nobody listens.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = format!("http://{}", closed.local_addr().unwrap());
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        // What web servers say to a TLS greeting on their plain port.
        while let Ok((mut socket, _)) = plain.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    for upstream in [refused, tls, "http://no-such-host.invalid".to_owned()] {
        let lab = Lab::new();
        let recording = lab.record(&upstream).await;
        assert_eq!(ask(&recording.origin).await, Seen::NoResponse, "{upstream}");
        recording.finish().await;
        let (recorded, replayed) = replay(&lab).await;
        let Outcome::NoResponse { ending: Ending::UpstreamUnreachable { error }, .. } =
            &recorded.only().outcome
        else {
            panic!("{upstream}: {:?}", recorded.only())
        };
        assert!(!error.is_empty());
        assert_eq!(recorded.state(0), "upstream_unreachable");
        assert_eq!(recorded.row.status, TraceStatus::Complete);
        assert_eq!(replayed, Seen::NoResponse);
    }
}

/// Starts a call and returns when `passed` pieces have come.
async fn begin(recording: &Recording, passed: usize) -> RawClient {
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    client.request("POST", CHAT, &[], BODY.as_bytes()).await.unwrap();
    if passed > 0 {
        client.head().await.unwrap();
        for _ in 0..passed {
            client.chunk().await.unwrap().unwrap();
        }
    }
    client
}

/// How a client goes away.
#[derive(Clone, Copy)]
enum Departure {
    Close,
    Reset,
}

fn leave(client: RawClient, departure: Departure) {
    match departure {
        Departure::Close => drop(client),
        Departure::Reset => client.hang_up().unwrap(),
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_stalled_upstream() {
    for departure in [Departure::Close, Departure::Reset] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        let never = Gate::closed();
        upstream.push(Answer::json("{}").stalled(&never));
        let lab = Lab::new();
        let recording = lab.record(&upstream.url()).await;
        let client = begin(&recording, 0).await;
        upstream.wait_for_requests(1).await;
        leave(client, departure);
        // The upstream sees the hang-up: nobody pays for an answer that nobody reads.
        upstream.wait_for_hang_ups(1).await;
        recording.finish().await;
        let (recorded, replayed) = replay(&lab).await;
        assert_eq!(*ending(recorded.only()), Ending::ClientGone);
        assert_eq!(recorded.state(0), "client_gone");
        assert_eq!(recorded.row.status, TraceStatus::Complete);
        assert_eq!(replayed, Seen::NoResponse);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_inside_a_stream() {
    for departure in [Departure::Close, Departure::Reset] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        let never = Gate::closed();
        upstream.push(Answer::event_stream([DELTA]).wait(&never).piece(DELTA));
        let lab = Lab::new();
        let recording = lab.record(&upstream.url()).await;
        let client = begin(&recording, 1).await;
        leave(client, departure);
        upstream.wait_for_hang_ups(1).await;
        recording.finish().await;
        let (recorded, replayed) = replay(&lab).await;
        assert_eq!(*ending(recorded.only()), Ending::ClientGone);
        assert_eq!(recorded.state(0), "client_gone");
        assert_eq!(replayed, Seen::Broken { status: 200, body: DELTA.into() });
    }
}

/// SDKs close the connection at `[DONE]`, which may be before the upstream ends the body.
#[tokio::test]
async fn a_client_that_leaves_after_the_terminal_event_has_its_answer() {
    for durability in ["relaxed", "strict"] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        let never = Gate::closed();
        upstream.push(Answer::event_stream([DELTA, "data: [DONE]\n\n"]).wait(&never));
        let lab = Lab::new();
        let recording = match durability {
            "strict" => lab.record_strictly(&upstream.url()).await,
            _ => lab.record(&upstream.url()).await,
        };
        let pieces = if durability == "strict" { 1 } else { 2 };
        let client = begin(&recording, pieces).await;
        drop(client);
        upstream.wait_for_hang_ups(1).await;
        recording.finish().await;
        let recorded = lab.recorded();
        let expected = if durability == "strict" { "client_gone" } else { "complete" };
        assert_eq!(recorded.state(0), expected, "{durability}");
    }
}

#[tokio::test]
async fn an_error_event_inside_a_stream() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let upstream = ScriptedUpstream::start().await.unwrap();
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    upstream.push(Answer::event_stream([start, error]));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let body = r#"{"model":"c","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":true}"#;
    let live =
        RawClient::post_json(&format!("{}/anthropic/v1/messages", recording.origin), body).await.unwrap();
    recording.finish().await;
    let recorded = lab.recorded();
    assert_eq!(recorded.state(0), "stream_error");
    let replaying = recorded.replay().await;
    let url = format!("{}/anthropic/v1/messages", replaying.origin);
    let replayed = RawClient::post_json(&url, body).await.unwrap();
    assert_eq!(replayed.chunks, live.chunks);
    replaying.finish().await;
    assert_eq!(answer(recorded.only()).body, [start, error].concat().as_bytes());
}

#[tokio::test]
async fn a_client_that_hangs_up_while_uploading() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{{\"mess");
    client.send(head.as_bytes()).await.unwrap();
    drop(client);
    // Another call goes through as if nothing had happened.
    assert_eq!(ask(&recording.origin).await, Seen::Whole { status: 200, body: "{}".into() });
    recording.finish().await;
    assert_eq!(upstream.requests().len(), 1, "half a request never reaches the upstream");
    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    let states: Vec<_> = (0..recorded.facts.len()).map(|i| recorded.state(i)).collect();
    assert!(states.contains(&"complete"), "{states:?}");
    // The half-sent request is no call that a replay would miss.
    let replaying = recorded.replay().await;
    ask(&replaying.origin).await;
    let summary = replaying.finish().await;
    assert!(summary.unused.is_empty() && summary.divergences.is_empty(), "{summary:?}");
}

/// A client that reads slowly gets what came before the break, too.
#[tokio::test]
async fn a_slow_reader_of_a_broken_answer() {
    let big = vec![b'x'; 12 << 20];
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::status(200).promising(big.len() + 1).piece(big.clone()).then_cut());
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let slowly = async |origin: String| {
        let mut client = RawClient::connect(&origin).await.unwrap();
        client.request("POST", CHAT, &[], BODY.as_bytes()).await.unwrap();
        client.head().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut got = 0;
        while let Ok(Some(piece)) = client.chunk().await {
            got += piece.len();
        }
        got
    };
    let live = slowly(recording.origin.clone()).await;
    recording.finish().await;
    let recorded = lab.recorded();
    assert_eq!(recorded.state(0), "upstream_reset");
    let replaying = recorded.replay().await;
    let replayed = slowly(replaying.origin.clone()).await;
    replaying.finish().await;
    assert_eq!((live, replayed), (big.len(), big.len()));
}
