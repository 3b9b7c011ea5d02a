//! Facts for tests: one call after the other, with only what the test is about written down.

use crate::facts::{AskedTool, AttemptState, CallFacts, CallKind, Lineage};
use crate::provider::Provider;
use crate::usage::TokenUsage;
use crate::wire::Wire;

/// A chat call that was sent at `sent_ms`, took `took_ms` and was answered with 200.
pub(crate) fn call(seq: u32, sent_ms: i64, took_ms: i64) -> CallFacts {
    CallFacts {
        seq,
        kind: CallKind::Llm(Wire::OpenAiChat),
        provider: Provider::OPENAI,
        endpoint: "POST /v1/chat/completions".to_owned(),
        model: Some("gpt-4o-mini".to_owned()),
        response_model: Some("gpt-4o-mini-2024-07-18".to_owned()),
        service_tier: None,
        stream: false,
        finish_reason: Some("stop".to_owned()),
        sent_us: sent_ms * 1000,
        head_us: Some((sent_ms + took_ms) * 1000),
        first_event_us: None,
        first_reasoning_us: None,
        first_content_us: None,
        first_tool_call_us: None,
        last_output_us: None,
        end_us: Some((sent_ms + took_ms) * 1000),
        status: Some(200),
        state: AttemptState::Complete,
        retry_count: Some(0),
        retry_after_ms: None,
        request_bytes: 1000,
        response_bytes: 500,
        usage: TokenUsage::default(),
        stated_cost_usd: None,
        request_digest: 1_000_000 + i64::from(seq),
        lineage: Lineage::default(),
        response_id: None,
        previous_response_id: None,
        asks: Vec::new(),
        carries: Vec::new(),
        loop_hint: None,
        upstream: None,
    }
}

/// Histories in tests are numbers: an answer to history `h` is `h * 10`, its turn alone `h * 10 + 5`.
pub(crate) trait Example: Sized {
    fn history(self, history: i64) -> Self;
    fn after(self, parent_history: i64, history: i64) -> Self;
    fn asks(self, ids: &[&str]) -> Self;
    fn carries(self, ids: &[&str]) -> Self;
    fn failed(self, status: u16) -> Self;
    fn request(self, digest: i64) -> Self;
    fn retries(self, count: Option<u32>) -> Self;
    fn used(self, input: u64, cache_read: u64, output: u64) -> Self;
    fn looped(self, name: &str) -> Self;
    fn plain(self) -> Self;
}

impl Example for CallFacts {
    fn history(mut self, history: i64) -> Self {
        self.lineage.history = history;
        self.lineage.answer_history = Some(history * 10);
        self.lineage.answer_turn = Some(history * 10 + 5);
        self.request_digest = history;
        self
    }

    fn after(self, parent_history: i64, history: i64) -> Self {
        let mut this = self.history(history);
        this.lineage.echo = Some(parent_history * 10);
        this.lineage.last_turn = Some(parent_history * 10 + 5);
        this
    }

    fn asks(mut self, ids: &[&str]) -> Self {
        let ask =
            |id: &&str| AskedTool { id: Some((*id).to_owned()), name: format!("tool_{id}"), arguments: None };
        self.asks = ids.iter().map(ask).collect();
        self.finish_reason = Some("tool_calls".to_owned());
        self
    }

    fn carries(mut self, ids: &[&str]) -> Self {
        self.carries = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    fn failed(mut self, status: u16) -> Self {
        self.status = Some(status);
        self.finish_reason = None;
        self.lineage.answer_history = None;
        self.lineage.answer_turn = None;
        self
    }

    fn request(mut self, digest: i64) -> Self {
        self.request_digest = digest;
        self
    }

    fn retries(mut self, count: Option<u32>) -> Self {
        self.retry_count = count;
        self
    }

    fn used(mut self, input: u64, cache_read: u64, output: u64) -> Self {
        self.usage = TokenUsage {
            uncached_input: Some(input - cache_read),
            cache_read: Some(cache_read),
            output_visible: Some(output),
            reasoning: Some(0),
            input_total: Some(input),
            output_total: Some(output),
            ..TokenUsage::default()
        };
        self
    }

    fn looped(mut self, name: &str) -> Self {
        self.loop_hint = Some(name.to_owned());
        self
    }

    fn plain(mut self) -> Self {
        self.kind = CallKind::Other;
        self.endpoint = "POST /v1/embeddings".to_owned();
        self
    }
}
