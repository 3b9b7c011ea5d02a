//! What tests share: scripted upstreams, a raw client, and recordings from elsewhere.
//!
//! For development only. Nothing here decides what is right: expectations about recordings come from files
//! that an independent program computed.

pub mod answer;
pub mod corpus;
mod http1;
pub mod oracle;
pub mod raw_client;
pub mod tls_upstream;
pub mod upstream;
