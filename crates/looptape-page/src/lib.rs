//! What is looked at in a browser.
//!
//! Everything here reads: it has no recorder, and no client of any provider.

pub mod reading;
pub mod vendor;
