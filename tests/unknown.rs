//! Not looking is not passing: every look at the world is taken away in turn, and what builds on it must say so.

use std::rc::Rc;

use rollback_manager::demo;
use rollback_manager::host::sight::Look;
use rollback_manager::pass::{Session, Silent};
use rollback_manager::primitives;
use rollback_manager::report::effect::Outcome;
use rollback_manager::report::{CheckRecord, Report};
use rollback_manager::run::{self, Context, Preview, Request};
use rollback_manager::workspace::story::Story;

use crate::primitives::{Example, context, session};
use crate::sandbox::Sandbox;

fn story_of(context: &Context, id: &str) -> Rc<Story> {
    let mut all = context.catalogue.stories().iter();
    Rc::clone(all.find(|story| story.id == id).unwrap())
}

/// The verdicts of a story's validation, and the looks that were made for it, where the `lost`-th could not be made.
fn validated(
    session: &Rc<Session>,
    context: &Context,
    story: &str,
    lost: usize,
) -> (Vec<CheckRecord>, Vec<(Look, String)>) {
    let story = story_of(context, story);
    session.journal.borrow_mut().checks.clear();
    context.host.sight.lose(lost);
    // A script's own phase may end with what it could not see.
    let ended = run::validate_one(session, &story);
    let looks = context.host.sight.made();
    let mut checks = session.journal.borrow().checks.clone();
    if let Err(error) = ended {
        checks.push(CheckRecord {
            story: story.id.clone(),
            title: error.message().to_owned(),
            passed: None,
            detail: None,
        });
    }
    (checks, looks)
}

#[test]
fn not_looking_is_not_passing_each_look_of_each_check_is_lost_in_turn() {
    let sandbox = Sandbox::deployed(demo::Options {
        venv: true,
        npm: true,
    });
    let finished = sandbox.run(&["run", "all", "--yes"]);
    assert_eq!(finished.code, Some(0), "{}", finished.transcript());
    let context = context(&sandbox);
    let session = session(&context);
    let mut tried = 0;
    let mut silent = Vec::new();
    for story in ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"] {
        let (all, looks) = validated(&session, &context, story, usize::MAX);
        let passed = |checks: &[CheckRecord]| -> Vec<String> {
            let passing = checks.iter().filter(|check| check.passed == Some(true));
            passing.map(|check| check.title.clone()).collect()
        };
        let before = passed(&all);
        assert!(before.len() >= 7, "story {story}: {all:?}");
        for (at, (look, what)) in looks.iter().enumerate() {
            let (now, _) = validated(&session, &context, story, at + 1);
            tried += 1;
            // One that did not pass anyway has another reason now.
            let told = now
                .iter()
                .any(|check| check.passed != Some(true) && !all.contains(check));
            if passed(&now).len() >= before.len() && !told {
                silent.push(format!("{story}: look {at} at {look:?} {what}"));
            }
        }
    }
    assert!(tried > 100, "only {tried} looks were made");
    assert!(
        silent.is_empty(),
        "{} of {tried} looks were not missed:\n{}",
        silent.len(),
        silent.join("\n")
    );
}

/// Whether a preview says that something could not be looked at, beside what it says anyway.
fn says_so(now: &Preview, before: &Preview) -> bool {
    let unseen = |preview: &Preview| {
        let facts = preview.steps.iter().flat_map(|step| &step.facts);
        facts.filter(|fact| fact.seen["digest"] == "unknown").count()
    };
    if unseen(now) > unseen(before) {
        return true;
    }
    let (report, before) = (&now.report, &before.report);
    let doubtful = |report: &Report| {
        let doubtful = [Outcome::Unknown, Outcome::Kept, Outcome::Failed, Outcome::Denied];
        report
            .operations
            .iter()
            .filter(|operation| doubtful.contains(&operation.outcome))
            .count()
    };
    let mut checks = report.checks.iter();
    let told = checks.any(|check| check.passed != Some(true) && !before.checks.contains(check));
    report.error.is_some()
        || report.warnings.len() > before.warnings.len()
        || doubtful(report) > doubtful(before)
        || told
}

#[test]
fn unknown_spreads_each_look_of_each_word_is_lost_in_turn() {
    let mut silent = Vec::new();
    let mut tried = 0;
    for word in primitives::all() {
        let example = Example::of(word);
        let body = word.example;
        // A check stands around what only looks: it is what a conclusion is drawn in.
        example.sandbox.write(
            "rollback/9.1.rhai",
            format!(
                "const STORY = #{{ id: \"9.1\", title: \"example\" }};\nfn execute() {{\n    check(\"it\", || {{ {body}; true }});\n}}\n"
            ),
        );
        let context = context(&example.sandbox);
        let request = Request {
            stories: vec![story_of(&context, "9.1")],
            dry_run: true,
            ..Request::default()
        };
        let preview = |lost: usize| {
            context.host.sight.lose(lost);
            let preview = run::preview(&context, &request, Box::new(Silent)).unwrap();
            (preview, context.host.sight.made())
        };
        let (before, looks) = preview(usize::MAX);
        for (at, (look, what)) in looks.iter().enumerate() {
            tried += 1;
            let (now, _) = preview(at + 1);
            if !says_so(&now, &before) {
                silent.push(format!("{}: look {at} at {look:?} {what}", word.name));
            }
        }
    }
    assert!(tried > 200, "only {tried} looks were made");
    assert!(
        silent.is_empty(),
        "{} of {tried} looks were not missed:\n{}",
        silent.len(),
        silent.join("\n")
    );
}

fn story(sandbox: &Sandbox, body: &str) {
    let header = "const STORY = #{ id: \"9.1\", title: \"example\" };";
    sandbox.write(
        "rollback/9.1.rhai",
        format!("{header}\nfn execute() {{ {body} }}\n"),
    );
}

#[test]
fn unknown_spreads_what_a_script_concludes_outside_of_a_check_is_warned_of() {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback.yaml", "docker: /bin/false\n");
    story(
        &sandbox,
        "if list_containers(\"airbyte\").is_empty() { note(\"none\"); }",
    );
    let report = sandbox.json(&["run", "9.1", "-n"]);
    let warnings = report["warnings"].as_array().unwrap();
    let told = |text: &str| {
        warnings
            .iter()
            .any(|warning| warning.as_str().unwrap().contains(text))
    };
    assert!(told("what the container engine holds is unknown"), "{warnings:?}");
}

#[test]
fn not_looking_is_not_passing_a_line_of_the_log_that_can_not_be_read_or_has_no_time() {
    let began = r#"{"timestamp":"2999-01-01T00:00:00.000Z","level":"INFO","event":"began"}"#;
    let text = "2999-01-01 00:00:00,250 - reports - INFO - began\nTraceback (most recent call last):\n  File \"a.py\", line 3\nValueError: 12";
    let of_others = r#"{"timestamp":"2999-01-01T00:00:00.000Z","level":"ERROR","feature":"shop"}"#;
    let ours = |line: &str| line.replace('{', r#"{"storyId":"9.1","#);
    let at = |line: &str| line.replace('{', r#"{"timestamp":"2999-01-01T00:00:00.000Z","#);
    for (lines, passed) in [
        (format!("{began}\n"), Some(true)),
        (
            "half a line\n{\"timestamp\":\"2001-01-01T00:00:00.000Z\"}\n".to_owned(),
            Some(true),
        ),
        (format!("{began}\nhalf a line\n"), None),
        (format!("{began}\nhalf a line\n{{\"event\":\"other\"}}\n"), None),
        (
            format!("{began}\n{}\n", ours(r#"{"level":"ERROR","event":"broken"}"#)),
            None,
        ),
        (format!("{of_others}\n{text}\n"), Some(true)),
        (format!("{text}\nhalf a line\n"), None),
        // Levels and times in the forms of other writers.
        (at(&ours(r#"{"level":"ERROR"}"#)), Some(false)),
        (at(&ours(r#"{"level":"crit"}"#)), Some(false)),
        (at(&ours(r#"{"log.level":"panic"}"#)), Some(false)),
        (at(&ours(r#"{"log":{"level":"fatal"}}"#)), Some(false)),
        (at(&ours(r#"{"severityNumber":17}"#)), Some(false)),
        (at(&ours(r#"{"PRIORITY":"3"}"#)), Some(false)),
        (at(&ours(r#"{"PRIORITY":"6"}"#)), Some(true)),
        (
            ours(r#"{"@timestamp":32472144000000,"level":"error"}"#),
            Some(false),
        ),
        (ours(r#"{"@timestamp":978307200000,"level":"error"}"#), Some(true)),
        (at(&ours(r#"{"level":"yolo"}"#)), None),
        (at(&ours(r#"{"level":40}"#)), None),
        (at(&ours("{\"event\":\"without a level\"}")), None),
        // A line of text names no story.
        (
            "2999-01-01 00:00:00,250 - reports - ERROR - no answer".to_owned(),
            None,
        ),
        (
            "2001-01-01 00:00:00,250 - reports - ERROR - no answer".to_owned(),
            Some(true),
        ),
    ] {
        let sandbox = Sandbox::empty();
        story(&sandbox, "");
        sandbox.write("logs/security.log", &lines);
        let report = sandbox.json(&["validate", "9.1"]);
        let mut checks = report["checks"].as_array().unwrap().iter();
        let check = checks
            .find(|check| check["title"] == "No error messages in logs")
            .unwrap();
        assert_eq!(check["passed"].as_bool(), passed, "{lines}: {check}");
    }
}

#[test]
fn not_looking_is_not_passing_a_log_of_which_only_the_end_was_looked_at() {
    let line = |year: u32| format!("{{\"timestamp\":\"{year}-01-01T00:00:00.000Z\",\"level\":\"INFO\"}}\n");
    for (lines, passed) in [
        (line(2999).repeat(20_000), None),
        (line(2001).repeat(20_000) + line(2999).as_str(), Some(true)),
    ] {
        let sandbox = Sandbox::empty();
        story(&sandbox, "");
        sandbox.write("logs/security.log", &lines);
        let report = sandbox.json(&["validate", "9.1"]);
        let mut checks = report["checks"].as_array().unwrap().iter();
        let check = checks
            .find(|check| check["title"] == "No error messages in logs")
            .unwrap();
        assert_eq!(check["passed"].as_bool(), passed, "{check}");
    }
}
