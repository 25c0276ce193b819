//! Giving something a name that nobody has, also where the file system knows no `RENAME_NOREPLACE` (FUSE, network file
//! systems). A second name can't be given where one is taken, and a directory of ours that is still empty can be replaced
//! by a rename: so nothing of anybody else's ever is.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// A name in an open directory.
pub(super) type Name<'a> = (BorrowedFd<'a>, &'a OsStr);

/// Renames without replacing anything, whatever the file system can.
pub(super) fn rename_new(from: Name<'_>, to: Name<'_>) -> rustix::io::Result<()> {
    if !is_lacking() {
        match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            answer => return answer,
        }
    }
    let kind = rustix::fs::statat(from.0, from.1, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
    if rustix::fs::FileType::from_raw_mode(kind).is_dir() {
        replace_own_directory(from, to)
    } else {
        link_and_unlink(from, to)
    }
}

fn replace_own_directory(from: Name<'_>, to: Name<'_>) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(to.0, to.1, Mode::from_raw_mode(0o700))?;
    rustix::fs::renameat(from.0, from.1, to.0, to.1).map_err(|error| {
        // An empty directory is no loss, and one that is not empty is not removed.
        let _ = rustix::fs::unlinkat(to.0, to.1, AtFlags::REMOVEDIR);
        match error {
            Errno::NOTEMPTY => Errno::EXIST,
            error => error,
        }
    })
}

fn link_and_unlink(from: Name<'_>, to: Name<'_>) -> rustix::io::Result<()> {
    match rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
        Ok(()) => {}
        // No second names here, or none of what belongs to others.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            return replace_own_file(from, to);
        }
        Err(error) => return Err(error),
    }
    let same = inode(from).and_then(|old| Ok(old == inode(to)?));
    let removed = match same {
        Ok(true) => rustix::fs::unlinkat(from.0, from.1, AtFlags::empty()),
        Ok(false) => Err(Errno::AGAIN),
        Err(error) => Err(error),
    };
    removed.inspect_err(|_| {
        // The thing itself still has its former name, or what is there is not it.
        let _ = rustix::fs::unlinkat(to.0, to.1, AtFlags::empty());
    })
}

fn replace_own_file(from: Name<'_>, to: Name<'_>) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = rustix::fs::openat(to.0, to.1, flags, Mode::from_raw_mode(0o600))?;
    let stat = rustix::fs::fstat(&own)?;
    if inode(to)? != (stat.st_dev, stat.st_ino) || stat.st_size != 0 {
        return Err(Errno::EXIST);
    }
    rustix::fs::renameat(from.0, from.1, to.0, to.1).inspect_err(|_| {
        // Ours, and empty.
        let _ = rustix::fs::unlinkat(to.0, to.1, AtFlags::empty());
    })
}

fn inode(name: Name<'_>) -> rustix::io::Result<(u64, u64)> {
    let stat = rustix::fs::statat(name.0, name.1, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether a test plays a file system without the flag: a debug build alone can be told so.
#[cfg(debug_assertions)]
fn is_lacking() -> bool {
    std::env::var_os("ROLLBACK_WITHOUT_NOREPLACE").is_some()
}

#[cfg(not(debug_assertions))]
const fn is_lacking() -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test sets its own scene, below a temporary directory"
    )]

    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    /// A way to rename.
    type Way = fn(Name<'_>, Name<'_>) -> rustix::io::Result<()>;

    const WAYS: [(&str, Way); 3] = [
        ("directory", replace_own_directory),
        ("file", link_and_unlink),
        ("file", replace_own_file),
    ];

    #[test]
    fn a_name_that_is_taken_is_never_replaced_without_the_flag() {
        for (from, way) in WAYS {
            for taken in ["an empty directory", "a file", "a link"] {
                let scene = tempfile::tempdir().unwrap();
                let top = scene.path();
                fs::create_dir_all(top.join("directory/inner")).unwrap();
                fs::write(top.join("file"), "1").unwrap();
                match taken {
                    "a file" => fs::write(top.join("to"), "precious").unwrap(),
                    "a link" => std::os::unix::fs::symlink("nowhere", top.join("to")).unwrap(),
                    _ => fs::create_dir(top.join("to")).unwrap(),
                }
                let open = fs::File::open(top).unwrap();
                let name = |name| (open.as_fd(), OsStr::new(name));
                assert_eq!(way(name(from), name("to")).unwrap_err(), Errno::EXIST, "{taken}");
                assert!(top.join(from).exists());
                assert!(top.join("to").symlink_metadata().is_ok());
            }
        }
    }

    #[test]
    fn a_free_name_is_given_without_the_flag() {
        for (from, way) in WAYS {
            let scene = tempfile::tempdir().unwrap();
            let top = scene.path();
            fs::create_dir_all(top.join("directory/inner")).unwrap();
            fs::write(top.join("file"), "1").unwrap();
            let open = fs::File::open(top).unwrap();
            let name = |name| (open.as_fd(), OsStr::new(name));
            let before = inode(name(from)).unwrap();
            way(name(from), name("to")).unwrap();
            assert_eq!(inode(name("to")).unwrap(), before);
            assert!(!top.join(from).exists());
            // What is not there leaves no claim behind.
            assert_eq!(way(name(from), name("other")).unwrap_err(), Errno::NOENT);
            assert!(!top.join("other").exists());
        }
    }
}
