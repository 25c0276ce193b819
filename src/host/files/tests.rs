#![expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::fixture::{Scene, entries, grow, portrait};
use super::{EntryKind, Expect, Files, Mounts, Relocated, Renamed, Step, Walked};
use crate::audit::permit::Permit;
use crate::base::error::Kind;
use crate::skipped::skipped;

mod changing;
mod race;

fn permit() -> Permit {
    Permit::for_tests()
}

#[test]
fn what_is_absent_is_none_however_it_is_absent() {
    let scene = Scene::new();
    let file = scene.file("file", "x");
    for absent in ["no", "no/no", "file/below"] {
        assert_eq!(scene.files.stat(&scene.path(absent)).unwrap(), None, "{absent}");
    }
    let stat = scene.files.stat(&file).unwrap().unwrap();
    assert_eq!((stat.kind, stat.size, stat.links), (EntryKind::File, 1, 1));
    assert_eq!(
        scene.files.stat(&scene.path("")).unwrap().unwrap().kind,
        EntryKind::Directory
    );
    let dangling = scene.link("dangling", "no");
    assert_eq!(
        scene.files.stat(&dangling).unwrap().unwrap().kind,
        EntryKind::Symlink
    );
}

#[test]
fn nothing_leads_out() {
    let scene = Scene::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    scene.link("door", outside.path());
    let workspace = scene.path("");
    let ways = [
        outside.path().join("secret"),
        scene.path("door/secret"),
        scene.path("../x"),
        scene.path("a/../../x"),
        PathBuf::from("relative"),
        PathBuf::from("/"),
        // A sibling whose name begins as the root's does.
        PathBuf::from(format!("{}x", workspace.display())),
    ];
    for way in ways {
        let reading = scene.files.read(&way, 10).unwrap_err();
        assert_eq!(reading.kind(), Kind::Denied, "{}", way.display());
        let writing = scene
            .files
            .write(&permit(), &way, b"", &Expect::Anything)
            .unwrap_err();
        assert_eq!(writing.kind(), Kind::Denied, "{}", way.display());
        assert_eq!(
            scene.files.remove_tree(&permit(), &way).unwrap_err().kind(),
            Kind::Denied
        );
    }
    let message = scene.files.stat(&scene.path("door/secret")).unwrap_err();
    assert!(
        message.message().contains("passes through the symbolic link"),
        "{message}"
    );
    assert!(message.message().contains("/door"), "{message}");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"s");
}

#[test]
fn a_link_swapped_in_as_a_parent_is_refused() {
    let scene = Scene::new();
    scene.file("data/file", "x");
    scene.file("other/file", "precious");
    let file = scene.path("data/file");
    scene.files.stat(&file).unwrap();
    fs::rename(scene.path("data"), scene.path("moved")).unwrap();
    scene.link("data", "other");
    assert_eq!(
        scene.files.remove_file(&permit(), &file).unwrap_err().kind(),
        Kind::Denied
    );
    assert_eq!(
        scene
            .files
            .rename(&permit(), &file, &scene.path("x"))
            .unwrap_err()
            .kind(),
        Kind::Denied
    );
    assert_eq!(
        scene
            .files
            .make_directories(&permit(), &scene.path("data/new"))
            .unwrap_err()
            .kind(),
        Kind::Denied
    );
    assert_eq!(fs::read(scene.path("other/file")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(scene.path("other")).unwrap().count(), 1);
}

#[test]
fn roots_and_what_holds_them_stay() {
    let scene = Scene::new();
    let inner = scene.directory("outer/inner");
    let files = Files::open(&[scene.path(""), inner.clone()]).unwrap();
    for path in [scene.path(""), scene.path("outer"), inner.clone()] {
        assert_eq!(
            files.remove_tree(&permit(), &path).unwrap_err().kind(),
            Kind::Denied,
            "{}",
            path.display()
        );
        assert_eq!(
            files
                .rename(&permit(), &path, &scene.path("x"))
                .unwrap_err()
                .kind(),
            Kind::Denied
        );
    }
    files
        .write(&permit(), &inner.join("file"), b"x", &Expect::Absent)
        .unwrap();
    assert_eq!(
        files.list(&inner).unwrap(),
        vec![("file".into(), EntryKind::File)]
    );
}

#[test]
fn reading_takes_only_regular_files_up_to_the_limit() {
    let scene = Scene::new();
    let file = scene.file("file", "12345");
    assert_eq!(scene.files.read(&file, 5).unwrap(), b"12345");
    let error = scene.files.read(&file, 4).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(
        error.message().contains("5 bytes") && error.message().contains('4'),
        "{error}"
    );
    let pipe = scene.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    for path in [pipe, scene.link("link", "file"), scene.directory("directory")] {
        assert_eq!(
            scene.files.read(&path, 9).unwrap_err().kind(),
            Kind::Invalid,
            "{}",
            path.display()
        );
        assert_eq!(scene.files.digest(&path).unwrap_err().kind(), Kind::Invalid);
        let written = scene.files.write(&permit(), &path, b"x", &Expect::Anything);
        assert_eq!(written.unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(
        scene.files.digest(&file).unwrap(),
        blake3::hash(b"12345").to_hex().as_str()
    );
    assert_eq!(fs::read(&file).unwrap(), b"12345");
}

#[test]
fn a_write_replaces_what_was_expected_and_keeps_its_attributes() {
    let scene = Scene::new();
    let file = scene.file("file", "old");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let attribute = rustix::fs::setxattr(&file, "user.note", b"kept", rustix::fs::XattrFlags::empty());
    let old = blake3::hash(b"old").to_hex().to_string();

    let refused = scene
        .files
        .write(&permit(), &file, b"new", &Expect::Absent)
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Exists);
    let wrong = Expect::Digest(blake3::hash(b"other").to_hex().to_string());
    assert_eq!(
        scene
            .files
            .write(&permit(), &file, b"new", &wrong)
            .unwrap_err()
            .kind(),
        Kind::Changed
    );
    let gone = scene
        .files
        .write(&permit(), &scene.path("no"), b"new", &Expect::Digest(old.clone()));
    assert_eq!(gone.unwrap_err().kind(), Kind::Changed);
    assert_eq!(fs::read(&file).unwrap(), b"old");

    scene
        .files
        .write(&permit(), &file, b"new", &Expect::Digest(old))
        .unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
    if attribute.is_ok() {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&file, "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
    }
    scene
        .files
        .write(&permit(), &scene.path("fresh"), b"x", &Expect::Absent)
        .unwrap();
    assert_eq!(fs::metadata(scene.path("fresh")).unwrap().mode() & 0o7777, 0o644);
    let names: Vec<_> = scene
        .files
        .list(&scene.path(""))
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["file", "fresh"]);
}

#[test]
fn directories_are_made_or_not_at_all() {
    let scene = Scene::new();
    let made = scene
        .files
        .make_directories(&permit(), &scene.path("a/b/c"))
        .unwrap();
    assert_eq!(made, [scene.path("a"), scene.path("a/b"), scene.path("a/b/c")]);
    assert!(
        scene
            .files
            .make_directories(&permit(), &scene.path("a/b"))
            .unwrap()
            .is_empty()
    );
    scene.file("a/file", "");
    assert_eq!(
        scene
            .files
            .make_directories(&permit(), &scene.path("a/file/x"))
            .unwrap_err()
            .kind(),
        Kind::Exists
    );
    let too_long = scene.path("new/below").join("x".repeat(300));
    scene.files.make_directories(&permit(), &too_long).unwrap_err();
    assert!(!scene.path("new").exists());
}

#[test]
fn a_link_is_no_directory_to_walk() {
    let scene = Scene::new();
    scene.file("tree/file", "1");
    let link = scene.link("link", "tree");
    let walked = scene.files.walk(&link, &mut |_| panic!("the link was followed"));
    let error = walked.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("is not a directory"), "{error}");
}

#[test]
fn a_rename_replaces_nothing() {
    let scene = Scene::new();
    let from = scene.file("from/file", "x");
    let taken = scene.file("taken", "y");
    assert_eq!(
        scene.files.rename(&permit(), &from, &taken).unwrap_err().kind(),
        Kind::Exists
    );
    let inside = scene.path("from/deeper");
    assert_eq!(
        scene
            .files
            .rename(&permit(), &scene.path("from"), &inside)
            .unwrap_err()
            .kind(),
        Kind::Invalid
    );
    assert_eq!(
        scene
            .files
            .rename(&permit(), &scene.path("no"), &inside)
            .unwrap_err()
            .kind(),
        Kind::NotFound
    );
    assert_eq!(fs::read(&taken).unwrap(), b"y");

    let other = tempfile::tempdir().unwrap();
    let files = Files::open(&[scene.path(""), other.path().to_path_buf()]).unwrap();
    let to = other.path().join("file");
    assert_eq!(files.rename(&permit(), &from, &to).unwrap(), Renamed::Done);
    assert_eq!(fs::read(&to).unwrap(), b"x");
}

#[test]
fn removal_takes_links_and_leaves_what_they_point_to() {
    let scene = Scene::new();
    let kept = scene.file("kept/file", "x");
    scene.file("tree/a/b/c", "y");
    scene.link("tree/a/out", scene.path("kept"));
    scene.files.remove_tree(&permit(), &scene.path("tree")).unwrap();
    assert!(!scene.path("tree").exists());
    let link = scene.link("link", "kept");
    scene.files.remove_tree(&permit(), &link).unwrap();
    assert!(fs::symlink_metadata(&link).is_err());
    assert_eq!(fs::read(kept).unwrap(), b"x");
    let error = scene
        .files
        .remove_file(&permit(), &scene.path("kept"))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        scene
            .files
            .remove_tree(&permit(), &scene.path("tree"))
            .unwrap_err()
            .kind(),
        Kind::NotFound
    );
}

#[test]
fn directories_that_their_owner_may_not_write_are_removed_too() {
    let scene = Scene::new();
    scene.file("tree/closed/file", "x");
    fs::set_permissions(scene.path("tree/closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let copy = scene.path("copy");
    scene
        .files
        .copy_tree(&permit(), &scene.path("tree"), &copy, &|_| false)
        .unwrap();
    assert_eq!(portrait(&copy), portrait(&scene.path("tree")));
    scene.files.remove_tree(&permit(), &copy).unwrap();
    scene.files.remove_tree(&permit(), &scene.path("tree")).unwrap();
    assert_eq!(scene.files.list(&scene.path("")).unwrap(), []);
}

#[test]
fn a_walk_is_in_order_and_stops_when_told() {
    let scene = Scene::new();
    for file in ["b/2", "b/1", "a", "c"] {
        scene.file(file, "123");
    }
    scene.link("b/loop", "..");
    let mut seen = Vec::new();
    let top = scene.path("");
    scene
        .files
        .walk(&top, &mut |entry| {
            seen.push(entry.relative.to_string_lossy().into_owned());
            Ok(if entry.relative == Path::new("b/loop") {
                Step::Stop
            } else {
                Step::Continue
            })
        })
        .unwrap();
    assert_eq!(seen, ["a", "b", "b/1", "b/2", "b/loop"]);
    let size = scene.files.tree(&top).unwrap();
    assert_eq!((size.entries, size.files, size.bytes), (6, 4, 12));
    assert_eq!(scene.files.tree(&scene.path("a")).unwrap().entries, 1);
}

#[test]
fn a_copy_is_the_original_in_all_but_place() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    let copy = scene.path("copy");
    let outcome = scene
        .files
        .copy_tree(&permit(), &tree, &copy, &|_| false)
        .unwrap();
    assert_eq!(portrait(&copy), portrait(&tree));
    assert!(outcome.skipped.is_empty() && outcome.not_owned.is_empty());
    let size = scene.files.tree(&tree).unwrap();
    assert_eq!(
        (outcome.entries, outcome.files, outcome.bytes),
        (size.entries, size.files, size.bytes)
    );
    let sparse = |top: &Path| fs::metadata(top.join("sparse")).unwrap().blocks();
    assert!(sparse(&copy) <= sparse(&tree) && sparse(&copy) * 512 < 1 << 20);
    let digest = outcome.copied.get(Path::new("sparse")).unwrap().digest().unwrap();
    assert_eq!(digest, blake3::hash(&fs::read(tree.join("sparse")).unwrap()));
}

#[test]
fn a_copy_leaves_out_what_it_is_told_and_overwrites_nothing() {
    let scene = Scene::new();
    scene.file("tree/a", "1");
    scene.file("tree/b/c", "2");
    let copy = scene.path("copy");
    scene
        .files
        .copy_tree(&permit(), &scene.path("tree"), &copy, &|relative| {
            relative == Path::new("b")
        })
        .unwrap();
    assert_eq!(
        scene.files.list(&copy).unwrap(),
        vec![("a".into(), EntryKind::File)]
    );
    let again = scene
        .files
        .copy_tree(&permit(), &scene.path("tree"), &copy, &|_| false)
        .unwrap_err();
    assert_eq!(again.kind(), Kind::Exists);
    assert_eq!(scene.files.list(&copy).unwrap().len(), 1);
    let inside = scene.path("tree/b/copy");
    let into_itself = scene
        .files
        .copy_tree(&permit(), &scene.path("tree"), &inside, &|_| false)
        .unwrap_err();
    assert_eq!(into_itself.kind(), Kind::Invalid);
}

#[test]
fn a_failed_copy_leaves_nothing() {
    let scene = Scene::new();
    let mut deep = PathBuf::from("tree");
    scene.file("tree/a", "1");
    for _ in 0..300 {
        deep.push("d");
    }
    scene.directory(&deep);
    let copy = scene.path("copy");
    let error = scene
        .files
        .copy_tree(&permit(), &scene.path("tree"), &copy, &|_| false)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(!error.changed_something(), "{error}");
    assert!(!copy.exists());
    // Nor is it removed by halves.
    assert_eq!(
        scene
            .files
            .remove_tree(&permit(), &scene.path("tree"))
            .unwrap_err()
            .kind(),
        Kind::Limit
    );
    assert_eq!(fs::read(scene.path("tree/a")).unwrap(), b"1");
}

#[test]
fn a_move_by_copy_keeps_everything() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    let before = portrait(&tree);
    let to = scene.path("to");
    scene.files.relocate_by_copy(&permit(), &tree, &to).unwrap();
    assert_eq!(portrait(&to), before);
    assert_eq!(
        scene.files.list(&scene.path("")).unwrap(),
        vec![("to".into(), EntryKind::Directory)]
    );
}

#[test]
fn a_move_by_copy_keeps_the_original_where_the_copy_lacks_something() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let before = portrait_without_socket(&tree);
    let error = scene
        .files
        .relocate_by_copy(&permit(), &tree, &scene.path("to"))
        .unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Failed,
        "refused for what the copy lacks, not as a change: {error}"
    );
    assert!(error.message().contains("socket"), "{error}");
    assert!(!error.changed_something() && !scene.path("to").exists());
    assert_eq!(portrait_without_socket(&tree), before);
}

/// What can't be removed of the original, while its copy is whole: the move is done, the rest kept in mind.
#[test]
fn a_move_by_copy_is_done_though_the_rest_of_the_original_stays() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("tree/inner")).unwrap();
    fs::write(scene.path("tree/inner/fixed"), "2").unwrap();
    let flag = |flag: &str, path: &Path| {
        let done = std::process::Command::new("chattr").arg(flag).arg(path).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !flag("+i", &scene.path("tree/inner/fixed")) {
        return skipped("no file can be made immutable here");
    }
    let moved = scene
        .files
        .relocate_by_copy(&permit(), &scene.path("tree"), &scene.path("to"));
    let left = scene.files.take_left();
    for (path, _) in &left {
        flag("-i", &path.join("inner/fixed"));
    }
    moved.unwrap();
    let [(path, why)] = left.as_slice() else {
        panic!("{left:?}")
    };
    assert!(super::is_temporary(path) && path.join("inner/fixed").exists() && why.contains("not permitted"));
    assert!(!scene.path("tree").exists());
    assert_eq!(fs::read_to_string(scene.path("to/inner/fixed")).unwrap(), "2");
    assert!(scene.files.take_left().is_empty());
}

fn portrait_without_socket(tree: &Path) -> Vec<(PathBuf, u64)> {
    let mut names: Vec<_> = fs::read_dir(tree)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path(), entry.metadata().unwrap().ino()))
        .collect();
    names.sort();
    names
}

#[test]
fn a_change_between_copy_and_removal_is_noticed() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    let changes: [&dyn Fn(); 3] = [
        &|| fs::write(tree.join("deep/er/data.txt"), "CONTENTS").unwrap(),
        &|| fs::write(tree.join("deep/new"), "").unwrap(),
        &|| fs::set_permissions(tree.join("a/c"), fs::Permissions::from_mode(0o600)).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let to = scene.path(format!("copy{number}"));
        let outcome = scene.files.copy_tree(&permit(), &tree, &to, &|_| false).unwrap();
        change();
        let before = portrait(&tree);
        let error = scene.files.set_aside(&permit(), &tree, &outcome).unwrap_err();
        assert_eq!(error.kind(), Kind::Changed, "{number}: {error}");
        assert_eq!(portrait(&tree), before);
    }
}

#[test]
fn another_file_system_is_reached_by_copy() {
    let scene = Scene::new();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("nothing can be written to `/dev/shm`");
    };
    if fs::metadata(memory.path()).unwrap().dev() == fs::metadata(scene.path("")).unwrap().dev() {
        return skipped("`/dev/shm` is the file system of the temporary directory");
    }
    let files = Files::open(&[scene.path(""), memory.path().to_path_buf()]).unwrap();
    scene.file("tree/a", "1");
    scene.link("tree/b", "a");
    let before = portrait(&scene.path("tree"));
    let to = memory.path().join("tree");
    assert_eq!(
        files.rename(&permit(), &scene.path("tree"), &to).unwrap(),
        Renamed::CrossDevice
    );
    assert!(matches!(
        files
            .relocate(&permit(), &scene.path("tree"), &to, Mounts::Refused)
            .unwrap(),
        Relocated::Copied(_)
    ));
    assert_eq!(portrait(&to), before);
    assert!(!scene.path("tree").exists());
}

/// Runs again inside a mount namespace of its own (see the outer test), where a directory is bound into the tree.
#[test]
#[ignore = "started by `what_is_mounted_inside_a_tree_is_safe`"]
fn inside_a_mount_namespace() {
    let top = PathBuf::from(std::env::var_os("ROLLBACK_TEST_TREE").unwrap());
    let files = Files::open(std::slice::from_ref(&top)).unwrap();
    let tree = top.join("tree");
    let mount = tree.join("z/mounted");
    assert!(files.stat(&mount).unwrap().unwrap().mount_point);
    assert_eq!(files.tree(&tree).unwrap().mounts, [mount]);
    assert_eq!(files.tree(&tree).unwrap().entries, 3);
    for error in [
        files.remove_tree(&permit(), &tree).unwrap_err(),
        files
            .copy_tree(&permit(), &tree, &top.join("copy"), &|_| false)
            .unwrap_err(),
        files
            .relocate(&permit(), &tree, &top.join("copy"), Mounts::Refused)
            .unwrap_err(),
        files.remove_tree(&permit(), &tree.join("z/mounted")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.message().contains("z/mounted` is a mount point"), "{error}");
        assert!(!error.changed_something());
    }
    fs::write(top.join("seen"), "whole").unwrap();
}

#[test]
fn what_is_mounted_inside_a_tree_is_safe() {
    let scene = Scene::new();
    scene.file("tree/a", "1");
    scene.directory("tree/z/mounted");
    let precious = scene.file("elsewhere/precious", "p");
    let script =
        "mount --bind \"$ROLLBACK_TEST_TREE/elsewhere\" \"$ROLLBACK_TEST_TREE/tree/z/mounted\" || exit 77
        exec \"$0\" --exact host::files::tests::inside_a_mount_namespace --ignored --nocapture";
    let run = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
        ])
        .arg(std::env::current_exe().unwrap())
        .env("ROLLBACK_TEST_TREE", scene.path(""))
        .output();
    // Not every machine lets its users make namespaces.
    let run = match run {
        Ok(run) => run,
        Err(error) => return skipped(&format!("no `unshare` ({error})")),
    };
    let rendered = String::from_utf8_lossy(&run.stdout);
    if !rendered.contains("running 1 test") {
        return skipped(&format!(
            "no mount namespace ({})",
            String::from_utf8_lossy(&run.stderr)
        ));
    }
    assert!(run.status.success(), "{rendered}");
    assert_eq!(fs::read(scene.path("seen")).unwrap(), b"whole");
    assert_eq!(fs::read(precious).unwrap(), b"p");
    assert_eq!(fs::read(scene.path("tree/a")).unwrap(), b"1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_copied_counted_moved_and_removed(entries in entries()) {
        let scene = Scene::new();
        let tree = scene.directory("tree");
        grow(&tree, &entries);
        let before = portrait(&tree);
        let copy = scene.path("copy");
        let outcome = scene.files.copy_tree(&permit(), &tree, &copy, &|_| false).unwrap();
        prop_assert_eq!(&portrait(&copy), &before);
        prop_assert_eq!(outcome.entries, entries.len() as u64);
        prop_assert_eq!(scene.files.tree(&tree).unwrap().entries, entries.len() as u64);
        scene.files.relocate_by_copy(&permit(), &copy, &scene.path("again")).unwrap();
        prop_assert_eq!(&portrait(&scene.path("again")), &before);
        scene.files.remove_tree(&permit(), &tree).unwrap();
        prop_assert_eq!(scene.files.list(&scene.path("")).unwrap().len(), 1);
    }
}

/// Enough of everything to keep all threads busy: batches, large files, names of one file in many directories.
fn wide_tree(scene: &Scene, top: &str) -> PathBuf {
    let tree = scene.odd_tree(top);
    for directory in 0..20 {
        for file in 0..90 {
            let contents = vec![u8::try_from(file).unwrap(); file * 41];
            scene.file(format!("{top}/wide/{directory}/{file}"), contents);
        }
        fs::hard_link(
            tree.join("deep/er/data.txt"),
            tree.join(format!("wide/{directory}/linked")),
        )
        .unwrap();
    }
    let large: Vec<u8> = (0..18_u32 << 20)
        .map(|at| u8::try_from((at % 251 + at / 65_536) % 256).unwrap())
        .collect();
    scene.file(format!("{top}/large/1"), &large);
    scene.file(format!("{top}/large/2"), &large[..17 << 20]);
    let mut holes = fs::File::create(tree.join("large/holes")).unwrap();
    for at in [5_u64 << 20, 21 << 20] {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"island", at).unwrap();
    }
    holes.set_len(40 << 20).unwrap();
    std::io::Write::flush(&mut holes).unwrap();
    tree
}

#[test]
fn many_hands_copy_and_remove_as_one() {
    let scene = Scene::new();
    let tree = wide_tree(&scene, "tree");
    let before = portrait(&tree);
    let copy = scene.path("copy");
    let outcome = scene
        .files
        .copy_tree(&permit(), &tree, &copy, &|_| false)
        .unwrap();
    assert_eq!(portrait(&copy), before);
    let size = scene.files.tree(&tree).unwrap();
    assert_eq!(
        (outcome.entries, outcome.files, outcome.bytes),
        (size.entries, size.files, size.bytes)
    );
    assert_eq!(outcome.copied.len() as u64, size.entries + 1);
    let see = |entry: &Walked<'_>| {
        let copied = outcome.copied.get(entry.relative).unwrap();
        assert!(copied.is(&entry.stat), "{}", entry.path.display());
        let contents = || blake3::hash(&fs::read(entry.path).unwrap());
        let digest = (entry.stat.kind == EntryKind::File).then(contents);
        assert_eq!(copied.digest(), digest, "{}", entry.path.display());
        Ok(Step::Continue)
    };
    scene.files.walk(&tree, &mut { see }).unwrap();
    assert!(outcome.copied.get(Path::new("no/such")).is_none());
    let progress = scene.files.meter().read();
    assert_eq!(progress.files, size.files);
    scene
        .files
        .relocate_by_copy(&permit(), &copy, &scene.path("again"))
        .unwrap();
    assert_eq!(portrait(&scene.path("again")), before);
    let holes = fs::metadata(scene.path("again/large/holes")).unwrap();
    assert!(holes.blocks() * 512 < 1 << 20);
    scene.files.remove_tree(&permit(), &tree).unwrap();
    assert!(!tree.exists());
}

/// Runs in a thread, and in those that it starts, for which modes count though they are root's.
fn bound_by_modes<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut own = capabilities(None).unwrap();
            let above_modes = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            own.effective.remove(above_modes);
            set_capabilities(None, own).unwrap();
            body()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_file_that_cannot_be_read_leaves_no_copy() {
    let scene = Scene::new();
    let tree = wide_tree(&scene, "tree");
    let closed = tree.join("wide/7/70");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let copy = scene.path("copy");
    let error = bound_by_modes(|| {
        fs::File::open(&closed).expect_err("the mode binds this thread");
        let copied = scene.files.copy_tree(&permit(), &tree, &copy, &|_| false);
        copied.map(|_| ()).unwrap_err()
    });
    assert!(error.message().contains("wide/7/70"), "{error}");
    assert!(!error.changed_something() && !copy.exists());
}

#[test]
fn a_source_that_is_written_meanwhile_is_noticed() {
    let scene = Scene::new();
    let tree = wide_tree(&scene, "tree");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let busy = tree.join("large/1");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(&busy).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::os::unix::fs::FileExt::write_all_at(&file, b"busy", 9 << 20).unwrap();
            }
        });
        let copy = scene.path("copy");
        let error = scene
            .files
            .copy_tree(&permit(), &tree, &copy, &|_| false)
            .map(|_| ())
            .unwrap_err();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(error.kind(), Kind::Changed, "{error}");
        assert!(!copy.exists());
    });
}
