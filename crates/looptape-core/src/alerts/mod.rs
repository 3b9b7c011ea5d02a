//! Alerts: whether what passes a gateway is as it should be, told once when it begins and once when it is over.
//!
//! Rates are taken over windows of equal length; what is usual is the median of the last windows in which anything
//! happened. A rule about rates fires in the window under way, and is over when a whole window has passed without it.
//! A rule about one trace fires once for that trace. Rules need a sample that can carry them: see the constants.
//!
//! Pure: time is an argument. What this does not do: log, send, or count for anybody else.

mod rules;
mod window;

pub use rules::{Alert, AlertState, Rule, Rules};

use crate::cost::Usd;
use crate::trace_id::TraceId;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use window::{Window, median};

/// Windows that say what is usual, and how many there have to be.
const MOST_WINDOWS: usize = 12;
const FEWEST_WINDOWS: usize = 3;
/// Fewer samples give no percentile, fewer steps and results no rate.
const FEWEST_TIMES: usize = 20;
const FEWEST_STEPS: u32 = 10;
const FEWEST_RESULTS: u32 = 5;
/// Traces that are remembered; beyond it all are forgotten, and may be told again.
const MOST_TRACES: usize = 8192;

const MINUTE_US: i64 = 60_000_000;
const MINUTES_OF_AN_HOUR: i64 = 60;

/// One call that ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedCall<'a> {
    pub at_unix_us: i64,
    pub trace: &'a TraceId,
    pub model: Option<&'a str>,
    /// Input and output.
    pub tokens: u64,
    pub ttft_ms: Option<f64>,
    pub tpot_ms: Option<f64>,
    /// As far as it is known.
    pub cost: Usd,
    pub context_used: Option<f64>,
    pub attempt: Attempt,
}

/// What a call was in its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    First,
    Retry,
    /// No model call.
    None,
}

/// Tool results that a request carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolResults {
    pub all: u32,
    pub failed: u32,
}

/// Rules, and what has been seen.
#[derive(Debug)]
pub struct Alerts {
    rules: Rules,
    window_us: i64,
    current: Window,
    before: VecDeque<Window>,
    /// Cost by minute, of the last hour.
    minutes: VecDeque<(i64, Usd)>,
    /// Rules that fire, and when they last had reason to.
    firing: BTreeMap<Rule, i64>,
    spent_by: HashMap<TraceId, Usd>,
    told: HashSet<(Rule, TraceId)>,
    waiting: Vec<Alert>,
}

impl Alerts {
    pub fn new(rules: Rules, window_us: i64) -> Self {
        Self {
            rules,
            window_us: window_us.max(1),
            current: Window::default(),
            before: VecDeque::new(),
            minutes: VecDeque::new(),
            firing: BTreeMap::new(),
            spent_by: HashMap::new(),
            told: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    /// Whether requests have to be looked into for tool results.
    pub fn wants_tool_results(&self) -> bool {
        self.rules.tool_failures.is_some()
    }

    pub fn tools(&mut self, at_unix_us: i64, results: ToolResults) {
        self.turn_to(at_unix_us);
        self.current.results.all += results.all;
        self.current.results.failed += results.failed;
        self.judge(at_unix_us);
    }

    pub fn call(&mut self, call: &EndedCall<'_>) {
        self.turn_to(call.at_unix_us);
        self.current.add(call);
        self.add_cost(call);
        self.of_trace(call);
        self.judge(call.at_unix_us);
    }

    /// A trace is over: another one may have its name.
    pub fn trace_ended(&mut self, trace: &TraceId) {
        self.spent_by.remove(trace);
        for rule in [Rule::TraceCost, Rule::Context] {
            self.told.remove(&(rule, trace.clone()));
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, at_unix_us: i64) {
        self.turn_to(at_unix_us);
        self.judge(at_unix_us);
    }

    /// What is to be told since the last time.
    pub fn take(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.waiting)
    }

    /// The rules about rates that are set, and whether they fire.
    pub fn states(&self) -> Vec<(Rule, AlertState)> {
        let state = |rule: Rule| match self.firing.contains_key(&rule) {
            true => AlertState::Firing,
            false => AlertState::Resolved,
        };
        self.rules.about_rates().map(|rule| (rule, state(rule))).collect()
    }

    /// Closes the window under way if its time is over. The clock may jump: what it passes over is no window.
    fn turn_to(&mut self, at_unix_us: i64) {
        let number = at_unix_us.div_euclid(self.window_us);
        if number != self.current.number {
            let closed = std::mem::replace(&mut self.current, Window { number, ..Window::default() });
            if closed.calls > 0 {
                self.before.push_back(closed.closed());
                self.before.drain(..self.before.len().saturating_sub(MOST_WINDOWS));
            }
        }
    }

    fn add_cost(&mut self, call: &EndedCall<'_>) {
        let minute = call.at_unix_us.div_euclid(MINUTE_US);
        match self.minutes.back_mut() {
            Some((last, cost)) if *last == minute => *cost += call.cost,
            _ => self.minutes.push_back((minute, call.cost)),
        }
    }

    /// Rules about one trace.
    fn of_trace(&mut self, call: &EndedCall<'_>) {
        if let Some(limit) = self.rules.trace_cost {
            if self.spent_by.len() >= MOST_TRACES {
                self.spent_by.clear();
            }
            let spent = self.spent_by.entry(call.trace.clone()).or_default();
            *spent += call.cost;
            let spent = *spent;
            if spent > limit {
                self.tell_of_trace(Rule::TraceCost, (spent.as_f64(), limit.as_f64()), call);
            }
        }
        if let (Some(limit), Some(used)) = (self.rules.context, call.context_used)
            && used > limit
        {
            self.tell_of_trace(Rule::Context, (used, limit), call);
        }
    }

    fn tell_of_trace(&mut self, rule: Rule, (value, threshold): (f64, f64), call: &EndedCall<'_>) {
        if self.told.len() >= MOST_TRACES {
            self.told.clear();
        }
        if self.told.insert((rule, call.trace.clone())) {
            self.waiting.push(Alert {
                rule,
                state: AlertState::Firing,
                value,
                threshold,
                usual: None,
                trace: Some(call.trace.clone()),
                model: call.model.map(str::to_owned),
                at_unix_us: call.at_unix_us,
            });
        }
    }

    /// Rules about rates.
    fn judge(&mut self, at_unix_us: i64) {
        for rule in Rule::ALL {
            match (self.seen(rule, at_unix_us), self.firing.get(&rule).copied()) {
                (Some(seen), before) if seen.value > seen.threshold => {
                    self.firing.insert(rule, at_unix_us);
                    if before.is_none() {
                        self.tell(rule, AlertState::Firing, seen, at_unix_us);
                    }
                }
                (seen, Some(last)) if at_unix_us - last > self.window_us => {
                    self.firing.remove(&rule);
                    self.tell(rule, AlertState::Resolved, seen.unwrap_or_default(), at_unix_us);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, rule: Rule, state: AlertState, seen: Seen, at_unix_us: i64) {
        let Seen { value, threshold, usual } = seen;
        let (trace, model) = (None, None);
        self.waiting.push(Alert { rule, state, value, threshold, usual, trace, model, at_unix_us });
    }

    /// What a rule goes by, if it is on and there is enough to go by.
    fn seen(&mut self, rule: Rule, at_unix_us: i64) -> Option<Seen> {
        let window_us = self.window_us as f64;
        match rule {
            Rule::TokenRate => {
                // The rate of the whole window, however little of it has passed: it can only rise.
                let per_minute = |w: &Window| Some(w.tokens as f64 * MINUTE_US as f64 / window_us);
                self.against_usual(self.rules.token_rate?, per_minute)
            }
            Rule::Ttft => self.against_usual(self.rules.ttft?, |w| w.ttft.p95()),
            Rule::Tpot => self.against_usual(self.rules.tpot?, |w| w.tpot.p95()),
            Rule::CostPerHour => {
                let limit = self.rules.cost_per_hour?;
                let from = at_unix_us.div_euclid(MINUTE_US) - MINUTES_OF_AN_HOUR;
                self.minutes.retain(|(minute, _)| *minute > from);
                let cost: Usd = self.minutes.iter().map(|(_, cost)| *cost).sum();
                Some(Seen { value: cost.as_f64(), threshold: limit.as_f64(), usual: None })
            }
            Rule::ToolFailures => {
                let ToolResults { all, failed } = self.current.results;
                share((failed, all), FEWEST_RESULTS, self.rules.tool_failures?)
            }
            Rule::RetryRate => {
                share((self.current.retries, self.current.steps), FEWEST_STEPS, self.rules.retry_rate?)
            }
            Rule::TraceCost | Rule::Context => None,
        }
    }

    fn against_usual(&self, factor: f64, of: impl Fn(&Window) -> Option<f64>) -> Option<Seen> {
        let usual: Vec<f64> = self.before.iter().filter_map(&of).collect();
        let usual = median(usual, FEWEST_WINDOWS).filter(|usual| *usual > 0.0)?;
        Some(Seen { value: of(&self.current)?, threshold: factor * usual, usual: Some(usual) })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    value: f64,
    threshold: f64,
    usual: Option<f64>,
}

fn share((part, whole): (u32, u32), fewest: u32, threshold: f64) -> Option<Seen> {
    let value = f64::from(part) / f64::from(whole.max(1));
    (whole >= fewest).then_some(Seen { value, threshold, usual: None })
}

#[cfg(test)]
mod tests;
