//! The limits of an account, as its recorded calls show them.
//!
//! Most providers state their limits with every answer, and the figures of a bucket with every refusal. What is
//! stated is counted: the limit that most statements name, how many there are, and how many of them fit a bucket
//! that refills all the time. What nobody states is inferred, and said to be: the calls at the same time from those
//! that were under way when one more was refused, and requests a minute from how many were let in before the first
//! refusal that says nothing.
//!
//! Limits that never refused anybody and are never stated cannot be seen.

use super::bucket::wait_us;
use super::range::{Fate, LimitRange, TriedCall, range};
use super::stated::{self, Figures, Stated};
use super::{Demand, Limit, Limited};
use crate::headers::RedactedHeaders;
use std::collections::{BTreeMap, HashMap};

/// A recorded call.
#[derive(Clone, Debug)]
pub struct SeenCall {
    /// Whose limits it counts against: a provider and a model.
    pub account: String,
    pub sent_us: i64,
    pub end_us: i64,
    pub status: u16,
    /// What it needed of its limits, if that is known.
    demand: Option<Demand>,
    is_refusal: bool,
    stated: Vec<Stated>,
    /// A refusal's.
    refusal: Option<Stated>,
    is_crowded: bool,
}

/// What is known of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedAccount {
    pub account: String,
    pub calls: u64,
    pub refused: u64,
    /// By what they limit; not those of which nothing is known.
    pub limits: Vec<FittedLimit>,
}

/// One limit, and what speaks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FittedLimit {
    pub which: Limited,
    pub limit: u64,
    pub basis: Basis,
    /// How exactly the calls show it, whatever is said; `None` if they were not refused by it, or it is not known what they
    /// needed of it.
    pub range: Option<LimitRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Named by so many answers' headers and so many refusals; so many others named another figure.
    Stated {
        headers: u64,
        refusals: u64,
        others: u64,
        /// Statements with the figures of a bucket: how many there are, and how many are those of one that refills
        /// its limit a minute, all the time.
        figures: u64,
        figures_that_fit: u64,
    },
    /// Nobody names it: so many refusals show it.
    Inferred { refusals: u64 },
}

impl SeenCall {
    pub fn new(
        account: String,
        (sent_us, end_us): (i64, i64),
        status: u16,
        headers: &RedactedHeaders,
        body: &[u8],
    ) -> Self {
        let is_refusal = status == 429 && !stated::is_about_quota(body);
        Self {
            account,
            sent_us,
            end_us,
            status,
            demand: None,
            is_refusal,
            stated: stated::in_headers(headers),
            refusal: is_refusal.then(|| stated::in_refusal(body)).flatten(),
            is_crowded: is_refusal && stated::is_about_concurrency(body),
        }
    }

    /// The same, of which it is known what it needed.
    #[must_use]
    pub fn needing(self, demand: Demand) -> Self {
        Self { demand: Some(demand), ..self }
    }

    /// The same as a limit sees it. `silent` is the limit by which refusals are that name none.
    fn tried(&self, silent: Option<Limited>) -> TriedCall {
        let us = |at: i64| u64::try_from(at).unwrap_or(0);
        let by = match self.refusal {
            Some(stated) => Some(stated.which),
            None if self.is_crowded => Some(Limited::Concurrent),
            None => silent,
        };
        let fate = match (self.status, self.is_refusal, by) {
            (200..300, ..) => Fate::LetIn,
            (_, true, Some(by)) => Fate::RefusedBy(by),
            _ => Fate::RefusedOtherwise,
        };
        let demand = self.demand.unwrap_or_default();
        // A refusal says itself what was counted.
        let demand = match self.refusal.map(|stated| (stated.which, stated.figures)) {
            Some((Limited::Tokens, Figures::Refused { requested, .. })) => {
                Demand { input_tokens: requested, max_output_tokens: None, ..demand }
            }
            _ => demand,
        };
        TriedCall { at_us: us(self.sent_us), ends_us: us(self.end_us), demand, fate }
    }

    fn is_refused(&self) -> bool {
        self.is_refusal
    }
}

/// What is known of the accounts of these calls, those with most calls first.
pub fn fit(calls: &[SeenCall]) -> Vec<FittedAccount> {
    let mut by_account: BTreeMap<&str, Vec<&SeenCall>> = BTreeMap::new();
    for call in calls {
        by_account.entry(&call.account).or_default().push(call);
    }
    let mut accounts: Vec<FittedAccount> =
        by_account.into_iter().map(|(name, calls)| account(name, calls)).collect();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.calls));
    accounts
}

fn account(name: &str, mut calls: Vec<&SeenCall>) -> FittedAccount {
    calls.sort_by_key(|call| call.sent_us);
    let kinds = [Limited::Requests, Limited::Tokens, Limited::InputTokens, Limited::OutputTokens];
    let mut limits: Vec<FittedLimit> =
        kinds.into_iter().filter_map(|which| stated_limit(which, &calls)).collect();
    let has_requests = limits.iter().any(|limit| limit.which == Limited::Requests);
    if !has_requests {
        limits.extend(inferred_requests(&calls));
    }
    for limit in &mut limits {
        limit.range = range_of(limit, &calls);
    }
    limits.extend(inferred_concurrency(&calls));
    limits.sort_by_key(|limit| limit.which);
    FittedAccount {
        account: name.to_owned(),
        calls: calls.len() as u64,
        refused: calls.iter().filter(|call| call.is_refused()).count() as u64,
        limits,
    }
}

/// The figure that most statements name; of two as frequent ones the later.
fn stated_limit(which: Limited, calls: &[&SeenCall]) -> Option<FittedLimit> {
    let in_headers = || calls.iter().flat_map(|call| &call.stated).filter(|stated| stated.which == which);
    let in_refusals =
        || calls.iter().filter_map(|call| call.refusal.as_ref()).filter(|stated| stated.which == which);
    let mut counts: HashMap<u64, (u64, usize)> = HashMap::new();
    for (place, stated) in in_headers().chain(in_refusals()).enumerate() {
        let count = counts.entry(stated.limit).or_default();
        *count = (count.0 + 1, place);
    }
    let (limit, (agreeing, _)) =
        counts.iter().max_by_key(|(_, count)| **count).map(|(limit, count)| (*limit, *count))?;
    let all: u64 = counts.values().map(|(count, _)| count).sum();
    let names = |stated: &&Stated| stated.limit == limit;
    let fits: Vec<bool> = in_headers().chain(in_refusals()).filter(names).filter_map(is_of_bucket).collect();
    Some(FittedLimit {
        which,
        limit,
        basis: Basis::Stated {
            headers: in_headers().filter(names).count() as u64,
            refusals: in_refusals().filter(names).count() as u64,
            others: all - agreeing,
            figures: fits.len() as u64,
            figures_that_fit: fits.iter().filter(|fits| **fits).count() as u64,
        },
        range: None,
    })
}

/// What the calls' fates say of a limit.
fn range_of(limit: &FittedLimit, calls: &[&SeenCall]) -> Option<LimitRange> {
    let is_counted = limit.which == Limited::Requests || calls.iter().all(|call| call.demand.is_some());
    let (silent, named) = match limit.basis {
        Basis::Stated { .. } => (None, Some(limit.limit)),
        Basis::Inferred { .. } => (Some(limit.which), None),
    };
    // From the first of them on: the clock's zero says nothing.
    let zero_us = calls.first().map_or(0, |call| u64::try_from(call.sent_us).unwrap_or(0));
    let since = |call: TriedCall| TriedCall {
        at_us: call.at_us - zero_us,
        ends_us: call.ends_us.saturating_sub(zero_us),
        ..call
    };
    let tried: Vec<TriedCall> = calls.iter().map(|call| since(call.tried(silent))).collect();
    range(limit.which, &tried, named).filter(|_| is_counted)
}

/// Whether figures are those of a bucket that regains its limit a minute, all the time; `None` without figures.
fn is_of_bucket(stated: &Stated) -> Option<bool> {
    let limit = Limit::new(stated.limit).ok()?;
    let unit_us = 60_000_000_u64.div_ceil(stated.limit);
    let (expected_us, said_us, off_us) = match stated.figures {
        Figures::Nothing => return None,
        // What remains is a whole number, and times are cut to milliseconds.
        Figures::Standing(standing) => {
            let used = standing.limit.saturating_sub(standing.remaining);
            (wait_us(limit, used, limit.get()), standing.reset_us, unit_us + 1000)
        }
        Figures::Refused { used, requested, wait_ms } => {
            (wait_us(limit, used, requested), wait_ms.saturating_mul(1000), unit_us + 1000)
        }
    };
    Some(expected_us.abs_diff(said_us) <= off_us)
}

/// From the calls that were let in before the first refusal without a word about the limit: a bucket that was full
/// lets in its limit, and what it regains meanwhile.
fn inferred_requests(calls: &[&SeenCall]) -> Option<FittedLimit> {
    let is_silent = |call: &&&SeenCall| call.is_refused() && call.refusal.is_none() && !call.is_crowded;
    let refusals = calls.iter().filter(is_silent).count() as u64;
    let first = calls.iter().find(is_silent)?;
    // After a minute of silence the bucket was full.
    let before: Vec<&&SeenCall> = calls.iter().take_while(|call| call.sent_us < first.sent_us).collect();
    let quiet = before.windows(2).rposition(|pair| pair[1].sent_us - pair[0].sent_us >= 60_000_000);
    let run = &before[quiet.map_or(0, |place| place + 1)..];
    let began = run.first()?.sent_us;
    let minutes = (first.sent_us - began) as f64 / 6e7;
    let limit = (run.len() as f64 / (1.0 + minutes)).round().max(1.0) as u64;
    Some(FittedLimit { which: Limited::Requests, limit, basis: Basis::Inferred { refusals }, range: None })
}

/// The most calls that were under way whenever one more was refused: the fewest of those, since some may have
/// ended unseen.
fn inferred_concurrency(calls: &[&SeenCall]) -> Option<FittedLimit> {
    let served = || calls.iter().filter(|call| !call.is_refused());
    let begun: Vec<i64> = served().map(|call| call.sent_us).collect();
    let mut ended: Vec<i64> = served().map(|call| call.end_us).collect();
    ended.sort_unstable();
    let until = |times: &[i64], at_us: i64| times.partition_point(|time| *time <= at_us);
    let under_way = |at_us: i64| until(&begun, at_us).saturating_sub(until(&ended, at_us)) as u64;
    let seen: Vec<u64> =
        calls.iter().filter(|call| call.is_crowded).map(|call| under_way(call.sent_us)).collect();
    let limit = *seen.iter().min()?;
    let basis = Basis::Inferred { refusals: seen.len() as u64 };
    Some(FittedLimit { which: Limited::Concurrent, limit: limit.max(1), basis, range: None })
}
