//! Removing containers, images and volumes through the configured engine; one command for all of a kind.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::docker::{Engine, ObjectKind};
use crate::host::files::Demand;
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::overlay::Overlay;

/// Things of one kind that go.
#[derive(Debug)]
pub struct RemoveFromEngine {
    /// The engine.
    pub engine: Engine,
    /// What they are.
    pub kind: ObjectKind,
    /// Id and name of each.
    pub things: Vec<(String, String)>,
}

impl Operation for RemoveFromEngine {
    fn risk(&self) -> Risk {
        match self.kind {
            ObjectKind::Container | ObjectKind::Image => Risk::Disruptive,
            ObjectKind::Volume => Risk::Irreversible,
        }
    }

    fn needs(&self) -> Vec<Capability> {
        vec![Capability::Containers]
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: format!("a removed {} is made again by whatever made it", self.kind.name()),
        }
    }

    fn effect(&self) -> Value {
        json!({ "remove": self.kind.name() })
    }

    fn facts(&self) -> Vec<Fact> {
        self.things
            .iter()
            .map(|(id, name)| Fact::new(format!("{} {name}", self.kind.name()), json!(id)))
            .collect()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for (id, _) in &self.things {
            overlay.remove_container(id);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let ids: Vec<String> = self.things.iter().map(|(id, _)| id.clone()).collect();
        let cancel = Some(&*host.cancelled);
        match self.kind {
            ObjectKind::Container => self.engine.remove_containers(permit, &ids, cancel)?,
            ObjectKind::Image => self.engine.remove_images(permit, &ids, cancel)?,
            ObjectKind::Volume => self.engine.remove_volumes(permit, &ids, cancel)?,
        }
        Ok(Done::default())
    }
}
