//! What came of sending recorded requests again, without the agent: in figures, and answer by answer.
//!
//! - `run`: one run of one trace, and how its calls are measured.
//! - `figures`: many runs in figures; those of [`crate::metrics`].
//! - `resent`: the recorded requests themselves ("teacher-forced"), every answer compared.
//! - `freely`: loops that a model drove by itself.
//!
//! Every output (text, JSON, a table) is made from the reports here.

mod figures;
mod freely;
mod resent;
mod run;

pub use figures::{DrivenMoney, Figures, RefusedTrace, RunLine};
pub use freely::{FreeLoop, FreeOutcome, FreeReport, FreedLoops};
pub use resent::{DrivenCall, Exactness, Finding, ResentCalls, ResentReport};
pub use run::{Coverage, DrivenRun, facts, facts_of_free_call, measure};
