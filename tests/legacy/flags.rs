//! Rows 23 to 26: the feature flags.

use std::process::Stdio;

use super::{deployed, failed_checks, report};
use crate::sandbox::{Sandbox, assert_unchanged, ended};

fn flags(text: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("config/feature-flags.yaml", text);
    sandbox
}

// Row 23. Two programs that edited the flags lost one of the edits.
#[test]
fn row_23_no_edit_of_the_flags_is_lost() {
    let names: Vec<String> = (0..6).map(|number| format!("feature_{number}")).collect();
    let mut text = "features:\n".to_owned();
    for name in &names {
        text.push_str(&format!("  {name}:\n    enabled: true\n    dependencies: []\n"));
    }
    let sandbox = flags(&text);
    let started: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = sandbox.command(&["feature", "disable", name]);
            (
                name,
                command
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    let mut done = 0;
    for (name, mut child) in started {
        let code = ended(&mut child).code().unwrap();
        let is_off = sandbox.run(&["feature", "check", name]).code == Some(1);
        assert!(code == 0 || code == 6, "{name}: {code}");
        assert_eq!(is_off, code == 0, "{name}: what was said is not what is");
        done += i32::from(code == 0);
    }
    assert!(done >= 1);
}

// Row 24. Dependants behind a feature that was off already stayed on.
#[test]
fn row_24_dependants_behind_a_disabled_feature_go_off_too() {
    let sandbox = flags(
        "features:\n  a: { enabled: true, dependencies: [] }\n  b: { enabled: false, dependencies: [a] }\n  c: { enabled: true, dependencies: [b] }\n  d: { enabled: true, dependencies: [] }\n",
    );
    sandbox.run(&["feature", "disable", "a"]).assert_code(0);
    let text = sandbox.read("config/feature-flags.yaml");
    assert!(
        text.contains("c: { enabled: false,") && text.contains("d: { enabled: true,"),
        "{text}"
    );
}

// Row 25. Only one of the five flags that gate the code of 1.6 was switched off.
#[test]
fn row_25_every_flag_that_gates_the_code_goes_off() {
    let sandbox = deployed();
    report(&sandbox, &["run", "1.6", "-y"], 0);
    for name in [
        "eda_automation",
        "automated_eda",
        "agent_hypothesis_generation",
        "statistical_testing",
        "pattern_detection",
    ] {
        sandbox.run(&["feature", "check", name]).assert_code(1);
    }
}

// Row 26. A corrupt flags file read "Unknown feature"; a missing one was fine.
#[test]
fn row_26_a_corrupt_flags_file_is_named_and_a_missing_one_is_not_fine() {
    let sandbox = deployed();
    sandbox.write("config/feature-flags.yaml", "features: [unclosed\n");
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["run", "1.3", "-y"]).assert_code(2);
    assert!(
        refused.stderr.contains("config/feature-flags.yaml"),
        "{}",
        refused.transcript()
    );
    assert!(
        !refused.stderr.contains("Unknown feature"),
        "{}",
        refused.transcript()
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let sandbox = deployed();
    sandbox.remove("config/feature-flags.yaml");
    let run = report(&sandbox, &["run", "1.3", "-y"], 1);
    assert!(failed_checks(&run).contains("Feature flag is disabled"), "{run}");
    assert!(!sandbox.exists(".duckdb"), "the run goes on");
}
