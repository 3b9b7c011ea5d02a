//! The kinds of volatile values, by the names that users know.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a masked value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    Uuid,
    Ulid,
    /// Hex or base-n digits, at least sixteen of them.
    Id,
    /// Where an object lies in memory: `at 0x7f8a1c003a10`.
    Address,
    /// A date with its time.
    DateTime,
    /// Seconds, or parts of them, since 1970, near the run's own clock.
    Epoch,
    TemporaryPath,
    /// An address and its port, or a name under `.local` or `.internal`.
    Host,
    Port,
    Pid,
    Duration,
    /// What an agent's harness measures or counts, behind a label of its own.
    Harness,
    /// The day of the run.
    Date,
    WorkingFolder,
    Home,
    User,
    HostName,
    Kernel,
    TimeZone,
    Git,
    /// What a `[[mask]]` of the project's settings names.
    Configured,
}

impl MaskKind {
    pub const ALL: [Self; 21] = [
        Self::Uuid,
        Self::Ulid,
        Self::Id,
        Self::Address,
        Self::DateTime,
        Self::Epoch,
        Self::TemporaryPath,
        Self::Host,
        Self::Port,
        Self::Pid,
        Self::Duration,
        Self::Harness,
        Self::Date,
        Self::WorkingFolder,
        Self::Home,
        Self::User,
        Self::HostName,
        Self::Kernel,
        Self::TimeZone,
        Self::Git,
        Self::Configured,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Ulid => "ulid",
            Self::Id => "id",
            Self::Address => "address",
            Self::DateTime => "date_time",
            Self::Epoch => "epoch",
            Self::TemporaryPath => "temporary_path",
            Self::Host => "host",
            Self::Port => "port",
            Self::Pid => "pid",
            Self::Duration => "duration",
            Self::Harness => "harness",
            Self::Date => "date",
            Self::WorkingFolder => "working_folder",
            Self::Home => "home",
            Self::User => "user",
            Self::HostName => "host_name",
            Self::Kernel => "kernel",
            Self::TimeZone => "time_zone",
            Self::Git => "git",
            Self::Configured => "configured",
        }
    }

    /// Whether a value stands for one thing, so that two of them must stay two and one must stay one.
    pub(crate) fn is_identity(self) -> bool {
        matches!(
            self,
            Self::Uuid
                | Self::Ulid
                | Self::Id
                | Self::Address
                | Self::TemporaryPath
                | Self::Host
                | Self::Port
                | Self::Pid
        )
    }

    /// Whether a served answer may name the live value instead: names of things, not of times.
    pub(in crate::replay) fn is_rebindable(self) -> bool {
        self.is_identity() || matches!(self, Self::WorkingFolder | Self::Home | Self::HostName)
    }

    /// Whether a value counts only if it is the run's own.
    pub(crate) fn is_environment(self) -> bool {
        matches!(
            self,
            Self::Date
                | Self::WorkingFolder
                | Self::Home
                | Self::User
                | Self::HostName
                | Self::Kernel
                | Self::TimeZone
                | Self::Git
        )
    }
}

impl fmt::Display for MaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no mask has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of mask called `{name}`; the kinds are {}", MaskKind::ALL.map(MaskKind::as_str).join(", "))]
pub struct UnknownMaskKind {
    pub name: String,
}

impl FromStr for MaskKind {
    type Err = UnknownMaskKind;

    fn from_str(name: &str) -> Result<Self, UnknownMaskKind> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        known.ok_or_else(|| UnknownMaskKind { name: name.to_owned() })
    }
}

/// Which kinds are masked without being asked for: all but some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MaskedKinds {
    pub(super) off: BTreeSet<MaskKind>,
}

impl MaskedKinds {
    /// Of these, what is a run's own.
    pub(super) fn of_environment(&self) -> Self {
        let others = MaskKind::ALL.into_iter().filter(|kind| !kind.is_environment());
        Self { off: self.off.iter().copied().chain(others).collect() }
    }

    pub(super) fn holds(&self, kind: MaskKind) -> bool {
        !self.off.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in MaskKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        let error = "uid".parse::<MaskKind>().unwrap_err().to_string();
        assert!(error.contains("`uid`") && error.contains("uuid, ulid, id"), "{error}");
    }
}
