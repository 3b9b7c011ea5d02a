//! The metrics of many traces, as text.

use super::figures::{count, duration, percent, plural};
use super::sparkline::{histogram, sparkline_within};
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit, fit_right};
use jiff::Timestamp;
use looptape_core::cost::Usd;
use looptape_core::metrics::{
    CostFigures, Distribution, Health, HealthReport, Method, Ms, Percentile, Series, Stats, Threshold,
    Warmth, Window, WindowBasis,
};

/// One figure a line: name, value, what it means.
pub(crate) fn text(stats: &Stats, health: &HealthReport, style: Style) -> String {
    let quiet = |line: &str| style.paint(Tone::Quiet, line);
    let mut lines = heading(stats);
    lines.push(String::new());
    lines.push(rates(stats));
    lines.extend(concurrency(stats));
    lines.push(row("amplification", &decimal(stats.amplification), "attempts per loop"));
    lines.push(retries(stats, health, style));
    lines.extend(errors(stats).map(|line| style.paint(Tone::Warning, &line)));
    lines.push(String::new());
    lines.push(quiet(&distribution_heading()));
    lines.extend(distributions(stats, health, style));
    lines.push(String::new());
    lines.extend(time(stats));
    lines.extend(super::stats_use::tokens(stats));
    lines.extend(context(stats, health, style));
    lines.extend(warm_cold(stats));
    lines.push(String::new());
    lines.extend(super::stats_use::cost(stats, style));
    lines.extend(remarks(stats).map(|line| quiet(&line)));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What the set is, and over which window.
pub(super) fn heading(stats: &Stats) -> Vec<String> {
    vec![counts(stats), window(stats)]
}

const NAME: usize = 17;
const VALUE: usize = 10;
/// Columns of a histogram.
const SPREAD: usize = 12;
/// Columns of rates over time.
const SERIES: usize = 30;

pub(super) fn row(name: &str, value: &str, note: &str) -> String {
    format!("{}  {}  {note}", fit(name, NAME), fit_right(value, VALUE))
}

fn counts(stats: &Stats) -> String {
    let steps = &stats.of_steps;
    let mut parts = vec![
        plural(stats.traces as u32, "trace", "traces"),
        plural(stats.loops.started, "loop", "loops"),
        plural(steps.steps, "step", "steps"),
        plural(stats.tool_calls, "tool call", "tool calls"),
        plural(steps.attempts, "attempt", "attempts"),
    ];
    if stats.other_calls > 0 {
        parts.push(plural(stats.other_calls, "other call", "other calls"));
    }
    parts.join(" · ")
}

fn window(stats: &Stats) -> String {
    let Some(Window { start_unix_us, end_unix_us, basis }) = stats.window else {
        return "window: none, no trace has times of its own".to_owned();
    };
    let at = |us| Timestamp::from_microsecond(us).map(|t| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    let basis = match basis {
        WindowBasis::Given => "as given",
        WindowBasis::Observed => "first start to last end",
    };
    let length = duration(Ms::between(start_unix_us, end_unix_us));
    let (from, to) = (at(start_unix_us).unwrap_or_default(), at(end_unix_us).unwrap_or_default());
    format!("window: {length}, {from} to {to} ({basis})")
}

fn rates(stats: &Stats) -> String {
    let series = stats.series.as_ref().map(|series| over_time(&series.loops_per_min, series));
    let note = [Some(loops_note(stats)), series.flatten()];
    row("loops/min", &rate(stats.loops_per_min), &note.into_iter().flatten().collect::<Vec<_>>().join("  "))
}

/// Rates over time, if there is more than one stretch of it.
pub(super) fn over_time(values: &[f64], series: &Series) -> Option<String> {
    let each = Ms::from_us((series.bucket_s * 1e6) as i64);
    let columns = values.len().min(SERIES);
    let each = duration(Ms::from_us(each.us() * values.len().div_ceil(columns.max(1)) as i64));
    (values.len() > 1).then(|| format!("|{}| {each} a column", sparkline_within(values, SERIES)))
}

fn loops_note(stats: &Stats) -> String {
    let loops = stats.loops;
    let mut parts = vec![format!("{} completed", loops.completed)];
    for (n, what) in [
        (loops.success, "success"),
        (loops.failure, "failure"),
        (loops.abandoned, "abandoned"),
        (loops.unknown, "without an end"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    parts.join(", ")
}

pub(super) fn rate(per_min: Option<f64>) -> String {
    match per_min {
        None => "–".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.2}"),
        Some(rate) => format!("{rate:.1}"),
    }
}

fn decimal(n: Option<f64>) -> String {
    n.map_or("–".to_owned(), |n| format!("{n:.2}"))
}

fn concurrency(stats: &Stats) -> Option<String> {
    let at_once = stats.concurrency?;
    let note = format!(
        "loops on average, {} at most; calls {:.2}, {} at most",
        at_once.loops_peak, at_once.calls_mean, at_once.calls_peak
    );
    Some(row("concurrency", &format!("{:.2}", at_once.loops_mean), &note))
}

fn retries(stats: &Stats, health: &HealthReport, style: Style) -> String {
    let value = stats.of_steps.retry_rate.map_or("–".to_owned(), percent);
    let mut note = plural(stats.of_steps.retries, "retry", "retries");
    if stats.of_steps.retries > 0 {
        let lost = stats.retry_wasted_ms.map(duration);
        let paid = stats.retry_wasted_usd.filter(|usd| *usd > Usd::ZERO).map(|usd| usd.to_string());
        let lost: Vec<String> = lost.into_iter().chain(paid).collect();
        if !lost.is_empty() {
            note.push_str(&format!(", {} lost", lost.join(" and ")));
        }
    }
    row("retry rate", &value, &format!("{note}{}", judged("retry_rate", health.retry_rate, style)))
}

/// The mark of a figure, and what it is held to.
pub(super) fn judged(metric: &str, health: Option<Health>, style: Style) -> String {
    let tone = match health {
        None => return String::new(),
        Some(Health::Healthy) => Tone::Good,
        Some(Health::Warn) => Tone::Warning,
        Some(Health::Critical) => Tone::Bad,
    };
    let word = health.map_or("", Health::as_str);
    let held_to = Threshold::of(metric).map_or(String::new(), |held_to| {
        let critical = held_to.critical.map_or(String::new(), |critical| format!(", critical {critical}"));
        format!("(warn {}{critical})", held_to.warn)
    });
    format!("  {} {}", style.paint(tone, word), style.paint(Tone::Quiet, &held_to))
}

fn errors(stats: &Stats) -> Option<String> {
    let kinds: Vec<String> =
        stats.errors.0.iter().map(|(kind, n)| format!("{} × {}", n, escape(kind))).collect();
    let value = stats.error_rate.map_or("–".to_owned(), percent);
    (!kinds.is_empty()).then(|| row("error rate", &value, &kinds.join(", ")))
}

fn distribution_heading() -> String {
    let titles: String = ["p50", "p95", "p99"].iter().map(|t| format!("  {}", fit_right(t, VALUE))).collect();
    format!("{}{titles}  {}  least to largest", fit("", NAME), fit_right("n", 6))
}

/// A distribution, and how to show it.
struct Spread<'a> {
    name: &'static str,
    of: &'a Distribution,
    show: fn(f64) -> String,
    judged: String,
}

/// The distributions that a set has, in the order in which they are shown.
fn spreads(stats: &Stats) -> [Spread<'_>; 10] {
    let steps = &stats.of_steps;
    let spread = |name, of, show| Spread { name, of, show, judged: String::new() };
    [
        spread("steps per loop", &stats.steps_per_loop, whole),
        spread("step latency", &steps.step_latency_ms, ms),
        spread("loop duration", &stats.loop_duration_ms, ms),
        spread("loop cost", &stats.loop_cost_usd, usd),
        spread("TTFT", &steps.ttft_ms, ms),
        spread("TTFO", &steps.ttfo_ms, ms),
        spread("TPOT", &steps.tpot_ms, ms),
        spread("inter-chunk gap", &steps.icl_ms, ms),
        spread("out tokens/s", &steps.output_tokens_per_s, whole),
        spread("context used", &steps.context_used, percent),
    ]
}

/// How many are shown even if nothing is known of them.
const ALWAYS: usize = 3;

/// Those of which something is known. The time to the first output that is not reasoning is left out where there is
/// no reasoning.
fn distributions(stats: &Stats, health: &HealthReport, style: Style) -> Vec<String> {
    let mut all = spreads(stats);
    all[0].judged = judged("steps_per_loop", health.steps_per_loop, style);
    all[1].judged = judged("step_latency_ms", health.step_latency_ms, style);
    let says_more = |spread: &Spread<'_>| spread.name != "TTFO" || *spread.of != stats.of_steps.ttft_ms;
    let is_shown =
        |(place, spread): &(usize, &Spread<'_>)| *place < ALWAYS || (spread.of.n() > 0 && says_more(spread));
    all.iter().enumerate().filter(is_shown).map(|(_, spread)| distribution(spread)).collect()
}

fn distribution(spread: &Spread<'_>) -> String {
    let Spread { name, of, show, judged } = spread;
    let values: String = [of.p50(), of.p95(), of.p99()]
        .iter()
        .map(|p| format!("  {}", fit_right(&percentile(*p, *show), VALUE)))
        .collect();
    let picture = fit(&histogram(of, SPREAD), SPREAD);
    format!("{}{values}  {}  {picture}{judged}", fit(name, NAME), fit_right(&of.n().to_string(), 6))
}

/// A percentile; with `?` where its sample does not certify it.
pub(super) fn percentile(p: Option<Percentile>, show: fn(f64) -> String) -> String {
    match p {
        None => "–".to_owned(),
        Some(p) if p.certified => show(p.value),
        Some(p) => format!("{}?", show(p.value)),
    }
}

/// Of what never succeeded: longer than anything else.
pub(super) const ENDLESS: &str = "∞";

pub(super) fn whole(n: f64) -> String {
    format!("{n:.0}")
}

pub(super) fn ms(n: f64) -> String {
    if n.is_infinite() {
        return ENDLESS.to_owned();
    }
    duration(Ms::from_us((n * 1000.0).round() as i64))
}

pub(super) fn usd(n: f64) -> String {
    Usd::from_f64(n).map_or("–".to_owned(), |usd| usd.to_string())
}

fn time(stats: &Stats) -> Option<String> {
    let time = stats.time;
    let whole = time.duration_ms.filter(|whole| whole.us() > 0)?;
    let parts = [
        ("model", time.llm_ms),
        ("tools", time.tool_ms),
        ("both at once", time.overlap_ms),
        ("overhead", time.overhead_ms),
        ("tools or overhead", time.tool_or_overhead_ms),
    ];
    let part = |(name, part): (&str, Option<Ms>)| {
        let part = part.filter(|part| part.us() > 0)?;
        Some(format!("{name} {}", percent(part.us() as f64 / whole.us() as f64)))
    };
    let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
    Some(row("time in traces", &duration(whole), &parts.join(", ")))
}

fn context(stats: &Stats, health: &HealthReport, style: Style) -> Option<String> {
    let of = stats.of_steps.context;
    let trims = (of.trims > 0).then(|| plural(of.trims, "history trimmed", "histories trimmed"));
    let peak = of.context_used_peak.map(|_| {
        let above = plural(of.steps_above_75, "step above 75 %", "steps above 75 %");
        format!("at most; {above}, {} above 90 %", of.steps_above_90)
    });
    let unknown = stats.of_steps.context_used.unknown();
    let unknown = (unknown > 0).then(|| format!("unknown of {}", plural(unknown as u32, "step", "steps")));
    let notes: Vec<String> = [peak, trims, unknown].into_iter().flatten().collect();
    let value = of.context_used_peak.map_or("–".to_owned(), percent);
    let judged = judged("context_used", health.context_used, style);
    (!notes.is_empty()).then(|| row("context used", &value, &format!("{}{judged}", notes.join(", "))))
}

fn warm_cold(stats: &Stats) -> Vec<String> {
    let Some(both) = stats.warm_cold.as_ref().filter(|both| both.cold.calls + both.warm.calls > 0) else {
        return Vec::new();
    };
    let one = |name: &str, of: &Warmth, note: &str| {
        let ttft = of.ttft_ms.p50().map(|p50| format!(", TTFT p50 {}", percentile(Some(p50), ms)));
        let text = format!("{} loops/min{}{note}", rate(of.loops_per_min), ttft.unwrap_or_default());
        row(name, &of.calls.to_string(), &text)
    };
    let idle = duration(Ms::from_us((both.idle_s * 1e6) as i64));
    let cold = format!(" (the first after {idle} of silence)");
    vec![one("warm calls", &both.warm, ""), one("cold calls", &both.cold, &cold)]
}

pub(super) fn cost(cost: &CostFigures) -> String {
    amount(cost.usd, cost.at_least)
}

/// What is known of an amount.
pub(super) fn amount(usd: Option<Usd>, at_least: bool) -> String {
    match (usd, at_least) {
        (None, _) => "unknown".to_owned(),
        (Some(usd), true) => format!("≥{usd}"),
        (Some(usd), false) => usd.to_string(),
    }
}

/// `12.3k`, `≥12.3k`, `–`.
pub(super) fn tokens(n: Option<u64>, at_least: bool) -> String {
    n.map_or("–".to_owned(), |n| format!("{}{}", if at_least { "≥" } else { "" }, count(n)))
}

fn remarks(stats: &Stats) -> impl Iterator<Item = String> {
    let all = spreads(stats);
    let is_certified =
        |of: &Distribution| [of.p50(), of.p95(), of.p99()].iter().flatten().all(|p| p.certified);
    let uncertified = all.iter().any(|spread| !is_certified(spread.of)).then(|| UNCERTIFIED.to_owned());
    let rounded =
        all.iter().any(|spread| spread.of.method() == Method::Hdr3Digits).then(|| ROUNDED.to_owned());
    let some = uncertified.is_some() || rounded.is_some();
    some.then(String::new).into_iter().chain(uncertified).chain(rounded)
}

const UNCERTIFIED: &str =
    "? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)";
const ROUNDED: &str = "percentiles of more than a million values are from a histogram of three digits";

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::metrics::{LoopCounts, StepFigures};

    #[test]
    fn a_small_set() {
        let latencies = (0..60).map(|n| Ms::from_us(if n < 56 { 420_000 } else { 600_000 * (n - 53) }));
        let stats = Stats {
            traces: 12,
            window: Some(Window {
                start_unix_us: 1_793_491_200_000_000,
                end_unix_us: 1_793_491_920_000_000,
                basis: WindowBasis::Observed,
            }),
            window_s: Some(720.0),
            loops: LoopCounts {
                started: 12,
                completed: 11,
                success: 10,
                failure: 1,
                unknown: 1,
                ..LoopCounts::default()
            },
            loops_per_min: Some(0.9167),
            of_steps: StepFigures {
                steps: 60,
                attempts: 64,
                retries: 4,
                retry_rate: Some(4.0 / 60.0),
                step_latency_ms: Distribution::of_ms(latencies),
                ..StepFigures::default()
            },
            tool_calls: 48,
            retry_wasted_ms: Some(Ms::from_us(4_200_000)),
            retry_wasted_usd: Some(Usd::ZERO),
            amplification: Some(64.0 / 12.0),
            steps_per_loop: Distribution::of_counts([5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9]),
            cost: CostFigures { usd: Usd::from_f64(0.42), at_least: true, by_leaf: None },
            error_rate: Some(4.0 / 64.0),
            errors: looptape_core::metrics::ErrorCounts([("http_429".to_owned(), 4)].into()),
            series: Some(Series {
                bucket_s: 180.0,
                loops_per_min: vec![0.0, 1.0, 2.0, 0.5],
                ..Series::default()
            }),
            ..Stats::default()
        };
        let health = HealthReport::of(&stats);
        insta::assert_snapshot!(text(&stats, &health, Style { color: Color::Off, width: 100 }), @r"
        12 traces · 12 loops · 60 steps · 48 tool calls · 64 attempts
        window: 12m00s, 2026-11-01 00:00:00Z to 2026-11-01 00:12:00Z (first start to last end)

        loops/min                0.92  11 completed, 10 success, 1 failure, 1 without an end  | ▄█▂| 3m00s a column
        amplification            5.33  attempts per loop
        retry rate                7 %  4 retries, 4.20 s lost  warn (warn above 5 %, critical above 10 %)
        error rate                6 %  4 × http_429

                                  p50         p95         p99       n  least to largest
        steps per loop              5          9?          9?      12  █   ▂         healthy (warn p95 from 2 × p50)
        step latency           420 ms     1.80 s?     3.60 s?      60  █    ▁ ▁ ▁ ▁  warn (warn p99 from 2 × p50)
        loop duration               –           –           –       0

        tokens in                   –
        tokens out                  –

        cost                   ≥$0.42

        ? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)
        ");
    }

    #[test]
    fn nothing_at_all() {
        let text = text(&Stats::default(), &HealthReport::default(), Style { color: Color::Off, width: 80 });
        assert!(text.starts_with("0 traces · 0 loops") && text.contains("window: none"), "{text}");
    }
}
