//! `--each`: a question before every destructive step, and what an answer does to the rest of the plan.

use super::*;

#[test]
fn each_asks_at_every_destructive_step() {
    let sandbox = workspace(REMOVE_BOTH);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("remove `reports` (2 files, 11 B)? [y/N] ")
        .types("y\n")
        .sees("remove `drafts` (1 file, 5 B)? [y/N] ")
        .types("y\n");
    person.leaves_with(0);
    assert!(!sandbox.exists("reports") && !sandbox.exists("drafts"));
}

/// One operation is one question, which tells each of its paths.
#[test]
fn each_asks_once_for_paths_that_go_together() {
    let sandbox = workspace("    remove_paths([\"reports\", \"drafts\"]);");
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person.sees(QUESTION).types("y\n");
    person
        .sees("remove 2 paths (3 files, 16 B): `reports` (2 files, 11 B), `drafts` (1 file, 5 B)? [y/N] ")
        .types("n\n");
    person.leaves_with(5);
    assert!(sandbox.exists("reports") && sandbox.exists("drafts"));
}

#[test]
fn each_leaves_out_what_is_declined_and_tells_the_truth_about_what_changed() {
    let sandbox = workspace(REMOVE_BOTH);
    let before = sandbox.snapshot(RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("reports` (2 files, 11 B)? [y/N] ")
        .types("n\n")
        .sees("drafts` (1 file, 5 B)? [y/N] ")
        .types("n\n");
    let screen = person.leaves_with(5);
    for said in ["declined at the question", "nothing was changed", "next:"] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    assert!(!screen.contains("something was changed"), "{screen}");
    assert_as_before(&before, &sandbox, &[]);

    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("reports` (2 files, 11 B)? [y/N] ")
        .types("y\n");
    person.sees("drafts` (1 file, 5 B)? [y/N] ").types("n\n");
    // The rest was done, and what was declined is told.
    let screen = person.leaves_with(0);
    assert!(screen.contains("declined at the question"), "{screen}");
    assert!(screen.contains("rollback undo "), "{screen}");
    assert!(!sandbox.exists("reports") && sandbox.exists("drafts/q3.txt"));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, &[]);
}

/// What is no yes is none: an answer that nobody gave ends the run before the act that it was about.
#[test]
fn each_ends_at_a_question_that_gets_no_answer() {
    for (key, code) in [("\u{3}", 130), ("\u{4}", 5)] {
        let sandbox = workspace(REMOVE_BOTH);
        let before = sandbox.snapshot(RECORDS);
        let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
        person
            .sees(QUESTION)
            .types("y\n")
            .sees("reports` (2 files, 11 B)? [y/N] ")
            .types(key);
        let screen = person.leaves_with(code);
        assert!(!screen.contains("drafts` (1 file, 5 B)? [y/N] "), "{screen}");
        assert!(sandbox.exists("reports/q1.txt"), "{screen}");
        assert_as_before(&before, &sandbox, &[]);
    }
}

/// What comes later rests on it: it can't be left out, and what rests on it is named.
#[test]
fn each_says_what_rests_on_a_step_that_is_declined() {
    let sandbox = workspace("    move_path(\"reports\", \"moved\");\n    remove_path(\"moved\");");
    let before = sandbox.snapshot(RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person.sees(QUESTION).types("y\n").sees("? [y/N] ").types("n\n");
    let screen = person.leaves_with(5);
    for said in [
        "was declined",
        "rests on it",
        "`remove_path` of `moved`",
        "nothing was changed",
    ] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    assert_as_before(&before, &sandbox, &[]);
}

#[test]
fn each_without_a_terminal_changes_nothing_and_leaves_no_unfinished_run() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["run", "9.1", "--each", "--yes"]).assert_code(5);
    assert!(refused.stderr.contains("--each"), "{}", refused.transcript());
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
}
