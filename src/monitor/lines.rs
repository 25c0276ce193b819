//! From a line of a log to what it counts for.

use super::Watch;
use super::follow::Reader;
use super::metrics::{AHEAD, Unplaced};
use crate::log_line::{self, Line, Zone};
use crate::workspace::SECURITY_LOG;

/// What takes the lines of the logs.
pub(super) struct Lines<'a> {
    /// The judge.
    pub(super) watch: &'a mut Watch,
    /// When, in ms.
    pub(super) now: i64,
    /// What was logged before does not matter, in ms.
    pub(super) from: i64,
    /// Whether to stop.
    pub(super) stop: &'a dyn Fn() -> bool,
    /// The newest time of a line, in ms.
    pub(super) newest: i64,
    /// The line before, in the same file.
    pub(super) before: Before,
}

/// A line that was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// When it was written, in ms; of the last one that says so.
    at: Option<i64>,
    /// What it may go on with; nothing at the beginning of a file.
    reader: Option<log_line::Reader>,
}

impl Lines<'_> {
    /// When a line without a time of its own was written, about.
    fn place(&self) -> i64 {
        self.before.at.unwrap_or(self.now)
    }
}

impl Reader for Lines<'_> {
    fn zone(&self, service: Option<&str>) -> Zone {
        self.watch.config.zone_of(service.unwrap_or(SECURITY_LOG))
    }

    fn file(&mut self) {
        self.before = Before::default();
    }

    fn line(&mut self, line: &[u8], service: Option<&str>) {
        // Most of a long log is too old to matter, and need not be parsed.
        if let Some(at) = log_line::time_of(line).filter(|at| *at < self.from) {
            self.before = Before {
                at: Some(at),
                ..Before::default()
            };
            return;
        }
        // What was cut short and grows again begins with a hole.
        let hole = line.iter().take_while(|byte| **byte == 0).count();
        let line = line.get(hole..).unwrap_or_default();
        let of_log = || log_line::Reader::in_zone(self.watch.config.zone_of(service.unwrap_or(SECURITY_LOG)));
        match self.before.reader.get_or_insert_with(of_log).read(line, self.now) {
            Line::Empty => {}
            Line::Continued => self.watch.memory.metrics.intake.continued += 1,
            Line::Broken => self
                .watch
                .unplaced(service, Unplaced::Broken, self.place(), self.now),
            Line::Event(event) => {
                self.before.at = event.time().or(self.before.at);
                if let Some(at) = event.time().filter(|at| *at <= self.now.saturating_add(AHEAD)) {
                    self.newest = self.newest.max(at);
                }
                let place = self.place();
                self.watch.line(&event, service, place, self.now);
            }
        }
    }

    fn huge(&mut self, service: Option<&str>) {
        self.watch
            .unplaced(service, Unplaced::Huge, self.place(), self.now);
    }

    fn stop(&self) -> bool {
        (self.stop)()
    }
}
