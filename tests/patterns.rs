//! Patterns: one language in every place that takes them, and one that matches nothing is named.

use std::os::unix::ffi::OsStrExt as _;

use rollback_manager::primitives;
use rollback_manager::primitives::contract::{Parameter, Primitive, Type};
use serde_json::Value;

use crate::sandbox::{Sandbox, assert_says};

fn story(header: &str, body: &str) -> String {
    format!(
        "import \"std/story\" as story;\nconst STORY = #{{ id: \"9.1\", title: \"Patterns\", {header} }};\nfn execute() {{\n{body}\n}}\n"
    )
}

fn workspace(header: &str, body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback/patterns.rhai", story(header, body));
    sandbox
}

fn warnings(plan: &Value) -> String {
    plan["warnings"].to_string()
}

fn targets(plan: &Value, outcome: &str) -> Vec<String> {
    let operations = plan["operations"].as_array().unwrap().iter();
    let wanted = operations.filter(|one| one["outcome"] == outcome && one["phase"] == "execute");
    wanted
        .map(|one| one["target"].as_str().unwrap().to_owned())
        .collect()
}

/// Each of these matches exactly the paths after it, whoever asks.
const SAMPLES: &[(&str, &[&str])] = &[
    ("svc/**/*.js", &["svc/a.js", "svc/sub/b.js"]),
    ("svc/*.js", &["svc/a.js"]),
    ("svc/sub{,2}/*.js", &["svc/sub/b.js"]),
    ("data[!0-9]*", &["data-x"]),
    ("secret{,s}.txt", &["secret.txt", "secrets.txt"]),
    ("svc/.h*", &["svc/.hidden"]),
    ("svc/[a-b].?s", &["svc/a.js"]),
    (r"pages/\\[id\\].js", &["pages/[id].js"]),
];

fn sampled(header: &str, body: &str) -> Sandbox {
    let sandbox = workspace(header, body);
    for path in [
        "svc/a.js",
        "svc/sub/b.js",
        "svc/.hidden",
        "data/customers.csv",
        "data-x/y",
        "secret.txt",
        "secrets.txt",
        "pages/[id].js",
        "pages/i.js",
    ] {
        sandbox.write(path, "x");
    }
    sandbox
}

#[test]
fn one_language_for_words_for_lists_of_a_story_and_for_the_policy() {
    for (pattern, expected) in SAMPLES {
        let words = sampled(
            "",
            &format!("for path in find_paths(\"{pattern}\") {{ remove_path(path); }}"),
        );
        assert_eq!(
            targets(&words.json(&["run", "9.1", "-n"]), "planned"),
            *expected,
            "find_paths {pattern}"
        );
        for list in ["files", "caches"] {
            let lists = sampled(
                &format!("{list}: [\"{pattern}\"]"),
                "story::roll_back(global::STORY);",
            );
            let plan = lists.json(&["run", "9.1", "-n"]);
            let found = targets(&plan, "planned").join(", ");
            for path in *expected {
                assert!(found.contains(path), "{list} {pattern}: {plan:#}");
            }
            assert_eq!(plan["exit_code"], 0);
        }
        for path in *expected {
            let policy = sampled("", &format!("remove_path(\"{}\");", path.replace('"', "")));
            policy.write("rollback.yaml", format!("policy: {{ deny: [\"{pattern}\"] }}\n"));
            assert_says(
                &policy.run(&["run", "9.1", "-n"]).assert_code(3),
                &["policy.deny"],
            );
        }
    }
}

#[test]
fn a_class_never_matches_a_slash() {
    let sandbox = sampled(
        "",
        "for path in find_paths(\"data[!0-9]*\") { remove_path(path); }",
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(sandbox.exists("data/customers.csv") && !sandbox.exists("data-x"));
}

#[test]
fn a_rule_that_refuses_never_fails_open() {
    for (rule, refused, free) in [
        (
            "secret{,s}.txt",
            &["secret.txt", "secrets.txt", "svc"][..2],
            "svc/a.js",
        ),
        ("svc", &["svc", "svc/a.js", "svc/sub/b.js"], "secret.txt"),
        ("svc/", &["svc", "svc/a.js"], "secret.txt"),
        ("svc/**", &["svc", "svc/sub/b.js"], "secret.txt"),
        ("*.js", &["svc/a.js", "svc/sub/b.js"], "secret.txt"),
        ("**/sub", &["svc/sub", "svc/sub/b.js"], "svc/a.js"),
        ("svc/*", &["svc/a.js", "svc/sub/b.js"], "secret.txt"),
    ] {
        let run = |path: &str| {
            let sandbox = sampled("", &format!("remove_path(\"{path}\");"));
            sandbox.write("rollback.yaml", format!("policy: {{ deny: [\"{rule}\"] }}\n"));
            sandbox.run(&["run", "9.1", "-n"])
        };
        for path in refused {
            assert_says(&run(path).assert_code(3), &["policy.deny"]);
        }
        run(free).assert_code(0);
    }
    // The directory of the workspace, written from the root on.
    let sandbox = sampled("", "remove_path(\"svc/a.js\");");
    let rule = sandbox.path("svc").display().to_string();
    sandbox.write("rollback.yaml", format!("policy: {{ deny: [\"{rule}/**\"] }}\n"));
    sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
}

#[test]
fn a_rule_that_nobody_understands_is_an_error_with_its_place() {
    for key in ["deny", "read_deny"] {
        for rule in ["a{b", "a[", "b[z-a]", "x/[[:alpha:]]", "a**", "../x", "a}"] {
            let sandbox = sampled("", "");
            sandbox.write(
                "rollback.yaml",
                format!("version: 1\npolicy:\n  {key}: [\"ok\", \"{rule}\"]\n"),
            );
            let said = sandbox.run(&["status"]).assert_code(2);
            assert_says(
                &said,
                &["rollback.yaml:3:", &format!("policy.{key}"), "is no pattern"],
            );
        }
    }
    for (config, key, said) in [
        (
            "policy:\n  http: [\"http://127.0.0.1:*\", \"localhost:*\"]\n",
            "policy.http",
            "`localhost:*` is no `http` or `https` address",
        ),
        (
            "policy:\n  http: [\"http://*.example:80\"]\n",
            "policy.http",
            "`*` stands for a port, and for no host",
        ),
        (
            "monitor:\n  probes: [{ service: web, url: \"127.0.0.1:3000\" }]\n",
            "monitor.probes `web`",
            "is no `http` or `https` address",
        ),
        (
            "stories:\n  \"9.1\": { paths: [\"svc/[\"] }\n",
            "stories.9.1.paths",
            "is no pattern",
        ),
        (
            "stories:\n  \"9.1\": { data: { d: [\"data/{a\"] } }\n",
            "stories.9.1.data.d",
            "is no pattern",
        ),
    ] {
        let sandbox = sampled("", "");
        sandbox.write("rollback.yaml", config);
        assert_says(
            &sandbox.run(&["status"]).assert_code(2),
            &["rollback.yaml:2:", key, said, "hint:"],
        );
    }
    let sandbox = sampled("", "");
    sandbox.write("rollback.yaml", "policy: { deny: [\"/nowhere/**\"] }\n");
    assert_says(
        &sandbox.run(&["run", "9.1", "-n"]).assert_code(2),
        &["would never refuse anything"],
    );
}

#[test]
fn a_pattern_of_a_story_that_matches_nothing_is_named_in_the_plan() {
    let sandbox = sampled(
        "files: [\"svc/a.js\", \"svc/**/*.ts\", \"gone.txt\"], preserve: [#{ paths: [\"r/*.json\"], backup: \"r\" }]",
        "story::roll_back(global::STORY);",
    );
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert!(
        warnings(&plan).contains("story 9.1: nothing matches `r/*.json`, `svc/**/*.ts`"),
        "{plan:#}"
    );
    let gone = targets(&plan, "not-present");
    assert!(gone.iter().any(|target| target.contains("gone.txt")), "{plan:#}");
    let text = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_says(
        &text,
        &["nothing matches `r/*.json`, `svc/**/*.ts`", "1 part not present"],
    );
    assert_says(
        &sandbox.run(&["run", "9.1", "-n", "-v"]).assert_code(0),
        &["gone.txt"],
    );
    let real = sandbox.json(&["run", "9.1", "--yes"]);
    assert!(warnings(&real).contains("nothing matches `r/*.json`"), "{real:#}");
    assert!(!sandbox.exists("svc/a.js"));
}

#[test]
fn a_pattern_that_stands_as_it_is_written_is_told() {
    let sandbox = sampled(
        "files: [\"svc/a.js\", \"pages/[xyz].js\"]",
        "story::roll_back(global::STORY);",
    );
    sandbox.write("pages/[xyz].js", "x");
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert!(warnings(&plan).contains("is there as it is written"), "{plan:#}");
}

#[test]
fn a_story_that_does_nothing_says_so_in_one_line() {
    let sandbox = workspace(
        "files: [\"svc/**/*.js\", \"gone.txt\"]",
        "story::roll_back(global::STORY);",
    );
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert_eq!(
        plan["warnings"],
        serde_json::json!(["story 9.1: of the 2 paths that it names, nothing is here"])
    );
    sandbox.write(
        "rollback/patterns.rhai",
        "const STORY = #{ id: \"9.1\", title: \"t\" };\nfn helper() { }\n",
    );
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert!(
        warnings(&plan).contains("none of the functions prepare, execute, validate, finish"),
        "{plan:#}"
    );
    assert_says(
        &sandbox.run(&["run", "9.1", "-n"]).assert_code(0),
        &["it does nothing"],
    );
    let checked = sandbox
        .run(&["script", "check", "rollback/patterns.rhai"])
        .assert_code(0);
    assert_says(&checked, &["it does nothing"]);
}

#[test]
fn a_pattern_that_matched_once_is_not_named() {
    let sandbox = sampled(
        "",
        "for path in find_paths(\"svc/*.js\") { remove_path(path); }\nif find_paths(\"svc/*.js\").len() > 0 { fail(\"left\"); }",
    );
    assert_eq!(warnings(&sandbox.json(&["run", "9.1", "-n"])), "[]");
}

#[test]
fn names_that_are_not_utf8_are_found_on_the_way() {
    let odd = std::ffi::OsStr::from_bytes(b"d\xff");
    for (header, body) in [
        (
            "",
            "for path in find_paths(\"logs2/**/*.txt\") { remove_path(path); }",
        ),
        ("files: [\"logs2/**/*.txt\"]", "story::roll_back(global::STORY);"),
        ("files: [\"logs2/*/a.txt\"]", "story::roll_back(global::STORY);"),
    ] {
        let sandbox = workspace(header, body);
        let directory = sandbox.path("logs2").join(odd);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("a.txt"), "x").unwrap();
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert!(!directory.join("a.txt").exists(), "{body}");
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert!(directory.join("a.txt").exists(), "{body}");
    }
}

const NOTHING: &str = "no/such*";

fn is_asked_about(parameter: &Parameter) -> bool {
    ["path", "paths", "from", "source", "glob"].contains(&parameter.name)
}

/// A value that is taken; the pattern where a path is asked for.
fn value(parameter: &Parameter) -> String {
    match parameter.kind {
        _ if is_asked_about(parameter) => format!("\"{NOTHING}\""),
        Type::Text | Type::TextOrTexts => "\"x\"".to_owned(),
        Type::Integer | Type::Any | Type::Nothing => "1".to_owned(),
        Type::Boolean => "true".to_owned(),
        Type::Texts => "[\"x\"]".to_owned(),
        Type::Map => "#{}".to_owned(),
        Type::Array => "[]".to_owned(),
        Type::Closure => "|| true".to_owned(),
    }
}

/// The calls of a word with a pattern in each place where a path or pattern may stand.
fn calls(word: &Primitive) -> Vec<String> {
    let said = |values: Vec<String>| format!("{}({})", word.name, values.join(", "));
    let mut calls = Vec::new();
    if word.parameters.iter().any(is_asked_about) {
        let last = word
            .parameters
            .iter()
            .rposition(|one| !one.optional || is_asked_about(one));
        calls.push(said(
            word.parameters
                .iter()
                .take(last.unwrap() + 1)
                .map(value)
                .collect(),
        ));
    }
    for (index, parameter) in word.parameters.iter().enumerate() {
        for (key, _) in parameter
            .keys
            .iter()
            .filter(|(key, _)| ["holds", "pid_file"].contains(key))
        {
            let mut values: Vec<String> = word.parameters.iter().take(index).map(value).collect();
            values.push(format!("#{{ {key}: \"{NOTHING}\" }}"));
            calls.push(said(values));
        }
    }
    calls
}

/// Of all words that take a path or a pattern, none says nothing where what it was given matches nothing.
#[test]
fn no_word_is_silent_about_a_pattern_that_matches_nothing() {
    let all: Vec<String> = primitives::all().iter().flat_map(|word| calls(word)).collect();
    assert!(all.len() > 25, "{all:?}");
    let sandbox = workspace("", "");
    for call in &all {
        sandbox.write("rollback/patterns.rhai", story("", &format!("{call};")));
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        assert!(
            plan.to_string().contains(NOTHING),
            "`{call}` says nothing: {plan:#}"
        );
    }
}
