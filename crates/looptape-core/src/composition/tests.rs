//! Prompts of every format, read in parts and whole.

use super::example::{Recording, answered, calls, chat, result, says};
use super::*;
use crate::assembly::CallIndex;
use crate::provider::Provider;
use proptest::prelude::*;
use serde_json::{Value, json};

fn compositions(recording: &Recording, prompts: &Prompts) -> Vec<Option<Composition>> {
    let of =
        |(at, facts): (usize, &crate::facts::CallFacts)| prompts.composition(CallIndex(at), &facts.usage);
    recording.facts.iter().enumerate().map(of).collect()
}

#[test]
fn what_a_chat_prompt_consists_of() {
    let mut recording = Recording::chat();
    let opening = [says("system", "You are brief and precise."), says("user", "What is a heat pump?")];
    let page = "It moves heat from outside to inside. ".repeat(40);
    let first = calls("a", "heat pump");
    recording.call(chat(&opening), 200, &answered(&first, 400, 0, 20));
    let next = [opening.to_vec(), vec![first, result("a", &page)]].concat();
    recording.call(chat(&next), 200, &answered(&says("assistant", "It moves heat."), 1000, 0, 20));
    let all = compositions(&recording, &recording.prompts());
    let composition = all[1].unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&composition).unwrap(), @r#"
    {
      "system": 21,
      "tool_definitions": 148,
      "user": 22,
      "assistant": 24,
      "tool_results": 785,
      "reasoning": 0,
      "held_by_provider": 0,
      "input_tokens": 1000,
      "scaled": true,
      "estimated": true,
      "tokenizer": "o200k_base"
    }
    "#);
    assert_eq!(Section::ALL.map(|section| composition.part(section)).iter().sum::<u64>(), 1000);
    assert_eq!(all[0].unwrap().input_tokens, 400);
    assert_eq!(all[0].unwrap().tool_results, 0);
}

/// One conversation of two requests in every format that has a history: what comes back in the second is
/// counted where it belongs, and the parts are the provider's own count.
#[test]
fn every_format_says_who_says_what() {
    let long = "dry and cold ".repeat(50);
    let tool =
        json!({"name": "weather", "description": "Tells the weather", "input_schema": {"type": "object"}});
    let usage = json!({"input_tokens": 900, "output_tokens": 9});
    let function =
        json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}});
    let call = json!({"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}});
    let object_call = json!({"function": {"name": "weather", "arguments": {"city": "Oslo"}}});
    let cases: Vec<(Provider, &str, Value, Value)> = vec![
        (
            Provider::ANTHROPIC,
            "/v1/messages",
            json!({"model": "claude-sonnet-4-5", "system": "Be brief.", "tools": [tool], "messages": [
                {"role": "user", "content": "Oslo?"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm, the weather", "signature": "s"},
                    {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Oslo"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": long}]}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Dry."}], "usage": usage}),
        ),
        (
            Provider::OPENAI,
            "/v1/responses",
            json!({"model": "gpt-5", "instructions": "Be brief.", "tools": [{"type": "function", "name": "weather", "parameters": {}}],
                "input": [{"role": "user", "content": "Oslo?"},
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm, the weather"}]},
                    {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
                    {"type": "function_call_output", "call_id": "c", "output": long}]}),
            json!({"id": "r", "output": [], "usage": usage}),
        ),
        (
            Provider::GEMINI,
            "/v1beta/models/gemini-2.5-pro:generateContent",
            json!({"systemInstruction": {"parts": [{"text": "Be brief."}]},
                "tools": [{"functionDeclarations": [{"name": "weather"}]}],
                "contents": [{"role": "user", "parts": [{"text": "Oslo?"}]},
                    {"role": "model", "parts": [{"text": "hm, the weather", "thought": true},
                        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]},
                    {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": long}}}]}]}),
            json!({"candidates": [], "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 9}}),
        ),
        (
            Provider::parse("ollama").unwrap(),
            "/api/chat",
            json!({"model": "llama3.2", "tools": [function], "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Oslo?"},
                {"role": "assistant", "content": "", "thinking": "hm, the weather", "tool_calls": [object_call]},
                {"role": "tool", "tool_name": "weather", "content": long}]}),
            json!({"message": {"role": "assistant", "content": "Dry."}, "done": true, "prompt_eval_count": 900, "eval_count": 9}),
        ),
        (
            Provider::parse("cohere").unwrap(),
            "/v2/chat",
            json!({"model": "command-a", "tools": [function], "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Oslo?"},
                {"role": "assistant", "tool_plan": "hm, the weather", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": long}]}]}),
            json!({"id": "r", "message": {"role": "assistant", "content": [{"type": "text", "text": "Dry."}]},
                "usage": {"tokens": {"input_tokens": 900, "output_tokens": 9}}}),
        ),
        (
            Provider::parse("bedrock").unwrap(),
            "/model/anthropic.claude-sonnet-4/converse",
            json!({"system": [{"text": "Be brief."}], "toolConfig": {"tools": [{"toolSpec": {"name": "weather"}}]},
                "messages": [{"role": "user", "content": [{"text": "Oslo?"}]},
                    {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "hm, the weather"}}},
                        {"toolUse": {"toolUseId": "c", "name": "weather", "input": {"city": "Oslo"}}}]},
                    {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": long}]}}]}]}),
            json!({"output": {"message": {"role": "assistant", "content": [{"text": "Dry."}]}},
                "usage": {"inputTokens": 900, "outputTokens": 9, "totalTokens": 909}}),
        ),
    ];
    for (provider, path, body, answer) in cases {
        let mut recording = Recording::of(provider, path);
        recording.call(body, 200, &answer);
        let composition = compositions(&recording, &recording.prompts())[0].unwrap();
        let parts = Section::ALL.map(|section| composition.part(section));
        assert_eq!((parts.iter().sum::<u64>(), composition.scaled), (900, true), "{path}: {composition:?}");
        let expected = [
            Section::System,
            Section::ToolDefinitions,
            Section::User,
            Section::Assistant,
            Section::Reasoning,
        ];
        for section in expected {
            let tokens = composition.part(section);
            assert!((1..300).contains(&tokens), "{path}: {section:?} {composition:?}");
        }
        assert!(composition.tool_results > 500, "{path}: {composition:?}");
    }
}

#[test]
fn a_count_that_the_provider_did_not_give_is_the_tokenizers() {
    let mut recording = Recording::chat();
    recording.call(chat(&[says("user", "hello world")]), 200, &json!({"choices": []}));
    let composition = compositions(&recording, &recording.prompts())[0].unwrap();
    assert!(!composition.scaled && composition.user == 5, "{composition:?}");
}

#[test]
fn a_history_that_the_provider_keeps() {
    let mut recording = Recording::of(Provider::OPENAI, "/v1/responses");
    let page = "It moves heat from outside to inside. ".repeat(60);
    let ask = |previous: Option<&str>, text: &str| json!({"model": "gpt-4o", "previous_response_id": previous, "input": [{"role": "user", "content": text}]});
    let answer = |id: &str, input: u64| {
        json!({"id": id, "output": [{"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "I see."}]}], "usage": {"input_tokens": input, "output_tokens": 3}})
    };
    recording.call(ask(None, &page), 200, &answer("r1", 600));
    recording.call(ask(Some("r1"), "And then?"), 200, &answer("r2", 620));
    recording.call(ask(Some("elsewhere"), "And then?"), 200, &answer("r3", 9_000));
    let prompts = recording.prompts();
    let all = compositions(&recording, &prompts);
    // What the recording holds of the history is counted as what it is.
    let known = all[1].unwrap();
    assert!(known.user > 580 && known.assistant > 0 && known.held_by_provider == 0, "{known:?}");
    let unknown = all[2].unwrap();
    assert!(unknown.held_by_provider > 8_900 && unknown.user < 20, "{unknown:?}");
    let common = prompts.common(prompts.prompt(CallIndex(0)).unwrap(), prompts.prompt(CallIndex(1)).unwrap());
    assert_eq!(common, 1);
}

#[test]
fn bodies_that_cannot_be_read_say_nothing() {
    let mut recording = Recording::chat();
    recording.call(json!("no object"), 200, &answered(&says("assistant", "?"), 10, 0, 1));
    let composition = compositions(&recording, &recording.prompts())[0].unwrap();
    assert_eq!(
        (composition.input_tokens, Section::ALL.map(|s| composition.part(s)).iter().sum::<u64>()),
        (10, 10)
    );
}

fn message() -> impl Strategy<Value = Value> {
    let text = "[a-z]{1,8}( [a-z]{1,8}){0,5}";
    let id = "[ab]";
    prop_oneof![
        text.prop_map(|t| says("user", &t)),
        text.prop_map(|t| says("assistant", &t)),
        text.prop_map(|t| says("system", &t)),
        (id, text).prop_map(|(id, t)| calls(&id, &t)),
        (id, text).prop_map(|(id, t)| result(&id, &t)),
    ]
}

proptest! {
    /// Histories that share their beginnings, read in parts, are those read whole; the parts sum to the count.
    #[test]
    fn reading_in_parts_is_reading_whole(
        messages in prop::collection::vec(message(), 1..12),
        cuts in prop::collection::vec((0usize..12, message()), 1..6),
        input in 0u64..50_000,
    ) {
        let mut recording = Recording::chat();
        for (keep, tail) in cuts {
            let history = [&messages[..keep.min(messages.len())], &[tail]].concat();
            recording.call(chat(&history), 200, &answered(&says("assistant", "ok"), input, 0, 1));
        }
        let (parts, whole) = (recording.prompts(), recording.prompts_of_whole_bodies());
        let read = |prompts: &Prompts, at: usize| -> Vec<Piece> {
            let prompt = prompts.prompt(CallIndex(at)).unwrap();
            prompts.pieces_of(prompt).into_iter().map(|id| prompts.piece(id).clone()).collect()
        };
        for at in 0..recording.facts.len() {
            let (mut a, mut b) = (read(&parts, at), read(&whole, at));
            // A system message stands in the history when that is read apart.
            let order = |piece: &Piece| piece.section != Section::System;
            a.sort_by_key(order);
            b.sort_by_key(order);
            prop_assert_eq!(a, b);
        }
        prop_assert_eq!(compositions(&recording, &parts), compositions(&recording, &whole));
        for composition in compositions(&recording, &parts).into_iter().flatten() {
            let sum: u64 = Section::ALL.map(|section| composition.part(section)).iter().sum();
            prop_assert_eq!(sum, input);
        }
    }
}
