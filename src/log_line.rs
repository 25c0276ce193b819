//! A line of a log as an event: when, of which service, how bad, how long. The one reader of levels and times, in the
//! forms of the usual loggers. Nothing here knows the present time, and what a line does not say is unknown, never good.

use std::borrow::Cow;

use crate::base::known::Known;
use zone::Open;

/// Lines that are JSON objects.
mod json;

/// How bad an event is, by word and by number.
mod levels;

/// Lines of text.
mod text;

/// Times in the forms of logs.
mod times;

/// What a time leaves open.
mod zone;

pub use levels::Level;
pub use times::{time, time_of};
pub use zone::Zone;

/// How the names begin of what this program writes itself: it says nothing about a service.
const OWN: [&str; 3] = ["rollback_", "feature_flag_changed", "notification"];

/// Names of events that tell of a crash.
const CRASHES: [&str; 7] = [
    "crash",
    "crashed",
    "process_crashed",
    "service_crashed",
    "uncaught_exception",
    "unhandled_rejection",
    "panic",
];

/// How lines without time and level begin that go on with what the line before them told.
const GOES_ON: [&str; 5] = [
    "Traceback (most recent call last)",
    "During handling of the above exception",
    "The above exception was",
    "Caused by:",
    "Stack trace:",
];

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'line> {
    /// When, in milliseconds since the epoch.
    pub at: Known<i64>,
    /// How bad it is.
    pub level: Known<Level>,
    /// Whose: `service` (its `name`, or `service.name`), else `feature`.
    pub service: Option<Cow<'line, str>>,
    /// The feature that it is about.
    pub feature: Option<Cow<'line, str>>,
    /// The story that it is about: `storyId`.
    pub story: Option<Cow<'line, str>>,
    /// Its name.
    pub name: Option<Cow<'line, str>>,
    /// `duration`, `duration_ms` or `response_time_ms`, in milliseconds.
    pub milliseconds: Option<f64>,
    /// The address that it is about.
    pub address: Option<Cow<'line, str>>,
    /// The account that it is about.
    pub account: Option<Cow<'line, str>>,
}

impl Default for Event<'_> {
    fn default() -> Self {
        Self {
            at: Known::Unknown("the line names no time".to_owned()),
            level: Known::Unknown("the line names no level".to_owned()),
            service: None,
            feature: None,
            story: None,
            name: None,
            milliseconds: None,
            address: None,
            account: None,
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and a box a line takes longer"
)]
pub enum Line<'line> {
    /// Nothing stands there.
    Empty,
    /// It is in no form that is known.
    Broken,
    /// It goes on with what a line of text before it told: a stack, an exception.
    Continued,
    /// An event.
    Event(Event<'line>),
}

impl Event<'_> {
    /// When, where the line says so.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        match self.at {
            Known::Yes(at) => Some(at),
            Known::Unknown(_) => None,
        }
    }

    /// Whether its level is that of an error or worse, where the line says so.
    #[must_use]
    pub fn is_error(&self) -> Option<bool> {
        match self.level {
            Known::Yes(level) => Some(level >= Level::Error),
            Known::Unknown(_) => None,
        }
    }

    /// Whether it tells of a crash: by its name, or by a level after which a program ends.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        self.level == Known::Yes(Level::Fatal)
            || self
                .name
                .as_deref()
                .is_some_and(|name| CRASHES.iter().any(|crash| name.eq_ignore_ascii_case(crash)))
    }

    /// Whether this program wrote it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.name
            .as_deref()
            .is_some_and(|name| OWN.iter().any(|own| name.starts_with(own)))
    }

    fn owned(self) -> Event<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Event {
            at: self.at,
            level: self.level,
            service: own(self.service),
            feature: own(self.feature),
            story: own(self.story),
            name: own(self.name),
            milliseconds: self.milliseconds,
            address: own(self.address),
            account: own(self.account),
        }
    }
}

/// Reads a line. A time without a year is taken for the one nearest to `near` (ms since the epoch), one without a zone for
/// UTC. Bytes that are no UTF-8 are replaced, not refused: what they stand in is rarely what is looked for.
#[must_use]
pub fn read(line: &[u8], near: i64) -> Line<'_> {
    read_in(line, near, Zone::Utc)
}

/// As [`read`], where a time without a zone is meant in this one.
#[must_use]
pub fn read_in(line: &[u8], near: i64, zone: Zone) -> Line<'_> {
    let open = Open { near, zone };
    let line = line.trim_ascii();
    if line.is_empty() {
        return Line::Empty;
    }
    if let Some(event) = json::read(line, open) {
        return Line::Event(event);
    }
    let text = String::from_utf8_lossy(line);
    let event = match &text {
        Cow::Owned(text) if line.starts_with(b"{") => json::read(text.as_bytes(), open).map(Event::owned),
        _ if line.starts_with(b"{") => None,
        text => text::read(text, open),
    };
    event.map_or(Line::Broken, Line::Event)
}

/// Reads the lines of a log one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reader {
    /// Whether the line before told something in text, which may go on.
    text: bool,
    /// Whether it went on, and was indented.
    indented: bool,
    /// In which zone a time is meant that names none.
    zone: Zone,
}

impl Reader {
    /// Of a log whose times are meant in this zone where they name none.
    #[must_use]
    pub fn in_zone(zone: Zone) -> Self {
        Self {
            zone,
            ..Self::default()
        }
    }

    /// Reads the next line, as [`read_in`] does.
    pub fn read<'line>(&mut self, line: &'line [u8], near: i64) -> Line<'line> {
        let read = read_in(line, near, self.zone);
        let text = match &read {
            Line::Broken if self.text && goes_on(line, self.indented) => {
                self.indented = is_indented(line);
                return Line::Continued;
            }
            Line::Broken | Line::Continued => false,
            Line::Empty => return read,
            Line::Event(_) => !line.trim_ascii_start().starts_with(b"{"),
        };
        *self = Self {
            text,
            indented: false,
            ..*self
        };
        read
    }
}

/// Whether a line in no known form goes on with what a line of text before it told. `after_indented`: whether the line right
/// before it was indented and went on, too.
fn goes_on(line: &[u8], after_indented: bool) -> bool {
    after_indented || is_indented(line) || GOES_ON.iter().any(|begin| line.starts_with(begin.as_bytes()))
}

fn is_indented(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

#[cfg(test)]
mod tests;
