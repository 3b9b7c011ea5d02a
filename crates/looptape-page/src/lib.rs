//! What is looked at: what the command line and a browser show of a database, and the page itself.
//!
//! - [`reading`]: the views of a database that the command line prints and the page's API answers.
//! - `api`: that API, as JSON, described by OpenAPI.
//! - `assets`: what the browser runs; [`vendor`], the one library in it.
//! - [`Page`]: all of it as a service.
//! - [`export`]: a trace as the page in one file, with its data.
//! - [`replays`]: replays that are started from the page; whoever serves it hands in what runs them.
//! - [`report`]: plots and tables as one file ([`one_file`]) that needs no service.
//!
//! Everything here reads: it has no recorder, and no client of any provider. Who may ask is checked by whoever serves
//! it, before it comes here. Replays are run by who hands them in ([`replays`]).

mod api;
mod assets;
pub mod export;
pub mod one_file;
mod opened;
mod pack;
mod page;
mod readers;
pub mod reading;
#[cfg(test)]
mod recorded_chat;
pub mod replays;
pub mod report;
pub mod vendor;
mod without_bodies;

pub use page::{Page, Rules, WriteToken, Writing};
