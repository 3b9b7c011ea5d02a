//! Recorded conversations for tests, read as the store hands them over.

use super::{Mark, Prompts, RequestParts};
use crate::assembly::{CallIndex, TraceSpan};
use crate::audit::{Audit, Baseline, Pricing, Run, audit};
use crate::cost::PriceBook;
use crate::derive;
use crate::exchange::{Answer, Ending, Outcome};
use crate::facts::{CallFacts, CallKind};
use crate::fingerprint::Fingerprint;
use crate::headers::RedactedHeaders;
use crate::metrics::Measured;
use crate::provider::Provider;
use crate::trace_id::TraceId;
use bytes::Bytes;
use serde_json::{Value, json};

/// Calls of one client, a second after one another.
pub(crate) struct Recording {
    provider: Provider,
    path: &'static str,
    pub(crate) facts: Vec<CallFacts>,
    bodies: Vec<Value>,
    answers: Vec<Outcome>,
}

const SECOND_US: i64 = 1_000_000;

impl Recording {
    pub(crate) fn of(provider: Provider, path: &'static str) -> Self {
        Self { provider, path, facts: Vec::new(), bodies: Vec::new(), answers: Vec::new() }
    }

    pub(crate) fn chat() -> Self {
        Self::of(Provider::OPENAI, "/v1/chat/completions")
    }

    /// A call, the same second after the one before for each.
    pub(crate) fn call(&mut self, body: Value, status: u16, answer: &Value) {
        let at_us = self.facts.len() as i64 * SECOND_US;
        self.call_at(at_us, body, status, answer);
    }

    pub(crate) fn call_at(&mut self, sent_us: i64, body: Value, status: u16, answer: &Value) {
        let bytes = Bytes::from(body.to_string());
        let headers = RedactedHeaders::default();
        let mut request = derive::request(&self.provider, "POST", self.path, &headers, &bytes);
        request.seq = self.facts.len() as u32;
        request.sent_us = sent_us;
        let (head_us, end_us) = (sent_us + SECOND_US / 4, sent_us + SECOND_US / 2);
        let body_bytes = Bytes::from(answer.to_string());
        let ending = Ending::Complete;
        let answer =
            Answer { status, headers, body: body_bytes, chunks: Vec::new(), head_us, end_us, ending };
        let outcome = Outcome::Answered(answer);
        self.facts.push(derive::call(&request, &outcome));
        self.bodies.push(body);
        self.answers.push(outcome);
    }

    /// The prompts, each request's history as a chain of its elements.
    pub(crate) fn prompts(&self) -> Prompts {
        self.read(|prompts, at, member| {
            let CallKind::Llm(wire) = self.facts[at].kind else { return RequestParts::default() };
            let mut rest = self.bodies[at].clone();
            let Some(elements) = rest.get_mut(member).and_then(Value::as_array_mut).map(std::mem::take)
            else {
                return RequestParts { rest: Bytes::from(rest.to_string()), ..RequestParts::default() };
            };
            let mut mark = Fingerprint::of(b"history");
            let (mut known, mut new) = (None, Vec::new());
            for (nth, element) in elements.iter().enumerate() {
                let text = element.to_string();
                mark = mark.chain(Fingerprint::of(text.as_bytes()));
                let separated = if nth == 0 { text } else { format!(", {text}") };
                let mark = Mark(mark.short());
                match prompts.knows(wire, mark) {
                    true => known = Some(mark),
                    false => new.push((mark, Bytes::from(separated))),
                }
            }
            RequestParts { rest: Bytes::from(rest.to_string()), known, new }
        })
    }

    /// The prompts, each body read whole.
    pub(crate) fn prompts_of_whole_bodies(&self) -> Prompts {
        self.read(|_, at, _| RequestParts {
            rest: Bytes::from(self.bodies[at].to_string()),
            ..RequestParts::default()
        })
    }

    fn read(&self, parts: impl Fn(&Prompts, usize, &str) -> RequestParts) -> Prompts {
        let mut prompts = Prompts::of(&self.facts);
        for (at, facts) in self.facts.iter().enumerate() {
            let CallKind::Llm(wire) = facts.kind else { continue };
            let member = wire.history().map_or("", |(member, _)| member);
            let parts = parts(&prompts, at, member);
            prompts.add(CallIndex(at), facts, &parts);
            if prompts.needs_answer(facts)
                && let Some(answer) = derive::response_view(facts.kind, &self.answers[at])
            {
                prompts.add_answer(CallIndex(at), facts, &answer);
            }
        }
        prompts
    }

    pub(crate) fn measured(&self) -> Measured {
        Measured::of(&self.facts, TraceSpan::closed(i64::MAX / 4), None, &PriceBook::listed())
    }

    /// What `look` sees in it as a run.
    pub(crate) fn as_run<T>(&self, look: impl FnOnce(&Run<'_>) -> T) -> T {
        let (measured, prompts, book) = (self.measured(), self.prompts(), PriceBook::listed());
        let id = TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
        let pricing = Pricing { book: &book, started_unix_us: None, facts: &self.facts };
        look(&Run {
            id: &id,
            agent: None,
            facts: &self.facts,
            measured: &measured,
            prompts: &prompts,
            pricing,
        })
    }

    /// Its audit.
    pub(crate) fn audit(&self, baseline: Option<&Baseline>, models: &[&str]) -> Audit {
        let models: Vec<String> = models.iter().map(|&model| model.to_owned()).collect();
        self.as_run(|run| audit(run, baseline, &models))
    }
}

/// A chat request of `gpt-4o`.
pub(crate) fn chat(messages: &[Value]) -> Value {
    json!({"model": "gpt-4o", "messages": messages, "tools": [
        {"type": "function", "function": {"name": "search", "description": "Finds pages.",
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}},
        {"type": "function", "function": {"name": "send_mail", "description": "Sends a mail to somebody."}},
    ]})
}

pub(crate) fn says(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

pub(crate) fn calls(id: &str, query: &str) -> Value {
    let function = json!({"name": "search", "arguments": json!({"q": query}).to_string()});
    json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": function}]})
}

pub(crate) fn result(id: &str, text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": text})
}

/// A chat answer with its usage.
pub(crate) fn answered(message: &Value, input: u64, cached: u64, output: u64) -> Value {
    json!({"id": "a", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "message": message}],
        "usage": {"prompt_tokens": input, "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": 0}}})
}
