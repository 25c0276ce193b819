//! Bad input of every kind: the exit code, a message that names file, line and remedy, and nothing changed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Output;

use crate::sandbox::{InTime as _, Sandbox, assert_unchanged};
use crate::skipped::skipped;

/// What a finished program said to people, with its exit code and without what differs from run to run.
fn told(sandbox: &Sandbox, output: &Output) -> String {
    let code = output
        .status
        .code()
        .map_or("a signal".to_owned(), |code| code.to_string());
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    format!("exit code {code}\n{stderr}")
        .replace(&sandbox.root().display().to_string(), "[workspace]")
        .replace(&sandbox.home().display().to_string(), "[home]")
        .replace(&std::process::id().to_string(), "[pid]")
}

/// Runs what is to be refused; fails if it changes anything.
#[track_caller]
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let before = sandbox.snapshot(&[]);
    let output = sandbox.command(arguments).output_in_time().unwrap();
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    told(sandbox, &output)
}

/// A workspace with one story, which is refused.
#[track_caller]
fn refused_script(script: &str) -> String {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write("rollback/story.rhai", script);
    refused(&sandbox, &["run", "9.1", "--yes"])
}

/// A story that does this first, and would remove `data` then.
#[track_caller]
fn refused_body(body: &str) -> String {
    refused_script(&story("9.1", &format!("    {body}\n    remove_path(\"data\");")))
}

fn story(id: &str, execute: &str) -> String {
    format!("const STORY = #{{ id: \"{id}\", title: \"A story\" }};\n\nfn execute() {{\n{execute}\n}}\n")
}

#[track_caller]
fn refused_configuration(text: &str) -> String {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", text)
        .write("rollback/story.rhai", story("9.1", "    remove_path(\"data\");"));
    sandbox.write("data/keep", "x");
    refused(&sandbox, &["run", "9.1", "--yes"])
}

/// A workspace in which story 9.1 with feature `alpha` could be rolled back, but for its flags file.
fn with_flags(text: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("config/feature-flags.yaml", text).write("data/keep", "x").write(
        "rollback/story.rhai",
        "const STORY = #{ id: \"9.1\", title: \"A story\", feature: \"alpha\" };\nfn execute() { remove_path(\"data\"); }\n",
    );
    sandbox
}

#[test]
fn unknown_story() {
    let sandbox = Sandbox::empty();
    insta::assert_snapshot!(refused(&sandbox, &["run", "1.33", "--yes"]), @"
    exit code 2
    error: unknown story `1.33`
    note: nothing was changed
    hint: did you mean `1.3`? known: 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, all
    ");
    insta::assert_snapshot!(refused(&sandbox, &["plan", "duckdb_analytic"]), @"
    exit code 2
    error: unknown story `duckdb_analytic`
    note: nothing was changed
    hint: did you mean `duckdb_analytics`? known: 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, all
    ");
    insta::assert_snapshot!(refused(&sandbox, &["run", "1.3,banana", "--yes"]), @"
    exit code 2
    error: unknown story `banana`
    note: nothing was changed
    hint: known: 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, all
    ");
    insta::assert_snapshot!(refused(&sandbox, &["validate", ","]), @"
    exit code 2
    error: no story is named
    note: nothing was changed
    hint: name stories such as `1.3` or `1.5,1.6`, or `all`
    ");
}

#[test]
fn empty_flags_file() {
    insta::assert_snapshot!(refused(&with_flags(""), &["run", "9.1", "--yes"]), @"
    exit code 2
     --> config/feature-flags.yaml
    error: the flags file is not a mapping, at line 1
    note: nothing was changed
    hint: it reads `features:` and below it a name for each feature
    ");
}

#[test]
fn corrupt_flags_file() {
    let sandbox = with_flags("features:\n  alpha: { enabled: true\nsafety: [\n");
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
     --> config/feature-flags.yaml
    error: the flags file is not valid YAML: did not find expected ',' or '}' at line 3 column 7, while parsing a flow mapping at line 2 column 10
    note: nothing was changed
    hint: correct it there, or restore it; nothing was changed
    ");
    insta::assert_snapshot!(refused(&sandbox, &["feature", "list"]), @"
    exit code 2
     --> config/feature-flags.yaml
    error: the flags file is not valid YAML: did not find expected ',' or '}' at line 3 column 7, while parsing a flow mapping at line 2 column 10
    note: nothing was changed
    hint: correct it there, or restore it; nothing was changed
    ");
}

#[test]
fn flags_file_that_is_no_mapping() {
    insta::assert_snapshot!(refused(&with_flags("- alpha\n- beta\n"), &["run", "9.1", "--yes"]), @"
    exit code 2
     --> config/feature-flags.yaml
    error: the flags file is not a mapping, at line 1
    note: nothing was changed
    hint: it reads `features:` and below it a name for each feature
    ");
}

#[test]
fn flags_file_with_bytes_that_are_no_text() {
    let sandbox = with_flags("");
    sandbox.write(
        "config/feature-flags.yaml",
        b"features: { alpha: { enabled: true } } # \xff\n",
    );
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
    error: cannot read the flags file: `config/feature-flags.yaml` is not UTF-8 (at byte 41)
    note: nothing was changed
    hint: make it a readable text file, or name another one as flags_file in `rollback.yaml`
    ");
}

#[test]
fn cyclic_flags_are_off_and_can_be_switched_off() {
    let cycle = "features:\n  alpha: { enabled: true, dependencies: [beta] }\n  beta: { enabled: true, dependencies: [alpha] }\n";
    let sandbox = with_flags(cycle);
    let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(
        finished
            .stderr
            .contains("warning: features depend on each other in a circle: alpha -> beta"),
        "{}",
        finished.transcript()
    );
    assert!(!sandbox.exists("data"));
    let flags = sandbox.json(&["feature", "list"])["features"].clone();
    for feature in flags.as_array().unwrap() {
        assert_eq!(feature["raw"], false, "{flags}");
    }
}

#[test]
fn missing_flags_file_is_a_warning_and_a_failed_check() {
    let sandbox = with_flags("");
    sandbox
        .write("rollback.yaml", "version: 1\n")
        .remove("config/feature-flags.yaml");
    let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(1);
    for said in [
        "warning: there is no flags file `config/feature-flags.yaml`: nothing was switched off",
        "error: 1 check of story 9.1 failed: Feature flag is disabled",
        "note: something was changed",
    ] {
        assert!(finished.stderr.contains(said), "{}", finished.transcript());
    }
    assert!(!sandbox.exists("data") && !sandbox.exists("config/feature-flags.yaml"));
}

#[test]
fn unknown_key_in_the_configuration() {
    insta::assert_snapshot!(refused_configuration("version: 1\npolicy:\n  comands: [ls]\n"), @"
    exit code 2
     --> rollback.yaml:3:3
      |
    3 |   comands: [ls]
      |   ^^^^^^^
    error: `rollback.yaml`: policy: unknown field `comands`, expected one of `write`, `deny`, `read_deny`, `commands`, `processes`, `http`, `limits`, `require_confinement` at line 3 column 3
    note: nothing was changed
    hint: did you mean `commands`?
    ");
}

#[test]
fn wrong_type_in_the_configuration() {
    insta::assert_snapshot!(refused_configuration("backups:\n  keep_last: many\n"), @r#"
    exit code 2
     --> rollback.yaml:2:14
      |
    2 |   keep_last: many
      |              ^^^^
    error: `rollback.yaml`: backups.keep_last: invalid type: string "many", expected u32 at line 2 column 14
    note: nothing was changed
    "#);
    insta::assert_snapshot!(refused_configuration("policy: { limits: { deadline: soon } }\n"), @"
    exit code 2
     --> rollback.yaml:1:19
      |
    1 | policy: { limits: { deadline: soon } }
      |                   ^
    error: `rollback.yaml`: policy.limits: `soon` is not a duration such as `30m`: expected number at 0 at line 1 column 19
    note: nothing was changed
    ");
}

#[test]
fn configuration_that_is_no_yaml() {
    insta::assert_snapshot!(refused_configuration("version: 1\npolicy: { deny: [\n"), @"
    exit code 2
     --> rollback.yaml:3:1
    error: `rollback.yaml`: did not find expected node content at line 3 column 1, while parsing a flow node
    note: nothing was changed
    ");
}

#[test]
fn configuration_that_leads_out_of_the_workspace() {
    insta::assert_snapshot!(refused_configuration("flags_file: ../flags.yaml\n"), @"
    exit code 2
    error: `rollback.yaml`: flags_file `../flags.yaml` must be a plain path below the workspace, without `..`
    note: nothing was changed
    ");
    insta::assert_snapshot!(refused_configuration("policy: { write: [\"no/such/place\"] }\n"), @"
    exit code 2
    error: policy.write names `no/such/place`, which cannot be opened: No such file or directory (os error 2)
    note: nothing was changed
    hint: make the directory, or take the line out of `rollback.yaml`
    ");
    insta::assert_snapshot!(refused_configuration("policy: { deny: [\"a{b\"] }\n"), @r#"
    exit code 2
     --> rollback.yaml:1:19
      |
    1 | policy: { deny: ["a{b"] }
      |                   ^
    error: `rollback.yaml`: policy.deny: `a{b` is no pattern: the `{` is not closed, at character 2
    note: nothing was changed
    hint: `*`, `?`, `[a-z]`, `**` between slashes, `{a,b}`; `\` before a sign takes it as it is
    "#);
    insta::assert_snapshot!(refused_configuration("version: 2\n"), @"
    exit code 2
    error: `rollback.yaml`: version 2 is not known; this program knows 1
    note: nothing was changed
    ");
}

#[test]
fn configuration_that_is_a_directory() {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback.yaml/file", "");
    insta::assert_snapshot!(refused(&sandbox, &["run", "1.3", "--yes"]), @"
    exit code 2
    error: cannot read `rollback.yaml`: Is a directory (os error 21)
    note: nothing was changed
    hint: make it readable, or remove it to use the defaults
    ");
}

#[test]
fn syntax_error() {
    insta::assert_snapshot!(refused_body("let x = (1 + ;"), @"
    exit code 2
     --> rollback/story.rhai:4:18
      |
    4 |     let x = (1 + ;
      |                  ^
    error: unexpected ';'
    note: nothing was changed
    ");
    insta::assert_snapshot!(refused_script("const STORY = #{ id: \"9.1\", title: \"A story\" };\nfn execute() {\n"), @"
    exit code 2
     --> rollback/story.rhai:3:1
    error: expecting '}' to terminate this block
    note: nothing was changed
    ");
}

#[test]
fn unknown_function() {
    insta::assert_snapshot!(refused_body("remove_pth(\"data\");"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     remove_pth("data");
      |     ^^^^^^^^^^
    error: unknown function `remove_pth`
    note: nothing was changed
    hint: did you mean `remove_path(path)`?
    "#);
    insta::assert_snapshot!(refused_body("launch_missiles();"), @"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     launch_missiles();
      |     ^^^^^^^^^^^^^^^
    error: unknown function `launch_missiles`
    note: nothing was changed
    hint: `rollback script doc` lists the words
    ");
}

#[test]
fn unknown_variable() {
    insta::assert_snapshot!(refused_body("remove_path(STORY.id);"), @"
    exit code 2
     --> rollback/story.rhai:4:17
      |
    4 |     remove_path(STORY.id);
      |                 ^^^^^
    error: unknown variable `STORY`
    note: nothing was changed
    hint: a function sees its parameters and `global::NAME` constants only
    ");
}

#[test]
fn wrong_argument() {
    insta::assert_snapshot!(refused_body("remove_path(42);"), @"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     remove_path(42);
      |     ^^^^^^^^^^^
    error: `remove_path` takes string as argument 1 (`path`), not integer
    note: nothing was changed
    hint: it is said as `remove_path(path)`
    ");
    insta::assert_snapshot!(refused_body("remove_path();"), @"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     remove_path();
      |     ^^^^^^^^^^^
    error: `remove_path` is not said like this: remove_path ()
    note: nothing was changed
    hint: it is said as `remove_path(path)`
    ");
    insta::assert_snapshot!(refused_body("remove_paths([\"a\", 1]);"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     remove_paths(["a", 1]);
      |     ^^^^^^^^^^^^
    error: `remove_paths` takes string or array of strings as argument 1 (`paths`), not array
    note: nothing was changed
    hint: it is said as `remove_paths(paths)`
    "#);
    insta::assert_snapshot!(refused_body("remove_path(\"\");"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     remove_path("");
      |     ^^^^^^^^^^^
    error: the path is empty
    note: nothing was changed
    hint: name a path relative to the workspace, or `.`
    "#);
}

#[test]
fn unknown_option() {
    insta::assert_snapshot!(refused_body("stop_processes(#{ pid_fil: \"logs/x.pid\" });"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     stop_processes(#{ pid_fil: "logs/x.pid" });
      |     ^^^^^^^^^^^^^^
    error: `stop_processes` knows no option `pid_fil`
    note: nothing was changed
    hint: did you mean `pid_file`?
    "#);
    insta::assert_snapshot!(refused_body("set_flag(\"alpha\", false, #{ force: \"yes\" });"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     set_flag("alpha", false, #{ force: "yes" });
      |     ^^^^^^^^
    error: option `force` of `set_flag` takes bool, not string
    note: nothing was changed
    "#);
}

#[test]
fn a_script_that_defines_a_word() {
    insta::assert_snapshot!(
        refused_script("const STORY = #{ id: \"9.1\", title: \"A story\" };\n\nfn remove_path(path) {\n    path\n}\n"),
        @"
    exit code 2
     --> rollback/story.rhai:3:4
      |
    3 | fn remove_path(path) {
      |    ^^^^^^^^^^^
    error: a script can't define `remove_path`: it is a word of this host
    note: nothing was changed
    hint: give the function another name
    "
    );
}

#[test]
fn a_statement_at_the_top() {
    insta::assert_snapshot!(
        refused_script("const STORY = #{ id: \"9.1\", title: \"A story\" };\nremove_path(\"data\");\n"),
        @r#"
    exit code 2
     --> rollback/story.rhai:2:1
      |
    2 | remove_path("data");
      | ^^^^^^^^^^^
    error: only constants, imports and functions may stand at the top of a script
    note: nothing was changed
    hint: put this into `fn execute() { ... }`
    "#
    );
}

#[test]
fn imports_from_elsewhere() {
    let import = |path: &str| {
        refused_script(&format!(
            "import \"{path}\" as other;\n{}",
            story("9.1", "    other::help();")
        ))
    };
    insta::assert_snapshot!(import("std/stories"), @r#"
    exit code 2
     --> rollback/story.rhai:1:8
      |
    1 | import "std/stories" as other;
      |        ^
    error: cannot import `std/stories`
    note: nothing was changed
    hint: scripts import `std/story`, `std/service`, `std/files`, `std/packages`, `std/check`, or a script beside them
    "#);
    insta::assert_snapshot!(import("/etc/passwd"), @r#"
    exit code 2
     --> rollback/story.rhai:1:8
      |
    1 | import "/etc/passwd" as other;
      |        ^
    error: cannot import `/etc/passwd`
    note: nothing was changed
    hint: scripts import `std/story`, `std/service`, `std/files`, `std/packages`, `std/check`, or a script beside them
    "#);
    insta::assert_snapshot!(import("../../home/other"), @r#"
    exit code 2
     --> rollback/story.rhai:1:8
      |
    1 | import "../../home/other" as other;
      |        ^
    error: cannot import `../../home/other`
    note: nothing was changed
    hint: scripts import `std/story`, `std/service`, `std/files`, `std/packages`, `std/check`, or a script beside them
    "#);
}

#[test]
fn eval_and_sleep_are_no_words() {
    insta::assert_snapshot!(refused_body("eval(\"1\");"), @r#"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     eval("1");
      |     ^^^^
    error: reserved keyword 'eval' is disabled
    note: nothing was changed
    "#);
    insta::assert_snapshot!(refused_body("sleep(1);"), @"
    exit code 2
     --> rollback/story.rhai:4:5
      |
    4 |     sleep(1);
      |     ^^^^^
    error: `sleep` is not a word here
    note: nothing was changed
    hint: wait for the thing: a step waits for its own effect
    ");
}

#[test]
fn a_story_without_a_header() {
    let sandbox = Sandbox::empty();
    sandbox.write("lonely.rhai", "fn execute() { remove_path(\"data\"); }\n");
    insta::assert_snapshot!(refused(&sandbox, &["run", "lonely.rhai", "--yes"]), @r#"
    exit code 2
     --> lonely.rhai:1:1
      |
    1 | fn execute() { remove_path("data"); }
      | ^^
    error: the STORY of `lonely.rhai` is missing: a story begins with a literal constant map STORY
    note: nothing was changed
    hint: const STORY = #{ id: "2.1", title: "What was rolled out" };
    "#);
}

#[test]
fn a_story_with_half_a_header() {
    insta::assert_snapshot!(refused_script("const STORY = #{ title: \"A story\" };\nfn execute() {}\n"), @r#"
    exit code 2
     --> rollback/story.rhai:1:15
      |
    1 | const STORY = #{ title: "A story" };
      |               ^
    error: the STORY of `rollback/story.rhai`: `STORY` lacks `id`
    note: nothing was changed
    hint: const STORY = #{ id: "2.1", title: "What was rolled out" };
    "#);
    insta::assert_snapshot!(refused_script("const STORY = #{ id: \"9.1\" };\nfn execute() {}\n"), @r#"
    exit code 2
     --> rollback/story.rhai:1:15
      |
    1 | const STORY = #{ id: "9.1" };
      |               ^
    error: the STORY of `rollback/story.rhai`: `STORY` lacks `title`
    note: nothing was changed
    hint: const STORY = #{ id: "2.1", title: "What was rolled out" };
    "#);
    insta::assert_snapshot!(refused_script("const STORY = #{ id: \"../9.1\", title: \"A story\" };\nfn execute() {}\n"), @r#"
    exit code 2
     --> rollback/story.rhai:1:22
      |
    1 | const STORY = #{ id: "../9.1", title: "A story" };
      |                      ^
    error: the STORY of `rollback/story.rhai`: it has an `id` with other characters than letters, digits, `.`, `-` and `_`
    note: nothing was changed
    hint: const STORY = #{ id: "2.1", title: "What was rolled out" };
    "#);
    insta::assert_snapshot!(refused_script("const STORY = #{ id: 9.1, title: \"A story\" };\nfn execute() {}\n"), @r#"
    exit code 2
     --> rollback/story.rhai:1:22
      |
    1 | const STORY = #{ id: 9.1, title: "A story" };
      |                      ^
    error: the STORY of `rollback/story.rhai`: `id` is a number, and takes a text
    note: nothing was changed
    hint: id: "..."
    "#);
}

#[test]
fn two_stories_with_one_id() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback/a.rhai", story("9.1", ""))
        .write("rollback/b.rhai", story("9.1", ""));
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
    error: story 9.1 stands in both `rollback/a.rhai` and `rollback/b.rhai`
    note: nothing was changed
    hint: give one of them another id
    ");
}

#[test]
fn a_broken_story_does_not_keep_anybody_from_going_back() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write("rollback/story.rhai", story("9.1", "    remove_path(\"data\");"));
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox.write("rollback/broken.rhai", "fn execute( {");
    // What it was meant to be cannot be known: nothing is rolled back while it stands there.
    insta::assert_snapshot!(refused(&sandbox, &["run", "1.3", "--yes"]), @"
    exit code 2
     --> rollback/broken.rhai:1:13
      |
    1 | fn execute( {
      |             ^
    error: expecting ')' to close the parameters list of function 'execute'
    note: nothing was changed
    ");
    // It lists the stories, and names the one that it can't read.
    sandbox.run(&["status"]).assert_code(2);
    for arguments in [&["history"] as &[&str], &["feature", "list"], &["backup", "list"]] {
        sandbox.run(arguments).assert_code(0);
    }
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/keep"), "x");
}

#[test]
fn endless_loop() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write(
            "rollback/story.rhai",
            story("9.1", "    remove_path(\"data\");\n    loop { }"),
        )
        .write("rollback.yaml", "policy: { limits: { operations: 100000 } }\n");
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
     --> rollback/story.rhai
    error: the script used up its operations
    note: nothing was changed
    hint: is there an endless loop? policy.limits.operations sets the limit
    ");
    sandbox.write(
        "rollback.yaml",
        "policy: { limits: { operations: 1000000000000, deadline: 50ms } }\n",
    );
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
     --> rollback/story.rhai
    error: the script ran past its deadline
    note: nothing was changed
    hint: policy.limits.deadline sets the limit
    ");
}

#[test]
fn endless_recursion() {
    let script = format!("{}fn deeper() {{ deeper() }}\n", story("9.1", "    deeper();"));
    insta::assert_snapshot!(refused_script(&script), @"
    exit code 2
     --> rollback/story.rhai
    error: the script calls functions too deeply
    note: nothing was changed
    hint: is there an endless recursion?
    ");
}

#[test]
fn a_limit_cannot_be_caught() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write(
            "rollback/story.rhai",
            story("9.1", "    try { loop { } } catch { remove_path(\"data\"); }"),
        )
        .write("rollback.yaml", "policy: { limits: { operations: 100000 } }\n");
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 2
     --> rollback/story.rhai
    error: the script used up its operations
    note: nothing was changed
    hint: is there an endless loop? policy.limits.operations sets the limit
    ");
}

#[test]
fn a_path_out_of_the_workspace() {
    insta::assert_snapshot!(refused_body("remove_path(\"../home\");"), @r#"
    exit code 3
     --> rollback/story.rhai:4:5
      |
    4 |     remove_path("../home");
      |     ^^^^^^^^^^^
    error: `../home` goes up with `..`
    note: nothing was changed
    hint: name the path from the workspace's root
    "#);
    insta::assert_snapshot!(refused_body("try { remove_path(\"/etc\"); } catch { }"), @r#"
    exit code 3
     --> rollback/story.rhai:4:11
      |
    4 |     try { remove_path("/etc"); } catch { }
      |           ^^^^^^^^^^^
    error: `/etc` lies outside the workspace
    note: nothing was changed
    hint: if a script may change it, list its directory in policy.write of `rollback.yaml`
    "#);
}

#[test]
fn what_a_script_throws() {
    insta::assert_snapshot!(refused_body("throw \"no \" + 1;"), @r#"
    exit code 1
     --> rollback/story.rhai:4:5
      |
    4 |     throw "no " + 1;
      |     ^^^^^
    error: the script threw: no 1
    note: nothing was changed
    "#);
    insta::assert_snapshot!(refused_body("fail(\"the moon is wrong\");"), @r#"
    exit code 1
     --> rollback/story.rhai:4:5
      |
    4 |     fail("the moon is wrong");
      |     ^^^^
    error: the moon is wrong
    note: nothing was changed
    "#);
}

#[test]
fn params_have_a_form() {
    let sandbox = Sandbox::empty();
    sandbox.write("data/keep", "x");
    sandbox.write(
        "rollback/story.rhai",
        story("9.1", "    if param(\"all\", false) { remove_path(\"data\"); }"),
    );
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes", "--param", "all"]), @"
    exit code 2
    error: --param all has no `=`
    note: nothing was changed
    hint: --param volumes=true
    ");
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes", "--param", "all=perhaps"]), @r#"
    exit code 2
     --> rollback/story.rhai:4:8
      |
    4 |     if param("all", false) { remove_path("data"); }
      |        ^^^^^
    error: --param all=perhaps: true or false is wanted
    note: nothing was changed
    hint: look at the script's `param(...)`
    "#);
}

#[test]
fn dry_run_of_the_environment_is_yes_no_or_an_error() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write("rollback/story.rhai", story("9.1", "    remove_path(\"data\");"));
    let before = sandbox.snapshot(&[]);
    let run = |value: &str| {
        let mut command = sandbox.command(&["run", "9.1", "--yes"]);
        command.env("ROLLBACK_DRY_RUN", value).output_in_time().unwrap()
    };
    insta::assert_snapshot!(told(&sandbox, &run("maybe")), @"
    exit code 2
    error: ROLLBACK_DRY_RUN is `maybe`, which is neither yes nor no
    note: nothing was changed
    hint: 1, true, yes, on mean a dry run; 0, false, no, off a real one; nothing was changed
    ");
    for value in ["1", "true", "YES", "on"] {
        assert_eq!(run(value).status.code(), Some(0), "{value}");
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert_eq!(run("0").status.code(), Some(0));
    assert!(!sandbox.exists("data"));
}

#[test]
fn a_script_that_is_not_there() {
    let sandbox = Sandbox::empty();
    insta::assert_snapshot!(refused(&sandbox, &["no-such.rhai", "--yes"]), @"
    exit code 2
    error: cannot read script `no-such.rhai`: No such file or directory (os error 2)
    note: nothing was changed
    hint: name the path of a .rhai script
    ");
    sandbox.write("directory.rhai/file", "");
    insta::assert_snapshot!(refused(&sandbox, &["run", "directory.rhai", "--yes"]), @"
    exit code 2
    error: cannot read script `directory.rhai`: it is a directory
    note: nothing was changed
    hint: name the path of a .rhai script
    ");
}

#[test]
fn no_workspace() {
    let sandbox = Sandbox::empty();
    sandbox.remove("config");
    insta::assert_snapshot!(refused(&sandbox, &["run", "1.3", "--yes"]), @"
    exit code 2
    error: no workspace here: neither `rollback.yaml` nor `config/feature-flags.yaml` in `[workspace]` or above it
    note: nothing was changed
    hint: go to the project, name it with --workspace DIR, or make one with `rollback init`
    ");
    insta::assert_snapshot!(refused(&sandbox, &["status", "--workspace", "no/such/place"]), @"
    exit code 2
    error: workspace `[workspace]/no/such/place` is not a directory
    note: nothing was changed
    hint: name an existing directory with --workspace
    ");
}

#[test]
fn wrong_command_line() {
    let sandbox = Sandbox::empty();
    for arguments in [
        &["run"] as &[&str],
        &["rn", "1.3"],
        &["run", "1.3", "--yess"],
        &["run", "1.3", "--trigger", "boredom"],
        &["recover", "--undo", "--resume"],
        &[],
    ] {
        let told = refused(&sandbox, arguments);
        assert!(told.starts_with("exit code 2\n"), "{arguments:?}: {told}");
    }
}

#[test]
fn unknown_run() {
    let sandbox = Sandbox::empty();
    insta::assert_snapshot!(refused(&sandbox, &["show", "20200101T000000Z-0000"]), @"
    exit code 2
    error: unknown run `20200101T000000Z-0000`
    note: nothing was changed
    hint: `rollback history` lists the runs
    ");
    insta::assert_snapshot!(refused(&sandbox, &["undo", "../../etc", "--yes"]), @"
    exit code 2
    error: unknown run `../../etc`
    note: nothing was changed
    hint: `rollback history` lists the runs
    ");
    insta::assert_snapshot!(refused(&sandbox, &["undo", "--yes"]), @"
    exit code 2
    error: there is no run to take back
    note: nothing was changed
    hint: `rollback history` lists the runs; other kinds than rollbacks are taken back by naming them
    ");
}

#[test]
fn another_run_holds_the_workspace() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/keep", "x")
        .write("rollback/story.rhai", story("9.1", "    remove_path(\"data\");"));
    sandbox.write(
        "config/feature-flags.yaml",
        "features: { alpha: { enabled: true } }\n",
    );
    let directory = std::fs::File::open(sandbox.root()).unwrap();
    directory.try_lock().unwrap();
    insta::assert_snapshot!(refused(&sandbox, &["run", "9.1", "--yes"]), @"
    exit code 6
    error: another run holds this workspace (process [pid])
    note: nothing was changed
    hint: wait for it, then try again; nothing was changed
    ");
    for arguments in [
        &["undo", "--yes"] as &[&str],
        &["recover", "--yes"],
        &["feature", "disable", "alpha"],
    ] {
        let told = refused(&sandbox, arguments);
        assert!(told.starts_with("exit code 6\n"), "{arguments:?}: {told}");
    }
    // Looking needs no lock.
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    sandbox.run(&["status"]).assert_code(0);
    drop(directory);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback/story.rhai",
        "const STORY = #{ id: \"9.1\", title: \"A\" };\nfn execute() { let x = ; }\n",
    );
    let finished = sandbox.run(&["run", "9.1", "--yes", "--json"]).assert_code(2);
    assert_eq!(finished.stderr, "");
    insta::assert_snapshot!(finished.json(), @r#"{"schema":"rollback.error/1","code":"RB0203","kind":"script","message":"unexpected ';'","at":{"file":"rollback/story.rhai","line":2,"column":24},"changed":false,"hint":null,"exit_code":2}"#);
}

/// Nobody in particular: who may neither read nor write what its owner keeps.
const NOBODY: u32 = 65534;

/// Runs as somebody whom permissions bind: as we are, or as nobody where we are root. `None`, and says so, where
/// nobody can't reach the binary.
fn bound(sandbox: &Sandbox, arguments: &[&str]) -> Option<Output> {
    let mut command = sandbox.command(arguments);
    if rustix::process::geteuid().is_root() {
        let above = sandbox.root().parent().unwrap().to_owned();
        std::fs::set_permissions(above, Permissions::from_mode(0o755)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.output_in_time() {
        Ok(output) => Some(output),
        Err(error) => {
            let program = command.get_program().display();
            skipped(&format!("nobody can't start `{program}`: {error}"));
            None
        }
    }
}

#[test]
fn unreadable_configuration() {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback.yaml", "version: 1\n");
    std::fs::set_permissions(sandbox.path("rollback.yaml"), Permissions::from_mode(0o000)).unwrap();
    if let Some(output) = bound(&sandbox, &["run", "1.3", "--yes"]) {
        insta::assert_snapshot!(told(&sandbox, &output), @"
        exit code 2
        error: cannot read `rollback.yaml`: Permission denied (os error 13)
        note: nothing was changed
        hint: make it readable, or remove it to use the defaults
        ");
    }
}

#[test]
fn unreadable_flags_file() {
    let sandbox = with_flags("features: { alpha: { enabled: true } }\n");
    std::fs::set_permissions(
        sandbox.path("config/feature-flags.yaml"),
        Permissions::from_mode(0o000),
    )
    .unwrap();
    if let Some(output) = bound(&sandbox, &["run", "9.1", "--yes"]) {
        insta::assert_snapshot!(told(&sandbox, &output), @"
        exit code 2
        error: cannot read the flags file: cannot open `[workspace]/config/feature-flags.yaml`: Permission denied (os error 13)
        note: nothing was changed
        hint: make it a readable text file, or name another one as flags_file in `rollback.yaml`
        ");
    }
    assert!(sandbox.exists("data/keep"));
}

#[test]
fn unreadable_story() {
    let sandbox = with_flags("features: { alpha: { enabled: true } }\n");
    std::fs::set_permissions(sandbox.path("rollback/story.rhai"), Permissions::from_mode(0o000)).unwrap();
    if let Some(output) = bound(&sandbox, &["run", "9.1", "--yes"]) {
        insta::assert_snapshot!(told(&sandbox, &output), @"
        exit code 2
        error: cannot read story `rollback/story.rhai`: Permission denied (os error 13)
        note: nothing was changed
        ");
    }
    assert!(sandbox.exists("data/keep"));
}

#[test]
fn read_only_workspace() {
    let sandbox = with_flags("features: { alpha: { enabled: true } }\n");
    std::fs::set_permissions(sandbox.root(), Permissions::from_mode(0o555)).unwrap();
    let before = sandbox.snapshot(&[]);
    if let Some(output) = bound(&sandbox, &["run", "9.1", "--yes", "--quiet"]) {
        insta::assert_snapshot!(told(&sandbox, &output), @"
        exit code 3
        error: cannot write `[workspace]`: Permission denied (os error 13)
        note: nothing was changed
        hint: nothing is done that cannot be recorded; make the workspace writable for this user
        ");
    }
    // What only looks works there; a preview says what the run would meet.
    for (arguments, code) in [
        (&["run", "9.1", "-n"] as &[&str], 3),
        (&["plan", "9.1"], 3),
        (&["status"], 0),
        (&["history"], 0),
    ] {
        if let Some(output) = bound(&sandbox, arguments) {
            assert_eq!(output.status.code(), Some(code), "{}", told(&sandbox, &output));
        }
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    std::fs::set_permissions(sandbox.root(), Permissions::from_mode(0o755)).unwrap();
}
