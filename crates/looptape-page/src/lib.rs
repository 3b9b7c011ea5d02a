//! What is looked at in a browser.
//!
//! Everything here reads: it has no recorder, and no client of any provider.

pub mod one_file;
pub mod report;
pub mod vendor;
