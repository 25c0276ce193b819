//! The world of a rehearsed command: the workspace under an overlay, what others could be spoken to by hidden, and all the
//! rest read-only. Made in a mount namespace of its own, by its first process.

#![expect(
    clippy::disallowed_methods,
    reason = "what is made here is in file systems that only this namespace has"
)]

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind, mount_remount, move_mount,
    open_tree,
};

use super::order::{Order, Refused, SEED_WORK, SEEDED, SOCKETS, UPPER, WORK, by_descriptor};
use super::seed;
use crate::workspace::aliases::field;
use crate::workspace::{CACHE, TEMPORARY};

const LIST: &str = "/proc/self/mountinfo";

/// Where sockets with a path, locks and other people's temporary files are: empty inside, and forgotten at the end.
const HIDDEN: [(&str, &str); 3] = [("/tmp", "1777"), ("/run", "0755"), ("/var/run", "0755")];

/// The devices that hold no data.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

type Step<T> = Result<T, Refused>;

/// Makes all of it. Gives the directories in which the command may write.
pub(super) fn make(order: &Order) -> Step<Vec<OwnedFd>> {
    let overlay = overlay(order)?;
    let proc = unbound(
        "proc",
        &[],
        MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?;
    let sockets = std::fs::read(order.place(SOCKETS)).map_err(Refused::io("read the list of sockets"))?;
    read_only_all()?;
    let devices = devices();
    hide_sockets(&sockets, &order.root)?;
    let mut open: BTreeSet<PathBuf> = BTreeSet::new();
    for (place, mode) in HIDDEN {
        // `/var/run` is a link nearly everywhere.
        let Ok(real) = Path::new(place).canonicalize() else {
            continue;
        };
        if open.insert(real.clone()) {
            attach(
                &unbound("tmpfs", &[("mode", mode)], MountAttrFlags::empty())?,
                &real,
            )?;
        }
    }
    open.insert(private_devices(&devices)?);
    attach(&proc, Path::new("/proc"))?;
    std::fs::create_dir_all(&order.root).map_err(Refused::io("make the place of the workspace"))?;
    attach(&overlay, &order.root)?;
    open.insert(order.root.clone());
    all_else_is_read_only(&open)?;
    for own in [TEMPORARY, CACHE] {
        std::fs::create_dir_all(order.root.join(own)).map_err(Refused::io("make temporary directories"))?;
    }
    open.iter()
        .map(|path| directory(path).map_err(Refused::by("open what may be written")))
        .collect()
}

fn directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// The overlay, mounted nowhere yet. Its directories are named by descriptors: no path is too long, and no sign in one
/// means anything.
fn overlay(order: &Order) -> Step<OwnedFd> {
    let open = |path: &Path| directory(path).map_err(Refused::by("open the directories of the layer"));
    let root = open(&order.root)?;
    let seeds = seed::read(&order.layer).map_err(Refused::io("read what is pretended"))?;
    let Some(seeds) = seeds else {
        let (upper, work) = (open(&order.place(UPPER))?, open(&order.place(WORK))?);
        return laid_over(order, &[&root], &upper, &work);
    };
    let (seeded, seed_work) = (open(&order.place(SEEDED))?, open(&order.place(SEED_WORK))?);
    let over = laid_over(order, &[&root], &seeded, &seed_work)?;
    seed::play(Path::new(&by_descriptor(&over)), &seeds).map_err(Refused::io("lay out what is pretended"))?;
    drop(over);
    let (upper, work) = (open(&order.place(UPPER))?, open(&order.place(WORK))?);
    laid_over(order, &[&seeded, &root], &upper, &work)
}

/// An overlay of these directories, the topmost first.
fn laid_over(order: &Order, lower: &[&OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> Step<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(Refused::by("use OverlayFS, which this kernel lacks"))?;
    let set = |key: &str, value: &str| {
        fsconfig_set_string(&context, key, value)
            .map_err(|error| refused_by(&context, &format!("set `{key}` of an overlay"), error))
    };
    let lower: Vec<String> = lower.iter().map(|open| by_descriptor(*open)).collect();
    set("lowerdir", &lower.join(":"))?;
    set("upperdir", &by_descriptor(upper))?;
    set("workdir", &by_descriptor(work))?;
    set("xino", "off")?;
    set("index", "off")?;
    if order.rights.open_notes {
        fsconfig_set_flag(&context, "userxattr")
            .map_err(|error| refused_by(&context, "set `userxattr` of an overlay", error))?;
    } else {
        set("redirect_dir", "nofollow")?;
        set("metacopy", "off")?;
    }
    fsconfig_create(&context)
        .map_err(|error| refused_by(&context, "lay an overlay over the workspace", error))?;
    let flags = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(Refused::by("mount an overlay"))
}

/// A step that failed, and what the kernel's log of it says.
fn refused_by(context: &OwnedFd, step: &str, error: Errno) -> Refused {
    let mut message = vec![0; 512];
    let length = rustix::io::read(context, message.as_mut_slice()).unwrap_or(0);
    let message = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
    let message = message.trim().trim_start_matches(['e', 'w', 'i']).trim();
    Refused {
        step: if message.is_empty() {
            step.to_owned()
        } else {
            format!("{step} ({message})")
        },
        errno: error.raw_os_error(),
    }
}

/// A new file system of a kind that needs no disk, mounted nowhere yet.
fn unbound(kind: &str, options: &[(&str, &str)], flags: MountAttrFlags) -> Step<OwnedFd> {
    let step = || format!("mount a {kind} of its own");
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(Refused::by(step()))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).map_err(Refused::by(step()))?;
    }
    fsconfig_create(&context).map_err(Refused::by(step()))?;
    let flags = flags | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(Refused::by(step()))
}

fn attach(mount: &OwnedFd, place: &Path) -> Step<()> {
    move_mount(
        mount.as_fd(),
        "",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(Refused::by(format!("mount something at `{}`", place.display())))
}

/// Handles on the devices, before what is at `/dev` is covered. A machine need not have them all.
fn devices() -> Vec<(&'static str, OwnedFd)> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    DEVICES
        .iter()
        .filter_map(|name| Some((*name, open_tree(CWD, format!("/dev/{name}"), flags).ok()?)))
        .collect()
}

/// A `/dev` in which nothing holds data and nothing leads to a terminal. Gives the one directory of it that can be
/// written.
fn private_devices(devices: &[(&str, OwnedFd)]) -> Step<PathBuf> {
    let (top, shared) = (Path::new("/dev"), Path::new("/dev/shm"));
    let step = |error: std::io::Error| Refused::io("fill a `/dev` of its own")(error);
    attach(
        &unbound("tmpfs", &[("mode", "0755")], MountAttrFlags::empty())?,
        top,
    )?;
    for (name, device) in devices {
        let place = top.join(name);
        std::fs::write(&place, "").map_err(step)?;
        attach(device, &place)?;
    }
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, top.join(name)).map_err(step)?;
    }
    std::fs::create_dir(shared).map_err(step)?;
    attach(
        &unbound("tmpfs", &[("mode", "1777")], MountAttrFlags::empty())?,
        shared,
    )?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    mount_remount(top, flags, "").map_err(Refused::by("make `/dev` read-only"))?;
    Ok(shared.to_path_buf())
}

/// What is mounted: its number, where, and how.
fn mounted() -> Step<Vec<(u64, PathBuf, String)>> {
    let list = std::fs::read(LIST).map_err(Refused::io("read the list of mounts"))?;
    let of = |line: &[u8]| {
        let number = field(line, 0)?.to_str()?.parse().ok()?;
        Some((
            number,
            field(line, 4)?,
            field(line, 5)?.to_string_lossy().into_owned(),
        ))
    };
    Ok(list.split(|byte| *byte == b'\n').filter_map(of).collect())
}

/// The flags of a mount that must stay, as its line tells them.
fn kept(options: &str) -> MountFlags {
    let mut flags = MountFlags::empty();
    let mut has_access_time = false;
    for option in options.split(',') {
        flags |= match option {
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "nodiratime" => MountFlags::NODIRATIME,
            "nosymfollow" => MountFlags::NOSYMFOLLOW,
            "noatime" => MountFlags::NOATIME,
            "relatime" => MountFlags::RELATIME,
            _ => MountFlags::empty(),
        };
        has_access_time |= matches!(option, "noatime" | "relatime");
    }
    if has_access_time {
        flags
    } else {
        flags | MountFlags::STRICTATIME
    }
}

fn is_read_only(options: &str) -> bool {
    options.split(',').next() == Some("ro")
}

/// Each mount by itself, with the flags that it has. What can't be reached by its path is passed over here, and looked
/// for at the end.
fn read_only_all() -> Step<()> {
    for (_, point, options) in mounted()? {
        if is_read_only(&options) {
            continue;
        }
        let flags = kept(&options) | MountFlags::BIND | MountFlags::RDONLY;
        match mount_remount(&point, flags, "") {
            Ok(()) | Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::INVAL) => {}
            Err(error) => {
                let step = format!("make `{}` read-only", point.display());
                return Err(Refused::by(step)(error));
            }
        }
    }
    Ok(())
}

/// Asks the kernel whether anything that can be reached may still be written.
fn all_else_is_read_only(open: &BTreeSet<PathBuf>) -> Step<()> {
    for (number, point, options) in mounted()? {
        if is_read_only(&options) || open.contains(&point) {
            continue;
        }
        let reached = rustix::fs::statx(CWD, &point, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)
            .map(|found| found.stx_mnt_id);
        match reached {
            Ok(found) if found == number => {
                return Err(Refused::because(format!(
                    "make `{}` read-only: it still can be written",
                    point.display()
                )));
            }
            // Something else is mounted over it, or nobody of us gets there.
            Ok(_) | Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => {}
            Err(error) => return Err(Refused::by(format!("look at `{}`", point.display()))(error)),
        }
    }
    Ok(())
}

/// Covers each socket that somebody outside has bound to a path: a read-only mount does not keep anybody from speaking to
/// it.
fn hide_sockets(list: &[u8], root: &Path) -> Step<()> {
    for path in list
        .split(|byte| *byte == 0)
        .filter(|path| path.starts_with(b"/"))
    {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        // An overlay knows of no socket below it, and `/dev` and its like are covered as a whole.
        let covered = |above: &&str| path.starts_with(above);
        if path.starts_with(root)
            || HIDDEN
                .iter()
                .map(|(place, _)| place)
                .chain([&"/dev"])
                .any(covered)
        {
            continue;
        }
        match mount_bind("/dev/null", path) {
            // Many have gone, and some were never of this place.
            Ok(()) | Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => {
                return Err(Refused::by(format!("hide the socket `{}`", path.display()))(
                    error,
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_keeps_the_flags_that_it_has() {
        assert_eq!(
            kept("rw,nosuid,nodev,relatime"),
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RELATIME
        );
        assert_eq!(kept("rw"), MountFlags::STRICTATIME);
        assert!(is_read_only("ro,nosuid"));
        assert!(!is_read_only("rw,errors=remount-ro"));
    }
}
