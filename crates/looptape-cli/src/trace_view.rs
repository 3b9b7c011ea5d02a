//! A recorded trace as the view that people and scripts see.

use looptape_core::derive;
use looptape_core::facts::CallFacts;
use looptape_core::view::{self, CallContent, ToolResult, TraceView};
use looptape_core::wire::{Part, Role};
use looptape_store::{ReadError, Reader, RecordedTrace};
use std::cell::RefCell;

/// The whole trace, with what was said read from its bytes.
pub(crate) fn trace_view(reader: &Reader, trace: &RecordedTrace) -> Result<TraceView, ReadError> {
    let failed = RefCell::new(None);
    let content = |seq: u32| {
        let facts = trace.facts.iter().find(|facts| facts.seq == seq);
        let read = facts.map_or(Ok(CallContent::default()), |facts| content(reader, trace, facts));
        read.unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            CallContent::default()
        })
    };
    let view = view::trace_view(trace.row.meta(), &trace.facts, &trace.measure(), content);
    failed.into_inner().map_or(Ok(view), Err)
}

fn content(reader: &Reader, trace: &RecordedTrace, facts: &CallFacts) -> Result<CallContent, ReadError> {
    let exchange = reader.exchange(trace.row.key, facts.seq)?;
    let request = derive::request(
        &exchange.provider,
        &exchange.method,
        &exchange.path,
        &exchange.request_headers,
        &exchange.request_body,
    );
    let answer = derive::response_view(request.kind, &exchange.outcome).unwrap_or_default();
    let new = request.view.messages.iter().rev().take_while(|message| message.role != Role::Assistant);
    let mut tool_results: Vec<ToolResult> =
        new.flat_map(|message| message.parts.iter().rev()).filter_map(tool_result).collect();
    tool_results.reverse();
    Ok(CallContent {
        import_index: None,
        text: Some(answer.text).filter(|text| !text.is_empty()),
        tool_calls: answer.tool_calls,
        tool_results,
        messages: None,
    })
}

fn tool_result(part: &Part) -> Option<ToolResult> {
    match part.clone() {
        Part::ToolResult { call_id, name, content, is_error } => {
            Some(ToolResult { call_id, name, content, is_error })
        }
        _ => None,
    }
}
