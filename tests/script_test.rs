//! `rollback script new` and `script test`: a story to start from, and its tests as dry runs.

use crate::sandbox::{Sandbox, assert_says, assert_unchanged};

const SCRIPT: &str = r#"const STORY = #{ id: "9.1", title: "Reports" };
fn execute() { retire_dir("data/reports", "reports"); write_text("done.txt", "x"); }
fn test_a_data_is_retired() {
    execute();
    check("the data is gone", || !path_exists("data/reports"));
    check("it is noted", || read_text("done.txt") == "x");
    if !dry_run() { fail("a test is a dry run"); }
}
fn test_b_each_starts_anew() { check("nothing is gone", || path_exists("data/reports")); }
fn test_with_parameters(a) { fail("it is no test"); }
fn helper() { fail("it is no test"); }
"#;

fn workspace(script: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/reports/q1.txt", "first")
        .write("rollback/reports.rhai", script);
    sandbox
}

#[test]
fn each_test_is_a_dry_run_of_its_own() {
    let sandbox = workspace(SCRIPT);
    let before = sandbox.snapshot(&[]);
    let finished = sandbox
        .run(&["script", "test", "rollback/reports.rhai"])
        .assert_code(0);
    assert_eq!(
        finished.stdout,
        "ok    rollback/reports.rhai test_a_data_is_retired\n\
         ok    rollback/reports.rhai test_b_each_starts_anew\n\
         2 tests passed, 0 failed; nothing was changed\n"
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_test_fails_where_it_throws_is_refused_or_a_check_does_not_hold() {
    for (body, why) in [
        ("check(\"it holds\", || false);", "`it holds` does not hold"),
        ("check(\"left\", || [\"a is there\"]);", "a is there"),
        ("fail(\"on purpose\");", "on purpose"),
        ("throw 5;", "5"),
        ("remove_path(\"../x\");", "goes up with `..`"),
        ("remove_path(5);", "not integer"),
        ("no_such();", "unknown function `no_such`"),
        ("loop { }", "used up its operations"),
    ] {
        let sandbox = workspace(&format!("fn test_it() {{ {body} }}\nfn test_other() {{ }}\n"));
        sandbox.write(
            "rollback.yaml",
            "version: 1\npolicy: { limits: { operations: 10000 } }\n",
        );
        let before = sandbox.snapshot(&[]);
        let finished = sandbox
            .run(&["script", "test", "rollback/reports.rhai"])
            .assert_code(1);
        assert_says(
            &finished,
            &[
                "fails rollback/reports.rhai test_it",
                why,
                "rollback/reports.rhai",
                "1 test passed, 1 failed",
            ],
        );
        let document = sandbox
            .run(&["script", "test", "rollback/reports.rhai", "--json"])
            .assert_code(1)
            .json();
        assert_eq!(document["schema"], "rollback.tests/1");
        assert_eq!(
            (&document["tests"][0]["passed"], &document["tests"][1]["passed"]),
            (&false.into(), &true.into())
        );
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

#[test]
fn a_script_without_tests_or_with_a_mistake_is_no_pass() {
    for (script, why) in [
        ("fn execute() { }\n", "there is no test"),
        ("fn test_a( {\n", "expecting"),
    ] {
        let sandbox = workspace(script);
        assert_says(
            &sandbox
                .run(&["script", "test", "rollback/reports.rhai"])
                .assert_code(2),
            &[why],
        );
    }
}

#[test]
fn a_new_script_is_sound_tested_and_a_story() {
    let sandbox = Sandbox::empty();
    assert_says(
        &sandbox.run(&["script", "new", "9.4"]).assert_code(0),
        &["made rollback/9.4.rhai"],
    );
    let path = "rollback/9.4.rhai";
    sandbox.run(&["script", "check", path]).assert_code(0);
    assert_says(
        &sandbox.run(&["script", "test", path]).assert_code(0),
        &["1 test passed"],
    );
    sandbox.run(&["run", "9.4", "-n"]).assert_code(0);
    assert_says(&sandbox.run(&["script", "list"]).assert_code(0), &["9.4"]);
    assert!(!sandbox.exists(".rollback"));
}

#[test]
fn a_new_script_replaces_nothing_and_leaves_the_workspace_by_no_way() {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback/mine.rhai", "fn helper() { }\n");
    let before = sandbox.snapshot(&[]);
    for (name, why) in [
        ("mine", "mine.rhai"),
        ("1.3", "story 1.3 is there already"),
        ("../evil", "can't name a story"),
        ("/tmp/evil", "can't name a story"),
        ("a/b", "can't name a story"),
        (".hidden", "can't name a story"),
        ("", "can't name a story"),
        ("a\"b", "can't name a story"),
    ] {
        assert_says(&sandbox.run(&["script", "new", name]).assert_code(2), &[why]);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox.remove("rollback");
    std::os::unix::fs::symlink(sandbox.home(), sandbox.path("rollback")).unwrap();
    assert_says(
        &sandbox.run(&["script", "new", "evil"]).assert_code(3),
        &["`rollback` is no directory"],
    );
    assert_eq!(std::fs::read_dir(sandbox.home()).unwrap().count(), 0);
}
