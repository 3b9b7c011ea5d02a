//! What an MCP server's tools did, as measured tool calls of a trace: so they are linked to the model step that asked for
//! them, and their times are known.

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::Answer;
use looptape_core::labels::Labels;
use looptape_core::mcp::session::End;
use looptape_core::mcp::{McpToolCall, ServerName, said, tool_end};
use looptape_core::redact::Credentials;
use looptape_core::tools::{Hands, Phase, ToolEnd, ToolMessage, ToolSource};
use looptape_store::{Moment, Recorder, ToolReport};

/// Where tool calls are written down.
#[derive(Clone, Debug)]
pub(crate) struct Notebook {
    pub(crate) recorder: Recorder,
    pub(crate) trace: TraceId,
    pub(crate) server: ServerName,
    /// Secrets that the agent or the server may know.
    pub(crate) known: Credentials,
}

/// A tool call under way. Dropping it records that its result never came.
#[derive(Debug)]
#[must_use = "a call that began must end"]
pub(crate) struct CalledTool {
    /// `None` once it was written down.
    open: Option<(McpToolCall, Notebook)>,
    began_us: i64,
    source: ToolSource,
}

impl CalledTool {
    /// `None` if the message is no call of a tool, or nobody writes it down.
    pub(crate) fn of(
        message: &[u8],
        at_us: i64,
        source: ToolSource,
        notebook: impl FnOnce() -> Option<Notebook>,
    ) -> Option<Self> {
        let call = McpToolCall::of(message)?;
        Some(Self { open: Some((call, notebook()?)), began_us: at_us, source })
    }

    /// It is over: a line of the server's says what came of it.
    pub(super) fn ended(self, how: &End) {
        match how {
            End::Answered { lines, end_us, .. } => self.write(lines.last().map(Bytes::as_ref), *end_us),
            // A call without an id wants no result.
            End::Accepted { at_us } | End::Nothing { at_us, .. } => self.write(None, *at_us),
        }
    }

    /// The same of a call over HTTP: the result is one of the messages in the answer.
    pub(crate) fn answered(mut self, answer: &Answer) {
        let messages = said(answer);
        let is_it = |call: &McpToolCall, message: &[u8]| call.is_answered_by(message);
        let found =
            self.open.as_ref().and_then(|(call, _)| messages.iter().find(|said| is_it(call, &said.message)));
        let (end, at_us) = match found {
            Some(said) => (tool_end(Some(&said.message)), said.at_us),
            None => (tool_end(None), answer.end_us),
        };
        self.write_end(end, at_us);
    }

    fn write(mut self, answer: Option<&[u8]>, at_us: i64) {
        self.write_end(tool_end(answer), at_us);
    }

    fn write_end(&mut self, end: ToolEnd, end_us: i64) {
        let Some((call, Notebook { recorder, trace, server, known })) = self.open.take() else { return };
        let now = Moment::now();
        let at = Moment { unix_us: now.unix_us - (now.mono_us - end_us), mono_us: end_us };
        let message = ToolMessage {
            call: call.key,
            run: None,
            via: Some(server.via()),
            may_write: true,
            hands: Hands::Give,
            ago_us: 0,
            phase: Phase::Ended { end, duration_us: u64::try_from(end_us - self.began_us).ok() },
        };
        let labels = Labels::default();
        recorder.tool(ToolReport { trace, at, message, source: self.source, labels, known });
    }
}

impl Drop for CalledTool {
    fn drop(&mut self) {
        self.write_end(tool_end(None), Moment::mono_us_now());
    }
}
