//! A message to an MCP server over HTTP, on its way: what it asks of a tool, and what its end means.

use super::called_tool::{CalledTool, Notebook};
use looptape_core::exchange::{Answer, Ending};
use looptape_core::tools::ToolSource;

/// What is watched of a message that passes.
#[derive(Debug)]
pub(crate) enum Passing {
    /// It calls a tool.
    Tool(Box<CalledTool>),
    /// It listens for what the server says by itself, for as long as the client likes.
    Listening,
}

impl Passing {
    /// `None`: nothing in particular. `notebook`: where tool calls are written down, if that is known.
    pub(crate) fn of(
        (method, message): (&str, &[u8]),
        at_us: i64,
        source: ToolSource,
        notebook: impl FnOnce() -> Option<Notebook>,
    ) -> Option<Self> {
        match method {
            "GET" => Some(Self::Listening),
            "POST" => CalledTool::of(message, at_us, source, notebook).map(|tool| Self::Tool(Box::new(tool))),
            _ => None,
        }
    }

    /// The answer is over; how it ended, by what is known of the message.
    pub(crate) fn ended(self, answer: &Answer) -> Ending {
        match self {
            Self::Tool(tool) => {
                tool.answered(answer);
                answer.ending.clone()
            }
            Self::Listening if answer.ending == Ending::ClientGone => Ending::Complete,
            Self::Listening => answer.ending.clone(),
        }
    }
}
