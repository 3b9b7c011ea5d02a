//! Plays a script. What it remembers is how often each request came: one small entry for each different request,
//! kept as long as the server lives.

use super::{Played, Player, Received};
use looptape_core::Digest;
use looptape_core::simulated::{Script, SimRequest, respond};
use looptape_store::Moment;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct ScriptPlayer {
    script: Script,
    /// A std mutex: it is held for one map operation, never across an await.
    seen: Mutex<HashMap<Digest, u32>>,
}

impl ScriptPlayer {
    pub(super) fn new(script: Script) -> Self {
        Self { script, seen: Mutex::default() }
    }

    /// How often this request came before.
    fn occurrence(&self, path: &str, body: &[u8]) -> u32 {
        let key = Digest::of_parts(&[path.as_bytes(), body]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(key).or_insert(0);
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

impl Player for ScriptPlayer {
    fn play(&self, request: &Received<'_>) -> Played {
        let &Received { method, path, body, .. } = request;
        let occurrence = self.occurrence(path, body);
        let unix_s = Moment::now().unix_us / 1_000_000;
        Played::Answer(respond(&self.script, &SimRequest { method, path, body, occurrence, unix_s }))
    }
}
