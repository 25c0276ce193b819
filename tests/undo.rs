//! Taking back a part of a run, or a run that later ones were built upon.

use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged};

const FLAGS: &str = "\
features:
  alpha: { enabled: true }   # the first

  beta: { enabled: true }

  gamma: { enabled: true }   # nobody's
metadata:
  last_modified: '2026-01-01T00:00:00.000Z'
";

fn story(id: &str, feature: &str, also: &str) -> String {
    format!(
        "const STORY = #{{ id: \"{id}\", title: \"Story {id}\", feature: \"{feature}\" }};\n\
         fn execute() {{ retire_dir(\"data/{feature}\", \"{feature}\"); remove_path(\"{feature}.txt\"); {also} }}\n"
    )
}

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("config/feature-flags.yaml", FLAGS);
    for (id, feature) in [("9.1", "alpha"), ("9.2", "beta")] {
        sandbox
            .write(&format!("data/{feature}/x.txt"), feature)
            .write(&format!("{feature}.txt"), feature)
            .write(&format!("rollback/{feature}.rhai"), story(id, feature, ""));
    }
    sandbox
}

fn flag(sandbox: &Sandbox, name: &str) -> bool {
    let features = sandbox.json(&["feature", "list"]);
    let mut all = features["features"].as_array().unwrap().iter();
    all.find(|feature| feature["name"] == name).unwrap()["raw"]
        .as_bool()
        .unwrap()
}

#[test]
fn one_story_of_a_run_is_taken_back_and_the_other_stays_gone() {
    // Whichever went first: the flags file was edited by both.
    for (only, back, gone) in [("9.1", "alpha", "beta"), ("9.2", "beta", "alpha")] {
        let sandbox = workspace();
        let before = sandbox.snapshot(crate::prompts::RECORDS);
        let done = sandbox.json(&["run", "9.1,9.2", "--yes"]);
        let run = done["run"].as_str().unwrap();
        let display = sandbox.run(&["undo", "--story", only, "-n"]).assert_code(0);
        assert!(
            !display.stdout.contains(&format!("{gone}.txt")),
            "{}",
            display.stdout
        );
        sandbox.run(&["undo", "--story", only, "--yes"]).assert_code(0);
        assert_eq!(sandbox.read(&format!("data/{back}/x.txt")), back);
        assert_eq!(sandbox.read(&format!("{back}.txt")), back);
        assert!(!sandbox.exists(&format!("data/{gone}")) && !sandbox.exists(&format!("{gone}.txt")));
        assert_eq!((flag(&sandbox, back), flag(&sandbox, gone)), (true, false));
        // The file is the person's, but for the one flag and the time.
        let flags = sandbox.read("config/feature-flags.yaml");
        assert!(
            flags.contains("# the first") && flags.contains("# nobody's"),
            "{flags}"
        );

        // The run as a whole is not taken back yet; what is left of it can be.
        let history = sandbox.json(&["history"]);
        assert!(history["runs"][0]["undone_by"].is_null(), "{history:#}");
        sandbox.run(&["undo", run, "--yes"]).assert_code(0);
        assert!(flag(&sandbox, gone));
        let after = sandbox.snapshot(crate::prompts::RECORDS);
        let changed = Snapshot::diff(&before, &after);
        // All but the time in the flags file is as it was, and times of directories: parts went back in another order.
        let allowed = ["feature-flags.yaml", ": time", "docs", "added rollback_backups"];
        let told = |line: &String| allowed.iter().any(|allowed| line.contains(allowed));
        assert!(changed.iter().all(told), "{changed:#?}");
    }
}

#[test]
fn a_story_that_is_not_in_the_run_is_named() {
    let sandbox = workspace();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", "--story", "9.2", "--yes"]).assert_code(2);
    assert_says(&refused, &["story 9.2 is not part of run", "its stories: 9.1"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn an_older_run_is_taken_back_from_under_a_newer_one() {
    let sandbox = workspace();
    let first = sandbox.json(&["run", "9.1", "--yes"]);
    sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
    let finished = sandbox
        .run(&["undo", first["run"].as_str().unwrap(), "--yes"])
        .assert_code(0);
    assert_says(&finished, &["keep what came after it"]);
    assert_eq!((flag(&sandbox, "alpha"), flag(&sandbox, "beta")), (true, false));
    assert!(sandbox.exists("alpha.txt") && !sandbox.exists("beta.txt"));
}

/// The run that was the last to begin, of whatever kind.
pub fn newest(sandbox: &Sandbox) -> String {
    let history = sandbox.json(&["history"]);
    history["runs"].as_array().unwrap().last().unwrap()["run"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What a person changed is never merged away: it is shown, and where it is in what we changed, it stops the undo.
#[test]
fn what_a_person_changed_in_our_own_lines_stops_the_undo() {
    let sandbox = workspace();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let flags = sandbox.read("config/feature-flags.yaml");
    sandbox.write(
        "config/feature-flags.yaml",
        flags.replace("# the first", "# mine"),
    );
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(7);
    assert_says(&refused, &["`config/feature-flags.yaml` was changed since"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    // Told to, it overwrites, and keeps what it overwrote.
    let forced = sandbox.run(&["undo", "--force", "--json"]).assert_code(0).json();
    assert_eq!(sandbox.read("config/feature-flags.yaml"), FLAGS);
    sandbox
        .run(&["undo", forced["run"].as_str().unwrap(), "--yes"])
        .assert_code(0);
    assert!(sandbox.read("config/feature-flags.yaml").contains("# mine"));
}

const LOG: &str = ".rollback/audit/000001.jsonl";

#[test]
fn a_log_with_a_damaged_end_takes_a_run_back_only_if_forced() {
    type Damage = fn(&str) -> String;
    let damages: [(&str, Damage); 3] = [
        ("cut back", |log| {
            let lines: Vec<&str> = log.lines().collect();
            lines[..lines.len() - 2].join("\n") + "\n"
        }),
        ("scribbled on", |log| {
            log.replace("\"run_finished\"", "\"run_vanished\"")
        }),
        ("followed by what is no record", |log| format!("{log}{{}}\n")),
    ];
    for (name, damage) in damages {
        let sandbox = workspace();
        let before = sandbox.snapshot(&[
            "rollback_backups",
            ".rollback",
            "rollback_reports",
            "logs",
            "docs",
        ]);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        sandbox.write(LOG, damage(&sandbox.read(LOG)));
        let damaged = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["undo", "--yes"]).assert_code(8);
        assert!(
            refused.stderr.contains("--force"),
            "{name}: {}",
            refused.transcript()
        );
        assert_unchanged(&damaged, &sandbox.snapshot(&[]));

        sandbox.run(&["undo", "--force"]).assert_code(0);
        let mut left = Snapshot::diff(
            &before,
            &sandbox.snapshot(&[
                "rollback_backups",
                ".rollback",
                "rollback_reports",
                "logs",
                "docs",
            ]),
        );
        left.retain(|line| line != "changed .: time");
        assert!(left.is_empty(), "{name}: {}", left.join("\n"));
        // The damage is still told, and the next run goes on behind it.
        sandbox.run(&["audit", "verify"]).assert_code(8);
        sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
        sandbox.run(&["undo", "--yes"]).assert_code(0);
    }
}

/// Names that are no text, as words name them, act on them, and as an undo finds them again.
#[test]
fn what_is_not_utf8_is_found_by_its_words_and_given_back() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = |bytes: &'static [u8]| std::ffi::OsStr::from_bytes(bytes);
    for call in [
        r#"retire_dir("data", "data", #{ keep: "kept" });"#,
        r#"remove_paths(find_paths("data/**/*.txt"));"#,
        r#"for path in list_dir("data") { remove_path(path); }"#,
        r#"for path in find_paths("data/**/*.txt") { move_path(path, "moved" + path_size(path)); }"#,
        r#"for path in find_paths("data/**/*.txt") { write_text(path, "new", #{ overwrite: true }); }"#,
        r#"for path in find_paths("data/**/*.txt") { remove_lines(path, "one"); }"#,
        r#"for path in list_dir("data") { copy_path("kept.txt", path + ".copy"); }"#,
    ] {
        let sandbox = Sandbox::empty();
        sandbox
            .write("data/kept", "kept")
            .write("kept.txt", "kept")
            .write(
                "rollback/9.1.rhai",
                format!("const STORY = #{{ id: \"9.1\", title: \"Odd\" }};\n\nfn execute() {{ {call} }}\n"),
            );
        let directory = sandbox.path("data").join(odd(b"inner\xfe"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join(odd(b"\xffa.txt")), "one\ntwo\n").unwrap();
        std::fs::write(sandbox.path("data").join(odd(b"\xff.txt")), "one\n").unwrap();
        // Another one, which only looks like it.
        sandbox.write("data/\u{fffd}.txt", "one, not the other\n");
        let before = sandbox.snapshot(&[
            ".rollback",
            "rollback_backups",
            "rollback_reports",
            "logs",
            "docs",
        ]);
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        assert_eq!(plan["exit_code"], 0, "{call} {plan:#}");
        let told = |outcome: &str| {
            plan["operations"]
                .as_array()
                .unwrap()
                .iter()
                .any(|each| each["outcome"] == outcome)
        };
        assert!(!told("not-present"), "{call} {plan:#}");
        sandbox
            .run(&["run", "9.1", "--confirm", plan["plan"].as_str().unwrap()])
            .assert_code(0);
        assert!(
            !std::fs::read(sandbox.path("data").join(odd(b"\xff.txt"))).is_ok_and(|text| text == b"one\n")
                || call.contains("copy")
        );
        let finished = sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert!(!finished.stderr.contains('\0'), "{}", finished.transcript());
        let after = sandbox.snapshot(&[
            ".rollback",
            "rollback_backups",
            "rollback_reports",
            "logs",
            "docs",
        ]);
        let mut left = Snapshot::diff(&before, &after);
        left.retain(|line| line != "changed .: time");
        assert!(left.is_empty(), "{call}: {left:?}");
    }
}

/// Directories that go with what is taken away, and come again with it.
#[test]
fn a_directory_that_is_made_again_has_the_mode_that_it_had() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::empty();
    sandbox.write("a.txt", "a").write("b.txt", "b").write(
        "rollback/9.1.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Modes\" };\n\nfn execute() {\n    \
             retire_dir(\"a.txt\", \"some\");\n    move_path(\"b.txt\", \"moved/below/b.txt\");\n    \
             write_text(\"made/below/c.txt\", \"c\");\n}\n",
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    // One with less than a new directory gets, one with more than the umask leaves, one with a bit of its own.
    for (path, mode) in [
        ("moved", 0o750),
        ("moved/below", 0o700),
        ("made", 0o2775),
        ("made/below", 0o1777),
    ] {
        std::fs::set_permissions(sandbox.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let own = [".rollback", "rollback_reports", "logs/audit.log", "docs"];
    let after = sandbox.snapshot(&own);
    let undone = sandbox.json(&["undo", "--yes"]);
    assert!(
        ["rollback_backups", "moved", "made"]
            .iter()
            .all(|made| !sandbox.exists(made))
    );
    sandbox
        .run(&["undo", undone["run"].as_str().unwrap(), "--yes"])
        .assert_code(0);
    let mut changed = Snapshot::diff(&after, &sandbox.snapshot(&own));
    changed.retain(|line| !line.ends_with(": time"));
    assert_eq!(changed, [] as [String; 0]);
}

/// Whatever stands where something would go back to is somebody's.
#[test]
fn what_stands_at_the_old_place_is_never_replaced_by_a_take_back() {
    for (path, mine) in [
        ("data/alpha", "data/alpha/mine.txt"),
        ("data/alpha", "data/alpha"),
        ("alpha.txt", "alpha.txt"),
        ("alpha.txt", "alpha.txt/mine.txt"),
    ] {
        let sandbox = workspace();
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        sandbox.write(mine, "mine");
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["undo", "--yes"]).assert_code(7);
        assert_says(&refused, &[&format!("something stands at `{path}` again")]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}
