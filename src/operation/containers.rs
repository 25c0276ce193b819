//! Removing containers, images and volumes through the configured engine; one command for all of a kind.

use serde_json::{Value, json};

use crate::base::error::Result;
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::host::docker::Engine;
use crate::host::files::Demand;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::operation::Operation;

/// What an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Containers, running or not.
    Container,
    /// Images.
    Image,
    /// Volumes.
    Volume,
}

impl Kind {
    /// In the singular.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
        }
    }
}

/// Things of one kind that go.
#[derive(Debug)]
pub struct RemoveFromEngine {
    /// The engine.
    pub engine: Engine,
    /// What they are.
    pub kind: Kind,
    /// Id and name of each.
    pub things: Vec<(String, String)>,
}

impl Operation for RemoveFromEngine {
    fn risk(&self) -> Risk {
        match self.kind {
            Kind::Container | Kind::Image => Risk::Disruptive,
            Kind::Volume => Risk::Irreversible,
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
            Kind::Container => self.engine.remove_containers(permit, &ids, cancel)?,
            Kind::Image => self.engine.remove_images(permit, &ids, cancel)?,
            Kind::Volume => self.engine.remove_volumes(permit, &ids, cancel)?,
        }
        Ok(Done::default())
    }
}
