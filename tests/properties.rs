//! Random sequences of changing words: what the preview says of them is what happens, and what happened can be taken
//! back, and that too. `PROPTEST_CASES` sets how many.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rollback_manager::script::engine;

use crate::primitives::{RECORDS, context, seen, session};
use crate::sandbox::{Sandbox, Snapshot, assert_unchanged};

/// Paths that words act on: files, directories, nothing yet, and below something that may have gone.
pub const PATHS: [&str; 11] = [
    "a.txt",
    "b.txt",
    "dir",
    "dir/c.txt",
    "dir/sub",
    "dir/sub/d.txt",
    "dir/with blank",
    "new",
    "new/deep/er.txt",
    "tree",
    "tree/x/y/z.txt",
];

const KEYS: [&str; 4] = ["version", "section.first", "section", "fresh.key"];

const FLAGS: [&str; 3] = ["alpha", "beta", "gamma"];

/// One call of a word.
#[derive(Debug, Clone)]
pub enum Step {
    Retire(&'static str),
    RetireBut(&'static str, &'static str),
    BackUp(&'static str),
    Restore(usize, Option<&'static str>),
    Remove(&'static str),
    RemoveBoth(&'static str, &'static str),
    Move(&'static str, &'static str, bool),
    Copy(&'static str, &'static str, bool),
    Write(&'static str, u8, bool),
    RemoveLines(&'static str),
    RemoveKeys(&'static str),
    SetYaml(&'static str, u8),
    RemoveYaml(&'static str),
    SetJson(&'static str, u8),
    RemoveJson(&'static str),
    Flag(&'static str, bool, bool),
}

impl Step {
    fn call(&self) -> String {
        let keep = "let made = ";
        let kept = "if made != () { kept.push(made); }";
        match self {
            Self::Retire(path) => format!("{keep}retire_dir(\"{path}\", \"some\"); {kept}"),
            Self::RetireBut(path, below) => {
                format!("{keep}retire_dir(\"{path}\", \"some\", #{{ keep: \"{below}\" }}); {kept}")
            }
            Self::BackUp(path) => format!("{keep}backup_dir(\"{path}\", \"other\"); {kept}"),
            Self::Restore(number, to) => {
                let to = to.map_or(String::new(), |to| format!(", \"{to}\""));
                format!("if kept.len() > {number} {{ restore_backup(kept[{number}]{to}); }}")
            }
            Self::Remove(path) => format!("remove_path(\"{path}\");"),
            Self::RemoveBoth(one, two) => format!("remove_paths([\"{one}\", \"{two}\"]);"),
            Self::Move(from, to, over) => {
                format!("move_path(\"{from}\", \"{to}\", #{{ overwrite: {over} }});")
            }
            Self::Copy(from, to, over) => {
                format!("copy_path(\"{from}\", \"{to}\", #{{ overwrite: {over} }});")
            }
            Self::Write(path, what, over) => {
                format!("write_text(\"{path}\", \"line one\\ntext {what}\\n\", #{{ overwrite: {over} }});")
            }
            Self::RemoveLines(path) => format!("remove_lines(\"{path}\", \"one\");"),
            Self::RemoveKeys(prefix) => format!("remove_env_keys([\"{prefix}\"]);"),
            Self::SetYaml(key, value) => format!("set_yaml(\"conf.yaml\", \"{key}\", \"v{value}\");"),
            Self::RemoveYaml(key) => format!("remove_yaml(\"conf.yaml\", \"{key}\");"),
            Self::SetJson(key, value) => format!("set_json(\"conf.json\", \"{key}\", {value});"),
            Self::RemoveJson(key) => format!("remove_json(\"conf.json\", \"{key}\");"),
            Self::Flag(name, on, force) => format!("set_flag(\"{name}\", {on}, #{{ force: {force} }});"),
        }
    }
}

/// A random call.
pub fn step() -> impl Strategy<Value = Step> {
    let path = || proptest::sample::select(&PATHS[..]);
    let key = || proptest::sample::select(&KEYS[..]);
    let flag = proptest::sample::select(&FLAGS[..]);
    let below = proptest::sample::select(&["c.txt", "sub", "sub/d.txt", "x/y", "no"][..]);
    let prefix = proptest::sample::select(&["ONE_", "TWO_", "NO_"][..]);
    prop_oneof![
        3 => path().prop_map(Step::Retire),
        1 => (path(), below).prop_map(|(path, below)| Step::RetireBut(path, below)),
        2 => path().prop_map(Step::BackUp),
        3 => (0_usize..3, proptest::option::of(path())).prop_map(|(number, to)| Step::Restore(number, to)),
        2 => path().prop_map(Step::Remove),
        1 => (path(), path()).prop_map(|(one, two)| Step::RemoveBoth(one, two)),
        3 => (path(), path(), any::<bool>()).prop_map(|(from, to, over)| Step::Move(from, to, over)),
        3 => (path(), path(), any::<bool>()).prop_map(|(from, to, over)| Step::Copy(from, to, over)),
        3 => (path(), any::<u8>(), any::<bool>()).prop_map(|(path, what, over)| Step::Write(path, what, over)),
        1 => path().prop_map(Step::RemoveLines),
        1 => prefix.prop_map(Step::RemoveKeys),
        1 => (key(), any::<u8>()).prop_map(|(key, value)| Step::SetYaml(key, value)),
        1 => key().prop_map(Step::RemoveYaml),
        1 => (key(), any::<u8>()).prop_map(|(key, value)| Step::SetJson(key, value)),
        1 => key().prop_map(Step::RemoveJson),
        2 => (flag, any::<bool>(), any::<bool>()).prop_map(|(name, on, force)| Step::Flag(name, on, force)),
    ]
}

/// The body of a script. What a word refuses, the script gets over.
fn body(steps: &[Step]) -> String {
    let mut body = "    let kept = [];\n".to_owned();
    for step in steps {
        writeln!(body, "    try {{ {} }} catch {{ }}", step.call()).unwrap();
    }
    body
}

/// A small workspace with a script of these calls, the story 9.1.
pub fn workspace(steps: &[Step]) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "# ours\nfeatures:\n  alpha: { enabled: true }   # the first\n  beta:\n    enabled: true\n    \
             dependencies: [alpha]\n  gamma: { enabled: false, dependencies: [beta] }\n",
        )
        .write("a.txt", "line one\nline two\n")
        .write("b.txt", "")
        .write("dir/c.txt", "one\r\ntwo\r\n")
        .write("dir/sub/d.txt", [0, 159, 146, 150])
        .write("dir/with blank", "blank")
        .write("tree/x/y/z.txt", "deep")
        .write("tree/-x", "dash")
        .write(
            "conf.yaml",
            "version: '1'   # keep\nsection:\n  first: [1, 2]\n  second: x\n",
        )
        .write(
            "conf.json",
            "{\n  \"version\": 1, // keep\n  \"section\": { \"first\": [1], \"second\": null }\n}\n",
        )
        .write(".env", "ONE_KEY=1\nexport TWO_KEY='2'\n# note\nONE_MORE=3\n")
        .write("docs/notes.md", "notes\n")
        .write("logs/other.log", "");
    std::os::unix::fs::symlink("dir/c.txt", sandbox.path("link")).unwrap();
    std::fs::create_dir(sandbox.path("tree/empty")).unwrap();
    sandbox.write(
        "rollback/9.1.rhai",
        format!(
            "const STORY = #{{ id: \"9.1\", title: \"Random\" }};\n\nfn execute() {{\n{}}}\n",
            body(steps)
        ),
    );
    sandbox
}

/// What differs, without what a run writes about itself.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut differences = Snapshot::diff(before, after);
    differences.retain(|line| {
        let own = ["changed .: time", "changed docs: time", "changed logs: time"].contains(&line.as_str())
            || line.ends_with("docs/ROLLBACKS.md")
            || line.ends_with(" rollback_backups")
            || (line.starts_with("changed rollback_backups") && line.ends_with(": time"));
        !own
    });
    differences
}

#[track_caller]
fn assert_same(what: &str, before: &Snapshot, after: &Snapshot) {
    let differences = differences(before, after);
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

fn holds(steps: &[Step]) {
    let sandbox = workspace(steps);
    let all = sandbox.snapshot(&[]);
    let before = sandbox.snapshot(&RECORDS);

    let opened = context(&sandbox);
    let preview = session(&opened);
    let _: rhai::Dynamic = engine::engine(&preview, None).eval(&body(steps)).unwrap();
    let predicted = seen(&preview, &sandbox.root());
    let dry = sandbox.run(&["run", "9.1", "-n", "--json"]).assert_code(0).json();
    assert_unchanged(&all, &sandbox.snapshot(&[]));

    let plan = dry["plan"].as_str().unwrap();
    let done = sandbox
        .run(&["run", "9.1", "--confirm", plan, "--json"])
        .assert_code(0)
        .json();
    // The second may be another one by then.
    let stamp = regex::Regex::new(r"_\d{8}_\d{6}").unwrap();
    let outcomes = |report: &serde_json::Value| -> Vec<String> {
        let operations = report["operations"].as_array().unwrap().iter();
        operations
            .map(|operation| {
                let summary = stamp.replace_all(operation["summary"].as_str().unwrap(), "");
                let outcome = operation["outcome"].as_str().unwrap().replace("planned", "done");
                format!("{summary}: {outcome}")
            })
            .collect()
    };
    assert_eq!(outcomes(&dry), outcomes(&done), "the plan is not what was done");
    let real = seen(&session(&context(&sandbox)), &sandbox.root());
    let paths: std::collections::BTreeSet<_> = predicted.keys().chain(real.keys()).collect();
    let differs: Vec<_> = paths
        .into_iter()
        .filter(|path| predicted.get(*path) != real.get(*path))
        .collect();
    assert!(
        differs.is_empty(),
        "the preview and the world differ at {differs:?}"
    );
    if done["run"].is_null() || !sandbox.exists(".rollback") {
        return assert_same("nothing was done", &before, &sandbox.snapshot(&RECORDS));
    }
    let after = sandbox.snapshot(&RECORDS);

    let undone = sandbox
        .run(&["undo", done["run"].as_str().unwrap(), "--yes", "--json"])
        .assert_code(0)
        .json();
    assert_same("undo", &before, &sandbox.snapshot(&RECORDS));

    sandbox
        .run(&["undo", undone["run"].as_str().unwrap(), "--yes"])
        .assert_code(0);
    assert_same("undo of the undo", &after, &sandbox.snapshot(&RECORDS));
    sandbox.run(&["backup", "verify", "-n"]).assert_code(0);
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

/// The same few cases at every run; with `PROPTEST_CASES`, that many new ones.
pub fn config(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(usual),
        rng_seed: asked.map_or(RngSeed::Fixed(7), |_| RngSeed::Random),
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    }
}

/// A link leads from where it stands in the preview, through what the preview has moved.
#[test]
fn links_are_followed_in_the_world_of_the_preview() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/one/rows.csv", "a,b\n")
        .write("data/two/rows.csv", "c,d\n")
        .write("elsewhere/kept", "kept")
        .write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Links\" };\n\nfn execute() {\n    \
             move_path(\"elsewhere/link\", \"data/link\");\n    \
             move_path(\"data/one\", \"data/former\");\n    \
             move_path(\"data/two\", \"data/one\");\n    \
             retire_dir(\"data/link\", \"rows\");\n}\n",
        );
    // Where it stands now it leads nowhere; the second has a link on its way.
    std::os::unix::fs::symlink("way/one", sandbox.path("elsewhere/link")).unwrap();
    std::os::unix::fs::symlink(".", sandbox.path("data/way")).unwrap();

    let dry = sandbox.run(&["run", "9.1", "-n", "--json"]).assert_code(0).json();
    let plan = dry["plan"].as_str().unwrap();
    sandbox.run(&["run", "9.1", "--confirm", plan]).assert_code(0);
    assert!(sandbox.exists("data/former/rows.csv") && sandbox.exists("data/way"));
    assert!(!sandbox.exists("data/one") && !sandbox.exists("data/link"));
}

#[test]
fn a_link_that_leads_out_nowhere_or_round_is_refused() {
    for (target, why) in [
        ("/etc", "outside the workspace"),
        ("../../../../../../../../etc", "outside the workspace"),
        ("nothing", "leads nowhere: `data/nothing` does not exist"),
        ("link", "leads nowhere: too many links on the way"),
        ("file/x", "leads nowhere: `data/file` is not a directory"),
        ("..", "leads to a whole root"),
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("data/file", "").write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Links\" };\n\nfn execute() { retire_dir(\"data/link\", \"x\"); }\n",
        );
        std::os::unix::fs::symlink(target, sandbox.path("data/link")).unwrap();
        let before = sandbox.snapshot(&[]);
        let run = sandbox.run(&["run", "9.1", "-n"]);
        assert!(
            run.code != Some(0) && run.stderr.contains(why),
            "{target}: {:?} {}",
            run.code,
            run.stderr
        );
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn words_do_what_the_preview_says_and_are_taken_back(steps in proptest::collection::vec(step(), 3..=12)) {
        holds(&steps);
    }
}
