use super::*;
use proptest::prelude::*;
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/openai/v1/responses";
const MESSAGES: &str = "/v1/messages?beta=true";
const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const GEMINI_EVENTS: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

fn post(script: &Script, path: &str, body: &Value, occurrence: u32) -> SimResponse {
    let body = body.to_string();
    let request =
        SimRequest { method: "POST", path, body: body.as_bytes(), occurrence, unix_s: 1_800_000_000 };
    respond(script, &request)
}

fn play(path: &str, body: &Value) -> SimResponse {
    post(&Script::tool_loop(), path, body, 0)
}

fn json_body(response: &SimResponse) -> Value {
    serde_json::from_slice(&response.body()).unwrap()
}

/// The `data:` payloads of a stream of events, `[DONE]` as a string.
fn events(response: &SimResponse) -> Vec<Value> {
    let body = String::from_utf8(response.body()).unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
        .collect()
}

fn header<'a>(response: &'a SimResponse, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
}

fn chat_tools() -> Value {
    json!([
        { "type": "function", "function": { "name": "get_weather", "parameters": {} } },
        { "type": "function", "function": { "name": "convert_currency", "parameters": {} } },
    ])
}

/// A chat history that has come as far as `results` tool results.
fn chat_history(results: usize) -> Value {
    let call =
        |id: &str| json!({ "id": id, "type": "function", "function": { "name": "t", "arguments": "{}" } });
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "sunny" });
    let mut messages = vec![
        json!({ "role": "system", "content": "You plan trips. ".repeat(60) }),
        json!({ "role": "user", "content": "Oslo or Lisbon?" }),
    ];
    if results >= 2 {
        messages.push(json!({ "role": "assistant", "content": "", "tool_calls": [call("a"), call("b")] }));
        messages.extend([result("a"), result("b")]);
    }
    if results >= 3 {
        messages.push(json!({ "role": "assistant", "content": "", "tool_calls": [call("c")] }));
        messages.push(result("c"));
    }
    Value::Array(messages)
}

fn chat(results: usize) -> Value {
    json!({ "model": "gpt-4o-mini", "messages": chat_history(results), "tools": chat_tools() })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[test]
fn the_history_decides_the_turn() {
    let names = |results| -> Vec<String> {
        let answer = json_body(&play(CHAT, &chat(results)));
        let calls = answer["choices"][0]["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
        calls.iter().map(|c| c["function"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(0), ["get_weather", "get_weather"]);
    assert_eq!(names(2), ["convert_currency"]);
    assert!(names(3).is_empty());
    let last = json_body(&play(CHAT, &chat(3)));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(last["choices"][0]["message"]["content"].as_str().unwrap().starts_with("Go to Lisbon"));
}

#[test]
fn tools_that_are_not_offered_are_not_called() {
    let body = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "number 7" }] });
    let answer = json_body(&play(CHAT, &body));
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: number 7");
    assert_eq!(answer["choices"][0]["message"].get("tool_calls"), None);
}

#[test]
fn the_demo_refuses_its_second_turn_once_in_each_run() {
    let script = Script::demo();
    let statuses = |results| [0, 1, 2, 3].map(|n| post(&script, CHAT, &chat(results), n).status);
    assert_eq!(statuses(0), [200, 200, 200, 200]);
    assert_eq!(statuses(2), [429, 200, 429, 200]);
    assert_eq!(statuses(3), [200, 200, 200, 200]);
}

#[test]
fn an_openai_refusal_states_figures_that_give_the_wait() {
    let refused = post(&Script::demo(), CHAT, &chat(2), 0);
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    assert_eq!(header(&refused, "x-ratelimit-remaining-tokens"), Some("0"));
    assert_eq!(header(&refused, "x-ratelimit-reset-tokens"), Some("1m0s"));
    let error = &json_body(&refused)["error"];
    assert_eq!(error["code"], "rate_limit_exceeded");
    let message = error["message"].as_str().unwrap();
    let figure = |name: &str| -> u64 {
        let tail = message.split_once(name).unwrap().1;
        tail.split([',', '.']).next().unwrap().trim().parse().unwrap()
    };
    let over = figure("Used ") + figure("Requested ") - figure("Limit ");
    assert_eq!(over * 60 / figure("Limit "), 1, "{message}");
    assert!(message.ends_with("Please try again in 1s."), "{message}");
}

#[test]
fn each_format_refuses_in_its_own_words() {
    let script = Script::demo();
    let tools = json!([{ "name": "convert_currency", "input_schema": {} }]);
    let results = json!([{ "role": "user", "content": [
        { "type": "tool_result", "tool_use_id": "a", "content": "x" },
        { "type": "tool_result", "tool_use_id": "b", "content": "y" },
    ]}]);
    let body = json!({ "model": "claude-haiku-4-5", "max_tokens": 9, "messages": results, "tools": tools });
    let refused = post(&script, MESSAGES, &body, 0);
    assert_eq!((refused.status, header(&refused, "retry-after")), (429, Some("1")));
    assert_eq!(header(&refused, "anthropic-ratelimit-tokens-reset"), Some("2027-01-15T08:01:00Z"));
    assert_eq!(json_body(&refused)["error"]["type"], "rate_limit_error");

    let part = json!({ "functionResponse": { "name": "get_weather", "response": {} } });
    let body = json!({
        "contents": [{ "role": "user", "parts": [part, part] }],
        "tools": [{ "functionDeclarations": [{ "name": "convert_currency" }] }],
    });
    let refused = post(&script, GEMINI, &body, 0);
    let error = &json_body(&refused)["error"];
    assert_eq!(
        (refused.status, &error["code"], &error["status"]),
        (429, &json!(429), &json!("RESOURCE_EXHAUSTED"))
    );
    assert_eq!(error["details"][0]["retryDelay"], "1s");
}

#[test]
fn a_streamed_chat_answer_adds_up_to_the_whole_one() {
    let whole = json_body(&play(CHAT, &chat(0)));
    let asked =
        with(with(chat(0), "stream", json!(true)), "stream_options", json!({ "include_usage": true }));
    let streamed = play(CHAT, &asked);
    let mut events = events(&streamed);
    assert_eq!(events.pop(), Some(json!("[DONE]")));
    let usage = events.pop().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);

    let mut text = String::new();
    let mut arguments = vec![String::new(); 2];
    for event in &events {
        assert_eq!(event["usage"], Value::Null);
        let delta = &event["choices"][0]["delta"];
        text += delta["content"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            arguments[usize::try_from(index).unwrap()] += call["function"]["arguments"].as_str().unwrap();
        }
    }
    let message = &whole["choices"][0]["message"];
    assert_eq!(text, message["content"]);
    assert_eq!(arguments, [r#"{"city":"Oslo"}"#, r#"{"city":"Lisbon"}"#]);
    assert_eq!(message["tool_calls"][1]["function"]["arguments"], arguments[1]);
    assert_ne!(message["tool_calls"][0]["id"], message["tool_calls"][1]["id"]);
}

#[test]
fn chat_usage_comes_in_a_stream_only_on_request() {
    let streamed = play(CHAT, &with(chat(0), "stream", json!(true)));
    assert!(events(&streamed).iter().all(|e| e.get("usage").is_none()));
}

#[test]
fn a_responses_stream_is_numbered_and_ends_with_the_response() {
    let tools = json!([{ "type": "function", "name": "get_weather" }]);
    let body = json!({ "model": "gpt-4o-mini", "input": "Oslo?", "tools": tools, "stream": true });
    let events = events(&play(RESPONSES, &body));
    let numbers: Vec<u64> = events.iter().map(|e| e["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events[0]["type"], "response.created");
    let done = events.last().unwrap();
    assert_eq!(done["type"], "response.completed");
    let output = done["response"]["output"].as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|o| o["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "function_call", "function_call"]);
    let announced: Vec<&Value> =
        events.iter().filter(|e| e["type"] == "response.output_item.done").map(|e| &e["item"]).collect();
    assert_eq!(announced, output.iter().collect::<Vec<_>>());
    assert!(done["response"]["usage"]["output_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn an_anthropic_stream_opens_and_closes_every_block() {
    let tools = json!([{ "name": "get_weather", "input_schema": {} }]);
    let messages = json!([{ "role": "user", "content": "Oslo?" }]);
    let body = json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": messages, "tools": tools });
    let response = play(MESSAGES, &body);
    let text = String::from_utf8(response.body()).unwrap();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        assert_eq!(name, serde_json::from_str::<Value>(data).unwrap()["type"]);
    }
    let events = events(&response);
    let indices = |kind: &str| -> Vec<u64> {
        events.iter().filter(|e| e["type"] == kind).map(|e| e["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(indices("content_block_start"), [0, 1, 2]);
    assert_eq!(indices("content_block_stop"), [0, 1, 2]);
    let [.., delta, stop] = events.as_slice() else { panic!("{text}") };
    assert_eq!((&delta["delta"]["stop_reason"], &stop["type"]), (&json!("tool_use"), &json!("message_stop")));
}

#[test]
fn anthropic_caches_only_what_the_client_marks() {
    let long = "You plan trips. ".repeat(100);
    let messages = |mark: Value| {
        let mut question = json!({ "type": "text", "text": "Oslo?" });
        if !mark.is_null() {
            question["cache_control"] = mark;
        }
        json!({ "model": "m", "max_tokens": 9, "system": long, "messages": [{ "role": "user", "content": [question] }] })
    };
    let usage = |body: &Value| json_body(&play(MESSAGES, body))["usage"].clone();
    let plain = usage(&messages(Value::Null));
    let marked = usage(&messages(json!({ "type": "ephemeral" })));
    assert_eq!(plain["cache_creation_input_tokens"], 0);
    assert!(plain["input_tokens"].as_u64().unwrap() > 400, "{plain}");
    let written = marked["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(written >= 384, "{marked}");
    assert_eq!(marked["cache_creation"]["ephemeral_5m_input_tokens"], written);
    assert_eq!(marked["cache_read_input_tokens"], 0);
}

#[test]
fn gemini_speaks_in_three_framings() {
    let body = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "Oslo?" }] }],
        "tools": [{ "functionDeclarations": [{ "name": "get_weather" }] }],
    });
    let whole = json_body(&play(GEMINI, &body));
    let events = events(&play(GEMINI_EVENTS, &body));
    let array = json_body(&play(GEMINI_ARRAY, &body));
    let text = |elements: &[Value]| -> String {
        let parts = elements.iter().flat_map(|e| e["candidates"][0]["content"]["parts"].as_array().unwrap());
        parts.filter_map(|p| p["text"].as_str()).collect()
    };
    let array = array.as_array().unwrap();
    let said = text(std::slice::from_ref(&whole));
    assert_eq!((text(&events), text(array)), (said.clone(), said));
    for last in [&whole, events.last().unwrap(), array.last().unwrap()] {
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        let usage = &last["usageMetadata"];
        let sum: u64 = ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"]
            .iter()
            .map(|k| usage[*k].as_u64().unwrap())
            .sum();
        assert_eq!(usage["totalTokenCount"], sum);
        assert_eq!(usage["candidatesTokenCount"], whole["usageMetadata"]["candidatesTokenCount"]);
        let parts = last["candidates"][0]["content"]["parts"].as_array().unwrap();
        assert_eq!(parts.iter().filter(|p| p.get("functionCall").is_some()).count(), 2);
    }
}

#[test]
fn usage_grows_with_the_history_and_the_repeated_prefix_is_cached() {
    let usage = [0, 2, 3].map(|results| {
        let usage = json_body(&play(CHAT, &chat(results)))["usage"].clone();
        (
            usage["prompt_tokens"].as_u64().unwrap(),
            usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap(),
        )
    });
    let [(input_1, cached_1), (input_2, cached_2), (input_3, cached_3)] = usage;
    assert!(input_1 < input_2 && input_2 < input_3, "{usage:?}");
    assert_eq!(cached_1, 0);
    // What is cached is what the step before had sent, in whole blocks.
    assert_eq!(cached_2, input_1 / 64 * 64);
    assert_eq!(cached_3, input_2 / 64 * 64);
}

#[test]
fn short_prefixes_are_not_cached() {
    let cases = [(0, 0), (1023, 0), (1024, 1024), (1151, 1024), (1152, 1152)];
    for (prefix, cached) in cases {
        assert_eq!(PromptCache::PUBLISHED.cached_of(prefix), cached, "{prefix}");
    }
}

#[test]
fn bad_requests_get_the_formats_error() {
    let script = Script::demo();
    let send = |method, path, body: &[u8]| {
        let response = respond(&script, &SimRequest { method, path, body, occurrence: 0, unix_s: 0 });
        let error = json_body(&response)["error"].clone();
        (response.status, error)
    };
    assert_eq!(send("POST", "/v1/embeddings", b"{}").0, 404);
    assert_eq!(send("GET", CHAT, b"").0, 405);
    let (status, error) = send("POST", MESSAGES, b"{");
    assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")));
    let (status, error) = send("POST", GEMINI, b"[]");
    assert_eq!((status, &error["status"]), (400, &json!("INVALID_ARGUMENT")));
}

#[test]
fn durations_are_written_as_go_writes_them() {
    let cases =
        [(0, "0s"), (12, "12ms"), (1000, "1s"), (1500, "1.5s"), (59_999, "59.999s"), (360_000, "6m0s")];
    for (ms, text) in cases {
        assert_eq!(response_headers::go_duration(ms), text);
    }
}

#[test]
fn repeated_requests_differ_in_their_ids_only() {
    let [first, again, second] = [0, 0, 1].map(|n| json_body(&post(&Script::tool_loop(), CHAT, &chat(3), n)));
    assert_eq!(first, again);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["choices"], second["choices"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("assistant")),
        Just(json!("tool_result")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop::sample::select(vec![
            "model",
            "messages",
            "input",
            "contents",
            "tools",
            "role",
            "content",
            "parts",
            "type",
            "name",
            "stream",
            "function",
            "functionDeclarations",
            "cache_control",
            "system",
            "text",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_gets_the_same_answer_twice(body in any_json(), occurrence in 0..3_u32) {
        for path in [CHAT, RESPONSES, MESSAGES, GEMINI, GEMINI_EVENTS, GEMINI_ARRAY] {
            let once = post(&Script::demo(), path, &body, occurrence);
            prop_assert!([200, 400, 429].contains(&once.status));
            prop_assert!(once.chunks.iter().all(|c| !c.bytes.is_empty()));
            prop_assert!(!once.chunks.is_empty());
            prop_assert_eq!(once, post(&Script::demo(), path, &body, occurrence));
        }
    }

    #[test]
    fn pieces_join_to_the_text(text in "\\PC*") {
        prop_assert_eq!(stream::words(&text).concat(), text.as_str());
        prop_assert_eq!(stream::fragments(&text).concat(), text.as_str());
    }
}
