//! Slots: so many calls are worked on at the same time, the rest waits in the order of arrival.
//!
//! A call's end is known when it starts, so the times at which slots come free are enough: no event is needed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

#[derive(Clone, Debug)]
pub(super) struct Queue {
    slots: usize,
    longest: usize,
    /// When busy slots come free, the earliest on top. Holds the waiting calls' slots too, each once.
    busy_until_us: BinaryHeap<Reverse<u64>>,
    /// When those who wait will start, in rising order.
    starts_us: VecDeque<u64>,
}

impl Queue {
    pub(super) fn new(slots: u32, longest: Option<u32>) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            slots: size(slots.max(1)),
            longest: longest.map_or(usize::MAX, size),
            busy_until_us: BinaryHeap::new(),
            starts_us: VecDeque::new(),
        }
    }

    /// When a call that comes now would start; `None` if too many wait. Takes nothing.
    pub(super) fn start_us(&mut self, at_us: u64) -> Option<u64> {
        while self.starts_us.front().is_some_and(|start| *start <= at_us) {
            self.starts_us.pop_front();
        }
        while self.busy_until_us.peek().is_some_and(|Reverse(until)| *until <= at_us) {
            self.busy_until_us.pop();
        }
        if self.busy_until_us.len() < self.slots {
            return Some(at_us);
        }
        let is_full = self.starts_us.len() >= self.longest;
        (!is_full).then(|| self.busy_until_us.peek().map_or(at_us, |Reverse(until)| *until))
    }

    /// Takes the slot that [`Queue::start_us`] named.
    pub(super) fn take(&mut self, at_us: u64, start_us: u64, ends_us: u64) {
        if start_us > at_us {
            self.busy_until_us.pop();
            self.starts_us.push_back(start_us);
        }
        self.busy_until_us.push(Reverse(ends_us));
    }
}
