//! Kind "not looking is not passing": a process of which nobody can tell any more whether it is the service has not crashed.

use std::time::Duration;

use rollback_manager::base::error::Result;
use rollback_manager::monitor::notice::{Notice, Sink};
use rollback_manager::monitor::watching::Watching;

use crate::sandbox::{Sandbox, until};

/// Nobody listens.
struct Nobody;

impl Sink for Nobody {
    fn raise(&mut self, _: &Notice) -> Result<()> {
        Ok(())
    }

    fn deliver(&mut self, _: Duration) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn a_process_that_may_still_be_the_service_has_not_crashed_and_one_that_ended_has() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback.yaml",
        "monitor: { processes: [{ service: svc, pid_file: logs/svc.pid, name: svc.sh }] }\n",
    );
    let service = sandbox.spawn(
        "bin/svc.sh",
        &[],
        "mkfifo ask\n(read -r line < ask; kill -USR1 $$) &\ntrap 'exec cat' USR1\n",
    );
    sandbox.write("logs/svc.pid", format!("{}\n", service.pid()));
    let context = crate::primitives::context(&sandbox);
    let mut watching = Watching::open(context, Box::new(Nobody), 0).unwrap();
    let mut crashes = |at: i64| {
        let problems = watching.look(at, &|| false);
        let known = watching.watch.memory.metrics.service("svc").is_some();
        (known, problems.join("; "))
    };
    assert_eq!(crashes(1000), (false, String::new()));
    std::fs::write(sandbox.path("ask"), "go\n").unwrap();
    until("it runs another program", || {
        let line = std::fs::read(format!("/proc/{}/cmdline", service.pid())).unwrap_or_default();
        line.starts_with(b"cat")
    });
    let (crashed, problems) = crashes(2000);
    assert!(!crashed, "{problems}");
    assert!(problems.contains("does not match the rest"), "{problems}");
    drop(service);
    let (crashed, problems) = crashes(3000);
    assert!(crashed, "{problems}");
}
