//! A run's loops, kept as traces: each a recording like any other, with the tag `load=RUN`.

use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::exchange::{Chunk, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::load::LoopEnding;
use looptape_core::provider::Provider;
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

/// Writes down what the driver does.
pub(super) struct Kept {
    recorder: Recorder,
    run: RunId,
    scenario: String,
    phases: Vec<String>,
    provider: Provider,
    started: Moment,
}

impl Kept {
    /// `started` is when the driver's clock shows 0.
    pub(super) fn new(recorder: Recorder, run: RunId, scenario: &Scenario, started: Moment) -> Self {
        Self {
            recorder,
            run,
            scenario: scenario.name.clone().unwrap_or_else(|| "load".to_owned()),
            phases: (0..scenario.phases.len()).map(|at| scenario.phase_name(at)).collect(),
            provider: Provider::parse(scenario.traffic.provider()).expect("the names of providers are valid"),
            started,
        }
    }

    fn trace(&self, LoopId(no): LoopId) -> TraceId {
        TraceId::parse(&format!("load-{}-{no}", self.run)).expect("letters, digits and dashes make an id")
    }

    fn at(&self, us: u64) -> Moment {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        Moment { unix_us: self.started.unix_us + us, mono_us: self.started.mono_us + us }
    }

    fn mono_us(&self, us: i64) -> i64 {
        self.started.mono_us + us
    }

    fn end(&self, outcome: Outcome) -> CallEnd {
        match outcome {
            Outcome::InFlight => CallEnd::NoResponse {
                at_mono_us: Moment::mono_us_now(),
                ending: looptape_core::exchange::Ending::ClientGone,
            },
            Outcome::NoResponse { end_us, ending } => {
                CallEnd::NoResponse { at_mono_us: self.mono_us(end_us), ending }
            }
            Outcome::Answered(answer) => CallEnd::Answered {
                status: answer.status,
                headers: answer.headers,
                head_mono_us: self.mono_us(answer.head_us),
                end_mono_us: self.mono_us(answer.end_us),
                body: vec![answer.body],
                chunks: answer
                    .chunks
                    .into_iter()
                    .map(|chunk| Chunk { at_us: self.mono_us(chunk.at_us), ..chunk })
                    .collect(),
                ending: answer.ending,
                cut: None,
            },
        }
    }
}

impl Observer for Kept {
    fn loop_began(&self, start: &ObservedStart) {
        // From when it was due: so its duration counts what it waited.
        let mut spec = TraceSpec::new(self.trace(start.id), Source::Load, self.at(start.scheduled_us));
        spec.name = Some(self.scenario.clone());
        let tags = [
            ("load", self.run.to_string()),
            ("phase", self.phases.get(start.phase).cloned().unwrap_or_default()),
        ];
        let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        spec.labels = Labels { agent: Some("looptape load".to_owned()), agent_version: None, tags };
        self.recorder.open_trace(spec);
    }

    fn call_ended(&self, call: ObservedCall) {
        let headers = call.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let ticket = self.recorder.begin(BeginCall {
            hint: TraceHint::Named(self.trace(call.of)),
            at: self.at(call.sent_us),
            provider: self.provider.clone(),
            method: "POST".to_owned(),
            path: call.path,
            headers: RedactedHeaders::redact(headers),
            body: call.body,
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: Credentials::none(),
        });
        ticket.finish(self.end(call.outcome));
    }

    fn loop_ended(&self, end: &ObservedEnd) {
        let (id, at) = (self.trace(end.id), self.at(end.ended_us));
        let (outcome, aborted) = match end.ending {
            LoopEnding::Succeeded => (Some(LoopOutcome::Success), None),
            LoopEnding::Failed => (Some(LoopOutcome::Failure), None),
            LoopEnding::Stopped => (None, Some("the load run stopped it".to_owned())),
        };
        self.recorder.end_trace(id.clone(), at, outcome, |_| {});
        self.recorder.close_trace(id, at, None, aborted);
    }
}
