#![expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::manifest::{self, Origin};
use super::retire::{self, Rename, Sealed};
use super::{
    MANIFEST, catalogue, check_name, directory_name, restore::restore, verify::Depth, verify::seal,
    verify::verify,
};
use crate::audit::permit::Permit;
use crate::base::error::{Kind, Result};
use crate::host::files::fixture::{Scene, entries, grow, portrait};
use crate::host::files::{EntryKind, Files};

mod streaming;

fn permit() -> Permit {
    Permit::for_tests()
}

fn origin(source: &str) -> Origin {
    Origin {
        name: "data".to_owned(),
        source: source.to_owned(),
        run: "20261123T013000Z-1a2b".to_owned(),
        story: "1.3".to_owned(),
        created: "2026-11-23T01:30:00.000Z".to_owned(),
    }
}

fn planned(files: &Files, source: &Path, backup: &Path, keep: &[PathBuf]) -> Result<Vec<Rename>> {
    let kind_of = |path: &Path| files.stat(path).map(|stat| stat.map(|stat| stat.kind));
    retire::plan(source, backup, keep, &kind_of, &|path| files.list(path))
}

/// Retires `source` (relative) into `backups/one`.
fn retired(scene: &Scene, source: &str, keep: &[PathBuf], digests: bool) -> (Vec<Rename>, Sealed) {
    let backup = scene.path("backups/one");
    let moves = planned(&scene.files, &scene.path(source), &backup, keep).unwrap();
    let sealed = retire::execute(&permit(), &scene.files, &moves, &backup, &origin(source), digests).unwrap();
    (moves, sealed)
}

/// What an undo does: the manifest goes, the moves are reversed, made directories go, times come back.
fn undone(scene: &Scene, moves: &[Rename], times: &BTreeMap<PathBuf, i64>) {
    let backup = scene.path("backups/one");
    scene
        .files
        .remove_file(&permit(), &backup.join(MANIFEST))
        .unwrap();
    for (from, to) in moves.iter().rev() {
        scene
            .files
            .relocate(&permit(), to, from, crate::host::files::Mounts::Refused)
            .unwrap();
    }
    for directory in retire::made(&backup, moves).iter().rev() {
        scene.files.remove_directory(&permit(), directory).unwrap();
    }
    for (directory, mtime_ns) in times {
        scene.files.set_mtime(&permit(), directory, *mtime_ns).unwrap();
    }
}

fn times(scene: &Scene, source: &str, moves: &[Rename]) -> BTreeMap<PathBuf, i64> {
    let parents = moves
        .iter()
        .filter_map(|(from, _)| from.parent().map(Path::to_path_buf));
    parents
        .chain([scene.path(source)])
        .map(|path| (path.clone(), scene.files.mtime(&path).unwrap()))
        .collect()
}

#[test]
fn names_of_backups_are_plain_and_free() {
    for name in ["duckdb_data", "1.3-data", "a"] {
        check_name(name).unwrap();
    }
    let long = "x".repeat(101);
    for name in ["", ".hidden", "-option", "a/b", "..", "é", "a b", "a\n", &long] {
        assert_eq!(check_name(name).unwrap_err().kind(), Kind::Invalid, "{name:?}");
    }
    let taken = ["data_20261123_013000", "data_20261123_013000_2"];
    let name = directory_name("data", "20261123_013000", |name| Ok(taken.contains(&name))).unwrap();
    assert_eq!(name, "data_20261123_013000_3");
    directory_name("../data", "20261123_013000", |_| Ok(false)).unwrap_err();
    assert_eq!(
        directory_name("data", "x", |_| Ok(true)).unwrap_err().kind(),
        Kind::Exists
    );
}

#[test]
fn a_retired_directory_is_whole_and_comes_back_as_it_was() {
    let scene = Scene::new();
    let tree = scene.odd_tree("data/tree");
    let before = portrait(&tree);
    let moves = planned(&scene.files, &tree, &scene.path("backups/one"), &[]).unwrap();
    assert_eq!(moves, [(tree.clone(), scene.path("backups/one"))]);
    let times = times(&scene, "data/tree", &moves);
    let (moves, sealed) = retired(&scene, "data/tree", &[], true);
    assert!(!tree.exists());
    assert_eq!((sealed.method, sealed.digest.is_some()), ("moved", true));

    let backup = scene.path("backups/one");
    let verified = verify(&scene.files, &backup, Depth::Full).unwrap();
    assert_eq!(verified.problems, []);
    assert_eq!((verified.entries, verified.bytes), (sealed.entries, sealed.bytes));
    assert!(verified.digests >= 9, "{}", verified.digests);
    let result = manifest::read(&scene.files, &backup).unwrap();
    assert_eq!(result.header.kind, EntryKind::Directory);
    assert_eq!(result.footer.unwrap().root, sealed.digest.unwrap());

    // By hand, as the procedures do it: the manifest stays behind.
    let names: Vec<_> = fs::read_dir(&backup)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(names.contains(&MANIFEST.into()) && names.len() == fs::read_dir(&backup).unwrap().count());

    undone(&scene, &moves, &times);
    assert_eq!(portrait(&tree), before);
    assert!(!backup.exists());
}

#[test]
fn what_is_kept_stays_and_the_rest_comes_back_beside_it() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    scene.file("tree/deep/er/kept/one", "1");
    scene.file("tree/deep/other", "2");
    fs::set_permissions(scene.path("tree/deep"), fs::Permissions::from_mode(0o750)).unwrap();
    let before = portrait(&tree);
    let keep = [PathBuf::from("deep/er/kept"), PathBuf::from("not/there")];
    let moves = planned(&scene.files, &tree, &scene.path("backups/one"), &keep).unwrap();
    let times = times(&scene, "tree", &moves);
    let (moves, _) = retired(&scene, "tree", &keep, false);

    assert_eq!(fs::read(scene.path("tree/deep/er/kept/one")).unwrap(), b"1");
    assert_eq!(scene.files.tree(&tree).unwrap().entries, 4);
    let backup = scene.path("backups/one");
    assert_eq!(fs::read(backup.join("deep/other")).unwrap(), b"2");
    assert!(!backup.join("deep/er/kept").exists());
    assert_eq!(
        fs::metadata(backup.join("deep")).unwrap().permissions().mode() & 0o7777,
        0o750
    );
    assert_eq!(
        scene.files.mtime(&backup.join("deep")).unwrap(),
        times[&scene.path("tree/deep")]
    );
    assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().problems, []);

    undone(&scene, &moves, &times);
    assert_eq!(portrait(&tree), before);
}

#[test]
fn a_file_is_backed_up_alone_and_comes_back() {
    let scene = Scene::new();
    let file = scene.file("data/store.db", "rows");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let before = portrait(&file);
    retired(&scene, "data/store.db", &[], true);
    assert!(!file.exists());
    let backup = scene.path("backups/one");
    assert_eq!(fs::read(backup.join("store.db")).unwrap(), b"rows");
    assert_eq!(
        manifest::read(&scene.files, &backup).unwrap().header.kind,
        EntryKind::File
    );
    assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().problems, []);
    let restored = restore(&permit(), &scene.files, &backup, &file).unwrap();
    assert_eq!(
        (restored.entries, restored.bytes, restored.kind),
        (1, 4, EntryKind::File)
    );
    assert_eq!(portrait(&file), before);
    assert_eq!(scene.files.list(&scene.path("data")).unwrap().len(), 1);
}

#[test]
fn a_backup_that_fails_half_way_puts_everything_back() {
    let scene = Scene::new();
    scene.file("tree/a/1", "1");
    scene.file("tree/b/2", "2");
    scene.file("tree/kept", "3");
    let before = portrait(&scene.path(""));
    let backup = scene.path("backups/one");
    let mut moves = planned(&scene.files, &scene.path("tree"), &backup, &["kept".into()]).unwrap();
    assert_eq!(moves.len(), 2);
    moves.push((scene.path("tree/gone"), backup.join("gone")));
    let error = retire::execute(&permit(), &scene.files, &moves, &backup, &origin("tree"), true).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(!error.changed_something(), "{error}");
    assert_eq!(portrait(&scene.path("")), before);
}

#[test]
fn what_cannot_be_a_source_is_refused() {
    let scene = Scene::new();
    scene.file("tree/a", "1");
    scene.file("again/.rollback-manifest.jsonl", "{}");
    scene.link("link", "tree");
    let backup = scene.path("backups/one");
    let refused = |source: &str, keep: &[PathBuf]| {
        planned(&scene.files, &scene.path(source), &backup, keep)
            .unwrap_err()
            .kind()
    };
    assert_eq!(refused("", &[]), Kind::Invalid);
    assert_eq!(refused("no", &[]), Kind::NotFound);
    assert_eq!(refused("link", &[]), Kind::Invalid);
    assert_eq!(refused("again", &[]), Kind::Exists);
    assert_eq!(refused("tree", &["../other".into()]), Kind::Invalid);
    scene.directory("backups/one");
    let moves = planned(&scene.files, &scene.path("tree"), &backup, &[]).unwrap();
    let taken = retire::execute(&permit(), &scene.files, &moves, &backup, &origin("tree"), true);
    assert_eq!(taken.unwrap_err().kind(), Kind::Exists);
    assert_eq!(fs::read(scene.path("tree/a")).unwrap(), b"1");
}

#[test]
fn a_copy_leaves_the_source_and_restores_to_the_same() {
    let scene = Scene::new();
    let tree = scene.odd_tree("tree");
    let before = portrait(&tree);
    let backup = scene.path("backups/one");
    let sealed = retire::copy(&permit(), &scene.files, &tree, &[], &backup, &origin("tree")).unwrap();
    assert_eq!(portrait(&tree), before);
    assert_eq!((sealed.method, sealed.skipped.len()), ("copied", 0));
    assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().problems, []);

    let taken = restore(&permit(), &scene.files, &backup, &tree).unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists);
    let empty = scene.directory("empty");
    let restored = restore(&permit(), &scene.files, &backup, &empty).unwrap();
    assert_eq!(portrait(&empty), before);
    assert_eq!((restored.entries, restored.bytes), (sealed.entries, sealed.bytes));
    restore(&permit(), &scene.files, &backup, &scene.path("new")).unwrap();
    assert_eq!(portrait(&scene.path("new")), before);

    let again = retire::copy(&permit(), &scene.files, &tree, &[], &backup, &origin("tree")).unwrap_err();
    assert_eq!(again.kind(), Kind::Exists);
    assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().problems, []);
}

/// One field of an entry changed in the manifest alone, with a footer that fits.
fn with_field(backup: &Path, path: &str, field: &str, value: &serde_json::Value) {
    let text = fs::read_to_string(backup.join(MANIFEST)).unwrap();
    let mut lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.pop();
    let entry = lines.iter_mut().find(|line| line["path"] == path).unwrap();
    assert_ne!(entry.get(field), Some(value), "{path} {field}");
    entry[field] = value.clone();
    let header = lines.remove(0);
    lines.sort_by_key(|line| line["path"].as_str().unwrap().to_owned());
    let written = lines.iter().fold(String::new(), |text, line| {
        text + line.to_string().as_str() + "\n"
    });
    let bytes: u64 = lines.iter().map(|line| line["size"].as_u64().unwrap()).sum();
    let entries = lines.iter().filter(|line| line["path"] != ".").count();
    let root = blake3::hash(written.as_bytes()).to_hex().to_string();
    let footer = format!("{{\"entries\":{entries},\"bytes\":{bytes},\"root\":\"{root}\"}}");
    fs::write(backup.join(MANIFEST), format!("{header}\n{written}{footer}\n")).unwrap();
}

#[test]
fn each_field_that_a_line_of_the_manifest_holds_is_compared() {
    let other = "0".repeat(64);
    // The list of what a line holds: a field that is added must be compared too.
    let manifest::Entry {
        path: _,
        kind: _,
        size: _,
        mode: _,
        uid: _,
        gid: _,
        mtime_ns: _,
        xattrs: _,
        target: _,
        blake3: _,
    } = {
        let scene = Scene::new();
        scene.file("tree/file", "contents");
        retired(&scene, "tree", &[], true);
        manifest::read(&scene.files, &scene.path("backups/one"))
            .unwrap()
            .entries
            .remove(0)
    };
    let mut fields: Vec<(&str, &str, serde_json::Value, String)> = vec![
        ("file", "path", "gile".into(), "is missing".to_owned()),
        (
            "file",
            "type",
            "directory".into(),
            "is a file, not a directory".to_owned(),
        ),
        ("file", "size", 9.into(), "has 8 bytes, not 9".to_owned()),
        ("file", "mtime_ns", 7.into(), "was modified at".to_owned()),
        ("file", "blake3", other.into(), "has other contents".to_owned()),
        (
            "link",
            "target",
            "other".into(),
            "points to `file`, not `other`".to_owned(),
        ),
    ];
    for path in ["file", "inner", "."] {
        for owner in ["uid", "gid"] {
            fields.push((path, owner, 4_000_000.into(), "belongs to".to_owned()));
        }
        let attributes = serde_json::json!({ "user.origin": "AQ==" });
        fields.push((
            path,
            "xattrs",
            attributes,
            "has other extended attributes".to_owned(),
        ));
        // Each bit alone, set-id and sticky too.
        for bit in 0..12_u32 {
            fields.push((path, "mode", (1_u32 << bit).into(), "has mode".to_owned()));
        }
    }
    for (path, field, value, said) in fields {
        let scene = Scene::new();
        scene.file("tree/file", "contents");
        scene.file("tree/inner/one", "1");
        scene.link("tree/link", "file");
        retired(&scene, "tree", &[], true);
        let backup = scene.path("backups/one");
        let value = if field == "mode" {
            let mode = fs::metadata(backup.join(path)).unwrap().permissions().mode();
            (u64::from(mode & 0o7777) ^ value.as_u64().unwrap()).into()
        } else {
            value
        };
        with_field(&backup, path, field, &value);
        let found = differing(&scene, &backup, path);
        let missing = differing(&scene, &backup, "gile");
        assert!(
            found.contains(&said) || missing.contains(&said),
            "{path} {field}: {found}{missing}"
        );
    }
}

/// What a full verification says of a path.
fn differing(scene: &Scene, backup: &Path, path: &str) -> String {
    let problems = verify(&scene.files, backup, Depth::Full).unwrap().problems;
    let said = problems.iter().filter(|problem| problem.path == path);
    said.map(|problem| problem.what.clone())
        .collect::<Vec<_>>()
        .join("; ")
}

/// A path, what is said of it, and how it is done below the backup's directory.
type Tampering<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));

#[test]
fn tampering_is_found_and_named() {
    let changes: [Tampering; 8] = [
        ("deep/er/data.txt", "other contents", &|top| {
            let path = top.join("deep/er/data.txt");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "CONTENTS").unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }),
        ("a-b", "bytes", &|top| {
            fs::write(top.join("a-b"), "longer than it was before").unwrap();
        }),
        ("a-b", "is missing", &|top| {
            fs::remove_file(top.join("a-b")).unwrap();
        }),
        ("extra", "is not in the manifest", &|top| {
            fs::write(top.join("extra"), "").unwrap();
        }),
        ("run.sh", "has mode", &|top| {
            fs::set_permissions(top.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("empty", "is a file", &|top| {
            fs::remove_dir(top.join("empty")).unwrap();
            fs::write(top.join("empty"), "").unwrap();
        }),
        ("sibling", "points to", &|top| {
            fs::remove_file(top.join("sibling")).unwrap();
            symlink("a", top.join("sibling")).unwrap();
        }),
        ("a/c", "was modified at", &|top| {
            fs::File::open(top.join("a/c"))
                .unwrap()
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }),
    ];
    for (path, what, change) in changes {
        let scene = Scene::new();
        scene.odd_tree("tree");
        retired(&scene, "tree", &[], true);
        let backup = scene.path("backups/one");
        change(&backup);
        let verified = verify(&scene.files, &backup, Depth::Full).unwrap();
        assert!(
            verified
                .problems
                .iter()
                .any(|problem| problem.path == path && problem.what.contains(what)),
            "{path} {what}: {:?}",
            verified.problems
        );
        let error = restore(&permit(), &scene.files, &backup, &scene.path("new")).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        let left: Vec<_> = scene.files.list(&scene.path("")).unwrap();
        assert_eq!(left, [("backups".into(), EntryKind::Directory)], "{path} {what}");
    }
}

#[test]
fn a_backup_without_digests_can_be_sealed_later() {
    let scene = Scene::new();
    scene.odd_tree("tree");
    let (_, sealed) = retired(&scene, "tree", &[], false);
    assert_eq!(sealed.digest, None);
    let backup = scene.path("backups/one");
    assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().digests, 0);
    seal(&permit(), &scene.files, &backup).unwrap();
    let verified = verify(&scene.files, &backup, Depth::Full).unwrap();
    assert!(verified.digests > 0 && verified.problems.is_empty());
    fs::write(backup.join("extra"), "").unwrap();
    assert_eq!(
        seal(&permit(), &scene.files, &backup).unwrap_err().kind(),
        Kind::Corrupt
    );
}

#[test]
fn a_sample_is_about_its_share_of_the_files_and_the_same_each_time() {
    let paths: Vec<PathBuf> = (0..1000)
        .map(|number| PathBuf::from(format!("part/{number}")))
        .collect();
    let read = |one_in| {
        let read = paths.iter().filter(|path| Depth::Sample(one_in).reads(path));
        read.collect::<Vec<_>>()
    };
    assert_eq!(read(1).len(), 1000);
    assert!((150..350).contains(&read(4).len()), "{}", read(4).len());
    assert_eq!(read(4), read(4));
    assert!(
        paths
            .iter()
            .all(|path| Depth::Full.reads(path) && !Depth::Structure.reads(path))
    );
}

#[test]
fn a_manifest_that_was_cut_short_makes_no_backup() {
    let scene = Scene::new();
    scene.file("tree/a", "1");
    scene.file("tree/b", "2");
    retired(&scene, "tree", &[], true);
    let backup = scene.path("backups/one");
    let whole = fs::read(backup.join(MANIFEST)).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in header..whole.len() {
        fs::write(backup.join(MANIFEST), &whole[..length]).unwrap();
        assert_eq!(
            manifest::read(&scene.files, &backup).unwrap().footer,
            None,
            "{length}"
        );
        assert_eq!(
            verify(&scene.files, &backup, Depth::Structure)
                .unwrap_err()
                .kind(),
            Kind::Corrupt
        );
        assert!(
            !catalogue::list(&scene.files, &scene.path("backups")).unwrap()[0].complete,
            "{length}"
        );
    }
    fs::write(backup.join(MANIFEST), &whole[..header - 1]).unwrap();
    assert_eq!(
        manifest::read(&scene.files, &backup).unwrap_err().kind(),
        Kind::Corrupt
    );
}

#[test]
fn a_manifest_does_not_lead_out_of_its_backup() {
    let scene = Scene::new();
    scene.file("tree/a", "1");
    retired(&scene, "tree", &[], true);
    let backup = scene.path("backups/one");
    let whole = fs::read_to_string(backup.join(MANIFEST)).unwrap();
    for path in ["../a", "/etc/passwd", "", "a/../b", "a//b", "a/"] {
        let bent = whole.replace("\"path\":\"a\"", &format!("\"path\":\"{path}\""));
        assert_ne!(bent, whole);
        fs::write(backup.join(MANIFEST), bent).unwrap();
        let error = manifest::read(&scene.files, &backup).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("line 3"), "{path}: {error}");
    }
}

#[test]
fn the_catalogue_tells_backups_from_other_directories() {
    let scene = Scene::new();
    assert_eq!(catalogue::list(&scene.files, &scene.path("backups")).unwrap(), []);
    scene.file("tree/a", "12");
    scene.file("tree/b/c", "3");
    retired(&scene, "tree", &[], true);
    scene.file("backups/a_file", "");
    scene.file("backups/by_hand/old", "");
    scene.file("backups/broken/.rollback-manifest.jsonl", "{\n");
    let listed = catalogue::list(&scene.files, &scene.path("backups")).unwrap();
    let result: Vec<_> = listed
        .iter()
        .map(|each| (each.name.as_str(), each.complete))
        .collect();
    assert_eq!(result, [("broken", false), ("by_hand", false), ("one", true)]);
    let one = &listed[2];
    assert_eq!((one.entries, one.bytes, one.method.as_str()), (3, 3, "moved"));
    assert_eq!(
        (one.path.as_str(), one.source.as_str(), one.story.as_str()),
        ("backups/one", "tree", "1.3")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_goes_and_comes_back(entries in entries(), kept in any::<prop::sample::Index>(), keeps: bool) {
        let scene = Scene::new();
        let tree = scene.directory("tree");
        grow(&tree, &entries);
        let before = portrait(&tree);
        let paths: Vec<PathBuf> =
            before.keys().filter(|path| !path.as_os_str().is_empty() && path.is_relative()).cloned().collect();
        let keep: Vec<PathBuf> =
            if keeps && !paths.is_empty() { vec![paths[kept.index(paths.len())].clone()] } else { Vec::new() };
        let moves = planned(&scene.files, &tree, &scene.path("backups/one"), &keep).unwrap();
        prop_assume!(!moves.is_empty());
        let times = times(&scene, "tree", &moves);
        let (moves, _) = retired(&scene, "tree", &keep, true);
        let backup = scene.path("backups/one");
        prop_assert_eq!(verify(&scene.files, &backup, Depth::Full).unwrap().problems, vec![]);
        if keep.is_empty() {
            restore(&permit(), &scene.files, &backup, &tree).unwrap();
            prop_assert_eq!(&portrait(&tree), &before);
            scene.files.remove_tree(&permit(), &tree).unwrap();
        }
        undone(&scene, &moves, &times);
        prop_assert_eq!(&portrait(&tree), &before);
    }

    #[test]
    fn no_byte_of_a_manifest_changes_unseen(place in any::<prop::sample::Index>(), with in any::<u8>()) {
        let scene = Scene::new();
        scene.file("tree/a", "1");
        scene.link("tree/b", "a");
        retired(&scene, "tree", &[], true);
        let backup = scene.path("backups/one");
        let whole = fs::read(backup.join(MANIFEST)).unwrap();
        let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut bent = whole.clone();
        let place = header + place.index(whole.len() - header);
        prop_assume!(bent[place] != with);
        bent[place] = with;
        fs::write(backup.join(MANIFEST), bent).unwrap();
        prop_assert_eq!(verify(&scene.files, &backup, Depth::Structure).unwrap_err().kind(), Kind::Corrupt);
    }
}
