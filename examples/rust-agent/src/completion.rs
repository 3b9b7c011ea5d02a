//! One streamed chat completion, put together from its events; refusals are tried again.

use crate::{AgentError, tools};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

const MODEL: &str = "gpt-4o-mini";
/// Tries after the first.
const MAX_RETRIES: u32 = 3;

/// Where completions come from.
pub(crate) struct Provider {
    client: reqwest::Client,
    url: String,
    api_key: String,
}

/// A complete answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
}

/// A tool call; the arguments are JSON text as the model wrote it.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Provider {
    pub(crate) fn new(base_url: &str, api_key: &str) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("{}/chat/completions", base_url.trim_end_matches('/')),
            api_key: api_key.to_owned(),
        }
    }

    /// The answer to a history; its text goes to `out` as it arrives.
    pub(crate) async fn complete(
        &self,
        history: &[Value],
        out: &mut (dyn Write + Send),
    ) -> Result<Answer, AgentError> {
        let request = json!({
            "model": MODEL,
            "messages": history,
            "tools": tools::definitions(),
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let mut response = self.send(&request.to_string(), out).await?;
        let mut answer = Answer::default();
        let mut pending = Vec::new();
        write!(out, "assistant: ")?;
        while let Some(bytes) = response.chunk().await.map_err(|e| self.http_error(e))? {
            pending.extend_from_slice(&bytes);
            while let Some(end) = pending.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let Some(data) = line.trim_ascii().strip_prefix(b"data: ") else { continue };
                if data == b"[DONE]" {
                    writeln!(out)?;
                    return Ok(answer);
                }
                if let Ok(event) = serde_json::from_slice::<Value>(data) {
                    answer.extend(&event["choices"][0]["delta"], out)?;
                }
            }
        }
        Err(AgentError::CutStream { url: self.url.clone() })
    }

    /// Sends a request until it is accepted.
    async fn send(&self, body: &str, out: &mut (dyn Write + Send)) -> Result<Response, AgentError> {
        let mut attempt = 0;
        loop {
            let response = self
                .client
                .post(&self.url)
                .bearer_auth(&self.api_key)
                .header("content-type", "application/json")
                .body(body.to_owned())
                .send()
                .await
                .map_err(|e| self.http_error(e))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let retryable = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if !retryable || attempt == MAX_RETRIES {
                let body = response.text().await.map_err(|e| self.http_error(e))?;
                return Err(AgentError::Refused { url: self.url.clone(), status: status.as_u16(), body });
            }
            writeln!(out, "(refused with {}, trying again)", status.as_u16())?;
            tokio::time::sleep(wait_before_retry(&response, attempt)).await;
            attempt += 1;
        }
    }

    fn http_error(&self, source: reqwest::Error) -> AgentError {
        AgentError::Http { url: self.url.clone(), source }
    }
}

/// What the provider asks for, else half a second, doubled each time.
fn wait_before_retry(response: &Response, attempt: u32) -> Duration {
    let header = |name| response.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
    let stated_ms = header("retry-after-ms").or(header("retry-after").map(|s| s.saturating_mul(1000)));
    Duration::from_millis(stated_ms.unwrap_or(500 << attempt))
}

impl Answer {
    /// Adds what one event brings: a piece of text, the start of a call, a piece of its arguments.
    fn extend(&mut self, delta: &Value, out: &mut (dyn Write + Send)) -> Result<(), AgentError> {
        if let Some(piece) = delta["content"].as_str() {
            self.text.push_str(piece);
            write!(out, "{piece}")?;
            out.flush()?;
        }
        for part in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = part["index"].as_u64().and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
            while self.calls.len() <= index && index < 64 {
                self.calls.push(Call::default());
            }
            let Some(call) = self.calls.get_mut(index) else { continue };
            call.id.push_str(part["id"].as_str().unwrap_or_default());
            call.name.push_str(part["function"]["name"].as_str().unwrap_or_default());
            call.arguments.push_str(part["function"]["arguments"].as_str().unwrap_or_default());
        }
        Ok(())
    }

    /// The answer as the history's next message.
    pub(crate) fn to_message(&self) -> Value {
        let mut message = json!({ "role": "assistant", "content": self.text });
        if !self.calls.is_empty() {
            let call = |c: &Call| {
                let function = json!({ "name": c.name, "arguments": c.arguments });
                json!({ "id": c.id, "type": "function", "function": function })
            };
            message["tool_calls"] = self.calls.iter().map(call).collect();
        }
        message
    }
}
