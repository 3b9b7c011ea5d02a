//! What a replay came to, as JUnit XML.
//!
//! One test case a trace, whose name is the trace's id, or a test's own; so that a CI sees it pass and fail under one
//! name. Only tests have a time in it, and there is no path or port: the same replay gives the same file.

use super::gates;
use crate::exit::Exit;
use crate::test_report::TestVerdict;
use looptape_core::gates::{GateReport, GateResult};
use looptape_core::replay::{DivergenceCode, Report, Summary, report_text};
use quick_junit::{NonSuccessKind, Report as JUnitReport, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// One replayed trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    /// The trace's id, or the test's name.
    pub(crate) trace: &'a str,
    /// The agent, or what else the case is counted to.
    pub(crate) agent: Option<&'a str>,
    /// How the replay ended: of a divergence that was accepted, with success.
    pub(crate) exit: Exit,
    /// The agent's own exit code, if an agent ran.
    pub(crate) agent_code: Option<i32>,
    /// `None` if nothing was compared with the recording.
    pub(crate) summary: Option<&'a Summary>,
    /// What else there is to say of a failure.
    pub(crate) remarks: &'a str,
    /// If it is a test.
    pub(crate) test: Option<TestEnd<'a>>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestEnd<'a> {
    pub(crate) verdict: &'a TestVerdict,
    pub(crate) took: Duration,
}

impl Case<'_> {
    /// The causes of its failure; none if it succeeded.
    pub(crate) fn causes(&self) -> Vec<&Report> {
        let divergences = self.summary.map_or(&[][..], |summary| summary.divergences.as_slice());
        let is_of_them = self
            .test
            .is_none_or(|test| matches!(test.verdict, TestVerdict::Diverged(_) | TestVerdict::Unused(_)));
        match self.exit {
            Exit::Success => Vec::new(),
            _ if !is_of_them => Vec::new(),
            _ => divergences.iter().filter(|report| report.root).collect(),
        }
    }

    /// As a title.
    pub(crate) fn name(&self) -> String {
        let what = if self.test.is_some() { "test" } else { "replay of" };
        format!("{what} {}", self.trace)
    }

    fn consequences(&self) -> Vec<&Report> {
        let divergences = self.summary.map_or(&[][..], |summary| summary.divergences.as_slice());
        divergences.iter().filter(|report| !report.root).collect()
    }

    /// What to say where there is no divergence to name.
    pub(crate) fn other_failure(&self) -> String {
        if let Some(test) = self.test {
            return test.verdict.why().to_owned();
        }
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

/// The file of tests: a case a test, and one for each gate over all of them.
pub(crate) fn of_tests(cases: &[Case<'_>], gates: &GateReport) -> anyhow::Result<String> {
    let mut suite = TestSuite::new("looptape test");
    suite.add_test_cases(cases.iter().map(test_case));
    suite.add_test_cases(gates.gates.iter().map(gate_case));
    let mut report = JUnitReport::new("looptape test");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn gate_case(gate: &GateResult) -> TestCase {
    let status = match gate.verdict.is_failure() {
        false => TestCaseStatus::success(),
        true => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let message = format!("{} {}", gates::figure(gate), gates::remarks(gate));
            status.set_message(message).set_type("gate failed");
            status
        }
    };
    let mut test = TestCase::new(gate.gate.as_str(), status);
    test.set_classname("gates");
    test
}

fn test_case(case: &Case<'_>) -> TestCase {
    let mut test = TestCase::new(case.trace, status(case));
    test.set_classname(case.agent.unwrap_or("replay"));
    if let Some(end) = case.test {
        test.set_time(end.took);
    }
    test
}

fn status(case: &Case<'_>) -> TestCaseStatus {
    match case.test.map(|test| test.verdict) {
        Some(TestVerdict::NotRun) => return TestCaseStatus::skipped(),
        _ if case.exit == Exit::Success => return TestCaseStatus::success(),
        _ => {}
    }
    let causes = case.causes();
    let Some(first) = causes.first() else {
        let (kind, what) = match (case.test.map(|test| test.verdict), case.agent_code) {
            (Some(verdict @ (TestVerdict::AgentFailed(_) | TestVerdict::Broken(_))), _) => {
                (NonSuccessKind::Error, verdict.word())
            }
            (Some(verdict), _) => (NonSuccessKind::Failure, verdict.word()),
            (None, Some(_)) => (NonSuccessKind::Error, "agent"),
            (None, None) if case.summary.is_none() => (NonSuccessKind::Error, "agent"),
            (None, None) => (NonSuccessKind::Failure, "answers"),
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
