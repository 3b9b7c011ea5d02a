//! What tests share: recordings from elsewhere and what they are known to hold.
//!
//! For development only. Nothing here decides what is right: expectations come from files that an
//! independent program computed.

pub mod corpus;
pub mod oracle;
