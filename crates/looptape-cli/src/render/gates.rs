//! Gates as text: what had to hold, what there was, and how much room is left.

use super::figures::{duration, percent, plural};
use super::stats::ENDLESS;
use super::style::{Style, Tone};
use super::terminal_text::{fit, fit_right, width};
use looptape_core::cost::Usd;
use looptape_core::gates::{GateReport, GateResult, GateVerdict, Unit};
use looptape_core::metrics::Ms;

/// A line a gate, then how many failed; nothing of none.
pub(crate) fn text(report: &GateReport, style: Style) -> String {
    let gates = &report.gates;
    let columns = gates.iter().map(|gate| width(&gate.gate)).max().unwrap_or(0);
    let lines = gates.iter().map(|gate| line(gate, columns, style) + "\n");
    let mut out: String = lines.collect();
    if !gates.is_empty() {
        let tone = if report.passed { Tone::Good } else { Tone::Bad };
        out.push_str(&format!("{}\n", style.paint(tone, &verdict(report))));
    }
    out
}

/// How many of them hold.
pub(super) fn verdict(report: &GateReport) -> String {
    let (failed, all) = (report.failures().count(), report.gates.len());
    match (failed, all) {
        (0, 1) => "the gate holds".to_owned(),
        (0, all) => format!("all {all} gates hold"),
        (failed, all) => format!("{failed} of {all} gates failed"),
    }
}

/// `✓`, `✗`, `?`.
pub(super) fn mark(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Passed => "✓",
        GateVerdict::Failed => "✗",
        GateVerdict::Unknown | GateVerdict::UnknownAccepted => "?",
    }
}

/// One gate: mark, condition, figure, margin.
fn line(gate: &GateResult, columns: usize, style: Style) -> String {
    let tone = match gate.verdict {
        GateVerdict::Passed => Tone::Good,
        GateVerdict::Failed | GateVerdict::Unknown => Tone::Bad,
        GateVerdict::UnknownAccepted => Tone::Warning,
    };
    let (mark, figure) = (style.paint(tone, mark(gate.verdict)), figure(gate));
    let line = format!("{mark} {}  {}  {}", fit(&gate.gate, columns), fit_right(&figure, 10), remarks(gate));
    line.trim_end().to_owned()
}

/// The figure, as `≥ $0.42`, `12.4 s`; `unknown`.
pub(crate) fn figure(gate: &GateResult) -> String {
    let bound = if gate.at_least { "≥ " } else { "" };
    gate.figure.map_or("unknown".to_owned(), |figure| format!("{bound}{}", amount(figure, gate.unit)))
}

/// The margin, what a regression is held against, and what else there is to know.
pub(crate) fn remarks(gate: &GateResult) -> String {
    let mut remarks = Vec::new();
    remarks.extend(margin(gate));
    remarks.extend(gate.baseline.map(|baseline| format!("baseline {}", amount(baseline, gate.unit))));
    remarks.extend(gate.why.clone());
    if let (Some(false), Some(n), Some(_)) = (gate.certified, gate.n, gate.figure) {
        remarks.push(format!(
            "uncertified: of {} only",
            plural(u32::try_from(n).unwrap_or(u32::MAX), "value", "values")
        ));
    }
    remarks.join(" · ")
}

/// `7.6 s (38 %) of room`, `missed by 3 %`.
fn margin(gate: &GateResult) -> Option<String> {
    let margin =
        gate.margin.filter(|_| gate.verdict == GateVerdict::Passed || gate.verdict == GateVerdict::Failed)?;
    if margin.is_infinite() {
        return Some("missed: too many loops failed".to_owned());
    }
    let size = match gate.unit {
        // A per cent of per cents would be taken for the share itself.
        Unit::Share => format!("{} points", short(margin.abs() * 100.0)),
        unit => {
            let share = gate.margin_share().map(|share| format!(" ({})", percent(share.abs())));
            amount(margin.abs(), unit) + &share.unwrap_or_default()
        }
    };
    Some(match gate.verdict {
        GateVerdict::Passed if margin == 0.0 => "no room left".to_owned(),
        GateVerdict::Failed if margin == 0.0 => "missed: exactly the limit".to_owned(),
        GateVerdict::Failed => format!("missed by {size}"),
        _ => format!("{size} of room"),
    })
}

/// A figure in its unit.
fn amount(figure: f64, unit: Unit) -> String {
    match unit {
        _ if figure.is_infinite() => ENDLESS.to_owned(),
        Unit::Ms => duration(Ms::from_us((figure * 1000.0).round() as i64)),
        Unit::Usd => Usd::from_f64(figure).map_or_else(|| format!("${figure}"), |usd| usd.to_string()),
        Unit::Share => format!("{} %", short(figure * 100.0)),
        Unit::Number => short(figure),
    }
}

/// At most two decimals.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;

    fn gate(
        gate: &str,
        unit: Unit,
        figure: Option<f64>,
        margin: Option<f64>,
        verdict: GateVerdict,
    ) -> GateResult {
        GateResult {
            gate: gate.to_owned(),
            metric: "",
            aggregate: String::new(),
            unit,
            comparison: "<",
            limit: margin.zip(figure).map(|(margin, figure)| figure + margin),
            baseline: None,
            figure,
            at_least: false,
            n: None,
            certified: None,
            margin,
            verdict,
            why: None,
        }
    }

    #[test]
    fn every_gate_has_a_line() {
        let passed = GateVerdict::Passed;
        let duration = gate("loop_duration_ms: p(95)<20000", Unit::Ms, Some(12_400.0), Some(7_600.0), passed);
        let score = gate(
            "score: avg ≤ 2 % worse than the baseline",
            Unit::Share,
            Some(0.88),
            Some(-0.002),
            GateVerdict::Failed,
        );
        let cost = gate("cost_usd: max<0.1", Unit::Usd, Some(0.04), Some(0.06), GateVerdict::Unknown);
        let gates = vec![
            GateResult { n: Some(20), certified: Some(false), ..duration },
            GateResult { baseline: Some(0.9), ..score },
            GateResult { at_least: true, why: Some("2 of 5 values are not known".to_owned()), ..cost },
            gate("steps_per_loop: max<=3", Unit::Number, Some(3.0), Some(0.0), passed),
            gate("errors: count==0", Unit::Number, Some(1.0), None, GateVerdict::Failed),
            gate("retry_rate: value<0.5", Unit::Share, Some(1.0 / 3.0), Some(1.0 / 6.0), passed),
        ];
        let report = GateReport { passed: false, gates };
        insta::assert_snapshot!(text(&report, Style { color: Color::Off, width: 100 }), @r"
        ✓ loop_duration_ms: p(95)<20000                12.40 s  7.60 s (38 %) of room · uncertified: of 20 values only
        ✗ score: avg ≤ 2 % worse than the baseline        88 %  missed by 0.2 points · baseline 90 %
        ? cost_usd: max<0.1                            ≥ $0.04  2 of 5 values are not known
        ✓ steps_per_loop: max<=3                             3  no room left
        ✗ errors: count==0                                   1
        ✓ retry_rate: value<0.5                        33.33 %  16.67 points of room
        3 of 6 gates failed
        ");
        assert_eq!(text(&GateReport::default(), Style { color: Color::Off, width: 100 }), "");
    }
}
