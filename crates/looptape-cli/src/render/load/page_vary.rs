//! Runs with different values as a report in one file: side by side, over the value that was varied, then each of them.

use super::super::load_vary;
use super::page;
use super::words::shown;
use crate::commands::{AsRun, Varied};
use looptape_core::load::LoadFigures;
use looptape_core::spread::number;
use looptape_page::report::{Axis, Bar, Bars, Block, Curves, Ink, Line, Report, Section, Shape, Unit};

/// A figure that is drawn of each run.
struct Figure {
    title: &'static str,
    axis: &'static str,
    unit: Unit,
    of: fn(&LoadFigures) -> Option<f64>,
}

const FIGURES: [Figure; 4] = [
    Figure {
        title: "Successful loops per minute",
        axis: "loops/min",
        unit: Unit::Rate,
        of: |figures| figures.stats.successful_loops_per_min,
    },
    Figure {
        title: "Loop duration, p95",
        axis: "duration",
        unit: Unit::Duration,
        of: |figures| figures.stats.loop_duration_ms.p95().map(|p95| p95.value),
    },
    Figure {
        title: "Retry rate",
        axis: "retries per step",
        unit: Unit::Share,
        of: |figures| figures.stats.of_steps.retry_rate,
    },
    Figure { title: "Cost of a loop", axis: "dollars", unit: Unit::Usd, of: LoadFigures::usd_per_loop },
];

pub(crate) fn of_runs(runs: &[Varied], scenario: &AsRun<'_>) -> Report {
    let first = runs.first().map(|one| &one.run.report);
    let name = first.and_then(|report| report.scenario.as_deref()).map_or("load".to_owned(), shown);
    let keys: Vec<String> =
        runs.first().into_iter().flat_map(|one| &one.settings).map(|setting| shown(&setting.key)).collect();
    let seed = first.map_or(0, |report| report.seed);
    let lead = vec![format!("one run for each combination of values, in virtual time, seed {seed}")];
    let table = Block::Table(load_vary::table(runs).on_page("the runs"));
    let legend = load_vary::legend(runs).into_iter().map(Block::Text);
    let mut sections = vec![Section::open("Side by side", [table].into_iter().chain(legend).collect())];
    let curves: Vec<Block> = FIGURES.iter().filter_map(|figure| over_value(runs, figure)).collect();
    let bars: Vec<Block> = FIGURES.iter().filter_map(|figure| side_by_side(runs, figure)).collect();
    for (heading, blocks) in [("Over the values", curves), ("Run by run", bars)] {
        if !blocks.is_empty() {
            sections.push(Section::open(heading, blocks));
        }
    }
    sections.extend(runs.iter().map(|one| {
        let blocks = page::of_report(&one.run.report).into_iter().flat_map(|section| section.blocks);
        Section::closed(&load_vary::name(one), blocks.collect())
    }));
    sections.push(page::as_run(scenario));
    Report {
        title: format!("{name}: {} runs over {}", runs.len(), keys.join(", ")),
        lead,
        sections,
        ..Report::default()
    }
}

fn side_by_side(runs: &[Varied], figure: &Figure) -> Option<Block> {
    let bar = |one: &Varied| {
        let ink = if one.run.gates().passed { Ink::First } else { Ink::Bad };
        Bar { name: load_vary::name(one), value: (figure.of)(&one.run.report.total), ink }
    };
    let bars: Vec<Bar> = runs.iter().map(bar).collect();
    let shows = bars.iter().any(|bar| bar.value.is_some_and(|value| value != 0.0));
    let note = runs.iter().any(|one| !one.run.gates().passed).then(|| "red: a gate failed".to_owned());
    shows.then(|| Block::Bars(Bars { title: figure.title.to_owned(), note, unit: figure.unit, bars }))
}

/// Lines beyond these are hard to tell apart.
const INKS: [Ink; 6] = [Ink::First, Ink::Second, Ink::Third, Ink::Good, Ink::Bad, Ink::Reference];

/// The first key with three numbers or more makes the axis; every combination of the others is a line.
fn over_value(runs: &[Varied], figure: &Figure) -> Option<Block> {
    let keys = runs.first()?.settings.iter().map(|setting| setting.key.as_str());
    let (place, key, xs) = keys.enumerate().find_map(|(place, key)| {
        let mut xs: Vec<f64> = runs.iter().map(|one| value(one, place)).collect::<Option<_>>()?;
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        (xs.len() > 2).then_some((place, key, xs))
    })?;
    let mut names: Vec<String> = Vec::new();
    for one in runs {
        let name = others(one, place);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > INKS.len() {
        return None;
    }
    let line = |(name, ink): (&String, Ink)| {
        let at = |x: &f64| {
            let one = runs.iter().find(|one| value(one, place) == Some(*x) && others(one, place) == *name)?;
            (figure.of)(&one.run.report.total)
        };
        let shown = if name.is_empty() { figure.title } else { name };
        Line::new(shown, ink, xs.iter().map(at).collect()).shaped(Shape::Points)
    };
    let lines = names.iter().zip(INKS).map(line).collect();
    let curves = Curves {
        title: format!("{} over {}", figure.title, shown(key)),
        note: None,
        x: Axis::of(&shown(key), Unit::Count),
        y: Axis::of(figure.axis, figure.unit),
        xs,
        lines,
        marks: Vec::new(),
    };
    curves.shows_something().then_some(Block::Curves(curves))
}

fn value(one: &Varied, place: usize) -> Option<f64> {
    number(&one.settings.get(place)?.written).ok()
}

/// The values of the other keys.
fn others(one: &Varied, place: usize) -> String {
    let others = one.settings.iter().enumerate().filter(|(at, _)| *at != place);
    let others: Vec<String> =
        others.map(|(_, setting)| format!("{}={}", shown(&setting.key), shown(&setting.written))).collect();
    others.join(" ")
}
