//! Free runs of recordings of real clients, and of variations on them.

use super::*;
use crate::assembly::{TraceSpan, assemble};
use crate::cassette::committed::committed;
use crate::exchange::{Answer, Chunk, Ending};
use crate::facts::CallFacts;
use crate::headers::RedactedHeaders;
use crate::lineage::Conversation;
use crate::replay::components::{Endpoint, RequestKey};
use serde_json::json;

/// Recordings of SDKs' own tool loops, by wire format.
const RECORDINGS: &[&str] =
    &["python-openai", "rust-agent", "anthropic-messages", "openai-responses", "gemini"];

fn exchanges(name: &str) -> Vec<Exchange> {
    committed(name).into_iter().map(|call| call.exchange).collect()
}

fn facts(exchange: &Exchange) -> CallFacts {
    let Exchange { provider, method, path, request_headers, request_body, .. } = exchange;
    let request = derive::request(provider, method, path, request_headers, request_body);
    let facts = derive::call(&request, &exchange.outcome);
    CallFacts { seq: exchange.seq, sent_us: exchange.sent_us, ..facts }
}

/// The only loop of a recording.
fn recorded(name: &str) -> Vec<RecordedStep> {
    let exchanges = exchanges(name);
    let facts: Vec<CallFacts> = exchanges.iter().map(facts).collect();
    let assembly = assemble(&facts, &TraceSpan::closed(60_000_000));
    let [only] = RecordedStep::by_loop(&exchanges, &assembly).try_into().unwrap();
    only
}

/// Runs to the end; `answer` gives the answer to a request, by the number of the answer from 0.
fn run(
    steps: &[RecordedStep],
    max_steps: u32,
    mut answer: impl FnMut(usize, &FreeRequest) -> Outcome,
) -> FreeRunReport {
    let mut run = FreeRun::new(steps.to_vec(), max_steps).unwrap();
    let mut answered = 0;
    loop {
        let ready = run.ready();
        if ready.is_empty() {
            return run.finish();
        }
        for request in ready {
            let outcome = answer(answered, &request);
            answered += 1;
            run.answered(request, &outcome);
        }
    }
}

/// The same answer with a word more in its text.
fn with_another_word(outcome: &Outcome) -> Outcome {
    let Outcome::Answered(answer) = outcome else { panic!("an answer") };
    let body = std::str::from_utf8(&answer.body).unwrap();
    // "Let me look up …" is said in pieces by all of the simulated provider's formats.
    let body = body.replace("Let ", "So let ");
    assert_ne!(body.as_bytes(), &answer.body[..], "the answer says something else");
    let len = u32::try_from(body.len()).unwrap();
    let chunks = vec![Chunk { at_us: answer.head_us, len }];
    Outcome::Answered(Answer { body: Bytes::from(body), chunks, ..answer.clone() })
}

/// Whether a request is the recorded one: the same but for round-trip ids. Google's SDK sends a streamed text
/// back in the pieces in which it came; of its requests what they say is compared.
fn is_alike(step: &RecordedStep, body: &[u8]) -> bool {
    if step.wire == Wire::GeminiGenerate {
        let says = |body: &[u8]| {
            let body = serde_json::from_slice(body).unwrap();
            Conversation::of(step.wire, &step.wire.decode_request("/", &body).messages).lineage().history
        };
        return says(body) == says(&step.body);
    }
    let key = |body: &[u8]| RequestKey::new(Some(step.wire), &Endpoint::new("POST", "/"), body).renamed;
    key(body) == key(&step.body)
}

#[test]
fn against_its_own_answers_a_run_is_the_recording() {
    for name in RECORDINGS {
        let steps = recorded(name);
        assert!(steps.len() >= 3, "{name}");
        let report = run(&steps, 100, |at, request| {
            assert_eq!((request.like, &request.body), (steps[at].seq, &None), "{name}");
            steps[at].outcome.clone()
        });
        assert_eq!(report.ending, FreeRunEnding::AsRecorded, "{name}");
        assert_eq!((report.steps, report.left), (u32::try_from(steps.len()).unwrap(), None));
        assert_eq!(report.tool_calls, 3);
    }
}

#[test]
fn what_is_made_here_is_what_the_client_sent() {
    for name in RECORDINGS {
        let steps = recorded(name);
        let mut made = 0;
        let report = run(&steps, 100, |at, request| {
            if let Some(body) = &request.body {
                // The first answer differs by a word, and so does its echo.
                let without = std::str::from_utf8(body).unwrap().replace("So let ", "Let ");
                assert!(is_alike(&steps[at], without.as_bytes()), "{name} {at}: {without}");
                made += 1;
            }
            if at == 0 { with_another_word(&steps[0].outcome) } else { steps[at].outcome.clone() }
        });
        assert_eq!(made, steps.len() - 1, "{name}");
        assert_eq!(report.ending, FreeRunEnding::Finished, "{name}");
        let left = report.left.unwrap();
        assert_eq!((left.step, report.tool_calls), (steps[0].step, 3), "{name}");
    }
}

#[test]
fn a_call_that_was_not_recorded_ends_the_run() {
    let steps = recorded(RECORDINGS[0]);
    let asking = |city: &str| {
        let arguments = json!({ "city": city }).to_string();
        let call = json!({"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": arguments}});
        let body = json!({"choices": [{"index": 0, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": null, "tool_calls": [call]}}]});
        let Outcome::Answered(answer) = &steps[0].outcome else { panic!("an answer") };
        let headers = RedactedHeaders::redact([("content-type", b"application/json".as_slice())]);
        Outcome::Answered(Answer { body: Bytes::from(body.to_string()), headers, ..answer.clone() })
    };
    let report = run(&steps, 100, |_, _| asking("Bergen"));
    assert_eq!((report.steps, report.tool_calls), (1, 0));
    insta::assert_snapshot!(report.ending, @r#"diverged: answer 1 asks for get_weather({"city":"Bergen"}), which the recording does not hold; nearest is step 1, which differs at /city: [-Lisbon-]{+Bergen+}"#);
    let report = run(&steps, 100, |_, _| asking("Oslo"));
    insta::assert_snapshot!(report.ending, @r#"diverged: answer 2 asks for get_weather({"city":"Oslo"}), which the recording answers 1 times only"#);
}

#[test]
fn runs_are_limited_and_can_be_broken_off() {
    let steps = recorded(RECORDINGS[2]);
    let report = run(&steps, 2, |at, _| steps[at].outcome.clone());
    assert_eq!(report.ending, FreeRunEnding::StepLimit { max_steps: 2 });
    assert_eq!(report.steps, 2);

    let mut broken = FreeRun::new(steps.clone(), 100).unwrap();
    assert_eq!(broken.ready().len(), 1);
    assert_eq!(broken.finish().ending, FreeRunEnding::Interrupted);

    let refused = Outcome::NoResponse {
        end_us: 1,
        ending: Ending::UpstreamUnreachable { error: "refused".to_owned() },
    };
    let report = run(&steps, 100, |_, _| refused.clone());
    insta::assert_snapshot!(report.ending, @"failed: no response (the provider could not be reached)");
}

#[test]
fn loops_that_cannot_be_carried_on_are_refused_before_anything_runs() {
    let mut steps = recorded(RECORDINGS[0]);
    assert_eq!(FreeRun::new(Vec::new(), 1).unwrap_err(), CannotDrive::Empty);
    steps[1].wire = Wire::OpenAiCompletions;
    let refused = FreeRun::new(steps.clone(), 1).unwrap_err();
    assert_eq!(refused, CannotDrive::Wire { step: steps[1].step, wire: Wire::OpenAiCompletions });
}

#[test]
fn a_request_that_names_its_answer_gets_the_id_of_the_answer_that_came() {
    let mut steps = recorded(RECORDINGS[3]);
    let view = |step: &RecordedStep| step.view().unwrap();
    let first = view(&steps[0]);
    let id = first.response_id.clone().unwrap();
    let call_id = first.tool_calls[0].id.clone().unwrap();
    let output = json!({"type": "function_call_output", "call_id": call_id, "output": "6"});
    let body = json!({"model": "m", "previous_response_id": id, "input": [output]});
    steps[1].body = Bytes::from(body.to_string());
    steps.truncate(2);
    let renamed = |outcome: &Outcome| {
        let Outcome::Answered(answer) = outcome else { panic!("an answer") };
        let body = std::str::from_utf8(&answer.body).unwrap();
        let body = body.replace(&id, "resp_now").replace(&call_id, "call_now");
        Outcome::Answered(Answer { body: Bytes::from(body), ..answer.clone() })
    };
    let report = run(&steps, 10, |at, request| {
        if at == 1 {
            let sent: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
            assert_eq!(sent["previous_response_id"], "resp_now");
            assert_eq!(sent["input"][0]["call_id"], "call_now");
        }
        renamed(&steps[at].outcome)
    });
    assert_eq!(report.ending, FreeRunEnding::AsRecorded);
}

#[test]
fn a_sub_agent_begins_once_what_came_before_it_was_as_recorded() {
    let mut steps = recorded(RECORDINGS[2]);
    let sub_agent =
        RecordedStep { step: 99, seq: 99, parent: None, sent_us: steps[2].sent_us - 1, ..steps[0].clone() };
    steps.insert(2, sub_agent);
    let mut order = Vec::new();
    let report = run(&steps, 100, |_, request| {
        order.push(request.like);
        steps.iter().find(|step| step.seq == request.like).unwrap().outcome.clone()
    });
    assert_eq!(report.ending, FreeRunEnding::AsRecorded);
    let place = |seq| order.iter().position(|&like| like == seq);
    assert!(place(99) > place(steps[1].seq), "{order:?}");

    let report = run(&steps, 100, |at, _| match at {
        0 => with_another_word(&steps[0].outcome),
        1 => steps[1].outcome.clone(),
        _ => steps[at + 1].outcome.clone(),
    });
    assert_eq!((report.ending, report.not_begun), (FreeRunEnding::Finished, 1));
}
