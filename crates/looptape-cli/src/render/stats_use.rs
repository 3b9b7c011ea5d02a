//! What many traces used and cost, leaf by leaf, as text.

use super::figures::{percent, plural};
use super::stats::{amount, cost as whole_cost, over_time, row, tokens as shown};
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit, fit_right};
use looptape_core::cost::{LeafCosts, Usd};
use looptape_core::metrics::{CostSum, Stats, UnknownModel};

/// How many stretches of time it takes to say how a rate changes.
const FEWEST_STRETCHES: usize = 10;

/// Tokens, and how fast they flow.
pub(super) fn tokens(stats: &Stats) -> Vec<String> {
    let of = &stats.of_steps.tokens;
    let cached = stats.of_steps.cache_hit_ratio;
    let cached = cached.map(|ratio| format!("{} of it from the cache", percent(ratio)));
    let reasoning =
        of.reasoning.filter(|n| *n > 0).map(|n| format!("{} of it reasoning", shown(Some(n), false)));
    let rates = stats.token_rates;
    let series = |values: fn(&looptape_core::metrics::Series) -> &Vec<f64>| {
        stats.series.as_ref().and_then(|series| over_time(values(series), series))
    };
    // A line through fewer points says little.
    let stretches = stats.series.as_ref().map_or(0, |series| series.input_tokens_per_s.len());
    let per_s = |rate: f64, change: Option<f64>| {
        let change = change.filter(|_| stretches >= FEWEST_STRETCHES);
        let change = change.map_or(String::new(), |change| format!(", {change:+.1}/s a minute"));
        format!("{rate:.1}/s{change}")
    };
    let input_rate = rates.map(|rates| per_s(rates.input_tokens_per_s, rates.input_change_per_min));
    let output_rate = rates.map(|rates| per_s(rates.output_tokens_per_s, rates.output_change_per_min));
    let notes = |parts: [Option<String>; 3]| {
        let [a, b, picture] = parts;
        let words: Vec<String> = [a, b].into_iter().flatten().collect();
        [words.join(", "), picture.unwrap_or_default()].join("  ")
    };
    vec![
        row(
            "tokens in",
            &shown(of.input_total, of.at_least),
            &notes([input_rate, cached, series(|s| &s.input_tokens_per_s)]),
        ),
        row(
            "tokens out",
            &shown(of.output_total, of.at_least),
            &notes([output_rate, reasoning, series(|s| &s.output_tokens_per_s)]),
        ),
    ]
}

/// The cost: what was spent, by leaf beside what it was when recorded and what it is at list price; and what is
/// not known.
pub(super) fn cost(stats: &Stats, style: Style) -> Vec<String> {
    let per_usd = stats.loops_per_usd.map(|n| format!("{n:.1} loops per dollar")).unwrap_or_default();
    let mut lines = vec![row("cost", &whole_cost(&stats.cost), &per_usd)];
    lines.extend(leaves(stats, style));
    lines.extend(stats.cost_unknown.iter().map(|one| style.paint(Tone::Warning, &unknown(one))));
    lines
}

type Leaf = (&'static str, fn(&Stats) -> Option<u64>, fn(&LeafCosts) -> Usd);

const LEAVES: [Leaf; 8] = [
    ("uncached input", |s| s.of_steps.tokens.uncached_input, |l| l.uncached_input),
    ("cache read", |s| s.of_steps.tokens.cache_read, |l| l.cache_read),
    ("cache write 5 m", |s| s.of_steps.tokens.cache_write_5m, |l| l.cache_write_5m),
    ("cache write 1 h", |s| s.of_steps.tokens.cache_write_1h, |l| l.cache_write_1h),
    ("visible output", |s| s.of_steps.tokens.output_visible, |l| l.output_visible),
    ("reasoning", |s| s.of_steps.tokens.reasoning, |l| l.reasoning),
    ("web search", |_| None, |l| l.web_search),
    ("other", |_| None, |l| l.other),
];

/// A table of the leaves of which there is anything.
fn leaves(stats: &Stats, style: Style) -> Vec<String> {
    let columns = [&stats.columns.spent, &stats.columns.recorded, &stats.columns.list];
    let line = |name: &str, tokens: String, amounts: [String; 3]| {
        let amounts: String = amounts.iter().map(|amount| format!("  {}", fit_right(amount, 12))).collect();
        format!("  {}{}{amounts}", fit(name, 15), fit_right(&tokens, 12))
    };
    let leaf = |(name, tokens, usd): &Leaf| {
        let count = tokens(stats).filter(|n| *n > 0);
        let amounts = columns.map(|sum| sum.by_leaf().map(|leaves| usd(&leaves)));
        let is_shown = count.is_some() || amounts.iter().flatten().any(|usd| *usd > Usd::ZERO);
        let shown_amount = |usd: Option<Usd>| usd.map_or("–".to_owned(), |usd| usd.to_string());
        is_shown.then(|| line(name, shown(count, stats.of_steps.tokens.at_least), amounts.map(shown_amount)))
    };
    let mut lines: Vec<String> = LEAVES.iter().filter_map(leaf).collect();
    if lines.is_empty() {
        return lines;
    }
    let titles = ["spent", "recorded", "list today"].map(str::to_owned);
    lines.insert(0, style.paint(Tone::Quiet, &line("", "tokens".to_owned(), titles)));
    let total = |sum: &CostSum| amount(sum.usd(), sum.at_least());
    lines.push(line("all", String::new(), columns.map(total)));
    lines
}

fn unknown(one: &UnknownModel) -> String {
    let model = one.model.as_deref().map_or("no model named".to_owned(), escape);
    let why = super::prices::why_unpriced(one.why);
    format!("  cost unknown: {model}, {}: {why}", plural(one.calls, "call", "calls"))
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::cost::Unpriced;
    use looptape_core::metrics::{StepFigures, TokenSums};

    #[test]
    fn unknown_models_are_listed() {
        let tokens =
            TokenSums { uncached_input: Some(12_000), input_total: Some(12_000), ..TokenSums::default() };
        let stats = Stats {
            of_steps: StepFigures { tokens, ..StepFigures::default() },
            cost_unknown: vec![UnknownModel {
                model: Some("house\u{1b}".to_owned()),
                why: Unpriced::UnknownModel,
                calls: 3,
            }],
            ..Stats::default()
        };
        let lines = cost(&stats, Style { color: Color::Off, width: 100 });
        let text = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(text, @r"
        cost                  unknown
                               tokens         spent      recorded    list today
          uncached input        12.0k             –             –             –
          all                               unknown       unknown       unknown
          cost unknown: house\u{1b}, 3 calls: the price list does not have this model
        ");
    }
}
