//! The storage chain: how a body becomes pieces that are stored once.
//!
//! Agents resend their whole history every step. A body is cut at the elements of its top-level arrays
//! (messages, input, contents, tools, system blocks) and around its long top-level strings. What remains
//! is the [`Skeleton`]; the pieces, alone or several together, form chains, one per cut, whose common
//! beginnings are shared by all the steps of a loop. [`Shared`] says which they are. Pieces are raw bytes, separators and white space included, so that putting them back
//! gives the same body bit for bit. Nothing here looks at meaning: that is the matching chain's business.
//!
//! A piece that is a small change of another (a message that lost its cache marker) is written down as a
//! [`Splice`] of it.

mod parted;
mod shared;
mod skeleton;
mod splice;
mod split;

pub use parted::Parted;
pub use shared::{Shared, SharedCut};
pub use skeleton::{Skeleton, SkeletonError};
pub use splice::{Splice, common_prefix};
pub use split::{Cut, CutOf, Split, element, split, split_after};
