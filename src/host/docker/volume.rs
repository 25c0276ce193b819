//! Reading a whole volume out of an engine, as a tar archive.

use std::sync::atomic::AtomicBool;

use super::{Engine, is_identifier};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::commands::{Ran, Sink, look_through, run};

impl Engine {
    /// Gives the contents of a volume to `sink`, as a tar archive of what is in it.
    ///
    /// Engines read volumes only through a container: one is made of an empty image, never started, and both go again,
    /// whatever happens. (Podman can export by itself, but not through its service.)
    ///
    /// # Errors
    /// `invalid` for what is no volume's name, `failed` with the engine's words, what `sink` says.
    pub fn export_volume(
        &self,
        permit: &Permit,
        volume: &str,
        sink: &mut Sink<'_>,
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        if !is_identifier(volume) {
            return Err(
                Error::invalid(format!("`{}` is no name of a volume", volume.escape_debug()))
                    .hint("use the names that were listed"),
            );
        }
        let image = self.answer(permit, volume, &["import", "/dev/null"], cancel)?;
        let read = self.read_through(permit, volume, &image, sink, cancel);
        // What was made for the reading; the reading's failure is the one to tell.
        let removed = self.answer(permit, volume, &["rmi", &image], None);
        read.and(removed.map(drop))
    }

    fn read_through(
        &self,
        permit: &Permit,
        volume: &str,
        image: &str,
        sink: &mut Sink<'_>,
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        let mount = format!("{volume}:/volume:ro");
        let words = [
            "create",
            "--network",
            "none",
            "--volume",
            &mount,
            image,
            "/nothing",
        ];
        let container = self.answer(permit, volume, &words, cancel)?;
        let source = format!("{container}:/volume/.");
        let copy = self
            .invocation(&["cp", "--archive", &source, "-"])
            .timeout(self.deadline);
        let read = look_through(&copy, sink, cancel).and_then(|ran| self.succeeded(volume, ran));
        let removed = self.answer(permit, volume, &["rm", "--force", &container], None);
        read.and(removed).map(drop)
    }

    /// Runs the engine's program and gives the last line of what it said: an identifier.
    fn answer(
        &self,
        permit: &Permit,
        volume: &str,
        words: &[&str],
        cancel: Option<&AtomicBool>,
    ) -> Result<String> {
        let ran = run(permit, &self.invocation(words).timeout(self.deadline), cancel)?;
        let ran = self.succeeded(volume, ran)?;
        let output = String::from_utf8_lossy(&ran.stdout);
        let last = output.lines().last().unwrap_or_default().trim();
        Ok(last.to_owned())
    }

    fn succeeded(&self, volume: &str, ran: Ran) -> Result<Ran> {
        if ran.succeeded() {
            return Ok(ran);
        }
        Err(Error::failed(format!(
            "`{}` could not read the volume `{volume}`: {}",
            self.program.display(),
            ran.failure()
        ))
        .hint("the volume is as before; look at the engine's own messages"))
    }
}
