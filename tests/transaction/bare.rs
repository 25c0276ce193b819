//! The changes of a rehearsed command are those of the same command on a copy.

use super::*;

/// What a tree holds, as far as two runs of a command agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    kind: u32,
    mode: u32,
    owner: (u32, u32),
    contents: Vec<u8>,
    modified: (i64, i64),
}

fn things(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        let path = root.join(&directory);
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode | 0o700)).unwrap();
        for entry in std::fs::read_dir(&path).unwrap() {
            let name = directory.join(entry.unwrap().file_name());
            let path = root.join(&name);
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                pending.push(name.clone());
            }
            let contents = if metadata.is_file() {
                std::fs::read(&path).unwrap()
            } else if metadata.is_symlink() {
                path.read_link().unwrap().into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            let thing = Thing {
                kind: metadata.mode() & 0o170_000,
                mode: if metadata.is_symlink() {
                    0
                } else {
                    metadata.mode() & 0o7777
                },
                owner: (metadata.uid(), metadata.gid()),
                contents,
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            };
            found.insert(name, thing);
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    found
}

/// The comparison of two trees, in the words of a layer.
fn compared(before: &BTreeMap<PathBuf, Thing>, after: &BTreeMap<PathBuf, Thing>) -> Vec<(String, What)> {
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort_by_key(|path| path.as_os_str().as_encoded_bytes());
    paths.dedup();
    let what = |path: &&PathBuf| match (before.get(*path), after.get(*path)) {
        (None, _) => Some(What::Created),
        (_, None) => Some(What::Removed),
        (Some(one), Some(other)) if one == other => None,
        (Some(one), Some(other)) if one.kind != other.kind => Some(What::Replaced),
        (Some(one), Some(other)) if one.contents != other.contents => Some(What::Contents),
        (Some(one), Some(other)) if (one.mode, one.owner) != (other.mode, other.owner) => {
            Some(What::Attributes)
        }
        _ => Some(What::Touched),
    };
    paths
        .iter()
        .filter_map(|path| Some((path.display().to_string(), what(path)?)))
        .collect()
}

fn furnished() -> Sandbox {
    let sandbox = Sandbox::empty();
    for (path, text) in [
        ("appended", "line\n"),
        ("same_size", "same size"),
        ("mode_only", "x"),
        ("touched", "x"),
        ("moved", "moved"),
        ("moved_dir/one", "1"),
        ("moved_dir/sub/two", "2"),
        ("gone", "x"),
        ("gone_dir/a/b", "x"),
        ("becomes_dir", "x"),
        ("becomes_file/inner/most", "x"),
        ("there_and_back", "kept"),
        ("opened_only", "x"),
        ("opaque/one", "1"),
        ("opaque/sub/two", "2"),
        ("lacking/one", "1"),
        ("lacking/two", "2"),
        ("lacking/sub/three", "3"),
        ("mode_dir/file", "x"),
        ("merged/old", "x"),
        ("a name, with: signs\\", "x"),
    ] {
        sandbox.write(path, text);
    }
    std::os::unix::fs::symlink("somewhere", sandbox.path("link")).unwrap();
    sandbox
}

const WORK: &str = r"
set -e
echo new >created
mkdir -p made/deep
echo x >made/deep/file
echo more >>appended
printf 'same_size' >same_size
chmod 600 mode_only
touch -d 2001-01-01 touched
mv moved moved_away
mv moved_dir other_dir
ln appended hard
ln -s target soft
ln -sfn elsewhere link
rm gone
rm -r gone_dir
rm becomes_dir
mkdir becomes_dir
echo in >becomes_dir/inner
rm -r becomes_file
echo now >becomes_file
cp -p there_and_back aside
rm there_and_back
mkdir there_and_back
rmdir there_and_back
mv aside there_and_back
: >>opened_only
cp -a opaque aside
rm -r opaque
mv aside opaque
cp -a lacking aside
rm -r lacking
mv aside lacking
rm lacking/two
echo 33 >lacking/sub/three
chmod 711 mode_dir
echo y >merged/new
mkfifo pipe
mkdir shut
echo x >shut/in
chmod 0 shut
rm 'a name, with: signs\'
";

/// The same script, over a layer and bare on a copy: no difference; and the workspace is as it was.
#[test]
fn the_changes_are_those_of_a_bare_run() {
    let sandbox = furnished();
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let bare = sandbox.home().join("bare");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(sandbox.root())
        .arg(&bare)
        .status_in_time()
        .unwrap();
    assert!(copied.success());
    let before = sandbox.snapshot(&[]);
    let things_before = things(&sandbox.root());
    let layer = layer(rehearsed(&stage, &shell(&sandbox.root(), WORK)));
    let changes = layer.changes().unwrap();
    assert_eq!(before, sandbox.snapshot(&[]), "the workspace changed");

    let ran = Command::new("/bin/sh")
        .args(["-c", WORK])
        .current_dir(&bare)
        .status_in_time()
        .unwrap();
    assert!(ran.success());
    let things_after = things(&bare);
    assert_eq!(told(&changes), compared(&things_before, &things_after));
    for change in &changes {
        let Some(after) = change.after else { continue };
        let bare = &things_after[&change.path];
        if after.kind != EntryKind::Symlink {
            assert_eq!(after.mode, bare.mode, "{change:?}");
        }
        assert_eq!((after.uid, after.gid), bare.owner, "{change:?}");
        if after.kind == EntryKind::File {
            let mut written = Vec::new();
            layer
                .contents(&change.path)
                .unwrap()
                .read_to_end(&mut written)
                .unwrap();
            assert_eq!(written, bare.contents, "{change:?}");
        }
    }
    let hard = changes
        .iter()
        .find(|change| change.path == Path::new("hard"))
        .unwrap();
    assert_eq!(hard.joins.as_deref(), Some(Path::new("appended")));
    let place = layer.place(Path::new("created"));
    assert!(place.is_file());
    drop(layer);
    assert!(!place.exists());
    std::fs::set_permissions(bare.join("shut"), PermissionsExt::from_mode(0o700)).unwrap();
}

/// The same as a user who is nobody, where root runs the tests.
#[test]
fn the_changes_are_those_of_a_bare_run_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let again = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(arguments)
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env_remove("XDG_CACHE_HOME");
        command.output_in_time()
    };
    if !again(&["--list"]).is_ok_and(|listed| listed.status.success()) {
        skipped("root can't run the binary as another user here");
        return;
    }
    let one = "transaction::bare::the_changes_are_those_of_a_bare_run";
    let output = again(&["--exact", one, "--nocapture"]).unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    if let Some(line) = said.lines().find(|line| line.starts_with("skipped: ")) {
        skipped(line);
    }
}
