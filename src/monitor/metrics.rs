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
    /// Of the events, those of an unknown level.
    #[serde(default)]
    pub unlevelled: u64,
    /// Lines of a stack and the like, which go on with what the line before told.
    #[serde(default)]
    pub continued: u64,
}

/// An event, as far as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When, in ms.
    pub at: i64,
    /// Whether it is an error; `None` where its level is not known.
    pub error: Option<bool>,
    /// Whether it tells of a crash.
    pub crash: bool,
    /// Its response time.
    pub milliseconds: Option<f64>,
    /// Whether it stands in the log that services share.
    pub shared: bool,
}

/// Why a line can't be put anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplaced {
    /// It is in no known form.
    Broken,
    /// It is too long.
    Huge,
    /// It has no time.
    Untimed,
    /// Its time is still to come.
    Future,
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
    /// Whether it is heard from the log that services share.
    #[serde(default)]
    pub shared: bool,
    /// Why the level of one of its events is not known; `odd` on disk.
    #[serde(default, rename = "odd")]
    pub anomaly: Option<String>,
}

impl Service {
    fn new(span: Span) -> Self {
        Self {
            series: span.series(),
            baseline: span.baseline(),
            shared: false,
            anomaly: None,
        }
    }

    /// Counts an event, and says whether there was still room for its time.
    fn count(&mut self, seen: &Seen) -> bool {
        self.shared |= seen.shared;
        let mut counted = false;
        for series in std::iter::once(&mut self.series).chain(self.baseline.as_mut()) {
            if let Some(slot) = series.at(seen.at) {
                slot.count(seen.error, seen.crash, seen.milliseconds);
                counted = true;
            }
        }
        counted
    }
}

/// Counts a line that can't be put anywhere, at a time (ms).
fn note(series: &mut Series, unplaced: Unplaced, at: i64) {
    if let Some(slot) = series.at(at) {
        let count = match unplaced {
            Unplaced::Broken | Unplaced::Huge => &mut slot.unreadable,
            Unplaced::Untimed => &mut slot.untimed,
            Unplaced::Future => &mut slot.future,
        };
        *count = count.saturating_add(1);
    }
}

/// What was counted and measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metrics {
    span: Span,
    services: BTreeMap<String, Service>,
    gauges: BTreeMap<String, Gauge>,
    /// The lines of the log that services share: all that are no event of a service stand here alone.
    #[serde(default)]
    shared: Option<Series>,
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
            shared: None,
            intake: Intake::default(),
        }
    }

    /// How far back is looked.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Counts an event of a service, as seen at `now` (ms).
    pub fn event(&mut self, service: &str, seen: &Seen, now: i64) {
        if seen.at > now.saturating_add(AHEAD) {
            self.unplaced(Some(service), seen.shared, Unplaced::Future, now, now);
            return;
        }
        if seen.at < now.saturating_sub(self.span.whole()) {
            self.intake.old += 1;
            return;
        }
        let Some(entry) = self.entry(service, now) else {
            self.intake.crowded += 1;
            return;
        };
        let counted = entry.count(seen);
        self.intake.events += u64::from(counted);
        self.intake.old += u64::from(!counted);
        self.intake.unlevelled += u64::from(counted && seen.error.is_none());
        if seen.shared {
            self.shared_line(seen.at);
        }
    }

    /// Counts a line that can't be put anywhere: of a service, or of the log that services share. `at`: when the line before
    /// it was written, or when it was read.
    pub fn unplaced(&mut self, service: Option<&str>, shared: bool, unplaced: Unplaced, at: i64, now: i64) {
        if at < now.saturating_sub(self.span.whole()) {
            self.intake.old += 1;
            return;
        }
        let total = match unplaced {
            Unplaced::Broken => &mut self.intake.broken,
            Unplaced::Huge => &mut self.intake.huge,
            Unplaced::Untimed => &mut self.intake.untimed,
            Unplaced::Future => &mut self.intake.future,
        };
        *total += 1;
        let at = at.min(now);
        match service {
            Some(service) => {
                if let Some(entry) = self.entry(service, now) {
                    entry.shared |= shared;
                    note(&mut entry.series, unplaced, at);
                } else {
                    self.intake.crowded += 1;
                }
                if shared {
                    self.shared_line(at);
                }
            }
            None => note(self.shared_series(), unplaced, at),
        }
    }

    /// Counts a line of the log that services share, which was read.
    pub fn shared_line(&mut self, at: i64) {
        if let Some(slot) = self.shared_series().at(at) {
            slot.events = slot.events.saturating_add(1);
        }
    }

    fn shared_series(&mut self) -> &mut Series {
        let span = self.span;
        self.shared.get_or_insert_with(|| span.series())
    }

    /// Keeps why the level of an event of a service is not known, for people.
    pub fn odd_level(&mut self, service: &str, why: &str) {
        if let Some(entry) = self.services.get_mut(cut(service))
            && entry.anomaly.as_deref() != Some(why)
        {
            entry.anomaly = Some(why.to_owned());
        }
    }

    /// A service by its name, which may be too long; `None` where too many are known already.
    fn entry(&mut self, service: &str, now: i64) -> Option<&mut Service> {
        let service = cut(service);
        if !self.services.contains_key(service) {
            if self.services.len() >= SERVICES {
                self.drop_silent(now);
            }
            if self.services.len() >= SERVICES {
                return None;
            }
            self.services.insert(service.to_owned(), Service::new(self.span));
        }
        self.services.get_mut(service)
    }

    /// Counts a crash that no log tells of.
    pub fn crash(&mut self, service: &str, now: i64) {
        let Some(entry) = self.entry(service, now) else {
            self.intake.crowded += 1;
            return;
        };
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
        if let Some(series) = &mut self.shared {
            series.forget_after(now.saturating_add(AHEAD));
        }
        for service in self.services.values_mut() {
            service.series.forget_after(now.saturating_add(AHEAD));
            if let Some(baseline) = &mut service.baseline {
                baseline.forget_after(now.saturating_add(AHEAD));
            }
        }
    }

    /// Forgets services of which nothing was heard in the whole look back, and series of endpoints that are gone as long.
    pub fn drop_silent(&mut self, now: i64) {
        let since = now.saturating_sub(self.span.whole());
        self.gauges.retain(|name, gauge| {
            let is_series = name.contains("prometheus/") && name.ends_with('}');
            !is_series || gauge.newest().is_some_and(|(at, _)| at >= since)
        });
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

    /// The lines of the log that services share.
    #[must_use]
    pub fn shared(&self) -> Option<&Series> {
        self.shared.as_ref()
    }

    /// One gauge.
    #[must_use]
    pub fn gauge_of(&self, name: &str) -> Option<&Gauge> {
        self.gauges.get(name)
    }

    /// The names of all gauges.
    pub fn gauges(&self) -> impl Iterator<Item = &str> {
        self.gauges.keys().map(String::as_str)
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

/// A name of a service, as long as one may be.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME)).unwrap_or(name)
}

/// How many slots a time fills.
#[must_use]
pub fn slots(time: i64, width: i64) -> i64 {
    (time + width - 1) / width.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_at(at: i64) -> Seen {
        Seen {
            at,
            error: Some(true),
            crash: false,
            milliseconds: None,
            shared: false,
        }
    }

    const SPAN: Span = Span {
        fine: 360_000,
        baseline: 0,
    };

    /// Kind "a name on disk is part of the format": a state that an earlier build wrote is read with all that it holds.
    #[test]
    fn what_is_kept_of_a_service_has_the_names_of_its_format() {
        let mut service = Service::new(SPAN);
        service.anomaly = Some("no level".to_owned());
        let kept = serde_json::to_value(&service).expect("serialised");
        let names: Vec<&String> = kept.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["series", "baseline", "shared", "odd"]);
        let again: Service = serde_json::from_value(kept).expect("read");
        assert_eq!(again.anomaly.as_deref(), Some("no level"));
    }

    #[test]
    fn what_is_too_old_or_in_the_future_is_counted_apart() {
        let mut metrics = Metrics::new(SPAN);
        let now = 1_000_000_000;
        metrics.event("api", &error_at(now), now);
        metrics.event("api", &error_at(now + AHEAD), now);
        metrics.event("api", &error_at(now + AHEAD + 1), now);
        metrics.event("api", &error_at(now - 10_000_000), now);
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
                &error_at(now),
                now,
            );
        }
        assert_eq!(metrics.services().count(), SERVICES);
        assert_eq!(metrics.intake.crowded, 10_000 - SERVICES as u64);
        assert!(metrics.services().all(|(name, _)| name.len() <= NAME));
        // When they have fallen silent, others find room.
        metrics.event("api", &error_at(now + 10_000_000), now + 10_000_000);
        assert_eq!(metrics.services().count(), 1);
    }
}
