//! What was counted and measured, by time: slots of equal width, as many as the longest look back needs. Times are
//! milliseconds since the epoch and come from the caller.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The steps in which response times are told apart: each is so many times the one before.
const STEP: f64 = 1.05;

/// The natural logarithm of a step.
const STEP_LN: f64 = 0.048_790_164_169_432;

/// The shortest response time that is told apart, in milliseconds.
const SHORTEST: f64 = 0.1;

/// Steps in all: the last one begins at about a week.
const STEPS: usize = 460;

/// Samples that a gauge keeps at most.
const SAMPLES: usize = 16_384;

/// The events of one slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// All events.
    pub events: u32,
    /// Those that are errors.
    pub errors: u32,
    /// Those that tell of a crash.
    pub crashes: u32,
    /// Those with a response time.
    pub timed: u32,
    /// Sum of the response times, in microseconds.
    pub micros: u64,
    /// Sum of the squares of the response times, in square milliseconds.
    pub squares: f64,
    /// Response times by step, in the order of the steps.
    pub steps: Vec<(u16, u32)>,
    /// Events whose level is not known.
    pub unlevelled: u32,
    /// Lines that are no events and count at the time at which they were read, or of the line before them: in no known form
    /// or too long.
    pub unreadable: u32,
    /// Without a time.
    pub untimed: u32,
    /// With a time that is still to come.
    pub future: u32,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.events == 0 && self.crashes == 0 && self.unreadable == 0 && self.untimed == 0 && self.future == 0
    }

    /// Counts an event; `error` is `None` where its level is not known.
    pub fn count(&mut self, error: Option<bool>, crash: bool, milliseconds: Option<f64>) {
        self.events = self.events.saturating_add(1);
        self.errors = self.errors.saturating_add(u32::from(error == Some(true)));
        self.unlevelled = self.unlevelled.saturating_add(u32::from(error.is_none()));
        self.crashes = self.crashes.saturating_add(u32::from(crash));
        let Some(milliseconds) = milliseconds else { return };
        self.timed = self.timed.saturating_add(1);
        self.micros = self.micros.saturating_add(micros(milliseconds));
        self.squares += milliseconds * milliseconds;
        let step = step_of(milliseconds);
        match self.steps.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(at) => {
                if let Some((_, count)) = self.steps.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
            Err(at) => self.steps.insert(at, (step, 1)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "response times are bounded where they are read"
)]
fn micros(milliseconds: f64) -> u64 {
    (milliseconds * 1000.0) as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the number of steps is bounded"
)]
fn step_of(milliseconds: f64) -> u16 {
    if milliseconds <= SHORTEST {
        return 0;
    }
    ((milliseconds / SHORTEST).ln() / STEP_LN)
        .ceil()
        .clamp(0.0, (STEPS - 1) as f64) as u16
}

/// The middle of a step, in milliseconds.
fn middle(step: usize) -> f64 {
    if step == 0 {
        return SHORTEST;
    }
    let end = SHORTEST * STEP.powi(i32::try_from(step).unwrap_or(i32::MAX));
    end * (1.0 + 1.0 / STEP) / 2.0
}

/// Sums over several slots.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// All events.
    pub events: u64,
    /// Those that are errors.
    pub errors: u64,
    /// Those that tell of a crash.
    pub crashes: u64,
    /// Those with a response time.
    pub timed: u64,
    /// Sum of the response times, in microseconds.
    pub micros: u64,
    /// Sum of the squares of the response times, in square milliseconds.
    pub squares: f64,
    /// Events whose level is not known.
    pub unlevelled: u64,
    /// Lines in no known form, or too long.
    pub unreadable: u64,
    /// Lines without a time.
    pub untimed: u64,
    /// Lines from the future.
    pub future: u64,
    /// Response times by step; empty until there is one.
    steps: Vec<u64>,
}

impl Totals {
    /// Adds a slot.
    pub fn add(&mut self, slot: &Slot) {
        self.events += u64::from(slot.events);
        self.errors += u64::from(slot.errors);
        self.crashes += u64::from(slot.crashes);
        self.timed += u64::from(slot.timed);
        self.micros = self.micros.saturating_add(slot.micros);
        self.squares += slot.squares;
        self.unlevelled += u64::from(slot.unlevelled);
        self.unreadable += u64::from(slot.unreadable);
        self.untimed += u64::from(slot.untimed);
        self.future += u64::from(slot.future);
        if !slot.steps.is_empty() && self.steps.is_empty() {
            self.steps = vec![0; STEPS];
        }
        for (step, count) in &slot.steps {
            if let Some(total) = self.steps.get_mut(usize::from(*step)) {
                *total += u64::from(*count);
            }
        }
    }

    /// Takes a slot out that was added before.
    pub fn take(&mut self, slot: &Slot) {
        self.events = self.events.saturating_sub(u64::from(slot.events));
        self.errors = self.errors.saturating_sub(u64::from(slot.errors));
        self.crashes = self.crashes.saturating_sub(u64::from(slot.crashes));
        self.timed = self.timed.saturating_sub(u64::from(slot.timed));
        self.micros = self.micros.saturating_sub(slot.micros);
        self.squares = (self.squares - slot.squares).max(0.0);
        self.unlevelled = self.unlevelled.saturating_sub(u64::from(slot.unlevelled));
        self.unreadable = self.unreadable.saturating_sub(u64::from(slot.unreadable));
        self.untimed = self.untimed.saturating_sub(u64::from(slot.untimed));
        self.future = self.future.saturating_sub(u64::from(slot.future));
        for (step, count) in &slot.steps {
            if let Some(total) = self.steps.get_mut(usize::from(*step)) {
                *total = total.saturating_sub(u64::from(*count));
            }
        }
    }

    /// Events of which it is known whether they are errors.
    #[must_use]
    pub fn levelled(&self) -> u64 {
        self.events.saturating_sub(self.unlevelled)
    }

    /// Share of the errors among them, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn error_rate(&self) -> Option<f64> {
        (self.levelled() > 0).then(|| self.errors as f64 / self.levelled() as f64)
    }

    /// Lines that could not be put anywhere.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        self.unreadable + self.untimed + self.future
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.events + self.unplaced()
    }

    /// The mean response time in milliseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 52 bits")]
    pub fn mean(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.micros as f64 / 1000.0 / self.timed as f64)
    }

    /// The standard error of the mean, in milliseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a deviation needs no more than 52 bits"
    )]
    pub fn standard_error(&self) -> Option<f64> {
        let mean = self.mean()?;
        let count = self.timed as f64;
        let variance = (self.squares / count - mean * mean).max(0.0);
        Some((variance / count).sqrt())
    }

    /// The response time in milliseconds that a share of all does not exceed, to 2.5 %.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52"
    )]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.timed == 0 {
            return None;
        }
        let wanted = ((self.timed as f64 * share).ceil() as u64).max(1);
        let mut passed = 0;
        for (step, count) in self.steps.iter().enumerate() {
            passed += count;
            if passed >= wanted {
                return Some(middle(step));
            }
        }
        None
    }

    /// How many response times lie above a value in milliseconds.
    #[must_use]
    pub fn slower_than(&self, milliseconds: f64) -> u64 {
        let from = usize::from(step_of(milliseconds)) + 1;
        self.steps.iter().skip(from).sum()
    }
}

/// Slots in a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// Width of a slot in milliseconds.
    width: i64,
    /// Slots that are kept at most.
    keep: usize,
    /// Number of the first slot: its begin divided by the width.
    first: i64,
    #[serde(with = "sparse")]
    slots: VecDeque<Slot>,
}

impl Series {
    /// Slots of a width (ms) for a look back of a length (ms).
    #[must_use]
    pub fn new(width: i64, length: i64) -> Self {
        let width = width.max(1);
        Self {
            width,
            keep: usize::try_from(length / width + 2).unwrap_or(1).max(2),
            first: 0,
            slots: VecDeque::new(),
        }
    }

    /// Whether it is made for the same look back.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (self.width, self.keep) == (other.width, other.keep)
    }

    /// Width of a slot in milliseconds.
    #[must_use]
    pub fn width(&self) -> i64 {
        self.width
    }

    /// Number of the slot of a time.
    #[must_use]
    pub fn number(&self, at: i64) -> i64 {
        at.div_euclid(self.width)
    }

    /// The slot of this number, if anything was counted around it.
    #[must_use]
    pub fn slot(&self, number: i64) -> Option<&Slot> {
        usize::try_from(number - self.first)
            .ok()
            .and_then(|at| self.slots.get(at))
    }

    /// The slot of a time, to count in. `None` where that is too long ago. The caller keeps out what lies in the future.
    pub fn at(&mut self, at: i64) -> Option<&mut Slot> {
        let number = self.number(at);
        if self.slots.is_empty() {
            self.first = number;
        }
        let last = self.first + i64::try_from(self.slots.len()).unwrap_or(0) - 1;
        if number > last {
            if usize::try_from(number - last).unwrap_or(usize::MAX) >= self.keep {
                self.slots.clear();
                self.first = number;
                self.slots.push_back(Slot::default());
            } else {
                for _ in last..number {
                    self.slots.push_back(Slot::default());
                }
            }
            while self.slots.len() > self.keep {
                self.slots.pop_front();
                self.first += 1;
            }
        } else if number < self.first {
            if usize::try_from(last - number).unwrap_or(usize::MAX) >= self.keep {
                return None;
            }
            while self.first > number {
                self.slots.push_front(Slot::default());
                self.first -= 1;
            }
        }
        usize::try_from(number - self.first)
            .ok()
            .and_then(|at| self.slots.get_mut(at))
    }

    /// Drops what lies after a time: the clock went back.
    pub fn forget_after(&mut self, at: i64) {
        let last = self.number(at);
        while !self.slots.is_empty() && self.first + i64::try_from(self.slots.len()).unwrap_or(0) - 1 > last {
            self.slots.pop_back();
        }
    }

    /// Sums over the slots whose numbers lie in `(after, last]`.
    #[must_use]
    pub fn totals(&self, after: i64, last: i64) -> Totals {
        let mut totals = Totals::default();
        let from = (after + 1).max(self.first);
        for number in from..=last {
            match self.slot(number) {
                Some(slot) => totals.add(slot),
                None => break,
            }
        }
        totals
    }

    /// Whether nothing has been counted since a time.
    #[must_use]
    pub fn is_silent_since(&self, at: i64) -> bool {
        let last = self.first + i64::try_from(self.slots.len()).unwrap_or(0) - 1;
        let from = self.number(at);
        (from.max(self.first)..=last).all(|number| self.slot(number).is_none_or(Slot::is_empty))
    }
}

/// Slots on disk: the empty ones are left out.
mod sparse {
    use std::collections::VecDeque;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Slot;

    /// A slot with its place, written as a list. What a list of an earlier program ends before is nothing.
    #[derive(Deserialize)]
    struct Row(
        usize,
        u32,
        u32,
        u32,
        u32,
        u64,
        f64,
        Vec<(u16, u32)>,
        #[serde(default)] [u32; 4],
    );

    pub fn serialize<S: Serializer>(slots: &VecDeque<Slot>, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.is_empty())
            .map(|(at, slot)| {
                (
                    at,
                    slot.events,
                    slot.errors,
                    slot.crashes,
                    slot.timed,
                    slot.micros,
                    slot.squares,
                    &slot.steps,
                    [slot.unlevelled, slot.unreadable, slot.untimed, slot.future],
                )
            })
            .collect();
        (slots.len(), rows).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<Slot>, D::Error> {
        /// More than any configuration asks for: a damaged file must not take all memory.
        const MOST: usize = 100_000;
        let (length, rows): (usize, Vec<Row>) = Deserialize::deserialize(deserializer)?;
        if length > MOST {
            return Err(serde::de::Error::custom("too many slots"));
        }
        let mut slots = VecDeque::from(vec![Slot::default(); length]);
        for Row(at, events, errors, crashes, timed, micros, squares, steps, lines) in rows {
            let [unlevelled, unreadable, untimed, future] = lines;
            let slot = slots
                .get_mut(at)
                .ok_or_else(|| serde::de::Error::custom("a slot beyond the last"))?;
            *slot = Slot {
                events,
                errors,
                crashes,
                timed,
                micros,
                squares,
                steps,
                unlevelled,
                unreadable,
                untimed,
                future,
            };
        }
        Ok(slots)
    }
}

/// Values that are looked at, not counted: memory, answers of probes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Gauge {
    samples: VecDeque<(i64, f64)>,
    /// How long a sample says something about now, in ms; `None`: as long as it lies in the window.
    #[serde(default)]
    pub fresh: Option<i64>,
}

impl Gauge {
    /// Adds a value that was seen at a time (ms); what is no number is passed over. Older ones than `keep` ms go.
    pub fn add(&mut self, at: i64, value: f64, keep: i64) {
        if !value.is_finite() {
            return;
        }
        // A clock that went back takes what came after with it.
        while self.samples.back().is_some_and(|(last, _)| *last > at) {
            self.samples.pop_back();
        }
        self.samples.push_back((at, value));
        while self.samples.len() > SAMPLES
            || self
                .samples
                .front()
                .is_some_and(|(first, _)| *first < at.saturating_sub(keep))
        {
            self.samples.pop_front();
        }
    }

    /// The values of the times in `(after, last]`, oldest first.
    pub fn between(&self, after: i64, last: i64) -> impl Iterator<Item = (i64, f64)> + '_ {
        let begin = self.samples.partition_point(|(at, _)| *at <= after);
        self.samples
            .iter()
            .skip(begin)
            .take_while(move |(at, _)| *at <= last)
            .copied()
    }

    /// The newest value with its time.
    #[must_use]
    pub fn newest(&self) -> Option<(i64, f64)> {
        self.samples.back().copied()
    }
}

#[cfg(test)]
mod tests;
