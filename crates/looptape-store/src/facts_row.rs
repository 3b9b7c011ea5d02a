//! Facts as rows.

use looptape_core::facts::{
    AnswerFate, AskedUpstream, AttemptState, CallFacts, CallKind, DERIVATION, Lineage,
};
use looptape_core::provider::Provider;
use looptape_core::usage::TokenUsage;
use looptape_core::wire::Wire;
use rusqlite::Row;
use rusqlite::types::ToSql;

/// The columns that [`bind`] fills, in `calls`.
pub(crate) const WRITTEN: &str = "derivation, wire, model, response_model, service_tier, stream, finish_reason, \
     first_event_us, first_reasoning_us, first_content_us, first_tool_call_us, last_output_us, state, retry_count, \
     retry_after_ms, response_bytes, uncached_input, cache_read, cache_write_5m, cache_write_1h, output_visible, \
     reasoning, input_total, output_total, usage_raw, stated_cost_usd, request_digest, history, echo, last_turn, \
     before_turn, answer_history, answer_turn, turns, response_id, previous_response_id, asks, carries";

/// Binds the values of [`WRITTEN`], one after the other.
pub(crate) fn bind(
    f: &CallFacts,
    bind: &mut impl FnMut(&dyn ToSql) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let json = |value: serde_json::Result<String>| value.expect("names and ids are JSON");
    let asks = (!f.asks.is_empty()).then(|| json(serde_json::to_string(&f.asks)));
    let carries = (!f.carries.is_empty()).then(|| json(serde_json::to_string(&f.carries)));
    let raw = f.usage.raw.as_ref().map(|raw| json(serde_json::to_string(raw)));
    let count = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let wire = match f.kind {
        CallKind::Llm(wire) => Some(wire.as_str()),
        CallKind::Other => None,
    };
    let values: [&dyn ToSql; 38] = [
        &DERIVATION,
        &wire,
        &f.model,
        &f.response_model,
        &f.service_tier,
        &f.stream,
        &f.finish_reason,
        &f.first_event_us,
        &f.first_reasoning_us,
        &f.first_content_us,
        &f.first_tool_call_us,
        &f.last_output_us,
        &f.state.as_str(),
        &f.retry_count,
        &count(f.retry_after_ms),
        &count(Some(f.response_bytes)),
        &count(f.usage.uncached_input),
        &count(f.usage.cache_read),
        &count(f.usage.cache_write_5m),
        &count(f.usage.cache_write_1h),
        &count(f.usage.output_visible),
        &count(f.usage.reasoning),
        &count(f.usage.input_total),
        &count(f.usage.output_total),
        &raw,
        &f.stated_cost_usd,
        &f.request_digest,
        &f.lineage.history,
        &f.lineage.echo,
        &f.lineage.last_turn,
        &f.lineage.before_turn,
        &f.lineage.answer_history,
        &f.lineage.answer_turn,
        &f.lineage.turns,
        &f.response_id,
        &f.previous_response_id,
        &asks,
        &carries,
    ];
    values.into_iter().try_for_each(bind)
}

/// The columns that [`read`] wants, of `calls`.
pub(crate) const COLUMNS: &str = "seq, sent_us, provider, method, path, request_size, loop_hint, \
     head_us, end_us, status, wire, model, response_model, service_tier, stream, finish_reason, \
     first_event_us, first_reasoning_us, first_content_us, first_tool_call_us, last_output_us, state, \
     retry_count, retry_after_ms, response_bytes, uncached_input, cache_read, cache_write_5m, \
     cache_write_1h, output_visible, reasoning, input_total, output_total, usage_raw, \
     stated_cost_usd, request_digest, history, echo, last_turn, before_turn, answer_history, answer_turn, \
     turns, response_id, previous_response_id, asks, carries, upstream, superseded";

/// How many those are; the derivation comes after them.
pub(crate) const COUNT: usize = 49;

/// The facts of a row of [`COLUMNS`] and the derivation, if this version derived them.
pub(crate) fn read_current(row: &Row<'_>) -> rusqlite::Result<Option<CallFacts>> {
    match row.get(COUNT)? {
        Some(DERIVATION) => read(row).map(Some),
        _ => Ok(None),
    }
}

/// Facts from a row of [`COLUMNS`]. Unreadable derived values count as absent: they can be made anew.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<CallFacts> {
    let mut next = Columns { row, at: 0 };
    let seq = next.take()?;
    let sent_us = next.take()?;
    let provider: String = next.take()?;
    let method: String = next.take()?;
    let path: String = next.take()?;
    let request_bytes = next.count()?.unwrap_or(0);
    let loop_hint = next.take()?;
    let head_us = next.take()?;
    let end_us = next.take()?;
    let status = next.take()?;
    let wire: Option<String> = next.take()?;
    Ok(CallFacts {
        seq,
        sent_us,
        provider: Provider::parse(&provider).unwrap_or(Provider::OPENAI),
        endpoint: format!("{method} {}", path.split('?').next().unwrap_or_default()),
        request_bytes,
        loop_hint,
        head_us,
        end_us,
        status,
        kind: wire.as_deref().and_then(Wire::parse).map_or(CallKind::Other, CallKind::Llm),
        model: next.take()?,
        response_model: next.take()?,
        service_tier: next.take()?,
        stream: next.take()?,
        finish_reason: next.take()?,
        first_event_us: next.take()?,
        first_reasoning_us: next.take()?,
        first_content_us: next.take()?,
        first_tool_call_us: next.take()?,
        last_output_us: next.take()?,
        state: state(&next.take::<String>()?),
        retry_count: next.take()?,
        retry_after_ms: next.count()?,
        response_bytes: next.count()?.unwrap_or(0),
        usage: TokenUsage {
            uncached_input: next.count()?,
            cache_read: next.count()?,
            cache_write_5m: next.count()?,
            cache_write_1h: next.count()?,
            output_visible: next.count()?,
            reasoning: next.count()?,
            input_total: next.count()?,
            output_total: next.count()?,
            raw: next.json()?,
        },
        stated_cost_usd: next.take()?,
        request_digest: next.take()?,
        lineage: Lineage {
            history: next.take()?,
            echo: next.take()?,
            last_turn: next.take()?,
            before_turn: next.take()?,
            answer_history: next.take()?,
            answer_turn: next.take()?,
            turns: next.take()?,
        },
        response_id: next.take()?,
        previous_response_id: next.take()?,
        asks: next.json()?.unwrap_or_default(),
        carries: next.json()?.unwrap_or_default(),
        upstream: asked_upstream(next.take()?, next.take()?),
    })
}

/// Of the columns `upstream` and `superseded`.
pub(crate) fn asked_upstream(url: Option<String>, superseded: Option<bool>) -> Option<AskedUpstream> {
    let fate = if superseded == Some(true) { AnswerFate::Superseded } else { AnswerFate::PassedOn };
    Some(AskedUpstream { url: url?, fate })
}

fn state(word: &str) -> AttemptState {
    use AttemptState as S;
    [S::Complete, S::StreamError, S::UpstreamReset, S::UpstreamUnreachable, S::ClientGone]
        .into_iter()
        .find(|s| s.as_str() == word)
        .unwrap_or(S::InFlight)
}

/// Reads a row's columns in order.
struct Columns<'a> {
    row: &'a Row<'a>,
    at: usize,
}

impl Columns<'_> {
    fn take<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    fn count(&mut self) -> rusqlite::Result<Option<u64>> {
        Ok(self.take::<Option<i64>>()?.and_then(|n| u64::try_from(n).ok()))
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> rusqlite::Result<Option<T>> {
        Ok(self.take::<Option<String>>()?.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
