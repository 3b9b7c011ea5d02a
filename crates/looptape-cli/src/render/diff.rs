//! Two traces, compared, as text.

use super::figures::{duration, percent};
use super::style::{Color, Style, Tone};
use super::terminal_text::{cut, escape, width};
use looptape_core::cost::Usd;
use looptape_core::diff::{
    Both, Difference, Field, Only, Pair, PairChange, SideHead, StepHead, TraceDiff, Weight,
};
use looptape_core::metrics::Ms;
use looptape_core::text_diff::{Change, Extent, InlineDiff};
use std::collections::HashMap;

/// A value of at most so many columns stands beside the other one instead of in one text with it.
const SHORT_COLUMNS: usize = 40;
/// Fields named in the first line.
const FIRST_FIELDS: usize = 3;

/// A line that says it all, the two runs, then the steps. Recorded text is escaped line by line.
pub(crate) fn text(diff: &TraceDiff, extent: Extent, style: Style) -> String {
    let mut page = Page { style, extent, out: String::new(), told: HashMap::new() };
    let tone = if diff.same { Tone::Good } else { Tone::Warning };
    page.line(&style.paint(tone, &headline(diff)));
    page.line("");
    page.side("A", &diff.a);
    page.side("B", &diff.b);
    if let Some(fields) = &diff.only.fields {
        let names: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
        page.line(&style.paint(Tone::Quiet, &format!("compared: {} and nothing else", names.join(", "))));
    }
    for note in &diff.notes {
        page.line(&style.paint(Tone::Quiet, &format!("note: {}", escape(note))));
    }
    if !diff.steps.is_empty() || !diff.plain_calls.is_empty() {
        page.line("");
        page.pairs(&diff.steps);
        page.pairs(&diff.plain_calls);
    }
    page.out
}

/// Whether the runs are the same; else where they first differ, and by how much.
pub(crate) fn headline(diff: &TraceDiff) -> String {
    let mut parts = vec![match &diff.first {
        None if diff.counts.tolerated > 0 => {
            format!("same run but for values that change from run to run ({} steps)", diff.counts.tolerated)
        }
        None if diff.only != Only::default() => "no difference in what was compared".to_owned(),
        None => "same run".to_owned(),
        Some(first) => {
            let fields: Vec<&str> = first.fields.iter().map(|field| field.words()).collect();
            let (shown, more) = fields.split_at(fields.len().min(FIRST_FIELDS));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let what = format!("{}{more}", shown.join(", "));
            let number = |side: Option<looptape_core::assembly::StepNumber>| side.map(|step| step.0);
            match (first.change, number(first.step.a), number(first.step.b)) {
                (PairChange::OnlyA, Some(a), _) => format!("first difference at step {a}: only A has it"),
                (PairChange::OnlyB, _, Some(b)) => format!("first difference at step {b}: only B has it"),
                (_, Some(a), Some(b)) if a != b => {
                    format!("first difference at step {a} (B: step {b}): {what}")
                }
                (_, Some(a), _) => format!("first difference at step {a}: {what}"),
                (PairChange::OnlyA, ..) => "a call that is no model step was made in A only".to_owned(),
                (PairChange::OnlyB, ..) => "a call that is no model step was made in B only".to_owned(),
                _ => format!("first difference in a call that is no model step: {what}"),
            }
        }
    }];
    parts.extend(alone(diff.counts.only_a, "A"));
    parts.extend(alone(diff.counts.only_b, "B"));
    parts.extend(diff.delta.cost_usd.and_then(|usd| signed_cost(usd, diff.delta.cost_ratio)));
    parts.extend(diff.delta.duration_ms.and_then(signed_duration));
    parts.join("; ")
}

fn alone(count: u32, side: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 step only in {side}")),
        n => Some(format!("{n} steps only in {side}")),
    }
}

fn signed_cost(usd: f64, ratio: Option<f64>) -> Option<String> {
    let amount = Usd::from_f64(usd.abs()).filter(|amount| *amount != Usd::ZERO)?;
    let sign = if usd < 0.0 { "−" } else { "+" };
    let ratio = ratio.map(|ratio| format!(" ({sign}{})", percent(ratio.abs()))).unwrap_or_default();
    Some(format!("{sign}{amount}{ratio}"))
}

fn signed_duration(delta: Ms) -> Option<String> {
    let sign = if delta.us() < 0 { "−" } else { "+" };
    (delta.us() != 0).then(|| format!("{sign}{}", duration(Ms::from_us(delta.us().abs()))))
}

struct Page {
    style: Style,
    extent: Extent,
    out: String,
    /// Differences that were shown already, and at which step.
    told: HashMap<Told, String>,
}

/// Field, place, and both values.
type Told = (&'static str, String, Option<String>, Option<String>);

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn side(&mut self, name: &str, side: &SideHead) {
        let plural = super::figures::plural;
        let known = |n: Option<u64>| n.map_or("?".to_owned(), super::figures::count);
        let cost = match (side.cost_usd, side.cost_at_least) {
            (None, _) => "cost unknown".to_owned(),
            (Some(usd), true) => format!("at least {usd}"),
            (Some(usd), false) => usd.to_string(),
        };
        let facts = [
            Some(plural(side.steps, "step", "steps")),
            Some(plural(side.tool_calls, "tool call", "tool calls")),
            Some(format!("{} tokens in, {} out", known(side.input_tokens), known(side.output_tokens))),
            Some(cost),
            side.duration_ms.map(duration),
            Some(side.status.as_str().to_owned()),
            side.agent.as_deref().map(escape),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let id = self.style.paint(Tone::Strong, &escape(&side.trace.to_string()));
        self.line(&format!("{name}  {id}  {}", facts.join(" · ")));
    }

    /// Runs of steps that are the same take one line, unless everything is wanted.
    fn pairs(&mut self, pairs: &[Pair]) {
        let is_plain = |pair: &Pair| !pair.differs() && pair.differences.is_empty();
        for run in pairs.chunk_by(|a, b| is_plain(a) && is_plain(b)) {
            match run {
                [first, .., last] if self.extent == Extent::Cut => self.same_run(first, last, run.len()),
                run => run.iter().for_each(|pair| self.pair(pair)),
            }
        }
    }

    fn same_run(&mut self, first: &Pair, last: &Pair, count: usize) {
        let number = |head: &Option<StepHead>| head.as_ref().and_then(|head| head.step).map(|n| n.0);
        let range = |side: fn(&Pair) -> &Option<StepHead>| {
            number(side(first)).zip(number(side(last))).map(|(from, to)| format!("{from} to {to}"))
        };
        let (a, b) = (range(|pair| &pair.step.a), range(|pair| &pair.step.b));
        let which = match (a, b) {
            (Some(a), Some(b)) if a == b => format!("steps {a}"),
            (Some(a), Some(b)) => format!("steps {a} (B: {b})"),
            _ => format!("{count} calls that are no model steps"),
        };
        let line = format!("  {which}  same");
        let line = self.style.paint(Tone::Quiet, &line);
        self.line(&line);
    }

    fn pair(&mut self, pair: &Pair) {
        let (mark, tone) = match pair.change {
            PairChange::Same => (" ", Tone::Quiet),
            PairChange::Changed => ("~", Tone::Warning),
            PairChange::OnlyA => ("-", Tone::Bad),
            PairChange::OnlyB => ("+", Tone::Good),
        };
        let place = place(&pair.step);
        let gist = pair.step.as_ref().either().map_or_else(String::new, |head| escape(&head.gist));
        let what = match pair.change {
            PairChange::Same if pair.differences.is_empty() => format!("same  {gist}"),
            PairChange::Same => "same but for values that change from run to run".to_owned(),
            PairChange::Changed => fields(&pair.differences),
            PairChange::OnlyA => format!("only in A: {gist}"),
            PairChange::OnlyB => format!("only in B: {gist}"),
        };
        let times = times(pair);
        let columns = self.style.width.saturating_sub(width(&times) + 2);
        let head = cut(&format!("{mark} {place}  {what}"), columns);
        let line = format!("{}  {}", self.style.paint(tone, &head), self.style.paint(Tone::Quiet, &times));
        self.line(&line);
        self.differences(&pair.differences, &place);
    }

    fn differences(&mut self, differences: &[Difference], place: &str) {
        let mut repeated: Vec<(String, &'static str)> = Vec::new();
        let mut new: Vec<&Difference> = Vec::new();
        for difference in differences {
            let value = &difference.value;
            let key = (difference.field.as_str(), difference.at.clone(), value.a.clone(), value.b.clone());
            match self.told.get(&key) {
                Some(before) if self.extent == Extent::Cut => {
                    repeated.push((before.clone(), difference.field.words()));
                }
                _ => {
                    self.told.insert(key, place.to_owned());
                    new.push(difference);
                }
            }
        }
        for run in new.chunk_by(|a, b| a.field == Field::Usage && b.field == Field::Usage) {
            match run {
                [one] => self.difference(one),
                run => self.usage(run),
            }
        }
        for run in repeated.chunk_by(|a, b| a.0 == b.0) {
            let mut fields: Vec<&str> = run.iter().map(|(_, field)| *field).collect();
            fields.dedup();
            let line = format!("    {}: as at {}", fields.join(", "), run[0].0);
            let line = self.style.paint(Tone::Quiet, &line);
            self.line(&line);
        }
    }

    /// Several counts in one line.
    fn usage(&mut self, counts: &[&Difference]) {
        let side = |side: &Option<String>| side.clone().unwrap_or_default();
        let one = |d: &&Difference| format!("{} {} → {}", d.at, side(&d.value.a), side(&d.value.b));
        let counts: Vec<String> = counts.iter().map(one).collect();
        self.line(&format!("    usage  {}", escape(&counts.join(" · "))));
    }

    fn difference(&mut self, difference: &Difference) {
        let label = match difference.at.as_str() {
            "" => difference.field.words().to_owned(),
            at => format!("{} {}", difference.field.words(), escape(at)),
        };
        let kinds: Vec<&str> = difference.masks.iter().map(|kind| kind.as_str()).collect();
        let tolerated = match difference.weight {
            Weight::Counts => String::new(),
            Weight::Tolerated if kinds.is_empty() => "  (tolerated)".to_owned(),
            Weight::Tolerated => format!("  (tolerated: {})", kinds.join(", ")),
        };
        let is_short = |side: &Option<String>| {
            side.as_ref().is_none_or(|text| width(text) <= SHORT_COLUMNS && !text.contains('\n'))
        };
        if is_short(&difference.value.a) && is_short(&difference.value.b) {
            let side = |side: &Option<String>, tone| match side {
                Some(text) => self.style.paint(tone, &escape(text)),
                None => self.style.paint(Tone::Quiet, "(nothing)"),
            };
            let (a, b) = (side(&difference.value.a, Tone::Bad), side(&difference.value.b, Tone::Good));
            self.line(&format!("    {label}  {a} → {b}{tolerated}"));
            return;
        }
        let only = match (&difference.value.a, &difference.value.b) {
            (Some(_), None) => ", only in A",
            (None, Some(_)) => ", only in B",
            _ => "",
        };
        self.line(&format!("    {label}{only}{tolerated}"));
        for line in marked(&difference.diff, self.style).lines() {
            self.line(&format!("      {line}"));
        }
    }
}

/// `step 4`, `step 4 (B: step 5)`, `step 5 of B`, `POST /v1/embeddings`.
fn place(step: &Both<StepHead>) -> String {
    let number = |head: &StepHead| head.step.map(|step| step.0);
    match (&step.a, &step.b) {
        (Some(a), Some(b)) => match (number(a), number(b)) {
            (Some(a), Some(b)) if a == b => format!("step {a}"),
            (Some(a), Some(b)) => format!("step {a} (B: step {b})"),
            _ => escape(&a.gist),
        },
        (Some(a), None) => number(a).map_or("a call".to_owned(), |n| format!("step {n} of A")),
        (None, Some(b)) => number(b).map_or("a call".to_owned(), |n| format!("step {n} of B")),
        (None, None) => String::new(),
    }
}

/// The fields that differ, each once.
fn fields(differences: &[Difference]) -> String {
    let counted = differences.iter().filter(|difference| difference.weight == Weight::Counts);
    let mut fields: Vec<&str> = counted.map(|difference| difference.field.words()).collect();
    fields.dedup();
    fields.join(", ")
}

fn times(pair: &Pair) -> String {
    let both = |times: Both<Ms>| match (times.a, times.b) {
        (Some(a), Some(b)) => Some(format!("{} → {}", duration(a), duration(b))),
        (Some(one), None) | (None, Some(one)) => Some(duration(one)),
        (None, None) => None,
    };
    let ttft = both(pair.ttft_ms).map(|ttft| format!("TTFT {ttft}"));
    [both(pair.duration_ms), ttft].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Both texts in one: in colour, or `[-removed-]{+added+}`. Line breaks stay, everything else that could
/// move a cursor is written out.
pub(crate) fn marked(diff: &InlineDiff, style: Style) -> String {
    let mut out = String::new();
    for span in &diff.0 {
        let (tone, open, close) = match span.change {
            Change::Same => (Tone::Plain, "", ""),
            Change::Removed => (Tone::Bad, "[-", "-]"),
            Change::Added => (Tone::Good, "{+", "+}"),
        };
        let (open, close) = if style.color == Color::On { ("", "") } else { (open, close) };
        let lines: Vec<String> = span.text.split('\n').map(escape).collect();
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let text = match (at == 0, at == last) {
                (true, true) => format!("{open}{line}{close}"),
                (true, false) => format!("{open}{line}"),
                (false, true) => format!("{line}{close}"),
                (false, false) => line.clone(),
            };
            out.push_str(&style.paint(tone, &text));
            if at != last {
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hostile_in_a_diff_is_written_out() {
        let diff = InlineDiff::between("a \x1b[2J b\nsecond", "a c b\nsecond", Extent::Whole);
        let plain = Style { color: Color::Off, width: 80 };
        assert_eq!(marked(&diff, plain), "a [-\\u{1b}[2J-]{+c+} b\nsecond");
        let shown = marked(&diff, Style { color: Color::On, width: 80 });
        assert_eq!(shown, "a \x1b[31m\\u{1b}[2J\x1b[0m\x1b[32mc\x1b[0m b\nsecond");
    }

    #[test]
    fn deltas_have_their_sign() {
        assert_eq!(signed_cost(0.0123, Some(0.41)).as_deref(), Some("+$0.0123 (+41 %)"));
        assert_eq!(signed_cost(-0.5, None).as_deref(), Some("−$0.5"));
        assert_eq!(signed_cost(0.0, Some(0.0)), None);
        assert_eq!(signed_duration(Ms::from_us(-2_100_000)).as_deref(), Some("−2.10 s"));
    }
}
