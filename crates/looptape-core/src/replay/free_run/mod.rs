//! A loop that a model drives by itself, with the recording's tools.
//!
//! The run begins with the recorded first request of a loop. As long as the model says what was recorded (the
//! same text, the same tool calls), the next requests are the recorded ones, so the agent's own manner of
//! writing, its reminders and its later questions are kept, and a run against the recording itself is that
//! recording. From the first other answer on, requests are made here: the answer and the recorded results of
//! the tools that it asks for are appended as a client of that wire format would. A call is answered by tool,
//! arguments and occurrence; one that the recording does not hold ends the run as diverged, since any result
//! would be made up.
//!
//! A recorded conversation that does not follow from another one (a sub-agent's) begins once everything that
//! had ended before it in the recording was answered as recorded; once the loop went another way, such
//! conversations are not begun, and counted.
//!
//! This is a state machine without IO: [`FreeRun::ready`] gives requests, [`FreeRun::answered`] takes
//! answers, in any order. Retries are the caller's: it reports a call's last outcome.

mod recorded_tools;
mod report;
#[cfg(test)]
mod tests;

pub use report::{FreeRunEnding, FreeRunReport, LeftRecording, NearestCall, UnknownCall};

use super::answers::{AnswerDiff, said};
use crate::assembly::{Assembly, Step, StepNumber};
use crate::derive;
use crate::exchange::{Exchange, Outcome};
use crate::facts::CallKind;
use crate::wire::{ResponseView, Wire, WrittenResult, route};
use bytes::Bytes;
use recorded_tools::RecordedTools;
use serde_json::Value;
use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};

/// A recorded model step, by its last attempt.
#[derive(Clone, Debug)]
pub struct RecordedStep {
    /// Its number in the trace.
    pub step: u32,
    /// Its last attempt's number among the calls of the trace.
    pub seq: u32,
    /// The step that it follows.
    pub parent: Option<u32>,
    pub wire: Wire,
    /// The request's body, content encoding undone.
    pub body: Bytes,
    pub outcome: Outcome,
    pub sent_us: i64,
}

/// A request to send.
#[derive(Debug)]
#[must_use = "a request that is not sent must be answered all the same, or the loop does not end"]
pub struct FreeRequest {
    /// The recorded call whose endpoint and headers it has, by its number among the calls of the trace.
    pub like: u32,
    /// Its body, without content encoding; `None` if it is that call's own, as it was sent.
    pub body: Option<Bytes>,
    origin: Origin,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The recorded request of the step at this index.
    Recorded(usize),
    /// Made here, carrying on the conversation of the step at this index.
    Made { conversation: usize },
}

/// Why a loop cannot run freely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotDrive {
    #[error("the recording holds no model call")]
    Empty,
    #[error("step {step} is in a format that cannot be carried on ({}): replay it without --free-run", wire.as_str())]
    Wire { step: u32, wire: Wire },
}

/// The state of one loop.
#[derive(Debug)]
pub struct FreeRun {
    steps: Vec<RecordedStep>,
    /// Indices of the steps that follow each step.
    children: Vec<Vec<usize>>,
    /// Which steps were answered as recorded.
    as_recorded: Vec<bool>,
    /// Steps without a parent that were not begun.
    roots: Vec<usize>,
    tools: RecordedTools,
    waiting: VecDeque<FreeRequest>,
    max_steps: u32,
    issued: u32,
    answered: u32,
    tool_calls: u32,
    left: Option<LeftRecording>,
    ending: FreeRunEnding,
}

impl FreeRun {
    /// A run of the loop that these steps are, in the order in which they started.
    pub fn new(steps: Vec<RecordedStep>, max_steps: u32) -> Result<Self, CannotDrive> {
        if steps.is_empty() {
            return Err(CannotDrive::Empty);
        }
        if let Some(step) = steps.iter().find(|step| !step.wire.can_be_carried_on()) {
            return Err(CannotDrive::Wire { step: step.step, wire: step.wire });
        }
        let places: HashMap<u32, usize> = steps.iter().enumerate().map(|(at, s)| (s.step, at)).collect();
        let mut children = vec![Vec::new(); steps.len()];
        let mut roots = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            match step.parent.and_then(|parent| places.get(&parent)) {
                Some(&parent) => children[parent].push(at),
                None => roots.push(at),
            }
        }
        Ok(Self {
            tools: RecordedTools::of(&steps, &children),
            as_recorded: vec![false; steps.len()],
            children,
            roots,
            steps,
            waiting: VecDeque::new(),
            max_steps,
            issued: 0,
            answered: 0,
            tool_calls: 0,
            left: None,
            ending: FreeRunEnding::AsRecorded,
        })
    }

    /// Requests that can be sent now. Nothing comes any more once the run has diverged.
    pub fn ready(&mut self) -> Vec<FreeRequest> {
        if self.ending.is_divergence() {
            self.waiting.clear();
            return Vec::new();
        }
        let (begin, wait): (Vec<usize>, Vec<usize>) =
            std::mem::take(&mut self.roots).into_iter().partition(|&root| self.may_begin(root));
        self.roots = wait;
        let begun: Vec<FreeRequest> = begin.into_iter().map(|root| self.recorded(root, None)).collect();
        self.waiting.extend(begun);
        let room = usize::try_from(self.max_steps - self.issued).unwrap_or(usize::MAX);
        if self.waiting.len() > room {
            self.end(FreeRunEnding::StepLimit { max_steps: self.max_steps });
            self.waiting.truncate(room);
        }
        let ready: Vec<FreeRequest> = self.waiting.drain(..).collect();
        self.issued += u32::try_from(ready.len()).unwrap_or(u32::MAX);
        ready
    }

    /// Takes the answer to a request.
    pub fn answered(&mut self, request: FreeRequest, outcome: &Outcome) {
        self.answered += 1;
        let at = match request.origin {
            Origin::Recorded(at) if self.is_as_recorded(at, outcome) => return self.follow(at, outcome),
            Origin::Recorded(at) | Origin::Made { conversation: at } => at,
        };
        if let Err(ending) = self.carry_on(at, &request, outcome) {
            self.end(ending);
        }
    }

    /// Ends the run, whatever is still under way.
    pub fn finish(self) -> FreeRunReport {
        let interrupted = self.answered < self.issued || !self.waiting.is_empty();
        let ending = if interrupted { self.ending.worse(FreeRunEnding::Interrupted) } else { self.ending };
        FreeRunReport {
            ending,
            steps: self.answered,
            recorded_steps: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            tool_calls: self.tool_calls,
            left: self.left,
            not_begun: u32::try_from(self.roots.len()).unwrap_or(u32::MAX),
        }
    }

    fn end(&mut self, ending: FreeRunEnding) {
        let before = std::mem::replace(&mut self.ending, FreeRunEnding::AsRecorded);
        self.ending = before.worse(ending);
    }

    /// Whether all that had ended before this step began was answered as recorded.
    fn may_begin(&self, root: usize) -> bool {
        let had_ended = |step: &RecordedStep| match &step.outcome {
            Outcome::InFlight => false,
            Outcome::NoResponse { end_us, .. } => *end_us <= self.steps[root].sent_us,
            Outcome::Answered(answer) => answer.end_us <= self.steps[root].sent_us,
        };
        let before = self.steps.iter().zip(&self.as_recorded).take(root).filter(|(step, _)| had_ended(step));
        before.into_iter().all(|(_, as_recorded)| *as_recorded)
    }

    fn recorded(&self, at: usize, body: Option<Bytes>) -> FreeRequest {
        FreeRequest { like: self.steps[at].seq, body, origin: Origin::Recorded(at) }
    }

    /// Whether an answer says what was recorded; the first one that does not is kept.
    fn is_as_recorded(&mut self, at: usize, outcome: &Outcome) -> bool {
        let step = &self.steps[at];
        let answer = AnswerDiff::between(CallKind::Llm(step.wire), &step.outcome, outcome);
        let is_same = answer.as_ref().is_some_and(|diff| diff.class.is_same() && diff.text.is_none());
        if !is_same && self.left.is_none() {
            self.left = Some(LeftRecording { step: step.step, answer });
        }
        is_same
    }

    /// Goes on as the recording does.
    fn follow(&mut self, at: usize, outcome: &Outcome) {
        self.as_recorded[at] = true;
        let children = std::mem::take(&mut self.children[at]);
        if !children.is_empty() {
            let calls = self.steps[at].view().map(|view| view.tool_calls).unwrap_or_default();
            self.tool_calls += count(calls.iter().filter_map(|call| self.tools.take(call)));
        }
        for child in children {
            let body = self.referring_to(at, child, outcome);
            let request = self.recorded(child, body);
            self.waiting.push_back(request);
        }
    }

    /// The body of a recorded request that names its answer by id, with the ids of the answer that came now.
    fn referring_to(&self, at: usize, child: usize, outcome: &Outcome) -> Option<Bytes> {
        let (recorded, now) = (self.steps[at].view()?, view(self.steps[at].wire, outcome)?);
        let mut ids: Vec<(String, String)> = recorded.response_id.zip(now.response_id).into_iter().collect();
        for call in recorded.tool_calls {
            let twin = now.tool_calls.iter().find(|twin| said(twin) == said(&call));
            ids.extend(call.id.zip(twin.and_then(|twin| twin.id.clone())));
        }
        ids.retain(|(recorded, now)| recorded != now);
        let step = &self.steps[child];
        let request = serde_json::from_slice(&step.body).ok()?;
        step.wire.refer_to(request, &ids).map(|request| Bytes::from(request.to_string()))
    }

    /// Goes on by itself: appends the answer and the recorded results of the tools that it asks for.
    fn carry_on(&mut self, at: usize, request: &FreeRequest, outcome: &Outcome) -> Result<(), FreeRunEnding> {
        let wire = self.steps[at].wire;
        let failed = |what: String| FreeRunEnding::Failed { what };
        if let Some(failure) = AnswerDiff::failure_of(CallKind::Llm(wire), outcome) {
            return Err(failed(failure));
        }
        let (Outcome::Answered(answer), Some(view)) = (outcome, view(wire, outcome)) else {
            return Err(failed("no response".to_owned()));
        };
        if view.tool_calls.is_empty() {
            return Err(FreeRunEnding::Finished);
        }
        let results = self.results(&view)?;
        let sent = request.body.as_ref().unwrap_or(&self.steps[at].body);
        let decoded = derive::decode_body(&answer.headers, &answer.body, &[]).bytes;
        let next = serde_json::from_slice::<Value>(sent)
            .ok()
            .and_then(|sent| wire.carry_on(&sent, answer.headers.get("content-type"), &decoded, results));
        let next = next.ok_or_else(|| failed("its answer cannot be carried on".to_owned()))?;
        let body = Some(Bytes::from(next.to_string()));
        let origin = Origin::Made { conversation: at };
        self.waiting.push_back(FreeRequest { like: self.steps[at].seq, body, origin });
        Ok(())
    }

    /// The recorded results of all tools that an answer asks for, in its order.
    fn results(
        &mut self,
        answer: &ResponseView,
    ) -> Result<Vec<(Option<String>, WrittenResult)>, FreeRunEnding> {
        let mut unknown = Vec::new();
        let mut results = Vec::new();
        for call in &answer.tool_calls {
            match self.tools.take(call) {
                Some(result) => results.push((call.id.clone(), result)),
                None => unknown.push(self.tools.unknown(self.answered, call)),
            }
        }
        if !unknown.is_empty() {
            return Err(FreeRunEnding::Diverged { calls: unknown });
        }
        self.tool_calls += count(results.iter());
        Ok(results)
    }
}

impl RecordedStep {
    /// The steps of each loop of a trace. `exchanges` are those that were assembled, in the same order.
    pub fn by_loop(exchanges: &[impl Borrow<Exchange>], assembly: &Assembly) -> Vec<Vec<Self>> {
        let wire = |call: &Exchange| route::identify(&call.provider, &call.method, &call.path);
        let step = |step: &Step| {
            let call = exchanges.get(step.final_call().0)?.borrow();
            Some(Self {
                step: step.number.0,
                seq: call.seq,
                parent: step.parent.map(|parent| parent.0),
                wire: wire(call)?,
                body: derive::decode_body(&call.request_headers, &call.request_body, &[]).bytes,
                outcome: call.outcome.clone(),
                sent_us: exchanges.get(step.first_call().0)?.borrow().sent_us,
            })
        };
        let steps =
            |numbers: &[StepNumber]| numbers.iter().filter_map(|n| step(assembly.step(*n)?)).collect();
        assembly.loops.iter().map(|inner| steps(&inner.steps)).collect()
    }

    fn view(&self) -> Option<ResponseView> {
        view(self.wire, &self.outcome)
    }
}

fn view(wire: Wire, outcome: &Outcome) -> Option<ResponseView> {
    derive::response_view(CallKind::Llm(wire), outcome)
}

fn count<T>(things: impl Iterator<Item = T>) -> u32 {
    u32::try_from(things.count()).unwrap_or(u32::MAX)
}
