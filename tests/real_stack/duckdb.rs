//! A database that DuckDB itself wrote.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::stack::{skipped, stack};
use crate::sandbox::{Sandbox, Snapshot, assert_says, assert_unchanged};

/// A Python program that has done its first part, and waits.
struct Waiting {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Waiting {
    /// Runs `code` until it prints `ready`; it should then read a line.
    fn start(python: &Path, directory: &Path, code: &str) -> Self {
        let mut child = Command::new(python)
            .args(["-c", code])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    fn finish(mut self) {
        let mut stdin = self.stdin.take().unwrap();
        writeln!(stdin, "go on").unwrap();
        drop(stdin);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Already ended where `finish` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(interpreter: &Path, directory: &Path, code: &str) -> String {
    let output = Command::new(interpreter)
        .args(["-c", code])
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Everything that a reader can learn of the database: counts, sums, an index look-up, a join.
const READ: &str = "
import duckdb
db = duckdb.connect('data/warehouse/sales.duckdb', read_only=True)
print(db.sql('select count(*), sum(amount), min(sold), max(name) from sales').fetchall())
print(db.sql('select name from sales where id = 54321').fetchall())
print(db.sql('select k.label, count(*) from sales s join kinds k on s.kind = k.id group by 1 order by 1').fetchall())
print(db.sql('select count(*) from (select distinct id from sales)').fetchall())
";

/// A database that DuckDB itself wrote is left alone while DuckDB writes it, and comes back to the byte after.
#[test]
fn a_database_of_duckdb_goes_and_comes_back() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("a database of DuckDB", &why),
    };
    let duckdb = stack.python();
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  alpha: { enabled: true }\n",
        )
        .write(
            "rollback/warehouse.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Warehouse\" };\n\
             fn execute() { retire_dir(\"data/warehouse\", \"warehouse\"); }\n",
        )
        .write("data/warehouse/notes.txt", "beside the database");
    let root = sandbox.root();
    python(
        &duckdb,
        &root,
        "
import duckdb
db = duckdb.connect('data/warehouse/sales.duckdb')
db.execute(\"create table kinds as select i as id, 'kind ' || i as label from range(7) t(i)\")
db.execute(\"create table sales as select i as id, i % 7 as kind, 'name ' || i as name, (i * 37) % 1000 as amount, timestamp '2026-01-01' + interval (i) second as sold from range(200000) t(i)\")
db.execute('create unique index by_id on sales(id)')
db.close()
",
    );
    let rows = python(&duckdb, &root, READ);
    assert!(rows.starts_with("[(200000, "), "{rows}");

    // A connection that writes: nothing is taken from under it, in the preview as in the run.
    let writer = Waiting::start(
        &duckdb,
        &root,
        "
import duckdb
db = duckdb.connect('data/warehouse/sales.duckdb')
db.execute('begin'); db.sql(\"insert into kinds values (99, 'not committed')\")
print('ready', flush=True)
input()
db.execute('rollback'); db.close()
",
    );
    let before = sandbox.snapshot(&[]);
    let pid = format!("process {}", writer.child.id());
    for arguments in [&["run", "9.1", "-n"][..], &["run", "9.1", "--yes"]] {
        let refused = sandbox.run(arguments).assert_code(1);
        assert_says(&refused, &["is not quiet", &pid, "sales.duckdb"]);
    }
    let refused = sandbox
        .run(&["backup", "create", "data/warehouse"])
        .assert_code(1);
    assert_says(&refused, &["is not quiet", &pid]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    writer.finish();

    let quiet = sandbox.snapshot(&[
        "rollback_backups",
        ".rollback",
        "rollback_reports",
        "logs",
        "docs",
    ]);
    assert_eq!(python(&duckdb, &root, READ), rows);
    let done = sandbox.json(&["run", "9.1", "--yes"]);
    let backup = done["backups"][0]["name"].as_str().unwrap();
    assert!(!sandbox.exists("data/warehouse"));
    sandbox
        .run(&["backup", "verify", backup, "--level", "restore"])
        .assert_code(0);

    // Restored from the backup, it answers as before; taken back, it is the same file.
    sandbox
        .run(&["backup", "restore", backup, "--yes"])
        .assert_code(0);
    assert_eq!(python(&duckdb, &root, READ), rows);
    let history = sandbox.json(&["history"]);
    let runs = history["runs"].as_array().unwrap().iter().rev();
    // Nothing is left of a trial.
    for run in runs.filter(|run| run["kind"] != "backup") {
        sandbox
            .run(&["undo", run["run"].as_str().unwrap(), "--yes"])
            .assert_code(0);
    }
    let after = sandbox.snapshot(&[
        "rollback_backups",
        ".rollback",
        "rollback_reports",
        "logs",
        "docs",
    ]);
    let mut differences = Snapshot::diff(&quiet, &after);
    differences.retain(|line| line != "changed .: time");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(python(&duckdb, &root, READ), rows);
}

/// A row that was committed and stands only in the log beside the database: it goes along, whichever word takes it.
#[test]
fn what_a_database_of_duckdb_has_only_in_its_log_goes_along_and_comes_back() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("a log of DuckDB", &why),
    };
    let duckdb = stack.python();
    let rows = "import duckdb\ndb = duckdb.connect('data/w.duckdb', read_only=True)\n\
                print(db.sql('select x from t order by x').fetchall())\n";
    for word in ["retire_dir", "backup_dir"] {
        let sandbox = Sandbox::empty();
        sandbox
            .write(
                "rollback/9.1.rhai",
                format!(
                    "const STORY = #{{ id: \"9.1\", title: \"Log\" }};\n\
                     fn execute() {{ {word}(\"data/w.duckdb\", \"w\"); remove_path(\"data/w.duckdb\"); }}\n"
                ),
            )
            .write("data/notes.txt", "beside the database");
        let root = sandbox.root();
        python(
            &duckdb,
            &root,
            "
import duckdb, os
db = duckdb.connect('data/w.duckdb')
db.execute('create table t (x integer)'); db.execute('insert into t values (1)'); db.execute('checkpoint')
db.execute('insert into t values (2)')
os._exit(0)
",
        );
        assert!(sandbox.exists("data/w.duckdb.wal"));
        let done = sandbox.json(&["run", "9.1", "--yes"]);
        assert!(!sandbox.exists("data/w.duckdb") && !sandbox.exists("data/w.duckdb.wal"));
        let backup = done["backups"][0]["name"].as_str().unwrap();
        let path = duckdb.parent().unwrap().display().to_string() + ":/usr/bin:/bin";
        let words = ["backup", "verify", backup];
        let verified =
            crate::sandbox::Finished::of(sandbox.command(&words).env("PATH", path), &words).assert_code(0);
        assert_says(&verified, &["sound", "1 database opened"]);
        sandbox
            .run(&["backup", "restore", backup, "--yes"])
            .assert_code(0);
        assert_eq!(python(&duckdb, &root, rows), "[(1,), (2,)]");
    }
}
