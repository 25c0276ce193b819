//! Watching on a disk without room: it goes on, says so once, and rolls nothing back that it could not record.

use std::path::PathBuf;

use serde_json::Value;

use super::{Monitor, append, deployed, failing_service, has_warning, row, runs, stop, traffic};
use crate::disk::{in_namespace, mount, unmount};
use crate::sandbox::Sandbox;

/// The monitor's own directory with not a byte to spare.
struct Full(PathBuf);

impl Full {
    fn of(sandbox: &Sandbox) -> Self {
        let directory = sandbox.path(".rollback/monitor");
        std::fs::create_dir_all(&directory).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"], &directory);
        std::fs::write(directory.join("filler"), vec![b'x'; 256 << 10]).unwrap();
        Self(directory)
    }

    /// Names of the files in it.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

const RULES: &str = "monitor:
  interval: 1s
  default_triggers: false
  triggers: [{ name: errors, metric: error_rate, threshold: 0.1 }]
alerts: { channels: [{ name: file, log: {} }] }
";

#[test]
fn watching_goes_on_without_room_and_says_so_once() {
    in_namespace(|| {
        let sandbox = Sandbox::empty();
        sandbox.write("rollback.yaml", RULES);
        append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
        let full = Full::of(&sandbox);

        let once = sandbox.run(&["monitor", "--once", "--json"]).assert_code(1);
        let seen: Value = once.json();
        assert!(has_warning(&seen, "No space left on device"), "{seen:#}");
        assert_eq!(row(&seen, "errors", Some("api"))["verdict"], "breach", "{seen:#}");
        assert_eq!(full.names(), ["filler", "lock"], "nothing half written stays");

        let mut monitor = Monitor::start(&sandbox, &[]);
        monitor.wait_for("errors of api: 30 of 60 events");
        append(&sandbox, "logs/web/app.log", &traffic("", 40, 4));
        monitor.wait_for("errors of web: 10 of 40 events");
        let complaints = |monitor: &Monitor| {
            let about = |line: &&String| line.contains("No space left on device");
            monitor.heard.iter().filter(about).count()
        };
        append(&sandbox, "logs/last/app.log", &traffic("", 40, 2));
        monitor.wait_for("errors of last: 20 of 40 events");
        assert_eq!(complaints(&monitor), 1, "{:#?}", monitor.heard);
        std::fs::remove_file(sandbox.path(".rollback/monitor/filler")).unwrap();
        assert_eq!(monitor.end(), Some(0));
        assert_eq!(full.names(), ["lock", "state.json"]);
    });
}

#[test]
fn a_rollback_that_can_not_be_recorded_does_not_begin() {
    in_namespace(|| {
        let sandbox = deployed();
        let full = Full::of(&sandbox);
        let service = failing_service(&sandbox, "jupyter");
        let mut monitor = Monitor::start(&sandbox, &["--auto"]);
        let said = monitor.wait_for("did not begin");
        assert!(said.contains("1.7"), "{said}");
        // It goes on failing, and is not tried in each round.
        monitor.wait_for("not rolled back: 1.7 was rolled back");
        assert_eq!(monitor.end(), Some(1), "the end can't be recorded either");
        stop(service);
        assert_eq!(runs(&sandbox), Vec::<Value>::new());
        assert_eq!(full.names(), ["filler", "lock"]);
        let alerts = sandbox.read("logs/rollback-alerts.log");
        assert!(alerts.contains("the rollback of 1.7 did not begin"), "{alerts}");
        assert!(alerts.contains("No space left on device"), "{alerts}");
    });
}
