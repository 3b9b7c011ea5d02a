//! `looptape serve`, started as its users start it: where calls go, which trace they belong to, how it
//! stops, what it keeps, and who may use it.

mod access;
pub(crate) mod agent;
mod failover;
pub(crate) mod process;
mod retention;
mod rewording;
mod stopping;
mod tls;
mod traces;
mod upstreams;
