//! What an edit says is so: what it would cut is refused, what it does is listed, what it does not find is told.

use crate::sandbox::{Finished, Sandbox, assert_says, assert_unchanged};

fn with_story(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback/edits.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"Edits\" }};\nfn execute() {{\n{body}\n}}\n"),
    );
    sandbox
}

fn plan(sandbox: &Sandbox) -> Finished {
    let before = sandbox.snapshot(&[]);
    let planned = sandbox.run(&["run", "9.1", "-n"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    planned
}

fn planned(sandbox: &Sandbox) -> serde_json::Value {
    sandbox.json(&["run", "9.1", "-n"])
}

#[test]
fn two_meanings_of_one_thing_an_environment_file_that_readers_differ_on() {
    for body in [
        "remove_env_keys([\"DUCKDB_\"]);",
        "check(\"none\", || env_keys(\"DUCKDB_\").len() == 0); env_keys(\"DUCKDB_\");",
    ] {
        let sandbox = with_story(body);
        sandbox.write(".env", "A=1\nNOTE=\"first\nDUCKDB_X=s3cret\nlast\"\n");
        let planned = plan(&sandbox).assert_code(1);
        assert_says(
            &planned,
            &["`.env`: line 3 is an entry of its own", "`NOTE` on line 2"],
        );
        assert!(
            !planned.transcript().contains("s3cret"),
            "{}",
            planned.transcript()
        );
    }
}

#[test]
fn not_looking_is_not_passing_keys_that_look_as_if_they_belonged_are_told_and_stay() {
    let sandbox = with_story("remove_env_keys([\"DUCKDB_\"]);");
    let kept = "MOTHERDUCK_TOKEN=s3cret\nduckdb_path=x\n";
    sandbox.write(".env", format!("DUCKDB_PATH=1\n{kept}"));
    let told = "`MOTHERDUCK_TOKEN`, `duckdb_path` in `.env` look like they belong to DUCKDB_*, and stay";
    assert_says(&plan(&sandbox).assert_code(0), &[told]);
    let done = sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
    assert_says(&done, &[told]);
    assert!(!done.transcript().contains("s3cret"), "{}", done.transcript());
    assert_eq!(sandbox.read(".env"), kept);
}

#[test]
fn what_goes_is_listed_each_key_path_that_names_a_word() {
    let sandbox = with_story("remove_yaml(\"core.yaml\", \"duckdb\", #{ naming: true });");
    sandbox.write(
        "core.yaml",
        "note: replaces duckdb\nduckdb: {on: true}\nstores:\n  - name: duckdb\n    path: x\n  - name: files\n",
    );
    let told = "remove 2 entries that name `duckdb` from `core.yaml`: duckdb, stores.0; what only mentions it stays: note";
    assert_eq!(planned(&sandbox)["operations"][0]["summary"], told);
    sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
    assert_eq!(
        sandbox.read("core.yaml"),
        "note: replaces duckdb\nstores:\n  - name: files\n"
    );
}

fn gated(flags: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("config/feature-flags.yaml", flags)
        .write("src/one.js", "")
        .write(
            "rollback/edits.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Edits\", feature: \"one\" };\nfn execute() { remove_path(\"src/one.js\"); }\n",
        );
    sandbox
}

#[test]
fn two_meanings_of_one_thing_a_flag_at_an_alias_is_switched_where_nothing_else_changes() {
    let flags = "on: &on true\nfeatures:\n  two: {enabled: *on}\n  one: {enabled: *on}\n";
    let sandbox = gated(flags);
    sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
    assert_eq!(
        sandbox.read("config/feature-flags.yaml"),
        flags.replace("one: {enabled: *on}", "one: {enabled: false}")
    );
    sandbox.run(&["undo", "-y"]).assert_code(0);
    assert_eq!(sandbox.read("config/feature-flags.yaml"), flags);
}

#[test]
fn two_meanings_of_one_thing_a_flag_at_an_anchor_that_others_use_is_named_and_only_its_step_fails() {
    let flags = "features:\n  one: &A {enabled: true}\n  two: *A\n";
    let sandbox = gated(flags);
    let told = "`config/feature-flags.yaml`: cannot change only `features.one.enabled` in this file: an anchor or an alias \
                stands there, on line 2";
    let plan = planned(&sandbox);
    assert_eq!(plan["exit_code"], 0, "{plan}");
    assert!(plan["warnings"].to_string().contains(told), "{plan}");
    // The check that the feature is off fails; the rest is done.
    let done = sandbox.json(&["run", "9.1", "-y"]);
    assert_eq!(done["exit_code"], 1, "{done}");
    assert!(done["warnings"].to_string().contains(told), "{done}");
    assert_eq!(sandbox.read("config/feature-flags.yaml"), flags);
    assert!(!sandbox.exists("src/one.js"));
}

#[test]
fn two_meanings_of_one_thing_digits_that_no_script_holds_are_an_error_with_their_place() {
    let text = "{\"big\": 12345678901234567890123, \"v\": 1.10, \"o\": 1}\n";
    let sandbox = with_story("let read = read_json(\"a.json\"); set_json(\"a.json\", \"o\", read.o + 1);");
    sandbox.write("a.json", text);
    assert_says(
        &plan(&sandbox).assert_code(2),
        &["`a.json`: the number 12345678901234567890123 at `big`"],
    );
    let sandbox = with_story("set_json(\"a.json\", \"o\", 2);");
    sandbox.write("a.json", text);
    sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
    assert_eq!(sandbox.read("a.json"), text.replace("\"o\": 1", "\"o\": 2"));
}

#[test]
fn not_looking_is_not_passing_every_edit_of_a_missing_file_is_told_and_only_removals_are_silent() {
    for (call, told) in [
        (
            "set_yaml(\"none.yaml\", \"a.b\", 1)",
            Some("`none.yaml` is not there: `a.b` was not set in it"),
        ),
        (
            "set_json(\"none.json\", \"a\", 1)",
            Some("`none.json` is not there: `a` was not set in it"),
        ),
        (
            "set_flag(\"one\", false)",
            Some("there is no flags file `config/feature-flags.yaml`: `one` was not switched"),
        ),
        ("remove_yaml(\"none.yaml\", \"a\")", None),
        ("remove_json(\"none.json\", \"a\")", None),
        ("remove_lines(\"none.txt\", \"a\")", None),
        ("remove_env_keys([\"A_\"])", None),
    ] {
        let sandbox = with_story(&format!("{call};"));
        sandbox
            .write("rollback.yaml", "version: 1\n")
            .remove("config/feature-flags.yaml");
        let planned = sandbox.json(&["run", "9.1", "-n"]);
        let warnings: Vec<&str> = planned["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|warning| warning.as_str())
            .filter(|warning| warning.contains("was not"))
            .collect();
        assert_eq!(
            warnings,
            told.into_iter().collect::<Vec<_>>(),
            "{call}: {planned}"
        );
        let outcome = &planned["operations"][0]["outcome"];
        assert_eq!(outcome, "not-present", "{call}");
    }
    // A file that the configuration names is told with where it is named.
    let sandbox = with_story("");
    sandbox.write(
        "rollback.yaml",
        "version: 1\nstories: { \"9.1\": { flags: { config/none.yaml: [a.b] } } }\n",
    );
    let told = "`config/none.yaml`, which `rollback.yaml` names at `stories.9.1.flags`, is not there: `a.b` was not switched \
                off";
    assert_eq!(planned(&sandbox)["warnings"][0], told);
}
