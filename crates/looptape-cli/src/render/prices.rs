//! Prices as tables.

use super::figures::count;
use super::style::{Style, Tone};
use super::table;
use super::terminal_text::escape;
use crate::commands::ModelPrice;
use looptape_core::cost::{Quote, RateStep, TierQuote, Unpriced};

const RATES: [&str; 8] =
    ["tier", "input tokens", "input", "cache read", "write 5 min", "write 1 h", "output", "reasoning"];
const USED: [&str; 7] = ["model", "provider", "calls", "tokens in", "out", "$/M in", "$/M out"];

/// Why there is no price, in words.
pub(crate) fn why_unpriced(why: Unpriced) -> &'static str {
    match why {
        Unpriced::NoUsage => "the provider reported no usage",
        Unpriced::NoModel => "neither request nor answer names a model",
        Unpriced::UnknownModel => "the price list does not have this model",
        Unpriced::AmbiguousModel => "several providers offer it, at different prices",
        Unpriced::LocalModel => "it runs on this machine, without a price",
        Unpriced::OtherModalities => "audio or image tokens are billed apart",
    }
}

/// All that is known of one model's prices.
pub(crate) fn one(quote: &Quote, style: Style) -> String {
    let provider = quote.provider.as_ref().map_or(String::new(), |name| format!(" at {}", escape(name)));
    let mut out = style.paint(Tone::Strong, &format!("{}{provider}", escape(&quote.model))) + "\n";
    if let Some(why) = quote.unpriced {
        out += &format!("no price is known: {}\n", why_unpriced(why));
        hints(quote, &mut out);
        return out;
    }
    out += "US dollars per million tokens\n\n";
    let rows: Vec<[String; 8]> = quote.tiers.iter().flat_map(tier).collect();
    for (line, place) in table::lines(RATES, 2, &rows).into_iter().zip(0..) {
        out += &if place == 0 { style.paint(Tone::Quiet, &line) } else { line };
        out.push('\n');
    }
    out.push('\n');
    for tier in &quote.tiers {
        if let Some(first) = tier.by_input.first() {
            fees(tier, first, &mut out);
        }
    }
    if quote.tiers.iter().any(|tier| tier.by_input.len() > 1) {
        out += "a call with more input than a threshold is priced by that line as a whole\n";
    }
    for line in sources(&quote.tiers) {
        out += &format!("{}\n", escape(&line));
    }
    out
}

fn hints(quote: &Quote, out: &mut String) {
    for entry in &quote.incomplete_entries {
        out.push_str(&format!(
            "[[prices]] {} holds for it, but states no `input` and `output`: there is no listed price to complete it\n",
            escape(entry)
        ));
    }
    if !quote.listed_at.is_empty() {
        out.push_str(&format!(
            "the price list has it at {}: name one with --provider\n",
            quote.listed_at.join(", ")
        ));
    } else if !quote.nearest.is_empty() {
        out.push_str(&format!("nearest: {}\n", quote.nearest.join(", ")));
    }
    let name = escape(&quote.model).replace('\\', "\\\\").replace('"', "\\\"");
    out.push_str(&format!(
        "state one in looptape.toml:\n  [[prices]]\n  model = \"{name}\"\n  input = 1.00    # US dollars per million tokens\n  output = 4.00\n"
    ));
}

fn tier(tier: &TierQuote) -> impl Iterator<Item = [String; 8]> {
    let name = tier.service_tier.as_deref().unwrap_or("standard");
    let thresholds = tier.by_input.iter().skip(1).map(|next| Some(next.input_tokens_above)).chain([None]);
    tier.by_input.iter().zip(thresholds).map(move |(step, next)| {
        let rates = step.usd_per_million;
        let above = match (step.input_tokens_above, next) {
            (0, None) => "any".to_owned(),
            (0, Some(most)) => format!("up to {most}"),
            (above, _) => format!("above {above}"),
        };
        [
            escape(name),
            above,
            rate(rates.uncached_input),
            rate(rates.cache_read),
            rate(rates.cache_write_5m),
            rate(rates.cache_write_1h),
            rate(rates.output_visible),
            rate(rates.reasoning),
        ]
    })
}

/// As price lists write it: `3`, `0.125`.
fn rate(usd: f64) -> String {
    let text = format!("{usd:.7}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn fees(tier: &TierQuote, first: &RateStep, out: &mut String) {
    let name = tier.service_tier.as_ref().map_or(String::new(), |tier| format!("{}: ", escape(tier)));
    if first.per_call_usd > 0.0 {
        out.push_str(&format!("{name}${} a call\n", rate(first.per_call_usd)));
    }
    if first.web_search_usd > 0.0 && tier.service_tier.is_none() {
        out.push_str(&format!("{name}${} a web search of the provider's\n", rate(first.web_search_usd)));
    }
}

/// Each source once, with the tiers that it is of.
fn sources(tiers: &[TierQuote]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for tier in tiers {
        let source = format!("{}; {}", tier.source, tier.version);
        let name = tier.service_tier.as_deref().unwrap_or("standard");
        match lines.iter_mut().find(|(known, _)| *known == source) {
            Some((_, names)) => names.push(name),
            None => lines.push((source, vec![name])),
        }
    }
    let one = lines.len() == 1;
    let line = |(source, names): (String, Vec<&str>)| match one {
        true => format!("source: {source}"),
        false => format!("source of {}: {source}", names.join(", ")),
    };
    lines.into_iter().map(line).collect()
}

/// The models that were called, with their prices.
pub(crate) fn in_use(models: &[ModelPrice], version: &str, style: Style) -> String {
    let rows: Vec<[String; 7]> = models.iter().map(row).collect();
    let mut lines = table::lines(USED, 2, &rows).into_iter();
    let mut out = style.paint(Tone::Quiet, &lines.next().unwrap_or_default()) + "\n";
    for (line, model) in lines.zip(models) {
        out += &if model.quote.unpriced.is_some() { style.paint(Tone::Warning, &line) } else { line };
        out.push('\n');
    }
    let unknown: Vec<&ModelPrice> = models.iter().filter(|model| model.quote.unpriced.is_some()).collect();
    if !unknown.is_empty() {
        out += "\nwithout a price, so what they cost is unknown:\n";
    }
    for model in unknown {
        let why = model.quote.unpriced.map(why_unpriced).unwrap_or_default();
        let nearest = match model.quote.nearest.as_slice() {
            [] => String::new(),
            names => format!("; nearest: {}", names.join(", ")),
        };
        out += &format!(
            "  {} at {}: {why}{}\n",
            escape(&model.quote.model),
            escape(&model.used.provider),
            escape(&nearest)
        );
    }
    out + &format!("\nprices: {version}; `looptape prices MODEL` shows all of one\n")
}

fn row(model: &ModelPrice) -> [String; 7] {
    let first = model.quote.tiers.first().and_then(|tier| tier.by_input.first());
    let figure = |of: fn(&RateStep) -> f64| first.map_or("unknown".to_owned(), |step| rate(of(step)));
    [
        escape(&model.quote.model),
        escape(&model.used.provider),
        model.used.calls.to_string(),
        model.used.input_tokens.map_or("–".to_owned(), count),
        model.used.output_tokens.map_or("–".to_owned(), count),
        figure(|step| step.usd_per_million.uncached_input),
        figure(|step| step.usd_per_million.output_visible),
    ]
}
