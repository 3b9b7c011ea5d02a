//! The replay's side of `POST /_looptape/v1/tool`: what the recorded tools gave.
//!
//! What was recorded is read when the first tool is called, so that a replay whose tools are not asked for pays nothing.
//! Decisions are [`ToolDesk`]'s; here they are put into HTTP, and into the trace that the replay leaves.

use super::Recordings;
use crate::child_trace::ChildTrace;
use bytes::Bytes;
use looptape_core::replay::{Masking, Replayer, Rung};
use looptape_core::tools::told::{self, CallKey};
use looptape_core::tools::{
    AnswerFrom, DenyCode, Phase, RecordedTool, ServerCall, ServerVerdict, ToolAnswer, ToolCallKey, ToolDesk,
    ToolEnd, ToolError, ToolMessage, ToolPolicies, ToolSource, ToolVerdict, ToolsReport, Turn,
};
use looptape_core::wire::Wire;
use looptape_store::Moment;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Reads the tool calls of the recording; what is wrong if they cannot be read.
pub type ReadTools = Box<dyn FnOnce() -> Result<Vec<RecordedTool>, String> + Send>;

/// How long an answer waits for those that were given before it.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const BETWEEN_ANSWERS: Duration = Duration::from_millis(2);

/// What becomes of live results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveResults {
    /// They are compared; the agent gets the recorded ones.
    Compared,
    /// They are compared; the agent gets them.
    Kept,
}

/// The tools of one replay.
#[derive(Debug)]
pub struct TapedTools {
    state: Mutex<State>,
    policies: ToolPolicies,
    /// The recorded calls whose answers have been given.
    given: watch::Sender<HashSet<usize>>,
}

enum State {
    Waiting(Box<Waiting>),
    Open { desk: Box<ToolDesk>, told: RecordedResults },
    Unreadable(String),
}

struct Waiting {
    read: ReadTools,
    policies: ToolPolicies,
    live: LiveResults,
    masking: Masking,
    loosest: Rung,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(_) => f.write_str("Waiting"),
            Self::Open { desk, .. } => f.debug_tuple("Open").field(desk).finish(),
            Self::Unreadable(why) => f.debug_tuple("Unreadable").field(why).finish(),
        }
    }
}

impl TapedTools {
    /// Arguments are compared with these masks, as loosely as `loosest`.
    pub fn new(
        read: ReadTools,
        policies: ToolPolicies,
        live: LiveResults,
        (masking, loosest): (Masking, Rung),
    ) -> Self {
        let waiting = Waiting { read, policies: policies.clone(), live, masking, loosest };
        let state = Mutex::new(State::Waiting(Box::new(waiting)));
        Self { state, policies, given: watch::Sender::default() }
    }

    /// What is said of tools.
    pub(crate) fn policies(&self) -> &ToolPolicies {
        &self.policies
    }

    /// A tool server would get a call: who answers it.
    pub(crate) fn at_server(&self, call: &ServerCall<'_>) -> ServerVerdict {
        let mut state = self.lock();
        let is_plain = self.policies.are_default() && !call.reads_only;
        match &mut *state {
            // Nothing of it matters here.
            State::Waiting(_) if is_plain => ServerVerdict::Recorded,
            state => match state.open() {
                Ok(desk) => desk.at_server(call),
                Err(_) => ServerVerdict::Deny(UNREADABLE.to_owned()),
            },
        }
    }

    /// A call that ran at a tool server has ended.
    pub(crate) fn ended_at_server(&self, call: &ToolCallKey, recorded: Option<ToolEnd>, live: &ToolEnd) {
        if let Ok(desk) = self.lock().open() {
            desk.ended_at_server(call, recorded, live);
        }
    }

    /// The calls that hooks asked about and that did not run.
    pub(crate) fn settled(&self) -> Vec<ToolCallKey> {
        match &*self.lock() {
            State::Open { desk, .. } => desk.settled().to_vec(),
            State::Waiting(_) | State::Unreadable(_) => Vec::new(),
        }
    }

    /// A panic inside one decision must not take the others with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message; writes down what happened. What it says is not before its turn; if the client goes away
    /// meanwhile, nobody is told.
    pub(super) async fn take(
        &self,
        message: ToolMessage,
        at: Moment,
        child: Option<&ChildTrace>,
    ) -> ToolVerdict {
        let verdict = self.lock().take(&message);
        if let Some(child) = child {
            write_down(child, message, at, &verdict);
        }
        if let ToolVerdict::Answer(ToolAnswer { turn: Some(turn), .. }) = &verdict {
            self.wait_for(turn).await;
        }
        verdict
    }

    /// Answers to calls at once are given in recorded order. An agent that now makes them one after the other is not kept
    /// waiting for long.
    async fn wait_for(&self, turn: &Turn) {
        let is_next = |given: &HashSet<usize>| turn.after.iter().all(|before| given.contains(before));
        if !is_next(&self.given.borrow()) {
            let mut given = self.given.subscribe();
            let _ = timeout(LONGEST_WAIT, given.wait_for(is_next)).await;
            // The answer before is on its way, on another connection.
            sleep(BETWEEN_ANSWERS).await;
        }
        self.given.send_modify(|given| {
            given.insert(turn.own);
        });
    }

    /// The body of a request, with recorded results where the agent could only refuse a tool.
    pub(super) fn told(&self, wire: Option<Wire>, body: Bytes, recordings: &dyn Recordings) -> Bytes {
        match &mut *self.lock() {
            State::Open { desk, told } if desk.has_stand_ins() => match wire {
                Some(wire) => told.put_into(wire, body, desk, recordings),
                None => body,
            },
            _ => body,
        }
    }

    /// What tools asked of hosts that did not run is not to come.
    pub(super) fn leave_out_of(&self, replayer: &mut Replayer) {
        if let State::Open { desk, .. } = &*self.lock() {
            replayer.leave_out(|at_us| desk.is_of_answered(at_us));
        }
    }

    /// What it came to; why the recorded calls could not be read, if they could not.
    pub(super) fn report(&self) -> Result<ToolsReport, String> {
        match &*self.lock() {
            State::Waiting(_) => Ok(ToolsReport::default()),
            State::Open { desk, .. } => Ok(desk.report().clone()),
            State::Unreadable(why) => Err(why.clone()),
        }
    }
}

impl State {
    /// The recorded tools, read if they were not yet; why they cannot be, if they cannot.
    fn open(&mut self) -> Result<&mut ToolDesk, &str> {
        if let Self::Waiting(_) = self {
            let waiting = std::mem::replace(self, Self::Unreadable("reading them broke off".to_owned()));
            if let Self::Waiting(waiting) = waiting {
                let Waiting { read, policies, live, masking, loosest } = *waiting;
                *self = match read() {
                    Ok(recorded) => {
                        let desk = ToolDesk::new(recorded, policies).keeping_live(live == LiveResults::Kept);
                        let desk = desk.masked_by(masking, loosest);
                        Self::Open { desk: Box::new(desk), told: RecordedResults::default() }
                    }
                    Err(why) => Self::Unreadable(why),
                };
            }
        }
        match self {
            Self::Open { desk, .. } => Ok(desk),
            Self::Unreadable(why) => Err(why),
            Self::Waiting(_) => Err("they were not read"),
        }
    }

    fn take(&mut self, message: &ToolMessage) -> ToolVerdict {
        match self.open() {
            Ok(desk) => desk.take(message),
            Err(_) => ToolVerdict::Deny { code: DenyCode::Denied, message: UNREADABLE.to_owned() },
        }
    }
}

/// The answer where it is not known what was recorded.
const UNREADABLE: &str = "looptape: the recorded tool calls cannot be read, so no tool runs in this replay";
/// Recorded results as they were written, by the place of their call.
#[derive(Debug, Default)]
struct RecordedResults(HashMap<usize, Option<String>>);

impl RecordedResults {
    fn put_into(
        &mut self,
        wire: Wire,
        body: Bytes,
        desk: &mut ToolDesk,
        recordings: &dyn Recordings,
    ) -> Bytes {
        let results = told::results(wire, &body);
        let mut instead = Vec::new();
        for result in &results {
            let Some((at, told_by)) = desk.recorded_result(&result.key) else { continue };
            let Some(recorded) = self.written(at, wire, &result.key, told_by, recordings) else { continue };
            if desk.tells_recorded(at, &result.said(), &told::said(wire, recorded)) {
                instead.push((result, result.with(recorded)));
            }
        }
        if instead.is_empty() { body } else { Bytes::from(told::replaced(&body, &instead)) }
    }

    /// `None` where the recorded request holds it no more.
    fn written(
        &mut self,
        at: usize,
        wire: Wire,
        key: &CallKey,
        told_by: u32,
        recordings: &dyn Recordings,
    ) -> Option<&str> {
        let read = || {
            let recorded = recordings.request_body(told_by);
            let results = told::results(wire, &recorded);
            results.iter().find(|result| result.key == *key).map(|result| result.written().to_owned())
        };
        self.0.entry(at).or_insert_with(read).as_deref()
    }
}

fn write_down(child: &ChildTrace, mut message: ToolMessage, at: Moment, verdict: &ToolVerdict) {
    let (source, end) = match (verdict, &message.phase) {
        (ToolVerdict::Answer(answer), Phase::Ask) => {
            let source = match answer.from {
                AnswerFrom::Static => ToolSource::Static,
                AnswerFrom::Tool | AnswerFrom::History => ToolSource::Recorded,
            };
            (source, answer.end.clone())
        }
        (ToolVerdict::Deny { message, .. }, Phase::Ask) => {
            let error = ToolError { message: Some(message.clone()), ..ToolError::default() };
            (ToolSource::Denied, ToolEnd::Error { error })
        }
        (_, Phase::Ready { .. } | Phase::Ask) => return,
        (_, Phase::Started | Phase::Ended { .. }) => return child.tool(message, ToolSource::Measured, at),
    };
    message.phase = Phase::Ended { end, duration_us: Some(0) };
    child.tool(message, source, at);
}
