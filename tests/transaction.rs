//! Commands over a layer: the workspace stays as it is, and the changes that are told are those that a bare run makes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rollback_manager::base::known::Known;
use rollback_manager::host::commands::Invocation;
use rollback_manager::host::files::EntryKind;
use rollback_manager::host::transaction::{Change, Layer, Left, Rehearsal, Stage, What};

use crate::disk::{in_namespace, mount};
use crate::sandbox::{InTime as _, Sandbox};
use crate::skipped::skipped;

mod bare;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Names a workspace in which this binary, started once more, rehearses what `SCRIPT_OF` says.
const ROOT_OF: &str = "ROLLBACK_TEST_REHEARSES_IN";
const SCRIPT_OF: &str = "ROLLBACK_TEST_REHEARSES";

pub fn stage(root: &Path) -> Option<Stage> {
    let stage = Stage::prepare_with(root, Path::new(env!("CARGO_BIN_EXE_rollback"))).unwrap();
    match stage.available().unwrap() {
        Ok(()) => Some(stage),
        Err(refusal) => {
            assert!(!kernel_allows_it(), "{refusal}");
            skipped(&refusal.to_string());
            None
        }
    }
}

/// Whether another program gets the same namespaces and an overlay in them: then a refusal is a mistake of ours.
fn kernel_allows_it() -> bool {
    let overlay = "mount -t tmpfs none /mnt && cd /mnt && mkdir l u w m && mount -t overlay none -o userxattr,lowerdir=l,upperdir=u,workdir=w m";
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args([
            "--mount",
            "--net",
            "--ipc",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            overlay,
        ])
        .stderr(std::process::Stdio::null())
        .status_in_time()
        .is_ok_and(|status| status.success())
}

fn shell(root: &Path, script: &str) -> Invocation {
    Invocation::new("/bin/sh", root)
        .arguments(["-c", script])
        .timeout(LIMIT)
}

#[track_caller]
fn rehearsed(stage: &Stage, invocation: &Invocation) -> Rehearsal {
    match stage.rehearse(invocation, &[], None).unwrap() {
        Known::Yes(rehearsal) => rehearsal,
        Known::Unknown(why) => panic!("{why}"),
    }
}

#[track_caller]
fn layer(rehearsal: Rehearsal) -> Layer {
    let said = String::from_utf8_lossy(&rehearsal.ran.stderr).into_owned();
    match rehearsal.left {
        Left::Layer(layer) => layer,
        other => panic!("{other:?}: {} {said}", rehearsal.ran.failure()),
    }
}

fn told(changes: &[Change]) -> Vec<(String, What)> {
    changes
        .iter()
        .map(|change| (change.path.display().to_string(), change.what))
        .collect()
}

fn text(layer: &Layer, path: &str) -> String {
    let mut text = String::new();
    let mut file = layer.contents(Path::new(path)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// What is still running with this word in its command line.
fn running(word: &str) -> Vec<i32> {
    let listed = std::fs::read_dir("/proc").unwrap();
    listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(word)
        })
        .collect()
}

/// Those among them that [`daemon`] started.
fn daemons(word: &str) -> Vec<i32> {
    let ends = |pid: &i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.ends_with(format!("\0{word}\0").as_bytes())
    };
    running(word).into_iter().filter(ends).collect()
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// A word that no other process has in its command line.
fn word(sandbox: &Sandbox) -> String {
    let name = sandbox.root().parent().unwrap().file_name().unwrap().to_owned();
    format!("daemon-of-{}", name.display())
}

/// Writes for ever, in a session of its own.
fn daemon(word: &str) -> String {
    format!("setsid sh -c 'while :; do echo x >>late; done' {word} >/dev/null 2>&1 </dev/null &\n")
}

#[test]
fn a_daemon_ends_with_the_command() {
    let sandbox = Sandbox::empty();
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let before = sandbox.snapshot(&[]);
    let word = word(&sandbox);
    let script = format!("{}until [ -s late ]; do :; done", daemon(&word));
    let layer = layer(rehearsed(&stage, &shell(&sandbox.root(), &script)));
    assert_eq!(running(&word), [0; 0]);
    assert_eq!(
        told(&layer.changes().unwrap()),
        [("late".to_owned(), What::Created)]
    );
    let size = || {
        layer
            .contents(Path::new("late"))
            .unwrap()
            .metadata()
            .unwrap()
            .len()
    };
    assert_eq!(size(), size());
    assert_eq!(before, sandbox.snapshot(&[]));
}

/// What anybody can do who is not kept from it, one line each in `told`.
fn reaching(outside: &Path, port: u16) -> String {
    format!(
        r#"
tried() {{ name=$1; shift; if "$@" 2>/dev/null >&2; then echo "$name done" >>told; else echo "$name refused" >>told; fi; }}
tried write sh -c 'echo x >{outside}/file'
tried create sh -c 'echo x >{outside}/new'
tried connect bash -c 'echo x >/dev/tcp/127.0.0.1/{port}'
tried socket python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("{outside}/socket")'
tried processes sh -c 'cat /proc/{pid}/comm'
tried probe kill -0 {pid}
"#,
        outside = outside.display(),
        pid = std::process::id(),
    )
}

#[test]
fn nothing_gets_out() {
    let sandbox = Sandbox::empty();
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(outside.path().join("file"), "as it was").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(outside.path().join("socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let reaching = reaching(outside.path(), listener.local_addr().unwrap().port());
    let control = Command::new("/bin/sh")
        .args(["-c", &reaching])
        .current_dir(sandbox.home())
        .status_in_time()
        .unwrap();
    assert!(control.success());
    let told = sandbox.read("../home/told");
    assert_eq!(
        told.matches(" done").count(),
        6,
        "bare, all of it can be done: {told}"
    );
    assert!(listener.accept().is_ok() && socket.accept().is_ok());
    std::fs::remove_file(outside.path().join("new")).unwrap();
    std::fs::write(outside.path().join("file"), "as it was").unwrap();
    let script = format!(
        r#"{reaching}
tried remove rm -f {outside}/file
tried etc sh -c 'echo x >/etc/rollback-test'
tried sysctl sh -c 'echo 1 >/proc/sys/kernel/sysrq'
tried signal kill -9 {pid}
tried mount mount -t tmpfs none .
tried unmount umount .
tried remount mount -o remount,rw /
tried node mknod device b 7 0
tried disk sh -c 'ls /dev | grep -v -x -E "null|zero|full|random|urandom|fd|stdin|stdout|stderr|shm"'
grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status >>told
[ -z "$(ls /tmp | grep -v "$(pwd | cut -d/ -f3)")" ] && echo "tmp empty" >>told
exit 0
"#,
        outside = outside.path().display(),
        pid = std::process::id(),
    );
    let before = sandbox.snapshot(&[]);
    let layer = layer(rehearsed(&stage, &shell(&sandbox.root(), &script)));
    let told = text(&layer, "told");
    assert!(!told.contains(" done"), "{told}");
    assert_eq!(told.matches(" refused").count(), 15, "{told}");
    for line in [
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "tmp empty",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(
        std::fs::read_to_string(outside.path().join("file")).unwrap(),
        "as it was"
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2);
    assert!(!Path::new("/etc/rollback-test").exists());
    for accepted in [listener.accept().err(), socket.accept().err()] {
        assert_eq!(accepted.unwrap().kind(), std::io::ErrorKind::WouldBlock);
    }
    assert_eq!(before, sandbox.snapshot(&[]));
}

/// Its own network works, its temporary directory is there, and what it reads and says passes.
#[test]
fn a_command_finds_what_it_needs() {
    let sandbox = Sandbox::empty();
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let script = r#"
read -r line && echo "read $line"
echo x >"$TMPDIR/own"
echo x >/tmp/mine && echo x >/dev/shm/mine && : >/dev/null
mkdir sub && cd sub && pwd
ps -o pid= -p 1 >/dev/null 2>&1 || test -d /proc/1
cat /sys/class/net/lo/operstate >/dev/null
python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); socket.create_connection(s.getsockname())' || exit 9
echo said >&2
"#;
    let invocation = shell(&sandbox.root(), script).input(b"this\n".to_vec());
    let rehearsal = rehearsed(&stage, &invocation);
    let said = String::from_utf8_lossy(&rehearsal.ran.stdout).into_owned();
    assert_eq!(said, format!("read this\n{}\n", sandbox.path("sub").display()));
    assert_eq!(rehearsal.ran.stderr, b"said\n");
    let layer = layer(rehearsal);
    assert_eq!(
        told(&layer.changes().unwrap()),
        [("sub".to_owned(), What::Created)]
    );
}

#[test]
fn what_fails_leaves_nothing() {
    let sandbox = Sandbox::empty();
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let before = sandbox.snapshot(&[]);
    let root = sandbox.root();
    let failing = rehearsed(&stage, &shell(&root, "echo x >new; exit 3"));
    assert_eq!(failing.ran.status, Some(3));
    assert!(matches!(failing.left, Left::Nothing), "{failing:?}");
    let killed = rehearsed(&stage, &shell(&root, "echo x >new; kill -9 $$"));
    assert_eq!((killed.ran.status, killed.ran.signal), (None, Some(9)));
    assert!(matches!(killed.left, Left::Nothing), "{killed:?}");
    let word = word(&sandbox);
    let endless = shell(&root, &format!("trap '' TERM; {}wait", daemon(&word)));
    let late = rehearsed(&stage, &endless.clone().timeout(Duration::from_millis(300)));
    assert!(late.ran.timed_out && !late.ran.succeeded(), "{late:?}");
    assert!(matches!(late.left, Left::Nothing), "{late:?}");
    assert_eq!(running(&word), [0; 0]);
    let cancel = AtomicBool::new(false);
    let cancelled = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("the command did not begin", || !daemons(&word).is_empty());
            cancel.store(true, Ordering::Relaxed);
        });
        stage.rehearse(&endless, &[], Some(&cancel))
    });
    assert_eq!(cancelled.unwrap_err().kind().code(), "RB1301");
    assert_eq!(running(&word), [0; 0]);
    let missing = Invocation::new("/no/such/program", &root);
    assert_eq!(
        stage.rehearse(&missing, &[], None).unwrap_err().kind().code(),
        "RB0101"
    );
    assert_eq!(before, sandbox.snapshot(&[]));
}

/// A file with several names: what becomes of the others can't be told, and is said not to be known.
#[test]
fn other_names_of_a_file_are_told() {
    let sandbox = Sandbox::empty();
    sandbox.write("one", "1").write("alone", "1");
    for name in ["two", "three"] {
        std::fs::hard_link(sandbox.path("one"), sandbox.path(name)).unwrap();
    }
    let Some(stage) = stage(&sandbox.root()) else {
        return;
    };
    let script = "echo 2 >>one; echo 2 >>alone; rm three";
    let changes = layer(rehearsed(&stage, &shell(&sandbox.root(), script)))
        .changes()
        .unwrap();
    let linked: Vec<(&Path, What, bool)> = changes
        .iter()
        .map(|change| (change.path.as_path(), change.what, change.linked))
        .collect();
    assert_eq!(
        linked,
        [
            (Path::new("alone"), What::Contents, false),
            (Path::new("one"), What::Contents, true),
            (Path::new("three"), What::Removed, false),
        ]
    );
}

/// This binary once more, for what has to be a process of its own. In the tests themselves it does nothing.
#[test]
fn rehearses_for_another_test() {
    let (Some(root), Some(script)) = (std::env::var_os(ROOT_OF), std::env::var(SCRIPT_OF).ok()) else {
        return;
    };
    let root = PathBuf::from(root);
    let stage = Stage::prepare_with(&root, Path::new(env!("CARGO_BIN_EXE_rollback"))).unwrap();
    let _ = layer(rehearsed(&stage, &shell(&root, &script)));
}

/// Killed in the middle: the workspace is as it was, the command is dead, and the next one removes what was left.
#[test]
fn a_kill_in_the_middle_leaves_nothing() {
    let sandbox = Sandbox::empty();
    if stage(&sandbox.root()).is_none() {
        return;
    }
    let cache = sandbox.home().join("cache");
    std::fs::create_dir(&cache).unwrap();
    let before = sandbox.snapshot(&[]);
    let again = |script: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "transaction::rehearses_for_another_test"])
            .env(ROOT_OF, sandbox.root())
            .env(SCRIPT_OF, script)
            .env("XDG_CACHE_HOME", &cache)
            .stdout(std::process::Stdio::null());
        command
    };
    let layers = || std::fs::read_dir(&cache).unwrap().count();
    let word = word(&sandbox);
    let mut child = again(&format!("{}wait", daemon(&word))).spawn().unwrap();
    wait_until("the command did not begin", || !daemons(&word).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the command lives on", || running(&word).is_empty());
    assert_eq!(layers(), 1);
    assert_eq!(before, sandbox.snapshot(&[]));
    assert!(again("echo x >new").status_in_time().unwrap().success());
    assert_eq!(layers(), 0);
    assert_eq!(before, sandbox.snapshot(&[]));
}

/// What is mounted inside would be an empty directory in the layer.
#[test]
fn a_workspace_with_a_mount_inside_is_refused() {
    in_namespace(|| {
        let sandbox = Sandbox::empty();
        let inside = sandbox.path("mounted");
        std::fs::create_dir(&inside).unwrap();
        mount(&["-t", "tmpfs", "tmpfs"], &inside);
        let stage = Stage::prepare_with(&sandbox.root(), Path::new(env!("CARGO_BIN_EXE_rollback"))).unwrap();
        let refusal = stage.available().unwrap().unwrap_err().to_string();
        assert!(
            refusal.contains("/mounted` is mounted inside of the workspace"),
            "{refusal}"
        );
    });
}
