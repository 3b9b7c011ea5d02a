//! An answer as the twin serves it: each piece at its time, and broken where a fault breaks it.

use super::{Carries, Format, SimChunk, SimEnding, SimResponse, SimTime, errors};
use crate::twin::{CutAfter, Service, ServiceEnding};

/// What a token of an answer in one piece takes in bytes, where it is cut after so many tokens.
const BYTES_A_TOKEN: u64 = 4;

/// Breaks a rendered answer as the service says, and gives each piece its time after the request, `asked_us`.
pub(super) fn serve(
    mut response: SimResponse,
    format: Format,
    service: &Service,
    asked_us: u64,
    time: SimTime,
) -> SimResponse {
    let is_stream = response.chunks.len() > 1;
    match service.ending {
        ServiceEnding::Complete => {}
        ServiceEnding::Malformed => malform(&mut response.chunks),
        ServiceEnding::StreamError { after_tokens } => {
            keep_outputs(&mut response.chunks, after_tokens);
            let error = in_stream(format, &response);
            response.chunks.push(SimChunk {
                delay_us: 0,
                carries: Carries::Frame,
                bytes: error.into_bytes(),
            });
        }
        ServiceEnding::Cut(CutAfter::Tokens(tokens)) if is_stream => {
            keep_outputs(&mut response.chunks, tokens);
            response.ending = SimEnding::Cut { missing_bytes: 0 };
        }
        ServiceEnding::Cut(CutAfter::Tokens(tokens)) => {
            cut(&mut response, tokens.saturating_mul(BYTES_A_TOKEN));
        }
        ServiceEnding::Cut(CutAfter::Bytes(bytes)) => cut(&mut response, bytes),
    }
    pace(&mut response.chunks, service, asked_us, time, is_stream);
    response
}

/// Up to and including so many pieces that the model says, with what stands around them.
fn keep_outputs(chunks: &mut Vec<SimChunk>, outputs: u64) {
    let mut seen = 0;
    let past = chunks.iter().position(|chunk| {
        seen += u64::from(chunk.carries == Carries::Output);
        seen > outputs
    });
    let end = past
        .or_else(|| chunks.iter().rposition(|chunk| chunk.carries == Carries::Output).map(|last| last + 1));
    chunks.truncate(end.unwrap_or(chunks.len()));
}

fn in_stream(format: Format, response: &SimResponse) -> String {
    let error = errors::in_stream(format, response.chunks.len());
    let is_array = response
        .headers
        .iter()
        .any(|(name, value)| *name == "content-type" && value.starts_with("application/json"));
    match format {
        Format::GeminiGenerate if is_array => format!("\r\n,\r\n{error}]"),
        Format::GeminiGenerate => format!("data: {error}\r\n\r\n"),
        Format::OpenAiChat => format!("data: {error}\n\n"),
        Format::OpenAiResponses | Format::AnthropicMessages => format!("event: error\ndata: {error}\n\n"),
    }
}

/// After so many bytes of the body.
fn cut(response: &mut SimResponse, bytes: u64) {
    let whole: u64 = response.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
    if bytes >= whole {
        // It is all there before it could be cut.
        return;
    }
    let is_stream = response.chunks.len() > 1;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    for chunk in &mut response.chunks {
        chunk.bytes.truncate(left);
        left -= chunk.bytes.len();
    }
    response.chunks.retain(|chunk| !chunk.bytes.is_empty());
    response.ending = SimEnding::Cut { missing_bytes: if is_stream { 0 } else { whole - bytes } };
}

/// Half of the JSON in the middle piece is missing; what ends an event stays.
fn malform(chunks: &mut [SimChunk]) {
    let outputs: Vec<usize> =
        (0..chunks.len()).filter(|place| chunks[*place].carries == Carries::Output).collect();
    let Some(chunk) = outputs.get(outputs.len() / 2).and_then(|place| chunks.get_mut(*place)) else { return };
    let end = match chunk.bytes.as_slice() {
        bytes if bytes.ends_with(b"\r\n\r\n") => &b"\r\n\r\n"[..],
        bytes if bytes.ends_with(b"\n\n") => b"\n\n",
        _ => b"",
    };
    // The text may be long and the frame short: two thirds are past the first brace, and before the last.
    let kept = (chunk.bytes.len() - end.len()) * 2 / 3;
    chunk.bytes.truncate(kept);
    chunk.bytes.extend_from_slice(end);
}

/// Frames come with the output before them, those before the first output with that.
fn pace(chunks: &mut [SimChunk], service: &Service, asked_us: u64, time: SimTime, is_stream: bool) {
    let outputs = chunks.iter().filter(|chunk| chunk.carries == Carries::Output).count() as u64;
    let (mut said, mut before_us) = (0, 0);
    for chunk in chunks {
        let at_us = match chunk.carries {
            _ if !is_stream => service.last_us,
            Carries::Output => service.token_us(said, outputs),
            Carries::Frame if said >= outputs => service.last_us,
            Carries::Frame => service.token_us(said.saturating_sub(1), outputs),
        };
        said += u64::from(chunk.carries == Carries::Output);
        let due_us = time.pass(at_us.saturating_sub(asked_us)).max(before_us);
        chunk.delay_us = due_us - before_us;
        before_us = due_us;
    }
}
