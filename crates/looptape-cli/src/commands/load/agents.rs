//! A command as a loop: started once for each, with base URLs that lead to a recorder in front of the target.
//!
//! Each has a trace, a process group and an output file of its own. Its figures are those of the calls that the recorder
//! wrote down, which tells them here as it does.

use super::kept::{LoopTraces, STOPPED};
use crate::child::environment::{self, Mode, Variables};
use crate::child::process::{self, ChildOutput, NOT_FOUND, NotStarted, Program};
use crate::child::tool_hooks::FrameworkTools;
use crate::commands::child_run::ToRun;
use crate::commands::record::program_name;
use crate::exit::Exit;
use crate::render::terminal_text::escape;
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::budget::Exhausted;
use looptape_core::facts::CallFacts;
use looptape_core::tools::ToolFacts;
use looptape_load::{AgentEnding, AgentRan, Agents, LocalBoxFuture, ObservedStart};
use looptape_proxy::Tally;
use looptape_proxy::budgets::SharedBudget;
use looptape_store::{Moment, Recorder, Watch, WatchedCall, WatchedRequest, WatchedTool, WatchedTrace};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The command, and what all of its loops share.
#[derive(Debug)]
pub(super) struct CommandLoops<'a> {
    pub(super) command: &'a [OsString],
    pub(super) tools: FrameworkTools,
    /// Where the recording proxy listens.
    pub(super) origin: String,
    /// Variables of all of them.
    pub(super) told: Variables,
    pub(super) traces: LoopTraces,
    pub(super) recorder: Recorder,
    pub(super) heard: Arc<HeardCalls>,
    pub(super) proxied: Arc<Tally>,
    pub(super) budget: Option<SharedBudget>,
}

/// The recorded calls of loops that are under way.
#[derive(Debug, Default)]
pub(super) struct HeardCalls(Mutex<HashMap<TraceId, Heard>>);

/// Of one loop.
#[derive(Debug, Default)]
struct Heard {
    calls: Vec<CallFacts>,
    /// By their numbers: what is told of one last replaces what was known when it started.
    tools: BTreeMap<u32, ToolFacts>,
}

impl HeardCalls {
    fn expect(&self, id: &TraceId) {
        // Held for one insertion, as below: never across an await.
        if let Ok(mut loops) = self.0.lock() {
            loops.insert(id.clone(), Heard::default());
        }
    }

    fn hear(&self, id: &TraceId, hear: impl FnOnce(&mut Heard)) {
        if let Ok(mut loops) = self.0.lock()
            && let Some(heard) = loops.get_mut(id)
        {
            hear(heard);
        }
    }

    /// Of a loop that has ended: its calls and tools in the order in which they started.
    fn take(&self, id: &TraceId) -> (Vec<CallFacts>, Vec<ToolFacts>) {
        let heard = self.0.lock().ok().and_then(|mut loops| loops.remove(id));
        let Heard { mut calls, tools } = heard.unwrap_or_default();
        calls.sort_by_key(|call| call.seq);
        (calls, tools.into_values().collect())
    }
}

impl Watch for HeardCalls {
    fn request(&self, _: &WatchedRequest<'_>) {}

    fn wants_requests(&self) -> bool {
        false
    }

    fn call(&self, call: &WatchedCall<'_>) {
        self.hear(call.trace, |heard| heard.calls.push(call.facts.clone()));
    }

    fn tool(&self, tool: &WatchedTool<'_>) {
        self.hear(tool.trace, |heard| {
            heard.tools.insert(tool.facts.seq, tool.facts.clone());
        });
    }

    fn trace(&self, _: &WatchedTrace<'_>) {}

    fn gaps(&self, _: &BTreeMap<String, u64>) {}
}

impl Agents for CommandLoops<'_> {
    fn run<'a>(&'a self, start: ObservedStart, over: LocalBoxFuture<'a, ()>) -> LocalBoxFuture<'a, AgentRan> {
        Box::pin(async move {
            let id = self.traces.id(start.id);
            let mut spec = self.traces.spec(&start);
            spec.program = program_name(self.command);
            spec.command = self.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            self.heard.expect(&id);
            self.recorder.open_trace(spec);
            let ending = match self.child(&id, &start, over).await {
                Ok(ending) => ending,
                Err(error) => AgentEnding::Lost { error: format!("{error:#}") },
            };
            let (ended, at) = (Instant::now(), Moment::now());
            self.close(&id, &ending, at).await;
            let (facts, tools) = self.heard.take(&id);
            AgentRan { ending, ended, facts, tools }
        })
    }

    fn calls_under_way(&self) -> u32 {
        u32::try_from(self.proxied.in_flight.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    fn exhausted(&self) -> Option<Exhausted> {
        self.budget.as_ref()?.exhausted()
    }
}

impl CommandLoops<'_> {
    /// Its command line, for people.
    pub(super) fn words(&self) -> String {
        self.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Starts it, and waits until it has ended by itself or `over` comes.
    async fn child(
        &self,
        id: &TraceId,
        start: &ObservedStart,
        over: LocalBoxFuture<'_, ()>,
    ) -> anyhow::Result<AgentEnding> {
        let to_run = ToRun {
            mode: Mode::Record,
            origin: &self.origin,
            trace: id.as_str(),
            command: self.command,
            tools: self.tools,
        };
        let prepared = to_run.prepare(self.variables(start))?;
        let mut output = tempfile::tempfile()?;
        let program = Program {
            tools: self.tools,
            ..Program::new(
                prepared.command().unwrap_or(self.command),
                ChildOutput::Captured(output.try_clone()?),
            )
        };
        let mut running = match process::start(program, &prepared.variables)? {
            Ok(running) => running,
            Err(NotStarted { exit: Exit::NotStarted(NOT_FOUND), message }) => {
                return Ok(AgentEnding::NotFound { error: message });
            }
            Err(NotStarted { message, .. }) => return Ok(AgentEnding::Lost { error: message }),
        };
        let ended = tokio::select! {
            status = running.ended_with_its_group() => Some(process::code(status?)),
            () = over => None,
        };
        Ok(match ended {
            Some(code) => AgentEnding::Exited { code, last_words: last_words(&mut output) },
            None => {
                let ended = running.end().await;
                let trouble = ended.err().map(|error| format!("it may not have ended: {error:#}"));
                AgentEnding::Stopped { trouble }
            }
        })
    }

    fn variables(&self, start: &ObservedStart) -> Variables {
        let own = [
            ("LOOPTAPE_LOOP_INDEX", start.id.0.to_string()),
            ("LOOPTAPE_LOOP_PHASE", self.traces.phase(start)),
            ("LOOPTAPE_LOAD", self.traces.run().to_string()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.told.iter().cloned().chain(own).collect()
    }

    /// Closes the trace of a loop, and waits until all of its calls are written down.
    async fn close(&self, id: &TraceId, ending: &AgentEnding, at: Moment) {
        let (outcome, code, aborted) = match ending {
            AgentEnding::Exited { code: 0, .. } => (Some(LoopOutcome::Success), Some(0), None),
            AgentEnding::Exited { code, .. } => (Some(LoopOutcome::Failure), Some(*code), None),
            AgentEnding::Stopped { trouble } => {
                let trouble = trouble.as_ref().map_or(String::new(), |trouble| format!("; {trouble}"));
                (None, None, Some(format!("{STOPPED}{trouble}")))
            }
            AgentEnding::NotFound { error } | AgentEnding::Lost { error } => {
                (Some(LoopOutcome::Failure), None, Some(error.clone()))
            }
        };
        let (tell, told) = tokio::sync::oneshot::channel();
        let told_by = move |_| {
            // Nobody waits any more if the run was ended meanwhile.
            let _ = tell.send(());
        };
        self.recorder.end_trace(id.clone(), at, outcome, told_by);
        // Dropped untold, the recording has a gap and says so.
        let _ = told.await;
        self.recorder.close_trace(id.clone(), at, code, aborted);
        if let Some(budget) = &self.budget {
            budget.forget(id);
        }
    }
}

/// Keys that the command finds: its own, unless nobody but this machine is asked.
pub(super) fn keys(is_simulated: bool) -> Variables {
    if is_simulated { environment::without_keys(&|name| std::env::var(name).ok()) } else { Variables::new() }
}

/// So many bytes from an output's end are looked at.
const TAIL_BYTES: u64 = 4096;
/// So many characters of a line are shown.
const SHOWN: usize = 200;

/// The last line of what was printed.
fn last_words(output: &mut File) -> String {
    let mut read = || -> std::io::Result<Vec<u8>> {
        let len = output.seek(SeekFrom::End(0))?;
        output.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        output.read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&tail);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    escape(&last.trim().chars().take(SHOWN).collect::<String>())
}
