//! The plots of a run: over time, by phase, and how long its loops took.

use super::words;
use looptape_core::cost::Usd;
use looptape_core::load::{LoadFigures, LoadReport, LoadSeries, SpreadSeries};
use looptape_core::metrics::Distribution;
use looptape_page::report::{Axis, Bar, Bars, Block, Curves, Ink, Line, Mark, Shape, Unit};

/// Bars of the histogram.
const BARS: usize = 40;

/// Everything that is known by stretches of time; what never happened is left out.
pub(super) fn over_time(report: &LoadReport) -> Vec<Block> {
    let series = &report.series;
    let plots = [
        loops(series),
        plot(
            "Loops in flight",
            Axis::of("loops", Unit::Count),
            vec![line("at once, at most", Ink::First, &series.running, 1.0).shaped(Shape::Steps)],
        ),
        percentiles("Loop duration", &series.loop_duration_ms, Some(LOOP_GAPS)),
        percentiles("Time to first token", &series.ttft_ms, None),
        percentiles("Step latency, retries included", &series.step_latency_ms, None),
        calls(series),
        plot("Retry rate", Axis::of("retries per step", Unit::Share), vec![retry_rate(series)]),
        plot("Spent so far", Axis::of("dollars", Unit::Usd), vec![spent(series)]),
    ];
    let placed = |plot: Curves| Curves {
        xs: (0..series.offered.len()).map(|at| (at as u64 * series.bucket_s) as f64).collect(),
        marks: phases(report),
        ..plot
    };
    plots.into_iter().map(placed).filter(Curves::shows_something).map(Block::Curves).collect()
}

const LOOP_GAPS: &str = "by when they ended, from when they were due; a gap: none ended, or so many failed that the percentile has no end";

fn plot(title: &str, y: Axis, lines: Vec<Line>) -> Curves {
    let (note, xs, marks) = (None, Vec::new(), Vec::new());
    Curves { title: title.to_owned(), note, x: Axis::time(), y, xs, lines, marks }
}

fn line(name: &str, ink: Ink, counts: &[u32], times: f64) -> Line {
    Line::new(name, ink, counts.iter().map(|n| Some(f64::from(*n) * times)).collect())
}

/// What was offered against what ended; what failed and was dropped only where there is any.
fn loops(series: &LoadSeries) -> Curves {
    let a_minute = 60.0 / series.bucket_s as f64;
    let failed: Vec<u32> =
        series.completed.iter().zip(&series.succeeded).map(|(all, good)| all - good).collect();
    let mut lines = vec![
        line("offered", Ink::Reference, &series.offered, a_minute),
        line("completed", Ink::First, &series.completed, a_minute),
    ];
    let rare = [
        line("failed", Ink::Bad, &failed, a_minute),
        line("dropped", Ink::Second, &series.dropped, a_minute),
    ];
    lines.extend(rare.into_iter().filter(|line| line.values.iter().flatten().any(|value| *value > 0.0)));
    plot("Loops offered and completed", Axis::of("loops/min", Unit::Rate), lines)
}

fn calls(series: &LoadSeries) -> Curves {
    let a_minute = 60.0 / series.bucket_s as f64;
    plot(
        "Calls",
        Axis::of("calls/min", Unit::Rate),
        vec![
            line("ended", Ink::First, &series.attempts, a_minute),
            line("failed", Ink::Bad, &series.failed_attempts, a_minute),
        ],
    )
}

pub(super) const PERCENTILES: [(&str, f64, Ink); 3] =
    [("p50", 50.0, Ink::First), ("p95", 95.0, Ink::Second), ("p99", 99.0, Ink::Third)];

fn percentiles(title: &str, series: &SpreadSeries, note: Option<&str>) -> Curves {
    let lines = PERCENTILES.map(|(name, percent, ink)| Line::new(name, ink, series.percentile(percent)));
    let y = scaled(Axis::of("duration", Unit::Duration), &lines);
    Curves { note: note.map(str::to_owned), ..plot(title, y, lines.into()) }
}

/// What spreads over more than this factor is drawn by factors: else the longest of it leave no room for the rest.
const WIDE: f64 = 30.0;

pub(super) fn scaled(axis: Axis, lines: &[Line]) -> Axis {
    let finite = || lines.iter().flat_map(|line| &line.values).flatten().filter(|value| value.is_finite());
    let (least, most) =
        (finite().copied().fold(f64::INFINITY, f64::min), finite().copied().fold(0.0, f64::max));
    if least > 0.0 && most / least > WIDE { axis.log() } else { axis }
}

fn retry_rate(series: &LoadSeries) -> Line {
    let share =
        |(retries, steps): (&u32, &u32)| (*steps > 0).then(|| f64::from(*retries) / f64::from(*steps));
    Line::new("retries per step", Ink::First, series.retries.iter().zip(&series.steps).map(share).collect())
}

/// Known as long as all before is known.
fn spent(series: &LoadSeries) -> Line {
    let sums = series.cost_usd.iter().scan(Some(0.0), |sum, cost| {
        *sum = sum.zip(cost.map(Usd::as_f64)).map(|(sum, cost)| sum + cost);
        Some(*sum)
    });
    Line::new("spent", Ink::First, sums.collect())
}

/// Where each phase begins, if there are several.
fn phases(report: &LoadReport) -> Vec<Mark> {
    let begins = |phase: &looptape_core::load::PhaseReport| {
        let window = phase.figures.stats.window?;
        Some(Mark { at: window.start_unix_us as f64 / 1e6, label: words::shown(&phase.name) })
    };
    match report.phases.len() {
        0 | 1 => Vec::new(),
        _ => report.phases.iter().filter_map(begins).collect(),
    }
}

type Spread = fn(&LoadFigures) -> &Distribution;

/// Percentiles side by side, where there are several phases.
pub(super) fn by_phase(report: &LoadReport) -> Vec<Block> {
    if report.phases.len() < 2 {
        return Vec::new();
    }
    let of: [(&str, Spread); 2] = [
        ("Loop duration by phase", |figures| &figures.stats.loop_duration_ms),
        ("Time to first token by phase", |figures| &figures.stats.of_steps.ttft_ms),
    ];
    let bars = of.map(|(title, of)| {
        let of_phase = |phase: &looptape_core::load::PhaseReport| {
            let (name, spread) = (words::shown(&phase.name), of(&phase.figures));
            [spread.p50(), spread.p95(), spread.p99()].into_iter().zip(PERCENTILES).map(
                move |(percentile, (which, _, ink))| Bar {
                    name: format!("{name} {which}"),
                    value: percentile.map(|percentile| percentile.value),
                    ink,
                },
            )
        };
        let bars: Vec<Bar> = report.phases.iter().flat_map(of_phase).collect();
        Bars { title: title.to_owned(), note: None, unit: Unit::Duration, bars }
    });
    let is_known = |bars: &Bars| bars.bars.iter().any(|bar| bar.value.is_some());
    bars.into_iter().filter(is_known).map(Block::Bars).collect()
}

/// Of the loops that succeeded.
pub(super) fn histogram(report: &LoadReport) -> Vec<Block> {
    let took = &report.total.successful_loop_duration_ms;
    let buckets = took.histogram(BARS);
    let Some(last) = buckets.last() else { return Vec::new() };
    let mut xs: Vec<f64> = buckets.iter().map(|bucket| bucket.from).collect();
    let mut values: Vec<Option<f64>> = buckets.iter().map(|bucket| Some(bucket.n as f64)).collect();
    xs.push(last.to);
    values.push(Some(0.0));
    let x = Axis::of("from", Unit::Duration);
    // As the stretches are: each wider than the one before by the same factor, or all alike.
    let is_wide = xs[0] > 0.0 && last.to / xs[0] > 10.0;
    let failed = report.total.stats.loops.failure;
    let curves = Curves {
        title: "Duration of the loops that succeeded".to_owned(),
        note: (failed > 0).then(|| format!("{failed} more failed: they have no duration")),
        x: if is_wide { x.log() } else { x },
        y: Axis::of("loops", Unit::Count),
        xs,
        lines: vec![Line::new("loops", Ink::First, values).shaped(Shape::Steps)],
        marks: [("p50", took.p50()), ("p95", took.p95())]
            .into_iter()
            .filter_map(|(name, at)| Some(Mark { at: at?.value, label: name.to_owned() }))
            .collect(),
    };
    vec![Block::Curves(curves)]
}
