//! What a replay came to, as JUnit XML.
//!
//! One test case a trace, whose name is the trace's id, so that a CI sees it pass and fail under one name. There
//! is no time, path or port in it: the same replay gives the same file.

use crate::exit::Exit;
use looptape_core::replay::{DivergenceCode, Report, Summary, report_text};
use quick_junit::{NonSuccessKind, Report as JUnitReport, TestCase, TestCaseStatus, TestSuite};

/// One replayed trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) trace: &'a str,
    pub(crate) agent: Option<&'a str>,
    /// How the replay ended: of a divergence that was accepted, with success.
    pub(crate) exit: Exit,
    /// The agent's own exit code, if an agent ran.
    pub(crate) agent_code: Option<i32>,
    /// `None` if nothing was compared with the recording.
    pub(crate) summary: Option<&'a Summary>,
    /// What else there is to say of a failure.
    pub(crate) remarks: &'a str,
}

impl Case<'_> {
    /// The causes of its failure; none if it succeeded.
    pub(crate) fn causes(&self) -> Vec<&Report> {
        let divergences = self.summary.map_or(&[][..], |summary| summary.divergences.as_slice());
        match self.exit {
            Exit::Success => Vec::new(),
            _ => divergences.iter().filter(|report| report.root).collect(),
        }
    }

    fn consequences(&self) -> Vec<&Report> {
        let divergences = self.summary.map_or(&[][..], |summary| summary.divergences.as_slice());
        divergences.iter().filter(|report| !report.root).collect()
    }

    /// What to say where there is no divergence to name.
    pub(crate) fn other_failure(&self) -> String {
        match (self.agent_code, self.remarks.lines().next()) {
            (Some(code), _) if code != 0 => format!("the agent ended with code {code}"),
            (_, Some(remark)) => remark.to_owned(),
            _ => format!("the replay ended with code {}", self.exit.code()),
        }
    }
}

/// The file. What XML cannot hold is left out.
pub(crate) fn text(cases: &[Case<'_>]) -> anyhow::Result<String> {
    let mut suite = TestSuite::new("looptape replay");
    suite.add_test_cases(cases.iter().map(test_case));
    let mut report = JUnitReport::new("looptape replay");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn test_case(case: &Case<'_>) -> TestCase {
    let mut test = TestCase::new(case.trace, status(case));
    test.set_classname(case.agent.unwrap_or("replay"));
    test
}

fn status(case: &Case<'_>) -> TestCaseStatus {
    if case.exit == Exit::Success {
        return TestCaseStatus::success();
    }
    let causes = case.causes();
    let Some(first) = causes.first() else {
        let (kind, what) = match (case.agent_code, case.summary) {
            (Some(_), _) | (None, None) => (NonSuccessKind::Error, "agent"),
            (None, Some(_)) => (NonSuccessKind::Failure, "answers"),
        };
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(case.other_failure()).set_type(what).set_description(case.remarks);
        return status;
    };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let more = match causes.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    status.set_message(format!("{}{more}", first.message)).set_type(first.code.as_str());
    status.set_description(description(case, &causes));
    status
}

/// All causes in full, then what follows from them.
fn description(case: &Case<'_>, causes: &[&Report]) -> String {
    let mut text: String = causes.iter().map(|report| report_text::of(report)).collect();
    let consequences = case.consequences();
    if !consequences.is_empty() {
        text.push_str("what follows from it:\n");
    }
    for report in consequences {
        text.push_str(&format!("  {}\n", one_line(report.code, report)));
    }
    text.push_str(case.remarks);
    text
}

fn one_line(code: DivergenceCode, report: &Report) -> String {
    super::terminal_text::escape(&format!("{code}: {}", report.message))
}
