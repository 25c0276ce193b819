//! Putting in place what a command wrote over a layer of the workspace, as the person saw it in the preview.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::files::{Demand, Mounts};
use crate::host::rehearsals::Rehearsed;
use crate::host::transaction::Steps;
use crate::host::{Host, kept_output};
use crate::operation::Operation;
use crate::operation::moving::{demands, move_one, take_back};
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::{Move, Portrait, Undo};
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// What a command wrote, which comes from its layer into the workspace: together, or not at all. What stood in its place was
/// put away by the step before.
#[derive(Debug)]
pub struct Commit {
    rehearsed: Rc<Rehearsed>,
    /// From the layer, to the workspace.
    moves: Vec<(Place, Place)>,
    /// Where an undo puts what came, in the run's store.
    stored: Vec<Place>,
    /// What comes, as it is.
    were: Vec<Option<Portrait>>,
    times: Vec<Times>,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
}

/// A directory that stays: its modification time before and after, in nanoseconds since the epoch.
#[derive(Debug)]
struct Times {
    place: Place,
    before: i64,
    after: i64,
}

impl Commit {
    /// What comes, of a command that was rehearsed, which needs `needs` itself.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, rehearsed: Rc<Rehearsed>, needs: &[Capability]) -> Result<Self> {
        let root = view.workspace.root();
        let layer = &rehearsed.layer;
        let (mut moves, mut stored, mut were) = (Vec::new(), Vec::new(), Vec::new());
        let (mut needs, mut facts) = (needs.to_vec(), Vec::new());
        for path in &rehearsed.steps.into {
            let (from, to) = (
                view.workspace.show(&layer.place(path)),
                view.workspace.show(&root.join(path)),
            );
            needs.push(view.write(&to, true));
            // What stands in the way is a fact of the step before.
            if !rehearsed.steps.out.contains(path) {
                facts.push(view.fact(&to)?);
            }
            let name = path.file_name().unwrap_or_default();
            stored.push(view.slot("removed", &name.to_string_lossy()));
            // What was opened up to be looked into has another mode until it is there.
            were.push(if view.errand.preview || !layer.modes(path).is_empty() {
                None
            } else {
                Portrait::of(view, &from)?
            });
            moves.push((from, to));
        }
        Ok(Self {
            times: times(view, &rehearsed.steps)?,
            rehearsed,
            moves,
            stored,
            were,
            needs,
            facts,
        })
    }

    fn put(&self, permit: &Permit, host: &Host) -> Result<()> {
        for (index, (from, to)) in self.moves.iter().enumerate() {
            if let Err(error) = move_one(permit, host, from, to, Mounts::Refused) {
                let done = self.moves.get(..index).unwrap_or_default();
                return Err(take_back(permit, host, done, error));
            }
        }
        Ok(())
    }
}

/// The directories that the command, or our moves, touch. What the command left as it was, we leave so, too.
fn times(view: &View, steps: &Steps) -> Result<Vec<Times>> {
    let root = view.workspace.root();
    let mut all: BTreeMap<&Path, Option<i64>> = BTreeMap::new();
    for path in steps.out.iter().chain(&steps.into) {
        all.extend(path.parent().map(|above| (above, None)));
    }
    all.extend(
        steps
            .times
            .iter()
            .map(|(path, time)| (path.as_path(), Some(*time))),
    );
    let mut times = Vec::new();
    for (path, time) in all {
        let place = view.workspace.show(&root.join(path));
        // One that is only pretended has no time yet.
        if let Some(stat) = view.stat(&place.absolute)? {
            times.push(Times {
                place,
                before: stat.mtime_ns,
                after: time.unwrap_or(stat.mtime_ns),
            });
        }
    }
    Ok(times)
}

impl Operation for Commit {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        demands(&self.moves, Mounts::Refused)
    }

    fn undo(&self) -> Undo {
        let moves = self.moves.iter().zip(&self.stored).zip(&self.were);
        Undo::MoveBack {
            moves: moves
                .map(|(((_, to), stored), was)| Move {
                    from: stored.spelled(),
                    to: to.spelled(),
                    was: was.clone(),
                    made: true,
                })
                .collect(),
            times: self
                .times
                .iter()
                .map(|times| (times.place.spelled(), times.before))
                .collect(),
            drop: Vec::new(),
            modes: Vec::new(),
        }
    }

    fn effect(&self) -> Value {
        let comes: Vec<_> = self.moves.iter().map(|(_, to)| &to.display).collect();
        json!({ "comes": comes, "rehearsed": self.rehearsed.digest })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for (from, to) in &self.moves {
            overlay.copy(&from.absolute, &to.absolute);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        self.put(permit, host)?;
        let layer = &self.rehearsed.layer;
        let late = |error: Error| error.after_changes();
        for path in &self.rehearsed.steps.into {
            for (inside, mode) in layer.modes(path) {
                let place = layer.root().join(inside);
                host.files.set_mode(permit, &place, mode).map_err(late)?;
            }
        }
        // The times of those inside first: setting them does not change those around.
        for Times { place, after, .. } in self.times.iter().rev() {
            // The workspace itself changes with every run.
            if place.absolute != layer.root() && host.files.may_set_times(&place.absolute)? {
                host.files
                    .set_mtime(permit, &place.absolute, *after)
                    .map_err(late)?;
            }
        }
        Ok(Done {
            output: Some(kept_output(&self.rehearsed.ran)),
            ..Done::default()
        })
    }
}
