//! Rows 12, 13, 21: packages, and modules that others need.

use super::{deployed, operations, report, targets, text, without_engine};
use crate::sandbox::Sandbox;

// Row 12. Packages that others need were uninstalled, and those that were really installed stayed.
#[test]
fn row_12_what_others_need_is_kept_and_what_was_installed_goes() {
    let sandbox = without_engine(Sandbox::full());
    let plan = report(&sandbox, &["run", "1.6", "-n"], 0);
    let kept = targets(&plan, "uninstall_packages", "kept");
    assert!(kept.contains(&"pandas") && kept.contains(&"numpy"), "{kept:?}");
    let going: Vec<&str> = operations(&plan, "uninstall_packages", "planned")
        .iter()
        .map(|each| text(each, "summary"))
        .collect();
    assert!(
        going.iter().any(|summary| summary.contains("ydata-profiling")),
        "{going:?}"
    );
    let plan = report(&sandbox, &["run", "1.2", "-n"], 0);
    let going = operations(&plan, "uninstall_packages", "planned");
    assert!(
        going
            .iter()
            .any(|each| text(each, "summary").contains("airbyte ")),
        "{going:?}"
    );
    // Without an environment of the workspace, no other `pip` is used instead.
    let bare = deployed();
    let plan = report(&bare, &["run", "1.6", "-n"], 0);
    assert!(operations(&plan, "uninstall_packages", "planned").is_empty());
}

// Row 13. A module was deleted that another story requires.
#[test]
fn row_13_a_module_that_something_remaining_requires_stays() {
    let sandbox = deployed();
    let module = "bmad-method/tools/data-services/hypothesis-generator.js";
    let run = report(&sandbox, &["run", "1.6", "-y"], 0);
    let kept = operations(&run, "keep_path", "kept");
    let record = kept
        .iter()
        .find(|each| text(each, "target") == module)
        .expect("the module is kept");
    assert!(text(record, "why").contains("analytical-engine.js"), "{record}");
    assert!(sandbox.exists(module));
    report(&sandbox, &["run", "1.3", "1.6", "-y"], 0);
    assert!(!sandbox.exists(module), "nothing needs it any more");
}

// Row 21. npm was started once a package and installed the whole tree again each time.
#[test]
fn row_21_one_command_uninstalls_all_packages_of_a_manager() {
    let sandbox = without_engine(Sandbox::deployed(rollback_manager::demo::Options {
        venv: false,
        npm: true,
    }));
    let plan = report(&sandbox, &["run", "1.3", "-n"], 0);
    let commands = operations(&plan, "uninstall_packages", "planned");
    assert_eq!(commands.len(), 1, "{commands:?}");
    let summary = text(commands[0], "summary");
    assert!(
        summary.contains("duckdb ") && summary.contains("@duckdb/duckdb-wasm "),
        "{summary}"
    );
}
