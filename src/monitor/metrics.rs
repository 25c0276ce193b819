//! All that was counted and measured: events by service, gauges by name. Bounded, whatever a log says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::{Gauge, Series, Totals};

/// How far a clock that writes a log may be ahead of ours, in milliseconds.
pub const AHEAD: i64 = 60_000;

/// Services that are told apart at most.
const SERVICES: usize = 256;

/// The longest name of a service, in bytes.
const NAME: usize = 120;

/// Slots of a series, about.
const SLOTS: i64 = 3600;

/// What became of the lines that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// Events that were counted.
    pub events: u64,
    /// Lines that are no JSON objects.
    pub broken: u64,
    /// Lines that are longer than a line may be.
    pub huge: u64,
    /// Events without a time: they can't be put anywhere.
    pub untimed: u64,
    /// Events from before all windows.
    pub old: u64,
    /// Events that lie in the future.
    pub future: u64,
    /// Events of services beyond those that are told apart.
    pub crowded: u64,
}

/// How far back is looked, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The longest window and the time that a breach must hold, together.
    pub fine: i64,
    /// The longest baseline; 0: there is none.
    pub baseline: i64,
}

impl Span {
    /// The whole look back.
    #[must_use]
    pub fn whole(self) -> i64 {
        self.fine + self.baseline + AHEAD
    }

    fn series(self) -> Series {
        let length = self.fine + AHEAD;
        Series::new(
            ((length + SLOTS * 1000 - 1) / (SLOTS * 1000) * 1000).max(1000),
            length,
        )
    }

    fn baseline(self) -> Option<Series> {
        let length = self.whole();
        let width = ((length + SLOTS * 1000 - 1) / (SLOTS * 1000) * 1000).max(10_000);
        (self.baseline > 0).then(|| Series::new(width, length))
    }
}

/// The events of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// Of the windows.
    pub series: Series,
    /// Of the baselines, in wider slots; `None` where no trigger has one.
    pub baseline: Option<Series>,
}

impl Service {
    /// Counts an event, and says whether there was still room for its time.
    fn count(&mut self, at: i64, error: bool, crash: bool, milliseconds: Option<f64>) -> bool {
        let mut counted = false;
        for series in std::iter::once(&mut self.series).chain(self.baseline.as_mut()) {
            if let Some(slot) = series.at(at) {
                slot.count(error, crash, milliseconds);
                counted = true;
            }
        }
        counted
    }
}

/// What was counted and measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metrics {
    span: Span,
    services: BTreeMap<String, Service>,
    gauges: BTreeMap<String, Gauge>,
    /// What became of the lines.
    pub intake: Intake,
}

impl Metrics {
    /// Nothing yet, for so far a look back.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Self {
            span,
            services: BTreeMap::new(),
            gauges: BTreeMap::new(),
            intake: Intake::default(),
        }
    }

    /// How far back is looked.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Counts an event that happened at `at`, as seen at `now` (both ms).
    pub fn event(
        &mut self,
        service: &str,
        at: i64,
        now: i64,
        (error, crash): (bool, bool),
        milliseconds: Option<f64>,
    ) {
        if at > now.saturating_add(AHEAD) {
            self.intake.future += 1;
            return;
        }
        if at < now.saturating_sub(self.span.whole()) {
            self.intake.old += 1;
            return;
        }
        let service = service
            .get(..service.floor_char_boundary(NAME))
            .unwrap_or(service);
        if let Some(entry) = self.services.get_mut(service) {
            let counted = entry.count(at, error, crash, milliseconds);
            self.intake.events += u64::from(counted);
            self.intake.old += u64::from(!counted);
            return;
        }
        if self.services.len() >= SERVICES {
            self.drop_silent(now);
        }
        if self.services.len() >= SERVICES {
            self.intake.crowded += 1;
            return;
        }
        let mut entry = Service {
            series: self.span.series(),
            baseline: self.span.baseline(),
        };
        entry.count(at, error, crash, milliseconds);
        self.intake.events += 1;
        self.services.insert(service.to_owned(), entry);
    }

    /// Counts a crash that no log tells of.
    pub fn crash(&mut self, service: &str, now: i64) {
        let span = self.span;
        if self.services.len() >= SERVICES && !self.services.contains_key(service) {
            self.intake.crowded += 1;
            return;
        }
        let entry = self
            .services
            .entry(service.to_owned())
            .or_insert_with(|| Service {
                series: span.series(),
                baseline: span.baseline(),
            });
        for series in std::iter::once(&mut entry.series).chain(entry.baseline.as_mut()) {
            if let Some(slot) = series.at(now) {
                slot.crashes = slot.crashes.saturating_add(1);
            }
        }
    }

    /// Adds the value of a gauge.
    pub fn gauge(&mut self, name: &str, at: i64, value: f64) {
        let keep = self.span.whole();
        self.gauges
            .entry(name.to_owned())
            .or_default()
            .add(at, value, keep);
    }

    /// Says for how long (ms) a value of a gauge tells something about now.
    pub fn keep_fresh(&mut self, name: &str, fresh: i64) {
        self.gauges.entry(name.to_owned()).or_default().fresh = Some(fresh);
    }

    /// Forgets a gauge: what it said no longer holds.
    pub fn forget_gauge(&mut self, name: &str) {
        self.gauges.remove(name);
    }

    /// The present time: what lies after it was written by a clock that has gone back since.
    pub fn settle(&mut self, now: i64) {
        for service in self.services.values_mut() {
            service.series.forget_after(now.saturating_add(AHEAD));
            if let Some(baseline) = &mut service.baseline {
                baseline.forget_after(now.saturating_add(AHEAD));
            }
        }
    }

    /// Forgets services of which nothing was heard in the whole look back.
    pub fn drop_silent(&mut self, now: i64) {
        let since = now.saturating_sub(self.span.whole());
        self.services.retain(|_, service| {
            let silent = service.series.is_silent_since(since)
                && service
                    .baseline
                    .as_ref()
                    .is_none_or(|series| series.is_silent_since(since));
            !silent
        });
    }

    /// The services, by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.services
            .iter()
            .map(|(name, service)| (name.as_str(), service))
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// One gauge.
    #[must_use]
    pub fn gauge_of(&self, name: &str) -> Option<&Gauge> {
        self.gauges.get(name)
    }

    /// The names of the gauges that begin like this, without the beginning.
    pub fn gauges_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.gauges
            .keys()
            .filter_map(move |name| name.strip_prefix(kind)?.strip_prefix('/'))
    }

    /// Sums of a service over the last `window` ms.
    #[must_use]
    pub fn totals(&self, service: &str, now: i64, window: i64) -> Totals {
        self.service(service).map_or_else(Totals::default, |service| {
            let series = &service.series;
            let last = series.number(now);
            series.totals(last - slots(window, series.width()), last)
        })
    }

    /// Takes over what another one counted, where both look back equally far.
    #[must_use]
    pub fn fits(&self, span: Span) -> bool {
        self.span == span
    }
}

/// How many slots a time fills.
#[must_use]
pub fn slots(time: i64, width: i64) -> i64 {
    (time + width - 1) / width.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        fine: 360_000,
        baseline: 0,
    };

    #[test]
    fn what_is_too_old_or_in_the_future_is_counted_apart() {
        let mut metrics = Metrics::new(SPAN);
        let now = 1_000_000_000;
        metrics.event("api", now, now, (true, false), None);
        metrics.event("api", now + AHEAD, now, (true, false), None);
        metrics.event("api", now + AHEAD + 1, now, (true, false), None);
        metrics.event("api", now - 10_000_000, now, (true, false), None);
        let intake = &metrics.intake;
        assert_eq!((intake.events, intake.future, intake.old), (2, 1, 1));
    }

    #[test]
    fn names_of_a_hostile_log_do_not_take_all_memory() {
        let mut metrics = Metrics::new(SPAN);
        let now = 1_000_000_000;
        for number in 0..10_000 {
            metrics.event(
                &format!("service {number} {}", "x".repeat(1000)),
                now,
                now,
                (true, false),
                None,
            );
        }
        assert_eq!(metrics.services().count(), SERVICES);
        assert_eq!(metrics.intake.crowded, 10_000 - SERVICES as u64);
        assert!(metrics.services().all(|(name, _)| name.len() <= NAME));
        // When they have fallen silent, others find room.
        metrics.event("api", now + 10_000_000, now + 10_000_000, (false, false), None);
        assert_eq!(metrics.services().count(), 1);
    }
}
