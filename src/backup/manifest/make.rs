//! Writing a manifest while its backup is walked: only a few lines of it are in memory at any time.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Entry, Footer, Header, TOP, Tally, to_line};
use crate::audit::permit::Permit;
use crate::backup::MANIFEST;
use crate::base::error::{Error, Result};
use crate::host::files::{EntryKind, Expect, Files, Survey, Walked, display};

/// Paths that one thread takes at a time, where their contents are read and where not.
pub(in crate::backup) const READ: usize = 16;
pub(in crate::backup) const LOOKED_AT: usize = 256;

/// Where the digests of a new manifest come from.
#[derive(Clone, Copy)]
pub enum Digests<'a> {
    /// None are recorded.
    Without,
    /// Every file is read.
    Computed,
    /// Known from the copying, by the path from the backup's directory.
    Known(&'a (dyn Fn(&Path) -> Option<blake3::Hash> + Sync)),
}

impl std::fmt::Debug for Digests<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Without => "Without",
            Self::Computed => "Computed",
            Self::Known(_) => "Known",
        })
    }
}

/// Writes the manifest of what lies in a backup's directory, durably and in one piece; the directory keeps its mode and
/// modification time. The top directory is an entry where the source is a directory.
///
/// # Errors
/// `Denied` where something is mounted inside; `Changed` for a file that changes while it is read; `Exists` or
/// `Changed` where `expect` does not hold; what the system says. There is then no new manifest.
pub fn make(
    permit: &Permit,
    files: &Files,
    directory: &Path,
    header: &Header,
    digests: Digests<'_>,
    expect: &Expect,
) -> Result<Footer> {
    let before = files
        .stat(directory)?
        .ok_or_else(|| Error::not_found(format!("`{}` does not exist", display(directory))))?;
    let top = match header.kind {
        EntryKind::Directory => Some(Entry::of_top(files, directory)?.to_line()?),
        _ => None,
    };
    let closed = before.mode & 0o300 != 0o300;
    if closed {
        files.set_mode(permit, directory, before.mode | 0o300)?;
    }
    let mut footer = Err(Error::bug("a manifest has no footer"));
    let path = directory.join(MANIFEST);
    let written = files.write_by(permit, &path, expect, &mut |pour, temporary| {
        pour(&to_line(header)?)?;
        let made = lines(files, directory, top.clone(), digests, Path::new(temporary), pour)?;
        pour(&to_line(&made)?)?;
        footer = Ok(made);
        Ok(())
    });
    if closed {
        files.set_mode(permit, directory, before.mode)?;
    }
    files.set_mtime(permit, directory, before.mtime_ns)?;
    written.and(footer)
}

/// Lines of one batch.
#[derive(Default)]
struct Part {
    lines: Vec<u8>,
    entries: u64,
    bytes: u64,
}

fn lines(
    files: &Files,
    directory: &Path,
    top: Option<Vec<u8>>,
    digests: Digests<'_>,
    temporary: &Path,
    pour: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Footer> {
    let mut tally = Tally::default();
    let mut waiting = top;
    let meter = files.meter();
    let look = |relative: &Path,
                found: Option<&Walked<'_>>,
                before: Option<Vec<u8>>,
                part: &mut Part,
                buffer: &mut Vec<u8>| {
        part.lines.extend(before.unwrap_or_default());
        let Some(walked) = found else { return Ok(()) };
        if walked.stat.mount_point {
            return Err(
                Error::denied(format!("`{}` is a mount point", display(walked.path)))
                    .hint("unmount it: a backup does not reach into other file systems"),
            );
        }
        let is_file = walked.stat.kind == EntryKind::File;
        let mut entry = match digests {
            Digests::Computed if is_file => Entry::read(walked, buffer, meter)?,
            _ => Entry::of(walked)?,
        };
        if let (Digests::Known(known), true) = (digests, is_file) {
            entry.blake3 = known(relative).map(|digest| digest.to_hex().to_string());
        } else if is_file {
            meter.file();
        }
        part.entries += 1;
        part.bytes = part.bytes.saturating_add(entry.size);
        entry.add_line(&mut part.lines)
    };
    files.survey(
        directory,
        Survey {
            batch: match digests {
                Digests::Computed => READ,
                Digests::Without | Digests::Known(_) => LOOKED_AT,
            },
            claim: &mut |relative| {
                if relative == Path::new(MANIFEST) || relative == temporary {
                    return Ok(None);
                }
                // The line of the top stands where its path, `.`, sorts.
                let after_top = relative.as_os_str().as_bytes() > TOP.as_bytes();
                Ok(Some(if after_top { waiting.take() } else { None }))
            },
            look: &look,
            keep: &mut |part: Part| {
                tally.add(part.entries, part.bytes, &part.lines);
                pour(&part.lines)
            },
        },
    )?;
    if let Some(top) = waiting {
        tally.add(0, 0, &top);
        pour(&top)?;
    }
    Ok(tally.footer())
}
