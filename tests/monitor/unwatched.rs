//! What was written while nobody watched: people are told, and nothing is rolled back.

use super::{Monitor, append, deployed, line, once, row, runs};

const RULES: &str = "monitor:
  interval: 1s
  default_triggers: false
  triggers:
    - { name: notebook-errors, metric: error_rate, service: jupyter, threshold: 0.2, window: 3m, sustained_for: 30s,
        min_samples: 10, cooldown: 1h, story: '1.7', action: rollback }
";

#[test]
fn old_errors_that_stood_there_before_the_monitor_began_alert_and_roll_nothing_back() {
    let sandbox = deployed();
    sandbox.write("rollback.yaml", RULES);
    let errors: String = (0..170)
        .rev()
        .map(|seconds| line(seconds, "ERROR", "jupyter", ""))
        .collect();
    append(&sandbox, "logs/jupyter/app.log", &errors);
    let mut monitor = Monitor::start(&sandbox, &["--auto"]);
    monitor.wait_for("not rolled back: part of it was written while nobody watched");
    assert_eq!(monitor.end(), Some(0));
    // Nor at the next look, while nothing new is written.
    let again = sandbox.run(&["monitor", "--once", "--auto", "--json"]).json();
    let seen = row(&again, "notebook-errors", Some("jupyter"));
    assert_eq!(
        (&seen["verdict"], &seen["done"]),
        (&"breach".into(), &"nothing".into()),
        "{again:#}"
    );
    assert_eq!(runs(&sandbox), Vec::<serde_json::Value>::new());
}

#[test]
fn after_a_gap_the_watching_begins_anew_behind_what_was_written_in_it() {
    let sandbox = deployed();
    sandbox.write("rollback.yaml", RULES);
    append(
        &sandbox,
        "logs/jupyter/app.log",
        &line(170, "INFO", "jupyter", ""),
    );
    once(&sandbox, 0);
    // As if the last look had been an hour ago.
    let state = sandbox.read(".rollback/monitor/state.json");
    let mut state: serde_json::Value = serde_json::from_str(&state).unwrap();
    for key in ["since", "last"] {
        let at = state["memory"]["watched"][key].as_i64().unwrap();
        state["memory"]["watched"][key] = (at - 3_600_000).into();
    }
    sandbox.write(".rollback/monitor/state.json", state.to_string());
    let errors: String = (0..170)
        .rev()
        .map(|seconds| line(seconds, "ERROR", "jupyter", ""))
        .collect();
    append(&sandbox, "logs/jupyter/app.log", &errors);
    let seen = sandbox.run(&["monitor", "--once", "--auto", "--json"]).json();
    let seen = row(&seen, "notebook-errors", Some("jupyter"));
    assert_eq!(seen["done"], "alerted", "{seen:#}");
    assert!(
        seen["held_back"].as_str().unwrap().contains("nobody watched"),
        "{seen:#}"
    );
    assert_eq!(runs(&sandbox), Vec::<serde_json::Value>::new());
}
