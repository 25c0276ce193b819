//! Several file systems, some of them read-only: nothing is moved across one unseen, and nothing mounted is touched.

use std::path::Path;

use crate::disk::{assert_says, in_namespace, left_over, make_read_only, mount, unmount, whole_backups};
use crate::sandbox::{Sandbox, Snapshot, assert_unchanged};

const IN_PLACE: &[&str] = &[
    ".rollback",
    "logs",
    "rollback_reports",
    "rollback_backups",
    "docs",
];

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n",
        )
        .write("data/store/one", "1")
        .write("data/store/inner/two", "2");
    for (id, body) in [
        ("9.1", "retire_dir(\"data/store\", \"store\");"),
        ("9.2", "backup_dir(\"data/store\", \"store\");"),
        ("9.3", "remove_path(\"data/store\");"),
    ] {
        sandbox.write(
            &format!("rollback/{id}.rhai"),
            format!("const STORY = #{{ id: \"{id}\", title: \"Mounts\" }};\n\nfn execute() {{ {body} }}\n"),
        );
    }
    sandbox
}

fn unchanged(sandbox: &Sandbox, before: &Snapshot) {
    let mut differences = Snapshot::diff(before, &sandbox.snapshot(IN_PLACE));
    differences.retain(|line| line != "changed .: time" && line != "changed data: time");
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(left_over(sandbox), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_workspace_that_is_read_only_can_be_looked_at() {
    in_namespace(|| {
        let sandbox = workspace();
        let before = sandbox.snapshot(&[]);
        make_read_only(&sandbox.root());
        sandbox.run(&["status"]).assert_code(0);
        for command in [
            &["run", "9.1", "-n"] as &[&str],
            &["run", "9.1", "--yes"],
            &["feature", "disable", "alpha"],
            &["backup", "create", "data/store"],
        ] {
            let finished = sandbox.run(command).assert_code(3);
            assert_says(
                &finished,
                &["Read-only file system", "nothing was changed", "writable"],
            );
        }
        unmount(&sandbox.root());
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    });
}

#[test]
fn a_source_that_is_read_only_is_copied_and_never_removed() {
    in_namespace(|| {
        let sandbox = workspace();
        make_read_only(&sandbox.path("data"));
        let before = sandbox.snapshot(IN_PLACE);
        for story in ["9.1", "9.3"] {
            let finished = sandbox.run(&["run", story, "--yes"]);
            assert!(matches!(finished.code, Some(1 | 3)), "{}", finished.transcript());
            assert_says(&finished, &["data/store"]);
            unchanged(&sandbox, &before);
            assert_eq!(whole_backups(&sandbox), [] as [&str; 0]);
        }
        sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
        assert_eq!(whole_backups(&sandbox).len(), 1);
        unchanged(&sandbox, &before);
        sandbox.run(&["audit", "verify"]).assert_code(0);
        unmount(&sandbox.path("data"));
    });
}

/// Backups on a disk of their own: what is retired is copied, compared, and only then removed; and the run says so.
#[test]
fn what_crosses_to_another_file_system_is_copied_and_said_to_be() {
    in_namespace(|| {
        let sandbox = workspace();
        std::fs::create_dir(sandbox.path("rollback_backups")).unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], &sandbox.path("rollback_backups"));
        let before = sandbox.snapshot(IN_PLACE);
        let done = sandbox
            .run(&["run", "9.1", "--yes", "--json"])
            .assert_code(0)
            .json();
        assert_eq!(done["backups"][0]["method"], "copied", "{done:#}");
        assert!(!sandbox.exists("data/store"));
        let backups = whole_backups(&sandbox);
        assert_says(&sandbox.run(&["backup", "list"]), &["copied"]);
        assert_eq!(
            sandbox.read(&format!("rollback_backups/{}/inner/two", backups[0])),
            "2"
        );
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        unchanged(&sandbox, &before);
        sandbox.run(&["audit", "verify"]).assert_code(0);
        unmount(&sandbox.path("rollback_backups"));
    });
}

/// The source on a disk of its own, below its mount point.
#[test]
fn what_comes_from_another_file_system_comes_back_to_it() {
    in_namespace(|| {
        let sandbox = workspace();
        sandbox.remove("data");
        std::fs::create_dir(sandbox.path("data")).unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], &sandbox.path("data"));
        sandbox
            .write("data/store/one", "1")
            .write("data/store/inner/two", "2");
        let before = sandbox.snapshot(IN_PLACE);
        let done = sandbox
            .run(&["run", "9.1", "--yes", "--json"])
            .assert_code(0)
            .json();
        assert_eq!(done["backups"][0]["method"], "copied", "{done:#}");
        assert!(!sandbox.exists("data/store"));
        whole_backups(&sandbox);
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        unchanged(&sandbox, &before);
        unmount(&sandbox.path("data"));
    });
}

#[test]
fn what_is_mounted_inside_a_tree_stops_whatever_would_remove_it_and_is_data_to_a_backup() {
    in_namespace(|| {
        let sandbox = workspace();
        let precious = sandbox.home().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("letter"), "dear").unwrap();
        let inside = sandbox.path("data/store/inner/mounted");
        std::fs::create_dir(&inside).unwrap();
        mount(&["--bind", precious.to_str().unwrap()], &inside);
        let before = sandbox.snapshot(IN_PLACE);
        let purge: &[&str] = &["run", "9.3", "--purge", "--force"];
        for command in [&["run", "9.3", "-n"] as &[&str], &["run", "9.3", "--yes"], purge] {
            let finished = sandbox.run(command).assert_code(3);
            assert_says(&finished, &["data/store/inner/mounted", "mount"]);
            unchanged(&sandbox, &before);
            assert_eq!(whole_backups(&sandbox), [] as [&str; 0]);
        }
        assert_eq!(std::fs::read_to_string(precious.join("letter")).unwrap(), "dear");
        for command in [
            &["run", "9.1", "--yes"] as &[&str],
            &["run", "9.1", "--copy", "--yes"],
        ] {
            sandbox.run(command).assert_code(0);
            assert_eq!(std::fs::read_dir(&precious).unwrap().count(), 0);
            let backup = whole_backups(&sandbox).pop().unwrap();
            let letter = format!("rollback_backups/{backup}/inner/mounted/letter");
            assert_eq!(sandbox.read(&letter), "dear");
            sandbox.run(&["undo", "--yes"]).assert_code(0);
            assert_eq!(std::fs::read_to_string(precious.join("letter")).unwrap(), "dear");
            unchanged(&sandbox, &before);
        }
        sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
        whole_backups(&sandbox);
        unchanged(&sandbox, &before);
        unmount(Path::new(&inside));
    });
}
