//! The plan is what happens: the same world gives the same plan, what was approved is what is done, and the first
//! difference stops a run.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::prompts::Person;
use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged, ended};

/// What a run writes about itself.
const RECORDS: [&str; 4] = [".rollback", "rollback_reports", "docs", "logs"];

const QUESTION: &str = "Roll back 9.1? [y/N]";

fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n  beta: { enabled: true, dependencies: [alpha] }\n",
        )
        .write("data/one.txt", "one")
        .write("data/deep/two.txt", "two")
        .write("notes.txt", "notes")
        .write("more.txt", "more");
    script(&sandbox, body);
    sandbox
}

fn script(sandbox: &Sandbox, body: &str) {
    sandbox.write(
        "rollback/s.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"t\" }};\n\nfn execute() {{\n{body}\n}}\n"),
    );
}

fn id(sandbox: &Sandbox, stories: &str) -> String {
    let plan = sandbox.json(&["plan", stories]);
    plan["plan"].as_str().unwrap().to_owned()
}

/// P1, kind "identity holds a moment": several edits of one file that holds the time, names of backups, entries with dates.
#[test]
fn the_same_world_gives_the_same_id_and_the_id_can_be_confirmed() {
    let sandbox = Sandbox::full();
    for stories in ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "all"] {
        assert_eq!(id(&sandbox, stories), id(&sandbox, stories), "{stories}");
    }
    let id = id(&sandbox, "all");
    let done = sandbox
        .run(&["run", "all", "--confirm", &id, "--json"])
        .assert_code(0)
        .json();
    assert_eq!(done["plan"], Value::from(id));
}

/// P1 for scripts: contents that hold the moment, in words of every sort.
#[test]
fn a_script_that_writes_the_time_can_be_confirmed_and_applied() {
    let body = r#"    set_flag("beta", false);
    set_flag("alpha", false);
    write_text("out/at.txt", "made at " + now());
    let kept = retire_dir("data", "data");
    restore_backup(kept, "again");
    remove_path("notes.txt");"#;
    let sandbox = workspace(body);
    let file = sandbox.home().join("plan.json").display().to_string();
    let first = id(&sandbox, "9.1");
    sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
    assert_eq!(first, id(&sandbox, "9.1"));
    sandbox.run(&["apply", &file, "-n"]).assert_code(0);
    let before = sandbox.snapshot(&RECORDS);
    sandbox.run(&["run", "9.1", "--confirm", &first]).assert_code(0);
    assert!(sandbox.read("out/at.txt").starts_with("made at 2"));
    sandbox.run(&["undo", "-y"]).assert_code(0);
    let after: Vec<String> = Snapshot::diff(&before, &sandbox.snapshot(&RECORDS))
        .into_iter()
        .filter(|line| !line.contains("rollback_backups") && line != "changed .: time")
        .collect();
    assert!(after.is_empty(), "{after:?}");
    sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
    sandbox.run(&["apply", &file, "-y"]).assert_code(0);
}

/// Kind "two plans may have one id": what makes them two is when they were made.
#[test]
fn a_plan_made_after_the_same_was_done_and_taken_back_can_be_applied_once() {
    let sandbox = workspace("    remove_path(\"notes.txt\");");
    let (one, two) = (sandbox.home().join("one.json"), sandbox.home().join("two.json"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    sandbox.run(&["plan", "9.1", "-o", one]).assert_code(0);
    let first = id(&sandbox, "9.1");
    sandbox.run(&["apply", one, "-y"]).assert_code(0);
    sandbox.run(&["undo", "-y"]).assert_code(0);
    assert_eq!(first, id(&sandbox, "9.1"), "the world is as it was");
    sandbox.run(&["plan", "9.1", "-o", two]).assert_code(0);
    let refused = sandbox.run(&["apply", one, "-y"]).assert_code(7);
    assert!(
        refused.stderr.contains("carried out already"),
        "{}",
        refused.stderr
    );
    sandbox.run(&["apply", two, "-y"]).assert_code(0);
    sandbox.run(&["undo", "-y"]).assert_code(0);
    sandbox.run(&["apply", two, "-y"]).assert_code(7);
}

/// A4, kind "contents are part of what is done".
#[test]
fn other_contents_are_another_plan() {
    let words = [
        (
            "write_text(\"new.txt\", \"A\");",
            "write_text(\"new.txt\", \"B\");",
        ),
        (
            "write_text(\"notes.txt\", \"A\", #{ overwrite: true });",
            "write_text(\"notes.txt\", \"B\", #{ overwrite: true });",
        ),
        (
            "set_yaml(\"config/other.yaml\", \"a\", 1);",
            "set_yaml(\"config/other.yaml\", \"a\", 2);",
        ),
        (
            "set_json(\"other.json\", \"a\", 1);",
            "set_json(\"other.json\", \"a\", 2);",
        ),
        (
            "remove_lines(\"more.txt\", \"m\");",
            "remove_lines(\"more.txt\", \"more\\n?\");",
        ),
    ];
    for (planned, changed) in words {
        let sandbox = workspace(&format!("    {planned}\n    remove_path(\"data\");"));
        sandbox
            .write("config/other.yaml", "a: 0\n")
            .write("other.json", "{ \"a\": 0 }\n");
        let file = sandbox.home().join("plan.json").display().to_string();
        let before_id = id(&sandbox, "9.1");
        sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
        script(&sandbox, &format!("    {changed}\n    remove_path(\"data\");"));
        let before = sandbox.snapshot(&[]);
        sandbox.run(&["apply", &file, "-y"]).assert_code(7);
        sandbox
            .run(&["run", "9.1", "--confirm", &before_id])
            .assert_code(7);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

/// A2, kind "the world changes while the question stands": each of these is shown as something else, or not at all.
#[test]
fn what_changes_while_the_question_stands_is_not_done_unseen() {
    /// What changes, and how.
    type Change = (&'static str, fn(&Sandbox));
    let changes: [Change; 5] = [
        ("a file more in a directory", |sandbox| {
            sandbox.write("data/deep/late.txt", "late");
        }),
        ("other contents", |sandbox| {
            sandbox.write("notes.txt", "NOTES");
        }),
        ("another thing of the same name", |sandbox| {
            sandbox.remove("notes.txt");
            std::fs::create_dir(sandbox.path("notes.txt")).unwrap();
        }),
        ("a thing that has gone", |sandbox| {
            sandbox.remove("more.txt");
        }),
        ("a flag", |sandbox| {
            sandbox.write(
                "config/feature-flags.yaml",
                "features:\n  alpha: { enabled: false }\n",
            );
        }),
    ];
    for (what, change) in changes {
        let body = r#"    set_flag("alpha", false);
    retire_dir("data", "data");
    remove_path("notes.txt");
    remove_path("more.txt");"#;
        let sandbox = workspace(body);
        let mut person = Person::starts(&sandbox, &["run", "9.1"]);
        person.sees(QUESTION);
        change(&sandbox);
        let before = sandbox.snapshot(&[]);
        person.types("y\n");
        let screen = person.leaves_with(7);
        assert!(screen.contains("nothing was changed"), "{what}: {screen}");
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

/// A2 for processes: one that was started while the question stood lives on.
#[test]
fn a_process_that_was_not_shown_is_not_ended() {
    let sandbox = workspace("    stop_processes(#{ cwd: \"svc\" });\n    remove_path(\"notes.txt\");");
    sandbox.write("svc/a.sh", "#!/bin/sh\nread line\n");
    let start = || {
        std::process::Command::new("sleep")
            .arg("600")
            .current_dir(sandbox.path("svc"))
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut first = start();
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person.sees(QUESTION);
    let mut late = start();
    person.types("y\n");
    person.leaves_with(7);
    let alive = [
        first.try_wait().unwrap().is_none(),
        late.try_wait().unwrap().is_none(),
    ];
    for child in [&mut first, &mut late] {
        child.kill().unwrap();
        ended(child);
    }
    assert_eq!(alive, [true, true]);
    assert!(sandbox.exists("notes.txt"));
}

/// A3, kind "sources are read once": what was previewed runs, whatever becomes of the files.
#[test]
fn an_imported_module_that_is_edited_while_the_question_stands_is_not_run() {
    let sandbox = workspace("");
    sandbox.write(
        "rollback/part.rhai",
        "fn part() { remove_path(\"notes.txt\"); }\n",
    );
    sandbox.write(
        "rollback/s.rhai",
        "import \"part\" as part;\nconst STORY = #{ id: \"9.1\", title: \"t\" };\nfn execute() { part::part(); }\n",
    );
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person.sees(QUESTION);
    sandbox.write("rollback/part.rhai", "fn part() { remove_path(\"data\"); }\n");
    person.types("y\n");
    person.leaves_with(0);
    assert!(!sandbox.exists("notes.txt") && sandbox.exists("data/one.txt"));
}

/// A3 between `plan -o` and `apply`, where the edited module does the same: its digest is part of the plan.
#[test]
fn another_source_is_another_plan() {
    let sandbox = workspace("");
    sandbox.write(
        "rollback/part.rhai",
        "fn part() { remove_path(\"notes.txt\"); }\n",
    );
    sandbox.write(
        "rollback/s.rhai",
        "import \"part\" as part;\nconst STORY = #{ id: \"9.1\", title: \"t\" };\nfn execute() { part::part(); }\n",
    );
    let file = sandbox.home().join("plan.json").display().to_string();
    sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
    sandbox.write(
        "rollback/part.rhai",
        "fn part() { let a = 1; remove_path(\"notes.txt\"); }\n",
    );
    let refused = sandbox.run(&["apply", &file, "-y"]).assert_code(7);
    assert_says(&refused, &["`part` is not the script that the plan was made of"]);
    assert!(sandbox.exists("notes.txt"));
}

/// Kind "facts are looked at again right before each act, after the answer": before the first change 7, after it 1 with
/// the way back.
#[test]
fn each_step_is_looked_at_again_after_its_answer() {
    let body = "    remove_path(\"notes.txt\");\n    remove_path(\"data\");";
    let sandbox = workspace(body);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each", "-y"]);
    person.sees("remove `notes.txt`").sees("? [y/N]");
    sandbox.write("notes.txt", "other notes");
    let before = sandbox.snapshot(&[".rollback", "rollback_reports"]);
    person.types("y\n");
    let screen = person.leaves_with(7);
    assert!(
        screen.contains("`notes.txt` changed while the question stood"),
        "{screen}"
    );
    let after = sandbox.snapshot(&[".rollback", "rollback_reports"]);
    let changed = Snapshot::diff(&before, &after);
    assert!(
        changed.iter().all(|line| line == "changed .: time"),
        "{changed:?}"
    );

    let sandbox = workspace(body);
    let whole = sandbox.snapshot(&RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each", "-y"]);
    person
        .sees("? [y/N]")
        .types("y\n")
        .sees("remove `data`")
        .sees("? [y/N]");
    sandbox.write("data/late.txt", "late");
    person.types("y\n");
    let screen = person.leaves_with(1);
    for said in [
        "changed while the question stood",
        "something was changed",
        "1 operation stands",
        "rollback undo",
    ] {
        assert!(screen.contains(said), "`{said}` is missing:\n{screen}");
    }
    assert!(!screen.contains("nothing was changed"), "{screen}");
    assert!(sandbox.exists("data/late.txt") && !sandbox.exists("notes.txt"));
    sandbox.remove("data/late.txt");
    sandbox.run(&["undo", "-y"]).assert_code(0);
    let left: Vec<String> = Snapshot::diff(&whole, &sandbox.snapshot(&RECORDS))
        .into_iter()
        .filter(|line| !line.ends_with(": time"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Kind "undo goes through the same comparison".
#[test]
fn an_undo_does_what_its_plan_showed() {
    let sandbox = workspace("    remove_path(\"data\");\n    write_text(\"new.txt\", \"new\");");
    sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
    let mut person = Person::starts(&sandbox, &["undo"]);
    person.sees("? [y/N]");
    sandbox.write("new.txt", "somebody's own");
    let before = sandbox.snapshot(&[]);
    person.types("y\n");
    person.leaves_with(7);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert_eq!(sandbox.read("new.txt"), "somebody's own");
}

/// Kind "what a run has left so far of its own state is not visible": the same looks in both passes.
#[test]
fn words_see_none_of_the_programs_own_state() {
    let body = r#"    let seen = [
        path_exists(".rollback"), path_exists(".rollback/active"), list_dir(".").contains(".rollback"),
        find_paths(".rollback/**").len(), find_paths("logs/*").len(),
        if path_exists("logs/security.log") { read_text("logs/security.log") } else { "" },
        path_size("logs"), list_dir("logs"), now(),
    ];
    remove_path("notes.txt");
    seen += [
        path_exists(".rollback"), path_exists(".rollback/active"), list_dir(".").contains(".rollback"),
        find_paths(".rollback/**").len(), find_paths("logs/*").len(),
        if path_exists("logs/security.log") { read_text("logs/security.log") } else { "" },
        path_size("logs"), list_dir("logs"), now(),
    ];
    write_text("seen.txt", seen.to_string());"#;
    let sandbox = workspace(body);
    sandbox.write("logs/app.log", "line\n");
    for _ in 0..2 {
        // The log of an earlier run of the same second holds the plan's own moment, which counts as any moment.
        let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let begun = second();
        crate::sandbox::until("the second is over", || second() > begun);
        let plan = sandbox.json(&["plan", "9.1"]);
        let id = plan["plan"].as_str().unwrap();
        sandbox.run(&["run", "9.1", "--confirm", id]).assert_code(0);
        sandbox.remove("seen.txt").write("notes.txt", "notes");
    }
}

/// Kind "what a process that the run ends still does is unsettled": a log that grows, workers that come and go, and a last
/// word at the end are no other world, and go with the rest.
#[test]
fn what_a_service_writes_until_it_has_ended_does_not_stop_its_rollback() {
    let sandbox = workspace("    stop_processes(#{ cwd: \"data\" });\n    retire_dir(\"data\", \"data\");");
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args([
            "-c",
            "exec 3>>log; trap 'echo bye >&3; echo last > last.txt; exit 0' TERM; echo ready; \
             while echo line >&3; do sleep 0.05; done",
        ])
        .current_dir(sandbox.path("data"));
    let service = crate::sandbox::Service::start(&mut command);
    let first = id(&sandbox, "9.1");
    let size = || std::fs::metadata(sandbox.path("data/log")).unwrap().len();
    let before = size();
    // The world goes on: there is more in the log than the first plan saw.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while size() == before {
        assert!(std::time::Instant::now() < until, "the service writes nothing");
        std::thread::yield_now();
    }
    assert_eq!(first, id(&sandbox, "9.1"));
    let done = sandbox
        .run(&["run", "9.1", "--confirm", &first, "--json"])
        .assert_code(0)
        .json();
    assert!(!service.is_running());
    let backup = format!(
        "rollback_backups/{}",
        done["backups"][0]["name"].as_str().unwrap()
    );
    assert!(sandbox.read(&format!("{backup}/log")).ends_with("bye\n"));
    assert_eq!(sandbox.read(&format!("{backup}/last.txt")), "last\n");
}

/// Kind "a script sees no trace by which the passes differ": the directory of the logs, the manifests and the order of the
/// backups that the run makes, and how many entries they have.
#[test]
fn what_a_run_makes_for_itself_looks_the_same_in_both_passes() {
    let bodies = [
        "remove_path(\"notes.txt\"); write_text(\"n\", list_dir(\".\").to_string() + path_exists(\"logs\"));",
        "remove_path(\"notes.txt\"); for p in find_paths(\"*\") { keep_path(p, \"k\"); }",
        "retire_dir(\"data/deep\", \"zz\"); retire_dir(\"data\", \"aa\"); let l = list_backups(); restore_backup(l[l.len() - 1].name);",
        "for i in 0..12 { backup_dir(\"data\", \"n\"); } restore_backup(list_backups(\"data\")[11].name, \"again\");",
        "backup_dir(\"data\", \"n\"); write_text(\"x\", \"\" + list_backups()[0].entries);",
        "retire_dir(\"notes.txt\", \"n\"); write_text(\"x\", \"\" + list_backups()[0].entries);",
        "let b = backup_dir(\"data\", \"n\"); write_text(\"x\", \"\" + list_dir(\"rollback_backups/\" + b) + path_size(\"rollback_backups\"));",
        "write_text(\"x\", now().sub_string(0, 19));",
    ];
    for body in bodies {
        let sandbox = workspace(body);
        let id = id(&sandbox, "9.1");
        sandbox.run(&["run", "9.1", "--confirm", &id]).assert_code(0);
    }
}

/// Kind "what every run writes to is no script's": the directory of the logs goes nowhere, and nothing takes its place.
#[test]
fn the_directory_of_the_logs_is_not_changed_as_a_whole() {
    let bodies = [
        "remove_path(\"logs\");",
        "move_path(\"logs\", \"old\");",
        "retire_dir(\"logs\", \"l\");",
        "write_text(\"logs\", \"x\");",
        "copy_path(\"data\", \"logs\");",
        "move_path(\"data\", \"logs\", #{ overwrite: true });",
        "copy_path(\"logs\", \"old\");",
        "backup_dir(\"logs\", \"l\");",
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let sandbox = workspace(body);
        if !(3..=5).contains(&number) {
            sandbox.write("logs/app.log", "line\n");
        }
        let before = sandbox.snapshot(&[]);
        sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
        sandbox.run(&["run", "9.1", "-y"]).assert_code(3);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

/// Kind "a number is used again": a file that gets the inode of the environment file, which an edit replaced, is no secret.
#[test]
fn a_file_with_the_number_of_a_replaced_one_is_not_that_one() {
    let sandbox = workspace(
        "    remove_env_keys([\"ONE_\"]);\n    for i in 0..8 { copy_path(\"more.txt\", \"c\" + i); read_text(\"c\" + i); }",
    );
    sandbox.write(".env", "ONE_KEY=1\nTWO=2\n");
    let id = id(&sandbox, "9.1");
    sandbox.run(&["run", "9.1", "--confirm", &id]).assert_code(0);
}
