use super::*;
use crate::spread::Spread;
use crate::twin::TwinSpec;
use crate::wire::{ResponseView, Wire};
use proptest::prelude::*;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const GEMINI_EVENTS: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

/// A mock and the time of its next call.
struct Mock {
    provider: MockProvider,
    desk: MockDesk,
    at_us: u64,
}

impl Mock {
    fn new(spec: Value, says: Says) -> Self {
        let mut written = json!({ "ttft_ms": 100, "tpot_ms": 10, "prefill_ms_per_1k": 0, "jitter": 0 });
        written.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let spec: TwinSpec = serde_json::from_value(written).unwrap();
        let provider = MockProvider::new(says, 7, SimTime::Times(1.0), MockClock::Fixed);
        Self { provider, desk: MockDesk::new(spec, 7), at_us: 0 }
    }

    fn plain() -> Self {
        Self::new(json!({}), generated(20))
    }

    fn ask(&mut self, path: &str, body: &Value) -> MockAnswer {
        let text = body.to_string();
        let request = SimRequest { method: "POST", path, body: text.as_bytes(), occurrence: 0, unix_s: 5 };
        let heard = match self.provider.hear(&request, Client::default()) {
            Ok(heard) => heard,
            Err(answer) => return answer,
        };
        let at = self.desk.place(&heard);
        let thought = self.provider.think(&heard, &request, at);
        let decided = self.desk.decide(&heard, &thought, self.at_us);
        self.at_us += 10_000_000;
        self.provider.write(&heard, &request, thought, &decided)
    }

    fn answer(&mut self, path: &str, body: &Value) -> SimResponse {
        match self.ask(path, body).sent {
            MockSent::Answer(response) => response,
            MockSent::Closed => panic!("closed"),
        }
    }

    fn view(&mut self, path: &str, body: &Value) -> ResponseView {
        read(path, &self.answer(path, body))
    }
}

fn generated(tokens: u64) -> Says {
    Says::Generated(Generated { output_tokens: Spread::always(tokens as f64), ..Generated::default() })
}

fn read(path: &str, response: &SimResponse) -> ResponseView {
    let wire = match path {
        CHAT => Wire::OpenAiChat,
        RESPONSES => Wire::OpenAiResponses,
        MESSAGES => Wire::AnthropicMessages,
        _ => Wire::GeminiGenerate,
    };
    let kind =
        response.headers.iter().find(|(name, _)| *name == "content-type").map(|(_, kind)| kind.as_str());
    wire.decode_response(response.status, kind, &response.body())
}

/// The same question in each format, streamed and not.
fn asked(tools: &Value, max_tokens: Option<u64>) -> Vec<(&'static str, Value)> {
    let said = [json!({ "role": "user", "content": "hello" })];
    let functions =
        |wrap: fn(&Value) -> Value| -> Value { tools.as_array().unwrap().iter().map(wrap).collect() };
    let mut chat = json!({ "model": "m", "messages": said, "stream_options": { "include_usage": true } });
    let mut responses = json!({ "model": "m", "input": said });
    let mut messages = json!({ "model": "m", "messages": said });
    let mut gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] });
    if !tools.as_array().unwrap().is_empty() {
        chat["tools"] = functions(
            |tool| json!({ "type": "function", "function": { "name": tool["name"], "parameters": tool["schema"] } }),
        );
        responses["tools"] = functions(
            |tool| json!({ "type": "function", "name": tool["name"], "parameters": tool["schema"] }),
        );
        messages["tools"] = functions(|tool| json!({ "name": tool["name"], "input_schema": tool["schema"] }));
        let declared = functions(|tool| json!({ "name": tool["name"], "parameters": tool["schema"] }));
        gemini["tools"] = json!([{ "functionDeclarations": declared }]);
    }
    if let Some(most) = max_tokens {
        chat["max_tokens"] = json!(most);
        responses["max_output_tokens"] = json!(most);
        messages["max_tokens"] = json!(most);
        gemini["generationConfig"] = json!({ "maxOutputTokens": most });
    }
    let streamed = |body: &Value| {
        let mut body = body.clone();
        body["stream"] = json!(true);
        body
    };
    vec![
        (CHAT, streamed(&chat)),
        (RESPONSES, streamed(&responses)),
        (MESSAGES, streamed(&messages)),
        (CHAT, chat),
        (RESPONSES, responses),
        (MESSAGES, messages),
        (GEMINI_EVENTS, gemini.clone()),
        (GEMINI_ARRAY, gemini.clone()),
        (GEMINI, gemini),
    ]
}

fn waits(response: &SimResponse) -> u64 {
    response.chunks.iter().map(|chunk| chunk.delay_us).sum()
}

#[test]
fn answers_have_the_tokens_that_were_planned_in_every_format() {
    for (path, body) in asked(&json!([]), None) {
        let said = Mock::plain().view(path, &body);
        assert_eq!(said.text.split(' ').count(), 20, "{path}: {}", said.text);
        assert_eq!(said.usage.output_total, Some(20), "{path}");
        assert!(!said.truncated && said.error.is_none());
        let finish = said.finish_reason.unwrap().to_lowercase();
        assert!(["stop", "completed", "end_turn"].contains(&finish.as_str()), "{path}: {finish}");
    }
}

#[test]
fn max_tokens_ends_an_answer_early() {
    for (path, body) in asked(&json!([]), Some(5)) {
        let said = Mock::plain().view(path, &body);
        assert_eq!(said.text.split(' ').count(), 5, "{path}: {}", said.text);
        assert_eq!(said.usage.output_total, Some(5), "{path}");
        let finish = said.finish_reason.unwrap().to_lowercase();
        assert!(
            ["length", "incomplete", "max_output_tokens", "max_tokens"].contains(&finish.as_str()),
            "{path}: {finish}"
        );
    }
}

#[test]
fn tokens_come_when_the_twin_says() {
    for (path, body) in asked(&json!([]), None) {
        let response = Mock::plain().answer(path, &body);
        // 100 ms, then 19 gaps of 10 ms.
        assert_eq!(waits(&response), 290_000, "{path}");
        if response.chunks.len() > 1 {
            let first = response.chunks.iter().position(|chunk| chunk.carries == Carries::Output).unwrap();
            let until: u64 = response.chunks[..=first].iter().map(|chunk| chunk.delay_us).sum();
            assert_eq!(until, 100_000, "{path}");
        }
    }
}

#[test]
fn tools_are_called_in_two_steps_and_then_there_is_an_end() {
    let schema =
        json!({ "type": "object", "required": ["city"], "properties": { "city": { "type": "string" } } });
    for (path, body) in asked(&json!([{ "name": "look", "schema": schema }]), None) {
        let said = Mock::plain().view(path, &body);
        assert_eq!(said.tool_calls[0].name, "look", "{path}");
        assert!(said.tool_calls[0].arguments["city"].is_string(), "{path}");
    }
    let tool = json!([{ "type": "function", "function": { "name": "look", "parameters": schema } }]);
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } }] });
    let result = json!({ "role": "tool", "tool_call_id": "a", "content": "rain" });
    let mut mock = Mock::plain();
    let mut messages = vec![json!({ "role": "user", "content": "hello" })];
    let mut called = Vec::new();
    for _ in 0..4 {
        let said = mock.view(CHAT, &json!({ "model": "m", "messages": messages, "tools": tool }));
        called.push(!said.tool_calls.is_empty());
        messages.extend([call.clone(), result.clone()]);
    }
    assert_eq!(called, [true, true, false, false]);
}

#[test]
fn the_clients_choice_of_tools_is_respected() {
    let tools = json!([
        { "type": "function", "function": { "name": "look", "parameters": {} } },
        { "type": "function", "function": { "name": "leap", "parameters": {} } },
    ]);
    let called = |choice: Value, text: &str| -> Vec<String> {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }], "tools": tools, "tool_choice": choice });
        Mock::plain().view(CHAT, &body).tool_calls.into_iter().map(|call| call.name).collect()
    };
    assert_eq!(called(json!("none"), "hi"), Vec::<String>::new());
    assert_eq!(called(json!({ "type": "function", "function": { "name": "leap" } }), "hi"), ["leap"]);
    assert_eq!(called(json!("auto"), "hi [[looptape: tool_calls=3, output_tokens=500]]").len(), 3);
    assert_eq!(called(json!("required"), "hi [[looptape: tool_calls=0]]").len(), 0);
}

#[test]
fn a_request_says_how_long_its_answer_is() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi [[looptape: output_tokens=33]]" }] });
    assert_eq!(Mock::plain().view(CHAT, &body).usage.output_total, Some(33));
}

#[test]
fn the_second_step_reads_what_the_first_one_wrote() {
    let long = "You plan trips. ".repeat(400);
    let first = json!({ "model": "m", "messages": [{ "role": "system", "content": long }, { "role": "user", "content": "hello" }] });
    let mut second = first.clone();
    let messages = second["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": "hm" }));
    messages.push(json!({ "role": "user", "content": "and now?" }));
    let mut mock = Mock::plain();
    assert_eq!(mock.view(CHAT, &first).usage.cache_read, Some(0));
    assert!(mock.view(CHAT, &second).usage.cache_read.unwrap() >= 1024);
    // Anthropic's clients mark what to cache, and move the mark from step to step.
    let mark = json!([{ "type": "text", "text": long, "cache_control": { "type": "ephemeral" } }]);
    let first = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": mark }] });
    let mut mock = Mock::plain();
    let usage = mock.view(MESSAGES, &first).usage;
    assert!(usage.cache_write_5m.unwrap() >= 1024 && usage.cache_read == Some(0), "{usage:?}");
    let mut second = first.clone();
    second["messages"][0]["content"][0].as_object_mut().unwrap().remove("cache_control");
    second["messages"].as_array_mut().unwrap().extend([
        json!({ "role": "assistant", "content": "hm" }),
        json!({ "role": "user", "content": [{ "type": "text", "text": "go on", "cache_control": { "type": "ephemeral" } }] }),
    ]);
    let usage = mock.view(MESSAGES, &second).usage;
    assert!(usage.cache_read.unwrap() >= 1024, "{usage:?}");
}

#[test]
fn faults_are_broken_in_the_formats_own_shape() {
    let with = |fault: &str| Mock::new(json!({ "faults": [fault] }), generated(20));
    for (path, body) in asked(&json!([]), None) {
        let response = with("stream_error after 3 tokens").answer(path, &body);
        let said = read(path, &response);
        assert!(said.error.is_some(), "{path}: {}", String::from_utf8_lossy(&response.body()));
        let is_stream = response.status == 200;
        assert_eq!(is_stream, said.text.split(' ').count() >= 3, "{path}: {}", said.text);

        let whole = Mock::plain().answer(path, &body).body();
        let cut = with("cut after 300 bytes").answer(path, &body);
        assert_eq!(cut.body(), whole[..300], "{path}");
        assert!(matches!(cut.ending, SimEnding::Cut { .. }));

        let malformed = with("malformed").answer(path, &body);
        assert!(malformed.body() != whole && malformed.ending == SimEnding::Complete, "{path}");
        let dropped = with("drop").ask(path, &body);
        assert_eq!((dropped.sent, dropped.kind), (MockSent::Closed, MockKind::Dropped));
    }
}

#[test]
fn an_account_without_credit_is_told_so_and_by_no_limit() {
    for (path, body) in asked(&json!([]), None) {
        let mut mock =
            Mock::new(json!({ "faults": ["insufficient_quota"], "limits": { "rpm": 60 } }), generated(20));
        let refused = mock.ask(path, &body);
        assert_eq!(refused.kind, MockKind::NoQuota, "{path}");
        let MockSent::Answer(answer) = refused.sent else { panic!("{path}") };
        let text = String::from_utf8_lossy(&answer.body()).into_owned();
        let (status, word) = match path {
            "/v1/messages" => (400, "credit balance"),
            path if path.contains("models") => (429, "RESOURCE_EXHAUSTED"),
            _ => (429, "insufficient_quota"),
        };
        assert!(answer.status == status && text.contains(word), "{path}: {} {text}", answer.status);
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("retry-after")), "no wait cures it");
    }
}

#[test]
fn an_overloaded_provider_says_so_as_it_does() {
    let refused = |path: &str, body: &Value| {
        let response = Mock::new(json!({ "faults": ["529"] }), generated(20)).answer(path, body);
        (response.status, serde_json::from_slice::<Value>(&response.body()).unwrap())
    };
    let bodies = asked(&json!([]), None);
    let of = |path: &str| refused(path, &bodies.iter().find(|(p, _)| *p == path).unwrap().1);
    let (status, body) = of(MESSAGES);
    assert_eq!((status, &body["error"]["type"]), (529, &json!("overloaded_error")));
    let (status, body) = of(CHAT);
    assert_eq!((status, &body["error"]["type"]), (503, &json!("server_error")));
    let (status, body) = of(GEMINI);
    assert_eq!((status, &body["error"]["status"]), (503, &json!("UNAVAILABLE")));
}

#[test]
fn a_limit_is_stated_with_its_figures() {
    let mut mock = Mock::new(json!({ "limits": { "tpm": 1000, "rpm": 100 } }), generated(20));
    let body = json!({ "model": "gpt-4o-mini", "max_tokens": 900, "messages": [{ "role": "user", "content": "hello" }] });
    assert_eq!(mock.answer(CHAT, &body).status, 200);
    mock.at_us = 0;
    let refused = mock.answer(CHAT, &body);
    let header =
        |name: &str| refused.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    let text = String::from_utf8(refused.body()).unwrap();
    insta::assert_snapshot!(text, @r#"
    {"error":{"message":"Rate limit reached for gpt-4o-mini in organization org-simulated on tokens per min (TPM): Limit 1000, Used 900, Requested 900. Please try again in 48s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}
    "#);
    assert_eq!((header("retry-after-ms"), header("retry-after")), (Some("48000"), Some("48")));
    assert_eq!(header("x-ratelimit-remaining-tokens"), Some("100"));
    assert_eq!(header("x-ratelimit-remaining-requests"), Some("98"), "a refused request counts");
}

#[test]
fn a_script_and_a_text_are_filled_in() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    let said = |says: Says| Mock::new(json!({}), says).view(CHAT, &body).text;
    assert_eq!(said(Says::Text("{model} heard: {user} ({step})".into())), "m heard: hello (1)");
    let script: Script = serde_json::from_value(json!({ "turn": [
        { "text": "Step {step}.", "calls": [{ "name": "look", "arguments": { "at": 1 } }] },
        { "text": "Done." },
    ]}))
    .unwrap();
    assert_eq!(script.turns[1].after_tool_results, 1);
    let offered = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "tools": [{ "type": "function", "function": { "name": "look" } }] });
    let view = Mock::new(json!({}), Says::Script(script)).view(CHAT, &offered);
    assert_eq!((view.text.as_str(), &view.tool_calls[0].arguments), ("Step 1.", &json!({ "at": 1 })));
}

proptest! {
    /// The same requests at the same times get the same bytes.
    #[test]
    fn a_seed_decides_every_byte(texts in prop::collection::vec("[a-z]{0,9}", 1..6)) {
        let run = || -> Vec<MockAnswer> {
            let spec = json!({ "limits": { "rpm": 20 }, "faults": ["500 at 20 %", "cut after 9 tokens at 20 %"] });
            let mut mock = Mock::new(spec, generated(30));
            let ask = |text: &String| json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
            texts.iter().map(|text| mock.ask(CHAT, &ask(text))).collect()
        };
        prop_assert_eq!(run(), run());
    }
}
