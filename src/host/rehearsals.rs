//! Commands that a preview has run over a layer of the workspace. A command runs once: the preview that is made again, and
//! the real pass, find here what came of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use tracing::debug;

use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::base::redact::redact;
use crate::host::commands::{Invocation, Ran};
use crate::host::files::{EntryKind, Files};
use crate::host::transaction::{Change, Layer, Left, Seed, Stage, Steps, What};

/// Which command of which pass: the run's id, and its number among the rehearsed ones of the pass.
pub type Key = (String, u32);

/// The stage, and what was rehearsed on it.
#[derive(Debug, Default)]
pub struct Rehearsals {
    stage: OnceLock<std::result::Result<Stage, String>>,
    made: RefCell<BTreeMap<Key, Kept>>,
}

/// What was asked for, and what came of it.
#[derive(Debug)]
struct Kept {
    asked: String,
    known: Known<Rc<Rehearsed>>,
}

/// A command that was rehearsed, and what it would change.
#[derive(Debug)]
pub struct Rehearsed {
    /// How it ended, and what it said.
    pub ran: Ran,
    /// What it changed, path by path.
    pub changes: Vec<Change>,
    /// The same, as moves.
    pub steps: Steps,
    /// BLAKE3 over the changes, in hexadecimal: paths, kinds, modes, owners, contents; no times.
    pub digest: String,
    /// What it wrote.
    pub layer: Layer,
}

impl Rehearsals {
    /// Makes the stage. Must be called before the program is confined, from its last thread. Gives the directory in which
    /// layers will be; `None` where there can be none, which each rehearsal will say.
    ///
    /// # Errors
    /// `Bug` where it was called before.
    pub fn prepare(&self, root: &Path, files: &Files) -> Result<Option<OwnedFd>> {
        let stage = Stage::prepare(root).and_then(|stage| Ok((stage.reserve()?, stage)));
        let (stage, open) = match stage {
            Ok(((path, open), stage)) => {
                let kept = open.try_clone();
                let kept = kept.map_err(|error| Error::io("hold the directory of layers", &error))?;
                files.admit_layers(path, kept)?;
                (Ok(stage), Some(open))
            }
            Err(error) => (Err(error.message().to_owned()), None),
        };
        self.stage
            .set(stage)
            .map_err(|_| Error::bug("the stage was made twice"))?;
        Ok(open)
    }

    /// What came of a command that an earlier pass has rehearsed under this key; `asked` tells whether it is the same one.
    #[must_use]
    pub fn known(&self, key: &Key, asked: &str) -> Option<Known<Rc<Rehearsed>>> {
        let made = self.made.borrow();
        let kept = made.get(key)?;
        (kept.asked == asked).then(|| kept.known.clone())
    }

    /// Runs a command over the workspace and `seeds`, and keeps what comes of it under a key. Unknown, with the reason,
    /// where it can't be rehearsed, or where what it did can't be put in place by moves.
    ///
    /// # Errors
    /// `Failed` for a command that fails, `Changed` where somebody else changed what it changed meanwhile; else as
    /// [`Stage::rehearse`]. Nothing of the workspace was changed.
    pub fn rehearse(
        &self,
        (key, asked): (Key, &str),
        invocation: &Invocation,
        seeds: Known<Vec<Seed>>,
        cancel: &AtomicBool,
    ) -> Result<Known<Rc<Rehearsed>>> {
        let known = match (self.stage.get(), seeds) {
            (None, _) => Known::Unknown("no command is rehearsed here".to_owned()),
            (Some(Err(why)), _) => Known::Unknown(why.clone()),
            (_, Known::Unknown(why)) => Known::Unknown(why),
            (Some(Ok(stage)), Known::Yes(seeds)) => match stage.rehearse(invocation, &seeds, Some(cancel))? {
                Known::Unknown(why) => Known::Unknown(why),
                Known::Yes(rehearsal) => match rehearsal.left {
                    Left::Layer(layer) => read(rehearsal.ran, layer)?,
                    Left::Void(why) => Known::Unknown(why),
                    Left::Nothing => {
                        let program = invocation.program.display();
                        return Err(Error::failed(format!(
                            "`{program}` failed when it was tried over a layer of the workspace: {}",
                            redact(&rehearsal.ran.failure())
                        ))
                        .hint(
                            "nothing was changed: it ran without a network, and with nothing but the workspace to write to; \
                             if it needs more, list it in policy.commands with `preview: skip`",
                        ));
                    }
                },
            },
        };
        if let Known::Unknown(why) = &known {
            debug!(program = %invocation.program.display(), why, "not rehearsed");
        }
        let kept = Kept {
            asked: asked.to_owned(),
            known: known.clone(),
        };
        self.made.borrow_mut().insert(key, kept);
        Ok(known)
    }
}

fn read(ran: Ran, layer: Layer) -> Result<Known<Rc<Rehearsed>>> {
    let changes = layer.changes()?;
    let steps = match Steps::of(&changes) {
        Ok(steps) => steps,
        Err(why) => return Ok(Known::Unknown(why)),
    };
    let digest = digest(&changes, &layer)?;
    layer.release(&steps.into)?;
    Ok(Known::Yes(Rc::new(Rehearsed {
        ran,
        changes,
        steps,
        digest,
        layer,
    })))
}

fn digest(changes: &[Change], layer: &Layer) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for change in changes {
        let Some(after) = change.after else {
            field(change.path.as_os_str().as_encoded_bytes());
            field(b"gone");
            continue;
        };
        // The times of directories are of the moment.
        if change.what == What::Touched && after.kind == EntryKind::Directory {
            continue;
        }
        field(change.path.as_os_str().as_encoded_bytes());
        let seen = format!(
            "{} {:o} {} {}",
            after.kind.name(),
            after.mode,
            after.uid,
            after.gid
        );
        field(seen.as_bytes());
        match after.kind {
            EntryKind::File => {
                let reading = |error: std::io::Error| Error::io("read a layer", &error);
                let mut contents = blake3::Hasher::new();
                contents
                    .update_reader(layer.contents(&change.path)?)
                    .map_err(reading)?;
                field(contents.finalize().as_bytes());
            }
            EntryKind::Symlink => field(layer.target(&change.path)?.as_os_str().as_encoded_bytes()),
            _ => {}
        }
        if let Some(joined) = &change.joins {
            field(joined.as_os_str().as_encoded_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
