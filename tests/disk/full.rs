//! A disk without room: whatever is begun is refused, taken back, or can be; nothing that is half there looks whole.

use std::io::Write as _;

use crate::disk::{assert_says, in_namespace, left_over, whole_backups};
use crate::prompts::RECORDS;
use crate::sandbox::{Finished, Sandbox, Snapshot};

/// Bytes of the largest file that is backed up.
const LARGE: usize = 1 << 20;

const FLAGS: &str = "features:\n  alpha: { enabled: true }   # the first\n";

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("config/feature-flags.yaml", FLAGS);
    sandbox.write("data/store/large", noise(LARGE));
    for file in 0..20 {
        sandbox.write(&format!("data/store/part {file}"), noise(file * 517));
    }
    sandbox.write("gone.txt", "gone");
    let mut settings = String::new();
    for number in 0..4000 {
        settings.push_str(&format!("key_{number}: value of {number}\n"));
    }
    sandbox.write("settings.yaml", settings);
    let stories = [
        (
            "9.1",
            "feature: \"alpha\",",
            "retire_dir(\"data/store\", \"store\"); remove_path(\"gone.txt\");",
        ),
        ("9.2", "", "backup_dir(\"data/store\", \"store\");"),
        (
            "9.3",
            "",
            "set_yaml(\"settings.yaml\", \"key_7\", \"other\"); remove_lines(\"settings.yaml\", \"^key_3\");",
        ),
        (
            "9.4",
            "",
            "retire_dir(\"data/store\", \"store\"); set_yaml(\"settings.yaml\", \"key_7\", \"other\"); \
             remove_lines(\"settings.yaml\", \"^key_3\");",
        ),
    ];
    for (id, more, body) in stories {
        sandbox.write(
            &format!("rollback/{id}.rhai"),
            format!(
                "const STORY = #{{ id: \"{id}\", title: \"Full\", {more} }};\n\nfn execute() {{ {body} }}\n"
            ),
        );
    }
    sandbox
}

/// Bytes that don't repeat, so that no file system can make less of them.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&length.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Fills the file system until `left` bytes are free.
fn fill(sandbox: &Sandbox, left: u64) {
    let state = rustix::fs::statvfs(sandbox.home()).unwrap();
    let mut wanted = (state.f_bavail * state.f_frsize).checked_sub(left).unwrap();
    let mut filler = std::fs::File::create(sandbox.home().join("filler")).unwrap();
    let block = vec![0; 1 << 20];
    while wanted > 0 {
        let part = usize::try_from(wanted.min(1 << 20)).unwrap();
        filler.write_all(&block[..part]).unwrap();
        wanted -= part as u64;
    }
}

fn make_room(sandbox: &Sandbox) {
    std::fs::remove_file(sandbox.home().join("filler")).unwrap();
}

/// What people have in their workspace.
fn in_place(sandbox: &Sandbox) -> Snapshot {
    sandbox.snapshot(&[RECORDS, &["rollback_backups"]].concat())
}

/// Nothing differs, but the times of directories in which something short-lived stood.
#[track_caller]
fn assert_in_place(before: &Snapshot, sandbox: &Sandbox) {
    let mut differences = Snapshot::diff(before, &in_place(sandbox));
    let passing = [
        "changed .: time",
        "changed config: time",
        "changed data: time",
        "changed docs: time",
    ];
    differences.retain(|line| !passing.contains(&line.as_str()));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A command that fails where the disk has this much left at most; with more it may succeed.
struct Case<'a> {
    /// What happens while there is room.
    first: &'a [&'a [&'a str]],
    /// The command. `BACKUP` stands for the one that there is.
    command: &'a [&'a str],
    /// What is left, at each of these attempts.
    left: &'a [u64],
}

impl Case<'_> {
    fn hold(&self) {
        let mut failed = 0;
        for left in self.left {
            let sandbox = workspace();
            let at_first = in_place(&sandbox);
            for command in self.first {
                sandbox.run(command).assert_code(0);
            }
            let backups = whole_backups(&sandbox);
            let command: Vec<&str> = self
                .command
                .iter()
                .map(|word| {
                    if *word == "BACKUP" {
                        backups[0].as_str()
                    } else {
                        *word
                    }
                })
                .collect();
            let before = in_place(&sandbox);
            fill(&sandbox, *left);
            let finished = sandbox.run(&command);
            if finished.code == Some(0) {
                make_room(&sandbox);
                assert_eq!(left_over(&sandbox), [] as [std::path::PathBuf; 0]);
                whole_backups(&sandbox);
                sandbox.run(&["audit", "verify"]).assert_code(0);
                continue;
            }
            failed += 1;
            // A copy that can't fit is refused before it is begun.
            assert!(matches!(finished.code, Some(1 | 3)), "{}", finished.transcript());
            if finished.code == Some(3) {
                assert_says(&finished, &["nothing was changed"]);
            }
            refused(&sandbox, &before, &backups, &finished);
            make_room(&sandbox);
            if self.command[0] == "undo" && sandbox.json(&["status"])["unfinished_run"].is_string() {
                // It is finished, not itself taken back.
                set_right(&sandbox, &at_first, &finished);
                sandbox.run(&["audit", "verify"]).assert_code(0);
                continue;
            }
            set_right(&sandbox, &before, &finished);
            // As if nothing had been.
            sandbox.run(&command).assert_code(0);
            sandbox.run(&["audit", "verify"]).assert_code(0);
        }
        assert!(failed > 0, "{:?} never failed", self.command);
    }
}

/// What must hold while the disk is still full.
#[track_caller]
fn refused(sandbox: &Sandbox, before: &Snapshot, backups: &[String], finished: &Finished) {
    assert_says(finished, &["No space left on device", "hint: ", "note: "]);
    assert!(
        finished.stderr.contains("room on the disk") || finished.stderr.contains("rollback recover"),
        "{}",
        finished.transcript()
    );
    if finished.stderr.contains("nothing was changed") {
        assert_in_place(before, sandbox);
    }
    assert_eq!(
        left_over(sandbox),
        [] as [std::path::PathBuf; 0],
        "{}",
        finished.transcript()
    );
    // What is not in its place is in a whole backup, or in the run's store.
    for backup in whole_backups(sandbox) {
        if !backups.contains(&backup) {
            let large = sandbox.path(&format!("rollback_backups/{backup}/large"));
            assert_eq!(std::fs::read(large).unwrap(), noise(LARGE));
        }
    }
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

/// What a person does once there is room, by what the message says.
#[track_caller]
fn set_right(sandbox: &Sandbox, before: &Snapshot, finished: &Finished) {
    if sandbox.json(&["status"])["unfinished_run"].is_string() {
        sandbox.run(&["feature", "disable", "alpha"]).assert_code(9);
        sandbox.run(&["recover", "--yes"]).assert_code(0);
    } else if finished.stderr.contains("something was changed") {
        let history = sandbox.json(&["history"]);
        let last = history["runs"].as_array().unwrap().last().unwrap()["run"].clone();
        sandbox
            .run(&["undo", last.as_str().unwrap(), "--yes"])
            .assert_code(0);
    }
    assert_in_place(before, sandbox);
}

#[test]
fn moving_into_a_backup() {
    in_namespace(|| {
        Case {
            first: &[],
            command: &["run", "9.1", "--yes"],
            left: &[0, 4096, 8192, 16384, 28672, 36864, 40960, 45056],
        }
        .hold();
    });
}

#[test]
fn copying_into_a_backup() {
    in_namespace(|| {
        for command in [
            &["run", "9.2", "--yes"] as &[&str],
            &["run", "9.1", "--copy", "--yes"],
            &["backup", "create", "data/store"],
        ] {
            Case {
                first: &[],
                command,
                left: &[4096, 65536, LARGE as u64 / 2],
            }
            .hold();
        }
    });
}

#[test]
fn switching_a_feature() {
    in_namespace(|| {
        Case {
            first: &[],
            command: &["feature", "disable", "alpha"],
            left: &[0, 4096, 8192, 16384, 24576],
        }
        .hold();
    });
}

#[test]
fn editing_files() {
    in_namespace(|| {
        Case {
            first: &[],
            command: &["run", "9.3", "--yes"],
            left: &[0, 4096, 65536, 100_000, 250_000],
        }
        .hold();
    });
}

#[test]
fn taking_back() {
    in_namespace(|| {
        Case {
            first: &[&["run", "9.4", "--yes"]],
            command: &["undo", "--yes"],
            left: &[0, 4096, 65536, 150_000],
        }
        .hold();
    });
}

#[test]
fn putting_back() {
    in_namespace(|| {
        Case {
            first: &[&["backup", "create", "data/store"]],
            command: &["backup", "restore", "BACKUP", "--yes"],
            left: &[0, 4096, 65536, LARGE as u64 / 2],
        }
        .hold();
    });
}

#[test]
fn a_backup_on_trial_says_what_is_full_and_leaves_nothing() {
    in_namespace(|| {
        let sandbox = workspace();
        sandbox.run(&["backup", "create", "data/store"]).assert_code(0);
        fill(&sandbox, 65536);
        let before = sandbox.snapshot(&[".rollback/audit"]);
        let finished = sandbox.run(&["backup", "verify", "--level", "restore"]);
        assert_ne!(finished.code, Some(0), "{}", finished.transcript());
        assert_ne!(
            finished.code,
            Some(8),
            "a sound backup: {}",
            finished.transcript()
        );
        assert_says(&finished, &["No space left on device", "room on the disk"]);
        let differences = Snapshot::diff(&before, &sandbox.snapshot(&[".rollback/audit"]));
        assert!(
            differences
                .iter()
                .all(|line| line.ends_with(": time") || line.starts_with("added .rollback/")),
            "{differences:?}"
        );
        make_room(&sandbox);
        sandbox
            .run(&["backup", "verify", "--level", "restore"])
            .assert_code(0);
    });
}

/// The plan goes to the disk too.
#[test]
fn a_plan_that_has_no_room() {
    in_namespace(|| {
        let sandbox = workspace();
        fill(&sandbox, 0);
        let finished = sandbox.run(&["plan", "9.1", "-o", "plan.json"]);
        assert_ne!(finished.code, Some(0), "{}", finished.transcript());
        assert_says(&finished, &["No space left on device"]);
        make_room(&sandbox);
        sandbox.run(&["plan", "9.1", "-o", "plan.json"]).assert_code(0);
        sandbox.run(&["apply", "plan.json", "--yes"]).assert_code(0);
    });
}
