//! Why a file was not imported: each message names the thing and the next step.
//!
//! Messages do not name the file: whoever shows them knows which one it was.

use super::Container;
use std::fmt;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the file is empty: record it again, or leave it out of the import")]
    EmptyFile,

    #[error(
        "the file has {size_bytes} bytes, the limit is {limit_bytes}: split its interactions into several files"
    )]
    TooLarge { size_bytes: u64, limit_bytes: u64 },

    #[error(
        "unpacked it has more than {limit_bytes} bytes, which is the limit: split its interactions into several files"
    )]
    UnpacksTooFar { limit_bytes: u64 },

    #[error("not whole, or not gzip after its first bytes: {problem}; restore the file, or record it again")]
    NotGzip { problem: String },

    #[error(
        "anchors or nesting make the document far larger than the file (more than {limit}): \
         write it without anchors, or split it"
    )]
    ExpandsTooFar { limit: &'static str },

    #[error(
        "not text: the byte at offset {offset_bytes} is not UTF-8; import the recording itself, \
         uncompressed or compressed with gzip"
    )]
    NotText { offset_bytes: u64 },

    #[error(
        "not YAML, at line {line}, column {column}: {problem}; repair the file there, or record it again"
    )]
    NotYaml { line: u64, column: u64, problem: String },

    #[error(
        "not JSON, at line {line}, column {column}: {problem}; repair the file there, or record it again"
    )]
    NotJson { line: u64, column: u64, problem: String },

    #[error("the file holds more than one YAML document: save each as a file of its own")]
    SeveralDocuments,

    #[error("the recording holds no interactions: record it again, or leave it out of the import")]
    NoInteractions,

    #[error(
        "not a whole httprr trace, at byte {offset_bytes}: {problem}; restore the file (line ends must not be \
         converted), or record it again"
    )]
    NotHttprr { offset_bytes: u64, problem: &'static str },

    #[error("the file holds more than {limit} values: split its interactions into several files")]
    TooManyValues { limit: u32 },

    #[error(
        "interaction {interaction} (counted from 0): `{field}` is kept in another file; put its text here, or \
         record it again without writing bodies to disk"
    )]
    BodyElsewhere { interaction: u32, field: &'static str },

    #[error("{0}: holds no HTTP, so there is nothing to replay; record the agent's calls instead")]
    NoHttp(NotHttp),

    #[error(
        "{container} of version {found}: only {} can be read; record it again with a tool of such a version",
        .container.versions()
    )]
    UnsupportedVersion { container: Container, found: String },

    #[error(
        "not a recording in a format known here: cassettes of looptape, vcrpy, go-vcr, VCR (Ruby, R) and \
         betamax, HAR files and httprr traces can be imported"
    )]
    UnknownFormat,

    #[error("interaction {interaction} (counted from 0) has no `{field}`: add it, or remove the interaction")]
    MissingField { interaction: u32, field: &'static str },

    #[error(
        "interaction {interaction} (counted from 0): `{field}` is not {expected}: correct it, or remove \
         the interaction"
    )]
    WrongShape { interaction: u32, field: &'static str, expected: &'static str },
}

/// A record of an agent's run that holds no HTTP interactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotHttp {
    /// Trajectories of SWE-agent and mini-swe-agent.
    SweAgentTrajectory,
    /// A bare list of chat messages.
    MessageList,
    /// Frames of a WebSocket session.
    WebSocketFrames,
    /// gRPC calls.
    GrpcCalls,
}

impl fmt::Display for NotHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SweAgentTrajectory => "SWE-agent trajectory",
            Self::MessageList => "bare list of messages",
            Self::WebSocketFrames => "recording of WebSocket frames",
            Self::GrpcCalls => "recording of gRPC calls",
        })
    }
}
