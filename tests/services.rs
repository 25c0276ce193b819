//! Services: what can't be proved is told and left alone, what would start one again is found, and a holder is no service.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rollback_manager::base::known::Known;
use rollback_manager::host::processes::Query;
use rollback_manager::view::{Errand, View};
use serde_json::Value;

use crate::sandbox::{Finished, Sandbox, Service, assert_says, assert_unchanged};
use crate::skipped::skipped;

/// A story with one service and some data.
fn story(sandbox: &Sandbox, service: &str) {
    sandbox
        .write("data/store/x.db", "rows\n")
        .write("logs/.keep", "")
        .write(
            "rollback/9.1.rhai",
            format!(
                "import \"std/story\" as story;\n\
                 const STORY = #{{ id: \"9.1\", title: \"A service\", services: [#{{ name: \"svc\", {service} }}],\n\
                 data: [#{{ path: \"data/store\", backup: \"store\" }}], files: [\"bin/owned.sh\"] }};\n\
                 fn execute() {{ story::roll_back(global::STORY); }}\n"
            ),
        );
}

fn operations<'a>(report: &'a Value, word: &str) -> Vec<&'a Value> {
    let all = report["operations"].as_array().unwrap().iter();
    all.filter(|operation| operation["op"] == word).collect()
}

/// A program under another command line: `bash -c 'exec -a TITLE PROGRAM'`, in the workspace.
fn titled(sandbox: &Sandbox, title: &str, program: &str, variables: &[(&str, &str)]) -> Option<Service> {
    let there = |program: &str| {
        std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_ok()
    };
    if !there("bash") || !there(program) {
        return None;
    }
    let mut command = Command::new("env");
    for (name, value) in variables {
        command.arg(format!("{name}={value}"));
    }
    command
        .args(["bash", "-c", &format!("echo ready; exec -a '{title}' {program}")])
        .current_dir(sandbox.root());
    let service = Service::start(&mut command);
    crate::sandbox::until("the title stands", || {
        let line = std::fs::read(format!("/proc/{}/cmdline", service.pid())).unwrap_or_default();
        line.starts_with(title.as_bytes())
    });
    Some(service)
}

/// Whether a process has ended; whoever took it over may not have waited for it yet.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// A program of ours outside of the workspace, in a directory for `PATH`.
fn program(sandbox: &Sandbox, name: &str, code: &str) -> String {
    let directory = sandbox.home().join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(name), format!("#!/bin/sh\n{code}\n")).unwrap();
    for path in [directory.clone(), directory.join(name)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", directory.display())
}

// R1, kind "not looking is not passing".
#[test]
fn r1_a_pid_file_of_two_lines_names_its_process() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "pid_file: \"logs/svc.pid\"");
    let service = sandbox.spawn_script("bin/svc.sh", &[]);
    sandbox.write("logs/svc.pid", format!("{}\n/srv/data\n", service.pid()));
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert_eq!(service.wait_ended(), Some(15));
    assert!(!sandbox.exists("logs/svc.pid") && !sandbox.exists("data/store"));
    // The run's own store holds it as it was, though its service could have written to it until it ended.
    let kept = crate::secrets::holding(&sandbox.path(".rollback/runs"), "/srv/data");
    let of_pid_file: Vec<_> = kept.iter().filter(|path| path.ends_with("svc.pid")).collect();
    assert_eq!(of_pid_file.len(), 1, "{kept:?}");
    std::fs::write(of_pid_file[0], "1\n").unwrap();
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(8);
    assert_says(&refused, &["svc.pid` has 2 bytes, not "]);
    sandbox.run(&["undo", "--force"]).assert_code(0);
    assert!(sandbox.exists("logs/svc.pid") && sandbox.exists("data/store"));
}

// R1, kind "not looking is not passing".
#[test]
fn r1_what_a_pid_file_can_not_prove_is_told_and_the_file_stays_while_it_may_live() {
    let wait = "echo ready; while read -r line; do :; done";
    for (contents, unknown, kept) in [
        ("{pid}\n/srv\n", "nothing but the pid file says", "still runs"),
        (
            "service {pid}\n",
            "does not begin with a process number",
            "may still run",
        ),
        ("", "does not begin with a process number", "may still run"),
    ] {
        let sandbox = Sandbox::empty();
        story(&sandbox, "pid_file: \"logs/svc.pid\"");
        // It works in the workspace, as a person's own programs do as well.
        let stranger = Service::start(
            Command::new("/bin/sh")
                .args(["-c", wait])
                .current_dir(sandbox.root()),
        );
        let contents = contents.replace("{pid}", &stranger.pid().to_string());
        sandbox.write("logs/svc.pid", &contents);
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        let why = operations(&plan, "remove_pid_file")[0]["why"].to_string();
        assert!(why.contains(kept), "{plan:#}");
        let report = sandbox.json(&["run", "9.1", "--yes"]);
        assert_eq!(report["exit_code"], 0, "{report:#}");
        assert!(report["warnings"].to_string().contains(unknown), "{report:#}");
        assert_eq!(operations(&report, "stop_processes")[0]["outcome"], "unknown");
        assert_eq!(operations(&report, "remove_pid_file")[0]["outcome"], "kept");
        assert!(stranger.is_running());
        assert_eq!(sandbox.read("logs/svc.pid"), contents);
    }
}

/// The same kind as R1: what a service does on its way out is no difference from the plan.
#[test]
fn r1_a_service_may_remove_its_pid_file_itself() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "pid_file: \"logs/svc.pid\", commands: [\"svc\"]");
    let first = "trap 'rm -f logs/svc.pid; exit 0' TERM\n";
    let service = sandbox.spawn("bin/svc.sh", &[], first);
    sandbox.write("logs/svc.pid", format!("{}\n", service.pid()));
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert!(!service.is_running() && !sandbox.exists("logs/svc.pid"));
    let removal = operations(&report, "remove_pid_file")[0];
    assert_eq!(removal["why"], "the service removed it itself", "{report:#}");
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert!(sandbox.exists("data/store"));
}

// R2, kind "not looking is not passing".
#[test]
fn r2_a_service_whose_command_line_is_one_string_is_found_by_its_file() {
    let sandbox = Sandbox::empty();
    let script = "tools/data services/svc.js";
    sandbox.write(script, "// the service\n");
    story(&sandbox, "commands: [\"node svc.js\"]");
    let path = sandbox.path(script).display().to_string();
    let Some(service) = titled(&sandbox, &format!("node {path}"), "cat", &[]) else {
        return skipped("no `bash` here");
    };
    let other = titled(&sandbox, &format!("node {path}.bak"), "cat", &[]).unwrap();
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert_eq!(service.wait_ended(), Some(15));
    assert!(other.is_running());
}

// R2: pm2 tells the whole path in a variable; its title may be cut.
#[test]
fn r2_a_service_whose_title_was_cut_is_found_by_what_pm2_was_told() {
    let sandbox = Sandbox::empty();
    sandbox.write("tools/svc.js", "// the service\n");
    story(&sandbox, "commands: [\"node tools/svc.js\"]");
    let path = sandbox.path("tools/svc.js").display().to_string();
    let variables = [("pm_exec_path", path.as_str())];
    let Some(service) = titled(
        &sandbox,
        &format!("node {}", &path[..path.len() - 4]),
        "node",
        &variables,
    ) else {
        return skipped("no `bash` or no `node` here");
    };
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert_eq!(service.wait_ended(), Some(15));
}

// R2: where it can't be told, nobody guesses.
#[test]
fn r2_a_title_that_tells_nothing_is_unknown_with_its_reason() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"node tools/svc.js\"]");
    let Some(hidden) = titled(&sandbox, "eda worker", "node", &[]) else {
        return skipped("no `bash` or no `node` here");
    };
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert!(hidden.is_running());
    let warnings = report["warnings"].to_string();
    let place = sandbox.root().display().to_string();
    for part in [
        "has rewritten its command line",
        &place,
        &hidden.pid().to_string(),
    ] {
        assert!(warnings.contains(part), "`{part}` is missing: {report:#}");
    }
    // What asks whether it still runs is told that nobody knows.
    let context = crate::primitives::context(&sandbox);
    let view = &crate::primitives::session(&context).view;
    let query = Query {
        command: Some(vec!["node".to_owned(), "tools/svc.js".to_owned()]),
        ..Query::default()
    };
    let running = view.still_running(std::slice::from_ref(&query)).unwrap();
    assert!(
        matches!(&running, Known::Unknown(why) if why.contains("has rewritten its command line")),
        "{running:?}"
    );
}

/// A loop that starts the service anew, twenty times at most: it can't outlive the test for long.
const LOOP: &str = "n=0\nwhile [ $n -lt 20 ]; do\n  n=$((n+1))\n  /bin/sh bin/svc.sh\n  sleep 0.1\ndone\n";

fn looped(sandbox: &Sandbox, code: &str) -> Service {
    sandbox.write("bin/keep.sh", code).write(
        "bin/svc.sh",
        "echo $$ > svc.pid\necho started >> starts\nif [ ! -e said ]; then : > said; echo ready; fi\nwhile read -r line; do :; done\n",
    );
    Service::start(
        Command::new("/bin/sh")
            .arg(sandbox.path("bin/keep.sh"))
            .current_dir(sandbox.root()),
    )
}

// R3.
#[test]
fn r3_a_loop_of_the_workspace_ends_before_the_service_that_it_would_start_again() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    let keeper = looped(&sandbox, LOOP);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let told = format!("first the loop that would start it again: {}", keeper.pid());
    let why = operations(&plan, "stop_processes")[0]["why"].to_string();
    assert!(why.contains(&told), "{plan:#}");
    assert!(keeper.is_running());
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    assert_eq!(keeper.wait_ended(), Some(15));
    assert_eq!(sandbox.read("starts"), "started\n", "it was started again");
    let service = sandbox.read("svc.pid");
    crate::sandbox::until("the service has ended", || has_ended(service.trim()));
    let undo = sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_says(&undo, &["bin/keep.sh"]);
}

// R3: never end what is not clearly the story's.
#[test]
fn r3_a_loop_that_runs_something_else_too_is_named_in_the_preview_and_left_alone() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    sandbox.write("bin/other.sh", "while read -r line; do :; done\n");
    let keeper = looped(
        &sandbox,
        &format!("exec 3<&0\n/bin/sh bin/other.sh <&3 &\n{LOOP}"),
    );
    let before = sandbox.snapshot(&[]);
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let refused = sandbox.run(arguments).assert_code(1);
        let pid = keeper.pid().to_string();
        assert_says(&refused, &["which would start it again", "it also runs", &pid]);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert!(keeper.is_running());
}

/// A daemon that keeps the service, and what it says to its children, as supervisord does.
fn supervised(sandbox: &Sandbox) -> (Service, String) {
    let path = program(
        sandbox,
        "supervisorctl",
        "echo \"$*\" >> ctl.log\n[ \"$3\" = stop ] && kill \"$(cat svc.pid)\"\nexit 0",
    );
    sandbox.write(
        "bin/svc.sh",
        "echo $$ > svc.pid\necho ready\nwhile read -r line; do :; done\n",
    );
    let daemon = sandbox.home().join("supervisord");
    std::fs::write(
        &daemon,
        "SUPERVISOR_GROUP_NAME=data SUPERVISOR_PROCESS_NAME=svc SUPERVISOR_SERVER_URL=unix:///s.sock \
         /bin/sh bin/svc.sh\nwhile read -r line; do :; done\n",
    )
    .unwrap();
    let daemon = Service::start(Command::new("/bin/sh").arg(daemon).current_dir(sandbox.root()));
    (daemon, path)
}

fn run(sandbox: &Sandbox, path: &str, arguments: &[&str]) -> Finished {
    Finished::of(sandbox.command(arguments).env("PATH", path), arguments)
}

// R3.
#[test]
fn r3_a_service_under_supervisord_is_refused_with_what_to_type_and_stopped_through_it_where_that_is_allowed()
{
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    let (daemon, path) = supervised(&sandbox);
    let typed = "supervisorctl -s unix:///s.sock stop data:svc";
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let refused = run(&sandbox, &path, arguments).assert_code(3);
        assert_says(&refused, &["is kept by supervisord", typed, "policy.commands"]);
    }
    assert!(sandbox.exists("data/store") && !sandbox.exists("ctl.log"));

    sandbox.write("rollback.yaml", "policy: { commands: [supervisorctl] }\n");
    let plan = run(&sandbox, &path, &["plan", "9.1"]).assert_code(0);
    assert_says(&plan, &[typed]);
    assert!(!sandbox.exists("ctl.log"), "a preview has stopped the service");
    run(&sandbox, &path, &["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("ctl.log"), "-s unix:///s.sock stop data:svc\n");
    assert!(daemon.is_running());
    let service = sandbox.read("svc.pid");
    crate::sandbox::until("the service has ended", || has_ended(service.trim()));
    run(&sandbox, &path, &["undo", "--yes"]).assert_code(0);
    assert!(sandbox.read("ctl.log").ends_with("start data:svc\n"));
}

// R3: pm2, played by a daemon with its title and its variables.
#[test]
fn r3_a_service_under_pm2_is_refused_with_what_to_type() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    sandbox.write("bin/svc.sh", "echo ready\nwhile read -r line; do :; done\n");
    let code = "require('child_process').spawn('/bin/sh', ['bin/svc.sh'], \
                { env: { pm_id: '3', PM2_HOME: '/pm2' }, stdio: ['pipe', 'inherit', 'inherit'] }); \
                process.stdin.on('end', () => process.exit()).resume()";
    let Some(there) = Command::new("bash")
        .arg("-c")
        .arg("command -v node")
        .output()
        .ok()
    else {
        return skipped("no `bash` here");
    };
    if !there.status.success() {
        return skipped("no `node` here");
    }
    let line = format!("exec -a 'PM2 v7.0.4: God Daemon (/pm2)' node -e \"{code}\"");
    let daemon = Service::start(
        Command::new("bash")
            .args(["-c", &line])
            .current_dir(sandbox.root()),
    );
    let refused = sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
    assert_says(&refused, &["is kept by pm2", "`pm2 stop 3`"]);
    assert!(daemon.is_running());
}

// R3: a validation looks for a while, because what starts a service again does so in its own time.
#[test]
fn r3_what_is_there_again_after_a_while_is_seen_and_what_stays_away_is_not() {
    let sandbox = Sandbox::empty();
    let context = crate::primitives::context(&sandbox);
    // A preview looks once.
    let view = View::new(
        Rc::clone(&context.workspace),
        Rc::clone(&context.host),
        Rc::clone(&context.catalogue),
        Errand::default(),
    );
    let query = [Query {
        name: Some("svc".to_owned()),
        ..Query::default()
    }];
    let soon = Duration::from_millis(300);
    assert_eq!(view.running_after(&query, soon).unwrap(), Known::Yes(Vec::new()));
    let keeper = looped(&sandbox, LOOP);
    let pid = rustix::process::Pid::from_raw(sandbox.read("svc.pid").trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let running = view.running_after(&query, Duration::from_secs(30)).unwrap();
    assert!(
        matches!(&running, Known::Yes(again) if !again.is_empty()),
        "{running:?}"
    );
    drop(keeper);
}

/// The check of what runs, in a report.
fn check(report: &Value) -> &Value {
    let mut all = report["checks"].as_array().unwrap().iter();
    all.find(|check| check["title"] == "No related processes running")
        .unwrap()
}

// R3, kind "not looking is not passing": a run asks again after a while.
#[test]
fn r3_a_service_that_comes_back_after_it_was_stopped_fails_the_validation_of_the_run() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    sandbox.write("rollback.yaml", "validation: { settle: 20s }\n");
    // Nobody above it would start it again: its own last act does.
    let first = "[ \"$1\" = again ] || trap 'setsid /bin/sh bin/svc.sh again < wait > back & exit 0' TERM\n";
    rustix::fs::mknodat(
        rustix::fs::CWD,
        sandbox.path("wait"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // Whoever opens the pipe for reading waits for this.
    let pipe = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(sandbox.path("wait"))
        .unwrap();
    let _service = sandbox.spawn("bin/svc.sh", &[], first);
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 1, "{report:#}");
    let check = check(&report);
    assert_eq!(check["passed"], false, "{report:#}");
    assert!(check["detail"].to_string().contains("is running"), "{report:#}");
    drop(pipe);
}

// Kind "a validation asks another question than the step": who still has to do with what went.
#[test]
fn who_runs_writes_or_reads_what_went_is_seen_without_the_words_by_which_services_are_found() {
    for (script, code, passed, says) in [
        ("bin/owned.sh", "", Some(false), "runs `bin/owned.sh`"),
        (
            "other/reader.sh",
            "exec 4<data/store/x.db\n",
            Some(true),
            "reads `",
        ),
        ("other/worker.sh", "cd data/store\n", None, "works in `"),
    ] {
        let sandbox = Sandbox::empty();
        story(&sandbox, "commands: [\"quite another\"]");
        let service = sandbox.spawn(script, &[], code);
        let plan = sandbox.json(&["run", "9.1", "-n"]);
        let report = sandbox.json(&["run", "9.1", "--yes"]);
        for report in [plan, report] {
            let check = check(&report);
            assert_eq!(
                check["passed"],
                serde_json::to_value(passed).unwrap(),
                "{report:#}"
            );
            let told = format!("process {} (", service.pid());
            for part in [told.as_str(), says] {
                assert!(check["detail"].to_string().contains(part), "{part}: {report:#}");
            }
        }
        assert!(service.is_running());
    }
}

// R29: a shared lock is a reader's.
#[test]
fn r29_a_reader_with_a_shared_lock_is_a_reader_and_the_plan_tells_what_a_move_means() {
    if Command::new("flock").arg("--version").output().is_err() {
        return skipped("no `flock` here");
    }
    for (lock, code, says) in [
        ("-s", 0, "goes on reading what was moved"),
        ("-x", 1, "holds an exclusive lock on"),
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("data/store/x.db", "rows\n").write(
            "rollback/9.1.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Data\" };\nfn execute() { retire_dir(\"data/store\", \"store\"); }\n",
        );
        let reader = sandbox.spawn(
            "bin/reader.sh",
            &[],
            &format!("exec 4<data/store/x.db\nflock {lock} 4\n"),
        );
        let plan = sandbox.run(&["plan", "9.1"]).assert_code(code);
        assert_says(&plan, &[says, &format!("process {}", reader.pid())]);
        assert!(!plan.transcript().contains("writes"), "{}", plan.transcript());
        assert!(reader.is_running());
    }
}

// R30.
#[test]
fn r30_a_holder_that_is_no_service_is_named_and_the_run_stops_in_the_preview() {
    for (open, does) in [("4<", "reads"), ("4>>", "writes")] {
        let sandbox = Sandbox::empty();
        story(&sandbox, "commands: [\"svc\"], holds: [\"data/store\"]");
        let service = sandbox.spawn_script("bin/svc.sh", &[]);
        let holder = sandbox.spawn("bin/notebook.sh", &[], &format!("exec {open}data/store/x.db\n"));
        let before = sandbox.snapshot(&[]);
        let told = format!("process {} (", holder.pid());
        for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
            let stopped = sandbox.run(arguments).assert_code(1);
            assert_says(
                &stopped,
                &[
                    "is no service of the story",
                    &told,
                    does,
                    "--param stop_holders=true",
                ],
            );
        }
        assert_unchanged(&before, &sandbox.snapshot(&[]));
        assert!(holder.is_running() && service.is_running());
        sandbox
            .run(&["run", "9.1", "--yes", "--param", "stop_holders=true"])
            .assert_code(0);
        assert_eq!(holder.wait_ended(), Some(15));
        assert_eq!(service.wait_ended(), Some(15));
    }
}

// R30: a second witness makes a holder a service.
#[test]
fn r30_a_holder_that_runs_a_file_of_the_story_is_its_service() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "holds: [\"data/store\"]");
    let service = sandbox.spawn("bin/owned.sh", &[], "exec 4>>data/store/x.db\n");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(service.wait_ended(), Some(15));
}

// U15.
#[test]
fn u15_the_undo_tells_the_command_line_and_the_directory_that_a_service_had() {
    let sandbox = Sandbox::empty();
    story(&sandbox, "commands: [\"svc\"]");
    let _service = sandbox.spawn_script(
        "bin/svc.sh",
        &["--name", "two words", "--token", "hunter2hunter2"],
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let report = sandbox.json(&["undo", "--yes"]);
    let told = report.to_string();
    let root = sandbox.root().display().to_string();
    let typed = format!("cd {root} && /bin/sh {root}/bin/svc.sh --name 'two words' --token [redacted]");
    assert!(told.contains(&typed), "`{typed}` is missing: {report:#}");
    assert!(!told.contains("hunter2"), "{report:#}");
}
