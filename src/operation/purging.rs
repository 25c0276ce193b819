//! Removing for good, where a person asked for it with `--purge`: no store keeps what goes.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::{Demand, Mounts};
use crate::operation::Operation;
use crate::operation::moving::move_one;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// A path that goes for good.
#[derive(Debug)]
pub struct Purge {
    path: Place,
    /// Where it is taken apart: in the run's store, so that a cut leaves no half of it in the workspace.
    aside: Place,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
}

impl Purge {
    /// Removal of whatever stands at `path`.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, path: Place, aside: Place) -> Result<Self> {
        Ok(Self {
            needs: vec![view.write(&path, true)],
            facts: vec![view.fact(&path)?],
            path,
            aside,
        })
    }
}

impl Operation for Purge {
    fn risk(&self) -> Risk {
        Risk::Irreversible
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        vec![
            Demand::Move {
                from: self.path.absolute.clone(),
                to: self.aside.absolute.clone(),
                mounts: Mounts::Refused,
            },
            Demand::Remove(self.path.absolute.clone()),
        ]
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "--purge removes for good".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "purge": self.path.display })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.remove(&self.path.absolute);
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        // What something is mounted in must not even be moved.
        move_one(permit, host, &self.path, &self.aside, Mounts::Refused)?;
        host.files
            .remove_tree(permit, &self.aside.absolute)
            .map_err(crate::base::error::Error::after_changes)?;
        Ok(Done::default())
    }
}
