//! What a gateway tells of itself: figures for `/metrics`, and alerts.
//!
//! It is told by the recorder's writer what is written down, so a call costs its connection nothing. Names and
//! buckets of model calls are those of OpenTelemetry's GenAI conventions, as Prometheus writes them; what those do not
//! have is under `looptape_`. Label values that come from requests are bounded in number.
//!
//! What this does not do: keep anything; a restart begins at 0, as Prometheus expects.

mod bounded;
mod gauges;
mod retries;
mod webhook;

pub use webhook::{Told, Webhook, WebhookError};

use crate::budgets::SharedBudget;
use crate::reply::{self, Body};
use gauges::Gauges;
use http::{Response, StatusCode};
use looptape_core::alerts::{Alert, Alerts, EndedCall, Rules, ToolResults};
use looptape_core::assembly::Timing;
use looptape_core::cost::{Cost, PriceBook};
use looptape_core::derive;
use looptape_core::metrics;
use looptape_core::wire::{Part, Role, route};
use looptape_store::{Moment, Recorder, Watch, WatchedCall, WatchedRequest, WatchedTool, WatchedTrace};
use prometheus_client::encoding::prometheus_text;
use retries::Retries;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Alerts that may wait to be told; beyond it they are dropped and counted.
const MOST_WAITING: usize = 64;

/// How often time is told to have passed, at most.
const TICK: Duration = Duration::from_secs(5);

/// Figures and alerts of one gateway.
#[derive(Debug)]
pub struct Telemetry {
    prices: PriceBook,
    budget: OnceLock<SharedBudget>,
    gauges: Gauges,
    /// The writer's own, but for scrapes and ticks: held for a few sums.
    seen: Mutex<Seen>,
    alerts: mpsc::Sender<Alert>,
    window: Duration,
}

#[derive(Debug)]
struct Seen {
    retries: Retries,
    /// `None`: no rule is set.
    alerts: Option<Alerts>,
}

/// What alerts go by.
#[derive(Clone, Copy, Debug)]
pub struct TelemetryRules {
    pub rules: Rules,
    /// What rates are taken over.
    pub window: Duration,
}

impl Telemetry {
    /// With where its alerts come out.
    pub fn new(prices: PriceBook, rules: TelemetryRules) -> (Arc<Self>, mpsc::Receiver<Alert>) {
        let TelemetryRules { rules, window } = rules;
        let window_us = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let alerts = (rules != Rules::default()).then(|| Alerts::new(rules, window_us));
        let (tell, told) = mpsc::channel(MOST_WAITING);
        let seen = Mutex::new(Seen { retries: Retries::default(), alerts });
        let (budget, gauges) = (OnceLock::new(), Gauges::new());
        (Arc::new(Self { prices, budget, gauges, seen, alerts: tell, window }), told)
    }

    /// The budget that calls are held to: shown, and told of traces that end. Only the first word counts.
    pub fn shows(&self, budget: SharedBudget) {
        let _ = self.budget.set(budget);
    }

    /// Lets time pass for the rules, for as long as it is polled.
    pub async fn keep_time(self: Arc<Self>) {
        if self.seen().alerts.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval((self.window / 10).clamp(Duration::from_millis(100), TICK));
        loop {
            ticks.tick().await;
            self.alerting(|alerts| alerts.tick(Moment::now().unix_us));
        }
    }

    /// The answer to a scrape.
    pub(crate) fn scrape(&self, recorder: &Recorder, in_flight: usize) -> Response<Body> {
        let health = recorder.health();
        self.gauges.set_now(in_flight, &health, self.budget.get());
        let states = self.seen().alerts.as_ref().map(Alerts::states).unwrap_or_default();
        self.gauges.set_firing(&states);
        let mut text = String::with_capacity(16 << 10);
        match prometheus_text::encode(&mut text, self.gauges.registry()) {
            Ok(()) => reply::full(StatusCode::OK, prometheus_text::CONTENT_TYPE, text),
            Err(_) => {
                reply::error(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "the metrics cannot be written")
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic while it is held is a bug that must not end the recording.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alerting(&self, tell: impl FnOnce(&mut Alerts)) {
        let mut seen = self.seen();
        let Some(alerts) = &mut seen.alerts else { return };
        tell(alerts);
        for alert in alerts.take() {
            self.gauges.alert(&alert);
            // Full, or nobody listens any more: nothing waits for an alert.
            if self.alerts.try_send(alert).is_err() {
                self.gauges.alert_dropped();
            }
        }
    }

    fn ended(&self, call: &WatchedCall<'_>, cost: &Cost) {
        let WatchedCall { trace, trace_started_unix_us, facts } = *call;
        let attempt = self.seen().retries.attempt(trace, facts);
        let measured = metrics::attempt(facts, Timing::Measured);
        let context_used = metrics::context_used(facts);
        self.gauges.call(facts, cost, attempt, &measured, context_used);
        let usd = match cost {
            Cost::Known(price) => price.usd(),
            Cost::NotBilled | Cost::Unknown(_) => Default::default(),
        };
        let usage = &facts.usage;
        let end_us = facts.end_us.unwrap_or(facts.sent_us);
        self.alerting(|alerts| {
            alerts.call(&EndedCall {
                at_unix_us: trace_started_unix_us.saturating_add(end_us),
                trace,
                model: facts.response_model.as_deref().or(facts.model.as_deref()),
                tokens: usage.input_total.unwrap_or(0).saturating_add(usage.output_total.unwrap_or(0)),
                ttft_ms: measured.ttft_ms.map(metrics::Ms::as_f64),
                tpot_ms: measured.tpot_ms,
                cost: usd,
                context_used,
                attempt,
            });
        });
    }
}

/// The tool results that a request carries after the model's last turn.
fn tool_results(request: &WatchedRequest<'_>) -> Option<ToolResults> {
    let wire = route::identify(request.provider, request.method, request.path)?;
    let body = derive::decode_body(request.headers, request.body, &[]).bytes;
    let body = serde_json::from_slice(&body).ok()?;
    let messages = wire.decode_request(request.path, &body).messages;
    let new = messages.iter().rev().take_while(|message| message.role != Role::Assistant);
    let mut results = ToolResults::default();
    for part in new.flat_map(|message| &message.parts) {
        if let Part::ToolResult { is_error, .. } = part {
            results.all += 1;
            results.failed += u32::from(*is_error);
        }
    }
    (results.all > 0).then_some(results)
}

impl Watch for Telemetry {
    fn wants_requests(&self) -> bool {
        self.seen().alerts.as_ref().is_some_and(Alerts::wants_tool_results)
    }

    fn request(&self, request: &WatchedRequest<'_>) {
        if let Some(results) = tool_results(request) {
            self.gauges.tool_results(results);
            self.alerting(|alerts| alerts.tools(request.at_unix_us, results));
        }
    }

    fn call(&self, call: &WatchedCall<'_>) {
        let cost = self.prices.cost(call.facts, Some(call.trace_started_unix_us));
        self.ended(call, &cost);
    }

    fn tool(&self, _: &WatchedTool<'_>) {}

    fn trace(&self, trace: &WatchedTrace<'_>) {
        if let Some(metrics) = trace.metrics {
            self.gauges.trace(trace.agent, metrics);
        }
        if let Some(budget) = self.budget.get() {
            budget.forget(trace.id);
        }
        let mut seen = self.seen();
        seen.retries.forget(trace.id);
        if let Some(alerts) = &mut seen.alerts {
            alerts.trace_ended(trace.id);
        }
    }

    fn gaps(&self, total: &BTreeMap<String, u64>) {
        self.gauges.gaps(total);
    }
}
