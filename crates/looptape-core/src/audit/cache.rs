//! The prompt cache: what of a prompt could have been read from it, what was not, and why.
//!
//! A provider can read from its cache the longest beginning that a prompt shares with an earlier one to the
//! same model. Here that is known piece by piece, so a miss can name the first piece that changed. What comes
//! after a changed piece cannot be read although it was sent before: where it stood in the earlier prompt too,
//! it counts as missed. A changed piece itself can be read up to the change.
//!
//! Beginnings of fewer than [`SMALLEST_PREFIX`] tokens are not expected to be cached, and what falls short by
//! less than a tenth is the provider's rounding to blocks. A step whose provider does not say what was read is
//! left out.

use super::bill::{Bill, Bills};
use super::message::{Message, Origins};
use super::pricing::Pricing;
use crate::assembly::{CallIndex, StepNumber};
use crate::chain::common_prefix;
use crate::composition::{PieceId, Prompts, scale};
use crate::cost::Usd;
use crate::facts::CallFacts;
use crate::metrics::{Measured, Ms};
use crate::text_diff::{Extent, InlineDiff};
use crate::usage::LeafTokens;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// The least that providers cache, in tokens.
const SMALLEST_PREFIX: u64 = 1024;
/// Providers keep a prefix for five minutes after it was last used, if nothing else is asked for.
const KEPT_MS: f64 = 300_000.0;

/// Text that is kept before and after a change.
const AROUND_BYTES: usize = 100;
/// Text that is looked at from a change on.
const MOST_CHANGED_BYTES: usize = 8_000;

/// How the cache did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheReport {
    /// Tokens that were in an earlier prompt too, at the beginning or after a change.
    pub reusable_tokens: u64,
    pub read_tokens: u64,
    pub missed_tokens: u64,
    /// What the misses cost beyond the price of cache reads; a lower bound if a price is not known.
    pub missed_usd: Usd,
    pub misses: Vec<CacheMiss>,
    /// Steps whose provider did not say what it read from the cache.
    pub unknown_steps: u32,
}

/// A step that paid in full for what the cache could have held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheMiss {
    pub step: StepNumber,
    /// The earlier step whose prompt it shares most with.
    pub after: StepNumber,
    pub reusable_tokens: u64,
    pub read_tokens: u64,
    pub missed_tokens: u64,
    /// Beyond the price of cache reads; `None` if that is not known.
    pub usd: Option<Usd>,
    pub cause: MissCause,
}

/// Why something was not read from the cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum MissCause {
    /// Something at the beginning changed.
    PrefixChanged(Box<PrefixChange>),
    /// The beginning is the same, but the earlier request was too long ago.
    Expired { idle_ms: Ms },
    /// The beginning is the same; the provider did not find it, or does not cache for this model.
    NotFound,
}

/// The first piece that is not as it was in the earlier prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrefixChange {
    /// As it is now; `None` if the prompt ends there.
    pub now: Option<Message>,
    /// As it was.
    pub was: Message,
    /// Both texts in one.
    pub text: InlineDiff,
    /// Tokens before it.
    pub unchanged_tokens: u64,
}

/// What a prompt shares with earlier ones.
struct Shared {
    after: CallIndex,
    after_step: StepNumber,
    /// Pieces at the beginning.
    pieces: usize,
    prefix_tokens: u64,
    reusable_tokens: u64,
}

/// What each bill's prompt shares with the ones before.
pub(super) struct Reuse<'a> {
    prompts: &'a Prompts,
    facts: &'a [CallFacts],
    measured: &'a Measured,
    /// In the order of the bills.
    shared: Vec<Option<Shared>>,
}

impl<'a> Reuse<'a> {
    pub(super) fn of(
        bills: &Bills,
        prompts: &'a Prompts,
        facts: &'a [CallFacts],
        measured: &'a Measured,
    ) -> Self {
        let mut reuse = Self { prompts, facts, measured, shared: Vec::with_capacity(bills.all.len()) };
        let mut latest: HashMap<(&str, &str), &Bill> = HashMap::new();
        let by_call: HashMap<CallIndex, &Bill> = bills.all.iter().map(|bill| (bill.call, bill)).collect();
        for bill in &bills.all {
            let model = reuse.model(bill);
            let parent = reuse.parent(bill).and_then(|call| by_call.get(&call)).copied();
            let parent = parent.filter(|parent| reuse.model(parent) == model && parent.call < bill.call);
            let candidates = [parent, latest.get(&model).copied()];
            let best = candidates.into_iter().flatten().filter_map(|earlier| reuse.shared(earlier, bill));
            let best = best.max_by_key(|shared| (shared.prefix_tokens, shared.reusable_tokens));
            reuse.shared.push(best);
            latest.insert(model, bill);
        }
        reuse
    }

    fn model(&self, bill: &Bill) -> (&'a str, &'a str) {
        let fact = &self.facts[bill.call.0];
        let model = fact.response_model.as_deref().or(fact.model.as_deref());
        (fact.provider.as_str(), model.unwrap_or_default())
    }

    fn parent(&self, bill: &Bill) -> Option<CallIndex> {
        let step = self.measured.assembly.step(bill.step)?;
        // An earlier attempt sent the same prompt; else the step whose answer it carries on from.
        let earlier = step.calls().take_while(|call| *call != bill.call).last();
        let parent = || self.measured.assembly.step(step.parent?).map(|parent| parent.final_call());
        earlier.filter(|call| self.facts[call.0].usage.is_known()).or_else(parent)
    }

    fn shared(&self, earlier: &Bill, bill: &Bill) -> Option<Shared> {
        let (before, now) = (self.prompts.prompt(earlier.call)?, self.prompts.prompt(bill.call)?);
        let pieces = self.prompts.common(before, now);
        let stretches = self.prompts.stretches(now, bill.tokens.input());
        // What the provider keeps stands before all pieces.
        let held = stretches.len() - self.prompts.pieces_of(now).len();
        let end = |count: usize| count.checked_sub(1).map_or(0, |last| stretches[last].end);
        let mut at = end(held + pieces);
        let was: Vec<PieceId> = self.prompts.pieces_of(before).split_off(pieces);
        let first = stretches.get(held + pieces).and_then(|stretch| Some((stretch.piece?, stretch.end - at)));
        let within =
            first.zip(was.first()).map_or(0, |((now, tokens), was)| self.unchanged(*was, now, tokens));
        let was: HashSet<PieceId> = was.into_iter().collect();
        let prefix_tokens = at + within;
        let mut reusable_tokens = prefix_tokens;
        for stretch in stretches.iter().skip(held + pieces) {
            if stretch.piece.is_some_and(|piece| was.contains(&piece)) {
                reusable_tokens += stretch.end - at;
            }
            at = stretch.end;
        }
        let (after, after_step) = (earlier.call, earlier.step);
        Some(Shared { after, after_step, pieces, prefix_tokens, reusable_tokens })
    }

    /// How many of a changed piece's tokens stand before the change.
    fn unchanged(&self, was: PieceId, now: PieceId, tokens: u64) -> u64 {
        let (was, now) = (self.prompts.piece(was), self.prompts.piece(now));
        if was.section != now.section {
            return 0;
        }
        let same = common_prefix(was.text.as_bytes(), now.text.as_bytes());
        scale::point(tokens, same as u64, now.bytes())
    }

    /// How many tokens at a bill's beginning were in an earlier prompt.
    pub(super) fn prefix_tokens(&self, at: usize) -> u64 {
        self.shared[at].as_ref().map_or(0, |shared| shared.prefix_tokens)
    }

    /// How much of each bill's prompt a later one begins with.
    pub(super) fn used_later(&self, bills: &Bills) -> Vec<u64> {
        let mut used: HashMap<CallIndex, u64> = HashMap::new();
        for shared in self.shared.iter().flatten() {
            let most = used.entry(shared.after).or_default();
            *most = (*most).max(shared.prefix_tokens);
        }
        bills.all.iter().map(|bill| used.get(&bill.call).copied().unwrap_or(0)).collect()
    }
}

impl CacheReport {
    pub(super) fn of(reuse: &Reuse<'_>, bills: &Bills, origins: &Origins, pricing: &Pricing<'_>) -> Self {
        let mut report = Self::default();
        for (bill, shared) in bills.all.iter().zip(&reuse.shared) {
            if reuse.facts[bill.call.0].usage.cache_read.is_none() {
                report.unknown_steps += 1;
                continue;
            }
            report.read_tokens += bill.tokens.cache_read;
            let Some(shared) = shared.as_ref().filter(|shared| shared.reusable_tokens >= SMALLEST_PREFIX)
            else {
                continue;
            };
            report.reusable_tokens += shared.reusable_tokens;
            let missed = shared.reusable_tokens.saturating_sub(bill.tokens.cache_read);
            if missed * 10 < shared.reusable_tokens {
                continue;
            }
            report.missed_tokens += missed;
            let usd = saving(pricing, bill, missed);
            report.missed_usd += usd.unwrap_or_default();
            report.misses.push(CacheMiss {
                step: bill.step,
                after: shared.after_step,
                reusable_tokens: shared.reusable_tokens,
                read_tokens: bill.tokens.cache_read,
                missed_tokens: missed,
                usd,
                cause: cause(reuse, bill, shared, origins),
            });
        }
        report
    }

    /// Whether anything was ever read from the cache.
    pub fn was_used(&self) -> bool {
        self.read_tokens > 0
    }
}

/// What a bill would have been cheaper, had so many tokens more been read from the cache.
fn saving(pricing: &Pricing<'_>, bill: &Bill, missed: u64) -> Option<Usd> {
    let mut tokens = bill.tokens;
    let mut left = missed;
    for leaf in [&mut tokens.cache_write_1h, &mut tokens.cache_write_5m, &mut tokens.uncached_input] {
        let moved = left.min(*leaf);
        *leaf -= moved;
        left -= moved;
    }
    tokens.cache_read += missed - left;
    Some(bill.usd.total().saturating_sub(pricing.usd_for(bill, tokens)?))
}

/// The same for a prompt that goes on from one of `prefix` tokens; `None` if nothing was missed.
pub(super) fn saving_of_prefix(pricing: &Pricing<'_>, bill: &Bill, prefix: u64) -> Option<Usd> {
    let prefix = prefix.min(bill.tokens.input());
    let missed = prefix.saturating_sub(bill.tokens.cache_read);
    let counts = prefix >= SMALLEST_PREFIX && missed * 10 >= prefix;
    saving(pricing, bill, missed).filter(|_| counts)
}

fn cause(reuse: &Reuse<'_>, bill: &Bill, shared: &Shared, origins: &Origins) -> MissCause {
    let prompts = reuse.prompts;
    let prompt = |call| prompts.prompt(call).map(|prompt| prompts.pieces_of(prompt)).unwrap_or_default();
    let (was, now) = (prompt(shared.after), prompt(bill.call));
    if let Some(&was) = was.get(shared.pieces) {
        let now = now.get(shared.pieces).copied();
        let text = |piece: Option<PieceId>| piece.map_or("", |piece| prompts.piece(piece).text.as_str());
        return MissCause::PrefixChanged(Box::new(PrefixChange {
            now: now.map(|piece| origins.message(prompts, piece)),
            was: origins.message(prompts, was),
            text: changed(text(Some(was)), text(now)),
            unchanged_tokens: shared.prefix_tokens,
        }));
    }
    let facts = |call: CallIndex| &reuse.facts[call.0];
    let timing = reuse.measured.span.timing;
    let idle = timing
        .knows_intervals()
        .then(|| Some(Ms::between(facts(shared.after).end_us?, facts(bill.call).sent_us)))
        .flatten();
    match idle.filter(|idle| idle.as_f64() > KEPT_MS) {
        Some(idle_ms) => MissCause::Expired { idle_ms },
        None => MissCause::NotFound,
    }
}

/// What changed inside a text, and some of what stands around it. Prompts are long and mostly the same, so
/// only what lies between the first and the last difference is compared.
fn changed(was: &str, now: &str) -> InlineDiff {
    let same = common_prefix(was.as_bytes(), now.as_bytes());
    let room = was.len().min(now.len()) - same;
    let ends = was.bytes().rev().zip(now.bytes().rev());
    let same_end = ends.take(room).take_while(|(was, now)| was == now).count();
    let part = |text: &str| {
        let start = text.floor_char_boundary(same.saturating_sub(AROUND_BYTES));
        let end = text.len() - same_end;
        // Of a text that was replaced as a whole its beginning will do.
        let end = (end + AROUND_BYTES).min(text.len()).min(start + MOST_CHANGED_BYTES);
        text[start..text.ceil_char_boundary(end)].to_owned()
    };
    InlineDiff::between(&part(was), &part(now), Extent::Cut)
}

/// The tokens of a bill as a perfect cache would have had them: the beginning that an earlier prompt has is
/// read; what a later one begins with is written, where writing is billed apart; the rest is as it was.
pub(super) fn perfect(bill: &Bill, prefix: u64, used_later: u64, is_written: bool) -> LeafTokens {
    let input = bill.tokens.input();
    let cacheable = |tokens: u64| if tokens < SMALLEST_PREFIX { 0 } else { tokens.min(input) };
    let read = cacheable(prefix).max(bill.tokens.cache_read.min(input));
    let written = if is_written { cacheable(used_later).saturating_sub(read) } else { 0 };
    let for_an_hour = bill.tokens.cache_write_1h > 0;
    LeafTokens {
        cache_read: read,
        cache_write_1h: if for_an_hour { written } else { 0 },
        cache_write_5m: if for_an_hour { 0 } else { written },
        uncached_input: input - read - written,
        ..bill.tokens
    }
}
