//! The twin itself.

use super::call::{Ask, Caching, Refusal, RefusalWhy, Verdict};
use super::cold::Warmth;
use super::fault::{Effects, Fault, Refusing};
use super::prefix_cache::{Known, PrefixCache};
use super::queue::Queue;
use super::service::{Jitter, Service, ServiceEnding};
use super::spec::TwinSpec;
use super::{CutAfter, PromptPart};
use crate::draws::Draws;
use crate::limits::{Demand, Limiter, Standings};
use crate::spread::Spread;

/// A provider.
#[derive(Clone, Debug)]
pub struct Twin {
    draws: Draws,
    pace: PaceSpec,
    cache: PrefixCache,
    limiter: Limiter,
    queue: Option<Queue>,
    warmth: Option<Warmth>,
    faults: Vec<Fault>,
}

#[derive(Clone, Debug)]
struct PaceSpec {
    ttft_ms: Spread,
    tpot_ms: Spread,
    prefill_us_per_token: f64,
    jitter: f64,
}

/// What the numbers that are drawn at a call's place are for. Faults come after these, each with its own.
const TTFT: u64 = 0;
const TPOT: u64 = 1;
const GAPS: u64 = 2;

/// About what a streamed token takes with its frame: how many tokens have come when an answer is cut after so many
/// bytes. A server counts the bytes that it really sends.
const BYTES_A_TOKEN: u64 = 200;

impl Twin {
    pub fn new(spec: TwinSpec, seed: u64) -> Self {
        Self {
            draws: Draws::new(seed),
            pace: PaceSpec {
                ttft_ms: spec.ttft_ms,
                tpot_ms: spec.tpot_ms,
                prefill_us_per_token: spec.prefill_ms_per_1k,
                jitter: spec.jitter,
            },
            cache: PrefixCache::new(spec.cache),
            limiter: Limiter::new(&spec.limits),
            queue: spec.slots.map(|slots| Queue::new(slots, spec.queue_max)),
            warmth: spec.cold.map(Warmth::new),
            faults: spec.faults,
        }
    }

    /// What happens to this call.
    pub fn ask(&mut self, ask: &Ask<'_>) -> Verdict {
        let place = ask.place;
        let draws = self.draws.at(place.loop_key).at(u64::from(place.step)).at(u64::from(place.attempt));
        let effects = Effects::of(&self.faults, ask.at_us, place, draws).as_sent(ask.delivery);
        if let Some(refusing) = effects.refusing {
            self.limiter.refused(ask.at_us);
            return refused_by(refusing, ask.at_us);
        }
        let known = self.cache.look_up(ask.at_us, ask.prompt, ask.caching);
        let output_tokens = effects.tokens(ask.output_tokens.min(ask.max_output_tokens.unwrap_or(u64::MAX)));
        let demand = Demand {
            input_tokens: known.leaves.total(),
            cached_tokens: known.leaves.cache_read,
            max_output_tokens: ask.max_output_tokens,
            output_tokens,
        };
        let refuse = |why| Verdict::Refused(Refusal { at_us: ask.at_us, why });
        if let Some(blocked) = self.limiter.check(ask.at_us, &demand) {
            self.limiter.refused(ask.at_us);
            return refuse(RefusalWhy::Limit(blocked));
        }
        let starts_us = match &mut self.queue {
            Some(queue) => queue.start_us(ask.at_us),
            None => Some(ask.at_us),
        };
        let Some(starts_us) = starts_us else {
            self.limiter.refused(ask.at_us);
            return refuse(RefusalWhy::Overloaded);
        };
        let service = self.serve(starts_us, known, output_tokens, &effects, draws);
        self.take(ask.at_us, ask.prompt, ask.caching, known, &demand, &service);
        Verdict::Served(service)
    }

    /// How the account's limits stand.
    pub fn standings(&mut self, at_us: u64) -> Standings {
        self.limiter.standings(at_us)
    }

    fn serve(
        &mut self,
        starts_us: u64,
        known: Known,
        output_tokens: u64,
        effects: &Effects,
        draws: Draws,
    ) -> Service {
        let cold_us = self.warmth.as_mut().map_or(0, |warmth| warmth.wait_us(starts_us));
        let uncached = known.leaves.total() - known.leaves.cache_read;
        let ttft_us = self.pace.ttft_ms.value(draws.unit(TTFT)) * 1e3
            + self.pace.prefill_us_per_token * uncached as f64;
        let first_us = starts_us
            .saturating_add(cold_us)
            .saturating_add((ttft_us * effects.latency_factor) as u64)
            .saturating_add(effects.extra_us);
        let tpot_us = self.pace.tpot_ms.value(draws.unit(TPOT)) * 1e3 * effects.gap_factor;
        let last_us = first_us.saturating_add((tpot_us * output_tokens.saturating_sub(1) as f64) as u64);
        Service {
            starts_us,
            first_us,
            last_us,
            input: known.leaves,
            output_tokens,
            ending: effects.ending,
            jitter: Jitter { share: self.pace.jitter, draws: draws.at(GAPS) },
        }
    }

    fn take(
        &mut self,
        at_us: u64,
        prompt: &[PromptPart],
        caching: Caching,
        known: Known,
        demand: &Demand,
        service: &Service,
    ) {
        self.cache.use_of(known, at_us, service.first_us, prompt, caching);
        self.limiter.admit(at_us, demand, service.last_us);
        if let Some(queue) = &mut self.queue {
            queue.take(at_us, service.starts_us, service.last_us);
        }
        if let Some(warmth) = &mut self.warmth {
            warmth.active_until(service.last_us);
        }
    }
}

impl Effects {
    /// The tokens that come before the fault ends the answer.
    fn tokens(&self, output_tokens: u64) -> u64 {
        match self.ending {
            ServiceEnding::Complete | ServiceEnding::Malformed => output_tokens,
            ServiceEnding::StreamError { after_tokens }
            | ServiceEnding::Cut(CutAfter::Tokens(after_tokens)) => output_tokens.min(after_tokens),
            ServiceEnding::Cut(CutAfter::Bytes(bytes)) => output_tokens.min(bytes / BYTES_A_TOKEN),
        }
    }
}

fn refused_by(refusing: Refusing, at_us: u64) -> Verdict {
    match refusing {
        Refusing::Status { status, after_us, retry_after_us } => Verdict::Refused(Refusal {
            at_us: at_us.saturating_add(after_us),
            why: RefusalWhy::Fault { status, retry_after_us },
        }),
        Refusing::NoQuota => Verdict::Refused(Refusal { at_us, why: RefusalWhy::NoQuota }),
        Refusing::Drop => Verdict::Dropped { at_us },
    }
}
