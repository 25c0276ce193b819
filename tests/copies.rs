//! Copies, and the places that they need: what can't be copied, names that grow, directories of ours that are none.
//! Whatever a real run would meet, its preview says.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use crate::sandbox::{Finished, InTime as _, Sandbox, Snapshot, assert_says, assert_unchanged};

mod names;

const IN_PLACE: &[&str] = &[
    ".rollback",
    "logs",
    "rollback_reports",
    "rollback_backups",
    "docs",
];

/// A workspace with a story of one body, and data.
pub fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("data/store/one", "1")
        .write("data/store/inner/two", "2")
        .write("rollback/9.1.rhai", story("9.1", body));
    sandbox
}

fn story(id: &str, body: &str) -> String {
    format!("const STORY = #{{ id: \"{id}\", title: \"Copies\" }};\n\nfn execute() {{ {body} }}\n")
}

/// Preview and real run end with the same code and say the same; a failure has changed nothing.
#[track_caller]
fn agree(sandbox: &Sandbox, code: i32, said: &[&str]) -> (Finished, Finished) {
    agree_on(sandbox, &["run", "9.1"], code, said)
}

#[track_caller]
fn agree_on(sandbox: &Sandbox, command: &[&str], code: i32, said: &[&str]) -> (Finished, Finished) {
    let before = sandbox.snapshot(&[]);
    let preview = sandbox.run(&[command, &["-n"]].concat()).assert_code(code);
    assert_says(&preview, said);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    let real = sandbox.run(&[command, &["--yes"]].concat()).assert_code(code);
    assert_says(&real, said);
    if code != 0 {
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    (preview, real)
}

fn fifo(path: &std::path::Path) {
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status_in_time()
            .unwrap()
            .success()
    );
}

/// The only backup.
fn backup(sandbox: &Sandbox) -> String {
    let listed = sandbox.json(&["backup", "list"]);
    let name = listed["backups"][0]["name"].as_str().unwrap();
    format!("rollback_backups/{name}")
}

#[test]
fn a_socket_is_left_out_of_every_copy_and_named_before() {
    for (body, place) in [
        ("copy_path(\"data/store\", \"data/copy\");", "data/copy"),
        ("backup_dir(\"data/store\", \"store\");", ""),
        (
            "let name = retire_dir(\"data/store\", \"store\"); restore_backup(name); remove_path(\"data/store/one\");",
            "data/store",
        ),
    ] {
        let sandbox = workspace(body);
        let _socket = UnixListener::bind(sandbox.path("data/store/inner/talk.sock")).unwrap();
        fifo(&sandbox.path("data/store/pipe"));
        agree(&sandbox, 0, &["left out", "inner/talk.sock"]);
        let place = if place.is_empty() {
            backup(&sandbox)
        } else {
            place.to_owned()
        };
        assert_eq!(sandbox.read(&format!("{place}/inner/two")), "2", "{body}");
        assert!(sandbox.exists(&format!("{place}/pipe")), "{body}");
        assert!(!sandbox.exists(&format!("{place}/inner/talk.sock")), "{body}");
        sandbox.run(&["backup", "verify"]).assert_code(0);
    }
}

/// What later words see of a copy is what they will see of it.
#[test]
fn a_preview_knows_that_the_copy_lacks_the_socket() {
    let body = "copy_path(\"data/store\", \"data/copy\"); remove_path(\"data/copy/talk.sock\"); \
                if path_exists(\"data/copy/talk.sock\") { fail(\"there\"); }";
    let sandbox = workspace(body);
    let _socket = UnixListener::bind(sandbox.path("data/store/talk.sock")).unwrap();
    agree(&sandbox, 0, &["not present"]);
}

#[test]
fn a_move_keeps_every_kind_and_the_undo_brings_each_back() {
    for options in [&["--yes"] as &[&str], &["--yes", "--copy"]] {
        let sandbox = workspace("retire_dir(\"data/store\", \"store\");");
        let _socket = UnixListener::bind(sandbox.path("data/store/talk.sock")).unwrap();
        fifo(&sandbox.path("data/store/pipe"));
        symlink("nowhere", sandbox.path("data/store/link")).unwrap();
        let before = sandbox.snapshot(IN_PLACE);
        sandbox.run(&[&["run", "9.1"], options].concat()).assert_code(0);
        assert!(!sandbox.exists("data/store"));
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        let mut differences = Snapshot::diff(&before, &sandbox.snapshot(IN_PLACE));
        differences.retain(|line| line != "changed .: time");
        assert!(differences.is_empty(), "{differences:?}");
    }
}

/// A backup that was made by moving holds the socket, and can be restored all the same.
#[test]
fn a_backup_with_a_socket_can_be_restored_and_tried() {
    let sandbox = workspace("retire_dir(\"data/store\", \"store\");");
    let _socket = UnixListener::bind(sandbox.path("data/store/talk.sock")).unwrap();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let directory = backup(&sandbox);
    let name = directory.rsplit('/').next().unwrap();
    sandbox
        .run(&["backup", "verify", name, "--level", "restore"])
        .assert_code(0);
    sandbox.run(&["backup", "restore", name, "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/store/inner/two"), "2");
    assert!(!sandbox.exists("data/store/talk.sock") && sandbox.exists(&format!("{directory}/talk.sock")));
}

#[test]
fn what_is_asked_for_by_name_and_cannot_be_copied_is_refused_before() {
    for (word, code) in [("copy_path", 1), ("backup_dir", 2)] {
        let sandbox = workspace(&format!(
            "write_text(\"note\", \"x\"); {word}(\"data/store/talk.sock\", \"to\");"
        ));
        let _socket = UnixListener::bind(sandbox.path("data/store/talk.sock")).unwrap();
        agree(&sandbox, code, &["data/store/talk.sock", "socket"]);
    }
    for body in [
        "backup_dir(\"data/store/pipe\", \"store\");",
        "backup_dir(\"rollback_backups\", \"all\");",
    ] {
        let sandbox = workspace(&format!("write_text(\"note\", \"x\"); {body}"));
        fifo(&sandbox.path("data/store/pipe"));
        std::fs::create_dir(sandbox.path("rollback_backups")).unwrap();
        let (preview, _) = agree(&sandbox, 2, &[]);
        assert!(
            preview.stderr.contains("pipe") || preview.stderr.contains("backups"),
            "{}",
            preview.transcript()
        );
    }
}

#[test]
fn a_device_in_a_tree_is_refused_before_it_is_copied() {
    for body in [
        "copy_path(\"data/store\", \"data/copy\");",
        "backup_dir(\"data/store\", \"store\");",
        "restore_backup(retire_dir(\"data/store\", \"store\"));",
    ] {
        let sandbox = workspace(&format!("write_text(\"note\", \"x\"); {body}"));
        let device = sandbox.path("data/store/inner/null");
        let made = std::process::Command::new("mknod")
            .arg(&device)
            .args(["c", "1", "3"])
            .output_in_time();
        if !made.is_ok_and(|output| output.status.success()) {
            return crate::skipped::skipped("no device can be made here");
        }
        agree(&sandbox, 1, &["inner/null", "device"]);
    }
}

/// A backup that lacks a file is found before anything is moved out of its way.
#[test]
fn a_backup_that_is_not_whole_is_told_before() {
    let sandbox = workspace("retire_dir(\"data/store\", \"store\");");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let directory = backup(&sandbox);
    let name = directory.rsplit('/').next().unwrap().to_owned();
    sandbox
        .remove(&format!("{directory}/inner/two"))
        .write("data/store/new", "n");
    sandbox.write(
        "rollback/9.2.rhai",
        story("9.2", &format!("restore_backup(\"{name}\");")),
    );
    agree_on(&sandbox, &["run", "9.2"], 8, &["inner/two", "missing"]);
}

/// Names of ours hold names of others, and stay below what the system allows.
#[test]
fn reports_of_any_number_of_stories_have_a_name() {
    let sandbox = workspace("write_text(\"one\", \"1\");");
    let mut command = vec!["run".to_owned()];
    for number in 0..61 {
        let id = format!("7.{number}-{}", "long".repeat(8));
        sandbox.write(
            &format!("rollback/s{number}.rhai"),
            story(&id, &format!("write_text(\"out/{number}\", \"x\");")),
        );
        command.push(id);
    }
    command.push("--yes".to_owned());
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let done = sandbox.run(&command).assert_code(0);
    assert!(
        !done.stderr.contains("the reports are not"),
        "{}",
        done.transcript()
    );
    let names: Vec<String> = sandbox
        .path("rollback_reports")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        assert!(
            name.starts_with("rollback_7.") && name.contains("_and_59_more_"),
            "{name}"
        );
    }
}

#[test]
fn things_with_the_longest_names_are_removed_edited_and_brought_back() {
    use std::os::unix::ffi::OsStrExt as _;
    let long = "n".repeat(255);
    let odd = format!("{}\u{e9}", "o".repeat(253));
    let body = format!(
        "remove_path(\"{long}\"); write_text(\"{odd}\", \"new\", #{{ overwrite: true }}); remove_path(\"bytes\"); \
         retire_dir(\"data/{long}\", \"store\");"
    );
    let sandbox = workspace(&body);
    sandbox
        .write(&long, "1")
        .write(&odd, "2")
        .write(&format!("data/{long}/x"), "3");
    std::fs::create_dir(sandbox.path("bytes")).unwrap();
    let bytes = std::ffi::OsStr::from_bytes(&[0xff; 255]);
    std::fs::write(sandbox.path("bytes").join(bytes), "4").unwrap();
    let before = sandbox.snapshot(IN_PLACE);
    agree(&sandbox, 0, &[]);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let mut differences = Snapshot::diff(&before, &sandbox.snapshot(IN_PLACE));
    differences.retain(|line| line != "changed .: time" && line != "changed data: time");
    assert!(differences.is_empty(), "{differences:?}");
}

/// The places of ours, each as a link, and as a file: the true reason, in the preview.
#[test]
fn a_place_of_ours_that_is_a_link_or_a_file_is_told_before() {
    for (place, word) in [
        ("rollback_backups", "retire_dir(\"data/store\", \"store\");"),
        ("rollback_backups", "backup_dir(\"data/store\", \"store\");"),
        ("kept/backups", "retire_dir(\"data/store\", \"store\");"),
        (".rollback", "remove_path(\"data/store\");"),
        (".rollback/runs", "remove_path(\"data/store\");"),
        (".rollback/audit", "remove_path(\"data/store\");"),
        ("logs", "remove_path(\"data/store\");"),
        ("logs/security.log", "remove_path(\"data/store\");"),
    ] {
        let make = || {
            let sandbox = workspace(&format!("write_text(\"note\", \"x\"); {word}"));
            std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
            if place.starts_with("kept") {
                sandbox.write("rollback.yaml", "backups: { dir: kept/backups }\n");
            }
            std::fs::create_dir_all(sandbox.path(place).parent().unwrap()).unwrap();
            sandbox
        };
        let sandbox = make();
        symlink(sandbox.path("elsewhere"), sandbox.path(place)).unwrap();
        agree(&sandbox, 3, &[place, "symbolic link"]);
        let sandbox = make();
        if place.contains("security") {
            std::fs::create_dir(sandbox.path(place)).unwrap();
            agree(&sandbox, 3, &[place, "no regular file"]);
        } else {
            sandbox.write(place, "a file");
            let code = if place.contains("backups") { 1 } else { 3 };
            agree(&sandbox, code, &[place, "director"]);
        }
    }
}

/// The link is in the way of a directory above.
#[test]
fn a_link_above_a_place_of_ours_is_told_before() {
    let sandbox = workspace("write_text(\"note\", \"x\"); retire_dir(\"data/store\", \"store\");");
    sandbox.write("rollback.yaml", "backups: { dir: kept/backups }\n");
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    symlink("elsewhere", sandbox.path("kept")).unwrap();
    agree(&sandbox, 3, &["kept", "symbolic link"]);
}

/// Reports are a courtesy: without their place the run goes on, and both passes say so.
#[test]
fn reports_without_a_place_are_a_warning_in_both_passes() {
    let sandbox = workspace("remove_path(\"data/store/one\");");
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    symlink("elsewhere", sandbox.path("rollback_reports")).unwrap();
    let (_, real) = agree(&sandbox, 0, &["rollback_reports", "symbolic link"]);
    assert_says(&real, &["the reports are not in"]);
    assert_eq!(std::fs::read_dir(sandbox.path("elsewhere")).unwrap().count(), 0);
}

/// Commands that are no stories go through the same door.
#[test]
fn single_commands_say_the_true_reason_too() {
    let sandbox = workspace("remove_path(\"data/store\");");
    sandbox.write(
        "config/feature-flags.yaml",
        "features:\n  alpha: { enabled: true }\n",
    );
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    symlink("elsewhere", sandbox.path("rollback_backups")).unwrap();
    symlink("elsewhere", sandbox.path("logs")).unwrap();
    let before = sandbox.snapshot(&[]);
    for (command, place) in [
        (&["backup", "create", "data/store"] as &[&str], "rollback_backups"),
        (&["feature", "disable", "alpha"], "logs"),
    ] {
        let finished = sandbox.run(command).assert_code(3);
        assert_says(&finished, &[place, "symbolic link"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

/// Root writes everywhere; the ordinary user is played by `setpriv`.
#[test]
fn a_place_of_ours_that_is_closed_is_told_before() {
    if !rustix::process::geteuid().is_root() {
        return closed(&|sandbox, arguments| sandbox.run(arguments));
    }
    let lower = |sandbox: &Sandbox, arguments: &[&str]| {
        let plain = sandbox.command(arguments);
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(plain.get_current_dir().unwrap())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Finished::of(&mut command, arguments)
    };
    closed(&lower);
}

fn closed(run: &dyn Fn(&Sandbox, &[&str]) -> Finished) {
    for place in [".rollback", ".rollback/runs", "logs"] {
        let sandbox = workspace("write_text(\"note\", \"x\");");
        std::fs::create_dir_all(sandbox.path(place)).unwrap();
        let top = sandbox.root().parent().unwrap().to_path_buf();
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            let given = std::process::Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(&top)
                .status_in_time();
            assert!(given.unwrap().success());
            if run(&sandbox, &["--version"]).code != Some(0) {
                return crate::skipped::skipped("root can't run the binary as another user here");
            }
        }
        std::fs::set_permissions(sandbox.path(place), PermissionsExt::from_mode(0o555)).unwrap();
        let before = sandbox.snapshot(&[]);
        for command in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
            let finished = run(&sandbox, command).assert_code(3);
            assert_says(
                &finished,
                &[place, "Permission denied", "make the workspace writable"],
            );
            assert_unchanged(&before, &sandbox.snapshot(&[]));
        }
        std::fs::set_permissions(sandbox.path(place), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// A leftover of the command that ended with it, as it notes it.
fn leave(sandbox: &Sandbox, path: &str) {
    use base64::Engine as _;
    use std::os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _};
    sandbox.write(&format!("{path}/inner/part"), "rest");
    let path = sandbox.path(path);
    let metadata = path.metadata().unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(path.as_os_str().as_bytes());
    let line = format!(
        "{{\"path_b64\":\"{encoded}\",\"inode\":{},\"device\":{}}}\n",
        metadata.ino(),
        metadata.dev()
    );
    let list = sandbox.path(".rollback/leftovers");
    let before = std::fs::read_to_string(&list).unwrap_or_default();
    sandbox.write(".rollback/leftovers", format!("{before}{line}"));
}

/// Only what is still the thing that was left, under a name of ours, and only by a command that changes something.
#[test]
fn leftovers_are_swept_by_the_next_change_and_nothing_else_is() {
    let sandbox = workspace("write_text(\"note\", \"x\");");
    for path in ["data/.rollback-7-0.tmp", "data/.rollback-7-1.tmp", "data/store"] {
        leave(&sandbox, path);
    }
    // Somebody else's by now.
    std::fs::rename(sandbox.path("data/.rollback-7-1.tmp"), sandbox.path("data/mine")).unwrap();
    sandbox.write("data/.rollback-7-1.tmp/inner/part", "mine");
    let before = sandbox.snapshot(&[]);
    for looking in [&["run", "9.1", "-n"] as &[&str], &["status"], &["backup", "list"]] {
        sandbox.run(looking).assert_code(0);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("data/.rollback-7-0.tmp") && !sandbox.exists(".rollback/leftovers"));
    for kept in ["data/.rollback-7-1.tmp", "data/mine", "data/store"] {
        assert!(sandbox.exists(&format!("{kept}/inner/part")), "{kept}");
    }
    let log = sandbox.run(&["audit", "show", "--json"]).stdout;
    assert!(
        log.contains("data/.rollback-7-0.tmp") && !log.contains("data/.rollback-7-1.tmp"),
        "{log}"
    );
    // It was ours: no undo brings it back, and none is kept from it.
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("note") && !sandbox.exists("data/.rollback-7-0.tmp"));
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

/// A manifest that was being written when its command was cut off; what a backup holds as data is no leftover.
#[test]
fn temporaries_in_backups_are_swept_unless_they_are_data() {
    let sandbox = workspace("retire_dir(\"data/store\", \"store\");");
    sandbox.write("data/store/.rollback-7-0.tmp", "of a program that was backed up");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let directory = backup(&sandbox);
    sandbox.write(&format!("{directory}/.rollback-7-1.tmp"), "{");
    sandbox.run(&["backup", "verify", "-n"]).assert_code(8);
    sandbox.run(&["feature", "list"]).assert_code(0);
    sandbox.write("rollback/9.2.rhai", story("9.2", "write_text(\"note\", \"x\");"));
    sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
    assert!(sandbox.exists(&format!("{directory}/.rollback-7-0.tmp")));
    assert!(!sandbox.exists(&format!("{directory}/.rollback-7-1.tmp")));
    sandbox.run(&["backup", "verify", "-n"]).assert_code(0);
}

/// The whole way: backups on another disk, an original of which a part can't be removed. Either the preview refuses it,
/// or the move is done, says what is left, and a later command sweeps it.
#[test]
fn what_cannot_be_removed_after_a_copy_is_told_and_swept_later() {
    crate::disk::in_namespace(|| {
        let sandbox = workspace("retire_dir(\"data/store\", \"store\");");
        std::fs::create_dir(sandbox.path("rollback_backups")).unwrap();
        // Held by descriptor: the name of the file changes.
        let fixed = std::fs::File::open(sandbox.path("data/store/inner/two")).unwrap();
        let flags = rustix::fs::ioctl_getflags(&fixed).unwrap_or(rustix::fs::IFlags::empty());
        if rustix::fs::ioctl_setflags(&fixed, flags | rustix::fs::IFlags::IMMUTABLE).is_err() {
            return crate::skipped::skipped("no file can be made immutable here");
        }
        crate::disk::mount(&["-t", "ramfs", "ramfs"], &sandbox.path("rollback_backups"));
        let finished = sandbox.run(&["run", "9.1", "--yes"]);
        let loosened = rustix::fs::ioctl_setflags(&fixed, flags);
        if finished.code == Some(0) {
            assert_says(&finished, &["left behind", "data/.rollback-"]);
            let directory = backup(&sandbox);
            assert_eq!(sandbox.read(&format!("{directory}/inner/two")), "2");
            sandbox.run(&["backup", "verify"]).assert_code(0);
        } else {
            finished.assert_code(3);
            assert_eq!(sandbox.read("data/store/inner/two"), "2");
        }
        loosened.unwrap();
        sandbox.write("rollback/9.2.rhai", story("9.2", "write_text(\"note\", \"x\");"));
        sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
        let names: Vec<_> = std::fs::read_dir(sandbox.path("data"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(names.iter().all(|name| name == "store"), "{names:?}");
        crate::disk::unmount(&sandbox.path("rollback_backups"));
    });
}
