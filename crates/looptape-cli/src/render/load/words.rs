//! What is said of a run besides its figures: what it was, what went wrong, what has to be known to read it. Each is a
//! line of text, in which nothing can act on a terminal.

use super::super::figures::{count, duration, percent, plural};
use super::super::limits::evidence;
use super::super::stats::{ENDLESS, ms, percentile, usd};
use super::super::terminal_text::escape;
use super::tables::parts;
use looptape_core::budget::Exhausted;
use looptape_core::limits::{FittedAccount, FittedLimit};
use looptape_core::load::{Ended, LoadFigures, LoadReport, OutageReport, PriceNote, RunTime, StoodIn};
use looptape_core::metrics::{Distribution, Method, Ms};

pub(super) fn shown(name: &str) -> String {
    escape(name)
}

/// Its name and size, then what it asked and how.
pub(super) fn heading(report: &LoadReport) -> Vec<String> {
    let stats = &report.total.stats;
    let name = report.scenario.as_deref().map_or("load".to_owned(), escape);
    let length = stats.window_s.map_or("no time".to_owned(), seconds);
    let clock = match report.time {
        RunTime::Virtual => "virtual time",
        RunTime::Real => "real time",
    };
    let models: Vec<String> = report.prices.iter().map(|note| escape(&note.model)).collect();
    let streamed = if report.stream { "streamed" } else { "not streamed" };
    let again = match report.retry.max {
        0 => "no retries".to_owned(),
        max => format!("retried as {} does, {}", report.retry.profile.as_str(), times(max)),
    };
    let loops = plural(stats.loops.started, "loop", "loops");
    let models = models.join(", ");
    let asked = match &report.command {
        Some(command) if models.is_empty() => format!("each loop runs {}", escape(command)),
        Some(command) => format!("{models}: each loop runs {}", escape(command)),
        None => format!("{models} over {}, {streamed}; {again}", report.wire),
    };
    vec![format!("{name}: {length} of {clock}, {loops}, seed {}", report.seed), asked]
}

fn times(max: u32) -> String {
    match max {
        1 => "once at most".to_owned(),
        2 => "twice at most".to_owned(),
        max => format!("{max} times at most"),
    }
}

/// Attempts that failed, by kind and by limit: a name and what there is to say.
pub(super) fn troubles(total: &LoadFigures) -> Vec<(&'static str, String)> {
    let errors = &total.stats.errors.0;
    if errors.is_empty() {
        return Vec::new();
    }
    let kinds: Vec<String> =
        errors.iter().map(|(kind, n)| format!("{} × {}", count(u64::from(*n)), escape(kind))).collect();
    let share =
        total.stats.error_rate.map_or(String::new(), |share| format!(" ({} of calls)", percent(share)));
    let mut lines = vec![("errors", kinds.join(", ") + &share)];
    if !total.limited.is_empty() {
        let limits = total.limited.iter();
        let limits: Vec<String> = limits
            .map(|(limit, n)| format!("{} × {}", count(u64::from(*n)), limit.replace('_', " ")))
            .collect();
        lines.push(("refused by", limits.join(", ")));
    }
    lines
}

/// What calls showed of the target's limits: a line each.
pub(super) fn limits(accounts: &[FittedAccount]) -> Vec<(&'static str, String)> {
    let several = accounts.len() > 1;
    let line = |account: &FittedAccount, limit: &FittedLimit| {
        let of = if several { format!(" ({})", escape(&account.account)) } else { String::new() };
        let name = format!("{} {}{of}", limit.which.as_str(), count(limit.limit));
        ("limit", format!("{name}: {}", evidence(limit)))
    };
    accounts.iter().flat_map(|account| account.limits.iter().map(move |limit| line(account, limit))).collect()
}

/// What an outage did.
pub(super) fn outage(outage: &OutageReport) -> Vec<(&'static str, String)> {
    let recovered = match outage.recovered_after_s {
        Some(0.0) => "as before from its end on".to_owned(),
        Some(after_s) => format!("as before again {} after it", seconds(after_s)),
        None if outage.success_before.is_none() => "too few loops before it to compare with".to_owned(),
        None => "not as before again in this run".to_owned(),
    };
    let lost = plural(outage.loops_lost, "loop", "loops");
    let (from, until) = (seconds(outage.from_s), seconds(outage.until_s));
    let mut lines = vec![("outage", format!("{from} to {until}; {recovered}; {lost} lost"))];
    if let Some(StoodIn { calls, lost_cache_usd, other_prices_usd }) = outage.stood_in {
        let dollars = |usd: Option<f64>| usd.map_or("an unknown amount".to_owned(), difference);
        let (cache, prices) = (dollars(lost_cache_usd), dollars(other_prices_usd));
        let what = format!("{} calls; {cache} for the lost cache, {prices} for other prices", count(calls));
        lines.push(("stood in", what));
    }
    lines
}

/// An amount that may be below 0.
fn difference(dollars: f64) -> String {
    let sign = if dollars < 0.0 { "−" } else { "" };
    format!("{sign}{}", usd(dollars.abs()))
}

/// Why it ended, if not because it was done.
pub(in crate::render) fn ended(ended: &Ended) -> Option<String> {
    let after = |at_s: f64| format!("stopped after {}", seconds(at_s));
    Some(match ended {
        Ended::Completed => return None,
        Ended::TargetDown { at_s, calls, error } => format!(
            "{}: {calls} calls in a row had no answer ({}): see whether the target is up",
            after(*at_s),
            escape(error)
        ),
        Ended::OverBudget { at_s, limit: Exhausted { of, max_usd } } => {
            let of = if *of == "day" { "today (UTC)" } else { "this run" };
            format!(
                "{}: the next call could have cost more than is left of the {max_usd} for {of}",
                after(*at_s)
            )
        }
        Ended::GateFailed { at_s, gate, figure } => {
            let figure = figure.map_or(String::new(), |figure| format!(" ({figure:.4})"));
            format!("{}: {gate} failed{figure}", after(*at_s))
        }
        Ended::CommandFailed { at_s, loops: 1, error } => format!("{}: {}", after(*at_s), escape(error)),
        Ended::CommandFailed { at_s, loops, error } => format!(
            "{}: {loops} loops in a row ended with an error before they asked a model ({})",
            after(*at_s),
            escape(error)
        ),
        Ended::RecordingUnreadable { at_s, error } => {
            format!("{}: a recorded request cannot be read: {}", after(*at_s), escape(error))
        }
        Ended::Interrupted { at_s } => format!("interrupted after {}", seconds(*at_s)),
    })
}

/// Why the client was measured, and not the target.
pub(super) fn invalid(report: &LoadReport) -> impl Iterator<Item = String> {
    let because = report.client.iter().flat_map(|client| &client.invalid_because);
    because.map(|why| format!("INVALID: {why}"))
}

/// How late the client was.
pub(super) fn lag(report: &LoadReport) -> Option<String> {
    let lag = report.client.as_ref()?.schedule_lag_ms.p99();
    Some(format!("loops began {} late in the worst of a hundred", percentile(lag, ms)))
}

/// What the marks mean that are there, and what is not known.
pub(super) fn legend(report: &LoadReport) -> Vec<String> {
    let all = || parts(report).flat_map(|(_, figures)| distributions(figures));
    let mut lines = Vec::new();
    if all().any(|of| [of.p50(), of.p95(), of.p99()].iter().flatten().any(|p| !p.certified)) {
        lines.push(
            "? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)"
                .to_owned(),
        );
    }
    if all().any(|of| of.endless() > 0) {
        lines.push(format!("{ENDLESS} a loop that failed counts as longer than any other"));
    }
    if all().any(|of| of.method() == Method::Hdr3Digits) {
        lines.push("percentiles of more than 16,384 values are from a histogram of three digits".to_owned());
    }
    lines.extend(report.prices.iter().filter_map(unpriced));
    lines
}

fn unpriced(note: &PriceNote) -> Option<String> {
    let why = super::super::prices::why_unpriced(note.unpriced?);
    Some(format!("no price is known of {}: {why}", escape(&note.model)))
}

fn distributions(figures: &LoadFigures) -> [&Distribution; 4] {
    let stats = &figures.stats;
    [&stats.loop_duration_ms, &stats.steps_per_loop, &stats.of_steps.step_latency_ms, &stats.of_steps.ttft_ms]
}

fn seconds(s: f64) -> String {
    duration(Ms::from_us((s * 1e6) as i64))
}
