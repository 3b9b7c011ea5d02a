//! The same short conversation in every wire format: the second request echoes the first one's answer.

use super::tests::{of_call, of_request};
use crate::wire::Wire;
use serde_json::{Value, json};

/// A request, its answer, and the request that follows: with the answer, a tool's result or another question.
struct Conversation {
    wire: Wire,
    first: Value,
    answer: Value,
    second: Value,
}

fn conversation(wire: Wire) -> Option<Conversation> {
    let user = |content: &str| json!({"role": "user", "content": content});
    let function = |arguments: Value| json!({"name": "weather", "arguments": arguments});
    let text_call =
        json!({"id": "c", "type": "function", "function": function(json!("{\"city\":\"Oslo\"}"))});
    let (first, answer, second) = match wire {
        Wire::OpenAiChat => {
            let called = json!({"role": "assistant", "content": null, "tool_calls": [text_call]});
            let result = json!({"role": "tool", "tool_call_id": "c", "content": "dry"});
            (
                json!({"messages": [user("Oslo?")]}),
                json!({"choices": [{"index": 0, "message": called}]}),
                json!({"messages": [user("Oslo?"), called, result]}),
            )
        }
        Wire::OpenAiResponses => {
            let call = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "weather",
                "arguments": "{\"city\": \"Oslo\"}"});
            let result = json!({"type": "function_call_output", "call_id": "c", "output": "dry"});
            (
                json!({"input": "Oslo?"}),
                json!({"id": "r", "output": [{"type": "reasoning", "summary": []}, call]}),
                json!({"input": [user("Oslo?"), call, result]}),
            )
        }
        Wire::AnthropicMessages => {
            let content =
                json!([{"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Oslo"}}]);
            let result = json!([{"type": "tool_result", "tool_use_id": "c", "content": "dry"}]);
            (
                json!({"messages": [user("Oslo?")]}),
                json!({"type": "message", "role": "assistant", "content": content}),
                json!({"messages": [user("Oslo?"), {"role": "assistant", "content": content},
                    {"role": "user", "content": result}]}),
            )
        }
        Wire::GeminiGenerate => {
            let asked = json!({"role": "user", "parts": [{"text": "Oslo?"}]});
            let called = json!({"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]});
            let result =
                json!({"parts": [{"functionResponse": {"name": "weather", "response": {"is": "dry"}}}]});
            (
                json!({"contents": [asked]}),
                json!({"candidates": [{"content": called}]}),
                json!({"contents": [asked, called, result]}),
            )
        }
        Wire::OllamaChat => {
            let called = json!({"role": "assistant", "content": "", "tool_calls": [{"function": function(json!({"city": "Oslo"}))}]});
            (
                json!({"messages": [user("Oslo?")]}),
                json!({"message": called, "done": true}),
                json!({"messages": [user("Oslo?"), called, {"role": "tool", "tool_name": "weather", "content": "dry"}]}),
            )
        }
        Wire::CohereChatV1 => {
            let call = json!({"name": "weather", "parameters": {"city": "Oslo"}});
            (
                json!({"message": "Oslo?"}),
                json!({"text": "", "generation_id": "g", "tool_calls": [call]}),
                json!({"message": "Oslo?", "tool_results": [{"call": call, "outputs": [{"is": "dry"}]}]}),
            )
        }
        Wire::CohereChatV2 => {
            let called = json!({"role": "assistant", "tool_plan": "I will look.", "tool_calls": [text_call]});
            let result =
                json!({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "dry"}]});
            (
                json!({"messages": [user("Oslo?")]}),
                json!({"id": "r", "message": called}),
                json!({"messages": [user("Oslo?"), called, result]}),
            )
        }
        Wire::BedrockConverse | Wire::BedrockInvoke => {
            let asked = json!({"role": "user", "content": [{"text": "Oslo?"}]});
            // The mark moves on with every request.
            let marked =
                json!({"role": "user", "content": [{"text": "Oslo?"}, {"cachePoint": {"type": "default"}}]});
            let called = json!({"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"toolUse": {"toolUseId": "c", "name": "weather", "input": {"city": "Oslo"}}}]});
            let result = json!({"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "dry"}]}}]});
            (
                json!({"messages": [marked]}),
                json!({"output": {"message": called}, "stopReason": "tool_use"}),
                json!({"messages": [asked, called, result]}),
            )
        }
        // One prompt and one answer: there is no history to echo.
        Wire::OpenAiCompletions | Wire::OllamaGenerate => return None,
    };
    Some(Conversation { wire, first, answer, second })
}

#[test]
fn every_format_with_a_history_is_linked() {
    let conversations: Vec<_> = Wire::ALL.into_iter().filter_map(conversation).collect();
    assert_eq!(conversations.len(), Wire::ALL.len() - 2);
    for Conversation { wire, first, answer, second } in conversations {
        let path = "/model/m/converse";
        let first = wire.decode_request(path, &first);
        let answer = wire.decode_response(200, Some("application/json"), answer.to_string().as_bytes());
        let parent = of_call(wire, &first, Some(&answer));
        assert_eq!((parent.echo, parent.turns), (None, 1), "{wire:?}: a root");
        assert!(parent.answer_history.is_some(), "{wire:?}");
        let child = of_request(wire, &wire.decode_request(path, &second));
        assert_eq!(child.echo, parent.answer_history, "{wire:?}");
        assert_eq!(child.last_turn, parent.answer_turn, "{wire:?}");
        assert_eq!((parent.before_turn, child.before_turn), (None, Some(parent.history)), "{wire:?}");
        assert_eq!(child.turns, 3, "{wire:?}");
    }
}
