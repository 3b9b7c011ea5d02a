//! Integration tests: one binary, a module per feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clients;
mod corpus;
mod demo;
mod env;
mod gateway;
mod import;
mod traces;
mod views;
mod crashes;
mod endings;
mod env;
mod lab;
mod offline;
mod passthrough;
mod private;
mod secrets;
