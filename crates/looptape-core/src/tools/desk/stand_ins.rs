//! Results that the model is told in the place of what its agent says.
//!
//! The hooks of coding agents can keep a tool from running, and let it run, but give nothing in its place. What they
//! refused stands in the agent's history as a refusal; there the recorded result takes its place, in every request.
//! A tool that ran is compared when its result comes by, and the recorded one takes its place too.
//!
//! A call that was neither asked about nor run is one that the agent refused by itself: a file is not there, because the
//! call that wrote it did not run. That is so only of tools before which the agent's hooks said that they ask.

use super::super::message::{ToolCallKey, ToolMessage};
use super::super::policy::ToolPolicy;
use super::super::report::FirstDrift;
use super::super::told::{CallKey, Said};
use super::super::verdict::{AnswerFrom, DenyCode, ToolVerdict};
use super::{How, ToolDesk, shown};
use crate::replay::Difference;
use std::collections::{BTreeSet, HashMap};

/// What is known of the results of calls that can only be refused.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    /// By the place of the recorded call.
    standing: HashMap<usize, Standing>,
    /// Tools that the agent's hooks ask about.
    asked_for: BTreeSet<String>,
}

/// What the model is to be told of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The recorded result.
    Recorded,
    /// The tool runs: what it gives is compared when it comes by.
    Running,
    /// What the agent says.
    AsItIs,
}

impl StandIns {
    pub(super) fn is_asked_for(&mut self, tools: &[String]) {
        self.asked_for.extend(tools.iter().cloned());
    }
}

impl ToolDesk {
    /// Whether results in requests may be others than the agent says.
    pub fn has_stand_ins(&self) -> bool {
        !(self.stand_ins.standing.is_empty() && self.stand_ins.asked_for.is_empty())
    }

    /// The recorded call that a result in a request is of, and the call, by its `seq`, whose request told of it.
    pub fn recorded_result(&self, key: &CallKey) -> Option<(usize, u32)> {
        let at = match key {
            CallKey::Id(id) => self.recorded.first_of_id(id),
            CallKey::Nth { name, arguments, nth } => self.recorded.nth_of(name, *arguments, *nth),
        };
        at.and_then(|at| Some((at, self.recorded.call(at).told_by?)))
    }

    /// Whether the model is to be told what was `recorded` of that call, in the place of what the agent says.
    pub fn tells_recorded(&mut self, at: usize, live: &Said, recorded: &Said) -> bool {
        let standing = match self.stand_ins.standing.get(&at) {
            Some(Standing::Running) => self.came_by(at, live, recorded),
            Some(standing) => *standing,
            None => match self.of_unasked(at, live == recorded) {
                Some(Standing::Running) => self.came_by(at, live, recorded),
                Some(standing) => standing,
                None => return false,
            },
        };
        self.stand_ins.standing.insert(at, standing);
        standing == Standing::Recorded
    }

    /// A call that nobody asked about; `None` if its tool is none that is asked about, or there is nothing to tell.
    fn of_unasked(&mut self, at: usize, is_same: bool) -> Option<Standing> {
        let name = &self.recorded.call(at).name;
        if is_same || !self.recorded.is_left(at) || !self.stand_ins.asked_for.contains(name) {
            return None;
        }
        match self.policies.policy(name) {
            ToolPolicy::Recorded => {
                self.recorded.take(at, &How::Equal);
                self.report.recorded += 1;
                self.report.not_asked += 1;
                Some(Standing::Recorded)
            }
            ToolPolicy::Live => {
                self.recorded.take(at, &How::Equal);
                self.report.live += 1;
                Some(Standing::Running)
            }
            ToolPolicy::Static | ToolPolicy::Deny => None,
        }
    }

    /// What a tool gave that ran.
    fn came_by(&mut self, at: usize, live: &Said, recorded: &Said) -> Standing {
        let call = self.recorded.call(at);
        let worded =
            |said: &Said| if said.is_error { format!("error {}", said.text) } else { said.text.clone() };
        let difference = (live != recorded)
            .then(|| Difference::of_texts(String::new(), Some(&worded(recorded)), Some(&worded(live))));
        let (step, arguments) = (call.step, shown(&call.arguments));
        let drift = self.report.drift.entry(call.name.clone()).or_default();
        drift.add(Some(difference), |difference| FirstDrift { step, arguments, difference });
        if self.keeps_live { Standing::AsItIs } else { Standing::Recorded }
    }

    /// A caller asks that can keep the tool from running, but give nothing in its place.
    pub(super) fn ask_by_refuser(&mut self, message: &ToolMessage) -> ToolVerdict {
        let found = self.find_for_refuser(&message.call);
        let place = found.as_ref().ok().map(|(at, _)| *at);
        let standing = place.and_then(|at| self.stand_ins.standing.get(&at).copied());
        match (place, standing) {
            // A hook that is asked once more for one call says the same.
            (Some(at), Some(Standing::Recorded)) => return ToolVerdict::Answer(self.answer(at)),
            (Some(_), Some(Standing::Running)) => return ToolVerdict::Run,
            _ => {}
        }
        let verdict = self.ask(message, found);
        if let Some(at) = place {
            let standing = match (&verdict, self.recorded.is_left(at)) {
                (ToolVerdict::Answer(_), false) => Standing::Recorded,
                (ToolVerdict::Run, _) => Standing::Running,
                _ => Standing::AsItIs,
            };
            self.stand_ins.standing.insert(at, standing);
        }
        verdict
    }

    /// A caller asks that can give what it measured itself, and nothing else.
    pub(super) fn ask_for_measured(&mut self, message: &ToolMessage) -> ToolVerdict {
        let found = self.recorded.find(&message.call);
        let place = found.as_ref().ok().map(|(at, _)| *at);
        let verdict = self.ask(message, found);
        let untold = place.filter(|at| self.recorded.call(*at).from == AnswerFrom::History);
        if let Some(at) = untold {
            let standing = match &verdict {
                ToolVerdict::Answer(answer) if answer.from == AnswerFrom::History => Standing::Recorded,
                ToolVerdict::Run => Standing::Running,
                _ => Standing::AsItIs,
            };
            self.stand_ins.standing.insert(at, standing);
        }
        verdict
    }

    /// By its id alone, where the model gives one: its answers are the recorded ones, and hooks have names and arguments of
    /// their own. With another id it is another call, whose result is looked for under that id.
    fn find_for_refuser(&self, call: &ToolCallKey) -> Result<(usize, How), DenyCode> {
        match &call.call_id {
            Some(id) => {
                let found = self.recorded.first_of_id(id).map(|at| (at, How::Equal));
                found.ok_or_else(|| self.recorded.why_not(call))
            }
            None => self.recorded.find(call),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::message::{Hands, Phase};
    use super::super::super::{RecordedTool, ToolEnd, ToolPolicies};
    use super::*;
    use serde_json::json;

    fn recorded(id: &str, name: &str, text: &str) -> RecordedTool {
        RecordedTool {
            step: Some(1),
            sub: Some(1),
            name: name.into(),
            call_id: Some(id.into()),
            arguments: json!({ "cmd": id }),
            end: Some(ToolEnd::Ok { result: json!(text), form: None }),
            from: AnswerFrom::History,
            told_by: Some(2),
            told_at: None,
            ran_us: None,
        }
    }

    fn desk(policy: Option<ToolPolicy>) -> ToolDesk {
        let calls = vec![recorded("a", "shell", "3"), recorded("b", "edit", "done")];
        ToolDesk::new(calls, ToolPolicies::default().with_all(policy))
    }

    fn message(id: &str, phase: Phase) -> ToolMessage {
        // The hook's own name and arguments.
        let call = ToolCallKey {
            name: "Bash".into(),
            arguments: json!({ "command": id }),
            call_id: Some(id.into()),
            occurrence: None,
        };
        ToolMessage { call, run: None, via: None, may_write: true, hands: Hands::Refuse, ago_us: 0, phase }
    }

    fn said(text: &str, is_error: bool) -> Said {
        Said { text: text.into(), is_error }
    }

    fn place(desk: &ToolDesk, id: &str) -> usize {
        desk.recorded_result(&CallKey::Id(id.into())).unwrap().0
    }

    #[test]
    fn what_was_refused_is_told_as_recorded_in_every_request() {
        let mut desk = desk(None);
        assert!(!desk.has_stand_ins());
        let at = place(&desk, "a");
        let (refusal, three) = (said("looptape: not run", true), said("3", false));
        assert!(!desk.tells_recorded(at, &refusal, &three), "nobody asked, and nobody said that they ask");
        for _ in 0..2 {
            assert!(matches!(desk.take(&message("a", Phase::Ask)), ToolVerdict::Answer(_)));
            assert!(desk.tells_recorded(at, &refusal, &three));
        }
        assert_eq!((desk.report().recorded, desk.report().by_id_alone), (1, 0));
        assert!(matches!(desk.take(&message("c", Phase::Ask)), ToolVerdict::Deny { .. }));
    }

    #[test]
    fn what_the_agent_refused_by_itself_is_told_as_recorded_if_its_hooks_are_there() {
        let mut desk = desk(None);
        let at = place(&desk, "b");
        let (missing, done) = (said("File does not exist", true), said("done", false));
        desk.take(&message("", Phase::Ready { tools: vec!["shell".into()] }));
        assert!(!desk.tells_recorded(at, &missing, &done), "it may have run");
        desk.take(&message("", Phase::Ready { tools: vec!["edit".into()] }));
        assert!(!desk.tells_recorded(at, &done, &done), "there is nothing to tell");
        assert!(desk.tells_recorded(at, &missing, &done));
        assert_eq!((desk.report().recorded, desk.report().not_asked), (1, 1));
    }

    #[test]
    fn what_ran_is_compared_once() {
        let told = |keeps_live| {
            let mut desk = desk(Some(ToolPolicy::Live)).keeping_live(keeps_live);
            assert_eq!(desk.take(&message("a", Phase::Ask)), ToolVerdict::Run);
            let at = place(&desk, "a");
            let told = [(); 2].map(|()| desk.tells_recorded(at, &said("4", false), &said("3", false)));
            let drift = desk.report().drift["shell"].clone();
            assert_eq!((drift.calls, drift.different), (1, 1));
            told
        };
        assert_eq!((told(false), told(true)), ([true; 2], [false; 2]));
    }

    #[test]
    fn what_a_caller_measured_itself_it_gives_back_itself() {
        let told = |from| {
            let call = RecordedTool { from, ..recorded("a", "Bash", "3") };
            let call = RecordedTool { arguments: json!({ "command": "a" }), ..call };
            let mut desk = ToolDesk::new(vec![call], ToolPolicies::default());
            let mut ask = message("a", Phase::Ask);
            ask.hands = Hands::GiveMeasured;
            assert!(matches!(desk.take(&ask), ToolVerdict::Answer(_)));
            desk.tells_recorded(place(&desk, "a"), &said("<output>3</output>", false), &said("3", false))
        };
        assert_eq!((told(AnswerFrom::Tool), told(AnswerFrom::History)), (false, true));
    }

    #[test]
    fn what_was_not_recorded_runs_only_in_a_folder_of_the_replays_own() {
        let asked = |own_folder| {
            let policies = ToolPolicies::default().in_own_folder(own_folder);
            let call = RecordedTool { name: "Bash".into(), ..recorded("a", "Bash", "3") };
            let call = RecordedTool { arguments: json!({ "command": "later" }), ..call };
            ToolDesk::new(vec![call], policies).take(&message("later", Phase::Ask))
        };
        assert!(matches!(asked(false), ToolVerdict::Deny { .. }), "the same arguments under another id");
        assert_eq!(asked(true), ToolVerdict::Run);
    }

    #[test]
    fn a_policy_that_refuses_is_told_to_the_model() {
        let mut desk = desk(Some(ToolPolicy::Deny));
        assert!(matches!(desk.take(&message("a", Phase::Ask)), ToolVerdict::Deny { .. }));
        let at = place(&desk, "a");
        assert!(!desk.tells_recorded(at, &said("denied", true), &said("3", false)));
    }
}
