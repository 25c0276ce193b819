//! Closing the directory of backups to others, before something goes into it that they could not reach where it was.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::{Demand, EntryKind};
use crate::operation::{Operation, Proposal};
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// For each class of others (group, everybody): the bit to enter a directory, and all bits of the class.
const CLASSES: [(u32, u32); 2] = [(0o010, 0o070), (0o001, 0o007)];

/// A directory that fewer may enter from now on.
#[derive(Debug)]
pub struct Narrow {
    place: Place,
    before: u32,
    after: u32,
}

impl Narrow {
    /// What must be closed before `source` goes into a backup; `None` where nothing must.
    ///
    /// # Errors
    /// What the view says.
    pub fn before_backup(word: &'static str, view: &View, source: &Place) -> Result<Option<Proposal>> {
        let place = view.workspace.show(&view.workspace.backups());
        let (Some(backups), Some(stat)) = (view.stat(&place.absolute)?, view.stat(&source.absolute)?) else {
            return Ok(None);
        };
        // One that is only pretended will be closed when it is made. A single file goes into a directory that is.
        if backups.inode == 0 || backups.kind != EntryKind::Directory || stat.kind != EntryKind::Directory {
            return Ok(None);
        }
        let before = view.overlay().mode(&place.absolute).unwrap_or(backups.mode);
        let mut after = before;
        for (enter, class) in CLASSES {
            if stat.mode & enter == 0 {
                continue;
            }
            for above in source.absolute.ancestors().skip(1) {
                if view.workspace.roots().iter().any(|root| root == above) {
                    break;
                }
                let Some(stat) = view.stat(above)? else { break };
                let is_other_group = enter == 0o010 && stat.gid != backups.gid && stat.mode & 0o001 == 0;
                if stat.mode & enter == 0 || is_other_group {
                    after &= !class;
                }
            }
        }
        let summary = format!("close `{place}` to others (mode {before:04o} to {after:04o})");
        let narrow = Self {
            place: place.clone(),
            before,
            after,
        };
        Ok((after != before).then(|| {
            Proposal::act(word, place.display, summary, narrow)
                .because(format!("others can't reach `{source}` where it is"))
        }))
    }
}

impl Operation for Narrow {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        vec![Capability::Backup {
            source: self.place.display.clone(),
        }]
    }

    fn undo(&self) -> Undo {
        Undo::SetMode {
            path: self.place.display.clone(),
            was: self.before,
            now: self.after,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact::new(
            format!("{} (mode)", self.place),
            json!(format!("{:04o}", self.before)),
        )]
    }

    fn effect(&self) -> Value {
        json!({ "mode": format!("{:04o}", self.after) })
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.set_mode(&self.place.absolute, self.after);
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        host.files.set_mode(permit, &self.place.absolute, self.after)?;
        Ok(Done::default())
    }
}
