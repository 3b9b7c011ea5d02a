//! What a whole replay came to: the verdict, what was served and how, and the divergences, causes first.
//!
//! One value from which text, JSON and every other form is made.

use super::masks::MaskKind;
use super::options::{OnMiss, Rung};
use super::replayer::Choice;
use super::report::{DivergenceCode, Report};
use super::report_text::{self, push_line};
use super::tape::CallLabel;
use crate::mcp::McpReport;
use crate::tools::{DenyCode, ToolMask, ToolRefusal, ToolsReport};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Consequences of a divergence that the text lists.
const CONSEQUENCES_SHOWN: usize = 10;

/// The verdict on a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every request got its recorded answer, and every answer was asked for.
    Replayed,
    /// Some request had no recorded answer of its own.
    Diverged,
    /// Every request got its answer, but recorded calls were left over.
    Unused,
    /// It went its own way where it was allowed to: some requests were answered by a model. What the
    /// recording holds beyond that was not to be expected.
    Forked,
}

/// How many answers were served at each rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCounts {
    pub bytes: u32,
    pub canonical: u32,
    pub renamed: u32,
    pub masked: u32,
    #[serde(default)]
    pub near: u32,
    /// Of all of these, those that an identical concurrent call might as well have got.
    pub by_arrival: u32,
}

impl ServedCounts {
    pub fn total(&self) -> u32 {
        self.bytes + self.canonical + self.renamed + self.masked + self.near
    }

    pub(super) fn add(&mut self, rung: Rung, choice: Choice) {
        match rung {
            Rung::Bytes => self.bytes += 1,
            Rung::Canonical => self.canonical += 1,
            Rung::Renamed => self.renamed += 1,
            Rung::Masked => self.masked += 1,
            Rung::Near => self.near += 1,
        }
        self.by_arrival += u32::from(choice == Choice::ByArrival);
    }
}

/// Billing fields that differed in a request that was served all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingDifference {
    #[serde(flatten)]
    pub label: CallLabel,
    pub pointers: Vec<String>,
}

/// A volatile value that was tolerated at its own span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskUse {
    /// The first call in whose request it stood.
    #[serde(flatten)]
    pub label: CallLabel,
    /// JSON pointer of the text in which it stands.
    pub pointer: String,
    pub kind: MaskKind,
    /// Both values, redacted, cut if they are long.
    pub recorded: String,
    pub live: String,
    /// How many requests carried it.
    pub requests: u32,
}

/// A recorded value in whose place served answers carried the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebound {
    pub recorded: String,
    pub live: String,
    /// Places in answers.
    pub places: u32,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub verdict: Verdict,
    pub recorded_calls: usize,
    pub served: ServedCounts,
    /// Failed attempts that were passed over on request.
    pub collapsed_attempts: usize,
    /// Requests for which a model was to be asked, because of a fork or of `--on-miss`.
    #[serde(default)]
    pub asked: u32,
    /// Places in the recording of the calls whose answers were served.
    #[serde(skip)]
    pub served_calls: Vec<u32>,
    /// Captured calls of tools that were answered and did not run.
    #[serde(default)]
    pub calls_of_tools: usize,
    /// Optional calls that got a neutral answer.
    pub side_calls: u32,
    pub billing_differences: Vec<BillingDifference>,
    /// The volatile values that differed, in the order of the recording.
    #[serde(default)]
    pub masks: Vec<MaskUse>,
    /// What was rebound, in the order in which the values were met.
    #[serde(default)]
    pub rebound: Vec<Rebound>,
    pub unused: Vec<CallLabel>,
    /// Recorded optional calls that were not made.
    #[serde(default)]
    pub unused_side_calls: Vec<CallLabel>,
    /// What was served of MCP servers, if the recording or the agent had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpReport>,
    /// The first cause leads.
    pub divergences: Vec<Report>,
    /// What became of tool calls, where hooks or shims asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsReport>,
}

impl Summary {
    /// Adds what became of the MCP servers. A message that was not recorded is a cause of its own; what follows from it
    /// was found by its own comparison.
    pub fn with_mcp(mut self, mcp: McpReport) -> Self {
        if mcp.servers.is_empty() {
            return self;
        }
        self.divergences.extend(mcp.divergences());
        self.divergences.sort_by_cached_key(Report::reading_order);
        if self.verdict != Verdict::Forked {
            self.verdict = Verdict::of(&self.divergences, 0, OnMiss::Refuse);
        }
        self.mcp = Some(mcp);
        self
    }

    /// Adds what became of tool calls. One that the recording lacks makes another run of it.
    pub fn with_tools(mut self, tools: Option<ToolsReport>) -> Self {
        let Some(tools) = tools else { return self };
        let refused = tools.denied.iter().filter_map(of_refusal);
        self.divergences.extend(refused);
        if tools.has_diverged() {
            self.divergences.sort_by_cached_key(Report::reading_order);
            self.verdict = Verdict::Diverged;
        }
        Self { tools: Some(tools), ..self }
    }

    /// Adds the connections past the replay that were refused: `host:port`, and how often each was tried.
    pub fn with_blocked_egress<'a>(mut self, tried: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        for (host, requests) in tried {
            let message = format!("The agent tried to reach {host} past the replay, and was refused.");
            let report = Report::new(DivergenceCode::LiveEgressBlocked, None, message);
            self.divergences.push(Report { endpoint: host.to_owned(), requests, ..report });
        }
        if self.divergences.iter().any(|report| report.code == DivergenceCode::LiveEgressBlocked) {
            self.divergences.sort_by_cached_key(Report::reading_order);
            self.verdict = Verdict::Diverged;
        }
        self
    }
}

impl Verdict {
    /// `asked`: how many requests a model was asked. Where it is asked for what the recording lacks, nothing
    /// is refused, so then a divergence is where the run went its own way. What would have left this machine is
    /// always refused.
    pub(super) fn of(divergences: &[Report], asked: u32, on_miss: OnMiss) -> Self {
        let refused = |report: &Report| report.code != DivergenceCode::UnusedRecording;
        if divergences.iter().any(|report| report.code == DivergenceCode::LiveEgressBlocked) {
            return Self::Diverged;
        }
        if asked > 0 && (on_miss == OnMiss::Ask || !divergences.iter().any(refused)) {
            return Self::Forked;
        }
        if divergences.is_empty() {
            Self::Replayed
        } else if divergences.iter().all(|report| report.code == DivergenceCode::UnusedRecording) {
            Self::Unused
        } else {
            Self::Diverged
        }
    }
}

/// A refused tool call as a divergence, unless the policy wanted it refused.
fn of_refusal(refusal: &ToolRefusal) -> Option<Report> {
    let ToolRefusal { code, tool, arguments, nearest } = refusal;
    let (code, why) = match code {
        DenyCode::NeverRecorded => (DivergenceCode::NeverRecorded, "which was not recorded"),
        DenyCode::Exhausted => (DivergenceCode::Exhausted, "whose recorded results have all been given"),
        DenyCode::Ambiguous => {
            (DivergenceCode::Ambiguous, "which differs from several recorded calls in volatile values only")
        }
        DenyCode::Denied => return None,
    };
    let message = format!("The agent called the tool {tool} {arguments}, {why}: it did not run.");
    let next_step = format!(
        "If that call is right, record the run again; `[tools.{tool}]` in looptape.toml says what a replay does \
         with it (policy, writes)."
    );
    let step = nearest.as_ref().and_then(|nearest| nearest.step);
    let difference = nearest.as_ref().map(|nearest| nearest.difference.clone());
    let report = Report::new(code, None, message);
    Some(Report { endpoint: format!("tool {tool}"), step, difference, next_step, ..report })
}

/// How many masked values a text lists; reports in JSON list all.
const MASKS_SHOWN: usize = 12;

/// The summary as plain text, one fact a line. Recorded text is hostile to terminals: control characters
/// are escaped.
pub fn render_text(summary: &Summary) -> String {
    let mut out = String::new();
    let verdict = match summary.verdict {
        Verdict::Replayed => "replayed",
        Verdict::Diverged => "diverged",
        Verdict::Unused => "recorded calls left unused",
        Verdict::Forked => "went its own way",
    };
    push_line(&mut out, 0, &format!("{verdict}: {}", served_line(summary)));
    summary.mcp.iter().flat_map(McpReport::lines).for_each(|line| push_line(&mut out, 2, &line));
    for difference in &summary.billing_differences {
        push_line(
            &mut out,
            2,
            &format!("billing differs at {}: {}", difference.label, difference.pointers.join(", ")),
        );
    }
    if summary.calls_of_tools > 0 {
        let calls = match summary.calls_of_tools {
            1 => "1 captured call was not made: the tool that made it did not run".to_owned(),
            many => format!("{many} captured calls were not made: the tools that made them did not run"),
        };
        push_line(&mut out, 2, &calls);
    }
    if summary.side_calls > 0 {
        push_line(
            &mut out,
            2,
            &format!(
                "{} of the agent that were not recorded got a neutral answer",
                counted(summary.side_calls as usize, "optional call")
            ),
        );
    }
    if !summary.unused_side_calls.is_empty() {
        let places: Vec<String> = summary.unused_side_calls.iter().map(CallLabel::to_string).collect();
        let noun = counted(places.len(), "recorded optional call");
        push_line(&mut out, 2, &format!("{noun} not made: {}", places.join(", ")));
    }
    for masked in summary.masks.iter().take(MASKS_SHOWN) {
        let MaskUse { label, pointer, kind, recorded, live, .. } = masked;
        push_line(&mut out, 2, &format!("masked {kind} at {label} {pointer}: {recorded} | {live}"));
    }
    if summary.masks.len() > MASKS_SHOWN {
        let rest = summary.masks.len() - MASKS_SHOWN;
        push_line(&mut out, 2, &format!("and {rest} masked values more: --report FILE lists them all"));
    }
    for Rebound { recorded, live, places } in &summary.rebound {
        let places = counted(*places as usize, "place");
        push_line(&mut out, 2, &format!("rebound {recorded} to {live} in {places} of served answers"));
    }
    if let Some(tools) = &summary.tools {
        push_tools(&mut out, tools);
    }
    for report in summary.divergences.iter().filter(|report| report.root) {
        out.push_str(&report_text::of(report));
    }
    let consequences: Vec<&Report> = summary.divergences.iter().filter(|report| !report.root).collect();
    if !consequences.is_empty() {
        push_line(&mut out, 0, "what follows from it:");
    }
    for report in consequences.iter().take(CONSEQUENCES_SHOWN) {
        push_line(&mut out, 2, &format!("{}: {}", report.code, report.message));
    }
    if consequences.len() > CONSEQUENCES_SHOWN {
        let more = consequences.len() - CONSEQUENCES_SHOWN;
        push_line(&mut out, 2, &format!("and {more} more (`--report FILE` writes them all)"));
    }
    out
}

fn push_tools(out: &mut String, tools: &ToolsReport) {
    if !tools.has_calls() {
        return;
    }
    push_line(out, 2, &tools.line());
    if tools.by_id_alone > 0 {
        let calls =
            counted(tools.by_id_alone as usize, "of these was found by its id alone: its arguments are");
        let calls = match tools.by_id_alone {
            1 => calls,
            many => format!("{many} of these were found by their ids alone: their arguments are"),
        };
        push_line(out, 4, &format!("{calls} written otherwise than the model wrote them"));
    }
    if tools.masked > 0 {
        let calls = match tools.masked {
            1 => "1 call was found only with volatile values in its arguments masked".to_owned(),
            many => format!("{many} calls were found only with volatile values in their arguments masked"),
        };
        push_line(out, 4, &calls);
    }
    for ToolMask { step, tool, kind, recorded, live } in tools.masks.iter().take(MASKS_SHOWN) {
        let step = step.map_or(String::new(), |step| format!(" at step {step}"));
        push_line(out, 6, &format!("masked {kind} in {tool}{step}: {recorded} | {live}"));
    }
    if tools.not_asked > 0 {
        let line = format!(
            "{} of these the agent refused by itself: what earlier calls left is not there",
            tools.not_asked
        );
        push_line(out, 4, &line);
    }
    for (tool, drift) in &tools.drift {
        push_line(out, 4, &format!("{tool}: {}", drift.words()));
        if let Some(first) = &drift.first {
            let step = first.step.map_or(String::new(), |step| format!(" at step {step}"));
            push_line(out, 6, &format!("first{step}, {}: {}", first.arguments, first.difference.diff));
        }
    }
}

fn served_line(summary: &Summary) -> String {
    let served = &summary.served;
    let mut line = format!("{} of {} recorded calls served", served.total(), summary.recorded_calls);
    let rungs: Vec<String> = [
        (served.bytes, "byte for byte"),
        (served.canonical, "as equal JSON"),
        (served.renamed, "after renaming ids"),
        (served.masked, "with volatile values masked"),
        (served.near, "nearly"),
        (served.by_arrival, "by arrival"),
    ]
    .into_iter()
    .filter(|&(count, _)| count > 0)
    .map(|(count, how)| format!("{count} {how}"))
    .collect();
    if !rungs.is_empty() {
        let _ = write!(line, " ({})", rungs.join(", "));
    }
    if summary.asked > 0 {
        let requests = if summary.asked == 1 { "request" } else { "requests" };
        let _ = write!(line, ", {} {requests} went to a model", summary.asked);
    }
    if summary.collapsed_attempts > 0 {
        let _ = write!(line, ", {} failed attempts passed over", summary.collapsed_attempts);
    }
    line
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
