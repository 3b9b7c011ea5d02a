//! How many loops a provider takes: the rates that were tried, and what each came to.

use super::figures::{duration, percent};
use super::groups;
use super::stats::{ms, percentile, rate};
use super::style::{Style, Tone};
use super::table::Table;
use super::terminal_text::escape;
use crate::commands::Sought;
use looptape_core::load::{CutShort, Probe, RunTime};
use looptape_core::metrics::{Health, Ms};

pub(crate) fn text(sought: &Sought, style: Style) -> String {
    let tone = if sought.capacity.loops_per_min.is_some() { Tone::Strong } else { Tone::Bad };
    let mut lines = vec![style.paint(tone, &verdict(sought)), held(sought)];
    lines.extend(knee(sought));
    lines.extend(cut_short(sought));
    lines.push(String::new());
    for (line, place) in table(sought).lines().into_iter().zip(0..) {
        lines.push(if place == 0 { style.paint(Tone::Quiet, &line) } else { line });
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A row a rate.
pub(super) fn table(sought: &Sought) -> Table {
    let titles =
        ["", "offered/min", "goodput/min", "success", "loop p50", "p95", "p99", "retries", "at once"];
    Table::new(titles, 1, sought.capacity.probes.iter().map(row).collect())
}

/// What was found.
pub(super) fn verdict(sought: &Sought) -> String {
    let name = sought.scenario.as_deref().map_or("the provider".to_owned(), escape);
    let capacity = &sought.capacity;
    match (capacity.loops_per_min, capacity.fails_at_per_min) {
        (Some(holds), Some(fails)) => {
            format!("{name} takes {} loops/min; at {} something gives", rate(Some(holds)), rate(Some(fails)))
        }
        (Some(holds), None) => {
            format!("{name} takes {} loops/min, and more was not tried", rate(Some(holds)))
        }
        (None, Some(fails)) => format!("{name} does not even take {} loops/min", rate(Some(fails))),
        (None, None) => "nothing was tried".to_owned(),
    }
}

/// What had to hold.
pub(super) fn held(sought: &Sought) -> String {
    let step = duration(Ms::from_us((sought.step_s * 1_000_000) as i64));
    let clock = match sought.time {
        RunTime::Real => " of real time",
        RunTime::Virtual => "",
    };
    let slo = match sought.slo.as_slice() {
        [] => "goodput follows what is offered".to_owned(),
        gates => format!("goodput follows what is offered, and {}", gates.join(", ")),
    };
    format!("what had to hold: {slo}; {step}{clock} at each rate, seed {}", sought.seed)
}

/// Where goodput does not follow any more, and why.
pub(super) fn knee(sought: &Sought) -> Option<String> {
    let capacity = &sought.capacity;
    let knee = capacity.knee_per_min?;
    let probe = capacity.probes.iter().find(|probe| !probe.follows)?;
    let limits = probe.report.total.limited.iter().max_by_key(|(_, n)| **n);
    let why = match limits {
        Some((limit, _)) => format!(": most calls were refused by {}", limit.replace('_', " ")),
        None if probe.report.total.stats.errors.0.contains_key("http_529") => {
            ": the provider's queue was full".to_owned()
        }
        None => ": its queue grows".to_owned(),
    };
    Some(format!("the knee: at {} loops/min goodput does not follow any more{why}", rate(Some(knee))))
}

/// Why more is not known.
pub(super) fn cut_short(sought: &Sought) -> Vec<String> {
    let capacity = &sought.capacity;
    let client = capacity.probes.iter().find(|probe| !probe.invalid_because.is_empty());
    let client = client.map(|probe| {
        let why = probe.invalid_because.first().map_or("", String::as_str);
        format!("at {} loops/min it is the client that gives: {why}", rate(Some(probe.offered_per_min)))
    });
    let early = capacity.cut_short.as_ref().map(|why| match why {
        CutShort::Ended => {
            "the search ended before it had found out: give it more time with --within".to_owned()
        }
        CutShort::Step { ended } => {
            let why = super::load::ended(ended).unwrap_or_default();
            format!("the search ended before it had found out: its last step was {why}")
        }
    });
    client.into_iter().chain(early).collect()
}

fn row(probe: &Probe) -> [String; 9] {
    let stats = &probe.report.total.stats;
    let took = &stats.loop_duration_ms;
    let share = f64::from(stats.loops.success) / f64::from(stats.loops.offered.unwrap_or(0).max(1));
    let failed: Vec<&str> = probe.gates.failures().map(|gate| gate.gate.as_str()).collect();
    let verdict = match (probe.holds, probe.follows) {
        (true, _) => "✓".to_owned(),
        (false, _) if !probe.invalid_because.is_empty() => "✗ client".to_owned(),
        (false, false) => "✗ goodput".to_owned(),
        (false, true) => format!("✗ {}", failed.join(", ")),
    };
    [
        verdict,
        rate(Some(probe.offered_per_min)),
        rate(Some(probe.goodput_per_min)),
        percent(share),
        percentile(took.p50(), ms),
        percentile(took.p95(), ms),
        percentile(took.p99(), ms),
        groups::ratio(stats.of_steps.retry_rate, Health::of_retry_rate),
        stats.concurrency.map_or("–".to_owned(), |one| format!("{:.1}", one.loops_mean)),
    ]
}
