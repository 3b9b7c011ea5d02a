//! What recordings of real clients do not show: formats' rarer parts.

use super::*;
use serde_json::json;

fn carried(wire: Wire, request: Value, answer: &str, results: Vec<(Option<String>, WrittenResult)>) -> Value {
    let next = wire.carry_on(&request, None, answer.as_bytes(), results).unwrap();
    wire.history_of(&next).unwrap()[wire.history_of(&request).map_or(1, Vec::len)..].to_vec().into()
}

fn result_in(wire: Wire, element: Value) -> Vec<WrittenResult> {
    wire.written_results(&element)
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn anthropic_blocks_keep_signatures_and_citations() {
    let delta =
        |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stream = events(&[
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
        delta(0, json!({"type": "signature_delta", "signature": "sig"})),
        start(1, json!({"type": "text", "text": ""})),
        start(2, json!({"type": "text", "text": "", "citations": null})),
        delta(2, json!({"type": "text_delta", "text": "Yes"})),
        delta(2, json!({"type": "citations_delta", "citation": {"url": "u"}})),
        start(3, json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "1}"})),
        start(4, json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}})),
    ]);
    let wire = Wire::AnthropicMessages;
    let written = json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "old", "content": "6", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "a reminder"}]});
    let [result] = result_in(wire, written).try_into().unwrap();
    let request = json!({"messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(
        carried(wire, request, &stream, vec![(Some("t1".to_owned()), result)]),
        json!([
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "text", "text": "Yes", "citations": [{"url": "u"}]},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "6"}]},
        ])
    );
}

#[test]
fn chat_fragments_without_an_index_belong_to_the_last_call() {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let stream = events(&[
        delta(json!({"role": "assistant", "content": "", "reasoning_content": "h"})),
        delta(json!({"reasoning_content": "m"})),
        delta(
            json!({"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\""}}]}),
        ),
        delta(json!({"tool_calls": [{"function": {"arguments": ":1}"}}]})),
        delta(
            json!({"tool_calls": [{"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]}),
        ),
        delta(json!({"tool_calls": [{"function": {"arguments": "{}"}}]})),
    ]);
    let request = json!({"messages": []});
    assert_eq!(
        carried(Wire::OpenAiChat, request, &(stream + "data: [DONE]\n\n"), Vec::new()),
        json!([{"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}],
            "reasoning_content": "hm"}])
    );
}

#[test]
fn responses_that_are_not_stored_need_their_reasoning_encrypted() {
    let reasoning = |encrypted: Value| json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": encrypted});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let answer = |item: Value| json!({"id": "resp", "output": [item, call]}).to_string();
    let kinds = |store: bool, item: Value| -> usize {
        let request = json!({"input": "hi", "store": store});
        carried(Wire::OpenAiResponses, request, &answer(item), Vec::new()).as_array().unwrap().len()
    };
    assert_eq!(kinds(true, reasoning(Value::Null)), 2);
    assert_eq!(kinds(false, reasoning(Value::Null)), 1);
    assert_eq!(kinds(false, reasoning(json!("gAAA"))), 2);
}

#[test]
fn a_conversation_that_the_server_keeps_is_carried_on_by_name() {
    let wire = Wire::OpenAiResponses;
    let written = json!({"type": "function_call_output", "id": "made up", "call_id": "old", "output": "6"});
    let [result] = result_in(wire, written).try_into().unwrap();
    let request = json!({"previous_response_id": "resp_1", "input": "go on", "model": "m"});
    let stream = events(&[
        json!({"type": "response.created", "response": {"id": "resp_2", "output": []}}),
        json!({"type": "response.output_item.done", "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}}),
    ]);
    let next = wire.carry_on(&request, None, stream.as_bytes(), vec![(Some("c".to_owned()), result)]);
    assert_eq!(
        next,
        Some(json!({"previous_response_id": "resp_2", "model": "m",
            "input": [{"type": "function_call_output", "call_id": "c", "output": "6"}]}))
    );
}

#[test]
fn gemini_joins_pieces_of_text_and_keeps_signatures() {
    let chunk =
        |parts: Value| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}}]});
    let stream = events(&[
        chunk(json!([{"text": "h", "thought": true}])),
        chunk(json!([{"text": "m", "thought": true}])),
        chunk(json!([{"text": "Let "}])),
        chunk(
            json!([{"text": "me."}, {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "sig"}]),
        ),
        chunk(json!([{"text": ""}])),
    ]);
    let wire = Wire::GeminiGenerate;
    let written = json!({"role": "function", "parts": [{"functionResponse": {"name": "f", "id": "old", "response": {"t": 6}}}]});
    let [result] = result_in(wire, written).try_into().unwrap();
    let enveloped =
        json!({"model": "m", "request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}});
    assert_eq!(
        carried(wire, enveloped, &stream, vec![(None, result)]),
        json!([
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "Let me."},
                {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "sig"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"t": 6}}}]},
        ])
    );
}

#[test]
fn ollama_joins_its_lines() {
    let line = |message: Value| json!({"message": message, "done": false}).to_string() + "\n";
    let call = json!({"function": {"name": "f", "arguments": {"x": 1}}});
    let body = line(json!({"content": "Let "})) + &line(json!({"content": "me.", "tool_calls": [call]}));
    let written = json!({"role": "tool", "tool_name": "f", "content": "6"});
    let [result] = result_in(Wire::OllamaChat, written.clone()).try_into().unwrap();
    assert_eq!(
        carried(Wire::OllamaChat, json!({"messages": []}), &body, vec![(None, result)]),
        json!([{"role": "assistant", "content": "Let me.", "tool_calls": [call]}, written])
    );
}

#[test]
fn what_holds_nothing_to_send_back_is_not_carried_on() {
    for wire in Wire::ALL {
        let request = json!({"messages": [], "contents": [], "input": []});
        for answer in ["", "{}"] {
            let next = wire.carry_on(&request, None, answer.as_bytes(), Vec::new());
            let only_items = wire == Wire::OpenAiResponses && answer == "{}";
            assert_eq!(next.is_some(), only_items, "{wire:?} {answer}");
        }
    }
}
