//! What this user may not read or write: named before anything is changed.

use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::Path;
use std::process::Command;

use crate::disk::{assert_says, left_over, skipped, whole_backups};
use crate::sandbox::{Finished, InTime as _, Sandbox, Snapshot};

const NOBODY: u32 = 65534;

/// A workspace of an ordinary user, and the way to be that user.
struct Ordinary {
    sandbox: Sandbox,
    root: bool,
}

impl Ordinary {
    /// `None`, with the reason told, where root can't step down here.
    fn new() -> Option<Self> {
        let sandbox = Sandbox::empty();
        sandbox
            .write(
                "config/feature-flags.yaml",
                "features:\n  alpha: { enabled: true }\n",
            )
            .write("data/store/one", "1")
            .write("data/store/two", "2")
            .write("data/store/inner/three", "3");
        for (id, more, body) in [
            (
                "9.1",
                "feature: \"alpha\",",
                "retire_dir(\"data/store\", \"store\");",
            ),
            ("9.2", "", "backup_dir(\"data/store\", \"store\");"),
            ("9.3", "", "retire_dir(\"data/store\", \"store\");"),
        ] {
            sandbox.write(
                &format!("rollback/{id}.rhai"),
                format!(
                    "const STORY = #{{ id: \"{id}\", title: \"Closed\", {more} }};\n\nfn execute() {{ {body} }}\n"
                ),
            );
        }
        let root = rustix::process::geteuid().is_root();
        let ordinary = Self { sandbox, root };
        if root {
            let top = ordinary.sandbox.root().parent().unwrap().to_path_buf();
            std::fs::set_permissions(&top, PermissionsExt::from_mode(0o755)).unwrap();
            give(&top);
            let tried = ordinary.command(&["--version"]).output_in_time();
            if !tried.is_ok_and(|output| output.status.success()) {
                skipped("root can't run the binary as another user here");
                return None;
            }
        }
        Some(ordinary)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let plain = self.sandbox.command(arguments);
        if !self.root {
            return plain;
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(plain.get_current_dir().unwrap())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(arguments), arguments)
    }

    fn close(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.sandbox.path(path), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// What people have.
    fn in_place(&self) -> Snapshot {
        self.sandbox.snapshot(&[
            ".rollback",
            "logs",
            "rollback_reports",
            "rollback_backups",
            "docs",
        ])
    }

    /// With the mode of `closed` (a path and permission bits), the command ends with 1 or 3, names `path`, and everything
    /// is in its place.
    #[track_caller]
    fn refused(&self, (closed, mode): (&str, u32), command: &[&str], path: &str, said: &[&str]) {
        let before = self.in_place();
        let open = self.sandbox.path(closed).metadata().unwrap().permissions().mode();
        self.close(closed, mode);
        let finished = self.run(command);
        // Whoever runs this test looks at everything, also where it is bound by modes itself.
        self.close(closed, open);
        assert!(matches!(finished.code, Some(1 | 3)), "{}", finished.transcript());
        assert_says(&finished, said);
        assert_says(&finished, &[path]);
        let mut differences = Snapshot::diff(&before, &self.in_place());
        let passing = ["changed .: time", "changed config: time", "changed data: time"];
        differences.retain(|line| !passing.contains(&line.as_str()));
        assert!(
            differences.is_empty(),
            "{}\n{differences:?}",
            finished.transcript()
        );
        assert_eq!(left_over(&self.sandbox), [] as [std::path::PathBuf; 0]);
        assert_eq!(whole_backups(&self.sandbox), [] as [&str; 0]);
        self.run(&["audit", "verify"]).assert_code(0);
    }
}

/// Gives a tree to the ordinary user.
fn give(top: &Path) {
    lchown(top, Some(NOBODY), Some(NOBODY)).unwrap();
    if top.symlink_metadata().unwrap().is_dir() {
        for entry in top.read_dir().unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_makes_no_backup_and_nothing_goes() {
    let Some(ordinary) = Ordinary::new() else { return };
    for command in [
        &["run", "9.2", "--yes"] as &[&str],
        &["run", "9.3", "--copy", "--yes"],
        &["backup", "create", "data/store"],
    ] {
        let three = "data/store/inner/three";
        ordinary.refused((three, 0o000), command, three, &["Permission denied"]);
    }
    ordinary.run(&["run", "9.3", "--copy", "--yes"]).assert_code(0);
}

#[test]
fn a_directory_that_cannot_be_listed_makes_no_backup() {
    let Some(ordinary) = Ordinary::new() else { return };
    ordinary.refused(
        ("data/store/inner", 0o300),
        &["run", "9.2", "--yes"],
        "data/store/inner",
        &["Permission denied"],
    );
    ordinary.run(&["run", "9.2", "--yes"]).assert_code(0);
}

#[test]
fn a_directory_that_cannot_be_changed_keeps_what_it_holds() {
    let Some(ordinary) = Ordinary::new() else { return };
    ordinary.refused(
        ("data", 0o555),
        &["run", "9.3", "--yes"],
        "data/store",
        &["Permission denied"],
    );
    ordinary.run(&["run", "9.3", "--yes"]).assert_code(0);
}

/// The flags file is replaced, not written into: its directory counts, and its owner.
#[test]
fn flags_that_cannot_be_written_stay_on() {
    let Some(ordinary) = Ordinary::new() else { return };
    for command in [
        &["feature", "disable", "alpha"] as &[&str],
        &["run", "9.1", "--yes"],
    ] {
        let flags = "config/feature-flags.yaml";
        ordinary.refused(("config", 0o555), command, flags, &["Permission denied"]);
    }
    ordinary.run(&["feature", "disable", "alpha"]).assert_code(0);
}

#[test]
fn nothing_is_done_where_nothing_can_be_recorded() {
    let Some(ordinary) = Ordinary::new() else { return };
    std::fs::create_dir(ordinary.sandbox.path(".rollback")).unwrap();
    if ordinary.root {
        chown(ordinary.sandbox.path(".rollback"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for command in [
        &["feature", "disable", "alpha"] as &[&str],
        &["run", "9.1", "--yes"],
    ] {
        let said = ["Permission denied", "recorded"];
        ordinary.refused((".rollback", 0o555), command, ".rollback", &said);
    }
    ordinary.close(".rollback", 0o555);
    // Looking still works, and a preview says what the run would meet.
    ordinary.run(&["status"]).assert_code(0);
    let dry = ordinary.run(&["run", "9.1", "-n"]).assert_code(3);
    assert_says(&dry, &["Permission denied", "recorded"]);
    ordinary.close(".rollback", 0o700);
    ordinary.run(&["run", "9.1", "--yes"]).assert_code(0);
}
