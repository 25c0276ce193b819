//! What is mounted inside a tree, from the kernel's own list: one read, however large the tree.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::resolve::{failure, on_other_mount};
use super::{EntryKind, Files};
use crate::base::error::{Error, Result};

const LIST: &str = "/proc/self/mountinfo";

/// File systems by which the kernel and the system speak, by their magic numbers: procfs, sysfs, both kinds of cgroup,
/// debugfs, tracefs, devpts, securityfs, selinuxfs, bpf, pstore, efivarfs, configfs, mqueue, binfmt_misc, fusectl, autofs,
/// nsfs.
const NO_DATA: [i64; 17] = [
    0x9FA0,
    0x6265_6572,
    0x0027_E0EB,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x1CD1,
    0x7363_6673,
    0xF97C_FF8C,
    0xCAFE_4A11,
    0x6165_676C,
    0xDE5E_81E4,
    0x6265_6570,
    0x1980_0202,
    0x4249_4E4D,
    0x6573_5543,
    0x0187,
];

impl Files {
    /// Refuses a tree in which something is mounted.
    ///
    /// # Errors
    /// `Denied` with the mount point; `NotFound`.
    pub fn refuse_mounts(&self, path: &Path) -> Result<()> {
        match self.mounted(path)?.first() {
            Some(inside) => Err(on_other_mount(inside)),
            None => Ok(()),
        }
    }

    /// The mount points at a path and below it that can be reached, sorted.
    ///
    /// # Errors
    /// `NotFound`; `Failed` where the kernel's list can't be read.
    pub fn mounted(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let place = self.existing_place(path)?;
        let stat = place.existing()?;
        let mut found = Vec::new();
        if stat.mount_point {
            found.push(path.to_path_buf());
        }
        if stat.kind != EntryKind::Directory {
            return Ok(found);
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
            if inside.as_os_str().is_empty() {
                continue;
            }
            // A mount under another mount is listed too; what can't be reached is not inside.
            let inside = path.join(inside);
            if self.stat(&inside)?.is_some_and(|stat| stat.mount_point) {
                found.push(inside);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Whether the file system of a directory holds people's data, and is none of the system's own.
    ///
    /// # Errors
    /// `NotFound`; `Failed` where the system won't say.
    pub fn holds_data(&self, path: &Path) -> Result<bool> {
        let open = self.existing_place(path)?.hold()?;
        is_data(open.as_fd(), path)
    }
}

/// Whether the file system of an open directory holds people's data: a volume of a container, another disk. Others are
/// the system's own.
pub(super) fn is_data(directory: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    Ok(!NO_DATA.contains(&kind_of(directory, path)?))
}

/// The magic number of the file system of an open directory.
pub(super) fn kind_of(directory: BorrowedFd<'_>, path: &Path) -> Result<i64> {
    let kind = rustix::fs::fstatfs(directory)
        .map_err(|error| failure("look at the file system of", path, error))?
        .f_type;
    #[allow(clippy::useless_conversion, reason = "the type differs between platforms")]
    Ok(i64::from(kind))
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
