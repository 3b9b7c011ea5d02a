//! A replay's side of the protocol: which recorded result a call gets.

mod at_server;
mod stand_ins;

pub use at_server::{LiveResult, ServerCall, ServerVerdict};

use super::call::{MeasuredTool, ToolEnd, ToolError};
use super::message::{Hands, Phase, ToolCallKey, ToolMessage};
use super::policy::{ToolPolicies, ToolPolicy};
use super::report::{FirstDrift, NearestTool, ToolMask, ToolRefusal, ToolsReport};
use super::search::{How, RecordedTools};
use super::turn::Turn;
use super::verdict::{AnswerFrom, DenyCode, ToolAnswer, ToolVerdict};
use crate::canonical::digest_of_value;
use crate::replay::{Difference, Masking, Rung};
use crate::text_diff::shortened;
use crate::view::EntryView;
use serde_json::Value;
use stand_ins::StandIns;

/// Characters kept of arguments in reports, and of a masked value.
const ARGUMENTS_CHARS: usize = 200;
const VALUE_CHARS: usize = 80;
/// By how much the times may be off at which a tool is said to begin and to end.
const REPORTED_LATE_US: i64 = 5_000;

/// A tool call that was recorded, whether it was measured or is known from the model traffic alone.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedTool {
    /// The step that asked for it.
    pub step: Option<u32>,
    pub sub: Option<u32>,
    pub name: String,
    pub call_id: Option<String>,
    pub arguments: Value,
    /// What came of it; `None`: nothing ever did.
    pub end: Option<ToolEnd>,
    pub from: AnswerFrom,
    /// The call, by its `seq`, whose request told the model of it.
    pub told_by: Option<u32>,
    /// Its result's place among those that this request told of.
    pub told_at: Option<usize>,
    /// When it began and ended, where it was measured.
    pub ran_us: Option<(i64, i64)>,
}

/// The state of a replay's tools.
#[derive(Debug)]
pub struct ToolDesk {
    policies: ToolPolicies,
    keeps_live: bool,
    recorded: RecordedTools,
    /// Calls that were told to run, with the recorded calls that they are.
    running: Vec<Running>,
    /// Calls that were asked about and did not run.
    settled: Vec<ToolCallKey>,
    stand_ins: StandIns,
    /// When the recorded calls ran in whose place the tool did not run now.
    not_run_us: Vec<(i64, i64)>,
    report: ToolsReport,
}

#[derive(Debug)]
struct Running {
    key: (String, i64),
    call_id: Option<String>,
    run: Option<String>,
    recorded: Option<usize>,
    /// A call reached a tool server, whose result is compared: with arguments of this digest.
    compared_at_server: Option<i64>,
}

impl RecordedTool {
    /// What a view shows of a tool call; `None` of anything else. What was measured is taken from `measured`.
    pub fn of_entry(entry: &EntryView, measured: &[MeasuredTool]) -> Option<Self> {
        let tool = entry.tool.as_ref()?;
        let measured = tool.measured.and_then(|at| measured.get(at));
        let (end, arguments, from) = match measured {
            Some(known) => (known.end.clone(), known.arguments.clone(), AnswerFrom::Tool),
            None => (tool.told_end(), tool.arguments.clone().unwrap_or_default(), AnswerFrom::History),
        };
        Some(Self {
            step: entry.step.map(|step| step.0),
            sub: entry.sub,
            name: tool.name.clone(),
            call_id: tool.call_id.clone(),
            arguments,
            end,
            from,
            told_by: tool.told_by,
            told_at: tool.told_at,
            ran_us: measured.and_then(|known| Some((known.facts.started_us, known.facts.ended_us?))),
        })
    }
}

impl ToolDesk {
    /// `recorded` in the order in which the calls were asked for.
    pub fn new(recorded: Vec<RecordedTool>, policies: ToolPolicies) -> Self {
        Self {
            policies,
            keeps_live: false,
            recorded: RecordedTools::new(recorded),
            running: Vec::new(),
            settled: Vec::new(),
            stand_ins: StandIns::default(),
            not_run_us: Vec::new(),
            report: ToolsReport::default(),
        }
    }

    /// The same, where arguments are compared with these masks, as loosely as this.
    pub fn masked_by(self, masking: Masking, loosest: Rung) -> Self {
        Self { recorded: self.recorded.masked_by(masking, loosest), ..self }
    }

    /// The same, where the agent gets what a tool gives live instead of what it gave when it was recorded.
    pub fn keeping_live(self, keeps_live: bool) -> Self {
        Self { keeps_live, ..self }
    }

    /// Takes a message, and says what its sender is to do.
    pub fn take(&mut self, message: &ToolMessage) -> ToolVerdict {
        match &message.phase {
            Phase::Ready { tools } => {
                self.stand_ins.is_asked_for(tools);
                self.report.agents.insert(message.call.name.clone());
                ToolVerdict::Noted
            }
            Phase::Ask => {
                let verdict = match message.hands {
                    Hands::Give => self.ask_for_any(message),
                    Hands::GiveMeasured => self.ask_for_measured(message),
                    // It gives what it has when it likes.
                    Hands::Refuse => self.ask_by_refuser(message).at_once(),
                };
                if verdict != ToolVerdict::Run {
                    self.settled.push(message.call.clone());
                }
                verdict
            }
            Phase::Started => ToolVerdict::Noted,
            Phase::Ended { end, .. } => self.ended(message, end),
        }
    }

    /// Whether a tool ran at this time of the recording that was answered, or refused, in this replay.
    pub fn is_of_answered(&self, at_us: i64) -> bool {
        self.not_run_us
            .iter()
            .any(|(start, end)| start - REPORTED_LATE_US <= at_us && at_us <= end + REPORTED_LATE_US)
    }

    /// What it came to so far.
    pub fn report(&self) -> &ToolsReport {
        &self.report
    }

    /// The calls that were asked about and did not run: whatever they would have called was not called.
    pub fn settled(&self) -> &[ToolCallKey] {
        &self.settled
    }

    fn ask_for_any(&mut self, message: &ToolMessage) -> ToolVerdict {
        let found = self.recorded.find(&message.call);
        let ran_us = found.as_ref().ok().and_then(|(at, _)| self.recorded.call(*at).ran_us);
        let verdict = self.ask(message, found);
        self.not_run_us.extend(ran_us.filter(|_| verdict != ToolVerdict::Run));
        verdict
    }

    fn ask(&mut self, message: &ToolMessage, found: Result<(usize, How), DenyCode>) -> ToolVerdict {
        let ToolMessage { call, .. } = message;
        // The hooks of agents have names of their own for some tools.
        let name = found.as_ref().map_or(&call.name, |(at, _)| &self.recorded.call(*at).name).clone();
        match self.policies.policy(&name) {
            ToolPolicy::Deny => self.deny(DenyCode::Denied, call),
            ToolPolicy::Live => {
                let recorded = found.ok().map(|(at, how)| self.note(at, &how));
                self.run(message, recorded)
            }
            ToolPolicy::Static => match self.policies.answer(&name).cloned() {
                Some(end) => {
                    self.report.fixed += 1;
                    let from = AnswerFrom::Static;
                    ToolVerdict::Answer(ToolAnswer { end, from, step: None, sub: None, turn: None })
                }
                None => self.deny(DenyCode::Denied, call),
            },
            ToolPolicy::Recorded => match found {
                Ok((at, how)) => {
                    self.report.recorded += 1;
                    self.report.by_id_alone += u32::from(how == How::ByIdAlone);
                    let at = self.note(at, &how);
                    ToolVerdict::Answer(self.answer(at))
                }
                Err(_) if !self.policies.may_write(&name, message.may_write) => self.run(message, None),
                Err(_) if message.hands != Hands::Give && self.policies.has_own_folder() => {
                    self.run(message, None)
                }
                Err(code) => self.deny(code, call),
            },
        }
    }

    /// Notes which recorded call a live one is.
    fn note(&mut self, at: usize, how: &How) -> usize {
        self.recorded.take(at, how);
        if let How::Masked(pairs) = how {
            self.report.masked += 1;
            let RecordedTool { step, name, .. } = self.recorded.call(at);
            let masks = pairs.iter().map(|pair| ToolMask {
                step: *step,
                tool: name.clone(),
                kind: pair.kind,
                recorded: shortened(&pair.recorded, VALUE_CHARS),
                live: shortened(&pair.live, VALUE_CHARS),
            });
            self.report.masks.extend(masks);
        }
        at
    }

    fn run(&mut self, message: &ToolMessage, recorded: Option<usize>) -> ToolVerdict {
        self.report.live += 1;
        let ToolMessage { call, run, hands, .. } = message;
        let is_compared_when_told = match (hands, recorded) {
            (Hands::Give, _) | (Hands::GiveMeasured, None) => false,
            (Hands::GiveMeasured, Some(at)) => self.recorded.call(at).from == AnswerFrom::History,
            (Hands::Refuse, _) => true,
        };
        if is_compared_when_told {
            return ToolVerdict::Run;
        }
        let key = (call.name.clone(), call.arguments_digest());
        let (call_id, run) = (call.call_id.clone(), run.clone());
        self.running.push(Running { key, call_id, run, recorded, compared_at_server: None });
        ToolVerdict::Run
    }

    /// A call that ran has ended: it is compared, and the agent gets what was recorded.
    fn ended(&mut self, message: &ToolMessage, live: &ToolEnd) -> ToolVerdict {
        let ToolMessage { call, run, .. } = message;
        let key = (call.name.clone(), call.arguments_digest());
        let is_it = |running: &Running| match (run, &running.run) {
            (Some(a), Some(b)) => a == b,
            _ => running.key == key && running.call_id == call.call_id,
        };
        let Some(place) = self.running.iter().position(is_it) else { return ToolVerdict::Noted };
        let Running { recorded, compared_at_server, .. } = self.running.remove(place);
        if compared_at_server.is_none() && !self.was_taken_for_another(&call.name) {
            self.compare(call, recorded, live);
        }
        match recorded {
            Some(at) if !self.keeps_live => ToolVerdict::Answer(self.answer(at)),
            _ => ToolVerdict::Noted,
        }
    }

    /// Whether a server's call of this tool was put down to another one that still runs; that one is free again.
    fn was_taken_for_another(&mut self, name: &str) -> bool {
        let is_others = |running: &Running| running.compared_at_server.is_some_and(|at| at != running.key.1);
        let mut of_tool = self.running.iter_mut().filter(|running| running.key.0 == name);
        of_tool
            .find(|running| is_others(running))
            .and_then(|running| running.compared_at_server.take())
            .is_some()
    }

    fn compare(&mut self, call: &ToolCallKey, recorded: Option<usize>, live: &ToolEnd) {
        let difference = recorded.map(|at| difference(self.recorded.call(at), live));
        let step = recorded.and_then(|at| self.recorded.call(at).step);
        let drift = self.report.drift.entry(call.name.clone()).or_default();
        drift.add(difference, |difference| FirstDrift {
            step,
            arguments: shown(&call.arguments),
            difference,
        });
    }

    fn answer(&self, at: usize) -> ToolAnswer {
        let RecordedTool { step, sub, end, from, .. } = self.recorded.call(at);
        let never_came = || ToolEnd::Aborted {
            error: ToolError {
                message: Some("its result never came when it was recorded".into()),
                ..ToolError::default()
            },
        };
        ToolAnswer {
            end: end.clone().unwrap_or_else(never_came),
            from: *from,
            step: *step,
            sub: *sub,
            turn: Some(Turn::of(at, self.recorded.iter())),
        }
    }

    fn deny(&mut self, code: DenyCode, call: &ToolCallKey) -> ToolVerdict {
        let ToolCallKey { name, arguments, .. } = call;
        let arguments = shown(arguments);
        let message = match code {
            DenyCode::Denied => format!("looptape: a replay does not call {name} ([tools] in looptape.toml)"),
            DenyCode::NeverRecorded => format!(
                "looptape: {name} {arguments} was not recorded, and may write: it does not run in a replay. \
                 (`writes = false` under [tools.{name}] in looptape.toml lets it run)"
            ),
            DenyCode::Exhausted => {
                format!("looptape: {name} {arguments} was recorded, but its results have all been given")
            }
            DenyCode::Ambiguous => format!(
                "looptape: several recorded calls of {name} differ from {arguments} in volatile values only, and gave \
                 different results: it does not run in a replay"
            ),
        };
        let nearest = if code == DenyCode::Denied { None } else { self.nearest(call) };
        self.report.denied.push(ToolRefusal { code, tool: name.clone(), arguments, nearest });
        ToolVerdict::Deny { code, message }
    }

    /// The first recorded call of the same tool with other arguments.
    fn nearest(&self, call: &ToolCallKey) -> Option<NearestTool> {
        self.recorded.iter().filter(|recorded| recorded.name == call.name).find_map(|recorded| {
            let difference = Difference::of_json(&recorded.arguments, &call.arguments)?;
            Some(NearestTool { step: recorded.step, difference })
        })
    }
}

/// How a live end differs from the recorded one; `None` if it does not. Of the model traffic it is only known what the
/// model was told.
fn difference(recorded: &RecordedTool, live: &ToolEnd) -> Option<Difference> {
    let Some(end) = &recorded.end else {
        return Some(Difference::of_texts(String::new(), None, Some(&told(live))));
    };
    let digest = |end: &ToolEnd| end.shown().map(|value| digest_of_value(&value));
    let is_same = match recorded.from {
        AnswerFrom::Tool => end.outcome() == live.outcome() && digest(end) == digest(live),
        _ => end.outcome().is_failure() == live.outcome().is_failure() && told(end) == told(live),
    };
    if is_same {
        return None;
    }
    match (end.outcome() == live.outcome(), end.shown(), live.shown()) {
        (true, Some(a), Some(b)) if recorded.from == AnswerFrom::Tool => Difference::of_json(&a, &b),
        _ => Some(Difference::of_texts(String::new(), Some(&worded(end)), Some(&worded(live)))),
    }
}

/// What a model is told: a text as it is, anything else as JSON.
fn told(end: &ToolEnd) -> String {
    match end.shown() {
        Some(Value::String(text)) => match serde_json::from_str::<Value>(&text) {
            Ok(json) if json.is_object() || json.is_array() => json.to_string(),
            _ => text,
        },
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

fn worded(end: &ToolEnd) -> String {
    match end.outcome() {
        super::ToolOutcome::Ok => told(end),
        other => format!("{} {}", other.as_str(), told(end)).trim_end().to_owned(),
    }
}

fn shown(arguments: &Value) -> String {
    shortened(&arguments.to_string(), ARGUMENTS_CHARS)
}

#[cfg(test)]
mod tests {
    use super::super::{ToolCallKey, ToolEntry, ToolOutcome};
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn ok(result: Value) -> ToolEnd {
        ToolEnd::Ok { result, form: None }
    }

    fn recorded(step: u32, id: Option<&str>, n: i64, end: Option<ToolEnd>) -> RecordedTool {
        RecordedTool {
            step: Some(step),
            sub: Some(1),
            name: "f".into(),
            call_id: id.map(str::to_owned),
            arguments: json!({ "n": n }),
            end,
            from: AnswerFrom::Tool,
            told_by: None,
            told_at: None,
            ran_us: None,
        }
    }

    fn message(id: Option<&str>, arguments: Value, phase: Phase) -> ToolMessage {
        let call =
            ToolCallKey { name: "f".into(), arguments, call_id: id.map(str::to_owned), occurrence: None };
        ToolMessage { call, run: None, via: None, may_write: true, hands: Hands::Give, ago_us: 0, phase }
    }

    fn ask(id: Option<&str>, n: i64) -> ToolMessage {
        message(id, json!({ "n": n }), Phase::Ask)
    }

    fn policies(entry: Value) -> ToolPolicies {
        let entry: ToolEntry = serde_json::from_value(entry).unwrap();
        ToolPolicies::new(&BTreeMap::from([("f".to_owned(), entry)])).unwrap()
    }

    /// The step whose result was given, or the code of the refusal.
    fn given(verdict: &ToolVerdict) -> String {
        match verdict {
            ToolVerdict::Answer(answer) => {
                format!("{} of step {}", answer.end.outcome().as_str(), answer.step.unwrap())
            }
            ToolVerdict::Deny { code, .. } => code.as_str().to_owned(),
            ToolVerdict::Run => "run".to_owned(),
            ToolVerdict::Noted => "noted".to_owned(),
        }
    }

    #[test]
    fn by_id_then_by_arguments_and_order() {
        let calls = vec![
            recorded(1, Some("a"), 1, Some(ok(json!("x")))),
            recorded(2, Some("b"), 1, Some(ToolEnd::Null)),
            recorded(3, None, 1, None),
        ];
        let mut desk = ToolDesk::new(calls, ToolPolicies::default());
        let said: Vec<String> =
            [ask(Some("b"), 1), ask(Some("zzz"), 1), ask(None, 1), ask(None, 1), ask(None, 2)]
                .iter()
                .map(|message| given(&desk.take(message)))
                .collect();
        assert_eq!(
            said,
            ["null of step 2", "ok of step 1", "aborted of step 3", "EXHAUSTED", "NEVER_RECORDED"]
        );
        let report = desk.report();
        assert_eq!((report.recorded, report.denied.len(), report.has_diverged()), (3, 2, true));
        let nearest = report.denied[1].nearest.as_ref().unwrap();
        assert_eq!((nearest.step, nearest.difference.pointer.as_str()), (Some(1), "/n"));
    }

    #[test]
    fn two_calls_with_one_id_are_told_apart_by_their_arguments() {
        let calls = vec![
            recorded(1, Some("a"), 1, Some(ok(json!(1)))),
            recorded(2, Some("a"), 2, Some(ok(json!(2)))),
        ];
        let mut desk = ToolDesk::new(calls, ToolPolicies::default());
        assert_eq!(given(&desk.take(&ask(Some("a"), 2))), "ok of step 2");
        assert_eq!(given(&desk.take(&ask(Some("a"), 1))), "ok of step 1");
        assert_eq!(given(&desk.take(&ask(Some("a"), 1))), "EXHAUSTED");
    }

    #[test]
    fn an_occurrence_that_is_said_is_that_one() {
        let calls = vec![recorded(1, None, 1, Some(ok(json!(1)))), recorded(2, None, 1, Some(ok(json!(2))))];
        let mut desk = ToolDesk::new(calls, ToolPolicies::default());
        let mut second = ask(None, 1);
        second.call.occurrence = Some(2);
        assert_eq!(given(&desk.take(&second)), "ok of step 2");
        assert_eq!(given(&desk.take(&second)), "EXHAUSTED");
    }

    fn call(name_and_id: (&str, Option<&str>), arguments: Value, result: i64) -> RecordedTool {
        let (name, id) = name_and_id;
        RecordedTool {
            step: Some(u32::try_from(result).unwrap()),
            sub: Some(1),
            name: name.into(),
            call_id: id.map(str::to_owned),
            arguments,
            end: Some(ok(json!(result))),
            from: AnswerFrom::Tool,
            told_by: None,
            told_at: None,
            ran_us: None,
        }
    }

    const ID: [&str; 3] = [
        "8f14e45f-ceea-467f-a5e0-01b2c3d4e5f6",
        "0cc175b9-c0f1-46b6-8319-9c7ad1e2f3a4",
        "b026324c-6904-4b2a-9cb4-b88d6d61c81f",
    ];

    #[test]
    fn volatile_values_in_arguments_are_masked_counted_and_gated() {
        let recorded = || vec![call(("f", None), json!({"run": ID[0], "n": 1}), 1)];
        let told = |loosest, arguments: Value| {
            let mut desk =
                ToolDesk::new(recorded(), ToolPolicies::default()).masked_by(Masking::default(), loosest);
            let said = given(&desk.take(&message(None, arguments, Phase::Ask)));
            (said, desk.report().masked, desk.report().masks.len())
        };
        let later = json!({"n": 1, "run": ID[1]});
        assert_eq!(told(Rung::Masked, later.clone()), ("ok of step 1".to_owned(), 1, 1));
        assert_eq!(told(Rung::Renamed, later).0, "NEVER_RECORDED");
        assert_eq!(told(Rung::Masked, json!({"run": ID[0], "n": 1})), ("ok of step 1".to_owned(), 0, 0));
        assert_eq!(told(Rung::Masked, json!({"run": ID[1], "n": 2})).0, "NEVER_RECORDED");
    }

    #[test]
    fn an_id_in_arguments_stays_one_and_is_no_other_calls() {
        let of_run = |run: &str, result| call(("f", None), json!({ "run": run }), result);
        let ask = |run: &str| message(None, json!({ "run": run }), Phase::Ask);
        let mut desk = ToolDesk::new(vec![of_run(ID[0], 1), of_run(ID[1], 2)], ToolPolicies::default());
        assert_eq!(given(&desk.take(&ask(ID[2]))), "AMBIGUOUS");
        assert_eq!(given(&desk.take(&ask(ID[0]))), "ok of step 1");
        assert_eq!(given(&desk.take(&ask(ID[0]))), "EXHAUSTED", "it is not the other run");
        assert_eq!(given(&desk.take(&ask(ID[2]))), "ok of step 2");
        let moments =
            (1..=2).map(|hour| call(("f", None), json!({"at": format!("2026-01-01T0{hour}:00:00Z")}), hour));
        let mut desk = ToolDesk::new(moments.collect(), ToolPolicies::default());
        let at = |hour: u32| message(None, json!({"at": format!("2026-11-29T1{hour}:00:00Z")}), Phase::Ask);
        let said = [3, 4, 5].map(|hour| given(&desk.take(&at(hour))));
        assert_eq!(said, ["ok of step 1", "ok of step 2", "EXHAUSTED"], "times come in order");
    }

    /// As they are recorded: each recording has numbers of its own.
    #[test]
    fn secrets_in_arguments_are_compared_by_their_order() {
        let secret = |number: u32| format!("[[looptape:secret:{number}]]");
        let of = |a, b| json!({"to": secret(b), "from": secret(a)});
        let told = |arguments: Value| {
            let mut desk = ToolDesk::new(vec![call(("f", None), of(4, 7), 1)], ToolPolicies::default());
            given(&desk.take(&message(None, arguments, Phase::Ask)))
        };
        assert_eq!(told(of(1, 2)), "ok of step 1");
        assert_eq!(told(json!({"from": secret(9), "to": secret(3)})), "ok of step 1");
        assert_eq!(told(of(1, 1)), "NEVER_RECORDED", "two stay two");
        assert_eq!(told(json!({"from": "x", "to": secret(1)})), "NEVER_RECORDED");
    }

    #[test]
    fn by_id_with_volatile_arguments() {
        let calls = [(ID[0], 1), (ID[1], 2)]
            .map(|(run, n)| call(("f", Some(&format!("c{n}"))), json!({ "run": run }), n));
        let mut desk = ToolDesk::new(calls.to_vec(), ToolPolicies::default());
        let asked = message(Some("c2"), json!({"run": ID[2]}), Phase::Ask);
        assert_eq!(given(&desk.take(&asked)), "ok of step 2");
        assert_eq!((desk.report().masked, desk.report().by_id_alone), (1, 0));
    }

    /// What is known from the model traffic alone may be written otherwise when it is executed; what was measured not.
    #[test]
    fn other_arguments_under_a_known_id() {
        let of = |from| RecordedTool { from, ..recorded(1, Some("a"), 1, Some(ok(json!(1)))) };
        let told = |from| {
            let mut desk = ToolDesk::new(vec![of(from)], ToolPolicies::default());
            (given(&desk.take(&ask(Some("a"), 2))), desk.report().by_id_alone)
        };
        assert_eq!(told(AnswerFrom::History), ("ok of step 1".to_owned(), 1));
        assert_eq!(told(AnswerFrom::Tool).1, 0);
        assert_ne!(told(AnswerFrom::Tool).0, "ok of step 1");
    }

    #[test]
    fn policies_decide() {
        let calls = || vec![recorded(1, None, 1, Some(ok(json!(1))))];
        let asked = |entry: Value, n| given(&ToolDesk::new(calls(), policies(entry)).take(&ask(None, n)));
        assert_eq!(asked(json!({"policy": "deny"}), 1), "DENIED");
        assert_eq!(asked(json!({"writes": false}), 2), "run");
        assert_eq!(asked(json!({"writes": false}), 1), "ok of step 1");
        let mut desk = ToolDesk::new(calls(), policies(json!({"policy": "static", "result": 7})));
        let ToolVerdict::Answer(answer) = desk.take(&ask(None, 1)) else { panic!("it is answered") };
        assert_eq!((answer.end, answer.from), (ok(json!(7)), AnswerFrom::Static));
    }

    #[test]
    fn live_results_are_compared_and_the_recorded_ones_given() {
        let calls = || {
            vec![recorded(1, None, 1, Some(ok(json!({"a": 1})))), recorded(2, None, 2, Some(ToolEnd::Null))]
        };
        let live = || ToolPolicies::default().with_all(Some(ToolPolicy::Live));
        let ended =
            |n: i64, end: ToolEnd| message(None, json!({ "n": n }), Phase::Ended { end, duration_us: None });
        let mut desk = ToolDesk::new(calls(), live());
        for n in [1, 2, 3] {
            assert_eq!(given(&desk.take(&ask(None, n))), "run");
        }
        assert_eq!(given(&desk.take(&ended(1, ok(json!({"a": 2}))))), "ok of step 1");
        assert_eq!(given(&desk.take(&ended(2, ToolEnd::Null))), "null of step 2");
        assert_eq!(
            given(&desk.take(&ended(3, ToolEnd::Null))),
            "noted",
            "there is nothing to give in its place"
        );
        assert_eq!(given(&desk.take(&ended(1, ToolEnd::Null))), "noted", "nobody asked");
        let drift = &desk.report().drift["f"];
        assert_eq!((drift.calls, drift.same, drift.different, drift.not_recorded), (3, 1, 1, 1));
        assert_eq!(drift.first.as_ref().unwrap().difference.pointer, "/a");

        let mut kept = ToolDesk::new(calls(), live()).keeping_live(true);
        kept.take(&ask(None, 1));
        assert_eq!(given(&kept.take(&ended(1, ok(json!(9))))), "noted");
    }

    #[test]
    fn all_five_outcomes_come_back() {
        let error = ToolError { kind: Some("E".into()), message: Some("m".into()), form: None };
        let ends = [
            ok(json!("x")),
            ToolEnd::Null,
            ToolEnd::Error { error: error.clone() },
            ToolEnd::Timeout { error: error.clone() },
            ToolEnd::Aborted { error },
        ];
        let calls = ends.iter().zip(1..).map(|(end, n)| recorded(1, None, n, Some(end.clone()))).collect();
        let mut desk = ToolDesk::new(calls, ToolPolicies::default());
        for (end, n) in ends.iter().zip(1..) {
            let ToolVerdict::Answer(answer) = desk.take(&ask(None, n)) else { panic!("it is answered") };
            assert_eq!(&answer.end, end);
        }
        assert_eq!(ends.map(|end| end.outcome()), ToolOutcome::ALL);
    }
}
