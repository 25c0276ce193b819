//! A small workspace, a run that is cut in it, and what must hold after: nothing is lost, and the run can be taken back
//! or finished.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rollback_manager::host::transaction::Stage;
use rustix::fs::{XattrFlags, setxattr};

use super::cutter::{Effect, trace};
use super::matrix::Point;
use crate::sandbox::{InTime as _, Sandbox, Snapshot, ended};

/// The run that is cut.
pub const RUN: &[&str] = &["run", "1.3", "--yes"];

/// The same with verified copies instead of renames.
pub const COPY: &[&str] = &["run", "1.3", "--yes", "--copy"];

/// A run that puts in place what a command wrote over a layer of the workspace.
pub const REHEARSED: &[&str] = &["run", "9.1", "--yes"];

/// What takes it back after a cut.
pub const RECOVER: &[&str] = &["recover", "--yes"];

/// What finishes it after a cut.
pub const RESUME: &[&str] = &["recover", "--resume", "--yes"];

/// What takes back a run that came to its end.
pub const UNDO: &[&str] = &["undo", "--yes"];

/// What the program writes about its runs; all else is the user's.
const RECORDS: &[&str] = &[
    ".rollback",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
];

/// Story 1.3 at its smallest, with all that it does: three retired directories (one in parts, because another story's
/// data lies in it), removed files, a flag with dependants, edits of YAML, JavaScript and the environment file.
pub fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    for (path, text) in [
        (
            "config/feature-flags.yaml",
            "# Features\nfeatures:\n  duckdb_analytics: { enabled: true, dependencies: [] }\n  dbt_transformations:\n    \
             enabled: true   # the models\n    dependencies: [duckdb_analytics]\nmetadata:\n  last_modified: \
             '2025-08-28T09:26:56.587Z'\n",
        ),
        (".duckdb/analytics.db", "an analytical database"),
        (".duckdb/old/analytics.db.wal", "what was not yet in it"),
        ("data/duckdb/orders.parquet", "orders"),
        (".cache/analytics/result.json", "{}"),
        (".cache/analytics/profiles/profile.json", "{}"),
        ("tools/data-services/duckdb-service.js", "module.exports = {};\n"),
        ("tools/lib/duckdb-manager.js", "module.exports = {};\n"),
        ("tools/lib/logger.js", "module.exports = {};\n"),
        ("temp/duckdb/spill.tmp", "spilled"),
        (
            "tools/cli.js",
            "register('init');\r\nregister('duckdb command');\r\nregister('log');\r\n",
        ),
        (
            "core-config.yaml",
            "version: 4\nduckdb:\n  path: .duckdb/analytics.db   # here\nother: { duckdb: 1, kept: 2 }\n",
        ),
        (
            ".env",
            "NODE_ENV=development\nDUCKDB_PATH=.duckdb/analytics.db\nSECRET=1\n",
        ),
        ("docs/README.md", "# Documentation\n"),
        ("logs/security.log", ""),
        ("logs/audit.log", ""),
    ] {
        sandbox.write(path, text);
    }
    std::fs::create_dir(sandbox.path("data/duckdb/empty")).unwrap();
    std::fs::hard_link(
        sandbox.path(".duckdb/analytics.db"),
        sandbox.path(".duckdb/same.db"),
    )
    .unwrap();
    symlink("analytics.db", sandbox.path(".duckdb/current")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(sandbox.path(".env"), mode).unwrap();
    // Not every file system has them.
    let _ = setxattr(
        sandbox.path(".duckdb/analytics.db"),
        "user.origin",
        b"by hand",
        XattrFlags::empty(),
    );
    let _ = setxattr(sandbox.path(".env"), "user.origin", b"env", XattrFlags::empty());
    make_old(&sandbox.root());
    sandbox
}

/// The same with a story that edits, and runs a command which removes, edits, makes, links and closes.
///
/// # Errors
/// Why no command can run over a layer here.
pub fn workspace_with_a_command() -> Result<Sandbox, String> {
    let sandbox = workspace();
    let stage = Stage::prepare_with(&sandbox.root(), Path::new(env!("CARGO_BIN_EXE_rollback"))).unwrap();
    stage
        .available()
        .unwrap()
        .map_err(|refusal| refusal.to_string())?;
    // Once more it changes nothing: a run that goes on may have done it.
    let script = "[ -e made ] && exit; rm -r temp data/duckdb/empty; echo more >>docs/README.md; mkdir -p made/deep; \
                  echo x >made/deep/x; ln made/deep/x made/y; ln -s y made/l; chmod 400 made/deep/x; \
                  mv tools/cli.js tools/moved.js; rm .duckdb/current; echo file >.duckdb/current; rm core-config.yaml; \
                  mkdir core-config.yaml";
    sandbox
        .write(
            "rollback.yaml",
            "version: 1\npolicy:\n  commands: [{ program: sh, preview: overlay }]\n",
        )
        .write(
            "rollback/foreign.rhai",
            format!(
                "const STORY = #{{ id: \"9.1\", title: \"Foreign commands\" }};\n\nfn execute() {{\n    \
                 remove_path(\"tools/lib/logger.js\");\n    run_command([\"sh\", \"-c\", {script:?}]);\n    \
                 write_text(\"made/z\", \"z\", #{{ overwrite: true }});\n}}\n"
            ),
        );
    make_old(&sandbox.root());
    Ok(sandbox)
}

/// Gives every path below a directory, and itself, a modification time long ago, each its own.
fn make_old(root: &Path) {
    let mut open = vec![root.to_path_buf()];
    let mut all = Vec::new();
    while let Some(path) = open.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        all.push(path);
    }
    all.sort();
    for (number, path) in all.iter().enumerate() {
        if path.is_symlink() {
            continue;
        }
        let time = UNIX_EPOCH + Duration::new(1_600_000_000 + number as u64, 123_456_789);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
}

/// A copy of a sandbox, with everything but inodes the same.
pub fn copy(sandbox: &Sandbox) -> Sandbox {
    let copy = Sandbox::empty();
    std::fs::remove_dir_all(copy.root()).unwrap();
    let done = Command::new("cp")
        .args(["-a", "--"])
        .args([sandbox.root(), copy.root()])
        .stdin(Stdio::null())
        .status_in_time()
        .unwrap();
    assert!(done.success(), "cp -a: {done}");
    copy
}

/// What the user had, and must have again.
pub fn of_the_user(sandbox: &Sandbox) -> Snapshot {
    sandbox.snapshot(RECORDS)
}

/// What differs from `before`. The workspace's own directory gets a new time when `.rollback` is made in it, and an empty
/// directory for backups may stay.
pub fn differences(before: &Snapshot, sandbox: &Sandbox) -> Vec<String> {
    let mut differences = Snapshot::diff(before, &of_the_user(sandbox));
    differences.retain(|line| line != "changed .: time" && line != "added rollback_backups");
    differences
}

/// The tree after a finished run, as far as two runs at different times can agree: no times, no names with times in
/// them, no records.
pub fn outcome(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let root = sandbox.root();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        // The list of rollbacks tells of each attempt.
        let apart = RECORDS.iter().any(|record| below == Path::new(record))
            || below == Path::new("docs/ROLLBACKS.md")
            || below
                .file_name()
                .is_some_and(|name| name == ".rollback-manifest.jsonl");
        if apart {
            continue;
        }
        let path = root.join(&below);
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| below.join(entry.unwrap().file_name())),
            );
        }
        let contents = if metadata.is_symlink() {
            format!("-> {}", path.read_link().unwrap().display())
        } else if metadata.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            text.lines()
                .filter(|line| !line.contains("last_modified"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join("\n")
        } else {
            String::new()
        };
        // The directory of a backup keeps the time of its source, so it is looked at too.
        let those = found.entry(without_times(&below.to_string_lossy())).or_default();
        those.push(format!("{:o} {contents}", metadata.mode()));
        // Two backups of one name are told apart by their times alone.
        those.sort();
    }
    found
}

/// `a_20261123_013000` becomes `a_*`, also with a number behind it.
fn without_times(path: &str) -> String {
    let is_stamp =
        |stamp: &str| stamp.len() == 15 && stamp.chars().all(|each| each.is_ascii_digit() || each == '_');
    // In the evening the time begins as the year does: every place is tried.
    let parts = path.split('/').map(|part| {
        part.match_indices("_20")
            .find(|(at, _)| part.get(at + 1..at + 16).is_some_and(is_stamp))
            .map_or_else(|| part.to_owned(), |(at, _)| format!("{}_*", &part[..at]))
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Starts a command, and waits until it begins to change something, or has ended.
fn begun(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while !is_cut_off(sandbox) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child
}

/// How long a command takes from its first change to its end.
pub fn busy(sandbox: &Sandbox, arguments: &[&str]) -> Duration {
    let mut child = begun(sandbox, arguments);
    let begun = Instant::now();
    assert!(ended(&mut child).success(), "{arguments:?} fails");
    begun.elapsed()
}

/// Kills a command where it is told to. One that is done earlier has not been cut.
pub fn cut_at(sandbox: &Sandbox, arguments: &[&str], point: Point) {
    match point {
        Point::Effect(number) => {
            trace(&sandbox.command(arguments), Some(number)).expect("it could be traced before");
        }
        Point::Time(time) => {
            let mut child = begun(sandbox, arguments);
            std::thread::sleep(time);
            // It may have ended by itself.
            let _ = child.kill();
            ended(&mut child);
        }
    }
}

/// The effects of a command that is not cut.
///
/// # Errors
/// Why nothing can be traced here.
pub fn effects(sandbox: &Sandbox, arguments: &[&str]) -> Result<Vec<Effect>, String> {
    let traced = trace(&sandbox.command(arguments), None)?;
    assert_eq!(traced.code, Some(0), "the uncut `{}` fails", arguments.join(" "));
    Ok(traced.effects)
}

/// Checks that a workspace in which a run was cut says so, or that nothing was changed. Gives what is wrong.
pub fn says_so(before: &Snapshot, sandbox: &Sandbox) -> Result<(), String> {
    let finished = sandbox.run(&["feature", "disable", "dbt_transformations"]);
    if finished.code == Some(9) {
        return Ok(());
    }
    Err(format!(
        "after the cut, a change was not refused with 9:\n{}{}",
        finished.transcript(),
        differences(before, sandbox).join("\n")
    ))
}

/// Whether a run has begun that is not closed.
pub fn is_cut_off(sandbox: &Sandbox) -> bool {
    sandbox.exists(".rollback/active")
}

/// Takes a cut run back, and checks that everything is as it was. Gives what is wrong.
pub fn comes_back(before: &Snapshot, sandbox: &Sandbox, arguments: &[&str]) -> Result<(), String> {
    comes_back_but_for(before, sandbox, arguments, |_| false)
}

/// As [`comes_back`], where some differences don't count.
pub fn comes_back_but_for(
    before: &Snapshot,
    sandbox: &Sandbox,
    arguments: &[&str],
    counts_not: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let finished = sandbox.run(arguments);
    let mut differences = differences(before, sandbox);
    differences.retain(|line| !counts_not(line));
    if finished.code == Some(0) && differences.is_empty() {
        return sound(sandbox);
    }
    Err(format!(
        "not as before:\n{}\n{}",
        differences.join("\n"),
        finished.transcript()
    ))
}

/// Finishes a cut run, and checks that the tree is that of an uncut one. Gives what is wrong.
pub fn goes_on(
    expected: &BTreeMap<String, Vec<String>>,
    sandbox: &Sandbox,
    arguments: &[&str],
) -> Result<(), String> {
    let finished = sandbox.run(arguments);
    let found = outcome(sandbox);
    if finished.code == Some(0) && found == *expected {
        return sound(sandbox);
    }
    let missing = expected
        .iter()
        .filter(|(path, seen)| found.get(*path) != Some(seen))
        .map(|(path, seen)| format!("expected {path}: {seen:?}"));
    let more = found
        .iter()
        .filter(|(path, seen)| expected.get(*path) != Some(seen))
        .map(|(path, seen)| format!("found    {path}: {seen:?}"));
    Err(format!(
        "not as an uncut run leaves it:\n{}\n{}",
        missing.chain(more).collect::<Vec<_>>().join("\n"),
        finished.transcript()
    ))
}

/// The log and every backup hold, nothing has two outcomes, and nothing of ours lies about.
pub fn sound(sandbox: &Sandbox) -> Result<(), String> {
    verified(sandbox)?;
    if is_cut_off(sandbox) {
        return Err("the mark of a run at work is left".to_owned());
    }
    let left = leftovers(&sandbox.root());
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("temporary files are left: {left:?}"))
    }
}

/// The log and every backup hold, and nothing has two outcomes.
pub fn verified(sandbox: &Sandbox) -> Result<(), String> {
    for arguments in [&["audit", "verify"] as &[&str], &["backup", "verify", "-v"]] {
        let finished = sandbox.run(arguments);
        if finished.code != Some(0) {
            return Err(finished.transcript());
        }
    }
    let mut outcomes = BTreeSet::new();
    let mut settled = BTreeSet::new();
    for record in records(sandbox) {
        let is_second = match record["event"].as_str() {
            Some("operation_finished" | "operation_failed") => !outcomes.insert(record["begun"].as_u64()),
            Some("recovered") if record["n"].is_u64() => {
                !settled.insert((record["run"].to_string(), record["n"].as_u64()))
            }
            _ => false,
        };
        if is_second {
            return Err(format!("an operation has two outcomes: {record}"));
        }
    }
    Ok(())
}

/// The records of the audit log, in order.
pub fn records(sandbox: &Sandbox) -> Vec<serde_json::Value> {
    let directory = sandbox.path(".rollback/audit");
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    let text: String = segments
        .iter()
        .map(|segment| std::fs::read_to_string(segment).unwrap())
        .collect();
    // The last line may be torn.
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn leftovers(root: &Path) -> Vec<PathBuf> {
    let mut open = vec![root.to_path_buf()];
    let mut left = Vec::new();
    while let Some(directory) = open.pop() {
        // What recovery put aside is kept there on purpose.
        if directory.ends_with("removed") || directory.ends_with("saved") {
            continue;
        }
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(".rollback-") && name != ".rollback-manifest.jsonl" {
                left.push(path.clone());
            }
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
            }
        }
    }
    left
}
