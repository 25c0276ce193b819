//! Retention: what stays, what goes, and that nothing else does.

use serde_json::Value;

use crate::sandbox::{Sandbox, assert_says, assert_unchanged};

const STORY: &str = r#"const STORY = #{
    id: "9.1", title: "Quarterly reports",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() {
    retire_dir("data/reports", "reports");
    remove_path("notes.txt");
}
"#;

/// A workspace in which the story was rolled back so many times, each with its own contents.
fn rolled_back(times: usize) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n",
        )
        .write("rollback/reports.rhai", STORY);
    for time in 0..times {
        sandbox
            .write("data/reports/q1.txt", format!("report {time}"))
            .write("notes.txt", format!("note {time}"));
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    }
    sandbox
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.json(&["backup", "list"]);
    let backups = listed["backups"].as_array().unwrap();
    backups
        .iter()
        .map(|backup| backup["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_newest_stay_and_each_has_its_reason() {
    let sandbox = rolled_back(3);
    let all = names(&sandbox);
    assert_eq!(all.len(), 3);
    let before = sandbox.snapshot(&[]);
    let preview = sandbox.run(&["prune", "--keep-last", "1", "-n"]).assert_code(0);
    assert_says(
        &preview,
        &[
            "would remove 2 backups and 2 run stores",
            "the newest from `data/reports`",
            "nothing has been changed",
        ],
    );
    sandbox
        .run(&["prune", "--keep-last", "1", "--no-input"])
        .assert_code(5);
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let done = sandbox
        .run(&["--json", "prune", "--keep-last", "1", "--yes"])
        .assert_code(0)
        .json();
    let list = |key: &str, kind: &str| -> Vec<Value> {
        done[key]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["kind"] == kind)
            .cloned()
            .collect()
    };
    assert_eq!(
        (list("removed", "backup").len(), list("kept", "backup").len()),
        (2, 1),
        "{done:#}"
    );
    let kept = names(&sandbox);
    assert_eq!(kept.len(), 1);
    assert!(all.contains(&kept[0]));
    // What stays is whole, and goes back where it was.
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q1.txt"), "report 2");
    assert_eq!(sandbox.read("notes.txt"), "note 2");
    // Every removal was written down before it happened.
    sandbox.run(&["audit", "verify"]).assert_code(0);
    let log = sandbox.read(".rollback/audit/000001.jsonl");
    let begun = log
        .lines()
        .filter(|line| line.contains("\"operation_begun\"") && line.contains("\"op\":\"prune\""))
        .count();
    assert!(begun >= 4, "{begun}");
}

#[test]
fn a_run_whose_store_is_gone_says_so() {
    let sandbox = rolled_back(2);
    let history = sandbox.json(&["history"]);
    let first = history["runs"][0]["run"].as_str().unwrap().to_owned();
    sandbox
        .run(&["prune", "--keep-last", "1", "--yes"])
        .assert_code(0);
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", &first, "--yes"]).assert_code(1);
    assert_says(&refused, &["can't be taken back: its store was pruned on"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    // It stays in the history, and the pruning is there too.
    let history = sandbox.json(&["history"]);
    let kinds: Vec<&Value> = history["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["kind"])
        .collect();
    assert_eq!(kinds, ["rollback", "rollback", "prune"]);
}

#[test]
fn an_empty_policy_is_refused() {
    let sandbox = rolled_back(1);
    let before = sandbox.snapshot(&[]);
    for arguments in [
        &["prune", "--keep-last", "0", "--yes"][..],
        &["prune", "--keep-within", "0s", "--yes"],
        &["prune", "--keep-within", "soon", "--yes"],
    ] {
        let refused = sandbox.run(arguments).assert_code(2);
        assert_says(&refused, &["keep"]);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn what_is_young_or_not_ours_stays() {
    let sandbox = rolled_back(2);
    sandbox.write("rollback_backups/by_hand/file.txt", "mine");
    let finished = sandbox.run(&["prune", "--yes"]).assert_code(0);
    assert_says(&finished, &["nothing goes"]);
    assert_eq!(names(&sandbox).len(), 3, "two of ours, and one that is not whole");
    sandbox
        .run(&["prune", "--keep-last", "1", "--yes"])
        .assert_code(0);
    assert_eq!(sandbox.read("rollback_backups/by_hand/file.txt"), "mine");
}

/// A cut leaves a name that is no backup's; the next prune goes on with it.
#[test]
fn what_a_cut_left_is_no_backup_and_goes_next_time() {
    let sandbox = rolled_back(1);
    let name = names(&sandbox).remove(0);
    let aside = format!("rollback_backups/.pruned-{name}");
    std::fs::rename(
        sandbox.path(&format!("rollback_backups/{name}")),
        sandbox.path(&aside),
    )
    .unwrap();
    assert_eq!(names(&sandbox).len(), 0);
    sandbox.run(&["prune", "--yes"]).assert_code(0);
    assert!(!sandbox.exists(&aside));
}
