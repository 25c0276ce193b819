//! What was done, and what may be done now: alarms, cooldowns, the number of rollbacks. Pure: time comes from the caller,
//! and a clock that goes back makes cooldowns begin anew, never end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::trigger::Trigger;
use super::units::time;
use super::verdict::{Before, Judgement, Verdict};
use crate::workspace::monitor_config::Wanted;

/// Time over which automatic rollbacks are counted, in ms.
const HOUR: i64 = 3_600_000;

/// Rollbacks that are remembered.
const KEPT: usize = 100;

/// How long an alarm is remembered that nobody hears of any more, in ms.
const DAY: i64 = 24 * HOUR;

/// How a trigger stands with a service. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Since when it is in alarm.
    pub alarmed: Option<i64>,
    /// When it was last told.
    pub alerted: Option<i64>,
    /// Since when it is well again, while it is in alarm.
    pub well: Option<i64>,
    /// What happened up to then does not count.
    #[serde(default)]
    pub forgotten: i64,
}

/// A clock that nobody sets: since when the machine runs, and which start of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// The start, as the kernel names it.
    pub boot: String,
    /// Milliseconds since.
    pub ms: i64,
}

/// An automatic rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// When it was begun.
    pub at: i64,
    /// The story.
    pub story: String,
    /// The trigger.
    pub trigger: String,
    /// The same time by a clock that nobody sets.
    #[serde(default)]
    pub uptime: Option<Uptime>,
}

impl RolledBack {
    /// How long ago it was, in ms: the shorter time where the clock was set in between.
    fn ago(&self, powers: &Powers, now: i64) -> i64 {
        let wall = now - self.at;
        match (&self.uptime, &powers.uptime) {
            (Some(then), Some(uptime)) if then.boot == uptime.boot => wall.min(uptime.ms - then.ms),
            _ => wall,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    standings: BTreeMap<String, Standing>,
    rollbacks: Vec<RolledBack>,
}

/// What is allowed now.
#[derive(Debug, Clone, Default)]
pub struct Powers {
    /// `--auto`.
    pub auto: bool,
    /// Why nothing can be rolled back now: another run is at work, or was cut off.
    pub busy: Option<String>,
    /// Automatic rollbacks in an hour.
    pub max_rollbacks: u32,
    /// The present time by a clock that nobody sets, where there is one.
    pub uptime: Option<Uptime>,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Somebody is told; for a trigger that would roll back, with the reason why it does not.
    Alert(Option<String>),
    /// The story is rolled back.
    Rollback(String),
    /// The end of an alarm is told.
    Recovery,
}

fn key(trigger: &Trigger, service: Option<&str>) -> String {
    format!("{}/{}", trigger.name, service.unwrap_or_default())
}

/// A time that has been; one in the future was written by a clock that has gone back since.
fn past(at: &mut Option<i64>, now: i64) {
    if let Some(at) = at {
        *at = (*at).min(now);
    }
}

impl Ledger {
    /// What a judgement needs to know.
    #[must_use]
    pub fn before(&self, trigger: &Trigger, service: Option<&str>, now: i64) -> Before {
        self.standings
            .get(&key(trigger, service))
            .map_or_else(Before::default, |standing| Before {
                alarmed: standing.alarmed.is_some(),
                forgotten: standing.forgotten.min(now),
                ..Before::default()
            })
    }

    /// The rollbacks of the last hour and before, oldest first.
    #[must_use]
    pub fn rollbacks(&self) -> &[RolledBack] {
        &self.rollbacks
    }

    /// Since when a trigger is in alarm.
    #[must_use]
    pub fn alarmed(&self, trigger: &Trigger, service: Option<&str>) -> Option<i64> {
        self.standings.get(&key(trigger, service))?.alarmed
    }

    /// Nobody knows what was done: every story that can be rolled back counts as rolled back just now.
    pub fn assume_rolled_back(&mut self, triggers: &[Trigger], now: i64) {
        for trigger in triggers
            .iter()
            .filter(|trigger| trigger.action == Wanted::Rollback)
        {
            if let Some(story) = &trigger.story {
                self.rollbacks.push(RolledBack {
                    at: now,
                    story: story.clone(),
                    trigger: trigger.name.clone(),
                    uptime: None,
                });
            }
        }
    }

    /// Forgets what no longer matters, and what a clock that went back makes impossible.
    pub fn settle(&mut self, now: i64, longest: i64) {
        for rolled in &mut self.rollbacks {
            rolled.at = rolled.at.min(now);
        }
        // A clock that was set ahead must not make them forgotten: the last ones stay.
        let excess = self.rollbacks.len().saturating_sub(KEPT);
        self.rollbacks.drain(..excess);
        for standing in self.standings.values_mut() {
            past(&mut standing.alarmed, now);
            past(&mut standing.alerted, now);
            past(&mut standing.well, now);
            standing.forgotten = standing.forgotten.min(now);
        }
        // A service of which nothing was heard for long leaves nothing behind, not even an alarm.
        self.standings.retain(|_, standing| {
            let (last, keep) = if standing.alarmed.is_some() {
                (standing.alarmed.max(standing.alerted), longest.max(DAY))
            } else {
                (standing.alerted.max(Some(standing.forgotten)), longest.max(HOUR))
            };
            last.is_some_and(|at| at > now.saturating_sub(keep))
        });
    }

    /// What follows from a judgement, and remembers it.
    pub fn decide(
        &mut self,
        trigger: &Trigger,
        service: Option<&str>,
        judgement: &Judgement,
        powers: &Powers,
        now: i64,
    ) -> Step {
        let held_back = self.held_back(trigger, judgement, powers, now);
        debug!(
            trigger = trigger.name,
            service,
            verdict = judgement.verdict.name(),
            sustained = judgement.sustained,
            sure = judgement.sure,
            watched = judgement.watched,
            held_back,
            why = judgement.why,
            "trigger judged"
        );
        let standing = self.standings.entry(key(trigger, service)).or_default();
        match judgement.verdict {
            // No data is neither bad nor well.
            Verdict::Inconclusive => {
                standing.well = None;
                Step::Nothing
            }
            Verdict::Healthy => {
                if standing.alarmed.is_none() {
                    return Step::Nothing;
                }
                let since = *standing.well.get_or_insert(now);
                if now - since < trigger.sustained {
                    return Step::Nothing;
                }
                standing.alarmed = None;
                standing.well = None;
                Step::Recovery
            }
            Verdict::Breach => {
                standing.well = None;
                if !judgement.sustained && standing.alarmed.is_none() {
                    return Step::Nothing;
                }
                standing.alarmed.get_or_insert(now);
                if let (Wanted::Rollback, None, Some(story)) = (trigger.action, &held_back, &trigger.story) {
                    // A breach that goes on although the story is gone is told again.
                    standing.alerted = None;
                    standing.alarmed = None;
                    self.roll_back(trigger, story, powers, now);
                    return Step::Rollback(story.clone());
                }
                if standing
                    .alerted
                    .is_some_and(|alerted| now - alerted < trigger.cooldown)
                {
                    return Step::Nothing;
                }
                standing.alerted = Some(now);
                Step::Alert(held_back)
            }
        }
    }

    /// Why a trigger that rolls back does not do so now; `None` also where it is not to roll back at all.
    fn held_back(
        &self,
        trigger: &Trigger,
        judgement: &Judgement,
        powers: &Powers,
        now: i64,
    ) -> Option<String> {
        if trigger.action != Wanted::Rollback {
            return None;
        }
        let story = trigger.story.as_deref()?;
        if !powers.auto {
            return Some("the monitor runs without --auto".to_owned());
        }
        if !judgement.sustained {
            return Some("the value is no longer beyond the threshold".to_owned());
        }
        if !judgement.sure {
            return Some("so few samples could say so by chance".to_owned());
        }
        if let Some(rolled) = self
            .rollbacks
            .iter()
            .rev()
            .find(|rolled| rolled.story == story && rolled.ago(powers, now) < trigger.cooldown)
        {
            return Some(format!(
                "{story} was rolled back {} ago, within the cooldown of {}",
                time(rolled.ago(powers, now) / 1000 * 1000),
                time(trigger.cooldown)
            ));
        }
        let in_the_hour = self
            .rollbacks
            .iter()
            .filter(|rolled| rolled.ago(powers, now) < HOUR)
            .count();
        if in_the_hour >= usize::try_from(powers.max_rollbacks).unwrap_or(usize::MAX) {
            return Some(format!(
                "max_rollbacks is {}, and {in_the_hour} happened within the hour",
                powers.max_rollbacks
            ));
        }
        if powers.busy.is_some() {
            return powers.busy.clone();
        }
        // At last: it passes by itself, and all else is of more use to whoever is told.
        (!judgement.watched)
            .then(|| "part of it was written while nobody watched, and sets nothing off".to_owned())
    }

    /// From now on the story counts as rolled back: whatever becomes of it, it is not tried again within the cooldown.
    fn roll_back(&mut self, trigger: &Trigger, story: &str, powers: &Powers, now: i64) {
        self.rollbacks.push(RolledBack {
            at: now,
            story: story.to_owned(),
            trigger: trigger.name.clone(),
            uptime: powers.uptime.clone(),
        });
        // What led to it does not count a second time, for whatever service.
        let mine = format!("{}/", trigger.name);
        for (name, standing) in &mut self.standings {
            if name.starts_with(&mine) {
                standing.forgotten = now;
            }
        }
    }
}
