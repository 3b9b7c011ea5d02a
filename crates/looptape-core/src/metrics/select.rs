//! Metrics by name: what gates, baselines and queries ask of a set of traces.
//!
//! A metric has a figure over the whole set, a distribution over its loops or steps, or both: `cost_usd` is the
//! cost of all of it, and its distribution that of its loops. What is not known is [`Figure::Unknown`] or
//! [`Figure::AtLeast`]; a distribution counts the values that it lacks ([`Distribution::unknown`]). Neither may
//! be taken for a good value.

use super::{CostSum, Distribution, Ms, Stats};
use crate::cost::Usd;

/// A metric that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    pub better: Better,
    read: fn(&Stats) -> (Option<Figure>, Option<&Distribution>),
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// More or less of it is neither good nor bad.
    Neither,
}

/// One figure over a whole set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    Known(f64),
    /// It may be larger: a part of it is not known.
    AtLeast(f64),
    Unknown,
}

/// A metric of a set of traces.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub metric: &'static Metric,
    /// Over the whole set, if the metric has such a figure.
    pub figure: Option<Figure>,
    /// Over its loops, steps or calls, if the metric is one of those.
    pub distribution: Option<&'a Distribution>,
}

/// Reads a metric by its name; `None` if there is no such metric.
pub fn select<'a>(stats: &'a Stats, name: &str) -> Option<Reading<'a>> {
    let metric = METRICS.iter().find(|metric| metric.name == name)?;
    let (figure, distribution) = (metric.read)(stats);
    Some(Reading { metric, figure, distribution })
}

impl Figure {
    fn of(value: Option<f64>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }

    pub fn of_costs(sum: &CostSum) -> Self {
        Self::of_usd(sum.usd(), sum.at_least())
    }

    fn of_usd(usd: Option<Usd>, at_least: bool) -> Self {
        match (usd.map(Usd::as_f64), at_least) {
            (None, _) => Self::Unknown,
            (Some(usd), true) => Self::AtLeast(usd),
            (Some(usd), false) => Self::Known(usd),
        }
    }

    fn of_tokens(tokens: Option<u64>, at_least: bool) -> Self {
        match (tokens, at_least) {
            (None, _) => Self::Unknown,
            (Some(tokens), true) => Self::AtLeast(tokens as f64),
            (Some(tokens), false) => Self::Known(tokens as f64),
        }
    }
}

type Read<'a> = (Option<Figure>, Option<&'a Distribution>);

fn count(n: u32) -> Read<'static> {
    (Some(Figure::Known(f64::from(n))), None)
}

fn optional(n: Option<u32>) -> Read<'static> {
    figure(n.map(f64::from))
}

fn figure(value: Option<f64>) -> Read<'static> {
    (Some(Figure::of(value)), None)
}

fn spread(distribution: &Distribution) -> Read<'_> {
    (None, Some(distribution))
}

fn tokens(stats: &Stats, leaf: Option<u64>) -> Read<'static> {
    (Some(Figure::of_tokens(leaf, stats.of_steps.tokens.at_least)), None)
}

fn columns(sum: &CostSum) -> Read<'static> {
    (Some(Figure::of_costs(sum)), None)
}

/// All metrics.
pub const METRICS: &[Metric] = {
    use Better::{Higher, Lower, Neither};
    const fn metric(
        name: &'static str,
        better: Better,
        what: &'static str,
        read: fn(&Stats) -> Read<'_>,
    ) -> Metric {
        Metric { name, what, better, read }
    }
    &[
        metric("loops_per_min", Higher, "completed loops per minute", |s| figure(s.loops_per_min)),
        metric("successful_loops_per_min", Higher, "successful loops per minute", |s| {
            figure(s.successful_loops_per_min)
        }),
        metric("loops_completed", Higher, "loops with an end", |s| count(s.loops.completed)),
        metric("loops_offered", Neither, "loops that a load run meant to start", |s| {
            optional(s.loops.offered)
        }),
        metric("loops_dropped", Lower, "offered loops that could not be started", |s| {
            optional(s.loops.dropped)
        }),
        metric("loops_failed", Lower, "loops that failed", |s| count(s.loops.failure)),
        metric("steps", Neither, "model steps", |s| count(s.of_steps.steps)),
        metric("steps_per_loop", Lower, "model steps of a loop", |s| spread(&s.steps_per_loop)),
        metric("tool_calls", Neither, "tool calls", |s| count(s.tool_calls)),
        metric("attempts", Lower, "HTTP attempts", |s| count(s.of_steps.attempts)),
        metric("amplification", Lower, "HTTP attempts per loop", |s| figure(s.amplification)),
        metric("retries", Lower, "attempts after the first of a step", |s| count(s.of_steps.retries)),
        metric("retry_rate", Lower, "retries per model step", |s| figure(s.of_steps.retry_rate)),
        metric("retry_wasted_ms", Lower, "time lost to retries", |s| {
            figure(s.retry_wasted_ms.map(Ms::as_f64))
        }),
        metric("retry_wasted_usd", Lower, "cost of attempts that were tried again", |s| {
            (Some(Figure::of_usd(s.retry_wasted_usd, false)), None)
        }),
        metric("loop_duration_ms", Lower, "wall time of a loop", |s| spread(&s.loop_duration_ms)),
        metric("step_latency_ms", Lower, "wall time of a step, retries included", |s| {
            spread(&s.of_steps.step_latency_ms)
        }),
        metric("ttft_ms", Lower, "time to the first output of a streamed answer", |s| {
            spread(&s.of_steps.ttft_ms)
        }),
        metric("ttfo_ms", Lower, "time to the first output that is no reasoning", |s| {
            spread(&s.of_steps.ttfo_ms)
        }),
        metric("tpot_ms", Lower, "time per output token after the first", |s| spread(&s.of_steps.tpot_ms)),
        metric("icl_ms", Lower, "gap between two pieces of a streamed answer", |s| {
            spread(&s.of_steps.icl_ms)
        }),
        metric("latency_ms", Lower, "wall time of a step's last attempt", |s| spread(&s.of_steps.latency_ms)),
        metric("input_tokens_per_s", Neither, "input tokens per second of the window", |s| {
            figure(s.token_rates.map(|rates| rates.input_tokens_per_s))
        }),
        metric(
            "output_tokens_per_s",
            Higher,
            "output tokens per second of an answer; its figure is that of the window",
            |s| {
                (
                    Some(Figure::of(s.token_rates.map(|rates| rates.output_tokens_per_s))),
                    Some(&s.of_steps.output_tokens_per_s),
                )
            },
        ),
        metric("context_used", Lower, "input tokens per token that the model takes", |s| {
            (Some(Figure::of(s.of_steps.context.context_used_peak)), Some(&s.of_steps.context_used))
        }),
        metric("steps_above_75", Lower, "steps that used more than 75 % of their context", |s| {
            count(s.of_steps.context.steps_above_75)
        }),
        metric("steps_above_90", Lower, "steps that used more than 90 % of their context", |s| {
            count(s.of_steps.context.steps_above_90)
        }),
        metric("trims", Lower, "requests with a shorter history than the one that they carry on from", |s| {
            count(s.of_steps.context.trims)
        }),
        metric("input_tokens", Lower, "input tokens, cached ones included", |s| {
            tokens(s, s.of_steps.tokens.input_total)
        }),
        metric("output_tokens", Lower, "output tokens, reasoning included", |s| {
            tokens(s, s.of_steps.tokens.output_total)
        }),
        metric("uncached_input", Lower, "input tokens at the full price", |s| {
            tokens(s, s.of_steps.tokens.uncached_input)
        }),
        metric("cache_read", Higher, "input tokens read from a cache", |s| {
            tokens(s, s.of_steps.tokens.cache_read)
        }),
        metric("cache_write_5m", Neither, "input tokens written to a cache for 5 minutes", |s| {
            tokens(s, s.of_steps.tokens.cache_write_5m)
        }),
        metric("cache_write_1h", Neither, "input tokens written to a cache for an hour", |s| {
            tokens(s, s.of_steps.tokens.cache_write_1h)
        }),
        metric("output_visible", Lower, "output tokens that the client sees", |s| {
            tokens(s, s.of_steps.tokens.output_visible)
        }),
        metric("reasoning", Lower, "output tokens spent on reasoning", |s| {
            tokens(s, s.of_steps.tokens.reasoning)
        }),
        metric("cache_hit_ratio", Higher, "cache reads per input token", |s| {
            figure(s.of_steps.cache_hit_ratio)
        }),
        metric("cost_usd", Lower, "cost; its distribution is that of loops", |s| {
            (Some(Figure::of_usd(s.cost.usd, s.cost.at_least)), Some(&s.loop_cost_usd))
        }),
        metric("recorded_usd", Lower, "what the model calls cost when they were recorded", |s| {
            columns(&s.columns.recorded)
        }),
        metric("list_usd", Lower, "what they would cost at list price today", |s| columns(&s.columns.list)),
        metric("loops_per_usd", Higher, "completed loops per dollar", |s| figure(s.loops_per_usd)),
        metric("errors", Lower, "failed attempts", |s| count(s.errors.total())),
        metric("error_rate", Lower, "failed attempts per attempt", |s| figure(s.error_rate)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_reads_something_of_an_empty_set() {
        let stats = Stats::default();
        for (place, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..place].iter().all(|other| other.name != metric.name), "{}", metric.name);
            let reading = select(&stats, metric.name).unwrap();
            assert!(reading.figure.is_some() || reading.distribution.is_some(), "{}", metric.name);
        }
        assert!(select(&stats, "loop_duration").is_none());
    }

    #[test]
    fn what_is_unknown_is_no_value() {
        let mut stats = Stats::default();
        let cost = |stats: &Stats| select(stats, "cost_usd").unwrap().figure;
        assert_eq!(cost(&stats), Some(Figure::Unknown));
        (stats.cost.usd, stats.cost.at_least) = (Usd::from_f64(0.5), true);
        assert_eq!(cost(&stats), Some(Figure::AtLeast(0.5)));
        assert_eq!(select(&stats, "retry_rate").unwrap().figure, Some(Figure::Unknown));
    }
}
