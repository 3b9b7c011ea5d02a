//! The figures themselves.

use super::bounded::{Bounded, Label};
use crate::budgets::SharedBudget;
use looptape_core::alerts::{Alert, AlertState, Attempt, Rule, ToolResults};
use looptape_core::budget::{Day, Scope};
use looptape_core::cost::{Cost, Unpriced};
use looptape_core::facts::{AttemptState, CallFacts, CallKind};
use looptape_core::metrics::{AttemptMetrics, TraceMetrics};
use looptape_store::{Moment, RecorderHealth};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

/// Different models, providers, agents and reasons that have a label of their own.
const MOST_MODELS: usize = 64;
const MOST_PROVIDERS: usize = 32;
const MOST_AGENTS: usize = 64;
const MOST_REASONS: usize = 32;

type Dollars = Counter<f64, AtomicU64>;
type Share = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// OpenTelemetry's attributes of a model call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: Label,
    gen_ai_request_model: Label,
    gen_ai_response_model: Label,
    /// Empty where it succeeded.
    error_type: Cow<'static, str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenUse {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: Label,
    gen_ai_request_model: Label,
    gen_ai_response_model: Label,
    gen_ai_token_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leaf {
    provider: Label,
    model: Label,
    leaf: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    provider: Label,
    model: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    provider: Label,
    /// `llm` or `other`.
    kind: &'static str,
    state: &'static str,
    /// `2xx`, …; empty where no answer came.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoopLabel {
    agent: Label,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabel {
    agent: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabel {
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Debug)]
pub(super) struct Gauges {
    registry: Registry,
    models: Bounded,
    providers: Bounded,
    agents: Bounded,
    reasons: Bounded,

    token_usage: Histograms<TokenUse>,
    duration: Histograms<Operation>,
    first_chunk: Histograms<Operation>,

    calls: Family<Ended, Counter>,
    steps: Family<ModelLabel, Counter>,
    retries: Family<ModelLabel, Counter>,
    tool_calls: Counter,
    tool_results: Counter,
    tool_errors: Counter,
    tokens: Family<Leaf, Counter>,
    cost: Family<Leaf, Dollars>,
    unpriced: Family<Reason, Counter>,
    context: Histograms<ModelLabel>,
    bytes: Family<Direction, Counter>,

    loops: Family<LoopLabel, Counter>,
    loop_duration: Histograms<AgentLabel>,
    loop_steps: Histograms<AgentLabel>,

    in_flight: Gauge,
    queue_bytes: Gauge,
    queue_limit_bytes: Gauge,
    gaps: Family<Reason, Gauge>,

    budget_limit: Family<ScopeLabel, Share>,
    budget_gone: Family<ScopeLabel, Share>,
    budget_reserved: Family<ScopeLabel, Share>,
    budget_refused: Gauge,

    alerts: Family<RuleLabel, Counter>,
    alerts_firing: Family<RuleLabel, Gauge>,
    alerts_dropped: Counter,
}

/// OpenTelemetry: 0.01 s doubling to 81.92 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 14))
}

/// OpenTelemetry: 1, 4, 16, … 67108864.
fn token_counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 4.0, 14))
}

/// A loop takes seconds to hours.
fn loop_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.5, 2.0, 15))
}

fn step_counts() -> Histogram {
    Histogram::new([1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0, 144.0])
}

fn shares() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
}

impl Gauges {
    #[expect(clippy::too_many_lines, reason = "one flat list of names and help texts")]
    pub(super) fn new() -> Self {
        let gauges = Self {
            registry: Registry::default(),
            models: Bounded::new(MOST_MODELS),
            providers: Bounded::new(MOST_PROVIDERS),
            agents: Bounded::new(MOST_AGENTS),
            reasons: Bounded::new(MOST_REASONS),
            token_usage: Family::new_with_constructor(token_counts),
            duration: Family::new_with_constructor(seconds),
            first_chunk: Family::new_with_constructor(seconds),
            calls: Family::default(),
            steps: Family::default(),
            retries: Family::default(),
            tool_calls: Counter::default(),
            tool_results: Counter::default(),
            tool_errors: Counter::default(),
            tokens: Family::default(),
            cost: Family::default(),
            unpriced: Family::default(),
            context: Family::new_with_constructor(shares),
            bytes: Family::default(),
            loops: Family::default(),
            loop_duration: Family::new_with_constructor(loop_seconds),
            loop_steps: Family::new_with_constructor(step_counts),
            in_flight: Gauge::default(),
            queue_bytes: Gauge::default(),
            queue_limit_bytes: Gauge::default(),
            gaps: Family::default(),
            budget_limit: Family::default(),
            budget_gone: Family::default(),
            budget_reserved: Family::default(),
            budget_refused: Gauge::default(),
            alerts: Family::default(),
            alerts_firing: Family::default(),
            alerts_dropped: Counter::default(),
        };
        let g = &gauges;
        let mut registry = Registry::default();
        let otel = registry.sub_registry_with_prefix("gen_ai_client");
        otel.register(
            "token_usage",
            "Tokens of model calls, input with what was cached, output with reasoning",
            g.token_usage.clone(),
        );
        otel.register_with_unit(
            "operation_duration",
            "Time of model calls, from request to the answer's end",
            Unit::Seconds,
            g.duration.clone(),
        );
        otel.register_with_unit(
            "operation_time_to_first_chunk",
            "Time of streamed model calls to the first output of any kind",
            Unit::Seconds,
            g.first_chunk.clone(),
        );
        let own = registry.sub_registry_with_prefix("looptape");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        own.register("build", "This looptape", Info::new(version));
        own.register("calls", "Calls that were recorded to their end", g.calls.clone());
        own.register("steps", "Model calls that were no retries", g.steps.clone());
        own.register("retries", "Model calls that were tried again", g.retries.clone());
        own.register("tool_calls", "Tool calls that models asked for", g.tool_calls.clone());
        own.register(
            "tool_results",
            "Tool results that requests carried, counted where an alert asks for it",
            g.tool_results.clone(),
        );
        own.register(
            "tool_errors",
            "Tool results that say they are errors, counted where an alert asks for it",
            g.tool_errors.clone(),
        );
        own.register("tokens", "Tokens by leaf", g.tokens.clone());
        own.register("cost_usd", "What calls cost, as far as that is known, in US dollars", g.cost.clone());
        own.register("unpriced_calls", "Model calls whose cost is not known, by reason", g.unpriced.clone());
        own.register(
            "context_used_ratio",
            "Share of the model's input limit that calls used",
            g.context.clone(),
        );
        own.register_with_unit("body", "Bodies of calls, as they passed", Unit::Bytes, g.bytes.clone());
        own.register("loops", "Loops that ended, by outcome", g.loops.clone());
        own.register_with_unit(
            "loop_duration",
            "Time of loops that ended",
            Unit::Seconds,
            g.loop_duration.clone(),
        );
        own.register("loop_steps", "Steps of loops that ended", g.loop_steps.clone());
        own.register("calls_in_flight", "Calls under way", g.in_flight.clone());
        own.register_with_unit(
            "recorder_queue",
            "What waits to be written",
            Unit::Bytes,
            g.queue_bytes.clone(),
        );
        own.register_with_unit(
            "recorder_queue_limit",
            "What may wait before calls are dropped from the recording",
            Unit::Bytes,
            g.queue_limit_bytes.clone(),
        );
        own.register(
            "recorder_gaps",
            "What is missing from recordings since the start, by reason: drops, failing disks",
            g.gaps.clone(),
        );
        own.register("budget_limit_usd", "What calls may cost, in US dollars", g.budget_limit.clone());
        own.register(
            "budget_spent_usd",
            "What counts as spent against that, in US dollars",
            g.budget_gone.clone(),
        );
        own.register(
            "budget_reserved_usd",
            "What is reserved for calls under way, in US dollars",
            g.budget_reserved.clone(),
        );
        own.register(
            "budget_refused_calls",
            "Calls that were not sent because of a budget since the start",
            g.budget_refused.clone(),
        );
        own.register("alerts", "Times that a rule began to fire", g.alerts.clone());
        own.register("alerts_firing", "Whether a rule fires", g.alerts_firing.clone());
        own.register(
            "alerts_dropped",
            "Alerts that could not be told: too many waited",
            g.alerts_dropped.clone(),
        );
        Self { registry, ..gauges }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn call(
        &self,
        facts: &CallFacts,
        cost: &Cost,
        attempt: Attempt,
        measured: &AttemptMetrics,
        context_used: Option<f64>,
    ) {
        let provider = self.providers.value(Some(facts.provider.as_str()));
        self.calls.get_or_create(&Ended::of(&provider, facts)).inc();
        let bytes = |direction| self.bytes.get_or_create(&Direction { direction }).clone();
        bytes("request").inc_by(facts.request_bytes);
        bytes("response").inc_by(facts.response_bytes);
        let CallKind::Llm(_) = facts.kind else { return };
        let request_model = self.models.value(facts.model.as_deref());
        let response_model = self.models.value(facts.response_model.as_deref());
        let model = if response_model.is_empty() { request_model.clone() } else { response_model.clone() };
        let of_model = ModelLabel { provider: provider.clone(), model: model.clone() };
        match attempt {
            Attempt::First => self.steps.get_or_create(&of_model).inc(),
            Attempt::Retry => self.retries.get_or_create(&of_model).inc(),
            Attempt::None => 0,
        };
        self.tool_calls.inc_by(facts.asks.len() as u64);
        self.spent((&provider, &model), facts, cost);
        if let Some(used) = context_used {
            self.context.get_or_create(&of_model).observe(used);
        }
        let operation = Operation {
            gen_ai_operation_name: "chat",
            gen_ai_provider_name: provider,
            gen_ai_request_model: request_model,
            gen_ai_response_model: response_model,
            error_type: error_type(facts),
        };
        self.tokens_of(&operation, facts);
        if let Some(latency) = measured.latency_ms {
            self.duration.get_or_create(&operation).observe(latency.as_seconds());
        }
        if let Some(ttft) = measured.ttft_ms {
            self.first_chunk.get_or_create(&operation).observe(ttft.as_seconds());
        }
    }

    fn tokens_of(&self, operation: &Operation, facts: &CallFacts) {
        let totals = [("input", facts.usage.input_total), ("output", facts.usage.output_total)];
        for (gen_ai_token_type, tokens) in totals {
            let Some(tokens) = tokens else { continue };
            let Operation { gen_ai_provider_name, gen_ai_request_model, gen_ai_response_model, .. } =
                operation.clone();
            let label = TokenUse {
                gen_ai_operation_name: operation.gen_ai_operation_name,
                gen_ai_provider_name,
                gen_ai_request_model,
                gen_ai_response_model,
                gen_ai_token_type,
            };
            self.token_usage.get_or_create(&label).observe(tokens as f64);
        }
    }

    fn spent(&self, (provider, model): (&Label, &Label), facts: &CallFacts, cost: &Cost) {
        let leaf = |leaf| Leaf { provider: provider.clone(), model: model.clone(), leaf };
        let usage = &facts.usage;
        for (name, tokens) in [
            ("uncached_input", usage.uncached_input),
            ("cache_read", usage.cache_read),
            ("cache_write_5m", usage.cache_write_5m),
            ("cache_write_1h", usage.cache_write_1h),
            ("output_visible", usage.output_visible),
            ("reasoning", usage.reasoning),
        ] {
            if let Some(tokens) = tokens.filter(|tokens| *tokens > 0) {
                self.tokens.get_or_create(&leaf(name)).inc_by(tokens);
            }
        }
        match cost {
            Cost::Known(price) => {
                let by_leaf = &price.by_leaf;
                for (name, usd) in [
                    ("uncached_input", by_leaf.uncached_input),
                    ("cache_read", by_leaf.cache_read),
                    ("cache_write_5m", by_leaf.cache_write_5m),
                    ("cache_write_1h", by_leaf.cache_write_1h),
                    ("output_visible", by_leaf.output_visible),
                    ("reasoning", by_leaf.reasoning),
                    ("web_search", by_leaf.web_search),
                    ("other", by_leaf.other),
                ] {
                    if usd.units() > 0 {
                        self.cost.get_or_create(&leaf(name)).inc_by(usd.as_f64());
                    }
                }
            }
            Cost::Unknown(why) => {
                let reason = reason_word(*why).into();
                self.unpriced.get_or_create(&Reason { reason }).inc();
            }
            Cost::NotBilled => {}
        }
    }

    pub(super) fn tool_results(&self, results: ToolResults) {
        self.tool_results.inc_by(u64::from(results.all));
        self.tool_errors.inc_by(u64::from(results.failed));
    }

    pub(super) fn trace(&self, agent: Option<&str>, metrics: &TraceMetrics) {
        let agent = self.agents.value(agent);
        let of_agent = AgentLabel { agent: agent.clone() };
        for inner in &metrics.by_loop {
            let label = LoopLabel { agent: agent.clone(), outcome: inner.outcome.as_str() };
            self.loops.get_or_create(&label).inc();
            self.loop_steps.get_or_create(&of_agent).observe(f64::from(inner.steps));
            if let Some(duration) = inner.duration_ms {
                self.loop_duration.get_or_create(&of_agent).observe(duration.as_seconds());
            }
        }
    }

    pub(super) fn gaps(&self, total: &BTreeMap<String, u64>) {
        let mut sums: BTreeMap<Label, u64> = BTreeMap::new();
        for (reason, times) in total {
            *sums.entry(self.reasons.value(Some(reason))).or_default() += times;
        }
        for (reason, times) in sums {
            self.gaps.get_or_create(&Reason { reason }).set(i64::try_from(times).unwrap_or(i64::MAX));
        }
    }

    /// What is read when somebody asks.
    pub(super) fn set_now(&self, in_flight: usize, health: &RecorderHealth, budget: Option<&SharedBudget>) {
        let set = |gauge: &Gauge, n: usize| gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        set(&self.in_flight, in_flight);
        set(&self.queue_bytes, health.waiting_bytes);
        set(&self.queue_limit_bytes, health.limit_bytes);
        let Some(budget) = budget else { return };
        let limits = budget.limits();
        let today = Scope::Day(Day::of_unix_us(Moment::now().unix_us));
        for (scope, limit) in [(Scope::Run, limits.run_usd), (today, limits.day_usd)] {
            let Some(limit) = limit else { continue };
            let (label, account) = (ScopeLabel { scope: scope.kind() }, budget.account(&scope));
            self.budget_limit.get_or_create(&label).set(limit.as_f64());
            self.budget_gone.get_or_create(&label).set(account.gone().as_f64());
            self.budget_reserved.get_or_create(&label).set(account.held.as_f64());
        }
        if let Some(limit) = limits.trace_usd {
            self.budget_limit.get_or_create(&ScopeLabel { scope: "trace" }).set(limit.as_f64());
        }
        self.budget_refused.set(i64::from(budget.spending().refused_calls));
    }

    pub(super) fn set_firing(&self, states: &[(Rule, AlertState)]) {
        for (rule, state) in states {
            let label = RuleLabel { rule: rule.as_str() };
            self.alerts_firing.get_or_create(&label).set(i64::from(*state == AlertState::Firing));
        }
    }

    pub(super) fn alert(&self, alert: &Alert) {
        if alert.state == AlertState::Firing {
            self.alerts.get_or_create(&RuleLabel { rule: alert.rule.as_str() }).inc();
        }
    }

    pub(super) fn alert_dropped(&self) {
        self.alerts_dropped.inc();
    }
}

impl Ended {
    fn of(provider: &Label, facts: &CallFacts) -> Self {
        Self {
            provider: provider.clone(),
            kind: if facts.kind == CallKind::Other { "other" } else { "llm" },
            state: facts.state.as_str(),
            status: status_class(facts.status),
        }
    }
}

/// Empty where no answer came.
fn status_class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        None => "",
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) => "other",
    }
}

/// The status that failed, else how the call ended; empty where it succeeded.
fn error_type(facts: &CallFacts) -> Cow<'static, str> {
    match (facts.state, facts.status) {
        (AttemptState::Complete, Some(status)) if status >= 400 => status.to_string().into(),
        (AttemptState::Complete, _) => "".into(),
        (state, _) => state.as_str().into(),
    }
}

fn reason_word(why: Unpriced) -> &'static str {
    match why {
        Unpriced::NoUsage => "no_usage",
        Unpriced::NoModel => "no_model",
        Unpriced::UnknownModel => "unknown_model",
        Unpriced::AmbiguousModel => "ambiguous_model",
        Unpriced::LocalModel => "local_model",
        Unpriced::OtherModalities => "other_modalities",
    }
}
