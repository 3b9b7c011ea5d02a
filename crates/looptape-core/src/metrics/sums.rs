//! Sums over attempts that keep track of what is missing from them.

use crate::cost::{Bound, Cost, LeafCosts, Usd};
use crate::facts::{AttemptState, CallFacts};
use crate::usage::{LeafTokens, TokenUsage};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Token leaves summed. A leaf that no attempt reported is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenSums {
    pub uncached_input: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    pub output_visible: Option<u64>,
    pub reasoning: Option<u64>,
    pub input_total: Option<u64>,
    pub output_total: Option<u64>,
    /// Some attempt that may have used tokens did not report them (all).
    pub at_least: bool,
}

/// Costs summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostSum {
    by_leaf: LeafCosts,
    priced: u32,
    not_billed: u32,
    incomplete: u32,
    unknown: u32,
}

/// A sum of costs, as it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CostFigures {
    #[serde(rename = "cost_usd")]
    pub usd: Option<Usd>,
    /// Whether the true cost may be larger.
    #[serde(rename = "cost_at_least")]
    pub at_least: bool,
    #[serde(rename = "cost_by_leaf")]
    pub by_leaf: Option<LeafCosts>,
}

/// What the same calls cost, looked at in three ways, which are never mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostColumns {
    /// Really billed in this run: of a replay, what live models answered.
    pub spent: CostSum,
    /// What the model calls cost when they were recorded.
    pub recorded: CostSum,
    /// What they would cost at list price today.
    pub list: CostSum,
}

/// Failed attempts by kind: `http_429`, `upstream_reset`, ….
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ErrorCounts(pub BTreeMap<String, u32>);

impl TokenSums {
    /// Adds an attempt, unless it is known to have used nothing.
    pub(super) fn add(&mut self, fact: &CallFacts, cost: &Cost) {
        let usage = &fact.usage;
        let answered = fact.state == AttemptState::Complete && fact.status.is_some_and(|status| status < 400);
        if *cost == Cost::NotBilled && !answered && !usage.is_known() {
            return;
        }
        let whole = usage.input_total.is_some() && usage.output_total.is_some();
        let cut_off = fact.state != AttemptState::Complete;
        self.at_least |= !whole || cut_off;
        self.add_usage(usage);
    }

    fn add_usage(&mut self, usage: &TokenUsage) {
        let more = Self {
            uncached_input: usage.uncached_input,
            cache_read: usage.cache_read,
            cache_write_5m: usage.cache_write_5m,
            cache_write_1h: usage.cache_write_1h,
            output_visible: usage.output_visible,
            reasoning: usage.reasoning,
            input_total: usage.input_total,
            output_total: usage.output_total,
            at_least: false,
        };
        self.merge(&more);
    }

    /// Those of one call.
    pub(crate) fn of(leaves: &LeafTokens) -> Self {
        let mut sums = Self::default();
        sums.add_usage(&leaves.to_usage(None));
        sums
    }

    /// Adds leaf by leaf.
    pub(crate) fn merge(&mut self, more: &Self) {
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            *sum = match (*sum, more) {
                (Some(a), Some(b)) => Some(a.saturating_add(b)),
                (a, b) => a.or(b),
            }
        };
        add(&mut self.uncached_input, more.uncached_input);
        add(&mut self.cache_read, more.cache_read);
        add(&mut self.cache_write_5m, more.cache_write_5m);
        add(&mut self.cache_write_1h, more.cache_write_1h);
        add(&mut self.output_visible, more.output_visible);
        add(&mut self.reasoning, more.reasoning);
        add(&mut self.input_total, more.input_total);
        add(&mut self.output_total, more.output_total);
        self.at_least |= more.at_least;
    }

    /// Cache reads over all input; `None` where either is unknown or there was no input.
    pub fn cache_hit_ratio(&self) -> Option<f64> {
        let input = self.input_total.filter(|total| *total > 0)?;
        Some(self.cache_read? as f64 / input as f64)
    }
}

impl CostSum {
    /// One call, priced.
    pub(crate) fn of_leaves(by_leaf: LeafCosts, bound: Bound) -> Self {
        Self { by_leaf, priced: 1, incomplete: u32::from(bound == Bound::AtLeast), ..Self::default() }
    }

    /// One call of which no price is known.
    pub(crate) fn of_unknown() -> Self {
        Self { unknown: 1, ..Self::default() }
    }

    /// One call that nobody bills.
    pub(crate) fn of_not_billed() -> Self {
        Self { not_billed: 1, ..Self::default() }
    }

    pub fn add(&mut self, cost: &Cost) {
        match cost {
            Cost::Known(price) => {
                self.by_leaf.add(&price.by_leaf);
                self.priced += 1;
                self.incomplete += u32::from(price.bound == Bound::AtLeast);
            }
            Cost::NotBilled => self.not_billed += 1,
            Cost::Unknown(_) => self.unknown += 1,
        }
    }

    pub(crate) fn merge(&mut self, more: &Self) {
        self.by_leaf.add(&more.by_leaf);
        self.priced += more.priced;
        self.not_billed += more.not_billed;
        self.incomplete += more.incomplete;
        self.unknown += more.unknown;
    }

    /// What is known of the sum; `None` if nothing is. Attempts that cost nothing say nothing about one
    /// whose cost is unknown.
    pub fn usd(&self) -> Option<Usd> {
        self.by_leaf().map(|leaves| leaves.total())
    }

    /// The leaves of [`CostSum::usd`], which sum to it exactly.
    pub fn by_leaf(&self) -> Option<LeafCosts> {
        let known = self.priced > 0 || (self.not_billed > 0 && self.unknown == 0);
        known.then_some(self.by_leaf)
    }

    /// Whether the true sum may be larger.
    pub fn at_least(&self) -> bool {
        self.incomplete > 0 || self.unknown > 0
    }
}

impl CostFigures {
    pub(crate) fn of(sum: &CostSum) -> Self {
        Self { usd: sum.usd(), at_least: sum.at_least(), by_leaf: sum.by_leaf() }
    }

    /// What is known in full.
    pub fn exactly(&self) -> Option<Usd> {
        self.usd.filter(|_| !self.at_least)
    }
}

impl CostColumns {
    pub(super) fn merge(&mut self, more: &Self) {
        self.spent.merge(&more.spent);
        self.recorded.merge(&more.recorded);
        self.list.merge(&more.list);
    }
}

impl Serialize for CostColumns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        for (usd, at_least, by_leaf, sum) in [
            ("spent_usd", "spent_at_least", "spent_by_leaf", &self.spent),
            ("recorded_usd", "recorded_at_least", "recorded_by_leaf", &self.recorded),
            ("list_usd", "list_at_least", "list_by_leaf", &self.list),
        ] {
            map.serialize_entry(usd, &sum.usd())?;
            map.serialize_entry(at_least, &sum.at_least())?;
            map.serialize_entry(by_leaf, &sum.by_leaf())?;
        }
        map.end()
    }
}

impl ErrorCounts {
    pub(super) fn add(&mut self, fact: &CallFacts) {
        if let Some(kind) = error_kind(fact) {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    pub(super) fn merge(&mut self, more: &Self) {
        for (kind, count) in &more.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }

    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }
}

/// Whether an attempt counts as failed.
pub(super) fn has_failed(fact: &CallFacts) -> bool {
    match (fact.state, fact.status) {
        (AttemptState::InFlight, _) => false,
        (AttemptState::Complete, status) => status.is_some_and(|status| status >= 400),
        _ => true,
    }
}

/// What went wrong with an attempt. A call that is still running has not failed.
fn error_kind(fact: &CallFacts) -> Option<String> {
    has_failed(fact).then(|| match (fact.state, fact.status) {
        (AttemptState::Complete, Some(status)) => format!("http_{status}"),
        (state, _) => state.as_str().to_owned(),
    })
}
