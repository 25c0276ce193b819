//! Changing the text of a file: the former contents go to the run's store first, the new ones in by rename.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{Demand, Expect, Renamed};
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::{Saved, Undo};
use crate::view::overlay::Overlay;
use crate::view::{OtherNames, View};
use crate::workspace::{Place, Workspace};

/// New contents for a file.
#[derive(Debug)]
pub struct Edit {
    place: Place,
    before: Option<String>,
    /// Length of what stands there, in bytes.
    length: u64,
    after: Vec<u8>,
    saved: Place,
    /// Where the new contents are kept too: with them the edit can be taken out of what others make of the file.
    kept: Place,
    risk: Risk,
    times: Vec<(String, i64)>,
    made: Vec<String>,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
    effect: Value,
    names: OtherNames,
}

impl Edit {
    /// New contents for `place`, which holds `before` now (`None`: nothing stands there).
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, place: &Place, before: Option<&[u8]>, after: Vec<u8>) -> Result<Self> {
        let name = place
            .absolute
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let kept = kept_after(&view.workspace, &view.errand.run, &digest(&after));
        let digest = before.map(digest);
        Ok(Self {
            kept,
            facts: vec![view.fact(place)?],
            // Where a program that was not run makes the contents, what becomes of them is known only in the run.
            effect: if view.own().is_unsettled(&place.absolute) {
                Value::Null
            } else {
                json!({ "contents": view.errand.timeless_digest(&after) })
            },
            before: digest,
            length: before.map_or(0, |before| before.len() as u64),
            after,
            saved: view.slot("saved", &name),
            risk: Risk::Reversible,
            times: view.parent_times(&[place])?,
            made: view.absent_parents(place)?,
            needs: vec![view.write(place, false)],
            names: view.other_names(place)?,
            place: place.clone(),
        })
    }

    /// What becomes of the other names of the file, where it has any.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        self.names.remark()
    }

    fn keep(&self, permit: &Permit, host: &Host) -> Result<()> {
        let kept = &self.kept.absolute;
        if host.files.stat(kept)?.is_some() {
            return Ok(());
        }
        if let Some(store) = kept.parent() {
            host.files.make_directories(permit, store)?;
        }
        host.files.write(permit, kept, &self.after, &Expect::Absent)?;
        // The file may be closed to others.
        host.files.set_mode(permit, kept, 0o600)
    }

    /// An edit that the host itself asks for, with nothing of the user's at stake. Its own text holds the date, so that
    /// `effect` says what is written.
    #[must_use]
    pub fn harmless(mut self, effect: Value) -> Self {
        self.risk = Risk::None;
        self.effect = effect;
        self
    }
}

/// What the store of a run keeps of the contents that it gave to files.
pub const AFTER: &str = "after";

/// Where the store of a run keeps the contents with this digest that it gave a file.
#[must_use]
pub fn kept_after(workspace: &Workspace, run: &str, digest: &str) -> Place {
    workspace.show(&workspace.run_directory(run).join(AFTER).join(digest))
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

impl Operation for Edit {
    fn risk(&self) -> Risk {
        self.risk
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        let (place, saved) = (self.place.absolute.clone(), self.saved.absolute.clone());
        let kept = self.kept.absolute.clone();
        let new = Demand::Contents {
            path: place.clone(),
            bytes: self.after.len() as u64,
        };
        let after = [
            Demand::Make(kept.clone()),
            Demand::Contents {
                path: kept,
                bytes: self.after.len() as u64,
            },
        ];
        let mut demands = match self.before {
            None => vec![Demand::Make(place), new],
            Some(_) => vec![
                Demand::Make(saved.clone()),
                Demand::Contents {
                    path: saved,
                    bytes: self.length,
                },
                Demand::Replace(place),
                new,
            ],
        };
        demands.extend(after);
        demands
    }

    fn undo(&self) -> Undo {
        let after = Some(digest(&self.after));
        match self.before {
            None => Undo::RemoveCreated {
                path: self.place.spelled(),
                after,
                created: None,
                made: self.made.clone(),
                times: self.times.clone(),
            },
            Some(_) => Undo::RestoreContents {
                files: vec![Saved {
                    path: self.place.spelled(),
                    saved: self.saved.spelled(),
                    after,
                    before: self.before.clone(),
                    names: self.names.spelled(),
                }],
                times: self.times.clone(),
            },
        }
    }

    fn effect(&self) -> Value {
        self.effect.clone()
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.make_parents(&self.place.absolute, self.made.len());
        overlay.write(&self.place.absolute, self.after.clone());
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        self.keep(permit, host)?;
        match &self.before {
            None => {
                let path = &self.place.absolute;
                host.files.below_new_directories(permit, path, || {
                    host.files.write(permit, path, &self.after, &Expect::Absent)
                })?;
            }
            Some(before) => {
                save(permit, host, &self.place, &self.saved)?;
                host.files.write(
                    permit,
                    &self.place.absolute,
                    &self.after,
                    &Expect::Digest(before.clone()),
                )?;
            }
        }
        Ok(Done::default())
    }
}

/// Copies a file into the run's store; it gets its name there when it is whole.
///
/// # Errors
/// What the system says.
pub fn save(permit: &Permit, host: &Host, place: &Place, saved: &Place) -> Result<()> {
    if let Some(parent) = saved.absolute.parent() {
        host.files.make_directories(permit, parent)?;
    }
    let mut name = saved.absolute.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = saved.absolute.with_file_name(name);
    host.files.copy_file(permit, &place.absolute, &part)?;
    match host.files.rename(permit, &part, &saved.absolute)? {
        Renamed::Done => Ok(()),
        Renamed::CrossDevice => Err(Error::bug(format!("`{saved}` and its neighbour lie apart"))),
    }
}
