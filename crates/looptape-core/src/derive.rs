//! Deriving facts from the bytes of an exchange.
//!
//! In two halves, because the recorder needs the request's half (to find its trace) before there is an
//! answer. Both are pure; nothing here fails: what cannot be read stays unknown.

use crate::chain;
use crate::exchange::{Answer, Ending, Outcome};
use crate::facts::{AskedTool, AttemptState, CallFacts, CallKind, Lineage};
use crate::headers::RedactedHeaders;
use crate::lineage::Conversation;
use crate::provider::Provider;
use crate::tools::message::arguments_digest;
use crate::usage::TokenUsage;
use crate::wire::content_encoding::{self, DEFAULT_LIMIT_BYTES, DecodedBody};
use crate::wire::{ResponseView, ToolCall, Wire, route, sse};
use bytes::Bytes;
use reading::{Openings, Reading};

pub mod reading;

pub use crate::lineage::since_last_answer;

/// The request's half.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// Set by whoever numbers the calls of the trace.
    pub seq: u32,
    /// Set by whoever keeps the trace's clock.
    pub sent_us: i64,
    pub loop_hint: Option<String>,
    pub provider: Provider,
    pub endpoint: String,
    pub kind: CallKind,
    pub model: Option<String>,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    pub previous_response_id: Option<String>,
    pub request_digest: i64,
    pub retry_count: Option<u32>,
    pub request_bytes: u64,
    pub lineage: Lineage,
    /// What its history says; `None` if it is not a model call.
    pub conversation: Option<Conversation>,
}

/// Derives a request's half. `path` with its query, `body` as it was sent.
pub fn request(
    provider: &Provider,
    method: &str,
    path: &str,
    headers: &RedactedHeaders,
    body: &Bytes,
) -> RequestFacts {
    let decoded = decode_body(headers, body, &[]).bytes;
    let target = Target { provider, method, path };
    let reading = Reading::whole(&target, &decoded, &chain::split(&decoded), &mut Openings::default());
    request_read(&target, headers, body.len(), &reading)
}

/// Where a request goes. `path` with its query.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub provider: &'a Provider,
    pub method: &'a str,
    pub path: &'a str,
}

impl Target<'_> {
    /// The format of what goes there, if it is a model call.
    pub fn wire(&self) -> Option<Wire> {
        route::identify(self.provider, self.method, self.path)
    }
}

/// Derives a request's half from its body as it has been read.
pub fn request_read(
    target: &Target<'_>,
    headers: &RedactedHeaders,
    sent_bytes: usize,
    body: &Reading,
) -> RequestFacts {
    let conversation = body.conversation();
    let opening = body.opening();
    RequestFacts {
        seq: 0,
        sent_us: 0,
        loop_hint: None,
        provider: target.provider.clone(),
        endpoint: format!("{} {}", target.method, target.path.split('?').next().unwrap_or_default()),
        kind: opening.wire.map_or(CallKind::Other, CallKind::Llm),
        model: opening.model.clone(),
        stream: opening.stream,
        previous_response_id: opening.previous_response_id.clone(),
        request_digest: body.request_digest(),
        retry_count: headers.get("x-stainless-retry-count").and_then(|n| n.parse().ok()),
        request_bytes: sent_bytes as u64,
        lineage: conversation.map(Conversation::lineage).unwrap_or_default(),
        conversation: conversation.cloned(),
    }
}

/// Derives the facts of a call from its request's half and what came back.
pub fn call(request: &RequestFacts, outcome: &Outcome) -> CallFacts {
    let mut facts = blank(request);
    match outcome {
        Outcome::InFlight => {}
        Outcome::NoResponse { end_us, ending } => {
            facts.end_us = Some(*end_us);
            facts.state = state_of(ending);
        }
        Outcome::Answered(answer) => add_answer(&mut facts, request, answer),
    }
    facts
}

/// What an answer says; `None` if the call is not a model call or has no answer.
pub fn response_view(kind: CallKind, outcome: &Outcome) -> Option<ResponseView> {
    match (kind, outcome) {
        (CallKind::Llm(wire), Outcome::Answered(answer)) => Some(decode_answer(wire, answer).0),
        _ => None,
    }
}

/// Whether an answer is an event stream in which some event is no JSON, although the formats that are known say that it
/// is.
pub fn has_unreadable_events(outcome: &Outcome) -> bool {
    let Outcome::Answered(answer) = outcome else { return false };
    let is_events =
        answer.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let is_json = |data: &str| serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
    is_events && {
        let body = decode_body(&answer.headers, &answer.body, &[]).bytes;
        sse::events(&body).any(|event| {
            let data = event.data.trim();
            event.end == sse::EventEnd::BlankLine && !data.is_empty() && data != "[DONE]" && !is_json(data)
        })
    }
}

/// The digest that an echo of this call's answer will have.
pub fn answer_echo(request: &RequestFacts, outcome: &Outcome) -> Option<i64> {
    let answer = response_view(request.kind, outcome)?;
    request.conversation.as_ref()?.answered(&answer).answer_history
}

fn blank(request: &RequestFacts) -> CallFacts {
    CallFacts {
        seq: request.seq,
        kind: request.kind,
        provider: request.provider.clone(),
        endpoint: request.endpoint.clone(),
        model: request.model.clone(),
        response_model: None,
        service_tier: None,
        stream: request.stream,
        finish_reason: None,
        sent_us: request.sent_us,
        head_us: None,
        first_event_us: None,
        first_reasoning_us: None,
        first_content_us: None,
        first_tool_call_us: None,
        last_output_us: None,
        end_us: None,
        status: None,
        state: AttemptState::InFlight,
        retry_count: request.retry_count,
        retry_after_ms: None,
        request_bytes: request.request_bytes,
        response_bytes: 0,
        usage: TokenUsage::default(),
        stated_cost_usd: None,
        request_digest: request.request_digest,
        lineage: request.lineage,
        response_id: None,
        previous_response_id: request.previous_response_id.clone(),
        asks: Vec::new(),
        carries: request.conversation.as_ref().map(|c| c.carried().to_vec()).unwrap_or_default(),
        loop_hint: request.loop_hint.clone(),
        upstream: None,
    }
}

fn add_answer(facts: &mut CallFacts, request: &RequestFacts, answer: &Answer) {
    facts.status = Some(answer.status);
    facts.head_us = Some(answer.head_us);
    facts.end_us = Some(answer.end_us);
    facts.state = state_of(&answer.ending);
    facts.response_bytes = answer.body.len() as u64;
    facts.retry_after_ms = retry_after_ms(&answer.headers);
    let CallKind::Llm(wire) = request.kind else { return };
    let (view, decoded) = decode_answer(wire, answer);
    if facts.state == AttemptState::Complete && view.stream && answer.status < 400 && view.error.is_some() {
        facts.state = AttemptState::StreamError;
    }
    let when = |offset: Option<usize>| {
        let piece = decoded.piece_completing(offset?)?;
        answer.chunks.get(piece).map(|chunk| chunk.at_us)
    };
    facts.first_event_us = when(view.milestones.first_event);
    facts.first_reasoning_us = when(view.milestones.first_reasoning);
    facts.first_content_us = when(view.milestones.first_content);
    facts.first_tool_call_us = when(view.milestones.first_tool_call);
    facts.last_output_us = when(view.milestones.last_output);
    if let Some(conversation) = &request.conversation {
        facts.lineage = conversation.answered(&view);
    }
    facts.asks = view.tool_calls.iter().map(asked).collect();
    facts.stream = view.stream || (answer.status >= 400 && facts.stream);
    facts.response_model = view.response_model;
    facts.response_id = view.response_id;
    facts.service_tier = view.service_tier;
    facts.finish_reason = view.finish_reason;
    facts.stated_cost_usd = view.stated_cost_usd;
    facts.usage = view.usage;
}

fn asked(call: &ToolCall) -> AskedTool {
    let arguments = Some(arguments_digest(&call.arguments));
    AskedTool { id: call.id.clone(), name: call.name.clone(), arguments }
}

fn decode_answer(wire: Wire, answer: &Answer) -> (ResponseView, DecodedBody) {
    let lens: Vec<u32> = answer.chunks.iter().map(|c| c.len).collect();
    let decoded = decode_body(&answer.headers, &answer.body, &lens);
    let mut view = wire.decode_response(answer.status, answer.headers.get("content-type"), &decoded.bytes);
    wire.add_headers(&mut view, |name| answer.headers.get(name));
    (view, decoded)
}

/// A body without its content encoding.
pub fn decode_body(headers: &RedactedHeaders, body: &Bytes, piece_lens: &[u32]) -> DecodedBody {
    content_encoding::decode(headers.get("content-encoding"), body, piece_lens, DEFAULT_LIMIT_BYTES)
}

fn state_of(ending: &Ending) -> AttemptState {
    match ending {
        Ending::Complete => AttemptState::Complete,
        Ending::UpstreamReset { .. } => AttemptState::UpstreamReset,
        Ending::UpstreamUnreachable { .. } => AttemptState::UpstreamUnreachable,
        Ending::ClientGone => AttemptState::ClientGone,
    }
}

/// `retry-after-ms`, else `retry-after` in seconds. (A date would need a clock; no provider sends one.)
pub fn retry_after_ms(headers: &RedactedHeaders) -> Option<u64> {
    let number = |name| headers.get(name)?.trim().parse::<f64>().ok().filter(|n| (0.0..1e9).contains(n));
    number("retry-after-ms").or_else(|| Some(number("retry-after")? * 1000.0)).map(|ms| ms.round() as u64)
}
