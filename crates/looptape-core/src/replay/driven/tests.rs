use super::*;
use crate::cost::PriceBook;
use crate::metrics::{Window, WindowBasis};
use crate::replay::answers::{AnswerClass, AnswerDiff};
use crate::replay::free_run::{FreeRunEnding, FreeRunReport, UnknownCall};
use crate::replay::tape::CallLabel;
use serde_json::json;

const SECOND_US: i64 = 1_000_000;

fn run<T>(trace: &str, run: u32, coverage: Coverage, what: T) -> DrivenRun<T> {
    DrivenRun {
        trace: trace.to_owned(),
        run,
        child: None,
        coverage,
        metrics: measure(Vec::new(), SECOND_US, 0, &PriceBook::listed()),
        recorded: measure(Vec::new(), SECOND_US, 0, &PriceBook::listed()),
        started_unix_us: 0,
        ended_unix_us: SECOND_US,
        replay: None,
        what,
    }
}

fn figures<T>(runs: &[DrivenRun<T>]) -> Figures {
    let window = Window { start_unix_us: 0, end_unix_us: 2 * SECOND_US, basis: WindowBasis::Observed };
    Figures::of(runs, Vec::new(), window, DrivenMoney::default())
}

fn resent(classes: &[AnswerClass]) -> ResentCalls {
    let call = |(seq, class): (u32, &AnswerClass)| DrivenCall {
        label: CallLabel { seq, step: Some(seq + 1), lane: 0 },
        answer: AnswerDiff {
            class: *class,
            text: None,
            calls: Vec::new(),
            finish_reason: None,
            failure: None,
        },
    };
    ResentCalls { calls: (0..).zip(classes).map(call).collect(), unanswered: 1, not_sent: 2 }
}

#[test]
fn the_worst_answers_come_first_and_then_the_order_of_runs() {
    use AnswerClass::{Error, OtherText, SameBytes, SameText};
    let runs = [
        run("a", 1, Coverage::Whole, resent(&[SameBytes, OtherText, SameText])),
        run("a", 2, Coverage::Whole, resent(&[OtherText, Error])),
        run("b", 1, Coverage::Interrupted, resent(&[SameBytes])),
    ];
    let report = |exactness| ResentReport::new(&runs, figures(&runs), exactness);
    let found = |exactness| -> Vec<(String, u32, u32)> {
        let place = |f: &Finding| (f.trace.clone(), f.run, f.label.seq);
        report(exactness).differences.iter().map(place).collect()
    };
    let place = |trace: &str, run, seq| (trace.to_owned(), run, seq);
    let other = [place("a", 2, 1), place("a", 1, 1), place("a", 2, 0)];
    assert_eq!(found(Exactness::Meaning), other);
    // What a recording answers must be the same bytes.
    assert_eq!(found(Exactness::Bytes), [&other[..], &[place("a", 1, 2)]].concat());
    let report = report(Exactness::Meaning);
    assert_eq!((report.calls, report.identical, report.same), (6, 2, 3));
    assert_eq!((report.unanswered, report.not_sent, report.figures.traces), (3, 6, 2));
    assert_eq!(report.figures.coverage, Coverage::Interrupted);
    assert!(!report.is_as_recorded() && !report.nothing_worked());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["classes"], json!({"same_bytes": 2, "same_text": 1, "other_text": 2, "error": 1}));
    assert_eq!((&json["differences"][0]["class"], &json["elapsed_ms"]), (&json!("error"), &json!(2000.0)));
}

#[test]
fn runs_in_which_nothing_worked_are_known() {
    use AnswerClass::{Error, OtherError, SameText};
    let nothing_worked = |classes: &[AnswerClass]| {
        let runs = [run("a", 1, Coverage::Whole, resent(classes))];
        ResentReport::new(&runs, figures(&runs), Exactness::Meaning).nothing_worked()
    };
    assert!(nothing_worked(&[Error, OtherError]));
    assert!(!nothing_worked(&[Error, SameText]));
    assert!(!nothing_worked(&[]));
}

#[test]
fn a_set_of_free_runs_is_as_good_as_its_worst_loop() {
    let ended = |ending| FreeRunReport {
        ending,
        steps: 1,
        recorded_steps: 1,
        tool_calls: 0,
        left: None,
        not_begun: 0,
    };
    let unknown = UnknownCall {
        step: 1,
        tool: "f".to_owned(),
        arguments: "{}".to_owned(),
        recorded_times: 0,
        nearest: None,
        recorded_tools: Vec::new(),
    };
    let endings = [
        (FreeRunEnding::AsRecorded, FreeOutcome::AsRecorded),
        (FreeRunEnding::Finished, FreeOutcome::Finished),
        (FreeRunEnding::StepLimit { max_steps: 1 }, FreeOutcome::Unfinished),
        (FreeRunEnding::Failed { what: "no".to_owned() }, FreeOutcome::Unfinished),
        (FreeRunEnding::Diverged { calls: vec![unknown] }, FreeOutcome::Diverged),
    ];
    let mut loops = Vec::new();
    for (number, (ending, expected)) in (1..).zip(endings) {
        loops.push((number, ended(ending)));
        let runs = [run("a", 1, Coverage::Whole, FreedLoops(loops.clone()))];
        let report = FreeReport::new(&runs, figures(&runs));
        assert_eq!((report.outcome(), report.free_loops.len()), (expected, loops.len()));
    }
}
