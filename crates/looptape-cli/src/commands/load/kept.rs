//! A run's loops, kept as traces: each a recording like any other, with the tag `load=RUN`.

use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::load::LoopEnding;
use looptape_core::redact::Credentials;
use looptape_core::scenario::Scenario;
use looptape_load::{LoopId, ObservedCall, ObservedEnd, ObservedStart, Observer};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, Source, TraceHint, TraceSpec};
use std::fmt;

/// What a run is called: its loops are `RUN` and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunId(String);

impl RunId {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0u8; 6];
        getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a run's loops are called. `part` is which of several parts of the run it is.
#[derive(Clone, Debug)]
pub(super) struct LoopIds {
    pub(super) run: RunId,
    pub(super) part: Option<u32>,
}

impl LoopIds {
    pub(super) fn of(&self, LoopId(no): LoopId) -> TraceId {
        let part = self.part.map_or(String::new(), |part| format!("p{part}-"));
        TraceId::parse(&format!("load-{}-{part}{no}", self.run))
            .expect("letters, digits and dashes make an id")
    }
}

/// The traces of a run's loops: when they are opened and closed, and what they are called.
#[derive(Debug)]
pub(super) struct LoopTraces {
    recorder: Recorder,
    ids: LoopIds,
    scenario: String,
    phases: Vec<String>,
    started: Moment,
}

impl LoopTraces {
    /// `started` is when the driver's clock shows 0.
    pub(super) fn new(recorder: Recorder, ids: LoopIds, scenario: &Scenario, started: Moment) -> Self {
        Self {
            recorder,
            ids,
            scenario: scenario.name.clone().unwrap_or_else(|| "load".to_owned()),
            phases: (0..scenario.phases.len()).map(|at| scenario.phase_name(at)).collect(),
            started,
        }
    }

    pub(super) fn id(&self, id: LoopId) -> TraceId {
        self.ids.of(id)
    }

    pub(super) fn run(&self) -> &RunId {
        &self.ids.run
    }

    pub(super) fn phase(&self, start: &ObservedStart) -> String {
        self.phases.get(start.phase).cloned().unwrap_or_default()
    }

    /// What a loop is opened as: from when it was due, so that its duration counts what it waited.
    pub(super) fn spec(&self, start: &ObservedStart) -> TraceSpec {
        let mut spec = TraceSpec::new(self.id(start.id), Source::Load, self.at(start.scheduled_us));
        spec.name = Some(self.scenario.clone());
        let tags = [("load", self.ids.run.to_string()), ("phase", self.phase(start))];
        let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        spec.labels = Labels { tags, ..Labels::default() };
        spec
    }

    fn at(&self, us: u64) -> Moment {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        Moment { unix_us: self.started.unix_us + us, mono_us: self.started.mono_us + us }
    }
}

/// Writes down what the driver does.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) traces: LoopTraces,
}

impl Observer for Kept {
    fn loop_began(&self, start: &ObservedStart) {
        let mut spec = self.traces.spec(start);
        spec.labels.agent = Some("looptape load".to_owned());
        self.traces.recorder.open_trace(spec);
    }

    fn call_ended(&self, call: ObservedCall) {
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let ticket = self.traces.recorder.begin(BeginCall {
            hint: TraceHint::Named(self.traces.id(call.of)),
            at: self.traces.at(call.sent_us),
            provider: call.provider,
            method: "POST".to_owned(),
            path: call.path,
            headers: RedactedHeaders::redact(headers),
            body: call.body.into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: Credentials::none(),
        });
        match CallEnd::of(call.outcome, self.traces.started.mono_us) {
            Some(end) => ticket.finish(end),
            // The driver tells of calls that have ended; one that had not would be one that was given up.
            None => drop(ticket),
        }
    }

    fn loop_ended(&self, end: &ObservedEnd) {
        let (id, at) = (self.traces.id(end.id), self.traces.at(end.ended_us));
        let (outcome, aborted) = match end.ending {
            LoopEnding::Succeeded => (Some(LoopOutcome::Success), None),
            LoopEnding::Failed => (Some(LoopOutcome::Failure), None),
            LoopEnding::Stopped => (None, Some(STOPPED.to_owned())),
        };
        self.traces.recorder.end_trace(id.clone(), at, outcome, |_| {});
        self.traces.recorder.close_trace(id, at, None, aborted);
    }
}

/// Why a loop that was broken off has no end of its own.
pub(super) const STOPPED: &str = "the load run stopped it";
