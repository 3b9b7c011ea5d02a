//! What a replay cost, and what it would have cost without the recording.

use crate::commands::{AskedModel, spending_lines};
use looptape_core::budget::Spending;
use looptape_core::cost::Usd;
use looptape_core::metrics::CostSum;
use looptape_core::replay::Summary;
use looptape_store::RecordedTrace;
use serde::Serialize;
use std::collections::HashSet;

/// Three sums that are never mixed: what this run cost, what its cached answers had cost, what all had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Money {
    /// Live calls, if there could be any.
    pub(crate) live: Option<Spending>,
    pub(crate) mock: bool,
    /// What the answers that were served from the recording had cost; `None` if that is not known.
    pub(crate) saved_usd: Option<Usd>,
    pub(crate) saved_at_least: bool,
    /// What the whole recording had cost.
    pub(crate) recorded_usd: Option<Usd>,
}

impl Money {
    pub(crate) fn of(trace: &RecordedTrace, summary: &Summary, asked: Option<&AskedModel>) -> Self {
        let measured = trace.measure();
        let served: HashSet<u32> = summary.served_calls.iter().copied().collect();
        let mut saved = CostSum::default();
        let costs = measured.costs.iter().zip(&trace.facts);
        costs.filter(|(_, call)| served.contains(&call.seq)).for_each(|(cost, _)| saved.add(cost));
        Self {
            live: asked.and_then(AskedModel::spending),
            mock: matches!(asked, Some(AskedModel::Mock(_))),
            saved_usd: saved.usd(),
            saved_at_least: saved.at_least(),
            recorded_usd: measured.metrics.cost_usd,
        }
    }

    /// Whether calls were refused because of the budget.
    pub(crate) fn is_over(&self) -> bool {
        self.live.is_some_and(|live| live.refused_calls > 0)
    }

    /// In lines for people; none if nothing could be spent.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(live) = &self.live {
            lines.extend(spending_lines(live));
            if let Some(saved) = self.saved_usd {
                let at_least = if self.saved_at_least { "at least " } else { "" };
                lines.push(format!("saved {at_least}{saved}: what the answers from the recording had cost"));
            }
        }
        if self.mock {
            lines.push(
                "mock answers are made up from the recording: they show what the agent does, and prove nothing about a model".to_owned(),
            );
        }
        lines
    }
}
