//! Cassettes: a recording as files that people review, keep in git and send to each other.
//!
//! - `recording`: what a cassette holds: a trace with all its calls, bit for bit.
//! - `write`, `read`: the recording as files, and back; `archive`: the files as one.
//! - `manifest`: `manifest.json` and `checksums.txt`, the version, the root hash.
//! - `call_file`, `timings`: one JSON file a call; what a clock said, in a file of its own.
//! - `tools`: tool calls that were measured.
//! - `bodies`: a request's body by references to its messages, an answer's body as people can read it.
//! - `shelf`, `lists`: messages stored once by hash; histories as what they add to an earlier one.
//! - `json_text`, `style`: JSON laid out for people, and in the client's own spelling again.
//! - `values`: what differs from run to run (ids, times, the run's own folder) is named in the texts and stands
//!   in the manifest, so that a second recording of the same run differs in few lines.
//!
//! Invariants: what was written is read back bit for bit, and whatever form does not give the same bytes is not
//! used for them; the same recording gives the same files; every file is covered by the root hash, and a damaged
//! one is named. A reader accepts every older version and refuses a newer one. Within a version, members may be
//! added that readers pass over; what changes the meaning of a file raises the version.
//!
//! It reads and writes no disk. It trusts nothing that it reads: names lead nowhere but into the cassette, and
//! sizes are bounded before anything is put together.

mod archive;
mod bodies;
mod call_file;
#[cfg(test)]
pub(crate) mod committed;
mod error;
mod files;
mod json_text;
mod lists;
mod manifest;
mod read;
mod recording;
mod shelf;
mod style;
#[cfg(test)]
mod tests;
mod timings;
mod tools;
mod values;
mod write;

pub use archive::{is_archive, pack, unpack};
pub use error::CassetteError;
pub use files::{CHECKSUMS, FileName, Files, MANIFEST, MAX_TOTAL_BYTES, TIMINGS};
pub use manifest::{VERSION, is_manifest};
pub use read::Cassette;
pub use recording::{TapedCall, TapedEnd, TapedParent, TapedTrace};
pub use write::Writer;
