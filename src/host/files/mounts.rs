//! What is mounted inside a tree, from the kernel's own list: one read, however large the tree.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::resolve::on_other_mount;
use super::{EntryKind, Files};
use crate::error::{Error, Result};

const LIST: &str = "/proc/self/mountinfo";

impl Files {
    /// Refuses a tree in which something is mounted.
    ///
    /// # Errors
    /// `Denied` with the mount point; `NotFound`.
    pub fn refuse_mounts(&self, path: &Path) -> Result<()> {
        let place = self.existing_place(path)?;
        let stat = place.existing()?;
        if stat.mount_point {
            return Err(on_other_mount(path));
        }
        if stat.kind != EntryKind::Directory {
            return Ok(());
        }
        let reading = |error: std::io::Error| Error::io(format_args!("read `{LIST}`"), &error);
        let shown_by_kernel = format!("/proc/self/fd/{}", place.parent.as_fd().as_raw_fd());
        let top = std::fs::read_link(shown_by_kernel)
            .map_err(reading)?
            .join(&place.name);
        let list = std::fs::read(LIST).map_err(reading)?;
        for mounted in list.split(|byte| *byte == b'\n').filter_map(mount_point) {
            let Ok(inside) = mounted.strip_prefix(&top) else {
                continue;
            };
            // A mount under another mount is listed too; what can't be reached is not inside.
            let inside = path.join(inside);
            if self.stat(&inside)?.is_some_and(|stat| stat.mount_point) {
                return Err(on_other_mount(&inside));
            }
        }
        Ok(())
    }
}

/// The mount point of a line: its fifth word.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    crate::workspace::aliases::field(line, 4)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn blanks_in_mount_points_are_read_back() {
        let line = b"36 35 98:0 /mnt1 /mnt\\040a/b\\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line).unwrap(), Path::new("/mnt a/b\\c"));
        let odd = b"36 35 98:0 / /mnt/\xff\\04 rw";
        assert_eq!(
            mount_point(odd).unwrap().as_os_str(),
            OsStr::from_bytes(b"/mnt/\xff\\04")
        );
        assert_eq!(mount_point(b""), None);
    }
}
