//! What is said about a divergence: a stable code, one plain sentence, the place, and the nearest
//! recorded call.
//!
//! A report holds values only; how it is laid out is the renderers' business. It is built from redacted
//! bytes and from the tape, never from time or order of arrival, so that the same divergence gives the
//! same report.

use super::components::Component;
use super::difference::Difference;
use super::tape::CallLabel;
use crate::captured;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of divergence. Their names are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DivergenceCode {
    /// The request asks for another model.
    ModelDrift,
    /// The system prompt changed.
    SystemDrift,
    /// The tools on offer changed.
    ToolsDrift,
    /// Another parameter of the request changed.
    ParamDrift,
    /// The first message that differs is a tool's result.
    VolatileToolResult,
    /// The first message that differs is anything else, or messages are missing.
    HistoryRewrite,
    /// The request goes on after an answer with which the recorded run ended.
    ExtraCall,
    /// The recording holds nothing that begins like this.
    NeverRecorded,
    /// The request was recorded, and each of its answers has been served.
    Exhausted,
    /// Several recorded calls match equally well and hold different answers.
    Ambiguous,
    /// The recording ends before the answer.
    IncompleteRecording,
    /// A call past the replay that the recording does not hold, or a connection; it was refused.
    LiveEgressBlocked,
    /// Recorded calls were never asked for.
    UnusedRecording,
}

impl DivergenceCode {
    pub const ALL: [Self; 13] = [
        Self::ModelDrift,
        Self::SystemDrift,
        Self::ToolsDrift,
        Self::ParamDrift,
        Self::VolatileToolResult,
        Self::HistoryRewrite,
        Self::ExtraCall,
        Self::NeverRecorded,
        Self::Exhausted,
        Self::Ambiguous,
        Self::IncompleteRecording,
        Self::LiveEgressBlocked,
        Self::UnusedRecording,
    ];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ModelDrift => "MODEL_DRIFT",
            Self::SystemDrift => "SYSTEM_DRIFT",
            Self::ToolsDrift => "TOOLS_DRIFT",
            Self::ParamDrift => "PARAM_DRIFT",
            Self::VolatileToolResult => "VOLATILE_TOOL_RESULT",
            Self::HistoryRewrite => "HISTORY_REWRITE",
            Self::ExtraCall => "EXTRA_CALL",
            Self::NeverRecorded => "NEVER_RECORDED",
            Self::Exhausted => "EXHAUSTED",
            Self::Ambiguous => "AMBIGUOUS",
            Self::IncompleteRecording => "INCOMPLETE_RECORDING",
            Self::LiveEgressBlocked => "LIVE_EGRESS_BLOCKED",
            Self::UnusedRecording => "UNUSED_RECORDING",
        }
    }
}

impl fmt::Display for DivergenceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One divergence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub code: DivergenceCode,
    /// Whether this is a cause of its own; otherwise it follows from an earlier divergence.
    pub root: bool,
    /// The recorded step at which the run went another way.
    pub step: Option<u32>,
    pub lane: Option<u32>,
    /// The place in the recording of the call that `step` is about.
    #[serde(skip)]
    pub(super) seq: Option<u32>,
    /// One plain sentence.
    pub message: String,
    /// Method and path of the live request, without credentials; empty where there is none.
    pub endpoint: String,
    /// The first difference, where there is one to show.
    #[serde(flatten)]
    pub difference: Option<Difference>,
    pub nearest: Option<Nearest>,
    /// Recorded calls that match equally well, where that is the trouble.
    #[serde(default)]
    pub candidates: Vec<CallLabel>,
    /// The `[[mask]]` entries, as TOML, with which the request would have matched; only where all that
    /// differs looks volatile.
    #[serde(default)]
    pub mask: Option<String>,
    /// How many identical requests met this divergence.
    pub requests: u32,
    /// What to do about it, in a sentence or two.
    #[serde(default)]
    pub next_step: String,
}

/// The recorded call that is most like a live request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    #[serde(flatten)]
    pub label: CallLabel,
    /// Components that are equal, and that are not.
    pub same: Vec<Component>,
    pub different: Vec<Component>,
    /// Messages that both histories begin with.
    pub common_messages: usize,
    pub recorded_messages: usize,
    pub live_messages: usize,
}

impl Report {
    /// The report for a request that none of `recordings` holds as it is. Only its bytes were looked at.
    pub fn not_among(recordings: usize, endpoint: String) -> Self {
        let is_captured = endpoint.split_once(' ').is_some_and(|(_, path)| captured::is_captured(path));
        let where_to_name_it = match is_captured {
            true => "Name one as the user of the proxy's URL (http://TRACE:x@…)",
            false => "Put /t/TRACE in front of the base URL's provider",
        };
        let message = format!(
            "None of the {recordings} recorded calls is this request, byte for byte. {where_to_name_it} to have it \
             compared with one trace."
        );
        let report = Self { endpoint, ..Self::new(DivergenceCode::NeverRecorded, None, message) };
        if is_captured { report.blocked() } else { report }
    }

    /// A report without a difference to show.
    pub(crate) fn new(code: DivergenceCode, at: Option<CallLabel>, message: String) -> Self {
        Self {
            code,
            root: true,
            step: at.and_then(|label| label.step),
            lane: at.map(|label| label.lane),
            seq: at.map(|label| label.seq),
            message,
            endpoint: String::new(),
            difference: None,
            nearest: None,
            candidates: Vec::new(),
            mask: None,
            requests: 1,
            next_step: code.next_step().to_owned(),
        }
    }

    /// The same of a call that would have left this machine.
    pub(super) fn blocked(self) -> Self {
        let code = DivergenceCode::LiveEgressBlocked;
        let message = format!("{} It would have gone past the replay, and was refused.", self.message);
        Self { code, message, next_step: code.next_step().to_owned(), ..self }
    }

    /// The order of the recording.
    pub(super) fn tape_order(&self) -> impl Ord + use<> {
        let seq = self.seq.unwrap_or(u32::MAX);
        let pointer = self.difference.as_ref().map(|d| d.pointer.clone());
        let shown = self.difference.as_ref().map(|d| d.diff.to_string());
        (seq, self.step, self.code, pointer, shown, self.endpoint.clone(), self.message.clone())
    }

    /// The order in which reports are read: causes before what follows from them, then by place.
    pub(super) fn reading_order(&self) -> impl Ord + use<> {
        (!self.root, self.tape_order())
    }
}
