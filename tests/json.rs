//! Every document that a program may read is what its schema in `docs/schema/` says, whatever the command and the
//! outcome; events are JSON lines of their own.

use serde_json::Value;

use crate::sandbox::{Finished, Sandbox};

/// The schema that a document names, read from the documentation.
fn validator(document: &Value) -> jsonschema::Validator {
    let id = document["schema"].as_str().expect("a document names its schema");
    let name = id
        .strip_prefix("rollback.")
        .and_then(|rest| rest.strip_suffix("/1"))
        .expect("`rollback.<name>/1`");
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(schema["$id"], id);
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Runs with `--json`; the whole of stdout is one document of the expected schema.
#[track_caller]
pub fn document(sandbox: &Sandbox, schema: &str, code: i32, arguments: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let finished = sandbox.run(&all).assert_code(code);
    one_document(&finished, schema, code)
}

#[track_caller]
fn one_document(finished: &Finished, schema: &str, code: i32) -> Value {
    let document: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("stdout is no JSON document ({error}):\n{}", finished.transcript()));
    assert_eq!(document["schema"], format!("rollback.{schema}/1"), "{document:#}");
    let problems: Vec<String> = validator(&document)
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert_eq!(problems, Vec::<String>::new(), "{document:#}");
    if let Some(said) = document.get("exit_code") {
        assert_eq!(said, code, "{document:#}");
    }
    document
}

const STORY: &str = r#"const STORY = #{
    id: "9.1", title: "Quarterly reports", feature: "beta",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() {
    retire_dir("data/reports", "reports");
    remove_path("notes.txt");
    remove_path("never/there");
    if param("fail", "no") == "yes" { fail("on purpose"); }
    if param("outside", "no") == "yes" { remove_path("../other"); }
}

fn validate() {
    check("no report is left", || !path_exists("data/reports"));
}
"#;

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n  beta: { enabled: true, dependencies: [alpha] }\n",
        )
        .write("data/reports/q1.txt", "first")
        .write("notes.txt", "note")
        .write("rollback/reports.rhai", STORY);
    sandbox
}

#[test]
fn every_command_keeps_to_its_schema() {
    let sandbox = workspace();
    document(&sandbox, "status", 0, &["status"]);
    document(&sandbox, "features", 0, &["feature", "list"]);
    document(&sandbox, "history", 0, &["history"]);
    document(&sandbox, "backups", 0, &["backup", "list"]);
    document(&sandbox, "audit", 0, &["audit", "verify"]);
    // One of its paths leads out, whatever the parameters say.
    document(
        &sandbox,
        "check",
        3,
        &["script", "check", "rollback/reports.rhai"],
    );
    let planned = document(&sandbox, "report", 0, &["plan", "9.1"]);
    let previewed = document(&sandbox, "report", 0, &["run", "9.1", "-n"]);
    assert_eq!(
        (&planned["mode"], &planned["plan"]),
        (&previewed["mode"], &previewed["plan"])
    );
    document(&sandbox, "report", 1, &["validate", "9.1"]);
    document(&sandbox, "report", 5, &["run", "9.1", "--no-input"]);

    let done = document(
        &sandbox,
        "report",
        0,
        &["run", "9.1", "--yes", "--reason", "a test"],
    );
    assert_eq!(done["outcome"], "done");
    let run = done["run"].as_str().unwrap().to_owned();
    let backup = done["backups"][0]["name"].as_str().unwrap().to_owned();
    let status = document(&sandbox, "status", 0, &["status"]);
    assert!(
        status["stories"]
            .as_array()
            .unwrap()
            .iter()
            .any(|story| story["backups"][0] == backup.as_str()),
        "{status:#}"
    );
    let mut display = document(&sandbox, "report", 0, &["show", &run]);
    // The report that is kept can't name its own file as what comes next.
    display["next"] = done["next"].clone();
    assert_eq!(display, done);
    let listed = document(&sandbox, "backups", 0, &["backup", "list"]);
    assert_eq!(listed["backups"][0]["name"], backup.as_str());
    document(&sandbox, "backups", 0, &["backup", "show", &backup]);
    document(
        &sandbox,
        "backups",
        0,
        &["backup", "verify", "--level", "restore"],
    );
    document(&sandbox, "prune", 0, &["prune", "-n"]);
    document(&sandbox, "alerts", 0, &["alert", "list"]);
    document(&sandbox, "alerts", 0, &["alert", "retry"]);
    document(&sandbox, "audit", 0, &["audit", "verify"]);
    document(&sandbox, "report", 0, &["validate", "9.1"]);
    document(&sandbox, "report", 0, &["undo", "-n"]);
    document(
        &sandbox,
        "report",
        0,
        &["backup", "restore", &backup, "--to", "elsewhere", "--yes"],
    );
    // What the restore made is in nobody's way; the run before it is taken back by name.
    let undone = document(&sandbox, "report", 0, &["undo", &run, "--yes"]);
    assert_eq!(
        (&undone["kind"], &undone["outcome"]),
        (&"undo".into(), &"done".into())
    );
    let history = document(&sandbox, "history", 0, &["history"]);
    assert!(history["runs"].as_array().unwrap().len() >= 2, "{history:#}");
}

#[test]
fn failures_keep_to_their_schemas_too() {
    let sandbox = workspace();
    document(&sandbox, "error", 2, &["run", "9.9"]);
    document(&sandbox, "error", 2, &["show", "20200101T000000Z-0000"]);
    document(&sandbox, "error", 2, &["feature", "disable", "gamma"]);
    document(&sandbox, "error", 2, &["recover"]);
    document(&sandbox, "error", 2, &["alert", "test", "ops"]);
    document(&sandbox, "error", 2, &["undo", "--yes"]);
    sandbox.write(
        "rollback/broken.rhai",
        "const STORY = #{ id: \"9.2\", title: \"Broken\" };\nfn execute( {\n",
    );
    let broken = document(&sandbox, "error", 2, &["rollback/broken.rhai", "-n"]);
    assert_eq!(broken["at"]["line"], 2, "{broken:#}");
    document(&sandbox, "check", 2, &["script", "check", "rollback/broken.rhai"]);
    sandbox.write("rollback/broken.rhai", "fn clean() { remove_path(\"x\"); }\n");
    document(&sandbox, "check", 0, &["script", "check", "rollback/broken.rhai"]);
    sandbox.write(
        "rollback/broken.rhai",
        "fn test_a() { fail(\"no\"); }\nfn test_b() { }\n",
    );
    document(&sandbox, "tests", 1, &["script", "test", "rollback/broken.rhai"]);
    sandbox.remove("rollback/broken.rhai");
    let refused = document(
        &sandbox,
        "report",
        3,
        &["run", "9.1", "--yes", "--param", "outside=yes"],
    );
    assert_eq!(refused["outcome"], "refused");
    let failed = document(
        &sandbox,
        "report",
        1,
        &["run", "9.1", "--yes", "--param", "fail=yes"],
    );
    assert!(
        ["failed", "partial"].contains(&failed["outcome"].as_str().unwrap()),
        "{failed:#}"
    );
    sandbox.write("rollback.yaml", "version: 1\nflagsfile: x\n");
    document(&sandbox, "error", 2, &["status"]);
}

/// Arguments that clap refuses are failures like any other.
#[test]
fn a_mistyped_option_is_an_error_document() {
    let sandbox = workspace();
    let error = document(&sandbox, "error", 2, &["run", "9.1", "--yess"]);
    assert!(error["message"].as_str().unwrap().contains("--yess"), "{error:#}");
}

#[test]
fn events_are_json_lines_on_stderr() {
    let sandbox = workspace();
    let finished = sandbox
        .run(&["--json", "--json-events", "run", "9.1", "--yes"])
        .assert_code(0);
    one_document(&finished, "report", 0);
    let events: Vec<Value> = finished
        .stderr
        .lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}` is no JSON line: {error}"))
        })
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert!(names.len() > 2, "{names:?}");
    let done = events
        .iter()
        .filter(|event| event["op"] == "retire_dir" || event["operation"]["op"] == "retire_dir")
        .count();
    assert!(done >= 1, "{events:#?}");
}
