//! Backups as a person keeps them: shown, checked up the ladder, sealed, made by hand.

use crate::sandbox::{Sandbox, assert_says, assert_unchanged};

const STORY: &str = r#"const STORY = #{
    id: "9.1", title: "Quarterly reports",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() { retire_dir("data/reports", "reports"); }
"#;

/// A workspace with one backup, made without digests where `limit` is 0.
fn backed_up(limit: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n",
        )
        .write("rollback.yaml", format!("backups: {{ digest_limit: {limit} }}\n"))
        .write("rollback/reports.rhai", STORY);
    for file in 0..40 {
        sandbox.write(&format!("data/reports/q{file}.txt"), format!("report {file}"));
    }
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let listed = sandbox.json(&["backup", "list"]);
    let name = listed["backups"][0]["name"].as_str().unwrap().to_owned();
    (sandbox, name)
}

#[test]
fn every_level_finds_a_sound_backup_sound() {
    let (sandbox, name) = backed_up("1GiB");
    for (level, said) in [
        ("structure", "contents not read"),
        ("sample", "files compared"),
        ("full", "40 files compared"),
        ("restore", "40 files compared, restored on trial"),
    ] {
        let finished = sandbox
            .run(&["backup", "verify", &name, "--level", level])
            .assert_code(0);
        assert_says(&finished, &["sound", said]);
    }
    assert!(
        !sandbox.exists(&format!(".rollback/trial/{name}")),
        "nothing is left of the trial"
    );
    assert_says(&sandbox.run(&["backup", "list"]), &["verified"]);
    assert_says(
        &sandbox.run(&["backup", "show", &name]),
        &["yes, sound", "data/reports", "moved"],
    );
    let before = sandbox.snapshot(&[]);
    sandbox
        .run(&["backup", "verify", "-n", "--level", "restore"])
        .assert_code(0);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_backup_without_digests_gets_them_by_seal_or_by_verify() {
    let (sandbox, name) = backed_up("0");
    assert_says(
        &sandbox.run(&["backup", "show", &name]),
        &["without digests", "rollback backup seal"],
    );
    assert_says(
        &sandbox.run(&["backup", "verify", "-n"]).assert_code(0),
        &["0 files compared"],
    );
    let sealed = sandbox.run(&["backup", "seal", &name]).assert_code(0);
    assert_says(&sealed, &["has its digests now"]);
    assert_says(
        &sandbox.run(&["backup", "seal", &name]).assert_code(0),
        &["has its digests already"],
    );
    assert_says(
        &sandbox.run(&["backup", "verify"]).assert_code(0),
        &["40 files compared"],
    );
    // It is the same backup, and goes back.
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q7.txt"), "report 7");

    let (sandbox, _) = backed_up("0");
    assert_says(
        &sandbox.run(&["backup", "verify"]).assert_code(0),
        &["digests added"],
    );
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

#[test]
fn damage_is_named_and_the_code_is_8() {
    let (sandbox, name) = backed_up("1GiB");
    let file = sandbox.path(&format!("rollback_backups/{name}/q3.txt"));
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "REPORT 3").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    sandbox
        .run(&["backup", "verify", "--level", "structure"])
        .assert_code(0);
    let found = sandbox.run(&["backup", "verify"]).assert_code(8);
    assert_says(&found, &["DAMAGED", "`q3.txt`"]);
    assert_says(&sandbox.run(&["backup", "list"]), &["DAMAGED"]);
    let json = sandbox.run(&["--json", "backup", "verify"]).assert_code(8).json();
    assert_eq!(json["backups"][0]["verified"], false, "{json:#}");
    assert_eq!(json["backups"][0]["problems"][0]["path"], "q3.txt", "{json:#}");
    // A damaged backup is not sealed, and not restored over what stands.
    let names = |sandbox: &Sandbox| -> Vec<std::ffi::OsString> {
        let entries = sandbox.root().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names(&sandbox);
    sandbox
        .run(&["backup", "restore", &name, "--to", "elsewhere", "--yes"])
        .assert_code(8);
    assert_eq!(names(&sandbox), before);
}

#[test]
fn a_backup_is_made_by_hand_and_put_back_over_what_changed() {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n",
        )
        .write("data/my reports/q1.txt", "first");
    let made = sandbox
        .run(&["--json", "backup", "create", "data/my reports"])
        .assert_code(0)
        .json();
    let name = made["backups"][0]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("my_reports_"), "{name}");
    sandbox.write("data/my reports/q1.txt", "changed");
    sandbox.write("data/my reports/q2.txt", "new");
    sandbox.run(&["backup", "restore", &name, "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/my reports/q1.txt"), "first");
    assert_eq!(sandbox.read("data/my reports/q2.txt"), "new");
    // What stood there is not lost: the restore is taken back like any run.
    let history = sandbox.json(&["history"]);
    let restore = history["runs"].as_array().unwrap().last().unwrap()["run"].clone();
    sandbox
        .run(&["undo", restore.as_str().unwrap(), "--yes"])
        .assert_code(0);
    assert_eq!(sandbox.read("data/my reports/q1.txt"), "changed");
    assert_eq!(sandbox.read("data/my reports/q2.txt"), "new");
    sandbox.run(&["backup", "show", "my_report"]).assert_code(2);
}
