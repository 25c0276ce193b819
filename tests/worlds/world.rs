//! The worlds: each does one thing to what a word acts on, to the directory around it, or to the whole workspace.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::sandbox::Service;
use crate::worlds::scene::{ORDINARY, STRANGER, Scene, give, ran};
use crate::worlds::words::{Case, Kind};

/// One thing that can be special about the world.
pub struct World {
    /// As it is named in tables.
    pub name: &'static str,
    /// Whether it means something to a word.
    pub fits: fn(&Case) -> bool,
    /// Makes it, or says why it can't be made here.
    pub build: fn(&mut Scene) -> Result<(), String>,
}

/// The world whose things have the longest name that there is.
pub const LONG_NAME: &str = "very long name";

/// The longest name, as it ends in the usual one's ending.
pub fn long_name(thing: &str) -> String {
    let (place, name) = thing.rsplit_once('/').unwrap();
    let ending = name
        .rsplit_once('.')
        .map_or(String::new(), |(_, ending)| format!(".{ending}"));
    format!("{place}/{}{ending}", "n".repeat(255 - ending.len()))
}

fn on_disk(case: &Case) -> bool {
    matches!(case.kind, Kind::Tree | Kind::File | Kind::Place)
}

fn on_things(case: &Case) -> bool {
    matches!(case.kind, Kind::Tree | Kind::File)
}

fn on_trees(case: &Case) -> bool {
    case.kind == Kind::Tree
}

fn on_own_trees(case: &Case) -> bool {
    on_trees(case) && !case.is_slow()
}

fn on_own_things(case: &Case) -> bool {
    on_things(case) && !case.is_slow()
}

fn on_named(case: &Case) -> bool {
    on_own_things(case) && !case.has_fixed_name() && case.word != "set_flag"
}

fn on_processes(case: &Case) -> bool {
    case.kind == Kind::Process
}

fn all(_: &Case) -> bool {
    true
}

fn all_quick(case: &Case) -> bool {
    !case.is_slow()
}

const fn world(
    name: &'static str,
    fits: fn(&Case) -> bool,
    build: fn(&mut Scene) -> Result<(), String>,
) -> World {
    World { name, fits, build }
}

/// Every world.
pub const ALL: &[World] = &[
    world("plain", all, plain),
    world("missing", all_quick, missing),
    world("parent missing", on_own_disk, parent_missing),
    world("parent not writable", on_disk, |scene| {
        owned(scene, scene.place(), 0o755)
    }),
    world("parent not searchable", on_own_disk, |scene| {
        owned(scene, scene.place(), 0o700)
    }),
    world("sticky directory of another user", on_disk, sticky),
    world("workspace not writable", all_quick, |scene| {
        owned(scene, scene.sandbox.root(), 0o755)
    }),
    world("read-only file system", on_disk, |scene| {
        read_only(scene, &scene.place())
    }),
    world("read-only workspace", all_quick, |scene| {
        read_only(scene, &scene.sandbox.root())
    }),
    world("immutable", on_things, |scene| flagged(&scene.thing(), "+i")),
    world("immutable inside", on_own_trees, |scene| {
        flagged(&scene.thing().join("one"), "+i")
    }),
    world("immutable parent", on_own_disk, |scene| {
        flagged(&scene.place(), "+i")
    }),
    world("append-only", on_own_things, |scene| {
        flagged(&scene.thing(), "+a")
    }),
    world("append-only parent", on_own_disk, |scene| {
        flagged(&scene.place(), "+a")
    }),
    world("is a mount", on_things, is_a_mount),
    world("holds a mount", on_trees, |scene| {
        let inside = scene.thing().join("sub");
        scene.move_onto(&["-t", "tmpfs", "tmpfs"], &inside)
    }),
    world("overlay's lower layer", all, lower_layer),
    world("on another file system", on_disk, |scene| {
        let place = scene.place();
        scene.move_onto(&["-t", "tmpfs", "tmpfs"], &place)
    }),
    world("ext4 with room", on_own_disk, |scene| {
        on_ext4(scene, 256).map(|_| ())
    }),
    world("full", on_disk, full),
    world("no inodes", on_own_disk, no_inodes),
    world("backups on another file system", all_quick, |scene| {
        made_mount(scene, "rollback_backups")
    }),
    world("backups on a full file system", all_quick, full_backups),
    world("store on another file system", all_quick, |scene| {
        made_mount(scene, ".rollback")
    }),
    world("no RENAME_NOREPLACE", all, no_replace),
    world("link inside", on_own_things, |scene| {
        linked(scene, "other/real", false)
    }),
    world("link out", on_own_things, |scene| {
        linked(scene, "outside/real", true)
    }),
    world("dangling link", on_own_things, dangling),
    world("parent is a link", on_own_disk, parent_is_a_link),
    world("FIFO", on_own_things, |scene| special(scene, FileType::Fifo, 0)),
    world("socket", on_own_things, |scene| {
        special(scene, FileType::Socket, 0)
    }),
    world("device", on_own_things, |scene| {
        special(scene, FileType::CharacterDevice, makedev(1, 3))
    }),
    world("held open", on_own_things, held_open),
    world("working directory of a process", on_own_trees, |scene| {
        let holder = scene.start(scene.user, &[], "cd \"$1\"");
        stands_by(scene, holder)
    }),
    world("another user's file", on_things, |scene| closed(scene, STRANGER)),
    world("not readable", on_own_things, |scene| closed(scene, scene.user)),
    world("container's mount namespace", on_own_trees, |scene| {
        let through = ["unshare", "--mount", "--propagation", "private"];
        let first = "mount -t tmpfs tmpfs \"$1\" || exit 1";
        let holder = scene.start(0, &through, first);
        stands_by(scene, holder)
    }),
    world("hard-linked", on_own_things, hard_linked),
    world(LONG_NAME, on_named, plain),
    world("name that is not UTF-8", on_own_trees, |scene| {
        let name = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfename");
        let path = scene.thing().join::<&std::ffi::OsStr>(name);
        std::fs::write(&path, "odd\n").unwrap();
        give(&path, scene.user);
        Ok(())
    }),
    world("extended attributes", on_own_things, attributes),
    world("process ignores TERM", on_processes, |scene| {
        scene.serve(scene.user, &[], "trap '' TERM");
        Ok(())
    }),
    world("another user's process", on_processes, |scene| {
        scene.serve(if scene.user == 0 { ORDINARY } else { 0 }, &[], "");
        Ok(())
    }),
    world("process in another mount namespace", on_processes, |scene| {
        let through = ["unshare", "--mount", "--propagation", "private"];
        scene.serve(0, &through, "mount -t tmpfs tmpfs /mnt || exit 1");
        Ok(())
    }),
    world("pid file of another process", on_processes, |scene| {
        scene.serve(scene.user, &[], "");
        scene
            .sandbox
            .write(&scene.thing, format!("{}\n", std::process::id()));
        Ok(())
    }),
];

fn on_own_disk(case: &Case) -> bool {
    on_disk(case) && !case.is_slow()
}

fn plain(scene: &mut Scene) -> Result<(), String> {
    if scene.case.kind == Kind::Process {
        scene.serve(scene.user, &[], "");
    }
    Ok(())
}

fn missing(scene: &mut Scene) -> Result<(), String> {
    if on_things(scene.case) {
        scene.sandbox.remove(&scene.thing);
    }
    Ok(())
}

fn parent_missing(scene: &mut Scene) -> Result<(), String> {
    scene.sandbox.remove(scene.case.place());
    Ok(())
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn owned(scene: &mut Scene, path: PathBuf, bits: u32) -> Result<(), String> {
    let services = plain(scene);
    let owner = if scene.user == 0 { STRANGER } else { 0 };
    rustix::fs::chown(
        &path,
        Some(rustix::fs::Uid::from_raw(owner)),
        Some(rustix::fs::Gid::from_raw(owner)),
    )
    .unwrap();
    mode(&path, bits);
    services
}

fn sticky(scene: &mut Scene) -> Result<(), String> {
    let (place, thing) = (scene.place(), scene.thing());
    give(&place, STRANGER);
    mode(&place, 0o1777);
    if on_things(scene.case) {
        mode(&thing, if scene.is_tree() { 0o777 } else { 0o666 });
    }
    Ok(())
}

fn read_only(scene: &mut Scene, path: &Path) -> Result<(), String> {
    plain(scene)?;
    scene.mount(&["--bind", &path.display().to_string()], path)?;
    ran(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(path))
}

fn flagged(path: &Path, flag: &str) -> Result<(), String> {
    ran(Command::new("chattr").arg(flag).arg(path))
}

fn is_a_mount(scene: &mut Scene) -> Result<(), String> {
    let thing = scene.thing();
    if scene.is_tree() {
        return scene.move_onto(&["-t", "tmpfs", "tmpfs"], &thing);
    }
    let beside = scene.outside().join("mounted");
    ran(Command::new("cp").arg("-a").arg(&thing).arg(&beside))?;
    scene.mount(&["--bind", &beside.display().to_string()], &thing)
}

/// The whole workspace comes from an image, and what is changed lies above it.
fn lower_layer(scene: &mut Scene) -> Result<(), String> {
    let (root, outside) = (scene.sandbox.root(), scene.outside());
    for layer in ["upper", "work"] {
        std::fs::create_dir(outside.join(layer)).unwrap();
    }
    give(&outside, scene.user);
    ran(Command::new("cp").arg("-a").arg(&root).arg(outside.join("lower")))?;
    let outside = outside.display();
    let options = format!("lowerdir={outside}/lower,upperdir={outside}/upper,workdir={outside}/work");
    scene.mount(&["-t", "overlay", "overlay", "-o", &options], &root)?;
    plain(scene)
}

fn on_ext4(scene: &mut Scene, inodes: u32) -> Result<PathBuf, String> {
    let image = scene.image(1 << 20, inodes)?;
    let place = scene.place();
    scene.move_onto(&["-o", "loop", &image], &place)?;
    Ok(place)
}

/// Leaves no block free. What fills it belongs to root, as other people's files do.
fn fill(place: &Path) -> Result<(), String> {
    let mut filler = std::fs::File::create(place.join("filler")).map_err(|error| error.to_string())?;
    for size in [1 << 16, 1 << 10, 1] {
        while std::io::Write::write_all(&mut filler, &vec![1; size]).is_ok() {}
    }
    filler.sync_all().map_err(|error| error.to_string())
}

fn full(scene: &mut Scene) -> Result<(), String> {
    let place = on_ext4(scene, 256)?;
    fill(&place)
}

fn no_inodes(scene: &mut Scene) -> Result<(), String> {
    let place = on_ext4(scene, 32)?;
    for number in 0.. {
        if std::fs::write(place.join(format!("filler {number}")), "").is_err() {
            break;
        }
    }
    Ok(())
}

fn made_mount(scene: &mut Scene, at: &str) -> Result<(), String> {
    plain(scene)?;
    let path = scene.sandbox.path(at);
    std::fs::create_dir(&path).unwrap();
    mode(&path, 0o700);
    give(&path, scene.user);
    scene.move_onto(&["-t", "tmpfs", "tmpfs"], &path)
}

fn full_backups(scene: &mut Scene) -> Result<(), String> {
    plain(scene)?;
    let path = scene.sandbox.path("rollback_backups");
    std::fs::create_dir(&path).unwrap();
    give(&path, scene.user);
    let image = scene.image(1 << 20, 256)?;
    scene.move_onto(&["-o", "loop", &image], &path)?;
    fill(&path)
}

/// The answer of a file system that knows no flags of `rename`.
fn no_replace(scene: &mut Scene) -> Result<(), String> {
    plain(scene)?;
    let injected = [
        "strace",
        "-f",
        "-qq",
        "-o/dev/null",
        "--seccomp-bpf",
        "-e",
        "trace=renameat2",
        "-e",
        "inject=renameat2:error=EINVAL",
    ];
    scene.through = injected.map(str::to_owned).to_vec();
    ran(Command::new("strace").args(&injected[1..]).arg("true"))
}

/// The thing stands at `at`, and a link to it where it was; the link is as the words name it.
fn linked(scene: &mut Scene, at: &str, is_outside: bool) -> Result<(), String> {
    let target = if is_outside {
        scene.outside();
        scene.sandbox.root().parent().unwrap().join(at)
    } else {
        scene.sandbox.path(at)
    };
    std::fs::rename(scene.thing(), &target).unwrap();
    link(scene, &target)
}

fn link(scene: &mut Scene, target: &Path) -> Result<(), String> {
    symlink(target, scene.thing()).unwrap();
    rustix::fs::chownat(
        CWD,
        scene.thing(),
        Some(rustix::fs::Uid::from_raw(scene.user)),
        Some(rustix::fs::Gid::from_raw(scene.user)),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    Ok(())
}

fn dangling(scene: &mut Scene) -> Result<(), String> {
    scene.sandbox.remove(&scene.thing);
    link(scene, Path::new("nowhere"))
}

fn parent_is_a_link(scene: &mut Scene) -> Result<(), String> {
    let target = scene.sandbox.path("other/place");
    std::fs::rename(scene.place(), &target).unwrap();
    symlink(&target, scene.place()).unwrap();
    Ok(())
}

/// In a directory beside its files; else instead of the file.
fn special(scene: &mut Scene, kind: FileType, device: u64) -> Result<(), String> {
    let at = if scene.is_tree() {
        scene.thing().join("special")
    } else {
        scene.sandbox.remove(&scene.thing);
        scene.thing()
    };
    mknodat(CWD, &at, kind, Mode::from_raw_mode(0o600), device).map_err(|error| format!("mknod: {error}"))?;
    give(&at, scene.user);
    Ok(())
}

fn stands_by(scene: &mut Scene, holder: Service) -> Result<(), String> {
    scene.bystanders.push(holder);
    Ok(())
}

fn held_open(scene: &mut Scene) -> Result<(), String> {
    let first = if scene.is_tree() {
        "exec 3<>\"$1/one\""
    } else {
        "exec 3<>\"$1\""
    };
    let holder = scene.start(scene.user, &[], first);
    stands_by(scene, holder)
}

/// Nobody but its owner may look at it, or not even the owner.
fn closed(scene: &mut Scene, owner: u32) -> Result<(), String> {
    let thing = scene.thing();
    give(&thing, owner);
    let bits = match (owner == scene.user, scene.is_tree()) {
        (true, _) => 0,
        (false, true) => 0o700,
        (false, false) => 0o600,
    };
    mode(&thing, bits);
    Ok(())
}

fn hard_linked(scene: &mut Scene) -> Result<(), String> {
    let of = if scene.is_tree() {
        scene.thing().join("one")
    } else {
        scene.thing()
    };
    std::fs::hard_link(of, scene.sandbox.path("other/same")).unwrap();
    Ok(())
}

fn attributes(scene: &mut Scene) -> Result<(), String> {
    let set = |path: &Path| {
        rustix::fs::setxattr(path, "user.origin", b"by hand", rustix::fs::XattrFlags::empty())
            .map_err(|error| format!("setxattr: {error}"))
    };
    set(&scene.thing())?;
    if scene.is_tree() {
        set(&scene.thing().join("one"))?;
    }
    Ok(())
}
