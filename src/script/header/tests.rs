use super::{FIELDS, Shape, locate, problems, reference, schema};
use crate::base::error::Error;
use crate::script::catalogue::EMBEDDED;
use crate::script::engine;
use crate::workspace::story::{Origin, Script};

fn compiled(source: &str) -> Script {
    Script::compile(&engine::reader(), "s.rhai", Origin::Embedded, source).unwrap()
}

fn found(source: &str) -> Vec<Error> {
    problems(&compiled(source))
}

/// Message, hint and place of the only problem.
fn one(source: &str) -> (String, String, (usize, usize)) {
    let found = found(source);
    let [error] = found.as_slice() else {
        panic!("{source}: {found:?}");
    };
    let at = error.position().unwrap();
    (
        error.message().to_owned(),
        error.hint_text().unwrap_or_default().to_owned(),
        (at.line, at.column),
    )
}

#[test]
fn an_unknown_key_at_any_depth_is_told_at_its_place_with_the_nearest() {
    for (source, what, hint, place) in [
        (
            "const STORY = #{ id: \"9.1\", title: \"t\",\n  servces: [] };\nfn execute() {}",
            "`STORY` has no key `servces`",
            "did you mean `services`?",
            (2, 3),
        ),
        (
            "const STORY = #{ id: \"9.1\", title: \"t\",\n  data: [\n  #{ path: \"a\", backup: \"b\" },\n  #{ paht: \"a\", backup: \"b\", path: \"c\" }] };\nfn execute() {}",
            "`data[1]` has no key `paht`",
            "did you mean `path`?",
            (4, 6),
        ),
        (
            "const STORY = #{ id: \"9.1\", title: \"t\", services: [#{ pid_file: \"p\", zzz: 1 }] };\nfn execute() {}",
            "`services[0]` has no key `zzz`",
            "known: name, pid_file, commands, holds",
            (1, 70),
        ),
    ] {
        let (message, rendered, at) = one(source);
        assert!(message.ends_with(what), "{message}");
        assert_eq!((rendered.as_str(), at), (hint, place), "{source}");
    }
}

#[test]
fn a_wrong_shape_is_told_at_its_place() {
    for (entry, what, column) in [
        ("services: [\"node x\"]", "`services[0]` is a string", 52),
        (
            "services: \"x\"",
            "`services` is a string, and takes an array of maps",
            51,
        ),
        (
            "services: [#{ name: \"x\" }]",
            "`services[0]` does not say how its processes are found",
            52,
        ),
        (
            "services: [#{ commands: \"node x\" }]",
            "`services[0].commands` is a string, and takes an array of texts",
            65,
        ),
        (
            "data: \"x\"",
            "`data` is a string, and takes an array of maps",
            47,
        ),
        ("data: [#{ path: \"a\" }]", "`data[0]` lacks `backup`", 48),
        (
            "data: [#{ path: 3, backup: \"b\" }]",
            "`data[0].path` is an integer",
            57,
        ),
        (
            "files: \"a.txt\"",
            "`files` is a string, and takes an array of paths and patterns",
            48,
        ),
        (
            "files: [\"a\", 3]",
            "`files[1]` is an integer, and takes a text",
            54,
        ),
        ("files: [\"\"]", "`files[0]` is an empty text", 49),
        (
            "files: [\"a[\"]",
            "`files[0]`: `a[` is no pattern: the `[` is not closed, at character 2",
            49,
        ),
        ("npm: #{ a: 1 }", "`npm` is an object map", 46),
        ("docker: [\"a\"]", "`docker` is an array, and takes a text", 49),
        ("feature: \"\"", "`feature` is an empty text", 50),
    ] {
        let source = format!("const STORY = #{{ id: \"9.1\", title: \"t\",   {entry} }};\nfn execute() {{}}");
        let (message, _, at) = one(&source);
        assert!(message.contains(what), "{entry}: {message}");
        assert_eq!(at.0, 1);
        assert!(at.1 > 20 && at.1.abs_diff(column) <= 12, "{entry}: {at:?}");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let (message, ..) = one("const STORY = #{ title: \"t\" };\nfn execute() {}");
    assert!(message.ends_with("`STORY` lacks `id`"), "{message}");
    assert_eq!(found("const STORY = #{ files: [] };").len(), 2);
    for id in ["../9.1", "", "all", "-x", "é", "a b"] {
        let source = format!("const STORY = #{{ id: \"{id}\", title: \"t\" }};");
        assert_eq!(found(&source).len(), 1, "{id:?}");
    }
}

#[test]
fn a_function_that_is_nearly_a_phase_is_told_unless_somebody_calls_it() {
    const HEAD: &str = "const STORY = #{ id: \"9.1\", title: \"t\" };\n";
    for (name, phase) in [
        ("exceute", "execute"),
        ("Execute", "execute"),
        ("excute", "execute"),
        ("validates", "validate"),
        ("prepere", "prepare"),
        ("finsh", "finish"),
    ] {
        let (message, hint, at) = one(&format!("{HEAD}fn {name}() {{ }}"));
        assert!(message.contains(&format!("`{name}` is no phase")), "{message}");
        assert_eq!((hint, at), (format!("did you mean `{phase}`?"), (2, 4)));
    }
    let (message, ..) = one(&format!("{HEAD}fn execute(story) {{ }}"));
    assert!(message.contains("`execute` takes no arguments"), "{message}");
    for body in [
        "fn execute() { executed(); }\nfn executed() {}",
        "fn execute() {}\nfn executes() {}",
        "fn execute() {}\nfn validate_files() {}\nfn test_execute() {}",
        "fn trigger(metrics) { metrics }",
    ] {
        assert!(found(&format!("{HEAD}{body}")).is_empty(), "{body}");
    }
}

#[test]
fn a_header_that_is_computed_is_no_header() {
    for header in ["#{ id: \"9\" + x, title: \"t\" }", "5", "#{}", "[1]"] {
        let compiled = Script::compile(
            &engine::reader(),
            "s.rhai",
            Origin::Embedded,
            &format!("const STORY = {header};\n"),
        );
        let error = compiled.unwrap_err();
        assert!(
            error.message().contains("STORY is a literal map"),
            "{header}: {error}"
        );
        assert_eq!(error.position().map(|at| at.line), Some(1));
    }
}

#[test]
fn every_embedded_story_passes_and_so_does_its_schema() {
    let schema = schema();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, text) in EMBEDDED {
        let script = compiled(text);
        assert!(problems(&script).is_empty(), "{name}");
        let header = serde_json::to_value(rhai::Dynamic::from(script.header.clone())).unwrap();
        assert!(validator.is_valid(&header), "{name}");
    }
}

/// What the checks refuse, the schema refuses, and the other way round.
#[test]
fn schema_and_checks_say_the_same() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for entry in [
        "servces: []",
        "services: [\"node x\"]",
        "services: [#{ name: \"x\" }]",
        "services: [#{ holds: [\"x\"] }]",
        "data: [#{ path: \"a\" }]",
        "data: [#{ path: [\"a\", \"b\"], backup: \"b\" }]",
        "preserve: [#{ paths: \"a\", backup: \"b\" }]",
        "files: \"a\"",
        "files: [1]",
        "files: [\"a\"]",
        "\"shared\": [\"a\"]",
        "env: [\"\"]",
        "docker: \"x\"",
        "feature: 1",
    ] {
        let script = compiled(&format!(
            "const STORY = #{{ id: \"9.1\", title: \"t\", {entry} }};\nfn execute() {{}}"
        ));
        let header = serde_json::to_value(rhai::Dynamic::from(script.header.clone())).unwrap();
        assert_eq!(
            problems(&script).is_empty(),
            validator.is_valid(&header),
            "{entry}"
        );
    }
}

#[test]
fn every_field_is_on_the_page_of_stories() {
    let page = include_str!("../../../docs/stories.md");
    let reference = reference();
    assert!(
        page.contains(&reference),
        "docs/stories.md lacks this part:\n{reference}"
    );
    for field in FIELDS {
        assert!(!field.about.is_empty());
        if let Shape::Entries(fields) = field.shape {
            assert!(!fields.is_empty());
        }
    }
}

#[test]
fn a_place_is_found_behind_a_shebang() {
    let script = compiled("#!/usr/bin/env rollback\n// x\nconst STORY = #{\n  id: \"9.1\",\n};\n");
    assert_eq!(locate(&script, &[], false).line(), Some(3));
    let way = [super::Turn::Key("id".to_owned())];
    assert_eq!(locate(&script, &way, true), rhai::Position::new(4, 3));
}
