//! The recovery procedures of the document, end to end, and what each story preserves, read by the real programs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::deployment::{DAGSTER, Deployment};
use super::programs::command;
use super::stack::{Stack, said, skipped, stack};
use crate::sandbox::Snapshot;

/// A program of the stack's own environment, which still has all packages, in a directory of the workspace.
fn original(stack: &Stack, deployment: &Deployment, name: &str, directory: &Path) -> Command {
    let mut command = command(&stack.venv().join("bin").join(name), &deployment.sandbox.home());
    command.current_dir(directory);
    command
}

/// The backups of one name, by what they were made of.
fn backup(listed: &Value, source: &str) -> String {
    let all = listed["backups"].as_array().unwrap();
    let found = all.iter().find(|backup| backup["source"] == source);
    let found = found.unwrap_or_else(|| panic!("no backup of `{source}`: {listed}"));
    found["name"].as_str().unwrap().to_owned()
}

#[test]
fn everything_that_a_story_preserves_is_read_by_the_real_programs() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("what the stories preserve", &why),
    };
    let deployment = Deployment::new(stack);
    let sandbox = &deployment.sandbox;
    let rows = deployment.rows("data/duckdb/warehouse.duckdb");
    let runs = "from dagster import DagsterInstance\n\
                instance = DagsterInstance.get()\nprint([(run.run_id, str(run.status)) for run in instance.get_runs()])\n";
    let history = |python: &mut Command| {
        said(
            python
                .args(["-c", runs])
                .env("DAGSTER_HOME", sandbox.path(DAGSTER)),
        )
        .unwrap()
    };
    let dagster_runs = history(&mut deployment.program("python", ""));
    assert!(dagster_runs.contains("SUCCESS"), "{dagster_runs}");
    let preserved = [
        ("config/pyairbyte", "1.2"),
        ("notebooks", "1.6"),
        ("public/evidence", "1.7"),
        ("test-reports", "1.8"),
        ("docs/qa", "1.8"),
    ];
    let originals: Vec<Snapshot> = preserved
        .iter()
        .map(|(path, _)| Snapshot::of(&sandbox.path(path), &[]))
        .collect();

    let deployments = ["vercel.json", ".github/workflows/evidence-deploy.yml"];
    let configured = deployments.map(|path| sandbox.read(path));

    // The emergency: everything, whatever fails.
    deployment.json(
        &[
            "run",
            "all",
            "--force",
            "--continue-on-error",
            "--reason",
            "emergency",
        ],
        0,
    );
    assert!(!sandbox.exists("data/duckdb") && !sandbox.exists("dbt_project"));
    let listed = deployment.json(&["backup", "list"], 0);
    for backup in listed["backups"].as_array().unwrap() {
        deployment
            .run(&["backup", "verify", backup["name"].as_str().unwrap()])
            .assert_code(0);
    }

    // DuckDB's rows, in the backup itself.
    let warehouse = backup(&listed, "data/duckdb");
    let path = format!("rollback_backups/{warehouse}/warehouse.duckdb");
    let read = format!(
        "import duckdb\ndb = duckdb.connect('{path}', read_only=True)\n\
         print(db.sql('select count(*), sum(amount), sum(hash(id, name, amount)) from sales').fetchall())\n"
    );
    let python = |code: &str| {
        said(original(stack, &deployment, "python", &sandbox.root()).args(["-c", code])).unwrap()
    };
    assert_eq!(python(&read), rows);

    // dbt: the models with their documentation, the last run's results and its log; the restored project parses.
    let project = backup(&listed, "dbt_project");
    for file in ["models/schema.yml", "target/run_results.json", "logs/dbt.log"] {
        assert!(
            sandbox.exists(&format!("rollback_backups/{project}/{file}")),
            "{file}"
        );
    }
    let results: Value =
        serde_json::from_str(&sandbox.read(&format!("rollback_backups/{project}/target/run_results.json")))
            .unwrap();
    assert_eq!(results["results"][0]["status"], "success");
    deployment
        .run(&["backup", "restore", &project, "--yes"])
        .assert_code(0);
    said(
        original(stack, &deployment, "dbt", &sandbox.path("dbt_project")).args([
            "parse",
            "--profiles-dir",
            ".",
        ]),
    )
    .unwrap();

    // Dagster: the history of runs, restored.
    let home = backup(&listed, DAGSTER);
    deployment
        .run(&["backup", "restore", &home, "--yes"])
        .assert_code(0);
    let restored = history(&mut original(stack, &deployment, "python", &sandbox.root()));
    assert_eq!(restored, dagster_runs);

    // Notebooks open.
    let notebooks = backup(&listed, "notebooks");
    python(&format!(
        "import nbformat\nnbformat.validate(nbformat.read('rollback_backups/{notebooks}/churn.ipynb', as_version=4))\n"
    ));

    // Connector configuration, reports, deployment configuration: as they were.
    for ((path, story), original) in preserved.iter().zip(&originals) {
        let kept = sandbox.path(&format!("rollback_backups/{}", backup(&listed, path)));
        let kept = Snapshot::of(&kept, &[".rollback-manifest.jsonl"]);
        let mut differences = Snapshot::diff(original, &kept);
        differences.retain(|line| line != "changed .: time");
        assert!(differences.is_empty(), "{story} {path}: {differences:?}");
    }
    for (path, original) in deployments.iter().zip(&configured) {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        let kept = format!("rollback_backups/{}/{name}", backup(&listed, path));
        assert_eq!(sandbox.read(&kept), *original);
    }
}

#[test]
fn the_documents_way_back_works_by_command_and_by_hand() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("the way back", &why),
    };
    let deployment = Deployment::with_packages(stack);
    let sandbox = &deployment.sandbox;
    sandbox.remove("data/duckdb/warehouse.duckdb");
    deployment.python(
        "import duckdb\ndb = duckdb.connect('data/duckdb/warehouse.duckdb')\n\
         db.execute(\"create table sales as select i as id, 'name ' || i as name, (i * 37) % 1000 as amount \
         from range(50000) t(i)\")\ndb.close()\n",
    );
    let rows = deployment.rows("data/duckdb/warehouse.duckdb");
    let read = format!(
        "import duckdb\ndb = duckdb.connect('data/duckdb/warehouse.duckdb', read_only=True)\n\
         print(db.sql('select count(*), sum(amount), sum(hash(id, name, amount)) from sales').fetchall())\n"
    );
    let rows_now =
        || said(original(stack, &deployment, "python", &sandbox.root()).args(["-c", &read])).unwrap();
    deployment.json(&["run", "1.3", "--yes", "--reason", "performance"], 0);
    assert!(!sandbox.exists("data/duckdb"));

    // List, verify, restore, switch on.
    let listed = deployment.json(&["backup", "list"], 0);
    let warehouse = backup(&listed, "data/duckdb");
    deployment.run(&["backup", "verify", &warehouse]).assert_code(0);
    deployment
        .run(&["backup", "restore", &warehouse, "--yes"])
        .assert_code(0);
    assert_eq!(rows_now(), rows);
    deployment
        .run(&["feature", "enable", "duckdb_analytics"])
        .assert_code(0);
    deployment
        .run(&["feature", "check", "duckdb_analytics"])
        .assert_code(0);

    // By hand, as the document writes it.
    sandbox.remove("data/duckdb");
    std::fs::create_dir(sandbox.path("data/duckdb")).unwrap();
    let copied = Command::new("sh")
        .args([
            "-c",
            &format!("cp -r rollback_backups/{warehouse}/* data/duckdb/"),
        ])
        .current_dir(sandbox.root())
        .status()
        .unwrap();
    assert!(copied.success());
    assert_eq!(rows_now(), rows);
}
