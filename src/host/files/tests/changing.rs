#![expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]

//! Sources that change while they are copied, at a moment that is known: when `leave_out` is asked of another name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{Scene, permit, portrait};
use crate::base::error::Kind;
use crate::host::files::{Expect, Files};

/// What happens to a file, and how it is done.
type Change = (&'static str, fn(&Path));

const CHANGES: [Change; 7] = [
    ("grows", |file| {
        let mut file = fs::File::options().append(true).open(file).unwrap();
        file.write_all(b"more").unwrap();
    }),
    ("is truncated", |file| {
        fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(1)
            .unwrap();
    }),
    ("is written over", |file| fs::write(file, "CONTENTS").unwrap()),
    ("is replaced by a link", |file| {
        fs::remove_file(file).unwrap();
        symlink("/etc/passwd", file).unwrap();
    }),
    ("is replaced by a directory", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
    ("vanishes", |file| fs::remove_file(file).unwrap()),
    ("is closed", |file| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
    }),
];

/// A tree is never removed for a copy that is no longer like it: `moment` is the name at which `tree/file` changes.
fn holds(moment: &str, change: &Change) {
    let scene = Scene::new();
    let tree = scene.path("tree");
    let file = scene.file("tree/file", "contents");
    scene.file("tree/after", "1");
    scene.file("tree/later", "2");
    let copy = scene.path("copy");
    let copied = scene.files.copy_tree(&permit(), &tree, &copy, &|relative| {
        if relative == Path::new(moment) {
            change.1(&file);
        }
        false
    });
    let changed = portrait(&tree);
    let what = format!("a file that {} at `{moment}`", change.0);
    match copied {
        Err(error) => {
            assert_eq!(error.kind(), Kind::Changed, "{what}: {error}");
            assert!(!error.changed_something() && !copy.exists(), "{what}");
        }
        // Read before or after, and never in between.
        Ok(outcome) if portrait(&copy) == changed => {
            let aside = scene.files.set_aside(&permit(), &tree, &outcome);
            assert!(aside.is_ok() || moment == "file", "{what}: {aside:?}");
            return;
        }
        Ok(outcome) => {
            assert_eq!(fs::read(copy.join("file")).unwrap(), b"contents", "{what}");
            let error = scene.files.set_aside(&permit(), &tree, &outcome).unwrap_err();
            assert_eq!(error.kind(), Kind::Changed, "{what}: {error}");
            assert!(!error.changed_something(), "{what}");
        }
    }
    assert_eq!(portrait(&tree), changed, "{what}");
}

#[test]
fn a_file_that_changes_while_its_tree_is_copied_is_noticed_or_copied_whole() {
    for change in &CHANGES {
        for moment in ["after", "file", "later"] {
            holds(moment, change);
        }
    }
}

#[test]
fn a_name_that_appears_after_the_copy_is_not_removed_with_the_original() {
    let scene = Scene::new();
    let tree = scene.path("tree");
    scene.file("tree/inner/one", "1");
    let outcome = scene
        .files
        .copy_tree(&permit(), &tree, &scene.path("copy"), &|_| false)
        .unwrap();
    scene.file("tree/inner/new", "2");
    let error = scene.files.set_aside(&permit(), &tree, &outcome).unwrap_err();
    assert_eq!(error.kind(), Kind::Changed);
    assert_eq!(fs::read(tree.join("inner/new")).unwrap(), b"2");
}

#[test]
fn a_name_that_went_away_after_the_copy_leaves_the_original_where_it_is() {
    let scene = Scene::new();
    let tree = scene.path("tree");
    scene.file("tree/inner/one", "1");
    let gone = scene.file("tree/inner/two", "2");
    let outcome = scene
        .files
        .copy_tree(&permit(), &tree, &scene.path("copy"), &|_| false)
        .unwrap();
    fs::remove_file(gone).unwrap();
    let error = scene.files.set_aside(&permit(), &tree, &outcome).unwrap_err();
    assert_eq!(error.kind(), Kind::Changed);
    assert_eq!(fs::read(tree.join("inner/one")).unwrap(), b"1");
}

#[test]
fn a_directory_that_goes_away_while_something_is_written_in_it_is_named_and_no_temporary() {
    let scene = Scene::new();
    scene.file("tree/file", "1");
    let (directory, to) = (scene.path("gone"), scene.path("gone/to"));
    let beside = Files::beside(&to);
    let written = |act: &dyn Fn()| {
        fs::create_dir(&directory).unwrap();
        scene
            .files
            .write_by(&permit(), &to, &Expect::Absent, &mut |pour, _| {
                act();
                pour(b"1")
            })
    };
    let errors = [
        written(&|| fs::remove_dir_all(&directory).unwrap()).unwrap_err(),
        scene.files.make_directory(&permit(), &beside, 0o700).unwrap_err(),
        scene.files.rename(&permit(), &beside, &to).unwrap_err(),
        scene
            .files
            .copy_tree(&permit(), &scene.path("tree"), &beside, &|_| false)
            .unwrap_err(),
        scene
            .files
            .copy_file(&permit(), &scene.path("tree/file"), &beside.join("file"))
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        let says = error.to_string();
        assert!(says.contains("/gone`") && !says.contains(".rollback-"), "{says}");
    }
}
