//! A manifest is written and compared line by line: what stands in it, and what is found when it does not fit.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::backup::manifest::{Footer, Reading};
use crate::backup::verify::{Problem, Verified};

/// Names that sort differently as names and as parts of paths, some before `.`, some odd.
fn sorting_tree(scene: &Scene) -> PathBuf {
    let tree = scene.directory("tree");
    for path in [
        "!",
        "-x/y",
        "..a",
        "a/b",
        "a/b.c",
        "a-b",
        "a.b/c",
        "a0/b",
        "a/b-/c",
        "with\nline feed",
    ] {
        scene.file(tree.join(path), path);
    }
    scene.file(tree.join(OsStr::from_bytes(b"a\xff/\xfe")), "not UTF-8");
    scene.link("tree/a/link", "b");
    tree
}

fn lines_of(backup: &Path) -> Vec<Vec<u8>> {
    let whole = fs::read(backup.join(MANIFEST)).unwrap();
    whole
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// Writes a manifest with these entry lines between its old header and a footer that fits them.
fn rewrite(backup: &Path, entries: &[Vec<u8>]) {
    let header = lines_of(backup).remove(0);
    let count = |line: &Vec<u8>| !line.starts_with(b"{\"path\":\".\",");
    let size = |line: &Vec<u8>| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        line["size"].as_u64().unwrap()
    };
    let footer = Footer {
        entries: entries.iter().filter(|line| count(line)).count() as u64,
        bytes: entries.iter().map(size).sum(),
        root: blake3::hash(&entries.concat()).to_string(),
    };
    let footer = format!("{}\n", serde_json::to_string(&footer).unwrap());
    fs::write(
        backup.join(MANIFEST),
        [header, entries.concat(), footer.into_bytes()].concat(),
    )
    .unwrap();
}

fn sealed_backup(scene: &Scene) -> (PathBuf, Vec<Vec<u8>>) {
    sorting_tree(scene);
    retired(scene, "tree", &[], true);
    let backup = scene.path("backups/one");
    let mut entries = lines_of(&backup);
    entries.remove(0);
    entries.pop();
    (backup, entries)
}

fn place_of(entries: &[Vec<u8>], path: &str) -> usize {
    let start = format!("{{\"path\":{},", serde_json::to_string(path).unwrap());
    entries
        .iter()
        .position(|line| line.starts_with(start.as_bytes()))
        .unwrap()
}

fn full(scene: &Scene, backup: &Path) -> Result<Verified> {
    verify(&scene.files, backup, Depth::Full)
}

#[test]
fn entries_stand_in_the_order_of_the_bytes_of_whole_paths() {
    let scene = Scene::new();
    let (backup, entries) = sealed_backup(&scene);
    let result = manifest::read(&scene.files, &backup).unwrap();
    let paths: Vec<&[u8]> = result
        .entries
        .iter()
        .map(|entry| entry.path.as_os_str().as_bytes())
        .collect();
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    assert_eq!(paths, sorted);
    assert_eq!(paths.len() as u64, result.footer.as_ref().unwrap().entries + 1);
    let near_a: Vec<&[u8]> = paths
        .iter()
        .filter(|path| path.starts_with(b"a"))
        .copied()
        .collect();
    assert_eq!(near_a[..4], [&b"a"[..], b"a-b", b"a.b", b"a.b/c"]);
    assert!(paths.iter().position(|path| *path == b".").unwrap() > 2);
    assert_eq!(full(&scene, &backup).unwrap().problems, []);

    // A manifest that was sorted as a whole, as all were once, is the same to the byte.
    let mut whole = entries.clone();
    whole.sort_by_key(|line| sort_key(line));
    assert_eq!(whole, entries);
    let before = fs::read(backup.join(MANIFEST)).unwrap();
    rewrite(&backup, &whole);
    assert_eq!(fs::read(backup.join(MANIFEST)).unwrap(), before);
}

#[test]
fn a_line_too_few_too_many_or_another_is_named() {
    let scene = Scene::new();
    let (backup, entries) = sealed_backup(&scene);
    let found = |entries: &[Vec<u8>]| {
        rewrite(&backup, entries);
        let verified = full(&scene, &backup).unwrap();
        assert!(verified.sound(&backup).is_err());
        let restored = restore(&permit(), &scene.files, &backup, &scene.path("new")).unwrap_err();
        assert_eq!(restored.kind(), Kind::Corrupt, "{restored}");
        verified
            .problems
            .into_iter()
            .map(|Problem { path, what }| format!("{path} {what}"))
            .collect::<Vec<_>>()
    };
    for path in ["a", "a-b", "a.b/c", "a/b", "with\nline feed", "!"] {
        let mut fewer = entries.clone();
        fewer.remove(place_of(&entries, path));
        let result = format!("{} is not in the manifest", path.replace('\n', "\\n"));
        assert_eq!(found(&fewer), [result]);
    }
    for path in ["a+", "a-c", "a/b+", "x", " "] {
        let mut more = entries.clone();
        let line = String::from_utf8(entries[place_of(&entries, "a-b")].clone()).unwrap();
        let line = line.replace("\"a-b\"", &format!("\"{path}\""));
        more.push(line.into_bytes());
        more.sort_by_key(|line| sort_key(line));
        assert_eq!(found(&more), [format!("{path} is missing")]);
    }
    let changed = |path: &str, from: &str, to: &str| {
        let mut other = entries.clone();
        let place = place_of(&entries, path);
        let line = String::from_utf8(other[place].clone()).unwrap();
        assert!(line.contains(from), "{line}");
        other[place] = line.replace(from, to).into_bytes();
        found(&other)
    };
    assert_eq!(
        changed("a/b", "\"size\":3", "\"size\":4"),
        ["a/b has 3 bytes, not 4"]
    );
    assert_eq!(
        changed("a", "\"directory\"", "\"file\""),
        ["a is a directory, not a file"]
    );
    assert_eq!(
        changed("a/link", "\"target\":\"b\"", "\"target\":\"c\""),
        ["a/link points to `b`, not `c`"]
    );
    let digest = blake3::hash(b"a-b").to_string();
    let other = blake3::hash(b"other").to_string();
    assert_eq!(changed("a-b", &digest, &other), ["a-b has other contents"]);
    rewrite(&backup, &entries);
    assert_eq!(full(&scene, &backup).unwrap().problems, []);
}

fn sort_key(line: &[u8]) -> Vec<u8> {
    let line: serde_json::Value = serde_json::from_slice(line).unwrap();
    match line["path"].as_str() {
        Some(path) => path.as_bytes().to_vec(),
        // The only one of the scene that is not UTF-8.
        None if line["type"] == "directory" => b"a\xff".to_vec(),
        None => b"a\xff/\xfe".to_vec(),
    }
}

#[test]
fn lines_out_of_order_twice_or_cut_off_make_no_manifest() {
    let scene = Scene::new();
    let (backup, entries) = sealed_backup(&scene);
    let refused = |what: &str| {
        let error = full(&scene, &backup).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.message().contains(what), "{error}");
        let error = restore(&permit(), &scene.files, &backup, &scene.path("new")).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        let error = seal(&permit(), &scene.files, &backup).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(!scene.path("new").exists());
    };
    for place in 1..entries.len() {
        let mut swapped = entries.clone();
        swapped.swap(place - 1, place);
        rewrite(&backup, &swapped);
        refused("not in order");
        let mut twice = entries.clone();
        twice.insert(place, entries[place].clone());
        rewrite(&backup, &twice);
        refused("not in order");
    }
    rewrite(&backup, &entries);
    let whole = lines_of(&backup);
    for length in 1..whole.len() {
        fs::write(backup.join(MANIFEST), whole[..length].concat()).unwrap();
        refused("cut short");
    }
    // The lines fit the footer in number and bytes, not in what they say.
    let mut other = whole.clone();
    other.swap(1, 2);
    fs::write(backup.join(MANIFEST), other.concat()).unwrap();
    refused("");
    fs::write(backup.join(MANIFEST), [whole.concat(), whole[1].clone()].concat()).unwrap();
    refused("");
    let mut reading = Reading::open(&scene.files, &backup).unwrap();
    while let Ok(Some(_)) = reading.next() {}
    assert_eq!(reading.footer(), None);
}

#[test]
fn what_many_threads_find_is_told_in_one_order() {
    let scene = Scene::new();
    for number in 0..3000_u32 {
        scene.file(
            format!("tree/{}/{}/{number}", number % 7, number % 61),
            number.to_string(),
        );
    }
    let (_, sealed) = retired(&scene, "tree", &[], true);
    let backup = scene.path("backups/one");
    let verified = full(&scene, &backup).unwrap();
    assert_eq!(verified.problems, []);
    assert_eq!((verified.entries, verified.digests), (sealed.entries, 3000));
    let progress = scene.files.meter().read();
    assert_eq!((progress.files, progress.bytes), (3000, sealed.bytes));
    assert_eq!(progress.total, Some(sealed.bytes));

    let mut expected = Vec::new();
    for number in (0..3000_u32).step_by(101) {
        let path = format!("{}/{}/{number}", number % 7, number % 61);
        let (what, contents) = if number % 2 == 0 {
            ("is missing", None)
        } else {
            ("has other contents", Some("x".repeat(number.to_string().len())))
        };
        let file = backup.join(&path);
        let directory = file.parent().unwrap();
        let times = [&file, directory].map(|path| fs::metadata(path).unwrap().modified().unwrap());
        match contents {
            None => fs::remove_file(&file).unwrap(),
            Some(contents) => {
                fs::write(&file, contents).unwrap();
                fs::File::open(&file).unwrap().set_modified(times[0]).unwrap();
            }
        }
        fs::File::open(directory).unwrap().set_modified(times[1]).unwrap();
        expected.push((PathBuf::from(path), what));
    }
    expected.sort();
    for _ in 0..5 {
        let problems = full(&scene, &backup).unwrap().problems;
        let result: Vec<(PathBuf, &str)> = problems
            .iter()
            .map(|problem| (PathBuf::from(&problem.path), problem.what.as_str()))
            .collect();
        assert_eq!(result, expected);
    }
}

#[test]
fn a_source_that_is_written_while_its_digests_are_made_goes_back() {
    let scene = Scene::new();
    for number in 0..200 {
        scene.file(format!("tree/{number}"), "still");
    }
    let busy = scene.file("tree/busy", "x".repeat(24 << 20));
    let before = scene.files.list(&scene.path("tree")).unwrap();
    let stop = AtomicBool::new(false);
    let file = fs::File::options().write(true).open(&busy).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                file.write_all_at(b"busy", 9 << 20).unwrap();
            }
        });
        let backup = scene.path("backups/one");
        let moves = planned(&scene.files, &scene.path("tree"), &backup, &[]).unwrap();
        let made = retire::execute(&permit(), &scene.files, &moves, &backup, &origin("tree"), true);
        stop.store(true, Ordering::Relaxed);
        let error = made.unwrap_err();
        assert_eq!(error.kind(), Kind::Changed, "{error}");
        assert!(!backup.exists());
    });
    assert_eq!(scene.files.list(&scene.path("tree")).unwrap(), before);
}
