//! From facts to figures in one call.

use super::{TraceMetrics, trace};
use crate::assembly::{Assembly, TraceSpan, assemble};
use crate::cost::{Cost, costs};
use crate::facts::CallFacts;

/// A trace, assembled, priced and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub span: TraceSpan,
    pub assembly: Assembly,
    /// The cost of each call, in the order of the facts.
    pub costs: Vec<Cost>,
    pub metrics: TraceMetrics,
}

impl Measured {
    /// `facts` in the order in which the calls started; `started_unix_us` is the wall-clock time of the
    /// trace's 0, by which prices are dated.
    pub fn of(facts: &[CallFacts], span: TraceSpan, started_unix_us: Option<i64>) -> Self {
        let assembly = assemble(facts, &span);
        let costs = costs(facts, started_unix_us);
        let metrics = trace(facts, &assembly, &span, &costs);
        Self { span, assembly, costs, metrics }
    }
}
