//! What a time in a log leaves open: its zone, its year. Whoever configures the log knows the zone; the year is told by when
//! the line is read.

use chrono::{FixedOffset, Local, NaiveDateTime, TimeZone as _};

/// The zone in which a time is meant that names none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated Universal Time.
    #[default]
    Utc,
    /// That of this machine: `TZ`, else `/etc/localtime`; UTC where there is neither.
    Local,
    /// So far from UTC, the whole year.
    Offset(FixedOffset),
}

/// What a time may leave open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Open {
    /// A time that can be several is the one nearest to this, in ms since the epoch.
    pub near: i64,
    pub zone: Zone,
}

impl Zone {
    /// Reads `UTC`, `local`, or an offset such as `+02:00`; `None` for all else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "UTC" | "utc" | "Z" => Some(Self::Utc),
            "local" => Some(Self::Local),
            offset if offset.starts_with(['+', '-']) => offset.parse().ok().map(Self::Offset),
            _ => None,
        }
    }
}

impl Open {
    /// A time without a zone, in ms since the epoch; `None` for one that a change of the clocks left out.
    pub(super) fn place(self, time: NaiveDateTime) -> Option<i64> {
        match self.zone {
            Zone::Utc => Some(time.and_utc().timestamp_millis()),
            Zone::Offset(offset) => Some(offset.from_local_datetime(&time).single()?.timestamp_millis()),
            Zone::Local => {
                let found = Local.from_local_datetime(&time);
                let times = [found.earliest(), found.latest()].into_iter().flatten();
                times
                    .map(|time| time.timestamp_millis())
                    .min_by_key(|at| at.abs_diff(self.near))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read_or_refused() {
        let offset = |hours: i32| FixedOffset::east_opt(hours * 3600).map(Zone::Offset);
        for (text, expected) in [
            ("UTC", Some(Zone::Utc)),
            ("local", Some(Zone::Local)),
            ("+02:00", offset(2)),
            ("-0500", offset(-5)),
            ("+25:00", None),
            ("02:00", None),
            ("Europe/Berlin", None),
            ("", None),
        ] {
            assert_eq!(Zone::parse(text), expected, "{text}");
        }
    }
}
