//! Commands that a preview runs over a layer of the workspace, with what was pretended before laid under it.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::View;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::base::wording::bytes;
use crate::host::rehearsals::Rehearsed;
use crate::host::transaction::Seed;
use crate::view::overlay::Node;
use crate::workspace::commands_config::Preview;
use crate::workspace::{Place, STATE};

/// What was pretended to stand elsewhere is copied for a command; more than this is not, in bytes.
const COPIED: u64 = 256 << 20;

impl View {
    /// What came of a command that `policy.commands` lists with `preview: overlay`: a preview runs it over a layer, the
    /// passes that follow are given the same. `None` for other programs; unknown, with the reason, where it can't be
    /// rehearsed: then nothing was started.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] for a command that fails, [`crate::base::error::Kind::Changed`] for one that the
    /// preview did not rehearse. Nothing was changed.
    pub fn rehearse(
        &self,
        argv: &[String],
        cwd: &Place,
        environment: &[(String, String)],
        timeout: Duration,
    ) -> Result<Option<Known<Rc<Rehearsed>>>> {
        let listed = &self.workspace.config().policy.commands;
        let program = argv.first().map(String::as_str).unwrap_or_default();
        if listed
            .find(program)
            .is_none_or(|listed| listed.preview == Preview::Skip)
        {
            return Ok(None);
        }
        let number = self.rehearsed.get() + 1;
        self.rehearsed.set(number);
        let key = (self.errand.run.clone(), number);
        let seeds = self.seeds()?;
        // In a real pass what was done before is to be what the preview pretended.
        let asked = format!("{argv:?} {cwd:?} {environment:?} {timeout:?} {seeds:?}");
        let asked = blake3::hash(asked.as_bytes()).to_hex().to_string();
        if let Some(known) = self.host.rehearsals.known(&key, &asked) {
            return Ok(Some(known));
        }
        if !self.errand.preview {
            return Err(Error::changed(format!(
                "the preview did not run `{program}` after what was done until now"
            )));
        }
        let invocation = self
            .host
            .listed(argv, &cwd.absolute, environment, Some(timeout))?;
        let rehearsed =
            self.host
                .rehearsals
                .rehearse((key, &asked), &invocation, seeds, &self.host.cancelled)?;
        Ok(Some(rehearsed))
    }

    /// What has been pretended so far, for a command to find; unknown where that can't be laid out.
    fn seeds(&self) -> Result<Known<Vec<Seed>>> {
        let overlay = self.own();
        if let Some(command) = overlay.unsimulated() {
            return Ok(Known::Unknown(format!(
                "what `{command}` changed before is unknown"
            )));
        }
        if let Some(name) = overlay.uninstalled().next() {
            return Ok(Known::Unknown(format!(
                "what the removal of {name} changed before is unknown"
            )));
        }
        let root = self.workspace.root();
        let (state, backups) = (root.join(STATE), self.workspace.backups());
        let is_ours = |path: &Path| path.starts_with(&state) || path.starts_with(&backups);
        let mut seeds = Vec::new();
        let mut copied: u64 = 0;
        for (path, node) in overlay.nodes() {
            // No command has anything to do there.
            if is_ours(path) {
                continue;
            }
            let Ok(inside) = path.strip_prefix(root) else {
                let why = format!("`{}` lies outside of the workspace", path.display());
                return Ok(Known::Unknown(why));
            };
            let inside = inside.to_path_buf();
            seeds.push(match node {
                Node::Gone => Seed::Gone(inside),
                Node::Text(text) => Seed::Text(inside, text.clone()),
                Node::Directory => Seed::Directory(inside),
                Node::Unknown(why) => return Ok(Known::Unknown(why.clone())),
                Node::From(real) => {
                    if self.errand.preview {
                        copied = copied.saturating_add(self.host.files.tree(real)?.bytes);
                    }
                    if copied > COPIED {
                        let limit = bytes(COPIED);
                        return Ok(Known::Unknown(format!(
                            "more than {limit} was moved before, and would have to be copied for it"
                        )));
                    }
                    Seed::From(inside, real.clone())
                }
            });
        }
        for (path, mode) in overlay.modes() {
            if let (false, Ok(inside)) = (is_ours(path), path.strip_prefix(root)) {
                seeds.push(Seed::Mode(inside.to_path_buf(), mode));
            }
        }
        Ok(Known::Yes(seeds))
    }
}
