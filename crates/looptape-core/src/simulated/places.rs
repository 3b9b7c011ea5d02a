//! Which loop, step and attempt a request is: nobody tells a provider, so it is read from the requests.
//!
//! A loop is known by what its user said first, a step by the turns that the model has had, an attempt by the same
//! request having come before without an answer, or by the SDK's own count of its retries. A loop that begins again
//! with the same words is a new one. Loops that say the same at the same time and do not count their retries cannot
//! be told apart.

use crate::draws::Draws;
use crate::recent::Recent;
use crate::twin::CallPlace;

/// What was seen of requests and loops, within bounds.
#[derive(Clone, Debug)]
pub(super) struct Places {
    requests: Recent<Seen>,
    /// The number of each loop, by its opening.
    loops: Recent<u64>,
    last_loop: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How often it began: attempts are not counted.
    rounds: u32,
    /// Attempts since it was last served.
    attempts: u32,
    times: u32,
}

/// What tells requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) request: u64,
    pub(super) opening: u64,
    pub(super) step: u32,
    /// How often the SDK says that it tried already.
    pub(super) retries: Option<u32>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) place: CallPlace,
    /// How often the same request came before.
    pub(super) occurrence: u32,
}

const MOST_REQUESTS: usize = 1 << 20;

impl Places {
    pub(super) fn new() -> Self {
        Self { requests: Recent::new(MOST_REQUESTS), loops: Recent::new(MOST_REQUESTS), last_loop: 0 }
    }

    pub(super) fn arrive(&mut self, arrival: &Arrival) -> Placed {
        let mut seen = self.requests.get(arrival.request).unwrap_or_default();
        let attempt = match arrival.retries {
            Some(retries) => retries.saturating_add(1),
            None => seen.attempts.saturating_add(1),
        };
        if attempt == 1 {
            seen.rounds = seen.rounds.saturating_add(1);
        }
        seen.attempts = attempt;
        let occurrence = seen.times;
        seen.times = seen.times.saturating_add(1);
        self.requests.insert(arrival.request, seen);
        let is_new = arrival.step == 1 && attempt == 1;
        let loop_no = match self.loops.get(arrival.opening) {
            Some(known) if !is_new => known,
            _ => {
                self.last_loop += 1;
                self.loops.insert(arrival.opening, self.last_loop);
                self.last_loop
            }
        };
        // A round of its own for each time that the same is asked, so that not all of them take the same time.
        let loop_key = Draws::new(arrival.opening).number(u64::from(seen.rounds));
        let place = CallPlace { loop_key, loop_no, step: arrival.step, attempt };
        Placed { place, occurrence }
    }

    /// The request got its answer: if it comes again it is no further attempt.
    pub(super) fn served(&mut self, request: u64) {
        if let Some(seen) = self.requests.get(request) {
            self.requests.insert(request, Seen { attempts: 0, ..seen });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(request: u64, step: u32, retries: Option<u32>) -> Arrival {
        Arrival { request, opening: 7, step, retries }
    }

    #[test]
    fn attempts_are_counted_until_one_is_served() {
        let mut places = Places::new();
        let attempt = |places: &mut Places| places.arrive(&arrival(1, 1, None)).place.attempt;
        assert_eq!([attempt(&mut places), attempt(&mut places)], [1, 2]);
        places.served(1);
        let again = places.arrive(&arrival(1, 1, None));
        assert_eq!((again.place.attempt, again.place.loop_no, again.occurrence), (1, 2, 2));
        let next = places.arrive(&arrival(2, 2, None)).place;
        assert_eq!((next.step, next.loop_no), (2, 2));
    }

    #[test]
    fn an_sdk_that_counts_its_retries_is_believed() {
        let mut places = Places::new();
        let attempts = [Some(0), Some(0), Some(1), Some(2)]
            .map(|retries| places.arrive(&arrival(1, 1, retries)).place)
            .map(|place| (place.attempt, place.loop_no));
        assert_eq!(attempts, [(1, 1), (1, 2), (2, 2), (3, 2)]);
    }

    #[test]
    fn the_same_asked_again_draws_other_numbers() {
        let mut places = Places::new();
        let first = places.arrive(&arrival(1, 1, None)).place;
        places.served(1);
        assert_ne!(first.loop_key, places.arrive(&arrival(1, 1, None)).place.loop_key);
    }
}
