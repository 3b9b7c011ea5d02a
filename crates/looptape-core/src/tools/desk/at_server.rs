//! Calls that reach a tool server in a replay (an MCP server's tools), under the same policies as all others.
//!
//! What was recorded of them is known where the server's messages are; here it is decided who answers.

use super::super::message::{arguments_digest, is_name_of};
use super::{
    DenyCode, FirstDrift, RecordedTool, Running, ToolCallKey, ToolDesk, ToolEnd, ToolPolicy, ToolVerdict,
    difference, shown,
};
use crate::tools::AnswerFrom;

/// A call that a server would get.
#[derive(Clone, Copy, Debug)]
pub struct ServerCall<'a> {
    pub server: &'a str,
    pub call: &'a ToolCallKey,
    /// Whether the recording has an answer to it.
    pub is_recorded: bool,
    /// Whether it is known to read only, besides what `looptape.toml` says.
    pub reads_only: bool,
}

/// Who answers it.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerVerdict {
    /// The recording, or nobody if it has no answer.
    Recorded,
    /// `looptape.toml`.
    Static(ToolEnd),
    /// Nobody; why.
    Deny(String),
    /// The server itself.
    Run(LiveResult),
}

/// What becomes of what the server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveResult {
    /// It is compared; the agent gets what was recorded, if anything was.
    Compared,
    /// It is compared; the agent gets it.
    Kept,
}

impl ToolDesk {
    /// A server would get a call.
    pub fn at_server(&mut self, asked: &ServerCall<'_>) -> ServerVerdict {
        let ServerCall { server, call, is_recorded, reads_only } = *asked;
        // A hook in the agent runs the same tool: it was counted there, and is compared here, where nothing was made of the
        // result yet.
        if let Some(at) = self.running_at(call) {
            if is_recorded {
                self.running[at].compared_at_server = Some(call.arguments_digest());
            }
            return ServerVerdict::Run(self.live_result());
        }
        let name = self.policies.name_at(server, &call.name).to_owned();
        match self.policies.policy(&name) {
            ToolPolicy::Live => self.runs_at_server(),
            ToolPolicy::Recorded if !is_recorded && !self.policies.may_write(&name, !reads_only) => {
                self.runs_at_server()
            }
            ToolPolicy::Recorded => ServerVerdict::Recorded,
            ToolPolicy::Static if let Some(end) = self.policies.answer(&name).cloned() => {
                self.report.fixed += 1;
                ServerVerdict::Static(end)
            }
            ToolPolicy::Static | ToolPolicy::Deny => match self.deny(DenyCode::Denied, call) {
                ToolVerdict::Deny { message, .. } => ServerVerdict::Deny(message),
                _ => ServerVerdict::Recorded,
            },
        }
    }

    /// The call of a hook that this is, seen at a server: of several of the tool the one with these arguments, which a
    /// framework may have written otherwise.
    fn running_at(&self, call: &ToolCallKey) -> Option<usize> {
        let digest = call.arguments_digest();
        let of_tool = || (0..self.running.len()).filter(|at| self.running[*at].is_at(call));
        of_tool().find(|at| self.running[*at].key.1 == digest).or_else(|| of_tool().next())
    }

    fn runs_at_server(&mut self) -> ServerVerdict {
        self.report.live += 1;
        ServerVerdict::Run(self.live_result())
    }

    fn live_result(&self) -> LiveResult {
        if self.keeps_live { LiveResult::Kept } else { LiveResult::Compared }
    }

    /// A call that ran at a server has ended; `recorded`: how it ended when it was recorded, if it was.
    pub fn ended_at_server(&mut self, call: &ToolCallKey, recorded: Option<ToolEnd>, live: &ToolEnd) {
        if recorded.is_none() && self.running_at(call).is_some() {
            // The hook may know better.
            return;
        }
        let digest = call.arguments_digest();
        let is_it = |known: &&RecordedTool| {
            is_name_of(&known.name, &call.name) && arguments_digest(&known.arguments) == digest
        };
        let step = self.recorded.iter().find(is_it).and_then(|known| known.step);
        let recorded = recorded.map(|end| RecordedTool {
            step,
            sub: None,
            name: call.name.clone(),
            call_id: call.call_id.clone(),
            arguments: call.arguments.clone(),
            end: Some(end),
            from: AnswerFrom::Tool,
            told_by: None,
            told_at: None,
            ran_us: None,
        });
        let difference = recorded.map(|recorded| difference(&recorded, live));
        let drift = self.report.drift.entry(call.name.clone()).or_default();
        drift.add(difference, |difference| FirstDrift {
            step,
            arguments: shown(&call.arguments),
            difference,
        });
    }
}

impl Running {
    /// Whether this is the call, seen where the agent's tools are executed.
    fn is_at(&self, call: &ToolCallKey) -> bool {
        is_name_of(&self.key.0, &call.name) && self.compared_at_server.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{Hands, Phase, ToolEntry, ToolMessage, ToolPolicies};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn desk(entries: Value) -> ToolDesk {
        let entries: BTreeMap<String, ToolEntry> = serde_json::from_value(entries).unwrap();
        ToolDesk::new(Vec::new(), ToolPolicies::new(&entries).unwrap())
    }

    fn call(name: &str) -> ToolCallKey {
        ToolCallKey { name: name.to_owned(), arguments: json!({}), call_id: None, occurrence: None }
    }

    fn verdict(desk: &mut ToolDesk, name: &str, is_recorded: bool, reads_only: bool) -> ServerVerdict {
        let call = call(name);
        desk.at_server(&ServerCall { server: "s", call: &call, is_recorded, reads_only })
    }

    #[test]
    fn policies_say_who_answers() {
        let compared = ServerVerdict::Run(LiveResult::Compared);
        let mut plain = desk(json!({}));
        assert_eq!(verdict(&mut plain, "t", true, true), ServerVerdict::Recorded);
        assert_eq!(verdict(&mut plain, "t", false, false), ServerVerdict::Recorded, "it may write");
        assert_eq!(verdict(&mut plain, "t", false, true), compared);
        let mut said = desk(json!({
            "reads": { "writes": false }, "writes": { "writes": true }, "no": { "policy": "deny" },
            "mcp__s__now": { "policy": "static", "result": 5 }, "live": { "policy": "live" },
        }));
        assert_eq!(verdict(&mut said, "reads", false, false), compared);
        assert_eq!(
            verdict(&mut said, "writes", false, true),
            ServerVerdict::Recorded,
            "the file knows better"
        );
        assert_eq!(verdict(&mut said, "live", true, false), compared);
        let five = ToolEnd::Ok { result: json!(5), form: None };
        assert_eq!(verdict(&mut said, "now", true, false), ServerVerdict::Static(five));
        assert!(matches!(verdict(&mut said, "no", true, true), ServerVerdict::Deny(_)));
        let report = said.report();
        assert_eq!((report.live, report.fixed, report.denied.len(), report.has_diverged()), (2, 1, 1, false));
        let mut kept = desk(json!({ "*": { "policy": "live" } })).keeping_live(true);
        assert_eq!(verdict(&mut kept, "t", true, false), ServerVerdict::Run(LiveResult::Kept));
    }

    fn message(call: ToolCallKey, phase: Phase) -> ToolMessage {
        ToolMessage { call, run: None, via: None, may_write: true, hands: Hands::Give, ago_us: 0, phase }
    }

    /// Two calls of one tool at once, which reach the server in another order than the hook.
    fn two_at_once(at_server: [Value; 2]) -> (u32, u32) {
        let mut desk = desk(json!({ "*": { "policy": "live" } }));
        let with = |arguments: &Value| ToolCallKey { arguments: arguments.clone(), ..call("t") };
        let hooked = [json!({ "n": 1 }), json!({ "n": 2 })];
        for arguments in &hooked {
            assert_eq!(desk.take(&message(with(arguments), Phase::Ask)), ToolVerdict::Run);
        }
        for (arguments, n) in at_server.iter().zip([1, 0]) {
            let key = with(arguments);
            let asked = ServerCall { server: "s", call: &key, is_recorded: true, reads_only: false };
            assert_eq!(desk.at_server(&asked), ServerVerdict::Run(LiveResult::Compared));
            desk.ended_at_server(&key, Some(ToolEnd::Null), &ToolEnd::Null);
            desk.take(&message(with(&hooked[n]), Phase::Ended { end: ToolEnd::Null, duration_us: None }));
        }
        (desk.report().live, desk.report().drift["t"].calls)
    }

    #[test]
    fn calls_of_one_tool_at_once_are_each_compared_once() {
        assert_eq!(two_at_once([json!({ "n": 2 }), json!({ "n": 1 })]), (2, 2));
        assert_eq!(two_at_once([json!({ "n": 2, "unit": "C" }), json!({ "n": 1, "unit": "C" })]), (2, 2));
    }

    #[test]
    fn what_a_hook_runs_is_compared_once() {
        let mut desk = desk(json!({ "*": { "policy": "live" } }));
        let message = |phase| message(call("mcp__s__t"), phase);
        let compared = ServerVerdict::Run(LiveResult::Compared);
        assert_eq!(desk.take(&message(Phase::Ask)), ToolVerdict::Run);
        assert_eq!(verdict(&mut desk, "t", true, false), compared);
        desk.ended_at_server(&call("t"), Some(ToolEnd::Null), &ToolEnd::Null);
        desk.take(&message(Phase::Ended { end: ToolEnd::Null, duration_us: None }));
        assert_eq!((desk.report().live, desk.report().drift.values().map(|drift| drift.calls).sum()), (1, 1));
        assert_eq!(verdict(&mut desk, "t", true, false), compared);
        desk.ended_at_server(&call("t"), Some(ToolEnd::Null), &ToolEnd::Null);
        desk.ended_at_server(&call("t"), None, &ToolEnd::Null);
        let drift = &desk.report().drift["t"];
        assert_eq!((drift.calls, drift.same, drift.not_recorded), (3, 2, 1));
        assert!(desk.settled().is_empty());
    }
}
