//! A list of paths that one word removes: one operation with one record, told path by path, taken back path by path.

use serde_json::Value;

use crate::faults::trial::records;
use crate::prompts::{RECORDS, assert_as_before};
use crate::sandbox::{Sandbox, assert_says};

/// A workspace whose story removes these paths.
fn removing(paths: &[&str]) -> Sandbox {
    let sandbox = Sandbox::empty();
    for path in [
        "data/a/one.txt",
        "data/a/two.txt",
        "data/b/one.txt",
        "reports/q1.txt",
        "reports/old/q0.txt",
        "kept.txt",
    ] {
        sandbox.write(path, format!("this is {path}\n"));
    }
    std::os::unix::fs::symlink("one.txt", sandbox.path("data/a/link")).unwrap();
    sandbox.write(
        "rollback/9.1.rhai",
        format!(
            "const STORY = #{{ id: \"9.1\", title: \"Many\" }};\n\nfn execute() {{ remove_paths({paths:?}); }}\n"
        ),
    );
    sandbox
}

const PATHS: [&str; 5] = [
    "data/a/one.txt",
    "data/a/two.txt",
    "data/a/link",
    "data/b/one.txt",
    "reports",
];

fn operations(report: &Value) -> Vec<&Value> {
    let all = report["operations"].as_array().unwrap().iter();
    all.filter(|each| each["target"] != "docs/ROLLBACKS.md").collect()
}

fn paths(operation: &Value) -> Vec<&str> {
    let paths = operation["paths"].as_array().unwrap().iter();
    paths.map(|each| each["path"].as_str().unwrap()).collect()
}

#[test]
fn paths_of_a_list_go_as_one_operation_with_one_record_and_come_back_to_the_byte() {
    let sandbox = removing(&[&PATHS[..], &["data/gone.txt"]].concat());
    let before = sandbox.snapshot(RECORDS);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let [gone, together] = operations(&plan)[..] else {
        panic!("{plan:#}")
    };
    assert_eq!(
        (&gone["outcome"], &gone["target"]),
        (&"not-present".into(), &"data/gone.txt".into())
    );
    assert_eq!(together["outcome"], "planned");
    assert_eq!(together["summary"], "remove 5 paths (5 files, 119 B)");
    assert_eq!(paths(together), PATHS);
    let shown = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    for told in [
        "- remove 5 paths (5 files, 119 B)",
        "`data/a/one.txt` (23 B)",
        "the link `data/a/link`",
        "`reports` (2 files, 50 B)",
    ] {
        assert!(shown.stdout.contains(told), "{told}: {}", shown.stdout);
    }

    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(PATHS.iter().all(|path| !sandbox.exists(path)));
    let of_word = |event: &str| -> Vec<Value> {
        let mut all = records(&sandbox);
        all.retain(|record| record["event"] == event && record["op"] == "remove_paths");
        all
    };
    let begun = of_word("operation_begun");
    assert_eq!(begun.len(), 1, "{begun:#?}");
    assert_eq!(begun[0]["undo"]["moves"].as_array().unwrap().len(), PATHS.len());

    // Each goes back by itself.
    let back = sandbox.json(&["undo", "-n"]);
    let targets: Vec<&str> = operations(&back)
        .iter()
        .filter(|operation| operation["outcome"] == "planned")
        .map(|operation| operation["target"].as_str().unwrap())
        .collect();
    assert_eq!(targets, PATHS.iter().rev().copied().collect::<Vec<_>>());
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, &["docs"]);
}

/// The flags file is none that a script may remove.
#[test]
fn a_list_with_a_path_that_is_refused_changes_nothing() {
    let sandbox = removing(&[&PATHS[..], &["config/feature-flags.yaml"]].concat());
    let before = sandbox.snapshot(RECORDS);
    for arguments in [["run", "9.1", "-n"], ["run", "9.1", "--yes"]] {
        let refused = sandbox.run(&arguments).assert_code(3);
        assert_says(&refused, &["`config/feature-flags.yaml` is the flags file"]);
        assert_as_before(&before, &sandbox, &["docs"]);
    }
}

#[test]
fn what_came_to_one_place_since_stops_the_undo_and_what_is_lost_is_named() {
    let sandbox = removing(&PATHS);
    let before = sandbox.snapshot(RECORDS);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox.write("data/a/two.txt", "another");
    let stopped = sandbox.run(&["undo", "--yes"]).assert_code(7);
    assert_says(&stopped, &["something stands at `data/a/two.txt` again"]);
    assert!(!sandbox.exists("data/a/one.txt"));
    sandbox.remove("data/a/two.txt");

    let runs = std::fs::read_dir(sandbox.path(".rollback/runs")).unwrap();
    let stored = runs
        .flat_map(|run| {
            let slots = std::fs::read_dir(run.unwrap().path().join("removed"));
            slots.into_iter().flatten().map(|slot| slot.unwrap().path())
        })
        .map(|slot| slot.join("two.txt"))
        .find(|path| path.exists());
    std::fs::remove_file(stored.unwrap()).unwrap();
    let lost = sandbox.run(&["undo", "--yes"]).assert_code(8);
    assert_says(&lost, &["`data/a/two.txt` is lost"]);
    sandbox.run(&["undo", "--yes", "--force"]).assert_code(0);
    assert_as_before(&before.without(&["data/a"]), &sandbox, &["docs", "data/a"]);
    assert!(
        PATHS
            .iter()
            .all(|path| sandbox.exists(path) != path.ends_with("two.txt"))
    );
}

/// Names that are one in the store, and many in one directory.
#[test]
fn names_of_a_list_that_are_alike_do_not_meet_in_the_store() {
    let sandbox = Sandbox::empty();
    let long = "n".repeat(240);
    for number in 0..3 {
        sandbox.write(&format!("data/{number}/same.txt"), format!("{number}\n"));
        sandbox.write(&format!("data/{long}{number}.txt"), format!("{number}\n"));
    }
    sandbox.write(
        "rollback/9.1.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Alike\" };\n\nfn execute() { remove_paths(find_paths(\"data/**/*.txt\")); }\n",
    );
    let before = sandbox.snapshot(RECORDS);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("data/0/same.txt"));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, &["docs"]);
}
