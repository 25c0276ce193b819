//! Plans in files: done exactly, once, and only on the world that they were made for.

use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::sandbox::{InTime as _, Sandbox, assert_says, assert_unchanged};

const STORY: &str = r#"const STORY = #{
    id: "9.1", title: "Quarterly reports", feature: "beta",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() {
    step("Retire data", || { retire_dir("data/reports", "reports"); });
    step("Remove files", || {
        remove_path("notes.txt");
        if param("more", false) { remove_path("more.txt"); }
    });
}
"#;

const FLAGS: &str =
    "features:\n  alpha: { enabled: true }\n  beta: { enabled: true, dependencies: [alpha] }\n";

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("config/feature-flags.yaml", FLAGS)
        .write("data/reports/q1.txt", "first")
        .write("data/reports/deep/q2.txt", "second")
        .write("notes.txt", "note")
        .write("more.txt", "more")
        .write("rollback/reports.rhai", STORY);
    sandbox
}

/// A workspace with the plan of its story in a file beside it.
fn planned() -> (Sandbox, String) {
    let sandbox = workspace();
    let file = sandbox.home().join("plan.json").display().to_string();
    sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
    (sandbox, file)
}

#[test]
fn a_plan_is_done_once() {
    let (sandbox, file) = planned();
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let before = sandbox.snapshot(&[]);
    sandbox.run(&["apply", &file, "-n"]).assert_code(0);
    sandbox.run(&["apply", &file, "--no-input"]).assert_code(5);
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let done = sandbox
        .run(&["apply", &file, "--yes", "--json"])
        .assert_code(0)
        .json();
    assert_eq!((&done["plan"], &done["outcome"]), (&plan["plan"], &"done".into()));
    assert!(!sandbox.exists("data/reports") && !sandbox.exists("notes.txt") && sandbox.exists("more.txt"));

    let again = sandbox.run(&["apply", &file, "--yes"]).assert_code(7);
    assert_says(
        &again,
        &["was carried out already, by run", done["run"].as_str().unwrap()],
    );
    // Not even where it was taken back: whoever wants it again looks again.
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    sandbox.run(&["apply", &file, "--yes"]).assert_code(7);
    assert!(sandbox.exists("data/reports/deep/q2.txt"));
}

#[test]
fn a_changed_fact_is_named_and_nothing_is_touched() {
    /// What changes, how, and what is said of it.
    type Change = (&'static str, fn(&Sandbox), &'static [&'static str]);
    let changes: [Change; 6] = [
        (
            "contents of the same size and time",
            |sandbox| {
                let path = sandbox.path("notes.txt");
                let time = std::fs::metadata(&path).unwrap().modified().unwrap();
                std::fs::write(&path, "NOTE").unwrap();
                std::fs::File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            },
            &[
                "`notes.txt` is not what the plan rests on (its contents are others now",
                "step \"Remove files\"",
            ],
        ),
        (
            "a file deep in a directory",
            |sandbox| {
                sandbox.write("data/reports/deep/q2.txt", "SECOND");
            },
            &[
                "`data/reports` is not what the plan rests on (what is in it changed",
                "`retire_dir`",
                "step \"Retire data\"",
            ],
        ),
        (
            "another file of the same name",
            |sandbox| {
                let path = sandbox.path("notes.txt");
                let inode = std::fs::metadata(&path).unwrap().ino();
                std::fs::rename(&path, sandbox.path("old.txt")).unwrap();
                sandbox.write("notes.txt", "note");
                assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode);
            },
            &[
                "`notes.txt` is not what the plan rests on",
                "it is another one of the same name",
            ],
        ),
        (
            "a path that has gone",
            |sandbox| {
                sandbox.remove("notes.txt");
            },
            &["operation", "`notes.txt`", "not present"],
        ),
        (
            "a flag",
            |sandbox| {
                sandbox.write(
                    "config/feature-flags.yaml",
                    FLAGS.replace("beta: { enabled: true", "beta: { enabled: false"),
                );
            },
            &["set_flag", "beta"],
        ),
        (
            "the script",
            |sandbox| {
                sandbox.write(
                    "rollback/reports.rhai",
                    STORY.replace("param(\"more\", false)", "true"),
                );
            },
            &["remove `more.txt`"],
        ),
    ];
    for (what, change, said) in changes {
        let (sandbox, file) = planned();
        change(&sandbox);
        let before = sandbox.snapshot(&[]);
        let finished = sandbox.run(&["apply", &file, "--yes"]).assert_code(7);
        assert_says(&finished, said);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
        assert!(!sandbox.exists(".rollback"), "{what}");
    }
}

#[test]
fn options_of_the_plan_are_those_of_the_run() {
    let sandbox = workspace();
    let file = sandbox.home().join("plan.json").display().to_string();
    sandbox
        .run(&["plan", "9.1", "-o", &file, "--param", "more=true", "--copy"])
        .assert_code(0);
    let done = sandbox
        .run(&["apply", &file, "--yes", "--json"])
        .assert_code(0)
        .json();
    assert!(!sandbox.exists("more.txt"), "{done:#}");
    assert_eq!(done["backups"][0]["method"], "copied", "{done:#}");
}

#[test]
fn an_edited_or_foreign_file_is_no_plan() {
    let (sandbox, file) = planned();
    let text = std::fs::read_to_string(&file).unwrap();
    let before = sandbox.snapshot(&[]);
    for (wrong, said) in [
        (
            text.replace("notes.txt", "more.txt"),
            "was edited after it was made",
        ),
        (text.replacen("\"hash\"", "\"hush\"", 1), "it has no `hash`"),
        ("[]".to_owned(), "is no plan"),
        (text[..text.len() / 2].to_owned(), "is no plan"),
        (String::new(), "is no plan"),
    ] {
        assert_ne!(wrong, text);
        std::fs::write(&file, wrong).unwrap();
        let finished = sandbox.run(&["apply", &file, "--yes"]).assert_code(2);
        assert_says(&finished, &[said, "rollback plan STORIES -o FILE"]);
    }
    sandbox
        .run(&["apply", "/nowhere/plan.json", "--yes"])
        .assert_code(2);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_plan_that_could_not_be_made_can_not_be_done() {
    let sandbox = workspace();
    sandbox.write(
        "rollback/reports.rhai",
        STORY.replace("remove_path(\"notes.txt\")", "remove_path(\"../x\")"),
    );
    let file = sandbox.home().join("plan.json").display().to_string();
    sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(3);
    let finished = sandbox.run(&["apply", &file, "--yes"]).assert_code(2);
    assert_says(&finished, &["could not be made"]);
}

/// `--purge` is the one way to lose what is removed: it is named, and asked for on its own.
#[test]
fn a_purge_is_irreversible_and_approved_by_its_plan_alone() {
    let sandbox = workspace();
    let plan = sandbox.json(&["plan", "9.1", "--purge"]);
    let removal = plan["operations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|operation| operation["op"] == "remove_path")
        .unwrap();
    assert_eq!(
        (&removal["risk"], &removal["undo"]),
        (&"irreversible".into(), &"none".into())
    );
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["run", "9.1", "--purge", "--yes"]).assert_code(5);
    assert_says(&refused, &["--confirm", "1 operation would lose"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let id = plan["plan"].as_str().unwrap();
    sandbox.run(&["run", "9.1", "--confirm", id]).assert_code(7);
    let done = sandbox
        .run(&["run", "9.1", "--purge", "--confirm", id, "--json"])
        .assert_code(0)
        .json();
    assert!(!sandbox.exists("notes.txt"));
    let kept = std::process::Command::new("grep")
        .args(["-rl", "^note$"])
        .arg(sandbox.root())
        .output_in_time()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "", "nothing keeps it");
    // Data goes into its backup all the same, and comes back.
    assert_eq!(done["backups"].as_array().unwrap().len(), 1);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert!(sandbox.exists("data/reports/deep/q2.txt") && !sandbox.exists("notes.txt"));
}

#[test]
fn a_mistyped_parameter_is_named() {
    let sandbox = workspace();
    let plan = sandbox.json(&["plan", "9.1", "--param", "mor=true"]);
    let warnings = plan["warnings"].to_string();
    assert!(
        warnings.contains("--param mor: no script asks for it"),
        "{warnings}"
    );
    let plan = sandbox.json(&["plan", "9.1", "--param", "more=true"]);
    assert!(!plan["warnings"].to_string().contains("--param"), "{plan:#}");
}
