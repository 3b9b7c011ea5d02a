//! Load runs that are kept: a list, and what came of one.

use super::figures::percent;
use super::ls::age;
use super::stats::{ms, percentile, rate, usd};
use super::style::{Style, Tone};
use super::table::Table;
use super::terminal_text::escape;
use looptape_page::reading::load_runs::{Gist, ListedRun, LoadRun, Part, ReadPercentile};

/// A row a run.
pub(crate) fn table(runs: &[ListedRun], now_unix_us: i64, style: Style) -> String {
    let titles = [
        "",
        "run",
        "scenario",
        "what",
        "started",
        "offered",
        "success",
        "failed",
        "loops/min",
        "retries",
        "cost",
    ];
    let count = |n: Option<u32>| n.map_or(UNKNOWN.to_owned(), |n| n.to_string());
    let row = |run: &ListedRun| {
        [
            mark(run.passed, &run.invalid_because).to_owned(),
            escape(&run.id),
            escape(run.scenario.as_deref().unwrap_or(UNKNOWN)),
            match &run.time {
                Some(time) => format!("{}, {}", run.kind, escape(time)),
                None => run.kind.to_owned(),
            },
            age(now_unix_us, run.started_unix_us),
            count(run.offered),
            count(run.success),
            count(run.failure),
            rate(run.loops_per_min),
            run.retry_rate.map_or(UNKNOWN.to_owned(), percent),
            run.cost_usd.map_or(UNKNOWN.to_owned(), usd),
        ]
    };
    lines(&Table::new(titles, 5, runs.iter().map(row).collect()), style)
}

/// What came of one: its figures by phase, rate or value.
pub(crate) fn text(run: &LoadRun, now_unix_us: i64, style: Style) -> String {
    let gist = Gist::of(run.report.get());
    let name = run.scenario.as_deref().map_or("no name".to_owned(), escape);
    let time = gist.time.as_deref().map_or(String::new(), |time| format!(" in {} time", escape(time)));
    let head =
        format!("{name}: load run {}{time}, {}", escape(&run.id), age(now_unix_us, run.started_unix_us));
    let mut out = style.paint(Tone::Strong, &head) + "\n";
    out.extend(found(&gist).map(|line| line + "\n"));
    let invalid = gist.client.iter().flat_map(|client| &client.invalid_because);
    out.extend(invalid.map(|why| format!("not the target's figures: {}\n", escape(why))));
    for table in [parts(&gist), probes(&gist), variants(&gist)] {
        if !table.is_empty() {
            out.push('\n');
            out.push_str(&lines(&table, style));
        }
    }
    let more = format!(
        "\nall figures: looptape show {0} --json; with plots: looptape ui, at /ui/load/{0}\n",
        escape(&run.id)
    );
    out + &style.paint(Tone::Quiet, &more)
}

const UNKNOWN: &str = "–";

/// Whether its gates hold.
fn mark(passed: Option<bool>, invalid_because: &[String]) -> &'static str {
    match passed {
        _ if !invalid_because.is_empty() => "!",
        Some(true) => "✓",
        Some(false) => "✗",
        None => " ",
    }
}

/// What a search found, and whether gates hold.
fn found(gist: &Gist) -> impl Iterator<Item = String> {
    let takes = gist.loops_per_min.map(|takes| format!("it takes {} loops/min", rate(Some(takes))));
    let fails = gist.fails_at_per_min.map(|fails| format!("; at {} something gives", rate(Some(fails))));
    let knee = gist.knee_per_min.map(|knee| format!("; the knee is at {}", rate(Some(knee))));
    let search = (!gist.probes.is_empty()).then(|| {
        let takes = takes.unwrap_or_else(|| "it held at no rate that was tried".to_owned());
        [Some(takes), fails, knee].into_iter().flatten().collect()
    });
    let gates = gist.gates.as_ref().filter(|gates| !gates.gates.is_empty());
    let gates = gates.map(|gates| if gates.passed { "gates: all hold" } else { "gates: some fail" });
    search.into_iter().chain(gates.map(str::to_owned))
}

const FIGURES: [&str; 9] =
    ["offered", "success", "failed", "dropped", "loops/min", "loop p50", "p95", "retries", "cost"];

/// Below a heading and a name of its own.
fn figures_of(title: &'static str, rows: Vec<(String, &Part)>) -> Table {
    let mut titles = [title; 10];
    titles[1..].copy_from_slice(&FIGURES);
    let row = |(name, part): (String, &Part)| {
        let loops = |read: fn(&looptape_page::reading::load_runs::Loops) -> Option<u32>| {
            part.loops.as_ref().and_then(read).map_or(UNKNOWN.to_owned(), |n| n.to_string())
        };
        let at = |p: Option<ReadPercentile>| percentile(p.map(Into::into), ms);
        let least = if part.cost_at_least { "≥" } else { "" };
        [
            name,
            loops(|loops| loops.offered),
            loops(|loops| Some(loops.success)),
            loops(|loops| Some(loops.failure)),
            loops(|loops| loops.dropped),
            rate(part.loops_per_min),
            at(part.loop_duration_ms.p50),
            at(part.loop_duration_ms.p95),
            part.retry_rate.map_or(UNKNOWN.to_owned(), percent),
            part.cost_usd.map_or(UNKNOWN.to_owned(), |cost| format!("{least}{}", usd(cost))),
        ]
    };
    Table::new(titles, 1, rows.into_iter().map(row).collect())
}

fn parts(gist: &Gist) -> Table {
    let total = gist.total.loops.is_some().then(|| ("all".to_owned(), &gist.total));
    let phases = gist.phases.iter().map(|phase| (escape(&phase.name), phase));
    figures_of("phase", phases.chain(total).collect())
}

fn variants(gist: &Gist) -> Table {
    let rows = gist.runs.iter().map(|variant| {
        let settings = variant.settings.iter();
        let settings: Vec<String> =
            settings.map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        (settings.join(" "), &variant.total)
    });
    figures_of("", rows.collect())
}

fn probes(gist: &Gist) -> Table {
    let rows = gist.probes.iter().map(|probe| {
        let mark = if probe.holds { "✓" } else { "✗" };
        [mark.to_owned(), rate(Some(probe.offered_per_min)), rate(Some(probe.goodput_per_min))]
    });
    Table::new(["", "offered/min", "goodput/min"], 1, rows.collect())
}

fn lines(table: &Table, style: Style) -> String {
    let lines = table.lines().into_iter().enumerate();
    lines.map(|(at, line)| if at == 0 { style.paint(Tone::Quiet, &line) } else { line } + "\n").collect()
}
