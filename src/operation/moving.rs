//! Moving paths: removal is a move into the run's own store.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{Demand, Mounts, Unsynced};
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::{Move, Portrait, Undo};
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// Paths that move together, or not at all.
#[derive(Debug)]
pub struct MovePaths {
    moves: Vec<(Place, Place)>,
    /// What moves, as it is.
    were: Vec<Option<Portrait>>,
    /// Whether the second places are the script's; else they lie in the run's store.
    both: bool,
    times: Vec<(String, i64)>,
    made: Vec<String>,
    mounts: Mounts,
    /// Mount points, and what leads to them: they stay, emptied.
    staying: Vec<PathBuf>,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
    /// Whether the first places lie in the run's store, not the second ones.
    brings: bool,
    /// Whether each goes back by itself.
    apart: bool,
}

impl MovePaths {
    /// A move of each first place to its second. Only the first places are asked of the policy; with `both`, the
    /// second ones too.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, moves: Vec<(Place, Place)>, both: bool) -> Result<Self> {
        let mut needs = Vec::new();
        let mut facts = Vec::new();
        for (from, to) in &moves {
            needs.push(view.write(from, true));
            if both {
                needs.push(view.write(to, false));
            }
            facts.push(view.fact(from)?);
        }
        let touched: Vec<&Place> = moves
            .iter()
            .flat_map(|(from, to)| if both { vec![from, to] } else { vec![from] })
            .collect();
        let mut staying = Vec::new();
        for (from, _) in &moves {
            staying.extend(view.left_standing(&from.absolute)?);
        }
        let mut made = Vec::new();
        for (_, to) in moves.iter().filter(|_| both) {
            let absent = view.absent_parents(to)?.into_iter();
            made.extend(absent.filter(|absent| !made.contains(absent)).collect::<Vec<_>>());
        }
        Ok(Self {
            times: view.parent_times(&touched)?,
            were: portraits(view, &moves)?,
            moves,
            both,
            made,
            // A name that a person gives to something else can't be given to what is mounted there.
            mounts: if both { Mounts::Refused } else { Mounts::Itself },
            staying,
            needs,
            facts,
            brings: false,
            apart: false,
        })
    }
}

impl MovePaths {
    /// A move out of the run's own store, of what an earlier step of the same word put there: from `standing`, which is
    /// there still, its parts `inside` go from `stored` to the same place again.
    ///
    /// # Errors
    /// What the view says.
    pub fn bringing_back(view: &View, standing: &Place, stored: &Place, inside: &[PathBuf]) -> Result<Self> {
        let mut times = Vec::new();
        let mut moves = Vec::new();
        for path in inside {
            let (from, to) = (stored.absolute.join(path), standing.absolute.join(path));
            // An undo puts the times of the stored directories back.
            if let (Some(above), Some(stored)) = (to.parent(), from.parent())
                && let Some(stat) = view.stat(above)?
            {
                times.push((view.workspace.show(stored).spelled(), stat.mtime_ns));
            }
            moves.push((view.workspace.show(&from), view.workspace.show(&to)));
        }
        times.dedup();
        Ok(Self {
            were: vec![None; moves.len()],
            moves,
            both: false,
            times,
            made: Vec::new(),
            mounts: Mounts::Refused,
            staying: Vec::new(),
            needs: vec![view.write(standing, true)],
            // That of the step that put it away holds all of it.
            facts: Vec::new(),
            brings: true,
            apart: false,
        })
    }

    /// Nothing binds the paths to each other: an undo takes back each by itself.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// What is mounted below goes along, as data.
    #[must_use]
    pub fn with_mounts(mut self) -> Self {
        self.mounts = Mounts::Contents;
        self
    }
}

impl Operation for MovePaths {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        demands(&self.moves, self.mounts)
    }

    fn undo(&self) -> Undo {
        let moves = self
            .moves
            .iter()
            .zip(&self.were)
            .map(|((from, to), was)| Move::new(from.spelled(), to.spelled(), was.clone()))
            .collect();
        Undo::MoveBack {
            moves,
            times: self.times.clone(),
            drop: self.made.clone(),
            modes: Vec::new(),
            apart: self.apart,
        }
    }

    fn effect(&self) -> Value {
        if self.brings {
            let back: Vec<_> = self.moves.iter().map(|(_, to)| &to.display).collect();
            return json!({ "bring_back": back });
        }
        let to = |to: &Place| self.both.then(|| to.display.clone());
        let moves: Vec<_> = self
            .moves
            .iter()
            .map(|(from, target)| (&from.display, to(target)))
            .collect();
        json!({ "move": moves })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        if let Some((_, to)) = self.moves.first() {
            overlay.make_parents(&to.absolute, self.made.len());
        }
        for (from, to) in &self.moves {
            overlay.rename(&from.absolute, &to.absolute);
        }
        for directory in &self.staying {
            overlay.make_directory(directory);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let mut unsynced = Unsynced::default();
        for (index, (from, to)) in self.moves.iter().enumerate() {
            let moved = host.files.below_new_directories(permit, &to.absolute, || {
                host.files
                    .relocate_within(permit, &from.absolute, &to.absolute, self.mounts, &mut unsynced)
            });
            if let Err(error) = moved {
                let done = self.moves.get(..index).unwrap_or_default();
                return Err(take_back(permit, host, done, error));
            }
        }
        match unsynced.sync() {
            Ok(()) => Ok(Done::default()),
            Err(error) => Err(take_back(permit, host, &self.moves, error)),
        }
    }
}

/// What a real pass is about to move, as it is.
fn portraits(view: &View, moves: &[(Place, Place)]) -> Result<Vec<Option<Portrait>>> {
    let look = |(from, _): &(Place, Place)| {
        if view.errand.preview {
            return Ok(None);
        }
        Portrait::of(view, from)
    };
    moves.iter().map(look).collect()
}

/// What moves demand.
#[must_use]
pub fn demands<'a>(moves: impl IntoIterator<Item = &'a (Place, Place)>, mounts: Mounts) -> Vec<Demand> {
    moves
        .into_iter()
        .map(|(from, to)| Demand::Move {
            from: from.absolute.clone(),
            to: to.absolute.clone(),
            mounts,
        })
        .collect()
}

/// Moves one path; across file systems it is copied, compared, and only then removed.
///
/// # Errors
/// [`crate::base::error::Kind::Exists`] where something stands at `to`, otherwise what the system says; `from` is then whole.
pub fn move_one(permit: &Permit, host: &Host, from: &Place, to: &Place, mounts: Mounts) -> Result<()> {
    move_below(permit, host, (from, to), &[], mounts)
}

/// As [`move_one`]; the directories above `to` that are made get the modes that are named for them.
///
/// # Errors
/// As there.
pub fn move_below(
    permit: &Permit,
    host: &Host,
    (from, to): (&Place, &Place),
    modes: &[(PathBuf, u32)],
    mounts: Mounts,
) -> Result<()> {
    host.files.below_directories_of(permit, &to.absolute, modes, || {
        host.files
            .relocate(permit, &from.absolute, &to.absolute, mounts)
            .map(|_| ())
    })
}

/// Takes back moves after a failure; says so where even that fails.
pub fn take_back(permit: &Permit, host: &Host, done: &[(Place, Place)], error: Error) -> Error {
    for (from, to) in done.iter().rev() {
        if let Err(second) = move_one(permit, host, to, from, Mounts::Refused) {
            return error
                .context(format!(
                    "`{from}` now stands at `{to}` and could not be moved back ({second})"
                ))
                .after_changes();
        }
    }
    error
}
