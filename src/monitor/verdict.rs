//! Verdicts: what the metrics say of a trigger at a time. Pure: the time and all state come from the caller.
//!
//! The same metrics are judged at each slot back to `sustained_for` ago, so that how long a breach has held does not depend
//! on how often somebody looked.

/// Metrics that are looked at.
mod looks;

use serde::Serialize;

use super::intake::Reads;
use super::metrics::{Metrics, slots};
use super::trigger::{Limit, Trigger};
use super::units::{duration, percent, plural, show, time};
use super::window::Totals;
use crate::workspace::monitor_config::Metric;
use looks::Looks;

/// How many standard deviations an excess must lie beyond chance before anything is rolled back for it.
const SIGMAS: f64 = 4.0;

/// The same for what was logged in the last two thirds of `sustained_for` alone.
const SIGMAS_AT_THE_END: f64 = 2.0;

/// The last part of `sustained_for`, in which the value must be bad by itself: a spike that is over still weighs on its
/// window.
const LAST_PART: i64 = 3;

/// Steps in which a gauge is judged back in time, at most.
const STEPS: i64 = 120;

/// Good, bad, or not to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the threshold.
    Healthy,
    /// Beyond it.
    Breach,
    /// Too few samples, no data, no number.
    Inconclusive,
}

impl Verdict {
    /// As JSON writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Breach => "breach",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What a judgement needs to know of the judgements before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Whether the trigger is in alarm: then `clear` decides, not the threshold.
    pub alarmed: bool,
    /// What happened up to this time (ms) does not count: a rollback has made an end of it.
    pub forgotten: i64,
    /// What was written up to this time (ms) was written while nobody watched.
    pub watched: i64,
}

impl Default for Before {
    fn default() -> Self {
        Self {
            alarmed: false,
            forgotten: 0,
            watched: i64::MIN,
        }
    }
}

/// A judgement of one service by one trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Good, bad, or not to be told.
    pub verdict: Verdict,
    /// The value; `None` without data.
    pub value: Option<f64>,
    /// The threshold as it is now, baseline included.
    pub threshold: f64,
    /// Samples that the value rests on.
    pub samples: u64,
    /// How long the value has been beyond the threshold without a break, in ms, as far as `sustained_for`.
    pub held: i64,
    /// Whether that is as long as `sustained_for`.
    pub sustained: bool,
    /// Whether the excess is more than chance.
    pub sure: bool,
    /// Whether what was written while somebody watched says the same by itself.
    pub watched: bool,
    /// What was read of the logs; `None` for what comes of none.
    pub reads: Option<Reads>,
    /// One line with the numbers.
    pub why: String,
}

/// A value at a time.
#[derive(Debug, Clone, Default)]
struct Reading {
    value: Option<f64>,
    samples: u64,
}

/// Judges a service (a probe, a gauge: whatever the metric is about) at `now` (ms).
#[must_use]
pub fn judge(
    trigger: &Trigger,
    metrics: &Metrics,
    service: Option<&str>,
    before: Before,
    now: i64,
) -> Judgement {
    if !trigger.metric.is_of_events() {
        let mut judgement = Looks::new(trigger, metrics, service, before, now).judge();
        if trigger.metric == Metric::Script {
            // What it was given goes back over the whole window.
            let begin = now
                .saturating_sub(trigger.window)
                .saturating_sub(trigger.sustained);
            judgement.watched = begin >= before.watched;
        }
        return judgement;
    }
    let judge = |since| Events::new(trigger, metrics, service, before, since, now).judge();
    let mut judgement = judge(before.forgotten);
    if judgement.sustained && before.watched > before.forgotten {
        let alone = judge(before.watched);
        judgement.watched = alone.sustained && alone.sure;
    }
    judgement
}

/// Whether a value lies beyond a threshold, on the bad side.
fn is_beyond(metric: Metric, value: f64, threshold: f64) -> bool {
    if metric.is_bad_below() {
        value < threshold
    } else {
        value > threshold
    }
}

/// Whether a reading is a breach by itself.
fn is_bad(trigger: &Trigger, reading: &Reading, threshold: f64) -> bool {
    reading.samples >= trigger.min_samples
        && reading
            .value
            .is_some_and(|value| value.is_finite() && is_beyond(trigger.metric, value, threshold))
}

/// The lower end of the Wilson interval of a share: `part` of `all`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn wilson(part: u64, all: u64, sigmas: f64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let (n, share, square) = (all as f64, part as f64 / all as f64, sigmas * sigmas);
    let middle = share + square / (2.0 * n);
    let margin = sigmas * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    ((middle - margin) / (1.0 + square / n)).max(0.0)
}

/// Metrics of events.
struct Events<'a> {
    trigger: &'a Trigger,
    metrics: &'a Metrics,
    service: Option<&'a str>,
    before: Before,
    /// What was logged up to this time (ms) does not count in the window.
    since: i64,
    now: i64,
}

impl<'a> Events<'a> {
    fn new(
        trigger: &'a Trigger,
        metrics: &'a Metrics,
        service: Option<&'a str>,
        before: Before,
        since: i64,
        now: i64,
    ) -> Self {
        Self {
            trigger,
            metrics,
            service,
            before,
            since,
            now,
        }
    }

    /// What was read of the logs of the service in the window.
    fn reads(&self, own: &Totals) -> Reads {
        let is_shared = self
            .service
            .and_then(|service| self.metrics.service(service))
            .is_none_or(|service| service.shared);
        let log = self.metrics.shared().filter(|_| is_shared).map(|series| {
            let last = series.number(self.now);
            let first = (last - slots(self.trigger.window, series.width())).max(series.number(self.since));
            series.totals(first, last)
        });
        Reads::of(own, log.as_ref())
    }

    /// Why too much can't be read for a verdict.
    fn illegible(&self, reads: &Reads) -> Option<String> {
        let lost = reads.lost(self.trigger.metric);
        (lost > self.trigger.unreadable).then(|| {
            let anomaly = self
                .service
                .and_then(|service| self.metrics.service(service)?.anomaly.as_deref())
                .filter(|_| reads.unlevelled > 0 && self.trigger.metric.is_of_levels())
                .map(|why| format!("; {why}"))
                .unwrap_or_default();
            format!(
                "{} of the lines tell nothing, more than {}{anomaly}",
                percent(lost),
                percent(self.trigger.unreadable)
            )
        })
    }

    fn reading(&self, totals: &Totals) -> Reading {
        let (value, samples) = match self.trigger.metric {
            Metric::ErrorRate => (totals.error_rate(), totals.levelled()),
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            Metric::Crashes => (Some(totals.crashes as f64), totals.levelled().max(totals.crashes)),
            metric => match metric.quantile() {
                Some(quantile) => (totals.quantile(quantile), totals.timed),
                None => (totals.mean(), totals.timed),
            },
        };
        Reading { value, samples }
    }

    /// The threshold, and why there is none.
    fn threshold(&self) -> Result<f64, String> {
        let Limit::Baseline {
            factor,
            length,
            at_least,
        } = self.trigger.limit
        else {
            let Limit::Value(value) = self.trigger.limit else {
                return Ok(0.0);
            };
            return Ok(value);
        };
        let none = |samples: u64| {
            format!(
                "{} before the window, fewer than {} for a baseline",
                plural(samples, "sample"),
                self.trigger.min_samples
            )
        };
        let Some(series) = self
            .service
            .and_then(|service| self.metrics.service(service)?.baseline.as_ref())
        else {
            return Err(none(0));
        };
        let end = series.number(self.now - self.trigger.window - self.trigger.sustained) - 1;
        let begin = end - slots(length, series.width());
        let forgotten = series.number(self.before.forgotten);
        let totals = series.totals(begin.max(forgotten), end);
        let reading = self.reading(&totals);
        let mut value = reading
            .value
            .filter(|_| reading.samples >= self.trigger.min_samples);
        if self.trigger.metric == Metric::Crashes {
            // As many as there would be in one window.
            #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
            let windows = length as f64 / self.trigger.window as f64;
            value = value.map(|crashes| crashes / windows.max(1.0));
        }
        match value {
            Some(value) => Ok((value * factor).max(at_least)),
            None => Err(none(reading.samples)),
        }
    }

    fn judge(&self) -> Judgement {
        let trigger = self.trigger;
        let nothing = Totals::default();
        let Some(series) = self
            .service
            .and_then(|service| Some(&self.metrics.service(service)?.series))
        else {
            let threshold = self.threshold().unwrap_or_default();
            let why = self
                .illegible(&self.reads(&nothing))
                .unwrap_or_else(|| format!("no events in {}", time(trigger.window)));
            return self.inconclusive(&nothing, threshold, why);
        };
        let length = slots(trigger.window, series.width());
        let last = series.number(self.now);
        let forgotten = series.number(self.since);
        let mut totals = series.totals((last - length).max(forgotten), last);
        let reads = self.reads(&totals);
        let threshold = self.threshold();
        if let Some(why) = self.illegible(&reads) {
            return self.inconclusive(&totals, threshold.unwrap_or_default(), why);
        }
        let threshold = match threshold {
            Ok(threshold) => threshold,
            Err(why) => return self.inconclusive(&totals, 0.0, why),
        };
        let reading = self.reading(&totals);
        if reading.samples < trigger.min_samples || reading.value.is_none() {
            let what = if trigger.metric == Metric::ErrorRate || trigger.metric == Metric::Crashes {
                "event"
            } else {
                "response time"
            };
            let why = format!(
                "{} in {}, fewer than {}",
                plural(reading.samples, what),
                time(trigger.window),
                trigger.min_samples
            );
            return self.inconclusive(&totals, threshold, why);
        }
        let rendered = self.tell(&totals, &reading);
        // The window as a whole, and what it ends with: a spike that is over must not be helped by one chance error.
        let end = slots(trigger.sustained * 2 / LAST_PART, series.width());
        let sure = self.is_sure(&totals, threshold, SIGMAS)
            && (end == 0
                || self.is_sure(
                    &series.totals((last - end).max(forgotten), last),
                    threshold,
                    SIGMAS_AT_THE_END,
                ));
        // Back in time, slot by slot, until the breach no longer holds.
        let steps = slots(trigger.sustained, series.width());
        let mut held = None;
        for step in 0..=steps {
            let reading = self.reading(&totals);
            if !is_bad(trigger, &reading, threshold) {
                break;
            }
            held = Some(step);
            let (newest, oldest) = (last - step, last - step - length);
            if newest <= forgotten {
                break;
            }
            if let Some(slot) = series.slot(newest) {
                totals.take(slot);
            }
            if let Some(slot) = series.slot(oldest).filter(|_| oldest > forgotten) {
                totals.add(slot);
            }
        }
        let part = slots(trigger.sustained / LAST_PART, series.width());
        let lately = self.reading(&series.totals((last - part.max(1)).max(forgotten), last));
        let goes_on = trigger.sustained == 0
            || trigger.metric == Metric::Crashes
            || lately
                .value
                .is_some_and(|value| is_beyond(trigger.metric, value, threshold));
        let judgement = conclude(
            trigger,
            &reading,
            threshold,
            &Lasting {
                held: held.map(|step| step * series.width()),
                whole: held == Some(steps),
                goes_on,
                sure,
                alarmed: self.before.alarmed,
            },
            &rendered,
        );
        Judgement {
            reads: Some(reads),
            ..judgement
        }
    }

    fn inconclusive(&self, totals: &Totals, threshold: f64, why: String) -> Judgement {
        let reading = self.reading(totals);
        Judgement {
            reads: Some(self.reads(totals)),
            ..inconclusive(&reading, threshold, why)
        }
    }

    fn tell(&self, totals: &Totals, reading: &Reading) -> String {
        let value = reading.value.unwrap_or_default();
        match self.trigger.metric {
            Metric::ErrorRate => format!(
                "{} of {} are errors ({})",
                totals.errors,
                plural(totals.levelled(), "event"),
                percent(value)
            ),
            Metric::Crashes => plural(totals.crashes, "crash"),
            metric => match metric.quantile() {
                Some(quantile) => format!(
                    "{:.0} % of {} take up to {}",
                    quantile * 100.0,
                    plural(totals.timed, "answer"),
                    duration(value)
                ),
                None => format!(
                    "{} take {} on average",
                    plural(totals.timed, "answer"),
                    duration(value)
                ),
            },
        }
    }

    /// Whether the excess is more than chance: one slow answer or a few errors among few are not.
    fn is_sure(&self, totals: &Totals, threshold: f64, sigmas: f64) -> bool {
        match self.trigger.metric {
            Metric::ErrorRate => wilson(totals.errors, totals.levelled(), sigmas) > threshold,
            Metric::Crashes => true,
            metric => match metric.quantile() {
                Some(quantile) => {
                    wilson(totals.slower_than(threshold), totals.timed, sigmas) > 1.0 - quantile
                }
                None => totals
                    .mean()
                    .zip(totals.standard_error())
                    .is_some_and(|(mean, error)| mean - sigmas * error > threshold),
            },
        }
    }
}

/// The name of the gauge of a metric.
#[must_use]
pub fn gauge_name(trigger: &Trigger, service: Option<&str>) -> String {
    match trigger.metric {
        Metric::Memory => "memory".to_owned(),
        Metric::Prometheus => {
            // Of several series each has its labels for a name.
            let labels = service
                .filter(|service| service.starts_with('{'))
                .unwrap_or_default();
            format!(
                "prometheus/{}{labels}",
                trigger.source.as_deref().unwrap_or_default()
            )
        }
        Metric::Script => format!("script/{}", trigger.name),
        metric => format!("{}/{}", metric.name(), service.unwrap_or_default()),
    }
}

fn inconclusive(reading: &Reading, threshold: f64, why: String) -> Judgement {
    Judgement {
        verdict: Verdict::Inconclusive,
        value: reading.value,
        threshold,
        samples: reading.samples,
        held: 0,
        sustained: false,
        sure: false,
        watched: true,
        reads: None,
        why,
    }
}

/// How a breach has lasted.
struct Lasting {
    /// For how long, in ms, as far as `sustained_for`.
    held: Option<i64>,
    /// For all of that.
    whole: bool,
    /// Also in the last part of it.
    goes_on: bool,
    /// Beyond chance.
    sure: bool,
    /// The trigger was in alarm before.
    alarmed: bool,
}

fn conclude(
    trigger: &Trigger,
    reading: &Reading,
    threshold: f64,
    lasting: &Lasting,
    rendered: &str,
) -> Judgement {
    let display = |limit: f64| show(trigger.metric, limit);
    let relation = if trigger.metric.is_bad_below() {
        "below"
    } else {
        "above"
    };
    let still = reading.value.filter(|value| {
        lasting.alarmed
            && trigger
                .clear
                .is_some_and(|clear| is_beyond(trigger.metric, *value, clear))
    });
    let (verdict, why) = match (lasting.held, still) {
        (Some(held), _) => {
            let duration = if !lasting.whole {
                format!("for {} of {}", time(held), time(trigger.sustained))
            } else if lasting.goes_on {
                format!("for at least {}", time(trigger.sustained))
            } else {
                format!("but not in the last {}", time(trigger.sustained / LAST_PART))
            };
            (
                Verdict::Breach,
                format!("{rendered}, {relation} {}, {duration}", display(threshold)),
            )
        }
        (None, Some(_)) => (
            Verdict::Breach,
            format!(
                "{rendered}, still {relation} {}, which ends it",
                display(trigger.clear.unwrap_or(threshold))
            ),
        ),
        (None, None) => (
            Verdict::Healthy,
            format!("{rendered}, not {relation} {}", display(threshold)),
        ),
    };
    Judgement {
        verdict,
        value: reading.value,
        threshold,
        samples: reading.samples,
        held: lasting.held.unwrap_or(0),
        sustained: lasting.whole && lasting.goes_on && lasting.held.is_some(),
        sure: lasting.sure,
        watched: true,
        reads: None,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_end_of_an_interval_is_that_of_the_tables() {
        // Wilson, 95 %: 8 of 10 lies between 0.490 and 0.943.
        assert!((wilson(8, 10, 1.96) - 0.490).abs() < 0.001);
        assert!(wilson(0, 0, 4.0) < f64::EPSILON);
        assert!(
            wilson(3, 20, SIGMAS) < 0.1,
            "three errors among twenty are chance"
        );
        assert!(wilson(60, 120, SIGMAS) > 0.1);
    }
}
