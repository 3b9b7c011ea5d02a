//! Secrets split over the events of a stream, in each wire format.

use super::*;

/// How a stream writes its deltas.
#[derive(Clone, Copy, Debug)]
enum Framing {
    OpenAiChat,
    OpenAiToolCall,
    Responses,
    Anthropic,
    AnthropicToolUse,
    GeminiSse,
    GeminiArray,
    JsonLines,
}

const FRAMINGS: &[Framing] = &[
    Framing::OpenAiChat,
    Framing::OpenAiToolCall,
    Framing::Responses,
    Framing::Anthropic,
    Framing::AnthropicToolUse,
    Framing::GeminiSse,
    Framing::GeminiArray,
    Framing::JsonLines,
];

/// One event with one delta, and the pointer under which its text lies.
fn event(framing: Framing, seq: usize, lane: usize, text: &str) -> (Value, &'static str) {
    match framing {
        Framing::OpenAiChat => (
            json!({"id":"chatcmpl-1","choices":[{"index":lane,"delta":{"content":text},"finish_reason":null}]}),
            "/choices/0/delta/content",
        ),
        Framing::OpenAiToolCall => (
            json!({"choices":[{"index":0,"delta":{"tool_calls":[{"index":lane,"function":{"arguments":text}}]}}]}),
            "/choices/0/delta/tool_calls/0/function/arguments",
        ),
        Framing::Responses => (
            json!({"type":"response.output_text.delta","sequence_number":seq,"item_id":format!("msg_{seq}"),
                   "output_index":lane,"content_index":0,"delta":text,"obfuscation":"k3J"}),
            "/delta",
        ),
        Framing::Anthropic => (
            json!({"type":"content_block_delta","index":lane,"delta":{"type":"text_delta","text":text}}),
            "/delta/text",
        ),
        Framing::AnthropicToolUse => (
            json!({"delta":{"type":"input_json_delta","partial_json":text},"index":lane,"type":"content_block_delta"}),
            "/delta/partial_json",
        ),
        Framing::GeminiSse | Framing::GeminiArray => (
            json!({"candidates":[{"content":{"parts":[{"text":text}],"role":"model"},"index":lane}],"responseId":"r"}),
            "/candidates/0/content/parts/0/text",
        ),
        Framing::JsonLines => (
            json!({"index":lane,"message":{"role":"assistant","content":text},"done":false}),
            "/message/content",
        ),
    }
}

fn frame(framing: Framing, events: &[Value]) -> String {
    let sse = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\r\n\r\n"),
    };
    match framing {
        Framing::GeminiArray => {
            format!("[{}\n]\n", events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n,\r\n"))
        }
        Framing::JsonLines => events.iter().map(|event| format!("{event}\n")).collect(),
        _ => events.iter().map(sse).collect(),
    }
}

fn unframe(framing: Framing, body: &str) -> Vec<Value> {
    match framing {
        Framing::GeminiArray => serde_json::from_str(body).expect("still an array"),
        Framing::JsonLines => {
            body.lines().map(|line| serde_json::from_str(line).expect("still JSON")).collect()
        }
        _ => body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).expect("still JSON"))
            .collect(),
    }
}

/// Cuts a text at any character boundaries.
fn cut(text: &str, points: &[prop::sample::Index]) -> Vec<String> {
    let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut at: Vec<usize> =
        points.iter().map(|point| bounds[point.index(bounds.len())]).chain([0, text.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| text[pair[0]..pair[1]].to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn split_secrets_are_found(
        planted in planted(),
        framing in proptest::sample::select(FRAMINGS),
        points in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        lens in proptest::collection::vec(1u32..200, 1..40),
    ) {
        let fragments = cut(&planted.text(), &points);
        let mut events = Vec::new();
        for (n, fragment) in fragments.iter().enumerate() {
            events.push(event(framing, 2 * n, 0, fragment).0);
            events.push(event(framing, 2 * n + 1, 1, "noise ").0);
        }
        let pointer = event(framing, 0, 0, "").1;
        let body = frame(framing, &events);
        let found = redact_answer(patterns(), &mut vault(), &Credentials::none(), body.as_bytes());
        let stored = std::str::from_utf8(&found.bytes).unwrap();
        prop_assert!(!leaks(&found.bytes, &planted.secret), "{}", stored);
        prop_assert_eq!(original_from(&found, body.as_bytes()), body.as_bytes());

        // What the reader of the stream puts together: the placeholder once, the rest as it was.
        let stored_events = unframe(framing, stored);
        prop_assert_eq!(stored_events.len(), events.len());
        let text = |lane: usize| -> String {
            let lane = stored_events.iter().skip(lane).step_by(2);
            lane.map(|event| event.pointer(pointer).and_then(Value::as_str).expect("a delta")).collect()
        };
        prop_assert_eq!(text(1), "noise ".repeat(fragments.len()));
        let text = text(0);
        prop_assert!(!leaks(text.as_bytes(), &planted.secret), "{}", text);
        prop_assert_eq!(placeholders(text.as_bytes()).count(), 1, "{}", text);
        prop_assert!(text.starts_with(planted.before.trim_end_matches(['\n', '\r', ' ', '\t', '2'])), "{}", text);
        prop_assert!(text.ends_with(planted.after.trim_start_matches(['\n', '\t', ' ', '3', '=', '`'])), "{}", text);

        // Chunk boundaries move, sums stay.
        let mut left = body.len() as u32;
        let mut lens: Vec<u32> = lens.into_iter().map(|len| { let len = len.min(left); left -= len; len }).collect();
        lens.push(left);
        prop_assert_eq!(found.chunk_lens(&lens).iter().sum::<u32>() as usize, found.bytes.len());

        let again = redact_answer(patterns(), &mut vault(), &Credentials::none(), &found.bytes);
        prop_assert_eq!(&again.bytes, &found.bytes);
    }
}

#[test]
fn a_whole_text_event_gets_the_same_number() {
    let key = "gsk_0123456789abcdefghijABCDEFGHIJ01234567890123456789ab";
    let events = [
        event(Framing::Responses, 0, 0, &key[..20]).0,
        event(Framing::Responses, 1, 0, &key[20..]).0,
        json!({"type":"response.completed","response":{"output":[{"content":[{"text":key}]}]}}),
    ];
    let body = frame(Framing::Responses, &events);
    let found = redact_answer(patterns(), &mut vault(), &Credentials::none(), body.as_bytes());
    let puts: Vec<_> = found.spans.iter().map(|span| (span.number.0, span.put)).collect();
    assert_eq!(puts, [(1, Put::Placeholder), (1, Put::Nothing), (1, Put::Placeholder)]);
}

#[test]
fn a_stream_cut_off_inside_a_secret_loses_it_too() {
    let key = "sk-ant-api03-0123456789abcdefghijABCDEFGHIJ";
    let body = format!(
        "data: {}\n\ndata: {}",
        event(Framing::OpenAiChat, 0, 0, &key[..15]).0,
        r#"{"choices":[{"index":0,"delta":{"content":"456789abcdefghij"#
    );
    let found = redact_answer(patterns(), &mut vault(), &Credentials::none(), body.as_bytes());
    assert_eq!(found.spans.len(), 2);
    assert!(found.bytes.ends_with(b"\"content\":\""), "{}", String::from_utf8_lossy(&found.bytes));
}

#[test]
fn known_credentials_are_found_across_events() {
    let mut known = Credentials::none();
    known.add(b"in-house-key-of-ours");
    let events: Vec<Value> = ["an in-hou", "se-key-", "", "of-ours."]
        .iter()
        .map(|text| event(Framing::Anthropic, 0, 0, text).0)
        .collect();
    let body = frame(Framing::Anthropic, &events);
    let found = redact_answer(patterns(), &mut vault(), &known, body.as_bytes());
    let texts: Vec<String> = unframe(Framing::Anthropic, std::str::from_utf8(&found.bytes).unwrap())
        .iter()
        .map(|event| event["delta"]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["an [[looptape:secret:1]]", "", "", "."]);
}
