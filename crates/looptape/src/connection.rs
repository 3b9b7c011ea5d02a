//! Where looptape is, and one message to it.

use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

/// A replay may have to read a long recording before its first answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// While recording, the agent waits for no longer than this.
const NOTE_WITHIN: Duration = Duration::from_secs(1);

/// What the environment says, read once.
pub(crate) static LOOPTAPE: LazyLock<Option<Connection>> = LazyLock::new(Connection::from_environment);

/// Who runs this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Record,
    Replay,
}

/// The looptape that runs this program.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) mode: Mode,
    /// The trace that is recorded, or replayed.
    pub(crate) trace: Option<String>,
    origin: reqwest::Url,
    endpoint: reqwest::Url,
    client: reqwest::Client,
}

/// Whether looptape records or replays this program.
pub fn is_active() -> bool {
    LOOPTAPE.is_some()
}

impl Connection {
    fn from_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let origin = reqwest::Url::parse(&variable("LOOPTAPE_URL")?).ok()?;
        let trace = variable("LOOPTAPE_TRACE");
        let mode = match variable("LOOPTAPE_MODE").as_deref() {
            Some("replay") => Mode::Replay,
            _ => Mode::Record,
        };
        let mut endpoint = origin.clone();
        let mut segments = endpoint.path_segments_mut().ok()?;
        segments.pop_if_empty();
        if let Some(trace) = &trace {
            segments.extend(["t", trace]);
        }
        segments.extend(["_looptape", "v1", "tool"]);
        drop(segments);
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        Some(Self { mode, trace, origin, endpoint, client })
    }

    /// Whether a request goes to looptape.
    pub(crate) fn is_at(&self, url: &reqwest::Url) -> bool {
        url.origin() == self.origin.origin()
    }

    /// Sends one message. While recording, an answer that is late is given up.
    pub(crate) async fn send(&self, message: &Value) -> Result<Value, reqwest::Error> {
        let within = if self.mode == Mode::Replay { ANSWER_WITHIN } else { NOTE_WITHIN };
        let request = self.client.post(self.endpoint.clone()).timeout(within);
        let request = request.header("content-type", "application/json").body(message.to_string());
        let answer = request.send().await?.bytes().await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}
