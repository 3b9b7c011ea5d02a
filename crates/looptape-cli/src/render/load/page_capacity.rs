//! A search of the capacity as a report in one file: goodput against what was offered, the knee marked, then each rate.

use super::super::load_capacity;
use super::super::stats::rate;
use super::page;
use super::plots::{PERCENTILES, scaled};
use crate::commands::{AsRun, Sought};
use looptape_core::load::{Capacity, Probe};
use looptape_core::metrics::Percent;
use looptape_page::report::{
    Axis, Block, Curves, Ink, Line, Mark, Notice, Report, Section, Shape, Tone, Unit,
};

pub(crate) fn of_search(sought: &Sought, scenario: &AsRun<'_>) -> Report {
    let capacity = &sought.capacity;
    let tone = if capacity.loops_per_min.is_some() { Tone::Good } else { Tone::Bad };
    let mut notices = vec![Notice { tone, text: load_capacity::verdict(sought) }];
    notices.extend(load_capacity::knee(sought).map(|text| Notice { tone: Tone::Warning, text }));
    let early = load_capacity::cut_short(sought).into_iter();
    notices.extend(early.map(|text| Notice { tone: Tone::Warning, text }));
    let name = sought.scenario.as_deref().map_or("load".to_owned(), super::words::shown);
    let plots = [goodput(capacity), durations(capacity), retries(capacity), in_flight(capacity)];
    let plots = plots.into_iter().filter(Curves::shows_something).map(Block::Curves).collect();
    let table = Block::Table(load_capacity::table(sought).on_page("the rates that were tried"));
    let mut sections = vec![Section::open("The search", plots), Section::open("Rate by rate", vec![table])];
    sections.retain(|section| !section.blocks.is_empty());
    sections.extend(capacity.probes.iter().map(|probe| {
        let blocks = page::of_report(&probe.report).into_iter().flat_map(|section| section.blocks);
        Section::closed(&format!("{} loops/min offered", rate(Some(probe.offered_per_min))), blocks.collect())
    }));
    sections.push(page::as_run(scenario));
    Report {
        title: format!("{name}: how many loops it takes"),
        lead: vec![load_capacity::held(sought)],
        notices,
        sections,
        ..Report::default()
    }
}

/// A plot over the rates, with what holds and the knee marked.
fn plot(capacity: &Capacity, title: &str, y: Axis, lines: Vec<Line>) -> Curves {
    let mark = |at: Option<f64>, label: &str| at.map(|at| Mark { at, label: label.to_owned() });
    let knee = capacity.knee_per_min;
    let gives = capacity.fails_at_per_min.filter(|at| Some(*at) != knee);
    let marks = [mark(capacity.loops_per_min, "holds"), mark(gives, "gives"), mark(knee, "knee")];
    let mut marks: Vec<Mark> = marks.into_iter().flatten().collect();
    marks.sort_by(|a, b| a.at.total_cmp(&b.at));
    Curves {
        title: title.to_owned(),
        note: None,
        x: Axis::of("offered loops/min", Unit::Rate),
        y,
        xs: capacity.probes.iter().map(|probe| probe.offered_per_min).collect(),
        lines: lines.into_iter().map(|line| line.shaped(Shape::Points)).collect(),
        marks,
    }
}

fn of_each(capacity: &Capacity, value: impl Fn(&Probe) -> Option<f64>) -> Vec<Option<f64>> {
    capacity.probes.iter().map(value).collect()
}

fn goodput(capacity: &Capacity) -> Curves {
    let offered =
        Line::new("offered", Ink::Reference, of_each(capacity, |probe| Some(probe.offered_per_min)));
    let goodput = Line::new("goodput", Ink::First, of_each(capacity, |probe| Some(probe.goodput_per_min)));
    plot(capacity, "Goodput against offered load", Axis::of("loops/min", Unit::Rate), vec![offered, goodput])
}

fn durations(capacity: &Capacity) -> Curves {
    let line = |(name, percent, ink): (&str, f64, Ink)| {
        let at = |probe: &Probe| {
            let took = &probe.report.total.stats.loop_duration_ms;
            took.percentile(Percent::new(percent)?).map(|percentile| percentile.value)
        };
        Line::new(name, ink, of_each(capacity, at))
    };
    let lines: Vec<Line> = PERCENTILES.map(line).into();
    let y = scaled(Axis::of("duration", Unit::Duration), &lines);
    let plot = plot(capacity, "Loop duration", y, lines);
    Curves { note: Some("a gap: so many loops failed that the percentile has no end".to_owned()), ..plot }
}

fn retries(capacity: &Capacity) -> Curves {
    let rates = of_each(capacity, |probe| probe.report.total.stats.of_steps.retry_rate);
    let line = Line::new("retries per step", Ink::First, rates);
    plot(capacity, "Retry rate", Axis::of("retries per step", Unit::Share), vec![line])
}

fn in_flight(capacity: &Capacity) -> Curves {
    let mean = |probe: &Probe| Some(probe.report.total.stats.concurrency?.loops_mean);
    let line = Line::new("at once, on average", Ink::First, of_each(capacity, mean));
    plot(capacity, "Loops in flight", Axis::of("loops", Unit::Rate), vec![line])
}
