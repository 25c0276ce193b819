//! Giving a file its former inode back, which its other names have kept.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::look::digest_at;
use super::resolve::{Place, failure, temporary_name};
use super::write::{expected, put_in_place};
use super::{EntryKind, Expect, Files};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};

impl Files {
    /// Makes `path` one more name of the file at `other`, in place of what stands at `path`, if that file holds contents with
    /// this digest (BLAKE3, hexadecimal). `false`, with nothing changed, where it does not, and where the file system gives
    /// no second name.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub fn rejoin(
        &self,
        _permit: &Permit,
        path: &Path,
        other: &Path,
        digest: &str,
        expect: &Expect,
    ) -> Result<bool> {
        let place = self.changeable(path)?;
        let before = expected(&place, expect)?;
        let Some(source) = self.place(other)? else {
            return Ok(false);
        };
        let Some(original) = source.stat()?.filter(|stat| stat.kind == EntryKind::File) else {
            return Ok(false);
        };
        // Giving a name to what has it already does nothing, and leaves the temporary one.
        if before.as_ref().is_some_and(|before| before.same_thing(&original)) {
            return Ok(true);
        }
        let temporary = loop {
            let name = temporary_name();
            let (from, to) = (source.parent.as_fd(), place.parent.as_fd());
            match rustix::fs::linkat(from, &source.name, to, &name, AtFlags::empty()) {
                Ok(()) => break name,
                Err(Errno::EXIST) => {}
                Err(
                    Errno::NOENT
                    | Errno::XDEV
                    | Errno::PERM
                    | Errno::ACCESS
                    | Errno::MLINK
                    | Errno::OPNOTSUPP
                    | Errno::NOSYS,
                ) => return Ok(false),
                Err(error) => return Err(failure("give a second name to", other, error)),
            }
        };
        // Asked of the name that nobody else knows: the other one may mean another file by now.
        let holds = |place: &Place| {
            let found = digest_at(place.parent.as_fd(), &temporary, &place.path)?;
            Ok(found.to_hex().as_str() == digest)
        };
        let joined = holds(&place).and_then(|holds| {
            if holds {
                put_in_place(&place, &temporary, expect, before.as_ref())?;
            }
            Ok(holds)
        });
        if !matches!(joined, Ok(true))
            && let Err(left) = rustix::fs::unlinkat(&place.parent, &temporary, AtFlags::empty())
        {
            let temporary = path.with_file_name(&temporary);
            self.leave(&temporary, &failure("remove", &temporary, left));
        }
        if joined? {
            place.sync_parent().map_err(Error::after_changes)?;
            return Ok(true);
        }
        Ok(false)
    }
}
