//! Power cuts: what a command wrote is on the disk only as far as it brought it there, and whatever a cut takes of the
//! rest, nothing is lost.

use std::collections::HashSet;

use super::cutter::{Orders, Traced, watch};
use super::disk::{Disk, Drop};
use super::matrix::{Effort, Point};
use super::trial::{self, COPY, RECOVER, RUN, UNDO};
use crate::sandbox::{Sandbox, Snapshot};

/// What a power cut ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// A run.
    Run,
    /// A run that makes its backups by copying.
    Copy,
    /// An undo.
    Undo,
    /// A recovery, after a run that was cut.
    Recover,
    /// `backup create`.
    Backup,
    /// `prune`, of all but the newest of three backups.
    Prune,
}

/// `backup create` of what the run would retire.
const BACKUP: &[&str] = &["backup", "create", ".duckdb"];

/// `prune` of everything that may go.
const PRUNE: &[&str] = &["prune", "--keep-last", "1", "--yes"];

/// What came of the cuts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Moments at which the power was cut.
    pub moments: usize,
    /// Trees that differ, each with something else dropped.
    pub drops: usize,
    /// What was not as it must be.
    pub failures: Vec<String>,
}

/// A command on a disk that remembers.
pub struct Power {
    scene: Scene,
    sandbox: Sandbox,
    /// What the user had before anything.
    before: Snapshot,
    disk: Disk,
}

impl Scene {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Copy => "a run with `--copy`",
            Self::Undo => "an undo",
            Self::Recover => "a recovery",
            Self::Backup => "`backup create`",
            Self::Prune => "`prune`",
        }
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Run => RUN,
            Self::Copy => COPY,
            Self::Undo => UNDO,
            Self::Recover => RECOVER,
            Self::Backup => BACKUP,
            Self::Prune => PRUNE,
        }
    }

    /// A workspace in which its command is next, and what the user had before anything.
    fn prepare(self) -> (Sandbox, Snapshot) {
        let sandbox = trial::workspace();
        let before = trial::of_the_user(&sandbox);
        match self {
            Self::Run | Self::Copy | Self::Backup => {}
            Self::Undo => {
                sandbox.run(RUN).assert_code(0);
            }
            Self::Recover => {
                let counted = trial::copy(&sandbox);
                let effects = trial::effects(&counted, RUN).expect("it could be traced before");
                trial::cut_at(&sandbox, RUN, Point::Effect(effects.len() * 2 / 3));
                assert!(trial::is_cut_off(&sandbox), "nothing to recover from");
            }
            Self::Prune => {
                for _ in 0..3 {
                    sandbox.run(BACKUP).assert_code(0);
                }
            }
        }
        (sandbox, before)
    }

    /// Runs its command in a new workspace with these orders; what it came to, and what must be there again.
    ///
    /// # Errors
    /// Why nothing can be traced here.
    pub fn play(self, orders: Orders) -> Result<(Sandbox, Snapshot, Traced), String> {
        let (sandbox, before) = self.prepare();
        let traced = watch(&sandbox.command(self.command()), orders, &mut ())?;
        Ok((sandbox, before, traced))
    }

    /// Checks that nothing is lost: the tree comes back to what it was, and the records hold. Gives what is wrong.
    ///
    /// # Errors
    /// What is wrong.
    pub fn holds(self, before: &Snapshot, sandbox: &Sandbox) -> Result<(), String> {
        self.holds_but_for(before, sandbox, |_| false)
    }

    /// As [`Scene::holds`], where some differences don't count.
    ///
    /// # Errors
    /// What is wrong.
    pub fn holds_but_for(
        self,
        before: &Snapshot,
        sandbox: &Sandbox,
        counts_not: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let is_cut_off = trial::is_cut_off(sandbox);
        if is_cut_off {
            trial::says_so(before, sandbox)?;
        }
        if matches!(self, Self::Backup | Self::Prune) {
            if is_cut_off {
                let recovered = sandbox.run(RECOVER);
                if recovered.code != Some(0) {
                    return Err(recovered.transcript());
                }
            }
            let mut differences = trial::differences(before, sandbox);
            differences.retain(|line| !line.starts_with("added rollback_backups"));
            if !differences.is_empty() {
                return Err(format!("not as before:\n{}", differences.join("\n")));
            }
            if self == Self::Prune {
                keeps_one(sandbox)?;
            }
            // What was left before anything began goes with the next change.
            return if is_cut_off {
                trial::sound(sandbox)
            } else {
                trial::verified(sandbox)
            };
        }
        if !is_cut_off && trial::differences(before, sandbox).is_empty() {
            return trial::verified(sandbox);
        }
        let back = if is_cut_off { RECOVER } else { UNDO };
        trial::comes_back_but_for(before, sandbox, back, counts_not)
    }
}

/// What is kept by the last backup that is left.
fn keeps_one(sandbox: &Sandbox) -> Result<(), String> {
    let listed = sandbox.run(&["backup", "list", "--json"]);
    let is_whole = |backup: &serde_json::Value| backup["complete"] == true;
    let backups = listed.json()["backups"].clone();
    if backups
        .as_array()
        .is_some_and(|backups| backups.iter().any(is_whole))
    {
        return Ok(());
    }
    Err(format!("no backup is left:\n{}", listed.transcript()))
}

impl Power {
    /// Runs the command of a scene on a disk that remembers.
    ///
    /// # Errors
    /// Why nothing can be traced here.
    pub fn on(scene: Scene) -> Result<Self, String> {
        let (sandbox, before) = scene.prepare();
        let mut disk = Disk::under(&sandbox.root());
        let traced = watch(&sandbox.command(scene.command()), Orders::default(), &mut disk)?;
        assert_eq!(
            traced.code,
            Some(0),
            "the uncut command of {} fails",
            scene.name()
        );
        Ok(Self {
            scene,
            sandbox,
            before,
            disk,
        })
    }

    /// Cuts the power at so many moments, and drops one thing and another each time.
    pub fn cut(&self, effort: Effort) -> Tally {
        let all = self.disk.moments();
        let (moments, seeds): (Vec<usize>, u64) = match effort {
            Effort::Evenly(count) => ((1..=count).map(|number| number * all / count).collect(), 1),
            Effort::All | Effort::AtRandom(_) => ((0..=all).collect(), 4),
        };
        let drops: Vec<Drop> = [Drop::Nothing, Drop::Everything, Drop::Contents, Drop::Names]
            .into_iter()
            .chain((1..=seeds).map(Drop::Some))
            .collect();
        let mut tally = Tally::default();
        let mut tried = HashSet::new();
        for moment in moments {
            tally.moments += 1;
            for drop in &drops {
                let left = self.disk.cut(moment, *drop);
                if !tried.insert(left.digest()) {
                    continue;
                }
                tally.drops += 1;
                self.disk.put(&left);
                if let Err(why) = self.scene.holds(&self.before, &self.sandbox) {
                    tally.failures.push(format!(
                        "{} cut at moment {moment} of {all} ({}), dropped: {drop:?}: {why}",
                        self.scene.name(),
                        self.disk.at(moment)
                    ));
                }
            }
        }
        tally
    }
}
