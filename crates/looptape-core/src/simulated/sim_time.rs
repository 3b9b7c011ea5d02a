//! How fast simulated time passes.

/// How fast simulated time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SimTime {
    /// Nothing waits.
    AtOnce,
    /// So many times as fast as recorded; more than 0.
    Times(f64),
}

impl SimTime {
    /// How long a simulated time takes.
    pub fn pass(self, us: u64) -> u64 {
        match self {
            Self::AtOnce => 0,
            Self::Times(times) => (us as f64 / times) as u64,
        }
    }

    /// What a client is told of a simulated wait. Where nothing waits, limits still do.
    pub fn stated(self, us: u64) -> u64 {
        match self {
            Self::AtOnce => us,
            Self::Times(times) => (us as f64 / times).ceil() as u64,
        }
    }

    /// The simulated time after so long a real one.
    pub fn since_start(self, real_us: u64) -> u64 {
        match self {
            Self::AtOnce => real_us,
            Self::Times(times) => (real_us as f64 * times) as u64,
        }
    }
}
