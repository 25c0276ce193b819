use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::base::error::Kind;

const FILE: &str = "\
features:
  pyairbyte_integration:
    enabled: true
    description: Enable PyAirbyte connectors for data ingestion
    dependencies: []
  duckdb_analytics:
    enabled: true   # local
    dependencies: []
  dbt_transformations:
    enabled: false
    dependencies:
      - duckdb_analytics
  dagster_orchestration:
    enabled: true
    dependencies:
      - pyairbyte_integration
      - duckdb_analytics
  evidence_publishing:
    enabled: true
    dependencies:
      - dbt_transformations
  unrelated: {enabled: true}
metadata:
  version: 1.0.0
  last_modified: '2025-08-28T09:26:56.587Z'
  environment: development
rollback_triggers:
  - error_rate_threshold: 0.1
  - memory_usage_threshold: 0.9
  - response_time_threshold: 5000
  - nonsense: many
";
const NOW: &str = "2026-11-23T01:30:00.000Z";

fn flags(text: &str) -> Flags {
    Flags::parse(text).unwrap()
}

fn edited(text: &str, changes: &[(&str, bool)]) -> String {
    match edit(text, changes, NOW).unwrap() {
        Edited::Changed(new) => new,
        Edited::Unchanged => panic!("nothing changed"),
    }
}

#[test]
fn reads_the_file() {
    let flags = flags(FILE);
    assert_eq!(flags.names().next(), Some("pyairbyte_integration"));
    assert_eq!(flags.names().last(), Some("unrelated"));
    assert_eq!(
        (
            flags.raw("evidence_publishing"),
            flags.effective("evidence_publishing")
        ),
        (Some(true), Some(false))
    );
    assert_eq!(flags.effective("dagster_orchestration"), Some(true));
    assert_eq!((flags.raw("nothing"), flags.effective("nothing")), (None, None));
    assert_eq!(
        flags.dependents("duckdb_analytics"),
        ["dbt_transformations", "dagster_orchestration"]
    );
    assert_eq!(flags.dependencies("dbt_transformations"), ["duckdb_analytics"]);
    assert_eq!(
        flags.description("pyairbyte_integration"),
        Some("Enable PyAirbyte connectors for data ingestion")
    );
    let thresholds: Vec<(&str, f64)> = flags
        .thresholds()
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    // What is no number is told as none, so that whoever relies on it can say so.
    let (last, numbers) = thresholds.split_last().unwrap();
    assert!(last.0 == "nonsense" && last.1.is_nan(), "{last:?}");
    assert_eq!(
        numbers,
        [
            ("error_rate_threshold", 0.1),
            ("memory_usage_threshold", 0.9),
            ("response_time_threshold", 5000.0)
        ]
    );
}

#[test]
fn truth_is_that_of_javascript() {
    for (written, on, suspicious) in [
        ("true", true, false),
        ("True", true, false),
        ("false", false, false),
        ("", false, false),
        ("~", false, false),
        ("null", false, false),
        ("0", false, true),
        ("-0.0", false, true),
        (".nan", false, true),
        ("''", false, true),
        ("\"false\"", true, true),
        ("no", true, true),
        ("1", true, true),
        (".inf", true, true),
        ("[]", true, true),
        ("{}", true, true),
    ] {
        let flags = flags(&format!("features:\n  a:\n    enabled: {written}\n"));
        assert_eq!(flags.raw("a"), Some(on), "{written}");
        assert_eq!(flags.suspicious("a"), suspicious, "{written}");
    }
    let bare = flags("features:\n  a:\n  b: {}\n  c: true\n  d: {dependencies: [a]}\n");
    assert!(
        ["a", "b", "c", "d"]
            .iter()
            .all(|name| bare.raw(name) == Some(false))
    );
}

#[test]
fn a_corrupt_file_is_a_configuration_error_with_its_line() {
    for (text, line) in [
        ("features:\n  a: [\n", "line 3"),
        ("features:\n\ta: 1\n", "line 2"),
        ("# c\n- a\n", "line 2"),
        ("", "line 1"),
        ("a: 1\nfeatures: yes\n", "line 2"),
        ("features:\n  a: {}\n  a: {}\n", "line 2"),
        ("features:\n  a:\n    dependencies: 5\n", "line 3"),
        ("a: 1\n", "no `features`"),
        ("features: {1: {}, '1': {}}\n", "`1` stands twice"),
    ] {
        let error = Flags::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.message().contains(line), "{text:?}: {}", error.message());
    }
}

#[test]
fn disabling_goes_through_what_is_off() {
    let flags = flags(FILE);
    assert_eq!(
        flags.disable("duckdb_analytics").unwrap(),
        ["duckdb_analytics", "dagster_orchestration", "evidence_publishing"]
    );
    assert_eq!(
        flags.disable("dbt_transformations").unwrap(),
        ["evidence_publishing"]
    );
    assert_eq!(flags.disable("unrelated").unwrap(), ["unrelated"]);
}

#[test]
fn enabling_needs_the_dependencies() {
    let text = FILE.replace("enabled: true   # local", "enabled: false   # local");
    let flags = flags(&text);
    let error = flags.enable("dagster_orchestration", false).unwrap_err();
    assert_eq!(
        error.message(),
        "Cannot enable dagster_orchestration. Missing dependencies: duckdb_analytics"
    );
    assert_eq!(
        flags.enable("dbt_transformations", true).unwrap(),
        ["dbt_transformations"]
    );
    assert_eq!(
        flags.enable("duckdb_analytics", false).unwrap(),
        ["duckdb_analytics"]
    );
    assert!(flags.enable("unrelated", false).unwrap().is_empty());
}

#[test]
fn an_unknown_feature_brings_its_nearest_name() {
    let flags = flags(FILE);
    let error = flags.disable("duckdb_analytic").unwrap_err();
    assert_eq!(error.message(), "Unknown feature: duckdb_analytic");
    assert_eq!(error.hint_text(), Some("did you mean `duckdb_analytics`?"));
    assert_eq!(flags.nearest("zzz"), None);
    assert_eq!(flags.enable("zzz", true).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(
        edit(FILE, &[("zzz", true)], NOW).unwrap_err().kind(),
        Kind::NotFound
    );
}

#[test]
fn circles_are_off_and_told() {
    let text = "features:
  a: {enabled: true, dependencies: [b]}
  b: {enabled: true, dependencies: [c]}
  c: {enabled: true, dependencies: [a]}
  self: {enabled: true, dependencies: [self]}
  behind: {enabled: true, dependencies: [a]}
  ghost: {enabled: true, dependencies: [nobody]}
  fine: {enabled: true}
";
    let flags = flags(text);
    let effective: Vec<&str> = flags
        .names()
        .filter(|name| flags.effective(name) == Some(true))
        .collect();
    assert_eq!(effective, ["fine"]);
    assert_eq!(flags.cycles(), [vec!["a", "b", "c"], vec!["self"]]);
    assert_eq!(flags.disable("b").unwrap(), ["b", "a", "c", "behind"]);
    assert!(flags.enable("a", false).is_err());
}

#[test]
fn long_chains_and_wide_fans_are_no_trouble() {
    let mut text = String::from("features:\n  f0: {enabled: true}\n");
    for n in 1..20_000 {
        writeln!(text, "  f{n}: {{enabled: true, dependencies: [f{}, f0]}}", n - 1).unwrap();
    }
    let flags = flags(&text);
    assert_eq!(flags.effective("f19999"), Some(true));
    assert_eq!(flags.disable("f0").unwrap().len(), 20_000);
    assert!(flags.cycles().is_empty());
    let circle = text.replace(
        "f0: {enabled: true}",
        "f0: {enabled: true, dependencies: [f19999]}",
    );
    assert_eq!(
        Flags::parse(&circle).unwrap().cycles().first().map(Vec::len),
        Some(20_000)
    );
}

#[test]
fn an_edit_changes_only_the_flags_and_the_time() {
    let changes = [
        ("duckdb_analytics", false),
        ("dagster_orchestration", false),
        ("unrelated", false),
    ];
    let expected = FILE
        .replace("enabled: true   # local", "enabled: false   # local")
        .replace(
            "dagster_orchestration:\n    enabled: true",
            "dagster_orchestration:\n    enabled: false",
        )
        .replace("{enabled: true}", "{enabled: false}")
        .replace("2025-08-28T09:26:56.587Z", NOW);
    assert_eq!(edited(FILE, &changes), expected);
    let crlf = format!("\u{feff}{}", FILE.trim_end().replace('\n', "\r\n"));
    assert_eq!(
        edited(&crlf, &changes),
        format!("\u{feff}{}", expected.trim_end().replace('\n', "\r\n"))
    );
    assert_eq!(
        edit(FILE, &[("dbt_transformations", false)], NOW).unwrap(),
        Edited::Unchanged
    );
    assert_eq!(
        edit(FILE, &[("unrelated", false), ("unrelated", true)], NOW).unwrap(),
        Edited::Unchanged
    );
}

#[test]
fn an_edit_copes_with_what_people_write() {
    for (before, after) in [
        (
            "features:\n  a:\n    description: x\n",
            "features:\n  a:\n    enabled: false\n    description: x\n",
        ),
        (
            "features:\r\n  a:\r\n    # why\r\n    x: 1",
            "features:\r\n  a:\r\n    # why\r\n    enabled: false\r\n    x: 1",
        ),
        ("features:\n  a: {}\n", "features:\n  a: {enabled: false}\n"),
        (
            "features:\n  a: {x: 1}\n",
            "features:\n  a: {enabled: false, x: 1}\n",
        ),
        ("features:\n  a: # c\n", "features:\n  a: {enabled: false} # c\n"),
        (
            "features:\n  a: {enabled: 1}\n",
            "features:\n  a: {enabled: false}\n",
        ),
        (
            "features:\n  'a': {enabled: \"false\"}\n",
            "features:\n  'a': {enabled: false}\n",
        ),
        (
            "features:\n  a: {enabled: 'no', }\n",
            "features:\n  a: {enabled: false, }\n",
        ),
        (
            "features: {\"a\": {\"enabled\": true}}",
            "features: {\"a\": {\"enabled\": false}}",
        ),
        (
            "features:\n  a:\n    enabled:\n",
            "features:\n  a:\n    enabled: false\n",
        ),
        (
            "features:\n  a: {enabled: true}\nmetadata: {last_modified: 2025-01-01}\n",
            "features:\n  a: {enabled: false}\nmetadata: {last_modified: 2026-11-23T01:30:00.000Z}\n",
        ),
        (
            "features:\n  a: {enabled: true}\nmetadata:\n  last_modified: \"x\" # c\n",
            "features:\n  a: {enabled: false}\nmetadata:\n  last_modified: \"2026-11-23T01:30:00.000Z\" # c\n",
        ),
        (
            "base: &b {enabled: true}\nfeatures:\n  a:\n    <<: *b\n",
            "base: &b {enabled: true}\nfeatures:\n  a:\n    enabled: false\n    <<: *b\n",
        ),
    ] {
        assert_eq!(edited(before, &[("a", false)]), after);
    }
    let unicode =
        "features:\n  größe:\n    enabled: true # ä\n  \"a.b\": {enabled: true}\n  1.3: {enabled: true}\n";
    assert_eq!(
        edited(unicode, &[("größe", false), ("a.b", false), ("1.3", false)]),
        unicode.replace("true", "false")
    );
    for text in [
        "features:\n  a: &x {enabled: true}\n  b: *x\n",
        "features:\n  a: {enabled: &x true}\n  b: {enabled: *x}\n",
        "features:\n  a: 5\n",
    ] {
        let error = edit(text, &[("a", false)], NOW).unwrap_err();
        assert!(
            !error.changed_something() && error.hint_text().is_some(),
            "{text}"
        );
    }
}

/// What a feature says: on, its dependencies by number, whether it is written as a flow, quoted, and what `enabled` is.
type Said = (bool, Vec<u8>, bool, bool);

fn model() -> impl Strategy<Value = Vec<Said>> {
    let one = (
        any::<bool>(),
        prop::collection::vec(0..9_u8, 0..4),
        any::<bool>(),
        any::<bool>(),
    );
    prop::collection::vec(one, 1..8)
}

fn written(model: &[Said], crlf: bool) -> String {
    let mut text = String::from("# flags\nfeatures:\n");
    for (n, (on, dependencies, flow, comment)) in model.iter().enumerate() {
        let names: Vec<String> = dependencies.iter().map(|other| format!("f{other}")).collect();
        if *flow {
            writeln!(
                text,
                "  \"f{n}\": {{dependencies: [{}], enabled: {on}}}",
                names.join(", ")
            )
            .unwrap();
        } else {
            writeln!(
                text,
                "  f{n}:\n    enabled: {on}{}",
                if *comment { "  # note" } else { "" }
            )
            .unwrap();
            text.push_str("    dependencies:\n");
            for name in names {
                writeln!(text, "      - {name}").unwrap();
            }
            if *comment {
                text.push_str("\n  # between\n");
            }
        }
    }
    text.push_str("metadata:\n  last_modified: 'then'\n");
    if crlf { text.replace('\n', "\r\n") } else { text }
}

/// Effective by definition: searches for a way to something that is off, unknown or on the way already.
fn effective_by_hand(model: &[Said], at: usize, way: &mut Vec<usize>) -> bool {
    let Some((on, dependencies, ..)) = model.get(at) else {
        return false;
    };
    if !on || way.contains(&at) {
        return false;
    }
    way.push(at);
    let all = dependencies
        .iter()
        .all(|next| effective_by_hand(model, usize::from(*next), way));
    way.pop();
    all
}

/// All that depends on a feature, by closing the relation until it stops growing.
fn reached_by_hand(model: &[Said], root: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([root]);
    loop {
        let more: BTreeSet<usize> = (0..model.len())
            .filter(|at| {
                model[*at]
                    .1
                    .iter()
                    .any(|next| reached.contains(&usize::from(*next)))
            })
            .collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            return reached;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_model_is_the_graph(model in model()) {
        let flags = flags(&written(&model, false));
        for (at, (on, ..)) in model.iter().enumerate() {
            let name = format!("f{at}");
            prop_assert_eq!(flags.raw(&name), Some(*on));
            prop_assert_eq!(flags.effective(&name), Some(effective_by_hand(&model, at, &mut Vec::new())));
            let reached = reached_by_hand(&model, at);
            let expected: BTreeSet<String> =
                reached.iter().filter(|at| model[**at].0).map(|at| format!("f{at}")).collect();
            let off = flags.disable(&name).unwrap();
            prop_assert_eq!(off.iter().cloned().collect::<BTreeSet<_>>(), expected);
            prop_assert!(!on || off.first() == Some(&name));
            let in_circle = model[at].1.iter().any(|next| {
                usize::from(*next) < model.len() && reached_by_hand(&model, at).contains(&usize::from(*next))
            });
            prop_assert_eq!(flags.cycles().concat().contains(&name), in_circle);
        }
    }

    #[test]
    fn edit_then_parse_is_the_changed_model(model in model(), wishes in prop::collection::vec((0..8_usize, any::<bool>()), 0..5), crlf: bool) {
        let text = written(&model, crlf);
        let wishes: BTreeMap<usize, bool> = wishes.into_iter().filter(|(at, _)| *at < model.len()).collect();
        let names: Vec<(String, bool)> = wishes.iter().map(|(at, on)| (format!("f{at}"), *on)).collect();
        let changes: Vec<(&str, bool)> = names.iter().map(|(name, on)| (name.as_str(), *on)).collect();
        let mut expected = model.clone();
        for (at, on) in &wishes {
            expected[*at].0 = *on;
        }
        let new = edit(&text, &changes, NOW).unwrap().or(&text);
        let stamp = if expected == model { "then" } else { NOW };
        prop_assert_eq!(new, written(&expected, crlf).replace("'then'", &format!("'{stamp}'")));
    }

    #[test]
    fn disabling_leaves_nothing_on_that_needs_it(model in model(), at in 0..8_usize) {
        let at = at % model.len();
        let text = written(&model, false);
        let off = flags(&text).disable(&format!("f{at}")).unwrap();
        let changes: Vec<(&str, bool)> = off.iter().map(|name| (name.as_str(), false)).collect();
        let after = flags(&edit(&text, &changes, NOW).unwrap().or(&text));
        for other in reached_by_hand(&model, at) {
            prop_assert_eq!(after.raw(&format!("f{other}")), Some(false));
        }
    }

    #[test]
    fn never_panics(text in prop_oneof![any::<String>(), "(features:|\n  a:|\n    enabled: | \\{|\\}|true|\\[|\\]|enabled: |, |&x |\\*x|<<: |\n|!t |'|\"|dependencies: |metadata: ){0,16}"]) {
        if let Ok(flags) = Flags::parse(&text) {
            let names: Vec<&str> = flags.names().collect();
            flags.cycles();
            for name in names {
                flags.disable(name).unwrap();
                let needs_none = flags.dependencies(name).iter().all(|each| flags.effective(each) == Some(true));
                match flags.enable(name, false) {
                    Ok(on) => {
                        prop_assert!(needs_none);
                        prop_assert_eq!(on.is_empty(), flags.raw(name) == Some(true));
                        prop_assert!(on.iter().all(|each| each == name));
                    }
                    Err(error) => {
                        prop_assert!(!needs_none);
                        prop_assert!(error.message().contains("Missing dependencies: "), "{}", error.message());
                    }
                }
                for on in [false, true] {
                    if let Ok(Edited::Changed(new)) = edit(&text, &[(name, on)], NOW) {
                        prop_assert_eq!(Flags::parse(&new).unwrap().raw(name), Some(on));
                    }
                }
            }
        }
    }
}
