use super::*;
use crate::answer::{Encoding, Gate};
use crate::raw_client::RawClient;
use std::io::Read;
use std::time::Duration;

async fn client_of(upstream: &ScriptedUpstream) -> RawClient {
    let mut client = RawClient::connect(&upstream.url()).await.unwrap();
    client.request("GET", "/x?y=1", &[("x-one", "1")], b"").await.unwrap();
    client
}

#[tokio::test]
async fn a_chunk_waits_for_its_gate() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let gate = Gate::closed();
    upstream.push(Answer::event_stream(["data: 1\n\n"]).wait(&gate).piece("data: 2\n\n"));
    let mut client = client_of(&upstream).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.chunk().await.unwrap().unwrap(), b"data: 1\n\n");
    let early = tokio::time::timeout(Duration::from_millis(50), client.chunk()).await;
    assert!(early.is_err(), "the second chunk came before its gate opened: {early:?}");
    gate.release();
    assert_eq!(client.chunk().await.unwrap().unwrap(), b"data: 2\n\n");
    assert_eq!(client.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn requests_are_remembered_and_connections_kept() {
    let upstream = ScriptedUpstream::answering(|r| Answer::json(r.body.clone())).await.unwrap();
    let mut client = client_of(&upstream).await;
    client.response().await.unwrap();
    let chunked =
        b"POST /b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    client.send(chunked).await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "abcde");
    RawClient::post_json(&format!("{}/c", upstream.url()), "{}").await.unwrap();
    let requests = upstream.wait_for_requests(3).await;
    let seen: Vec<_> =
        requests.iter().map(|r| (r.method.as_str(), r.target.as_str(), r.connection)).collect();
    assert_eq!(seen, [("GET", "/x?y=1", 0), ("POST", "/b", 0), ("POST", "/c", 1)]);
    assert_eq!(requests[0].header("x-one"), Some("1"));
    assert!(requests[1].contains("abcde") && !requests[1].contains("x-one"));
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn bad_endings_are_seen_as_what_they_are() {
    let cases = [
        (Answer::no_response(), io::ErrorKind::UnexpectedEof),
        (Answer::no_response_reset(), io::ErrorKind::ConnectionReset),
        (Answer::event_stream(["data: 1\n\n"]).then_cut(), io::ErrorKind::UnexpectedEof),
        (Answer::event_stream(["data: 1\n\n"]).then_reset(), io::ErrorKind::ConnectionReset),
        (Answer::json("{").promising(10).then_cut(), io::ErrorKind::UnexpectedEof),
    ];
    for (answer, expected) in cases {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(answer.clone());
        let error = client_of(&upstream).await.response().await.unwrap_err();
        assert_eq!(error.kind(), expected, "{answer:?}");
    }
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::status(200).until_close().piece("all"));
    assert_eq!(client_of(&upstream).await.response().await.unwrap().text(), "all");
    assert_eq!(client_of(&upstream).await.response().await.unwrap().head.status, 599);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let never = Gate::closed();
    upstream.push(Answer::event_stream(["data: 1\n\n"]).wait(&never).piece("data: 2\n\n"));
    upstream.push(Answer::json("{}").stalled(&never));
    let mut client = client_of(&upstream).await;
    client.head().await.unwrap();
    client.chunk().await.unwrap();
    client.hang_up().unwrap();
    upstream.wait_for_hang_ups(1).await;
    drop(client_of(&upstream).await);
    upstream.wait_for_hang_ups(2).await;
}

#[tokio::test]
async fn big_and_compressed_bodies_arrive_whole() {
    let plain: Vec<u8> =
        (0..20 * 1024 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::json(plain.clone()));
    assert_eq!(client_of(&upstream).await.response().await.unwrap().body(), plain);

    let text = "data: hello\n\n".repeat(200);
    for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
        upstream.push(Answer::event_stream([&text[..100], &text[100..]]).encoded(encoding));
        let response = client_of(&upstream).await.response().await.unwrap();
        assert_eq!(response.head.header("content-encoding"), Some(encoding.name()));
        assert_eq!(response.chunks.len(), 2);
        assert_eq!(decoded(encoding, &response.body()), text);
    }
}

fn decoded(encoding: Encoding, bytes: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        Encoding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).unwrap(),
        Encoding::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap(),
    };
    text
}
