//! An alert on its way to one channel: when it is tried next, how often it was, and what the receiver said.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, timestamp};
use crate::report::alert::Alert;

/// The first wait after a failed attempt; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Where an alert is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits, or is tried again.
    Pending,
    /// The receiver took it.
    Sent,
    /// It was given up, and is kept.
    Dead,
}

impl State {
    /// As JSON writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dead => "dead",
        }
    }
}

/// An alert on its way to one channel. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the file's format; 1.
    pub version: u32,
    /// Its file's name; the order of names is that of alerts.
    #[serde(skip)]
    pub file: String,
    /// Where it is on its way.
    pub state: State,
    /// The channel.
    pub channel: String,
    /// The alert.
    pub alert: Alert,
    /// How many alerts the channel held back before this one.
    pub held_back: u64,
    /// When it was raised, or retried by hand.
    pub since: u64,
    /// How often it was tried; counted before each attempt.
    pub attempts: u32,
    /// When it is due.
    pub next_attempt: u64,
    /// Why the last attempt failed, without secrets.
    pub last_error: Option<String>,
    /// When it was sent or given up.
    pub settled: Option<u64>,
}

impl Entry {
    /// An alert that is due at once.
    #[must_use]
    pub fn new(clock: &Clock, channel: &str, alert: Alert, held_back: u64) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let now = milliseconds(clock);
        let nanoseconds = since_epoch(clock).as_nanos();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let tail = alert.id.rsplit('-').next().unwrap_or_default();
        Self {
            version: 1,
            file: format!("{nanoseconds:020}-{number:06}-{tail}-{channel}.json"),
            state: State::Pending,
            channel: channel.to_owned(),
            alert,
            held_back,
            since: now,
            attempts: 0,
            next_attempt: now,
            last_error: None,
            settled: None,
        }
    }

    /// Whether it is to be tried at this time. A wait longer than any that we set means that the clock was put back.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.state == State::Pending
            && (self.next_attempt <= now || self.next_attempt > now + 2 * whole(LONGEST_WAIT))
    }

    /// Counts an attempt that is about to be made: should it be cut off, the next one is made after the usual wait.
    pub fn attempt(&mut self, now: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.next_attempt = now + self.wait();
    }

    /// Whether it is too old to be tried once more.
    #[must_use]
    pub fn is_too_old(&self, now: u64, give_up_after: Duration) -> bool {
        now.saturating_sub(self.since) >= whole(give_up_after)
    }

    /// Settles it.
    pub fn settle(&mut self, state: State, now: u64) {
        self.state = state;
        self.settled = Some(now);
    }

    /// Makes it due again, as if it had been raised now.
    pub fn revive(&mut self, clock: &Clock) {
        let now = milliseconds(clock);
        self.state = State::Pending;
        self.settled = None;
        self.since = now;
        self.next_attempt = now;
    }

    /// The wait after an attempt: it doubles up to an hour, give or take a fifth, so that what failed together is not
    /// tried together again. In milliseconds.
    fn wait(&self) -> u64 {
        let doublings = self.attempts.saturating_sub(1).min(16);
        let wait = whole(FIRST_WAIT)
            .saturating_mul(1 << doublings)
            .min(whole(LONGEST_WAIT));
        let digest = blake3::hash(format!("{}{}", self.file, self.attempts).as_bytes());
        let chance = u64::from(digest.as_bytes().first().copied().unwrap_or(0));
        wait * 4 / 5 + wait * 2 / 5 * chance / 255
    }

    /// When it is due, RFC 3339.
    #[must_use]
    pub fn next_attempt_at(&self) -> String {
        timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(self.next_attempt))
    }
}

fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

fn since_epoch(clock: &Clock) -> Duration {
    clock
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Now, in milliseconds since the epoch.
#[must_use]
pub(crate) fn milliseconds(clock: &Clock) -> u64 {
    whole(since_epoch(clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::{Kind, Severity};

    fn entry() -> Entry {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let alert = Alert::new(&clock, Kind::Failure, Severity::Critical, "title", "text");
        Entry::new(&clock, "ops", alert, 0)
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour_with_a_fifth_of_jitter() {
        let mut entry = entry();
        let mut waits = Vec::new();
        for _ in 0..40 {
            entry.attempt(0);
            waits.push(entry.next_attempt);
        }
        let mut expected = 10_000;
        for wait in &waits {
            assert!(
                (expected * 4 / 5..=expected * 6 / 5).contains(wait),
                "{wait} is not near {expected}"
            );
            expected = (expected * 2).min(3_600_000);
        }
        assert_ne!(waits.get(20), waits.get(21), "no jitter");
    }

    #[test]
    fn files_of_later_alerts_come_later() {
        let (first, second) = (entry(), entry());
        assert!(first.file < second.file, "{} {}", first.file, second.file);
    }

    #[test]
    fn a_clock_that_was_put_back_holds_nothing_up() {
        let mut entry = entry();
        let now = entry.since;
        assert!(entry.is_due(now));
        entry.attempt(now);
        assert!(!entry.is_due(now));
        assert!(entry.is_due(now + 12_001));
        assert!(entry.is_due(now - 40 * 86_400_000));
    }
}
