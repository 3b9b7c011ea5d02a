//! The prompt cache: which prefixes are known, and until when.
//!
//! An entry lives for `ttl_s` after its last use; a use of a long prefix is one of all the shorter ones it was asked
//! with. Those are refreshed with every sixteenth of that time at the latest, so that a step of a long conversation
//! costs what is new in it; an entry may end that much earlier than it should.
//!
//! Memory is bounded: of very many prefixes those that were not used for longest are forgotten before their time.

use super::call::{Caching, PromptPart};
use super::service::InputLeaves;
use super::spec::CacheSpec;
use crate::recent::Recent;

/// About 100 MB at most.
const MOST_PREFIXES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct PrefixCache {
    spec: CacheSpec,
    ttl_us: u64,
    entries: Recent<Entry>,
    turned_over_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// A prefix can be read when the call that wrote it had its first token.
    from_us: u64,
    used_us: u64,
    /// When the shorter prefixes of its call were last refreshed with it.
    shorter_used_us: u64,
}

/// What the cache knows of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The longest known part, by its place.
    part: Option<usize>,
    pub(super) leaves: InputLeaves,
}

impl PrefixCache {
    pub(super) fn new(spec: CacheSpec) -> Self {
        let ttl_us = (spec.ttl_s * 1e6) as u64;
        Self { spec, ttl_us, entries: Recent::new(MOST_PREFIXES), turned_over_us: 0 }
    }

    /// How the prompt's tokens would be billed now; changes nothing.
    pub(super) fn look_up(&self, at_us: u64, prompt: &[PromptPart], caching: Caching) -> Known {
        let input = prompt.last().map_or(0, |part| part.tokens);
        let parts = &prompt[..cacheable(prompt, caching)];
        let part = parts.iter().rposition(|part| self.blocks(part) > 0 && self.is_known(at_us, part));
        let cache_read = part.map_or(0, |place| self.blocks(&parts[place]));
        let cache_write = match caching {
            Caching::Automatic => 0,
            Caching::Marked { .. } => {
                parts.last().map_or(0, |part| self.blocks(part)).saturating_sub(cache_read)
            }
        };
        let uncached = input.saturating_sub(cache_read).saturating_sub(cache_write);
        Known { part, leaves: InputLeaves { uncached, cache_read, cache_write } }
    }

    /// The call is served: what it read is used, what was not known is written, and can be read from `first_us`.
    pub(super) fn use_of(
        &mut self,
        known: Known,
        at_us: u64,
        first_us: u64,
        prompt: &[PromptPart],
        caching: Caching,
    ) {
        self.turn_over(at_us);
        let parts = &prompt[..cacheable(prompt, caching)];
        let new_from = known.part.map_or(0, |place| place + 1);
        if let Some(place) = known.part {
            let last_time = self.entries.get(parts[place].prefix).map_or(0, |entry| entry.shorter_used_us);
            let is_due = at_us.saturating_sub(last_time) > self.ttl_us / 16;
            let from = if is_due { 0 } else { place };
            let shorter_used_us = if is_due { at_us } else { last_time };
            for part in &parts[from..=place] {
                let from_us = self.entries.get(part.prefix).map_or(at_us, |entry| entry.from_us);
                self.entries.insert(part.prefix, Entry { from_us, used_us: at_us, shorter_used_us });
            }
        }
        for part in parts[new_from..].iter().filter(|part| part.tokens >= self.spec.min_tokens) {
            // Another call may be writing the same prefix: the earlier one decides when it can be read.
            let writing = self.entries.get(part.prefix).filter(|entry| !self.is_over(at_us, entry));
            let from_us = writing.map_or(first_us, |entry| entry.from_us.min(first_us));
            self.entries.insert(part.prefix, Entry { from_us, used_us: at_us, shorter_used_us: at_us });
        }
    }

    /// Tokens of a part that are cached: whole blocks, and none of a short one.
    fn blocks(&self, part: &PromptPart) -> u64 {
        if part.tokens < self.spec.min_tokens {
            0
        } else {
            part.tokens - part.tokens % self.spec.block_tokens
        }
    }

    fn is_known(&self, at_us: u64, part: &PromptPart) -> bool {
        self.entries
            .get(part.prefix)
            .is_some_and(|entry| entry.from_us <= at_us && !self.is_over(at_us, &entry))
    }

    fn is_over(&self, at_us: u64, entry: &Entry) -> bool {
        at_us.saturating_sub(entry.used_us) >= self.ttl_us
    }

    /// What was not used for the time that an entry lives need not be kept.
    fn turn_over(&mut self, at_us: u64) {
        if at_us.saturating_sub(self.turned_over_us) >= self.ttl_us {
            self.entries.turn_over();
            self.turned_over_us = at_us;
        }
    }
}

fn cacheable(prompt: &[PromptPart], caching: Caching) -> usize {
    match caching {
        Caching::Automatic => prompt.len(),
        Caching::Marked { parts } => parts.min(prompt.len()),
    }
}
