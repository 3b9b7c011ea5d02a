//! The metrics of many traces, as text.

use super::figures::{count, duration, percent, plural};
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit, fit_right};
use jiff::Timestamp;
use looptape_core::cost::Usd;
use looptape_core::metrics::{
    Distribution, Health, HealthReport, Ms, Percentile, Stats, Window, WindowBasis,
};

/// One figure a line: name, value, what it means.
pub(crate) fn text(stats: &Stats, health: &HealthReport, style: Style) -> String {
    let mut lines = vec![counts(stats), window(stats), String::new()];
    lines.push(row("loops/min", &rate(stats.loops_per_min), &loops_note(stats)));
    lines.push(row("amplification", &decimal(stats.amplification), "attempts per loop"));
    lines.push(retries(stats, health, style));
    lines.push(String::new());
    lines.push(style.paint(Tone::Quiet, &distribution_heading()));
    lines.push(distribution("steps per loop", &stats.steps_per_loop, whole, health.steps_per_loop, style));
    lines.push(distribution("step latency", &stats.step_latency_ms, ms, health.step_latency_ms, style));
    lines.push(distribution("TTFT", &stats.ttft_ms, ms, None, style));
    lines.push(distribution("loop duration", &stats.loop_duration_ms, ms, None, style));
    lines.push(String::new());
    lines.push(tokens(stats));
    lines.push(row("cost", &cost(stats.cost_usd, stats.cost_at_least), ""));
    let per_usd = stats.loops_per_usd.map_or("–".to_owned(), |n| format!("{n:.1}"));
    lines.push(row("loops per dollar", &per_usd, ""));
    lines.extend(errors(stats).map(|line| style.paint(Tone::Warning, &line)));
    if uncertified(stats) {
        lines.push(String::new());
        lines.push(style.paint(Tone::Quiet, UNCERTIFIED));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

const UNCERTIFIED: &str =
    "? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)";

fn row(name: &str, value: &str, note: &str) -> String {
    format!("{}  {}  {note}", fit(name, 17), fit_right(value, 10))
}

fn counts(stats: &Stats) -> String {
    let traces = plural(stats.traces as u32, "trace", "traces");
    let loops = plural(stats.loops.started, "loop", "loops");
    let mut parts = vec![traces, loops, plural(stats.steps, "step", "steps")];
    parts.push(plural(stats.tool_calls, "tool call", "tool calls"));
    parts.push(plural(stats.attempts, "attempt", "attempts"));
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

fn rate(per_min: Option<f64>) -> String {
    match per_min {
        None => "–".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.2}"),
        Some(rate) => format!("{rate:.1}"),
    }
}

fn decimal(n: Option<f64>) -> String {
    n.map_or("–".to_owned(), |n| format!("{n:.2}"))
}

fn retries(stats: &Stats, health: &HealthReport, style: Style) -> String {
    let value = stats.retry_rate.map_or("–".to_owned(), percent);
    let mut note = plural(stats.retries, "retry", "retries");
    if stats.retries > 0 {
        let lost = stats.retry_wasted_ms.map(duration);
        let paid = stats.retry_wasted_usd.filter(|usd| *usd > Usd::ZERO).map(|usd| usd.to_string());
        let lost: Vec<String> = lost.into_iter().chain(paid).collect();
        if !lost.is_empty() {
            note.push_str(&format!(", {} lost", lost.join(" and ")));
        }
    }
    row("retry rate", &value, &format!("{note}{}", judged(health.retry_rate, style)))
}

fn judged(health: Option<Health>, style: Style) -> String {
    let tone = match health {
        None => return String::new(),
        Some(Health::Healthy) => Tone::Good,
        Some(Health::Warn) => Tone::Warning,
        Some(Health::Critical) => Tone::Bad,
    };
    let word = health.map_or("", Health::as_str);
    format!("  {}", style.paint(tone, word))
}

fn distribution_heading() -> String {
    let titles: String = ["p50", "p95", "p99"].iter().map(|t| format!("  {}", fit_right(t, 10))).collect();
    format!("{}{titles}  {}", fit("", 17), fit_right("n", 6))
}

fn distribution(
    name: &str,
    of: &Distribution,
    show: fn(f64) -> String,
    health: Option<Health>,
    style: Style,
) -> String {
    let value = |p: Option<Percentile>| match p {
        None => "–".to_owned(),
        Some(p) if p.certified => show(p.value),
        Some(p) => format!("{}?", show(p.value)),
    };
    let values: String =
        [of.p50(), of.p95(), of.p99()].iter().map(|p| format!("  {}", fit_right(&value(*p), 10))).collect();
    let n = of.n();
    format!("{}{values}  {}{}", fit(name, 17), fit_right(&n.to_string(), 6), judged(health, style))
}

fn whole(n: f64) -> String {
    format!("{n:.0}")
}

fn ms(n: f64) -> String {
    duration(Ms::from_us((n * 1000.0).round() as i64))
}

fn uncertified(stats: &Stats) -> bool {
    [&stats.steps_per_loop, &stats.step_latency_ms, &stats.ttft_ms, &stats.loop_duration_ms]
        .iter()
        .flat_map(|of| [of.p50(), of.p95(), of.p99()])
        .flatten()
        .any(|p| !p.certified)
}

fn tokens(stats: &Stats) -> String {
    let of = &stats.tokens;
    let bound = if of.at_least { "≥" } else { "" };
    let some = |n: Option<u64>| n.map_or("–".to_owned(), |n| format!("{bound}{}", count(n)));
    let cached = stats.cache_hit_ratio.map(|ratio| format!("{} of the input from the cache", percent(ratio)));
    let reasoning = of.reasoning.filter(|n| *n > 0).map(|n| format!("{} reasoning", count(n)));
    let notes: Vec<String> =
        [Some(format!("{} out", some(of.output_total))), reasoning, cached].into_iter().flatten().collect();
    row("tokens in", &some(of.input_total), &notes.join(", "))
}

fn cost(usd: Option<Usd>, at_least: bool) -> String {
    match (usd, at_least) {
        (None, _) => "unknown".to_owned(),
        (Some(usd), true) => format!("≥{usd}"),
        (Some(usd), false) => usd.to_string(),
    }
}

fn errors(stats: &Stats) -> Option<String> {
    let kinds: Vec<String> =
        stats.errors.0.iter().map(|(kind, n)| format!("{} × {}", n, escape(kind))).collect();
    let value = stats.error_rate.map_or("–".to_owned(), percent);
    (!kinds.is_empty()).then(|| row("error rate", &value, &kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::metrics::LoopCounts;

    #[test]
    fn a_small_set() {
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
                abandoned: 0,
                unknown: 1,
            },
            loops_per_min: Some(0.9167),
            steps: 60,
            tool_calls: 48,
            attempts: 64,
            retries: 4,
            retry_rate: Some(4.0 / 60.0),
            retry_wasted_ms: Some(Ms::from_us(4_200_000)),
            retry_wasted_usd: Some(Usd::ZERO),
            amplification: Some(64.0 / 12.0),
            steps_per_loop: Distribution::of_counts([5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9]),
            step_latency_ms: Distribution::of_ms((0..60).map(|n| {
                Ms::from_us(if n < 56 {
                    420_000
                } else if n < 59 {
                    1_800_000
                } else {
                    2_400_000
                })
            })),
            cost_usd: Usd::from_f64(0.42),
            cost_at_least: true,
            error_rate: Some(4.0 / 64.0),
            errors: looptape_core::metrics::ErrorCounts([("http_429".to_owned(), 4)].into()),
            ..Stats::default()
        };
        let health = HealthReport::of(&stats);
        insta::assert_snapshot!(text(&stats, &health, Style { color: Color::Off, width: 100 }), @r"
        12 traces · 12 loops · 60 steps · 48 tool calls · 64 attempts
        window: 12m00s, 2026-11-01 00:00:00Z to 2026-11-01 00:12:00Z (first start to last end)

        loops/min                0.92  11 completed, 10 success, 1 failure, 1 without an end
        amplification            5.33  attempts per loop
        retry rate                7 %  4 retries, 4.20 s lost  warn

                                  p50         p95         p99       n
        steps per loop              5          9?          9?      12  healthy
        step latency           420 ms     1.80 s?     2.40 s?      60  warn
        TTFT                        –           –           –       0
        loop duration               –           –           –       0

        tokens in                   –  – out
        cost                   ≥$0.42
        loops per dollar            –
        error rate                6 %  4 × http_429

        ? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)
        ");
    }

    #[test]
    fn nothing_at_all() {
        let text = text(&Stats::default(), &HealthReport::default(), Style { color: Color::Off, width: 80 });
        assert!(text.starts_with("0 traces · 0 loops") && text.contains("window: none"), "{text}");
    }
}
