//! Integration tests: one binary, a module per feature.

mod corpus;
mod env;
mod import;
mod clients;
mod demo;
mod env;
mod traces;
