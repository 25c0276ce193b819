//! The records' own truth: what failed is recorded as failed, and nothing has two outcomes.

use serde_json::Value;

use crate::sandbox::{Sandbox, assert_says};

/// The records of the audit log, in order.
pub fn records(sandbox: &Sandbox) -> Vec<Value> {
    let mut segments: Vec<_> = std::fs::read_dir(sandbox.path(".rollback/audit"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    segments
        .iter()
        .flat_map(|segment| {
            let text = std::fs::read_to_string(segment).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
}

#[test]
fn an_operation_that_failed_is_recorded_as_failed() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", "policy: { commands: [\"true\", \"false\"] }\n")
        .write("notes.txt", "notes")
        .write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Fails\" };\n\nfn execute() {\n    remove_path(\"notes.txt\");\n    \
             run_command([\"true\"]);\n    run_command([\"false\"]);\n}\n",
        );
    let report = sandbox
        .run(&["run", "9.1", "--yes", "--json"])
        .assert_code(1)
        .json();
    let outcomes: Vec<&str> = report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["done", "done", "failed"]);
    let told: Vec<(String, u64)> = records(&sandbox)
        .iter()
        .filter(|record| {
            record["event"].as_str().unwrap().starts_with("operation_") && record["phase"] != "records"
        })
        .map(|record| {
            (
                record["event"].as_str().unwrap().to_owned(),
                record["n"].as_u64().unwrap(),
            )
        })
        .take(6)
        .collect();
    let event = |name: &str, n| (format!("operation_{name}"), n);
    assert_eq!(
        told,
        [
            event("begun", 1),
            event("finished", 1),
            event("begun", 2),
            event("finished", 2),
            event("begun", 3),
            event("failed", 3)
        ]
    );
    let failed = records(&sandbox)
        .into_iter()
        .find(|record| record["event"] == "operation_failed")
        .unwrap();
    assert!(failed["message"].as_str().unwrap().contains("false"), "{failed}");
    assert_eq!(failed["kind"], "failed", "{failed}");
    // What did happen before it is taken back.
    let undone = sandbox.run(&["undo", "--yes"]);
    assert!(sandbox.exists("notes.txt"), "{}", undone.transcript());
    assert_says(&undone, &["notes.txt"]);
}
