//! Commands that are started, waited for and ended.

use std::time::Duration;

use super::*;
use crate::base::error::Kind;

fn shell(root: &Path, script: &str) -> Invocation {
    Invocation::new("/bin/sh", root).arguments(["-c", script])
}

fn run_here(invocation: &Invocation) -> Ran {
    run(&Permit::for_tests(), invocation, None).unwrap()
}

#[test]
fn gives_a_clean_environment_and_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run_here(&shell(dir.path(), "cat; env; pwd").variable("GIVEN", "a b"));
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("GIVEN=a b\n"), "{text}");
    assert!(text.ends_with(&format!("{}\n", dir.path().display())), "{text}");
    let allowed = |name: &str| {
        PASSED.contains(&name)
            || [
                "PATH",
                "TMPDIR",
                "XDG_CACHE_HOME",
                "npm_config_cache",
                "GIVEN",
                "PWD",
                "SHLVL",
                "_",
                "OLDPWD",
            ]
            .contains(&name)
    };
    for line in text.lines().filter(|line| line.contains('=')) {
        let name = line.split('=').next().unwrap();
        assert!(
            allowed(name),
            "`{name}` passed (cargo sets CARGO_* in our environment)"
        );
    }
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
        "nothing to leave out"
    );
}

#[test]
fn refuses_a_variable_that_takes_the_program_over() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["LD_PRELOAD", "PYTHONSTARTUP", "NODE_OPTIONS", "PATH", "BASH_ENV"] {
        let error = look(&shell(dir.path(), "true").variable(name, "x"), None).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{name}");
    }
}

#[test]
fn tells_status_and_signal_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run_here(&shell(
        dir.path(),
        "echo out; printf 'first\\nlast\\n\\n' >&2; exit 7",
    ));
    assert_eq!((ran.status, ran.signal, ran.succeeded()), (Some(7), None, false));
    assert_eq!(
        (ran.stdout.as_slice(), ran.failure().as_str()),
        (&b"out\n"[..], "exit status 7: last")
    );
    let ran = run_here(&shell(dir.path(), "kill -9 $$"));
    assert_eq!((ran.status, ran.signal), (None, Some(9)));
}

#[test]
fn a_chatty_program_neither_blocks_nor_fills_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run_here(&shell(
        dir.path(),
        "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; exit 3",
    ));
    assert_eq!(ran.status, Some(3));
    assert_eq!(
        (ran.stdout.len(), ran.stderr.len(), ran.truncated),
        (OUTPUT_LIMIT, OUTPUT_LIMIT, true)
    );
    let ran = run_here(&shell(dir.path(), &format!("head -c {OUTPUT_LIMIT} /dev/zero")));
    assert_eq!((ran.stdout.len(), ran.truncated), (OUTPUT_LIMIT, false));
}

/// Opens a FIFO for reading: the end of file comes when the last process that holds it for writing is gone.
fn fifo_is_let_go(script: &str, timeout: Duration, cancel: Option<&AtomicBool>) -> Result<Ran> {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("held");
    let made = Invocation::new("/usr/bin/mkfifo", dir.path()).arguments([&fifo]);
    assert!(run_here(&made).succeeded());
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    let ran = run(
        &Permit::for_tests(),
        &shell(dir.path(), script).timeout(timeout),
        cancel,
    );
    reader.join().unwrap();
    ran
}

#[test]
fn a_deadline_ends_the_whole_group_even_if_it_ignores_term() {
    let script = "exec 9>held; trap '' TERM; sleep 600 & sleep 600; sleep 600";
    let ran = fifo_is_let_go(script, Duration::from_millis(200), None).unwrap();
    assert!(ran.timed_out && !ran.succeeded());
    assert_eq!(ran.signal, Some(9));
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let ran = fifo_is_let_go("exec 9>held; sleep 600 & echo done", Duration::from_mins(1), None).unwrap();
    assert_eq!((ran.status, ran.stdout.as_slice()), (Some(0), &b"done\n"[..]));
    assert!(ran.duration < Duration::from_secs(30));
}

#[test]
fn a_cancelled_program_ends_and_a_cancelled_run_starts_none() {
    let cancel = std::sync::Arc::new(AtomicBool::new(false));
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let (flag, seen) = (std::sync::Arc::clone(&cancel), started.clone());
    let watcher = std::thread::spawn(move || {
        while !seen.exists() {
            std::thread::yield_now();
        }
        flag.store(true, Ordering::Relaxed);
    });
    let error = run(
        &Permit::for_tests(),
        &shell(dir.path(), ": > started; exec sleep 600"),
        Some(&cancel),
    )
    .unwrap_err();
    watcher.join().unwrap();
    assert!(error.kind() == Kind::Cancelled && error.changed_something());

    let error = look(&shell(dir.path(), ": > again"), Some(&cancel)).unwrap_err();
    assert!(error.kind() == Kind::Cancelled && !error.changed_something());
    assert!(!dir.path().join("again").exists());
}

#[test]
fn a_program_that_cannot_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = look(&Invocation::new(dir.path().join("none"), dir.path()), None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let error = look(&shell(&dir.path().join("nowhere"), "true"), None).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
}
