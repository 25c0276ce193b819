//! Where layers are: a directory of this process, outside of the workspace, on its file system if that can be. Its name
//! holds the process and its start, and a lock is held on it, so that the next one can tell what was left behind.

#![expect(
    clippy::disallowed_methods,
    reason = "layers are ours: nothing of a user's is made, changed or removed here"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::order::{REPORT, SEED_WORK, SEEDED, SOCKETS, UPPER, WORK};
use crate::base::error::{Error, Result};
use crate::host::files::imitate_directory;
use crate::host::processes::started;

/// The beginning of the name of each such directory.
const PREFIX: &str = ".rollback-layers-";

/// File systems that can't hold an upper layer: overlays, NFS, FUSE, SMB.
const UNFIT: [i64; 5] = [0x794C_7630, 0x6969, 0x6573_5546, 0xFF53_4D42, 0xFE53_4D42];

/// The least that must be free for a layer to be trusted: less is full.
const LEAST_BYTES: u64 = 1 << 20;
const LEAST_INODES: u64 = 16;

/// Names that are tried before a directory is given up.
const TRIES: u32 = 64;

/// Times that a directory is tried to be removed whose last writer is about to die.
const REMOVALS: u32 = 5;

/// The directory in which this process keeps its layers. Goes when it is dropped.
#[derive(Debug)]
pub(super) struct Nest {
    path: PathBuf,
    /// Holds the lock.
    open: OwnedFd,
    made: u32,
}

/// What a new layer is before anything was written.
#[derive(Debug)]
pub(super) struct Empty {
    /// Its directory.
    pub(super) path: PathBuf,
    /// Whether its top has the workspace's owner.
    pub(super) owned: bool,
}

impl Nest {
    /// Makes it where it fits best, and removes what dead processes left in such places.
    ///
    /// # Errors
    /// `Failed` where no place will do.
    pub(super) fn make(root: &Path) -> Result<Self> {
        let device = root
            .metadata()
            .map_err(|error| Error::io(format_args!("look at `{}`", root.display()), &error))?
            .dev();
        let mut places: Vec<(bool, PathBuf)> = candidates(root)
            .into_iter()
            .filter_map(|place| {
                let place = place.canonicalize().ok()?;
                let metadata = place.metadata().ok().filter(std::fs::Metadata::is_dir)?;
                let fits = !place.starts_with(root) && is_fit(&place);
                fits.then_some((metadata.dev() != device, place))
            })
            .collect();
        // Stable: what stands first among those of one file system stays first.
        places.sort_by_key(|(elsewhere, _)| *elsewhere);
        for (_, place) in &places {
            sweep(place);
        }
        let mut refused = Vec::new();
        for (_, place) in &places {
            match Self::make_in(place) {
                Ok(nest) => return Ok(nest),
                Err(error) => refused.push(format!("`{}`: {error}", place.display())),
            }
        }
        Err(Error::failed(format!(
            "no directory outside of the workspace can hold a layer ({})",
            if refused.is_empty() {
                "none is on a file system that can".to_owned()
            } else {
                refused.join("; ")
            }
        )))
    }

    fn make_in(place: &Path) -> std::io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let began = started(pid).ok_or(std::io::ErrorKind::NotFound)?;
        for number in 0..TRIES {
            let path = place.join(format!("{PREFIX}{pid}-{began}-{number}"));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let open = directory(&path)?;
                    rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive)?;
                    return Ok(Self { path, open, made: 0 });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is, and another handle on it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn handle(&self) -> Result<(PathBuf, OwnedFd)> {
        let open = self.open.try_clone();
        let open = open.map_err(|error| Error::io("hold the directory of layers", &error))?;
        Ok((self.path.clone(), open))
    }

    /// An empty layer whose top is as the workspace's.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn layer(&mut self, root: &Path) -> Result<Empty> {
        let path = self.path.join(self.made.to_string());
        self.made += 1;
        let owned = fill(&path, root).inspect_err(|_| {
            // What the next one sweeps is nobody's loss.
            let _ = remove(&path);
        })?;
        Ok(Empty { path, owned })
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // What can't be removed now is swept by the next process.
        let _ = remove(&self.path);
    }
}

fn fill(path: &Path, root: &Path) -> Result<bool> {
    let making = |error: std::io::Error| Error::io("make a layer", &error);
    for name in ["", UPPER, WORK, SEEDED, SEED_WORK] {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).create(path.join(name)).map_err(making)?;
    }
    std::fs::write(path.join(REPORT), "").map_err(making)?;
    std::fs::write(path.join(SOCKETS), bound_sockets().map_err(making)?).map_err(making)?;
    let like = directory(root).map_err(making)?;
    let mut owned = true;
    for name in [SEEDED, UPPER] {
        let top = path.join(name);
        owned &= imitate_directory(directory(&top).map_err(making)?.as_fd(), like.as_fd(), &top)?;
    }
    Ok(owned)
}

/// The paths of all sockets that are bound to one, each with a zero byte behind it.
fn bound_sockets() -> std::io::Result<Vec<u8>> {
    let list = match std::fs::read("/proc/net/unix") {
        Ok(list) => list,
        // A kernel without such sockets.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for line in list.split(|byte| *byte == b'\n') {
        let Some(at) = line.windows(2).position(|pair| pair == b" /") else {
            continue;
        };
        paths.extend_from_slice(line.get(at + 1..).unwrap_or_default());
        paths.push(0);
    }
    Ok(paths)
}

fn directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Directories in which a layer may lie, the best first.
fn candidates(root: &Path) -> Vec<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(variable("XDG_CACHE_HOME"));
    places.extend(variable("HOME").map(|home| home.join(".cache")));
    places.extend([PathBuf::from("/var/tmp"), std::env::temp_dir()]);
    places.extend(root.parent().map(Path::to_path_buf));
    places.extend(variable("XDG_RUNTIME_DIR"));
    places.push(PathBuf::from("/dev/shm"));
    places
}

fn is_fit(place: &Path) -> bool {
    rustix::fs::statfs(place).is_ok_and(|found| {
        #[allow(clippy::useless_conversion, reason = "the type differs between platforms")]
        let kind = i64::from(found.f_type);
        !UNFIT.contains(&kind)
    })
}

/// Whether there is too little room left for what is written to be all that was to be written; `None` where the system
/// won't say.
pub(super) fn is_full(layer: &Path) -> Option<bool> {
    let room = rustix::fs::statvfs(layer).ok()?;
    let bytes = room.f_bavail.saturating_mul(room.f_frsize);
    Some(bytes < LEAST_BYTES || (room.f_files > 0 && room.f_favail < LEAST_INODES))
}

/// The process that a directory of layers is of, and when that started.
fn owner(name: &str) -> Option<(i32, u64)> {
    let mut words = name.strip_prefix(PREFIX)?.split('-');
    let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next()?.parse::<u32>().ok()?;
    words.next().is_none().then_some(owner)
}

/// Removes what processes left that are gone. A process of another container is not seen, but its lock is.
fn sweep(place: &Path) {
    let Ok(listed) = std::fs::read_dir(place) else {
        return;
    };
    let user = rustix::process::geteuid().as_raw();
    for entry in listed.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let Some((pid, began)) = name.to_str().and_then(owner) else {
            continue;
        };
        let path = entry.path();
        let is_ours = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == user);
        if !is_ours || started(pid) == Some(began) {
            continue;
        }
        let Ok(open) = directory(&path) else { continue };
        if rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What can't be removed is tried again next time.
            let _ = remove(&path);
        }
    }
}

/// Lets the owner of everything below a directory of ours look into all of it. Gives the modes that were taken away, by
/// the paths from there.
///
/// # Errors
/// What the system says.
pub(super) fn loosen(top: &Path) -> std::io::Result<BTreeMap<PathBuf, u32>> {
    let mut modes = BTreeMap::new();
    loosen_below(top, Path::new(""), &mut modes)?;
    Ok(modes)
}

fn loosen_below(top: &Path, below: &Path, modes: &mut BTreeMap<PathBuf, u32>) -> std::io::Result<()> {
    let path = top.join(below);
    let found = path.symlink_metadata()?;
    let least = match (found.is_dir(), found.is_file()) {
        (true, _) => 0o700,
        (_, true) => 0o400,
        _ => return Ok(()),
    };
    let mode = found.permissions().mode() & 0o7777;
    if mode & least != least {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode | least))?;
        modes.insert(below.to_path_buf(), mode);
    }
    if found.is_dir() {
        let names: Vec<OsString> = std::fs::read_dir(&path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<_>>()?;
        for name in names {
            loosen_below(top, &below.join(name), modes)?;
        }
    }
    Ok(())
}

/// Takes the marks of an overlay from a place in a layer and from all below it: its attributes, and what stands for a name
/// that has gone. Attributes of a command that were kept one step aside get their own name again.
///
/// # Errors
/// What the system says.
pub(super) fn unmark(place: &Path, notes: &str) -> std::io::Result<()> {
    let found = place.symlink_metadata()?;
    let aside = format!("{notes}overlay.");
    for name in attribute_names(place)? {
        let Some(rest) = name.strip_prefix(notes.as_bytes()) else {
            continue;
        };
        if name.starts_with(aside.as_bytes()) {
            let mut value = vec![0; rustix::fs::lgetxattr(place, &name, &mut [0_u8; 0])?];
            let length = rustix::fs::lgetxattr(place, &name, value.as_mut_slice())?;
            value.truncate(length);
            let own = [notes.as_bytes(), rest.strip_prefix(b"overlay.").unwrap_or(rest)].concat();
            rustix::fs::lsetxattr(place, own, &value, rustix::fs::XattrFlags::empty())?;
        }
        rustix::fs::lremovexattr(place, &name)?;
    }
    if found.is_dir() {
        let before = found.modified()?;
        let names: Vec<OsString> = std::fs::read_dir(place)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<_>>()?;
        for name in names {
            let inside = place.join(name);
            let found = inside.symlink_metadata()?;
            if found.file_type().is_char_device() && found.rdev() == 0 {
                std::fs::remove_file(&inside)?;
            } else {
                unmark(&inside, notes)?;
            }
        }
        std::fs::File::open(place)?.set_modified(before)?;
    }
    Ok(())
}

fn attribute_names(place: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let length = match rustix::fs::llistxattr(place, &mut [0_u8; 0]) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut list = vec![0_u8; length];
    let length = rustix::fs::llistxattr(place, list.as_mut_slice())?;
    list.truncate(length);
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Removes a directory of ours and all in it, whatever its modes.
///
/// # Errors
/// What the system says.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let mut tries = REMOVALS;
    loop {
        let done = loosen(path).and_then(|_| std::fs::remove_dir_all(path));
        tries -= 1;
        match done {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            // Whoever was killed a moment ago may have written something more.
            Err(error) if tries > 0 && is_passing(&error) => std::thread::yield_now(),
            other => return other,
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    let number = error.raw_os_error();
    [Errno::NOTEMPTY, Errno::NOENT]
        .iter()
        .any(|passing| number == Some(passing.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_directory_is_in_its_name() {
        assert_eq!(owner(".rollback-layers-17-4711-0"), Some((17, 4711)));
        for other in [
            ".rollback-layers-17-4711",
            ".rollback-layers-17-4711-0-1",
            ".rollback-layers-x-1-0",
            "layers-17-4711-0",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let began = started(pid).unwrap();
        let dead = place.path().join(format!("{PREFIX}{pid}-{}-0", began - 1));
        let alive = place.path().join(format!("{PREFIX}{pid}-{began}-0"));
        let held = place.path().join(format!("{PREFIX}{pid}-{}-1", began - 1));
        let other = place.path().join("other");
        for made in [&dead, &alive, &held, &other] {
            std::fs::create_dir_all(made.join("0/work/work")).unwrap();
        }
        std::fs::write(dead.join("0/work/work/file"), "x").unwrap();
        for closed in ["0/work/work", "0/work", "0"] {
            std::fs::set_permissions(dead.join(closed), PermissionsExt::from_mode(0o0)).unwrap();
        }
        let lock = directory(&held).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        sweep(place.path());
        assert_eq!(
            [&dead, &alive, &held, &other].map(|path| path.exists()),
            [false, true, true, true]
        );
    }

    #[test]
    fn modes_that_were_taken_away_are_known() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("d")).unwrap();
        std::fs::write(top.path().join("d/f"), "x").unwrap();
        std::fs::set_permissions(top.path().join("d/f"), PermissionsExt::from_mode(0o4)).unwrap();
        std::fs::set_permissions(top.path().join("d"), PermissionsExt::from_mode(0o0)).unwrap();
        let modes = loosen(top.path()).unwrap();
        assert_eq!(
            modes.into_iter().collect::<Vec<_>>(),
            [(PathBuf::from("d"), 0), (PathBuf::from("d/f"), 0o4)]
        );
        assert_eq!(std::fs::read(top.path().join("d/f")).unwrap(), b"x");
    }
}
