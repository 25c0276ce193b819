//! `rollback script check`: what a script says and what the policy says to that, without running any of it.

use serde_json::Value;

use crate::sandbox::{Sandbox, assert_says, assert_unchanged};

const STORY: &str = r#"#!/usr/bin/env rollback
import "std/story" as story;
import "ours" as ours;
const STORY = #{
    id: "9.1", title: "Quarterly reports",
    data: [#{ path: "data/reports", backup: "reports" }],
    files: ["services/reports.js"],
};
fn execute() {
    story::retire_data(global::STORY);
    ours::tidy("old");
    step("Clean", || {
        run_command(["npm", "ci"]);
        remove_path(global::STORY.data_of ?? "notes.txt");
    });
    set_flag("reports", false);
    http_check("http://127.0.0.1:3001/health");
}
"#;

const SHARED: &str = "fn tidy(path) {\n    remove_path(path);\n    remove_path(\"temp/reports\");\n}\n";

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "rollback.yaml",
            "version: 1\npolicy: { commands: [npm], deny: [\"secrets/**\"] }\n",
        )
        .write("data/reports/q1.txt", "first")
        .write("mixed/secrets.txt", "x")
        .write("rollback/reports.rhai", STORY)
        .write("rollback/ours.rhai", SHARED);
    sandbox
}

fn with_execute(body: &str) -> String {
    format!("const STORY = #{{ id: \"9.2\", title: \"Other\" }};\nfn execute() {{\n{body}\n}}\n")
}

/// The answers to each word: `line word(arguments) answer rule`.
fn answers(document: &Value) -> Vec<String> {
    let scripts = document["scripts"].as_array().unwrap();
    let words = scripts
        .iter()
        .flat_map(|script| script["words"].as_array().unwrap());
    words
        .map(|word| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let given: Vec<_> = word["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|given| text(&given["text"]))
                .collect();
            let policy = word["policy"].as_array().unwrap().iter();
            let policy: Vec<_> = policy
                .map(|one| format!("{} {}", text(&one["answer"]), text(&one["rule"])))
                .collect();
            format!(
                "{} {}({}) {}",
                word["line"],
                text(&word["word"]),
                given.join(", "),
                policy.join("; ")
            )
        })
        .collect()
}

#[test]
fn words_are_listed_with_the_rule_that_allows_them() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let document = sandbox
        .run(&["script", "check", "rollback/reports.rhai", "--json"])
        .assert_code(0)
        .json();
    assert_eq!(document["ok"], true, "{document:#}");
    assert_eq!(
        answers(&document),
        [
            "12 step(\"Clean\", || ...) ",
            "13 run_command([\"npm\", \"ci\"]) allowed policy.commands: npm",
            "14 remove_path(computed) computed ",
            "16 set_flag(\"reports\", false) allowed policy.write: workspace",
            "17 http_check(\"http://127.0.0.1:3001/health\") allowed policy.http: http://127.0.0.1:*",
            "2 remove_path(computed) computed ",
            "3 remove_path(\"temp/reports\") allowed policy.write: workspace",
        ]
    );
    let imports = &document["scripts"][0]["imports"];
    assert_eq!(imports[0]["path"], "std/story");
    let retire = [
        "find_parts",
        "foreign_parts",
        "retire_dir",
        "step",
        "story_additions",
    ];
    assert_eq!(imports[0]["words"], serde_json::json!(retire));
    assert_eq!(imports[1]["words"], serde_json::json!(["remove_path"]));
    assert_eq!(document["scripts"][0]["header"][0]["line"], 6, "{document:#}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert!(!sandbox.exists(".rollback"));
}

#[test]
fn a_refused_literal_names_its_line_and_the_reason() {
    let sandbox = workspace();
    std::os::unix::fs::symlink("/etc", sandbox.path("leads-out")).unwrap();
    sandbox.write("secrets/key", "k");
    let cases = [
        ("remove_path(\"../other\");", "goes up with `..`"),
        (
            "write_text(\"/etc/passwd\", \"x\");",
            "lies outside the workspace",
        ),
        (
            "remove_path(\"secrets/key\");",
            "is denied by policy.deny `secrets/**`",
        ),
        ("retire_dir(\"secrets\", \"s\");", "is denied by policy.deny"),
        ("remove_path(\".rollback/audit\");", "belongs to rollback itself"),
        (
            "write_text(\"rollback/evil.rhai\", \"x\");",
            "belongs to rollback itself",
        ),
        ("remove_path(\"leads-out/passwd\");", "leads-out"),
        (
            "run_command([\"rm\", \"-rf\", param(\"x\", \"\")]);",
            "program `rm` is not listed",
        ),
        (
            "run_command([\"npm\"], #{ undo: [\"sh\"] });",
            "program `sh` is not listed",
        ),
        (
            "http_check(\"http://example.com/\");",
            "`http://example.com:80` is not listed",
        ),
        ("read_text(\"../../etc/passwd\");", "goes up with `..`"),
        (
            "stop_processes(#{ pid_file: \"/run/sshd.pid\" });",
            "lies outside the workspace",
        ),
        (
            "step(\"a\", || { let x = 1; step(\"b\", || { let y = x; remove_path(\"../\" + \"z\"); }); });",
            "goes up with `..`",
        ),
        ("try { remove_path(\"../x\"); } catch { }", "goes up with `..`"),
        ("\"../x\".remove_path();", "goes up with `..`"),
    ];
    let before = sandbox.snapshot(&["rollback"]);
    for (body, why) in cases {
        sandbox.write("rollback/other.rhai", with_execute(body));
        let finished = sandbox
            .run(&["script", "check", "rollback/other.rhai"])
            .assert_code(3);
        assert_says(&finished, &["refused: ", why]);
        assert!(
            finished.stdout.lines().any(|line| line.starts_with("3 ")),
            "{}",
            finished.transcript()
        );
        // What is refused here is refused in a preview too.
        sandbox.run(&["run", "9.2", "-n"]).assert_code(3);
    }
    assert_unchanged(&before, &sandbox.snapshot(&["rollback"]));
}

#[test]
fn a_broken_script_is_shown_with_line_caret_and_hint() {
    let sandbox = workspace();
    let cases = [
        (
            "    remove_pth(\"a\");",
            "^^^^^^^^^^",
            "did you mean `remove_path(path)`?",
        ),
        (
            "    remove_path(\"a\", 2);",
            "^^^^^^^^^^^",
            "`remove_path` takes 1 argument, not 2",
        ),
        ("    ask(\"a\");", "^^^", "`ask` takes 2 arguments, not 1"),
        ("    remove_path(5);", "^^^^^^^^^^^", "not integer"),
        ("    remove_path(|| 1);", "^^^^^^^^^^^", "not closure"),
        ("    step(\"a\", \"b\");", "^^^^", "takes closure as argument 2"),
        (
            "    move_path(\"a\", \"b\", #{ overwrit: true });",
            "^^^^^^^^^",
            "did you mean `overwrite`?",
        ),
        (
            "    move_path(\"a\", \"b\", #{ overwrit: dry_run() });",
            "^^^^^^^^^",
            "did you mean `overwrite`?",
        ),
        (
            "    move_path(\"a\", \"b\", #{ overwrite: 1 });",
            "^^^^^^^^^",
            "takes bool, not integer",
        ),
        ("    sleep(5);", "^^^^^", "`sleep` is not a word here"),
        ("    remove_path(\"\");", "^^^^^^^^^^^", "the path is empty"),
        (
            "    story::retire_data(1);",
            "^^^^^^^^^^^",
            "nothing is imported as `story`",
        ),
        (
            "    import \"std/stori\" as s;",
            "^^^^^^",
            "cannot import `std/stori`",
        ),
        (
            "    import \"std/story\" as s; s::retire_dta(1);",
            "^^^^^^^^^^",
            "did you mean `s::retire_data`?",
        ),
        (
            "    import \"std/story\" as s; s::retire_data();",
            "^^^^^^^^^^^",
            "`retire_data` takes 1 argument, not 0",
        ),
        ("    let x = ;", "^", "unexpected"),
    ];
    for (body, caret, hint) in cases {
        sandbox.write("rollback/other.rhai", with_execute(body));
        let finished = sandbox
            .run(&["script", "check", "rollback/other.rhai"])
            .assert_code(2);
        assert_says(&finished, &["rollback/other.rhai:3:", caret, hint]);
    }
    for (text, hint) in [
        ("fn remove_path(x) { }\n", "a script can't define `remove_path`"),
        ("remove_path(\"x\");\n", "only constants, imports and functions"),
        ("const STORY = #{ id: \"9.2\" };\n", "`STORY` lacks `title`"),
        ("fn execute() { eval(\"1\"); }\n", "eval"),
    ] {
        sandbox.write("rollback/other.rhai", text);
        assert_says(
            &sandbox
                .run(&["script", "check", "rollback/other.rhai"])
                .assert_code(2),
            &[hint],
        );
    }
    // All problems at once, and before what the policy says.
    sandbox.write(
        "rollback/other.rhai",
        with_execute("    remove_pth(1);\n    helpr();\n    remove_path(\"../x\");"),
    );
    let finished = sandbox
        .run(&["script", "check", "rollback/other.rhai"])
        .assert_code(2);
    assert_says(&finished, &["remove_pth", "helpr", "refused", "2 problems"]);
    assert_says(
        &sandbox.run(&["script", "check", "no/such.rhai"]).assert_code(2),
        &["cannot read script"],
    );
    assert_says(
        &sandbox.run(&["script", "check", "rollback"]).assert_code(2),
        &["it is a directory"],
    );
}

/// A library may neither hide a word behind a function of the same name nor act while it is imported.
#[test]
fn what_is_imported_keeps_the_rules_of_scripts() {
    let sandbox = workspace();
    sandbox.write(
        "rollback/other.rhai",
        with_execute("    import \"lib\" as lib; lib::clean();"),
    );
    for (library, why) in [
        (
            "fn remove_path(path) { }\nfn clean() { remove_path(\"notes.txt\"); }\n",
            "can't define `remove_path`",
        ),
        (
            "remove_path(\"data\");\nfn clean() { }\n",
            "only constants, imports and functions",
        ),
        ("fn clean( { }\n", "expecting"),
    ] {
        sandbox.write("rollback/lib.rhai", library);
        let before = sandbox.snapshot(&[]);
        for arguments in [
            &["run", "rollback/other.rhai", "-n"] as &[&str],
            &["run", "rollback/other.rhai", "--yes"],
            &["script", "check", "rollback/other.rhai"],
        ] {
            // A library that breaks a rule of scripts is no story either: only what names it is told here.
            assert_says(&sandbox.run(arguments).assert_code(2), &[why]);
        }
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

#[test]
fn the_stories_of_the_program_and_its_library_are_sound() {
    let sandbox = Sandbox::empty();
    for directory in ["scripts", "stdlib"] {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut paths: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect();
        paths.sort();
        assert!(paths.len() >= 5);
        let arguments: Vec<&str> = ["script", "check"]
            .into_iter()
            .chain(paths.iter().map(String::as_str))
            .collect();
        assert_says(
            &sandbox.run(&arguments).assert_code(0),
            &["0 refused", "0 problems"],
        );
    }
}

/// Secrets of a script's text reach neither form.
#[test]
fn secrets_in_a_script_are_masked() {
    const SECRET: &str = "zebra-crossing-at-midnight";
    let sandbox = workspace();
    sandbox.write(".env", format!("API_KEY={SECRET}\n"));
    let body = format!(
        "    note(\"it is {SECRET}\");\n    remove_path(\"../{SECRET}\");\n    remove_pth(\"{SECRET}\");"
    );
    sandbox.write("rollback/other.rhai", with_execute(&body));
    for json in [&[] as &[&str], &["--json"]] {
        let finished = sandbox
            .run(&[&["script", "check", "rollback/other.rhai"], json].concat())
            .assert_code(2);
        assert!(!finished.stdout.contains(SECRET), "{}", finished.transcript());
        assert!(!finished.stderr.contains(SECRET), "{}", finished.transcript());
    }
}
