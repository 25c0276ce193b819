//! What was read of the logs that a verdict rests on: what can't be read tells nothing, and too much of it is no verdict.

use super::units::plural;
use super::window::Totals;
use crate::workspace::monitor_config::Metric;

/// The lines of a window, by what became of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reads {
    /// All lines that are, or could be, of the service.
    pub lines: u64,
    /// In no form that is known, or too long.
    pub unreadable: u64,
    /// Without a time.
    pub untimed: u64,
    /// With a time that is still to come.
    pub future: u64,
    /// With a time, and of a level that is not known.
    pub unlevelled: u64,
    /// Share of the lines that can't be placed, 0 to 1: of its own, or of the log that it shares with others.
    unplaced: f64,
    /// The same with those of an unknown level.
    unknown: f64,
}

impl Reads {
    /// The lines of a service, and those of the log that it shares with others: what can't be read there could be of any, and
    /// is a share of that log.
    #[must_use]
    pub fn of(own: &Totals, log: Option<&Totals>) -> Self {
        let nothing = Totals::default();
        let log = log.unwrap_or(&nothing);
        let lost = log.unplaced();
        let shared = share(lost, log.lines());
        Self {
            lines: own.lines() + lost,
            unreadable: own.unreadable + log.unreadable,
            untimed: own.untimed + log.untimed,
            future: own.future + log.future,
            unlevelled: own.unlevelled,
            unplaced: share(own.unplaced(), own.lines()).max(shared),
            unknown: share(own.unplaced() + own.unlevelled, own.lines()).max(shared),
        }
    }

    /// The share of the lines that tell nothing about a metric, 0 to 1.
    #[must_use]
    pub fn lost(&self, metric: Metric) -> f64 {
        if metric.is_of_levels() {
            self.unknown
        } else {
            self.unplaced
        }
    }

    /// The numbers, for people.
    #[must_use]
    pub fn rendered(&self) -> String {
        let parts: Vec<String> = [
            (self.unreadable, "unreadable"),
            (self.untimed, "without a time"),
            (self.future, "in the future"),
            (self.unlevelled, "of an unknown level"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        let lines = plural(self.lines, "line");
        if parts.is_empty() {
            format!("{lines} read")
        } else {
            format!("{lines} read: {}", parts.join(", "))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}
