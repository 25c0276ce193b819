//! Databases: what belongs together goes together, whichever word takes it and whichever way it comes back.

use std::process::Command;

use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged};
use crate::skipped::skipped;

/// What an undo may leave behind.
const RECORDS: &[&str] = &[
    ".rollback",
    "rollback_backups",
    "rollback_reports",
    "logs",
    "docs",
];

/// What begins as a database of DuckDB does.
fn duckdb(rest: &str) -> Vec<u8> {
    let mut bytes = vec![0; 12288];
    bytes[8..12].copy_from_slice(b"DUCK");
    bytes[100..100 + rest.len()].copy_from_slice(rest.as_bytes());
    bytes
}

/// What begins as a database of SQLite does.
fn sqlite(rest: &str) -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(4096, 0);
    bytes[100..100 + rest.len()].copy_from_slice(rest.as_bytes());
    bytes
}

fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/w.duckdb", duckdb("w"))
        .write("data/w.duckdb.wal", "row 2 of w")
        .write("data/s.db", sqlite("s"))
        .write("data/s.db-wal", "row 2 of s")
        .write("data/s.db-shm", "index")
        .write("data/other.txt", "other");
    tell(&sandbox, body);
    sandbox
}

fn tell(sandbox: &Sandbox, body: &str) {
    sandbox.write(
        "rollback/9.1.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"Databases\" }};\n\nfn execute() {{ {body} }}\n"),
    );
}

/// All but the times of directories in which records are made.
#[track_caller]
pub fn assert_given_back(before: &Snapshot, sandbox: &Sandbox, records: &[&str]) {
    let mut changed = Snapshot::diff(before, &sandbox.snapshot(records));
    changed.retain(|line| line != "changed .: time");
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

/// The newest backup's directory.
pub fn backup(sandbox: &Sandbox) -> String {
    let listed = sandbox.json(&["backup", "list"]);
    let name = listed["backups"].as_array().unwrap().last().unwrap()["name"].clone();
    format!("rollback_backups/{}", name.as_str().unwrap())
}

const FILES: [(&str, &[&str]); 2] = [("w.duckdb", &[".wal"]), ("s.db", &["-wal", "-shm"])];

#[test]
fn the_files_of_a_database_go_together_by_every_word_and_come_back_together() {
    for (main, suffixes) in FILES {
        for (call, options) in [
            (format!("retire_dir(\"data/{main}\", \"kept\");"), &[][..]),
            (
                format!("retire_dir(\"data/{main}{}\", \"kept\");", suffixes[0]),
                &[],
            ),
            (format!("retire_dir(\"data/{main}\", \"kept\");"), &["--copy"]),
            (format!("remove_path(\"data/{main}\");"), &[]),
            (
                format!("remove_paths([\"data/{main}{}\", \"data/{main}\"]);", suffixes[0]),
                &[],
            ),
            (format!("remove_paths(find_paths(\"data/{main}*\"));"), &[]),
            (format!("move_path(\"data/{main}\", \"new/place/{main}\");"), &[]),
        ] {
            let sandbox = workspace(&call);
            let before = sandbox.snapshot(RECORDS);
            let plan = sandbox.json(&["run", "9.1", "-n"]);
            let text = plan["operations"].to_string();
            sandbox
                .run(&[&["run", "9.1", "--yes"], options].concat())
                .assert_code(0);
            for suffix in suffixes.iter().chain(&[""]) {
                assert!(
                    !sandbox.exists(&format!("data/{main}{suffix}")),
                    "{call} {suffix}"
                );
                assert!(
                    text.contains(&format!("{main}{suffix}`")),
                    "{call} {suffix} {plan:#}"
                );
            }
            assert!(sandbox.exists("data/other.txt"));
            if call.starts_with("retire") {
                let backup = backup(&sandbox);
                for suffix in suffixes.iter().chain(&[""]) {
                    assert!(
                        sandbox.exists(&format!("{backup}/{main}{suffix}")),
                        "{call} {suffix}"
                    );
                }
                sandbox
                    .run(&["backup", "verify", "--level", "sample"])
                    .assert_code(0);
            }
            sandbox.run(&["undo", "--yes"]).assert_code(0);
            assert_given_back(&before, &sandbox, RECORDS);
        }
        for (call, copy) in [
            (format!("backup_dir(\"data/{main}\", \"kept\");"), None),
            (
                format!("copy_path(\"data/{main}\", \"new/place/copy.db\");"),
                Some("new/place/copy.db"),
            ),
        ] {
            let sandbox = workspace(&call);
            let before = sandbox.snapshot(RECORDS);
            sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
            for suffix in suffixes.iter().chain(&[""]) {
                let copy = match copy {
                    Some(copy) => format!("{copy}{suffix}"),
                    None => format!("{}/{main}{suffix}", backup(&sandbox)),
                };
                assert_eq!(
                    std::fs::read(sandbox.path(&copy)).unwrap(),
                    std::fs::read(sandbox.path(&format!("data/{main}{suffix}"))).unwrap(),
                    "{call} {suffix}"
                );
            }
            sandbox.run(&["undo", "--yes"]).assert_code(0);
            assert_given_back(&before, &sandbox, RECORDS);
        }
    }
}

#[test]
fn a_log_alone_is_refused_while_its_database_stays() {
    for (main, suffixes) in FILES {
        let log = format!("data/{main}{}", suffixes[0]);
        for call in [
            format!("remove_path(\"{log}\");"),
            format!("remove_paths([\"data/other.txt\", \"{log}\"]);"),
            format!("move_path(\"{log}\", \"elsewhere\");"),
            format!("copy_path(\"{log}\", \"elsewhere\");"),
        ] {
            let sandbox = workspace(&call);
            let before = sandbox.snapshot(&[]);
            let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
            assert_says(
                &refused,
                &[
                    &format!("`{log}` belongs to the"),
                    &format!("database `data/{main}`"),
                ],
            );
            assert_unchanged(&before, &sandbox.snapshot(&[]));
        }
    }
    // The same beside a link to the database; not beside any link.
    for call in [
        "remove_path(\"named/link.db.wal\");",
        "move_path(\"named/link.db.wal\", \"elsewhere\");",
        "copy_path(\"named/link.db.wal\", \"elsewhere\");",
    ] {
        let sandbox = workspace(call);
        sandbox.write("named/link.db.wal", "row 3 of w");
        std::os::unix::fs::symlink("../data/w.duckdb", sandbox.path("named/link.db")).unwrap();
        let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
        assert_says(&refused, &["to which the link `named/link.db` leads"]);
        sandbox.remove("named/link.db");
        std::os::unix::fs::symlink("../data/other.txt", sandbox.path("named/link.db")).unwrap();
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    }
    // Without its database it is a file like any other, and so is what merely has such a name.
    let sandbox = workspace("remove_path(\"data/w.duckdb.wal\"); remove_path(\"notes-journal\");");
    sandbox
        .remove("data/w.duckdb")
        .write("notes", "text")
        .write("notes-journal", "diary");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("data/w.duckdb.wal") && !sandbox.exists("notes-journal"));
    assert!(sandbox.exists("notes"));
}

#[test]
fn a_database_comes_back_with_its_log_and_a_log_that_is_not_its_own_goes_out_of_its_way() {
    let sandbox = workspace("");
    sandbox
        .run(&["backup", "create", "data/w.duckdb", "both"])
        .assert_code(0);
    sandbox.remove("data/w.duckdb.wal");
    sandbox
        .run(&["backup", "create", "data/w.duckdb", "alone"])
        .assert_code(0);
    sandbox
        .write("data/w.duckdb", duckdb("later"))
        .write("data/w.duckdb.wal", "later row");
    let before = sandbox.snapshot(RECORDS);
    let names = sandbox.json(&["backup", "list"]);
    let named = |begin: &str| {
        let all = names["backups"].as_array().unwrap();
        let mut names = all.iter().map(|each| each["name"].as_str().unwrap().to_owned());
        names.find(|name| name.starts_with(begin)).unwrap()
    };
    for (backup, log) in [(named("both"), Some("row 2 of w")), (named("alone"), None)] {
        sandbox
            .run(&["backup", "restore", &backup, "--yes"])
            .assert_code(0);
        assert_eq!(std::fs::read(sandbox.path("data/w.duckdb")).unwrap(), duckdb("w"));
        match log {
            Some(log) => assert_eq!(sandbox.read("data/w.duckdb.wal"), log),
            None => assert!(!sandbox.exists("data/w.duckdb.wal")),
        }
        let history = sandbox.json(&["history"]);
        let run = history["runs"].as_array().unwrap().last().unwrap()["run"].clone();
        sandbox
            .run(&["undo", run.as_str().unwrap(), "--yes"])
            .assert_code(0);
        assert_given_back(&before, &sandbox, RECORDS);
    }
    // To another name, its log takes that name too; a log that stands there already belongs to nothing.
    sandbox.write("again/x.db.wal", "somebody's");
    sandbox
        .run(&["backup", "restore", &named("both"), "--to", "again/x.db", "--yes"])
        .assert_code(0);
    assert_eq!(sandbox.read("again/x.db.wal"), "row 2 of w");
    for call in [
        "copy_path(\"data/w.duckdb\", \"third/y.db\");",
        "move_path(\"data/w.duckdb\", \"third/y.db\");",
    ] {
        tell(&sandbox, call);
        sandbox.write("third/y.db.wal", "somebody's");
        let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(1);
        assert_says(&refused, &["`third/y.db.wal` exists"]);
    }
}

#[test]
fn what_gives_way_to_a_file_goes_with_its_logs_and_comes_back_with_them() {
    for (call, log) in [
        (
            "copy_path(\"data/w.duckdb\", \"third/y.db\", #{ overwrite: true });",
            Some("row 2 of w"),
        ),
        (
            "move_path(\"data/w.duckdb\", \"third/y.db\", #{ overwrite: true });",
            Some("row 2 of w"),
        ),
        (
            "copy_path(\"data/other.txt\", \"third/y.db\", #{ overwrite: true });",
            None,
        ),
        (
            "move_path(\"data/other.txt\", \"third/y.db\", #{ overwrite: true });",
            None,
        ),
    ] {
        let sandbox = workspace(call);
        sandbox
            .write("third/y.db", duckdb("theirs"))
            .write("third/y.db.wal", "their row");
        let before = sandbox.snapshot(RECORDS);
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        let first = plan["operations"][0]["summary"].as_str().unwrap();
        assert!(
            first.contains("`third/y.db`") && first.contains("`third/y.db.wal`"),
            "{plan:#}"
        );
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        match log {
            Some(log) => assert_eq!(sandbox.read("third/y.db.wal"), log, "{call}"),
            None => assert!(!sandbox.exists("third/y.db.wal"), "{call}"),
        }
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_given_back(&before, &sandbox, RECORDS);
    }
}

#[test]
fn a_database_that_is_removed_for_good_leaves_no_log_behind() {
    let sandbox = workspace("remove_path(\"data/s.db\");");
    let plan = sandbox.json(&["plan", "9.1", "--purge"]);
    let operations = plan["operations"].as_array().unwrap();
    let removals = operations
        .iter()
        .filter(|operation| operation["op"] == "remove_path");
    assert_eq!(removals.count(), 3, "{plan:#}");
    let id = plan["plan"].as_str().unwrap();
    sandbox
        .run(&["run", "9.1", "--purge", "--confirm", id])
        .assert_code(0);
    for path in ["data/s.db", "data/s.db-wal", "data/s.db-shm"] {
        assert!(!sandbox.exists(path), "{path}");
    }
}

/// The check of data, and what it says.
fn data_check(sandbox: &Sandbox) -> (Option<bool>, String) {
    let report = sandbox.json(&["validate", "9.1"]);
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["title"] == "Data backed up successfully")
        .unwrap();
    let detail = check["detail"].as_str().unwrap_or_default().to_owned();
    (check["passed"].as_bool(), detail)
}

#[test]
fn the_check_of_data_looks_for_databases_below_caches_too() {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Caches\", caches: [\".cache/py\"] };\n\n\
             fn execute() { import \"std/story\" as story; story::roll_back(global::STORY); }\n",
        )
        .write(".cache/py/plain.bin", vec![1; 1024]);
    assert_eq!(data_check(&sandbox), (Some(true), "0 backups".to_owned()));
    sandbox.write(".cache/py/deep/one.duckdb", duckdb("one"));
    assert_eq!(
        data_check(&sandbox),
        (
            Some(false),
            "the DuckDB database `.cache/py/deep/one.duckdb` is in place and was not backed up".to_owned()
        )
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(data_check(&sandbox), (Some(true), "1 backup".to_owned()));
}

#[test]
fn a_run_whose_backup_does_not_hold_what_its_links_lead_to_does_not_call_the_data_backed_up() {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Links\", data: [#{ path: \"shop\", backup: \"shop\" }] };\n\n\
             fn execute() { retire_dir(\"shop\", \"shop\"); }\n",
        )
        .write("store/w.db", duckdb("w"))
        .write("shop/plain.txt", "plain");
    std::os::unix::fs::symlink("../store/w.db", sandbox.path("shop/w.db")).unwrap();
    let done = sandbox
        .run(&["run", "9.1", "--yes", "--json"])
        .assert_code(0)
        .json();
    let checks = done["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["title"] == "Data backed up successfully")
        .unwrap();
    assert!(check["passed"].is_null(), "{check:#}");
    let detail = check["detail"].as_str().unwrap();
    assert!(
        detail.contains("`w.db` leads to `store/w.db`, outside of it"),
        "{check:#}"
    );
}

#[test]
fn what_a_story_keeps_of_a_database_is_all_of_it() {
    for kept in ["w.duckdb", "w.duckdb.wal"] {
        let sandbox = workspace(&format!(
            "retire_dir(\"data\", \"data\", #{{ keep: [\"{kept}\"] }});"
        ));
        let before = sandbox.snapshot(RECORDS);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert!(sandbox.exists("data/w.duckdb") && sandbox.exists("data/w.duckdb.wal"));
        assert!(!sandbox.exists("data/s.db"));
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_given_back(&before, &sandbox, RECORDS);
    }
}

#[test]
fn the_log_beside_a_link_goes_along_with_what_the_link_leads_to() {
    for options in [&[][..], &["--copy"]] {
        let sandbox = workspace("retire_dir(\"named/link.db\", \"kept\");");
        sandbox
            .remove("data/w.duckdb.wal")
            .write("named/link.db.wal", "row 2 of w");
        std::os::unix::fs::symlink("../data/w.duckdb", sandbox.path("named/link.db")).unwrap();
        let before = sandbox.snapshot(RECORDS);
        sandbox
            .run(&[&["run", "9.1", "--yes"], options].concat())
            .assert_code(0);
        assert_eq!(
            sandbox.read(&format!("{}/w.duckdb.wal", backup(&sandbox))),
            "row 2 of w"
        );
        for path in ["named/link.db", "named/link.db.wal", "data/w.duckdb"] {
            assert!(!sandbox.exists(path), "{path} {options:?}");
        }
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_given_back(&before, &sandbox, RECORDS);
    }
}

#[test]
fn a_database_whose_log_is_being_written_is_not_taken() {
    for call in [
        "retire_dir(\"data/w.duckdb\", \"kept\");",
        "backup_dir(\"data/w.duckdb\", \"kept\");",
        "copy_path(\"data/w.duckdb\", \"elsewhere.db\");",
        "move_path(\"data/w.duckdb\", \"elsewhere.db\");",
        "remove_path(\"data/w.duckdb\");",
    ] {
        let sandbox = workspace(call);
        let log = sandbox.path("data/w.duckdb.wal");
        let writer = sandbox.spawn("bin/writer.sh", &[], &format!("exec 3>>'{}'\n", log.display()));
        let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(1);
        assert_says(
            &refused,
            &[&format!("process {}", writer.pid()), "w.duckdb.wal` is not quiet"],
        );
        assert!(sandbox.exists("data/w.duckdb") && sandbox.exists("data/w.duckdb.wal"));
    }
}

#[test]
fn a_link_that_leaves_what_is_backed_up_is_named_and_its_backup_is_not_sound() {
    for word in ["retire_dir", "backup_dir"] {
        let sandbox = workspace(&format!("{word}(\"shop\", \"shop\");"));
        sandbox.write("shop/plain.txt", "plain");
        std::os::unix::fs::symlink("plain.txt", sandbox.path("shop/inside")).unwrap();
        std::os::unix::fs::symlink("../data/w.duckdb", sandbox.path("shop/w.db")).unwrap();
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        let why = plan["operations"][0]["why"].as_str().unwrap();
        assert!(
            why.contains("`w.db` leads to `data/w.duckdb`, outside of it: what stands there stays there"),
            "{plan:#}"
        );
        assert!(!why.contains("inside`"), "{plan:#}");
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        for level in ["structure", "full"] {
            let found = sandbox
                .run(&["backup", "verify", "--level", level])
                .assert_code(8);
            assert_says(&found, &["LACKING", "`w.db` leads to `data/w.duckdb`"]);
            assert!(!found.stdout.contains("sound"), "{}", found.transcript());
        }
        // Where nothing stands by now, nobody knows.
        sandbox.remove("data/w.duckdb");
        let found = sandbox.run(&["--json", "backup", "verify"]).assert_code(0).json();
        assert!(found["backups"][0]["verified"].is_null(), "{found:#}");
        assert_eq!(found["backups"][0]["unknown"][0]["path"], "w.db", "{found:#}");
    }
}

#[test]
fn a_database_below_a_cache_is_data() {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "rollback/9.1.rhai",
            "import \"std/story\" as story;\n\nconst STORY = #{ id: \"9.1\", title: \"Caches\", \
             caches: [\".cache/py\", \".cache/one.duckdb\", \".cache/plain\"] };\n\n\
             fn execute() { story::roll_back(global::STORY); }\n",
        )
        .write(".cache/py/deep/default cache.duckdb", duckdb("rows"))
        .write(".cache/py/deep/default cache.duckdb.wal", "more rows")
        .write(".cache/py/catalog.json", "{}")
        .write(".cache/one.duckdb", duckdb("one"))
        .write(".cache/plain/a.bin", vec![1; 1024]);
    let before = sandbox.snapshot(RECORDS);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let operations = plan["operations"].as_array().unwrap();
    let retired = operations
        .iter()
        .filter(|operation| operation["op"] == "retire_dir");
    assert_eq!(retired.count(), 2, "{plan:#}");
    let done = sandbox
        .run(&["run", "9.1", "--yes", "--json"])
        .assert_code(0)
        .json();
    assert!(!sandbox.exists(".cache/py") && !sandbox.exists(".cache/one.duckdb"));
    let sources: Vec<_> = done["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| backup["source"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        sources,
        [".cache/py/deep/default cache.duckdb", ".cache/one.duckdb"]
    );
    let first = done["backups"][0]["name"].as_str().unwrap();
    assert_eq!(
        sandbox.read(&format!("rollback_backups/{first}/default cache.duckdb.wal")),
        "more rows"
    );
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_given_back(&before, &sandbox, RECORDS);
}

/// A database that SQLite itself made, with a row that is only in its log.
fn made_by_sqlite(sandbox: &Sandbox) -> bool {
    let made = Command::new("python3")
        .current_dir(sandbox.root())
        .args([
            "-c",
            "import sqlite3, shutil, os\n\
             os.makedirs('data', exist_ok=True)\n\
             c = sqlite3.connect('data/m.db'); c.execute('pragma journal_mode=wal')\n\
             c.execute('create table t (x)'); c.execute('pragma wal_checkpoint(truncate)')\n\
             c.execute('insert into t values (1)'); c.commit()\n\
             shutil.copy('data/m.db', 'm.db'); shutil.copy('data/m.db-wal', 'm.db-wal')\n\
             c.close()\n\
             os.replace('m.db', 'data/m.db'); os.replace('m.db-wal', 'data/m.db-wal')\n",
        ])
        .output();
    let is_made = made.is_ok_and(|made| made.status.success());
    if !is_made {
        skipped("no python3 with sqlite3");
    }
    is_made
}

#[test]
fn a_backup_of_a_database_is_opened_where_a_program_is_at_hand_and_unknown_where_not() {
    let sandbox = workspace("");
    if !made_by_sqlite(&sandbox) {
        return;
    }
    sandbox
        .run(&["backup", "create", "data/m.db", "m"])
        .assert_code(0);
    let directory = backup(&sandbox);
    let kept = sandbox.snapshot(&[".rollback"]);
    let found = sandbox.run(&["backup", "verify"]).assert_code(0);
    assert_says(&found, &["sound", "1 database opened"]);
    // Nothing of the backup was changed by it, nothing is left of the copy.
    assert_unchanged(&kept, &sandbox.snapshot(&[".rollback"]));
    assert!(!sandbox.exists(".rollback/trial/database"));
    assert!(sandbox.exists(&format!("{directory}/m.db-wal")));
    let looked = sandbox.run(&["backup", "verify", "-n"]).assert_code(0);
    assert_says(&looked, &["unknown", "was not opened: a dry run makes no copy"]);
    // Without a program nobody knows.
    let blind = crate::sandbox::Finished::of(
        sandbox.command(&["backup", "verify"]).env("PATH", sandbox.home()),
        &["backup", "verify"],
    )
    .assert_code(0);
    assert_says(
        &blind,
        &["unknown", "was not opened: neither a Python with sqlite3"],
    );
    assert!(!blind.stdout.contains("sound"), "{}", blind.transcript());

    // What only begins like a database was one that can't be opened before it was backed up.
    let sandbox = workspace("");
    sandbox.write("data/bad.db", {
        let mut bytes = sqlite("bad");
        bytes[16..40].fill(0xff);
        bytes
    });
    sandbox
        .run(&["backup", "create", "data/bad.db", "bad"])
        .assert_code(0);
    let found = sandbox.run(&["backup", "verify"]).assert_code(8);
    assert_says(&found, &["DAMAGED", "`bad.db` (SQLite) does not open with"]);
}

/// What is below `keep` may go on being written, what is beside it not.
#[test]
fn writers_below_what_is_kept_are_no_writers_of_what_goes() {
    for (written, code) in [("data/live/log", 0), ("data/log", 1)] {
        let sandbox = workspace("retire_dir(\"data\", \"data\", #{ keep: [\"live\"] });");
        sandbox.write("data/live/log", "").write("data/log", "");
        let path = sandbox.path(written);
        let writer = sandbox.spawn("bin/writer.sh", &[], &format!("exec 3>>'{}'\n", path.display()));
        let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(code);
        if code != 0 {
            assert_says(
                &finished,
                &[&format!("process {}", writer.pid()), "writes `data/log`"],
            );
        }
        assert!(sandbox.exists(written));
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_unknown_and_hides_no_other_backup() {
    let sandbox = workspace("");
    sandbox
        .run(&["backup", "create", "data/other.txt", "good"])
        .assert_code(0);
    sandbox
        .run(&["backup", "create", "data/other.txt", "bad"])
        .assert_code(0);
    let listed = sandbox.json(&["backup", "list"]);
    let name = listed["backups"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("bad"), "{listed:#}");
    let manifest = format!("rollback_backups/{name}/.rollback-manifest.jsonl");
    // A directory in its place is no manifest that anybody could read, be it as root.
    sandbox.remove(&manifest).write(&format!("{manifest}/x"), "");
    let list = sandbox.run(&["backup", "list"]).assert_code(0);
    assert_says(&list, &["UNKNOWN", "good"]);
    assert!(!list.stdout.contains("NOT WHOLE"), "{}", list.transcript());
    assert_says(
        &sandbox.run(&["backup", "show", name]).assert_code(0),
        &["unknown: its manifest could not be read"],
    );
    let verified = sandbox.run(&["backup", "verify"]).assert_code(0);
    assert_says(&verified, &["unknown", "could not be read", "sound"]);
}
