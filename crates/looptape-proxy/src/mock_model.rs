//! The simulated provider in the place of a model: it takes after the recording that is replayed.
//!
//! All that this adds to [`AfterRecording`] is the outside world: the clock, the waiting, and the count of how
//! often each request came.

use crate::model::{Asked, Model, ModelCall};
use crate::reply;
use crate::simulated_server::into_http;
use crate::tape_server::Speed;
use http::StatusCode;
use http_body_util::BodyExt;
use looptape_core::Digest;
use looptape_core::derive;
use looptape_core::headers::RedactedHeaders;
use looptape_core::replay::{ModelKind, WhyRefused};
use looptape_core::simulated::{AfterRecording, SimRequest, SimTime};
use looptape_store::Moment;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Answers by what was recorded.
#[derive(Debug)]
pub struct MockModel {
    provider: AfterRecording,
    time: SimTime,
    /// A std mutex: held for one map operation, never across an await.
    seen: Mutex<HashMap<Digest, u32>>,
}

impl MockModel {
    pub fn new(provider: AfterRecording, speed: Speed) -> Self {
        let time = match speed {
            Speed::AtOnce => SimTime::AtOnce,
            Speed::Times(times) => SimTime::Times(times),
        };
        Self { provider, time, seen: Mutex::default() }
    }

    fn occurrence(&self, call: &ModelCall) -> u32 {
        let key = Digest::of_parts(&[call.path.as_bytes(), &call.body]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(key).or_insert(0);
        *count = count.saturating_add(1);
        *count - 1
    }
}

impl Model for MockModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Mock
    }

    async fn ask(&self, call: ModelCall) -> Asked {
        let wire = call.wire();
        let Some(known) = wire else {
            return refused(&call, "the simulated provider answers model calls only");
        };
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let body = derive::decode_body(&RedactedHeaders::redact(headers), &call.body, &[]).bytes;
        let request = SimRequest {
            method: call.method.as_str(),
            path: &call.path,
            body: &body,
            occurrence: self.occurrence(&call),
            unix_s: Moment::now().unix_us / 1_000_000,
        };
        let Some(mut simulated) = self.provider.respond(known, &request, self.time) else {
            return refused(
                &call,
                "the recording holds no answer that the simulated provider could take after",
            );
        };
        let asked = Instant::now();
        // An answer in one piece comes with its head, as it does from a real provider.
        if let [only] = simulated.chunks.as_mut_slice() {
            tokio::time::sleep(Duration::from_micros(std::mem::take(&mut only.delay_us))).await;
        }
        Asked::Answered(into_http(simulated, asked).map(|body| body.map_err(Into::into).boxed()))
    }
}

fn refused(call: &ModelCall, message: &str) -> Asked {
    let (response, _) =
        reply::own_error(call.wire(), StatusCode::UNPROCESSABLE_ENTITY, "cannot_ask", message);
    Asked::Refused { why: WhyRefused::CannotAsk, response }
}
