//! Triggers: the defaults of the flags file, and those of `rollback.yaml`, with every knob settled. Times are milliseconds.

use std::time::Duration;

use super::metrics::Span;
use crate::pattern::{Name, is_pattern};
use crate::workspace::config::FLAGS_FILE;
use crate::workspace::monitor_config::{Metric, MonitorConfig, Severity, Threshold, TriggerConfig, Wanted};

/// Time over which a baseline is taken, where a trigger does not say.
const BASELINE: i64 = 3_600_000;

/// The default triggers: name, metric, key of `rollback_triggers` in the flags file, threshold.
const DEFAULTS: [(&str, Metric, &str, f64); 3] = [
    ("error-rate", Metric::ErrorRate, "error_rate_threshold", 0.1),
    ("memory", Metric::Memory, "memory_usage_threshold", 0.9),
    (
        "response-time",
        Metric::ResponseTime,
        "response_time_threshold",
        5000.0,
    ),
];

/// When a value is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Beyond this value.
    Value(f64),
    /// Beyond so many times what it was before, and never below `at_least`.
    Baseline {
        /// How many times.
        factor: f64,
        /// Time over which the baseline is taken, before the window.
        length: i64,
        /// What it never lies below.
        at_least: f64,
    },
}

/// A trigger.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Which services; all where there is none.
    pub service: Option<(String, Name)>,
    /// When it is bad.
    pub limit: Limit,
    /// What ends a breach; the limit where there is none.
    pub clear: Option<f64>,
    /// Time over which the metric is taken.
    pub window: i64,
    /// How long a breach must hold before anything is done.
    pub sustained: i64,
    /// Samples below which nothing is judged.
    pub min_samples: u64,
    /// Time after an action in which it is not done again.
    pub cooldown: i64,
    /// How much its alert matters.
    pub severity: Severity,
    /// The story that it is about.
    pub story: Option<String>,
    /// What a sustained breach does.
    pub action: Wanted,
    /// Share of the lines beyond which nothing is judged where they can't be read.
    pub unreadable: f64,
    /// The entry of `prometheus:`.
    pub source: Option<String>,
}

impl Trigger {
    /// All triggers of a workspace, with warnings about the flags file: a threshold there that is none does not stop the
    /// watching.
    #[must_use]
    pub fn all(config: &MonitorConfig, thresholds: &[(String, f64)]) -> (Vec<Self>, Vec<String>) {
        let mut warnings = Vec::new();
        let mut triggers = Vec::new();
        let listed: Vec<Self> = config
            .triggers
            .iter()
            .map(|trigger| Self::of(trigger, config))
            .collect();
        if config.default_triggers {
            for (name, metric, key, default) in DEFAULTS {
                if listed.iter().any(|trigger| trigger.name == name) {
                    continue;
                }
                let most = if metric.is_share() { 1.0 } else { f64::MAX };
                let given = thresholds
                    .iter()
                    .rev()
                    .find(|(known, _)| known == key)
                    .map(|(_, value)| *value);
                let value = match given {
                    Some(value) if value.is_finite() && value > 0.0 && value <= most => value,
                    Some(value) => {
                        warnings.push(format!(
                            "`{key}` of the flags file is {}, and must be {}: {default} is used; correct it in `{FLAGS_FILE}`",
                            if value.is_nan() { "no number".to_owned() } else { value.to_string() },
                            if metric.is_share() { "above 0 and at most 1" } else { "above 0 (milliseconds)" },
                        ));
                        default
                    }
                    None => default,
                };
                triggers.push(Self::plain(name, metric, value, config));
            }
        }
        triggers.extend(listed);
        (triggers, warnings)
    }

    fn plain(name: &str, metric: Metric, threshold: f64, config: &MonitorConfig) -> Self {
        Self {
            name: name.to_owned(),
            metric,
            service: None,
            limit: Limit::Value(threshold),
            clear: None,
            window: ms(config.window),
            sustained: ms(config.sustained_for),
            min_samples: least(metric, config),
            cooldown: ms(config.cooldown),
            severity: Severity::Critical,
            story: None,
            action: Wanted::Alert,
            unreadable: match config.unreadable {
                Threshold::Value(share) => share,
                Threshold::Baseline(_) => 0.0,
            },
            source: None,
        }
    }

    fn of(trigger: &TriggerConfig, config: &MonitorConfig) -> Self {
        let value = |threshold: Option<Threshold>| match threshold {
            Some(Threshold::Value(value)) => Some(value),
            _ => None,
        };
        let limit = match trigger.threshold {
            Some(Threshold::Baseline(factor)) => Limit::Baseline {
                factor,
                length: trigger.baseline.map_or(BASELINE, ms),
                at_least: value(trigger.at_least).unwrap_or(match trigger.metric {
                    Metric::ErrorRate => 0.02,
                    Metric::Crashes => 1.0,
                    _ => 100.0,
                }),
            },
            Some(Threshold::Value(value)) => Limit::Value(value),
            None => Limit::Value(0.5),
        };
        let glob = |text: &String| Name::parse(text).ok().map(|name| (text.clone(), name));
        Self {
            service: trigger.service.as_ref().and_then(glob),
            limit,
            clear: value(trigger.clear),
            window: trigger.window.map_or(ms(config.window), ms),
            sustained: trigger.sustained_for.map_or(ms(config.sustained_for), ms),
            min_samples: trigger.min_samples.unwrap_or(least(trigger.metric, config)),
            cooldown: trigger.cooldown.map_or(ms(config.cooldown), ms),
            severity: trigger.severity.unwrap_or(Severity::Critical),
            story: trigger.story.clone(),
            action: trigger.action,
            source: trigger.source.clone(),
            ..Self::plain(&trigger.name(), trigger.metric, 0.0, config)
        }
    }

    /// Whether it is about this service.
    #[must_use]
    pub fn is_about(&self, service: &str) -> bool {
        // Several addresses of one service are told apart by what stands behind its name.
        let service = service.split('{').next().unwrap_or(service);
        self.service
            .as_ref()
            .is_none_or(|(text, glob)| text == service || glob.matches(service))
    }

    /// The service that it names, where that is one and no pattern.
    #[must_use]
    pub fn named_service(&self) -> Option<&str> {
        let (text, _) = self.service.as_ref()?;
        (!is_pattern(text)).then_some(text)
    }
}

/// How far the triggers look back.
#[must_use]
pub fn span(triggers: &[Trigger], config: &MonitorConfig) -> Span {
    let fine = triggers
        .iter()
        .map(|trigger| trigger.window + trigger.sustained)
        .chain([ms(config.window)])
        .max()
        .unwrap_or_default();
    let baseline = triggers
        .iter()
        .filter_map(|trigger| match trigger.limit {
            Limit::Baseline { length, .. } => Some(length),
            Limit::Value(_) => None,
        })
        .max()
        .unwrap_or_default();
    Span { fine, baseline }
}

/// What is looked at and not counted is judged from the first sample on, unless the trigger says otherwise.
fn least(metric: Metric, config: &MonitorConfig) -> u64 {
    match metric {
        Metric::Crashes => 1,
        Metric::Availability => 3,
        metric if metric.is_of_events() => config.min_samples.max(1),
        _ => 1,
    }
}

/// Milliseconds of a time.
#[must_use]
pub fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(thresholds: &[(&str, f64)]) -> (Vec<f64>, usize) {
        let thresholds: Vec<(String, f64)> = thresholds
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect();
        let (triggers, warnings) = Trigger::all(&MonitorConfig::default(), &thresholds);
        let limits = triggers
            .iter()
            .map(|trigger| match trigger.limit {
                Limit::Value(value) => value,
                Limit::Baseline { .. } => f64::NAN,
            })
            .collect();
        (limits, warnings.len())
    }

    #[test]
    fn thresholds_of_the_flags_file_are_the_defaults_and_nonsense_is_told() {
        assert_eq!(limits(&[]), (vec![0.1, 0.9, 5000.0], 0));
        assert_eq!(
            limits(&[("error_rate_threshold", 0.25), ("response_time_threshold", 800.0)]),
            (vec![0.25, 0.9, 800.0], 0)
        );
        for wrong in [-1.0, 0.0, 10.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                limits(&[("error_rate_threshold", wrong)]),
                (vec![0.1, 0.9, 5000.0], 1),
                "{wrong}"
            );
        }
    }
}
