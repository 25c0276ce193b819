//! The other names of a file: hard links.

use crate::base::error::Result;
use crate::host::files::{EntryKind, Step};
use crate::host::sight::Look;
use crate::view::View;
use crate::workspace::Place;

/// The names that a file has besides the one by which it is changed.
#[derive(Debug, Clone, Default)]
pub struct OtherNames {
    /// Those in the workspace.
    known: Vec<Place>,
    /// How many there are elsewhere.
    elsewhere: u64,
}

impl OtherNames {
    /// For a record.
    #[must_use]
    pub fn spelled(&self) -> Vec<String> {
        self.known.iter().map(Place::spelled).collect()
    }

    /// What becomes of them when the file is changed under its own, for people; `None` where there are none.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let mut names: Vec<String> = self.known.iter().map(|place| format!("`{place}`")).collect();
        if self.elsewhere > 0 {
            names.push(format!("{} outside of the workspace", self.elsewhere));
        }
        let keep = if self.known.len() as u64 + self.elsewhere == 1 {
            "its other name keeps"
        } else {
            "its other names keep"
        };
        (!names.is_empty()).then(|| format!("{keep} what it says now: {}", names.join(", ")))
    }
}

impl View {
    /// The other names of the file at a place. Where it has none, nothing is searched.
    ///
    /// # Errors
    /// What the system says.
    pub fn other_names(&self, place: &Place) -> Result<OtherNames> {
        let Some(stat) = self.stat(&place.absolute)? else {
            return Ok(OtherNames::default());
        };
        if stat.kind != EntryKind::File || stat.links < 2 {
            return Ok(OtherNames::default());
        }
        self.look(Look::Files, place)?;
        let mut known = Vec::new();
        for root in self.workspace.roots() {
            self.host.files.walk(root, &mut |entry| {
                self.allowance.check()?;
                let path = root.join(entry.relative);
                if entry.stat.same_thing(&stat) && path != place.absolute {
                    known.push(self.workspace.show(&path));
                }
                Ok(Step::Continue)
            })?;
        }
        let mut there = Vec::new();
        for name in known {
            if self.exists(&name.absolute)? && !there.contains(&name) {
                there.push(name);
            }
        }
        let elsewhere = stat.links.saturating_sub(1).saturating_sub(there.len() as u64);
        Ok(OtherNames {
            known: there,
            elsewhere,
        })
    }
}
