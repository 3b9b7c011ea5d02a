//! A run under load as a report in one file: its plots, then the figures that the text has.

use super::super::figures::percent;
use super::super::{gates, stats};
use super::{plots, tables, words};
use crate::commands::{AsRun, LoadRun};
use looptape_core::gates::GateReport;
use looptape_core::load::{Ended, LoadFigures, LoadReport};
use looptape_page::report::{Block, KeyFigure, Notice, Report, Section, Table, Tone};

/// A run, and the scenario that it ran.
pub(crate) fn of_run(run: &LoadRun, scenario: &AsRun<'_>) -> Report {
    let report = &run.report;
    let mut lead = words::heading(report);
    let title = if lead.is_empty() { "load".to_owned() } else { lead.remove(0) };
    let mut sections: Vec<Section> = gates_section(run.gates()).into_iter().collect();
    sections.extend(of_report(report));
    sections.push(as_run(scenario));
    Report { title, lead, notices: notices(run), figures: key_figures(&report.total), sections }
}

/// What must not be overlooked: whether the figures can be used at all, then whether they are good.
fn notices(run: &LoadRun) -> Vec<Notice> {
    let notice = |tone, text| Notice { tone, text };
    let mut notices: Vec<Notice> = words::invalid(&run.report).map(|why| notice(Tone::Bad, why)).collect();
    let tone = match run.report.ended {
        Ended::Interrupted { .. } | Ended::OverBudget { .. } => Tone::Warning,
        _ => Tone::Bad,
    };
    notices.extend(words::ended(&run.report.ended).map(|why| notice(tone, why)));
    let gates = run.gates();
    if !gates.gates.is_empty() {
        let tone = if gates.passed { Tone::Good } else { Tone::Bad };
        notices.push(notice(tone, gates::verdict(gates)));
    }
    notices
}

fn key_figures(total: &LoadFigures) -> Vec<KeyFigure> {
    let (stats, loops) = (&total.stats, &total.stats.loops);
    let took = &stats.loop_duration_ms;
    let figure = |name: &str, value: String, note: String| KeyFigure { name: name.to_owned(), value, note };
    let share = match loops.started {
        0 => "–".to_owned(),
        started => percent(f64::from(loops.success) / f64::from(started)),
    };
    let retries = stats.of_steps.retry_rate.map_or("–".to_owned(), percent);
    let calls = stats.amplification.map_or(String::new(), |n| format!("{n:.2} calls a loop"));
    vec![
        figure("loops/min", stats::rate(stats.loops_per_min), format!("{} loops", loops.started)),
        figure("success", share, format!("{} failed, {} dropped", loops.failure, loops.dropped.unwrap_or(0))),
        figure(
            "loop duration p95",
            stats::percentile(took.p95(), stats::ms),
            format!("p50 {}", stats::percentile(took.p50(), stats::ms)),
        ),
        figure(
            "TTFT p95",
            stats::percentile(stats.of_steps.ttft_ms.p95(), stats::ms),
            format!("p50 {}", stats::percentile(stats.of_steps.ttft_ms.p50(), stats::ms)),
        ),
        figure("retry rate", retries, calls),
        figure(
            "cost of a loop",
            total.usd_per_loop().map_or("–".to_owned(), stats::usd),
            format!("all: {}", stats::cost(&stats.cost)),
        ),
        figure(
            "wasted",
            tables::wasted(total.wasted),
            format!("{} tokens", stats::tokens(Some(total.wasted.tokens), total.wasted.at_least)),
        ),
        figure(
            "a month of it",
            total.month_usd.map_or("–".to_owned(), stats::usd),
            stats.loops_per_usd.map_or(String::new(), |loops| format!("{loops:.1} loops a dollar")),
        ),
    ]
}

/// What had to hold, and how much room was left.
fn gates_section(report: &GateReport) -> Option<Section> {
    let row = |gate: &looptape_core::gates::GateResult| {
        vec![
            gates::mark(gate.verdict).to_owned(),
            gate.gate.clone(),
            gates::figure(gate),
            gates::remarks(gate),
        ]
    };
    let table = Table {
        caption: "what had to hold".to_owned(),
        words: 4,
        titles: ["", "gate", "figure", "margin"].map(str::to_owned).into(),
        rows: report.gates.iter().map(row).collect(),
    };
    (!report.gates.is_empty()).then(|| Section::open("Gates", vec![Block::Table(table)]))
}

/// Plots and tables of a run.
pub(super) fn of_report(report: &LoadReport) -> Vec<Section> {
    let mut sections = vec![
        Section::open("Over time", plots::over_time(report)),
        Section::open("By phase", plots::by_phase(report)),
        Section::open("How long loops took", plots::histogram(report)),
        Section::open("Figures", figures(report)),
    ];
    sections.retain(|section| !section.blocks.is_empty());
    sections
}

/// The text report's tables, what went wrong, and what the marks mean.
fn figures(report: &LoadReport) -> Vec<Block> {
    let tables = [
        ("loops by phase", tables::loops(report)),
        ("steps by phase", tables::steps(report)),
        ("cost by phase", tables::money(report)),
        ("steps by input tokens", tables::by_input(report)),
        ("steps by output tokens", tables::by_output(report)),
        ("steps by model", tables::by_model(report)),
    ];
    let tables = tables.into_iter().filter(|(_, table)| !table.is_empty());
    let outage = report.outage.iter().flat_map(words::outage);
    let named = words::troubles(&report.total).into_iter().chain(words::limits(&report.limits)).chain(outage);
    let texts = named
        .map(|(name, what)| format!("{name}: {what}"))
        .chain(words::lag(report))
        .chain(words::legend(report));
    tables
        .map(|(caption, table)| Block::Table(table.on_page(caption)))
        .chain(texts.map(Block::Text))
        .collect()
}

/// The scenario's text, and what was set besides.
pub(super) fn as_run(scenario: &AsRun<'_>) -> Section {
    let mut blocks = Vec::new();
    let settings: Vec<String> =
        scenario.settings.iter().map(|one| format!("{}={}", one.key, one.written)).collect();
    if !settings.is_empty() {
        blocks.push(Block::Text(format!("set for this run: {}", settings.join(", "))));
    }
    blocks.push(Block::Source(scenario.text.to_owned()));
    Section::open(&format!("The scenario: {}", scenario.name), blocks)
}
