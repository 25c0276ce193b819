//! The proof that an operation passed the gate. Only `audit.begin` makes one, after the intent is on disk.

/// Permission for one operation. Every function of the host that changes the world takes `&Permit`.
///
/// It can't be built, cloned or kept past its operation: `audit.finish` consumes it.
#[derive(Debug)]
pub struct Permit {
    sequence: u64,
}

impl Permit {
    /// `sequence` is the audit record that this permit rests on.
    pub(in crate::gate) fn new(sequence: u64) -> Self {
        Self { sequence }
    }

    /// The sequence number of the audit record of the intent.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A permit for unit tests of host functions, on paths below a temporary directory.
    #[cfg(test)]
    #[must_use]
    pub fn for_tests() -> Self {
        Self { sequence: 0 }
    }
}
