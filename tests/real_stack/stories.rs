//! Each story on the real stack, with its services at work and innocents beside them; the table of what became of them.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::Value;

use super::containers::Engine;
use super::deployment::{DAGSTER, Deployment};
use super::former;
use super::programs::Program;
use super::stack::{Stack, skipped, stack};
use crate::sandbox::Snapshot;

const STORIES: [&str; 7] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"];

/// What the run itself writes, and what package managers keep books in; these are compared by other means.
const BOOKS: [&str; 8] = [
    ".rollback",
    "rollback_backups",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
    ".venv",
    "node_modules",
    "package-lock.json",
];

/// What the real programs write while they run and when they are told to end.
const WRITTEN_BY_SERVICES: [&str; 3] = [
    "dbt_project/logs",
    "dbt_project/target",
    "notebooks/.ipynb_checkpoints",
];

/// A row of the table.
struct Row {
    story: &'static str,
    stopped: String,
    innocents: String,
    bytes: u64,
    removed: usize,
    kept: usize,
    checks: String,
    seconds: f64,
    managers: f64,
}

#[test]
#[expect(clippy::print_stderr, reason = "the table is the result")]
fn every_story_goes_and_comes_back_on_the_real_stack() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("the stories on the real stack", &why),
    };
    let mut deployment = Deployment::new(stack);
    let engine = match Engine::start(stack) {
        Ok(engine) => {
            deployment = deployment.with_docker(&engine.host(), &engine.program());
            engine.deploy().unwrap();
            Some(engine)
        }
        Err(why) => {
            skipped("containers of the stories", &why);
            None
        }
    };
    let mut innocents = deployment.innocents();
    let mut table = String::from(
        "| story | services stopped | innocents alive | bytes retired | packages removed | kept | checks | seconds | of these pip and npm | undo |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for story in STORIES {
        let row = goes_and_comes_back(&deployment, story, &mut innocents);
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | identical |",
            row.story,
            row.stopped,
            row.innocents,
            row.bytes,
            row.removed,
            row.kept,
            row.checks,
            row.seconds,
            row.managers
        )
        .unwrap();
    }
    eprintln!("\n{table}");
    if let Some(engine) = engine {
        assert!(engine.containers().contains(&"myairbyte-metrics".to_owned()));
    }
}

fn goes_and_comes_back(deployment: &Deployment, story: &'static str, innocents: &mut [Program]) -> Row {
    let mut services = deployment.services(story);
    let packages = deployment.pip();
    let requested = deployment.requested();
    let broken = deployment.broken();
    let before = deployment.sandbox.snapshot(&BOOKS);
    let manifest = deployment.sandbox.read("package.json");

    let plan = deployment.json(&["run", story, "-n", "--param", HOLDERS], 0);
    for service in &mut services {
        assert!(service.is_running(), "a dry run ended {}", service.name);
    }

    let began = Instant::now();
    let report = deployment.json(&["run", story, "--yes", "--param", HOLDERS], 0);
    let seconds = began.elapsed().as_secs_f64();

    let failed: Vec<&Value> = checks(&report)
        .filter(|check| check["passed"] != true && !crate::sandbox::rests_on_what_is_not_there(check))
        .collect();
    assert!(failed.is_empty(), "{story}: {failed:?}");
    assert_eq!(
        targets(&plan),
        targets(&report),
        "{story}: the run did not keep to the plan"
    );
    let still: Vec<&str> = services
        .iter_mut()
        .filter_map(|service| service.is_running().then_some(service.name))
        .collect();
    assert!(still.is_empty(), "{story} left running: {still:?}\n{report}");
    let alive = innocents
        .iter_mut()
        .filter_map(|innocent| innocent.is_running().then_some(()))
        .count();
    assert_eq!(alive, innocents.len(), "{story} ended an innocent\n{report}");
    let now = deployment.pip();
    let removed: Vec<&String> = packages.keys().filter(|name| !now.contains_key(*name)).collect();
    let worse: Vec<String> = deployment
        .broken()
        .into_iter()
        .filter(|line| !broken.contains(line))
        .collect();
    assert!(worse.is_empty(), "{story} broke packages: {worse:?}");
    deployment.npm_ls().unwrap();

    let row = Row {
        story,
        stopped: format!("{} of {}", services.len(), services.len()),
        innocents: format!("{alive} of {}", innocents.len()),
        bytes: report["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| backup["bytes"].as_u64().unwrap())
            .sum(),
        removed: removed.len() + npm_removed(&report),
        kept: kept(&report),
        checks: format!("{} of {0}", checks(&report).count()),
        seconds,
        managers: managers(&report),
    };

    deployment.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(
        deployment.pip(),
        packages,
        "{story}: other versions after the undo"
    );
    assert_eq!(
        deployment.requested(),
        requested,
        "{story}: pip takes other packages for asked for"
    );
    deployment.npm_ls().unwrap();
    assert_eq!(deployment.sandbox.read("package.json"), manifest);
    let after = deployment.sandbox.snapshot(&BOOKS);
    let differences: Vec<String> = Snapshot::diff(
        &before.without(&WRITTEN_BY_SERVICES),
        &after.without(&WRITTEN_BY_SERVICES),
    )
    .into_iter()
    .filter(|line| !written_by_a_service(line))
    .collect();
    assert!(
        differences.is_empty(),
        "{story}: undo left differences:\n{}",
        differences.join("\n")
    );
    row
}

/// Dagster's own databases and logs, and the directories where a service makes or removes a file as it ends.
fn written_by_a_service(line: &str) -> bool {
    let own = [
        format!("{DAGSTER}/history"),
        format!("{DAGSTER}/schedules"),
        format!("{DAGSTER}/storage"),
        format!("{DAGSTER}/logs"),
        format!("{DAGSTER}/.logs_queue"),
        format!("{DAGSTER}/.nux"),
    ];
    let directories = [
        ".: time".to_owned(),
        "logs: time".to_owned(),
        format!("{DAGSTER}: time"),
        ".duckdb: time".to_owned(),
        ".duckdb/analytics.db.wal".to_owned(),
        "dbt_project: time".to_owned(),
        "dbt_project/warehouse.duckdb".to_owned(),
        "notebooks: time".to_owned(),
    ];
    let path = line.split_once(' ').map_or(line, |(_, path)| path);
    own.iter().any(|own| path.starts_with(own.as_str()))
        || directories.iter().any(|known| path.starts_with(known.as_str()))
}

fn checks(report: &Value) -> impl Iterator<Item = &Value> {
    report["checks"].as_array().unwrap().iter()
}

fn operations(report: &Value) -> impl Iterator<Item = &Value> {
    report["operations"].as_array().unwrap().iter()
}

/// What was asked for and of what, in order.
fn targets(report: &Value) -> Vec<(String, String)> {
    operations(report)
        .filter(|operation| operation["phase"] != "after")
        .map(|operation| (operation["op"].to_string(), operation["target"].to_string()))
        .collect()
}

/// Seconds that the package managers took.
fn managers(report: &Value) -> f64 {
    seconds_of(report, "uninstall_packages")
}

fn seconds_of(report: &Value, word: &str) -> f64 {
    let milliseconds: u64 = operations(report)
        .filter(|operation| operation["op"] == word)
        .filter_map(|operation| operation["ms"].as_u64())
        .sum();
    f64::from(u32::try_from(milliseconds).unwrap()) / 1000.0
}

fn npm_removed(report: &Value) -> usize {
    operations(report)
        .filter(|operation| operation["op"] == "uninstall_packages" && operation["outcome"] == "done")
        .filter_map(|operation| operation["target"].as_str()?.strip_prefix("npm "))
        .map(|names| names.split(", ").count())
        .sum()
}

/// Packages that stay because something needs them.
fn kept(report: &Value) -> usize {
    operations(report)
        .filter(|operation| operation["op"] == "uninstall_packages" && operation["outcome"] == "kept")
        .count()
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are the result")]
fn all_stories_at_once_beside_the_former_scripts() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("all stories on the real stack", &why),
    };
    let (ours, managers, services) = ours(stack);
    let theirs = former::run(&Deployment::new(stack));
    eprintln!(
        "all seven: {ours:.2} s, of which pip and npm {managers:.2} s, services until they had ended {services:.2} s, the rest \
         {:.2} s; the former scripts: {theirs:.2} s; ratio {:.2}",
        ours - managers - services,
        ours / theirs
    );
    assert!(managers + services < ours && theirs > 0.0);
}

/// What writes into the DuckDB file is a script of the workspace, and none of the story's.
const HOLDERS: &str = "stop_holders=true";

/// Seconds of `run all`: whole, of the package managers, of services that end in their own time.
fn ours(stack: &Stack) -> (f64, f64, f64) {
    let deployment = Deployment::new(stack);
    let mut services: Vec<Program> = STORIES
        .iter()
        .flat_map(|story| deployment.services(story))
        .collect();
    let began = Instant::now();
    let report = deployment.json(&["run", "all", "--yes", "--param", HOLDERS], 0);
    let seconds = began.elapsed().as_secs_f64();
    let still: Vec<&str> = services
        .iter_mut()
        .filter_map(|service| service.is_running().then_some(service.name))
        .collect();
    assert!(still.is_empty(), "left running: {still:?}");
    (seconds, managers(&report), seconds_of(&report, "stop_processes"))
}
