//! From a line of a log to what it counts for.

use super::Watch;
use super::events::{self, Line};
use super::follow::Reader;

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
}

impl Reader for Lines<'_> {
    fn line(&mut self, line: &[u8], service: Option<&str>) {
        // Most of a long log is too old to matter, and need not be parsed.
        if events::time_of(line).is_some_and(|at| at < self.from) {
            return;
        }
        // What was cut short and grows again begins with a hole.
        let hole = line.iter().take_while(|byte| **byte == 0).count();
        match events::read(line.get(hole..).unwrap_or_default()) {
            Line::Empty => {}
            Line::Broken => self.watch.memory.metrics.intake.broken += 1,
            Line::Event(event) => self.watch.event(&event, service, self.now),
        }
    }

    fn huge(&mut self) {
        self.watch.memory.metrics.intake.huge += 1;
    }

    fn stop(&self) -> bool {
        (self.stop)()
    }
}
