//! A waterfall: the baseline, one bar for each factor, the run. The printed amounts sum as printed.

use crate::render::style::{Style, Tone};
use crate::render::terminal_text::{fit, fit_right};
use looptape_core::audit::Waterfall;
use looptape_core::cost::UsdDelta;

/// Columns of the drawing.
const COLUMNS: usize = 28;
/// Digits that the largest amount is printed with.
const DIGITS: u32 = 4;
/// Decimals of the smallest unit of money.
const SMALLEST: u32 = 12;

pub(super) fn lines(waterfall: &Waterfall, baseline: &str, style: Style) -> Vec<String> {
    let largest = waterfall.usd.max(waterfall.baseline_usd);
    let decimals = decimals(UsdDelta::between(Default::default(), largest).units());
    let mut at = UsdDelta::between(Default::default(), waterfall.baseline_usd).units();
    let scale = Scale::of(waterfall, at);
    let mut printed = rounded(at, decimals);
    let mut lines =
        vec![line(baseline, "", &dollars(printed, decimals), &scale.draw(0, at, Tone::Plain, style))];
    for bar in &waterfall.bars {
        let to = at.saturating_add(bar.usd.units());
        let shown = rounded(to, decimals);
        let tone = if to >= at { Tone::Bad } else { Tone::Good };
        let drawn = scale.draw(at, to, tone, style);
        lines.push(line(bar.factor.words(), &bar.change(), &signed(shown - printed, decimals), &drawn));
        (at, printed) = (to, shown);
    }
    lines.push(line("this run", "", &dollars(printed, decimals), &scale.draw(0, at, Tone::Plain, style)));
    lines
}

fn line(name: &str, change: &str, amount: &str, drawn: &str) -> String {
    format!("  {}  {}  {}  {drawn}", fit(name, 15), fit(change, 38), fit_right(amount, 11))
        .trim_end()
        .to_owned()
}

/// Where amounts lie in the drawing.
struct Scale {
    largest: f64,
}

impl Scale {
    fn of(waterfall: &Waterfall, start: i64) -> Self {
        let ends = waterfall.bars.iter().scan(start, |at, bar| {
            *at = at.saturating_add(bar.usd.units());
            Some(*at)
        });
        Self { largest: ends.chain([start]).max().unwrap_or(0).max(1) as f64 }
    }

    fn column(&self, units: i64) -> usize {
        ((units.max(0) as f64 / self.largest) * COLUMNS as f64).round() as usize
    }

    fn draw(&self, from: i64, to: i64, tone: Tone, style: Style) -> String {
        let (first, last) = (self.column(from.min(to)), self.column(from.max(to)));
        let mark = if to >= from { "█" } else { "░" };
        let length = (last - first).max(usize::from(from != to));
        format!("{}{}", " ".repeat(first.min(COLUMNS - 1)), style.paint(tone, &mark.repeat(length)))
    }
}

/// So many decimals that the largest amount has its digits.
fn decimals(largest: i64) -> u32 {
    let digits = largest.unsigned_abs().max(1).ilog10();
    // A dollar has one digit before the point, and units of 10⁻¹².
    (SMALLEST + DIGITS - 1).saturating_sub(digits).clamp(2, SMALLEST)
}

/// In units of the last decimal. A sum is rounded, and not its parts: what is printed of a part is the
/// difference of two printed sums.
fn rounded(units: i64, decimals: u32) -> i64 {
    let step = 10i64.pow(SMALLEST - decimals);
    let half = step / 2;
    (units + if units < 0 { -half } else { half }) / step
}

fn dollars(amount: i64, decimals: u32) -> String {
    let (whole, sign) = (amount.unsigned_abs(), if amount < 0 { "−" } else { "" });
    let dollar = 10u64.pow(decimals);
    format!("{sign}${}.{:0width$}", whole / dollar, whole % dollar, width = decimals as usize)
}

fn signed(amount: i64, decimals: u32) -> String {
    let plus = if amount > 0 { "+" } else { "" };
    format!("{plus}{}", dollars(amount, decimals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::style::Color;
    use looptape_core::audit::Quantities;
    use looptape_core::cost::Usd;

    const PLAIN: Style = Style { color: Color::Off, width: 110 };

    fn run(steps: f64, context: f64, cached: f64, dollars_a_million: f64) -> Quantities {
        let input = steps * context;
        let usd = |tokens: f64, price: f64| Usd::from_f64(tokens * price / 1e6).unwrap();
        let (read, uncached) = (input * cached, input * (1.0 - cached));
        Quantities {
            steps,
            attempts: steps,
            input_tokens: [read, 0.0, 0.0, uncached],
            input_usd: [
                usd(read, dollars_a_million / 10.0),
                Usd::ZERO,
                Usd::ZERO,
                usd(uncached, dollars_a_million),
            ],
            output_tokens: [steps * 100.0, 0.0],
            output_usd: [usd(steps * 100.0, 4.0 * dollars_a_million), Usd::ZERO],
            ..Quantities::default()
        }
    }

    fn printed(line: &str) -> Option<f64> {
        let amount =
            line.split_whitespace().find(|word| word.trim_start_matches(['+', '−']).starts_with('$'))?;
        amount.replace('$', "").replace('−', "-").parse().ok()
    }

    #[test]
    fn what_is_printed_sums_as_printed() {
        for (from, to) in [
            (run(8.0, 4_100.0, 0.61, 2.5), run(24.0, 31_200.0, 0.04, 2.5)),
            (run(24.0, 31_200.0, 0.04, 2.5), run(8.0, 4_100.0, 0.61, 0.15)),
            (run(3.0, 333.0, 0.0, 0.15), run(7.0, 777.0, 0.33, 0.15)),
        ] {
            let lines = lines(&Waterfall::between(&from, &to), "9a1b2c3d", PLAIN);
            let amounts: Vec<f64> = lines.iter().map(|line| printed(line).unwrap()).collect();
            let (end, parts) = amounts.split_last().unwrap();
            let sum: f64 = parts.iter().sum();
            assert!((sum - end).abs() < 1e-9, "{lines:#?}");
        }
    }

    #[test]
    fn a_waterfall() {
        let waterfall = Waterfall::between(&run(8.0, 4_100.0, 0.61, 2.5), &run(24.0, 31_200.0, 0.04, 2.5));
        insta::assert_snapshot!(lines(&waterfall, "9a1b2c3d", PLAIN).join("\n"), @"
        9a1b2c3d                                                      $0.045  █
        steps            8 → 24 steps                                +$0.504   ███████
        attempts a step  1.00 a step                                  $0.000
        context          4100 → 31.2k input tokens an attempt        +$0.902          ██████████████
        cache mix        61 % → 4 % read from the cache              +$0.378                        ██████
        output           100 output tokens an attempt                 $0.000
        reasoning split  0 % of it reasoning                          $0.000
        price                                                         $0.000
        this run                                                      $1.829  ████████████████████████████
        ");
    }
}
