//! A simulated provider that takes after a recording: it says what was said there, calls the tools that were
//! called there, and takes the time that was taken there.
//!
//! What it says to a request is one of the recorded answers to requests that had come as far: with as many tool
//! results, of the same opening where there is one. Among several a seed chooses. It is written in the request's
//! own format with new ids and its own usage; in a format that the simulated provider does not write, the
//! recorded answer itself is sent. Past the end of the recording it calls no more tools, so every loop ends.
//!
//! Waits are drawn from the recorded ones: first piece, gaps between pieces, whole answers. Nothing here knows
//! what a model would have said: such answers show how an agent behaves, and prove nothing about a model.

use super::conversation::Conversation;
use super::script::Pace;
use super::{
    Carries, Endpoint, PlannedCall, PromptCache, Script, SimChunk, SimEnding, SimRequest, SimResponse,
    SimTime, Turn, respond,
};
use crate::derive;
use crate::exchange::{Answer, Ending};
use crate::spread::Spread;
use crate::wire::{Part, RequestView, Role, Wire};
use serde_json::Value;

/// A recorded model call.
#[derive(Clone, Copy, Debug)]
pub struct PlayedCall<'a> {
    pub wire: Wire,
    pub path: &'a str,
    /// Without content encoding.
    pub request: &'a [u8],
    pub sent_us: i64,
    pub answer: &'a Answer,
}

/// The provider.
#[derive(Clone, Debug)]
pub struct AfterRecording {
    turns: Vec<RecordedTurn>,
    latency: Latency,
    seed: u64,
}

/// One recorded answer.
#[derive(Clone, Debug)]
struct RecordedTurn {
    wire: Wire,
    progress: Progress,
    stream: bool,
    text: String,
    calls: Vec<PlannedCall>,
    content_type: String,
    body: Vec<u8>,
}

/// How far a conversation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    /// What its user said first.
    opening: String,
    tool_results: usize,
}

/// Recorded times in µs, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Latency {
    first: Vec<u64>,
    gaps: Vec<u64>,
    whole: Vec<u64>,
}

impl AfterRecording {
    /// Takes after the calls that were answered in full.
    pub fn new<'a>(calls: impl IntoIterator<Item = PlayedCall<'a>>, seed: u64) -> Self {
        let (mut turns, mut latency) = (Vec::new(), Latency::default());
        for call in calls.into_iter().filter(|call| is_whole(call.answer)) {
            latency.learn(&call);
            turns.extend(RecordedTurn::of(&call));
        }
        latency.sort();
        Self { turns, latency, seed }
    }

    /// Answers a request; `None` if the recording holds nothing to take after.
    pub fn respond(&self, wire: Wire, request: &SimRequest<'_>, time: SimTime) -> Option<SimResponse> {
        let path = request.path.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let view = wire.decode_request(path, &body);
        let draw = Draw::new(self.seed, request);
        let turn = self.turn(wire, &view, &draw)?;
        let mut response = match Endpoint::of(request.path) {
            Some(_) => respond(&script(turn, &view), request),
            None => turn.as_recorded(),
        };
        self.latency.apply(&mut response, &draw, time);
        Some(response)
    }

    /// What it says to a request, in any of the formats that the simulated provider writes.
    pub(crate) fn turn_for(
        &self,
        wire: Wire,
        request: &SimRequest<'_>,
        conversation: &Conversation,
    ) -> Option<Turn> {
        let path = request.path.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let view = wire.decode_request(path, &body);
        let turn = self.turn(wire, &view, &Draw::new(self.seed, request))?;
        Some(script(turn, &view).turn_for(conversation))
    }

    /// The recorded times to the first piece and between pieces, in ms; `None` where nothing was streamed.
    pub fn pace_ms(&self) -> Option<(Spread, Spread)> {
        let spread =
            |times: &[u64]| Spread::of_values(times.iter().map(|us| *us as f64 / 1e3).collect()).ok();
        Some((spread(&self.latency.first)?, spread(&self.latency.gaps)?))
    }

    /// Whether there is anything to take after.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn turn(&self, wire: Wire, view: &RequestView, draw: &Draw) -> Option<&RecordedTurn> {
        let progress = Progress::of(view);
        let all: Vec<&RecordedTurn> = self.turns.iter().collect();
        let all = narrowed(all, |turn| turn.wire == wire);
        let all = narrowed(all, |turn| turn.stream == view.stream);
        let all = narrowed(all, |turn| turn.progress.opening == progress.opening);
        let counts = || all.iter().map(|turn| turn.progress.tool_results);
        let reached =
            counts().filter(|count| *count <= progress.tool_results).max().or_else(|| counts().min())?;
        let candidates: Vec<&RecordedTurn> =
            all.iter().copied().filter(|turn| turn.progress.tool_results == reached).collect();
        let place = usize::try_from(draw.number("turn", 0) % candidates.len() as u64).unwrap_or(0);
        candidates.get(place).copied()
    }
}

/// Those that pass, or all if none does.
fn narrowed<T: Copy>(all: Vec<T>, keep: impl Fn(&T) -> bool) -> Vec<T> {
    let kept: Vec<T> = all.iter().copied().filter(keep).collect();
    if kept.is_empty() { all } else { kept }
}

fn is_whole(answer: &Answer) -> bool {
    (200..300).contains(&answer.status) && answer.ending == Ending::Complete
}

/// A script of one turn: past the end of the recording without its calls.
fn script(turn: &RecordedTurn, view: &RequestView) -> Script {
    let is_past = Progress::of(view).tool_results > turn.progress.tool_results;
    let calls = if is_past { Vec::new() } else { turn.calls.clone() };
    let text = match turn.text.as_str() {
        "" if calls.is_empty() => "That is all that the recording has to say.",
        said => said,
    };
    Script {
        turns: vec![Turn { after_tool_results: 0, rejections: Vec::new(), text: text.to_owned(), calls }],
        pace: Pace { first_us: 0, between_us: 0 },
        cache: PromptCache::PUBLISHED,
    }
}

impl Progress {
    fn of(view: &RequestView) -> Self {
        let is_user = |role: &Role| *role == Role::User;
        let first = view.messages.iter().find(|message| is_user(&message.role));
        let parts = || view.messages.iter().flat_map(|message| &message.parts);
        Self {
            opening: first.map(|message| text(&message.parts)).unwrap_or_default(),
            tool_results: parts().filter(|part| matches!(part, Part::ToolResult { .. })).count(),
        }
    }
}

fn text(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

impl RecordedTurn {
    fn of(call: &PlayedCall<'_>) -> Option<Self> {
        let path = call.path.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(call.request).ok()?;
        let view = call.wire.decode_request(path, &body);
        let content_type = call.answer.headers.get("content-type").unwrap_or("application/json");
        let body = derive::decode_body(&call.answer.headers, &call.answer.body, &[]).bytes;
        let said = call.wire.decode_response(call.answer.status, Some(content_type), &body);
        let calls = said.tool_calls.into_iter();
        Some(Self {
            wire: call.wire,
            progress: Progress::of(&view),
            stream: said.stream,
            text: said.text,
            calls: calls.map(|call| PlannedCall { name: call.name, arguments: call.arguments }).collect(),
            content_type: content_type.to_owned(),
            body: body.to_vec(),
        })
    }

    /// The recorded answer, piece by piece where its format has pieces.
    fn as_recorded(&self) -> SimResponse {
        let end = match self.content_type.as_str() {
            kind if kind.starts_with("text/event-stream") => "\n\n",
            kind if kind.contains("ndjson") => "\n",
            _ => "",
        };
        let whole = || vec![self.body.clone()];
        let pieces = match (end, std::str::from_utf8(&self.body)) {
            ("", _) | (_, Err(_)) => whole(),
            (end, Ok(text)) => text.split_inclusive(end).map(|piece| piece.as_bytes().to_vec()).collect(),
        };
        let chunks = pieces.into_iter().filter(|piece| !piece.is_empty());
        SimResponse {
            status: 200,
            headers: vec![("content-type", self.content_type.clone())],
            chunks: chunks.map(|bytes| SimChunk { delay_us: 0, carries: Carries::Output, bytes }).collect(),
            ending: SimEnding::Complete,
        }
    }
}

impl Latency {
    fn learn(&mut self, call: &PlayedCall<'_>) {
        let span = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        let chunks = &call.answer.chunks;
        if let (Some(first), true) = (chunks.first(), chunks.len() > 1) {
            self.first.push(span(call.sent_us, first.at_us));
            self.gaps.extend(chunks.windows(2).map(|pair| span(pair[0].at_us, pair[1].at_us)));
        }
        self.whole.push(span(call.sent_us, call.answer.end_us));
    }

    fn sort(&mut self) {
        self.first.sort_unstable();
        self.gaps.sort_unstable();
        self.whole.sort_unstable();
    }

    /// Gives each piece its wait.
    fn apply(&self, response: &mut SimResponse, draw: &Draw, time: SimTime) {
        let is_stream = response.chunks.len() > 1 && !self.first.is_empty();
        for (place, chunk) in response.chunks.iter_mut().enumerate() {
            let times = match (is_stream, place) {
                (true, 0) => &self.first,
                (true, _) => &self.gaps,
                (false, 0) => &self.whole,
                (false, _) => &[][..],
            };
            let recorded = times.get((draw.number("wait", place) % (times.len().max(1) as u64)) as usize);
            chunk.delay_us = time.pass(recorded.copied().unwrap_or(0));
        }
    }
}

/// Numbers that follow from the seed and the request.
struct Draw(blake3::Hash);

impl Draw {
    fn new(seed: u64, request: &SimRequest<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        hasher.update(request.path.as_bytes());
        hasher.update(&[0]);
        hasher.update(request.body);
        hasher.update(&request.occurrence.to_be_bytes());
        Self(hasher.finalize())
    }

    fn number(&self, what: &str, place: usize) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes());
        hasher.update(what.as_bytes());
        hasher.update(&(place as u64).to_be_bytes());
        let bytes = *hasher.finalize().as_bytes();
        u64::from_be_bytes(bytes[..8].try_into().expect("eight of 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Chunk;
    use crate::headers::RedactedHeaders;
    use serde_json::json;

    const CHAT: &str = "/v1/chat/completions";

    fn answer(content_type: &str, body: &str, at_us: &[i64]) -> Answer {
        let len = (body.len() / at_us.len()) as u32;
        Answer {
            status: 200,
            headers: RedactedHeaders::redact([("content-type", content_type.as_bytes())]),
            body: body.as_bytes().to_vec().into(),
            chunks: at_us.iter().map(|&at_us| Chunk { at_us, len }).collect(),
            head_us: at_us[0],
            end_us: at_us[at_us.len() - 1],
            ending: Ending::Complete,
        }
    }

    fn request(results: usize, stream: bool) -> String {
        let mut messages = vec![json!({"role": "user", "content": "look"})];
        for n in 0..results {
            let id = format!("c{n}");
            messages.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]}));
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": "12"}));
        }
        let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {}}}]);
        json!({"model": "m", "stream": stream, "messages": messages, "tools": tools}).to_string()
    }

    fn said(text: Value, calls: Value) -> String {
        json!({"id": "x", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "tool_calls": calls}, "finish_reason": "stop"}]}).to_string()
    }

    /// A tool call, then one of two ends.
    fn recorded(seed: u64) -> AfterRecording {
        let call = json!([{"id": "c0", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}}]);
        let calls = [
            (request(0, false), answer("application/json", &said(Value::Null, call), &[70])),
            (request(1, false), answer("application/json", &said(json!("sunny"), Value::Null), &[90])),
            (request(1, false), answer("application/json", &said(json!("rainy"), Value::Null), &[90])),
        ];
        let played = calls.iter().map(|(request, answer)| PlayedCall {
            wire: Wire::OpenAiChat,
            path: CHAT,
            request: request.as_bytes(),
            sent_us: 20,
            answer,
        });
        AfterRecording::new(played, seed)
    }

    fn ask(provider: &AfterRecording, body: &str, time: SimTime) -> SimResponse {
        let request =
            SimRequest { method: "POST", path: CHAT, body: body.as_bytes(), occurrence: 0, unix_s: 1 };
        provider.respond(Wire::OpenAiChat, &request, time).unwrap()
    }

    fn read(response: &SimResponse) -> crate::wire::ResponseView {
        let kind =
            response.headers.iter().find(|(name, _)| *name == "content-type").map(|(_, kind)| kind.as_str());
        Wire::OpenAiChat.decode_response(response.status, kind, &response.body())
    }

    #[test]
    fn it_calls_the_recorded_tools_and_comes_to_an_end() {
        let provider = recorded(1);
        for stream in [false, true] {
            let first = read(&ask(&provider, &request(0, stream), SimTime::AtOnce));
            assert_eq!((first.stream, first.tool_calls[0].name.as_str()), (stream, "look"));
            assert_eq!(first.tool_calls[0].arguments, json!({"at": 1}));
            assert_ne!(first.tool_calls[0].id.as_deref(), Some("c0"), "ids are its own");
            let second = read(&ask(&provider, &request(1, stream), SimTime::AtOnce));
            assert!(["sunny", "rainy"].contains(&second.text.as_str()) && second.tool_calls.is_empty());
            let beyond = read(&ask(&provider, &request(7, stream), SimTime::AtOnce));
            assert!(beyond.tool_calls.is_empty() && !beyond.text.is_empty());
        }
    }

    #[test]
    fn the_seed_decides() {
        let text = |seed| read(&ask(&recorded(seed), &request(1, false), SimTime::AtOnce)).text;
        assert_eq!(text(5), text(5));
        let texts: std::collections::BTreeSet<String> = (0..16).map(text).collect();
        assert_eq!(texts.len(), 2, "both ends come: {texts:?}");
    }

    #[test]
    fn it_takes_the_recorded_time() {
        let waits =
            |time| ask(&recorded(1), &request(0, false), time).chunks.iter().map(|c| c.delay_us).sum::<u64>();
        assert_eq!(waits(SimTime::AtOnce), 0);
        assert!([50, 70].contains(&waits(SimTime::Times(1.0))));
        assert!([25, 35].contains(&waits(SimTime::Times(2.0))));
    }

    /// A format that the simulated provider does not write.
    #[test]
    fn other_formats_get_the_recorded_answer() {
        let body = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"done\":false}\n{\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true}\n";
        let recorded = answer("application/x-ndjson", body, &[10, 30]);
        let sent = br#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
        let played = PlayedCall {
            wire: Wire::OllamaChat,
            path: "/api/chat",
            request: sent,
            sent_us: 0,
            answer: &recorded,
        };
        let provider = AfterRecording::new([played], 0);
        let request = SimRequest { method: "POST", path: "/api/chat", body: sent, occurrence: 0, unix_s: 1 };
        let response = provider.respond(Wire::OllamaChat, &request, SimTime::Times(1.0)).unwrap();
        assert_eq!((response.body(), response.chunks.len()), (body.as_bytes().to_vec(), 2));
        assert_eq!(response.chunks.iter().map(|chunk| chunk.delay_us).collect::<Vec<_>>(), [10, 20]);
        let nothing = AfterRecording::new([], 0);
        assert!(nothing.respond(Wire::OllamaChat, &request, SimTime::AtOnce).is_none());
    }
}
