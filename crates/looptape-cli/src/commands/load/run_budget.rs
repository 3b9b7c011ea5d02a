//! What the calls of a run may cost: the scenario's `[budget]`, and what looptape.toml says.
//!
//! A simulated provider that is started for the run bills nothing: what its calls would have cost is held to the
//! scenario's budget, and counts to no day. Everything else may cost money, so `[budgets]` of looptape.toml holds too, with
//! what was spent before; what is spent is written down in the configured database even if nothing else of the run is kept.

use super::kept::LoopIds;
use crate::commands::budget::BudgetArgs;
use crate::config::Config;
use crate::session::Global;
use looptape_core::budget::{Counted, Day, Limits, OverBudget, Settlement, UnpricedCalls, WorstCase};
use looptape_core::cost::{PriceBook, Usd};
use looptape_load::{Budgets, Held, LocalBoxFuture, LoopId};
use looptape_proxy::budgets::{self, SharedBudget};
use looptape_store::{Durability, Moment, RecorderThread};

/// One budget for all that a command runs, and the thread that keeps its books.
#[derive(Debug)]
pub(super) struct RunBudget {
    shared: SharedBudget,
    books: Option<RecorderThread>,
}

/// Who has the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    /// A simulated one, started for the run.
    Simulated,
    AtUrl,
}

/// What calls at a provider may cost.
pub(super) fn limits(config: &Config, provider: Provider, max_usd: Option<Usd>) -> anyhow::Result<Limits> {
    match provider {
        Provider::Simulated => Ok(Limits { run_usd: max_usd, ..Limits::default() }),
        Provider::AtUrl => BudgetArgs::of_run(max_usd).limits(config),
    }
}

impl RunBudget {
    /// `None` if nothing is limited.
    pub(super) fn open(
        global: &Global,
        config: &Config,
        prices: &PriceBook,
        limits: Limits,
    ) -> anyhow::Result<Option<Self>> {
        if limits.is_none() {
            return Ok(None);
        }
        let unpriced = BudgetArgs::default().unpriced(config);
        if limits.day_usd.is_none() {
            let shared = SharedBudget::of_this_run(limits, unpriced, prices.clone());
            return Ok(Some(Self { shared, books: None }));
        }
        let (recorder, thread) = global.recorder(config, Durability::Relaxed)?;
        let shared = SharedBudget::continuing(limits, unpriced, &global.reader()?)?;
        shared.kept_by(recorder);
        Ok(Some(Self { shared, books: Some(thread) }))
    }

    pub(super) fn shared(&self) -> &SharedBudget {
        &self.shared
    }

    /// What is written down is on disk afterwards.
    pub(super) fn finish(self) {
        if let Some(books) = self.books {
            books.finish();
        }
    }
}

/// The loops of a run whose calls looptape sends itself.
#[derive(Clone, Debug)]
pub(super) struct BudgetedLoops {
    pub(super) budget: SharedBudget,
    pub(super) ids: LoopIds,
}

impl Budgets for BudgetedLoops {
    fn unpriced(&self) -> UnpricedCalls {
        self.budget.unpriced()
    }

    fn admit<'a>(
        &'a self,
        of: LoopId,
        most: WorstCase,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Held + 'a>, OverBudget>> {
        Box::pin(async move {
            let day = Day::of_unix_us(Moment::now().unix_us);
            let counted = Counted { trace: Some(self.ids.of(of)), day };
            // A call that waited for others would be late: another load would be measured than was asked for.
            let held = self.budget.admit_at_once(&most, &counted).await?;
            Ok(Box::new(HeldCall(held)) as Box<dyn Held>)
        })
    }

    fn loop_ended(&self, id: LoopId) {
        self.budget.forget(&self.ids.of(id));
    }
}

struct HeldCall(budgets::Held);

impl Held for HeldCall {
    fn settle(self: Box<Self>, settlement: Settlement) {
        self.0.settle(settlement);
    }
}
