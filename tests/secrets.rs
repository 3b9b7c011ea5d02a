//! Secrets never reach the disk: whatever way a key comes in, no file of the database's folder holds it,
//! nor any 12 bytes of it, while client and upstream get the true bytes.

use crate::env::TestEnv;
use crate::lab::{Lab, answer};
use looptape_store::{Recorder, TraceStatus};
use looptape_testkit::answer::{Answer, Encoding};
use looptape_testkit::raw_client::{RawClient, RawResponse};
use looptape_testkit::upstream::ScriptedUpstream;
use std::path::Path;

/// A key that the patterns know.
const KEY: &str = "sk-proj-Zq81LmXw02TyRvB7cNsJ4kHd9PfGa3Ue";
/// One that they cannot know.
const OPAQUE: &str = "corp.Vx7mQ2rT9yLp4Wz8Kd3Nb6Hf1Jc5Sg0A";
const PIECE: usize = 12;
const CHAT: &str = "/openai/v1/chat/completions";

/// Every place in `folder` where a piece of `secret` stands.
fn traces_of(secret: &str, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces_of(secret, &path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for piece in secret.as_bytes().windows(PIECE) {
            if let Some(at) = memchr::memmem::find(&bytes, piece) {
                let around = &bytes[at.saturating_sub(60)..(at + 60).min(bytes.len())];
                found.push(format!("{}: {}", path.display(), String::from_utf8_lossy(around)));
                break;
            }
        }
    }
    found
}

/// The recorded content too: blobs are compressed, so the files alone could hide it.
fn recorded_text(lab: &Lab) -> String {
    let recorded = lab.recorded();
    let mut text = format!("{:?}", recorded.row);
    for exchange in &recorded.exchanges {
        text += &format!("{exchange:?} {:?}", exchange.request_headers);
        text += &String::from_utf8_lossy(&exchange.request_body);
        if let looptape_core::exchange::Outcome::Answered(answer) = &exchange.outcome {
            let decoded = looptape_core::derive::decode_body(&answer.headers, &answer.body, &[]).bytes;
            text += &String::from_utf8_lossy(&decoded);
        }
        let decoded =
            looptape_core::derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]);
        text += &String::from_utf8_lossy(&decoded.bytes);
    }
    text + &format!("{:?}", recorded.facts)
}

/// Asserts that the recorder has kept nothing of the secret, open or closed.
fn assert_absent(secret: &str, lab: &Lab, recorder: Option<&Recorder>, what: &str) {
    if let Some(recorder) = recorder {
        recorder.flush();
    }
    assert_eq!(traces_of(secret, lab.folder()), Vec::<String>::new(), "{what}");
    let text = recorded_text(lab);
    for piece in secret.as_bytes().windows(PIECE) {
        let piece = std::str::from_utf8(piece).unwrap();
        if let Some(at) = text.find(piece) {
            let around = &text.as_bytes()[at.saturating_sub(80)..(at + 80).min(text.len())];
            panic!("{what}: {piece} in …{}…", String::from_utf8_lossy(around));
        }
    }
}

struct Case {
    what: &'static str,
    secret: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    answer: Answer,
}

fn case(what: &'static str, secret: &'static str) -> Case {
    Case {
        what,
        secret,
        target: CHAT.into(),
        headers: Vec::new(),
        body: br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#.to_vec(),
        answer: Answer::json(r#"{"choices":[{"message":{"role":"assistant","content":"ok"}}]}"#),
    }
}

fn with_header(what: &'static str, secret: &'static str, name: &'static str, value: String) -> Case {
    let mut case = case(what, secret);
    case.headers.push((name, value));
    case
}

fn says(text: &str) -> Vec<u8> {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#).into_bytes()
}

/// A chat stream whose deltas are `pieces`.
fn deltas<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Answer {
    let event = |piece: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n")
    };
    let events: Vec<String> = pieces.into_iter().map(event).collect();
    Answer::event_stream(events.iter().map(String::as_str)).piece("data: [DONE]\n\n")
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        with_header("authorization", OPAQUE, "authorization", format!("Bearer {OPAQUE}")),
        with_header("x-api-key", OPAQUE, "x-api-key", OPAQUE.into()),
        with_header("api-key", OPAQUE, "Api-Key", OPAQUE.into()),
        with_header("x-goog-api-key", OPAQUE, "x-goog-api-key", OPAQUE.into()),
        with_header("cookie", OPAQUE, "cookie", format!("a=b; session={OPAQUE}")),
        with_header("proxy authorization", OPAQUE, "proxy-authorization", format!("Basic {OPAQUE}")),
        with_header("an ordinary header", KEY, "x-note", format!("key is {KEY}.")),
        with_header("the loop's name", KEY, "x-looptape-loop", KEY.into()),
        with_header("the agent's name", KEY, "x-looptape-agent", KEY.into()),
        with_header("referer", KEY, "referer", format!("https://h/x?api_key={KEY}&y=1")),
    ];
    let target = |what, secret, target: String| Case { target, ..case(what, secret) };
    cases.push(target(
        "query key",
        OPAQUE,
        format!("/gemini/v1beta/models/m:generateContent?key={OPAQUE}&alt=sse"),
    ));
    cases.push(target("query key, escaped", OPAQUE, format!("{CHAT}?%6Bey={OPAQUE}")));
    cases.push(target("path", KEY, format!("/openai/v1/hooks/{KEY}/x")));
    cases.push(target("any query value", KEY, format!("{CHAT}?x=1&y={KEY}")));
    let body = |what, secret, body: Vec<u8>| Case { body, ..case(what, secret) };
    cases.push(body("request body", KEY, says(&format!("my key is {KEY}, keep it"))));
    cases.push(body("request body, JSON-escaped", KEY, says(&escaped(KEY))));
    cases.push(body("request body, JSON in JSON", KEY, says(&format!("{{\\\"k\\\":\\\"{KEY}\\\"}}"))));
    cases.push(body("request body, broken JSON", KEY, format!("{{\"messages\": [ {KEY}").into_bytes()));
    let mut zstd = body("request body, zstd", KEY, Encoding::Zstd.encode(&says(KEY)));
    zstd.headers.push(("content-encoding", "zstd".into()));
    cases.push(zstd);
    let mut echoed = body("the header's key, said in the body", OPAQUE, says(&format!("I use {OPAQUE}")));
    echoed.headers.push(("authorization", format!("Bearer {OPAQUE}")));
    cases.push(echoed);
    let answers = |what, secret, answer: Answer| Case { answer, ..case(what, secret) };
    cases.push(answers("answer", KEY, Answer::json(says(KEY))));
    cases.push(answers("answer's header", KEY, Answer::json("{}").header("x-debug", &format!("k={KEY}"))));
    cases.push(answers(
        "set-cookie",
        OPAQUE,
        Answer::json("{}").header("set-cookie", &format!("s={OPAQUE}; Path=/")),
    ));
    cases.push(answers(
        "redirect",
        KEY,
        Answer::status(302).header("location", &format!("https://h/?token={KEY}")),
    ));
    for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
        cases.push(answers("compressed answer", KEY, Answer::json(says(KEY)).encoded(encoding)));
        let stream = deltas([&KEY[..15], &KEY[15..21], &KEY[21..]]).encoded(encoding);
        cases.push(answers("compressed stream", KEY, stream));
    }
    cases.push(answers("whole delta", KEY, deltas(["key: ", KEY, " ."])));
    for cut in 1..KEY.len() {
        cases.push(answers("split over two deltas", KEY, deltas([&KEY[..cut], &KEY[cut..]])));
    }
    let letters: Vec<&str> = (0..KEY.len()).map(|i| &KEY[i..=i]).collect();
    cases.push(answers("a letter a delta", KEY, deltas(letters)));
    cases.push(answers("split over chunks", KEY, {
        let (a, b) = KEY.split_at(20);
        Answer::event_stream([
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{a}"),
            format!("{b}\"}}}}]}}\n\ndata: [DONE]\n\n"),
        ])
    }));
    let mut refused = case("error that echoes the key", OPAQUE);
    refused.headers.push(("authorization", format!("Bearer {OPAQUE}")));
    refused.answer = Answer::status(401)
        .header("content-type", "application/json")
        .piece(format!(r#"{{"error":{{"message":"Incorrect API key provided: {OPAQUE}."}}}}"#));
    cases.push(refused);
    let mut query_echo = target("error that echoes the query's key", OPAQUE, format!("{CHAT}?key={OPAQUE}"));
    query_echo.answer = Answer::status(400).piece(format!("bad url: /x?key={OPAQUE}"));
    cases.push(query_echo);
    let mut tool = answers("split tool arguments", KEY, {
        let event = |part: &str| {
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":\"{part}\"}}}}\n\n"
            )
        };
        Answer::event_stream([
            event(&format!("{{\\\"k\\\":\\\"{}", &KEY[..18])),
            event(&format!("{}\\\"}}", &KEY[18..])),
        ])
    });
    tool.target = "/anthropic/v1/messages".into();
    cases.push(tool);
    // Broken off: what came is scanned too.
    cases.push(answers("broken stream", KEY, deltas([KEY]).then_cut()));
    let half_gzip = Encoding::Gzip.encode(&says(KEY).repeat(50));
    let half = half_gzip[..half_gzip.len() - 20].to_vec();
    cases.push(answers(
        "broken gzip",
        KEY,
        Answer::status(200).header("content-encoding", "gzip").piece(half),
    ));
    let tail = [Encoding::Gzip.encode(b"harmless"), KEY.into()].concat();
    cases.push(answers(
        "plain text behind gzip",
        KEY,
        Answer::status(200).header("content-encoding", "gzip").piece(tail),
    ));
    cases.push(answers(
        "plain text called gzip",
        KEY,
        Answer::status(200).header("content-encoding", "gzip").piece(says(KEY)),
    ));
    cases.push(answers("gzip twice", KEY, {
        let twice = Encoding::Gzip.encode(&Encoding::Gzip.encode(&says(KEY)));
        Answer::status(200).header("content-encoding", "gzip, gzip").piece(twice)
    }));
    cases.push(answers(
        "gzip that no header names",
        KEY,
        Answer::status(200).piece(Encoding::Gzip.encode(&says(KEY))),
    ));
    cases
}

async fn send(origin: &str, case: &Case) -> Option<RawResponse> {
    let mut client = RawClient::connect(origin).await.unwrap();
    let headers: Vec<(&str, &str)> = case.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    client.request("POST", &case.target, &headers, &case.body).await.unwrap();
    client.response().await.ok()
}

#[tokio::test]
async fn no_way_in_leads_to_the_disk() {
    for case in cases() {
        let upstream = ScriptedUpstream::start().await.unwrap();
        upstream.push(case.answer.clone());
        let lab = Lab::new();
        let recording = lab.record(&upstream.url()).await;
        let response = send(&recording.origin, &case).await;
        assert_absent(case.secret, &lab, Some(recording.recorder()), &format!("{}, while open", case.what));
        recording.finish().await;
        assert_absent(case.secret, &lab, None, case.what);
        // What passed is the truth.
        let arrived = &upstream.requests()[0];
        assert_eq!(arrived.body, case.body, "{}", case.what);
        if let Some((_, value)) =
            case.headers.first().filter(|(n, _)| !n.starts_with("x-looptape") && !n.starts_with("proxy"))
        {
            assert!(arrived.contains(value), "{}: {value}", case.what);
        }
        if let Some(response) = response {
            assert_eq!(response.body(), case.answer.body(), "{}", case.what);
        }
        let recorded = lab.recorded();
        assert_eq!(recorded.exchanges.len(), 1, "{}: not recorded at all", case.what);
    }
}

/// The chunk table still fits the body, and the rest of the answer is what it was.
#[tokio::test]
async fn what_stands_around_a_secret_stays() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(deltas(["before ", &KEY[..9], &KEY[9..30], &KEY[30..], " after"]));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    RawClient::post_json(&format!("{}{CHAT}", recording.origin), "{}").await.unwrap();
    recording.finish().await;
    let recorded = lab.recorded();
    assert_eq!(recorded.row.status, TraceStatus::Complete);
    let answer = answer(recorded.only());
    let sum: usize = answer.chunks.iter().map(|c| c.len as usize).sum();
    assert_eq!(sum, answer.body.len());
    assert_eq!(answer.chunks.len(), 6);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut joined = String::new();
    for event in text.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|e| *e != "[DONE]") {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        joined += event["choices"][0]["delta"]["content"].as_str().unwrap();
    }
    assert_eq!(joined, "before [[looptape:secret:1]] after");
}

/// Keys are rotated between recording and replay: requests still match, and what comes back holds the
/// live key wherever it held the recorded one.
#[tokio::test]
async fn replay_puts_the_live_secret_in_place_of_the_recorded_one() {
    const OTHER: &str = "sk-proj-00aaBB11ccDD22eeFF33ggHH44iiJJ55";
    let echo = |key: &str| format!(r#"{{"choices":[{{"message":{{"content":"you said {key}"}}}}]}}"#);
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::json(echo(KEY)).header("x-echo", KEY));
    upstream.push(deltas(["you ", &KEY[..20], &KEY[20..], "!"]));
    upstream.push(Answer::json(echo(KEY)).encoded(Encoding::Gzip));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let url = |origin: &str| format!("{origin}{CHAT}");
    let body = |key: &str, n: u32| {
        format!(r#"{{"n":{n},"messages":[{{"role":"user","content":"use {key} and {key}"}}]}}"#)
    };
    for n in 0..3 {
        RawClient::post_json(&url(&recording.origin), &body(KEY, n)).await.unwrap();
    }
    recording.finish().await;
    assert_absent(KEY, &lab, None, "recorded");
    let replaying = lab.recorded().replay().await;
    let whole = RawClient::post_json(&url(&replaying.origin), &body(OTHER, 0)).await.unwrap();
    assert_eq!(whole.text(), echo(OTHER));
    assert_eq!(whole.head.header("x-echo"), Some(OTHER));
    let streamed = RawClient::post_json(&url(&replaying.origin), &body(OTHER, 1)).await.unwrap().text();
    assert!(streamed.contains(OTHER) && !streamed.contains("looptape"), "{streamed}");
    let decoded = RawClient::post_json(&url(&replaying.origin), &body(OTHER, 2)).await.unwrap();
    assert_eq!((decoded.text(), decoded.head.header("content-encoding")), (echo(OTHER), None));
    let summary = replaying.finish().await;
    assert!(summary.divergences.is_empty() && summary.unused.is_empty(), "{summary:?}");
}

#[tokio::test]
async fn a_rotated_key_in_header_and_query_still_matches() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let ask = async |origin: &str, key: &str| {
        let mut client = RawClient::connect(origin).await.unwrap();
        let target = format!("/gemini/v1beta/models/m:generateContent?key={key}");
        let bearer = format!("Bearer {key}");
        client.request("POST", &target, &[("authorization", &bearer)], b"{}").await.unwrap();
        client.response().await.unwrap().head.status
    };
    assert_eq!(ask(&recording.origin, OPAQUE).await, 200);
    recording.finish().await;
    let replaying = lab.recorded().replay().await;
    assert_eq!(ask(&replaying.origin, "another-key-Of-0urs").await, 200);
    replaying.finish().await;
}

/// The whole way with the binary: environment, command line, name and tags of the run.
#[test]
fn keys_in_the_environment_and_on_the_command_line() {
    let mut env = TestEnv::new();
    env.set("OPENAI_API_KEY", KEY);
    env.set("CORP_KEY", OPAQUE);
    let name = format!("run with {KEY}");
    let tag = format!("key={KEY}");
    let bearer = format!("authorization: Bearer {OPAQUE}");
    let ran =
        env.looptape(&["record", "--name", &name, "--tag", &tag, "--agent", KEY, "--", "true", KEY, &bearer]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for secret in [KEY, OPAQUE] {
        assert_eq!(traces_of(secret, env.home()), Vec::<String>::new());
    }
    assert!(!ran.stderr.contains(KEY), "{ran:?}");
}
