//! What is done with a finished backup: adding its digests, and putting it back on trial.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::backup::{restore, verify};
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::Demand;
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// Adds the digests to the manifest of a backup that was made without them.
#[derive(Debug)]
pub struct Seal {
    /// The backup.
    pub backup: Place,
}

/// Restores a backup into a place of ours, compares it with the manifest, and takes it away again.
#[derive(Debug)]
pub struct TrialRestore {
    /// The backup.
    pub backup: Place,
    /// Where to; nothing stands there before or after.
    pub trial: Place,
}

impl Operation for Seal {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn demands(&self) -> Vec<Demand> {
        vec![
            Demand::Read {
                path: self.backup.absolute.clone(),
                contents: true,
            },
            Demand::Replace(self.backup.absolute.join(crate::backup::MANIFEST)),
        ]
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "digests only tell more of the same files".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "seal": self.backup.display })
    }

    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn pretend(&self, _overlay: &mut Overlay) -> Result<Done> {
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let footer = verify::seal(permit, &host.files, &self.backup.absolute)?;
        Ok(Done {
            why: Some(format!("root {}", footer.root)),
            ..Done::default()
        })
    }
}

impl Operation for TrialRestore {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn demands(&self) -> Vec<Demand> {
        let (from, to) = (self.backup.absolute.clone(), self.trial.absolute.clone());
        vec![
            Demand::Make(to.clone()),
            Demand::Read {
                path: from.clone(),
                contents: true,
            },
            Demand::Room { from, to },
        ]
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "nothing is left of a trial".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "restore": self.backup.display, "on_trial_at": self.trial.display })
    }

    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn pretend(&self, _overlay: &mut Overlay) -> Result<Done> {
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let files = &host.files;
        if let Some(parent) = self.trial.absolute.parent() {
            files.make_directories(permit, parent)?;
        }
        // A cut may have left an earlier trial.
        if files.stat(&self.trial.absolute)?.is_some() {
            files.remove_tree(permit, &self.trial.absolute)?;
        }
        let restored = restore::restore(permit, files, &self.backup.absolute, &self.trial.absolute);
        let removed = match files.stat(&self.trial.absolute)? {
            Some(_) => files.remove_tree(permit, &self.trial.absolute),
            None => Ok(()),
        };
        restored?;
        removed?;
        Ok(Done::default())
    }
}
