//! Real tools that fail: what is said, that nothing is half done, and that it can be taken back.

use super::deployment::{DAGSTER, Deployment};
use super::programs::{Program, command};
use super::stack::{skipped, stack};
use crate::sandbox::{Finished, Snapshot, assert_says};

/// Paths that the run itself writes, and the directory times that change with them.
const RECORDS: [&str; 6] = [
    ".rollback",
    "rollback_backups",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
    ".venv",
];

/// The stack with packages and this turn; `None` where it can't be had, which was said.
macro_rules! deployment_with_packages {
    ($what:literal) => {{
        match stack() {
            Ok((stack, turn)) => (Deployment::with_packages(stack), turn),
            Err(why) => return skipped($what, &why),
        }
    }};
}

/// A registry that knows no package: 404 for everything.
fn empty_registry(deployment: &Deployment) -> (Program, String) {
    let directory = deployment.sandbox.home().join("registry");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        directory.join("serve.py"),
        "import http.server\nserver = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)\n\
         open('port', 'w').write(str(server.server_port))\nprint('ready', flush=True)\nserver.serve_forever()\n",
    )
    .unwrap();
    let mut serve = command(std::path::Path::new("python3"), &deployment.sandbox.home());
    serve.arg("serve.py").current_dir(&directory);
    let server = Program::start("an empty registry", &mut serve, "ready");
    let port = std::fs::read_to_string(directory.join("port")).unwrap();
    (server, format!("http://127.0.0.1:{port}/"))
}

fn npmrc(deployment: &Deployment, registry: &str) {
    deployment.sandbox.write(
        ".npmrc",
        format!("registry={registry}\nfetch-retries=0\nreplace-registry-host=always\n"),
    );
}

fn without_times(differences: Vec<String>) -> Vec<String> {
    differences
        .into_iter()
        .filter(|line| !line.ends_with(": time"))
        .collect()
}

#[test]
fn npm_without_a_registry_leaves_an_undo_that_can_be_repeated() {
    let (deployment, _turn) = deployment_with_packages!("npm without a registry");
    let before = deployment.sandbox.snapshot(&RECORDS);
    let manifest = deployment.sandbox.read("package.json");
    let lock = deployment.sandbox.read("package-lock.json");
    deployment.json(&["run", "1.8", "--yes"], 0);
    assert!(!deployment.sandbox.exists("node_modules/jest-extended"));
    // What is left of both files has the form that they had.
    let edited = deployment.sandbox.read("package.json");
    assert!(
        edited.starts_with("{\n    \"name\"") && edited.ends_with("}\n"),
        "{edited}"
    );
    assert!(
        deployment
            .sandbox
            .read("package-lock.json")
            .starts_with("{\n    \"name\"")
    );
    deployment.npm_ls().unwrap();

    let (_server, registry) = empty_registry(&deployment);
    for (registry, complaint) in [
        ("http://127.0.0.1:1/", "ECONNREFUSED"),
        (registry.as_str(), "501"),
    ] {
        npmrc(&deployment, registry);
        let failed = deployment.run(&["undo", "--yes"]);
        assert_ne!(failed.code, Some(0), "{}", failed.transcript());
        assert_says(&failed, &["npm install", complaint]);
        assert_says(&failed, &["rollback "]);
        deployment.sandbox.remove(".npmrc");
        let settled = deployment.run(&["history"]).assert_code(0);
        assert!(!settled.stdout.contains("unfinished"), "{}", settled.transcript());
    }

    // The registry is back.
    deployment.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(deployment.sandbox.read("package.json"), manifest);
    assert_eq!(deployment.sandbox.read("package-lock.json"), lock);
    deployment.npm_ls().unwrap();
    let npm = ["node_modules"];
    let differences = Snapshot::diff(
        &before.without(&npm),
        &deployment.sandbox.snapshot(&RECORDS).without(&npm),
    );
    assert_eq!(without_times(differences), Vec::<String>::new());
}

#[test]
fn npm_that_needs_the_registry_and_can_not_reach_it_fails_before_anything_of_packages_changes() {
    let (deployment, _turn) = deployment_with_packages!("npm that needs the registry");
    npmrc(&deployment, "http://127.0.0.1:1/");
    let before = deployment.sandbox.snapshot(&RECORDS);
    let failed = deployment.run(&["run", "1.2", "--yes"]).assert_code(1);
    assert_says(
        &failed,
        &["npm uninstall", "ECONNREFUSED", "registry", "rollback undo"],
    );
    assert!(deployment.sandbox.exists("node_modules/node-fetch"));
    deployment.run(&["undo", "--yes"]).assert_code(0);
    let after = deployment.sandbox.snapshot(&RECORDS);
    assert_eq!(
        without_times(Snapshot::diff(&before, &after)),
        Vec::<String>::new()
    );
}

#[test]
fn pip_without_a_network_leaves_an_undo_that_can_be_repeated() {
    let (deployment, _turn) = deployment_with_packages!("pip without a network");
    let packages = deployment.pip();
    deployment.json(&["run", "1.4", "--yes"], 0);
    assert!(!deployment.pip().contains_key("dbt-duckdb"));
    let arguments = ["undo", "--yes"];
    let mut offline = deployment.rollback(&arguments);
    offline.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let failed = Finished::of(&mut offline, &arguments);
    assert_ne!(failed.code, Some(0), "{}", failed.transcript());
    assert_says(&failed, &["pip install", "registry"]);
    deployment.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(deployment.pip(), packages);
    assert_eq!(deployment.broken(), Vec::<String>::new());
}

#[test]
fn a_broken_environment_leaves_its_packages_alone() {
    let (deployment, _turn) = deployment_with_packages!("a broken environment");
    for interpreter in ["python", "python3", "python3.11"] {
        let path = format!(".venv/bin/{interpreter}");
        if deployment.sandbox.exists(&path) {
            deployment.sandbox.remove(&path);
        }
    }
    std::os::unix::fs::symlink("/nowhere/python3", deployment.sandbox.path(".venv/bin/python")).unwrap();
    let before = Snapshot::of(&deployment.sandbox.path(".venv"), &[]);
    let run = deployment.run(&["run", "1.4", "--yes"]);
    assert_says(&run, &[".venv", "no interpreter", "left alone"]);
    assert_eq!(
        Snapshot::diff(&before, &Snapshot::of(&deployment.sandbox.path(".venv"), &[])),
        Vec::<String>::new()
    );
    // It went as far as it could, or not at all: both can be taken back.
    if run.code == Some(1) {
        assert_says(&run, &["rollback undo"]);
    }
    deployment.run(&["undo", "--yes"]).assert_code(0);
    assert!(deployment.sandbox.exists("dbt_project/dbt_project.yml"));
}

/// Keeps Dagster from hearing TERM: its own handler is never installed.
const DEAF: &str = "import signal\n\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nreal = signal.signal\n\
    signal.signal = lambda number, handler: None if number == signal.SIGTERM else real(number, handler)\n";

#[test]
fn a_dagster_that_ignores_term_is_known_in_the_plan_and_killed_as_it_says() {
    let (deployment, _turn) = deployment_with_packages!("a Dagster that ignores TERM");
    deployment
        .sandbox
        .write("deaf/sitecustomize.py", DEAF)
        .write(
            &format!("{DAGSTER}/dagster.yaml"),
            "telemetry: { enabled: false }\n",
        )
        .write(&format!("{DAGSTER}/workspace.yaml"), "load_from: []\n");
    for stand_in in ["history", "storage", "schedules"] {
        deployment.sandbox.remove(&format!("{DAGSTER}/{stand_in}"));
    }
    let mut daemon = deployment.program("dagster-daemon", DAGSTER);
    daemon
        .args(["run", "--empty-workspace"])
        .env("DAGSTER_HOME", deployment.sandbox.path(DAGSTER))
        .env("PYTHONPATH", deployment.sandbox.path("deaf"));
    let mut daemon = Program::start("dagster-daemon run", &mut daemon, "Instance is configured");
    let pid = daemon.pid().to_string();

    let plan = deployment.run(&["run", "1.5", "-n"]).assert_code(0);
    assert_says(&plan, &[&pid, "dagster-daemon", "KILL will be needed"]);
    assert!(daemon.is_running());

    let killed = deployment.json(&["run", "1.5", "--yes"], 0);
    assert!(!daemon.is_running());
    assert!(killed.to_string().contains("had to be killed"), "{killed}");
}
