//! Walls of our own that a test build can take down, to show that the next one stands. The feature `broken-walls` is for
//! tests alone: it can't be built without debug assertions, and a program with it does nothing that the kernel does not
//! confine as a whole.

#[cfg(all(feature = "broken-walls", not(debug_assertions)))]
compile_error!(
    "the feature `broken-walls` is for tests of debug builds: no program that is used may have it"
);

/// Names the walls that are down, separated by commas: `overlay`, `policy`, `resolution`.
#[cfg(feature = "broken-walls")]
pub const VARIABLE: &str = "ROLLBACK_BROKEN_WALLS";

/// A wall of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The gate's dry-run branch: where it is down, a dry run acts.
    #[cfg(feature = "broken-walls")]
    Overlay,
    /// All rules about the names of paths.
    Policy,
    /// `openat2` below an open root.
    Resolution,
}

/// Whether a test has taken it down.
#[cfg(not(feature = "broken-walls"))]
#[must_use]
pub const fn is_down(_: Own) -> bool {
    false
}

/// Whether a test has taken it down.
#[cfg(feature = "broken-walls")]
#[must_use]
pub fn is_down(wall: Own) -> bool {
    let name = match wall {
        Own::Overlay => "overlay",
        Own::Policy => "policy",
        Own::Resolution => "resolution",
    };
    std::env::var(VARIABLE).is_ok_and(|down| down.split(',').any(|each| each == name))
}
