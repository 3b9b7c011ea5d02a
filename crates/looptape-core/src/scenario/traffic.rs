//! Traffic: what loops do once they have begun.

use crate::spread::Spread;
use crate::wire::Wire;
use serde::Deserialize;

/// What loops ask, and how their steps follow from each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// `None`: that of the recorded calls; of others [`DEFAULT_MODEL`].
    pub model: Option<String>,
    pub wire: Wire,
    /// Whether the scenario says it.
    pub wire_by: WireBy,
    pub stream: bool,
    pub max_output_tokens: Option<u64>,
    /// Between two loops of one virtual user.
    pub think_ms: Spread,
    pub source: TrafficSource,
}

/// Who says which format is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireBy {
    Scenario,
    /// Nobody: it is the usual one, unless recorded loops have another.
    Default,
}

/// Where the conversations come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TrafficSource {
    Generated(Box<Generated>),
    Traces(TraceChoice),
    Workload(WorkloadFile),
}

/// Conversations by their figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Model steps of a loop.
    pub steps: Spread,
    /// The same in all loops, so that a prompt cache can hold it.
    pub system_tokens: Spread,
    /// The first message.
    pub input_tokens: Spread,
    /// What the tool results of a step add.
    pub added_tokens: Spread,
    pub output_tokens: Spread,
    /// From an answer to the next request: the tools, and the agent itself.
    pub tool_ms: Spread,
}

/// Recorded loops.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceChoice {
    pub traces: Vec<WeightedTrace>,
    /// And all traces with this tag, `KEY=VALUE` or `KEY`.
    pub tag: Option<String>,
}

/// A trace by its name, and how often its loops come beside the others.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTrace {
    pub trace: String,
    pub weight: f64,
}

/// A published trace of requests to a provider: each a loop of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadFile {
    pub file: String,
    /// `None`: what its first line says.
    pub format: Option<WorkloadFormat>,
    /// How many times as fast as in the file requests come.
    pub speed: f64,
}

/// Formats of workload files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadFormat {
    Azure,
    Mooncake,
    Burstgpt,
}

/// The model where nothing names one.
pub const DEFAULT_MODEL: &str = "gpt-4o-mini";

impl Traffic {
    /// looptape's name of the provider that speaks this format.
    pub fn provider(&self) -> &'static str {
        match self.wire {
            Wire::AnthropicMessages => "anthropic",
            Wire::GeminiGenerate => "gemini",
            _ => "openai",
        }
    }

    /// The model that is asked where a recording names none.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(match self.wire {
            Wire::AnthropicMessages => "claude-haiku-4-5",
            Wire::GeminiGenerate => "gemini-2.5-flash",
            _ => DEFAULT_MODEL,
        })
    }
}

/// Traffic as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    model: Option<String>,
    wire: Option<WireName>,
    stream: Option<bool>,
    max_output_tokens: Option<Spread>,
    think_ms: Option<Spread>,
    steps: Option<Spread>,
    system_tokens: Option<Spread>,
    input_tokens: Option<Spread>,
    added_tokens: Option<Spread>,
    output_tokens: Option<Spread>,
    tool_ms: Option<Spread>,
    traces: Option<Vec<TraceEntry>>,
    tag: Option<String>,
    workload: Option<WorkloadEntry>,
}

/// The formats that the simulated provider speaks.
#[derive(Clone, Copy, Debug, Deserialize)]
enum WireName {
    #[serde(rename = "openai.chat")]
    OpenAiChat,
    #[serde(rename = "openai.responses")]
    OpenAiResponses,
    #[serde(rename = "anthropic.messages")]
    AnthropicMessages,
    #[serde(rename = "gemini.generate")]
    GeminiGenerate,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TraceEntry {
    Named(String),
    Weighted {
        trace: String,
        #[serde(default = "one")]
        weight: f64,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadEntry {
    file: String,
    format: Option<WorkloadFormat>,
    #[serde(default = "one")]
    speed: f64,
}

fn one() -> f64 {
    1.0
}

impl TryFrom<Entry> for Traffic {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        let wire = match entry.wire.unwrap_or(WireName::OpenAiChat) {
            WireName::OpenAiChat => Wire::OpenAiChat,
            WireName::OpenAiResponses => Wire::OpenAiResponses,
            WireName::AnthropicMessages => Wire::AnthropicMessages,
            WireName::GeminiGenerate => Wire::GeminiGenerate,
        };
        Ok(Self {
            wire,
            wire_by: if entry.wire.is_some() { WireBy::Scenario } else { WireBy::Default },
            stream: entry.stream.unwrap_or(true),
            max_output_tokens: entry.max_output_tokens.as_ref().map(|tokens| tokens.count(0.0)),
            think_ms: entry.think_ms.clone().unwrap_or_else(|| Spread::always(0.0)),
            source: entry.source()?,
            model: entry.model,
        })
    }
}

impl Entry {
    fn source(&self) -> Result<TrafficSource, String> {
        let has_traces = self.traces.is_some() || self.tag.is_some();
        match (has_traces, &self.workload) {
            (true, Some(_)) => Err("write `traces` or `workload`, not both".to_owned()),
            (true, None) => {
                self.refuse_figures("traces")?;
                self.traces().map(TrafficSource::Traces)
            }
            (false, Some(workload)) => {
                self.refuse_figures("workload")?;
                workload.checked().map(TrafficSource::Workload)
            }
            (false, None) => Ok(TrafficSource::Generated(Box::new(self.generated()))),
        }
    }

    /// What a recording says itself cannot be said beside it.
    fn refuse_figures(&self, beside: &str) -> Result<(), String> {
        let figures = [
            ("steps", &self.steps),
            ("system_tokens", &self.system_tokens),
            ("input_tokens", &self.input_tokens),
            ("added_tokens", &self.added_tokens),
            ("output_tokens", &self.output_tokens),
            ("tool_ms", &self.tool_ms),
        ];
        match figures.iter().find(|(_, figure)| figure.is_some()) {
            Some((key, _)) => Err(format!("`{key}` cannot stand beside `{beside}`, which says it itself")),
            None => Ok(()),
        }
    }

    fn generated(&self) -> Generated {
        let usual = |p50: f64, p95: f64| Spread::log_normal(p50, p95).unwrap_or_else(|_| Spread::always(p50));
        let or = |figure: &Option<Spread>, usual: Spread| figure.clone().unwrap_or(usual);
        Generated {
            steps: or(&self.steps, usual(6.0, 14.0)),
            system_tokens: or(&self.system_tokens, Spread::always(2000.0)),
            input_tokens: or(&self.input_tokens, Spread::always(1000.0)),
            added_tokens: or(&self.added_tokens, usual(400.0, 4000.0)),
            output_tokens: or(&self.output_tokens, usual(150.0, 600.0)),
            tool_ms: or(&self.tool_ms, usual(300.0, 2000.0)),
        }
    }

    fn traces(&self) -> Result<TraceChoice, String> {
        let weighted = |entry: &TraceEntry| match entry {
            TraceEntry::Named(trace) => Ok(WeightedTrace { trace: trace.clone(), weight: 1.0 }),
            TraceEntry::Weighted { trace, weight } if *weight > 0.0 && weight.is_finite() => {
                Ok(WeightedTrace { trace: trace.clone(), weight: *weight })
            }
            TraceEntry::Weighted { trace, weight } => {
                Err(format!("the weight of `{trace}` is {weight}: write a number above 0"))
            }
        };
        let traces: Vec<WeightedTrace> =
            self.traces.iter().flatten().map(weighted).collect::<Result<_, String>>()?;
        if traces.is_empty() && self.tag.is_none() {
            return Err("`traces` is empty: name recorded traces, such as [\"last\"]".to_owned());
        }
        Ok(TraceChoice { traces, tag: self.tag.clone() })
    }
}

impl WorkloadEntry {
    fn checked(&self) -> Result<WorkloadFile, String> {
        if !(self.speed > 0.0 && self.speed.is_finite()) {
            return Err(format!("`speed = {}` cannot be: write a number above 0", self.speed));
        }
        Ok(WorkloadFile { file: self.file.clone(), format: self.format, speed: self.speed })
    }
}
