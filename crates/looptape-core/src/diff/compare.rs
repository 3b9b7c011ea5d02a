//! From two traces to what differs between them.

use super::align::{self, Aligned, Item};
use super::content::PlainContent;
use super::field::Field;
use super::plan;
use super::report::{
    Both, Counts, Delta, Difference, FORMAT, FirstDifference, Only, Pair, PairChange, SideHead, StepHead,
    TraceDiff, Weight,
};
use super::side::{Seen, Side, attempts, one_line};
use super::step;
use super::tolerance::Tolerance;
use crate::digest::Digest;
use crate::metrics::Ms;
use crate::replay::Masking;
use crate::text_diff::Extent;
use crate::view::EntryView;
use std::collections::BTreeSet;

/// What is compared, and how much of it is shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fields that are compared; `None` for all.
    pub only: Option<BTreeSet<Field>>,
    pub extent: Extent,
    /// What is tolerated besides ids that the formats themselves make up.
    pub masking: Option<Masking>,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: None, extent: Extent::Cut, masking: None }
    }
}

impl Options {
    fn holds(&self, field: Field) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&field))
    }
}

/// Compares two traces.
pub fn compare(a: Side<'_>, b: Side<'_>, options: &Options) -> TraceDiff {
    let (seen_a, seen_b) = (a.seen(), b.seen());
    let mut tolerance = Tolerance::new(options.masking.as_ref());
    let steps: Vec<Pair> = plan::pairs(&seen_a, &seen_b)
        .into_iter()
        .map(|pair| match pair {
            Aligned::Both(i, j) => both(&seen_a[i], &seen_b[j], options, &mut tolerance),
            Aligned::OnlyA(i) => Pair::alone(Both::new(Some(&seen_a[i]), None)),
            Aligned::OnlyB(j) => Pair::alone(Both::new(None, Some(&seen_b[j]))),
        })
        .collect();
    let plain_calls = plain_pairs(a, b, options);
    let first = FirstDifference::of(steps.iter().chain(&plain_calls));
    let (head_a, head_b) = (a.head(), b.head());
    TraceDiff {
        format: FORMAT,
        same: first.is_none(),
        first,
        counts: Counts::of(&steps),
        only: Only { fields: options.only.as_ref().map(|only| only.iter().copied().collect()), steps: None },
        delta: Delta::between(&head_a, &head_b),
        notes: notes(&seen_a, &seen_b),
        a: head_a,
        b: head_b,
        steps,
        plain_calls,
    }
}

fn both(a: &Seen<'_>, b: &Seen<'_>, options: &Options, tolerance: &mut Tolerance<'_>) -> Pair {
    let mut differences = step::differences(a, b, options.extent, tolerance);
    differences.retain(|difference| options.holds(difference.field));
    Pair {
        change: PairChange::of(&differences),
        step: Both::new(Some(a.head()), Some(b.head())),
        differences,
        duration_ms: Both::new(a.entry.duration_ms, b.entry.duration_ms),
        ttft_ms: Both::new(a.entry.ttft_ms, b.entry.ttft_ms),
    }
}

impl PairChange {
    fn of(differences: &[Difference]) -> Self {
        let counts = differences.iter().any(|difference| difference.weight == Weight::Counts);
        if counts { Self::Changed } else { Self::Same }
    }
}

impl Pair {
    /// A step without a partner.
    fn alone(step: Both<&Seen<'_>>) -> Self {
        Self {
            change: if step.a.is_some() { PairChange::OnlyA } else { PairChange::OnlyB },
            step: Both::new(step.a.map(Seen::head), step.b.map(Seen::head)),
            differences: Vec::new(),
            duration_ms: Both::new(
                step.a.and_then(|seen| seen.entry.duration_ms),
                step.b.and_then(|seen| seen.entry.duration_ms),
            ),
            ttft_ms: Both::new(
                step.a.and_then(|seen| seen.entry.ttft_ms),
                step.b.and_then(|seen| seen.entry.ttft_ms),
            ),
        }
    }
}

/// A plain call, as far as aligning needs it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PlainKey {
    endpoint: String,
    request: Digest,
    answer: Digest,
    attempts: String,
}

impl Item for PlainKey {
    fn likeness(&self, other: &Self) -> u32 {
        match (self.endpoint == other.endpoint, self.request == other.request) {
            (true, true) => 40,
            (true, false) => 10,
            (false, _) => 0,
        }
    }
}

fn plain_pairs(a: Side<'_>, b: Side<'_>, options: &Options) -> Vec<Pair> {
    let (a, b) = (a.plain_calls(), b.plain_calls());
    let key = |(entry, content): &(&EntryView, &PlainContent)| PlainKey {
        endpoint: entry.endpoint.clone().unwrap_or_default(),
        request: Digest::of(content.request.as_bytes()),
        answer: Digest::of(content.answer.as_bytes()),
        attempts: attempts(&entry.attempts),
    };
    let keys = |calls: &[(&EntryView, &PlainContent)]| calls.iter().map(key).collect::<Vec<_>>();
    let (keys_a, keys_b) = (keys(&a), keys(&b));
    let aligned = align::align(&keys_a, &keys_b);
    aligned
        .into_iter()
        .map(|pair| {
            let (at_a, at_b) = match pair {
                Aligned::Both(i, j) => (Some(i), Some(j)),
                Aligned::OnlyA(i) => (Some(i), None),
                Aligned::OnlyB(j) => (None, Some(j)),
            };
            let calls = Both::new(at_a.map(|i| a[i]), at_b.map(|j| b[j]));
            plain_pair(calls, options)
        })
        .collect()
}

fn plain_pair(calls: Both<(&EntryView, &PlainContent)>, options: &Options) -> Pair {
    let mut differences = Vec::new();
    if let (Some((entry_a, a)), Some((entry_b, b))) = (calls.a, calls.b) {
        let (tried_a, tried_b) = (attempts(&entry_a.attempts), attempts(&entry_b.attempts));
        for (field, a, b) in [
            (Field::Request, &a.request, &b.request),
            (Field::Response, &a.answer, &b.answer),
            (Field::Attempts, &tried_a, &tried_b),
        ] {
            if a != b && options.holds(field) {
                let value = Both::new(Some(a.as_str()), Some(b.as_str()));
                differences.push(Difference::new(field, "", value, options.extent));
            }
        }
    }
    let head = |(entry, _): (&EntryView, &PlainContent)| StepHead {
        step: None,
        loop_number: entry.loop_number,
        lane: None,
        gist: one_line(entry.endpoint.as_deref().unwrap_or("a call")),
    };
    let duration = |(entry, _): (&EntryView, &PlainContent)| entry.duration_ms;
    Pair {
        change: match (calls.a, calls.b) {
            (Some(_), Some(_)) => PairChange::of(&differences),
            (Some(_), None) => PairChange::OnlyA,
            (None, _) => PairChange::OnlyB,
        },
        step: Both::new(calls.a.map(head), calls.b.map(head)),
        differences,
        duration_ms: Both::new(calls.a.and_then(duration), calls.b.and_then(duration)),
        ttft_ms: Both::default(),
    }
}

impl Delta {
    fn between(a: &SideHead, b: &SideHead) -> Self {
        let count = |a: u32, b: u32| i64::from(b) - i64::from(a);
        let tokens = |a: Option<u64>, b: Option<u64>| Some(b?.cast_signed() - a?.cast_signed());
        let (usd_a, usd_b) = (a.cost_usd.map(|usd| usd.as_f64()), b.cost_usd.map(|usd| usd.as_f64()));
        let cost_usd = usd_a.zip(usd_b).map(|(a, b)| b - a);
        Self {
            steps: count(a.steps, b.steps),
            tool_calls: count(a.tool_calls, b.tool_calls),
            attempts: count(a.attempts, b.attempts),
            input_tokens: tokens(a.input_tokens, b.input_tokens),
            output_tokens: tokens(a.output_tokens, b.output_tokens),
            cost_usd,
            cost_ratio: cost_usd.zip(usd_a).filter(|(_, a)| *a > 0.0).map(|(delta, a)| delta / a),
            duration_ms: a.duration_ms.zip(b.duration_ms).map(|(a, b): (Ms, Ms)| b - a),
        }
    }
}

fn notes(a: &[Seen<'_>], b: &[Seen<'_>]) -> Vec<String> {
    let formats = |side: &[Seen<'_>]| side.iter().filter_map(|s| s.entry.wire).collect::<BTreeSet<_>>();
    let (formats_a, formats_b) = (formats(a), formats(b));
    let mut notes = Vec::new();
    if formats_a != formats_b && !formats_a.is_empty() && !formats_b.is_empty() {
        let list = |formats: BTreeSet<&str>| formats.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!(
            "the formats differ ({} and {}): steps are compared by meaning; of the parameters only those that \
             both formats have, of the tools only their names",
            list(formats_a),
            list(formats_b)
        ));
    }
    let unknown = |side: &[Seen<'_>]| side.iter().filter(|seen| seen.entry.usage.is_none()).count();
    for (side, count, of) in [("A", unknown(a), a.len()), ("B", unknown(b), b.len())] {
        if count > 0 {
            notes.push(format!(
                "tokens are unknown for {count} of {of} steps of {side}: they are not compared"
            ));
        }
    }
    notes
}
