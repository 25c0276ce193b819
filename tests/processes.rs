//! A service ends with what it has started, and with nothing else.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::sandbox::{Sandbox, Service};

const STORY: &str = r#"const STORY = #{ id: "9.1", title: "A service" };

fn execute() {
    stop_processes(#{ pid_file: "logs/service.pid" }, #{ expect: 1 });
}
"#;

/// A service that starts a worker, which outlives it, by this line; with the worker's pidfd.
fn deployed(sandbox: &Sandbox, start: &str) -> (Service, std::os::fd::OwnedFd) {
    sandbox
        .write("rollback/9.1.rhai", STORY)
        .write("bin/worker.sh", "while read -r line; do :; done\n");
    // The worker waits on the same pipe of ours: it can't outlive the test.
    let first = format!("exec 3<&0\n{start} <&3 &\necho $! > worker.pid\n");
    let service = sandbox.spawn("bin/service.sh", &[], &first);
    sandbox.write("logs/service.pid", format!("{}\n", service.pid()));
    let worker = sandbox.read("worker.pid").trim().parse().unwrap();
    let worker = pidfd_open(Pid::from_raw(worker).unwrap(), PidfdFlags::empty()).unwrap();
    (service, worker)
}

/// Whether a process has ended, or does so within `seconds`.
fn ends_within(process: &std::os::fd::OwnedFd, seconds: i64) -> bool {
    let patience = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)).unwrap() > 0
}

/// What the report says of the operation.
fn said(report: &Value) -> &str {
    report["operations"][0]["why"].as_str().unwrap_or_default()
}

#[test]
fn what_a_service_leaves_behind_ends_with_it() {
    let sandbox = Sandbox::empty();
    let (service, worker) = deployed(&sandbox, "/bin/sh bin/worker.sh");
    let stranger = sandbox.spawn_script("bin/stranger.sh", &[]);
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert!(service.is_running() && !ends_within(&worker, 0));

    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report}");
    assert!(!service.is_running());
    assert!(ends_within(&worker, 60));
    assert!(said(&report).contains("was stopped too"), "{report}");
    assert!(stranger.is_running());
}

#[test]
fn what_a_service_left_elsewhere_is_left_alone_and_told() {
    let sandbox = Sandbox::empty();
    let (service, worker) = deployed(
        &sandbox,
        "(cd /; exec /bin/sh -c 'while read -r line; do :; done')",
    );
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report}");
    assert!(!service.is_running());
    assert!(!ends_within(&worker, 0));
    assert!(said(&report).contains("which was left alone"), "{report}");
}
