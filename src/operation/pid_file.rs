//! Removing the pid file of a service that has ended. The service may have removed it itself by then.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::{Demand, Mounts};
use crate::operation::Operation;
use crate::operation::moving::{demands, move_one};
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::{Move, Portrait, Undo};
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// A pid file that goes into the run's store.
#[derive(Debug)]
pub struct RemovePidFile {
    file: Place,
    /// Where it goes; `None` where it is gone already.
    store: Option<Place>,
    /// What goes, as it is; `None` in a preview.
    was: Option<Portrait>,
    times: Vec<(String, i64)>,
    needs: Vec<Capability>,
    fact: Fact,
}

impl RemovePidFile {
    /// The removal of `file`, which is `there` or was removed by its service meanwhile.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, file: Place, there: bool) -> Result<Self> {
        let name = file
            .absolute
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let store = view.slot("removed", &name.unwrap_or_default());
        // Who wrote to it has ended by now.
        let was = if there && !view.errand.preview {
            Portrait::at_this_moment(view, &file)?.map(|(portrait, _)| portrait)
        } else {
            None
        };
        Ok(Self {
            was,
            store: there.then_some(store),
            times: view.parent_times(&[&file])?,
            needs: vec![view.write(&file, true)],
            fact: view.fact(&file)?,
            file,
        })
    }
}

impl Operation for RemovePidFile {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        match &self.store {
            Some(store) => demands(&[(self.file.clone(), store.clone())], Mounts::Refused),
            None => Vec::new(),
        }
    }

    fn undo(&self) -> Undo {
        match &self.store {
            Some(store) => Undo::MoveBack {
                moves: vec![Move::new(self.file.spelled(), store.spelled(), self.was.clone())],
                times: self.times.clone(),
                drop: Vec::new(),
                modes: Vec::new(),
                apart: false,
            },
            None => Undo::Nothing {
                why: "the service removed its pid file itself".to_owned(),
            },
        }
    }

    fn effect(&self) -> Value {
        json!({ "remove": self.file.display })
    }

    fn facts(&self) -> Vec<Fact> {
        vec![self.fact.clone()]
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        match &self.store {
            Some(store) => overlay.rename(&self.file.absolute, &store.absolute),
            None => overlay.remove(&self.file.absolute),
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let Some(store) = &self.store else {
            return Ok(Done {
                why: Some("the service removed it itself".to_owned()),
                ..Done::default()
            });
        };
        move_one(permit, host, &self.file, store, Mounts::Refused)?;
        Ok(Done::default())
    }
}
