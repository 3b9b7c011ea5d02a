//! What tests share: recordings from elsewhere and what they are known to hold.
//!
//! For development only. Nothing here decides what is right: expectations come from files that an
//! independent program computed.

pub mod corpus;
pub mod oracle;
//! Placeholder.

pub mod answer;
mod http1;
pub mod raw_client;
pub mod upstream;
