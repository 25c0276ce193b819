//! Rate limits and groups of equal alerts, for one channel. What is held back is counted, and the next alert tells of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::workspace::alerts_config::Channel;

/// Groups that are remembered at most: more than a rate limit lets through in its window.
const GROUPS: usize = 1_000;

/// Whether an alert may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may, and tells how many were held back before it.
    Pass {
        /// How many.
        held_back: u64,
    },
    /// An equal one was sent within the window.
    Equal,
    /// The rate limit is used up.
    TooMany,
}

/// What a channel was given of late. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// When alerts were let through.
    passed: Vec<u64>,
    /// When an alert of a group was let through last.
    groups: BTreeMap<String, u64>,
    /// How many were held back since then.
    held_back: u64,
}

impl Quota {
    /// How many were held back since the last one that was let through.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Judges an alert of this key, and counts it.
    pub(crate) fn admit(&mut self, channel: &Channel, key: &str, now: u64) -> Verdict {
        let recent = |at: u64, window: Duration| {
            // What lies in the future was written before the clock was put back.
            at <= now && u128::from(now - at) < window.as_millis()
        };
        self.groups.retain(|_, at| recent(*at, channel.group_within));
        let limit = channel.rate_limit;
        self.passed.retain(|at| recent(*at, limit.window));
        let digest = blake3::hash(key.as_bytes()).to_hex();
        let key = digest.get(..16).unwrap_or_default().to_owned();
        if self.groups.contains_key(&key) {
            self.held_back += 1;
            return Verdict::Equal;
        }
        if self.passed.len() as u64 >= u64::from(limit.count) {
            self.held_back += 1;
            return Verdict::TooMany;
        }
        self.passed.push(now);
        if self.groups.len() < GROUPS {
            self.groups.insert(key, now);
        }
        Verdict::Pass {
            held_back: std::mem::take(&mut self.held_back),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::config::Config;

    const MINUTE: u64 = 60_000;

    fn channel() -> Channel {
        let text = "alerts: { channels: [{ name: ops, log: {}, rate_limit: 3/h, group_within: 10m }] }";
        Config::parse(text)
            .expect("a configuration")
            .alerts
            .channels
            .remove(0)
    }

    #[test]
    fn equal_alerts_are_held_back_within_the_window_and_told_of_later() {
        let (channel, mut quota) = (channel(), Quota::default());
        assert_eq!(quota.admit(&channel, "a", MINUTE), Verdict::Pass { held_back: 0 });
        assert_eq!(quota.admit(&channel, "a", 2 * MINUTE), Verdict::Equal);
        assert_eq!(quota.admit(&channel, "a", 10 * MINUTE), Verdict::Equal);
        assert_eq!(quota.held_back(), 2);
        assert_eq!(
            quota.admit(&channel, "b", 10 * MINUTE),
            Verdict::Pass { held_back: 2 }
        );
        assert_eq!(
            quota.admit(&channel, "a", 11 * MINUTE),
            Verdict::Pass { held_back: 0 }
        );
    }

    #[test]
    fn no_more_than_the_limit_pass_in_any_window() {
        let (channel, mut quota) = (channel(), Quota::default());
        let mut passed: Vec<u64> = Vec::new();
        let mut held = 0;
        let mut held_back = 0;
        for minute in 0..600_u64 {
            match quota.admit(&channel, &format!("g{minute}"), minute * MINUTE) {
                Verdict::Pass { held_back } => {
                    passed.push(minute);
                    held += held_back;
                }
                Verdict::TooMany => held_back += 1,
                Verdict::Equal => panic!("no two are equal"),
            }
        }
        assert!(
            passed.windows(4).all(|four| four[3] - four[0] >= 60),
            "{passed:?}"
        );
        assert_eq!(passed.len(), 30);
        assert_eq!(held + quota.held_back(), held_back);
    }

    #[test]
    fn a_clock_that_was_put_back_stops_nothing() {
        let (channel, mut quota) = (channel(), Quota::default());
        for group in ["a", "b", "c"] {
            quota.admit(&channel, group, 5_000 * MINUTE);
        }
        assert_eq!(quota.admit(&channel, "a", MINUTE), Verdict::Pass { held_back: 0 });
    }
}
