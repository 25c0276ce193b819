//! Opening a database of a backup on trial: a copy of it, with all that belongs to it, which goes again.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::databases::Opener;
use crate::host::files::Demand;
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::Database;
use crate::view::overlay::Overlay;
use crate::workspace::{Place, Workspace};

/// A database that is copied, opened, and forgotten.
#[derive(Debug)]
pub struct TrialOpening {
    /// It, in its backup.
    pub database: Database,
    /// The directory for the copy; nothing stands there before or after.
    pub trial: Place,
    /// What opens it.
    pub opener: Opener,
    /// Where the program runs.
    pub workspace: Workspace,
}

impl Operation for TrialOpening {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn demands(&self) -> Vec<Demand> {
        let to = self.trial.absolute.clone();
        let mut demands = vec![Demand::Make(to.clone())];
        for member in self.database.members() {
            let from = member.absolute.clone();
            demands.push(Demand::Read {
                path: from.clone(),
                contents: true,
            });
            demands.push(Demand::Room { from, to: to.clone() });
        }
        demands
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "nothing is left of a trial".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "open": self.database.main.display, "with": self.opener.name })
    }

    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn pretend(&self, _overlay: &mut Overlay) -> Result<Done> {
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let (files, trial) = (&host.files, &self.trial.absolute);
        // A cut may have left an earlier trial.
        if files.stat(trial)?.is_some() {
            files.remove_tree(permit, trial)?;
        }
        files.make_directories(permit, trial)?;
        let opened = self.open_copy(permit, host);
        let removed = files.remove_tree(permit, trial);
        opened?;
        removed?;
        Ok(Done::default())
    }
}

impl TrialOpening {
    fn open_copy(&self, permit: &Permit, host: &Host) -> Result<()> {
        let mut copy = None;
        for member in self.database.members() {
            let to = self
                .trial
                .absolute
                .join(member.absolute.file_name().unwrap_or_default());
            host.files.copy_across(permit, &member.absolute, &to)?;
            copy = copy.or(Some(to));
        }
        match copy {
            Some(copy) => self
                .opener
                .open(permit, &copy, self.workspace.root(), &host.cancelled),
            None => Ok(()),
        }
    }
}
