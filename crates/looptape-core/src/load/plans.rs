//! What a loop asks, step by step.
//!
//! A step follows from the scenario's seed, the loop's key and the step's number: nothing is kept but how long the
//! conversation has become. So a million loops cost no memory, and real and virtual time ask the same.

use super::arrivals::Start;
use super::material::{Material, RecordedStep};
use crate::draws::Draws;
use crate::metrics::History;
use crate::scenario::{Generated, Scenario, TrafficSource};
use crate::spread::Spread;
use crate::twin::PromptPart;
use crate::wire::Wire;

/// How loops are planned.
#[derive(Clone, Debug)]
pub struct Plans<'a> {
    source: Source<'a>,
    draws: Draws,
    think_ms: &'a Spread,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Generated(&'a Generated),
    /// With the share of loops up to and including each, of those that are recorded.
    Recorded {
        material: &'a Material,
        up_to: Vec<f64>,
    },
    Workload(&'a Material),
}

/// A loop that has been planned.
#[derive(Clone, Copy, Debug)]
pub struct LoopPlan {
    /// Tells it from all others, whatever the order in which they run.
    pub loop_key: u64,
    pub steps: u32,
    draws: Draws,
    /// Which recorded loop, or which request of the file.
    like: usize,
}

/// One step of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Its model's place in [`Plans::models`].
    pub model: usize,
    pub input: StepInput,
    pub output_tokens: u64,
    /// Tools that its answer is to call.
    pub tool_calls: u32,
    pub history: History,
    /// From the end of the answer to the next request.
    pub then_us: u64,
}

/// How the prompt of a step comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepInput {
    /// All that was sent before and was answered, and so many tokens more.
    Longer { added_tokens: u64 },
    /// So many tokens, the system prompt included; a longer one than before carries on from it.
    Whole { tokens: u64 },
}

/// What a loop has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    system: Option<PromptPart>,
    sent: Option<PromptPart>,
    /// Of the last answer.
    answered_tokens: u64,
}

/// A prompt: as much of it as a cache has to know to find its longest known prefix.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    parts: [PromptPart; 3],
    len: usize,
}

/// What numbers are drawn for.
const KEY: u64 = 1;
const LIKE: u64 = 2;
const STEPS: u64 = 3;
const SYSTEM: u64 = 4;
const INPUT: u64 = 5;
const OUTPUT: u64 = 6;
const TOOLS: u64 = 7;
const THINK: u64 = 8;
const LOOPS: u64 = 0x6c6f_6f70;

impl<'a> Plans<'a> {
    pub fn new(scenario: &'a Scenario, material: &'a Material) -> Self {
        let source = match &scenario.traffic.source {
            TrafficSource::Generated(generated) => Source::Generated(generated),
            TrafficSource::Traces(_) => Source::Recorded { material, up_to: material.shares() },
            TrafficSource::Workload(_) => Source::Workload(material),
        };
        Self { source, draws: Draws::new(scenario.seed).at(LOOPS), think_ms: &scenario.traffic.think_ms }
    }

    /// The loop that begins so.
    pub fn plan(&self, start: &Start) -> LoopPlan {
        let draws = self.draws.at(start.phase as u64).at(start.index);
        let (steps, like) = match &self.source {
            Source::Generated(generated) => (generated.steps.count(draws.unit(STEPS)), 0),
            Source::Recorded { material, up_to } => {
                let unit = draws.unit(LIKE);
                let like = up_to.partition_point(|share| *share <= unit).min(up_to.len().saturating_sub(1));
                (material.loops[like].steps.len() as u64, like)
            }
            Source::Workload(material) => {
                let calls = material.calls.len().max(1) as u64;
                (1, usize::try_from(start.index % calls).unwrap_or(0))
            }
        };
        LoopPlan {
            loop_key: draws.number(KEY),
            steps: u32::try_from(steps.max(1)).unwrap_or(u32::MAX),
            draws,
            like,
        }
    }

    /// Step `n`, from 1.
    pub fn step(&self, plan: &LoopPlan, n: u32) -> StepPlan {
        let draws = plan.draws.at(STEPS).at(u64::from(n));
        match &self.source {
            Source::Generated(generated) => {
                let added = if n == 1 { &generated.input_tokens } else { &generated.added_tokens };
                StepPlan {
                    model: 0,
                    input: StepInput::Longer { added_tokens: added.count(draws.unit(INPUT)).max(1) },
                    output_tokens: generated.output_tokens.count(draws.unit(OUTPUT)).max(1),
                    // Its last step says something, and is done.
                    tool_calls: u32::from(n < plan.steps),
                    history: History::Whole,
                    then_us: (generated.tool_ms.value(draws.unit(TOOLS)) * 1e3).round() as u64,
                }
            }
            Source::Recorded { material, .. } => {
                let step = &material.loops[plan.like].steps[n as usize - 1];
                StepPlan {
                    model: step.model,
                    input: StepInput::Whole { tokens: step.input_tokens },
                    output_tokens: step.output_tokens.max(1),
                    tool_calls: step.tool_calls,
                    history: step.history,
                    then_us: step.then_us,
                }
            }
            Source::Workload(material) => {
                let call = material.calls[plan.like];
                StepPlan {
                    model: 0,
                    input: StepInput::Whole { tokens: call.input_tokens.max(1) },
                    output_tokens: call.output_tokens.max(1),
                    tool_calls: 0,
                    history: History::Whole,
                    then_us: 0,
                }
            }
        }
    }

    /// What was recorded of step `n`, if the loop is a recorded one that is all in this format.
    pub fn recorded(&self, plan: &LoopPlan, n: u32, wire: Wire) -> Option<&'a RecordedStep> {
        let Source::Recorded { material, .. } = &self.source else { return None };
        let steps = &material.loops[plan.like].steps;
        let is_in_it = steps.iter().all(|step| step.at.wire == wire);
        steps.get(n as usize - 1).filter(|_| is_in_it)
    }

    /// What is there before a loop's first message.
    pub fn conversation(&self, plan: &LoopPlan) -> Conversation {
        let (tokens, prefix) = match &self.source {
            // Drawn by the loop, so that loops with equally long ones have the same one.
            Source::Generated(generated) => {
                let tokens = generated.system_tokens.count(plan.draws.unit(SYSTEM));
                (tokens, self.draws.at(SYSTEM).number(tokens))
            }
            Source::Recorded { material, .. } => {
                let like = &material.loops[plan.like];
                (like.shared_tokens, self.draws.at(SYSTEM).at(LIKE).number(plan.like as u64))
            }
            Source::Workload(_) => (0, 0),
        };
        let system = (tokens > 0).then_some(PromptPart { prefix, tokens });
        Conversation { system, ..Conversation::default() }
    }

    /// How long the user of this loop thinks before the next.
    pub fn think_us(&self, plan: &LoopPlan) -> u64 {
        (self.think_ms.value(plan.draws.unit(THINK)) * 1e3).round() as u64
    }
}

impl Conversation {
    /// Of the system prompt.
    pub fn system_tokens(&self) -> u64 {
        self.system.map_or(0, |part| part.tokens)
    }

    /// The prompt of a step.
    pub fn prompt(&self, plan: &LoopPlan, n: u32, input: StepInput) -> Prompt {
        let before = |part: Option<PromptPart>| part.map_or(0, |part| part.tokens);
        let tokens = match input {
            StepInput::Longer { added_tokens } => {
                before(self.sent.or(self.system)) + self.answered_tokens + added_tokens
            }
            StepInput::Whole { tokens } => tokens,
        };
        let whole = PromptPart { prefix: plan.draws.at(INPUT).number(u64::from(n)), tokens };
        let mut prompt = Prompt { parts: [whole; 3], len: 0 };
        for part in [self.system, self.sent].into_iter().flatten().filter(|part| part.tokens < tokens) {
            prompt.parts[prompt.len] = part;
            prompt.len += 1;
        }
        prompt.parts[prompt.len] = whole;
        prompt.len += 1;
        prompt
    }

    /// The prompt was answered.
    pub fn answered(&mut self, prompt: &Prompt, output_tokens: u64) {
        self.sent = prompt.parts().last().copied();
        self.answered_tokens = output_tokens;
    }
}

impl Prompt {
    pub fn parts(&self) -> &[PromptPart] {
        &self.parts[..self.len]
    }

    /// All of it.
    pub fn tokens(&self) -> u64 {
        self.parts[self.len - 1].tokens
    }
}
