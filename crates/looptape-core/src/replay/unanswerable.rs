//! Reports of requests that were recorded and still get no answer, and of recorded calls that nobody asked
//! for.
//!
//! They are functions of the tape and of what was served. Why a request matches nothing is `classify`'s
//! matter.

use super::report::{DivergenceCode, Report};
use super::tape::{CallLabel, Completeness, EntryId, Tape};

/// Several calls match equally well, and nothing says which one it is.
pub(super) fn ambiguous(tape: &Tape, candidates: &[EntryId]) -> Report {
    let labels: Vec<CallLabel> = candidates.iter().map(|&id| tape.label(id)).collect();
    let message = format!("{} match this request equally well and hold different answers.", listed(&labels));
    let report = Report::new(DivergenceCode::Ambiguous, labels.first().copied(), message);
    Report { candidates: labels, ..report }
}

/// Each answer to the request was served; `is_over` if none of the recording is left.
pub(super) fn exhausted(tape: &Tape, matching: &[EntryId], is_over: bool) -> Report {
    let at = matching.first().map(|&id| tape.label(id));
    if *tape.completeness() == Completeness::Prefix && is_over {
        let message = "The recording ends before this request: its recorder was stopped.".to_owned();
        return Report::new(DivergenceCode::IncompleteRecording, at, message);
    }
    let request = at.map_or("This request".to_owned(), |label| format!("The request of {label}"));
    let message = match matching.len() {
        1 => format!("{request} was recorded once, and its answer has been served."),
        n => format!("{request} was recorded {n} times, and each answer has been served."),
    };
    Report::new(DivergenceCode::Exhausted, at, message)
}

/// The recorder was stopped before the answer had come.
pub(super) fn unanswered(tape: &Tape, entry: EntryId) -> Report {
    let label = tape.label(entry);
    let message = format!("The recording ends before the answer to {label} was complete.");
    Report::new(DivergenceCode::IncompleteRecording, Some(label), message)
}

const NOTHING_CAME: &str = "Nothing was compared, so this replay shows nothing. See that the program starts, \
     and that it takes its base URL from the environment (`looptape doctor` names the variables).";

/// Of `recorded` calls these were never asked for; whether there is anything else to report.
pub(super) fn unused(unused: &[CallLabel], recorded: usize, is_only_report: bool) -> Report {
    let message = match unused {
        [one] => format!("A recorded call was never asked for: {one}."),
        all if all.len() == recorded => format!("None of the {recorded} recorded calls was asked for."),
        many => format!("{} recorded calls were never asked for: {}.", many.len(), listed(many)),
    };
    let report = Report::new(DivergenceCode::UnusedRecording, unused.first().copied(), message);
    let next_step = match is_only_report && unused.len() == recorded {
        true => NOTHING_CAME.to_owned(),
        false => report.next_step,
    };
    // It is about several places, and comes after what happened at one.
    Report { root: is_only_report, requests: 0, next_step, seq: None, ..report }
}

/// `step 3, step 5 (2 attempts) and call #9`, at most ten of them.
fn listed(labels: &[CallLabel]) -> String {
    let places: Vec<String> = labels
        .chunk_by(|one, next| one.step.is_some() && one.step == next.step)
        .map(|attempts| match attempts {
            [first, _, ..] => format!("{first} ({} attempts)", attempts.len()),
            one => one.iter().map(CallLabel::to_string).collect(),
        })
        .collect();
    match places.as_slice() {
        [shown @ .., _] if shown.len() >= 10 => {
            format!("{} and {} more", places[..10].join(", "), places.len() - 10)
        }
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => places.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_listed_by_step() {
        let label = |seq: u32, step: Option<u32>| CallLabel { seq, step, lane: 0 };
        let two = [label(0, Some(1)), label(1, Some(1)), label(2, Some(2)), label(3, None)];
        assert_eq!(listed(&two), "step 1 (2 attempts), step 2 and call #3");
        assert_eq!(listed(&two[..2]), "step 1 (2 attempts)");
        assert_eq!(listed(&two[2..3]), "step 2");
        let many: Vec<CallLabel> = (0..12).map(|seq| label(seq, Some(seq + 1))).collect();
        assert!(listed(&many).ends_with("step 9, step 10 and 2 more"));
        assert!(listed(&many[..10]).ends_with("step 9 and step 10"));
    }
}
