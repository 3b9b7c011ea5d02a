//! A recorded chat, for tests.

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, RecorderOptions, TraceHint};
use std::path::Path;
use std::sync::Arc;

/// A trace that asks so many questions, each after all before it; one answer of each says its number.
pub(crate) fn record(database: &Path, trace: &str, questions: usize) {
    let options = RecorderOptions::new(database.into(), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).unwrap();
    let headers = || RedactedHeaders::redact([("content-type", &b"application/json"[..])]);
    for n in 1..=questions {
        let turn =
            |n: usize| serde_json::json!({"role": "user", "content": format!("question {n} of {trace}")});
        let messages: Vec<_> = (1..=n).map(turn).collect();
        let body = serde_json::json!({"model": "m", "messages": messages}).to_string();
        let call = recorder.begin(BeginCall {
            hint: TraceHint::Named(TraceId::parse(trace).unwrap()),
            at: Moment::now(),
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            headers: headers(),
            body: Bytes::from(body).into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: Credentials::none(),
        });
        let message = serde_json::json!({"role": "assistant", "content": format!("answer {n}")});
        let answer = serde_json::json!({"model": "m", "choices": [{"message": message}]}).to_string();
        let (now, answer) = (Moment::mono_us_now(), Bytes::from(answer));
        call.finish(CallEnd::Answered {
            status: 200,
            headers: headers(),
            head_mono_us: now,
            end_mono_us: now,
            chunks: vec![Chunk { at_us: now, len: answer.len() as u32 }],
            body: vec![answer],
            ending: Ending::Complete,
            cut: None,
        });
    }
    drop(recorder);
    thread.finish();
}
