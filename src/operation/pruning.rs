//! Giving space back: backups and run stores that nobody wants any more go for good.

use serde_json::Value;

use crate::audit::permit::Permit;
use crate::backup::ASIDE;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{Demand, Renamed};
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// A backup, or the store of a run, that goes.
#[derive(Debug)]
pub struct Prune {
    path: Place,
    /// Where it is taken apart, beside it: a cut leaves nothing that looks whole.
    aside: Place,
    facts: Vec<Fact>,
}

impl Prune {
    /// Removal of a directory of ours.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, path: Place) -> Result<Self> {
        let name = path.absolute.file_name().unwrap_or_default().to_string_lossy();
        let aside = if name.starts_with(ASIDE) {
            path.clone()
        } else {
            let parent = path.absolute.parent().unwrap_or(&path.absolute);
            let name = crate::workspace::bounded_name(&name);
            view.workspace.show(&parent.join(format!("{ASIDE}{name}")))
        };
        Ok(Self {
            facts: vec![outside(view, &path)?],
            path,
            aside,
        })
    }
}

/// What is seen of a directory from outside: its contents may be many, and nobody else changes them.
fn outside(view: &View, path: &Place) -> Result<Fact> {
    let stat = view.stat(&path.absolute)?;
    let seen = serde_json::json!(stat.map(|stat| (stat.inode, stat.mtime_ns)));
    Ok(Fact::new(path.display.clone(), seen))
}

impl Operation for Prune {
    fn risk(&self) -> Risk {
        Risk::Irreversible
    }

    fn needs(&self) -> Vec<Capability> {
        // No word makes this: only the person's own command does.
        Vec::new()
    }

    fn demands(&self) -> Vec<Demand> {
        vec![Demand::Remove(self.path.absolute.clone())]
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "it was pruned".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        serde_json::json!({ "prune": self.path.display })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.remove(&self.path.absolute);
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        host.files.refuse_mounts(&self.path.absolute)?;
        if self.aside != self.path {
            match host
                .files
                .rename(permit, &self.path.absolute, &self.aside.absolute)?
            {
                Renamed::Done => {}
                Renamed::CrossDevice => {
                    return Err(Error::bug(format!("`{}` and its neighbour lie apart", self.path)));
                }
            }
        }
        host.files
            .remove_tree(permit, &self.aside.absolute)
            .map_err(Error::after_changes)?;
        Ok(Done::default())
    }
}
