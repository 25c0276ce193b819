//! The contract of the words, over their whole list: a new word gets these tests for nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rollback_manager::audit::AuditLog;
use rollback_manager::gate::confirm::Confirm;
use rollback_manager::gate::policy::Policy;
use rollback_manager::gate::{Gate, Pass};
use rollback_manager::pass::{Questions, Session, Silent};
use rollback_manager::primitives::contract::{Family, Primitive};
use rollback_manager::report::undo::UndoClass;
use rollback_manager::run::Context;
use rollback_manager::script::engine;
use rollback_manager::view::Errand;
use rollback_manager::{demo, primitives, workspace::Workspace};
use serde_json::Value;

use crate::sandbox::{Sandbox, Snapshot, assert_unchanged};

/// What a run writes about itself, and what package managers keep.
pub const RECORDS: [&str; 6] = [
    ".rollback",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
    "rollback.yaml",
    "rollback",
];

/// Words whose example leaves every file as it is, and why.
const LEAVES_FILES: [(&str, &str); 8] = [
    ("run_command", "it starts `true`"),
    ("keep_path", "it only records"),
    ("kill_process", "it ends a process"),
    ("stop_processes", "it ends a process"),
    ("remove_containers", "it acts on the engine"),
    ("remove_images", "it acts on the engine"),
    ("remove_volumes", "it acts on the engine"),
    ("notify", "it writes a line of the logs"),
];

/// The example workspace: everything deployed, `true` listed, an engine that holds one thing of each sort, a service.
pub struct Example {
    /// Where it runs.
    pub sandbox: Sandbox,
    /// Its service.
    pub service: crate::sandbox::Service,
}

impl Example {
    /// The workspace for the example of a word, which is the story 9.1.
    pub fn of(word: &Primitive) -> Self {
        let npm = word.example.contains("npm");
        let sandbox = Sandbox::deployed(demo::Options { venv: false, npm });
        let engine = sandbox.home().join("engine");
        std::fs::write(&engine, ENGINE).unwrap();
        std::fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        sandbox.write(
            "rollback.yaml",
            format!(
                "docker: {}\npolicy: {{ commands: [\"true\"] }}\n",
                engine.display()
            ),
        );
        let body = word.example;
        sandbox.write(
            "rollback/9.1.rhai",
            format!(
                "const STORY = #{{ id: \"9.1\", title: \"example\" }};\nfn execute() {{\n    {body};\n}}\n"
            ),
        );
        let service = sandbox.spawn_service("duckdb", "logs/duckdb.pid");
        Self { sandbox, service }
    }

    fn context(&self) -> Context {
        context(&self.sandbox)
    }

    fn session(context: &Context) -> Rc<Session> {
        session(context)
    }
}

/// The workspace, opened in this process.
pub fn context(sandbox: &Sandbox) -> Context {
    Context::open(Workspace::open(&sandbox.root()).unwrap()).unwrap()
}

/// A preview in this process.
pub fn session(context: &Context) -> Rc<Session> {
    let errand = Errand {
        run: "20260101T000000Z-0000".to_owned(),
        stamp: "20260101_000000".to_owned(),
        ..Errand::default()
    };
    context
        .session(errand, Pass::Preview, Questions::Preview, Box::new(Silent))
        .unwrap()
}

/// A container engine that holds one thing of each sort and forgets what it is told to remove.
const ENGINE: &str = r#"#!/bin/sh
case "$1 $2" in
"ps "*) echo '{"ID":"c0ffee","Names":"airbyte-server","Image":"airbyte/server","State":"running","Labels":""}' ;;
"images "*) echo '{"ID":"sha256:1","Repository":"airbyte/server","Tag":"1"}' ;;
"volume ls") echo '{"Name":"airbyte-data","Labels":""}' ;;
esac
"#;

/// The words that change something.
pub fn changing() -> impl Iterator<Item = &'static Primitive> {
    primitives::all()
        .iter()
        .copied()
        .filter(|word| word.family() == Family::Change)
}

#[test]
fn every_example_runs_and_a_dry_run_of_it_changes_nothing() {
    for word in primitives::all() {
        let example = Example::of(word);
        let before = example.sandbox.snapshot(&[]);
        let finished = example.sandbox.run(&["run", "9.1", "--dry-run", "--json"]);
        assert_eq!(finished.code, Some(0), "{}: {}", word.name, finished.transcript());
        assert_unchanged(&before, &example.sandbox.snapshot(&[]));
        assert!(example.service.is_running(), "{}", word.name);
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        let acts = report["operations"]
            .as_array()
            .unwrap()
            .iter()
            .any(|operation| operation["outcome"] == "planned");
        let expected = word.family() == Family::Change && word.name != "keep_path";
        assert!(
            acts || !expected,
            "the example of `{}` does nothing: {}",
            word.name,
            word.example
        );
        assert!(
            expected || !acts,
            "`{}` is no changing word, and its example acts",
            word.name
        );
    }
}

#[test]
fn where_everything_is_denied_every_changing_word_is_refused_before_anything_is_written() {
    for word in changing().filter(|word| word.name != "keep_path") {
        let example = Example::of(word);
        let context = example.context();
        let session = Example::session(&context);
        let records = &context.host.records;
        records.prepare().unwrap();
        let mut audit = AuditLog::open(records, &context.host.clock, "run").unwrap();
        audit.run_started(serde_json::json!({})).unwrap();
        let approved = Confirm::of_plan(Vec::new());
        let policy = Policy::of(&context.workspace).unwrap().deny_all();
        let pass = Pass::Real {
            confirm: approved,
            audit: Box::new(audit),
        };
        *session.gate.borrow_mut() = Gate::new(policy, pass);
        let before = example.sandbox.snapshot(&[".rollback"]);
        let result = engine::engine(&session, None).eval::<rhai::Dynamic>(word.example);
        assert!(result.is_err(), "`{}` was not refused", word.name);
        assert_unchanged(&before, &example.sandbox.snapshot(&[".rollback"]));
        let log = example.sandbox.read(".rollback/audit/000001.jsonl");
        assert!(!log.contains("operation_begun"), "`{}` began", word.name);
    }
}

#[test]
fn begin_and_finish_pair_up_and_undo_gives_back_what_was() {
    for word in changing() {
        let example = Example::of(word);
        let sandbox = &example.sandbox;
        let before = sandbox.snapshot(&RECORDS);
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        let id = plan["plan"].as_str().unwrap();
        let report = sandbox
            .run(&["run", "9.1", "--confirm", id, "--json"])
            .assert_code(0)
            .json();

        if !report["operations"]
            .as_array()
            .unwrap()
            .iter()
            .any(|operation| operation["outcome"] == "done")
        {
            assert_eq!(word.name, "keep_path");
            continue;
        }
        let log = sandbox.read(".rollback/audit/000001.jsonl");
        let count = |event: &str| log.matches(&format!("\"event\":\"{event}\"")).count();
        assert_eq!(
            count("operation_begun"),
            count("operation_finished") + count("operation_failed"),
            "`{}`: begin and finish don't pair up",
            word.name
        );
        assert_eq!(count("operation_failed"), 0, "`{}` failed", word.name);
        sandbox.run(&["audit", "verify"]).assert_code(0);

        let leaves = LEAVES_FILES.iter().any(|(name, _)| *name == word.name);
        let changed = Snapshot::diff(&before, &sandbox.snapshot(&RECORDS));
        let of_files = changed
            .iter()
            .any(|line| !line.contains("ROLLBACKS.md") && !line.ends_with(": time"));
        assert!(
            of_files || leaves,
            "the real run of `{}` left every file as it was",
            word.name
        );

        let exact = report["operations"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|operation| operation["outcome"] == "done" && operation["op"] == word.name)
            .all(|operation| operation["undo"] == serde_json::json!(UndoClass::Exact));
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        if exact {
            let left: Vec<String> = Snapshot::diff(&before, &sandbox.snapshot(&RECORDS))
                .into_iter()
                .filter(|line| !["changed .: time", "changed logs: time"].contains(&line.as_str()))
                .filter(|line| !line.ends_with("rollback_backups"))
                .collect();
            assert!(
                left.is_empty(),
                "undo of `{}` left:\n{}",
                word.name,
                left.join("\n")
            );
        }
    }
}

#[test]
fn the_overlay_says_what_the_host_says_after_the_act() {
    for word in changing().filter(|word| word.name != "uninstall_packages") {
        let example = Example::of(word);
        let context = example.context();
        let session = Example::session(&context);
        let _: rhai::Dynamic = engine::engine(&session, None).eval(word.example).unwrap();
        let predicted = seen(&session, &example.sandbox.root());

        let plan = example.sandbox.json(&["run", "9.1", "-n"]);
        example
            .sandbox
            .run(&["run", "9.1", "--confirm", plan["plan"].as_str().unwrap(), "-q"])
            .assert_code(0);
        let after = example.context();
        let real = seen(&Example::session(&after), &example.sandbox.root());
        let differs: Vec<&PathBuf> = predicted
            .keys()
            .chain(real.keys())
            .filter(|path| predicted.get(*path) != real.get(*path))
            .collect();
        assert!(
            differs.is_empty(),
            "`{}`: the preview and the world differ at {differs:?}",
            word.name
        );
    }
}

/// Every path of the view with the digest of its contents, without what the run writes of itself and the time in names.
pub fn seen(session: &Session, root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    session
        .view
        .walk(root, &mut |path, stat| {
            let relative = path.strip_prefix(root).unwrap().to_path_buf();
            let own = RECORDS.iter().any(|part| relative.starts_with(part));
            let ours =
                relative.ends_with(".rollback-manifest.jsonl") || relative.ends_with("docs/ROLLBACKS.md");
            if own || ours || relative.starts_with("rollback_backups") {
                return Ok(());
            }
            let place = session.view.workspace.show(path);
            let contents = session
                .view
                .digest(&place)
                .unwrap_or_else(|_| stat.kind.name().to_owned());
            // The flags file holds the time of the change.
            let contents = if relative.ends_with("feature-flags.yaml") {
                String::new()
            } else {
                contents
            };
            all.insert(relative, contents);
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn the_reference_page_is_made_from_the_list() {
    let page = rollback_manager::script::definitions::reference();
    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/words.md")).unwrap();
    assert_eq!(
        kept, page,
        "make it again: cargo run -q -- script doc > docs/words.md"
    );
    for word in primitives::all() {
        assert!(
            page.contains(&format!("### `{}`", word.signature())),
            "{}",
            word.name
        );
        assert!(!word.about.is_empty() && !word.example.is_empty());
    }
}

/// The worked example of `docs/writing-primitives.md`.
#[path = "fixtures/count_lines.rs"]
mod count_lines;

#[test]
fn writing_primitives_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/writing-primitives.md")).unwrap();
    let display = page
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let compiled = std::fs::read_to_string(root.join("tests/fixtures/count_lines.rs")).unwrap();
    assert_eq!(display, compiled.replace("rollback_manager::", "crate::"));

    let example = Example::of(&count_lines::WORD);
    let context = example.context();
    let session = Example::session(&context);
    let arguments = count_lines::WORD.accept(vec!["package.json".into()]).unwrap();
    let rollback_manager::primitives::contract::Action::Look(look) = count_lines::WORD.action else {
        panic!("it looks")
    };
    let lines = look(&arguments, &session.view).unwrap().as_int().unwrap();
    assert_eq!(
        usize::try_from(lines).unwrap(),
        example.sandbox.read("package.json").lines().count()
    );
    assert!(count_lines::WORD.accept(vec![1_i64.into()]).is_err());
}
