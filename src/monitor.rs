//! Watching: logs, memory, probes and endpoints are measured, triggers judged, and what follows is decided. All of it up to
//! the decision is pure: events and times in, verdicts and steps out.
//!
//! On disk: `.rollback/monitor/state.json`.

use serde::{Deserialize, Serialize};

use crate::base::known::Known;
use crate::log_line::Event;
use crate::workspace::monitor_config::{Metric, MonitorConfig, Wanted};

/// Logs, whole line by whole line.
pub mod follow;

/// What was read of the logs that a verdict rests on.
pub mod intake;

/// From a line to what it counts for.
mod lines;

/// What was done, and what may be done now.
pub mod ledger;

/// What was counted and measured.
pub mod metrics;

/// What people are told.
pub mod notice;

/// Addresses that answer or do not, values of endpoints.
pub mod probes;

/// Triggers in a script.
pub mod script;

/// Incidents of the security log.
pub mod security;

/// Numbers with their units.
pub mod units;

/// What is kept on disk.
pub mod state;

/// The table on a terminal.
pub mod table;

/// What a judgement says, for programs.
pub mod export;

/// Triggers with every knob settled.
pub mod trigger;

/// What the metrics say of a trigger.
pub mod verdict;

/// Since when somebody watches.
pub mod watched;

/// The monitor at work.
pub mod watching;

/// Slots and samples by time.
pub mod window;

use ledger::{Ledger, Powers, Step};
use metrics::{Metrics, Seen, Unplaced};
use security::{Incident, Security};
use trigger::Trigger;
use verdict::{Before, Judgement, Verdict, gauge_name, judge};
use watched::Watched;

/// What is remembered from one judgement to the next, also across restarts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Memory {
    /// What was counted and measured.
    pub metrics: Metrics,
    /// What was done.
    pub ledger: Ledger,
    /// What the security log said.
    pub security: Security,
    /// Since when somebody watches; `None`: what is written is all there is to know.
    #[serde(default)]
    pub watched: Option<Watched>,
}

/// One line of a judgement.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// Which of the triggers.
    pub trigger: Trigger,
    /// The service, where it is about one.
    pub service: Option<String>,
    /// The judgement.
    pub judgement: Judgement,
    /// What is to be done.
    pub step: Step,
    /// Since when it is in alarm, in ms.
    pub alarmed: Option<i64>,
}

/// The judge: triggers, and what is remembered.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The triggers.
    pub triggers: Vec<Trigger>,
    /// The rules of the security log, and what stands in for what a trigger does not say.
    pub config: MonitorConfig,
    /// What is remembered.
    pub memory: Memory,
}

impl Watch {
    /// A judge who remembers nothing yet. Gives the warnings about thresholds of the flags file.
    #[must_use]
    pub fn new(config: &MonitorConfig, thresholds: &[(String, f64)]) -> (Self, Vec<String>) {
        let (triggers, warnings) = Trigger::all(config, thresholds);
        let span = trigger::span(&triggers, config);
        let memory = Memory {
            metrics: Metrics::new(span),
            ledger: Ledger::default(),
            security: Security::default(),
            watched: None,
        };
        let watch = Self {
            triggers,
            config: config.clone(),
            memory,
        };
        (watch, warnings)
    }

    /// Takes over what another one remembered. Where the triggers look back differently now, what was counted is left
    /// behind and gives false: it has to be read again; what was done is always taken over.
    pub fn remember(&mut self, memory: Memory) -> bool {
        let span = self.memory.metrics.span();
        let fits = memory.metrics.fits(span);
        self.memory.ledger = memory.ledger;
        self.memory.watched = memory.watched;
        if fits {
            self.memory.metrics = memory.metrics;
            self.memory.security = memory.security;
        }
        fits
    }

    /// Counts an event, seen at `now` (ms). `directory` is the service whose directory the log lies in; without one it is
    /// of the security log.
    pub fn event(&mut self, event: &Event<'_>, directory: Option<&str>, now: i64) {
        self.line(event, directory, now, now);
    }

    /// Counts an event whose time, where it has none, is taken to be `place` (ms).
    fn line(&mut self, event: &Event<'_>, directory: Option<&str>, place: i64, now: i64) {
        let shared = directory.is_none();
        if shared && event.is_own() {
            return;
        }
        let service = directory.or(event.service.as_deref());
        let Some(at) = event.time() else {
            self.memory
                .metrics
                .unplaced(service, shared, Unplaced::Untimed, place, now);
            return;
        };
        if shared {
            let window = trigger::ms(self.config.security.window);
            self.memory.security.note(event, now, window);
        }
        let metrics = &mut self.memory.metrics;
        let Some(service) = service else {
            metrics.shared_line(at.min(now));
            return;
        };
        let seen = Seen {
            at,
            error: event.is_error(),
            crash: event.is_crash(),
            milliseconds: event.milliseconds,
            shared,
        };
        metrics.event(service, &seen, now);
        if let Known::Unknown(why) = &event.level {
            metrics.odd_level(service, why);
        }
    }

    /// Counts a line that is no event, written at `place` (ms) or about then.
    fn unplaced(&mut self, directory: Option<&str>, unplaced: Unplaced, place: i64, now: i64) {
        self.memory
            .metrics
            .unplaced(directory, directory.is_none(), unplaced, place, now);
    }

    /// Judges all triggers at `now` (ms), and decides what follows. At most one story is rolled back at a time.
    pub fn judge(&mut self, powers: &Powers, now: i64) -> Vec<Assessment> {
        let longest = self
            .triggers
            .iter()
            .map(|trigger| trigger.cooldown)
            .max()
            .unwrap_or_default();
        self.memory.metrics.settle(now);
        self.memory.ledger.settle(now, longest);
        let mut powers = powers.clone();
        let mut assessments = Vec::new();
        let watched = self.watched_since();
        for trigger in &self.triggers {
            let begin = assessments.len();
            for service in subjects(trigger, &self.memory.metrics) {
                let service = service.as_deref();
                let ledger = &mut self.memory.ledger;
                let judgement = judge(
                    trigger,
                    &self.memory.metrics,
                    service,
                    Before {
                        watched,
                        ..ledger.before(trigger, service, now)
                    },
                    now,
                );
                let step = ledger.decide(trigger, service, &judgement, &powers, now);
                if let Step::Rollback(story) = &step {
                    powers.busy = Some(format!("{story} is being rolled back"));
                }
                assessments.push(Assessment {
                    trigger: trigger.clone(),
                    service: service.map(str::to_owned),
                    judgement,
                    step,
                    alarmed: ledger.alarmed(trigger, service),
                });
            }
            // The worst first.
            if let Some(own) = assessments.get_mut(begin..) {
                own.sort_by_key(|assessment: &Assessment| match assessment.judgement.verdict {
                    Verdict::Breach => 0,
                    Verdict::Inconclusive => 1,
                    Verdict::Healthy => 2,
                });
            }
        }
        assessments
    }

    /// What was written up to this time (ms) sets nothing off.
    fn watched_since(&self) -> i64 {
        self.memory.watched.map_or(i64::MIN, |watched| watched.since)
    }

    /// Whether a trigger that rolls back would do so at `now` (ms), if nothing held it back.
    #[must_use]
    pub fn has_breach(&self, now: i64) -> bool {
        let rolls = self
            .triggers
            .iter()
            .filter(|trigger| trigger.action == Wanted::Rollback);
        rolls.into_iter().any(|trigger| {
            subjects(trigger, &self.memory.metrics).iter().any(|service| {
                let service = service.as_deref();
                let before = self.memory.ledger.before(trigger, service, now);
                judge(trigger, &self.memory.metrics, service, before, now).sustained
            })
        })
    }

    /// The incidents of the security log at `now` (ms).
    pub fn incidents(&mut self, now: i64) -> Vec<Incident> {
        self.memory.security.incidents(&self.config.security, now)
    }
}

/// What a trigger is about now: services, or none where nothing is known of any.
fn subjects(trigger: &Trigger, metrics: &Metrics) -> Vec<Option<String>> {
    let known: Vec<&str> = match trigger.metric {
        Metric::Memory | Metric::Script => {
            return vec![trigger.service.as_ref().map(|(text, _)| text.clone())];
        }
        Metric::Prometheus => {
            let source = gauge_name(trigger, None);
            let series: Vec<Option<String>> = metrics
                .gauges()
                .filter_map(|gauge| gauge.strip_prefix(&source))
                .filter(|labels| labels.starts_with('{'))
                .map(|labels| Some(labels.to_owned()))
                .collect();
            let alone = trigger.service.as_ref().map(|(text, _)| text.clone());
            let is_alone = series.is_empty() || metrics.gauge_of(&source).is_some();
            return is_alone.then_some(alone).into_iter().chain(series).collect();
        }
        Metric::ProcessMemory | Metric::Availability => metrics.gauges_of(trigger.metric.name()).collect(),
        _ => metrics.services().map(|(name, _)| name).collect(),
    };
    let mut subjects: Vec<Option<String>> = known
        .into_iter()
        .filter(|service| trigger.is_about(service))
        .map(|service| Some(service.to_owned()))
        .collect();
    if let Some(named) = trigger.named_service()
        && subjects.is_empty()
    {
        subjects.push(Some(named.to_owned()));
    }
    if subjects.is_empty() {
        subjects.push(None);
    }
    subjects
}

#[cfg(test)]
mod tests;
