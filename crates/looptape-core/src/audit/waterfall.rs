//! Why one run cost more than another: the difference, factor by factor, without a remainder.
//!
//! The cost of a run is, summed over leaves k, N·A·I·s_k·P_k for input and N·A·O·r_k·P_k for output: N model
//! steps, A billed attempts a step, I input tokens an attempt, s_k their split over cache and no cache,
//! O output tokens an attempt, r_k their split into visible and reasoning, P_k what a token of the leaf cost.
//! Fees (web searches, prices a call, costs stated as a whole) are N·A·F; calls that are no model steps are a
//! term of their own. Each term is decomposed by [`super::lmdi`].
//!
//! Attempts that were refused without a bill do not count in A: they would make A larger and I smaller by the
//! same ratio, two effects that cost nothing and hide the others. Where one run does not use a leaf at all,
//! its price there is taken to be the other run's, so that the change is one of the split and not of a price.

use super::bill::Bills;
use super::lmdi;
use crate::cost::{LeafCosts, Usd, UsdDelta};
use crate::figures::{count, percent};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    Steps,
    Attempts,
    /// Input tokens an attempt.
    Context,
    CacheMix,
    /// Output tokens an attempt.
    Output,
    ReasoningSplit,
    /// What a token cost: price, model, tier.
    Price,
    /// What an attempt cost beside its tokens.
    Fees,
    /// What calls cost that are no model steps.
    OtherCalls,
}

impl Factor {
    const ALL: [Self; 9] = [
        Self::Steps,
        Self::Attempts,
        Self::Context,
        Self::CacheMix,
        Self::Output,
        Self::ReasoningSplit,
        Self::Price,
        Self::Fees,
        Self::OtherCalls,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Attempts => "attempts a step",
            Self::Context => "context",
            Self::CacheMix => "cache mix",
            Self::Output => "output",
            Self::ReasoningSplit => "reasoning split",
            Self::Price => "price",
            Self::Fees => "fees",
            Self::OtherCalls => "other calls",
        }
    }

    /// How it changed, in its own unit: `8 → 24 steps`.
    pub fn change(self, from: f64, to: f64) -> String {
        let whole = |n: f64| count(n.round().max(0.0) as u64);
        let usd = |dollars: f64| Usd::from_f64(dollars).unwrap_or_default().to_string();
        let (level, unit): (fn(f64) -> String, &str) = match self {
            Self::Steps => (whole, " steps"),
            Self::Attempts => (|n| format!("{n:.2}"), " a step"),
            Self::Context => (whole, " input tokens an attempt"),
            Self::CacheMix => (percent, " read from the cache"),
            Self::Output => (whole, " output tokens an attempt"),
            Self::ReasoningSplit => (percent, " of it reasoning"),
            Self::Fees => (usd, " an attempt"),
            Self::OtherCalls => (usd, ""),
            Self::Price => return String::new(),
        };
        match (level(from), level(to)) {
            (from, to) if from == to => format!("{to}{unit}"),
            (from, to) => format!("{from} → {to}{unit}"),
        }
    }
}

/// What a run consists of, as far as its cost goes. Of several runs: their mean, so the figures need not be
/// whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantities {
    pub steps: f64,
    pub attempts: f64,
    /// Cache reads, 1-hour writes, 5-minute writes, uncached.
    pub input_tokens: [f64; 4],
    pub input_usd: [Usd; 4],
    /// Visible, reasoning.
    pub output_tokens: [f64; 2],
    pub output_usd: [Usd; 2],
    pub fees: Usd,
    pub other_calls: Usd,
}

/// One bar. Its JSON says it in words too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub factor: Factor,
    /// The factor itself in the baseline; `None` where it is no single number.
    pub from: Option<f64>,
    pub to: Option<f64>,
    pub usd: UsdDelta,
}

impl Bar {
    /// How the factor changed, in its own unit; empty where it is no single number.
    pub fn change(&self) -> String {
        self.from.zip(self.to).map(|(from, to)| self.factor.change(from, to)).unwrap_or_default()
    }
}

impl Serialize for Bar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bar = serializer.serialize_struct("Bar", 6)?;
        bar.serialize_field("factor", &self.factor)?;
        bar.serialize_field("from", &self.from)?;
        bar.serialize_field("to", &self.to)?;
        bar.serialize_field("usd", &self.usd)?;
        bar.serialize_field("words", self.factor.words())?;
        bar.serialize_field("change", &self.change())?;
        bar.end()
    }
}

/// The difference between two runs. The bars sum to `delta_usd` exactly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waterfall {
    pub baseline_usd: Usd,
    pub usd: Usd,
    pub delta_usd: UsdDelta,
    pub bars: Vec<Bar>,
}

impl Quantities {
    pub fn of(bills: &Bills, steps: u32) -> Self {
        let mut sum = Self { steps: f64::from(steps), other_calls: bills.other_calls, ..Self::default() };
        for bill in &bills.all {
            sum.attempts += 1.0;
            for (at, (tokens, usd)) in bill.input_leaves().into_iter().enumerate() {
                sum.input_tokens[at] += tokens as f64;
                sum.input_usd[at] += usd;
            }
            for (at, (tokens, usd)) in bill.output_leaves().into_iter().enumerate() {
                sum.output_tokens[at] += tokens as f64;
                sum.output_usd[at] += usd;
            }
            sum.fees += bill.fees_usd();
        }
        sum
    }

    /// From sums by leaf, as metrics have them; `runs` is over how many runs they are summed.
    pub fn of_sums(runs: u32, steps: f64, attempts: f64, tokens: [f64; 6], usd: &LeafCosts) -> Self {
        let mean = |of: f64| of / f64::from(runs.max(1));
        let mean_usd = |usd: Usd| Usd::from_units(usd.units() / i64::from(runs.max(1)));
        let [uncached, read, write_5m, write_1h, visible, reasoning] = tokens.map(mean);
        Self {
            steps: mean(steps),
            attempts: mean(attempts),
            input_tokens: [read, write_1h, write_5m, uncached],
            input_usd: [usd.cache_read, usd.cache_write_1h, usd.cache_write_5m, usd.uncached_input]
                .map(mean_usd),
            output_tokens: [visible, reasoning],
            output_usd: [usd.output_visible, usd.reasoning].map(mean_usd),
            fees: mean_usd(usd.web_search + usd.other),
            other_calls: Usd::ZERO,
        }
    }

    pub fn usd(&self) -> Usd {
        let leaves = self.input_usd.iter().chain(&self.output_usd).copied();
        leaves.chain([self.fees, self.other_calls]).sum()
    }

    fn input(&self) -> f64 {
        self.input_tokens.iter().sum()
    }

    fn output(&self) -> f64 {
        self.output_tokens.iter().sum()
    }

    /// The factor in words' own unit.
    fn level(&self, factor: Factor) -> Option<f64> {
        let ratio = |part: f64, whole: f64| (whole > 0.0).then_some(part / whole);
        match factor {
            Factor::Steps => Some(self.steps),
            Factor::Attempts => ratio(self.attempts, self.steps),
            Factor::Context => ratio(self.input(), self.attempts),
            // The share that was read from the cache.
            Factor::CacheMix => ratio(self.input_tokens[0], self.input()),
            Factor::Output => ratio(self.output(), self.attempts),
            // The share that was reasoning.
            Factor::ReasoningSplit => ratio(self.output_tokens[1], self.output()),
            Factor::Fees => ratio(self.fees.as_f64(), self.attempts),
            Factor::OtherCalls => Some(self.other_calls.as_f64()),
            Factor::Price => None,
        }
    }
}

impl Waterfall {
    /// From `from`, the baseline, to `to`.
    pub fn between(from: &Quantities, to: &Quantities) -> Self {
        let delta_usd = UsdDelta::between(from.usd(), to.usd());
        let effects = Effects::between(from, to);
        let units = lmdi::whole(&effects.0, delta_usd.units());
        let bar = |(factor, units): (Factor, i64)| Bar {
            factor,
            from: from.level(factor),
            to: to.level(factor),
            usd: UsdDelta::from_units(units),
        };
        let bars = Factor::ALL.into_iter().zip(units).map(bar);
        // A factor that neither run has is no bar.
        let is_there =
            |bar: &Bar| bar.usd != UsdDelta::ZERO || !matches!(bar.factor, Factor::Fees | Factor::OtherCalls);
        Self { baseline_usd: from.usd(), usd: to.usd(), delta_usd, bars: bars.filter(is_there).collect() }
    }

    /// The factor that moved the cost most in the direction in which it went.
    pub fn main_factor(&self) -> Option<&Bar> {
        let up = self.delta_usd >= UsdDelta::ZERO;
        let along = |bar: &&Bar| (bar.usd > UsdDelta::ZERO) == up && bar.usd != UsdDelta::ZERO;
        self.bars.iter().filter(along).max_by_key(|bar| bar.usd.amount())
    }
}

/// By factor, in units of money.
struct Effects([f64; Factor::ALL.len()]);

impl Effects {
    fn between(from: &Quantities, to: &Quantities) -> Self {
        use Factor::{Attempts, CacheMix, Context, Fees, Output, Price, ReasoningSplit, Steps};
        let mut effects = Self([0.0; Factor::ALL.len()]);
        let steps = (from.steps, to.steps);
        let attempts = or_other(ratio(from.attempts, from.steps), ratio(to.attempts, to.steps));
        let context = or_other(ratio(from.input(), from.attempts), ratio(to.input(), to.attempts));
        let output = or_other(ratio(from.output(), from.attempts), ratio(to.output(), to.attempts));
        let units = |usd: Usd| usd.units() as f64;
        for k in 0..4 {
            let split =
                or_other(ratio(from.input_tokens[k], from.input()), ratio(to.input_tokens[k], to.input()));
            let price = or_other(
                ratio(units(from.input_usd[k]), from.input_tokens[k]),
                ratio(units(to.input_usd[k]), to.input_tokens[k]),
            );
            effects
                .add([Steps, Attempts, Context, CacheMix, Price], [steps, attempts, context, split, price]);
        }
        for k in 0..2 {
            let split = or_other(
                ratio(from.output_tokens[k], from.output()),
                ratio(to.output_tokens[k], to.output()),
            );
            let price = or_other(
                ratio(units(from.output_usd[k]), from.output_tokens[k]),
                ratio(units(to.output_usd[k]), to.output_tokens[k]),
            );
            let factors = [Steps, Attempts, Output, ReasoningSplit, Price];
            effects.add(factors, [steps, attempts, output, split, price]);
        }
        let fees = or_other(ratio(units(from.fees), from.attempts), ratio(units(to.fees), to.attempts));
        effects.add([Steps, Attempts, Fees], [steps, attempts, fees]);
        effects.add([Factor::OtherCalls], [(units(from.other_calls), units(to.other_calls))]);
        effects
    }

    fn add<const N: usize>(&mut self, factors: [Factor; N], values: [(f64, f64); N]) {
        let found = lmdi::effects(values.map(|(from, _)| from), values.map(|(_, to)| to));
        factors.into_iter().zip(found).for_each(|(factor, effect)| self.0[factor as usize] += effect);
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// A factor that one side does not have is the other's.
fn or_other(from: Option<f64>, to: Option<f64>) -> (f64, f64) {
    (from.or(to).unwrap_or(0.0), to.or(from).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_f64(dollars).unwrap()
    }

    fn effect(waterfall: &Waterfall, factor: Factor) -> f64 {
        waterfall.bars.iter().find(|bar| bar.factor == factor).map_or(0.0, |bar| bar.usd.as_f64())
    }

    /// Ten steps of a thousand uncached tokens at a dollar a million.
    fn run() -> Quantities {
        Quantities {
            steps: 10.0,
            attempts: 10.0,
            input_tokens: [0.0, 0.0, 0.0, 10_000.0],
            input_usd: [Usd::ZERO, Usd::ZERO, Usd::ZERO, usd(0.01)],
            ..Quantities::default()
        }
    }

    #[test]
    fn each_factor_alone() {
        let twice = |change: fn(&mut Quantities)| {
            let mut to = run();
            change(&mut to);
            Waterfall::between(&run(), &to)
        };
        let steps = twice(|to| {
            to.steps = 20.0;
            to.attempts = 20.0;
            to.input_tokens[3] *= 2.0;
            to.input_usd[3] = usd(0.02);
        });
        assert_eq!((effect(&steps, Factor::Steps), effect(&steps, Factor::Context)), (0.01, 0.0));
        let context = twice(|to| {
            to.input_tokens[3] *= 2.0;
            to.input_usd[3] = usd(0.02);
        });
        assert_eq!((effect(&context, Factor::Context), effect(&context, Factor::Steps)), (0.01, 0.0));
        let price = twice(|to| to.input_usd[3] = usd(0.02));
        assert_eq!((effect(&price, Factor::Price), effect(&price, Factor::Context)), (0.01, 0.0));
        // Half of the input came from the cache, at a tenth of the price.
        let cached = twice(|to| {
            to.input_tokens = [5_000.0, 0.0, 0.0, 5_000.0];
            to.input_usd = [usd(0.0005), Usd::ZERO, Usd::ZERO, usd(0.005)];
        });
        assert_eq!(cached.delta_usd.as_f64(), -0.0045);
        assert_eq!((effect(&cached, Factor::CacheMix), effect(&cached, Factor::Price)), (-0.0045, 0.0));
        assert_eq!(cached.main_factor().map(|bar| bar.factor), Some(Factor::CacheMix));
    }

    #[test]
    fn from_nothing_at_all() {
        let waterfall = Waterfall::between(&Quantities::default(), &run());
        assert_eq!(effect(&waterfall, Factor::Steps), 0.01);
        assert_eq!(waterfall.bars.iter().map(|bar| bar.usd).sum::<UsdDelta>(), waterfall.delta_usd);
    }

    prop_compose! {
        fn quantities()(
            steps in 0u32..50,
            attempts in 0u32..90,
            input in prop::array::uniform4(prop_oneof![Just(0u32), 0..3_000_000u32]),
            output in prop::array::uniform2(prop_oneof![Just(0u32), 0..100_000u32]),
            prices in prop::array::uniform6(0.0f64..80.0),
            fees in prop_oneof![Just(0.0), 0.0..1.0f64],
            other in prop_oneof![Just(0.0), 0.0..1.0f64],
        ) -> Quantities {
            let cost = |tokens: u32, price: f64| usd(f64::from(tokens) * price / 1e6);
            if steps == 0 || attempts == 0 {
                // Tokens and fees are those of attempts, and attempts those of steps.
                return Quantities { steps: steps.into(), other_calls: usd(other), ..Quantities::default() };
            }
            Quantities {
                steps: steps.into(),
                attempts: attempts.into(),
                input_tokens: input.map(f64::from),
                input_usd: std::array::from_fn(|k| cost(input[k], prices[k])),
                output_tokens: output.map(f64::from),
                output_usd: std::array::from_fn(|k| cost(output[k], prices[4 + k])),
                fees: usd(fees),
                other_calls: usd(other),
            }
        }
    }

    proptest! {
        /// Whatever the two runs are, the bars are the whole difference, and turn round with it.
        #[test]
        fn the_bars_are_the_difference(from in quantities(), to in quantities()) {
            let there = Waterfall::between(&from, &to);
            prop_assert_eq!(there.bars.iter().map(|bar| bar.usd).sum::<UsdDelta>(), there.delta_usd);
            prop_assert_eq!(UsdDelta::between(from.usd(), to.usd()), there.delta_usd);
            let back = Waterfall::between(&to, &from);
            for factor in Factor::ALL {
                let (there, back) = (effect(&there, factor), effect(&back, factor));
                prop_assert!((there + back).abs() <= 1e-9 * there.abs().max(1.0), "{factor:?} {there} {back}");
            }
        }
    }
}
