//! Recording never harms the agent: what passes is what would pass without looptape, byte for byte and
//! piece by piece, and the recording holds the same.

use crate::env::TestEnv;
use crate::lab::{Lab, answer};
use looptape_core::exchange::Ending;
use looptape_store::{Reader, Selector, TraceStatus};
use looptape_testkit::answer::{Answer, Encoding, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use std::time::Duration;

const CHAT: &str = "/openai/v1/chat/completions";

const DELTA: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn post_headers() -> [(&'static str, &'static str); 1] {
    [("content-type", "application/json")]
}

#[tokio::test]
async fn the_first_chunk_passes_while_the_upstream_waits() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let gate = Gate::closed();
    upstream.push(Answer::event_stream([DELTA]).wait(&gate).piece(DELTA).piece(DONE));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    client.request("POST", CHAT, &post_headers(), b"{}").await.unwrap();
    client.head().await.unwrap();
    assert_eq!(client.chunk().await.unwrap().unwrap(), DELTA.as_bytes());
    let waited = Duration::from_millis(60);
    assert!(tokio::time::timeout(waited, client.chunk()).await.is_err(), "the gate is closed");
    gate.release();
    assert_eq!(client.chunk().await.unwrap().unwrap(), DELTA.as_bytes());
    assert_eq!(client.chunk().await.unwrap().unwrap(), DONE.as_bytes());
    assert_eq!(client.chunk().await.unwrap(), None);
    recording.finish().await;

    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    let exchange = recorded.only();
    let answer = answer(exchange);
    let lens: Vec<usize> = answer.chunks.iter().map(|c| c.len as usize).collect();
    assert_eq!(lens, [DELTA.len(), DELTA.len(), DONE.len()]);
    // Times are µs on one clock: sent, head, first piece, a wait, second piece, end.
    let at: Vec<i64> = answer.chunks.iter().map(|c| c.at_us).collect();
    assert!(exchange.sent_us >= 0 && exchange.sent_us <= answer.head_us && answer.head_us <= at[0]);
    let gap_us = at[1] - at[0];
    assert!((60_000..20_000_000).contains(&gap_us), "{gap_us} µs between the pieces");
    assert!(at[2] >= at[1] && answer.end_us >= at[2]);
}

#[tokio::test]
async fn many_small_chunks_keep_their_boundaries_live_and_in_replay() {
    let pieces: Vec<String> = (0..300).map(|i| format!("data: {{\"n\":{i}}}\n\n")).collect();
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::event_stream(pieces.iter().map(String::as_str)).piece(DONE));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let live =
        RawClient::post_json(&format!("{}{CHAT}", recording.origin), "{\"stream\":true}").await.unwrap();
    recording.finish().await;
    assert_eq!(live.chunks.len(), 301);
    let replaying = lab.recorded().replay().await;
    let url = format!("{}{CHAT}", replaying.origin);
    let replayed = RawClient::post_json(&url, "{\"stream\":true}").await.unwrap();
    assert_eq!(replayed.chunks, live.chunks);
    replaying.finish().await;
}

/// Strict: the end is there only after the commit, and everything before it is there at once.
#[tokio::test]
async fn strict_holds_back_the_terminal_event_only() {
    for (before, end) in [
        (vec![DELTA], DONE),
        (
            vec!["event: message_delta\ndata: {}\n\n"],
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (vec!["event: response.created\ndata: {}\n\n"], "event: response.completed\ndata: {}\n\n"),
    ] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        let (gate, last) = (Gate::closed(), Gate::closed());
        upstream.push(Answer::event_stream(before.clone()).wait(&gate).piece(end).wait(&last));
        let lab = Lab::new();
        let recording = lab.record_strictly(&upstream.url()).await;
        let mut client = RawClient::connect(&recording.origin).await.unwrap();
        client.request("POST", CHAT, &post_headers(), b"{}").await.unwrap();
        client.head().await.unwrap();
        for piece in before {
            assert_eq!(client.chunk().await.unwrap().unwrap(), piece.as_bytes());
        }
        gate.release();
        let early = tokio::time::timeout(Duration::from_millis(60), client.chunk()).await;
        assert!(early.is_err(), "{end:?} came before the answer could be committed: {early:?}");
        last.release();
        assert_eq!(client.chunk().await.unwrap().unwrap(), end.as_bytes());
        // Its commit was before: another connection sees it now, with nothing flushed or closed.
        let reader = Reader::open(&lab.database()).unwrap();
        let trace = reader.load(reader.find(&Selector::parse("last")).unwrap()).unwrap();
        assert_eq!(trace.facts[0].state.as_str(), "complete");
        assert_eq!(client.chunk().await.unwrap(), None);
        recording.finish().await;
    }
}

/// The same, where the terminal event cannot be seen in the bytes that pass.
#[tokio::test]
async fn strict_holds_back_the_end_of_a_compressed_stream() {
    for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        let last = Gate::closed();
        upstream.push(Answer::event_stream([DELTA, DONE]).encoded(encoding).wait(&last));
        let lab = Lab::new();
        let recording = lab.record_strictly(&upstream.url()).await;
        let mut client = RawClient::connect(&recording.origin).await.unwrap();
        client.request("POST", CHAT, &post_headers(), b"{}").await.unwrap();
        client.head().await.unwrap();
        let mut passed = Vec::new();
        while let Ok(Ok(Some(piece))) = tokio::time::timeout(Duration::from_millis(60), client.chunk()).await
        {
            passed.extend_from_slice(&piece);
        }
        let headers = looptape_core::headers::RedactedHeaders::redact([(
            "content-encoding",
            encoding.name().as_bytes(),
        )]);
        let seen = looptape_core::derive::decode_body(&headers, &passed.into(), &[]).bytes;
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(!seen.contains("[DONE]"), "{encoding:?}: the client has seen the end: {seen:?}");
        last.release();
        while client.chunk().await.unwrap().is_some() {}
        recording.finish().await;
    }
}

#[tokio::test]
async fn strict_holds_back_the_last_byte_of_a_known_length() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::json("{\"a\":1}"));
    upstream.push(Answer::json(""));
    upstream.push(Answer::status(200).piece("until the end").until_close());
    let lab = Lab::new();
    let recording = lab.record_strictly(&upstream.url()).await;
    for (index, expected) in ["{\"a\":1}", "", "until the end"].iter().enumerate() {
        let body = RawClient::post_json(&format!("{}{CHAT}", recording.origin), "{}").await.unwrap();
        assert_eq!(body.text(), *expected);
        let reader = Reader::open(&lab.database()).unwrap();
        let trace = reader.load(reader.find(&Selector::parse("last")).unwrap()).unwrap();
        assert_eq!(trace.facts[index].state.as_str(), "complete", "{expected:?}");
    }
    recording.finish().await;
}

#[tokio::test]
async fn strict_holds_back_answers_that_are_only_a_head() {
    let upstream = ScriptedUpstream::answering(|request| match request.method.as_str() {
        "HEAD" => Answer::status(200).promising(12_345),
        "DELETE" => Answer::status(204),
        _ => Answer::status(304).header("etag", "x"),
    })
    .await
    .unwrap();
    let lab = Lab::new();
    let recording = lab.record_strictly(&upstream.url()).await;
    for (index, (method, status)) in [("HEAD", 200), ("DELETE", 204), ("GET", 304)].into_iter().enumerate() {
        let mut client = RawClient::connect(&recording.origin).await.unwrap();
        client.request(method, "/openai/v1/models", &[], b"").await.unwrap();
        let head = client.head().await.unwrap();
        assert_eq!(head.status, status);
        if method == "HEAD" {
            assert_eq!(head.header("content-length"), Some("12345"));
        }
        let reader = Reader::open(&lab.database()).unwrap();
        let trace = reader.load(reader.find(&Selector::parse("last")).unwrap()).unwrap();
        assert_eq!(trace.facts[index].state.as_str(), "complete", "{method}");
    }
    recording.finish().await;
}

#[tokio::test]
async fn compressed_answers_come_back_bit_for_bit() {
    let text = format!("{{\"text\":\"{}\"}}", "Zimtschnecken & Kaffee. ".repeat(500));
    for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(Answer::json(text.clone()).encoded(encoding));
        let lab = Lab::new();
        let recording = lab.record(&upstream.url()).await;
        let live = RawClient::post_json(&format!("{}{CHAT}", recording.origin), "{}").await.unwrap();
        recording.finish().await;
        assert_eq!(live.body(), encoding.encode(text.as_bytes()), "{encoding:?}");
        assert_eq!(live.head.header("content-encoding"), Some(encoding.name()));
        let recorded = lab.recorded();
        assert_eq!(answer(recorded.only()).body, live.body());
        let replaying = recorded.replay().await;
        let replayed = RawClient::post_json(&format!("{}{CHAT}", replaying.origin), "{}").await.unwrap();
        assert_eq!(replayed.body(), live.body());
        assert_eq!(replayed.head.header("content-encoding"), Some(encoding.name()));
        replaying.finish().await;
    }
}

#[tokio::test]
async fn request_bodies_reach_the_upstream_and_the_recording_as_they_were_sent() {
    let zstd = Encoding::Zstd.encode(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("zstd", zstd),
        ("", b"{\"model\": broken, \"messages\": [".to_vec()),
        ("", b"\xff\xfe\x00not utf-8\x80".to_vec()),
        ("", Vec::new()),
        ("", br#"{ "b" : 1e2 , "a":[ ],"messages":[ {"role":"user","content":"\u00e4\ud800"} ] }"#.to_vec()),
        ("", br#"{"messages":[{"a":1}],"messages":[{"b":2}]}"#.to_vec()),
        ("gzip", b"this is not gzip at all".to_vec()),
    ];
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    for (encoding, body) in &bodies {
        let mut client = RawClient::connect(&recording.origin).await.unwrap();
        let mut headers = vec![("content-type", "application/json")];
        if !encoding.is_empty() {
            headers.push(("content-encoding", encoding));
        }
        client.request("POST", CHAT, &headers, body).await.unwrap();
        assert_eq!(client.response().await.unwrap().head.status, 200);
    }
    recording.finish().await;
    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    for (((encoding, sent), arrived), kept) in bodies.iter().zip(upstream.requests()).zip(&recorded.exchanges)
    {
        assert_eq!(&arrived.body, sent);
        assert_eq!(arrived.header("content-encoding"), Some(*encoding).filter(|e| !e.is_empty()));
        assert_eq!(kept.request_body, *sent, "{:?}", String::from_utf8_lossy(sent));
    }
    // Each of them is found again.
    let replaying = recorded.replay().await;
    for (encoding, body) in &bodies {
        let mut client = RawClient::connect(&replaying.origin).await.unwrap();
        let headers = [("content-encoding", *encoding)];
        let headers = if encoding.is_empty() { &[][..] } else { &headers[..] };
        client.request("POST", CHAT, headers, body).await.unwrap();
        let status = client.response().await.unwrap().head.status;
        assert_eq!(status, 200, "{:?}", String::from_utf8_lossy(body));
    }
    assert_eq!(replaying.finish().await.divergences.len(), 0);
}

#[tokio::test]
async fn bodies_of_21_mib_both_ways() {
    // Incompressible, so that nothing is small by luck.
    let mut state = 1u64;
    let mut noise = |len: usize| -> String {
        let mut text = String::with_capacity(len);
        while text.len() < len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(char::from(b'a' + ((state >> 33) % 26) as u8));
        }
        text
    };
    let big = 21 << 20;
    let request = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, noise(big));
    let response = format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, noise(big));
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::json(response.clone()));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let live = RawClient::post_json(&format!("{}{CHAT}", recording.origin), &request).await.unwrap();
    recording.finish().await;
    assert!(live.body() == response.as_bytes(), "the client got other bytes");
    assert!(upstream.requests()[0].body == request.as_bytes(), "the upstream got other bytes");
    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    assert!(recorded.only().request_body == request.as_bytes(), "the recorded request differs");
    assert!(answer(recorded.only()).body == response.as_bytes(), "the recorded answer differs");
}

#[tokio::test]
async fn unusual_methods_statuses_and_queries() {
    let upstream = ScriptedUpstream::answering(|request| match request.method.as_str() {
        "HEAD" => Answer::status(200).header("x-is", "head"),
        "DELETE" => Answer::status(204),
        "REPORT" => Answer::status(418).piece("teapot"),
        _ => Answer::json(request.target.clone()),
    })
    .await
    .unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let calls = [
        ("HEAD", "/openai/v1/models?x=1", 200, ""),
        ("DELETE", "/openai/v1/files/f1", 204, ""),
        ("REPORT", "/openai/v1/odd", 418, "teapot"),
        (
            "GET",
            "/openai/v1/models?a=1&a=2&b&c=%20+%2F&=&q=%C3%A4",
            200,
            "/v1/models?a=1&a=2&b&c=%20+%2F&=&q=%C3%A4",
        ),
        ("OPTIONS", "/openai/v1/models", 200, "/v1/models"),
        ("PATCH", "/openai/v1/a%2Fb/c;d=e", 200, "/v1/a%2Fb/c;d=e"),
        // What URL libraries would escape.
        ("PUT", "/openai/v1/{x}|y?f='a'&j={k:[1]}", 200, "/v1/{x}|y?f='a'&j={k:[1]}"),
    ];
    async fn send(origin: &str, method: &str, path: &str) -> (u16, String) {
        let mut client = RawClient::connect(origin).await.unwrap();
        client.request(method, path, &[("connection", "close")], b"").await.unwrap();
        if method == "HEAD" {
            return (client.head().await.unwrap().status, String::new());
        }
        let response = client.response().await.unwrap();
        (response.head.status, response.text())
    }
    for (method, path, status, body) in calls {
        assert_eq!(send(&recording.origin, method, path).await, (status, body.to_owned()), "{method} {path}");
    }
    recording.finish().await;
    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    for ((exchange, arrived), (method, path, ..)) in
        recorded.exchanges.iter().zip(upstream.requests()).zip(calls)
    {
        assert_eq!((arrived.method.as_str(), arrived.target.as_str()), (method, &path["/openai".len()..]));
        assert_eq!((exchange.method.as_str(), exchange.path.as_str()), (method, &path["/openai".len()..]));
        assert_eq!(*crate::lab::ending(exchange), Ending::Complete, "{method}");
    }
    let replaying = recorded.replay().await;
    for (method, path, status, body) in calls {
        assert_eq!(send(&replaying.origin, method, path).await, (status, body.to_owned()), "{method} {path}");
    }
    assert_eq!(replaying.finish().await.divergences.len(), 0);
}

#[tokio::test]
async fn headers_pass_and_our_own_do_not() {
    let upstream = ScriptedUpstream::answering(|_| {
        Answer::json("{}")
            .header("x-request-id", "req_1")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .header("x-empty", "")
            .header("Keep-Alive", "timeout=5")
            .header("x-latin", "caf\u{e9}")
    })
    .await
    .unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    client
        .request(
            "POST",
            "/t/my-trace/openai/v1/chat/completions",
            &[
                ("content-type", "application/json"),
                ("X-Odd_Name.1", "v"),
                ("x-twice", "a"),
                ("x-twice", "b"),
                ("x-empty", ""),
                ("x-utf8", "\u{e4}\u{1f600}"),
                ("accept-encoding", "gzip, br;q=0"),
                ("user-agent", "odd/1 (x; y)"),
                ("x-looptape-loop", "L1"),
                ("x-looptape-agent", "me"),
                ("x-looptape-agent-version", "1.4"),
                ("x-looptape-tag", "env=test, nightly"),
                ("X-Looptape-Anything", "z"),
                ("connection", "keep-alive, x-named"),
                ("x-named", "hop"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
            ],
            b"{}",
        )
        .await
        .unwrap();
    let response = client.response().await.unwrap();
    drop(client);
    recording.finish().await;
    let twice: Vec<&str> =
        response.head.headers.iter().filter(|(n, _)| n == "x-twice").map(|(_, v)| v.as_str()).collect();
    assert_eq!(twice, ["1", "2"]);
    assert_eq!(response.head.header("x-request-id"), Some("req_1"));
    assert_eq!(response.head.header("x-empty"), Some(""));
    let request = &upstream.requests()[0];
    assert_eq!(request.target, "/v1/chat/completions");
    assert_eq!(request.header("host"), upstream.url().strip_prefix("http://"));
    for (name, value) in [
        ("x-odd_name.1", "v"),
        ("x-empty", ""),
        ("accept-encoding", "gzip, br;q=0"),
        ("user-agent", "odd/1 (x; y)"),
        ("content-length", "2"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(request.contains("x-utf8: \u{e4}\u{1f600}"));
    let twice: Vec<&str> =
        request.headers.iter().filter(|(n, _)| n == "x-twice").map(|(_, v)| v.as_str()).collect();
    assert_eq!(twice, ["a", "b"]);
    for absent in ["x-looptape", "looptape", "my-trace", "x-named", "te: ", "upgrade", "accept: "] {
        let head = String::from_utf8_lossy(&request.raw_head).to_lowercase();
        assert!(!head.contains(absent), "{absent} in {head}");
    }
    let recorded = lab.recorded_as("my-trace");
    let labels = recorded.row.labels();
    assert_eq!((labels.agent.as_deref(), labels.agent_version.as_deref()), (Some("me"), Some("1.4")));
    assert_eq!((labels.tags["env"].as_str(), labels.tags["nightly"].as_str()), ("test", ""));
    assert_eq!(recorded.facts[0].loop_hint.as_deref(), Some("L1"));
    let kept = &recorded.only().request_headers;
    assert!(kept.iter().all(|(n, _)| !n.starts_with("x-looptape") && n != "host" && n != "te"), "{kept:?}");
    // A client that offers an upgrade to HTTP/2 is answered from the tape as it was live.
    let replaying = recorded.replay().await;
    let mut client = RawClient::connect(&replaying.origin).await.unwrap();
    let headers =
        [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    client.request("POST", CHAT, &headers, b"{}").await.unwrap();
    assert_eq!(client.response().await.unwrap().head.status, 200);
    drop(client);
    replaying.finish().await;
}

#[tokio::test]
async fn uploads_in_chunks_and_uploads_that_wait_for_100() {
    let upstream = ScriptedUpstream::answering(|r| Answer::json(r.body.clone())).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n");

    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    client.send(format!("{head}transfer-encoding: chunked\r\n\r\n3\r\n{{\"a\r\n").as_bytes()).await.unwrap();
    client.send(b"4;ext=1\r\n\":1}\r\n0\r\nx-trailer: t\r\n\r\n").await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "{\"a\":1}");

    client.send(format!("{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 100, "the client waits for it before it sends its body");
    client.send(b"{}").await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "{}");
    drop(client);
    recording.finish().await;
    let bodies: Vec<Vec<u8>> = upstream.requests().into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, [b"{\"a\":1}".to_vec(), b"{}".to_vec()]);
    let recorded: Vec<_> = lab.recorded().exchanges.into_iter().map(|e| e.request_body).collect();
    assert_eq!(recorded, bodies);
}

/// Sent by the child over its base URL: an upgrade, and the status line that came back.
const ASKS_FOR_A_WEBSOCKET: &str = r#"
url=${OPENAI_BASE_URL#http://}; host=${url%%/*}; path=/${url#*/}
exec 3<>/dev/tcp/${host%:*}/${host#*:}
printf 'GET %s/responses HTTP/1.1\r\nhost: %s\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n' "$path" "$host" >&3
head -n 1 <&3
exit 7"#;

#[test]
fn a_websocket_is_refused_and_the_recording_says_so() {
    let env = TestEnv::new();
    let ran = env.looptape(&["record", "--", "bash", "-c", ASKS_FOR_A_WEBSOCKET]);
    assert_eq!(ran.code, Some(7));
    assert_eq!(ran.stdout.trim_end(), "HTTP/1.1 426 Upgrade Required");
    assert!(ran.stderr.contains("a WebSocket was refused (426)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the program ended with code 7"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no model call was seen"), "{}", ran.stderr);
}

/// One connection's bodies, of which each has more or less in common with the one before.
fn bodies_of_a_connection() -> Vec<String> {
    let text = |n: usize| format!("step {n} {}", "of a long conversation ".repeat(60 + n));
    let body = |messages: &[String], marked: bool, after: &str| {
        let mut all: Vec<String> =
            messages.iter().map(|text| format!("{{\"role\":\"user\",\"content\":\"{text}\"}}")).collect();
        if let (true, Some(last)) = (marked, all.last_mut()) {
            *last = last.replacen('}', ",\"cache_control\":{\"type\":\"ephemeral\"}}", 1);
        }
        format!("{{\"model\":\"m\",\"messages\":[{}]{after}}}", all.join(","))
    };
    let history: Vec<String> = (0..40).map(text).collect();
    let growing = (1..=history.len()).map(|steps| body(&history[..steps], steps % 3 == 0, ""));
    let mut bodies: Vec<String> = growing.collect();
    let tools = format!(",\"tools\":[{}]", vec!["{\"name\":\"look\"}"; 900].join(","));
    bodies.push(bodies[39].clone());
    bodies.push(body(&history[..20], false, ""));
    bodies.push("{}".to_owned());
    bodies.push(body(&history[..21], false, &tools));
    bodies.push(body(&history[..24], true, &tools));
    bodies.push(body(&history[10..], false, ""));
    bodies.push(body(&[format!("{}{}", text(0), "x".repeat(3 << 20))], false, ""));
    bodies.push(body(&history[..1], false, ""));
    bodies
}

/// What bodies share is kept once and neither copied nor compared again: nobody may notice.
#[tokio::test]
async fn bodies_that_share_their_beginning_pass_as_they_are() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{\"choices\":[]}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let mut client = RawClient::connect(&recording.origin).await.unwrap();
    let bodies = bodies_of_a_connection();
    for body in &bodies {
        client.request("POST", CHAT, &post_headers(), body.as_bytes()).await.unwrap();
        assert_eq!(client.response().await.unwrap().head.status, 200);
    }
    recording.finish().await;
    let recorded = lab.recorded();
    let received = upstream.requests();
    assert_eq!((received.len(), recorded.exchanges.len()), (bodies.len(), bodies.len()));
    for (n, body) in bodies.iter().enumerate() {
        assert!(received[n].body == body.as_bytes(), "the upstream got another body {n}");
        assert!(recorded.exchanges[n].request_body == body.as_bytes(), "body {n} was recorded as another");
    }
}
