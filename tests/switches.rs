//! A story's code can be gated in other files than the flags file: `stories.<id>.flags` of `rollback.yaml`.

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
