//! What the messages of one step's prompt cost the whole run.

use super::open_trace::OpenTrace;
use super::prompts::ReadPrompts;
use looptape_core::assembly::StepNumber;
use looptape_core::audit::{self, Heat, Pricing, Run};
use looptape_store::Reader;

/// The heat of a step's prompt, or of the last one's that can be read.
pub fn heat(reader: &Reader, open: &OpenTrace, step: Option<StepNumber>) -> Option<Heat> {
    let (trace, measured) = (open.trace(), open.measured());
    let prompts = ReadPrompts::all(reader, trace).prompts;
    let run = Run {
        id: &trace.row.id,
        agent: trace.row.agent.as_deref(),
        facts: &trace.facts,
        measured,
        prompts: &prompts,
        pricing: Pricing {
            book: reader.prices(),
            started_unix_us: trace.row.happened_unix_us(),
            facts: &trace.facts,
        },
    };
    let steps = measured.assembly.steps.iter().rev();
    let mut steps = steps.filter(|one| step.is_none_or(|number| one.number == number));
    steps.find_map(|step| audit::heat(&run, step.number, step.final_call()))
}
