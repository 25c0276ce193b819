//! Cuts at numbered points, two at a time, and the count of what came of them.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::cutter::Effect;
use super::trial::{self, COPY, RECOVER, REHEARSED, RESUME, RUN, UNDO};
use crate::sandbox::{Sandbox, Snapshot};

/// What is cut, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A run is cut, and taken back.
    RunThenUndo,
    /// A run is cut, and finished.
    RunThenResume,
    /// A run that makes its backups by copying is cut, and taken back.
    CopyThenUndo,
    /// The undo of a run is cut, and finished.
    Undo,
    /// A run is cut in its middle, what takes it back is cut too, and finished.
    Recovery,
    /// A run that puts in place what a command wrote over a layer is cut, and taken back.
    RehearsedThenUndo,
    /// The same is cut, and finished.
    RehearsedThenResume,
    /// The undo of such a run is cut, and finished.
    RehearsedUndo,
}

/// Where a command is killed.
#[derive(Debug, Clone, Copy)]
pub enum Point {
    /// Before its n-th effect, counted from 1.
    Effect(usize),
    /// So long after its first change.
    Time(Duration),
}

/// How many points are tried.
#[derive(Debug, Clone, Copy)]
pub enum Effort {
    /// So many, evenly.
    Evenly(usize),
    /// Every one.
    All,
    /// So many random times.
    AtRandom(usize),
}

impl Effort {
    /// `all`, `random:500`, or a number.
    ///
    /// # Errors
    /// What is none of them.
    pub fn read(text: &str) -> Result<Self, String> {
        let count = |text: &str| {
            text.parse()
                .map_err(|_| format!("`{text}` is neither `all` nor a number"))
        };
        match (text, text.strip_prefix("random:")) {
            ("all", _) => Ok(Self::All),
            (_, Some(number)) => count(number).map(Self::AtRandom),
            (number, None) => count(number).map(Self::Evenly),
        }
    }
}

/// What a trial starts from, and what it must come to.
pub struct Matrix {
    cut: Cut,
    /// Before the command that is cut.
    start: Sandbox,
    /// What was there before anything.
    before: Snapshot,
    /// The tree after an uncut run.
    after: BTreeMap<String, Vec<String>>,
    /// The effects of the command that is cut.
    pub effects: Vec<Effect>,
    /// How long that command is busy after its first change when nobody looks.
    takes: Duration,
}

/// What came of the trials.
#[derive(Debug, Default)]
pub struct Tally {
    /// Points.
    pub points: usize,
    /// Cut before anything of the user's was touched: no mark is left, and nothing is different.
    pub untouched: usize,
    /// Cut in the middle: the next command said so.
    pub recovered: usize,
    /// Cut after everything was done.
    pub finished: usize,
    /// What was not as it must be.
    pub failures: Vec<String>,
}

enum Fate {
    Untouched,
    Recovered,
    Finished,
}

impl Cut {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RunThenUndo => "a run, then taken back",
            Self::RunThenResume => "a run, then finished",
            Self::CopyThenUndo => "a run with `--copy`, then taken back",
            Self::Undo => "an undo, then finished",
            Self::Recovery => "a recovery, then finished",
            Self::RehearsedThenUndo => "a run with a command over a layer, then taken back",
            Self::RehearsedThenResume => "a run with a command over a layer, then finished",
            Self::RehearsedUndo => "an undo of a command over a layer, then finished",
        }
    }

    /// The command that is cut.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::RunThenUndo | Self::RunThenResume => RUN,
            Self::CopyThenUndo => COPY,
            Self::Undo | Self::RehearsedUndo => UNDO,
            Self::Recovery => RECOVER,
            Self::RehearsedThenUndo | Self::RehearsedThenResume => REHEARSED,
        }
    }

    /// The run that it begins with.
    fn run(self) -> &'static [&'static str] {
        match self {
            Self::RehearsedThenUndo | Self::RehearsedThenResume | Self::RehearsedUndo => REHEARSED,
            _ => RUN,
        }
    }

    /// Where it happens.
    fn workspace(self) -> Result<Sandbox, String> {
        if self.run() == REHEARSED {
            trial::workspace_with_a_command()
        } else {
            Ok(trial::workspace())
        }
    }
}

impl Display for Effort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evenly(count) => write!(formatter, "{count} points"),
            Self::All => formatter.write_str("every point"),
            Self::AtRandom(count) => write!(formatter, "{count} random times"),
        }
    }
}

impl Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} points: {} before anything was touched, {} settled by recovery, {} after the end; {} failed",
            self.points,
            self.untouched,
            self.recovered,
            self.finished,
            self.failures.len()
        )
    }
}

impl Matrix {
    /// Makes the workspace, and sees how a run goes that nobody cuts.
    ///
    /// # Errors
    /// Why nothing can be traced here.
    pub fn of(cut: Cut) -> Result<Self, String> {
        let start = cut.workspace()?;
        let before = trial::of_the_user(&start);
        let uncut = trial::copy(&start);
        let effects = trial::effects(&uncut, cut.run())?;
        let after = trial::outcome(&uncut);
        let (start, effects) = match cut {
            Cut::RunThenUndo | Cut::RunThenResume | Cut::RehearsedThenUndo | Cut::RehearsedThenResume => {
                (start, effects)
            }
            Cut::CopyThenUndo => {
                let counted = trial::copy(&start);
                (start, trial::effects(&counted, COPY)?)
            }
            Cut::Undo | Cut::RehearsedUndo => {
                let counted = trial::copy(&uncut);
                (uncut, trial::effects(&counted, UNDO)?)
            }
            Cut::Recovery => {
                let halfway = trial::copy(&start);
                trial::cut_at(&halfway, RUN, Point::Effect(effects.len() * 2 / 3));
                assert!(trial::is_cut_off(&halfway), "nothing to recover from");
                let counted = trial::copy(&halfway);
                (halfway, trial::effects(&counted, RECOVER)?)
            }
        };
        let timed = trial::copy(&start);
        Ok(Self {
            cut,
            takes: trial::busy(&timed, cut.command()),
            start,
            before,
            after,
            effects,
        })
    }

    /// The points that are worth an effort.
    #[must_use]
    pub fn points(&self, effort: Effort) -> Vec<Point> {
        let all = self.effects.len();
        match effort {
            Effort::Evenly(count) => (1..=count)
                .map(|number| Point::Effect((number * all).div_ceil(count)))
                .collect(),
            Effort::All => (1..=all).map(Point::Effect).collect(),
            Effort::AtRandom(count) => {
                let mut state = u64::try_from(count).unwrap_or(1);
                // As long as a run is busy here, and a little longer.
                let span = u64::try_from(self.takes.as_micros()).unwrap_or(u64::MAX) / 4 * 5;
                (0..count)
                    .map(|_| Point::Time(Duration::from_micros(random(&mut state) % span.max(1))))
                    .collect()
            }
        }
    }

    /// Tries each point.
    #[must_use]
    pub fn try_points(&self, points: &[Point]) -> Tally {
        let next = AtomicUsize::new(0);
        let tally = Mutex::new(Tally::default());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(&point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let fate = self.attempt(point);
                        let mut tally = tally.lock().expect("nobody panics with it");
                        tally.points += 1;
                        match fate {
                            Ok(Fate::Untouched) => tally.untouched += 1,
                            Ok(Fate::Recovered) => tally.recovered += 1,
                            Ok(Fate::Finished) => tally.finished += 1,
                            Err(why) => tally.failures.push(format!(
                                "{:?} at {point:?}{}: {why}",
                                self.cut,
                                self.at(point)
                            )),
                        }
                    }
                });
            }
        });
        tally.into_inner().expect("nobody panics with it")
    }

    fn at(&self, point: Point) -> String {
        match point {
            Point::Effect(number) => self.effects.get(number - 1).map_or_else(String::new, |effect| {
                format!(" ({} {})", effect.call, effect.about)
            }),
            Point::Time(_) => String::new(),
        }
    }

    fn attempt(&self, point: Point) -> Result<Fate, String> {
        let sandbox = trial::copy(&self.start);
        trial::cut_at(&sandbox, self.cut.command(), point);
        let is_cut_off = trial::is_cut_off(&sandbox);
        if is_cut_off {
            trial::says_so(&self.before, &sandbox)?;
        }
        match self.cut {
            Cut::RunThenUndo | Cut::CopyThenUndo | Cut::RehearsedThenUndo => {
                if is_cut_off {
                    trial::comes_back(&self.before, &sandbox, RECOVER)?;
                    return Ok(Fate::Recovered);
                }
                if trial::differences(&self.before, &sandbox).is_empty() {
                    return Ok(Fate::Untouched);
                }
                trial::comes_back(&self.before, &sandbox, UNDO)?;
                Ok(Fate::Finished)
            }
            Cut::RunThenResume | Cut::RehearsedThenResume => {
                if is_cut_off {
                    trial::goes_on(&self.after, &sandbox, RESUME)?;
                    return Ok(Fate::Recovered);
                }
                let untouched = trial::differences(&self.before, &sandbox).is_empty();
                trial::goes_on(&self.after, &sandbox, self.cut.run())?;
                Ok(if untouched {
                    Fate::Untouched
                } else {
                    Fate::Finished
                })
            }
            Cut::Undo | Cut::Recovery | Cut::RehearsedUndo => {
                if is_cut_off {
                    trial::comes_back(&self.before, &sandbox, RECOVER)?;
                    return Ok(Fate::Recovered);
                }
                if trial::differences(&self.before, &sandbox).is_empty() {
                    return Ok(Fate::Finished);
                }
                if self.cut == Cut::Recovery {
                    return Err("half done, and nothing says so".to_owned());
                }
                trial::comes_back(&self.before, &sandbox, UNDO)?;
                Ok(Fate::Untouched)
            }
        }
    }
}

/// The next number of a xorshift generator: the same ones each time.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
