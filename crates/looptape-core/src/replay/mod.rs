//! Replay: finding the recorded answer that belongs to a live request, or saying why there is none.

pub mod components;
mod fields;
