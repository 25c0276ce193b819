//! Tests of who is found, and who is passed over and why.

#![expect(clippy::disallowed_methods, reason = "a test listens")]

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant, SystemTime};

use super::super::trial::Trial;
use super::*;

fn within(trial: &Trial, query: &Query) -> Found {
    find(query, &Scope::Workspace(trial.root())).expect("a proc file system")
}

fn pids(found: &Found) -> Vec<i32> {
    found.processes.iter().map(|process| process.pid).collect()
}

fn by_name(name: &str) -> Query {
    Query {
        name: Some(name.to_owned()),
        ..Query::default()
    }
}

fn by_file(file: PathBuf) -> Query {
    Query {
        pid_file: Some(file),
        ..Query::default()
    }
}

fn why(found: &Found) -> &str {
    assert!(found.processes.is_empty(), "{found:?}");
    found
        .passed_over
        .first()
        .map_or("nothing was passed over", |passed| passed.why.as_str())
}

#[test]
fn everything_is_never_found() {
    let error = find(&Query::default(), &Scope::User).expect_err("refused");
    assert_eq!(error.kind(), crate::base::error::Kind::Invalid);
}

#[test]
fn all_of_a_name_are_found_and_no_similar_one() {
    let trial = Trial::new();
    let one = trial.named("evidence.sh", &["dev"]);
    let two = trial.named("evidence", &["build"]);
    let innocents = [
        trial.named("evidence-archive.sh", &[]),
        trial.named("notes", &["evidence.sh"]),
        trial.named("my-evidence", &["evidence"]),
    ];
    let mut expected = vec![one.pid(), two.pid()];
    expected.sort_unstable();
    let found = within(&trial, &by_name("evidence"));
    assert_eq!(pids(&found), expected);
    assert!(found.passed_over.is_empty(), "{found:?}");
    drop(innocents);
}

#[test]
fn selectors_narrow_each_other() {
    let trial = Trial::new();
    let run = trial.named("dagster", &["daemon", "run", "-w", "x"]);
    let dev = trial.named("dagster", &["dev"]);
    let command = |words: &str| Query {
        command: Some(words.split(' ').map(String::from).collect()),
        ..Query::default()
    };
    assert_eq!(pids(&within(&trial, &command("dagster daemon run"))), [run.pid()]);
    assert_eq!(pids(&within(&trial, &command("sh dagster dev"))), [dev.pid()]);
    let both = Query {
        argument: Some("dev".to_owned()),
        ..by_name("dagster")
    };
    assert_eq!(pids(&within(&trial, &both)), [dev.pid()]);
    let neither = Query {
        argument: Some("status".to_owned()),
        ..by_name("dagster")
    };
    assert!(within(&trial, &neither).processes.is_empty());
}

#[test]
fn an_argument_is_a_path_of_the_workspace() {
    let trial = Trial::new();
    let child = trial.named("tools/serve.sh", &["../x", "port=1"]);
    let query = |argument: &str| Query {
        argument: Some(argument.to_owned()),
        ..Query::default()
    };
    for argument in ["tools/serve.sh", "./tools/../tools/serve.sh", "../x", "port=1"] {
        assert_eq!(
            pids(&within(&trial, &query(argument))),
            [child.pid()],
            "{argument}"
        );
    }
    for argument in ["serve.sh", "tools", "tools/serve", "x", "port"] {
        assert!(
            within(&trial, &query(argument)).processes.is_empty(),
            "{argument}"
        );
    }
}

#[test]
fn what_a_process_has_open_by_a_number_is_not_taken_for_what_we_have() {
    let (trial, other) = (Trial::new(), Trial::new());
    let ours = std::fs::File::open(trial.root()).expect("a directory");
    for place in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
        let theirs = other.named("reader", &[&format!("{place}/{}", ours.as_raw_fd())]);
        let found = within(&trial, &by_name("reader"));
        assert!(
            why(&found).contains("outside the workspace"),
            "{place}: {found:?}"
        );
        theirs.end();
    }
}

#[test]
fn another_workspace_is_out_of_reach() {
    let (trial, other) = (Trial::new(), Trial::new());
    let theirs = other.named("dagster", &["dev"]);
    let found = within(&trial, &by_name("dagster"));
    assert!(!pids(&found).contains(&theirs.pid()));
    let passed = found
        .passed_over
        .iter()
        .find(|passed| passed.pid == Some(theirs.pid()));
    assert!(
        passed.is_some_and(|passed| passed.why.contains("outside the workspace")),
        "{found:?}"
    );
    let all = find(&by_name("dagster"), &Scope::User).expect("a proc file system");
    assert!(pids(&all).contains(&theirs.pid()));
    // Started elsewhere, but with a script or a path of ours.
    let script = trial.named_in(&other.root(), "remote", &[]);
    assert_eq!(pids(&within(&trial, &by_name("remote"))), [script.pid()]);
    let given = other.named("given", &[&trial.text("data.db")]);
    assert_eq!(pids(&within(&trial, &by_name("given"))), [given.pid()]);
    let beside = other.named("beside", &[&format!("{}-2/data.db", trial.root().display())]);
    assert!(within(&trial, &by_name("beside")).processes.is_empty());
    drop(beside);
}

#[test]
fn a_fresh_pid_file_names_its_process() {
    let trial = Trial::new();
    let child = trial.named("serve", &[]);
    let file = trial.pid_file(&format!(" {}\n", child.pid()), SystemTime::now());
    assert_eq!(pids(&within(&trial, &by_file(file.clone()))), [child.pid()]);
    let narrowed = Query {
        name: Some("other".to_owned()),
        ..by_file(file)
    };
    assert!(why(&within(&trial, &narrowed)).contains("does not match the rest"));
}

#[test]
fn a_pid_file_older_than_its_process_is_stale() {
    let trial = Trial::new();
    let child = trial.named("serve", &[]);
    let hour = Duration::from_hours(1);
    let file = trial.pid_file(&child.pid().to_string(), SystemTime::now() - hour);
    let found = within(&trial, &by_file(file));
    assert!(
        why(&found).contains("started after the pid file was written"),
        "{found:?}"
    );
    assert_eq!(found.passed_over[0].pid, Some(child.pid()));
}

#[test]
fn a_pid_file_of_nobody_is_stale() {
    let trial = Trial::new();
    let child = trial.named("serve", &[]);
    let file = trial.pid_file(&child.pid().to_string(), SystemTime::now());
    child.end();
    assert!(why(&within(&trial, &by_file(file))).contains("is stale: there is no such process"));
    let missing = within(&trial, &by_file(trial.root().join("none.pid")));
    assert!(missing.processes.is_empty() && missing.passed_over.is_empty());
}

#[test]
fn a_pid_file_may_not_name_us_what_started_us_or_others() {
    let trial = Trial::new();
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    let parent = Seen::open(own)
        .expect("we are here")
        .stat()
        .expect("a state")
        .parent;
    for (pid, reason) in [
        (own, "this run itself"),
        (parent, "started this run"),
        (1, "started this run"),
    ] {
        let file = trial.pid_file(&pid.to_string(), SystemTime::now());
        let found = find(&by_file(file), &Scope::User).expect("a proc file system");
        assert!(why(&found).contains(reason), "{pid}: {found:?}");
    }
}

#[test]
fn a_directory_and_what_is_below_it() {
    let trial = Trial::new();
    trial.write("app/below/x", "");
    trial.write("app-2/x", "");
    let inside = trial.named_in(&trial.root().join("app/below"), "inside", &[]);
    let beside = trial.named_in(&trial.root().join("app-2"), "beside", &[]);
    let query = Query {
        cwd: Some(trial.root().join("app")),
        ..Query::default()
    };
    assert_eq!(pids(&within(&trial, &query)), [inside.pid()]);
    drop(beside);
}

#[test]
fn who_holds_a_file_is_found() {
    let trial = Trial::new();
    trial.write("data/x.db", "");
    let holder = trial.shell("exec 8>>data/x.db; echo ready; read line");
    let innocent = trial.shell("echo ready; read line");
    let query = Query {
        holds: Some(trial.root().join("data")),
        ..Query::default()
    };
    assert_eq!(pids(&within(&trial, &query)), [holder.pid()]);
    drop(innocent);
}

#[test]
fn who_listens_on_a_port_is_found_by_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let table = Table::open().expect("a proc file system");
    let sockets = listeners(Some(port)).expect("a table of sockets");
    assert_eq!(sockets.values().collect::<Vec<_>>(), [&table.user]);
    let own = Seen::open(i32::try_from(std::process::id()).expect("a pid fits")).expect("we are here");
    assert!(listens(&own, &sockets));
    // Ourselves we never return.
    let found = find(
        &Query {
            port: Some(port),
            ..Query::default()
        },
        &Scope::User,
    )
    .expect("a proc file system");
    assert!(found.processes.is_empty());
    let trial = Trial::new();
    let child = trial.listening(listener);
    let found = within(
        &trial,
        &Query {
            port: Some(port),
            ..Query::default()
        },
    );
    assert_eq!(pids(&found), [child.pid()]);
    child.end();
    // A child that another test forks holds a copy of the socket until it runs its program.
    let limit = Instant::now() + Duration::from_secs(10);
    while !listeners(Some(port)).expect("a table of sockets").is_empty() {
        assert!(Instant::now() < limit, "port {port} is still listened on");
        std::thread::yield_now();
    }
}
