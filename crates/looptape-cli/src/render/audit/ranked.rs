//! Runs, ranked.

use super::cost;
use crate::render::style::{Style, Tone};
use crate::render::table;
use crate::render::terminal_text::{cut, escape};
use looptape_core::audit::{RankBy, RankedTrace, UNUSUAL};
use looptape_core::cost::Usd;
use looptape_core::view::LsRow;

pub(crate) fn text(ranked: &[RankedTrace<LsRow>], by: RankBy, style: Style) -> String {
    let rows: Vec<[String; 8]> = ranked.iter().map(row).collect();
    let titles = ["trace", "agent", "cost", "median", "z", "waste", "steps", "retries"];
    let mut lines = table::lines(titles, 2, &rows);
    lines[0] = style.paint(Tone::Quiet, &lines[0]);
    for (line, run) in lines.iter_mut().skip(1).zip(ranked) {
        if run.unusual {
            *line = style.paint(Tone::Warning, line);
        }
    }
    let by = match by {
        RankBy::Cost => "ranked by cost",
        RankBy::Anomaly => "ranked by how far the cost is from the usual one of the agent",
        RankBy::Waste => "ranked by waste",
    };
    lines.push(String::new());
    lines.push(style.paint(Tone::Quiet, &format!(
        "{by}; z: robust z-score among the runs of the agent, unusual from {UNUSUAL}; waste: retries, repeated requests, cache misses"
    )));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn row(run: &RankedTrace<LsRow>) -> [String; 8] {
    let trace = &run.trace;
    let waste = run.waste.usd;
    [
        cut(&escape(trace.id.as_str()), 9).trim_end_matches('…').to_owned(),
        trace.agent.as_deref().map_or("–".to_owned(), escape),
        match trace.cost_usd {
            None => "unknown".to_owned(),
            usd => cost(usd, trace.cost_at_least).replace("at least ", "≥"),
        },
        run.median_usd.map_or("–".to_owned(), |usd| usd.to_string()),
        run.z.map_or("–".to_owned(), |z| format!("{z:+.1}")),
        if waste == Usd::ZERO { "–".to_owned() } else { waste.to_string() },
        trace.steps.to_string(),
        trace.retry_rate.map_or("–".to_owned(), crate::render::figures::percent),
    ]
}
