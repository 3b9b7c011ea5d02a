//! Budgets: how much calls may cost, counted before they are sent.
//!
//! A call is let through only if the most that it could cost still fits into every limit that it counts to: its
//! run's, its trace's, its day's. That amount is reserved in all of them at once until it is known what the call
//! really cost, so calls under way together cannot exceed a limit either. What the most is: [`worst_case`].
//!
//! What was spent outside this run (before it, or by another process) is told by whoever keeps books
//! ([`Budget::set_elsewhere`]), and what changes here is written down by whoever takes [`Budget::take_changes`].
//!
//! A call of which no price is known cannot be bounded: it is refused, unless it was said that such calls may
//! pass. Money is counted, not time; nothing here knows what a provider really bills.

mod limits;
mod worst_case;

pub use limits::{Day, Limits, Scope};
pub use worst_case::{OutputBound, PRESUMED_OUTPUT_TOKENS, Prospect, WorstCase, worst_case};

use crate::cost::{Bound, Cost, Unpriced, Usd};
use crate::trace_id::TraceId;
use serde::Serialize;
use std::collections::BTreeMap;

/// What becomes of calls of which no price is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnpricedCalls {
    #[default]
    Refused,
    /// They pass, and are not counted.
    Allowed,
}

/// What a call counts to, beside its run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counted {
    /// `None` where nobody knows: no limit on traces holds then.
    pub trace: Option<TraceId>,
    pub day: Day,
}

/// An amount that is held back for a call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation(u64);

/// What a call turned out to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Exactly(Usd),
    /// Part of its usage is missing, or all of it: what was reserved for the rest counts as spent.
    AtLeast(Usd),
    /// It was not billed.
    Nothing,
}

impl From<&Cost> for Settlement {
    fn from(cost: &Cost) -> Self {
        match cost {
            Cost::Known(price) if price.bound == Bound::Exact => Self::Exactly(price.usd()),
            Cost::Known(price) => Self::AtLeast(price.usd()),
            Cost::NotBilled => Self::Nothing,
            Cost::Unknown(_) => Self::AtLeast(Usd::ZERO),
        }
    }
}

/// Why a call is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    #[error("{}", too_much(.0))]
    TooMuch(Box<TooMuch>),
    #[error(
        "what this call could cost is not known ({}), so it cannot be held to the budget. State its price under [[prices]] in looptape.toml, or let such calls pass with --allow-unpriced", unpriced(model.as_deref(), *why)
    )]
    Unpriced { model: Option<String>, why: Unpriced },
}

/// A limit that a call does not fit into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMuch {
    pub scope: Scope,
    pub limit: Usd,
    /// Known to be spent, or perhaps spent.
    pub spent: Usd,
    /// Held back for calls under way.
    pub reserved: Usd,
    pub needed: Usd,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub output: OutputBound,
}

impl TooMuch {
    pub fn left(&self) -> Usd {
        self.limit.saturating_sub(self.spent + self.reserved)
    }

    /// Whether it would fit if the calls under way cost nothing.
    pub fn fits_without_reservations(&self) -> bool {
        self.spent + self.needed <= self.limit
    }
}

fn too_much(over: &TooMuch) -> String {
    let TooMuch { scope, limit, spent, reserved, needed, input_tokens, output_tokens, output } = over;
    let output = match output {
        OutputBound::Stated => format!("{output_tokens} of output at most"),
        OutputBound::Presumed => {
            format!("{output_tokens} of output, presumed because it states no limit")
        }
    };
    let reserved = match *reserved {
        Usd::ZERO => String::new(),
        reserved => format!(", {reserved} reserved for calls under way"),
    };
    format!(
        "this call could cost up to {needed} ({input_tokens} tokens of input and {output}), and {} of the budget of {limit} for {scope} is left: {spent} spent{reserved}. Raise {}, or ask for less output",
        over.left(),
        scope.flag()
    )
}

fn unpriced(model: Option<&str>, why: Unpriced) -> String {
    match (model, why) {
        (Some(model), Unpriced::AmbiguousModel) => {
            format!("several providers offer {model} at different prices")
        }
        (Some(model), Unpriced::UnknownModel) => format!("the price list does not have {model}"),
        (Some(model), _) => format!("{model} has no price by tokens here"),
        (None, _) => "it names no model".to_owned(),
    }
}

/// A limit on more than one trace that a call did not fit into: there is nothing left for others either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exhausted {
    /// `run` or `day`, as [`Scope::kind`] says it.
    pub of: &'static str,
    pub max_usd: Usd,
}

impl Exhausted {
    pub fn run(max_usd: Usd) -> Self {
        Self { of: Scope::Run.kind(), max_usd }
    }
}

impl OverBudget {
    /// The limit that was hit, if it is one on more than one trace.
    pub fn exhausted(&self) -> Option<Exhausted> {
        match self {
            Self::TooMuch(over) if !matches!(over.scope, Scope::Trace(_)) => {
                Some(Exhausted { of: over.scope.kind(), max_usd: over.limit })
            }
            Self::TooMuch(_) | Self::Unpriced { .. } => None,
        }
    }
}

/// What came of a run's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// The run's own limit.
    pub limit_usd: Option<Usd>,
    /// What is known to have been spent.
    pub spent_usd: Usd,
    /// What may have been spent beyond that: calls whose usage was not reported in full.
    pub unaccounted_usd: Usd,
    /// Calls that were sent.
    pub calls: u32,
    /// Of those, the ones of which no price is known.
    pub unpriced_calls: u32,
    /// Calls that were not sent.
    pub refused_calls: u32,
}

/// What counts against one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Spent by others than this run.
    pub elsewhere: Usd,
    pub spent: Usd,
    pub unaccounted: Usd,
    /// Reserved for calls under way.
    pub held: Usd,
}

impl Account {
    /// Spent, or perhaps spent.
    pub fn gone(&self) -> Usd {
        self.elsewhere + self.spent + self.unaccounted
    }
}

/// What has changed of what a trace has spent on a day, in 10⁻¹² $.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub spent: i64,
    pub unaccounted: i64,
    pub held: i64,
}

/// Limits, and what has been spent and reserved of them.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    unpriced: UnpricedCalls,
    accounts: BTreeMap<Scope, Account>,
    reserved: BTreeMap<Reservation, (Usd, Counted)>,
    changes: BTreeMap<Counted, Change>,
    totals: Spending,
    exhausted: Option<Exhausted>,
    last: u64,
}

impl Budget {
    pub fn new(limits: Limits, unpriced: UnpricedCalls) -> Self {
        Self {
            limits,
            unpriced,
            accounts: BTreeMap::from([(Scope::Run, Account::default())]),
            reserved: BTreeMap::new(),
            changes: BTreeMap::new(),
            totals: Spending { limit_usd: limits.run_usd, ..Spending::default() },
            exhausted: None,
            last: 0,
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Holds back what a call could cost, or says why it must not be sent.
    pub fn reserve(&mut self, most: &WorstCase, counted: &Counted) -> Result<Reservation, OverBudget> {
        let usd = self.bounded(most, counted)?;
        self.totals.calls += 1;
        if matches!(most, WorstCase::Unknown { .. }) {
            self.totals.unpriced_calls += 1;
        }
        self.last += 1;
        let reservation = Reservation(self.last);
        self.each(counted, |account| account.held += usd);
        self.changes.entry(counted.clone()).or_default().held += usd.units();
        self.reserved.insert(reservation, (usd, counted.clone()));
        Ok(reservation)
    }

    /// A call was refused for good.
    pub fn count_refusal(&mut self, why: &OverBudget) {
        self.totals.refused_calls += 1;
        self.exhausted = self.exhausted.or(why.exhausted());
    }

    /// The first limit on more than one trace because of which a call was refused.
    pub fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted
    }

    pub fn unpriced(&self) -> UnpricedCalls {
        self.unpriced
    }

    /// What is to be held back for a call.
    fn bounded(&self, most: &WorstCase, counted: &Counted) -> Result<Usd, OverBudget> {
        match most {
            WorstCase::Free => Ok(Usd::ZERO),
            WorstCase::AtMost { usd, input_tokens, output_tokens, output } => {
                let fits = |scope: &Scope| {
                    let Some(limit) = self.limits.on(scope) else { return true };
                    let account = self.account(scope);
                    account.gone() + account.held + *usd <= limit
                };
                let Some(scope) = scopes(counted).find(|scope| !fits(scope)) else { return Ok(*usd) };
                let account = self.account(&scope);
                Err(OverBudget::TooMuch(Box::new(TooMuch {
                    limit: self.limits.on(&scope).unwrap_or_default(),
                    spent: account.gone(),
                    reserved: account.held,
                    scope,
                    needed: *usd,
                    input_tokens: *input_tokens,
                    output_tokens: *output_tokens,
                    output: *output,
                })))
            }
            WorstCase::Unknown { model, why } if self.unpriced == UnpricedCalls::Refused => {
                Err(OverBudget::Unpriced { model: model.clone(), why: *why })
            }
            WorstCase::Unknown { .. } => Ok(Usd::ZERO),
        }
    }

    /// A call is over. Only the first word about it counts.
    pub fn settle(&mut self, reservation: Reservation, settlement: Settlement) {
        let Some((held, counted)) = self.reserved.remove(&reservation) else { return };
        let (spent, unaccounted) = match settlement {
            Settlement::Nothing => (Usd::ZERO, Usd::ZERO),
            Settlement::Exactly(usd) => (usd, Usd::ZERO),
            Settlement::AtLeast(usd) => (usd, held.saturating_sub(usd)),
        };
        self.each(&counted, |account| {
            account.held = account.held.saturating_sub(held);
            account.spent += spent;
            account.unaccounted += unaccounted;
        });
        self.totals.spent_usd += spent;
        self.totals.unaccounted_usd += unaccounted;
        let change = self.changes.entry(counted).or_default();
        change.held -= held.units();
        change.spent += spent.units();
        change.unaccounted += unaccounted.units();
    }

    fn each(&mut self, counted: &Counted, change: impl Fn(&mut Account)) {
        for scope in scopes(counted) {
            if scope == Scope::Run || self.limits.on(&scope).is_some() {
                change(self.accounts.entry(scope).or_default());
            }
        }
    }

    /// What this run spent so far. Calls under way count as if they cost the most they can.
    pub fn spending(&self) -> Spending {
        let under_way = self.account(&Scope::Run).held;
        Spending { unaccounted_usd: self.totals.unaccounted_usd + under_way, ..self.totals }
    }

    /// What counts against a limit.
    pub fn account(&self, scope: &Scope) -> Account {
        self.accounts.get(scope).copied().unwrap_or_default()
    }

    /// Whether anything is known of what a scope spent, here or elsewhere.
    pub fn knows(&self, scope: &Scope) -> bool {
        self.accounts.contains_key(scope)
    }

    /// What others than this run have spent in a scope.
    pub fn set_elsewhere(&mut self, scope: Scope, elsewhere: Usd) {
        self.accounts.entry(scope).or_default().elsewhere = elsewhere;
    }

    /// A trace is over, or a day: what comes under the same name begins anew. One that has calls under way stays.
    pub fn forget(&mut self, scope: &Scope) {
        if self.account(scope).held == Usd::ZERO {
            self.accounts.remove(scope);
        }
    }

    /// What has changed since this was asked the last time.
    pub fn take_changes(&mut self) -> BTreeMap<Counted, Change> {
        std::mem::take(&mut self.changes)
    }
}

/// Narrow ones first: a refusal names the limit that is easiest to understand.
fn scopes(counted: &Counted) -> impl Iterator<Item = Scope> {
    let trace = counted.trace.clone().map(Scope::Trace);
    trace.into_iter().chain([Scope::Run, Scope::Day(counted.day)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_f64(dollars).unwrap()
    }

    fn most(dollars: f64) -> WorstCase {
        let output = OutputBound::Stated;
        WorstCase::AtMost { usd: usd(dollars), input_tokens: 1, output_tokens: 2, output }
    }

    fn counted(trace: &str, day: i64) -> Counted {
        Counted { trace: TraceId::parse(trace).ok(), day: Day::of_unix_us(day * 86_400_000_000) }
    }

    fn run_limit(dollars: f64) -> Limits {
        Limits { run_usd: Some(usd(dollars)), ..Limits::default() }
    }

    #[test]
    fn what_is_held_back_is_given_back() {
        let mut budget = Budget::new(run_limit(1.0), UnpricedCalls::Refused);
        let here = counted("t", 0);
        let first = budget.reserve(&most(0.6), &here).unwrap();
        let OverBudget::TooMuch(refused) = budget.reserve(&most(0.6), &here).unwrap_err() else { panic!() };
        assert_eq!((refused.left(), refused.reserved, refused.spent), (usd(0.4), usd(0.6), Usd::ZERO));
        budget.settle(first, Settlement::Exactly(usd(0.1)));
        budget.settle(first, Settlement::Exactly(usd(0.5)));
        let second = budget.reserve(&most(0.6), &here).unwrap();
        budget.settle(second, Settlement::AtLeast(usd(0.2)));
        let third = budget.reserve(&most(0.3), &here).unwrap();
        budget.settle(third, Settlement::Nothing);
        let expected = Spending {
            limit_usd: Some(usd(1.0)),
            spent_usd: usd(0.3),
            unaccounted_usd: usd(0.4),
            calls: 3,
            unpriced_calls: 0,
            refused_calls: 0,
        };
        assert_eq!(budget.spending(), expected);
    }

    #[test]
    fn each_limit_is_on_its_own_scope() {
        let limits = Limits { run_usd: None, trace_usd: Some(usd(1.0)), day_usd: Some(usd(1.5)) };
        let mut budget = Budget::new(limits, UnpricedCalls::Refused);
        let spend = |budget: &mut Budget, dollars, on: &Counted| {
            let reserved = budget.reserve(&most(dollars), on)?;
            budget.settle(reserved, Settlement::Exactly(usd(dollars)));
            Ok::<_, OverBudget>(())
        };
        let scope = |error: OverBudget| match error {
            OverBudget::TooMuch(over) => over.scope.kind(),
            OverBudget::Unpriced { .. } => "unpriced",
        };
        spend(&mut budget, 0.9, &counted("a", 0)).unwrap();
        assert_eq!(scope(spend(&mut budget, 0.2, &counted("a", 0)).unwrap_err()), "trace");
        assert_eq!(scope(spend(&mut budget, 0.7, &counted("b", 0)).unwrap_err()), "day");
        spend(&mut budget, 0.1, &counted("a", 1)).unwrap();
        assert_eq!(scope(spend(&mut budget, 0.1, &counted("a", 1)).unwrap_err()), "trace");
        budget.forget(&Scope::Trace(TraceId::parse("a").unwrap()));
        spend(&mut budget, 0.1, &counted("a", 1)).unwrap();
        budget.set_elsewhere(Scope::Day(counted("a", 1).day), usd(1.3));
        assert_eq!(scope(spend(&mut budget, 0.1, &counted("c", 1)).unwrap_err()), "day");
        spend(&mut budget, 0.1, &Counted { trace: None, ..counted("c", 2) }).unwrap();
    }

    #[test]
    fn refusals_say_what_was_spent_and_what_to_do() {
        let limits = Limits { trace_usd: Some(usd(1.0)), ..Limits::default() };
        let mut budget = Budget::new(limits, UnpricedCalls::Refused);
        let here = counted("job-17", 0);
        let held = budget.reserve(&most(0.5), &here).unwrap();
        let more = WorstCase::AtMost {
            usd: usd(0.75),
            input_tokens: 1200,
            output_tokens: PRESUMED_OUTPUT_TOKENS,
            output: OutputBound::Presumed,
        };
        let under_way = budget.reserve(&more, &here).unwrap_err().to_string();
        budget.settle(held, Settlement::Exactly(usd(0.4)));
        let unknown = WorstCase::Unknown { model: Some("acme".into()), why: Unpriced::UnknownModel };
        let said = [
            under_way,
            budget.reserve(&most(0.7), &here).unwrap_err().to_string(),
            budget.reserve(&unknown, &here).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        this call could cost up to $0.75 (1200 tokens of input and 16384 of output, presumed because it states no limit), and $0.5 of the budget of $1.00 for trace job-17 is left: $0 spent, $0.5 reserved for calls under way. Raise --max-usd-per-trace, or ask for less output
        this call could cost up to $0.7 (1 tokens of input and 2 of output at most), and $0.6 of the budget of $1.00 for trace job-17 is left: $0.4 spent. Raise --max-usd-per-trace, or ask for less output
        what this call could cost is not known (the price list does not have acme), so it cannot be held to the budget. State its price under [[prices]] in looptape.toml, or let such calls pass with --allow-unpriced
        ");
        assert!(Budget::new(limits, UnpricedCalls::Allowed).reserve(&unknown, &here).is_ok());
    }

    proptest! {
        /// Whatever order calls come and end in: as long as none costs more than its worst case, every limit holds,
        /// and what was written down is what was spent.
        #[test]
        fn limits_hold_and_the_books_agree(
            calls in prop::collection::vec((0u32..500, 0u32..=100, any::<bool>(), 0u8..3, 0i64..2), 0..60),
        ) {
            let limits = Limits { run_usd: Some(usd(2.0)), trace_usd: Some(usd(1.0)), day_usd: Some(usd(1.5)) };
            let mut budget = Budget::new(limits, UnpricedCalls::Refused);
            let (mut open, mut scopes) = (Vec::new(), std::collections::BTreeSet::from([Scope::Run]));
            let mut books = Change::default();
            for (cents, share, ends, trace, day) in calls {
                let worst = f64::from(cents) / 1000.0;
                let on = counted(&format!("t{trace}"), day);
                scopes.extend([Scope::Trace(on.trace.clone().unwrap()), Scope::Day(on.day)]);
                if let Ok(reservation) = budget.reserve(&most(worst), &on) {
                    open.push((reservation, usd(worst * f64::from(share) / 100.0), share % 2 == 0));
                }
                if ends && let Some((reservation, cost, whole)) = open.pop() {
                    let settlement = if whole { Settlement::Exactly(cost) } else { Settlement::AtLeast(cost) };
                    budget.settle(reservation, settlement);
                }
                for scope in &scopes {
                    let account = budget.account(scope);
                    prop_assert!(account.gone() + account.held <= limits.on(scope).unwrap());
                }
                for change in budget.take_changes().values() {
                    books.spent += change.spent;
                    books.unaccounted += change.unaccounted;
                    books.held += change.held;
                }
                let run = budget.account(&Scope::Run);
                prop_assert_eq!(
                    books,
                    Change { spent: run.spent.units(), unaccounted: run.unaccounted.units(), held: run.held.units() }
                );
            }
        }
    }
}
