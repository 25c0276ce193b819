//! A service ends with what it has started, and with nothing else.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::sandbox::{DEAF, Sandbox, Service};
use crate::skipped::skipped;

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
    let worker = opened(sandbox, "worker.pid");
    (service, worker)
}

/// The process whose number stands in a file.
fn opened(sandbox: &Sandbox, file: &str) -> std::os::fd::OwnedFd {
    let pid = sandbox.read(file).trim().parse().unwrap();
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
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
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert_eq!(plan["exit_code"], 0, "{plan}");
    let number = sandbox.read("worker.pid").trim().to_owned();
    assert!(said(&plan).contains("and what it has started"), "{plan}");
    assert!(
        said(&plan).contains(&format!("{number} (`/bin/sh bin/worker.sh`)")),
        "{plan}"
    );
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

#[test]
fn what_lost_its_parent_earlier_is_known_by_its_session() {
    let sandbox = Sandbox::empty();
    if !std::path::Path::new("/usr/bin/setsid").exists() {
        return skipped("no `setsid` here");
    }
    sandbox
        .write("rollback/9.1.rhai", STORY)
        .write("bin/worker.sh", "while read -r line; do :; done\n")
        // The shell in the middle ends at once: the worker's parent is somebody else then.
        .write(
            "bin/leader.sh",
            "exec 3<&0\n/bin/sh -c '/bin/sh bin/worker.sh <&3 & echo $! > worker.pid'\n\
             echo $$ > logs/service.pid\nwhile read -r line; do :; done\n",
        )
        .write("logs/.keep", "");
    let first = "exec 3<&0\nsetsid /bin/sh bin/leader.sh <&3 &\nuntil [ -s logs/service.pid ]; do :; done\n";
    let starter = sandbox.spawn("bin/starter.sh", &[], first);
    let (leader, worker) = (
        opened(&sandbox, "logs/service.pid"),
        opened(&sandbox, "worker.pid"),
    );
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report}");
    assert!(ends_within(&leader, 0) && ends_within(&worker, 60));
    assert!(said(&report).contains("was stopped too"), "{report}");
    assert!(starter.is_running());
}

#[test]
fn what_a_worker_starts_while_the_service_ends_is_stopped_too() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback/9.1.rhai", STORY)
        .write("bin/late.sh", "while read -r line; do :; done\n")
        .write(
            "bin/worker.sh",
            "read -r line < ask\n/bin/sh bin/late.sh <&3 &\necho $! > late.pid\necho done > answer\n\
             while read -r line; do :; done <&3\n",
        );
    let first = "exec 3<&0\nmkfifo ask answer\n/bin/sh bin/worker.sh &\n\
                 trap 'echo go > ask; read -r line < answer; exit 0' TERM\n";
    let service = sandbox.spawn("bin/service.sh", &[], first);
    sandbox.write("logs/service.pid", format!("{}\n", service.pid()));
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report}");
    assert!(!service.is_running());
    assert!(ends_within(&opened(&sandbox, "late.pid"), 60), "{report}");
    assert_eq!(said(&report).matches("was stopped too").count(), 2, "{report}");
}

#[test]
fn one_that_survives_is_named_with_all_that_was_done_before() {
    let sandbox = Sandbox::empty();
    let story = STORY.replace("expect: 1", "expect: 1, grace: \"1s\"");
    sandbox.write("bin/stubborn.sh", format!("trap hit=1 TERM\necho > deaf\n{DEAF}"));
    let (service, stubborn) = deployed(&sandbox, "/bin/sh bin/worker.sh <&3 &\n/bin/sh bin/stubborn.sh");
    while !sandbox.path("deaf").exists() {
        std::thread::yield_now();
    }
    sandbox.write("rollback/9.1.rhai", story);
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 1, "{report}");
    assert!(!service.is_running() && !ends_within(&stubborn, 0));
    for part in ["was stopped too", "bin/stubborn.sh`) is still running"] {
        assert!(said(&report).contains(part), "{part}: {report}");
    }
}
