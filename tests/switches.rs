//! A story's code can be gated in other files than the flags file: `stories.<id>.flags` of `rollback.yaml`.

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged};

const ENGINES: &str = "# Which engine builds the models.\nengines:\n  dbt:\n    enabled: true   # since May\n  sqlmesh:\n    \
                       enabled: true\n";

fn workspace(flags: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  reports: { enabled: true }\n",
        )
        .write("config/engines.yaml", ENGINES)
        .write(
            "rollback.yaml",
            format!("version: 1\nstories: {{ \"9.1\": {{ flags: {flags} }} }}\n"),
        )
        .write(
            "rollback/reports.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Reports\", feature: \"reports\" };\nfn execute() {}\n",
        );
    sandbox
}

#[test]
fn keys_of_other_files_go_off_with_the_feature_and_come_back() {
    let sandbox = workspace("{ config/engines.yaml: [engines.dbt.enabled] }");
    let before = sandbox.snapshot(&[]);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert_eq!(plan["exit_code"], 0, "{plan}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    let checks = sandbox.json(&["validate", "9.1"]);
    assert_eq!(checks["exit_code"], 1, "{checks}");
    let told = "`engines.dbt.enabled` of `config/engines.yaml` is on";
    assert!(checks.to_string().contains(told), "{checks}");

    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let off = ENGINES.replacen("enabled: true ", "enabled: false ", 1);
    assert_eq!(sandbox.read("config/engines.yaml"), off);
    sandbox.run(&["validate", "9.1"]).assert_code(0);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let own = ["rollback_reports", ".rollback", "logs", "docs"];
    let differences = Snapshot::diff(&before.without(&own), &sandbox.snapshot(&own));
    assert!(
        differences.iter().all(|line| line == "changed .: time"),
        "{differences:?}"
    );
}

#[test]
fn a_key_that_is_not_there_is_told_and_nothing_is_made() {
    let sandbox = workspace("{ config/engines.yaml: [engines.dbt.on], config/none.yaml: [a] }");
    let run = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_says(&run, &["`config/engines.yaml` has no key `engines.dbt.on`"]);
    assert_eq!(sandbox.read("config/engines.yaml"), ENGINES);
    assert!(!sandbox.exists("config/none.yaml"));
}

// Kind "not looking is not passing".
#[test]
fn a_file_of_keys_that_is_not_there_leaves_the_check_and_the_status_unknown() {
    let sandbox = workspace("{ config/none.yaml: [a.b] }");
    sandbox.run(&["feature", "disable", "reports"]).assert_code(0);
    let why = "`config/none.yaml`, which `rollback.yaml` names at `stories.9.1.flags`, is not there: whether `a.b` is on \
               is unknown";
    let report = sandbox.run(&["validate", "9.1", "--json"]).assert_code(0).json();
    let check = &report["checks"][0];
    assert_eq!(check["title"], "Feature flag is disabled", "{report:#}");
    assert_eq!((&check["passed"], &check["detail"]), (&Value::Null, &json!(why)));
    sandbox.run(&["validate", "9.1", "--strict"]).assert_code(1);
    let status = sandbox.json(&["status"]);
    assert!(status["warnings"].to_string().contains(why), "{status:#}");
    assert_says(&sandbox.run(&["status"]).assert_code(0), &[why]);
    // What the story itself has taken away has no switch left.
    sandbox.write(
        "rollback/reports.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Reports\", feature: \"reports\", files: [\"config/none.yaml\"] };\nfn execute() {}\n",
    );
    let report = sandbox.json(&["validate", "9.1"]);
    assert_eq!(report["checks"][0]["passed"], true, "{report:#}");
}

#[test]
fn a_key_that_its_file_does_not_have_is_remarked_by_the_check() {
    let sandbox = workspace("{ config/engines.yaml: [engines.dbt.on] }");
    sandbox.run(&["feature", "disable", "reports"]).assert_code(0);
    let report = sandbox.json(&["validate", "9.1"]);
    let check = &report["checks"][0];
    let said = "`config/engines.yaml` has no key `engines.dbt.on`";
    assert_eq!((&check["passed"], &check["detail"]), (&json!(true), &json!(said)));
}

#[test]
fn without_a_flags_file_nobody_can_tell_whether_a_feature_is_on() {
    let sandbox = workspace("{}");
    sandbox.remove("config/feature-flags.yaml");
    let status = sandbox.json(&["status"]);
    let stories = status["stories"].as_array().unwrap();
    let story = stories.iter().find(|story| story["id"] == "9.1").unwrap();
    assert_eq!(story["flag"], json!({ "raw": null, "effective": false }));
    let text = sandbox.run(&["status"]).assert_code(0);
    let row = text.stdout.lines().find(|line| line.contains("Reports")).unwrap();
    assert!(row.contains("unknown"), "{}", text.transcript());
}
