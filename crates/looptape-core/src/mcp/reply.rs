//! A recorded answer, written for whoever asks now: under the ids that the live message has.

use super::message::{Message, Unanswered, with_id, with_progress_token};
use super::recorded::{RecordedCall, Said};
use bytes::Bytes;

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How long after the client's message it came when it was recorded.
    pub after_us: i64,
    pub what: What,
}

/// What happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The server says something about the client's message.
    Answer(Bytes),
    /// The server says something by itself.
    Stream(Bytes),
    /// The server waits until the client has answered its request of this id.
    AwaitClient { id: String },
    /// The server waits until the agent has asked its model so often.
    AwaitModel { calls: usize },
}

/// What the server said about `call`, as an answer to `live`, which asks the same.
pub(super) fn answer(call: &RecordedCall, live: Option<&Unanswered>) -> Vec<Part> {
    let recorded = Message::read(&call.message).unanswered();
    let say = |said: &Said| {
        let message = rewritten(&said.message, recorded.as_ref(), live)?;
        Some(Part { after_us: said.at_us - call.at_us, what: What::Answer(message) })
    };
    call.said.iter().filter_map(say).collect()
}

/// The same for an agent that did not wait for the answer before it asked its model, if what it offers its model depends on
/// it: it comes when the model has been asked as often as then.
pub(super) fn after_the_model(answer: Vec<Part>, call: &RecordedCall, model_asked_us: &[i64]) -> Vec<Part> {
    let Some(first) = answer.first().filter(|_| asks_what_is_offered(&call.message)) else { return answer };
    let asked_by = |at_us: i64| model_asked_us.partition_point(|asked| *asked < at_us);
    let (after_us, calls) = (first.after_us, asked_by(call.at_us + first.after_us));
    let is_late = calls > asked_by(call.at_us);
    let wait = is_late.then_some(Part { after_us, what: What::AwaitModel { calls } });
    wait.into_iter().chain(answer).collect()
}

/// `None` if nobody waits for it: progress that was not asked for.
fn rewritten(said: &Bytes, recorded: Option<&Unanswered>, live: Option<&Unanswered>) -> Option<Bytes> {
    let (Some(recorded), Some(live)) = (recorded, live) else { return Some(said.clone()) };
    let message = Message::read(said);
    if message.tells_progress_of().is_some_and(|token| recorded.progress_token.as_deref() == Some(token)) {
        return with_progress_token(said, live.progress_token.as_deref()?).map(Bytes::from);
    }
    match message {
        Message::Response { id, .. } if id != live.id => with_id(said, &live.id).map(Bytes::from),
        _ => Some(said.clone()),
    }
}

/// What else happened while a server said something by itself.
pub(super) struct Meanwhile<'a, R> {
    /// When the client answered a request of the server's.
    pub(super) replied: R,
    /// When the agent asked its model, in order.
    pub(super) model_asked_us: &'a [i64],
}

/// Puts what the server said by itself in its place among the steps of an answer. `stream` is in order. That a list has
/// changed is said when the agent has asked its model as often as then: what it offers its model next may depend on it.
pub(super) fn merge<R: Fn(&str) -> Option<i64>>(
    answer: Vec<Part>,
    stream: &[Said],
    since_us: i64,
    meanwhile: &Meanwhile<'_, R>,
) -> Vec<Part> {
    let said = |said: &Said| {
        let after_us = said.at_us - since_us;
        let calls = meanwhile.model_asked_us.partition_point(|asked| *asked < said.at_us);
        let waits = calls > 0 && tells_of_a_changed_list(&said.message);
        let wait = waits.then_some(Part { after_us, what: What::AwaitModel { calls } });
        wait.into_iter().chain([Part { after_us, what: What::Stream(said.message.clone()) }])
    };
    let mut parts: Vec<Part> = answer.into_iter().chain(stream.iter().flat_map(said)).collect();
    parts.sort_by_key(|part| part.after_us);
    let mut merged: Vec<Part> = Vec::with_capacity(parts.len());
    let mut awaited: Vec<(i64, String)> = Vec::new();
    for part in parts {
        while let Some(at) = awaited.iter().position(|(after_us, _)| *after_us <= part.after_us) {
            let (after_us, id) = awaited.remove(at);
            merged.push(Part { after_us, what: What::AwaitClient { id } });
        }
        if let What::Stream(message) = &part.what
            && let Message::Request { id, .. } = Message::read(message)
            && let Some(replied_us) = (meanwhile.replied)(id)
        {
            awaited.push((replied_us - since_us, id.to_owned()));
        }
        merged.push(part);
    }
    merged
}

fn asks_what_is_offered(message: &[u8]) -> bool {
    matches!(Message::read(message), Message::Request { method, .. } if method == "initialize" || method.ends_with("/list"))
}

fn tells_of_a_changed_list(message: &[u8]) -> bool {
    matches!(Message::read(message), Message::Notification { method, .. } if method.ends_with("/list_changed"))
}
