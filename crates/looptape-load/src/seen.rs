//! What calls show of the target's limits.

use crate::call::{Asked, Called};
use looptape_core::exchange::Outcome;
use looptape_core::limits::{Demand, FittedAccount, SeenCall, fit};
use looptape_core::usage::LeafTokens;
use std::cell::RefCell;

/// So many calls are looked at: limits show long before, and memory is bounded.
const MOST: usize = 50_000;

/// Calls that were answered.
#[derive(Debug, Default)]
pub(crate) struct Seen(RefCell<Vec<SeenCall>>);

impl Seen {
    /// `planned` is what a call would have used.
    pub(crate) fn call(&self, asked: &Asked, model: &str, called: &Called, planned: &LeafTokens) {
        let Outcome::Answered(answer) = &called.outcome else { return };
        let mut seen = self.0.borrow_mut();
        if seen.len() >= MOST {
            return;
        }
        let usage = &called.facts.usage;
        let demand = Demand {
            input_tokens: usage.input_total.unwrap_or(planned.input()),
            cached_tokens: usage.cache_read.unwrap_or(0),
            max_output_tokens: asked.max_output_tokens,
            output_tokens: usage.output_total.unwrap_or(planned.output()),
        };
        let account = format!("{} {model}", asked.provider);
        let times = (called.facts.sent_us, called.facts.end_us.unwrap_or(called.facts.sent_us));
        let call = SeenCall::new(account, times, answer.status, &answer.headers, &answer.body);
        seen.push(call.needing(demand));
    }

    /// The limits that show.
    pub(crate) fn limits(&self) -> Vec<FittedAccount> {
        let mut accounts = fit(&self.0.borrow());
        accounts.retain(|account| !account.limits.is_empty());
        accounts
    }
}
