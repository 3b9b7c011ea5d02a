//! What a run may cost: whoever holds its calls to budgets is asked before each is sent.

use crate::observer::LoopId;
use futures_util::future::LocalBoxFuture;
use looptape_core::budget::{OverBudget, Settlement, UnpricedCalls, WorstCase};

/// Holds the calls of a run to budgets.
pub trait Budgets: std::fmt::Debug {
    /// What becomes of calls of which no price is known.
    fn unpriced(&self) -> UnpricedCalls;

    /// Holds back the most that a call of a loop could cost, or says why it must not be sent.
    fn admit<'a>(
        &'a self,
        of: LoopId,
        most: WorstCase,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Held + 'a>, OverBudget>>;

    /// No more calls of this loop come.
    fn loop_ended(&self, id: LoopId);
}

/// What is held back for a call under way.
pub trait Held {
    /// The call has ended.
    fn settle(self: Box<Self>, settlement: Settlement);
}
