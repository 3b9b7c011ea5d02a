//! What is looked at: what the command line and a browser show of a database, and the page itself.
//!
//! Everything here reads: it has no recorder, and no client of any provider.

pub mod one_file;
pub mod reading;
pub mod report;
pub mod vendor;
