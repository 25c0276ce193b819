//! Disks as they are: full, closed to this user, read-only, several of them, broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Finished, InTime as _, Sandbox};
use crate::skipped::LIST;
pub use crate::skipped::skipped;

mod closed;
mod full;
#[cfg(feature = "real-stack")]
mod images;
mod mounts;

/// Set in a test process that has its own mount namespace.
const INSIDE: &str = "ROLLBACK_TEST_INSIDE";

/// Names a directory with room, which is not on that small file system.
const OUTSIDE: &str = "ROLLBACK_TEST_OUTSIDE";

/// Runs the body of a test in a process with a mount namespace of its own, whose temporary directory is a file system
/// of 64 MiB. `body` must be a closure written in the test itself: its type names the test.
#[track_caller]
pub fn in_namespace<F: FnOnce()>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let kind = std::any::type_name::<F>();
    let test = kind
        .strip_prefix("main::")
        .unwrap()
        .strip_suffix("::{{closure}}")
        .unwrap();
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=64m tmpfs \"$TMPDIR\" || exit 77; exec \"$0\" \"$@\"";
    let output = command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("TMPDIR", directory.path())
        .env(INSIDE, "1")
        // Told once, by the test outside.
        .env_remove(LIST)
        .env(OUTSIDE, outside.path())
        .output_in_time();
    let output = match output {
        Ok(output) => output,
        Err(error) => return skipped(&format!("no `unshare` ({error})")),
    };
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !told(&output.stdout).contains("running 1 test") {
        return skipped(&format!("no mount namespace ({})", told(&output.stderr).trim()));
    }
    assert!(
        output.status.success(),
        "{}{}",
        told(&output.stdout),
        told(&output.stderr)
    );
    for line in told(&output.stdout).lines() {
        if let Some((_, why)) = line.split_once("skipped: ") {
            skipped(why);
        } else if let Some((_, figures)) = line.split_once("counted: ") {
            counted(figures);
        }
    }
}

/// Figures of a test, shown with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
pub fn counted(figures: &str) {
    println!("counted: {figures}");
}

/// Mounts something, in a namespace of our own.
pub fn mount(arguments: &[&str], at: &Path) {
    let output = Command::new("mount")
        .args(arguments)
        .arg(at)
        .output_in_time()
        .unwrap();
    assert!(
        output.status.success(),
        "mount {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Mounts a directory onto itself, read-only.
pub fn make_read_only(path: &Path) {
    mount(&["--bind", path.to_str().unwrap()], path);
    mount(&["-o", "remount,bind,ro"], path);
}

pub fn unmount(path: &Path) {
    assert!(
        Command::new("umount")
            .arg(path)
            .status_in_time()
            .unwrap()
            .success()
    );
}

#[track_caller]
fn assert_says(finished: &Finished, texts: &[&str]) {
    for text in texts {
        assert!(
            finished.stderr.contains(text) || finished.stdout.contains(text),
            "`{text}` is missing in\n{}",
            finished.transcript()
        );
    }
}

/// Names that only live during an operation, left where people's files are.
pub fn left_over(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![sandbox.root()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(".rollback-") && name != ".rollback-manifest.jsonl" {
                found.push(path);
            } else if !path.is_symlink() && path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

/// The backups that count as whole, each made sure to be.
#[track_caller]
fn whole_backups(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.json(&["backup", "list"]);
    let backups = listed["backups"].as_array().unwrap();
    let whole = backups.iter().filter(|backup| backup["complete"] == true);
    let names: Vec<String> = whole
        .map(|backup| backup["name"].as_str().unwrap().to_owned())
        .collect();
    for name in &names {
        sandbox.run(&["backup", "verify", "-n", name]).assert_code(0);
    }
    names
}
