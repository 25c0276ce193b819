//! The table of rights, and each of its walls put up in a thread of its own.
#![expect(
    clippy::disallowed_methods,
    reason = "what the kernel refuses has to be tried, in a temporary directory"
)]

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;
use crate::base::error::Kind;
use crate::skipped::skipped;

const MODES: [Mode; 2] = [Mode::DryRun, Mode::Real];

#[test]
fn what_holds_and_what_lacks_by_interface() {
    let names = |rights: &[Right]| {
        rights
            .iter()
            .map(|right| format!("{right:?}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut table = String::new();
    for mode in MODES {
        for interface in 0..=7 {
            let wall = Wall::on(interface, mode);
            table.push_str(&format!(
                "{mode:?} {interface}: {} | {}\n",
                names(&wall.holds),
                names(&wall.lacks)
            ));
        }
    }
    assert_eq!(
        table,
        "\
DryRun 0:  | Files Moves Truncation Listening Devices Signals Sockets
DryRun 1: Files | Moves Truncation Listening Devices Signals Sockets
DryRun 2: Files Moves | Truncation Listening Devices Signals Sockets
DryRun 3: Files Moves Truncation | Listening Devices Signals Sockets
DryRun 4: Files Moves Truncation Listening | Devices Signals Sockets
DryRun 5: Files Moves Truncation Listening Devices | Signals Sockets
DryRun 6: Files Moves Truncation Listening Devices Signals Sockets | 
DryRun 7: Files Moves Truncation Listening Devices Signals Sockets | 
Real 0:  | Files Moves Truncation Devices
Real 1:  | Files Moves Truncation Devices
Real 2: Files Moves | Truncation Devices
Real 3: Files Moves Truncation | Devices
Real 4: Files Moves Truncation | Devices
Real 5: Files Moves Truncation Devices | 
Real 6: Files Moves Truncation Devices | 
Real 7: Files Moves Truncation Devices | 
"
    );
}

#[test]
fn a_wall_that_is_not_whole_is_a_warning_or_where_it_is_required_an_error() {
    for (mode, whole_from) in [(Mode::DryRun, 6), (Mode::Real, 5)] {
        for interface in 0..=7 {
            let wall = Wall::on(interface, mode);
            let warning = wall.require(false).expect("a warning at most");
            assert_eq!(warning.is_none(), interface >= whole_from, "{interface} {mode:?}");
            match (wall.require(true), warning) {
                (Ok(nothing), None) => assert_eq!(nothing, None),
                (Err(error), Some(warning)) => {
                    assert_eq!(error.kind(), Kind::Denied);
                    assert_eq!(error.exit_code().number(), 3);
                    assert_eq!(error.message(), warning);
                }
                other => panic!("{interface} {mode:?}: {other:?}"),
            }
        }
    }
    let warning = |interface, mode| Wall::on(interface, mode).warning().expect("a warning");
    assert_eq!(
        warning(0, Mode::Real),
        "this kernel has no Landlock: nothing but rollback itself keeps this run inside the workspace"
    );
    assert_eq!(
        warning(1, Mode::Real),
        "this kernel's Landlock (interface 1) is too old for a real run: nothing but rollback itself keeps this run \
         inside the workspace"
    );
    assert_eq!(
        warning(4, Mode::DryRun),
        "this kernel's Landlock (interface 4) is too old to keep a dry run from all: commands to devices, signals to \
         other processes, abstract sockets of other processes is not withheld"
    );
}

/// What a thread behind a wall was let do. Every attempt is on something of its own.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tried {
    write_inside: bool,
    write_outside: bool,
    move_inside: bool,
    move_out: bool,
    truncate_outside: bool,
    listen: bool,
    signal: bool,
    make_device: bool,
}

fn tried(inside: &Path, outside: &Path, child: rustix::process::Pid) -> Tried {
    let made = |path: &Path| std::fs::write(path, "new").is_ok();
    let null = rustix::fs::makedev(1, 3);
    let device = rustix::fs::mknodat(
        rustix::fs::CWD,
        inside.join("device"),
        rustix::fs::FileType::CharacterDevice,
        0o600.into(),
        null,
    );
    Tried {
        write_inside: made(&inside.join("new")),
        write_outside: made(&outside.join("new")),
        move_inside: std::fs::rename(inside.join("a/file"), inside.join("b/file")).is_ok(),
        move_out: std::fs::rename(inside.join("b/other"), outside.join("other")).is_ok(),
        truncate_outside: rustix::fs::open(
            outside.join("kept"),
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::TRUNC,
            rustix::fs::Mode::empty(),
        )
        .is_ok(),
        listen: std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        // Signal 0 asks for leave alone.
        signal: rustix::process::test_kill_process(child).is_ok(),
        make_device: device.is_ok(),
    }
}

#[test]
fn every_interface_that_this_kernel_has_refuses_what_its_row_says() {
    let kernel = interface();
    if kernel == 0 {
        return skipped("this kernel has no Landlock");
    }
    for mode in MODES {
        for interface in 1..=kernel {
            let directory = tempfile::tempdir().expect("a directory");
            let (inside, outside) = (directory.path().join("inside"), directory.path().join("outside"));
            for made in ["inside/a", "inside/b", "outside"] {
                std::fs::create_dir_all(directory.path().join(made)).expect("a directory");
            }
            for file in ["inside/a/file", "inside/b/other", "outside/kept"] {
                std::fs::write(directory.path().join(file), "contents").expect("a file");
            }
            let mut child = std::process::Command::new("/bin/cat")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("a process outside");
            let pid = rustix::process::Pid::from_child(&child);
            let wall = Wall::on(interface, mode);
            let root = std::fs::File::open(&inside).expect("a root");
            let (holds, seen) = std::thread::scope(|scope| {
                let wall = &wall;
                let thread = scope.spawn(|| {
                    wall.put_up(&[root.as_fd()]).expect("a wall");
                    (wall.holds.clone(), tried(&inside, &outside, pid))
                });
                thread.join().expect("a thread")
            });
            drop(child.stdin.take());
            child.wait().expect("its end");

            let about = format!("{mode:?}, interface {interface}: {seen:?}");
            let held = |right| holds.contains(&right);
            let real = mode == Mode::Real;
            assert_eq!(seen.write_inside, real, "{about}");
            assert_eq!(seen.write_outside, !held(Right::Files), "{about}");
            assert_eq!(seen.move_inside, real, "{about}");
            assert_eq!(seen.move_out, !held(Right::Files), "{about}");
            assert_eq!(seen.truncate_outside, !held(Right::Truncation), "{about}");
            assert_eq!(seen.listen, !held(Right::Listening), "{about}");
            assert_eq!(seen.signal, !held(Right::Signals), "{about}");
            assert!(!seen.make_device || !held(Right::Files), "{about}");
        }
    }
}

#[test]
fn a_device_on_the_way_out_and_a_socket_in_the_workspace() {
    if interface() < 5 {
        return skipped("this kernel's Landlock is older than interface 5");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let outside = tempfile::tempdir().expect("another one");
    let beyond = outside.path().join("written-by-a-child");
    let path = directory.path().to_path_buf();
    let root = std::fs::File::open(&path).expect("a root");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Wall::on(interface(), Mode::Real)
                .put_up(&[root.as_fd()])
                .expect("a wall");
            OpenOptions::new()
                .write(true)
                .open("/dev/null")
                .expect("what holds no data can be written");
            UnixListener::bind(path.join("socket")).expect("a socket inside");
            let error = std::fs::hard_link("/etc/hostname", path.join("second-name"))
                .or_else(|_| std::fs::hard_link("/etc/passwd", path.join("second-name")))
                .expect_err("no second name for a file outside");
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::CrossesDevices | ErrorKind::PermissionDenied
                ),
                "{error}"
            );
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", ": > \"$0\""])
                .arg(&beyond)
                .stderr(std::process::Stdio::null())
                .status()
                .expect("a child");
            assert!(!status.success(), "a child stands behind the wall too");
        });
    });
    assert!(!beyond.exists());
}

#[test]
fn another_thread_keeps_the_wall_from_being_put_up() {
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let error = require_alone().expect_err("the threads of the tests");
    assert_eq!(error.kind(), Kind::Bug);
    drop(end);
    let _ = other.join().expect("its end");
}
