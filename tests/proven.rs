//! An undo puts back what was put away, or says that it is not the same any more; a restore deletes nothing of others.

use std::path::Path;

use crate::databases::{assert_given_back, backup};
use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged};
use crate::undo::newest;

const STORY: &str = r#"const STORY = #{ id: "9.1", title: "Reports" };

fn execute() {
    retire_dir("data/reports", "reports");
    remove_path("old");
    remove_path("notes.txt");
    remove_lines("kept.txt", "one");
    remove_pid_file("svc.pid");
}
"#;

/// What an undo may leave behind.
const RECORDS: &[&str] = &[".rollback", "rollback_reports", "logs", "docs"];

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback/reports.rhai", STORY)
        .write("data/reports/q1.txt", "first")
        .write("data/reports/more/q2.txt", "second")
        .write("old/a.txt", "a")
        .write("old/b/c.txt", "c")
        .write("notes.txt", "notes")
        .write("kept.txt", "one\ntwo\n")
        // Above what any process can be numbered.
        .write("svc.pid", "4194305\n");
    sandbox
}

fn run_of(sandbox: &Sandbox) -> String {
    let done = sandbox
        .run(&["run", "9.1", "--yes", "--json"])
        .assert_code(0)
        .json();
    done["run"].as_str().unwrap().to_owned()
}

/// Where the run keeps what had this name.
fn stored(sandbox: &Sandbox, run: &str, sort: &str, name: &str) -> String {
    let sort = format!(".rollback/runs/{run}/{sort}");
    let mut numbers = sandbox.path(&sort).read_dir().unwrap();
    let path = numbers.find_map(|number| {
        let path = format!("{sort}/{}/{name}", number.unwrap().file_name().to_str().unwrap());
        sandbox.exists(&path).then_some(path)
    });
    path.unwrap_or_else(|| panic!("`{name}` is not in `{sort}`"))
}

/// Other contents of the same length, and the same time.
fn scribble(path: &Path) {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    let length = std::fs::read(path).unwrap().len();
    std::fs::write(path, "x".repeat(length)).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn what_was_put_away_and_is_another_now_is_named_and_stops_the_undo_with_8() {
    type Harm = fn(&Sandbox, &str) -> String;
    let harms: [(&str, Harm); 12] = [
        ("contents of a backup edited", |sandbox, _| {
            scribble(&sandbox.path(&format!("{}/q1.txt", backup(sandbox))));
            "q1.txt` has other contents".to_owned()
        }),
        ("contents of a backup deleted", |sandbox, _| {
            sandbox.remove(&format!("{}/more", backup(sandbox)));
            "more/q2.txt` is missing".to_owned()
        }),
        ("something put into a backup", |sandbox, _| {
            sandbox.write(&format!("{}/q3.txt", backup(sandbox)), "third");
            "q3.txt` is not in the manifest".to_owned()
        }),
        ("the manifest deleted", |sandbox, _| {
            sandbox.remove(&format!("{}/.rollback-manifest.jsonl", backup(sandbox)));
            "it has no manifest".to_owned()
        }),
        ("the manifest cut short", |sandbox, _| {
            let manifest = format!("{}/.rollback-manifest.jsonl", backup(sandbox));
            let text = sandbox.read(&manifest);
            sandbox.write(&manifest, text.lines().next().unwrap().to_owned() + "\n");
            "was cut short".to_owned()
        }),
        ("a removed tree edited", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "old");
            sandbox.write(&format!("{stored}/b/c.txt"), "longer");
            format!("`{stored}` has 7 bytes, not 2")
        }),
        ("a part of a removed tree deleted", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "old");
            sandbox.remove(&format!("{stored}/b/c.txt"));
            format!("`{stored}` holds 3 paths, not 4")
        }),
        ("a file of a removed tree scribbled on", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "old");
            scribble(&sandbox.path(&format!("{stored}/b/c.txt")));
            format!("`{stored}` holds other contents")
        }),
        ("a removed pid file edited", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "svc.pid");
            sandbox.write(&stored, "1");
            format!("`{stored}` has 1 bytes, not 8")
        }),
        ("a removed pid file scribbled on", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "svc.pid");
            scribble(&sandbox.path(&stored));
            format!("`{stored}` holds other contents")
        }),
        ("a removed file scribbled on", |sandbox, run| {
            let stored = stored(sandbox, run, "removed", "notes.txt");
            scribble(&sandbox.path(&stored));
            format!("`{stored}` holds other contents")
        }),
        ("saved contents scribbled on", |sandbox, run| {
            let stored = stored(sandbox, run, "saved", "kept.txt");
            scribble(&sandbox.path(&stored));
            format!("`{stored}` holds other contents than were saved")
        }),
    ];
    for (name, harm) in harms {
        let sandbox = workspace();
        let run = run_of(&sandbox);
        let said = harm(&sandbox, &run);
        let before = sandbox.snapshot(&[]);
        for words in [["undo", "-n"], ["undo", "--yes"]] {
            let refused = sandbox.run(&words).assert_code(8);
            assert!(
                refused.transcript().contains(&said),
                "{name}: `{said}` is missing in\n{}",
                refused.transcript()
            );
            assert_unchanged(&before, &sandbox.snapshot(&[]));
        }
        let history = sandbox.json(&["history"]);
        assert!(history["runs"][0]["undone_by"].is_null(), "{name}: {history:#}");
        // Told to, it takes back what is there, and says what is not as it was.
        let forced = sandbox.run(&["undo", "--force"]).assert_code(0);
        assert!(
            forced.transcript().contains(&said),
            "{name}: `{said}` is missing in\n{}",
            forced.transcript()
        );
        assert!(
            sandbox.exists("data/reports/q1.txt") && sandbox.exists("old/a.txt"),
            "{name}"
        );
    }
}

// What lies in the workspace is anybody's: that it was changed is no damage.
#[test]
fn what_others_put_into_a_moved_directory_stops_the_undo_with_7_and_comes_along_where_that_is_wanted() {
    let sandbox = workspace();
    sandbox.write("tree/a.txt", "a").write(
        "rollback/9.2.rhai",
        "const STORY = #{ id: \"9.2\", title: \"Moves\" };\nfn execute() { move_path(\"tree\", \"new\"); }\n",
    );
    sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
    sandbox.write("new/theirs.txt", "theirs");
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(7);
    assert!(
        refused.transcript().contains("`new` holds"),
        "{}",
        refused.transcript()
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox.run(&["undo", "--force"]).assert_code(0);
    assert_eq!(sandbox.read("tree/theirs.txt"), "theirs");
    assert!(sandbox.exists("tree/a.txt") && !sandbox.exists("new"));
}

#[test]
fn what_is_lost_is_named_all_of_it_and_the_run_is_not_undone() {
    let sandbox = workspace();
    let run = run_of(&sandbox);
    sandbox.remove(&format!(".rollback/runs/{run}/removed"));
    sandbox.remove(&format!(".rollback/runs/{run}/saved"));
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", &run, "--yes"]).assert_code(8);
    assert_says(
        &refused,
        &[
            "`old` is lost",
            "`notes.txt` is lost",
            "the former contents of `kept.txt` are lost",
        ],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    let history = sandbox.json(&["history"]);
    assert!(history["runs"][0]["undone_by"].is_null(), "{history:#}");

    // The same of a backup that was removed by hand.
    let sandbox = workspace();
    let run = run_of(&sandbox);
    sandbox.remove("rollback_backups");
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", &run, "--yes"]).assert_code(8);
    assert_says(&refused, &["`data/reports` is lost"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn what_is_as_it_was_is_taken_back_whatever_was_done_and_undone_before() {
    let sandbox = workspace();
    let before = sandbox.snapshot(RECORDS);
    run_of(&sandbox);
    let undone = sandbox.run(&["undo", "--yes", "--json"]).assert_code(0).json();
    assert_given_back(&before, &sandbox, RECORDS);
    let again = sandbox
        .run(&["undo", undone["run"].as_str().unwrap(), "--yes", "--json"])
        .assert_code(0)
        .json();
    assert!(!sandbox.exists("data/reports") && !sandbox.exists("old"));
    // What came since is no harm to what was put away.
    sandbox
        .write("data/reports/q9.txt", "others'")
        .remove("data/reports");
    sandbox
        .run(&["undo", again["run"].as_str().unwrap(), "--yes"])
        .assert_code(0);
    let changed = Snapshot::diff(&before, &sandbox.snapshot(RECORDS));
    let told = |line: &String| line.ends_with(": time") || line == "added rollback_backups";
    assert!(changed.iter().all(told), "{changed:#?}");
}

/// A backup of the reports, by its name.
fn backed_up(sandbox: &Sandbox) -> String {
    sandbox
        .run(&["backup", "create", "data/reports", "reports"])
        .assert_code(0);
    let name = &sandbox.json(&["backup", "list"])["backups"][0]["name"];
    name.as_str().unwrap().to_owned()
}

#[test]
fn what_others_put_into_a_restored_or_copied_directory_stops_the_undo_with_7_and_stays() {
    let sandbox = workspace();
    let name = backed_up(&sandbox);
    sandbox
        .run(&["backup", "restore", &name, "--to", "data/again", "--yes"])
        .assert_code(0);
    let run = newest(&sandbox);
    sandbox.write("data/again/day2", "others'");
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["undo", &run, "--yes"]).assert_code(7);
    assert_says(&refused, &["`data/again`", "holds 5 paths, not 4"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox.remove("data/again/day2");
    sandbox.run(&["undo", &run, "--yes"]).assert_code(0);
    assert!(!sandbox.exists("data/again"));

    for (from, to, change) in [
        ("old", "copied", "copied/b/day2"),
        ("old", "copied", "copied/a.txt"),
        ("notes.txt", "copied.txt", "copied.txt"),
    ] {
        let sandbox = workspace();
        sandbox.write(
            "rollback/reports.rhai",
            format!("const STORY = #{{ id: \"9.1\", title: \"Copies\" }};\n\nfn execute() {{ copy_path(\"{from}\", \"{to}\"); }}\n"),
        );
        let run = run_of(&sandbox);
        sandbox.write(change, "others' own");
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["undo", &run, "--yes"]).assert_code(7);
        assert_says(&refused, &["was changed since"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
        // Told to, it goes into the undo's own store.
        sandbox.run(&["undo", &run, "--force"]).assert_code(0);
        assert!(!sandbox.exists(to));
    }
}

#[test]
fn a_restore_leaves_what_the_backup_does_not_hold_and_its_undo_gives_all_back() {
    let sandbox = workspace();
    let name = backed_up(&sandbox);
    sandbox
        .write("data/reports/q1.txt", "changed")
        .write("data/reports/mine.txt", "mine")
        .write("data/reports/more/mine.txt", "mine too")
        .write("data/reports/apart/deep/mine.txt", "mine as well")
        .remove("data/reports/more/q2.txt");
    let before = sandbox.snapshot(RECORDS);
    let display = sandbox
        .run(&["--json", "backup", "restore", &name, "-n"])
        .assert_code(0);
    assert_says(
        &display,
        &["leave in `data/reports` what the backup does not hold: `apart`, `mine.txt`, `more/mine.txt`"],
    );
    assert_unchanged(&before, &sandbox.snapshot(RECORDS));
    sandbox.run(&["backup", "restore", &name, "--yes"]).assert_code(0);
    for (path, text) in [
        ("q1.txt", "first"),
        ("more/q2.txt", "second"),
        ("mine.txt", "mine"),
        ("more/mine.txt", "mine too"),
        ("apart/deep/mine.txt", "mine as well"),
    ] {
        assert_eq!(sandbox.read(&format!("data/reports/{path}")), text, "{path}");
    }
    sandbox.run(&["undo", &newest(&sandbox), "--yes"]).assert_code(0);
    assert_given_back(&before, &sandbox, RECORDS);
}

#[test]
fn a_damaged_backup_is_found_before_anything_moves_out_of_its_way() {
    let sandbox = workspace();
    let name = backed_up(&sandbox);
    scribble(&sandbox.path(&format!("rollback_backups/{name}/q1.txt")));
    sandbox.write("data/reports/q1.txt", "changed");
    let before = sandbox.snapshot(&[]);
    for words in [["-n", "-q"], ["--yes", "-q"]] {
        let refused = sandbox
            .run(&[&["backup", "restore", &name][..], &words[..]].concat())
            .assert_code(8);
        assert_says(&refused, &["`q1.txt` has other contents"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}
