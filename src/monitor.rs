//! Watching: logs, memory, probes and endpoints are measured, triggers judged, and what follows is decided. All of it up to
//! the decision is pure: events and times in, verdicts and steps out.
//!
//! On disk: `.rollback/monitor/state.json`.

use serde::{Deserialize, Serialize};

use crate::workspace::monitor_config::{Metric, MonitorConfig, Wanted};

/// A line of a log as an event.
pub mod events;

/// Logs, whole line by whole line.
pub mod follow;

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
pub mod shown;

/// What is kept on disk.
pub mod state;

/// The table on a terminal.
pub mod table;

/// What a judgement says, for programs.
pub mod told;

/// Triggers with every knob settled.
pub mod trigger;

/// What the metrics say of a trigger.
pub mod verdict;

/// The monitor at work.
pub mod watching;

/// Slots and samples by time.
pub mod window;

use events::Event;
use ledger::{Ledger, Powers, Step};
use metrics::Metrics;
use security::{Incident, Security};
use trigger::Trigger;
use verdict::{Judgement, judge};

/// What is remembered from one judgement to the next, also across restarts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Memory {
    /// What was counted and measured.
    pub metrics: Metrics,
    /// What was done.
    pub ledger: Ledger,
    /// What the security log said.
    pub security: Security,
}

/// One line of a judgement.
#[derive(Debug, Clone)]
pub struct Told {
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
        if fits {
            self.memory.metrics = memory.metrics;
            self.memory.security = memory.security;
        }
        fits
    }

    /// Counts an event, seen at `now` (ms). `directory` is the service whose directory the log lies in; without one it is
    /// of the security log.
    pub fn event(&mut self, event: &Event<'_>, directory: Option<&str>, now: i64) {
        let Some(at) = event.at else {
            self.memory.metrics.intake.untimed += 1;
            return;
        };
        if directory.is_none() {
            if event.is_own() {
                return;
            }
            let window = trigger::ms(self.config.security.window);
            self.memory.security.note(event, now, window);
        }
        let Some(service) = directory.or(event.service.as_deref()) else {
            return;
        };
        self.memory
            .metrics
            .event(service, at, now, (event.error, event.crash), event.milliseconds);
    }

    /// Judges all triggers at `now` (ms), and decides what follows. At most one story is rolled back at a time.
    pub fn judge(&mut self, powers: &Powers, now: i64) -> Vec<Told> {
        let longest = self
            .triggers
            .iter()
            .map(|trigger| trigger.cooldown)
            .max()
            .unwrap_or_default();
        self.memory.metrics.settle(now);
        self.memory.ledger.settle(now, longest);
        let mut powers = powers.clone();
        let mut told = Vec::new();
        for trigger in &self.triggers {
            for service in subjects(trigger, &self.memory.metrics) {
                let service = service.as_deref();
                let ledger = &mut self.memory.ledger;
                let judgement = judge(
                    trigger,
                    &self.memory.metrics,
                    service,
                    ledger.before(trigger, service, now),
                    now,
                );
                let step = ledger.decide(trigger, service, &judgement, &powers, now);
                if let Step::Rollback(story) = &step {
                    powers.busy = Some(format!("{story} is being rolled back"));
                }
                told.push(Told {
                    trigger: trigger.clone(),
                    service: service.map(str::to_owned),
                    judgement,
                    step,
                    alarmed: ledger.alarmed(trigger, service),
                });
            }
        }
        told
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
        Metric::Memory | Metric::Prometheus | Metric::Script => {
            return vec![trigger.service.as_ref().map(|(text, _)| text.clone())];
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
