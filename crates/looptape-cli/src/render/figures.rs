//! Figures as people read them.

pub(crate) use looptape_core::figures::{count, duration, percent, plural};
