//! What a command changed over a layer of the workspace, put in place as the person saw it in the preview.

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

/// What a command removed or replaced goes into the run's store, and what it wrote comes from its layer: together, or not at
/// all.
#[derive(Debug)]
pub struct Commit {
    rehearsed: Rc<Rehearsed>,
    goes: Vec<Goes>,
    comes: Vec<Comes>,
    times: Vec<Times>,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
}

/// Something that goes into the run's store.
#[derive(Debug)]
struct Goes {
    place: Place,
    store: Place,
    was: Option<Portrait>,
}

/// Something that comes from the layer.
#[derive(Debug)]
struct Comes {
    layer: Place,
    place: Place,
    /// Where an undo puts it, in the run's store.
    store: Place,
    was: Option<Portrait>,
}

/// A directory that stays: its modification time before and after, in nanoseconds since the epoch.
#[derive(Debug)]
struct Times {
    place: Place,
    before: i64,
    after: i64,
}

impl Commit {
    /// What a command changed that was rehearsed, which needs `needs` itself.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, rehearsed: Rc<Rehearsed>, needs: &[Capability]) -> Result<Self> {
        let root = view.workspace.root();
        let (layer, steps) = (&rehearsed.layer, &rehearsed.steps);
        let (mut goes, mut comes) = (Vec::new(), Vec::new());
        let (mut needs, mut facts) = (needs.to_vec(), Vec::new());
        let slot = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            view.slot("removed", &name.to_string_lossy())
        };
        // Only a real pass writes down what it was.
        let likeness = |place: &Place, is_wanted: bool| {
            if view.errand.preview || !is_wanted {
                return Ok(None);
            }
            Portrait::of(view, place)
        };
        for path in &steps.out {
            let place = view.workspace.show(&root.join(path));
            needs.push(view.write(&place, true));
            facts.push(view.fact(&place)?);
            goes.push(Goes {
                store: slot(path),
                was: likeness(&place, true)?,
                place,
            });
        }
        for path in &steps.into {
            let place = view.workspace.show(&root.join(path));
            needs.push(view.write(&place, true));
            if !steps.out.contains(path) {
                facts.push(view.fact(&place)?);
            }
            let from = view.workspace.show(&layer.place(path));
            comes.push(Comes {
                store: slot(path),
                // What was opened up to be looked into has another mode until it is there.
                was: likeness(&from, layer.modes(path).is_empty())?,
                layer: from,
                place,
            });
        }
        Ok(Self {
            times: times(view, steps)?,
            goes,
            comes,
            needs,
            facts,
            rehearsed,
        })
    }

    /// All moves, in their order.
    fn moves(&self) -> Vec<(Place, Place)> {
        let goes = self.goes.iter().map(|each| (&each.place, &each.store));
        let comes = self.comes.iter().map(|each| (&each.layer, &each.place));
        goes.chain(comes)
            .map(|(from, to)| (from.clone(), to.clone()))
            .collect()
    }

    /// Where what stands at a place is put.
    fn store_of(&self, place: &Place) -> Option<&Place> {
        let goes = self.goes.iter().find(|goes| goes.place == *place);
        goes.map(|goes| &goes.store)
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
        demands(&self.moves(), Mounts::Refused)
    }

    fn undo(&self) -> Undo {
        let goes = self
            .goes
            .iter()
            .map(|each| Move::new(each.place.spelled(), each.store.spelled(), each.was.clone()));
        let comes = self.comes.iter().map(|each| Move {
            made: true,
            instead_of: self.store_of(&each.place).map(Place::spelled),
            ..Move::new(each.store.spelled(), each.place.spelled(), each.was.clone())
        });
        Undo::MoveBack {
            moves: goes.chain(comes).collect(),
            times: self
                .times
                .iter()
                .map(|times| (times.place.spelled(), times.before))
                .collect(),
            drop: Vec::new(),
            modes: Vec::new(),
            apart: false,
        }
    }

    fn effect(&self) -> Value {
        let goes: Vec<_> = self.goes.iter().map(|each| &each.place.display).collect();
        let comes: Vec<_> = self.comes.iter().map(|each| &each.place.display).collect();
        json!({ "move": goes, "to": comes, "rehearsed": self.rehearsed.digest })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for each in &self.goes {
            overlay.rename(&each.place.absolute, &each.store.absolute);
        }
        for each in &self.comes {
            overlay.copy(&each.layer.absolute, &each.place.absolute);
        }
        for times in &self.times {
            overlay.set_time(&times.place.absolute);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let moves = self.moves();
        for (index, (from, to)) in moves.iter().enumerate() {
            if let Err(error) = move_one(permit, host, from, to, Mounts::Refused) {
                let done = moves.get(..index).unwrap_or_default();
                return Err(take_back(permit, host, done, error));
            }
        }
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
