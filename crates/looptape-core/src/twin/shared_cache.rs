//! A prompt cache that sees the served calls of several providers as if one had served them all: what each would have read,
//! had nothing moved.

use super::Ask;
use super::prefix_cache::PrefixCache;
use super::service::{InputLeaves, Service};
use super::spec::CacheSpec;

#[derive(Clone, Debug)]
pub struct SharedCache(PrefixCache);

impl SharedCache {
    pub fn new(spec: CacheSpec) -> Self {
        Self(PrefixCache::new(spec))
    }

    /// How the input of a call that is served would have been split. Calls come in order of time.
    pub fn served(&mut self, ask: &Ask<'_>, service: &Service) -> InputLeaves {
        let known = self.0.look_up(ask.at_us, ask.prompt, ask.caching);
        self.0.use_of(known, ask.at_us, service.first_us, ask.prompt, ask.caching);
        known.leaves
    }
}
