use std::fmt::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const FLAGS: &str = "# top\r\nfeatures:\r\n  a: # about a\r\n    enabled: true   # why\r\n    text: 'it''s'\r\n\r\n  # about b\r\n  \"b.c\": {enabled: \"true\", x: [1, 2,], }\r\nmetadata:\r\n    last: '2025'";

#[track_caller]
fn changed(edited: Result<Edited>) -> String {
    match edited.unwrap() {
        Edited::Changed(new) => new,
        Edited::Unchanged => panic!("nothing changed"),
    }
}

#[test]
fn sets_one_value_and_nothing_else() {
    for (path, value, before, after) in [
        ("features.a.enabled", json!(false), "true   #", "false   #"),
        ("features.a.text", json!("o'k"), "'it''s'", "'o''k'"),
        ("features.\"b.c\".enabled", json!(false), "\"true\"", "false"),
        ("features.\"b.c\".enabled", json!("no"), "\"true\"", "\"no\""),
        ("features.\"b.c\".x", json!(null), "[1, 2,]", "null"),
        ("metadata.last", json!("2026"), "'2025'", "'2026'"),
        (
            "features.a.new",
            json!([1, "x"]),
            "'it''s'\r\n",
            "'it''s'\r\n    new: [1, x]\r\n",
        ),
        ("features.\"b.c\".w", json!(1), "[1, 2,], }", "[1, 2,], w: 1, }"),
        (
            "metadata.k.m",
            json!(1),
            "'2025'",
            "'2025'\r\n    k:\r\n      m: 1",
        ),
        ("z", json!({"k": "v"}), "'2025'", "'2025'\r\nz: {k: v}"),
        (
            "features.a",
            json!(1),
            "a: # about a\r\n    enabled: true   # why\r\n    text: 'it''s'\r\n",
            "a: 1 # about a\r\n",
        ),
    ] {
        assert_eq!(
            changed(set(FLAGS, path, &value)),
            FLAGS.replace(before, after),
            "{path}"
        );
        let marked = format!("\u{feff}{FLAGS}");
        assert_eq!(
            changed(set(&marked, path, &value)),
            marked.replace(before, after),
            "{path}"
        );
    }
}

#[test]
fn sets_in_odd_places() {
    for (text, path, value, expected) in [
        ("", "a.b", json!(1), "a:\n  b: 1\n"),
        ("# only\n", "a", json!(true), "# only\na: true\n"),
        ("# only", "a", json!(true), "# only\na: true\n"),
        ("a:\n", "a", json!(1), "a: 1\n"),
        ("a:   # c\nb: 1\n", "a.x", json!(1), "a: {x: 1}   # c\nb: 1\n"),
        ("a: {}\n", "a.x", json!(1), "a: {x: 1}\n"),
        ("a: ~\n", "a.x.w", json!("t"), "a: {x: {w: t}}\n"),
        ("a: |\n  x\n  y\n\nb: 1\n", "a", json!("z"), "a: z\n\nb: 1\n"),
        ("a: >-\n  x\n", "b", json!("1"), "a: >-\n  x\nb: '1'\n"),
        ("a: |+\n  x\n\n", "b", json!(1), "b: 1\na: |+\n  x\n\n"),
        ("- a: 1\n", "", json!(1), ""),
        ("a: plain\n  words # c\n", "a", json!("x"), "a: x # c\n"),
        ("a: \"two\n  lines\"\n", "a", json!("x"), "a: \"x\"\n"),
        ("{\"a\": 1}", "b", json!(2), "{\"a\": 1, \"b\": 2}"),
        (
            "{\"a\": {\"b\": null}}\n",
            "a.b",
            json!(2),
            "{\"a\": {\"b\": 2}}\n",
        ),
        ("a:\n- 1\n- 2 # two\nb: 1\n", "a", json!([]), "a: []\nb: 1\n"),
        ("---\na: 1\n...\n", "a", json!(2), "---\na: 2\n...\n"),
        ("1.3: x\n", "\"1.3\"", json!("u"), "1.3: u\n"),
        ("größe: ä\n", "größe", json!("ö"), "größe: ö\n"),
        ("x: &a 1\ny: *a\nz: 1\n", "z", json!(2), "x: &a 1\ny: *a\nz: 2\n"),
        (
            "when: 2025-01-01\n",
            "when",
            json!("2025-01-02"),
            "when: 2025-01-02\n",
        ),
        ("? a\n: 1\n", "a", json!(2), "? a\n: 2\n"),
    ] {
        if path.is_empty() {
            assert!(set(text, "a", &value).is_err());
            continue;
        }
        assert_eq!(changed(set(text, path, &value)), expected, "{text:?}");
    }
}

#[test]
fn the_same_value_is_unchanged() {
    assert_eq!(
        set(FLAGS, "features.a.enabled", &json!(true)).unwrap(),
        Edited::Unchanged
    );
    assert_eq!(remove(FLAGS, "features.nothing").unwrap(), Edited::Unchanged);
    assert!(set("a: 1\n", "b", &json!(null)).unwrap().is_changed());
}

#[test]
fn refuses_what_it_cannot_change_alone() {
    for (text, path) in [
        ("a: &x 1\nb: *x\n", "a"),
        ("a: &x 1\nb: *x\n", "b"),
        ("a: &x\n  c: 1\nb: *x\n", "a.c"),
        ("a: &x\n  c: 1\nb: *x\n", "b.c"),
        ("a: &x {c: 1}\nb:\n  <<: *x\n", "a.c"),
        ("a: !!str 1\n", "a"),
        ("a: 1\na: 2\n", "a"),
        ("a:\n\tb: 1\n", "a.b"),
        ("a: 1\n---\nb: 1\n", "a"),
        ("a: [1, 2\n", "a"),
        ("a: text\n", "a.b"),
        ("- a\n", "a"),
    ] {
        assert!(set(text, path, &json!("new")).is_err(), "{text:?}");
    }
    let large = format!("a: {}\n", "x".repeat(super::super::LARGEST));
    assert!(set(&large, "a", &json!(1)).is_err());
    let error = set("a: &x 1\n", "a", &json!(2)).unwrap_err();
    assert_eq!(
        error.message(),
        "cannot change only `a` in this file: an anchor or an alias stands there"
    );
}

#[test]
fn removes_the_lines_of_an_entry_and_no_others() {
    for (text, path, expected) in [
        (
            FLAGS,
            "features.a",
            "# top\r\nfeatures:\r\n\r\n  # about b\r\n  \"b.c\": {enabled: \"true\", x: [1, 2,], }\r\nmetadata:\r\n    last: '2025'",
        ),
        (
            FLAGS,
            "features.\"b.c\".enabled",
            &FLAGS.replace("enabled: \"true\", ", ""),
        ),
        (FLAGS, "features.\"b.c\".x", &FLAGS.replace(", x: [1, 2,]", "")),
        (
            FLAGS,
            "metadata.last",
            &FLAGS.replace("metadata:\r\n    last: '2025'", "metadata: {}\r\n"),
        ),
        (
            FLAGS,
            "metadata",
            &FLAGS.replace("metadata:\r\n    last: '2025'", ""),
        ),
        ("a: 1\n", "a", "{}\n"),
        ("a: {b: 1,}\n", "a.b", "a: {}\n"),
        (
            "a: # c\n  # d\n  b: 1 # e\n  # f\nz: 1\n",
            "a.b",
            "a: {} # c\n  # d\n  # f\nz: 1\n",
        ),
        (
            "a: {\n  b: 1, # b\n  c: 2 # c\n}\n",
            "a.c",
            "a: {\n  b: 1, # b\n}\n",
        ),
        (
            "a: {\n  b: 1, # b\n  c: 2 # c\n}\n",
            "a.b",
            "a: {\n  c: 2 # c\n}\n",
        ),
        ("a: |\n  b\n  c\nd: 1\n", "a", "d: 1\n"),
    ] {
        assert_eq!(changed(remove(text, path)), expected, "{path} of {text:?}");
    }
    assert!(remove("a: &x 1\nb: *x\n", "a").is_err());
    assert!(remove("a: &x 1\nb: *x\n", "b").is_err());
}

#[test]
fn gets_values() {
    assert_eq!(get(FLAGS, "features.\"b.c\".x").unwrap(), Some(json!([1, 2])));
    assert_eq!(get(FLAGS, "features.a.text").unwrap(), Some(json!("it's")));
    assert_eq!(get(FLAGS, "features.a.nothing").unwrap(), None);
    assert_eq!(get("1.3: {2: ~}", "\"1.3\"").unwrap(), Some(json!({"2": null})));
}

#[test]
fn removes_the_entries_that_name_a_word() {
    let text = "\
# duckdb stays in a comment
core:
  duckdb_path: /x # gone
  text: |
    duckdb in prose
    more
  lists:
    - duckdb
    - ducks, duckdbs and reduckdb
    - name: duckdb
      kind: file
    - {kind: flow, url: file://duckdb, n: 1}
  only: [duckdb]
  nested:
    duckdb:
      deep: true

      deeper: 1
# end
";
    let expected = "\
# duckdb stays in a comment
core:
  lists:
    - ducks, duckdbs and reduckdb
    - kind: file
    - {kind: flow, n: 1}
  only: []
  nested: {}
# end
";
    let (edited, removed) = remove_entries_naming(text, "duckdb").unwrap();
    assert_eq!(edited, Edited::Changed(expected.to_owned()));
    assert_eq!(
        removed,
        [
            "core.duckdb_path",
            "core.text",
            "core.lists.0",
            "core.lists.2.name",
            "core.lists.3.url",
            "core.only.0",
            "core.nested.duckdb"
        ]
    );
    assert_eq!(
        remove_entries_naming(expected, "duckdb").unwrap(),
        (Edited::Unchanged, vec![])
    );
    assert!(remove_entries_naming(text, "").is_err());
    assert!(remove_entries_naming("a: &duck 1\nduckdb: *duck\n", "duckdb").is_err());
}

#[test]
fn tells_lines() {
    assert_eq!(
        line_of("# c\n\na: 1\nb:\n  c: 1\n", KeyPath::of(["b", "c"]).as_ref()),
        5
    );
    assert_eq!(line_of("# c\n\n- 1\n", None), 3);
    assert_eq!(line_of("a: [", KeyPath::of(["a"]).as_ref()), 1);
}

/// A text of scalars, its comments and its blank lines, with the line of each key.
fn page() -> impl Strategy<Value = (String, Vec<String>)> {
    let value = prop::sample::select(vec![
        "true",
        "'quoted'",
        "\"double\"",
        "plain words",
        "12",
        "~",
        "[1, two]",
        "{x: 1}",
        "\n    deep: 1 # d",
        "|\n    block\n    text",
        "\n  - item\n  - other",
    ]);
    let line = (
        value,
        prop::sample::select(vec!["", "  # note", " "]),
        prop::sample::select(vec!["", "\n", "  # full\n", "# left\n"]),
    );
    (
        prop::collection::vec(line, 1..6),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(lines, crlf, ends, mark)| {
            let mut text = String::from("root:\n");
            let mut keys = Vec::new();
            for (n, (value, note, between)) in lines.iter().enumerate() {
                let note = if value.contains('|') { "" } else { note };
                writeln!(text, "{between}  key{n}: {value}{note}").unwrap();
                keys.push(format!("key{n}"));
            }
            if !ends {
                text.pop();
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            (if mark { format!("\u{feff}{text}") } else { text }, keys)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn setting_touches_one_entry((text, keys) in page(), pick: prop::sample::Index, new in "[ -~]{0,8}") {
        let key = pick.get(&keys);
        let edited = set(&text, &format!("root.{key}"), &json!(new)).unwrap().or(&text);
        prop_assert_eq!(get(&edited, &format!("root.{key}")).unwrap(), Some(json!(new)));
        let start = text.find(&format!("{key}:")).unwrap();
        prop_assert_eq!(&edited[..start], &text[..start]);
        let next = text[start..].find("\n  key").or_else(|| text[start..].find("\r\n  key")).map(|at| start + at);
        if let Some(next) = next {
            prop_assert!(edited.ends_with(&text[next..]));
        }
    }

    #[test]
    fn removing_keeps_all_other_lines((text, keys) in page(), pick: prop::sample::Index) {
        let key = pick.get(&keys);
        let edited = changed(remove(&text, &format!("root.{key}")));
        prop_assert_eq!(get(&edited, &format!("root.{key}")).unwrap(), None);
        if keys.len() > 1 {
            let mut old = text.lines();
            for line in edited.lines() {
                prop_assert!(old.any(|other| other == line), "{:?} is new", line);
            }
        }
    }

    #[test]
    fn adding_keeps_all_lines((text, _) in page(), new in "[ -~]{0,8}") {
        let edited = changed(set(&text, "root.added", &json!(new)));
        let mut lines = edited.lines();
        for line in text.lines() {
            prop_assert!(lines.any(|other| other == line), "{:?} is lost", line);
        }
        prop_assert_eq!(edited.lines().count(), text.lines().count() + 1);
    }

    #[test]
    fn never_panics_and_never_lies(
        text in prop_oneof![any::<String>(), "[a-c:\\-?,\\[\\]{}&*!|>'\"# \n\t\r]{0,40}", "([a-c]: |- |\\{|\\}|\n|  |\\[|\\]|, |x|&a |\\*a|\\| |# c|'|\"){0,20}"],
        word in "[a-c]",
    ) {
        for path in ["a", "a.b", "b.c.a"] {
            if let Ok(Edited::Changed(new)) = set(&text, path, &json!("v")) {
                prop_assert_eq!(get(&new, path).unwrap(), Some(json!("v")));
            }
            if let Ok(Edited::Changed(new)) = remove(&text, path) {
                prop_assert_eq!(get(&new, path).unwrap(), None);
            }
        }
        if let Ok((Edited::Changed(new), _)) = remove_entries_naming(&text, &word) {
            prop_assert_eq!(remove_entries_naming(&new, &word).unwrap().0, Edited::Unchanged);
        }
        line_of(&text, KeyPath::of(["a"]).as_ref());
    }
}
