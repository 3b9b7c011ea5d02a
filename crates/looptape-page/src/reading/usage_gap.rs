//! Streamed answers without usage because nobody asked for it.
//!
//! Completions, of chats and of prompts, report usage in a stream only if the request says `stream_options.include_usage`. Some
//! libraries leave it out as soon as the base URL is not the vendor's own (langchain-openai and litellm were
//! seen to): an effect of being observed, which has to be said where tokens and cost are missing.

use looptape_core::derive;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::wire::Wire;
use looptape_store::{ReadError, Reader, RecordedTrace};

/// What to do about it.
pub const REMEDY: &str = "the client did not ask for usage (stream_options.include_usage), as some libraries do not \
once a base URL is set. Ask for it: ChatOpenAI(stream_usage=True), litellm stream_options={\"include_usage\": True}";

/// The calls (by `seq`) whose tokens are unknown because the request did not ask for them.
pub fn calls(reader: &Reader, trace: &RecordedTrace) -> Result<Vec<u32>, ReadError> {
    let mut found = Vec::new();
    for facts in trace.facts.iter().filter(|facts| lacks_usage(facts)) {
        if !asks_for_usage(reader, trace, facts)? {
            found.push(facts.seq);
        }
    }
    Ok(found)
}

fn lacks_usage(facts: &CallFacts) -> bool {
    matches!(facts.kind, CallKind::Llm(Wire::OpenAiChat | Wire::OpenAiCompletions))
        && facts.stream
        && facts.succeeded()
        && !facts.usage.is_known()
}

fn asks_for_usage(reader: &Reader, trace: &RecordedTrace, facts: &CallFacts) -> Result<bool, ReadError> {
    let (headers, tail) = reader.request_tail(trace.row.key, facts.seq, 1)?;
    let decoded = derive::decode_body(&headers, &tail.body, &[]);
    let body: serde_json::Value = serde_json::from_slice(&decoded.bytes).unwrap_or_default();
    Ok(body["stream_options"]["include_usage"] == true)
}
