//! Time, as the host tells it; tests give a fixed one.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Local, SecondsFormat, Utc};

/// The clock of a run.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed: Option<SystemTime>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that stands still.
    #[must_use]
    pub fn fixed(at: SystemTime) -> Self {
        Self { fixed: Some(at) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.fixed.unwrap_or_else(SystemTime::now)
    }

    /// Now, as RFC 3339 UTC with milliseconds.
    #[must_use]
    pub fn timestamp(&self) -> String {
        timestamp(self.now())
    }

    /// Now, as local `YYYYMMDD_HHMMSS`, for the names of backups and reports.
    #[must_use]
    pub fn stamp(&self) -> String {
        DateTime::<Local>::from(self.now())
            .format("%Y%m%d_%H%M%S")
            .to_string()
    }

    /// A new identity: the time in UTC and four hexadecimal digits that tell apart what falls into one second.
    #[must_use]
    pub fn unique(&self) -> String {
        let now = self.now();
        let nanoseconds = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_nanos();
        let seed = blake3::hash(format!("{nanoseconds}-{}", std::process::id()).as_bytes()).to_hex();
        let tail = seed.get(..4).unwrap_or("0000").to_owned();
        format!("{}-{tail}", DateTime::<Utc>::from(now).format("%Y%m%dT%H%M%SZ"))
    }
}

/// The start of the machine, as the kernel names it, and the milliseconds since: a clock that nobody sets, and that goes on
/// while the machine sleeps.
#[must_use]
pub fn uptime() -> Option<(String, i64)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some((
        boot.trim().to_owned(),
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000,
    ))
}

/// A time as RFC 3339 UTC with milliseconds.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A time in milliseconds since the epoch as RFC 3339 UTC.
#[must_use]
pub fn of_millis(at: i64) -> String {
    timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0)))
}

/// An RFC 3339 time as nanoseconds since the epoch.
#[must_use]
pub fn nanoseconds(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}
