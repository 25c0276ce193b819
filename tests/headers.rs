//! The header of a story: what nobody reads is an error, in every command that reads it; and what surprises in the language.

use crate::sandbox::{Sandbox, assert_says};

fn workspace(text: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback/story.rhai", text);
    sandbox
}

const HEAD: &str = "const STORY = #{ id: \"9.1\", title: \"t\" };\n";

#[test]
fn what_is_wrong_in_a_header_is_told_by_every_command_that_reads_it() {
    for (text, said) in [
        (
            "const STORY = #{ id: \"9.1\", title: \"t\",\n  servces: [] };\nfn execute() { }\n".to_owned(),
            [
                "rollback/story.rhai:2:3",
                "has no key `servces`",
                "did you mean `services`?",
            ],
        ),
        (
            format!("{HEAD}fn exceute() {{ }}\n"),
            [
                "rollback/story.rhai:2:4",
                "`exceute` is no phase",
                "did you mean `execute`?",
            ],
        ),
        (
            format!("{HEAD}fn execute(story) {{ }}\n"),
            ["rollback/story.rhai:2:4", "takes no arguments", "fn execute()"],
        ),
        (
            "const STORY = #{ id: \"9.1\", title: \"t\", services: [\"node x\"] };\nfn execute() { }\n"
                .to_owned(),
            [
                "rollback/story.rhai:1:",
                "`services[0]` is a string",
                "it is a map with",
            ],
        ),
        (
            "const STORY = #{ id: \"9.1\", title: \"t\", files: [\"a[\"] };\nfn execute() { }\n".to_owned(),
            ["rollback/story.rhai:1:", "`a[` is no pattern", "`[a-z]`"],
        ),
        (
            "const STORY = #{ id: \"9.1\", title: now() };\nfn execute() { }\n".to_owned(),
            [
                "rollback/story.rhai:1:",
                "STORY is a literal map",
                "write out its texts",
            ],
        ),
    ] {
        let sandbox = workspace(&text);
        for arguments in [
            &["run", "9.1", "-n"] as &[&str],
            &["plan", "all"],
            &["run", "9.1", "--yes"],
            &["run", "rollback/story.rhai", "-n"],
            &["validate", "9.1"],
            &["script", "check", "rollback/story.rhai"],
            &["script", "list"],
            &["status"],
        ] {
            assert_says(&sandbox.run(arguments).assert_code(2), &said);
        }
        for arguments in [&["script", "list", "--json"], &["status", "--json"] as &[&str]] {
            let document = sandbox.run(arguments).assert_code(2).json();
            let problem = &document["problems"][0];
            assert_eq!(problem["kind"], "script", "{document:#}");
            assert!(problem["at"]["line"].as_u64() > Some(0), "{document:#}");
        }
    }
}

#[test]
fn every_story_that_cannot_be_read_is_told() {
    let sandbox = workspace("const STORY = #{ id: \"9.1\", title: \"t\", fils: [] };\nfn execute() { }\n");
    sandbox.write(
        "rollback/other.rhai",
        "const STORY = #{ id: \"9.2\", title: \"t\", dta: [] };\nfn execute() { }\n",
    );
    let said = sandbox.run(&["script", "list"]).assert_code(2);
    assert_says(&said, &["`fils`", "`dta`", "1.3"]);
}

#[test]
fn the_schema_is_printed() {
    let sandbox = Sandbox::empty();
    let schema = sandbox.run(&["script", "schema"]).assert_code(0).json();
    assert_eq!(schema["$id"], "rollback.story/1");
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["id", "title"]));
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn what_for_each_gives_is_told_where_a_word_is_given_it() {
    let sandbox = workspace(&format!(
        "{HEAD}fn execute() {{\n    [\"a\", \"b\"].for_each(|p| remove_path(p));\n}}\n"
    ));
    let said = sandbox.run(&["run", "9.1", "-n"]).assert_code(2);
    assert_says(
        &said,
        &["not integer", "`for_each` gives its closure the index", "this"],
    );
    let sandbox = workspace(&format!(
        "{HEAD}fn execute() {{\n    [\"a\", \"b\"].for_each(|| remove_path(this));\n}}\n"
    ));
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    // The same mistake without it has the usual hint.
    let sandbox = workspace(&format!("{HEAD}fn execute() {{ remove_path(1); }}\n"));
    let said = sandbox.run(&["run", "9.1", "-n"]).assert_code(2);
    assert_says(&said, &["it is said as `remove_path(path)`"]);
}

/// The engine fails at `debug("stop")` in a debug build that is asked to.
fn failing(sandbox: &Sandbox, arguments: &[&str]) -> crate::sandbox::Finished {
    let mut command = sandbox.command(arguments);
    command.env("ROLLBACK_TEST_ENGINE_FAILURE", "stop");
    crate::sandbox::Finished::of(&mut command, arguments)
}

#[test]
fn a_failure_of_the_engine_is_told_with_its_line() {
    for (body, line) in [
        (
            "    let a = 1;\n    debug(\"stop\");\n    remove_path(\"x\");\n",
            4,
        ),
        (
            "    remove_path(\"x\");\n    let a = 1;\n    let b = a + 1;\n    step(\"s\", || {\n        debug(\"stop\");\n    });\n",
            7,
        ),
    ] {
        let sandbox = workspace(&format!("{HEAD}fn execute() {{\n{body}}}\n"));
        sandbox.write("x", "x");
        for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
            let said = failing(&sandbox, arguments).assert_code(2);
            assert_says(
                &said,
                &[
                    &format!("the script engine failed at line {line}"),
                    "debug(\"stop\")",
                ],
            );
            assert!(!said.transcript().contains("recover"), "{}", said.transcript());
            assert!(
                !said.transcript().contains("bug in rollback"),
                "{}",
                said.transcript()
            );
        }
        let report = failing(&sandbox, &["run", "9.1", "-n", "--json"])
            .assert_code(2)
            .json();
        assert_eq!(report["error"]["kind"], "script", "{report:#}");
        assert!(sandbox.exists("x"));
    }
}
