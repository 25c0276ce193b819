//! Rows 14 to 18, 22, 31: what is removed, and what is kept of it.

use std::os::unix::fs::{MetadataExt as _, symlink};

use rollback_manager::demo::{Group, deployed as catalogue};

use super::{deployed, files_below, operations, report, targets, text};
use crate::sandbox::{Snapshot, assert_unchanged};

// Row 14. Nearly all paths that the scripts named did not exist in the deployed tree.
#[test]
fn row_14_parts_are_found_where_they_are_deployed() {
    let sandbox = deployed();
    let status = sandbox.json(&["status"]);
    for story in status["stories"].as_array().unwrap() {
        let id = text(story, "id");
        let present: Vec<&str> = story["present"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|path| path.as_str())
            .collect();
        let named: Vec<String> = catalogue()
            .unwrap()
            .into_iter()
            .filter(|part| part.story.as_deref() == Some(id) && part.group == Group::Services)
            .map(|part| part.path)
            .filter(|path| !path.ends_with("connection-manager.js"))
            .collect();
        for path in &named {
            assert!(
                present.contains(&path.as_str()),
                "{id}: `{path}` is deployed and not seen"
            );
        }
        assert!(present.len() > 10, "{id}: {present:?}");
    }
}

// Row 15. No backup was verified, and most removals had none.
#[test]
fn row_15_every_backup_is_whole_and_every_removal_is_kept() {
    let sandbox = deployed();
    let before = sandbox.snapshot(&[]);
    let run = report(&sandbox, &["run", "1.8", "-y"], 0);
    let backups = sandbox.json(&["backup", "list"]);
    assert_eq!(
        backups["backups"].as_array().unwrap().len(),
        run["backups"].as_array().unwrap().len()
    );
    for backup in backups["backups"].as_array().unwrap() {
        assert_eq!(backup["complete"], true, "{backup}");
    }
    let store = sandbox
        .path(".rollback/runs")
        .join(text(&run, "run"))
        .join("removed");
    let of = |word: &str| operations(&run, word, "done");
    let paths = |operation: &&serde_json::Value| operation["paths"].as_array().map_or(1, Vec::len);
    let removed: usize = [of("remove_paths"), of("remove_path")]
        .concat()
        .iter()
        .map(paths)
        .sum();
    let slots = std::fs::read_dir(store).unwrap();
    let kept = slots.flat_map(|slot| std::fs::read_dir(slot.unwrap().path()).unwrap());
    assert_eq!(kept.count(), removed);
    sandbox.run(&["undo", "-y"]).assert_code(0);
    let own = [
        ".rollback",
        "rollback_reports",
        "rollback_backups",
        "logs/security.log",
        "logs/audit.log",
    ];
    let left: Vec<String> = Snapshot::diff(&before.without(&own), &sandbox.snapshot(&own))
        .into_iter()
        .filter(|line| line != "changed .: time" && line != "changed logs: time")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

// Row 16. A data directory behind a link was "backed up" as the bare link.
#[test]
fn row_16_the_data_behind_a_link_is_in_the_backup() {
    let sandbox = deployed();
    std::fs::rename(sandbox.path("data/duckdb"), sandbox.path("data/warehouse")).unwrap();
    symlink("warehouse", sandbox.path("data/duckdb")).unwrap();
    let files = files_below(&sandbox.path("data/warehouse")).len();
    assert!(files > 0);
    let run = report(&sandbox, &["run", "1.3", "-y"], 0);
    let backup = run["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|each| text(each, "source") == "data/warehouse");
    let name = text(backup.expect("the target of the link is in a backup"), "name");
    assert_eq!(
        files_below(&sandbox.path("rollback_backups").join(name)).len(),
        files + 1,
        "and the manifest"
    );
    assert!(!sandbox.exists("data/warehouse") && sandbox.path("data/duckdb").symlink_metadata().is_err());
    sandbox.run(&["undo", "-y"]).assert_code(0);
    assert_eq!(
        sandbox.path("data/duckdb").read_link().unwrap().to_str(),
        Some("warehouse")
    );
    assert_eq!(files_below(&sandbox.path("data/warehouse")).len(), files);
}

// Row 17. Backups lost modification times, and the documented restore nested the directory.
#[test]
fn row_17_a_restored_tree_has_its_times_and_is_not_nested() {
    let sandbox = deployed();
    let times = |directory: &str| -> Vec<_> {
        let root = sandbox.path(directory);
        files_below(&root)
            .iter()
            .map(|path| {
                (
                    path.strip_prefix(&root).unwrap().to_owned(),
                    path.metadata().unwrap().mtime(),
                )
            })
            .collect()
    };
    let before = times("data/duckdb");
    let run = report(&sandbox, &["run", "1.3", "-y"], 0);
    let backup = run["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|each| text(each, "source") == "data/duckdb")
        .unwrap();
    sandbox
        .run(&["backup", "restore", text(backup, "name"), "-y"])
        .assert_code(0);
    assert_eq!(times("data/duckdb"), before);
}

// Row 18. Editing `.env` twice destroyed the first backup and left a secret in `.env.bak`; `export X=` lines stayed.
#[test]
fn row_18_the_environment_file_is_edited_without_leaving_secrets() {
    let sandbox = deployed();
    report(&sandbox, &["run", "1.2", "-y"], 0);
    report(&sandbox, &["run", "1.5", "-y"], 0);
    let text = sandbox.read(".env");
    assert!(!text.contains("AIRBYTE_") && !text.contains("DAGSTER_"), "{text}");
    assert!(
        text.contains("SESSION_SECRET=demo-secret-session") && text.contains("MY_DBT_NOTES"),
        "{text}"
    );
    assert!(!sandbox.exists(".env.bak"));
    for path in files_below(&sandbox.root()) {
        let holds = std::fs::read(&path).is_ok_and(|bytes| {
            bytes
                .windows(19)
                .any(|window| window == b"demo-secret-airbyte" || window == b"demo-secret-dagster")
        });
        // Contents before an edit are kept for undo, for this user alone.
        assert!(
            !holds || path.starts_with(sandbox.path(".rollback/runs")),
            "{} holds a secret",
            path.display()
        );
    }
}

// Row 22. Predictable files in shared directories were merged into reports, and a planted link was followed.
#[test]
fn row_22_a_planted_link_is_not_followed() {
    let sandbox = deployed();
    let outside = sandbox.home().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::rename(sandbox.path("logs"), sandbox.path("logs-before")).unwrap();
    symlink(&outside, sandbox.path("logs")).unwrap();
    let refused = sandbox.run(&["run", "1.4", "-y"]);
    assert_ne!(refused.code, Some(0), "{}", refused.transcript());
    assert!(
        refused.stderr.contains("symbolic link"),
        "{}",
        refused.transcript()
    );
    assert_eq!(
        std::fs::read_dir(&outside).unwrap().count(),
        0,
        "something was written through the link"
    );
    assert!(sandbox.exists("dbt_project"), "and nothing was rolled back");
}

// Row 31, which was good and is kept: a backup that fails stops before the removal.
#[test]
fn row_31_a_backup_that_fails_stops_before_the_removal() {
    let sandbox = deployed();
    let file = sandbox.path("notebooks/in-use.csv");
    let held = std::fs::File::create(&file).unwrap();
    let before = sandbox.snapshot(&[]);
    let failed = sandbox.run(&["run", "1.6", "-y"]).assert_code(1);
    assert!(failed.stderr.contains("in-use.csv"), "{}", failed.transcript());
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    drop(held);
    let run = report(&sandbox, &["run", "1.6", "-y"], 0);
    assert!(targets(&run, "retire_dir", "done").contains(&"notebooks"));
}
