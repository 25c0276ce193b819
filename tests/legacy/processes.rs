use std::time::{Duration, SystemTime};

use rollback_manager::demo;

use super::*;
use crate::sandbox::assert_says;

// Row 6. Matching by name killed an editor, a reader of a log, another team's programs and one with a similar name.
#[test]
fn row_06_innocents_with_similar_names_survive() {
    let sandbox = deployed();
    let elsewhere = Sandbox::empty();
    let innocents = [
        sandbox.spawn_script("bin/editor", &["notes/pyairbyte-notes.md"]),
        sandbox.spawn_script("bin/tail", &["-f", "logs/pyairbyte/sync-2025-08-27.log"]),
        sandbox.spawn_script("bin/evidence-archive.py", &["dev"]),
        sandbox.spawn_script("bin/my-dbt", &["run"]),
        elsewhere.spawn_script("bin/jupyter-lab", &[]),
        elsewhere.spawn_script("bin/node", &["tools/data-services/qa-service.js"]),
    ];
    let guilty = sandbox.spawn_script("bin/jupyter-lab", &[]);
    let report = report(&sandbox, &["run", "1.2,1.4,1.6,1.7,1.8", "-y"], 0);
    assert_eq!(guilty.wait_ended(), Some(15));
    assert_eq!(operations(&report, "stop_processes", "done").len(), 1);
    for (place, innocent) in innocents.iter().enumerate() {
        assert!(innocent.is_running(), "innocent {place} was ended");
    }
}

// Row 7. A stale pid file killed a database writer that had got the number since.
#[test]
fn row_07_a_stale_pid_file_harms_nobody() {
    let sandbox = deployed();
    let writer = sandbox.spawn_script("bin/database-writer", &[]);
    sandbox.write("logs/duckdb.pid", format!("{}\n", writer.pid()));
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options()
        .write(true)
        .open(sandbox.path("logs/duckdb.pid"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();

    let report = report(&sandbox, &["run", "1.3", "-y"], 0);
    assert!(writer.is_running());
    assert!(operations(&report, "stop_processes", "done").is_empty());
    let left = operations(&report, "stop_processes", "not-present");
    let why = left
        .iter()
        .map(|operation| text(operation, "why"))
        .find(|why| why.contains("left alone"));
    assert!(
        why.is_some_and(|why| why.contains(&writer.pid().to_string())),
        "{left:?}"
    );
    assert!(!sandbox.exists("logs/duckdb.pid"));
}

// Row 8. In a workspace whose path contained `evidence` or `dbt` the rollback killed itself.
#[test]
fn row_08_a_workspace_with_the_name_of_a_service_is_rolled_back_like_any_other() {
    let sandbox = Sandbox::empty();
    let root = sandbox.home().join("evidence/dbt");
    std::fs::create_dir_all(&root).unwrap();
    demo::build(
        &root,
        &Options {
            venv: false,
            npm: false,
        },
    )
    .unwrap();
    // What starts the run has, word for word, the command line of a service: it is never ended from below.
    let starter = root.join("dbt");
    std::fs::write(
        &starter,
        "\"$ROLLBACK\" --workspace \"$PWD\" run 1.4,1.7 -y\nexit $?\n",
    )
    .unwrap();
    let output = finish(
        Command::new("/bin/sh")
            .args([starter.as_os_str(), "run".as_ref()])
            .current_dir(&root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ROLLBACK", env!("CARGO_BIN_EXE_rollback"))
            .stdin(Stdio::null()),
        0,
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("done in"));
    assert!(!root.join("dbt_project").exists() && !root.join("evidence_project").exists());
}

/// Answers as an engine does, from the file `containers` in its working directory, and writes down what it is told.
const ENGINE: &str = r#"echo "$*" >> engine.log
case "$1" in
ps) while read -r id name; do echo "{\"ID\":\"$id\",\"Names\":\"$name\",\"State\":\"running\"}"; done < containers ;;
rm) shift; for id in "$@"; do grep -v "^$id " containers > rest; cat rest > containers; rm -f rest; done ;;
esac"#;

// Row 9. Of two matching processes one was killed, and three ended the script; of two containers one was stopped.
#[test]
fn row_09_all_matches_are_ended() {
    let sandbox = deployed();
    let engine = add_program(&sandbox, "engine", ENGINE);
    sandbox
        .write("rollback.yaml", format!("docker: {}\n", engine.display()))
        .write(
            "containers",
            "a1 airbyte-server\nb2 airbyte-worker\nc3 airbytes-of-others\nd4 my-airbyte\n",
        )
        .write("engine.log", "");
    let daemons = [(); 3].map(|()| sandbox.spawn_script("bin/dagster", &["daemon", "run"]));
    let builds = [(); 2].map(|()| sandbox.spawn_script("bin/dbt", &["run"]));

    let report = report(&sandbox, &["run", "1.2,1.4,1.5", "-y"], 0);
    for process in daemons.iter().chain(&builds) {
        assert_eq!(process.wait_ended(), Some(15));
    }
    assert_eq!(
        targets(&report, "stop_processes", "done"),
        ["command dagster daemon run", "command dbt run"]
    );
    assert_eq!(
        sandbox.read("containers"),
        "c3 airbytes-of-others\nd4 my-airbyte\n"
    );
    let log = sandbox.read("engine.log");
    let removals: Vec<&str> = log.lines().filter(|line| line.starts_with("rm ")).collect();
    assert_eq!(removals, ["rm --force a1 b2"]);
}

// Row 10. The command lines of the real services were never matched, and nothing wrote the pid files.
#[test]
fn row_10_real_services_are_found_by_their_command_lines() {
    let sandbox = deployed();
    let services = [
        sandbox.spawn_script("bin/dagster", &["daemon", "run"]),
        sandbox.spawn_script("bin/dagster", &["dev"]),
        sandbox.spawn_script("bin/node", &["tools/cli.js", "start-data-service"]),
    ];
    // The same programs at other work.
    let others = [
        sandbox.spawn_script("bin/dagster", &["--version"]),
        sandbox.spawn_script("bin/node", &["tools/cli.js", "status"]),
    ];
    assert!(!sandbox.exists("logs/dagster-daemon.pid"));
    let report = report(&sandbox, &["run", "1.2,1.5", "-y"], 0);
    assert_eq!(
        targets(&report, "stop_processes", "done"),
        [
            "command dagster daemon run",
            "command dagster dev",
            "command node tools/cli.js start-data-service"
        ]
    );
    for service in &services {
        assert_eq!(service.wait_ended(), Some(15));
    }
    assert!(others.iter().all(crate::sandbox::Service::is_running));
}

// Row 11. A process got TERM and no more; one that ignored it went on, and nobody was told.
#[test]
fn row_11_a_process_that_outlives_term_is_reported() {
    let sandbox = deployed();
    let stubborn = sandbox.spawn_slow("bin/dagster", &["daemon", "run"]);
    let failed = sandbox.run(&["run", "1.5", "-y"]).assert_code(1);
    assert!(
        failed.stderr.contains("is still running"),
        "{}",
        failed.transcript()
    );
    assert!(
        failed.stderr.contains(&stubborn.pid().to_string()),
        "{}",
        failed.transcript()
    );
    // Data under a live service is not touched.
    assert!(stubborn.is_running() && sandbox.exists("dagster_home"));

    add_story(
        &sandbox,
        "9.9",
        "",
        "fn execute() { stop_processes(#{ command: \"dagster daemon run\" }, #{ grace: 0, kill: true }); }",
    );
    let killed = report(&sandbox, &["run", "9.9", "-y"], 0);
    assert_eq!(stubborn.wait_ended(), Some(9));
    let done = operations(&killed, "stop_processes", "done");
    assert!(text(done[0], "why").contains("had to be killed"), "{done:?}");
}

// Row 11, where it is known beforehand: the plan says so, and what was approved is done.
#[test]
fn row_11_a_process_that_ignores_term_is_known_to_need_more() {
    let sandbox = deployed();
    let stubborn = sandbox.spawn_stubborn("bin/dagster", &["daemon", "run"]);
    let plan = sandbox.run(&["plan", "1.5"]).assert_code(0);
    assert_says(&plan, &["TERM is ignored by"]);
    let killed = report(&sandbox, &["run", "1.5", "-y"], 0);
    assert_eq!(stubborn.wait_ended(), Some(9));
    let done = operations(&killed, "stop_processes", "done");
    assert!(text(done[0], "why").contains("had to be killed"), "{done:?}");
}
