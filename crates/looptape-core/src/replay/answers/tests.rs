use super::*;
use crate::exchange::{Chunk, Ending};
use crate::headers::RedactedHeaders;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What an answer is to say.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    text: &'static str,
    calls: Vec<(&'static str, Value)>,
    cut_off: bool,
}

fn text(text: &'static str) -> Said {
    Said { text, calls: Vec::new(), cut_off: false }
}

fn calls(calls: &[(&'static str, Value)]) -> Said {
    Said { text: "", calls: calls.to_vec(), cut_off: false }
}

fn has_tools(wire: Wire) -> bool {
    !matches!(wire, Wire::OpenAiCompletions | Wire::OllamaGenerate)
}

/// The same answer in every format. `id` makes ids and other fields that do not count.
fn body(wire: Wire, said: &Said, id: &str) -> Value {
    let Said { text, calls, cut_off } = said;
    let each = |make: &dyn Fn(usize, &str, &Value) -> Value| -> Vec<Value> {
        calls.iter().enumerate().map(|(n, (name, arguments))| make(n, name, arguments)).collect()
    };
    let functions = each(&|n, name, arguments| {
        json!({"id": format!("{id}{n}"), "type": "function",
            "function": {"name": name, "arguments": arguments.to_string()}})
    });
    let reason = |done: &'static str, length: &'static str| if *cut_off { length } else { done };
    let blocks = |text_block: Value, calls: Vec<Value>| -> Vec<Value> {
        (!text.is_empty()).then_some(text_block).into_iter().chain(calls).collect()
    };
    match wire {
        Wire::OpenAiChat => json!({"id": id, "model": "m", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": text, "tool_calls": functions},
            "finish_reason": reason("stop", "length")}]}),
        Wire::OpenAiCompletions => json!({"id": id, "choices": [{"index": 0, "text": text,
            "finish_reason": reason("stop", "length")}]}),
        Wire::OpenAiResponses => {
            let calls = each(&|n, name, arguments| {
                json!({"type": "function_call", "id": format!("fc{id}{n}"), "call_id": format!("{id}{n}"),
                    "name": name, "arguments": arguments.to_string()})
            });
            let message = json!({"type": "message", "id": id, "role": "assistant",
                "content": [{"type": "output_text", "text": text}]});
            json!({"id": id, "status": reason("completed", "incomplete"), "output": blocks(message, calls)})
        }
        Wire::AnthropicMessages | Wire::BedrockInvoke => {
            let calls = each(
                &|n, name, arguments| json!({"type": "tool_use", "id": format!("{id}{n}"), "name": name, "input": arguments}),
            );
            json!({"id": id, "type": "message", "role": "assistant",
                "content": blocks(json!({"type": "text", "text": text}), calls),
                "stop_reason": reason("end_turn", "max_tokens")})
        }
        Wire::GeminiGenerate => {
            let calls =
                each(&|_, name, arguments| json!({"functionCall": {"name": name, "args": arguments}}));
            json!({"responseId": id, "candidates": [{"index": 0, "finishReason": reason("STOP", "MAX_TOKENS"),
                "content": {"role": "model", "parts": blocks(json!({"text": text}), calls)}}]})
        }
        Wire::OllamaChat => {
            let calls =
                each(&|_, name, arguments| json!({"function": {"name": name, "arguments": arguments}}));
            json!({"created_at": id, "message": {"role": "assistant", "content": text, "tool_calls": calls},
                "done": true, "done_reason": reason("stop", "length")})
        }
        Wire::OllamaGenerate => {
            json!({"created_at": id, "response": text, "done": true, "done_reason": reason("stop", "length")})
        }
        Wire::CohereChatV1 => {
            let calls = each(&|_, name, arguments| json!({"name": name, "parameters": arguments}));
            json!({"generation_id": id, "text": text, "tool_calls": calls,
                "finish_reason": reason("COMPLETE", "MAX_TOKENS")})
        }
        Wire::CohereChatV2 => json!({"id": id, "message": {"role": "assistant",
            "content": blocks(json!({"type": "text", "text": text}), Vec::new()), "tool_calls": functions},
            "finish_reason": reason("COMPLETE", "MAX_TOKENS")}),
        Wire::BedrockConverse => {
            let calls = each(
                &|n, name, arguments| json!({"toolUse": {"toolUseId": format!("{id}{n}"), "name": name, "input": arguments}}),
            );
            json!({"output": {"message": {"role": "assistant", "content": blocks(json!({"text": text}), calls)}},
                "stopReason": reason("end_turn", "max_tokens"), "metrics": {"latencyMs": id.len()}})
        }
    }
}

fn answered(status: u16, body: &str, ending: Ending) -> Outcome {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let len = u32::try_from(body.len()).unwrap();
    let headers = RedactedHeaders::redact([("content-type", b"application/json".as_slice())]);
    let chunks = vec![Chunk { at_us: 1, len }];
    Outcome::Answered(Answer { status, headers, body, chunks, head_us: 1, end_us: 2, ending })
}

fn whole(wire: Wire, said: &Said, id: &str) -> Outcome {
    answered(200, &body(wire, said, id).to_string(), Ending::Complete)
}

fn compare(wire: Wire, recorded: &Outcome, now: &Outcome) -> AnswerDiff {
    AnswerDiff::between(CallKind::Llm(wire), recorded, now).unwrap()
}

fn class(wire: Wire, recorded: &Said, now: &Said) -> AnswerClass {
    compare(wire, &whole(wire, recorded, "a"), &whole(wire, now, "b2")).class
}

#[test]
fn every_format_is_classified_alike() {
    let oslo = || calls(&[("weather", json!({"city": "Oslo"}))]);
    let table = [
        (oslo(), oslo(), AnswerClass::SameToolCalls),
        (oslo(), calls(&[("weather", json!({"city": "Bergen"}))]), AnswerClass::OtherArguments),
        (oslo(), calls(&[("search", json!({"city": "Oslo"}))]), AnswerClass::OtherTools),
        (
            oslo(),
            calls(&[("weather", json!({"city": "Oslo"})), ("search", json!({}))]),
            AnswerClass::OtherTools,
        ),
        (oslo(), text("It is cold."), AnswerClass::TextInsteadOfTool),
        (text("It is cold."), oslo(), AnswerClass::ToolInsteadOfText),
        (oslo(), Said { cut_off: true, ..oslo() }, AnswerClass::OtherFinishReason),
    ];
    let texts = [
        (text("It is cold."), text("It is cold."), AnswerClass::SameText),
        (text("It is cold."), text("It is warm."), AnswerClass::OtherText),
        (text("It is cold."), Said { cut_off: true, ..text("It is") }, AnswerClass::OtherFinishReason),
    ];
    for wire in Wire::ALL {
        for (recorded, now, expected) in &texts {
            assert_eq!(class(wire, recorded, now), *expected, "{wire:?} {recorded:?} {now:?}");
        }
        for (recorded, now, expected) in table.iter().filter(|_| has_tools(wire)) {
            assert_eq!(class(wire, recorded, now), *expected, "{wire:?} {recorded:?} {now:?}");
        }
        let bytes = whole(wire, &texts[0].0, "a");
        assert_eq!(compare(wire, &bytes, &bytes).class, AnswerClass::SameBytes);
    }
}

#[test]
fn errors_and_broken_answers_are_told_apart() {
    let busy = |message: &str| json!({"error": {"type": "overloaded", "message": message}}).to_string();
    let unreachable = Outcome::NoResponse {
        end_us: 3,
        ending: Ending::UpstreamUnreachable { error: "refused".to_owned() },
    };
    for wire in Wire::ALL {
        let good = whole(wire, &text("yes"), "a");
        let failed = answered(529, &busy("request 1"), Ending::Complete);
        let half = body(wire, &text("yes"), "a").to_string();
        let reset = Ending::UpstreamReset { error: "reset".to_owned() };
        let broken = answered(200, &half[..half.len() / 2], reset);
        let class = |recorded: &Outcome, now: &Outcome| compare(wire, recorded, now).class;
        assert_eq!(class(&good, &failed), AnswerClass::Error, "{wire:?}");
        assert_eq!(class(&failed, &good), AnswerClass::AnswerInsteadOfError);
        assert_eq!(
            class(&failed, &answered(529, &busy("request 2"), Ending::Complete)),
            AnswerClass::SameError
        );
        assert_eq!(
            class(&failed, &answered(500, &busy("request 1"), Ending::Complete)),
            AnswerClass::OtherError
        );
        assert_eq!(class(&good, &broken), AnswerClass::Error);
        assert_eq!(class(&good, &unreachable), AnswerClass::Error);
        assert_eq!(class(&unreachable, &unreachable), AnswerClass::SameBytes);
        assert_eq!(AnswerDiff::between(CallKind::Llm(wire), &Outcome::InFlight, &good), None);
    }
}

#[test]
fn refusals_are_recognised_in_the_words_of_each_provider() {
    let refusing = |wire: Wire| {
        let mut body = body(wire, &text(""), "r");
        match wire {
            Wire::OpenAiChat => {
                body["choices"][0]["message"] = json!({"role": "assistant", "refusal": "I cannot."});
            }
            Wire::OpenAiResponses => {
                body["output"] = json!([{"type": "message", "role": "assistant",
                    "content": [{"type": "refusal", "refusal": "I cannot."}]}]);
            }
            Wire::OpenAiCompletions => body["choices"][0]["finish_reason"] = json!("content_filter"),
            Wire::AnthropicMessages | Wire::BedrockInvoke => body["stop_reason"] = json!("refusal"),
            Wire::GeminiGenerate => {
                body = json!({"candidates": [], "promptFeedback": {"blockReason": "SAFETY"}});
            }
            Wire::CohereChatV1 | Wire::CohereChatV2 => body["finish_reason"] = json!("ERROR_TOXIC"),
            Wire::BedrockConverse => body["stopReason"] = json!("guardrail_intervened"),
            Wire::OllamaChat | Wire::OllamaGenerate => return None,
        }
        Some(answered(200, &body.to_string(), Ending::Complete))
    };
    for wire in Wire::ALL {
        let Some(refused) = refusing(wire) else { continue };
        let good = whole(wire, &text("yes"), "a");
        assert_eq!(compare(wire, &good, &refused).class, AnswerClass::Refusal, "{wire:?}");
        assert_eq!(compare(wire, &refused, &good).class, AnswerClass::AnswerInsteadOfRefusal, "{wire:?}");
    }
}

#[test]
fn differences_read_well() {
    let wire = Wire::AnthropicMessages;
    let line = |recorded: &Said, now: &Said| {
        compare(wire, &whole(wire, recorded, "a"), &whole(wire, now, "b")).to_string()
    };
    let trip = calls(&[
        ("weather", json!({"city": "Oslo", "days": [1, 2]})),
        ("book", json!({"seat": 4})),
        ("book", json!({"seat": 5})),
    ]);
    let other = calls(&[
        ("book", json!({"seat": 5})),
        ("weather", json!({"days": [1, 3], "city": "Oslo"})),
        ("cancel", json!({})),
    ]);
    insta::assert_snapshot!(line(&trip, &other), @r#"other tools; weather at /days/1: [-2-]{+3+}; not asked for now: book({"seat":4}); asked for now: cancel({})"#);
    insta::assert_snapshot!(line(&text("It is very cold."), &text("It is quite cold.")), @"other text (75 % of the words): It is [-very-]{+quite+} cold.");
    insta::assert_snapshot!(line(&text("It is"), &Said { cut_off: true, ..text("It is") }), @"another finish reason: finish reason recorded end_turn, now max_tokens");
    let failed = answered(
        429,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
        Ending::Complete,
    );
    insta::assert_snapshot!(compare(wire, &whole(wire, &text("yes"), "a"), &failed), @"an error: recorded none, now status 429 rate_limit_error (slow down)");
}

#[test]
fn what_no_format_reads_is_compared_as_json_or_bytes() {
    let of = |a: &str, b: &str| {
        let outcome = |body: &str| answered(200, body, Ending::Complete);
        AnswerDiff::between(CallKind::Other, &outcome(a), &outcome(b)).unwrap().class
    };
    assert_eq!(of(r#"{"a":1,"b":2}"#, r#"{"b":2, "a":1.0}"#), AnswerClass::SameContent);
    assert_eq!(of(r#"{"a":1}"#, r#"{"a":2}"#), AnswerClass::OtherContent);
    assert_eq!(of("plain", "plain"), AnswerClass::SameBytes);
    assert_eq!(of("plain", "other"), AnswerClass::OtherContent);
}

#[test]
fn classes_are_listed_in_their_order() {
    assert!(AnswerClass::ALL.is_sorted());
    let same = AnswerClass::ALL.iter().filter(|class| class.is_same()).count();
    assert_eq!(same, 5);
}

fn any_said() -> impl Strategy<Value = Said> {
    let call = (prop::sample::select(vec!["f", "g"]), 0..3u8).prop_map(|(name, n)| (name, json!({"n": n})));
    let texts = prop::sample::select(vec!["", "yes", "no", "yes and no"]);
    (texts, prop::collection::vec(call, 0..4), any::<bool>()).prop_map(|(text, calls, cut_off)| Said {
        text,
        calls,
        cut_off,
    })
}

proptest! {
    #[test]
    fn ids_and_the_order_of_parallel_calls_do_not_count(said in any_said(), seed in any::<u64>()) {
        let mut shuffled = said.clone();
        let by = usize::try_from(seed % 7).unwrap();
        let len = shuffled.calls.len().max(1);
        shuffled.calls.rotate_left(by.min(len) % len);
        for wire in Wire::ALL.into_iter().filter(|&wire| has_tools(wire)) {
            prop_assert!(class(wire, &said, &shuffled).is_same(), "{:?} {:?} {:?}", wire, said, shuffled);
        }
    }

    #[test]
    fn a_class_says_whether_what_was_said_is_the_same(a in any_said(), b in any_said()) {
        let multiset = |said: &Said| {
            let mut calls: Vec<String> = said.calls.iter().map(|(n, a)| format!("{n}{a}")).collect();
            calls.sort();
            calls
        };
        let same_calls = multiset(&a) == multiset(&b);
        // Beside tool calls the text does not count.
        let same_text = a.text == b.text || !a.calls.is_empty();
        let expected = same_calls && same_text && a.cut_off == b.cut_off;
        for wire in Wire::ALL.into_iter().filter(|&wire| has_tools(wire)) {
            prop_assert_eq!(class(wire, &a, &b).is_same(), expected, "{:?}", wire);
        }
    }

    #[test]
    fn no_answer_is_too_strange(a in ".{0,60}", b in ".{0,60}", sa in 200..600u16, sb in 200..600u16) {
        for wire in Wire::ALL {
            let outcome = |status, body: &str| answered(status, body, Ending::Complete);
            let diff = compare(wire, &outcome(sa, &a), &outcome(sb, &b));
            prop_assert_eq!(diff.class == AnswerClass::SameBytes, a == b && sa == sb);
        }
    }
}
