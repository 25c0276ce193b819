//! `rollback doctor`: what a machine can do is tried, and nothing of the workspace changes by it.

use crate::disk::{in_namespace, mount};
use crate::json::document;
use crate::sandbox::{Sandbox, Snapshot, assert_unchanged};

#[test]
fn what_this_machine_can_do_is_told_and_nothing_is_changed_or_left() {
    let sandbox = Sandbox::full();
    let outside = sandbox.root().parent().unwrap().to_path_buf();
    let before = Snapshot::of(&outside, &[]);
    let told = document(&sandbox, "doctor", 0, &["doctor"]);
    let abilities = told["abilities"].as_array().unwrap();
    let names: Vec<&str> = abilities
        .iter()
        .map(|each| each["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "landlock",
            "transactions",
            "pidfd",
            "openat2",
            "rename-noreplace",
            "rename-exchange",
            "reflink"
        ]
    );
    // The program would not run at all without these.
    for name in ["pidfd", "openat2"] {
        assert_eq!(
            abilities.iter().find(|each| each["name"] == name).unwrap()["able"],
            true
        );
    }
    for each in abilities {
        assert!(each["able"] == true || each["why"].is_string(), "{each}");
    }
    let text = sandbox.run(&["doctor"]).assert_code(0).stdout;
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
    assert_unchanged(&before, &Snapshot::of(&outside, &[]));
}

/// Kind "not looking is not passing": where nothing can be tried on the file system of the workspace, that is said.
#[test]
fn what_could_not_be_tried_is_unknown_and_not_lacking() {
    in_namespace(|| {
        let sandbox = Sandbox::empty();
        let flags = sandbox.read("config/feature-flags.yaml");
        mount(&["-t", "tmpfs", "tmpfs"], &sandbox.root());
        sandbox.write("config/feature-flags.yaml", flags);
        let told = document(&sandbox, "doctor", 0, &["doctor"]);
        let reflink = &told["abilities"][6];
        assert_eq!(reflink["able"], serde_json::Value::Null, "{told:#}");
        assert!(
            reflink["why"]
                .as_str()
                .unwrap()
                .contains("no directory for a trial"),
            "{told:#}"
        );
    });
}
