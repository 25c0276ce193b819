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
    let error = set("a: 1\nb:\n  c: &x 1\nd: *x\n", "b.c", &json!(2)).unwrap_err();
    assert_eq!(
        error.message(),
        "cannot change only `b.c` in this file: an anchor or an alias stands there, on line 3"
    );
}

#[test]
fn two_meanings_of_one_thing_a_value_at_an_anchor_or_alias_changes_where_nothing_else_does() {
    for (text, path, expected) in [
        (
            "on: &on true\na:\n  b: *on # c\nd: *on\n",
            "a.b",
            "on: &on true\na:\n  b: false # c\nd: *on\n",
        ),
        ("a: {x: *on, b: &on true}\n", "a.b", ""),
        (
            "on: &on true\na: {b: *on, c: *on}\n",
            "a.b",
            "on: &on true\na: {b: false, c: *on}\n",
        ),
        ("a: &A {b: true, c: 1}\n", "a.b", "a: &A {b: false, c: 1}\n"),
        ("a: &A\n  b: true\nc: 1\n", "a.b", "a: &A\n  b: false\nc: 1\n"),
        ("a: &A true\n", "a", "a: &A false\n"),
        (
            "a: &A {b: true}\nc:\n  <<: *A\n",
            "c.b",
            "a: &A {b: true}\nc:\n  <<: *A\n  b: false\n",
        ),
        ("a: &A {b: true}\nc: *A\n", "a.b", ""),
        ("a: &A {b: true}\nc: *A\n", "c.b", ""),
        ("a: &A {b: true}\nc: *A\n", "a", ""),
    ] {
        match set(text, path, &json!(false)) {
            Ok(edited) => assert_eq!(edited, Edited::Changed(expected.to_owned()), "{text}"),
            Err(error) => assert_eq!(expected, "", "{text}: {error}"),
        }
    }
    for (text, path, expected) in [
        ("a: &A {b: true}\nc: *A\nd: 1\n", "c", "a: &A {b: true}\nd: 1\n"),
        ("a: &A {b: true}\nd: 1\n", "a", "d: 1\n"),
        ("a: &A {b: true}\nc: *A\n", "a", ""),
        ("a: &A {b: true}\nc: *A\n", "c.b", ""),
        ("a: &A {b: true, e: 1}\nc: *A\n", "a.b", ""),
    ] {
        match remove(text, path) {
            Ok(edited) => assert_eq!(edited, Edited::Changed(expected.to_owned()), "{text}"),
            Err(error) => assert_eq!(expected, "", "{text}: {error}"),
        }
    }
    let text = "a: &A\n  duckdb: 1\n  e: 1\nc: *A\nduckdb: *A\n";
    let named = remove_entries_naming(text, "duckdb").unwrap();
    assert_eq!(named.edited.or(text), "a: &A\n  e: 1\nc: *A\n");
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
  text: |
    duckdb in prose
    more
  lists:
    - ducks, duckdbs and reduckdb
    - {kind: flow, url: file://duckdb, n: 1}
  only: []
  nested: {}
# end
";
    let named = remove_entries_naming(text, "duckdb").unwrap();
    assert_eq!(named.edited, Edited::Changed(expected.to_owned()));
    assert_eq!(
        named.removed,
        [
            "core.duckdb_path",
            "core.lists.0",
            "core.lists.2",
            "core.only.0",
            "core.nested.duckdb"
        ]
    );
    assert_eq!(named.mentioned, ["core.text", "core.lists.3.url"]);
    let again = remove_entries_naming(expected, "duckdb").unwrap();
    assert_eq!((again.edited, again.removed.len()), (Edited::Unchanged, 0));
    assert!(remove_entries_naming(text, "").is_err());
    assert!(remove_entries_naming("duckdb: &duck 1\nb: *duck\n", "duckdb").is_err());
}

#[test]
fn two_meanings_of_one_thing_an_entry_of_a_list_goes_whole_or_not_at_all() {
    let text = "note: replaces duckdb\nstores:\n  - name: duckdb\n    path: x\n  - path: y\n    id: duckdb\n  - name: api\n    database: duckdb\n    duckdb: {on: true}\n    uses: [duckdb, http]\n    why: as duckdb is\n  - duckdb:\n      on: true\n  - [duckdb, other]\n";
    let named = remove_entries_naming(text, "duckdb").unwrap();
    assert_eq!(
        named.edited.or(text),
        "note: replaces duckdb\nstores:\n  - name: api\n    database: duckdb\n    duckdb: {on: true}\n    uses: [http]\n    why: as duckdb is\n  - [other]\n"
    );
    assert_eq!(
        named.removed,
        [
            "stores.0",
            "stores.1",
            "stores.2.uses.0",
            "stores.3",
            "stores.4.0"
        ]
    );
    assert_eq!(
        named.mentioned,
        ["note", "stores.2.database", "stores.2.duckdb", "stores.2.why"]
    );
}

#[test]
fn two_meanings_of_one_thing_digits_that_were_not_asked_for_stay() {
    let text = "big: 12345678901234567890123\nv: [1.10, 1e5, 0x1F, 1_000]\no: 1\n";
    assert_eq!(
        set(text, "o", &json!(2)).unwrap().or(text),
        text.replace("o: 1", "o: 2")
    );
    assert_eq!(remove(text, "o").unwrap().or(text), text.replace("o: 1\n", ""));
    assert!(parse(text).unwrap_err().message().contains("at `big`"));
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
        if let Ok(Named { edited: Edited::Changed(new), .. }) = remove_entries_naming(&text, &word) {
            prop_assert_eq!(remove_entries_naming(&new, &word).unwrap().edited, Edited::Unchanged);
        }
        line_of(&text, KeyPath::of(["a"]).as_ref());
    }
}
