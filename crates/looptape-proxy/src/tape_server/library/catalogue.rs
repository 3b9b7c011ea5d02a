//! The calls of a library, by the digest of their requests.
//!
//! Built once. Only which of several equal calls comes next changes, and that is a counter.

use super::super::sending::Prepared;
use bytes::Bytes;
use looptape_core::provider::Provider;
use looptape_core::replay::components::{Endpoint, exact_digest};
use looptape_core::{Digest, redact};
use looptape_store::CallOutline;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A recorded call that ended.
#[derive(Debug)]
pub(super) struct Shelved {
    /// The trace's place among those of the catalogue.
    pub(super) trace: usize,
    pub(super) seq: u32,
    /// Its answer, once it was wanted and if there was room.
    pub(super) kept: OnceLock<Arc<Prepared>>,
}

/// Calls with the same request, in recorded order.
#[derive(Debug, Default)]
struct Group {
    calls: Vec<Shelved>,
    served: AtomicUsize,
    /// The digest of the body with its placeholders numbered anew; `None` if it holds none.
    with_secrets: OnceLock<Option<Digest>>,
}

impl Group {
    fn next(&self) -> &Shelved {
        &self.calls[self.served.fetch_add(1, Ordering::Relaxed) % self.calls.len()]
    }
}

#[derive(Debug)]
pub(super) struct Catalogue {
    groups: Vec<Group>,
    by_request: HashMap<Digest, usize>,
    /// Groups by endpoint, and by the size of the stored body.
    by_size: HashMap<String, Vec<(u64, usize)>>,
    calls: usize,
}

/// What a placeholder may lose when it is numbered anew: its number's digits but one.
const SHRINKS_BYTES: u64 = 9;

impl Catalogue {
    /// The catalogue of these traces, and their providers.
    pub(super) fn new(traces: impl IntoIterator<Item = Vec<CallOutline>>) -> (Self, Vec<Provider>) {
        let mut all =
            Self { groups: Vec::new(), by_request: HashMap::new(), by_size: HashMap::new(), calls: 0 };
        let mut providers = Vec::new();
        for (trace, outlines) in traces.into_iter().enumerate() {
            for call in outlines.into_iter().filter(|call| call.end.is_some()) {
                if !providers.contains(&call.provider) {
                    providers.push(call.provider.clone());
                }
                all.add(trace, &call);
            }
        }
        all.by_size.values_mut().for_each(|groups| groups.sort_unstable());
        (all, providers)
    }

    fn add(&mut self, trace: usize, call: &CallOutline) {
        let endpoint = Endpoint::new(&call.method, &call.path);
        let request = exact_digest(&endpoint, call.request);
        let group = *self.by_request.entry(request).or_insert_with(|| {
            let sizes = self.by_size.entry(endpoint.to_string()).or_default();
            sizes.push((call.request_bytes, self.groups.len()));
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        self.groups[group].calls.push(Shelved { trace, seq: call.seq, kept: OnceLock::new() });
        self.calls += 1;
    }

    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// The call to serve for a request whose stored body has this digest.
    pub(super) fn next(&self, method: &str, path: &str, body: Digest) -> Option<&Shelved> {
        let request = exact_digest(&Endpoint::new(method, path), body);
        self.by_request.get(&request).map(|&group| self.groups[group].next())
    }

    /// The call to serve for a request that holds secrets; `normalised` is its body with placeholders
    /// numbered by first occurrence. Recorded bodies of about its size are read, each at most once.
    pub(super) fn next_with_secrets(
        &self,
        method: &str,
        path: &str,
        normalised: &[u8],
        read: &dyn Fn(&Shelved) -> Bytes,
    ) -> Option<&Shelved> {
        let wanted = Digest::of(normalised);
        let sizes = self.by_size.get(&Endpoint::new(method, path).to_string())?;
        let smallest = normalised.len() as u64;
        let placeholders = redact::placeholders(normalised).count() as u64;
        let from = sizes.partition_point(|&(size, _)| size < smallest);
        let near =
            sizes[from..].iter().take_while(|(size, _)| *size <= smallest + placeholders * SHRINKS_BYTES);
        let holds = |&&(_, at): &&(u64, usize)| {
            let group = &self.groups[at];
            let digest = group.with_secrets.get_or_init(|| {
                let body = read(&group.calls[0]);
                match redact::normalise(&body) {
                    Cow::Owned(normalised) => Some(Digest::of(&normalised)),
                    Cow::Borrowed(_) => None,
                }
            });
            *digest == Some(wanted)
        };
        near.filter(holds).map(|&(_, at)| self.groups[at].next()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::exchange::Ending;
    use looptape_store::OutlineEnd;

    fn call(seq: u32, body: &str) -> CallOutline {
        CallOutline {
            seq,
            sent_us: i64::from(seq),
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            request: Digest::of(body.as_bytes()),
            request_bytes: body.len() as u64,
            end: Some(OutlineEnd { ending: Ending::Complete, answer: Some((200, Digest::of(b"x"))) }),
        }
    }

    fn next(catalogue: &Catalogue, body: &str) -> Option<(usize, u32)> {
        let found = catalogue.next("POST", "/v1/chat/completions?key=abc", Digest::of(body.as_bytes()));
        found.map(|call| (call.trace, call.seq))
    }

    #[test]
    fn equal_requests_come_in_recorded_order_over_and_over() {
        let unended = CallOutline { end: None, ..call(2, "c") };
        let traces = [vec![call(0, "a"), call(1, "b"), unended], vec![call(0, "a")]];
        let (catalogue, providers) = Catalogue::new(traces);
        assert_eq!((catalogue.calls(), providers), (3, vec![Provider::OPENAI]));
        let served: Vec<_> = ["a", "b", "a", "a", "b", "c"].map(|body| next(&catalogue, body)).into();
        assert_eq!(served, [Some((0, 0)), Some((0, 1)), Some((1, 0)), Some((0, 0)), Some((0, 1)), None]);
    }

    #[test]
    fn secrets_are_compared_by_place() {
        let bodies =
            ["[[looptape:secret:12]] and [[looptape:secret:3]]", "no secret, but about as long as one!"];
        let (catalogue, _) = Catalogue::new([vec![call(0, bodies[0]), call(1, bodies[1])]]);
        let read = |call: &Shelved| Bytes::from(bodies[call.seq as usize]);
        let find = |live: &str| {
            let found = catalogue.next_with_secrets("POST", "/v1/chat/completions", live.as_bytes(), &read);
            found.map(|call| call.seq)
        };
        assert_eq!(find("[[looptape:secret:1]] and [[looptape:secret:2]]"), Some(0));
        assert_eq!(find("[[looptape:secret:1]] and [[looptape:secret:1]]"), None);
        assert_eq!(find("[[looptape:secret:1]] or [[looptape:secret:2]]"), None);
    }
}
