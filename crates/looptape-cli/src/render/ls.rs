//! Traces as a table.

use super::figures::duration;
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit, fit_right, width};
use jiff::Timestamp;
use looptape_core::view::{LsRow, TraceStatus};
use looptape_page::reading::list::ListedTrace;

/// Figures, right-aligned: their titles, and how wide they get.
const FIGURES: [(&str, usize); 5] = [("steps", 5), ("tools", 5), ("retries", 7), ("time", 8), ("cost", 10)];
const STARTED: usize = 10;
const MIN_WHO: usize = 10;
const MAX_WHO: usize = 48;

/// The table, with a heading.
pub(crate) fn table(lines: &[ListedTrace], now_unix_us: i64, style: Style) -> String {
    let longest = |text: fn(&ListedTrace) -> usize| lines.iter().map(text).max().unwrap_or(0);
    let id = longest(|line| width(&escape(&line.short))).clamp(8, 40);
    // A figure is never cut: what is left of it would be another figure.
    let columns = FIGURES.map(|(_, least)| least);
    let columns = lines.iter().fold(columns, |columns, line| {
        let needed = figures(&line.row).map(|figure| width(&figure));
        std::array::from_fn(|n| columns[n].max(needed[n]))
    });
    let fixed = 2 + id + 2 + STARTED + 2 + columns.iter().map(|columns| columns + 1).sum::<usize>();
    let free = style.width.saturating_sub(fixed).clamp(MIN_WHO, MAX_WHO);
    let who_columns = longest(|line| width(&who(&line.row))).clamp(MIN_WHO, free);
    let heading: String = FIGURES
        .iter()
        .zip(columns)
        .map(|((title, _), columns)| format!(" {}", fit_right(title, columns)))
        .collect();
    let heading = format!(
        "  {}  {}  {}{heading}",
        fit("trace", id),
        fit("started", STARTED),
        fit("agent", who_columns)
    );
    let mut out = style.paint(Tone::Quiet, heading.trim_end()) + "\n";
    for line in lines {
        let (mark, tone) = mark(line.row.status);
        let figures: String = figures(&line.row)
            .iter()
            .zip(columns)
            .map(|(figure, columns)| format!(" {}", fit_right(figure, columns)))
            .collect();
        let text = format!(
            "{} {}  {}  {}{figures}",
            style.paint(tone, mark),
            style.paint(Tone::Strong, &fit(&escape(&line.short), id)),
            fit(&age(now_unix_us, line.started_unix_us), STARTED),
            fit(&who(&line.row), who_columns),
        );
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// Agent and name, escaped.
fn who(row: &LsRow) -> String {
    let words: Vec<String> = [&row.agent, &row.name].into_iter().flatten().map(|text| escape(text)).collect();
    words.join(" · ")
}

fn figures(row: &LsRow) -> [String; 5] {
    let retries = row.attempts.saturating_sub(row.steps);
    let some = |n: u32| if n == 0 { String::new() } else { n.to_string() };
    [
        row.steps.to_string(),
        some(row.tool_calls),
        some(retries),
        row.duration_ms.map(duration).unwrap_or_default(),
        match (row.cost_usd, row.cost_at_least) {
            (Some(usd), true) => format!("≥{usd}"),
            (Some(usd), false) => usd.to_string(),
            (None, _) if row.steps == 0 => String::new(),
            (None, _) => "unknown".to_owned(),
        },
    ]
}

fn mark(status: TraceStatus) -> (&'static str, Tone) {
    match status {
        TraceStatus::Complete => ("✓", Tone::Good),
        TraceStatus::Incomplete => ("!", Tone::Warning),
        TraceStatus::Aborted => ("✗", Tone::Bad),
        TraceStatus::Recording => ("…", Tone::Model),
    }
}

/// `12s ago`, `5m ago`, `3h ago`, `2d ago`; the day, in UTC, for what is a week old or lies ahead.
pub(super) fn age(now_unix_us: i64, then_unix_us: i64) -> String {
    let seconds = now_unix_us.saturating_sub(then_unix_us).div_euclid(1_000_000);
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        86_400..604_800 => format!("{}d ago", seconds / 86_400),
        _ => Timestamp::from_microsecond(then_unix_us)
            .map(|time| time.strftime("%Y-%m-%d").to_string())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::TraceId;
    use looptape_core::cost::Usd;
    use looptape_core::metrics::Ms;

    const NOW: i64 = 1_793_491_200_000_000;

    fn line(name: &str, ago_s: i64, status: TraceStatus) -> ListedTrace {
        let row = LsRow {
            id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
            name: None,
            agent: Some("refund.py".to_owned()),
            agent_version: None,
            started_at: None,
            status,
            outcome: looptape_core::assembly::LoopOutcome::Success,
            models: Vec::new(),
            steps: 5,
            llm_calls: 6,
            tool_calls: 4,
            attempts: 6,
            retry_rate: Some(0.2),
            duration_ms: Some(Ms::from_us(12_340_000)),
            cost_usd: Usd::from_f64(0.0123),
            cost_at_least: false,
            tags: Vec::new(),
        };
        let (label, short) = (row.id.to_string(), name.to_owned());
        ListedTrace { label, short, started_unix_us: NOW - ago_s * 1_000_000, key: None, row }
    }

    #[test]
    fn a_list() {
        let mut named = line("job-17#2", 7300, TraceStatus::Aborted);
        named.row.name = Some("nightly\u{1b}[2J".to_owned());
        (named.row.cost_usd, named.row.duration_ms, named.row.attempts) = (None, None, 5);
        let mut old = line("0af7651916", 86_400 * 40, TraceStatus::Incomplete);
        (old.row.cost_at_least, old.row.tool_calls) = (true, 0);
        let lines = [line("4bf92f35", 12, TraceStatus::Complete), named, old];
        insta::assert_snapshot!(table(&lines, NOW, Style { color: Color::Off, width: 100 }), @r"
          trace       started     agent                        steps tools retries     time       cost
        ✓ 4bf92f35    12s ago     refund.py                        5     4       1  12.34 s    $0.0123
        ✗ job-17#2    2h ago      refund.py · nightly\u{1b}[2J     5     4                     unknown
        ! 0af7651916  2026-09-22  refund.py                        5             1  12.34 s   ≥$0.0123
        ");
        let mut cheap = line("c770a063", 12, TraceStatus::Complete);
        (cheap.row.cost_usd, cheap.row.cost_at_least) = (Usd::from_f64(0.000_006_45), true);
        let text = table(&[cheap], NOW, Style { color: Color::Off, width: 80 });
        assert!(text.ends_with(" ≥$0.00000645\n"), "{text}");
        for columns in [80, 100, 200] {
            let text = table(&lines, NOW, Style { color: Color::Off, width: columns });
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        }
    }
}
