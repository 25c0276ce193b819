//! Since when somebody watches without a gap: what was written before sets nothing off.

use serde::{Deserialize, Serialize};

/// A time without a gap between two looks. Milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Its begin.
    pub since: i64,
    /// The last look.
    pub last: i64,
}

impl Watched {
    /// The least time between two looks that is a gap, in ms: three intervals, and never less than two minutes, so that a call
    /// each minute watches without one.
    #[must_use]
    pub fn gap(interval: i64) -> i64 {
        interval.saturating_mul(3).max(120_000)
    }

    /// A look at `now`, at which lines with times up to `newest` were read. After a gap the watching begins anew, behind all
    /// that was written by then; a clock that went back doesn't put its begin into the future.
    #[must_use]
    pub fn look(before: Option<Self>, now: i64, newest: i64, gap: i64) -> Self {
        match before {
            Some(watched) if now.saturating_sub(watched.last) < gap => Self {
                since: watched.since.min(now),
                last: now,
            },
            _ => Self {
                since: now.max(newest),
                last: now,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watching_begins_anew_after_a_gap_and_behind_what_was_written() {
        let gap = Watched::gap(5_000);
        assert_eq!((gap, Watched::gap(60_000)), (120_000, 180_000));
        let first = Watched::look(None, 1_000_000, 900_000, gap);
        assert_eq!(first.since, 1_000_000);
        assert_eq!(Watched::look(None, 1_000_000, 1_030_000, gap).since, 1_030_000);
        let next = Watched::look(Some(first), 1_000_000 + gap - 1, 1_100_000, gap);
        assert_eq!((next.since, next.last), (1_000_000, 1_000_000 + gap - 1));
        let late = Watched::look(Some(first), 1_000_000 + gap, 0, gap);
        assert_eq!((late.since, late.last), (1_000_000 + gap, 1_000_000 + gap));
        // A clock that was set back.
        let back = Watched::look(Some(first), 400_000, 0, gap);
        assert_eq!((back.since, back.last), (400_000, 400_000));
    }
}
