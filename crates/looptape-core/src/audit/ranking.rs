//! Which runs to look at: by cost, by how unusual their cost is, by waste.
//!
//! How unusual: within the runs of the same agent ([`UsualCost`]).
//!
//! Waste is counted from the figures alone, without reading bodies: attempts that were tried again, requests
//! that had been answered before, and, where a request goes on from an earlier one, the part of that one's
//! prompt which was not read from the cache although the model reads from it at a lower price.

use super::bill::{Bill, Bills};
use super::pricing::Pricing;
use super::usual::{UsualCost, is_unusual};
use crate::cost::Usd;
use crate::diff::History;
use crate::facts::CallFacts;
use crate::metrics::Measured;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// By what runs are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankBy {
    Cost,
    Anomaly,
    Waste,
}

/// What was paid for in vain. The parts do not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waste {
    pub retried_usd: Usd,
    pub repeated_usd: Usd,
    pub uncached_usd: Usd,
    pub usd: Usd,
}

/// One run of a ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedTrace<T> {
    #[serde(flatten)]
    pub trace: T,
    /// Runs of the same agent among those that were ranked.
    pub cohort: usize,
    pub median_usd: Option<Usd>,
    pub z: Option<f64>,
    pub unusual: bool,
    pub waste: Waste,
}

impl Waste {
    pub fn of(facts: &[CallFacts], measured: &Measured, pricing: &Pricing<'_>) -> Self {
        let bills = Bills::of(facts, measured, pricing);
        let by_call: HashMap<_, &Bill> = bills.all.iter().map(|bill| (bill.call, bill)).collect();
        let mut waste = Self::default();
        let mut answered: HashSet<i64> = HashSet::new();
        for step in &measured.assembly.steps {
            let last = step.final_call();
            let earlier = step.calls().filter(|call| *call != last);
            waste.retried_usd +=
                earlier.filter_map(|call| by_call.get(&call)).map(|bill| bill.usd.total()).sum();
            let Some(bill) = by_call.get(&last) else { continue };
            if !answered.insert(facts[last.0].request_digest) {
                waste.repeated_usd += bill.usd.total();
                continue;
            }
            let parent = step.parent.and_then(|parent| measured.assembly.step(parent));
            let parent = parent.and_then(|parent| by_call.get(&parent.final_call()));
            if let Some(parent) =
                parent.filter(|_| History::of(facts, &measured.assembly, step) == History::Extends)
            {
                waste.uncached_usd += uncached(parent, bill, facts, pricing);
            }
        }
        waste.usd = waste.retried_usd + waste.repeated_usd + waste.uncached_usd;
        waste
    }
}

/// What of an earlier prompt was not read from the cache, at what that would have saved.
fn uncached(earlier: &Bill, bill: &Bill, facts: &[CallFacts], pricing: &Pricing<'_>) -> Usd {
    let model = |bill: &Bill| (&facts[bill.call.0].provider, &facts[bill.call.0].model);
    if facts[bill.call.0].usage.cache_read.is_none() || model(earlier) != model(bill) {
        return Usd::ZERO;
    }
    super::cache::saving_of_prefix(pricing, bill, earlier.tokens.input()).unwrap_or_default()
}

/// Ranks runs, at most `most` of them. Each comes with its agent, its cost if it is known in full, and its
/// waste.
pub fn ranking<T>(
    runs: Vec<(T, Option<String>, Option<Usd>, Waste)>,
    by: RankBy,
    most: usize,
) -> Vec<RankedTrace<T>> {
    let mut cohorts: HashMap<Option<String>, Vec<Option<Usd>>> = HashMap::new();
    for (_, agent, usd, _) in &runs {
        cohorts.entry(agent.clone()).or_default().push(*usd);
    }
    let cohorts: HashMap<_, UsualCost> =
        cohorts.into_iter().map(|(agent, usd)| (agent, UsualCost::of(&usd))).collect();
    let mut ranked: Vec<(Option<Usd>, RankedTrace<T>)> = runs
        .into_iter()
        .map(|(trace, agent, usd, waste)| {
            let cohort = &cohorts[&agent];
            let z = usd.and_then(|usd| cohort.z(usd));
            let unusual = z.is_some_and(is_unusual);
            let (cohort, median_usd) = (cohort.runs(), cohort.median());
            (usd, RankedTrace { trace, cohort, median_usd, z, unusual, waste })
        })
        .collect();
    ranked.sort_by(|(a_usd, a), (b_usd, b)| {
        let z = |z: Option<f64>| z.unwrap_or(f64::NEG_INFINITY);
        let by_cost = b_usd.cmp(a_usd);
        match by {
            RankBy::Cost => by_cost,
            RankBy::Anomaly => z(b.z).total_cmp(&z(a.z)).then(by_cost),
            RankBy::Waste => b.waste.usd.cmp(&a.waste.usd).then(by_cost),
        }
    });
    ranked.into_iter().map(|(_, trace)| trace).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(costs: &[f64], by: RankBy) -> Vec<(f64, Option<f64>, bool)> {
        let run = |usd: &f64| (*usd, Some("agent".to_owned()), Usd::from_f64(*usd), Waste::default());
        let all = ranking(costs.iter().map(run).collect(), by, 10);
        all.into_iter()
            .map(|run| (run.trace, run.z.map(|z| (z * 100.0).round() / 100.0), run.unusual))
            .collect()
    }

    /// Median 3, distances 2 1 0 1 97: MAD 1.
    #[test]
    fn z_scores_worked_by_hand() {
        let all = ranked(&[1.0, 2.0, 3.0, 4.0, 100.0], RankBy::Anomaly);
        assert_eq!(all[0], (100.0, Some(65.43), true));
        assert_eq!(all[1], (4.0, Some(0.67), false));
        assert_eq!(all[4], (1.0, Some(-1.35), false));
    }

    #[test]
    fn small_or_uniform_cohorts_have_no_z() {
        assert!(ranked(&[1.0, 2.0, 9.0], RankBy::Cost).iter().all(|(_, z, _)| z.is_none()));
        assert!(ranked(&[1.0; 8], RankBy::Cost).iter().all(|(_, z, unusual)| z.is_none() && !unusual));
    }

    #[test]
    fn unknown_costs_come_last_and_count_for_nothing() {
        let run = |usd: Option<f64>| (usd, None, usd.and_then(Usd::from_f64), Waste::default());
        let runs = [None, Some(1.0), Some(2.0)].map(run).to_vec();
        let all = ranking(runs, RankBy::Cost, 2);
        assert_eq!(all.iter().map(|run| run.trace).collect::<Vec<_>>(), [Some(2.0), Some(1.0)]);
        assert_eq!((all[0].cohort, all[0].median_usd), (3, Usd::from_f64(1.5)));
    }
}
