//! The monitor at work: it reads the logs, looks at memory and processes, has the triggers judged, and does what follows.
//! The judging itself is pure and lies elsewhere.

/// What is looked at.
mod looking;

use std::collections::BTreeMap;
use std::fs::File;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use super::follow::Follower;
use super::ledger::{Powers, Step, Uptime};
use super::notice::{Notice, Sink};
use super::probes::Source;
use super::security::Incident;
use super::state::{Attempt, Loaded, Store};
use super::verdict::Verdict;
use super::{Assessment, Watch};
use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use crate::host::launch::{Ended, Launcher, Order};
use crate::run::Context;
use crate::run::history::History;
use crate::workspace::catalogue::Catalogue;
use crate::workspace::flags::Flags;
use crate::workspace::lock::Lock;
use crate::workspace::monitor_config::Wanted;
use crate::workspace::story::Story;

/// What happened at one judgement.
#[derive(Debug, Default)]
pub struct Round {
    /// When, in ms.
    pub at: i64,
    /// The verdicts.
    pub assessments: Vec<Assessment>,
    /// Incidents of the security log.
    pub incidents: Vec<Incident>,
}

/// The monitor of a workspace.
pub struct Watching {
    context: Context,
    /// The judge.
    pub watch: Watch,
    follower: Follower,
    processes: BTreeMap<String, Vec<(i32, u64)>>,
    attempt: Option<Attempt>,
    running: Option<Receiver<Result<Ended>>>,
    launcher: Option<Launcher>,
    store: Option<(Store, File)>,
    sink: Box<dyn Sink>,
    /// Notices that could not be kept yet.
    unsaid: Vec<Notice>,
    /// What the person should know, each once as long as it lasts.
    pub warnings: Vec<String>,
}

/// The thresholds of the flags file; one that can't be read does not stop the watching.
fn thresholds(context: &Context, warnings: &mut Vec<String>) -> Vec<(String, f64)> {
    let place = context.workspace.flags_file();
    let text = match crate::workspace::text(&place.absolute, crate::host::files::TEXT_LIMIT) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warnings.push(format!(
                "cannot read `{}`: {error}; the default thresholds are used",
                place.display
            ));
            return Vec::new();
        }
    };
    match Flags::parse(&text) {
        Ok(flags) => flags.thresholds().to_vec(),
        Err(error) => {
            warnings.push(format!("{error}; the default thresholds are used"));
            Vec::new()
        }
    }
}

impl Watching {
    /// Opens the monitor of a workspace with what was kept of the last one. Must be called before the program is confined.
    /// Where another monitor is at work, or nothing can be kept, it judges all the same, and does nothing else.
    ///
    /// # Errors
    /// What the configuration says: a trigger about an unknown story.
    pub fn open(context: Context, sink: Box<dyn Sink>, now: i64) -> Result<Self> {
        let mut warnings = context.workspace.warnings.clone();
        let config = &context.workspace.config().monitor;
        let thresholds = thresholds(&context, &mut warnings);
        let (watch, doubts) = Watch::new(config, &thresholds);
        warnings.extend(doubts);
        for trigger in &watch.triggers {
            story_of(&context.catalogue, trigger.story.as_deref(), &trigger.name)?;
        }
        let store = Store::of(&context.host.records);
        let store = match store.lock() {
            Ok(Some(lock)) => Some((store, lock)),
            Ok(None) => {
                warnings.push(
                    "another monitor watches this workspace: this one judges, and does nothing else"
                        .to_owned(),
                );
                None
            }
            Err(error) => {
                warnings.push(format!(
                    "{error}; the monitor judges without a memory, and does nothing else"
                ));
                None
            }
        };
        let root = context.workspace.root().to_path_buf();
        let mut watching = Self {
            follower: Follower::new(&root, Vec::new()),
            context,
            watch,
            processes: BTreeMap::new(),
            attempt: None,
            running: None,
            launcher: None,
            store,
            sink,
            unsaid: Vec::new(),
            warnings,
        };
        watching.load(now);
        Ok(watching)
    }

    fn load(&mut self, now: i64) {
        let Some((store, _)) = &self.store else { return };
        match store.load() {
            Loaded::Absent => {}
            Loaded::Damaged(why) => {
                self.warnings.push(format!(
                    "the monitor's memory can't be used ({why}): it begins anew, and rolls nothing back within the cooldown"
                ));
                // Nobody knows what was done: as if all of it had just been.
                self.watch
                    .memory
                    .ledger
                    .assume_rolled_back(&self.watch.triggers, now);
            }
            Loaded::State(state) => {
                if self.watch.remember(state.memory) {
                    self.follower = Follower::new(self.context.workspace.root(), state.positions);
                }
                self.processes = state.processes;
                self.attempt = state.attempt;
            }
        }
    }

    /// Where it watches, and what lets runs be started (`--auto`), to be called before the program is confined.
    pub fn parts(&mut self) -> (&Context, impl FnOnce() -> Result<()>) {
        let (context, launcher, acts) = (&self.context, &mut self.launcher, self.store.is_some());
        let start = move || {
            if acts {
                *launcher = Some(Launcher::start(context.workspace.root())?);
            }
            Ok(())
        };
        (context, start)
    }

    /// Tells by another way from now on.
    pub fn tell_by(&mut self, sink: Box<dyn Sink>) {
        self.sink = sink;
    }

    /// Where it watches.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether it may do something, beyond judging.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.store.is_some()
    }

    /// What is asked over the network.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        Source::all(&self.watch.config)
    }

    /// Reads the configuration anew.
    ///
    /// # Errors
    /// What is wrong with it: then all stays as it was.
    pub fn reload(&mut self, now: i64) -> Result<()> {
        let workspace = crate::workspace::Workspace::open(self.context.workspace.root())?;
        let catalogue = crate::workspace::catalogue::Catalogue::load(&workspace)?;
        let mut warnings = workspace.warnings.clone();
        let thresholds = thresholds(&self.context, &mut warnings);
        let (mut watch, doubts) = Watch::new(&workspace.config().monitor, &thresholds);
        for trigger in &watch.triggers {
            story_of(&catalogue, trigger.story.as_deref(), &trigger.name)?;
        }
        warnings.extend(doubts);
        let memory = self.watch.memory.clone();
        if !watch.remember(memory) {
            self.follower = Follower::new(self.context.workspace.root(), Vec::new());
        }
        self.watch = watch;
        self.context.workspace = Rc::new(workspace);
        self.context.catalogue = Rc::new(catalogue);
        self.warnings = warnings;
        self.save(now)
    }

    /// Why nothing can be rolled back now.
    fn busy(&self) -> Option<String> {
        if let Some(attempt) = &self.attempt {
            return Some(format!("the rollback of {} has not ended yet", attempt.story));
        }
        let lock = Lock::take(self.context.workspace.root());
        match lock {
            Err(error) if error.kind() == Kind::Locked => Some("another run is at work".to_owned()),
            Err(error) => Some(error.to_string()),
            Ok(_lock) => History::of(&self.context)
                .unfinished()
                .map(|run| format!("run {run} was cut off: `rollback recover` settles it")),
        }
    }

    /// Judges, and does what follows: what is told is in the outbox, and a rollback on disk, before anything else happens.
    ///
    /// # Errors
    /// Where the end of a rollback can't be kept.
    pub fn judge(&mut self, now: i64) -> Result<Round> {
        self.settle(now)?;
        let mut powers = Powers {
            auto: self.launcher.is_some(),
            busy: None,
            max_rollbacks: self.watch.config.max_rollbacks,
            uptime: clock::uptime().map(|(boot, ms)| Uptime { boot, ms }),
        };
        let would = powers.auto
            && self
                .watch
                .triggers
                .iter()
                .any(|trigger| trigger.action == Wanted::Rollback);
        if would && self.watch.has_breach(now) {
            powers.busy = self.busy();
        }
        let mut round = Round {
            at: now,
            assessments: self.watch.judge(&powers, now),
            incidents: self.watch.incidents(now),
        };
        if !self.acts() {
            for assessment in &mut round.assessments {
                assessment.step = Step::Nothing;
            }
            return Ok(round);
        }
        for assessment in &round.assessments {
            if matches!(assessment.step, Step::Alert(_) | Step::Recovery) {
                self.raise(Notice::of(assessment, now));
            }
        }
        for incident in round.incidents.iter().filter(|incident| incident.new) {
            self.raise(Notice::of_incident(incident, now));
        }
        for assessment in &round.assessments {
            if let Step::Rollback(story) = &assessment.step {
                self.begin(assessment, story, now);
            }
        }
        Ok(round)
    }

    /// Begins a rollback: first on disk, then for real.
    fn begin(&mut self, assessment: &Assessment, story: &str, now: i64) {
        let id = Notice::identity(&["attempt", &assessment.trigger.name, story, &now.to_string()]);
        let attempt = Attempt {
            id,
            at: now,
            story: story.to_owned(),
            trigger: assessment.trigger.name.clone(),
            service: assessment.service.clone(),
            why: assessment.judgement.why.clone(),
        };
        let reason = attempt.reason(&assessment.trigger);
        self.attempt = Some(attempt);
        if let Err(error) = self.save(now) {
            // What is not on disk is not done: a monitor after this one would do it again.
            if let Some(attempt) = self.attempt.take() {
                let why = format!("It could not be recorded ({error})");
                self.raise(Notice::of_none(&attempt, &why, now));
            }
            return;
        }
        self.raise(Notice::of(assessment, now));
        let order = Order {
            story: story.to_owned(),
            trigger: assessment.trigger.metric.word().to_owned(),
            reason,
        };
        self.running = self.launcher.as_ref().map(|launcher| launcher.launch(order));
    }

    /// Whether a rollback is at work.
    #[must_use]
    pub fn is_rolling_back(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for the rollback at work.
    ///
    /// # Errors
    /// What can't be kept.
    pub fn wait(&mut self, now: &dyn Fn() -> i64) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let ended = running
            .recv()
            .unwrap_or_else(|_| Err(Error::bug("the thread that starts runs has gone")));
        self.ended(ended, now())
    }

    /// Looks whether the rollback at work has ended, or what became of one of which nobody knows.
    fn settle(&mut self, now: i64) -> Result<()> {
        if let Some(running) = &self.running {
            let ended = match running.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => Err(Error::bug("the thread that starts runs has gone")),
                Ok(ended) => ended,
            };
            self.running = None;
            return self.ended(ended, now);
        }
        let Some(attempt) = self.attempt.clone() else {
            return Ok(());
        };
        if self.store.is_none() {
            return Ok(());
        }
        // A monitor before this one began it, and was ended.
        let Ok(lock) = Lock::take(self.context.workspace.root()) else {
            return Ok(());
        };
        let history = History::of(&self.context);
        let report = history.list()?.into_iter().rev().find(|report| {
            report
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains(&attempt.id))
        });
        let unfinished = history.unfinished();
        drop(lock);
        let notice = match (report, unfinished) {
            // Nobody saw it end: whether it told of its end is not known, and twice is better than never.
            (Some(report), _) => Notice {
                told_by_run: false,
                ..Notice::of_end(
                    &attempt,
                    &serde_json::json!(report),
                    Some(i32::from(report.exit_code)),
                    "",
                    now,
                )
            },
            (None, Some(run)) => Notice::of_cut(&attempt, &run, now),
            (None, None) => Notice::of_none(
                &attempt,
                "The monitor was ended before it began, or it found nothing to do",
                now,
            ),
        };
        self.raise(notice);
        self.attempt = None;
        self.save(now)
    }

    fn ended(&mut self, ended: Result<Ended>, now: i64) -> Result<()> {
        let Some(attempt) = self.attempt.clone() else {
            return Ok(());
        };
        let notice = match ended {
            Ok(ended) => Notice::of_end(&attempt, &ended.document, ended.code, &ended.output, now),
            Err(error) => Notice::of_end(
                &attempt,
                &serde_json::json!({ "message": error.to_string() }),
                None,
                "",
                now,
            ),
        };
        self.raise(notice);
        self.attempt = None;
        self.save(now)
    }

    /// Tells something. What can't be kept now is tried again at the next judgement, in order.
    fn raise(&mut self, notice: Notice) {
        /// More than a full disk can be excused with.
        const MOST: usize = 1000;
        self.unsaid.push(notice);
        while let Some(first) = self.unsaid.first() {
            if let Err(error) = self.sink.raise(first) {
                let problem = format!("an alert can't be kept: {error}; it is tried again");
                if !self.warnings.contains(&problem) {
                    self.warnings.push(problem);
                }
                self.unsaid.truncate(MOST);
                return;
            }
            self.unsaid.remove(0);
        }
    }

    /// Sends what waits to be sent, and comes back after `within` at the latest.
    pub fn deliver(&mut self, within: Duration) -> Vec<String> {
        if !self.acts() {
            return Vec::new();
        }
        if !self.unsaid.is_empty() {
            let first = self.unsaid.remove(0);
            let rest = std::mem::take(&mut self.unsaid);
            for notice in std::iter::once(first).chain(rest) {
                self.raise(notice);
            }
        }
        self.sink.deliver(within)
    }

    /// Keeps what is known now.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&mut self, now: i64) -> Result<()> {
        let Some((store, _)) = &self.store else {
            return Ok(());
        };
        self.watch.memory.metrics.drop_silent(now);
        store.save(
            &self.watch.memory,
            &self.follower.positions(),
            &self.processes,
            self.attempt.as_ref(),
        )
    }
}

/// The story that a trigger names.
fn story_of(catalogue: &Catalogue, id: Option<&str>, trigger: &str) -> Result<Option<Rc<Story>>> {
    let Some(id) = id else { return Ok(None) };
    let found = catalogue.stories().iter().find(|story| story.id == id);
    found.map(|story| Some(Rc::clone(story))).ok_or_else(|| {
        Error::configuration(format!("monitor.triggers: `{trigger}`: there is no story `{id}`"))
            .hint("name the id of a story that `rollback status` lists")
    })
}

/// The verdict of all: a breach before what is not known.
#[must_use]
pub fn whole(assessments: &[Assessment]) -> Verdict {
    let has = |verdict| {
        assessments
            .iter()
            .any(|assessment| assessment.judgement.verdict == verdict)
    };
    if has(Verdict::Breach) {
        Verdict::Breach
    } else if has(Verdict::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Healthy
    }
}
