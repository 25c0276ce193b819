//! Metrics that are looked at, not counted: memory, answers of probes, values of endpoints, what a script says.

use super::{
    Before, Judgement, Lasting, Reading, STEPS, conclude, gauge_name, inconclusive, is_bad, is_beyond, wilson,
};
use crate::monitor::metrics::Metrics;
use crate::monitor::trigger::{Limit, Trigger};
use crate::monitor::units::{number, percent, plural, time};
use crate::monitor::window::Gauge;
use crate::workspace::monitor_config::Metric;

/// Metrics that are looked at.
pub(super) struct Looks<'a> {
    trigger: &'a Trigger,
    gauge: Option<&'a Gauge>,
    before: Before,
    now: i64,
}

impl<'a> Looks<'a> {
    pub(super) fn new(
        trigger: &'a Trigger,
        metrics: &'a Metrics,
        service: Option<&'a str>,
        before: Before,
        now: i64,
    ) -> Self {
        Self {
            gauge: metrics.gauge_of(&gauge_name(trigger, service)),
            trigger,
            before,
            now,
        }
    }

    fn reading(&self, at: i64) -> Reading {
        let Some(gauge) = self.gauge else {
            return Reading::default();
        };
        let (mut sum, mut samples, mut newest) = (0.0, 0_u64, None);
        for (_, value) in gauge.between((at - self.trigger.window).max(self.before.forgotten), at) {
            sum += value;
            samples += 1;
            newest = Some(value);
        }
        #[expect(clippy::cast_precision_loss, reason = "samples are far below 2^52")]
        let mean = (samples > 0).then(|| sum / samples as f64);
        Reading {
            value: if self.trigger.metric == Metric::Script {
                newest
            } else {
                mean
            },
            samples,
        }
    }

    pub(super) fn judge(&self) -> Judgement {
        let trigger = self.trigger;
        let Limit::Value(threshold) = trigger.limit else {
            return inconclusive(&Reading::default(), 0.0, "it has no baseline".to_owned());
        };
        let reading = self.reading(self.now);
        if reading.samples < trigger.min_samples.max(1) {
            let why = format!(
                "{} in {}, fewer than {}",
                plural(reading.samples, "sample"),
                time(trigger.window),
                trigger.min_samples.max(1)
            );
            return inconclusive(&reading, threshold, why);
        }
        let newest = self.gauge.and_then(Gauge::newest);
        let age = newest.map_or(0, |(at, _)| self.now - at);
        if self
            .gauge
            .and_then(|gauge| gauge.fresh)
            .is_some_and(|fresh| age > fresh)
        {
            let why = format!("the newest sample is {} old", time(age / 1000 * 1000));
            return inconclusive(&reading, threshold, why);
        }
        let step = (trigger.sustained / STEPS).max(1000);
        let mut held = None;
        let mut back = 0;
        let sustained = loop {
            if !is_bad(trigger, &self.reading(self.now - back), threshold) {
                break false;
            }
            held = Some(back);
            if back >= trigger.sustained {
                break true;
            }
            back = (back + step).min(trigger.sustained);
        };
        let value = reading.value.unwrap_or_default();
        let rendered = match trigger.metric {
            Metric::Memory => format!("{} of the memory is in use", percent(value)),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes of memory fit"
            )]
            Metric::ProcessMemory => format!("{} resident", bytesize::ByteSize(value as u64)),
            Metric::Availability => format!(
                "{} of {} were good",
                percent(value),
                plural(reading.samples, "answer")
            ),
            Metric::Script => {
                "fn trigger(metrics) says".to_owned() + if value > threshold { " yes" } else { " no" }
            }
            _ => format!("the value is {}", number(value)),
        };
        conclude(
            trigger,
            &reading,
            threshold,
            &Lasting {
                held,
                whole: sustained,
                goes_on: newest.is_some_and(|(_, value)| is_beyond(trigger.metric, value, threshold)),
                sure: self.is_sure(&reading, threshold),
                alarmed: self.before.alarmed,
            },
            &rendered,
        )
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "samples are far below 2^52"
    )]
    fn is_sure(&self, reading: &Reading, threshold: f64) -> bool {
        if self.trigger.metric != Metric::Availability {
            return true;
        }
        let bad = ((1.0 - reading.value.unwrap_or(1.0)) * reading.samples as f64).round() as u64;
        wilson(bad, reading.samples, 2.0) > 1.0 - threshold
    }
}
